//! The rooms over HTTP: the WebSocket's door, pages of the record, the replay.

use axum::Router;
use axum::extract::rejection::QueryRejection;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::handler::Handler;
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::{Deserialize, Serialize};
use timeline::BroadcastId;
use tower_http::compression::CompressionLayer;
use tower_http::cors::{Any, CorsLayer};

use crate::problem::Problem;
use crate::room::Resume;
use crate::rooms::{Rooms, Slot};
use crate::wire::{MAX_FRAME_BYTES, Seen};
use crate::{Error, api, socket, subtitles};

/// Events in one page: about 150 KB. Whoever wants more asks again behind the last one.
const PAGE: u64 = 500;

/// Of a reader of server-sent events who comes back.
const LAST_EVENT_ID: &str = "last-event-id";

/// The names hold a hash: what they name never changes.
pub const FOR_EVER: &str = "public, max-age=31536000, immutable";

pub fn router(rooms: Rooms) -> Router {
    let cors = CorsLayer::new()
        .allow_origin(Any)
        .allow_methods([Method::GET, Method::HEAD, Method::POST])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            HeaderName::from_static(LAST_EVENT_ID),
        ]);
    let read = Router::new()
        .route(
            "/rooms/{id}/messages",
            get(messages).post(api::act.layer(DefaultBodyLimit::max(MAX_FRAME_BYTES))),
        )
        .route("/broadcasts/{id}/chat/index.json", get(index))
        .route("/broadcasts/{id}/chat/{name}", get(chunk))
        .layer(CompressionLayer::new())
        // Not compressed, or an event waits for the next one.
        .route("/rooms/{id}/events", get(events))
        .layer(cors);
    Router::new()
        .merge(api::router())
        // Over HTTP/2 a WebSocket begins with CONNECT (RFC 8441).
        .route("/rooms/{id}", get(enter).connect(enter))
        .merge(read)
        .merge(crate::files::router())
        .merge(crate::export::router())
        .with_state(rooms)
}

async fn enter(
    State(rooms): State<Rooms>,
    Path(id): Path<String>,
    upgrade: Result<socket::Upgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    let broadcast = broadcast(&id)?;
    let upgrade = upgrade.map_err(|rejection| {
        Problem::new(
            StatusCode::UPGRADE_REQUIRED,
            format!("a room is entered over a WebSocket: {rejection}"),
        )
    })?;
    let slot = slot(&rooms)?;
    Ok(socket::upgrade(rooms, broadcast, upgrade, slot))
}

/// The room one way, for those who cannot have a WebSocket. The other way is `POST /rooms/{id}/messages`.
async fn events(
    State(rooms): State<Rooms>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let broadcast = broadcast(&id)?;
    let token = bearer(&headers)?;
    let resume = last_event(&headers)?;
    let slot = slot(&rooms)?;
    socket::events(rooms, broadcast, token, resume, slot).await
}

fn slot(rooms: &Rooms) -> Result<Slot, Problem> {
    if rooms.shared().closing.is_cancelled() {
        return Err(Error::Closing.into());
    }
    let full = || {
        Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "no place is left for a connection: try again later",
        )
    };
    rooms.slot().ok_or_else(full)
}

/// Where a visitor was, by the id of the last event that they got.
fn last_event(headers: &HeaderMap) -> Result<Option<Resume>, Problem> {
    let Some(id) = headers.get(LAST_EVENT_ID) else {
        return Ok(None);
    };
    let resume = id.to_str().ok().and_then(socket::resume);
    let bad = || {
        Problem::new(
            StatusCode::BAD_REQUEST,
            "Last-Event-ID is not the id of an event of this room",
        )
    };
    resume.map(Some).ok_or_else(bad)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    #[serde(default = "one")]
    from: u64,
    #[serde(default = "all")]
    to: u64,
}

const fn one() -> u64 {
    1
}

const fn all() -> u64 {
    u64::MAX
}

#[derive(Serialize)]
struct Page<'a> {
    epoch: String,
    from: u64,
    to: u64,
    events: Vec<Seen<'a>>,
}

async fn messages(
    State(rooms): State<Rooms>,
    Path(id): Path<String>,
    wanted: Result<Query<Wanted>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let broadcast = broadcast(&id)?;
    let Query(Wanted { from, to }) = wanted?;
    let by = rooms
        .shared()
        .gate
        .enter(&broadcast, bearer(&headers)?)
        .await?
        .person;
    let standing = rooms.stand(&broadcast, &by).await?;
    let to = to.min(standing.recorded);
    let mut events = rooms.shared().record.page(&broadcast, from, to, PAGE).await?;
    let to = match events.last() {
        Some(last) if events.len() as u64 == PAGE => last.seq,
        _ => to,
    };
    let (face, anonymous) = (by.role.face(), standing.veil.anonymous());
    events.retain(|event| event.is_for(face, &by.id));
    let events = events.iter().map(|event| event.seen(face, anonymous)).collect();
    let headers = [(header::CACHE_CONTROL, "private, no-store")];
    Ok((
        headers,
        axum::Json(Page {
            epoch: standing.epoch,
            from,
            to,
            events,
        }),
    )
        .into_response())
}

async fn index(State(rooms): State<Rooms>, Path(id): Path<String>) -> Result<Response, Problem> {
    let broadcast = broadcast(&id)?;
    let (index, over) = rooms
        .replay_index(&broadcast)
        .await?
        .ok_or_else(Problem::unknown)?;
    Ok(json(
        index,
        if over {
            "public, max-age=60"
        } else {
            "public, max-age=1"
        },
    ))
}

async fn chunk(
    State(rooms): State<Rooms>,
    Path((id, name)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let broadcast = broadcast(&id)?;
    if let Some(msn) = subtitles::msn(&name) {
        return subtitle_segment(&rooms, &broadcast, msn).await;
    }
    let gone = || {
        Problem::new(
            StatusCode::NOT_FOUND,
            "the index does not list this chunk: read it again",
        )
    };
    let chunk = rooms.replay_chunk(&broadcast, &name).await?.ok_or_else(gone)?;
    Ok(json(chunk, FOR_EVER))
}

/// Its texts may change: copies are soon gone.
async fn subtitle_segment(rooms: &Rooms, broadcast: &BroadcastId, msn: u64) -> Result<Response, Problem> {
    let gone = || Problem::new(StatusCode::NOT_FOUND, "there is no such segment of subtitles");
    let (segment, over) = rooms.subtitles(broadcast, msn).await?.ok_or_else(gone)?;
    let cached = if over {
        "public, max-age=60"
    } else {
        "public, max-age=3"
    };
    let headers = [
        (header::CONTENT_TYPE, subtitles::CONTENT_TYPE),
        (header::CACHE_CONTROL, cached),
    ];
    Ok((headers, segment).into_response())
}

fn json(body: bytes::Bytes, cached: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, cached),
    ];
    (headers, body).into_response()
}

pub(crate) fn broadcast(id: &str) -> Result<BroadcastId, Problem> {
    id.parse().map_err(|_| Problem::unknown())
}

/// The token, if there is one. What is no bearer's is a mistake, not an absence.
pub(crate) fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let Some(value) = headers.get(header::AUTHORIZATION) else {
        return Ok(None);
    };
    let value = value.to_str().ok().and_then(|value| value.split_once(' '));
    match value {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(Some(token.trim())),
        _ => Err(Problem::new(
            StatusCode::UNAUTHORIZED,
            "Authorization has to be a Bearer token",
        )),
    }
}
