//! The word lists and the link policy of a room, compiled: one verdict on each text.

use serde::Serialize;

use super::links::{Links, Policy};
use super::words::{WordLists, Words};

/// May this text be said? Staff are not asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Allow,
    /// Staff look at it first.
    Hold(Reason),
    /// It is not kept.
    Reject(Reason),
}

/// Why a text was held or rejected. It goes to its writer and never quotes the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// Stable: `word`, `link`, `duplicate`.
    pub code: &'static str,
    pub message: &'static str,
}

/// Why settings cannot be compiled, in words for those who made them. Positions count from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    #[error("a room has at most {max} words on its lists, not {count}")]
    TooManyWords { count: usize, max: usize },
    #[error("the words on a room's lists have at most {max} bytes together")]
    TooLarge { max: usize },
    #[error("{list}, entry {position}: longer than {max} characters")]
    WordTooLong {
        list: &'static str,
        position: usize,
        max: usize,
    },
    #[error("{list}, entry {position}: holds no letter or digit")]
    WordEmpty { list: &'static str, position: usize },
    #[error("{list}, entry {position}: a * stands only at the beginning or the end")]
    StarInside { list: &'static str, position: usize },
    #[error("{list}, entry {position}: with a * at least {min} characters, else it finds too much")]
    StarTooShort {
        list: &'static str,
        position: usize,
        min: usize,
    },
    #[error("the words on the lists cannot be compiled: {0}")]
    Automaton(String),
    #[error("a list of hosts has at most {max} entries, not {count}")]
    TooManyHosts { count: usize, max: usize },
    #[error("hosts, entry {position}: not the name of a host, like example.edu")]
    NotAHost { position: usize },
}

/// Compiled once for each change of the settings. Cheap to clone; shared by all who speak.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    words: Words,
    links: Policy,
}

impl Filter {
    pub fn compile(words: &WordLists, links: &Links) -> Result<Filter, FilterError> {
        Ok(Filter {
            words: Words::compile(words)?,
            links: Policy::compile(links)?,
        })
    }

    /// The body as it is kept: cleaned, within its limit. The strictest verdict counts.
    pub fn verdict(&self, body: &str) -> Verdict {
        let word = self.words.verdict(body);
        if matches!(word, Verdict::Reject(_)) {
            return word;
        }
        match self.links.verdict(body) {
            Verdict::Allow => word,
            link => link,
        }
    }
}

impl Verdict {
    /// The stricter of two; of two alike, the first.
    #[must_use]
    pub fn and(self, other: Verdict) -> Verdict {
        let rank = |verdict| match verdict {
            Verdict::Allow => 0,
            Verdict::Hold(_) => 1,
            Verdict::Reject(_) => 2,
        };
        if rank(other) > rank(self) { other } else { self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_strictest_verdict_counts() {
        let words = WordLists {
            hold: vec!["exam".into()],
            reject: vec!["blockhead".into()],
        };
        let filter = Filter::compile(&words, &Links::Off).unwrap();
        let code = |body| match filter.verdict(body) {
            Verdict::Allow => ("allow", ""),
            Verdict::Hold(reason) => ("hold", reason.code),
            Verdict::Reject(reason) => ("reject", reason.code),
        };
        assert_eq!(code("Good morning"), ("allow", ""));
        assert_eq!(code("The exam is on https://exam.test"), ("reject", "link"));
        assert_eq!(code("Is this in the exam?"), ("hold", "word"));
        assert_eq!(code("You blockhead, see https://a.test"), ("reject", "word"));
    }

    #[test]
    fn without_settings_everything_is_allowed() {
        for body in ["", "https://a.test", "*", "Is x_1 < x_2?"] {
            assert_eq!(Filter::default().verdict(body), Verdict::Allow);
        }
    }

    #[test]
    fn settings_have_no_fields_that_are_not_known() {
        assert!(serde_json::from_str::<WordLists>(r#"{"hold":["a"]}"#).is_ok());
        assert!(serde_json::from_str::<WordLists>(r#"{"allow":["a"]}"#).is_err());
        let links = |text| serde_json::from_str::<Links>(text).ok();
        assert_eq!(links(r#""off""#), Some(Links::Off));
        assert_eq!(links(r#""on""#), Some(Links::On));
        assert_eq!(
            links(r#"{"allow_list":["example.edu"]}"#),
            Some(Links::AllowList(vec!["example.edu".into()]))
        );
        assert_eq!(links(r#""some""#), None);
    }

    proptest! {
        #[test]
        fn no_text_and_no_list_is_too_strange(
            hold in proptest::collection::vec(any::<String>(), 0..5),
            reject in proptest::collection::vec("\\*?\\PC{1,8}\\*?", 0..5),
            body in any::<String>(),
        ) {
            if let Ok(filter) = Filter::compile(&WordLists { hold, reject }, &Links::Off) {
                let verdict = filter.verdict(&body);
                prop_assert_eq!(filter.verdict(&body), verdict);
            }
        }
    }
}
