//! The publisher against the ingest: real HTTP, ICE, DTLS and SRTP over loopback.

// Clippy takes only functions marked as tests for tests.
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use axum::extract::Request;
use axum::http::{Method, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::IntoResponse;
use bytes::Bytes;
use ingest::client::{self, Error};
use ingest::{Config, Door, Grant, Ingest, Left, Publication, Refusal, RepairTime};
use timeline::feed::{Consumer, Policy, Producer, Record};
use timeline::{BroadcastId, Codec, Frame, MediaTime, SourceName, Span, Timeline, Track, TrackId, WallTime};
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const TOKEN: &str = "host-of-algebra";
/// Somebody else's.
const ANOTHER: &str = "another host's";
const VIDEO: TrackId = TrackId(1);
const AUDIO: TrackId = TrackId(2);

/// What the lecturer's encoder takes: frames are sent so long after their capture.
const ENCODING: Span = Span::from_millis(100);

/// Far beyond what a loaded machine needs.
const PATIENCE: Duration = Duration::from_secs(60);

/// An ingest whose door opens for two tokens, and what comes out of it.
struct Server {
    url: String,
    ingest: Ingest,
    publications: mpsc::UnboundedReceiver<Arc<OnAir>>,
    /// How many were answered well.
    patches: Arc<watch::Sender<usize>>,
}

struct OnAir {
    feed: Producer,
    line: Mutex<Option<Timeline>>,
    left: mpsc::UnboundedSender<Left>,
    gone: Mutex<Option<mpsc::UnboundedReceiver<Left>>>,
    frames: Mutex<Option<Consumer>>,
}

struct TwoTokens(mpsc::UnboundedSender<Arc<OnAir>>);

#[async_trait]
impl Door for TwoTokens {
    async fn authorize(
        &self,
        _: &BroadcastId,
        bearer: Option<&str>,
        source: Option<&SourceName>,
    ) -> Result<Grant, Refusal> {
        match bearer {
            Some(person @ (TOKEN | ANOTHER)) => Ok(Grant {
                person: person.into(),
                name: person.into(),
                source: source.cloned().unwrap_or_default(),
                invitation: None,
            }),
            _ => Err(Refusal::Unauthorized("that token is not this broadcast's".into())),
        }
    }

    async fn admit(&self, broadcast: &BroadcastId, _: &Grant) -> Result<Arc<dyn Publication>, Refusal> {
        if broadcast.as_str() == "busy" {
            return Err(Refusal::Unavailable("come back later".into()));
        }
        let feed = Producer::new();
        let (left, gone) = mpsc::unbounded_channel();
        let frames = Mutex::new(Some(feed.subscribe(Policy::Line)));
        let on_air = OnAir {
            feed,
            line: Mutex::default(),
            left,
            gone: Mutex::new(Some(gone)),
            frames,
        };
        let on_air = Arc::new(on_air);
        let _ = self.0.send(on_air.clone());
        Ok(on_air)
    }
}

impl Publication for OnAir {
    fn open(&self, first: WallTime) -> Option<Timeline> {
        Some(*self.line.lock().unwrap().get_or_insert(Timeline::starting(first)))
    }

    fn feed(&self) -> &Producer {
        &self.feed
    }

    fn left(&self, how: Left) {
        let _ = self.left.send(how);
    }
}

impl OnAir {
    async fn left(&self) -> Left {
        let mut gone = self.gone.lock().unwrap().take().expect("asked once");
        soon(gone.recv()).await.unwrap()
    }

    fn frames(&self) -> Consumer {
        self.frames.lock().unwrap().take().expect("asked once")
    }

    fn wall(&self, at: MediaTime) -> WallTime {
        self.line.lock().unwrap().expect("the line is open").wall(at)
    }
}

impl Server {
    async fn start(config: Config) -> Self {
        let (sender, publications) = mpsc::unbounded_channel();
        let ingest = Ingest::bind(config, Arc::new(TwoTokens(sender))).await.unwrap();
        let patches = Arc::new(watch::Sender::new(0));
        let count = patches.clone();
        let counted = from_fn(move |request: Request, next: Next| {
            let count = count.clone();
            async move {
                let is_patch = request.method() == Method::PATCH;
                let answer = next.run(request).await;
                if is_patch && answer.status().is_success() {
                    count.send_modify(|n| *n += 1);
                }
                answer
            }
        });
        let http = serve(ingest.router().layer(counted)).await;
        Server {
            url: format!("http://{http}/whip/algebra-1"),
            ingest,
            publications,
            patches,
        }
    }

    /// Waits until ICE was restarted.
    async fn restarted(&self) {
        let mut patches = self.patches.subscribe();
        soon(patches.wait_for(|n| *n > 0)).await.unwrap();
    }

    async fn on_air(&mut self) -> Arc<OnAir> {
        soon(self.publications.recv()).await.expect("the server runs")
    }
}

/// A lecturer's camera and microphone: synthetic frames in real time, each told apart by its content.
struct Lecturer {
    timeline: Timeline,
    feed: Producer,
    stop: CancellationToken,
    publisher: JoinHandle<Result<(), Error>>,
    _camera: Camera,
}

struct Camera(JoinHandle<()>);

impl Drop for Camera {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Lecturer {
    fn publish(url: &str, token: &str) -> Self {
        Self::replacing(url, token, None)
    }

    fn replacing(url: &str, token: &str, session: Option<String>) -> Self {
        let timeline = Timeline::starting(SystemTime::now().into());
        let (feed, stop) = (Producer::new(), CancellationToken::new());
        for (id, codec) in [(VIDEO, Codec::H264), (AUDIO, Codec::Opus)] {
            feed.send(Record::Track(Track {
                id,
                codec,
                source: SourceName::main(),
            }));
        }
        let mut config = client::Config::new(url, timeline);
        config.token = Some(token.into());
        config.replaces = session;
        let publisher = tokio::spawn(client::publish(
            config,
            feed.subscribe(Policy::Line),
            stop.clone(),
        ));
        let _camera = Camera(tokio::spawn(film(timeline, feed.clone())));
        Lecturer {
            timeline,
            feed,
            stop,
            publisher,
            _camera,
        }
    }

    async fn outcome(self) -> Result<(), Error> {
        soon(self.publisher).await.unwrap()
    }
}

/// Pictures at 25 a second, sound in between; a keyframe first, when wanted, and every 4 s.
async fn film(timeline: Timeline, feed: Producer) {
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    let (mut n, mut keyframe) = (0u32, true);
    let mut wanted = feed.keyframe_requests();
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = wanted.next() => { keyframe = true; continue }
        }
        let at = timeline.at(SystemTime::now().into()) - ENCODING;
        feed.send(Record::Frame(Frame {
            track: AUDIO,
            at,
            keyframe: true,
            payload: sound(n),
        }));
        if n.is_multiple_of(2) {
            let keyframe = std::mem::take(&mut keyframe) || n.is_multiple_of(200);
            feed.send(Record::Frame(Frame {
                track: VIDEO,
                at,
                keyframe,
                payload: picture(n, keyframe),
            }));
        }
        n += 1;
    }
}

fn sound(n: u32) -> Bytes {
    // TOC of a 20 ms stereo packet (RFC 6716 §3.1), and a number.
    [&[0xfc][..], &n.to_be_bytes()].concat().into()
}

/// An access unit as an encoder writes it: parameter sets before an IDR slice, four-byte start codes. Some
/// span several packets.
fn picture(n: u32, keyframe: bool) -> Bytes {
    const SPS: &[u8] = &[0, 0, 0, 1, 0x67, 0x42, 0xe0, 0x1f, 0xda, 0x02, 0x80, 0xf6, 0x80];
    const PPS: &[u8] = &[0, 0, 0, 1, 0x68, 0xce, 0x3c, 0x80];
    let slice: &[u8] = if keyframe {
        &[0, 0, 0, 1, 0x65, 0x88]
    } else {
        &[0, 0, 0, 1, 0x41, 0x9a]
    };
    let mut unit = if keyframe {
        [SPS, PPS, slice].concat()
    } else {
        slice.to_vec()
    };
    // No zeros, or they would look like start codes.
    unit.extend(n.to_string().bytes());
    unit.resize(unit.len() + 400 * (n as usize % 7 + 1), 0x55);
    unit.into()
}

async fn soon<F: Future>(wait: F) -> F::Output {
    tokio::time::timeout(PATIENCE, wait)
        .await
        .expect("it comes within a minute")
}

async fn serve(router: axum::Router) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async { axum::serve(listener, router).await });
    address
}

fn loopback() -> Config {
    // Nothing is lost here: on a busy machine packets may be late all the same.
    Config {
        udp: vec!["127.0.0.1:0".parse().unwrap()],
        repair_ms: RepairTime::Ms(2_000),
        ..Config::default()
    }
}

async fn frame(frames: &mut Consumer, codecs: &mut HashMap<TrackId, Codec>) -> (Codec, Frame) {
    loop {
        match soon(frames.next()).await.unwrap().expect("the feed is open") {
            Record::Track(track) => {
                codecs.insert(track.id, track.codec);
            }
            Record::Frame(frame) => return (codecs[&frame.track], frame),
            _ => {}
        }
    }
}

/// Takes frames of both tracks until there are so many pictures.
async fn watch(frames: &mut Consumer, pictures: usize) -> (Vec<Frame>, Vec<Frame>) {
    let (mut codecs, mut video, mut audio) = (HashMap::new(), Vec::new(), Vec::new());
    while video.len() < pictures {
        let (codec, frame) = frame(frames, &mut codecs).await;
        if codec.is_video() {
            video.push(frame)
        } else {
            audio.push(frame)
        }
    }
    (video, audio)
}

/// The number in a frame that [`film`] made.
fn number(frame: &Frame, codec: Codec) -> u32 {
    match codec {
        Codec::Opus => u32::from_be_bytes(frame.payload[1..5].try_into().unwrap()),
        _ => {
            let slice = frame
                .payload
                .windows(6)
                .rposition(|w| w[..4] == [0, 0, 0, 1])
                .unwrap();
            let digits = frame.payload[slice + 6..]
                .iter()
                .take_while(|b| b.is_ascii_digit() && **b != 0x55);
            digits.fold(0, |n, digit| n * 10 + u32::from(digit - b'0'))
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_published_arrives_as_it_was_captured() {
    let mut server = Server::start(loopback()).await;
    let lecturer = Lecturer::publish(&server.url, TOKEN);
    let mut sent = lecturer.feed.subscribe(Policy::Line);
    let on_air = server.on_air().await;
    let mut frames = on_air.frames();
    let (video, audio) = watch(&mut frames, 100).await;

    assert!(video[0].keyframe, "the picture begins with one");
    let numbers: Vec<u32> = video.iter().map(|f| number(f, Codec::H264)).collect();
    assert!(numbers.windows(2).all(|w| w[1] == w[0] + 2), "{numbers:?}");
    let sounds: Vec<u32> = audio.iter().map(|f| number(f, Codec::Opus)).collect();
    assert!(sounds.windows(2).all(|w| w[1] == w[0] + 1), "{sounds:?}");

    let mut captured: HashMap<(TrackId, u32), Frame> = HashMap::new();
    while let Ok(Ok(Some(record))) = tokio::time::timeout(Duration::ZERO, sent.next()).await {
        if let Record::Frame(frame) = record {
            let codec = if frame.track == VIDEO {
                Codec::H264
            } else {
                Codec::Opus
            };
            captured.insert((frame.track, number(&frame, codec)), frame);
        }
    }
    for (codec, track, frames) in [(Codec::H264, VIDEO, &video), (Codec::Opus, AUDIO, &audio)] {
        for frame in frames {
            let original = &captured[&(track, number(frame, codec))];
            assert_eq!(
                (&original.payload, original.keyframe),
                (&frame.payload, frame.keyframe)
            );
        }
        // By its reports, not by its arrival, which is the encoder's time later. The server needs two seconds to
        // glide from the one to the other.
        let last = frames.last().unwrap();
        let original = &captured[&(track, number(last, codec))];
        let off = on_air.wall(last.at) - lecturer.timeline.wall(original.at);
        assert!(off.ticks().abs() < ENCODING.ticks() / 2, "{codec:?} is {off} off");
    }
    lecturer.stop.cancel();
    assert!(matches!(lecturer.outcome().await, Ok(())));
    assert_eq!(on_air.left().await, Left::Deleted);
    server.ingest.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_for_a_keyframe_reaches_the_encoder() {
    let mut server = Server::start(loopback()).await;
    let lecturer = Lecturer::publish(&server.url, TOKEN);
    let on_air = server.on_air().await;
    let (mut frames, mut codecs) = (on_air.frames(), HashMap::new());
    let mut since_keyframe = 0;
    // Keyframes come by themselves every hundred pictures: one that comes sooner was asked for.
    loop {
        let (codec, frame) = frame(&mut frames, &mut codecs).await;
        match (codec.is_video(), frame.keyframe) {
            (false, _) => continue,
            (true, true) if (20..90).contains(&since_keyframe) => break,
            (true, true) => since_keyframe = 0,
            (true, false) => since_keyframe += 1,
        }
        if since_keyframe == 20 {
            on_air.feed.request_keyframe();
        }
    }
    lecturer.stop.cancel();
    lecturer.outcome().await.unwrap();
}

/// Every twentieth packet of media is lost on its way, and repaired when asked for.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_lost_is_sent_again() {
    let relay = Relay::bind().await;
    let config = Config {
        advertise_port: Some(relay.port()),
        ..loopback()
    };
    let mut server = Server::start(config).await;
    relay.run(SocketAddr::from(([127, 0, 0, 1], server.ingest.udp()[0].port())));
    let lecturer = Lecturer::publish(&server.url, TOKEN);
    let on_air = server.on_air().await;
    let (video, _) = watch(&mut on_air.frames(), 60).await;
    let numbers: Vec<u32> = video.iter().map(|f| number(f, Codec::H264)).collect();
    // The first packets may have been lost for good: nobody can ask for what nobody knows of.
    assert!(
        numbers.windows(2).skip(5).all(|w| w[1] == w[0] + 2),
        "{numbers:?}"
    );
    assert!(relay.lost() >= 5, "{}", relay.lost());
    assert!(relay.repairs() >= 5, "{}", relay.repairs());
    lecturer.stop.cancel();
    lecturer.outcome().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_the_feed_is_told() {
    let mut server = Server::start(loopback()).await;
    let lecturer = Lecturer::publish(&server.url, TOKEN);
    let on_air = server.on_air().await;
    watch(&mut on_air.frames(), 1).await;
    lecturer.feed.send(Record::End(MediaTime::ZERO));
    lecturer.outcome().await.unwrap();
    assert_eq!(on_air.left().await, Left::Deleted);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_the_server_closes_is_lost() {
    let mut server = Server::start(loopback()).await;
    let lecturer = Lecturer::publish(&server.url, TOKEN);
    let on_air = server.on_air().await;
    watch(&mut on_air.frames(), 1).await;
    server.ingest.end(&"algebra-1".parse().unwrap()).await;
    let Err(Error::Lost { session: Some(lost) }) = lecturer.outcome().await else {
        panic!("lost, and which session that was");
    };

    let other = Lecturer::publish(&server.url, TOKEN);
    let on_air = server.on_air().await;
    watch(&mut on_air.frames(), 1).await;
    let returned = Lecturer::replacing(&server.url, TOKEN, Some(lost))
        .outcome()
        .await;
    assert!(
        matches!(returned, Err(Error::Refused { status: 409, .. })),
        "somebody else is on air: {returned:?}"
    );
    other.stop.cancel();
    other.outcome().await.unwrap();
}

/// The path breaks long enough for ICE to give it up; the session is the same afterwards.
#[tokio::test(flavor = "multi_thread")]
async fn a_path_that_broke_is_mended() {
    let relay = Relay::bind().await;
    let mut server = Server::start(Config {
        advertise_port: Some(relay.port()),
        silence_s: 60,
        ..loopback()
    })
    .await;
    relay.run(SocketAddr::from(([127, 0, 0, 1], server.ingest.udp()[0].port())));
    let lecturer = Lecturer::publish(&server.url, TOKEN);
    let on_air = server.on_air().await;
    let (mut frames, mut codecs) = (on_air.frames(), HashMap::new());
    frame(&mut frames, &mut codecs).await;
    relay.cut.store(true, Ordering::Relaxed);
    server.restarted().await;
    relay.cut.store(false, Ordering::Relaxed);
    let mended = SystemTime::now();
    // Pictures that were captured afterwards.
    let mut pictures = 0;
    while pictures < 20 {
        let (codec, picture) = frame(&mut frames, &mut codecs).await;
        pictures += usize::from(codec.is_video() && on_air.wall(picture.at) > WallTime::from(mended));
    }
    lecturer.stop.cancel();
    lecturer.outcome().await.unwrap();
    assert_eq!(on_air.left().await, Left::Deleted, "the session of before");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_says_why() {
    let server = Server::start(loopback()).await;
    let refused = Lecturer::publish(&server.url, "nobody's")
        .outcome()
        .await
        .unwrap_err();
    let Error::Refused { status, detail, .. } = &refused else {
        panic!("{refused}")
    };
    assert_eq!(
        (*status, detail.as_deref()),
        (401, Some("that token is not this broadcast's"))
    );
    assert!(
        refused.to_string().contains("that token is not this broadcast's"),
        "{refused}"
    );

    let busy = server.url.replace("algebra-1", "busy");
    let refused = Lecturer::publish(&busy, TOKEN).outcome().await.unwrap_err();
    let Error::Refused {
        status: 503,
        retry_after: Some(_),
        ..
    } = refused
    else {
        panic!("{refused}")
    };
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_publisher_hears_that_the_place_is_taken() {
    let mut server = Server::start(loopback()).await;
    let first = Lecturer::publish(&server.url, TOKEN);
    let on_air = server.on_air().await;
    watch(&mut on_air.frames(), 1).await;
    let second = Lecturer::publish(&server.url, ANOTHER).outcome().await;
    assert!(
        matches!(second, Err(Error::Refused { status: 409, .. })),
        "{second:?}"
    );
    first.stop.cancel();
    first.outcome().await.unwrap();
}

/// With the token, and the resource is found relative to where the redirect led.
#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_is_followed() {
    let mut server = Server::start(loopback()).await;
    let target = server.url.clone();
    let redirect = move || {
        let location = [(header::LOCATION, target.clone())];
        async { (StatusCode::TEMPORARY_REDIRECT, location).into_response() }
    };
    let balancer = serve(axum::Router::new().route("/go", axum::routing::post(redirect))).await;
    let lecturer = Lecturer::publish(&format!("http://{balancer}/go"), TOKEN);
    let on_air = server.on_air().await;
    watch(&mut on_air.frames(), 1).await;
    lecturer.stop.cancel();
    lecturer.outcome().await.unwrap();
    assert_eq!(on_air.left().await, Left::Deleted);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loop_of_redirects_ends() {
    let again = || async { (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, "/go")]).into_response() };
    let balancer = serve(axum::Router::new().route("/go", axum::routing::post(again))).await;
    let outcome = Lecturer::publish(&format!("http://{balancer}/go"), TOKEN)
        .outcome()
        .await;
    assert!(matches!(outcome, Err(Error::BadAnswer(_))), "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_whip_server_is_named() {
    // Bound and let go: nobody listens there.
    let closed = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let outcome = Lecturer::publish(&format!("http://{closed}/whip/a"), TOKEN)
        .outcome()
        .await;
    let Err(Error::Unreachable { reason, .. }) = outcome else {
        panic!("{outcome:?}")
    };
    assert!(reason.contains("refused"), "{reason}");

    for url in ["whip/algebra-1", "ftp://localhost/", "http://"] {
        let outcome = Lecturer::publish(url, TOKEN).outcome().await;
        assert!(matches!(outcome, Err(Error::BadUrl { .. })), "{url}: {outcome:?}");
    }
    let outcome = Lecturer::publish("http://127.0.0.1/", "a\nb").outcome().await;
    assert!(matches!(outcome, Err(Error::BadToken)), "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_no_sdp_is_refused_and_its_resource_deleted() {
    let (deleted, mut seen) = mpsc::unbounded_channel();
    let router = axum::Router::new()
        .route(
            "/whip/a",
            axum::routing::post(|| async {
                (StatusCode::CREATED, [(header::LOCATION, "a/1")], "v=nonsense")
            }),
        )
        .route(
            "/whip/a/1",
            axum::routing::delete(move || async move {
                let _ = deleted.send(());
            }),
        );
    let address = serve(router).await;
    let outcome = Lecturer::publish(&format!("http://{address}/whip/a"), TOKEN)
        .outcome()
        .await;
    assert!(matches!(outcome, Err(Error::BadAnswer(_))), "{outcome:?}");
    soon(seen.recv()).await.unwrap();
}

/// A UDP path between a publisher and the server that loses media.
struct Relay {
    front: Arc<UdpSocket>,
    /// Nothing gets through.
    cut: Arc<AtomicBool>,
    lost: Arc<AtomicUsize>,
    repairs: Arc<AtomicUsize>,
}

impl Relay {
    async fn bind() -> Self {
        let front = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
        Relay {
            front,
            cut: Arc::default(),
            lost: Arc::default(),
            repairs: Arc::default(),
        }
    }

    fn port(&self) -> u16 {
        self.front.local_addr().unwrap().port()
    }

    fn lost(&self) -> usize {
        self.lost.load(Ordering::Relaxed)
    }

    /// Packets of the retransmission payload type (RFC 4588), which the offer names 97.
    fn repairs(&self) -> usize {
        self.repairs.load(Ordering::Relaxed)
    }

    fn run(&self, server: SocketAddr) {
        let (front, lost, repairs) = (self.front.clone(), self.lost.clone(), self.repairs.clone());
        let cut = self.cut.clone();
        tokio::spawn(async move {
            let back = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            let (mut there, mut here) = (vec![0; 2048], vec![0; 2048]);
            let (mut publisher, mut media) = (None, 0);
            loop {
                tokio::select! {
                    Ok((n, from)) = front.recv_from(&mut there) => {
                        publisher = Some(from);
                        // RTP of video or its repairs, not STUN, DTLS or RTCP (RFC 7983, RFC 5761).
                        let is_video = n > 200 && (128..192).contains(&there[0]);
                        media += usize::from(is_video);
                        repairs.fetch_add(usize::from(is_video && there[1] & 0x7f == 97), Ordering::Relaxed);
                        if cut.load(Ordering::Relaxed) {
                            continue;
                        }
                        if is_video && media % 20 == 19 {
                            lost.fetch_add(1, Ordering::Relaxed);
                        } else {
                            let _ = back.send_to(&there[..n], server).await;
                        }
                    }
                    Ok((n, _)) = back.recv_from(&mut here) => {
                        if let Some(publisher) = publisher && !cut.load(Ordering::Relaxed) {
                            let _ = front.send_to(&here[..n], publisher).await;
                        }
                    }
                }
            }
        });
    }
}
