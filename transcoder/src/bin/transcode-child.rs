//! `lectern transcode` alone, for this crate's tests.

fn main() -> Result<(), transcoder::Error> {
    transcoder::child()
}
