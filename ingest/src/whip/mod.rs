//! WHIP (RFC 9725): who asks, what for, and what they are told.

mod problem;
mod publish;
mod resource;

use std::str::FromStr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use timeline::BroadcastId;

use crate::peer::Mux;
use crate::sdp::Candidates;
use crate::sessions::Sessions;
use crate::{Config, Door};

use problem::Problem;

/// What every request works with.
pub(crate) struct Shared {
    pub config: Config,
    pub door: Arc<dyn Door>,
    pub mux: Arc<Mux>,
    pub candidates: Candidates,
    pub sessions: Arc<Sessions>,
}

impl Shared {
    /// The ICE servers as Link headers, one each. What needs credentials is for publishers alone.
    fn links(&self, person: Option<&str>) -> HeaderMap {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        let mut headers = HeaderMap::new();
        let servers = self.config.ice_servers.iter();
        for link in servers
            .filter(|server| person.is_some() || server.is_open())
            .flat_map(|server| server.links(person.unwrap_or_default(), now))
        {
            if let Ok(link) = HeaderValue::try_from(link) {
                headers.append(header::LINK, link);
            }
        }
        headers
    }
}

/// Browsers' offers are 6 KB, with every codec and candidate 20.
const MAX_BODY: usize = 64 * 1024;

const SDP: &str = "application/sdp";
const FRAGMENT: &str = "application/trickle-ice-sdpfrag";

pub(crate) fn router(shared: Arc<Shared>) -> Router {
    let nothing = || async { StatusCode::NO_CONTENT };
    let endpoint = get(nothing)
        .post(publish::post)
        .options(publish::options)
        .fallback(wrong_method);
    let resource = get(nothing)
        .patch(resource::patch)
        .delete(resource::delete)
        .options(options)
        .fallback(wrong_method);
    Router::new()
        .route("/whip/{id}", endpoint)
        .route("/whip/{id}/{session}", resource)
        .layer(map_response(cors))
        .with_state(shared)
}

async fn options() -> Response {
    let accept = [("accept-post", SDP), ("accept-patch", FRAGMENT)];
    (StatusCode::NO_CONTENT, accept).into_response()
}

async fn wrong_method() -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "WHIP knows OPTIONS, POST, PATCH and DELETE",
    )
}

/// On every response, errors too: without it a page does not even see the status.
async fn cors(mut response: Response) -> Response {
    const HEADERS: [(&str, &str); 5] = [
        ("access-control-allow-origin", "*"),
        (
            "access-control-allow-methods",
            "OPTIONS, GET, POST, PATCH, DELETE",
        ),
        (
            "access-control-allow-headers",
            "Authorization, Content-Type, If-Match",
        ),
        (
            "access-control-expose-headers",
            "Location, ETag, Link, Accept-Post, Accept-Patch, Retry-After",
        ),
        ("access-control-max-age", "86400"),
    ];
    for (name, value) in HEADERS {
        response
            .headers_mut()
            .insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    response
}

fn broadcast(path: Result<Path<String>, PathRejection>) -> Result<BroadcastId, Problem> {
    named(&path.map_err(|_| Problem::not_found())?)
}

fn broadcast_and_session(
    path: Result<Path<(String, String)>, PathRejection>,
) -> Result<(BroadcastId, String), Problem> {
    let Path((broadcast, session)) = path.map_err(|_| Problem::not_found())?;
    Ok((named(&broadcast)?, session))
}

fn named(id: &str) -> Result<BroadcastId, Problem> {
    BroadcastId::from_str(id).map_err(|bad| Problem::new(StatusCode::NOT_FOUND, bad.to_string()))
}

/// The token of `Authorization: Bearer …`, whose scheme has no case (RFC 9110 §11.1).
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers
        .get(header::AUTHORIZATION)?
        .to_str()
        .ok()?
        .split_once(' ')?;
    scheme.eq_ignore_ascii_case("Bearer").then_some(token.trim())
}

fn check_content_type(headers: &HeaderMap, wanted: &'static str) -> Result<(), Problem> {
    let given = headers
        .get(header::CONTENT_TYPE)
        .and_then(|v| v.to_str().ok())
        .unwrap_or_default();
    let essence = given.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case(wanted) {
        return Ok(());
    }
    Err(Problem::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        format!("send it as {wanted}"),
    ))
}

async fn text(body: Body) -> Result<String, Problem> {
    let too_large = || format!("the body is cut, or longer than {MAX_BODY} bytes");
    let body: Bytes = axum::body::to_bytes(body, MAX_BODY)
        .await
        .map_err(|_| Problem::new(StatusCode::PAYLOAD_TOO_LARGE, too_large()))?;
    String::from_utf8(body.into())
        .map_err(|_| Problem::new(StatusCode::BAD_REQUEST, "the body is not valid UTF-8"))
}
