//! Requests that cannot be answered are refused before they wait.

use autoglm_spec::{Decoding, EngineError, GenerateRequest, Sampling};
use autoglm_token::TokenId;

/// Refuses settings of a choice that would end a pass in a panic or mean nothing.
pub(crate) fn check_choice(
    request: &GenerateRequest,
    vocabulary_len: usize,
) -> Result<(), EngineError> {
    let bad = |field, given: String, wanted| {
        Err(EngineError::BadRequest {
            field,
            given,
            wanted,
        })
    };
    for &(id, bias) in &request.logit_bias {
        if id as usize >= vocabulary_len {
            let given = format!("the token {id} for a vocabulary of {vocabulary_len}");
            return bad("logit_bias", given, "tokens of the vocabulary");
        }
        if !bias.is_finite() {
            return bad("logit_bias", bias.to_string(), "finite numbers");
        }
    }
    let Sampling {
        presence_penalty,
        frequency_penalty,
        ..
    } = request.sampling;
    if !presence_penalty.is_finite() {
        let given = presence_penalty.to_string();
        return bad("presence_penalty", given, "a finite number");
    }
    if !frequency_penalty.is_finite() {
        let given = frequency_penalty.to_string();
        return bad("frequency_penalty", given, "a finite number");
    }
    let top = request.decoding.top_logprobs;
    if top > Decoding::MAX_TOP_LOGPROBS {
        return bad("top_logprobs", top.to_string(), "at most 20");
    }
    Ok(())
}

/// Refuses tokens that the vocabulary does not have.
pub(crate) fn check_tokens(tokens: &[TokenId], vocabulary_len: usize) -> Result<(), EngineError> {
    match tokens.iter().find(|&&id| id as usize >= vocabulary_len) {
        None => Ok(()),
        Some(id) => Err(EngineError::BadRequest {
            field: "prompt",
            given: format!("the token {id} for a vocabulary of {vocabulary_len}"),
            wanted: "tokens of the vocabulary",
        }),
    }
}

/// Refuses a prompt without tokens.
pub(crate) fn check_not_empty(prompt: &[TokenId]) -> Result<(), EngineError> {
    if prompt.is_empty() {
        return Err(EngineError::BadRequest {
            field: "prompt",
            given: "no token".to_owned(),
            wanted: "at least one token",
        });
    }
    Ok(())
}

/// Refuses options that cannot be told apart.
pub(crate) fn check_options(texts: &[String], options: &[Vec<TokenId>]) -> Result<(), EngineError> {
    let bad = |given: String, wanted| {
        Err(EngineError::BadRequest {
            field: "options",
            given,
            wanted,
        })
    };
    if options.is_empty() {
        return bad("none".to_owned(), "at least one option");
    }
    for (index, option) in options.iter().enumerate() {
        if option.is_empty() {
            return bad(
                format!("an empty option at {index}"),
                "options that are not empty",
            );
        }
        if options[..index].contains(option) {
            return bad(format!("{:?} twice", texts[index]), "options that differ");
        }
    }
    Ok(())
}
