//! Where pictures stand on the canvas: whole, never stretched, on even pixels as 4:2:0 wants them.

use timeline::Arrangement;

/// In pixels of the canvas, all even.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rect {
    pub x: u32,
    pub y: u32,
    pub width: u32,
    pub height: u32,
}

/// The inset's width and greatest height, of the canvas. 16:9 is a quarter of each; what is less wide may be higher.
const INSET: (f64, f64) = (0.25, 0.4);
/// Between the inset and the edges of the canvas, and between pictures side by side: of the canvas's height.
const MARGIN: f64 = 0.025;
const GAP: f64 = 0.01;

/// A place for each of `pictures` (width and height, the most important first). Later ones stand on earlier ones.
pub fn places(arrangement: Arrangement, canvas: (u32, u32), pictures: &[(u32, u32)]) -> Vec<Rect> {
    let whole = Rect {
        x: 0,
        y: 0,
        width: canvas.0,
        height: canvas.1,
    };
    match arrangement {
        Arrangement::Auto | Arrangement::Solo => pictures.iter().map(|size| centred(*size, whole)).collect(),
        Arrangement::PictureInPicture => {
            let background = pictures.iter().take(1).map(|size| centred(*size, whole));
            let insets = pictures.iter().skip(1).map(|size| inset(*size, whole));
            background.chain(insets).collect()
        }
        Arrangement::SideBySide => {
            let tiles = tiles(pictures.len() as u32, whole);
            pictures
                .iter()
                .zip(tiles)
                .map(|(size, tile)| centred(*size, tile))
                .collect()
        }
    }
}

fn inset(size: (u32, u32), canvas: Rect) -> Rect {
    let part = |whole: u32, part: f64| even(f64::from(whole) * part);
    let room = (part(canvas.width, INSET.0), part(canvas.height, INSET.1));
    let (width, height) = fitted(size, room);
    let margin = part(canvas.height, MARGIN);
    Rect {
        x: canvas.width - width - margin,
        y: canvas.height - height - margin,
        width,
        height,
    }
}

/// Two share the width, more stand in rows of two; a row that is not full stands in the middle.
fn tiles(count: u32, canvas: Rect) -> Vec<Rect> {
    let columns = count.clamp(1, 2);
    let rows = count.div_ceil(columns).max(1);
    let gap = even(f64::from(canvas.height) * GAP);
    let tile = |whole: u32, n: u32| even(f64::from(whole - gap * (n - 1)) / f64::from(n));
    let (width, height) = (tile(canvas.width, columns), tile(canvas.height, rows));
    let place = |n: u32| {
        let row = n / columns;
        let in_row = (count - row * columns).min(columns);
        let used = width * in_row + gap * (in_row - 1);
        Rect {
            x: even(f64::from(canvas.width - used) / 2.0) + n % columns * (width + gap),
            y: row * (height + gap),
            width,
            height,
        }
    };
    (0..count).map(place).collect()
}

fn centred(size: (u32, u32), room: Rect) -> Rect {
    let (width, height) = fitted(size, (room.width, room.height));
    Rect {
        x: room.x + even(f64::from(room.width - width) / 2.0),
        y: room.y + even(f64::from(room.height - height) / 2.0),
        width,
        height,
    }
}

/// The largest size of the same shape within `room`. Less than a pixel's difference of shape is none: 854×480 fills
/// 1280×720.
fn fitted(size: (u32, u32), room: (u32, u32)) -> (u32, u32) {
    let (width, height) = (f64::from(size.0.max(1)), f64::from(size.1.max(1)));
    let scale = (f64::from(room.0) / width).min(f64::from(room.1) / height);
    let side = |length: f64, room: u32| {
        let length = length * scale;
        // A pixel of what was sent.
        if f64::from(room) - length < scale.max(2.0) {
            room
        } else {
            even(length).clamp(2, room)
        }
    };
    (side(width, room.0), side(height, room.1))
}

/// Rounded down.
fn even(length: f64) -> u32 {
    length as u32 / 2 * 2
}

#[cfg(test)]
mod tests {
    use super::*;
    use Arrangement::{PictureInPicture, SideBySide, Solo};
    use proptest::prelude::*;

    const CANVAS: (u32, u32) = (1280, 720);

    fn rect(x: u32, y: u32, width: u32, height: u32) -> Rect {
        Rect { x, y, width, height }
    }

    #[test]
    fn one_fills_the_canvas_as_far_as_its_shape_allows() {
        let alone = |size| places(Solo, CANVAS, &[size])[0];
        for same in [
            (1280, 720),
            (320, 180),
            (1920, 1080),
            (854, 480),
            (426, 240),
            (853, 480),
        ] {
            assert_eq!(alone(same), rect(0, 0, 1280, 720), "{same:?}");
        }
        assert_eq!(alone((640, 480)), rect(160, 0, 960, 720));
        assert_eq!(alone((360, 640)), rect(438, 0, 404, 720));
        assert_eq!(alone((2560, 640)), rect(0, 200, 1280, 320));
    }

    #[test]
    fn the_inset_is_a_quarter_wide_in_the_lower_right() {
        let with = |size| places(PictureInPicture, CANVAS, &[(1280, 720), size]);
        assert_eq!(
            with((640, 360)),
            [rect(0, 0, 1280, 720), rect(942, 522, 320, 180)]
        );
        assert_eq!(with((640, 480))[1], rect(942, 462, 320, 240));
        assert_eq!(with((360, 640))[1], rect(1100, 414, 162, 288));
    }

    #[test]
    fn side_by_side_all_are_equally_large() {
        let wide = (1280, 720);
        let places = |n| super::places(SideBySide, CANVAS, &vec![wide; n]);
        assert_eq!(places(2), [rect(0, 182, 636, 356), rect(642, 182, 636, 356)]);
        assert_eq!(
            places(3),
            [
                rect(2, 0, 632, 356),
                rect(644, 0, 632, 356),
                rect(324, 362, 632, 356)
            ]
        );
        assert_eq!(places(4)[3], rect(644, 362, 632, 356));
    }

    proptest! {
        #[test]
        fn every_picture_stands_whole_on_the_canvas_unstretched_and_beside_the_others(
            canvas in prop::sample::select(vec![(426u32, 240u32), (640, 360), (854, 480), (1280, 720), (1920, 1080), (3840, 2160)]),
            sizes in prop::collection::vec((64u32..4096, 64u32..4096), 1..=4),
            arrangement in prop::sample::select(vec![Solo, PictureInPicture, SideBySide]),
        ) {
            let sizes = if arrangement == Solo { &sizes[..1] } else { &sizes[..] };
            let places = places(arrangement, canvas, sizes);
            prop_assert_eq!(places.len(), sizes.len());
            for (place, (width, height)) in places.iter().zip(sizes) {
                let Rect { x, y, width: w, height: h } = *place;
                prop_assert!([x, y, w, h].iter().all(|side| side % 2 == 0) && w > 0 && h > 0);
                prop_assert!(x + w <= canvas.0 && y + h <= canvas.1);
                // Within three pixels of its shape, and a source pixel: what even sides can do. The longer side tells the scale best.
                let (shown, sent) = if width > height { (w, width) } else { (h, height) };
                let scale = f64::from(shown) / f64::from(*sent);
                prop_assert!((f64::from(w) - f64::from(*width) * scale).abs() <= 3.0 + 2.0 * scale);
                prop_assert!((f64::from(h) - f64::from(*height) * scale).abs() <= 3.0 + 2.0 * scale);
            }
            if arrangement == SideBySide {
                for (n, a) in places.iter().enumerate() {
                    for b in &places[n + 1..] {
                        prop_assert!(a.x + a.width <= b.x || b.x + b.width <= a.x
                            || a.y + a.height <= b.y || b.y + b.height <= a.y);
                    }
                }
            }
        }
    }
}
