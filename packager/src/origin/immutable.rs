//! Objects that never change: known by their tag (RFC 9110 13.1.2), and sent in ranges (RFC 9110 14), which
//! I-frame playlists and edges ask for.

use std::ops::Range;

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use headers::{AcceptRanges, ContentRange, ETag, HeaderMapExt, IfNoneMatch, IfRange};
use http_range_header::{EndPosition, StartPosition, SyntacticallyCorrectRange, parse_range_header};

use super::reply::{self, Cache, Problem};

pub struct Immutable<'a> {
    /// Its tag too, as no name is used twice.
    pub name: &'a str,
    pub content_type: &'a str,
    pub cache: Cache,
}

/// How much of an object a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Portion {
    /// The client has it.
    Nothing,
    Whole,
    Range(Range<u64>),
    OutOfBounds,
}

impl Immutable<'_> {
    /// The answer to a request for an object whose bytes are at hand.
    pub fn reply(&self, body: Bytes, request: &HeaderMap) -> Response {
        let length = body.len() as u64;
        let portion = self.portion(length, request);
        let body = match &portion {
            // The bounds are those of a body in memory.
            Portion::Range(range) => body.slice(range.start as usize..range.end as usize),
            _ => body,
        };
        self.reply_with(portion, length, body)
    }

    pub fn portion(&self, length: u64, request: &HeaderMap) -> Portion {
        let tag = self.tag();
        let known = request.typed_get::<IfNoneMatch>();
        if known.is_some_and(|known| tag.as_ref().is_some_and(|tag| !known.precondition_passes(tag))) {
            return Portion::Nothing;
        }
        // What is not understood is not a condition that holds (13.1.5).
        let fits = |condition: IfRange| !condition.is_modified(tag.as_ref(), None);
        match request.contains_key(header::IF_RANGE) && !request.typed_get().is_some_and(fits) {
            true => Portion::Whole,
            false => ranged(length, request),
        }
    }

    /// `body` is what `portion` says, of `length` bytes in all.
    pub fn reply_with(&self, portion: Portion, length: u64, body: Bytes) -> Response {
        let body = if portion == Portion::Nothing {
            Bytes::new()
        } else {
            body
        };
        let mut response = match &portion {
            Portion::OutOfBounds => out_of_bounds(),
            _ => reply::object(body, self.content_type, self.cache),
        };
        let headers = response.headers_mut();
        headers.typed_insert(AcceptRanges::bytes());
        if let Some(tag) = self.tag() {
            headers.typed_insert(tag);
        }
        match portion {
            Portion::Whole => {}
            Portion::Nothing => {
                // The length of what the client has, or none (8.6).
                headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
                *response.status_mut() = StatusCode::NOT_MODIFIED;
            }
            Portion::Range(range) => {
                if let Ok(range) = ContentRange::bytes(range, length) {
                    headers.typed_insert(range);
                }
                *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            }
            Portion::OutOfBounds => headers.typed_insert(ContentRange::unsatisfied_bytes(length)),
        }
        response
    }

    fn tag(&self) -> Option<ETag> {
        format!("\"{}\"", self.name).parse().ok()
    }
}

/// Several ranges are answered with the whole, as are those that make no sense (14.2).
fn ranged(length: u64, request: &HeaderMap) -> Portion {
    let header = request.get(header::RANGE).and_then(|range| range.to_str().ok());
    let Some(Ok(parsed)) = header.map(parse_range_header) else {
        return Portion::Whole;
    };
    let &[range] = &parsed.ranges[..] else {
        return Portion::Whole;
    };
    within(range, length)
}

fn within(SyntacticallyCorrectRange { start, end }: SyntacticallyCorrectRange, length: u64) -> Portion {
    let start = match start {
        StartPosition::Index(start) => start,
        StartPosition::FromLast(count) => length.saturating_sub(count),
    };
    let end = match end {
        // The wrong way round: no range at all.
        EndPosition::Index(last) if last < start => return Portion::Whole,
        EndPosition::Index(last) => length.min(last.saturating_add(1)),
        EndPosition::LastByte => length,
    };
    if start < end {
        Portion::Range(start..end)
    } else {
        Portion::OutOfBounds
    }
}

fn out_of_bounds() -> Response {
    Problem {
        status: StatusCode::RANGE_NOT_SATISFIABLE,
        detail: "the range begins behind the last byte".into(),
        cache: Cache::Seconds(1),
    }
    .into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OBJECT: Immutable<'_> = Immutable {
        name: "7.m4s",
        content_type: "video/mp4",
        cache: Cache::YEAR,
    };

    fn portion(headers: &[(&'static str, &str)]) -> Portion {
        let header = |(name, value): &(&'static str, &str)| {
            (header::HeaderName::from_static(name), value.parse().unwrap())
        };
        OBJECT.portion(1_000, &headers.iter().map(header).collect())
    }

    #[test]
    fn one_range_is_sent_and_what_makes_no_sense_is_ignored() {
        for (range, expected) in [
            ("bytes=0-0", Portion::Range(0..1)),
            ("bytes=10-19", Portion::Range(10..20)),
            ("bytes=990-", Portion::Range(990..1_000)),
            ("bytes=990-5000", Portion::Range(990..1_000)),
            ("bytes=0-18446744073709551615", Portion::Range(0..1_000)),
            ("bytes=-1", Portion::Range(999..1_000)),
            ("bytes=-5000", Portion::Range(0..1_000)),
            ("bytes=1000-", Portion::OutOfBounds),
            ("bytes=1000-1001", Portion::OutOfBounds),
            ("bytes=20-10", Portion::Whole),
            ("bytes=0-1,4-5", Portion::Whole),
            ("bytes=", Portion::Whole),
            ("bytes=a-b", Portion::Whole),
            ("bytes=-", Portion::Whole),
            ("items=0-1", Portion::Whole),
            ("bytes=0-99999999999999999999", Portion::Whole),
        ] {
            assert_eq!(portion(&[("range", range)]), expected, "{range}");
        }
        assert_eq!(portion(&[]), Portion::Whole);
    }

    #[test]
    fn conditions() {
        for known in ["\"7.m4s\"", "W/\"7.m4s\"", "\"1.m4s\", \"7.m4s\"", "*"] {
            assert_eq!(portion(&[("if-none-match", known)]), Portion::Nothing, "{known}");
            // Before ranges are looked at (13.2.2).
            let both = [("if-none-match", known), ("range", "bytes=0-1")];
            assert_eq!(portion(&both), Portion::Nothing, "{known}");
        }
        assert_eq!(portion(&[("if-none-match", "\"8.m4s\"")]), Portion::Whole);
        for (same, expected) in [
            ("\"7.m4s\"", Portion::Range(0..2)),
            ("W/\"7.m4s\"", Portion::Whole),
            ("\"8.m4s\"", Portion::Whole),
            ("Sat, 29 Oct 1994 19:43:31 GMT", Portion::Whole),
            ("nonsense", Portion::Whole),
        ] {
            assert_eq!(
                portion(&[("if-range", same), ("range", "bytes=0-1")]),
                expected,
                "{same}"
            );
        }
    }
}
