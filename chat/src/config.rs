use serde::{Deserialize, Serialize};

use crate::moderation::RepeatLimits;
use crate::{Error, Role};

/// The `[chat]` section.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The longest body, in Unicode scalar values: a paragraph, not a page.
    pub max_body_chars: usize,
    /// What one participant may say.
    pub rate: Rate,
    /// What one host or moderator may say and delete: they clean up after others.
    pub host_rate: Rate,
    /// What all participants of a room together may say. More could not be read, and would make a replay
    /// chunk heavier than the video beside it.
    pub room_rate: Rate,
    /// How often the same may be said.
    pub repeats: RepeatLimits,
    /// Frames of any kind that one connection may send, and requests that one person may. Beyond it is no person: the
    /// connection is closed.
    pub frame_rate: Rate,
    /// Events that a newcomer is shown.
    pub history: usize,
    /// Events of each room that are held in memory, to answer those who come back.
    pub recent: usize,
    /// Missed events that a resume answers from the record; who missed more starts afresh.
    pub max_resume: u64,
    /// Connections in one room: the fan-out of one event to as many takes about 0.1 s of a core.
    pub max_connections_per_room: usize,
    /// Connections in all rooms: about 11 KB of memory each, and one of the process's file descriptors.
    pub max_connections: usize,
    /// One fan-out per room and this long, longer in a room of more than 2,000 connections; a quiet room's first
    /// event leaves at once.
    pub tick_ms: u64,
    /// A change of the number of people present is told at most this often.
    pub presence_ms: u64,
    /// The first frame must be a join and must come within this time.
    pub join_ms: u64,
    pub ping_ms: u64,
    /// A peer that has sent nothing for this long, not even a pong, is gone.
    pub silence_ms: u64,
    /// A write that takes longer than this: the reader is too slow to keep.
    pub write_ms: u64,
    /// How long after its window has passed a chunk is sealed: those who watch a little behind the live edge
    /// still write into it.
    pub chunk_grace_ms: u32,
    /// Chunks that changed are made anew at most this often, however many ask.
    pub chunk_refresh_ms: u64,
    /// A room leaves the memory after so long without anyone in it, unless it is live.
    pub idle_ms: u64,
    pub files: crate::files::Limits,
}

/// So many in so long, all at once or spread out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    pub messages: u32,
    pub per_ms: u32,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            max_body_chars: 1_000,
            rate: Rate {
                messages: 5,
                per_ms: 5_000,
            },
            host_rate: Rate {
                messages: 30,
                per_ms: 5_000,
            },
            room_rate: Rate {
                messages: 200,
                per_ms: 2_000,
            },
            repeats: RepeatLimits::default(),
            frame_rate: Rate {
                messages: 60,
                per_ms: 6_000,
            },
            history: 100,
            recent: 512,
            max_resume: 2_000,
            max_connections_per_room: 10_000,
            max_connections: 20_000,
            tick_ms: 50,
            presence_ms: 2_000,
            join_ms: 10_000,
            ping_ms: 20_000,
            silence_ms: 45_000,
            write_ms: 10_000,
            chunk_grace_ms: 10_000,
            chunk_refresh_ms: 250,
            idle_ms: 60_000,
            files: crate::files::Limits::default(),
        }
    }
}

impl Config {
    /// Moderators' frames are as many more as their messages.
    pub(crate) fn frame_rate(&self, role: Role) -> Rate {
        let Rate { messages, per_ms } = self.frame_rate;
        let messages = if role.moderates() {
            messages.saturating_mul(4)
        } else {
            messages
        };
        Rate { messages, per_ms }
    }

    pub fn check(&self) -> Result<(), Error> {
        let bad = |setting, reason| Err(Error::Config { setting, reason });
        let rates = [self.rate, self.host_rate, self.room_rate, self.frame_rate];
        match self {
            // The frame that carries it holds 16 KiB; a character takes up to 12 bytes in JSON.
            c if !(1..=1_300).contains(&c.max_body_chars) => bad("max_body_chars", "between 1 and 1300"),
            _ if rates.iter().any(|r| r.messages == 0 || r.per_ms == 0) => bad("rate", "at least 1 per 1 ms"),
            c if c.recent < c.history.max(1) => bad("recent", "at least 1 and at least chat.history"),
            // Beyond it a room is no longer small beside the video.
            c if c.recent > 10_000 => bad("recent", "at most 10000"),
            c if c.max_resume > 20_000 => bad("max_resume", "at most 20000"),
            c if c.tick_ms == 0 || c.ping_ms == 0 => bad("tick_ms", "at least 1, as ping_ms"),
            c if c.silence_ms <= c.ping_ms => bad("silence_ms", "more than chat.ping_ms"),
            _ => self.files.check(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_of_the_replay_is_no_setting() {
        let read = |text| serde_json::from_str::<Config>(text).map_err(|error| error.to_string());
        assert!(read(r#"{"chunk_grace_ms": 5000}"#).is_ok());
        let refused = read(r#"{"chunk_span_ms": 60000}"#).unwrap_err();
        assert!(refused.contains("chunk_span_ms"), "{refused}");
    }
}
