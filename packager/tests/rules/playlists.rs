//! P1 to P25: what playlists say, and that it is so.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use packager::Error;
use reqwest::StatusCode;
use timeline::feed::Record;
use timeline::{Grid, Media, PartIndex, TrackId};

use crate::lecture::{Lecture, ORIGIN, RENDITIONS, VIDEO, holed, source};
use crate::media::{samples, timescale};
use crate::reader::{Playlist, numbers};

/// Every version that a viewer who asks for each part sees, by rendition: ten segments, then the end.
pub struct History {
    pub whole: BTreeMap<&'static str, Vec<Playlist>>,
    pub deltas: BTreeMap<&'static str, Vec<Playlist>>,
    pub iframes: BTreeMap<&'static str, Vec<Playlist>>,
    pub ended: BTreeMap<&'static str, Playlist>,
    /// The archive's, after the end.
    pub archived: BTreeMap<String, String>,
    pub multivariants: Vec<String>,
}

impl History {
    pub fn every_live(&self) -> impl Iterator<Item = &Playlist> {
        self.whole.values().chain(self.deltas.values()).flatten()
    }

    pub fn every(&self) -> impl Iterator<Item = &Playlist> {
        self.every_live()
            .chain(self.iframes.values().flatten())
            .chain(self.ended.values())
    }

    fn newest(&self, rendition: &str) -> &Playlist {
        self.whole[rendition].last().unwrap()
    }
}

/// Collected once for all tests, in a runtime of its own.
pub fn history() -> &'static History {
    static HISTORY: OnceLock<History> = OnceLock::new();
    HISTORY.get_or_init(|| {
        let collecting = || tokio::runtime::Runtime::new().unwrap().block_on(collect());
        std::thread::spawn(collecting).join().unwrap()
    })
}

async fn collect() -> History {
    let mut lecture = Lecture::at(1, 0).await;
    let (mut whole, mut deltas, mut iframes) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    let mut next = PartIndex { msn: 1, part: 0 };
    while next.msn < 10 {
        let asked = format!("_HLS_msn={}&_HLS_part={}", next.msn, next.part);
        next = lecture.grid.next_part(next);
        lecture.tell(next.msn, next.part).await;
        for rendition in RENDITIONS {
            let path = format!("{rendition}/index.m3u8?{asked}");
            let read: &mut Vec<Playlist> = whole.entry(rendition).or_default();
            read.push(lecture.playlist(&path).await);
            let read: &mut Vec<Playlist> = deltas.entry(rendition).or_default();
            read.push(lecture.playlist(&format!("{path}&_HLS_skip=YES")).await);
        }
        for rendition in VIDEO {
            let read: &mut Vec<Playlist> = iframes.entry(rendition).or_default();
            read.push(lecture.playlist(&format!("{rendition}/iframes.m3u8")).await);
        }
    }
    lecture.tell(10, 3).await;
    lecture.end().await.unwrap();
    let (mut ended, mut archived) = (BTreeMap::new(), BTreeMap::new());
    for rendition in RENDITIONS {
        ended.insert(
            rendition,
            lecture.playlist(&format!("{rendition}/index.m3u8")).await,
        );
        let path = format!("{rendition}/index.m3u8");
        archived.insert(path.clone(), lecture.archived(&path));
    }
    for rendition in VIDEO {
        let path = format!("{rendition}/iframes.m3u8");
        archived.insert(path.clone(), lecture.archived(&path));
    }
    let mut multivariants = Vec::new();
    for name in ["index.m3u8", "audio.m3u8"] {
        multivariants.push(lecture.get(name).await.text().to_owned());
    }
    History {
        whole,
        deltas,
        iframes,
        ended,
        archived,
        multivariants,
    }
}

#[test]
fn p01_target_duration() {
    for playlist in history().every() {
        assert_eq!(playlist.target_duration, 3);
        for segment in &playlist.segments {
            assert!(segment.duration.round() <= 3.0 && segment.duration <= 3.5);
        }
    }
}

#[test]
fn p02_the_same_target_duration_everywhere() {
    for text in history().archived.values() {
        assert_eq!(Playlist::read(text).target_duration, 3);
    }
    let told: Vec<_> = history()
        .every()
        .map(|playlist| playlist.target_duration)
        .collect();
    assert!(told.iter().all(|duration| *duration == told[0]));
}

#[test]
fn p03_the_same_server_control_everywhere() {
    let control = |playlist: &Playlist| {
        let lines = playlist.text.lines();
        lines
            .filter(|line| line.starts_with("#EXT-X-SERVER-CONTROL"))
            .collect::<Vec<_>>()
            .join("\n")
    };
    let first = control(history().newest("audio"));
    assert_eq!(first.lines().count(), 1);
    for playlist in history().every() {
        assert_eq!(control(playlist), first);
        assert!(playlist.control.unwrap().can_block_reload);
    }
    // In the archive, where nothing can wait, it is in none.
    assert!(
        history()
            .archived
            .values()
            .all(|text| !text.contains("SERVER-CONTROL"))
    );
}

#[test]
fn p04_can_skip_until_and_hold_back() {
    for playlist in history().every() {
        let (control, td) = (playlist.control.unwrap(), playlist.target_duration as f64);
        assert!(control.can_skip_until >= 6.0 * td && control.hold_back >= 3.0 * td);
    }
}

#[test]
fn p05_part_hold_back() {
    let longest = history()
        .every()
        .filter_map(|playlist| playlist.part_target)
        .fold(0.0, f64::max);
    for playlist in history().every() {
        assert!(playlist.control.unwrap().part_hold_back >= 3.0 * longest);
        assert_eq!(playlist.part_target.is_some(), !playlist.i_frames_only);
        assert!(playlist.part_target.is_none_or(|target| target == longest));
    }
}

#[test]
fn p06_part_durations() {
    for playlist in history().every_live() {
        let target = playlist.part_target.unwrap();
        for (segment, part) in playlist.parts() {
            let last = segment.duration > 0.0 && segment.parts.last() == Some(part);
            assert!(part.duration <= target, "{part:?}");
            assert!(
                part.duration >= 0.85 * target || part.independent || last,
                "{part:?}"
            );
        }
    }
}

#[test]
fn p07_what_applies_to_a_segment_stands_before_its_first_part() {
    // The reader panics at a date or a map behind a part.
    for playlist in history().every() {
        assert!(!playlist.map.is_empty());
        let open = !playlist.open.parts.is_empty();
        assert_eq!(playlist.open.date.is_some(), open);
    }
}

/// Every sound can be entered anywhere, every picture at the head of its segment. The keyframe in the middle of a
/// segment is not told (the mark is optional): hls.js 1.7 stands still when it enters a segment there.
#[tokio::test]
async fn p08_independent_parts() {
    let lecture = Lecture::at(3, 0).await;
    for rendition in RENDITIONS {
        let playlist = lecture.playlist(&format!("{rendition}/index.m3u8")).await;
        let mut parts = 0;
        for (_, part) in playlist.parts() {
            parts += 1;
            let head = numbers(&part.uri).1 == 0;
            assert_eq!(part.independent, head || rendition == "audio", "{part:?}");
            let first = &samples(&lecture.body(&format!("{rendition}/{}", part.uri)).await)[0];
            assert!(first.sync || !part.independent, "{part:?}");
        }
        assert_eq!(parts, 48);
    }
}

#[tokio::test]
async fn p09_a_segment_is_its_parts() {
    let lecture = Lecture::at(3, 0).await;
    for rendition in RENDITIONS {
        for segment in &lecture
            .playlist(&format!("{rendition}/index.m3u8"))
            .await
            .segments
        {
            let (mut joined, mut duration) = (Vec::new(), 0.0);
            for part in &segment.parts {
                joined.extend_from_slice(&lecture.body(&format!("{rendition}/{}", part.uri)).await);
                duration += part.duration;
            }
            let body = lecture.body(&format!("{rendition}/{}", segment.uri)).await;
            assert_eq!(body, joined, "{rendition}/{}", segment.uri);
            // Each of 16 durations is rounded to five decimals.
            assert!((duration - segment.duration).abs() < 16.0 * 0.000_005);
        }
    }
}

/// A part is there as soon as its last frame has come: the packager waits for nothing that comes after, so that parts
/// follow each other as the frames do. Segments of 3.2 s are less than one and a half target durations.
#[tokio::test]
async fn p10_a_part_comes_with_its_last_frame() {
    let mut lecture = Lecture::at(1, 0).await;
    for part in 0..16 {
        let next = lecture.grid.next_part(PartIndex { msn: 1, part });
        lecture.send_before(next);
        for rendition in RENDITIONS {
            let asked = format!("{rendition}/index.m3u8?_HLS_msn=1&_HLS_part={part}");
            assert_eq!(lecture.playlist(&asked).await.last(), (1, part.into()));
        }
    }
    assert!(lecture.grid.segment().as_secs_f64() <= 1.5 * 3.0);
}

#[tokio::test]
async fn p11_parts_leave_in_order_and_can_still_be_fetched() {
    for (rendition, versions) in &history().whole {
        for (before, after) in versions.iter().zip(&versions[1..]) {
            let first = |playlist: &Playlist| numbers(&playlist.parts().next().unwrap().1.uri);
            // Whole segments at a time, the oldest first.
            assert!(
                first(after) >= first(before) && first(after).1 == 0,
                "{rendition}"
            );
            // None within three target durations of the end is missing, none far beyond is left.
            let listed: f64 = after.parts().map(|(_, part)| part.duration).sum();
            let all = after.last().0 as f64 * 3.2;
            assert!(
                listed >= 9.0_f64.min(all) && listed <= 9.0 + 2.0 * 3.2,
                "{listed}"
            );
        }
    }
    // The parts of segment 0 leave with the fourth segment; three target durations later they are still there.
    let mut lecture = Lecture::at(4, 0).await;
    let listed = |playlist: &Playlist| playlist.parts().any(|(_, part)| part.uri == "0.7.m4s");
    assert!(!listed(&lecture.playlist("180p/index.m3u8").await));
    lecture.tell(7, 0).await;
    for part in 0..16 {
        for rendition in RENDITIONS {
            lecture.body(&format!("{rendition}/0.{part}.m4s")).await;
        }
    }
}

#[test]
fn p12_no_segment_is_ever_removed() {
    for versions in history().whole.values().chain(history().iframes.values()) {
        for (before, after) in versions.iter().zip(&versions[1..]) {
            let uris = |playlist: &Playlist| -> Vec<(String, Option<(u64, u64)>)> {
                let segments = playlist.segments.iter();
                segments
                    .map(|segment| (segment.uri.clone(), segment.range))
                    .collect()
            };
            assert!(uris(after).starts_with(&uris(before)));
        }
    }
}

#[tokio::test]
async fn p13_a_segment_that_left_memory_can_be_fetched() {
    let lecture = Lecture::long().await;
    // Memory has no more of it: its parts are gone, of which the archive has none.
    assert_eq!(lecture.get("360p/0.0.m4s").await.status, StatusCode::NOT_FOUND);
    for rendition in RENDITIONS {
        for segment in &lecture
            .playlist(&format!("{rendition}/index.m3u8"))
            .await
            .segments
        {
            let body = lecture.body(&format!("{rendition}/{}", segment.uri)).await;
            let msn: u64 = segment.uri.strip_suffix(".m4s").unwrap().parse().unwrap();
            let at = (msn as f64 * 3.2 * timescale(rendition)).round() as u64;
            assert_eq!(samples(&body)[0].at, at, "{rendition}/{}", segment.uri);
        }
    }
}

#[test]
fn p14_media_sequence_and_discontinuity_sequence() {
    let archived: Vec<_> = history()
        .archived
        .values()
        .map(|text| Playlist::read(text))
        .collect();
    for playlist in history().every().chain(&archived) {
        assert_eq!(
            (playlist.media_sequence, playlist.discontinuity_sequence),
            (Some(0), Some(0))
        );
    }
}

/// From its start and never cut: EVENT, to which lines are only added, ENDLIST at last.
#[test]
fn p15_playlist_type() {
    let archived: Vec<_> = history()
        .archived
        .values()
        .map(|text| Playlist::read(text))
        .collect();
    for playlist in history().every().chain(&archived) {
        assert!(playlist.event);
    }
    assert!(
        archived
            .iter()
            .chain(history().ended.values())
            .all(|playlist| playlist.ended)
    );
    assert!(history().every_live().all(|playlist| !playlist.ended));
}

#[test]
fn p16_program_date_time() {
    for (rendition, versions) in history().whole.iter().chain(&history().deltas) {
        for playlist in versions {
            for (n, segment) in playlist.segments.iter().enumerate() {
                let msn = n as u64 + playlist.skipped;
                assert_eq!(
                    segment.date,
                    Some(ORIGIN + msn as i64 * 3_200),
                    "{rendition} {msn}"
                );
            }
        }
    }
    for text in history().archived.values() {
        assert!(
            Playlist::read(text)
                .segments
                .iter()
                .all(|segment| segment.date.is_some())
        );
    }
}

/// The date of each segment is the origin and the decode time of its first sample, in every rendition.
#[tokio::test]
async fn p16_dates_are_media_time() {
    let lecture = Lecture::at(4, 2).await;
    for rendition in RENDITIONS {
        for segment in &lecture
            .playlist(&format!("{rendition}/index.m3u8"))
            .await
            .segments
        {
            let first = &samples(&lecture.body(&format!("{rendition}/{}", segment.uri)).await)[0];
            let ms = first.at as f64 * 1_000.0 / timescale(rendition);
            assert_eq!(
                segment.date,
                Some(ORIGIN + ms as i64),
                "{rendition}/{}",
                segment.uri
            );
        }
    }
}

#[tokio::test]
async fn p17_every_segment_begins_with_an_idr() {
    let lecture = Lecture::at(4, 0).await;
    for rendition in VIDEO {
        for msn in 0..4 {
            let samples = samples(&lecture.body(&format!("{rendition}/{msn}.m4s")).await);
            for (n, sample) in samples.iter().enumerate() {
                assert_eq!(
                    (sample.sync, sample.is_idr()),
                    (n % 48 == 0, n % 48 == 0),
                    "{rendition} {msn} {n}"
                );
            }
        }
    }
}

#[tokio::test]
async fn p18_the_next_part_is_hinted_at() {
    let grid = Grid::default();
    for playlist in history().every_live() {
        let (msn, part) = playlist.last();
        let next = grid.next_part(PartIndex {
            msn,
            part: part as u32,
        });
        assert_eq!(playlist.hints, [format!("{}.{}.m4s", next.msn, next.part)]);
    }
    // There is no other init than the one that is listed, so none is hinted at. Nothing comes after the end.
    assert!(history().ended.values().all(|playlist| playlist.hints.is_empty()));
    // What is hinted at can be asked for at once, and comes.
    let mut lecture = Lecture::at(1, 5).await;
    let hint = lecture.playlist("180p/index.m3u8").await.hints[0].clone();
    let asked = lecture.ask(&format!("180p/{hint}")).await;
    lecture.tell(1, 6).await;
    assert_eq!(asked.await.unwrap().status, StatusCode::OK);
}

#[test]
fn p19_rendition_reports() {
    for (rendition, versions) in &history().whole {
        for playlist in versions {
            let mut uris: Vec<_> = playlist.reports.iter().map(|report| report.uri.clone()).collect();
            uris.sort();
            let others = RENDITIONS.iter().filter(|other| *other != rendition);
            let mut expected: Vec<_> = others.map(|other| format!("../{other}/index.m3u8")).collect();
            expected.sort();
            assert_eq!(uris, expected);
            // One barrier for all: what another has is what this one has.
            assert!(
                playlist
                    .reports
                    .iter()
                    .all(|report| report.last == playlist.last())
            );
        }
    }
}

#[test]
fn p20_versions_are_no_higher_than_needed() {
    for playlist in history().every() {
        let needed = match (playlist.skipped, playlist.i_frames_only) {
            (1.., _) => 9,
            (0, true) => 5,
            (0, false) => 6,
        };
        assert_eq!(playlist.version, needed);
    }
    assert!(history().deltas["audio"].last().unwrap().skipped > 0);
    assert!(
        history()
            .multivariants
            .iter()
            .all(|text| text.contains("#EXT-X-VERSION:4\n"))
    );
}

#[tokio::test]
async fn p21_missing_media_is_a_gap() {
    // The 180p rung loses half a second of the second segment.
    let lecture = holed().await;
    let holed = lecture.playlist("180p/index.m3u8").await;
    let gaps: Vec<_> = holed.segments.iter().map(|segment| segment.gap).collect();
    assert_eq!(gaps, [false, true, false, false]);
    let segment = &holed.segments[1];
    let gaps: Vec<_> = segment.parts.iter().map(|part| part.gap).collect();
    assert_eq!(gaps, [vec![false; 5], vec![true; 11]].concat());
    let duration: f64 = segment.parts.iter().map(|part| part.duration).sum();
    assert!((duration - 3.2).abs() < 0.000_1 && segment.duration == 3.2);
    for (path, status) in [
        ("180p/1.4.m4s", StatusCode::OK),
        ("180p/1.5.m4s", StatusCode::NOT_FOUND),
        ("180p/1.m4s", StatusCode::NOT_FOUND),
        ("180p/2.m4s", StatusCode::OK),
        ("360p/1.m4s", StatusCode::OK),
    ] {
        assert_eq!(lecture.get(path).await.status, status, "{path}");
    }
    // All else stands where it stands in the others.
    let whole = lecture.playlist("360p/index.m3u8").await;
    for (holed, whole) in holed.segments.iter().zip(&whole.segments) {
        assert_eq!((holed.date, holed.duration), (whole.date, whole.duration));
        assert!(!whole.gap);
    }
}

/// A rendition cannot change: announced again by a respawned encoder it must be the same, and the line goes on without
/// a discontinuity; otherwise the broadcast ends.
#[tokio::test]
async fn p22_a_rendition_never_changes() {
    let mut lecture = Lecture::at(1, 0).await;
    for rendition in &source().ladder {
        lecture.producer.send(Record::Rendition(rendition.clone()));
    }
    lecture.tell(2, 0).await;
    // The reader knows no discontinuity.
    lecture.all_playlists().await;
    let mut changed = source().ladder[0].clone();
    changed.id = TrackId(9);
    changed.media = match changed.media {
        Media::Video { frame, .. } => Media::Video {
            width: 1280,
            height: 720,
            frame,
        },
        audio => audio,
    };
    lecture.producer.send(Record::Rendition(changed));
    let error = lecture.packaged().await.unwrap_err();
    assert!(matches!(error, Error::BadRendition { .. }), "{error}");
    for playlist in lecture.all_playlists().await {
        assert!(playlist.ended);
    }
}

#[test]
fn p23_there_are_no_date_ranges() {
    // The reader panics at one; deltas of `v2` have none to tell of.
    for text in history()
        .every()
        .map(|playlist| &playlist.text)
        .chain(history().archived.values())
    {
        assert!(!text.contains("DATERANGE"));
    }
}

#[tokio::test]
async fn p24_durations_add_up() {
    let mut lecture = Lecture::at(6, 5).await;
    lecture.end().await.unwrap();
    for rendition in RENDITIONS {
        let playlist = lecture.playlist(&format!("{rendition}/index.m3u8")).await;
        let (mut told, mut real) = (0.0, 0.0);
        for segment in &playlist.segments {
            let samples = samples(&lecture.body(&format!("{rendition}/{}", segment.uri)).await);
            let units: u64 = samples.iter().map(|sample| sample.duration).sum();
            told += segment.duration;
            real += units as f64 / timescale(rendition);
            assert!(
                (told - real).abs() < 1.0 / 30.0 / 100.0,
                "{rendition}: {told} {real}"
            );
        }
        assert!(real > 6.0 * 3.2);
    }
}

#[tokio::test]
async fn p25_content_type() {
    let lecture = Lecture::at(2, 0).await;
    for path in [
        "index.m3u8",
        "audio.m3u8",
        "360p/index.m3u8",
        "360p/index.m3u8?_HLS_skip=YES",
        "audio/index.m3u8",
        "180p/iframes.m3u8",
    ] {
        let answer = lecture.get(path).await;
        assert_eq!(
            answer.header("content-type"),
            "application/vnd.apple.mpegurl",
            "{path}"
        );
        // UTF-8, and no byte order mark.
        assert!(answer.text().starts_with("#EXTM3U\n") && answer.text().is_ascii());
    }
}

/// A reader that knows nothing of low latency sees whole segments, and a VOD after the end.
#[test]
fn m3u8_rs_reads_the_recording() {
    for (path, text) in &history().archived {
        let playlist = m3u8_rs::parse_media_playlist_res(text.as_bytes()).unwrap();
        assert!(playlist.end_list, "{path}");
        assert_eq!(playlist.i_frames_only, path.ends_with("iframes.m3u8"));
        let total: f32 = playlist.segments.iter().map(|segment| segment.duration).sum();
        assert!((total - 32.6).abs() < 0.022, "{path}: {total}");
    }
    let playlist = m3u8_rs::parse_master_playlist_res(history().multivariants[0].as_bytes()).unwrap();
    let iframes = playlist
        .variants
        .iter()
        .filter(|variant| variant.is_i_frame)
        .count();
    assert_eq!(
        (playlist.variants.len(), iframes, playlist.alternatives.len()),
        (4, 2, 1)
    );
}
