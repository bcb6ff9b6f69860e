//! The modules that read what strangers send, and how a fuzzer's bytes become their input.

// Each target asks for a part of them.
#![allow(dead_code, unused_imports)]

pub mod input;

// Links into the stages' folders.
mod capture;
mod listed;
mod rtp;
mod sdp;
mod peer {
    mod framing;
    pub(crate) mod stun;

    use bytes::{Bytes, BytesMut};
    use tokio_util::codec::{Decoder, Encoder};

    /// The frames of a stream that comes in pieces of up to `piece` bytes, and whether it broke off over one.
    pub(crate) fn frames(bytes: &[u8], piece: usize) -> (Vec<Bytes>, bool) {
        let (mut codec, mut stream, mut frames) = (framing::framing(), BytesMut::new(), Vec::new());
        for piece in bytes.chunks(piece) {
            stream.extend_from_slice(piece);
            loop {
                match codec.decode(&mut stream) {
                    Ok(Some(frame)) => frames.push(frame.freeze()),
                    Ok(None) => break,
                    Err(_) => return (frames, true),
                }
            }
        }
        (frames, false)
    }

    pub(crate) fn framed(frames: &[Bytes]) -> BytesMut {
        let (mut codec, mut stream) = (framing::framing(), BytesMut::new());
        for frame in frames {
            codec.encode(frame.clone(), &mut stream).expect("it came in one");
        }
        stream
    }

    pub(crate) fn demux(datagram: &[u8]) {
        if let Some(request) = stun::BindingRequest::parse(datagram) {
            let _ = request.is_authentic("a password", &rtc::crypto::Doubting);
        }
    }
}

use std::time::{Duration, Instant};

use bytes::Bytes;
use timeline::{Codec, Span, WallTime};

/// What `sdp` knows of `ingest`'s settings.
#[derive(Default)]
pub struct Config {
    pub advertise: Vec<std::net::IpAddr>,
    pub advertise_port: Option<u16>,
}

pub enum Error {
    NothingToAdvertise,
}

use input::Input;

/// An offer, our own answer, or the fragment of a PATCH.
pub fn sdp(text: &str) {
    let _ = sdp::Offer::parse(text);
    let _ = sdp::Fragment::parse(text);
    let _ = sdp::is_reachable(text);
    let bound = std::net::SocketAddr::from(([192, 0, 2, 1], 8189));
    let candidates = sdp::Candidates::new(&Config::default(), vec![bound], vec![bound]);
    if let Ok(candidates) = candidates {
        let _ = sdp::finish(text, &candidates);
    }
}

/// A sender's packets, in any order, with any of them missing.
pub fn rtp(bytes: &[u8]) {
    let mut input = Input(bytes);
    let codec = Codec::ALL[usize::from(input.byte()) % Codec::ALL.len()];
    let (repair, rtt) = (Duration::from_millis(120), Duration::from_millis(20));
    let (mut intake, mut now) = (rtp::Intake::new(codec, repair), Instant::now());
    let (mut sequence, mut timestamp) = (65_530u16, u32::MAX - 6_000);
    let mut held = 0;
    while !input.is_over() {
        let what = input.byte();
        sequence = match what & 3 {
            0 | 1 => sequence.wrapping_add(1),
            2 => sequence.wrapping_add(u16::from(input.byte())),
            _ => input.short(),
        };
        if what & 4 != 0 {
            timestamp = timestamp.wrapping_add(if what & 8 != 0 { 3_000 } else { input.word() });
        }
        let payload = Bytes::copy_from_slice(input.some());
        held += payload.len();
        intake.push(
            rtp::Packet {
                ssrc: 1,
                payload_type: 96,
                sequence,
                timestamp,
                marker: what & 16 != 0,
                payload,
            },
            now,
        );
        if what & 32 != 0 {
            now += Duration::from_millis(u64::from(input.byte()));
        }
        for picture in intake.frames(now) {
            assert!(!picture.payload.is_empty(), "a frame of nothing");
            // Parameter sets that came once are repeated, and start codes are added: of little comes not much.
            assert!(
                picture.payload.len() <= 64 * 1024 + 64 * held,
                "{}",
                picture.payload.len()
            );
        }
        let _ = intake.nacks(now, rtt);
        let _ = (intake.keyframe_due(now), intake.counts());
    }
}

/// Sender reports and arrivals of two tracks, whatever their clocks say.
pub fn reports(bytes: &[u8]) {
    let mut input = Input(bytes);
    let mut capture = capture::CaptureClock::new();
    let tracks = [capture.add_track(90_000), capture.add_track(48_000)];
    let mut now = WallTime::from_unix_millis(1_800_000_000_000);
    let mut last = [None; 2];
    let mut newest = [0u32; 2];
    while !input.is_over() {
        let what = input.byte();
        let n = usize::from(what & 1);
        now = now + Span::from_millis(i64::from(input.short()));
        let rtt = Span::from_millis(i64::from(what >> 4) * 16);
        match what >> 1 & 3 {
            0 => {
                let report = capture::SenderReport {
                    ntp: (u64::from(input.word()) << 32) | u64::from(input.word()),
                    rtp: input.word(),
                    arrival: now,
                };
                let _ = capture.report(tracks[n], report, rtt);
            }
            1 if what & 128 != 0 => {
                capture.restart(tracks[n], [90_000, 48_000][n]);
                last[n] = None;
            }
            _ => {
                newest[n] = newest[n].wrapping_add(u32::from(input.short()));
                capture.arrived(tracks[n], newest[n], now, rtt);
                let at = capture.capture(tracks[n], newest[n]);
                if let Some(last) = last[n] {
                    assert!(
                        at >= last,
                        "a picture of later was captured before: {at:?} < {last:?}"
                    );
                }
                last[n] = Some(at);
            }
        }
    }
}

/// A record between two processes.
pub fn wire(bytes: &[u8]) {
    if let Ok(record) = timeline::wire::decode(bytes) {
        let again = timeline::wire::encode(&record).expect("what was read can be written");
        assert_eq!(timeline::wire::decode(&again).as_ref(), Ok(&record));
    }
}

/// A datagram from an address nobody knows.
pub fn stun(bytes: &[u8]) {
    peer::demux(bytes);
}

/// What comes over a TCP connection: datagrams in frames, whatever pieces they come in.
pub fn frames(bytes: &[u8]) {
    let Some((piece, stream)) = bytes.split_first() else {
        return;
    };
    let (frames, broke) = peer::frames(stream, stream.len().max(1));
    let in_pieces = peer::frames(stream, usize::from(*piece).max(1));
    assert_eq!(in_pieces, (frames.clone(), broke), "pieces make a difference");
    assert!(stream.starts_with(&peer::framed(&frames)), "another stream");
    frames.iter().for_each(|frame| peer::demux(frame));
}

/// What a transcoder's process hears from its supervisor.
pub fn to_child(bytes: &[u8]) {
    child::heard::<child::ToChild>(bytes);
}

/// What the supervisor hears from a process that a stranger's pictures may have taken over.
pub fn from_child(bytes: &[u8]) {
    child::heard::<child::FromChild>(bytes);
}

/// A playlist as it was left in a bucket.
pub fn playlists(bytes: &[u8]) {
    let _ = listed::Choice::of(bytes);
    let _ = listed::Listed::of("720p", bytes);
}
