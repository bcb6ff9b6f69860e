//! Who is on air, and who waits for it: one session for each source of a broadcast.

mod handle;
mod table;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use timeline::{BroadcastId, SourceName};
use uuid::Uuid;

use crate::peer::Peer;
use crate::{Grant, Left, SecondPublisher};

use table::{Claim, Table};

pub(crate) use handle::{Generation, Handle};

/// What a session is for: no two are on air with the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    pub broadcast: BroadcastId,
    pub source: SourceName,
}

pub(crate) struct Sessions {
    max: usize,
    second: SecondPublisher,
    table: Mutex<Table>,
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
    No,
    /// Their own: that of the same person.
    #[default]
    Own,
    /// Whoever has it.
    Anyone,
    /// This session's alone: its own, from before its connection broke. Two that publish with one token do not
    /// throw each other out for ever this way.
    Only(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoPlace {
    /// Somebody else is on air as this source.
    Taken,
    /// So many wait already.
    Crowded,
    Full,
    ShuttingDown,
}

/// Where a session begins.
pub(crate) enum Seat {
    /// On air. What it replaces is still there.
    OnAir { before: Vec<Arc<Handle>> },
    /// Behind others. What it replaces waited in its stead.
    Queued { before: Vec<Arc<Handle>> },
}

impl Sessions {
    pub fn new(max: usize, second: SecondPublisher) -> Arc<Self> {
        Arc::new(Sessions {
            max,
            second,
            table: Mutex::default(),
        })
    }

    /// Holds a place until the reservation is dropped or becomes a session.
    pub fn reserve(
        self: &Arc<Self>,
        broadcast: &BroadcastId,
        grant: Grant,
        takeover: Takeover,
    ) -> Result<Reservation, NoPlace> {
        let mut table = self.table();
        if table.shut {
            return Err(NoPlace::ShuttingDown);
        }
        let Grant { person, source, .. } = grant;
        let claim = Claim {
            number: table.next_number(),
            place: Place {
                broadcast: broadcast.clone(),
                source,
            },
            person,
            takeover,
        };
        table.may_come(&claim, self.second)?;
        if table.open.len() + table.pending.len() >= self.max {
            return Err(NoPlace::Full);
        }
        let id = Uuid::new_v4().simple().to_string();
        table.pending.insert(id.clone(), claim.clone());
        Ok(Reservation {
            sessions: self.clone(),
            id,
            claim,
        })
    }

    pub fn find(&self, broadcast: &BroadcastId, id: &str) -> Found {
        let table = self.table();
        match table.open.get(id) {
            Some(handle) if handle.place.broadcast == *broadcast => Found::Open(handle.clone()),
            _ if table.over.iter().any(|(b, over)| b == broadcast && over == id) => Found::Over,
            _ => Found::Never,
        }
    }

    /// The broadcast's sessions, of whatever source.
    pub fn of(&self, broadcast: &BroadcastId) -> Vec<Arc<Handle>> {
        let table = self.table();
        let open = table.open.values();
        open.filter(|handle| handle.place.broadcast == *broadcast)
            .cloned()
            .collect()
    }

    /// Admits no more, and gives those that are open.
    pub fn shut(&self) -> Vec<Arc<Handle>> {
        let mut table = self.table();
        table.shut = true;
        table.open.values().cloned().collect()
    }

    /// The session is over, or was never begun. Whoever waited for its place has it now.
    pub fn bury(&self, handle: &Handle) {
        self.table().bury(handle);
        handle.is_over();
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // Nothing can panic while it is held.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) struct Reservation {
    sessions: Arc<Sessions>,
    pub id: String,
    claim: Claim,
}

impl Reservation {
    /// It is a session now, on air or behind others, unless somebody else took the place meanwhile.
    pub fn take(self, ufrag: String, peer: Arc<Peer>) -> Result<(Arc<Handle>, Seat), NoPlace> {
        let handle = Arc::new(Handle::new(
            self.id.clone(),
            self.claim.place.clone(),
            ufrag,
            peer,
        ));
        let mut table = self.sessions.table();
        let seat = table.seat(&self.claim, handle.clone(), self.sessions.second)?;
        // One that comes while the server stops is told to leave at once.
        if table.shut {
            handle.ask(Left::Closed);
        }
        Ok((handle, seat))
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.sessions.table().pending.remove(&self.id);
    }
}
