//! A broadcast's name, and where its line stands.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{MediaTime, Timeline};

/// A broadcast's name in URLs, folders and tokens: 1 to 64 of `a–z 0–9 - _`, beginning with a letter or digit.
/// So it can never leave its folder or need escaping.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BroadcastId(String);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a broadcast's id is 1 to 64 of a-z, 0-9, - and _, beginning with a letter or digit")]
pub struct BadBroadcastId;

impl BroadcastId {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for BroadcastId {
    type Err = BadBroadcastId;

    fn from_str(s: &str) -> Result<Self, BadBroadcastId> {
        let legal = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-' || c == b'_';
        let bytes = s.as_bytes();
        match bytes {
            [first, ..]
                if first.is_ascii_alphanumeric() && bytes.len() <= 64 && bytes.iter().all(|c| legal(*c)) =>
            {
                Ok(BroadcastId(s.to_owned()))
            }
            _ => Err(BadBroadcastId),
        }
    }
}

impl TryFrom<String> for BroadcastId {
    type Error = BadBroadcastId;

    fn try_from(s: String) -> Result<Self, BadBroadcastId> {
        s.parse()
    }
}

impl From<BroadcastId> for String {
    fn from(id: BroadcastId) -> String {
        id.0
    }
}

impl fmt::Display for BroadcastId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where a broadcast's line stands. It only ever moves forward: waiting, live, ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum Line {
    /// Nobody has published yet; there is no origin.
    #[default]
    Waiting,
    Live {
        timeline: Timeline,
    },
    Ended {
        timeline: Timeline,
        duration: MediaTime,
    },
}

impl Line {
    pub const fn timeline(&self) -> Option<Timeline> {
        match self {
            Line::Waiting => None,
            Line::Live { timeline } | Line::Ended { timeline, .. } => Some(*timeline),
        }
    }

    pub const fn is_ended(&self) -> bool {
        matches!(self, Line::Ended { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_cannot_leave_their_folder() {
        for good in ["a", "algebra-1", "2026_analysis", &"x".repeat(64)] {
            assert_eq!(good.parse::<BroadcastId>().unwrap().as_str(), good);
        }
        for bad in ["", "..", "-a", "A", "a/b", "a.b", "ä", "a b", &"x".repeat(65)] {
            assert!(bad.parse::<BroadcastId>().is_err(), "{bad}");
        }
    }
}
