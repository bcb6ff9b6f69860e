use std::collections::HashMap;

use timeline::Codec;

use super::{Candidates, attribute, rtpmap};

/// Browsers encode stereo only if the answer says so; the stack echoes the offer's parameters.
const STEREO: &str = "stereo=1;sprop-stereo=1";

/// The stack's answer as it is sent: our own candidates, and stereo.
pub(crate) fn finish(answer: &str, candidates: &Candidates) -> String {
    let opus: Vec<u8> = formats(answer)
        .into_iter()
        .filter(|(_, format)| *format == Format::Media(Codec::Opus))
        .map(|(pt, _)| pt)
        .collect();
    let fmtp = |line: &str| {
        let (pt, parameters) = attribute(line, "fmtp")?.split_once(' ')?;
        opus.contains(&pt.parse().ok()?).then(|| stereo(pt, parameters))
    };
    let mut media = 0;
    let mut sdp = String::with_capacity(answer.len() + 256);
    for line in answer.lines().map(str::trim_end).filter(|line| !line.is_empty()) {
        if attribute(line, "candidate").is_some() || line == "a=end-of-candidates" {
            continue;
        }
        if line.starts_with("m=") {
            media += 1;
            // RFC 9143 §7.3: those of the first section serve the whole bundle.
            if media == 2 {
                sdp += &candidates.lines();
            }
        }
        sdp += &fmtp(line).unwrap_or_else(|| line.to_owned());
        sdp += "\r\n";
    }
    if media == 1 {
        sdp += &candidates.lines();
    }
    sdp
}

/// What a payload type of an answer stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Media(Codec),
    /// Retransmissions of that payload type (RFC 4588).
    Repair(u8),
}

/// What the payload types of an answer mean.
pub(crate) fn formats(answer: &str) -> HashMap<u8, Format> {
    let repaired = |payload_type: u8| {
        let mut parameters = answer
            .lines()
            .filter_map(|line| attribute(line.trim_end(), "fmtp"));
        parameters.find_map(|value| {
            let (of, parameters) = value.split_once(' ')?;
            let apt = parameters
                .split(';')
                .find_map(|p| p.trim().strip_prefix("apt="))?;
            (of.parse() == Ok(payload_type)).then(|| apt.parse().ok())?
        })
    };
    let format = |(payload_type, name): (u8, &str)| {
        let media = Codec::ALL
            .into_iter()
            .find(|codec| codec.name().eq_ignore_ascii_case(name));
        let format = match media {
            Some(codec) => Format::Media(codec),
            None if name.eq_ignore_ascii_case("rtx") => Format::Repair(repaired(payload_type)?),
            None => return None,
        };
        Some((payload_type, format))
    };
    let mapped = answer.lines().filter_map(|line| rtpmap(line.trim_end()));
    mapped.filter_map(format).collect()
}

fn stereo(payload_type: &str, parameters: &str) -> String {
    let others = parameters.split(';').filter(|p| {
        let name = p.trim().split('=').next().unwrap_or_default();
        !p.trim().is_empty() && !matches!(name, "stereo" | "sprop-stereo")
    });
    let parameters: Vec<&str> = others.chain([STEREO]).collect();
    format!("a=fmtp:{payload_type} {}", parameters.join(";"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Config;

    #[test]
    fn candidates_are_ours_and_sound_is_stereo() {
        let config = Config {
            advertise: vec!["203.0.113.7".parse().unwrap()],
            ..Config::default()
        };
        let candidates = Candidates::new(&config, vec!["0.0.0.0:8189".parse().unwrap()], Vec::new()).unwrap();
        let answer = "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=rtpmap:111 opus/48000/2\r\n\
            a=fmtp:111 minptime=10;stereo=0;useinbandfec=1\r\n\
            a=candidate:1 1 udp 1 127.0.0.1 4000 typ host\r\na=end-of-candidates\r\n\
            m=video 9 UDP/TLS/RTP/SAVPF 102 103\r\na=rtpmap:102 H264/90000\r\na=rtpmap:103 rtx/90000\r\n\
            a=fmtp:103 apt=102\r\na=candidate:1 2 udp 1 127.0.0.1 4000 typ host\r\n";
        assert_eq!(
            finish(answer, &candidates),
            "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=rtpmap:111 opus/48000/2\r\n\
             a=fmtp:111 minptime=10;useinbandfec=1;stereo=1;sprop-stereo=1\r\n\
             a=candidate:1 1 udp 2130706431 203.0.113.7 8189 typ host\r\na=end-of-candidates\r\n\
             m=video 9 UDP/TLS/RTP/SAVPF 102 103\r\na=rtpmap:102 H264/90000\r\na=rtpmap:103 rtx/90000\r\n\
             a=fmtp:103 apt=102\r\n"
        );
        assert_eq!(
            formats(answer),
            HashMap::from([
                (111, Format::Media(Codec::Opus)),
                (102, Format::Media(Codec::H264)),
                (103, Format::Repair(102))
            ])
        );
    }
}
