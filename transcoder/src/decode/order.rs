//! When the pictures of a sender with B-frames were captured.
//!
//! H.264 may send pictures in another order than they are shown in. RTP time is presentation time (RFC 6184 §5.1),
//! so it goes back at a B-frame, and the decoder puts pictures out with growing stamps. Some senders (OBS where an
//! encoder was not kept from B-frames) stamp decode times instead: those never go back going in, but do coming out.
//!
//! A picture is presented when the one is decoded that its own encoder could last wait for: with the shallowest
//! decoder each would come out at its presentation time. Ours may be deeper. How much, says the picture that waits
//! least in it: it could have come out at once.

use std::collections::VecDeque;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use gstreamer::prelude::*;
use gstreamer::{self as gst, ClockTime};
use timeline::{MediaTime, Span};

use super::{Decoded, Times, media_time};

/// Pictures that tell how deep the decoder is: ten seconds of them. Not every group of B-frames is as deep as it may
/// be.
const WAITS: usize = 300;

/// What the stamps of a sender with B-frames are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stamps {
    Presentation,
    Decode,
}

#[derive(Debug, Default)]
struct Order {
    /// The latest stamp of the frames that the decoder took in.
    latest: Option<MediaTime>,
    /// How long each of the last pictures was in the decoder, by stamps.
    waits: VecDeque<Span>,
    /// Stamp and place of the picture that came out last.
    last: Option<(MediaTime, MediaTime)>,
    stamps: Option<Stamps>,
}

impl Order {
    /// The decoder takes a frame in. Whether it is out of order by its stamp.
    fn given(&mut self, stamp: MediaTime) -> bool {
        let back = self.latest.is_some_and(|latest| stamp < latest);
        if back {
            self.stamps = Some(Stamps::Presentation);
        }
        self.latest = self.latest.max(Some(stamp));
        back
    }

    /// The decoder puts a picture out. Where it stands, and whether it is out of order by its stamp.
    fn shown(&mut self, stamp: MediaTime) -> (MediaTime, bool) {
        let latest = self.latest.unwrap_or(stamp);
        if self.waits.len() == WAITS {
            self.waits.pop_front();
        }
        self.waits.push_back(latest - stamp);
        let back =
            self.stamps != Some(Stamps::Presentation) && self.last.is_some_and(|(last, _)| stamp < last);
        if back {
            self.stamps = Some(Stamps::Decode);
        }
        let place = match self.stamps {
            Some(Stamps::Decode) => latest - self.waits.iter().min().copied().unwrap_or_default(),
            _ => stamp,
        };
        let place = self
            .last
            .map_or(place, |(_, last)| place.max(last + Span::from_ticks(1)));
        self.last = Some((stamp, place));
        (place, back)
    }
}

/// Through the decoder and what follows it a buffer's timestamp is not safe: GStreamer lifts one that goes back.
static STAMP: LazyLock<gst::Caps> =
    LazyLock::new(|| gst::Caps::new_empty_simple("timestamp/x-lectern-capture"));

/// Writes a frame's time where nobody changes it.
pub fn stamp(buffer: &mut gst::BufferRef, at: ClockTime) {
    gst::ReferenceTimestampMeta::add(buffer, &STAMP, at, ClockTime::NONE);
}

fn stamp_of(buffer: &gst::BufferRef) -> Option<MediaTime> {
    let stamp = buffer
        .meta::<gst::ReferenceTimestampMeta>()
        .map(|meta| meta.timestamp());
    stamp.or(buffer.pts()).map(media_time)
}

/// Watches what goes into a decoder, to tell the times of what comes out.
pub fn follow(decoder: &gst::Element, to: Arc<dyn Decoded>) -> Times {
    let order = Arc::new(Mutex::new(Order::default()));
    let (given, told) = (order.clone(), to.clone());
    if let Some(pad) = decoder.static_pad("sink") {
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
            if let Some(stamp) = info.buffer().and_then(|buffer| stamp_of(buffer))
                && lock(&given).given(stamp)
            {
                told.reordered(Stamps::Presentation);
            }
            gst::PadProbeReturn::Ok
        });
    }
    Box::new(move |buffer| {
        let (place, back) = lock(&order).shown(stamp_of(buffer)?);
        if back {
            to.reordered(Stamps::Decode);
        }
        Some(place)
    })
}

fn lock(order: &Mutex<Order>) -> std::sync::MutexGuard<'_, Order> {
    order.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(n: i64) -> MediaTime {
        MediaTime::from_ticks(n * 3000)
    }

    /// Frames as they are sent: which picture, and its stamp. The decoder holds `depth` frames back.
    fn places(depth: usize, frames: &[(i64, i64)]) -> (Vec<i64>, Option<Stamps>) {
        let mut order = Order::default();
        let (mut held, mut places, mut next) = (vec![], vec![], 0);
        for (picture, stamp) in frames {
            order.given(at(*stamp));
            held.push((*picture, *stamp));
            if held.len() > depth {
                let shown = held.iter().position(|(picture, _)| *picture == next).unwrap();
                places.push(order.shown(at(held.remove(shown).1)).0.ticks());
                next += 1;
            }
        }
        (places, order.stamps)
    }

    const DECODED: [i64; 13] = [0, 3, 1, 2, 6, 4, 5, 9, 7, 8, 12, 10, 11];

    #[test]
    fn presentation_times_are_believed() {
        for depth in 1..4 {
            let (places, stamps) = places(depth, &DECODED.map(|n| (n, n)));
            assert_eq!(
                places,
                (0..13 - depth as i64).map(|n| n * 3000).collect::<Vec<_>>()
            );
            assert_eq!(stamps, Some(Stamps::Presentation));
        }
    }

    #[test]
    fn decode_times_are_replaced_however_deep_the_decoder_is() {
        let pictures: Vec<(i64, i64)> = DECODED.into_iter().zip(0..).collect();
        for depth in 1..4 {
            let (places, stamps) = places(depth, &pictures);
            assert_eq!(stamps, Some(Stamps::Decode));
            assert!(places.is_sorted());
            // Picture 3 gives it away. A picture is decoded one slot before the slot in which it is shown.
            let right: Vec<i64> = (3..13 - depth as i64).map(|n| (n + 1) * 3000).collect();
            assert_eq!(places[3..], right, "{depth}");
        }
    }

    #[test]
    fn without_b_frames_nothing_is_touched() {
        let (places, stamps) = places(0, &[(0, 0), (1, 2), (2, 3), (3, 9), (4, 10)]);
        assert_eq!((places, stamps), (vec![0, 6000, 9000, 27_000, 30_000], None));
    }
}
