//! The engine on this machine.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use autoglm_engine::{CacheType, LocalEngine, LocalSettings};
use autoglm_model::{Adapter, QuantizedType};
use clap::{Args, ValueEnum};

use crate::models::{Need, resolve_model};

/// Which model runs, and with what of the machine.
#[derive(Debug, Clone, Default, Args)]
pub struct LocalArgs {
    /// A GGUF file, a folder with `config.json` and safetensors, or the name of a model that
    /// `autoglm model list` shows. Without it the default for the kind of answer is used, and
    /// fetched when it is first needed. With --engine URL, the model by the server's name.
    #[arg(long, short = 'm', value_name = "MODEL")]
    pub model: Option<String>,
    /// Compute threads; all processors when not given.
    #[arg(long, value_name = "N")]
    pub threads: Option<NonZeroUsize>,
    /// Token positions that the key/value cache holds for all requests together: 16384 when not
    /// given, or fewer where --memory-limit leaves less room.
    #[arg(long, value_name = "TOKENS")]
    pub cache_tokens: Option<usize>,
    /// How the cache stores keys and values: q8 takes half the memory of f16.
    #[arg(long, value_name = "TYPE", value_enum, default_value_t = CacheTypeName::F16)]
    pub cache_type: CacheTypeName,
    /// What weights, cache and working memory may take together at most, such as 6G or 800M. A
    /// model that does not fit is refused before it is loaded.
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub memory_limit: Option<u64>,
    /// Quantise weights that are floats in the file while they are loaded:
    /// `q8_0`, `q4_0`, `q4_k_m`, `f16` or `bf16`; the last one rounds activations, too, which is fastest
    /// where the processor has AMX.
    #[arg(long, value_name = "TYPE", value_parser = quantized_type)]
    pub quantize: Option<QuantizedType>,
    /// A folder with an adapter of the model as PEFT writes it: LoRA, prompt tuning, P-tuning or
    /// prefix tuning.
    #[arg(long, value_name = "FOLDER")]
    pub adapter: Option<PathBuf>,
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
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub enum CacheTypeName {
    /// Half precision.
    #[default]
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

impl LocalArgs {
    /// Opens the engine, fetching the model where that is needed.
    ///
    /// # Errors
    /// No such model, or a file that is not usable.
    pub fn open(&self, home: &Path, need: Need) -> anyhow::Result<LocalEngine> {
        let path = resolve_model(home, self.model.as_deref(), need)?;
        let engine = LocalEngine::open(&path, self.settings()?)?;
        Ok(match &self.adapter {
            Some(folder) => engine.with_adapter(folder)?,
            None => engine,
        })
    }

    fn settings(&self) -> anyhow::Result<LocalSettings> {
        Ok(LocalSettings {
            threads: self.threads(),
            cache_tokens: self.cache_tokens,
            memory_limit: self.memory_limit,
            cache_type: self.cache_type.into(),
            quantize: self.quantize,
            adapter_bytes: adapter_bytes(self.adapter.as_deref())?,
        })
    }

    fn threads(&self) -> NonZeroUsize {
        self.threads.unwrap_or_else(available_threads)
    }
}

/// The bytes that the adapter in a folder will take.
///
/// # Errors
/// A folder that holds no adapter.
pub(crate) fn adapter_bytes(folder: Option<&Path>) -> anyhow::Result<usize> {
    let bytes = folder.map(Adapter::planned_bytes).transpose()?;
    Ok(bytes.unwrap_or(0))
}

/// As many compute threads as there are processors.
pub fn available_threads() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

/// Bytes, as a number with K, M, G or T behind it: powers of 1,024.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let wanted = || format!("{text:?} is no size, want a number with K, M, G or T such as 6G");
    let digits = text.trim_end_matches(['i', 'B', 'b']);
    let (number, power) = match digits.char_indices().next_back() {
        Some((at, unit)) if unit.is_ascii_alphabetic() => {
            let power = "KMGT".find(unit.to_ascii_uppercase()).ok_or_else(wanted)? + 1;
            (&digits[..at], power)
        }
        _ => (digits, 0),
    };
    let number: f64 = number.trim().parse().map_err(|_| wanted())?;
    let bytes = number * 1024_f64.powi(power as i32);
    if bytes.is_finite() && bytes >= 1.0 {
        Ok(bytes as u64)
    } else {
        Err(wanted())
    }
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes_have_units_of_powers_of_1024() {
        assert_eq!(size("6G"), Ok(6 << 30));
        assert_eq!(size("1.5 GiB"), Ok(3 << 29));
        assert_eq!(size("800m"), Ok(800 << 20));
        assert_eq!(size("4096"), Ok(4096));
    }

    #[test]
    fn what_is_no_size_is_refused_with_what_is_wanted() {
        for text in ["", "G", "six", "-1G", "6X", "0", "infG"] {
            assert!(size(text).unwrap_err().contains("want a number"), "{text}");
        }
    }
}
