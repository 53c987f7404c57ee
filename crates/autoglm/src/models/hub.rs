//! Fetches a file from a Hugging Face hub through the hub's own client library.
//!
//! The library downloads and continues what broke off; it does not check what came. So here a
//! download is tried again as long as it makes headway, what cannot be continued is thrown away,
//! and size and checksum are compared with what the hub states.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hf_hub::api::Progress;
use hf_hub::api::sync::{Api, ApiBuilder, ApiError, ApiRepo, Metadata};
use hf_hub::{Cache, Repo, RepoType};
use indicatif::DecimalBytes;

use super::checksum::sha256;
use super::manifest::{Manifest, Source, modified_ns};
use super::packages::remove_folder;
use super::talk::Bar;
use super::{ModelStore, Standing, StoreError};

/// Attempts in a row that bring nothing before a download is given up.
const IDLE_ATTEMPTS: u32 = 4;
/// Downloads from the start that prove damaged before giving up.
const DAMAGED_ATTEMPTS: u32 = 2;
/// How long to wait after an attempt that broke off, doubled for every one that brought nothing.
pub(super) const RETRY_PAUSE: Duration = Duration::from_millis(500);

/// How a hub is reached.
#[derive(Debug, Clone, Default)]
pub struct HubSettings {
    /// The hub's address, where it is not the usual one.
    pub endpoint: Option<String>,
    /// What gives access to repositories that are not public.
    pub token: Option<String>,
}

/// A file on a hub.
#[derive(Debug, Clone)]
pub struct HubFile {
    /// The repository, `owner/name`.
    pub repository: String,
    /// The file's path in it.
    pub file: String,
    /// A branch, a tag or a commit.
    pub revision: String,
}

impl HubFile {
    fn error(&self, reason: &dyn ToString) -> StoreError {
        StoreError::Hub {
            repository: self.repository.clone(),
            file: self.file.clone(),
            reason: reason.to_string(),
        }
    }
}

/// A download in the library's own folder.
struct Download<'a> {
    from: &'a HubFile,
    hub: ApiRepo,
    metadata: Metadata,
    licence: Option<String>,
    blob: PathBuf,
}

impl ModelStore {
    /// Fetches a file from a hub and stores it, unless that very file is here and sound. The
    /// caller holds the model's lock.
    pub(super) fn fetch_from_hub(&self, name: &str, from: &HubFile) -> Result<PathBuf, StoreError> {
        let work = self.work_folder(name)?;
        let download = self.begin(from, &work)?;
        if self.holds(name, &download)? {
            self.talk.say(&format!("the model {name} is here already"));
            return Ok(self.file(name));
        }
        self.talk.say(&format!(
            "fetching {} of {} ({}, licence: {})",
            from.file,
            from.repository,
            DecimalBytes(download.metadata.size() as u64),
            download.licence.as_deref().unwrap_or("not stated")
        ));
        let sha256 = self.download_checked(name, &download)?;
        let path = self.file(name);
        self.put_in_place(&download.blob, &path)?;
        self.record_download(name, &path, &download, sha256)?;
        remove_folder(&work)?;
        self.talk.say(&format!("fetched {}", path.display()));
        Ok(path)
    }

    fn begin<'a>(&self, from: &'a HubFile, work: &Path) -> Result<Download<'a>, StoreError> {
        let api = self.api(work).map_err(|error| from.error(&error))?;
        let repo = Repo::with_revision(
            from.repository.clone(),
            RepoType::Model,
            from.revision.clone(),
        );
        let hub = api.repo(repo.clone());
        let metadata = api
            .metadata(&hub.url(&from.file))
            .map_err(|error| from.error(&error))?;
        // The library makes a file name of it.
        let tag = metadata.etag();
        if tag.is_empty() || !tag.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(from.error(&format!("its ETag is {tag:?}, want letters and digits")));
        }
        Ok(Download {
            licence: licence(&hub),
            blob: Cache::new(work.to_owned()).repo(repo).blob_path(tag),
            from,
            hub,
            metadata,
        })
    }

    /// Whether the file that the hub offers is stored and sound.
    fn holds(&self, name: &str, download: &Download<'_>) -> Result<bool, StoreError> {
        let recorded = Manifest::read(&self.manifest_file(name)).map(|manifest| manifest.sha256);
        Ok(recorded.is_some()
            && recorded == download.stated_sha256()
            && self.standing(name)? == Standing::Sound)
    }

    fn api(&self, work: &Path) -> Result<Api, ApiError> {
        let mut builder = ApiBuilder::from_cache(Cache::new(work.to_owned()))
            .with_token(self.hub.token.clone())
            .with_progress(false);
        if let Some(endpoint) = &self.hub.endpoint {
            builder = builder.with_endpoint(endpoint.trim_end_matches('/').to_owned());
        }
        builder.build()
    }

    /// Downloads until size and checksum are right, and gives the SHA-256.
    fn download_checked(&self, name: &str, download: &Download<'_>) -> Result<String, StoreError> {
        let mut attempt = 1;
        loop {
            self.download(download)?;
            let error = match self.check_download(name, download) {
                Ok(sha256) => return Ok(sha256),
                Err(error) => error,
            };
            download.start_over()?;
            if attempt == DAMAGED_ATTEMPTS {
                return Err(error);
            }
            attempt += 1;
            self.talk
                .say(&format!("{}; downloading again", error.message()));
        }
    }

    /// Downloads the whole file, going on from where an attempt broke off.
    fn download(&self, download: &Download<'_>) -> Result<(), StoreError> {
        let bar = self
            .talk
            .bar(&download.from.file, download.metadata.size() as u64);
        let mut idle = 0;
        while !download.is_complete()? {
            let before = download.part_bytes();
            let progress = HubProgress { bar: &bar, done: 0 };
            let result = download
                .hub
                .download_with_progress(&download.from.file, progress);
            let Err(error) = result else {
                break;
            };
            idle = if download.part_bytes() > before {
                0
            } else {
                idle + 1
            };
            if idle == IDLE_ATTEMPTS {
                return Err(download.from.error(&error));
            }
            self.talk
                .say(&format!("the download broke off ({error}), going on"));
            std::thread::sleep(self.retry_pause * 2_u32.pow(idle));
        }
        Ok(())
    }

    fn check_download(&self, name: &str, download: &Download<'_>) -> Result<String, StoreError> {
        let damaged = |found: String, wanted: String| StoreError::Damaged {
            name: name.to_owned(),
            found,
            wanted,
        };
        let wanted_bytes = download.metadata.size() as u64;
        let found_bytes = file_bytes(&download.blob);
        if found_bytes != wanted_bytes {
            return Err(damaged(
                format!("{found_bytes} bytes"),
                format!("{wanted_bytes} bytes"),
            ));
        }
        let bar = self.talk.bar(&format!("checking {name}"), wanted_bytes);
        let found = sha256(std::slice::from_ref(&download.blob), &bar)?;
        match download.stated_sha256() {
            Some(wanted) if found != wanted => Err(damaged(format!("SHA-256 {found}"), wanted)),
            _ => Ok(found),
        }
    }

    fn record_download(
        &self,
        name: &str,
        path: &Path,
        download: &Download<'_>,
        sha256: String,
    ) -> Result<(), StoreError> {
        let metadata = fs::metadata(path).map_err(StoreError::io("read", path))?;
        let manifest = Manifest {
            source: Source::Hub {
                repository: download.from.repository.clone(),
                file: download.from.file.clone(),
                commit: download.metadata.commit_hash().to_owned(),
            },
            sha256,
            size_bytes: metadata.len(),
            modified_ns: modified_ns(&metadata),
            licence: download.licence.clone(),
        };
        manifest.write(&self.manifest_file(name))
    }
}

impl Download<'_> {
    /// Where the library keeps what has come so far.
    fn part(&self) -> PathBuf {
        self.blob.with_extension("part")
    }

    fn part_bytes(&self) -> u64 {
        file_bytes(&self.part())
    }

    /// Whether everything has come. The library asks for nothing, which is refused, where the
    /// last byte came before it was stopped; and it gives up for ever on too many bytes.
    fn is_complete(&self) -> Result<bool, StoreError> {
        let wanted_bytes = self.metadata.size() as u64;
        let part = self.part();
        if self.blob.is_file() {
            return Ok(true);
        }
        if part.is_file() && self.part_bytes() == wanted_bytes {
            fs::rename(&part, &self.blob).map_err(StoreError::io("rename", &part))?;
            return Ok(true);
        }
        if self.part_bytes() > wanted_bytes {
            fs::remove_file(&part).map_err(StoreError::io("remove", &part))?;
        }
        Ok(false)
    }

    /// Throws away everything that has come.
    fn start_over(&self) -> Result<(), StoreError> {
        match self.blob.parent().and_then(Path::parent) {
            Some(folder) => remove_folder(folder),
            None => Ok(()),
        }
    }

    /// The SHA-256 that the hub states: the `ETag` of large files is one.
    fn stated_sha256(&self) -> Option<String> {
        let tag = self.metadata.etag();
        let is_sha256 = tag.len() == 64 && tag.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_sha256.then(|| tag.to_ascii_lowercase())
    }
}

/// The licence that the repository's card names. A hub that does not tell is no reason to stop.
fn licence(hub: &ApiRepo) -> Option<String> {
    let mut answer = hub.info_request().call().ok()?;
    let info: serde_json::Value = answer.body_mut().read_json().ok()?;
    info["cardData"]["license"].as_str().map(str::to_owned)
}

fn file_bytes(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.len())
}

struct HubProgress<'a> {
    bar: &'a Bar<'a>,
    done: u64,
}

impl Progress for HubProgress<'_> {
    fn init(&mut self, _size: usize, _filename: &str) {
        self.done = 0;
    }

    fn update(&mut self, size: usize) {
        self.done += size as u64;
        self.bar.set(self.done);
    }

    fn finish(&mut self) {}
}
