//! Passages before the last question of a conversation, and what the answer rests on.

use std::sync::Arc;

use autoglm_retrieve::answer::{AnswerSettings, Documents, attribute, is_chinese};
use autoglm_retrieve::search::{Ranked, Turn, rewrite};
use autoglm_retrieve::store::Store;
use autoglm_spec::{Cancel, Generate};
use autoglm_token::Message;
use serde_json::{Value, json};

use super::Collection;
use super::order::GroundOrder;
use crate::ServerError;
use crate::app::{App, Ticket};
use crate::auth::Reach;
use crate::backend::Backend;
use crate::client::Client;
use crate::work::{admitted, until};

/// What a conversation is grounded on.
#[derive(Debug, Clone)]
pub(crate) struct Ground {
    collection: String,
    /// What was looked for: the question, made to stand alone.
    query: String,
    sources: Vec<Ranked>,
}

/// Puts passages before the last question of a conversation.
///
/// # Errors
/// A conversation whose last turn is not the user's, a collection that is not for the client or not
/// there, a model or a collection that fails.
pub(crate) async fn ground(
    (app, client, reach): (&Arc<App>, &Client, Option<&Reach>),
    order: GroundOrder,
    messages: &mut [Message],
    (backend, ticket): (&Arc<dyn Backend>, &Ticket),
) -> Result<Ground, ServerError> {
    let collection = Collection::of(app, reach, &order.collection)?;
    let (last, before) = match messages.split_last_mut() {
        Some((last, before)) if last.role == "user" => (last, before),
        _ => {
            return Err(ServerError::invalid(
                "messages",
                "a last message that is not the user's",
                "the question for knowledge in the last one",
            ));
        }
    };
    let backend = Arc::clone(backend);
    let permit = admitted(app, client, ticket.deadline).await?;
    let (question, turns) = (last.content.clone(), turns(before));
    let work = move |cancel: &Cancel| {
        let retrieval = Retrieval {
            collection: &collection,
            backend: &*backend,
            order: &order,
            cancel,
        };
        let found = collection.read(|store| retrieval.find(store, &question, &turns))?;
        permit.used(found.2);
        collection.app.metrics().searched(&collection.name);
        let before = found.1.before(&question);
        let ground = Ground {
            collection: collection.name.clone(),
            query: found.0,
            sources: found.1.sources,
        };
        Ok((before, ground))
    };
    let (content, ground) = until(ticket.deadline, app.settings.times, work).await?;
    last.content = content;
    Ok(ground)
}

/// What was asked and answered before.
fn turns(messages: &[Message]) -> Vec<Turn> {
    let mut turns: Vec<Turn> = Vec::new();
    for message in messages {
        match (message.role.as_str(), turns.last_mut()) {
            ("user", _) => turns.push(Turn {
                question: message.content.clone(),
                answer: String::new(),
            }),
            ("assistant", Some(turn)) => turn.answer.clone_from(&message.content),
            _ => {}
        }
    }
    turns
}

/// A search for passages with all that it needs.
struct Retrieval<'a> {
    collection: &'a Collection,
    backend: &'a dyn Backend,
    order: &'a GroundOrder,
    cancel: &'a Cancel,
}

impl Retrieval<'_> {
    /// What was looked for, the passages, and the tokens that were read to find them.
    fn find(
        &self,
        store: &dyn Store,
        question: &str,
        turns: &[Turn],
    ) -> Result<(String, Documents, usize), ServerError> {
        let model = Some(self.backend as &dyn Generate).filter(|_| !turns.is_empty());
        let query = rewrite(model, turns, question, self.cancel);
        let query = query.map_err(self.collection.failed())?;
        let search = (&self.order.search, self.cancel);
        let found = self.collection.find(store, &query, search)?;
        let tokens = |text: &str| self.backend.encode_text(text).len();
        let answer = &self.order.answer;
        let documents = Documents::of(found.passages, &tokens, answer, is_chinese(question));
        Ok((query, documents, found.tokens))
    }
}

impl Ground {
    /// What is told of it with the answer.
    pub(crate) fn told(&self) -> Value {
        json!({
            "collection": self.collection,
            "query": self.query,
            "passages": self.sources,
        })
    }

    /// Which passage each sentence of an answer rests on.
    pub(crate) fn citations(&self, text: &str) -> Value {
        let settings = AnswerSettings::default();
        json!(attribute(text, &self.sources, &self.query, &settings))
    }
}
