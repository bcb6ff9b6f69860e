//! How a broadcast ends, well or not.

use super::*;

#[tokio::test(start_paused = true)]
async fn at_the_end_those_who_wait_get_the_whole_and_directives_mean_nothing() {
    let mut stage = Stage::at(7_000).await;
    let asked = [
        stage.ask("720p/index.m3u8?_HLS_msn=3&_HLS_part=2"),
        stage.ask("720p/2.3.m4s"),
    ];
    stage.waiting(2).await;
    stage.told = 7_000;
    let (origin, archive, packaged) = stage.end(7_000).await;
    assert_eq!(packaged.duration, MediaTime::ZERO + Span::from_ticks(631_680));
    let [playlist, part] = asked;
    assert!(
        playlist
            .await
            .unwrap()
            .text()
            .ends_with("#EXTINF:0.60000,\n2.m4s\n#EXT-X-ENDLIST\n")
    );
    assert_eq!(part.await.unwrap().status, StatusCode::NOT_FOUND);
    for query in ["", "?_HLS_msn=99&_HLS_part=1&_HLS_skip=YES", "?_HLS_msn=x"] {
        let answer = get(&origin, &format!("audio/index.m3u8{query}")).await;
        assert!(answer.text().ends_with("2.m4s\n#EXT-X-ENDLIST\n"), "{query}");
        assert_eq!(answer.header("cache-control"), "public, max-age=300");
    }
    // The archive has all of it.
    let kept = archive.text("algebra/720p/index.m3u8");
    assert!(kept.ends_with("#EXTINF:0.60000,\n2.m4s\n#EXT-X-ENDLIST\n") && !kept.contains("PART"));
    assert!(archive.has("algebra/720p/2.m4s") && archive.has("algebra/audio/2.m4s"));
    // Later, and after a restart, it is served from there, under the same names.
    let before = get(&origin, "720p/2.m4s").await.body;
    tokio::time::sleep(Duration::from_secs(61)).await;
    for origin in [origin, Origin::new(Config::default(), archive)] {
        assert!(origin.on_air(&algebra()).is_none());
        assert_eq!(get(&origin, "720p/2.m4s").await.body, before);
        let answer = get(&origin, "720p/index.m3u8?_HLS_msn=99").await;
        assert_eq!(
            (answer.text(), answer.header("cache-control")),
            (&kept[..], "public, max-age=300")
        );
        assert!(
            get(&origin, "index.m3u8")
                .await
                .text()
                .contains("720p/index.m3u8")
        );
        assert_eq!(get(&origin, "720p/0.0.m4s").await.status, StatusCode::NOT_FOUND);
        assert_eq!(
            get(&origin, "240p/index.m3u8").await.status,
            StatusCode::NOT_FOUND
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_line_that_breaks_off_is_ended_and_told() {
    let stage = Stage::at(4_000).await;
    let Stage {
        origin,
        archive,
        producer,
        packaged,
        ..
    } = stage;
    drop(producer);
    assert!(matches!(packaged.await.unwrap(), Err(Error::BrokeOff(_))));
    assert!(
        get(&origin, "720p/index.m3u8")
            .await
            .text()
            .ends_with("1.m4s\n#EXT-X-ENDLIST\n")
    );
    assert!(
        archive
            .text("algebra/720p/index.m3u8")
            .ends_with("1.m4s\n#EXT-X-ENDLIST\n")
    );
}

#[tokio::test(start_paused = true)]
async fn a_broadcast_without_media_is_no_broadcast() {
    let stage = Stage::open(Config::default());
    let asked = stage.ask("index.m3u8");
    stage.waiting(1).await;
    let (origin, archive, packaged) = stage.end(0).await;
    assert_eq!(packaged.duration, MediaTime::ZERO);
    assert_eq!(asked.await.unwrap().status, StatusCode::NOT_FOUND);
    assert_eq!(get(&origin, "index.m3u8").await.status, StatusCode::NOT_FOUND);
    assert!(archive.objects.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn two_lines_cannot_be_one_broadcast() {
    let stage = Stage::at(1_000).await;
    let second = stage.producer.subscribe(Policy::Line);
    let timeline = Timeline::starting(WallTime::from_unix_millis(0));
    let refused = stage
        .origin
        .package(algebra(), timeline, Grid::default(), second)
        .await;
    assert!(matches!(refused, Err(Error::OnAir(_))));
    assert_eq!(stage.next(), Some(PartIndex { msn: 0, part: 5 }));
}

#[tokio::test(start_paused = true)]
async fn packaging_that_is_abandoned_lets_everyone_go() {
    let stage = Stage::at(3_400).await;
    let asked = stage.ask("720p/index.m3u8?_HLS_msn=1&_HLS_part=1");
    stage.waiting(1).await;
    stage.packaged.abort();
    let answer = asked.await.unwrap();
    assert!(
        answer.status == StatusCode::SERVICE_UNAVAILABLE,
        "{}",
        answer.status
    );
    assert!(stage.packaged.await.unwrap_err().is_cancelled());
    assert!(stage.origin.on_air(&algebra()).is_none());
}
