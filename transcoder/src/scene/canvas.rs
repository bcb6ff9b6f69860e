//! Paints a scene: one picture of the line's size, of the pictures of its sources.
//!
//! A picture that has the size already goes through untouched. What does not change is not done again: a still slide
//! is scaled once, however lively the camera in its corner.

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_video::{
    VideoColorimetry, VideoConverter, VideoConverterConfig, VideoDitherMethod, VideoFormat, VideoFrameExt,
    VideoFrameRef, VideoInfo, VideoResamplerMethod,
};

use super::Scene;
use super::place::{Rect, places};
use crate::Error;

/// I420, without padding.
#[derive(Clone, Debug)]
pub struct Picture {
    pub buffer: gst::Buffer,
    pub width: u32,
    pub height: u32,
}

pub struct Canvas {
    info: VideoInfo,
    pool: gst::BufferPool,
    /// One for each place.
    scalers: Vec<Scaler>,
    last: Option<Painting>,
}

/// What was painted last, and of what.
struct Painting {
    /// They are held, so that another buffer never has the address of one of these.
    pictures: Vec<(Rect, gst::Buffer)>,
    canvas: gst::Buffer,
}

/// Black.
const LUMA: u8 = 16;
const CHROMA: u8 = 128;

impl Picture {
    pub fn of(sample: &gst::Sample) -> Option<Self> {
        let info = VideoInfo::from_caps(sample.caps()?).ok()?;
        Some(Picture {
            buffer: sample.buffer_owned()?,
            width: info.width(),
            height: info.height(),
        })
    }

    fn size(&self) -> (u32, u32) {
        (self.width, self.height)
    }
}

impl Canvas {
    pub fn new(width: u32, height: u32) -> Result<Self, Error> {
        let info = info((width, height))?;
        let pool = gst::BufferPool::new();
        let mut config = pool.config();
        config.set_params(Some(&info.to_caps()?), info.size() as u32, 0, 0);
        pool.set_config(config)?;
        pool.set_active(true)?;
        Ok(Canvas {
            info,
            pool,
            scalers: Vec::new(),
            last: None,
        })
    }

    /// What decoders put out for it: their sources' own size, but nothing larger than the canvas. So what waits for
    /// its slot is bounded in memory, and a picture that is larger is scaled on its decoder's thread.
    pub fn pictures(width: u32, height: u32) -> gst::Caps {
        gst::Caps::builder("video/x-raw")
            .field("format", "I420")
            .field("width", gst::IntRange::new(1, width as i32))
            .field("height", gst::IntRange::new(1, height as i32))
            .field("pixel-aspect-ratio", gst::Fraction::new(1, 1))
            .field("interlace-mode", "progressive")
            .field("colorimetry", "bt709")
            .build()
    }

    pub fn paint(&mut self, scene: &Scene<Picture>) -> Result<gst::Buffer, Error> {
        let size = (self.info.width(), self.info.height());
        if let Some(single) = scene.single().filter(|single| single.picture.size() == size) {
            return Ok(single.picture.buffer.clone());
        }
        let sizes: Vec<(u32, u32)> = scene.shown.iter().map(|shown| shown.picture.size()).collect();
        let places = places(scene.arrangement, size, &sizes);
        if let Some(last) = self.last.as_ref().filter(|last| last.is_of(&places, scene)) {
            return Ok(last.canvas.clone());
        }
        let canvas = self.paint_anew(&places, scene)?;
        let buffers = scene.shown.iter().map(|shown| shown.picture.buffer.clone());
        self.last = Some(Painting {
            pictures: places.into_iter().zip(buffers).collect(),
            canvas: canvas.clone(),
        });
        Ok(canvas)
    }

    fn paint_anew(&mut self, places: &[Rect], scene: &Scene<Picture>) -> Result<gst::Buffer, Error> {
        let mut canvas = self
            .pool
            .acquire_buffer(None)
            .map_err(|e| Error::GStreamer(e.to_string()))?;
        let writable = canvas
            .get_mut()
            .ok_or_else(|| Error::GStreamer("the canvas is shared".into()))?;
        let mut frame = VideoFrameRef::from_buffer_ref_writable(writable, &self.info)?;
        let covered = places
            .first()
            .is_some_and(|place| (place.width, place.height) == (self.info.width(), self.info.height()));
        if !covered {
            for (plane, value) in [LUMA, CHROMA, CHROMA].into_iter().enumerate() {
                frame.plane_data_mut(plane as u32)?.fill(value);
            }
        }
        let scalers = places.len().max(self.scalers.len());
        self.scalers.resize_with(scalers, Scaler::default);
        let pictures = scene.shown.iter().map(|shown| &shown.picture);
        for ((place, picture), scaler) in places.iter().zip(pictures).zip(&mut self.scalers) {
            if covered && places.len() == 1 {
                scaler.to(picture, *place)?.scale(&picture.buffer, &mut frame)?;
            } else {
                scaler.paint(picture, *place, &mut frame)?;
            }
        }
        drop(frame);
        Ok(canvas)
    }
}

impl Drop for Canvas {
    fn drop(&mut self) {
        let _ = self.pool.set_active(false);
    }
}

impl Painting {
    fn is_of(&self, places: &[Rect], scene: &Scene<Picture>) -> bool {
        let now = places.iter().zip(&scene.shown);
        self.pictures.len() == places.len()
            && self
                .pictures
                .iter()
                .zip(now)
                .all(|((place, buffer), (new_place, shown))| {
                    place == new_place && buffer.as_ptr() == shown.picture.buffer.as_ptr()
                })
    }
}

/// Brings the pictures of one place to its size, each once.
#[derive(Default)]
struct Scaler {
    scaling: Option<Scaling>,
}

struct Scaling {
    from: VideoInfo,
    to: VideoInfo,
    converter: VideoConverter,
    scaled: gst::Buffer,
    /// What `scaled` was made of.
    of: Option<gst::Buffer>,
}

impl Scaler {
    fn paint(
        &mut self,
        picture: &Picture,
        place: Rect,
        canvas: &mut VideoFrameRef<&mut gst::BufferRef>,
    ) -> Result<(), Error> {
        let size = (place.width, place.height);
        if picture.size() == size {
            self.scaling = None;
            return copy(&picture.buffer, &info(size)?, place, canvas);
        }
        copy(
            self.to(picture, place)?.scaled(&picture.buffer)?,
            &info(size)?,
            place,
            canvas,
        )
    }

    /// What scales such a picture to the size of such a place.
    fn to(&mut self, picture: &Picture, place: Rect) -> Result<&mut Scaling, Error> {
        let (from, to) = (picture.size(), (place.width, place.height));
        Ok(
            match self.scaling.take().filter(|scaling| scaling.fits(from, to)) {
                Some(scaling) => self.scaling.insert(scaling),
                None => self.scaling.insert(Scaling::new(from, to)?),
            },
        )
    }
}

impl Scaling {
    fn new(from: (u32, u32), to: (u32, u32)) -> Result<Self, Error> {
        let (from, to) = (info(from)?, info(to)?);
        let mut config = VideoConverterConfig::new();
        // With as many taps as the scale asks for, so that thin type on a slide that is made small stays legible.
        config.set_resampler_method(VideoResamplerMethod::Linear);
        config.set_dither_method(VideoDitherMethod::None);
        let converter = VideoConverter::new(&from, &to, Some(config))?;
        let scaled = gst::Buffer::with_size(to.size())?;
        Ok(Scaling {
            from,
            to,
            converter,
            scaled,
            of: None,
        })
    }

    fn fits(&self, from: (u32, u32), to: (u32, u32)) -> bool {
        (self.from.width(), self.from.height()) == from && (self.to.width(), self.to.height()) == to
    }

    fn scale(&self, picture: &gst::Buffer, to: &mut VideoFrameRef<&mut gst::BufferRef>) -> Result<(), Error> {
        let from = VideoFrameRef::from_buffer_ref_readable(picture, &self.from)?;
        self.converter.frame_ref(&from, to);
        Ok(())
    }

    /// The same, kept for when the picture is repeated.
    fn scaled(&mut self, picture: &gst::Buffer) -> Result<&gst::Buffer, Error> {
        if self.of.as_ref().is_none_or(|of| of.as_ptr() != picture.as_ptr()) {
            let from = VideoFrameRef::from_buffer_ref_readable(picture, &self.from)?;
            let mut to = VideoFrameRef::from_buffer_ref_writable(self.scaled.make_mut(), &self.to)?;
            self.converter.frame_ref(&from, &mut to);
            self.of = Some(picture.clone());
        }
        Ok(&self.scaled)
    }
}

/// Row by row.
fn copy(
    picture: &gst::Buffer,
    info: &VideoInfo,
    place: Rect,
    canvas: &mut VideoFrameRef<&mut gst::BufferRef>,
) -> Result<(), Error> {
    let from = VideoFrameRef::from_buffer_ref_readable(picture, info)?;
    for plane in 0..3 {
        // Chroma has half of each side, and every side is even.
        let half = |side: u32| {
            if plane == 0 {
                side as usize
            } else {
                side as usize / 2
            }
        };
        let (from_stride, to_stride) = (
            from.plane_stride()[plane as usize] as usize,
            canvas.plane_stride()[plane as usize] as usize,
        );
        let (left, width) = (half(place.x), half(place.width));
        let rows = from.plane_data(plane)?.chunks(from_stride);
        let lines = canvas
            .plane_data_mut(plane)?
            .chunks_mut(to_stride)
            .skip(half(place.y));
        for (row, line) in rows.zip(lines).take(half(place.height)) {
            line[left..left + width].copy_from_slice(&row[..width]);
        }
    }
    Ok(())
}

fn info((width, height): (u32, u32)) -> Result<VideoInfo, Error> {
    let colours: VideoColorimetry = "bt709".parse()?;
    Ok(VideoInfo::builder(VideoFormat::I420, width, height)
        .colorimetry(&colours)
        .build()?)
}

#[cfg(test)]
mod tests;
