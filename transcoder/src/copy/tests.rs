use super::units::Units;
use super::*;
use crate::line::{Due, Line, Start};
use proptest::prelude::*;
use timeline::{Media, SourceName, Timeline, WallTime};

const SHAPE: Shape = Shape {
    width: 1280,
    height: 720,
    level: 31,
};

/// Bits, the most significant first, with the stop bit and alignment behind them.
#[derive(Default)]
struct Bits(Vec<bool>);

impl Bits {
    fn u(mut self, bits: u32, value: u32) -> Self {
        self.0.extend((0..bits).rev().map(|bit| value >> bit & 1 == 1));
        self
    }

    fn ue(self, value: u32) -> Self {
        let length = 32 - (value + 1).leading_zeros();
        self.u(length - 1, 0).u(length, value + 1)
    }

    /// A NAL unit behind its start code. Long zeros do not occur here.
    fn nal(self, header: u8) -> Vec<u8> {
        let mut bits = self.u(1, 1).0;
        bits.resize(bits.len().next_multiple_of(8), false);
        let bytes = bits
            .chunks(8)
            .map(|byte| byte.iter().fold(0, |sum, bit| sum << 1 | u8::from(*bit)));
        [0, 0, 0, 1, header].into_iter().chain(bytes).collect()
    }
}

/// Constrained baseline 1280×720, whose frame_num has four bits. `references` is told in it.
fn sps(references: u32) -> Vec<u8> {
    Bits::default()
        .u(24, 0x42_c0_1f)
        .ue(0)
        .ue(0)
        .ue(2)
        .ue(references)
        .u(1, 0)
        .ue(79)
        .ue(44)
        .u(4, 0b1100)
        .nal(0x67)
}

fn pps() -> Vec<u8> {
    let head = Bits::default().ue(0).ue(0).u(2, 0).ue(0).ue(0).ue(0).u(3, 0);
    head.ue(0).ue(0).ue(0).u(3, 0).nal(0x68)
}

/// Picture `n`, `since` pictures after the last IDR. Its number stands in its bytes.
fn unit(n: u32, since: u32, references: u32) -> Vec<u8> {
    let idr = since == 0;
    // Ones between the numbers, so that there are no long zeros.
    let number = (0..4).fold(Bits::default(), |bits, byte| {
        bits.u(1, 1).u(8, n >> (24 - 8 * byte) & 255)
    });
    let slice = Bits::default()
        .ue(0)
        .ue(if idr { 7 } else { 5 })
        .ue(0)
        .u(4, since % 16);
    let slice = number
        .0
        .into_iter()
        .fold(slice, |bits, bit| bits.u(1, bit.into()));
    let slice = slice.u(8, 0xaa).nal(if idr { 0x65 } else { 0x41 });
    match idr {
        true => [sps(references), pps(), slice].concat(),
        false => slice,
    }
}

fn rung() -> Rendition {
    // x264's for 1280×720, with ids of 31.
    let sps = Bits::default().u(24, 0x64_00_1f).ue(31).u(8, 1).nal(0x67)[4..].to_vec();
    let pps = Bits::default().ue(31).ue(31).u(8, 1).nal(0x68)[4..].to_vec();
    let init = [
        &[1, 0x64, 0, 0x1f, 0xff, 0xe1, 0, sps.len() as u8][..],
        &sps,
        &[1, 0, pps.len() as u8],
        &pps,
        &[0xfd, 0xf8, 0xf8, 0],
    ];
    Rendition {
        id: TrackId(1),
        name: "720p".into(),
        media: Media::Video {
            width: 1280,
            height: 720,
            frame: Span::from_ticks(3000),
        },
        codec: "avc1.64001f".into(),
        bandwidth: 3_125_000,
        average_bandwidth: 2_500_000,
        init: init.concat().into(),
    }
}

fn track(id: u32, codec: Codec) -> Record {
    Record::Track(Track {
        id: TrackId(id),
        codec,
        source: SourceName::main(),
    })
}

/// What a source does.
#[derive(Clone, Debug)]
struct Source {
    gop: u32,
    /// Parts per million of the time between pictures.
    drift: i64,
    /// Ticks, of each picture in turn.
    jitter: Vec<i64>,
    /// Pictures that never come.
    lost: Vec<u32>,
    /// Pictures whose decoder showed something although they did not come.
    concealed: Vec<u32>,
    /// From this picture on with other parameter sets.
    changed: u32,
    /// Answers within so many pictures, if at all.
    answers: Option<u32>,
}

/// A slot of the top rung as it was made: the number of a copied picture, and the one it showed.
#[derive(Debug, PartialEq)]
struct Made {
    slot: i64,
    copied: Option<Frame>,
    shown: Option<u32>,
    init: Bytes,
}

fn run(source: &Source, pictures: u32) -> Vec<Made> {
    let origin = WallTime::from_unix_millis(1_800_000_000_000);
    let (timeline, grid) = (Timeline::starting(origin), Grid::default());
    let mut line = Line::new(timeline, grid, Span::from_millis(100), Start::default());
    let mut copier = Copier::new(grid, SHAPE);
    copier.rung(&rung());
    let Record::Track(camera) = track(9, Codec::H264) else {
        unreachable!()
    };
    line.track(&camera);
    copier.hear(&Record::Track(camera));
    let (mut made, mut since, mut asked, mut init) = (Vec::new(), 0, None, rung().init);
    for n in 0..pictures {
        let jitter = source.jitter[n as usize % source.jitter.len()];
        let ticks = i64::from(n) * (3_000_000_000 + 3_000 * source.drift) / 1_000_000;
        let at = MediaTime::from_ticks(ticks + jitter);
        if asked.is_some_and(|asked| n >= asked) || since == source.gop {
            (since, asked) = (0, None);
        }
        let frame = Frame {
            track: TrackId(9),
            at,
            keyframe: since == 0,
            payload: unit(n, since, 1 + u32::from(n >= source.changed)).into(),
        };
        since += 1;
        line.heard(&SourceName::main(), at);
        if !source.lost.contains(&n) {
            copier.hear(&Record::Frame(frame));
        }
        if !source.lost.contains(&n) || source.concealed.contains(&n) {
            line.picture(TrackId(9), at, n, timeline.wall(at));
        }
        if copier.wants_keyframe(at) {
            asked = source.answers.map(|within| n + within);
        }
        while let Some(due) = line.next(timeline.wall(at), true) {
            let Due::Slot { slot, scene } = due else { continue };
            let alone = scene.single().filter(|shown| shown.fresh);
            let captured = alone.map(|shown| (shown.track, shown.at));
            let shown = alone.map(|shown| shown.picture);
            let decided = copier.slot(slot, captured);
            init = decided.renewed.map_or(init, |renewed| renewed.init);
            made.push(Made {
                slot,
                copied: decided.copy,
                shown,
                init: init.clone(),
            });
        }
    }
    made
}

/// The number of a copied picture, and whether it is an IDR.
fn read(frame: &Frame) -> (u32, bool) {
    let nal = &frame.payload[4..];
    let bits: Vec<bool> = nal[1..]
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1 == 1))
        .collect();
    // first_mb_in_slice, slice_type, PPS, frame_num.
    let idr = nal[0] & 31 == 5;
    let head = 1 + if idr { 7 } else { 5 } + 1 + 4;
    let byte = |n: usize| {
        let from = head + n * 9 + 1;
        bits[from..from + 8]
            .iter()
            .fold(0, |sum, bit| sum << 1 | u32::from(*bit))
    };
    ((0..4).fold(0, |sum, n| sum << 8 | byte(n)), idr)
}

/// Whatever a player decodes is whole: what it shows is what the canvas showed.
fn check(made: &[Made], changed: u32) {
    let (mut before, mut references): (Option<u32>, u32) = (None, 0);
    for (n, made) in made.iter().enumerate() {
        assert_eq!(made.slot, n as i64, "every slot once");
        let number = made.copied.as_ref().map(|frame| {
            let (number, idr) = read(frame);
            assert_eq!(frame.at.ticks(), made.slot * 3000);
            assert_eq!((frame.keyframe, frame.track), (idr, TrackId(1)));
            assert!(idr || before == Some(number - 1), "{number} behind {before:?}");
            assert!(idr || made.slot % 96 != 0, "a segment begins with {number}");
            assert_eq!(made.shown, Some(number));
            let sets = Configuration::read(&made.init).unwrap().sets;
            if idr {
                references = 1 + u32::from(number >= changed);
            }
            let own = sps(references)[4..].to_vec();
            assert_eq!(sets.sps.get(&0), Some(&Bytes::from(own)), "slot {}", made.slot);
            assert!(sets.sps.contains_key(&31));
            number
        });
        before = number;
    }
    for pair in made.windows(2) {
        assert!(
            pair[0].init == pair[1].init || pair[1].slot % 96 == 0,
            "an init changes at a head"
        );
    }
}

fn copied(made: &[Made]) -> usize {
    made.iter().filter(|made| made.copied.is_some()).count()
}

fn steady(gop: u32) -> Source {
    Source {
        gop,
        drift: 0,
        jitter: vec![0],
        lost: vec![],
        concealed: vec![],
        changed: u32::MAX,
        answers: None,
    }
}

#[test]
fn regular_keyframes_make_most_slots_copies() {
    for (gop, least) in [(30, 80), (60, 60), (96, 96)] {
        let made = run(&steady(gop), 96 * 20);
        check(&made, u32::MAX);
        let settled = &made[96 * 3..96 * 19];
        let share = copied(settled) * 100 / settled.len();
        println!("a keyframe each {gop}: {share} % are copied");
        assert!(share >= least, "{gop}: {share} %");
    }
}

#[test]
fn a_source_that_answers_is_copied_but_for_a_few_slots_at_each_head() {
    let source = Source {
        answers: Some(3),
        ..steady(100_000)
    };
    let made = run(&source, 96 * 20);
    check(&made, u32::MAX);
    let share = copied(&made[96 * 4..96 * 19]) * 100 / (96 * 15);
    assert!(share >= 93, "{share} %");
}

#[test]
fn copies_that_break_off_go_on_with_a_keyframe_that_is_asked_for() {
    let answering = Source {
        answers: Some(3),
        ..steady(100_000)
    };
    let broken = Source {
        // In the middle of a segment; so late in another that its successor's keyframe is nearer.
        lost: vec![96 * 8 + 40, 96 * 10 + 80],
        ..answering.clone()
    };
    let made = run(&broken, 96 * 12);
    check(&made, u32::MAX);
    let encoded = |msn: usize| 96 - copied(&made[96 * msn..96 * (msn + 1)]);
    let whole = encoded(7);
    assert!(whole <= 5, "{whole}");
    assert!((1..=8).contains(&(encoded(8) - whole)), "{}", encoded(8));
    assert_eq!(encoded(9), whole, "asked for once");
    assert_eq!(encoded(10) - whole, 16);
}

#[test]
fn rare_keyframes_are_not_worth_it() {
    let made = run(&steady(250), 96 * 40);
    check(&made, u32::MAX);
    assert!(copied(&made) * 20 < made.len(), "{}", copied(&made));
}

/// Each alone on the canvas in turn, both with sets of their own that are named alike.
#[test]
fn another_track_begins_with_its_own_idr_and_its_own_sets() {
    let grid = Grid::default();
    let mut copier = Copier::new(grid, SHAPE);
    copier.rung(&rung());
    for id in [9, 10] {
        copier.hear(&track(id, Codec::H264));
    }
    let mut init = rung().init;
    let mut copied = Vec::new();
    for n in 0..96 * 8 {
        let at = grid.slot_start(n);
        for id in [9, 10] {
            let payload = unit(n as u32, n as u32 % 10, id).into();
            copier.hear(&Record::Frame(Frame {
                track: TrackId(id),
                at,
                keyframe: n % 10 == 0,
                payload,
            }));
        }
        let shown = if n < 96 * 4 + 5 { 9 } else { 10 };
        let decided = copier.slot(n, Some((TrackId(shown), at)));
        init = decided.renewed.map_or(init, |renewed| renewed.init);
        if decided.copy.is_some() {
            let listed = Configuration::read(&init).unwrap().sets.sps[&0].clone();
            assert_eq!(listed, sps(shown)[4..], "slot {n}");
            copied.push(n);
        }
    }
    let within = |from: i64, to: i64| copied.iter().filter(|n| (from..to).contains(*n)).count();
    assert!(within(96 * 2, 96 * 4) > 150, "{copied:?}");
    // The init of a segment holds those of one of them.
    assert_eq!(within(96 * 4 + 5, 96 * 5), 0, "{copied:?}");
    assert!(within(96 * 5, 96 * 8) > 240, "{copied:?}");
}

#[test]
fn a_source_above_the_declared_rate_is_encoded() {
    let mut worth = Worth::new(Grid::default());
    let unit = |slot: i64, bytes: usize| Unit {
        track: TrackId(9),
        at: MediaTime::from_ticks(slot * 3000),
        follows: (slot % 96 != 0).then(|| slot as u64 - 1),
        counts: Some(slot as u64),
        payload: vec![0; bytes].into(),
        sets: Default::default(),
    };
    // 3.125 Mbit/s are 13,020 bytes a slot.
    for (bytes, fits) in [(12_000, true), (16_000, false)] {
        let copied = (0..96 * 6)
            .filter(|slot| worth.slot(*slot, Some(&unit(*slot, bytes)), Some(&rung())))
            .count();
        assert_eq!(copied > 96 * 3, fits, "{bytes}: {copied}");
        worth = Worth::new(Grid::default());
    }
}

fn source() -> impl Strategy<Value = Source> {
    let times = (
        prop_oneof![Just(0i64), -200i64..=200],
        prop_oneof![Just(vec![0]), prop::collection::vec(-900i64..900, 1..40)],
    );
    let losses = (
        prop::collection::vec(0u32..1500, 0..5),
        prop::collection::vec(0u32..1500, 0..3),
    );
    (10u32..250, times, losses, 0u32..3000, prop::option::of(1u32..8)).prop_map(
        |(gop, (drift, jitter), (lost, concealed), changed, answers)| Source {
            gop,
            drift,
            jitter,
            lost: [lost, concealed.clone()].concat(),
            concealed,
            changed,
            answers,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Each run of copies begins with an IDR, each other one follows its own predecessor, and the slots that are
    /// encoded in between begin with an IDR of the encoder: so all can be decoded, and shows what was captured.
    #[test]
    fn what_is_made_can_always_be_decoded(source in source()) {
        check(&run(&source, 1500), source.changed);
    }

    /// Whatever comes in, the worst is that it is not copied.
    #[test]
    fn damage_is_refused_or_read(n in 0u32..100, at in 0usize..60, byte in any::<u8>(), keep in 0usize..60) {
        let mut units = Units::default();
        let mut payload = unit(n, 0, 1);
        if let Some(there) = payload.get_mut(at) {
            *there = byte;
        }
        payload.truncate(keep);
        let frame = Frame { track: TrackId(9), at: MediaTime::ZERO, keyframe: true, payload: payload.into() };
        if let Ok(unit) = units.read(&frame, SHAPE) {
            prop_assert!(crate::avc::slices(unit.payload).is_some());
        }
    }
}
