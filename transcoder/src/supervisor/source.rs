//! What the source says: told to the child that serves, and remembered for children to come.

use std::time::Duration;

use timeline::feed::{Consumer, Record};
use timeline::{BroadcastId, MediaTime, Span, Timeline, TrackId};
use tokio::time::Instant;

use super::now;
use crate::backlog::Backlog;
use crate::report;
use crate::wire::{Job, ToChild};

pub struct Source {
    broadcast: BroadcastId,
    timeline: Timeline,
    /// `None` once it has ended.
    consumer: Option<Consumer>,
    backlog: Backlog,
    /// Where it ended, and when that was heard.
    end: Option<(MediaTime, Instant)>,
}

impl Source {
    pub fn new(job: &Job, consumer: Consumer) -> Self {
        Source {
            broadcast: job.broadcast.clone(),
            timeline: job.timeline,
            consumer: Some(consumer),
            backlog: Backlog::default(),
            end: None,
        }
    }

    /// What the present child is told next; never, once the source has ended. `line`: the first moment that is not on
    /// the line yet. Cancel-safe.
    pub async fn next(&mut self, line: MediaTime) -> ToChild {
        let Some(consumer) = &mut self.consumer else {
            return std::future::pending().await;
        };
        match consumer.next().await {
            Ok(Some(Record::End(at))) => self.ended(at),
            Ok(Some(record)) => {
                self.backlog.push(&record, line);
                ToChild::Record(record)
            }
            // Every producer is gone: an end without a word.
            Ok(None) => self.ended(self.timeline.at(now())),
            Err(overflow) => {
                tracing::warn!(broadcast = %self.broadcast, "from the source: {overflow}");
                report::count(
                    &self.broadcast,
                    "lectern_transcoder_lost_source_records_total",
                    overflow.missed,
                );
                self.backlog.lost();
                ToChild::Lost
            }
        }
    }

    fn ended(&mut self, at: MediaTime) -> ToChild {
        self.consumer = None;
        self.end = Some((at, Instant::now()));
        ToChild::Record(Record::End(at))
    }

    /// All that a new child must be told, to know what the one before it knew.
    pub fn so_far(&self) -> impl Iterator<Item = ToChild> {
        let records = self.backlog.records().map(ToChild::Record);
        let lost = self.backlog.is_broken().then_some(ToChild::Lost);
        let end = self.end.map(|(at, _)| ToChild::Record(Record::End(at)));
        records.chain(lost).chain(end)
    }

    /// The capture time of each video track's newest picture, of which it has one.
    pub fn newest_pictures(&self) -> Vec<(TrackId, MediaTime)> {
        self.backlog.newest_pictures()
    }

    /// The pictures of this last while may be what a child died of: the next is not told of them.
    pub fn suspect(&mut self, last: Span) {
        self.backlog.suspect(last);
    }

    /// No picture or sound that came so far is told again.
    pub fn forget(&mut self) {
        self.backlog.forget();
    }

    pub fn request_keyframe(&self) {
        if let Some(consumer) = &self.consumer {
            consumer.request_keyframe();
        }
    }

    /// For how long it has been over.
    pub fn since_end(&self) -> Option<Duration> {
        self.end.map(|(_, heard)| heard.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use timeline::feed::{Policy, Producer};
    use timeline::{Codec, Frame, Grid, SourceName, Track};

    fn source(feed: &Producer) -> Source {
        let job = Job {
            broadcast: "a".parse().unwrap(),
            timeline: Timeline::starting(now()),
            grid: Grid::default(),
            goes_on: None,
        };
        Source::new(&job, feed.subscribe(Policy::Line))
    }

    fn records() -> [Record; 2] {
        let track = Track {
            id: TrackId(1),
            codec: Codec::H264,
            source: SourceName::main(),
        };
        let frame = Frame {
            track: TrackId(1),
            at: MediaTime::from_ticks(3_000),
            keyframe: true,
            payload: Bytes::from_static(b"IDR"),
        };
        [Record::Track(track), Record::Frame(frame)]
    }

    fn told(messages: impl Iterator<Item = ToChild>) -> Vec<Option<Record>> {
        let record = |message| match message {
            ToChild::Record(record) => Some(record),
            ToChild::Lost => None,
            ToChild::Prepare { .. } | ToChild::Begin { .. } => panic!("not of the source"),
        };
        messages.map(record).collect()
    }

    #[tokio::test]
    async fn the_next_child_is_told_what_this_one_was() {
        let feed = Producer::new();
        let mut source = source(&feed);
        for record in records() {
            feed.send(record.clone());
            let message = source.next(MediaTime::ZERO).await;
            assert_eq!(told([message].into_iter()), [Some(record)]);
        }
        assert_eq!(told(source.so_far()), records().map(Some));
        source.suspect(Span::from_millis(1_000));
        assert_eq!(told(source.so_far()), [Some(records()[0].clone()), None]);
    }

    #[tokio::test]
    async fn the_end_is_told_last_and_to_every_child() {
        let feed = Producer::new();
        let mut source = source(&feed);
        assert_eq!(source.since_end(), None);
        let end = Record::End(MediaTime::from_ticks(9_000));
        feed.send(end.clone());
        let message = source.next(MediaTime::ZERO).await;
        assert_eq!(told([message].into_iter()), [Some(end.clone())]);
        assert_eq!(told(source.so_far()), [Some(end)]);
        assert!(source.since_end().is_some());
    }

    #[tokio::test]
    async fn a_feed_without_a_producer_is_over() {
        let feed = Producer::new();
        let mut source = source(&feed);
        drop(feed);
        let message = source.next(MediaTime::ZERO).await;
        assert!(matches!(message, ToChild::Record(Record::End(_))));
    }
}
