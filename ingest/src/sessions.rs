//! Who is on air.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use timeline::BroadcastId;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::Left;
use crate::peer::Peer;

/// Sessions that are over and may still be deleted: publishers close their connection first and DELETE after
/// it. A thousand are an hour of one new session every four seconds.
const TOMBSTONES: usize = 1024;
/// A session ends within milliseconds; nobody waits longer for one that does not.
const CLOSING: Duration = Duration::from_secs(5);

pub(crate) struct Sessions {
    max: usize,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    open: HashMap<String, Arc<Handle>>,
    on_air: HashMap<BroadcastId, Arc<Handle>>,
    /// Being negotiated: they count, and hold their broadcast's place.
    pending: HashMap<String, BroadcastId>,
    over: VecDeque<(BroadcastId, String)>,
    shut: bool,
}

impl Table {
    fn admits(&self, broadcast: &BroadcastId, takeover: &Takeover) -> bool {
        self.on_air
            .get(broadcast)
            .is_none_or(|on_air| takeover.may_replace(on_air))
    }
}

/// One session, as HTTP sees it.
pub(crate) struct Handle {
    pub id: String,
    pub broadcast: BroadcastId,
    /// The publisher's ICE ufrag.
    pub ufrag: String,
    pub etag: String,
    pub peer: Arc<Peer>,
    ask: watch::Sender<Option<Left>>,
    over: CancellationToken,
}

#[derive(Debug)]
pub(crate) enum Found {
    Open(Arc<Handle>),
    Over,
    Never,
}

/// Whose place a publisher may take.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Takeover {
    /// Nobody's.
    #[default]
    No,
    /// Whoever has it.
    Anyone,
    /// This session's: its own, from before its connection broke.
    Only(String),
}

impl Takeover {
    fn may_replace(&self, on_air: &Handle) -> bool {
        match self {
            Takeover::No => false,
            Takeover::Anyone => true,
            Takeover::Only(session) => *session == on_air.id,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoPlace {
    /// Somebody else publishes to this broadcast.
    Taken,
    Full,
    ShuttingDown,
}

impl Sessions {
    pub fn new(max: usize) -> Arc<Self> {
        Arc::new(Sessions {
            max,
            table: Mutex::default(),
        })
    }

    /// Holds a place until the reservation is dropped or becomes a session.
    pub fn reserve(
        self: &Arc<Self>,
        broadcast: &BroadcastId,
        takeover: Takeover,
    ) -> Result<Reservation, NoPlace> {
        let mut table = self.table();
        if table.shut {
            return Err(NoPlace::ShuttingDown);
        }
        let pending = table.pending.values().any(|b| b == broadcast);
        if (pending && takeover != Takeover::Anyone) || !table.admits(broadcast, &takeover) {
            return Err(NoPlace::Taken);
        }
        if table.open.len() + table.pending.len() >= self.max {
            return Err(NoPlace::Full);
        }
        let id = Uuid::new_v4().simple().to_string();
        table.pending.insert(id.clone(), broadcast.clone());
        Ok(Reservation {
            sessions: self.clone(),
            id,
            takeover,
        })
    }

    pub fn find(&self, broadcast: &BroadcastId, id: &str) -> Found {
        let table = self.table();
        match table.open.get(id) {
            Some(handle) if handle.broadcast == *broadcast => Found::Open(handle.clone()),
            _ if table.over.iter().any(|(b, over)| b == broadcast && over == id) => Found::Over,
            _ => Found::Never,
        }
    }

    pub fn on_air(&self, broadcast: &BroadcastId) -> Option<Arc<Handle>> {
        self.table().on_air.get(broadcast).cloned()
    }

    /// Admits no more, and gives those that are open.
    pub fn shut(&self) -> Vec<Arc<Handle>> {
        let mut table = self.table();
        table.shut = true;
        table.open.values().cloned().collect()
    }

    /// The session is over, or was never begun.
    pub fn bury(&self, handle: &Handle) {
        let mut table = self.table();
        table.open.remove(&handle.id);
        if table
            .on_air
            .get(&handle.broadcast)
            .is_some_and(|on_air| on_air.id == handle.id)
        {
            table.on_air.remove(&handle.broadcast);
        }
        table
            .over
            .push_back((handle.broadcast.clone(), handle.id.clone()));
        if table.over.len() > TOMBSTONES {
            table.over.pop_front();
        }
        metrics::gauge!("lectern_ingest_sessions").set(table.open.len() as f64);
        handle.over.cancel();
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // Nothing can panic while it is held.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) struct Reservation {
    sessions: Arc<Sessions>,
    pub id: String,
    takeover: Takeover,
}

impl Reservation {
    /// The broadcast's place is this session's now, unless another took it meanwhile. Also gives whoever had it.
    pub fn take(
        self,
        broadcast: BroadcastId,
        ufrag: String,
        peer: Arc<Peer>,
    ) -> Result<(Arc<Handle>, Option<Arc<Handle>>), NoPlace> {
        let handle = Arc::new(Handle {
            id: self.id.clone(),
            broadcast: broadcast.clone(),
            ufrag,
            etag: format!("\"{}\"", Uuid::new_v4().simple()),
            peer,
            ask: watch::Sender::new(None),
            over: CancellationToken::new(),
        });
        let mut table = self.sessions.table();
        if !table.admits(&broadcast, &self.takeover) {
            return Err(NoPlace::Taken);
        }
        // One that comes while the server stops is told to leave at once.
        if table.shut {
            handle.ask(Left::Closed);
        }
        table.open.insert(self.id.clone(), handle.clone());
        metrics::gauge!("lectern_ingest_sessions").set(table.open.len() as f64);
        let before = table.on_air.insert(broadcast, handle.clone());
        Ok((handle, before))
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.sessions.table().pending.remove(&self.id);
    }
}

impl Handle {
    /// Ends the session and waits until it has. Who asks first says how it left.
    pub async fn close(&self, how: Left) {
        self.ask(how);
        let _ = tokio::time::timeout(CLOSING, self.over.cancelled()).await;
    }

    /// Resolves when the session shall end.
    pub async fn asked(&self) -> Left {
        let mut ask = self.ask.subscribe();
        match ask.wait_for(Option::is_some).await.map(|how| *how) {
            Ok(Some(how)) => how,
            _ => Left::Closed,
        }
    }

    fn ask(&self, how: Left) {
        self.ask
            .send_if_modified(|asked| asked.replace(asked.unwrap_or(how)).is_none());
    }
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handle")
            .field("broadcast", &self.broadcast)
            .finish_non_exhaustive()
    }
}
