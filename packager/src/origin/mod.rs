//! The origin: every broadcast over HTTP. Those on air come from memory, and requests for what comes next are
//! held until it is there; all else comes from the archive.

mod directives;
mod from_air;
mod from_archive;
pub(crate) mod immutable;
pub(crate) mod reply;
mod resource;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, PoisonError, RwLock};

use axum::Router;
use axum::body::HttpBody;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use percent_encoding::percent_decode_str;
use timeline::{Archive, ArchiveError, BroadcastId, Grid, MediaTime, Span, TextRendition, Timeline, feed};

use crate::air::Air;
use crate::config::Config;
use crate::error::Error;
use crate::kept::Kept;
use crate::listing::Promises;
use crate::meters::Served;
use crate::packaging::{Packaged, Packaging};
use crate::recording;
pub(crate) use from_air::{ENDED, STORYBOARD, TEXTS};
pub(crate) use reply::Cache;
use reply::Problem;
pub use resource::Resource;

/// Packages broadcasts and serves them. Cheap to clone.
#[derive(Clone)]
pub struct Origin(Arc<Inner>);

struct Inner {
    config: Config,
    archive: Arc<dyn Archive>,
    recordings: recording::Library,
    /// The broadcasts in memory: on air, or ended a moment ago.
    on_air: RwLock<HashMap<BroadcastId, Arc<Air>>>,
    served: Served,
}

impl Origin {
    pub fn new(config: Config, archive: Arc<dyn Archive>) -> Origin {
        Origin(Arc::new(Inner {
            config,
            recordings: recording::Library::new(archive.clone()),
            archive,
            on_air: RwLock::default(),
            served: Served::default(),
        }))
    }

    /// `/broadcasts/{id}/…`. A route that is more exact than that (the room's replay chunks) may be merged
    /// beside it.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/broadcasts/{id}/{*path}", get(serve).options(preflight))
            .with_state(self.clone())
    }

    /// The playlist of the texts in a folder, where another route is more exact than [`Origin::router`]'s.
    pub fn texts_router(&self, folder: &str) -> Router {
        Router::new()
            .route(
                &format!("/broadcasts/{{id}}/{folder}/index.m3u8"),
                get(serve).options(preflight),
            )
            .with_state(self.clone())
    }

    /// Puts a broadcast on air: its requests are held from now on.
    pub fn open(&self, job: Job) -> Result<OnAir, Error> {
        let promises = Promises::new(&job.grid, job.part_hold_back_ms);
        let air = Arc::new(Air::new(
            job.broadcast.clone(),
            job.grid,
            promises,
            &self.0.config,
        ));
        match self
            .0
            .on_air
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(air.id.clone())
        {
            Entry::Occupied(_) => return Err(Error::OnAir(air.id.clone())),
            Entry::Vacant(place) => place.insert(air.clone()),
        };
        Ok(OnAir {
            origin: self.clone(),
            air,
            job,
            kept: Kept::default(),
            over: false,
        })
    }

    /// [`Origin::open`] and [`OnAir::package`] in one, for a line that begins, with the configured hold-back.
    pub fn package(
        &self,
        broadcast: BroadcastId,
        timeline: Timeline,
        grid: Grid,
        line: feed::Consumer,
    ) -> impl Future<Output = Result<Packaged, Error>> + Send + use<> {
        let part_hold_back_ms = self.0.config.part_hold_back_ms;
        let on_air = self.open(Job {
            broadcast,
            timeline,
            grid,
            part_hold_back_ms,
            texts: Vec::new(),
        });
        async move { on_air?.package(line).await }
    }

    /// Ends in the archive what a crash left open there: each of its media playlists without ENDLIST gains one.
    /// Gives how long the broadcast is by its longest playlist.
    pub async fn seal(&self, broadcast: &BroadcastId) -> Result<MediaTime, ArchiveError> {
        let mut longest = Span::ZERO;
        for name in self.0.archive.list(broadcast.as_str()).await? {
            longest = longest.max(from_archive::seal(&self.0.archive, broadcast, &name).await?);
        }
        Ok(MediaTime::ZERO + longest)
    }

    fn on_air(&self, id: &BroadcastId) -> Option<Arc<Air>> {
        self.0
            .on_air
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(id)
            .cloned()
    }

    /// From then on the broadcast is served from the archive.
    fn forget(&self, id: &BroadcastId) {
        self.0
            .on_air
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(id);
    }
}

/// A broadcast that is to be packaged. All of it is fixed for the broadcast's whole life.
#[derive(Clone, Debug)]
pub struct Job {
    pub broadcast: BroadcastId,
    pub timeline: Timeline,
    pub grid: Grid,
    /// PART-HOLD-BACK; less than three part targets is raised to that.
    pub part_hold_back_ms: u32,
    /// Listed beside what the line brings.
    pub texts: Vec<TextRendition>,
}

/// A broadcast's place in memory. Dropped before its end, those who wait for it are let go.
pub struct OnAir {
    origin: Origin,
    air: Arc<Air>,
    job: Job,
    kept: Kept,
    over: bool,
}

/// Where an interrupted line stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interrupted {
    /// The first MSN that was never used: the line goes on there or later.
    pub next_msn: u64,
    /// Where its last kept segment ends.
    pub at: MediaTime,
}

impl OnAir {
    /// Reads back what the archive has of the line, which was interrupted: its playlists go on with it, and with
    /// gaps up to the first segment of [`OnAir::package`].
    pub async fn resume(&mut self) -> Result<Interrupted, Error> {
        let Job {
            broadcast,
            grid,
            texts,
            ..
        } = &self.job;
        let kept = Kept::read(&*self.origin.0.archive, broadcast, texts).await;
        self.kept = kept.map_err(|error| Error::Unreadable(broadcast.clone(), error))?;
        Ok(Interrupted {
            next_msn: self.kept.next_msn(),
            at: self.kept.end(grid),
        })
    }

    /// Packages the line until its end (or until it breaks off); then the playlists carry ENDLIST and everything
    /// is in the archive. Whatever it returns, the broadcast is over.
    pub async fn package(mut self, line: feed::Consumer) -> Result<Packaged, Error> {
        let packaged = Packaging {
            broadcast: self.job.broadcast.clone(),
            timeline: self.job.timeline,
            grid: self.job.grid,
            texts: self.job.texts.clone(),
            config: self.origin.0.config.clone(),
            air: self.air.clone(),
            archive: self.origin.0.archive.clone(),
            kept: std::mem::take(&mut self.kept),
        }
        .run(line)
        .await;
        self.origin.0.recordings.prepare(&self.air.id);
        self.linger();
        packaged
    }

    /// Keeps it in memory for those who watch its last moments; then only the archive has it.
    fn linger(mut self) {
        self.over = true;
        let (origin, id) = (self.origin.clone(), self.air.id.clone());
        tokio::spawn(async move {
            tokio::time::sleep(origin.0.config.linger()).await;
            origin.forget(&id);
        });
    }
}

impl Drop for OnAir {
    fn drop(&mut self) {
        if !self.over {
            self.air.abandon();
            self.origin.forget(&self.air.id);
        }
    }
}

async fn serve(State(origin): State<Origin>, mut request: Request) -> Response {
    if request.method() == Method::HEAD {
        // Ranges are defined for GET alone (RFC 9110 14.2).
        request.headers_mut().remove(header::RANGE);
    }
    let Some((id, path)) = named(request.uri().path()) else {
        return open(Problem::not_found("there is no such path").into_response());
    };
    let query = request.uri().query().unwrap_or("");
    let answer = origin.answer(&id, &path, query, request.headers()).await;
    let response = answer.unwrap_or_else(IntoResponse::into_response);
    let bytes = response.body().size_hint().lower();
    origin.0.served.count(&Resource::of(&path), bytes);
    open(response)
}

/// A broadcast and what is asked of it. Read by hand: extractors copy the path and all headers, for each of twenty
/// requests a second of every viewer.
fn named(path: &str) -> Option<(Cow<'_, str>, Cow<'_, str>)> {
    let unescaped = |text| percent_decode_str(text).decode_utf8().ok();
    let (id, path) = path.strip_prefix("/broadcasts/")?.split_once('/')?;
    Some((unescaped(id)?, unescaped(path)?))
}

/// Any page may read it, with Age (how old an edge's copy is, for players) and Date. Written here and not
/// by layers, which cost at twenty requests a second of each viewer; and nothing joins Vary, so that caches keep two
/// forms of a playlist and no more.
fn open(mut response: Response) -> Response {
    const ANY: HeaderValue = HeaderValue::from_static("*");
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, ANY);
    headers.insert(
        header::ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static("age,date"),
    );
    headers.insert("timing-allow-origin", ANY);
    response
}

async fn preflight() -> Response {
    let allowed = [
        (header::ACCESS_CONTROL_ALLOW_METHODS, "GET,HEAD,OPTIONS"),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, "*"),
        (header::ACCESS_CONTROL_MAX_AGE, "86400"),
    ];
    open(allowed.into_response())
}

impl Origin {
    async fn answer(
        &self,
        id: &str,
        path: &str,
        query: &str,
        headers: &HeaderMap,
    ) -> Result<Response, Problem> {
        let id: BroadcastId = id
            .parse()
            .map_err(|_| Problem::not_found("there is no such broadcast"))?;
        let (archive, resource) = (&self.0.archive, Resource::of(path));
        // The room answers for its own folder, also where its name was escaped, but for the playlist of its texts.
        if path.starts_with("chat/") && resource != Resource::Playlist("chat") {
            return Err(Problem::not_found("there is no such path"));
        }
        let on_air = self.on_air(&id);
        if resource == Resource::Recording {
            return match on_air.is_some_and(|air| air.is_live()) {
                true => Err(recording::too_early()),
                false => self.0.recordings.serve(&id, headers).await,
            };
        }
        match on_air {
            Some(air) => match from_air::serve(&air, resource, query, headers).await? {
                Some(response) => Ok(response),
                None => from_archive::serve(archive, &id, path, headers).await,
            },
            None => from_archive::serve(archive, &id, path, headers).await,
        }
    }
}
