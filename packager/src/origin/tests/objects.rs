//! Inits, parts, segments and files: their headers and their paths.

use super::*;

#[tokio::test]
async fn a_segment_is_its_parts() {
    let stage = Stage::at(3_200).await;
    for rendition in ["720p", "360p", "audio"] {
        let mut parts = Vec::new();
        for n in 0..16 {
            parts.extend(stage.get(&format!("{rendition}/0.{n}.m4s")).await.body);
        }
        let segment = stage.get(&format!("{rendition}/0.m4s")).await;
        assert_eq!(segment.body, parts);
        assert_eq!(
            segment.header("cache-control"),
            "public, max-age=31536000, immutable"
        );
    }
}

#[tokio::test]
async fn objects_that_never_change_are_known_by_their_tag() {
    let stage = Stage::at(3_200).await;
    let playlist = stage.get("720p/index.m3u8").await;
    let map = playlist
        .text()
        .split("EXT-X-MAP:URI=\"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap();
    for name in [map, "0.m4s", "0.0.m4s"] {
        let first = stage.get(&format!("720p/{name}")).await;
        assert_eq!(
            (first.status, first.header("content-type")),
            (StatusCode::OK, "video/mp4")
        );
        let again = Request::get(format!("/broadcasts/algebra/720p/{name}"));
        let again = again
            .header("if-none-match", first.header("etag"))
            .body(Body::empty())
            .unwrap();
        let again = send(&stage.origin, again).await;
        assert_eq!((again.status, again.body.len()), (StatusCode::NOT_MODIFIED, 0));
    }
    assert_eq!(
        stage.get("720p/init-0000000000000000.mp4").await.status,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn pages_of_other_sites_may_play() {
    let stage = Stage::at(3_200).await;
    let answer = stage.get("index.m3u8").await;
    assert_eq!(answer.header("access-control-allow-origin"), "*");
    assert_eq!(answer.header("access-control-expose-headers"), "age,date");
    assert_eq!(answer.header("timing-allow-origin"), "*");
    let preflight = Request::options("/broadcasts/algebra/index.m3u8")
        .header("origin", "https://elsewhere.example")
        .header("access-control-request-method", "GET")
        .header("access-control-request-headers", "range")
        .body(Body::empty())
        .unwrap();
    let preflight = send(&stage.origin, preflight).await;
    assert_eq!(preflight.status, StatusCode::OK);
    assert_eq!(
        preflight.header("access-control-allow-methods"),
        "GET,HEAD,OPTIONS"
    );
    let head = Request::head("/broadcasts/algebra/720p/0.m4s")
        .body(Body::empty())
        .unwrap();
    let head = send(&stage.origin, head).await;
    let whole = stage.get("720p/0.m4s").await;
    assert_eq!((head.status, head.body.len()), (StatusCode::OK, 0));
    assert_eq!(head.header("content-length"), whole.body.len().to_string());
}

#[tokio::test]
async fn paths_cannot_leave_the_broadcast() {
    let stage = Stage::at(3_200).await;
    stage.archive.objects.lock().unwrap().insert(
        "secret.json".into(),
        timeline::Object {
            body: "{}".into(),
            content_type: "application/json".into(),
        },
    );
    for path in [
        "..%2fsecret.json",
        "../secret.json",
        "%2e%2e/secret.json",
        "720p/..%2f..%2fsecret.json",
        "%ff",
        "a//b",
    ] {
        assert_eq!(stage.get(path).await.status, StatusCode::NOT_FOUND, "{path}");
    }
    let other = Request::get("/broadcasts/../secret.json")
        .body(Body::empty())
        .unwrap();
    assert_eq!(send(&stage.origin, other).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn files_of_a_broadcast_come_from_the_archive() {
    let stage = Stage::at(3_200).await;
    let object = timeline::Object {
        body: "{\"v\":1}".into(),
        content_type: "application/json".into(),
    };
    stage.archive.put("algebra/broadcast.json", object).await.unwrap();
    let answer = stage.get("broadcast.json").await;
    assert_eq!(
        (answer.text(), answer.header("content-type")),
        ("{\"v\":1}", "application/json")
    );
    assert_eq!(stage.get("files/slides.pdf").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_more_exact_route_may_stand_beside() {
    let stage = Stage::at(3_200).await;
    let chat = Router::new()
        .route(
            "/broadcasts/{id}/chat/index.json",
            axum::routing::get(|| async { "room" }),
        )
        .route(
            "/broadcasts/{id}/chat/{name}",
            axum::routing::get(|| async { "chunk" }),
        );
    let router = chat.merge(stage.origin.router());
    for (path, text) in [
        ("chat/index.json", "room"),
        ("chat/0.1a.json", "chunk"),
        ("720p/0.m4s", ""),
    ] {
        let request = Request::get(format!("/broadcasts/algebra/{path}"))
            .body(Body::empty())
            .unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        assert!(text.is_empty() || body == text.as_bytes());
    }
}
