//! The publisher's side of the WebRTC connection.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rtc::ice::mdns::MulticastDnsMode;
use rtc::interceptor::{NackResponderBuilder, Registry, Slot};
use rtc::media_stream::MediaStreamTrack;
use rtc::peer_connection::configuration::RTCOfferOptions;
use rtc::peer_connection::configuration::media_engine::MediaEngine;
use rtc::peer_connection::configuration::setting_engine::{SettingEngine, SettingEngineBuilder};
use rtc::peer_connection::sdp::RTCSessionDescription;
use rtc::peer_connection::transport::RTCIceServer;
use rtc::rtp_transceiver::rtp_sender::{
    RTCRtpCodec, RTCRtpCodingParameters, RTCRtpEncodingParameters, RtpCodecKind,
};
use rtc::rtp_transceiver::{RTCRtpTransceiverDirection, RTCRtpTransceiverInit};
use timeline::{Codec, Frame, Timeline};
use tokio::sync::{Notify, watch};
use webrtc::media_stream::track_local::TrackLocal;
use webrtc::media_stream::track_local::static_rtp::TrackLocalStaticRTP;
use webrtc::peer_connection::{
    PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCConfigurationBuilder,
    RTCIceGatheringState, RTCPeerConnectionState,
};
use webrtc::rtp_transceiver::RtpTransceiver;

use super::clock::RtpClock;
use super::keyframes;
use super::reports::{Sender, SenderReports};
use super::rtp::Packetizer;
use super::{Config, Error};
use crate::peer::{ICE_CHECKS, ICE_CHECKS_EVERY, codecs};
use crate::sdp::{self, Fragment};

/// Constrained baseline as everyone names it; what the pictures really are, their SPS says.
const H264_PROFILE: &str = "42e01f";
const H264_PAYLOAD_TYPE: u8 = 96;
const RTX_PAYLOAD_TYPE: u8 = 97;
const OPUS_PAYLOAD_TYPE: u8 = 111;

/// Packets kept for repairs: four seconds of 2.5 Mbit/s. A power of two.
const REPAIRABLE_PACKETS: u16 = 1024;

/// Without a STUN server gathering takes no time; with one that does not answer the offer goes without it.
const GATHERING: Duration = Duration::from_secs(2);

/// ICE and DTLS take under a second even across the world; then something is in the way.
const CONNECTING: Duration = Duration::from_secs(15);

/// Which session that was, the caller knows.
pub(super) const LOST: Error = Error::Lost { session: None };

pub struct Connection {
    peer: Arc<dyn PeerConnection>,
    here: Here,
    tracks: [Track; 2],
    state: watch::Receiver<RTCPeerConnectionState>,
    gathered: Arc<watch::Sender<bool>>,
    keyframe_wanted: Arc<Notify>,
}

struct Track {
    codec: Codec,
    clock: RtpClock,
    ssrc: u32,
    local: Arc<TrackLocalStaticRTP>,
    transceiver: Arc<dyn RtpTransceiver>,
}

/// The address that it sends from. The stack asks again when it restarts.
#[derive(Clone)]
struct Here(Arc<Mutex<IpAddr>>);

impl Here {
    fn get(&self) -> IpAddr {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ToSocketAddrs for Here {
    type Iter = std::iter::Once<SocketAddr>;

    fn to_socket_addrs(&self) -> std::io::Result<Self::Iter> {
        Ok(std::iter::once(SocketAddr::new(self.get(), 0)))
    }
}

impl Connection {
    /// A connection that can make an offer. It sends from `address`.
    pub async fn new(config: &Config, address: IpAddr) -> Result<Self, Error> {
        // One stream for both: they belong together. It is the RTCP name, too.
        let stream = uuid::Uuid::new_v4().to_string();
        let plans = [
            Plan::new(Codec::Opus, config.timeline),
            Plan::new(Codec::H264, config.timeline),
        ];
        let keyframe_wanted = Arc::new(Notify::new());
        let (state, state_seen) = watch::channel(RTCPeerConnectionState::New);
        let gathered = Arc::new(watch::Sender::new(false));
        let senders = plans
            .iter()
            .map(|plan| Sender::new(plan.ssrc, plan.clock))
            .collect();
        let registry = Registry::new()
            .with(
                Slot::NackResponder,
                NackResponderBuilder::new().with_size(REPAIRABLE_PACKETS).build(),
            )
            .with(Slot::SenderReport, SenderReports::new(senders, stream.clone()))
            .with(keyframes::SLOT, keyframes::requests(keyframe_wanted.clone()));
        let ice = config.stun.iter().map(|url| RTCIceServer {
            urls: vec![url.clone()],
            ..Default::default()
        });
        let here = Here(Arc::new(Mutex::new(address)));
        let peer: Arc<dyn PeerConnection> = Arc::new(
            PeerConnectionBuilder::new()
                .with_configuration(
                    RTCConfigurationBuilder::default()
                        .with_ice_servers(ice.collect())
                        .build(),
                )
                .with_media_engine(media_engine()?)
                .with_setting_engine(settings())
                .with_interceptor_registry(registry)
                .with_handler(Arc::new(Handler {
                    state,
                    gathered: gathered.clone(),
                }))
                .with_udp_addrs(vec![here.clone()])
                .build()
                .await
                .map_err(Error::webrtc)?,
        );
        let [audio, video] = plans;
        let tracks = [
            audio.add(&*peer, &stream).await?,
            video.add(&*peer, &stream).await?,
        ];
        Ok(Connection {
            peer,
            here,
            tracks,
            state: state_seen,
            gathered,
            keyframe_wanted,
        })
    }

    /// The offer, with its candidates.
    pub async fn offer(&self) -> Result<String, Error> {
        self.describe(None).await
    }

    /// Begins a restart of ICE, from this address: an offer that goes by other credentials. The path there was is given up.
    pub async fn restart(&self, address: IpAddr) -> Result<String, Error> {
        *self.here.0.lock().unwrap_or_else(PoisonError::into_inner) = address;
        let restart = RTCOfferOptions { ice_restart: true };
        self.describe(Some(restart)).await
    }

    /// Ends the restart: the server goes by what this says now. Returns when media can flow again.
    pub async fn restarted(&self, theirs: &Fragment) -> Result<(), Error> {
        let (Some(ufrag), Some(password)) = (&theirs.ufrag, &theirs.password) else {
            return Err(Error::BadAnswer("a restart without credentials".into()));
        };
        let before = self.peer.remote_description().await;
        let before = before.ok_or_else(|| Error::WebRtc("no answer".into()))?;
        let candidates = theirs.candidates.iter();
        let candidates: String = candidates
            .map(|(_, candidate)| format!("a={candidate}\r\n"))
            .collect();
        self.accept(sdp::renamed(&before.sdp, ufrag, password) + &candidates)
            .await?;
        match tokio::time::timeout(
            CONNECTING,
            self.becomes(|state| state == RTCPeerConnectionState::Connected),
        )
        .await
        {
            Ok(()) => Ok(()),
            Err(_) => Err(Error::NoConnection(CONNECTING)),
        }
    }

    pub fn address(&self) -> IpAddr {
        self.here.get()
    }

    async fn describe(&self, options: Option<RTCOfferOptions>) -> Result<String, Error> {
        self.gathered.send_replace(false);
        let offer = self.peer.create_offer(options).await.map_err(Error::webrtc)?;
        self.peer
            .set_local_description(offer)
            .await
            .map_err(Error::webrtc)?;
        let mut gathered = self.gathered.subscribe();
        // Late or not at all: the server learns of an address when it is heard from there.
        let _ = tokio::time::timeout(GATHERING, gathered.wait_for(|gathered| *gathered)).await;
        let local = self.peer.local_description().await;
        local
            .map(|description| description.sdp)
            .ok_or_else(|| Error::WebRtc("no offer".into()))
    }

    pub async fn accept(&self, answer: String) -> Result<(), Error> {
        let refuse = |e: webrtc::error::Error| Error::BadAnswer(e.to_string());
        let answer = RTCSessionDescription::answer(answer).map_err(refuse)?;
        self.peer.set_remote_description(answer).await.map_err(refuse)
    }

    /// Waits until media can flow.
    pub async fn connected(&self) -> Result<Sending, Error> {
        let mut state = self.state.clone();
        let settled = state.wait_for(|state| *state == RTCPeerConnectionState::Connected || is_over(*state));
        match tokio::time::timeout(CONNECTING, settled).await {
            Ok(Ok(state)) if *state == RTCPeerConnectionState::Connected => {}
            Ok(_) => return Err(LOST),
            Err(_) => return Err(Error::NoConnection(CONNECTING)),
        }
        let [audio, video] = &self.tracks;
        Ok(Sending {
            lines: [audio.line().await?, video.line().await?],
        })
    }

    /// Resolves when the path to the server is gone, and perhaps the server.
    pub async fn broken(&self) {
        self.becomes(is_over).await;
    }

    async fn becomes(&self, wanted: impl Fn(RTCPeerConnectionState) -> bool) {
        let mut state = self.state.clone();
        let _ = state.wait_for(|state| wanted(*state)).await;
    }

    /// The server could not know that it wants one.
    pub fn want_keyframe(&self) {
        self.keyframe_wanted.notify_one();
    }

    /// Resolves when the server has asked for a keyframe since the last call.
    pub async fn keyframe_wanted(&self) {
        self.keyframe_wanted.notified().await;
    }

    pub async fn close(&self) {
        if let Err(e) = self.peer.close().await {
            tracing::debug!("the connection did not close cleanly: {e}");
        }
    }
}

/// Where frames go once the connection stands.
pub struct Sending {
    lines: [(Codec, Packetizer, Arc<TrackLocalStaticRTP>); 2],
}

impl Sending {
    /// Waits while the stack is busy: a connection that falls behind shows as an overflow of the feed.
    pub async fn send(&mut self, codec: Codec, frame: &Frame) -> Result<(), Error> {
        let line = self.lines.iter_mut().find(|(of, ..)| *of == codec);
        let (_, packetizer, track) = line.ok_or(Error::UnsupportedCodec(codec))?;
        for packet in packetizer.packets(frame)? {
            // It fails only when the connection is closed.
            track.write_rtp(packet).await.map_err(|_| LOST)?;
        }
        Ok(())
    }
}

/// A track before it is part of a connection.
struct Plan {
    codec: Codec,
    clock: RtpClock,
    ssrc: u32,
}

impl Plan {
    fn new(codec: Codec, timeline: Timeline) -> Self {
        let clock = RtpClock {
            timeline,
            rate: named(codec).clock_rate,
            offset: rand::random(),
        };
        Plan {
            codec,
            clock,
            ssrc: rand::random(),
        }
    }

    async fn add(self, peer: &dyn PeerConnection, stream: &str) -> Result<Track, Error> {
        let Plan { codec, clock, ssrc } = self;
        let kind = if codec.is_video() {
            RtpCodecKind::Video
        } else {
            RtpCodecKind::Audio
        };
        let coding = RTCRtpEncodingParameters {
            rtp_coding_parameters: RTCRtpCodingParameters {
                ssrc: Some(ssrc),
                ..Default::default()
            },
            codec: named(codec),
            ..Default::default()
        };
        let track = MediaStreamTrack::new(
            stream.to_owned(),
            uuid::Uuid::new_v4().to_string(),
            codec.name().to_owned(),
            kind,
            vec![coding],
        );
        let local = Arc::new(TrackLocalStaticRTP::new(track));
        let init = RTCRtpTransceiverInit {
            direction: RTCRtpTransceiverDirection::Sendonly,
            ..Default::default()
        };
        let transceiver = peer
            .add_transceiver_from_track(local.clone(), Some(init))
            .await
            .map_err(Error::webrtc)?;
        Ok(Track {
            codec,
            clock,
            ssrc,
            local,
            transceiver,
        })
    }
}

impl Track {
    /// What was negotiated for it.
    async fn line(&self) -> Result<(Codec, Packetizer, Arc<TrackLocalStaticRTP>), Error> {
        let sender = self.transceiver.sender().await.map_err(Error::webrtc)?;
        let sender = sender.ok_or_else(|| Error::WebRtc("a track without a sender".into()))?;
        let parameters = sender.get_parameters().await.map_err(Error::webrtc)?;
        let mime_type = named(self.codec).mime_type;
        let codec = parameters
            .rtp_parameters
            .codecs
            .iter()
            .find(|codec| codec.rtp_codec.mime_type.eq_ignore_ascii_case(&mime_type))
            .ok_or_else(|| Error::BadAnswer(format!("it does not take {}", self.codec.name())))?;
        let packetizer = Packetizer::new(self.codec, self.clock, self.ssrc, codec.payload_type)?;
        Ok((self.codec, packetizer, self.local.clone()))
    }
}

fn named(codec: Codec) -> RTCRtpCodec {
    match codec {
        Codec::Opus => codecs::opus(),
        Codec::Vp8 => codecs::vp8(),
        // Nothing else is published (`rtp::packetizer`).
        _ => codecs::h264(H264_PROFILE),
    }
}

fn media_engine() -> Result<MediaEngine, Error> {
    let mut engine = MediaEngine::default();
    for (codec, payload_type, kind) in [
        (named(Codec::Opus), OPUS_PAYLOAD_TYPE, RtpCodecKind::Audio),
        (named(Codec::H264), H264_PAYLOAD_TYPE, RtpCodecKind::Video),
        (
            codecs::rtx(H264_PAYLOAD_TYPE),
            RTX_PAYLOAD_TYPE,
            RtpCodecKind::Video,
        ),
    ] {
        engine
            .register_codec(codecs::parameters(codec, payload_type), kind)
            .map_err(Error::webrtc)?;
    }
    Ok(engine)
}

fn settings() -> SettingEngine {
    SettingEngineBuilder::new()
        .with_multicast_dns_mode(MulticastDnsMode::Disabled)
        .with_ice_connection_attempts(Some(ICE_CHECKS_EVERY), Some(ICE_CHECKS))
        // Another network has other addresses.
        .with_discard_local_candidates_during_ice_restart(true)
        // A server on this machine is published to as well.
        .with_include_loopback_candidate(true)
        .build()
}

fn is_over(state: RTCPeerConnectionState) -> bool {
    matches!(
        state,
        RTCPeerConnectionState::Disconnected
            | RTCPeerConnectionState::Failed
            | RTCPeerConnectionState::Closed
    )
}

/// Called by the stack's driver: nothing here may wait.
struct Handler {
    state: watch::Sender<RTCPeerConnectionState>,
    gathered: Arc<watch::Sender<bool>>,
}

#[async_trait::async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        self.gathered
            .send_replace(state == RTCIceGatheringState::Complete);
    }

    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        self.state.send_replace(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::SystemTime;

    #[tokio::test]
    async fn the_offer_is_what_whip_asks_for() {
        let timeline = Timeline::starting(SystemTime::now().into());
        let config = Config::new("http://localhost/whip/a", timeline);
        let connection = Connection::new(&config, [127, 0, 0, 1].into()).await.unwrap();
        let offer = connection.offer().await.unwrap();
        let count = |line: &str| offer.lines().filter(|l| l.starts_with(line)).count();
        assert_eq!(
            (count("m=audio"), count("m=video"), count("m=")),
            (1, 1, 2),
            "{offer}"
        );
        assert_eq!((count("a=sendonly"), count("a=rtcp-mux")), (2, 2), "{offer}");
        assert!(offer.contains("a=group:BUNDLE 0 1"), "{offer}");
        assert!(offer.contains("a=setup:actpass"), "{offer}");
        assert!(offer.contains("a=rtpmap:111 opus/48000/2"), "{offer}");
        assert!(offer.contains("stereo=1"), "{offer}");
        assert!(offer.contains("packetization-mode=1"), "{offer}");
        assert!(
            offer.contains("a=rtpmap:97 rtx/90000") && offer.contains("a=fmtp:97 apt=96"),
            "{offer}"
        );
        assert_eq!(count("a=ssrc-group:FID"), 1, "{offer}");
        assert!(offer.contains(" 127.0.0.1 "), "its own candidate: {offer}");
        connection.close().await;
    }
}
