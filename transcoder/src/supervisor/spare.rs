//! One process that is ready before it is needed: confined, its codecs loaded. Whoever loses a child first takes it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::process::Process;
use crate::{Config, Error};

/// A new one is not started while the line catches up: it would take a processor from it.
const REFILL_AFTER: Duration = Duration::from_secs(3);

#[derive(Clone, Default)]
pub struct Spare(Arc<Shared>);

#[derive(Default)]
struct Shared {
    ready: Mutex<Option<Process>>,
    refilling: AtomicBool,
}

impl Spare {
    /// The one that is ready, or a new one.
    pub fn take(&self, config: &Arc<Config>) -> Result<Process, Error> {
        // The kernel may have ended it: it is the first to go.
        let ready = self.0.ready().take().and_then(Process::if_alive);
        if config.spare {
            self.refill(config.clone());
        }
        match ready {
            Some(process) => Ok(process),
            None => Process::spawn(config),
        }
    }

    fn refill(&self, config: Arc<Config>) {
        if self.0.refilling.swap(true, Ordering::AcqRel) {
            return;
        }
        let shared = Arc::downgrade(&self.0);
        tokio::spawn(async move {
            tokio::time::sleep(REFILL_AFTER).await;
            if let Some(shared) = shared.upgrade() {
                shared.refilling.store(false, Ordering::Release);
                match Process::spawn(&config) {
                    Ok(process) => *shared.ready() = Some(process),
                    // One that is needed will be tried for again.
                    Err(error) => tracing::warn!("no spare process: {error}"),
                }
            }
        });
    }
}

impl Shared {
    fn ready(&self) -> std::sync::MutexGuard<'_, Option<Process>> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
