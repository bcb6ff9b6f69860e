use timeline::Codec;

use super::{attribute, is_line, is_reachable, rtpmap};

/// An offer we can answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Offer {
    /// The offer for the stack: of simulcast one layer at most, and no candidates that cannot be reached.
    pub sdp: String,
    pub video: Option<Video>,
    pub audio: bool,
    /// The publisher's; another one in a PATCH is an ICE restart.
    pub ufrag: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Video {
    /// H.264 if it was offered, else VP8.
    pub codec: Codec,
    /// The H.264 profile-level-ids offered. What is really encoded is said by the SPS alone.
    pub profiles: Vec<String>,
    /// The one layer taken of a browser's simulcast.
    pub layer: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum OfferError {
    /// 400: not an offer at all.
    Malformed(String),
    /// 422: an offer that is not for us.
    Unsupported(String),
}

/// One audio and one video are all we take; more lines are read only to say so.
const MAX_MEDIA: usize = 16;
/// A publisher has a handful of addresses; checks are sent to each.
const MAX_CANDIDATES: usize = 16;
/// Chromium offers six, of which some are not decodable here.
const MAX_PROFILES: usize = 6;

/// The four decodable families: baseline, main, extended, high (8 bits, 4:2:0). H.264 Annex A.
const PROFILES: [&str; 4] = ["42", "4d", "58", "64"];

/// Simulcast is declined by leaving these out of what we answer to.
const SIMULCAST: [&str; 3] = ["a=simulcast:", "a=rid:", "a=ssrc-group:SIM "];
const LAYER_EXTENSIONS: [&str; 2] = [
    "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id",
    "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id",
];

impl Offer {
    pub fn parse(text: &str) -> Result<Offer, OfferError> {
        let (session, media) = sections(text)?;
        let ufrag = either(&session, &media, "ice-ufrag")
            .ok_or_else(|| missing("a=ice-ufrag"))?
            .to_owned();
        either(&session, &media, "ice-pwd").ok_or_else(|| missing("a=ice-pwd"))?;
        either(&session, &media, "fingerprint").ok_or_else(|| missing("a=fingerprint"))?;
        let (mut video, mut audio) = (None, false);
        for section in &media {
            check_section(&session, section)?;
            match section.kind {
                "video" if video.is_none() => video = Some(video_of(section)?),
                "audio" if !audio => audio = opus_of(section)?,
                kind => {
                    return Err(unsupported(format!(
                        "more than one audio and one video: m={kind}"
                    )));
                }
            }
        }
        if media.len() > 1 && !session.iter().any(|line| line.starts_with("a=group:BUNDLE ")) {
            return Err(unsupported("audio and video must be bundled (a=group:BUNDLE)"));
        }
        let layer = video.as_ref().and_then(|video: &Video| video.layer.as_deref());
        // The stack tells bundled streams apart by what the offer declares, not by their mid alone.
        let undeclared =
            |section: &&Section| section.ssrcs() == 0 && !(section.kind == "video" && layer.is_some());
        if media.len() > 1
            && let Some(section) = media.iter().find(undeclared)
        {
            return Err(unsupported(format!(
                "the {} must declare its a=ssrc",
                section.kind
            )));
        }
        Ok(Offer {
            sdp: cleaned(text, layer),
            video,
            audio,
            ufrag,
        })
    }
}

/// A media section: `m=` and the lines below it.
struct Section<'a> {
    kind: &'a str,
    port: &'a str,
    payload_types: Vec<u8>,
    lines: Vec<&'a str>,
}

fn sections(text: &str) -> Result<(Vec<&str>, Vec<Section<'_>>), OfferError> {
    let mut lines = text.lines().map(str::trim_end).filter(|line| !line.is_empty());
    if lines.next() != Some("v=0") {
        return Err(OfferError::Malformed("an offer begins with v=0".into()));
    }
    let (mut session, mut media) = (vec!["v=0"], Vec::<Section>::new());
    for line in lines {
        if !is_line(line) {
            return Err(OfferError::Malformed(format!(
                "not a line of SDP: {:.60}",
                line.escape_debug().to_string()
            )));
        }
        match (line.strip_prefix("m="), media.last_mut()) {
            (Some(m), _) => media.push(Section::begin(m)?),
            (None, Some(section)) => section.lines.push(line),
            (None, None) => session.push(line),
        }
    }
    match media.len() {
        0 => Err(OfferError::Malformed("it offers no media".into())),
        n if n > MAX_MEDIA => Err(unsupported("more than one audio and one video")),
        _ => Ok((session, media)),
    }
}

impl<'a> Section<'a> {
    fn begin(m: &'a str) -> Result<Self, OfferError> {
        let fields: Vec<&str> = m.split_ascii_whitespace().collect();
        let [kind, port, _, formats @ ..] = &fields[..] else {
            return Err(OfferError::Malformed(format!("not a media line: m={m:.60}")));
        };
        let payload_types = formats.iter().filter_map(|f| f.parse().ok()).collect();
        Ok(Section {
            kind,
            port,
            payload_types,
            lines: Vec::new(),
        })
    }

    fn ssrcs(&self) -> usize {
        self.lines
            .iter()
            .filter(|line| line.starts_with("a=ssrc:"))
            .count()
    }

    /// Browsers name the layers of simulcast by rid alone, best last by custom. One must be kept, or nothing
    /// says whose packets these are. Where SSRCs are declared (OBS), they say enough.
    fn layer(&self) -> Option<String> {
        let rids = self.lines.iter().filter_map(|line| attribute(line, "rid"));
        let best = rids.filter_map(|rid| rid.strip_suffix(" send")).next_back();
        best.filter(|_| self.ssrcs() == 0).map(str::to_owned)
    }

    fn has(&self, line: &str) -> bool {
        self.lines.contains(&line)
    }

    /// Payload types of this encoding, with their format parameters.
    fn formats(&self, encoding: &str) -> Vec<(u8, &'a str)> {
        let known = self.lines.iter().filter_map(|line| rtpmap(line));
        let ours =
            known.filter(|(pt, name)| name.eq_ignore_ascii_case(encoding) && self.payload_types.contains(pt));
        ours.map(|(pt, _)| (pt, self.parameters(pt))).collect()
    }

    fn parameters(&self, payload_type: u8) -> &'a str {
        let of = |line: &&'a str| {
            attribute(line, "fmtp")?
                .split_once(' ')
                .filter(|(pt, _)| pt.parse() == Ok(payload_type))
        };
        self.lines
            .iter()
            .find_map(of)
            .map_or("", |(_, parameters)| parameters)
    }
}

fn check_section(session: &[&str], section: &Section) -> Result<(), OfferError> {
    let kind = section.kind;
    if !matches!(kind, "audio" | "video") {
        return Err(unsupported(format!("only audio and video: m={kind:.20}")));
    }
    // RFC 9143 §7: port 0 is in use when it is bundle-only.
    if section.port == "0" && !section.has("a=bundle-only") {
        return Err(unsupported(format!("the {kind} is switched off (port 0)")));
    }
    if !matches!(direction(session, section), "sendonly" | "sendrecv") {
        return Err(unsupported(format!("the {kind} must be sendonly")));
    }
    if !section.has("a=rtcp-mux") {
        return Err(unsupported(format!("the {kind} must be offered with a=rtcp-mux")));
    }
    Ok(())
}

fn direction<'a>(session: &[&'a str], section: &Section<'a>) -> &'a str {
    let of = |lines: &[&'a str]| {
        let mut names = lines.iter().filter_map(|line| line.strip_prefix("a="));
        names.rfind(|name| matches!(*name, "sendonly" | "sendrecv" | "recvonly" | "inactive"))
    };
    // RFC 8866 §6.7: sendrecv if nobody says.
    of(&section.lines).or_else(|| of(session)).unwrap_or("sendrecv")
}

fn video_of(section: &Section) -> Result<Video, OfferError> {
    let mut profiles: Vec<String> = Vec::new();
    for (_, parameters) in section.formats("H264") {
        let get = |name| parameter(parameters, name);
        let profile = get("profile-level-id").filter(|_| get("packetization-mode") == Some("1"));
        if let Some(profile) = profile.map(str::to_ascii_lowercase).filter(|p| is_decodable(p)) {
            // Profiles are compared without the level, the last two digits (RFC 6184 §8.2.2).
            if profiles.len() < MAX_PROFILES && !profiles.iter().any(|known| known[..4] == profile[..4]) {
                profiles.push(profile);
            }
        }
    }
    if !profiles.is_empty() {
        return Ok(Video {
            codec: Codec::H264,
            profiles,
            layer: section.layer(),
        });
    }
    if !section.formats("VP8").is_empty() {
        return Ok(Video {
            codec: Codec::Vp8,
            profiles,
            layer: section.layer(),
        });
    }
    Err(unsupported(
        "no video codec in common: H264 (packetization-mode=1) or VP8",
    ))
}

fn opus_of(section: &Section) -> Result<bool, OfferError> {
    match section.formats("opus")[..] {
        [] => Err(unsupported("no audio codec in common: opus")),
        _ => Ok(true),
    }
}

fn is_decodable(profile: &str) -> bool {
    profile.len() == 6
        && profile.bytes().all(|b| b.is_ascii_hexdigit())
        && PROFILES.iter().any(|family| profile.starts_with(family))
}

fn parameter<'a>(parameters: &'a str, name: &str) -> Option<&'a str> {
    parameters
        .split(';')
        .filter_map(|p| p.trim().split_once('='))
        .find(|(n, _)| *n == name)
        .map(|(_, v)| v)
}

fn either<'a>(session: &[&'a str], media: &[Section<'a>], name: &str) -> Option<&'a str> {
    let lines = session
        .iter()
        .chain(media.iter().flat_map(|section| &section.lines));
    lines
        .filter_map(|line| attribute(line, name))
        .find(|value| !value.is_empty())
}

fn cleaned(text: &str, layer: Option<&str>) -> String {
    let mut candidates = 0;
    let mut sdp = String::with_capacity(text.len());
    for line in text.lines().map(str::trim_end).filter(|line| !line.is_empty()) {
        if let Some(candidate) = attribute(line, "candidate") {
            candidates += 1;
            if candidates > MAX_CANDIDATES || !is_reachable(candidate) {
                continue;
            }
        }
        if SIMULCAST.iter().any(|s| line.starts_with(s)) {
            sdp += &layer.map_or(String::new(), |rid| one_layer(line, rid));
            continue;
        }
        let extension = attribute(line, "extmap").and_then(|e| e.split_ascii_whitespace().nth(1));
        if layer.is_none() && extension.is_some_and(|e| LAYER_EXTENSIONS.contains(&e)) {
            continue;
        }
        // The stack takes port 0 for "rejected" (checked above: it is bundle-only).
        match line.strip_prefix("m=").and_then(|m| m.split_once(" 0 ")) {
            Some((kind, rest)) if matches!(kind, "audio" | "video") => sdp += &format!("m={kind} 9 {rest}"),
            _ => sdp += line,
        }
        sdp += "\r\n";
    }
    sdp
}

/// What is left of a line about simulcast when this layer alone is taken.
fn one_layer(line: &str, rid: &str) -> String {
    match attribute(line, "rid") {
        Some(value) if value.split(' ').next() == Some(rid) => format!("{line}\r\n"),
        Some(_) => String::new(),
        None if line.starts_with("a=simulcast:") => format!("a=simulcast:send {rid}\r\n"),
        None => String::new(),
    }
}

fn missing(what: &str) -> OfferError {
    OfferError::Malformed(format!("it has no {what}"))
}

fn unsupported(why: impl Into<String>) -> OfferError {
    OfferError::Unsupported(why.into())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// OBS on libdatachannel: no candidates, H.264 alone.
    pub(crate) const OBS: &str = "v=0\r\n\
        o=rtc 1 0 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\na=ice-options:ice2,trickle\r\n\
        a=fingerprint:sha-256 00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF\r\n\
        m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=sendonly\r\na=ssrc:10 cname:c\r\na=rtcp-mux\r\n\
        a=rtpmap:111 opus/48000/2\r\na=fmtp:111 minptime=10;stereo=1;sprop-stereo=1;useinbandfec=1\r\n\
        a=setup:actpass\r\na=ice-ufrag:AbCd\r\na=ice-pwd:0123456789012345678901\r\n\
        m=video 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\na=mid:1\r\na=sendonly\r\na=ssrc:11 cname:c\r\na=rtcp-mux\r\n\
        a=rtpmap:96 H264/90000\r\na=rtcp-fb:96 nack\r\na=rtcp-fb:96 nack pli\r\na=rtcp-fb:96 goog-remb\r\n\
        a=fmtp:96 profile-level-id=42e01f;packetization-mode=1;level-asymmetry-allowed=1\r\n\
        a=setup:actpass\r\na=ice-ufrag:AbCd\r\na=ice-pwd:0123456789012345678901\r\n";

    fn refused(text: &str) -> String {
        match Offer::parse(text).unwrap_err() {
            OfferError::Malformed(why) => format!("400 {why}"),
            OfferError::Unsupported(why) => format!("422 {why}"),
        }
    }

    #[test]
    fn what_obs_offers() {
        let offer = Offer::parse(OBS).unwrap();
        assert_eq!(
            offer.video,
            Some(Video {
                codec: Codec::H264,
                profiles: vec!["42e01f".into()],
                layer: None,
            })
        );
        assert!(offer.audio);
        assert_eq!(offer.ufrag, "AbCd");
        assert_eq!(offer.sdp, OBS);
    }

    #[test]
    fn h264_is_preferred_and_vp8_serves() {
        let both = OBS
            .replace("SAVPF 96\r\n", "SAVPF 97 96\r\n")
            .replace("a=rtpmap:96", "a=rtpmap:97 VP8/90000\r\na=rtpmap:96");
        assert_eq!(Offer::parse(&both).unwrap().video.unwrap().codec, Codec::H264);
        let mode_0 = both.replace("packetization-mode=1", "packetization-mode=0");
        assert_eq!(Offer::parse(&mode_0).unwrap().video.unwrap().codec, Codec::Vp8);
        // A profile nobody here can decode: High 4:2:2.
        let high_422 = both.replace("42e01f", "7a001f");
        assert_eq!(Offer::parse(&high_422).unwrap().video.unwrap().codec, Codec::Vp8);
    }

    #[test]
    fn simulcast_and_strange_candidates_are_left_out() {
        let text = OBS.replace(
            "a=mid:1\r\n",
            "a=mid:1\r\na=rid:0 send\r\na=simulcast:send 0;1\r\n\
             a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\r\na=extmap:10 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id\r\n\
             a=candidate:1 1 udp 1 abc.local 9 typ host\r\na=candidate:2 1 udp 1 192.0.2.1 9 typ host\r\n",
        );
        let expected = OBS.replace(
            "a=mid:1\r\n",
            "a=mid:1\r\na=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\r\na=candidate:2 1 udp 1 192.0.2.1 9 typ host\r\n",
        );
        assert_eq!(Offer::parse(&text).unwrap().sdp, expected);
    }

    #[test]
    fn of_a_browsers_simulcast_one_layer_is_taken() {
        let text = OBS.replace("a=ssrc:11 cname:c\r\n", "").replace(
            "a=mid:1\r\n",
            "a=mid:1\r\na=extmap:10 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id\r\n\
             a=rid:q send\r\na=rid:f send\r\na=simulcast:send q;f\r\n",
        );
        let offer = Offer::parse(&text).unwrap();
        assert_eq!(offer.video.unwrap().layer.as_deref(), Some("f"));
        let kept =
            "10 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id\r\na=rid:f send\r\na=simulcast:send f\r\n";
        assert!(
            offer.sdp.contains(kept) && !offer.sdp.contains("rid:q"),
            "{}",
            offer.sdp
        );
        assert_eq!(
            refused(&OBS.replace("a=ssrc:11 cname:c\r\n", "")),
            "422 the video must declare its a=ssrc"
        );
    }

    #[test]
    fn bundle_only_is_in_use() {
        let text = OBS
            .replace("m=video 9", "m=video 0")
            .replace("a=mid:1\r\n", "a=mid:1\r\na=bundle-only\r\n");
        assert!(Offer::parse(&text).unwrap().sdp.contains("m=video 9 UDP"));
        assert!(refused(&OBS.replace("m=video 9", "m=video 0")).starts_with("422"));
    }

    #[test]
    fn what_is_no_offer() {
        assert_eq!(refused(""), "400 an offer begins with v=0");
        assert_eq!(refused("hello"), "400 an offer begins with v=0");
        assert_eq!(refused("v=0\r\ns=-\r\n"), "400 it offers no media");
        assert_eq!(
            refused("v=0\r\n\u{1}garbage\r\n"),
            "400 not a line of SDP: \\u{1}garbage"
        );
        assert_eq!(
            refused(&OBS.replace("m=audio 9 UDP/TLS/RTP/SAVPF 111", "m=audio")),
            "400 not a media line: m=audio"
        );
        assert_eq!(
            refused(&OBS.replace("a=ice-ufrag:AbCd\r\n", "")),
            "400 it has no a=ice-ufrag"
        );
        assert_eq!(
            refused(&OBS.replace("a=fingerprint:", "a=x:")),
            "400 it has no a=fingerprint"
        );
    }

    #[test]
    fn offers_that_are_not_for_us() {
        let video = &OBS[OBS.find("m=video").unwrap()..];
        assert_eq!(
            refused(&format!("{OBS}{video}")),
            "422 more than one audio and one video: m=video"
        );
        assert_eq!(
            refused(&OBS.replace("a=sendonly", "a=recvonly")),
            "422 the audio must be sendonly"
        );
        assert_eq!(
            refused(&OBS.replace("a=rtcp-mux\r\n", "")),
            "422 the audio must be offered with a=rtcp-mux"
        );
        assert_eq!(
            refused(&OBS.replace("opus/48000/2", "PCMU/8000")),
            "422 no audio codec in common: opus"
        );
        assert_eq!(
            refused(&OBS.replace("H264/90000", "H265/90000")),
            "422 no video codec in common: H264 (packetization-mode=1) or VP8"
        );
        assert_eq!(
            refused(&OBS.replace("a=group:BUNDLE 0 1\r\n", "")),
            "422 audio and video must be bundled (a=group:BUNDLE)"
        );
        assert_eq!(
            refused(&format!(
                "{OBS}m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n"
            )),
            "422 only audio and video: m=application"
        );
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in "\\PC{0,400}", cut in 0usize..2000, at in 0usize..2000) {
            let _ = Offer::parse(&text);
            let _ = Offer::parse(&OBS[..cut.min(OBS.len())]);
            let mut bent = OBS.to_owned();
            bent.insert_str(at.min(OBS.len()), &text);
            let _ = Offer::parse(&bent);
        }
    }
}
