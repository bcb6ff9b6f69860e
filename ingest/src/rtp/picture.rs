//! Packets in sequence → whole pictures. A picture that lacks anything never leaves.

use bytes::Bytes;

use super::{Packet, Picture};

/// The largest access unit: an IDR of 1080p at any rate a publisher may send stays far below it, and so does
/// the limit of the feed's wire.
const MAX_PICTURE: usize = 4 * 1024 * 1024;

/// How one codec lies in RTP payloads.
pub(super) trait Payload: Default {
    /// Whether a picture surely begins with this payload, so that nothing before it can be missing.
    fn begins(payload: &[u8]) -> bool;
    /// Takes the next payload of the picture.
    fn push(&mut self, payload: &Bytes) -> Result<(), Damaged>;
    /// Bytes taken so far.
    fn len(&self) -> usize;
    /// The whole picture and whether it is a keyframe. `Ok(None)` when it holds no picture.
    fn finish(&mut self) -> Result<Option<(bool, Bytes)>, Damaged>;
    /// Drops what was taken of this picture.
    fn clear(&mut self);
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Damaged;

/// What a packet completed, in order: at most the picture before it and its own.
pub(super) type Completed = Vec<Result<Picture, Damaged>>;

/// A picture ends with the marker bit, or where the timestamp changes (RFC 6184 §5.1, RFC 7741 §4.1). Some senders
/// mark each slice; of those only timestamps are believed, a frame later.
#[derive(Debug)]
pub(super) struct Assembler<P> {
    payload: P,
    open: Option<Open>,
    /// Packets were lost since the last one that came: the next picture may lack its head.
    after_loss: bool,
    /// Timestamp of the picture that the last marker ended, if it lost nothing.
    marked: Option<u32>,
    markers_lie: bool,
}

#[derive(Debug)]
struct Open {
    timestamp: u32,
    /// Lacks packets.
    lost: bool,
    damaged: bool,
}

impl<P: Payload> Assembler<P> {
    pub fn new() -> Self {
        // Joining midway is joining after a loss.
        Assembler {
            payload: P::default(),
            open: None,
            after_loss: true,
            marked: None,
            markers_lie: false,
        }
    }

    pub fn push(&mut self, packet: &Packet) -> Completed {
        let mut completed = Completed::new();
        // Chromium's probing sends packets of padding alone: part of the sequence, not of a picture.
        if packet.payload.is_empty() {
            return completed;
        }
        if self
            .open
            .as_ref()
            .is_some_and(|open| open.timestamp != packet.timestamp)
        {
            self.close(&mut completed);
        }
        let after_loss = std::mem::take(&mut self.after_loss);
        let open = self.open.get_or_insert_with(|| Open {
            timestamp: packet.timestamp,
            lost: after_loss && !P::begins(&packet.payload),
            damaged: false,
        });
        if !open.lost && !open.damaged {
            open.damaged = self.payload.push(&packet.payload).is_err() || self.payload.len() > MAX_PICTURE;
        }
        if packet.marker && !self.markers_lie {
            let whole = !open.lost;
            self.close(&mut completed);
            self.marked = whole.then_some(packet.timestamp);
        }
        completed
    }

    pub fn lost(&mut self) {
        self.after_loss = true;
        self.marked = None;
        if let Some(open) = &mut self.open {
            open.lost = true;
        }
    }

    fn close(&mut self, completed: &mut Completed) {
        let Some(open) = self.open.take() else { return };
        let finished = if open.lost || open.damaged {
            Err(Damaged)
        } else {
            self.payload.finish()
        };
        self.payload.clear();
        // The rest of a picture that had ended by its marker.
        self.markers_lie |= finished.is_err() && !open.lost && self.marked == Some(open.timestamp);
        match finished {
            Ok(Some((keyframe, payload))) => {
                completed.push(Ok(Picture {
                    timestamp: open.timestamp,
                    keyframe,
                    payload,
                }));
            }
            Ok(None) => {}
            Err(damaged) => completed.push(Err(damaged)),
        }
    }
}
