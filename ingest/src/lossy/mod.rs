//! Publishers on bad networks, minutes of them in milliseconds: a simulated publisher sends through a seeded link
//! into the real intake and the real capture clock, and hears their feedback through another.

mod link;
mod publisher;
mod receiver;
mod tests;

use std::time::Duration;

use link::{Link, Path};
use publisher::{Publisher, Sent};
use receiver::{Feedback, Receiver};

/// Time goes in steps of a millisecond.
const STEP: Duration = Duration::from_millis(1);
/// What a NACK or a PLI weighs, with all its headers.
const FEEDBACK_BYTES: usize = 80;

struct World {
    now: Duration,
    up: Link<Sent>,
    down: Link<Feedback>,
    publisher: Publisher,
    receiver: Receiver,
}

impl World {
    fn new(seed: u64, publisher: Publisher, receiver: Receiver) -> Self {
        World {
            now: Duration::ZERO,
            up: Link::new(seed),
            down: Link::new(!seed),
            publisher,
            receiver,
        }
    }

    /// Both ways are like this from now on; only the way up is narrow.
    fn path(&mut self, path: Path) {
        self.up.path = path;
        self.down.path = Path { kbps: None, ..path };
    }

    fn run(&mut self, seconds: u64) -> &mut Self {
        let end = self.now + Duration::from_secs(seconds);
        while self.now < end {
            self.now += STEP;
            self.step();
        }
        self
    }

    fn step(&mut self) {
        let now = self.now;
        for feedback in self.down.arrived(now) {
            self.publisher.hear(feedback);
        }
        for sent in self.publisher.send(now) {
            self.up.send(now, sent.bytes(), sent);
        }
        // As the connection measures it.
        if now.as_millis().is_multiple_of(500) {
            self.receiver.rtt = self.up.takes(now) + self.down.takes(now);
        }
        for sent in self.up.arrived(now) {
            self.receiver.take(sent, now);
        }
        for feedback in self.receiver.turn(now) {
            self.down.send(now, FEEDBACK_BYTES, feedback);
        }
    }
}
