//! `POST /tokenize` and `POST /detokenize`.

use std::sync::Arc;

use axum::response::Response;
use serde_json::{Value, json};

use super::messages::take_messages;
use super::tools::take_tools;
use crate::ServerError;
use crate::app::App;
use crate::backend::Talk;
use crate::fields::Fields;
use crate::http::json_response;
use crate::work::blocking;
use autoglm_spec::Prompt;

/// Tokens of a list at most.
const MOST_TOKENS: usize = 1 << 20;

/// The tokens of a text or of a conversation.
pub(crate) async fn tokenize(app: Arc<App>, body: Value) -> Result<Response, ServerError> {
    let mut body = Fields::of(body, "")?;
    let model = body.text("model")?;
    let prompt = body.text("prompt")?;
    let add_special_tokens = body.flag("add_special_tokens")?.unwrap_or(true);
    let talk = match prompt {
        Some(_) => None,
        None => Some(take_talk(&mut body)?),
    };
    body.finish()?;
    blocking(move || {
        let (_, backend) = app.writer(model.as_deref())?;
        let tokens = match (talk, prompt) {
            (Some(talk), _) => backend.read(&talk)?.tokens,
            (None, Some(text)) if add_special_tokens => backend.encode(&Prompt::Plain(text))?,
            (None, text) => backend.encode_text(&text.unwrap_or_default()),
        };
        Ok(json_response(&json!({
            "tokens": tokens,
            "count": tokens.len(),
            "max_model_len": backend.facts().context_tokens,
        })))
    })
    .await
}

fn take_talk(body: &mut Fields) -> Result<Talk, ServerError> {
    let messages = take_messages(body)?;
    Ok(take_tools(body)?.talk(messages, None))
}

/// The text of tokens.
pub(crate) async fn detokenize(app: Arc<App>, body: Value) -> Result<Response, ServerError> {
    let mut body = Fields::of(body, "")?;
    let model = body.text("model")?;
    let tokens = take_tokens(&mut body, "tokens")?;
    body.finish()?;
    blocking(move || {
        let (_, backend) = app.writer(model.as_deref())?;
        let bytes: Vec<u8> = tokens
            .iter()
            .flat_map(|&token| backend.token_bytes(token))
            .collect();
        Ok(json_response(
            &json!({"prompt": String::from_utf8_lossy(&bytes)}),
        ))
    })
    .await
}

fn take_tokens(body: &mut Fields, name: &str) -> Result<Vec<u32>, ServerError> {
    let list = body.list(name, MOST_TOKENS)?;
    let list = list.ok_or_else(|| ServerError::Missing {
        field: body.path(name),
    })?;
    token_ids(list).map_err(|given| body.wrong(name, &given, "a list of token ids"))
}

/// Values as ids of tokens, or the first that is none.
pub(super) fn token_ids(list: Vec<Value>) -> Result<Vec<u32>, Value> {
    let id = |value: Value| {
        value
            .as_u64()
            .and_then(|id| u32::try_from(id).ok())
            .ok_or(value)
    };
    list.into_iter().map(id).collect()
}
