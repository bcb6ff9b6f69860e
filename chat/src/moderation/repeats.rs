//! The same text again: from one person (impatience, a script), or from many (copied and pasted).

use std::collections::hash_map::RandomState;
use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasher;

use serde::{Deserialize, Serialize};
use timeline::{Span, WallTime};

use super::filter::{Reason, Verdict};
use super::fold::fold_line;

/// What is remembered for each of both windows: at 40 bytes each less than half a megabyte. Beyond it the oldest is
/// forgotten; so much in so short a time is above every rate limit.
const MAX_REMEMBERED: usize = 4_096;

/// How often the same may be said. 0 switches a limit off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RepeatLimits {
    /// One person does not say the same again within this time.
    pub own_ms: u32,
    /// So many people say the same …
    pub flood_people: u32,
    /// … within this time; then it is a flood.
    pub flood_ms: u32,
    /// Texts with fewer characters are no flood: "yes" from everyone is an answer.
    pub flood_min_chars: u32,
    pub on_flood: OnFlood,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnFlood {
    Hold,
    #[default]
    Reject,
}

/// What was said in a room a moment ago. Texts are kept as hashes with a secret key; no body stays here.
#[derive(Debug, Default)]
pub struct Repeats {
    hasher: RandomState,
    own: Recent,
    flood: Recent,
}

impl Default for RepeatLimits {
    fn default() -> Self {
        RepeatLimits {
            own_ms: 10_000,
            flood_people: 5,
            flood_ms: 30_000,
            flood_min_chars: 16,
            on_flood: OnFlood::Reject,
        }
    }
}

impl Repeats {
    /// May this person say this now? Nothing is remembered of it: that is [`Self::said`].
    pub fn verdict(&self, person: &str, body: &str, now: WallTime, limits: &RepeatLimits) -> Verdict {
        let (said, chars) = self.key(person, body);
        // Pictures without a word are not the same picture.
        if chars == 0 {
            return Verdict::Allow;
        }
        if self.own.has(said, now, limits.own_ms) {
            return Verdict::Reject(Reason {
                code: "duplicate",
                message: "you have just said this",
            });
        }
        // Those who have said it before are many without this one, or with them.
        let is_flood = limits.flood_people > 0
            && chars >= limits.flood_min_chars as usize
            && self.flood.people(said.text, now, limits.flood_ms) >= limits.flood_people as usize;
        let reason = Reason {
            code: "duplicate",
            message: "many have just said the same",
        };
        match limits.on_flood {
            _ if !is_flood => Verdict::Allow,
            OnFlood::Hold => Verdict::Hold(reason),
            OnFlood::Reject => Verdict::Reject(reason),
        }
    }

    /// It was said (also when it is held).
    pub fn said(&mut self, person: &str, body: &str, now: WallTime, limits: &RepeatLimits) {
        let (said, _) = self.key(person, body);
        self.own.add(said, now, limits.own_ms);
        self.flood.add(said, now, limits.flood_ms);
    }

    /// The same for what differs in case, in white space or in the marks at the end; and how many characters it has.
    fn key(&self, person: &str, body: &str) -> (Said, usize) {
        let folded = fold_line(body);
        let bare = folded.trim_end_matches(|c: char| c == ' ' || (c.is_ascii_punctuation()));
        let text = if bare.is_empty() { &folded } else { bare };
        let said = Said {
            text: self.hasher.hash_one(text),
            person: self.hasher.hash_one(person),
        };
        (said, text.chars().count())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Said {
    text: u64,
    person: u64,
}

/// Who said what within a window, each once: the last time counts.
#[derive(Debug, Default)]
struct Recent {
    /// Oldest first. What was said again stands here twice.
    log: VecDeque<(WallTime, Said)>,
    last: HashMap<u64, HashMap<u64, WallTime>>,
}

impl Recent {
    fn has(&self, said: Said, now: WallTime, window_ms: u32) -> bool {
        let people = self.last.get(&said.text);
        let last = people.and_then(|people| people.get(&said.person));
        last.is_some_and(|&last| is_within(last, now, window_ms))
    }

    /// At most [`MAX_REMEMBERED`] are counted.
    fn people(&self, text: u64, now: WallTime, window_ms: u32) -> usize {
        let last = self.last.get(&text).into_iter().flat_map(HashMap::values);
        last.filter(|&&last| is_within(last, now, window_ms)).count()
    }

    fn add(&mut self, said: Said, now: WallTime, window_ms: u32) {
        while let Some(&(at, _)) = self.log.front()
            && (self.log.len() >= MAX_REMEMBERED || !is_within(at, now, window_ms))
        {
            self.forget_oldest();
        }
        if window_ms == 0 {
            return;
        }
        self.log.push_back((now, said));
        self.last.entry(said.text).or_default().insert(said.person, now);
    }

    fn forget_oldest(&mut self) {
        let Some((at, said)) = self.log.pop_front() else {
            return;
        };
        let Some(people) = self.last.get_mut(&said.text) else {
            return;
        };
        if people.get(&said.person) == Some(&at) {
            people.remove(&said.person);
        }
        if people.is_empty() {
            self.last.remove(&said.text);
        }
    }
}

/// What seems to lie ahead is forgotten: a clock that was set back silences nobody.
fn is_within(at: WallTime, now: WallTime, window_ms: u32) -> bool {
    let age = now - at;
    Span::from_millis(0) <= age && age < Span::from_millis(i64::from(window_ms))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMITS: RepeatLimits = RepeatLimits {
        own_ms: 10_000,
        flood_people: 3,
        flood_ms: 30_000,
        flood_min_chars: 8,
        on_flood: OnFlood::Reject,
    };

    fn at(ms: i64) -> WallTime {
        WallTime::from_unix_millis(1_760_000_000_000 + ms)
    }

    fn says(repeats: &mut Repeats, person: &str, body: &str, ms: i64) -> &'static str {
        match repeats.verdict(person, body, at(ms), &LIMITS) {
            Verdict::Allow => {
                repeats.said(person, body, at(ms), &LIMITS);
                ""
            }
            Verdict::Hold(reason) | Verdict::Reject(reason) => reason.code,
        }
    }

    #[test]
    fn one_person_does_not_say_the_same_twice() {
        let mut repeats = Repeats::default();
        assert_eq!(says(&mut repeats, "ana", "Why?", 0), "");
        assert_eq!(says(&mut repeats, "ana", " why ??", 9_999), "duplicate");
        assert_eq!(says(&mut repeats, "ana", "Why not?", 9_999), "");
        assert_eq!(says(&mut repeats, "bo", "Why?", 9_999), "");
        assert_eq!(says(&mut repeats, "ana", "Why?", 10_000), "");
        assert_eq!(says(&mut repeats, "ana", "?", 10_001), "");
        assert_eq!(says(&mut repeats, "ana", "!", 10_002), "");
        assert_eq!(says(&mut repeats, "ana", "", 10_003), "");
        assert_eq!(says(&mut repeats, "ana", "", 10_004), "");
    }

    #[test]
    fn many_do_not_say_the_same() {
        let mut repeats = Repeats::default();
        for (ms, person) in ["ana", "bo", "cy"].into_iter().enumerate() {
            assert_eq!(says(&mut repeats, person, "Copy this to everyone", ms as i64), "");
        }
        assert_eq!(
            says(&mut repeats, "di", "copy  this to EVERYONE!", 29_999),
            "duplicate"
        );
        assert_eq!(says(&mut repeats, "di", "Something else", 29_999), "");
        // The first has left the window.
        assert_eq!(says(&mut repeats, "di", "Copy this to everyone", 30_000), "");
        assert_eq!(
            says(&mut repeats, "ed", "Copy this to everyone", 30_000),
            "duplicate"
        );
    }

    #[test]
    fn answers_are_no_flood() {
        let mut repeats = Repeats::default();
        for n in 0..50 {
            assert_eq!(says(&mut repeats, &n.to_string(), "Yes!", n), "");
        }
    }

    #[test]
    fn one_person_is_no_flood() {
        let mut repeats = Repeats::default();
        let limits = RepeatLimits { own_ms: 0, ..LIMITS };
        for n in 0..50 {
            assert_eq!(
                repeats.verdict("ana", "Copy this to everyone", at(n), &limits),
                Verdict::Allow
            );
            repeats.said("ana", "Copy this to everyone", at(n), &limits);
        }
    }

    #[test]
    fn a_flood_can_be_held() {
        let mut repeats = Repeats::default();
        let limits = RepeatLimits {
            on_flood: OnFlood::Hold,
            ..LIMITS
        };
        for person in ["ana", "bo", "cy"] {
            repeats.said(person, "Copy this to everyone", at(0), &limits);
        }
        let verdict = repeats.verdict("di", "Copy this to everyone", at(0), &limits);
        assert!(matches!(verdict, Verdict::Hold(reason) if reason.code == "duplicate"));
    }

    #[test]
    fn a_clock_set_back_silences_nobody() {
        let mut repeats = Repeats::default();
        assert_eq!(says(&mut repeats, "ana", "Why?", 3_600_000), "");
        assert_eq!(says(&mut repeats, "ana", "Why?", 0), "");
    }

    #[test]
    fn the_memory_is_bounded() {
        let mut repeats = Repeats::default();
        for n in 0..20_000 {
            repeats.said(&(n % 7_000).to_string(), &(n % 900).to_string(), at(n), &LIMITS);
        }
        for recent in [&repeats.own, &repeats.flood] {
            let held: usize = recent.last.values().map(HashMap::len).sum();
            assert!(recent.log.len() <= MAX_REMEMBERED && held <= recent.log.len());
        }
    }

    proptest! {
        /// Against a memory that forgets nothing.
        #[test]
        fn repeats_are_counted(said in proptest::collection::vec((0..4u8, 0..3u8, 0..20_000i64), 0..60)) {
            let mut repeats = Repeats::default();
            let mut history: Vec<(u8, u8, i64)> = Vec::new();
            let mut now = 0;
            for (person, text, pause) in said {
                now += pause;
                let body = format!("A longer text, number {text}");
                let lately = |ms: i64| history.iter().filter(move |(_, t, at)| *t == text && now - at < ms);
                let own = lately(10_000).any(|(p, _, _)| *p == person);
                let mut people: Vec<u8> = lately(30_000).map(|(p, _, _)| *p).collect();
                people.sort_unstable();
                people.dedup();
                let expected = match () {
                    () if own => "duplicate",
                    () if people.len() >= 3 => "duplicate",
                    () => "",
                };
                prop_assert_eq!(says(&mut repeats, &person.to_string(), &body, now), expected);
                if expected.is_empty() {
                    history.push((person, text, now));
                }
            }
        }
    }
}
