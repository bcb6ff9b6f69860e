//! The archive in a bucket of a real S3 server, over HTTP with signatures; and its spool, whose process dies.

#![allow(clippy::unwrap_used)]

#[path = "support/store.rs"]
mod store;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use packager::archive::s3::Unusable;
use packager::archive::{Cached, S3, Spool};
use store::{BUCKET, PREFIX, Store};
use timeline::{Archive, ArchiveError, Object};

const GENEROUS: u64 = 1 << 30;

fn object(body: impl Into<String>) -> Object {
    Object {
        body: Bytes::from(body.into()),
        content_type: "video/mp4".into(),
    }
}

fn playlist(segments: usize, end: &str) -> Object {
    let listed: String = (0..segments)
        .map(|n| format!("#EXTINF:3.2,\n{n}.m4s\n"))
        .collect();
    Object {
        body: Bytes::from(format!("#EXTM3U\n{listed}{end}")),
        content_type: "application/vnd.apple.mpegurl".into(),
    }
}

#[tokio::test]
async fn objects_come_and_go() {
    let store = Store::start().await;
    let s3 = store.s3().await;
    s3.probe().await.unwrap();
    s3.put("a/720p/0.m4s", object("first")).await.unwrap();
    s3.put("a/720p/0.m4s", object("0123456789")).await.unwrap();
    assert_eq!(s3.get("a/720p/0.m4s").await.unwrap(), object("0123456789"));
    for (range, bytes) in [
        (0..2, "01"),
        (8..20, "89"),
        (10..20, ""),
        (40..50, ""),
        (3..3, ""),
    ] {
        let found = s3.get_range("a/720p/0.m4s", range.clone()).await.unwrap();
        assert_eq!(found, bytes, "{range:?}");
    }
    assert!(
        store.files().join("a/720p/0.m4s").exists(),
        "it stands below the prefix"
    );
    s3.put("a/broadcast.json", object("{}")).await.unwrap();
    s3.put("b/broadcast.json", object("{}")).await.unwrap();
    assert_eq!(sorted(s3.list("").await.unwrap()), ["a", "b"]);
    assert_eq!(sorted(s3.list("a").await.unwrap()), ["720p", "broadcast.json"]);
    assert_eq!(s3.list("a/720p").await.unwrap(), ["0.m4s"]);
    assert!(s3.list("c").await.unwrap().is_empty());
    s3.delete("a/720p/0.m4s").await.unwrap();
    s3.delete("a/720p/0.m4s").await.unwrap();
    for missing in ["a/720p/0.m4s", "c/index.m3u8"] {
        assert!(
            matches!(s3.size(missing).await, Err(ArchiveError::NotFound(_))),
            "{missing}"
        );
        assert!(
            matches!(s3.get(missing).await, Err(ArchiveError::NotFound(_))),
            "{missing}"
        );
        assert!(
            matches!(s3.get_range(missing, 0..4).await, Err(ArchiveError::NotFound(_))),
            "{missing}"
        );
    }
    assert!(matches!(s3.get("../x").await, Err(ArchiveError::BadKey(_))));
}

fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort();
    names
}

#[tokio::test]
async fn a_folder_of_more_than_one_page_is_listed_whole() {
    const MANY: usize = 1_234;
    let store = Store::start().await;
    let folder = store.files().join("a/720p");
    std::fs::create_dir_all(&folder).unwrap();
    for n in 0..MANY {
        std::fs::write(folder.join(format!("{n}.m4s")), "x").unwrap();
    }
    let listed: BTreeSet<_> = store
        .s3()
        .await
        .list("a/720p")
        .await
        .unwrap()
        .into_iter()
        .collect();
    assert_eq!(listed.len(), MANY);
}

#[tokio::test]
async fn what_is_stored_says_what_it_is_and_for_how_long() {
    let store = Store::start().await;
    let s3 = store.s3().await;
    let year = "public, max-age=31536000, immutable";
    s3.put("a/720p/0.m4s", object("x")).await.unwrap();
    s3.put("a/720p/index.m3u8", playlist(1, "")).await.unwrap();
    s3.put("b/720p/index.m3u8", playlist(1, "#EXT-X-ENDLIST\n"))
        .await
        .unwrap();
    for (key, content_type, lifetime) in [
        ("a/720p/0.m4s", "video/mp4", year),
        (
            "a/720p/index.m3u8",
            "application/vnd.apple.mpegurl",
            "public, max-age=1",
        ),
        (
            "b/720p/index.m3u8",
            "application/vnd.apple.mpegurl",
            "public, max-age=300",
        ),
    ] {
        let sdk = aws_config::defaults(aws_config::BehaviorVersion::latest())
            .http_client(http_client())
            .credentials_provider(store::good_credentials())
            .region("us-east-1")
            .endpoint_url(store.endpoint())
            .load()
            .await;
        let path_style = aws_sdk_s3::config::Builder::from(&sdk)
            .force_path_style(true)
            .build();
        let client = aws_sdk_s3::Client::from_conf(path_style);
        let head = client.head_object().bucket(BUCKET).key(format!("{PREFIX}/{key}"));
        let head = head.send().await.unwrap();
        assert_eq!(head.content_type(), Some(content_type), "{key}");
        assert_eq!(head.cache_control(), Some(lifetime), "{key}");
    }
}

fn http_client() -> aws_sdk_s3::config::SharedHttpClient {
    aws_smithy_http_client::Builder::new().build_http()
}

#[tokio::test]
async fn who_may_not_is_told_so() {
    let mut store = Store::start().await;
    let refused = |unusable: Unusable, reason: &str| {
        assert!(matches!(unusable, Unusable::Refused { .. }), "{unusable}");
        assert!(unusable.to_string().contains(reason), "{unusable}");
    };
    let config = store::config(&store.endpoint());
    let wrong = S3::open_as(&config, store::credentials("not-the-secret")).await;
    refused(wrong.probe().await.unwrap_err(), "SignatureDoesNotMatch");
    assert!(matches!(
        wrong.put("a/x.json", object("{}")).await,
        Err(ArchiveError::Io { .. })
    ));
    assert!(!store.files().join("a/x.json").exists());
    let nowhere = packager::archive::s3::Config {
        bucket: "no-such-bucket".into(),
        ..config
    };
    let nowhere = S3::open_as(&nowhere, store::good_credentials()).await;
    refused(nowhere.probe().await.unwrap_err(), "NoSuchBucket");
    let put = nowhere.put("a/x.json", object("{}")).await;
    assert!(
        matches!(put, Err(ArchiveError::Io { .. })),
        "a missing bucket is no missing object"
    );
    assert!(matches!(
        nowhere.get("a/x.json").await,
        Err(ArchiveError::Io { .. })
    ));
    let s3 = store.s3().await;
    store.stop();
    assert!(matches!(s3.probe().await.unwrap_err(), Unusable::Away { .. }));
    let away = s3.get("a/x.json").await.unwrap_err();
    assert!(
        matches!(away, ArchiveError::Io { source, .. } if source.kind() == std::io::ErrorKind::NotConnected)
    );
}

/// Segments and the playlist that lists them, as the packager puts them.
async fn lecture(spool: &Spool, segments: std::ops::Range<usize>) {
    for n in segments {
        spool
            .put(&format!("a/720p/{n}.m4s"), object(format!("segment {n}")))
            .await
            .unwrap();
        spool.put("a/720p/index.m3u8", playlist(n + 1, "")).await.unwrap();
    }
}

/// How many segments the playlist in the bucket lists; each of them is there.
fn listed(store: &Store) -> usize {
    let folder = store.files().join("a/720p");
    let Ok(playlist) = std::fs::read_to_string(folder.join("index.m3u8")) else {
        return 0;
    };
    let segments = playlist.lines().filter(|line| !line.starts_with('#'));
    let there = |segment: &&str| folder.join(segment).exists();
    let (there, missing): (Vec<_>, Vec<_>) = segments.partition(there);
    assert!(missing.is_empty(), "listed, and not there: {missing:?}");
    there.len()
}

#[tokio::test]
async fn a_server_that_goes_away_in_mid_upload_loses_nothing() {
    const SEGMENTS: usize = 120;
    let mut store = Store::start().await;
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool::open(folder.path().join("spool"), GENEROUS, Arc::new(store.s3().await));
    let spool = spool.await.unwrap();
    let uploading = tokio::spawn({
        let spool = spool.clone();
        async move { spool.upload().await }
    });
    for n in 0..SEGMENTS {
        lecture(&spool, n..n + 1).await;
        match n {
            30 | 70 => store.stop(),
            50 | 90 => store.start_again().await,
            _ => {}
        }
        listed(&store);
        // What waits and what has arrived are read alike.
        let body = spool.get(&format!("a/720p/{}.m4s", n.saturating_sub(3))).await;
        assert!(body.is_ok() || (30..90).contains(&n), "{body:?}");
    }
    tokio::time::timeout(Duration::from_secs(60), spool.settled())
        .await
        .unwrap();
    assert_eq!(listed(&store), SEGMENTS);
    let direct = store.s3().await;
    for n in 0..SEGMENTS {
        let found = direct.get(&format!("a/720p/{n}.m4s")).await.unwrap();
        assert_eq!(found, object(format!("segment {n}")));
    }
    uploading.abort();
}

#[tokio::test]
async fn a_process_that_is_killed_leaves_its_spool_to_the_next() {
    let mut store = Store::start().await;
    let folder = tempfile::tempdir().unwrap();
    let mut acknowledged = 0;
    for life in 0..3 {
        // In the second life the store is away.
        if life == 1 {
            store.stop();
        }
        acknowledged = put_until_killed(folder.path(), &store.endpoint(), acknowledged);
        if life == 1 {
            store.start_again().await;
        }
        listed(&store);
    }
    let spool = Spool::open(folder.path().join("spool"), GENEROUS, Arc::new(store.s3().await));
    let spool = spool.await.unwrap();
    let settled = async {
        tokio::select! {
            never = spool.upload() => match never {},
            () = spool.settled() => {}
        }
    };
    tokio::time::timeout(Duration::from_secs(60), settled)
        .await
        .unwrap();
    assert!(listed(&store) >= acknowledged, "{acknowledged} were acknowledged");
    assert!(acknowledged >= 90);
}

/// Gives how many segments were acknowledged in all when the process was killed.
fn put_until_killed(folder: &Path, endpoint: &str, from: usize) -> usize {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "puts_until_it_is_killed", "--ignored", "--nocapture"])
        .env("SPOOL_FOLDER", folder)
        .env("SPOOL_ENDPOINT", endpoint)
        .env("SPOOL_FROM", from.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let acknowledged = lines
        .map_while(Result::ok)
        .filter_map(|line| line.strip_prefix("kept ")?.parse().ok());
    let last = acknowledged.take(30).last();
    child.kill().unwrap();
    child.wait().unwrap();
    last.expect("the child keeps something")
}

/// No test: the process that is killed.
#[tokio::test]
#[ignore = "started by the test that kills it"]
async fn puts_until_it_is_killed() {
    let [folder, endpoint, from] = ["FOLDER", "ENDPOINT", "FROM"]
        .map(|name| std::env::var(format!("SPOOL_{name}")).expect("started by a_process_that_is_killed_…"));
    let s3 = S3::open_as(&store::config(&endpoint), store::good_credentials()).await;
    let spool = Spool::open(Path::new(&folder).join("spool"), GENEROUS, Arc::new(s3))
        .await
        .unwrap();
    let put = async {
        for n in from.parse::<usize>().unwrap().. {
            lecture(&spool, n..n + 1).await;
            println!("\nkept {}", n + 1);
        }
    };
    tokio::select! {
        never = spool.upload() => match never {},
        () = put => {}
    }
}

#[tokio::test]
async fn fifty_viewers_of_one_segment_cost_one_request() {
    let store = Store::start().await;
    let s3 = store.s3().await;
    s3.put("a/720p/0.m4s", object("seen by many")).await.unwrap();
    let cached = Arc::new(Cached::new(Arc::new(s3), 1 << 20));
    let all = futures::future::join_all((0..50).map(|_| cached.get("a/720p/0.m4s"))).await;
    assert!(
        all.iter()
            .all(|found| found.as_ref().unwrap().body == "seen by many")
    );
    // From memory.
    std::fs::remove_file(store.files().join("a/720p/0.m4s")).unwrap();
    assert_eq!(cached.get("a/720p/0.m4s").await.unwrap(), object("seen by many"));
    assert!(matches!(
        cached.get("a/720p/1.m4s").await,
        Err(ArchiveError::NotFound(_))
    ));
}
