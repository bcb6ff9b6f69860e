//! What hangs, told from what is slow: a thread that hangs does not wait for a processor.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// How long work may stand still.
#[derive(Clone, Copy)]
pub struct Patience {
    /// Beside the time that threads had to wait for a processor.
    pub own: Duration,
    /// By the clock, however busy the machine is.
    pub clock: Duration,
}

impl Patience {
    /// `starved`: how long in `waited` threads waited for a processor; none where nobody knows.
    pub fn is_over(self, waited: Duration, starved: Option<Duration>) -> bool {
        let own = starved.map_or(Duration::ZERO, |starved| waited.saturating_sub(starved));
        own >= self.own || waited >= self.clock
    }

    pub fn times(self, n: u32) -> Patience {
        Patience {
            own: self.own * n,
            clock: self.clock * n,
        }
    }
}

/// How long the threads of a process wait until a processor runs them (the kernel's Documentation/scheduler,
/// "sched-stats": the second field of `schedstat`, in nanoseconds).
pub struct RunQueue {
    threads: PathBuf,
    mark: Option<HashMap<OsString, u64>>,
}

impl RunQueue {
    /// None is this process.
    pub fn of(pid: Option<u32>) -> RunQueue {
        let process = pid.map_or("self".into(), |pid| pid.to_string());
        RunQueue {
            threads: format!("/proc/{process}/task").into(),
            mark: None,
        }
    }

    /// Since the first call, all threads together: work passes from one to the next. None where the kernel does not tell.
    pub fn waited(&mut self) -> Option<Duration> {
        let now = self.read()?;
        let mark = self.mark.get_or_insert_with(|| now.clone());
        let since = |(thread, waited): (&OsString, &u64)| {
            waited.saturating_sub(mark.get(thread).copied().unwrap_or(*waited))
        };
        Some(Duration::from_nanos(now.iter().map(since).sum()))
    }

    /// Work went on: the next call is the first.
    pub fn forget(&mut self) {
        self.mark = None;
    }

    fn read(&self) -> Option<HashMap<OsString, u64>> {
        let threads = std::fs::read_dir(&self.threads).ok()?;
        let waited: HashMap<_, _> = threads
            .filter_map(|thread| {
                let thread = thread.ok()?;
                let stat = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
                Some((thread.file_name(), stat.split_whitespace().nth(1)?.parse().ok()?))
            })
            .collect();
        (!waited.is_empty()).then_some(waited)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn patience_counts_the_time_that_the_machine_gave() {
        let patience = Patience {
            own: ms(1_000),
            clock: ms(2_000),
        };
        assert!(!patience.is_over(ms(999), Some(ms(0))));
        assert!(patience.is_over(ms(1_000), Some(ms(0))), "it hangs");
        assert!(!patience.is_over(ms(1_900), Some(ms(1_000))), "it is slow");
        assert!(!patience.is_over(ms(1_900), None), "who knows");
        assert!(patience.is_over(ms(2_000), Some(ms(1_900))), "too slow");
        assert!(!patience.times(2).is_over(ms(1_900), Some(ms(0))));
    }

    #[test]
    fn threads_that_share_a_processor_wait_and_one_that_sleeps_does_not() {
        let mut queue = RunQueue::of(None);
        let Some(none) = queue.waited() else { return };
        assert_eq!(none, Duration::ZERO);
        let processors = std::thread::available_parallelism().unwrap().get();
        let stop = std::sync::atomic::AtomicBool::new(false);
        let busy = || {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                std::hint::spin_loop()
            }
        };
        std::thread::scope(|scope| {
            (0..processors * 3).for_each(|_| drop(scope.spawn(busy)));
            // Threads are told apart from the moment that they are first seen.
            queue.forget();
            while queue.waited().unwrap() < ms(50) {
                std::thread::sleep(ms(10));
            }
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
        });
        assert!(RunQueue::of(Some(u32::MAX)).waited().is_none());
    }
}
