//! Opus packets that did not come: recovered from the next one where it repeats them (in-band FEC, RFC 6716 §2.1.7),
//! invented where it does not.
//!
//! GStreamer's `opusdec` can do both, but with FEC it holds each packet back until the next comes: late by a packet
//! while all is well, and in silence (DTX) for as long as that lasts. So FEC is switched on for one recovery, by the
//! thread that decodes, and off again. While it is on the decoder is a packet behind: it is given what it is to do
//! next, and an empty packet behind the last one pushes that one out. What stays in it is the empty packet, which is
//! the missing one of the next recovery.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app::AppSrc;
use timeline::{MediaTime, Span};

use super::{Times, clock_time, media_time};

/// Sound that is missing for at most this long (or for one packet) is invented by the decoder; beyond it invents
/// too much.
const CONCEALED: Span = Span::from_millis(60);
/// A packet that begins later than this after the end of the one before did not follow it. Capture times wander by
/// a twentieth of a packet.
const CONTIGUOUS: Span = Span::from_millis(5);
/// The shortest packet.
const SHORTEST: Span = Span::from_ticks(225);

/// Tells the decoder to go into recovery (at the time of what comes out next) or out of it.
const RECOVERY: &str = "lectern-opus-recovery";

#[derive(Default)]
pub struct Gaps {
    /// Where the sound that was put in so far ends.
    end: Option<MediaTime>,
    /// How long the empty packet is that the decoder holds since its first recovery.
    held: Option<Span>,
}

impl Gaps {
    /// Puts in a packet of sound captured at `at`, and before it what is to be done about what is missing.
    pub fn push(&mut self, source: &AppSrc, at: MediaTime, packet: &[u8], buffer: gst::Buffer) {
        let span = span(packet);
        let end = std::mem::replace(&mut self.end, span.map(|span| at + span));
        match (end, span) {
            (Some(end), Some(span)) if is_gap(at - end, span) => self.fill(source, end, at, span, buffer),
            _ => put(source, buffer),
        }
    }

    fn fill(&mut self, source: &AppSrc, end: MediaTime, at: MediaTime, span: Span, buffer: gst::Buffer) {
        let recovered = at - span;
        let is_shorter = end - recovered > slack(span);
        // The decoder recovers what it holds: a packet of another length it can only invent.
        if is_shorter || self.held.is_some_and(|held| held != span) {
            conceal(source, end, at - end);
            return put(source, buffer);
        }
        if recovered - end >= SHORTEST {
            conceal(source, end, recovered - end);
        }
        recovery(source, Some(recovered));
        if self.held.is_none() {
            conceal(source, recovered, span);
        }
        put(source, buffer);
        recovery(source, Some(at));
        conceal(source, at, span);
        recovery(source, None);
        self.held = Some(span);
    }
}

fn is_gap(missing: Span, packet: Span) -> bool {
    missing > slack(packet) && missing <= CONCEALED.max(packet + slack(packet))
}

fn slack(packet: Span) -> Span {
    CONTIGUOUS.min(Span::from_ticks(packet.ticks() / 2))
}

/// A decoder that failed has said so.
fn put(source: &AppSrc, buffer: gst::Buffer) {
    let _ = source.push_buffer(buffer);
}

fn conceal(source: &AppSrc, from: MediaTime, length: Span) {
    if let Some(from) = clock_time(from) {
        let length = gst::ClockTime::from_nseconds(length.nanos().max(0) as u64);
        source.send_event(gst::event::Gap::builder(from).duration(length).build());
    }
}

fn recovery(source: &AppSrc, at: Option<MediaTime>) {
    let at = at.and_then(clock_time).map(|at| at.nseconds());
    let order = gst::Structure::builder(RECOVERY).field_if_some("at", at).build();
    source.send_event(gst::event::CustomDownstream::new(order));
}

/// Carries out what [`Gaps`] orders, and tells when what comes out was captured: with what just went in.
pub fn follow(decoder: &gst::Element) -> Times {
    let now_at = Arc::new(AtomicU64::new(0));
    let (at, recovers, opusdec) = (now_at.clone(), AtomicBool::new(false), decoder.downgrade());
    let watched = gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM;
    if let Some(pad) = decoder.static_pad("sink") {
        pad.add_probe(watched, move |_, info| {
            let goes_in = |time: Option<gst::ClockTime>| {
                if let Some(time) = time.filter(|_| !recovers.load(Ordering::Relaxed)) {
                    at.store(time.nseconds(), Ordering::Relaxed);
                }
            };
            if let Some(buffer) = info.buffer() {
                goes_in(buffer.pts());
            }
            let Some(event) = info.event() else {
                return gst::PadProbeReturn::Ok;
            };
            match event.view() {
                gst::EventView::Gap(gap) => goes_in(Some(gap.get().0)),
                gst::EventView::CustomDownstream(_) if event.has_name(RECOVERY) => {
                    let begins = event.structure().and_then(|order| order.get::<u64>("at").ok());
                    at.store(begins.unwrap_or(at.load(Ordering::Relaxed)), Ordering::Relaxed);
                    recovers.store(begins.is_some(), Ordering::Relaxed);
                    if let Some(opusdec) = opusdec.upgrade() {
                        opusdec.set_property("use-inband-fec", begins.is_some());
                    }
                    return gst::PadProbeReturn::Handled;
                }
                _ => {}
            }
            gst::PadProbeReturn::Ok
        });
    }
    Box::new(move |_| {
        Some(media_time(gst::ClockTime::from_nseconds(
            now_at.load(Ordering::Relaxed),
        )))
    })
}

/// How long an Opus packet sounds, from its first bytes (RFC 6716 §3.1). At most 120 ms.
pub fn span(packet: &[u8]) -> Option<Span> {
    let toc = *packet.first()?;
    let config = toc >> 3;
    // In 48 kHz samples.
    let frame: i64 = match config {
        0..12 => [480, 960, 1920, 2880][usize::from(config % 4)],
        12..16 => [480, 960][usize::from(config % 2)],
        _ => [120, 240, 480, 960][usize::from(config % 4)],
    };
    let frames = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => i64::from(*packet.get(1)? & 63),
    };
    let samples = frame * frames;
    (1..=5760)
        .contains(&samples)
        .then(|| Span::from_ticks(samples * 15 / 8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opus_packets_say_how_long_they_are() {
        let ms = |toc: &[u8]| span(toc).map(|span| span.ticks() as f64 / 90.0);
        assert_eq!(ms(&[0b1111_1000]), Some(20.0), "CELT full band");
        assert_eq!(ms(&[0b1000_0000]), Some(2.5));
        assert_eq!(ms(&[0b0111_1001]), Some(40.0), "hybrid, two frames");
        assert_eq!(ms(&[0b0001_1011, 2]), Some(120.0), "SILK, counted");
        assert_eq!(ms(&[0b0001_1011, 3]), None, "longer than Opus allows");
        assert_eq!(ms(&[0b0001_1011, 0]), None, "no frame");
        assert_eq!(ms(&[]), None);
    }

    #[test]
    fn a_gap_is_more_than_wandering_and_not_too_long() {
        let ms = Span::from_millis;
        for (missing, packet, gap) in [(1, 20, false), (20, 20, true), (60, 20, true), (80, 20, false)] {
            assert_eq!(is_gap(ms(missing), ms(packet)), gap, "{missing} of {packet}");
        }
        assert!(is_gap(SHORTEST, SHORTEST) && is_gap(ms(120), ms(120)));
        assert!(!is_gap(ms(0) - ms(20), ms(20)), "packets that overlap");
    }
}
