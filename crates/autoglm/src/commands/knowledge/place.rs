//! Where collections are: files in the data folder, or a database that several machines share.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use anyhow::Context;
use autoglm_retrieve::RetrieveError;
use autoglm_retrieve::store::{PostgresAddress, PostgresLock, PostgresStore, SqliteStore, Store};
use clap::Args;

use super::path_of;
use crate::environment;

/// What names the files of the data folder in place of a database.
const LOCAL: &str = "local";

/// Where collections are kept.
#[derive(Debug, Clone, Default, Args)]
pub struct StoreArgs {
    /// Keep collections in this database of PostgreSQL with pgvector, such as
    /// `postgres://USER@HOST/DATABASE`; else `AUTOGLM_STORE` names it, else they are files in the
    /// data folder. `local` means the files whatever that says.
    #[arg(long, value_name = "URL")]
    store: Option<String>,
    /// Read the database's password from a file; else `PGPASSWORD` holds it, or the address in
    /// `AUTOGLM_STORE`.
    #[arg(long, value_name = "FILE")]
    store_password_file: Option<PathBuf>,
}

impl StoreArgs {
    /// The place that the command line or the environment names.
    ///
    /// # Errors
    /// An address that is none, or one on the command line with a password, a file of a password
    /// that cannot be read.
    pub(crate) fn place(&self, home: &Path) -> anyhow::Result<Place> {
        self.place_in(environment::store(), environment::store_password(), home)
    }

    fn place_in(
        &self,
        variable: Option<String>,
        password: Option<String>,
        home: &Path,
    ) -> anyhow::Result<Place> {
        let address = match (self.store.as_deref(), variable) {
            (Some(LOCAL), _) | (None, None) => return Ok(Place::Files(home.to_owned())),
            (Some(given), _) => {
                let address = PostgresAddress::parse(given)?;
                anyhow::ensure!(
                    !address.has_password(),
                    "a password has no place on a command line\n\
                     hint: --store-password-file FILE, or PGPASSWORD in the environment"
                );
                address
            }
            (None, Some(variable)) => {
                PostgresAddress::parse(&variable).context("AUTOGLM_STORE cannot be used")?
            }
        };
        let password = match &self.store_password_file {
            Some(file) => {
                let text = std::fs::read_to_string(file);
                let text = text.with_context(|| format!("cannot read {}", file.display()))?;
                Some(text.trim_end_matches(['\r', '\n']).to_owned())
            }
            None => password.filter(|_| !address.has_password()),
        };
        Ok(Place::Database(match password {
            Some(password) => address.with_password(&password),
            None => address,
        }))
    }
}

/// A place of collections.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    /// Files in a data folder.
    Files(PathBuf),
    /// A database.
    Database(PostgresAddress),
}

impl Place {
    /// Opens a collection, which is made where there is none.
    ///
    /// # Errors
    /// A file or database that cannot be used.
    pub(crate) fn open(&self, collection: &str) -> Result<Box<dyn Store>, RetrieveError> {
        Ok(match self {
            Self::Files(home) => Box::new(SqliteStore::open(&path_of(home, collection, "sqlite"))?),
            Self::Database(address) => Box::new(PostgresStore::open(address, collection)?),
        })
    }

    /// Opens a collection; none where there is none.
    ///
    /// # Errors
    /// As for [`Place::open`].
    pub(crate) fn find(&self, collection: &str) -> Result<Option<Box<dyn Store>>, RetrieveError> {
        match self {
            Self::Files(home) => {
                let is_there = path_of(home, collection, "sqlite").is_file();
                is_there.then(|| self.open(collection)).transpose()
            }
            Self::Database(address) => {
                let found = PostgresStore::find(address, collection)?;
                Ok(found.map(|store| Box::new(store) as Box<dyn Store>))
            }
        }
    }

    /// Keeps other processes from indexing into a collection as long as the value lives.
    ///
    /// # Errors
    /// Another process that is indexing into it.
    pub(super) fn lock(&self, collection: &str) -> anyhow::Result<Lock> {
        let taken = || format!("another process is indexing into {collection}");
        match self {
            Self::Files(home) => {
                let path = path_of(home, collection, "lock");
                let file = File::create(&path)
                    .with_context(|| format!("cannot write {}", path.display()))?;
                match file.try_lock() {
                    Err(TryLockError::WouldBlock) => anyhow::bail!(taken()),
                    // Not every file system has locks; that is no reason to refuse it.
                    _ => Ok(Lock::File { _file: file }),
                }
            }
            Self::Database(address) => {
                let lock = PostgresLock::take(address, collection)?;
                let lock = lock.with_context(taken)?;
                Ok(Lock::Database {
                    _lock: Box::new(lock),
                })
            }
        }
    }
}

/// What keeps other processes from indexing.
pub(super) enum Lock {
    /// A lock on a file.
    File {
        /// Holds it.
        _file: File,
    },
    /// A lock in a database.
    Database {
        /// Holds it.
        _lock: Box<PostgresLock>,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(store: Option<&str>, variable: Option<&str>) -> anyhow::Result<Place> {
        let args = StoreArgs {
            store: store.map(str::to_owned),
            store_password_file: None,
        };
        args.place_in(variable.map(str::to_owned), None, Path::new("/home"))
    }

    #[test]
    fn the_command_line_goes_before_the_environment() {
        let shown = |store, variable| match place(store, variable).unwrap() {
            Place::Files(_) => "files".to_owned(),
            Place::Database(address) => address.to_string(),
        };
        let (one, other) = (
            "postgres://ann@one:5432/docs",
            "postgres://ann@other:5432/docs",
        );
        assert_eq!(shown(None, None), "files");
        assert_eq!(shown(None, Some(other)), other);
        assert_eq!(shown(Some(one), Some(other)), one);
        assert_eq!(shown(Some("local"), Some(other)), "files");
    }

    #[test]
    fn a_password_comes_from_the_environment_or_a_file_and_not_from_the_command_line() {
        let with = "postgres://ann:hidden@one/docs";
        let told = format!("{:#}", place(Some(with), None).unwrap_err());
        assert!(told.contains("no place on a command line"), "{told}");
        assert!(!told.contains("hidden"), "{told}");
        let told = format!("{:?}", place(None, Some(with)).unwrap());
        assert!(!told.contains("hidden"), "{told}");
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("password");
        std::fs::write(&file, "hidden\n").unwrap();
        let args = StoreArgs {
            store: Some("postgres://ann@one/docs".to_owned()),
            store_password_file: Some(file),
        };
        let place = args.place_in(None, None, Path::new("/home")).unwrap();
        let Place::Database(address) = place else {
            panic!("want a database")
        };
        assert!(address.has_password());
    }
}
