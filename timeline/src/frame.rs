use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{MediaTime, TrackId};

/// One access unit or one audio frame, at its place on the line.
///
/// From a source, `at` is the capture time; a picture captured before the origin stands at a negative time.
/// Frames of one track come in decode order, and `at` is presentation time: where a source has B-frames it goes back
/// (by less than a second) at each. On a line it never does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frame {
    pub track: TrackId,
    pub at: MediaTime,
    pub keyframe: bool,
    pub payload: Bytes,
}
