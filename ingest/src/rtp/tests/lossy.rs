//! Packetised by somebody else's code (where there is some), some packets lost: out come exactly the pictures that
//! lost nothing and can be decoded.

use proptest::prelude::*;
use proptest::sample::Index;
use rtc::rtp::codec::av1::Av1Payloader;
use rtc::rtp::codec::h264::H264Payloader;
use rtc::rtp::codec::vp9::Vp9Payloader;
use rtc::rtp::packetizer::Payloader;

use super::*;

const MTU: usize = 200;

/// A picture → the payloads of its packets.
type Packets = Box<dyn FnMut(&Bytes) -> Vec<Bytes>>;

/// The pictures of a fixture three times over, as they go in and as they shall come out.
fn lecture(codec: Codec) -> Vec<(Vec<Bytes>, Bytes)> {
    let mut payload: Packets = match codec {
        Codec::H264 => by(H264Payloader::default()),
        Codec::Vp9 => by(Vp9Payloader::default()),
        _ => by(Av1Payloader::default()),
    };
    let pictures: Vec<Bytes> = match codec {
        Codec::H264 => high().iter().map(|nals| annex_b(nals)).collect(),
        Codec::Vp9 => ivf(include_bytes!("vp9.ivf")),
        _ => ivf(include_bytes!("av1.ivf")),
    };
    let three_times = pictures.iter().cycle().take(3 * pictures.len());
    three_times
        .map(|picture| (payload(picture), picture.clone()))
        .collect()
}

fn by(mut payloader: impl Payloader + 'static) -> Packets {
    Box::new(move |picture| payloader.payload(MTU, picture).unwrap())
}

fn assert_exactly_what_lost_nothing(codec: Codec, lost: &[Index]) -> Result<(), TestCaseError> {
    let lecture = lecture(codec);
    let mut wire = Wire::new();
    lecture
        .iter()
        .for_each(|(payloads, _)| wire.picture(payloads.clone()));
    let mut is_lost = vec![false; wire.sent.len()];
    lost.iter().for_each(|n| is_lost[n.index(wire.sent.len())] = true);

    let (mut expected, mut open, mut at) = (vec![], false, 0);
    for (n, (payloads, picture)) in lecture.iter().enumerate() {
        let whole = !is_lost[at..at + payloads.len()].contains(&true);
        at += payloads.len();
        open = whole && (open || n % GOP == 0);
        if open {
            expected.push(picture.clone());
        }
    }
    let came = wire.sent.iter().zip(&is_lost).filter(|(_, lost)| !**lost);
    let came: Vec<Packet> = came.map(|(packet, _)| packet.clone()).collect();
    prop_assert_eq!(shown(codec, &came), expected);
    Ok(())
}

#[test]
fn what_loses_nothing_comes_out_as_it_went_in() {
    for codec in [Codec::H264, Codec::Vp9, Codec::Av1] {
        assert!(
            lecture(codec).iter().any(|(payloads, _)| payloads.len() > 3),
            "fragments"
        );
        assert_exactly_what_lost_nothing(codec, &[]).unwrap();
    }
}

proptest! {
    #[test]
    fn h264(lost in prop::collection::vec(any::<Index>(), 0..12)) {
        assert_exactly_what_lost_nothing(Codec::H264, &lost)?;
    }

    #[test]
    fn vp9(lost in prop::collection::vec(any::<Index>(), 0..12)) {
        assert_exactly_what_lost_nothing(Codec::Vp9, &lost)?;
    }

    #[test]
    fn av1(lost in prop::collection::vec(any::<Index>(), 0..12)) {
        assert_exactly_what_lost_nothing(Codec::Av1, &lost)?;
    }

    /// Each packet of sound stands alone; one that holds nothing is nothing.
    #[test]
    fn sound(
        packets in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..4), any::<bool>()), 1..60),
    ) {
        for codec in [Codec::Opus, Codec::G722, Codec::Pcmu, Codec::Pcma] {
            let mut wire = Wire::new();
            packets.iter().for_each(|(payload, _)| wire.picture([payload.clone().into()]));
            let came = wire.sent.iter().zip(&packets).filter(|(_, (_, came))| *came);
            let came: Vec<Packet> = came.map(|(packet, _)| packet.clone()).collect();
            let expected: Vec<Bytes> =
                came.iter().filter(|p| !p.payload.is_empty()).map(|p| p.payload.clone()).collect();
            prop_assert_eq!(shown(codec, &came), expected);
        }
    }
}
