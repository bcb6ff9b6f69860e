//! What is asked of the record. Every answer is bounded.

use std::sync::Arc;

use sqlx::any::AnyRow;
use sqlx::{Any, FromRow, Row as _};
use timeline::{BroadcastId, MediaTime, Stamp, StampSource, WallTime};

use super::{Actor, AuditRow, ChunkRow, Range, Record, RoomRow, unsigned};
use crate::event::Audience;
use crate::export::After;
use crate::replay::Listed;
use crate::room::{Kept, State};
use crate::{Error, Event, Kind, Person, Role};

/// Rooms whose sealing a crash cut short. More are taken up when somebody asks for them.
const MAX_UNSETTLED: i64 = 1_000;

/// Events in one step of a fold: a few megabytes at most.
const FOLDED: i64 = 2_000;

/// As many as one room has connections.
const MAX_NAMES: i64 = 10_000;

impl Record {
    pub async fn find_room(&self, broadcast: &BroadcastId) -> Result<Option<RoomRow>, Error> {
        let sql = "SELECT epoch, ended FROM room WHERE broadcast = $1";
        let row = sqlx::query(sql)
            .bind(broadcast.as_str())
            .fetch_optional(&self.readers)
            .await?;
        let room = |row: AnyRow| -> Result<RoomRow, sqlx::Error> {
            Ok(RoomRow {
                epoch: row.try_get("epoch")?,
                ended: row.try_get::<i64, _>("ended")? == 1,
            })
        };
        Ok(row.map(room).transpose()?)
    }

    /// Where the room stands: its epoch, and its last event.
    pub async fn position(&self, broadcast: &BroadcastId) -> Result<Option<(String, u64)>, Error> {
        let sql = "SELECT epoch, (SELECT MAX(seq) FROM event WHERE event.broadcast = room.broadcast) AS last \
                   FROM room WHERE broadcast = $1";
        let row: Option<(String, Option<i64>)> = sqlx::query_as(sql)
            .bind(broadcast.as_str())
            .fetch_optional(&self.readers)
            .await?;
        Ok(row.map(|(epoch, last)| (epoch, unsigned(last.unwrap_or(0)))))
    }

    /// How the room was left, with its last `limit` events that somebody may see.
    pub async fn kept(&self, broadcast: &BroadcastId, limit: usize) -> Result<Kept, Error> {
        let sql = "SELECT MAX(seq) FROM event WHERE broadcast = $1";
        let last: Option<i64> = sqlx::query_scalar(sql)
            .bind(broadcast.as_str())
            .fetch_one(&self.readers)
            .await?;
        let last = unsigned(last.unwrap_or(0));
        let sql = "SELECT * FROM event WHERE broadcast = $1 AND audience <> 'nobody' AND seq <= $2 ORDER BY seq DESC LIMIT $3";
        let query = sqlx::query_as::<_, Row>(sql).bind(broadcast.as_str());
        let query = query.bind(signed(last)).bind(limit as i64);
        let rows = query.fetch_all(&self.readers).await?;
        let recent = rows
            .into_iter()
            .rev()
            .map(|row| (row.event, row.reference))
            .collect();
        let mut state = self.state(broadcast, last).await?;
        self.find_pinned(broadcast, &mut state).await?;
        Ok(Kept { last, recent, state })
    }

    /// How the room stood as of an event.
    pub async fn state(&self, broadcast: &BroadcastId, upto: u64) -> Result<State, Error> {
        let sql = "SELECT * FROM event WHERE broadcast = $1 AND stands = 1 AND seq > $2 AND seq <= $3 ORDER BY seq LIMIT $4";
        let (mut state, mut from) = (State::default(), 0);
        loop {
            let query = sqlx::query_as::<_, Row>(sql).bind(broadcast.as_str());
            let query = query.bind(signed(from)).bind(signed(upto)).bind(FOLDED);
            let rows = query.fetch_all(&self.readers).await?;
            let Some(last) = rows.last() else {
                return Ok(state);
            };
            from = last.event.seq;
            rows.into_iter().for_each(|row| state.apply(&Arc::new(row.event)));
        }
    }

    /// Goes on with a state over what happened in a range of moments.
    pub async fn fold(
        &self,
        broadcast: &BroadcastId,
        state: &mut State,
        (from, to): Range,
    ) -> Result<(), Error> {
        let sql = "SELECT * FROM event WHERE broadcast = $1 AND stands = 1 AND at < $2 AND (at > $3 OR (at = $3 AND seq > $4)) \
                   ORDER BY at, seq LIMIT $5";
        let (mut at, mut seq) = (from.ticks(), 0);
        loop {
            let query = sqlx::query_as::<_, Row>(sql)
                .bind(broadcast.as_str())
                .bind(to.ticks());
            let rows = query
                .bind(at)
                .bind(signed(seq))
                .bind(FOLDED)
                .fetch_all(&self.readers)
                .await?;
            let Some(last) = rows.last() else { return Ok(()) };
            (at, seq) = (last.event.at().ticks(), last.event.seq);
            rows.into_iter().for_each(|row| state.apply(&Arc::new(row.event)));
        }
    }

    /// The record keeps what is pinned once only, as the text that it is.
    pub async fn find_pinned(&self, broadcast: &BroadcastId, state: &mut State) -> Result<(), Error> {
        if let Some(pinned) = state.pinned.as_mut().filter(|pinned| pinned.message.is_none()) {
            let message = self.event(broadcast, pinned.target).await?;
            match message.filter(|event| event.kind.body().is_some()) {
                Some(message) => pinned.message = Some(Arc::new(message)),
                None => state.pinned = None,
            }
        }
        Ok(())
    }

    /// The events from `from` to `to`, both included; at most `limit`, votes not among them.
    pub async fn page(
        &self,
        broadcast: &BroadcastId,
        from: u64,
        to: u64,
        limit: u64,
    ) -> Result<Vec<Event>, Error> {
        let sql = "SELECT * FROM event WHERE broadcast = $1 AND seq >= $2 AND seq <= $3 AND audience <> 'nobody' \
                   ORDER BY seq LIMIT $4";
        let query = sqlx::query_as::<_, Row>(sql).bind(broadcast.as_str());
        let query = query.bind(signed(from)).bind(signed(to)).bind(signed(limit));
        Ok(events(query.fetch_all(&self.readers).await?))
    }

    /// All events from `from` to `to`, both included, votes among them, with the names their writers gave them.
    pub async fn stretch(
        &self,
        broadcast: &BroadcastId,
        from: u64,
        to: u64,
    ) -> Result<Vec<(Event, String)>, Error> {
        let sql = "SELECT * FROM event WHERE broadcast = $1 AND seq >= $2 AND seq <= $3 ORDER BY seq";
        let query = sqlx::query_as::<_, Row>(sql).bind(broadcast.as_str());
        let query = query.bind(signed(from)).bind(signed(to));
        let rows = query.fetch_all(&self.readers).await?;
        Ok(rows.into_iter().map(|row| (row.event, row.reference)).collect())
    }

    pub async fn event(&self, broadcast: &BroadcastId, seq: u64) -> Result<Option<Event>, Error> {
        Ok(self.page(broadcast, seq, seq, 1).await?.pop())
    }

    /// Somebody who has written here, as they were called last.
    pub async fn person(&self, broadcast: &BroadcastId, id: &str) -> Result<Option<Person>, Error> {
        let sql = "SELECT * FROM event WHERE broadcast = $1 AND author_id = $2 ORDER BY seq DESC LIMIT 1";
        let query = sqlx::query_as::<_, Row>(sql).bind(broadcast.as_str()).bind(id);
        let row = query.fetch_optional(&self.readers).await?;
        Ok(row.and_then(|row| row.event.author))
    }

    /// All that a person wrote, and all that names them.
    pub async fn theirs(&self, broadcast: &BroadcastId, person: &str) -> Result<Vec<Event>, Error> {
        Ok(theirs(&self.readers, broadcast.as_str(), person).await?)
    }

    /// What happened in a range of moments for everyone to see, with the votes between, ordered by (at, seq). A room's
    /// rates bound their number.
    pub async fn shown(&self, broadcast: &BroadcastId, (from, to): Range) -> Result<Vec<Event>, Error> {
        let sql = "SELECT * FROM event WHERE broadcast = $1 AND at >= $2 AND at < $3 \
                   AND audience IN ('everyone', 'nobody') AND (kind <> 'text' OR body IS NOT NULL) ORDER BY at, seq";
        let query = sqlx::query_as::<_, Row>(sql).bind(broadcast.as_str());
        Ok(events(
            query
                .bind(from.ticks())
                .bind(to.ticks())
                .fetch_all(&self.readers)
                .await?,
        ))
    }

    /// The undeleted texts for everyone in a range of moments, ordered by (at, seq).
    pub async fn texts(&self, broadcast: &BroadcastId, range: Range) -> Result<Vec<Event>, Error> {
        let mut events = self.shown(broadcast, range).await?;
        events.retain(|event| event.text().is_some());
        Ok(events)
    }

    /// The next undeleted texts for everyone, ordered by (at, seq).
    pub async fn texts_after(
        &self,
        broadcast: &BroadcastId,
        after: After,
        limit: u64,
    ) -> Result<Vec<Event>, Error> {
        let sql = "SELECT * FROM event WHERE broadcast = $1 AND (at > $2 OR (at = $3 AND seq > $4)) \
                   AND audience = 'everyone' AND kind = 'text' AND body IS NOT NULL ORDER BY at, seq LIMIT $5";
        let query = sqlx::query_as::<_, Row>(sql).bind(broadcast.as_str());
        let query = query
            .bind(after.at.ticks())
            .bind(after.at.ticks())
            .bind(signed(after.seq));
        Ok(events(query.bind(signed(limit)).fetch_all(&self.readers).await?))
    }

    /// The names of staff (true) and of guests without a chosen one who wrote here.
    pub async fn known_names(&self, broadcast: &BroadcastId) -> Result<Vec<(String, bool)>, Error> {
        let sql = "SELECT DISTINCT author_name, author_role FROM event WHERE broadcast = $1 AND author_name <> '' \
                   AND (author_role IN ('host', 'moderator') OR author_name LIKE 'Guest %') LIMIT $2";
        let query = sqlx::query_as::<_, (String, String)>(sql).bind(broadcast.as_str());
        let rows = query.bind(MAX_NAMES).fetch_all(&self.readers).await?;
        let is_staff = |role: &str| matches!(role, "host" | "moderator");
        Ok(rows
            .into_iter()
            .map(|(name, role)| (name, is_staff(&role)))
            .collect())
    }

    /// Who wrote for everyone, by who came first.
    pub async fn authors(&self, broadcast: &BroadcastId) -> Result<Vec<String>, Error> {
        let sql = "SELECT author_id FROM event WHERE broadcast = $1 AND audience = 'everyone' AND author_id <> '' \
                   GROUP BY author_id ORDER BY MIN(seq)";
        Ok(sqlx::query_scalar(sql)
            .bind(broadcast.as_str())
            .fetch_all(&self.readers)
            .await?)
    }

    /// The audit log from entry `from` on, at most `limit` lines.
    pub async fn audit(
        &self,
        broadcast: &BroadcastId,
        from: u64,
        limit: u64,
    ) -> Result<Vec<AuditRow>, Error> {
        let sql = "SELECT * FROM audit WHERE broadcast = $1 AND seq >= $2 ORDER BY seq LIMIT $3";
        let query = sqlx::query(sql)
            .bind(broadcast.as_str())
            .bind(signed(from))
            .bind(signed(limit));
        let rows = query.fetch_all(&self.readers).await?;
        let line = |row: &AnyRow| -> Result<AuditRow, sqlx::Error> {
            Ok(AuditRow {
                seq: unsigned(row.try_get("seq")?),
                time: row.try_get("sent")?,
                actor: Actor {
                    id: row.try_get("actor_id")?,
                    name: row.try_get("actor_name")?,
                },
                action: row.try_get("action")?,
                target: row.try_get("target")?,
                hash: row.try_get("hash")?,
            })
        };
        Ok(rows.iter().map(line).collect::<Result<_, _>>()?)
    }

    /// Rooms that ended, and when (Unix ms), for those who look what has been kept long enough.
    pub async fn ended_rooms(&self) -> Result<Vec<(BroadcastId, i64)>, Error> {
        let sql = "SELECT broadcast, ended_at FROM room WHERE ended = 1 AND ended_at IS NOT NULL \
                   AND EXISTS (SELECT 1 FROM event WHERE event.broadcast = room.broadcast AND body IS NOT NULL)";
        let rows: Vec<(String, i64)> = sqlx::query_as(sql).fetch_all(&self.readers).await?;
        Ok(rows
            .into_iter()
            .filter_map(|(id, at)| Some((id.parse().ok()?, at)))
            .collect())
    }

    /// Where the replay of a broadcast stands.
    pub async fn chunks(&self, broadcast: &BroadcastId) -> Result<Vec<ChunkRow>, Error> {
        let sql = "SELECT n, touched, sealed, name, texts FROM chunk WHERE broadcast = $1 ORDER BY n";
        let rows = sqlx::query(sql)
            .bind(broadcast.as_str())
            .fetch_all(&self.readers)
            .await?;
        Ok(rows.iter().map(chunk).collect::<Result<_, _>>()?)
    }

    /// The replay of this broadcast is whole in the archive, and nothing was changed since.
    pub async fn is_settled(&self, broadcast: &BroadcastId) -> Result<bool, Error> {
        let sql = "SELECT COUNT(*) FROM room WHERE broadcast = $1 AND ended = 1 AND NOT EXISTS \
                   (SELECT 1 FROM chunk WHERE chunk.broadcast = room.broadcast AND touched > sealed)";
        let count: i64 = sqlx::query_scalar(sql)
            .bind(broadcast.as_str())
            .fetch_one(&self.readers)
            .await?;
        Ok(count == 1)
    }

    /// Ended broadcasts whose replay was changed and not sealed again.
    pub async fn unsettled(&self) -> Result<Vec<BroadcastId>, Error> {
        let sql = "SELECT DISTINCT room.broadcast FROM room JOIN chunk ON chunk.broadcast = room.broadcast \
                   WHERE ended = 1 AND touched > sealed LIMIT $1";
        let ids: Vec<String> = sqlx::query_scalar(sql)
            .bind(MAX_UNSETTLED)
            .fetch_all(&self.readers)
            .await?;
        Ok(ids.iter().filter_map(|id| id.parse().ok()).collect())
    }
}

/// All that a person wrote, and all that names them.
pub async fn theirs(
    from: impl sqlx::Executor<'_, Database = Any>,
    broadcast: &str,
    person: &str,
) -> Result<Vec<Event>, sqlx::Error> {
    let sql = "SELECT * FROM event WHERE broadcast = $1 \
               AND (author_id = $2 OR person = $2 OR data LIKE $3) ORDER BY seq";
    let about = format!("%\"{}\"%", person.replace(['%', '_', '"', '\\'], ""));
    let query = sqlx::query_as::<_, Row>(sql)
        .bind(broadcast)
        .bind(person)
        .bind(about);
    let found = events(query.fetch_all(from).await?);
    Ok(found.into_iter().filter(|event| event.names(person)).collect())
}

/// A row of events.
struct Row {
    event: Event,
    reference: String,
}

impl<'r> FromRow<'r, AnyRow> for Row {
    fn from_row(row: &'r AnyRow) -> Result<Row, sqlx::Error> {
        let author: String = row.try_get("author_id")?;
        let author = match author.as_str() {
            "" => None,
            _ => Some(Person {
                id: author,
                name: row.try_get("author_name")?,
                role: role(row.try_get("author_role")?)?,
            }),
        };
        let event = Event {
            seq: unsigned(row.try_get("seq")?),
            stamp: Stamp {
                at: MediaTime::from_ticks(row.try_get("at")?),
                source: source(row.try_get("at_source")?)?,
            },
            sent: WallTime::from_unix_millis(row.try_get("sent")?),
            author,
            audience: audience(row.try_get("audience")?, row.try_get("person")?)?,
            kind: kind(row)?,
        };
        Ok(Row {
            event,
            reference: row.try_get("ref")?,
        })
    }
}

/// What it says: the JSON beside the body, and the body.
fn kind(row: &AnyRow) -> Result<Kind, sqlx::Error> {
    let (name, data): (&str, &str) = (row.try_get("kind")?, row.try_get("data")?);
    let mut json: serde_json::Value = serde_json::from_str(data).map_err(|_| unreadable(name))?;
    json["kind"] = name.into();
    // Rows of before there was more than texts and deletes.
    if let Some(target) = row
        .try_get::<Option<i64>, _>("target")?
        .filter(|_| json.get("target").is_none())
    {
        json["target"] = target.into();
    }
    let mut kind: Kind = serde_json::from_value(json).map_err(|_| unreadable(name))?;
    if let Some(body) = kind.body_mut() {
        *body = row.try_get("body")?;
    }
    Ok(kind)
}

fn audience(name: &str, person: Option<String>) -> Result<Audience, sqlx::Error> {
    match (name, person) {
        ("everyone", _) => Ok(Audience::Everyone),
        ("staff", _) => Ok(Audience::Staff),
        ("person", Some(person)) => Ok(Audience::StaffAnd(person)),
        ("nobody", _) => Ok(Audience::Nobody),
        (other, _) => Err(unreadable(other)),
    }
}

fn events(rows: Vec<Row>) -> Vec<Event> {
    rows.into_iter().map(|row| row.event).collect()
}

fn chunk(row: &AnyRow) -> Result<ChunkRow, sqlx::Error> {
    let n = unsigned(row.try_get("n")?);
    let count = unsigned(row.try_get("texts")?);
    let name: Option<String> = row.try_get("name")?;
    Ok(ChunkRow {
        n,
        touched: unsigned(row.try_get("touched")?),
        sealed: unsigned(row.try_get("sealed")?),
        listed: name.map(|name| Listed { n, name, count }),
    })
}

fn source(name: &str) -> Result<StampSource, sqlx::Error> {
    match name {
        "playhead" => Ok(StampSource::Playhead),
        "clamped" => Ok(StampSource::Clamped),
        "server" => Ok(StampSource::Server),
        other => Err(unreadable(other)),
    }
}

fn role(name: &str) -> Result<Role, sqlx::Error> {
    [Role::Host, Role::Moderator, Role::Participant, Role::Viewer]
        .into_iter()
        .find(|role| role.name() == name)
        .ok_or_else(|| unreadable(name))
}

fn unreadable(what: &str) -> sqlx::Error {
    sqlx::Error::Decode(Error::Unreadable(what.into()).into())
}

/// SQL has no unsigned numbers.
fn signed(n: u64) -> i64 {
    n.min(i64::MAX as u64) as i64
}
