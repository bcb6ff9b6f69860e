//! What an offer holds, what our answer says, and the fragments of trickle ICE. Text in, text out.
//!
//! The WebRTC stack parses the whole offer itself; here is what WHIP adds (RFC 9725 §4) and what the stack leaves
//! to us: its host candidates are placeholders, and which packet belongs to which section is decided in the session.

mod answer;
mod candidates;
mod fragment;
mod offer;
mod section;

pub(crate) use answer::{Format, finish, formats};
pub(crate) use candidates::{Candidates, is_reachable};
pub(crate) use fragment::{Fragment, are_credentials, fragment_of, renamed, restarted};
pub(crate) use offer::{Labels, Media, Offer, OfferError};

/// The first value of `a=name:…` in a description.
pub(crate) fn value<'a>(sdp: &'a str, name: &str) -> Option<&'a str> {
    sdp.lines().find_map(|line| attribute(line.trim_end(), name))
}

/// The value of `a=name:value`, if this line is one.
fn attribute<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    line.strip_prefix("a=")?.strip_prefix(name)?.strip_prefix(':')
}

/// `x=…`: every line of SDP looks so (RFC 8866 §5).
fn is_line(line: &str) -> bool {
    matches!(line.as_bytes(), [letter, b'=', ..] if letter.is_ascii_lowercase())
}

/// `a=rtpmap:96 H264/90000` → (96, "H264").
fn rtpmap(line: &str) -> Option<(u8, &str)> {
    let (payload_type, encoding) = attribute(line, "rtpmap")?.split_once(' ')?;
    Some((payload_type.parse().ok()?, encoding.split('/').next()?))
}
