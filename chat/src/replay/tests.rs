use std::collections::BTreeMap;

use async_trait::async_trait;
use serde_json::Value;
use timeline::{Stamp, StampSource, Timeline};

use super::*;
use crate::Event;
use crate::record::Entry;
use crate::testing::{accepted, event, text};

/// Every `every`-th call fails; of those, every second one is done all the same.
struct Flaky {
    objects: Mutex<BTreeMap<String, Bytes>>,
    calls: Mutex<usize>,
    every: usize,
}

impl Flaky {
    /// Does it, or not, and says whether it was done.
    fn call<T>(&self, act: impl FnOnce(&mut BTreeMap<String, Bytes>) -> T) -> Result<T, ArchiveError> {
        let mut calls = self.calls.lock().unwrap();
        *calls += 1;
        let fails = calls.is_multiple_of(self.every);
        let is_done = !fails || calls.is_multiple_of(2 * self.every);
        let done = is_done.then(|| act(&mut self.objects.lock().unwrap()));
        match done {
            Some(done) if !fails => Ok(done),
            _ => Err(ArchiveError::Io {
                key: "any".into(),
                source: std::io::Error::other("out of order"),
            }),
        }
    }

    fn names(&self) -> Vec<String> {
        self.objects.lock().unwrap().keys().cloned().collect()
    }

    fn text(&self) -> String {
        let objects = self.objects.lock().unwrap();
        objects
            .values()
            .map(|body| String::from_utf8_lossy(body))
            .collect()
    }
}

#[async_trait]
impl Archive for Flaky {
    async fn put(&self, key: &str, object: Object) -> Result<(), ArchiveError> {
        self.call(|objects| drop(objects.insert(key.into(), object.body)))
    }

    async fn get(&self, key: &str) -> Result<Object, ArchiveError> {
        let body = self.call(|objects| objects.get(key).cloned())?;
        let body = body.ok_or_else(|| ArchiveError::NotFound(key.into()))?;
        Ok(Object {
            body,
            content_type: JSON.into(),
        })
    }

    async fn delete(&self, key: &str) -> Result<(), ArchiveError> {
        self.call(|objects| drop(objects.remove(key)))
    }

    async fn list(&self, folder: &str) -> Result<Vec<String>, ArchiveError> {
        let prefix = format!("{folder}/");
        self.call(|objects| {
            let names = objects.keys().filter_map(|key| key.strip_prefix(&prefix));
            names.map(str::to_owned).collect()
        })
    }
}

/// A lecture on air for ten minutes, and the replay of its room.
struct Lecture {
    replay: Replay,
    record: Record,
    id: BroadcastId,
    archive: Arc<Flaky>,
    line: watch::Sender<Line>,
    seq: u64,
    _folder: tempfile::TempDir,
}

impl Lecture {
    async fn open(every: usize) -> Lecture {
        let folder = tempfile::tempdir().unwrap();
        let record = Record::open(&folder.path().join("rooms.db")).await.unwrap();
        let id: BroadcastId = "algebra".parse().unwrap();
        let archive = Arc::new(Flaky {
            objects: Mutex::default(),
            calls: Mutex::new(0),
            every,
        });
        let timeline = Timeline::starting(now() - Span::from_millis(600_000));
        let line = watch::Sender::new(Line::Live { timeline });
        let replay = Lecture::load(&id, &record, &archive, &line).await;
        Lecture {
            replay,
            record,
            id,
            archive,
            line,
            seq: 0,
            _folder: folder,
        }
    }

    async fn load(
        id: &BroadcastId,
        record: &Record,
        archive: &Arc<Flaky>,
        line: &watch::Sender<Line>,
    ) -> Replay {
        let room = record.room(id).await.unwrap();
        let (record, line) = (record.clone(), line.subscribe());
        let sources = Sources {
            broadcast: id.clone(),
            record,
            archive: archive.clone(),
            line,
            settings: watch::channel(Settings::default()).1,
            subtitles: false,
        };
        Replay::load(room, sources, &Config::default()).await.unwrap()
    }

    /// The memory is lost, the record and the archive are not.
    async fn restart(&mut self) {
        self.replay = Lecture::load(&self.id, &self.record, &self.archive, &self.line).await;
    }

    async fn add(&mut self, at: MediaTime, kind: Kind) -> u64 {
        self.seq += 1;
        let stamp = Stamp {
            at,
            source: StampSource::Playhead,
        };
        let accepted = accepted(Event {
            stamp,
            ..event(self.seq, kind)
        });
        let entry = Entry {
            windows: self.replay.windows(&accepted),
            accepted: accepted.clone(),
        };
        self.record.append(&self.id, vec![entry]).await.unwrap();
        self.replay.changed(&[accepted]);
        self.seq
    }

    async fn say(&mut self, at: MediaTime, body: &str) -> u64 {
        self.add(at, text(0, 0, body).kind).await
    }

    async fn delete(&mut self, at: MediaTime, target: u64) {
        self.add(at, Kind::Delete { target }).await;
    }

    /// Tries until nothing is left to do before the open tail.
    async fn sealed(&self) {
        for _ in 0..1_000 {
            if self.replay.seal().await.is_ok() {
                return;
            }
        }
        panic!("it is never sealed");
    }

    /// The archive holds these texts, its index lists what there is, and the record knows.
    async fn assert_whole(&self, texts: &[&str]) {
        let kept = self.archive.objects.lock().unwrap().clone();
        let index: Value = serde_json::from_slice(&kept["algebra/chat/index.json"]).unwrap();
        let listed = index["chunks"].as_array().unwrap().iter();
        let mut names: Vec<_> = listed
            .map(|entry| format!("algebra/chat/{}", entry["name"].as_str().unwrap()))
            .collect();
        let chunks = names
            .iter()
            .map(|name| serde_json::from_slice::<Value>(&kept[name]).unwrap());
        let bodies: Vec<_> = chunks
            .flat_map(|chunk| chunk["events"].as_array().unwrap().clone())
            .map(|event| event["body"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(bodies, texts);
        names.push("algebra/chat/index.json".into());
        names.sort();
        assert_eq!(self.archive.names(), names, "nothing else is there");
        for row in self.record.chunks(&self.id).await.unwrap() {
            assert_eq!(row.sealed, row.touched, "the record knows of window {}", row.n);
        }
    }
}

fn at(ms: i64) -> MediaTime {
    MediaTime::ZERO + Span::from_millis(ms)
}

#[tokio::test]
async fn an_archive_that_fails_now_and_then_is_brought_up_to_date() {
    for every in 2..=9 {
        let mut lecture = Lecture::open(every).await;
        let dreadful = lecture.say(at(0), "dreadful").await;
        lecture.say(at(1), "fine").await;
        lecture.say(at(40_000), "later").await;
        lecture.sealed().await;
        lecture.assert_whole(&["dreadful", "fine", "later"]).await;

        // Late messages, and one try only: wherever it stops, a delete finds every copy.
        lecture.say(at(2), "late").await;
        lecture.say(at(40_001), "late as well").await;
        let _ = lecture.replay.seal().await;
        lecture.delete(at(0), dreadful).await;
        lecture.sealed().await;
        lecture
            .assert_whole(&["fine", "late", "later", "late as well"])
            .await;
        assert!(!lecture.archive.text().contains("dreadful"));

        // The memory goes with a seal half done.
        let wrong = lecture.say(at(40_002), "wrong").await;
        let _ = lecture.replay.seal().await;
        lecture.say(at(40_003), "last").await;
        let _ = lecture.replay.seal().await;
        lecture.restart().await;
        lecture.delete(at(40_002), wrong).await;
        lecture.sealed().await;
        lecture
            .assert_whole(&["fine", "late", "later", "late as well", "last"])
            .await;

        let timeline = lecture.line.borrow().timeline().unwrap();
        let duration = at(600_000);
        lecture.line.send_replace(Line::Ended { timeline, duration });
        while !lecture.replay.is_settled() {
            lecture.sealed().await;
        }
        assert!(lecture.record.is_settled(&lecture.id).await.unwrap());
    }
}
