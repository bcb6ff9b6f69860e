use serde::{Deserialize, Serialize};

use crate::{Line, MediaTime, WallTime};

/// Where on the line a writer was when they wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    pub at: MediaTime,
    pub source: StampSource,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StampSource {
    /// The moment the writer's player was showing.
    Playhead,
    /// The player's moment lay outside the line and was moved to its nearer end.
    Clamped,
    /// No player: the server's own time when the message came.
    Server,
}

impl Stamp {
    /// `playing` is the program date-time the writer's player was showing, if it showed any.
    ///
    /// The result lies in [0, now] on a live line, in [0, duration] on an ended one, and is 0 before the origin.
    pub fn of(line: &Line, playing: Option<WallTime>, now: WallTime) -> Stamp {
        let Some(timeline) = line.timeline() else {
            return Stamp {
                at: MediaTime::ZERO,
                source: StampSource::Server,
            };
        };
        let edge = match line {
            Line::Ended { duration, .. } => *duration,
            _ => timeline.at(now).max(MediaTime::ZERO),
        };
        let wanted = timeline.at(playing.unwrap_or(now));
        let at = wanted.clamp(MediaTime::ZERO, edge);
        let source = match playing {
            None => StampSource::Server,
            Some(_) if at == wanted => StampSource::Playhead,
            Some(_) => StampSource::Clamped,
        };
        Stamp { at, source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Span, Timeline};

    #[test]
    fn a_stamp_lies_on_the_line() {
        let start = WallTime::from_unix_millis(1_000_000);
        let timeline = Timeline::starting(start);
        let now = start + Span::from_millis(10_000);
        let live = Line::Live { timeline };
        let of =
            |line: &Line, ms: Option<i64>| Stamp::of(line, ms.map(|ms| start + Span::from_millis(ms)), now);
        let at = |ms| MediaTime::ZERO + Span::from_millis(ms);

        assert_eq!(
            of(&live, Some(7_000)),
            Stamp {
                at: at(7_000),
                source: StampSource::Playhead
            }
        );
        assert_eq!(
            of(&live, Some(-1)),
            Stamp {
                at: at(0),
                source: StampSource::Clamped
            }
        );
        assert_eq!(
            of(&live, Some(11_000)),
            Stamp {
                at: at(10_000),
                source: StampSource::Clamped
            }
        );
        assert_eq!(
            of(&live, None),
            Stamp {
                at: at(10_000),
                source: StampSource::Server
            }
        );
        assert_eq!(of(&Line::Waiting, Some(7_000)).at, at(0));
        let ended = Line::Ended {
            timeline,
            duration: at(5_000),
        };
        assert_eq!(
            of(&ended, Some(7_000)),
            Stamp {
                at: at(5_000),
                source: StampSource::Clamped
            }
        );
    }
}
