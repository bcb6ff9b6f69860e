//! The room over REST: how it stands, and everything that a frame can ask.

use axum::Router;
use axum::extract::rejection::QueryRejection;
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use serde::Deserialize;
use serde_json::json;
use timeline::BroadcastId;

use crate::Pass;
use crate::problem::Problem;
use crate::room::{Action, Code, Receipt, Refused, clean_name};
use crate::rooms::Rooms;
use crate::routes::{bearer, broadcast};
use crate::wire::{FromClient, ToClient};

/// Settings with the longest word lists, every character escaped.
const MAX_BODY_BYTES: usize = 256 * 1024;

/// Lines of the audit log in one answer.
const AUDIT_PAGE: u64 = 500;

const FRESH: [(header::HeaderName, &str); 1] = [(header::CACHE_CONTROL, "private, no-store")];

pub fn router() -> Router<Rooms> {
    Router::new()
        .route("/api/v1/broadcasts/{id}/room", get(stand))
        .route("/api/v1/broadcasts/{id}/room/actions", post(act))
        .route("/api/v1/broadcasts/{id}/room/people", get(people))
        .route("/api/v1/broadcasts/{id}/room/people/{person}", delete(erase))
        .route("/api/v1/broadcasts/{id}/room/audit", get(audit))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
}

async fn enter(rooms: &Rooms, id: &str, headers: &HeaderMap) -> Result<(BroadcastId, Pass), Problem> {
    let broadcast = broadcast(id)?;
    let mut pass = rooms.shared().gate.enter(&broadcast, bearer(headers)?).await?;
    pass.person.name = clean_name(&pass.person.name);
    Ok((broadcast, pass))
}

pub(crate) async fn enter_as_staff(
    rooms: &Rooms,
    id: &str,
    headers: &HeaderMap,
) -> Result<(BroadcastId, Pass), Problem> {
    let (broadcast, pass) = enter(rooms, id, headers).await?;
    match pass.person.role.moderates() {
        true => Ok((broadcast, pass)),
        false => Err(Problem::new(
            StatusCode::FORBIDDEN,
            "only hosts and moderators may do that",
        )),
    }
}

async fn stand(
    State(rooms): State<Rooms>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (broadcast, pass) = enter(&rooms, &id, &headers).await?;
    let standing = rooms.stand(&broadcast, &pass.person).await?;
    let body = json!({"epoch": standing.epoch, "seq": standing.last, "state": standing.state});
    Ok((FRESH, axum::Json(body)).into_response())
}

/// Everything that a frame can ask.
pub(crate) async fn act(
    State(rooms): State<Rooms>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: String,
) -> Result<Response, Problem> {
    let (broadcast, pass) = enter(&rooms, &id, &headers).await?;
    let counted = rooms.count_request(&broadcast, &pass.person);
    counted.map_err(|refused| Problem::refused(&refused))?;
    let frame = FromClient::read(&body).map_err(|(_, refused)| Problem::refused(&refused))?;
    let room = rooms.room(&broadcast).await?;
    let text = match frame {
        FromClient::Ask { reference, action } => {
            let done = rooms.act(&room, &pass.person, &reference, action).await;
            acknowledged(&reference, done.map_err(|refused| Problem::refused(&refused))?)
        }
        FromClient::Roster { reference } => {
            enter_as_staff(&rooms, &id, &headers).await?;
            ToClient::Roster {
                reference: &reference,
                roster: &room.people.roster(),
            }
            .to_text()
            .to_string()
        }
        FromClient::Join { .. } | FromClient::Ping { .. } => {
            return Err(Problem::refused(&Refused::malformed(
                "there is nothing to join here: each request stands alone",
            )));
        }
    };
    let json = [(header::CONTENT_TYPE, "application/json")];
    Ok((FRESH, json, text).into_response())
}

fn acknowledged(reference: &str, receipt: Option<Receipt>) -> String {
    let held = receipt.and_then(|receipt| receipt.held);
    let (seq, at) = (receipt.map(|r| r.seq), receipt.map(|r| r.at));
    ToClient::Ack {
        reference,
        seq,
        at,
        held,
    }
    .to_text()
    .to_string()
}

async fn people(
    State(rooms): State<Rooms>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (broadcast, _) = enter_as_staff(&rooms, &id, &headers).await?;
    let roster = rooms.room(&broadcast).await?.people.roster();
    Ok((FRESH, axum::Json(roster)).into_response())
}

async fn erase(
    State(rooms): State<Rooms>,
    Path((id, person)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (broadcast, pass) = enter_as_staff(&rooms, &id, &headers).await?;
    let room = rooms.room(&broadcast).await?;
    let reference = format!("erase-{}", uuid::Uuid::new_v4().simple());
    let done = rooms
        .act(
            &room,
            &pass.person,
            &reference,
            Action::Erase {
                person: person.clone(),
            },
        )
        .await;
    done.map_err(|refused| Problem::refused(&refused))?;
    // Also those that no message has named.
    rooms.shared().files.erase(&broadcast, &person).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Lines {
    #[serde(default)]
    from: u64,
    limit: Option<u64>,
}

async fn audit(
    State(rooms): State<Rooms>,
    Path(id): Path<String>,
    wanted: Result<Query<Lines>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (broadcast, _) = enter_as_staff(&rooms, &id, &headers).await?;
    let Query(Lines { from, limit }) = wanted?;
    let limit = limit.unwrap_or(AUDIT_PAGE).min(AUDIT_PAGE);
    let lines = rooms.shared().record.audit(&broadcast, from, limit).await?;
    Ok((FRESH, axum::Json(json!({"audit": lines}))).into_response())
}

/// The status of a refusal that a frame would carry.
pub(crate) const fn status(code: Code) -> StatusCode {
    match code {
        Code::Malformed | Code::TooLong | Code::Empty => StatusCode::BAD_REQUEST,
        Code::Unauthorized => StatusCode::UNAUTHORIZED,
        Code::Forbidden | Code::Muted | Code::Banned | Code::Mode => StatusCode::FORBIDDEN,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::Closed | Code::Duplicate => StatusCode::CONFLICT,
        Code::Ended => StatusCode::GONE,
        Code::Word | Code::Link => StatusCode::UNPROCESSABLE_ENTITY,
        Code::Rate | Code::Slow => StatusCode::TOO_MANY_REQUESTS,
        Code::Full | Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
    }
}
