//! PATCH and DELETE of a session.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::Left;
use crate::sdp::{self, Fragment};
use crate::sessions::{Found, Generation, Handle};

use super::{FRAGMENT, Problem, Shared, bearer, broadcast_and_session, check_content_type, text};

/// Trickle ICE (RFC 9725 §4.3.2), or a restart of it (§4.3.3) where the fragment has other credentials.
pub(super) async fn patch(
    State(shared): State<Arc<Shared>>,
    path: Result<Path<(String, String)>, PathRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let (broadcast, session) = broadcast_and_session(path)?;
    shared.door.authorize(&broadcast, bearer(&headers), None).await?;
    check_content_type(&headers, FRAGMENT)?;
    let Found::Open(handle) = shared.sessions.find(&broadcast, &session) else {
        return Err(no_session());
    };
    let fragment = Fragment::parse(&text(body).await?)
        .map_err(|_| Problem::new(StatusCode::BAD_REQUEST, "the body is not an SDP fragment"))?;
    // Whoever restarts holds it until it is done: the next finds the new ETag.
    let mut generation = handle.ice.lock().await;
    let restarts = fragment
        .ufrag
        .as_ref()
        .is_some_and(|ufrag| *ufrag != generation.ufrag);
    check_etag(&headers, &generation, restarts)?;
    let response = match restarts {
        true => {
            let (next, answer) = restart(&shared, &handle, &fragment)?;
            *generation = next;
            let headers = [
                (header::CONTENT_TYPE, FRAGMENT.to_owned()),
                (header::ETAG, generation.etag.clone()),
            ];
            (StatusCode::OK, headers, answer).into_response()
        }
        false => StatusCode::NO_CONTENT.into_response(),
    };
    for (mid, candidate) in fragment.candidates {
        handle.peer.add_candidate(mid, candidate).await;
    }
    Ok(response)
}

/// Where it fails, the session goes on as it was.
fn restart(shared: &Shared, handle: &Handle, fragment: &Fragment) -> Result<(Generation, String), Problem> {
    let ufrag = fragment.ufrag.as_deref().unwrap_or_default();
    let password = fragment.password.as_deref().unwrap_or_default();
    if !sdp::are_credentials(ufrag, password) {
        return Err(Problem::new(
            StatusCode::BAD_REQUEST,
            "a restart of ICE needs an a=ice-ufrag and an a=ice-pwd as RFC 8839 §5.4 has them",
        ));
    }
    let ours = handle.peer.restart(ufrag, password)?;
    metrics::counter!("lectern_ingest_ice_restarts_total").increment(1);
    tracing::info!(broadcast = %handle.place.broadcast, session = handle.id, "ICE restarts");
    let answer = sdp::restarted(handle.peer.offer(), &ours, &shared.candidates);
    Ok((Generation::new(ufrag.to_owned()), answer))
}

/// 200 as often as it is asked for: publishers close the connection first, so the session may be over already.
pub(super) async fn delete(
    State(shared): State<Arc<Shared>>,
    path: Result<Path<(String, String)>, PathRejection>,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    let (broadcast, session) = broadcast_and_session(path)?;
    shared.door.authorize(&broadcast, bearer(&headers), None).await?;
    match shared.sessions.find(&broadcast, &session) {
        Found::Open(handle) => handle.close(Left::Deleted).await,
        Found::Over => {}
        Found::Never => return Err(no_session()),
    }
    Ok(StatusCode::OK)
}

fn no_session() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "there is no such session")
}

/// Which generation of ICE a fragment is for (RFC 9725 §4.3.1). A restart has to say it; candidates need not, for most
/// publishers that trickle never heard of it.
fn check_etag(headers: &HeaderMap, generation: &Generation, restarts: bool) -> Result<(), Problem> {
    match headers.get(header::IF_MATCH).map(|value| value.as_bytes()) {
        None if restarts => Err(Problem::new(
            StatusCode::PRECONDITION_REQUIRED,
            "a restart of ICE says in If-Match which ETag it follows, or *",
        )),
        // RFC 9725 prints the asterisk in quotes.
        None | Some(b"*" | b"\"*\"") => Ok(()),
        Some(etag) if etag == generation.etag.as_bytes() => Ok(()),
        Some(_) => Err(Problem::new(
            StatusCode::PRECONDITION_FAILED,
            "If-Match is not this session's ETag",
        )),
    }
}
