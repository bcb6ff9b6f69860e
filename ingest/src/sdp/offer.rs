use timeline::Codec;

use super::section::{Section, sections};
use super::{attribute, is_reachable};

/// An offer we can answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Offer {
    /// The offer for the stack: without candidates that cannot be reached.
    pub sdp: String,
    /// In the order of the sections: one sound at most, and up to two pictures.
    pub media: Vec<Media>,
    pub labels: Labels,
    /// The publisher's; another one in a PATCH is an ICE restart.
    pub ufrag: String,
}

/// One media section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Media {
    pub mid: String,
    /// The one that is taken of those offered.
    pub codec: Codec,
    /// Format parameters under which it was offered. What H.264 really is, its SPS alone says.
    pub formats: Vec<String>,
    /// Declared streams of media; OBS and browsers without simulcast declare theirs.
    pub ssrcs: Vec<u32>,
    /// Declared repair streams, each with the stream it repairs.
    pub repairs: Vec<(u32, u32)>,
    /// The layers of simulcast that have names.
    pub rids: Vec<String>,
}

impl Media {
    /// Whether it may send several streams at once: the layers of simulcast, named or declared.
    pub fn may_be_layered(&self) -> bool {
        self.rids.len() > 1 || self.ssrcs.len() > 1
    }
}

/// The ids of the RTP header extensions that say whose a packet is (RFC 9143 §15, RFC 8852); 0 where not offered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Labels {
    pub mid: u8,
    pub rid: u8,
    pub repaired_rid: u8,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum OfferError {
    /// 400: not an offer at all.
    Malformed(String),
    /// 422: an offer that is not for us.
    Unsupported(String),
}

/// The host's camera and its screen.
const MAX_PICTURES: usize = 2;
/// Browsers send three, OBS up to four.
const MAX_LAYERS: usize = 4;
/// A publisher has a handful of addresses; checks are sent to each.
const MAX_CANDIDATES: usize = 16;
/// Chromium offers six of H.264, of which some are not decodable here.
const MAX_FORMATS: usize = 6;

/// Best first: what costs least to decode. Who offers one alone gets that one.
const PICTURES: [Codec; 4] = [Codec::H264, Codec::Vp8, Codec::Vp9, Codec::Av1];
const SOUNDS: [Codec; 4] = [Codec::Opus, Codec::G722, Codec::Pcmu, Codec::Pcma];

/// The four decodable families: baseline, main, extended, high (8 bits, 4:2:0). H.264 Annex A.
const PROFILES: [&str; 4] = ["42", "4d", "58", "64"];

const MID: &str = "urn:ietf:params:rtp-hdrext:sdes:mid";
const RID: &str = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id";
const REPAIRED_RID: &str = "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id";

impl Offer {
    pub fn parse(text: &str) -> Result<Offer, OfferError> {
        let (session, sections) = sections(text)?;
        let ufrag = either(&session, &sections, "ice-ufrag")
            .ok_or_else(|| missing("a=ice-ufrag"))?
            .to_owned();
        either(&session, &sections, "ice-pwd").ok_or_else(|| missing("a=ice-pwd"))?;
        either(&session, &sections, "fingerprint").ok_or_else(|| missing("a=fingerprint"))?;
        let mut media = Vec::with_capacity(sections.len());
        for section in &sections {
            check_section(&session, section)?;
            media.push(Media::of(section)?);
        }
        check_number(&media)?;
        if (1..media.len()).any(|n| media[..n].iter().any(|before| before.mid == media[n].mid)) {
            return Err(OfferError::Malformed("two sections have one a=mid".into()));
        }
        if media.len() > 1 && !session.iter().any(|line| line.starts_with("a=group:BUNDLE ")) {
            return Err(unsupported("audio and video must be bundled (a=group:BUNDLE)"));
        }
        // The stack opens its way back with the first stream that it can tell.
        if media.len() > 1 && media.iter().all(|m| m.ssrcs.is_empty() && m.rids.is_empty()) {
            return Err(unsupported(
                "it must declare an a=ssrc or an a=rid of one section at least",
            ));
        }
        Ok(Offer {
            sdp: cleaned(text),
            media,
            labels: Labels::of(&sections),
            ufrag,
        })
    }
}

impl Media {
    fn of(section: &Section) -> Result<Media, OfferError> {
        let choice = match section.kind {
            "video" => &PICTURES,
            _ => &SOUNDS,
        };
        let offered = choice.iter().map(|codec| (*codec, formats(section, *codec)));
        let Some((codec, formats)) = offered.into_iter().find(|(_, formats)| !formats.is_empty()) else {
            let names: Vec<&str> = choice.iter().map(|codec| codec.name()).collect();
            return Err(unsupported(format!(
                "no {} codec in common: {}",
                section.kind,
                names.join(", ")
            )));
        };
        let rids: Vec<String> = section.rids().map(str::to_owned).collect();
        if rids.len() > MAX_LAYERS {
            return Err(unsupported(format!("more than {MAX_LAYERS} layers of simulcast")));
        }
        Ok(Media {
            mid: section.mid().to_owned(),
            codec,
            formats,
            ssrcs: section.ssrcs(),
            repairs: section.repairs(),
            rids,
        })
    }
}

impl Labels {
    fn of(sections: &[Section]) -> Labels {
        let id = |uri: &str| {
            let mut lines = sections.iter().flat_map(|section| section.values("extmap"));
            let id = lines.find_map(|value| {
                let (id, rest) = value.split_once(' ')?;
                // `5/sendonly` says in which direction.
                let id = id.split('/').next()?.parse().ok()?;
                (rest.split_ascii_whitespace().next() == Some(uri)).then_some(id)
            });
            id.unwrap_or_default()
        };
        Labels {
            mid: id(MID),
            rid: id(RID),
            repaired_rid: id(REPAIRED_RID),
        }
    }
}

/// The format parameters under which this codec was offered, if we can take it.
fn formats(section: &Section, codec: Codec) -> Vec<String> {
    let offered = section.formats(codec.name());
    if codec == Codec::H264 {
        return h264_formats(&offered);
    }
    let offered = offered.into_iter().map(|(_, parameters)| parameters.to_owned());
    offered.take(MAX_FORMATS).collect()
}

/// Fragmentation (packetization-mode 1) is preferred. Profiles are compared without the level, the last two digits
/// (RFC 6184 §8.2.2).
fn h264_formats(offered: &[(u8, &str)]) -> Vec<String> {
    for mode in ["1", "0"] {
        let mut profiles: Vec<String> = Vec::new();
        for (_, parameters) in offered {
            let get = |name| parameter(parameters, name);
            if get("packetization-mode").unwrap_or("0") != mode {
                continue;
            }
            // Without it, baseline at level 1 (§8.1): no encoder means that.
            let profile = get("profile-level-id").unwrap_or("42e01f").to_ascii_lowercase();
            let is_known = profiles.iter().any(|known| known.get(..4) == profile.get(..4));
            if is_decodable(&profile) && !is_known && profiles.len() < MAX_FORMATS {
                profiles.push(profile);
            }
        }
        if !profiles.is_empty() {
            let format = |profile| {
                format!("level-asymmetry-allowed=1;packetization-mode={mode};profile-level-id={profile}")
            };
            return profiles.into_iter().map(format).collect();
        }
    }
    Vec::new()
}

fn check_number(media: &[Media]) -> Result<(), OfferError> {
    let pictures = media.iter().filter(|m| m.codec.is_video()).count();
    if pictures > MAX_PICTURES || media.len() - pictures > 1 {
        return Err(unsupported(
            "more than one audio and two video (a camera and a screen)",
        ));
    }
    Ok(())
}

fn check_section(session: &[&str], section: &Section) -> Result<(), OfferError> {
    let kind = section.kind;
    if !matches!(kind, "audio" | "video") {
        return Err(unsupported(format!("only audio and video: m={kind:.20}")));
    }
    if section.is_switched_off() {
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

fn cleaned(text: &str) -> String {
    let mut candidates = 0;
    let mut sdp = String::with_capacity(text.len());
    for line in text.lines().map(str::trim_end).filter(|line| !line.is_empty()) {
        if let Some(candidate) = attribute(line, "candidate") {
            candidates += 1;
            if candidates > MAX_CANDIDATES || !is_reachable(candidate) {
                continue;
            }
        }
        // Layers without names: each is a declared stream of its own, and the stack knows no such group.
        if line.starts_with("a=ssrc-group:SIM ") {
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

    const OBS_H264: &str = "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f";

    fn picture(text: &str) -> Media {
        let offer = Offer::parse(text).unwrap();
        offer.media.into_iter().find(|m| m.codec.is_video()).unwrap()
    }

    #[test]
    fn what_obs_offers() {
        let offer = Offer::parse(OBS).unwrap();
        let media = |mid: &str, codec, format: &str, ssrc| Media {
            mid: mid.into(),
            codec,
            formats: vec![format.into()],
            ssrcs: vec![ssrc],
            repairs: vec![],
            rids: vec![],
        };
        let opus = "minptime=10;stereo=1;sprop-stereo=1;useinbandfec=1";
        assert_eq!(
            offer.media,
            [
                media("0", Codec::Opus, opus, 10),
                media("1", Codec::H264, OBS_H264, 11)
            ]
        );
        assert_eq!(offer.ufrag, "AbCd");
        assert_eq!(offer.sdp, OBS);
        assert_eq!(offer.labels, Labels::default());
    }

    #[test]
    fn what_costs_least_to_decode_is_preferred_and_what_is_offered_alone_is_taken() {
        let both = OBS
            .replace("SAVPF 96\r\n", "SAVPF 97 96\r\n")
            .replace("a=rtpmap:96", "a=rtpmap:97 VP8/90000\r\na=rtpmap:96");
        assert_eq!(picture(&both).codec, Codec::H264);
        // A profile nobody here can decode: High 4:2:2.
        let high_422 = both.replace("42e01f", "7a001f");
        assert_eq!(picture(&high_422).codec, Codec::Vp8);
        for codec in [Codec::Vp8, Codec::Vp9, Codec::Av1] {
            let alone = OBS.replace("H264/90000", &format!("{}/90000", codec.name()));
            assert_eq!(picture(&alone).codec, codec);
        }
        for codec in [Codec::G722, Codec::Pcmu, Codec::Pcma] {
            let alone = OBS.replace("opus/48000/2", &format!("{}/8000", codec.name()));
            assert_eq!(Offer::parse(&alone).unwrap().media[0].codec, codec);
        }
        let numbered = OBS
            .replace("SAVPF 111", "SAVPF 8")
            .replace("a=rtpmap:111", "a=rtpmap:112");
        assert_eq!(
            Offer::parse(&numbered).unwrap().media[0].codec,
            Codec::Pcma,
            "RFC 3551 §6"
        );
    }

    #[test]
    fn h264_without_fragments_is_taken_where_nothing_else_is() {
        for mode_0 in ["packetization-mode=0;", ""] {
            let text = OBS.replace("packetization-mode=1;", mode_0);
            assert_eq!(picture(&text).formats, [OBS_H264.replace("mode=1", "mode=0")]);
        }
    }

    #[test]
    fn layers_are_taken_and_strange_candidates_are_left_out() {
        let rids = "a=rid:q send\r\na=rid:f send\r\na=simulcast:send q;f\r\n";
        let extensions = "a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\r\n\
             a=extmap:10/sendonly urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id\r\n";
        let (strange, plain) = (
            "a=candidate:1 1 udp 1 abc.local 9 typ host\r\n",
            "a=candidate:2 1 udp 1 192.0.2.1 9 typ host\r\n",
        );
        let text = OBS.replace("a=ssrc:11 cname:c\r\n", "").replace(
            "a=mid:1\r\n",
            &format!("a=mid:1\r\n{extensions}{rids}{strange}{plain}"),
        );
        let offer = Offer::parse(&text).unwrap();
        assert_eq!(offer.media[1].rids, ["q", "f"]);
        let labels = offer.labels;
        assert_eq!((labels.mid, labels.rid, labels.repaired_rid), (4, 10, 0));
        assert!(
            offer.sdp.contains(&format!("{extensions}{rids}{plain}")),
            "{}",
            offer.sdp
        );
        let many: String = (0..5).map(|n| format!("a=rid:{n} send\r\n")).collect();
        assert_eq!(
            refused(&OBS.replace("a=mid:1\r\n", &format!("a=mid:1\r\n{many}"))),
            "422 more than 4 layers of simulcast"
        );
    }

    #[test]
    fn repairs_are_known_by_what_they_repair() {
        let text = OBS.replace(
            "a=ssrc:11 cname:c\r\n",
            "a=ssrc-group:FID 11 12\r\na=ssrc:11 cname:c\r\na=ssrc:12 cname:c\r\n",
        );
        let picture = picture(&text);
        assert_eq!((picture.ssrcs, picture.repairs), (vec![11], vec![(12, 11)]));
    }

    #[test]
    fn a_camera_and_a_screen() {
        let video = &OBS[OBS.find("m=video").unwrap()..];
        let screen = video
            .replace("a=mid:1", "a=mid:2")
            .replace("a=ssrc:11", "a=ssrc:12");
        let offer = Offer::parse(&format!("{OBS}{screen}")).unwrap();
        let mids: Vec<&str> = offer.media.iter().map(|m| m.mid.as_str()).collect();
        assert_eq!(mids, ["0", "1", "2"]);
        assert_eq!(
            refused(&format!("{OBS}{screen}{screen}")),
            "422 more than one audio and two video (a camera and a screen)"
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
        assert_eq!(
            refused(&OBS.replace("a=sendonly", "a=recvonly")),
            "422 the audio must be sendonly"
        );
        assert_eq!(
            refused(&OBS.replace("a=rtcp-mux\r\n", "")),
            "422 the audio must be offered with a=rtcp-mux"
        );
        assert_eq!(
            refused(&OBS.replace("opus/48000/2", "L16/8000")),
            "422 no audio codec in common: opus, G722, PCMU, PCMA"
        );
        assert_eq!(
            refused(&OBS.replace("H264/90000", "H265/90000")),
            "422 no video codec in common: H264, VP8, VP9, AV1"
        );
        assert_eq!(
            refused(&OBS.replace("a=ssrc:", "a=x-ssrc:")),
            "422 it must declare an a=ssrc or an a=rid of one section at least"
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
