//! The picture of the lecture at a moment: a slide with its wave being drawn, the time, the flash and the picture
//! clock. It depends on the moment alone, so any two publishers show the same.

use std::f32::consts::TAU;

use timeline::{Span, WallTime};
use tiny_skia::{Color, Rect};

use super::picture::Picture;
use super::picture_clock;
use super::sketch::{Faces, Sketch, UNITS_HIGH, pixels};
use super::slides::{SLIDES, Slide};

const NANOS_PER_SECOND: i64 = 1_000_000_000;

/// How long a slide stands.
const SLIDE_SECONDS: i64 = 15;

/// How often the first circle turns.
const TURNS_PER_SECOND: f32 = 0.25;

/// The radius of a circle of height 1, unless the circles together would reach too far.
const RADIUS: f32 = 100.0;
const REACH: f32 = 165.0;
/// Where the circles and the wave stand, all on one axis.
const AXIS: f32 = 508.0;
const CENTER: (f32, f32) = (540.0, AXIS);
const WAVE_LEFT: f32 = 712.0;
const WAVE_RIGHT: f32 = 1216.0;

/// How fast the wave runs to the right, per second.
const WAVE_SPEED: f32 = 96.0;

/// The wave's points lie this far apart.
const WAVE_STEP: f32 = 3.0;

const SIDEBAR: f32 = 320.0;
/// The left quarter, from 30 to 50 % of the height.
const FLASH: [f32; 4] = [0.0, 216.0, SIDEBAR, 360.0];
const FIGURE: [f32; 4] = [352.0, 332.0, 1248.0, 684.0];
const TIME: [f32; 4] = [24.0, 392.0, 304.0, 490.0];

pub struct Scene {
    faces: Faces,
    frame: Span,
    slides: Vec<Picture>,
    figure: Sketch,
    time: Sketch,
}

impl Scene {
    /// `None` if the picture is too small to show anything.
    pub fn new(width: usize, height: usize, frame: Span) -> Option<Self> {
        let faces = Faces::load()?;
        let slides: Option<Vec<_>> = (0..SLIDES.len())
            .map(|n| still(&faces, width, height, n))
            .collect();
        Some(Scene {
            slides: slides?,
            figure: Sketch::over(rect(FIGURE)?, height)?,
            time: Sketch::over(rect(TIME)?, height)?,
            faces,
            frame,
        })
    }

    /// Draws the picture that is captured at `wall`.
    pub fn draw(&mut self, picture: &mut Picture, wall: WallTime) {
        let slide = wall.unix_nanos().div_euclid(SLIDE_SECONDS * NANOS_PER_SECOND) as usize % SLIDES.len();
        picture.copy_from(&self.slides[slide]);

        self.figure.clear();
        draw_wave(&mut self.figure, &SLIDES[slide], wall);
        picture.lay_over(self.figure.sheet(), self.figure.left, self.figure.top);

        self.time.clear();
        draw_time(&mut self.time, &self.faces, wall);
        picture.lay_over(self.time.sheet(), self.time.left, self.time.top);

        let (width, height) = (picture.width(), picture.height());
        if is_flash(wall, self.frame) {
            let even = |pixels: usize| pixels / 2 * 2;
            let flash = [0, even(height * 3 / 10), even(width / 4), even(height / 2)];
            picture.fill(flash, Color::WHITE);
        }
        picture_clock::draw(picture.luma_mut(), width, width, height, wall.unix_millis());
    }
}

/// For the first frame and a half of each second: it can be neither missed nor seen three times.
fn is_flash(wall: WallTime, frame: Span) -> bool {
    wall.unix_nanos().rem_euclid(NANOS_PER_SECOND) < frame.nanos() * 3 / 2
}

/// All of a slide that does not move.
fn still(faces: &Faces, width: usize, height: usize, number: usize) -> Option<Picture> {
    let mut picture = Picture::black(width, height);
    let units_wide = width as f32 * UNITS_HIGH / height as f32;
    let under_clock = UNITS_HIGH * picture_clock::HEIGHT as f32;
    for (part, color) in [
        ([0.0, 0.0, units_wide, UNITS_HIGH], paper()),
        ([0.0, 0.0, SIDEBAR, UNITS_HIGH], night()),
        (FLASH, midnight()),
        (FIGURE, chalk()),
        // The clock's chroma is neutral.
        ([0.0, 0.0, units_wide, under_clock], Color::BLACK),
    ] {
        picture.fill(pixels(rect(part)?, height), color);
    }
    let mut sketch = Sketch::over(rect([0.0, 0.0, units_wide, UNITS_HIGH])?, height)?;
    draw_sidebar(&mut sketch, faces, number)?;
    draw_text(&mut sketch, faces, &SLIDES[number])?;
    draw_axes(&mut sketch)?;
    picture.lay_over(sketch.sheet(), 0, 0);
    Some(picture)
}

fn draw_sidebar(sketch: &mut Sketch, faces: &Faces, number: usize) -> Option<()> {
    sketch.rect(Rect::from_xywh(28.0, 86.0, 5.0, 44.0)?, orange());
    sketch.text(&faces.bold, "LECTERN", 21.0, (46.0, 104.0), snow());
    sketch.text(&faces.regular, "a synthetic lecture", 15.0, (46.0, 127.0), fog());
    sketch.text(&faces.bold, "Sums of circles", 27.0, (28.0, 182.0), snow());
    sketch.text(
        &faces.regular,
        "flash and beep: each whole second",
        13.0,
        (28.0, 294.0),
        steel(),
    );
    sketch.text(&faces.regular, "Captured at (UTC)", 15.0, (28.0, 388.0), fog());
    for (line, text) in [
        "The bars above are the same time,",
        "for machines: Unix milliseconds",
        "in 48 bits, and a checksum.",
    ]
    .iter()
    .enumerate()
    {
        sketch.text(
            &faces.regular,
            text,
            14.0,
            (28.0, 528.0 + 21.0 * line as f32),
            fog(),
        );
    }
    let label = format!("Slide {} of {}", number + 1, SLIDES.len());
    sketch.text(&faces.regular, &label, 15.0, (28.0, 652.0), snow());
    for n in 0..SLIDES.len() {
        let color = if n == number { orange() } else { dusk() };
        sketch.dot((33.0 + 22.0 * n as f32, 674.0), 5.0, color);
    }
    Some(())
}

fn draw_text(sketch: &mut Sketch, faces: &Faces, slide: &Slide) -> Option<()> {
    sketch.text(&faces.bold, slide.title, 42.0, (368.0, 132.0), night());
    sketch.rect(Rect::from_xywh(370.0, 152.0, 72.0, 5.0)?, orange());
    for (n, point) in slide.points.iter().enumerate() {
        let y = 206.0 + 42.0 * n as f32;
        sketch.dot((378.0, y - 8.0), 4.5, orange());
        sketch.text(&faces.regular, point, 25.0, (400.0, y), ink());
    }
    sketch.text(&faces.regular, slide.formula, 20.0, (376.0, 666.0), steel());
    Some(())
}

fn draw_axes(sketch: &mut Sketch) -> Option<()> {
    let grid = Color::from_rgba8(205, 212, 222, 255);
    sketch.curve([(376.0, AXIS), (WAVE_RIGHT, AXIS)], 1.5, grid);
    sketch.curve([(CENTER.0, AXIS - 150.0), (CENTER.0, AXIS + 130.0)], 1.5, grid);
    sketch.curve([(WAVE_LEFT, AXIS - 150.0), (WAVE_LEFT, AXIS + 130.0)], 1.5, grid);
    Some(())
}

/// The circles, each riding on the one before, and the height of the last one's point as it runs to the right.
fn draw_wave(sketch: &mut Sketch, slide: &Slide, wall: WallTime) {
    let circles = slide.wave.circles();
    let reach: f32 = circles.iter().map(|c| c.radius.abs()).sum();
    let unit = RADIUS.min(REACH / reach);
    // Turns since a whole cycle, so that the angle stays exact in f32 for any date.
    let cycle = (NANOS_PER_SECOND as f32 / TURNS_PER_SECOND) as i64;
    let turn = wall.unix_nanos().rem_euclid(cycle) as f32 / cycle as f32;

    let mut tip = CENTER;
    for circle in &circles {
        let angle = TAU * turn * circle.turns;
        sketch.circle(
            tip,
            circle.radius.abs() * unit,
            1.5,
            Color::from_rgba8(148, 163, 184, 255),
        );
        let next = (
            tip.0 + circle.radius * unit * angle.cos(),
            tip.1 - circle.radius * unit * angle.sin(),
        );
        sketch.curve([tip, next], 2.0, steel());
        tip = next;
    }
    let height = |turn: f32| -> f32 {
        circles
            .iter()
            .map(|c| c.radius * unit * (TAU * turn * c.turns).sin())
            .sum()
    };
    let steps = ((WAVE_RIGHT - WAVE_LEFT) / WAVE_STEP) as u32;
    let wave = (0..=steps).map(|step| {
        let right = step as f32 * WAVE_STEP;
        (
            WAVE_LEFT + right,
            AXIS - height(turn - right / WAVE_SPEED * TURNS_PER_SECOND),
        )
    });
    sketch.curve(wave, 4.0, orange());
    sketch.curve(
        [tip, (WAVE_LEFT, tip.1)],
        1.5,
        Color::from_rgba8(234, 88, 12, 140),
    );
    sketch.dot(tip, 7.0, night());
    sketch.dot((WAVE_LEFT, tip.1), 7.0, orange());
}

/// The time of day in UTC, and how far the second has come.
fn draw_time(sketch: &mut Sketch, faces: &Faces, wall: WallTime) {
    let ms = wall.unix_millis().rem_euclid(86_400_000);
    let (hours, minutes, seconds, ms) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60, ms % 1000);
    sketch.text(
        &faces.mono,
        &format!("{hours:02}:{minutes:02}:{seconds:02}"),
        40.0,
        (26.0, 436.0),
        snow(),
    );
    sketch.text_ending(&faces.mono, &format!(".{ms:03}"), 27.0, (292.0, 436.0), orange());
    let bar = |part: f32| Rect::from_xywh(28.0, 458.0, 264.0 * part, 6.0);
    if let Some(whole) = bar(1.0) {
        sketch.rect(whole, dusk());
    }
    // Of nothing no bar can be drawn.
    if let Some(part) = bar(ms as f32 / 1000.0).filter(|_| ms > 0) {
        sketch.rect(part, orange());
    }
}

fn rect([left, top, right, bottom]: [f32; 4]) -> Option<Rect> {
    Rect::from_ltrb(left, top, right, bottom)
}

fn night() -> Color {
    Color::from_rgba8(15, 23, 42, 255)
}

fn midnight() -> Color {
    Color::from_rgba8(8, 13, 27, 255)
}

fn dusk() -> Color {
    Color::from_rgba8(51, 65, 85, 255)
}

fn steel() -> Color {
    Color::from_rgba8(71, 85, 105, 255)
}

fn fog() -> Color {
    Color::from_rgba8(148, 163, 184, 255)
}

fn snow() -> Color {
    Color::from_rgba8(241, 245, 249, 255)
}

fn paper() -> Color {
    Color::from_rgba8(248, 246, 240, 255)
}

fn chalk() -> Color {
    Color::from_rgba8(255, 255, 255, 255)
}

fn ink() -> Color {
    Color::from_rgba8(30, 41, 59, 255)
}

fn orange() -> Color {
    Color::from_rgba8(234, 88, 12, 255)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: Span = Span::from_ticks(3_000);

    fn drawn(wall: WallTime) -> Picture {
        let mut picture = Picture::black(640, 360);
        Scene::new(640, 360, FRAME).unwrap().draw(&mut picture, wall);
        picture
    }

    /// Mean luma of the place of the flash.
    fn flash(picture: &Picture) -> f64 {
        let lines = picture.bytes().chunks(640).skip(108).take(72);
        let sum: u64 = lines.flat_map(|line| &line[..160]).map(|&y| u64::from(y)).sum();
        sum as f64 / f64::from(160 * 72)
    }

    #[test]
    fn the_picture_carries_its_own_time() {
        let wall = WallTime::from_unix_nanos(1_760_000_000_123_999_999);
        let picture = drawn(wall);
        assert_eq!(
            picture_clock::read(picture.bytes(), 640, 640, 360),
            Some(1_760_000_000_123)
        );
    }

    #[test]
    fn the_flash_stands_for_a_frame_and_a_half() {
        let at = |ms: i64| drawn(WallTime::from_unix_millis(1_760_000_000_000 + ms));
        assert_eq!(flash(&at(0)), 235.0);
        assert_eq!(flash(&at(49)), 235.0);
        assert!(flash(&at(50)) < 40.0);
        assert!(flash(&at(999)) < 40.0);
        for offset in 0..33 {
            let seen =
                (0..30).filter(|n| is_flash(WallTime::from_unix_millis(offset + n * 1000 / 30), FRAME));
            assert!((1..=2).contains(&seen.count()));
        }
    }

    #[test]
    fn from_frame_to_frame_something_moves() {
        let a = drawn(WallTime::from_unix_millis(1_760_000_000_500));
        let b = drawn(WallTime::from_unix_millis(1_760_000_000_533));
        let figure = |p: &Picture| p.bytes()[640 * 180..640 * 340].to_vec();
        assert_ne!(figure(&a), figure(&b));
    }

    #[test]
    fn every_character_is_in_the_face() {
        let face = ttf_parser::Face::parse(dejavu::sans::regular(), 0).unwrap();
        for slide in &SLIDES {
            for c in slide
                .formula
                .chars()
                .chain(slide.points.concat().chars())
                .chain(slide.title.chars())
            {
                assert!(face.glyph_index(c).is_some(), "{c}");
            }
        }
    }
}
