//! The feed as the connection wants it: frames of known tracks, and an end.

use std::collections::HashMap;
use std::future::pending;

use timeline::feed::{Consumer, Record};
use timeline::{Codec, Frame, TrackId};

use super::Error;

pub struct Source {
    feed: Consumer,
    tracks: HashMap<TrackId, Codec>,
    ended: bool,
}

impl Source {
    pub fn new(feed: Consumer) -> Self {
        Source {
            feed,
            tracks: HashMap::new(),
            ended: false,
        }
    }

    /// The next frame and what it is; `None` when the feed is over. Cancel-safe.
    pub async fn next(&mut self) -> Result<Option<(Codec, Frame)>, Error> {
        while !self.ended {
            match self.feed.next().await? {
                Some(Record::Track(track)) => {
                    self.tracks.insert(track.id, track.codec);
                }
                Some(Record::TrackEnded(id)) => {
                    self.tracks.remove(&id);
                }
                Some(Record::Frame(frame)) => {
                    if let Some(codec) = self.tracks.get(&frame.track) {
                        return Ok(Some((*codec, frame)));
                    }
                }
                Some(Record::Heard { .. } | Record::Rendition(_) | Record::Stills(_) | Record::Layout(_)) => {
                }
                Some(Record::End(_)) | None => self.ended = true,
            }
        }
        Ok(None)
    }

    /// Lets frames go by while nobody can take them. Resolves only when the feed fails.
    pub async fn discard(&mut self) -> Error {
        loop {
            match self.next().await {
                Ok(Some(_)) => {}
                Ok(None) => pending().await,
                Err(fault) => return fault,
            }
        }
    }

    pub fn request_keyframe(&self) {
        self.feed.request_keyframe();
    }
}
