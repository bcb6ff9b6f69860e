//! Every status of the WHIP door, over its real router.

#![allow(clippy::unwrap_used)]

mod support;

use axum::Router;
use axum::http::Method;
use ingest::{Config, Left, SecondPublisher};
use support::{Answer, GOOD, SECOND, delete, ingest, post, post_as, request};

/// An offer as OBS makes it.
const OFFER: &str = "v=0\r\no=rtc 1 0 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\na=msid-semantic:WMS *\r\n\
    a=ice-options:ice2,trickle\r\n\
    a=fingerprint:sha-256 00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF\r\n\
    m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=sendonly\r\na=ssrc:10 cname:c\r\na=rtcp-mux\r\n\
    a=rtpmap:111 opus/48000/2\r\na=fmtp:111 minptime=10;stereo=1;sprop-stereo=1;useinbandfec=1\r\n\
    a=setup:actpass\r\na=ice-ufrag:AbCd\r\na=ice-pwd:0123456789012345678901\r\n\
    m=video 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\na=mid:1\r\na=sendonly\r\na=ssrc:11 cname:c\r\na=rtcp-mux\r\n\
    a=rtpmap:96 H264/90000\r\na=rtcp-fb:96 nack\r\na=rtcp-fb:96 nack pli\r\na=rtcp-fb:96 goog-remb\r\n\
    a=fmtp:96 profile-level-id=42e01f;packetization-mode=1;level-asymmetry-allowed=1\r\n\
    a=setup:actpass\r\na=ice-ufrag:AbCd\r\na=ice-pwd:0123456789012345678901\r\n";

const CANDIDATES: &str = "a=ice-ufrag:AbCd\r\na=ice-pwd:0123456789012345678901\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n\
    a=candidate:1 1 udp 2113937151 127.0.0.1 50000 typ host\r\na=candidate:2 1 udp 1 a.local 1 typ host\r\n\
    a=candidate:3 1 sctp 1 127.0.0.1 1 typ host\r\na=end-of-candidates\r\n";

const SDP: (&str, &str) = ("content-type", "application/sdp");
const FRAGMENT: (&str, &str) = ("content-type", "application/trickle-ice-sdpfrag");

async fn patch(router: &Router, location: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let headers: Vec<_> = [GOOD].iter().chain(headers).copied().collect();
    request(router, Method::PATCH, location, &headers, body.as_bytes()).await
}

#[tokio::test]
async fn an_offer_is_answered() {
    let (ingest, door) = ingest(Config::default()).await;
    let router = ingest.router();
    let answer = post(&router, "/whip/algebra", OFFER).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    assert_eq!(answer.header("content-type"), "application/sdp");
    let location = answer.header("location").to_owned();
    let session = location
        .strip_prefix("/whip/algebra/")
        .expect("the session's place");
    assert!(session.len() >= 32, "unguessable");
    let etag = answer.header("etag");
    assert!(
        etag.starts_with('"') && etag.ends_with('"') && etag.len() > 2,
        "strong: {etag}"
    );

    let lines: Vec<&str> = answer.body.lines().collect();
    assert_eq!(lines[0], "v=0");
    let candidates: Vec<&&str> = lines.iter().filter(|l| l.starts_with("a=candidate:")).collect();
    let udp = format!(
        "a=candidate:1 1 udp 2130706431 127.0.0.1 {} typ host",
        ingest.udp()[0].port()
    );
    let tcp = format!(
        "a=candidate:2 1 tcp 1520435199 127.0.0.1 {} typ host tcptype passive",
        ingest.tcp()[0].port()
    );
    assert_eq!(candidates, [&udp.as_str(), &tcp.as_str()]);
    assert!(lines.contains(&"a=recvonly") && !lines.contains(&"a=sendonly"));
    assert!(answer.body.contains("stereo=1;sprop-stereo=1"));
    assert!(answer.body.contains("a=rtpmap:96 H264/90000"));

    assert_eq!(delete(&router, &location).await, 200);
    assert_eq!(
        delete(&router, &location).await,
        200,
        "publishers ask again, or late"
    );
    assert_eq!(door.on_air("algebra").has_left(1).await, [Left::Deleted]);
    assert_eq!(
        post(&router, "/whip/algebra", OFFER).await.status,
        201,
        "the place is free again"
    );
}

#[tokio::test]
async fn who_may_not_publish() {
    let (ingest, door) = ingest(Config::default()).await;
    let router = ingest.router();
    let with = async |auth: Option<&str>| {
        let auth = auth.map(|auth| ("authorization", auth));
        let headers: Vec<_> = [SDP].into_iter().chain(auth).collect();
        request(
            &router,
            Method::POST,
            "/whip/algebra",
            &headers,
            b"not even an offer",
        )
        .await
    };
    for nobody in [None, Some("Bearer bad"), Some("Basic good"), Some("good")] {
        let answer = with(nobody).await;
        assert_eq!(answer.status, 401, "{nobody:?}");
        assert_eq!(answer.header("www-authenticate"), "Bearer");
        assert_eq!(answer.problem(), "a token is needed");
    }
    let answer = with(Some("Bearer other")).await;
    assert_eq!(answer.status, 403);
    assert_eq!(answer.problem(), "this token is for another broadcast");
    assert_eq!(
        with(Some("bearer good")).await.status,
        400,
        "a scheme has no case: on to the body"
    );

    let answer = post(&router, "/whip/algebra", OFFER).await;
    let location = answer.header("location");
    for (method, body) in [(Method::PATCH, "a=mid:0\r\n"), (Method::DELETE, "")] {
        let answer = request(&router, method.clone(), location, &[FRAGMENT], body.as_bytes()).await;
        assert_eq!(answer.status, 401, "{method}");
    }
    assert_eq!(door.on_air("algebra").left.borrow().len(), 0);
}

#[tokio::test]
async fn what_the_door_says_is_told() {
    let (ingest, _) = ingest(Config::default()).await;
    let router = ingest.router();
    let unknown = post(&router, "/whip/unknown", OFFER).await;
    assert_eq!(
        (unknown.status.as_u16(), &*unknown.problem()),
        (404, "there is no such broadcast")
    );
    let over = post(&router, "/whip/over", OFFER).await;
    assert_eq!(
        (over.status.as_u16(), &*over.problem()),
        (410, "the broadcast has ended")
    );
    let busy = post(&router, "/whip/busy", OFFER).await;
    assert_eq!((busy.status.as_u16(), &*busy.problem()), (503, "come back later"));
    assert!(busy.header("retry-after").parse::<u32>().unwrap() > 0);
    for bad in ["/whip/Not%20a%20name", "/whip/%ff", "/whip/.."] {
        assert_eq!(post(&router, bad, OFFER).await.status, 404, "{bad}");
    }
}

#[tokio::test]
async fn bodies_that_are_not_offers() {
    let (ingest, door) = ingest(Config::default()).await;
    let router = ingest.router();
    let send = async |content_type: &str, body: &[u8]| {
        request(
            &router,
            Method::POST,
            "/whip/algebra",
            &[GOOD, ("content-type", content_type)],
            body,
        )
        .await
    };
    assert_eq!(send("application/json", OFFER.as_bytes()).await.status, 415);
    assert_eq!(
        send("application/sdp", &vec![b'a'; 64 * 1024 + 1]).await.status,
        413
    );
    assert_eq!(send("application/sdp", b"\xff\xfe").await.status, 400);
    assert_eq!(
        send("application/sdp", b"hello").await.problem(),
        "an offer begins with v=0"
    );
    // Whole to us, but not to the stack.
    let bent = OFFER.replace("a=fingerprint:sha-256 ", "a=fingerprint:");
    let answer = send("application/sdp; charset=utf-8", bent.as_bytes()).await;
    assert_eq!(answer.status, 400, "{}", answer.body);
    let hevc = OFFER.replace("H264/90000", "H265/90000");
    let answer = send("application/sdp", hevc.as_bytes()).await;
    assert_eq!(answer.status, 422);
    assert_eq!(answer.problem(), "no video codec in common: H264, VP8, VP9, AV1");
    let watcher = OFFER.replace("a=sendonly", "a=recvonly");
    assert_eq!(send("application/sdp", watcher.as_bytes()).await.status, 422);
    let again = &OFFER[OFFER.find("m=video").unwrap()..];
    let two = format!("{OFFER}{again}");
    assert_eq!(
        send("application/sdp", two.as_bytes()).await.status,
        400,
        "one mid twice"
    );
    let three = format!("{OFFER}{again}{again}");
    assert_eq!(send("application/sdp", three.as_bytes()).await.status, 422);
    let answer = request(
        &router,
        Method::POST,
        "/whip/algebra?takeover=maybe",
        &[GOOD, SDP],
        OFFER.as_bytes(),
    )
    .await;
    assert_eq!(answer.status, 400, "a query we cannot read");
    answer.problem();
    assert_eq!(door.on_air("algebra").left.borrow().len(), 0, "nothing was begun");
    assert_eq!(
        post(&router, "/whip/algebra", OFFER).await.status,
        201,
        "and nothing holds the place"
    );
}

#[tokio::test]
async fn trickle_is_taken() {
    let (ingest, _) = ingest(Config::default()).await;
    let router = ingest.router();
    let answer = post(&router, "/whip/algebra", OFFER).await;
    let (location, etag) = (
        answer.header("location").to_owned(),
        answer.header("etag").to_owned(),
    );
    for headers in [
        &[FRAGMENT][..],
        &[FRAGMENT, ("if-match", &etag)],
        &[FRAGMENT, ("if-match", "*")],
        &[FRAGMENT, ("if-match", "\"*\"")],
    ] {
        let answer = patch(&router, &location, headers, CANDIDATES).await;
        assert_eq!(
            (answer.status.as_u16(), &*answer.body, answer.header("etag")),
            (204, "", "")
        );
    }
    let wrong = [FRAGMENT, ("if-match", "\"another\"")];
    assert_eq!(patch(&router, &location, &wrong, CANDIDATES).await.status, 412);
    let json = [("content-type", "application/json")];
    assert_eq!(patch(&router, &location, &json, "{}").await.status, 415);
    assert_eq!(patch(&router, &location, &[FRAGMENT], "{}").await.status, 400);
    assert_eq!(delete(&router, &location).await, 200, "the session lived on");
    assert_eq!(
        patch(&router, &location, &[FRAGMENT], CANDIDATES).await.status,
        404,
        "now it is over"
    );
}

#[tokio::test]
async fn ice_is_restarted() {
    let (ingest, door) = ingest(Config::default()).await;
    let router = ingest.router();
    let answer = post(&router, "/whip/algebra", OFFER).await;
    let (location, first) = (answer.header("location"), answer.header("etag"));
    let value = |sdp: &str, name: &str| {
        let line = sdp
            .lines()
            .find_map(|line| line.strip_prefix(&format!("a={name}:")));
        line.unwrap_or_default().to_owned()
    };
    let restart = CANDIDATES.replace("AbCd", "WxYz");
    assert_eq!(patch(&router, location, &[FRAGMENT], &restart).await.status, 428);
    let wrong = [FRAGMENT, ("if-match", "\"another\"")];
    assert_eq!(patch(&router, location, &wrong, &restart).await.status, 412);
    let right = [FRAGMENT, ("if-match", first)];
    let short = restart.replace("0123456789012345678901", "short");
    assert_eq!(patch(&router, location, &right, &short).await.status, 400);
    assert_eq!(
        patch(&router, location, &right, CANDIDATES).await.status,
        204,
        "what failed changed nothing"
    );

    let restarted = patch(&router, location, &right, &restart).await;
    assert_eq!(restarted.status, 200, "{}", restarted.body);
    assert_eq!(
        restarted.header("content-type"),
        "application/trickle-ice-sdpfrag"
    );
    let second = restarted.header("etag");
    assert!(second.starts_with('"') && second != first);
    for name in ["ice-ufrag", "ice-pwd"] {
        assert_ne!(value(&restarted.body, name), value(&answer.body, name), "{name}");
    }
    assert!(value(&restarted.body, "ice-pwd").len() >= 22);
    let candidates = |sdp: &str| {
        sdp.lines()
            .filter(|l| l.contains("candidate"))
            .map(String::from)
            .collect::<Vec<_>>()
    };
    assert_eq!(candidates(&restarted.body), candidates(&answer.body));
    assert_eq!(value(&restarted.body, "mid"), "0");

    assert_eq!(
        patch(&router, location, &right, &restart).await.status,
        412,
        "that ETag is of the generation before"
    );
    assert_eq!(
        patch(&router, location, &[FRAGMENT], &restart).await.status,
        204,
        "the credentials are those of now: candidates"
    );
    for any in ["*", "\"*\""] {
        let again = restart.replace("WxYz", &format!("Q{}", any.len()).repeat(3));
        let any = [FRAGMENT, ("if-match", any)];
        assert_eq!(patch(&router, location, &any, &again).await.status, 200);
    }
    assert!(door.on_air("algebra").left.borrow().is_empty());
    let end = [GOOD, ("if-match", first)];
    let gone = request(&router, Method::DELETE, location, &end, b"").await;
    assert_eq!(gone.status, 200, "a DELETE has no condition");
}

#[tokio::test]
async fn sessions_belong_to_their_broadcast() {
    let (ingest, _) = ingest(Config::default()).await;
    let router = ingest.router();
    let answer = post(&router, "/whip/algebra", OFFER).await;
    let elsewhere = answer.header("location").replace("/algebra/", "/botany/");
    assert_eq!(delete(&router, &elsewhere).await, 404);
    assert_eq!(
        delete(&router, "/whip/algebra/00000000000000000000000000000000").await,
        404
    );
    assert_eq!(delete(&router, answer.header("location")).await, 200);
    assert_eq!(
        delete(&router, &elsewhere).await,
        404,
        "a tombstone has its place too"
    );
}

#[tokio::test]
async fn what_any_page_may_ask() {
    let (ingest, _) = ingest(Config::default()).await;
    let router = ingest.router();
    for path in ["/whip/algebra", "/whip/algebra/any"] {
        let options = request(&router, Method::OPTIONS, path, &[], b"").await;
        assert_eq!(options.status, 204);
        assert_eq!(options.header("accept-post"), "application/sdp");
        assert_eq!(options.header("accept-patch"), "application/trickle-ice-sdpfrag");
        for method in ["POST", "PATCH", "DELETE"] {
            assert!(options.header("access-control-allow-methods").contains(method));
        }
        for header in ["Authorization", "Content-Type", "If-Match"] {
            assert!(options.header("access-control-allow-headers").contains(header));
        }
        let get = request(&router, Method::GET, path, &[], b"").await;
        assert_eq!((get.status.as_u16(), &*get.body), (204, ""));
        assert_eq!(
            request(&router, Method::PUT, path, &[GOOD], b"").await.status,
            405
        );
    }
}

#[tokio::test]
async fn ice_servers_are_told_to_publishers() {
    let server = |json: &str| serde_json::from_str(json).unwrap();
    let (ingest, _) = ingest(Config {
        ice_servers: vec![
            server(r#"{"urls": ["stun:stun.test:3478"]}"#),
            server(r#"{"urls": ["turn:turn.test", "turns:turn.test"], "secret": "north"}"#),
        ],
        ..Config::default()
    })
    .await;
    let router = ingest.router();
    let links = |answer: &Answer| {
        let links = answer.headers.get_all("link").iter();
        links
            .map(|link| link.to_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let created = post(&router, "/whip/algebra", OFFER).await;
    let told = links(&created);
    assert_eq!(told.len(), 3, "one header each: {told:?}");
    assert_eq!(told[0], "<stun:stun.test:3478>; rel=\"ice-server\"");
    assert!(told[1].starts_with("<turn:turn.test>; rel=\"ice-server\"; username=\""));
    assert!(
        told[1].contains(":good\"; credential=\"") && told[1].ends_with("; credential-type=\"password\"")
    );
    assert!(created.header("access-control-expose-headers").contains("Link"));

    let options = async |headers: &[(&str, &str)]| {
        let answer = request(&router, Method::OPTIONS, "/whip/algebra", headers, b"").await;
        assert_eq!(answer.status, 204);
        links(&answer)
    };
    assert_eq!(options(&[]).await, told[..1], "a preflight");
    assert_eq!(options(&[("authorization", "Bearer bad")]).await, told[..1]);
    assert_eq!(options(&[GOOD]).await.len(), 3);
}

#[tokio::test]
async fn who_comes_to_the_wrong_server_is_sent_to_the_right_one() {
    let (ingest, _) = ingest(Config::default()).await;
    let router = ingest.router();
    let sent = post(&router, "/whip/elsewhere?source=screen&takeover=true", OFFER).await;
    assert_eq!(sent.status, 307);
    assert_eq!(
        sent.header("location"),
        "https://two.test/whip/elsewhere?source=screen&takeover=true&pass=good.screen"
    );
    assert_eq!(sent.header("cache-control"), "no-store");
    let nobody = request(&router, Method::POST, "/whip/elsewhere", &[SDP], b"").await;
    assert_eq!(nobody.status, 401, "who may not publish is not told where");
    for method in [Method::PATCH, Method::DELETE] {
        let headers = [GOOD, FRAGMENT];
        let answer = request(&router, method, "/whip/elsewhere/any", &headers, b"a=mid:0\r\n").await;
        assert_eq!(answer.status, 404, "only a POST is");
    }
}

#[tokio::test]
async fn who_was_sent_here_comes_in_by_the_pass() {
    let (ingest, _) = ingest(Config::default()).await;
    let router = ingest.router();
    let by = async |path: &str| request(&router, Method::POST, path, &[SDP], OFFER.as_bytes()).await;
    let created = by("/whip/algebra?pass=good.main").await;
    assert_eq!(created.status, 201);
    // It is the same person as the token's.
    let again = post(&router, "/whip/algebra", OFFER).await;
    assert_eq!(again.status, 201);
    assert_eq!(by("/whip/algebra?pass=none").await.status, 401);
    // The token goes first, where there is one.
    let both = [SDP, ("authorization", "Bearer other")];
    let refused = request(&router, Method::POST, "/whip/algebra?pass=good.main", &both, b"").await;
    assert_eq!(refused.status, 403);
    // A session is only for who has a token.
    for method in [Method::PATCH, Method::DELETE] {
        let path = format!("{}?pass=good.main", again.header("location"));
        let answer = request(&router, method, &path, &[FRAGMENT], b"a=mid:0\r\n").await;
        assert_eq!(answer.status, 401);
    }
}

#[tokio::test]
async fn a_pass_is_not_made_new_by_being_sent_on() {
    let (ingest, _) = ingest(Config::default()).await;
    let router = ingest.router();
    let asked = "/whip/elsewhere?pass=good.screen&source=screen";
    let sent = request(&router, Method::POST, asked, &[SDP], b"").await;
    assert_eq!(
        sent.header("location"),
        "https://two.test/whip/elsewhere?source=screen&pass=good.screen"
    );
    // By a token there is a new one for the old one.
    let sent = post(&router, "/whip/elsewhere?pass=old", OFFER).await;
    assert_eq!(
        sent.header("location"),
        "https://two.test/whip/elsewhere?pass=good.main"
    );
}

#[tokio::test]
async fn there_is_room_for_so_many() {
    let (ingest, _) = ingest(Config {
        max_sessions: 1,
        ..Config::default()
    })
    .await;
    let router = ingest.router();
    let first = post(&router, "/whip/algebra", OFFER).await;
    let second = post(&router, "/whip/botany", OFFER).await;
    assert_eq!(
        (second.status.as_u16(), &*second.problem()),
        (503, "too many publishers")
    );
    assert!(second.header("retry-after").parse::<u32>().unwrap() > 0);
    assert_eq!(delete(&router, first.header("location")).await, 200);
    assert_eq!(post(&router, "/whip/botany", OFFER).await.status, 201);
}

#[tokio::test]
async fn one_publisher_at_a_time_unless_told() {
    let (ingest, door) = ingest(Config::default()).await;
    let router = ingest.router();
    let first = post(&router, "/whip/algebra", OFFER).await;
    let second = post_as(SECOND, &router, "/whip/algebra", OFFER).await;
    assert_eq!(second.status, 409);
    assert!(second.problem().contains("?takeover=true"));
    assert_eq!(
        post_as(SECOND, &router, "/whip/botany", OFFER).await.status,
        201,
        "another broadcast"
    );
    let third = post_as(SECOND, &router, "/whip/algebra?takeover=true", OFFER).await;
    assert_eq!(third.status, 201);
    assert_eq!(door.on_air("algebra").has_left(1).await, [Left::TakenOver]);
    assert_eq!(delete(&router, first.header("location")).await, 200);
    assert_eq!(delete(&router, third.header("location")).await, 200);
    assert_eq!(
        door.on_air("algebra").has_left(2).await,
        [Left::TakenOver, Left::Deleted]
    );
}

#[tokio::test]
async fn who_comes_again_takes_their_own_place_over() {
    let (ingest, door) = ingest(Config::default()).await;
    let router = ingest.router();
    let left = || door.on_air("algebra").left.borrow().clone();
    assert_eq!(post(&router, "/whip/algebra", OFFER).await.status, 201);
    assert_eq!(
        post(&router, "/whip/algebra?takeover=false", OFFER).await.status,
        409,
        "unless they would rather not"
    );
    assert_eq!(post(&router, "/whip/algebra", OFFER).await.status, 201);
    assert_eq!(left(), [Left::TakenOver], "it had left when the answer came");
    assert_eq!(
        post(&router, "/whip/algebra?source=main", OFFER).await.status,
        201,
        "what nobody names is main"
    );
    assert_eq!(left(), [Left::TakenOver; 2]);
}

#[tokio::test]
async fn sources_stand_side_by_side() {
    let (ingest, door) = ingest(Config::default()).await;
    let router = ingest.router();
    for bad in ["", "Screen", "-x", "a%20b", &"x".repeat(33)] {
        let answer = post(&router, &format!("/whip/algebra?source={bad}"), OFFER).await;
        assert_eq!(answer.status, 400, "{bad:?}");
        assert!(answer.problem().contains("a source's name"));
    }
    let main = post(&router, "/whip/algebra", OFFER).await;
    let screen = post(&router, "/whip/algebra?source=screen", OFFER).await;
    let ada = post_as(SECOND, &router, "/whip/algebra?source=ada", OFFER).await;
    for answer in [&main, &screen, &ada] {
        assert_eq!(answer.status, 201);
    }
    assert_eq!(
        post_as(SECOND, &router, "/whip/algebra?source=screen", OFFER)
            .await
            .status,
        409,
        "each has its own place"
    );
    assert!(door.on_air("algebra").left.borrow().is_empty());
    assert_eq!(delete(&router, screen.header("location")).await, 200);
    assert_eq!(door.on_air("algebra").has_left(1).await, [Left::Deleted]);
    ingest.end(&"algebra".parse().unwrap()).await;
    assert_eq!(
        *door.on_air("algebra").left.borrow(),
        [Left::Deleted, Left::Closed, Left::Closed],
        "a broadcast ends with all its sources"
    );
}

#[tokio::test]
async fn a_queue_has_an_end() {
    let (ingest, door) = ingest(Config {
        second_publisher: SecondPublisher::Queue,
        ..Config::default()
    })
    .await;
    let router = ingest.router();
    let first = post(&router, "/whip/algebra", OFFER).await;
    let second = post_as(SECOND, &router, "/whip/algebra", OFFER).await;
    assert_eq!((first.status.as_u16(), second.status.as_u16()), (201, 201));
    assert!(
        door.on_air("algebra").left.borrow().is_empty(),
        "nobody had to go"
    );
    let again = post_as(SECOND, &router, "/whip/algebra", OFFER).await;
    assert_eq!(again.status, 201);
    assert_eq!(
        delete(&router, second.header("location")).await,
        200,
        "it was replaced"
    );
    for _ in 0..3 {
        let stubborn = post_as(SECOND, &router, "/whip/algebra?takeover=false", OFFER).await;
        assert_eq!(stubborn.status, 201);
    }
    let crowded = post_as(SECOND, &router, "/whip/algebra?takeover=false", OFFER).await;
    assert_eq!(crowded.status, 503);
    assert!(!crowded.header("retry-after").is_empty());
    ingest.shutdown().await;
    assert_eq!(
        *door.on_air("algebra").left.borrow(),
        [Left::Closed],
        "who never was on air does not leave it"
    );
}

#[tokio::test]
async fn a_publisher_that_comes_back_replaces_itself_alone() {
    let (ingest, door) = ingest(Config::default()).await;
    let router = ingest.router();
    let replacing = async |session: &str| {
        let path = format!("/whip/algebra?takeover={session}");
        post(&router, &path, OFFER).await
    };
    let session = |answer: &Answer| answer.header("location").rsplit('/').next().unwrap().to_owned();

    let first = session(&post(&router, "/whip/algebra", OFFER).await);
    let second = replacing(&first).await;
    assert_eq!(second.status, 201);
    assert_eq!(door.on_air("algebra").has_left(1).await, [Left::TakenOver]);

    let stale = replacing(&first).await;
    assert_eq!(stale.status, 409, "somebody else is on air now");
    stale.problem();
    assert_eq!(door.on_air("algebra").left.borrow().len(), 1);

    assert_eq!(delete(&router, second.header("location")).await, 200);
    let third = replacing(&first).await;
    assert_eq!(third.status, 201, "nobody is");
    assert_eq!(
        door.on_air("algebra").has_left(2).await,
        [Left::TakenOver, Left::Deleted]
    );
}

#[tokio::test]
async fn the_server_ends_sessions() {
    let (ingest, door) = ingest(Config::default()).await;
    let router = ingest.router();
    for broadcast in ["algebra", "botany"] {
        assert_eq!(
            post(&router, &format!("/whip/{broadcast}"), OFFER).await.status,
            201
        );
    }
    ingest.end(&"algebra".parse().unwrap()).await;
    assert_eq!(
        *door.on_air("algebra").left.borrow(),
        [Left::Closed],
        "it is over when end() returns"
    );
    assert_eq!(door.on_air("botany").left.borrow().len(), 0);
    ingest.end(&"nobody".parse().unwrap()).await;
    ingest.shutdown().await;
    assert_eq!(*door.on_air("botany").left.borrow(), [Left::Closed]);
    let late = post(&router, "/whip/algebra", OFFER).await;
    assert_eq!(
        (late.status.as_u16(), &*late.problem()),
        (503, "the server is stopping")
    );
}

#[tokio::test]
async fn a_publisher_that_never_comes_is_given_up() {
    let (ingest, door) = ingest(Config {
        silence_s: 6,
        ..Config::default()
    })
    .await;
    assert_eq!(post(&ingest.router(), "/whip/algebra", OFFER).await.status, 201);
    assert_eq!(door.on_air("algebra").has_left(1).await, [Left::Lost]);
}
