//! What real senders do, replayed.

use super::*;

const AUD: &[u8] = &[0x09, 0xf0];
/// Recovery point.
const SEI: &[u8] = &[0x06, 0x06, 0x01, 0xc4, 0x80];
const FILLER: &[u8] = &[0x0c, 0xff, 0xff, 0x80];

/// Everything from a picture on, each NAL unit in a packet of its own.
fn single_nals(wire: &mut Wire, pictures: &[Vec<Bytes>]) {
    pictures.iter().for_each(|nals| wire.picture(nals.clone()));
}

fn expected(pictures: &[Vec<Bytes>]) -> Vec<Bytes> {
    pictures.iter().map(|nals| annex_b(nals)).collect()
}

fn stap(nals: &[Bytes]) -> Bytes {
    let sized = nals
        .iter()
        .flat_map(|nal| [&(nal.len() as u16).to_be_bytes(), &nal[..]].concat());
    [0x78].into_iter().chain(sized).collect()
}

#[test]
fn the_fixture_is_what_it_says() {
    let high = high();
    let kinds = |n: usize| high[n].iter().map(|nal| nal[0] & 0x1f).collect::<Vec<_>>();
    assert_eq!(
        (high.len(), kinds(0), kinds(1)),
        (8, vec![7, 8, 5, 5, 5], vec![1, 1, 1])
    );
}

/// Packetization-mode 0 is nothing but single NAL units; so are OBS's parameter sets.
#[test]
fn single_nal_units_alone() {
    let (mut wire, high) = (Wire::new(), high());
    single_nals(&mut wire, &high);
    assert_eq!(shown(Codec::H264, &wire.sent), expected(&high));
}

/// OBS and others offer 42e01f whatever they encode: what the SPS says goes out untouched.
#[test]
fn high_profile_under_an_offer_of_constrained_baseline() {
    let (mut wire, high) = (Wire::new(), high());
    single_nals(&mut wire, &high);
    assert_eq!(
        shown(Codec::H264, &wire.sent)[0][5],
        100,
        "profile_idc behind start code and header"
    );
}

#[test]
fn parameter_sets_that_came_once() {
    let (mut wire, high) = (Wire::new(), high());
    single_nals(&mut wire, &high[..GOP]);
    wire.picture(high[GOP][2..].to_vec());
    single_nals(&mut wire, &high[GOP + 1..]);
    assert_eq!(shown(Codec::H264, &wire.sent), expected(&high));
}

#[test]
fn sps_pps_and_idr_in_one_packet() {
    let (mut wire, high) = (Wire::new(), high());
    wire.picture([stap(&high[0])]);
    single_nals(&mut wire, &high[1..]);
    assert_eq!(shown(Codec::H264, &wire.sent), expected(&high));
}

#[test]
fn one_of_several_slices_is_lost() {
    let high = high();
    for slice in 0..3 {
        let mut wire = Wire::new();
        single_nals(&mut wire, &high);
        // Packets of the pictures before it: five and three.
        wire.sent.remove(5 + 3 + slice);
        let before_and_after = [&high[..2], &high[GOP..]].concat();
        assert_eq!(
            shown(Codec::H264, &wire.sent),
            expected(&before_and_after),
            "slice {slice}"
        );
    }
}

#[test]
fn the_first_packets_are_missing() {
    let high = high();
    for missing in 1..=5 {
        let mut wire = Wire::new();
        single_nals(&mut wire, &high);
        assert_eq!(
            shown(Codec::H264, &wire.sent[missing..]),
            expected(&high[GOP..]),
            "{missing} missing"
        );
    }
}

/// OBS ignores keyframe requests, and its default GOP is 250 frames.
#[test]
fn a_long_gop_whose_sender_ignores_requests() {
    let (mut wire, high) = (Wire::new(), high());
    (0..250).for_each(|n| wire.picture(high[1 + n % 3].clone()));
    single_nals(&mut wire, &high);
    let (t, mut intake) = (Instant::now(), Intake::new(Codec::H264, REPAIR));
    let (mut asked, mut pictures) = (0, vec![]);
    for (n, packet) in wire.sent.iter().enumerate() {
        // Three packets a frame, 30 frames a second.
        let now = t + Duration::from_millis(11 * n as u64);
        intake.push(packet.clone(), now);
        asked += usize::from(intake.keyframe_due(now));
        pictures.extend(intake.frames(now).into_iter().map(|picture| picture.payload));
    }
    assert_eq!(
        pictures,
        expected(&high),
        "nothing is shown before the keyframe, and all from it on"
    );
    assert!(
        (6..=8).contains(&asked),
        "asked {asked} times in 8.3 s: ever more rarely"
    );
    assert_eq!(intake.counts().dropped, 250);
}

/// Chromium probes for bandwidth with packets of padding, under the timestamp of the last picture.
#[test]
fn padding_between_pictures() {
    let (mut wire, high) = (Wire::new(), high());
    for nals in &high {
        wire.picture(nals.clone());
        wire.timestamp = wire.timestamp.wrapping_sub(FRAME);
        (0..3).for_each(|_| wire.send(false, Bytes::new()));
        wire.next();
    }
    assert_eq!(shown(Codec::H264, &wire.sent), expected(&high));
}

#[test]
fn everything_twice() {
    let (mut wire, high) = (Wire::new(), high());
    single_nals(&mut wire, &high);
    let twice: Vec<Packet> = wire
        .sent
        .iter()
        .flat_map(|packet| [packet.clone(), packet.clone()])
        .collect();
    let mut intake = Intake::new(Codec::H264, REPAIR);
    let pictures = pass(&mut intake, &twice);
    assert_eq!(pictures.len(), high.len());
    assert_eq!(intake.counts().useless, wire.sent.len() as u64);
}

#[test]
fn delimiters_filler_and_messages_between_the_slices() {
    let (mut wire, high) = (Wire::new(), high());
    for nals in &high {
        let (sets, slices) = nals.split_at(nals.len() - 3);
        let extra = [AUD, FILLER, SEI].map(Bytes::from_static);
        wire.picture([&extra[..1], sets, &extra[1..], slices, &extra[1..2]].concat());
    }
    let with_message = high.iter().map(|nals| {
        let (sets, slices) = nals.split_at(nals.len() - 3);
        annex_b(&[sets, &[Bytes::from_static(SEI)], slices].concat())
    });
    assert_eq!(shown(Codec::H264, &wire.sent), with_message.collect::<Vec<_>>());
}

#[test]
fn no_markers_at_all() {
    let (mut wire, high) = (Wire::new(), high());
    single_nals(&mut wire, &high);
    wire.sent.iter_mut().for_each(|packet| packet.marker = false);
    let all_but_the_open_one = &high[..high.len() - 1];
    assert_eq!(shown(Codec::H264, &wire.sent), expected(all_but_the_open_one));
}

/// A sender that takes each slice for a picture: once its markers have lied, timestamps tell.
#[test]
fn a_marker_on_every_slice() {
    let (mut wire, high) = (Wire::new(), high());
    single_nals(&mut wire, &high);
    single_nals(&mut wire, &high);
    wire.sent.iter_mut().for_each(|packet| packet.marker = true);
    let pictures = shown(Codec::H264, &wire.sent);
    let torn = annex_b(&high[0][..3]);
    assert_eq!(pictures[0], torn, "nothing told that more would come");
    let all = [&high[GOP..], &high[..high.len() - 1]].concat();
    assert_eq!(pictures[1..], expected(&all));
}

/// Two pictures under one time, each with its marker, are no such sender.
#[test]
fn two_pictures_with_one_timestamp() {
    let (mut wire, high) = (Wire::new(), high());
    for pair in high.chunks(2) {
        wire.picture(pair[0].clone());
        wire.timestamp = wire.timestamp.wrapping_sub(FRAME);
        wire.picture(pair[1].clone());
    }
    assert_eq!(shown(Codec::H264, &wire.sent), expected(&high));
}

#[test]
fn another_size_in_mid_stream() {
    let (mut wire, high) = (Wire::new(), high());
    let mut sps = high[GOP][0].to_vec();
    sps[3] = 40;
    let changed = [&[Bytes::from(sps)], &high[GOP][1..]].concat();
    single_nals(&mut wire, &high[..GOP]);
    wire.picture(changed.clone());
    assert_eq!(shown(Codec::H264, &wire.sent)[GOP], annex_b(&changed));
}

/// Some put a whole access unit, or what its encoder gave them, into a packet as it is. Within a NAL unit a start
/// code cannot be.
#[test]
fn start_codes_in_payloads() {
    let high = high();
    for code in [&[0, 0, 1][..], &[0, 0, 0, 1]] {
        let joined = |nals: &[Bytes]| {
            nals.iter()
                .flat_map(|nal| [code, &nal[..]].concat())
                .collect::<Bytes>()
        };
        let (mut led, mut unled) = (Wire::new(), Wire::new());
        for nals in &high {
            led.picture([joined(nals)]);
            unled.picture([joined(nals).slice(code.len()..)]);
        }
        assert_eq!(shown(Codec::H264, &led.sent), expected(&high));
        assert_eq!(shown(Codec::H264, &unled.sent), expected(&high));
    }
}

/// What lacks its second half is never taken for whole; then timestamps tell.
#[test]
fn a_marker_in_the_middle_of_a_vp9_frame() {
    let (mut wire, frames) = (Wire::new(), ivf(include_bytes!("vp9.ivf")));
    for frame in &frames {
        let (head, tail) = frame.split_at(frame.len() / 2);
        wire.send(true, [&[0x08], head].concat());
        wire.send(true, [&[0x04], tail].concat());
        wire.next();
    }
    assert_eq!(shown(Codec::Vp9, &wire.sent), frames[GOP..frames.len() - 1]);
}
