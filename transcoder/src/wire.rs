//! What the supervisor and its child say to each other: one postcard body per message, four bytes of length
//! before it.

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use timeline::feed::Record;
use timeline::{BroadcastId, Frame, Grid, MediaTime, Rendition, SourceName, Stills, Timeline, TrackId};
use tokio_util::codec::LengthDelimitedCodec;

use crate::confine::{Confined, Sandbox};
use crate::line::{Counts, Start};
use crate::{Config, Error};

/// What a line is made for. Fixed for the broadcast's whole life.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    pub broadcast: BroadcastId,
    pub timeline: Timeline,
    pub grid: Grid,
    /// Where a line that was interrupted goes on at the earliest: at a segment that was never begun. None for a
    /// line that begins.
    pub goes_on: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ToChild {
    /// The first message, to a process that is to be ready for a line.
    Prepare { sandbox: Sandbox },
    /// The second. `start`: the first slot and audio frame that are not on the line yet.
    /// `first_still`: the first segment whose still is not. `caught_up`: what the publishers sent while no child was
    /// there follows at once, and holds pictures of these tracks up to these capture times; nothing is due before they
    /// are decoded. `sound_shifts_ms`: by how much each source's sound on the line is behind its capture.
    Begin {
        config: Config,
        job: Job,
        start: Start,
        first_still: u64,
        caught_up: Vec<(TrackId, MediaTime)>,
        sound_shifts_ms: Vec<(SourceName, f64)>,
    },
    /// From the source. `End` makes the child finish the line.
    Record(Record),
    /// Records of the source were lost here: no picture until the next keyframe.
    Lost,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum FromChild {
    /// The first message: it is confined and its codecs are loaded.
    Ready(Confined),
    /// The ladder, before the first frame.
    Ladder {
        renditions: Vec<Rendition>,
        stills: Stills,
    },
    /// A rendition needs another init from its next frame on, which heads a segment.
    Renewed(Rendition),
    Frame(Frame),
    /// No picture can be decoded without a keyframe.
    KeyframeWanted,
    /// A decoder takes nothing more, and cannot be stopped either.
    Hung(String),
    /// Once a second.
    Report(Report),
    /// Every frame up to this end was sent.
    Ended(MediaTime),
}

/// What happened since the last report, and where the line stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    pub counts: Counts,
    /// Slots whose picture in the top rung is the source's own.
    pub copied: u64,
    pub decode_errors: u64,
    /// Pictures that came in another order than they are shown in.
    pub b_frames: u64,
    /// How far the line is behind the clock.
    pub lag_ms: f64,
    pub sources: Vec<SourceReport>,
    pub cpu_ms: u64,
    /// Of each picture: from its frame to its canvas.
    pub decode_s: Vec<f32>,
    /// Of each picture: from its canvas to the moment that its slot is due.
    pub grid_s: Vec<f32>,
}

/// How one source does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SourceReport {
    pub source: SourceName,
    /// Pictures that came after their slot had left, since the last report, and by how much the latest missed it.
    pub late: u64,
    pub lateness_ms: f64,
    /// How far its sound is behind its capture, because it comes later than D.
    pub sound_shift_ms: f64,
}

/// The frames of the wire. A message is a record and a few bytes.
pub fn codec() -> LengthDelimitedCodec {
    LengthDelimitedCodec::builder()
        .max_frame_length(timeline::wire::MAX_BODY + 4096)
        .new_codec()
}

pub fn encode<T: Serialize>(message: &T) -> Result<Bytes, Error> {
    postcard::to_stdvec(message)
        .map(Bytes::from)
        .map_err(|e| Error::Wire(e.to_string()))
}

pub fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, Error> {
    match postcard::take_from_bytes(body) {
        Ok((message, [])) => Ok(message),
        Ok((_, rest)) => Err(Error::Wire(format!("{} bytes follow the message", rest.len()))),
        Err(e) => Err(Error::Wire(e.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use timeline::WallTime;

    #[test]
    fn what_is_said_is_heard() {
        let begin = ToChild::Begin {
            config: Config {
                line_delay_ms: 400,
                ..Config::default()
            },
            job: Job {
                broadcast: "algebra-1".parse().unwrap(),
                timeline: Timeline::starting(WallTime::from_unix_millis(1_800_000_000_000)),
                grid: Grid::default(),
                goes_on: None,
            },
            start: Start { slot: 48, audio: 75 },
            first_still: 1,
            caught_up: vec![(TrackId(1), MediaTime::from_ticks(150_000))],
            sound_shifts_ms: vec![(SourceName::main(), 240.0)],
        };
        assert_eq!(decode::<ToChild>(&encode(&begin).unwrap()).unwrap(), begin);
        let frame = FromChild::Frame(Frame {
            track: TrackId(1),
            at: MediaTime::from_ticks(3000),
            keyframe: true,
            payload: Bytes::from_static(b"slice"),
        });
        let body = encode(&frame).unwrap();
        assert_eq!(decode::<FromChild>(&body).unwrap(), frame);
        assert!(decode::<FromChild>(&body[..body.len() - 1]).is_err());
        assert!(decode::<FromChild>(&[&body[..], &[0]].concat()).is_err());
    }

    /// What the fuzzer begins with is said still.
    #[test]
    fn seeds_are_messages() {
        use tokio_util::codec::Decoder;

        fn read<T: DeserializeOwned>(seeds: &str) {
            let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds");
            for seed in std::fs::read_dir(folder.join(seeds)).unwrap() {
                let path = seed.unwrap().path();
                let mut stream = bytes::BytesMut::from(&std::fs::read(&path).unwrap()[..]);
                while let Some(body) = codec().decode(&mut stream).unwrap() {
                    decode::<T>(&body).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
                }
                assert!(stream.is_empty(), "{}", path.display());
            }
        }
        read::<ToChild>("to_child");
        read::<FromChild>("from_child");
    }
}
