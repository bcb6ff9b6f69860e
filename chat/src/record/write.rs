//! The one writer. While a commit runs, what comes meanwhile gathers for the next one: a quiet server commits
//! each message at once, a busy one in groups.

use sqlx::{Any, AnyConnection, AnyPool, AssertSqlSafe, Transaction};
use timeline::{BroadcastId, StampSource};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::Entry;
use super::files::{self, FileWork};
use super::log::Log;
use crate::event::Audience;
use crate::replay::Sealed;
use crate::room::{Accepted, Audit};
use crate::{Event, Kind};

/// A commit of so many rows takes about 10 ms: nobody waits longer for the row before.
const MAX_ROWS: usize = 256;

/// Something to be written, and who waits for it. The error is told to everyone in the same commit.
pub struct Job {
    pub broadcast: Option<BroadcastId>,
    pub work: Work,
    pub done: oneshot::Sender<Result<Wrote, String>>,
}

/// What became of a job in a commit that was kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrote {
    All,
    /// The room is in another epoch by now: nothing of it, or only its beginning.
    Stale,
}

pub enum Work {
    Create {
        epoch: String,
    },
    Append(Vec<Entry>),
    /// What another node may be writing at this moment, too.
    Extend {
        epoch: String,
        entries: Vec<Entry>,
    },
    Renew {
        epoch: String,
        next: String,
    },
    Sealed(Sealed),
    Ended {
        now: i64,
    },
    Clear,
    File(FileWork),
    Close,
}

pub async fn run(pool: AnyPool, mut queue: mpsc::Receiver<Job>, mut log: Log) {
    loop {
        let first = tokio::select! {
            biased;
            () = log.scrub_due() => {
                log.scrub(&pool).await;
                continue;
            }
            first = queue.recv() => match first {
                Some(first) => first,
                None => return,
            },
        };
        let mut jobs = vec![first];
        let mut rows = jobs[0].work.rows();
        while rows < MAX_ROWS
            && !matches!(
                jobs.last(),
                Some(Job {
                    work: Work::Close,
                    ..
                })
            )
            && let Ok(job) = queue.try_recv()
        {
            rows += job.work.rows();
            jobs.push(job);
        }
        let began = Instant::now();
        // Two nodes lock the same rooms in the same order.
        jobs.sort_by(|a, b| a.broadcast.cmp(&b.broadcast));
        let result = commit(&pool, &jobs).await.map_err(|error| error.to_string());
        metrics::histogram!("lectern_chat_commit_seconds").record(began.elapsed().as_secs_f64());
        metrics::histogram!("lectern_chat_commit_rows").record(rows as f64);
        if let Err(error) = &result {
            metrics::counter!("lectern_chat_commit_failures_total").increment(1);
            tracing::error!(%error, rows, "the rooms' record could not be written");
        }
        if jobs.iter().any(|job| job.work.deletes()) {
            log.deleted();
        }
        let close = jobs.iter().any(|job| matches!(job.work, Work::Close));
        if close {
            queue.close();
            pool.close().await;
        }
        for (n, job) in jobs.into_iter().enumerate() {
            let wrote = result.as_ref().map(|wrote| wrote[n]);
            let _ = job.done.send(wrote.map_err(String::clone));
        }
        if close {
            return;
        }
    }
}

async fn commit(pool: &AnyPool, jobs: &[Job]) -> Result<Vec<Wrote>, sqlx::Error> {
    let mut transaction: Transaction<'_, Any> = pool.begin().await?;
    let mut wrote = Vec::with_capacity(jobs.len());
    for job in jobs {
        wrote.push(match &job.broadcast {
            Some(broadcast) => write(&mut transaction, broadcast.as_str(), &job.work).await?,
            None => Wrote::All,
        });
    }
    transaction.commit().await?;
    Ok(wrote)
}

async fn write(to: &mut AnyConnection, broadcast: &str, work: &Work) -> Result<Wrote, sqlx::Error> {
    match work {
        Work::Create { epoch } => {
            let sql = "INSERT INTO room (broadcast, epoch, ended) VALUES ($1, $2, 0) ON CONFLICT (broadcast) DO NOTHING";
            sqlx::query(sql).bind(broadcast).bind(epoch).execute(to).await?;
        }
        Work::Append(entries) => {
            for entry in entries {
                append(to, broadcast, entry).await?;
            }
        }
        Work::Extend { epoch, entries } => return extend(to, broadcast, epoch, entries).await,
        Work::Renew { epoch, next } => {
            let sql = "UPDATE room SET epoch = $1 WHERE broadcast = $2 AND epoch = $3";
            let query = sqlx::query(sql).bind(next).bind(broadcast).bind(epoch);
            return Ok(if query.execute(to).await?.rows_affected() == 1 {
                Wrote::All
            } else {
                Wrote::Stale
            });
        }
        Work::Sealed(Sealed { n, upto, listed }) => {
            let sql = "UPDATE chunk SET sealed = $1, name = $2, texts = $3 WHERE broadcast = $4 AND n = $5";
            let query = sqlx::query(sql)
                .bind(*upto as i64)
                .bind(listed.as_ref().map(|l| &l.name));
            let query = query.bind(listed.as_ref().map_or(0, |l| l.count as i64));
            query.bind(broadcast).bind(*n as i64).execute(to).await?;
        }
        Work::Ended { now } => {
            let sql = "UPDATE room SET ended = 1, ended_at = COALESCE(ended_at, $1) WHERE broadcast = $2";
            sqlx::query(sql).bind(now).bind(broadcast).execute(to).await?;
        }
        Work::Clear => clear(to, broadcast).await?,
        Work::File(work) => files::write(to, broadcast, work).await?,
        Work::Close => {}
    }
    Ok(Wrote::All)
}

/// Adds what is not there yet, as long as the room is in this epoch. The lock on its row keeps the nodes that do so
/// one behind the other, and holds off a new epoch.
async fn extend(
    to: &mut AnyConnection,
    broadcast: &str,
    epoch: &str,
    entries: &[Entry],
) -> Result<Wrote, sqlx::Error> {
    let sql = "UPDATE room SET epoch = $1 WHERE broadcast = $2 AND epoch = $1";
    let locked = sqlx::query(sql)
        .bind(epoch)
        .bind(broadcast)
        .execute(&mut *to)
        .await?;
    if locked.rows_affected() == 0 {
        return Ok(Wrote::Stale);
    }
    for entry in entries {
        let Accepted { event, reference, .. } = &entry.accepted;
        let is_new = insert(
            to,
            broadcast,
            event,
            reference,
            " ON CONFLICT (broadcast, seq) DO NOTHING",
        )
        .await?;
        if is_new {
            follow_up(to, broadcast, entry).await?;
        } else if !holds(to, broadcast, event.seq, reference).await? {
            return Ok(Wrote::Stale);
        }
    }
    Ok(Wrote::All)
}

/// Whether a place in the room's order is this event's.
async fn holds(
    to: &mut AnyConnection,
    broadcast: &str,
    seq: u64,
    reference: &str,
) -> Result<bool, sqlx::Error> {
    let sql = "SELECT COUNT(*) FROM event WHERE broadcast = $1 AND seq = $2 AND ref = $3";
    let query = sqlx::query_scalar::<_, i64>(sql).bind(broadcast).bind(seq as i64);
    Ok(query.bind(reference).fetch_one(to).await? == 1)
}

async fn append(to: &mut AnyConnection, broadcast: &str, entry: &Entry) -> Result<(), sqlx::Error> {
    let Accepted { event, reference, .. } = &entry.accepted;
    insert(to, broadcast, event, reference, "").await?;
    follow_up(to, broadcast, entry).await
}

/// What an event brings with it.
async fn follow_up(to: &mut AnyConnection, broadcast: &str, entry: &Entry) -> Result<(), sqlx::Error> {
    let Accepted {
        event, amends, audit, ..
    } = &entry.accepted;
    files::settle(to, broadcast, &entry.accepted).await?;
    for amended in amends {
        amend(to, broadcast, amended).await?;
    }
    if let Kind::Erase { person } = &event.kind {
        // What came from other nodes meanwhile is erased with the rest.
        let erased = crate::event::erased(event.seq);
        for theirs in super::read::theirs(&mut *to, broadcast, person).await? {
            if theirs.seq != event.seq {
                amend(to, broadcast, &theirs.without(person, &erased)).await?;
            }
        }
    }
    if let Some(audit) = audit {
        log(to, broadcast, event, audit).await?;
    }
    touch(to, broadcast, entry.windows, event.seq).await
}

/// The first window, and those after it that there are.
async fn touch(
    to: &mut AnyConnection,
    broadcast: &str,
    (first, last): (u64, u64),
    seq: u64,
) -> Result<(), sqlx::Error> {
    let sql = "INSERT INTO chunk (broadcast, n, touched) VALUES ($1, $2, $3) \
               ON CONFLICT (broadcast, n) DO UPDATE SET touched = excluded.touched";
    let query = sqlx::query(sql)
        .bind(broadcast)
        .bind(first as i64)
        .bind(seq as i64);
    query.execute(&mut *to).await?;
    if last > first {
        let sql = "UPDATE chunk SET touched = $1 WHERE broadcast = $2 AND n > $3 AND n <= $4";
        let query = sqlx::query(sql).bind(seq as i64).bind(broadcast);
        query.bind(first as i64).bind(last as i64).execute(to).await?;
    }
    Ok(())
}

async fn insert(
    to: &mut AnyConnection,
    broadcast: &str,
    event: &Event,
    reference: &str,
    on_conflict: &str,
) -> Result<bool, sqlx::Error> {
    let sql = "INSERT INTO event (broadcast, seq, at, at_source, sent, author_id, author_name, author_role, \
               kind, body, target, ref, audience, person, data, stands) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)";
    let author = event.author.as_ref();
    let (audience, person) = audience(&event.audience);
    // Both are ours.
    let inserted = sqlx::query(AssertSqlSafe(format!("{sql}{on_conflict}")))
        .bind(broadcast)
        .bind(event.seq as i64)
        .bind(event.stamp.at.ticks())
        .bind(source_name(event.stamp.source))
        .bind(event.sent.unix_millis())
        .bind(author.map_or("", |author| &author.id))
        .bind(author.map_or("", |author| &author.name))
        .bind(author.map_or("host", |author| author.role.name()))
        .bind(event.kind.name())
        .bind(event.kind.body())
        .bind(event.kind.target().map(|target| target as i64))
        .bind(reference)
        .bind(audience)
        .bind(person)
        .bind(data(&event.kind))
        .bind(i64::from(event.stands()))
        .execute(to)
        .await?;
    Ok(inserted.rows_affected() == 1)
}

/// An event of before is rewritten, unless its text was taken out meanwhile; edits of a text that changes or goes lose theirs.
async fn amend(to: &mut AnyConnection, broadcast: &str, event: &Event) -> Result<(), sqlx::Error> {
    let sql = "UPDATE event SET body = $1, data = $2, author_id = $3, author_name = $4, audience = $5, person = $6 \
               WHERE broadcast = $7 AND seq = $8 AND ($1 IS NULL OR body IS NOT NULL)";
    let author = event.author.as_ref();
    let (audience, person) = audience(&event.audience);
    sqlx::query(sql)
        .bind(event.kind.body())
        .bind(data(&event.kind))
        .bind(author.map_or("", |author| &author.id))
        .bind(author.map_or("", |author| &author.name))
        .bind(audience)
        .bind(person)
        .bind(broadcast)
        .bind(event.seq as i64)
        .execute(&mut *to)
        .await?;
    let sql = "UPDATE event SET body = NULL WHERE broadcast = $1 AND target = $2 AND kind = 'edit' AND seq < \
               (SELECT MAX(seq) FROM event WHERE broadcast = $1)";
    sqlx::query(sql)
        .bind(broadcast)
        .bind(event.seq as i64)
        .execute(to)
        .await?;
    Ok(())
}

async fn log(
    to: &mut AnyConnection,
    broadcast: &str,
    event: &Event,
    audit: &Audit,
) -> Result<(), sqlx::Error> {
    let sql = "INSERT INTO audit (broadcast, seq, sent, actor_id, actor_name, action, target, hash) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING";
    let actor = audit.actor.as_ref().or(event.author.as_ref());
    sqlx::query(sql)
        .bind(broadcast)
        .bind(event.seq as i64)
        .bind(audit.sent)
        .bind(actor.map_or("", |actor| &actor.id))
        .bind(actor.map_or("", |actor| &actor.name))
        .bind(&*audit.action)
        .bind(&audit.target)
        .bind(&audit.hash)
        .execute(to)
        .await?;
    Ok(())
}

async fn clear(to: &mut AnyConnection, broadcast: &str) -> Result<(), sqlx::Error> {
    let sql = "UPDATE chunk SET touched = touched + 1 WHERE broadcast = $1";
    sqlx::query(sql).bind(broadcast).execute(&mut *to).await?;
    // The last number stays taken: who comes back with an older one is not misled.
    let sql =
        "DELETE FROM event WHERE broadcast = $1 AND seq < (SELECT MAX(seq) FROM event WHERE broadcast = $1)";
    sqlx::query(sql).bind(broadcast).execute(&mut *to).await?;
    let sql = "UPDATE event SET body = NULL, data = '{\"counts\":{}}', kind = 'reactions', audience = 'nobody', stands = 0, \
               author_id = '', author_name = '' WHERE broadcast = $1";
    sqlx::query(sql).bind(broadcast).execute(to).await?;
    Ok(())
}

fn audience(audience: &Audience) -> (&'static str, Option<&str>) {
    match audience {
        Audience::Everyone => ("everyone", None),
        Audience::Staff => ("staff", None),
        Audience::StaffAnd(person) => ("person", Some(person)),
        Audience::Nobody => ("nobody", None),
    }
}

/// What it says beside the body, as JSON.
fn data(kind: &Kind) -> String {
    let mut kind = kind.clone();
    if let Some(body) = kind.body_mut() {
        *body = None;
    }
    if let Kind::Pin { message, .. } = &mut kind {
        *message = None;
    }
    // Maps with string keys and plain numbers only: this cannot fail.
    serde_json::to_string(&kind).unwrap_or_default()
}

const fn source_name(source: StampSource) -> &'static str {
    match source {
        StampSource::Playhead => "playhead",
        StampSource::Clamped => "clamped",
        StampSource::Server => "server",
    }
}

impl Work {
    fn rows(&self) -> usize {
        match self {
            Work::Append(entries) | Work::Extend { entries, .. } => entries.len(),
            _ => 1,
        }
    }

    /// Takes the body out of a text.
    fn deletes(&self) -> bool {
        match self {
            Work::Append(entries) | Work::Extend { entries, .. } => {
                entries.iter().any(|entry| !entry.accepted.amends.is_empty())
            }
            Work::Clear => true,
            _ => false,
        }
    }
}
