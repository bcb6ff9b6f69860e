//! What a slot shows: whose pictures, and how they stand beside each other.
//!
//! Who is on it is decided here and in [`cast`], where they stand in [`place`]: pure, a layout and sizes in, places
//! out. [`canvas`] paints them.

mod canvas;
mod cast;
mod place;

use timeline::{Arrangement, Layout, MAX_PLACES, MediaTime, SourceName, TrackId};

pub use canvas::{Canvas, Picture};
pub use cast::{Cast, Lateness};

/// A slot without anybody shows the slate.
#[derive(Clone, Debug, PartialEq)]
pub struct Scene<P> {
    /// Never `Auto`, and `Solo` exactly if one is shown.
    pub arrangement: Arrangement,
    /// The most important first.
    pub shown: Vec<Shown<P>>,
}

/// One source's picture in a slot.
#[derive(Clone, Debug, PartialEq)]
pub struct Shown<P> {
    pub source: SourceName,
    pub track: TrackId,
    /// When it was captured: with its track it names the frame that it was decoded from.
    pub at: MediaTime,
    /// No slot showed it before.
    pub fresh: bool,
    pub picture: P,
}

impl<P> Scene<P> {
    pub fn slate() -> Self {
        Scene {
            arrangement: Arrangement::Solo,
            shown: Vec::new(),
        }
    }

    pub fn is_slate(&self) -> bool {
        self.shown.is_empty()
    }

    /// Whether there is anything in it that was not in the one before.
    pub fn is_fresh(&self) -> bool {
        self.shown.iter().any(|shown| shown.fresh)
    }

    /// The one source that the slot shows, alone and whole: what is encoded is what it sent, but for its size.
    pub fn single(&self) -> Option<&Shown<P>> {
        match self.shown.as_slice() {
            [shown] => Some(shown),
            _ => None,
        }
    }
}

/// Who of those with a picture (in the order in which they came) is shown, the most important first, and how.
///
/// Those whom the layout names leave their places to each other; if none of them has a picture, whoever sends is
/// shown, as without a layout.
fn choose(layout: &Layout, present: &[&SourceName]) -> (Arrangement, Vec<usize>) {
    let of = |name: &SourceName| present.iter().position(|present| *present == name);
    let mut named: Vec<usize> = Vec::new();
    for n in layout.sources.iter().filter_map(of) {
        if !named.contains(&n) {
            named.push(n);
        }
    }
    let (arrangement, candidates) = match (named.is_empty(), layout.sources.is_empty()) {
        (false, _) => (layout.arrangement, named),
        (true, true) => (layout.arrangement, screens_first(present)),
        (true, false) => (Arrangement::Auto, screens_first(present)),
    };
    place_by_place(arrangement, candidates, present)
}

fn screens_first(present: &[&SourceName]) -> Vec<usize> {
    let mut all: Vec<usize> = (0..present.len()).collect();
    all.sort_by_key(|n| !present[*n].is_screen());
    all
}

fn place_by_place(
    arrangement: Arrangement,
    mut candidates: Vec<usize>,
    present: &[&SourceName],
) -> (Arrangement, Vec<usize>) {
    let (arrangement, places) = match arrangement {
        Arrangement::Auto => {
            let first = |screen: bool| {
                candidates
                    .iter()
                    .copied()
                    .find(|n| present[*n].is_screen() == screen)
            };
            candidates = first(true).into_iter().chain(first(false)).collect();
            (Arrangement::PictureInPicture, 2)
        }
        Arrangement::Solo => (arrangement, 1),
        Arrangement::PictureInPicture => (arrangement, 2),
        Arrangement::SideBySide => (arrangement, MAX_PLACES),
    };
    candidates.truncate(places);
    match candidates.len() {
        0 | 1 => (Arrangement::Solo, candidates),
        _ => (arrangement, candidates),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Arrangement::{Auto, PictureInPicture, SideBySide, Solo};

    /// Who is shown, of `present`.
    fn chosen<'a>(
        arrangement: Arrangement,
        sources: &[&str],
        present: &[&'a str],
    ) -> (Arrangement, Vec<&'a str>) {
        let names =
            |of: &[&str]| -> Vec<SourceName> { of.iter().map(|name| name.parse().unwrap()).collect() };
        let layout = Layout {
            arrangement,
            sources: names(sources),
        };
        let senders = names(present);
        let (arrangement, chosen) = choose(&layout, &senders.iter().collect::<Vec<_>>());
        (arrangement, chosen.into_iter().map(|n| present[n]).collect())
    }

    #[test]
    fn by_itself_a_screen_is_joined_by_the_first_camera() {
        assert_eq!(chosen(Auto, &[], &[]), (Solo, vec![]));
        assert_eq!(chosen(Auto, &[], &["main"]), (Solo, vec!["main"]));
        assert_eq!(chosen(Auto, &[], &["main", "ada"]), (Solo, vec!["main"]));
        assert_eq!(chosen(Auto, &[], &["screen"]), (Solo, vec!["screen"]));
        assert_eq!(
            chosen(Auto, &[], &["main", "ada", "ada-screen", "screen"]),
            (PictureInPicture, vec!["ada-screen", "main"])
        );
        assert_eq!(
            chosen(Auto, &["ada", "screen"], &["main", "ada", "screen"]),
            (PictureInPicture, vec!["screen", "ada"])
        );
    }

    #[test]
    fn whoever_has_no_picture_leaves_the_place_to_the_next() {
        let present = ["main", "screen", "ada"];
        assert_eq!(chosen(Solo, &["bob", "ada"], &present), (Solo, vec!["ada"]));
        assert_eq!(
            chosen(PictureInPicture, &["screen", "bob", "main", "ada"], &present),
            (PictureInPicture, vec!["screen", "main"])
        );
        assert_eq!(
            chosen(PictureInPicture, &["screen", "bob"], &present),
            (Solo, vec!["screen"])
        );
        assert_eq!(
            chosen(SideBySide, &["ada", "ada", "main"], &present),
            (SideBySide, vec!["ada", "main"])
        );
    }

    #[test]
    fn a_layout_of_people_who_are_away_shows_whoever_is_there() {
        assert_eq!(
            chosen(Solo, &["bob"], &["main", "screen"]),
            (PictureInPicture, vec!["screen", "main"])
        );
        assert_eq!(chosen(Solo, &["bob"], &["main"]), (Solo, vec!["main"]));
        assert_eq!(chosen(Solo, &["bob"], &[]), (Solo, vec![]));
    }

    #[test]
    fn nobody_named_is_everybody_screens_first() {
        let present = ["main", "ada", "screen", "bob", "eve"];
        assert_eq!(chosen(Solo, &[], &present), (Solo, vec!["screen"]));
        assert_eq!(
            chosen(SideBySide, &[], &present),
            (SideBySide, vec!["screen", "main", "ada", "bob"])
        );
    }
}
