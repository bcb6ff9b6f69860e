//! Sends what waits: a few at a time, each until it has arrived.

use std::convert::Infallible;
use std::io;
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use metrics::counter;
use timeline::{Archive, Object};

use super::Spool;
use super::queue::{Entry, Kind};
use crate::archive::lifetime::is_ended;

/// Enough to fill a fast line with objects of some hundred kilobytes, and few enough that each is through in a
/// moment on a slow one. While the store is away no more than these knock.
const AT_ONCE: usize = 8;

const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// A store that returns is found again this soon; whoever finds it first tells the others.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// How often the age of the oldest is measured.
const MEASURE_EVERY: Duration = Duration::from_secs(5);

impl Spool {
    /// Sends what waits and what will be put, for ever; one call at a time. Dropped, it leaves the rest to the next, in
    /// this process or in another.
    pub async fn upload(&self) -> Infallible {
        let _release = Release(self);
        let mut sending = FuturesUnordered::new();
        let mut measure = tokio::time::interval(MEASURE_EVERY);
        loop {
            while sending.len() < AT_ONCE
                && let Some((number, entry)) = self.next()
            {
                sending.push(self.send(number, entry));
            }
            tokio::select! {
                Some(()) = sending.next() => {}
                () = self.0.put.notified() => {}
                _ = measure.tick() => self.0.measure(),
            }
        }
    }

    fn next(&self) -> Option<(u64, Entry)> {
        self.0.queue().next()
    }

    async fn send(&self, number: u64, entry: Entry) {
        let mut pause = FIRST_PAUSE;
        while self.0.queue().begin(number) {
            let sent = match self.load(number, &entry).await {
                Ok(object) => self.attempt(&entry, object).await,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return self.lost(number, &entry),
                Err(error) => Err(error.to_string()),
            };
            match sent {
                Ok(sent) => return self.arrived(number, &entry, sent).await,
                Err(error) => tracing::debug!(key = %entry.key, %error, "not sent; trying again"),
            }
            counter!("lectern_archive_upload_retries_total").increment(1);
            self.0.queue().pause(number);
            self.0
                .contact
                .rest(pause.mul_f64(rand::random_range(0.5..=1.0)))
                .await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// `None` where nothing but a delete is to be sent.
    async fn load(&self, number: u64, entry: &Entry) -> io::Result<Option<Object>> {
        match entry.kind {
            Kind::Delete => Ok(None),
            Kind::Object | Kind::Pointer => self.0.read(number).await.map(Some),
        }
    }

    async fn attempt(&self, entry: &Entry, object: Option<Object>) -> Result<Option<Object>, String> {
        let began = Instant::now();
        let answer = match &object {
            None => self.0.store.delete(&entry.key).await,
            Some(object) => self.0.store.put(&entry.key, object.clone()).await,
        };
        self.0.heard(&answer, began);
        answer.map(|()| object).map_err(|error| error.to_string())
    }

    /// A copy of a pointer is kept before the only one goes.
    async fn arrived(&self, number: u64, entry: &Entry, sent: Option<Object>) {
        counter!("lectern_archive_uploads_total").increment(1);
        if let Some(pointer) = sent.filter(|_| entry.kind == Kind::Pointer)
            && self.0.queue().newest(&entry.key) == Some((number, Kind::Pointer))
        {
            self.keep(&entry.key, pointer).await;
        }
        self.forget(number).await;
    }

    /// What a server needs to go on without the store: a playlist that has its end is no part of that.
    async fn keep(&self, key: &str, pointer: Object) {
        let kept = match is_ended(&pointer.body) {
            true => self.0.kept.delete(key).await,
            false => self.0.kept.put(key, pointer).await,
        };
        if let Err(error) = kept {
            tracing::error!(%key, %error, "the local copy could not be brought up to date");
        }
    }

    fn lost(&self, number: u64, entry: &Entry) {
        tracing::error!(key = %entry.key, "its file has vanished from the spool: it is lost");
        self.0.queue().done(number);
        self.0.arrived.notify_waiters();
    }

    /// The file goes first: the next version of a key must not be sent while this one could be sent again.
    async fn forget(&self, number: u64) {
        let inner = self.0.clone();
        let removed = tokio::task::spawn_blocking(move || inner.folder.remove(number)).await;
        if let Err(error) = removed.map_err(io::Error::other).flatten() {
            tracing::error!(number, %error, "a file of the spool cannot be removed: the next start sends it again");
        }
        self.0.queue().done(number);
        self.0.measure();
        self.0.arrived.notify_waiters();
    }
}

/// Gives back what was to be sent when the sending stops.
struct Release<'a>(&'a Spool);

impl Drop for Release<'_> {
    fn drop(&mut self) {
        self.0.0.queue().release();
    }
}
