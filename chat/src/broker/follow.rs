//! A room's events in order and without a hole, from deliveries that may fail and a log that may be behind.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use rand::RngExt;
use timeline::BroadcastId;
use tokio::sync::watch;
use tokio::time::Instant;

use super::link::{Deliveries, Live};
use super::{Broker, Failed, Heard, Keys, Page, Position};

/// The log is read this often though nothing seems to be missing: the last delivery before a silence may be.
const CHECK: Duration = Duration::from_secs(5);

/// Events read at once: a few hundred KB at the very most, so that deliveries of other rooms are not held up.
const PAGE: usize = 100;

/// After an error that the connection outlives.
const REST: Duration = Duration::from_millis(200);

pub fn follow(
    broker: Broker,
    room: &BroadcastId,
    known: Position,
) -> impl Stream<Item = Heard> + Send + use<> {
    let channel = Keys::of(room).channel;
    let following = Following {
        deliveries: broker.0.link.listen(channel.clone()),
        link: broker.0.link.watch(),
        broker,
        room: room.clone(),
        channel,
        order: Order::behind(known),
        subscribed: 0,
        check_at: Instant::now(),
    };
    futures::stream::unfold(following, Following::next)
}

struct Following {
    broker: Broker,
    room: BroadcastId,
    channel: String,
    deliveries: Deliveries,
    link: watch::Receiver<Option<Live>>,
    order: Order,
    /// The life of the connection that the channel is subscribed in.
    subscribed: u64,
    check_at: Instant,
}

impl Following {
    async fn next(mut self) -> Option<(Heard, Following)> {
        loop {
            if let Some(heard) = self.order.ready.pop_front() {
                return Some((heard, self));
            }
            if self.order.is_lost {
                return None;
            }
            self.step().await;
        }
    }

    async fn step(&mut self) {
        let live = self.link.borrow_and_update().clone();
        let Some(live) = live else {
            // The sender lives as long as the broker, which is here.
            let _ = self.link.changed().await;
            return;
        };
        let done = match () {
            () if self.subscribed != live.life => self.subscribe(&live).await,
            () if self.order.is_behind => self.catch_up().await,
            () => {
                self.listen().await;
                Ok(())
            }
        };
        if let Err(Failed::Away(why)) = done {
            tracing::debug!(room = %self.room, why, "the room cannot be followed for now");
            tokio::time::sleep(REST).await;
        }
    }

    /// From here on nothing escapes: what came before is in the log.
    async fn subscribe(&mut self, live: &Live) -> Result<(), Failed> {
        self.broker.0.link.subscribe(live, &self.channel).await?;
        self.subscribed = live.life;
        self.order.is_behind = true;
        Ok(())
    }

    async fn catch_up(&mut self) -> Result<(), Failed> {
        match self.broker.read(&self.room, &self.order.known, PAGE).await {
            Ok(page) => self.order.read(page, PAGE),
            Err(Failed::Lost) => self.order.lose(),
            Err(away) => return Err(away),
        }
        self.check_at = Instant::now() + CHECK.mul_f64(rand::rng().random_range(0.75..1.25));
        Ok(())
    }

    async fn listen(&mut self) {
        tokio::select! {
            _ = self.link.changed() => {}
            delivery = self.deliveries.received.recv() => {
                if let Some(delivery) = delivery {
                    self.order.deliver(&delivery);
                }
                if self.deliveries.overflowed.swap(false, Ordering::AcqRel) {
                    self.order.is_behind = true;
                }
            }
            () = tokio::time::sleep_until(self.check_at) => self.order.is_behind = true,
        }
    }
}

/// Puts into order what comes; without I/O.
struct Order {
    known: Position,
    recorded: u64,
    ready: VecDeque<Heard>,
    /// The log has to be read.
    is_behind: bool,
    is_lost: bool,
}

impl Order {
    fn behind(known: Position) -> Order {
        Order {
            recorded: known.seq,
            known,
            ready: VecDeque::new(),
            is_behind: true,
            is_lost: false,
        }
    }

    fn deliver(&mut self, delivery: &Bytes) {
        match Delivery::parse(delivery) {
            None => tracing::warn!("a delivery that cannot be read"),
            // Of an older epoch, or a newer one has begun: the log knows.
            Some(delivery) if delivery.epoch != self.known.epoch => self.is_behind = true,
            Some(Delivery {
                what: What::Recorded(seq),
                ..
            }) => self.recorded(seq),
            Some(Delivery {
                what: What::Event(seq, payload),
                ..
            }) => self.event(seq, payload),
        }
    }

    fn event(&mut self, seq: u64, payload: Bytes) {
        if seq == self.known.seq + 1 && !self.is_behind {
            self.take(seq, payload);
        } else if seq > self.known.seq && !self.is_behind {
            metrics::counter!("lectern_redis_holes_total").increment(1);
            self.is_behind = true;
        }
    }

    /// A page behind the known position; one of fewer than `limit` events reaches the end.
    fn read(&mut self, page: Page, limit: usize) {
        let is_last = page.events.len() < limit;
        for (seq, payload) in page.events {
            self.skip_to(seq - 1);
            self.take(seq, payload);
        }
        if is_last {
            self.skip_to(page.last);
        }
        self.is_behind = !is_last;
        self.recorded(page.recorded);
    }

    /// Told behind the events it is about.
    fn recorded(&mut self, seq: u64) {
        if seq > self.recorded && !self.is_behind {
            self.recorded = seq;
            self.ready.push_back(Heard::Recorded(seq));
        }
    }

    fn lose(&mut self) {
        self.is_lost = true;
        self.ready.push_back(Heard::Lost);
    }

    fn take(&mut self, seq: u64, payload: Bytes) {
        self.known.seq = seq;
        self.ready.push_back(Heard::Event { seq, payload });
    }

    fn skip_to(&mut self, to: u64) {
        let from = self.known.seq + 1;
        if from <= to {
            self.ready.push_back(Heard::Missing { from, to });
            self.known.seq = to;
        }
    }
}

/// What comes over the channel: `epoch seq payload`, or `epoch recorded seq`.
struct Delivery<'a> {
    epoch: &'a str,
    what: What,
}

enum What {
    Event(u64, Bytes),
    Recorded(u64),
}

impl Delivery<'_> {
    fn parse(bytes: &Bytes) -> Option<Delivery<'_>> {
        let mut parts = bytes.splitn(3, |byte| *byte == b' ');
        let (epoch, second, third) = (parts.next()?, parts.next()?, parts.next()?);
        let number = |digits| std::str::from_utf8(digits).ok()?.parse().ok();
        let what = match second {
            b"recorded" => What::Recorded(number(third)?),
            seq => What::Event(number(seq)?, bytes.slice_ref(third)),
        };
        let epoch = std::str::from_utf8(epoch).ok()?;
        Some(Delivery { epoch, what })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order() -> Order {
        let known = Position {
            epoch: "1-a".into(),
            seq: 7,
        };
        Order {
            is_behind: false,
            ..Order::behind(known)
        }
    }

    fn event(seq: u64) -> Heard {
        let payload = format!("event {seq}").into();
        Heard::Event { seq, payload }
    }

    fn delivery(epoch: &str, seq: u64) -> Bytes {
        format!("{epoch} {seq} event {seq}").into()
    }

    fn page(last: u64, seqs: &[u64]) -> Page {
        let events = seqs.iter().map(|seq| (*seq, format!("event {seq}").into()));
        Page {
            last,
            recorded: 8,
            events: events.collect(),
        }
    }

    #[test]
    fn deliveries_in_order_pass_and_old_ones_do_not() {
        let mut order = order();
        for seq in [6, 7, 8, 8, 9] {
            order.deliver(&delivery("1-a", seq));
        }
        assert_eq!(order.ready, [event(8), event(9)]);
        assert!(!order.is_behind);
    }

    #[test]
    fn a_hole_is_filled_from_the_log() {
        let mut order = order();
        order.deliver(&delivery("1-a", 9));
        assert!(order.is_behind && order.ready.is_empty());
        order.deliver(&delivery("1-a", 8));
        order.read(page(10, &[8, 9, 10]), 100);
        order.deliver(&delivery("1-a", 10));
        order.deliver(&delivery("1-a", 11));
        let recorded = Heard::Recorded(8);
        assert_eq!(order.ready, [event(8), event(9), event(10), recorded, event(11)]);
    }

    #[test]
    fn what_the_log_has_lost_is_told() {
        let mut order = order();
        order.read(page(12, &[10, 12]), 2);
        assert!(order.is_behind, "a full page");
        order.read(page(14, &[]), 2);
        assert!(!order.is_behind);
        let missing = |from, to| Heard::Missing { from, to };
        assert_eq!(
            order.ready,
            [
                missing(8, 9),
                event(10),
                missing(11, 11),
                event(12),
                missing(13, 14),
                Heard::Recorded(8)
            ]
        );
    }

    #[test]
    fn what_is_recorded_is_told_once() {
        let mut order = order();
        for seq in [8, 8, 7, 9] {
            order.deliver(&format!("1-a recorded {seq}").into());
        }
        order.deliver(&delivery("1-a", 9));
        order.deliver(&"1-a recorded 10".into());
        assert_eq!(
            order.ready,
            [Heard::Recorded(8), Heard::Recorded(9)],
            "while it is behind the log tells"
        );
    }

    #[test]
    fn another_epoch_sends_to_the_log() {
        let mut order = order();
        order.deliver(&delivery("2-b", 8));
        assert!(order.is_behind && order.ready.is_empty());
        order.deliver(&"nonsense".into());
        order.lose();
        assert_eq!(order.ready, [Heard::Lost]);
    }
}
