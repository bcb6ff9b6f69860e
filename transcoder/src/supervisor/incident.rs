//! What happened to a line's children: counted, and told to whoever watches the broadcast.

use std::time::{Duration, SystemTime};

use metrics::histogram;
use serde::Serialize;
use timeline::{BroadcastId, Span, WallTime};
use tokio::sync::watch;
use tokio::time::Instant;

/// Why a child was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Reason {
    /// From outside: by hand, or by the kernel that had no memory left.
    Killed,
    /// By a fault in what it decodes or encodes with.
    Crashed,
    /// It reached its limit of memory.
    Memory,
    /// It put nothing out, or took nothing in.
    Hung,
    /// It said that it cannot go on, or said what makes no sense.
    Failed,
    /// It could not be started.
    Spawn,
}

impl Reason {
    pub fn word(self) -> &'static str {
        match self {
            Reason::Killed => "killed",
            Reason::Crashed => "crashed",
            Reason::Memory => "memory",
            Reason::Hung => "hung",
            Reason::Failed => "failed",
            Reason::Spawn => "spawn",
        }
    }
}

/// A child is lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    pub reason: Reason,
    /// In words, for the log.
    pub why: String,
    /// The pictures that came so shortly before may be the cause.
    pub suspect: Span,
}

/// What a process crashed of it was given at most this long before.
const BEFORE_A_CRASH: Span = Span::from_millis(1_000);
/// A decoder that does not return is noticed seconds after it was given its last frame.
const BEFORE_A_HANG: Span = Span::from_millis(3_500);

impl Loss {
    pub fn new(reason: Reason, why: impl Into<String>) -> Loss {
        let suspect = match reason {
            Reason::Crashed | Reason::Memory | Reason::Failed => BEFORE_A_CRASH,
            Reason::Killed | Reason::Hung | Reason::Spawn => Span::ZERO,
        };
        Loss {
            reason,
            why: why.into(),
            suspect,
        }
    }

    /// By what it was to decode.
    pub fn hung_decoder(why: String) -> Loss {
        Loss {
            reason: Reason::Hung,
            why,
            suspect: BEFORE_A_HANG,
        }
    }
}

/// What a lecturer is told of a loss.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Incident {
    /// Unix milliseconds.
    pub at: i64,
    pub reason: Reason,
    /// For how long nothing new came on the line, in milliseconds; none while it still stands. Viewers see less of
    /// it: what was missing comes faster than real time.
    pub stood_ms: Option<u64>,
}

/// Those of a broadcast since the server's start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Incidents {
    pub count: u64,
    pub last: Option<Incident>,
}

pub struct Log {
    broadcast: BroadcastId,
    told: watch::Sender<Incidents>,
    /// The newest slot was released then.
    moved: Instant,
    stands: bool,
}

impl Log {
    pub fn new(broadcast: BroadcastId, told: watch::Sender<Incidents>) -> Log {
        Log {
            broadcast,
            told,
            moved: Instant::now(),
            stands: false,
        }
    }

    pub fn lost(&mut self, loss: &Loss, slot: i64) {
        tracing::warn!(broadcast = %self.broadcast, slot, reason = loss.reason.word(), "the transcoder's process is lost: {}", loss.why);
        let labels = [
            ("broadcast", self.broadcast.to_string()),
            ("reason", loss.reason.word().into()),
        ];
        metrics::counter!("lectern_transcoder_respawns_total", &labels).increment(1);
        self.stands = true;
        self.told.send_modify(|incidents| {
            incidents.count += 1;
            incidents.last = Some(Incident {
                at: WallTime::from(SystemTime::now()).unix_millis(),
                reason: loss.reason,
                stood_ms: None,
            });
        });
    }

    /// A slot is on the line.
    pub fn released(&mut self, now: Instant) {
        let stood = now - std::mem::replace(&mut self.moved, now);
        if std::mem::take(&mut self.stands) {
            self.goes_on(stood);
        }
    }

    fn goes_on(&self, stood: Duration) {
        let (broadcast, ms) = (&self.broadcast, stood.as_millis() as u64);
        tracing::info!(%broadcast, stood_ms = ms, "the line goes on");
        histogram!("lectern_transcoder_recovery_seconds", "broadcast" => broadcast.to_string())
            .record(stood.as_secs_f64());
        self.told.send_modify(|incidents| {
            if let Some(last) = &mut incidents.last {
                last.stood_ms = Some(ms);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_incident_is_told_when_it_begins_and_when_it_is_over() {
        let told = watch::Sender::new(Incidents::default());
        let mut log = Log::new("algebra-1".parse().unwrap(), told.clone());
        log.released(Instant::now());
        assert_eq!(*told.borrow(), Incidents::default());
        tokio::time::advance(Duration::from_millis(30)).await;
        log.lost(&Loss::new(Reason::Hung, "no slot for 1.0 s"), 7);
        let stands = told.borrow().clone();
        assert_eq!((stands.count, stands.last.as_ref().unwrap().stood_ms), (1, None));
        let json = serde_json::to_value(&stands).unwrap();
        assert_eq!(json["last"]["reason"], "hung");
        // A second child is lost before the first slot.
        log.lost(&Loss::new(Reason::Crashed, "signal 11"), 7);
        tokio::time::advance(Duration::from_millis(470)).await;
        log.released(Instant::now());
        log.released(Instant::now());
        let over = told.borrow().clone();
        assert_eq!((over.count, over.last.unwrap().stood_ms), (2, Some(500)));
    }
}
