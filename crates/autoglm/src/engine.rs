//! Opening the engine that a command asks for.

use std::num::NonZeroUsize;
use std::path::Path;

use autoglm_engine::{CacheType, LocalEngine, LocalSettings};
use autoglm_model::QuantizedType;
use clap::{Args, ValueEnum};

use crate::models::{Need, resolve_model};

/// Which model runs, and with what of the machine.
#[derive(Debug, Clone, Args)]
pub struct EngineArgs {
    /// A GGUF file, a folder with `config.json` and safetensors, or the name of a model that
    /// `autoglm model list` shows. Without it the default for the kind of answer is used, and
    /// fetched when it is first needed.
    #[arg(long, short = 'm', value_name = "MODEL")]
    pub model: Option<String>,
    /// Compute threads; all processors when not given.
    #[arg(long, value_name = "N")]
    pub threads: Option<NonZeroUsize>,
    /// Token positions that the key/value cache holds for all requests together.
    #[arg(long, value_name = "TOKENS", default_value_t = LocalSettings::DEFAULT_CACHE_TOKENS)]
    pub cache_tokens: usize,
    /// How the cache stores keys and values: q8 takes half the memory of f16.
    #[arg(long, value_name = "TYPE", value_enum, default_value_t = CacheTypeName::F16)]
    pub cache_type: CacheTypeName,
    /// Quantise weights that are floats in the file while they are loaded: q8_0, q4_0, q4_k_m,
    /// f16 or bf16.
    #[arg(long, value_name = "TYPE", value_parser = quantized_type)]
    pub quantize: Option<QuantizedType>,
}

/// Reads the name of a type, in either case.
///
/// # Errors
/// A name that is none of them.
pub fn quantized_type(name: &str) -> Result<QuantizedType, String> {
    let mut types = QuantizedType::ALL.into_iter();
    let known = types.find(|known| known.name().eq_ignore_ascii_case(name));
    known.ok_or_else(|| {
        let names = QuantizedType::ALL.map(QuantizedType::name);
        format!("want one of {}", names.join(", "))
    })
}

/// [`CacheType`] by the names of the command line.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum CacheTypeName {
    /// Half precision.
    F16,
    /// 8-bit integers with a scale for each position and head.
    Q8,
}

impl From<CacheTypeName> for CacheType {
    fn from(name: CacheTypeName) -> Self {
        match name {
            CacheTypeName::F16 => Self::F16,
            CacheTypeName::Q8 => Self::Q8,
        }
    }
}

impl EngineArgs {
    /// Opens the engine, fetching the model where that is needed.
    ///
    /// # Errors
    /// No such model, or a file that is not usable.
    pub fn open(&self, home: &Path, need: Need) -> anyhow::Result<LocalEngine> {
        let path = resolve_model(home, self.model.as_deref(), need)?;
        let settings = LocalSettings {
            threads: self.threads(),
            cache_tokens: self.cache_tokens,
            cache_type: self.cache_type.into(),
            quantize: self.quantize,
        };
        Ok(LocalEngine::open(&path, settings)?)
    }

    fn threads(&self) -> NonZeroUsize {
        self.threads.unwrap_or_else(available_threads)
    }
}

/// As many compute threads as there are processors.
pub fn available_threads() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}
