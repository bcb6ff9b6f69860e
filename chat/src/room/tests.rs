use proptest::prelude::*;
use timeline::{Span, StampSource, Timeline};

use super::*;
use crate::Rate;

const ORIGIN: WallTime = WallTime::from_unix_millis(1_760_000_000_000);

fn person(id: &str, role: Role) -> Person {
    Person {
        id: id.into(),
        name: id.to_uppercase(),
        role,
    }
}

fn ana() -> Person {
    person("ana", Role::Participant)
}

fn live() -> Line {
    Line::Live {
        timeline: Timeline::starting(ORIGIN),
    }
}

fn ended() -> Line {
    Line::Ended {
        timeline: Timeline::starting(ORIGIN),
        duration: MediaTime::from_ticks(90_000),
    }
}

fn now() -> WallTime {
    ORIGIN + Span::from_millis(60_000)
}

fn free() -> Config {
    let free = Rate {
        messages: 1_000_000,
        per_ms: 1,
    };
    Config {
        rate: free,
        host_rate: free,
        room_rate: free,
        ..Config::default()
    }
}

fn room(config: Config) -> Room {
    Room::new("e1".into(), config, Vec::new())
}

fn say<'a>(reference: &'a str, body: &'a str) -> Say<'a> {
    Say {
        reference,
        body,
        playing: None,
    }
}

impl Room {
    fn said(&mut self, by: &Person, reference: &str, body: &str) -> Result<u64, Code> {
        let receipt = Room::say(self, by, say(reference, body), &live(), now());
        self.stored();
        receipt.map(|r| r.seq).map_err(|r| r.code)
    }

    fn deleted(&mut self, by: &Person, seq: u64, line: &Line) -> Result<u64, Code> {
        let target = self.find(seq).unwrap();
        let receipt = self.delete(by, &format!("d{seq}"), target, line, now());
        self.stored();
        receipt.map(|r| r.seq).map_err(|r| r.code)
    }

    fn seqs(&self) -> Vec<u64> {
        self.since(0).map(|event| event.seq).collect()
    }
}

#[test]
fn what_is_said_stands_where_its_writer_was_looking() {
    let mut room = room(Config::default());
    let playing = Some(ORIGIN + Span::from_millis(50_000));
    let receipt = room
        .say(
            &ana(),
            Say {
                playing,
                ..say("c1", " hi ")
            },
            &live(),
            now(),
        )
        .unwrap();
    assert_eq!(
        receipt,
        Receipt {
            seq: 1,
            at: MediaTime::ZERO + Span::from_millis(50_000)
        }
    );
    assert_eq!(room.since(0).count(), 0, "nobody sees it before it is stored");
    room.stored();
    let event = room.since(0).next().unwrap();
    assert_eq!(event.stamp.source, StampSource::Playhead);
    assert_eq!(
        event.kind,
        Kind::Text {
            body: Some("hi".into())
        }
    );
}

#[test]
fn limits() {
    let mut room = room(Config {
        max_body_chars: 5,
        ..free()
    });
    assert_eq!(room.said(&ana(), "1", "🙂🙂🙂🙂🙂"), Ok(1));
    assert_eq!(room.said(&ana(), "2", "123456"), Err(Code::TooLong));
    assert_eq!(room.said(&ana(), "3", "\u{200B} \n"), Err(Code::Empty));
    assert_eq!(
        room.said(&person("v", Role::Viewer), "4", "hi"),
        Err(Code::Forbidden)
    );
    assert_eq!(room.last(), 1);
}

#[test]
fn who_talks_too_much_is_told_when_to_go_on() {
    let mut room = room(Config::default());
    for n in 0..5 {
        room.said(&ana(), &format!("c{n}"), "hi").unwrap();
    }
    let refused = room.say(&ana(), say("c6", "hi"), &live(), now()).unwrap_err();
    assert_eq!((refused.code, refused.retry_after_ms), (Code::Rate, Some(1_000)));
    assert_eq!(room.said(&person("bo", Role::Participant), "c1", "hi"), Ok(6));
    assert_eq!(room.said(&ana(), "c0", "hi"), Ok(1), "a resend is no new message");
    for n in 0..20 {
        room.said(&person("h", Role::Host), &format!("h{n}"), "hi")
            .unwrap();
    }
}

#[test]
fn a_whole_room_has_a_limit_too() {
    let config = Config {
        room_rate: Rate {
            messages: 3,
            per_ms: 1_000,
        },
        ..Config::default()
    };
    let mut room = room(config);
    let crowd = |n: u32| person(&n.to_string(), Role::Participant);
    let taken = (0..10)
        .filter(|n| room.said(&crowd(*n), "c1", "hi").is_ok())
        .count();
    assert_eq!(taken, 3);
    assert!(room.said(&person("h", Role::Host), "c1", "quiet please").is_ok());
}

#[test]
fn a_resend_is_acknowledged_and_not_doubled() {
    let mut room = room(free());
    assert_eq!(room.said(&ana(), "c1", "hi"), Ok(1));
    assert_eq!(room.said(&ana(), "c1", "hi"), Ok(1));
    assert_eq!(room.said(&ana(), "c1", "another text, so another message"), Ok(2));
    assert_eq!(room.said(&person("bo", Role::Participant), "c1", "hi"), Ok(3));
    // Twice before the first one is stored.
    let first = room.say(&ana(), say("c9", "hi"), &live(), now()).unwrap();
    assert_eq!(room.say(&ana(), say("c9", "hi"), &live(), now()), Ok(first));
    room.stored();
    assert_eq!(room.seqs(), [1, 2, 3, 4]);
    assert_eq!(room.deleted(&ana(), 1, &live()), Ok(5));
    assert_eq!(room.deleted(&ana(), 1, &live()), Ok(5));
    // And after the room was taken up again from the record.
    let events = room.since(0).map(|e| ((**e).clone(), "c1".to_string())).collect();
    let mut again = Room::new("e1".into(), free(), events);
    assert_eq!(again.said(&person("bo", Role::Participant), "c1", "hi"), Ok(3));
}

#[test]
fn who_may_delete() {
    let mut room = room(free());
    let bo = person("bo", Role::Participant);
    let (host, moderator) = (person("h", Role::Host), person("m", Role::Moderator));
    for n in 1..=4 {
        room.said(&ana(), &format!("c{n}"), "hi").unwrap();
    }
    assert_eq!(room.deleted(&bo, 1, &live()), Err(Code::Forbidden));
    assert_eq!(
        room.deleted(&person("ana", Role::Viewer), 1, &live()),
        Err(Code::Forbidden)
    );
    assert_eq!(room.deleted(&ana(), 1, &live()), Ok(5));
    assert_eq!(room.deleted(&moderator, 2, &live()), Ok(6));
    assert_eq!(room.deleted(&host, 3, &live()), Ok(7));
    assert_eq!(
        room.deleted(&host, 2, &live()),
        Err(Code::NotFound),
        "deleted already"
    );
    assert_eq!(room.deleted(&host, 5, &live()), Err(Code::NotFound), "not a text");
    assert_eq!(room.deleted(&host, 99, &live()), Err(Code::NotFound));
    let bodies: Vec<_> = room.since(0).take(4).map(|e| e.kind.clone()).collect();
    let text = |body: Option<&str>| Kind::Text {
        body: body.map(Into::into),
    };
    assert_eq!(bodies, [text(None), text(None), text(None), text(Some("hi"))]);
}

#[test]
fn after_the_end_the_room_is_read_only_but_can_be_cleaned() {
    let mut room = room(free());
    room.said(&ana(), "c1", "hi").unwrap();
    room.said(&ana(), "c2", "hi").unwrap();
    let refused = room.say(&ana(), say("c3", "hi"), &ended(), now()).unwrap_err();
    assert_eq!(refused.code, Code::Ended);
    assert_eq!(
        room.say(&person("h", Role::Host), say("c3", "x"), &ended(), now())
            .unwrap_err()
            .code,
        Code::Ended
    );
    assert_eq!(
        room.say(&ana(), say("c1", "hi"), &ended(), now()).map(|r| r.seq),
        Ok(1),
        "it was in time"
    );
    assert_eq!(room.deleted(&ana(), 1, &ended()), Err(Code::Ended));
    assert_eq!(room.deleted(&person("m", Role::Moderator), 1, &ended()), Ok(3));
    room.close();
    assert_eq!(room.said(&ana(), "c4", "hi"), Err(Code::Ended));
}

#[test]
fn what_could_not_be_stored_never_happened() {
    let mut room = room(free());
    room.said(&ana(), "c1", "hi").unwrap();
    room.say(&ana(), say("c2", "lost"), &live(), now()).unwrap();
    let target = room.find(1).unwrap();
    room.delete(&ana(), "d1", target, &live(), now()).unwrap();
    room.abandon();
    assert_eq!(room.said(&ana(), "c2", "lost"), Ok(2));
    assert_eq!(
        room.since(0).next().unwrap().kind,
        Kind::Text {
            body: Some("hi".into())
        }
    );
}

#[test]
fn two_moderators_at_once() {
    let mut room = room(free());
    room.said(&ana(), "c1", "hi").unwrap();
    let target = room.find(1).unwrap();
    let mut delete = |id| room.delete(&person(id, Role::Moderator), "d", target.clone(), &live(), now());
    assert!(delete("m1").is_ok());
    assert_eq!(delete("m2").unwrap_err().code, Code::NotFound);
}

fn resume(epoch: &str, seq: u64) -> Option<Resume> {
    Some(Resume {
        epoch: epoch.into(),
        seq,
    })
}

fn seqs(events: &[Arc<Event>]) -> Vec<u64> {
    events.iter().map(|event| event.seq).collect()
}

#[test]
fn joining_and_resuming() {
    let mut room = room(Config {
        recent: 10,
        history: 3,
        max_resume: 15,
        ..free()
    });
    assert_eq!(room.join(None), Answer::Fresh(vec![]));
    assert_eq!(room.join(resume("e1", 0).as_ref()), Answer::Resumed(vec![]));
    for n in 1..=20 {
        room.said(&ana(), &format!("c{n}"), "hi").unwrap();
    }
    let fresh = |answer| matches!(answer, Answer::Fresh(events) if seqs(&events) == [18, 19, 20]);
    assert!(fresh(room.join(None)));
    assert!(fresh(room.join(resume("another", 19).as_ref())));
    assert!(fresh(room.join(resume("e1", 21).as_ref())), "of the future");
    assert!(fresh(room.join(resume("e1", 4).as_ref())), "away for too long");
    assert!(fresh(room.join(resume("e1", u64::MAX).as_ref())));
    let resumed = |seq| match room.join(resume("e1", seq).as_ref()) {
        Answer::Resumed(events) => seqs(&events),
        other => panic!("{other:?}"),
    };
    assert_eq!(resumed(20), [] as [u64; 0]);
    assert_eq!(resumed(17), [18, 19, 20]);
    assert_eq!(resumed(10), (11..=20).collect::<Vec<_>>());
    match room.join(resume("e1", 7).as_ref()) {
        Answer::FromRecord {
            from: 8,
            to: 10,
            then,
        } => assert_eq!(seqs(&then), (11..=20).collect::<Vec<_>>()),
        other => panic!("{other:?}"),
    }
}

proptest! {
    /// Whoever leaves anywhere and comes back has, together with what they had, every event once.
    #[test]
    fn a_resume_misses_nothing(said in 0u64..60, left in 0u64..60, recent in 1usize..40) {
        let mut room = room(Config { recent, history: 1, ..free() });
        for n in 0..said {
            room.said(&ana(), &n.to_string(), "hi").unwrap();
        }
        let left = left.min(said);
        let got = match room.join(resume("e1", left).as_ref()) {
            Answer::Resumed(events) => seqs(&events),
            Answer::FromRecord { from, to, then } => (from..=to).chain(seqs(&then)).collect(),
            Answer::Fresh(_) => panic!("the epoch is the same"),
        };
        prop_assert_eq!(got, (left + 1..=said).collect::<Vec<_>>());
    }
}
