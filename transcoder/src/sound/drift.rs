//! Follows a clock that drifts, by resampling.

use rubato::audioadapter_buffers::direct::SequentialSliceOfVecs;
use rubato::{Async, FixedAsync, PolynomialDegree, Resampler};

use super::{CHANNELS, Sample};

/// Samples resampled at once: 2.5 ms, which divides every Opus packet.
const BLOCK: usize = 120;
/// The ratio never leaves 1 ± this: nobody hears half a per cent.
const MAX: f64 = 0.005;
/// Half of a new error is believed after about 0.7 s, so that the jitter of capture times is not followed.
const BELIEF: f64 = 48_000.0;
/// An error is taken back over this many samples (5 s): 1 ms of error bends the ratio by 0.02 %.
const CORRECTION: f64 = 240_000.0;

/// Where a fresh resampler stands, in input samples, one step before its first output: half its eight points
/// before its first input.
const FIRST: f64 = -4.0;
/// So its first outputs stand before its first input, and are left out.
const LEAD: usize = 3;

pub struct Drift {
    resampler: Async<f32>,
    /// Less than a block, waiting for its rest.
    input: [Vec<f32>; CHANNELS],
    output: [Vec<f32>; CHANNELS],
    /// The smoothed distance between where sound should stand and where it is laid.
    error: f64,
    /// Where the last output stands, counted from the first of `input`.
    last: f64,
    /// Outputs still to be left out.
    lead: usize,
}

impl Drift {
    pub fn new() -> Self {
        let resampler = Async::new_poly(
            1.0,
            1.02,
            PolynomialDegree::Septic,
            BLOCK,
            CHANNELS,
            FixedAsync::Input,
        )
        .expect("the parameters are constants within the resampler's limits");
        let output = vec![0.0; resampler.output_frames_max()];
        Drift {
            resampler,
            input: Default::default(),
            output: [output.clone(), output],
            error: 0.0,
            last: FIRST,
            lead: LEAD,
        }
    }

    /// How far beyond the end of what was put out the next sample put in will stand.
    pub fn pending(&self) -> f64 {
        self.input[0].len() as f64 - (self.last + 1.0) - self.lead as f64
    }

    /// `error`: how much later than the next output this packet should stand, in samples.
    pub fn run(&mut self, error: f64, packet: &[Sample], mut out: impl FnMut(Sample)) {
        self.error += (error - self.error) * (packet.len() as f64 / BELIEF).min(1.0);
        let ratio = 1.0 + (self.error / CORRECTION).clamp(-MAX, MAX);
        if let Some(adjustable) = self.resampler.as_adjustable() {
            // Within the bounds given to the constructor.
            let _ = adjustable.set_resample_ratio(ratio, true);
        }
        for sample in packet {
            for (channel, input) in self.input.iter_mut().enumerate() {
                input.push(sample[channel]);
            }
            if self.input[0].len() == BLOCK {
                self.block(usize::MAX, &mut out);
            }
        }
    }

    /// Puts out what was put in so far, and forgets the drift.
    pub fn flush(&mut self, mut out: impl FnMut(Sample)) {
        let rest = self.pending().round().max(0.0) as usize;
        if self.last != FIRST || !self.input[0].is_empty() {
            for input in &mut self.input {
                input.resize(BLOCK, 0.0);
            }
            self.block(rest, &mut out);
        }
        self.resampler.reset();
        self.error = 0.0;
        self.last = FIRST;
        self.lead = LEAD;
    }

    fn block(&mut self, at_most: usize, out: &mut impl FnMut(Sample)) {
        let room = self.output[0].len();
        let (Ok(input), Ok(mut output)) = (
            SequentialSliceOfVecs::new(&self.input, CHANNELS, BLOCK),
            SequentialSliceOfVecs::new_mut(&mut self.output, CHANNELS, room),
        ) else {
            return;
        };
        let before = self.resampler.resample_ratio();
        let made = self
            .resampler
            .process_into_buffer(&input, &mut output, None)
            .map_or(0, |(_, made)| made);
        let (from, to) = (1.0 / before, 1.0 / self.resampler.resample_ratio());
        // The ratio was ramped from one to the other; the last step was made with `to`.
        self.last += made as f64 * (from + to) / 2.0 + (to - from) / 2.0 - BLOCK as f64;
        let lead = self.lead.min(made);
        self.lead -= lead;
        for n in lead..made.min(at_most.saturating_add(lead)) {
            out([self.output[0][n], self.output[1][n]]);
        }
        self.input.iter_mut().for_each(Vec::clear);
    }
}
