//! Sees what the stack keeps to itself: sender reports, and that anything came at all.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use rtc::interceptor::{Interceptor, Packet, Slot, StreamInfo, TaggedPacket};
use rtc::rtcp::sender_report::SenderReport;
use rtc::sansio::Protocol;
use rtc::shared::error::Error;
use tokio::sync::mpsc;

use super::{Event, Vitals};

/// Nearest to the network: it only watches.
pub(super) const SLOT: Slot = Slot::Custom(500);

/// An RTCP sender report (RFC 3550 §6.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Report {
    pub ssrc: u32,
    pub ntp: u64,
    pub rtp: u32,
    pub arrival: Instant,
}

pub(super) struct Tap {
    events: mpsc::Sender<Event>,
    vitals: Arc<Vitals>,
    read: VecDeque<TaggedPacket>,
    write: VecDeque<TaggedPacket>,
}

impl Tap {
    pub fn new(events: mpsc::Sender<Event>, vitals: Arc<Vitals>) -> Self {
        Tap {
            events,
            vitals,
            read: VecDeque::new(),
            write: VecDeque::new(),
        }
    }

    fn watch(&self, packet: &TaggedPacket) {
        self.vitals.hear(packet.now);
        let Packet::Rtcp(packets) = &packet.message.packet else {
            return;
        };
        for report in packets
            .iter()
            .filter_map(|p| p.as_any().downcast_ref::<SenderReport>())
        {
            let (ssrc, ntp, rtp) = (report.ssrc, report.ntp_time, report.rtp_time);
            self.vitals.hand(
                &self.events,
                Event::Report(Report {
                    ssrc,
                    ntp,
                    rtp,
                    arrival: packet.now,
                }),
            );
        }
    }
}

impl Protocol<TaggedPacket, TaggedPacket, ()> for Tap {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = Error;
    type Time = Instant;

    fn handle_read(&mut self, packet: TaggedPacket) -> Result<(), Error> {
        self.watch(&packet);
        self.read.push_back(packet);
        Ok(())
    }

    fn poll_read(&mut self) -> Option<TaggedPacket> {
        self.read.pop_front()
    }

    fn handle_write(&mut self, packet: TaggedPacket) -> Result<(), Error> {
        self.write.push_back(packet);
        Ok(())
    }

    fn poll_write(&mut self) -> Option<TaggedPacket> {
        self.write.pop_front()
    }
}

impl Interceptor for Tap {
    fn bind_local_stream(&mut self, _: &StreamInfo) {}
    fn unbind_local_stream(&mut self, _: &StreamInfo) {}
    fn bind_remote_stream(&mut self, _: &StreamInfo) {}
    fn unbind_remote_stream(&mut self, _: &StreamInfo) {}
}
