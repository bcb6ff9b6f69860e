//! Limits that a process sets itself. A child that reaches one fails alone, and the next one takes its place.

use rustix::process::{Resource, Rlimit, setpriority_process, setrlimit};

use crate::{Config, Error};

/// A little below the server: its sockets are read, whatever the encoders have to do. No lower: the line is not to wait
/// for what else the machine does.
const NICE: i32 = 2;
/// Some ten for each pipeline.
const FILES: u64 = 1024;
/// When the machine has no memory left, this process goes rather than the server (proc(5), `oom_score_adj`).
const GOES_FIRST: &str = "500";

const MIB: u64 = 1024 * 1024;
/// Code, threads' stacks (8 MiB each, of which little is ever touched), what waits between stages.
const BASE: u64 = 1024 * MIB;
/// Pictures of the canvas that the line, the scalers and the sources hold, beside those of the line delay.
const CANVASES: u64 = 64;
/// Pictures of its size that a rung's encoder and the queue before it hold.
const ENCODING: u64 = 48;
/// As many sources of 2160p as have a place on the canvas, each with all the references that a codec may hold.
const DECODING: u64 = timeline::MAX_PLACES as u64 * 20 * (3840 * 2160 * 3 / 2);

/// At the start of the process, while it has one thread. As far as it is allowed: a stricter limit may hold already.
pub fn at_start() {
    let _ = setpriority_process(None, NICE);
    // A core file of it would hold a lecture, and fill a disk.
    let _ = limit(Resource::Core, 0);
    let _ = limit(Resource::Nofile, FILES);
    let _ = std::fs::write("/proc/self/oom_score_adj", GOES_FIRST);
}

/// Memory that is its own: RLIMIT_DATA. The address space (RLIMIT_AS) would also count libraries, and the arenas that
/// malloc reserves for each thread without using them.
pub fn memory(config: &Config) -> Result<(), Error> {
    limit(Resource::Data, allowed(config)).map_err(|e| Error::Limit(e.into()))
}

fn limit(resource: Resource, most: u64) -> rustix::io::Result<()> {
    let now = rustix::process::getrlimit(resource);
    let most = now.maximum.map_or(most, |maximum| maximum.min(most));
    let both = Rlimit {
        current: Some(most),
        maximum: Some(most),
    };
    setrlimit(resource, both)
}

/// In bytes. No budget, but far above what the ladder ever needs: what grows beyond it grows without end.
fn allowed(config: &Config) -> u64 {
    if config.child_memory_mb > 0 {
        return u64::from(config.child_memory_mb) * MIB;
    }
    let picture = |width: u32, height: u32| u64::from(width) * u64::from(height) * 3 / 2;
    let (width, height) = config.canvas();
    let delayed = u64::from(config.line_delay_ms) * 30 / 1000;
    let rungs = config.rungs.iter().map(|rung| picture(rung.width(), rung.height));
    BASE + DECODING + (CANVASES + delayed) * picture(width, height) + ENCODING * rungs.sum::<u64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ladder_says_how_much_memory_is_too_much() {
        let of = |config: &Config| allowed(config) / MIB;
        let small = Config::default();
        assert_eq!(of(&small), 2170);
        let mut large = Config::default();
        large.rungs[0].height = 2160;
        assert!(of(&large) > of(&small) + 1000, "{}", of(&large));
        let set = Config {
            child_memory_mb: 900,
            ..large
        };
        assert_eq!(of(&set), 900);
    }
}
