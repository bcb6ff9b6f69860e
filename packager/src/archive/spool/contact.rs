//! Whether the store answers. Told when it goes away and when it is back, not at each try.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use metrics::gauge;
use tokio::sync::Notify;

/// A hiccup is tried again and not worth a line.
const HICCUP: Duration = Duration::from_secs(2);

/// While it is away one reader in so long finds out whether it is back; the others are answered at once.
const LOOK_EVERY: Duration = Duration::from_secs(2);

#[derive(Default)]
pub struct Contact {
    state: Mutex<Option<Away>>,
    back: Notify,
}

struct Away {
    since: Instant,
    looked: Instant,
    told: bool,
}

impl Contact {
    pub fn made(&self) {
        let Some(away) = self.state().take() else {
            return;
        };
        gauge!("lectern_archive_reachable").set(1.0);
        self.back.notify_waiters();
        if away.told {
            tracing::info!(after = ?away.since.elapsed(), "the archive's store is back");
        }
    }

    /// `began`: when what failed was begun. A store that swallows requests is away since then.
    pub fn failed(&self, error: &dyn std::error::Error, began: Instant, waiting: usize) {
        let now = Instant::now();
        let mut state = self.state();
        let away = state.get_or_insert(Away {
            since: began,
            looked: now,
            told: false,
        });
        away.looked = now;
        if !away.told && now - away.since >= HICCUP {
            away.told = true;
            gauge!("lectern_archive_reachable").set(0.0);
            tracing::error!(%error, objects = waiting, "the archive's store is away; what is put waits on disk");
        }
    }

    /// Whether a reader may ask the store, rather than do without.
    pub fn admits(&self) -> bool {
        let now = Instant::now();
        match &mut *self.state() {
            Some(away) if away.told && now - away.looked < LOOK_EVERY => false,
            Some(away) => {
                away.looked = now;
                true
            }
            None => true,
        }
    }

    /// Waits, but no longer than until the store is back.
    pub async fn rest(&self, pause: Duration) {
        let _ = tokio::time::timeout(pause, self.back.notified()).await;
    }

    fn state(&self) -> MutexGuard<'_, Option<Away>> {
        // Nothing can panic while it is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[test]
    fn a_store_that_is_away_is_asked_now_and_then() {
        let (contact, error) = (Contact::default(), io::Error::from(io::ErrorKind::TimedOut));
        contact.failed(&error, Instant::now(), 0);
        assert!(contact.admits(), "a hiccup");
        contact.failed(&error, Instant::now() - HICCUP, 0);
        assert!(
            contact.admits(),
            "not longer than a hiccup since its first failure"
        );
        contact.made();
        contact.failed(&error, Instant::now() - HICCUP, 0);
        assert!(!contact.admits());
        contact.made();
        assert!(contact.admits());
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_rests_is_woken_when_it_is_back() {
        let (contact, error) = (Contact::default(), io::Error::from(io::ErrorKind::TimedOut));
        contact.failed(&error, Instant::now(), 0);
        let began = tokio::time::Instant::now();
        tokio::join!(contact.rest(Duration::from_secs(10)), async { contact.made() });
        assert_eq!(began.elapsed(), Duration::ZERO);
        contact.rest(Duration::from_secs(10)).await;
        assert_eq!(began.elapsed(), Duration::from_secs(10));
    }
}
