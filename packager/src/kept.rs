//! What the archive has of a line that was interrupted: read back, so that the line goes on behind it.

use std::collections::BTreeMap;

use bytes::Bytes;
use m3u8_rs::{MediaPlaylist, MediaSegment};
use timeline::{
    Archive, ArchiveError, BroadcastId, Grid, MediaTime, Span, Stills, TICKS_PER_SECOND, TextRendition,
    Timeline, WallTime,
};

use crate::playlist::{Picture, Segment, Turn};
use crate::storyboard::{self, Foreign, Storyboard};
use crate::whole::text_entry;

/// The closed segments of each rendition, as the archive's playlists have them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    renditions: BTreeMap<String, Rendition>,
    /// As it stands there, read or not.
    storyboard: Option<Bytes>,
    /// The first MSN that each playlist of texts does not list, by its folder.
    texts: BTreeMap<String, u64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rendition {
    media_sequence: u64,
    /// The init that its first segments need.
    map: String,
    segments: Vec<Segment>,
}

/// A rendition's playlist up to the segment at which the line goes on.
pub struct History {
    pub map: String,
    pub segments: Vec<Segment>,
}

impl Kept {
    /// Reads the media playlists in a broadcast's folder. One that cannot be read as ours is an error: to go on
    /// without it would take from its viewers what they have seen. Playlists of `texts` are made anew from the others.
    pub async fn read(
        archive: &dyn Archive,
        broadcast: &BroadcastId,
        texts: &[TextRendition],
    ) -> Result<Kept, ArchiveError> {
        let mut kept = Kept::default();
        for name in archive.list(broadcast.as_str()).await? {
            let key = format!("{broadcast}/{name}/index.m3u8");
            let body = match archive.get(&key).await {
                Err(ArchiveError::NotFound(_) | ArchiveError::BadKey(_)) => continue,
                object => object?.body,
            };
            if texts.iter().any(|rendition| rendition.folder == name) {
                kept.texts.insert(name, next_listed(&body));
                continue;
            }
            let source = || std::io::Error::new(std::io::ErrorKind::InvalidData, "not a playlist of ours");
            let mut rendition = read(&body).ok_or_else(|| ArchiveError::Io {
                key,
                source: source(),
            })?;
            match archive.get(&format!("{broadcast}/{name}/iframes.m3u8")).await {
                Err(ArchiveError::NotFound(_)) => {}
                iframes => read_pictures(&iframes?.body, &mut rendition),
            }
            kept.renditions.insert(name, rendition);
        }
        let storyboard = format!("{broadcast}/{}/{}", storyboard::FOLDER, storyboard::STORYBOARD);
        kept.storyboard = match archive.get(&storyboard).await {
            Err(ArchiveError::NotFound(_)) => None,
            object => Some(object?.body),
        };
        Ok(kept)
    }

    pub fn is_empty(&self) -> bool {
        self.renditions
            .values()
            .all(|rendition| rendition.segments.is_empty())
    }

    pub fn media_sequence(&self) -> Option<u64> {
        self.renditions
            .values()
            .map(|rendition| rendition.media_sequence)
            .min()
    }

    /// The first MSN that no playlist lists.
    pub fn next_msn(&self) -> u64 {
        self.renditions
            .values()
            .map(Rendition::next_msn)
            .max()
            .unwrap_or(0)
    }

    /// Where the last segment ends.
    pub fn end(&self, grid: &Grid) -> MediaTime {
        grid.segment_start(self.next_msn())
    }

    /// The storyboard of the line that goes on. Of a foreign one nothing is kept: players lose some pictures, no more.
    pub fn storyboard(&self, stills: Stills, grid: Grid) -> Result<Storyboard, Foreign> {
        let first = self.media_sequence();
        match (&self.storyboard, first) {
            (Some(text), Some(first)) => Storyboard::resume(stills, grid, first, text),
            _ => Ok(Storyboard::new(stills, grid, first)),
        }
    }

    /// The playlist of a rendition up to the segment `first`, at which the line goes on: what is kept, and gaps.
    /// `init` is what its segments need from then on.
    pub fn history(
        &self,
        rendition: &str,
        init: &str,
        first: u64,
        grid: &Grid,
        timeline: Timeline,
    ) -> History {
        let from = self.media_sequence().unwrap_or(first);
        let known = self.renditions.get(rendition);
        let segments = (from..first).map(|msn| {
            known
                .and_then(|known| known.segment(msn).cloned())
                .or_else(|| self.elsewhere(msn))
                .unwrap_or_else(|| gap(msn, grid, timeline))
        });
        History {
            map: known.map_or(init, |known| &known.map).to_owned(),
            // What another rendition has is here too, if this one is kept at all: segments are kept in all
            // renditions before any playlist lists them.
            segments: match known {
                Some(_) => segments.collect(),
                None => (from..first).map(|msn| gap(msn, grid, timeline)).collect(),
            },
        }
    }

    /// The segments of texts before `first`.
    pub fn texts(&self, first: u64, grid: &Grid, timeline: Timeline) -> Vec<Segment> {
        let from = self.media_sequence().unwrap_or(first);
        let entry = |msn| {
            let known = self.renditions.values().filter_map(|known| known.segment(msn));
            text_entry(msn, known).or_else(|| text_entry(msn, [gap(msn, grid, timeline)].iter()))
        };
        (from..first).filter_map(entry).collect()
    }

    /// The first MSN that the archive's playlist of texts does not list.
    pub fn next_text(&self, folder: &str) -> u64 {
        self.texts.get(folder).copied().unwrap_or(0)
    }

    fn elsewhere(&self, msn: u64) -> Option<Segment> {
        let mut others = self.renditions.values();
        let segment = others.find_map(|rendition| rendition.segment(msn))?;
        Some(Segment {
            turn: Turn::default(),
            pictures: Vec::new(),
            ..segment.clone()
        })
    }
}

impl Rendition {
    fn next_msn(&self) -> u64 {
        self.media_sequence + self.segments.len() as u64
    }

    fn segment(&self, msn: u64) -> Option<&Segment> {
        let place = msn.checked_sub(self.media_sequence)?;
        self.segments.get(usize::try_from(place).ok()?)
    }
}

/// Behind the last segment of a playlist; 0 where it is none of ours: then nothing of it is relied on.
fn next_listed(playlist: &[u8]) -> u64 {
    let read = std::str::from_utf8(playlist)
        .ok()
        .and_then(|_| m3u8_rs::parse_media_playlist_res(playlist).ok());
    read.map_or(0, |playlist| {
        playlist.media_sequence + playlist.segments.len() as u64
    })
}

/// A segment of which nothing was ever made.
fn gap(msn: u64, grid: &Grid, timeline: Timeline) -> Segment {
    Segment {
        program_date_time: timeline.wall(grid.segment_start(msn)),
        gap: true,
        duration: grid.segment(),
        uri: crate::listing::segment_name(msn),
        ..Segment::default()
    }
}

fn read(body: &[u8]) -> Option<Rendition> {
    std::str::from_utf8(body).ok()?;
    let Ok((
        _,
        MediaPlaylist {
            media_sequence,
            segments,
            ..
        },
    )) = m3u8_rs::parse_media_playlist(body)
    else {
        return None;
    };
    let map = segments.first()?.map.as_ref()?.uri.clone();
    let segments = segments.into_iter().enumerate();
    let segments = segments.map(|(n, segment)| entry(segment, n == 0, media_sequence + n as u64));
    Some(Rendition {
        media_sequence,
        map,
        segments: segments.collect::<Option<_>>()?,
    })
}

fn entry(segment: MediaSegment, first: bool, msn: u64) -> Option<Segment> {
    let map = segment.map.map(|map| map.uri);
    // Five decimals of a few seconds are more than a float of 24 bits loses.
    let ticks = (f64::from(segment.duration) * TICKS_PER_SECOND as f64).round() as i64;
    let named_by_msn = segment.uri == crate::listing::segment_name(msn);
    named_by_msn.then_some(())?;
    Some(Segment {
        turn: Turn {
            discontinuity: segment.discontinuity,
            map: map.filter(|_| !first),
        },
        program_date_time: WallTime::from_unix_millis(segment.program_date_time?.timestamp_millis()),
        parts: Vec::new(),
        gap: segment.unknown_tags.iter().any(|tag| tag.tag == "X-GAP"),
        duration: Span::from_ticks(ticks),
        uri: segment.uri,
        pictures: Vec::new(),
    })
}

/// Where the pictures of a rendition's segments stand. Those that are not told are gaps in its I-frame playlist.
fn read_pictures(iframes: &[u8], rendition: &mut Rendition) {
    let Ok((_, playlist)) = m3u8_rs::parse_media_playlist(iframes) else {
        return;
    };
    for entry in playlist.segments {
        let msn = entry
            .uri
            .strip_suffix(".m4s")
            .and_then(|msn| msn.parse::<u64>().ok());
        let place = msn.and_then(|msn| usize::try_from(msn.checked_sub(rendition.media_sequence)?).ok());
        let segment = place.and_then(|place| rendition.segments.get_mut(place));
        let Some((segment, at, range)) = segment
            .zip(entry.program_date_time)
            .zip(entry.byte_range)
            .map(|((segment, at), range)| (segment, at, range))
        else {
            continue;
        };
        let at = WallTime::from_unix_millis(at.timestamp_millis());
        let start = range.offset.unwrap_or(0);
        segment.pictures.push(Picture {
            after: at - segment.program_date_time,
            bytes: start..start.saturating_add(range.length),
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use timeline::feed::{Policy, Producer, Record};
    use tower::ServiceExt;

    use super::*;
    use crate::testing::{Memory, audio, frames, ladder, video};
    use crate::{Config, Error, Interrupted, Job, Origin, Packaged};

    const ORIGIN: WallTime = WallTime::from_unix_millis(1_760_000_000_000);

    fn algebra() -> BroadcastId {
        "algebra".parse().unwrap()
    }

    fn job() -> Job {
        Job {
            broadcast: algebra(),
            timeline: Timeline::starting(ORIGIN),
            grid: Grid::default(),
            part_hold_back_ms: 0,
            texts: Vec::new(),
        }
    }

    /// A server that lives for a while.
    struct Life {
        origin: Origin,
        line: Producer,
        packaged: tokio::task::JoinHandle<Result<Packaged, Error>>,
        from: Option<Interrupted>,
    }

    impl Life {
        async fn begin(archive: &Arc<Memory>, ladder: Vec<timeline::Rendition>) -> Life {
            let origin = Origin::new(Config::default(), archive.clone());
            let mut on_air = origin.open(job()).unwrap();
            let from = match archive.has("algebra/index.m3u8") {
                true => Some(on_air.resume().await.unwrap()),
                false => None,
            };
            let line = Producer::new();
            let packaged = tokio::spawn(on_air.package(line.subscribe(Policy::Line)));
            for rendition in ladder {
                line.send(Record::Rendition(rendition));
            }
            Life {
                origin,
                line,
                packaged,
                from,
            }
        }

        /// Sends all frames from one moment to another, and waits until the last part is visible.
        async fn tell(&self, from: i64, to: i64) -> String {
            let all = frames(to);
            let from = MediaTime::ZERO + Span::from_millis(from);
            for frame in all.into_iter().filter(|frame| frame.at >= from) {
                self.line.send(Record::Frame(frame));
                tokio::task::yield_now().await;
            }
            let last = Grid::default().part_index(MediaTime::ZERO + Span::from_millis(to - 200));
            self.get(&format!(
                "360p/index.m3u8?_HLS_msn={}&_HLS_part={}",
                last.msn, last.part
            ))
            .await
        }

        async fn get(&self, path: &str) -> String {
            let request = Request::get(format!("/broadcasts/algebra/{path}"))
                .body(Body::empty())
                .unwrap();
            let response = self.origin.router().oneshot(request).await.unwrap();
            let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
            String::from_utf8_lossy(&body).into_owned()
        }

        /// Until the archive has so many segments; then the server is killed.
        async fn kill_at(self, archive: &Memory, segment: &str) {
            while !archive.has("algebra/index.m3u8")
                || !archive.text("algebra/360p/index.m3u8").contains(segment)
            {
                tokio::task::yield_now().await;
            }
            self.packaged.abort();
        }
    }

    fn uris(playlist: &str) -> Vec<String> {
        let mut gap = "";
        let mut uris = Vec::new();
        for line in playlist.lines() {
            match line {
                "#EXT-X-GAP" => gap = "gap ",
                _ if line.starts_with('#') => {}
                _ => uris.push(format!("{}{line}", std::mem::take(&mut gap))),
            }
        }
        uris
    }

    #[tokio::test]
    async fn a_line_goes_on_behind_what_is_kept() {
        let archive = Arc::new(Memory::default());
        let first = Life::begin(&archive, ladder()).await;
        // Three whole segments and a part of the fourth.
        let before = first.tell(0, 10_000).await;
        first.kill_at(&archive, "2.m4s").await;

        let second = Life::begin(&archive, ladder()).await;
        let nine_six = MediaTime::from_ticks(864_000);
        assert_eq!(
            second.from,
            Some(Interrupted {
                next_msn: 3,
                at: nine_six
            })
        );
        let held = tokio::spawn({
            let (origin, path) = (second.origin.clone(), "/broadcasts/algebra/360p/index.m3u8");
            async move {
                origin
                    .router()
                    .oneshot(Request::get(path).body(Body::empty()).unwrap())
                    .await
            }
        });
        // The hole reaches to segment 5.
        let after = second.tell(16_000, 17_000).await;
        assert_eq!(held.await.unwrap().unwrap().status(), 200);
        assert_eq!(
            uris(&after),
            ["0.m4s", "1.m4s", "2.m4s", "gap 3.m4s", "gap 4.m4s"]
        );
        let promised = |playlist: &str| {
            let tags = [
                "#EXT-X-TARGETDURATION",
                "#EXT-X-SERVER-CONTROL",
                "#EXT-X-PART-INF",
                "#EXT-X-MAP",
                "#EXT-X-MEDIA-SEQUENCE",
            ];
            let lines = playlist
                .lines()
                .filter(|line| tags.iter().any(|tag| line.starts_with(tag)));
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(promised(&after), promised(&before));
        assert!(!after.contains("EXT-X-DISCONTINUITY\n"), "{after}");
        assert!(
            after.contains("5.4.m4s") && after.contains("URI=\"5.5.m4s\""),
            "{after}"
        );
        assert!(
            after.contains(
                "#EXT-X-PROGRAM-DATE-TIME:2025-10-09T08:53:29.600Z\n#EXT-X-GAP\n#EXTINF:3.20000,\n3.m4s\n"
            ),
            "{after}"
        );

        second.line.send(Record::End(MediaTime::from_ticks(17 * 90_000)));
        second.packaged.await.unwrap().unwrap();
        let kept = archive.text("algebra/audio/index.m3u8");
        assert_eq!(
            uris(&kept),
            ["0.m4s", "1.m4s", "2.m4s", "gap 3.m4s", "gap 4.m4s", "5.m4s"]
        );
        assert!(
            kept.ends_with("#EXT-X-ENDLIST\n") && !kept.contains("EXT-X-PART"),
            "{kept}"
        );
    }

    #[tokio::test]
    async fn an_encoder_that_describes_itself_differently_begins_a_discontinuity() {
        let archive = Arc::new(Memory::default());
        let first = Life::begin(&archive, ladder()).await;
        first.tell(0, 7_000).await;
        first.kill_at(&archive, "1.m4s").await;

        let mut other = video(2, "360p", 600_000);
        other.init = [
            &other.init[..4],
            &[
                0xff, 0xe1, 0, 4, 0x67, 0x64, 0, 0x1e, 1, 0, 2, 0x68, 0xeb, 0xfd, 0xf8, 0xf8, 0,
            ],
        ]
        .concat()
        .into();
        other.codec = "avc1.64001e".into();
        let second = Life::begin(&archive, vec![video(1, "720p", 2_500_000), other, audio(3)]).await;
        let after = second.tell(9_600, 40_000).await;
        let maps: Vec<&str> = after
            .lines()
            .filter(|line| line.starts_with("#EXT-X-MAP"))
            .collect();
        assert!(maps.len() == 2 && maps[0] != maps[1], "{after}");
        assert_eq!(after.matches("#EXT-X-DISCONTINUITY\n").count(), 1);
        // At the same place in all renditions, also in those that are as before (6.2.4), and in that of I-frames.
        let uri = |text: &str| {
            let after = text.split("#EXT-X-DISCONTINUITY\n").nth(1).unwrap();
            let mut lines = after.lines();
            assert!(lines.next().unwrap().starts_with("#EXT-X-MAP:"));
            lines.find(|line| !line.starts_with('#')).unwrap().to_owned()
        };
        for path in ["720p/index.m3u8", "audio/index.m3u8", "360p/iframes.m3u8"] {
            let text = second.get(path).await;
            assert_eq!(text.matches("#EXT-X-DISCONTINUITY\n").count(), 1, "{path}");
            assert_eq!(uri(&text), uri(&after), "{path}");
        }
        // The pictures from before are still listed, those of the hole are not.
        let iframes = second.get("360p/iframes.m3u8").await;
        assert!(
            iframes.contains("\n#EXT-X-BYTERANGE:127@28\n0.m4s\n"),
            "{iframes}"
        );
        assert!(
            iframes.contains("#EXT-X-GAP\n#EXTINF:3.20000,\n2.m4s\n"),
            "{iframes}"
        );
        assert_eq!(iframes.matches("#EXT-X-BYTERANGE").count(), 2 * (2 + 9));
        let delta = second.get("360p/iframes.m3u8?_HLS_skip=YES").await;
        assert!(
            delta.contains("#EXT-X-SKIP:") && delta.contains(maps[1]) && !delta.contains("DISCONTINUITY\n")
        );
        // The init in force at the first segment that a delta update lists stands at its head.
        let delta = second.get("360p/index.m3u8?_HLS_skip=YES").await;
        assert_eq!(delta.matches("#EXT-X-MAP").count(), 1);
        assert!(delta.contains(maps[1]), "{delta}");
        // And over again.
        second.kill_at(&archive, "11.m4s").await;
        let third = Life::begin(&archive, ladder()).await;
        let again = third.tell(41_600, 42_000).await;
        assert_eq!(again.matches("#EXT-X-DISCONTINUITY\n").count(), 2);
    }

    /// The 360p rendition as it is told again: with another encoder's parameter sets beside its own.
    fn renewed() -> timeline::Rendition {
        let old = video(2, "360p", 600_000);
        let init = [
            &[
                1, 0x64, 0, 0x1f, 0xff, 0xe2, 0, 4, 0x67, 0x64, 0, 0x1f, 0, 4, 0x67, 0x42, 0xc0, 0x1f,
            ][..],
            &[2, 0, 2, 0x68, 0xeb, 0, 2, 0x68, 0xce, 0xfd, 0xf8, 0xf8, 0],
        ];
        timeline::Rendition {
            init: init.concat().into(),
            ..old
        }
    }

    /// Tells all up to `to`; before the head of segment 2 the 360p rendition is told again.
    async fn tell_renewed(life: &Life, to: i64) -> String {
        let head = Grid::default().segment_start(2);
        for frame in frames(to) {
            if frame.track.0 == 2 && frame.at == head {
                life.line.send(Record::Rendition(renewed()));
            }
            life.line.send(Record::Frame(frame));
            tokio::task::yield_now().await;
        }
        // Waits for the last part.
        life.tell(to, to).await
    }

    fn maps(playlist: &str) -> Vec<String> {
        let maps = playlist
            .lines()
            .filter_map(|line| line.strip_prefix("#EXT-X-MAP:URI="));
        maps.map(|map| map.trim_matches('"').to_owned()).collect()
    }

    #[tokio::test]
    async fn an_init_that_changes_in_mid_line_is_no_discontinuity() {
        let archive = Arc::new(Memory::default());
        let life = Life::begin(&archive, ladder()).await;
        let text = tell_renewed(&life, 40_000).await;
        let inits = maps(&text);
        assert!(inits.len() == 2 && inits[0] != inits[1], "{text}");
        let before = |playlist: &str| {
            let rest = playlist
                .split(&format!("#EXT-X-MAP:URI=\"{}\"\n", inits[1]))
                .nth(1)
                .unwrap();
            rest.lines()
                .find(|line| !line.starts_with('#'))
                .unwrap()
                .to_owned()
        };
        let iframes = life.get("360p/iframes.m3u8").await;
        for playlist in [&text, &iframes] {
            assert_eq!(maps(playlist), inits);
            assert_eq!(before(playlist), "2.m4s");
            assert!(!playlist.contains("EXT-X-DISCONTINUITY\n"), "{playlist}");
        }
        for path in ["720p/index.m3u8", "audio/index.m3u8", "720p/iframes.m3u8"] {
            let others = life.get(path).await;
            assert!(
                maps(&others).len() == 1 && !others.contains("DISCONTINUITY\n"),
                "{path}: {others}"
            );
        }
        // A delta update begins with the init in force.
        for path in ["360p/index.m3u8?_HLS_skip=YES", "360p/iframes.m3u8?_HLS_skip=YES"] {
            let delta = life.get(path).await;
            assert!(delta.contains("#EXT-X-SKIP:"), "{delta}");
            assert_eq!(maps(&delta), inits[1..], "{path}: {delta}");
        }
        // Both are there for who is behind, and for who comes later.
        for init in &inits {
            assert!(life.get(&format!("360p/{init}")).await.contains("avcC"), "{init}");
            while !archive.has(&format!("algebra/360p/{init}")) {
                tokio::task::yield_now().await;
            }
        }
        life.line.send(Record::End(MediaTime::from_ticks(40 * 90_000)));
        life.packaged.await.unwrap().unwrap();
        let kept = archive.text("algebra/360p/index.m3u8");
        assert_eq!((maps(&kept), before(&kept)), (inits.clone(), "2.m4s".into()));
        assert!(!kept.contains("EXT-X-DISCONTINUITY\n"));
        assert_eq!(maps(&archive.text("algebra/360p/iframes.m3u8")), inits);
        assert!(archive.has("algebra/recording.index"));
    }

    #[tokio::test]
    async fn a_line_with_two_inits_is_taken_up_again() {
        let archive = Arc::new(Memory::default());
        let first = Life::begin(&archive, ladder()).await;
        let before = maps(&tell_renewed(&first, 17_000).await);
        first.kill_at(&archive, "4.m4s").await;
        let second = Life::begin(&archive, ladder()).await;
        let after = second.tell(19_200, 24_000).await;
        // The encoder goes on with its own; across the hole that is a discontinuity.
        assert_eq!(maps(&after), [&before[..], &before[..1]].concat());
        assert_eq!(after.matches("#EXT-X-DISCONTINUITY\n").count(), 1);
        let place = |text: &str| after.find(text).unwrap();
        assert!(place("\n1.m4s") < place(&before[1]) && place(&before[1]) < place("\n2.m4s"));
        assert!(place("\n5.m4s") < place("#EXT-X-DISCONTINUITY\n"));
    }

    #[tokio::test]
    async fn a_name_is_never_used_twice() {
        let archive = Arc::new(Memory::default());
        let first = Life::begin(&archive, ladder()).await;
        first.tell(0, 7_000).await;
        first.kill_at(&archive, "1.m4s").await;
        let kept = archive.text("algebra/720p/index.m3u8");
        let second = Life::begin(&archive, ladder()).await;
        for frame in frames(4_000)
            .into_iter()
            .filter(|frame| frame.at >= Grid::default().segment_start(1))
        {
            second.line.send(Record::Frame(frame));
        }
        let refused = second.packaged.await.unwrap();
        assert!(
            matches!(refused, Err(Error::Taken { msn: 1, next: 2 })),
            "{refused:?}"
        );
        assert_eq!(archive.text("algebra/720p/index.m3u8"), kept);
    }

    #[tokio::test]
    async fn renditions_that_were_kept_to_different_lengths_end_together() {
        let archive = Arc::new(Memory::default());
        let first = Life::begin(&archive, ladder()).await;
        first.tell(0, 10_000).await;
        first.kill_at(&archive, "2.m4s").await;
        let mut short = archive.text("algebra/audio/index.m3u8");
        short.truncate(
            short
                .find("#EXT-X-PROGRAM-DATE-TIME:2025-10-09T08:53:26.400Z")
                .unwrap(),
        );
        archive
            .objects
            .lock()
            .unwrap()
            .get_mut("algebra/audio/index.m3u8")
            .unwrap()
            .body = short.into();
        let kept = Kept::read(&*archive, &algebra(), &[]).await.unwrap();
        let history = |name: &str| kept.history(name, "init-1.mp4", 4, &Grid::default(), job().timeline);
        let without_pictures = |name: &str| {
            let mut segments = history(name).segments;
            segments.iter_mut().for_each(|segment| segment.pictures.clear());
            segments
        };
        assert_eq!(history("audio").segments, without_pictures("720p"));
        let gaps: Vec<bool> = history("audio")
            .segments
            .iter()
            .map(|segment| segment.gap)
            .collect();
        assert_eq!(gaps, [false, false, false, true]);
        // A rendition that was not there has nothing to show.
        assert!(history("1080p").segments.iter().all(|segment| segment.gap));
    }

    #[tokio::test]
    async fn what_is_no_playlist_of_ours_is_an_error() {
        for body in [
            "",
            "#EXTM3U\n",
            "#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3.2,\nother.ts\n",
            "\u{0}\u{1}",
        ] {
            let archive = Memory::default();
            let object = timeline::Object {
                body: body.into(),
                content_type: "x".into(),
            };
            archive.put("algebra/720p/index.m3u8", object).await.unwrap();
            assert!(Kept::read(&archive, &algebra(), &[]).await.is_err(), "{body:?}");
        }
    }
}
