//! The replay of a room: fixed windows of media time as immutable objects beside the segments, and an index.
//!
//! A chunk is made when somebody asks for it, from the record. It goes to the archive when its window has
//! passed, and again when a late message or a delete changes it.

mod chunk;
mod windows;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use timeline::{Archive, ArchiveError, BroadcastId, Line, MediaTime, Object, Span};
use tokio::sync::{Notify, watch};

use crate::clock::now;
use crate::event::Anonymous;
use crate::record::{Record, RoomRow};
use crate::room::{self, Accepted, Touches};
use crate::settings::ReplayNames;
use crate::subtitles::{self, Subtitles};
use crate::{Config, Error, Event, Kind, Settings};

pub use chunk::{Names, is_name};
pub use windows::{Listed, Sealed};
use windows::{Stale, Unsealed, Version, Windows, bounds, number};

const INDEX: &str = "index.json";
const JSON: &str = "application/json";

/// The end of all lines: everything before it is finished.
const EVERYTHING: MediaTime = MediaTime::from_ticks(i64::MAX);

/// A window that has passed may wait so long to be sealed; so may a late message in one. A delete does not wait.
const PATROL: Duration = Duration::from_secs(1);

/// The replay of one room in memory.
pub struct Replay {
    broadcast: BroadcastId,
    epoch: String,
    record: Record,
    archive: Arc<dyn Archive>,
    line: watch::Receiver<Line>,
    /// As the room has them now.
    settings: watch::Receiver<Settings>,
    grace: Span,
    refresh: Duration,
    /// Where the broadcast offers them.
    subtitles: Option<Subtitles>,
    state: Mutex<State>,
    /// Held by whoever makes chunks or sends them to the archive.
    work: tokio::sync::Mutex<()>,
    wake: Notify,
    /// What has passed is sealed by this node.
    leads: AtomicBool,
}

struct State {
    windows: Windows,
    /// When the chunks were last made on demand.
    refreshed: Option<Instant>,
    /// The broadcast is over: every window is finished.
    over: bool,
    /// The record knows that the replay is whole.
    marked: bool,
    /// A crash may have left objects that nobody lists.
    swept: bool,
    /// How the room stood at the beginning of a window: the next ones go on from it.
    folded: Option<(u64, room::State)>,
    /// Counts what may have changed it.
    revision: u64,
}

/// What a replay is made from, and where it goes.
pub struct Sources {
    pub broadcast: BroadcastId,
    pub record: Record,
    pub archive: Arc<dyn Archive>,
    pub line: watch::Receiver<Line>,
    /// As the room has them now.
    pub settings: watch::Receiver<Settings>,
    /// Whether the broadcast offers its room as subtitles.
    pub subtitles: bool,
}

impl Replay {
    pub async fn load(room: RoomRow, sources: Sources, config: &Config) -> Result<Replay, Error> {
        let Sources {
            broadcast,
            record,
            archive,
            line,
            settings,
            subtitles: with_subtitles,
        } = sources;
        let refresh = Duration::from_millis(config.chunk_refresh_ms);
        let subtitles = || {
            let of = (broadcast.clone(), room.epoch.clone());
            Subtitles::new(of, record.clone(), archive.clone(), settings.clone(), refresh)
        };
        let subtitles = with_subtitles.then(subtitles);
        let mut windows = Windows::default();
        for row in record.chunks(&broadcast).await? {
            if let Some(subtitles) = subtitles.as_ref().filter(|_| row.touched > row.sealed) {
                subtitles.distrust(bounds(row.n));
            }
            windows.restore(row.n, row.touched, row.sealed, row.listed);
        }
        let swept = windows.stale().is_empty();
        let state = State {
            windows,
            refreshed: None,
            over: room.ended,
            marked: room.ended,
            swept,
            folded: None,
            revision: 0,
        };
        Ok(Replay {
            broadcast,
            epoch: room.epoch,
            record,
            archive,
            line,
            settings,
            grace: Span::from_millis(config.chunk_grace_ms.into()),
            refresh,
            subtitles,
            state: Mutex::new(state),
            work: tokio::sync::Mutex::default(),
            wake: Notify::new(),
            leads: AtomicBool::new(true),
        })
    }

    /// The windows that an event changes: the first, and the last.
    pub fn windows(&self, accepted: &Accepted) -> (u64, u64) {
        let Touches { from, to, .. } = accepted.touches;
        (number(from), number(to))
    }

    /// The record has these. From now on, nothing that they delete is served.
    pub fn changed(&self, accepted: &[Accepted]) {
        let mut state = self.state();
        state.revision += 1;
        for one in accepted {
            let (first, last) = self.windows(one);
            state
                .windows
                .change(first..=last, one.event.seq, one.touches.purges);
            // The states of later windows build on it.
            state.folded.take_if(|(n, _)| *n > first || one.touches.purges);
            self.subtitles.iter().for_each(|subtitles| subtitles.changed(one));
        }
        if state.windows.is_purge_pending() {
            self.wake.notify_one();
        }
    }

    /// The record may hold more than we were told: whatever changed is not trusted any more.
    pub async fn distrust(&self) -> Result<(), Error> {
        let rows = self.record.chunks(&self.broadcast).await?;
        let mut state = self.state();
        state.folded = None;
        state.revision += 1;
        for row in rows {
            if state.windows.distrust(row.n, row.touched) {
                self.subtitles
                    .iter()
                    .for_each(|subtitles| subtitles.distrust(bounds(row.n)));
            }
        }
        self.wake.notify_one();
        Ok(())
    }

    /// Whether this node sends to the archive what has passed. One of those that keep the room does.
    pub fn lead(&self, leads: bool) {
        self.leads.store(leads, Ordering::Release);
    }

    /// Forgets what this node knew of the archive: another one has been at work there.
    pub async fn take_over(&self) -> Result<(), Error> {
        let _working = self.work.lock().await;
        let rows = self.record.chunks(&self.broadcast).await?;
        let mut windows = Windows::default();
        for row in rows {
            windows.restore(row.n, row.touched, row.sealed, row.listed);
        }
        let mut state = self.state();
        state.windows = windows;
        state.folded = None;
        state.swept = false;
        state.revision += 1;
        Ok(())
    }

    /// The index as of now, give or take a refresh.
    pub async fn index(&self) -> Result<Bytes, Error> {
        self.refresh().await?;
        let state = self.state();
        Ok(chunk::index(&self.epoch, state.windows.listed()))
    }

    /// A chunk by its name; `None` where the index does not list it any more.
    pub async fn chunk(&self, name: &str) -> Result<Option<Bytes>, Error> {
        let mut found = self.find(name);
        if found.is_none() {
            // The index may be one of an earlier life of this room: the same events make the same name.
            self.refresh().await?;
            found = self.find(name);
        }
        match found {
            None => Ok(None),
            Some(Version { body: Some(body), .. }) => Ok(Some(body)),
            Some(_) => archived(&*self.archive, &self.broadcast, name).await,
        }
    }

    /// A segment of the subtitles; `None` where there are none, or the line has not come there.
    pub async fn subtitles(&self, msn: u64) -> Result<Option<Bytes>, Error> {
        let end = match &*self.line.borrow() {
            Line::Waiting => MediaTime::ZERO,
            Line::Live { timeline } => timeline.at(now()),
            Line::Ended { duration, .. } => *duration,
        };
        match &self.subtitles {
            Some(subtitles) if subtitles::begins(msn) < end => subtitles.segment(msn).await.map(Some),
            _ => Ok(None),
        }
    }

    /// Returns once the archive has a segment of the subtitles.
    pub async fn keep_subtitles(&self, msn: u64) -> Result<(), Error> {
        match &self.subtitles {
            Some(subtitles) => subtitles.keep(msn).await,
            None => Err(Error::Unknown),
        }
    }

    fn find(&self, name: &str) -> Option<Version> {
        self.state().windows.find(name, now()).cloned()
    }

    /// Makes what changed, unless that was done a moment ago.
    async fn refresh(&self) -> Result<(), Error> {
        if !self.wants_refresh() {
            return Ok(());
        }
        let _working = self.work.lock().await;
        // Whoever held it before may have made them.
        if self.wants_refresh() {
            self.render().await?;
            self.state().refreshed = Some(Instant::now());
        }
        Ok(())
    }

    pub fn is_over(&self) -> bool {
        self.state().over || self.line.borrow().is_ended()
    }

    /// Nothing is left to be done: the room may leave the memory.
    pub fn is_settled(&self) -> bool {
        self.is_done(EVERYTHING, self.is_over())
    }

    /// The broadcast is over: returns once every chunk and the index are in the archive.
    pub async fn end(&self) -> Result<(), Error> {
        self.state().over = true;
        self.seal().await?;
        // A delete that came meanwhile has to go as well.
        while !self.is_settled() {
            self.seal().await?;
        }
        Ok(())
    }

    /// Sends what is finished to the archive, as long as the room is in memory.
    pub async fn run(&self) {
        loop {
            let _ = tokio::time::timeout(PATROL, self.wake.notified()).await;
            if !self.leads.load(Ordering::Acquire) {
                continue;
            }
            if let Err(error) = self.seal().await {
                metrics::counter!("lectern_chat_seal_failures_total").increment(1);
                tracing::error!(broadcast = %self.broadcast, %error, "the replay could not be sealed; it is tried again");
                tokio::time::sleep(PATROL).await;
            }
        }
    }

    /// Every step is remembered as it succeeds: after one that fails, the next call goes on from there.
    async fn seal(&self) -> Result<(), Error> {
        let over = self.is_over();
        let edge = if over { EVERYTHING } else { self.finished_before() };
        if self.is_done(edge, over) {
            return Ok(());
        }
        let _working = self.work.lock().await;
        // What was deleted leaves first: should the rest fail, it is gone at least.
        self.delete_doomed().await?;
        if let Some(subtitles) = &self.subtitles {
            subtitles.settle(MediaTime::ZERO).await?;
        }
        let sealing = self.state().windows.behind(edge);
        self.render().await?;
        self.put_chunks(edge).await?;
        self.put_index(over).await?;
        self.delete_superseded().await?;
        self.sweep().await?;
        if let Some(subtitles) = &self.subtitles {
            let over = sealing.map_or(edge, |n| subtitles::over(bounds(n).1).max(edge));
            subtitles.settle(over).await?;
        }
        // Last: after a crash before this everything is simply done again.
        self.tell_record().await?;
        self.mark(over).await
    }

    fn is_done(&self, edge: MediaTime, over: bool) -> bool {
        let state = self.state();
        let subtitles = self.subtitles.as_ref();
        state.windows.is_settled(edge)
            && subtitles.is_none_or(|subtitles| subtitles.is_settled(edge))
            && state.swept
            && (!over || state.marked)
    }

    /// The record is told once the replay of an ended broadcast is whole.
    async fn mark(&self, over: bool) -> Result<(), Error> {
        if !over || self.state().marked || !self.state().windows.is_settled(EVERYTHING) {
            return Ok(());
        }
        self.record.ended(&self.broadcast, now().unix_millis()).await?;
        self.state().marked = true;
        Ok(())
    }

    async fn delete_doomed(&self) -> Result<(), Error> {
        let doomed = self.state().windows.owed().doomed().to_vec();
        self.delete(doomed).await
    }

    /// After the index: what it lists is there.
    async fn delete_superseded(&self) -> Result<(), Error> {
        let superseded = self.state().windows.owed().superseded();
        self.delete(superseded).await
    }

    async fn delete(&self, names: Vec<String>) -> Result<(), Error> {
        for name in names {
            self.archive.delete(&key(&self.broadcast, &name)).await?;
            self.state().windows.owed_mut().deleted(&name);
        }
        Ok(())
    }

    /// Makes every chunk that changed. The caller holds `work`.
    async fn render(&self) -> Result<(), Error> {
        let stale = self.state().windows.stale();
        for stale in stale {
            self.render_window(stale).await?;
        }
        Ok(())
    }

    async fn render_window(&self, stale: Stale) -> Result<(), Error> {
        let revision = self.state().revision;
        let standing = self.standing(stale.n).await?;
        let mut events = self.record.shown(&self.broadcast, bounds(stale.n)).await?;
        self.find_pinned(&mut events).await?;
        let settings = self.settings.borrow().clone();
        let names = names(&self.record, &self.broadcast, &self.epoch, &settings).await?;
        let version = chunk::render(stale.n, &standing, &events, &names);
        let mut state = self.state();
        state.windows.rendered(stale, version, now());
        // What happened meanwhile may have changed it.
        if state.revision == revision {
            state.folded = Some((stale.n, standing));
        }
        Ok(())
    }

    /// How the room stood at the beginning of a window.
    async fn standing(&self, n: u64) -> Result<room::State, Error> {
        let folded = self.state().folded.clone().filter(|(known, _)| *known <= n);
        let (known, mut standing) = folded.unwrap_or_default();
        self.record
            .fold(&self.broadcast, &mut standing, (bounds(known).0, bounds(n).0))
            .await?;
        self.record.find_pinned(&self.broadcast, &mut standing).await?;
        Ok(standing)
    }

    /// The record keeps what is pinned once only, as the text that it is.
    async fn find_pinned(&self, events: &mut [Event]) -> Result<(), Error> {
        for event in events {
            if let Kind::Pin { target, message } = &mut event.kind {
                let found = self.record.event(&self.broadcast, *target).await?;
                *message = found.filter(|event| event.kind.body().is_some()).map(Arc::new);
            }
        }
        Ok(())
    }

    async fn put_chunks(&self, edge: MediaTime) -> Result<(), Error> {
        let unsealed = self.state().windows.unsealed(edge);
        for unsealed in &unsealed {
            self.state().windows.sealing(unsealed);
            self.put_chunk(unsealed).await?;
            self.state().windows.sealed(unsealed);
        }
        Ok(())
    }

    async fn put_chunk(&self, unsealed: &Unsealed) -> Result<(), Error> {
        if let Some(Version {
            listed,
            body: Some(body),
        }) = &unsealed.version
        {
            self.put(&listed.name, body.clone()).await?;
        }
        Ok(())
    }

    async fn put_index(&self, over: bool) -> Result<(), Error> {
        let (index, revision) = {
            let state = self.state();
            // An ended broadcast without a word has an index too.
            let is_first = over && !state.marked;
            if !state.windows.owed().is_index_due() && !is_first {
                return Ok(());
            }
            let index = chunk::index(&self.epoch, state.windows.archived());
            (index, state.windows.owed().revision())
        };
        self.put(INDEX, index).await?;
        self.state().windows.owed_mut().indexed(revision);
        Ok(())
    }

    async fn tell_record(&self) -> Result<(), Error> {
        let unrecorded = self.state().windows.owed().unrecorded();
        for sealed in unrecorded {
            self.record.sealed(&self.broadcast, &sealed).await?;
            self.state().windows.owed_mut().recorded(&sealed);
        }
        Ok(())
    }

    async fn put(&self, name: &str, body: Bytes) -> Result<(), Error> {
        let object = Object {
            body,
            content_type: JSON.into(),
        };
        Ok(self.archive.put(&key(&self.broadcast, name), object).await?)
    }

    /// After a crash between the archive and the record, objects may lie there that nobody lists, and that may
    /// hold what was deleted since.
    async fn sweep(&self) -> Result<(), Error> {
        if self.state().swept {
            return Ok(());
        }
        let names = match self.archive.list(&format!("{}/chat", self.broadcast)).await {
            Err(ArchiveError::NotFound(_)) => Vec::new(),
            names => names?,
        };
        let is_kept = |name: &String| self.state().windows.archived().any(|listed| listed.name == *name);
        for name in names.iter().filter(|name| is_name(name) && !is_kept(name)) {
            self.archive.delete(&key(&self.broadcast, name)).await?;
        }
        self.state().swept = true;
        Ok(())
    }

    fn wants_refresh(&self) -> bool {
        let state = self.state();
        let rested = state.refreshed.is_none_or(|at| at.elapsed() >= self.refresh);
        state.windows.is_purge_pending() || (rested && !state.windows.stale().is_empty())
    }

    /// Before this moment the writers are done, but for those who watch rewound.
    fn finished_before(&self) -> MediaTime {
        let timeline = self.line.borrow().timeline();
        timeline.map_or(MediaTime::ZERO, |timeline| timeline.at(now()) - self.grace)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic leaves it half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How people are called: the settings of now, not of then, say it.
pub async fn names<'a>(
    record: &Record,
    broadcast: &BroadcastId,
    epoch: &'a str,
    settings: &Settings,
) -> Result<Names<'a>, Error> {
    let order = match settings.replay_names {
        ReplayNames::Pseudonyms => record.authors(broadcast).await?,
        _ => Vec::new(),
    };
    Ok(Names {
        anonymous: Anonymous {
            epoch,
            staff_know: settings.staff_know(),
        },
        how: settings.replay_names,
        order: order
            .into_iter()
            .enumerate()
            .map(|(index, id)| (id, index))
            .collect(),
    })
}

/// A replay's index in the archive.
pub async fn archived_index(archive: &dyn Archive, broadcast: &BroadcastId) -> Result<Option<Bytes>, Error> {
    archived(archive, broadcast, INDEX).await
}

/// A chunk in the archive by a name that has passed [`is_name`]; `None` where the index there does not list it:
/// what a crash left behind is not part of the replay.
pub async fn archived_chunk(
    archive: &dyn Archive,
    broadcast: &BroadcastId,
    name: &str,
) -> Result<Option<Bytes>, Error> {
    let index = archived_index(archive, broadcast).await?.unwrap_or_default();
    match chunk::lists(&index, name) {
        Ok(true) => archived(archive, broadcast, name).await,
        Ok(false) => Ok(None),
        Err(error) => Err(Error::ArchivedIndex(error)),
    }
}

async fn archived(
    archive: &dyn Archive,
    broadcast: &BroadcastId,
    name: &str,
) -> Result<Option<Bytes>, Error> {
    match archive.get(&key(broadcast, name)).await {
        Ok(object) => Ok(Some(object.body)),
        Err(ArchiveError::NotFound(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// A segment of the subtitles in the archive.
pub async fn archived_subtitles(
    archive: &dyn Archive,
    broadcast: &BroadcastId,
    msn: u64,
) -> Result<Option<Bytes>, Error> {
    archived(archive, broadcast, &format!("{msn}.vtt")).await
}

fn key(broadcast: &BroadcastId, name: &str) -> String {
    format!("{broadcast}/chat/{name}")
}

#[cfg(test)]
mod tests;
