//! One publisher, from the 201 to the end: packets in, records out. It waits for nobody downstream.

mod early;
mod flow;
mod start;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime};

use timeline::feed::Record;
use timeline::{Codec, Frame, SourceName, Span, Timeline, Track, TrackId, WallTime};

use crate::capture::{BadReport, CaptureClock, SenderReport};
use crate::peer::{Event, Feedback, Inbox, Report};
use crate::rtp::{Packet, Picture};
use crate::sessions::{Handle, Sessions};
use crate::{Config, Left, Publication};

use early::EarlyReports;
use flow::Flow;
use start::Start;

/// The feed is told that the publisher is heard four times a second at least.
const TICK: Duration = Duration::from_millis(200);
/// How often a gap is looked at: a twelfth of the time a repair is given.
const REPAIR_TICK: Duration = Duration::from_millis(10);
/// The line opens without a picture when none came for so long: sound need not wait for a camera.
const PICTURE_GRACE: Duration = Duration::from_secs(2);
/// Between the end of a connection and its DELETE.
const FAREWELL: Duration = Duration::from_secs(2);
/// Another SSRC takes a track over when the one before has been silent for so long.
const SSRC_SILENCE: Duration = Duration::from_secs(1);
/// Events taken in one turn: frames leave in between.
const TURN: usize = 256;

/// Names tracks of every session of the process, so that none is ever reused within a feed.
static TRACKS: AtomicU32 = AtomicU32::new(1);

pub(crate) struct Session {
    handle: Arc<Handle>,
    sessions: Arc<Sessions>,
    publication: Arc<dyn Publication>,
    inbox: Inbox,
    payload_types: HashMap<u8, Codec>,
    expects_video: bool,
    repair: Duration,
    silence: Duration,
    /// At most one picture and one sound.
    flows: Vec<Flow>,
    /// They often come before the first packet of their stream.
    early: EarlyReports,
    clock: CaptureClock,
    timeline: Option<Timeline>,
    /// The broadcast ended before its first picture.
    too_late: bool,
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
        payload_types: HashMap<u8, Codec>,
    ) -> Self {
        let expects_video = payload_types.values().any(|codec| codec.is_video());
        let told_heard = inbox.vitals.heard();
        Session {
            handle,
            sessions,
            publication,
            inbox,
            payload_types,
            expects_video,
            repair: config.repair(),
            silence: config.silence(),
            flows: Vec::new(),
            early: EarlyReports::default(),
            clock: CaptureClock::new(),
            timeline: None,
            too_late: false,
            start: Start::now(),
            first_packet: None,
            gone: None,
            told_heard,
            left: Left::Lost,
        }
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
        let mut tick = Instant::now() + TICK;
        loop {
            let wake = if self.flows.iter().any(|flow| flow.intake.is_waiting()) {
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
                () = publication.feed().keyframe_wanted() => self.want_keyframe(),
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
            Event::Packet { packet, arrival } => self.packet(packet, arrival),
            Event::Report(report) => self.report(report),
            Event::Connected => {
                self.gone = None;
                self.start.reached("connected", &self.handle.broadcast);
                tracing::info!("connected");
            }
            Event::Gone => {
                self.gone.get_or_insert_with(Instant::now);
                tracing::info!("the connection is gone");
            }
        }
    }

    fn packet(&mut self, packet: Packet, arrival: Instant) {
        let Some(&codec) = self.payload_types.get(&packet.payload_type) else {
            return;
        };
        if self.first_packet.is_none() {
            self.first_packet = Some(arrival);
            self.start.reached("packet", &self.handle.broadcast);
        }
        let rtt = Span::from(self.handle.peer.rtt());
        let (ssrc, timestamp) = (packet.ssrc, packet.timestamp);
        let Some(flow) = self.flow(codec, ssrc, arrival) else {
            return;
        };
        flow.push(packet, arrival);
        let clock = flow.clock;
        self.clock.arrived(clock, timestamp, wall(arrival), rtt);
    }

    /// The flow of this SSRC. Of several (layers of simulcast that came all the same) the first is taken.
    fn flow(&mut self, codec: Codec, ssrc: u32, now: Instant) -> Option<&mut Flow> {
        let known = self
            .flows
            .iter()
            .position(|flow| flow.codec.is_video() == codec.is_video());
        match known {
            Some(n) if self.flows[n].ssrc == ssrc && self.flows[n].codec == codec => {}
            Some(n) if !self.flows[n].is_silent(now, SSRC_SILENCE) => return None,
            Some(n) => {
                let clock = self.flows[n].clock;
                self.end_track(n);
                self.clock.restart(clock);
                self.flows[n] = self.begin(codec, ssrc, clock, now);
                self.report_early(ssrc);
            }
            None => {
                let clock = self.clock.add_track(codec.clock_rate());
                let flow = self.begin(codec, ssrc, clock, now);
                self.flows.push(flow);
                self.report_early(ssrc);
            }
        }
        self.flows.iter_mut().find(|flow| flow.ssrc == ssrc)
    }

    fn begin(&self, codec: Codec, ssrc: u32, clock: crate::capture::TrackIndex, now: Instant) -> Flow {
        tracing::info!(codec = codec.name(), ssrc, "a track begins");
        Flow::new(&self.handle.broadcast, codec, ssrc, clock, self.repair, now)
    }

    /// The clock keeps it until the first packet, which is at hand.
    fn report_early(&mut self, ssrc: u32) {
        if let Some(report) = self.early.take(ssrc) {
            self.report(report);
        }
    }

    fn report(&mut self, report: Report) {
        let Some(flow) = self.flows.iter().find(|flow| flow.ssrc == report.ssrc) else {
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
                    metrics::gauge!("lectern_ingest_sender_offset_seconds", "broadcast" => self.name())
                        .set(offset.as_secs_f64());
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
        self.flows.iter_mut().for_each(|flow| flow.intake.want_keyframe());
    }

    /// Frames that are complete leave; what is missing is asked for.
    fn turn(&mut self, now: Instant) {
        for n in 0..self.flows.len() {
            for picture in self.flows[n].intake.frames(now) {
                self.publish(n, picture, now);
            }
            let (flow, rtt) = (&mut self.flows[n], self.handle.peer.rtt());
            let sequences = flow.intake.nacks(now, rtt);
            if !sequences.is_empty() {
                self.handle.peer.send(Feedback::Nack {
                    ssrc: flow.ssrc,
                    sequences,
                });
            }
            if flow.intake.keyframe_due(now) {
                self.handle.peer.send(Feedback::Keyframe { ssrc: flow.ssrc });
            }
        }
    }

    fn publish(&mut self, n: usize, picture: Picture, now: Instant) {
        let captured = self.clock.capture(self.flows[n].clock, picture.timestamp);
        let flow = &mut self.flows[n];
        let timeline = match self.timeline {
            Some(timeline) => timeline,
            // Without a picture for long enough, sound opens the line.
            None if flow.codec.is_video()
                || !self.expects_video
                || self
                    .first_packet
                    .is_some_and(|first| now.saturating_duration_since(first) >= PICTURE_GRACE) =>
            {
                match self.publication.open(captured) {
                    Some(timeline) => {
                        self.start.reached("picture", &self.handle.broadcast);
                        *self.timeline.insert(timeline)
                    }
                    None => {
                        self.too_late = true;
                        return;
                    }
                }
            }
            None => return,
        };
        if flow.codec.is_video()
            && let Some(arrived) = flow.arrived(picture.timestamp)
        {
            flow.left(wall(arrived) - captured, now.saturating_duration_since(arrived));
        }
        let feed = self.publication.feed();
        let track = *flow.track.get_or_insert_with(|| {
            let id = TrackId(TRACKS.fetch_add(1, Ordering::Relaxed));
            feed.send(Record::Track(Track {
                id,
                codec: flow.codec,
                source: SourceName::main(),
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

    /// Whether the publisher is still there.
    fn tick(&mut self, now: Instant) -> Option<Left> {
        let vitals = &self.inbox.vitals;
        let heard = vitals.heard();
        if let Some(timeline) = self.timeline
            && heard > self.told_heard
        {
            self.told_heard = heard;
            self.publication
                .feed()
                .send(Record::Heard(timeline.at(wall(heard))));
        }
        let overflow = vitals.overflow();
        if overflow > 0 {
            tracing::warn!(overflow, "packets lost inside: this machine is too busy");
            metrics::counter!("lectern_ingest_packets_overflow_total", "broadcast" => self.name())
                .increment(overflow);
        }
        metrics::gauge!("lectern_ingest_rtt_seconds", "broadcast" => self.name())
            .set(vitals.rtt().as_secs_f64());
        self.flows.iter_mut().for_each(Flow::measure);
        self.is_over(now, heard)
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
        self.flows[n].measure();
        if let Some(id) = self.flows[n].track.take() {
            self.publication.feed().send(Record::TrackEnded(id));
        }
    }

    fn name(&self) -> String {
        self.handle.broadcast.as_str().to_owned()
    }
}

/// However it ends, the tracks end, the publication hears of it once, and the place is free.
impl Drop for Session {
    fn drop(&mut self) {
        (0..self.flows.len()).for_each(|n| self.end_track(n));
        tracing::info!(how = self.left.name(), "no longer publishing");
        self.publication.left(self.left);
        self.sessions.bury(&self.handle);
    }
}

/// The server's clock at an instant.
fn wall(at: Instant) -> WallTime {
    WallTime::from(SystemTime::now()) - Span::from(Instant::now().saturating_duration_since(at))
}
