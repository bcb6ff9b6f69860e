use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, watch};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::Place;
use crate::Left;
use crate::peer::Peer;

/// A session ends within milliseconds; nobody waits longer for one that does not.
const CLOSING: Duration = Duration::from_secs(5);

/// One session, as HTTP sees it.
pub(crate) struct Handle {
    pub id: String,
    pub place: Place,
    pub peer: Arc<Peer>,
    /// Held during a restart.
    pub ice: Mutex<Generation>,
    turn: CancellationToken,
    ask: watch::Sender<Option<Left>>,
    over: CancellationToken,
}

/// A generation of ICE: from the POST, or a restart, to the next restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Generation {
    /// The publisher's.
    pub ufrag: String,
    pub etag: String,
}

impl Generation {
    pub fn new(ufrag: String) -> Self {
        Generation {
            ufrag,
            etag: format!("\"{}\"", Uuid::new_v4().simple()),
        }
    }
}

impl Handle {
    pub(super) fn new(id: String, place: Place, ufrag: String, peer: Arc<Peer>) -> Self {
        Handle {
            id,
            place,
            peer,
            ice: Mutex::new(Generation::new(ufrag)),
            turn: CancellationToken::new(),
            ask: watch::Sender::new(None),
            over: CancellationToken::new(),
        }
    }

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

    /// Resolves when it is on air.
    pub async fn turn(&self) {
        self.turn.cancelled().await;
    }

    pub(super) fn ask(&self, how: Left) {
        self.ask
            .send_if_modified(|asked| asked.replace(asked.unwrap_or(how)).is_none());
    }

    pub(super) fn go_on_air(&self) {
        self.turn.cancel();
    }

    pub(super) fn is_over(&self) {
        self.over.cancel();
    }
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handle")
            .field("id", &self.id)
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}
