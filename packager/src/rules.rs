//! What must hold of every version of every playlist, and between any two, whatever happens to the line: lost and
//! repeated frames, jitter, respawned encoders, restarts of the server. Players that sleep, switch and apply delta
//! updates to what they last saw always hold what the server has.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;
use timeline::{Frame, Grid, MediaTime, Object, PartIndex, Span, Timeline, WallTime};

use crate::barrier::Barrier;
use crate::kept::Kept;
use crate::ladder::Ladder;
use crate::listing::Promises;
use crate::presentation::{Closed, Presentation};
use crate::segmenter::Segmenter;
use crate::testing::{Memory, frames, ladder};

const ORIGIN: i64 = 1_760_000_000_000;
const LANES: usize = 3;

/// What happens next to the line.
#[derive(Clone, Debug)]
enum Event {
    /// All is well for so many slots.
    Play(i64),
    /// Frames of one track are lost for a while (in milliseconds).
    Lose(u32, i64),
    /// Timestamps are off by up to a millisecond.
    Jitter(i64),
    /// The encoder is respawned: it tells some milliseconds again, and begins with a keyframe.
    Respawn(i64),
    /// The server is killed, and is back after some milliseconds.
    Restart(i64),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        6 => (1i64..150).prop_map(Event::Play),
        3 => (1u32..=3, 10i64..4_000).prop_map(|(track, ms)| Event::Lose(track, ms)),
        2 => (-80i64..=80).prop_map(Event::Jitter),
        1 => (0i64..500).prop_map(Event::Respawn),
        1 => (0i64..9_000).prop_map(Event::Restart),
    ];
    prop::collection::vec(event, 5..24)
}

/// A server's life: from frames to playlists.
struct Life {
    cutters: Vec<Segmenter>,
    barrier: Barrier,
    presentation: Option<Presentation>,
    kept: Kept,
}

impl Life {
    fn begin(kept: Kept) -> Life {
        let media = ladder().into_iter().map(|rendition| rendition.media);
        Life {
            cutters: media
                .map(|media| Segmenter::new(Grid::default(), media))
                .collect(),
            barrier: Barrier::new(LANES),
            presentation: None,
            kept,
        }
    }
}

/// The line with its archive, its viewers, and all that was ever published of one life.
struct World {
    life: Life,
    names: Vec<String>,
    /// The archive's playlists, media and I-frames.
    archive: Vec<(String, Option<String>)>,
    /// By lane, every version since the first that was answered.
    published: Vec<Vec<String>>,
    /// What the viewer last saw of each lane, and which one it watches.
    seen: Vec<Option<String>>,
    watched: usize,
    /// What the viewer does at each version, over and over.
    moves: Vec<u8>,
    versions: usize,
    applied: usize,
    over: bool,
}

impl World {
    fn new(moves: Vec<u8>) -> World {
        World {
            life: Life::begin(Kept::default()),
            names: ladder().into_iter().map(|rendition| rendition.name).collect(),
            archive: vec![],
            published: vec![vec![]; LANES],
            seen: vec![None; LANES],
            watched: 0,
            moves,
            versions: 0,
            applied: 0,
            over: false,
        }
    }

    fn push(&mut self, frame: Frame) {
        let lane = frame.track.0 as usize - 1;
        for cut in self.life.cutters[lane].push(frame) {
            // A rendition that is silent for too long ends the broadcast.
            let Ok(rows) = self.life.barrier.push(lane, cut) else {
                self.over = true;
                return;
            };
            rows.into_iter().for_each(|row| self.row(row));
        }
    }

    fn row(&mut self, row: crate::barrier::Row) {
        let kept = &self.life.kept;
        if self.life.presentation.is_none() {
            let mut all = Ladder::default();
            ladder().into_iter().for_each(|rendition| {
                all.add(rendition).unwrap();
            });
            let (grid, line) = (
                Grid::default(),
                Timeline::starting(WallTime::from_unix_millis(ORIGIN)),
            );
            let promises = Promises::new(&grid, 0);
            let mut presentation = Presentation::new(&all, line, grid, &promises, row.index.msn, kept);
            self.archive = presentation.archive_heads();
            self.life.presentation = Some(presentation);
        }
        let presentation = self.life.presentation.as_mut().unwrap();
        let step = presentation.push(row).unwrap();
        let next = presentation.next();
        let texts: Vec<(String, String)> = presentation
            .versions(false)
            .iter()
            .map(|version| (text(version.text(false, false)), text(version.text(true, false))))
            .collect();
        let iframes: Vec<_> = presentation
            .iframes(false)
            .into_iter()
            .flatten()
            .map(|listed| (text(listed.version.text(false, false)), listed.next))
            .collect();
        for (archive, closed) in self.archive.iter_mut().zip(step.closed.iter().flatten()) {
            keep(archive, closed);
        }
        // Before a segment is whole nothing is answered.
        if !texts[0].0.contains("#EXTINF") {
            return;
        }
        self.versions += 1;
        self.check(&texts, next);
        iframes
            .iter()
            .for_each(|(text, next)| check_iframes(text, *next, &texts[0].0));
        for (lane, (full, _)) in texts.iter().enumerate() {
            self.published[lane].push(full.clone());
        }
        self.view(&texts);
    }

    /// What must hold of this version, and between it and the one before.
    fn check(&self, texts: &[(String, String)], next: PartIndex) {
        let read: Vec<Read> = texts.iter().map(|(full, _)| Read::of(full)).collect();
        for (lane, now) in read.iter().enumerate() {
            now.check(next, lane == 2);
            let others = now
                .tail
                .lines()
                .filter(|line| line.starts_with("#EXT-X-RENDITION-REPORT"))
                .count();
            assert_eq!(others, LANES - 1);
            assert_eq!(
                now.turns(),
                read[0].turns(),
                "discontinuities stand at the same places"
            );
            assert_eq!(now.entries.len(), read[0].entries.len());
            if let Some(before) = self.published[lane].last() {
                let before = Read::of(before);
                assert_eq!(before.head, now.head);
                let known = before.entries.len();
                assert!(now.entries.len() >= known);
                assert_eq!(
                    without_parts(&before.entries),
                    without_parts(&now.entries[..known])
                );
            }
        }
    }

    /// The viewer sleeps, switches, or loads a delta update onto what it knows; at times onto something older.
    fn view(&mut self, texts: &[(String, String)]) {
        let action = self.moves[self.versions % self.moves.len()];
        match action % 8 {
            0..=1 => return,
            2 => self.watched = usize::from(action / 8) % LANES,
            _ => {}
        }
        let lane = self.watched;
        let (full, delta) = &texts[lane];
        let older = self.published[lane].iter().rev().nth(usize::from(action));
        for base in self.seen[lane].iter().chain(older) {
            match apply(delta, base) {
                Some(applied) => {
                    assert_eq!(&applied, full);
                    self.applied += 1;
                }
                // It has slept for longer than the skip boundary lets it: it must load the whole (6.3.7).
                None => assert!(Read::of(full).entries.len() >= Read::of(base).entries.len() + 3),
            }
        }
        self.seen[lane] = Some(full.clone());
    }

    /// Killed, and back: what is left is the archive.
    fn restart(&mut self) {
        let memory = Memory::default();
        for (name, (index, iframes)) in self.names.iter().zip(&self.archive) {
            for (file, text) in [("index", Some(index)), ("iframes", iframes.as_ref())] {
                // A playlist is written with its first segment.
                if let Some(text) = text.filter(|text| text.contains("#EXTINF")) {
                    let object = Object {
                        body: Bytes::from(text.clone()),
                        content_type: String::new(),
                    };
                    memory
                        .objects
                        .lock()
                        .unwrap()
                        .insert(format!("algebra/{name}/{file}.m3u8"), object);
                }
            }
        }
        let kept =
            futures::executor::block_on(Kept::read(&memory, &"algebra".parse().unwrap(), &[])).unwrap();
        if kept.is_empty() {
            self.published.iter_mut().for_each(Vec::clear);
            self.seen.fill(None);
        }
        self.life = Life::begin(kept);
    }
}

fn keep((index, iframes): &mut (String, Option<String>), closed: &Closed) {
    closed.entry.render(index);
    if let Some(iframes) = iframes {
        closed.entry.render_pictures(iframes);
    }
}

fn text(bytes: Bytes) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A playlist taken apart by lines.
struct Read {
    /// Up to the first map.
    head: Vec<String>,
    /// All lines of each segment that is whole.
    entries: Vec<String>,
    /// What follows the last of them.
    tail: String,
}

impl Read {
    fn of(text: &str) -> Read {
        let (mut head, mut entries, mut open) = (Vec::new(), Vec::new(), String::new());
        for line in text.lines() {
            if !head
                .last()
                .is_some_and(|last: &String| last.starts_with("#EXT-X-MAP"))
            {
                head.push(line.to_owned());
                continue;
            }
            open.push_str(line);
            open.push('\n');
            if !line.starts_with('#') {
                entries.push(std::mem::take(&mut open));
            }
        }
        Read {
            head,
            entries,
            tail: open,
        }
    }

    /// Where the discontinuities are.
    fn turns(&self) -> Vec<usize> {
        let all = self.entries.iter().chain([&self.tail]).enumerate();
        let turns = all.filter(|(_, entry)| entry.contains("#EXT-X-DISCONTINUITY\n"));
        turns.map(|(n, _)| n).collect()
    }

    fn check(&self, next: PartIndex, audio: bool) {
        let first: u64 = self.value("#EXT-X-MEDIA-SEQUENCE:").parse().unwrap();
        assert_eq!(self.value("#EXT-X-DISCONTINUITY-SEQUENCE:"), "0");
        assert_eq!(self.value("#EXT-X-TARGETDURATION:"), "3");
        for (n, entry) in self.entries.iter().enumerate() {
            let msn = first + n as u64;
            assert!(
                entry.ends_with(&format!("#EXTINF:3.20000,\n{msn}.m4s\n")),
                "{entry}"
            );
            let date = super::playlist::Segment {
                program_date_time: WallTime::from_unix_millis(ORIGIN + msn as i64 * 3_200),
                ..Default::default()
            };
            let mut expected = String::new();
            date.render(&mut expected);
            let date = expected.lines().next().unwrap();
            assert!(entry.lines().any(|line| line == date), "{entry}");
            check_parts(entry, true, audio);
        }
        check_parts(&self.tail, false, audio);
        let listed = self.tail.matches("#EXT-X-PART:").count() as u32;
        assert_eq!(listed, next.part, "{}", self.tail);
        assert_eq!(self.entries.len() as u64 + first, next.msn);
        let hint = format!(
            "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"{}.{}.m4s\"\n",
            next.msn, next.part
        );
        assert!(self.tail.contains(&hint));
    }

    fn value(&self, tag: &str) -> &str {
        self.head.iter().find_map(|line| line.strip_prefix(tag)).unwrap()
    }
}

/// 4.4.4.9, and that the parts of a whole segment are as long as it is.
fn check_parts(entry: &str, whole: bool, audio: bool) {
    const TARGET: f64 = 0.21334;
    let parts: Vec<&str> = entry
        .lines()
        .filter(|line| line.starts_with("#EXT-X-PART:"))
        .collect();
    let duration = |part: &str| -> f64 {
        let value = part.split("DURATION=").nth(1).unwrap();
        value.split(',').next().unwrap().parse().unwrap()
    };
    let gap = |part: &str| part.ends_with("GAP=YES");
    for (n, part) in parts.iter().enumerate() {
        let excepted = part.contains("INDEPENDENT=YES")
            || gap(part)
            || (whole && n + 1 == parts.len())
            || parts.get(n + 1).is_some_and(|next| gap(next));
        assert!(
            duration(part) <= TARGET && (duration(part) >= 0.85 * TARGET || excepted),
            "{entry}"
        );
        let independent = part.contains("INDEPENDENT=YES");
        assert_eq!(independent, !gap(part) && (audio || n == 0), "{entry}");
    }
    // A segment with a hole is a gap, and only such.
    if whole && !parts.is_empty() {
        assert_eq!(
            parts.iter().any(|part| gap(part)),
            entry.contains("#EXT-X-GAP"),
            "{entry}"
        );
        let sum: f64 = parts.iter().map(|part| duration(part)).sum();
        assert!((sum - 3.2).abs() < 0.000_1, "{entry}");
    }
}

/// Its time is that of the media playlist: what is a gap there is a gap here.
fn check_iframes(iframes: &str, next: u64, media: &str) {
    let (iframes, media) = (Read::of(iframes), Read::of(media));
    assert_eq!(iframes.entries.len() as u64, next);
    let mut ticks = BTreeMap::new();
    for entry in &iframes.entries {
        let duration = entry.split("#EXTINF:").nth(1).unwrap().split(',').next().unwrap();
        let uri = entry.lines().last().unwrap();
        assert_ne!(entry.contains("#EXT-X-GAP"), entry.contains("#EXT-X-BYTERANGE"));
        *ticks.entry(uri).or_insert(0.0) += duration.parse::<f64>().unwrap();
    }
    assert!(
        ticks.values().all(|sum: &f64| (sum - 3.2).abs() < 0.000_1),
        "{ticks:?}"
    );
    assert_eq!(ticks.len(), media.entries.len());
}

/// The segments as they stand once their parts are no longer listed.
fn without_parts(entries: &[String]) -> Vec<String> {
    let strip = |entry: &String| {
        let lines = entry.lines().filter(|line| !line.starts_with("#EXT-X-PART:"));
        lines.map(|line| format!("{line}\n")).collect()
    };
    entries.iter().map(strip).collect()
}

/// What a player makes of a delta update; `None` if it lacks some of the skipped segments.
fn apply(delta: &str, base: &str) -> Option<String> {
    let (update, base) = (Read::of(delta), Read::of(base));
    let skip = |line: &&String| line.starts_with("#EXT-X-SKIP");
    let Some(skip) = update.head.iter().find(skip) else {
        return Some(delta.to_owned());
    };
    let skipped: usize = skip.split('=').nth(1).unwrap().parse().unwrap();
    let known = without_parts(base.entries.get(..skipped)?);
    // The head is what it was, but for the version, the skip, and the map in force behind it.
    let plain = |head: &[String]| -> Vec<String> {
        let other = ["#EXT-X-SKIP", "#EXT-X-VERSION", "#EXT-X-MAP"];
        let same = |line: &&String| !other.iter().any(|tag| line.starts_with(tag));
        head.iter().filter(same).cloned().collect()
    };
    assert_eq!(plain(&update.head), plain(&base.head));
    let mut maps = base
        .head
        .iter()
        .map(String::as_str)
        .chain(known.iter().flat_map(|entry| entry.lines()));
    assert_eq!(
        maps.rfind(|line| line.starts_with("#EXT-X-MAP")),
        update.head.last().map(String::as_str)
    );
    let mut whole = base.head.join("\n") + "\n";
    whole.extend(known);
    whole.extend(update.entries);
    Some(whole + &update.tail)
}

/// Runs a trace; gives how many versions there were, and how many delta updates were applied.
fn run(events: &[Event], moves: Vec<u8>) -> (usize, usize) {
    let mut world = World::new(moves);
    let (mut now, mut jitter, mut lost) = (0i64, 0i64, [0i64; LANES]);
    let (mut odd, mut keyframe, mut begun) = (false, false, [false; LANES]);
    for event in events {
        let mut slots = 30;
        match event {
            Event::Play(count) => slots = *count,
            Event::Lose(track, ms) => lost[*track as usize - 1] = now + ms * 90,
            Event::Jitter(ticks) => jitter = *ticks,
            Event::Respawn(ms) => {
                now = (now - ms * 90).max(0) / 3_000 * 3_000;
                keyframe = true;
            }
            Event::Restart(ms) => {
                world.restart();
                begun = [false; LANES];
                // Later than all that was ever told, as the wall is.
                now = ((now + ms * 90) / 288_000 + 1) * 288_000;
            }
        }
        let until = now + slots * 3_000;
        for mut frame in frames_between(now, until) {
            let track = frame.track.0 as usize - 1;
            // An encoder begins every rendition at the head of a segment.
            let head = frame.at.ticks() % 288_000 == 0;
            if frame.at.ticks() < lost[track] || !(head || begun[track]) {
                continue;
            }
            begun[track] = true;
            odd = !odd;
            // Not before the first frame of a line, which must be in a segment's first part.
            let off = if frame.at.ticks() % 288_000 == 0 {
                0
            } else {
                jitter
            };
            frame.keyframe |= keyframe && track < 2;
            frame.at += Span::from_ticks(if odd { off } else { -off });
            world.push(frame);
            if world.over {
                return (world.versions, world.applied);
            }
        }
        keyframe = false;
        now = until;
    }
    (world.versions, world.applied)
}

fn frames_between(from: i64, to: i64) -> Vec<Frame> {
    thread_local! {
        static ALL: Vec<Frame> = frames(240_000);
    }
    let (from, to) = (MediaTime::from_ticks(from), MediaTime::from_ticks(to));
    ALL.with(|all| {
        let start = all.partition_point(|frame| frame.at < from);
        let end = all.partition_point(|frame| frame.at < to);
        all[start..end].to_vec()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn whatever_happens_the_rules_hold(
        events in events(),
        moves in prop::collection::vec(any::<u8>(), 1..64),
    ) {
        run(&events, moves);
    }
}

/// The property is not empty: of a long trace with everything in it much is published, and most is applied.
#[test]
fn a_long_trace_is_published_and_applied() {
    let trace = [
        Event::Play(600),
        Event::Lose(2, 700),
        Event::Play(150),
        Event::Jitter(80),
        Event::Play(300),
        Event::Respawn(400),
        Event::Play(300),
        Event::Restart(5_000),
        Event::Play(900),
        Event::Lose(3, 100),
        Event::Play(600),
    ];
    let (versions, applied) = run(&trace, vec![3, 2, 11, 0, 40, 7, 18, 3, 60, 3]);
    assert!(versions > 300 && applied > versions, "{versions} {applied}");
}
