//! What people write, made fit to be shown: NFC, without what is invisible and without what turns the reading
//! direction of what stands beside it. Nothing that can be seen is changed.

use unicode_normalization::UnicodeNormalization;

/// Longer names would push the text off a phone's screen.
const MAX_NAME_CHARS: usize = 64;

/// The body as it is kept; line breaks stay.
pub fn clean(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\r' if rest.peek() == Some(&'\n') => {}
            '\r' | '\n' | '\u{85}' | '\u{2028}' | '\u{2029}' => kept.push('\n'),
            '\t' => kept.push(' '),
            c if c.is_control() => {}
            JOINER | NON_JOINER if joins(c, kept.chars().next_back(), rest.peek().copied()) => kept.push(c),
            c if is_tag(c)
                && kept
                    .chars()
                    .next_back()
                    .is_some_and(|b| b == BLACK_FLAG || is_tag(b)) =>
            {
                kept.push(c)
            }
            c if is_invisible(c) => {}
            c => kept.push(c),
        }
    }
    let visible = !kept.chars().all(is_blank);
    // Last, for what is invisible may have stood between a letter and its accent.
    if visible {
        kept.trim().nfc().collect()
    } else {
        String::new()
    }
}

/// A name on one line.
pub fn clean_name(name: &str) -> String {
    let line = clean(name).replace('\n', " ");
    match line.chars().take(MAX_NAME_CHARS).collect::<String>() {
        name if name.is_empty() => "?".into(),
        name => name,
    }
}

/// One emoji, perhaps of several parts: with a tone, joined, or a flag.
pub fn is_one_emoji(text: &str) -> bool {
    let mut parts = text.split(JOINER).peekable();
    let is_part = |part: &str| {
        let mut chars = part.chars();
        let Some(first) = chars.next() else { return false };
        let keycap = part.ends_with('\u{20E3}') && matches!(first, '0'..='9' | '#' | '*');
        let flag = |c: char| matches!(c as u32, 0x1F1E6..=0x1F1FF);
        let modifies = |c: char| {
            c == '\u{FE0F}' || c == '\u{20E3}' || is_tag(c) || matches!(c as u32, 0x1F3FB..=0x1F3FF)
        };
        match chars.clone().next() {
            Some(second) if flag(first) => flag(second) && chars.count() == 1,
            _ => (is_emoji(first) || keycap) && chars.all(modifies),
        }
    };
    parts.peek().is_some() && parts.all(is_part)
}

const JOINER: char = '\u{200D}';
const NON_JOINER: char = '\u{200C}';
const BLACK_FLAG: char = '\u{1F3F4}';

/// Both joiners are spelling in the Arabic and Indic scripts (compare RFC 5892, appendix A); the joiner also
/// makes one emoji of several.
fn joins(c: char, before: Option<char>, after: Option<char>) -> bool {
    let (Some(before), Some(after)) = (before, after) else {
        return false;
    };
    let spelled = is_joining_script(before) && is_joining_script(after);
    let emoji = c == JOINER && is_emoji_part(before) && is_emoji(after);
    spelled || emoji
}

/// Arabic, Syriac, N'Ko, Mongolian and the Indic blocks. A virama may end a word that goes on in Latin; rare
/// enough.
fn is_joining_script(c: char) -> bool {
    matches!(c as u32, 0x0600..=0x08FF | 0x0900..=0x0DFF | 0x0F00..=0x109F | 0x1780..=0x18AF | 0xA840..=0xABFF
        | 0xFB50..=0xFDFF | 0xFE70..=0xFEFC | 0x11000..=0x11FFF)
}

/// The blocks that emoji come from; wider than the emoji themselves, which does no harm here.
fn is_emoji(c: char) -> bool {
    matches!(c as u32, 0x1F000..=0x1FAFF | 0x2190..=0x21FF | 0x2300..=0x27BF | 0x2900..=0x297F | 0x2B00..=0x2BFF)
}

/// An emoji, its variation selector, or a tag that spells a flag.
fn is_emoji_part(c: char) -> bool {
    is_emoji(c) || c == '\u{FE0F}' || is_tag(c)
}

fn is_tag(c: char) -> bool {
    matches!(c as u32, 0xE0020..=0xE007F)
}

/// Zero-width, bidirectional controls, fillers, tags, interlinear marks, noncharacters.
fn is_invisible(c: char) -> bool {
    matches!(c as u32, 0x00AD | 0x034F | 0x061C | 0x115F | 0x1160 | 0x180B..=0x180F | 0x200B..=0x200F
        | 0x202A..=0x202E | 0x2060..=0x206F | 0x3164 | 0xFEFF | 0xFFA0 | 0xFFF0..=0xFFFB | 0x1BCA0..=0x1BCA3
        | 0x1D173..=0x1D17A | 0xE0000..=0xE00FF)
        || (c as u32 & 0xFFFE) == 0xFFFE
}

/// Nothing to see by itself: spaces, the blank braille cell, variation selectors.
fn is_blank(c: char) -> bool {
    c.is_whitespace() || c == '\u{2800}' || matches!(c as u32, 0xFE00..=0xFE0F | 0xE0100..=0xE01EF)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_can_be_seen_stays() {
        for text in [
            "Is x_1 < x_2?",
            "Größe über Straße ≠ 0",
            "नमस्ते",
            "क्‍ष",
            "می‌خواهم",
            "👩‍👩‍👧 👍🏽 ❤️‍🔥",
            "🏴\u{E0067}\u{E0062}\u{E0073}\u{E0063}\u{E0074}\u{E007F}",
            "two\nlines",
            "שלום",
        ] {
            assert_eq!(clean(text), text.nfc().collect::<String>());
        }
    }

    #[test]
    fn what_is_invisible_goes() {
        assert_eq!(clean("a\u{202E}b\u{2066}c\u{2069}"), "abc");
        assert_eq!(clean("pass\u{200B}word\u{FEFF}\u{200D}"), "password");
        assert_eq!(clean("a\u{0}\u{7}\u{1B}[31m"), "a[31m");
        assert_eq!(clean("a\u{E0041}\u{E0042}"), "a");
        assert_eq!(clean("a\r\nb\rc\td"), "a\nb\nc d");
        assert_eq!(clean("e\u{301}"), "é");
        for blank in ["", " \n\t", "\u{200B}", "\u{2800}", "\u{3164}", "\u{FE0F}"] {
            assert_eq!(clean(blank), "", "{blank:?}");
        }
    }

    #[test]
    fn one_emoji_is_one() {
        for one in ["👍", "👍🏽", "❤️", "👩‍👩‍👧", "🇩🇪", "1️⃣", "⭐"] {
            assert!(is_one_emoji(one), "{one}");
        }
        for other in ["", "a", "👍👍", "ok", "👍a", "\u{200D}", "\u{FE0F}", "🇩🇪🇫🇷"] {
            assert!(!is_one_emoji(other), "{other:?}");
        }
    }

    #[test]
    fn names_are_short_and_on_one_line() {
        assert_eq!(clean_name(" Ana\nB\u{202E} "), "Ana B");
        assert_eq!(clean_name("\u{200B}"), "?");
        assert_eq!(clean_name(&"x".repeat(100)).len(), 64);
    }

    proptest! {
        #[test]
        fn cleaning_twice_changes_nothing(text in any::<String>()) {
            let once = clean(&text);
            prop_assert_eq!(clean(&once), once);
        }
    }
}
