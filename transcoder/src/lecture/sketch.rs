//! Shapes and type in colour on a transparent sheet, measured in the units of a picture 720 high.

use tiny_skia::{
    Color, FillRule, LineCap, LineJoin, Paint, Path, PathBuilder, Pixmap, Rect, Stroke, Transform,
};

use super::type_face::{Anchor, TypeFace};

/// The height that all places and sizes below refer to.
pub const UNITS_HIGH: f32 = 720.0;

pub struct Faces {
    pub regular: TypeFace,
    pub bold: TypeFace,
    pub mono: TypeFace,
}

impl Faces {
    pub fn load() -> Option<Self> {
        Some(Faces {
            regular: TypeFace::new(dejavu::sans::regular())?,
            bold: TypeFace::new(dejavu::sans::bold())?,
            mono: TypeFace::new(dejavu::sans_mono::bold())?,
        })
    }
}

/// A sheet that lies somewhere in the picture, drawn on in the picture's own units.
pub struct Sketch {
    sheet: Pixmap,
    transform: Transform,
    /// Where the sheet's upper left corner lies, in pixels.
    pub left: usize,
    pub top: usize,
}

impl Sketch {
    /// A sheet over a part of a picture of `height` pixels. `None` if nothing of it is left at that size.
    pub fn over(part: Rect, height: usize) -> Option<Self> {
        let scale = height as f32 / UNITS_HIGH;
        let [left, top, right, bottom] = pixels(part, height);
        let sheet = Pixmap::new(
            u32::try_from(right - left).ok()?,
            u32::try_from(bottom - top).ok()?,
        )?;
        let transform = Transform::from_scale(scale, scale).post_translate(-(left as f32), -(top as f32));
        Some(Sketch {
            sheet,
            transform,
            left,
            top,
        })
    }

    pub fn sheet(&self) -> &Pixmap {
        &self.sheet
    }

    pub fn clear(&mut self) {
        self.sheet.fill(Color::TRANSPARENT);
    }

    pub fn fill(&mut self, path: &Path, color: Color) {
        self.sheet
            .fill_path(path, &paint(color), FillRule::Winding, self.transform, None);
    }

    pub fn stroke(&mut self, path: &Path, width: f32, color: Color) {
        let stroke = Stroke {
            width,
            line_cap: LineCap::Round,
            line_join: LineJoin::Round,
            ..Stroke::default()
        };
        self.sheet
            .stroke_path(path, &paint(color), &stroke, self.transform, None);
    }

    pub fn rect(&mut self, part: Rect, color: Color) {
        self.sheet.fill_rect(part, &paint(color), self.transform, None);
    }

    pub fn circle(&mut self, (x, y): (f32, f32), radius: f32, width: f32, color: Color) {
        if let Some(path) = PathBuilder::from_circle(x, y, radius) {
            self.stroke(&path, width, color);
        }
    }

    pub fn dot(&mut self, (x, y): (f32, f32), radius: f32, color: Color) {
        if let Some(path) = PathBuilder::from_circle(x, y, radius) {
            self.fill(&path, color);
        }
    }

    /// A line through points, at least two of them.
    pub fn curve(&mut self, points: impl IntoIterator<Item = (f32, f32)>, width: f32, color: Color) {
        let mut path = PathBuilder::new();
        for (x, y) in points {
            if path.is_empty() {
                path.move_to(x, y)
            } else {
                path.line_to(x, y)
            }
        }
        if let Some(path) = path.finish() {
            self.stroke(&path, width, color);
        }
    }

    pub fn text(&mut self, face: &TypeFace, text: &str, size: f32, (x, y): (f32, f32), color: Color) {
        if let Some(path) = face.line(text, size, x, y, Anchor::Left) {
            self.fill(&path, color);
        }
    }

    pub fn text_ending(&mut self, face: &TypeFace, text: &str, size: f32, (x, y): (f32, f32), color: Color) {
        if let Some(path) = face.line(text, size, x, y, Anchor::Right) {
            self.fill(&path, color);
        }
    }
}

/// Left, top, right and bottom of a part in a picture of `height` pixels, rounded down to even ones: chroma has half
/// the resolution.
pub fn pixels(part: Rect, height: usize) -> [usize; 4] {
    let scale = height as f32 / UNITS_HIGH;
    [part.left(), part.top(), part.right(), part.bottom()].map(|units| (units * scale) as usize / 2 * 2)
}

fn paint(color: Color) -> Paint<'static> {
    let mut paint = Paint::default();
    paint.set_color(color);
    paint
}
