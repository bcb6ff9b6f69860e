//! What people ask of a room, over any wire.

use serde::Deserialize;
use serde_json::Value;

use crate::event::{QuestionState, Results, Sanction};

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Action {
    Say(Say),
    Edit {
        seq: u64,
        body: String,
    },
    Delete {
        seq: u64,
    },
    React {
        emoji: String,
        playing: Option<f64>,
    },
    Vote {
        target: u64,
        choices: Vec<u8>,
    },
    Hand {
        raised: bool,
        person: Option<String>,
    },
    Report {
        target: u64,
        reason: String,
    },
    Question {
        target: u64,
        state: QuestionState,
    },
    Pin {
        target: u64,
    },
    Unpin {
        target: u64,
    },
    Poll(OpenPoll),
    Close {
        target: u64,
    },
    Settings {
        set: Value,
    },
    Approve {
        target: u64,
    },
    Discard {
        target: u64,
    },
    Sanction {
        person: String,
        what: Sanction,
        for_ms: Option<u64>,
        #[serde(default)]
        purge: bool,
    },
    Note {
        target: Option<u64>,
        person: Option<String>,
        body: String,
    },
    /// Only by the API.
    #[serde(skip)]
    Erase {
        person: String,
    },
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Say {
    pub body: String,
    /// Unix ms of the picture the writer was watching.
    pub playing: Option<f64>,
    pub reply_to: Option<u64>,
    pub mentions: Vec<String>,
    pub question: bool,
    pub anonymous: bool,
    pub announcement: bool,
    /// Private: `staff`, or the id of a person.
    pub to: Option<String>,
    /// Ids of files.
    pub files: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct OpenPoll {
    pub question: String,
    pub options: Vec<String>,
    #[serde(default)]
    pub multiple: bool,
    /// Then it is a quiz.
    pub right: Option<Vec<u8>>,
    #[serde(default = "closed")]
    pub results: Results,
    /// A timer.
    pub open_ms: Option<u64>,
}

const fn closed() -> Results {
    Results::Closed
}

impl Action {
    /// The event that it is about.
    pub fn target(&self) -> Option<u64> {
        match self {
            Action::Edit { seq, .. } | Action::Delete { seq } => Some(*seq),
            Action::Vote { target, .. }
            | Action::Report { target, .. }
            | Action::Question { target, .. }
            | Action::Pin { target }
            | Action::Unpin { target }
            | Action::Close { target }
            | Action::Approve { target }
            | Action::Discard { target } => Some(*target),
            Action::Note { target, .. } => *target,
            _ => None,
        }
    }

    /// The person that it is about.
    pub fn person(&self) -> Option<&str> {
        match self {
            Action::Sanction { person, .. } | Action::Erase { person } => Some(person),
            Action::Note { person, .. } | Action::Hand { person, .. } => person.as_deref(),
            Action::Say(Say { to: Some(to), .. }) if to != "staff" => Some(to),
            _ => None,
        }
    }

    /// Whether it looks at what others have just asked: those are stored first.
    pub fn looks_back(&self) -> bool {
        !matches!(
            self,
            Action::Say(_) | Action::Vote { .. } | Action::React { .. } | Action::Delete { .. }
        )
    }
}
