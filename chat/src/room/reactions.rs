//! Reactions, summed per second of media time before anyone hears of them: a hall that claps is one event a
//! second, however large it is.

use std::collections::BTreeMap;

use timeline::{Line, MediaTime, Span, Stamp, WallTime};

use super::{Code, Refused, Room};
use crate::{Person, Rate, Role};

const SECOND: Span = Span::from_millis(1_000);

/// One person's: a short burst, then one a second.
const RATE: Rate = Rate {
    messages: 5,
    per_ms: 5_000,
};

/// Different ones in one second; more could not be told apart.
const MAX_KINDS: usize = 16;

/// Seconds of media time in one sum: viewers are some seconds apart, those who are rewound further.
const MAX_SECONDS: usize = 64;

/// A family of four with skin tones.
const MAX_BYTES: usize = 64;

#[derive(Default)]
pub struct Reactions {
    sums: BTreeMap<MediaTime, BTreeMap<String, u32>>,
    since: Option<WallTime>,
}

impl Room {
    pub(super) fn react(
        &mut self,
        by: &Person,
        emoji: &str,
        playing: Option<f64>,
        line: &Line,
        now: WallTime,
    ) -> Result<(), Refused> {
        if by.role == Role::Viewer {
            return Err(Refused::new(Code::Forbidden, "viewers read only"));
        }
        self.check_open(line)?;
        self.check_sanction(by, now)?;
        if !self.state.settings.reactions {
            return Err(Refused::new(Code::Mode, "reactions are switched off"));
        }
        if emoji.len() > MAX_BYTES || !super::body::is_one_emoji(emoji) {
            return Err(Refused::malformed("emoji: one emoji"));
        }
        self.asks.take(&format!("react {}", by.id), RATE, now)?;
        let at = Stamp::of(line, playing.map(crate::wire::playing_time), now).at;
        self.reactions.add(at, emoji, now);
        Ok(())
    }
}

impl Reactions {
    fn add(&mut self, at: MediaTime, emoji: &str, now: WallTime) {
        let second = MediaTime::from_ticks(at.ticks() - at.ticks().rem_euclid(SECOND.ticks()));
        if self.sums.len() >= MAX_SECONDS && !self.sums.contains_key(&second) {
            return;
        }
        let counts = self.sums.entry(second).or_default();
        if counts.len() < MAX_KINDS || counts.contains_key(emoji) {
            *counts.entry(emoji.to_owned()).or_default() += 1;
            self.since.get_or_insert(now);
        }
    }

    /// When the sums are to be told.
    pub fn due(&self) -> Option<WallTime> {
        self.since.map(|since| since + SECOND)
    }

    /// The sums, if they are due.
    pub fn take(&mut self, now: WallTime) -> BTreeMap<MediaTime, BTreeMap<String, u32>> {
        if self.since.is_none_or(|since| now < since + SECOND) {
            return BTreeMap::new();
        }
        self.since = None;
        std::mem::take(&mut self.sums)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_of_clapping_is_one_sum() {
        let now = WallTime::from_unix_millis(1_000);
        let at = |ms| MediaTime::ZERO + Span::from_millis(ms);
        let mut reactions = Reactions::default();
        for ms in [5_100, 5_900, 6_000] {
            reactions.add(at(ms), "👍", now);
        }
        reactions.add(at(5_500), "❤️", now);
        assert!(reactions.take(now).is_empty(), "not yet");
        let due = reactions.due().unwrap();
        let sums = reactions.take(due);
        assert_eq!(
            sums[&at(5_000)],
            [("❤️".to_owned(), 1), ("👍".to_owned(), 2)].into()
        );
        assert_eq!(sums[&at(6_000)]["👍"], 1);
        assert_eq!(reactions.due(), None);
    }
}
