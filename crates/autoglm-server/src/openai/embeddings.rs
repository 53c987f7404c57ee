//! `POST /v1/embeddings`.

use std::sync::Arc;

use autoglm_spec::{Embed, Embedding};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::chat::take_user;
use crate::ServerError;
use crate::app::App;
use crate::client::Client;
use crate::fields::Fields;
use crate::http::json_response;
use crate::models::Version;
use crate::work::{admitted, embed};

/// Texts of one request at most, as OpenAI has it.
const MOST_TEXTS: usize = 2_048;

/// Answers a request.
pub(crate) async fn answer(
    app: Arc<App>,
    client: Client,
    body: Value,
) -> Result<Response, ServerError> {
    let ticket = app.ticket();
    let mut body = Fields::of(body, "")?;
    let model = body.text("model")?;
    let texts = take_texts(&mut body, "input", MOST_TEXTS)?;
    let format = body.word("encoding_format", &["float", "base64"])?;
    let dimensions = body.whole("dimensions", (1, 1 << 20))?;
    let user = take_user(&mut body)?;
    body.finish()?;
    let (served, embedder) = app.embedder(model.as_deref())?;
    check_dimensions(dimensions, &*embedder)?;
    let client = client.with_user(user.as_deref());
    let permit = admitted(&app, &client, ticket.deadline).await?;
    let embeddings = embed(
        embedder,
        texts,
        permit,
        (ticket.deadline, app.settings.times),
    )
    .await?;
    let in_base64 = format == Some("base64");
    Ok(json_response(&told(&served, &embeddings, in_base64)))
}

fn check_dimensions(asked: Option<u64>, embedder: &dyn Embed) -> Result<(), ServerError> {
    let has = embedder.space().dimensions;
    match asked {
        Some(asked) if asked as usize != has => Err(ServerError::invalid(
            "dimensions",
            asked.to_string(),
            format!("{has}, which is what the model gives"),
        )),
        _ => Ok(()),
    }
}

/// A text, or a list of texts.
pub(super) fn take_texts(
    body: &mut Fields,
    name: &str,
    most: usize,
) -> Result<Vec<String>, ServerError> {
    let wanted = format!("a string, or a list of 1 to {most} strings");
    let list = match body.need(name)? {
        Value::String(text) => return Ok(vec![text]),
        Value::Array(list) if (1..=most).contains(&list.len()) => list,
        other => return Err(body.wrong(name, &other, &wanted)),
    };
    let text = |value| match value {
        Value::String(text) => Ok(text),
        other => Err(body.wrong(name, &other, &wanted)),
    };
    list.into_iter().map(text).collect()
}

fn told(served: &Version, embeddings: &[Embedding], in_base64: bool) -> Value {
    let numbered = embeddings.iter().enumerate();
    let one = |(index, embedding): (usize, &Embedding)| {
        let vector = if in_base64 {
            let bytes = embedding.vector.iter().flat_map(|x| x.to_le_bytes());
            json!(STANDARD.encode(bytes.collect::<Vec<u8>>()))
        } else {
            json!(embedding.vector)
        };
        json!({"object": "embedding", "index": index, "embedding": vector})
    };
    let tokens: usize = embeddings.iter().map(|embedding| embedding.tokens).sum();
    json!({
        "object": "list",
        "data": numbered.map(one).collect::<Vec<_>>(),
        "model": served.name,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    })
}
