//! Real bitstreams, packetised, through a bad wire, and back.
//!
//! `high.h264`, `vp9.ivf` and `av1.ivf` hold eight pictures of 64×48 with a keyframe every four, by libx264 (High
//! profile, three slices a picture), libvpx and libaom.

mod lossy;
mod quirks;

use std::time::{Duration, Instant};

use bytes::Bytes;
use timeline::Codec;

use super::{Intake, Packet, Picture};

const REPAIR: Duration = Duration::from_millis(120);
const FRAME: u32 = 3_000;
/// Keyframes of the fixtures.
const GOP: usize = 4;

/// NAL units of each picture.
fn high() -> Vec<Vec<Bytes>> {
    let stream = Bytes::from_static(include_bytes!("high.h264"));
    let starts: Vec<usize> = (0..stream.len() - 3)
        .filter(|n| stream[*n..].starts_with(&[0, 0, 1]))
        .collect();
    let ends = starts[1..].iter().copied().chain([stream.len()]);
    let mut pictures: Vec<Vec<Bytes>> = vec![];
    let mut has_picture = true;
    for (start, end) in starts.iter().zip(ends) {
        let mut nal = stream.slice(start + 3..end);
        while nal.ends_with(&[0]) {
            nal.truncate(nal.len() - 1);
        }
        let slice = matches!(nal[0] & 0x1f, 1 | 5);
        // A new picture: its first slice (first_mb_in_slice is 0), or what stands before it.
        if has_picture && (!slice || nal[1] & 0x80 != 0) {
            pictures.push(vec![]);
            has_picture = false;
        }
        has_picture |= slice;
        pictures.last_mut().unwrap().push(nal);
    }
    pictures
}

fn annex_b(nals: &[Bytes]) -> Bytes {
    nals.iter()
        .flat_map(|nal| [&[0, 0, 0, 1], &nal[..]].concat())
        .collect()
}

/// Frames of an IVF file: behind a header of 32 bytes, each behind its length and time.
fn ivf(file: &'static [u8]) -> Vec<Bytes> {
    let (file, mut at, mut frames) = (Bytes::from_static(file), 32, vec![]);
    while at < file.len() {
        let len = u32::from_le_bytes(file[at..at + 4].try_into().unwrap()) as usize;
        frames.push(file.slice(at + 12..at + 12 + len));
        at += 12 + len;
    }
    frames
}

/// A sender whose sequence and timestamps are about to wrap.
struct Wire {
    sequence: u16,
    timestamp: u32,
    sent: Vec<Packet>,
}

impl Wire {
    fn new() -> Self {
        Wire {
            sequence: u16::MAX - 7,
            timestamp: u32::MAX - 3 * FRAME,
            sent: vec![],
        }
    }

    fn send(&mut self, marker: bool, payload: impl Into<Bytes>) {
        self.sent.push(Packet {
            ssrc: 1,
            payload_type: 96,
            sequence: self.sequence,
            timestamp: self.timestamp,
            marker,
            payload: payload.into(),
        });
        self.sequence = self.sequence.wrapping_add(1);
    }

    /// One picture, the marker on its last packet; then it is time for the next.
    fn picture(&mut self, payloads: impl IntoIterator<Item = Bytes>) {
        let payloads: Vec<Bytes> = payloads.into_iter().collect();
        let last = payloads.len() - 1;
        for (n, payload) in payloads.into_iter().enumerate() {
            self.send(n == last, payload);
        }
        self.next();
    }

    fn next(&mut self) {
        self.timestamp = self.timestamp.wrapping_add(FRAME);
    }
}

/// What passes when each packet takes a millisecond, and nothing comes after them.
fn pass(intake: &mut Intake, packets: &[Packet]) -> Vec<Picture> {
    let t = Instant::now();
    let mut shown = vec![];
    for (n, packet) in packets.iter().enumerate() {
        let now = t + Duration::from_millis(n as u64);
        intake.push(packet.clone(), now);
        shown.extend(intake.frames(now));
    }
    shown.extend(intake.frames(t + Duration::from_secs(60)));
    shown
}

fn shown(codec: Codec, packets: &[Packet]) -> Vec<Bytes> {
    let pictures = pass(&mut Intake::new(codec, REPAIR), packets);
    pictures.into_iter().map(|picture| picture.payload).collect()
}
