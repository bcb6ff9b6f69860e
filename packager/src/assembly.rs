//! Where the records of one line go, step by step: through the segmenters and the barrier to what is visible.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Instant, SystemTime};

use timeline::feed::{Consumer, Record};
use timeline::{Frame, MediaTime, PartIndex, Stills, TextRendition, WallTime};
use tokio::sync::oneshot;

use crate::air::{Front, Presented, State};
use crate::archive::{self, Backlog, Filed, Job};
use crate::barrier::{Barrier, Row, Silent};
use crate::config::Config;
use crate::error::Error;
use crate::ladder::{Added, Ladder};
use crate::meters::Meters;
use crate::packaging::Packaging;
use crate::playlist::Subtitles;
use crate::presentation::{Closed, Presentation, Step};
use crate::segmenter::Segmenter;
use crate::storyboard::{Cues, Storyboard};
use crate::text::Text;

pub struct Assembly<'a> {
    packaging: &'a Packaging,
    ladder: Ladder,
    /// One per rendition, and the barrier behind them; made with the first frame.
    cutters: Option<(Vec<Segmenter>, Barrier)>,
    presentation: Option<Presentation>,
    /// Renditions that were told again before it was there, each with its first segment that needs what they say.
    early: Vec<(u64, timeline::Rendition)>,
    presented: Option<Arc<Presented>>,
    storyboard: Option<Storyboard>,
    /// What of it is not in the backlog yet.
    owed: Cues,
    backlog: Arc<Backlog>,
    announce: Option<oneshot::Sender<archive::Presented>>,
    /// Where the line ends, when it says so.
    end: Option<MediaTime>,
    /// How far it has come.
    edge: MediaTime,
    dropped: u64,
    ready: bool,
    opened: Instant,
    /// The parts that are not visible yet, and when the first picture of each came.
    begun: VecDeque<(PartIndex, Instant)>,
}

impl<'a> Assembly<'a> {
    pub fn new(
        packaging: &'a Packaging,
        backlog: Arc<Backlog>,
        announce: oneshot::Sender<archive::Presented>,
    ) -> Assembly<'a> {
        Assembly {
            packaging,
            ladder: Ladder::default(),
            cutters: None,
            presentation: None,
            early: Vec::new(),
            presented: None,
            storyboard: None,
            owed: Cues::default(),
            backlog,
            announce: Some(announce),
            end: None,
            edge: MediaTime::ZERO,
            dropped: 0,
            ready: false,
            opened: Instant::now(),
            begun: VecDeque::new(),
        }
    }

    /// Takes the line up to its end.
    pub async fn follow(&mut self, line: &mut Consumer) -> Result<(), Error> {
        loop {
            match line.next().await? {
                Some(Record::Rendition(rendition)) => self.rendition(rendition)?,
                Some(Record::Stills(stills)) => self.stills(stills),
                Some(Record::Frame(frame)) if self.is_still(&frame) => self.still(frame),
                Some(Record::Frame(frame)) => self.frame(frame)?,
                Some(Record::End(at)) => {
                    self.end = Some(at);
                    return Ok(());
                }
                Some(Record::Track(_) | Record::TrackEnded(_) | Record::Layout(_) | Record::Heard { .. }) => {
                }
                None => return Err(Error::BrokeOff(self.edge)),
            }
        }
    }

    fn rendition(&mut self, rendition: timeline::Rendition) -> Result<(), Error> {
        if self.cutters.is_some() && self.ladder.named(&rendition.name).is_none() {
            let reason = "it was announced after the first frame";
            return Err(Error::BadRendition {
                rendition: rendition.name,
                reason,
            });
        }
        // What stands on the line already needs what was told before.
        let msn = self.next_head(&rendition.name);
        match (&self.cutters, &self.presentation) {
            (Some(_), None) => {
                self.early.push((msn, rendition));
                Ok(())
            }
            _ => self.add(msn, rendition),
        }
    }

    /// The first segment of a rendition of which no frame has come.
    fn next_head(&self, rendition: &str) -> u64 {
        let lane = self.ladder.named(rendition).map(|(lane, _)| lane);
        let segmenter = lane
            .zip(self.cutters.as_ref())
            .map(|(lane, cutters)| &cutters.0[lane]);
        segmenter.map_or(0, Segmenter::next_head)
    }

    /// Takes a rendition; one that needs another init needs it from the segment `msn` on.
    fn add(&mut self, msn: u64, rendition: timeline::Rendition) -> Result<(), Error> {
        let track = rendition.id;
        let added = self.ladder.add(rendition)?;
        let lane = self.ladder.lane(track).filter(|_| added == Added::Renewed);
        if let Some((lane, presentation)) = lane.zip(self.presentation.as_mut()) {
            presentation.renew(lane, msn, &self.ladder.entries()[lane]);
        }
        if let Some(presented) = self.presented.as_ref().filter(|_| added == Added::Renewed) {
            self.presented = Some(Arc::new(Presented {
                ladder: self.ladder.clone(),
                ..Presented::clone(presented)
            }));
        }
        Ok(())
    }

    fn stills(&mut self, stills: Stills) {
        match &mut self.storyboard {
            Some(storyboard) => storyboard.announce(stills),
            None => {
                let storyboard = self.begin_storyboard(stills);
                self.packaging.air.album.open(storyboard.head());
                self.storyboard = Some(storyboard);
            }
        }
    }

    fn begin_storyboard(&self, stills: Stills) -> Storyboard {
        let Packaging { grid, kept, .. } = self.packaging;
        kept.storyboard(stills, *grid).unwrap_or_else(|foreign| {
            tracing::warn!(broadcast = %self.packaging.broadcast, %foreign, "the storyboard begins anew");
            Storyboard::new(stills, *grid, kept.media_sequence())
        })
    }

    fn is_still(&self, frame: &Frame) -> bool {
        self.storyboard
            .as_ref()
            .is_some_and(|storyboard| storyboard.track() == frame.track)
    }

    /// A still passes no barrier: what is late is shown late, and holds up nothing.
    fn still(&mut self, frame: Frame) {
        let taken = self
            .storyboard
            .as_mut()
            .is_some_and(|storyboard| storyboard.still(frame.at, frame.payload));
        self.count_dropped(u64::from(!taken));
        self.show_cues();
    }

    fn show_cues(&mut self) {
        let Some(storyboard) = &mut self.storyboard else {
            return;
        };
        let cues = storyboard.take();
        if !cues.is_empty() {
            self.packaging.air.storyboard(&cues, self.edge);
            self.meters().stills.increment(cues.stills.len() as u64);
            self.owed.extend(cues);
        }
    }

    fn frame(&mut self, frame: Frame) -> Result<(), Error> {
        let Some(lane) = self.ladder.lane(frame.track) else {
            return match self.ladder.entries().is_empty() {
                true => Err(Error::NoRenditions),
                false => {
                    self.count_dropped(1);
                    Ok(())
                }
            };
        };
        if lane == 0 {
            self.note_begin(self.packaging.grid.part_index(frame.at));
        }
        let (segmenters, _) = self.cutters();
        let before = segmenters[lane].dropped();
        let cuts = segmenters[lane].push(frame);
        let dropped = segmenters[lane].dropped() - before;
        self.count_dropped(dropped);
        for cut in cuts {
            let rows = self.cutters().1.push(lane, cut);
            let rows = rows.map_err(|silent| self.silent(silent))?;
            rows.into_iter().try_for_each(|row| self.row(row))?;
        }
        Ok(())
    }

    /// A picture of this part has come. The barrier bounds how many parts can wait.
    fn note_begin(&mut self, index: PartIndex) {
        if self.begun.back().is_none_or(|(last, _)| *last < index) {
            self.begun.push_back((index, Instant::now()));
        }
    }

    /// The part is visible; it was complete at `complete`.
    fn measure(&mut self, index: PartIndex, complete: Instant) {
        let (meters, grid) = (&self.packaging.air.meters, self.packaging.grid);
        while let Some((begun, at)) = self.begun.pop_front_if(|(begun, _)| *begun <= index) {
            if begun == index {
                meters.part.record(complete - at);
            }
        }
        meters.publish.record(complete.elapsed());
        let captured = self.packaging.timeline.wall(grid.part_start(index));
        let server = WallTime::from(SystemTime::now()) - captured;
        meters.server.record(server.as_secs_f64());
    }

    fn cutters(&mut self) -> &mut (Vec<Segmenter>, Barrier) {
        let (ladder, grid) = (&self.ladder, self.packaging.grid);
        self.cutters.get_or_insert_with(|| {
            let media = ladder.entries().iter().map(|entry| entry.rendition.media);
            (
                media.map(|media| Segmenter::new(grid, media)).collect(),
                Barrier::new(ladder.entries().len()),
            )
        })
    }

    fn silent(&self, Silent { lane, ahead }: Silent) -> Error {
        Error::Silent {
            rendition: self.ladder.entries()[lane].rendition.name.clone(),
            ahead,
        }
    }

    /// A part of every rendition: makes it visible.
    fn row(&mut self, row: Row) -> Result<(), Error> {
        let (index, complete, unlisted) = (row.index, Instant::now(), !self.ready);
        let Packaging {
            timeline,
            grid,
            air,
            kept,
            ..
        } = self.packaging;
        let ends = row.cuts.iter().map(|cut| cut.end());
        self.edge = ends.max().unwrap_or(self.edge);
        let gaps = row.cuts.iter().filter(|cut| cut.gap).count();
        if self.presentation.is_none() {
            let first = row.index.msn;
            if first < kept.next_msn() {
                // Its names mean other bytes already.
                return Err(Error::Taken {
                    msn: first,
                    next: kept.next_msn(),
                });
            }
            let mut presentation =
                Presentation::new(&self.ladder, *timeline, *grid, &air.promises, first, kept);
            self.present(&mut presentation, first);
            self.presentation = Some(presentation);
            self.ready = !kept.is_empty();
            for (msn, rendition) in std::mem::take(&mut self.early) {
                self.add(msn, rendition)?;
            }
        }
        let Some(presentation) = &mut self.presentation else {
            return Ok(());
        };
        let step = presentation.push(row)?;
        self.ready |= step.closed.is_some();
        self.show(step, gaps);
        self.measure(index, complete);
        if unlisted && self.ready {
            self.meters().listed.set(self.opened.elapsed());
        }
        Ok(())
    }

    /// Tells the archive what there will be, and prepares what never changes.
    fn present(&mut self, presentation: &mut Presentation, first: u64) {
        let Packaging {
            grid, config, texts, ..
        } = self.packaging;
        let mut multivariant = self.ladder.multivariant(grid, language(config));
        multivariant.subtitles = texts.iter().map(subtitles).collect();
        let multivariant = Text::of(multivariant.render());
        let audio_only = self
            .ladder
            .audio_only(grid)
            .map(|playlist| Text::of(playlist.render()));
        let lanes = self.ladder.entries().iter().zip(presentation.archive_heads());
        let lanes = lanes.map(|(entry, (head, iframes_head))| archive::Lane {
            name: entry.rendition.name.clone(),
            init_name: entry.init_name.clone(),
            init: entry.init.clone(),
            head,
            iframes_head,
        });
        let text_lanes = self.texts(presentation, first);
        let mut multivariants = vec![("index.m3u8", multivariant.plain.clone())];
        multivariants.extend(audio_only.iter().map(|text| ("audio.m3u8", text.plain.clone())));
        if let Some(announce) = self.announce.take() {
            // The writer listens until the backlog is closed.
            let _ = announce.send(archive::Presented {
                lanes: lanes.collect(),
                texts: text_lanes,
                multivariants,
                storyboard: self.storyboard.as_ref().map(|board| board.head().to_owned()),
            });
        }
        self.presented = Some(Arc::new(Presented {
            ladder: self.ladder.clone(),
            multivariant,
            audio_only,
            texts: texts.iter().map(|rendition| rendition.folder).collect(),
        }));
    }

    /// Begins the playlists of texts, or goes on with them; gives the archive's.
    fn texts(&self, presentation: &mut Presentation, first: u64) -> Vec<archive::TextLane> {
        let Packaging {
            timeline,
            grid,
            air,
            kept,
            texts,
            ..
        } = self.packaging;
        let before = kept.texts(first, grid, *timeline);
        let media_sequence = kept.media_sequence().unwrap_or(first);
        let begin = |rendition: &TextRendition| {
            let next = kept.next_text(rendition.folder).max(media_sequence);
            let listed = usize::try_from(next - media_sequence).unwrap_or(usize::MAX);
            let (listed, owed) = before.split_at(listed.min(before.len()));
            let head = presentation.add_texts(&air.promises, media_sequence, &before, listed);
            let owed = (next..).zip(owed.iter().cloned()).collect();
            archive::TextLane::new(rendition.clone(), head, owed)
        };
        texts.iter().map(begin).collect()
    }

    fn show(&mut self, step: Step, gaps: usize) {
        self.meters().parts.increment(step.parts.len() as u64);
        self.meters().gap_parts.increment(gaps as u64);
        self.meters().part_lateness.record(self.lateness());
        if let Some(closed) = &step.closed {
            self.keep(closed);
        }
        self.packaging.air.publish(step, self.front(State::Live));
    }

    /// How long ago, on the wall, the newest part's last frame was captured.
    fn lateness(&self) -> f64 {
        let now = WallTime::from(SystemTime::now());
        (now - self.packaging.timeline.wall(self.edge)).as_secs_f64()
    }

    fn keep(&mut self, closed: &[Closed]) {
        let Some(first) = closed.first() else {
            return;
        };
        let msn = first.segment.msn;
        if let Some(storyboard) = &mut self.storyboard {
            storyboard.close(&first.segment);
            self.show_cues();
        }
        self.meters().segments.increment(closed.len() as u64);
        let segments = closed
            .iter()
            .map(|closed| Filed {
                entry: closed.entry.clone(),
                body: closed.segment.body.clone(),
                init: closed.init.clone(),
            })
            .collect();
        let cues = std::mem::take(&mut self.owed);
        if let Some(lost) = self.backlog.push(Job { msn, segments, cues }) {
            tracing::error!(broadcast = %self.packaging.broadcast, msn = lost, "the archive is too slow: a segment is lost");
            self.meters().archive_lost.increment(1);
            self.packaging.air.kept.fetch_max(lost + 1, Ordering::Release);
        }
    }

    /// Closes what is open and shows the end; gives how long the line was.
    pub fn end(&mut self) -> MediaTime {
        self.flush();
        let closed = self
            .presentation
            .as_mut()
            .and_then(Presentation::finish)
            .unwrap_or_default();
        if !closed.is_empty() {
            self.keep(&closed);
        } else if let (false, Some(presentation)) = (self.owed.is_empty(), &self.presentation) {
            // A late still of the last segment, which is in the backlog already.
            self.backlog.push(Job {
                msn: presentation.next().msn.saturating_sub(1),
                segments: Vec::new(),
                cues: std::mem::take(&mut self.owed),
            });
        }
        self.ready = self.presentation.is_some();
        let state = if self.ready { State::Ended } else { State::Gone };
        self.packaging.air.end(&closed, self.front(state));
        self.announce = None;
        self.backlog.close();
        self.edge
    }

    /// The parts that were open, and those that waited at the barrier.
    fn flush(&mut self) {
        let Some((segmenters, barrier)) = self.cutters.take() else {
            return;
        };
        let rows = barrier.finish(segmenters.into_iter().map(Segmenter::finish), self.end);
        for row in rows {
            if let Err(error) = self.row(row) {
                tracing::error!(broadcast = %self.packaging.broadcast, %error, "the last parts could not be written");
                return;
            }
        }
    }

    fn front(&self, state: State) -> Front {
        self.meters().playlist_versions.increment(1);
        let Some(presentation) = &self.presentation else {
            return Front {
                state,
                ..Front::default()
            };
        };
        Front {
            presented: self.presented.clone(),
            next: presentation.next(),
            ready: self.ready,
            state,
            playlists: presentation.versions(state == State::Ended),
            iframes: presentation.iframes(state == State::Ended),
            texts: presentation.texts(state == State::Ended),
        }
    }

    fn meters(&self) -> &Meters {
        &self.packaging.air.meters
    }

    fn count_dropped(&mut self, frames: u64) {
        if frames > 0 {
            if self.dropped == 0 {
                tracing::warn!(broadcast = %self.packaging.broadcast, edge = %self.edge, "frames without a place are dropped");
            }
            self.dropped += frames;
            self.meters().dropped_frames.increment(frames);
        }
    }
}

fn subtitles(rendition: &TextRendition) -> Subtitles {
    Subtitles {
        name: rendition.name,
        language: rendition.language,
        uri: format!("{}/index.m3u8", rendition.folder),
    }
}

/// The configured language if it can stand in a playlist.
fn language(config: &Config) -> &str {
    let plain = config
        .language
        .bytes()
        .all(|c| c.is_ascii_alphanumeric() || c == b'-');
    if plain && !config.language.is_empty() {
        &config.language
    } else {
        "und"
    }
}
