use timeline::feed::Overflow;
use timeline::{BroadcastId, MediaTime, Span};

/// Why a broadcast was not packaged, or not to its end. After all but [`Error::OnAir`] what was packaged until
/// then is complete: its playlists carry ENDLIST and it is in the archive.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0} is on air already")]
    OnAir(BroadcastId),
    #[error("the line broke off at {0} without its end")]
    BrokeOff(MediaTime),
    #[error("the packager fell behind the line: {0}")]
    Overflow(#[from] Overflow),
    #[error("rendition {rendition} fell silent: the others are {ahead} ahead of it")]
    Silent { rendition: String, ahead: Span },
    #[error("rendition {rendition}: {reason}")]
    BadRendition { rendition: String, reason: &'static str },
    #[error("the ladder has more than {0} renditions")]
    TooManyRenditions(usize),
    #[error("a frame came before any rendition")]
    NoRenditions,
    #[error("rendition {rendition} cannot be written: {source}")]
    Boxes {
        rendition: String,
        source: mp4_atom::Error,
    },
    #[error("the line goes on at segment {msn}, but segments up to {next} are there already")]
    Taken { msn: u64, next: u64 },
    #[error("what is kept of {0} cannot be read: {1}")]
    Unreadable(BroadcastId, timeline::ArchiveError),
    #[error("{segments} segments could not be kept in the archive: {reason}")]
    NotKept { segments: u64, reason: String },
}
