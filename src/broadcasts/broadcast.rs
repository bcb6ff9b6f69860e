//! One broadcast: its line, its source feed, its publishers.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use timeline::feed::{Consumer, Policy, Producer, Record};
use timeline::{BroadcastId, Grid, Layout, Line, MediaTime, SourceName, Span, Timeline, WallTime};
use tokio::sync::{mpsc, watch};

use super::{Facts, Opened, State, Terms};
use crate::auth::Claims;
use crate::clock;
use crate::sources::{OnAir, Sources, TooMany};

pub struct Broadcast {
    pub id: BroadcastId,
    pub title: String,
    pub terms: Terms,
    pub created: WallTime,
    /// Made by the first publisher; a feed is too large to keep one for every recording.
    source: Mutex<Option<Producer>>,
    sources: Mutex<Sources>,
    /// Its facts are kept one after the other, so that the last ones stay.
    pub(super) saving: tokio::sync::Mutex<()>,
    line: watch::Sender<Line>,
    publisher: watch::Sender<Publisher>,
    incidents: watch::Sender<transcoder::Incidents>,
    ending: AtomicBool,
    opened: mpsc::UnboundedSender<Opened>,
}

/// Whether someone publishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Publisher {
    Absent {
        /// The publisher said good-bye (DELETE), so it will hardly return.
        said_goodbye: bool,
    },
    /// One, or several with a source each.
    Present { publications: usize },
}

impl Broadcast {
    pub(super) fn of(facts: Facts, opened: mpsc::UnboundedSender<Opened>) -> Broadcast {
        let line = facts.line();
        Broadcast {
            id: facts.id,
            title: facts.title,
            terms: facts.terms,
            created: WallTime::from_unix_millis(facts.created),
            source: Mutex::default(),
            sources: Mutex::new(Sources::of(facts.layout, facts.cohosts, facts.withdrawn)),
            saving: tokio::sync::Mutex::default(),
            ending: AtomicBool::new(line.is_ended()),
            line: watch::Sender::new(line),
            publisher: watch::Sender::new(Publisher::Absent { said_goodbye: false }),
            incidents: watch::Sender::default(),
            opened,
        }
    }

    pub fn facts(&self) -> Facts {
        let (state, origin, duration) = match *self.line.borrow() {
            Line::Waiting => (State::Waiting, None, None),
            Line::Live { timeline } => (State::Live, Some(timeline.origin().unix_millis()), None),
            Line::Ended { timeline, duration } => (
                State::Ended,
                Some(timeline.origin().unix_millis()),
                Some(duration.ticks()),
            ),
        };
        let sources = self.sources();
        Facts {
            id: self.id.clone(),
            title: self.title.clone(),
            terms: self.terms,
            created: self.created.unix_millis(),
            state,
            origin,
            duration,
            layout: sources.layout.clone(),
            cohosts: sources.cohosts.clone(),
            withdrawn: sources.withdrawn.clone(),
        }
    }

    pub fn line(&self) -> watch::Receiver<Line> {
        self.line.subscribe()
    }

    /// What happened to its transcoder since the server's start: told here, and read here.
    pub fn incidents(&self) -> watch::Sender<transcoder::Incidents> {
        self.incidents.clone()
    }

    pub fn publisher(&self) -> watch::Receiver<Publisher> {
        self.publisher.subscribe()
    }

    pub fn is_on_air(&self) -> bool {
        matches!(*self.publisher.borrow(), Publisher::Present { .. })
    }

    /// Whether the broadcast is over, or about to be.
    pub fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Acquire)
    }

    /// A publisher has come.
    pub fn arrive(&self) {
        self.publisher.send_modify(|publisher| {
            *publisher = match *publisher {
                Publisher::Absent { .. } => Publisher::Present { publications: 1 },
                Publisher::Present { publications } => Publisher::Present {
                    publications: publications + 1,
                },
            }
        });
    }

    /// A publisher that came has gone. Somebody is there until the last has.
    pub fn leave(&self, said_goodbye: bool) {
        self.publisher.send_modify(|publisher| {
            *publisher = match *publisher {
                Publisher::Present { publications } if publications > 1 => Publisher::Present {
                    publications: publications - 1,
                },
                _ => Publisher::Absent { said_goodbye },
            }
        });
    }

    /// The line goes on, which was interrupted when the server died. Gives what its publishers will send.
    pub fn take_up(&self) -> Option<(Timeline, Consumer)> {
        let timeline = match *self.line.borrow() {
            Line::Live { timeline } => timeline,
            Line::Waiting | Line::Ended { .. } => return None,
        };
        Some((timeline, self.source().subscribe(Policy::Line)))
    }

    /// Where its publishers' frames go.
    pub fn source(&self) -> Producer {
        let mut source = self.source.lock().unwrap_or_else(PoisonError::into_inner);
        source.get_or_insert_with(|| self.open_source()).clone()
    }

    /// Whoever makes the line knows the layout before the first track.
    fn open_source(&self) -> Producer {
        let (producer, layout) = (Producer::new(), self.layout());
        if layout != Layout::default() {
            producer.send(Record::Layout(layout));
        }
        producer
    }

    pub fn layout(&self) -> Layout {
        self.sources().layout.clone()
    }

    /// How the pictures of the sources share the canvas from now on.
    pub fn arrange(&self, layout: Layout) {
        let source = self.source.lock().unwrap_or_else(PoisonError::into_inner);
        // Both under one lock: what is kept last is what was told last.
        self.sources().layout = layout.clone();
        if let Some(source) = &*source {
            source.send(Record::Layout(layout));
        }
    }

    /// A source for a co-host of this name.
    pub fn invite(&self, name: &str) -> Result<SourceName, TooMany> {
        self.sources().invite(name)
    }

    /// What co-hosts were given up to now to be this source is void.
    pub fn withdraw(&self, source: &SourceName) -> Result<(), TooMany> {
        self.sources().withdraw(source, clock::now().unix_millis() / 1000)
    }

    /// Whether this is the token of a co-host whose invitation was withdrawn since.
    pub fn has_withdrawn(&self, claims: &Claims) -> bool {
        let invitation = claims.invitation();
        invitation.is_some_and(|invitation| self.sources().is_withdrawn(&invitation))
    }

    /// Who sends, and what.
    pub fn on_air(&self) -> Vec<OnAir> {
        let source = self.source.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let tracks = source.as_ref().map(Producer::tracks).unwrap_or_default();
        let now = self
            .line
            .borrow()
            .timeline()
            .map(|timeline| timeline.at(clock::now()));
        self.sources().on_air(&tracks, |of| {
            let heard = source.as_ref()?.heard(of)?;
            Some(now? - heard)
        })
    }

    /// Where `source` is held too, it is locked first.
    pub fn sources(&self) -> MutexGuard<'_, Sources> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The line, opened for a picture captured at `first` unless it is open already; none once it has ended.
    pub fn open_line(self: &Arc<Self>, first: WallTime) -> Option<Timeline> {
        let mut timeline = None;
        let opening =
            Timeline::starting(first - head(self.terms.latency.grid(), self.terms.part_hold_back_ms));
        let opened = self.line.send_if_modified(|line| match *line {
            Line::Waiting => {
                timeline = Some(opening);
                *line = Line::Live { timeline: opening };
                true
            }
            Line::Live { timeline: known } => {
                timeline = Some(known);
                false
            }
            Line::Ended { .. } => false,
        });
        if opened {
            let consumer = self.source().subscribe(Policy::Line);
            // The receiver lives as long as the server; without it nothing runs any more.
            let _ = self.opened.send(Opened(self.clone(), consumer));
        }
        timeline
    }

    /// Asks for the end. Whoever runs the line sees [`Record::End`], finishes, and reports [`Self::ended`].
    pub fn end(&self) {
        let now = clock::now();
        let mut end = None;
        // In one step with the look at the line, so that it cannot open in between.
        self.line.send_if_modified(|line| match *line {
            Line::Waiting => {
                *line = Line::Ended {
                    timeline: Timeline::starting(now),
                    duration: MediaTime::ZERO,
                };
                true
            }
            Line::Live { timeline } => {
                end = Some(timeline.at(now).max(MediaTime::ZERO));
                false
            }
            Line::Ended { .. } => false,
        });
        let first_call = !self.ending.swap(true, Ordering::AcqRel);
        if let Some(end) = end.filter(|_| first_call) {
            self.source().send(Record::End(end));
        }
    }

    pub fn ended(&self, timeline: Timeline, duration: MediaTime) {
        self.ending.store(true, Ordering::Release);
        self.line.send_replace(Line::Ended { timeline, duration });
        *self.source.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// How long before its first picture a line begins, with the slate, which is encoded faster than it plays. So the
/// first whole segment, without which players show nothing, is there as soon as it holds a hold-back and a part of
/// the lecture: 0.9 s instead of 3.2 s. Players begin at the hold-back: with the lecture, not with the slate.
fn head(grid: Grid, part_hold_back_ms: u32) -> Span {
    let hold_back = Span::from_millis(part_hold_back_ms.into()).max(grid.longest_part().times(3));
    let slate = grid.segment() - hold_back - grid.part();
    // The first picture stands on a slot.
    grid.frame.times((slate.ticks() / grid.frame.ticks()).max(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broadcasts::{Latency, Wanted};
    use bytes::Bytes;
    use timeline::{Frame, TrackId};

    fn broadcast() -> (Arc<Broadcast>, mpsc::UnboundedReceiver<Opened>) {
        let wanted = Wanted {
            id: "a".parse().unwrap(),
            title: "Algebra".into(),
            terms: Terms {
                guests: true,
                latency: Latency::Standard,
                part_hold_back_ms: 0,
                chat_subtitles: false,
            },
        };
        let (opened, openings) = mpsc::unbounded_channel();
        let facts = Facts::of(wanted, clock::now()).unwrap();
        (Arc::new(Broadcast::of(facts, opened)), openings)
    }

    fn keyframe() -> Record {
        Record::Frame(Frame {
            track: TrackId(1),
            at: MediaTime::ZERO,
            keyframe: true,
            payload: Bytes::new(),
        })
    }

    fn screen_first() -> Layout {
        Layout {
            arrangement: timeline::Arrangement::PictureInPicture,
            sources: vec!["screen".parse().unwrap(), SourceName::main()],
        }
    }

    #[tokio::test]
    async fn who_is_not_heard_any_more_is_told_to_be_silent() {
        use timeline::{Codec, Track};
        let (broadcast, _openings) = broadcast();
        let now = clock::now();
        let timeline = broadcast.open_line(now - Span::from_millis(60_000)).unwrap();
        for (id, name, silent_ms) in [(1, "main", 0), (2, "screen", 30_000)] {
            let source: SourceName = name.parse().unwrap();
            broadcast.sources().came(source.clone(), "Ana".into(), now);
            broadcast.source().send(Record::Track(Track {
                id: TrackId(id),
                codec: Codec::H264,
                source: source.clone(),
            }));
            // The first is heard until the test is over.
            let at = match silent_ms {
                0 => timeline.at(now) + Span::from_millis(60_000),
                ms => timeline.at(now) - Span::from_millis(ms),
            };
            broadcast.source().send(Record::Heard { source, at });
        }
        let silent: Vec<_> = broadcast.on_air().iter().map(|one| one.silent).collect();
        assert_eq!(silent, [false, true]);
    }

    #[test]
    fn the_head_leaves_a_hold_back_and_a_part_of_the_first_segment_to_the_lecture() {
        let slots = |latency: Latency, hold_back_ms| {
            let grid = latency.grid();
            head(grid, hold_back_ms).ticks() / grid.frame.ticks()
        };
        assert_eq!(slots(Latency::Standard, 0), 70);
        assert_eq!(slots(Latency::Standard, 1_000), 60);
        assert_eq!(slots(Latency::Interactive, 0), 83);
        assert_eq!(slots(Latency::Standard, 9_000), 0);
    }

    #[tokio::test]
    async fn the_picture_that_opens_the_line_is_not_lost() {
        let (broadcast, mut openings) = broadcast();
        broadcast.open_line(clock::now()).unwrap();
        broadcast.source().send(keyframe());
        let Opened(_, mut source) = openings.recv().await.unwrap();
        assert_eq!(source.next().await, Ok(Some(keyframe())));
    }

    #[tokio::test]
    async fn a_broadcast_that_ended_before_its_first_picture_does_not_open() {
        let (broadcast, mut openings) = broadcast();
        broadcast.end();
        assert_eq!(broadcast.open_line(clock::now()), None);
        assert_eq!(broadcast.facts().state, State::Ended);
        assert!(openings.try_recv().is_err());
    }

    #[tokio::test]
    async fn a_live_broadcast_is_asked_to_end_once() {
        let (broadcast, mut openings) = broadcast();
        let timeline = broadcast.open_line(clock::now()).unwrap();
        let Opened(_, mut source) = openings.recv().await.unwrap();
        broadcast.end();
        broadcast.end();
        assert!(matches!(source.next().await, Ok(Some(Record::End(_)))));
        broadcast.ended(timeline, MediaTime::from_ticks(9000));
        assert_eq!(source.next().await, Ok(None));
    }

    #[tokio::test]
    async fn somebody_publishes_until_the_last_has_left() {
        let (broadcast, _openings) = broadcast();
        assert!(!broadcast.is_on_air());
        (0..3).for_each(|_| broadcast.arrive());
        broadcast.leave(true);
        broadcast.leave(false);
        assert!(broadcast.is_on_air());
        broadcast.leave(true);
        assert_eq!(
            *broadcast.publisher().borrow(),
            Publisher::Absent { said_goodbye: true }
        );
    }

    #[tokio::test]
    async fn a_layout_is_told_at_once_and_to_a_line_that_opens_later() {
        let (early, mut openings) = broadcast();
        early.arrange(screen_first());
        early.open_line(clock::now()).unwrap();
        let Opened(_, mut source) = openings.recv().await.unwrap();
        assert_eq!(source.next().await, Ok(Some(Record::Layout(screen_first()))));
        early.arrange(Layout::default());
        assert_eq!(source.next().await, Ok(Some(Record::Layout(Layout::default()))));
    }
}
