//! The storyboard from outside: as it grows, in the archive, beside gaps and slow archives.

use async_trait::async_trait;
use timeline::{Frame, Object, Stills, TrackId};

use super::*;

const STILLS: Stills = Stills {
    id: TrackId(9),
    width: 256,
    height: 144,
};

/// The picture of the middle of a segment.
fn still(msn: u64) -> Record {
    let grid = Grid::default();
    Record::Frame(Frame {
        track: STILLS.id,
        at: grid.segment_start(msn) + Span::from_millis(1_600),
        keyframe: true,
        payload: picture(msn).into(),
    })
}

fn picture(msn: u64) -> Vec<u8> {
    format!("JPEG of {msn}").into_bytes()
}

fn cue(msn: u64) -> String {
    let time = |msn: u64| {
        let ms = msn * 3_200;
        format!("00:{:02}:{:02}.{:03}", ms / 60_000, ms / 1000 % 60, ms % 1000)
    };
    format!(
        "{} --> {}\n{msn}.jpg#xywh=0,0,256,144\n\n",
        time(msn),
        time(msn + 1)
    )
}

fn storyboard(msns: impl IntoIterator<Item = u64>) -> String {
    format!("WEBVTT\n\n{}", msns.into_iter().map(cue).collect::<String>())
}

impl Stage {
    fn with_stills(config: Config) -> Stage {
        let stage = Stage::open(config);
        stage.producer.send(Record::Stills(STILLS));
        stage
    }

    /// A line that begins, or goes on from what another process left in the archive.
    async fn over(archive: Arc<dyn Archive>, config: Config) -> Stage {
        let origin = Origin::new(config, archive);
        let job = Job {
            broadcast: algebra(),
            timeline: Timeline::starting(WallTime::from_unix_millis(1_760_000_000_000)),
            grid: Grid::default(),
            part_hold_back_ms: Config::default().part_hold_back_ms,
            texts: Vec::new(),
        };
        let mut on_air = origin.open(job).unwrap();
        on_air.resume().await.unwrap();
        let producer = Producer::new();
        ladder()
            .into_iter()
            .for_each(|rendition| producer.send(Record::Rendition(rendition)));
        let packaged = tokio::spawn(on_air.package(producer.subscribe(Policy::Line)));
        Stage {
            origin,
            archive: Arc::default(),
            producer,
            packaged,
            told: 0,
        }
    }

    /// Tells whole segments up to `msn`, each with its still.
    async fn tell_segments(&mut self, msn: u64) {
        for n in (self.told / 3_200) as u64..msn {
            self.producer.send(still(n));
            self.tell((n as i64 + 1) * 3_200).await;
        }
    }
}

#[tokio::test]
async fn a_cue_for_each_closed_segment() {
    let mut stage = Stage::with_stills(Config::default());
    stage.tell_segments(2).await;
    stage.producer.send(still(2));
    stage.tell(3_200 * 3 - 200).await;
    let answer = stage.get("thumbs/storyboard.vtt").await;
    assert_eq!(answer.text(), storyboard(0..2), "the third segment is open");
    assert_eq!(answer.header("content-type"), "text/vtt; charset=utf-8");
    assert_eq!(answer.header("cache-control"), "public, max-age=3");
    assert_eq!(answer.header("vary"), "accept-encoding");
    let request = Request::get("/broadcasts/algebra/thumbs/storyboard.vtt")
        .header("accept-encoding", "gzip")
        .header("origin", "https://elsewhere.example");
    let zipped = send(&stage.origin, request.body(Body::empty()).unwrap()).await;
    assert_eq!(zipped.header("content-encoding"), "gzip");
    assert_eq!(zipped.header("access-control-allow-origin"), "*");
    let mut text = String::new();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&zipped.body[..]), &mut text).unwrap();
    assert_eq!(text, answer.text());

    let image = stage.get("thumbs/1.jpg").await;
    assert_eq!(image.body, picture(1));
    assert_eq!(image.header("content-type"), "image/jpeg");
    assert_eq!(
        image.header("cache-control"),
        "public, max-age=31536000, immutable"
    );
    assert!(!image.header("etag").is_empty());
    for unknown in [
        "thumbs/2.jpg",
        "thumbs/01.jpg",
        "thumbs/index.m3u8",
        "thumbs/1.png",
    ] {
        assert_eq!(
            stage.get(unknown).await.status,
            StatusCode::NOT_FOUND,
            "{unknown}"
        );
    }
    // No playlist knows of them.
    assert!(!stage.get("index.m3u8").await.text().contains("thumbs"));
    assert!(!stage.get("720p/index.m3u8").await.text().contains("thumbs"));
}

#[tokio::test(start_paused = true)]
async fn a_line_without_stills_has_no_storyboard() {
    let stage = Stage::at(3_200).await;
    assert_eq!(
        stage.get("thumbs/storyboard.vtt").await.status,
        StatusCode::NOT_FOUND
    );
    let (_, archive, _) = stage.end(3_200).await;
    assert!(!archive.has("algebra/thumbs/storyboard.vtt"));
}

#[tokio::test(start_paused = true)]
async fn a_late_still_holds_up_nothing_and_is_shown_late() {
    let mut stage = Stage::with_stills(Config::default());
    stage.tell(3_200 * 5).await;
    assert_eq!(stage.get("thumbs/storyboard.vtt").await.text(), storyboard(None));
    (1..5).for_each(|msn| stage.producer.send(still(msn)));
    let (origin, archive, _) = stage.end(3_200 * 5).await;
    assert_eq!(
        get(&origin, "thumbs/storyboard.vtt").await.text(),
        storyboard(1..5)
    );
    assert_eq!(archive.text("algebra/thumbs/storyboard.vtt"), storyboard(1..5));
    assert!((1..5).all(|msn| archive.has(&format!("algebra/thumbs/{msn}.jpg"))));
    assert!(!archive.has("algebra/thumbs/0.jpg"));
}

#[tokio::test(start_paused = true)]
async fn a_gap_has_no_cue_and_none_reaches_into_it() {
    let mut stage = Stage::with_stills(Config::default());
    stage.tell_segments(1).await;
    stage.producer.send(still(1));
    // Frames of the second segment are missing.
    stage.told = 3_200 * 2;
    stage.tell_segments(4).await;
    assert!(stage.get("720p/index.m3u8").await.text().contains("#EXT-X-GAP"));
    assert_eq!(
        stage.get("thumbs/storyboard.vtt").await.text(),
        storyboard([0, 2, 3])
    );
    let (_, archive, _) = stage.end(3_200 * 4).await;
    assert_eq!(
        archive.text("algebra/thumbs/storyboard.vtt"),
        storyboard([0, 2, 3])
    );
    assert!(!archive.has("algebra/thumbs/1.jpg"));
}

#[tokio::test(start_paused = true)]
async fn stills_that_left_memory_and_the_whole_after_the_end_come_from_the_archive() {
    let mut stage = Stage::with_stills(Config::default());
    stage.tell_segments(40).await;
    let air = stage.origin.on_air(&algebra()).unwrap();
    assert!(air.album.still(0).is_none() && air.album.still(39).is_some());
    for msn in [0, 39] {
        let image = stage.get(&format!("thumbs/{msn}.jpg")).await;
        assert_eq!((image.status, &image.body), (StatusCode::OK, &picture(msn)));
        assert_eq!(
            image.header("cache-control"),
            "public, max-age=31536000, immutable"
        );
    }
    stage.producer.send(still(40));
    stage.tell(3_200 * 40 + 2_000).await;
    let (origin, archive, _) = stage.end(3_200 * 40 + 2_000).await;
    let answer = get(&origin, "thumbs/storyboard.vtt").await;
    assert_eq!(answer.header("cache-control"), "public, max-age=300");
    // The last segment ends early, and so does its cue.
    let last = "00:02:08.000 --> 00:02:10.000\n40.jpg#xywh=0,0,256,144\n\n";
    let whole = format!("{}{last}", storyboard(0..40));
    assert_eq!(answer.text(), whole);
    tokio::time::sleep(Duration::from_secs(61)).await;
    for origin in [origin, Origin::new(Config::default(), archive)] {
        assert!(origin.on_air(&algebra()).is_none());
        assert_eq!(get(&origin, "thumbs/storyboard.vtt").await.text(), whole);
        assert_eq!(get(&origin, "thumbs/40.jpg").await.body, picture(40));
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_crash_the_storyboard_goes_on_from_the_archive() {
    // The line began late: it is listed from its third segment on.
    let mut crashed = Stage::with_stills(Config::default());
    crashed.told = 3_200 * 2;
    crashed.tell_segments(6).await;
    let early = |msns: std::ops::Range<u64>| -> Vec<String> {
        let text = storyboard(msns.map(|msn| msn - 2));
        let named = text.lines().map(|line| match line.split_once(".jpg") {
            Some((msn, rest)) => format!("{}.jpg{rest}", msn.parse::<u64>().unwrap() + 2),
            None => line.to_owned(),
        });
        named.collect()
    };
    let lines = |text: &str| -> Vec<String> { text.lines().map(str::to_owned).collect() };
    while !crashed.archive.has("algebra/thumbs/storyboard.vtt")
        || lines(&crashed.archive.text("algebra/thumbs/storyboard.vtt")) != early(2..6)
    {
        tokio::task::yield_now().await;
    }
    crashed.packaged.abort();

    let archive = crashed.archive;
    let mut stage = Stage::over(archive.clone(), Config::default()).await;
    // What was there is there before anything comes.
    assert_eq!(
        lines(stage.get("thumbs/storyboard.vtt").await.text()),
        early(2..6)
    );
    stage.told = 3_200 * 9;
    stage.producer.send(Record::Stills(STILLS));
    stage.tell_segments(11).await;
    let gone_on: Vec<String> = [early(2..6), early(9..11)[2..].to_vec()].concat();
    assert_eq!(lines(stage.get("thumbs/storyboard.vtt").await.text()), gone_on);
    assert_eq!(stage.get("thumbs/3.jpg").await.body, picture(3));
    assert_eq!(stage.get("thumbs/10.jpg").await.body, picture(10));
    stage.end(3_200 * 11).await;
    assert_eq!(lines(&archive.text("algebra/thumbs/storyboard.vtt")), gone_on);
}

/// Looks at each storyboard that is put: whatever it names must be there before it.
#[derive(Default)]
struct Watched {
    memory: Memory,
    storyboards: std::sync::Mutex<Vec<String>>,
}

#[async_trait]
impl Archive for Watched {
    async fn put(&self, key: &str, object: Object) -> Result<(), ArchiveError> {
        if key.ends_with(".vtt") && !self.memory.failing.load(Ordering::Relaxed) {
            let text = String::from_utf8(object.body.to_vec()).unwrap();
            let playlist = self.memory.text("algebra/720p/index.m3u8");
            for name in text.lines().filter_map(|line| line.split_once(".jpg#")) {
                let msn = name.0;
                assert!(self.memory.has(&format!("algebra/thumbs/{msn}.jpg")), "{msn}");
                assert!(playlist.contains(&format!("\n{msn}.m4s\n")), "{msn}");
            }
            self.storyboards.lock().unwrap().push(text);
        }
        self.memory.put(key, object).await
    }

    async fn get(&self, key: &str) -> Result<Object, ArchiveError> {
        self.memory.get(key).await
    }

    async fn delete(&self, key: &str) -> Result<(), ArchiveError> {
        self.memory.delete(key).await
    }

    async fn list(&self, folder: &str) -> Result<Vec<String>, ArchiveError> {
        self.memory.list(folder).await
    }
}

#[tokio::test(start_paused = true)]
async fn what_an_archived_storyboard_names_is_there_before_it() {
    let archive = Arc::new(Watched::default());
    let config = Config {
        max_archive_backlog: 3,
        ..Config::default()
    };
    let mut stage = Stage::over(archive.clone(), config).await;
    stage.producer.send(Record::Stills(STILLS));
    stage.tell_segments(4).await;
    archive.memory.failing.store(true, Ordering::Relaxed);
    stage.tell_segments(12).await;
    archive.memory.failing.store(false, Ordering::Relaxed);
    stage
        .producer
        .send(Record::End(Grid::default().segment_start(12)));
    stage.packaged.await.unwrap().unwrap();
    let storyboards = archive.storyboards.lock().unwrap();
    let (last, all) = (storyboards.last().unwrap(), storyboard(0..12));
    // What the slow archive lost is missing there, and nothing else.
    assert!(last.len() < all.len() && last.ends_with(&cue(11)), "{last}");
    assert!(last.lines().all(|line| all.contains(line)));
    assert!(storyboards.iter().all(|text| last.starts_with(text.as_str())));
}
