//! Keys: 256 random bits, of which only a hash is kept.
//!
//! The hash is plain SHA-256. Slow and salted hashes are for passwords, which can be guessed; a
//! key of 256 random bits cannot, so nothing is gained by them but milliseconds for each request.

use std::fmt;

use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use crate::hex::hex;

/// What keys begin with, so that scanners for leaked secrets know them.
pub(super) const KEY_PREFIX: &str = "ag-";
const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// Digits in base 62 that 256 bits take: 256 / log₂ 62 = 42.995.
const KEY_DIGITS: usize = 43;

/// What is kept of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyHash([u8; 32]);

/// A key that has just been made. Its text is shown once and kept nowhere.
pub struct NewKey {
    text: String,
}

impl NewKey {
    /// A key of random bytes that nobody can guess.
    pub fn of(random: [u8; 32]) -> Self {
        Self {
            text: format!("{KEY_PREFIX}{}", base62(random)),
        }
    }

    /// The key's text, for the eyes of whoever is to use it.
    pub fn reveal(&self) -> &str {
        &self.text
    }

    /// What is kept of it.
    pub fn hash(&self) -> KeyHash {
        KeyHash::of(&self.text)
    }
}

impl fmt::Debug for NewKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("NewKey(…)")
    }
}

impl KeyHash {
    /// The hash of a key's text.
    pub fn of(text: &str) -> Self {
        Self(Sha256::digest(text).into())
    }

    /// From 64 hexadecimal digits.
    pub(super) fn from_hex(text: &str) -> Option<Self> {
        let digits = text.as_bytes();
        if digits.len() != 64 || !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        let mut bytes = [0; 32];
        for (byte, at) in bytes.iter_mut().zip((0..64).step_by(2)) {
            *byte = u8::from_str_radix(&text[at..at + 2], 16).ok()?;
        }
        Some(Self(bytes))
    }

    /// As 64 hexadecimal digits.
    pub(super) fn hex(&self) -> String {
        hex(&self.0)
    }

    /// Whether two are the same, in a time that does not depend on where they differ.
    pub(super) fn is(&self, other: &Self) -> Choice {
        self.0.ct_eq(&other.0)
    }
}

/// A number of 256 bits, most significant byte first, in base 62 with leading zeros.
fn base62(mut number: [u8; 32]) -> String {
    let mut digits = [0; KEY_DIGITS];
    for digit in digits.iter_mut().rev() {
        let mut rest = 0_u32;
        for byte in &mut number {
            let value = rest << 8 | u32::from(*byte);
            *byte = (value / 62) as u8;
            rest = value % 62;
        }
        *digit = DIGITS[rest as usize];
    }
    digits.iter().map(|&digit| char::from(digit)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_numbers_in_base_62_of_one_length() {
        let zeros = "0".repeat(KEY_DIGITS);
        assert_eq!(NewKey::of([0; 32]).reveal(), format!("ag-{zeros}"));
        let mut number = [0; 32];
        number[31] = 61;
        assert!(NewKey::of(number).reveal().ends_with("0z"));
        number[30] = 1;
        // 256 + 61 = 5 · 62 + 7
        assert!(NewKey::of(number).reveal().ends_with("057"));
        assert_eq!(NewKey::of([255; 32]).reveal().len(), 3 + KEY_DIGITS);
        assert!(!NewKey::of([255; 32]).reveal().starts_with("ag-0"));
    }

    #[test]
    fn a_key_is_not_in_its_debug_text_nor_in_what_is_kept() {
        let key = NewKey::of([7; 32]);
        assert!(!format!("{key:?}").contains(&key.reveal()[3..]));
        assert!(!key.hash().hex().contains(&key.reveal()[3..]));
    }

    #[test]
    fn a_hash_is_read_as_it_is_written_and_nothing_else_is_one() {
        let hash = KeyHash::of("ag-1");
        assert_eq!(KeyHash::from_hex(&hash.hex()), Some(hash));
        for wrong in ["", "ag-1", &"é".repeat(32), &"+1".repeat(32)] {
            assert_eq!(KeyHash::from_hex(wrong), None, "{wrong}");
        }
        assert!(bool::from(hash.is(&KeyHash::of("ag-1"))));
        assert!(!bool::from(hash.is(&KeyHash::of("ag-2"))));
    }
}
