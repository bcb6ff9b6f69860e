use super::*;
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app::AppSink;
use timeline::TrackId;

const SHAPE: Shape = Shape {
    width: 320,
    height: 180,
    level: 31,
};

/// What an encoder makes of some pictures.
fn encoded(pictures: &str, encoder: &str) -> Vec<Frame> {
    gst::init().unwrap();
    let text = format!(
        "videotestsrc num-buffers=40 ! {pictures} ! {encoder} ! h264parse config-interval=-1 ! \
         video/x-h264,stream-format=byte-stream,alignment=au ! appsink name=out sync=false"
    );
    let pipeline = gst::parse::launch(&text)
        .unwrap()
        .downcast::<gst::Pipeline>()
        .unwrap();
    let sink = pipeline.by_name("out").and_downcast::<AppSink>().unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    let mut frames = Vec::new();
    while let Ok(sample) = sink.pull_sample() {
        let map = sample.buffer().unwrap().map_readable().unwrap();
        frames.push(Frame {
            track: TrackId(1),
            at: MediaTime::from_ticks(frames.len() as i64 * 3000),
            keyframe: false,
            payload: Bytes::copy_from_slice(&map),
        });
    }
    pipeline.set_state(gst::State::Null).unwrap();
    frames
}

const PLAIN: &str = "video/x-raw,format=I420,width=320,height=180,framerate=30/1,colorimetry=bt709";
const X264: &str = "x264enc tune=zerolatency bframes=0 key-int-max=15";

fn read(units: &mut Units, frames: &[Frame]) -> Vec<Result<Unit, Refusal>> {
    frames.iter().map(|frame| units.read(frame, SHAPE)).collect()
}

#[test]
fn what_can_be_copied_is_read_with_what_each_follows() {
    for profile in ["constrained-baseline", "main", "high"] {
        for encoder in [X264, &format!("{X264} sliced-threads=true threads=2")] {
            let frames = encoded(PLAIN, &format!("{encoder} ! video/x-h264,profile={profile}"));
            let units: Vec<Unit> = read(&mut Units::default(), &frames)
                .into_iter()
                .collect::<Result<_, _>>()
                .unwrap();
            let follows: Vec<Option<u64>> = units.iter().map(|unit| unit.follows).collect();
            let expected: Vec<Option<u64>> = (0..40).map(|n| (n % 15 != 0).then_some(n)).collect();
            assert_eq!(follows, expected, "{profile}");
            for unit in units {
                assert_eq!((unit.sets.sps.len(), unit.sets.pps.len()), (1, 1));
                // Slices alone, each behind its length.
                assert_eq!(crate::avc::slices(unit.payload.clone()), Some(unit.payload));
            }
        }
    }
}

#[test]
fn a_picture_that_is_missing_is_noticed_until_the_next_idr() {
    let mut frames = encoded(PLAIN, X264);
    frames.remove(5);
    let read = read(&mut Units::default(), &frames);
    let missing: Vec<usize> = (0..39).filter(|n| read[*n] == Err(Refusal::Missing)).collect();
    assert_eq!(missing, (5..14).collect::<Vec<_>>());
    // In mid-stream nothing can be read before parameter sets, and nothing copied before an IDR.
    let late = self::read(&mut Units::default(), &frames[3..20]);
    assert!(
        late[..11].iter().all(|unit| *unit == Err(Refusal::Missing)),
        "{late:?}"
    );
    assert!(late[11].as_ref().is_ok_and(Unit::is_idr));
}

#[test]
fn what_does_not_fit_is_refused_in_words() {
    let refused = |pictures: &str, encoder: &str| {
        let frames = encoded(pictures, encoder);
        read(&mut Units::default(), &frames)
            .remove(0)
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        refused(&PLAIN.replace("180", "176"), X264),
        "its pictures are 320×176"
    );
    let bframes = "x264enc bframes=2 b-adapt=false key-int-max=15";
    assert_eq!(
        refused(PLAIN, bframes),
        "its pictures may be reordered (B-frames)"
    );
    assert_eq!(
        refused(PLAIN, &format!("{X264} option-string=level=42")),
        "its level 42 is above the rung's"
    );
    let full = PLAIN.replace("bt709", "1:1:5:1");
    assert_eq!(
        refused(&full, X264),
        "its colours are not those of BT.709 in limited range"
    );
    let interlaced = format!("{PLAIN},interlace-mode=interleaved");
    assert_eq!(
        refused(&interlaced, &format!("{X264} interlaced=true")),
        "its pictures are no plain progressive 8 bit 4:2:0 with square pixels"
    );
    let rich = PLAIN.replace("I420", "Y42B");
    assert_eq!(
        refused(&rich, X264),
        "its profile 122 is none of baseline, main and high"
    );
}
