//! What each codec's decoder makes of real media, of media nobody expected, and of garbage.

use std::process::{Command, Stdio};

use super::*;

const X264: &str =
    "x264enc tune=zerolatency speed-preset=ultrafast ! video/x-h264,stream-format=byte-stream,alignment=au";
const VIDEO: [(Codec, &str); 4] = [
    (Codec::H264, X264),
    (Codec::Vp8, "vp8enc deadline=1 cpu-used=8"),
    (Codec::Vp9, "vp9enc deadline=1 cpu-used=8"),
    (
        Codec::Av1,
        "av1enc cpu-used=8 usage-profile=realtime lag-in-frames=0",
    ),
];

/// White pictures, as an encoder of GStreamer's makes them.
fn white(encoder: &str, width: u32, height: u32, count: u32, from: i64) -> Vec<Frame> {
    encoded(
        &format!(
            "videotestsrc num-buffers={count} pattern=white ! \
             video/x-raw,format=I420,width={width},height={height},framerate=30/1 ! {encoder}"
        ),
        MediaTime::from_ticks(from),
    )
}

#[test]
fn odd_sizes_and_changing_ones() {
    for (codec, encoder) in VIDEO {
        let (mut decoder, out) = decoder(codec);
        // x264 takes even sizes only.
        let (width, height) = if codec == Codec::H264 {
            (162, 92)
        } else {
            (161, 91)
        };
        let wide = white(encoder, width, height, 5, -9_000);
        let narrow = white(encoder, 96, 96, 5, 90_000);
        wide.iter().chain(&narrow).for_each(|frame| decoder.push(frame));
        let pictures = pictures(&out, 10);
        let at: Vec<i64> = pictures.iter().map(|(at, _)| at.ticks()).collect();
        let right = (0..5)
            .map(|n| n * 3_000 - 9_000)
            .chain((0..5).map(|n| n * 3_000 + 90_000));
        assert_eq!(at, right.collect::<Vec<_>>(), "{codec:?}");
        let (edge, middle) = luma(&pictures[4].1);
        assert!(
            edge > 220 && middle > 220,
            "{codec:?} fills the canvas: {edge} {middle}"
        );
        let (edge, middle) = luma(&pictures[9].1);
        assert!(
            edge < 30 && middle > 220,
            "{codec:?} stands between borders: {edge} {middle}"
        );
    }
}

/// Pictures that ffmpeg made, out of an IVF file: behind a header of 32 bytes, each behind its length and time.
fn ivf(encoder: &str, format: &str) -> Vec<Frame> {
    let settings = match encoder {
        "libaom-av1" => "-usage realtime",
        _ => "-deadline realtime",
    };
    let input = "-v error -f lavfi -i color=white:size=64x36:rate=30 -frames:v 3";
    let output = format!("-c:v {encoder} {settings} -cpu-used 8 -pix_fmt {format} -f ivf pipe:1");
    let ffmpeg = Command::new("ffmpeg")
        .args(input.split(' ').chain(output.split(' ')))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(
        ffmpeg.status.success(),
        "{}",
        String::from_utf8_lossy(&ffmpeg.stderr)
    );
    let (file, mut at, mut frames) = (ffmpeg.stdout, 32, vec![]);
    while at < file.len() {
        let len = u32::from_le_bytes(file[at..at + 4].try_into().unwrap()) as usize;
        frames.push(Frame {
            track: TrackId(1),
            at: MediaTime::from_ticks(frames.len() as i64 * 3_000),
            keyframe: frames.is_empty(),
            payload: file[at + 12..at + 12 + len].to_vec().into(),
        });
        at += 12 + len;
    }
    frames
}

#[test]
fn more_colours_and_deeper_ones() {
    for (codec, encoder) in [(Codec::Vp9, "libvpx-vp9"), (Codec::Av1, "libaom-av1")] {
        for format in ["yuv444p", "yuv422p", "yuv420p10le"] {
            let (mut decoder, out) = decoder(codec);
            ivf(encoder, format).iter().for_each(|frame| decoder.push(frame));
            let (_, middle) = luma(&pictures(&out, 3)[2].1);
            assert!(middle > 220, "{codec:?} in {format}: {middle}");
        }
    }
}

/// A decoder that gives up says so; one that does not goes on with the next keyframe.
#[test]
fn garbage_between_pictures() {
    for (codec, encoder) in VIDEO {
        let (mut decoder, out) = decoder(codec);
        let good = white(encoder, 64, 36, 3, 0);
        good.iter().for_each(|frame| decoder.push(frame));
        let mut seed = 1u32;
        for n in 0..40 {
            let garbage = std::iter::repeat_with(|| {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (seed >> 24) as u8
            });
            // Begun as a real one, every other time.
            let head = if n % 2 == 0 {
                &good[n % 3].payload[..6]
            } else {
                &[]
            };
            decoder.push(&Frame {
                track: TrackId(1),
                at: MediaTime::from_ticks(20_000 + n as i64 * 100),
                keyframe: n % 2 == 0,
                payload: head.iter().copied().chain(garbage.take(500)).collect(),
            });
        }
        let after = white(encoder, 64, 36, 10, 90_000);
        after.iter().for_each(|frame| decoder.push(frame));
        loop {
            match out
                .recv_timeout(PATIENCE)
                .expect("a picture, or the reason why not")
            {
                Out::Picture(at, canvas) if at.ticks() >= 90_000 => {
                    assert!(luma(&canvas).1 > 220, "{codec:?}");
                    break;
                }
                Out::Failed(why) => {
                    println!("{codec:?}: {why}");
                    assert!(decoder.has_failed());
                    break;
                }
                _ => {}
            }
        }
    }
}

#[test]
fn telephone_sound() {
    let tone = |rate: u32, encoder: &str| {
        let packet = rate / 50;
        encoded(
            &format!(
                "audiotestsrc num-buffers=50 samplesperbuffer={packet} freq=440 volume=0.5 ! \
                 audio/x-raw,format=S16LE,rate={rate},channels=1 ! {encoder}"
            ),
            MediaTime::from_ticks(45_000),
        )
    };
    for (codec, frames) in [
        (Codec::G722, tone(16_000, "avenc_g722")),
        (Codec::Pcmu, tone(8_000, "mulawenc")),
        (Codec::Pcma, tone(8_000, "alawenc")),
    ] {
        assert_eq!((frames.len(), frames[0].payload.len()), (50, 160), "{codec:?}");
        let (mut decoder, out) = decoder(codec);
        // A packet is lost on the way.
        let came = frames.iter().enumerate().filter(|(n, _)| *n != 40);
        came.for_each(|(_, frame)| decoder.push(frame));
        let heard = heard(&out, frames[48].at);
        let first = heard[0].0.ticks() - frames[0].at.ticks();
        assert!(
            first.abs() <= 90,
            "{codec:?} begins a millisecond off at most: {first}"
        );
        let cycles = crossings(&heard, frames[10].at, frames[35].at);
        assert!((435..=445).contains(&cycles), "{codec:?}: {cycles} of 440");
        let resumes = heard
            .iter()
            .find(|(at, _)| *at >= frames[40].at + Span::from_millis(5))
            .unwrap();
        let off = (resumes.0 - frames[41].at).ticks();
        assert!(
            off.abs() <= 90,
            "{codec:?} goes on a millisecond off at most: {off}"
        );
        let loud = &heard[heard.len() / 2].1;
        assert!(
            loud.iter().all(|s| s[0] == s[1]) && loud.iter().any(|s| s[0] > 0.3),
            "{codec:?}"
        );
    }
}
