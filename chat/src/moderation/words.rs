//! Word lists: hold or reject what holds a listed word.
//!
//! An entry is found as a whole word; `dog*` also finds words that begin with it, `*dog` words that end with it, `*dog*`
//! finds it anywhere. The text is read in several spellings, all of them only for the search:
//!
//! 1. as it stands, folded (NFKC, without case);
//! 2. *cured*: look-alikes of other scripts are read as the Latin letters that they imitate (decancer), but only in
//!    words that mix scripts or could be nothing else, so that Russian stays Russian;
//! 3. *joined*: `w o r d` and `w.o.r.d` as one word;
//! 4. *respelled*: `w0rd`, `wooord`.
//!
//! Letters that languages spell with are not folded away: a list with *ano* does not find *año*. Who wants both lists
//! both.

use std::ops::Range;

use aho_corasick::AhoCorasick;
use decancer::{Options, Translation};
use serde::{Deserialize, Serialize};
use unicode_normalization::char::is_combining_mark;
use unicode_security::mixed_script::AugmentedScriptSet;
use unicode_security::skeleton;

use super::filter::{FilterError, Reason, Verdict};
use super::fold::{fold_line, is_boundary, is_word};

/// Entries in both lists together. Public lists of a language have some hundreds.
const MAX_WORDS: usize = 2_000;
/// Characters in one entry: a short phrase.
const MAX_WORD_CHARS: usize = 64;
/// All entries together. It travels with the settings of the room; compiled it takes about twenty times as much.
const MAX_BYTES: usize = 32 * 1024;
/// Characters beside a star: `a*` would hold a tenth of all that is said.
const MIN_STARRED_CHARS: usize = 3;

/// The listed words of a room, by what happens to a text with one of them. Where both lists find something, it is
/// rejected.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WordLists {
    /// Staff look at it first.
    pub hold: Vec<String>,
    pub reject: Vec<String>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Words {
    /// `None`: the lists are empty.
    automaton: Option<AhoCorasick>,
    /// By the number of the pattern.
    entries: Vec<Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    rejects: bool,
    /// The word may begin before it.
    open_start: bool,
    /// The word may end behind it.
    open_end: bool,
    /// The pattern is the cured spelling of an entry in another script: found only where a text was cured too.
    cured: bool,
}

/// One spelling of a text.
struct Spelling {
    text: String,
    /// Where it differs from what stands in the text.
    cured: Vec<Range<usize>>,
}

impl Words {
    pub fn compile(lists: &WordLists) -> Result<Words, FilterError> {
        let count = lists.hold.len() + lists.reject.len();
        if count > MAX_WORDS {
            return Err(FilterError::TooManyWords {
                count,
                max: MAX_WORDS,
            });
        }
        let words = || lists.hold.iter().chain(&lists.reject);
        if words().map(String::len).sum::<usize>() > MAX_BYTES {
            return Err(FilterError::TooLarge { max: MAX_BYTES });
        }
        let (mut patterns, mut entries) = (Vec::new(), Vec::new());
        for (list, rejects, words) in [("hold", false, &lists.hold), ("reject", true, &lists.reject)] {
            for (index, word) in words.iter().enumerate() {
                let (pattern, entry) = parse(word, rejects, list, index + 1)?;
                let cured = cured(&pattern, |_| true).text;
                // Of some scripts nothing is left, or too little to tell words by.
                if cured != pattern && cured.chars().filter(|c| is_word(*c)).count() >= MIN_STARRED_CHARS {
                    patterns.push(cured);
                    entries.push(Entry { cured: true, ..entry });
                }
                patterns.push(pattern);
                entries.push(entry);
            }
        }
        if patterns.is_empty() {
            return Ok(Words::default());
        }
        let automaton =
            AhoCorasick::new(patterns).map_err(|error| FilterError::Automaton(error.to_string()))?;
        Ok(Words {
            automaton: Some(automaton),
            entries,
        })
    }

    pub fn verdict(&self, body: &str) -> Verdict {
        let Some(automaton) = &self.automaton else {
            return Verdict::Allow;
        };
        let plain = Spelling::plain(fold_line(body));
        let cured = cured(&plain.text, may_be_latin);
        let others = [joined(&cured.text), respelled(&cured.text)].map(Spelling::plain);
        let mut held = false;
        for spelling in [plain, cured].iter().chain(&others) {
            for found in automaton.find_overlapping_iter(&spelling.text) {
                let entry = &self.entries[found.pattern().as_usize()];
                if !entry.is_at(spelling, found.range()) {
                    continue;
                }
                if entry.rejects {
                    return Verdict::Reject(Reason {
                        code: "word",
                        message: "a word in it is not used in this room",
                    });
                }
                held = true;
            }
        }
        if held {
            Verdict::Hold(Reason {
                code: "word",
                message: "the staff of the room look at it first",
            })
        } else {
            Verdict::Allow
        }
    }
}

/// An entry as it stands in a list: its pattern, and how it is found.
fn parse(
    word: &str,
    rejects: bool,
    list: &'static str,
    position: usize,
) -> Result<(String, Entry), FilterError> {
    if word.chars().count() > MAX_WORD_CHARS {
        return Err(FilterError::WordTooLong {
            list,
            position,
            max: MAX_WORD_CHARS,
        });
    }
    let word = word.trim();
    let (open_start, open_end) = (word.starts_with('*'), word.ends_with('*'));
    let core = word.strip_prefix('*').unwrap_or(word);
    let pattern = fold_line(core.strip_suffix('*').unwrap_or(core));
    if !pattern.chars().any(is_word) {
        return Err(FilterError::WordEmpty { list, position });
    }
    if pattern.contains('*') {
        return Err(FilterError::StarInside { list, position });
    }
    if (open_start || open_end) && pattern.chars().count() < MIN_STARRED_CHARS {
        return Err(FilterError::StarTooShort {
            list,
            position,
            min: MIN_STARRED_CHARS,
        });
    }
    let entry = Entry {
        rejects,
        open_start,
        open_end,
        cured: false,
    };
    Ok((pattern, entry))
}

impl Entry {
    fn is_at(&self, spelling: &Spelling, found: Range<usize>) -> bool {
        let (before, rest) = spelling.text.split_at(found.start);
        let (word, after) = rest.split_at(found.len());
        let starts = || is_boundary(before.chars().next_back(), word.chars().next());
        let ends = || is_boundary(word.chars().next_back(), after.chars().next());
        let was_cured = || {
            let overlaps = |range: &Range<usize>| range.start < found.end && found.start < range.end;
            spelling.cured.iter().any(overlaps)
        };
        (self.open_start || starts()) && (self.open_end || ends()) && (!self.cured || was_cured())
    }
}

impl Spelling {
    fn plain(text: String) -> Spelling {
        Spelling {
            text,
            cured: Vec::new(),
        }
    }
}

/// The folded text with look-alikes read as what they imitate, in the words for which `reads` says so. A word here is
/// whatever stands between white space and ASCII's punctuation, for look-alikes may be anything else.
fn cured(folded: &str, reads: impl Fn(&str) -> bool) -> Spelling {
    let mut spelling = Spelling::plain(String::with_capacity(folded.len()));
    let between = |c: char| c.is_whitespace() || (c.is_ascii() && !c.is_ascii_alphanumeric());
    for piece in folded.split_inclusive(between) {
        let end = piece.trim_end_matches(between).len();
        let (word, rest) = piece.split_at(end);
        if word.is_ascii() || !reads(word) {
            spelling.text.push_str(word);
        } else {
            let start = spelling.text.len();
            cure(word, &mut spelling.text);
            if spelling.text[start..] != *word {
                spelling.cured.push(start..spelling.text.len());
            }
        }
        spelling.text.push_str(rest);
    }
    spelling
}

/// Could this word be meant as a Latin one? So it is where Latin letters stand among its own, and where all of it looks
/// like ASCII (UTS 39, 4: confusable detection).
fn may_be_latin(word: &str) -> bool {
    let mut scripts = AugmentedScriptSet::for_str(word);
    let mixed = scripts.is_empty();
    scripts.intersect_with('a'.into());
    mixed || !scripts.is_empty() || skeleton(word).all(|c| c.is_ascii())
}

fn cure(word: &str, into: &mut String) {
    // NFKC has put every accent that a language writes on its letter: what is left over is there to disturb.
    let disturbed = word.chars().any(is_combining_mark);
    for c in word.chars() {
        // Latin-1 and Latin Extended-A: letters that people spell with.
        if !disturbed && matches!(c, 'à'..='ſ') {
            into.push(c);
            continue;
        }
        match decancer::cure_char(c, Options::default()) {
            Translation::Character(c) => into.push(c),
            Translation::String(cured) => into.push_str(&cured),
            Translation::None => {}
        }
    }
}

/// The words of single letters (`w o r d`) and those with marks in them (`w.o.r.d`, `wo*rd`), each on a line of its own.
fn joined(text: &str) -> String {
    let mut lines = String::new();
    for run in runs(text, is_spacer, |word| word.chars().take(2).count() == 1) {
        push_joined(&mut lines, run, 3);
    }
    for run in text.split(|c: char| !is_word(c) && !is_mark(c)) {
        push_joined(&mut lines, run, 2);
    }
    lines
}

fn is_mark(c: char) -> bool {
    matches!(c, '.' | '-' | '_' | '*' | '~' | '|' | '·' | '\'' | '’')
}

fn is_spacer(c: char) -> bool {
    c == ' ' || is_mark(c)
}

/// The letters of a run, if they come in at least so many pieces.
fn push_joined(lines: &mut String, run: &str, pieces: usize) {
    let words = || run.split(|c| !is_word(c)).filter(|word| !word.is_empty());
    if words().count() >= pieces {
        lines.extend(words());
        lines.push('\n');
    }
}

/// The longest runs of words that are `wanted`, with nothing between them but one to three `spacer`s.
fn runs(text: &str, spacer: impl Fn(char) -> bool, wanted: impl Fn(&str) -> bool) -> Vec<&str> {
    let mut runs = Vec::new();
    let mut run: Option<Range<usize>> = None;
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        let word = at..at + rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        if word.is_empty() {
            at += rest.chars().next().map_or(1, char::len_utf8);
            continue;
        }
        at = word.end;
        let goes_on = |run: &Range<usize>| {
            let between = &text[run.end..word.start];
            between.chars().count() <= 3 && between.chars().all(&spacer)
        };
        run = match run {
            _ if !wanted(&text[word.clone()]) => {
                runs.extend(run.map(|run| &text[run]));
                None
            }
            Some(run) if goes_on(&run) => Some(run.start..word.end),
            ended => {
                runs.extend(ended.map(|run| &text[run]));
                Some(word)
            }
        };
    }
    runs.extend(run.map(|run| &text[run]));
    runs
}

/// Words in which digits and signs stand for letters, or letters stand three times and more, as they may be meant:
/// each on a line of its own.
fn respelled(text: &str) -> String {
    let mut lines = String::new();
    for word in text.split(|c: char| !is_word(c) && !matches!(c, '@' | '$' | '!')) {
        // A mention, an exclamation, a formula.
        let word = word.trim_start_matches('@').trim_end_matches('!');
        if word.starts_with('$') && word.ends_with('$') {
            continue;
        }
        let count = |is: fn(&char) -> bool| word.chars().filter(is).count();
        let letters = count(|c| c.is_alphabetic());
        let digits = count(|c| c.is_ascii_digit());
        let signs = count(|c| letter_for(*c, 'i').is_some());
        // More digits than letters is a number with a unit, or the name of a place.
        let coded = signs > 0 && letters > 0 && digits <= letters;
        if !coded && !is_drawn_out(word) {
            continue;
        }
        for one in ['i', 'l'] {
            let spelled = word
                .chars()
                .map(|c| letter_for(c, one).filter(|_| coded).unwrap_or(c));
            let spelled: String = spelled.collect();
            for times in [1, 2] {
                lines.extend(shortened(&spelled, times));
                lines.push('\n');
            }
            if !word.contains(['1', '!']) {
                break;
            }
        }
    }
    lines
}

/// The letter that a digit or sign is written for; `one` for those that may be an i or an l.
const fn letter_for(c: char, one: char) -> Option<char> {
    match c {
        '0' => Some('o'),
        '1' | '!' => Some(one),
        '3' => Some('e'),
        '4' | '@' => Some('a'),
        '5' | '$' => Some('s'),
        '7' => Some('t'),
        _ => None,
    }
}

/// The same letter three times: no language does.
fn is_drawn_out(word: &str) -> bool {
    let letters: Vec<char> = word.chars().collect();
    letters
        .windows(3)
        .any(|w| w[0].is_alphabetic() && w[0] == w[1] && w[1] == w[2])
}

/// With runs of three and more of the same letter brought down to so many.
fn shortened(word: &str, times: usize) -> impl Iterator<Item = char> {
    let letters: Vec<char> = word.chars().collect();
    let runs: Vec<(char, usize)> = letters
        .chunk_by(|a, b| a == b)
        .map(|run| match run.len() {
            long @ 3.. if run[0].is_alphabetic() => (run[0], times.min(long)),
            short => (run[0], short),
        })
        .collect();
    runs.into_iter()
        .flat_map(|(c, times)| std::iter::repeat_n(c, times))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rejecting(words: &[&str]) -> Words {
        Words::compile(&WordLists {
            hold: Vec::new(),
            reject: words.iter().map(|&word| word.to_owned()).collect(),
        })
        .unwrap()
    }

    fn finds(words: &Words, body: &str) -> bool {
        words.verdict(body) != Verdict::Allow
    }

    /// What such lists usually hold.
    fn usual() -> Words {
        rejecting(&[
            "fuck*",
            "shit*",
            "cunt",
            "ass",
            "asshole*",
            "sex",
            "homo",
            "kill",
            "die",
            "nazi",
            "anal",
            "tit",
            "tits",
            "dick",
            "cock",
            "cum",
            "hell",
            "pot",
            "ano",
            "kill yourself",
            "heil",
            "arse",
            "piss*",
        ])
    }

    #[test]
    fn what_a_lecture_says_is_allowed() {
        // But for the words that are said in lectures too: as whole words those are found, as they should be.
        let words = rejecting(&[
            "fuck*",
            "shit*",
            "cunt",
            "ass",
            "asshole*",
            "sex",
            "homo sex",
            "dick",
            "cock",
            "tits",
            "anal",
            "heil",
            "ano",
            "pot",
            "arse",
            "piss*",
            "cum",
            "rape",
            "spic",
            "kill yourself",
        ]);
        for body in [
            "Is x_1 < x_2?",
            "kill -9 the process",
            "Homo sapiens",
            "Scunthorpe",
            "Essex, Sussex and Middlesex",
            "class, pass, assume, bass, grass: assess the assassin",
            "Mr Dickson's cockpit",
            "analysis, Analyse, canal",
            "the title of the document, cumulative",
            "hello, shell",
            "El año tiene doce meses",
            "Größe über Straße ≠ 0",
            "Здравствуйте, рот и нос",
            "αβγ Δx → λ = 2π, a = s²",
            "नमस्ते, 你好, สวัสดี",
            "push it, as sholes",
            "Room A55, unit 5G, 3x3, H2O, 0xA55",
            "let a, s, s be sides; a + s + s",
            "$a$$",
            "grape, scrape, spice, therapist",
            "f(u), c, k",
            "👩‍👩‍👧 👍🏽",
            "e.g. i.e. U.S.A.",
            "",
        ] {
            assert!(!finds(&words, body), "{body:?}");
        }
    }

    #[test]
    fn listed_words_are_found_however_they_are_spelled() {
        for body in [
            "shit",
            "SHIT!",
            "what a shit.",
            "“shit”",
            "_shit_ **shit**",
            "shitty",
            "ｓｈｉｔ",
            "𝓼𝓱𝓲𝓽",
            "ⓢⓗⓘⓣ",
            "🆂🅷🅸🆃",
            "ѕһіt",
            "shіt",
            "s\u{336}h\u{336}i\u{336}t\u{336}",
            "s\u{301}\u{302}h\u{303}i\u{304}t\u{305}\u{306}",
            "s h i t",
            "s  h  i  t",
            "s.h.i.t",
            "s-h-i-t",
            "you s h i t !",
            "s*hit",
            "sh.it",
            "sh1t",
            "5hit",
            "$hit",
            "sh!t",
            "shiiiiit",
            "sssshit",
            "a$$",
            "asss",
            "Kill\nyourself",
            "kill   yourself",
            "h3ll",
            "he1l",
        ] {
            assert!(finds(&usual(), body), "{body:?}");
        }
    }

    #[test]
    fn stars_open_an_end() {
        let words = rejecting(&["dog*", "*cat", "*bird*", "fish"]);
        for body in ["dogs", "bobcat", "blackbirds", "fish", "dog", "cat", "bird"] {
            assert!(finds(&words, body), "{body:?}");
        }
        for body in ["bulldog", "cats", "fishes", "goldfish"] {
            assert!(!finds(&words, body), "{body:?}");
        }
    }

    #[test]
    fn every_script_has_its_words() {
        let words = rejecting(&["сука", "笨蛋", "ไอ้บ้า", "חמור"]);
        for body in ["Ну, сука!", "СУКА", "cука", "你是笨蛋吗", "คุณไอ้บ้ามาก", "חמור!"]
        {
            assert!(finds(&words, body), "{body:?}");
        }
        for body in ["барсука", "cyka", "聪明", "חמורים"] {
            assert!(!finds(&words, body), "{body:?}");
        }
        // A Cyrillic entry that looks like an English word does not find the English word, nor the other way about.
        assert!(!finds(&rejecting(&["рот"]), "a pot of tea"));
        assert!(!finds(&rejecting(&["pot"]), "рот"));
    }

    #[test]
    fn held_or_rejected() {
        let words = Words::compile(&WordLists {
            hold: vec!["exam".into(), "both".into()],
            reject: vec!["blockhead".into(), "both".into()],
        })
        .unwrap();
        assert!(matches!(words.verdict("the exam"), Verdict::Hold(_)));
        assert!(matches!(words.verdict("the exam, blockhead"), Verdict::Reject(_)));
        assert!(matches!(words.verdict("both"), Verdict::Reject(_)));
        let Verdict::Reject(reason) = words.verdict("blockhead") else {
            panic!("it is listed");
        };
        assert!(!reason.message.contains("blockhead"));
    }

    #[test]
    fn lists_have_limits() {
        let refused = |words: &[&str]| {
            let hold = words.iter().map(|&word| word.to_owned()).collect();
            let reject = Vec::new();
            Words::compile(&WordLists { hold, reject })
                .unwrap_err()
                .to_string()
        };
        assert!(refused(&vec!["word"; MAX_WORDS + 1]).contains("at most 2000"));
        assert!(refused(&[&"x".repeat(MAX_WORD_CHARS + 1)]).contains("entry 1: longer than 64"));
        assert!(refused(&vec!["ж".repeat(64).as_str(); 300]).contains("32768 bytes"));
        assert!(refused(&["ok", " "]).contains("entry 2: holds no letter"));
        assert!(refused(&["**"]).contains("no letter"));
        assert!(refused(&["a*b"]).contains("beginning or the end"));
        assert!(refused(&["ab*"]).contains("at least 3"));
    }

    proptest! {
        #[test]
        fn a_listed_word_is_found_between_any_others(
            word in "[a-z]{3,10}", before in "[a-z ,.!]{0,20}", after in "[a-z ,.!]{0,20}",
        ) {
            let words = rejecting(&[&word]);
            let (spaced, shouted) = (format!("{before} {word} {after}"), format!("{before} {} {after}", word.to_uppercase()));
            prop_assert!(finds(&words, &spaced));
            prop_assert!(finds(&words, &shouted));
        }

        #[test]
        fn a_word_within_another_is_not_found(word in "[a-z]{3,10}", around in "[b-y]{1,5}") {
            let words = rejecting(&["zqzqz"]);
            let text = format!("{around}zqzqz{word}");
            prop_assert!(!finds(&words, &text));
        }

        #[test]
        fn spaced_out_is_found(word in "[a-z]{3,10}") {
            let spaced: Vec<String> = word.chars().map(String::from).collect();
            prop_assert!(finds(&rejecting(&[&word]), &spaced.join(" ")));
        }
    }
}
