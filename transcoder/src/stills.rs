//! The stills: of each segment one small JPEG, made beside the ladder.
//!
//! It shows the slot in the middle of its segment, so that no moment of the segment is further from it than half a
//! segment. One that was missed (the encoder was just respawned) shows the first slot after the middle instead. Each
//! halving of the canvas averages, so that a slide's title stays legible. Nothing waits for a still, and a line whose
//! stills fail goes on without.

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app::{AppSink, AppSrc};
use timeline::{Frame, Grid, MediaTime, Span, Stills, TrackId};
use tokio::sync::mpsc;

use crate::encode::{Encoded, Ladder, clock_time, each_sample, named, payload, running_time};
use crate::{Config, Error};

/// As wide as a preview is shown beside a seek bar: the 28 columns of the picture clock are nine pixels each.
const WIDTH: u32 = 256;
const HEIGHT: u32 = 144;

/// Of 100: where thin type is still clean. A slide takes 5 to 8 kB.
const QUALITY: u32 = 80;

/// Pictures that may wait for the encoder. It is given one a segment and needs milliseconds; a canvas has megabytes.
const WAITING: u32 = 2;

pub struct Shutter {
    pipeline: gst::Pipeline,
    source: AppSrc,
    grid: Grid,
    wanted: Wanted,
}

impl Shutter {
    /// `first`: the first segment whose still is not on the line yet.
    pub fn start(config: &Config, grid: Grid, first: u64, out: mpsc::Sender<Encoded>) -> Result<Self, Error> {
        let pipeline = gst::parse::launch(&description(config))?
            .downcast::<gst::Pipeline>()
            .map_err(|_| Error::GStreamer("the stills are no pipeline".into()))?;
        stills_out(&named(&pipeline, "out")?, stills(config).id, out);
        log_errors(&pipeline)?;
        let shutter = Shutter {
            source: named(&pipeline, "in")?,
            pipeline,
            grid,
            wanted: Wanted { grid, next: first },
        };
        shutter.pipeline.set_state(gst::State::Playing)?;
        Ok(shutter)
    }

    /// Takes the picture of a slot, if it is to be a still.
    pub fn picture(&mut self, slot: i64, canvas: &gst::Buffer) {
        if !self.wanted.takes(slot) {
            return;
        }
        let mut buffer = canvas.copy();
        if let Some(buffer) = buffer.get_mut() {
            buffer.set_pts(clock_time(self.grid.slot_start(slot)));
            buffer.set_dts(None);
        }
        // Stills that failed said so.
        let _ = self.source.push_buffer(buffer);
    }

    /// Nothing follows: what is held is put out, and then [`Encoded::Finished`].
    pub fn finish(&self) {
        let _ = self.source.end_of_stream();
    }
}

impl Drop for Shutter {
    fn drop(&mut self) {
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}

/// As the line announces them: behind the rungs and the sound.
pub fn stills(config: &Config) -> Stills {
    Stills {
        id: TrackId(config.rungs.len() as u32 + 2),
        width: WIDTH,
        height: HEIGHT,
    }
}

/// Which slots become stills.
struct Wanted {
    grid: Grid,
    /// The next segment that has none.
    next: u64,
}

impl Wanted {
    fn takes(&mut self, slot: i64) -> bool {
        let at = self.grid.slot_start(slot);
        let msn = self.grid.msn(at);
        let takes = msn >= self.next && at >= middle(self.grid, msn);
        if takes {
            self.next = msn + 1;
        }
        takes
    }
}

fn middle(grid: Grid, msn: u64) -> MediaTime {
    grid.segment_start(msn) + Span::from_ticks(grid.segment().ticks() / 2)
}

/// Halved until it is nearly there: of two pixels for one, bilinear scaling looks at both. GStreamer 1.22 has filters
/// that look at more, but they tint the picture. JFIF means full range and BT.601, whatever the canvas is.
fn description(config: &Config) -> String {
    let (mut width, mut height) = config.canvas();
    let mut halves = String::new();
    while width / 2 >= WIDTH {
        (width, height) = (width / 2, height / 2);
        halves += &scale(width, height);
    }
    format!(
        "appsrc name=in format=time max-buffers={WAITING} max-bytes=0 max-time=0 leaky-type=upstream \
         caps=\"{},framerate=0/1\" ! {halves} {} videoconvert dither=none ! \
         video/x-raw,format=I420,colorimetry=1:4:0:0 ! \
         jpegenc quality={QUALITY} ! appsink name=out sync=false async=false",
        Ladder::canvas(config),
        scale(WIDTH, HEIGHT),
    )
}

fn scale(width: u32, height: u32) -> String {
    format!(
        "videoscale method=bilinear add-borders=false ! \
         video/x-raw,width={width},height={height},pixel-aspect-ratio=1/1 ! "
    )
}

fn stills_out(sink: &AppSink, track: TrackId, out: mpsc::Sender<Encoded>) {
    each_sample(sink, out, move |sample| {
        let still = sample.buffer().and_then(|buffer| {
            Some(Frame {
                track,
                at: running_time(sample, buffer)?,
                keyframe: true,
                payload: payload(buffer)?,
            })
        });
        Ok(still.map(Encoded::Frame).into_iter().collect())
    });
}

fn log_errors(pipeline: &gst::Pipeline) -> Result<(), Error> {
    let bus = pipeline.bus().ok_or_else(|| Error::GStreamer("no bus".into()))?;
    bus.set_sync_handler(|_, message| {
        if let gst::MessageView::Error(e) = message.view() {
            crate::child::log(format_args!("there are no more stills: {}", e.error()));
        }
        gst::BusSyncReply::Drop
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lecture::picture_clock;
    use bytes::Bytes;
    use gstreamer_video::{VideoFrameRef, VideoInfo};
    use proptest::prelude::*;

    proptest! {
        /// Whenever encoders die: a segment gets no second still, and none if its second half was encoded by one
        /// that had made its still.
        #[test]
        fn a_segment_has_one_still_however_often_the_encoder_is_respawned(
            deaths in prop::collection::vec(0i64..960, 0..6),
        ) {
            let grid = Grid::default();
            let mut wanted = Wanted { grid, next: 0 };
            let mut taken = Vec::new();
            for slot in 0..960 {
                if deaths.contains(&slot) {
                    wanted = Wanted { grid, next: wanted.next };
                }
                taken.extend(wanted.takes(slot).then_some(slot));
            }
            prop_assert_eq!(taken, (0..10).map(|n| n * 96 + 48).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_still_that_was_missed_is_made_of_the_next_slot() {
        let wanted = |next| Wanted {
            grid: Grid::default(),
            next,
        };
        assert!(wanted(0).takes(60));
        assert!(!wanted(1).takes(60));
        assert!(!wanted(0).takes(96 + 47));
    }

    /// A canvas with the clock of its capture drawn in, and words on it.
    fn canvas(config: &Config, unix_millis: i64) -> gst::Buffer {
        let (width, height) = config.canvas();
        let slate = crate::slate::draw(&config.slate, config, &Ladder::canvas(config)).unwrap();
        let mut bytes = slate.map_readable().unwrap().to_vec();
        let (width, height) = (width as usize, height as usize);
        picture_clock::draw(&mut bytes, width, width, height, unix_millis);
        gst::Buffer::from_mut_slice(bytes)
    }

    async fn make(config: &Config, slots: impl Iterator<Item = (i64, gst::Buffer)>) -> Vec<Frame> {
        gst::init().unwrap();
        let (out, mut encoded) = mpsc::channel(64);
        let mut shutter = Shutter::start(config, Grid::default(), 0, out).unwrap();
        let mut stills = Vec::new();
        for (slot, canvas) in slots {
            shutter.picture(slot, &canvas);
            if slot % 96 == 48 {
                let Some(Encoded::Frame(still)) = encoded.recv().await else {
                    panic!("no still");
                };
                stills.push(still);
            }
        }
        shutter.finish();
        assert!(matches!(encoded.recv().await, Some(Encoded::Finished)));
        stills
    }

    /// The pixels of a JPEG.
    fn decode(jpeg: &Bytes) -> Vec<[u8; 3]> {
        let pipeline = gst::parse::launch(&format!(
            "appsrc name=in caps=image/jpeg ! jpegdec ! videoconvert dither=none ! \
             video/x-raw,format=RGB,width={WIDTH},height={HEIGHT} ! appsink name=out sync=false"
        ));
        let pipeline = pipeline.unwrap().downcast::<gst::Pipeline>().unwrap();
        let (source, sink): (AppSrc, AppSink) =
            (named(&pipeline, "in").unwrap(), named(&pipeline, "out").unwrap());
        pipeline.set_state(gst::State::Playing).unwrap();
        source.push_buffer(gst::Buffer::from_slice(jpeg.clone())).unwrap();
        source.end_of_stream().unwrap();
        let sample = sink.pull_sample().unwrap();
        let info = VideoInfo::from_caps(sample.caps().unwrap()).unwrap();
        let frame = VideoFrameRef::from_buffer_ref_readable(sample.buffer().unwrap(), &info).unwrap();
        let pixels = frame.plane_data(0).unwrap().chunks_exact(3);
        let pixels = pixels.map(|pixel| [pixel[0], pixel[1], pixel[2]]).collect();
        pipeline.set_state(gst::State::Null).unwrap();
        pixels
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_clock_of_the_picture_can_be_read_from_the_still() {
        gst::init().unwrap();
        for height in [720, 1080] {
            let mut config = Config::default();
            config.rungs[0].height = height;
            let shown = |slot: i64| 1_800_000_000_000 + slot * 100 / 3;
            let slots = (0..200).map(|slot| (slot, canvas(&config, shown(slot))));
            let stills = make(&config, slots).await;
            assert_eq!(
                stills
                    .iter()
                    .map(|still| still.at.ticks() / 3000)
                    .collect::<Vec<_>>(),
                [48, 144]
            );
            for still in &stills {
                let luma: Vec<u8> = decode(&still.payload).iter().map(|pixel| pixel[1]).collect();
                let width = WIDTH as usize;
                let clock = picture_clock::read(&luma, width, width, HEIGHT as usize);
                assert_eq!(clock, Some(shown(still.at.ticks() / 3000)));
                let size = still.payload.len();
                println!("{height}p: {size} bytes");
                assert!((2_000..12_000).contains(&size), "{size} bytes");
            }
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn colours_stay_what_they_are() {
        gst::init().unwrap();
        let config = Config::default();
        let (width, height) = config.canvas();
        let (luma, chroma) = ((width * height) as usize, (width * height / 4) as usize);
        // BT.709, limited range: black, white, paper, ink, orange.
        for ([y, u, v], rgb) in [
            ([16, 128, 128], [0, 0, 0]),
            ([235, 128, 128], [255, 255, 255]),
            ([227, 125, 128], [246, 246, 240]),
            ([32, 135, 126], [14, 19, 33]),
            ([111, 83, 202], [243, 80, 15]),
        ] {
            let planes = [vec![y; luma], vec![u; chroma], vec![v; chroma]].concat();
            let stills = make(
                &config,
                std::iter::once((48, gst::Buffer::from_mut_slice(planes))),
            )
            .await;
            let shown = decode(&stills[0].payload)[9_999];
            let off = shown.iter().zip(&rgb).map(|(a, b)| a.abs_diff(*b)).max();
            assert!(off < Some(8), "{rgb:?} became {shown:?}");
        }
    }

    /// Not a test: prints what a still costs.
    #[tokio::test(flavor = "multi_thread")]
    #[ignore = "a measurement"]
    async fn the_cost_of_a_still() {
        gst::init().unwrap();
        for height in [720, 1080] {
            let mut config = Config::default();
            config.rungs[0].height = height;
            let picture = canvas(&config, 1_800_000_000_000);
            let before = crate::report::cpu_ms().unwrap();
            let slots = (0..200).map(|n| (n * 96 + 48, picture.clone()));
            let stills = make(&config, slots).await;
            let each = (crate::report::cpu_ms().unwrap() - before) as f64 / stills.len() as f64;
            println!(
                "{height}p: {each:.1} ms of processor time, {:.2} % of one for one in 3.2 s",
                each / 32.0
            );
        }
    }
}
