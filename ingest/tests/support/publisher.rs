//! A WebRTC publisher that does exactly what a test tells it: RTP packet by RTP packet, report by report.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::http::Method;
use bytes::Bytes;
use rtc::ice::mdns::MulticastDnsMode;
use rtc::interceptor::{Interceptor, Packet, Registry, Slot, StreamInfo, TaggedPacket};
use rtc::media_stream::MediaStreamTrack;
use rtc::peer_connection::configuration::RTCOfferOptions;
use rtc::peer_connection::configuration::media_engine::{MIME_TYPE_H264, MIME_TYPE_OPUS, MediaEngine};
use rtc::peer_connection::configuration::setting_engine::SettingEngineBuilder;
use rtc::peer_connection::sdp::RTCSessionDescription;
use rtc::peer_connection::transport::RTCIceCandidateInit;
use rtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc::rtcp::sender_report::SenderReport;
use rtc::rtcp::transport_feedbacks::transport_layer_nack::TransportLayerNack;
use rtc::rtp;
use rtc::rtp_transceiver::rtp_sender::{
    RTCPFeedback, RTCRtpCodec, RTCRtpCodecParameters, RTCRtpCodingParameters, RTCRtpEncodingParameters,
    RtpCodecKind,
};
use rtc::sansio::Protocol;
use rtc::shared::error::Error;
use tokio::sync::{mpsc, watch};
use webrtc::media_stream::track_local::TrackLocal;
use webrtc::media_stream::track_local::static_rtp::TrackLocalStaticRTP;
use webrtc::peer_connection::{
    PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCConfigurationBuilder,
    RTCIceGatheringState, RTCPeerConnectionState,
};

use super::{Answer, GOOD, PATIENCE, post_as, request};

pub const VIDEO: u32 = 0x1111;
pub const AUDIO: u32 = 0x2222;
pub const SCREEN: u32 = 0x3333;

/// What the server asked of us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    Keyframe(u32),
    Again(u32, Vec<u16>),
}

pub struct Publisher {
    pub connection: Arc<dyn PeerConnection>,
    pub location: String,
    pub etag: String,
    pub wishes: mpsc::UnboundedReceiver<Wish>,
    state: watch::Receiver<(bool, RTCPeerConnectionState)>,
    video: Arc<TrackLocalStaticRTP>,
    audio: Arc<TrackLocalStaticRTP>,
    screen: Arc<TrackLocalStaticRTP>,
}

impl Publisher {
    /// Makes an offer of H.264 and Opus; `answer` gets it and brings the server's answer.
    pub async fn offer() -> (Self, String) {
        Self::offer_with(false).await
    }

    /// The same, with a second picture.
    pub async fn offer_with(a_screen: bool) -> (Self, String) {
        Self::make(a_screen, vec!["127.0.0.1:0"], Vec::new()).await
    }

    /// From these addresses, over UDP and over TCP.
    pub async fn offer_over(udp: Vec<&'static str>, tcp: Vec<&'static str>) -> (Self, String) {
        Self::make(false, udp, tcp).await
    }

    async fn make(a_screen: bool, udp: Vec<&'static str>, tcp: Vec<&'static str>) -> (Self, String) {
        let (wish, wishes) = mpsc::unbounded_channel();
        let (tell, state) = watch::channel((false, RTCPeerConnectionState::New));
        let mut engine = MediaEngine::default();
        engine
            .register_codec(parameters(h264(), 102), RtpCodecKind::Video)
            .unwrap();
        engine
            .register_codec(parameters(opus(), 111), RtpCodecKind::Audio)
            .unwrap();
        let settings = SettingEngineBuilder::new()
            .with_multicast_dns_mode(MulticastDnsMode::Disabled)
            .with_include_loopback_candidate(true)
            // As if it had moved: its sockets are others after a restart.
            .with_discard_local_candidates_during_ice_restart(true)
            .build();
        let connection: Arc<dyn PeerConnection> = Arc::new(
            PeerConnectionBuilder::new()
                .with_configuration(RTCConfigurationBuilder::default().build())
                .with_media_engine(engine)
                .with_setting_engine(settings)
                .with_interceptor_registry(Registry::new().with(Slot::Custom(500), Ear::new(wish)))
                .with_handler(Arc::new(State(tell)))
                .with_udp_addrs(udp)
                .with_tcp_addrs(tcp)
                .build()
                .await
                .unwrap(),
        );
        let video = track(RtpCodecKind::Video, h264(), VIDEO);
        let audio = track(RtpCodecKind::Audio, opus(), AUDIO);
        connection.add_track(audio.clone()).await.unwrap();
        connection.add_track(video.clone()).await.unwrap();
        let screen = track(RtpCodecKind::Video, h264(), SCREEN);
        if a_screen {
            connection.add_track(screen.clone()).await.unwrap();
        }
        let offer = connection.create_offer(None).await.unwrap();
        connection.set_local_description(offer).await.unwrap();
        let mut publisher = Publisher {
            connection,
            location: String::new(),
            etag: String::new(),
            wishes,
            state,
            video,
            audio,
            screen,
        };
        publisher.wait(|(gathered, _)| *gathered).await;
        let offer = publisher.connection.local_description().await.unwrap().sdp;
        // A publisher only sends.
        (publisher, offer.replace("a=sendrecv", "a=sendonly"))
    }

    pub async fn answered(&mut self, answer: &Answer) {
        self.location = answer.header("location").to_owned();
        self.etag = answer.header("etag").to_owned();
        let sdp = answer.body.clone();
        let answer = RTCSessionDescription::answer(sdp.clone()).unwrap();
        self.connection.set_remote_description(answer).await.unwrap();
        // To those of a description the stack does not connect.
        for tcp in sdp.lines().filter(|line| line.ends_with(" tcptype passive")) {
            let init = RTCIceCandidateInit {
                candidate: tcp.trim_start_matches("a=").to_owned(),
                sdp_mid: Some("0".into()),
                ..Default::default()
            };
            self.connection.add_ice_candidate(init).await.unwrap();
        }
        self.wait(|(_, state)| *state == RTCPeerConnectionState::Connected)
            .await;
    }

    /// Offers, posts, and is connected.
    pub async fn connect(router: &Router, path: &str) -> Self {
        Self::begin(GOOD, router, path, false).await
    }

    pub async fn connect_as(bearer: (&str, &str), router: &Router, path: &str) -> Self {
        Self::begin(bearer, router, path, false).await
    }

    pub async fn connect_with_a_screen(router: &Router, path: &str) -> Self {
        Self::begin(GOOD, router, path, true).await
    }

    async fn begin(bearer: (&str, &str), router: &Router, path: &str, a_screen: bool) -> Self {
        let (mut publisher, offer) = Publisher::offer_with(a_screen).await;
        let answer = post_as(bearer, router, path, &offer).await;
        assert_eq!(answer.status, 201, "{}", answer.body);
        publisher.answered(&answer).await;
        publisher
    }

    /// Comes back from other ports by a restart of ICE.
    pub async fn restart(&mut self, router: &Router, etag: &str) -> Answer {
        let restart = RTCOfferOptions { ice_restart: true };
        let offer = self.connection.create_offer(Some(restart)).await.unwrap();
        self.connection
            .set_local_description(offer.clone())
            .await
            .unwrap();
        let lines = ["a=ice-ufrag:", "a=ice-pwd:", "m=", "a=mid:"]
            .map(|name| offer.sdp.lines().find(|line| line.starts_with(name)).unwrap());
        let headers = [
            GOOD,
            ("content-type", "application/trickle-ice-sdpfrag"),
            ("if-match", etag),
        ];
        let body = lines.join("\r\n") + "\r\n";
        let answer = request(router, Method::PATCH, &self.location, &headers, body.as_bytes()).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        let before = self.connection.remote_description().await.unwrap().sdp;
        let new = |name: &str| answer.body.lines().find(|line| line.starts_with(name)).unwrap();
        let after: String = before
            .lines()
            .map(|line| match line {
                line if line.starts_with("a=ice-ufrag:") => new("a=ice-ufrag:"),
                line if line.starts_with("a=ice-pwd:") => new("a=ice-pwd:"),
                line => line,
            })
            .map(|line| format!("{line}\r\n"))
            .collect();
        let after = RTCSessionDescription::answer(after).unwrap();
        self.connection.set_remote_description(after).await.unwrap();
        answer
    }

    pub async fn video(&self, sequence: u16, timestamp: u32, marker: bool, payload: Bytes) {
        self.video
            .write_rtp(packet(VIDEO, 102, sequence, timestamp, marker, payload))
            .await
            .unwrap();
    }

    pub async fn screen(&self, sequence: u16, timestamp: u32, marker: bool, payload: Bytes) {
        self.screen
            .write_rtp(packet(SCREEN, 102, sequence, timestamp, marker, payload))
            .await
            .unwrap();
    }

    pub async fn audio(&self, sequence: u16, timestamp: u32, payload: Bytes) {
        self.audio
            .write_rtp(packet(AUDIO, 111, sequence, timestamp, false, payload))
            .await
            .unwrap();
    }

    pub async fn report(&self, ssrc: u32, ntp_time: u64, rtp_time: u32) {
        let report = SenderReport {
            ssrc,
            ntp_time,
            rtp_time,
            ..Default::default()
        };
        let track = if ssrc == VIDEO { &self.video } else { &self.audio };
        track.write_rtcp(vec![Box::new(report)]).await.unwrap();
    }

    /// Waits for this wish, whatever else is asked for before.
    pub async fn wished(&mut self, wanted: Wish) {
        let seen = async { while self.wishes.recv().await.expect("open") != wanted {} };
        tokio::time::timeout(PATIENCE, seen)
            .await
            .expect("the server asks");
    }

    async fn wait(&mut self, done: impl FnMut(&(bool, RTCPeerConnectionState)) -> bool) {
        tokio::time::timeout(PATIENCE, self.state.wait_for(done))
            .await
            .expect("in time")
            .unwrap();
    }
}

fn packet(
    ssrc: u32,
    payload_type: u8,
    sequence_number: u16,
    timestamp: u32,
    marker: bool,
    payload: Bytes,
) -> rtp::Packet {
    let header = rtp::Header {
        version: 2,
        ssrc,
        payload_type,
        sequence_number,
        timestamp,
        marker,
        ..Default::default()
    };
    rtp::Packet { header, payload }
}

fn track(kind: RtpCodecKind, codec: RTCRtpCodec, ssrc: u32) -> Arc<TrackLocalStaticRTP> {
    let coding = RTCRtpEncodingParameters {
        rtp_coding_parameters: RTCRtpCodingParameters {
            ssrc: Some(ssrc),
            ..Default::default()
        },
        codec,
        active: true,
        ..Default::default()
    };
    let name = format!("{kind}-{ssrc}");
    Arc::new(TrackLocalStaticRTP::new(MediaStreamTrack::new(
        "stream".into(),
        name.clone(),
        name,
        kind,
        vec![coding],
    )))
}

fn h264() -> RTCRtpCodec {
    let feedback = |typ: &str, parameter: &str| RTCPFeedback {
        typ: typ.into(),
        parameter: parameter.into(),
    };
    RTCRtpCodec {
        mime_type: MIME_TYPE_H264.into(),
        clock_rate: 90_000,
        channels: 0,
        sdp_fmtp_line: "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f".into(),
        rtcp_feedback: vec![feedback("nack", ""), feedback("nack", "pli")],
    }
}

fn opus() -> RTCRtpCodec {
    RTCRtpCodec {
        mime_type: MIME_TYPE_OPUS.into(),
        clock_rate: 48_000,
        channels: 2,
        sdp_fmtp_line: "minptime=10;useinbandfec=1".into(),
        rtcp_feedback: Vec::new(),
    }
}

fn parameters(rtp_codec: RTCRtpCodec, payload_type: u8) -> RTCRtpCodecParameters {
    RTCRtpCodecParameters {
        rtp_codec,
        payload_type,
    }
}

struct State(watch::Sender<(bool, RTCPeerConnectionState)>);

#[async_trait::async_trait]
impl PeerConnectionEventHandler for State {
    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        self.0
            .send_modify(|s| s.0 |= state == RTCIceGatheringState::Complete);
    }

    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        self.0.send_modify(|s| s.1 = state);
    }
}

/// Hears what the server asks for; the stack tells nobody.
struct Ear {
    wish: mpsc::UnboundedSender<Wish>,
    read: VecDeque<TaggedPacket>,
    write: VecDeque<TaggedPacket>,
}

impl Ear {
    fn new(wish: mpsc::UnboundedSender<Wish>) -> Self {
        Ear {
            wish,
            read: VecDeque::new(),
            write: VecDeque::new(),
        }
    }
}

impl Protocol<TaggedPacket, TaggedPacket, ()> for Ear {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = Error;
    type Time = Instant;

    fn handle_read(&mut self, packet: TaggedPacket) -> Result<(), Error> {
        if let Packet::Rtcp(packets) = &packet.message.packet {
            for packet in packets {
                if let Some(pli) = packet.as_any().downcast_ref::<PictureLossIndication>() {
                    let _ = self.wish.send(Wish::Keyframe(pli.media_ssrc));
                }
                if let Some(nack) = packet.as_any().downcast_ref::<TransportLayerNack>() {
                    let sequences = nack.nacks.iter().flat_map(|pair| pair.packet_list()).collect();
                    let _ = self.wish.send(Wish::Again(nack.media_ssrc, sequences));
                }
            }
        }
        self.read.push_back(packet);
        Ok(())
    }

    fn poll_read(&mut self) -> Option<TaggedPacket> {
        self.read.pop_front()
    }

    fn handle_write(&mut self, packet: TaggedPacket) -> Result<(), Error> {
        self.write.push_back(packet);
        Ok(())
    }

    fn poll_write(&mut self) -> Option<TaggedPacket> {
        self.write.pop_front()
    }
}

impl Interceptor for Ear {
    fn bind_local_stream(&mut self, _: &StreamInfo) {}
    fn unbind_local_stream(&mut self, _: &StreamInfo) {}
    fn bind_remote_stream(&mut self, _: &StreamInfo) {}
    fn unbind_remote_stream(&mut self, _: &StreamInfo) {}
}
