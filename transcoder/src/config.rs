//! The ladder and the line delay. Comes from the broadcast's config, never from the first frames: browsers
//! start at 320×180 and grow.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use timeline::Span;

use crate::{Error, Sandbox};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// D: a picture captured at `t` leaves at `t + D`. Covers encode at the sender, network, repair and decode:
    /// about 150 on a LAN, 400 across the Internet.
    pub line_delay_ms: u32,
    /// From the largest picture to the smallest. The first one's size is the canvas of the line.
    pub rungs: Vec<Rung>,
    /// Whether the source's own pictures may be the top rung.
    pub passthrough: Passthrough,
    /// x264's speed preset.
    pub preset: String,
    pub audio_bitrate_kbps: u32,
    /// What the slate says while nobody is heard.
    pub slate: String,
    /// What the slate says before the first picture.
    pub opening: String,
    /// Whether the process that decodes what strangers send is confined (docs/isolation.md).
    pub sandbox: Sandbox,
    /// Memory that one such process may have of its own; 0 is by the ladder.
    pub child_memory_mb: u32,
    /// Keeps one process ready, its codecs loaded, so that a broadcast whose process dies need not wait for one.
    pub spare: bool,
    /// The program run as `<program> transcode`; this very executable if none is given.
    #[serde(skip)]
    pub program: Option<PathBuf>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rung {
    /// The rendition's name, and the folder it lives in.
    pub name: String,
    pub height: u32,
    pub bitrate_kbps: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Passthrough {
    /// All is encoded.
    #[default]
    Off,
    /// Pictures are copied where that is right, and worth it.
    Auto,
}

/// More rungs than any ladder needs; each costs an encoder.
const MAX_RUNGS: usize = 8;

/// All pictures of the line delay wait decoded: 2 s of 1080p are 190 MB.
const MAX_LINE_DELAY_MS: u32 = 2_000;

/// Code and threads take a part of it before there is a picture.
const LEAST_MEMORY_MB: u32 = 512;

const PRESETS: [&str; 9] = [
    "ultrafast",
    "superfast",
    "veryfast",
    "faster",
    "fast",
    "medium",
    "slow",
    "slower",
    "veryslow",
];

/// The name of the audio rendition.
pub(crate) const AUDIO: &str = "audio";
/// The folder of the stills.
const STILLS: &str = "thumbs";

impl Default for Config {
    fn default() -> Self {
        let rung = |name: &str, height, bitrate_kbps| Rung {
            name: name.into(),
            height,
            bitrate_kbps,
        };
        Config {
            line_delay_ms: 150,
            rungs: vec![
                rung("720p", 720, 2500),
                rung("480p", 480, 1100),
                rung("360p", 360, 600),
            ],
            passthrough: Passthrough::default(),
            preset: "veryfast".into(),
            audio_bitrate_kbps: 128,
            slate: "The lecture resumes shortly".into(),
            opening: "The lecture begins".into(),
            sandbox: Sandbox::default(),
            child_memory_mb: 0,
            spare: true,
            program: None,
        }
    }
}

impl Rung {
    /// 16:9, and even, as 4:2:0 wants it: 854 for 480.
    pub fn width(&self) -> u32 {
        (self.height * 16 + 9) / 18 * 2
    }
}

impl Config {
    pub(crate) fn line_delay(&self) -> Span {
        Span::from_millis(i64::from(self.line_delay_ms))
    }

    /// Width and height of the top rung. An empty ladder is refused by [`Config::check`].
    pub(crate) fn canvas(&self) -> (u32, u32) {
        self.rungs
            .first()
            .map_or((0, 0), |rung| (rung.width(), rung.height))
    }

    /// Refuses what no line can be made of.
    pub fn check(&self) -> Result<(), Error> {
        let refuse = |what: String| Err(Error::Config(what));
        if self.rungs.is_empty() || self.rungs.len() > MAX_RUNGS {
            return refuse(format!(
                "a ladder has 1 to {MAX_RUNGS} rungs, not {}",
                self.rungs.len()
            ));
        }
        for rung in &self.rungs {
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            if rung.name.is_empty()
                || [AUDIO, STILLS].contains(&rung.name.as_str())
                || rung.name.len() > 32
                || !rung.name.chars().all(plain)
            {
                return refuse(format!("rung name {:?}: use a-z, 0-9 and -", rung.name));
            }
            if !(144..=2160).contains(&rung.height) || rung.height % 2 != 0 {
                return refuse(format!(
                    "{}: height {} is not an even number in 144..=2160",
                    rung.name, rung.height
                ));
            }
            if !(50..=50_000).contains(&rung.bitrate_kbps) {
                return refuse(format!(
                    "{}: {} kbit/s is not in 50..=50000",
                    rung.name, rung.bitrate_kbps
                ));
            }
        }
        for pair in self.rungs.windows(2) {
            if pair[0].height <= pair[1].height || pair[0].name == pair[1].name {
                return refuse(format!(
                    "rungs go from large to small: {} before {}",
                    pair[0].name, pair[1].name
                ));
            }
        }
        if !PRESETS.contains(&self.preset.as_str()) {
            return refuse(format!(
                "preset {:?} is none of {}",
                self.preset,
                PRESETS.join(", ")
            ));
        }
        if self.line_delay_ms > MAX_LINE_DELAY_MS {
            return refuse(format!(
                "a line delay of {} ms is beyond {MAX_LINE_DELAY_MS}",
                self.line_delay_ms
            ));
        }
        if !(32..=320).contains(&self.audio_bitrate_kbps) {
            return refuse(format!(
                "audio at {} kbit/s is not in 32..=320",
                self.audio_bitrate_kbps
            ));
        }
        if (1..LEAST_MEMORY_MB).contains(&self.child_memory_mb) {
            return refuse(format!(
                "child_memory_mb = {} is below {LEAST_MEMORY_MB}; 0 is by the ladder",
                self.child_memory_mb
            ));
        }
        if self.slate.len() > 200 || self.opening.len() > 200 {
            return refuse("a slate's text is longer than 200 bytes".into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rungs_are_sixteen_by_nine_and_even() {
        let width = |height| {
            Rung {
                name: "x".into(),
                height,
                bitrate_kbps: 1,
            }
            .width()
        };
        assert_eq!([1080, 720, 480, 360, 240].map(width), [1920, 1280, 854, 640, 426]);
    }

    #[test]
    fn a_ladder_that_cannot_be_is_refused_in_words() {
        assert!(Config::default().check().is_ok());
        let mut upside_down = Config::default();
        upside_down.rungs.reverse();
        let message = upside_down.check().unwrap_err().to_string();
        assert_eq!(
            message,
            "transcoder config: rungs go from large to small: 360p before 480p"
        );
        assert!(
            Config {
                rungs: vec![],
                ..Config::default()
            }
            .check()
            .is_err()
        );
        assert!(
            Config {
                preset: "quick".into(),
                ..Config::default()
            }
            .check()
            .is_err()
        );
    }
}
