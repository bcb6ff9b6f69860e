//! What the rooms ask of whoever runs them: who may enter, and where the line stands.

use async_trait::async_trait;
use timeline::{BroadcastId, Line, WallTime};
use tokio::sync::watch;

use crate::Person;

#[async_trait]
pub trait Gate: Send + Sync + 'static {
    /// May the bearer of this token enter, and as whom? `None` is a watcher without one.
    async fn enter(&self, broadcast: &BroadcastId, token: Option<&str>) -> Result<Pass, Refusal>;

    /// The line of a broadcast; `None` where the broadcast is unknown.
    async fn line(&self, broadcast: &BroadcastId) -> Option<watch::Receiver<Line>>;

    /// Whether a broadcast offers its room as subtitles. That never changes.
    async fn subtitles(&self, _broadcast: &BroadcastId) -> bool {
        false
    }
}

/// Someone who may enter.
#[derive(Clone, Debug)]
pub struct Pass {
    pub person: Person,
    pub line: watch::Receiver<Line>,
    /// Then the token is no good any more and whoever came with it has to leave; `None`: never.
    pub expires: Option<WallTime>,
}

/// Why the gate stays shut. The text goes to the visitor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The token is no good.
    Unauthorized(String),
    /// The token is good, but not for this room.
    Forbidden(String),
    /// No such broadcast.
    NotFound,
}
