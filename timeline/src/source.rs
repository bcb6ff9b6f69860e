//! Who sends to a lecture, and how their pictures stand beside each other.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Names one sender's pictures and sound within a broadcast: `main` (the host's camera, unless said otherwise),
/// `screen`, a co-host's name. 1 to 32 of `a–z 0–9 -`, beginning with a letter or digit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SourceName(String);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a source's name is 1 to 32 of a-z, 0-9 and -, beginning with a letter or digit")]
pub struct BadSourceName;

impl SourceName {
    /// What a publisher is who says nothing else.
    pub fn main() -> Self {
        SourceName("main".into())
    }

    /// The second picture of one publisher: its screen. `main` shares as `screen`, `ada` as `ada-screen`.
    pub fn screen(&self) -> Self {
        match self.as_str() {
            "main" => SourceName("screen".into()),
            // A name that is too long for the ending stays unique by what is left of it.
            name => SourceName(format!("{:.25}-screen", name)),
        }
    }

    /// Whether it shows a screen, by its name: layouts that choose by themselves give it the most room.
    pub fn is_screen(&self) -> bool {
        self.0 == "screen" || self.0.ends_with("-screen")
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for SourceName {
    fn default() -> Self {
        SourceName::main()
    }
}

impl FromStr for SourceName {
    type Err = BadSourceName;

    fn from_str(s: &str) -> Result<Self, BadSourceName> {
        let legal = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
        let begins = s.bytes().next().is_some_and(|c| c != b'-');
        if begins && s.len() <= 32 && s.bytes().all(legal) {
            Ok(SourceName(s.to_owned()))
        } else {
            Err(BadSourceName)
        }
    }
}

impl TryFrom<String> for SourceName {
    type Error = BadSourceName;

    fn try_from(s: String) -> Result<Self, BadSourceName> {
        s.parse()
    }
}

impl From<SourceName> for String {
    fn from(name: SourceName) -> String {
        name.0
    }
}

impl fmt::Display for SourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How the pictures of several sources share the canvas. As JSON:
/// `{"arrangement": "picture-in-picture", "sources": ["screen", "main"]}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Layout {
    pub arrangement: Arrangement,
    /// Which sources, the most important first. Those that send no picture leave their place to the others; an
    /// empty list takes whoever sends, screens first, then in the order in which they came.
    #[serde(default)]
    pub sources: Vec<SourceName>,
}

/// More pictures than this on one canvas are too small to see.
pub const MAX_PLACES: usize = 4;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Arrangement {
    /// One source fills the canvas; a screen is joined by the first camera in its corner.
    #[default]
    Auto,
    /// The first source alone.
    Solo,
    /// The first fills the canvas, the second stands small in its lower right corner.
    PictureInPicture,
    /// Up to four, equally large.
    SideBySide,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain() {
        for good in ["main", "screen", "ada-screen", "2"] {
            assert_eq!(good.parse::<SourceName>().unwrap().as_str(), good);
        }
        for bad in ["", "-a", "Ada", "a b", "a/b", &"x".repeat(33)] {
            assert!(bad.parse::<SourceName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn the_second_picture_of_a_publisher_is_its_screen() {
        assert_eq!(SourceName::main().screen().as_str(), "screen");
        let long: SourceName = "a".repeat(32).parse().unwrap();
        for name in ["ada".parse().unwrap(), long] {
            let screen = name.screen();
            assert!(screen.is_screen() && !name.is_screen());
            assert_eq!(screen.as_str().parse(), Ok(screen.clone()));
        }
    }

    #[test]
    fn a_layout_is_plain_json() {
        let layout: Layout =
            serde_json::from_str(r#"{"arrangement": "picture-in-picture", "sources": ["screen", "main"]}"#)
                .unwrap();
        assert_eq!(layout.arrangement, Arrangement::PictureInPicture);
        assert_eq!(layout.sources[1], SourceName::main());
        assert!(serde_json::from_str::<Layout>(r#"{"arrangement": "pip"}"#).is_err());
    }
}
