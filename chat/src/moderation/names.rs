//! What people call themselves: nobody looks like the staff who is not, and who has no name is given one.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;
use unicode_security::skeleton;

use crate::room::clean_name;

/// Words in a name that promise a role. Surnames among them are rare, and a guest can choose another name.
const ROLES: [&str; 9] = [
    "host",
    "moderator",
    "lecturer",
    "teacher",
    "professor",
    "admin",
    "administrator",
    "staff",
    "lectern",
];

/// Shorter names of staff stand in too many others.
const MIN_CONTAINED: usize = 8;

/// Could someone take this name for one of the staff's, or for a role? Case, spaces, punctuation, accents and
/// look-alike letters (UTS 39) make no difference. A staff name of several words is also found within a longer name:
/// "Prof. Ana Lopez" looks like "Ana Lopez".
pub fn look_alike<'a>(name: &str, staff: impl Iterator<Item = &'a str>) -> bool {
    let name = clean_name(name);
    let is_role = |word: &str| {
        let looks = looks(word);
        ROLES.iter().any(|role| same(&looks, &self::looks(role)))
    };
    // With spaces between its letters a role is one word.
    if is_role(&name) || name.split(|c: char| !c.is_alphanumeric()).any(is_role) {
        return true;
    }
    let looks_of_name = looks(&name);
    staff.map(clean_name).any(|staff| {
        let looks_of_staff = looks(&staff);
        same(&looks_of_name, &looks_of_staff)
            || (staff.contains(' ') && contains(&looks_of_name, &looks_of_staff))
    })
}

/// "Guest 5", with the first number from `n` on that is not taken in the room.
pub fn generated(taken: impl Fn(&str) -> bool, n: u64) -> String {
    let names = (n..=u64::MAX).map(|n| format!("Guest {n}"));
    // As many as there are people at most: some number is free.
    let mut names = names.skip_while(|name| taken(name));
    names.next().unwrap_or_else(|| "Guest".to_owned())
}

/// How a name looks: its skeleton as it stands, and in small letters (a capital I looks like an l, a small i does not).
fn looks(name: &str) -> [String; 2] {
    let name: String = name.nfkc().collect();
    let lower = name.to_lowercase();
    [skeleton_of(&name), skeleton_of(&lower)]
}

fn skeleton_of(name: &str) -> String {
    let lower: String = skeleton(name).flat_map(char::to_lowercase).collect();
    let again = skeleton(&lower).filter(|c| !is_combining_mark(*c));
    let bare: String = again.filter(|c| c.is_alphanumeric()).collect();
    // A name of signs alone is compared as it stands.
    if bare.is_empty() { lower } else { bare }
}

fn same(one: &[String; 2], other: &[String; 2]) -> bool {
    one.iter().zip(other).any(|(one, other)| one == other)
}

fn contains(name: &[String; 2], staff: &[String; 2]) -> bool {
    let mut both = name.iter().zip(staff);
    both.any(|(name, staff)| staff.chars().count() >= MIN_CONTAINED && name.contains(staff.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn looks_like(name: &str, staff: &str) -> bool {
        look_alike(name, [staff].into_iter())
    }

    #[test]
    fn look_alikes_of_the_staff() {
        for name in [
            "Ana Lopez",
            "ana lopez",
            "AnaLopez",
            "Ana  Lopez.",
            "Ana López",
            "Аna Lopez",
            "Ana L0pez",
            "Ａｎａ Ｌｏｐｅｚ",
            "𝐀𝐧𝐚 𝐋𝐨𝐩𝐞𝐳",
            "Ana Lopez ✓",
            "★ Ana Lopez ★",
            "A n a L o p e z",
            "Prof. Ana Lopez",
            "Ana\u{200B}Lopez",
            "Ana_Lopez",
        ] {
            assert!(looks_like(name, "Ana Lopez"), "{name:?}");
        }
        for name in ["Ana", "Lopez", "Ana L.", "Ann Lopez", "Anna Lopez", "Ben", "?"] {
            assert!(!looks_like(name, "Ana Lopez"), "{name:?}");
        }
        assert!(looks_like("AIice", "Alice"));
        assert!(looks_like("Rnarie", "Marie"));
        assert!(!looks_like("Ana Maria", "Ana"));
        assert!(!looks_like("Joanna Bo", "Jo"));
    }

    #[test]
    fn roles_are_not_names() {
        for name in [
            "Host",
            "host 2",
            "The Moderator",
            "MODERATOR",
            "m0derator",
            "H o s t",
            "Ноst",
            "Ana (lecturer)",
            "[admin]",
            "Lectern",
        ] {
            assert!(look_alike(name, [].into_iter()), "{name:?}");
        }
        for name in [
            "Hostetler",
            "Ghost",
            "Moderata",
            "Stafford",
            "Adminah",
            "Guest 5",
            "李明",
            "",
        ] {
            assert!(!look_alike(name, [].into_iter()), "{name:?}");
        }
    }

    #[test]
    fn guests_get_a_free_number() {
        assert_eq!(generated(|_| false, 5), "Guest 5");
        assert_eq!(
            generated(|name| ["Guest 5", "Guest 6"].contains(&name), 5),
            "Guest 7"
        );
        assert!(!look_alike(&generated(|_| false, 1), [].into_iter()));
    }

    proptest! {
        #[test]
        fn everyone_looks_like_themselves(name in "\\PC{1,20}") {
            prop_assert!(looks_like(&name, &name));
        }

        #[test]
        fn case_and_spaces_make_no_difference(name in "[a-z]{2,8} [a-z]{2,8}") {
            prop_assert!(looks_like(&name.to_uppercase(), &name));
            prop_assert!(looks_like(&name.replace(' ', ""), &name));
        }
    }
}
