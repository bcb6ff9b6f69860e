//! Against a real Redis.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::StreamExt;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::*;

#[path = "../../tests/common/redis.rs"]
mod server;
use server::{Redis, Relay};

/// Only something that is broken takes so long.
const PATIENCE: Duration = Duration::from_secs(60);

type Follower = Pin<Box<dyn Stream<Item = Heard> + Send>>;

fn room() -> BroadcastId {
    "algebra".parse().unwrap()
}

fn draft(key: &str) -> Draft {
    Draft {
        key: key.into(),
        payload: format!("payload of {key}").into(),
    }
}

fn at(epoch: &str, seq: u64) -> Position {
    Position {
        epoch: epoch.into(),
        seq,
    }
}

fn event(seq: u64, key: &str) -> Heard {
    let payload = draft(key).payload;
    Heard::Event { seq, payload }
}

async fn seeded(redis: &Redis) -> Broker {
    let broker = Broker::open(&redis.url()).await.unwrap();
    assert_eq!(broker.seed(&room(), &at("1-a", 0)).await.unwrap(), "1-a");
    broker
}

fn follow(broker: &Broker, known: &Position) -> Follower {
    Box::pin(broker.follow(&room(), known.clone()))
}

async fn next(follower: &mut Follower) -> Heard {
    let heard = tokio::time::timeout(PATIENCE, follower.next()).await;
    heard.expect("something is heard").expect("it goes on")
}

async fn hear(follower: &mut Follower, n: usize) -> Vec<Heard> {
    let mut heard = Vec::new();
    while heard.len() < n {
        heard.push(next(follower).await);
    }
    heard
}

/// As whoever uses it does: until it is known to be in the log.
async fn publish(broker: &Broker, known: &Position, drafts: &[Draft]) -> Vec<u64> {
    loop {
        match broker.publish(&room(), known, drafts).await {
            Ok(seqs) => return seqs,
            Err(Failed::Lost) => panic!("the log is there"),
            Err(Failed::Away(_)) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

#[tokio::test]
async fn drafts_get_their_order_once() {
    let redis = Redis::start();
    let (one, other) = (seeded(&redis).await, Broker::open(&redis.url()).await.unwrap());
    let start = at("1-a", 0);
    let mut heard = follow(&other, &start);
    let seqs = one
        .publish(&room(), &start, &[draft("a"), draft("b"), draft("a")])
        .await;
    assert_eq!(seqs.unwrap(), [1, 2, 1]);
    let seqs = other.publish(&room(), &start, &[draft("c"), draft("b")]).await;
    assert_eq!(seqs.unwrap(), [3, 2]);
    assert_eq!(
        hear(&mut heard, 3).await,
        [event(1, "a"), event(2, "b"), event(3, "c")]
    );
    let mut late = follow(&one, &at("1-a", 1));
    assert_eq!(hear(&mut late, 2).await, [event(2, "b"), event(3, "c")]);
}

#[tokio::test]
async fn rooms_are_apart() {
    let redis = Redis::start();
    let broker = seeded(&redis).await;
    let biology: BroadcastId = "biology".parse().unwrap();
    assert_eq!(broker.seed(&biology, &at("4-x", 70)).await.unwrap(), "4-x");
    let seqs = broker
        .publish(&biology, &at("4-x", 70), &[draft("a")])
        .await
        .unwrap();
    assert_eq!(seqs, [71]);
    assert_eq!(publish(&broker, &at("1-a", 0), &[draft("a")]).await, [1]);
    assert_eq!(next(&mut follow(&broker, &at("1-a", 0))).await, event(1, "a"));
}

#[tokio::test]
async fn a_log_that_was_lost_is_seeded_by_the_newest_epoch() {
    let redis = Redis::start();
    let broker = seeded(&redis).await;
    let known = at("1-a", 0);
    publish(&broker, &known, &[draft("a"), draft("b")]).await;
    let mut follower = follow(&broker, &known);
    hear(&mut follower, 2).await;

    let mut connection = redis.connection().await;
    redis::cmd("FLUSHALL").exec_async(&mut connection).await.unwrap();
    assert_eq!(
        broker.publish(&room(), &known, &[draft("c")]).await,
        Err(Failed::Lost)
    );
    let next_epochs = [next_epoch(&["1-a"]), next_epoch(&["1-a", "no number"])];
    assert!(next_epochs.iter().all(|epoch| epoch.starts_with("2-")) && next_epochs[0] != next_epochs[1]);

    // The first of equals, then a newer one, wins.
    assert_eq!(broker.seed(&room(), &at("2-b", 1)).await.unwrap(), "2-b");
    assert_eq!(broker.seed(&room(), &at("2-c", 1)).await.unwrap(), "2-b");
    assert_eq!(publish(&broker, &at("2-b", 1), &[draft("b")]).await, [2]);
    assert_eq!(broker.seed(&room(), &at("3-d", 1)).await.unwrap(), "3-d");
    assert_eq!(broker.seed(&room(), &at("2-e", 9)).await.unwrap(), "3-d");
    assert_eq!(
        publish(&broker, &at("3-d", 1), &[draft("b"), draft("x")]).await,
        [2, 3]
    );
    // Its delivery is of another epoch.
    assert_eq!(next(&mut follower).await, Heard::Lost);
    assert_eq!(follower.next().await, None);
}

#[tokio::test]
async fn a_log_that_knows_less_than_was_seen_of_it_is_lost() {
    let redis = Redis::start();
    let broker = seeded(&redis).await;
    publish(&broker, &at("1-a", 0), &[draft("a")]).await;
    assert_eq!(
        broker.publish(&room(), &at("1-a", 2), &[draft("b")]).await,
        Err(Failed::Lost)
    );
    assert_eq!(next(&mut follow(&broker, &at("1-a", 2))).await, Heard::Lost);
}

#[tokio::test]
async fn what_the_log_no_longer_has_is_missing() {
    let redis = Redis::start();
    let broker = seeded(&redis).await;
    let known = at("1-a", 0);
    for batch in 0..10 {
        let drafts: Vec<_> = (0..BATCH).map(|n| draft(&format!("{batch}-{n}"))).collect();
        publish(&broker, &known, &drafts).await;
    }
    broker.erase(&room(), "1-a", &[2_559]).await.unwrap();
    broker.erase(&room(), "another", &[2_560]).await.unwrap();
    let mut follower = follow(&broker, &known);
    let Heard::Missing { from: 1, to } = next(&mut follower).await else {
        panic!("the oldest are gone");
    };
    // Redis trims whole nodes of its tree.
    assert!((300..=2_560 - EVENTS as u64).contains(&to), "{to}");
    for seq in to + 1..2_559 {
        assert!(matches!(next(&mut follower).await, Heard::Event { seq: n, .. } if n == seq));
    }
    assert_eq!(
        next(&mut follower).await,
        Heard::Missing {
            from: 2_559,
            to: 2_559
        }
    );
    assert_eq!(next(&mut follower).await, event(2_560, "9-255"));
}

#[tokio::test]
async fn every_node_hears_what_is_recorded() {
    let redis = Redis::start();
    let (one, other) = (seeded(&redis).await, Broker::open(&redis.url()).await.unwrap());
    let known = at("1-a", 0);
    let mut follower = follow(&other, &known);
    publish(&one, &known, &[draft("a"), draft("b"), draft("c")]).await;
    assert_eq!(one.position(&room()).await, Ok(Some(at("1-a", 3))));
    one.recorded(&room(), &at("1-a", 2)).await.unwrap();
    one.recorded(&room(), &at("1-a", 1)).await.unwrap();
    one.recorded(&room(), &at("0-x", 3)).await.unwrap();
    let mut heard = hear(&mut follower, 4).await;
    let recorded = heard.iter().position(|heard| *heard == Heard::Recorded(2));
    heard.remove(recorded.expect("it is told"));
    assert_eq!(heard, [event(1, "a"), event(2, "b"), event(3, "c")]);
    one.recorded(&room(), &at("1-a", 3)).await.unwrap();
    assert_eq!(next(&mut follower).await, Heard::Recorded(3));
    let late = hear(&mut follow(&one, &known), 4).await;
    assert_eq!(late[3], Heard::Recorded(3));
    assert_eq!(one.position(&"biology".parse().unwrap()).await, Ok(None));
}

#[tokio::test]
async fn nodes_are_counted_and_one_leads() {
    let redis = Redis::start();
    let (one, other) = (seeded(&redis).await, Broker::open(&redis.url()).await.unwrap());
    let (leads, follows) = (true, false);
    let is = |present, leads| Ok(Attendance { present, leads });
    assert_eq!(one.attend(&room(), 3, false).await, is(3, leads));
    assert_eq!(other.attend(&room(), 4, false).await, is(7, follows));
    assert_eq!(one.attend(&room(), 0, false).await, is(4, leads));
    one.leave(&room()).await.unwrap();
    assert_eq!(other.attend(&room(), 4, false).await, is(4, leads));

    // A node that is not heard of any more.
    let mut connection = redis.connection().await;
    assert_eq!(one.attend(&room(), 3, false).await, is(7, follows));
    let keys = Keys::of(&room());
    let _: () = redis::cmd("DEL")
        .arg(&keys.lease)
        .query_async(&mut connection)
        .await
        .unwrap();
    let gone = (&keys.present, &other.0.node, "4 1000");
    let _: () = redis::cmd("HSET")
        .arg(gone)
        .query_async(&mut connection)
        .await
        .unwrap();
    assert_eq!(one.attend(&room(), 3, false).await, is(3, leads));
    assert_eq!(other.attend(&room(), 4, true).await, is(7, leads));
    assert_eq!(one.attend(&room(), 3, false).await, is(7, follows));
}

#[tokio::test]
async fn a_frozen_redis_is_noticed_and_taken_up_again() {
    let redis = Redis::start();
    let broker = seeded(&redis).await;
    let known = at("1-a", 0);
    let mut follower = follow(&broker, &known);
    publish(&broker, &known, &[draft("a")]).await;
    assert_eq!(next(&mut follower).await, event(1, "a"));
    redis.freeze();
    // It may be done later all the same.
    assert!(matches!(
        broker.publish(&room(), &known, &[draft("b")]).await,
        Err(Failed::Away(_))
    ));
    let mut live = broker.0.link.watch();
    live.wait_for(Option::is_none).await.unwrap();
    redis.thaw();
    assert_eq!(publish(&broker, &known, &[draft("b"), draft("c")]).await, [2, 3]);
    assert_eq!(hear(&mut follower, 2).await, [event(2, "b"), event(3, "c")]);
}

#[tokio::test]
async fn a_redis_that_was_killed_is_taken_up_again() {
    let mut redis = Redis::start();
    let broker = seeded(&redis).await;
    let known = at("1-a", 0);
    let mut follower = follow(&broker, &known);
    publish(&broker, &known, &[draft("a")]).await;
    redis.kill();
    broker.0.link.watch().wait_for(Option::is_none).await.unwrap();
    assert!(!broker.is_up());
    redis.restart();
    assert_eq!(publish(&broker, &known, &[draft("a"), draft("b")]).await, [1, 2]);
    assert_eq!(hear(&mut follower, 2).await, [event(1, "a"), event(2, "b")]);
}

#[tokio::test]
async fn what_is_wrong_is_said_at_once() {
    let redis = Redis::start();
    let wrong = format!("{}/99", redis.url());
    assert!(matches!(Broker::open(&wrong).await, Err(Error::Refused(_))));
    assert!(matches!(Broker::open("http://redis").await, Err(Error::Url(_))));
    // Nobody is there yet: that may change.
    let nobody = format!("redis://127.0.0.1:{}", server::free_port());
    let broker = Broker::open(&nobody).await.unwrap();
    assert!(!broker.is_up());
    assert!(matches!(
        broker.attend(&room(), 1, false).await,
        Err(Failed::Away(_))
    ));
}

#[tokio::test]
async fn nobody_listens_any_more() {
    let redis = Redis::start();
    let broker = seeded(&redis).await;
    let known = at("1-a", 0);
    let mut follower = follow(&broker, &known);
    publish(&broker, &known, &[draft("a")]).await;
    next(&mut follower).await;
    drop(follower);
    let mut connection = redis.connection().await;
    let mut channels = async || -> Vec<String> {
        let mut command = redis::cmd("PUBSUB");
        command
            .arg("SHARDCHANNELS")
            .query_async(&mut connection)
            .await
            .unwrap()
    };
    let waiting = async {
        while !channels().await.is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap();
    let mut follower = follow(&broker, &known);
    publish(&broker, &known, &[draft("b")]).await;
    assert_eq!(hear(&mut follower, 2).await, [event(1, "a"), event(2, "b")]);
}

/// What happens to the network of a node, and for how long.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Cut(u64),
    Silence(u64),
}

fn faults() -> impl Strategy<Value = Vec<(usize, Fault)>> {
    let fault = prop_oneof![
        4 => (0..60u64).prop_map(Fault::Cut),
        1 => (0..60u64).prop_map(Fault::Silence),
    ];
    prop::collection::vec((0..3usize, fault), 1..12)
}

/// Three nodes publish and follow while their networks are cut: everything is in the order once, and all of them hear
/// the same.
#[test]
fn nothing_is_lost_or_doubled_when_networks_are_cut() {
    const EACH: usize = 60;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let redis = Redis::start();
    let config = ProptestConfig {
        cases: 12,
        max_shrink_iters: 8,
        ..ProptestConfig::default()
    };
    let runs = AtomicUsize::new(0);
    TestRunner::new(config)
        .run(&faults(), |faults| {
            let run = runs.fetch_add(1, Ordering::Relaxed);
            let room: BroadcastId = format!("room-{run}").parse().unwrap();
            runtime.block_on(async {
                let start = at("1-a", 0);
                let mut relays = Vec::new();
                let mut nodes = Vec::new();
                for node in 0..3 {
                    let relay = Relay::to(redis.address()).await;
                    let broker = Broker::open(&relay.url()).await.unwrap();
                    relays.push(relay);
                    broker.seed(&room, &start).await.unwrap();
                    nodes.push(tokio::spawn(cut_off(broker, room.clone(), node, EACH)));
                }
                for (node, fault) in faults {
                    let (Fault::Cut(ms) | Fault::Silence(ms)) = fault;
                    match fault {
                        Fault::Cut(_) => relays[node].cut(),
                        Fault::Silence(_) => relays[node].silence(),
                    }
                    tokio::time::sleep(Duration::from_millis(ms)).await;
                    relays[node].mend();
                }
                let mut all = Vec::new();
                for node in nodes {
                    let run = tokio::time::timeout(PATIENCE, node);
                    all.push(run.await.expect("they come to an end").unwrap());
                }
                let (_, heard) = &all[0];
                assert_eq!(heard.len(), 3 * EACH);
                assert!(heard.keys().copied().eq(1..=3 * EACH as u64));
                let mut keys: Vec<_> = heard.values().collect();
                keys.sort();
                keys.dedup();
                assert_eq!(keys.len(), 3 * EACH, "each once");
                for (acknowledged, theirs) in &all {
                    assert_eq!(theirs, heard, "the same order everywhere");
                    for (key, seq) in acknowledged {
                        assert_eq!(&heard[seq], key);
                    }
                }
            });
            Ok(())
        })
        .unwrap();
}

type Published = Vec<(Bytes, u64)>;

/// Publishes `each` drafts, a few at a time, and follows the room until it has heard those of all three nodes.
async fn cut_off(
    broker: Broker,
    room: BroadcastId,
    node: usize,
    each: usize,
) -> (Published, BTreeMap<u64, Bytes>) {
    let start = at("1-a", 0);
    let mut follower = Box::pin(broker.follow(&room, start.clone()));
    let publishing = async {
        let mut published = Vec::new();
        let drafts: Vec<_> = (0..each).map(|n| draft(&format!("{node}-{n}"))).collect();
        for drafts in drafts.chunks(3) {
            let seqs = loop {
                match broker.publish(&room, &start, drafts).await {
                    Ok(seqs) => break seqs,
                    Err(Failed::Lost) => panic!("the log is there"),
                    Err(Failed::Away(_)) => tokio::time::sleep(Duration::from_millis(5)).await,
                }
            };
            published.extend(drafts.iter().map(|draft| draft.payload.clone()).zip(seqs));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        published
    };
    let hearing = async {
        let mut heard = BTreeMap::new();
        while heard.len() < 3 * each {
            match follower.next().await {
                Some(Heard::Event { seq, payload }) => {
                    assert_eq!(seq, heard.len() as u64 + 1, "in order, without a hole");
                    heard.insert(seq, payload);
                }
                other => panic!("{other:?}"),
            }
        }
        heard
    };
    tokio::join!(publishing, hearing)
}
