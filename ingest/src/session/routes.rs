//! Whose packet is this? By what the stream said of itself, by what the offer declared, by what it carries.

use std::collections::HashMap;

use bytes::Bytes;
use timeline::Codec;

use crate::peer::Label;
use crate::rtp::Packet;
use crate::sdp::{Format, Media};

/// Streams of one publisher that are remembered: two pictures of four layers, one sound, each with its repairs, and
/// as many again after changes of source.
const MAX_STREAMS: usize = 40;

/// Where a stream belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Which section of the offer.
    pub section: usize,
    /// Which layer of simulcast, where layers have names.
    pub rid: Option<Bytes>,
}

pub(super) struct Routes {
    sections: Vec<Media>,
    formats: HashMap<u8, Format>,
    /// Media streams by SSRC.
    known: HashMap<u32, Place>,
    /// Repair streams by SSRC: of which layer, if they said so.
    repairs: HashMap<u32, Place>,
}

/// A packet of media, taken out of its retransmission if it came in one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Routed {
    pub place: Place,
    pub codec: Codec,
    pub packet: Packet,
}

impl Routes {
    pub fn new(sections: Vec<Media>, formats: HashMap<u8, Format>) -> Self {
        Routes {
            sections,
            formats,
            known: HashMap::new(),
            repairs: HashMap::new(),
        }
    }

    /// `None` for packets that are nobody's: of a format that was not agreed, or that nothing assigns.
    pub fn route(&mut self, packet: Packet, label: Option<&Label>) -> Option<Routed> {
        match *self.formats.get(&packet.payload_type)? {
            Format::Media(codec) => {
                let place = self.place(packet.ssrc, codec, label)?;
                Some(Routed { place, codec, packet })
            }
            Format::Repair(of) => {
                let Some(Format::Media(codec)) = self.formats.get(&of).copied() else {
                    return None;
                };
                let (ssrc, place) = self.repaired(packet.ssrc, label)?;
                let packet = unwrap(packet, ssrc, of)?;
                Some(Routed { place, codec, packet })
            }
        }
    }

    fn place(&mut self, ssrc: u32, codec: Codec, label: Option<&Label>) -> Option<Place> {
        let rid = label.and_then(|label| label.rid.clone());
        let said = label.and_then(|label| self.section_named(label.mid.as_ref()));
        if let Some(known) = self.known.get(&ssrc)
            && said.is_none_or(|section| section == known.section)
            && rid.as_ref().is_none_or(|rid| known.rid.as_ref() == Some(rid))
        {
            return Some(known.clone());
        }
        let section = said
            .or_else(|| self.sections.iter().position(|s| s.ssrcs.contains(&ssrc)))
            .or_else(|| self.section_of(codec))?;
        let is_layer = |rid: &Bytes| self.sections[section].rids.iter().any(|r| r.as_bytes() == rid);
        let place = Place {
            section,
            rid: rid.filter(is_layer),
        };
        if place.rid.is_none() && self.needs_rid(section, ssrc) {
            return None;
        }
        if self.known.len() < MAX_STREAMS || self.known.contains_key(&ssrc) {
            self.known.insert(ssrc, place.clone());
        }
        Some(place)
    }

    /// Among named layers a stream without a name is taken only if it was declared (OBS declares its first).
    fn needs_rid(&self, section: usize, ssrc: u32) -> bool {
        let section = &self.sections[section];
        section.rids.len() > 1 && !section.ssrcs.contains(&ssrc)
    }

    fn section_named(&self, mid: Option<&Bytes>) -> Option<usize> {
        let mid = mid?;
        self.sections.iter().position(|s| s.mid.as_bytes() == mid)
    }

    /// The only section of this kind.
    fn section_of(&self, codec: Codec) -> Option<usize> {
        let mut alike =
            (0..self.sections.len()).filter(|n| self.sections[*n].codec.is_video() == codec.is_video());
        alike.next().filter(|_| alike.next().is_none())
    }

    /// The stream that this one repairs.
    fn repaired(&mut self, repair: u32, label: Option<&Label>) -> Option<(u32, Place)> {
        if let Some(label) = label
            && let Some(rid) = label.repaired_rid.clone()
            && let Some(section) = self.section_named(label.mid.as_ref())
            && self.repairs.len() < MAX_STREAMS
        {
            let rid = Some(rid);
            self.repairs.insert(repair, Place { section, rid });
        }
        if let Some(place) = self.repairs.get(&repair) {
            let of = self.known.iter().find(|(_, known)| *known == place);
            return of.map(|(ssrc, place)| (*ssrc, place.clone()));
        }
        let mut declared = self.sections.iter().flat_map(|s| &s.repairs);
        let (_, of) = declared.find(|(declared, _)| *declared == repair)?;
        self.known.get(of).map(|place| (*of, place.clone()))
    }
}

/// RFC 4588 §4: the original sequence number stands before the original payload. Padding that probes for bandwidth
/// has neither.
fn unwrap(packet: Packet, ssrc: u32, payload_type: u8) -> Option<Packet> {
    let (sequence, payload) = match packet.payload[..] {
        [a, b, _, ..] => (u16::from_be_bytes([a, b]), packet.payload.slice(2..)),
        _ => return None,
    };
    Some(Packet {
        ssrc,
        payload_type,
        sequence,
        payload,
        ..packet
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn video(mid: &str, ssrcs: &[u32], repairs: &[(u32, u32)], rids: &[&str]) -> Media {
        Media {
            mid: mid.into(),
            codec: Codec::H264,
            formats: Vec::new(),
            ssrcs: ssrcs.into(),
            repairs: repairs.into(),
            rids: rids.iter().map(|rid| rid.to_string()).collect(),
        }
    }

    fn sound(mid: &str) -> Media {
        Media {
            codec: Codec::Opus,
            ..video(mid, &[], &[], &[])
        }
    }

    fn routes(sections: Vec<Media>) -> Routes {
        let formats = HashMap::from([
            (96, Format::Media(Codec::H264)),
            (97, Format::Repair(96)),
            (111, Format::Media(Codec::Opus)),
        ]);
        Routes::new(sections, formats)
    }

    fn packet(ssrc: u32, payload_type: u8, payload: &'static [u8]) -> Packet {
        Packet {
            ssrc,
            payload_type,
            sequence: 500,
            timestamp: 9,
            marker: true,
            payload: Bytes::from_static(payload),
        }
    }

    fn label(mid: &str, rid: &str, repaired: &str) -> Label {
        let bytes = |text: &str| (!text.is_empty()).then(|| Bytes::copy_from_slice(text.as_bytes()));
        Label {
            mid: bytes(mid),
            rid: bytes(rid),
            repaired_rid: bytes(repaired),
        }
    }

    fn section(routed: Option<Routed>) -> Option<(usize, Option<Bytes>)> {
        routed.map(|routed| (routed.place.section, routed.place.rid))
    }

    #[test]
    fn one_of_a_kind_needs_no_name() {
        let mut routes = routes(vec![sound("0"), video("1", &[], &[], &[])]);
        assert_eq!(section(routes.route(packet(1, 111, b"a"), None)), Some((0, None)));
        assert_eq!(section(routes.route(packet(2, 96, b"a"), None)), Some((1, None)));
        assert_eq!(section(routes.route(packet(2, 35, b"a"), None)), None);
    }

    #[test]
    fn two_pictures_are_told_apart_by_declaration_or_by_name() {
        let mut routes = routes(vec![video("0", &[7], &[], &[]), video("1", &[], &[], &[])]);
        assert_eq!(section(routes.route(packet(7, 96, b"a"), None)), Some((0, None)));
        assert_eq!(section(routes.route(packet(8, 96, b"a"), None)), None);
        let named = label("1", "", "");
        assert_eq!(
            section(routes.route(packet(8, 96, b"a"), Some(&named))),
            Some((1, None))
        );
        assert_eq!(section(routes.route(packet(8, 96, b"a"), None)), Some((1, None)));
    }

    #[test]
    fn layers_and_their_repairs_are_found_by_rid() {
        let mut routes = routes(vec![video("v", &[], &[], &["q", "f"])]);
        assert_eq!(
            section(routes.route(packet(1, 96, b"a"), None)),
            None,
            "before its name"
        );
        assert!(
            routes
                .route(packet(9, 97, b"\x01\x02xy"), Some(&label("v", "", "f")))
                .is_none()
        );
        for (ssrc, rid) in [(1, "q"), (2, "f")] {
            let routed = section(routes.route(packet(ssrc, 96, b"a"), Some(&label("v", rid, ""))));
            assert_eq!(routed, Some((0, Some(Bytes::from_static(rid.as_bytes())))));
        }
        let repaired = routes.route(packet(9, 97, b"\x01\x02xy"), None).unwrap();
        let expected = Packet {
            sequence: 0x0102,
            ..packet(2, 96, b"xy")
        };
        assert_eq!((repaired.packet, repaired.codec), (expected, Codec::H264));
        assert!(
            routes.route(packet(9, 97, b"\x01\x02"), None).is_none(),
            "padding"
        );
        assert!(
            routes
                .route(packet(1, 96, b"a"), Some(&label("v", "x", "")))
                .is_none(),
            "no such layer"
        );
    }

    #[test]
    fn declared_repairs_are_taken_apart() {
        let mut routes = routes(vec![video("v", &[1], &[(5, 1)], &[])]);
        assert!(
            routes.route(packet(5, 97, b"\x00\x09z"), None).is_none(),
            "of nothing yet"
        );
        routes.route(packet(1, 96, b"a"), None).unwrap();
        let repaired = routes.route(packet(5, 97, b"\x00\x09z"), None).unwrap();
        assert_eq!((repaired.packet.ssrc, repaired.packet.sequence), (1, 9));
    }

    #[test]
    fn who_invents_streams_is_not_remembered_for_ever() {
        let mut routes = routes(vec![video("v", &[], &[], &[])]);
        for ssrc in 0..1000 {
            assert!(routes.route(packet(ssrc, 96, b"a"), None).is_some());
        }
        assert_eq!(routes.known.len(), MAX_STREAMS);
    }
}
