//! `recording.mp4` over HTTP: in ranges (RFC 9110 14), read from the archive as fast as the client takes it.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use timeline::{Archive, BroadcastId};
use tokio::sync::OwnedSemaphorePermit;

use super::layout::{Layout, Read};
use super::library::{Library, Unavailable};
use crate::meters;
use crate::origin::immutable::{Immutable, Portion};
use crate::origin::reply::{Cache, Problem};

/// Reads that are under way or waiting to be sent.
const READ_AHEAD: usize = 2;

/// It may be edited, so it is never kept for ever; its tag tells whether it was.
const CACHE: Cache = Cache::Seconds(300);

impl Library {
    /// Answers a request for the recording of a broadcast that is not on air.
    pub async fn serve(&self, id: &BroadcastId, request: &HeaderMap) -> Result<Response, Problem> {
        let recording = self.get(id).await.map_err(|why| refused(id, why))?;
        let object = Immutable {
            name: &recording.tag,
            content_type: "video/mp4",
            cache: CACHE,
        };
        let length = recording.layout.length();
        let portion = object.portion(length, request);
        let range = match &portion {
            Portion::Whole => Some(0..length),
            Portion::Range(range) => Some(range.clone()),
            Portion::Nothing | Portion::OutOfBounds => None,
        };
        let mut response = object.reply_with(portion, length, Bytes::new());
        let headers = response.headers_mut();
        if let Ok(name) = HeaderValue::try_from(format!("attachment; filename=\"{id}.mp4\"")) {
            headers.insert(header::CONTENT_DISPOSITION, name);
        }
        let Some(range) = range else {
            return Ok(response);
        };
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(range.end - range.start));
        let place = self.downloads().clone().try_acquire_owned();
        let place = place.map_err(|_| Problem::unavailable("too many recordings are being downloaded"))?;
        *response.body_mut() = Body::from_stream(bytes(
            self.archive().clone(),
            recording.layout.clone(),
            range,
            place,
        ));
        Ok(response)
    }
}

/// The answer while a broadcast is on air: nothing is wrong with the request, but it comes too early.
pub fn too_early() -> Problem {
    problem(StatusCode::CONFLICT, &Unavailable::Unfinished, Cache::No)
}

fn refused(id: &BroadcastId, why: Unavailable) -> Problem {
    match why {
        Unavailable::Absent | Unavailable::Empty => Problem::not_found(why.to_string()),
        Unavailable::Unfinished => too_early(),
        Unavailable::Preparing => Problem::unavailable(why.to_string()),
        Unavailable::Archive(_) | Unavailable::Damaged(_) => {
            tracing::error!(broadcast = %id, error = %why, "the recording cannot be served");
            problem(StatusCode::BAD_GATEWAY, &"the archive failed", Cache::No)
        }
    }
}

fn problem(status: StatusCode, detail: &dyn std::fmt::Display, cache: Cache) -> Problem {
    Problem {
        status,
        detail: detail.to_string(),
        cache,
    }
}

/// The bytes of a range. Read as they are taken: a slow client holds a few reads, and its place.
fn bytes(
    archive: Arc<dyn Archive>,
    layout: Arc<Layout>,
    range: Range<u64>,
    place: OwnedSemaphorePermit,
) -> impl Stream<Item = io::Result<Bytes>> + Send {
    stream::iter(layout.reads(range))
        .map(move |read| fetch(archive.clone(), read))
        .buffered(READ_AHEAD)
        .flat_map(move |read| {
            // Held until the last byte is taken.
            let _ = &place;
            stream::iter(pieces(read))
        })
        .inspect(|piece| meters::served(piece.as_ref().map_or(0, Bytes::len) as u64))
}

fn pieces(read: io::Result<Vec<Bytes>>) -> Vec<io::Result<Bytes>> {
    match read {
        Ok(pieces) => pieces.into_iter().map(Ok).collect(),
        Err(error) => vec![Err(error)],
    }
}

/// What is kept of one read. After an error nothing follows: the client sees that bytes are missing.
async fn fetch(archive: Arc<dyn Archive>, read: Read) -> io::Result<Vec<Bytes>> {
    let (key, range, keep) = match read {
        Read::Here(bytes) => return Ok(vec![bytes]),
        Read::Object { key, range, keep } => (key, range, keep),
    };
    let wanted = range.end - range.start;
    let body = match archive.get_range(&key, range).await {
        Ok(body) if body.len() as u64 == wanted => body,
        Ok(_) => return Err(io::Error::other(format!("{key} is too short"))),
        Err(error) => return Err(io::Error::other(error)),
    };
    Ok(keep.into_iter().map(|keep| body.slice(keep)).collect())
}
