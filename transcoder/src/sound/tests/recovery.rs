//! Sound that was late returns to its place by itself.

use proptest::prelude::*;

use super::*;

/// Where people begin to notice that sound is late (ITU-R BT.1359).
const LIP_SYNC_MS: f64 = 40.0;

/// A voice: a pitch that glides between 100 and 150 Hz, syllables, and a pause of half a second in each three.
struct Voice {
    sent: i64,
    phase: f64,
}

const WORD: i64 = 120_000;
const PAUSE: i64 = 24_000;

impl Voice {
    fn packet(&mut self) -> (MediaTime, Vec<Sample>) {
        let at = MediaTime::from_ticks(self.sent * 15 / 8);
        let packet = (0..PACKET).map(|n| [self.sample(self.sent + n); 2]).collect();
        self.sent += PACKET;
        (at, packet)
    }

    fn sample(&mut self, n: i64) -> f32 {
        let (seconds, within) = (n as f64 / 48_000.0, n % (WORD + PAUSE));
        let pitch = 125.0 + 25.0 * (seconds * 3.0).sin();
        self.phase += pitch / 48_000.0 * std::f64::consts::TAU;
        let voiced: f64 = (1..12)
            .map(|k| (self.phase * f64::from(k)).sin() / f64::from(k))
            .sum();
        let edge = (within.min((WORD - within).max(0)) as f64 / 480.0).clamp(0.0, 1.0);
        let syllable = 0.6 + 0.4 * (seconds * 25.0).sin();
        (0.2 * voiced * syllable * edge) as f32
    }
}

/// Lays what `packet` gives, `ahead` samples before the edge, and tells how far behind sound is after each frame.
fn run(
    sound: &mut Sound,
    frames: i64,
    mut sent: impl FnMut(i64) -> Option<(MediaTime, Vec<Sample>)>,
    ahead: impl Fn(i64) -> i64,
) -> (Vec<Sample>, Vec<f64>) {
    let (mut out, mut shifts) = (Vec::new(), Vec::new());
    for frame in 0..frames {
        while let Some((at, packet)) = sent(sound.base + ahead(frame) + FRAME as i64) {
            sound.push(at, &packet);
        }
        out.extend(sound.take());
        shifts.push(sound.shift_ms());
    }
    (out, shifts)
}

const SECOND: i64 = 47;

/// Ten seconds in time, ten that come so much too late, then in time again. How many seconds it takes until sound is
/// in its place to the lip-sync threshold, the sound from then on, and how many samples were late.
fn recover(late_ms: i64, voice: &mut Voice) -> (f64, Vec<Sample>) {
    let mut sound = Sound::starting(0);
    let mut sent = |until: i64| (voice.sent < until).then(|| voice.packet());
    run(&mut sound, 10 * SECOND, &mut sent, |_| 4_800);
    run(&mut sound, 10 * SECOND, &mut sent, |_| -late_ms * 48);
    assert!(
        sound.shift_ms() > late_ms as f64,
        "it was moved back: {}",
        sound.shift_ms()
    );
    let (out, shifts) = run(&mut sound, 30 * SECOND, &mut sent, |_| 4_800);
    assert!(
        shifts[29 * SECOND as usize] < 5.0,
        "all the way: {}",
        shifts[29 * SECOND as usize]
    );
    let back = shifts.iter().rposition(|shift| *shift > LIP_SYNC_MS).unwrap() + 1;
    (back as f64 / SECOND as f64, out)
}

#[test]
fn it_is_back_within_seconds_and_nothing_that_was_said_is_missing() {
    for (late_ms, within) in [(100, 5.0), (250, 5.0), (600, 7.0), (1_500, 11.0)] {
        let mut voice = Voice { sent: 0, phase: 0.0 };
        let (took, out) = recover(late_ms, &mut voice);
        println!("{late_ms} ms late: in its place again after {took:.1} s");
        assert!(took < within, "{late_ms} ms: {took} s");
        // A voice of these harmonics steps by 0.06 at most; a cut by much more.
        assert!(roughness(&out) < 0.09, "{late_ms}: {}", roughness(&out));
        // Each word is heard: of 2.5 s, or what is left of it.
        let words = words(&out);
        assert!(words.iter().all(|word| *word > 1.2 && *word < 2.8), "{words:?}");
        assert!((8..=11).contains(&words.len()), "{words:?}");
    }
}

/// Lengths of what is said between pauses, in seconds, without the first and the last.
fn words(out: &[Sample]) -> Vec<f64> {
    let loud: Vec<bool> = out
        .chunks(480)
        .map(|c| c.iter().any(|s| s[0].abs() > 0.01))
        .collect();
    let mut words: Vec<f64> = loud
        .split(|loud| !loud)
        .filter(|word| word.len() > 20)
        .map(|word| word.len() as f64 / 100.0)
        .collect();
    words.pop();
    words.drain(..1);
    words
}

#[test]
fn a_tone_without_a_pause_keeps_its_pitch() {
    let mut sound = Sound::starting(0);
    let mut source = Source { rate: 1.0, sent: 0 };
    play(&mut sound, &mut source, 5 * SECOND);
    play_ahead(&mut sound, &mut source, 10 * SECOND, -12_000);
    let shift = sound.shift_ms();
    assert!(shift > 250.0, "{shift}");
    let out = play(&mut sound, &mut source, 8 * SECOND);
    println!(
        "a tone, {shift:.0} ms behind: after 8 s {:.0} ms",
        sound.shift_ms()
    );
    assert!(sound.shift_ms() < LIP_SYNC_MS);
    let heard = &out[SECOND as usize * FRAME..];
    assert!(roughness(heard) < 0.032, "no click: {}", roughness(heard));
    let crossings = heard
        .windows(2)
        .filter(|w| w[0][0] <= 0.0 && w[1][0] > 0.0)
        .count();
    let pitch = crossings as f64 * 48_000.0 / heard.len() as f64;
    assert!((pitch - 440.0).abs() < 2.0, "{pitch} Hz");
}

#[test]
fn a_pause_without_packets_brings_it_back_at_once() {
    let mut sound = Sound::starting(0);
    let mut source = Source { rate: 1.0, sent: 0 };
    play(&mut sound, &mut source, 2 * SECOND);
    play_ahead(&mut sound, &mut source, 3 * SECOND, -12_000);
    // In time again for as long as it takes to believe it.
    play(&mut sound, &mut source, 2 * SECOND);
    let before = sound.shift_ms();
    source.sent += 24_000;
    play(&mut sound, &mut source, 2 * SECOND);
    assert!(
        before > 150.0 && sound.shift_ms() < 5.0,
        "{before} → {}",
        sound.shift_ms()
    );
}

#[test]
fn a_path_that_stays_shaky_is_not_tried_again_and_again() {
    let mut voice = Voice { sent: 0, phase: 0.0 };
    let mut sound = Sound::starting(0);
    let mut sent = |until: i64| (voice.sent < until).then(|| voice.packet());
    // Two good seconds of three, the third 250 ms late.
    let (_, shifts) = run(&mut sound, 300 * SECOND, &mut sent, |frame| {
        if frame / SECOND % 3 == 2 { -12_000 } else { 4_800 }
    });
    let moved_back = shifts.windows(2).filter(|w| w[1] > w[0] + 1.0).count();
    println!(
        "shaky for five minutes: moved back {moved_back} times, {} samples late",
        sound.late_samples
    );
    assert!(moved_back <= 20, "{moved_back}");
    assert!(sound.late_samples < 300 * 48_000 / 20, "{}", sound.late_samples);
}

/// Ten minutes, eight hours after the beginning, of a clock that is 200 ppm wrong: never a gap, never a click, always
/// in its place.
fn late_in_the_day(ppm: f64) {
    let rate = 1.0 + ppm / 1e6;
    let first = 8 * 3_600 * 48_000 / FRAME as i64;
    let mut sound = Sound::starting(first);
    let mut source = Source {
        rate,
        sent: ((first * FRAME as i64) as f64 * rate) as i64,
    };
    let mut last = Sample::default();
    for minute in 0..10 {
        let out = play(&mut sound, &mut source, 60 * SECOND);
        let step = roughness(&[&[last][..], &out].concat()[usize::from(minute == 0) * 10..]);
        assert!(step < 0.032, "{ppm} ppm, minute {minute}: {step}");
        last = out[out.len() - 1];
        let late =
            (sound.base + sound.laid.len() as i64) as f64 + sound.drift.pending() - sound.expected.unwrap();
        assert!(late.abs() < 96.0, "{ppm} ppm, minute {minute}: {late} samples");
    }
    assert_eq!((sound.gaps, sound.late_samples, sound.shift), (0, 0, 0.0));
}

#[test]
fn a_fast_clock_is_followed_all_day() {
    late_in_the_day(200.0);
}

#[test]
fn a_slow_clock_is_followed_all_day() {
    late_in_the_day(-200.0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Whatever the clock's error and the jitter of capture times: no gap, no click, in its place.
    #[test]
    fn drift_with_jitter_is_smooth(ppm in -200.0f64..200.0, jitter in 0i64..180, seed in 1u64..u64::MAX) {
        let mut source = Source { rate: 1.0 + ppm / 1e6, sent: 0 };
        let (mut sound, mut random, mut out) = (Sound::starting(0), seed, Vec::new());
        for _ in 0..30 * SECOND {
            while (source.sent as f64 / source.rate) < (sound.base + 4800 + 1024) as f64 {
                let (at, packet) = source.packet();
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                let by = (random % (2 * jitter as u64 + 1)) as i64 - jitter;
                sound.push(at + timeline::Span::from_ticks(by), &packet);
            }
            out.extend(sound.take());
        }
        prop_assert!(roughness(&out[10..]) < 0.032, "{}", roughness(&out[10..]));
        prop_assert_eq!((sound.gaps, sound.late_samples), (0, 0));
        let late = (sound.base + sound.laid.len() as i64) as f64 + sound.drift.pending() - sound.expected.unwrap();
        prop_assert!(late.abs() < 240.0, "{}", late);
    }

    /// Whatever comes when: no panic, bounded memory, full frames.
    #[test]
    fn any_arrival_is_survived(steps in prop::collection::vec((-3_000i64..3_000, 0usize..1_920, 0u8..4), 1..400)) {
        let mut sound = Sound::starting(10);
        let mut at = 0i64;
        for (jump, length, kind) in steps {
            at += if kind == 0 { jump * 90 } else { length as i64 * 15 / 8 };
            let packet: Vec<Sample> = (0..length).map(|n| [(n as f32 / 20.0).sin() * f32::from(kind); 2]).collect();
            sound.push(MediaTime::from_ticks(at), &packet);
            if kind != 1 {
                prop_assert_eq!(sound.take().len(), FRAME);
            }
            prop_assert!(sound.laid.len() <= 48_000 * 33);
            prop_assert!((0.0..=MAX_SHIFT).contains(&sound.shift));
        }
    }
}
