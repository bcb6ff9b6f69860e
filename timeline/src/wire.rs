//! A feed between processes: one length-delimited body per record. The rim that owns the socket frames the
//! bodies (4 bytes of length, big-endian); here is what stands in one.

use bytes::Bytes;

use crate::feed::Record;

/// The longest body. An IDR of 1080p at the highest rate a publisher may send stays far below it.
pub const MAX_BODY: usize = 8 * 1024 * 1024;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    #[error("a record of {0} bytes is longer than {MAX_BODY}")]
    TooLong(usize),
    #[error("not a record: {0}")]
    Malformed(#[from] postcard::Error),
    #[error("{0} bytes follow the record")]
    Trailing(usize),
}

pub fn encode(record: &Record) -> Result<Bytes, WireError> {
    let body = postcard::to_stdvec(record)?;
    match body.len() {
        n if n > MAX_BODY => Err(WireError::TooLong(n)),
        _ => Ok(body.into()),
    }
}

pub fn decode(body: &[u8]) -> Result<Record, WireError> {
    if body.len() > MAX_BODY {
        return Err(WireError::TooLong(body.len()));
    }
    match postcard::take_from_bytes(body)? {
        (record, []) => Ok(record),
        (_, rest) => Err(WireError::Trailing(rest.len())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Codec, Frame, Media, MediaTime, Rendition, Span, Stills, Track, TrackId};
    use proptest::prelude::*;

    fn records() -> impl Strategy<Value = Record> {
        let id = any::<u32>().prop_map(TrackId);
        let at = any::<i64>().prop_map(MediaTime::from_ticks);
        let bytes = prop::collection::vec(any::<u8>(), 0..2000).prop_map(Bytes::from);
        prop_oneof![
            id.clone().prop_map(|id| Record::Track(Track {
                source: crate::SourceName::main(),
                id,
                codec: Codec::Vp8
            })),
            id.clone().prop_map(Record::TrackEnded),
            id.clone().prop_map(|id| Record::Stills(Stills {
                id,
                width: 256,
                height: 144
            })),
            (id.clone(), at.clone(), any::<bool>(), bytes.clone()).prop_map(
                |(track, at, keyframe, payload)| {
                    Record::Frame(Frame {
                        track,
                        at,
                        keyframe,
                        payload,
                    })
                }
            ),
            (id, any::<u32>(), bytes).prop_map(|(id, bandwidth, init)| {
                Record::Rendition(Rendition {
                    id,
                    name: "720p".into(),
                    media: Media::Video {
                        width: 1280,
                        height: 720,
                        frame: Span::from_ticks(3000),
                    },
                    codec: "avc1.64001f".into(),
                    bandwidth,
                    average_bandwidth: bandwidth / 2,
                    init,
                })
            }),
            at.clone().prop_map(|at| Record::Heard {
                source: crate::SourceName::main().screen(),
                at
            }),
            at.prop_map(Record::End),
        ]
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(record in records()) {
            prop_assert_eq!(decode(&encode(&record).unwrap()).unwrap(), record);
        }

        #[test]
        fn garbage_is_an_error_not_a_panic(body in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode(&body);
        }

        #[test]
        fn a_cut_record_is_an_error(record in records()) {
            let body = encode(&record).unwrap();
            prop_assert!(decode(&body[..body.len() - 1]).is_err());
        }
    }
}
