use super::*;
use std::sync::mpsc;
use std::time::Duration;
use timeline::TrackId;

/// Long enough for a machine that is busy with everything else.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug)]
enum Out {
    Picture(MediaTime, gst::Buffer),
    Sound(MediaTime, Vec<Sample>),
    KeyframeWanted,
    Failed(String),
}

struct Probe(mpsc::Sender<Out>);

impl Decoded for Probe {
    fn picture(&self, at: MediaTime, picture: Picture) {
        let _ = self.0.send(Out::Picture(at, picture.buffer));
    }
    fn sound(&self, at: MediaTime, packet: &[Sample]) {
        let _ = self.0.send(Out::Sound(at, packet.to_vec()));
    }
    fn keyframe_wanted(&self) {
        let _ = self.0.send(Out::KeyframeWanted);
    }
    fn failed(&self, why: String) {
        let _ = self.0.send(Out::Failed(why));
    }
}

fn canvas() -> gst::Caps {
    gst::init().unwrap();
    crate::encode::Ladder::canvas(&crate::Config::default())
}

fn decoder(codec: Codec) -> (Decoder, mpsc::Receiver<Out>) {
    let (to, out) = mpsc::channel();
    (
        Decoder::start(codec, &canvas(), Arc::new(Probe(to))).unwrap(),
        out,
    )
}

/// What a GStreamer encoder makes of a test source, its times beginning at `from`.
fn encoded(description: &str, from: MediaTime) -> Vec<Frame> {
    gst::init().unwrap();
    let pipeline = gst::parse::launch(&format!("{description} ! appsink name=out sync=false"))
        .unwrap()
        .downcast::<gst::Pipeline>()
        .unwrap();
    let sink: AppSink = named(&pipeline, "out").unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    let mut frames = vec![];
    while let Ok(sample) = sink.pull_sample() {
        let buffer = sample.buffer().unwrap();
        let segment = sample.segment().unwrap().downcast_ref::<ClockTime>().unwrap();
        let at = segment.to_running_time(buffer.pts().unwrap()).unwrap_or_default();
        frames.push(Frame {
            track: TrackId(1),
            at: from + Span::from_nanos(at.nseconds() as i64),
            keyframe: !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT),
            payload: bytes::Bytes::copy_from_slice(&buffer.map_readable().unwrap()),
        });
    }
    pipeline.set_state(gst::State::Null).unwrap();
    frames
}

fn h264(width: u32, height: u32, frames: u32, from: MediaTime) -> Vec<Frame> {
    let source = format!("videotestsrc num-buffers={frames} pattern=white");
    let caps = format!("video/x-raw,width={width},height={height},framerate=30/1");
    encoded(
        &format!(
            "{source} ! {caps} ! x264enc tune=zerolatency speed-preset=ultrafast ! \
             video/x-h264,stream-format=byte-stream,alignment=au,profile=constrained-baseline"
        ),
        from,
    )
}

fn pictures(out: &mpsc::Receiver<Out>, count: usize) -> Vec<(MediaTime, gst::Buffer)> {
    let mut pictures = vec![];
    while pictures.len() < count {
        match out.recv_timeout(PATIENCE).expect("another picture") {
            Out::Picture(at, canvas) => pictures.push((at, canvas)),
            Out::Failed(why) => panic!("{why}"),
            Out::KeyframeWanted | Out::Sound(..) => {}
        }
    }
    pictures
}

/// The luma in the middle of the left edge, and of the picture.
fn luma(canvas: &gst::Buffer) -> (u8, u8) {
    let map = canvas.map_readable().unwrap();
    assert_eq!(map.len(), 1280 * 720 * 3 / 2);
    (map[360 * 1280 + 20], map[360 * 1280 + 640])
}

#[test]
fn pictures_come_out_at_their_capture_times_on_the_canvas() {
    let (mut decoder, out) = decoder(Codec::H264);
    // Captured before the origin, too.
    let frames = h264(640, 360, 12, MediaTime::from_ticks(-9000));
    frames.iter().for_each(|frame| decoder.push(frame));
    let pictures = pictures(&out, 12);
    let at: Vec<i64> = pictures.iter().map(|(at, _)| at.ticks()).collect();
    assert_eq!(at, (0..12).map(|n| n * 3000 - 9000).collect::<Vec<_>>());
    let (edge, middle) = luma(&pictures[11].1);
    assert!(
        edge > 220 && middle > 220,
        "16:9 fills the canvas: {edge} {middle}"
    );
}

#[test]
fn a_change_of_resolution_is_no_event() {
    let (mut decoder, out) = decoder(Codec::H264);
    let second = MediaTime::from_ticks(90_000);
    h264(320, 180, 5, MediaTime::ZERO)
        .iter()
        .for_each(|frame| decoder.push(frame));
    h264(480, 360, 5, second)
        .iter()
        .for_each(|frame| decoder.push(frame));
    let (edge, middle) = luma(&pictures(&out, 10)[9].1);
    assert!(
        edge < 30 && middle > 220,
        "4:3 stands between borders: {edge} {middle}"
    );
}

#[test]
fn nothing_is_decoded_before_a_keyframe_or_after_a_loss() {
    let (mut decoder, out) = decoder(Codec::H264);
    let frames = h264(320, 180, 10, MediaTime::ZERO);
    frames[1..].iter().for_each(|frame| decoder.push(frame));
    frames.iter().for_each(|frame| decoder.push(frame));
    assert_eq!(pictures(&out, 10)[0].0, MediaTime::ZERO);
    decoder.lost();
    frames[5..].iter().for_each(|frame| decoder.push(frame));
    let again = h264(320, 180, 3, MediaTime::from_ticks(90_000));
    again.iter().for_each(|frame| decoder.push(frame));
    assert_eq!(pictures(&out, 1)[0].0, MediaTime::from_ticks(90_000));
}

#[test]
fn garbage_between_pictures_does_not_stop_them() {
    let (mut decoder, out) = decoder(Codec::H264);
    h264(320, 180, 5, MediaTime::ZERO)
        .iter()
        .for_each(|frame| decoder.push(frame));
    let mut seed = 1u32;
    for n in 0..50 {
        let garbage: Vec<u8> = std::iter::repeat_with(|| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 24) as u8
        })
        .take(700)
        .collect();
        let payload = [&[0, 0, 0, 1, if n % 2 == 0 { 0x65 } else { 0x41 }], &garbage[..]].concat();
        let at = MediaTime::from_ticks(20_000 + n * 100);
        decoder.push(&Frame {
            track: TrackId(1),
            at,
            keyframe: n % 2 == 0,
            payload: payload.into(),
        });
    }
    h264(320, 180, 30, MediaTime::from_ticks(90_000))
        .iter()
        .for_each(|frame| decoder.push(frame));
    loop {
        let (at, canvas) = pictures(&out, 1).remove(0);
        if at >= MediaTime::from_ticks(90_000) {
            assert!(luma(&canvas).1 > 220);
            break;
        }
    }
    assert!(!decoder.has_failed());
}

#[test]
fn vp8_is_decoded_too() {
    let (mut decoder, out) = decoder(Codec::Vp8);
    let frames = encoded(
        "videotestsrc num-buffers=5 pattern=white ! video/x-raw,width=640,height=360,framerate=30/1 ! \
         vp8enc deadline=1",
        MediaTime::ZERO,
    );
    frames.iter().for_each(|frame| decoder.push(frame));
    assert!(luma(&pictures(&out, 5)[4].1).1 > 220);
}

/// 20 ms packets of a tone, one of them lost.
#[test]
fn sound_comes_out_at_its_capture_time_and_a_lost_packet_is_concealed() {
    let mut frames = encoded(
        "audiotestsrc num-buffers=50 samplesperbuffer=960 freq=440 volume=0.5 ! \
         audio/x-raw,rate=48000,channels=2 ! opusenc frame-size=20 bitrate=96000",
        MediaTime::from_ticks(45_000),
    );
    // opusenc's own times leave the lookahead out of the first packet.
    for (n, frame) in frames.iter_mut().enumerate() {
        frame.at = MediaTime::from_ticks(45_000 + n as i64 * 1800);
    }
    let (mut decoder, out) = decoder(Codec::Opus);
    frames
        .iter()
        .enumerate()
        .filter(|(n, _)| *n != 25)
        .for_each(|(_, frame)| decoder.push(frame));
    let mut heard = vec![];
    while heard.len() < 40 {
        if let Out::Sound(at, packet) = out.recv_timeout(PATIENCE).expect("more sound") {
            heard.push((at, packet));
        }
    }
    for pair in heard.windows(2) {
        let span = Span::from_ticks(pair[0].1.len() as i64 * 15 / 8);
        assert!(
            (pair[1].0 - pair[0].0 - span).ticks().abs() <= 2,
            "no hole at {}: {} after {}",
            pair[1].0,
            (pair[1].0 - pair[0].0).ticks(),
            span.ticks()
        );
    }
    let first = heard[0].0.ticks() - frames[0].at.ticks();
    assert!(
        first.abs() <= 2,
        "the first packet stands at its capture time: {first}"
    );
    let lost = &heard
        .iter()
        .find(|(at, _)| (*at - frames[25].at).ticks().abs() <= 2)
        .unwrap()
        .1;
    assert!(lost.iter().any(|s| s[0].abs() > 0.1), "concealed, not silent");
}

#[test]
fn opus_packets_say_how_long_they_are() {
    let ms = |toc: &[u8]| opus_span(toc).map(|span| span.ticks() as f64 / 90.0);
    assert_eq!(ms(&[0b1111_1000]), Some(20.0), "CELT full band");
    assert_eq!(ms(&[0b1000_0000]), Some(2.5));
    assert_eq!(ms(&[0b0111_1001]), Some(40.0), "hybrid, two frames");
    assert_eq!(ms(&[0b0001_1011, 2]), Some(120.0), "SILK, counted");
    assert_eq!(ms(&[0b0001_1011, 3]), None, "longer than Opus allows");
    assert_eq!(ms(&[]), None);
}
