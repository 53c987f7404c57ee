//! Who may ask for what: keys from a file, the names of client certificates, or nobody but this
//! machine.

mod account;
mod date;
mod file;
mod guard;
mod key;
mod keys;
mod scope;

pub use file::{Credential, KeyEntry, KeyLimits, add_key, parse_keys, remove_key};
pub use guard::Guard;
pub use key::{KeyHash, NewKey};
pub use keys::Keys;
pub use scope::Scope;

pub(crate) use account::Account;
pub(crate) use guard::{Models, Reach};
