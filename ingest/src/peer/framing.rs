//! Datagrams on a stream: two bytes of length before each (RFC 4571 §2, RFC 6544 §3).

use tokio_util::codec::LengthDelimitedCodec;

/// The longest datagram looked at; WebRTC keeps below 1,500.
pub(super) const MAX_DATAGRAM: usize = 2048;

/// A longer frame is an error, and ends its connection.
pub(super) fn framing() -> LengthDelimitedCodec {
    LengthDelimitedCodec::builder()
        .length_field_length(2)
        .max_frame_length(MAX_DATAGRAM)
        .new_codec()
}
