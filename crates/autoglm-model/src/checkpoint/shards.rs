//! The weight files of a folder: one, or several with an index that says which tensor lies where.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use serde::Deserialize;

use super::read_limited;
use crate::bytes::in_file;
use crate::error::ModelError;
use crate::gguf::printable;
use crate::safetensors::{SafetensorsFile, StoredTensor, json};

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// The weight files, opened and in agreement with their index.
#[derive(Debug)]
pub(super) struct Shards {
    pub(super) files: Vec<SafetensorsFile>,
}

/// The part of an index that is of use.
#[derive(Deserialize)]
struct Index {
    /// The file of each tensor.
    weight_map: BTreeMap<String, String>,
}

impl Shards {
    pub(super) fn open(folder: &Path) -> Result<Self, ModelError> {
        let index = folder.join(INDEX);
        if index.is_file() {
            let text = read_limited(&index)?;
            return Self::open_indexed(folder, &text).map_err(in_file(&index));
        }
        let single = folder.join(SINGLE);
        if !single.is_file() {
            return Err(in_file(folder)(ModelError::NoWeights));
        }
        let files = vec![SafetensorsFile::open(&single)?];
        Ok(Self { files })
    }

    /// Gives the memory of bytes of a mapped shard back; they can be read again.
    pub(super) fn release(&self, bytes: &[u8]) {
        for file in &self.files {
            file.release(bytes);
        }
    }

    fn open_indexed(folder: &Path, text: &[u8]) -> Result<Self, ModelError> {
        let Index { weight_map } =
            serde_json::from_slice(text).map_err(|error| json("the index", &error))?;
        for (tensor, shard) in &weight_map {
            check_name(tensor, shard)?;
        }
        let mut shards: Vec<&String> = weight_map.values().collect();
        shards.sort_unstable();
        shards.dedup();
        let files = shards
            .iter()
            .map(|shard| SafetensorsFile::open(&folder.join(shard)))
            .collect::<Result<Vec<_>, _>>()?;
        check_agreement(&weight_map, &shards, &files)?;
        Ok(Self { files })
    }

    /// All tensors with the number of the file that they lie in.
    pub(super) fn tensors(&self) -> impl Iterator<Item = (usize, StoredTensor<'_>)> {
        let files = self.files.iter().enumerate();
        files.flat_map(|(shard, file)| file.tensors().map(move |tensor| (shard, tensor)))
    }
}

/// A shard is a file of the folder itself: no path, nothing hidden.
fn check_name(tensor: &str, shard: &str) -> Result<(), ModelError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if shard.ends_with(".safetensors") && !shard.starts_with('.') && shard.chars().all(plain) {
        return Ok(());
    }
    Err(ModelError::ShardName {
        tensor: printable(tensor),
        found: printable(shard),
    })
}

/// Every tensor lies in the one file that the index names, and in no other.
fn check_agreement(
    stated: &BTreeMap<String, String>,
    shards: &[&String],
    files: &[SafetensorsFile],
) -> Result<(), ModelError> {
    let disagree = |tensor: &str, stated: &str, found: &str| ModelError::WrongShard {
        tensor: printable(tensor),
        stated: stated.to_owned(),
        found: found.to_owned(),
    };
    let mut found: HashMap<&str, &str> = HashMap::new();
    for (shard, file) in shards.iter().zip(files) {
        for tensor in file.tensors() {
            let stated = stated.get(tensor.name).map_or("nowhere", String::as_str);
            if stated != shard.as_str() {
                return Err(disagree(tensor.name, stated, shard));
            }
            found.insert(tensor.name, shard);
        }
    }
    match stated
        .iter()
        .find(|(tensor, _)| !found.contains_key(tensor.as_str()))
    {
        Some((tensor, shard)) => Err(disagree(tensor, shard, "nowhere")),
        None => Ok(()),
    }
}
