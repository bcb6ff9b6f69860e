//! The archive beside the line, and behind it.

use super::*;

#[tokio::test(start_paused = true)]
async fn what_left_memory_comes_from_the_archive() {
    let stage = Stage::at(3_200 * 40).await;
    let air = stage.origin.on_air(&algebra()).unwrap();
    assert!(air.segment(0, 0).is_none() && air.part(0, PartIndex { msn: 0, part: 0 }).is_none());
    assert!(air.segment(0, 21).is_some() && air.part(0, PartIndex { msn: 21, part: 15 }).is_some());
    assert_eq!(stage.get("720p/0.m4s").await.status, StatusCode::OK);
    assert_eq!(stage.get("720p/0.0.m4s").await.status, StatusCode::NOT_FOUND);
    // In ranges too, with the same bytes and the same headers as from memory.
    let whole = stage.get("720p/0.m4s").await.body;
    for (msn, range, bytes) in [
        (0, "bytes=100-199", 100),
        (39, "bytes=100-199", 100),
        (0, "bytes=-7", 7),
    ] {
        let part = stage.ranged(&format!("720p/{msn}.m4s"), range).await;
        assert_eq!(
            (part.status, part.body.len()),
            (StatusCode::PARTIAL_CONTENT, bytes)
        );
        assert_eq!(part.header("accept-ranges"), "bytes");
        if msn == 0 {
            assert!(whole.windows(bytes).any(|window| window == part.body));
        }
    }
    let behind = stage.ranged("720p/0.m4s", "bytes=99999999-").await;
    assert_eq!(behind.status, StatusCode::RANGE_NOT_SATISFIABLE);
    assert_eq!(behind.header("content-range"), format!("bytes */{}", whole.len()));
    let absent = stage.ranged("720p/40.m4s", "bytes=0-1").await;
    assert_eq!(absent.status, StatusCode::NOT_FOUND);
    // All of it is listed, live.
    let playlist = stage.get("720p/index.m3u8").await;
    assert!((0..40).all(|msn| playlist.text().contains(&format!("\n{msn}.m4s\n"))));
}

#[tokio::test(start_paused = true)]
async fn a_failing_archive_never_holds_up_the_line() {
    let mut stage = Stage::open(Config::default());
    stage.archive.failing.store(true, Ordering::Relaxed);
    stage.tell(3_200 * 40).await;
    // Nothing may leave memory.
    assert_eq!(stage.get("720p/0.m4s").await.status, StatusCode::OK);
    assert!(stage.archive.objects.lock().unwrap().is_empty());
    stage.archive.failing.store(false, Ordering::Relaxed);
    let (_, archive, _) = stage.end(3_200 * 40).await;
    assert!((0..40).all(|msn| archive.has(&format!("algebra/720p/{msn}.m4s"))));
    assert!(
        archive
            .text("algebra/audio/index.m3u8")
            .ends_with("\n39.m4s\n#EXT-X-ENDLIST\n")
    );
}

#[tokio::test(start_paused = true)]
async fn what_a_slow_archive_loses_is_a_gap() {
    let mut stage = Stage::open(Config {
        max_archive_backlog: 3,
        ..Config::default()
    });
    stage.archive.failing.store(true, Ordering::Relaxed);
    stage.tell(3_200 * 8).await;
    stage.archive.failing.store(false, Ordering::Relaxed);
    let (_, archive, _) = stage.end(3_200 * 8).await;
    let playlist = archive.text("algebra/720p/index.m3u8");
    let gaps = playlist.lines().filter(|line| *line == "#EXT-X-GAP").count();
    assert!(gaps >= 4, "{playlist}");
    for msn in 0..8 {
        let listed = playlist
            .split("#EXT-X-PROGRAM")
            .find(|entry| entry.contains(&format!("\n{msn}.m4s")))
            .unwrap();
        assert_eq!(
            !listed.contains("GAP"),
            archive.has(&format!("algebra/720p/{msn}.m4s"))
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_archive_that_stays_broken_is_told_after_a_while() {
    let mut stage = Stage::open(Config::default());
    stage.archive.failing.store(true, Ordering::Relaxed);
    stage.tell(6_400).await;
    stage
        .producer
        .send(Record::End(MediaTime::ZERO + Span::from_millis(6_400)));
    let error = stage.packaged.await.unwrap().unwrap_err();
    assert!(matches!(error, Error::NotKept { .. }), "{error}");
}

#[tokio::test]
async fn the_folder_is_playable_while_live() {
    let mut stage = Stage::at(3_200 * 2).await;
    let listed = |archive: &Memory| -> Option<String> {
        let objects = archive.objects.lock().unwrap();
        let body = &objects.get("algebra/720p/index.m3u8")?.body;
        Some(String::from_utf8(body.to_vec()).unwrap())
    };
    for msn in 1..4 {
        stage.tell(3_200 * (msn + 1)).await;
        let playlist = loop {
            match listed(&stage.archive).filter(|text| text.ends_with(&format!("\n{msn}.m4s\n"))) {
                Some(playlist) => break playlist,
                None => tokio::task::yield_now().await,
            }
        };
        // All that it lists is there; nothing in it needs a server that can wait.
        for uri in playlist.lines().filter(|line| !line.starts_with('#')) {
            assert!(stage.archive.has(&format!("algebra/720p/{uri}")));
        }
        assert!(!playlist.contains("PART") && !playlist.contains("SERVER-CONTROL"));
        assert!(playlist.contains("#EXT-X-PLAYLIST-TYPE:EVENT\n") && !playlist.contains("ENDLIST"));
    }
}

#[tokio::test]
async fn what_a_crash_left_open_can_be_sealed() {
    let stage = Stage::at(3_200 * 3).await;
    while !stage.archive.has("algebra/audio.m3u8") {
        tokio::task::yield_now().await;
    }
    stage.packaged.abort();
    assert!(stage.packaged.await.unwrap_err().is_cancelled());
    let origin = Origin::new(Config::default(), stage.archive.clone());
    assert!(!get(&origin, "720p/index.m3u8").await.text().contains("ENDLIST"));
    // The third segment was open, or not yet in the archive.
    let length = origin.seal(&algebra()).await.unwrap();
    assert!(
        length > MediaTime::ZERO && length <= MediaTime::from_ticks(3 * 288_000),
        "{length}"
    );
    assert_eq!(origin.seal(&algebra()).await.unwrap(), length);
    for rendition in ["720p", "360p", "audio"] {
        let sealed = get(&origin, &format!("{rendition}/index.m3u8")).await;
        assert!(sealed.text().ends_with(".m4s\n#EXT-X-ENDLIST\n"));
    }
}
