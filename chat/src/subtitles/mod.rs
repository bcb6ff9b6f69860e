//! The room as subtitles, for players that know nothing of it: WebVTT segments beside the line's, made from the record.
//!
//! The packager lists the segments; here they are made when somebody asks, and kept in the archive. A segment's name
//! stays while what stands under it changes: a text that comes late is added, one that is deleted is gone.

mod cues;

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use timeline::{Archive, ArchiveError, BroadcastId, MediaTime, Object};
use tokio::sync::watch;

use crate::event::{Audience, Face};
use crate::record::Record;
use crate::replay::{self, Names};
use crate::room::Accepted;
use crate::{Error, Event, Kind, Settings};
use cues::Said;
pub use cues::{Escaped, Timestamp, Voice};

/// As the origin has it for other texts.
pub const CONTENT_TYPE: &str = "text/vtt; charset=utf-8";

/// Segments in memory: those at the live edge, and some that rewound viewers watch; a few KB each.
const MOST_FRESH: usize = 256;

/// The subtitles of one room in memory.
pub struct Subtitles {
    broadcast: BroadcastId,
    epoch: String,
    record: Record,
    archive: Arc<dyn Archive>,
    /// As the room has them now.
    settings: watch::Receiver<Settings>,
    /// A segment that gains texts is made anew at most this often, however many ask.
    refresh: Duration,
    state: Mutex<State>,
    /// Held by whoever makes segments or sends them to the archive.
    work: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    fresh: HashMap<u64, Fresh>,
    /// Counts changes, and those among them that took something away.
    changes: u64,
    purges: u64,
    /// What the archive has, by its hash, as far as this life knows.
    archived: HashMap<u64, u64>,
    /// Segments that the archive may have otherwise, and whether something was taken from them.
    owed: BTreeMap<u64, Urgency>,
}

/// A segment that was made.
struct Fresh {
    body: Bytes,
    made: Instant,
    /// Something was added since.
    stale: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Urgency {
    /// Once nobody near the live edge adds to it any more.
    Later,
    Now,
}

impl Subtitles {
    /// Of a room, by its broadcast and its epoch.
    pub fn new(
        (broadcast, epoch): (BroadcastId, String),
        record: Record,
        archive: Arc<dyn Archive>,
        settings: watch::Receiver<Settings>,
        refresh: Duration,
    ) -> Subtitles {
        Subtitles {
            broadcast,
            epoch,
            record,
            archive,
            settings,
            refresh,
            state: Mutex::default(),
            work: tokio::sync::Mutex::default(),
        }
    }

    /// The record has this. What it takes back is not served from now on.
    pub fn changed(&self, accepted: &Accepted) {
        let event = &accepted.event;
        if accepted.touches.purges && matches!(event.kind, Kind::Settings { .. }) {
            // Everybody has another name.
            return self.distrust((accepted.touches.from, accepted.touches.to));
        }
        let mut state = self.state();
        for amended in accepted.amends.iter().filter(|amended| amended.text().is_some()) {
            state.changed(amended.at(), Urgency::Now);
        }
        if event.text().is_some() && event.audience == Audience::Everyone {
            state.changed(event.at(), Urgency::Later);
        }
    }

    /// Anything between two moments may have been taken since the archive was told.
    pub fn distrust(&self, (from, to): (MediaTime, MediaTime)) {
        let mut state = self.state();
        state.changed(from, Urgency::Now);
        let (first, last) = (*cues::segments(from).start(), *cues::segments(to).end());
        (first..=last).for_each(|msn| state.touch(msn, Urgency::Now));
    }

    /// A segment as of now, give or take a refresh.
    pub async fn segment(&self, msn: u64) -> Result<Bytes, Error> {
        if let Some(body) = self.fresh(msn) {
            return Ok(body);
        }
        let _working = self.work.lock().await;
        // Whoever held it before may have made it.
        match self.fresh(msn) {
            Some(body) => Ok(body),
            None => self.make(msn).await,
        }
    }

    /// Sends a segment to the archive, which it has never been told of.
    pub async fn keep(&self, msn: u64) -> Result<(), Error> {
        let _working = self.work.lock().await;
        self.send(msn, Urgency::Now).await
    }

    /// Nothing that begins before `edge` has to be done.
    pub fn is_settled(&self, edge: MediaTime) -> bool {
        self.state().due(edge).is_none()
    }

    /// Brings the archive up to date: at once where something was taken, else the segments that begin before `edge`.
    /// What fails stays owed.
    pub async fn settle(&self, edge: MediaTime) -> Result<(), Error> {
        let _working = self.work.lock().await;
        loop {
            let Some((msn, urgency)) = self.state().due(edge) else {
                return Ok(());
            };
            if self.is_archived(msn).await? {
                self.send(msn, urgency).await?;
            } else {
                // The packager has not come to it, or never will.
                self.state().owed.remove(&msn);
            }
        }
    }

    /// Whether the archive has a segment, in whatever state.
    async fn is_archived(&self, msn: u64) -> Result<bool, Error> {
        if self.state().archived.contains_key(&msn) {
            return Ok(true);
        }
        match self.archive.get(&self.key(msn)).await {
            Ok(object) => {
                self.state().archived.insert(msn, hash(&object.body));
                Ok(true)
            }
            Err(ArchiveError::NotFound(_)) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Sends what is new. The caller holds `work`.
    async fn send(&self, msn: u64, urgency: Urgency) -> Result<(), Error> {
        // What changes from here on is owed again.
        self.state().owed.remove(&msn);
        let sent = self.put(msn).await;
        if sent.is_err() {
            let mut state = self.state();
            // It may have arrived all the same.
            state.archived.remove(&msn);
            state.owe(msn, urgency);
        }
        sent
    }

    async fn put(&self, msn: u64) -> Result<(), Error> {
        let body = self.make(msn).await?;
        let new = hash(&body);
        if self.state().archived.get(&msn) == Some(&new) {
            return Ok(());
        }
        let object = Object {
            body,
            content_type: CONTENT_TYPE.into(),
        };
        self.archive.put(&self.key(msn), object).await?;
        self.state().archived.insert(msn, new);
        Ok(())
    }

    /// Made again where something was taken meanwhile. The caller holds `work`.
    async fn make(&self, msn: u64) -> Result<Bytes, Error> {
        loop {
            let (changes, purges) = {
                let state = self.state();
                (state.changes, state.purges)
            };
            let settings = self.settings.borrow().clone();
            let names = replay::names(&self.record, &self.broadcast, &self.epoch, &settings).await?;
            let texts = self.record.texts(&self.broadcast, cues::reach(msn)).await?;
            let said: Vec<Said> = texts.iter().filter_map(|event| said(event, &names)).collect();
            let body = cues::segment(msn, &said);
            let mut state = self.state();
            if state.purges == purges {
                let stale = state.changes != changes;
                state.made(msn, body.clone(), stale);
                return Ok(body);
            }
        }
    }

    fn fresh(&self, msn: u64) -> Option<Bytes> {
        let state = self.state();
        let fresh = state.fresh.get(&msn)?;
        (!fresh.stale || fresh.made.elapsed() < self.refresh).then(|| fresh.body.clone())
    }

    fn key(&self, msn: u64) -> String {
        format!("{}/chat/{msn}.vtt", self.broadcast)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic leaves it half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn changed(&mut self, at: MediaTime, urgency: Urgency) {
        self.changes += 1;
        if urgency == Urgency::Now {
            self.purges += 1;
        }
        cues::segments(at).for_each(|msn| self.touch(msn, urgency));
    }

    fn touch(&mut self, msn: u64, urgency: Urgency) {
        match urgency {
            Urgency::Now => drop(self.fresh.remove(&msn)),
            Urgency::Later => {
                if let Some(fresh) = self.fresh.get_mut(&msn) {
                    fresh.stale = true;
                }
            }
        }
        self.owe(msn, urgency);
    }

    fn owe(&mut self, msn: u64, urgency: Urgency) {
        let owed = self.owed.entry(msn).or_insert(urgency);
        *owed = urgency.max(*owed);
    }

    /// A segment that is to be sent.
    fn due(&self, edge: MediaTime) -> Option<(u64, Urgency)> {
        let is_due =
            |(msn, urgency): &(&u64, &Urgency)| **urgency == Urgency::Now || cues::bounds(**msn).0 < edge;
        self.owed
            .iter()
            .find(is_due)
            .map(|(msn, urgency)| (*msn, *urgency))
    }

    fn made(&mut self, msn: u64, body: Bytes, stale: bool) {
        if self.fresh.len() >= MOST_FRESH {
            self.fresh.clear();
        }
        let made = Instant::now();
        self.fresh.insert(msn, Fresh { body, made, stale });
    }
}

/// Where the segment begins.
pub fn begins(msn: u64) -> MediaTime {
    cues::bounds(msn).0
}

/// Where the texts before a moment are all over.
pub fn over(at: MediaTime) -> MediaTime {
    cues::over(at)
}

/// `{msn}.vtt` as we write it, and nothing else.
pub fn msn(name: &str) -> Option<u64> {
    let msn = name.strip_suffix(".vtt")?.parse().ok()?;
    (name == format!("{msn}.vtt")).then_some(msn)
}

/// A text as everyone may read it, under the name that the replay has for its author.
fn said(event: &Event, names: &Names) -> Option<Said> {
    let seen = event.seen(Face::Public, names.anonymous);
    let author = seen.author.as_ref().map(|author| names.of(author));
    Some(Said {
        seq: seen.seq,
        at: seen.at(),
        staff: author.as_ref().is_some_and(|author| author.role.moderates()),
        name: author.map(|author| author.name).unwrap_or_default(),
        body: seen.kind.body()?.to_owned(),
    })
}

fn hash(body: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    body.hash(&mut hasher);
    hasher.finish()
}
