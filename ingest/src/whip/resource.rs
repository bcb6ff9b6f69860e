//! PATCH and DELETE of a session.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};

use crate::Left;
use crate::sdp::Fragment;
use crate::sessions::{Found, Handle};

use super::{FRAGMENT, Problem, Shared, bearer, broadcast_and_session, check_content_type, text};

/// Trickle ICE (RFC 9725 §4.3.1).
pub(super) async fn patch(
    State(shared): State<Arc<Shared>>,
    path: Result<Path<(String, String)>, PathRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Problem> {
    let (broadcast, session) = broadcast_and_session(path)?;
    shared.door.authorize(&broadcast, bearer(&headers), None).await?;
    check_content_type(&headers, FRAGMENT)?;
    let Found::Open(handle) = shared.sessions.find(&broadcast, &session) else {
        return Err(no_session());
    };
    check_etag(&headers, &handle)?;
    let fragment = Fragment::parse(&text(body).await?)
        .map_err(|_| Problem::new(StatusCode::BAD_REQUEST, "the body is not an SDP fragment"))?;
    if fragment
        .ufrag
        .is_some_and(|ufrag| ufrag != handle.generation().ufrag)
    {
        let why = "another a=ice-ufrag asks for an ICE restart, which this server does not do: publish anew";
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, why));
    }
    for (mid, candidate) in fragment.candidates {
        handle.peer.add_candidate(mid, candidate).await;
    }
    Ok(StatusCode::NO_CONTENT)
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

/// A fragment may say which generation of ICE it is for; without restarts there is one.
fn check_etag(headers: &HeaderMap, handle: &Handle) -> Result<(), Problem> {
    let given = headers.get(header::IF_MATCH).map(|value| value.as_bytes());
    match given {
        // RFC 9725 prints the asterisk in quotes.
        None | Some(b"*" | b"\"*\"") => Ok(()),
        Some(etag) if etag == handle.generation().etag.as_bytes() => Ok(()),
        Some(_) => Err(Problem::new(
            StatusCode::PRECONDITION_FAILED,
            "If-Match is not this session's ETag",
        )),
    }
}
