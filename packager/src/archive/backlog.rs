//! The segments that wait to be kept. Bounded: pushing never waits, so a slow archive never blocks the line.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;

use crate::playlist;
use crate::storyboard::Cues;

/// One MSN of every rendition, in the ladder's order.
#[derive(Debug)]
pub(crate) struct Job {
    pub msn: u64,
    pub segments: Vec<Filed>,
    /// Added to the storyboard since the last job.
    pub cues: Cues,
}

/// A segment of one rendition.
#[derive(Debug)]
pub(crate) struct Filed {
    pub entry: playlist::Segment,
    pub body: Bytes,
    /// The init that the entry names, if it is a new one.
    pub init: Option<Bytes>,
}

pub(crate) struct Backlog {
    state: Mutex<State>,
    changed: Notify,
    /// Jobs that may wait with their bytes.
    limit: usize,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    closed: bool,
}

impl Backlog {
    pub fn new(limit: usize) -> Backlog {
        Backlog {
            state: Mutex::default(),
            changed: Notify::new(),
            limit,
        }
    }

    /// Beyond the limit the oldest job is given up: it stays in the queue as a gap. Gives its MSN.
    pub fn push(&self, job: Job) -> Option<u64> {
        let lost = {
            let mut state = self.state();
            state.jobs.push_back(job);
            let excess = state.jobs.len().checked_sub(self.limit + 1);
            excess.and_then(|n| state.jobs.get_mut(n)).map(Job::give_up)
        };
        self.changed.notify_one();
        lost
    }

    /// Nothing follows.
    pub fn close(&self) {
        self.state().closed = true;
        self.changed.notify_one();
    }

    /// The oldest job; `None` when all are done and nothing follows.
    pub async fn next(&self) -> Option<Job> {
        loop {
            {
                let mut state = self.state();
                match state.jobs.pop_front() {
                    Some(job) => return Some(job),
                    None if state.closed => return None,
                    None => {}
                }
            }
            self.changed.notified().await;
        }
    }

    pub fn len(&self) -> usize {
        self.state().jobs.len()
    }

    pub fn is_closed(&self) -> bool {
        self.state().closed
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing can panic while it is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Job {
    fn give_up(&mut self) -> u64 {
        for filed in &mut self.segments {
            filed.entry.gap = true;
            filed.body = Bytes::new();
        }
        self.cues = Cues::default();
        self.msn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(msn: u64) -> Job {
        let entry = playlist::Segment {
            uri: format!("{msn}.m4s"),
            ..playlist::Segment::default()
        };
        Job {
            msn,
            segments: vec![Filed {
                entry,
                body: Bytes::from_static(b"bytes"),
                init: None,
            }],
            cues: Cues {
                text: "a cue".into(),
                stills: vec![],
            },
        }
    }

    #[tokio::test]
    async fn beyond_the_limit_the_oldest_becomes_a_gap() {
        let backlog = Backlog::new(2);
        let lost: Vec<_> = (0..4).map(|msn| backlog.push(job(msn))).collect();
        assert_eq!(lost, [None, None, Some(0), Some(1)]);
        backlog.close();
        for msn in 0..4 {
            let job = backlog.next().await.unwrap();
            assert_eq!((job.msn, job.segments[0].entry.gap), (msn, msn < 2));
            assert_eq!(job.segments[0].body.is_empty(), msn < 2);
            assert_eq!(job.cues.is_empty(), msn < 2);
        }
        assert!(backlog.next().await.is_none());
    }
}
