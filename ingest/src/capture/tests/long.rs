//! Whole lectures: two tracks of a publisher whose clock is its own, over a path that is never quite still.

use super::*;

/// One frame at 30 fps.
const FRAME: i64 = 33 * MS;
/// Where people begin to notice (ITU-R BT.1359).
const LIP_SYNC: i64 = 40 * MS;
/// From the capture of a picture to its first packet; of sound, whose packets hold 20 ms, to its packet.
const ENCODING: [i64; 2] = [25 * MS, 23 * MS];
const TRAVEL: i64 = 20 * MS;
const HOUR_MS: i64 = 3_600_000;

#[derive(Clone, Copy, PartialEq)]
enum Reports {
    None,
    /// NTP and RTP time of one moment. Of pictures every second, of sound every five, as browsers do.
    Capture,
    /// Every second, of both: the RTP time of a packet and the moment it was sent, as OBS does.
    Send,
}

struct Lecture {
    clock: CaptureClock,
    tracks: [TrackIndex; 2],
    base: [u32; 2],
    /// Of the publisher's clock.
    error: i64,
    ppm: i64,
    reports: Reports,
    /// Of a hundred reports, those that never come.
    reports_lost: u64,
    random: u64,
    now_ms: i64,
    given: [Option<WallTime>; 2],
    latest: [i64; 2],
}

impl Lecture {
    fn new(reports: Reports) -> Self {
        let mut clock = CaptureClock::new();
        let tracks = [clock.add_track(90_000), clock.add_track(48_000)];
        Lecture {
            clock,
            tracks,
            base: [u32::MAX - 90_000 * 20, u32::MAX - 48_000 * 45],
            error: 0,
            ppm: 0,
            reports,
            reports_lost: 0,
            random: 0x2545_f491_4f6c_dd1d,
            now_ms: 0,
            given: [None; 2],
            latest: [0; 2],
        }
    }

    /// Until so many milliseconds: `seen` hears the errors of both tracks' capture times after each frame.
    fn until(&mut self, end_ms: i64, mut seen: impl FnMut(i64, [i64; 2])) {
        while self.now_ms < end_ms {
            let ms = self.now_ms;
            self.now_ms += 1;
            let at = START + ms * MS;
            if ms % 20 == 0 {
                self.frame(1, at);
            }
            if ms * 3 % 100 < 3 {
                self.frame(0, at);
                seen(ms, self.latest);
            }
            for (track, every) in [
                (0, 1_000),
                (
                    1,
                    if self.reports == Reports::Send {
                        1_000
                    } else {
                        5_000
                    },
                ),
            ] {
                if ms % every == every - 1 {
                    self.report(track, at);
                }
            }
        }
    }

    fn frame(&mut self, track: usize, at: i64) {
        let rtp = self.rtp(track, at);
        let travel = TRAVEL + self.jitter();
        let (id, arrival) = (self.tracks[track], wall(at + ENCODING[track] + travel));
        self.clock.arrived(id, rtp, arrival, Span::from_nanos(2 * TRAVEL));
        let captured = self.clock.capture(id, rtp);
        assert!(
            self.given[track].is_none_or(|last| captured > last),
            "time goes on"
        );
        self.given[track] = Some(captured);
        self.latest[track] = captured.unix_nanos() - at;
    }

    fn report(&mut self, track: usize, at: i64) {
        let lost = self.chance(100) < self.reports_lost;
        if self.reports == Reports::None || lost {
            return;
        }
        // What OBS sends waits for its encoder, and a little for its queue.
        let waited = match self.reports {
            Reports::Send => ENCODING[track] + self.jitter(),
            _ => 0,
        };
        let report = SenderReport {
            ntp: ntp(self.own(at + waited)),
            rtp: self.rtp(track, at),
            arrival: wall(at + waited + TRAVEL + self.jitter()),
        };
        let _ = self
            .clock
            .report(self.tracks[track], report, Span::from_nanos(2 * TRAVEL));
    }

    /// Its clock, as it was set …
    fn own(&self, at: i64) -> i64 {
        self.error + self.counted(at) + START
    }

    /// … and as it runs.
    fn counted(&self, at: i64) -> i64 {
        let run = at - START;
        run + (i128::from(run) * i128::from(self.ppm) / 1_000_000) as i64
    }

    fn rtp(&self, track: usize, at: i64) -> u32 {
        let rate = [90_000, 48_000][track];
        let ticks = i128::from(self.counted(at)) * rate / i128::from(SECOND_NS);
        self.base[track].wrapping_add(ticks as u32)
    }

    /// Of a path: up to eight milliseconds.
    fn jitter(&mut self) -> i64 {
        self.chance(8) as i64 * MS
    }

    fn chance(&mut self, of: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % of
    }
}

/// The largest error of a track, and of one against the other.
fn worst(lecture: &mut Lecture, until_ms: i64) -> ([i64; 2], i64) {
    let (mut errors, mut skew) = ([0; 2], 0);
    lecture.until(until_ms, |_, now| {
        for track in 0..2 {
            errors[track] = now[track].abs().max(errors[track]);
        }
        skew = (now[0] - now[1]).abs().max(skew);
    });
    (errors, skew)
}

#[test]
fn whatever_its_clock_says_dates_are_right_after_ten_seconds() {
    for reports in [Reports::Capture, Reports::Send, Reports::None] {
        for (error, ppm) in [
            (0, 0),
            (DAY_NS, 200),
            (-DAY_NS, -200),
            (DAY_NS, -200),
            (-400 * DAY_NS, 200),
        ] {
            let mut lecture = Lecture::new(reports);
            (lecture.error, lecture.ppm) = (error, ppm);
            let (_, skew) = worst(&mut lecture, 10_000);
            assert!(
                skew <= LIP_SYNC,
                "{error} {ppm}: {} ms apart from the start",
                skew / MS
            );
            let (errors, skew) = worst(&mut lecture, 600_000);
            assert!(errors.iter().all(|e| *e <= FRAME), "{error} {ppm}: {errors:?}");
            assert!(skew <= LIP_SYNC / 2, "{error} {ppm}: {skew}");
        }
    }
}

#[test]
fn a_clock_that_is_set_makes_no_date_wrong() {
    let steps = [
        3_600 * SECOND_NS,
        -3_600 * SECOND_NS,
        300 * MS,
        -300 * MS,
        150 * MS,
        -150 * MS,
        60 * MS,
        -60 * MS,
    ];
    for reports in [Reports::Capture, Reports::Send] {
        for step in steps {
            let mut lecture = Lecture::new(reports);
            worst(&mut lecture, 60_000);
            lecture.error += step;
            let (errors, skew) = worst(&mut lecture, 70_000);
            println!(
                "step of {} ms: off by {} ms, {} ms apart",
                step / MS,
                errors.iter().max().unwrap() / MS,
                skew / MS
            );
            assert!(errors.iter().all(|e| *e <= 2 * FRAME), "{step}: {errors:?}");
            assert!(skew <= LIP_SYNC, "{step}: {skew}");
            worst(&mut lecture, 110_000);
            let (errors, skew) = worst(&mut lecture, 120_000);
            assert!(
                errors.iter().all(|e| *e <= FRAME) && skew <= LIP_SYNC,
                "{step}: {errors:?}, {skew}"
            );
        }
    }
}

/// RTP time of pictures wraps every 13.25 hours, of sound every 24.8: here after one hour and after two.
#[test]
fn eight_hours_with_wraps_and_hardly_a_report() {
    for (reports, ppm) in [
        (Reports::Capture, 200),
        (Reports::Capture, -200),
        (Reports::None, 200),
    ] {
        let mut lecture = Lecture::new(reports);
        lecture.base = [
            0u32.wrapping_sub(90_000 * 3_600),
            0u32.wrapping_sub(48_000 * 7_200),
        ];
        (lecture.ppm, lecture.reports_lost) = (ppm, 80);
        worst(&mut lecture, 40_000);
        let (errors, skew) = worst(&mut lecture, 8 * HOUR_MS);
        println!(
            "8 h at {ppm} ppm: off by {} ms at most, {} ms apart",
            errors.iter().max().unwrap() / MS,
            skew / MS
        );
        assert!(errors.iter().all(|e| *e <= FRAME), "{ppm}: {errors:?}");
        assert!(skew <= LIP_SYNC, "{ppm}: {skew}");
    }
}
