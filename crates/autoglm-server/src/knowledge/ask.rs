//! `POST /v1/knowledge/ask`: an answer that rests on a collection, with what each sentence rests on.
//!
//! It does not come in pieces: nothing of it is told before it was checked against its source.

use std::sync::Arc;

use autoglm_retrieve::answer::{Answer, Asker};
use autoglm_retrieve::search::rewrite;
use autoglm_retrieve::store::Store;
use autoglm_spec::{Cancel, Generate, Score};
use axum::response::Response;
use serde_json::{Value, json};

use super::Collection;
use super::order::AskOrder;
use crate::ServerError;
use crate::app::App;
use crate::auth::Reach;
use crate::backend::Backend;
use crate::client::Client;
use crate::http::json_response;
use crate::work::{admitted, until};

/// Answers a request.
pub(super) async fn answer(
    app: Arc<App>,
    client: Client,
    reach: Option<&Reach>,
    body: Value,
) -> Result<Response, ServerError> {
    let ticket = app.ticket();
    let mut order = AskOrder::read(body)?;
    let collection = Collection::of(&app, reach, &order.collection)?;
    if let Some(reach) = reach {
        order.model = reach.settle_model(order.model.take())?;
    }
    let (served, backend) = app.writer(order.model.as_deref())?;
    let permit = admitted(&app, &client, ticket.deadline).await?;
    let id = ticket.name("ask-");
    let model = served.name.clone();
    let work = move |cancel: &Cancel| {
        let asking = Asking {
            collection: &collection,
            backend: &*backend,
            order: &order,
            cancel,
        };
        let asked = collection.read(|store| asking.answer(store))?;
        permit.used(asked.tokens());
        let metrics = collection.app.metrics();
        metrics.asked(&collection.name, outcome(&asked.answer));
        Ok(asked.told(&order, (&id, &model)))
    };
    let told = until(ticket.deadline, app.settings.times, work).await?;
    Ok(json_response(&told))
}

/// A question with all that answers it.
struct Asking<'a> {
    collection: &'a Collection,
    backend: &'a dyn Backend,
    order: &'a AskOrder,
    cancel: &'a Cancel,
}

/// An answer with what was understood.
struct Asked {
    question: String,
    answer: Answer,
    search_tokens: usize,
}

impl Asking<'_> {
    fn answer(&self, store: &dyn Store) -> Result<Asked, ServerError> {
        let failed = self.collection.failed();
        let order = self.order;
        let model = Some(self.backend as &dyn Generate).filter(|_| !order.turns.is_empty());
        let question = rewrite(model, &order.turns, &order.question, self.cancel);
        let question = question.map_err(&failed)?;
        let search = (&order.search, self.cancel);
        let found = self.collection.find(store, &question, search)?;
        let tokens = |text: &str| self.backend.encode_text(text).len();
        let asker = Asker {
            store,
            generate: self.backend as &dyn Generate,
            score: Some(self.backend as &dyn Score),
            tokens: &tokens,
        };
        let answer = asker.answer(&question, found.passages, &order.answer, self.cancel);
        Ok(Asked {
            question,
            answer: answer.map_err(&failed)?,
            search_tokens: found.tokens,
        })
    }
}

impl Asked {
    fn tokens(&self) -> usize {
        let usage = self.answer.usage;
        self.search_tokens + usage.prompt_tokens + usage.completion_tokens
    }

    fn told(&self, order: &AskOrder, (id, model): (&str, &str)) -> Value {
        let Answer {
            text,
            refused,
            quoted,
            sentences,
            sources,
            coverage,
            usage,
        } = &self.answer;
        let mut told = json!({
            "id": id,
            "object": "knowledge.answer",
            "collection": order.collection,
            "model": model,
            "question": self.question,
            "answer": text,
            "refused": refused,
            "quoted": quoted,
            "sentences": sentences,
            "coverage": coverage,
            "usage": {
                "prompt_tokens": usage.prompt_tokens,
                "completion_tokens": usage.completion_tokens,
                "total_tokens": usage.prompt_tokens + usage.completion_tokens,
            },
        });
        if order.explain {
            told["sources"] = json!(sources);
        }
        told
    }
}

/// What became of a question, for counters.
fn outcome(answer: &Answer) -> &'static str {
    answer.refused.map_or("answered", |refused| refused.word())
}
