use proptest::prelude::*;
use serde_json::json;
use timeline::{Span, StampSource, Timeline};

use super::*;
use crate::event::{QuestionState, Results, Sanction, Text};
use crate::moderation::RepeatLimits;
use crate::testing::{ana, person};
use crate::{Rate, Role};

const ORIGIN: WallTime = WallTime::from_unix_millis(1_760_000_000_000);

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

fn later(ms: i64) -> WallTime {
    now() + Span::from_millis(ms)
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
        repeats: repeatable(),
        ..Config::default()
    }
}

fn repeatable() -> RepeatLimits {
    RepeatLimits {
        own_ms: 0,
        flood_people: 0,
        ..RepeatLimits::default()
    }
}

fn room(config: Config) -> Room {
    Room::new("e1".into(), config, Kept::default())
}

fn bo() -> Person {
    person("bo", Role::Participant)
}

fn host() -> Person {
    person("host", Role::Host)
}

fn say(body: &str) -> Action {
    Action::Say(Say {
        body: body.into(),
        ..Say::default()
    })
}

fn ask(body: &str) -> Action {
    Action::Say(Say {
        body: body.into(),
        question: true,
        ..Say::default()
    })
}

impl Room {
    /// As the keeper asks, with what is in memory.
    fn asks(
        &mut self,
        by: &Person,
        reference: &str,
        action: &Action,
        line: &Line,
        now: WallTime,
    ) -> Result<Receipt, Refused> {
        let found = Found {
            target: action.target().and_then(|seq| self.find(seq).ok().flatten()),
            person: action.person().and_then(|id| self.person(id)),
            theirs: match action {
                Action::Erase { person } => self
                    .recent
                    .iter()
                    .filter(|event| event.names(person))
                    .map(|e| (**e).clone())
                    .collect(),
                _ => Vec::new(),
            },
            ..Found::default()
        };
        let done = self.act(
            &Ask {
                by,
                reference,
                action,
                found: &found,
            },
            line,
            now,
        )?;
        Ok(done.unwrap_or(Receipt {
            seq: 0,
            at: MediaTime::ZERO,
            held: None,
        }))
    }

    fn does(&mut self, by: &Person, reference: &str, action: Action) -> Result<u64, Code> {
        let receipt = self.asks(by, reference, &action, &live(), now());
        self.stored();
        receipt.map(|receipt| receipt.seq).map_err(|refused| refused.code)
    }

    fn said(&mut self, by: &Person, reference: &str, body: &str) -> Result<u64, Code> {
        self.does(by, reference, say(body))
    }

    fn deleted(&mut self, by: &Person, seq: u64, line: &Line) -> Result<u64, Code> {
        let receipt = self.asks(by, &format!("d{seq}"), &Action::Delete { seq }, line, now());
        self.stored();
        receipt.map(|r| r.seq).map_err(|r| r.code)
    }

    fn set(&mut self, set: serde_json::Value) {
        let reference = format!("set {set}");
        self.does(&host(), &reference, Action::Settings { set }).unwrap();
    }

    fn seqs(&self) -> Vec<u64> {
        self.since(0).map(|event| event.seq).collect()
    }

    fn body(&self, seq: u64) -> Option<String> {
        self.find(seq)
            .unwrap()
            .and_then(|event| event.kind.body().map(str::to_owned))
    }

    fn joins(&self, resume: Option<Resume>) -> Answer {
        self.join(resume.as_ref(), Face::Public, "somebody")
    }

    /// What a participant sees.
    fn seen_by(&self, who: &Person) -> Vec<u64> {
        self.since(0)
            .filter(|event| event.is_for(who.role.face(), &who.id))
            .map(|event| event.seq)
            .collect()
    }
}

#[test]
fn what_is_said_stands_where_its_writer_was_looking() {
    let mut room = room(Config::default());
    let playing = Some((ORIGIN + Span::from_millis(50_000)).unix_millis() as f64);
    let action = Action::Say(Say {
        body: " hi ".into(),
        playing,
        ..Say::default()
    });
    let receipt = room.asks(&ana(), "c1", &action, &live(), now()).unwrap();
    assert_eq!(
        receipt,
        Receipt {
            seq: 1,
            at: MediaTime::ZERO + Span::from_millis(50_000),
            held: None
        }
    );
    assert_eq!(room.since(0).count(), 0, "nobody sees it before it is stored");
    room.stored();
    let event = room.since(0).next().unwrap();
    assert_eq!(event.stamp.source, StampSource::Playhead);
    assert_eq!(
        event.kind,
        Kind::Text(Text {
            body: Some("hi".into()),
            ..Text::default()
        })
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
    let mut room = room(Config {
        repeats: repeatable(),
        ..Config::default()
    });
    for n in 0..5 {
        room.said(&ana(), &format!("c{n}"), "hi").unwrap();
    }
    let refused = room.asks(&ana(), "c6", &say("hi"), &live(), now()).unwrap_err();
    assert_eq!((refused.code, refused.retry_after_ms), (Code::Rate, Some(1_000)));
    assert_eq!(room.said(&bo(), "c1", "hi"), Ok(6));
    assert_eq!(room.said(&ana(), "c0", "hi"), Ok(1), "a resend is no new message");
    for n in 0..20 {
        room.said(&host(), &format!("h{n}"), "hi").unwrap();
    }
}

#[test]
fn a_whole_room_has_a_limit_too() {
    let room_rate = Rate {
        messages: 3,
        per_ms: 1_000,
    };
    let mut room = room(Config {
        room_rate,
        ..Config::default()
    });
    let crowd = |n: u32| person(&n.to_string(), Role::Participant);
    let taken = (0..10)
        .filter(|n| room.said(&crowd(*n), "c1", "hi").is_ok())
        .count();
    assert_eq!(taken, 3);
    assert!(room.said(&host(), "c1", "quiet please").is_ok());
}

#[test]
fn a_resend_is_acknowledged_and_not_doubled() {
    let mut room = room(free());
    assert_eq!(room.said(&ana(), "c1", "hi"), Ok(1));
    assert_eq!(room.said(&ana(), "c1", "hi"), Ok(1));
    assert_eq!(room.said(&ana(), "c1", "another text, so another message"), Ok(2));
    assert_eq!(room.said(&bo(), "c1", "hi"), Ok(3));
    // Twice before the first one is stored.
    let first = room.asks(&ana(), "c9", &say("hi"), &live(), now()).unwrap();
    assert_eq!(room.asks(&ana(), "c9", &say("hi"), &live(), now()), Ok(first));
    room.stored();
    assert_eq!(room.seqs(), [1, 2, 3, 4]);
    assert_eq!(room.deleted(&ana(), 1, &live()), Ok(5));
    assert_eq!(room.deleted(&ana(), 1, &live()), Ok(5));
    // And after the room was taken up again from the record.
    let recent = room.since(0).map(|e| ((**e).clone(), "c1".to_string())).collect();
    let mut again = Room::new(
        "e1".into(),
        free(),
        Kept {
            last: 5,
            recent,
            state: State::default(),
        },
    );
    assert_eq!(again.said(&bo(), "c1", "hi"), Ok(3));
}

#[test]
fn who_may_delete() {
    let mut room = room(free());
    let moderator = person("m", Role::Moderator);
    for n in 1..=4 {
        room.said(&ana(), &format!("c{n}"), "hi").unwrap();
    }
    assert_eq!(room.deleted(&bo(), 1, &live()), Err(Code::Forbidden));
    assert_eq!(
        room.deleted(&person("ana", Role::Viewer), 1, &live()),
        Err(Code::Forbidden)
    );
    assert_eq!(room.deleted(&ana(), 1, &live()), Ok(5));
    assert_eq!(room.deleted(&moderator, 2, &live()), Ok(6));
    assert_eq!(room.deleted(&host(), 3, &live()), Ok(7));
    assert_eq!(
        room.deleted(&host(), 2, &live()),
        Err(Code::NotFound),
        "deleted already"
    );
    assert_eq!(
        room.deleted(&host(), 5, &live()),
        Err(Code::NotFound),
        "not a text"
    );
    assert_eq!(room.deleted(&host(), 99, &live()), Err(Code::NotFound));
    let bodies: Vec<_> = (1..=4).map(|seq| room.body(seq)).collect();
    assert_eq!(bodies, [None, None, None, Some("hi".into())]);
}

#[test]
fn after_the_end_the_room_is_read_only_but_can_be_cleaned() {
    let mut room = room(free());
    room.said(&ana(), "c1", "hi").unwrap();
    room.said(&ana(), "c2", "hi").unwrap();
    let code = |room: &mut Room, by: &Person, action| {
        room.asks(by, "c3", &action, &ended(), now()).unwrap_err().code
    };
    assert_eq!(code(&mut room, &ana(), say("hi")), Code::Ended);
    assert_eq!(code(&mut room, &host(), say("x")), Code::Ended);
    let react = Action::React {
        emoji: "👍".into(),
        playing: None,
    };
    assert_eq!(code(&mut room, &ana(), react), Code::Ended);
    assert_eq!(
        room.asks(&ana(), "c1", &say("hi"), &ended(), now())
            .map(|r| r.seq),
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
    room.asks(&ana(), "c2", &say("lost"), &live(), now()).unwrap();
    room.asks(&ana(), "d1", &Action::Delete { seq: 1 }, &live(), now())
        .unwrap();
    room.abandon();
    assert_eq!(room.said(&ana(), "c2", "lost"), Ok(2));
    assert_eq!(room.body(1).as_deref(), Some("hi"));
}

#[test]
fn two_moderators_at_once() {
    let mut room = room(free());
    room.said(&ana(), "c1", "hi").unwrap();
    let mut delete = |id| {
        room.asks(
            &person(id, Role::Moderator),
            "d",
            &Action::Delete { seq: 1 },
            &live(),
            now(),
        )
    };
    assert!(delete("m1").is_ok());
    assert_eq!(delete("m2").unwrap_err().code, Code::NotFound);
}

#[test]
fn a_moderated_room_holds_what_participants_say() {
    let mut room = room(free());
    room.set(json!({"messages": "moderated"}));
    let held = room.asks(&ana(), "c1", &say("hi"), &live(), now()).unwrap();
    room.stored();
    assert_eq!(held.held, Some(Held::Moderated));
    assert_eq!(room.seen_by(&bo()), [1], "the settings only");
    assert_eq!(
        (room.seen_by(&ana()), room.seen_by(&host())),
        (vec![1, 2], vec![1, 2])
    );
    assert_eq!(room.said(&host(), "h1", "welcome"), Ok(3), "staff are not held");
    assert_eq!(
        room.does(&ana(), "a1", Action::Approve { target: 2 }),
        Err(Code::Forbidden)
    );
    assert_eq!(room.does(&host(), "a1", Action::Approve { target: 2 }), Ok(4));
    let shown = room.find(4).unwrap().unwrap();
    assert_eq!(
        (shown.author.clone(), shown.at(), shown.kind.body()),
        (Some(ana()), held.at, Some("hi"))
    );
    assert_eq!(shown.text().unwrap().of, Some(2));
    assert_eq!((room.seen_by(&bo()), room.body(2)), (vec![1, 3, 4], None));
    assert_eq!(
        room.does(&host(), "a2", Action::Approve { target: 2 }),
        Err(Code::NotFound),
        "once"
    );
    room.does(&bo(), "c2", say("no")).unwrap();
    assert_eq!(room.does(&host(), "x", Action::Discard { target: 5 }), Ok(6));
    assert_eq!((room.body(5), room.state().held.len()), (None, 0));
    assert_eq!(room.seen_by(&ana()), [1, 2, 3, 4]);
}

#[test]
fn the_delay_shows_a_message_later_and_to_staff_at_once() {
    let mut room = room(free());
    room.set(json!({"delay_ms": 5_000}));
    room.does(&ana(), "c1", say("hi")).unwrap();
    assert_eq!(
        (room.seen_by(&bo()), room.seen_by(&host())),
        (vec![1], vec![1, 2])
    );
    assert_eq!(room.next_due(), Some(later(5_000)));
    room.due(&live(), later(4_999));
    assert!(room.pending().is_empty());
    room.due(&live(), later(5_000));
    room.stored();
    assert_eq!(
        (room.seen_by(&bo()), room.body(3).as_deref()),
        (vec![1, 3], Some("hi"))
    );
    assert_eq!(room.find(3).unwrap().unwrap().sent, now());
    assert_eq!(room.next_due(), None);
}

#[test]
fn words_and_links_are_judged_not_rewritten() {
    let mut room = room(free());
    room.set(
        json!({"words": {"hold": ["spam"], "reject": ["scum"]}, "links": "list", "link_hosts": ["good.edu"]}),
    );
    assert_eq!(room.said(&ana(), "1", "you scum"), Err(Code::Word));
    assert_eq!(room.said(&ana(), "2", "see https://evil.test"), Err(Code::Link));
    assert_eq!(room.said(&ana(), "3", "see https://www.good.edu/x"), Ok(2));
    let held = room
        .asks(&ana(), "4", &say("is this spam?"), &live(), now())
        .unwrap();
    assert_eq!(held.held, Some(Held::Word));
    room.stored();
    assert_eq!(room.body(3).as_deref(), Some("is this spam?"));
    assert_eq!(
        room.said(&host(), "5", "scum at https://evil.test"),
        Ok(4),
        "staff are not judged"
    );
}

#[test]
fn settings_are_checked_and_keep_their_secrets() {
    let mut room = room(free());
    let set = |set| Action::Settings { set };
    for bad in [
        json!({"slow_ms": 700_000}),
        json!({"messages": "loud"}),
        json!({"volume": 11}),
        json!([]),
        json!({"retention_days": 0}),
    ] {
        assert_eq!(room.does(&host(), "s", set(bad)), Err(Code::Malformed));
    }
    assert_eq!(
        room.does(&ana(), "s", set(json!({"hands": false}))),
        Err(Code::Forbidden)
    );
    room.set(json!({"words": {"hold": ["secret"]}, "hands": false}));
    assert!(!room.standing(Face::Public, "ana").to_string().contains("secret"));
    assert!(room.standing(Face::Staff, "host").to_string().contains("secret"));
    let event = room.find(1).unwrap().unwrap();
    let shown = serde_json::to_string(&event.seen(Face::Public, room.anonymous())).unwrap();
    assert!(!shown.contains("secret"), "{shown}");
    assert_eq!(
        room.does(
            &ana(),
            "h",
            Action::Hand {
                raised: true,
                person: None
            }
        ),
        Err(Code::Mode)
    );
}

#[test]
fn slow_mode_counts_down_and_spares_staff() {
    let mut room = room(free());
    room.set(json!({"slow_ms": 30_000}));
    room.said(&ana(), "1", "one").unwrap();
    let refused = room
        .asks(&ana(), "2", &say("two"), &live(), later(10_000))
        .unwrap_err();
    assert_eq!((refused.code, refused.retry_after_ms), (Code::Slow, Some(20_000)));
    assert!(
        room.asks(&ana(), "2", &say("two"), &live(), later(30_000))
            .is_ok()
    );
    room.said(&host(), "1", "one").unwrap();
    room.said(&host(), "2", "two").unwrap();
}

#[test]
fn reactions_only_and_read_only() {
    let mut room = room(free());
    room.set(json!({"messages": "off", "questions": false, "private": false}));
    assert_eq!(room.said(&ana(), "1", "hi"), Err(Code::Mode));
    assert_eq!(room.does(&ana(), "2", ask("why?")), Err(Code::Mode));
    let private = Action::Say(Say {
        body: "psst".into(),
        to: Some("staff".into()),
        ..Say::default()
    });
    assert_eq!(room.does(&ana(), "3", private), Err(Code::Mode));
    let clap = Action::React {
        emoji: "👏".into(),
        playing: None,
    };
    assert_eq!(room.does(&ana(), "4", clap.clone()), Ok(0));
    room.due(&live(), later(1_000));
    room.stored();
    assert!(matches!(&room.find(2).unwrap().unwrap().kind, Kind::Reactions { counts } if counts["👏"] == 1));
    room.set(json!({"reactions": false}));
    assert_eq!(room.does(&ana(), "5", clap), Err(Code::Mode));
    assert!(room.said(&host(), "6", "listen").is_ok());
}

#[test]
fn what_is_private_is_seen_by_two_sides() {
    let mut room = room(free());
    let to = |to: &str, body: &str| {
        Action::Say(Say {
            body: body.into(),
            to: Some(to.into()),
            ..Say::default()
        })
    };
    assert_eq!(room.does(&ana(), "1", to("staff", "help")), Ok(1));
    assert_eq!(room.does(&host(), "2", to("ana", "sure")), Ok(2));
    assert_eq!(room.does(&ana(), "3", to("bo", "psst")), Err(Code::Forbidden));
    assert_eq!((room.seen_by(&ana()), room.seen_by(&bo())), (vec![1, 2], vec![]));
    assert_eq!(
        room.does(
            &bo(),
            "4",
            Action::Report {
                target: 1,
                reason: "?".into()
            }
        ),
        Err(Code::NotFound)
    );
    assert_eq!(
        room.does(&host(), "5", Action::Pin { target: 1 }),
        Err(Code::Forbidden)
    );
    assert_eq!(
        room.does(&bo(), "6", Action::Delete { seq: 1 }),
        Err(Code::NotFound)
    );
}

#[test]
fn one_edits_ones_own_for_a_while() {
    let mut room = room(free());
    room.said(&ana(), "1", "teh").unwrap();
    let edit = |body: &str| Action::Edit {
        seq: 1,
        body: body.into(),
    };
    assert_eq!(room.does(&bo(), "2", edit("x")), Err(Code::Forbidden));
    assert_eq!(
        room.does(&host(), "2", edit("x")),
        Err(Code::Forbidden),
        "nobody puts words in others' mouths"
    );
    assert_eq!(room.does(&ana(), "2", edit("the")), Ok(2));
    assert_eq!(room.does(&ana(), "3", edit("The")), Ok(3));
    assert_eq!(
        (room.body(1).as_deref(), room.body(2), room.body(3).as_deref()),
        (Some("The"), None, Some("The"))
    );
    let late = room
        .asks(&ana(), "4", &edit("late"), &live(), later(300_000))
        .unwrap_err();
    assert_eq!(late.code, Code::Closed);
    room.deleted(&ana(), 1, &live()).unwrap();
    assert_eq!(
        (room.body(1), room.body(3)),
        (None, None),
        "the edit goes with it"
    );
    assert_eq!(room.does(&ana(), "5", edit("again")), Err(Code::NotFound));
}

#[test]
fn sanctions() {
    let mut room = room(free());
    room.said(&ana(), "1", "one").unwrap();
    let sanction = |person: &str, what, purge| Action::Sanction {
        person: person.into(),
        what,
        for_ms: Some(60_000),
        purge,
    };
    assert_eq!(
        room.does(&bo(), "s", sanction("ana", Sanction::Mute, false)),
        Err(Code::Forbidden)
    );
    assert_eq!(
        room.does(&host(), "s", sanction("nobody", Sanction::Mute, false)),
        Err(Code::NotFound)
    );
    room.said(&person("m", Role::Moderator), "m", "hi").unwrap();
    assert_eq!(
        room.does(&host(), "s", sanction("m", Sanction::Mute, false)),
        Err(Code::Forbidden)
    );
    room.does(&host(), "s1", sanction("ana", Sanction::Timeout, true))
        .unwrap();
    assert_eq!(room.body(1), None, "purged");
    let refused = room
        .asks(&ana(), "2", &say("two"), &live(), later(1_000))
        .unwrap_err();
    assert_eq!(
        (refused.code, refused.retry_after_ms),
        (Code::Muted, Some(59_000))
    );
    assert!(
        room.asks(&ana(), "2", &say("two"), &live(), later(60_000))
            .is_ok()
    );
    room.does(&host(), "s2", sanction("ana", Sanction::Ban, false))
        .unwrap();
    assert!(room.is_banned(&ana(), later(1_000_000_000)) && !room.is_banned(&bo(), now()));
    assert_eq!(
        room.seen_by(&bo()),
        [1, 2, 4, 5],
        "the deletes show, the sanctions do not"
    );
    room.does(&host(), "s3", sanction("ana", Sanction::Lift, false))
        .unwrap();
    assert!(!room.is_banned(&ana(), now()));
    assert!(
        room.asks(&ana(), "3", &say("three"), &live(), later(70_000))
            .is_ok()
    );
}

#[test]
fn an_anonymous_writer_can_be_muted_without_being_known() {
    let mut room = room(free());
    let hidden = Action::Say(Say {
        body: "who am I?".into(),
        anonymous: true,
        ..Say::default()
    });
    assert_eq!(room.does(&ana(), "1", hidden.clone()), Err(Code::Mode));
    room.set(json!({"anonymous": "nobody"}));
    let seq = room.does(&ana(), "2", hidden).unwrap();
    let event = room.find(seq).unwrap().unwrap();
    let seen = event
        .seen(Face::Staff, room.anonymous())
        .into_owned()
        .author
        .unwrap();
    assert_ne!(seen.id, "ana");
    let mute = Action::Sanction {
        person: seen.id,
        what: Sanction::Mute,
        for_ms: None,
        purge: false,
    };
    room.does(&host(), "s", mute).unwrap();
    assert_eq!(room.said(&ana(), "3", "hm"), Err(Code::Muted));
}

#[test]
fn polls_and_quizzes() {
    let mut room = room(free());
    let poll = |right: Option<Vec<u8>>, open_ms| {
        Action::Poll(OpenPoll {
            question: "which?".into(),
            options: vec!["a".into(), "b".into()],
            multiple: false,
            right,
            results: Results::Closed,
            open_ms,
        })
    };
    assert_eq!(room.does(&ana(), "p", poll(None, None)), Err(Code::Forbidden));
    assert_eq!(
        room.does(&host(), "p", poll(Some(vec![2]), None)),
        Err(Code::Malformed)
    );
    assert_eq!(room.does(&host(), "p1", poll(Some(vec![1]), Some(10_000))), Ok(1));
    let vote = |choices: &[u8]| Action::Vote {
        target: 1,
        choices: choices.to_vec(),
    };
    assert_eq!(room.does(&ana(), "v0", vote(&[0, 1])), Err(Code::Malformed));
    assert_eq!(room.does(&ana(), "v0", vote(&[2])), Err(Code::Malformed));
    room.does(&ana(), "v1", vote(&[0])).unwrap();
    room.does(&ana(), "v2", vote(&[1])).unwrap();
    room.does(&bo(), "v1", vote(&[0])).unwrap();
    let open = &room.standing(Face::Public, "ana")["polls"][0];
    assert_eq!(
        (&open["counts"], &open["voters"], &open["voted"]),
        (&json!(null), &json!(2), &json!([1]))
    );
    assert_eq!(open["right"], json!(null));
    assert_eq!(
        room.standing(Face::Staff, "host")["polls"][0]["counts"],
        json!([1, 1])
    );
    let told = tallies(room.state(), &room.tallied.clone(), Face::Public);
    assert_eq!(told, json!([{"target": 1, "counts": null, "voters": 2}]));
    assert_eq!(room.seqs(), [1], "votes are nobody's to see");

    assert_eq!(
        room.asks(&bo(), "v3", &vote(&[1]), &live(), later(10_000))
            .unwrap_err()
            .code,
        Code::Closed
    );
    room.due(&live(), later(10_000));
    room.stored();
    let closed = room.since(1).next().unwrap();
    assert_eq!(closed.author, None);
    let kind = Kind::Close {
        target: 1,
        counts: vec![1, 1],
        voters: 2,
        right: Some(vec![1]),
    };
    assert_eq!(closed.kind, kind);
    assert_eq!(room.standing(Face::Public, "bo")["polls"][0]["right"], json!([1]));
    assert_eq!(
        room.does(&host(), "c", Action::Close { target: 1 }),
        Err(Code::Closed)
    );
}

#[test]
fn questions_and_hands() {
    let mut room = room(free());
    room.does(&ana(), "1", ask("why?")).unwrap();
    let vote = |choices: &[u8]| Action::Vote {
        target: 1,
        choices: choices.to_vec(),
    };
    room.does(&bo(), "v1", vote(&[0])).unwrap();
    assert_eq!(room.does(&bo(), "v2", vote(&[1])), Err(Code::Malformed));
    let standing = room.standing(Face::Public, "bo");
    assert_eq!(
        (
            &standing["questions"][0]["votes"],
            &standing["questions"][0]["voted"]
        ),
        (&json!(1), &json!(true))
    );
    let answered = Action::Question {
        target: 1,
        state: QuestionState::Answered,
    };
    assert_eq!(room.does(&ana(), "q", answered.clone()), Err(Code::Forbidden));
    room.does(&host(), "q", answered).unwrap();
    assert_eq!(
        room.standing(Face::Public, "bo")["questions"][0]["state"],
        "answered"
    );

    room.does(
        &ana(),
        "h1",
        Action::Hand {
            raised: true,
            person: None,
        },
    )
    .unwrap();
    assert_eq!(room.standing(Face::Public, "bo")["hands"]["count"], 1);
    let lower = Action::Hand {
        raised: false,
        person: Some("ana".into()),
    };
    assert_eq!(room.does(&bo(), "h2", lower.clone()), Err(Code::Forbidden));
    room.does(&host(), "h2", lower).unwrap();
    assert_eq!(room.standing(Face::Public, "bo")["hands"]["count"], 0);
}

#[test]
fn a_question_asked_while_rewound_stands_in_every_later_window() {
    let mut room = room(free());
    let playing = Some((ORIGIN + Span::from_millis(10_000)).unix_millis() as f64);
    let question = Action::Say(Say {
        body: "why?".into(),
        question: true,
        playing,
        ..Say::default()
    });
    room.asks(&ana(), "1", &question, &live(), now()).unwrap();
    let at = |ms| MediaTime::ZERO + Span::from_millis(ms);
    assert_eq!(
        room.pending()[0].touches,
        Touches {
            from: at(10_000),
            to: at(60_000),
            purges: false
        }
    );
    room.stored();
    room.asks(&ana(), "2", &Action::Delete { seq: 1 }, &live(), now())
        .unwrap();
    assert_eq!(
        room.pending()[0].touches,
        Touches {
            from: at(10_000),
            to: at(60_000),
            purges: true
        }
    );
}

#[test]
fn a_pin_goes_with_its_message() {
    let mut room = room(free());
    room.said(&ana(), "1", "read chapter 3").unwrap();
    room.does(&host(), "p", Action::Pin { target: 1 }).unwrap();
    assert_eq!(
        room.standing(Face::Public, "bo")["pinned"]["body"],
        "read chapter 3"
    );
    room.deleted(&host(), 1, &live()).unwrap();
    assert_eq!(room.standing(Face::Public, "bo")["pinned"], json!(null));
    let left = room
        .since(0)
        .map(|e| serde_json::to_string(&**e).unwrap())
        .collect::<String>();
    assert!(!left.contains("chapter"), "{left}");
    assert_eq!(
        room.does(&host(), "u", Action::Unpin { target: 1 }),
        Err(Code::NotFound)
    );
}

#[test]
fn an_erased_person_is_nowhere() {
    let mut room = room(free());
    room.said(&ana(), "1", "my secret").unwrap();
    let mention = Action::Say(Say {
        body: "hey".into(),
        mentions: vec!["ana".into()],
        ..Say::default()
    });
    room.does(&bo(), "2", mention).unwrap();
    room.does(
        &ana(),
        "3",
        Action::Hand {
            raised: true,
            person: None,
        },
    )
    .unwrap();
    let mute = Action::Sanction {
        person: "ana".into(),
        what: Sanction::Mute,
        for_ms: None,
        purge: false,
    };
    room.does(&host(), "4", mute).unwrap();
    let erase = Action::Erase { person: "ana".into() };
    assert_eq!(room.does(&bo(), "5", erase.clone()), Err(Code::Forbidden));
    room.asks(&host(), "5", &erase, &live(), now()).unwrap();
    let accepted = room.pending()[0].clone();
    assert_eq!((accepted.amends.len(), accepted.touches.purges), (4, true));
    assert_eq!(accepted.audit.as_ref().unwrap().target, "erased-5");
    room.stored();
    let left = room
        .since(0)
        .take(4)
        .map(|e| format!("{e:?}"))
        .collect::<String>();
    assert!(
        !left.contains("ana") && !left.contains("ANA") && !left.contains("secret"),
        "{left}"
    );
    assert!(room.state().hands.is_empty() && room.state().sanctions.is_empty());
    assert_eq!(
        room.does(&host(), "6", Action::Erase { person: "x".into() }),
        Err(Code::NotFound)
    );
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
    assert_eq!(
        room.joins(None),
        Answer::Fresh {
            from: 1,
            events: vec![]
        }
    );
    assert_eq!(
        room.joins(resume("e1", 0)),
        Answer::Resumed {
            from: 1,
            events: vec![]
        }
    );
    for n in 1..=20 {
        room.said(&ana(), &format!("c{n}"), "hi").unwrap();
    }
    let fresh =
        |answer| matches!(answer, Answer::Fresh { from: 18, events } if seqs(&events) == [18, 19, 20]);
    assert!(fresh(room.joins(None)));
    assert!(fresh(room.joins(resume("another", 19))));
    assert!(fresh(room.joins(resume("e1", 21))), "of the future");
    assert!(fresh(room.joins(resume("e1", 4))), "away for too long");
    assert!(fresh(room.joins(resume("e1", u64::MAX))));
    let resumed = |seq| match room.joins(resume("e1", seq)) {
        Answer::Resumed { from, events } if from == seq + 1 => seqs(&events),
        other => panic!("{other:?}"),
    };
    assert_eq!(resumed(20), [] as [u64; 0]);
    assert_eq!(resumed(17), [18, 19, 20]);
    assert_eq!(resumed(10), (11..=20).collect::<Vec<_>>());
    match room.joins(resume("e1", 7)) {
        Answer::FromRecord {
            from: 8,
            to: 10,
            then,
        } => {
            assert_eq!(seqs(&then), (11..=20).collect::<Vec<_>>());
        }
        other => panic!("{other:?}"),
    }
}

proptest! {
    /// Whoever leaves anywhere and comes back has, together with what they had, every event once, whatever of it was
    /// for others.
    #[test]
    fn a_resume_misses_nothing(said in prop::collection::vec(0u8..3, 0..60), left in 0u64..60, recent in 1usize..40) {
        let mut room = room(Config { recent, history: 1, ..free() });
        room.does(&ana(), "q", ask("why?")).unwrap();
        for (n, what) in said.iter().enumerate() {
            let private = Say { body: "psst".into(), to: Some("staff".into()), ..Say::default() };
            match what {
                0 => room.said(&ana(), &n.to_string(), "hi").unwrap(),
                1 => room.does(&ana(), &n.to_string(), Action::Say(private)).unwrap(),
                _ => room.does(&person(&n.to_string(), Role::Participant), "v", Action::Vote { target: 1, choices: vec![0] }).unwrap(),
            };
        }
        let last = room.last();
        let left = left.min(last);
        let wanted: Vec<_> = (left + 1..=last).filter(|seq| *seq == 1 || said[*seq as usize - 2] == 0).collect();
        let got = match room.joins(resume("e1", left)) {
            Answer::Resumed { from, events } => { prop_assert_eq!(from, left + 1); seqs(&events) }
            Answer::FromRecord { from, to, then } => {
                prop_assert_eq!(from, left + 1);
                wanted.iter().copied().filter(|seq| (from..=to).contains(seq)).chain(seqs(&then)).collect()
            }
            Answer::Fresh { .. } => panic!("the epoch is the same"),
        };
        prop_assert_eq!(got, wanted);
    }
}
