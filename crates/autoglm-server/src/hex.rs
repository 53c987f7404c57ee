//! Bytes as hexadecimal digits.

use std::fmt::Write;

/// Two digits for each byte.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut digits, byte| {
        // A `String` takes whatever it is given.
        let _ = write!(digits, "{byte:02x}");
        digits
    })
}
