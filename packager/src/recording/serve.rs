//! `recording.mp4` over HTTP: in ranges (RFC 9110 14), read from the archive as fast as the client takes it.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use timeline::{Archive, BroadcastId};
use tokio::sync::OwnedSemaphorePermit;

use super::layout::{Layout, Read};
use super::library::{Library, Unavailable};
use crate::meters;
use crate::origin::immutable::{Immutable, Portion};
use crate::origin::reply::{Cache, Problem};

/// Reads that are under way or waiting to be sent.
const READ_AHEAD: usize = 2;

/// It may be edited, so it is never kept for ever; its tag tells whether it was.
const CACHE: Cache = Cache::Seconds(300);

impl Library {
    /// Answers a request for the recording of a broadcast that is not on air.
    pub async fn serve(&self, id: &BroadcastId, request: &HeaderMap) -> Result<Response, Problem> {
        let recording = self.get(id).await.map_err(|why| refused(id, why))?;
        let object = Immutable {
            name: &recording.tag,
            content_type: "video/mp4",
            cache: CACHE,
        };
        let length = recording.layout.length();
        let portion = object.portion(length, request);
        let range = match &portion {
            Portion::Whole => Some(0..length),
            Portion::Range(range) => Some(range.clone()),
            Portion::Nothing | Portion::OutOfBounds => None,
        };
        let mut response = object.reply_with(portion, length, Bytes::new());
        let headers = response.headers_mut();
        if let Ok(name) = HeaderValue::try_from(format!("attachment; filename=\"{id}.mp4\"")) {
            headers.insert(header::CONTENT_DISPOSITION, name);
        }
        let Some(range) = range else {
            return Ok(response);
        };
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(range.end - range.start));
        let place = self.downloads().clone().try_acquire_owned();
        let place = place.map_err(|_| Problem::unavailable("too many recordings are being downloaded"))?;
        *response.body_mut() = Body::from_stream(bytes(
            self.archive().clone(),
            recording.layout.clone(),
            range,
            place,
        ));
        Ok(response)
    }
}

/// The answer while a broadcast is on air: nothing is wrong with the request, but it comes too early.
pub fn too_early() -> Problem {
    problem(StatusCode::CONFLICT, &Unavailable::Unfinished, Cache::No)
}

fn refused(id: &BroadcastId, why: Unavailable) -> Problem {
    match why {
        Unavailable::Absent | Unavailable::Empty => Problem::not_found(why.to_string()),
        Unavailable::Unfinished => too_early(),
        Unavailable::Preparing => Problem::unavailable(why.to_string()),
        Unavailable::Archive(_) | Unavailable::Damaged(_) => {
            tracing::error!(broadcast = %id, error = %why, "the recording cannot be served");
            problem(StatusCode::BAD_GATEWAY, &"the archive failed", Cache::No)
        }
    }
}

fn problem(status: StatusCode, detail: &dyn std::fmt::Display, cache: Cache) -> Problem {
    Problem {
        status,
        detail: detail.to_string(),
        cache,
    }
}

/// The bytes of a range. Read as they are taken: a slow client holds a few reads, and its place.
fn bytes(
    archive: Arc<dyn Archive>,
    layout: Arc<Layout>,
    range: Range<u64>,
    place: OwnedSemaphorePermit,
) -> impl Stream<Item = io::Result<Bytes>> + Send {
    let served = meters::served_bytes();
    stream::iter(layout.reads(range))
        .map(move |read| fetch(archive.clone(), read))
        .buffered(READ_AHEAD)
        .flat_map(move |read| {
            // Held until the last byte is taken.
            let _ = &place;
            stream::iter(pieces(read))
        })
        .inspect(move |piece| served.increment(piece.as_ref().map_or(0, Bytes::len) as u64))
}

fn pieces(read: io::Result<Vec<Bytes>>) -> Vec<io::Result<Bytes>> {
    match read {
        Ok(pieces) => pieces.into_iter().map(Ok).collect(),
        Err(error) => vec![Err(error)],
    }
}

/// What is kept of one read. After an error nothing follows: the client sees that bytes are missing.
async fn fetch(archive: Arc<dyn Archive>, read: Read) -> io::Result<Vec<Bytes>> {
    let (key, range, keep) = match read {
        Read::Here(bytes) => return Ok(vec![bytes]),
        Read::Object { key, range, keep } => (key, range, keep),
    };
    let wanted = range.end - range.start;
    let body = match archive.get_range(&key, range).await {
        Ok(body) if body.len() as u64 == wanted => body,
        Ok(_) => return Err(io::Error::other(format!("{key} is too short"))),
        Err(error) => return Err(io::Error::other(error)),
    };
    Ok(keep.into_iter().map(|keep| body.slice(keep)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ladder::Ladder;
    use crate::recording::index::{Index, Track};
    use crate::recording::layout::LONGEST_READ;
    use crate::recording::movie::movie;
    use crate::recording::samples::{Run, Samples};
    use crate::testing::ladder;
    use async_trait::async_trait;
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
    use timeline::{ArchiveError, Object};
    use tokio::sync::Semaphore;

    /// Knows of each byte that it gave whether it is still held.
    #[derive(Default)]
    struct Counting {
        held: Arc<AtomicU64>,
        most: AtomicU64,
        reads: AtomicU64,
    }

    struct Held(Vec<u8>, Arc<AtomicU64>);

    impl AsRef<[u8]> for Held {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }

    impl Drop for Held {
        fn drop(&mut self) {
            self.1.fetch_sub(self.0.len() as u64, Relaxed);
        }
    }

    #[async_trait]
    impl Archive for Counting {
        async fn get_range(&self, _: &str, range: Range<u64>) -> Result<Bytes, ArchiveError> {
            let length = range.end - range.start;
            let held = self.held.fetch_add(length, Relaxed) + length;
            self.most.fetch_max(held, Relaxed);
            self.reads.fetch_add(1, Relaxed);
            Ok(Bytes::from_owner(Held(
                vec![0; length as usize],
                self.held.clone(),
            )))
        }

        async fn put(&self, _: &str, _: Object) -> Result<(), ArchiveError> {
            unreachable!("a download writes nothing")
        }

        async fn get(&self, key: &str) -> Result<Object, ArchiveError> {
            Err(ArchiveError::NotFound(key.to_owned()))
        }

        async fn delete(&self, _: &str) -> Result<(), ArchiveError> {
            unreachable!("a download deletes nothing")
        }

        async fn list(&self, _: &str) -> Result<Vec<String>, ArchiveError> {
            Ok(Vec::new())
        }
    }

    /// Three hours at about 2.5 Mbit/s, in parts of 200 ms.
    fn three_hours() -> Index {
        let mut all = Ladder::default();
        ladder().into_iter().for_each(|rendition| {
            all.add(rendition).unwrap();
        });
        let track = |name: &str, per_run: u32, size: u32, duration: u32, units: u64| {
            let mut track = Track::named(name);
            for msn in 0..3_375 {
                let run = Run {
                    skip: 150,
                    samples: per_run,
                    duration,
                };
                let runs = vec![run; 16];
                let sizes = (0..16 * per_run).map(|n| size + n * 7_919 % size).collect();
                let sync = if duration == 3_000 {
                    vec![0, 48]
                } else {
                    (0..16 * per_run).collect()
                };
                let samples = Samples {
                    start: msn * units,
                    runs,
                    sizes,
                    sync,
                };
                track
                    .push(msn, &all.named(name).unwrap().1.init, samples)
                    .unwrap();
            }
            track
        };
        let (video, audio) = (
            track("720p", 6, 7_000, 3_000, 288_000),
            track("audio", 9, 200, 1_024, 153_600),
        );
        Index::new([0; 32], vec![video, audio])
    }

    fn place() -> (Arc<Semaphore>, OwnedSemaphorePermit) {
        let places = Arc::new(Semaphore::new(1));
        let place = places.clone().try_acquire_owned().unwrap();
        (places, place)
    }

    #[tokio::test]
    async fn three_hours_pass_through_little_memory() {
        let index = three_hours();
        let kept = index.encode().unwrap();
        let began = std::time::Instant::now();
        let index = Index::decode(&kept).unwrap();
        let layout = Arc::new(movie(&"a".parse().unwrap(), &index).unwrap());
        let took = began.elapsed();
        let kept = kept.len();
        drop(index);
        let archive = Arc::new(Counting::default());
        let (places, place) = place();
        // A tenth of it from the middle, which is the same work as any other.
        let (from, length) = (layout.length() / 2, layout.length() / 10);
        let mut body = Box::pin(bytes(archive.clone(), layout.clone(), from..from + length, place));
        let mut got = 0;
        while let Some(piece) = body.next().await {
            got += piece.unwrap().len() as u64;
        }
        assert_eq!(got, length);
        drop(body);
        assert_eq!((archive.held.load(Relaxed), places.available_permits()), (0, 1));
        let most = archive.most.load(Relaxed);
        assert!(most <= (READ_AHEAD as u64 + 1) * LONGEST_READ, "{most}");
        println!(
            "a file of {} MB: {} KB of header made in {took:?}, {} KB of index, {} KB held at most, {} KB a read",
            layout.length() / 1_000_000,
            layout.head().len() / 1_000,
            kept / 1_000,
            most / 1_000,
            length / archive.reads.load(Relaxed) / 1_000,
        );
        assert!(kept < 4_000_000 && layout.head().len() < 6_000_000);
    }

    #[tokio::test]
    async fn nothing_is_read_that_is_not_taken() {
        let layout = Arc::new(movie(&"a".parse().unwrap(), &three_hours()).unwrap());
        let archive = Arc::new(Counting::default());
        let (places, place) = place();
        let range = layout.head().len() as u64..layout.length();
        let mut body = Box::pin(bytes(archive.clone(), layout, range, place));
        body.next().await.unwrap().unwrap();
        assert!(archive.reads.load(Relaxed) <= 1 + READ_AHEAD as u64);
        assert_eq!(places.available_permits(), 0);
        drop(body);
        assert_eq!((archive.held.load(Relaxed), places.available_permits()), (0, 1));
    }
}
