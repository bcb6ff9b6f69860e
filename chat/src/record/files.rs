//! The files of the rooms, as the record knows them: who uploaded what, and whether a message names it.

use std::collections::HashSet;

use serde::Deserialize;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};
use timeline::{BroadcastId, WallTime};

use super::write::Work;
use super::{Record, unsigned};
use crate::room::Accepted;
use crate::{Attached, Error};

/// Rooms in one sweep; the next one finds the others.
const MAX_SWEPT: i64 = 100;

/// Files of one room. The limit on their bytes comes first, unless they are tiny.
const MAX_FILES: i64 = 10_000;

/// An upload. The same bytes from two people are one file and two uploads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileRow {
    pub id: String,
    pub person: String,
    pub name: String,
    pub media_type: String,
    pub size: u64,
    /// Unix ms.
    pub uploaded: i64,
}

pub enum FileWork {
    Add {
        person: String,
        attached: Attached,
        now: i64,
    },
    Named {
        ids: Vec<String>,
    },
    Forget {
        id: String,
        person: Option<String>,
    },
}

impl FileRow {
    pub fn attached(&self) -> Attached {
        Attached {
            id: self.id.clone(),
            name: self.name.clone(),
            media_type: self.media_type.clone(),
            size: self.size,
        }
    }
}

impl Record {
    pub async fn files(&self, broadcast: &BroadcastId) -> Result<Vec<FileRow>, Error> {
        let sql = "SELECT id, person, name, type, size, uploaded FROM file WHERE broadcast = $1 \
                   ORDER BY uploaded, id LIMIT $2";
        let query = sqlx::query(sql).bind(broadcast.as_str()).bind(MAX_FILES);
        let rows = query.fetch_all(&self.readers).await?;
        rows.iter().map(|found| row(found).map_err(Error::from)).collect()
    }

    pub async fn files_of(&self, broadcast: &BroadcastId, person: &str) -> Result<Vec<FileRow>, Error> {
        let sql = "SELECT id, person, name, type, size, uploaded FROM file \
                   WHERE broadcast = $1 AND person = $2 ORDER BY uploaded, id LIMIT $3";
        let query = sqlx::query(sql)
            .bind(broadcast.as_str())
            .bind(person)
            .bind(MAX_FILES);
        let rows = query.fetch_all(&self.readers).await?;
        rows.iter().map(|found| row(found).map_err(Error::from)).collect()
    }

    /// All files of a room together.
    pub async fn file_bytes(&self, broadcast: &BroadcastId) -> Result<u64, Error> {
        let sql = "SELECT CAST(COALESCE(SUM(size), 0) AS BIGINT) AS bytes FROM \
                   (SELECT DISTINCT id, size FROM file WHERE broadcast = $1) AS each";
        let row = sqlx::query(sql)
            .bind(broadcast.as_str())
            .fetch_one(&self.readers)
            .await?;
        Ok(unsigned(row.try_get("bytes")?))
    }

    /// All files of a person in a room together.
    pub async fn file_bytes_of(&self, broadcast: &BroadcastId, person: &str) -> Result<u64, Error> {
        let sql = "SELECT CAST(COALESCE(SUM(size), 0) AS BIGINT) AS bytes FROM file \
                   WHERE broadcast = $1 AND person = $2";
        let query = sqlx::query(sql).bind(broadcast.as_str()).bind(person);
        let row = query.fetch_one(&self.readers).await?;
        Ok(unsigned(row.try_get("bytes")?))
    }

    /// The files that texts name: also held ones and private ones, but no deleted ones.
    pub async fn named_files(&self, broadcast: &BroadcastId) -> Result<HashSet<String>, Error> {
        let sql =
            "SELECT data FROM event WHERE broadcast = $1 AND kind = 'text' AND data LIKE '%\"files\":[%'";
        let rows = sqlx::query(sql)
            .bind(broadcast.as_str())
            .fetch_all(&self.readers)
            .await?;
        let mut named = HashSet::new();
        for row in rows {
            named.extend(files_in(row.try_get("data")?));
        }
        Ok(named)
    }

    /// Rooms with files that were uploaded before (Unix ms), and that no sweep has found a name for.
    pub async fn broadcasts_with_unnamed_files(&self, before: i64) -> Result<Vec<BroadcastId>, Error> {
        let sql = "SELECT DISTINCT broadcast FROM file WHERE named = 0 AND uploaded < $1 ORDER BY broadcast LIMIT $2";
        let rows = sqlx::query(sql)
            .bind(before)
            .bind(MAX_SWEPT)
            .fetch_all(&self.readers)
            .await?;
        let id = |row: &AnyRow| -> Result<Option<BroadcastId>, sqlx::Error> {
            Ok(row.try_get::<&str, _>("broadcast")?.parse().ok())
        };
        let ids = rows.iter().filter_map(|row| id(row).transpose());
        Ok(ids.collect::<Result<_, _>>()?)
    }

    pub async fn file_added(
        &self,
        broadcast: &BroadcastId,
        person: &str,
        attached: &Attached,
        now: WallTime,
    ) -> Result<(), Error> {
        let (person, attached) = (person.to_owned(), attached.clone());
        let now = now.unix_millis();
        self.work(
            broadcast,
            Work::File(FileWork::Add {
                person,
                attached,
                now,
            }),
        )
        .await
    }

    /// Sweeps need not look at these again.
    pub async fn files_named(&self, broadcast: &BroadcastId, ids: &[String]) -> Result<(), Error> {
        let ids = ids.to_vec();
        self.work(broadcast, Work::File(FileWork::Named { ids })).await
    }

    pub async fn forget_file(&self, broadcast: &BroadcastId, id: &str) -> Result<(), Error> {
        let (id, person) = (id.to_owned(), None);
        self.work(broadcast, Work::File(FileWork::Forget { id, person }))
            .await
    }

    /// Others have uploaded it too, or name it.
    pub async fn forget_upload(&self, broadcast: &BroadcastId, id: &str, person: &str) -> Result<(), Error> {
        let (id, person) = (id.to_owned(), Some(person.to_owned()));
        self.work(broadcast, Work::File(FileWork::Forget { id, person }))
            .await
    }
}

pub async fn write(to: &mut AnyConnection, broadcast: &str, work: &FileWork) -> Result<(), sqlx::Error> {
    match work {
        FileWork::Add {
            person,
            attached,
            now,
        } => {
            let sql = "INSERT INTO file (broadcast, id, person, name, type, size, uploaded) \
                       VALUES ($1, $2, $3, $4, $5, $6, $7) \
                       ON CONFLICT (broadcast, id, person) DO UPDATE SET name = excluded.name, uploaded = excluded.uploaded";
            let query = sqlx::query(sql)
                .bind(broadcast)
                .bind(&attached.id)
                .bind(person)
                .bind(&attached.name);
            let query = query
                .bind(&attached.media_type)
                .bind(attached.size as i64)
                .bind(now);
            query.execute(to).await?;
        }
        FileWork::Named { ids } => {
            for id in ids {
                name(to, broadcast, id).await?;
            }
        }
        FileWork::Forget { id, person: None } => {
            let sql = "DELETE FROM file WHERE broadcast = $1 AND id = $2";
            sqlx::query(sql).bind(broadcast).bind(id).execute(to).await?;
        }
        FileWork::Forget {
            id,
            person: Some(person),
        } => {
            let sql = "DELETE FROM file WHERE broadcast = $1 AND id = $2 AND person = $3";
            sqlx::query(sql)
                .bind(broadcast)
                .bind(id)
                .bind(person)
                .execute(to)
                .await?;
        }
    }
    Ok(())
}

/// With the event that names files, or lets go of them.
pub async fn settle(to: &mut AnyConnection, broadcast: &str, accepted: &Accepted) -> Result<(), sqlx::Error> {
    for attached in accepted.event.text().into_iter().flat_map(|text| &text.files) {
        name(to, broadcast, &attached.id).await?;
    }
    // Unless another message names it, any sweep may take it: as if it had been uploaded long ago.
    let sql = "UPDATE file SET named = 0, uploaded = 0 WHERE broadcast = $1 AND id = $2 AND named = 1";
    for id in &accepted.files {
        sqlx::query(sql)
            .bind(broadcast)
            .bind(id)
            .execute(&mut *to)
            .await?;
    }
    Ok(())
}

async fn name(to: &mut AnyConnection, broadcast: &str, id: &str) -> Result<(), sqlx::Error> {
    let sql = "UPDATE file SET named = 1 WHERE broadcast = $1 AND id = $2";
    sqlx::query(sql).bind(broadcast).bind(id).execute(to).await?;
    Ok(())
}

fn row(row: &AnyRow) -> Result<FileRow, sqlx::Error> {
    Ok(FileRow {
        id: row.try_get("id")?,
        person: row.try_get("person")?,
        name: row.try_get("name")?,
        media_type: row.try_get("type")?,
        size: unsigned(row.try_get("size")?),
        uploaded: row.try_get("uploaded")?,
    })
}

/// The ids in what an event says beside its body.
fn files_in(data: &str) -> Vec<String> {
    #[derive(Deserialize)]
    struct OnlyFiles {
        #[serde(default)]
        files: Vec<OnlyId>,
    }
    #[derive(Deserialize)]
    struct OnlyId {
        id: String,
    }
    let found = serde_json::from_str::<OnlyFiles>(data).map(|found| found.files);
    found
        .unwrap_or_default()
        .into_iter()
        .map(|file| file.id)
        .collect()
}
