//! The broadcasts this server knows, each with its line, its source feed and its publisher.
//!
//! A broadcast's line moves only forward: waiting → live (the first publish) → ended. Who runs a live one is
//! told through [`Opened`]; this file and its folder only keep what is true.

mod broadcast;
mod facts;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context;
use bytes::Bytes;
use futures::StreamExt;
use timeline::feed::Consumer;
use timeline::{Archive, BroadcastId, Object};
use tokio::sync::mpsc;

use crate::clock;

pub use broadcast::{Broadcast, Publisher};
pub use facts::{Facts, Latency, State, Terms, Wanted};

use facts::{MAX_PART_HOLD_BACK_MS, MAX_TITLE_CHARS};

/// One name in the archive of a broadcast's own facts.
const FACTS: &str = "broadcast.json";

/// A bucket answers each in some tens of milliseconds, and may hold thousands.
const READ_AT_ONCE: usize = 32;

/// A broadcast has just gone on air. The consumer stands before its first record: the picture that opens a line
/// must not be lost, for a publisher may not send another keyframe for seconds.
pub struct Opened(pub Arc<Broadcast>, pub Consumer);

#[derive(Clone)]
pub struct Broadcasts(Arc<Shared>);

struct Shared {
    archive: Arc<dyn Archive>,
    known: Mutex<HashMap<BroadcastId, Arc<Broadcast>>>,
    opened: mpsc::UnboundedSender<Opened>,
}

#[derive(Debug, thiserror::Error)]
pub enum Refused {
    #[error("there is a broadcast {0} already")]
    Exists(BroadcastId),
    #[error("a title is 1 to {MAX_TITLE_CHARS} characters, without control characters")]
    BadTitle,
    #[error("PART-HOLD-BACK is at most {MAX_PART_HOLD_BACK_MS} ms")]
    BadHoldBack,
    #[error("the broadcast could not be kept: {0}")]
    NotKept(#[from] timeline::ArchiveError),
}

impl Broadcasts {
    /// Opens with what the archive knows.
    pub async fn open(
        archive: Arc<dyn Archive>,
    ) -> anyhow::Result<(Broadcasts, mpsc::UnboundedReceiver<Opened>)> {
        let (opened, openings) = mpsc::unbounded_channel();
        let broadcasts = Broadcasts(Arc::new(Shared {
            archive,
            known: Mutex::default(),
            opened,
        }));
        broadcasts.load().await?;
        Ok((broadcasts, openings))
    }

    pub fn get(&self, id: &BroadcastId) -> Option<Arc<Broadcast>> {
        self.known().get(id).cloned()
    }

    /// Live ones first, then the newest.
    pub fn list(&self) -> Vec<Arc<Broadcast>> {
        let mut all: Vec<_> = self.known().values().cloned().collect();
        all.sort_by_key(|b| (b.facts().state != State::Live, std::cmp::Reverse(b.created)));
        all
    }

    pub async fn create(&self, wanted: Wanted) -> Result<Arc<Broadcast>, Refused> {
        let id = wanted.id.clone();
        let facts = Facts::of(wanted, clock::now())?;
        // A folder whose facts could not be read at start is left alone: its names must never mean other bytes.
        if self.0.archive.get(&format!("{id}/{FACTS}")).await.is_ok() && self.get(&id).is_none() {
            return Err(Refused::Exists(id));
        }
        let broadcast = Arc::new(Broadcast::of(facts, self.0.opened.clone()));
        match self.known().entry(id.clone()) {
            std::collections::hash_map::Entry::Occupied(_) => return Err(Refused::Exists(id)),
            std::collections::hash_map::Entry::Vacant(free) => free.insert(broadcast.clone()),
        };
        if let Err(error) = self.save(&broadcast).await {
            self.known().remove(&broadcast.id);
            return Err(error.into());
        }
        Ok(broadcast)
    }

    /// Keeps the broadcast's facts in the archive.
    pub async fn save(&self, broadcast: &Broadcast) -> Result<(), timeline::ArchiveError> {
        let _turn = broadcast.saving.lock().await;
        let body = serde_json::to_vec_pretty(&broadcast.facts()).unwrap_or_default();
        let object = Object {
            body: Bytes::from(body),
            content_type: "application/json".into(),
        };
        self.0
            .archive
            .put(&format!("{}/{FACTS}", broadcast.id), object)
            .await
    }

    async fn load(&self) -> anyhow::Result<()> {
        let names = self.0.archive.list("").await.context("cannot read the archive")?;
        let ids = names.iter().filter_map(|name| name.parse::<BroadcastId>().ok());
        let read = async |id: BroadcastId| (self.read_facts(&id).await, id);
        let mut all = futures::stream::iter(ids.map(read)).buffer_unordered(READ_AT_ONCE);
        while let Some((facts, id)) = all.next().await {
            match facts {
                Ok(facts) => {
                    let broadcast = Arc::new(Broadcast::of(facts, self.0.opened.clone()));
                    self.known().insert(id, broadcast);
                }
                Err(error) => {
                    tracing::warn!(broadcast = %id, "left out, its facts cannot be read: {error:#}")
                }
            }
        }
        Ok(())
    }

    async fn read_facts(&self, id: &BroadcastId) -> anyhow::Result<Facts> {
        let object = self.0.archive.get(&format!("{id}/{FACTS}")).await?;
        let facts: Facts = serde_json::from_slice(&object.body)?;
        anyhow::ensure!(facts.id == *id, "they name {}", facts.id);
        Ok(facts)
    }

    fn known(&self) -> MutexGuard<'_, HashMap<BroadcastId, Arc<Broadcast>>> {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use timeline::feed::Record;
    use timeline::{Layout, MediaTime, SourceName};

    async fn broadcasts(data: &tempfile::TempDir) -> (Broadcasts, mpsc::UnboundedReceiver<Opened>) {
        let archive = packager::archive::Disk::open(data.path().to_owned()).unwrap();
        Broadcasts::open(Arc::new(archive)).await.unwrap()
    }

    fn wanted(id: &str) -> Wanted {
        Wanted {
            id: id.parse().unwrap(),
            title: "Algebra".into(),
            terms: Terms {
                guests: true,
                latency: Latency::Standard,
                part_hold_back_ms: 0,
                chat_subtitles: false,
            },
        }
    }

    fn screen_first() -> Layout {
        Layout {
            arrangement: timeline::Arrangement::PictureInPicture,
            sources: vec!["screen".parse().unwrap(), SourceName::main()],
        }
    }

    #[tokio::test]
    async fn a_layout_and_the_promised_sources_outlive_a_restart() {
        let data = tempfile::tempdir().unwrap();
        {
            let (broadcasts, _openings) = broadcasts(&data).await;
            let broadcast = broadcasts.create(wanted("a")).await.unwrap();
            broadcast.open_line(clock::now()).unwrap();
            broadcast.arrange(screen_first());
            broadcast.invite("Ada").unwrap();
            broadcasts.save(&broadcast).await.unwrap();
        }
        let (broadcasts, _openings) = broadcasts(&data).await;
        let broadcast = broadcasts.get(&"a".parse().unwrap()).unwrap();
        let (_, mut source) = broadcast.take_up().unwrap();
        assert_eq!(source.next().await, Ok(Some(Record::Layout(screen_first()))));
        assert_eq!(broadcast.invite("Ada").unwrap().as_str(), "ada-2");
    }

    #[tokio::test]
    async fn what_is_kept_is_known_after_a_restart() {
        let data = tempfile::tempdir().unwrap();
        let before = {
            let (broadcasts, _openings) = broadcasts(&data).await;
            let broadcast = broadcasts.create(wanted("a")).await.unwrap();
            let timeline = broadcast.open_line(clock::now()).unwrap();
            broadcast.ended(timeline, MediaTime::from_ticks(288_000));
            broadcasts.save(&broadcast).await.unwrap();
            serde_json::to_value(broadcast.facts()).unwrap()
        };
        let (broadcasts, _openings) = broadcasts(&data).await;
        let broadcast = broadcasts.get(&"a".parse().unwrap()).unwrap();
        assert_eq!(serde_json::to_value(broadcast.facts()).unwrap(), before);
        assert!(matches!(
            broadcasts.create(wanted("a")).await,
            Err(Refused::Exists(_))
        ));
    }
}
