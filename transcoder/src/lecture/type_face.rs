//! Text as outlines: lines of type that are filled like any other shape.

use tiny_skia::{Path, PathBuilder};
use ttf_parser::{Face, OutlineBuilder};

pub struct TypeFace(Face<'static>);

#[derive(Clone, Copy)]
pub enum Anchor {
    Left,
    Right,
}

impl TypeFace {
    /// `None` if the bytes are not a font.
    pub fn new(font: &'static [u8]) -> Option<Self> {
        Face::parse(font, 0).ok().map(TypeFace)
    }

    /// The outline of one line of text whose baseline begins (or ends) at (`x`, `y`); `None` if nothing of it is
    /// visible. `size` is the em in pixels.
    pub fn line(&self, text: &str, size: f32, x: f32, y: f32, anchor: Anchor) -> Option<Path> {
        let scale = size / f32::from(self.0.units_per_em());
        let start = match anchor {
            Anchor::Left => x,
            Anchor::Right => x - self.width(text, size),
        };
        let mut pen = Pen {
            path: PathBuilder::new(),
            scale,
            x: start,
            y,
        };
        for c in text.chars() {
            // A character that the face lacks takes the face's own box for that.
            let glyph = self.0.glyph_index(c).unwrap_or_default();
            self.0.outline_glyph(glyph, &mut pen);
            pen.x += self.advance(c) * scale;
        }
        pen.path.finish()
    }

    pub fn width(&self, text: &str, size: f32) -> f32 {
        let units: f32 = text.chars().map(|c| self.advance(c)).sum();
        units * size / f32::from(self.0.units_per_em())
    }

    fn advance(&self, c: char) -> f32 {
        let glyph = self.0.glyph_index(c).unwrap_or_default();
        f32::from(self.0.glyph_hor_advance(glyph).unwrap_or_default())
    }
}

/// Fonts draw upwards, pictures downwards.
struct Pen {
    path: PathBuilder,
    scale: f32,
    x: f32,
    y: f32,
}

impl Pen {
    fn at(&self, x: f32, y: f32) -> (f32, f32) {
        (self.x + x * self.scale, self.y - y * self.scale)
    }
}

impl OutlineBuilder for Pen {
    fn move_to(&mut self, x: f32, y: f32) {
        let (x, y) = self.at(x, y);
        self.path.move_to(x, y);
    }

    fn line_to(&mut self, x: f32, y: f32) {
        let (x, y) = self.at(x, y);
        self.path.line_to(x, y);
    }

    fn quad_to(&mut self, x1: f32, y1: f32, x: f32, y: f32) {
        let ((x1, y1), (x, y)) = (self.at(x1, y1), self.at(x, y));
        self.path.quad_to(x1, y1, x, y);
    }

    fn curve_to(&mut self, x1: f32, y1: f32, x2: f32, y2: f32, x: f32, y: f32) {
        let ((x1, y1), (x2, y2), (x, y)) = (self.at(x1, y1), self.at(x2, y2), self.at(x, y));
        self.path.cubic_to(x1, y1, x2, y2, x, y);
    }

    fn close(&mut self) {
        self.path.close();
    }
}
