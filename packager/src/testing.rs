//! Frames and ladders for the tests of this crate.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use timeline::{Archive, ArchiveError, Object};
use timeline::{Frame, Grid, Media, MediaTime, Rendition, Span, TrackId};

pub fn video_media() -> Media {
    Media::Video {
        width: 1280,
        height: 720,
        frame: Span::from_ticks(3_000),
    }
}

pub fn audio_media() -> Media {
    Media::Audio {
        sample_rate: 48_000,
        channels: 2,
    }
}

/// A frame whose payload tells its track and time.
pub fn frame(track: u32, ticks: i64, keyframe: bool) -> Frame {
    let payload = Bytes::from(format!("frame of {track} at {ticks}"));
    Frame {
        track: TrackId(track),
        at: MediaTime::from_ticks(ticks),
        keyframe,
        payload,
    }
}

pub fn video(id: u32, name: &str, bandwidth: u32) -> Rendition {
    Rendition {
        id: TrackId(id),
        name: name.into(),
        media: video_media(),
        codec: "avc1.64001f".into(),
        bandwidth,
        average_bandwidth: bandwidth * 9 / 10,
        // 320×180 high profile, as x264 wrote it.
        init: Bytes::from_static(&[
            1, 0x64, 0, 0x1f, 0xff, 0xe1, 0, 4, 0x67, 0x64, 0, 0x1f, 1, 0, 2, 0x68, 0xeb, 0xfd, 0xf8, 0xf8, 0,
        ]),
    }
}

pub fn audio(id: u32) -> Rendition {
    Rendition {
        id: TrackId(id),
        name: "audio".into(),
        media: audio_media(),
        codec: "mp4a.40.2".into(),
        bandwidth: 128_000,
        average_bandwidth: 128_000,
        // AAC-LC, 48 kHz, stereo.
        init: Bytes::from_static(&[0x11, 0x90]),
    }
}

pub fn ladder() -> Vec<Rendition> {
    vec![video(1, "720p", 2_500_000), video(2, "360p", 600_000), audio(3)]
}

/// All frames of [`ladder`] that start in [0, seconds), in the order in which they are made.
pub fn frames(milliseconds: i64) -> Vec<Frame> {
    let end = Span::from_millis(milliseconds).ticks();
    let grid = Grid::default();
    let slots = (0..).map(|n| n * grid.frame.ticks()).take_while(|at| *at < end);
    let mut all: Vec<Frame> = slots
        .flat_map(|at| [1, 2].map(|track| frame(track, at, at % grid.gop().ticks() == 0)))
        .collect();
    all.extend(
        (0..)
            .map(|n| n * 1_920)
            .take_while(|at| *at < end)
            .map(|at| frame(3, at, true)),
    );
    all.sort_by_key(|frame| frame.at);
    all
}

/// An archive in memory that fails when it is told to.
#[derive(Default)]
pub struct Memory {
    pub objects: Mutex<BTreeMap<String, Object>>,
    pub failing: AtomicBool,
}

impl Memory {
    pub fn text(&self, key: &str) -> String {
        let objects = self.objects.lock().unwrap();
        String::from_utf8(
            objects
                .get(key)
                .unwrap_or_else(|| panic!("{key} is not kept"))
                .body
                .to_vec(),
        )
        .unwrap()
    }

    pub fn has(&self, key: &str) -> bool {
        self.objects.lock().unwrap().contains_key(key)
    }
}

#[async_trait]
impl Archive for Memory {
    async fn put(&self, key: &str, object: Object) -> Result<(), ArchiveError> {
        if self.failing.load(Ordering::Relaxed) {
            let source = std::io::Error::other("the disk is full");
            return Err(ArchiveError::Io {
                key: key.to_owned(),
                source,
            });
        }
        self.objects.lock().unwrap().insert(key.to_owned(), object);
        Ok(())
    }

    async fn get(&self, key: &str) -> Result<Object, ArchiveError> {
        let objects = self.objects.lock().unwrap();
        objects
            .get(key)
            .cloned()
            .ok_or_else(|| ArchiveError::NotFound(key.to_owned()))
    }

    async fn delete(&self, key: &str) -> Result<(), ArchiveError> {
        self.objects.lock().unwrap().remove(key);
        Ok(())
    }

    async fn list(&self, folder: &str) -> Result<Vec<String>, ArchiveError> {
        let objects = self.objects.lock().unwrap();
        let below = objects
            .keys()
            .filter_map(|key| key.strip_prefix(folder)?.strip_prefix('/'));
        let names: BTreeSet<&str> = below.filter_map(|key| key.split('/').next()).collect();
        Ok(names.into_iter().map(str::to_owned).collect())
    }
}
