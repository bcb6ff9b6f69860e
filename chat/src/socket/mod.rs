//! One visitor of a room, over a WebSocket or, where those are blocked, over server-sent events: let in or turned away,
//! greeted, then heard and told.

mod besides;
mod events;
mod peer;
mod stream;
mod visitor;

use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::http::request::Parts;
use axum::http::{HeaderName, Request, header};
use axum::response::{IntoResponse, Response};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use timeline::BroadcastId;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use crate::keeper::{Entrance, RoomHandle};
use crate::problem::Problem;
use crate::room::{Code, Resume, clean_name};
use crate::rooms::{Rooms, Slot};
use crate::wire::{Close, MAX_FRAME_BYTES};
use crate::{Error, Pass, Refusal};
use besides::Waits;
use events::Events;
pub use events::resume;
use peer::{End, Peer, Wire};
use stream::Stream;
use visitor::{Never, Stay, Visitor};

/// Each connection holds as much for what it might send, which is little: a message is a few hundred bytes, and what
/// is longer gets memory of its own.
const READ_BUFFER_BYTES: usize = 512;

/// Control frames leave at once, …
const WRITE_BUFFER_BYTES: usize = 0;

/// … and where they cannot, so many of them wait: the answers to some pings.
const MAX_WRITE_BUFFER_BYTES: usize = 1024;

/// Whoever is cut off comes back within this time, each at another moment.
const LEAST_RETRY_MS: u64 = 500;
const MOST_RETRY_MS: u64 = 5_000;

/// A request to become a WebSocket. axum's own checks it and answers; the connection behind it is ours.
pub struct Upgrade {
    handshake: WebSocketUpgrade,
    upgraded: OnUpgrade,
}

impl<S: Send + Sync> FromRequestParts<S> for Upgrade {
    type Rejection = WebSocketUpgradeRejection;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        // One that comes to nothing, in place of the real one.
        let mut upgraded = hyper::upgrade::on(Request::new(()));
        if let Some(real) = parts.extensions.get_mut::<OnUpgrade>() {
            std::mem::swap(real, &mut upgraded);
        }
        let handshake = WebSocketUpgrade::from_request_parts(parts, state).await?;
        Ok(Upgrade { handshake, upgraded })
    }
}

pub fn upgrade(rooms: Rooms, broadcast: BroadcastId, upgrade: Upgrade, slot: Slot) -> Response {
    let Upgrade { handshake, upgraded } = upgrade;
    let visits = rooms.shared().visits.clone();
    visits.spawn(async move {
        if let Ok(upgraded) = upgraded.await {
            serve(rooms, broadcast, upgraded).await;
        }
        drop(slot);
    });
    handshake.on_upgrade(async |_| {})
}

fn limits() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(WRITE_BUFFER_BYTES)
        .max_write_buffer_size(MAX_WRITE_BUFFER_BYTES)
        .max_message_size(Some(MAX_FRAME_BYTES))
        .max_frame_size(Some(MAX_FRAME_BYTES))
}

async fn serve(rooms: Rooms, broadcast: BroadcastId, upgraded: Upgraded) {
    let shared = rooms.shared();
    let socket = Stream::new(TokioIo::new(upgraded), limits());
    let mut peer = Peer::new(
        Wire::Socket(socket),
        shared.config.clone(),
        shared.closing.clone(),
    );
    let end = match visit(&rooms, &broadcast, &mut peer).await {
        Ok(never) => match never {},
        Err(end) => end,
    };
    say_good_bye(&broadcast, &mut peer, end).await;
}

/// Enters, or says why not. What is let in is told in the body of the answer, until either end has enough.
pub async fn events(
    rooms: Rooms,
    broadcast: BroadcastId,
    token: Option<&str>,
    resume: Option<Resume>,
    slot: Slot,
) -> Result<Response, Problem> {
    let mut pass = rooms.shared().gate.enter(&broadcast, token).await?;
    pass.person.name = clean_name(&pass.person.name);
    let (room, entrance) = rooms.enter(&broadcast, &pass.person, resume).await?;
    let entrance = entrance.map_err(|refused| Problem::refused(&refused))?;
    let (out, body) = Events::open();
    let visits = rooms.shared().visits.clone();
    visits.spawn(async move {
        tell(&rooms, &broadcast, out, room, pass, entrance).await;
        drop(slot);
    });
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store, no-transform"),
        // nginx would gather them.
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    Ok((headers, body).into_response())
}

async fn tell(
    rooms: &Rooms,
    broadcast: &BroadcastId,
    mut out: Events,
    room: RoomHandle,
    pass: Pass,
    entrance: Entrance,
) {
    let back_in = rand::random_range(LEAST_RETRY_MS..=MOST_RETRY_MS);
    if out.hint(back_in).await.is_err() {
        return;
    }
    let shared = rooms.shared();
    let mut peer = Peer::new(Wire::Events(out), shared.config.clone(), shared.closing.clone());
    let closing = peer.closing.clone();
    let visit = async {
        let (mut visitor, stay) = greet(rooms, broadcast, &mut peer, room, pass, entrance).await?;
        visitor.stay(stay).await
    };
    let end = match closing.run_until_cancelled(visit).await {
        Some(Ok(never)) => match never {},
        Some(Err(end)) => end,
        None => End::Close(Close::GoingAway),
    };
    say_good_bye(broadcast, &mut peer, end).await;
}

async fn say_good_bye(broadcast: &BroadcastId, peer: &mut Peer, end: End) {
    if let End::Close(close) = end {
        tracing::debug!(%broadcast, code = close.code(), reason = close.reason(), "connection to the room closed");
        metrics::counter!("lectern_chat_closed_total", "code" => close.code().to_string()).increment(1);
        Box::pin(peer.close(close)).await;
    }
}

async fn visit(rooms: &Rooms, broadcast: &BroadcastId, peer: &mut Peer) -> Result<Never, End> {
    let closing = peer.closing.clone();
    // Large and soon over: its memory is given back.
    let entering = Box::pin(enter(rooms, broadcast, peer));
    let (mut visitor, stay) = closing
        .run_until_cancelled_owned(entering)
        .await
        .ok_or(End::Close(Close::GoingAway))??;
    visitor.stay(stay).await
}

async fn enter<'a>(
    rooms: &'a Rooms,
    broadcast: &BroadcastId,
    peer: &'a mut Peer,
) -> Result<(Visitor<'a>, Stay), End> {
    let join = Duration::from_millis(peer.config.join_ms);
    let (token, resume) = timeout(join, peer.first_frame())
        .await
        .map_err(|_| End::Close(Close::Malformed))??;
    let mut pass = match rooms.shared().gate.enter(broadcast, token.as_deref()).await {
        Ok(pass) => pass,
        Err(refusal) => return Err(peer.turn_away(refusal).await),
    };
    pass.person.name = clean_name(&pass.person.name);
    let (room, entrance) = match rooms.enter(broadcast, &pass.person, resume).await {
        Ok((room, Ok(entrance))) => (room, entrance),
        Ok((_, Err(refused))) => {
            let close = if refused.code == Code::Banned {
                Close::Banned
            } else {
                Close::TryAgainLater
            };
            return Err(peer.refuse_and_close(&refused, close).await);
        }
        Err(Error::Unknown) => return Err(peer.turn_away(Refusal::NotFound).await),
        Err(error) => return Err(peer.fail(broadcast, &error).await),
    };
    greet(rooms, broadcast, peer, room, pass, entrance).await
}

/// Whoever is let in is shown the room.
async fn greet<'a>(
    rooms: &'a Rooms,
    broadcast: &BroadcastId,
    peer: &'a mut Peer,
    room: RoomHandle,
    mut pass: Pass,
    entrance: Entrance,
) -> Result<(Visitor<'a>, Stay), End> {
    let mut visitor = Visitor {
        rooms,
        peer,
        room,
        person: pass.person.clone(),
        last: 0,
        lagged: false,
        waiting: None,
    };
    visitor.greet(rooms, broadcast, &mut pass, &entrance).await?;
    // The rest of what they were greeted with is let go of.
    let ping = Duration::from_millis(visitor.peer.config.ping_ms);
    let waits = Waits {
        expires: pass.expires,
        line: pass.line,
        presence: entrance.presence,
        ping,
        next_ping: Instant::now() + ping,
        closing: visitor.peer.closing.clone(),
    };
    let stay = Stay {
        told: entrance.told,
        waits,
        _present: entrance._present,
    };
    Ok((visitor, stay))
}
