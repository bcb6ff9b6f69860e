//! What a file is, by its bytes. Its name only chooses between forms of plain text.
//!
//! What a browser could run is refused: HTML, SVG, XML, scripts, executables, office files with macros. What is not
//! known is refused too.

use infer::MatcherType;

use super::zip;

/// The types there are. The extension stands in the name that a file is served by, so that the name tells the type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    pub extension: &'static str,
    pub media_type: &'static str,
    /// Shown in the page; the others are downloads.
    pub inline: bool,
}

const fn image(extension: &'static str, media_type: &'static str) -> Kind {
    Kind {
        extension,
        media_type,
        inline: true,
    }
}

const fn download(extension: &'static str, media_type: &'static str) -> Kind {
    Kind {
        extension,
        media_type,
        inline: false,
    }
}

pub const KINDS: [Kind; 16] = [
    image("png", "image/png"),
    image("jpg", "image/jpeg"),
    image("gif", "image/gif"),
    image("webp", "image/webp"),
    download("pdf", "application/pdf"),
    download(
        "docx",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ),
    download(
        "xlsx",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ),
    download(
        "pptx",
        "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    ),
    download("odt", "application/vnd.oasis.opendocument.text"),
    download("ods", "application/vnd.oasis.opendocument.spreadsheet"),
    download("odp", "application/vnd.oasis.opendocument.presentation"),
    download("txt", "text/plain; charset=utf-8"),
    download("csv", "text/csv; charset=utf-8"),
    download("md", "text/markdown; charset=utf-8"),
    download("mp3", "audio/mpeg"),
    download("mp4", "video/mp4"),
];

/// Elements that a browser might act upon. No text has them, however it is served.
const ACTIVE: [&str; 8] = [
    "<!doctype",
    "<html",
    "<script",
    "<svg",
    "<iframe",
    "<object",
    "<embed",
    "<meta",
];

impl Kind {
    pub fn by_extension(extension: &str) -> Option<Kind> {
        KINDS.into_iter().find(|kind| kind.extension == extension)
    }

    /// Of the whole file. `None`: a type that is not taken.
    pub fn of(name: &str, bytes: &[u8]) -> Option<Kind> {
        let text = text(name, bytes);
        let Some(found) = infer::get(bytes) else {
            return text;
        };
        let extension = match found.extension() {
            "png" if bytes.starts_with(b"\x89PNG\r\n\x1a\n") => "png",
            "gif" if bytes.starts_with(b"GIF87a") || bytes.starts_with(b"GIF89a") => "gif",
            "webp" if bytes.starts_with(b"RIFF") => "webp",
            same @ ("jpg" | "pdf") => same,
            // Three letters at the beginning are a text too.
            "mp3" if text.is_none() => "mp3",
            "mp4" if text.is_none() => "mp4",
            _ if bytes.starts_with(b"PK\x03\x04") => return zip::office(bytes).and_then(Self::by_extension),
            "rtf" | "ps" => return None,
            _ if found.matcher_type() == MatcherType::Text => return None,
            // Whatever it was taken for by its first letters.
            _ => return text,
        };
        Self::by_extension(extension)
    }
}

/// Plain text in UTF-8; of which form, its name says.
fn text(name: &str, bytes: &[u8]) -> Option<Kind> {
    let text = std::str::from_utf8(bytes).ok()?;
    let text = text.strip_prefix('\u{FEFF}').unwrap_or(text);
    let is_plain = |c: char| !c.is_control() || matches!(c, '\t' | '\n' | '\r' | '\u{C}');
    if text.trim().is_empty() || !text.chars().all(is_plain) {
        return None;
    }
    let begins_a_tag = text
        .trim_start()
        .strip_prefix('<')
        .and_then(|rest| rest.chars().next())
        .is_some_and(|c| c.is_ascii_alphabetic() || matches!(c, '!' | '?' | '/'));
    let lower = text.to_ascii_lowercase();
    if begins_a_tag || text.starts_with("#!") || ACTIVE.iter().any(|tag| lower.contains(tag)) {
        return None;
    }
    let extension = name
        .rsplit_once('.')
        .map(|(_, extension)| extension.to_ascii_lowercase());
    Kind::by_extension(match extension.as_deref() {
        Some("csv") => "csv",
        Some("md" | "markdown") => "md",
        _ => "txt",
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(name: &str, bytes: &[u8]) -> Option<&'static str> {
        Kind::of(name, bytes).map(|kind| kind.extension)
    }

    #[test]
    fn by_their_bytes() {
        for (name, bytes, extension) in [
            ("x", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".as_slice(), "png"),
            ("evil.html", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "png"),
            ("x", b"\xff\xd8\xff\xe0\0\x10JFIF", "jpg"),
            ("x", b"GIF89a\x01\0\x01\0", "gif"),
            ("x", b"RIFF\x10\0\0\0WEBPVP8 ", "webp"),
            ("x", b"%PDF-1.7\n%\xe2\xe3", "pdf"),
            ("x", b"ID3\x04\0\0\0\0\0\0", "mp3"),
            ("x", b"\0\0\0\x18ftypmp42\0\0\0\0", "mp4"),
            ("notes", b"plain", "txt"),
            ("notes.TXT", "Größe ≠ 0\r\n\tx < y, a<b".as_bytes(), "txt"),
            ("a.csv", b"a,b\n1,2\n", "csv"),
            ("a.md", b"# Title\n\n<b>bold</b>", "md"),
            ("a.png", b"GIFs are fun", "txt"),
            ("a.txt", b"BM is what it begins with", "txt"),
            ("main.py", b"print(1)", "txt"),
        ] {
            assert_eq!(of(name, bytes), Some(extension), "{name}");
        }
    }

    #[test]
    fn what_could_run_is_refused() {
        for (name, bytes) in [
            ("a.txt", b"<html><body>".as_slice()),
            ("a.txt", b"  \n<!DOCTYPE html>"),
            ("a.txt", b"\xef\xbb\xbf<script>alert(1)</script>"),
            ("a.md", b"# Title\n<ScRiPt src=x>"),
            ("a.svg", b"<svg xmlns='http://www.w3.org/2000/svg'>"),
            ("a.svg", b"<?xml version='1.0'?><svg/>"),
            ("a.png", b"<!-- --><svg>"),
            ("a.sh", b"#!/bin/sh\nrm -rf /"),
            ("a.exe", b"MZ\x90\0\x03\0\0\0\x04\0\0\0\xff\xff\0\0"),
            ("a", b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0"),
            ("a.ps", b"%!PS-Adobe-3.0\n"),
            ("a.rtf", b"{\\rtf1 x}"),
            ("a.zip", b"PK\x03\x04\x14\0\0\0\x08\0"),
            ("a.gz", b"\x1f\x8b\x08\0\0\0\0\0"),
            ("a.txt", b"nul\0"),
            ("a.txt", b"esc \x1b[31m"),
            ("a.txt", b"latin-1 \xe9"),
            ("a.txt", b""),
            ("a.txt", b" \n"),
            ("a.bmp", b"BM\0\0\0\0"),
            ("a", b"\0asm\x01\0\0\0"),
        ] {
            assert_eq!(of(name, bytes), None, "{name} {bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes(name in "\\PC{0,12}", bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Kind::of(&name, &bytes);
        }

        #[test]
        fn any_zip(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Kind::of("a", &[b"PK\x03\x04", bytes.as_slice(), b"PK\x05\x06", bytes.as_slice()].concat());
        }
    }
}
