//! When what a publisher sends was captured: by its packets as they come, and by its sender reports.

mod early;

use std::time::{Instant, SystemTime};

use timeline::{BroadcastId, Span, WallTime};

use super::flow::Flow;
use super::reading::{Reading, labels};
use crate::capture::{BadReport, CaptureClock, SenderReport, TrackIndex};
use crate::peer::Report;
use crate::sessions::Place;

use early::EarlyReports;

pub(super) struct Clock {
    broadcast: BroadcastId,
    capture: CaptureClock,
    /// They often come before the first packet of their stream.
    early: EarlyReports,
    /// The server's clock less the publisher's, in seconds.
    offset: Reading,
}

impl Clock {
    pub fn of(place: &Place) -> Self {
        let labels = labels(&place.broadcast, &place.source);
        Clock {
            broadcast: place.broadcast.clone(),
            capture: CaptureClock::new(),
            early: EarlyReports::default(),
            offset: Reading::of(metrics::gauge!("lectern_ingest_sender_offset_seconds", &labels)),
        }
    }

    /// A stream begins, perhaps in the place of another. `rate`: ticks of RTP time in a second.
    pub fn begin(&mut self, rate: u32, replaced: Option<TrackIndex>) -> TrackIndex {
        match replaced {
            Some(track) => {
                self.capture.restart(track, rate);
                track
            }
            None => self.capture.add_track(rate),
        }
    }

    /// A packet of the stream came. If it is the first one, a report may have come before it.
    pub fn packet(&mut self, flow: &Flow, timestamp: u32, arrival: Instant, rtt: Span) {
        self.capture.arrived(flow.clock, timestamp, wall(arrival), rtt);
        if let Some(report) = self.early.take(flow.ssrc) {
            self.believe(report, flow, rtt);
        }
    }

    /// A report came: of this stream, if it has begun.
    pub fn report(&mut self, report: Report, flow: Option<&Flow>, rtt: Span) {
        match flow {
            Some(flow) => self.believe(report, flow, rtt),
            None => self.early.keep(report),
        }
    }

    /// When a picture or sound of the stream was captured, on the server's clock.
    pub fn captured(&mut self, flow: &Flow, timestamp: u32) -> WallTime {
        self.capture.capture(flow.clock, timestamp)
    }

    fn believe(&mut self, report: Report, flow: &Flow, rtt: Span) {
        let Report {
            ntp, rtp, arrival, ..
        } = report;
        let arrival = wall(arrival);
        match self
            .capture
            .report(flow.clock, SenderReport { ntp, rtp, arrival }, rtt)
        {
            Ok(()) => {
                if let Some(offset) = self.capture.offset() {
                    self.offset.set(offset.as_secs_f64());
                }
            }
            Err(BadReport::Early) => {}
            Err(bad) => {
                tracing::debug!(track = flow.codec.name(), ?bad, ntp, rtp, "sender report refused");
                metrics::counter!("lectern_ingest_reports_refused_total", "broadcast" => self.broadcast.to_string())
                    .increment(1);
            }
        }
    }
}

/// The server's clock at an instant.
pub(super) fn wall(at: Instant) -> WallTime {
    WallTime::from(SystemTime::now()) - Span::from(Instant::now().saturating_duration_since(at))
}
