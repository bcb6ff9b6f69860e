//! `/api/v1`: broadcasts, their guests, who sends to them.

mod cohosts;
mod layout;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{Extensions, HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use ingest::Ingest;
use serde::{Deserialize, Serialize};
use timeline::BroadcastId;

use crate::auth::{self, Auth, Claims, Grant, Role};
use crate::broadcasts::{Broadcast, Broadcasts, Facts, Latency, Refused, State as LineState, Terms, Wanted};
use crate::guests::Arrivals;
use crate::problem::Problem;
use crate::sources::Withdrawn;

/// A title and a few settings.
const MAX_BODY: usize = 16 * 1024;

/// The newest and the live ones; more is a matter of pages, which nobody has needed yet.
const MAX_LISTED: usize = 200;

const MAX_NAME_CHARS: usize = 40;

/// A lecture day.
const TOKEN_TTL: Duration = Duration::from_secs(12 * 3600);

/// The end is complete within two seconds; a loaded machine gets more before the answer says "not yet".
const END_WAIT: Duration = Duration::from_secs(10);

#[derive(Clone)]
pub struct Api {
    pub auth: Arc<Auth>,
    pub broadcasts: Broadcasts,
    /// What is not asked for.
    pub defaults: Terms,
    pub rooms: chat::Rooms,
    pub arrivals: Arc<Arrivals>,
    /// Who publishes.
    pub ingest: Ingest,
}

impl Api {
    pub fn router(self) -> axum::Router {
        axum::Router::new()
            .route("/api/v1/broadcasts", get(list).post(create))
            .route("/api/v1/broadcasts/{id}", get(read))
            .route("/api/v1/broadcasts/{id}/end", post(end))
            .route("/api/v1/broadcasts/{id}/guests", post(admit_guest))
            .route("/api/v1/broadcasts/{id}/cohosts", post(cohosts::invite))
            .route(
                "/api/v1/broadcasts/{id}/cohosts/{source}",
                delete(cohosts::withdraw),
            )
            .route(
                "/api/v1/broadcasts/{id}/layout",
                get(layout::read).put(layout::set),
            )
            .layer(DefaultBodyLimit::max(MAX_BODY))
            .with_state(self)
    }

    fn find(&self, id: &str) -> Result<Arc<Broadcast>, Problem> {
        let known = id.parse().ok().and_then(|id| self.broadcasts.get(&id));
        known.ok_or_else(|| Problem::not_found("there is no such broadcast"))
    }

    fn claims(&self, headers: &HeaderMap) -> Result<Claims, Problem> {
        self.auth
            .verify(auth::bearer(headers))
            .map_err(|denied| Problem::new(StatusCode::UNAUTHORIZED, denied.to_string()))
    }

    /// The broadcast, for a bearer who has one of these roles in it; others are refused in these words.
    fn find_as(
        &self,
        roles: &[Role],
        refusal: &str,
        id: &str,
        headers: &HeaderMap,
    ) -> Result<Arc<Broadcast>, Problem> {
        let claims = self.claims(headers)?;
        let broadcast = self.find(id)?;
        let why = match roles.contains(&claims.role) && claims.covers(&broadcast.id) {
            true if broadcast.has_withdrawn(&claims) => Withdrawn.to_string(),
            true => return Ok(broadcast),
            false => refusal.to_owned(),
        };
        Err(Problem::new(StatusCode::FORBIDDEN, why))
    }
}

/// Those who run a lecture.
const DIRECTORS: &[Role] = &[Role::Host, Role::Operator];

/// A broadcast as the API tells it.
#[derive(Serialize)]
struct View {
    #[serde(flatten)]
    facts: Facts,
    /// Whether somebody publishes just now.
    on_air: bool,
    hls: String,
    room: String,
    chat: String,
    /// What happened to its transcoder since the server's start. The line went on behind each.
    incidents: transcoder::Incidents,
    /// An MP4 to download, once there is one.
    recording: Option<String>,
}

fn view(broadcast: &Broadcast) -> View {
    let id = &broadcast.id;
    let facts = broadcast.facts();
    let recorded = facts.state == LineState::Ended && facts.duration.is_some_and(|ticks| ticks > 0);
    View {
        facts,
        on_air: broadcast.is_on_air(),
        incidents: broadcast.incidents().borrow().clone(),
        hls: format!("/broadcasts/{id}/index.m3u8"),
        room: format!("/rooms/{id}"),
        chat: format!("/broadcasts/{id}/chat/index.json"),
        recording: recorded.then(|| format!("/broadcasts/{id}/recording.mp4")),
    }
}

async fn list(State(api): State<Api>) -> impl IntoResponse {
    let broadcasts: Vec<_> = api
        .broadcasts
        .list()
        .iter()
        .take(MAX_LISTED)
        .map(|b| view(b))
        .collect();
    (fresh(), Json(serde_json::json!({ "broadcasts": broadcasts })))
}

async fn read(State(api): State<Api>, Path(id): Path<String>) -> Result<impl IntoResponse, Problem> {
    Ok((fresh(), Json(view(&*api.find(&id)?))))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Create {
    id: Option<BroadcastId>,
    title: String,
    guests: Option<bool>,
    latency: Option<Latency>,
    /// 0 is three part targets.
    part_hold_back_ms: Option<u32>,
    /// The room, for players that know nothing of it.
    chat_subtitles: Option<bool>,
}

#[derive(Serialize)]
struct Created {
    #[serde(flatten)]
    broadcast: View,
    /// A host's token for the new broadcast.
    token: String,
}

async fn create(
    State(api): State<Api>,
    headers: HeaderMap,
    body: Result<Json<Create>, JsonRejection>,
) -> Result<impl IntoResponse, Problem> {
    let claims = api.claims(&headers)?;
    if claims.role != Role::Operator {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "only an operator makes broadcasts",
        ));
    }
    let Json(wanted) = body.map_err(malformed)?;
    let id = wanted.id.unwrap_or_else(random_id);
    if !claims.covers(&id) {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            format!("this token is not for {id}"),
        ));
    }
    let defaults = api.defaults;
    let made = api
        .broadcasts
        .create(Wanted {
            id,
            title: wanted.title,
            terms: Terms {
                guests: wanted.guests.unwrap_or(defaults.guests),
                latency: wanted.latency.unwrap_or(defaults.latency),
                part_hold_back_ms: wanted.part_hold_back_ms.unwrap_or(defaults.part_hold_back_ms),
                chat_subtitles: wanted.chat_subtitles.unwrap_or(defaults.chat_subtitles),
            },
        })
        .await;
    let broadcast = made.map_err(|refused| {
        let status = match refused {
            Refused::Exists(_) => StatusCode::CONFLICT,
            Refused::BadTitle | Refused::BadHoldBack => StatusCode::BAD_REQUEST,
            Refused::NotKept(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        Problem::new(status, refused.to_string())
    })?;
    let token = issue(&api, Grant::new(&broadcast.id, Role::Host, "Host"))?;
    let location = [(header::LOCATION, format!("/api/v1/broadcasts/{}", broadcast.id))];
    Ok((
        StatusCode::CREATED,
        location,
        Json(Created {
            broadcast: view(&broadcast),
            token,
        }),
    ))
}

async fn end(
    State(api): State<Api>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<impl IntoResponse, Problem> {
    let refusal = "only the host or an operator ends a broadcast";
    let broadcast = api.find_as(DIRECTORS, refusal, &id, &headers)?;
    broadcast.end();
    let mut line = broadcast.line();
    let ended = tokio::time::timeout(END_WAIT, line.wait_for(|line| line.is_ended()))
        .await
        .is_ok();
    if ended {
        api.broadcasts
            .save(&broadcast)
            .await
            .map_err(|e| Problem::new(StatusCode::SERVICE_UNAVAILABLE, e.to_string()))?;
    }
    let status = if ended {
        StatusCode::OK
    } else {
        StatusCode::ACCEPTED
    };
    Ok((status, Json(view(&broadcast))))
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Guest {
    name: Option<String>,
}

#[derive(Serialize)]
struct Admitted {
    token: String,
    name: String,
}

async fn admit_guest(
    State(api): State<Api>,
    Path(id): Path<String>,
    headers: HeaderMap,
    extensions: Extensions,
    body: Result<Json<Guest>, JsonRejection>,
) -> Result<Response, Problem> {
    let broadcast = api.find(&id)?;
    if let Err(chat::RetryAfter(ms)) = api.arrivals.take(&extensions, &headers) {
        let detail = "too many guests have come from this address: wait a moment";
        let mut problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, detail).into_response();
        problem
            .headers_mut()
            .insert(header::RETRY_AFTER, HeaderValue::from(ms.div_ceil(1_000)));
        return Ok(problem);
    }
    if !broadcast.terms.guests {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "this broadcast admits no guests",
        ));
    }
    if broadcast.is_ending() {
        let detail = "the broadcast has ended, and so has its room";
        return Err(Problem::new(StatusCode::GONE, detail));
    }
    let Json(guest) = body.map_err(malformed)?;
    let chosen = match guest.name.as_deref().map(str::trim) {
        None | Some("") => None,
        Some(name) if is_name(name) => Some(name),
        Some(_) => return Err(bad_name()),
    };
    let name = api
        .rooms
        .guest_name(&broadcast.id, chosen)
        .await
        .map_err(|error| {
            tracing::error!(broadcast = %broadcast.id, %error, "the room of a guest cannot be read");
            Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "the room cannot be read now: try again",
            )
        })?;
    let Some(name) = name else {
        let detail = "this name could be taken for that of a host or moderator: choose another";
        return Err(Problem::new(StatusCode::CONFLICT, detail));
    };
    let token = issue(&api, Grant::new(&broadcast.id, Role::Participant, name.clone()))?;
    Ok((StatusCode::CREATED, Json(Admitted { token, name })).into_response())
}

/// Control and bidirectional-override characters could disguise one name as another.
fn is_name(name: &str) -> bool {
    let disguising = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    name.chars().count() <= MAX_NAME_CHARS && !name.chars().any(disguising)
}

fn bad_name() -> Problem {
    let detail = format!("a name is 1 to {MAX_NAME_CHARS} characters, without control characters");
    Problem::new(StatusCode::BAD_REQUEST, detail)
}

fn issue(api: &Api, grant: Grant) -> Result<String, Problem> {
    api.auth
        .issue(grant, TOKEN_TTL)
        .map_err(|e| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, e.to_string()))
}

fn malformed(rejection: JsonRejection) -> Problem {
    Problem::new(rejection.status(), rejection.body_text())
}

/// Ten lower-case letters and digits: 50 bits, enough that nobody guesses or collides.
fn random_id() -> BroadcastId {
    const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let letters = (0..10).map(|_| ALPHABET[rand::random_range(0..ALPHABET.len())] as char);
    letters
        .collect::<String>()
        .parse()
        .unwrap_or_else(|_| unreachable!("the alphabet is legal"))
}

fn fresh() -> [(header::HeaderName, &'static str); 1] {
    [(header::CACHE_CONTROL, "no-store")]
}
