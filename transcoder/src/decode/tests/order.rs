//! B-frames, by x264: what each picture shows tells which it is.

use super::*;

/// Grey pictures, each a little brighter than the one before, in decode order.
fn stairs(count: usize, settings: &str) -> Vec<Frame> {
    let caps = "video/x-raw,format=I420,width=64,height=36,framerate=30/1";
    let picture = |n: usize| {
        let luma = vec![brightness(n); 64 * 36];
        ([luma, vec![128; 64 * 36 / 2]].concat(), Span::from_ticks(3_000))
    };
    encoded_from(
        &format!(
            "appsrc name=in format=time max-bytes=0 caps={caps} ! x264enc speed-preset=veryfast bitrate=2000 key-int-max=60 b-adapt=false \
             {settings} ! video/x-h264,stream-format=byte-stream,alignment=au"
        ),
        (0..count).map(picture).collect(),
        MediaTime::ZERO,
    )
}

fn brightness(n: usize) -> u8 {
    20 + 5 * n as u8
}

fn which(canvas: &gst::Buffer) -> usize {
    let luma = luma(canvas).1;
    (0..47)
        .find(|n| luma.abs_diff(brightness(*n)) <= 2)
        .unwrap_or_else(|| panic!("{luma}"))
}

/// The pictures that came out, by what they show; and what was said about them.
fn shown(frames: &[Frame], count: usize) -> (Vec<(i64, usize)>, Vec<Stamps>) {
    let (mut decoder, out) = decoder(Codec::H264);
    frames.iter().for_each(|frame| decoder.push(frame));
    let (mut shown, mut said) = (vec![], vec![]);
    while shown.len() < count {
        match out.recv_timeout(PATIENCE).expect("another picture") {
            Out::Picture(at, canvas) => shown.push((at.ticks(), which(&canvas))),
            Out::Reordered(stamps) => said.push(stamps),
            Out::Failed(why) => panic!("{why}"),
            _ => {}
        }
    }
    (shown, said)
}

#[test]
fn pictures_stamped_with_presentation_times_come_out_in_order() {
    for settings in ["bframes=2", "bframes=3 b-pyramid=true"] {
        let frames = stairs(40, settings);
        assert!(
            !frames.is_sorted_by_key(|frame| frame.at),
            "{settings}: there are B-frames"
        );
        let begin = frames.iter().map(|frame| frame.at).min().unwrap().ticks();
        let (shown, said) = shown(&frames, 36);
        let right: Vec<(i64, usize)> = (0..36).map(|n| (begin + n as i64 * 3_000, n)).collect();
        assert_eq!(shown, right, "{settings}");
        assert!(!said.is_empty() && said.iter().all(|stamps| *stamps == Stamps::Presentation));
    }
}

#[test]
fn pictures_stamped_with_decode_times_come_out_in_order_and_evenly() {
    for (settings, depth) in [("bframes=2", 1), ("bframes=3 b-pyramid=true", 2)] {
        let mut frames = stairs(40, settings);
        for (n, frame) in frames.iter_mut().enumerate() {
            frame.at = MediaTime::from_ticks(n as i64 * 3_000);
        }
        let (shown, said) = shown(&frames, 36);
        let pictures: Vec<usize> = shown.iter().map(|(_, n)| *n).collect();
        assert_eq!(pictures, (0..36).collect::<Vec<_>>(), "{settings}: none is lost");
        assert!(shown.is_sorted(), "{settings}: {shown:?}");
        // Known since the first picture that overtook another.
        let right: Vec<(i64, usize)> = (8..36).map(|n| ((n as i64 + depth) * 3_000, n)).collect();
        assert_eq!(shown[8..], right, "{settings}");
        assert!(!said.is_empty() && said.iter().all(|stamps| *stamps == Stamps::Decode));
    }
}

#[test]
fn without_b_frames_nothing_is_said() {
    let (shown, said) = shown(&stairs(20, "tune=zerolatency"), 20);
    assert_eq!(shown.len(), 20);
    assert_eq!(said, []);
}
