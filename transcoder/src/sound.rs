//! The sound of the line: samples indexed by media time, handed out in AAC frames.
//!
//! Packets that follow each other are laid without a seam. Where they drift against their capture times they
//! are resampled, never cut; a gap is silence; a jump is placed anew. Every seam is smoothed.
//!
//! Sound that comes too late for long is moved back: late sound is better than none. As soon as it comes sooner it
//! catches up by itself, in a few seconds.

mod drift;
mod hurry;
mod lateness;

use std::collections::VecDeque;

use timeline::{AAC_FRAME, MediaTime, TICKS_PER_SECOND};

use drift::Drift;
use hurry::Hurry;
use lateness::{Late, Slack};

pub const RATE: u32 = 48_000;
pub const CHANNELS: usize = 2;
/// Samples in one AAC frame.
pub const FRAME: usize = 1024;

/// One sample of each channel.
pub type Sample = [f32; CHANNELS];

/// A packet that begins further than this from the end of the one before did not follow it. The shortest
/// packet in use is 10 ms.
const CONTIGUOUS: f64 = ms(5);
/// Drift beyond this is not drift: the packet is placed anew. Where people begin to notice (ITU-R BT.1359): at half a per
/// cent, 100 ms of a track's first guess at its capture time would be heard for 20 s. The most that is followed (half a per
/// cent for ever) is 25 ms behind.
const JUMP: f64 = ms(40);
/// Room left before the edge when the sound is moved back.
const MARGIN: f64 = ms(40);
/// Sound is never moved back further than this; what is later is lost.
const MAX_SHIFT: f64 = ms(2_000);
/// Sound further ahead of the edge than this has no sane time. Also bounds the memory: 12 MB.
const MAX_AHEAD: f64 = ms(30_000);
/// What a seam's step decays by with each sample: 2 ms to a hundredth.
const DECAY: f32 = 0.953;

const fn ms(ms: i64) -> f64 {
    (ms * RATE as i64 / 1000) as f64
}

pub struct Sound {
    /// The sample where the line began; nothing before it is late.
    start: i64,
    /// The next sample to be handed out.
    base: i64,
    /// From `base` on.
    laid: VecDeque<Sample>,
    /// Where what is laid does not follow what is before it.
    seams: VecDeque<i64>,
    /// Where the next packet begins if it follows the last one, in capture time.
    expected: Option<f64>,
    drift: Drift,
    /// How far behind its capture time the sound is laid, because it comes too late.
    shift: f64,
    late: Late,
    slack: Slack,
    hurry: Hurry,
    smooth: Smooth,
    pub late_samples: u64,
    pub gaps: u64,
}

impl Sound {
    /// A line whose first frame is `frame`, counted from the origin.
    pub fn starting(frame: i64) -> Self {
        let start = frame * FRAME as i64;
        Sound {
            start,
            base: start,
            laid: VecDeque::new(),
            seams: VecDeque::new(),
            expected: None,
            drift: Drift::new(),
            shift: 0.0,
            late: Late::default(),
            slack: Slack::new(start),
            hurry: Hurry::default(),
            smooth: Smooth::default(),
            late_samples: 0,
            gaps: 0,
        }
    }

    /// How far behind its capture time the sound is, because it comes too late. Milliseconds.
    pub fn shift_ms(&self) -> f64 {
        self.shift / ms(1)
    }

    /// The sound of a line that is taken up is as late as it was before: what was learned is not learned anew.
    pub fn shift_by_ms(&mut self, by: f64) {
        if by.is_finite() {
            self.shift = (by * ms(1)).clamp(0.0, MAX_SHIFT);
        }
    }

    /// Lays a decoded packet whose first sample was captured at `at`.
    pub fn push(&mut self, at: MediaTime, packet: &[Sample]) {
        let capture = sample_at(at);
        if capture + self.shift - self.base as f64 > MAX_AHEAD || packet.is_empty() {
            return;
        }
        let follows = self.expected.is_some_and(|e| (capture - e).abs() <= CONTIGUOUS);
        let end = self.end() as f64 + self.drift.pending();
        if !follows {
            self.jump_forward(capture + self.shift - end);
        }
        let want = capture + self.shift;
        let error = want - end;
        self.expected = Some(capture + packet.len() as f64);
        self.hurry.heard(packet);
        if follows && error.abs() <= JUMP {
            self.slack.watch(self.base, want - self.base as f64);
            self.lay(error, packet);
            self.come_forward(packet.len());
        } else {
            self.place(want, packet);
        }
    }

    /// The next frame. What did not come is silence.
    pub fn take(&mut self) -> Vec<Sample> {
        if self.laid.len() < FRAME && self.expected.take().is_some() {
            self.flush();
            self.seams.push_back(self.end());
            self.gaps += 1;
        }
        let have = self.laid.len().min(FRAME);
        let mut frame: Vec<Sample> = self.laid.drain(..have).collect();
        frame.resize(FRAME, Sample::default());
        self.smooth.run(self.base, &mut frame, &mut self.seams);
        self.base += FRAME as i64;
        frame
    }

    /// The end of what is laid.
    fn end(&self) -> i64 {
        self.base + self.laid.len() as i64
    }

    fn lay(&mut self, error: f64, packet: &[Sample]) {
        let laid = &mut self.laid;
        self.drift.run(error, packet, |sample| laid.push_back(sample));
    }

    /// Lays what the resampler still holds.
    fn flush(&mut self) {
        let laid = &mut self.laid;
        self.drift.flush(|sample| laid.push_back(sample));
    }

    /// Lays a packet that does not follow what is laid: after silence, or over it.
    fn place(&mut self, want: f64, packet: &[Sample]) {
        self.flush();
        let begin = (want - self.drift.pending()).round() as i64;
        let late = (self.base - begin).max(0);
        if late > 0 && self.base > self.start {
            self.late_samples += (late as u64).min(packet.len() as u64);
            if self.late.for_good(self.base) && self.shift + late as f64 + MARGIN <= MAX_SHIFT {
                return self.move_back(late as f64 + MARGIN, want, packet);
            }
        } else {
            self.late.in_time();
        }
        if late as usize >= packet.len() {
            self.expected = None;
            return;
        }
        self.seam(begin + late);
        self.lay(0.0, &packet[late as usize..]);
    }

    fn move_back(&mut self, by: f64, want: f64, packet: &[Sample]) {
        self.shift += by;
        self.late.moved_back(self.base);
        self.slack.moved_back(self.base);
        self.seam((want + by - self.drift.pending()).round() as i64);
        self.lay(0.0, packet);
    }

    /// Makes `at` the end of what is laid: by silence, or by taking back what lies beyond.
    fn seam(&mut self, at: i64) {
        if at > self.end() {
            self.seams.push_back(self.end());
        }
        self.laid
            .resize((at - self.base).max(0) as usize, Sample::default());
        self.seams.retain(|seam| *seam < at);
        self.seams.push_back(at);
    }

    /// Sound that was moved back catches up while there is room before the edge.
    fn come_forward(&mut self, samples: usize) {
        let room = self.slack.room(self.shift);
        let whole = |seam: &i64| *seam <= self.end() - Hurry::TAIL as i64;
        if room > 0.0 && self.seams.back().is_none_or(whole) {
            let cut = self.hurry.cut(&mut self.laid, samples, room);
            self.moved_forward(cut as f64);
        }
    }

    /// At once over a gap of this length: what comes does not follow what is laid.
    fn jump_forward(&mut self, gap: f64) {
        let room = self.slack.room(self.shift);
        self.moved_forward(room.min(gap.max(0.0)));
    }

    fn moved_forward(&mut self, by: f64) {
        self.shift -= by;
        if by > 0.0 {
            self.slack.moved_forward(self.base, by);
        }
    }
}

/// Lets the step at a seam die away instead of clicking.
#[derive(Default)]
struct Smooth {
    last: Sample,
    step: Sample,
}

impl Smooth {
    fn run(&mut self, base: i64, frame: &mut [Sample], seams: &mut VecDeque<i64>) {
        for (n, sample) in frame.iter_mut().enumerate() {
            let mut seam = false;
            while seams.front().is_some_and(|seam| *seam <= base + n as i64) {
                seams.pop_front();
                seam = true;
            }
            let (lasts, steps) = (self.last.iter_mut(), self.step.iter_mut());
            for ((value, last), step) in sample.iter_mut().zip(lasts).zip(steps) {
                if seam {
                    *step = *last - *value;
                }
                *value += *step;
                *last = *value;
                *step *= DECAY;
                // Denormals cost a hundred times as much.
                if step.abs() < 1e-9 {
                    *step = 0.0;
                }
            }
        }
    }
}

/// The sample of a moment: eight for every fifteen ticks.
fn sample_at(at: MediaTime) -> f64 {
    at.ticks() as f64 * f64::from(RATE) / TICKS_PER_SECOND as f64
}

/// Where an AAC frame stands.
pub fn frame_start(frame: i64) -> MediaTime {
    MediaTime::ZERO + AAC_FRAME.times(frame)
}

#[cfg(test)]
mod tests;
