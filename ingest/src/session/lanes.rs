//! The lanes of a publisher: one for each section of its offer.

use std::time::{Duration, Instant};

use timeline::SourceName;

use super::flow::Flow;
use super::lane::{Lane, Shown};
use crate::peer::Feedback;
use crate::rtp::Repair;
use crate::sdp::Media;
use crate::sessions::Place;

pub(super) struct Lanes {
    lanes: Vec<Lane>,
    /// The order in which they take their turn. A picture opens the line; sound that comes with the first one is not to
    /// be too early for it.
    pictures_first: Vec<usize>,
}

impl Lanes {
    /// The first picture of a publisher is its source's; the second is its screen.
    pub fn of(place: &Place, sections: &[Media], repair: Repair) -> Self {
        let mut pictures = 0;
        let lane = |media: &Media| {
            pictures += usize::from(media.codec.is_video());
            let source = match media.codec.is_video() && pictures > 1 {
                true => place.source.screen(),
                false => place.source.clone(),
            };
            Lane::new(&place.broadcast, source, media.may_be_layered(), repair)
        };
        let lanes = sections.iter().map(lane).collect();
        let mut pictures_first: Vec<usize> = (0..sections.len()).collect();
        pictures_first.sort_by_key(|n| !sections[*n].codec.is_video());
        Lanes {
            lanes,
            pictures_first,
        }
    }

    /// Whose each is.
    pub fn sources(&self) -> Vec<SourceName> {
        self.lanes.iter().map(|lane| lane.source.clone()).collect()
    }

    pub fn of_section(&mut self, section: usize) -> &mut Lane {
        &mut self.lanes[section]
    }

    pub fn flow(&self, ssrc: u32) -> Option<&Flow> {
        self.lanes.iter().find_map(|lane| lane.of(ssrc))
    }

    /// The pictures and sound to be sent now, and which lane's each is; those of a lane in order.
    pub fn pictures(&mut self, now: Instant) -> Vec<(usize, Shown)> {
        let mut pictures = Vec::new();
        for n in &self.pictures_first {
            pictures.extend(self.lanes[*n].pictures(now).into_iter().map(|shown| (*n, shown)));
        }
        pictures
    }

    pub fn shown_flow(&self, lane: usize, flow: usize) -> &Flow {
        &self.lanes[lane].flows[flow]
    }

    pub fn want_keyframe(&mut self) {
        self.lanes.iter_mut().for_each(Lane::want_keyframe);
    }

    /// Whether a repair is waited for.
    pub fn are_waiting(&self) -> bool {
        let mut flows = self.lanes.iter().flat_map(|lane| &lane.flows);
        flows.any(|flow| flow.intake.is_waiting())
    }

    /// What is to be asked of the publisher now.
    pub fn feedback(&mut self, now: Instant, rtt: Duration) -> Vec<Feedback> {
        let mut feedback = Vec::new();
        for n in &self.pictures_first {
            let flows = self.lanes[*n].flows.iter_mut();
            feedback.extend(flows.flat_map(|flow| flow.feedback(now, rtt)));
        }
        feedback
    }

    /// Adds what happened since the last time to the metrics.
    pub fn measure(&mut self) {
        let flows = self.lanes.iter_mut().flat_map(|lane| &mut lane.flows);
        flows.for_each(Flow::measure);
    }
}
