//! The sound of the line: samples indexed by media time, handed out in AAC frames.
//!
//! Packets that follow each other are laid without a seam. Where they drift against their capture times they
//! are resampled, never cut; a gap is silence; a jump is placed anew. Every seam is smoothed.
//!
//! Sound that comes too late for long is moved back: late sound is better than none. As soon as it comes sooner it
//! catches up by itself, in a few seconds.

mod drift;
mod hurry;

use std::collections::VecDeque;

use timeline::{AAC_FRAME, MediaTime, TICKS_PER_SECOND};

use drift::Drift;
use hurry::Hurry;

pub const RATE: u32 = 48_000;
pub const CHANNELS: usize = 2;
/// Samples in one AAC frame.
pub const FRAME: usize = 1024;

/// One sample of each channel.
pub type Sample = [f32; CHANNELS];

/// A packet that begins further than this from the end of the one before did not follow it. The shortest
/// packet in use is 10 ms.
const CONTIGUOUS: f64 = ms(5);
/// Drift beyond this is not drift: the packet is placed anew.
const JUMP: f64 = ms(100);
/// Sound later than the line for this long is not a burst after a loss: the sound is moved back, as far as it
/// takes, because late sound is better than none.
const LATE_FOR_GOOD: i64 = ms(500) as i64;
/// A path that has just become slower becomes slower still.
const STILL_LATE: i64 = ms(100) as i64;
const JUST_MOVED: i64 = ms(3_000) as i64;
/// Sound that was in time for so long is late anew.
const FORGIVEN: i64 = ms(2_000) as i64;
/// Room left before the edge when the sound is moved back …
const MARGIN: f64 = ms(40);
/// … and when it comes forward again, which is begun for more than this.
const KEPT: f64 = ms(20);
const WORTH_IT: f64 = ms(60);
/// Sound is never moved back further than this; what is later is lost.
const MAX_SHIFT: f64 = ms(2_000);
/// The least room before the edge is looked at over one to two such spans before sound that was moved back comes
/// forward. Twice as long each time that was too soon.
const LEAST_PATIENCE: i64 = ms(1_000) as i64;
const MOST_PATIENCE: i64 = ms(16_000) as i64;
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
            self.late.since = None;
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
        self.late = Late {
            moved: Some(self.base),
            ..Late::default()
        };
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

/// Sound that came after its frame had left.
#[derive(Default)]
struct Late {
    since: Option<i64>,
    last: i64,
    moved: Option<i64>,
}

impl Late {
    /// Sound is late at `base`. Whether it has been for so long that it is to be moved back.
    fn for_good(&mut self, base: i64) -> bool {
        if base - self.last >= FORGIVEN {
            self.since = None;
        }
        self.last = base;
        let borne = match self.moved {
            Some(moved) if base - moved < JUST_MOVED => STILL_LATE,
            _ => LATE_FOR_GOOD,
        };
        base - *self.since.get_or_insert(base) >= borne
    }
}

/// The least room before the edge, over one to two spans of patience.
struct Slack {
    since: i64,
    least: f64,
    /// Of the span before.
    before: Option<f64>,
    patience: i64,
    /// Sound comes forward, or when it last did.
    coming: bool,
    forward: Option<i64>,
}

impl Slack {
    fn new(since: i64) -> Self {
        Slack {
            since,
            least: f64::INFINITY,
            before: None,
            patience: LEAST_PATIENCE,
            coming: false,
            forward: None,
        }
    }

    fn watch(&mut self, base: i64, room: f64) {
        self.least = self.least.min(room);
        if base - self.since >= self.patience {
            self.before = Some(self.least);
            (self.since, self.least) = (base, room);
        }
    }

    /// By how much sound that is `shift` behind may come forward.
    fn room(&mut self, shift: f64) -> f64 {
        let least = self.before.map_or(0.0, |before| before.min(self.least));
        self.coming = shift > 0.0 && least > if self.coming { KEPT } else { WORTH_IT };
        if self.coming {
            (least - KEPT).min(shift)
        } else {
            0.0
        }
    }

    fn moved_forward(&mut self, base: i64, by: f64) {
        self.least -= by;
        self.before = self.before.map(|before| before - by);
        self.forward = Some(base);
    }

    /// Soon after it came forward: that was no recovery.
    fn moved_back(&mut self, base: i64) {
        let hasty = self
            .forward
            .is_some_and(|forward| base - forward < 8 * self.patience);
        *self = Slack {
            patience: if hasty {
                (self.patience * 2).min(MOST_PATIENCE)
            } else {
                LEAST_PATIENCE
            },
            ..Slack::new(base)
        };
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
