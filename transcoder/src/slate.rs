//! What stands in for the picture while nobody is heard, and before the first one. Drawn once.

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app::{AppSink, AppSrc};
use tiny_skia::{Color, FillRule, Paint, Pixmap, Transform};

use crate::lecture::type_face::{Anchor, TypeFace};
use crate::{Config, Error};

/// Converting takes milliseconds; a machine that needs longer than this converts nothing at all.
const PATIENCE: gst::ClockTime = gst::ClockTime::from_seconds(30);

/// The height of the type, of the height of the picture.
const TYPE: f32 = 0.06;
/// No line of type is wider than this part of the picture.
const WIDEST: f32 = 0.9;

/// A canvas with the slate's words on it.
pub fn draw(words: &str, config: &Config, canvas: &gst::Caps) -> Result<gst::Buffer, Error> {
    let (width, height) = config.canvas();
    let pixels = sketch(words, width, height)
        .ok_or_else(|| Error::Config(format!("no slate of {width}x{height} can be drawn")))?;
    to_canvas(pixels, width, height, canvas)
}

fn sketch(words: &str, width: u32, height: u32) -> Option<Pixmap> {
    let mut pixels = Pixmap::new(width, height)?;
    pixels.fill(Color::from_rgba8(16, 24, 32, 255));
    let (width, height) = (width as f32, height as f32);
    let face = TypeFace::new(dejavu::sans::regular())?;
    let size = height * TYPE;
    let size = size * (width * WIDEST / face.width(words, size)).min(1.0);
    let left = (width - face.width(words, size)) / 2.0;
    // A slate without words is plain.
    if let Some(line) = face.line(words, size, left, height / 2.0 + size / 3.0, Anchor::Left) {
        let mut paint = Paint::default();
        paint.set_color_rgba8(230, 235, 240, 255);
        pixels.fill_path(&line, &paint, FillRule::Winding, Transform::identity(), None);
    }
    Some(pixels)
}

fn to_canvas(pixels: Pixmap, width: u32, height: u32, canvas: &gst::Caps) -> Result<gst::Buffer, Error> {
    let description = format!(
        "appsrc name=in format=time caps=video/x-raw,format=RGBA,width={width},height={height},framerate=30/1 ! \
         videoconvert ! {canvas} ! appsink name=out sync=false"
    );
    let pipeline = gst::parse::launch(&description)?
        .downcast::<gst::Pipeline>()
        .map_err(|_| Error::GStreamer("the slate is no pipeline".into()))?;
    let (source, sink) = (pipeline.by_name("in"), pipeline.by_name("out"));
    pipeline.set_state(gst::State::Playing)?;
    if let Some(source) = source.and_downcast_ref::<AppSrc>() {
        // Whether it went through is seen at the other end.
        let _ = source.push_buffer(gst::Buffer::from_mut_slice(pixels.take()));
        let _ = source.end_of_stream();
    }
    let sample = sink
        .and_downcast_ref::<AppSink>()
        .and_then(|sink| sink.try_pull_sample(PATIENCE));
    let _ = pipeline.set_state(gst::State::Null);
    sample
        .and_then(|sample| sample.buffer_owned())
        .ok_or_else(|| Error::GStreamer("the slate was not drawn".into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::Ladder;

    #[test]
    fn the_slate_is_a_canvas_with_words_in_the_middle() {
        gst::init().unwrap();
        let config = Config::default();
        let slate = draw(&config.slate, &config, &Ladder::canvas(&config)).unwrap();
        let luma = slate.map_readable().unwrap();
        assert_eq!(luma.len(), 1280 * 720 * 3 / 2);
        let bright = |rows: std::ops::Range<usize>| {
            luma[rows.start * 1280..rows.end * 1280]
                .iter()
                .filter(|y| **y > 180)
                .count()
        };
        assert!(bright(320..400) > 1000, "words");
        assert_eq!(bright(0..320) + bright(400..720), 0, "and nothing else");
    }

    #[test]
    fn words_of_any_length_are_drawn() {
        assert!(sketch("", 426, 240).is_some());
        assert!(sketch(&"La clase continuará en breve. ".repeat(6), 426, 240).is_some());
    }
}
