use super::*;
use proptest::prelude::*;

const DAY_NS: i64 = 86_400 * SECOND_NS;
const START: i64 = 1_760_000_000 * SECOND_NS;
const MS: i64 = 1_000_000;

fn wall(nanos: i64) -> WallTime {
    WallTime::from_unix_nanos(nanos)
}

fn ntp(unix: i64) -> u64 {
    let seconds = (unix.div_euclid(SECOND_NS) + 2_208_988_800) as u64;
    let fraction = ((unix.rem_euclid(SECOND_NS) as u128) << 32) / SECOND_NS as u128;
    (seconds << 32) | fraction as u64
}

/// A publisher whose clock is wrong by `error` and runs fast by `drift_ppm`; packets travel `delay`.
struct Publisher {
    clock: CaptureClock,
    track: TrackIndex,
    rate: i64,
    error: i64,
    drift_ppm: i64,
    rtp_base: u32,
    rtt: Span,
}

impl Publisher {
    fn new(error: i64) -> Self {
        let mut clock = CaptureClock::new();
        let track = clock.add_track(90_000);
        let rtt = Span::from_millis(40);
        Publisher {
            clock,
            track,
            rate: 90_000,
            error,
            drift_ppm: 0,
            rtp_base: u32::MAX - 100_000,
            rtt,
        }
    }

    fn own(&self, at: i64) -> i64 {
        let run = at - START;
        START + self.error + run + run / 1_000_000 * self.drift_ppm
    }

    fn rtp(&self, at: i64) -> u32 {
        let run = self.own(at) - self.own(START);
        self.rtp_base
            .wrapping_add((run as i128 * self.rate as i128 / SECOND_NS as i128) as u32)
    }

    /// A frame captured at `at`, `encoded` later sent, `travel` later here. The error of its capture time.
    fn frame(&mut self, at: i64, encoded: i64, travel: i64) -> i64 {
        let rtp = self.rtp(at);
        self.clock
            .arrived(self.track, rtp, wall(at + encoded + travel), self.rtt);
        self.clock.capture(self.track, rtp).unix_nanos() - at
    }

    fn report(&mut self, at: i64, travel: i64) -> Result<(), BadReport> {
        let report = SenderReport {
            ntp: ntp(self.own(at)),
            rtp: self.rtp(at),
            arrival: wall(at + travel),
        };
        self.clock.report(self.track, report, self.rtt)
    }
}

#[test]
fn a_clock_that_is_a_day_wrong_does_not_matter() {
    let mut p = Publisher::new(-DAY_NS);
    let mut errors = Vec::new();
    for n in 0..300 {
        let at = START + n * 33 * MS;
        errors.push(p.frame(at, 25 * MS, 20 * MS));
        if n % 30 == 15 {
            p.report(at, 20 * MS).unwrap();
        }
    }
    // By arrival at first, late by encoding; then the reports are slewed to.
    assert_eq!(errors[0], 25 * MS);
    assert!(
        errors[15..]
            .windows(2)
            .all(|w| (w[1] - w[0]).abs() <= 33 * MS / FAST_SLEW + 1_000),
        "no step"
    );
    assert!(errors[299].abs() < MS, "{}", errors[299]);
    assert_eq!(p.clock.offset().unwrap().as_secs_f64().round(), 86_400.0);
}

#[test]
fn without_reports_the_fastest_packets_tell() {
    let mut p = Publisher::new(0);
    let mut last = 0;
    for n in 0..600 {
        last = p.frame(
            START + n * 33 * MS,
            10 * MS,
            if n % 7 == 0 { 20 } else { 20 + n % 60 } * MS,
        );
    }
    assert!((last - 10 * MS).abs() < 2 * MS, "late by encoding alone: {last}");
}

#[test]
fn jitter_of_reports_does_not_move_frames() {
    let mut p = Publisher::new(5 * SECOND_NS);
    let mut errors = Vec::new();
    for n in 0..2_000 {
        let at = START + n * 33 * MS;
        let travel = (20 + (n * 7_919) % 40) * MS;
        if n % 30 == 1 {
            p.report(at, if n % 150 == 1 { 20 * MS } else { travel }).unwrap();
        }
        errors.push(p.frame(at, 5 * MS, travel));
    }
    assert!(errors[600..].iter().all(|e| e.abs() < 2 * MS));
}

#[test]
fn a_round_trip_that_was_long_once_does_not_bend_the_clock() {
    let mut p = Publisher::new(5 * SECOND_NS);
    let mut errors = Vec::new();
    for n in 0..1_500 {
        let at = START + n * 33 * MS;
        errors.push(p.frame(at, 5 * MS, 20 * MS));
        if n % 30 == 1 {
            // The stack measures it once a second; this one fell into a queue that the report did not.
            p.rtt = Span::from_millis(if n == 601 { 900 } else { 40 });
            p.report(at, 20 * MS).unwrap();
        }
    }
    assert!(errors[300..].iter().all(|e| e.abs() < MS));
}

#[test]
fn drift_is_followed_without_a_step() {
    let mut p = Publisher::new(0);
    p.drift_ppm = 200;
    let mut before = None;
    for n in 0..60_000 {
        let at = START + n * 33 * MS;
        if n % 30 == 1 {
            p.report(at, 20 * MS).unwrap();
        }
        let error = p.frame(at, 5 * MS, 20 * MS);
        if n > 3_000 {
            // The window is 30 s long: 200 ppm of them are 6 ms.
            assert!(error.abs() < 8 * MS, "{error} at {n}");
            assert!(before.is_none_or(|b: i64| (error - b).abs() < MS));
            before = Some(error);
        }
    }
}

#[test]
fn sound_and_picture_are_captured_by_one_clock() {
    let mut p = Publisher::new(3_600 * SECOND_NS);
    let sound = p.clock.add_track(48_000);
    let rtp = |at: i64| ((at - START) / MS * 48) as u32;
    let mut skews = Vec::new();
    for n in 0..900 {
        let at = START + n * 20 * MS;
        // Pictures take 60 ms to encode, sound 5 ms.
        let picture = p.frame(at, 60 * MS, 20 * MS);
        p.clock.arrived(sound, rtp(at), wall(at + 25 * MS), p.rtt);
        skews.push(p.clock.capture(sound, rtp(at)).unix_nanos() - at - picture);
        if n == 25 {
            p.report(at, 20 * MS).unwrap();
        }
        // Browsers report sound every five seconds.
        if n % 250 == 125 {
            let report = SenderReport {
                ntp: ntp(p.own(at)),
                rtp: rtp(at),
                arrival: wall(at + 20 * MS),
            };
            p.clock.report(sound, report, p.rtt).unwrap();
        }
    }
    assert_eq!(skews[0], -55 * MS);
    assert!(
        skews[300..].iter().all(|s| s.abs() < MS),
        "{:?}",
        &skews[300..310]
    );
}

#[test]
fn reports_that_say_nothing_are_refused() {
    let mut p = Publisher::new(0);
    let report = |ntp, rtp| SenderReport {
        ntp,
        rtp,
        arrival: wall(START + 20 * MS),
    };
    assert_eq!(
        p.clock.report(p.track, report(ntp(START), u32::MAX), p.rtt),
        Err(BadReport::Placeholder)
    );
    assert_eq!(
        p.clock.report(p.track, report(0, 1), p.rtt),
        Err(BadReport::Placeholder)
    );
    p.frame(START, 0, 20 * MS);
    p.report(START + SECOND_NS, 20 * MS).unwrap();
    assert_eq!(p.report(START + SECOND_NS, 30 * MS), Err(BadReport::Old));
    assert_eq!(p.report(START, 30 * MS), Err(BadReport::Old));
    let absurd = report(ntp(START), p.rtp(START + 3_600 * SECOND_NS));
    let mut q = Publisher::new(0);
    q.frame(START, 0, 20 * MS);
    assert_eq!(q.clock.report(q.track, absurd, q.rtt), Err(BadReport::Absurd));
}

#[test]
fn a_report_before_the_first_packet_is_kept() {
    let mut p = Publisher::new(DAY_NS);
    assert_eq!(p.report(START, 20 * MS), Err(BadReport::Early));
    assert_eq!(p.frame(START + 33 * MS, 25 * MS, 20 * MS), 0);
}

#[test]
fn a_publisher_that_sets_its_clock_is_not_followed() {
    let mut p = Publisher::new(0);
    let mut errors = Vec::new();
    for n in 0..1_500 {
        let at = START + n * 33 * MS;
        errors.push(p.frame(at, 5 * MS, 20 * MS));
        if n == 600 {
            // RTP time goes on; the clock beside it is set.
            p.error += 3_600 * SECOND_NS;
            p.rtp_base = p.rtp_base.wrapping_add(0);
        }
        if n % 30 == 1 {
            let verdict = p.report(at, 20 * MS);
            assert_eq!(
                verdict,
                if n == 601 {
                    Err(BadReport::Contradiction)
                } else {
                    Ok(())
                },
                "{n}"
            );
        }
    }
    assert!(errors[400..].iter().all(|e| e.abs() < MS));
}

impl Publisher {
    /// The sender's RTP time stood still for so long; its clock did not.
    fn pause(&mut self, length: i64) {
        let ticks = length / MS * self.rate / 1_000;
        self.rtp_base = self.rtp_base.wrapping_sub(ticks as u32);
    }
}

#[test]
fn a_track_whose_rtp_time_stood_still_is_followed_by_its_next_report() {
    for pause in [2, 5, 9] {
        let mut p = Publisher::new(3_600 * SECOND_NS);
        let sound = p.clock.add_track(48_000);
        let rtp = |at: i64| ((at - START) / MS * 48) as u32;
        for n in 0..1_500 {
            let paused = if n < 600 { 0 } else { pause * SECOND_NS };
            let at = START + n * 20 * MS + paused;
            if n == 600 {
                p.pause(paused);
            }
            let picture = p.frame(at, 5 * MS, 20 * MS);
            p.clock.arrived(sound, rtp(at), wall(at + 25 * MS), p.rtt);
            if n % 50 == 20 {
                assert_eq!(p.report(at, 20 * MS), Ok(()), "{pause} s, {n}");
                let (ntp, rtp, arrival) = (ntp(p.own(at)), rtp(at), wall(at + 20 * MS));
                let report = SenderReport { ntp, rtp, arrival };
                assert_eq!(p.clock.report(sound, report, p.rtt), Ok(()));
            }
            let heard = p.clock.capture(sound, rtp(at)).unix_nanos() - at;
            if n > 300 {
                assert!(heard.abs() < MS, "the sound did not stand still: {heard} at {n}");
                assert!(
                    (600..=620).contains(&n) || picture.abs() < MS,
                    "{pause} s: {picture} at {n}"
                );
            }
        }
    }
}

/// A pipeline that ran for 0.8 s before it was connected.
#[test]
fn what_comes_in_a_burst_at_first_is_in_its_place_as_soon_as_the_burst_is_over() {
    let mut p = Publisher::new(0);
    for n in 0..150 {
        let at = START + n * 33 * MS;
        let waited = (800 * MS - (at - START)).max(0);
        let error = p.frame(at, 0, 20 * MS + waited);
        assert!(
            (0..=waited + FIRST_STEP_NS).contains(&error),
            "{} ms at {n}",
            error / MS
        );
    }
}

/// Chromium as a receiver of another make saw it: it counts the samples it sends, 290 ms were lost before that (10 s after
/// the first report), and of its next reports each is right to a millisecond.
#[test]
fn a_microphone_that_lost_sound_is_in_its_place_from_the_report_on_that_says_so() {
    const LOST: i64 = 290;
    const LOST_AT: i64 = 10_000;
    // When, in ms, and by how many µs each was off.
    const REPORTS: [(i64, i64); 7] = [
        (0, 0),
        (3_761, 200),
        (7_368, -300),
        (11_134, 400),
        (13_728, 100),
        (16_769, -200),
        (21_800, 0),
    ];
    let mut clock = CaptureClock::new();
    let sound = clock.add_track(48_000);
    let rtt = Span::from_millis(1);
    let rtp = |ms: i64| ((ms - if ms < LOST_AT { 0 } else { LOST }) * 48) as u32;
    let mut reports = REPORTS.iter().peekable();
    for ms in (0..25_000).step_by(20) {
        if (LOST_AT..LOST_AT + LOST).contains(&ms) {
            continue;
        }
        let at = START + ms * MS;
        clock.arrived(sound, rtp(ms), wall(at + 24 * MS), rtt);
        if let Some((sent, off)) = reports.next_if(|(sent, _)| *sent <= ms) {
            let at = START + sent * MS;
            let (ntp, arrival) = (ntp(at + off * 1_000), wall(at + MS));
            let report = SenderReport {
                ntp,
                rtp: rtp(*sent),
                arrival,
            };
            assert_eq!(clock.report(sound, report, rtt), Ok(()), "{sent} ms");
        }
        let error = clock.capture(sound, rtp(ms)).unix_nanos() - at;
        let is_known = !(LOST_AT..11_134).contains(&ms);
        assert!(!is_known || error.abs() <= 40 * MS, "{} ms at {ms}", error / MS);
        assert!(ms < 18_000 || error.abs() <= MS, "{} ms at {ms}", error / MS);
    }
}

#[test]
fn without_reports_a_track_that_stood_still_is_followed_by_its_arrivals() {
    let mut p = Publisher::new(0);
    let mut errors = Vec::new();
    for n in 0..1_200 {
        let paused = if n < 600 { 0 } else { 5 * SECOND_NS };
        if n == 600 {
            p.pause(paused);
        }
        errors.push(p.frame(START + n * 20 * MS + paused, 5 * MS, 20 * MS));
    }
    let by_arrival = |e: &i64| (e - 5 * MS).abs() < 1_000;
    assert!(errors[300..600].iter().all(by_arrival));
    assert!(errors[680..].iter().all(by_arrival), "{:?}", &errors[670..690]);
}

#[test]
fn a_burst_that_was_held_up_is_not_taken_for_a_pause() {
    let mut p = Publisher::new(0);
    for n in 0..1_200 {
        let at = START + n * 20 * MS;
        // Three seconds wait for the network, which then brings them within one.
        let held = if (600..750).contains(&n) {
            (750 - n) * 20 * MS * 2 / 3
        } else {
            0
        };
        let error = p.frame(at, 5 * MS, 20 * MS + held);
        assert!((error - 5 * MS).abs() < 1_000, "{error} at {n}");
    }
}

/// RTP time is presentation time: pictures that are shown after a B-frame come before it.
#[test]
fn b_frames_are_captured_before_the_picture_they_come_behind() {
    let mut p = Publisher::new(5 * SECOND_NS);
    for n in 0..600 {
        // 0 3 1 2 6 4 5 …
        let picture = match n % 3 {
            _ if n == 0 => 0,
            1 => n + 2,
            _ => n - 1,
        };
        let (sent, captured) = (START + n * 33 * MS, START + picture * 33 * MS);
        let rtp = p.rtp(captured);
        p.clock.arrived(p.track, rtp, wall(sent + 100 * MS), p.rtt);
        if n % 30 == 1 {
            p.report(sent, 20 * MS).unwrap();
        }
        let error = p.clock.capture(p.track, rtp).unix_nanos() - captured;
        assert!(n < 300 || error.abs() < MS, "{error} at {n}");
    }
}

proptest! {
    /// Whatever arrives, the capture times of a track grow with its RTP time, and nothing panics.
    #[test]
    fn captures_grow(
        steps in prop::collection::vec((0u8..10, any::<u32>(), any::<u64>(), 0i64..100), 1..300),
        base: u32,
    ) {
        let mut clock = CaptureClock::new();
        let track = clock.add_track(90_000);
        let (mut now, mut rtp, mut last) = (START, base, None);
        for (kind, wild, wild_ntp, step) in steps {
            now += step * MS;
            rtp = match kind { 0 => wild, _ => rtp.wrapping_add(3_000) };
            if kind < 3 {
                let ntp = if kind == 1 { ntp(now) } else { wild_ntp };
                let report = SenderReport { ntp, rtp: if kind == 2 { wild } else { rtp }, arrival: wall(now) };
                let _ = clock.report(track, report, Span::from_millis(30));
            }
            clock.arrived(track, rtp, wall(now), Span::from_millis(30));
            let at = clock.capture(track, rtp);
            // Back by up to a second is a B-frame, not later.
            let back = |last: u32| (1..=90_000).contains(&(last.wrapping_sub(rtp) as i32));
            match last {
                Some((then, given)) if back(then) => prop_assert!(at < given),
                _ => {
                    prop_assert!(last.is_none_or(|(_, given)| at > given));
                    last = Some((rtp, at));
                }
            }
        }
    }
}

mod long;
