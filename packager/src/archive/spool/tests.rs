use super::*;
use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use tokio::sync::Semaphore;

/// A store that can go away, fails now and then, and checks that it is whole whenever something arrives.
#[derive(Default)]
struct Moody {
    objects: Mutex<HashMap<String, Object>>,
    /// What arrived, in its order.
    log: Mutex<Vec<String>>,
    away: AtomicBool,
    /// Every so many-th request fails after it was done.
    trips: AtomicU64,
    requests: AtomicU64,
    gate: Option<Semaphore>,
}

impl Moody {
    async fn request(
        &self,
        key: &str,
        work: impl FnOnce(&mut HashMap<String, Object>),
    ) -> Result<(), ArchiveError> {
        let failed = |kind: io::ErrorKind| ArchiveError::Io {
            key: key.to_owned(),
            source: kind.into(),
        };
        if let Some(gate) = &self.gate {
            gate.acquire().await.unwrap().forget();
        }
        tokio::task::yield_now().await;
        if self.away.load(Ordering::SeqCst) {
            return Err(failed(io::ErrorKind::NotConnected));
        }
        let mut objects = self.objects.lock().unwrap();
        work(&mut objects);
        self.log.lock().unwrap().push(key.to_owned());
        for (pointer, object) in objects.iter().filter(|(key, _)| key.ends_with(".m3u8")) {
            for listed in std::str::from_utf8(&object.body).unwrap().lines() {
                assert!(objects.contains_key(listed), "{pointer} lists {listed}");
            }
        }
        let trips = self.trips.load(Ordering::SeqCst);
        match trips > 0 && self.requests.fetch_add(1, Ordering::SeqCst).is_multiple_of(trips) {
            true => Err(failed(io::ErrorKind::TimedOut)),
            false => Ok(()),
        }
    }

    fn keys(&self) -> Vec<String> {
        let mut keys: Vec<_> = self.objects.lock().unwrap().keys().cloned().collect();
        keys.sort();
        keys
    }
}

#[async_trait]
impl Archive for Moody {
    async fn put(&self, key: &str, object: Object) -> Result<(), ArchiveError> {
        self.request(key, |objects| drop(objects.insert(key.to_owned(), object)))
            .await
    }

    async fn get(&self, key: &str) -> Result<Object, ArchiveError> {
        if self.away.load(Ordering::SeqCst) {
            let source = io::ErrorKind::NotConnected.into();
            return Err(ArchiveError::Io {
                key: key.to_owned(),
                source,
            });
        }
        let found = self.objects.lock().unwrap().get(key).cloned();
        found.ok_or_else(|| ArchiveError::NotFound(key.to_owned()))
    }

    async fn delete(&self, key: &str) -> Result<(), ArchiveError> {
        self.request(key, |objects| drop(objects.remove(key))).await
    }

    async fn list(&self, folder: &str) -> Result<Vec<String>, ArchiveError> {
        if self.away.load(Ordering::SeqCst) {
            let source = io::ErrorKind::NotConnected.into();
            return Err(ArchiveError::Io {
                key: folder.to_owned(),
                source,
            });
        }
        let prefix = if folder.is_empty() {
            String::new()
        } else {
            format!("{folder}/")
        };
        let keys = self.keys();
        let below = keys.iter().filter_map(|key| key.strip_prefix(&prefix));
        let names: HashSet<_> = below
            .map(|key| key.split('/').next().unwrap().to_owned())
            .collect();
        Ok(names.into_iter().collect())
    }
}

const GENEROUS: u64 = 1 << 30;

fn object(body: &str) -> Object {
    Object {
        body: Bytes::from(body.to_owned()),
        content_type: "video/mp4".into(),
    }
}

async fn spool(folder: &tempfile::TempDir, store: &Arc<Moody>) -> Spool {
    Spool::open(folder.path().join("spool"), GENEROUS, store.clone())
        .await
        .unwrap()
}

/// Uploads until nothing waits.
async fn drain(spool: &Spool) {
    tokio::select! {
        never = spool.upload() => match never {},
        () = spool.settled() => {}
    }
}

/// A lecture of some segments: each is put, then the playlists that list it.
async fn lecture(spool: &Spool, segments: std::ops::Range<usize>) {
    for n in segments {
        spool
            .put(&format!("a/v/{n}.m4s"), object(&format!("segment {n}")))
            .await
            .unwrap();
        let playlist: String = (0..=n).map(|n| format!("a/v/{n}.m4s\n")).collect();
        spool.put("a/v/index.m3u8", object(&playlist)).await.unwrap();
        spool
            .put("a/index.m3u8", object("a/v/index.m3u8\n"))
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn what_is_put_is_read_before_and_after_it_has_arrived() {
    let (folder, store) = (tempfile::tempdir().unwrap(), Arc::new(Moody::default()));
    let spool = spool(&folder, &store).await;
    spool.put("a/v/0.m4s", object("0123456789")).await.unwrap();
    for _ in 0..2 {
        assert_eq!(spool.get("a/v/0.m4s").await.unwrap(), object("0123456789"));
        assert_eq!(spool.get_range("a/v/0.m4s", 2..4).await.unwrap(), "23");
        assert_eq!(spool.get_range("a/v/0.m4s", 8..40).await.unwrap(), "89");
        assert_eq!(spool.list("").await.unwrap(), ["a"]);
        assert_eq!(spool.list("a").await.unwrap(), ["v"]);
        assert_eq!(spool.list("a/v").await.unwrap(), ["0.m4s"]);
        drain(&spool).await;
    }
    assert_eq!(store.keys(), ["a/v/0.m4s"]);
    spool.delete("a/v/0.m4s").await.unwrap();
    for _ in 0..2 {
        assert!(matches!(
            spool.get("a/v/0.m4s").await,
            Err(ArchiveError::NotFound(_))
        ));
        assert!(spool.list("a/v").await.unwrap().is_empty());
        drain(&spool).await;
    }
    assert!(store.keys().is_empty());
    assert!(matches!(
        spool.put("../x", object("")).await,
        Err(ArchiveError::BadKey(_))
    ));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_now_and_then_is_whole_at_every_moment() {
    let (folder, store) = (tempfile::tempdir().unwrap(), Arc::new(Moody::default()));
    store.trips.store(3, Ordering::SeqCst);
    let spool = spool(&folder, &store).await;
    tokio::select! {
        never = spool.upload() => match never {},
        () = async { lecture(&spool, 0..30).await; spool.settled().await } => {}
    }
    assert_eq!(store.keys().len(), 32);
    let listed = store.get("a/v/index.m3u8").await.unwrap().body;
    assert_eq!(listed.iter().filter(|c| **c == b'\n').count(), 30);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_loses_nothing_and_blocks_nothing() {
    let (folder, store) = (tempfile::tempdir().unwrap(), Arc::new(Moody::default()));
    store.away.store(true, Ordering::SeqCst);
    let spool = spool(&folder, &store).await;
    let uploading = tokio::spawn({
        let spool = spool.clone();
        async move { spool.upload().await }
    });
    lecture(&spool, 0..40).await;
    tokio::time::sleep(std::time::Duration::from_secs(600)).await;
    assert!(store.keys().is_empty());
    assert_eq!(
        spool.waiting().0,
        44,
        "40 segments, and two versions of each playlist"
    );
    assert_eq!(spool.get("a/v/7.m4s").await.unwrap(), object("segment 7"));
    store.away.store(false, Ordering::SeqCst);
    spool.settled().await;
    assert_eq!(store.keys().len(), 42);
    assert_eq!(store.log.lock().unwrap().last().unwrap(), "a/index.m3u8");
    uploading.abort();
}

/// The process dies at some point of the way, again and again.
#[tokio::test]
async fn after_a_crash_the_rest_is_sent() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(Moody {
        gate: Some(Semaphore::new(0)),
        ..Moody::default()
    });
    for life in 0..10 {
        let spool = spool(&folder, &store).await;
        lecture(&spool, life * 3..life * 3 + 3).await;
        let sent = store.log.lock().unwrap().len();
        store.gate.as_ref().unwrap().add_permits(5);
        tokio::select! {
            never = spool.upload() => match never {},
            () = async { while store.log.lock().unwrap().len() < sent + 5 { tokio::task::yield_now().await } } => {}
        }
    }
    store.gate.as_ref().unwrap().add_permits(10_000);
    let spool = spool(&folder, &store).await;
    assert!(spool.waiting().0 > 0);
    drain(&spool).await;
    assert_eq!(store.keys().len(), 32);
    let queue = std::fs::read_dir(folder.path().join("spool/queue")).unwrap();
    assert_eq!(queue.count(), 0, "nothing is left on disk");
}

#[tokio::test]
async fn without_the_store_what_there_is_is_known() {
    let (folder, store) = (tempfile::tempdir().unwrap(), Arc::new(Moody::default()));
    let playlist = "a/v/0.m4s\n";
    {
        let spool = spool(&folder, &store).await;
        spool.put("a/broadcast.json", object("{}")).await.unwrap();
        lecture(&spool, 0..1).await;
        store
            .objects
            .lock()
            .unwrap()
            .insert("b/broadcast.json".into(), object("{\"other\":1}"));
        drain(&spool).await;
        assert_eq!(
            spool.get("b/broadcast.json").await.unwrap(),
            object("{\"other\":1}")
        );
    }
    store.away.store(true, Ordering::SeqCst);
    let spool = spool(&folder, &store).await;
    let mut broadcasts = spool.list("").await.unwrap();
    broadcasts.sort();
    assert_eq!(broadcasts, ["a", "b"]);
    assert!(spool.list("a").await.unwrap().contains(&"v".to_owned()));
    assert_eq!(spool.get("a/v/index.m3u8").await.unwrap().body, playlist);
    assert_eq!(spool.get("b/broadcast.json").await.unwrap().body, "{\"other\":1}");
    assert!(matches!(
        spool.get("a/v/0.m4s").await,
        Err(ArchiveError::Io { .. })
    ));
    assert!(matches!(spool.list("a/v").await, Err(ArchiveError::Io { .. })));
    for absent in ["a/v/iframes.m3u8", "a/broadcast.json/index.m3u8"] {
        assert!(
            matches!(spool.get(absent).await, Err(ArchiveError::NotFound(_))),
            "{absent}"
        );
    }
    assert!(matches!(
        spool.get("b/v/index.m3u8").await,
        Err(ArchiveError::Io { .. })
    ));

    store.away.store(false, Ordering::SeqCst);
    let ended = format!("{playlist}#EXT-X-ENDLIST\n");
    store
        .objects
        .lock()
        .unwrap()
        .insert("#EXT-X-ENDLIST".into(), object(""));
    spool.put("a/v/index.m3u8", object(&ended)).await.unwrap();
    drain(&spool).await;
    assert!(!folder.path().join("spool/kept/a/v/index.m3u8").exists());
    assert_eq!(spool.get("a/v/index.m3u8").await.unwrap().body, ended);
}

#[tokio::test]
async fn beyond_the_limit_objects_are_refused() {
    let (folder, store) = (tempfile::tempdir().unwrap(), Arc::new(Moody::default()));
    let spool = Spool::open(folder.path().join("spool"), 10, store.clone())
        .await
        .unwrap();
    spool.put("a/v/0.m4s", object("12345678")).await.unwrap();
    let refused = spool.put("a/v/1.m4s", object("12345678")).await.unwrap_err();
    assert!(
        matches!(refused, ArchiveError::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull)
    );
    spool.put("a/broadcast.json", object("12345678")).await.unwrap();
    drain(&spool).await;
    spool.put("a/v/1.m4s", object("12345678")).await.unwrap();
}

#[tokio::test]
async fn the_spool_remembers_its_store() {
    let (folder, store) = (tempfile::tempdir().unwrap(), Arc::new(Moody::default()));
    assert_eq!(Spool::store(&folder.path().join("spool")).unwrap(), None);
    spool(&folder, &store)
        .await
        .belongs_to("s3://lectures/2026")
        .unwrap();
    let named = Spool::store(&folder.path().join("spool")).unwrap();
    assert_eq!(named.as_deref(), Some("s3://lectures/2026"));
}
