//! The doors of the stages: who may publish, who may enter a room.

use std::sync::Arc;

use async_trait::async_trait;
use timeline::{BroadcastId, Line, SourceName, Timeline, WallTime, feed};
use tokio::sync::watch;

use crate::auth::{Auth, Claims, Denied, Role};
use crate::broadcasts::{Broadcast, Broadcasts, Defaults, Refused, Wanted};

/// In the year 2255; `WallTime` ends a few years later.
const LAST_SECOND: i64 = 9_000_000_000;

pub struct Doors {
    pub auth: Arc<Auth>,
    pub broadcasts: Broadcasts,
    /// Whether the first publish makes the broadcast.
    pub create_on_publish: bool,
    pub defaults: Defaults,
}

#[async_trait]
impl ingest::Door for Doors {
    /// The person is the token's subject. Each token that is issued has its own: whoever publishes with the same
    /// token is the same person, on whatever machine.
    async fn authorize(
        &self,
        id: &BroadcastId,
        bearer: Option<&str>,
        source: Option<&SourceName>,
    ) -> Result<ingest::Grant, ingest::Refusal> {
        let claims = self
            .auth
            .verify(bearer)
            .map_err(|e| ingest::Refusal::Unauthorized(e.to_string()))?;
        if claims.role != Role::Host || !claims.covers(id) {
            return Err(ingest::Refusal::Forbidden(format!(
                "only a host of {id} may publish to it"
            )));
        }
        // A host publishes as whatever they like: camera, screen, a second camera.
        Ok(ingest::Grant {
            person: claims.sub,
            source: source.cloned().unwrap_or_default(),
        })
    }

    async fn admit(&self, id: &BroadcastId) -> Result<Arc<dyn ingest::Publication>, ingest::Refusal> {
        let broadcast = match self.broadcasts.get(id) {
            Some(broadcast) => broadcast,
            None if self.create_on_publish => self.create(id).await?,
            None => return Err(ingest::Refusal::NotFound),
        };
        if broadcast.is_ending() {
            return Err(ingest::Refusal::Ended);
        }
        broadcast.arrive();
        let feed = broadcast.source();
        Ok(Arc::new(Publication { broadcast, feed }))
    }
}

impl Doors {
    async fn create(&self, id: &BroadcastId) -> Result<Arc<Broadcast>, ingest::Refusal> {
        let wanted = Wanted {
            id: id.clone(),
            title: id.to_string(),
            guests: self.defaults.guests,
            latency: self.defaults.latency,
            part_hold_back_ms: self.defaults.part_hold_back_ms,
            chat_subtitles: self.defaults.chat_subtitles,
        };
        match self.broadcasts.create(wanted).await {
            Ok(broadcast) => Ok(broadcast),
            // Two first publishes at once: the other one has made it.
            Err(Refused::Exists(_)) => self.broadcasts.get(id).ok_or(ingest::Refusal::NotFound),
            Err(error) => Err(ingest::Refusal::Unavailable(error.to_string())),
        }
    }

    /// Who comes, and until when. A watcher without a token is a viewer: watching is open.
    fn person(
        &self,
        id: &BroadcastId,
        token: Option<&str>,
    ) -> Result<(chat::Person, Option<WallTime>), chat::Refusal> {
        let claims = match self.auth.verify(token) {
            Ok(claims) => claims,
            Err(Denied::Missing) => return Ok((anonymous(), None)),
            Err(denied) => return Err(chat::Refusal::Unauthorized(denied.to_string())),
        };
        if !claims.covers(id) {
            return Err(chat::Refusal::Forbidden(format!("this token is not for {id}")));
        }
        let expires = WallTime::from_unix_millis(claims.exp.clamp(0, LAST_SECOND) * 1000);
        Ok((person(claims), Some(expires)))
    }
}

fn anonymous() -> chat::Person {
    let id = format!("viewer-{}", uuid::Uuid::new_v4().simple());
    chat::Person {
        id,
        name: "Viewer".into(),
        role: chat::Role::Viewer,
    }
}

fn person(claims: Claims) -> chat::Person {
    let role = match claims.role {
        Role::Host => chat::Role::Host,
        Role::Moderator | Role::Operator => chat::Role::Moderator,
        Role::Participant => chat::Role::Participant,
        Role::Viewer => chat::Role::Viewer,
    };
    chat::Person {
        id: claims.sub,
        name: claims.name,
        role,
    }
}

struct Publication {
    broadcast: Arc<Broadcast>,
    feed: feed::Producer,
}

impl ingest::Publication for Publication {
    fn open(&self, first: WallTime) -> Option<Timeline> {
        self.broadcast.open_line(first)
    }

    fn feed(&self) -> &feed::Producer {
        &self.feed
    }

    fn left(&self, how: ingest::Left) {
        self.broadcast.leave(how == ingest::Left::Deleted);
    }
}

#[async_trait]
impl chat::Gate for Doors {
    async fn enter(&self, id: &BroadcastId, token: Option<&str>) -> Result<chat::Pass, chat::Refusal> {
        let (person, expires) = self.person(id, token)?;
        let broadcast = self.broadcasts.get(id).ok_or(chat::Refusal::NotFound)?;
        Ok(chat::Pass {
            person,
            line: broadcast.line(),
            expires,
        })
    }

    async fn line(&self, id: &BroadcastId) -> Option<watch::Receiver<Line>> {
        Some(self.broadcasts.get(id)?.line())
    }

    async fn subtitles(&self, id: &BroadcastId) -> bool {
        self.broadcasts
            .get(id)
            .is_some_and(|broadcast| broadcast.chat_subtitles)
    }
}
