//! One publisher, from the 201 to the end: packets in, records out. It waits for nobody downstream.

mod early;
mod flow;
mod lane;
mod layers;
mod reading;
mod routes;
mod start;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime};

use timeline::feed::Record;
use timeline::{BroadcastId, Frame, MediaTime, SourceName, Span, Timeline, Track, TrackId, WallTime};

use crate::capture::{BadReport, CaptureClock, SenderReport};
use crate::peer::{Event, Feedback, Inbox, Label, Report};
use crate::rtp::{Packet, Picture, Repair};
use crate::sdp::{Format, Media};
use crate::sessions::{Handle, Place, Sessions};
use crate::turn::Introduction;
use crate::{Config, Left, Publication};

use early::EarlyReports;
use lane::{Arriving, Lane};
use reading::Path;
use routes::Routes;
use start::Start;

/// The feed is told that the publisher is heard four times a second at least.
const TICK: Duration = Duration::from_millis(200);
/// How often a gap is looked at: a twelfth of the time a repair is given.
const REPAIR_TICK: Duration = Duration::from_millis(10);
/// The line opens without a picture when none came for so long: sound need not wait for a camera.
const PICTURE_GRACE: Duration = Duration::from_secs(2);
/// Between the end of a connection and its DELETE.
const FAREWELL: Duration = Duration::from_secs(2);
/// Events taken in one turn: frames leave in between.
const TURN: usize = 256;

/// Names tracks of every session of the process, so that none is ever reused within a feed.
static TRACKS: AtomicU32 = AtomicU32::new(1);

pub(crate) struct Session {
    handle: Arc<Handle>,
    sessions: Arc<Sessions>,
    publication: Arc<dyn Publication>,
    inbox: Inbox,
    routes: Routes,
    /// The sections in the order in which they take their turn.
    pictures_first: Vec<usize>,
    expects_video: bool,
    repair: Repair,
    silence: Duration,
    /// One for each section of the offer.
    lanes: Vec<Lane>,
    /// They often come before the first packet of their stream.
    early: EarlyReports,
    clock: CaptureClock,
    timeline: Option<Timeline>,
    /// The broadcast ended before its first picture.
    too_late: bool,
    path: Path,
    /// What the time from the POST to the first picture went on.
    start: Start,
    first_packet: Option<Instant>,
    /// When the publisher closed its connection.
    gone: Option<Instant>,
    /// How far the feed knows it was heard.
    told_heard: Instant,
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
        let routes = Routes::new(media, formats);
        let expects_video = routes.sections().iter().any(|media| media.codec.is_video());
        let told_heard = inbox.vitals.heard();
        let Place { broadcast, source } = &handle.place;
        let lanes = lanes(broadcast, routes.sections(), source);
        let (path, start) = (Path::of(broadcast, source), Start::of(broadcast, source));
        Session {
            lanes,
            path,
            handle,
            sessions,
            publication,
            inbox,
            pictures_first: pictures_first(routes.sections()),
            routes,
            expects_video,
            repair: config.repair(),
            silence: config.silence(),
            early: EarlyReports::default(),
            clock: CaptureClock::new(),
            timeline: None,
            too_late: false,
            start,
            first_packet: None,
            gone: None,
            told_heard,
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
            let mut flows = self.lanes.iter().flat_map(|lane| &lane.flows);
            let wake = if flows.any(|flow| flow.intake.is_waiting()) {
                tick.min(Instant::now() + REPAIR_TICK)
            } else {
                tick
            };
            tokio::select! {
                how = &mut asked => return how,
                event = self.inbox.events.recv() => match event {
                    Some(event) => self.take(event),
                    None => return Left::Lost,
                },
                () = keyframes.next() => self.want_keyframe(),
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
            Event::Report(report) => self.report(report),
            Event::Connected => {
                self.gone = None;
                self.start.reached("connected");
                tracing::info!("connected");
            }
            Event::Gone => {
                self.gone.get_or_insert_with(Instant::now);
                tracing::info!("the connection is gone");
            }
        }
    }

    fn packet(&mut self, packet: Packet, label: Option<&Label>, arrival: Instant) {
        let Some(routed) = self.routes.route(packet, label) else {
            metrics::counter!("lectern_ingest_packets_unassigned_total", "broadcast" => self.name())
                .increment(1);
            return;
        };
        if self.first_packet.is_none() {
            self.first_packet = Some(arrival);
            self.start.reached("packet");
        }
        let (section, packet) = (routed.place.section, routed.packet);
        let (ssrc, timestamp) = (packet.ssrc, packet.timestamp);
        let media = &self.routes.sections()[section];
        let arriving = Arriving {
            broadcast: &self.handle.place.broadcast,
            codec: routed.codec,
            ssrc,
            rid: routed.place.rid,
            layered: media.rids.len() > 1 || media.ssrcs.len() > 1,
            repair: self.repair,
        };
        let is_new = self.lanes[section].of(ssrc).is_none();
        let Ok(flow) = self.lanes[section].flow(arriving, &mut self.clock, arrival) else {
            return;
        };
        flow.push(packet, arrival);
        let clock = flow.clock;
        let rtt = Span::from(self.handle.peer.rtt());
        self.clock.arrived(clock, timestamp, wall(arrival), rtt);
        if is_new {
            self.report_early(ssrc);
        }
        if self.lanes[section].take_replaced() {
            self.end_track(section);
        }
    }

    /// The clock keeps it until the first packet, which is at hand.
    fn report_early(&mut self, ssrc: u32) {
        if let Some(report) = self.early.take(ssrc) {
            self.report(report);
        }
    }

    fn report(&mut self, report: Report) {
        let Some(flow) = self.lanes.iter().find_map(|lane| lane.of(report.ssrc)) else {
            return self.early.keep(report);
        };
        let rtt = Span::from(self.handle.peer.rtt());
        let arrival = wall(report.arrival);
        let verdict = self.clock.report(
            flow.clock,
            SenderReport {
                ntp: report.ntp,
                rtp: report.rtp,
                arrival,
            },
            rtt,
        );
        match verdict {
            Ok(()) => {
                if let Some(offset) = self.clock.offset() {
                    self.path.sender_offset.set(offset.as_secs_f64());
                }
            }
            Err(BadReport::Early) => {}
            Err(bad) => {
                tracing::debug!(
                    track = flow.codec.name(),
                    ?bad,
                    ntp = report.ntp,
                    rtp = report.rtp,
                    "sender report refused"
                );
                metrics::counter!("lectern_ingest_reports_refused_total", "broadcast" => self.name())
                    .increment(1);
            }
        }
    }

    fn want_keyframe(&mut self) {
        self.lanes.iter_mut().for_each(Lane::want_keyframe);
    }

    /// Frames that are complete leave; what is missing is asked for.
    fn turn(&mut self, now: Instant) {
        for k in 0..self.pictures_first.len() {
            let n = self.pictures_first[k];
            for (flow, picture) in self.lanes[n].pictures(now) {
                self.publish(n, flow, picture, now);
            }
            let (peer, rtt) = (&self.handle.peer, self.handle.peer.rtt());
            for flow in &mut self.lanes[n].flows {
                let (ssrc, sequences) = (flow.ssrc, flow.intake.nacks(now, rtt));
                if !sequences.is_empty() {
                    peer.send(Feedback::Nack { ssrc, sequences });
                }
                if flow.intake.keyframe_due(now) {
                    peer.send(Feedback::Keyframe { ssrc });
                }
            }
        }
    }

    fn publish(&mut self, n: usize, flow: usize, picture: Picture, now: Instant) {
        let (clock, codec) = (self.lanes[n].flows[flow].clock, self.lanes[n].flows[flow].codec);
        let captured = self.clock.capture(clock, picture.timestamp);
        let Some(timeline) = self.timeline(codec.is_video(), captured, now) else {
            return;
        };
        let flow = &self.lanes[n].flows[flow];
        if codec.is_video()
            && let Some(arrived) = flow.arrived(picture.timestamp)
        {
            flow.left(wall(arrived) - captured, now.saturating_duration_since(arrived));
        }
        let feed = self.publication.feed();
        let lane = &mut self.lanes[n];
        let track = *lane.track.get_or_insert_with(|| {
            let id = TrackId(TRACKS.fetch_add(1, Ordering::Relaxed));
            feed.send(Record::Track(Track {
                id,
                codec,
                source: lane.source.clone(),
            }));
            id
        });
        let (at, keyframe, payload) = (timeline.at(captured), picture.keyframe, picture.payload);
        feed.send(Record::Frame(Frame {
            track,
            at,
            keyframe,
            payload,
        }));
    }

    /// The line, opened by the first picture, or by sound that came without one for long enough.
    fn timeline(&mut self, is_picture: bool, captured: WallTime, now: Instant) -> Option<Timeline> {
        let without_picture = |first: Instant| now.saturating_duration_since(first) >= PICTURE_GRACE;
        if self.timeline.is_none()
            && (is_picture || !self.expects_video || self.first_packet.is_some_and(without_picture))
        {
            self.timeline = self.publication.open(captured);
            match self.timeline {
                Some(_) => self.start.reached("picture"),
                None => self.too_late = true,
            }
        }
        self.timeline
    }

    /// Whether the publisher is still there.
    fn tick(&mut self, now: Instant) -> Option<Left> {
        let vitals = &self.inbox.vitals;
        let heard = vitals.heard();
        if let Some(timeline) = self.timeline
            && heard > self.told_heard
        {
            self.told_heard = heard;
            self.tell_heard(timeline.at(wall(heard)));
        }
        let overflow = vitals.overflow();
        if overflow > 0 {
            tracing::warn!(overflow, "packets lost inside: this machine is too busy");
            metrics::counter!("lectern_ingest_packets_overflow_total", "broadcast" => self.name())
                .increment(overflow);
        }
        self.path.rtt.set(vitals.rtt().as_secs_f64());
        for flow in self.lanes.iter_mut().flat_map(|lane| &mut lane.flows) {
            flow.measure();
        }
        self.is_over(now, heard)
    }

    /// Whatever comes, all that the session sends is alive: a still screen sends no pictures, and a muted one no sound.
    fn tell_heard(&self, at: MediaTime) {
        let of = |lane: &Lane| lane.source.clone();
        for source in self.lanes.iter().map(of).collect::<BTreeSet<_>>() {
            self.publication.feed().send(Record::Heard { source, at });
        }
    }

    fn is_over(&mut self, now: Instant, heard: Instant) -> Option<Left> {
        if self.too_late {
            return Some(Left::Closed);
        }
        if now.saturating_duration_since(heard) >= self.silence {
            tracing::info!(
                ever_heard = self.inbox.vitals.has_been_heard(),
                "silent for too long"
            );
            return Some(Left::Lost);
        }
        let gone = self.gone?;
        // ICE may think so while media still flows.
        if heard > gone + TICK {
            self.gone = None;
            return None;
        }
        (now.saturating_duration_since(gone) >= FAREWELL).then_some(Left::Lost)
    }

    fn end_track(&mut self, n: usize) {
        self.lanes[n].flows.iter_mut().for_each(|flow| flow.measure());
        if let Some(id) = self.lanes[n].track.take() {
            self.publication.feed().send(Record::TrackEnded(id));
        }
    }

    fn name(&self) -> String {
        self.handle.place.broadcast.as_str().to_owned()
    }
}

/// However it ends, the tracks end, the publication hears of it once, and the place is free.
impl Drop for Session {
    fn drop(&mut self) {
        (0..self.lanes.len()).for_each(|n| self.end_track(n));
        tracing::info!(how = self.left.name(), "no longer publishing");
        self.publication.left(self.left);
        self.sessions.bury(&self.handle);
    }
}

/// The first picture of a publisher is its source's; the second is its screen.
fn lanes(broadcast: &BroadcastId, sections: &[Media], source: &SourceName) -> Vec<Lane> {
    let mut pictures = 0;
    let lane = |media: &Media| {
        pictures += usize::from(media.codec.is_video());
        let source = match media.codec.is_video() && pictures > 1 {
            true => source.screen(),
            false => source.clone(),
        };
        Lane::new(broadcast, source)
    };
    sections.iter().map(lane).collect()
}

/// A picture opens the line; sound that comes with the first one is not to be too early for it.
fn pictures_first(sections: &[Media]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..sections.len()).collect();
    order.sort_by_key(|n| !sections[*n].codec.is_video());
    order
}

/// The server's clock at an instant.
fn wall(at: Instant) -> WallTime {
    WallTime::from(SystemTime::now()) - Span::from(Instant::now().saturating_duration_since(at))
}
