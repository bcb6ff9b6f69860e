//! The playlist of texts (subtitles): on the same grid as all others, and only of what is kept.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use packager::Config;
use reqwest::StatusCode;
use timeline::{ArchiveError, BroadcastId, Frame, Grid, TextRendition, TextSegments};

use crate::lecture::{Answer, Lecture, RENDITIONS, VIDEO};
use crate::reader::Playlist;

/// Whoever makes the texts: remembers what it was asked to keep, or is out of order.
#[derive(Default)]
struct Maker {
    kept: Mutex<BTreeSet<u64>>,
    broken: AtomicBool,
}

#[async_trait]
impl TextSegments for Maker {
    async fn keep(&self, broadcast: &BroadcastId, msn: u64) -> Result<(), ArchiveError> {
        assert_eq!(broadcast.as_str(), "lecture");
        if self.broken.load(Ordering::Relaxed) {
            let (key, source) = (format!("{msn}.vtt"), std::io::Error::other("the record is away"));
            return Err(ArchiveError::Io { key, source });
        }
        self.kept.lock().unwrap().insert(msn);
        Ok(())
    }
}

async fn lecture_with(keep: impl Fn(&Frame) -> bool) -> (Lecture, Arc<Maker>) {
    let maker = Arc::new(Maker::default());
    let chat = TextRendition {
        folder: "chat",
        name: "Chat",
        language: "und",
        segments: maker.clone(),
    };
    let config = Config {
        archive_patience_seconds: 0,
        ..Config::default()
    };
    let lecture = Lecture::with_texts(config, Grid::default(), keep, vec![chat]).await;
    (lecture, maker)
}

async fn at(msn: u64, part: u32) -> (Lecture, Arc<Maker>) {
    let (mut lecture, maker) = lecture_with(|_| true).await;
    lecture.tell(msn, part).await;
    (lecture, maker)
}

/// Number, date, duration and gap of each whole segment.
fn grid(playlist: &Playlist) -> Vec<(u64, Option<i64>, f64, bool)> {
    let entries = playlist.segments.iter().enumerate();
    entries
        .map(|(n, segment)| {
            let msn = playlist.media_sequence.unwrap() + n as u64;
            let stem = segment.uri.rsplit_once('.').unwrap().0;
            assert_eq!(stem, msn.to_string());
            (msn, segment.date, segment.duration, segment.gap)
        })
        .collect()
}

#[tokio::test]
async fn texts_are_offered_and_off() {
    let (lecture, _) = at(2, 0).await;
    let multivariant = lecture.get("index.m3u8").await;
    let lines = || multivariant.text().lines();
    let media: Vec<_> = lines()
        .filter(|line| line.starts_with("#EXT-X-MEDIA:TYPE=SUBTITLES"))
        .collect();
    assert_eq!(
        media,
        [
            "#EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID=\"text\",NAME=\"Chat\",LANGUAGE=\"und\",\
             DEFAULT=NO,AUTOSELECT=NO,FORCED=NO,URI=\"chat/index.m3u8\""
        ]
    );
    // The group is on each variant or on none (4.4.6.2.1).
    let variants: Vec<_> = lines()
        .filter(|line| line.starts_with("#EXT-X-STREAM-INF"))
        .collect();
    assert_eq!(variants.len(), VIDEO.len());
    assert!(variants.iter().all(|line| line.contains(",SUBTITLES=\"text\"")));
}

#[tokio::test]
async fn texts_are_not_offered_where_there_are_none() {
    let lecture = Lecture::at(2, 0).await;
    assert!(!lecture.get("index.m3u8").await.text().contains("SUBTITLES"));
    assert_eq!(lecture.get("chat/index.m3u8").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn texts_keep_the_grid_and_the_promises_of_all_playlists() {
    let (mut lecture, _) = lecture_with(|_| true).await;
    for msn in 1..=5 {
        lecture.tell(msn, 3).await;
        let texts = lecture.playlist("chat/index.m3u8").await;
        let media = lecture.playlist("360p/index.m3u8").await;
        assert_eq!(grid(&texts), grid(&media));
        assert_eq!(
            (texts.target_duration, texts.control, texts.event),
            (media.target_duration, media.control, media.event)
        );
        assert_eq!(texts.discontinuity_sequence, media.discontinuity_sequence);
        // Nothing of low latency, and no init.
        assert!(texts.part_target.is_none() && texts.parts().next().is_none());
        assert!(texts.hints.is_empty() && texts.reports.is_empty() && texts.map.is_empty());
        assert_eq!((texts.version, texts.ended), (3, false));
    }
}

#[tokio::test]
async fn texts_can_be_waited_for_by_the_segment() {
    let (mut lecture, _) = at(2, 4).await;
    // A player that lives by parts elsewhere asks for one here too: it means nothing.
    let waiting = lecture.ask("chat/index.m3u8?_HLS_msn=2&_HLS_part=1").await;
    lecture.tell(2, 15).await;
    assert!(!waiting.is_finished());
    lecture.tell(3, 0).await;
    let answer: Answer = waiting.await.unwrap();
    assert_eq!(answer.header("cache-control"), "public, max-age=18");
    assert_eq!(Playlist::read(answer.text()).segments.len(), 3);
    let far = lecture.get("chat/index.m3u8?_HLS_msn=5").await;
    assert_eq!(far.status, StatusCode::BAD_REQUEST);
    assert_eq!(
        lecture.get("chat/index.m3u8").await.header("cache-control"),
        "public, max-age=1"
    );
}

#[tokio::test]
async fn a_delta_of_texts_leaves_out_what_is_known() {
    let (lecture, _) = at(9, 0).await;
    let whole = lecture.playlist("chat/index.m3u8").await;
    let delta = lecture.playlist("chat/index.m3u8?_HLS_skip=YES").await;
    assert_eq!((delta.version, delta.skipped > 0), (9, true));
    assert_eq!(delta.segments[..], whole.segments[delta.skipped as usize..]);
}

#[tokio::test]
async fn texts_are_a_gap_only_where_all_else_is() {
    let lost = |frame: &Frame| Grid::default().msn(frame.at) != 2;
    let (mut lecture, _) = lecture_with(move |frame| frame.track.0 != 2 || lost(frame)).await;
    lecture.tell(2, 0).await;
    lecture.send_before(timeline::PartIndex { msn: 3, part: 1 });
    lecture.tell(5, 0).await;
    let gaps = |playlist: Playlist| grid(&playlist).iter().map(|entry| entry.3).collect::<Vec<_>>();
    assert_eq!(
        gaps(lecture.playlist("180p/index.m3u8").await),
        [false, false, true, false, false]
    );
    assert_eq!(gaps(lecture.playlist("chat/index.m3u8").await), [false; 5]);
}

#[tokio::test]
async fn the_archive_lists_texts_once_they_are_kept() {
    let (mut lecture, maker) = at(3, 0).await;
    maker.broken.store(true, Ordering::Relaxed);
    let listed = |lecture: &Lecture| Playlist::read(&lecture.archived("chat/index.m3u8"));
    lecture.tell(6, 2).await;
    let told = lecture.folder.path().join("archive/lecture/audio/index.m3u8");
    // The sound is there, whatever becomes of the texts.
    while !std::fs::read_to_string(&told).is_ok_and(|text| text.ends_with("\n5.m4s\n")) {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let kept = maker.kept.lock().unwrap().len();
    // Its first line may not have been written yet.
    let index = lecture.folder.path().join("archive/lecture/chat/index.m3u8");
    let lines = std::fs::read_to_string(index).map_or(0, |text| Playlist::read(&text).segments.len());
    assert!(lines <= kept && kept < 6);
    maker.broken.store(false, Ordering::Relaxed);
    lecture.end().await.unwrap();
    let archived = listed(&lecture);
    assert!(archived.ended && archived.control.is_none());
    assert_eq!(grid(&archived), grid(&lecture.playlist("chat/index.m3u8").await));
    assert_eq!(*maker.kept.lock().unwrap(), (0..7).collect());
    lecture.served_from_archive().await;
    assert_eq!(
        lecture.playlist("chat/index.m3u8").await.segments,
        archived.segments
    );
    for rendition in RENDITIONS {
        assert_eq!(
            lecture
                .playlist(&format!("{rendition}/index.m3u8"))
                .await
                .segments
                .len(),
            archived.segments.len()
        );
    }
}

#[tokio::test]
async fn texts_that_are_never_kept_are_gaps_in_the_archive() {
    let (mut lecture, maker) = lecture_with(|_| true).await;
    maker.broken.store(true, Ordering::Relaxed);
    lecture.tell(3, 0).await;
    lecture.end().await.unwrap();
    let archived = Playlist::read(&lecture.archived("chat/index.m3u8"));
    assert!(archived.ended && grid(&archived).iter().all(|entry| entry.3));
}
