//! POST: an offer in, an answer out, a session begun.

use std::collections::HashMap;
use std::str::FromStr;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use timeline::{BroadcastId, SourceName};
use tracing::Instrument;
use uuid::Uuid;

use crate::peer::{Inbox, Peer, PeerError};
use crate::sdp::{self, Format, Media, Offer};
use crate::session::Session;
use crate::sessions::{Handle, Reservation, Seat, Takeover};
use crate::{Grant, Left, Refusal, turn};

use super::{Problem, SDP, Shared, bearer, broadcast, check_content_type, text};

#[derive(Deserialize)]
pub(super) struct How {
    source: Option<String>,
    takeover: Option<String>,
    pass: Option<String>,
}

impl How {
    fn source(&self) -> Result<Option<SourceName>, Problem> {
        let source = self.source.as_deref().map(SourceName::from_str).transpose();
        source.map_err(|bad| Problem::new(StatusCode::BAD_REQUEST, bad.to_string()))
    }

    fn takeover(&self) -> Result<Takeover, Problem> {
        match self.takeover.as_deref() {
            None => Ok(Takeover::Own),
            Some("false") => Ok(Takeover::No),
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
    RawQuery(raw): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let broadcast = broadcast(path)?;
    let how = query.map_err(|e| Problem::new(StatusCode::BAD_REQUEST, e.body_text()));
    let source = match &how {
        Ok(Query(how)) => how.source(),
        Err(_) => Ok(None),
    };
    // Who may not publish is told that first, whatever they ask for.
    let asked = source.as_ref().ok().and_then(Option::as_ref);
    let pass = how.as_ref().ok().and_then(|Query(how)| how.pass.clone());
    let (bearer, door) = (bearer(&headers), &shared.door);
    let passed = pass.filter(|_| bearer.is_none());
    let grant = match &passed {
        Some(pass) => door.readmit(&broadcast, pass, asked).await?,
        None => door.authorize(&broadcast, bearer, asked).await?,
    };
    if let Some(server) = door.elsewhere(&broadcast).await {
        // Who was sent once is sent on with the same: a pass does not last longer by being shown.
        let pass = passed.or_else(|| door.pass(&broadcast, &grant));
        return Ok(redirect(&server, &broadcast, raw.as_deref(), pass.as_deref()));
    }
    source?;
    let takeover = how?.takeover()?;
    check_content_type(&headers, SDP)?;
    let offer = Offer::parse(&text(body).await?)?;
    let links = shared.links(Some(&grant.person));
    let reservation = shared.sessions.reserve(&broadcast, grant.clone(), takeover)?;
    // A task of its own: a publisher that hangs up midway leaves nothing half made, and an offer that the
    // stack trips over hurts nobody else.
    let span = tracing::info_span!("session", %broadcast, source = %grant.source, session = reservation.id);
    let begun = tokio::spawn(begin(shared, grant, offer, reservation).instrument(span));
    let (handle, answer) = begun.await.map_err(|failed| {
        tracing::error!(%failed, "the offer broke the negotiation");
        Problem::new(StatusCode::BAD_REQUEST, "the offer cannot be answered")
    })??;
    let etag = handle.ice.lock().await.etag.clone();
    Ok((links, created(&handle, etag, answer)).into_response())
}

/// To the server that has the broadcast (RFC 9725 §4.5): with the same method and body, and the token or the pass.
fn redirect(server: &str, broadcast: &BroadcastId, query: Option<&str>, pass: Option<&str>) -> Response {
    let asked = query.unwrap_or_default().split('&');
    let asked = asked.filter(|pair| !pair.is_empty() && !pair.starts_with("pass="));
    let query: Vec<String> = asked
        .map(str::to_owned)
        .chain(pass.map(|pass| format!("pass={pass}")))
        .collect();
    let mut url = format!("{}/whip/{broadcast}", server.trim_end_matches('/'));
    if !query.is_empty() {
        url = format!("{url}?{}", query.join("&"));
    }
    let headers = [
        (header::LOCATION, url),
        (header::CACHE_CONTROL, "no-store".into()),
    ];
    (StatusCode::TEMPORARY_REDIRECT, headers).into_response()
}

/// What may be sent here, and for whoever may publish the ICE servers with what they ask for. (A browser's preflight
/// has no token: RFC 9725 §4.6.)
pub(super) async fn options(
    State(shared): State<Arc<Shared>>,
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Response {
    let person = match (broadcast(path), bearer(&headers)) {
        (Ok(broadcast), Some(token)) => {
            let grant = shared.door.authorize(&broadcast, Some(token), None).await;
            grant.ok().map(|grant| grant.person)
        }
        _ => None,
    };
    (shared.links(person.as_deref()), super::options().await).into_response()
}

fn created(handle: &Handle, etag: String, answer: String) -> Response {
    let headers = [
        (header::CONTENT_TYPE, SDP.to_owned()),
        (
            header::LOCATION,
            format!("/whip/{}/{}", handle.place.broadcast, handle.id),
        ),
        (header::ETAG, etag),
    ];
    (StatusCode::CREATED, headers, answer).into_response()
}

async fn begin(
    shared: Arc<Shared>,
    grant: Grant,
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
    let (handle, seat) = reservation.take(offer.ufrag, Arc::new(peer))?;
    let publisher = Publisher {
        shared,
        grant,
        handle: handle.clone(),
        inbox,
        received: (offer.media, formats),
    };
    match seat {
        Seat::OnAir { before } => {
            make_way(before).await;
            let session = publisher.admitted().await?;
            tokio::spawn(session.run().in_current_span());
        }
        Seat::Queued { before } => {
            make_way(before).await;
            tokio::spawn(publisher.queue().in_current_span());
        }
    }
    Ok((handle, answer))
}

async fn make_way(before: Vec<Arc<Handle>>) {
    for session in before {
        session.close(Left::TakenOver).await;
    }
}

/// Connected, and not yet on air.
struct Publisher {
    shared: Arc<Shared>,
    grant: Grant,
    handle: Arc<Handle>,
    inbox: Inbox,
    /// What was offered, and what its payload types mean.
    received: (Vec<Media>, HashMap<u8, Format>),
}

impl Publisher {
    async fn admitted(self) -> Result<Session, Refusal> {
        let Publisher {
            shared,
            grant,
            handle,
            ..
        } = self;
        match shared.door.admit(&handle.place.broadcast, &grant).await {
            Ok(publication) => Ok(Session::new(
                &shared.config,
                handle,
                shared.sessions.clone(),
                publication,
                self.inbox,
                self.received,
            )),
            Err(refusal) => {
                shared.sessions.bury(&handle);
                Err(refusal)
            }
        }
    }

    async fn queue(mut self) {
        let (handle, silence) = (self.handle.clone(), self.shared.config.silence());
        match turn::wait(&handle, &mut self.inbox, silence).await {
            Ok(introductions) => match self.admitted().await {
                Ok(session) => return session.introduced(introductions).run().await,
                Err(refusal) => tracing::info!(?refusal, "its turn came, but not in"),
            },
            Err(how) => {
                tracing::info!(how = how.name(), "no longer waits");
                self.shared.sessions.bury(&handle);
            }
        }
        handle.peer.close().await;
    }
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
