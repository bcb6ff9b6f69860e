//! The affine maps of one track: media time to RTP time, wall time to RTP and NTP time.

use timeline::{MediaTime, TICKS_PER_SECOND, Timeline, WallTime};

/// From 1900, where NTP begins, to 1970 (RFC 5905 §6).
const NTP_EPOCH_SECONDS: i128 = 2_208_988_800;
const NANOS_PER_SECOND: i128 = 1_000_000_000;

#[derive(Clone, Copy, Debug)]
pub struct RtpClock {
    pub timeline: Timeline,
    /// Ticks per second.
    pub rate: u32,
    /// RTP time of the origin: random, so that no plain text is known to whoever attacks SRTP (RFC 3550 §5.1).
    pub offset: u32,
}

impl RtpClock {
    /// The RTP time of what was captured at `at`.
    pub fn at(&self, at: MediaTime) -> u32 {
        let ticks = (at - MediaTime::ZERO).ticks();
        self.after_origin(i128::from(ticks), i128::from(TICKS_PER_SECOND))
    }

    /// The RTP time of what is captured at `wall`.
    pub fn at_wall(&self, wall: WallTime) -> u32 {
        let nanos = wall.unix_nanos() - self.timeline.origin().unix_nanos();
        self.after_origin(i128::from(nanos), NANOS_PER_SECOND)
    }

    /// `time` counts in `1/unit` s. Rounded to the nearest; RTP time wraps.
    fn after_origin(&self, time: i128, unit: i128) -> u32 {
        let ticks = (time * i128::from(self.rate) + unit / 2).div_euclid(unit);
        self.offset.wrapping_add(ticks as u32)
    }
}

/// NTP time as 32.32 fixed point.
pub fn ntp(wall: WallTime) -> u64 {
    let nanos = i128::from(wall.unix_nanos()) + NTP_EPOCH_SECONDS * NANOS_PER_SECOND;
    (nanos << 32).div_euclid(NANOS_PER_SECOND) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use timeline::Span;

    const OPUS: u32 = 48_000;
    const VIDEO: u32 = 90_000;

    fn clock(rate: u32) -> RtpClock {
        let timeline = Timeline::starting(WallTime::from_unix_millis(1_760_000_000_000));
        RtpClock {
            timeline,
            rate,
            offset: u32::MAX - 100,
        }
    }

    proptest! {
        /// What a report says of a moment is what a frame captured then carries: to half a tick of either clock.
        #[test]
        fn reports_map_to_capture_time(ticks in -90_000i64..324_000_000, rate in prop::sample::select(vec![OPUS, VIDEO])) {
            let clock = clock(rate);
            let at = MediaTime::from_ticks(ticks);
            let off = clock.at_wall(clock.timeline.wall(at)).wrapping_sub(clock.at(at)) as i32;
            prop_assert!(off.abs() <= 1, "{off}");
        }
    }

    #[test]
    fn frames_are_exact_in_rtp_time() {
        let at = |clock: RtpClock, ticks| clock.at(MediaTime::from_ticks(ticks)).wrapping_sub(clock.offset);
        assert_eq!(at(clock(VIDEO), 3_000), 3_000);
        assert_eq!(at(clock(OPUS), 1_800), 960);
        // Before the origin, and beyond the wrap.
        assert_eq!(at(clock(OPUS), -1_800) as i32, -960);
        assert_eq!(clock(VIDEO).at(MediaTime::from_ticks(200)), 99);
    }

    #[test]
    fn ntp_counts_from_1900_in_fixed_point() {
        assert_eq!(ntp(WallTime::from_unix_millis(0)), 2_208_988_800 << 32);
        assert_eq!(
            ntp(WallTime::from_unix_millis(1_500)),
            2_208_988_801 << 32 | 1 << 31
        );
        let step =
            ntp(WallTime::from_unix_millis(0) + Span::from_millis(250)) - ntp(WallTime::from_unix_millis(0));
        assert_eq!(step, 1 << 30);
    }
}
