//! The barrier behind the child: a slot reaches the line when every rung has it. So a child that dies never
//! leaves the rungs at different slots, and the next one begins where all of them ended.

use std::collections::VecDeque;

use timeline::feed::Record;
use timeline::{Frame, Grid, Rendition, Span, Stills, TrackId};

use crate::line::Start;
use crate::sound;

/// Slots that may wait for a slower rung. The child never has more in its encoders.
const MAX_WAITING: usize = 64;

/// The child broke its promise; it is not to be trusted with another frame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutOfStep {
    #[error("track {0} was not announced")]
    Unknown(TrackId),
    #[error("a frame of track {track} stands {by} from where the next one must")]
    Misplaced { track: TrackId, by: Span },
    #[error("no IDR at slot {slot} of track {track}")]
    NoKeyframe { track: TrackId, slot: i64 },
    #[error("track {0} is too far ahead of the other rungs")]
    TooFarAhead(TrackId),
    #[error("track {0} describes itself differently, and not at the head of a segment")]
    Renewed(TrackId),
    #[error("a second still of segment {0}")]
    StillAgain(u64),
}

pub struct Barrier {
    grid: Grid,
    rungs: Vec<Rung>,
    audio: TrackId,
    stills: TrackId,
    /// The first segment whose still was not released.
    next_still: u64,
    next: Start,
    /// The child is new: each of its rungs begins with an IDR.
    begun: i64,
}

struct Rung {
    track: TrackId,
    /// Its pictures may be the source's, whose IDRs stand on no grid: one heads each segment, and no more is promised.
    copied: bool,
    waiting: VecDeque<Frame>,
    /// What stands before the frame of a slot.
    renewed: Option<(i64, Rendition)>,
}

impl Barrier {
    /// `copied`: whether the first rung may hold pictures of the source.
    pub fn new(grid: Grid, ladder: &[Rendition], stills: Stills, start: Start, copied: bool) -> Option<Self> {
        let rungs: Vec<Rung> = ladder
            .iter()
            .filter(|rendition| rendition.is_video())
            .enumerate()
            .map(|(n, rendition)| Rung {
                track: rendition.id,
                copied: copied && n == 0,
                waiting: VecDeque::new(),
                renewed: None,
            })
            .collect();
        let audio = ladder.iter().find(|rendition| !rendition.is_video())?.id;
        (!rungs.is_empty()).then_some(Barrier {
            grid,
            rungs,
            audio,
            stills: stills.id,
            next_still: grid.msn(grid.slot_start(start.slot)),
            next: start,
            begun: start.slot,
        })
    }

    /// The first slot and audio frame that were not released.
    pub fn next(&self) -> Start {
        self.next
    }

    /// The first segment whose still was not released.
    pub fn next_still(&self) -> u64 {
        self.next_still
    }

    /// Another child takes over at [`Barrier::next`]; what only some rungs had is forgotten.
    pub fn restart(&mut self) {
        for rung in &mut self.rungs {
            rung.waiting.clear();
            rung.renewed = None;
        }
        self.begun = self.next.slot;
    }

    /// Takes a frame of the child and releases what is complete.
    pub fn offer(&mut self, frame: Frame, mut release: impl FnMut(Record)) -> Result<(), OutOfStep> {
        if frame.track == self.audio {
            expect(&frame, frame.at - sound::frame_start(self.next.audio))?;
            self.next.audio += 1;
            release(Record::Frame(frame));
            return Ok(());
        }
        if frame.track == self.stills {
            return self.still(frame, release);
        }
        self.keep(frame)?;
        while self.rungs.iter().all(|rung| !rung.waiting.is_empty()) {
            let slot = self.next.slot;
            self.next.slot += 1;
            for rung in &mut self.rungs {
                let renewed = rung.renewed.take_if(|(from, _)| *from == slot);
                let frame = rung.waiting.pop_front();
                let records = [
                    renewed.map(|(_, r)| Record::Rendition(r)),
                    frame.map(Record::Frame),
                ];
                records.into_iter().flatten().for_each(&mut release);
            }
        }
        Ok(())
    }

    /// From its next frame on a rendition needs another init. It is released right before that frame.
    pub fn renew(&mut self, rendition: Rendition) -> Result<(), OutOfStep> {
        let track = rendition.id;
        let rung = self.rungs.iter_mut().find(|rung| rung.track == track);
        let rung = rung.ok_or(OutOfStep::Unknown(track))?;
        let slot = self.next.slot + rung.waiting.len() as i64;
        if !rung.copied || !heads_segment(self.grid, slot) || rung.renewed.is_some() {
            return Err(OutOfStep::Renewed(track));
        }
        rung.renewed = Some((slot, rendition));
        Ok(())
    }

    /// Stills wait for nobody, and nobody for them.
    fn still(&mut self, frame: Frame, mut release: impl FnMut(Record)) -> Result<(), OutOfStep> {
        let msn = self.grid.msn(frame.at);
        if msn < self.next_still {
            return Err(OutOfStep::StillAgain(msn));
        }
        self.next_still = msn + 1;
        release(Record::Frame(frame));
        Ok(())
    }

    fn keep(&mut self, frame: Frame) -> Result<(), OutOfStep> {
        let track = frame.track;
        let rung = self
            .rungs
            .iter_mut()
            .find(|rung| rung.track == track)
            .ok_or(OutOfStep::Unknown(track))?;
        let slot = self.next.slot + rung.waiting.len() as i64;
        expect(&frame, frame.at - self.grid.slot_start(slot))?;
        let promised = match rung.copied {
            true => heads_segment(self.grid, slot),
            false => self.grid.is_keyframe_slot(slot),
        };
        if !frame.keyframe && (slot == self.begun || promised) {
            return Err(OutOfStep::NoKeyframe { track, slot });
        }
        if rung.waiting.len() == MAX_WAITING {
            return Err(OutOfStep::TooFarAhead(track));
        }
        rung.waiting.push_back(frame);
        Ok(())
    }
}

fn heads_segment(grid: Grid, slot: i64) -> bool {
    let at = grid.slot_start(slot);
    at == grid.segment_start(grid.msn(at))
}

fn expect(frame: &Frame, by: Span) -> Result<(), OutOfStep> {
    if by == Span::ZERO {
        Ok(())
    } else {
        Err(OutOfStep::Misplaced {
            track: frame.track,
            by,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use timeline::{Media, MediaTime};

    const AUDIO: u32 = 3;
    const STILLS: Stills = Stills {
        id: TrackId(4),
        width: 256,
        height: 144,
    };

    fn barrier() -> Barrier {
        with_copies(false)
    }

    fn with_copies(copied: bool) -> Barrier {
        let ladder = [1, 2, AUDIO].map(rendition);
        Barrier::new(Grid::default(), &ladder, STILLS, Start::default(), copied).unwrap()
    }

    fn rendition(id: u32) -> Rendition {
        Rendition {
            id: TrackId(id),
            name: id.to_string(),
            media: match id {
                AUDIO => Media::Audio {
                    sample_rate: 48_000,
                    channels: 2,
                },
                _ => Media::Video {
                    width: 1280,
                    height: 720,
                    frame: Span::from_ticks(3000),
                },
            },
            codec: String::new(),
            bandwidth: 1,
            average_bandwidth: 1,
            init: Bytes::new(),
        }
    }

    fn frame(track: u32, ticks: i64, keyframe: bool) -> Frame {
        Frame {
            track: TrackId(track),
            at: MediaTime::from_ticks(ticks),
            keyframe,
            payload: Bytes::new(),
        }
    }

    fn offer(barrier: &mut Barrier, track: u32, ticks: i64, keyframe: bool) -> Vec<(u32, i64)> {
        let mut out = vec![];
        barrier
            .offer(frame(track, ticks, keyframe), |record| match record {
                Record::Frame(f) => out.push((f.track.0, f.at.ticks())),
                other => panic!("{other:?}"),
            })
            .unwrap();
        out
    }

    #[test]
    fn a_slot_is_released_when_every_rung_has_it() {
        let mut b = barrier();
        assert_eq!(offer(&mut b, 1, 0, true), []);
        assert_eq!(offer(&mut b, 1, 3000, false), []);
        assert_eq!(offer(&mut b, AUDIO, 0, true), [(3, 0)]);
        assert_eq!(offer(&mut b, 2, 0, true), [(1, 0), (2, 0)]);
        assert_eq!(offer(&mut b, 2, 3000, false), [(1, 3000), (2, 3000)]);
        assert_eq!(b.next(), Start { slot: 2, audio: 1 });
    }

    #[test]
    fn the_next_child_begins_where_all_rungs_ended() {
        let mut b = barrier();
        offer(&mut b, 1, 0, true);
        offer(&mut b, 2, 0, true);
        offer(&mut b, 1, 3000, false);
        b.restart();
        assert_eq!(b.next(), Start { slot: 1, audio: 0 });
        let refused = b.offer(frame(1, 3000, false), |_| {});
        assert_eq!(
            refused,
            Err(OutOfStep::NoKeyframe {
                track: TrackId(1),
                slot: 1
            })
        );
        assert_eq!(offer(&mut b, 1, 3000, true), []);
        assert_eq!(offer(&mut b, 2, 3000, true), [(1, 3000), (2, 3000)]);
    }

    /// The first rung may hold pictures of the source.
    #[test]
    fn a_rung_that_is_copied_begins_segments_with_idrs_and_may_be_renewed_there() {
        let mut b = with_copies(true);
        for slot in 0..95 {
            offer(&mut b, 1, slot * 3000, slot == 0);
            offer(&mut b, 2, slot * 3000, slot % 48 == 0);
        }
        let early = b.renew(rendition(1));
        assert_eq!(early, Err(OutOfStep::Renewed(TrackId(1))));
        offer(&mut b, 1, 95 * 3000, false);
        assert_eq!(b.renew(rendition(2)), Err(OutOfStep::Renewed(TrackId(2))));
        assert_eq!(b.renew(rendition(7)), Err(OutOfStep::Unknown(TrackId(7))));
        b.renew(rendition(1)).unwrap();
        let refused = b.offer(frame(1, 96 * 3000, false), |_| {});
        assert!(
            matches!(refused, Err(OutOfStep::NoKeyframe { .. })),
            "{refused:?}"
        );
        offer(&mut b, 1, 96 * 3000, true);
        // The slot before is released without it, its own slot with it.
        assert_eq!(
            offer(&mut b, 2, 95 * 3000, false),
            [(1, 95 * 3000), (2, 95 * 3000)]
        );
        let mut out = vec![];
        b.offer(frame(2, 96 * 3000, true), |record| out.push(record))
            .unwrap();
        let expected = [
            Record::Rendition(rendition(1)),
            Record::Frame(frame(1, 96 * 3000, true)),
            Record::Frame(frame(2, 96 * 3000, true)),
        ];
        assert_eq!(out, expected);
    }

    #[test]
    fn a_still_waits_for_nobody_and_comes_once() {
        let mut b = barrier();
        assert_eq!(offer(&mut b, 4, 48 * 3000, true), [(4, 48 * 3000)]);
        assert_eq!((b.next(), b.next_still()), (Start::default(), 1));
        b.restart();
        let again = b.offer(frame(4, 50 * 3000, true), |_| {});
        assert_eq!(again, Err(OutOfStep::StillAgain(0)));
        assert_eq!(offer(&mut b, 4, 3 * 288_000, true), [(4, 3 * 288_000)]);
        assert_eq!(b.next_still(), 4);
    }

    #[test]
    fn a_child_that_breaks_the_grid_is_refused() {
        let mut b = barrier();
        let by = Span::from_ticks(3000);
        let misplaced = OutOfStep::Misplaced {
            track: TrackId(1),
            by,
        };
        assert_eq!(b.offer(frame(1, 3000, true), |_| {}), Err(misplaced));
        assert_eq!(
            b.offer(frame(9, 0, true), |_| {}),
            Err(OutOfStep::Unknown(TrackId(9)))
        );
        assert!(b.offer(frame(AUDIO, 1919, true), |_| {}).is_err());
        for slot in 0..48 {
            offer(&mut b, 1, slot * 3000, slot == 0);
            offer(&mut b, 2, slot * 3000, slot == 0);
        }
        let refused = b.offer(frame(2, 48 * 3000, false), |_| {});
        assert_eq!(
            refused,
            Err(OutOfStep::NoKeyframe {
                track: TrackId(2),
                slot: 48
            })
        );
        (48..112).for_each(|slot| drop(offer(&mut b, 1, slot * 3000, slot % 48 == 0)));
        assert_eq!(
            b.offer(frame(1, 112 * 3000, true), |_| {}),
            Err(OutOfStep::TooFarAhead(TrackId(1)))
        );
    }
}
