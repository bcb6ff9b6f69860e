//! When was a frame captured, on the server's clock?
//!
//! Sender reports map a track's RTP time to the publisher's NTP clock, which aligns the tracks with each other.
//! That clock may be a day wrong; it is mapped to ours by `offset = min(arrival − NTP) − min(RTT)/2` over a window:
//! the report that travelled fastest tells it best, and the least round trip how long that took at least. Until a
//! track's first report (and for ever if none comes) its capture time is its arrival time less that travel,
//! minimum-filtered: late by what the sender takes to encode and send it, but never jumpy.
//!
//! The map that frames see is *slewed* towards the best known one, fast for the first seconds of a track and
//! slowly afterwards, so that it neither steps nor runs backwards. An error of more than `STEP_NS` is no drift
//! (a sender that jumped in its timestamps) and is corrected at once, forward or by standing still; so is less while a
//! track only begins (`FIRST_STEP_NS`).

mod round_trip;
mod window;

use timeline::{Span, WallTime};

use round_trip::RoundTrips;
use window::WindowMin;

/// The offset's window: long enough to hold a report that did not queue, short enough that 100 ppm of drift
/// are 3 ms.
const WINDOW_NS: i64 = 30 * SECOND_NS;
const SECOND_NS: i64 = 1_000_000_000;
/// A track settles for so long after its first packet: browsers may send the first audio report after 5 s. And after its
/// RTP time jumped: Chromium counts the samples that it sends, so that a microphone that lost some is early from then on.
const SETTLING_NS: i64 = 15 * SECOND_NS;
/// Slew while settling, 5 %: 50 ms of travel are gone in a second; frames keep their order and come 5 % closer.
const FAST_SLEW: i64 = 20;
/// Slew afterwards, 0.5 %: fifty times the drift of a bad crystal, and nothing anybody sees or hears.
const SLOW_SLEW: i64 = 200;
/// More is not an error to slew away.
const STEP_NS: i64 = SECOND_NS;
/// What waited for the connection comes in a burst, the first of it the latest (GStreamer's pipelines). Where a track has
/// only just begun to settle …
const BEGINNING_NS: i64 = 2 * SECOND_NS;
/// … what would be noticed between sound and picture is put right at once.
const FIRST_STEP_NS: i64 = 40 * 1_000_000;
/// Of a track's reports the one that was written soonest after its media tells capture best (OBS writes when it
/// *sends*): over so long, in which 200 ppm between its two clocks are 2 ms.
const RELATION_NS: i64 = 10 * SECOND_NS;
/// Reports of one track must agree with each other to this, or the publisher's clock was set. Those of OBS waver by
/// its encoder's queue; `ntpd` steps a clock from 128 ms on.
const DISAGREEMENT_NS: i64 = 100 * 1_000_000;
/// A contradicting report that says of our clock what the others say comes from a clock that was not set: the
/// track's RTP time jumped. Half of what makes a contradiction, so that one is never taken for the other.
const SAME_CLOCK_NS: i64 = DISAGREEMENT_NS / 2;
/// Packets that all come more than a step late for so long are not late: the sender's RTP time stood still.
const LATE_FOR_GOOD_NS: i64 = 3 * SECOND_NS / 2;
/// So far back RTP time goes at a B-frame (H.264 holds 16 pictures at most); further back it jumped.
const REORDERED_NS: i64 = SECOND_NS;
/// By its report, media came at most this late (encoder queues reach seconds) …
const MAX_AGE_NS: i64 = 10 * SECOND_NS;
/// … and no sooner than it was captured, give or take the error of the offset.
const MIN_AGE_NS: i64 = -200 * 1_000_000;

/// A report as it came: RFC 3550 §6.4.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SenderReport {
    /// 32.32 fixed point seconds since 1900.
    pub ntp: u64,
    pub rtp: u32,
    pub arrival: WallTime,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadReport {
    /// No media yet, so that its RTP time says nothing. Kept until there is.
    Early,
    /// A placeholder: OBS begins with RTP 0xFFFFFFFF, others with NTP 0.
    Placeholder,
    /// Not newer than the last one.
    Old,
    /// It contradicts the reports before it. Believed if the next one agrees with it.
    Contradiction,
    /// By it, media would have come before its capture or many seconds late.
    Absurd,
}

/// The capture clock of one publisher.
#[derive(Debug)]
pub(crate) struct CaptureClock {
    /// Arrival − NTP of all tracks' reports: one clock wrote them all.
    offsets: WindowMin,
    /// Of its own minimum: the round trip of the moment would bend the offset for a whole window.
    rtts: RoundTrips,
    tracks: Vec<Track>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TrackIndex(usize);

#[derive(Debug)]
struct Track {
    rate: i64,
    /// Extended RTP time of the newest packet.
    newest: Option<i64>,
    /// The RTP time (ns) from which on it settles.
    settles: i64,
    /// Arrival − RTP time.
    arrivals: WindowMin,
    last_arrival: i64,
    /// Since when every packet has come more than a step later than the fastest.
    late_since: Option<i64>,
    early: Option<SenderReport>,
    report: Option<Point>,
    /// NTP − RTP time of the reports.
    relations: WindowMin,
    suspect: Option<Point>,
    /// Wall time at RTP time 0 as frames see it, and the RTP time (ns) up to which it is slewed.
    phase: Option<(i64, i64)>,
    /// The latest capture time that was given, and its RTP time (ns).
    given: Option<(i64, WallTime)>,
}

/// One place where RTP time and the publisher's clock meet, both in ns.
#[derive(Clone, Copy, Debug)]
struct Point {
    ntp: i64,
    rtp: i64,
}

impl CaptureClock {
    pub fn new() -> Self {
        CaptureClock {
            offsets: WindowMin::new(WINDOW_NS),
            rtts: RoundTrips::default(),
            tracks: Vec::new(),
        }
    }

    pub fn add_track(&mut self, rate: u32) -> TrackIndex {
        self.tracks.push(Track::new(rate));
        TrackIndex(self.tracks.len() - 1)
    }

    /// The track begins again, as another source.
    pub fn restart(&mut self, track: TrackIndex, rate: u32) {
        self.tracks[track.0] = Track::new(rate);
    }

    /// A packet of the track came.
    pub fn arrived(&mut self, track: TrackIndex, rtp: u32, at: WallTime, rtt: Span) {
        self.measured(rtt, at.unix_nanos());
        let track_state = &mut self.tracks[track.0];
        track_state.arrived(rtp, at);
        if let Some(report) = track_state.early.take() {
            let _ = self.report(track, report, rtt);
        }
    }

    pub fn report(&mut self, track: TrackIndex, report: SenderReport, rtt: Span) -> Result<(), BadReport> {
        let state = &mut self.tracks[track.0];
        if report.rtp == u32::MAX || report.ntp == 0 {
            return Err(BadReport::Placeholder);
        }
        if state.newest.is_none() {
            state.early = Some(report);
            return Err(BadReport::Early);
        }
        let point = Point {
            ntp: unix_nanos(report.ntp),
            rtp: state.nanos(state.extend(report.rtp)),
        };
        let arrival = report.arrival.unix_nanos();
        let offset = arrival - point.ntp;
        let known = self.offsets.min();
        let mut jumped = false;
        let clock_was_set = match state.agree(point) {
            Err(BadReport::Contradiction)
                if known.is_some_and(|known| (offset - known).abs() <= SAME_CLOCK_NS)
                    && state.report.is_some_and(|last| point.ntp > last.ntp) =>
            {
                state.suspect = None;
                jumped = true;
                false
            }
            verdict => verdict?,
        };
        self.measured(rtt, arrival);
        let best = match self.offsets.min() {
            Some(best) if !clock_was_set => best.min(offset),
            _ => offset,
        } - self.travel();
        let state = &self.tracks[track.0];
        let age = state.last_arrival - (point.ntp + best + state.newest_nanos() - point.rtp);
        if !(MIN_AGE_NS..=MAX_AGE_NS).contains(&age) {
            return Err(BadReport::Absurd);
        }
        if clock_was_set {
            self.forget();
        }
        self.offsets.push(arrival, offset);
        self.tracks[track.0].believe(point, arrival, jumped);
        Ok(())
    }

    /// The capture time of a frame. Later frames of a track get later times, whatever order they come in: a B-frame
    /// comes behind the picture that is shown after it.
    pub fn capture(&mut self, track: TrackIndex, rtp: u32) -> WallTime {
        let (offset, travel) = (self.best(), self.travel());
        self.tracks[track.0].capture(rtp, offset, travel)
    }

    /// Our clock − the publisher's, as far as reports tell.
    pub fn offset(&self) -> Option<Span> {
        self.best().map(Span::from_nanos)
    }

    /// A round trip. Zero: not measured yet.
    fn measured(&mut self, rtt: Span, at: i64) {
        if rtt.nanos() > 0 {
            self.rtts.is(rtt.nanos(), at);
        }
    }

    fn best(&self) -> Option<i64> {
        self.offsets.min().map(|offset| offset - self.travel())
    }

    /// How long the fastest report was on its way, at least.
    fn travel(&self) -> i64 {
        self.rtts.min().unwrap_or(0) / 2
    }

    /// The publisher's clock was set: what was known by the old one is worth nothing.
    fn forget(&mut self) {
        self.offsets.clear();
        self.tracks.iter_mut().for_each(Track::forget);
    }
}

impl Track {
    fn new(rate: u32) -> Self {
        Track {
            rate: i64::from(rate.max(1)),
            newest: None,
            settles: 0,
            arrivals: WindowMin::new(WINDOW_NS),
            last_arrival: 0,
            late_since: None,
            early: None,
            report: None,
            relations: WindowMin::new(RELATION_NS),
            suspect: None,
            phase: None,
            given: None,
        }
    }

    fn arrived(&mut self, rtp: u32, at: WallTime) {
        let at = at.unix_nanos();
        let rtp = self.extend(rtp);
        if self.newest.is_none() {
            self.settles = self.nanos(rtp);
        }
        let expected = self.arrivals.min();
        let offset = at - self.nanos(rtp);
        // The sender's timestamps jumped (a new capture device): its past says nothing about its future.
        if expected.is_some_and(|expected| (offset - expected).abs() > MAX_AGE_NS + STEP_NS) {
            self.arrivals.clear();
            self.forget();
            self.late_since = None;
        } else if self.is_late_for_good(at, expected.is_some_and(|expected| offset - expected > STEP_NS)) {
            self.arrivals.clear();
            self.late_since = None;
        }
        self.newest = Some(rtp.max(self.newest.unwrap_or(rtp)));
        self.last_arrival = at;
        self.arrivals.push(at, offset);
    }

    fn is_late_for_good(&mut self, at: i64, late: bool) -> bool {
        if !late {
            self.late_since = None;
            return false;
        }
        at - *self.late_since.get_or_insert(at) >= LATE_FOR_GOOD_NS
    }

    /// Whether the publisher's clock was set since the track's last report, by two reports that agree.
    fn agree(&mut self, point: Point) -> Result<bool, BadReport> {
        let Some(last) = self.report else { return Ok(false) };
        if point.agrees_with(last) {
            if point.ntp <= last.ntp {
                return Err(BadReport::Old);
            }
            self.suspect = None;
            return Ok(false);
        }
        match self.suspect.replace(point) {
            Some(suspect) if point.agrees_with(suspect) && point.ntp > suspect.ntp => Ok(true),
            _ => Err(BadReport::Contradiction),
        }
    }

    /// What its reports said is worth nothing any more.
    fn forget(&mut self) {
        self.report = None;
        self.relations.clear();
        self.suspect = None;
    }

    fn believe(&mut self, point: Point, arrival: i64, jumped: bool) {
        if jumped {
            self.settles = self.newest_nanos();
            self.relations.clear();
        }
        self.relations.push(arrival, point.ntp - point.rtp);
        self.report = Some(point);
    }

    fn capture(&mut self, rtp: u32, offset: Option<i64>, travel: i64) -> WallTime {
        let rtp = self.nanos(self.extend(rtp));
        let target = self.target(offset, travel).unwrap_or(0);
        let (step, slew) = match rtp - self.settles {
            ..BEGINNING_NS => (FIRST_STEP_NS, FAST_SLEW),
            BEGINNING_NS..SETTLING_NS => (STEP_NS, FAST_SLEW),
            _ => (STEP_NS, SLOW_SLEW),
        };
        let phase = match self.phase {
            None => target,
            Some((phase, _)) if (target - phase).abs() > step => target,
            Some((phase, since)) => {
                let passed = (rtp - since).max(0);
                phase + (target - phase).clamp(-passed / slew, passed / slew)
            }
        };
        let since = self.phase.map_or(rtp, |(_, since)| since.max(rtp));
        self.phase = Some((phase, since));
        let at = WallTime::from_unix_nanos(rtp.saturating_add(phase));
        match self.given {
            Some((latest, given)) if rtp < latest && latest - rtp <= REORDERED_NS => {
                at.min(given - Span::from_ticks(1))
            }
            given => {
                let at = given.map_or(at, |(_, given)| at.max(given + Span::from_ticks(1)));
                self.given = Some((rtp, at));
                at
            }
        }
    }

    /// Wall time at RTP time 0, by the best that is known.
    fn target(&self, offset: Option<i64>, travel: i64) -> Option<i64> {
        let reported = self
            .relations
            .min()
            .zip(offset)
            .map(|(relation, offset)| relation + offset);
        reported.or_else(|| self.arrivals.min().map(|arrival| arrival - travel))
    }

    /// The extended RTP time nearest to the newest.
    fn extend(&self, rtp: u32) -> i64 {
        match self.newest {
            None => i64::from(rtp),
            Some(newest) => newest + i64::from(rtp.wrapping_sub(newest as u32) as i32),
        }
    }

    fn nanos(&self, rtp: i64) -> i64 {
        (i128::from(rtp) * i128::from(SECOND_NS) / i128::from(self.rate)) as i64
    }

    fn newest_nanos(&self) -> i64 {
        self.newest.map_or(0, |newest| self.nanos(newest))
    }
}

impl Point {
    fn agrees_with(self, other: Point) -> bool {
        ((self.ntp - other.ntp) - (self.rtp - other.rtp)).abs() <= DISAGREEMENT_NS
    }
}

/// NTP counts from 1900 and overflows in 2036; the publisher's clock is not trusted anyway.
fn unix_nanos(ntp: u64) -> i64 {
    const SECONDS_1900_TO_1970: i64 = 2_208_988_800;
    let seconds = (ntp >> 32) as i64 - SECONDS_1900_TO_1970;
    let fraction = ((ntp & 0xffff_ffff) * SECOND_NS as u64) >> 32;
    seconds * SECOND_NS + fraction as i64
}

#[cfg(test)]
mod tests;
