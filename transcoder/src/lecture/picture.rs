//! A picture in I420 (BT.709, video range), and how drawings made in RGB are laid over it.

use tiny_skia::{Color, Pixmap, PremultipliedColorU8};

/// Its planes follow one another without padding, as GStreamer wants them when the width is a multiple of 8.
#[derive(Clone)]
pub struct Picture {
    width: usize,
    height: usize,
    data: Vec<u8>,
}

/// Pixels of a drawing that are looked at together: most of it is empty and skipped as fast as memory is compared.
const BLOCK: usize = 8;

struct Plane<'a> {
    width: usize,
    samples: &'a mut [u8],
}

impl Picture {
    pub fn black(width: usize, height: usize) -> Self {
        let luma = width * height;
        let mut data = vec![16; luma];
        data.resize(luma * 3 / 2, 128);
        Picture { width, height, data }
    }

    pub fn width(&self) -> usize {
        self.width
    }

    pub fn height(&self) -> usize {
        self.height
    }

    pub fn bytes(&self) -> &[u8] {
        &self.data
    }

    pub fn luma_mut(&mut self) -> &mut [u8] {
        self.planes().0.samples
    }

    /// Shows what another picture of the same size shows.
    pub fn copy_from(&mut self, other: &Picture) {
        self.data.copy_from_slice(&other.data);
    }

    /// Fills what lies between left, top, right and bottom, all of them even.
    pub fn fill(&mut self, [left, top, right, bottom]: [usize; 4], color: Color) {
        let color = color.premultiply().to_color_u8();
        let (luma, blue, red) = self.planes();
        let samples = [luma_of(color), blue_of(color), red_of(color)];
        for (plane, (sample, size)) in [luma, blue, red]
            .into_iter()
            .zip(samples.into_iter().zip([1, 2, 2]))
        {
            let lines = plane
                .samples
                .chunks_mut(plane.width)
                .take(bottom / size)
                .skip(top / size);
            lines.for_each(|line| line[left / size..right / size].fill(sample as u8));
        }
    }

    /// Lays a drawing over the picture. Its upper left corner must stand at an even place and the drawing within
    /// the picture.
    pub fn lay_over(&mut self, drawing: &Pixmap, left: usize, top: usize) {
        let (mut luma, mut blue, mut red) = self.planes();
        let width = drawing.width() as usize;
        let rows = drawing
            .pixels()
            .chunks(width)
            .zip(drawing.data().chunks(width * 4));
        for (row, (pixels, bytes)) in rows.enumerate() {
            let blocks = pixels.chunks(BLOCK).zip(bytes.chunks(BLOCK * 4));
            for (block, (source, bytes)) in blocks.enumerate() {
                // Compared as bytes: that is one call.
                if bytes == &[0; BLOCK * 4][..bytes.len()] {
                    continue;
                }
                let (x, y) = (left + block * BLOCK, top + row);
                luma.lay_over(x, y, source.iter(), luma_of);
                if row % 2 == 0 {
                    blue.lay_over(x / 2, y / 2, source.iter().step_by(2), blue_of);
                    red.lay_over(x / 2, y / 2, source.iter().step_by(2), red_of);
                }
            }
        }
    }

    fn planes(&mut self) -> (Plane<'_>, Plane<'_>, Plane<'_>) {
        let luma = self.width * self.height;
        let (y, chroma) = self.data.split_at_mut(luma);
        let (u, v) = chroma.split_at_mut(luma / 4);
        let plane = |width, samples| Plane { width, samples };
        (
            plane(self.width, y),
            plane(self.width / 2, u),
            plane(self.width / 2, v),
        )
    }
}

impl Plane<'_> {
    fn lay_over<'a>(
        &mut self,
        x: usize,
        y: usize,
        source: impl Iterator<Item = &'a PremultipliedColorU8>,
        sample_of: fn(PremultipliedColorU8) -> i32,
    ) {
        for (sample, &rgb) in self.samples[y * self.width + x..].iter_mut().zip(source) {
            if rgb.alpha() == 0 {
                continue;
            }
            let below = i32::from(*sample) * (255 - i32::from(rgb.alpha())) / 255;
            *sample = (below + sample_of(rgb)).clamp(0, 255) as u8;
        }
    }
}

/// BT.709 luma in video range, premultiplied as the colour is: 16 + 219/255 · (0.2126 R + 0.7152 G + 0.0722 B).
fn luma_of(rgb: PremultipliedColorU8) -> i32 {
    fixed(rgb, 16, [11966, 40254, 4064])
}

/// 128 + 224/255 · (B − Y) / 1.8556.
fn blue_of(rgb: PremultipliedColorU8) -> i32 {
    fixed(rgb, 128, [-6596, -22189, 28784])
}

/// 128 + 224/255 · (R − Y) / 1.5748.
fn red_of(rgb: PremultipliedColorU8) -> i32 {
    fixed(rgb, 128, [28784, -26145, -2639])
}

/// Weights in 1/65536.
fn fixed(rgb: PremultipliedColorU8, offset: i32, weights: [i32; 3]) -> i32 {
    let offset = offset * i32::from(rgb.alpha()) * 65536 / 255;
    let [r, g, b] = [rgb.red(), rgb.green(), rgb.blue()].map(i32::from);
    (offset + weights[0] * r + weights[1] * g + weights[2] * b + 32768) >> 16
}

#[cfg(test)]
mod tests {
    use super::*;

    fn laid_over_black(color: Color) -> [u8; 3] {
        let mut drawing = Pixmap::new(8, 4).unwrap();
        drawing.fill(color);
        let mut picture = Picture::black(16, 8);
        picture.lay_over(&drawing, 8, 4);
        assert_eq!(
            (picture.data[0], picture.data[16 * 8]),
            (16, 128),
            "outside nothing changes"
        );
        [
            picture.data[16 * 8 - 1],
            picture.data[16 * 8 + 31],
            picture.data[16 * 8 + 63],
        ]
    }

    /// The bars of BT.709 in video range.
    #[test]
    fn colours_are_bt709_in_video_range() {
        let bar = |r, g, b| laid_over_black(Color::from_rgba8(r, g, b, 255));
        assert_eq!(bar(255, 255, 255), [235, 128, 128]);
        assert_eq!(bar(0, 0, 0), [16, 128, 128]);
        assert_eq!(bar(255, 0, 0), [63, 102, 240]);
        assert_eq!(bar(0, 255, 0), [173, 42, 26]);
        assert_eq!(bar(0, 0, 255), [32, 240, 118]);
    }

    #[test]
    fn filling_and_laying_over_are_one_colour() {
        let color = Color::from_rgba8(234, 88, 12, 255);
        let mut picture = Picture::black(16, 8);
        picture.fill([8, 4, 16, 8], color);
        let filled = [
            picture.data[16 * 8 - 1],
            picture.data[16 * 8 + 31],
            picture.data[16 * 8 + 63],
        ];
        assert_eq!(filled, laid_over_black(color));
        assert_eq!(
            (picture.data[16 * 8 - 9], picture.data[16 * 4 - 1]),
            (16, 16),
            "and no further"
        );
    }

    #[test]
    fn what_is_transparent_shows_what_is_below() {
        assert_eq!(laid_over_black(Color::TRANSPARENT), [16, 128, 128]);
        let [y, ..] = laid_over_black(Color::from_rgba8(255, 255, 255, 128));
        assert!((125..=127).contains(&y), "{y}");
    }
}
