//! The one writer. While a commit runs, what comes meanwhile gathers for the next one: a quiet server commits
//! each message at once, a busy one in groups.

use sqlx::{Sqlite, SqliteConnection, SqlitePool, Transaction};
use timeline::{BroadcastId, StampSource};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::Entry;
use super::log::Log;
use crate::Kind;
use crate::replay::Sealed;
use crate::room::Accepted;

/// A commit of so many rows takes about 10 ms: nobody waits longer for the row before.
const MAX_ROWS: usize = 256;

/// Something to be written, and who waits for it. The error is told to everyone in the same commit.
pub struct Job {
    pub broadcast: Option<BroadcastId>,
    pub work: Work,
    pub done: oneshot::Sender<Result<(), String>>,
}

pub enum Work {
    Create { epoch: String },
    Append(Vec<Entry>),
    Sealed(Sealed),
    Ended,
    Close,
}

pub async fn run(pool: SqlitePool, mut queue: mpsc::Receiver<Job>) {
    // An earlier life may have left deleted bodies in the log.
    let mut log = Log::holding_deleted();
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
        let result = commit(&pool, &jobs).await.map_err(|error| error.to_string());
        metrics::histogram!("lectern_chat_commit_seconds").record(began.elapsed().as_secs_f64());
        metrics::histogram!("lectern_chat_commit_rows").record(rows as f64);
        if let Err(error) = &result {
            metrics::counter!("lectern_chat_commit_failures_total").increment(1);
            tracing::error!(%error, rows, "the rooms' record could not be written");
        }
        if jobs.iter().any(|job| job.work.deletes()) {
            log.holds_deleted = true;
        }
        let close = jobs.iter().any(|job| matches!(job.work, Work::Close));
        if close {
            queue.close();
            pool.close().await;
        }
        for job in jobs {
            let _ = job.done.send(result.clone());
        }
        if close {
            return;
        }
    }
}

async fn commit(pool: &SqlitePool, jobs: &[Job]) -> Result<(), sqlx::Error> {
    let mut transaction: Transaction<'_, Sqlite> = pool.begin().await?;
    for job in jobs {
        if let Some(broadcast) = &job.broadcast {
            write(&mut transaction, broadcast.as_str(), &job.work).await?;
        }
    }
    transaction.commit().await
}

async fn write(to: &mut SqliteConnection, broadcast: &str, work: &Work) -> Result<(), sqlx::Error> {
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
        Work::Sealed(Sealed { n, upto, listed }) => {
            let sql = "UPDATE chunk SET sealed = $1, name = $2, texts = $3 WHERE broadcast = $4 AND n = $5";
            let query = sqlx::query(sql)
                .bind(*upto as i64)
                .bind(listed.as_ref().map(|l| &l.name));
            let query = query.bind(listed.as_ref().map_or(0, |l| l.count as i64));
            query.bind(broadcast).bind(*n as i64).execute(to).await?;
        }
        Work::Ended => {
            let sql = "UPDATE room SET ended = 1 WHERE broadcast = $1";
            sqlx::query(sql).bind(broadcast).execute(to).await?;
        }
        Work::Close => {}
    }
    Ok(())
}

async fn append(to: &mut SqliteConnection, broadcast: &str, entry: &Entry) -> Result<(), sqlx::Error> {
    insert(to, broadcast, &entry.accepted).await?;
    let event = &entry.accepted.event;
    if let Kind::Delete { target } = event.kind {
        let sql = "UPDATE event SET body = NULL WHERE broadcast = $1 AND seq = $2";
        sqlx::query(sql)
            .bind(broadcast)
            .bind(target as i64)
            .execute(&mut *to)
            .await?;
    }
    let sql = "INSERT INTO chunk (broadcast, n, touched) VALUES ($1, $2, $3) \
               ON CONFLICT (broadcast, n) DO UPDATE SET touched = excluded.touched";
    let query = sqlx::query(sql)
        .bind(broadcast)
        .bind(entry.window as i64)
        .bind(event.seq as i64);
    query.execute(to).await?;
    Ok(())
}

async fn insert(to: &mut SqliteConnection, broadcast: &str, accepted: &Accepted) -> Result<(), sqlx::Error> {
    let event = &accepted.event;
    let (kind, body, target) = match &event.kind {
        Kind::Text { body } => ("text", body.as_deref(), None),
        Kind::Delete { target } => ("delete", None, Some(*target as i64)),
    };
    let sql = "INSERT INTO event (broadcast, seq, at, at_source, sent, author_id, author_name, author_role, \
               kind, body, target, ref) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)";
    sqlx::query(sql)
        .bind(broadcast)
        .bind(event.seq as i64)
        .bind(event.stamp.at.ticks())
        .bind(source_name(event.stamp.source))
        .bind(event.sent.unix_millis())
        .bind(&event.author.id)
        .bind(&event.author.name)
        .bind(event.author.role.name())
        .bind(kind)
        .bind(body)
        .bind(target)
        .bind(&accepted.reference)
        .execute(to)
        .await?;
    Ok(())
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
            Work::Append(entries) => entries.len(),
            _ => 1,
        }
    }

    /// Takes the body out of a text.
    fn deletes(&self) -> bool {
        let is_delete = |entry: &Entry| matches!(entry.accepted.event.kind, Kind::Delete { .. });
        matches!(self, Work::Append(entries) if entries.iter().any(is_delete))
    }
}
