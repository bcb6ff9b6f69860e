//! What a room allows, switched live by staff.

use serde::{Deserialize, Serialize};

use crate::moderation::{Filter, Links, WordLists};
use crate::room::Refused;

/// A message that comes later than this answers another picture.
const MAX_DELAY_MS: u32 = 60_000;

/// Slower than this is "read only".
const MAX_SLOW_MS: u32 = 600_000;

/// A day: what was said is part of the lecture then.
const MAX_EDIT_MS: u32 = 86_400_000;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    pub messages: Messages,
    /// Whether participants ask questions.
    pub questions: bool,
    /// Whether participants write to staff.
    pub private: bool,
    pub reactions: bool,
    pub hands: bool,
    /// Least time between two messages of a participant.
    pub slow_ms: u32,
    /// Others see a participant's message this much later.
    pub delay_ms: u32,
    pub links: LinkPolicy,
    pub link_hosts: Vec<String>,
    pub anonymous: AnonymousMode,
    pub uploads: Uploads,
    /// How long one may edit one's own message.
    pub edit_ms: u32,
    pub replay_names: ReplayNames,
    /// So long after the end the room is erased.
    pub retention_days: Option<u32>,
    /// Only staff get them.
    #[serde(skip_serializing_if = "is_default")]
    pub words: WordLists,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Messages {
    Open,
    /// Held until approved.
    Moderated,
    /// Only staff write.
    Off,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LinkPolicy {
    On,
    /// Only the hosts of the list, and below them.
    List,
    Off,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AnonymousMode {
    Off,
    /// Staff see who.
    Staff,
    /// Nobody does.
    Nobody,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Uploads {
    Staff,
    Participants,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReplayNames {
    Names,
    /// Staff keep theirs.
    Pseudonyms,
    None,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            messages: Messages::Open,
            questions: true,
            private: true,
            reactions: true,
            hands: true,
            slow_ms: 0,
            delay_ms: 0,
            links: LinkPolicy::On,
            link_hosts: Vec::new(),
            anonymous: AnonymousMode::Off,
            uploads: Uploads::Staff,
            edit_ms: 300_000,
            replay_names: ReplayNames::Names,
            retention_days: None,
            words: WordLists::default(),
        }
    }
}

impl Settings {
    /// As everyone may see them.
    pub fn public(&self) -> Settings {
        Settings {
            words: WordLists::default(),
            ..self.clone()
        }
    }

    /// These with some of them changed; `set` is a JSON object.
    pub fn with(&self, set: &serde_json::Value) -> Result<Settings, Refused> {
        let bad = |why: String| Refused::malformed(format!("settings: {why}"));
        let serde_json::Value::Object(set) = set else {
            return Err(bad("an object is needed".into()));
        };
        let mut all = serde_json::to_value(self).map_err(|error| bad(error.to_string()))?;
        for (name, value) in set {
            all[name] = value.clone();
        }
        let settings: Settings = serde_json::from_value(all).map_err(|error| bad(error.to_string()))?;
        settings.check().map_err(bad)?;
        Ok(settings)
    }

    fn check(&self) -> Result<(), String> {
        let most = |name: &str, value: u32, max: u32| match value <= max {
            true => Ok(()),
            false => Err(format!("{name} is at most {max}")),
        };
        most("slow_ms", self.slow_ms, MAX_SLOW_MS)?;
        most("delay_ms", self.delay_ms, MAX_DELAY_MS)?;
        most("edit_ms", self.edit_ms, MAX_EDIT_MS)?;
        if self.retention_days == Some(0) {
            return Err("retention_days is at least 1, or null".into());
        }
        self.filter().map(drop)
    }

    /// The judge of what participants write.
    pub fn filter(&self) -> Result<Filter, String> {
        let links = match self.links {
            LinkPolicy::On => Links::On,
            LinkPolicy::Off => Links::Off,
            LinkPolicy::List => Links::AllowList(self.link_hosts.clone()),
        };
        Filter::compile(&self.words, &links).map_err(|error| error.to_string())
    }

    pub(crate) fn staff_know(&self) -> bool {
        self.anonymous != AnonymousMode::Nobody
    }
}

fn is_default(words: &WordLists) -> bool {
    *words == WordLists::default()
}
