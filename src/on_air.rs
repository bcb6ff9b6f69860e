//! Runs each broadcast that is on air: transcoder and packager side by side, until the line ends.

use std::sync::Arc;
use std::time::Duration;

use timeline::feed::{Consumer, Policy, Producer};
use timeline::{Grid, MediaTime, Timeline};
use tokio::sync::{mpsc, watch};
use tokio_util::task::TaskTracker;

use crate::broadcasts::{Broadcast, Broadcasts, Opened, Publisher};
use crate::config;

/// What a broadcast on air needs of the server.
#[derive(Clone)]
pub struct OnAir {
    pub broadcasts: Broadcasts,
    pub settings: config::Broadcasts,
    pub transcoder: transcoder::Config,
    pub ingest: ingest::Ingest,
    pub origin: packager::Origin,
    pub rooms: chat::Rooms,
}

impl OnAir {
    /// Runs every broadcast that opens; returns when the server stops and all have ended.
    pub async fn run(
        self,
        mut openings: mpsc::UnboundedReceiver<Opened>,
        stop: tokio_util::sync::CancellationToken,
    ) {
        let running = TaskTracker::new();
        loop {
            tokio::select! {
                opened = openings.recv() => match opened {
                    Some(Opened(broadcast, source)) => {
                        running.spawn(self.clone().broadcast(broadcast, source));
                    }
                    None => break,
                },
                () = stop.cancelled() => break,
            }
        }
        for broadcast in self.broadcasts.list() {
            // A broadcast that nobody has published yet is still to come, after the restart.
            if broadcast.line().borrow().timeline().is_some() {
                broadcast.end();
            }
        }
        running.close();
        running.wait().await;
    }

    #[tracing::instrument(name = "on_air", skip_all, fields(broadcast = %broadcast.id))]
    async fn broadcast(self, broadcast: Arc<Broadcast>, source: Consumer) {
        let Some(timeline) = broadcast.line().borrow().timeline() else {
            return;
        };
        tracing::info!(origin = timeline.origin().unix_millis(), "on air");
        metrics::gauge!("lectern_broadcasts_on_air").increment(1.0);
        self.keep_facts(&broadcast).await;

        let duration = tokio::select! {
            duration = self.line(&broadcast, timeline, source) => duration,
            never = self.end_when_abandoned(&broadcast) => match never {},
        };
        self.ingest.end(&broadcast.id).await;
        broadcast.ended(timeline, duration);
        if let Err(error) = self.rooms.end(&broadcast.id).await {
            tracing::error!("the room could not be sealed: {error}");
        }
        self.keep_facts(&broadcast).await;
        metrics::gauge!("lectern_broadcasts_on_air").decrement(1.0);
        tracing::info!(%duration, "ended");
    }

    /// The line itself: source feed → transcoder → line feed → packager.
    async fn line(&self, broadcast: &Broadcast, timeline: Timeline, source: Consumer) -> MediaTime {
        let grid = Grid::default();
        let line = Producer::new();
        let packaged =
            self.origin
                .package(broadcast.id.clone(), timeline, grid, line.subscribe(Policy::Line));
        let packaged = async {
            let packaged = packaged.await;
            if packaged.is_err() {
                // Nobody listens to the transcoder any more: it is to end as well.
                broadcast.end();
            }
            packaged
        };
        let job = transcoder::Job {
            broadcast: broadcast.id.clone(),
            timeline,
            grid,
        };
        let transcoded = transcoder::run(self.transcoder.clone(), job, source, line);
        let (transcoded, packaged) = tokio::join!(transcoded, packaged);
        if let Err(error) = transcoded {
            tracing::error!("the transcoder stopped: {error}");
        }
        match packaged {
            Ok(packaged) => packaged.duration,
            Err(error) => {
                tracing::error!("the packager stopped: {error}");
                timeline.at(crate::clock::now())
            }
        }
    }

    /// Ends the broadcast once its publisher has been away for too long.
    async fn end_when_abandoned(&self, broadcast: &Broadcast) -> std::convert::Infallible {
        let mut publisher = broadcast.publisher();
        loop {
            let state = *publisher.borrow_and_update();
            let wait = match state {
                Publisher::Present { .. } => None,
                Publisher::Absent { said_goodbye: true } => Some(self.settings.end_grace_s),
                Publisher::Absent { said_goodbye: false } => Some(self.settings.idle_timeout_s),
            };
            match wait {
                None => wait_for_change(&mut publisher).await,
                Some(seconds) => {
                    let returned = wait_for_change(&mut publisher);
                    if tokio::time::timeout(Duration::from_secs(seconds), returned)
                        .await
                        .is_err()
                    {
                        tracing::info!(seconds, "nobody publishes any more");
                        broadcast.end();
                        std::future::pending::<()>().await;
                    }
                }
            }
        }
    }

    async fn keep_facts(&self, broadcast: &Broadcast) {
        if let Err(error) = self.broadcasts.save(broadcast).await {
            tracing::error!(broadcast = %broadcast.id, "its facts could not be kept: {error}");
        }
    }
}

async fn wait_for_change(publisher: &mut watch::Receiver<Publisher>) {
    if publisher.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}
