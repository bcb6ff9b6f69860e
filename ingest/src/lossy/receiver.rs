//! What a session does, without its sockets: packets into intakes, reports into the clock, frames out.

use std::time::{Duration, Instant};

use timeline::{Codec, Span, WallTime};

use super::publisher::{self, Publisher, Sent};
use crate::capture::{CaptureClock, SenderReport, TrackIndex};
use crate::rtp::{Intake, Repair};

pub const VIDEO: usize = 0;
pub const START: i64 = 1_760_000_000_000_000_000;
/// As often as a session looks at a gap.
const TURN: Duration = Duration::from_millis(10);

#[derive(Clone, Debug)]
pub enum Feedback {
    Nack { sound: bool, sequences: Vec<u16> },
    Keyframe,
}

/// A frame that left: when, which, and by how much its capture time is late.
#[derive(Clone, Copy, Debug)]
pub struct Left {
    pub at: Duration,
    pub n: u64,
    pub key: bool,
    pub error_ns: i64,
}

pub struct Receiver {
    epoch: Instant,
    intakes: [Intake; 2],
    tracks: [TrackIndex; 2],
    pub clock: CaptureClock,
    pub rtt: Duration,
    turned: Duration,
    fresh: bool,
    pub pictures: Vec<Left>,
    pub sounds: Vec<Left>,
    pub nacked: u64,
    pub keyframes_asked: u64,
    /// Of pictures.
    pub lost: u64,
    pub repaired: u64,
    pub useless: u64,
}

impl Receiver {
    pub fn new(repair: Repair) -> Self {
        let mut clock = CaptureClock::new();
        let tracks = [clock.add_track(90_000), clock.add_track(48_000)];
        Receiver {
            epoch: Instant::now(),
            intakes: [Intake::new(Codec::Vp8, repair), Intake::new(Codec::Opus, repair)],
            tracks,
            clock,
            rtt: Duration::ZERO,
            turned: Duration::ZERO,
            fresh: false,
            pictures: Vec::new(),
            sounds: Vec::new(),
            nacked: 0,
            keyframes_asked: 0,
            lost: 0,
            repaired: 0,
            useless: 0,
        }
    }

    pub fn take(&mut self, sent: Sent, now: Duration) {
        self.fresh = true;
        let (arrival, rtt) = (wall(now), Span::from(self.rtt));
        match sent {
            Sent::Packet(packet, _) => {
                let stream = packet.ssrc as usize - 1;
                self.clock
                    .arrived(self.tracks[stream], packet.timestamp, arrival, rtt);
                self.intakes[stream].push(packet, self.epoch + now);
            }
            Sent::Report { sound, ntp_ns, rtp } => {
                let report = SenderReport {
                    ntp: ntp(START + ntp_ns),
                    rtp,
                    arrival,
                };
                let _ = self.clock.report(self.tracks[usize::from(sound)], report, rtt);
            }
        }
    }

    pub fn turn(&mut self, now: Duration) -> Vec<Feedback> {
        if !std::mem::take(&mut self.fresh) && now - self.turned < TURN {
            return Vec::new();
        }
        self.turned = now;
        let instant = self.epoch + now;
        let mut feedback = Vec::new();
        for stream in [VIDEO, 1] {
            let (intake, track) = (&mut self.intakes[stream], self.tracks[stream]);
            for picture in intake.frames(instant) {
                let captured = self.clock.capture(track, picture.timestamp).unix_nanos() - START;
                let (n, really) = if stream == VIDEO {
                    let n = publisher::read(&picture.payload, picture.keyframe);
                    (n, Publisher::captured(n))
                } else {
                    let n = u64::from_be_bytes(picture.payload[..].try_into().unwrap());
                    (n, Publisher::heard(n))
                };
                let left = Left {
                    at: now,
                    n,
                    key: picture.keyframe,
                    error_ns: captured - really.as_nanos() as i64,
                };
                [&mut self.pictures, &mut self.sounds][stream].push(left);
            }
            let sequences = intake.nacks(instant, self.rtt);
            if !sequences.is_empty() {
                feedback.push(Feedback::Nack {
                    sound: stream != VIDEO,
                    sequences,
                });
            }
            if intake.keyframe_due(instant) {
                feedback.push(Feedback::Keyframe);
            }
            let counts = intake.counts();
            self.nacked += counts.nacked;
            self.keyframes_asked += counts.keyframes_asked;
            if stream == VIDEO {
                self.lost += counts.lost;
                self.repaired += counts.repaired;
            }
            self.useless += counts.useless;
        }
        feedback
    }
}

fn wall(now: Duration) -> WallTime {
    WallTime::from_unix_nanos(START + now.as_nanos() as i64)
}

fn ntp(unix: i64) -> u64 {
    let seconds = (unix.div_euclid(1_000_000_000) + 2_208_988_800) as u64;
    let fraction = ((unix.rem_euclid(1_000_000_000) as u128) << 32) / 1_000_000_000;
    (seconds << 32) | fraction as u64
}
