//! Who has which place, who waits for it, and who may take it. It thinks in names; what they stand for is kept beside.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use timeline::BroadcastId;

use super::{Handle, NoPlace, Place, Seat, Takeover};
use crate::SecondPublisher;

/// Sessions that are over and may still be deleted: publishers close their connection first and DELETE after
/// it. A thousand are an hour of one new session every four seconds.
const TOMBSTONES: usize = 1024;
/// Who wait for one place. Each costs a connection whose media is thrown away.
const MAX_QUEUE: usize = 4;

#[derive(Default)]
pub(super) struct Table {
    pub open: HashMap<String, Arc<Handle>>,
    /// Being negotiated: they count, and hold their place.
    pub pending: HashMap<String, Claim>,
    pub over: VecDeque<(BroadcastId, String)>,
    pub shut: bool,
    seats: Seats,
    claims: u64,
}

/// What somebody who comes wants, and on what ground.
#[derive(Clone, Debug)]
pub(super) struct Claim {
    /// Grows from one request to the next.
    pub number: u64,
    pub place: Place,
    pub person: String,
    pub takeover: Takeover,
}

impl Table {
    pub fn next_number(&mut self) -> u64 {
        self.claims += 1;
        self.claims
    }

    pub fn may_come(&self, claim: &Claim, second: SecondPublisher) -> Result<(), NoPlace> {
        let mut pending = self.pending.values().filter(|other| other.place == claim.place);
        if pending.any(|other| !claim.may_pass(other, second)) {
            return Err(NoPlace::Taken);
        }
        self.seats
            .clone_place(&claim.place)
            .seat(claim, "", second)
            .map(|_| ())
    }

    pub fn seat(
        &mut self,
        claim: &Claim,
        handle: Arc<Handle>,
        second: SecondPublisher,
    ) -> Result<Seat, NoPlace> {
        let taken = self.seats.seat(claim, &handle.id, second)?;
        let open = &self.open;
        let before = taken
            .before
            .iter()
            .filter_map(|id| open.get(id).cloned())
            .collect();
        let seat = match taken.on_air {
            true => {
                handle.go_on_air();
                Seat::OnAir { before }
            }
            false => Seat::Queued { before },
        };
        self.open.insert(handle.id.clone(), handle);
        self.count();
        Ok(seat)
    }

    pub fn bury(&mut self, handle: &Handle) {
        self.open.remove(&handle.id);
        let next = self.seats.leave(&handle.place, &handle.id);
        if let Some(next) = next.and_then(|id| self.open.get(&id)) {
            next.go_on_air();
        }
        self.over
            .push_back((handle.place.broadcast.clone(), handle.id.clone()));
        if self.over.len() > TOMBSTONES {
            self.over.pop_front();
        }
        self.count();
    }

    fn count(&self) {
        metrics::gauge!("lectern_ingest_sessions").set(self.open.len() as f64);
        metrics::gauge!("lectern_ingest_queued").set(self.seats.waiting() as f64);
    }
}

impl Claim {
    /// Whether it may come while this one is being negotiated.
    fn may_pass(&self, other: &Claim, second: SecondPublisher) -> bool {
        match self.takeover {
            Takeover::Anyone => true,
            Takeover::No => second == SecondPublisher::Queue,
            Takeover::Own | Takeover::Only(_) => {
                other.person == self.person || second == SecondPublisher::Queue
            }
        }
    }

    /// One that waits does not wait twice.
    fn replaces_itself(&self, seated: &Seated) -> bool {
        seated.person == self.person && self.may_replace(seated)
    }

    fn may_replace(&self, seated: &Seated) -> bool {
        // Of two requests of one person the later one counts, whichever is answered first.
        seated.number < self.number
            && match &self.takeover {
                Takeover::No => false,
                Takeover::Own => seated.person == self.person,
                Takeover::Anyone => true,
                Takeover::Only(session) => *session == seated.id,
            }
    }
}

/// Who sits where, by the ids of their sessions.
#[derive(Default)]
struct Seats(HashMap<Place, VecDeque<Seated>>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Seated {
    id: String,
    number: u64,
    person: String,
}

#[derive(Debug, PartialEq, Eq)]
struct Taken {
    on_air: bool,
    /// Whose seat it was.
    before: Vec<String>,
}

impl Seats {
    /// The first of a place is on air, the others wait.
    fn seat(&mut self, claim: &Claim, id: &str, second: SecondPublisher) -> Result<Taken, NoPlace> {
        let row = self.0.entry(claim.place.clone()).or_default();
        let seated = Seated {
            id: id.to_owned(),
            number: claim.number,
            person: claim.person.clone(),
        };
        let Some(first) = row.front() else {
            row.push_back(seated);
            return Ok(Taken {
                on_air: true,
                before: Vec::new(),
            });
        };
        let waits = |seat: &Seated| claim.replaces_itself(seat);
        if claim.may_replace(first) {
            let mut before = vec![std::mem::replace(&mut row[0], seated).id];
            // Nor do they wait any more.
            let others = row.make_contiguous()[1..].iter().filter(|seat| waits(seat));
            let others: Vec<String> = others.map(|seat| seat.id.clone()).collect();
            row.retain(|seat| !others.contains(&seat.id));
            before.extend(others);
            return Ok(Taken { on_air: true, before });
        }
        if second == SecondPublisher::Refuse {
            return Err(NoPlace::Taken);
        }
        let before = match row.iter().position(waits) {
            Some(n) => vec![std::mem::replace(&mut row[n], seated).id],
            None if row.len() > MAX_QUEUE => return Err(NoPlace::Crowded),
            None => {
                row.push_back(seated);
                Vec::new()
            }
        };
        Ok(Taken {
            on_air: false,
            before,
        })
    }

    /// Gives whose turn it is now.
    fn leave(&mut self, place: &Place, id: &str) -> Option<String> {
        let row = self.0.get_mut(place)?;
        let was_on_air = row.front().is_some_and(|seat| seat.id == id);
        row.retain(|seat| seat.id != id);
        let next = row.front().map(|seat| seat.id.clone());
        if next.is_none() {
            self.0.remove(place);
        }
        next.filter(|_| was_on_air)
    }

    fn waiting(&self) -> usize {
        self.0.values().map(|row| row.len().saturating_sub(1)).sum()
    }

    /// To try something out.
    fn clone_place(&self, place: &Place) -> Seats {
        Seats(
            self.0
                .get_key_value(place)
                .map(|(p, row)| (p.clone(), row.clone()))
                .into_iter()
                .collect(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(source: &str) -> Place {
        Place {
            broadcast: "algebra".parse().unwrap(),
            source: source.parse().unwrap(),
        }
    }

    #[derive(Default)]
    struct Row(Seats, u64);

    impl Row {
        fn claim(&mut self, person: &str, takeover: Takeover) -> Claim {
            self.1 += 1;
            Claim {
                number: self.1,
                place: place("main"),
                person: person.into(),
                takeover,
            }
        }

        /// `Ok("on air, for a")` and the like.
        fn comes(
            &mut self,
            id: &str,
            person: &str,
            takeover: Takeover,
            second: SecondPublisher,
        ) -> Result<(bool, String), NoPlace> {
            let claim = self.claim(person, takeover);
            let taken = self.0.seat(&claim, id, second)?;
            Ok((taken.on_air, taken.before.join(" ")))
        }
    }

    use SecondPublisher::{Queue, Refuse};

    #[test]
    fn a_place_is_one_persons() {
        let mut row = Row::default();
        assert_eq!(
            row.comes("a1", "ada", Takeover::Own, Refuse),
            Ok((true, String::new()))
        );
        assert_eq!(row.comes("b1", "bob", Takeover::Own, Refuse), Err(NoPlace::Taken));
        assert_eq!(row.comes("a2", "ada", Takeover::No, Refuse), Err(NoPlace::Taken));
        assert_eq!(
            row.comes("a2", "ada", Takeover::Own, Refuse),
            Ok((true, "a1".into()))
        );
        let stale = Takeover::Only("a1".into());
        assert_eq!(
            row.comes("a3", "ada", stale, Refuse),
            Err(NoPlace::Taken),
            "it was replaced: by whoever uses the same token"
        );
        assert_eq!(
            row.comes("b2", "bob", Takeover::Anyone, Refuse),
            Ok((true, "a2".into()))
        );
        assert_eq!(row.0.leave(&place("main"), "a2"), None, "long replaced");
        assert_eq!(row.comes("a4", "ada", Takeover::Own, Refuse), Err(NoPlace::Taken));
        assert_eq!(row.0.leave(&place("main"), "b2"), None);
        assert_eq!(
            row.comes("a5", "ada", Takeover::Own, Refuse),
            Ok((true, String::new()))
        );
    }

    #[test]
    fn an_older_request_does_not_replace_a_younger() {
        let mut row = Row::default();
        let (older, younger) = (row.claim("ada", Takeover::Own), row.claim("ada", Takeover::Own));
        assert!(row.0.seat(&younger, "younger", Refuse).unwrap().on_air);
        assert_eq!(row.0.seat(&older, "older", Refuse), Err(NoPlace::Taken));
    }

    #[test]
    fn who_waits_is_next() {
        let mut row = Row::default();
        row.comes("a1", "ada", Takeover::Own, Queue).unwrap();
        for (id, person) in [("b1", "bob"), ("c1", "cy"), ("d1", "dan"), ("e1", "eve")] {
            assert_eq!(
                row.comes(id, person, Takeover::Own, Queue),
                Ok((false, String::new()))
            );
        }
        assert_eq!(
            row.comes("f1", "fay", Takeover::Own, Queue),
            Err(NoPlace::Crowded)
        );
        assert_eq!(
            row.comes("c2", "cy", Takeover::Own, Queue),
            Ok((false, "c1".into())),
            "who comes again keeps their place in the queue"
        );
        assert_eq!(
            row.comes("a2", "ada", Takeover::Own, Queue),
            Ok((true, "a1".into()))
        );
        assert_eq!(row.0.leave(&place("main"), "a1"), None, "its successor is on air");
        assert_eq!(row.0.leave(&place("main"), "b1"), None, "it only waited");
        assert_eq!(row.0.leave(&place("main"), "a2"), Some("c2".into()));
        assert_eq!(
            row.comes("d2", "dan", Takeover::Anyone, Queue),
            Ok((true, "c2 d1".into())),
            "who insists does not wait, nor wait again"
        );
        assert_eq!(row.0.waiting(), 1);
    }
}
