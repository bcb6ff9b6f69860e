//! Answers: headers, cache lifetimes, problems.

use axum::Json;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde_json::json;

use crate::playlist::CONTENT_TYPE;

/// How long, and by whom, an answer may be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cache {
    Seconds(u32),
    /// What stands under this name never changes.
    Immutable {
        seconds: u32,
    },
    /// A kept refusal would be served to every viewer after it.
    No,
}

impl Cache {
    pub const YEAR: Cache = Cache::Immutable { seconds: 31_536_000 };

    /// As Cache-Control has it.
    pub fn text(self) -> String {
        match self {
            Cache::Seconds(seconds) => format!("public, max-age={seconds}"),
            Cache::Immutable { seconds } => format!("public, max-age={seconds}, immutable"),
            Cache::No => "no-store".to_owned(),
        }
    }

    fn header(self) -> HeaderValue {
        match self {
            // The most frequent: playlists wait for six target durations of the default grid, parts live for a minute.
            Cache::Seconds(18) => HeaderValue::from_static("public, max-age=18"),
            Cache::Immutable { seconds: 60 } => HeaderValue::from_static("public, max-age=60, immutable"),
            Cache::No => HeaderValue::from_static("no-store"),
            other => HeaderValue::try_from(other.text()).unwrap_or(HeaderValue::from_static("no-store")),
        }
    }
}

/// A playlist or another text, as the request accepts it.
pub fn text(body: Bytes, gzipped: bool, content_type: &str, cache: Cache) -> Response {
    let mut response = object(body, content_type, cache);
    let headers = response.headers_mut();
    headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    if gzipped {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

/// A body in one piece, with its length.
pub fn object(body: Bytes, content_type: &str, cache: Cache) -> Response {
    const UNKNOWN: HeaderValue = HeaderValue::from_static("application/octet-stream");
    let mut response = Response::new(Body::from(body));
    // Room for what is told here, of the origin, and by the server: it does not grow on the way.
    *response.headers_mut() = HeaderMap::with_capacity(12);
    let headers = response.headers_mut();
    let told = HeaderValue::from_str(content_type).unwrap_or(UNKNOWN);
    headers.insert(header::CONTENT_TYPE, told);
    headers.insert(header::CACHE_CONTROL, cache.header());
    if let Some(priority) = priority(content_type) {
        headers.insert("priority", priority);
    }
    response
}

/// RFC 9218: players cannot go on without the playlist, nor without sound; all rungs are alike.
fn priority(content_type: &str) -> Option<HeaderValue> {
    let kind = content_type.split('/').next();
    let urgency = match kind {
        _ if content_type == CONTENT_TYPE => "u=1",
        Some("audio") => "u=2",
        Some("video") => "u=3",
        _ => return None,
    };
    Some(HeaderValue::from_static(urgency))
}

/// Whether the request takes gzip (RFC 9110 12.5.3): named, and not with a weight of zero.
pub fn accepts_gzip(request: &HeaderMap) -> bool {
    let codings = request
        .get_all(header::ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok());
    codings.flat_map(|value| value.split(',')).any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, "q=1"));
        let refused = weight
            .trim()
            .strip_prefix("q=")
            .is_some_and(|q| q.parse::<f32>().is_ok_and(|q| q == 0.0));
        matches!(name.trim().to_ascii_lowercase().as_str(), "gzip" | "x-gzip" | "*") && !refused
    })
}

/// RFC 9457.
pub struct Problem {
    pub status: StatusCode,
    pub detail: String,
    pub cache: Cache,
}

impl Problem {
    pub fn not_found(detail: impl Into<String>) -> Problem {
        // It may exist a moment later.
        Problem {
            status: StatusCode::NOT_FOUND,
            detail: detail.into(),
            cache: Cache::Seconds(1),
        }
    }

    pub fn bad_request(detail: impl Into<String>, cache: Cache) -> Problem {
        Problem {
            status: StatusCode::BAD_REQUEST,
            detail: detail.into(),
            cache,
        }
    }

    pub fn unavailable(detail: impl Into<String>) -> Problem {
        Problem {
            status: StatusCode::SERVICE_UNAVAILABLE,
            detail: detail.into(),
            cache: Cache::No,
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = Json(json!({
            "type": "about:blank",
            "title": self.status.canonical_reason(),
            "status": self.status.as_u16(),
            "detail": self.detail,
        }));
        let mut response = (self.status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        headers.insert(header::CACHE_CONTROL, self.cache.header());
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_sent_to_those_who_take_it() {
        for (value, takes) in [
            ("gzip", true),
            ("gzip, deflate, br, zstd", true),
            ("br;q=1.0, gzip;q=0.8, *;q=0.1", true),
            ("*", true),
            ("gzip;q=0", false),
            ("identity", false),
            ("", false),
        ] {
            let headers = HeaderMap::from_iter([(header::ACCEPT_ENCODING, value.parse().unwrap())]);
            assert_eq!(accepts_gzip(&headers), takes, "{value}");
        }
        assert!(!accepts_gzip(&HeaderMap::new()));
    }
}
