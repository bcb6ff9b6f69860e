//! What is registered with the stack.

use rtc::interceptor::Registry;
use rtc::peer_connection::configuration::interceptor_registry::{
    configure_rtcp_reports, configure_simulcast_extension_headers, configure_twcc_receiver_only,
};
use rtc::peer_connection::configuration::media_engine::{
    MIME_TYPE_H264, MIME_TYPE_OPUS, MIME_TYPE_RTX, MIME_TYPE_VP8, MediaEngine,
};
use rtc::rtp_transceiver::rtp_sender::{RTCPFeedback, RTCRtpCodec, RTCRtpCodecParameters, RtpCodecKind};
use rtc::shared::error::Error;
use timeline::Codec;

use crate::sdp::Offer;

/// The payload types here are only names for the stack: an answer keeps those of the offer.
const FIRST_VIDEO: u8 = 96;
const OPUS: u8 = 111;

/// Exactly what an answer to this offer may hold: one video codec (the answer keeps the offer's order, and
/// browsers put VP8 first), its RTX, Opus. Browsers need transport-wide feedback to raise their bitrate.
pub(super) fn for_offer(offer: &Offer) -> Result<(MediaEngine, Registry), Error> {
    let mut engine = MediaEngine::default();
    let profiles = offer.video.iter().flat_map(|video| match video.codec {
        Codec::Vp8 => vec![vp8()],
        _ => video.profiles.iter().map(|profile| h264(profile)).collect(),
    });
    let layer = offer.video.as_ref().and_then(|video| video.layer.as_ref());
    if layer.is_some() {
        configure_simulcast_extension_headers(&mut engine)?;
    }
    for (codec, payload_type) in profiles.zip((FIRST_VIDEO..OPUS).step_by(2)) {
        engine.register_codec(parameters(codec, payload_type), RtpCodecKind::Video)?;
        // RTX of a layer that is named by rid never reaches us: it is repaired in its own stream instead.
        if layer.is_none() {
            engine.register_codec(
                parameters(rtx(payload_type), payload_type + 1),
                RtpCodecKind::Video,
            )?;
        }
    }
    engine.register_codec(parameters(opus(), OPUS), RtpCodecKind::Audio)?;
    let registry = configure_twcc_receiver_only(Registry::new(), &mut engine)?;
    Ok((engine, configure_rtcp_reports(registry)))
}

/// `profile` is a profile-level-id, six hex digits.
pub(crate) fn h264(profile: &str) -> RTCRtpCodec {
    let fmtp = format!("level-asymmetry-allowed=1;packetization-mode=1;profile-level-id={profile}");
    RTCRtpCodec {
        mime_type: MIME_TYPE_H264.into(),
        clock_rate: 90_000,
        channels: 0,
        sdp_fmtp_line: fmtp,
        rtcp_feedback: video_feedback(),
    }
}

pub(crate) fn vp8() -> RTCRtpCodec {
    RTCRtpCodec {
        mime_type: MIME_TYPE_VP8.into(),
        clock_rate: 90_000,
        channels: 0,
        sdp_fmtp_line: String::new(),
        rtcp_feedback: video_feedback(),
    }
}

/// Retransmissions of another payload type (RFC 4588).
pub(crate) fn rtx(of: u8) -> RTCRtpCodec {
    RTCRtpCodec {
        mime_type: MIME_TYPE_RTX.into(),
        clock_rate: 90_000,
        channels: 0,
        sdp_fmtp_line: format!("apt={of}"),
        rtcp_feedback: Vec::new(),
    }
}

pub(crate) fn opus() -> RTCRtpCodec {
    RTCRtpCodec {
        mime_type: MIME_TYPE_OPUS.into(),
        clock_rate: 48_000,
        channels: 2,
        sdp_fmtp_line: "minptime=10;useinbandfec=1;stereo=1;sprop-stereo=1".into(),
        rtcp_feedback: vec![feedback("nack", "")],
    }
}

pub(crate) fn parameters(rtp_codec: RTCRtpCodec, payload_type: u8) -> RTCRtpCodecParameters {
    RTCRtpCodecParameters {
        rtp_codec,
        payload_type,
    }
}

fn video_feedback() -> Vec<RTCPFeedback> {
    vec![
        feedback("ccm", "fir"),
        feedback("nack", ""),
        feedback("nack", "pli"),
    ]
}

fn feedback(typ: &str, parameter: &str) -> RTCPFeedback {
    RTCPFeedback {
        typ: typ.into(),
        parameter: parameter.into(),
    }
}
