//! What is registered with the stack.

use rtc::interceptor::Registry;
use rtc::peer_connection::configuration::interceptor_registry::{
    configure_rtcp_reports, configure_simulcast_extension_headers, configure_twcc_receiver_only,
};
use rtc::peer_connection::configuration::media_engine::{
    MIME_TYPE_AV1, MIME_TYPE_G722, MIME_TYPE_H264, MIME_TYPE_OPUS, MIME_TYPE_PCMA, MIME_TYPE_PCMU,
    MIME_TYPE_RTX, MIME_TYPE_VP8, MIME_TYPE_VP9, MediaEngine,
};
use rtc::rtp_transceiver::rtp_sender::{RTCPFeedback, RTCRtpCodec, RTCRtpCodecParameters, RtpCodecKind};
use rtc::shared::error::Error;
use timeline::Codec;

use crate::sdp::Offer;

/// The payload types here are only names for the stack: an answer keeps those of the offer.
const NAMES: std::ops::Range<u8> = 64..127;

/// Exactly what an answer to this offer may hold: of each section one codec (the answer keeps the offer's order, and
/// browsers put VP8 first), and for pictures its RTX. Browsers need transport-wide feedback to raise their bitrate.
pub(super) fn for_offer(offer: &Offer) -> Result<(MediaEngine, Registry), Error> {
    let mut engine = MediaEngine::default();
    configure_simulcast_extension_headers(&mut engine)?;
    let formats = offer
        .media
        .iter()
        .flat_map(|media| media.formats.iter().map(|format| codec(media.codec, format)));
    let mut known: Vec<RTCRtpCodec> = Vec::new();
    for (codec, name) in formats.zip(NAMES.step_by(2)) {
        // A camera and a screen are offered alike.
        if known.contains(&codec) {
            continue;
        }
        known.push(codec.clone());
        if !codec.mime_type.starts_with("video/") {
            engine.register_codec(parameters(codec, name), RtpCodecKind::Audio)?;
            continue;
        }
        engine.register_codec(parameters(codec, name), RtpCodecKind::Video)?;
        engine.register_codec(parameters(rtx(name), name + 1), RtpCodecKind::Video)?;
    }
    let registry = configure_twcc_receiver_only(Registry::new(), &mut engine)?;
    Ok((engine, configure_rtcp_reports(registry)))
}

fn codec(codec: Codec, format: &str) -> RTCRtpCodec {
    if codec == Codec::Opus {
        return opus();
    }
    RTCRtpCodec {
        mime_type: mime_type(codec).into(),
        clock_rate: codec.clock_rate(),
        channels: 0,
        sdp_fmtp_line: format.into(),
        rtcp_feedback: match codec.is_video() {
            true => video_feedback(),
            false => Vec::new(),
        },
    }
}

const fn mime_type(codec: Codec) -> &'static str {
    match codec {
        Codec::H264 => MIME_TYPE_H264,
        Codec::Vp8 => MIME_TYPE_VP8,
        Codec::Vp9 => MIME_TYPE_VP9,
        Codec::Av1 => MIME_TYPE_AV1,
        Codec::Opus => MIME_TYPE_OPUS,
        Codec::G722 => MIME_TYPE_G722,
        Codec::Pcmu => MIME_TYPE_PCMU,
        Codec::Pcma => MIME_TYPE_PCMA,
    }
}

/// `profile` is a profile-level-id, six hex digits.
pub(crate) fn h264(profile: &str) -> RTCRtpCodec {
    let format = format!("level-asymmetry-allowed=1;packetization-mode=1;profile-level-id={profile}");
    codec(Codec::H264, &format)
}

pub(crate) fn vp8() -> RTCRtpCodec {
    codec(Codec::Vp8, "")
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
