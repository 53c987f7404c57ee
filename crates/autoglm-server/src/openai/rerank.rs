//! `POST /v1/rerank`: documents in the order in which they bear on a query.
//!
//! A model that makes vectors orders them by the cosine with the query's, a model that writes by
//! how much likelier it takes yes than no for the answer to whether the document is relevant.

use std::sync::Arc;

use autoglm_spec::{Embed, Embedding, Normalise, Prompt, Role, ScoreRequest, Scoring, Segment};
use axum::response::Response;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::ServerError;
use crate::admission::Permit;
use crate::app::App;
use crate::backend::{Backend, Skill};
use crate::client::Client;
use crate::fields::Fields;
use crate::http::json_response;
use crate::models::Version;
use crate::work::{TimeLimits, admitted, embed, score};

/// Documents of one request at most.
const MOST_DOCUMENTS: usize = 1_000;

/// Answers a request.
pub(crate) async fn answer(
    app: Arc<App>,
    client: Client,
    body: Value,
) -> Result<Response, ServerError> {
    let ticket = app.ticket();
    let mut body = Fields::of(body, "")?;
    let model = body.text("model")?;
    let query = body.need_text("query")?;
    let documents = take_documents(&mut body)?;
    let top = body.whole("top_n", (1, u64::MAX))?;
    let with_documents = body.flag("return_documents")?.unwrap_or(false);
    body.finish()?;
    let embeds = |version: &Version| matches!(version.skill, Skill::Embed(_));
    let served = app.version(model.as_deref(), embeds)?;
    let permit = admitted(&app, &client, ticket.deadline).await?;
    let limits = (ticket.deadline, app.settings.times);
    let ranked = match app.skill(&served) {
        Skill::Embed(embedder) => by_nearness(embedder, query, &documents, permit, limits).await?,
        Skill::Write(backend) => by_answers(backend, &query, &documents, permit, limits).await?,
    };
    let order = Order {
        served: &served,
        documents: with_documents.then_some(documents),
        top: top.map_or(usize::MAX, |top| top as usize),
    };
    Ok(json_response(&order.told(&ranked)))
}

/// A score a document; more is better.
struct Ranked {
    scores: Vec<f32>,
    tokens: usize,
}

async fn by_nearness(
    embedder: Arc<dyn Embed>,
    query: String,
    documents: &[String],
    permit: Permit,
    limits: (Instant, TimeLimits),
) -> Result<Ranked, ServerError> {
    let similarity = embedder.space().similarity;
    let texts = std::iter::once(query).chain(documents.iter().cloned());
    let vectors = embed(embedder, texts.collect(), permit, limits).await?;
    let of = |document: &Embedding| similarity.of(&vectors[0].vector, &document.vector);
    Ok(Ranked {
        scores: vectors[1..].iter().map(of).collect(),
        tokens: vectors.iter().map(|vector| vector.tokens).sum(),
    })
}

async fn by_answers(
    backend: Arc<dyn Backend>,
    query: &str,
    documents: &[String],
    permit: Permit,
    limits: (Instant, TimeLimits),
) -> Result<Ranked, ServerError> {
    let questions = documents
        .iter()
        .map(|text| question(&*backend, query, text));
    let questions = questions.collect();
    let found = score(backend, questions, permit, limits).await?;
    let yes = |scoring: &Scoring| scoring.options[0].logprob.exp();
    Ok(Ranked {
        scores: found.iter().map(yes).collect(),
        tokens: found
            .iter()
            .map(|scoring| scoring.usage.prompt_tokens)
            .sum(),
    })
}

/// Texts, or objects with one.
fn take_documents(body: &mut Fields) -> Result<Vec<String>, ServerError> {
    let name = "documents";
    let list = body.list(name, MOST_DOCUMENTS)?;
    let list = list.filter(|list| !list.is_empty());
    let list = list.ok_or_else(|| ServerError::Missing {
        field: body.path(name),
    })?;
    let text = |(index, value): (usize, Value)| match value {
        Value::String(text) => Ok(text),
        other => {
            let mut document = Fields::of(other, &format!("{name}[{index}]"))?;
            let text = document.need_text("text")?;
            document.finish()?;
            Ok(text)
        }
    };
    list.into_iter().enumerate().map(text).collect()
}

/// Whether a document bears on a query, as a question.
fn question(backend: &dyn Backend, query: &str, document: &str) -> ScoreRequest {
    let text = format!(
        "Query: {query}\n\nDocument: {document}\n\nIs the document relevant to the query? Answer yes or no."
    );
    let prompt = if backend.facts().chat {
        Prompt::Chat(vec![Segment {
            role: Role::User,
            text,
        }])
    } else {
        Prompt::Plain(format!("{text}\nAnswer:"))
    };
    let space = if backend.facts().chat { "" } else { " " };
    ScoreRequest {
        prompt,
        options: ["yes", "no"]
            .map(|option| format!("{space}{option}"))
            .to_vec(),
        normalise: Normalise::Options,
        states: false,
        adapter: None,
    }
}

struct Order<'a> {
    served: &'a Version,
    documents: Option<Vec<String>>,
    top: usize,
}

impl Order<'_> {
    fn told(&self, ranked: &Ranked) -> Value {
        let scores = &ranked.scores;
        let mut order: Vec<usize> = (0..scores.len()).collect();
        order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
        let one = |&index: &usize| {
            let mut result = json!({"index": index, "relevance_score": scores[index]});
            if let Some(documents) = &self.documents {
                result["document"] = json!({"text": documents[index]});
            }
            result
        };
        json!({
            "model": self.served.name,
            "results": order.iter().take(self.top).map(one).collect::<Vec<_>>(),
            "usage": {"prompt_tokens": ranked.tokens, "total_tokens": ranked.tokens},
        })
    }
}
