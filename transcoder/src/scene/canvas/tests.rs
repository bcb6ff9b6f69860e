use super::*;
use crate::lecture::picture_clock;
use crate::scene::Shown;
use timeline::{Arrangement, MediaTime, TrackId};

const WIDTH: u32 = 1280;
const HEIGHT: u32 = 720;

fn canvas() -> Canvas {
    gst::init().unwrap();
    Canvas::new(WIDTH, HEIGHT).unwrap()
}

/// A picture of one colour, which shows its time.
fn picture(width: u32, height: u32, [y, u, v]: [u8; 3], ms: i64) -> Picture {
    let info = info((width, height)).unwrap();
    let mut buffer = gst::Buffer::with_size(info.size()).unwrap();
    {
        let mut frame = VideoFrameRef::from_buffer_ref_writable(buffer.get_mut().unwrap(), &info).unwrap();
        for (plane, value) in (0..3).zip([y, u, v]) {
            frame.plane_data_mut(plane).unwrap().fill(value);
        }
        let stride = frame.plane_stride()[0] as usize;
        let luma = frame.plane_data_mut(0).unwrap();
        picture_clock::draw(luma, stride, width as usize, height as usize, ms);
    }
    Picture {
        buffer,
        width,
        height,
    }
}

fn scene(arrangement: Arrangement, pictures: &[&Picture]) -> Scene<Picture> {
    let shown = pictures.iter().map(|picture| Shown {
        source: "main".parse().unwrap(),
        track: TrackId(1),
        at: MediaTime::ZERO,
        fresh: true,
        picture: (*picture).clone(),
    });
    Scene {
        arrangement,
        shown: shown.collect(),
    }
}

/// Luma and chroma at a pixel, in parts of the canvas.
fn colour(canvas: &gst::Buffer, x: f64, y: f64) -> [u8; 3] {
    let frame_info = info((WIDTH, HEIGHT)).unwrap();
    let frame = VideoFrameRef::from_buffer_ref_readable(canvas, &frame_info).unwrap();
    [0, 1, 2].map(|plane| {
        let half = if plane == 0 { 1.0 } else { 2.0 };
        let (x, y) = (x * f64::from(WIDTH) / half, y * f64::from(HEIGHT) / half);
        let stride = frame.plane_stride()[plane] as usize;
        frame.plane_data(plane as u32).unwrap()[y as usize * stride + x as usize]
    })
}

fn clock(canvas: &gst::Buffer, place: Rect) -> Option<i64> {
    let luma = canvas.map_readable().unwrap();
    let from = (place.y * WIDTH + place.x) as usize;
    picture_clock::read(
        &luma[from..],
        WIDTH as usize,
        place.width as usize,
        place.height as usize,
    )
}

fn assert_near(shown: [u8; 3], sent: [u8; 3]) {
    let off = shown.iter().zip(&sent).map(|(a, b)| a.abs_diff(*b)).max();
    assert!(off <= Some(1), "{sent:?} became {shown:?}");
}

const BLUE: [u8; 3] = [60, 180, 110];
const ORANGE: [u8; 3] = [150, 80, 190];
const PAPER: [u8; 3] = [227, 125, 128];

#[test]
fn a_picture_that_fits_goes_through_untouched() {
    let mut canvas = canvas();
    let whole = picture(WIDTH, HEIGHT, BLUE, 1);
    let painted = canvas.paint(&scene(Arrangement::Solo, &[&whole])).unwrap();
    assert_eq!(painted.as_ptr(), whole.buffer.as_ptr());
}

#[test]
fn smaller_and_narrower_pictures_stand_whole_between_black() {
    let mut canvas = canvas();
    for (width, height) in [(320, 180), (854, 480), (853, 480), (426, 240), (1279, 719)] {
        let small = picture(width, height, PAPER, 1_760_000_000_123);
        let painted = canvas.paint(&scene(Arrangement::Solo, &[&small])).unwrap();
        for (x, y) in [(0.001, 0.5), (0.5, 0.5), (0.999, 0.999)] {
            assert_near(colour(&painted, x, y), PAPER);
        }
        assert_eq!(
            clock(
                &painted,
                Rect {
                    x: 0,
                    y: 0,
                    width: WIDTH,
                    height: HEIGHT
                }
            ),
            Some(1_760_000_000_123)
        );
    }
    let narrow = picture(640, 480, ORANGE, 0);
    let painted = canvas.paint(&scene(Arrangement::Solo, &[&narrow])).unwrap();
    assert_near(colour(&painted, 0.05, 0.5), [LUMA, CHROMA, CHROMA]);
    assert_near(colour(&painted, 0.95, 0.5), [LUMA, CHROMA, CHROMA]);
    assert_near(colour(&painted, 0.5, 0.5), ORANGE);
}

#[test]
fn each_picture_is_readable_in_its_place() {
    let mut canvas = canvas();
    let (first, second) = (1_760_000_000_123, 1_760_000_000_500);
    let (screen, camera) = (
        picture(WIDTH, HEIGHT, PAPER, first),
        picture(640, 360, BLUE, second),
    );
    for arrangement in [Arrangement::PictureInPicture, Arrangement::SideBySide] {
        let painted = canvas.paint(&scene(arrangement, &[&screen, &camera])).unwrap();
        let places = places(arrangement, (WIDTH, HEIGHT), &[(WIDTH, HEIGHT), (640, 360)]);
        assert_eq!(clock(&painted, places[0]), Some(first), "{arrangement:?}");
        assert_eq!(clock(&painted, places[1]), Some(second), "{arrangement:?}");
        for (place, sent) in places.iter().zip([PAPER, BLUE]) {
            let x = f64::from(place.x + place.width / 4) / f64::from(WIDTH);
            let y = f64::from(place.y + place.height / 2) / f64::from(HEIGHT);
            assert_near(colour(&painted, x, y), sent);
        }
    }
}

#[test]
fn what_does_not_change_is_not_painted_again() {
    let mut canvas = canvas();
    let (slide, camera) = (picture(640, 360, PAPER, 1), picture(640, 360, BLUE, 2));
    let both = scene(Arrangement::PictureInPicture, &[&slide, &camera]);
    let first = canvas.paint(&both).unwrap();
    assert_eq!(canvas.paint(&both).unwrap().as_ptr(), first.as_ptr());
    let slide_scaled = |canvas: &Canvas| canvas.scalers[0].scaling.as_ref().unwrap().of.clone().unwrap();
    // The camera moves, the slide does not: the first canvas is what it was, and the slide is not scaled again.
    let before = slide_scaled(&canvas);
    let next = picture(640, 360, ORANGE, 3);
    let second = canvas
        .paint(&scene(Arrangement::PictureInPicture, &[&slide, &next]))
        .unwrap();
    assert_eq!(slide_scaled(&canvas).as_ptr(), before.as_ptr());
    assert_near(colour(&first, 0.9, 0.85), BLUE);
    assert_near(colour(&second, 0.9, 0.85), ORANGE);
    // A switch and back: nothing of the other layout is left.
    let alone = canvas.paint(&scene(Arrangement::Solo, &[&slide])).unwrap();
    assert_near(colour(&alone, 0.9, 0.85), PAPER);
    assert_near(colour(&second, 0.9, 0.85), ORANGE);
}

#[test]
fn canvases_that_are_still_encoded_are_not_painted_over() {
    let mut canvas = canvas();
    let slide = picture(640, 360, PAPER, 1);
    let mut kept = Vec::new();
    for n in 0..20u8 {
        let camera = picture(320, 180, [50 + n * 5, 128, 128], 2);
        let painted = canvas
            .paint(&scene(Arrangement::PictureInPicture, &[&slide, &camera]))
            .unwrap();
        // As the ladder does: only the memory is shared.
        kept.push((n, painted.copy()));
    }
    for (n, canvas) in kept {
        assert_near(colour(&canvas, 0.9, 0.85), [50 + n * 5, 128, 128]);
    }
}

/// Not a test: prints what a scene costs, and what a decoder's own scaling does.
#[test]
#[ignore = "a measurement"]
fn the_cost_of_a_scene() {
    const ROUNDS: usize = 300;
    let cpu = || crate::report::cpu_ms().unwrap() as f64;
    let cost = |name: &str, arrangement, sizes: &[(u32, u32)], changing: usize| {
        let mut canvas = canvas();
        let each =
            |colour, ms| -> Vec<Picture> { sizes.iter().map(|(w, h)| picture(*w, *h, colour, ms)).collect() };
        let (still, lively) = (each(PAPER, 0), [each(BLUE, 1), each(ORANGE, 2)]);
        let before = cpu();
        for n in 0..ROUNDS {
            let pick = |i: usize| match i + changing >= sizes.len() {
                true => &lively[n % 2][i],
                false => &still[i],
            };
            let pictures: Vec<&Picture> = (0..sizes.len()).map(pick).collect();
            canvas.paint(&scene(arrangement, &pictures)).unwrap();
        }
        println!("{name}: {:.2} ms", (cpu() - before) / ROUNDS as f64);
    };
    let (hd, half) = ((WIDTH, HEIGHT), (640, 360));
    cost("alone, the canvas's size", Arrangement::Solo, &[hd], 1);
    cost("alone, half the canvas's size", Arrangement::Solo, &[half], 1);
    cost("alone, nothing new", Arrangement::Solo, &[half], 0);
    cost("inset, both lively", Arrangement::PictureInPicture, &[hd, hd], 2);
    cost(
        "inset, a still slide",
        Arrangement::PictureInPicture,
        &[hd, hd],
        1,
    );
    cost(
        "inset, small, both lively",
        Arrangement::PictureInPicture,
        &[half, half],
        2,
    );
    cost(
        "inset, small, a still slide",
        Arrangement::PictureInPicture,
        &[half, half],
        1,
    );
    cost("two side by side", Arrangement::SideBySide, &[hd, hd], 2);
    cost("four side by side", Arrangement::SideBySide, &[hd; 4], 4);

    for scaled in [false, true] {
        let size = if scaled {
            "width=1280,height=720"
        } else {
            "width=640,height=360"
        };
        let pipeline = gst::parse::launch(&format!(
            "videotestsrc pattern=black num-buffers={ROUNDS} ! video/x-raw,format=I420,width=640,height=360 ! \
             videoscale add-borders=true ! video/x-raw,{size} ! fakesink sync=false"
        ));
        let (pipeline, before) = (pipeline.unwrap(), cpu());
        pipeline.set_state(gst::State::Playing).unwrap();
        let bus = pipeline.bus().unwrap();
        bus.timed_pop_filtered(gst::ClockTime::NONE, &[gst::MessageType::Eos]);
        pipeline.set_state(gst::State::Null).unwrap();
        println!("videoscale to {size}: {:.2} ms", (cpu() - before) / ROUNDS as f64);
    }
}
