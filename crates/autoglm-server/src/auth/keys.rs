//! The keys that hold now.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use super::account::Account;
use super::file::{Credential, KeyEntry, parse_keys};
use super::key::KeyHash;
use super::scope::{Need, Scope};
use crate::reload::{Clock, Reload, Seen, held, read};
use crate::{ServerError, SetupError};

/// The keys of a file, which may change while the server runs. Clones are the same keys.
#[derive(Clone)]
pub struct Keys(Arc<Inner>);

struct Inner {
    path: PathBuf,
    now: Clock,
    seen: Seen,
    grants: RwLock<Arc<[Arc<Grant>]>>,
}

/// What one client may do.
pub(super) struct Grant {
    entry: KeyEntry,
    account: Arc<Account>,
}

impl Keys {
    /// The keys of a file.
    ///
    /// # Errors
    /// A file that cannot be read or is no file of keys.
    pub fn open(path: &Path, now: Clock) -> Result<Self, SetupError> {
        let keys = Self(Arc::new(Inner {
            path: path.to_owned(),
            now,
            seen: Seen::default(),
            grants: RwLock::default(),
        }));
        keys.reload()?;
        Ok(keys)
    }

    /// Reads the file again. Requests that are under way go on; the next ones need keys that hold
    /// now. What clients have used of their limits stays used.
    ///
    /// # Errors
    /// As [`Keys::open`], once for the same contents; the keys that held before hold on.
    pub fn reload(&self) -> Result<Reload, SetupError> {
        let contents = [read(&self.0.path)];
        self.0.seen.when_new(&contents, || self.hold(&contents[0]))
    }

    fn hold(&self, content: &std::io::Result<Vec<u8>>) -> Result<(), SetupError> {
        let text = String::from_utf8_lossy(held(&self.0.path, content)?);
        let entries = parse_keys(&text)?;
        let before = self.grants();
        let grants = entries.into_iter().map(|entry| grant(entry, &before));
        let grants: Arc<[_]> = grants.collect();
        *self
            .0
            .grants
            .write()
            .unwrap_or_else(PoisonError::into_inner) = grants;
        Ok(())
    }

    fn grants(&self) -> Arc<[Arc<Grant>]> {
        let grants = self.0.grants.read();
        Arc::clone(&grants.unwrap_or_else(PoisonError::into_inner))
    }

    /// What the holder of a key may do. All keys are compared, so that the time tells nothing of
    /// them.
    ///
    /// # Errors
    /// A key that is none here, or has ended.
    pub(super) fn by_key(&self, text: &str) -> Result<Arc<Grant>, ServerError> {
        let given = KeyHash::of(text);
        let mut found = None;
        for grant in &*self.grants() {
            if let Credential::Key(hash) = &grant.entry.credential
                && bool::from(hash.is(&given))
            {
                found = Some(Arc::clone(grant));
            }
        }
        let grant = found.ok_or(ServerError::KeyUnknown)?;
        grant.check_time((self.0.now)())?;
        Ok(grant)
    }

    /// What the holder of a certificate may do: the first entry that fits says. None where no
    /// entry does.
    ///
    /// # Errors
    /// An entry that has ended.
    pub(super) fn by_identity(&self, identity: &str) -> Result<Option<Arc<Grant>>, ServerError> {
        let grants = self.grants();
        let fits = |grant: &&Arc<Grant>| match &grant.entry.credential {
            Credential::Spiffe(pattern) => pattern.fits(identity),
            Credential::Key(_) => false,
        };
        let Some(grant) = grants.iter().find(fits) else {
            return Ok(None);
        };
        grant.check_time((self.0.now)())?;
        Ok(Some(Arc::clone(grant)))
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Keys({})", self.0.path.display())
    }
}

/// What an entry grants, on the account that its id has already.
fn grant(entry: KeyEntry, before: &[Arc<Grant>]) -> Arc<Grant> {
    let same = before.iter().find(|grant| grant.entry.id == entry.id);
    let account = match same {
        Some(grant) => {
            grant.account.set_limits(entry.limits);
            Arc::clone(&grant.account)
        }
        None => Arc::new(Account::new(&entry.id, entry.limits)),
    };
    Arc::new(Grant { entry, account })
}

impl Grant {
    pub(super) fn account(&self) -> &Arc<Account> {
        &self.account
    }

    /// The models that may be used; none is all.
    pub(super) fn models(&self) -> Option<&[String]> {
        self.entry.models.as_deref()
    }

    fn check_time(&self, now: SystemTime) -> Result<(), ServerError> {
        match self.entry.expires {
            Some(end) if end <= now => Err(ServerError::KeyExpired {
                client: self.entry.id.clone(),
            }),
            _ => Ok(()),
        }
    }

    /// Whether this may be asked for.
    pub(super) fn check(&self, need: Need) -> Result<(), ServerError> {
        match need {
            Need::Scope(scope) if !self.entry.scopes.contains(&scope) => Err(self.forbidden(scope)),
            _ => Ok(()),
        }
    }

    /// Whether this collection of documents may be used.
    pub(super) fn check_collection(&self, name: &str) -> Result<(), ServerError> {
        let Some(allowed) = &self.entry.collections else {
            return Ok(());
        };
        if allowed.iter().any(|collection| collection == name) {
            return Ok(());
        }
        Err(ServerError::NotForClient {
            client: self.entry.id.clone(),
            what: "collection",
            name: name.to_owned(),
        })
    }

    fn forbidden(&self, scope: Scope) -> ServerError {
        ServerError::NoScope {
            client: self.entry.id.clone(),
            scope,
        }
    }
}
