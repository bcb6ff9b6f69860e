//! What is measured of a broadcast.

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use timeline::BroadcastId;

#[derive(Clone)]
pub struct Meters {
    pub parts: Counter,
    /// Parts that stand for missing media.
    pub gap_parts: Counter,
    pub segments: Counter,
    pub playlist_versions: Counter,
    /// Frames without a place: late, repeated, or in a hole.
    pub dropped_frames: Counter,
    /// From the capture of a part's end, on the wall, to the moment it is visible.
    pub part_lateness: Histogram,
    pub blocked_requests: Gauge,
    pub archive_queue: Gauge,
    pub archive_retries: Counter,
    pub archive_lost: Counter,
}

impl Meters {
    pub fn of(broadcast: &BroadcastId) -> Meters {
        let id = || broadcast.to_string();
        Meters {
            parts: counter!("lectern_packager_parts_total", "broadcast" => id()),
            gap_parts: counter!("lectern_packager_gap_parts_total", "broadcast" => id()),
            segments: counter!("lectern_packager_segments_total", "broadcast" => id()),
            playlist_versions: counter!("lectern_packager_playlist_versions_total", "broadcast" => id()),
            dropped_frames: counter!("lectern_packager_dropped_frames_total", "broadcast" => id()),
            part_lateness: histogram!("lectern_packager_part_lateness_seconds", "broadcast" => id()),
            blocked_requests: gauge!("lectern_packager_blocked_requests", "broadcast" => id()),
            archive_queue: gauge!("lectern_packager_archive_queue_segments", "broadcast" => id()),
            archive_retries: counter!("lectern_packager_archive_retries_total", "broadcast" => id()),
            archive_lost: counter!("lectern_packager_archive_lost_segments_total", "broadcast" => id()),
        }
    }
}

/// Bytes of all bodies, of every broadcast.
pub fn served(bytes: u64) {
    counter!("lectern_packager_served_bytes_total").increment(bytes);
}
