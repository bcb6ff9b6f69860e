use timeline::{Stamp, StampSource, WallTime};

use super::*;
use crate::{Kind, Person, Role};

fn entry(seq: u64, ticks: i64, kind: Kind) -> Entry {
    let event = Event {
        seq,
        stamp: Stamp {
            at: MediaTime::from_ticks(ticks),
            source: StampSource::Clamped,
        },
        sent: WallTime::from_unix_millis(1_760_000_000_000),
        author: Person {
            id: "p".into(),
            name: "Ana".into(),
            role: Role::Moderator,
        },
        kind,
    };
    Entry {
        accepted: Accepted {
            event,
            reference: format!("c{seq}"),
            target_at: None,
        },
        window: 0,
    }
}

fn text(seq: u64, ticks: i64) -> Entry {
    entry(
        seq,
        ticks,
        Kind::Text {
            body: Some(format!("text {seq}")),
        },
    )
}

async fn record() -> (tempfile::TempDir, Record, BroadcastId) {
    let folder = tempfile::tempdir().unwrap();
    let record = Record::open(&folder.path().join("rooms.db")).await.unwrap();
    let id: BroadcastId = "algebra".parse().unwrap();
    record.room(&id).await.unwrap();
    (folder, record, id)
}

#[tokio::test]
async fn what_is_kept_is_read_again_after_reopening() {
    let (folder, record, id) = record().await;
    let room = record.room(&id).await.unwrap();
    let entries = vec![text(1, 50), text(2, 10), entry(3, 60, Kind::Delete { target: 1 })];
    let events: Vec<_> = entries.iter().map(|e| e.accepted.event.clone()).collect();
    record.append(&id, entries).await.unwrap();
    record.close().await;
    assert!(matches!(
        record.append(&id, vec![text(4, 0)]).await,
        Err(Error::Closing)
    ));

    let record = Record::open(&folder.path().join("rooms.db")).await.unwrap();
    assert_eq!(record.room(&id).await.unwrap(), room);
    let kept = record.page(&id, 1, u64::MAX, 10).await.unwrap();
    assert_eq!(kept, [events[0].deleted(), events[1].clone(), events[2].clone()]);
    let recent = record.recent(&id, 2).await.unwrap();
    assert_eq!(
        recent
            .iter()
            .map(|(e, r)| (e.seq, r.as_str()))
            .collect::<Vec<_>>(),
        [(2, "c2"), (3, "c3")]
    );
    assert!(record.target(&id, 1).await.unwrap().unwrap().deleted);
    assert_eq!(record.target(&id, 3).await.unwrap(), None);
    let range = (MediaTime::ZERO, MediaTime::from_ticks(51));
    assert_eq!(record.texts(&id, range).await.unwrap(), [events[1].clone()]);
}

#[tokio::test]
async fn a_commit_is_whole_or_nothing() {
    let (_folder, record, id) = record().await;
    record.append(&id, vec![text(1, 0)]).await.unwrap();
    let twice = vec![text(2, 0), text(1, 0)];
    assert!(matches!(record.append(&id, twice).await, Err(Error::NotKept(_))));
    assert_eq!(record.page(&id, 1, 9, 9).await.unwrap().len(), 1);
}

#[tokio::test]
async fn the_record_knows_where_the_replay_stands() {
    let (_folder, record, id) = record().await;
    record.append(&id, vec![text(1, 0)]).await.unwrap();
    record.ended(&id).await.unwrap();
    assert!(!record.is_settled(&id).await.unwrap());
    assert_eq!(record.unsettled().await.unwrap(), std::slice::from_ref(&id));
    record
        .sealed(
            &id,
            &Sealed {
                n: 0,
                upto: 1,
                listed: None,
            },
        )
        .await
        .unwrap();
    assert!(record.is_settled(&id).await.unwrap());
    record.append(&id, vec![text(2, 0)]).await.unwrap();
    assert!(!record.is_settled(&id).await.unwrap(), "a late event");
    assert!(!record.is_settled(&"other".parse().unwrap()).await.unwrap());
}

/// `cargo test -p chat --release -- --ignored --nocapture acknowledges`
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn how_fast_the_record_acknowledges() {
    const WRITERS: u64 = 50;
    const EACH: u64 = 200;
    let (_folder, record, _) = record().await;
    let began = std::time::Instant::now();
    let writers = (0..WRITERS).map(|writer| {
        let record = record.clone();
        tokio::spawn(async move {
            let id: BroadcastId = format!("room-{writer}").parse().unwrap();
            record.room(&id).await.unwrap();
            let mut slowest = Duration::ZERO;
            for seq in 1..=EACH {
                let asked = std::time::Instant::now();
                record.append(&id, vec![text(seq, 0)]).await.unwrap();
                slowest = slowest.max(asked.elapsed());
            }
            slowest
        })
    });
    let mut slowest = Duration::ZERO;
    for writer in writers.collect::<Vec<_>>() {
        slowest = slowest.max(writer.await.unwrap());
    }
    let rate = (WRITERS * EACH) as f64 / began.elapsed().as_secs_f64();
    println!("{rate:.0} messages/s from {WRITERS} writers, the slowest after {slowest:?}");
}
