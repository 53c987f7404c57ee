//! The file of keys: TOML that people may edit, with the hashes of keys in it.
//!
//! Adding writes behind what is there and removing cuts one entry out, so that comments stay.

use std::num::NonZeroU32;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use toml::value::Datetime;

use super::date;
use super::key::{KEY_PREFIX, KeyHash};
use super::scope::Scope;
use crate::SetupError;
use crate::tls::SpiffePattern;

/// What each entry begins with.
const ENTRY: &str = "[[key]]";
const MOST_ID_BYTES: usize = 64;

/// What tells that a client is the one that an entry is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// A key, of which the hash is kept.
    Key(KeyHash),
    /// A client certificate with such a SPIFFE id.
    Spiffe(SpiffePattern),
}

/// How much a client may ask for; nothing is no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyLimits {
    /// Requests a minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_minute: Option<NonZeroU32>,
    /// Tokens a minute, of prompts and answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_per_minute: Option<NonZeroU32>,
    /// Requests at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrent_requests: Option<NonZeroU32>,
}

/// An entry of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyEntry {
    /// What the client is called in logs and metrics.
    pub id: String,
    /// What tells that it is this client.
    pub credential: Credential,
    /// What the key is for.
    pub scopes: Vec<Scope>,
    /// The models that may be used; none is all.
    pub models: Option<Vec<String>>,
    /// The collections of documents that may be used; none is all.
    pub collections: Option<Vec<String>>,
    /// How much may be asked for.
    pub limits: KeyLimits,
    /// When the key ends; none is never.
    pub expires: Option<SystemTime>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default)]
    key: Vec<Written>,
}

/// An entry as it is written. Serde cannot both flatten and refuse unknown fields, so the limits
/// stand here one by one.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    spiffe: Option<String>,
    scopes: Vec<Scope>,
    #[serde(skip_serializing_if = "Option::is_none")]
    models: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    collections: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    requests_per_minute: Option<NonZeroU32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tokens_per_minute: Option<NonZeroU32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    concurrent_requests: Option<NonZeroU32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<Datetime>,
}

/// The entries of a file of keys.
///
/// # Errors
/// A text that is no such file, and entries that cannot hold; none names what a field holds.
pub fn parse_keys(text: &str) -> Result<Vec<KeyEntry>, SetupError> {
    let document: Document = toml::from_str(text).map_err(|error| form_error(text, &error))?;
    let mut entries: Vec<KeyEntry> = Vec::with_capacity(document.key.len());
    for written in document.key {
        let entry = written.entry()?;
        let is_same =
            |other: &KeyEntry| other.id == entry.id || other.credential == entry.credential;
        if entries.iter().any(is_same) {
            return Err(SetupError::KeyTwice { id: entry.id });
        }
        entries.push(entry);
    }
    Ok(entries)
}

/// The text of a file with one more entry.
///
/// # Errors
/// An entry that cannot hold, or whose id or key is there already; a text that is no such file.
pub fn add_key(text: &str, entry: &KeyEntry) -> Result<String, SetupError> {
    let document = Document {
        key: vec![Written::from(entry)],
    };
    let added = toml::to_string(&document).map_err(|error| SetupError::KeysForm {
        line: 1,
        problem: error.to_string(),
    })?;
    let before = text.trim_end();
    let gap = if before.is_empty() { "" } else { "\n\n" };
    let text = format!("{before}{gap}{added}");
    parse_keys(&text)?;
    Ok(text)
}

/// The text of a file without the entry of this id.
///
/// # Errors
/// An id that is not there; a text that is no such file, or in which the entry cannot be told from
/// the others.
pub fn remove_key(text: &str, id: &str) -> Result<String, SetupError> {
    let mut wanted = parse_keys(text)?;
    let place = wanted.iter().position(|entry| entry.id == id);
    let place = place.ok_or_else(|| SetupError::NoSuchKey { id: id.to_owned() })?;
    wanted.remove(place);
    let without = without_entry(text, place);
    if parse_keys(&without).is_ok_and(|found| found == wanted) {
        return Ok(without);
    }
    Err(SetupError::KeyEntry {
        id: id.to_owned(),
        field: "its place in the file",
        wanted: "from a line [[key]] to the next, so that it can be taken out",
    })
}

/// The lines of a text but for those from one `[[key]]` to the next.
fn without_entry(text: &str, place: usize) -> String {
    let mut entries = 0;
    let kept = text.split_inclusive('\n').filter(|line| {
        entries += usize::from(line.trim_start().starts_with(ENTRY));
        entries != place + 1
    });
    kept.collect()
}

/// What is wrong, without the text of the line.
fn form_error(text: &str, error: &toml::de::Error) -> SetupError {
    let start = error
        .span()
        .map_or(0, |span| text.floor_char_boundary(span.start));
    SetupError::KeysForm {
        line: text[..start].matches('\n').count() + 1,
        problem: without_quoted(error.message()),
    }
}

/// A message without what stands in double quotes: the values that it is about.
fn without_quoted(message: &str) -> String {
    let parts = message.split('"').enumerate();
    let parts = parts.map(|(number, part)| if number % 2 == 0 { part } else { "…" });
    parts.collect()
}

impl Written {
    fn entry(self) -> Result<KeyEntry, SetupError> {
        let credential = self.credential()?;
        if !self.has_fit_id() {
            return Err(self.wrong(
                "id",
                "1 to 64 letters, digits and any of -_.@, and not the key",
            ));
        }
        if self.scopes.is_empty() {
            return Err(self.wrong(
                "scopes",
                "at least one of models, tasks, knowledge, metrics, admin",
            ));
        }
        let expires = match &self.expires {
            None => None,
            Some(written) => Some(date::time(written).ok_or_else(|| {
                self.wrong(
                    "expires",
                    "a date, or a time with an offset such as 2027-01-01T00:00:00Z",
                )
            })?),
        };
        Ok(KeyEntry {
            id: self.id,
            credential,
            scopes: self.scopes,
            models: self.models,
            collections: self.collections,
            limits: KeyLimits {
                requests_per_minute: self.requests_per_minute,
                tokens_per_minute: self.tokens_per_minute,
                concurrent_requests: self.concurrent_requests,
            },
            expires,
        })
    }

    fn credential(&self) -> Result<Credential, SetupError> {
        match (&self.sha256, &self.spiffe) {
            (Some(hex), None) => match KeyHash::from_hex(hex) {
                Some(hash) => Ok(Credential::Key(hash)),
                None => Err(self.wrong("sha256", "64 hexadecimal digits, the SHA-256 of the key")),
            },
            (None, Some(pattern)) => Ok(Credential::Spiffe(pattern.parse()?)),
            _ => Err(self.wrong("sha256", "given, or spiffe in its place")),
        }
    }

    /// Ids stand in logs, in labels of metrics, and before the slash of a user's name; a key must
    /// not.
    fn has_fit_id(&self) -> bool {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.@".contains(&byte);
        let length = 1..=MOST_ID_BYTES;
        length.contains(&self.id.len())
            && self.id.bytes().all(fits)
            && !self.id.starts_with(KEY_PREFIX)
    }

    fn wrong(&self, field: &'static str, wanted: &'static str) -> SetupError {
        let id = if self.has_fit_id() { &self.id } else { "?" };
        SetupError::KeyEntry {
            id: id.to_owned(),
            field,
            wanted,
        }
    }
}

impl From<&KeyEntry> for Written {
    fn from(entry: &KeyEntry) -> Self {
        let (sha256, spiffe) = match &entry.credential {
            Credential::Key(hash) => (Some(hash.hex()), None),
            Credential::Spiffe(pattern) => (None, Some(pattern.to_string())),
        };
        Self {
            id: entry.id.clone(),
            sha256,
            spiffe,
            scopes: entry.scopes.clone(),
            models: entry.models.clone(),
            collections: entry.collections.clone(),
            requests_per_minute: entry.limits.requests_per_minute,
            tokens_per_minute: entry.limits.tokens_per_minute,
            concurrent_requests: entry.limits.concurrent_requests,
            expires: entry.expires.map(date::written),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn entry(id: &str) -> KeyEntry {
        KeyEntry {
            id: id.to_owned(),
            credential: Credential::Key(KeyHash::of(id)),
            scopes: vec![Scope::Models, Scope::Tasks],
            models: Some(vec!["glm-4-9b".to_owned()]),
            collections: None,
            limits: KeyLimits {
                requests_per_minute: NonZeroU32::new(60),
                ..KeyLimits::default()
            },
            expires: Some(UNIX_EPOCH + Duration::from_hours(500_000)),
        }
    }

    #[test]
    fn what_is_added_is_read_and_what_is_removed_is_gone_and_comments_stay() {
        let first = add_key("# Keys of the team.\n", &entry("a")).unwrap();
        let text = add_key(&first, &entry("b")).unwrap();
        let text = text.replace("id = \"b\"", "id = \"b\" # for the night shift");
        assert_eq!(parse_keys(&text).unwrap(), [entry("a"), entry("b")]);
        let left = remove_key(&text, "a").unwrap();
        assert_eq!(parse_keys(&left).unwrap(), [entry("b")]);
        assert!(left.starts_with("# Keys of the team.\n"), "{left}");
        assert!(left.contains("# for the night shift"), "{left}");
        let none = remove_key(&left, "b").unwrap();
        assert_eq!(parse_keys(&none).unwrap(), []);
    }

    #[test]
    fn an_entry_that_cannot_be_cut_out_is_left_with_an_error() {
        let text = add_key("", &entry("a")).unwrap();
        let text = text.replace(ENTRY, "[[ key ]]");
        assert!(parse_keys(&text).is_ok());
        assert!(remove_key(&text, "a").is_err());
    }

    #[test]
    fn an_id_and_a_key_are_there_once() {
        let text = add_key("", &entry("a")).unwrap();
        let same_key = KeyEntry {
            id: "other".to_owned(),
            ..entry("a")
        };
        for twice in [&entry("a"), &same_key] {
            let error = add_key(&text, twice).unwrap_err();
            assert!(matches!(error, SetupError::KeyTwice { .. }), "{error}");
        }
    }

    #[test]
    fn wrong_files_are_told_with_the_place_and_never_with_a_key() {
        let hash = KeyHash::of("x").hex();
        let cases = [
            ("[[key]]\nid = ", "line 2"),
            ("[[key]]\nid = \"a\"\nsecret = \"ag-SECRET\"", "line 3"),
            ("[[key]]\nid = \"a\"\nscopes = \"ag-SECRET\"", "line 3"),
            (
                "[[key]]\nid = \"a\"\nsha256 = \"ag-SECRET\"\nscopes = [\"models\"]",
                "64 hexadecimal",
            ),
            (
                "[[key]]\nid = \"ag-SECRET\"\nsha256 = \"HASH\"\nscopes = []",
                "not the key",
            ),
            (
                "[[key]]\nid = \"a/b\"\nsha256 = \"HASH\"\nscopes = [\"models\"]",
                "letters",
            ),
            (
                "[[key]]\nid = \"a\"\nsha256 = \"HASH\"\nscopes = []",
                "at least one",
            ),
            (
                "[[key]]\nid = \"a\"\nsha256 = \"HASH\"\nscopes = [\"all\"]",
                "line 4",
            ),
            (
                "[[key]]\nid = \"a\"\nscopes = [\"models\"]",
                "given, or spiffe",
            ),
            (
                "[[key]]\nid = \"a\"\nspiffe = \"x\"\nscopes = [\"models\"]",
                "no SPIFFE id",
            ),
            (
                "[[key]]\nid = \"a\"\nsha256 = \"HASH\"\nscopes = [\"models\"]\nrequests_per_minute = 0",
                "line 5",
            ),
            (
                "[[key]]\nid = \"a\"\nsha256 = \"HASH\"\nscopes = [\"models\"]\nexpires = 2027-01-01T00:00:00",
                "an offset",
            ),
        ];
        for (text, wanted) in cases {
            let error = parse_keys(&text.replace("HASH", &hash)).unwrap_err();
            let told = error.to_string();
            assert!(told.contains(wanted), "{told:?} does not say {wanted:?}");
            assert!(!told.contains("SECRET"), "{told}");
        }
    }
}
