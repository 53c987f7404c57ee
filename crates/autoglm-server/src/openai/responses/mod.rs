//! `/v1/responses`: conversations that the server remembers.

mod input;
mod output;
mod stream;

use std::sync::Arc;

use autoglm_spec::{AttentionPolicy, Completion, Constraint, GenerateRequest, Prompt};
use autoglm_token::{AnswerParser, Message};
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::chat::{take_effort, take_user, take_what_holds_anyway};
use super::format::take_text_format;
use super::sampling::Settings;
use super::tools::{Tools, take_tools};
use crate::ServerError;
use crate::app::{App, Ticket};
use crate::backend::{Backend, Talk};
use crate::client::Client;
use crate::fields::{Fields, quoted};
use crate::http::{json_response, with_origin};
use crate::store::StoredResponse;
use crate::work::{Plan, blocking};

use input::{messages_of, take_input};
use output::{Item, items_of};
use stream::stream;

/// A request as its body has it.
struct ResponsesRequest {
    model: Option<String>,
    instructions: Option<String>,
    /// What is said now, as items.
    input: Vec<Value>,
    previous: Option<String>,
    tools: Tools,
    settings: Settings,
    format: Option<Constraint>,
    max_tokens: Option<usize>,
    thinking: Option<bool>,
    store: bool,
    user: Option<String>,
    /// What is told back as it came.
    echoed: Map<String, Value>,
}

/// Fields that a response tells back, with what stands there where the request has none.
fn told_back() -> [(&'static str, Value); 12] {
    [
        ("instructions", Value::Null),
        ("max_output_tokens", Value::Null),
        ("metadata", json!({})),
        ("parallel_tool_calls", json!(true)),
        ("previous_response_id", Value::Null),
        ("reasoning", json!({"effort": null, "summary": null})),
        ("temperature", json!(1.0)),
        ("text", json!({"format": {"type": "text"}})),
        ("tool_choice", json!("auto")),
        ("tools", json!([])),
        ("top_p", json!(1.0)),
        ("truncation", json!("disabled")),
    ]
}

/// Answers a request.
pub(crate) async fn answer(
    app: Arc<App>,
    client: Client,
    body: Value,
) -> Result<Response, ServerError> {
    let ticket = app.ticket();
    let request = ResponsesRequest::take(body, ticket.seed())?;
    let client = client.with_user(request.user.as_deref());
    let is_streamed = request.settings.stream.is_some();
    let (opened, asking) = (Arc::clone(&app), client.clone());
    let (talk, plan) =
        blocking(move || Conversation::open(&opened, &asking, request, ticket)).await?;
    let running = plan.begin(&app, &client, ticket, is_streamed).await?;
    let origin = running.origin;
    let response = if is_streamed {
        stream(talk, app, running)
    } else {
        let completions = running.completions().await?;
        let told = blocking(move || talk.conclude(&app, &completions)).await?;
        json_response(&told)
    };
    Ok(with_origin(response, origin))
}

/// A response that is remembered.
pub(crate) async fn get(
    app: Arc<App>,
    client: Client,
    id: String,
) -> Result<Response, ServerError> {
    blocking(move || Ok(json_response(&remembered(&app, &client, &id)?.response))).await
}

/// Forgets a response.
pub(crate) async fn delete(
    app: Arc<App>,
    client: Client,
    id: String,
) -> Result<Response, ServerError> {
    blocking(move || {
        let forgotten = match &app.store {
            Some(store) => store.forget_response(&id, client.owner())?,
            None => false,
        };
        if !forgotten {
            return Err(ServerError::NoSuchResponse { id });
        }
        let told = json!({"id": id, "object": "response", "deleted": true});
        Ok(json_response(&told))
    })
    .await
}

fn remembered(app: &App, client: &Client, id: &str) -> Result<StoredResponse, ServerError> {
    let found = match &app.store {
        Some(store) => store.response(id, client.owner())?,
        None => None,
    };
    found.ok_or_else(|| ServerError::NoSuchResponse { id: id.to_owned() })
}

impl ResponsesRequest {
    fn take(body: Value, seed: u64) -> Result<Self, ServerError> {
        let echoed = echo(&body);
        let mut body = Fields::of(body, "")?;
        let model = body.text("model")?;
        let input = take_input(&mut body)?;
        let instructions = body.text("instructions")?;
        let previous = body.text("previous_response_id")?;
        let tools = take_tools(&mut body)?;
        let mut settings = Settings::take(&mut body, seed)?;
        take_include(&mut body, &mut settings)?;
        let format = take_text(&mut body)?;
        let thinking = take_reasoning(&mut body)?;
        let max_tokens = body.whole("max_output_tokens", (1, u64::from(u32::MAX)))?;
        let store = body.flag("store")?.unwrap_or(true);
        let user = take_user(&mut body)?;
        take_metadata(&mut body)?;
        body.word("truncation", &["disabled"])?;
        if body.flag("background")? == Some(true) {
            return Err(ServerError::unsupported(body.path("background"), ""));
        }
        take_what_holds_anyway(&mut body)?;
        check_choices(&settings)?;
        body.finish()?;
        Ok(Self {
            model,
            instructions,
            input,
            previous,
            tools,
            settings,
            format,
            max_tokens: max_tokens.map(|tokens| tokens as usize),
            thinking,
            store,
            user,
            echoed,
        })
    }
}

/// What a response tells back.
fn echo(body: &Value) -> Map<String, Value> {
    let told = told_back().into_iter().map(|(name, default)| {
        let given = body.get(name).filter(|value| !value.is_null());
        (name.to_owned(), given.cloned().unwrap_or(default))
    });
    told.collect()
}

fn check_choices(settings: &Settings) -> Result<(), ServerError> {
    if settings.choices == 1 {
        return Ok(());
    }
    Err(ServerError::unsupported("n", " (a response is one answer)"))
}

/// What more is to be told: log-probabilities alone, and how many of the likeliest.
fn take_include(body: &mut Fields, settings: &mut Settings) -> Result<(), ServerError> {
    let most = super::sampling::MOST_TOP_LOGPROBS;
    let top = body.whole("top_logprobs", (0, most))?;
    settings.decoding.top_logprobs = top.unwrap_or(0) as usize;
    for item in body.list("include", 16)?.unwrap_or_default() {
        match item.as_str() {
            Some("message.output_text.logprobs") => settings.decoding.logprobs = true,
            // Thoughts are told as they are, not encrypted.
            Some("reasoning.encrypted_content") => {}
            _ => {
                let what = quoted(item.as_str().unwrap_or("?"));
                return Err(ServerError::unsupported(format!("include {what}"), ""));
            }
        }
    }
    Ok(())
}

fn take_text(body: &mut Fields) -> Result<Option<Constraint>, ServerError> {
    let Some(mut text) = body.object("text")? else {
        return Ok(None);
    };
    let format = take_text_format(&mut text)?;
    text.word("verbosity", &["medium"])?;
    text.finish()?;
    Ok(format)
}

fn take_reasoning(body: &mut Fields) -> Result<Option<bool>, ServerError> {
    let Some(mut reasoning) = body.object("reasoning")? else {
        return Ok(None);
    };
    let thinking = take_effort(&mut reasoning, "effort")?;
    reasoning.word("summary", &["auto"])?;
    reasoning.finish()?;
    Ok(thinking)
}

/// Up to sixteen texts that are told back.
fn take_metadata(body: &mut Fields) -> Result<(), ServerError> {
    let Some(value) = body.take("metadata") else {
        return Ok(());
    };
    let wanted = "at most 16 texts by name";
    let is_fine = value
        .as_object()
        .is_some_and(|object| object.len() <= 16 && object.values().all(Value::is_string));
    if is_fine {
        return Ok(());
    }
    Err(body.wrong("metadata", &value, wanted))
}

/// A conversation that is being answered.
struct Conversation {
    client: Client,
    model: String,
    ticket: Ticket,
    backend: Arc<dyn Backend>,
    parser: AnswerParser,
    /// Everything that was said before the answer, but for instructions.
    said: Vec<Value>,
    store: bool,
    echoed: Map<String, Value>,
}

impl Conversation {
    fn open(
        app: &App,
        client: &Client,
        request: ResponsesRequest,
        ticket: Ticket,
    ) -> Result<(Self, Plan), ServerError> {
        let (served, backend) = app.writer(request.model.as_deref())?;
        let mut said = match &request.previous {
            Some(id) => remembered(app, client, id)?.conversation,
            None => Vec::new(),
        };
        said.extend(request.input.iter().cloned());
        let talk = talk(&request, &said)?;
        let reading = backend.read(&talk)?;
        let max_tokens = app.answer_tokens(&*backend, reading.tokens.len(), request.max_tokens);
        let generate = GenerateRequest {
            prompt: Prompt::Tokens(reading.tokens),
            max_tokens,
            sampling: request.settings.sampling,
            logit_bias: request.settings.logit_bias.clone(),
            stop: request.settings.stop.clone(),
            constraint: reading.constraint.or(request.format),
            decoding: request.settings.decoding,
            attention: AttentionPolicy::Full,
            adapter: None,
        };
        let conversation = Self {
            client: client.clone(),
            model: served.name.clone(),
            ticket,
            backend: Arc::clone(&backend),
            parser: reading.parser,
            said,
            store: request.store,
            echoed: request.echoed,
        };
        let repeatable = request.settings.is_repeatable();
        let plan = Plan::new(app, &served, backend, vec![generate], repeatable)?;
        Ok((conversation, plan))
    }

    /// The response of an answer, remembered where that is wanted.
    fn conclude(&self, app: &App, completions: &[Completion]) -> Result<Value, ServerError> {
        let completion = completions.first().ok_or_else(|| ServerError::Bug {
            what: "a response without an answer".to_owned(),
        })?;
        let items = items_of(self, completion);
        let response = self.response(&items, Some(completion));
        if let (true, Some(store)) = (self.store, &app.store) {
            let answered = items.iter().map(|item| item.told("completed"));
            let stored = StoredResponse {
                response: response.clone(),
                conversation: self.said.iter().cloned().chain(answered).collect(),
            };
            store.put_response(&self.ticket.name("resp_"), self.client.owner(), &stored)?;
        }
        Ok(response)
    }

    /// The response with these items; in progress while there is no completion.
    fn response(&self, items: &[Item], completion: Option<&Completion>) -> Value {
        output::response(self, items, completion)
    }
}

fn talk(request: &ResponsesRequest, said: &[Value]) -> Result<Talk, ServerError> {
    let mut messages = messages_of(said)?;
    if let Some(instructions) = &request.instructions {
        messages.insert(0, Message::new("system", instructions.clone()));
    }
    Ok(request.tools.clone().talk(messages, request.thinking))
}
