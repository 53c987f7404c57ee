//! A server's key, which nothing shows.

use std::fmt;

use super::error::RemoteError;

/// A key that a server asks for. Neither `Debug` nor any error shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(String);

impl ApiKey {
    /// Takes a key, without the white space around it.
    ///
    /// # Errors
    /// A key that is empty or holds what cannot stand in a header.
    pub fn new(text: &str) -> Result<Self, RemoteError> {
        let key = text.trim();
        if key.is_empty() {
            return Err(RemoteError::Key { reason: "is empty" });
        }
        if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            let reason = "holds a character that cannot be sent, want one word of visible ASCII";
            return Err(RemoteError::Key { reason });
        }
        Ok(Self(key.to_owned()))
    }

    /// The header's value.
    pub(crate) fn bearer(&self) -> String {
        format!("Bearer {}", self.0)
    }

    /// Whether a text holds the key.
    pub(crate) fn is_in(&self, text: &str) -> bool {
        text.contains(&self.0)
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_never_shown() {
        let key = ApiKey::new(" sk-123\n").unwrap();
        assert_eq!(key.bearer(), "Bearer sk-123");
        assert_eq!(
            format!("{key:?} {:#?}", Some(&key)).matches("sk-").count(),
            0
        );
    }

    #[test]
    fn a_key_that_cannot_be_sent_is_refused_without_showing_it() {
        for text in ["", " \n", "sk-1\nx-evil: 1", "schlüssel"] {
            let error = ApiKey::new(text).unwrap_err();
            assert!(!format!("{error:?}{error}").contains("sk-1"), "{text:?}");
        }
    }
}
