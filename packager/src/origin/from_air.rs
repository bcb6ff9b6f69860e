//! A broadcast on air, served from memory.

use std::sync::Arc;

use axum::http::HeaderMap;
use axum::response::Response;
use timeline::PartIndex;

use super::directives::{Directives, TooFar, Wanted};
use super::immutable::Immutable;
use super::reply::{self, Cache, Problem, accepts_gzip};
use super::resource::Resource;
use crate::air::{Air, Front, Impatient, State};
use crate::archive::content_type;
use crate::listing::{Version, part_name, segment_name};
use crate::playlist::CONTENT_TYPE;
use crate::storyboard::{self, still_name};
use crate::text::Text;
use crate::whole::Listed;

/// `None`: only the archive can have it.
pub async fn serve(
    air: &Air,
    resource: Resource<'_>,
    query: &str,
    headers: &HeaderMap,
) -> Result<Option<Response>, Problem> {
    match resource {
        Resource::Multivariant => {
            multivariant(air, headers, |front| {
                Some(&front.presented.as_ref()?.multivariant)
            })
            .await
        }
        Resource::AudioOnly => {
            multivariant(air, headers, |front| {
                front.presented.as_ref()?.audio_only.as_ref()
            })
            .await
        }
        Resource::Playlist(rendition) => playlist(air, rendition, query, headers).await,
        Resource::IFrames(rendition) => iframes(air, rendition, query, headers).await,
        Resource::Init(rendition, name) => Ok(init(air, rendition, name, headers)),
        Resource::Segment(rendition, msn) => segment(air, rendition, msn, headers),
        Resource::Part(rendition, index) => part(air, rendition, index, headers).await.map(Some),
        Resource::Storyboard => Ok(storyboard(air, headers)),
        Resource::Still(msn) => Ok(still(air, msn, headers)),
        Resource::Text(..) | Resource::File | Resource::Recording => Ok(None),
    }
}

async fn multivariant(
    air: &Air,
    headers: &HeaderMap,
    text: impl Fn(&Front) -> Option<&Text>,
) -> Result<Option<Response>, Problem> {
    let front = presented(air).await?;
    let text = text(&front).ok_or_else(|| Problem::not_found("this broadcast has no such playlist"))?;
    let gzipped = accepts_gzip(headers);
    let body = if gzipped { &text.gzip } else { &text.plain };
    let cache = if front.state == State::Ended {
        ENDED
    } else {
        Cache::Seconds(2)
    };
    Ok(Some(reply::text(body.clone(), gzipped, CONTENT_TYPE, cache)))
}

/// After the end nothing changes but by an edit of the recording.
pub const ENDED: Cache = Cache::Seconds(300);

/// While it grows by a cue a segment. Previews are looked at twice, not at once.
pub const STORYBOARD: Cache = Cache::Seconds(3);

/// A text may be taken back from a segment: copies of it are soon gone.
pub const TEXTS: Cache = Cache::Seconds(3);

/// The front once a whole segment is listed in all renditions: the first answer is held until then.
async fn presented(air: &Air) -> Result<Arc<Front>, Problem> {
    let front = air
        .wait(air.promises.patience(), |front| {
            front.ready || front.state != State::Live
        })
        .await;
    let front = front.map_err(impatient)?;
    match front.state {
        State::Gone if front.ready => Err(gone()),
        State::Gone => Err(Problem::not_found("this broadcast ended without any media")),
        State::Live | State::Ended => Ok(front),
    }
}

/// The front once what is asked for has arrived, or nothing more will.
async fn arrival(air: &Air, arrived: impl Fn(&Front) -> bool) -> Result<Arc<Front>, Problem> {
    let arrived = |front: &Front| arrived(front) || front.state != State::Live;
    let front = air.wait(air.promises.patience(), arrived).await;
    let front = front.map_err(impatient)?;
    match front.state {
        State::Gone => Err(gone()),
        State::Live | State::Ended => Ok(front),
    }
}

async fn playlist(
    air: &Air,
    rendition: &str,
    query: &str,
    headers: &HeaderMap,
) -> Result<Option<Response>, Problem> {
    let front = presented(air).await?;
    if let Some(n) = texts(&front, rendition) {
        return whole(air, &front, |front| front.texts.get(n).cloned(), query, headers).await;
    }
    let Some(lane) = lane(&front, rendition) else {
        return Ok(None);
    };
    if front.state == State::Ended {
        // With ENDLIST directives mean nothing (6.2.5).
        return Ok(Some(version(&front, lane, false, headers, ENDED)));
    }
    let td = air.promises.target_duration;
    let directives = directives(query, td)?;
    let wanted = directives.wanted(front.next, &air.grid, air.promises.advance_parts());
    let wanted = wanted.map_err(|TooFar| too_far())?;
    let front = arrival(air, |front| wanted.is_met(front.next)).await?;
    let cache = lifetime(&directives, wanted, td);
    Ok(Some(version(&front, lane, directives.skip, headers, cache)))
}

async fn iframes(
    air: &Air,
    rendition: &str,
    query: &str,
    headers: &HeaderMap,
) -> Result<Option<Response>, Problem> {
    let front = presented(air).await?;
    let Some(lane) = lane(&front, rendition) else {
        return Ok(None);
    };
    let listed = |front: &Front| front.iframes.get(lane).cloned().flatten();
    if listed(&front).is_none() {
        return Err(Problem::not_found("this rendition has no pictures"));
    }
    whole(air, &front, listed, query, headers).await
}

/// A playlist of I-frames or texts. It has no parts, so that a part asked for means nothing; it can be waited for by
/// its own sequence numbers (6.2.5.2).
async fn whole(
    air: &Air,
    front: &Front,
    listed: impl Fn(&Front) -> Option<Arc<Listed>>,
    query: &str,
    headers: &HeaderMap,
) -> Result<Option<Response>, Problem> {
    let now = listed(front).ok_or_else(gone)?;
    if front.state == State::Ended {
        return Ok(Some(rendered(&now.version, false, headers, ENDED)));
    }
    let td = air.promises.target_duration;
    let Directives { msn, skip, .. } = directives(query, td)?;
    // The last one listed, and two.
    if msn.is_some_and(|msn| msn > now.next.saturating_add(1)) {
        return Err(too_far());
    }
    let arrived = |front: &Front| {
        let next = listed(front).map_or(0, |listed| listed.next);
        msn.is_none_or(|msn| msn < next)
    };
    let newest = listed(&*arrival(air, arrived).await?).ok_or_else(gone)?;
    let cache = Cache::Seconds(if msn.is_some() { 6 * td } else { 1 });
    Ok(Some(rendered(&newest.version, skip, headers, cache)))
}

fn directives(query: &str, target_duration: u32) -> Result<Directives, Problem> {
    // A malformed query never becomes right.
    let cache = Cache::Seconds(4 * target_duration);
    Directives::parse(query).map_err(|bad| Problem::bad_request(bad.to_string(), cache))
}

/// It will be there before long, so this refusal must not be kept: no 4 × target duration here.
fn too_far() -> Problem {
    let detail = "_HLS_msn and _HLS_part are too far ahead of the live edge";
    Problem::bad_request(detail, Cache::Seconds(1))
}

/// Appendix B.1: a blocking answer holds for six target durations, another for no longer than a part or two.
fn lifetime(directives: &Directives, wanted: Wanted, target_duration: u32) -> Cache {
    match (directives.msn, wanted) {
        (None, _) => Cache::Seconds(1),
        // Answered before the segment was whole; soon the same request means the whole segment.
        (_, Wanted::SegmentBegun(_)) => Cache::Seconds(1),
        _ => Cache::Seconds(6 * target_duration),
    }
}

fn version(front: &Front, lane: usize, delta: bool, headers: &HeaderMap, cache: Cache) -> Response {
    rendered(&front.playlists[lane], delta, headers, cache)
}

fn rendered(version: &Version, delta: bool, headers: &HeaderMap, cache: Cache) -> Response {
    let gzipped = accepts_gzip(headers);
    reply::text(version.text(delta, gzipped), gzipped, CONTENT_TYPE, cache)
}

fn init(air: &Air, rendition: &str, name: &str, headers: &HeaderMap) -> Option<Response> {
    let front = air.front();
    let (_, entry) = front.presented.as_ref()?.ladder.named(rendition)?;
    let body = entry.init(name)?;
    let init = Immutable {
        name,
        content_type: entry.content_type(),
        cache: Cache::YEAR,
    };
    Some(init.reply(body.clone(), headers))
}

fn segment(air: &Air, rendition: &str, msn: u64, headers: &HeaderMap) -> Result<Option<Response>, Problem> {
    let front = air.front();
    let Some((lane, content_type)) = shelf(&front, rendition) else {
        return Ok(None);
    };
    if let Some(body) = air.segment(lane, msn) {
        let segment = Immutable {
            name: &segment_name(msn),
            content_type,
            cache: Cache::YEAR,
        };
        return Ok(Some(segment.reply(body, headers)));
    }
    // What has left memory is in the archive.
    match msn < front.next.msn {
        true => Ok(None),
        false => Err(Problem::not_found("this segment is not whole yet")),
    }
}

/// A part. The one that the playlist hints at is waited for, and sent in one piece, so that players measure
/// the network and not the encoder (6.2.5).
async fn part(
    air: &Air,
    rendition: &str,
    index: PartIndex,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let front = air.front();
    let (lane, content_type) =
        shelf(&front, rendition).ok_or_else(|| Problem::not_found("there is no such rendition"))?;
    if index == front.next && front.state == State::Live {
        let published = |front: &Front| index < front.next || front.state != State::Live;
        air.wait(air.promises.patience(), published)
            .await
            .map_err(impatient)?;
    }
    let body = air
        .part(lane, index)
        .ok_or_else(|| Problem::not_found("there is no such part"))?;
    let part = Immutable {
        name: &part_name(index),
        content_type,
        cache: Cache::Immutable { seconds: 60 },
    };
    Ok(part.reply(body, headers))
}

fn storyboard(air: &Air, headers: &HeaderMap) -> Option<Response> {
    let sheet = air.album.sheet()?;
    let gzipped = accepts_gzip(headers);
    let cache = match air.front().state {
        State::Ended => ENDED,
        State::Live | State::Gone => STORYBOARD,
    };
    Some(reply::text(
        sheet.text(gzipped),
        gzipped,
        content_type(storyboard::STORYBOARD),
        cache,
    ))
}

/// What has left memory is in the archive.
fn still(air: &Air, msn: u64, headers: &HeaderMap) -> Option<Response> {
    let (name, body) = (still_name(msn), air.album.still(msn)?);
    let still = Immutable {
        name: &name,
        content_type: content_type(&name),
        cache: Cache::YEAR,
    };
    Some(still.reply(body, headers))
}

fn lane(front: &Front, rendition: &str) -> Option<usize> {
    front
        .presented
        .as_ref()?
        .ladder
        .named(rendition)
        .map(|(lane, _)| lane)
}

fn texts(front: &Front, folder: &str) -> Option<usize> {
    let folders = &front.presented.as_ref()?.texts;
    folders.iter().position(|known| *known == folder)
}

fn shelf(front: &Front, rendition: &str) -> Option<(usize, &'static str)> {
    let (lane, entry) = front.presented.as_ref()?.ladder.named(rendition)?;
    Some((lane, entry.content_type()))
}

fn gone() -> Problem {
    Problem::unavailable("this broadcast is not on air any more")
}

fn impatient(impatient: Impatient) -> Problem {
    Problem::unavailable(match impatient {
        Impatient::Crowded => "too many requests wait for this broadcast",
        Impatient::Late => "what was asked for did not come in time",
    })
}
