//! The lecture that is published: made once by ffmpeg, sent again and again without being encoded anew.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use bytes::Bytes;
use timeline::feed::{Producer, Record};
use timeline::{Codec, Frame, MediaTime, SourceName, Span, Timeline, Track, TrackId, WallTime};
use tokio::time::Instant;

const PICTURE: Span = Span::from_ticks(3_000);
const SOUND: Span = Span::from_millis(20);
/// 128 kbit/s of Opus, constant: so much each 20 ms.
const SOUND_BYTES: usize = 320;
const VIDEO: TrackId = TrackId(1);
const AUDIO: TrackId = TrackId(2);
const AUD: [u8; 5] = [0, 0, 0, 1, 9];

/// 1080p30, H.264 without B-frames, a keyframe every two seconds, as OBS is told to send; and its sound.
pub struct Lecture {
    pub file: PathBuf,
    pictures: Vec<(bool, Bytes)>,
    sounds: Vec<Bytes>,
}

impl Lecture {
    /// `seconds` of it, in `folder`.
    pub fn make(folder: &Path, seconds: u32) -> anyhow::Result<Lecture> {
        let [file, h264, opus] =
            ["lecture.mp4", "lecture.h264", "lecture.opus"].map(|name| folder.join(name));
        let source =
            format!("testsrc2=size=1920x1080:rate=30:duration={seconds},noise=alls=6:allf=t,format=yuv420p");
        let sound = format!("sine=frequency=440:sample_rate=48000:duration={seconds}");
        ffmpeg(
            &[
                "-f",
                "lavfi",
                "-i",
                &source,
                "-f",
                "lavfi",
                "-i",
                &sound,
                "-c:v",
                "libx264",
                "-preset",
                "veryfast",
                "-tune",
                "zerolatency",
                "-b:v",
                "4500k",
                "-maxrate",
                "5000k",
                "-bufsize",
                "4500k",
                "-g",
                "60",
                "-sc_threshold",
                "0",
                "-bf",
                "0",
                "-c:a",
                "aac",
                "-ac",
                "2",
            ],
            &file,
        )?;
        let input = file.to_str().context("a plain path")?;
        ffmpeg(
            &[
                "-i",
                input,
                "-an",
                "-c:v",
                "copy",
                "-bsf:v",
                "h264_mp4toannexb,h264_metadata=aud=insert",
            ],
            &h264,
        )?;
        ffmpeg(
            &[
                "-i",
                input,
                "-map",
                "0:a",
                "-c:a",
                "libopus",
                "-b:a",
                "128k",
                "-vbr",
                "off",
                "-frame_duration",
                "20",
                "-f",
                "data",
            ],
            &opus,
        )?;
        let pictures = access_units(&std::fs::read(&h264)?);
        let sounds = std::fs::read(&opus)?;
        ensure!(pictures.len() > 30, "ffmpeg made {} pictures", pictures.len());
        Ok(Lecture {
            file,
            pictures,
            sounds: sounds
                .chunks_exact(SOUND_BYTES)
                .map(Bytes::copy_from_slice)
                .collect(),
        })
    }

    /// Sends it over and over in real time, as if captured now; ends with the feed's last consumer or never. Where it
    /// `answers`, it goes on at its next keyframe when it is asked for one.
    pub async fn play(&self, feed: Producer, timeline: Timeline, answers: bool) {
        for (id, codec) in [(VIDEO, Codec::H264), (AUDIO, Codec::Opus)] {
            let source = SourceName::main();
            feed.send(Record::Track(Track { id, codec, source }));
        }
        let mut keyframes = feed.keyframe_requests();
        let began = Instant::now();
        let first = timeline.at(WallTime::from(std::time::SystemTime::now()));
        let (mut picture, mut sound, mut place) = (0, 0, 0);
        loop {
            let (next_picture, next_sound) = (PICTURE.times(picture), SOUND.times(sound));
            let due = if next_picture <= next_sound {
                next_picture
            } else {
                next_sound
            };
            let due = tokio::time::sleep_until(began + due.to_duration());
            tokio::pin!(due);
            loop {
                tokio::select! {
                    () = &mut due => break,
                    () = keyframes.next(), if answers => place = self.keyframe_from(place),
                }
            }
            let frame = if next_picture <= next_sound {
                let (keyframe, payload) = &self.pictures[place];
                place = (place + 1) % self.pictures.len();
                picture += 1;
                frame(VIDEO, first + next_picture, *keyframe, payload)
            } else {
                sound += 1;
                let payload = &self.sounds[(sound - 1) as usize % self.sounds.len()];
                frame(AUDIO, first + next_sound, true, payload)
            };
            feed.send(Record::Frame(frame));
        }
    }

    /// The first keyframe here or later. The first picture is one.
    fn keyframe_from(&self, place: usize) -> usize {
        let later = self.pictures[place..].iter().position(|(keyframe, _)| *keyframe);
        later.map_or(0, |later| place + later)
    }

    pub fn length(&self) -> Duration {
        PICTURE.times(self.pictures.len() as i64).to_duration()
    }
}

fn frame(track: TrackId, at: MediaTime, keyframe: bool, payload: &Bytes) -> Frame {
    Frame {
        track,
        at,
        keyframe,
        payload: payload.clone(),
    }
}

/// Split where a delimiter stands; a keyframe holds an IDR (type 5).
fn access_units(stream: &[u8]) -> Vec<(bool, Bytes)> {
    let starts: Vec<usize> = (0..stream.len().saturating_sub(AUD.len()))
        .filter(|n| stream[*n..].starts_with(&AUD))
        .chain([stream.len()])
        .collect();
    let unit = |range: &[usize]| {
        let unit = &stream[range[0]..range[1]];
        let keyframe = unit.windows(4).any(|w| w[..3] == [0, 0, 1] && w[3] & 31 == 5);
        (keyframe, Bytes::copy_from_slice(unit))
    };
    starts.windows(2).map(unit).collect()
}

fn ffmpeg(args: &[&str], to: &Path) -> anyhow::Result<()> {
    let mut command = Command::new("ffmpeg");
    command.args(["-y", "-loglevel", "error"]).args(args).arg(to);
    let done = command.status().context("cannot run ffmpeg")?;
    ensure!(done.success(), "ffmpeg failed: {command:?}");
    Ok(())
}
