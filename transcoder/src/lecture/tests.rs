//! The lecture as a publisher sends it: encoded, then decoded again.

use std::time::{Duration, SystemTime};

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use timeline::feed::{Consumer, Policy};
use timeline::{Frame, SourceName};

use super::*;

/// Far beyond what a loaded machine needs.
const PATIENCE: Duration = Duration::from_secs(60);

struct Lecture {
    timeline: Timeline,
    out: Producer,
    frames: Consumer,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<Result<(), Error>>,
}

impl Lecture {
    fn begin(change: impl FnOnce(&mut Config)) -> Self {
        let timeline = Timeline::starting(SystemTime::now().into());
        let mut config = Config {
            width: 640,
            height: 360,
            ..Config::new(timeline)
        };
        change(&mut config);
        let (out, stop) = (Producer::new(), CancellationToken::new());
        let frames = out.subscribe(Policy::Line);
        let task = tokio::spawn(lecture(config, out.clone(), stop.clone()));
        Lecture {
            timeline,
            out,
            frames,
            stop,
            task,
        }
    }

    async fn record(&mut self) -> Record {
        let record = tokio::time::timeout(PATIENCE, self.frames.next()).await;
        record
            .expect("the lecture goes on")
            .unwrap()
            .expect("the feed is open")
    }

    async fn frame(&mut self, wanted: impl Fn(&Frame) -> bool) -> Frame {
        loop {
            match self.record().await {
                Record::Frame(frame) if wanted(&frame) => return frame,
                Record::End(_) => panic!("the lecture ended"),
                _ => {}
            }
        }
    }

    /// Stops it; the rest of its records.
    async fn end(mut self) -> Vec<Record> {
        self.stop.cancel();
        let mut rest = Vec::new();
        loop {
            rest.push(self.record().await);
            if let Some(Record::End(_)) = rest.last() {
                self.task.await.unwrap().unwrap();
                return rest;
            }
        }
    }

    /// The frames of so much capture time.
    async fn watch(mut self, span: Span) -> (Timeline, Vec<Frame>, Vec<Frame>) {
        let (mut video, mut audio) = (Vec::<Frame>::new(), Vec::new());
        loop {
            let frame = self.frame(|_| true).await;
            let frames = if frame.track == VIDEO {
                &mut video
            } else {
                &mut audio
            };
            frames.push(frame);
            if let (Some(first), Some(last)) = (video.first(), video.last())
                && last.at - first.at >= span
            {
                break;
            }
        }
        let timeline = self.timeline;
        self.end().await;
        (timeline, video, audio)
    }
}

/// Decodes frames with GStreamer; what comes out, in order.
fn decoded(description: &str, frames: &[Frame]) -> Vec<(gst::Caps, Vec<u8>)> {
    gst::init().unwrap();
    let pipeline = gst::parse::launch(description)
        .unwrap()
        .downcast::<gst::Pipeline>()
        .unwrap();
    let source = pipeline
        .by_name("in")
        .unwrap()
        .downcast::<gst_app::AppSrc>()
        .unwrap();
    let sink = pipeline
        .by_name("out")
        .unwrap()
        .downcast::<gst_app::AppSink>()
        .unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    for frame in frames {
        let mut buffer = gst::Buffer::from_slice(frame.payload.clone());
        let pts = gst::ClockTime::from_nseconds((frame.at - frames[0].at).nanos() as u64);
        buffer.get_mut().unwrap().set_pts(pts);
        source.push_buffer(buffer).unwrap();
    }
    source.end_of_stream().unwrap();
    let mut all = Vec::new();
    while let Ok(sample) = sink.pull_sample() {
        let data = sample.buffer().unwrap().map_readable().unwrap().to_vec();
        all.push((sample.caps().unwrap().to_owned(), data));
    }
    pipeline.set_state(gst::State::Null).unwrap();
    all
}

fn pictures(frames: &[Frame]) -> Vec<(gst::Caps, Vec<u8>)> {
    decoded(
        "appsrc name=in format=time caps=video/x-h264,stream-format=byte-stream,alignment=au \
         ! avdec_h264 max-threads=1 ! videoconvert ! video/x-raw,format=I420 ! appsink name=out sync=false",
        frames,
    )
}

/// One channel. The caps carry no OpusHead, as over RTP: the decoder plays every sample.
fn samples(frames: &[Frame]) -> Vec<i16> {
    let buffers = decoded(
        "appsrc name=in format=time caps=audio/x-opus,rate=48000,channels=2,channel-mapping-family=0,stream-count=1,coupled-count=1 \
         ! opusdec ! audio/x-raw,format=S16LE,channels=2,rate=48000 ! appsink name=out sync=false",
        frames,
    );
    let bytes: Vec<u8> = buffers.into_iter().flat_map(|(_, data)| data).collect();
    bytes
        .chunks(4)
        .map(|s| i16::from_le_bytes([s[0], s[1]]))
        .collect()
}

/// One lecture of a good two seconds, looked at from every side.
#[tokio::test(flavor = "multi_thread")]
async fn pictures_and_sound_are_where_their_frames_say() {
    let lecture = Lecture::begin(|_| {});
    let (timeline, video, audio) = lecture.watch(Span::from_millis(2_300)).await;

    assert!(video[0].keyframe);
    assert!(
        video
            .windows(2)
            .all(|w| w[1].at - w[0].at >= Span::from_ticks(3_000)),
        "never two in a slot"
    );
    let pictures = pictures(&video);
    assert_eq!(pictures.len(), video.len(), "no picture waits for a later one");
    for (frame, (caps, picture)) in video.iter().zip(&pictures) {
        assert!(caps.to_string().contains("width=(int)640"), "{caps}");
        let shown = picture_clock::read(picture, 640, 640, 360);
        assert_eq!(shown, Some(timeline.wall(frame.at).unix_millis()));
    }

    beeps_stand_on_whole_seconds(timeline, &audio, &samples(&audio));
    flashes_stand_on_whole_seconds(timeline, &video, &pictures);
}

fn beeps_stand_on_whole_seconds(timeline: Timeline, audio: &[Frame], samples: &[i16]) {
    assert_eq!(samples.len(), audio.len() * PACKET_SAMPLES, "packets are whole");
    let loud = |n: usize| samples[n].abs() > 1_000;
    // A beep begins where it is loud after five packets of quiet, without a gap between them.
    let is_onset = |n: &usize| {
        let packet = n / PACKET_SAMPLES;
        let unbroken = audio[packet].at - audio[packet - 5].at == PACKET.times(5);
        unbroken && loud(*n) && !(n - 5 * PACKET_SAMPLES..*n).any(loud)
    };
    let onsets: Vec<usize> = (5 * PACKET_SAMPLES..samples.len()).filter(is_onset).collect();
    assert!(!onsets.is_empty());
    for n in onsets {
        let packet = timeline.wall(audio[n / PACKET_SAMPLES].at).unix_nanos();
        let wall = packet + (n % PACKET_SAMPLES) as i64 * 1_000_000_000 / beep::SAMPLE_RATE;
        let off = (wall + 500_000_000).rem_euclid(1_000_000_000) - 500_000_000;
        // A sine of 8191 passes 1000 within 20 µs; the codec may smear an onset by a millisecond.
        assert!(off.abs() < 1_000_000, "a beep is {off} ns off its second");
    }
}

fn flashes_stand_on_whole_seconds(timeline: Timeline, video: &[Frame], pictures: &[(gst::Caps, Vec<u8>)]) {
    let mut seen = 0;
    for (frame, (_, picture)) in video.iter().zip(pictures) {
        let middle = picture[640 * 144 + 80];
        let in_second = timeline.wall(frame.at).unix_nanos().rem_euclid(1_000_000_000);
        assert_eq!(middle > 128, in_second < 50_000_000, "at {in_second} ns");
        seen += usize::from(middle > 128);
    }
    assert!(seen > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keyframe_comes_when_it_is_asked_for() {
    let mut lecture = Lecture::begin(|config| config.keyframe_every = 100_000);
    // Before there is a picture, as a publisher that has just connected does: it costs the later one nothing.
    lecture.record().await;
    lecture.out.request_keyframe();
    let first = lecture.frame(|f| f.track == VIDEO).await;
    assert!(first.keyframe);
    lecture
        .frame(|f| f.track == VIDEO && f.at - first.at > Span::from_millis(400))
        .await;
    lecture.out.request_keyframe();
    let keyframe = lecture.frame(|f| f.track == VIDEO && f.keyframe).await;
    // SPS (7), PPS (8) and IDR slice (5) in one access unit.
    let start_codes = keyframe.payload.windows(4).filter(|w| w[..3] == [0, 0, 1]);
    let units: Vec<u8> = start_codes.map(|w| w[3] & 0x1f).collect();
    for kind in [7, 8, 5] {
        assert!(units.contains(&kind), "{units:?}");
    }
    lecture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_announces_its_tracks_and_ends_with_the_end() {
    let mut lecture = Lecture::begin(|_| {});
    assert_eq!(
        lecture.record().await,
        Record::Track(Track {
            id: VIDEO,
            codec: Codec::H264,
            source: SourceName::main(),
        })
    );
    assert_eq!(
        lecture.record().await,
        Record::Track(Track {
            id: AUDIO,
            codec: Codec::Opus,
            source: SourceName::main(),
        })
    );
    lecture.frame(|_| true).await;
    let rest = lecture.end().await;
    let [.., video, audio, Record::End(at)] = &rest[..] else {
        panic!("{rest:?}")
    };
    assert_eq!(
        [video, audio],
        [&Record::TrackEnded(VIDEO), &Record::TrackEnded(AUDIO)]
    );
    let frames = rest.iter().filter_map(|r| {
        if let Record::Frame(f) = r {
            Some(f.at)
        } else {
            None
        }
    });
    assert!(frames.max() <= Some(*at));
}

#[tokio::test]
async fn what_cannot_be_drawn_is_refused() {
    let timeline = Timeline::starting(WallTime::from_unix_millis(0));
    for (width, height) in [
        (0, 0),
        (1281, 720),
        (1280, 721),
        (960, 720),
        (100_000, 720),
        (320, 100),
    ] {
        let config = Config {
            width,
            height,
            ..Config::new(timeline)
        };
        let refused = lecture(config, Producer::new(), CancellationToken::new()).await;
        assert!(matches!(refused, Err(Error::BadSize { .. })), "{width}x{height}");
    }
    let config = Config {
        frame: Span::ZERO,
        ..Config::new(timeline)
    };
    let refused = lecture(config, Producer::new(), CancellationToken::new()).await;
    assert!(matches!(refused, Err(Error::BadFrame(_))));
}
