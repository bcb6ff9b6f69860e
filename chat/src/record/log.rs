//! SQLite's write-ahead log keeps old pages until it is written over: what was deleted has to leave it too.

use std::time::Duration;

use sqlx::{AnyPool, AssertSqlSafe, Row};
use tokio::time::Instant;

use super::BUSY;

/// A checkpoint that empties the log costs two syncs and holds up the commits behind it: not for every delete of
/// a moderator who clears up.
const REST: Duration = Duration::from_secs(2);

/// It waits so long for those who read, and is tried again after a rest.
const PATIENCE: Duration = Duration::from_millis(100);

pub struct Log {
    holds_deleted: bool,
    /// PostgreSQL looks after its own.
    is_ours: bool,
    /// Not scrubbed again before.
    rested: Instant,
}

impl Log {
    /// An earlier life may have left deleted bodies in it.
    pub fn holding_deleted() -> Log {
        Log {
            holds_deleted: true,
            is_ours: true,
            rested: Instant::now(),
        }
    }

    /// Of a database that looks after its log itself.
    pub fn of_others() -> Log {
        Log {
            holds_deleted: false,
            is_ours: false,
            rested: Instant::now(),
        }
    }

    /// A body was taken out.
    pub const fn deleted(&mut self) {
        self.holds_deleted = self.is_ours;
    }

    /// Returns when the log has to be scrubbed.
    pub async fn scrub_due(&self) {
        match self.holds_deleted {
            true => tokio::time::sleep_until(self.rested).await,
            false => std::future::pending().await,
        }
    }

    /// Moves what the log holds into the database, where deleted bodies are written over, and empties it.
    pub async fn scrub(&mut self, pool: &AnyPool) {
        match checkpoint(pool).await {
            Ok(is_empty) => self.holds_deleted = !is_empty,
            Err(error) => tracing::warn!(%error, "the log of the rooms' record could not be emptied"),
        }
        self.rested = Instant::now() + REST;
    }
}

/// Says whether the log is empty now.
async fn checkpoint(pool: &AnyPool) -> Result<bool, sqlx::Error> {
    let mut connection = pool.acquire().await?;
    let wait = |time: Duration| AssertSqlSafe(format!("PRAGMA busy_timeout = {}", time.as_millis()));
    sqlx::query(wait(PATIENCE)).execute(&mut *connection).await?;
    let checkpoint = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)")
        .fetch_one(&mut *connection)
        .await;
    sqlx::query(wait(BUSY)).execute(&mut *connection).await?;
    Ok(checkpoint?.try_get::<i64, _>("busy")? == 0)
}
