//! Keys to compare texts by. They are never shown: a key is not a text.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// NFKC without case: `Ｓtraße` and `STRASSE` fall together. Case is folded letter by letter, up and down again,
/// which also joins ß with ss and both forms of the small sigma.
pub fn fold(text: &str) -> String {
    text.nfkc()
        .flat_map(char::to_uppercase)
        .flat_map(char::to_lowercase)
        .nfkc()
        .collect()
}

/// Folded, and every run of white space is one space.
pub fn fold_line(text: &str) -> String {
    let folded = fold(text);
    let mut line = String::with_capacity(folded.len());
    for word in folded.split_whitespace() {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    line
}

/// What words are made of.
pub fn is_word(c: char) -> bool {
    c.is_alphanumeric() || is_combining_mark(c)
}

/// May a word begin or end between these two?
pub fn is_boundary(before: Option<char>, after: Option<char>) -> bool {
    match (before, after) {
        (Some(before), Some(after)) => {
            !is_word(before) || !is_word(after) || is_unspaced(before) || is_unspaced(after)
        }
        _ => true,
    }
}

/// Of a script that is written without spaces between its words: Thai, Lao, Myanmar, Khmer, kana, Han. (The blocks,
/// compare UAX 14, classes SA and ID.)
fn is_unspaced(c: char) -> bool {
    matches!(c as u32, 0x0E00..=0x0EFF | 0x1000..=0x109F | 0x1780..=0x17FF | 0x3040..=0x30FF | 0x3400..=0x9FFF
        | 0xF900..=0xFAFF | 0x20000..=0x3FFFF)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_same_word_in_other_letters() {
        for (one, other) in [
            ("Straße", "STRASSE"),
            ("ΣΊΣΥΦΟΣ", "σίσυφος"),
            ("ﬁne", "FINE"),
            ("Ｆｕｌｌ", "full"),
            ("e\u{301}", "É"),
            ("𝓯𝓪𝓷𝓬𝔂", "fancy"),
        ] {
            assert_eq!(fold(one), fold(other));
        }
        assert_ne!(fold("año"), fold("ano"));
        assert_eq!(fold_line(" Two\n\n  words\u{A0}"), "two words");
    }

    #[test]
    fn words_end_where_their_script_says() {
        for (before, after, boundary) in [
            ('a', 'b', false),
            ('a', '1', false),
            ('é', 'я', false),
            ('a', '\u{301}', false),
            ('a', '_', true),
            ('a', ' ', true),
            ('-', 'b', true),
            ('学', '生', true),
            ('ไ', 'ท', true),
        ] {
            assert_eq!(
                is_boundary(Some(before), Some(after)),
                boundary,
                "{before}{after}"
            );
        }
        assert!(is_boundary(None, Some('a')));
    }

    proptest! {
        #[test]
        fn folding_twice_changes_nothing(text in "\\PC{0,20}") {
            prop_assert_eq!(fold(&fold(&text)), fold(&text));
        }
    }
}
