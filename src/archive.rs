//! Where broadcasts are kept: in a folder of the data, or in a bucket behind a spool there.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use packager::archive::s3::{self, Unusable};
use packager::archive::{Cached, Disk, S3, Spool};
use serde::{Deserialize, Serialize};
use timeline::Archive;

/// At a stop, what waits for the bucket gets so long; the next start sends the rest.
const LAST_UPLOADS: Duration = Duration::from_secs(5);

/// Credentials are none of it: they come from the environment (`AWS_ACCESS_KEY_ID`, …), a profile, or the machine.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The S3 bucket that keeps the broadcasts. Without one they are kept in `broadcasts` of the data folder.
    pub bucket: Option<String>,
    /// A folder in the bucket, such as `lectures/2026`. One server alone writes there.
    pub prefix: String,
    /// Where the store is, such as `https://s3.example.org`. Without it: AWS.
    pub endpoint: Option<String>,
    /// The store's region. Without it what the environment says, and else `us-east-1`.
    pub region: Option<String>,
    /// Whether the bucket is named in the path (`endpoint/bucket/…`), as most stores beside AWS want it, or in the
    /// host's name.
    pub path_style: bool,
    /// What may wait on the local disk while the bucket is away: 20 GiB are nine hours of a 5 Mbit/s ladder.
    pub spool_gib: u32,
    /// Memory for segments of the bucket that several viewers want at once.
    pub cache_mib: u32,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            bucket: None,
            prefix: String::new(),
            endpoint: None,
            region: None,
            path_style: false,
            spool_gib: 20,
            cache_mib: 64,
        }
    }
}

impl Config {
    pub fn check(&self) -> anyhow::Result<()> {
        let Some(bucket) = &self.bucket else {
            let without = self.endpoint.is_none() && self.prefix.is_empty() && self.region.is_none();
            ensure!(
                without,
                "archive.bucket is missing: without it the rest of [archive] means nothing"
            );
            return Ok(());
        };
        ensure!(
            is_name(bucket),
            "archive.bucket must be the name of a bucket: {bucket:?} is none"
        );
        let prefix = self.prefix.trim_matches('/');
        ensure!(
            prefix.is_empty() || prefix.split('/').all(is_name),
            "archive.prefix must be a folder in the bucket: {prefix:?} is none"
        );
        if let Some(endpoint) = &self.endpoint {
            let host = endpoint
                .strip_prefix("https://")
                .or(endpoint.strip_prefix("http://"));
            // A password there would be printed with the configuration.
            let plain = host.is_some_and(|host| !host.is_empty() && !host.contains(['@', '?', '#']));
            ensure!(
                plain,
                "archive.endpoint must be an URL such as https://s3.example.org, without credentials"
            );
        }
        ensure!(self.spool_gib > 0, "archive.spool_gib must be at least 1");
        Ok(())
    }

    fn spool_bytes(&self) -> u64 {
        u64::from(self.spool_gib) << 30
    }

    fn cache_bytes(&self) -> u64 {
        u64::from(self.cache_mib) << 20
    }

    fn s3(&self, bucket: &str) -> s3::Config {
        s3::Config {
            bucket: bucket.to_owned(),
            prefix: self.prefix.clone(),
            endpoint: self.endpoint.clone(),
            region: self.region.clone(),
            path_style: self.path_style,
        }
    }
}

fn is_name(name: &str) -> bool {
    let plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'-' | b'_');
    !name.is_empty() && name.len() <= 255 && !name.starts_with('.') && name.bytes().all(plain)
}

/// The archive, and what goes on behind it.
pub async fn open(config: &Config, data: &Path) -> anyhow::Result<(Arc<dyn Archive>, Uploads)> {
    let Some(bucket) = &config.bucket else {
        let disk = Disk::open(data.join("broadcasts"))
            .with_context(|| format!("cannot open the archive in {}", data.display()))?;
        return Ok((Arc::new(disk), Uploads(None)));
    };
    let spool = open_spool(config, bucket, data.join("spool")).await?;
    let archive = Cached::new(Arc::new(spool.clone()), config.cache_bytes());
    tokio::spawn({
        let spool = spool.clone();
        async move { spool.upload().await }
    });
    Ok((Arc::new(archive), Uploads(Some(spool))))
}

async fn open_spool(config: &Config, bucket: &str, root: std::path::PathBuf) -> anyhow::Result<Spool> {
    let name = format!("s3://{bucket}/{}", config.prefix.trim_matches('/'));
    let known =
        Spool::store(&root).with_context(|| format!("cannot read the spool in {}", root.display()))?;
    if let Some(other) = known.as_ref().filter(|known| **known != name) {
        bail!(
            "the spool in {} is for {other}, not for {name}: let it run empty there, then remove it",
            root.display()
        );
    }
    let s3 = S3::open(&config.s3(bucket)).await;
    match s3.probe().await {
        Ok(()) => {}
        // In mid-lecture: what there is is known here, and what comes waits here.
        Err(away @ Unusable::Away { .. }) if known.is_some() => {
            tracing::error!("{away}; going on without it")
        }
        Err(unusable) => return Err(unusable).context("cannot open the archive"),
    }
    let spool = Spool::open(root.clone(), config.spool_bytes(), Arc::new(s3))
        .await
        .with_context(|| format!("cannot open the spool in {}", root.display()))?;
    spool.belongs_to(&name).context("cannot write to the spool")?;
    let (objects, bytes) = spool.waiting();
    tracing::info!(archive = %name, objects, bytes, "the archive is open; these wait to be sent");
    Ok(spool)
}

/// What is on its way to the bucket.
pub struct Uploads(Option<Spool>);

impl Uploads {
    /// Waits for it, but not for long.
    pub async fn finish(&self) {
        let Some(spool) = &self.0 else {
            return;
        };
        if tokio::time::timeout(LAST_UPLOADS, spool.settled()).await.is_err() {
            let (objects, bytes) = spool.waiting();
            tracing::warn!(
                objects,
                bytes,
                "still wait on disk for the bucket; the next start sends them"
            );
        }
    }
}
