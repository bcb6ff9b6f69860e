//! RTCP sender reports that tell capture time.
//!
//! The stack's own reports pair RTP time with the moment a packet was *sent*. Here the pair is two readings of one
//! affine map (RFC 3550 §6.4.1: "corresponds to the same time"), so that all reports of all tracks lie on one
//! line, whatever waits on the way.

use std::collections::VecDeque;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use rtc::interceptor::{AttributedPacket, Interceptor, Packet, StreamInfo, TaggedPacket};
use rtc::rtcp::sender_report::SenderReport;
use rtc::rtcp::source_description::{
    SdesType, SourceDescription, SourceDescriptionChunk, SourceDescriptionItem,
};
use rtc::sansio::Protocol;
use rtc::shared::TransportContext;
use rtc::shared::error::Error;
use timeline::WallTime;

use super::clock::{RtpClock, ntp};

/// The first second has ten: until one is heard the receiver has only arrival times to go by, and it may not
/// keep one that overtakes the media.
const EARLY_INTERVAL: Duration = Duration::from_millis(100);
const EARLY_ROUNDS: u32 = 10;
const INTERVAL: Duration = Duration::from_millis(500);

/// What is said about one track.
pub struct Sender {
    ssrc: u32,
    clock: RtpClock,
    packets: u32,
    octets: u32,
}

impl Sender {
    pub fn new(ssrc: u32, clock: RtpClock) -> Self {
        Sender {
            ssrc,
            clock,
            packets: 0,
            octets: 0,
        }
    }

    fn report(&self, wall: WallTime) -> SenderReport {
        SenderReport {
            ssrc: self.ssrc,
            ntp_time: ntp(wall),
            rtp_time: self.clock.at_wall(wall),
            packet_count: self.packets,
            octet_count: self.octets,
            ..SenderReport::default()
        }
    }
}

/// Reports on every track that has sent, with its first packet and then regularly.
pub struct SenderReports {
    senders: Vec<Sender>,
    /// One name for all tracks: they come from one clock (RFC 3550 §6.5.1).
    cname: String,
    next: Option<Instant>,
    rounds: u32,
    read: VecDeque<TaggedPacket>,
    write: VecDeque<TaggedPacket>,
}

impl SenderReports {
    pub fn new(senders: Vec<Sender>, cname: String) -> Self {
        SenderReports {
            senders,
            cname,
            next: None,
            rounds: 0,
            read: VecDeque::new(),
            write: VecDeque::new(),
        }
    }

    /// Counts a packet. Returns its track if it is the first of it.
    fn count(&mut self, packet: &TaggedPacket) -> Option<u32> {
        let Packet::Rtp(packet) = &packet.message.packet else {
            return None;
        };
        let sender = self.senders.iter_mut().find(|s| s.ssrc == packet.header.ssrc)?;
        sender.packets = sender.packets.wrapping_add(1);
        sender.octets = sender.octets.wrapping_add(packet.payload.len() as u32);
        (sender.packets == 1).then_some(sender.ssrc)
    }

    fn report(&mut self, now: Instant, wanted: impl Fn(&Sender) -> bool) {
        let wall = WallTime::from(SystemTime::now());
        for sender in self.senders.iter().filter(|s| s.packets > 0 && wanted(s)) {
            let packet = Packet::Rtcp(vec![
                Box::new(sender.report(wall)),
                Box::new(self.name(sender.ssrc)),
            ]);
            let transport = TransportContext::default();
            self.write.push_back(TaggedPacket {
                now,
                transport,
                message: AttributedPacket::new(packet),
            });
        }
    }

    /// Every compound packet carries the name (RFC 3550 §6.1).
    fn name(&self, source: u32) -> SourceDescription {
        let text = Bytes::copy_from_slice(self.cname.as_bytes());
        let items = vec![SourceDescriptionItem {
            sdes_type: SdesType::SdesCname,
            text,
        }];
        SourceDescription {
            chunks: vec![SourceDescriptionChunk { source, items }],
        }
    }
}

impl Protocol<TaggedPacket, TaggedPacket, ()> for SenderReports {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = Error;
    type Time = Instant;

    fn handle_read(&mut self, packet: TaggedPacket) -> Result<(), Error> {
        self.read.push_back(packet);
        Ok(())
    }

    fn poll_read(&mut self) -> Option<TaggedPacket> {
        self.read.pop_front()
    }

    fn handle_write(&mut self, packet: TaggedPacket) -> Result<(), Error> {
        let (now, first) = (packet.now, self.count(&packet));
        self.write.push_back(packet);
        if let Some(ssrc) = first {
            self.report(now, |sender| sender.ssrc == ssrc);
            self.next.get_or_insert(now + EARLY_INTERVAL);
        }
        Ok(())
    }

    fn poll_write(&mut self) -> Option<TaggedPacket> {
        self.write.pop_front()
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), Error> {
        if self.next.is_some_and(|next| now >= next) {
            self.rounds = self.rounds.saturating_add(1);
            self.next = Some(
                now + if self.rounds < EARLY_ROUNDS {
                    EARLY_INTERVAL
                } else {
                    INTERVAL
                },
            );
            self.report(now, |_| true);
        }
        Ok(())
    }

    fn poll_timeout(&mut self) -> Option<Instant> {
        self.next
    }
}

impl Interceptor for SenderReports {
    fn bind_local_stream(&mut self, _: &StreamInfo) {}
    fn unbind_local_stream(&mut self, _: &StreamInfo) {}
    fn bind_remote_stream(&mut self, _: &StreamInfo) {}
    fn unbind_remote_stream(&mut self, _: &StreamInfo) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use rtc::rtp::header::Header;
    use timeline::Timeline;

    fn sent(ssrc: u32, now: Instant) -> TaggedPacket {
        let header = Header {
            version: 2,
            ssrc,
            ..Header::default()
        };
        let packet = rtc::rtp::packet::Packet {
            header,
            payload: Bytes::from_static(&[0; 10]),
        };
        let message = AttributedPacket::new(Packet::Rtp(packet));
        TaggedPacket {
            now,
            transport: TransportContext::default(),
            message,
        }
    }

    /// The reports among what goes out.
    fn out(reports: &mut SenderReports) -> Vec<SenderReport> {
        let packets = std::iter::from_fn(|| reports.poll_write());
        let rtcp = packets.filter_map(|p| match p.message.packet {
            Packet::Rtcp(packets) => Some(packets),
            _ => None,
        });
        rtcp.map(|packets| {
            assert!(packets[1].as_any().is::<SourceDescription>(), "each has its name");
            packets[0]
                .as_any()
                .downcast_ref::<SenderReport>()
                .unwrap()
                .clone()
        })
        .collect()
    }

    #[test]
    fn a_track_is_reported_with_its_first_packet_and_then_regularly() {
        let timeline = Timeline::starting(WallTime::from(SystemTime::now()));
        let clock = |rate| RtpClock {
            timeline,
            rate,
            offset: 5,
        };
        let senders = vec![Sender::new(1, clock(90_000)), Sender::new(2, clock(48_000))];
        let mut reports = SenderReports::new(senders, "name".into());
        let start = Instant::now();
        assert_eq!(reports.poll_timeout(), None);

        reports.handle_write(sent(1, start)).unwrap();
        let first = out(&mut reports);
        assert_eq!(
            first.iter().map(|r| (r.ssrc, r.packet_count)).collect::<Vec<_>>(),
            [(1, 1)]
        );

        reports.handle_write(sent(1, start)).unwrap();
        assert!(out(&mut reports).is_empty());
        assert_eq!(reports.poll_timeout(), Some(start + EARLY_INTERVAL));
        reports.handle_timeout(start + EARLY_INTERVAL).unwrap();
        let second = out(&mut reports);
        assert_eq!(
            second.iter().map(|r| (r.ssrc, r.octet_count)).collect::<Vec<_>>(),
            [(1, 20)]
        );

        reports.handle_write(sent(2, start)).unwrap();
        assert_eq!(out(&mut reports)[0].ssrc, 2);
        let mut now = start;
        for _ in 0..20 {
            now = reports.poll_timeout().unwrap();
            reports.handle_timeout(now).unwrap();
            assert_eq!(out(&mut reports).len(), 2);
        }
        assert_eq!(reports.poll_timeout(), Some(now + INTERVAL));
    }

    /// Both tracks' reports name one instant of one clock, each in its own RTP time.
    #[test]
    fn reports_of_a_moment_are_of_one_moment() {
        let timeline = Timeline::starting(WallTime::from_unix_millis(1_760_000_000_000));
        let report = |rate, offset| {
            let clock = RtpClock {
                timeline,
                rate,
                offset,
            };
            Sender::new(1, clock).report(WallTime::from_unix_millis(1_760_000_002_500))
        };
        let (video, audio) = (report(90_000, 11), report(48_000, u32::MAX));
        assert_eq!(video.ntp_time, audio.ntp_time);
        assert_eq!((video.rtp_time, audio.rtp_time), (225_011, 119_999));
    }
}
