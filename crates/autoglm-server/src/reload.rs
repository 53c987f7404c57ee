//! Files that are read again while the server runs: whether they have changed is told by their
//! contents, and contents that cannot be used leave those that are in use.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};
use tokio::time::MissedTickBehavior;

use crate::SetupError;

/// Tells the time.
pub type Clock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

/// What looking at files again came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reload {
    /// They hold what they held when they were last looked at, be it usable or not.
    Unchanged,
    /// What they hold now is in use.
    Changed,
}

/// Looks at files again and again, for ever, and tells each change once: that new contents are in
/// use, or why they cannot be.
pub async fn follow(
    every: Duration,
    check: impl Fn() -> Result<Reload, SetupError> + Send + Sync + 'static,
    tell: impl Fn(Result<(), SetupError>),
) {
    let check = Arc::new(check);
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let check = Arc::clone(&check);
        // A file may lie on a disk that is slow to answer.
        match tokio::task::spawn_blocking(move || check()).await {
            Ok(Ok(Reload::Changed)) => tell(Ok(())),
            Ok(Err(error)) => tell(Err(error)),
            Ok(Ok(Reload::Unchanged)) | Err(_) => {}
        }
    }
}

/// The contents that were seen last, as a hash.
#[derive(Default)]
pub(crate) struct Seen(Mutex<[u8; 32]>);

impl Seen {
    /// Contents that are seen now.
    pub(crate) fn of(contents: &[io::Result<Vec<u8>>]) -> Self {
        Self(Mutex::new(hash(contents)))
    }

    /// Runs `use_them` where the contents are others than those that were seen last.
    pub(crate) fn when_new(
        &self,
        contents: &[io::Result<Vec<u8>>],
        use_them: impl FnOnce() -> Result<(), SetupError>,
    ) -> Result<Reload, SetupError> {
        // Held while they are used, so that of two that look at once the later one is the last.
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = hash(contents);
        if *seen == found {
            return Ok(Reload::Unchanged);
        }
        *seen = found;
        use_them().map(|()| Reload::Changed)
    }
}

fn hash(contents: &[io::Result<Vec<u8>>]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for content in contents {
        match content {
            Ok(bytes) => {
                hash.update((bytes.len() as u64).to_le_bytes());
                hash.update(bytes);
            }
            Err(error) => hash.update(format!("{:?}", error.kind())),
        }
    }
    hash.finalize().into()
}

/// What a file holds.
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    fs::read(path)
}

/// The contents, or why there are none.
pub(crate) fn held<'a>(
    path: &Path,
    content: &'a io::Result<Vec<u8>>,
) -> Result<&'a [u8], SetupError> {
    content.as_deref().map_err(|error| SetupError::Read {
        path: path.to_owned(),
        source: error.kind().into(),
    })
}
