//! What is true of a broadcast for good, and what of it is kept: `broadcast.json`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use timeline::{BroadcastId, Grid, Layout, Line, MediaTime, SourceName, Timeline, WallTime};

use super::Refused;

/// More would not fit on a page or in a title bar.
pub const MAX_TITLE_CHARS: usize = 200;

/// HOLD-BACK, where players without low latency stay, is 9 s.
pub const MAX_PART_HOLD_BACK_MS: u32 = 9_000;

/// A broadcast's facts as they are kept and served: `broadcast.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Facts {
    pub id: BroadcastId,
    pub title: String,
    #[serde(flatten)]
    pub terms: Terms,
    /// Unix milliseconds.
    pub created: i64,
    pub state: State,
    /// Unix milliseconds; none before the first publish.
    pub origin: Option<i64>,
    /// 90 kHz ticks; none before the end.
    pub duration: Option<i64>,
    /// How the pictures of its sources share the canvas.
    #[serde(default)]
    pub layout: Layout,
    /// The sources that are promised to co-hosts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cohosts: Vec<SourceName>,
    /// The sources that co-hosts were promised and then denied: tokens issued up to then (Unix seconds) are void.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub withdrawn: BTreeMap<SourceName, i64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Waiting,
    Live,
    Ended,
}

/// How far behind the lecturer viewers are to be, and at what price.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Latency {
    /// Parts of 200 ms.
    #[default]
    Standard,
    /// Parts of 100 ms: for discussions on good networks. Each viewer asks twice as often.
    Interactive,
}

impl Latency {
    pub fn grid(self) -> Grid {
        match self {
            Latency::Standard => Grid::default(),
            Latency::Interactive => Grid {
                part_frames: 3,
                ..Grid::default()
            },
        }
    }
}

/// What a broadcast is made as, for good. A server has its own for those of which nothing else is said.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Terms {
    /// Whether anyone may ask for a participant's token.
    pub guests: bool,
    /// Fixed: players stop for good when what it promises changes.
    #[serde(default)]
    pub latency: Latency,
    /// PART-HOLD-BACK, in milliseconds; 0 is three part targets. As fixed.
    #[serde(default)]
    pub part_hold_back_ms: u32,
    /// Whether its room is offered as subtitles. As fixed: what a playlist offers does not change.
    #[serde(default)]
    pub chat_subtitles: bool,
}

/// What a new broadcast is asked to be.
#[derive(Clone)]
pub struct Wanted {
    pub id: BroadcastId,
    pub title: String,
    pub terms: Terms,
}

impl Facts {
    /// Of a broadcast that nobody has published to yet.
    pub(super) fn of(wanted: Wanted, created: WallTime) -> Result<Facts, Refused> {
        let title = wanted.title.trim();
        if title.is_empty() || title.chars().count() > MAX_TITLE_CHARS || title.chars().any(char::is_control)
        {
            return Err(Refused::BadTitle);
        }
        if wanted.terms.part_hold_back_ms > MAX_PART_HOLD_BACK_MS {
            return Err(Refused::BadHoldBack);
        }
        Ok(Facts {
            title: title.to_owned(),
            id: wanted.id,
            terms: wanted.terms,
            created: created.unix_millis(),
            state: State::Waiting,
            origin: None,
            duration: None,
            layout: Layout::default(),
            cohosts: Vec::new(),
            withdrawn: BTreeMap::new(),
        })
    }

    pub(super) fn line(&self) -> Line {
        let Some(origin) = self.origin else {
            return Line::Waiting;
        };
        let timeline = Timeline::starting(WallTime::from_unix_millis(origin));
        match self.state {
            State::Waiting => Line::Waiting,
            State::Live => Line::Live { timeline },
            State::Ended => Line::Ended {
                timeline,
                duration: MediaTime::from_ticks(self.duration.unwrap_or_default()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(title: &str, part_hold_back_ms: u32) -> Option<Refused> {
        let wanted = Wanted {
            id: "a".parse().unwrap(),
            title: title.into(),
            terms: Terms {
                guests: true,
                latency: Latency::Standard,
                part_hold_back_ms,
                chat_subtitles: false,
            },
        };
        Facts::of(wanted, WallTime::from_unix_millis(0)).err()
    }

    #[test]
    fn a_title_fits_on_a_page_and_a_hold_back_into_what_players_hold_back() {
        assert!(refused("  Algebra ", 9_000).is_none());
        assert!(refused(&"é".repeat(200), 0).is_none());
        for title in ["", "   ", "a\nb", &"é".repeat(201)] {
            assert!(matches!(refused(title, 0), Some(Refused::BadTitle)), "{title:?}");
        }
        assert!(matches!(refused("Algebra", 9_001), Some(Refused::BadHoldBack)));
    }
}
