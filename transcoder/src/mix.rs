//! The sounds of all sources, together. Each follows its own clock ([`Sound`]); what they add up to is kept below
//! full scale.

use std::collections::BTreeMap;

use timeline::{MediaTime, SourceName, TrackId};

use crate::sound::{RATE, Sample, Sound};

/// Sources that are away whose lateness is remembered: more than any lecture has.
const MAX_AWAY: usize = 16;

pub struct Mix {
    voices: Vec<Voice>,
    /// The frame that is handed out next.
    next: i64,
    /// How far behind its capture the sound of sources was that are not here, in milliseconds.
    away: BTreeMap<SourceName, f64>,
    limiter: Limiter,
    late_samples: u64,
    gaps: u64,
}

struct Voice {
    source: SourceName,
    /// None once it is over: then what is laid is still heard.
    track: Option<TrackId>,
    sound: Sound,
    /// Frames of silence in a row.
    silent: u32,
}

/// A source that is over and silent for as long as the longest line delay has nothing laid any more.
const GONE: u32 = 94;

impl Mix {
    /// A line whose first frame is `frame`, counted from the origin.
    pub fn starting(frame: i64) -> Self {
        Mix {
            voices: Vec::new(),
            next: frame,
            away: BTreeMap::new(),
            limiter: Limiter::default(),
            late_samples: 0,
            gaps: 0,
        }
    }

    /// An audio track begins. It goes on where the one before it of the same source was laid.
    pub fn begin(&mut self, track: TrackId, source: &SourceName) {
        if let Some(voice) = self.voices.iter_mut().find(|voice| voice.source == *source) {
            voice.track = Some(track);
            return;
        }
        let mut sound = Sound::starting(self.next);
        sound.shift_by_ms(self.away.remove(source).unwrap_or_default());
        self.voices.push(Voice {
            source: source.clone(),
            track: Some(track),
            sound,
            silent: 0,
        });
    }

    pub fn end(&mut self, track: TrackId) {
        if let Some(voice) = self.of(track) {
            voice.track = None;
        }
    }

    /// Lays a decoded packet whose first sample was captured at `at`.
    pub fn push(&mut self, track: TrackId, at: MediaTime, packet: &[Sample]) {
        if let Some(voice) = self.of(track) {
            voice.sound.push(at, packet);
        }
    }

    /// The next frame: silence where nobody is heard.
    pub fn take(&mut self) -> Vec<Sample> {
        self.next += 1;
        let mut mixed = vec![Sample::default(); crate::sound::FRAME];
        for voice in &mut self.voices {
            let frame = voice.sound.take();
            let sounds = frame.iter().flatten().any(|sample| *sample != 0.0);
            voice.silent = if sounds { 0 } else { voice.silent.saturating_add(1) };
            for (sum, sample) in mixed.iter_mut().flatten().zip(frame.iter().flatten()) {
                *sum += sample;
            }
        }
        while let Some(n) = self.voices.iter().position(Voice::is_gone) {
            self.leave(n);
        }
        self.limiter.run(&mut mixed);
        mixed
    }

    /// Of a line that is taken up: the sound of this source is as late as it was before.
    pub fn shift(&mut self, source: SourceName, by_ms: f64) {
        if self.away.len() < MAX_AWAY {
            self.away.insert(source, by_ms);
        }
    }

    /// How far behind its capture each source's sound is, because it comes later than D. Milliseconds.
    pub fn shifts_ms(&self) -> impl Iterator<Item = (&SourceName, f64)> {
        let here = self
            .voices
            .iter()
            .map(|voice| (&voice.source, voice.sound.shift_ms()));
        here.chain(self.away.iter().map(|(source, ms)| (source, *ms)))
    }

    pub fn late_samples(&mut self) -> u64 {
        let late = |voice: &mut Voice| std::mem::take(&mut voice.sound.late_samples);
        std::mem::take(&mut self.late_samples) + self.voices.iter_mut().map(late).sum::<u64>()
    }

    pub fn gaps(&mut self) -> u64 {
        let gaps = |voice: &mut Voice| std::mem::take(&mut voice.sound.gaps);
        std::mem::take(&mut self.gaps) + self.voices.iter_mut().map(gaps).sum::<u64>()
    }

    fn of(&mut self, track: TrackId) -> Option<&mut Voice> {
        self.voices.iter_mut().find(|voice| voice.track == Some(track))
    }

    fn leave(&mut self, n: usize) {
        let Voice { source, sound, .. } = self.voices.remove(n);
        self.late_samples += sound.late_samples;
        self.gaps += sound.gaps;
        if sound.shift_ms() > 0.0 {
            self.shift(source, sound.shift_ms());
        }
    }
}

impl Voice {
    fn is_gone(&self) -> bool {
        self.track.is_none() && self.silent >= GONE
    }
}

/// Below it nothing is touched.
const CEILING: f32 = 0.98;
/// The volume comes back by half in 200 ms.
const RELEASE: f32 = 0.693 / (RATE as f32 * 0.2);

/// Turns the volume down where the sum is beyond full scale, at once, and up again so slowly that waves keep their
/// shape.
struct Limiter {
    volume: f32,
}

impl Default for Limiter {
    fn default() -> Self {
        Limiter { volume: 1.0 }
    }
}

impl Limiter {
    fn run(&mut self, frame: &mut [Sample]) {
        for sample in frame {
            let peak = sample.iter().fold(0.0f32, |peak, sample| peak.max(sample.abs()));
            if peak * self.volume > CEILING {
                self.volume = CEILING / peak;
            }
            if self.volume < 1.0 {
                sample.iter_mut().for_each(|sample| *sample *= self.volume);
                self.volume = (self.volume + (1.0 - self.volume) * RELEASE).min(1.0);
                // The last of it would take for ever.
                if self.volume > 0.9999 {
                    self.volume = 1.0;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sound::FRAME;
    use std::f32::consts::TAU;

    fn name(name: &str) -> SourceName {
        name.parse().unwrap()
    }

    fn tone(hertz: f32, level: f32, from: i64, samples: usize) -> Vec<Sample> {
        let wave = |n: usize| level * (TAU * hertz * (from + n as i64) as f32 / RATE as f32).sin();
        (0..samples).map(|n| [wave(n); 2]).collect()
    }

    /// How loud one tone is in a sound (Goertzel's sum, done plainly).
    fn level(of: &[Sample], hertz: f32) -> f32 {
        let part = |wave: fn(f32) -> f32| -> f32 {
            let turn = |n: usize| wave(TAU * hertz * n as f32 / RATE as f32);
            of.iter()
                .enumerate()
                .map(|(n, sample)| sample[0] * turn(n))
                .sum::<f32>()
                / of.len() as f32
        };
        2.0 * part(f32::sin).hypot(part(f32::cos))
    }

    /// Gives each track its tone (20 ms packets) for a second, and takes it.
    fn second(mix: &mut Mix, tones: &[(u32, f32, f32)]) -> Vec<Sample> {
        let from = mix.next * FRAME as i64;
        for packet in 0..50 {
            let at = from + packet * 960;
            for (track, hertz, level) in tones {
                let time = MediaTime::from_ticks(at * 15 / 8);
                mix.push(TrackId(*track), time, &tone(*hertz, *level, at, 960));
            }
        }
        (0..46).flat_map(|_| mix.take()).collect()
    }

    #[test]
    fn everybody_is_heard_at_their_own_volume() {
        let mut mix = Mix::starting(100);
        mix.begin(TrackId(1), &name("main"));
        mix.begin(TrackId(2), &name("ada"));
        let heard = second(&mut mix, &[(1, 440.0, 0.3), (2, 1000.0, 0.2)]);
        let steady = &heard[4_800..43_200];
        assert!(
            (level(steady, 440.0) - 0.3).abs() < 0.01,
            "{}",
            level(steady, 440.0)
        );
        assert!(
            (level(steady, 1000.0) - 0.2).abs() < 0.01,
            "{}",
            level(steady, 1000.0)
        );
        assert!(level(steady, 700.0) < 0.01);
    }

    #[test]
    fn one_voice_alone_is_not_touched() {
        let (mut mix, mut alone) = (Mix::starting(0), Sound::starting(0));
        mix.begin(TrackId(1), &name("main"));
        for packet in 0..50 {
            let (at, samples) = (packet * 960, tone(300.0, 0.9, packet * 960, 960));
            mix.push(TrackId(1), MediaTime::from_ticks(at * 15 / 8), &samples);
            alone.push(MediaTime::from_ticks(at * 15 / 8), &samples);
        }
        (0..46).for_each(|_| assert_eq!(mix.take(), alone.take()));
    }

    #[test]
    fn loud_voices_do_not_clip_and_stay_tones() {
        let mut mix = Mix::starting(0);
        mix.begin(TrackId(1), &name("main"));
        mix.begin(TrackId(2), &name("ada"));
        let heard = second(&mut mix, &[(1, 440.0, 0.9), (2, 1000.0, 0.9)]);
        assert!(
            heard
                .iter()
                .flatten()
                .all(|sample| sample.abs() <= CEILING + 1e-6)
        );
        let steady = &heard[4_800..43_200];
        let (low, high) = (level(steady, 440.0), level(steady, 1000.0));
        assert!(low > 0.45 && high > 0.45, "{low} {high}");
        // What clipping would add: the sum of both and their differences.
        for false_tone in [1_320.0, 120.0, 1_880.0, 2_440.0] {
            let added = level(steady, false_tone);
            assert!(added < 0.02, "{false_tone} Hz at {added}");
        }
        let quiet = second(&mut mix, &[(1, 440.0, 0.3)]);
        let later = &quiet[38_400..46_000];
        assert!((level(later, 440.0) - 0.3).abs() < 0.02, "the volume comes back");
    }

    #[test]
    fn whoever_leaves_is_heard_to_the_end_without_a_click() {
        let mut mix = Mix::starting(0);
        mix.begin(TrackId(1), &name("main"));
        mix.begin(TrackId(2), &name("ada"));
        second(&mut mix, &[(1, 440.0, 0.1), (2, 1000.0, 0.4)]);
        mix.end(TrackId(2));
        let heard: Vec<Sample> = (0..100).flat_map(|_| mix.take()).collect();
        assert_eq!(mix.voices.len(), 1);
        let step = heard
            .windows(2)
            .map(|pair| (pair[1][0] - pair[0][0]).abs())
            .fold(0.0, f32::max);
        assert!(step < 0.12, "1 kHz at 0.4 moves by 0.05 each sample: {step}");
        assert!(level(&heard[9_600..], 1000.0) < 0.001);
    }

    #[test]
    fn lateness_is_each_sources_own_and_outlives_its_absence() {
        let mut mix = Mix::starting(0);
        mix.shift(name("main"), 240.0);
        mix.begin(TrackId(1), &name("main"));
        mix.begin(TrackId(2), &name("ada"));
        let shifts = |mix: &Mix| -> Vec<(String, f64)> {
            mix.shifts_ms()
                .map(|(source, ms)| (source.to_string(), ms.round()))
                .collect()
        };
        assert_eq!(shifts(&mix), [("main".into(), 240.0), ("ada".into(), 0.0)]);
        mix.end(TrackId(1));
        (0..GONE).for_each(|_| drop(mix.take()));
        assert_eq!(shifts(&mix), [("ada".into(), 0.0), ("main".into(), 240.0)]);
        mix.begin(TrackId(3), &name("main"));
        assert_eq!(shifts(&mix).len(), 2);
        assert_eq!(shifts(&mix)[1], ("main".into(), 240.0));
    }
}
