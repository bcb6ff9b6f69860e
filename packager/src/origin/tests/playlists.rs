//! What playlists tell, and in which forms.

use super::*;

#[tokio::test]
async fn a_playlist_tells_the_newest_part_and_what_comes_next() {
    let stage = Stage::at(3_400).await;
    let answer = stage.get("720p/index.m3u8").await;
    assert_eq!(answer.status, StatusCode::OK);
    assert!(answer.lists("1.0.m4s") && !answer.lists("1.1.m4s"));
    assert!(answer.text().ends_with(
        "\
#EXT-X-PROGRAM-DATE-TIME:2025-10-09T08:53:23.200Z
#EXT-X-PART:DURATION=0.20000,URI=\"1.0.m4s\",INDEPENDENT=YES
#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"1.1.m4s\"
#EXT-X-RENDITION-REPORT:URI=\"../360p/index.m3u8\",LAST-MSN=1,LAST-PART=0
#EXT-X-RENDITION-REPORT:URI=\"../audio/index.m3u8\",LAST-MSN=1,LAST-PART=0
"
    ));
    assert_eq!(answer.header("content-type"), "application/vnd.apple.mpegurl");
    assert_eq!(answer.header("cache-control"), "public, max-age=1");
    assert_eq!(answer.header("vary"), "accept-encoding");
}

#[tokio::test]
async fn players_enter_a_video_segment_at_its_head_and_a_sound_anywhere() {
    let stage = Stage::at(3_200 * 2).await;
    let marked = |text: &str| text.matches("INDEPENDENT=YES").count();
    assert_eq!(marked(stage.get("720p/index.m3u8").await.text()), 2);
    assert_eq!(marked(stage.get("audio/index.m3u8").await.text()), 32);
}

#[tokio::test]
async fn multivariant_playlists_lead_to_the_renditions() {
    let stage = Stage::at(3_200).await;
    let all = stage.get("index.m3u8").await;
    assert_eq!(all.header("cache-control"), "public, max-age=2");
    assert!(all.text().contains("RESOLUTION=1280x720") && all.text().contains("\n720p/index.m3u8\n"));
    let audio = stage.get("audio.m3u8").await;
    assert!(audio.text().ends_with("CODECS=\"mp4a.40.2\"\naudio/index.m3u8\n"));
}

#[tokio::test]
async fn delta_updates() {
    let stage = Stage::at(3_200 * 9 + 400).await;
    for query in [
        "_HLS_skip=YES",
        "_HLS_skip=v2",
        "_HLS_msn=9&_HLS_part=0&_HLS_skip=YES",
    ] {
        let delta = stage.get(&format!("720p/index.m3u8?{query}")).await;
        assert!(delta.text().contains("#EXT-X-VERSION:9\n"), "{query}");
        assert!(
            delta
                .text()
                .contains("#EXT-X-MEDIA-SEQUENCE:0\n#EXT-X-DISCONTINUITY-SEQUENCE:0\n#EXT-X-SKIP:SKIPPED-SEGMENTS=3\n#EXT-X-MAP:")
        );
        assert!(
            delta.lists("9.1.m4s")
                && !delta.text().contains("\n2.m4s\n")
                && delta.text().contains("\n3.m4s\n")
        );
    }
    // Nothing can be skipped yet: the whole playlist.
    let early = Stage::at(3_200 * 6)
        .await
        .get("720p/index.m3u8?_HLS_skip=YES")
        .await;
    assert!(early.text().contains("#EXT-X-VERSION:6\n") && !early.text().contains("SKIP:"));
}

#[tokio::test]
async fn gzip_is_the_same_text() {
    let stage = Stage::at(3_200 * 50 + 1_000).await;
    for path in [
        "720p/index.m3u8",
        "720p/index.m3u8?_HLS_skip=YES",
        "index.m3u8",
        "audio.m3u8",
    ] {
        let plain = stage.get(path).await;
        let request =
            Request::get(format!("/broadcasts/algebra/{path}")).header("accept-encoding", "gzip, br");
        let zipped = send(&stage.origin, request.body(Body::empty()).unwrap()).await;
        assert_eq!(
            (
                zipped.header("content-encoding"),
                plain.header("content-encoding")
            ),
            ("gzip", "")
        );
        assert_eq!(zipped.header("vary"), "accept-encoding");
        let mut text = String::new();
        std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&zipped.body[..]), &mut text)
            .unwrap();
        assert_eq!(text, plain.text());
    }
}

#[tokio::test]
async fn missing_frames_are_a_gap_and_nothing_moves() {
    let stage = Stage::open(Config::default());
    // The 360p rung loses half a second of the second segment.
    let lost = |frame: &timeline::Frame| frame.track.0 == 2 && (378_000..423_000).contains(&frame.at.ticks());
    let told = frames(3_200 * 3).into_iter().filter(|frame| !lost(frame));
    told.for_each(|frame| stage.producer.send(Record::Frame(frame)));
    while stage.next() != Some(PartIndex { msn: 3, part: 0 }) {
        tokio::task::yield_now().await;
    }
    let whole = stage.get("720p/index.m3u8").await;
    assert!(!whole.text().contains("GAP"));
    let holed = stage.get("360p/index.m3u8").await;
    // What was there before the hole stays listed; the segment is not offered.
    assert!(
        holed
            .text()
            .contains("#EXT-X-PART:DURATION=0.20000,URI=\"1.4.m4s\"\n")
    );
    assert!(
        holed
            .text()
            .contains("#EXT-X-PART:DURATION=0.20000,URI=\"1.5.m4s\",GAP=YES\n")
    );
    assert!(
        holed
            .text()
            .contains("URI=\"1.15.m4s\",GAP=YES\n#EXT-X-GAP\n#EXTINF:3.20000,\n1.m4s\n")
    );
    assert_eq!(holed.text().matches("EXT-X-GAP").count(), 1);
    for (path, status) in [("1.4.m4s", 200), ("1.5.m4s", 404), ("1.m4s", 404), ("2.m4s", 200)] {
        assert_eq!(
            stage.get(&format!("360p/{path}")).await.status.as_u16(),
            status,
            "{path}"
        );
    }
    // All else stands where it stands in the other renditions.
    let dates = |text: &str| -> Vec<String> {
        text.lines()
            .filter(|line| line.contains("DATE-TIME") || line.contains("EXTINF"))
            .map(str::to_owned)
            .collect()
    };
    assert_eq!(dates(holed.text()), dates(whole.text()));
    let (_, archive, _) = stage.end(3_200 * 3).await;
    assert!(!archive.has("algebra/360p/1.m4s") && archive.has("algebra/720p/1.m4s"));
    assert!(
        archive
            .text("algebra/360p/index.m3u8")
            .contains("#EXT-X-GAP\n#EXTINF:3.20000,\n1.m4s\n")
    );
}
