//! Whether copying pays: seen segment by segment, in what could have been copied.
//!
//! A source whose keyframes are rare or fall badly would alternate between its own pictures and the encoder's, for
//! nothing; one that sends more than the rung declares would mislead players, which choose by that.

use timeline::{Grid, Rendition, TICKS_PER_SECOND};

use super::bits;
use super::run::Run;
use super::units::Unit;

/// Of a segment: half of its slots. OBS with a keyframe every two seconds can do two thirds.
const LEAST_PART: i64 = 2;
/// So many segments in a row, before it begins.
const LEAST_SEGMENTS: u32 = 2;
/// Slots' worth of the declared bandwidth that a segment may be ahead of it: room for its first IDR. It is an eighth of
/// the segment on the default grid, and the declared bandwidth is a quarter above the encoder's average.
const AHEAD: i64 = 12;

/// Segments in a row for which a keyframe is asked for in vain; then only for each so many.
const PATIENCE: u32 = 8;
const SELDOM: u64 = 16;

pub struct Worth {
    grid: Grid,
    /// As if all were copied that could be.
    run: Option<Run>,
    copied: i64,
    /// More was sent than the rung declares.
    over: bool,
    /// Bits of the open segment, if those slots were copied and the others encoded.
    spent: i64,
    /// Segments in a row that were worth it.
    good: u32,
    /// Segments in a row that were not.
    bad: u32,
}

impl Worth {
    pub fn new(grid: Grid) -> Self {
        Worth {
            grid,
            run: None,
            copied: 0,
            over: false,
            spent: 0,
            good: 0,
            bad: 0,
        }
    }

    pub fn is_worth(&self) -> bool {
        self.good >= LEAST_SEGMENTS
    }

    /// Whether a keyframe for this segment might make it worth it. A source that was asked in vain is asked seldom.
    pub fn is_hoped_for(&self, msn: u64) -> bool {
        self.bad < PATIENCE || msn.is_multiple_of(SELDOM)
    }

    /// Whether the open segment keeps to what the rung declares, with what was copied.
    pub fn is_within(&self) -> bool {
        !self.over
    }

    /// Notes a slot with the access unit it shows, if that is known. Whether it is worth copying, and within what the
    /// rung declares.
    pub fn slot(&mut self, slot: i64, unit: Option<&Unit>, rung: Option<&Rendition>) -> bool {
        let within = slot.rem_euclid(self.slots());
        if within == 0 {
            self.segment();
        }
        let Some(rung) = rung else { return false };
        let run = unit.and_then(|unit| Run::on(self.run, slot, within == 0, unit));
        let own = unit.map_or(0, |unit| bits(&unit.payload));
        let declared = self.bits(rung.bandwidth, within + 1 + AHEAD);
        let over = run.is_some() && self.spent + own > declared;
        self.over |= over;
        self.run = run.filter(|_| !over);
        match self.run {
            Some(_) => {
                self.copied += 1;
                self.spent += own;
            }
            None => self.spent += self.bits(rung.average_bandwidth, 1),
        }
        self.run.is_some() && self.is_worth()
    }

    /// A segment begins.
    fn segment(&mut self) {
        let good = self.copied * LEAST_PART >= self.slots() && !self.over;
        (self.good, self.bad) = match good {
            true => ((self.good + 1).min(LEAST_SEGMENTS), 0),
            false => (0, self.bad.saturating_add(1)),
        };
        (self.copied, self.spent, self.over) = (0, 0, false);
    }

    fn slots(&self) -> i64 {
        self.grid.segment().ticks() / self.grid.frame.ticks()
    }

    fn bits(&self, rate: u32, slots: i64) -> i64 {
        i64::from(rate) * slots * self.grid.frame.ticks() / TICKS_PER_SECOND
    }
}
