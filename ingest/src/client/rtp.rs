//! Frames to RTP packets.

use bytes::Bytes;
use rtc::rtp::codec::h264::H264Payloader;
use rtc::rtp::codec::opus::OpusPayloader;
use rtc::rtp::header::Header;
use rtc::rtp::packet::Packet;
use rtc::rtp::packetizer::Payloader;
use timeline::{Codec, Frame};

use super::Error;
use super::clock::RtpClock;

/// What fits any path, with room for SRTP, DTLS, UDP and a tunnel's headers.
const MTU: usize = 1200;
const RTP_HEADER: usize = 12;

/// The packets of one track.
pub struct Packetizer {
    payloader: Box<dyn Payloader>,
    clock: RtpClock,
    ssrc: u32,
    payload_type: u8,
    sequence: u16,
    /// A picture that begins with no keyframe cannot be decoded.
    began: bool,
    is_video: bool,
}

impl Packetizer {
    pub fn new(codec: Codec, clock: RtpClock, ssrc: u32, payload_type: u8) -> Result<Self, Error> {
        let payloader: Box<dyn Payloader> = match codec {
            Codec::H264 => Box::new(H264Payloader::default()),
            Codec::Opus => Box::new(OpusPayloader),
            _ => return Err(Error::UnsupportedCodec(codec)),
        };
        let sequence = rand::random();
        Ok(Packetizer {
            payloader,
            clock,
            ssrc,
            payload_type,
            sequence,
            began: false,
            is_video: codec.is_video(),
        })
    }

    /// A frame's packets; none before the first keyframe.
    pub fn packets(&mut self, frame: &Frame) -> Result<Vec<Packet>, Error> {
        self.began |= frame.keyframe;
        if !self.began {
            return Ok(Vec::new());
        }
        let payloads = self
            .payloader
            .payload(MTU - RTP_HEADER, &frame.payload)
            .map_err(Error::webrtc)?;
        let last = payloads.len().saturating_sub(1);
        let timestamp = self.clock.at(frame.at);
        // The marker ends a picture; of sound it begins a talk spurt, and there is but one (RFC 7587 §4.1).
        let packets = payloads.into_iter().enumerate();
        Ok(packets
            .map(|(n, payload)| self.packet(timestamp, self.is_video && n == last, payload))
            .collect())
    }

    fn packet(&mut self, timestamp: u32, marker: bool, payload: Bytes) -> Packet {
        let header = Header {
            version: 2,
            marker,
            payload_type: self.payload_type,
            sequence_number: self.sequence,
            timestamp,
            ssrc: self.ssrc,
            ..Header::default()
        };
        self.sequence = self.sequence.wrapping_add(1);
        Packet { header, payload }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use timeline::{MediaTime, Timeline, TrackId, WallTime};

    fn packetizer(codec: Codec, rate: u32) -> Packetizer {
        let timeline = Timeline::starting(WallTime::from_unix_millis(1_760_000_000_000));
        let clock = RtpClock {
            timeline,
            rate,
            offset: 7,
        };
        Packetizer::new(codec, clock, 0x1234, 96).unwrap()
    }

    fn frame(ticks: i64, keyframe: bool, payload: &[u8]) -> Frame {
        let payload = Bytes::copy_from_slice(payload);
        Frame {
            track: TrackId(1),
            at: MediaTime::from_ticks(ticks),
            keyframe,
            payload,
        }
    }

    /// SPS, PPS and a slice of 3,000 bytes.
    fn idr() -> Vec<u8> {
        let mut au = vec![0, 0, 0, 1, 0x67, 1, 2, 3, 0, 0, 0, 1, 0x68, 4, 5, 0, 0, 1, 0x65];
        au.extend([9; 3_000]);
        au
    }

    #[test]
    fn a_picture_is_one_time_and_one_marker() {
        let packets = packetizer(Codec::H264, 90_000)
            .packets(&frame(3_000, true, &idr()))
            .unwrap();
        assert_eq!(packets.len(), 4, "parameter sets, and three fragments");
        assert!(
            packets
                .iter()
                .all(|p| p.header.timestamp == 3_007 && p.header.ssrc == 0x1234)
        );
        assert!(packets.iter().all(|p| p.payload.len() + RTP_HEADER <= MTU));
        assert!(
            packets
                .windows(2)
                .all(|w| { w[1].header.sequence_number == w[0].header.sequence_number.wrapping_add(1) })
        );
        let markers: Vec<bool> = packets.iter().map(|p| p.header.marker).collect();
        assert_eq!(markers, [false, false, false, true]);
    }

    #[test]
    fn nothing_is_sent_before_a_keyframe() {
        let mut packetizer = packetizer(Codec::H264, 90_000);
        let slice = [0, 0, 0, 1, 0x41, 1, 2, 3];
        assert!(packetizer.packets(&frame(0, false, &slice)).unwrap().is_empty());
        assert!(
            !packetizer
                .packets(&frame(3_000, true, &idr()))
                .unwrap()
                .is_empty()
        );
        assert_eq!(packetizer.packets(&frame(6_000, false, &slice)).unwrap().len(), 1);
    }

    #[test]
    fn sound_is_a_packet_a_frame() {
        let mut packetizer = packetizer(Codec::Opus, 48_000);
        let packets = packetizer.packets(&frame(1_800, true, &[0xfc, 1, 2])).unwrap();
        assert_eq!(packets.len(), 1);
        assert_eq!(
            (packets[0].header.timestamp, packets[0].header.marker),
            (967, false)
        );
    }
}
