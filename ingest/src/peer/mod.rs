//! The seam to the WebRTC stack: one publisher's connection. Everything `webrtc` and `rtc` stays below here (and
//! in the client), so that another stack could take its place.
//!
//! The stack is told its limits are not ours: full ICE (its ICE-lite drops live sessions), a replay window
//! that lets late repairs in, our own UDP socket, our own candidates, our own NACK (its generator sits before
//! RTX is taken apart and asks again for what has come) and our own idea of when a publisher is gone.

pub(crate) mod codecs;
mod crypto;
mod framing;
mod generations;
mod listen;
mod mux;
mod roaming;
mod stun;
mod tap;
mod tcp;
mod udp;
mod view;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ::webrtc::media_stream::track_remote::TrackRemote;
use ::webrtc::peer_connection::{
    PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCConfigurationBuilder,
    RTCIceGatheringState, RTCPeerConnectionState, StatsSelector,
};
use rtc::ice::mdns::MulticastDnsMode;
use rtc::peer_connection::configuration::setting_engine::{SettingEngine, SettingEngineBuilder};
use rtc::peer_connection::sdp::RTCSessionDescription;
use rtc::peer_connection::transport::{RTCDtlsTransportState, RTCIceCandidateInit};
use rtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc::rtcp::transport_feedbacks::transport_layer_nack::{
    TransportLayerNack, nack_pairs_from_sequence_numbers,
};
use rtc::rtp_transceiver::rtp_sender::RtpCodecKind;
use rtc::rtp_transceiver::{RTCRtpTransceiverDirection, RTCRtpTransceiverInit};
use tokio::sync::{mpsc, oneshot};

use crate::rtp::Packet;
use crate::sdp::{self, Offer};

use generations::Generation;
use stun::Credentials;

pub(crate) use mux::Mux;
pub(crate) use tap::{Label, Report};

/// Two seconds of 20 Mbit/s: the session drains it without ever waiting, so this bridges a busy machine.
const EVENTS: usize = 4096;
/// A NACK and a PLI per track and turn; what does not fit is asked again later.
const FEEDBACK: usize = 256;
/// RTP packets that may be younger than a repair: five seconds of 20 Mbit/s (the default of 64 is 77 ms at 8).
const REPLAY_WINDOW: usize = 8192;
/// Only silence of media ends a session; ICE alone decides later than that.
const ICE_DISCONNECTED: Duration = Duration::from_secs(30);
/// Local gathering only; it takes milliseconds.
const GATHERING: Duration = Duration::from_secs(5);
/// How often the round trip is measured and the transport is looked at.
const CHECKUP: Duration = Duration::from_millis(500);

#[derive(Debug, thiserror::Error)]
pub(crate) enum PeerError {
    #[error("the offer cannot be answered: {0}")]
    Offer(String),
    #[error("no connection could be made: {0}")]
    Stack(String),
}

#[derive(Debug)]
pub(crate) enum Event {
    Packet {
        packet: Packet,
        /// On the first packets of a stream.
        label: Option<Box<Label>>,
        arrival: Instant,
    },
    Report(Report),
    Connected,
    /// The publisher closed the connection, or it failed.
    Gone,
}

/// What is asked of the publisher, by the SSRC of its track.
#[derive(Debug)]
pub(crate) enum Feedback {
    Nack { ssrc: u32, sequences: Vec<u16> },
    Keyframe { ssrc: u32 },
}

/// A publisher's connection. Closed by [`Peer::close`], or when it is dropped.
pub(crate) struct Peer {
    connection: Arc<dyn PeerConnection>,
    feedback: mpsc::Sender<Feedback>,
    vitals: Arc<Vitals>,
    route: view::Route,
    offer: String,
}

/// What a session receives.
pub(crate) struct Inbox {
    pub events: mpsc::Receiver<Event>,
    pub vitals: Arc<Vitals>,
}

/// Read without waiting for the stack.
#[derive(Debug)]
pub(crate) struct Vitals {
    began: Instant,
    /// Milliseconds from `began` to the last RTP or RTCP of any kind.
    heard: AtomicU64,
    rtt_us: AtomicU64,
    /// Packets lost because the session was slow.
    overflow: AtomicU64,
}

impl Peer {
    /// Takes the offer and answers it. The answer still names the stack's own candidates.
    pub async fn answer(mux: &Arc<Mux>, offer: &Offer) -> Result<(Peer, Inbox, String), PeerError> {
        let (events, inbox) = mpsc::channel(EVENTS);
        let vitals = Arc::new(Vitals::new());
        let (gathered, gathering) = oneshot::channel();
        let handler = Arc::new(Handler {
            events: events.clone(),
            vitals: vitals.clone(),
            track: Mutex::default(),
            gathered: Mutex::new(Some(gathered)),
        });
        let route = mux.route();
        let (engine, registry) = codecs::for_offer(offer).map_err(stack)?;
        let registry = registry
            .with(tap::SLOT, tap::tap(events, vitals.clone(), offer.labels))
            .with(tap::END, tap::end());
        let connection: Arc<dyn PeerConnection> = Arc::new(
            PeerConnectionBuilder::new()
                .with_configuration(RTCConfigurationBuilder::default().build())
                .with_media_engine(engine)
                .with_setting_engine(settings()?)
                .with_interceptor_registry(registry)
                .with_handler(handler.clone())
                .with_runtime(route.runtime())
                .with_udp_addrs(route.placeholders())
                .build()
                .await
                .map_err(stack)?,
        );
        let (feedback, wanted) = mpsc::channel(FEEDBACK);
        let peer = Peer {
            connection: connection.clone(),
            feedback,
            vitals: vitals.clone(),
            route,
            offer: offer.sdp.clone(),
        };
        let answer = peer.negotiate(offer, gathering).await?;
        tokio::spawn(attend(connection, handler, wanted));
        Ok((
            peer,
            Inbox {
                events: inbox,
                vitals,
            },
            answer,
        ))
    }

    async fn negotiate(&self, offer: &Offer, gathering: oneshot::Receiver<()>) -> Result<String, PeerError> {
        for media in &offer.media {
            let kind = match media.codec.is_video() {
                true => RtpCodecKind::Video,
                false => RtpCodecKind::Audio,
            };
            let direction = RTCRtpTransceiverDirection::Recvonly;
            let init = RTCRtpTransceiverInit {
                direction,
                ..Default::default()
            };
            self.connection
                .add_transceiver_from_kind(kind, Some(init))
                .await
                .map_err(stack)?;
        }
        self.respond().await?;
        // Its own candidates are replaced: late or failed gathering changes nothing.
        let _ = tokio::time::timeout(GATHERING, gathering).await;
        let local = self.connection.local_description().await;
        local
            .map(|d| d.sdp)
            .ok_or_else(|| PeerError::Stack("no answer".into()))
    }

    /// Answers the offer, and is found by what the answer says from now on.
    async fn respond(&self) -> Result<(), PeerError> {
        let refused = |error: ::webrtc::error::Error| PeerError::Offer(error.to_string());
        let remote = RTCSessionDescription::offer(self.offer.clone()).map_err(refused)?;
        self.connection
            .set_remote_description(remote)
            .await
            .map_err(refused)?;
        let answer = self.connection.create_answer(None).await.map_err(refused)?;
        let (Some(ours), Some(theirs)) = (credentials(&answer.sdp), credentials(&self.offer)) else {
            return Err(PeerError::Stack("a description without ICE".into()));
        };
        self.connection
            .set_local_description(answer)
            .await
            .map_err(refused)?;
        self.route.answers_to(Generation { ours, theirs });
        Ok(())
    }

    /// Restarts ICE (RFC 8445 §9) with the publisher's new credentials; gives ours. Media go on over the old path until
    /// they come over a new one.
    pub fn restart(&self, ufrag: &str, password: &str) -> Result<(String, String), PeerError> {
        let theirs = Credentials {
            ufrag: ufrag.to_owned(),
            password: password.to_owned(),
        };
        let ours = self.route.restart(theirs);
        let ours = ours.ok_or_else(|| PeerError::Stack("the session is over".into()))?;
        Ok((ours.ufrag, ours.password))
    }

    /// What was offered.
    pub fn offer(&self) -> &str {
        &self.offer
    }

    /// A candidate from a trickle fragment. One the stack cannot use is ignored (RFC 9725 §4.3.1).
    pub async fn add_candidate(&self, mid: String, candidate: String) {
        let sdp_mid = (!mid.is_empty()).then_some(mid);
        let init = RTCIceCandidateInit {
            candidate,
            sdp_mid,
            ..Default::default()
        };
        if let Err(error) = self.connection.add_ice_candidate(init).await {
            tracing::debug!(%error, "candidate ignored");
        }
    }

    /// Never waits. False if the stack is behind: ask again.
    pub fn send(&self, feedback: Feedback) -> bool {
        self.feedback.try_send(feedback).is_ok()
    }

    pub fn rtt(&self) -> Duration {
        self.vitals.rtt()
    }

    pub async fn close(&self) {
        if let Err(error) = self.connection.close().await {
            tracing::debug!(%error, "closing");
        }
    }
}

impl Vitals {
    fn new() -> Self {
        Vitals {
            began: Instant::now(),
            heard: AtomicU64::new(0),
            rtt_us: AtomicU64::new(0),
            overflow: AtomicU64::new(0),
        }
    }

    /// When RTP or RTCP last came; when the connection was made, if none did.
    pub fn heard(&self) -> Instant {
        self.began + Duration::from_millis(self.heard.load(Ordering::Relaxed))
    }

    pub fn has_been_heard(&self) -> bool {
        self.heard.load(Ordering::Relaxed) > 0
    }

    /// Zero until it is known.
    pub fn rtt(&self) -> Duration {
        Duration::from_micros(self.rtt_us.load(Ordering::Relaxed))
    }

    /// Packets lost inside since the last call.
    pub fn overflow(&self) -> u64 {
        self.overflow.swap(0, Ordering::Relaxed)
    }

    fn hear(&self, at: Instant) {
        let ms = at.saturating_duration_since(self.began).as_millis() as u64;
        self.heard.fetch_max(ms.max(1), Ordering::Relaxed);
    }

    /// Hands an event over without waiting; a full inbox loses it.
    fn hand(&self, events: &mpsc::Sender<Event>, event: Event) {
        if let Err(mpsc::error::TrySendError::Full(_)) = events.try_send(event) {
            self.overflow.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// RFC 8445 §14.2 has 50 ms. The stack's own 200 ms are what a publisher on the same network would wait for.
pub(crate) const ICE_CHECKS_EVERY: Duration = Duration::from_millis(50);

/// Checks of one pair of candidates: for two seconds, as long as any path takes.
pub(crate) const ICE_CHECKS: u16 = 40;

fn settings() -> Result<SettingEngine, PeerError> {
    let settings = SettingEngineBuilder::new()
        .with_crypto_provider(Arc::new(crypto::Crypto::new().map_err(stack)?))
        .with_multicast_dns_mode(MulticastDnsMode::Disabled)
        .with_ice_timeouts(Some(ICE_DISCONNECTED), None, None)
        .with_ice_connection_attempts(Some(ICE_CHECKS_EVERY), Some(ICE_CHECKS))
        .with_srtp_replay_protection_window(REPLAY_WINDOW)
        // The placeholder of our socket is a loopback address.
        .with_include_loopback_candidate(true)
        .build();
    Ok(settings)
}

/// Of the first section, which stands for all: they are bundled.
fn credentials(description: &str) -> Option<Credentials> {
    Some(Credentials {
        ufrag: sdp::value(description, "ice-ufrag")?.to_owned(),
        password: sdp::value(description, "ice-pwd")?.to_owned(),
    })
}

fn stack(error: impl std::fmt::Display) -> PeerError {
    PeerError::Stack(error.to_string())
}

/// Called by the stack's driver: nothing here may wait.
struct Handler {
    events: mpsc::Sender<Event>,
    vitals: Arc<Vitals>,
    /// Any: what is written to one goes to the publisher, whichever stream it is about.
    track: Mutex<Option<Arc<dyn TrackRemote>>>,
    gathered: Mutex<Option<oneshot::Sender<()>>>,
}

#[async_trait::async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        if state == RTCIceGatheringState::Complete {
            let sender = self
                .gathered
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take();
            sender.map(|sender| sender.send(()));
        }
    }

    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        match state {
            RTCPeerConnectionState::Connected => self.vitals.hand(&self.events, Event::Connected),
            RTCPeerConnectionState::Disconnected
            | RTCPeerConnectionState::Failed
            | RTCPeerConnectionState::Closed => self.vitals.hand(&self.events, Event::Gone),
            _ => {}
        }
    }

    async fn on_track(&self, track: Arc<dyn TrackRemote>) {
        *self.track.lock().unwrap_or_else(PoisonError::into_inner) = Some(track);
    }
}

impl Handler {
    fn track(&self) -> Option<Arc<dyn TrackRemote>> {
        self.track.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Sends feedback and looks after the connection, both of which wait for the stack. Ends with the [`Peer`].
async fn attend(
    connection: Arc<dyn PeerConnection>,
    handler: Arc<Handler>,
    mut wanted: mpsc::Receiver<Feedback>,
) {
    let mut checkup = tokio::time::interval(CHECKUP);
    checkup.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut hung_up = false;
    loop {
        tokio::select! {
            feedback = wanted.recv() => match feedback {
                Some(feedback) => write(&handler, feedback).await,
                None => break,
            },
            _ = checkup.tick() => {
                if let Some(rtt) = round_trip(&connection).await {
                    handler.vitals.rtt_us.store(rtt.as_micros() as u64, Ordering::Relaxed);
                }
                if !hung_up && has_hung_up(&connection).await {
                    hung_up = true;
                    handler.vitals.hand(&handler.events, Event::Gone);
                }
            }
        }
    }
    // Also when the session ended without closing it.
    let _ = connection.close().await;
}

async fn write(handler: &Handler, feedback: Feedback) {
    let packet: Box<dyn rtc::rtcp::Packet> = match feedback {
        Feedback::Nack { ssrc, sequences } => Box::new(TransportLayerNack {
            sender_ssrc: 0,
            media_ssrc: ssrc,
            nacks: nack_pairs_from_sequence_numbers(&sequences),
        }),
        Feedback::Keyframe { ssrc } => Box::new(PictureLossIndication {
            sender_ssrc: 0,
            media_ssrc: ssrc,
        }),
    };
    if let Some(track) = handler.track()
        && let Err(error) = track.write_rtcp(vec![packet]).await
    {
        tracing::debug!(%error, "feedback not sent");
    }
}

/// The stack answers a close_notify but tells nobody: its connection stays "connected".
async fn has_hung_up(connection: &Arc<dyn PeerConnection>) -> bool {
    let Some(receiver) = connection.get_receivers().await.into_iter().next() else {
        return false;
    };
    let Ok(Some(transport)) = receiver.transport().await else {
        return false;
    };
    matches!(
        transport.state().await,
        Ok(RTCDtlsTransportState::Closed | RTCDtlsTransportState::Failed)
    )
}

async fn round_trip(connection: &Arc<dyn PeerConnection>) -> Option<Duration> {
    let report = connection.get_stats(Instant::now(), StatsSelector::None).await;
    // The pair in use is the one that carries media.
    let pair = report.candidate_pairs().max_by_key(|pair| pair.bytes_received)?;
    let seconds = pair.current_round_trip_time;
    (seconds > 0.0 && seconds < 60.0).then(|| Duration::from_secs_f64(seconds))
}
