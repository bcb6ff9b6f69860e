//! The recordings that can be downloaded: read from the archive when they are asked for, a few kept in memory.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::future::{BoxFuture, FutureExt, Shared, TryFutureExt};
use sha2::{Digest, Sha256};
use timeline::{Archive, ArchiveError, BroadcastId, Object};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use super::INDEX;
use super::index::{Index, LONGEST, Track};
use super::layout::Layout;
use super::listed::{Choice, Listed, fingerprint};
use super::movie::{BadMovie, movie};
use super::samples::Samples;
use crate::listing::segment_name;

/// Each is 5 MB for three hours. Those being downloaded live on without a place here.
const MOST_KEPT: usize = 4;

/// A recording may be edited, so the playlists are looked at again after this.
const FRESH: Duration = Duration::from_secs(60);

/// A request waits for an index to be made, but not until an edge or a browser gives up.
const PATIENCE: Duration = Duration::from_secs(20);

/// Each holds some reads of 256 KiB: 200 MB if all are slow at once. Browsers keep the download of a paused
/// recording open, so it is not few.
const MOST_DOWNLOADS: usize = 256;

/// Segments that are read at once while an index is made anew.
const READ_AHEAD: usize = 2;

/// Cheap to clone.
#[derive(Clone)]
pub struct Library(Arc<Inner>);

struct Inner {
    archive: Arc<dyn Archive>,
    state: Mutex<State>,
    /// Making an index anew reads gigabytes: one at a time.
    rebuilding: Semaphore,
    downloads: Arc<Semaphore>,
}

#[derive(Default)]
struct State {
    /// The newest last.
    kept: VecDeque<Kept>,
    /// Being read; whoever else wants one waits for the same.
    loading: HashMap<BroadcastId, Loading>,
}

struct Kept {
    id: BroadcastId,
    checked: Instant,
    recording: Arc<Recording>,
}

type Loading = Shared<BoxFuture<'static, Result<Arc<Recording>, Unavailable>>>;

/// A recording that can be downloaded.
pub struct Recording {
    pub layout: Arc<Layout>,
    /// Changes with its bytes.
    pub tag: String,
    /// The playlists it was made of.
    made_of: [u8; 32],
}

/// Why there is no recording.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    #[error("there is no recording")]
    Absent,
    #[error("this broadcast ended without any media")]
    Empty,
    #[error("the broadcast is not over yet; its recording is here after the end")]
    Unfinished,
    #[error("the recording is being prepared")]
    Preparing,
    #[error("the archive failed: {0}")]
    Archive(String),
    #[error("the archive is damaged: {0}")]
    Damaged(String),
}

impl Library {
    pub fn new(archive: Arc<dyn Archive>) -> Library {
        Library(Arc::new(Inner {
            archive,
            state: Mutex::default(),
            rebuilding: Semaphore::new(1),
            downloads: Arc::new(Semaphore::new(MOST_DOWNLOADS)),
        }))
    }

    /// The recording of a broadcast that is over.
    pub async fn get(&self, id: &BroadcastId) -> Result<Arc<Recording>, Unavailable> {
        match self.kept_or_loading(id) {
            Ok(recording) => Ok(recording),
            Err(loading) => timeout(PATIENCE, loading)
                .await
                .unwrap_or(Err(Unavailable::Preparing)),
        }
    }

    /// Begins to read a recording, so that the first download need not wait for it.
    pub fn prepare(&self, id: &BroadcastId) {
        // It is read by a task of its own.
        drop(self.kept_or_loading(id));
    }

    pub fn archive(&self) -> &Arc<dyn Archive> {
        &self.0.archive
    }

    /// Places for downloads.
    pub fn downloads(&self) -> &Arc<Semaphore> {
        &self.0.downloads
    }

    fn kept_or_loading(&self, id: &BroadcastId) -> Result<Arc<Recording>, Loading> {
        let mut state = self.0.state();
        let kept = state.kept.iter().find(|kept| kept.id == *id);
        let known = kept.map(|kept| kept.recording.clone());
        if let Some(kept) = kept.filter(|kept| kept.checked.elapsed() < FRESH) {
            return Ok(kept.recording.clone());
        }
        if let Some(loading) = state.loading.get(id) {
            return Err(loading.clone());
        }
        // A task: a client that goes away must not undo what was read for it.
        let (inner, own) = (self.0.clone(), id.clone());
        let task = tokio::spawn(async move {
            let read = inner.read(&own, known).await;
            inner.loaded(own, &read);
            read
        });
        let died = |error: tokio::task::JoinError| Unavailable::Archive(error.to_string());
        let loading = task.map_err(died).map(Result::flatten).boxed().shared();
        state.loading.insert(id.clone(), loading.clone());
        Err(loading)
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing can panic while it is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn loaded(&self, id: BroadcastId, read: &Result<Arc<Recording>, Unavailable>) {
        let mut state = self.state();
        state.loading.remove(&id);
        state.kept.retain(|kept| kept.id != id);
        if let Ok(recording) = read {
            state.kept.push_back(Kept {
                id,
                checked: Instant::now(),
                recording: recording.clone(),
            });
            if state.kept.len() > MOST_KEPT {
                state.kept.pop_front();
            }
        }
    }

    async fn read(
        &self,
        id: &BroadcastId,
        known: Option<Arc<Recording>>,
    ) -> Result<Arc<Recording>, Unavailable> {
        let playlists = self.playlists(id).await?;
        let made_of = fingerprint(playlists.iter().map(|(name, text)| (name.as_str(), &text[..])));
        if let Some(known) = known.filter(|known| known.made_of == made_of) {
            return Ok(known);
        }
        let listed = playlists.iter().map(|(name, text)| Listed::of(name, text));
        let listed: Option<Vec<Listed>> = listed.collect();
        let listed = listed.ok_or_else(|| Unavailable::Damaged("a playlist cannot be read".into()))?;
        if listed.iter().any(|listed| !listed.ended) {
            return Err(Unavailable::Unfinished);
        }
        let index = match self.index(id, made_of).await? {
            Some(index) => index,
            None => self.rebuild(id, made_of, &listed).await?,
        };
        self.recording(id, index).await
    }

    /// The media playlists of the renditions that are in a recording.
    async fn playlists(&self, id: &BroadcastId) -> Result<Vec<(String, Bytes)>, Unavailable> {
        let multivariant = self
            .object(format!("{id}/index.m3u8"))
            .await?
            .ok_or(Unavailable::Absent)?;
        let choice = Choice::of(&multivariant)
            .ok_or_else(|| Unavailable::Damaged("the multivariant playlist cannot be read".into()))?;
        let mut playlists = Vec::new();
        for name in choice.renditions() {
            let playlist = self.object(format!("{id}/{name}/index.m3u8")).await?;
            playlists.push((name.to_owned(), playlist.ok_or(Unavailable::Absent)?));
        }
        Ok(playlists)
    }

    async fn recording(&self, id: &BroadcastId, index: Index) -> Result<Arc<Recording>, Unavailable> {
        let (id, made_of) = (id.clone(), index.made_of);
        // A million samples take some tens of milliseconds.
        let made = tokio::task::spawn_blocking(move || {
            movie(&id, &index).map(|layout| (tag(&layout, made_of), layout))
        });
        let made = made
            .await
            .map_err(|error| Unavailable::Damaged(error.to_string()))?;
        let (tag, layout) = made.map_err(|bad| match bad {
            BadMovie::Empty => Unavailable::Empty,
            bad => Unavailable::Damaged(bad.to_string()),
        })?;
        Ok(Arc::new(Recording {
            layout: Arc::new(layout),
            tag,
            made_of,
        }))
    }

    /// The kept index, unless it is missing, damaged, or of other playlists.
    async fn index(&self, id: &BroadcastId, made_of: [u8; 32]) -> Result<Option<Index>, Unavailable> {
        let Some(body) = self.object(format!("{id}/{INDEX}")).await? else {
            return Ok(None);
        };
        let index = match body.len() <= LONGEST {
            true => Index::decode(&body),
            false => Err(super::index::BadIndex::Contradiction),
        };
        match index {
            Ok(index) => Ok(Some(index).filter(|index| index.made_of == made_of)),
            Err(error) => {
                tracing::warn!(broadcast = %id, %error, "the recording's index is made anew");
                Ok(None)
            }
        }
    }

    /// Makes the index from the segments themselves, one after the other, and keeps it.
    async fn rebuild(
        &self,
        id: &BroadcastId,
        made_of: [u8; 32],
        listed: &[Listed],
    ) -> Result<Index, Unavailable> {
        let _turn = self.rebuilding.acquire().await;
        tracing::info!(broadcast = %id, "making the recording's index from its segments");
        let mut tracks = Vec::new();
        for listed in listed {
            tracks.push(self.track(id, listed).await?);
        }
        let index = Index::new(made_of, tracks);
        if let Ok(body) = index.encode() {
            let object = Object {
                body: body.into(),
                content_type: "application/octet-stream".into(),
            };
            if let Err(error) = self.archive.put(&format!("{id}/{INDEX}"), object).await {
                tracing::warn!(broadcast = %id, %error, "the recording's index cannot be kept; it will be made again");
            }
        }
        Ok(index)
    }

    async fn track(&self, id: &BroadcastId, listed: &Listed) -> Result<Track, Unavailable> {
        let folder = format!("{id}/{}", listed.rendition);
        let mut track = Track::named(&listed.rendition);
        let mut inits: HashMap<&str, Option<Bytes>> = HashMap::new();
        let archive = self.archive.clone();
        let keys: Vec<_> = listed
            .segments
            .iter()
            .map(|entry| format!("{folder}/{}", segment_name(entry.msn)))
            .collect();
        let mut segments = futures::stream::iter(keys)
            .map(move |key| object(archive.clone(), key))
            .buffered(READ_AHEAD);
        for entry in &listed.segments {
            let segment = segments.next().await.transpose()?.flatten();
            let init = match inits.get(entry.init.as_str()) {
                Some(known) => known.clone(),
                None => {
                    let init = self.object(format!("{folder}/{}", entry.init)).await?;
                    inits.insert(&entry.init, init.clone());
                    init
                }
            };
            let added = segment
                .zip(init)
                .and_then(|(segment, init)| track.push(entry.msn, &init, Samples::of(&segment).ok()?));
            if added.is_none() {
                tracing::warn!(broadcast = %id, rendition = listed.rendition, msn = entry.msn, "left out of the recording: the segment is missing or damaged");
            }
        }
        Ok(track)
    }

    async fn object(&self, key: String) -> Result<Option<Bytes>, Unavailable> {
        object(self.archive.clone(), key).await
    }
}

async fn object(archive: Arc<dyn Archive>, key: String) -> Result<Option<Bytes>, Unavailable> {
    match archive.get(&key).await {
        Ok(object) => Ok(Some(object.body)),
        Err(ArchiveError::NotFound(_)) => Ok(None),
        Err(error) => Err(Unavailable::Archive(error.to_string())),
    }
}

/// The header tells every sample's place and length, the playlists which segments they are from.
fn tag(layout: &Layout, made_of: [u8; 32]) -> String {
    let hash = Sha256::new()
        .chain_update(layout.head())
        .chain_update(made_of)
        .finalize();
    hash.iter().take(12).map(|byte| format!("{byte:02x}")).collect()
}
