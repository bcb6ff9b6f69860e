use std::time::{Duration, Instant};

use metrics::{Counter, Gauge, counter, gauge};
use timeline::{BroadcastId, Codec, TrackId};

use crate::capture::TrackIndex;
use crate::rtp::{Intake, Jitter, Packet};

/// One RTP stream on its way to a track.
pub(super) struct Flow {
    pub ssrc: u32,
    pub codec: Codec,
    pub clock: TrackIndex,
    pub intake: Intake,
    /// Once its first frame was sent.
    pub track: Option<TrackId>,
    jitter: Jitter,
    heard: Instant,
    gauges: Gauges,
}

/// RTP clock rates: RFC 6184 §5.1, RFC 7741 §4.1, RFC 7587 §4.1.
pub(super) const fn rate(codec: Codec) -> u32 {
    if codec.is_video() { 90_000 } else { 48_000 }
}

impl Flow {
    pub fn new(
        broadcast: &BroadcastId,
        codec: Codec,
        ssrc: u32,
        clock: TrackIndex,
        repair: Duration,
        now: Instant,
    ) -> Self {
        let (intake, jitter) = (Intake::new(codec, repair), Jitter::new(rate(codec)));
        Flow {
            ssrc,
            codec,
            clock,
            intake,
            track: None,
            jitter,
            heard: now,
            gauges: Gauges::new(broadcast, codec),
        }
    }

    pub fn push(&mut self, packet: Packet, now: Instant) {
        self.heard = now;
        self.jitter.arrived(packet.timestamp, now);
        self.intake.push(packet, now);
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

struct Gauges {
    packets: Counter,
    lost: Counter,
    repaired: Counter,
    useless: Counter,
    nacked: Counter,
    keyframes_asked: Counter,
    frames: Counter,
    dropped: Counter,
    jitter: Gauge,
}

impl Gauges {
    fn new(broadcast: &BroadcastId, codec: Codec) -> Self {
        let labels = [
            ("broadcast", broadcast.as_str().to_owned()),
            ("track", if codec.is_video() { "video" } else { "audio" }.into()),
        ];
        Gauges {
            packets: counter!("lectern_ingest_packets_total", &labels),
            lost: counter!("lectern_ingest_packets_lost_total", &labels),
            repaired: counter!("lectern_ingest_packets_repaired_total", &labels),
            useless: counter!("lectern_ingest_packets_useless_total", &labels),
            nacked: counter!("lectern_ingest_packets_nacked_total", &labels),
            keyframes_asked: counter!("lectern_ingest_keyframe_requests_total", &labels),
            frames: counter!("lectern_ingest_frames_total", &labels),
            dropped: counter!("lectern_ingest_frames_dropped_total", &labels),
            jitter: gauge!("lectern_ingest_jitter_seconds", &labels),
        }
    }
}
