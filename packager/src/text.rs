//! Text as it is sent: plain or gzipped.
//!
//! A [`Rope`] is text that only ever grows at its end, compressed as it grows. With it a playlist of a thousand
//! segments costs a new version no more than its last few lines: gzip is a deflate stream between a header and a
//! checksum, a deflate stream may be continued by another, and checksums of pieces combine.

use std::sync::Arc;

use bytes::Bytes;
use flate2::{Compress, Compression, Crc, FlushCompress};

/// RFC 1952 2.3: magic, deflate, no flags, no time, no extra flags, unknown system.
const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];

/// A text that does not change.
#[derive(Clone, Debug)]
pub struct Text {
    pub plain: Bytes,
    pub gzip: Bytes,
}

impl Text {
    pub fn of(plain: impl Into<Bytes>) -> Text {
        let plain = plain.into();
        Text {
            gzip: gzip(&plain),
            plain,
        }
    }
}

pub fn gzip(plain: &[u8]) -> Bytes {
    Strand::default().gzip_with(plain)
}

/// Text waits until there is this much: a flush after every few lines would spoil the compression.
const FLUSH: usize = 4096;

pub struct Rope {
    /// What is compressed already.
    flushed: Arc<Vec<Length>>,
    /// What is not.
    waiting: Vec<u8>,
    deflate: Compress,
    crc: Crc,
}

/// A length of rope that does not change any more: shared by every strand that holds it.
#[derive(Clone, Debug)]
struct Length {
    plain: Bytes,
    /// Its deflate blocks, up to a whole byte.
    deflated: Bytes,
}

impl Rope {
    pub fn new(head: &str) -> Rope {
        let mut rope = Rope {
            flushed: Arc::default(),
            waiting: Vec::new(),
            deflate: Compress::new(Compression::default(), false),
            crc: Crc::new(),
        };
        rope.push(head);
        rope
    }

    pub fn push(&mut self, text: &str) {
        self.waiting.extend_from_slice(text.as_bytes());
        self.crc.update(text.as_bytes());
        if self.waiting.len() >= FLUSH {
            self.flush();
        }
    }

    fn flush(&mut self) {
        let plain = Bytes::from(std::mem::take(&mut self.waiting));
        let mut deflated = Vec::new();
        // A sync flush ends on a byte, so that another deflate stream can go on there.
        deflate(&mut self.deflate, &plain, &mut deflated, FlushCompress::Sync);
        let deflated = deflated.into();
        Arc::make_mut(&mut self.flushed).push(Length { plain, deflated });
    }

    /// The text as it stands.
    pub fn strand(&self) -> Strand {
        Strand {
            flushed: self.flushed.clone(),
            waiting: Bytes::copy_from_slice(&self.waiting),
            crc: Arc::new(followed_by(&Crc::new(), &self.crc)),
        }
    }
}

/// A rope at one moment; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Strand {
    flushed: Arc<Vec<Length>>,
    waiting: Bytes,
    crc: Arc<Crc>,
}

impl Strand {
    pub fn plain_with(&self, tail: &[u8]) -> Bytes {
        let flushed = self.flushed.iter().map(|length| &length.plain[..]);
        let all: Vec<&[u8]> = flushed.chain([&self.waiting[..], tail]).collect();
        all.concat().into()
    }

    pub fn gzip_with(&self, tail: &[u8]) -> Bytes {
        let rest = [&self.waiting[..], tail].concat();
        let deflated = self.flushed.iter().map(|length| &length.deflated[..]);
        let length: usize = deflated.clone().map(<[u8]>::len).sum();
        let mut out = Vec::with_capacity(length + rest.len() / 2 + 64);
        out.extend_from_slice(&GZIP_HEADER);
        deflated.for_each(|blocks| out.extend_from_slice(blocks));
        deflate(
            &mut Compress::new(Compression::default(), false),
            &rest,
            &mut out,
            FlushCompress::Finish,
        );
        let mut last = Crc::new();
        last.update(tail);
        let crc = followed_by(&self.crc, &last);
        out.extend_from_slice(&crc.sum().to_le_bytes());
        out.extend_from_slice(&crc.amount().to_le_bytes());
        out.into()
    }
}

/// The checksum (and length) of two pieces, one after the other.
fn followed_by(first: &Crc, second: &Crc) -> Crc {
    let mut both = Crc::new();
    both.combine(first);
    both.combine(second);
    both
}

fn deflate(state: &mut Compress, mut input: &[u8], out: &mut Vec<u8>, flush: FlushCompress) {
    loop {
        out.reserve(1024 + input.len() / 2);
        let before = state.total_in();
        // The only error is a state that was finished before, and none is used again after that.
        let status = state.compress_vec(input, out, flush);
        input = &input[(state.total_in() - before) as usize..];
        // Room left in the output means that nothing is held back.
        let done = input.is_empty() && out.len() < out.capacity();
        match status {
            Ok(flate2::Status::Ok) if !done || matches!(flush, FlushCompress::Finish) => {}
            _ => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Read;

    fn gunzip(bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut decoder = flate2::read::GzDecoder::new(bytes);
        decoder.read_to_end(&mut out).unwrap();
        assert!(
            decoder.into_inner().is_empty(),
            "nothing follows the one gzip member"
        );
        out
    }

    proptest! {
        /// At every moment and with any tail, what is unzipped is what was written.
        #[test]
        fn a_rope_is_its_pieces(
            pieces in prop::collection::vec("[ -~\n]{0,4000}", 0..12),
            tail in "[ -~\n]{0,8000}",
        ) {
            let mut rope = Rope::new("#EXTM3U\n");
            let mut whole = String::from("#EXTM3U\n");
            for piece in &pieces {
                rope.push(piece);
                whole.push_str(piece);
                let now = format!("{whole}{tail}").into_bytes();
                let strand = rope.strand();
                prop_assert_eq!(&strand.plain_with(tail.as_bytes())[..], &now[..]);
                prop_assert_eq!(gunzip(&strand.gzip_with(tail.as_bytes())), now);
            }
        }

        #[test]
        fn text_unzips(text in "\\PC{0,20000}") {
            prop_assert_eq!(gunzip(&Text::of(text.clone()).gzip), text.into_bytes());
        }
    }

    #[test]
    fn a_long_playlist_is_small() {
        let mut rope = Rope::new("");
        for msn in 0..3_000 {
            rope.push(&format!(
                "#EXT-X-PROGRAM-DATE-TIME:2026-11-20T{:02}:{:02}:{:02}.{:03}Z\n#EXTINF:3.20000,\n{msn}.m4s\n",
                msn / 1125,
                msn / 19 % 60,
                msn * 3 % 60,
                msn * 200 % 1000,
            ));
        }
        let strand = rope.strand();
        let (plain, gzip) = (strand.plain_with(b"").len(), strand.gzip_with(b"").len());
        assert!(gzip * 5 < plain, "{gzip} of {plain}");
    }
}
