//! Requests for what comes next, and those that make no sense.

use super::*;

#[tokio::test(start_paused = true)]
async fn the_first_answer_is_held_until_a_segment_is_whole() {
    let mut stage = Stage::open(Config::default());
    stage.tell(3_000).await;
    let asked = [
        stage.ask("index.m3u8"),
        stage.ask("audio/index.m3u8?_HLS_msn=0&_HLS_part=2"),
    ];
    stage.waiting(2).await;
    stage.tell(3_200).await;
    for asked in asked {
        assert_eq!(asked.await.unwrap().status, StatusCode::OK);
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_ever() {
    let stage = Stage::open(Config::default());
    for path in ["index.m3u8", "720p/index.m3u8"] {
        let answer = stage.get(path).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(
            (answer.header("cache-control"), answer.header("retry-after")),
            ("no-store", "1")
        );
    }
    let stage = Stage::at(3_400).await;
    let before = tokio::time::Instant::now();
    for path in ["720p/index.m3u8?_HLS_msn=1&_HLS_part=1", "720p/1.1.m4s"] {
        let answer = stage.get(path).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answer.header("cache-control"), "no-store");
    }
    // Three target durations each.
    assert_eq!(before.elapsed().as_secs(), 18);
}

#[tokio::test(start_paused = true)]
async fn a_part_that_comes_next_is_waited_for() {
    let mut stage = Stage::at(3_400).await;
    let asked = stage.ask("720p/index.m3u8?_HLS_msn=1&_HLS_part=1");
    stage.waiting(1).await;
    stage.tell(3_600).await;
    let answer = asked.await.unwrap();
    assert!(answer.lists("1.1.m4s"));
    assert_eq!(answer.header("cache-control"), "public, max-age=18");
    // It is there now: the same request is answered at once.
    assert!(
        stage
            .get("720p/index.m3u8?_HLS_msn=1&_HLS_part=1")
            .await
            .lists("1.1.m4s")
    );
}

#[tokio::test(start_paused = true)]
async fn a_part_behind_the_last_rolls_over() {
    let mut stage = Stage::at(6_400).await;
    let asked = stage.ask("720p/index.m3u8?_HLS_msn=1&_HLS_part=16");
    stage.waiting(1).await;
    stage.tell(6_600).await;
    assert!(asked.await.unwrap().lists("2.0.m4s"));
}

#[tokio::test(start_paused = true)]
async fn a_whole_segment_is_waited_for() {
    let mut stage = Stage::at(3_400).await;
    let asked = stage.ask("720p/index.m3u8?_HLS_msn=1");
    stage.waiting(1).await;
    stage.tell(6_200).await;
    stage.waiting(1).await;
    stage.tell(6_400).await;
    assert!(asked.await.unwrap().text().contains("\n1.m4s\n"));
}

#[tokio::test(start_paused = true)]
async fn a_segment_that_has_not_begun_is_answered_with_its_first_part() {
    let mut stage = Stage::at(6_400).await;
    let asked = stage.ask("720p/index.m3u8?_HLS_msn=2");
    stage.waiting(1).await;
    stage.tell(6_600).await;
    let answer = asked.await.unwrap();
    assert!(answer.lists("2.0.m4s"));
    // The same request will soon mean the whole segment.
    assert_eq!(answer.header("cache-control"), "public, max-age=1");
}

#[tokio::test]
async fn what_is_long_there_is_answered_at_once() {
    let stage = Stage::at(3_200 * 9).await;
    for query in [
        "_HLS_msn=0",
        "_HLS_msn=0&_HLS_part=3",
        "_HLS_msn=8",
        "_HLS_msn=7&_HLS_part=15",
    ] {
        let answer = stage.get(&format!("720p/index.m3u8?{query}")).await;
        assert!(
            answer.text().contains("\n0.m4s\n") && answer.text().contains("\n8.m4s\n"),
            "{query}"
        );
    }
}

#[tokio::test]
async fn queries_that_make_no_sense_are_refused() {
    let stage = Stage::at(3_400).await;
    for (query, cache) in [
        ("_HLS_part=1", "public, max-age=12"),
        ("_HLS_msn=x", "public, max-age=12"),
        ("_HLS_msn=-1", "public, max-age=12"),
        ("_HLS_msn=1&_HLS_part=1.5", "public, max-age=12"),
        ("_HLS_skip=maybe", "public, max-age=12"),
        ("_HLS_msn=1&_HLS_part=1&_HLS_part=1", "public, max-age=12"),
        ("_HLS_msn=4", "public, max-age=1"),
        ("_HLS_msn=1&_HLS_part=16", "public, max-age=1"),
    ] {
        let answer = stage.get(&format!("720p/index.m3u8?{query}")).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{query}");
        assert_eq!(answer.header("content-type"), "application/problem+json");
        assert_eq!(answer.header("cache-control"), cache, "{query}");
        assert!(answer.text().contains("\"status\":400"));
    }
    // What is not ours is let through.
    assert_eq!(
        stage.get("720p/index.m3u8?token=1&%zz").await.status,
        StatusCode::OK
    );
}

#[tokio::test(start_paused = true)]
async fn a_hinted_part_is_sent_whole_when_it_is_there() {
    let mut stage = Stage::at(3_400).await;
    let asked = stage.ask("audio/1.1.m4s");
    stage.waiting(1).await;
    stage.tell(3_600).await;
    let answer = asked.await.unwrap();
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.header("content-type"), "audio/mp4");
    assert_eq!(answer.header("cache-control"), "public, max-age=60, immutable");
    assert_eq!(answer.header("content-length"), answer.body.len().to_string());
    assert_eq!(&answer.body[4..8], b"moof");
    // Not hinted, so not waited for.
    for unknown in [
        "audio/1.3.m4s",
        "audio/2.0.m4s",
        "audio/0.16.m4s",
        "240p/0.0.m4s",
        "audio/1.m4s",
    ] {
        let answer = stage.get(unknown).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{unknown}");
        assert_eq!(answer.header("cache-control"), "public, max-age=1");
    }
}

#[tokio::test(start_paused = true)]
async fn those_who_wait_are_bounded() {
    let mut stage = Stage::open(Config {
        max_blocked_requests: 2,
        ..Config::default()
    });
    stage.tell(3_400).await;
    let next = "720p/index.m3u8?_HLS_msn=1&_HLS_part=1";
    let waiting = [stage.ask(next), stage.ask(next)];
    stage.waiting(2).await;
    let refused = stage.get(next).await;
    assert_eq!(
        (refused.status, refused.header("cache-control")),
        (StatusCode::SERVICE_UNAVAILABLE, "no-store")
    );
    assert_eq!(stage.get("720p/index.m3u8").await.status, StatusCode::OK);
    stage.tell(3_600).await;
    for waiting in waiting {
        assert_eq!(waiting.await.unwrap().status, StatusCode::OK);
    }
    stage.waiting(0).await;
}

#[tokio::test(start_paused = true)]
async fn one_version_wakes_all_who_wait() {
    let mut stage = Stage::at(3_400).await;
    let asked: Vec<_> = (0..2_000)
        .map(|_| stage.ask("720p/index.m3u8?_HLS_msn=1&_HLS_part=1"))
        .collect();
    stage.waiting(2_000).await;
    stage.tell(3_600).await;
    for asked in asked {
        assert!(asked.await.unwrap().lists("1.1.m4s"));
    }
}

/// Compressed once, for all who wait: their bodies are the same memory.
#[tokio::test(start_paused = true)]
async fn a_version_is_compressed_once() {
    let mut stage = Stage::at(3_200 * 9).await;
    for query in ["_HLS_msn=9&_HLS_part=0", "_HLS_msn=9&_HLS_part=1&_HLS_skip=YES"] {
        let asked: Vec<_> = (0..200)
            .map(|_| {
                let request = Request::get(format!("/broadcasts/algebra/720p/index.m3u8?{query}"));
                let request = request.header("accept-encoding", "gzip").body(Body::empty());
                let router = stage.origin.router();
                tokio::spawn(async move {
                    let response = router.oneshot(request.unwrap()).await.unwrap();
                    assert_eq!(response.headers()["content-encoding"], "gzip");
                    to_bytes(response.into_body(), usize::MAX).await.unwrap()
                })
            })
            .collect();
        stage.waiting(200).await;
        stage.tell(stage.told + 200).await;
        let mut bodies = Vec::new();
        for asked in asked {
            bodies.push(asked.await.unwrap());
        }
        assert!(
            bodies
                .iter()
                .all(|body| body.as_ptr() == bodies[0].as_ptr() && !body.is_empty())
        );
    }
}
