//! Sound that is behind catches up without a change of its pitch: pauses are shortened, and of what is said single
//! periods are left out, where what is before and after them is alike (as in WSOLA, and "accelerate" of WebRTC's NetEQ).

use std::collections::VecDeque;

use super::{CHANNELS, RATE, Sample};

/// What is before a cut fades into what is after it over 10 ms, in which they are compared, too.
const OVERLAP: usize = ms(10);
/// Periods of 400 to 66 Hz: of speech and of most of music. One of several is left out where the pitch is higher.
const LEAST: usize = ms(5) / 2;
const MOST: usize = ms(15);
/// What is looked at.
const TAIL: usize = OVERLAP + MOST;
/// Sound this far below the loudest of the last seconds is a pause (−26 dB), or below this in any case (−54 dB of full scale).
const PAUSE: f32 = 0.05;
const SILENCE: f32 = 0.002;
/// Loudness is forgotten by half in about three seconds of packets of 20 ms.
const FORGETTING: f32 = 0.995;
/// Alike enough to be cut at once; less is enough with time, and after a second anything is.
const ALIKE: f64 = 0.9;
/// In speech every eighth to every second sample is left out; more the more it is behind, by this scale.
const SLOWEST: f64 = 0.125;
const FASTEST: f64 = 0.5;
const SCALE: f64 = ms(2_000) as f64;
/// Steps in which periods are first tried.
const COARSE: usize = 4;

const fn ms(ms: usize) -> usize {
    ms * RATE as usize / 1000
}

#[derive(Default)]
pub struct Hurry {
    loudest: f32,
    /// Samples of speech that may be left out.
    credit: f64,
    /// Samples since the last cut.
    waited: usize,
}

impl Hurry {
    /// How much of the end of `laid` is looked at: nothing that is cut lies before it.
    pub const TAIL: usize = TAIL;

    /// A packet was laid. Loudness is known before there is any hurry.
    pub fn heard(&mut self, packet: &[Sample]) {
        self.loudest = (self.loudest * FORGETTING).max(loudness(packet.iter()));
    }

    /// Takes samples out of the end of `laid`, after `samples` were added to it: `behind` at most. Returns how many.
    pub fn cut(&mut self, laid: &mut VecDeque<Sample>, samples: usize, behind: f64) -> usize {
        let speed = (behind / SCALE).clamp(SLOWEST, FASTEST);
        self.credit = (self.credit + samples as f64 * speed).min(MOST as f64 * 2.0);
        self.waited += samples;
        let most = MOST.min(behind as usize);
        if laid.len() < TAIL || most < LEAST {
            return 0;
        }
        let pause = loudness(laid.range(laid.len() - TAIL..)) <= SILENCE.max(self.loudest * PAUSE);
        let cut = if pause {
            most.min(samples * 3 / 4)
        } else {
            self.period(laid, most)
        };
        if cut > 0 {
            splice(laid, cut);
            self.waited = 0;
            self.credit = (self.credit - cut as f64).max(0.0);
        }
        cut
    }

    /// The length of what can be left out of speech; 0: nothing yet.
    fn period(&self, laid: &VecDeque<Sample>, most: usize) -> usize {
        let most = most.min(self.credit as usize);
        if most < LEAST {
            return 0;
        }
        let tail: Vec<f32> = laid.range(laid.len() - TAIL..).map(|s| s.iter().sum()).collect();
        let best = |lags: &mut dyn Iterator<Item = usize>, step| {
            lags.map(|lag| (lag, likeness(&tail, lag, step)))
                .max_by(|a, b| a.1.total_cmp(&b.1))
                .unwrap_or((0, -1.0))
        };
        let (about, _) = best(&mut (LEAST..=most).step_by(COARSE), COARSE);
        let mut near = about.saturating_sub(COARSE).max(LEAST)..=(about + COARSE).min(most);
        let (lag, alike) = best(&mut near, 1);
        let enough = ALIKE * (1.0 - self.waited as f64 / f64::from(RATE)).max(-1.0);
        if alike >= enough { lag } else { 0 }
    }
}

fn loudness<'a>(samples: impl ExactSizeIterator<Item = &'a Sample>) -> f32 {
    let count = (samples.len() * CHANNELS).max(1) as f32;
    (samples.flatten().map(|value| value * value).sum::<f32>() / count).sqrt()
}

/// How alike the end is to what is `lag` before it: 1 is the same.
fn likeness(tail: &[f32], lag: usize, step: usize) -> f64 {
    let end = &tail[TAIL - OVERLAP..];
    let before = &tail[TAIL - OVERLAP - lag..TAIL - lag];
    let (mut both, mut one, mut other) = (0.0, 1e-9, 1e-9);
    for (a, b) in before.iter().zip(end).step_by(step) {
        let (a, b) = (f64::from(*a), f64::from(*b));
        (both, one, other) = (both + a * b, one + a * a, other + b * b);
    }
    both / (one * other).sqrt()
}

/// Leaves `cut` samples out: what was before them fades into the end.
fn splice(laid: &mut VecDeque<Sample>, cut: usize) {
    let end = laid.len() - OVERLAP;
    for n in 0..OVERLAP {
        let share = (n + 1) as f32 / (OVERLAP + 1) as f32;
        let after = laid[end + n];
        for (value, after) in laid[end - cut + n].iter_mut().zip(after) {
            *value += (after - *value) * share;
        }
    }
    laid.truncate(laid.len() - cut);
}
