//! The files that `sentence-transformers` puts beside a model: which of the hidden states make the
//! vector of a text, and how long a text may be.

use std::path::{Component, Path};

use serde_json::Value;

use super::{Metadata, Settings, read_limited};
use crate::bytes::in_file;
use crate::error::ModelError;
use crate::gguf::{printable, wrong_value};
use crate::safetensors::json;

/// Tokens of a text at most where the model has more positions than it was trained with: a key of
/// ours.
pub(crate) const TEXT_TOKENS_KEY: &str = "autoglm.text_tokens";

/// Reads the files that the folder has into metadata.
///
/// # Errors
/// A file that is not well formed, or a step between text and vector that is not supported.
pub(super) fn read(folder: &Path, metadata: &mut Metadata) -> Result<(), ModelError> {
    let modules = folder.join("modules.json");
    if modules.is_file() {
        let list = serde_json::from_slice(&read_limited(&modules)?)
            .map_err(|error| in_file(&modules)(json("the list of modules", &error)))?;
        if let Some(path) = pooling_folder(&list).map_err(in_file(&modules))? {
            let path = folder.join(path).join("config.json");
            let settings = Settings::parse(&read_limited(&path)?).map_err(in_file(&path))?;
            let number = pooling_type(&settings).map_err(in_file(&path))?;
            metadata.set("pooling_type", number);
        }
    }
    let limits = folder.join("sentence_bert_config.json");
    if limits.is_file() {
        let settings = Settings::parse(&read_limited(&limits)?).map_err(in_file(&limits))?;
        read_limits(&settings, metadata).map_err(in_file(&limits))?;
    }
    Ok(())
}

fn read_limits(settings: &Settings, metadata: &mut Metadata) -> Result<(), ModelError> {
    settings.expect_boolean("do_lower_case", false)?;
    match settings.number("max_seq_length")? {
        Some(0) => Err(settings.wrong("max_seq_length", "at least 1")),
        Some(tokens) => {
            metadata.set_shared(TEXT_TOKENS_KEY, tokens);
            Ok(())
        }
        None => Ok(()),
    }
}

/// The folder of the module that pools, where there is one. Normalisation is what we do anyway.
fn pooling_folder(list: &Value) -> Result<Option<&str>, ModelError> {
    let mut pooling = None;
    for module in list.as_array().map_or(&[][..], Vec::as_slice) {
        let path = module["path"].as_str().unwrap_or_default();
        let kind = module["type"].as_str().unwrap_or_default();
        let wrong = |key: &str, wanted| {
            let found = printable(&module[key].to_string());
            wrong_value(&format!("modules.{key}"), found, wanted)
        };
        match kind.rsplit('.').next().unwrap_or_default() {
            "Transformer" if !path.is_empty() => {
                return Err(wrong(
                    "path",
                    "an empty path: the model lies in the folder itself",
                ));
            }
            "Transformer" | "Normalize" => {}
            "Pooling" if is_inside(path) => pooling = Some(path),
            "Pooling" => return Err(wrong("path", "a folder beside the model")),
            _ => return Err(wrong("type", "Transformer, Pooling or Normalize")),
        }
    }
    Ok(pooling)
}

/// Whether a path from a file names a folder within that of the file.
fn is_inside(path: &str) -> bool {
    let mut parts = Path::new(path).components();
    !path.is_empty() && parts.all(|part| matches!(part, Component::Normal(_)))
}

/// GGUF's number of the only mode that is on.
fn pooling_type(settings: &Settings) -> Result<usize, ModelError> {
    const MODE: &str = "pooling_mode";
    const WANTED: &str = "one mode: mean_tokens, cls_token or lasttoken";
    let mut modes = Vec::new();
    if let Some(mode) = settings.text(MODE)? {
        modes.push((MODE, mode));
    }
    for key in settings.keys() {
        if let Some(mode) = key.strip_prefix("pooling_mode_")
            && settings.boolean(key)? == Some(true)
        {
            modes.push((key, mode.to_owned()));
        }
    }
    let [(key, mode)] = modes.as_slice() else {
        let found = modes.iter().map(|(key, _)| *key).collect::<Vec<_>>();
        let found = printable(&format!("{found:?}"));
        return Err(wrong_value(MODE, found, WANTED));
    };
    match mode.as_str() {
        "mean" | "mean_tokens" => Ok(1),
        "cls" | "cls_token" => Ok(2),
        "lasttoken" => Ok(3),
        _ => Err(settings.wrong(key, WANTED)),
    }
}
