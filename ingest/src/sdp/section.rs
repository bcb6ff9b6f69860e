use super::{OfferError, attribute, is_line, rtpmap};

/// A media section of a description: `m=` and the lines below it.
pub(super) struct Section<'a> {
    pub kind: &'a str,
    port: &'a str,
    pub payload_types: Vec<u8>,
    pub lines: Vec<&'a str>,
}

/// Sections that are read at all: more than any offer has, so that the refusal can say what is wrong.
const MAX_READ: usize = 16;

/// RFC 3551 §6: payload types that need no `a=rtpmap`.
const STATIC: [(u8, &str); 3] = [(0, "PCMU"), (8, "PCMA"), (9, "G722")];

/// The lines of the session, and the media sections.
pub(super) fn sections(text: &str) -> Result<(Vec<&str>, Vec<Section<'_>>), OfferError> {
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
        n if n > MAX_READ => Err(OfferError::Unsupported(format!(
            "{n} media sections are too many"
        ))),
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

    pub fn has(&self, line: &str) -> bool {
        self.lines.contains(&line)
    }

    /// RFC 9143 §7: port 0 is in use when it is bundle-only.
    pub fn is_switched_off(&self) -> bool {
        self.port == "0" && !self.has("a=bundle-only")
    }

    pub fn mid(&self) -> &'a str {
        self.values("mid").next().unwrap_or_default()
    }

    pub fn values<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'a str> + 's {
        self.lines.iter().filter_map(move |line| attribute(line, name))
    }

    /// Payload types of this encoding, with their format parameters, in the order of preference.
    pub fn formats(&self, encoding: &str) -> Vec<(u8, &'a str)> {
        let mapped: Vec<(u8, &str)> = self.lines.iter().filter_map(|line| rtpmap(line)).collect();
        let name = |pt: u8| {
            let of = |known: &[(u8, &'a str)]| known.iter().find(|(p, _)| *p == pt).map(|(_, name)| *name);
            of(&mapped).or_else(|| of(&STATIC))
        };
        let ours = self
            .payload_types
            .iter()
            .filter(|pt| name(**pt).is_some_and(|name| name.eq_ignore_ascii_case(encoding)));
        ours.map(|pt| (*pt, self.parameters(*pt))).collect()
    }

    fn parameters(&self, payload_type: u8) -> &'a str {
        let mut all = self.values("fmtp").filter_map(|value| value.split_once(' '));
        all.find(|(pt, _)| pt.parse() == Ok(payload_type))
            .map_or("", |(_, parameters)| parameters)
    }

    /// Layers of simulcast by their names (RFC 8851), as they stand.
    pub fn rids(&self) -> impl Iterator<Item = &'a str> + '_ {
        self.values("rid")
            .filter_map(|value| value.split_once(' '))
            .filter(|(_, rest)| rest.split_ascii_whitespace().next() == Some("send"))
            .map(|(rid, _)| rid)
    }

    /// Declared repair streams, each with the stream that it repairs (RFC 5576 §4.2, FID).
    pub fn repairs(&self) -> Vec<(u32, u32)> {
        let pair = |value: &str| {
            let mut ssrcs = value.strip_prefix("FID ")?.split_ascii_whitespace();
            let (of, repair) = (ssrcs.next()?.parse().ok()?, ssrcs.next()?.parse().ok()?);
            Some((repair, of))
        };
        self.values("ssrc-group").filter_map(pair).collect()
    }

    /// Declared streams of media, in order.
    pub fn ssrcs(&self) -> Vec<u32> {
        let repairs = self.repairs();
        let mut ssrcs = Vec::new();
        let declared = self.values("ssrc").filter_map(|value| value.split(' ').next());
        for ssrc in declared.filter_map(|ssrc| ssrc.parse().ok()) {
            if !ssrcs.contains(&ssrc) && !repairs.iter().any(|(repair, _)| *repair == ssrc) {
                ssrcs.push(ssrc);
            }
        }
        ssrcs
    }
}
