//! What is asked of the record. Every answer is bounded.

use sqlx::sqlite::SqliteRow;
use sqlx::{FromRow, Row};
use timeline::{BroadcastId, MediaTime, Stamp, StampSource, WallTime};

use super::{ChunkRow, Range, Record, Remembered, RoomRow, unsigned};
use crate::replay::Listed;
use crate::room::Target;
use crate::{Error, Event, Kind, Person, Role};

/// Rooms whose sealing a crash cut short. More are taken up when somebody asks for them.
const MAX_UNSETTLED: i64 = 1_000;

impl Record {
    pub async fn find_room(&self, broadcast: &BroadcastId) -> Result<Option<RoomRow>, Error> {
        let sql = "SELECT epoch, ended FROM room WHERE broadcast = $1";
        let row = sqlx::query(sql)
            .bind(broadcast.as_str())
            .fetch_optional(&self.readers)
            .await?;
        let room = |row: SqliteRow| -> Result<RoomRow, sqlx::Error> {
            Ok(RoomRow {
                epoch: row.try_get("epoch")?,
                ended: row.try_get::<i64, _>("ended")? == 1,
            })
        };
        Ok(row.map(room).transpose()?)
    }

    /// The last `limit` events, oldest first.
    pub async fn recent(&self, broadcast: &BroadcastId, limit: usize) -> Result<Vec<Remembered>, Error> {
        let sql = "SELECT * FROM event WHERE broadcast = $1 ORDER BY seq DESC LIMIT $2";
        let query = sqlx::query_as::<_, Kept>(sql)
            .bind(broadcast.as_str())
            .bind(limit as i64);
        let rows = query.fetch_all(&self.readers).await?;
        rows.into_iter()
            .rev()
            .map(|row| Ok((row.event, row.reference)))
            .collect()
    }

    /// The events from `from` to `to`, both included; at most `limit`.
    pub async fn page(
        &self,
        broadcast: &BroadcastId,
        from: u64,
        to: u64,
        limit: u64,
    ) -> Result<Vec<Event>, Error> {
        let sql =
            "SELECT * FROM event WHERE broadcast = $1 AND seq >= $2 AND seq <= $3 ORDER BY seq LIMIT $4";
        let query = sqlx::query_as::<_, Kept>(sql).bind(broadcast.as_str());
        let query = query.bind(signed(from)).bind(signed(to)).bind(signed(limit));
        Ok(events(query.fetch_all(&self.readers).await?))
    }

    pub async fn target(&self, broadcast: &BroadcastId, seq: u64) -> Result<Option<Target>, Error> {
        let page = self.page(broadcast, seq, seq, 1).await?;
        Ok(page.first().and_then(Target::of))
    }

    /// The undeleted texts in a range of moments, ordered by (at, seq). A room's rates bound their number.
    pub async fn texts(&self, broadcast: &BroadcastId, (from, to): Range) -> Result<Vec<Event>, Error> {
        let sql = "SELECT * FROM event WHERE broadcast = $1 AND at >= $2 AND at < $3 \
                   AND kind = 'text' AND body IS NOT NULL ORDER BY at, seq";
        let query = sqlx::query_as::<_, Kept>(sql).bind(broadcast.as_str());
        Ok(events(
            query
                .bind(from.ticks())
                .bind(to.ticks())
                .fetch_all(&self.readers)
                .await?,
        ))
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

/// A row of events.
struct Kept {
    event: Event,
    reference: String,
}

impl<'r> FromRow<'r, SqliteRow> for Kept {
    fn from_row(row: &'r SqliteRow) -> Result<Kept, sqlx::Error> {
        let event = Event {
            seq: unsigned(row.try_get("seq")?),
            stamp: Stamp {
                at: MediaTime::from_ticks(row.try_get("at")?),
                source: source(row.try_get("at_source")?)?,
            },
            sent: WallTime::from_unix_millis(row.try_get("sent")?),
            author: Person {
                id: row.try_get("author_id")?,
                name: row.try_get("author_name")?,
                role: role(row.try_get("author_role")?)?,
            },
            kind: match row.try_get("kind")? {
                "text" => Kind::Text {
                    body: row.try_get("body")?,
                },
                "delete" => Kind::Delete {
                    target: unsigned(row.try_get("target")?),
                },
                other => return Err(unreadable(other)),
            },
        };
        Ok(Kept {
            event,
            reference: row.try_get("ref")?,
        })
    }
}

fn events(rows: Vec<Kept>) -> Vec<Event> {
    rows.into_iter().map(|row| row.event).collect()
}

fn chunk(row: &SqliteRow) -> Result<ChunkRow, sqlx::Error> {
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
