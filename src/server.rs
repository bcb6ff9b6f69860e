//! `lectern serve`: wires the stages, owns the sockets and the stop signal.

use std::future::Future;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tower_http::trace::TraceLayer;

use crate::api::Api;
use crate::archive::{self, Uploads};
use crate::auth::Auth;
use crate::broadcasts::{Broadcasts, Opened, Terms};
use crate::config::Config;
use crate::doors::Doors;
use crate::http::Http;
use crate::on_air::{Airing, OnAir};
use crate::owners::Owners;
use crate::tls::Tls;
use crate::{demo, pages, telemetry};

/// Connections that are still busy this long after everything else has stopped are cut.
const LAST_ANSWERS: Duration = Duration::from_secs(3);

/// The last segments and playlists are kept within two seconds; an archive that fails is not waited for longer
/// than whoever stops us waits before killing.
const LAST_SEGMENTS: Duration = Duration::from_secs(8);

/// How often the metrics recorder folds its samples, so that it does not grow between scrapes.
const METRICS_UPKEEP: Duration = Duration::from_secs(5);

pub async fn run(config: Config, with_demo: bool) -> anyhow::Result<()> {
    let stop = stop_signal()?;
    let server = Server::open(config).await?;
    let (scheme, address) = (server.scheme(), server.listener.local_addr()?);
    println!("listening on {scheme}://{address}");
    let mut inside = None;
    let demo = match with_demo {
        true => {
            // In the clear whatever the certificate is for: a door of this machine alone.
            let door = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
            let at = inside.insert(door).local_addr()?;
            Some(
                demo::Demo::start(
                    &server.auth,
                    &server.broadcasts,
                    server.defaults,
                    at,
                    scheme,
                    address,
                )
                .await?,
            )
        }
        false => None,
    };
    server.run(stop, demo, inside).await
}

struct Server {
    auth: Arc<Auth>,
    broadcasts: Broadcasts,
    defaults: Terms,
    openings: tokio::sync::mpsc::UnboundedReceiver<Opened>,
    interrupted: Vec<Airing>,
    on_air: OnAir,
    owners: Option<Arc<Owners>>,
    ready: Arc<AtomicBool>,
    router: axum::Router,
    listener: TcpListener,
    tls: Option<Tls>,
    uploads: Uploads,
    /// Held as long as the server runs.
    _lock: std::fs::File,
}

impl Server {
    async fn open(config: Config) -> anyhow::Result<Server> {
        let lock = lock(&config.data)?;
        let common = config.common()?;
        let tls = config.tls.map(Tls::load).transpose()?;
        let prometheus = telemetry::metrics()?;
        let auth = Arc::new(Auth::open(&config.auth, &config.data)?);
        let (archive, uploads) = archive::open(&config.archive, &config.data).await?;
        let (broadcasts, openings) = Broadcasts::open(archive.clone()).await?;
        let defaults = Terms {
            guests: config.broadcasts.guests,
            latency: config.broadcasts.latency,
            part_hold_back_ms: config.packager.part_hold_back_ms,
            chat_subtitles: config.broadcasts.chat_subtitles,
        };
        let owners = match (&config.redis.url, &config.node.url) {
            (Some(redis), Some(url)) => Some(Owners::new(redis, url)?),
            _ => None,
        };
        let doors = Arc::new(Doors {
            auth: auth.clone(),
            broadcasts: broadcasts.clone(),
            create_on_publish: config.broadcasts.create_on_publish,
            defaults,
            owners: owners.clone(),
        });

        let line_delay_ms = config.transcoder.line_delay_ms;
        let ingest = ingest::Config {
            line_delay_ms,
            ..config.ingest
        };
        let ingest = ingest::Ingest::bind(ingest, doors.clone())
            .await
            .context("cannot open the ingest")?;
        let origin = packager::Origin::new(config.packager, archive.clone());
        let rooms = match &common {
            Some(common) => chat::Rooms::share(config.chat, common, archive, doors)
                .await
                .context("cannot open the rooms that are shared with other servers")?,
            None => {
                let record = config.data.join("rooms.db");
                chat::Rooms::open(config.chat, &record, archive, doors)
                    .await
                    .with_context(|| format!("cannot open the rooms in {}", record.display()))?
            }
        };
        let api = Api {
            auth: auth.clone(),
            broadcasts: broadcasts.clone(),
            defaults,
            rooms: rooms.clone(),
            arrivals: Arc::default(),
            ingest: ingest.clone(),
        };

        let ready = Arc::new(AtomicBool::new(true));
        let router = axum::Router::new()
            .merge(ingest.router())
            .merge(rooms.router())
            .merge(api.router())
            .merge(health(ready.clone(), rooms.clone(), prometheus))
            .merge(pages::router(&config.node.others)?)
            .layer(TraceLayer::new_for_http().make_span_with(telemetry::request))
            // Twenty requests a second of each viewer: counted, not traced.
            .merge(origin.router())
            .merge(origin.texts_router(chat::FOLDER));
        let listener = TcpListener::bind(config.listen)
            .await
            .with_context(|| format!("cannot listen on {}", config.listen))?;
        let on_air = OnAir {
            broadcasts: broadcasts.clone(),
            settings: config.broadcasts,
            transcoder: transcoder::Transcoder::new(config.transcoder),
            ingest,
            origin,
            rooms,
        };
        let interrupted = on_air.interrupted();
        Ok(Server {
            auth,
            broadcasts,
            defaults,
            openings,
            interrupted,
            on_air,
            owners,
            ready,
            router,
            listener,
            tls,
            uploads,
            _lock: lock,
        })
    }

    fn scheme(&self) -> &'static str {
        match self.tls {
            Some(_) => "https",
            None => "http",
        }
    }

    /// Serves until `stop` resolves; then ends what is on air, closes the rooms, and lets the last answers out.
    async fn run(
        self,
        stop: impl Future<Output = ()>,
        demo: Option<demo::Demo>,
        inside: Option<TcpListener>,
    ) -> anyhow::Result<()> {
        let stages_stop = CancellationToken::new();
        let ingest = self.on_air.ingest.clone();
        let rooms = self.on_air.rooms.clone();
        let on_air = tokio::spawn(
            self.on_air
                .run(self.openings, self.interrupted, stages_stop.clone()),
        );
        let held = self
            .owners
            .map(|owners| tokio::spawn(owners.hold(self.broadcasts.clone(), stages_stop.clone())));
        let _inside = match inside {
            Some(door) => Some(Http::serve(door, None, self.router.clone())?),
            None => None,
        };
        let mut http = Http::serve(self.listener, self.tls.as_ref(), self.router)?;
        if let Some(tls) = self.tls {
            tokio::spawn(tls.follow());
        }

        tokio::select! {
            () = stop => tracing::info!("stopping"),
            failed = http.failed() => return Err(failed),
        }
        self.ready.store(false, Ordering::Release);
        if let Some(demo) = demo {
            demo.stop().await;
        }
        ingest.shutdown().await;
        stages_stop.cancel();
        match tokio::time::timeout(LAST_SEGMENTS, on_air).await {
            Ok(ended) => ended.context("the broadcasts could not be ended")?,
            Err(_) => tracing::error!("some broadcasts could not be ended in time; the next start ends them"),
        }
        if let Some(held) = held {
            held.await.context("the broadcasts could not be given up")?;
        }
        rooms.shutdown().await;
        if !http.stop(LAST_ANSWERS).await {
            tracing::info!("some connections were still open and are cut");
        }
        self.uploads.finish().await;
        tracing::info!("stopped");
        Ok(())
    }
}

/// Two servers on one data folder would end each other's broadcasts. Held until the process ends.
fn lock(data: &Path) -> anyhow::Result<std::fs::File> {
    std::fs::create_dir_all(data)
        .with_context(|| format!("cannot make the data folder {}", data.display()))?;
    let file = std::fs::File::create(data.join("lock"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => {
            anyhow::bail!("another server uses the data folder {}", data.display())
        }
        Err(std::fs::TryLockError::Error(error)) => Err(error).context("cannot lock the data folder"),
    }
}

#[derive(Clone)]
struct Health {
    ready: Arc<AtomicBool>,
    rooms: chat::Rooms,
    prometheus: PrometheusHandle,
}

fn health(ready: Arc<AtomicBool>, rooms: chat::Rooms, prometheus: PrometheusHandle) -> axum::Router {
    tokio::spawn(upkeep(prometheus.clone()));
    axum::Router::new()
        .route("/healthz", get(|| async { "alive\n" }))
        .route("/readyz", get(readyz))
        .route(
            "/metrics",
            get(|State(health): State<Health>| async move { telemetry::render(&health.prometheus) }),
        )
        .with_state(Health {
            ready,
            rooms,
            prometheus,
        })
}

async fn readyz(State(health): State<Health>) -> (StatusCode, &'static str) {
    match health.ready.load(Ordering::Acquire) {
        // Pictures go on, and rooms take what is said: no reason to send anyone away, least of all from all nodes at once.
        true if !health.rooms.is_joined() => (StatusCode::OK, "ready, but Redis is away\n"),
        true => (StatusCode::OK, "ready\n"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "stopping\n"),
    }
}

async fn upkeep(prometheus: PrometheusHandle) {
    let mut tick = tokio::time::interval(METRICS_UPKEEP);
    loop {
        tick.tick().await;
        prometheus.run_upkeep();
    }
}

/// Resolves at SIGTERM or SIGINT. The handlers stand from this call on. A second signal does not wait.
fn stop_signal() -> anyhow::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (tell, told) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        let mut next = async || {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        next().await;
        let _ = tell.send(());
        next().await;
        tracing::warn!("stopped at once, by a second signal");
        std::process::exit(1);
    });
    Ok(async move {
        let _ = told.await;
    })
}
