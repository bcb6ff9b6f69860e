//! Source pass-through: the source's own pictures are the top rung, slot by slot, where that is right.
//!
//! ```text
//! access units ─ units ─→ can it be copied, behind which other?  (pure)
//! shown pictures ─ Copier ─→ copy or encode, per slot            (pure)
//! encoded, copied ─ splice ─→ one rung, in order                 (pure)
//! ```
//!
//! The grid stays: a slot is copied if the picture it shows is fresh, and its access unit an IDR, or the one right behind
//! what the slot before copied. Everything else (a picture that was lost, late or repeated, a slate, a layout, another
//! size) is encoded from the canvas, beginning with an IDR, until the source's next one. So there is no mode to leave,
//! and nothing to break: whatever the source does, each slot has a picture that can be decoded behind the one before.
//!
//! Segments begin with an IDR; so at their heads only the source's IDRs are copied. It is asked for one right after each
//! head, and once more where copies broke off. One that does not answer, and has its own too rarely, is not worth it and is
//! not copied.

mod lane;
mod run;
mod sets;
mod splice;
mod units;
mod worth;

use bytes::Bytes;
use timeline::feed::Record;
use timeline::{Codec, Frame, Grid, MediaTime, Rendition, Span, Track, TrackId};

use lane::Lane;
use run::Run;
use sets::{Configuration, Sets};
pub use splice::Splice;
pub use units::Refusal;
pub use units::Shape;
use units::Unit;
use worth::Worth;

/// As many as are decoded at once.
const MOST_TRACKS: usize = 8;
/// What is left of a segment when it is asked for another keyframe, at least: a publisher rests after each.
const WORTH_ASKING: Span = Span::from_millis(1_000);
/// Inits that one child announces. A source that keeps changing its parameter sets is not copied any more.
const MOST_INITS: u32 = 64;

pub struct Copier {
    grid: Grid,
    shape: Shape,
    lanes: Vec<Lane>,
    /// The track that a slot showed last, alone and whole.
    on: Option<TrackId>,
    /// The top rung as its own encoder announced it.
    rung: Option<Rung>,
    run: Option<Run>,
    worth: Worth,
    /// Copies broke off in this segment, and no others have begun since.
    broke_off: bool,
    /// The last segment for whose head a keyframe was asked for.
    asked: u64,
    /// The last one in which a keyframe was asked for because copies broke off.
    asked_again: u64,
    inits: u32,
}

struct Rung {
    rendition: Rendition,
    configuration: Configuration,
    /// What the init in force holds: what can be copied.
    listed: Sets,
}

/// What becomes of a slot in the top rung.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slot {
    /// From this slot on the rung needs another init.
    pub renewed: Option<Rendition>,
    /// The source's picture; else it is to be encoded.
    pub copy: Option<Frame>,
}

impl Copier {
    /// `shape`: what the source's pictures must be.
    pub fn new(grid: Grid, shape: Shape) -> Self {
        Copier {
            grid,
            shape,
            lanes: Vec::new(),
            on: None,
            rung: None,
            run: None,
            worth: Worth::new(grid),
            broke_off: false,
            asked: 0,
            asked_again: 0,
            inits: 0,
        }
    }

    /// The rung's own encoder has described itself.
    pub fn rung(&mut self, rendition: &Rendition) {
        let configuration = Configuration::read(&rendition.init);
        self.rung = configuration.map(|configuration| Rung {
            rendition: rendition.clone(),
            listed: configuration.sets.clone(),
            configuration,
        });
    }

    /// What is heard of the source.
    pub fn hear(&mut self, record: &Record) {
        match record {
            Record::Track(track) => self.begin(track),
            Record::TrackEnded(id) => self.lanes.retain(|lane| lane.track != *id),
            Record::Frame(frame) => self.frame(frame),
            _ => {}
        }
    }

    /// Records of the source were lost.
    pub fn lost(&mut self) {
        self.lanes.iter_mut().for_each(|lane| lane.lost());
    }

    /// Decides on the next slot. `shown`: the track whose picture fills it, alone and whole, if no slot showed that
    /// picture before; and when it was captured.
    pub fn slot(&mut self, slot: i64, shown: Option<(TrackId, MediaTime)>) -> Slot {
        let head = self.heads_segment(slot);
        self.on = shown.map(|(track, _)| track).or(self.on);
        let unit = shown.and_then(|(track, at)| self.lane(track)?.take(at));
        let rendition = self.rung.as_ref().map(|rung| &rung.rendition);
        let worth = self.worth.slot(slot, unit.as_ref(), rendition);
        let renewed = if head { self.renew(unit.as_ref()) } else { None };
        let copied = unit.filter(|unit| worth && self.is_listed(unit));
        let run = copied
            .as_ref()
            .and_then(|unit| Run::on(self.run, slot, head, unit));
        self.broke_off = run.is_none() && !head && (self.broke_off || self.run.is_some());
        self.run = run;
        let frame = |(unit, rung): (Unit, &Rung)| Frame {
            track: rung.rendition.id,
            at: self.grid.slot_start(slot),
            keyframe: unit.is_idr(),
            payload: unit.payload,
        };
        Slot {
            renewed,
            copy: copied
                .filter(|_| self.run.is_some())
                .zip(self.rung.as_ref())
                .map(frame),
        }
    }

    /// Whether to ask the source for a keyframe: once a segment, and not before its head is captured, so that the
    /// keyframe does not miss it by a little; and once more if copies break off in it.
    pub fn wants_keyframe(&mut self, now: MediaTime) -> bool {
        let msn = self.grid.msn(now);
        let lane = self.shown_lane().filter(|_| self.rung.is_some());
        let copyable = lane.is_some_and(|lane| matches!(lane.refused, None | Some(Refusal::Missing)));
        if !copyable || !self.worth.is_hoped_for(msn) {
            return false;
        }
        let asked = if msn > self.asked {
            &mut self.asked
        } else if msn > self.asked_again && self.goes_on_with_a_keyframe(now) {
            &mut self.asked_again
        } else {
            return false;
        };
        *asked = msn;
        true
    }

    /// Whether a keyframe of now would take up copies that broke off: none is on its way to its slot, and it would not
    /// delay the one for the next head.
    fn goes_on_with_a_keyframe(&self, now: MediaTime) -> bool {
        let left = self.grid.segment_start(self.grid.msn(now) + 1) - now;
        let waits = self.shown_lane().is_some_and(Lane::has_idr);
        self.broke_off && self.worth.is_within() && !waits && left >= WORTH_ASKING
    }

    /// Why the source cannot be copied now, if it cannot.
    pub fn refused(&self) -> Option<&Refusal> {
        self.shown_lane()?.refused.as_ref()
    }

    fn heads_segment(&self, slot: i64) -> bool {
        let at = self.grid.slot_start(slot);
        at == self.grid.segment_start(self.grid.msn(at))
    }

    fn begin(&mut self, track: &Track) {
        let known = self.lanes.iter().any(|lane| lane.track == track.id);
        if track.codec == Codec::H264 && !known && self.lanes.len() < MOST_TRACKS {
            self.lanes.push(Lane::of(track.id));
        }
    }

    fn frame(&mut self, frame: &Frame) {
        let shape = self.shape;
        if let Some(lane) = self.lane(frame.track) {
            lane.push(frame, shape);
        }
    }

    fn lane(&mut self, track: TrackId) -> Option<&mut Lane> {
        self.lanes.iter_mut().find(|lane| lane.track == track)
    }

    fn shown_lane(&self) -> Option<&Lane> {
        self.lanes.iter().find(|lane| Some(lane.track) == self.on)
    }

    fn is_listed(&self, unit: &Unit) -> bool {
        self.rung
            .as_ref()
            .is_some_and(|rung| rung.listed.holds(&unit.sets))
    }

    /// At the head of a segment its init may become another: one that holds the source's parameter sets, too. What it
    /// held before it goes on to hold, so that one init can stand for all; but for sets that are named alike.
    fn renew(&mut self, shown: Option<&Unit>) -> Option<Rendition> {
        let newest = self.shown_lane().and_then(Lane::newest).or(shown)?;
        let newest = newest.sets.clone();
        let rung = self.rung.as_mut()?;
        if rung.listed.holds(&newest) || !self.worth.is_worth() || self.inits >= MOST_INITS {
            return None;
        }
        let own = &rung.configuration.sets;
        let all = rung.listed.with(&newest).or_else(|| own.with(&newest))?;
        rung.listed = all;
        self.inits += 1;
        Some(Rendition {
            init: rung.configuration.holding(&rung.listed),
            ..rung.rendition.clone()
        })
    }
}

/// The bytes of a frame, for what is declared of a rung.
fn bits(payload: &Bytes) -> i64 {
    payload.len() as i64 * 8
}

/// The ids of the parameter sets in a configuration record: SPS, PPS.
#[cfg(test)]
pub fn ids(record: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let Sets { sps, pps } = Configuration::read(record)?.sets;
    Some((sps.into_keys().collect(), pps.into_keys().collect()))
}

#[cfg(test)]
mod tests;
