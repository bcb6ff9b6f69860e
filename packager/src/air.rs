//! A broadcast on air: what of it is visible now, and who waits for what comes next.
//!
//! Media is on the shelf before a playlist tells of it. The front (the newest version of everything) is
//! replaced as a whole, so whoever looks sees one moment of all renditions.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use timeline::{BroadcastId, Grid, MediaTime, PartIndex, Span};
use tokio::sync::watch;

use crate::album::Album;
use crate::config::Config;
use crate::ladder::Ladder;
use crate::listing::{Promises, Version};
use crate::meters::Meters;
use crate::presentation::{Closed, Step};
use crate::storyboard::Cues;
use crate::text::Text;
use crate::whole::Listed;

pub struct Air {
    pub id: BroadcastId,
    pub promises: Promises,
    pub grid: Grid,
    pub meters: Meters,
    front: watch::Sender<Arc<Front>>,
    /// A lane per rendition, in the ladder's order.
    shelf: RwLock<Vec<Lane>>,
    pub album: Album,
    window: Span,
    /// Segments before this MSN are in the archive and may leave memory.
    pub kept: Arc<AtomicU64>,
    blocked: AtomicU32,
    max_blocked: u32,
}

/// All that is visible at one moment.
#[derive(Clone)]
pub struct Front {
    /// Known once the first part is there.
    pub presented: Option<Arc<Presented>>,
    /// The part that comes next; all before it are there.
    pub next: PartIndex,
    /// A whole segment is listed in every rendition. Players take a playlist without one for broken.
    pub ready: bool,
    pub state: State,
    /// In the ladder's order.
    pub playlists: Vec<Arc<Version>>,
    /// In the ladder's order; none for sound.
    pub iframes: Vec<Option<Arc<Listed>>>,
    /// Those of texts, in the order of [`Presented::texts`].
    pub texts: Vec<Arc<Listed>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Live,
    Ended,
    /// Packaging was abandoned, or ended without media: nobody need wait.
    Gone,
}

impl Default for Front {
    /// Before the first part.
    fn default() -> Front {
        let next = PartIndex { msn: 0, part: 0 };
        Front {
            presented: None,
            next,
            ready: false,
            state: State::Live,
            playlists: Vec::new(),
            iframes: Vec::new(),
            texts: Vec::new(),
        }
    }
}

/// What does not change while a broadcast is on air, but for the inits of its renditions.
#[derive(Clone)]
pub struct Presented {
    pub ladder: Ladder,
    pub multivariant: Text,
    pub audio_only: Option<Text>,
    /// The folders of the text renditions.
    pub texts: Vec<&'static str>,
}

type Lane = VecDeque<Shelved>;

/// A segment in memory, whole or not.
struct Shelved {
    msn: u64,
    end: MediaTime,
    /// `None` while it is open; empty for a gap.
    body: Option<Bytes>,
    parts: Vec<Bytes>,
}

/// Why a request does not wait on.
#[derive(Debug, PartialEq, Eq)]
pub enum Impatient {
    /// Too many wait already.
    Crowded,
    /// What it waits for did not come in time.
    Late,
}

impl Air {
    pub fn new(id: BroadcastId, grid: Grid, promises: Promises, config: &Config) -> Air {
        Air {
            meters: Meters::of(&id),
            id,
            window: promises.least_window(&grid).max(config.window().into()),
            promises,
            grid,
            front: watch::Sender::new(Arc::default()),
            shelf: RwLock::default(),
            album: Album::default(),
            kept: Arc::default(),
            blocked: AtomicU32::new(0),
            max_blocked: config.max_blocked_requests,
        }
    }

    pub fn front(&self) -> Arc<Front> {
        self.front.borrow().clone()
    }

    pub fn is_live(&self) -> bool {
        self.front.borrow().state == State::Live
    }

    /// Shows what a step brought, and the front that tells of it.
    pub fn publish(&self, step: Step, front: Front) {
        self.shelve(|lanes| {
            lanes.resize_with(step.parts.len(), Lane::new);
            for (lane, part) in lanes.iter_mut().zip(&step.parts) {
                add(
                    lane,
                    part.index.msn,
                    part.start + part.duration,
                    part.body.clone(),
                );
            }
            self.close(lanes, step.closed.as_deref().unwrap_or_default());
        });
        self.front.send_replace(Arc::new(front));
    }

    /// The line is over; `closed` are the last segments, if any were open.
    pub fn end(&self, closed: &[Closed], front: Front) {
        self.shelve(|lanes| self.close(lanes, closed));
        self.front.send_replace(Arc::new(front));
    }

    /// Packaging stopped without an end: those who wait are let go.
    pub fn abandon(&self) {
        self.front.send_modify(|front| {
            *front = Arc::new(Front {
                state: State::Gone,
                ..Front::clone(front)
            })
        });
    }

    /// Shows what was added to the storyboard. Stills leave memory as segments do; `edge` is where the line stands.
    pub fn storyboard(&self, cues: &Cues, edge: MediaTime) {
        let kept = self.kept.load(Ordering::Acquire);
        let beyond = (edge - self.window).max(MediaTime::ZERO);
        self.album.add(cues, kept.min(self.grid.msn(beyond)));
    }

    pub fn part(&self, lane: usize, index: PartIndex) -> Option<Bytes> {
        self.on_shelf(lane, index.msn, |shelved| {
            shelved.parts.get(index.part as usize).cloned()
        })
        .filter(|body| !body.is_empty())
    }

    pub fn segment(&self, lane: usize, msn: u64) -> Option<Bytes> {
        self.on_shelf(lane, msn, |shelved| shelved.body.clone())
            .filter(|body| !body.is_empty())
    }

    /// The first front that is as wanted. Waiting is limited in time and in number.
    pub async fn wait(
        &self,
        limit: Duration,
        wanted: impl Fn(&Front) -> bool,
    ) -> Result<Arc<Front>, Impatient> {
        let front = self.front();
        if wanted(&front) {
            return Ok(front);
        }
        let _blocked = self.block()?;
        let mut fronts = self.front.subscribe();
        match tokio::time::timeout(limit, fronts.wait_for(|front| wanted(front))).await {
            // The sender lives as long as `self`.
            Ok(Ok(front)) => Ok(front.clone()),
            Ok(Err(_)) | Err(_) => Err(Impatient::Late),
        }
    }

    /// The requests that wait now.
    #[cfg(test)]
    pub fn blocked(&self) -> u32 {
        self.blocked.load(Ordering::Relaxed)
    }

    fn block(&self) -> Result<Blocked<'_>, Impatient> {
        let blocked = Blocked(self);
        let before = self.blocked.fetch_add(1, Ordering::Relaxed);
        blocked.gauge();
        if before >= self.max_blocked {
            Err(Impatient::Crowded)
        } else {
            Ok(blocked)
        }
    }

    fn close(&self, lanes: &mut [Lane], closed: &[Closed]) {
        for (lane, closed) in lanes.iter_mut().zip(closed) {
            if let Some(open) = lane.back_mut() {
                let gap = closed.segment.gap;
                open.body = Some(if gap {
                    Bytes::new()
                } else {
                    closed.segment.body.clone()
                });
                open.parts = closed.parts.iter().map(|part| part.body.clone()).collect();
            }
            self.forget(lane);
        }
    }

    /// Lets go what is older than the window, if it is in the archive.
    fn forget(&self, lane: &mut Lane) {
        let kept = self.kept.load(Ordering::Acquire);
        let edge = lane.back().map_or(MediaTime::ZERO, |shelved| shelved.end);
        while lane
            .front()
            .is_some_and(|oldest| oldest.msn < kept && oldest.end + self.window < edge)
        {
            lane.pop_front();
        }
    }

    fn shelve(&self, change: impl FnOnce(&mut Vec<Lane>)) {
        // Nothing can panic while it is held.
        change(&mut self.shelf.write().unwrap_or_else(PoisonError::into_inner));
    }

    fn on_shelf(&self, lane: usize, msn: u64, get: impl FnOnce(&Shelved) -> Option<Bytes>) -> Option<Bytes> {
        let shelf = self.shelf.read().unwrap_or_else(PoisonError::into_inner);
        let lane = shelf.get(lane)?;
        // MSNs follow each other without a step.
        let place = msn.checked_sub(lane.front()?.msn)?;
        get(lane.get(usize::try_from(place).ok()?)?)
    }
}

fn add(lane: &mut Lane, msn: u64, end: MediaTime, body: Bytes) {
    if lane.back().is_none_or(|open| open.msn != msn) {
        lane.push_back(Shelved {
            msn,
            end,
            body: None,
            parts: Vec::new(),
        });
    }
    if let Some(open) = lane.back_mut() {
        open.end = end;
        open.parts.push(body);
    }
}

/// A request that waits.
struct Blocked<'a>(&'a Air);

impl Blocked<'_> {
    fn gauge(&self) {
        self.0
            .meters
            .blocked_requests
            .set(f64::from(self.0.blocked.load(Ordering::Relaxed)));
    }
}

impl Drop for Blocked<'_> {
    fn drop(&mut self) {
        self.0.blocked.fetch_sub(1, Ordering::Relaxed);
        self.gauge();
    }
}
