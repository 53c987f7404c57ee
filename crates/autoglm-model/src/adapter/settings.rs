//! What `adapter_config.json` says. A setting that would change the result and is not supported
//! is an error.

use super::lora::LoraSettings;
use crate::checkpoint::Settings;
use crate::error::ModelError;

/// More virtual tokens than any adapter has; a bound for what a file may claim.
const VIRTUAL_TOKENS_LIMIT: usize = 65_536;

/// An adapter's settings.
pub(super) struct AdapterSettings {
    pub(super) method: Method,
}

/// How an adapter was made, with what must be known to read it.
pub(super) enum Method {
    /// Low-rank changes of projections.
    Lora(LoraSettings),
    /// Virtual tokens by their embeddings.
    Embeddings { tokens: usize },
    /// Virtual tokens by their keys and values.
    Prefix { tokens: usize },
}

impl AdapterSettings {
    pub(super) fn parse(text: &[u8]) -> Result<Self, ModelError> {
        Settings::parse(text).and_then(|settings| Self::read(&settings))
    }

    fn read(settings: &Settings) -> Result<Self, ModelError> {
        const KEY: &str = "peft_type";
        settings.expect_nothing("modules_to_save")?;
        let method = match settings.text(KEY)?.as_deref() {
            Some("LORA") => Method::Lora(LoraSettings::read(settings)?),
            Some("PROMPT_TUNING" | "P_TUNING") => Method::Embeddings {
                tokens: tokens(settings)?,
            },
            Some("PREFIX_TUNING") => Method::Prefix {
                tokens: tokens(settings)?,
            },
            _ => {
                let wanted = "LORA, PROMPT_TUNING, P_TUNING or PREFIX_TUNING";
                return Err(settings.wrong(KEY, wanted));
            }
        };
        Ok(Self { method })
    }
}

/// The number of virtual tokens.
fn tokens(settings: &Settings) -> Result<usize, ModelError> {
    const KEY: &str = "num_virtual_tokens";
    if settings.number("num_transformer_submodules")?.unwrap_or(1) != 1 {
        return Err(settings.wrong("num_transformer_submodules", "1: a decoder"));
    }
    let tokens = settings.require_number(KEY)?;
    if (1..=VIRTUAL_TOKENS_LIMIT).contains(&tokens) {
        Ok(tokens)
    } else {
        Err(settings.wrong(KEY, "1 to 65536"))
    }
}
