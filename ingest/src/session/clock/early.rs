use crate::peer::Report;

/// A publisher has two streams; a repair stream beside each may report, too.
const SSRCS: usize = 4;

/// Sender reports of streams that have sent no packet yet: the newest of each.
#[derive(Default)]
pub(super) struct EarlyReports(Vec<Report>);

impl EarlyReports {
    /// The SSRC that was heard of longest ago makes room.
    pub fn keep(&mut self, report: Report) {
        self.take(report.ssrc);
        if self.0.len() >= SSRCS {
            self.0.remove(0);
        }
        self.0.push(report);
    }

    /// The stream begins.
    pub fn take(&mut self, ssrc: u32) -> Option<Report> {
        let place = self.0.iter().position(|report| report.ssrc == ssrc)?;
        Some(self.0.remove(place))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    fn report(ssrc: u32, rtp: u32) -> Report {
        Report {
            ssrc,
            ntp: 1,
            rtp,
            arrival: Instant::now(),
        }
    }

    #[test]
    fn the_newest_report_of_each_stream_is_kept_once() {
        let mut early = EarlyReports::default();
        for (ssrc, rtp) in [(1, 10), (2, 20), (1, 11)] {
            early.keep(report(ssrc, rtp));
        }
        assert_eq!(early.take(1).map(|r| r.rtp), Some(11));
        assert_eq!(early.take(1), None);
        assert_eq!(early.take(2).map(|r| r.rtp), Some(20));
    }

    #[test]
    fn of_many_streams_those_heard_of_last_are_kept() {
        let mut early = EarlyReports::default();
        (0..100).for_each(|ssrc| early.keep(report(ssrc, 0)));
        assert_eq!(early.0.len(), SSRCS);
        assert!(early.take(0).is_none() && early.take(99).is_some());
    }
}
