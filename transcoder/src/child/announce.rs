//! The ladder is announced whole, before the first frame of any rendition.

use timeline::{Rendition, Stills};

use crate::Error;
use crate::encode::{Encoded, MAX_IN_FLIGHT};
use crate::wire::FromChild;

pub struct Announcer {
    /// How many renditions the ladder has.
    ladder: usize,
    stills: Stills,
    /// Those known so far, until all are.
    known: Option<Vec<Rendition>>,
    /// Frames of renditions that were faster than others.
    held: Vec<FromChild>,
    finished: usize,
}

impl Announcer {
    pub fn new(ladder: usize, stills: Stills) -> Self {
        Announcer {
            ladder,
            stills,
            known: Some(Vec::new()),
            held: Vec::new(),
            finished: 0,
        }
    }

    /// What can be said now. A rendition that is told again, after the ladder was announced, is renewed.
    pub fn take(&mut self, encoded: Encoded) -> Result<Vec<FromChild>, Error> {
        match encoded {
            Encoded::Frame(frame) if self.known.is_none() => return Ok(vec![FromChild::Frame(frame)]),
            Encoded::Frame(frame) => self.hold(FromChild::Frame(frame))?,
            Encoded::Rendition(rendition) => return Ok(self.learn(rendition)),
            Encoded::Finished => self.finished += 1,
            Encoded::Failed(error) => return Err(error),
        }
        Ok(Vec::new())
    }

    /// Whether every rendition, and the stills, have come to their end.
    pub fn is_finished(&self) -> bool {
        self.finished == self.ladder + 1
    }

    fn learn(&mut self, rendition: Rendition) -> Vec<FromChild> {
        let Some(known) = &mut self.known else {
            return vec![FromChild::Renewed(rendition)];
        };
        known.push(rendition);
        if known.len() < self.ladder {
            return Vec::new();
        }
        known.sort_by_key(|rendition| rendition.id);
        let announcement = self.known.take().map(|ladder| FromChild::Ladder {
            renditions: ladder,
            stills: self.stills,
        });
        announcement.into_iter().chain(self.held.drain(..)).collect()
    }

    /// An encoder that has put nothing out yet keeps the others within [`MAX_IN_FLIGHT`] slots of it.
    fn hold(&mut self, frame: FromChild) -> Result<(), Error> {
        if self.held.len() > self.ladder * 4 * MAX_IN_FLIGHT as usize {
            return Err(Error::Wire("an encoder of the ladder puts nothing out".into()));
        }
        self.held.push(frame);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use timeline::{Frame, Media, MediaTime, TrackId};

    const STILLS: Stills = Stills {
        id: TrackId(3),
        width: 256,
        height: 144,
    };

    fn rendition(id: u32) -> Rendition {
        let media = Media::Audio {
            sample_rate: 48_000,
            channels: 2,
        };
        let (name, codec, init) = (id.to_string(), String::new(), Bytes::new());
        Rendition {
            id: TrackId(id),
            name,
            media,
            codec,
            bandwidth: 1,
            average_bandwidth: 1,
            init,
        }
    }

    fn frame(track: u32) -> Frame {
        Frame {
            track: TrackId(track),
            at: MediaTime::ZERO,
            keyframe: true,
            payload: Bytes::new(),
        }
    }

    #[test]
    fn all_renditions_come_before_the_first_frame_of_any() {
        let mut announcer = Announcer::new(2, STILLS);
        assert_eq!(announcer.take(Encoded::Rendition(rendition(2))).unwrap(), []);
        assert_eq!(announcer.take(Encoded::Frame(frame(2))).unwrap(), []);
        let all = announcer.take(Encoded::Rendition(rendition(1))).unwrap();
        let ladder = FromChild::Ladder {
            renditions: vec![rendition(1), rendition(2)],
            stills: STILLS,
        };
        assert_eq!(all, [ladder, FromChild::Frame(frame(2))]);
        assert_eq!(
            announcer.take(Encoded::Frame(frame(1))).unwrap(),
            [FromChild::Frame(frame(1))]
        );
        announcer.take(Encoded::Finished).unwrap();
        announcer.take(Encoded::Finished).unwrap();
        assert!(!announcer.is_finished());
        announcer.take(Encoded::Finished).unwrap();
        assert!(announcer.is_finished());
    }

    #[test]
    fn a_rendition_that_is_told_again_is_renewed() {
        let mut announcer = Announcer::new(1, STILLS);
        announcer.take(Encoded::Rendition(rendition(1))).unwrap();
        let again = announcer.take(Encoded::Rendition(rendition(1))).unwrap();
        assert_eq!(again, [FromChild::Renewed(rendition(1))]);
    }

    #[test]
    fn an_encoder_that_is_silent_is_a_fault() {
        let mut announcer = Announcer::new(2, STILLS);
        let outcome = (0..1000).try_for_each(|_| announcer.take(Encoded::Frame(frame(1))).map(drop));
        assert!(outcome.is_err());
    }
}
