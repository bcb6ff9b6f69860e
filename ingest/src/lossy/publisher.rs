//! A publisher with two streams and a clock of its own.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::receiver::{Feedback, VIDEO};
use crate::rtp::Packet;

pub const PACKET_BYTES: usize = 1_200;
const SOUND_BYTES: usize = 200;
const REPORT_BYTES: usize = 80;
const RATE: u64 = 30;
/// A keyframe is so much larger than another picture.
const KEYFRAME: u64 = 6;
/// Of each stream, for repair: as OBS keeps them.
const HISTORY: usize = 4_000;
/// Between the packets of one picture.
const PACING: Duration = Duration::from_micros(300);
const ENCODING: Duration = Duration::from_millis(20);
const SOUND: Duration = Duration::from_millis(20);

#[derive(Clone, Debug)]
pub enum Sent {
    Packet(Packet, usize),
    Report { sound: bool, ntp_ns: i64, rtp: u32 },
}

impl Sent {
    pub fn bytes(&self) -> usize {
        match self {
            Sent::Packet(_, bytes) => *bytes,
            Sent::Report { .. } => REPORT_BYTES,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reports {
    None,
    /// NTP and RTP time of one moment.
    Capture,
    /// The RTP time of the last packet, and when the report was sent: OBS.
    Send,
}

pub struct Publisher {
    random: StdRng,
    pub kbps: u64,
    /// Pictures between keyframes; none where they come on request only.
    pub gop: Option<u64>,
    pub answers_pli: bool,
    pub reports: Reports,
    /// Of its clock: how far it is wrong, and how fast it runs away.
    pub error_ns: i64,
    pub ppm: i64,
    pub rtp_base: [u32; 2],
    wanted: bool,
    pictures: u64,
    sounds: u64,
    reported: [Option<Duration>; 2],
    sequence: [u16; 2],
    history: [VecDeque<(Packet, usize)>; 2],
    due: VecDeque<(Duration, Sent)>,
    again: Vec<Sent>,
    pub resent: u64,
    pub packets: u64,
    pub keyframes: u64,
}

impl Publisher {
    /// A browser: 1.5 Mbit/s, keyframes on request alone.
    pub fn browser(seed: u64) -> Self {
        Publisher {
            random: StdRng::seed_from_u64(seed ^ 0x5eed),
            kbps: 1_500,
            gop: None,
            answers_pli: true,
            reports: Reports::Capture,
            error_ns: 0,
            ppm: 0,
            rtp_base: [u32::MAX - 500_000, u32::MAX - 200_000],
            wanted: true,
            pictures: 0,
            sounds: 0,
            reported: [None; 2],
            sequence: [65_000, 30_000],
            history: Default::default(),
            due: VecDeque::new(),
            again: Vec::new(),
            resent: 0,
            packets: 0,
            keyframes: 0,
        }
    }

    /// 2.5 Mbit/s, a keyframe every two seconds whatever it is asked, reports of send time.
    pub fn obs(seed: u64) -> Self {
        Publisher {
            kbps: 2_500,
            gop: Some(2 * RATE),
            answers_pli: false,
            reports: Reports::Send,
            ..Publisher::browser(seed)
        }
    }

    /// When picture `n` was captured.
    pub fn captured(n: u64) -> Duration {
        Duration::from_nanos(n * 1_000_000_000 / RATE)
    }

    pub fn heard(n: u64) -> Duration {
        SOUND * n as u32
    }

    pub fn hear(&mut self, feedback: Feedback) {
        match feedback {
            Feedback::Nack { sound, sequences } => {
                let history = &self.history[usize::from(sound)];
                for sequence in sequences {
                    if let Some((packet, bytes)) = history.iter().rfind(|(p, _)| p.sequence == sequence) {
                        self.resent += 1;
                        self.again.push(Sent::Packet(packet.clone(), *bytes));
                    }
                }
            }
            Feedback::Keyframe => self.wanted |= self.answers_pli,
        }
    }

    /// What leaves now.
    pub fn send(&mut self, now: Duration) -> Vec<Sent> {
        while Self::captured(self.pictures) <= now {
            self.picture();
        }
        while Self::heard(self.sounds) + SOUND <= now {
            self.sound();
        }
        let mut sent = std::mem::take(&mut self.again);
        while let Some((_, packet)) = self.due.pop_front_if(|(at, _)| *at <= now) {
            self.report(&packet, now, &mut sent);
            sent.push(packet);
        }
        sent
    }

    fn picture(&mut self) {
        let (n, at) = (self.pictures, Self::captured(self.pictures));
        self.pictures += 1;
        let key = std::mem::take(&mut self.wanted) || self.gop.is_some_and(|gop| n.is_multiple_of(gop));
        self.keyframes += u64::from(key);
        let share = self.kbps * 1000 / 8 / RATE / PACKET_BYTES as u64;
        let parts = (share.max(1) * if key { KEYFRAME } else { 1 }).max(2);
        let timestamp = self.rtp(VIDEO, at);
        for part in 0..parts {
            let payload = payload(n, part, parts, key);
            let packet = self.packet(VIDEO, timestamp, part + 1 == parts, payload);
            let leaves = at + ENCODING + PACING * part as u32;
            self.queue(leaves, Sent::Packet(packet, PACKET_BYTES));
        }
    }

    fn sound(&mut self) {
        let at = Self::heard(self.sounds);
        let payload = Bytes::copy_from_slice(&self.sounds.to_be_bytes());
        self.sounds += 1;
        let timestamp = self.rtp(1, at);
        let packet = self.packet(1, timestamp, false, payload);
        self.queue(at + SOUND + STARTS, Sent::Packet(packet, SOUND_BYTES));
    }

    fn queue(&mut self, leaves: Duration, sent: Sent) {
        let place = self.due.partition_point(|(at, _)| *at <= leaves);
        self.due.insert(place, (leaves, sent));
    }

    fn packet(&mut self, stream: usize, timestamp: u32, marker: bool, payload: Bytes) -> Packet {
        self.packets += 1;
        let sequence = self.sequence[stream];
        self.sequence[stream] = sequence.wrapping_add(1);
        let packet = Packet {
            ssrc: stream as u32 + 1,
            payload_type: 96,
            sequence,
            timestamp,
            marker,
            payload,
        };
        let history = &mut self.history[stream];
        if history.len() == HISTORY {
            history.pop_front();
        }
        let bytes = if stream == VIDEO {
            PACKET_BYTES
        } else {
            SOUND_BYTES
        };
        history.push_back((packet.clone(), bytes));
        packet
    }

    /// A report goes before its stream's packets: pictures' every second, sound's every five (browsers).
    fn report(&mut self, next: &Sent, now: Duration, sent: &mut Vec<Sent>) {
        let Sent::Packet(packet, _) = next else { return };
        let stream = packet.ssrc as usize - 1;
        let every = if stream == VIDEO || self.reports == Reports::Send {
            1
        } else {
            5
        };
        let due = self.reported[stream].is_none_or(|last| now - last >= Duration::from_secs(every));
        let first = self.reported[stream].is_none();
        if !due || self.reports == Reports::None {
            return;
        }
        self.reported[stream] = Some(now);
        // The first report comes an interval after the first packet.
        if first {
            return;
        }
        let rtp = match self.reports {
            Reports::Send => packet.timestamp,
            _ => self.rtp(stream, now),
        };
        let waver = Duration::from_micros(self.random.random_range(0..2_000));
        let ntp_ns = self.own(
            now + if self.reports == Reports::Send {
                waver
            } else {
                Duration::ZERO
            },
        );
        sent.push(Sent::Report {
            sound: stream != VIDEO,
            ntp_ns,
            rtp,
        });
    }

    /// What its clock says, after zero.
    fn own(&self, at: Duration) -> i64 {
        let at = at.as_nanos() as i64;
        self.error_ns + at + at / 1_000_000 * self.ppm
    }

    fn rtp(&self, stream: usize, at: Duration) -> u32 {
        let run = i128::from(self.own(at) - self.error_ns);
        let rate: i128 = if stream == VIDEO { 90_000 } else { 48_000 };
        self.rtp_base[stream].wrapping_add((run * rate / 1_000_000_000) as u32)
    }
}

/// Sound is not encoded at once either.
const STARTS: Duration = Duration::from_millis(3);

/// VP8 (RFC 7741) whose every packet names its picture and its place.
fn payload(n: u64, part: u64, parts: u64, key: bool) -> Bytes {
    let mut payload = vec![if part == 0 { 0x10 } else { 0 }];
    match (part, key) {
        (0, true) => payload.extend([0x50, 0, 0, 0x9d, 0x01, 0x2a, 64, 0, 48, 0]),
        (0, false) => payload.extend([0x51, 0]),
        _ => {}
    }
    for value in [n, part, parts] {
        payload.extend((value as u32).to_be_bytes());
    }
    payload.into()
}

/// Which picture this is. Panics unless it is whole.
pub fn read(picture: &[u8], key: bool) -> u64 {
    let body = &picture[if key { 10 } else { 2 }..];
    let words: Vec<u32> = body
        .chunks_exact(4)
        .map(|word| u32::from_be_bytes(word.try_into().unwrap()))
        .collect();
    let (n, parts) = (words[0], words[2]);
    assert_eq!(words.len(), 3 * parts as usize, "picture {n} is not whole");
    for (part, words) in words.chunks_exact(3).enumerate() {
        assert_eq!(words, [n, part as u32, parts], "picture {n} is mixed up");
    }
    n.into()
}
