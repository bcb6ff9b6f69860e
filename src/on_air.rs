//! Runs each broadcast that is on air: transcoder and packager side by side, until the line ends.

use std::sync::Arc;
use std::time::Duration;

use timeline::feed::{Consumer, Policy, Producer};
use timeline::{MediaTime, Span, TextRendition, Timeline};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::broadcasts::{Broadcast, Broadcasts, Opened, Publisher};
use crate::config;

const FIRST_RETRY: Duration = Duration::from_millis(200);
const SLOWEST_RETRY: Duration = Duration::from_secs(5);

/// What a broadcast on air needs of the server.
#[derive(Clone)]
pub struct OnAir {
    pub broadcasts: Broadcasts,
    pub settings: config::Broadcasts,
    pub transcoder: transcoder::Transcoder,
    pub ingest: ingest::Ingest,
    pub origin: packager::Origin,
    pub rooms: chat::Rooms,
}

/// A broadcast that goes on air, or on with it.
pub struct Airing {
    broadcast: Arc<Broadcast>,
    timeline: Timeline,
    source: Consumer,
    /// Its requests are held from the moment there is one.
    place: Result<packager::OnAir, packager::Error>,
    /// The server died in its midst.
    interrupted: bool,
}

/// How a broadcast leaves the air.
enum Over {
    Ended(MediaTime),
    /// It was interrupted so long ago that nobody waits for it.
    Abandoned,
    /// The server stops, and the next start goes on with it.
    Left,
}

impl OnAir {
    /// The broadcasts that were on air when the server died. Their requests are held from now on.
    pub fn interrupted(&self) -> Vec<Airing> {
        let known = self.broadcasts.list().into_iter();
        known
            .filter_map(|broadcast| {
                let (timeline, source) = broadcast.take_up()?;
                Some(self.airing(broadcast, timeline, source, true))
            })
            .collect()
    }

    fn airing(
        &self,
        broadcast: Arc<Broadcast>,
        timeline: Timeline,
        source: Consumer,
        interrupted: bool,
    ) -> Airing {
        let place = self.origin.open(packager::Job {
            broadcast: broadcast.id.clone(),
            timeline,
            grid: broadcast.terms.latency.grid(),
            part_hold_back_ms: broadcast.terms.part_hold_back_ms,
            texts: self.texts(&broadcast),
        });
        Airing {
            broadcast,
            timeline,
            source,
            place,
            interrupted,
        }
    }

    /// The room as subtitles, where the broadcast offers it.
    fn texts(&self, broadcast: &Broadcast) -> Vec<TextRendition> {
        let chat = || TextRendition {
            folder: chat::FOLDER,
            name: "Chat",
            // People write in any.
            language: "und",
            segments: Arc::new(self.rooms.clone()),
        };
        broadcast.terms.chat_subtitles.then(chat).into_iter().collect()
    }

    /// Runs every broadcast that opens or was interrupted; returns when the server stops and all have ended.
    pub async fn run(
        self,
        mut openings: mpsc::UnboundedReceiver<Opened>,
        interrupted: Vec<Airing>,
        stop: CancellationToken,
    ) {
        let running = TaskTracker::new();
        let leave = CancellationToken::new();
        for airing in interrupted {
            running.spawn(self.clone().broadcast(airing, leave.clone()));
        }
        loop {
            tokio::select! {
                opened = openings.recv() => match opened {
                    Some(Opened(broadcast, source)) => {
                        let Some(timeline) = broadcast.line().borrow().timeline() else { continue };
                        let airing = self.airing(broadcast, timeline, source, false);
                        running.spawn(self.clone().broadcast(airing, leave.clone()));
                    }
                    None => break,
                },
                () = stop.cancelled() => break,
            }
        }
        if self.settings.end_on_stop {
            self.end_all();
        } else {
            leave.cancel();
        }
        running.close();
        running.wait().await;
    }

    fn end_all(&self) {
        for broadcast in self.broadcasts.list() {
            // A broadcast that nobody has published yet is still to come, after the restart.
            if broadcast.line().borrow().timeline().is_some() {
                broadcast.end();
            }
        }
    }

    #[tracing::instrument(name = "on_air", skip_all, fields(broadcast = %airing.broadcast.id))]
    async fn broadcast(self, airing: Airing, leave: CancellationToken) {
        let (broadcast, timeline) = (airing.broadcast.clone(), airing.timeline);
        let interrupted = airing.interrupted;
        tracing::info!(origin = timeline.origin().unix_millis(), interrupted, "on air");
        metrics::gauge!("lectern_broadcasts_on_air").increment(1.0);
        self.keep_facts(&broadcast).await;

        let over = tokio::select! {
            over = self.line(airing) => over,
            never = self.end_when_abandoned(&broadcast) => match never {},
            () = leave.cancelled() => Over::Left,
        };
        metrics::gauge!("lectern_broadcasts_on_air").decrement(1.0);
        let duration = match over {
            Over::Ended(duration) => duration,
            Over::Abandoned => self.seal(&broadcast, timeline).await,
            Over::Left => {
                tracing::info!("left on the air: the next start goes on with it");
                return;
            }
        };
        self.ingest.end(&broadcast.id).await;
        broadcast.ended(timeline, duration);
        if let Err(error) = self.rooms.end(&broadcast.id).await {
            tracing::error!("the room could not be sealed: {error}");
        }
        self.keep_facts(&broadcast).await;
        tracing::info!(%duration, "ended");
    }

    /// The line itself: source feed → transcoder → line feed → packager.
    async fn line(&self, airing: Airing) -> Over {
        let Airing {
            broadcast,
            timeline,
            source,
            place,
            interrupted,
        } = airing;
        let mut place = match place {
            Ok(place) => place,
            Err(error) => return self.failed(timeline, error),
        };
        let goes_on = match interrupted {
            true => match self.resume(&mut place, timeline).await {
                Some(next) => Some(next),
                None => return Over::Abandoned,
            },
            false => None,
        };
        let line = Producer::new();
        let consumer = line.subscribe(Policy::Line);
        let packaged = async {
            let packaged = place.package(consumer).await;
            if packaged.is_err() {
                // Nobody listens to the transcoder any more: it is to end as well.
                broadcast.end();
            }
            packaged
        };
        let job = transcoder::Job {
            broadcast: broadcast.id.clone(),
            timeline,
            grid: broadcast.terms.latency.grid(),
            goes_on,
        };
        let incidents = broadcast.incidents();
        let transcoded = self.transcoder.run(job, source, line, incidents);
        let (transcoded, packaged) = tokio::join!(transcoded, packaged);
        if let Err(error) = transcoded {
            tracing::error!("the transcoder stopped: {error}");
        }
        match packaged {
            Ok(packaged) => Over::Ended(packaged.duration),
            Err(error) => self.failed(timeline, error),
        }
    }

    fn failed(&self, timeline: Timeline, error: packager::Error) -> Over {
        tracing::error!("the packager stopped: {error}");
        Over::Ended(timeline.at(crate::clock::now()).max(MediaTime::ZERO))
    }

    /// The MSN at which an interrupted line goes on at the earliest; none if it broke off too long ago. What was
    /// shown before is needed to go on, so an archive that is away is waited for.
    async fn resume(&self, place: &mut packager::OnAir, timeline: Timeline) -> Option<u64> {
        let mut pause = FIRST_RETRY;
        let interrupted = loop {
            match place.resume().await {
                Ok(interrupted) => break interrupted,
                Err(error) => tracing::error!(?pause, "the line cannot go on yet: {error}"),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(SLOWEST_RETRY);
        };
        let silent = crate::clock::now() - timeline.wall(interrupted.at);
        tracing::warn!(at = %interrupted.at, %silent, "was interrupted");
        let patience = Span::from(Duration::from_secs(self.settings.idle_timeout_s));
        (silent <= patience).then_some(interrupted.next_msn)
    }

    /// What is in the archive becomes the recording.
    async fn seal(&self, broadcast: &Broadcast, timeline: Timeline) -> MediaTime {
        match self.origin.seal(&broadcast.id).await {
            Ok(duration) => duration,
            Err(error) => {
                tracing::error!("its playlists cannot be ended: {error}");
                timeline.at(crate::clock::now()).max(MediaTime::ZERO)
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
