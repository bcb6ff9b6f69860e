//! A real publisher over real UDP: what goes in as RTP comes out as frames.

#![allow(clippy::unwrap_used)]

mod support;

use std::time::{Duration, Instant, SystemTime};

use axum::Router;
use axum::http::Method;
use bytes::Bytes;
use ingest::{Config, Left, SecondPublisher, Tcp};
use rtc::rtp::codec::h264::H264Payloader;
use rtc::rtp::packetizer::Payloader;
use support::publisher::{AUDIO, Publisher, VIDEO, Wish};
use support::{GOOD, Listener, OnAir, PATIENCE, SECOND, delete, ingest, post_as, request};
use timeline::feed::Record;
use timeline::{Codec, Frame, Track, TrackId, WallTime};

const SPS: &[u8] = &[0x67, 0x42, 0xe0, 0x1f, 0x8c, 0x68];
const PPS: &[u8] = &[0x68, 0xce, 0x3c, 0x80];
/// Every tenth picture is a keyframe; one picture is 20 ms, and so is one frame of sound.
const GOP: u32 = 10;
const TICKS: u32 = 1_800;
const SAMPLES: u32 = 960;
/// Somewhere before the wrap of the 32 bits.
const RTP_START: u32 = u32::MAX - 20 * TICKS;
/// The publisher's clock is a day slow.
const CLOCK_ERROR_S: i64 = -86_400;

/// A lecture that is sent picture by picture.
struct Lecture {
    publisher: Publisher,
    payloader: H264Payloader,
    sequence: u16,
    /// When picture 0 was captured, truly.
    start: i64,
}

impl Lecture {
    async fn begin(router: &Router, path: &str) -> Self {
        let mut lecture = Lecture::connect(GOOD, router, path).await;
        lecture.is_heard().await;
        lecture.start = WallTime::from(SystemTime::now()).unix_nanos();
        lecture
    }

    async fn connect(bearer: (&str, &str), router: &Router, path: &str) -> Self {
        Lecture::of(Publisher::connect_as(bearer, router, path).await)
    }

    fn of(publisher: Publisher) -> Self {
        let (payloader, sequence) = (H264Payloader::default(), 65_500);
        Lecture {
            publisher,
            payloader,
            sequence,
            start: 0,
        }
    }

    /// We are connected before the server is: sends what nobody shows until a keyframe is asked for.
    async fn is_heard(&mut self) {
        let before = RTP_START.wrapping_sub(10_000 * TICKS);
        let mut pace = tokio::time::interval(Duration::from_millis(20));
        for n in 0.. {
            let payload = Bytes::from_static(&[0x41, 0x88, 1]);
            self.publisher
                .video(self.sequence, before.wrapping_add(n * TICKS), true, payload)
                .await;
            self.sequence = self.sequence.wrapping_add(1);
            tokio::select! {
                () = self.publisher.wished(Wish::Keyframe(VIDEO)) => return,
                _ = pace.tick() => {}
            }
        }
    }

    /// Sends a picture without the packets of these indices, and its sound.
    async fn send(&mut self, n: u32, without: &[usize]) {
        let timestamp = RTP_START.wrapping_add(n * TICKS);
        let packets = self.payloader.payload(1_200, &access_unit(n)).unwrap();
        let last = packets.len() - 1;
        for (k, payload) in packets.into_iter().enumerate() {
            if !without.contains(&k) {
                self.publisher
                    .video(self.sequence, timestamp, k == last, payload)
                    .await;
            }
            self.sequence = self.sequence.wrapping_add(1);
        }
        self.publisher.audio(n as u16, n * SAMPLES, opus(n)).await;
    }

    /// Reports where both tracks stand on the publisher's own clock.
    async fn report(&self, n: u32) {
        let ntp = self.ntp(n);
        self.publisher
            .report(VIDEO, ntp, RTP_START.wrapping_add(n * TICKS))
            .await;
        self.publisher.report(AUDIO, ntp, n * SAMPLES).await;
    }

    /// What the publisher's own clock said when picture `n` was captured.
    fn ntp(&self, n: u32) -> u64 {
        let seconds = self.captured(n) / 1_000_000_000 + CLOCK_ERROR_S + 2_208_988_800;
        let fraction = ((self.captured(n) % 1_000_000_000) << 32) / 1_000_000_000;
        ((seconds as u64) << 32) | fraction as u64
    }

    fn captured(&self, n: u32) -> i64 {
        self.start + i64::from(n) * 20_000_000
    }

    async fn run(&mut self, pictures: std::ops::Range<u32>) {
        let mut pace = tokio::time::interval(Duration::from_millis(20));
        for n in pictures {
            pace.tick().await;
            self.send(n, &[]).await;
            if n % 10 == 3 {
                self.report(n).await;
            }
        }
    }
}

fn slice(n: u32) -> Vec<u8> {
    let keyframe = n.is_multiple_of(GOP);
    // Keyframes come in several packets. No byte is zero, so nothing in it looks like a start code.
    let len = if keyframe { 5_000 } else { 300 };
    let header = [if keyframe { 0x65 } else { 0x41 }, 0x88, (n + 1) as u8];
    header
        .into_iter()
        .chain((0..len).map(|k| (k % 251 + 1) as u8))
        .collect()
}

fn annex_b(nals: &[&[u8]]) -> Bytes {
    nals.iter()
        .flat_map(|nal| [0, 0, 0, 1].iter().chain(*nal))
        .copied()
        .collect()
}

fn access_unit(n: u32) -> Bytes {
    match n % GOP {
        0 => annex_b(&[SPS, PPS, &slice(n)]),
        _ => annex_b(&[&slice(n)]),
    }
}

fn opus(n: u32) -> Bytes {
    Bytes::from(vec![0xfc, n as u8])
}

/// What the feed holds until `enough` pictures have come.
#[derive(Default)]
struct Heard {
    tracks: Vec<Track>,
    pictures: Vec<Frame>,
    sounds: Vec<Frame>,
    ended: Vec<TrackId>,
    heard: usize,
}

impl Heard {
    async fn until(listener: &mut Listener, mut done: impl FnMut(&Heard) -> bool) -> Heard {
        Heard::default().on(listener, &mut done).await
    }

    /// Listens on until this is so.
    async fn on(mut self, listener: &mut Listener, mut done: impl FnMut(&Heard) -> bool) -> Heard {
        while !done(&self) {
            self.take(listener.next().await);
        }
        self
    }

    fn take(&mut self, record: Record) {
        let video = |id: TrackId| self.tracks.iter().any(|t| t.id == id && t.codec.is_video());
        match record {
            Record::Track(track) => self.tracks.push(track),
            Record::TrackEnded(id) => self.ended.push(id),
            Record::Frame(frame) if video(frame.track) => self.pictures.push(frame),
            Record::Frame(frame) => {
                assert!(
                    self.tracks.iter().any(|t| t.id == frame.track),
                    "announced before its first frame"
                );
                self.sounds.push(frame);
            }
            Record::Heard { .. } => self.heard += 1,
            other => panic!("not from a source: {other:?}"),
        }
    }
}

/// Which picture this is; its whole payload is compared.
fn number(frame: &Frame) -> u32 {
    let at = frame.payload.len() - slice(u32::from(frame.keyframe) ^ 1).len() + 2;
    let n = u32::from(frame.payload[at]) - 1;
    assert_eq!(frame.payload, access_unit(n));
    assert_eq!(frame.keyframe, n.is_multiple_of(GOP));
    n
}

fn assert_captured(lecture: &Lecture, on_air: &OnAir, frame: &Frame, n: u32) {
    let error = on_air.timeline().wall(frame.at).unix_nanos() - lecture.captured(n);
    // The publisher's clock is 86,400 s wrong; a busy machine only delays what it measures.
    assert!(
        error.abs() < 20_000_000_000,
        "captured {} s off",
        error / 1_000_000_000
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lecture_comes_out_as_it_went_in() {
    let (ingest, door) = ingest(Config::default()).await;
    let (router, on_air) = (ingest.router(), door.on_air("algebra"));
    let mut listener = on_air.listen();
    let mut lecture = Lecture::begin(&router, "/whip/algebra").await;
    lecture.run(0..60).await;
    let heard = Heard::until(&mut listener, |h| {
        h.pictures.len() == 60 && h.sounds.last().is_some_and(|f| f.payload == opus(59))
    })
    .await;

    let codecs: Vec<Codec> = heard.tracks.iter().map(|t| t.codec).collect();
    assert!(
        codecs.len() == 2 && codecs.contains(&Codec::H264) && codecs.contains(&Codec::Opus),
        "{codecs:?}"
    );
    assert_eq!(
        heard.pictures.iter().map(number).collect::<Vec<_>>(),
        (0..60).collect::<Vec<_>>()
    );
    assert!(heard.sounds.iter().all(|frame| frame.keyframe));
    let sounds: Vec<u8> = heard.sounds.iter().map(|frame| frame.payload[1]).collect();
    assert!(sounds.windows(2).all(|w| w[0] + 1 == w[1]), "{sounds:?}");
    assert!(heard.heard > 0);
    for frames in [&heard.pictures, &heard.sounds] {
        assert!(frames.windows(2).all(|w| w[0].at < w[1].at), "capture times grow");
    }
    heard
        .pictures
        .iter()
        .for_each(|frame| assert_captured(&lecture, &on_air, frame, number(frame)));
    heard
        .sounds
        .iter()
        .for_each(|frame| assert_captured(&lecture, &on_air, frame, u32::from(frame.payload[1])));

    // OBS and browsers close the connection first.
    lecture.publisher.connection.close().await.unwrap();
    assert_eq!(delete(&router, &lecture.publisher.location).await, 200);
    assert_eq!(on_air.has_left(1).await, [Left::Deleted]);
    let mut over = Heard::until(&mut listener, |h| h.ended.len() == 2).await;
    over.ended.sort();
    let mut began: Vec<TrackId> = heard.tracks.iter().map(|t| t.id).collect();
    began.sort();
    assert_eq!(over.ended, began);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loss_is_asked_for_then_hidden_until_a_keyframe() {
    let (ingest, door) = ingest(Config::default()).await;
    let on_air = door.on_air("algebra");
    let mut listener = on_air.listen();
    let mut lecture = Lecture::begin(&ingest.router(), "/whip/algebra").await;
    // Joined midway: nothing is shown until the keyframe that was asked for.
    lecture.run(1..12).await;
    let heard = Heard::until(&mut listener, |h| h.pictures.len() == 2).await;
    assert_eq!(heard.pictures.iter().map(number).collect::<Vec<_>>(), [10, 11]);

    let lost = lecture.sequence;
    lecture.send(12, &[0]).await;
    lecture.send(13, &[]).await;
    lecture.publisher.wished(Wish::Again(VIDEO, vec![lost])).await;
    lecture.publisher.wished(Wish::Keyframe(VIDEO)).await;
    for n in 14..22 {
        lecture.send(n, &[]).await;
    }
    let mut pictures = Vec::new();
    while pictures.last() != Some(&21) {
        if let Record::Frame(frame) = listener.next().await
            && frame.track == heard.pictures[0].track
        {
            pictures.push(number(&frame));
        }
    }
    assert_eq!(pictures, [20, 21]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_gets_its_keyframe_asked_for() {
    let (ingest, door) = ingest(Config::default()).await;
    let on_air = door.on_air("algebra");
    let mut listener = on_air.listen();
    let mut lecture = Lecture::begin(&ingest.router(), "/whip/algebra").await;
    lecture.send(0, &[]).await;
    Heard::until(&mut listener, |h| h.pictures.len() == 1).await;
    on_air.feed.request_keyframe();
    lecture.publisher.wished(Wish::Keyframe(VIDEO)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_that_comes_before_its_track_tells_the_first_frame() {
    let (ingest, door) = ingest(Config::default()).await;
    let on_air = door.on_air("algebra");
    let mut listener = on_air.listen();
    let mut lecture = Lecture::begin(&ingest.router(), "/whip/algebra").await;
    // Sound 0 is yet to come when its capture is reported; it comes six seconds late.
    lecture.start -= 6_000_000_000;
    let now = lecture.ntp(300);
    lecture.publisher.report(AUDIO, now, 300 * SAMPLES).await;
    lecture.send(0, &[]).await;
    let heard = Heard::until(&mut listener, |h| h.sounds.len() == 1).await;
    let captured = on_air.timeline().wall(heard.sounds[0].at).unix_nanos();
    let late = captured - lecture.captured(0);
    assert!(
        late.abs() < 3_000_000_000,
        "{late} ns: by its report, not by its arrival"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn sound_alone_opens_the_line() {
    let (ingest, door) = ingest(Config::default()).await;
    let on_air = door.on_air("algebra");
    let mut listener = on_air.listen();
    let lecture = Publisher::connect(&ingest.router(), "/whip/algebra").await;
    let began = Instant::now();
    let sending = async {
        for n in 0.. {
            lecture.audio(n as u16, n * SAMPLES, opus(n)).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let heard = Heard::until(&mut listener, |h| h.sounds.len() == 5);
    let heard = tokio::select! { heard = heard => heard, () = sending => unreachable!() };
    assert!(
        heard.pictures.is_empty() && began.elapsed() >= Duration::from_secs(2),
        "the picture was waited for"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_publisher_takes_over_on_the_same_line() {
    let (ingest, door) = ingest(Config::default()).await;
    let (router, on_air) = (ingest.router(), door.on_air("algebra"));
    let mut listener = on_air.listen();
    let mut first = Lecture::begin(&router, "/whip/algebra").await;
    first.run(0..5).await;
    let before = Heard::until(&mut listener, |h| h.pictures.len() == 5).await;
    let (_, offer) = Publisher::offer().await;
    let refused = post_as(SECOND, &router, "/whip/algebra", &offer).await;
    assert_eq!(refused.status, 409);

    let mut second = Lecture::begin(&router, "/whip/algebra?takeover=true").await;
    assert_eq!(on_air.has_left(1).await, [Left::TakenOver]);
    second.run(0..5).await;
    let after = before.on(&mut listener, |h| h.pictures.len() == 10).await;
    let (old, new): (Vec<_>, Vec<_>) = after
        .tracks
        .iter()
        .map(|t| t.id)
        .partition(|id| after.ended.contains(id));
    assert_eq!((old.len(), new.len()), (2, 2), "tracks are never reused");
    assert!(after.pictures[..5].iter().all(|frame| old.contains(&frame.track)));
    assert!(after.pictures[5..].iter().all(|frame| new.contains(&frame.track)));
    assert!(after.pictures[4].at < after.pictures[5].at, "one line");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_is_on_air_when_the_place_is_free() {
    let (ingest, door) = ingest(Config {
        second_publisher: SecondPublisher::Queue,
        ..Config::default()
    })
    .await;
    let (router, on_air) = (ingest.router(), door.on_air("algebra"));
    let mut listener = on_air.listen();
    let mut first = Lecture::begin(&router, "/whip/algebra").await;
    let mut second = Lecture::connect(SECOND, &router, "/whip/algebra").await;
    second.run(0..5).await;
    first.run(0..5).await;
    let before = Heard::until(&mut listener, |h| h.pictures.len() == 5).await;
    assert_eq!(before.tracks.len(), 2, "the second's are not shown");
    assert!(
        second.publisher.wishes.try_recv().is_err(),
        "nor is anything asked of it"
    );

    assert_eq!(delete(&router, &first.publisher.location).await, 200);
    assert_eq!(on_air.has_left(1).await, [Left::Deleted]);
    // Its turn: a keyframe is asked for.
    second.is_heard().await;
    second.run(10..15).await;
    let after = before.on(&mut listener, |h| h.pictures.len() == 10).await;
    assert_eq!(after.tracks.len(), 4);
    assert_eq!(
        after.pictures[5..].iter().map(number).collect::<Vec<_>>(),
        [10, 11, 12, 13, 14]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn two_sources_share_one_line() {
    let (ingest, door) = ingest(Config::default()).await;
    let (router, on_air) = (ingest.router(), door.on_air("algebra"));
    let mut listener = on_air.listen();
    let mut camera = Lecture::begin(&router, "/whip/algebra").await;
    let mut screen = Lecture::begin(&router, "/whip/algebra?source=screen").await;
    tokio::join!(camera.run(0..5), screen.run(0..5));
    let heard = Heard::until(&mut listener, |h| h.pictures.len() == 10 && h.tracks.len() == 4).await;
    let mut sources: Vec<_> = heard
        .tracks
        .iter()
        .map(|t| (t.source.to_string(), t.codec.name()))
        .collect();
    sources.sort();
    let expected = [
        ("main", "H264"),
        ("main", "opus"),
        ("screen", "H264"),
        ("screen", "opus"),
    ];
    assert_eq!(
        sources,
        expected.map(|(source, codec)| (source.to_owned(), codec))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_moves_to_another_network() {
    let (ingest, door) = ingest(Config::default()).await;
    let (router, on_air) = (ingest.router(), door.on_air("algebra"));
    let mut listener = on_air.listen();
    let mut lecture = Lecture::begin(&router, "/whip/algebra").await;
    lecture.run(0..5).await;
    let mut heard = Heard::until(&mut listener, |h| h.pictures.len() == 5).await;
    let mut etag = lecture.publisher.etag.clone();
    for pictures in [5..120, 120..250] {
        etag = lecture
            .publisher
            .restart(&router, &etag)
            .await
            .header("etag")
            .to_owned();
        let before = heard.pictures.len();
        heard = tokio::select! {
            heard = heard.on(&mut listener, |h| h.pictures.len() > before) => heard,
            () = lecture.run(pictures) => panic!("nothing was heard again"),
        };
    }
    heard.pictures.iter().for_each(|frame| _ = number(frame));
    assert_eq!(heard.tracks.len(), 2, "the same tracks");
    assert!(on_air.left.borrow().is_empty(), "and the same session");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_that_leads_nowhere_is_followed_by_one_that_does() {
    let (ingest, door) = ingest(Config::default()).await;
    let (router, on_air) = (ingest.router(), door.on_air("algebra"));
    let mut listener = on_air.listen();
    let mut lecture = Lecture::begin(&router, "/whip/algebra").await;
    lecture.run(0..5).await;
    let heard = Heard::until(&mut listener, |h| h.pictures.len() == 5).await;
    // Somebody asks for it and is never heard of again.
    let lost = "a=ice-ufrag:Nowhere\r\na=ice-pwd:0123456789012345678901\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n";
    let headers = [
        GOOD,
        ("content-type", "application/trickle-ice-sdpfrag"),
        ("if-match", "*"),
    ];
    let location = lecture.publisher.location.clone();
    let answer = request(&router, Method::PATCH, &location, &headers, lost.as_bytes()).await;
    assert_eq!(answer.status, 200);
    // The path there was is still one, and what is asked comes over it.
    lecture.run(5..10).await;
    let heard = heard.on(&mut listener, |h| h.pictures.len() == 10).await;
    lecture.publisher.restart(&router, answer.header("etag")).await;
    tokio::select! {
        _ = heard.on(&mut listener, |h| h.pictures.len() > 10) => {}
        () = lecture.run(10..250) => panic!("nothing was heard again"),
    };
    assert!(on_air.left.borrow().is_empty());
}

/// All there is where UDP is not let out.
#[tokio::test(flavor = "multi_thread")]
async fn media_comes_over_tcp() {
    let (ingest, door) = ingest(Config {
        udp: Vec::new(),
        tcp: Tcp::At(vec!["127.0.0.1:0".parse().unwrap()]),
        ..Config::default()
    })
    .await;
    let (router, on_air) = (ingest.router(), door.on_air("algebra"));
    let mut listener = on_air.listen();
    let (mut publisher, offer) = Publisher::offer_over(Vec::new(), vec!["127.0.0.1:0"]).await;
    let answer = post_as(GOOD, &router, "/whip/algebra", &offer).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    assert!(!answer.body.contains(" udp "), "{}", answer.body);
    publisher.answered(&answer).await;
    let mut lecture = Lecture::of(publisher);
    lecture.is_heard().await;
    lecture.start = WallTime::from(SystemTime::now()).unix_nanos();
    lecture.run(0..40).await;
    let heard = Heard::until(&mut listener, |h| h.pictures.len() == 40).await;
    assert_eq!(
        heard.pictures.iter().map(number).collect::<Vec<_>>(),
        (0..40).collect::<Vec<_>>()
    );
    lecture.publisher.connection.close().await.unwrap();
    assert_eq!(on_air.has_left(1).await, [Left::Lost]);
}

#[tokio::test(flavor = "multi_thread")]
async fn media_comes_over_ipv6() {
    let (ingest, door) = ingest(Config {
        udp: vec!["[::1]:0".parse().unwrap()],
        ..Config::default()
    })
    .await;
    let (router, on_air) = (ingest.router(), door.on_air("algebra"));
    let mut listener = on_air.listen();
    let (mut publisher, offer) = Publisher::offer_over(vec!["[::1]:0"], Vec::new()).await;
    let answer = post_as(GOOD, &router, "/whip/algebra", &offer).await;
    assert!(answer.body.contains(" ::1 "), "{}", answer.body);
    publisher.answered(&answer).await;
    let mut lecture = Lecture::of(publisher);
    lecture.is_heard().await;
    lecture.run(0..5).await;
    Heard::until(&mut listener, |h| h.pictures.len() == 5).await;
}

/// The answers of a port that is bound to every address leave from the one they were asked at: 127.0.0.2 is not what
/// the system would choose.
#[tokio::test(flavor = "multi_thread")]
async fn answers_come_from_where_they_were_asked() {
    let (ingest, _door) = ingest(Config {
        udp: vec!["0.0.0.0:0".parse().unwrap(), "[::]:0".parse().unwrap()],
        advertise: vec!["127.0.0.2".parse().unwrap()],
        ..Config::default()
    })
    .await;
    let mut lecture = Lecture::begin(&ingest.router(), "/whip/algebra").await;
    lecture.run(0..5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_that_hangs_up_is_gone() {
    // Its silence alone would end the session too late for this test.
    let (ingest, door) = ingest(Config {
        silence_s: 600,
        ..Config::default()
    })
    .await;
    let mut lecture = Lecture::begin(&ingest.router(), "/whip/algebra").await;
    lecture.run(0..3).await;
    lecture.publisher.connection.close().await.unwrap();
    assert_eq!(door.on_air("algebra").has_left(1).await, [Left::Lost]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_leaves_no_task_behind() {
    let (ingest, door) = ingest(Config::default()).await;
    let router = ingest.router();
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    for round in 1..=3 {
        let mut lecture = Lecture::begin(&router, "/whip/algebra").await;
        lecture.run(0..3).await;
        assert!(tasks() > before);
        assert_eq!(delete(&router, &lecture.publisher.location).await, 200);
        door.on_air("algebra").has_left(round).await;
        lecture.publisher.connection.close().await.unwrap();
    }
    // Nothing tells when a task is gone.
    let all_gone = async {
        while tasks() > before {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, all_gone)
        .await
        .expect("every task ends with its session");
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_share_one_port() {
    let (ingest, door) = ingest(Config::default()).await;
    let router = ingest.router();
    let (algebra, botany) = (door.on_air("algebra"), door.on_air("botany"));
    let (mut a, mut b) = (algebra.listen(), botany.listen());
    let mut one = Lecture::begin(&router, "/whip/algebra").await;
    let mut two = Lecture::begin(&router, "/whip/botany").await;
    tokio::join!(one.run(0..10), two.run(0..20));
    let a = Heard::until(&mut a, |h| h.pictures.len() == 10).await;
    let b = Heard::until(&mut b, |h| h.pictures.len() == 20).await;
    assert_eq!((number(&a.pictures[9]), number(&b.pictures[19])), (9, 19));
}

#[tokio::test]
async fn a_camera_and_a_screen_are_two_tracks() {
    let (ingest, door) = ingest(Config::default()).await;
    let mut listener = door.on_air("algebra").listen();
    let publisher = Publisher::connect_with_a_screen(&ingest.router(), "/whip/algebra").await;
    let mut found = Vec::new();
    let unit = access_unit(0);
    let packets = H264Payloader::default().payload(1_200, &unit).unwrap();
    let mut pace = tokio::time::interval(Duration::from_millis(20));
    let mut sequence = 0;
    // Again and again: the server is connected some moment after us.
    while found.len() < 2 {
        let last = packets.len() - 1;
        let timestamp = u32::from(sequence) * TICKS;
        for (k, payload) in packets.iter().enumerate() {
            publisher
                .video(sequence, timestamp, k == last, payload.clone())
                .await;
            publisher
                .screen(sequence, timestamp, k == last, payload.clone())
                .await;
            sequence += 1;
        }
        tokio::select! {
            record = listener.next() => if let Record::Track(track) = record {
                found.push(track.source.to_string());
            },
            _ = pace.tick() => {}
        }
    }
    found.sort();
    assert_eq!(found, ["main", "screen"]);
}
