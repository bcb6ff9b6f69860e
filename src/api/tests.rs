//! The interface as its callers see it: requests in, answers out, over rooms and an archive of their own.

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};
use timeline::Arrangement;
use tower::ServiceExt;

use super::*;
use crate::broadcasts::Opened;
use crate::doors::Doors;
use crate::{clock, config};

struct World {
    api: Api,
    doors: Arc<Doors>,
    broadcast: Arc<Broadcast>,
    openings: tokio::sync::mpsc::UnboundedReceiver<Opened>,
    data: tempfile::TempDir,
}

impl World {
    async fn open() -> World {
        let data = tempfile::tempdir().unwrap();
        let archive = Arc::new(packager::archive::Disk::open(data.path().join("media")).unwrap());
        let auth = Arc::new(Auth::open(&config::Auth::default(), data.path()).unwrap());
        let (broadcasts, openings) = Broadcasts::open(archive.clone()).await.unwrap();
        let defaults = Terms {
            guests: true,
            latency: Latency::Standard,
            part_hold_back_ms: 0,
            chat_subtitles: false,
        };
        let doors = Arc::new(Doors {
            auth: auth.clone(),
            broadcasts: broadcasts.clone(),
            create_on_publish: true,
            defaults,
            owners: None,
        });
        let ingest = ingest::Config {
            udp: vec![(std::net::Ipv4Addr::LOCALHOST, 0).into()],
            tcp: ingest::Tcp::Beside(false),
            ..ingest::Config::default()
        };
        let ingest = Ingest::bind(ingest, doors.clone()).await.unwrap();
        let record = data.path().join("rooms.db");
        let rooms = chat::Rooms::open(chat::Config::default(), &record, archive, doors.clone())
            .await
            .unwrap();
        let wanted = Wanted {
            id: "algebra".parse().unwrap(),
            title: "Algebra".into(),
            terms: defaults,
        };
        let broadcast = broadcasts.create(wanted).await.unwrap();
        let api = Api {
            auth,
            broadcasts,
            defaults,
            rooms,
            arrivals: Arc::default(),
            ingest,
        };
        World {
            api,
            doors,
            broadcast,
            openings,
            data,
        }
    }

    fn token(&self, broadcast: &str, role: Role) -> String {
        let mut grant = Grant::new(&broadcast.parse().unwrap(), role, role.to_string());
        grant.source = (role == Role::Cohost).then(|| "ada".parse().unwrap());
        self.api.auth.issue(grant, TOKEN_TTL).unwrap()
    }

    /// The status and the body of an answer.
    async fn ask(&self, method: &str, path: &str, token: &str, body: Value) -> (u16, Value) {
        let request = Request::builder()
            .method(method)
            .uri(format!("/api/v1/broadcasts/{path}"))
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", "application/json")
            .body(Body::from(body.to_string()))
            .unwrap();
        let answer = self.api.clone().router().oneshot(request).await.unwrap();
        let status = answer.status().as_u16();
        let body = axum::body::to_bytes(answer.into_body(), MAX_BODY).await.unwrap();
        // Those who do not get as far as a handler are told in text.
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }
}

fn solo(source: &str) -> Value {
    json!({ "arrangement": "solo", "sources": [source] })
}

#[tokio::test]
async fn the_host_arranges_the_pictures_and_everybody_with_a_studio_sees_it() {
    let mut world = World::open().await;
    let host = world.token("algebra", Role::Host);
    let answer = world.ask("PUT", "algebra/layout", &host, solo("screen")).await;
    let stage = json!({ "layout": solo("screen"), "on_air": [], "cohosts": [] });
    assert_eq!(answer, (200, stage.clone()));
    for role in [Role::Host, Role::Cohost, Role::Moderator, Role::Operator] {
        let token = world.token("algebra", role);
        let answer = world.ask("GET", "algebra/layout", &token, Value::Null).await;
        assert_eq!(answer, (200, stage.clone()), "{role}");
    }
    world.broadcast.open_line(clock::now()).unwrap();
    let Opened(_, mut source) = world.openings.recv().await.unwrap();
    let Ok(Some(timeline::feed::Record::Layout(told))) = source.next().await else {
        panic!("whoever makes the picture is told first")
    };
    assert_eq!(told.arrangement, Arrangement::Solo);
    let kept = std::fs::read(world.data.path().join("media/algebra/broadcast.json")).unwrap();
    let kept: Value = serde_json::from_slice(&kept).unwrap();
    assert_eq!(kept["layout"], solo("screen"));
}

#[tokio::test]
async fn nobody_else_arranges_invites_or_looks() {
    let world = World::open().await;
    let name = || json!({ "name": "Ada" });
    for (role, broadcast) in [
        (Role::Cohost, "algebra"),
        (Role::Moderator, "algebra"),
        (Role::Participant, "algebra"),
        (Role::Viewer, "algebra"),
        (Role::Host, "biology"),
    ] {
        let token = world.token(broadcast, role);
        let (status, _) = world.ask("PUT", "algebra/layout", &token, solo("main")).await;
        assert_eq!(status, 403, "{role}");
        let (status, _) = world.ask("POST", "algebra/cohosts", &token, name()).await;
        assert_eq!(status, 403, "{role}");
        let (status, _) = world
            .ask("DELETE", "algebra/cohosts/ada", &token, Value::Null)
            .await;
        assert_eq!(status, 403, "{role}");
        let (status, _) = world.ask("POST", "algebra/end", &token, Value::Null).await;
        assert_eq!(status, 403, "{role}");
    }
    for (role, broadcast) in [
        (Role::Participant, "algebra"),
        (Role::Viewer, "algebra"),
        (Role::Cohost, "biology"),
    ] {
        let token = world.token(broadcast, role);
        let (status, _) = world.ask("GET", "algebra/layout", &token, Value::Null).await;
        assert_eq!(status, 403, "{role}");
    }
    let (status, _) = world.ask("GET", "algebra/layout", "garbage", Value::Null).await;
    assert_eq!(status, 401);
    assert_eq!(world.broadcast.layout(), timeline::Layout::default());
}

#[tokio::test]
async fn a_layout_that_cannot_be_shown_is_refused() {
    let world = World::open().await;
    let host = world.token("algebra", Role::Host);
    for (body, status) in [
        (
            json!({ "arrangement": "side-by-side", "sources": ["a", "b", "c", "d", "e"] }),
            400,
        ),
        (
            json!({ "arrangement": "side-by-side", "sources": ["a", "a"] }),
            400,
        ),
        (json!({ "arrangement": "mosaic" }), 422),
        (solo("Not a name"), 422),
        (json!({ "arrangement": "auto", "canvas": 3 }), 422),
        (json!("auto"), 422),
    ] {
        let (answer, problem) = world.ask("PUT", "algebra/layout", &host, body.clone()).await;
        assert_eq!(answer, status, "{body}");
        assert!(problem["detail"].is_string(), "{body}");
    }
    let (status, _) = world
        .ask(
            "PUT",
            "no-such/layout",
            &world.token("no-such", Role::Host),
            solo("main"),
        )
        .await;
    assert_eq!(status, 404);
    assert_eq!(world.broadcast.layout(), timeline::Layout::default());
}

#[tokio::test]
async fn after_the_end_nothing_is_arranged_and_nobody_invited() {
    let world = World::open().await;
    let host = world.token("algebra", Role::Host);
    world.broadcast.end();
    let (status, _) = world.ask("PUT", "algebra/layout", &host, solo("main")).await;
    assert_eq!(status, 409);
    let (status, _) = world
        .ask("POST", "algebra/cohosts", &host, json!({ "name": "Ada" }))
        .await;
    assert_eq!(status, 410);
    let (status, _) = world
        .ask("DELETE", "algebra/cohosts/ada", &host, Value::Null)
        .await;
    assert_eq!(status, 410);
}

#[tokio::test]
async fn a_co_host_gets_a_studio_of_their_own() {
    let world = World::open().await;
    let host = world.token("algebra", Role::Host);
    let invite = |name: &'static str| world.ask("POST", "algebra/cohosts", &host, json!({ "name": name }));
    let (status, invited) = invite(" Ada Lovelace ").await;
    assert_eq!((status, invited["name"].as_str()), (201, Some("Ada Lovelace")));
    let claims = world.api.auth.verify(invited["token"].as_str()).unwrap();
    assert_eq!(
        (claims.role, claims.name.as_str()),
        (Role::Cohost, "Ada Lovelace")
    );
    assert_eq!(claims.source.as_ref().map(|s| s.as_str()), Some("ada-lovelace"));
    assert!(claims.covers(&world.broadcast.id));
    let link = format!("/studio/algebra#token={}", invited["token"].as_str().unwrap());
    assert_eq!(invited["studio"], link);
    let (_, other) = invite("Ada Lovelace").await;
    assert_eq!(other["source"], "ada-lovelace-2");
    for bad in ["", "  ", "a\nb"] {
        assert_eq!(invite(bad).await.0, 400, "{bad:?}");
    }
}

#[tokio::test]
async fn an_invitation_that_is_withdrawn_opens_nothing_and_another_does() {
    use chat::Gate;
    use ingest::Door;
    let world = World::open().await;
    let host = world.token("algebra", Role::Host);
    let invite = async || {
        let (status, invited) = world
            .ask("POST", "algebra/cohosts", &host, json!({ "name": "Ada" }))
            .await;
        assert_eq!((status, invited["source"].as_str()), (201, Some("ada")));
        invited["token"].as_str().unwrap().to_owned()
    };
    let id = world.broadcast.id.clone();
    let publishes = async |token: &str| world.doors.authorize(&id, Some(token), None).await;
    let void = ingest::Refusal::Forbidden(Withdrawn.to_string());

    let mut tokens = vec![invite().await];
    // All of it in one second: each link is void from its own withdrawal on, and not from one before.
    for _ in 0..3 {
        let token = tokens.last().unwrap();
        let grant = publishes(token).await.unwrap();
        assert_eq!(grant.source.as_str(), "ada");
        let (status, stage) = world.ask("GET", "algebra/layout", token, Value::Null).await;
        assert_eq!((status, &stage["cohosts"]), (200, &json!(["ada"])));

        let (status, stage) = world
            .ask("DELETE", "algebra/cohosts/ada", &host, Value::Null)
            .await;
        assert_eq!((status, &stage["cohosts"]), (200, &json!([])));
        // One that was let in at the door before, and stands between it and the air.
        let admitted = world.doors.admit(&id, &grant).await;
        assert_eq!(admitted.err(), Some(void.clone()));
        for token in &tokens {
            assert_eq!(publishes(token).await, Err(void.clone()));
            let (status, problem) = world.ask("GET", "algebra/layout", token, Value::Null).await;
            assert_eq!((status, &problem["detail"]), (403, &json!(Withdrawn.to_string())));
            let room = world.doors.enter(&id, Some(token)).await;
            assert!(matches!(room, Err(chat::Refusal::Forbidden(_))));
        }
        tokens.push(invite().await);
    }
    // A host is nobody's guest, whatever they publish as.
    let wanted = "ada".parse().unwrap();
    assert!(
        world
            .doors
            .authorize(&id, Some(&host), Some(&wanted))
            .await
            .is_ok()
    );

    let archive = Arc::new(packager::archive::Disk::open(world.data.path().join("media")).unwrap());
    let (again, _openings) = Broadcasts::open(archive).await.unwrap();
    let again = again.get(&id).unwrap();
    let void: Vec<bool> = tokens
        .iter()
        .map(|token| again.has_withdrawn(&world.api.auth.verify(Some(token)).unwrap()))
        .collect();
    assert_eq!(void, [true, true, true, false], "after a restart");
}

#[tokio::test]
async fn only_what_a_co_host_may_be_is_withdrawn() {
    let world = World::open().await;
    let host = world.token("algebra", Role::Host);
    for nobody in ["main", "screen", "ada-screen", "Ada%20L"] {
        let path = format!("algebra/cohosts/{nobody}");
        let (status, problem) = world.ask("DELETE", &path, &host, Value::Null).await;
        assert_eq!(status, 404, "{nobody}");
        assert!(problem["detail"].is_string(), "{nobody}");
    }
    // A token of the command line names a source that nobody was promised.
    let bo = world.token("algebra", Role::Cohost);
    let (status, _) = world
        .ask("DELETE", "algebra/cohosts/ada", &host, Value::Null)
        .await;
    assert_eq!(status, 200);
    let (status, _) = world.ask("GET", "algebra/layout", &bo, Value::Null).await;
    assert_eq!(status, 403);
}

#[test]
fn names_cannot_be_disguised() {
    assert!(is_name("Ana María"));
    assert!(is_name("नमस्ते"));
    for bad in ["a\nb", "a\u{202e}b", "a\u{200b}b", &"x".repeat(41)] {
        assert!(!is_name(bad), "{bad:?}");
    }
}

#[test]
fn random_ids_are_ids() {
    assert_ne!(random_id(), random_id());
}
