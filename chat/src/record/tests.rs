use super::*;
use crate::event::{Audience, Poll, Results};
use crate::room::{Audit, State};
use crate::testing::{accepted, event};
use crate::{Event, Kind};

fn entry(accepted: Accepted) -> Entry {
    Entry {
        windows: (0, 0),
        accepted,
    }
}

fn text(seq: u64, ticks: i64) -> Entry {
    entry(accepted(crate::testing::text(seq, ticks, &format!("text {seq}"))))
}

#[path = "../../tests/common/postgres.rs"]
mod postgres;
use postgres::Postgres;

/// Where a record lives: each test runs in both.
enum Home {
    File(tempfile::TempDir),
    Server(Postgres),
}

impl Home {
    async fn both() -> [Home; 2] {
        [
            Home::File(tempfile::tempdir().unwrap()),
            Home::Server(Postgres::start().await),
        ]
    }

    async fn open(&self) -> Record {
        match self {
            Home::File(folder) => Record::open(&folder.path().join("rooms.db")).await.unwrap(),
            Home::Server(postgres) => Record::connect(&postgres.url()).await.unwrap(),
        }
    }

    /// With one room.
    async fn record(&self) -> (Record, BroadcastId) {
        let (record, id) = (self.open().await, "algebra".parse().unwrap());
        record.room(&id).await.unwrap();
        (record, id)
    }
}

#[tokio::test]
async fn what_is_kept_is_read_again_after_reopening() {
    for home in Home::both().await {
        let (record, id) = home.record().await;
        let room = record.room(&id).await.unwrap();
        let entries = vec![
            text(1, 50),
            text(2, 10),
            entry(accepted(event(3, Kind::Delete { target: 1 }))),
        ];
        let events: Vec<_> = entries.iter().map(|e| e.accepted.event.clone()).collect();
        record.append(&id, entries).await.unwrap();
        record.close().await;
        assert!(matches!(
            record.append(&id, vec![text(4, 0)]).await,
            Err(Error::Closing)
        ));

        let record = home.open().await;
        assert_eq!(record.room(&id).await.unwrap(), room);
        let kept = record.page(&id, 1, u64::MAX, 10).await.unwrap();
        assert_eq!(kept, [events[0].blanked(), events[1].clone(), events[2].clone()]);
        let recent = record.kept(&id, 2).await.unwrap();
        let seqs: Vec<_> = recent.recent.iter().map(|(e, r)| (e.seq, r.as_str())).collect();
        assert_eq!((recent.last, seqs), (3, vec![(2, "c2"), (3, "c3")]));
        assert_eq!(record.event(&id, 1).await.unwrap().unwrap().kind.body(), None);
        let range = (MediaTime::ZERO, MediaTime::from_ticks(51));
        assert_eq!(record.texts(&id, range).await.unwrap(), [events[1].clone()]);
    }
}

#[tokio::test]
async fn a_commit_is_whole_or_nothing() {
    for home in Home::both().await {
        let (record, id) = home.record().await;
        record.append(&id, vec![text(1, 0)]).await.unwrap();
        let twice = vec![text(2, 0), text(1, 0)];
        assert!(matches!(record.append(&id, twice).await, Err(Error::NotKept(_))));
        assert_eq!(record.page(&id, 1, 9, 9).await.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn the_record_knows_where_the_replay_stands() {
    for home in Home::both().await {
        let (record, id) = home.record().await;
        record.append(&id, vec![text(1, 0)]).await.unwrap();
        record.ended(&id, 5).await.unwrap();
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
}

#[tokio::test]
async fn everything_is_read_as_it_was_kept() {
    for home in Home::both().await {
        let (record, id) = home.record().await;
        let poll = Poll {
            question: "which?".into(),
            options: vec!["a".into(), "b".into()],
            multiple: true,
            quiz: true,
            results: Results::Live,
            closes: Some(7),
            right: Some(vec![1]),
        };
        let mut held = crate::testing::text(1, 5, "hm \"quoted\" \u{1F600}");
        held.audience = Audience::StaffAnd("ana".into());
        let nobodys = event(
            3,
            Kind::Vote {
                target: 2,
                choices: vec![0],
            },
        );
        let events = [
            held,
            event(2, Kind::Poll(poll)),
            Event {
                audience: Audience::Nobody,
                ..nobodys
            },
            event(
                4,
                Kind::Note {
                    target: None,
                    person: Some("ana".into()),
                    body: Some("polite".into()),
                },
            ),
            Event {
                author: None,
                ..event(
                    5,
                    Kind::Reactions {
                        counts: [("👍".to_owned(), 3)].into(),
                    },
                )
            },
            event(
                6,
                Kind::Settings {
                    settings: Box::default(),
                },
            ),
        ];
        record
            .append(
                &id,
                events
                    .iter()
                    .cloned()
                    .map(|event| entry(accepted(event)))
                    .collect(),
            )
            .await
            .unwrap();
        let kept = record.kept(&id, 100).await.unwrap();
        let read: Vec<_> = kept.recent.into_iter().map(|(event, _)| event).collect();
        let seen: Vec<_> = events
            .iter()
            .filter(|event| event.audience != Audience::Nobody)
            .cloned()
            .collect();
        assert_eq!((read, kept.last), (seen, 6));
        assert_eq!(kept.state.tally(2).unwrap().counts, [1, 0]);
        let mut before = State::default();
        let range = (MediaTime::ZERO, events[2].at());
        record.fold(&id, &mut before, range).await.unwrap();
        assert_eq!(before.tally(2).unwrap().counts, [0, 0], "the vote comes then");
        assert_eq!(
            record.theirs(&id, "ana").await.unwrap().len(),
            5,
            "the room's own event is not hers"
        );
    }
}

#[tokio::test]
async fn several_nodes_write_one_order() {
    for home in Home::both().await {
        let (record, id) = home.record().await;
        let other = home.open().await;
        let epoch = record.room(&id).await.unwrap().epoch;
        let nodes = [&record, &other, &record, &other].into_iter().enumerate();
        let writing = nodes.map(|(n, node)| {
            let entries = (n as u64 + 1..=6).map(|seq| text(seq, 0)).collect();
            node.extend(&id, &epoch, entries)
        });
        for wrote in futures::future::join_all(writing).await {
            wrote.unwrap();
        }
        assert_eq!(record.position(&id).await.unwrap(), Some((epoch.clone(), 6)));
        assert_eq!(record.stretch(&id, 2, 4).await.unwrap().len(), 3);

        // A place that is somebody else's by now, and another epoch.
        let mut foreign = text(6, 0);
        foreign.accepted.reference = "another".into();
        let taken = record.extend(&id, &epoch, vec![foreign]).await;
        assert!(matches!(taken, Err(Error::Stale)));
        assert!(record.renew(&id, &epoch, "1-next").await.unwrap());
        assert!(!other.renew(&id, &epoch, "1-other").await.unwrap());
        let late = other.extend(&id, &epoch, vec![text(7, 0)]).await;
        assert!(matches!(late, Err(Error::Stale)));
        record.extend(&id, "1-next", vec![text(7, 0)]).await.unwrap();
    }
}

#[tokio::test]
async fn what_was_deleted_is_not_edited_back() {
    for home in Home::both().await {
        let (record, id) = home.record().await;
        let epoch = record.room(&id).await.unwrap().epoch;
        record.extend(&id, &epoch, vec![text(1, 0)]).await.unwrap();
        let text = crate::testing::text(1, 0, "text 1");
        let mut delete = accepted(event(2, Kind::Delete { target: 1 }));
        delete.amends = vec![text.blanked()];
        // Another node did not know of it yet.
        let body = Some("edited".to_owned());
        let mut edit = accepted(event(3, Kind::Edit { target: 1, body }));
        edit.amends = vec![text.edited("edited", 9)];
        record
            .extend(&id, &epoch, vec![entry(delete), entry(edit)])
            .await
            .unwrap();
        let kept = record.event(&id, 1).await.unwrap().unwrap();
        assert_eq!(kept.kind.body(), None);
    }
}

#[tokio::test]
async fn a_database_that_is_not_there_is_said_at_once() {
    let nobody = Record::connect("postgres://lectern@127.0.0.1:1/rooms").await;
    let Err(Error::Connect(why)) = nobody else {
        panic!("nobody is there");
    };
    assert!(why.contains("refused"), "{why}");
}

#[tokio::test]
async fn the_audit_log_outlives_what_it_is_about() {
    for home in Home::both().await {
        let (record, id) = home.record().await;
        record.append(&id, vec![text(1, 0)]).await.unwrap();
        let mut delete = accepted(event(2, Kind::Delete { target: 1 }));
        let hash = Some("ab".to_owned());
        delete.audit = Some(Audit {
            actor: None,
            sent: 9,
            action: "delete".into(),
            target: "1".into(),
            hash,
        });
        record.append(&id, vec![entry(delete)]).await.unwrap();
        record.clear(&id).await.unwrap();
        let lines = record.audit(&id, 0, 10).await.unwrap();
        assert_eq!(
            (
                lines.len(),
                lines[0].seq,
                lines[0].actor.id.as_str(),
                lines[0].hash.as_deref()
            ),
            (1, 2, "ana", Some("ab"))
        );
        let kept = record.kept(&id, 100).await.unwrap();
        assert_eq!((kept.last, kept.recent.len()), (2, 0), "the numbers go on");
    }
}

/// `cargo test -p chat --release -- --ignored --nocapture acknowledges`, with `RECORD=postgres` in PostgreSQL (whose
/// commits here do not reach the disk)
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn how_fast_the_record_acknowledges() {
    const WRITERS: u64 = 50;
    const EACH: u64 = 200;
    let home = match std::env::var("RECORD").as_deref() {
        Ok("postgres") => Home::Server(Postgres::start().await),
        _ => Home::File(tempfile::tempdir().unwrap()),
    };
    let record = home.open().await;
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
