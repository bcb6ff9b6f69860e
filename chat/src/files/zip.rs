//! Office documents are ZIP files: which one, the names in its directory tell (APPNOTE.TXT 4.3.12 and 4.3.16). Nothing
//! is unpacked.

/// A presentation of a whole term has some thousands.
const MAX_ENTRIES: usize = 20_000;

/// The end of the directory is 22 bytes and a comment.
const END: usize = 22;
const MAX_COMMENT: usize = u16::MAX as usize;

/// The extension of an office document. `None`: another ZIP, a broken one, one with macros.
pub fn office(bytes: &[u8]) -> Option<&'static str> {
    let names = names(bytes)?;
    let has = |name: &str| names.contains(&name.as_bytes());
    let ends = |end: &[u8]| names.iter().any(|name| name.to_ascii_lowercase().ends_with(end));
    // Macros of Microsoft Office; programs and objects that somebody has put into it.
    if ends(b"vbaproject.bin") || ends(b".exe") || ends(b".js") {
        return None;
    }
    if has("[Content_Types].xml") {
        let of = [
            ("word/document.xml", "docx"),
            ("xl/workbook.xml", "xlsx"),
            ("ppt/presentation.xml", "pptx"),
        ];
        return of
            .into_iter()
            .find(|(name, _)| has(name))
            .map(|(_, extension)| extension);
    }
    // Basic macros of OpenDocument.
    if names.iter().any(|name| name.starts_with(b"Basic/")) {
        return None;
    }
    match mimetype(bytes)? {
        b"application/vnd.oasis.opendocument.text" => Some("odt"),
        b"application/vnd.oasis.opendocument.spreadsheet" => Some("ods"),
        b"application/vnd.oasis.opendocument.presentation" => Some("odp"),
        _ => None,
    }
}

/// Of OpenDocument: the first entry, stored as it is (ODF 1.3, part 2, 3.3).
fn mimetype(bytes: &[u8]) -> Option<&[u8]> {
    let name = u16_at(bytes, 26)?;
    let extra = u16_at(bytes, 28)?;
    let size = u32_at(bytes, 22)?;
    let (start, stored) = (30 + name + extra, u16_at(bytes, 8)? == 0);
    let is_mimetype = bytes.get(30..30 + name)? == b"mimetype" && stored;
    is_mimetype
        .then(|| bytes.get(start..start.checked_add(size)?))
        .flatten()
}

/// The names in the directory. ZIP64 is for files larger than any that is taken.
fn names(bytes: &[u8]) -> Option<Vec<&[u8]>> {
    let last = bytes.len().checked_sub(END)?;
    let from = last.saturating_sub(MAX_COMMENT);
    let end = (from..=last)
        .rev()
        .find(|&at| bytes[at..].starts_with(b"PK\x05\x06"))?;
    let (count, mut at) = (u16_at(bytes, end + 10)?, u32_at(bytes, end + 16)?);
    if count > MAX_ENTRIES {
        return None;
    }
    let mut names = Vec::with_capacity(count);
    for _ in 0..count {
        if !bytes.get(at..)?.starts_with(b"PK\x01\x02") {
            return None;
        }
        let [name, extra, comment] = [28, 30, 32].map(|field| u16_at(bytes, at + field));
        let name_end = at + 46 + name?;
        names.push(bytes.get(at + 46..name_end)?);
        at = name_end + extra? + comment?;
    }
    Some(names)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<usize> {
    let two = bytes.get(at..at.checked_add(2)?)?;
    Some(usize::from(u16::from_le_bytes(two.try_into().ok()?)))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<usize> {
    let four = bytes.get(at..at.checked_add(4)?)?;
    usize::try_from(u32::from_le_bytes(four.try_into().ok()?)).ok()
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A ZIP with these entries, stored. (The checksums are not right: nothing is unpacked.)
    pub fn zip(entries: &[(&str, &[u8])]) -> Vec<u8> {
        let (mut file, mut directory) = (Vec::new(), Vec::new());
        let u16 = |n: usize| (n as u16).to_le_bytes();
        let u32 = |n: usize| (n as u32).to_le_bytes();
        for (name, body) in entries {
            let sizes = [u32(0), u32(body.len()), u32(body.len())].concat();
            let offset = u32(file.len());
            file.extend(
                [
                    b"PK\x03\x04\x14\0\0\0\0\0\0\0\0\0",
                    sizes.as_slice(),
                    &u16(name.len()),
                    &u16(0),
                ]
                .concat(),
            );
            file.extend([name.as_bytes(), body].concat());
            directory.extend(
                [
                    b"PK\x01\x02\x14\0\x14\0\0\0\0\0\0\0\0\0",
                    sizes.as_slice(),
                    &u16(name.len()),
                ]
                .concat(),
            );
            directory.extend([&[0; 12], offset.as_slice(), name.as_bytes()].concat());
        }
        let (start, size) = (file.len(), directory.len());
        file.extend(directory);
        file.extend(
            [
                b"PK\x05\x06\0\0\0\0",
                u16(entries.len()).as_slice(),
                &u16(entries.len()),
            ]
            .concat(),
        );
        file.extend([u32(size).as_slice(), &u32(start), &u16(0)].concat());
        file
    }

    #[test]
    fn office_documents() {
        let types = ("[Content_Types].xml", b"<Types/>".as_slice());
        for (name, extension) in [
            ("word/document.xml", "docx"),
            ("xl/workbook.xml", "xlsx"),
            ("ppt/presentation.xml", "pptx"),
        ] {
            assert_eq!(
                office(&zip(&[("_rels/.rels", b""), types, (name, b"x")])),
                Some(extension)
            );
            let macros = [types, (name, b"x"), ("word/vbaProject.bin", b"x")];
            assert_eq!(office(&zip(&macros)), None);
        }
        for (media_type, extension) in [("text", "odt"), ("spreadsheet", "ods"), ("presentation", "odp")] {
            let media_type = format!("application/vnd.oasis.opendocument.{media_type}");
            let entries = [("mimetype", media_type.as_bytes()), ("content.xml", b"x")];
            assert_eq!(office(&zip(&entries)), Some(extension));
            let macros = [entries[0], entries[1], ("Basic/Standard/Module1.xml", b"x")];
            assert_eq!(office(&zip(&macros)), None);
        }
    }

    #[test]
    fn other_zips() {
        assert_eq!(office(&zip(&[("a.txt", b"a")])), None);
        assert_eq!(office(&zip(&[("[Content_Types].xml", b"")])), None);
        assert_eq!(office(&zip(&[("mimetype", b"application/java-archive")])), None);
        assert_eq!(office(&zip(&[])), None);
        let mut cut = zip(&[("[Content_Types].xml", b""), ("word/document.xml", b"")]);
        cut.truncate(cut.len() - 30);
        assert_eq!(office(&cut), None);
    }
}
