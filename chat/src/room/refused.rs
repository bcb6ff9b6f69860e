//! Why something was not done, in the words of the wire.

use serde::Serialize;

use super::rate::RetryAfter;

/// Goes to the client as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Refused {
    pub code: Code,
    pub message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    TooLong,
    Empty,
    Rate,
    /// Slow mode.
    Slow,
    /// The room's settings do not allow it now.
    Mode,
    Muted,
    Banned,
    /// The room's word list.
    Word,
    /// The room's link policy.
    Link,
    Duplicate,
    /// The poll is closed, the time to edit is over.
    Closed,
    Forbidden,
    Ended,
    Malformed,
    Unauthorized,
    NotFound,
    /// The room has no place left.
    Full,
    /// Our fault: it could not be kept. To be sent again.
    Unavailable,
}

impl Refused {
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Refused {
            code,
            message: message.into(),
            retry_after_ms: None,
        }
    }

    pub fn malformed(message: impl Into<String>) -> Self {
        Refused::new(Code::Malformed, message)
    }

    pub fn unavailable() -> Self {
        Refused {
            retry_after_ms: Some(1_000),
            ..Refused::new(Code::Unavailable, "the room could not keep it: try again")
        }
    }
}

impl From<RetryAfter> for Refused {
    fn from(RetryAfter(ms): RetryAfter) -> Self {
        Refused {
            retry_after_ms: Some(ms),
            ..Refused::new(Code::Rate, "too many messages: wait a moment")
        }
    }
}

impl Code {
    pub const fn name(self) -> &'static str {
        match self {
            Code::TooLong => "too_long",
            Code::Empty => "empty",
            Code::Rate => "rate",
            Code::Slow => "slow",
            Code::Mode => "mode",
            Code::Muted => "muted",
            Code::Banned => "banned",
            Code::Word => "word",
            Code::Link => "link",
            Code::Duplicate => "duplicate",
            Code::Closed => "closed",
            Code::Forbidden => "forbidden",
            Code::Ended => "ended",
            Code::Malformed => "malformed",
            Code::Unauthorized => "unauthorized",
            Code::NotFound => "not_found",
            Code::Full => "full",
            Code::Unavailable => "unavailable",
        }
    }
}
