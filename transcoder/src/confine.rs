//! What a child that a stranger's bits have taken over can still do: little. Limits that every process may set
//! itself, and a sandbox that needs no root ([`files`], [`syscalls`]).
//!
//! The kernel holds a sandbox against threads that begin after it, so it is entered while there is only one: after
//! GStreamer has loaded its plugins, before the runtime and before a byte of a source is read.

mod files;
pub mod limits;
mod sandbox;
mod syscalls;

use crate::Error;

pub use sandbox::{Confined, Sandbox};

/// From here on the process is confined, and so is whatever it starts.
pub fn enter(sandbox: Sandbox) -> Result<Confined, Error> {
    if sandbox == Sandbox::Off {
        return Ok(Confined::default());
    }
    let mut trouble = Vec::new();
    let mut holds = |outcome: Result<(), String>| outcome.map_err(|why| trouble.push(why)).is_ok();
    let confined = Confined {
        files: holds(alone().and_then(|()| files::confine())),
        syscalls: holds(syscalls::confine()),
        trouble: String::new(),
    };
    let confined = Confined {
        trouble: trouble.join("; "),
        ..confined
    };
    match sandbox {
        Sandbox::Required if !confined.is_whole() => Err(Error::Sandbox(confined.trouble)),
        _ => Ok(confined),
    }
}

/// Landlock holds for the thread that asks and for those it starts.
fn alone() -> Result<(), String> {
    let threads = std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count);
    match threads {
        // Without /proc nobody knows; nothing here starts a thread this early.
        0 | 1 => Ok(()),
        more => Err(format!("landlock: {more} threads run already")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_one_word() {
        #[derive(serde::Deserialize)]
        struct Settings {
            sandbox: Sandbox,
        }
        let read = |word: &str| {
            serde_json::from_str::<Settings>(&format!("{{\"sandbox\":\"{word}\"}}")).map(|s| s.sandbox)
        };
        assert_eq!(read("required").unwrap(), Sandbox::Required);
        assert_eq!(read("off").unwrap(), Sandbox::Off);
        assert!(read("maybe").is_err());
    }

    #[test]
    fn a_sandbox_that_is_off_promises_nothing() {
        assert_eq!(enter(Sandbox::Off).unwrap(), Confined::default());
    }
}
