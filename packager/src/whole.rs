//! A media playlist without parts as it grows: by a whole segment at a time. That of a video rendition's I-frames
//! (4.4.3.6), where in its segments the pictures stand that need no other, for scrubbing and fast forward; and that of
//! texts, whose segments are made elsewhere, one for each of the line's.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::kept::History;
use crate::listing::{Promises, Version};
use crate::playlist::{self, Media, Turn};
use crate::text::Rope;

pub struct Whole {
    promises: Promises,
    of: Of,
    media_sequence: u64,
    /// The init that its first entries need.
    map: String,
    /// All that is listed.
    history: Rope,
    /// The segments of a delta update, and the init in force where they begin.
    recent: VecDeque<playlist::Segment>,
    recent_map: String,
    /// How many entries are listed, holes included.
    listed: u64,
    newest: Arc<Listed>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    Pictures,
    Texts,
}

/// One version.
#[derive(Debug, Default)]
pub struct Listed {
    pub version: Version,
    /// The media sequence number of the next entry. None is ever removed.
    pub next: u64,
}

impl Whole {
    /// Pictures are counted from 0. `kept` is what was listed before this process.
    pub fn pictures(promises: Promises, kept: &History) -> Whole {
        Whole::new(promises, Of::Pictures, 0, kept.map.clone(), &kept.segments)
    }

    /// Numbered as the line's segments; `kept` is what was listed of them before this process.
    pub fn texts(promises: Promises, media_sequence: u64, kept: &[playlist::Segment]) -> Whole {
        Whole::new(promises, Of::Texts, media_sequence, String::new(), kept)
    }

    fn new(
        promises: Promises,
        of: Of,
        media_sequence: u64,
        map: String,
        kept: &[playlist::Segment],
    ) -> Whole {
        let mut whole = Whole {
            promises,
            of,
            media_sequence,
            recent_map: map.clone(),
            map,
            history: Rope::new(""),
            recent: VecDeque::new(),
            listed: 0,
            newest: Arc::default(),
        };
        whole.history.push(&whole.live().head());
        kept.iter().for_each(|segment| whole.append(segment));
        whole.newest = whole.version(false);
        whole
    }

    /// A segment became whole.
    pub fn close(&mut self, segment: &playlist::Segment) {
        self.append(segment);
        self.newest = self.version(false);
    }

    fn append(&mut self, segment: &playlist::Segment) {
        let mut text = String::new();
        self.of.render(segment, &mut text);
        self.history.push(&text);
        self.listed += self.of.count(segment);
        self.recent.push_back(segment.clone());
        if self.recent.len() > self.promises.in_delta
            && let Some(map) = self.recent.pop_front().and_then(|oldest| oldest.turn.map)
        {
            self.recent_map = map;
        }
    }

    /// The playlist as it stands; shared until it grows.
    pub fn listed(&self, ended: bool) -> Arc<Listed> {
        match ended {
            true => self.version(true),
            false => self.newest.clone(),
        }
    }

    fn version(&self, end_list: bool) -> Arc<Listed> {
        let tail = Media {
            end_list,
            ..Media::default()
        };
        let version = Version::of(self.history.strand(), self.delta_head(), tail.tail());
        Arc::new(Listed {
            version,
            next: self.media_sequence + self.listed,
        })
    }

    fn delta_head(&self) -> Option<String> {
        let recent: u64 = self.recent.iter().map(|segment| self.of.count(segment)).sum();
        let skipped = self.listed.checked_sub(recent).filter(|skipped| *skipped > 0)?;
        let delta = Media {
            skipped_segments: Some(skipped),
            map: self.recent_map.clone(),
            ..self.live()
        };
        let mut head = delta.head();
        self.recent
            .iter()
            .for_each(|segment| self.of.render(segment, &mut head));
        Some(head)
    }

    /// The archive's playlist at the beginning, with what was kept: where no segment was closed since.
    pub fn archive_text(&self, kept: &[playlist::Segment]) -> String {
        let mut text = Media {
            server_control: None,
            ..self.live()
        }
        .head();
        kept.iter().for_each(|segment| self.of.render(segment, &mut text));
        text
    }

    fn live(&self) -> Media {
        Media {
            target_duration: self.promises.target_duration,
            // The same in all playlists of a broadcast (6.2.4).
            server_control: Some(self.promises.server_control.clone()),
            event: true,
            i_frames_only: self.of == Of::Pictures,
            media_sequence: self.media_sequence,
            map: self.map.clone(),
            ..Media::default()
        }
    }
}

impl Of {
    fn render(self, segment: &playlist::Segment, out: &mut String) {
        match self {
            Of::Pictures => segment.render_pictures(out),
            Of::Texts => segment.render(out),
        }
    }

    fn count(self, segment: &playlist::Segment) -> u64 {
        match self {
            Of::Pictures => segment.count_pictures(),
            Of::Texts => 1,
        }
    }
}

/// The entry of a text segment, from those of the same segment in all renditions: as long as the first one's, and
/// missing only where all are.
pub fn text_entry<'a>(
    msn: u64,
    mut renditions: impl Iterator<Item = &'a playlist::Segment>,
) -> Option<playlist::Segment> {
    let first = renditions.next()?;
    Some(playlist::Segment {
        // A discontinuity stands at the same place in all renditions (6.2.4). WebVTT needs no init.
        turn: Turn {
            discontinuity: first.turn.discontinuity,
            map: None,
        },
        program_date_time: first.program_date_time,
        gap: first.gap && renditions.all(|other| other.gap),
        duration: first.duration,
        uri: format!("{msn}.vtt"),
        ..playlist::Segment::default()
    })
}
