use std::time::{Duration, Instant};

use bytes::Bytes;
use metrics::{Counter, Histogram, counter, gauge, histogram};
use timeline::{BroadcastId, Codec, SourceName, Span};

use super::lane::Arriving;
use super::reading::{self, Reading};
use crate::capture::TrackIndex;
use crate::peer::Feedback;
use crate::rtp::{Intake, Jitter, Packet, Repair};

/// One RTP stream on its way to a track.
pub(super) struct Flow {
    pub ssrc: u32,
    /// The layer's name, where layers have names.
    pub rid: Option<Bytes>,
    pub codec: Codec,
    pub clock: TrackIndex,
    pub intake: Intake,
    jitter: Jitter,
    heard: Instant,
    arrivals: Arrivals,
    gauges: Gauges,
}

impl Flow {
    pub fn new(arriving: Arriving, clock: TrackIndex, repair: Repair, gauges: Gauges, now: Instant) -> Self {
        let codec = arriving.codec;
        Flow {
            ssrc: arriving.ssrc,
            rid: arriving.rid,
            codec,
            clock,
            intake: Intake::new(codec, repair),
            jitter: Jitter::new(codec.clock_rate()),
            heard: now,
            arrivals: Arrivals::default(),
            gauges,
        }
    }

    pub fn push(&mut self, packet: Packet, now: Instant) {
        self.heard = now;
        self.jitter.arrived(packet.timestamp, now);
        self.arrivals.note(packet.timestamp, now);
        self.intake.push(packet, now);
    }

    /// When the last packet of this picture came.
    pub fn arrived(&self, timestamp: u32) -> Option<Instant> {
        self.arrivals.of(timestamp)
    }

    /// A picture leaves: how long it took to come, and how long it then waited for packets before it.
    pub fn left(&self, came: Span, waited: Duration) {
        self.gauges.network.record(came.as_secs_f64().max(0.0));
        self.gauges.jitter_buffer.record(waited.as_secs_f64());
    }

    /// What is to be asked of the publisher: the packets that are missing, and a keyframe.
    pub fn feedback(&mut self, now: Instant, rtt: Duration) -> impl Iterator<Item = Feedback> + use<> {
        let (ssrc, sequences) = (self.ssrc, self.intake.nacks(now, rtt));
        let nack = (!sequences.is_empty()).then_some(Feedback::Nack { ssrc, sequences });
        let keyframe = self.intake.keyframe_due(now);
        nack.into_iter()
            .chain(keyframe.then_some(Feedback::Keyframe { ssrc }))
    }

    pub fn is_silent(&self, now: Instant, length: Duration) -> bool {
        now.saturating_duration_since(self.heard) >= length
    }

    /// Adds what happened since the last time to the metrics.
    pub fn measure(&mut self) {
        let counts = self.intake.counts();
        let g = &self.gauges;
        g.packets.increment(counts.packets);
        g.lost.increment(counts.lost);
        g.repaired.increment(counts.repaired);
        g.useless.increment(counts.useless);
        g.nacked.increment(counts.nacked);
        g.keyframes_asked.increment(counts.keyframes_asked);
        g.frames.increment(counts.frames);
        g.dropped.increment(counts.dropped);
        g.jitter.set(self.jitter.get().as_secs_f64());
    }
}

/// When the last pictures came, by their RTP time. No more can wait for a repair.
#[derive(Default)]
struct Arrivals {
    last: [Option<(u32, Instant)>; 16],
    next: usize,
}

impl Arrivals {
    fn note(&mut self, timestamp: u32, now: Instant) {
        let known = self.last.iter_mut().flatten().find(|(of, _)| *of == timestamp);
        match known {
            Some((_, arrived)) => *arrived = now,
            None => {
                self.last[self.next] = Some((timestamp, now));
                self.next = (self.next + 1) % self.last.len();
            }
        }
    }

    fn of(&self, timestamp: u32) -> Option<Instant> {
        let mut last = self.last.iter().flatten();
        last.find(|(of, _)| *of == timestamp).map(|(_, arrived)| *arrived)
    }
}

pub(super) struct Gauges {
    packets: Counter,
    lost: Counter,
    repaired: Counter,
    useless: Counter,
    nacked: Counter,
    keyframes_asked: Counter,
    frames: Counter,
    dropped: Counter,
    jitter: Reading,
    network: Histogram,
    jitter_buffer: Histogram,
}

impl Gauges {
    pub fn new(broadcast: &BroadcastId, source: &SourceName, codec: Codec) -> Self {
        let labels = [
            ("broadcast", broadcast.as_str().to_owned()),
            ("track", if codec.is_video() { "video" } else { "audio" }.into()),
        ];
        let [of_broadcast, of_source] = reading::labels(broadcast, source);
        let of_source = [of_broadcast, of_source, labels[1].clone()];
        let stage = |stage: &'static str| histogram!("lectern_latency_seconds", "broadcast" => broadcast.as_str().to_owned(), "stage" => stage);
        Gauges {
            network: stage("network"),
            jitter_buffer: stage("jitter_buffer"),
            packets: counter!("lectern_ingest_packets_total", &labels),
            lost: counter!("lectern_ingest_packets_lost_total", &labels),
            repaired: counter!("lectern_ingest_packets_repaired_total", &labels),
            useless: counter!("lectern_ingest_packets_useless_total", &labels),
            nacked: counter!("lectern_ingest_packets_nacked_total", &labels),
            keyframes_asked: counter!("lectern_ingest_keyframe_requests_total", &labels),
            frames: counter!("lectern_ingest_frames_total", &labels),
            dropped: counter!("lectern_ingest_frames_dropped_total", &labels),
            jitter: Reading::of(gauge!("lectern_ingest_jitter_seconds", &of_source)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_has_come_with_its_last_packet() {
        let (t, mut arrivals) = (Instant::now(), Arrivals::default());
        let ms = |n: u32| t + Duration::from_millis(n.into());
        for (timestamp, at) in [(3_000, 0), (3_000, 2), (6_000, 33), (3_000, 40)] {
            arrivals.note(timestamp, ms(at));
        }
        assert_eq!(arrivals.of(3_000), Some(ms(40)), "its repair");
        assert_eq!(arrivals.of(6_000), Some(ms(33)));
        (0..16).for_each(|n| arrivals.note(9_000 + n, ms(50)));
        assert_eq!(arrivals.of(3_000), None);
    }
}
