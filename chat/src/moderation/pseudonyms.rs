//! Who is called what in a replay without names.

use std::collections::HashMap;

use crate::Person;

/// The pseudonyms of one room, by the order in which people first appear in it: fed with the events by `seq`, it gives
/// the same names each time, also for those who come later. Who was erased has to be fed like all others, else the
/// numbers behind them move. As large as the number of people who spoke.
#[derive(Clone, Debug, Default)]
pub struct Pseudonyms(HashMap<String, usize>);

impl Pseudonyms {
    /// The same person under another name and id. Staff keep theirs: they teach in public.
    pub fn of(&mut self, person: &Person) -> Person {
        if person.role.moderates() {
            return person.clone();
        }
        let next = self.0.len() + 1;
        let number = match self.0.get(&person.id) {
            Some(number) => *number,
            None => *self.0.entry(person.id.clone()).or_insert(next),
        };
        Person {
            id: format!("student-{number}"),
            name: format!("Student {number}"),
            role: person.role,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Role;

    fn person(id: &str, role: Role) -> Person {
        Person {
            id: id.into(),
            name: id.to_uppercase(),
            role,
        }
    }

    #[test]
    fn by_the_order_in_which_they_appear() {
        let mut pseudonyms = Pseudonyms::default();
        let mut name = |id, role| pseudonyms.of(&person(id, role)).name;
        assert_eq!(name("bo", Role::Participant), "Student 1");
        assert_eq!(name("ana", Role::Participant), "Student 2");
        assert_eq!(name("host", Role::Host), "HOST");
        assert_eq!(name("bo", Role::Participant), "Student 1");
        assert_eq!(name("cy", Role::Participant), "Student 3");
    }

    #[test]
    fn nothing_of_the_person_is_left() {
        let ana = person("ana", Role::Participant);
        let shown = Pseudonyms::default().of(&ana);
        assert_eq!(
            (shown.id.as_str(), shown.name.as_str()),
            ("student-1", "Student 1")
        );
    }
}
