//! Rows in; parts, segments and new versions of every playlist out. The pure core of a broadcast on air.

use std::sync::Arc;

use bytes::Bytes;
use timeline::{Grid, PartIndex, Timeline};

use crate::barrier::Row;
use crate::error::Error;
use crate::fmp4::PartWriter;
use crate::kept::Kept;
use crate::ladder::{Entry, Ladder};
use crate::listing::{Listing, Promises, Version};
use crate::part::{Part, Segment};
use crate::playlist::{self, RenditionReport};
use crate::whole::{Listed, Whole, text_entry};

pub struct Presentation {
    grid: Grid,
    lanes: Vec<Lane>,
    texts: Vec<Whole>,
    /// The part that comes next.
    next: PartIndex,
}

/// One rendition.
struct Lane {
    name: String,
    writer: PartWriter,
    listing: Listing,
    /// Of a video rendition.
    iframes: Option<Whole>,
    /// The parts of the segment that is not whole yet.
    open: Vec<Part>,
    /// The inits of segments that are not whole yet, by their names.
    renewed: Vec<(String, Bytes)>,
    /// The archive's playlists (that of I-frames second) up to the first segment that is made here.
    archive_heads: (String, Option<String>),
}

/// What one row brought, a value per rendition in the ladder's order.
pub struct Step {
    pub parts: Vec<Part>,
    pub closed: Option<Vec<Closed>>,
}

/// A segment that became whole.
#[derive(Clone)]
pub struct Closed {
    pub segment: Segment,
    /// The same parts as before, sharing the segment's memory.
    pub parts: Vec<Part>,
    /// The segment in the archive's playlist.
    pub entry: playlist::Segment,
    /// The init that its entry names, if another than that of the segment before.
    pub init: Option<Bytes>,
}

impl Presentation {
    /// `first` is the MSN of the first row; `kept` what came before, if this line was interrupted.
    pub fn new(
        ladder: &Ladder,
        timeline: Timeline,
        grid: Grid,
        promises: &Promises,
        first: u64,
        kept: &Kept,
    ) -> Presentation {
        let media_sequence = kept.media_sequence().unwrap_or(first);
        let lane = |entry: &Entry| {
            let name = entry.rendition.name.clone();
            let history = kept.history(&name, &entry.init_name, first, &grid, timeline);
            let before = history.segments.clone();
            let video = entry.rendition.is_video();
            let iframes = video.then(|| Whole::pictures(promises.clone(), &history));
            let listing = Listing::new(promises.clone(), timeline, entry, media_sequence, history);
            let mut head = listing.archive_head();
            before.iter().for_each(|segment| segment.render(&mut head));
            let iframes_head = iframes.as_ref().map(|iframes| iframes.archive_text(&before));
            Lane {
                name,
                writer: PartWriter::new(entry.rendition.media),
                listing,
                iframes,
                open: Vec::new(),
                renewed: Vec::new(),
                archive_heads: (head, iframes_head),
            }
        };
        let mut lanes: Vec<Lane> = ladder.entries().iter().map(lane).collect();
        // Discontinuities stand at the same place in all renditions (6.2.4), or their sequence numbers differ.
        if lanes.iter().any(|lane| lane.listing.turns()) {
            lanes.iter_mut().for_each(|lane| lane.listing.turn());
        }
        Presentation {
            grid,
            lanes,
            texts: Vec::new(),
            next: PartIndex { msn: first, part: 0 },
        }
    }

    pub fn push(&mut self, row: Row) -> Result<Step, Error> {
        let mut parts = Vec::with_capacity(row.cuts.len());
        for (lane, cut) in self.lanes.iter_mut().zip(row.cuts) {
            let written = lane.writer.write(cut);
            let part = written.map_err(|source| Error::Boxes {
                rendition: lane.name.clone(),
                source,
            })?;
            lane.listing.push(&part);
            lane.open.push(part.clone());
            parts.push(part);
        }
        self.next = self.grid.next_part(row.index);
        let closed = (self.next.part == 0).then(|| self.close());
        Ok(Step { parts, closed })
    }

    /// From the segment `msn` on a rendition needs another init.
    pub fn renew(&mut self, lane: usize, msn: u64, entry: &Entry) {
        let lane = &mut self.lanes[lane];
        lane.listing.renew(msn, entry.init_name.clone());
        lane.renewed.push((entry.init_name.clone(), entry.init.clone()));
    }

    /// The line is over: the last segment is as long as it is.
    pub fn finish(&mut self) -> Option<Vec<Closed>> {
        self.lanes
            .iter()
            .any(|lane| !lane.open.is_empty())
            .then(|| self.close())
    }

    /// Adds a playlist of texts, before the first row. `kept` are its segments before this process. Gives the archive's
    /// playlist, which lists `archived`.
    pub fn add_texts(
        &mut self,
        promises: &Promises,
        media_sequence: u64,
        kept: &[playlist::Segment],
        archived: &[playlist::Segment],
    ) -> String {
        let texts = Whole::texts(promises.clone(), media_sequence, kept);
        let head = texts.archive_text(archived);
        self.texts.push(texts);
        head
    }

    fn close(&mut self) -> Vec<Closed> {
        let closed: Vec<Closed> = self.lanes.iter_mut().filter_map(Lane::close).collect();
        let msn = closed.first().map_or(0, |closed| closed.segment.msn);
        if let Some(entry) = text_entry(msn, closed.iter().map(|closed| &closed.entry)) {
            self.texts.iter_mut().for_each(|texts| texts.close(&entry));
        }
        closed
    }

    pub fn next(&self) -> PartIndex {
        self.next
    }

    /// The playlists as they stand, in the ladder's order.
    pub fn versions(&self, ended: bool) -> Vec<Arc<Version>> {
        let next = (!ended).then_some(self.next);
        (0..self.lanes.len())
            .map(|n| Arc::new(self.lanes[n].listing.version(next, self.reports(n, ended))))
            .collect()
    }

    /// The I-frame playlists as they stand, in the ladder's order.
    pub fn iframes(&self, ended: bool) -> Vec<Option<Arc<Listed>>> {
        let lanes = self.lanes.iter();
        lanes
            .map(|lane| lane.iframes.as_ref().map(|iframes| iframes.listed(ended)))
            .collect()
    }

    /// The playlists of texts as they stand.
    pub fn texts(&self, ended: bool) -> Vec<Arc<Listed>> {
        self.texts.iter().map(|texts| texts.listed(ended)).collect()
    }

    /// One for every other rendition (appendix B.1); nobody switches by them after the end.
    fn reports(&self, of: usize, ended: bool) -> Vec<RenditionReport> {
        let last = self.last();
        let others = self.lanes.iter().enumerate().filter(|(n, _)| *n != of && !ended);
        let report = |lane: &Lane| RenditionReport {
            uri: format!("../{}/index.m3u8", lane.name),
            last_msn: last.msn,
            last_part: last.part,
        };
        others.map(|(_, lane)| report(lane)).collect()
    }

    /// The part that came last. Asked only after the first row.
    fn last(&self) -> PartIndex {
        match self.next {
            PartIndex { msn, part: 0 } => PartIndex {
                msn: msn.saturating_sub(1),
                part: self.grid.parts_per_segment() - 1,
            },
            PartIndex { msn, part } => PartIndex { msn, part: part - 1 },
        }
    }

    /// The archive's playlists (that of I-frames second) up to the first segment that is made here; each is given
    /// once.
    pub fn archive_heads(&mut self) -> Vec<(String, Option<String>)> {
        self.lanes
            .iter_mut()
            .map(|lane| std::mem::take(&mut lane.archive_heads))
            .collect()
    }
}

impl Lane {
    fn close(&mut self) -> Option<Closed> {
        let mut parts = std::mem::take(&mut self.open);
        let segment = Segment::of(&mut parts)?;
        let entry = self.listing.close(&segment);
        if let Some(iframes) = &mut self.iframes {
            iframes.close(&entry);
        }
        let named = |(name, _): &(String, Bytes)| entry.turn.map.as_ref() == Some(name);
        let init = self.renewed.iter().position(named).map(|place| {
            // Those before it were never listed.
            let used = self.renewed.drain(..=place).next_back();
            used.map(|(_, init)| init).unwrap_or_default()
        });
        Some(Closed {
            segment,
            parts,
            entry,
            init,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::barrier::Barrier;
    use crate::playlist::Media;
    use crate::segmenter::Segmenter;
    use crate::testing::{frames, ladder};
    use timeline::{Frame, MediaTime, Span, WallTime};

    const ORIGIN: WallTime = WallTime::from_unix_millis(1_760_000_000_000);

    /// The ladder of `testing`, from frames to playlists.
    struct Line {
        cutters: Vec<Segmenter>,
        barrier: Barrier,
        presentation: Presentation,
    }

    impl Line {
        fn new() -> Line {
            let mut all = Ladder::default();
            ladder().into_iter().for_each(|rendition| {
                all.add(rendition).unwrap();
            });
            let media = all.entries().iter().map(|entry| entry.rendition.media);
            let cutters = media
                .map(|media| Segmenter::new(Grid::default(), media))
                .collect();
            let timeline = Timeline::starting(ORIGIN);
            let grid = Grid::default();
            let promises = Promises::new(&grid, 0);
            let presentation = Presentation::new(&all, timeline, grid, &promises, 0, &Kept::default());
            Line {
                cutters,
                barrier: Barrier::new(3),
                presentation,
            }
        }

        fn push(&mut self, frame: Frame) -> Vec<Step> {
            let lane = frame.track.0 as usize - 1;
            let mut rows = Vec::new();
            for cut in self.cutters[lane].push(frame) {
                rows.extend(self.barrier.push(lane, cut).unwrap());
            }
            rows.into_iter()
                .map(|row| self.presentation.push(row).unwrap())
                .collect()
        }
    }

    fn text(version: &Version, delta: bool) -> String {
        String::from_utf8(version.text(delta, false).to_vec()).unwrap()
    }

    /// The entries of whole segments, a string each: all lines from its date to its URI but its parts.
    fn whole_segments(playlist: &str) -> Vec<String> {
        let (mut entries, mut entry) = (Vec::new(), Vec::new());
        for line in playlist.lines() {
            match line {
                _ if line.starts_with("#EXT-X-PROGRAM-DATE-TIME") => entry = vec![line],
                _ if line.starts_with("#EXTINF") || line.starts_with("#EXT-X-GAP") => entry.push(line),
                _ if !line.starts_with('#') => {
                    entry.push(line);
                    entries.push(entry.join("\n"));
                }
                _ => {}
            }
        }
        entries
    }

    /// What a player makes of a delta update: the skipped segments of its last playlist, then the rest.
    fn apply(delta: &str, base: &str) -> String {
        let Some(skip) = delta
            .lines()
            .find_map(|line| line.strip_prefix("#EXT-X-SKIP:SKIPPED-SEGMENTS="))
        else {
            return delta.to_owned();
        };
        let skipped: usize = skip.parse().unwrap();
        let (head, rest) = delta.split_once("#EXT-X-SKIP").unwrap();
        let (_, rest) = rest.split_once('\n').unwrap();
        let (map, rest) = rest.split_at(rest.find("#EXT-X-PROGRAM-DATE-TIME").unwrap());
        let kept: String = whole_segments(base)[..skipped]
            .iter()
            .map(|entry| format!("{entry}\n"))
            .collect();
        format!("{}{map}{kept}{rest}", head.replace("VERSION:9", "VERSION:6"))
    }

    #[test]
    fn playlists_only_grow_at_the_edge_and_deltas_lead_to_the_same() {
        let mut line = Line::new();
        let mut before: Vec<String> = Vec::new();
        let mut versions = 0;
        for frame in frames(60_000) {
            for _ in line.push(frame) {
                versions += 1;
                let playlists = line.presentation.versions(false);
                for (n, version) in playlists.iter().enumerate() {
                    let full = text(version, false);
                    if let Some(base) = before.get(n) {
                        let (old, new) = (whole_segments(base), whole_segments(&full));
                        assert_eq!(old[..], new[..old.len()]);
                        assert!(new.len() - old.len() <= 1);
                        assert_eq!(apply(&text(version, true), base), full);
                    }
                }
                before = playlists.iter().map(|version| text(version, false)).collect();
            }
        }
        assert_eq!(versions, 300);
        let delta = text(&line.presentation.versions(false)[0], true);
        assert!(delta.contains("#EXT-X-SKIP:SKIPPED-SEGMENTS=12\n"), "{delta}");
    }

    /// The same playlist from the plain structs, without any memory of what was rendered before.
    #[test]
    fn a_version_is_what_its_structs_say() {
        let mut line = Line::new();
        let (mut segments, mut parts): (Vec<playlist::Segment>, Vec<Part>) = Default::default();
        for frame in frames(40_000) {
            for step in line.push(frame) {
                parts.push(step.parts[2].clone());
                if let Some(closed) = &step.closed {
                    segments.push(closed[2].entry.clone());
                }
            }
        }
        let part = |part: &Part| playlist::Part {
            duration: part.duration,
            uri: format!("{}.{}.m4s", part.index.msn, part.index.part),
            independent: true,
            gap: false,
        };
        let of = |msn: u64| {
            parts
                .iter()
                .filter(move |part| part.index.msn == msn)
                .map(part)
                .collect()
        };
        let listed = segments.len() as u64 - 3;
        for msn in listed..listed + 3 {
            segments[msn as usize].parts = of(msn);
        }
        let open = segments.len() as u64;
        let promises = Promises::new(&Grid::default(), 0);
        let text = text(&line.presentation.versions(false)[2], false);
        let map = text
            .split("EXT-X-MAP:URI=\"")
            .nth(1)
            .unwrap()
            .split('"')
            .next()
            .unwrap();
        let report = |name: &str| RenditionReport {
            uri: format!("../{name}/index.m3u8"),
            last_msn: open,
            last_part: 7,
        };
        let expected = Media {
            target_duration: 3,
            server_control: Some(promises.server_control),
            part_target: Some(Span::from_ticks(19_200)),
            event: true,
            media_sequence: 0,
            map: map.to_owned(),
            segments,
            open: Some(playlist::Open {
                turn: playlist::Turn::default(),
                program_date_time: Timeline::starting(ORIGIN).wall(Grid::default().segment_start(open)),
                parts: of(open),
            }),
            preload_hint: Some(format!("{open}.8.m4s")),
            rendition_reports: vec![report("720p"), report("360p")],
            ..Media::default()
        };
        assert_eq!(text, expected.render());
    }

    #[test]
    fn the_promises_of_the_default_grid() {
        let promises = Promises::new(&Grid::default(), 0);
        assert_eq!(
            (promises.target_duration, promises.with_parts, promises.in_delta),
            (3, 3, 6)
        );
        assert_eq!(promises.server_control.part_hold_back_ms, 650);
        assert_eq!(promises.advance_parts(), 15);
        assert_eq!(
            Promises::new(&Grid::default(), 100)
                .server_control
                .part_hold_back_ms,
            650
        );
    }

    #[test]
    fn the_last_segment_is_as_long_as_it_is() {
        let mut line = Line::new();
        frames(4_000).into_iter().for_each(|frame| drop(line.push(frame)));
        let end = Some(MediaTime::from_ticks(360_000));
        for row in line
            .barrier
            .finish(line.cutters.into_iter().map(Segmenter::finish), end)
        {
            line.presentation.push(row).unwrap();
        }
        let closed = line.presentation.finish().unwrap();
        let durations: Vec<_> = closed
            .iter()
            .map(|closed| closed.segment.duration.ticks())
            .collect();
        assert_eq!(durations, [72_000, 72_000, 72_960]);
        let ended = text(&line.presentation.versions(true)[2], false);
        assert!(
            ended.ends_with("#EXTINF:0.81067,\n1.m4s\n#EXT-X-ENDLIST\n"),
            "{ended}"
        );
        assert!(!ended.contains("PRELOAD-HINT") && !ended.contains("RENDITION-REPORT"));
        assert!(line.presentation.finish().is_none());
    }
}
