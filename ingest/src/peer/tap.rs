//! Takes what the stack keeps to itself, next to the network: every packet as it is decrypted, sender reports, and
//! that anything came at all.
//!
//! The stack's own way to the application is not used. It drops the repairs of simulcast's layers and streams that
//! were not declared, and its queue is short and loses silently. So the [`tap`] gives a copy of each packet to the
//! session, the packets go on to those who report on them (RTCP, transport-wide feedback), and at the [`end`] media
//! stops: the stack's queues stay empty.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use rtc::interceptor::{Interceptor, Packet as Tagged, Slot};
use rtc::rtcp::sender_report::SenderReport;
use rtc::rtp;
use tokio::sync::mpsc;

use super::{Event, Vitals};
use crate::belt::Look;
use crate::rtp::Packet;
use crate::sdp::Labels;

/// Nearest to the network: it only watches.
pub(super) const SLOT: Slot = Slot::Custom(500);
/// Behind all others.
pub(super) const END: Slot = Slot::Custom(60_000);

/// Streams whose labels are read once. A publisher has six with simulcast and repairs; one that invents more is
/// read each time.
const MAX_LABELLED: usize = 64;

/// An RTCP sender report (RFC 3550 §6.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Report {
    pub ssrc: u32,
    pub ntp: u64,
    pub rtp: u32,
    pub arrival: Instant,
}

/// Whose a packet is, by its header extensions (RFC 9143 §15, RFC 8852).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Label {
    pub mid: Option<Bytes>,
    pub rid: Option<Bytes>,
    /// It repairs that layer.
    pub repaired_rid: Option<Bytes>,
}

/// What comes, for the session.
pub(super) fn tap(
    events: mpsc::Sender<Event>,
    vitals: Arc<Vitals>,
    labels: Labels,
) -> impl Interceptor + 'static {
    let mut tap = Tap {
        events,
        vitals,
        labels,
        labelled: HashSet::new(),
    };
    Look::new(move |packet, now| {
        tap.watch(packet, now);
        true
    })
}

/// Where media stops that the session has already.
pub(super) fn end() -> impl Interceptor + 'static {
    Look::new(|packet, _| !matches!(packet, Tagged::Rtp(_)))
}

struct Tap {
    events: mpsc::Sender<Event>,
    vitals: Arc<Vitals>,
    labels: Labels,
    labelled: HashSet<u32>,
}

impl Tap {
    fn watch(&mut self, packet: &Tagged, now: Instant) {
        self.vitals.hear(now);
        match packet {
            Tagged::Rtp(media) => self.media(media, now),
            Tagged::Rtcp(packets) => {
                let reports = packets.iter().map(|p| p.as_any());
                reports
                    .filter_map(|p| p.downcast_ref::<SenderReport>())
                    .for_each(|report| self.report(report, now));
            }
            _ => {}
        }
    }

    fn media(&mut self, media: &rtp::Packet, arrival: Instant) {
        let header = &media.header;
        let packet = Packet {
            ssrc: header.ssrc,
            payload_type: header.payload_type,
            sequence: header.sequence_number,
            timestamp: header.timestamp,
            marker: header.marker,
            payload: media.payload.clone(),
        };
        let label = self.label(header);
        self.vitals.hand(
            &self.events,
            Event::Packet {
                packet,
                label,
                arrival,
            },
        );
    }

    /// The label of a stream's first packets, until it has said its layer or its section.
    fn label(&mut self, header: &rtp::Header) -> Option<Box<Label>> {
        if !header.extension || self.labelled.contains(&header.ssrc) {
            return None;
        }
        let read = |id: u8| (id != 0).then(|| header.get_extension(id)).flatten();
        let label = Label {
            mid: read(self.labels.mid),
            rid: read(self.labels.rid),
            repaired_rid: read(self.labels.repaired_rid),
        };
        if label == Label::default() {
            return None;
        }
        if self.labelled.len() < MAX_LABELLED {
            self.labelled.insert(header.ssrc);
        }
        Some(Box::new(label))
    }

    fn report(&self, report: &SenderReport, arrival: Instant) {
        let (ssrc, ntp, rtp) = (report.ssrc, report.ntp_time, report.rtp_time);
        self.vitals.hand(
            &self.events,
            Event::Report(Report {
                ssrc,
                ntp,
                rtp,
                arrival,
            }),
        );
    }
}
