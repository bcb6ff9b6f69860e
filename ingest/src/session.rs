//! One publisher, from the 201 to the end: packets in, records out. It waits for nobody downstream.
//!
//! ```text
//! routes    whose packet is this?                    opening    the way to the line, up to its first picture
//! lanes     streams → the pictures that are sent     tracks     pictures → records of the feed
//! clock     when were they captured?                 liveness   is the publisher still there?
//! ```

mod clock;
mod flow;
mod lane;
mod lanes;
mod layers;
mod liveness;
mod opening;
mod reading;
mod routes;
mod tracks;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use timeline::Span;

use crate::peer::{Event, Inbox, Label};
use crate::rtp::Packet;
use crate::sdp::{Format, Media};
use crate::sessions::{Handle, Sessions};
use crate::turn::Introduction;
use crate::{Config, Left, Publication};

use clock::{Clock, wall};
use lane::{Arriving, Shown};
use lanes::Lanes;
use liveness::Liveness;
use opening::Opening;
use reading::{Reading, labels};
use routes::Routes;
use tracks::Tracks;

/// The feed is told that the publisher is heard four times a second at least.
const TICK: Duration = Duration::from_millis(200);
/// How often a gap is looked at: a twelfth of the time a repair is given.
const REPAIR_TICK: Duration = Duration::from_millis(10);
/// Events taken in one turn: frames leave in between.
const TURN: usize = 256;

pub(crate) struct Session {
    handle: Arc<Handle>,
    sessions: Arc<Sessions>,
    publication: Arc<dyn Publication>,
    inbox: Inbox,
    routes: Routes,
    lanes: Lanes,
    clock: Clock,
    opening: Opening,
    tracks: Tracks,
    liveness: Liveness,
    /// In seconds.
    rtt: Reading,
    /// If nothing else is said: the task was cut off.
    left: Left,
}

impl Session {
    pub fn new(
        config: &Config,
        handle: Arc<Handle>,
        sessions: Arc<Sessions>,
        publication: Arc<dyn Publication>,
        inbox: Inbox,
        (media, formats): (Vec<Media>, HashMap<u8, Format>),
    ) -> Self {
        let place = &handle.place;
        let expects_video = media.iter().any(|media| media.codec.is_video());
        let lanes = Lanes::of(place, &media, config.repair());
        let feed = publication.feed().clone();
        let of_place = labels(&place.broadcast, &place.source);
        Session {
            routes: Routes::new(media, formats),
            clock: Clock::of(place),
            opening: Opening::new(place, publication.clone(), expects_video),
            tracks: Tracks::new(feed, lanes.sources(), inbox.vitals.heard()),
            liveness: Liveness::new(config.silence()),
            rtt: Reading::of(metrics::gauge!("lectern_ingest_rtt_seconds", &of_place)),
            lanes,
            handle,
            sessions,
            publication,
            inbox,
            left: Left::Lost,
        }
    }

    /// What streams said of themselves before it was their turn.
    pub fn introduced(mut self, introductions: Vec<Introduction>) -> Self {
        for (packet, label) in introductions {
            self.routes.route(packet, Some(&label));
        }
        self
    }

    pub async fn run(mut self) {
        tracing::info!("publishing");
        self.left = self.attend().await;
        self.handle.peer.close().await;
    }

    async fn attend(&mut self) -> Left {
        let (handle, publication) = (self.handle.clone(), self.publication.clone());
        let asked = handle.asked();
        tokio::pin!(asked);
        let mut keyframes = publication.feed().keyframe_requests();
        let mut tick = Instant::now() + TICK;
        loop {
            let wake = match self.lanes.are_waiting() {
                true => tick.min(Instant::now() + REPAIR_TICK),
                false => tick,
            };
            tokio::select! {
                how = &mut asked => return how,
                event = self.inbox.events.recv() => match event {
                    Some(event) => self.take(event),
                    None => return Left::Lost,
                },
                () = keyframes.next() => self.lanes.want_keyframe(),
                () = tokio::time::sleep_until(wake.into()) => {}
            }
            for _ in 1..TURN {
                let Ok(event) = self.inbox.events.try_recv() else {
                    break;
                };
                self.take(event);
            }
            let now = Instant::now();
            self.turn(now);
            if now >= tick {
                tick = now + TICK;
                if let Some(how) = self.tick(now) {
                    return how;
                }
            }
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Packet {
                packet,
                label,
                arrival,
            } => self.packet(packet, label.as_deref(), arrival),
            Event::Report(report) => {
                let (flow, rtt) = (self.lanes.flow(report.ssrc), self.handle.peer.rtt());
                self.clock.report(report, flow, Span::from(rtt));
            }
            Event::Connected => {
                self.liveness.connected();
                self.opening.connected();
                tracing::info!("connected");
            }
            Event::Gone => {
                self.liveness.gone(Instant::now());
                tracing::info!("the connection is gone");
            }
        }
    }

    fn packet(&mut self, packet: Packet, label: Option<&Label>, arrival: Instant) {
        let Some(routed) = self.routes.route(packet, label) else {
            return self.count("lectern_ingest_packets_unassigned_total", 1);
        };
        self.opening.packet(arrival);
        let (section, packet) = (routed.place.section, routed.packet);
        let timestamp = packet.timestamp;
        let arriving = Arriving {
            codec: routed.codec,
            ssrc: packet.ssrc,
            rid: routed.place.rid,
        };
        let lane = self.lanes.of_section(section);
        let Ok(flow) = lane.flow(arriving, &mut self.clock, arrival) else {
            return;
        };
        flow.push(packet, arrival);
        let rtt = Span::from(self.handle.peer.rtt());
        self.clock.packet(flow, timestamp, arrival, rtt);
        if lane.take_replaced() {
            self.tracks.end(section);
        }
    }

    /// Frames that are complete leave; what is missing is asked for.
    fn turn(&mut self, now: Instant) {
        for (lane, shown) in self.lanes.pictures(now) {
            self.publish(lane, shown, now);
        }
        let peer = &self.handle.peer;
        for feedback in self.lanes.feedback(now, peer.rtt()) {
            peer.send(feedback);
        }
    }

    fn publish(&mut self, lane: usize, (flow, picture): Shown, now: Instant) {
        let flow = self.lanes.shown_flow(lane, flow);
        let captured = self.clock.captured(flow, picture.timestamp);
        let is_video = flow.codec.is_video();
        let Some(line) = self.opening.open(is_video, captured, now) else {
            return;
        };
        if is_video && let Some(arrived) = flow.arrived(picture.timestamp) {
            flow.left(wall(arrived) - captured, now.saturating_duration_since(arrived));
        }
        self.tracks.send(lane, flow.codec, line.at(captured), picture);
    }

    /// Looks after the publisher, and says how it left if it has.
    fn tick(&mut self, now: Instant) -> Option<Left> {
        let heard = self.inbox.vitals.heard();
        if let Some(line) = self.opening.line() {
            self.tracks.heard(heard, line);
        }
        self.measure();
        if self.opening.is_too_late() {
            return Some(Left::Closed);
        }
        if self.liveness.is_silent(now, heard) {
            let ever_heard = self.inbox.vitals.has_been_heard();
            tracing::info!(ever_heard, "silent for too long");
            return Some(Left::Lost);
        }
        self.liveness.is_gone(now, heard).then_some(Left::Lost)
    }

    fn measure(&mut self) {
        let vitals = &self.inbox.vitals;
        self.rtt.set(vitals.rtt().as_secs_f64());
        let overflow = vitals.overflow();
        if overflow > 0 {
            tracing::warn!(overflow, "packets lost inside: this machine is too busy");
            self.count("lectern_ingest_packets_overflow_total", overflow);
        }
        self.lanes.measure();
    }

    fn count(&self, name: &'static str, by: u64) {
        metrics::counter!(name, "broadcast" => self.handle.place.broadcast.to_string()).increment(by);
    }
}

/// However it ends, the tracks end, the publication hears of it once, and the place is free.
impl Drop for Session {
    fn drop(&mut self) {
        self.lanes.measure();
        self.tracks.end_all();
        tracing::info!(how = self.left.name(), "no longer publishing");
        self.publication.left(self.left);
        self.sessions.bury(&self.handle);
    }
}
