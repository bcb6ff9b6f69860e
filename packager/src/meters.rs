//! What is measured of a broadcast.

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use timeline::BroadcastId;

use crate::origin::Resource;

#[derive(Clone)]
pub struct Meters {
    pub parts: Counter,
    /// Parts that stand for missing media.
    pub gap_parts: Counter,
    pub segments: Counter,
    /// Stills that the storyboard names.
    pub stills: Counter,
    pub playlist_versions: Counter,
    /// Frames without a place: late, repeated, or in a hole.
    pub dropped_frames: Counter,
    /// From the capture of a part's end, on the wall, to the moment it is visible.
    pub part_lateness: Histogram,
    /// Stages of docs/latency.md. From the first picture of a part to the last frame that it lacked, in any rendition.
    pub part: Histogram,
    /// From there to the moment it is visible.
    pub publish: Histogram,
    /// From the capture of its first picture to that moment: all stages so far.
    pub server: Histogram,
    /// From the opening of the line to a playlist with a whole segment.
    pub listed: Gauge,
    pub blocked_requests: Gauge,
    pub archive_queue: Gauge,
    pub archive_retries: Counter,
    pub archive_lost: Counter,
}

impl Meters {
    pub fn of(broadcast: &BroadcastId) -> Meters {
        let id = || broadcast.to_string();
        let stage = |stage: &'static str| histogram!("lectern_latency_seconds", "broadcast" => id(), "stage" => stage);
        Meters {
            parts: counter!("lectern_packager_parts_total", "broadcast" => id()),
            gap_parts: counter!("lectern_packager_gap_parts_total", "broadcast" => id()),
            segments: counter!("lectern_packager_segments_total", "broadcast" => id()),
            stills: counter!("lectern_packager_stills_total", "broadcast" => id()),
            playlist_versions: counter!("lectern_packager_playlist_versions_total", "broadcast" => id()),
            dropped_frames: counter!("lectern_packager_dropped_frames_total", "broadcast" => id()),
            part_lateness: histogram!("lectern_packager_part_lateness_seconds", "broadcast" => id()),
            part: stage("part"),
            publish: stage("publish"),
            server: stage("server"),
            listed: gauge!("lectern_start_seconds", "broadcast" => id(), "stage" => "listed"),
            blocked_requests: gauge!("lectern_packager_blocked_requests", "broadcast" => id()),
            archive_queue: gauge!("lectern_packager_archive_queue_segments", "broadcast" => id()),
            archive_retries: counter!("lectern_packager_archive_retries_total", "broadcast" => id()),
            archive_lost: counter!("lectern_packager_archive_lost_segments_total", "broadcast" => id()),
        }
    }
}

/// What is served, of every broadcast: a handle each, as looking one up costs more than counting.
pub struct Served {
    bytes: Counter,
    /// By kind of resource.
    requests: [Counter; KINDS.len()],
}

const KINDS: [&str; 9] = [
    "multivariant",
    "playlist",
    "iframes",
    "init",
    "segment",
    "part",
    "storyboard",
    "recording",
    "file",
];

/// All bodies of all broadcasts, those that are streamed among them.
pub fn served_bytes() -> Counter {
    counter!("lectern_packager_served_bytes_total")
}

impl Default for Served {
    fn default() -> Served {
        Served {
            bytes: served_bytes(),
            requests: KINDS.map(|kind| counter!("lectern_packager_requests_total", "kind" => kind)),
        }
    }
}

impl Served {
    /// An answer to a request for `resource`, whatever its status, with a body of so many bytes.
    pub fn count(&self, resource: &Resource<'_>, bytes: u64) {
        self.bytes.increment(bytes);
        let kind = match resource {
            Resource::Multivariant | Resource::AudioOnly => 0,
            Resource::Playlist(_) => 1,
            Resource::IFrames(_) => 2,
            Resource::Init(..) => 3,
            Resource::Segment(..) => 4,
            Resource::Part(..) => 5,
            Resource::Storyboard | Resource::Still(_) => 6,
            Resource::Recording => 7,
            Resource::Text(..) | Resource::File => 8,
        };
        self.requests[kind].increment(1);
    }
}
