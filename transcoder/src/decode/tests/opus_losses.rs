//! Opus: packets of any length, missing ones, silence.

use super::*;

fn ms(ms: i64) -> Span {
    Span::from_millis(ms)
}

/// A second of a tone in packets of `length` ms, 300 Hz until `higher` and 900 Hz from then on, as `opusenc` with
/// `settings` makes them.
fn tone(length: i64, settings: &str, higher: Span) -> Vec<Frame> {
    let begin = MediaTime::from_ticks(45_000);
    let samples = (length * 48) as usize;
    let sample = |n: usize| {
        let hz = if ms(n as i64 / 48) < higher { 300.0 } else { 900.0 };
        (0.5 * (2.0 * std::f64::consts::PI * hz * n as f64 / 48_000.0).sin()) as f32
    };
    let packet = |k: usize| {
        let samples = (k * samples..(k + 1) * samples).flat_map(|n| [sample(n); 2]);
        (samples.flat_map(f32::to_le_bytes).collect(), ms(length))
    };
    let caps = "audio/x-raw,format=F32LE,layout=interleaved,rate=48000,channels=2";
    let mut frames = encoded_from(
        &format!(
            "appsrc name=in format=time max-bytes=0 caps={caps} ! audioconvert ! opusenc frame-size={length} {settings}"
        ),
        (0..(1_000 / length) as usize).map(packet).collect(),
        begin,
    );
    // opusenc's own times leave the lookahead out of the first packet.
    for (n, frame) in frames.iter_mut().enumerate() {
        frame.at = begin + ms(n as i64 * length);
    }
    frames
}

fn all(frames: &[Frame], lost: &[usize]) -> Vec<(MediaTime, Vec<Sample>)> {
    let (mut decoder, out) = decoder(Codec::Opus);
    let came = frames.iter().enumerate().filter(|(n, _)| !lost.contains(n));
    came.for_each(|(_, frame)| decoder.push(frame));
    heard(&out, frames[frames.len() - 1].at)
}

#[test]
fn sound_comes_out_at_its_capture_time() {
    for (length, settings) in [
        (5, ""),
        (10, ""),
        (20, "bitrate=96000"),
        (40, ""),
        (60, "audio-type=voice"),
    ] {
        let frames = tone(length, settings, ms(2_000));
        let heard = all(&frames, &[]);
        assert_no_hole(&heard);
        let first = heard[0].0.ticks() - frames[0].at.ticks();
        assert!(first.abs() <= 2, "{length} ms: {first}");
        let at = frames[0].at + ms(300);
        let cycles = crossings(&heard, at, at + ms(500));
        assert!((295..=305).contains(&cycles), "{length} ms: {cycles} of 300");
    }
}

#[test]
fn mono_is_heard_on_both_sides() {
    let frames = tone(20, "", ms(2_000));
    let mono = encoded(
        "audiotestsrc num-buffers=30 samplesperbuffer=960 freq=440 volume=0.5 ! \
         audio/x-raw,rate=48000,channels=1 ! opusenc frame-size=20",
        frames[0].at,
    );
    let (mut decoder, out) = decoder(Codec::Opus);
    // The same stream changes from stereo to mono.
    frames.iter().take(10).for_each(|frame| decoder.push(frame));
    for (n, frame) in mono.into_iter().enumerate() {
        let at = frames[10].at + ms(20 * n as i64);
        decoder.push(&Frame { at, ..frame });
    }
    let heard = heard(&out, frames[30].at);
    assert_no_hole(&heard);
    let loud = &heard[25].1;
    assert!(loud.iter().any(|s| s[0] > 0.2) && loud.iter().all(|s| (s[0] - s[1]).abs() < 1e-3));
}

/// RFC 6716 §3.2.5: six frames of 20 ms under one header, of different lengths.
#[test]
fn packets_of_120_ms() {
    let frames = tone(20, "", ms(2_000));
    let joined = frames.chunks_exact(6).map(|six| {
        let mut packet = vec![six[0].payload[0] | 3, 0x80 | 6];
        for frame in &six[..5] {
            match frame.payload.len() - 1 {
                short @ 0..252 => packet.push(short as u8),
                long => packet.extend([252 + (long % 4) as u8, ((long - 252) / 4) as u8]),
            }
        }
        packet.extend(six.iter().flat_map(|frame| frame.payload[1..].to_vec()));
        Frame {
            payload: packet.into(),
            ..six[0].clone()
        }
    });
    let joined: Vec<Frame> = joined.collect();
    let heard = all(&joined, &[]);
    assert_no_hole(&heard);
    assert_eq!(heard[0].1.len(), 5760);
    let cycles = crossings(&heard, frames[15].at, frames[40].at);
    assert!((295..=305).contains(&cycles), "{cycles} of 300");
}

/// The tone rises with the packet that is lost: what is invented goes on as before, what is recovered does not.
#[test]
fn a_lost_packet_is_recovered_from_the_next() {
    let voice = "audio-type=voice bitrate=24000 inband-fec=true packet-loss-percentage=30";
    let frames = tone(20, voice, ms(500));
    let lost = [25, 30, 33];
    let (whole, lossy) = (all(&frames, &[]), all(&frames, &lost));
    assert_no_hole(&lossy);
    assert_eq!(lossy[0].0, whole[0].0);
    let pitch = |heard: &[_], n: usize| crossings(heard, frames[n].at, frames[n].at + ms(20));
    assert!(pitch(&lossy, 24) < 16 && pitch(&whole, 25) > 20);
    for lost in lost {
        let (found, right) = (pitch(&lossy, lost), pitch(&whole, lost));
        println!("packet {lost}: {found} of {right}");
        assert!(found > 20, "packet {lost} is recovered: {found} of {right}");
    }
    // Packets that came later are what they would have been, where they would have been.
    let late = |heard: &[(MediaTime, Vec<Sample>)]| {
        heard
            .iter()
            .find(|(at, _)| *at >= frames[45].at)
            .cloned()
            .unwrap()
    };
    let ((whole_at, whole), (lossy_at, lossy)) = (late(&whole), late(&lossy));
    assert!((whole_at - lossy_at).ticks().abs() <= 2);
    let differs = whole
        .iter()
        .zip(&lossy)
        .map(|(a, b)| (a[0] - b[0]).abs())
        .fold(0.0, f32::max);
    println!("differs by {differs}");
    assert!(differs < 0.2, "{differs}");
}

#[test]
fn what_cannot_be_recovered_is_invented_and_what_is_too_long_is_silence() {
    let frames = tone(20, "bitrate=96000", ms(2_000));
    let heard = all(&frames, &[20, 30, 31, 32, 40, 41, 42, 43]);
    let at = |n: usize| {
        heard
            .iter()
            .find(|(at, packet)| *at <= frames[n].at && frames[n].at < *at + length(packet))
    };
    for lost in [20, 30, 31] {
        let (_, packet) = at(lost).unwrap_or_else(|| panic!("{lost} is concealed"));
        assert!(packet.iter().any(|s| s[0].abs() > 0.05), "{lost}");
    }
    assert!((40..44).all(|n| at(n).is_none()), "80 ms are too long");
    assert!(at(44).is_some());
}

/// Silence is packets of a byte or two (RFC 6716 §2.1.9), or nothing for a while.
#[test]
fn discontinuous_transmission() {
    let frames = tone(20, "", ms(2_000));
    let (mut decoder, out) = decoder(Codec::Opus);
    for (n, frame) in frames.iter().enumerate() {
        let mut frame = frame.clone();
        match n {
            10..14 => frame.payload.truncate(1),
            14..34 => continue,
            _ => {}
        }
        decoder.push(&frame);
    }
    let heard = heard(&out, frames[frames.len() - 1].at);
    let breaks: Vec<i64> = heard
        .windows(2)
        .map(|pair| (pair[1].0 - pair[0].0 - length(&pair[0].1)).ticks())
        .filter(|hole| hole.abs() > 2)
        .collect();
    assert_eq!(breaks.len(), 1, "{breaks:?}");
    assert!((breaks[0] - 36_000).abs() <= 4, "400 ms: {breaks:?}");
    assert!(!decoder.has_failed());
}
