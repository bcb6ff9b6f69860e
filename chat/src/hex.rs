//! Hashes as text.

use std::fmt::Write;

/// Lower-case, two digits a byte.
pub fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
            // A String takes whatever it is given.
            let _ = write!(text, "{byte:02x}");
            text
        })
}
