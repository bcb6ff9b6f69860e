//! POST: an offer in, an answer out, a session begun.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use timeline::{BroadcastId, SourceName};
use tracing::Instrument;
use uuid::Uuid;

use crate::Left;
use crate::peer::{Peer, PeerError};
use crate::sdp::{self, Offer};
use crate::session::Session;
use crate::sessions::{Handle, Reservation, Takeover};

use super::{Problem, SDP, Shared, bearer, broadcast, check_content_type, text};

#[derive(Deserialize)]
pub(super) struct How {
    takeover: Option<String>,
}

impl How {
    fn takeover(self) -> Result<Takeover, Problem> {
        match self.takeover.as_deref() {
            None | Some("false") => Ok(Takeover::No),
            Some("true") => Ok(Takeover::Anyone),
            Some(session) if Uuid::try_parse(session).is_ok() => Ok(Takeover::Only(session.into())),
            Some(_) => Err(Problem::new(
                StatusCode::BAD_REQUEST,
                "takeover is true, false, or the session whose place is taken: the end of its Location",
            )),
        }
    }
}

pub(super) async fn post(
    State(shared): State<Arc<Shared>>,
    path: Result<Path<String>, PathRejection>,
    query: Result<Query<How>, QueryRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let broadcast = broadcast(path)?;
    shared.door.authorize(&broadcast, bearer(&headers)).await?;
    let Query(how) = query.map_err(|e| Problem::new(StatusCode::BAD_REQUEST, e.body_text()))?;
    let takeover = how.takeover()?;
    check_content_type(&headers, SDP)?;
    let offer = Offer::parse(&text(body).await?)?;
    let reservation = shared.sessions.reserve(&broadcast, takeover)?;
    // A task of its own: a publisher that hangs up midway leaves nothing half made, and an offer that the
    // stack trips over hurts nobody else.
    let span = tracing::info_span!("session", %broadcast, session = reservation.id);
    let begun = tokio::spawn(begin(shared, broadcast, offer, reservation).instrument(span));
    let (handle, answer) = begun.await.map_err(|failed| {
        tracing::error!(%failed, "the offer broke the negotiation");
        Problem::new(StatusCode::BAD_REQUEST, "the offer cannot be answered")
    })??;
    Ok(created(&handle, answer))
}

fn created(handle: &Handle, answer: String) -> Response {
    let headers = [
        (header::CONTENT_TYPE, SDP.to_owned()),
        (
            header::LOCATION,
            format!("/whip/{}/{}", handle.broadcast, handle.id),
        ),
        (header::ETAG, handle.etag.clone()),
    ];
    (StatusCode::CREATED, headers, answer).into_response()
}

async fn begin(
    shared: Arc<Shared>,
    broadcast: BroadcastId,
    offer: Offer,
    reservation: Reservation,
) -> Result<(Arc<Handle>, String), Problem> {
    let (peer, inbox, answer) = Peer::answer(&shared.mux, &offer).await?;
    let formats = sdp::formats(&answer);
    if formats.is_empty() {
        return Err(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "no codec in common",
        ));
    }
    let answer = sdp::finish(&answer, &shared.candidates);
    let (handle, before) = reservation.take(broadcast, offer.ufrag, Arc::new(peer))?;
    if let Some(before) = before {
        before.close(Left::TakenOver).await;
    }
    let publication = match shared.door.admit(&handle.broadcast).await {
        Ok(publication) => publication,
        Err(refusal) => {
            shared.sessions.bury(&handle);
            return Err(refusal.into());
        }
    };
    let sessions = shared.sessions.clone();
    let session = Session::new(
        &shared.config,
        handle.clone(),
        sessions,
        publication,
        inbox,
        &SourceName::main(),
        (offer.media, formats),
    );
    tokio::spawn(session.run().in_current_span());
    Ok((handle, answer))
}

impl From<PeerError> for Problem {
    fn from(error: PeerError) -> Self {
        let status = match error {
            PeerError::Offer(_) => StatusCode::BAD_REQUEST,
            PeerError::Stack(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        Problem::new(status, error.to_string())
    }
}
