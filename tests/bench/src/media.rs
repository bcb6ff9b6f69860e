//! A ladder of noise, of the size and the rhythm of a real one.

use bytes::Bytes;
use rand::RngExt;
use timeline::feed::{Producer, Record};
use timeline::{AAC_FRAME, Frame, Grid, Media, MediaTime, PartIndex, Rendition, Span, TrackId};

const AUDIO_BPS: u32 = 128_000;
/// What a keyframe takes of its GOP's bits, as in a lecture of slides and a face.
const KEYFRAME_SHARE: f64 = 0.3;

/// Video renditions of these rates, best first, and one of audio.
pub struct Ladder {
    grid: Grid,
    video_kbps: Vec<u32>,
    /// Frames are slices of it: what they hold does not matter, but that it does not compress.
    noise: Bytes,
    next: PartIndex,
}

impl Ladder {
    pub fn new(grid: Grid, video_kbps: Vec<u32>) -> Ladder {
        let mut noise = vec![0; 4 << 20];
        rand::rng().fill(&mut noise[..]);
        Ladder {
            grid,
            video_kbps,
            noise: noise.into(),
            next: PartIndex { msn: 0, part: 0 },
        }
    }

    pub fn renditions(&self) -> Vec<Rendition> {
        let video = (1..)
            .zip(&self.video_kbps)
            .map(|(id, kbps)| video(id, *kbps, &self.grid));
        video.chain([audio(self.audio())]).collect()
    }

    pub fn next(&self) -> PartIndex {
        self.next
    }

    /// Sends the frames that make the next part of every rendition whole; gives which part.
    pub fn part(&mut self, feed: &Producer) -> PartIndex {
        let index = self.next;
        self.next = self.grid.next_part(index);
        let (start, end) = (self.grid.part_start(index), self.grid.part_start(self.next));
        for (id, kbps) in (1..).zip(&self.video_kbps) {
            for at in on_grid(self.grid.frame, start, end) {
                let keyframe = self.grid.is_keyframe_slot(self.grid.slot(at));
                feed.send(self.frame(id, at, keyframe, self.picture(*kbps, keyframe)));
            }
        }
        for at in on_grid(AAC_FRAME, start, end) {
            let bytes = AAC_FRAME.as_secs_f64() * f64::from(AUDIO_BPS) / 8.0;
            feed.send(self.frame(self.audio(), at, true, bytes as usize));
        }
        index
    }

    fn audio(&self) -> u32 {
        self.video_kbps.len() as u32 + 1
    }

    /// The bytes of one picture.
    fn picture(&self, kbps: u32, keyframe: bool) -> usize {
        let gop = self.grid.gop().as_secs_f64() * f64::from(kbps) * 125.0;
        let others = f64::from(self.grid.gop_frames - 1);
        (if keyframe {
            gop * KEYFRAME_SHARE
        } else {
            gop * (1.0 - KEYFRAME_SHARE) / others
        }) as usize
    }

    fn frame(&self, track: u32, at: MediaTime, keyframe: bool, bytes: usize) -> Record {
        let from = (at.ticks() as usize).wrapping_mul(7919) % (self.noise.len() - bytes);
        Record::Frame(Frame {
            track: TrackId(track),
            at,
            keyframe,
            payload: self.noise.slice(from..from + bytes),
        })
    }
}

/// The starts of the frames of a span's length in [start, end).
fn on_grid(frame: Span, start: MediaTime, end: MediaTime) -> impl Iterator<Item = MediaTime> {
    let ticks = frame.ticks();
    let first = (start.ticks() + ticks - 1) / ticks;
    (first..)
        .map(move |n| MediaTime::from_ticks(n * ticks))
        .take_while(move |at| *at < end)
}

fn video(id: u32, kbps: u32, grid: &Grid) -> Rendition {
    Rendition {
        id: TrackId(id),
        name: format!("v{id}"),
        media: Media::Video {
            width: 1280,
            height: 720,
            frame: grid.frame,
        },
        codec: "avc1.64001f".into(),
        bandwidth: kbps * 1_000,
        average_bandwidth: kbps * 1_000,
        // 320×180 high profile, as x264 wrote it.
        init: Bytes::from_static(&[
            1, 0x64, 0, 0x1f, 0xff, 0xe1, 0, 4, 0x67, 0x64, 0, 0x1f, 1, 0, 2, 0x68, 0xeb, 0xfd, 0xf8, 0xf8, 0,
        ]),
    }
}

fn audio(id: u32) -> Rendition {
    Rendition {
        id: TrackId(id),
        name: "audio".into(),
        media: Media::Audio {
            sample_rate: 48_000,
            channels: 2,
        },
        codec: "mp4a.40.2".into(),
        bandwidth: AUDIO_BPS,
        average_bandwidth: AUDIO_BPS,
        // AAC-LC, 48 kHz, stereo.
        init: Bytes::from_static(&[0x11, 0x90]),
    }
}
