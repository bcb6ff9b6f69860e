//! What was said as WebVTT, a segment for each segment of the line. Pure.
//!
//! ```text
//! WEBVTT
//! X-TIMESTAMP-MAP=LOCAL:00:00:00.000,MPEGTS:0
//!
//! 57
//! 00:00:13.717 --> 00:00:21.717
//! <v Ana>Ana: Is x_1 &lt; x_2?
//! ```
//!
//! A cue's times are media time, whatever segment it stands in: the line's timestamps begin at 0 with it, so the map is
//! always the same (RFC 8216, 3.5). A cue stands in every segment that it reaches into, under the same id: so a text that
//! comes after its own segment was loaded is seen in the next one. Players do not show voices, so the name is in the text.
//!
//! Subtitles cover the picture. So a text is shown for a while, a long one is cut, few are shown at once, and of a flood
//! some are left out; whoever wants all of it has the room.

use std::cmp::Reverse;
use std::fmt::{self, Write};
use std::ops::RangeInclusive;

use bytes::Bytes;
use timeline::{Grid, MediaTime, Span, TICKS_PER_SECOND};

/// How long a text is shown, unless others take its place. A player without low latency is 9 s behind the live edge.
const SHOWN: Span = Span::from_millis(8_000);

/// More lines than these hide the slides.
const AT_ONCE: usize = 4;

/// So many begin within one step of the line, so that each is shown for more than a step.
const A_STEP: usize = 2;
const STEP: Span = Span::from_millis(1_000);

/// Two or three lines on the picture.
const LONGEST: usize = 160;

const HEAD: &str = "WEBVTT\nX-TIMESTAMP-MAP=LOCAL:00:00:00.000,MPEGTS:0\n";

/// A text that everyone may read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    pub seq: u64,
    pub at: MediaTime,
    /// Empty: nobody's.
    pub name: String,
    /// Where some have to be left out, others are.
    pub staff: bool,
    pub body: String,
}

/// A segment's time.
pub fn bounds(msn: u64) -> (MediaTime, MediaTime) {
    let segment = Grid::default().segment();
    let most = i64::MAX.unsigned_abs() / segment.ticks().unsigned_abs() / 2;
    let from = MediaTime::ZERO + segment.times(msn.min(most) as i64);
    (from, from + segment)
}

/// The texts that a segment depends on: those from the first moment up to the second.
pub fn reach(msn: u64) -> (MediaTime, MediaTime) {
    let (from, to) = bounds(msn);
    (step(from - SHOWN), step(to + SHOWN) + STEP)
}

/// The segments that depend on the texts of a moment.
pub fn segments(at: MediaTime) -> RangeInclusive<u64> {
    let grid = Grid::default();
    let from = (step(at) - SHOWN - STEP).max(MediaTime::ZERO);
    grid.msn(from)..=grid.msn(over(at).max(MediaTime::ZERO))
}

/// From then on nothing depends on the texts before a moment.
pub fn over(at: MediaTime) -> MediaTime {
    at + SHOWN + STEP
}

/// The start of the step that holds a moment.
fn step(at: MediaTime) -> MediaTime {
    MediaTime::ZERO + STEP.times(at.ticks().div_euclid(STEP.ticks()))
}

/// The segment, of all texts in its reach, ordered by (`at`, `seq`).
pub fn segment(msn: u64, texts: &[Said]) -> Bytes {
    let (from, to) = bounds(msn);
    let mut out = HEAD.to_owned();
    for (said, end) in shown(texts) {
        if said.at < to && end > from {
            cue(&mut out, said, end);
        }
    }
    out.into()
}

/// Those that are shown, each with the moment at which it goes.
fn shown(texts: &[Said]) -> impl Iterator<Item = (&Said, MediaTime)> {
    let chosen: Vec<&Said> = texts
        .chunk_by(|a, b| step(a.at) == step(b.at))
        .flat_map(chosen)
        .collect();
    let ends: Vec<MediaTime> = (0..chosen.len())
        .map(|n| {
            let next = chosen.get(n + AT_ONCE).map(|next| next.at);
            let end = chosen[n].at + SHOWN;
            next.map_or(end, |next| next.min(end))
        })
        .collect();
    chosen.into_iter().zip(ends)
}

/// Of one step: the first, but staff before others.
fn chosen(step: &[Said]) -> Vec<&Said> {
    let words = |said: &&Said| !said.body.trim().is_empty();
    let mut chosen: Vec<&Said> = step.iter().filter(words).collect();
    chosen.sort_by_key(|said| Reverse(said.staff));
    chosen.truncate(A_STEP);
    chosen.sort_by_key(|said| (said.at, said.seq));
    chosen
}

fn cue(out: &mut String, said: &Said, end: MediaTime) {
    let body = Escaped(shortened(&said.body));
    let (begins, ends) = (Timestamp(said.at), Timestamp(end));
    // A String takes whatever it is given.
    let _ = write!(out, "\n{}\n{begins} --> {ends}\n", said.seq);
    let _ = match one_line(&said.name) {
        name if name.is_empty() => writeln!(out, "{body}"),
        name => writeln!(out, "{}{}: {body}", Voice(&name), Escaped(name.clone())),
    };
}

/// A blank line would end the cue.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// On one line, cut between words where there are any.
fn shortened(body: &str) -> String {
    let line = one_line(body);
    let Some((end, _)) = line.char_indices().nth(LONGEST) else {
        return line;
    };
    let cut = line[..end]
        .rsplit_once(' ')
        .map_or(&line[..end], |(words, _)| words);
    format!("{cut}…")
}

/// WebVTT 4.2.2: text in which nothing is markup, nor an arrow.
pub struct Escaped(pub String);

impl fmt::Display for Escaped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            '&' => f.write_str("&amp;"),
            '<' => f.write_str("&lt;"),
            '>' => f.write_str("&gt;"),
            c => f.write_char(c),
        })
    }
}

/// WebVTT 4.2.2: a voice's start tag. A name that ends in dashes would make an arrow of its end; a space there is not
/// part of the name.
pub struct Voice<'a>(pub &'a str);

impl fmt::Display for Voice<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let space = if self.0.ends_with('-') { " " } else { "" };
        write!(f, "<v {}{space}>", Escaped(self.0.to_owned()))
    }
}

/// WebVTT 4.1: hours, of as many digits as it takes, and milliseconds.
pub struct Timestamp(pub MediaTime);

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = (self.0.ticks().max(0) * 1000 + TICKS_PER_SECOND / 2) / TICKS_PER_SECOND;
        let (hours, minutes, seconds) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
        write!(f, "{hours:02}:{minutes:02}:{seconds:02}.{:03}", ms % 1000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ms(ms: i64) -> MediaTime {
        MediaTime::ZERO + Span::from_millis(ms)
    }

    fn said(seq: u64, at: i64, body: &str) -> Said {
        Said {
            seq,
            at: ms(at),
            name: "Ana".into(),
            staff: false,
            body: body.into(),
        }
    }

    fn text(msn: u64, texts: &[Said]) -> String {
        String::from_utf8(segment(msn, texts).to_vec()).unwrap()
    }

    /// Id, begin and end in milliseconds, payload.
    fn read(segment: &str) -> Vec<(u64, i64, i64, String)> {
        let (head, cues) = segment.split_at(HEAD.len());
        assert_eq!(head, HEAD);
        let cues = cues.split("\n\n").filter(|cue| !cue.is_empty());
        let time = |text: &str| {
            let (rest, ms) = text.split_once('.').unwrap();
            let seconds = rest
                .split(':')
                .fold(0, |sum, part| sum * 60 + part.parse::<i64>().unwrap());
            seconds * 1000 + ms.parse::<i64>().unwrap()
        };
        cues.map(|cue| {
            let lines: Vec<&str> = cue.trim_start_matches('\n').lines().collect();
            let [id, times, payload] = lines[..] else {
                panic!("{cue:?}")
            };
            let (from, to) = times.split_once(" --> ").unwrap();
            (id.parse().unwrap(), time(from), time(to), payload.to_owned())
        })
        .collect()
    }

    #[test]
    fn a_segment_as_literal_text() {
        let texts = [
            said(57, 13_717, "Is x_1 < x_2?"),
            Said {
                name: String::new(),
                ..said(60, 15_000, "two\n\nlines --> &c.")
            },
        ];
        assert_eq!(
            text(4, &texts),
            "\
WEBVTT
X-TIMESTAMP-MAP=LOCAL:00:00:00.000,MPEGTS:0

57
00:00:13.717 --> 00:00:21.717
<v Ana>Ana: Is x_1 &lt; x_2?

60
00:00:15.000 --> 00:00:23.000
two lines --&gt; &amp;c.
"
        );
        assert_eq!(text(3, &[]), HEAD);
        assert_eq!(
            Timestamp(ms(100 * 3_600_000 + 61_001)).to_string(),
            "100:01:01.001"
        );
    }

    #[test]
    fn a_cue_stands_in_every_segment_that_it_reaches_into() {
        let texts = [said(1, 3_000, "here")];
        let in_segments: Vec<bool> = (0..5).map(|msn| text(msn, &texts).contains("here")).collect();
        // From 3.0 s to 11.0 s, of segments of 3.2 s.
        assert_eq!(in_segments, [true, true, true, true, false]);
    }

    #[test]
    fn few_are_shown_at_once() {
        let texts: Vec<_> = (0..8).map(|n| said(n, n as i64 * 600, "x")).collect();
        let cues = read(&text(0, &texts));
        // 0 and 1 begin in the first second, 2 and 3 in the second, 4 in the third, 5 and 6 in the fourth.
        assert_eq!(cues[0], (0, 0, 2_400, "<v Ana>Ana: x".into()));
        assert_eq!(cues[4].2, 10_400);
    }

    #[test]
    fn of_a_flood_staff_are_not_left_out() {
        let mut texts: Vec<_> = (0..100).map(|n| said(n, n as i64 * 10, "flood")).collect();
        texts[99].staff = true;
        let cues = read(&text(0, &texts));
        assert_eq!(cues.iter().map(|cue| cue.0).collect::<Vec<_>>(), [0, 99]);
    }

    #[test]
    fn long_texts_are_cut_between_words() {
        let long = "word ".repeat(60);
        let cut = shortened(&long);
        assert!(cut.ends_with("word…") && cut.chars().count() <= LONGEST + 1);
        assert_eq!(shortened(&"ж".repeat(300)), format!("{}…", "ж".repeat(LONGEST)));
        assert_eq!(shortened("short"), "short");
    }

    #[test]
    fn no_number_is_too_large() {
        for msn in [0, 1, u64::MAX] {
            let (from, to) = bounds(msn);
            assert!(from < to);
            let _ = reach(msn);
        }
        assert_eq!(*segments(MediaTime::ZERO).start(), 0);
    }

    fn texts() -> impl Strategy<Value = Vec<Said>> {
        let one = (
            0i64..60_000,
            any::<bool>(),
            "\\PC{0,12}|[<>& \n-]{1,9}",
            "\\PC{0,6}",
        );
        prop::collection::vec(one, 0..120).prop_map(|all| {
            let numbered = (1..).zip(all);
            let mut all: Vec<Said> = numbered
                .map(|(seq, (at, staff, body, name))| Said {
                    seq,
                    at: ms(at),
                    name,
                    staff,
                    body,
                })
                .collect();
            all.sort_by_key(|said| (said.at, said.seq));
            all
        })
    }

    proptest! {
        /// Whatever is said: each segment can be read, never shows more than a few at once, and needs no text beyond
        /// its reach; a cue is the same in all of its segments.
        #[test]
        fn segments_are_one_whole(all in texts()) {
            let mut known = std::collections::BTreeMap::new();
            for msn in 0..25 {
                let (from, to) = reach(msn);
                let near: Vec<Said> = all.iter().filter(|said| said.at >= from && said.at < to).cloned().collect();
                let segment = text(msn, &near);
                prop_assert_eq!(&segment, &text(msn, &all));
                let cues = read(&segment);
                for (id, from, to, payload) in &cues {
                    prop_assert!(to - from > 1_000 && to - from <= 8_000);
                    prop_assert!(!payload.contains("-->"));
                    let cue = (*from, *to, payload.clone());
                    prop_assert_eq!(known.entry(*id).or_insert_with(|| cue.clone()), &cue);
                }
                for moment in (0..32).map(|n| msn as i64 * 3_200 + n * 100) {
                    prop_assert!(cues.iter().filter(|cue| cue.1 <= moment && moment < cue.2).count() <= AT_ONCE);
                }
            }
        }

        /// A text more or less changes no other segments than those it says.
        #[test]
        fn a_text_changes_what_it_reaches(all in texts(), place in any::<prop::sample::Index>()) {
            prop_assume!(!all.is_empty());
            let mut without = all.clone();
            let gone = without.remove(place.index(all.len()));
            for msn in (0..25).filter(|msn| !segments(gone.at).contains(msn)) {
                prop_assert_eq!(text(msn, &all), text(msn, &without));
            }
        }
    }
}
