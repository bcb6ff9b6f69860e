//! Instants and spans. An instant is not a number: `MediaTime − MediaTime = Span`, and there is no
//! `MediaTime + MediaTime`.

use std::fmt;
use std::ops::{Add, AddAssign, Neg, Sub};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Media time counts in 90 kHz ticks: one frame at 30 fps is 3,000, 1,024 samples at 48 kHz are 1,920.
pub const TICKS_PER_SECOND: i64 = 90_000;

const NANOS_PER_SECOND: i128 = 1_000_000_000;

/// A length of media time in 90 kHz ticks; may be negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Span(i64);

impl Span {
    pub const ZERO: Span = Span(0);

    pub const fn from_ticks(ticks: i64) -> Self {
        Span(ticks)
    }

    pub const fn from_millis(ms: i64) -> Self {
        Span(ms * (TICKS_PER_SECOND / 1000))
    }

    pub const fn ticks(self) -> i64 {
        self.0
    }

    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / TICKS_PER_SECOND as f64
    }

    /// Nanoseconds, rounded to the nearest.
    pub fn nanos(self) -> i64 {
        round_div(
            i128::from(self.0) * NANOS_PER_SECOND,
            i128::from(TICKS_PER_SECOND),
        ) as i64
    }

    /// The nearest span to a number of nanoseconds.
    pub fn from_nanos(nanos: i64) -> Self {
        Span(round_div(i128::from(nanos) * i128::from(TICKS_PER_SECOND), NANOS_PER_SECOND) as i64)
    }

    /// For timers; a negative span is no time at all.
    pub fn to_duration(self) -> Duration {
        Duration::from_nanos(self.nanos().max(0) as u64)
    }

    pub const fn times(self, n: i64) -> Self {
        Span(self.0 * n)
    }
}

impl From<Duration> for Span {
    fn from(d: Duration) -> Self {
        Span::from_nanos(d.as_nanos().min(i64::MAX as u128) as i64)
    }
}

/// A moment on a broadcast's line: 90 kHz ticks from its origin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MediaTime(i64);

impl MediaTime {
    pub const ZERO: MediaTime = MediaTime(0);

    pub const fn from_ticks(ticks: i64) -> Self {
        MediaTime(ticks)
    }

    pub const fn ticks(self) -> i64 {
        self.0
    }

    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / TICKS_PER_SECOND as f64
    }
}

/// A moment on the server's clock: nanoseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WallTime(i64);

impl WallTime {
    pub const fn from_unix_nanos(nanos: i64) -> Self {
        WallTime(nanos)
    }

    pub const fn from_unix_millis(ms: i64) -> Self {
        WallTime(ms * 1_000_000)
    }

    pub const fn unix_nanos(self) -> i64 {
        self.0
    }

    /// Whole milliseconds, rounded down.
    pub const fn unix_millis(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// The whole millisecond at or before this moment.
    pub const fn floor_to_millis(self) -> Self {
        WallTime::from_unix_millis(self.unix_millis())
    }
}

impl From<std::time::SystemTime> for WallTime {
    fn from(t: std::time::SystemTime) -> Self {
        let nanos = match t.duration_since(std::time::UNIX_EPOCH) {
            Ok(d) => d.as_nanos() as i64,
            Err(before) => -(before.duration().as_nanos() as i64),
        };
        WallTime(nanos)
    }
}

/// The immutable map between the server's clock and a broadcast's media time.
///
/// The origin is a whole millisecond, so that PROGRAM-DATE-TIME (which has three decimals) is exact on every
/// segment boundary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timeline {
    origin: WallTime,
}

impl Timeline {
    /// A line that begins at `opening`, rounded down to a whole millisecond.
    pub const fn starting(opening: WallTime) -> Self {
        Timeline {
            origin: opening.floor_to_millis(),
        }
    }

    pub const fn origin(self) -> WallTime {
        self.origin
    }

    pub fn wall(self, at: MediaTime) -> WallTime {
        WallTime(self.origin.0 + Span(at.0).nanos())
    }

    pub fn at(self, wall: WallTime) -> MediaTime {
        MediaTime(Span::from_nanos(wall.0 - self.origin.0).0)
    }
}

fn round_div(n: i128, d: i128) -> i128 {
    (n + d / 2).div_euclid(d)
}

impl Sub for MediaTime {
    type Output = Span;
    fn sub(self, rhs: MediaTime) -> Span {
        Span(self.0 - rhs.0)
    }
}

impl Add<Span> for MediaTime {
    type Output = MediaTime;
    fn add(self, rhs: Span) -> MediaTime {
        MediaTime(self.0 + rhs.0)
    }
}

impl AddAssign<Span> for MediaTime {
    fn add_assign(&mut self, rhs: Span) {
        self.0 += rhs.0;
    }
}

impl Sub<Span> for MediaTime {
    type Output = MediaTime;
    fn sub(self, rhs: Span) -> MediaTime {
        MediaTime(self.0 - rhs.0)
    }
}

impl Sub for WallTime {
    type Output = Span;
    fn sub(self, rhs: WallTime) -> Span {
        Span::from_nanos(self.0 - rhs.0)
    }
}

impl Add<Span> for WallTime {
    type Output = WallTime;
    fn add(self, rhs: Span) -> WallTime {
        WallTime(self.0 + rhs.nanos())
    }
}

impl Sub<Span> for WallTime {
    type Output = WallTime;
    fn sub(self, rhs: Span) -> WallTime {
        WallTime(self.0 - rhs.nanos())
    }
}

impl Add for Span {
    type Output = Span;
    fn add(self, rhs: Span) -> Span {
        Span(self.0 + rhs.0)
    }
}

impl AddAssign for Span {
    fn add_assign(&mut self, rhs: Span) {
        self.0 += rhs.0;
    }
}

impl Sub for Span {
    type Output = Span;
    fn sub(self, rhs: Span) -> Span {
        Span(self.0 - rhs.0)
    }
}

impl Neg for Span {
    type Output = Span;
    fn neg(self) -> Span {
        Span(-self.0)
    }
}

impl fmt::Display for MediaTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}s", self.as_secs_f64())
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}s", self.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// For every tick of a hundred-hour line, and any origin, the map is its own inverse.
        #[test]
        fn at_of_wall_is_identity(origin in 0i64..4_000_000_000_000, ticks in -900_000i64..32_400_000_000) {
            let line = Timeline::starting(WallTime::from_unix_millis(origin));
            let t = MediaTime::from_ticks(ticks);
            prop_assert_eq!(line.at(line.wall(t)), t);
        }

        #[test]
        fn walls_grow_with_media_time(a in 0i64..32_400_000_000, b in 0i64..32_400_000_000) {
            let line = Timeline::starting(WallTime::from_unix_millis(1_700_000_000_123));
            prop_assert_eq!(a.cmp(&b), line.wall(MediaTime::from_ticks(a)).cmp(&line.wall(MediaTime::from_ticks(b))));
        }
    }

    #[test]
    fn segment_edges_fall_on_whole_milliseconds() {
        let line = Timeline::starting(WallTime::from_unix_nanos(1_700_000_000_123_456_789));
        for n in 0..100_000 {
            let wall = line.wall(MediaTime::ZERO + Span::from_millis(3200).times(n));
            assert_eq!(wall, wall.floor_to_millis());
        }
    }
}
