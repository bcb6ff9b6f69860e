use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use gstreamer_app::AppSink;
use timeline::Media;

use super::description::OWN_SETS;
use super::*;
use crate::Rung;
use crate::config::Passthrough;
use crate::sound::{CHANNELS, RATE};

fn config() -> Config {
    let rung = |name: &str, height, bitrate_kbps| Rung {
        name: name.into(),
        height,
        bitrate_kbps,
    };
    Config {
        rungs: vec![rung("top", 288, 600), rung("low", 144, 200)],
        ..Config::default()
    }
}

fn grey(config: &Config, level: u8) -> gst::Buffer {
    let (width, height) = config.canvas();
    gst::Buffer::from_mut_slice(vec![level; (width * height * 3 / 2) as usize])
}

struct Made {
    renditions: BTreeMap<u32, Rendition>,
    frames: BTreeMap<u32, Vec<Frame>>,
}

/// Runs a ladder over these slots and frames of sound, as the line would.
async fn make(start: Start, slots: i64, sound: impl Fn(i64) -> Vec<Sample>) -> Made {
    make_beside(start, slots, sound, config(), |_| false).await
}

/// … while some slots of the top rung are copied.
async fn make_beside(
    start: Start,
    slots: i64,
    sound: impl Fn(i64) -> Vec<Sample>,
    config: Config,
    copied: impl Fn(i64) -> bool,
) -> Made {
    gst::init().unwrap();
    let (out, mut encoded) = mpsc::channel(64);
    let moved = Arc::new(Notify::new());
    let mut ladder = Ladder::start(&config, Grid::default(), start, out, moved.clone()).unwrap();
    let feed = async {
        for n in 0..slots {
            while !ladder.has_room(start.slot + n) {
                moved.notified().await;
            }
            ladder
                .picture(
                    start.slot + n,
                    &grey(&config, (n * 7 % 200) as u8),
                    copied(start.slot + n),
                )
                .unwrap();
        }
        for n in 0..slots * 3000 / 1920 {
            ladder.sound(start.audio + n, &sound(start.audio + n)).unwrap();
        }
        ladder.finish().unwrap();
    };
    let collect = async {
        let mut made = Made {
            renditions: BTreeMap::new(),
            frames: BTreeMap::new(),
        };
        let mut finished = 0;
        while finished < 3 {
            match encoded.recv().await.unwrap() {
                Encoded::Rendition(r) => drop(made.renditions.insert(r.id.0, r)),
                Encoded::Frame(f) => made.frames.entry(f.track.0).or_default().push(f),
                Encoded::Finished => finished += 1,
                Encoded::Failed(e) => panic!("{e}"),
            }
        }
        made
    };
    tokio::join!(feed, collect).1
}

fn silence(_: i64) -> Vec<Sample> {
    vec![[0.0; 2]; FRAME]
}

#[tokio::test(flavor = "multi_thread")]
async fn every_rung_has_every_slot_and_its_idrs_on_the_grid() {
    // In the middle of a GOP, as after a respawn.
    let made = make(
        Start {
            slot: 100,
            audio: 157,
        },
        100,
        silence,
    )
    .await;
    for rung in [1, 2] {
        let frames = &made.frames[&rung];
        let at: Vec<i64> = frames.iter().map(|f| f.at.ticks()).collect();
        assert_eq!(at, (100..200).map(|slot| slot * 3000).collect::<Vec<_>>());
        let keyframes: Vec<i64> = frames
            .iter()
            .filter(|f| f.keyframe)
            .map(|f| f.at.ticks() / 3000)
            .collect();
        assert_eq!(keyframes, [100, 144, 192]);
        for frame in frames {
            let nal = frame.payload[4] & 31;
            assert_eq!(
                nal,
                if frame.keyframe { 5 } else { 1 },
                "slices only, and the IDR says so itself"
            );
        }
    }
    let audio: Vec<i64> = made.frames[&3].iter().map(|f| f.at.ticks()).collect();
    assert_eq!(
        audio,
        (157..157 + 156).map(|frame| frame * 1920).collect::<Vec<_>>()
    );
}

/// However many are copied, the encoder is not waited for, and goes on with an IDR.
#[tokio::test(flavor = "multi_thread")]
async fn slots_that_are_copied_are_left_out_of_the_top_rung_alone() {
    let config = Config {
        passthrough: Passthrough::Auto,
        ..config()
    };
    let copied = |slot| (5..40).contains(&slot) || (60..130).contains(&slot);
    let made = make_beside(Start::default(), 140, silence, config, copied).await;
    let slots = |rung: u32, keyframes: bool| {
        let frames = made.frames[&rung].iter().filter(|f| f.keyframe || !keyframes);
        frames.map(|f| f.at.ticks() / 3000).collect::<Vec<_>>()
    };
    assert_eq!(
        slots(1, false),
        (0..140).filter(|slot| !copied(*slot)).collect::<Vec<_>>()
    );
    assert_eq!(slots(1, true), [0, 40, 48, 130]);
    assert_eq!(slots(2, false), (0..140).collect::<Vec<_>>());
    assert_eq!(slots(2, true), [0, 48, 96]);
    // Its parameter sets leave the low ids to the source; slices refer to them.
    let sets = |rung| crate::copy::ids(&made.renditions[&rung].init).unwrap();
    assert_eq!(
        (sets(1), sets(2)),
        ((vec![OWN_SETS], vec![OWN_SETS]), (vec![0], vec![0]))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn renditions_are_announced_in_the_words_of_rfc_6381_and_are_always_the_same() {
    let first = make(Start::default(), 10, silence).await.renditions;
    let again = make(
        Start {
            slot: 777,
            audio: 1214,
        },
        10,
        silence,
    )
    .await
    .renditions;
    assert_eq!(first, again, "a respawned encoder continues the same renditions");
    let top = &first[&1];
    assert_eq!(
        (top.name.as_str(), top.bandwidth, top.average_bandwidth),
        ("top", 750_000, 600_000)
    );
    assert_eq!(
        top.media,
        Media::Video {
            width: 512,
            height: 288,
            frame: Span::from_ticks(3000)
        }
    );
    assert!(top.codec.starts_with("avc1.6400"), "{}", top.codec);
    let audio = &first[&3];
    assert_eq!(
        (audio.name.as_str(), audio.codec.as_str()),
        ("audio", "mp4a.40.2")
    );
    // AAC-LC, 48 kHz, stereo (ISO/IEC 14496-3 §1.6.2.1).
    assert_eq!(audio.init[..2], [0x11, 0x90]);
}

/// A click at a known sample is heard there: the encoder's priming is taken off.
#[tokio::test(flavor = "multi_thread")]
async fn decoded_sound_stands_at_its_media_time() {
    let start = Start { slot: 48, audio: 75 };
    let click = (75 + 20) * FRAME as i64 + 300;
    let made = make(start, 96, |frame| {
        let first = frame * FRAME as i64;
        (0..FRAME as i64)
            .map(|n| if first + n == click { [0.9; 2] } else { [0.0; 2] })
            .collect()
    })
    .await;
    let decoded = decode_aac(&made.renditions[&3].init, &made.frames[&3]);
    let loudest = (0..decoded.len())
        .max_by(|a, b| decoded[*a].abs().total_cmp(&decoded[*b].abs()))
        .unwrap();
    let heard = made.frames[&3][0].at.ticks() * 8 / 15 + loudest as i64;
    assert!(
        (heard - click).abs() <= 48,
        "within a millisecond: {} samples off",
        heard - click
    );
}

/// What a player does: the packets in a row, nothing skipped, mono of the left channel.
fn decode_aac(init: &Bytes, packets: &[Frame]) -> Vec<f32> {
    let pipeline = gst::parse::launch(
        "appsrc name=in format=time ! avdec_aac ! audioconvert ! audio/x-raw,format=F32LE,layout=interleaved ! \
         appsink name=out sync=false",
    )
    .unwrap()
    .downcast::<gst::Pipeline>()
    .unwrap();
    let source: AppSrc = named(&pipeline, "in").unwrap();
    let sink: AppSink = named(&pipeline, "out").unwrap();
    source.set_caps(Some(
        &gst::Caps::builder("audio/mpeg")
            .field("mpegversion", 4)
            .field("stream-format", "raw")
            .field("rate", RATE as i32)
            .field("channels", CHANNELS as i32)
            .field("codec_data", gst::Buffer::from_slice(init.clone()))
            .build(),
    ));
    for packet in packets {
        let mut buffer = gst::Buffer::from_slice(packet.payload.clone());
        buffer.get_mut().unwrap().set_pts(clock_time(packet.at));
        source.push_buffer(buffer).unwrap();
    }
    source.end_of_stream().unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    let mut left = vec![];
    while let Ok(sample) = sink.pull_sample() {
        let map = sample.buffer().unwrap().map_readable().unwrap();
        left.extend(
            map.chunks_exact(8)
                .map(|s| f32::from_le_bytes([s[0], s[1], s[2], s[3]])),
        );
    }
    pipeline.set_state(gst::State::Null).unwrap();
    left
}
