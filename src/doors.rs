//! The doors of the stages: who may publish, who may enter a room.

use std::sync::Arc;

use async_trait::async_trait;
use timeline::{BroadcastId, Line, SourceName, Timeline, WallTime, feed};
use tokio::sync::watch;

use crate::auth::{Auth, Claims, Denied, Role};
use crate::broadcasts::{Broadcast, Broadcasts, Refused, Terms, Wanted};
use crate::clock;
use crate::owners::Owners;
use crate::sources::Withdrawn;

/// In the year 2255; `WallTime` ends a few years later.
const LAST_SECOND: i64 = 9_000_000_000;

pub struct Doors {
    pub auth: Arc<Auth>,
    pub broadcasts: Broadcasts,
    /// Whether the first publish makes the broadcast.
    pub create_on_publish: bool,
    pub defaults: Terms,
    /// Where several nodes share the broadcasts out among them.
    pub owners: Option<Arc<Owners>>,
}

#[async_trait]
impl ingest::Door for Doors {
    /// The person is the token's subject. Each token that is issued has its own: whoever publishes with the same
    /// token is the same person, on whatever machine.
    async fn authorize(
        &self,
        id: &BroadcastId,
        bearer: Option<&str>,
        source: Option<&SourceName>,
    ) -> Result<ingest::Grant, ingest::Refusal> {
        let claims = self
            .auth
            .verify(bearer)
            .map_err(|e| ingest::Refusal::Unauthorized(e.to_string()))?;
        if !claims.covers(id) {
            return Err(ingest::Refusal::Forbidden(format!("this token is not for {id}")));
        }
        let source = source_of(&claims, source)?;
        let grant = ingest::Grant {
            invitation: claims.invitation(),
            person: claims.sub,
            name: claims.name,
            source,
        };
        self.let_in(id, grant).await
    }

    fn pass(&self, id: &BroadcastId, grant: &ingest::Grant) -> Option<String> {
        let pass = self.auth.pass(id, grant);
        pass.inspect_err(|error| tracing::error!(broadcast = %id, "{error:#}"))
            .ok()
    }

    async fn readmit(
        &self,
        id: &BroadcastId,
        pass: &str,
        source: Option<&SourceName>,
    ) -> Result<ingest::Grant, ingest::Refusal> {
        let pass = self
            .auth
            .verify_pass(pass)
            .map_err(|e| ingest::Refusal::Unauthorized(e.to_string()))?;
        if pass.broadcast != *id || source.is_some_and(|source| *source != pass.grant.source) {
            let why = format!("this pass is for {} of {}", pass.grant.source, pass.broadcast);
            return Err(ingest::Refusal::Forbidden(why));
        }
        self.let_in(id, pass.grant).await
    }

    async fn elsewhere(&self, id: &BroadcastId) -> Option<String> {
        self.owners.as_ref()?.elsewhere(id).await
    }

    async fn admit(
        &self,
        id: &BroadcastId,
        grant: &ingest::Grant,
    ) -> Result<Arc<dyn ingest::Publication>, ingest::Refusal> {
        if let Some(owners) = &self.owners {
            // Two first publishers at two nodes: this one is sent to the other's when it asks again.
            let lost = |owner| ingest::Refusal::Unavailable(format!("{owner} has just taken this broadcast"));
            owners.claim(id).await.map_err(lost)?;
        }
        let broadcast = match self.broadcasts.get(id) {
            Some(broadcast) => broadcast,
            None if self.create_on_publish => self.create(id).await?,
            None => return Err(ingest::Refusal::NotFound),
        };
        if broadcast.is_ending() {
            return Err(ingest::Refusal::Ended);
        }
        // Since its token was looked at.
        let invitation = grant.invitation.as_ref();
        if invitation.is_some_and(|invitation| broadcast.sources().is_withdrawn(invitation)) {
            return Err(ingest::Refusal::Forbidden(Withdrawn.to_string()));
        }
        broadcast.arrive();
        let (source, name) = (grant.source.clone(), grant.name.clone());
        let place = broadcast.sources().came(source, name, clock::now());
        let feed = broadcast.source();
        Ok(Arc::new(Publication {
            broadcast,
            place,
            feed,
        }))
    }
}

impl Doors {
    /// What holds for a co-host, by whatever they come.
    async fn let_in(&self, id: &BroadcastId, grant: ingest::Grant) -> Result<ingest::Grant, ingest::Refusal> {
        let Some(invitation) = &grant.invitation else {
            return Ok(grant);
        };
        match self.broadcasts.get(id) {
            Some(broadcast) => match broadcast.sources().is_withdrawn(invitation) {
                true => Err(ingest::Refusal::Forbidden(Withdrawn.to_string())),
                false => Ok(grant),
            },
            // Only a host's first publish makes the broadcast.
            None => match ingest::Door::elsewhere(self, id).await {
                Some(_) => Ok(grant),
                None => Err(ingest::Refusal::NotFound),
            },
        }
    }

    async fn create(&self, id: &BroadcastId) -> Result<Arc<Broadcast>, ingest::Refusal> {
        let wanted = Wanted {
            id: id.clone(),
            title: id.to_string(),
            terms: self.defaults,
        };
        match self.broadcasts.create(wanted).await {
            Ok(broadcast) => Ok(broadcast),
            // Two first publishes at once: the other one has made it.
            Err(Refused::Exists(_)) => self.broadcasts.get(id).ok_or(ingest::Refusal::NotFound),
            Err(error) => Err(ingest::Refusal::Unavailable(error.to_string())),
        }
    }

    fn has_withdrawn(&self, id: &BroadcastId, claims: &Claims) -> bool {
        let broadcast = self.broadcasts.get(id);
        broadcast.is_some_and(|broadcast| broadcast.has_withdrawn(claims))
    }

    /// Who comes, and until when. A watcher without a token is a viewer: watching is open.
    fn person(
        &self,
        id: &BroadcastId,
        token: Option<&str>,
    ) -> Result<(chat::Person, Option<WallTime>), chat::Refusal> {
        let claims = match self.auth.verify(token) {
            Ok(claims) => claims,
            Err(Denied::Missing) => return Ok((anonymous(), None)),
            Err(denied) => return Err(chat::Refusal::Unauthorized(denied.to_string())),
        };
        if !claims.covers(id) {
            return Err(chat::Refusal::Forbidden(format!("this token is not for {id}")));
        }
        if self.has_withdrawn(id, &claims) {
            return Err(chat::Refusal::Forbidden(Withdrawn.to_string()));
        }
        let expires = WallTime::from_unix_millis(claims.exp.clamp(0, LAST_SECOND) * 1000);
        Ok((person(claims), Some(expires)))
    }
}

/// What the bearer publishes as, who asked for `wanted`. A host may be anything; a co-host their own camera and
/// screen.
fn source_of(claims: &Claims, wanted: Option<&SourceName>) -> Result<SourceName, ingest::Refusal> {
    let own = match (claims.role, &claims.source) {
        (Role::Host, _) => return Ok(wanted.cloned().unwrap_or_default()),
        (Role::Cohost, Some(own)) => own,
        (Role::Cohost, None) => {
            let why = "this co-host's token names no source";
            return Err(ingest::Refusal::Forbidden(why.into()));
        }
        _ => {
            let why = "only a host of the broadcast, or a co-host, publishes to it";
            return Err(ingest::Refusal::Forbidden(why.into()));
        }
    };
    match wanted {
        None => Ok(own.clone()),
        Some(wanted) if wanted == own || *wanted == own.screen() => Ok(wanted.clone()),
        Some(wanted) => Err(ingest::Refusal::Forbidden(format!(
            "this token is for {own} and {}, not for {wanted}",
            own.screen()
        ))),
    }
}

fn anonymous() -> chat::Person {
    let id = format!("viewer-{}", uuid::Uuid::new_v4().simple());
    chat::Person {
        id,
        name: "Viewer".into(),
        role: chat::Role::Viewer,
    }
}

fn person(claims: Claims) -> chat::Person {
    let role = match claims.role {
        Role::Host => chat::Role::Host,
        Role::Moderator | Role::Operator => chat::Role::Moderator,
        // They publish; in the room they are one of those who speak.
        Role::Cohost | Role::Participant => chat::Role::Participant,
        Role::Viewer => chat::Role::Viewer,
    };
    chat::Person {
        id: claims.sub,
        name: claims.name,
        role,
    }
}

struct Publication {
    broadcast: Arc<Broadcast>,
    /// Among the sources on air.
    place: u64,
    feed: feed::Producer,
}

impl ingest::Publication for Publication {
    fn open(&self, first: WallTime) -> Option<Timeline> {
        self.broadcast.open_line(first)
    }

    fn feed(&self) -> &feed::Producer {
        &self.feed
    }

    fn left(&self, how: ingest::Left) {
        self.broadcast.sources().left(self.place);
        self.broadcast.leave(how == ingest::Left::Deleted);
    }
}

#[async_trait]
impl chat::Gate for Doors {
    async fn enter(&self, id: &BroadcastId, token: Option<&str>) -> Result<chat::Pass, chat::Refusal> {
        let (person, expires) = self.person(id, token)?;
        let broadcast = self.broadcasts.get(id).ok_or(chat::Refusal::NotFound)?;
        Ok(chat::Pass {
            person,
            line: broadcast.line(),
            expires,
        })
    }

    async fn line(&self, id: &BroadcastId) -> Option<watch::Receiver<Line>> {
        Some(self.broadcasts.get(id)?.line())
    }

    async fn subtitles(&self, id: &BroadcastId) -> bool {
        self.broadcasts
            .get(id)
            .is_some_and(|broadcast| broadcast.terms.chat_subtitles)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(role: Role, source: Option<&str>) -> Claims {
        Claims {
            sub: "1".into(),
            name: "Ada".into(),
            role,
            broadcast: Some("algebra".parse().unwrap()),
            source: source.map(|name| name.parse().unwrap()),
            iat: 0,
            exp: 0,
        }
    }

    /// The source as which somebody publishes; none who may not.
    fn publishes(claims: &Claims, wanted: Option<&str>) -> Option<String> {
        let wanted = wanted.map(|name| name.parse().unwrap());
        Some(source_of(claims, wanted.as_ref()).ok()?.into())
    }

    #[test]
    fn a_host_publishes_as_anything() {
        let host = claims(Role::Host, None);
        for (wanted, source) in [(None, "main"), (Some("screen"), "screen"), (Some("desk"), "desk")] {
            assert_eq!(publishes(&host, wanted).as_deref(), Some(source));
        }
    }

    #[test]
    fn a_co_host_publishes_as_themselves_and_as_their_screen() {
        let ada = claims(Role::Cohost, Some("ada"));
        for (wanted, source) in [
            (None, Some("ada")),
            (Some("ada"), Some("ada")),
            (Some("ada-screen"), Some("ada-screen")),
            (Some("main"), None),
            (Some("screen"), None),
            (Some("bo"), None),
        ] {
            assert_eq!(publishes(&ada, wanted).as_deref(), source, "{wanted:?}");
        }
        assert_eq!(publishes(&claims(Role::Cohost, None), None), None);
    }

    #[test]
    fn nobody_else_publishes() {
        for role in [Role::Moderator, Role::Participant, Role::Viewer, Role::Operator] {
            assert_eq!(publishes(&claims(role, Some("ada")), None), None, "{role}");
        }
    }

    /// Doors of a server that knows no broadcast yet.
    async fn doors(data: &tempfile::TempDir) -> Doors {
        let archive = Arc::new(packager::archive::Disk::open(data.path().join("media")).unwrap());
        let (broadcasts, _openings) = Broadcasts::open(archive).await.unwrap();
        Doors {
            auth: Arc::new(Auth::open(&crate::config::Auth::default(), data.path()).unwrap()),
            broadcasts,
            create_on_publish: true,
            defaults: Terms {
                guests: false,
                latency: crate::broadcasts::Latency::Standard,
                part_hold_back_ms: 0,
                chat_subtitles: false,
            },
            owners: None,
        }
    }

    fn token(doors: &Doors, role: Role, name: &str, source: Option<&str>) -> String {
        let mut grant = crate::auth::Grant::new(&"algebra".parse().unwrap(), role, name);
        grant.source = source.map(|name| name.parse().unwrap());
        doors
            .auth
            .issue(grant, std::time::Duration::from_secs(60))
            .unwrap()
    }

    #[tokio::test]
    async fn who_is_on_air_is_known_by_name_until_they_leave() {
        use ingest::{Door, Left};
        let data = tempfile::tempdir().unwrap();
        let doors = doors(&data).await;
        let id = "algebra".parse().unwrap();
        let host = token(&doors, Role::Host, "Prof. Okafor", None);
        let ada = token(&doors, Role::Cohost, "Ada", Some("ada"));
        let mut publications = Vec::new();
        for bearer in [&host, &ada] {
            let grant = doors.authorize(&id, Some(bearer), None).await.unwrap();
            publications.push(doors.admit(&id, &grant).await.unwrap());
        }
        let broadcast = doors.broadcasts.get(&id).unwrap();
        let names = || -> Vec<_> {
            let on_air = broadcast.on_air().into_iter();
            on_air.map(|one| (one.source.to_string(), one.name)).collect()
        };
        let is = |source: &str, name: &str| (source.to_owned(), Some(name.to_owned()));
        assert_eq!(names(), [is("main", "Prof. Okafor"), is("ada", "Ada")]);
        publications[0].left(Left::Lost);
        assert_eq!(names(), [is("ada", "Ada")]);
        assert!(broadcast.is_on_air());
        publications[1].left(Left::Deleted);
        assert!(!broadcast.is_on_air());
    }

    #[tokio::test]
    async fn a_co_host_makes_no_broadcast() {
        use ingest::Door;
        let data = tempfile::tempdir().unwrap();
        let doors = doors(&data).await;
        let ada = token(&doors, Role::Cohost, "Ada", Some("ada"));
        let refused = doors
            .authorize(&"algebra".parse().unwrap(), Some(&ada), None)
            .await;
        assert_eq!(refused, Err(ingest::Refusal::NotFound));
    }

    #[tokio::test]
    async fn a_pass_is_for_one_source_of_one_broadcast_until_the_invitation_is_withdrawn() {
        use ingest::{Door, Refusal};
        let data = tempfile::tempdir().unwrap();
        let doors = doors(&data).await;
        let id = "algebra".parse().unwrap();
        doors.create(&id).await.unwrap();
        let ada = token(&doors, Role::Cohost, "Ada", Some("ada"));
        let screen: SourceName = "ada-screen".parse().unwrap();
        let grant = doors.authorize(&id, Some(&ada), Some(&screen)).await.unwrap();
        let pass = doors.pass(&id, &grant).unwrap();
        for source in [None, Some(&screen)] {
            assert_eq!(doors.readmit(&id, &pass, source).await.as_ref(), Ok(&grant));
        }
        let camera = "ada".parse().unwrap();
        for (id, source) in [(&id, Some(&camera)), (&"botany".parse().unwrap(), Some(&screen))] {
            let refused = doors.readmit(id, &pass, source).await;
            assert!(matches!(refused, Err(Refusal::Forbidden(_))), "{refused:?}");
        }
        assert!(matches!(
            doors.readmit(&id, &ada, Some(&screen)).await,
            Err(Refusal::Unauthorized(_))
        ));
        doors.broadcasts.get(&id).unwrap().withdraw(&camera).unwrap();
        let withdrawn = doors.readmit(&id, &pass, Some(&screen)).await;
        assert!(matches!(withdrawn, Err(Refusal::Forbidden(_))));
    }

    #[test]
    fn in_the_room_a_co_host_is_a_participant() {
        assert_eq!(
            person(claims(Role::Cohost, Some("ada"))).role,
            chat::Role::Participant
        );
    }
}
