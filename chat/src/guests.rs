//! Names for guests: chosen ones that nobody takes for one of the staff's, or "Guest 5".

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use timeline::BroadcastId;

use crate::Error;
use crate::moderation::names;
use crate::rooms::Rooms;

/// The last numbers that were given. No more than there are broadcasts.
#[derive(Default)]
pub(crate) struct Guests(Mutex<HashMap<BroadcastId, u64>>);

impl Guests {
    /// A name that nobody in the room has, nor anybody had who got it here.
    fn next(&self, broadcast: &BroadcastId, taken: &HashSet<String>) -> String {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let last = last.entry(broadcast.clone()).or_default();
        let name = names::generated(|name| taken.contains(name), *last + 1);
        *last = number(&name).unwrap_or(*last);
        name
    }
}

fn number(name: &str) -> Option<u64> {
    name.rsplit_once(' ')?.1.parse().ok()
}

impl Rooms {
    /// The name of a new guest: the chosen one, or the next "Guest 5" of the room. `None`: what was chosen could be taken
    /// for the name of one of the staff, as far as they have been here.
    pub async fn guest_name(
        &self,
        broadcast: &BroadcastId,
        chosen: Option<&str>,
    ) -> Result<Option<String>, Error> {
        let room = self.room(broadcast).await?;
        let here = room.people.roster().people;
        let known = self.shared().record.known_names(broadcast).await?;
        let here = here
            .into_iter()
            .map(|here| (here.person.name, here.person.role.moderates()));
        let (staff, others): (Vec<_>, Vec<_>) = here.chain(known).partition(|(_, is_staff)| *is_staff);
        match chosen {
            Some(chosen) => {
                let looks = names::look_alike(chosen, staff.iter().map(|(name, _)| name.as_str()));
                Ok((!looks).then(|| crate::room::clean_name(chosen)))
            }
            None => {
                let taken = others.into_iter().map(|(name, _)| name).collect();
                Ok(Some(self.shared().guests.next(broadcast, &taken)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_guest_gets_another_number() {
        let guests = Guests::default();
        let (algebra, biology) = ("algebra".parse().unwrap(), "biology".parse().unwrap());
        let taken = HashSet::from(["Guest 2".to_owned()]);
        let names: Vec<String> = (0..3).map(|_| guests.next(&algebra, &taken)).collect();
        assert_eq!(names, ["Guest 1", "Guest 3", "Guest 4"]);
        assert_eq!(guests.next(&biology, &HashSet::new()), "Guest 1");
    }
}
