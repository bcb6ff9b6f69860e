//! Who is in a room. One person in several tabs is one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use timeline::WallTime;
use tokio::sync::watch;

use crate::Person;
use crate::wire::{Here, Roster};

/// A list of more people is read by nobody.
const LISTED: usize = 500;

#[derive(Clone)]
pub struct People {
    here: Arc<Mutex<HashMap<String, Tabs>>>,
    /// People, and connections.
    count: watch::Sender<(usize, usize)>,
}

struct Tabs {
    here: Here,
    connections: usize,
}

/// Counts as present until it is dropped.
pub struct Present {
    people: People,
    id: String,
}

impl People {
    pub fn new() -> People {
        People {
            here: Arc::default(),
            count: watch::Sender::new((0, 0)),
        }
    }

    pub fn enter(&self, person: &Person, now: WallTime) -> Present {
        let mut here = self.here();
        let tabs = here.entry(person.id.clone()).or_insert_with(|| Tabs {
            here: Here {
                person: person.clone(),
                since: now.unix_millis(),
            },
            connections: 0,
        });
        tabs.connections += 1;
        let people = here.len();
        self.count.send_modify(|count| *count = (people, count.1 + 1));
        Present {
            people: self.clone(),
            id: person.id.clone(),
        }
    }

    pub fn find(&self, id: &str) -> Option<Person> {
        self.here().get(id).map(|tabs| tabs.here.person.clone())
    }

    /// Staff first, then by who came first.
    pub fn roster(&self) -> Roster {
        let here = self.here();
        let mut people: Vec<_> = here.values().map(|tabs| tabs.here.clone()).collect();
        let count = people.len();
        drop(here);
        people.sort_by(|a, b| {
            let rank = |here: &Here| (!here.person.role.moderates(), here.since);
            rank(a).cmp(&rank(b)).then_with(|| a.person.id.cmp(&b.person.id))
        });
        people.truncate(LISTED);
        Roster { count, people }
    }

    /// People, and connections; it changes with them.
    pub fn count(&self) -> watch::Receiver<(usize, usize)> {
        self.count.subscribe()
    }

    fn here(&self) -> MutexGuard<'_, HashMap<String, Tabs>> {
        // Nothing that can panic is done while it is held.
        self.here.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        let mut here = self.people.here();
        if let Some(tabs) = here.get_mut(&self.id) {
            tabs.connections -= 1;
            if tabs.connections == 0 {
                here.remove(&self.id);
            }
        }
        let people = here.len();
        self.people
            .count
            .send_modify(|count| *count = (people, count.1.saturating_sub(1)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Role;
    use crate::testing::{ana, person};

    #[test]
    fn one_person_in_two_tabs_is_one() {
        let people = People::new();
        let at = WallTime::from_unix_millis;
        let (first, second) = (people.enter(&ana(), at(1)), people.enter(&ana(), at(2)));
        let host = people.enter(&person("host", Role::Host), at(3));
        assert_eq!(*people.count().borrow(), (2, 3));
        let roster = people.roster();
        assert_eq!((roster.count, roster.people[0].person.id.as_str()), (2, "host"));
        drop(first);
        assert_eq!(people.find("ana"), Some(ana()));
        drop(second);
        assert_eq!((people.find("ana"), *people.count().borrow()), (None, (1, 1)));
        drop(host);
        assert_eq!(*people.count().borrow(), (0, 0));
    }
}
