//! A response that comes in pieces: each item is opened, filled and closed by events of its own.

use std::sync::Arc;

use autoglm_spec::{Completion, Delta, FinishReason};
use autoglm_token::{AnswerParser, Piece, ToolCall};
use axum::response::Response;
use serde_json::{Value, json};

use super::super::logprobs::Told;
use super::Conversation;
use super::output::{Content, Item, logprobs_of, text_part};
use crate::ServerError;
use crate::app::App;
use crate::events::{Event, EventSource, Step, events};
use crate::work::{Running, Update, blocking};

/// Answers with the events of a response.
pub(super) fn stream(talk: Conversation, app: Arc<App>, running: Running) -> Response {
    events(ResponseStream {
        parser: talk.parser.clone(),
        talk: Arc::new(talk),
        app,
        running,
        number: 0,
        closed: Vec::new(),
        open: None,
        logprobs: Vec::new(),
        begun: false,
    })
}

struct ResponseStream {
    talk: Arc<Conversation>,
    app: Arc<App>,
    running: Running,
    parser: AnswerParser,
    /// The next event's number.
    number: u64,
    /// Items that are whole.
    closed: Vec<Item>,
    /// The item that grows.
    open: Option<Item>,
    /// Probabilities of tokens whose text was not told yet.
    logprobs: Vec<Value>,
    begun: bool,
}

impl EventSource for ResponseStream {
    async fn next(&mut self) -> Result<Step, ServerError> {
        if !self.begun {
            self.begun = true;
            return Ok(Step::Go(self.beginning()));
        }
        match self.running.next().await? {
            Update::Piece(_, delta) => Ok(Step::Go(self.grow(&delta))),
            Update::Done(results) => {
                let completions: Vec<Completion> = results.into_iter().collect::<Result<_, _>>()?;
                self.app.metrics.completed(&self.talk.model, &completions);
                let mut told = self.end(&completions);
                let (talk, app) = (Arc::clone(&self.talk), Arc::clone(&self.app));
                let cut = completions.iter().any(|c| c.finish != FinishReason::Stop);
                let response = blocking(move || talk.conclude(&app, &completions)).await?;
                let name = if cut {
                    "response.incomplete"
                } else {
                    "response.completed"
                };
                told.push(self.event(name, json!({"response": response})));
                Ok(Step::Last(told))
            }
        }
    }

    fn failure(&self, error: &ServerError) -> Event {
        let told = json!({
            "type": "error", "sequence_number": self.number, "code": error.code(),
            "message": error.message(), "param": error.field(),
        });
        Event::named("error", told)
    }
}

impl ResponseStream {
    fn event(&mut self, name: &'static str, mut data: Value) -> Event {
        data["type"] = name.into();
        data["sequence_number"] = self.number.into();
        self.number += 1;
        Event::named(name, data)
    }

    fn beginning(&mut self) -> Vec<Event> {
        let response = self.talk.response(&[], None);
        let told = json!({"response": response});
        vec![
            self.event("response.created", told.clone()),
            self.event("response.in_progress", told),
        ]
    }

    /// What has become known.
    fn grow(&mut self, delta: &Delta) -> Vec<Event> {
        if let Value::Array(more) = logprobs_of(&self.talk, Told::from(delta)) {
            self.logprobs.extend(more);
        }
        let pieces = self.parser.push(&delta.text);
        let mut told = Vec::new();
        self.take(pieces, &mut told);
        told
    }

    fn take(&mut self, pieces: Vec<Piece>, told: &mut Vec<Event>) {
        for piece in pieces {
            match piece {
                Piece::Reasoning(text) => self.think(&text, told),
                Piece::Content(text) => self.say(&text, told),
                Piece::Call(call) => self.call(&call, told),
                // It has come as content, too.
                Piece::Malformed(_) => {}
            }
        }
    }

    fn think(&mut self, text: &str, told: &mut Vec<Event>) {
        let is_open =
            matches!(&self.open, Some(item) if matches!(item.content, Content::Thought(_)));
        if !is_open {
            self.open(Content::Thought(String::new()), "rs_", told);
            // Probabilities are told of words alone.
            self.logprobs.clear();
        }
        if let Some(Item {
            content: Content::Thought(whole),
            ..
        }) = &mut self.open
        {
            whole.push_str(text);
        }
        let data = self.about(json!({"content_index": 0, "delta": text}));
        told.push(self.event("response.reasoning_text.delta", data));
    }

    fn say(&mut self, text: &str, told: &mut Vec<Event>) {
        self.open_words(told);
        let logprobs = std::mem::take(&mut self.logprobs);
        if let Some(Item {
            content:
                Content::Words {
                    text: whole,
                    logprobs: all,
                },
            ..
        }) = &mut self.open
        {
            whole.push_str(text);
            if let Some(all) = all.as_array_mut() {
                all.extend_from_slice(&logprobs);
            }
        }
        let data = json!({"content_index": 0, "delta": text, "logprobs": logprobs});
        let data = self.about(data);
        told.push(self.event("response.output_text.delta", data));
    }

    fn open_words(&mut self, told: &mut Vec<Event>) {
        let is_open =
            matches!(&self.open, Some(item) if matches!(item.content, Content::Words { .. }));
        if is_open {
            return;
        }
        let empty = Content::Words {
            text: String::new(),
            logprobs: json!([]),
        };
        self.open(empty, "msg_", told);
        let part = json!({"content_index": 0, "part": text_part("", &json!([]))});
        let data = self.about(part);
        told.push(self.event("response.content_part.added", data));
    }

    fn call(&mut self, call: &ToolCall, told: &mut Vec<Event>) {
        self.close(told);
        let item = Item::call(&self.talk, self.closed.len(), call);
        let mut empty = item.told("in_progress");
        let arguments = empty["arguments"].take();
        empty["arguments"] = "".into();
        self.open = Some(item);
        let data = json!({"output_index": self.closed.len(), "item": empty});
        told.push(self.event("response.output_item.added", data));
        let data = self.about(json!({"delta": arguments}));
        told.push(self.event("response.function_call_arguments.delta", data));
        let data = self.about(json!({"arguments": arguments, "name": call.name}));
        told.push(self.event("response.function_call_arguments.done", data));
        self.close(told);
    }

    /// Closes what is open and opens an item.
    fn open(&mut self, content: Content, prefix: &str, told: &mut Vec<Event>) {
        self.close(told);
        let id = self.talk.ticket.part_name(prefix, self.closed.len());
        let item = Item { id, content };
        let mut empty = item.told("in_progress");
        empty["content"] = json!([]);
        self.open = Some(item);
        let data = json!({"output_index": self.closed.len(), "item": empty});
        told.push(self.event("response.output_item.added", data));
    }

    /// Closes the item that is open.
    fn close(&mut self, told: &mut Vec<Event>) {
        let Some(item) = self.open.clone() else {
            return;
        };
        match &item.content {
            Content::Words { text, logprobs } => {
                let data = json!({"content_index": 0, "text": text, "logprobs": logprobs});
                let data = self.about(data);
                told.push(self.event("response.output_text.done", data));
                let part = json!({"content_index": 0, "part": text_part(text, logprobs)});
                let data = self.about(part);
                told.push(self.event("response.content_part.done", data));
            }
            Content::Thought(text) => {
                let data = self.about(json!({"content_index": 0, "text": text}));
                told.push(self.event("response.reasoning_text.done", data));
            }
            Content::Call { .. } => {}
        }
        let data = json!({"output_index": self.closed.len(), "item": item.told("completed")});
        told.push(self.event("response.output_item.done", data));
        self.open = None;
        self.closed.push(item);
    }

    /// Data about the item that is open.
    fn about(&self, mut data: Value) -> Value {
        data["output_index"] = self.closed.len().into();
        data["item_id"] = self.open.as_ref().map(|item| item.id.clone()).into();
        data
    }

    /// What was held back, and the end of the item that is open.
    fn end(&mut self, completions: &[Completion]) -> Vec<Event> {
        let mut told = Vec::new();
        let pieces = self.parser.finish();
        self.take(pieces, &mut told);
        if self.closed.is_empty() && self.open.is_none() && !completions.is_empty() {
            // An empty answer is a message, too.
            self.open_words(&mut told);
        }
        self.close(&mut told);
        told
    }
}
