//! The archive in a bucket of S3, or of anything that speaks its protocol. Keys stand below a prefix.
//!
//! Each object carries its Content-Type and the lifetime of its copies, so the bucket can be served by itself.

use std::error::Error;
use std::io;
use std::ops::Range;
use std::time::Duration;

use async_trait::async_trait;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, ConfigLoader, Region};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::{
    ProvideCredentials, RequestChecksumCalculation, ResponseChecksumValidation, SharedCredentialsProvider,
};
use aws_sdk_s3::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::primitives::ByteStream;
use aws_smithy_http_client::tls;
use bytes::Bytes;
use timeline::{Archive, ArchiveError, Object};

use super::{check_key, content_type, lifetime};

/// A store within reach takes a connection in milliseconds; one lost packet costs a second.
const CONNECT: Duration = Duration::from_secs(3);

/// Until the answer's head, a segment's upload included: 5 MB on a line of 2 Mbit/s.
const ANSWER: Duration = Duration::from_secs(20);

/// The SDK's own tries of one request, for what passes in a moment; whoever needs it for longer tries again.
const TRIES: u32 = 3;

/// A reader's player has given up after that.
const READ: Duration = Duration::from_secs(10);

/// What a store without regions is told, and most of them believe.
const DEFAULT_REGION: &str = "us-east-1";

pub use aws_sdk_s3::config::Credentials;

/// Which bucket, and where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    pub bucket: String,
    /// A folder in the bucket; empty is the bucket itself.
    pub prefix: String,
    /// The store's address; none is AWS.
    pub endpoint: Option<String>,
    /// None is what the environment says.
    pub region: Option<String>,
    /// `{endpoint}/{bucket}/…` instead of `{bucket}.{endpoint}/…`.
    pub path_style: bool,
}

/// Cheap to clone.
#[derive(Clone)]
pub struct S3 {
    client: Client,
    credentials: Option<SharedCredentialsProvider>,
    bucket: String,
    /// Empty, or with a slash at its end.
    prefix: String,
}

/// Why a bucket cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// Trying again will not help.
    #[error("the bucket {bucket} refuses us: {reason}")]
    Refused { bucket: String, reason: String },
    #[error("the bucket {bucket} cannot be reached: {reason}")]
    Away { bucket: String, reason: String },
}

impl S3 {
    /// Credentials come from where the SDK looks for them: environment, profile, web identity, the machine's own.
    pub async fn open(config: &Config) -> S3 {
        S3::of(config, aws_config::defaults(BehaviorVersion::latest())).await
    }

    pub async fn open_as(config: &Config, credentials: Credentials) -> S3 {
        let sdk = aws_config::defaults(BehaviorVersion::latest()).credentials_provider(credentials);
        S3::of(config, sdk).await
    }

    async fn of(config: &Config, mut sdk: ConfigLoader) -> S3 {
        if let Some(region) = &config.region {
            sdk = sdk.region(Region::new(region.clone()));
        }
        let http = aws_smithy_http_client::Builder::new()
            .tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring))
            .build_https();
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT)
            .read_timeout(ANSWER)
            .build();
        let sdk = sdk
            .http_client(http)
            .timeout_config(timeouts)
            .retry_config(RetryConfig::standard().with_max_attempts(TRIES))
            .load()
            .await;
        let mut builder = aws_sdk_s3::config::Builder::from(&sdk)
            .force_path_style(config.path_style)
            // Other stores refuse checksums they do not know. The body is signed, so it arrives whole.
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
        builder.set_endpoint_url(config.endpoint.clone());
        if sdk.region().is_none() {
            builder.set_region(Some(Region::from_static(DEFAULT_REGION)));
        }
        let prefix = config.prefix.trim_matches('/');
        S3 {
            client: Client::from_conf(builder.build()),
            credentials: sdk.credentials_provider(),
            bucket: config.bucket.clone(),
            prefix: if prefix.is_empty() {
                String::new()
            } else {
                format!("{prefix}/")
            },
        }
    }

    /// Whether there is such a bucket, and it knows us.
    pub async fn probe(&self) -> Result<(), Unusable> {
        let bucket = || self.bucket.clone();
        if let Some(credentials) = &self.credentials {
            let known = credentials.provide_credentials().await;
            known.map_err(|error| Unusable::Refused {
                bucket: bucket(),
                reason: format!("no credentials were found: {}", DisplayErrorContext(error)),
            })?;
        }
        let request = self
            .client
            .list_objects_v2()
            .bucket(&self.bucket)
            .prefix(&self.prefix)
            .max_keys(1);
        match request.send().await {
            Ok(_) => Ok(()),
            Err(error) if is_away(&error) => Err(Unusable::Away {
                bucket: bucket(),
                reason: reason(&error),
            }),
            Err(error) => Err(Unusable::Refused {
                bucket: bucket(),
                reason: reason(&error),
            }),
        }
    }

    fn full(&self, key: &str) -> Result<String, ArchiveError> {
        Ok(format!("{}{}", self.prefix, check_key(key)?))
    }

    async fn read(&self, key: &str, range: Option<String>) -> Result<Read, ArchiveError> {
        let request = self
            .client
            .get_object()
            .bucket(&self.bucket)
            .key(self.full(key)?)
            .set_range(range);
        let read = async {
            let head = match request.send().await {
                Err(error) if status(&error) == Some(416) => return Ok(Read::Beyond),
                head => head.map_err(|error| failed(key, &error))?,
            };
            let content_type = known_type(key, &head);
            let body = head
                .body
                .collect()
                .await
                .map_err(|error| away(key, error.into()))?;
            Ok(Read::Found(Object {
                body: body.into_bytes(),
                content_type,
            }))
        };
        let late = |_| Err(away(key, format!("no answer within {READ:?}").into()));
        tokio::time::timeout(READ, read).await.unwrap_or_else(late)
    }
}

enum Read {
    Found(Object),
    /// The range begins behind the object's end.
    Beyond,
}

#[async_trait]
impl Archive for S3 {
    async fn put(&self, key: &str, object: Object) -> Result<(), ArchiveError> {
        let request = self
            .client
            .put_object()
            .bucket(&self.bucket)
            .key(self.full(key)?)
            .content_type(object.content_type)
            .cache_control(lifetime(key, &object.body).text())
            .body(ByteStream::from(object.body));
        // Nothing is looked for that could be missing, but the bucket.
        request
            .send()
            .await
            .map(drop)
            .map_err(|error| broken(key, &error))
    }

    async fn get(&self, key: &str) -> Result<Object, ArchiveError> {
        match self.read(key, None).await? {
            Read::Found(object) => Ok(object),
            Read::Beyond => Err(away(key, "a range was refused that was not asked for".into())),
        }
    }

    async fn size(&self, key: &str) -> Result<u64, ArchiveError> {
        let head = self
            .client
            .head_object()
            .bucket(&self.bucket)
            .key(self.full(key)?)
            .send();
        let late = |_| Err(away(key, format!("no answer within {READ:?}").into()));
        let head = async { head.await.map_err(|error| failed(key, &error)) };
        let head = tokio::time::timeout(READ, head).await.unwrap_or_else(late)?;
        Ok(head
            .content_length()
            .and_then(|length| u64::try_from(length).ok())
            .unwrap_or(0))
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, ArchiveError> {
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let range = format!("bytes={}-{}", range.start, range.end - 1);
        match self.read(key, Some(range)).await? {
            Read::Found(part) => Ok(part.body),
            Read::Beyond => Ok(Bytes::new()),
        }
    }

    async fn delete(&self, key: &str) -> Result<(), ArchiveError> {
        let request = self
            .client
            .delete_object()
            .bucket(&self.bucket)
            .key(self.full(key)?);
        match request.send().await {
            Err(error) if is_missing(&error) => Ok(()),
            deleted => deleted.map(drop).map_err(|error| broken(key, &error)),
        }
    }

    async fn list(&self, folder: &str) -> Result<Vec<String>, ArchiveError> {
        let prefix = match folder {
            "" => self.prefix.clone(),
            _ => format!("{}/", self.full(folder)?),
        };
        let pages = self
            .client
            .list_objects_v2()
            .bucket(&self.bucket)
            .prefix(&prefix)
            .delimiter("/");
        let mut pages = pages.into_paginator().send();
        let mut names = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| broken(folder, &error))?;
            let folders = page.common_prefixes().iter().filter_map(|folder| folder.prefix());
            let objects = page.contents().iter().filter_map(|object| object.key());
            let below = folders.chain(objects).filter_map(|key| key.strip_prefix(&prefix));
            names.extend(below.map(|name| name.trim_end_matches('/').to_owned()));
        }
        // A folder that somebody made by hand is an object of its own.
        names.retain(|name| !name.is_empty());
        Ok(names)
    }
}

/// Objects that others have copied here may have lost their type.
fn known_type(key: &str, head: &GetObjectOutput) -> String {
    match head.content_type() {
        None | Some("" | "binary/octet-stream" | "application/octet-stream") => content_type(key).to_owned(),
        Some(known) => known.to_owned(),
    }
}

type Failure<E> = SdkError<E, aws_sdk_s3::config::http::HttpResponse>;

fn failed<E: ProvideErrorMetadata + Error + 'static>(key: &str, error: &Failure<E>) -> ArchiveError {
    match is_missing(error) {
        true => ArchiveError::NotFound(key.to_owned()),
        false => broken(key, error),
    }
}

fn broken<E: ProvideErrorMetadata + Error + 'static>(key: &str, error: &Failure<E>) -> ArchiveError {
    match is_away(error) {
        true => away(key, reason(error).into()),
        false => ArchiveError::Io {
            key: key.to_owned(),
            source: io::Error::other(reason(error)),
        },
    }
}

fn away(key: &str, reason: Box<dyn Error + Send + Sync>) -> ArchiveError {
    ArchiveError::Io {
        key: key.to_owned(),
        source: io::Error::new(io::ErrorKind::NotConnected, reason),
    }
}

/// A missing bucket is no missing object.
fn is_missing<E: ProvideErrorMetadata + Error + 'static>(error: &Failure<E>) -> bool {
    status(error) == Some(404) && error.code() != Some("NoSuchBucket")
}

/// The store was not reached, or cannot serve now.
fn is_away<E: Error + 'static>(error: &Failure<E>) -> bool {
    match status(error) {
        Some(status) => status >= 500 || status == 429,
        None => !matches!(error, SdkError::ConstructionFailure(_)),
    }
}

fn status<E>(error: &Failure<E>) -> Option<u16> {
    error.raw_response().map(|response| response.status().as_u16())
}

/// What the store said, or why it said nothing, in one line.
fn reason<E: ProvideErrorMetadata + Error + 'static>(error: &Failure<E>) -> String {
    match (error.code(), error.message()) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        (Some(code), None) => code.to_owned(),
        _ => DisplayErrorContext(error).to_string(),
    }
}
