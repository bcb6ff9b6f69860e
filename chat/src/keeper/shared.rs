//! The keeper of a room that other nodes keep too: see [`super::common`].

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, timeout_at};

use super::common::{Aside, Fate, Step, next};
use super::{Keeper, Told, Veil};
use crate::broker::{Failed, Heard};
use crate::event::{Audience, Face};
use crate::room::{Accepted, Refused};
use crate::wire::ToClient;
use crate::{Error, Event, Kind};

/// At the end, what was accepted gets its place and is recorded within this time, or its writers send it again elsewhere.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// The record is behind the log by some milliseconds, after the death of a node by some seconds.
const BEHIND: Duration = Duration::from_secs(6);
const LOOK: Duration = Duration::from_millis(100);

/// Events that are taken one by one from the record; more, and the room is read anew.
const STRETCH: u64 = 500;

impl Keeper {
    /// What was accepted wants a place in the order of all nodes; what has one is acknowledged once it is recorded.
    pub(super) fn offer(&mut self) {
        let pending = self.room.take_pending();
        let waiting = std::mem::take(&mut self.waiting);
        let Some(common) = &mut self.common else {
            return;
        };
        let first = pending.first().map_or(u64::MAX, |accepted| accepted.event.seq);
        let takes = common.has_room(pending.len());
        let mut replies: Vec<_> = pending.iter().map(|_| Vec::new()).collect();
        for (reply, answer) in waiting {
            match answer {
                Ok(Some(receipt)) if receipt.seq < first => common.acknowledge(receipt.seq, reply, receipt),
                Ok(Some(receipt)) if takes => {
                    if let Some(replies) = replies.get_mut((receipt.seq - first) as usize) {
                        replies.push((reply, receipt));
                    }
                }
                Ok(Some(_)) => drop(reply.send(Err(Refused::unavailable()))),
                // Nobody has to be waiting any more.
                answer => drop(reply.send(answer)),
            }
        }
        if takes {
            pending
                .into_iter()
                .zip(replies)
                .for_each(|(accepted, replies)| common.offer(accepted, replies));
        }
    }

    pub(super) async fn step(&mut self, step: Step) -> Fate {
        let fate = match step {
            Step::Heard(Heard::Event { seq, payload }) => self.take(seq, &payload),
            Step::Heard(Heard::Recorded(upto)) => self.recorded(upto),
            Step::Heard(Heard::Missing { from, to }) => self.fetch(from, to).await,
            Step::Heard(Heard::Lost) => Fate::Lost,
            Step::Published(Ok(seqs)) => self.published(&seqs),
            Step::Published(Err(failed)) => self.not_published(&failed),
            Step::Recorded(result) => self.wrote(&result),
            Step::Attended {
                asked,
                people,
                answer,
            } => {
                let begins = self
                    .common
                    .as_mut()
                    .is_some_and(|common| common.attended(asked, people, &answer));
                self.lead(begins).await;
                Fate::GoesOn
            }
            Step::Due => Fate::GoesOn,
        };
        self.show();
        if let Some(common) = &mut self.common {
            common.look_after();
            self.replay.lead(common.leads());
            if fate == Fate::Lost {
                tracing::warn!(broadcast = %self.broadcast, "the room's log was lost: it is taken up anew");
                common.lose();
            }
        }
        fate
    }

    /// The next event of the room, from whichever node.
    fn take(&mut self, seq: u64, payload: &Bytes) -> Fate {
        let Some(common) = &mut self.common else {
            return Fate::GoesOn;
        };
        let is_recorded = seq <= common.recorded;
        if let Some(accepted) = common.take(seq, payload) {
            self.room.take(accepted.event.clone(), &accepted.reference);
            if matches!(accepted.event.kind, Kind::Settings { .. }) {
                self.tell_settings();
            }
            self.count_events(1);
            if is_recorded {
                self.kept(&[accepted]);
            }
        }
        Fate::GoesOn
    }

    fn recorded(&mut self, upto: u64) -> Fate {
        if let Some(common) = &mut self.common {
            let recorded: Vec<Accepted> = common.recorded(upto);
            if !recorded.is_empty() {
                self.kept(&recorded);
            }
        }
        Fate::GoesOn
    }

    fn wrote(&mut self, result: &Result<u64, Error>) -> Fate {
        let fate = self
            .common
            .as_mut()
            .map_or(Fate::GoesOn, |common| common.wrote(result));
        if let Ok(upto) = result {
            self.recorded(*upto);
        }
        fate
    }

    fn published(&mut self, seqs: &[u64]) -> Fate {
        let asides = self
            .common
            .as_mut()
            .map_or_else(Vec::new, |common| common.published(seqs));
        self.tell_asides(asides);
        Fate::GoesOn
    }

    fn not_published(&mut self, failed: &Failed) -> Fate {
        tracing::debug!(broadcast = %self.broadcast, %failed, "what was accepted has no place yet");
        self.common
            .as_mut()
            .map_or(Fate::GoesOn, |common| common.not_published(failed))
    }

    fn show(&mut self) {
        let shows = |event: &Event| event.text().is_some() && event.audience == Audience::Everyone;
        let asides = match &mut self.common {
            Some(common) if common.has_offers() => common.show(shows),
            _ => return,
        };
        self.tell_asides(asides);
    }

    fn tell_asides(&self, asides: Vec<Aside>) {
        let veil = Veil::of(self.room.anonymous());
        for aside in asides {
            let text = |face| match &aside {
                Aside::Provisional { id, event } => {
                    let seen = event.seen(face, veil.anonymous());
                    let mut event = serde_json::to_value(&*seen).unwrap_or_default();
                    // It has no place yet.
                    event.as_object_mut().map(|event| event.remove("seq"));
                    ToClient::Provisional { id, event }.to_text()
                }
                Aside::Settled { id, seq } => ToClient::Settled { id, seq: *seq }.to_text(),
            };
            let aside = Told::Aside {
                public: text(Face::Public),
                staff: text(Face::Staff),
            };
            let _ = self.told_to.send(Arc::new(aside));
        }
    }

    /// What the log does not have any more, from the record.
    async fn fetch(&mut self, from: u64, to: u64) -> Fate {
        match self.read_stretch(from, to).await {
            Ok(true) => Fate::GoesOn,
            Ok(false) => self.reread(to).await,
            Err(error) => self.unreadable(&error),
        }
    }

    /// Whether it was all there.
    async fn read_stretch(&mut self, from: u64, to: u64) -> Result<bool, Error> {
        if to - from >= STRETCH {
            return Ok(false);
        }
        let rows = self.record.stretch(&self.broadcast, from, to).await?;
        if rows.len() as u64 != to - from + 1 {
            return Ok(false);
        }
        for (event, reference) in rows {
            self.room.take(event, &reference);
        }
        if let Some(common) = &mut self.common {
            common.known = to;
        }
        self.tell_settings();
        self.replay.distrust().await?;
        self.recorded(to);
        Ok(true)
    }

    /// Takes the room up from the record, once that has come so far.
    async fn reread(&mut self, to: u64) -> Fate {
        let deadline = Instant::now() + BEHIND;
        let reading = async {
            while Instant::now() < deadline {
                let position = self.record.position(&self.broadcast).await?;
                if position.is_some_and(|(_, last)| last >= to) {
                    break;
                }
                tokio::time::sleep(LOOK).await;
            }
            let kept = self.record.kept(&self.broadcast, self.config.recent).await?;
            self.replay.distrust().await?;
            Ok(kept)
        };
        let kept = match reading.await {
            Ok(kept) => kept,
            Err(error) => return self.unreadable(&error),
        };
        let last = kept.last.max(to);
        self.room.take_up(kept);
        self.tell_settings();
        // Those who listen see a gap, and fetch what was between.
        if self.told.all < self.room.floor() {
            self.told.skip_to(self.room.floor());
            let _ = self.told_to.send(Arc::new(Told::Missed));
        }
        if let Some(common) = &mut self.common {
            let _ = common.recorded(last);
            common.skip_to(last);
        }
        Fate::GoesOn
    }

    fn unreadable(&self, error: &Error) -> Fate {
        tracing::error!(broadcast = %self.broadcast, %error, "the room cannot read its record");
        Fate::Lost
    }

    /// Where this node begins to do what only one does: from what the record and the archive have.
    async fn lead(&mut self, begins: bool) {
        if !begins {
            return;
        }
        tracing::info!(broadcast = %self.broadcast, "this node leads the room");
        if let Err(error) = self.replay.take_over().await {
            tracing::error!(broadcast = %self.broadcast, %error, "the replay cannot read its record");
            if let Some(common) = &mut self.common {
                common.resign();
            }
        }
    }

    /// People at all nodes. Somebody at two of them counts twice.
    pub(super) fn present(&self) -> usize {
        self.count.borrow().0 + self.common.as_ref().map_or(0, |common| common.others)
    }

    /// Another node does what only one may do.
    pub(super) fn follows(&self) -> bool {
        self.common.as_ref().is_some_and(|common| !common.leads())
    }

    /// What was accepted is brought home.
    pub(super) async fn finish(&mut self) {
        let deadline = Instant::now() + LAST_WORDS;
        while self.common.as_ref().is_some_and(|common| !common.is_quiet()) {
            let people = self.count.borrow().0;
            let Ok(step) = timeout_at(deadline, next(self.common.as_mut(), people, &self.replay)).await
            else {
                break;
            };
            if self.step(step).await == Fate::Lost {
                break;
            }
        }
        self.leave().await;
    }

    pub(super) async fn leave(&mut self) {
        if let Some(common) = &mut self.common {
            common.leave().await;
        }
    }
}
