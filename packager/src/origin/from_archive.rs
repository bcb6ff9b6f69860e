//! Everything else, served from the archive: broadcasts that are over, and what left memory.

use std::sync::Arc;

use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use timeline::{Archive, ArchiveError, BroadcastId, Grid, Object, Span, TICKS_PER_SECOND};

use super::immutable::{Immutable, Portion};
use super::reply::{self, Cache, Problem, accepts_gzip};
use super::resource::Resource;
use crate::archive::{content_type, is_ended, lifetime};
use crate::listing::segment_name;
use crate::playlist::END_LIST;
use crate::storyboard::still_name;
use crate::text::gzip;

pub async fn serve(
    archive: &Arc<dyn Archive>,
    id: &BroadcastId,
    path: &str,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let key = format!("{id}/{path}");
    match Resource::of(path) {
        Resource::Init(_, name) => immutable(archive, &key, name, headers).await,
        Resource::Segment(_, msn) => immutable(archive, &key, &segment_name(msn), headers).await,
        Resource::Still(msn) => immutable(archive, &key, &still_name(msn), headers).await,
        resource => changing(archive, &key, resource, headers).await,
    }
}

/// What never changes. Of a range no more than its bytes are read.
async fn immutable(
    archive: &Arc<dyn Archive>,
    key: &str,
    name: &str,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let object = Immutable {
        name,
        content_type: content_type(key),
        cache: Cache::YEAR,
    };
    if [header::RANGE, header::IF_NONE_MATCH]
        .iter()
        .any(|name| headers.contains_key(name))
    {
        let length = archive.size(key).await.map_err(refused)?;
        let portion = object.portion(length, headers);
        let body = match &portion {
            Portion::Range(range) => archive.get_range(key, range.clone()).await.map_err(refused)?,
            Portion::Whole => archive.get(key).await.map_err(refused)?.body,
            Portion::Nothing | Portion::OutOfBounds => Bytes::new(),
        };
        return Ok(object.reply_with(portion, length, body));
    }
    let Object { body, .. } = archive.get(key).await.map_err(refused)?;
    Ok(object.reply(body, headers))
}

async fn changing(
    archive: &Arc<dyn Archive>,
    key: &str,
    resource: Resource<'_>,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let Object { body, content_type } = archive.get(key).await.map_err(refused)?;
    let cache = lifetime(key, &body);
    let text = match resource {
        Resource::File => content_type == "application/json",
        Resource::Part(..) => false,
        _ => true,
    };
    Ok(match text {
        true => compressed(body, &content_type, cache, headers).await,
        false => reply::object(body, &content_type, cache),
    })
}

/// Ends the media playlists in one folder of a broadcast, those that have no end. Gives the folder's length.
pub async fn seal(archive: &Arc<dyn Archive>, id: &BroadcastId, folder: &str) -> Result<Span, ArchiveError> {
    seal_playlist(archive, &format!("{id}/{folder}/iframes.m3u8")).await?;
    let playlist = seal_playlist(archive, &format!("{id}/{folder}/index.m3u8")).await?;
    Ok(playlist.map_or(Span::ZERO, |body| length(&body)))
}

async fn seal_playlist(archive: &Arc<dyn Archive>, key: &str) -> Result<Option<Bytes>, ArchiveError> {
    let playlist = match archive.get(key).await {
        Err(ArchiveError::NotFound(_)) => return Ok(None),
        playlist => playlist?,
    };
    let text = playlist.body.clone();
    if !is_ended(&text) {
        let body = [&text[..], END_LIST.as_bytes()].concat().into();
        archive.put(key, Object { body, ..playlist }).await?;
    }
    Ok(Some(text))
}

/// Where a playlist of our own ends, counted from the origin: segments not in it were before its first.
fn length(playlist: &[u8]) -> Span {
    let Ok(text) = std::str::from_utf8(playlist) else {
        return Span::ZERO;
    };
    let first = text
        .lines()
        .find_map(|line| line.strip_prefix("#EXT-X-MEDIA-SEQUENCE:")?.parse().ok());
    let before = Grid::default().segment().times(first.unwrap_or(0));
    let durations = text.lines().filter_map(|line| {
        let seconds = line
            .strip_prefix("#EXTINF:")?
            .trim_end_matches(',')
            .parse::<f64>()
            .ok()?;
        Some((seconds * TICKS_PER_SECOND as f64).round() as i64)
    });
    before + Span::from_ticks(durations.sum())
}

/// A text, gzipped if the request takes it. Three hours of playlist take some milliseconds, off the reactor.
async fn compressed(body: Bytes, content_type: &str, cache: Cache, headers: &HeaderMap) -> Response {
    if accepts_gzip(headers) {
        let plain = body.clone();
        if let Ok(zipped) = tokio::task::spawn_blocking(move || gzip(&plain)).await {
            return reply::text(zipped, true, content_type, cache);
        }
    }
    reply::text(body, false, content_type, cache)
}

fn refused(error: ArchiveError) -> Problem {
    match error {
        ArchiveError::NotFound(_) | ArchiveError::BadKey(_) => Problem::not_found("there is no such thing"),
        // The archive itself says when it goes away and when it is back.
        ArchiveError::Io { source, .. } if source.kind() == std::io::ErrorKind::NotConnected => {
            Problem::unavailable("the archive is away")
        }
        ArchiveError::Io { key, source } => {
            tracing::error!(%key, error = %source, "the archive cannot be read");
            Problem {
                status: StatusCode::BAD_GATEWAY,
                detail: "the archive failed".into(),
                cache: Cache::No,
            }
        }
    }
}
