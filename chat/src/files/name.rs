//! What a file is called: to people by a name, on the wire by a hash.

use sha2::{Digest, Sha256};

use super::kind::Kind;
use crate::hex::hex;
use crate::room::clean_name;

/// Bytes of the hash: nobody finds two files with the same (RFC 6234; 80 bits of work).
const HASH: usize = 20;

/// Longer names would not stand in a line of the room.
const MAX_CHARS: usize = 64;

/// The id of a file: the hash of its bytes, and what it is.
pub fn id(hasher: Sha256, kind: Kind) -> String {
    let hash = hasher.finalize();
    format!("{}.{}", hex(&hash[..HASH]), kind.extension)
}

/// What an id says of its file; `None` where it is no id.
pub fn kind_of(id: &str) -> Option<Kind> {
    let (hash, extension) = id.split_once('.')?;
    let is_hash = hash.len() == 2 * HASH && hash.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'));
    is_hash.then(|| Kind::by_extension(extension)).flatten()
}

pub fn key(broadcast: &str, id: &str) -> String {
    format!("{broadcast}/files/{id}")
}

/// A name for people: on one line, without folders, and it ends as files of its kind do.
pub fn shown(name: &str, kind: Kind) -> String {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let whole = clean_name(last.trim_start_matches('.'));
    // `clean_name` cuts at the end, where the extension is.
    let (stem, extension) = match last.rsplit_once('.') {
        Some((stem, extension)) if is_of(extension, kind) => (clean_name(stem), extension.to_owned()),
        _ => (whole, kind.extension.to_owned()),
    };
    let stem: String = stem.chars().take(MAX_CHARS - extension.len() - 1).collect();
    format!("{}.{extension}", stem.trim())
}

fn is_of(extension: &str, kind: Kind) -> bool {
    let extension = extension.to_ascii_lowercase();
    match kind.extension {
        "jpg" => matches!(extension.as_str(), "jpg" | "jpeg"),
        "md" => matches!(extension.as_str(), "md" | "markdown"),
        // Programs are read as text; but not what a double click would run.
        "txt" => matches!(
            extension.as_str(),
            "txt"
                | "log"
                | "tex"
                | "bib"
                | "py"
                | "r"
                | "m"
                | "c"
                | "h"
                | "cpp"
                | "hpp"
                | "java"
                | "rs"
                | "go"
                | "hs"
                | "ml"
                | "sql"
                | "json"
                | "yaml"
                | "yml"
                | "toml"
                | "ini"
                | "diff"
                | "patch"
        ),
        own => extension == own,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_for_people() {
        let shown = |name, extension| super::shown(name, Kind::by_extension(extension).unwrap());
        for (name, extension, expected) in [
            ("slides.pdf", "pdf", "slides.pdf"),
            ("Slides.PDF", "pdf", "Slides.PDF"),
            ("photo.jpeg", "jpg", "photo.jpeg"),
            ("main.py", "txt", "main.py"),
            ("evil.exe", "pdf", "evil.exe.pdf"),
            ("run.bat", "txt", "run.bat.txt"),
            ("C:\\docs\\a.txt", "txt", "a.txt"),
            ("../../etc/passwd", "txt", "passwd.txt"),
            ("gpj.\u{202E}fdp.exe", "png", "gpj.fdp.exe.png"),
            ("", "png", "?.png"),
            (".png", "png", "?.png"),
            ("two\nlines.txt", "txt", "two lines.txt"),
        ] {
            assert_eq!(shown(name, extension), expected, "{name:?}");
        }
        let long = shown(&format!("{}.pdf", "ä".repeat(300)), "pdf");
        assert_eq!((long.chars().count(), long.ends_with("ä.pdf")), (64, true));
    }

    #[test]
    fn ids() {
        let png = Kind::by_extension("png").unwrap();
        let id = id(Sha256::new_with_prefix("abc"), png);
        assert_eq!(id, "ba7816bf8f01cfea414140de5dae2223b00361a3.png");
        assert_eq!(kind_of(&id), Some(png));
        for bad in [
            "",
            "abc.png",
            "ba7816bf8f01cfea414140de5dae2223b00361a3",
            "ba7816bf8f01cfea414140de5dae2223b00361a3.svg",
            "BA7816BF8F01CFEA414140DE5DAE2223B00361A3.png",
            "../7816bf8f01cfea414140de5dae2223b00361a3.png",
            "ba7816bf8f01cfea414140de5dae2223b00361a3.png.png",
        ] {
            assert_eq!(kind_of(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_name(name in any::<String>()) {
            let pdf = Kind::by_extension("pdf").unwrap();
            let shown = shown(&name, pdf);
            prop_assert!(shown.chars().count() <= MAX_CHARS && shown.to_ascii_lowercase().ends_with(".pdf"));
            prop_assert!(!shown.contains(['/', '\\', '\n']));
        }
    }
}
