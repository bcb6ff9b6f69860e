//! Puts copied and encoded pictures of one rung in the order of their slots: what is copied is there at once, what is
//! encoded a little later.

use std::collections::BTreeMap;

pub struct Splice<T> {
    /// The slot that leaves next.
    next: i64,
    /// No more than the slots that are in the encoders at once.
    waiting: BTreeMap<i64, Slot<T>>,
}

struct Slot<T> {
    /// Leaves before the picture.
    before: Option<T>,
    picture: Option<T>,
}

impl<T> Splice<T> {
    pub fn starting(slot: i64) -> Self {
        Splice {
            next: slot,
            waiting: BTreeMap::new(),
        }
    }

    pub fn before(&mut self, slot: i64, what: T) {
        self.at(slot).before = Some(what);
    }

    pub fn picture(&mut self, slot: i64, what: T) {
        self.at(slot).picture = Some(what);
    }

    /// What leaves next, if it is there.
    pub fn take(&mut self) -> Option<T> {
        let slot = self.waiting.get_mut(&self.next)?;
        if slot.picture.is_none() || slot.before.is_some() {
            return slot.before.take_if(|_| slot.picture.is_some());
        }
        self.next += 1;
        self.waiting.remove(&(self.next - 1))?.picture
    }

    fn at(&mut self, slot: i64) -> &mut Slot<T> {
        self.waiting.entry(slot).or_insert(Slot {
            before: None,
            picture: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_copied_waits_for_what_is_encoded_before_it() {
        let mut splice = Splice::starting(7);
        splice.before(8, "an init");
        splice.picture(9, "copied");
        assert_eq!(splice.take(), None);
        splice.picture(7, "encoded");
        assert_eq!([splice.take(), splice.take()], [Some("encoded"), None]);
        splice.picture(8, "encoded, too");
        assert_eq!(
            [splice.take(), splice.take()],
            [Some("an init"), Some("encoded, too")]
        );
        assert_eq!([splice.take(), splice.take()], [Some("copied"), None]);
    }
}
