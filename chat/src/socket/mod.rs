//! One visitor of a room, over a WebSocket: let in or turned away, greeted, then heard and told.

mod peer;
mod visitor;

use std::time::Duration;

use axum::extract::ws::{WebSocket, WebSocketUpgrade};
use axum::response::Response;
use timeline::BroadcastId;
use tokio::time::timeout;

use crate::room::{Code, clean_name};
use crate::rooms::{Rooms, Slot};
use crate::wire::{self, Close, MAX_FRAME_BYTES};
use crate::{Error, Refusal};
use peer::{End, Peer};
use visitor::{Never, Visitor};

/// axum's 128 KiB would cost 138 KB of memory and 1.7 times the CPU per connection.
const READ_BUFFER_BYTES: usize = 4 * 1024;

/// Nothing is held back: frames are gathered before, once for the whole room.
const WRITE_BUFFER_BYTES: usize = 0;

/// The largest frame is the first one: a page of events, and how the room stands, whose lists are bounded. What does not
/// leave waits in the room, not here.
const MAX_WRITE_BUFFER_BYTES: usize = 8 * wire::PAGE_BYTES;

pub fn upgrade(rooms: Rooms, broadcast: BroadcastId, upgrade: WebSocketUpgrade, slot: Slot) -> Response {
    upgrade
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(WRITE_BUFFER_BYTES)
        .max_write_buffer_size(MAX_WRITE_BUFFER_BYTES)
        .max_message_size(MAX_FRAME_BYTES)
        .max_frame_size(MAX_FRAME_BYTES)
        .on_upgrade(move |socket| {
            let visits = rooms.shared().visits.clone();
            let visit = serve(rooms, broadcast, socket);
            visits.track_future(async move {
                visit.await;
                drop(slot);
            })
        })
}

async fn serve(rooms: Rooms, broadcast: BroadcastId, socket: WebSocket) {
    let mut peer = Peer::new(socket, rooms.shared().config.clone());
    let closing = rooms.shared().closing.clone();
    let visit = visit(&rooms, &broadcast, &mut peer);
    // A write that hangs must not hold up the stop either.
    let end = match closing.run_until_cancelled(visit).await {
        Some(Ok(never)) => match never {},
        Some(Err(end)) => end,
        None => End::Close(Close::GoingAway),
    };
    if let End::Close(close) = end {
        tracing::debug!(%broadcast, code = close.code(), reason = close.reason(), "connection to the room closed");
        metrics::counter!("lectern_chat_closed_total", "code" => close.code().to_string()).increment(1);
        peer.close(close).await;
    }
}

async fn visit(rooms: &Rooms, broadcast: &BroadcastId, peer: &mut Peer) -> Result<Never, End> {
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
    let person = pass.person.clone();
    let deliveries = metrics::counter!("lectern_chat_deliveries_total", "broadcast" => broadcast.to_string());
    let mut visitor = Visitor {
        rooms,
        peer,
        room,
        person,
        last: 0,
        lagged: false,
        deliveries,
    };
    visitor.greet(rooms, broadcast, &mut pass, &entrance).await?;
    visitor.stay(pass, entrance).await
}
