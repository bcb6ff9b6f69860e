//! A publisher made of GStreamer, a line with a real child process, and eyes and ears for what is on it.

// Each of the tests uses its part.
#![allow(dead_code)]

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use bytes::Bytes;
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app::{AppSink, AppSrc};
use timeline::feed::{Consumer, Policy, Producer, Record};
use timeline::{
    BroadcastId, Codec, Frame, Grid, Media, MediaTime, Rendition, Span, Stills, Timeline, Track, TrackId,
};
use timeline::{TICKS_PER_SECOND, WallTime};
use transcoder::lecture::picture_clock;
use transcoder::{Config, Job, Rung};

pub const WIDTH: usize = 640;
pub const HEIGHT: usize = 360;

pub fn now() -> WallTime {
    SystemTime::now().into()
}

/// A small ladder, and a line delay that leaves a busy machine room.
pub fn config(program: &Path) -> Config {
    let rung = |name: &str, height, bitrate_kbps| Rung {
        name: name.into(),
        height,
        bitrate_kbps,
    };
    Config {
        line_delay_ms: 1_500,
        rungs: vec![
            rung("360p", 360, 700),
            rung("240p", 240, 350),
            rung("180p", 180, 200),
        ],
        preset: "superfast".into(),
        program: Some(program.to_owned()),
        ..Config::default()
    }
}

/// A line that begins once its pictures are encoded, on a busy machine too.
pub fn job() -> Job {
    Job {
        broadcast: "test".parse::<BroadcastId>().unwrap(),
        timeline: Timeline::starting(now() + Span::from_millis(4_000)),
        grid: Grid::default(),
        goes_on: None,
    }
}

/// A program that notes the process id it runs under, and becomes the transcoder.
pub fn noting_pids(folder: &Path) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let program = folder.join("transcoder");
    let script = format!(
        "#!/bin/sh\necho $$ >> {}\nexec {} \"$@\"\n",
        folder.join("pids").display(),
        env!("CARGO_BIN_EXE_transcode-child")
    );
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
    program
}

pub fn pids(folder: &Path) -> Vec<u32> {
    let pids = std::fs::read_to_string(folder.join("pids")).unwrap_or_default();
    pids.lines().map(|pid| pid.parse().unwrap()).collect()
}

/// Pictures at 30 fps from `first` on, each with the clock of its capture drawn in.
pub fn pictures(id: TrackId, codec: Codec, timeline: Timeline, first: i64, count: i64) -> Vec<Frame> {
    let encode = match codec {
        Codec::H264 => {
            "x264enc tune=zerolatency speed-preset=ultrafast bitrate=2000 key-int-max=30 ! \
             video/x-h264,stream-format=byte-stream,alignment=au"
        }
        Codec::Vp9 => "vp9enc deadline=1 cpu-used=8 target-bitrate=2000000 keyframe-max-dist=30",
        Codec::Av1 => {
            "av1enc usage-profile=realtime cpu-used=10 target-bitrate=2000 keyframe-max-dist=30 ! \
             av1parse ! video/x-av1,stream-format=obu-stream,alignment=tu"
        }
        _ => "vp8enc deadline=1 cpu-used=8 target-bitrate=2000000 keyframe-max-dist=30",
    };
    let caps =
        format!("video/x-raw,format=I420,width={WIDTH},height={HEIGHT},framerate=30/1,colorimetry=bt709");
    let input = (0..count).map(|n| {
        let at = MediaTime::from_ticks((first + n) * 3000);
        let mut picture = vec![90; WIDTH * HEIGHT];
        picture_clock::draw(
            &mut picture,
            WIDTH,
            WIDTH,
            HEIGHT,
            timeline.wall(at).unix_millis(),
        );
        picture.resize(WIDTH * HEIGHT * 3 / 2, 128);
        Bytes::from(picture)
    });
    let encoded = through(&format!("{caps} ! {encode}"), None, input.collect());
    let frame = |(n, (payload, keyframe)): (usize, (Bytes, bool))| Frame {
        track: id,
        at: MediaTime::from_ticks((first + n as i64) * 3000),
        keyframe,
        payload,
    };
    encoded.into_iter().enumerate().map(frame).collect()
}

/// A short tick about every second, in packets of 20 ms from 0 on.
fn ticks(count: i64) -> String {
    format!(
        "audiotestsrc num-buffers={count} samplesperbuffer=960 wave=ticks volume=0.8 ! \
         audio/x-raw,format=F32LE,layout=interleaved,rate=48000,channels=2"
    )
}

/// Where the ticks begin.
pub fn ticks_begin(count: i64) -> Vec<i64> {
    onsets(&left(run(&ticks(count), None, vec![])))
}

/// The ticks as a publisher sends them.
pub fn sound(id: TrackId, count: i64) -> Vec<Frame> {
    opus(id, run(&format!("{} ! {OPUS}", ticks(count)), None, vec![]))
}

/// What a publisher sends of these samples, the same on both channels, from 0 on.
pub fn sound_of(id: TrackId, samples: &[f32]) -> Vec<Frame> {
    let caps = "audio/x-raw,format=F32LE,layout=interleaved,rate=48000,channels=2,channel-mask=(bitmask)0x3";
    let bytes: Vec<u8> = samples
        .iter()
        .flat_map(|sample| [sample.to_le_bytes(); 2].concat())
        .collect();
    opus(id, through(&format!("{caps} ! {OPUS}"), None, vec![bytes.into()]))
}

const OPUS: &str = "audioconvert ! opusenc frame-size=20 bitrate=128000";

fn opus(id: TrackId, packets: Vec<(Bytes, bool)>) -> Vec<Frame> {
    // What opusenc puts out is 312 samples (its lookahead) behind what was put in with it.
    let at = |n: usize| MediaTime::from_ticks(n as i64 * 1800 - 312 * 15 / 8);
    let frame = |(n, (payload, _)): (usize, (Bytes, bool))| Frame {
        track: id,
        at: at(n),
        keyframe: true,
        payload,
    };
    packets.into_iter().enumerate().map(frame).collect()
}

pub fn track(id: TrackId, codec: Codec) -> Record {
    track_of(id, codec, "main")
}

pub fn track_of(id: TrackId, codec: Codec, source: &str) -> Record {
    Record::Track(Track {
        id,
        codec,
        source: source.parse().unwrap(),
    })
}

/// Sends each frame when it is captured, and says in between that all who send are alive.
pub async fn publish(source: &Producer, timeline: Timeline, mut frames: Vec<Frame>) {
    frames.sort_by_key(|frame| frame.at);
    for frame in frames {
        tokio::time::sleep((timeline.wall(frame.at) - now()).to_duration()).await;
        let at = timeline.at(now());
        for Track { source: name, .. } in source.tracks() {
            source.send(Record::Heard { source: name, at });
        }
        source.send(Record::Frame(frame));
    }
}

/// All that is on a line.
#[derive(Default)]
pub struct Recording {
    pub renditions: Vec<Rendition>,
    /// Told again, each before the frame of this place.
    pub renewed: Vec<(usize, Rendition)>,
    pub stills: Option<Stills>,
    pub frames: Vec<Frame>,
    pub end: Option<MediaTime>,
}

impl Recording {
    pub fn of(line: &Producer) -> tokio::task::JoinHandle<Recording> {
        let mut line: Consumer = line.subscribe(Policy::Line);
        tokio::spawn(async move {
            let mut recording = Recording::default();
            while let Some(record) = line.next().await.unwrap() {
                assert_eq!(recording.end, None, "nothing follows the end");
                match record {
                    Record::Rendition(rendition) if recording.frames.is_empty() => {
                        recording.renditions.push(rendition);
                    }
                    Record::Rendition(rendition) => {
                        let same = |known: &Rendition| known.is_same_but_for_init(&rendition);
                        let known = recording.renditions.iter().any(same);
                        assert!(known, "only the init of a rendition may change: {rendition:?}");
                        recording.renewed.push((recording.frames.len(), rendition));
                    }
                    Record::Stills(stills) => {
                        assert!(recording.stills.replace(stills).is_none(), "announced once");
                    }
                    Record::Frame(frame) => recording.frames.push(frame),
                    Record::End(at) => recording.end = Some(at),
                    other => panic!("not on a line: {other:?}"),
                }
            }
            recording
        })
    }

    pub fn track(&self, id: TrackId) -> Vec<&Frame> {
        self.frames.iter().filter(|frame| frame.track == id).collect()
    }

    pub fn videos(&self) -> impl Iterator<Item = &Rendition> {
        self.renditions.iter().filter(|rendition| rendition.is_video())
    }

    pub fn audio(&self) -> &Rendition {
        self.renditions
            .iter()
            .find(|rendition| !rendition.is_video())
            .unwrap()
    }

    /// Every slot in every rung, every audio frame, keyframes where they must be: the line has no hole.
    /// Returns the number of slots, and the keyframes that are not on the grid.
    pub fn assert_unbroken(&self, grid: Grid) -> (i64, Vec<i64>) {
        let slots = self.end.expect("an end").ticks() / 3000;
        let mut extra: Option<Vec<i64>> = None;
        for rung in self.videos() {
            let at: Vec<i64> = self.track(rung.id).iter().map(|frame| frame.at.ticks()).collect();
            assert_eq!(
                at,
                (0..slots).map(|slot| slot * 3000).collect::<Vec<_>>(),
                "{}",
                rung.name
            );
            let keyframes = self.track(rung.id).into_iter().filter(|frame| frame.keyframe);
            let keyframes: Vec<i64> = keyframes.map(|frame| grid.slot(frame.at)).collect();
            let (on, off): (Vec<i64>, Vec<i64>) = keyframes
                .into_iter()
                .partition(|slot| grid.is_keyframe_slot(*slot));
            let wanted: Vec<i64> = (0..slots).filter(|slot| grid.is_keyframe_slot(*slot)).collect();
            assert_eq!(on, wanted, "{}", rung.name);
            assert_eq!(*extra.get_or_insert(off.clone()), off, "the same in all rungs");
        }
        let audio: Vec<i64> = self
            .track(self.audio().id)
            .iter()
            .map(|frame| frame.at.ticks())
            .collect();
        assert_eq!(
            audio,
            (0..audio.len() as i64).map(|n| n * 1920).collect::<Vec<_>>()
        );
        assert!(
            (audio.len() as i64 * 1920 - slots * 3000).abs() <= 960,
            "sound ends with the pictures: {} frames, {slots} slots",
            audio.len()
        );
        (slots, extra.unwrap_or_default())
    }

    /// The picture clock of each slot of a rendition, as media time in milliseconds.
    pub fn clocks(&self, rung: &Rendition, timeline: Timeline) -> Vec<Option<i64>> {
        let Media::Video { width, height, .. } = rung.media else {
            panic!("{} has no pictures", rung.name)
        };
        let [clocks] = self.clocks_in(rung, timeline, [(0, 0, width as usize, height as usize)]);
        clocks
    }

    /// The same of the pictures that stand in some places of it: left, top, width, height.
    pub fn clocks_in<const N: usize>(
        &self,
        rung: &Rendition,
        timeline: Timeline,
        places: [(usize, usize, usize, usize); N],
    ) -> [Vec<Option<i64>>; N] {
        let Media::Video { width, height, .. } = rung.media else {
            panic!("{} has no pictures", rung.name)
        };
        let caps = gst::Caps::builder("video/x-h264")
            .field("stream-format", "avc")
            .field("alignment", "au")
            .field("codec_data", gst::Buffer::from_slice(rung.init.clone()));
        let frames = self
            .track(rung.id)
            .into_iter()
            .map(|frame| frame.payload.clone())
            .collect();
        let raw =
            format!("avdec_h264 ! videoconvert ! video/x-raw,format=GRAY8,width={width},height={height}");
        let pictures = through(&raw, Some(caps.build()), frames);
        // GStreamer pads the rows of GRAY8 to four bytes.
        let stride = (width as usize).next_multiple_of(4);
        places.map(|(left, top, width, height)| {
            let clock = |(luma, _): &(Bytes, bool)| {
                let clock = picture_clock::read(&luma[top * stride + left..], stride, width, height)?;
                Some(clock - timeline.origin().unix_millis())
            };
            pictures.iter().map(clock).collect()
        })
    }

    /// The slot and the picture clock of each still, as media time in milliseconds.
    pub fn still_clocks(&self, timeline: Timeline) -> Vec<(i64, Option<i64>)> {
        let Stills { id, width, height } = self.stills.expect("stills are announced");
        let (width, height) = (width as usize, height as usize);
        let raw = format!("jpegdec ! videoconvert ! video/x-raw,format=GRAY8,width={width},height={height}");
        let stills = self.track(id);
        let pictures = through(
            &raw,
            Some(gst::Caps::new_empty_simple("image/jpeg")),
            stills.iter().map(|still| still.payload.clone()).collect(),
        );
        assert_eq!(pictures.len(), stills.len(), "each still is a picture");
        let clock = |luma: &Bytes| picture_clock::read(luma, width, width, height);
        let clocks = pictures
            .iter()
            .map(|(luma, _)| Some(clock(luma)? - timeline.origin().unix_millis()));
        let slots = stills.iter().map(|still| still.at.ticks() / 3000);
        slots.zip(clocks).collect()
    }

    /// The sound as a player hears it, one channel, from 0 on.
    pub fn heard(&self) -> Vec<f32> {
        let audio = self.audio();
        let caps = gst::Caps::builder("audio/mpeg")
            .field("mpegversion", 4)
            .field("stream-format", "raw")
            .field("rate", 48_000)
            .field("channels", 2)
            .field("codec_data", gst::Buffer::from_slice(audio.init.clone()));
        let packets = self
            .track(audio.id)
            .into_iter()
            .map(|frame| frame.payload.clone())
            .collect();
        let raw = "avdec_aac ! audioconvert ! audio/x-raw,format=F32LE,layout=interleaved,channels=2";
        left(through(raw, Some(caps.build()), packets))
    }
}

/// The left channel of F32LE stereo.
fn left(buffers: Vec<(Bytes, bool)>) -> Vec<f32> {
    let left = |s: &[u8]| f32::from_le_bytes([s[0], s[1], s[2], s[3]]);
    buffers
        .iter()
        .flat_map(|(samples, _)| samples.chunks_exact(8).map(left))
        .collect()
}

/// Where short sounds begin, in 90 kHz ticks.
pub fn onsets(heard: &[f32]) -> Vec<i64> {
    let mut onsets: Vec<i64> = vec![];
    for (n, sample) in heard.iter().enumerate() {
        let at = n as i64 * TICKS_PER_SECOND / 48_000;
        if sample.abs() > 0.2 && onsets.last().is_none_or(|last| at - last > TICKS_PER_SECOND / 2) {
            onsets.push(at);
        }
    }
    onsets
}

/// What elements make of some buffers, and which of them are keyframes. Elements may begin with caps.
fn through(elements: &str, caps: Option<gst::Caps>, input: Vec<Bytes>) -> Vec<(Bytes, bool)> {
    run(&format!("appsrc name=in format=time ! {elements}"), caps, input)
}

fn run(description: &str, caps: Option<gst::Caps>, input: Vec<Bytes>) -> Vec<(Bytes, bool)> {
    gst::init().unwrap();
    let pipeline = gst::parse::launch(&format!("{description} ! appsink name=out sync=false"))
        .unwrap()
        .downcast::<gst::Pipeline>()
        .unwrap();
    let sink = pipeline.by_name("out").and_downcast::<AppSink>().unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    if let Some(source) = pipeline.by_name("in").and_downcast::<AppSrc>() {
        source.set_max_bytes(0);
        if caps.is_some() {
            source.set_caps(caps.as_ref());
        }
        for (n, bytes) in input.into_iter().enumerate() {
            let mut buffer = gst::Buffer::from_slice(bytes);
            buffer
                .get_mut()
                .unwrap()
                .set_pts(gst::ClockTime::from_mseconds(n as u64 * 100 / 3));
            source.push_buffer(buffer).unwrap();
        }
        source.end_of_stream().unwrap();
    }
    let mut out = vec![];
    while let Ok(sample) = sink.pull_sample() {
        let buffer = sample.buffer().unwrap();
        let keyframe = !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT);
        out.push((Bytes::copy_from_slice(&buffer.map_readable().unwrap()), keyframe));
    }
    pipeline.set_state(gst::State::Null).unwrap();
    out
}
