mod codecs;
mod opus_losses;
mod order;

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
    Reordered(Stamps),
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
    fn reordered(&self, stamps: Stamps) {
        let _ = self.0.send(Out::Reordered(stamps));
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
    encoded_from(description, vec![], from)
}

/// The same of raw buffers, each `Span` long, that come out of an `appsrc name=in format=time`.
fn encoded_from(description: &str, input: Vec<(Vec<u8>, Span)>, from: MediaTime) -> Vec<Frame> {
    gst::init().unwrap();
    let pipeline = gst::parse::launch(&format!("{description} ! appsink name=out sync=false"))
        .unwrap()
        .downcast::<gst::Pipeline>()
        .unwrap();
    let sink: AppSink = named(&pipeline, "out").unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    if let Ok(source) = named::<AppSrc>(&pipeline, "in") {
        let mut at = Span::ZERO;
        for (bytes, length) in input {
            let mut buffer = gst::Buffer::from_slice(bytes);
            buffer
                .get_mut()
                .unwrap()
                .set_pts(ClockTime::from_nseconds(at.nanos() as u64));
            source.push_buffer(buffer).unwrap();
            at += length;
        }
        source.end_of_stream().unwrap();
    }
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
            Out::KeyframeWanted | Out::Reordered(_) | Out::Sound(..) => {}
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

/// The sound that came out, until so much is heard.
fn heard(out: &mpsc::Receiver<Out>, until: MediaTime) -> Vec<(MediaTime, Vec<Sample>)> {
    let mut heard: Vec<(MediaTime, Vec<Sample>)> = vec![];
    while heard
        .last()
        .is_none_or(|(at, packet)| *at + length(packet) < until)
    {
        match out.recv_timeout(PATIENCE).expect("more sound") {
            Out::Sound(at, packet) => heard.push((at, packet)),
            Out::Failed(why) => panic!("{why}"),
            _ => {}
        }
    }
    heard
}

fn length(packet: &[Sample]) -> Span {
    Span::from_ticks(packet.len() as i64 * 15 / 8)
}

fn assert_no_hole(heard: &[(MediaTime, Vec<Sample>)]) {
    for pair in heard.windows(2) {
        let hole = (pair[1].0 - pair[0].0 - length(&pair[0].1)).ticks();
        assert!(hole.abs() <= 2, "{hole} ticks at {}", pair[1].0);
    }
}

/// How often the left channel crosses zero between two moments.
fn crossings(heard: &[(MediaTime, Vec<Sample>)], from: MediaTime, to: MediaTime) -> usize {
    let samples = heard.iter().flat_map(|(at, packet)| {
        let at = *at;
        packet
            .iter()
            .enumerate()
            .map(move |(n, sample)| (at + Span::from_ticks(n as i64 * 15 / 8), sample[0]))
    });
    let within: Vec<f32> = samples
        .filter(|(at, _)| (from..to).contains(at))
        .map(|(_, s)| s)
        .collect();
    within.windows(2).filter(|pair| pair[0] * pair[1] < 0.0).count()
}
