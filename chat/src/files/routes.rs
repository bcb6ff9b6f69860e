//! Files over HTTP: in with a token, out for everyone who knows the name.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use serde::Deserialize;
use timeline::{Archive, ArchiveError, BroadcastId, Line, Object, WallTime};
use tower_http::cors::{Any, CorsLayer};

use super::kind::Kind;
use super::receive::{Failed, Received};
use super::{Files, name};
use crate::problem::Problem;
use crate::room::Refused;
use crate::rooms::Rooms;
use crate::routes::{FOR_EVER, bearer, broadcast};
use crate::settings::Uploads;
use crate::{Attached, Error, Person, Role};

/// One read of the archive: a slow client holds two of them.
const PIECE: u64 = 512 * 1024;

/// Nothing in a file runs or loads anything, also where a browser shows it by itself.
const HARMLESS: &str = "default-src 'none'; style-src 'unsafe-inline'; sandbox";

pub fn router() -> Router<Rooms> {
    let cors = CorsLayer::new()
        .allow_origin(Any)
        .allow_methods([Method::GET, Method::HEAD])
        .allow_headers([header::RANGE, header::IF_NONE_MATCH])
        .expose_headers([header::CONTENT_RANGE]);
    Router::new()
        .route("/broadcasts/{id}/files/{name}", get(download))
        .layer(cors)
        .route("/rooms/{id}/files", post(upload))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    name: String,
}

async fn upload(
    State(rooms): State<Rooms>,
    Path(id): Path<String>,
    named: Result<Query<Named>, QueryRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let broadcast = broadcast(&id)?;
    let pass = rooms.shared().gate.enter(&broadcast, bearer(&headers)?).await?;
    let Query(Named { name }) = named?;
    let room = rooms.room(&broadcast).await?;
    let by_participants = room.settings.borrow().uploads == Uploads::Participants;
    let ended = matches!(*pass.line.borrow(), Line::Ended { .. });
    may_upload(pass.person.role, by_participants, ended)?;
    let files = &rooms.shared().files;
    let now = crate::clock::now();
    let attached = files
        .upload(&broadcast, &pass.person, &name, &headers, body, now)
        .await?;
    Ok((
        StatusCode::CREATED,
        [(header::CACHE_CONTROL, "no-store")],
        axum::Json(attached),
    )
        .into_response())
}

/// Staff always, participants where the room lets them.
fn may_upload(role: Role, by_participants: bool, ended: bool) -> Result<(), Problem> {
    let forbidden = |why| Err(Problem::new(StatusCode::FORBIDDEN, why));
    match role {
        _ if ended => forbidden("the broadcast has ended"),
        Role::Host | Role::Moderator => Ok(()),
        Role::Participant if by_participants => Ok(()),
        Role::Participant => forbidden("in this room only hosts and moderators attach files"),
        Role::Viewer => forbidden("to attach files one has to be a participant"),
    }
}

impl Files {
    async fn upload(
        &self,
        broadcast: &BroadcastId,
        person: &Person,
        named: &str,
        headers: &HeaderMap,
        body: Body,
        now: WallTime,
    ) -> Result<Attached, Problem> {
        self.take(broadcast, &person.id, now)
            .map_err(|wait| Problem::refused(&Refused::from(wait)))?;
        // Refused before it is sent, where the client waits to be asked (Expect: 100-continue).
        let announced = headers
            .get(header::CONTENT_LENGTH)
            .and_then(|length| length.to_str().ok()?.parse().ok());
        if announced.is_some_and(|length: u64| length > self.limits.max_bytes) {
            return Err(Failed::TooLarge(self.limits.max_bytes).into());
        }
        self.has_room_for(broadcast, person, announced.unwrap_or(1))
            .await?;
        let busy = || {
            Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "too many uploads at once: try again",
            )
        };
        let _place = self.uploads.try_acquire().map_err(|_| busy())?;
        let received = Received::of(body, self.limits.max_bytes, &self.folder).await?;
        self.has_room_for(broadcast, person, received.size).await?;
        self.keep(broadcast, person, named, received, now).await
    }

    async fn has_room_for(
        &self,
        broadcast: &BroadcastId,
        person: &Person,
        bytes: u64,
    ) -> Result<(), Problem> {
        let fits = |held: u64, limit: u64, whose: &str| match held.saturating_add(bytes) <= limit {
            true => Ok(()),
            false => Err(Problem::new(
                StatusCode::INSUFFICIENT_STORAGE,
                format!("all files of {whose} together have at most {limit} bytes"),
            )),
        };
        if !person.role.moderates() {
            let held = self.record.file_bytes_of(broadcast, &person.id).await?;
            fits(held, self.limits.participant_bytes, "one participant")?;
        }
        fits(
            self.record.file_bytes(broadcast).await?,
            self.limits.room_bytes,
            "a room",
        )
    }

    /// First the object, then what is known of it: no message names what is not there.
    async fn keep(
        &self,
        broadcast: &BroadcastId,
        person: &Person,
        named: &str,
        received: Received,
        now: WallTime,
    ) -> Result<Attached, Problem> {
        let _place = self.keeping.acquire().await.map_err(|_| Error::Closing)?;
        let (hasher, size) = (received.hasher.clone(), received.size);
        let bytes = received.bytes().await.map_err(Failed::from)?;
        let kind =
            Kind::of(named, &bytes).filter(|kind| self.limits.types.iter().any(|t| t == kind.extension));
        let Some(kind) = kind else {
            let types = self.limits.types.join(", ");
            let why = format!("files of this type are not taken, only {types}; no text with HTML in it");
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, why));
        };
        let attached = Attached {
            id: name::id(hasher, kind),
            name: name::shown(named, kind),
            media_type: kind.media_type.to_owned(),
            size,
        };
        let object = Object {
            body: bytes,
            content_type: kind.media_type.to_owned(),
        };
        let key = name::key(broadcast.as_str(), &attached.id);
        self.record.room(broadcast).await?;
        self.archive.put(&key, object).await.map_err(Error::from)?;
        self.record
            .file_added(broadcast, &person.id, &attached, now)
            .await?;
        metrics::counter!("lectern_chat_uploads_total").increment(1);
        metrics::counter!("lectern_chat_uploaded_bytes_total").increment(size);
        Ok(attached)
    }
}

impl From<Failed> for Problem {
    fn from(failed: Failed) -> Self {
        let status = match &failed {
            Failed::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Failed::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Failed::BrokenOff(_) => StatusCode::BAD_REQUEST,
            Failed::Disk(error) => {
                tracing::error!(%error, "an upload could not be kept");
                StatusCode::SERVICE_UNAVAILABLE
            }
        };
        Problem::new(status, failed.to_string())
    }
}

async fn download(
    State(rooms): State<Rooms>,
    Path((id, name)): Path<(String, String)>,
    request: HeaderMap,
) -> Result<Response, Problem> {
    let broadcast = broadcast(&id)?;
    let absent = || Problem::new(StatusCode::NOT_FOUND, "there is no such file");
    let kind = name::kind_of(&name).ok_or_else(absent)?;
    let (archive, key) = (
        rooms.shared().archive.clone(),
        name::key(broadcast.as_str(), &name),
    );
    let size = match archive.size(&key).await {
        Ok(size) => size,
        Err(ArchiveError::NotFound(_)) => return Err(absent()),
        Err(error) => return Err(Error::from(error).into()),
    };
    let tag = format!("\"{name}\"");
    let mut response = match portion(&request, &tag, size) {
        Portion::Same => StatusCode::NOT_MODIFIED.into_response(),
        Portion::Whole => of(archive, key, 0..size, StatusCode::OK),
        Portion::Range(range) => {
            let place = format!("bytes {}-{}/{size}", range.start, range.end - 1);
            let mut response = of(archive, key, range, StatusCode::PARTIAL_CONTENT);
            set(&mut response, header::CONTENT_RANGE, &place);
            response
        }
        Portion::Beyond => {
            let mut response = StatusCode::RANGE_NOT_SATISFIABLE.into_response();
            set(&mut response, header::CONTENT_RANGE, &format!("bytes */{size}"));
            return Ok(response);
        }
    };
    let disposition = match kind.inline {
        true => "inline".to_owned(),
        false => format!("attachment; filename={tag}"),
    };
    for (name, value) in [
        (header::CONTENT_TYPE, kind.media_type),
        (header::CONTENT_DISPOSITION, disposition.as_str()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CONTENT_SECURITY_POLICY, HARMLESS),
        (header::CACHE_CONTROL, FOR_EVER),
        (header::ACCEPT_RANGES, "bytes"),
        (header::ETAG, tag.as_str()),
    ] {
        set(&mut response, name, value);
    }
    Ok(response)
}

fn set(response: &mut Response, name: header::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

/// What of a file is asked for (RFC 9110, 13.1.2 and 14.2).
#[derive(Debug, PartialEq, Eq)]
enum Portion {
    Whole,
    Range(Range<u64>),
    /// The client has it.
    Same,
    Beyond,
}

fn portion(request: &HeaderMap, tag: &str, size: u64) -> Portion {
    let header = |name| {
        request
            .get(name)
            .and_then(|value: &HeaderValue| value.to_str().ok())
    };
    let names = |value: &str| {
        value
            .split(',')
            .any(|one| matches!(one.trim(), "*") || one.trim().ends_with(tag))
    };
    if header(header::IF_NONE_MATCH).is_some_and(names) {
        return Portion::Same;
    }
    // Its bytes never change: a condition on the range holds, or it is about another file.
    let same = header(header::IF_RANGE).is_none_or(|value| value == tag);
    let Some(wanted) = header(header::RANGE).filter(|_| same) else {
        return Portion::Whole;
    };
    let Ok(parsed) = http_range_header::parse_range_header(wanted) else {
        return Portion::Whole;
    };
    match parsed.validate(size).as_deref() {
        Ok([one]) => Portion::Range(*one.start()..one.end() + 1),
        // Several at once nobody needs: all of it is an answer too.
        Ok(_) => Portion::Whole,
        Err(_) => Portion::Beyond,
    }
}

fn of(archive: Arc<dyn Archive>, key: String, range: Range<u64>, status: StatusCode) -> Response {
    let length = range.end - range.start;
    let mut response = (status, Body::from_stream(pieces(archive, key, range))).into_response();
    set(&mut response, header::CONTENT_LENGTH, &length.to_string());
    response
}

/// Read as they are taken.
fn pieces(
    archive: Arc<dyn Archive>,
    key: String,
    range: Range<u64>,
) -> impl Stream<Item = io::Result<Bytes>> {
    let starts = range.clone().step_by(PIECE as usize);
    stream::iter(starts).then(move |start| {
        let (archive, key) = (archive.clone(), key.clone());
        let piece = start..(start + PIECE).min(range.end);
        async move {
            let length = piece.end - piece.start;
            let bytes = archive.get_range(&key, piece).await.map_err(io::Error::other)?;
            // It was removed meanwhile: the client must see that this is not all.
            match bytes.len() as u64 == length {
                true => Ok(bytes),
                false => Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_of_a_file_is_asked_for() {
        let portion = |name: &'static str, value: &str| {
            let mut request = HeaderMap::new();
            request.insert(name, HeaderValue::from_str(value).unwrap());
            super::portion(&request, "\"abc.png\"", 1_000)
        };
        assert_eq!(portion("accept", "*/*"), Portion::Whole);
        assert_eq!(portion("if-none-match", "\"abc.png\""), Portion::Same);
        assert_eq!(portion("if-none-match", "\"x\", W/\"abc.png\""), Portion::Same);
        assert_eq!(portion("if-none-match", "\"x\""), Portion::Whole);
        assert_eq!(portion("range", "bytes=0-99"), Portion::Range(0..100));
        assert_eq!(portion("range", "bytes=900-"), Portion::Range(900..1_000));
        assert_eq!(portion("range", "bytes=-10"), Portion::Range(990..1_000));
        assert_eq!(portion("range", "bytes=0-9,20-29"), Portion::Whole);
        assert_eq!(portion("range", "lines=0-9"), Portion::Whole);
        assert_eq!(portion("range", "bytes=1000-"), Portion::Beyond);
    }

    #[test]
    fn who_may_upload() {
        for (role, by_participants, ended, may) in [
            (Role::Host, false, false, true),
            (Role::Moderator, false, false, true),
            (Role::Host, true, true, false),
            (Role::Participant, false, false, false),
            (Role::Participant, true, false, true),
            (Role::Viewer, true, false, false),
        ] {
            assert_eq!(may_upload(role, by_participants, ended).is_ok(), may, "{role:?}");
        }
    }
}
