//! How long a missing packet is waited for, and which are worth asking for.

use std::time::{Duration, Instant};

use timeline::Codec;

/// Before a frame's slot leaves, it has to be decoded.
const DECODING: Duration = Duration::from_millis(30);
/// An AAC frame leaves two frames ahead of its slot (43 ms), ends 21 ms after it began, and came in packets of 20 ms.
const SOUND_AHEAD: Duration = Duration::from_millis(85);
/// A round trip that was not measured yet: a continent's.
const UNKNOWN_RTT: Duration = Duration::from_millis(50);
/// Between a loss and the request for it, and the timers of both ends.
const ASKING: Duration = Duration::from_millis(30);
/// Networks swap packets; even where nothing can be repaired those are waited for.
const LEAST: Duration = Duration::from_millis(30);
/// Nobody's line is longer delayed than this is worth.
const MOST: Duration = Duration::from_millis(800);

/// How long a missing packet is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repair {
    Fixed(Duration),
    /// As long as it is worth on a line of this delay.
    Auto {
        line_delay: Duration,
    },
}

impl From<Duration> for Repair {
    fn from(fixed: Duration) -> Self {
        Repair::Fixed(fixed)
    }
}

impl Repair {
    /// Sound that comes after its frame has left is as good as lost, and keeps the sound after it waiting, too: it is
    /// waited for as long as the line has room. Of pictures one that is lost costs all until the next keyframe: they
    /// are given time for three requests and their answers (at 10 % loss each way 99.3 % of what is missing is there by
    /// then), even where that makes some late.
    pub fn budget(self, codec: Codec, rtt: Duration) -> Duration {
        let line_delay = match self {
            Repair::Fixed(budget) => return budget,
            Repair::Auto { line_delay } => line_delay,
        };
        let rtt = if rtt.is_zero() { UNKNOWN_RTT } else { rtt };
        let room = line_delay.saturating_sub(rtt / 2);
        if codec.is_video() {
            room.saturating_sub(DECODING).max(4 * rtt + ASKING)
        } else {
            room.saturating_sub(SOUND_AHEAD)
        }
        .clamp(LEAST, MOST)
    }
}

/// What of a stream may be asked for again: a share of what it brings, and a burst.
///
/// Where more is missing the path is full, or was away. What is sent again then only takes the place of what could
/// still be in time.
#[derive(Debug)]
pub(super) struct Allowance {
    tokens: f64,
    rate: Rate,
}

/// Packets that may be asked for, for each that came: enough to repair 25 % of loss.
const EARNED: f64 = 0.4;
/// A burst's least size: a keyframe.
const LEAST_BURST: f64 = 128.0;
/// A burst's size in repair budgets: so much is sent again within one if the path bears four times the stream.
const BUDGETS: f64 = 4.0;

impl Allowance {
    pub fn new() -> Self {
        Allowance {
            tokens: LEAST_BURST,
            rate: Rate::default(),
        }
    }

    pub fn came(&mut self, now: Instant, budget: Duration) {
        self.rate.came(now);
        self.tokens = (self.tokens + EARNED).min(self.burst(budget));
    }

    /// The most that is worth asking for at once.
    pub fn burst(&self, budget: Duration) -> f64 {
        (self.rate.per_second * budget.as_secs_f64() * BUDGETS).max(LEAST_BURST)
    }

    pub fn spend(&mut self) -> bool {
        let left = self.tokens >= 1.0;
        self.tokens -= f64::from(u8::from(left));
        left
    }
}

/// Packets a second, of the last whole second.
#[derive(Debug, Default)]
struct Rate {
    per_second: f64,
    since: Option<Instant>,
    count: u32,
}

impl Rate {
    fn came(&mut self, now: Instant) {
        let since = *self.since.get_or_insert(now);
        let passed = now.saturating_duration_since(since);
        if passed >= Duration::from_secs(1) {
            self.per_second = f64::from(self.count) / passed.as_secs_f64();
            (self.since, self.count) = (Some(now), 0);
        }
        self.count += 1;
    }
}

/// The round trip, of measurements that come now and then (RFC 6298 §2).
#[derive(Debug, Default)]
pub(super) struct RoundTrip {
    measured: Duration,
    smooth: f64,
    deviation: f64,
    /// The shortest, which is slowly forgotten.
    least: f64,
}

impl RoundTrip {
    /// The newest measurement, which may be told again. Zero: there is none yet.
    pub fn is(&mut self, measured: Duration) {
        if measured == self.measured {
            return;
        }
        let seconds = measured.as_secs_f64();
        if self.measured.is_zero() {
            (self.smooth, self.deviation) = (seconds, seconds / 8.0);
            self.least = seconds;
        } else {
            self.deviation += ((self.smooth - seconds).abs() - self.deviation) / 4.0;
            self.smooth += (seconds - self.smooth) / 8.0;
            self.least = seconds.min(self.least * (1.0 + LENGTHENING));
        }
        self.measured = measured;
    }

    pub fn smooth(&self) -> Duration {
        Duration::from_secs_f64(self.smooth)
    }

    /// No answer comes sooner than this.
    pub fn least(&self) -> Duration {
        Duration::from_secs_f64(self.least)
    }

    /// So long after a request its answer has come, or never will.
    pub fn answered(&self) -> Duration {
        Duration::from_secs_f64(self.smooth + 2.0 * self.deviation) + TIMER
    }
}

/// With each measurement, two a second: a path that became longer is believed after half a minute.
const LENGTHENING: f64 = 0.02;

/// A session looks at what is missing every ten milliseconds.
const TIMER: Duration = Duration::from_millis(10);

/// How much later than the packets behind them packets come that were not lost, but overtaken.
#[derive(Debug, Default)]
pub(super) struct Reordering {
    seconds: f64,
}

/// Of each packet, so that a path that no longer swaps is believed after some hundred packets.
const FORGETTING: f64 = 1.0 / 512.0;
const ROOM: f64 = 1.25;

impl Reordering {
    pub fn in_order(&mut self) {
        self.seconds -= self.seconds * FORGETTING;
    }

    pub fn overtaken(&mut self, by: Duration) {
        self.seconds = self.seconds.max(by.as_secs_f64() * ROOM);
    }

    /// How long to wait for one before asking: no longer than a quarter of a round trip. A packet that comes twice costs less
    /// than one that comes too late.
    pub fn patience(&self, least: Duration, rtt: Duration) -> Duration {
        Duration::from_secs_f64(self.seconds).min(rtt / 4).max(least)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn auto(codec: Codec, line_delay: u64, rtt: u64) -> u64 {
        let line_delay = ms(line_delay);
        Repair::Auto { line_delay }.budget(codec, ms(rtt)).as_millis() as u64
    }

    #[test]
    fn the_budget_is_what_the_line_has_room_for_or_four_round_trips_of_a_picture() {
        assert_eq!(Repair::Fixed(ms(120)).budget(Codec::Opus, ms(500)), ms(120));
        assert_eq!(
            (auto(Codec::H264, 150, 10), auto(Codec::Opus, 150, 10)),
            (115, 60)
        );
        assert_eq!(
            (auto(Codec::H264, 150, 60), auto(Codec::Opus, 150, 60)),
            (270, 35)
        );
        assert_eq!(
            (auto(Codec::H264, 400, 60), auto(Codec::Opus, 400, 60)),
            (340, 285)
        );
        // Not measured: 50 ms.
        assert_eq!((auto(Codec::H264, 150, 0), auto(Codec::Opus, 150, 0)), (230, 40));
        assert_eq!(
            (auto(Codec::Vp8, 150, 900), auto(Codec::Opus, 150, 900)),
            (800, 30)
        );
    }

    #[test]
    fn a_share_of_what_comes_may_be_asked_for() {
        let (t, mut allowance) = (Instant::now(), Allowance::new());
        while allowance.spend() {}
        (0..1000).for_each(|n| allowance.came(t + ms(n), ms(120)));
        assert_eq!(
            std::iter::repeat_with(|| allowance.spend())
                .take_while(|s| *s)
                .count(),
            128
        );
        // A thousand a second, 480 in four budgets.
        (1000..4000).for_each(|n| allowance.came(t + ms(n), ms(120)));
        assert_eq!(
            std::iter::repeat_with(|| allowance.spend())
                .take_while(|s| *s)
                .count(),
            480
        );
    }

    #[test]
    fn round_trips_are_smoothed_and_told_again_they_count_once() {
        let mut rtt = RoundTrip::default();
        assert_eq!((rtt.smooth(), rtt.answered()), (ms(0), ms(10)));
        rtt.is(ms(80));
        assert_eq!((rtt.smooth(), rtt.answered()), (ms(80), ms(110)));
        (0..100).for_each(|_| rtt.is(ms(40)));
        assert_eq!(rtt.smooth(), ms(75));
        (0..100).for_each(|n| rtt.is(ms(40) + Duration::from_nanos(n % 2)));
        assert_eq!((rtt.smooth().as_millis(), rtt.answered().as_millis()), (40, 50));
    }

    #[test]
    fn a_path_that_swaps_is_given_time() {
        let mut reordering = Reordering::default();
        assert_eq!(reordering.patience(ms(5), ms(80)), ms(5));
        reordering.overtaken(ms(16));
        assert_eq!(reordering.patience(ms(5), ms(80)), ms(20));
        assert_eq!(
            reordering.patience(ms(5), ms(40)),
            ms(10),
            "a quarter of a round trip"
        );
        (0..1000).for_each(|_| reordering.in_order());
        assert_eq!(reordering.patience(ms(5), ms(80)), ms(5));
    }
}
