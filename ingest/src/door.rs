//! What the ingest asks of whoever runs it: who may publish, and where the frames go.

use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use timeline::{BroadcastId, SourceName, Timeline, WallTime, feed};

#[async_trait]
pub trait Door: Send + Sync + 'static {
    /// May this bearer publish to this broadcast, as this source? Asked on POST (before anything is allocated) with
    /// the source that was asked for by name, and on PATCH and DELETE with `None`.
    async fn authorize(
        &self,
        broadcast: &BroadcastId,
        bearer: Option<&str>,
        source: Option<&SourceName>,
    ) -> Result<Grant, Refusal>;

    /// The URL of the server that has this broadcast, where several share them and it is another one: the publisher is
    /// sent there (307). Asked on POST, of who may publish.
    async fn elsewhere(&self, _: &BroadcastId) -> Option<String> {
        None
    }

    /// With what somebody who was granted this comes in at that server: they are let in there as this person and as this source,
    /// to this broadcast alone, and not for long. It goes into the URL, for most of those who are sent to another origin leave
    /// their token behind.
    fn pass(&self, _: &BroadcastId, _: &Grant) -> Option<String> {
        None
    }

    /// What was granted to the bearer of a pass that another server made. Asked on POST, of who has no token.
    async fn readmit(&self, _: &BroadcastId, _pass: &str, _: Option<&SourceName>) -> Result<Grant, Refusal> {
        Err(Refusal::Unauthorized("passes are not taken here".into()))
    }

    /// The offer was good, and it is the publisher's turn: gives the broadcast's publication (creates the broadcast
    /// if the door does so). A broadcast has one for each source on air. By then a publisher that was taken over has
    /// left. Every publication given out hears `left` once.
    async fn admit(&self, broadcast: &BroadcastId, grant: &Grant) -> Result<Arc<dyn Publication>, Refusal>;
}

/// Who publishes, and as what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// Whoever comes again as this person takes their own place over.
    pub person: String,
    /// For people to read.
    pub name: String,
    pub source: SourceName,
    /// By what they come, if the door may take it back before it admits them. For the door alone.
    pub invitation: Option<Invitation>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invitation {
    pub source: SourceName,
    /// Unix seconds.
    pub issued: i64,
}

/// One publisher's time on air.
pub trait Publication: Send + Sync + 'static {
    /// The line, opened at `first` (the capture time of the first picture) unless it is open already. `None` when
    /// the broadcast ended before its first picture: the session is closed.
    fn open(&self, first: WallTime) -> Option<Timeline>;

    fn feed(&self) -> &feed::Producer;

    /// The session is over. Called exactly once, after its last record.
    fn left(&self, how: Left);
}

/// How a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// The publisher said so.
    Deleted,
    /// It closed its connection or fell silent.
    Lost,
    /// Another publisher took its place.
    TakenOver,
    /// We ended it.
    Closed,
}

impl Left {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Left::Deleted => "deleted",
            Left::Lost => "lost",
            Left::TakenOver => "taken over",
            Left::Closed => "closed",
        }
    }
}

/// Why the door stays shut. The text goes to the publisher.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    Unauthorized(String),
    Forbidden(String),
    NotFound,
    /// The broadcast is over.
    Ended,
    Unavailable(String),
}
