use std::time::Duration;

use timeline::Codec;

/// Why publishing did not begin, or ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{url} is not an http or https URL")]
    BadUrl { url: String },
    #[error("the token is not one: it has characters that no header may hold")]
    BadToken,
    #[error("{url} cannot be reached: {reason}")]
    Unreachable { url: String, reason: String },
    #[error("the server refused ({status} {title}){}", detail.as_deref().map(|d| format!(": {d}")).unwrap_or_default())]
    Refused {
        status: u16,
        title: String,
        detail: Option<String>,
        /// When the server asks to come again.
        retry_after: Option<Duration>,
    },
    #[error("the server's answer is not WHIP: {0}")]
    BadAnswer(String),
    #[error("no connection after {0:?}: no way through to the server's UDP port")]
    NoConnection(Duration),
    #[error("the connection was lost")]
    Lost {
        /// Goes into [`super::Config::replaces`] to come back in its place.
        session: Option<String>,
    },
    #[error("{} cannot be published: a publisher sends H264 and opus", .0.name())]
    UnsupportedCodec(Codec),
    #[error("the feed ran ahead of the connection: {0}")]
    Overflow(#[from] timeline::feed::Overflow),
    #[error("WebRTC: {0}")]
    WebRtc(String),
}

impl Error {
    pub(super) fn webrtc(error: impl std::fmt::Display) -> Self {
        Error::WebRtc(error.to_string())
    }
}
