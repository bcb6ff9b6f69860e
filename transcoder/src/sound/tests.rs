use super::*;

const PACKET: i64 = 960;

/// A source whose clock runs at `rate` (1.0: exact), saying a 440 Hz tone in packets of 20 ms.
struct Source {
    rate: f64,
    sent: i64,
}

impl Source {
    fn packet(&mut self) -> (MediaTime, Vec<Sample>) {
        let tone = |n: i64| 0.5 * (n as f64 / 48_000.0 * 440.0 * std::f64::consts::TAU).sin() as f32;
        let packet = (0..PACKET).map(|n| [tone(self.sent + n); 2]).collect();
        let captured = self.sent as f64 / self.rate / 48_000.0;
        self.sent += PACKET;
        (
            MediaTime::from_ticks((captured * 90_000.0).round() as i64),
            packet,
        )
    }
}

/// Lays packets so that the line always has 100 ms ahead of its edge, for this many frames.
fn play(sound: &mut Sound, source: &mut Source, frames: i64) -> Vec<Sample> {
    play_ahead(sound, source, frames, 4800)
}

/// With so many samples ahead of the edge; fewer than none is late.
fn play_ahead(sound: &mut Sound, source: &mut Source, frames: i64, ahead: i64) -> Vec<Sample> {
    let mut out = Vec::new();
    for _ in 0..frames {
        while (source.sent as f64 / source.rate) < (sound.base + ahead + 1024) as f64 {
            let (at, packet) = source.packet();
            sound.push(at, &packet);
        }
        out.extend(sound.take());
    }
    out
}

/// The largest step between neighbours: a 440 Hz tone of 0.5 steps by 0.029 at most.
fn roughness(samples: &[Sample]) -> f32 {
    samples
        .windows(2)
        .map(|w| (w[1][0] - w[0][0]).abs())
        .fold(0.0, f32::max)
}

/// Where the source's tone stands in the output around sample `n`: the time, in samples, by which it is late.
fn lateness(out: &[Sample], n: usize, rate: f64) -> f64 {
    let omega = 440.0 * std::f64::consts::TAU / 48_000.0;
    let window = 480 * 5;
    let (mut re, mut im) = (0.0, 0.0);
    for (k, sample) in out.iter().enumerate().skip(n).take(window) {
        // What was captured at media time k is the source's sample k × rate.
        let phase = omega * k as f64 * rate;
        re += f64::from(sample[0]) * phase.sin();
        im += f64::from(sample[0]) * phase.cos();
    }
    -im.atan2(re) / omega
}

#[test]
fn an_exact_source_is_laid_to_the_sample() {
    let mut sound = Sound::starting(0);
    let out = play(&mut sound, &mut Source { rate: 1.0, sent: 0 }, 1000);
    assert!(roughness(&out[10..]) < 0.03);
    for n in (4800..1_000_000).step_by(100_000) {
        assert!(lateness(&out, n, 1.0).abs() < 0.5, "{}", lateness(&out, n, 1.0));
    }
    assert_eq!((sound.gaps, sound.late_samples), (0, 0));
}

#[test]
fn a_source_that_drifts_is_resampled_and_never_cut() {
    for ppm in [200.0, -200.0, 2000.0, -2000.0] {
        let rate = 1.0 + ppm / 1e6;
        let mut sound = Sound::starting(0);
        // A minute: the correction settles in seconds.
        let out = play(&mut sound, &mut Source { rate, sent: 0 }, 2_813);
        assert!(roughness(&out[10..]) < 0.032, "{ppm}: {}", roughness(&out[10..]));
        assert_eq!(sound.gaps, 0);
        // Settled, sound stands within 12 ms of its capture: at most half a lip-sync threshold.
        let late =
            (sound.base + sound.laid.len() as i64) as f64 + sound.drift.pending() - sound.expected.unwrap();
        assert!(late.abs() < 576.0, "{ppm} ppm: {late} samples");
    }
}

#[test]
fn the_tone_stands_at_its_capture_time_under_drift() {
    let rate = 1.0002;
    let out = play(&mut Sound::starting(0), &mut Source { rate, sent: 0 }, 1500);
    // 200 ppm taken back over 5 s: 48 samples, 1 ms.
    assert!(
        lateness(&out, 1_500_000, rate).abs() < 54.0,
        "{}",
        lateness(&out, 1_500_000, rate)
    );
}

#[test]
fn a_gap_is_silence_and_sound_returns_at_its_time() {
    let mut sound = Sound::starting(0);
    let mut source = Source { rate: 1.0, sent: 0 };
    let before = play(&mut sound, &mut source, 100);
    let gap = source.sent as usize;
    source.sent += 48_000;
    let after = play(&mut sound, &mut source, 200);
    let out = [before, after].concat();
    let silent = out[gap + 500..gap + 47_900].iter().all(|s| s[0].abs() < 1e-4);
    assert!(silent);
    assert!(
        roughness(&out[10..]) < 0.06,
        "no click: {}",
        roughness(&out[10..])
    );
    assert!(lateness(&out, 200_000, 1.0).abs() < 0.5);
}

#[test]
fn a_lost_packet_does_not_move_what_follows() {
    let mut sound = Sound::starting(0);
    let mut source = Source { rate: 1.0, sent: 0 };
    let mut out = play(&mut sound, &mut source, 100);
    source.packet();
    out.extend(play(&mut sound, &mut source, 100));
    assert!(lateness(&out, 190_000, 1.0).abs() < 0.5);
    assert_eq!(sound.late_samples, 0);
}

#[test]
fn a_jump_of_the_clock_is_placed_anew() {
    for jump in [-40_000, 40_000] {
        let mut sound = Sound::starting(0);
        let mut source = Source { rate: 1.0, sent: 0 };
        let (mut out, mut n) = (Vec::new(), 0);
        for _ in 0..400 {
            while source.sent < sound.base + 60_000 {
                let (at, packet) = source.packet();
                n += 1;
                let by = if n > 100 { jump } else { 0 };
                sound.push(at + timeline::Span::from_ticks(by), &packet);
            }
            out.extend(sound.take());
        }
        assert!(roughness(&out[10..]) < 0.06);
        let moved = jump as f64 * 8.0 / 15.0;
        let period = 48_000.0 / 440.0;
        let off = (lateness(&out, 300_000, 1.0) - moved).rem_euclid(period);
        assert!(off < 1.0 || off > period - 1.0, "{jump}: {off}");
    }
}

/// A track's first frames are placed by their arrival; its reports then say better, and capture times move by 5 %.
#[test]
fn a_first_guess_that_was_wrong_is_heard_for_seconds_only() {
    const GUESS: i64 = 9_600;
    for sign in [-1, 1] {
        let mut sound = Sound::starting(0);
        let mut source = Source {
            rate: 1.0,
            sent: 9_600,
        };
        while sound.base < 6 * 48_000 {
            while source.sent < sound.base + 14_400 {
                let wrong = sign * (GUESS - source.sent / 20).max(0);
                let (at, packet) = source.packet();
                sound.push(at + timeline::Span::from_ticks(wrong * 15 / 8), &packet);
            }
            sound.take();
        }
        let end = sound.end() as f64 + sound.drift.pending();
        let late = end - sound.expected.unwrap();
        assert!(late.abs() <= ms(40), "{sign}: {late} samples late");
        assert_eq!((sound.late_samples, sound.shift), (0, 0.0));
    }
}

#[test]
fn what_lies_before_the_line_is_not_late() {
    let mut sound = Sound::starting(1000);
    let mut source = Source { rate: 1.0, sent: 0 };
    while source.sent < 1_030_000 {
        let (at, packet) = source.packet();
        sound.push(at, &packet);
    }
    let out: Vec<_> = (0..4).flat_map(|_| sound.take()).collect();
    assert_eq!((sound.late_samples, sound.shift), (0, 0.0));
    assert!(
        out[..2000].iter().any(|s| s[0] > 0.4),
        "the line begins with sound"
    );
}

#[test]
fn a_burst_after_a_loss_keeps_its_place_but_sound_that_is_always_late_is_moved_back() {
    let mut sound = Sound::starting(0);
    let mut source = Source { rate: 1.0, sent: 0 };
    // Every packet comes 200 ms after the edge has passed it.
    let mut out = Vec::new();
    for _ in 0..200 {
        out.extend(sound.take());
        while source.sent < sound.base - 9600 - PACKET {
            let (at, packet) = source.packet();
            sound.push(at, &packet);
        }
    }
    assert!(sound.late_samples > 0);
    assert!((200.0..320.0).contains(&sound.shift_ms()), "{}", sound.shift_ms());
    assert!(
        out[100_000..].iter().any(|s| s[0] > 0.4),
        "late sound is better than none"
    );
    // The network recovers: the sound comes forward to its place, without a click.
    out.truncate(0);
    let mut source = Source {
        rate: 1.0,
        sent: source.sent,
    };
    out.extend(play(&mut sound, &mut source, 6000));
    assert!(sound.shift_ms() < 60.0, "{}", sound.shift_ms());
    assert!(roughness(&out[20_000..]) < 0.032);
}

#[test]
fn a_line_that_is_taken_up_keeps_the_shift_of_its_sound() {
    for (shift, cut) in [(0.0, true), (280.0, false)] {
        let mut sound = Sound::starting(100);
        sound.shift_by_ms(shift);
        let mut source = Source {
            rate: 1.0,
            sent: 100 * FRAME as i64,
        };
        // Every packet comes 200 ms after the edge has passed it.
        for _ in 0..40 {
            sound.take();
            while source.sent < sound.base - 9600 - PACKET {
                let (at, packet) = source.packet();
                sound.push(at, &packet);
            }
        }
        assert_eq!(sound.late_samples > 0, cut, "shift {shift} ms");
    }
    let mut sound = Sound::starting(0);
    sound.shift_by_ms(f64::NAN);
    sound.shift_by_ms(1e9);
    assert_eq!(sound.shift, MAX_SHIFT);
}

#[test]
fn times_out_of_this_world_are_ignored() {
    let mut sound = Sound::starting(0);
    for at in [i64::MAX / 4, i64::MIN / 4, 1 << 50] {
        sound.push(MediaTime::from_ticks(at), &[[1.0; 2]; 960]);
    }
    assert!(sound.laid.len() < 48_000 * 31);
    assert_eq!(sound.take().len(), FRAME);
}

mod recovery;
