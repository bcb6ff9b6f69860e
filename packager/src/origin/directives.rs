//! Delivery directives: what a media playlist request asks for, and what it must wait for (section 6.2.5).

use timeline::{Grid, PartIndex};

/// `_HLS_msn`, `_HLS_part`, `_HLS_skip`. Other parameters are not ours: a CDN may add its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Directives {
    pub msn: Option<u64>,
    pub part: Option<u32>,
    /// `YES` and `v2` alike: there are no date ranges to skip.
    pub skip: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadQuery {
    #[error("_HLS_msn and _HLS_part are decimal integers")]
    NotAnInteger,
    #[error("_HLS_skip is YES or v2")]
    BadSkip,
    #[error("_HLS_part needs an _HLS_msn")]
    PartAlone,
    #[error("a directive is given twice")]
    Twice,
}

/// Asked for a part that is too far ahead of the live edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooFar;

/// What the playlist must contain before it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    Anything,
    /// This part, or a later one.
    Part(PartIndex),
    /// A request for a whole segment, answered with its first part: see [`Directives::wanted`].
    SegmentBegun(u64),
}

impl Directives {
    pub fn parse(query: &str) -> Result<Directives, BadQuery> {
        let (mut msn, mut part, mut skip) = (None, None, None);
        for pair in query.split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match name {
                "_HLS_msn" => set(&mut msn, integer(value)?)?,
                "_HLS_part" => set(&mut part, integer(value)?)?,
                "_HLS_skip" if value == "YES" || value == "v2" => set(&mut skip, true)?,
                "_HLS_skip" => return Err(BadQuery::BadSkip),
                _ => {}
            }
        }
        match (msn, part) {
            (None, Some(_)) => Err(BadQuery::PartAlone),
            _ => Ok(Directives {
                msn,
                part,
                skip: skip.unwrap_or(false),
            }),
        }
    }

    /// What to wait for when `next` is the part that comes next. `advance` is how many parts a request may be
    /// ahead of the last one.
    ///
    /// A whole segment is asked for without a part. Safari does so when it has seen a segment close and no part
    /// of the next; kept waiting for a whole segment it falls out of low latency, so such a request is answered
    /// with the segment's first part. Once parts of it are listed the request means the whole segment.
    pub fn wanted(&self, next: PartIndex, grid: &Grid, advance: u32) -> Result<Wanted, TooFar> {
        let Some(msn) = self.msn else {
            return Ok(Wanted::Anything);
        };
        // The segment of the next part counts as open even before its first part.
        if msn > next.msn.saturating_add(2) {
            return Err(TooFar);
        }
        let Some(part) = self.part else {
            let begun = msn < next.msn || (msn == next.msn && next.part > 0);
            return Ok(if begun {
                Wanted::Part(last_part(msn, grid))
            } else {
                Wanted::SegmentBegun(msn)
            });
        };
        let listed = if msn == next.msn { next.part } else { 0 };
        if msn >= next.msn && part >= listed.saturating_add(advance) {
            return Err(TooFar);
        }
        // A part behind the last one of a segment is the first of the next.
        let rolls_over = part >= grid.parts_per_segment();
        Ok(Wanted::Part(if rolls_over {
            PartIndex {
                msn: msn + 1,
                part: 0,
            }
        } else {
            PartIndex { msn, part }
        }))
    }
}

impl Wanted {
    /// Whether all parts before `next` are enough.
    pub fn is_met(&self, next: PartIndex) -> bool {
        match self {
            Wanted::Anything => true,
            Wanted::Part(wanted) => *wanted < next,
            Wanted::SegmentBegun(msn) => PartIndex { msn: *msn, part: 0 } < next,
        }
    }
}

fn last_part(msn: u64, grid: &Grid) -> PartIndex {
    PartIndex {
        msn,
        part: grid.parts_per_segment() - 1,
    }
}

fn set<T>(slot: &mut Option<T>, value: T) -> Result<(), BadQuery> {
    match slot.replace(value) {
        Some(_) => Err(BadQuery::Twice),
        None => Ok(()),
    }
}

fn integer<T: std::str::FromStr>(value: &str) -> Result<T, BadQuery> {
    // `parse` would take a sign.
    match value.bytes().all(|c| c.is_ascii_digit()) {
        true => value.parse().map_err(|_| BadQuery::NotAnInteger),
        false => Err(BadQuery::NotAnInteger),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(query: &str) -> Result<(Option<u64>, Option<u32>, bool), BadQuery> {
        Directives::parse(query).map(|found| (found.msn, found.part, found.skip))
    }

    #[test]
    fn queries() {
        assert_eq!(parse(""), Ok((None, None, false)));
        assert_eq!(
            parse("_HLS_msn=7&_HLS_part=3&_HLS_skip=v2"),
            Ok((Some(7), Some(3), true))
        );
        assert_eq!(parse("_HLS_skip=YES&cdn=1&_HLS_msn=7"), Ok((Some(7), None, true)));
        assert_eq!(parse("_HLS_part=3"), Err(BadQuery::PartAlone));
        assert_eq!(parse("_HLS_skip=no"), Err(BadQuery::BadSkip));
        assert_eq!(parse("_HLS_msn=7&_HLS_msn=8"), Err(BadQuery::Twice));
        for bad in [
            "_HLS_msn",
            "_HLS_msn=",
            "_HLS_msn=-1",
            "_HLS_msn=+1",
            "_HLS_msn=1.5",
            "_HLS_msn=%31",
            "_HLS_msn=x",
        ] {
            assert_eq!(parse(bad), Err(BadQuery::NotAnInteger), "{bad}");
        }
        assert_eq!(
            parse("_HLS_msn=1&_HLS_part=99999999999"),
            Err(BadQuery::NotAnInteger)
        );
    }

    proptest! {
        #[test]
        fn no_query_panics(query in "\\PC{0,80}", hls in "(_HLS_(msn|part|skip)=?[0-9YESv&+-]{0,25}&?){0,4}") {
            let _ = Directives::parse(&query);
            if let Ok(directives) = Directives::parse(&hls) {
                let _ = directives.wanted(PartIndex { msn: 5, part: 3 }, &Grid::default(), 15);
            }
        }
    }

    /// Parts 0 to 2 of segment 5 are there.
    fn wanted(msn: u64, part: impl Into<Option<u32>>) -> Result<Wanted, TooFar> {
        let directives = Directives {
            msn: Some(msn),
            part: part.into(),
            skip: false,
        };
        directives.wanted(PartIndex { msn: 5, part: 3 }, &Grid::default(), 15)
    }

    const fn part(msn: u64, part: u32) -> Result<Wanted, TooFar> {
        Ok(Wanted::Part(PartIndex { msn, part }))
    }

    #[test]
    fn a_part_is_waited_for() {
        assert_eq!(wanted(5, 3), part(5, 3));
        assert_eq!(wanted(5, 15), part(5, 15));
        assert_eq!(wanted(6, 0), part(6, 0));
        assert_eq!(wanted(1, 2), part(1, 2));
    }

    #[test]
    fn a_part_behind_the_last_of_a_segment_is_the_first_of_the_next() {
        assert_eq!(wanted(4, 16), part(5, 0));
        assert_eq!(wanted(4, 4_000_000_000), part(5, 0));
        assert_eq!(wanted(5, 16), part(6, 0));
        assert_eq!(wanted(5, 17), part(6, 0));
    }

    #[test]
    fn what_is_too_far_ahead_is_refused() {
        assert_eq!(wanted(8, None), Err(TooFar));
        assert_eq!(wanted(8, 0), Err(TooFar));
        assert_eq!(wanted(u64::MAX, 0), Err(TooFar));
        assert_eq!(wanted(7, 0), part(7, 0));
        assert_eq!(wanted(5, 18), Err(TooFar));
        assert_eq!(wanted(6, 15), Err(TooFar));
    }

    #[test]
    fn a_whole_segment_is_waited_for_once_it_has_begun() {
        assert_eq!(wanted(5, None), part(5, 15));
        assert_eq!(wanted(4, None), part(4, 15));
        assert_eq!(wanted(6, None), Ok(Wanted::SegmentBegun(6)));
        let at_edge = Directives {
            msn: Some(6),
            part: None,
            skip: false,
        };
        let next = PartIndex { msn: 6, part: 0 };
        let begun = at_edge.wanted(next, &Grid::default(), 15).unwrap();
        assert_eq!(begun, Wanted::SegmentBegun(6));
        assert!(!begun.is_met(next) && begun.is_met(PartIndex { msn: 6, part: 1 }));
    }

    #[test]
    fn a_part_is_there_when_the_next_is_behind_it() {
        let Ok(five_three) = part(5, 3) else { panic!() };
        assert!(!five_three.is_met(PartIndex { msn: 5, part: 3 }));
        assert!(five_three.is_met(PartIndex { msn: 5, part: 4 }));
        assert!(five_three.is_met(PartIndex { msn: 6, part: 0 }));
    }
}
