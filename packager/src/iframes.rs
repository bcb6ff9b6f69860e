//! The I-frame playlist of a video rendition as it grows (4.4.3.6): where in its segments the pictures stand that
//! need no other, for scrubbing and fast forward. It has no parts: it grows by a whole segment at a time.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::kept::History;
use crate::listing::{Promises, Version};
use crate::playlist::{self, Media};
use crate::text::Rope;

pub struct IFrames {
    promises: Promises,
    /// The init that its first pictures need.
    map: String,
    /// All that is listed.
    history: Rope,
    /// The segments of a delta update, and the init in force where they begin.
    recent: VecDeque<playlist::Segment>,
    recent_map: String,
    /// How many pictures (and holes) are listed.
    listed: u64,
    newest: Arc<Listed>,
}

/// One version.
#[derive(Debug, Default)]
pub struct Listed {
    pub version: Version,
    /// The media sequence number of the next entry: they are counted from 0, and none is ever removed.
    pub next: u64,
}

impl IFrames {
    /// `kept` is what was listed before this process.
    pub fn new(promises: Promises, kept: &History) -> IFrames {
        let mut iframes = IFrames {
            promises,
            map: kept.map.clone(),
            history: Rope::new(""),
            recent: VecDeque::new(),
            recent_map: kept.map.clone(),
            listed: 0,
            newest: Arc::default(),
        };
        iframes.history.push(&iframes.live().head());
        kept.segments.iter().for_each(|segment| iframes.append(segment));
        iframes.newest = iframes.version(false);
        iframes
    }

    /// A segment became whole.
    pub fn close(&mut self, segment: &playlist::Segment) {
        self.append(segment);
        self.newest = self.version(false);
    }

    fn append(&mut self, segment: &playlist::Segment) {
        let mut text = String::new();
        segment.render_pictures(&mut text);
        self.history.push(&text);
        self.listed += segment.count_pictures();
        self.recent.push_back(segment.clone());
        if self.recent.len() > self.promises.in_delta
            && let Some(map) = self.recent.pop_front().and_then(|oldest| oldest.new_map)
        {
            self.recent_map = map;
        }
    }

    /// The playlist as it stands; shared until it grows.
    pub fn newest(&self) -> Arc<Listed> {
        self.newest.clone()
    }

    pub fn ended(&self) -> Arc<Listed> {
        self.version(true)
    }

    fn version(&self, end_list: bool) -> Arc<Listed> {
        let tail = Media {
            end_list,
            ..Media::default()
        };
        let version = Version::of(self.history.strand(), self.delta_head(), tail.tail());
        Arc::new(Listed {
            version,
            next: self.listed,
        })
    }

    fn delta_head(&self) -> Option<String> {
        let recent: u64 = self.recent.iter().map(playlist::Segment::count_pictures).sum();
        let skipped = self.listed.checked_sub(recent).filter(|skipped| *skipped > 0)?;
        let delta = Media {
            skipped_segments: Some(skipped),
            map: self.recent_map.clone(),
            ..self.live()
        };
        let mut head = delta.head();
        self.recent
            .iter()
            .for_each(|segment| segment.render_pictures(&mut head));
        Some(head)
    }

    /// The archive's playlist at the beginning, with what was kept: where no segment was closed since.
    pub fn archive_text(&self, kept: &[playlist::Segment]) -> String {
        let mut text = Media {
            server_control: None,
            ..self.live()
        }
        .head();
        kept.iter().for_each(|segment| segment.render_pictures(&mut text));
        text
    }

    fn live(&self) -> Media {
        Media {
            target_duration: self.promises.target_duration,
            // The same in all playlists of a broadcast (6.2.4).
            server_control: Some(self.promises.server_control.clone()),
            event: true,
            i_frames_only: true,
            map: self.map.clone(),
            ..Media::default()
        }
    }
}
