//! Real media for the tests: made by ffmpeg, taken apart into the frames that a transcoder would send.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use bytes::Bytes;
use timeline::{Frame, Media, MediaTime, Rendition, Span, TrackId};

pub fn run(program: &str, args: &[&str]) -> Output {
    Command::new(program)
        .args(args)
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"))
}

/// The output of a program that must succeed and complain of nothing.
pub fn clean(program: &str, args: &[&str]) -> String {
    let output = run(program, args);
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && complaints.is_empty(),
        "{program} {args:?}: {complaints}"
    );
    String::from_utf8(output.stdout).unwrap()
}

/// Where hls.js is installed, for its parser.
pub fn hls_js() -> PathBuf {
    const VERSION: &str = "hls.js@1.7.4";
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("hls.js");
    if !home.join("node_modules/hls.js/package.json").exists() {
        let home = home.to_string_lossy();
        #[rustfmt::skip]
        let installed = run("npm", &["install", "--silent", "--no-audit", "--no-fund", "--prefix", &home, VERSION]);
        assert!(
            installed.status.success(),
            "{}",
            String::from_utf8_lossy(&installed.stderr)
        );
    }
    home
}

/// 30 fps, closed GOPs of 48 frames, no B-frames: what the transcoder makes.
pub fn make_video(to: &Path, size: &str, seconds: &str) {
    let source = format!("testsrc2=size={size}:rate=30");
    #[rustfmt::skip]
    clean("ffmpeg", &[
        "-v", "error", "-y", "-f", "lavfi", "-i", &source, "-t", seconds, "-pix_fmt", "yuv420p",
        "-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-profile:v", "main", "-bf", "0",
        "-g", "48", "-keyint_min", "48", "-sc_threshold", "0", "-x264-params", "aud=1",
        "-f", "h264", &to.to_string_lossy(),
    ]);
}

pub fn make_audio(to: &Path, seconds: &str) {
    #[rustfmt::skip]
    clean("ffmpeg", &[
        "-v", "error", "-y", "-f", "lavfi", "-i", "sine=frequency=1000:sample_rate=48000", "-t", seconds,
        "-ac", "2", "-c:a", "aac", "-b:a", "96k", "-f", "adts", &to.to_string_lossy(),
    ]);
}

/// A rendition and its frames, from an Annex B byte stream with access unit delimiters.
pub fn video(id: u32, name: &str, (width, height): (u32, u32), stream: &[u8]) -> (Rendition, Vec<Frame>) {
    const IDR: u8 = 5;
    const SPS: u8 = 7;
    const PPS: u8 = 8;
    const DELIMITER: u8 = 9;
    let (mut sps, mut pps, mut frames) = (Vec::new(), Vec::new(), Vec::<Frame>::new());
    let (mut payload, mut keyframe) = (Vec::new(), false);
    let mut flush = |payload: &mut Vec<u8>, keyframe: &mut bool| {
        if !payload.is_empty() {
            let at = MediaTime::from_ticks(frames.len() as i64 * 3_000);
            let payload = Bytes::from(std::mem::take(payload));
            frames.push(Frame {
                track: TrackId(id),
                at,
                keyframe: std::mem::take(keyframe),
                payload,
            });
        }
    };
    for unit in nal_units(stream) {
        match unit[0] & 0x1f {
            DELIMITER => flush(&mut payload, &mut keyframe),
            SPS => sps = unit.to_vec(),
            PPS => pps = unit.to_vec(),
            kind => {
                keyframe |= kind == IDR;
                payload.extend_from_slice(&(unit.len() as u32).to_be_bytes());
                payload.extend_from_slice(unit);
            }
        }
    }
    flush(&mut payload, &mut keyframe);
    let rendition = Rendition {
        id: TrackId(id),
        name: name.into(),
        media: Media::Video {
            width,
            height,
            frame: Span::from_ticks(3_000),
        },
        codec: format!("avc1.{:02x}{:02x}{:02x}", sps[1], sps[2], sps[3]),
        bandwidth: 3_000_000,
        average_bandwidth: 2_000_000,
        init: avcc(&sps, &pps),
    };
    (rendition, frames)
}

/// A rendition and its frames, from ADTS (48 kHz stereo, no CRC).
pub fn audio(id: u32, mut stream: &[u8]) -> (Rendition, Vec<Frame>) {
    const HEADER: usize = 7;
    let mut frames = Vec::new();
    while !stream.is_empty() {
        assert_eq!(
            (stream[0], stream[1] & 0xf1),
            (0xff, 0xf1),
            "an ADTS header without CRC"
        );
        let length =
            usize::from(stream[3] & 3) << 11 | usize::from(stream[4]) << 3 | usize::from(stream[5]) >> 5;
        let at = MediaTime::from_ticks(frames.len() as i64 * 1_920);
        let payload = Bytes::copy_from_slice(&stream[HEADER..length]);
        frames.push(Frame {
            track: TrackId(id),
            at,
            keyframe: true,
            payload,
        });
        stream = &stream[length..];
    }
    let rendition = Rendition {
        id: TrackId(id),
        name: "audio".into(),
        media: Media::Audio {
            sample_rate: 48_000,
            channels: 2,
        },
        codec: "mp4a.40.2".into(),
        bandwidth: 96_000,
        average_bandwidth: 96_000,
        init: Bytes::from_static(&[0x11, 0x90]),
    };
    (rendition, frames)
}

fn nal_units(stream: &[u8]) -> impl Iterator<Item = &[u8]> {
    let starts: Vec<usize> = stream
        .windows(3)
        .enumerate()
        .filter(|(_, bytes)| *bytes == [0, 0, 1])
        .map(|(at, _)| at + 3)
        .collect();
    let ends: Vec<usize> = starts
        .iter()
        .skip(1)
        .map(|next| next - 3)
        .chain([stream.len()])
        .collect();
    starts.into_iter().zip(ends).map(|(start, end)| {
        // A fourth byte of the next start code, or trailing zeros.
        let unit = &stream[start..end];
        &unit[..unit
            .iter()
            .rposition(|byte| *byte != 0)
            .map_or(0, |last| last + 1)]
    })
}

/// AVCDecoderConfigurationRecord (ISO/IEC 14496-15 5.3.3.1), lengths of 4 bytes.
fn avcc(sps: &[u8], pps: &[u8]) -> Bytes {
    let mut record = vec![1, sps[1], sps[2], sps[3], 0xff, 0xe1];
    record.extend_from_slice(&(sps.len() as u16).to_be_bytes());
    record.extend_from_slice(sps);
    record.push(1);
    record.extend_from_slice(&(pps.len() as u16).to_be_bytes());
    record.extend_from_slice(pps);
    record.into()
}
