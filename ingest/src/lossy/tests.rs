use std::fmt;

use super::link::GOOD;
use super::*;
use crate::rtp::Repair;

const MS: i64 = 1_000_000;
/// Of a path across a continent.
const AUTO: Repair = Repair::Auto {
    line_delay: Duration::from_millis(400),
};

/// What can be told of a stretch of a lecture.
struct Findings {
    /// The share of pictures that were captured and left.
    shown: f64,
    /// The longest time without a picture.
    freeze: Duration,
    /// Packets asked for, and sent again, for each that was sent.
    asked: f64,
    resent: f64,
    /// Packets of pictures that were still missing in the end, of those that were ever missing.
    unrepaired: f64,
    keyframes_asked: f64,
    /// Of the pictures' capture times, ms.
    error_ms: i64,
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "shown {:.1} %, freeze {:?}, asked {:.1} %, resent {:.1} %, unrepaired {:.2} %, {:.2} keyframes asked for a second, capture time off by {} ms",
            self.shown * 100.0,
            self.freeze,
            self.asked * 100.0,
            self.resent * 100.0,
            self.unrepaired * 100.0,
            self.keyframes_asked,
            self.error_ms,
        )
    }
}

fn world(seed: u64, publisher: Publisher) -> World {
    World::new(seed, publisher, Receiver::new(AUTO))
}

/// Runs on and tells what happened meanwhile.
fn stretch(world: &mut World, seconds: u64) -> Findings {
    let (from, r) = (world.now, &world.receiver);
    let before = (
        r.nacked,
        r.lost,
        r.repaired,
        r.keyframes_asked,
        world.publisher.resent,
        world.publisher.packets,
    );
    let first = world.receiver.pictures.len();
    world.run(seconds);
    let (r, p) = (&world.receiver, &world.publisher);
    assert_whole(&r.pictures);
    let pictures = &r.pictures[first..];
    let times: Vec<Duration> = std::iter::once(from)
        .chain(pictures.iter().map(|p| p.at))
        .chain([world.now])
        .collect();
    let sent = (p.packets - before.5) as f64;
    let (lost, repaired) = ((r.lost - before.1) as f64, (r.repaired - before.2) as f64);
    Findings {
        shown: pictures.len() as f64 / (seconds * 30) as f64,
        freeze: times.windows(2).map(|w| w[1] - w[0]).max().unwrap_or_default(),
        asked: (r.nacked - before.0) as f64 / sent,
        resent: (p.resent - before.4) as f64 / sent,
        unrepaired: lost / (lost + repaired).max(1.0),
        keyframes_asked: (r.keyframes_asked - before.3) as f64 / seconds as f64,
        error_ms: pictures.iter().map(|p| p.error_ns.abs()).max().unwrap_or(0) / MS,
    }
}

/// In order, each a keyframe or the one after the one before it. (That each is whole, the receiver saw.)
fn assert_whole(pictures: &[receiver::Left]) {
    for w in pictures.windows(2) {
        assert!(w[1].n > w[0].n, "{} after {}", w[1].n, w[0].n);
        assert!(
            w[1].key || w[1].n == w[0].n + 1,
            "{} needs what came after {}",
            w[1].n,
            w[0].n
        );
    }
}

/// Each condition on its own, for a minute, between a good beginning and a good end.
fn weather(publisher: fn(u64) -> Publisher, path: Path, what: &str) -> Findings {
    let mut world = world(7, publisher(7));
    let before = stretch(&mut world, 10);
    assert!(before.shown > 0.99 && before.resent == 0.0, "{before}");
    world.path(path);
    let found = stretch(&mut world, 60);
    println!("{what}: {found}");
    world.path(GOOD);
    world.run(10);
    let after = stretch(&mut world, 10);
    assert!(
        after.shown > 0.99 && after.resent == 0.0 && after.keyframes_asked == 0.0,
        "{what}, afterwards: {after}"
    );
    found
}

const LOSSY: Path = Path { loss: 0.1, ..GOOD };
const SHAKY: Path = Path {
    jitter: Duration::from_millis(100),
    ..GOOD
};

#[test]
fn ten_per_cent_loss_is_repaired() {
    for (publisher, who) in [
        (Publisher::browser as fn(u64) -> Publisher, "browser"),
        (Publisher::obs, "OBS"),
    ] {
        let found = weather(publisher, LOSSY, &format!("10 % loss, {who}"));
        assert!(found.unrepaired < 0.005, "{found}");
        assert!(found.asked < 0.16, "{found}");
        assert!(found.shown > 0.93, "{found}");
    }
}

#[test]
fn jitter_that_keeps_the_order_asks_for_nothing() {
    let found = weather(Publisher::browser, SHAKY, "100 ms jitter");
    assert!(found.shown > 0.99 && found.asked == 0.0, "{found}");
}

#[test]
fn what_is_only_overtaken_is_seldom_asked_for() {
    let swapped = Path {
        overtaken: 0.05,
        ..GOOD
    };
    let found = weather(Publisher::browser, swapped, "5 % overtaken by up to 30 ms");
    // Asking a fifth of them in vain is cheaper than asking for the lost ones late.
    assert!(found.shown > 0.99 && found.asked < 0.02, "{found}");
    // A shuffle of 100 ms, a path of its own for each packet.
    let found = weather(
        Publisher::browser,
        Path { swaps: true, ..SHAKY },
        "100 ms jitter that shuffles",
    );
    assert!(found.shown > 0.99 && found.asked < 1.0, "{found}");
}

#[test]
fn doubles_change_nothing() {
    let found = weather(Publisher::obs, Path { doubled: 0.3, ..GOOD }, "30 % doubled");
    assert!(found.shown > 0.99 && found.asked < 0.01, "{found}");
}

#[test]
fn everything_at_once() {
    let awful = Path {
        overtaken: 0.05,
        doubled: 0.05,
        ..Path { loss: 0.1, ..SHAKY }
    };
    let found = weather(
        Publisher::browser,
        awful,
        "10 % loss, 100 ms jitter, 5 % overtaken, 5 % doubled",
    );
    assert!(found.asked < 0.2, "{found}");
    assert!(found.shown > 0.75, "{found}");
}

#[test]
fn after_an_outage_nothing_is_repaired_and_the_next_keyframe_is_shown() {
    for (publisher, within) in [
        (Publisher::browser as fn(u64) -> Publisher, 300),
        (Publisher::obs, 2_300),
    ] {
        let mut world = world(3, publisher(3));
        world.run(10);
        let (asked, pictures) = (world.receiver.nacked, world.receiver.pictures.len());
        world.path(Path { cut: true, ..GOOD });
        world.run(3);
        world.path(GOOD);
        let back = world.now;
        let found = stretch(&mut world, 10);
        println!("outage of 3 s: {found}");
        let first = world.receiver.pictures[pictures + 2].at - back;
        assert!(first < Duration::from_millis(within), "{first:?}");
        assert_eq!(
            world.receiver.nacked, asked,
            "three seconds cannot be repaired in time"
        );
        assert!(
            found.keyframes_asked <= 0.3 || !world.publisher.answers_pli,
            "{found}"
        );
    }
}

/// A sender that does not slow down, through a tenth of what it needs: nothing can be shown, and nothing makes it worse.
#[test]
fn a_collapse_brings_no_storm() {
    let narrow = Path {
        kbps: Some(300),
        ..GOOD
    };
    for publisher in [Publisher::browser as fn(u64) -> Publisher, Publisher::obs] {
        let mut world = world(5, publisher(5));
        world.run(10);
        world.path(narrow);
        let found = stretch(&mut world, 10);
        println!("300 kbit/s: {found}");
        assert!(found.resent < 0.1, "{found}");
        assert!(found.keyframes_asked < 1.0, "{found}");
        world.path(GOOD);
        world.run(3);
        let after = stretch(&mut world, 10);
        println!("afterwards: {after}");
        assert!(after.shown > 0.99 && after.resent == 0.0, "{after}");
        assert!(after.error_ms <= 33, "{after}");
    }
}

/// Whatever the seed: nothing broken leaves, requests are bounded, and the lecture goes on afterwards.
#[test]
fn changing_weather() {
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};
    for seed in 0..6 {
        let mut random = StdRng::seed_from_u64(seed);
        let mut world = world(
            seed,
            if seed % 2 == 0 {
                Publisher::browser(seed)
            } else {
                Publisher::obs(seed)
            },
        );
        for _ in 0..30 {
            let path = Path {
                delay: Duration::from_millis(random.random_range(1..150)),
                jitter: Duration::from_millis(random.random_range(0..100)),
                swaps: random.random_bool(0.3),
                loss: random.random_range(0.0..0.3),
                overtaken: random.random_range(0.0..0.1),
                doubled: random.random_range(0.0..0.1),
                kbps: random.random_bool(0.3).then(|| random.random_range(300..4_000)),
                queue_bytes: random.random_range(10_000..200_000),
                cut: random.random_bool(0.1),
            };
            world.path(path);
            let found = stretch(&mut world, 2);
            assert!(found.asked < 0.6 + 256.0 / 100.0, "{path:?}: {found}");
            assert!(found.keyframes_asked <= 3.0, "{path:?}: {found}");
        }
        world.path(GOOD);
        world.run(5);
        let after = stretch(&mut world, 5);
        assert!(after.shown > 0.99, "seed {seed}: {after}");
    }
}
