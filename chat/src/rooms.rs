//! The front door: the rooms that are in memory, and how they come and go.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use timeline::{Archive, ArchiveError, BroadcastId, Line, TextSegments, WallTime};
use tokio::sync::{OnceCell, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::broker::Broker;
use crate::clock::now;
use crate::files::Files;
use crate::guests::Guests;
use crate::keeper::{self, Done, Entrance, Keeper, RoomHandle, Standing, Tools};
use crate::record::{Record, RoomRow};
use crate::replay::{self, Replay, Sources};
use crate::room::{Action, Buckets, Refused, Resume, Room};
use crate::{Config, Error, Gate, Person};

/// Connections that have not said good-bye by then are cut.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// A room that leaves the memory in this very moment is taken up again; twice in a row is chance enough.
const ATTEMPTS: usize = 3;

/// How often is looked for rooms that have been kept long enough. Retention counts in days.
const RETENTION_CHECK: Duration = Duration::from_secs(3_600);

const DAY_MS: i64 = 86_400_000;

/// All rooms of this server. Cheap to clone.
#[derive(Clone)]
pub struct Rooms(Arc<Shared>);

pub(crate) struct Shared {
    pub config: Config,
    pub record: Record,
    /// Where other nodes serve the same rooms.
    pub broker: Option<Broker>,
    pub archive: Arc<dyn Archive>,
    pub gate: Arc<dyn Gate>,
    pub files: Arc<Files>,
    pub guests: Guests,
    /// One cell per room, so that a room is opened once however many come at the same time. No more than there are
    /// broadcasts.
    rooms: Mutex<HashMap<BroadcastId, Arc<OnceCell<RoomHandle>>>>,
    connections: AtomicUsize,
    /// What people asked without a connection of their own.
    requests: Mutex<Buckets>,
    /// Cancelled first: connections say good-bye.
    pub closing: CancellationToken,
    pub visits: TaskTracker,
    /// Cancelled then: rooms finish what they were asked.
    stopping: CancellationToken,
    keepers: TaskTracker,
}

/// What several servers have in common.
#[derive(Clone)]
pub struct Common {
    /// `postgres://…`: the record of the rooms.
    pub database: String,
    /// `redis://…` or `rediss://…`: their order and their deliveries.
    pub redis: String,
    /// This server's own: for what it is sent, until the archive has it.
    pub folder: PathBuf,
}

impl Common {
    /// Whether these are URLs of what is needed. Nothing is connected.
    pub fn check(&self) -> Result<(), Error> {
        if !["postgres://", "postgresql://"]
            .iter()
            .any(|scheme| self.database.starts_with(scheme))
        {
            return Err(Error::Connect("the URL begins with postgres://".into()));
        }
        Ok(Broker::check_url(&self.redis)?)
    }
}

/// One of the connections that this server has room for.
pub(crate) struct Slot(Arc<Shared>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Rooms {
    /// Opens the record. Replays that a crash left behind are brought up to date in the background.
    pub async fn open(
        config: Config,
        database: &Path,
        archive: Arc<dyn Archive>,
        gate: Arc<dyn Gate>,
    ) -> Result<Rooms, Error> {
        config.check()?;
        let record = Record::open(database).await?;
        let folder = database.parent().unwrap_or(Path::new("."));
        Rooms::begin(config, (record, None), folder, archive, gate).await
    }

    /// The same where any number of servers serve the rooms together: what is said at one is heard at all of them.
    pub async fn share(
        config: Config,
        common: &Common,
        archive: Arc<dyn Archive>,
        gate: Arc<dyn Gate>,
    ) -> Result<Rooms, Error> {
        config.check()?;
        let record = Record::connect(&common.database).await?;
        let broker = Broker::open(&common.redis).await?;
        Rooms::begin(config, (record, Some(broker)), &common.folder, archive, gate).await
    }

    async fn begin(
        config: Config,
        (record, broker): (Record, Option<Broker>),
        folder: &Path,
        archive: Arc<dyn Archive>,
        gate: Arc<dyn Gate>,
    ) -> Result<Rooms, Error> {
        let unsettled = record.unsettled().await?;
        let folder = folder.to_owned();
        let files = Files::new(config.files.clone(), record.clone(), archive.clone(), folder);
        let files = Arc::new(files);
        let rooms = Rooms(Arc::new(Shared {
            config,
            record,
            broker,
            archive,
            gate,
            files,
            guests: Guests::default(),
            rooms: Mutex::default(),
            connections: AtomicUsize::new(0),
            requests: Mutex::default(),
            closing: CancellationToken::new(),
            visits: TaskTracker::new(),
            stopping: CancellationToken::new(),
            keepers: TaskTracker::new(),
        }));
        rooms.spawn(rooms.clone().retain());
        if !unsettled.is_empty() {
            rooms.spawn(rooms.clone().settle(unsettled));
        }
        let files = rooms.0.files.clone();
        rooms.spawn(async move { files.keep_clean().await });
        Ok(rooms)
    }

    /// Whether the other servers of the same rooms can be reached, if there are any.
    pub fn is_joined(&self) -> bool {
        self.0.broker.as_ref().is_none_or(Broker::is_up)
    }

    pub fn router(&self) -> axum::Router {
        crate::routes::router(self.clone())
    }

    /// The broadcast is over: its room is read-only from now on. Returns once every replay chunk and the index are
    /// in the archive.
    pub async fn end(&self, broadcast: &BroadcastId) -> Result<(), Error> {
        for _ in 0..ATTEMPTS {
            let room = self.room(broadcast).await?;
            if room.close().await.is_some() {
                if self.0.broker.is_some() {
                    // Another node may have sealed most of it.
                    room.replay.take_over().await?;
                }
                return room.replay.end().await;
            }
        }
        Err(Error::Closing)
    }

    /// Closes all connections (1001), stores what was accepted, closes the record.
    pub async fn shutdown(&self) {
        self.0.closing.cancel();
        self.0.visits.close();
        if tokio::time::timeout(LAST_WORDS, self.0.visits.wait())
            .await
            .is_err()
        {
            tracing::info!("some connections to rooms were still open and are cut");
        }
        self.0.stopping.cancel();
        self.0.keepers.close();
        self.0.keepers.wait().await;
        self.0.record.close().await;
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.0
    }

    /// A place for one more connection, if there is one.
    pub(crate) fn slot(&self) -> Option<Slot> {
        let max = self.0.config.max_connections;
        let taken = self
            .0
            .connections
            .try_update(Ordering::AcqRel, Ordering::Acquire, |n| {
                (n < max).then_some(n + 1)
            });
        taken.ok().map(|_| Slot(self.0.clone()))
    }

    /// Enters a room, wherever it is in its life.
    pub(crate) async fn enter(
        &self,
        broadcast: &BroadcastId,
        by: &Person,
        resume: Option<Resume>,
    ) -> Result<(RoomHandle, Result<Entrance, Refused>), Error> {
        for _ in 0..ATTEMPTS {
            let room = self.room(broadcast).await?;
            if let Some(entrance) = room.enter(by, resume.clone()).await {
                return Ok((room, entrance));
            }
        }
        Err(Error::Closing)
    }

    /// How a room stands, for one reader.
    pub(crate) async fn stand(&self, broadcast: &BroadcastId, by: &Person) -> Result<Standing, Error> {
        for _ in 0..ATTEMPTS {
            if let Some(standing) = self.room(broadcast).await?.stand(by).await {
                return Ok(standing);
            }
        }
        Err(Error::Closing)
    }

    /// Counts a request, as a connection counts its frames.
    pub(crate) fn count_request(&self, broadcast: &BroadcastId, by: &Person) -> Result<(), Refused> {
        let rate = self.0.config.frame_rate(by.role);
        let mut requests = self.0.requests.lock().unwrap_or_else(PoisonError::into_inner);
        let now = now();
        Ok(requests.take(&format!("{broadcast}/{}", by.id), rate, now)?)
    }

    /// Does what somebody asks of a room that they are in.
    pub(crate) async fn act(&self, room: &RoomHandle, by: &Person, reference: &str, action: Action) -> Done {
        self.ask(room, by, reference, action).await.await
    }

    /// The room has heard what somebody asks of it; the answer comes when it comes.
    pub(crate) async fn ask(
        &self,
        room: &RoomHandle,
        by: &Person,
        reference: &str,
        action: Action,
    ) -> BoxFuture<'static, Done> {
        let unavailable = || Err(Refused::unavailable());
        let (shared, room, by, reference) = (self.0.clone(), room.clone(), by.clone(), reference.to_owned());
        if let Action::Say(say) = &action
            && !say.files.is_empty()
        {
            let names = say.files.clone();
            return Box::pin(async move {
                // Held until the message is kept: nothing that it names goes meanwhile.
                let named = shared.files.check(&room.broadcast, &by.id, &names).await?;
                match room.act(&by, &reference, action, named.files.clone()).await {
                    Some(answer) => answer.await.unwrap_or_else(|_| unavailable()),
                    None => unavailable(),
                }
            });
        }
        match room.act(&by, &reference, action, Vec::new()).await {
            Some(answer) => Box::pin(async move { answer.await.unwrap_or_else(|_| unavailable()) }),
            None => Box::pin(async move { unavailable() }),
        }
    }

    /// The room of a broadcast, opened if it is not in memory.
    pub(crate) async fn room(&self, broadcast: &BroadcastId) -> Result<RoomHandle, Error> {
        for _ in 0..ATTEMPTS {
            if self.0.closing.is_cancelled() {
                return Err(Error::Closing);
            }
            let cell = self.0.rooms().entry(broadcast.clone()).or_default().clone();
            let opened = cell.get_or_try_init(|| self.take_up(broadcast)).await.cloned();
            drop(cell);
            match opened {
                Ok(room) if !room.is_closed() => return Ok(room),
                Ok(_) => self.0.forget(broadcast),
                Err(error) => {
                    self.0.forget(broadcast);
                    return Err(error);
                }
            }
        }
        Err(Error::Closing)
    }

    /// The replay's index, and whether the broadcast is over. `None`: there is no such broadcast.
    pub(crate) async fn replay_index(&self, broadcast: &BroadcastId) -> Result<Option<(Bytes, bool)>, Error> {
        match self.replay(broadcast).await? {
            Where::Nowhere => Ok(None),
            Where::Memory(replay) => Ok(Some((replay.index().await?, replay.is_over()))),
            Where::Archive => {
                let index = replay::archived_index(&*self.0.archive, broadcast).await?;
                Ok(index.map(|index| (index, true)))
            }
        }
    }

    /// A chunk of the replay; `None` where the index does not list it.
    pub(crate) async fn replay_chunk(
        &self,
        broadcast: &BroadcastId,
        name: &str,
    ) -> Result<Option<Bytes>, Error> {
        if !replay::is_name(name) {
            return Ok(None);
        }
        match self.replay(broadcast).await? {
            Where::Nowhere => Ok(None),
            Where::Memory(replay) => replay.chunk(name).await,
            Where::Archive => replay::archived_chunk(&*self.0.archive, broadcast, name).await,
        }
    }

    /// A segment of the subtitles, and whether the broadcast is over; `None` where there is none.
    pub(crate) async fn subtitles(
        &self,
        broadcast: &BroadcastId,
        msn: u64,
    ) -> Result<Option<(Bytes, bool)>, Error> {
        let (segment, over) = match self.replay(broadcast).await? {
            Where::Nowhere => (None, true),
            Where::Memory(replay) => (replay.subtitles(msn).await?, replay.is_over()),
            Where::Archive => (
                replay::archived_subtitles(&*self.0.archive, broadcast, msn).await?,
                true,
            ),
        };
        Ok(segment.map(|segment| (segment, over)))
    }

    async fn replay(&self, broadcast: &BroadcastId) -> Result<Where, Error> {
        let in_memory = self.0.rooms().get(broadcast).and_then(|cell| cell.get().cloned());
        match in_memory {
            Some(room) if !room.is_closed() => return Ok(Where::Memory(room.replay)),
            _ if self.0.record.is_settled(broadcast).await? => return Ok(Where::Archive),
            _ => {}
        }
        match self.room(broadcast).await {
            Ok(room) => Ok(Where::Memory(room.replay)),
            Err(Error::Unknown) => Ok(Where::Nowhere),
            Err(error) => Err(error),
        }
    }

    async fn take_up(&self, broadcast: &BroadcastId) -> Result<RoomHandle, Error> {
        let shared = &self.0;
        let line = self.line(broadcast).await?;
        let row = match &shared.broker {
            Some(broker) => keeper::take_up(broker, &shared.record, broadcast).await?,
            None => shared.record.room(broadcast).await?,
        };
        let kept = shared.record.kept(broadcast, shared.config.recent).await?;
        let common = shared.broker.clone().map(|broker| {
            keeper::Common::new(
                broker,
                shared.record.clone(),
                broadcast.clone(),
                row.epoch.clone(),
                kept.last,
            )
        });
        let settings = watch::Sender::new(kept.state.settings.clone());
        let mut room = Room::new(row.epoch.clone(), shared.config.clone(), kept);
        if row.ended {
            room.close();
        }
        let (record, archive) = (shared.record.clone(), shared.archive.clone());
        let sources = Sources {
            broadcast: broadcast.clone(),
            record: record.clone(),
            archive,
            line: line.clone(),
            settings: settings.subscribe(),
            subtitles: shared.gate.subtitles(broadcast).await,
        };
        let replay = Arc::new(Replay::load(row, sources, &shared.config).await?);
        let tools = Tools {
            broadcast: broadcast.clone(),
            record,
            replay: replay.clone(),
            line,
            settings,
            files: shared.files.clone(),
        };
        let (keeper, handle) = Keeper::new(room, shared.config.clone(), tools);
        let keeper = keeper.shared(common);
        let (shared, broadcast, stopping) = (shared.clone(), broadcast.clone(), shared.stopping.clone());
        self.0.keepers.spawn(async move {
            tokio::select! {
                () = keeper.run(stopping) => {}
                () = replay.run() => {}
            }
            shared.forget(&broadcast);
        });
        Ok(handle)
    }

    /// The line that the gate knows. A replay that was sealed needs none: it is over.
    async fn line(&self, broadcast: &BroadcastId) -> Result<watch::Receiver<Line>, Error> {
        if let Some(line) = self.0.gate.line(broadcast).await {
            return Ok(line);
        }
        match self.0.record.find_room(broadcast).await? {
            Some(RoomRow { ended: true, .. }) => Ok(watch::channel(Line::Waiting).1),
            _ => Err(Error::Unknown),
        }
    }

    /// Until the rooms close.
    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let closing = self.0.closing.clone();
        self.0
            .keepers
            .spawn(async move { closing.run_until_cancelled(work).await });
    }

    /// Erases rooms that have been kept long enough after their end.
    async fn retain(self) {
        let mut checks = tokio::time::interval(RETENTION_CHECK);
        loop {
            checks.tick().await;
            if let Err(error) = self.erase_old(now()).await {
                tracing::error!(%error, "rooms that were kept long enough could not be erased; it is tried again");
            }
        }
    }

    /// Erases what was said in rooms whose retention is over.
    pub async fn erase_old(&self, now: WallTime) -> Result<(), Error> {
        for (broadcast, ended) in self.0.record.ended_rooms().await? {
            let settings = self.0.record.state(&broadcast, u64::MAX).await?.settings;
            let is_over = |days: u32| now.unix_millis() - ended >= i64::from(days) * DAY_MS;
            if settings.retention_days.is_some_and(is_over) {
                tracing::info!(%broadcast, "the room was kept long enough and is erased");
                self.room(&broadcast)
                    .await?
                    .clear()
                    .await
                    .ok_or(Error::Closing)??;
                self.0.files.clear(&broadcast).await?;
            }
        }
        Ok(())
    }

    /// In memory, rooms bring their replays up to date by themselves.
    async fn settle(self, unsettled: Vec<BroadcastId>) {
        for broadcast in unsettled {
            if let Err(error) = self.end(&broadcast).await {
                tracing::error!(%broadcast, %error, "a replay could not be brought up to date");
            }
        }
    }
}

#[async_trait]
impl TextSegments for Rooms {
    async fn keep(&self, broadcast: &BroadcastId, msn: u64) -> Result<(), ArchiveError> {
        let kept = async { self.room(broadcast).await?.replay.keep_subtitles(msn).await };
        kept.await.map_err(|error| match error {
            Error::Archive(error) => error,
            error => ArchiveError::Io {
                key: format!("{broadcast}/chat/{msn}.vtt"),
                source: std::io::Error::other(error),
            },
        })
    }
}

/// Where a broadcast's replay is answered from.
enum Where {
    Memory(Arc<Replay>),
    Archive,
    Nowhere,
}

impl Shared {
    /// Forgets a room that has left the memory, or that could not be opened and that nobody else is just opening.
    fn forget(&self, broadcast: &BroadcastId) {
        let mut rooms = self.rooms();
        let is_gone = |cell: &Arc<OnceCell<RoomHandle>>| match cell.get() {
            Some(room) => room.is_closed(),
            None => Arc::strong_count(cell) == 1,
        };
        if rooms.get(broadcast).is_some_and(is_gone) {
            rooms.remove(broadcast);
        }
    }

    fn rooms(&self) -> MutexGuard<'_, HashMap<BroadcastId, Arc<OnceCell<RoomHandle>>>> {
        // Nothing that can panic is done while it is held.
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
