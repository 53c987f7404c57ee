//! `POST /v1/chat/completions`.

use std::sync::Arc;

use autoglm_spec::{
    AttentionPolicy, Completion, Constraint, FinishReason, GenerateRequest, Prompt,
};
use autoglm_token::{AnswerParser, Piece, ToolCall};
use axum::response::Response;
use serde_json::{Value, json};

use super::format::take_response_format;
use super::logprobs::Told;
use super::messages::take_messages;
use super::sampling::{MOST_TOP_LOGPROBS, Settings};
use super::tools::{Tools, take_tools};
use super::usage::usage_of;
use crate::ServerError;
use crate::app::{App, Ticket};
use crate::auth::Reach;
use crate::backend::{Backend, Talk};
use crate::client::Client;
use crate::events::{Event, EventSource, Step, events};
use crate::fields::Fields;
use crate::http::{json_response, with_origin};
use crate::knowledge::{Ground, GroundOrder, ground, take_ground};
use crate::meaning::Question;
use crate::models::Version;
use crate::work::{Plan, Running, Update, blocking};

/// A request as its body has it.
pub(super) struct ChatRequest {
    model: Option<String>,
    talk: Talk,
    settings: Settings,
    format: Option<Constraint>,
    max_tokens: Option<usize>,
    user: Option<String>,
    knowledge: Option<GroundOrder>,
}

/// Answers a request.
pub(crate) async fn answer(
    app: Arc<App>,
    (client, reach): (Client, Option<&Reach>),
    body: Value,
) -> Result<Response, ServerError> {
    let ticket = app.ticket();
    let mut request = ChatRequest::take(Fields::of(body, "")?, &ticket)?;
    let client = client.with_user(request.user.as_deref());
    let stream = request.settings.stream;
    // The version that reads the question answers it, too.
    let served = app.writer(request.model.as_deref())?;
    let ground = match request.knowledge.take() {
        Some(order) => {
            let who = (&app, &client, reach);
            let model = (&served.1, &ticket);
            Some(ground(who, order, &mut request.talk.messages, model).await?)
        }
        None => None,
    };
    let opened = Arc::clone(&app);
    let asking = client.owner().to_owned();
    // What was found for one question is not what is found for another.
    let may_look_up = ground.is_none();
    let open = move || {
        let (chat, mut plan) = Chat::open(&opened, served, &request, ticket)?;
        if may_look_up {
            request.look_up(&opened, &asking, &mut plan);
        }
        Ok::<_, ServerError>((chat, plan))
    };
    let (mut chat, plan) = blocking(open).await?;
    chat.ground = ground;
    let running = plan.begin(&app, &client, ticket, stream.is_some()).await?;
    let origin = running.origin;
    let response = match stream {
        None => {
            let completions = running.completions().await?;
            json_response(&chat.whole(&completions))
        }
        Some(stream) => chat.stream(running, stream.include_usage),
    };
    Ok(with_origin(response, origin))
}

impl ChatRequest {
    fn take(mut body: Fields, ticket: &Ticket) -> Result<Self, ServerError> {
        let model = body.text("model")?;
        let messages = take_messages(&mut body)?;
        let tools = take_tools(&mut body)?;
        let format = take_response_format(&mut body)?;
        check_together(&tools, format.as_ref())?;
        let mut settings = Settings::take(&mut body, ticket.seed())?;
        take_logprobs(&mut body, &mut settings)?;
        let thinking = take_thinking(&mut body)?;
        let max_tokens = take_max_tokens(&mut body)?;
        let user = take_user(&mut body)?;
        let knowledge = take_ground(&mut body)?;
        take_what_holds_anyway(&mut body)?;
        body.finish()?;
        Ok(Self {
            model,
            talk: tools.talk(messages, thinking),
            settings,
            format,
            max_tokens,
            user,
            knowledge,
        })
    }
}

impl ChatRequest {
    /// Looks the question up in the cache of meanings: where there is one answer, in words, that is
    /// the same each time, and the last to speak is the user.
    fn look_up(&self, app: &App, client: &str, plan: &mut Plan) {
        let settings = &self.settings;
        let is_open = self.format.is_none() && self.talk.options.tools.is_empty();
        let is_one = settings.choices == 1 && !settings.decoding.logprobs;
        let Some((last, before)) = self.talk.messages.split_last() else {
            return;
        };
        if !(is_open && is_one && settings.is_repeatable() && last.role == "user") {
            return;
        }
        let sampling = (
            settings.sampling_of(0),
            &settings.logit_bias,
            &settings.stop,
        );
        let limits = (
            self.max_tokens,
            app.settings.answer_tokens,
            settings.decoding,
        );
        let context = format!("{before:?} {:?} {sampling:?} {limits:?}", self.talk.options);
        let model = plan.identity().to_owned();
        plan.look_up(
            app,
            &Question {
                model: &model,
                client,
                context,
                text: &last.content,
            },
        );
    }
}

/// An answer cannot both call a tool that it must call and have a form of its own.
fn check_together(tools: &Tools, format: Option<&Constraint>) -> Result<(), ServerError> {
    if format.is_some() && !tools.known.is_empty() {
        return Err(ServerError::unsupported(
            "response_format",
            " together with tools (set tool_choice to \"none\")",
        ));
    }
    Ok(())
}

fn take_logprobs(body: &mut Fields, settings: &mut Settings) -> Result<(), ServerError> {
    let wanted = body.flag("logprobs")?.unwrap_or(false);
    let top = body.whole("top_logprobs", (0, MOST_TOP_LOGPROBS))?;
    if top.is_some() && !wanted {
        return Err(ServerError::invalid(
            body.path("top_logprobs"),
            "a number",
            "nothing, unless logprobs is true",
        ));
    }
    settings.decoding.logprobs = wanted;
    settings.decoding.top_logprobs = top.unwrap_or(0) as usize;
    Ok(())
}

/// Whether to think before the answer, by either of its names.
fn take_thinking(body: &mut Fields) -> Result<Option<bool>, ServerError> {
    let by_effort = take_effort(body, "reasoning_effort")?;
    let Some(mut template) = body.object("chat_template_kwargs")? else {
        return Ok(by_effort);
    };
    let by_template = template.flag("enable_thinking")?;
    template.finish()?;
    Ok(by_template.or(by_effort))
}

/// Whether an effort is one to think.
pub(super) fn take_effort(body: &mut Fields, name: &str) -> Result<Option<bool>, ServerError> {
    let efforts = ["none", "minimal", "low", "medium", "high", "xhigh"];
    let effort = body.word(name, &efforts)?;
    Ok(effort.map(|effort| !matches!(effort, "none" | "minimal")))
}

/// `max_completion_tokens`, or its older name.
fn take_max_tokens(body: &mut Fields) -> Result<Option<usize>, ServerError> {
    let range = (1, u64::from(u32::MAX));
    let older = body.whole("max_tokens", range)?;
    let newer = body.whole("max_completion_tokens", range)?;
    if older.is_some() && newer.is_some() && older != newer {
        return Err(ServerError::invalid(
            body.path("max_tokens"),
            "another number than max_completion_tokens",
            "one of the two",
        ));
    }
    Ok(newer.or(older).map(|tokens| tokens as usize))
}

/// Who asks, by either of its names.
pub(super) fn take_user(body: &mut Fields) -> Result<Option<String>, ServerError> {
    let user = body.text("user")?;
    let identifier = body.text("safety_identifier")?;
    Ok(identifier.or(user))
}

/// Fields whose harmless values are what this server does anyway.
pub(super) fn take_what_holds_anyway(body: &mut Fields) -> Result<(), ServerError> {
    // Prefixes are shared between all requests, whatever their key.
    body.text("prompt_cache_key")?;
    body.word("prompt_cache_retention", &["in_memory", "24h"])?;
    body.word("service_tier", &["auto", "default"])?;
    if body.flag("store")? == Some(true) {
        return Err(ServerError::unsupported(body.path("store"), ""));
    }
    if let Some(modalities) = body.take("modalities")
        && modalities != json!(["text"])
    {
        return Err(ServerError::unsupported(body.path("modalities"), ""));
    }
    Ok(())
}

/// A conversation that is being answered.
struct Chat {
    model: String,
    fingerprint: String,
    ticket: Ticket,
    backend: Arc<dyn Backend>,
    parser: AnswerParser,
    choices: usize,
    /// The documents that it rests on, where some were asked for.
    ground: Option<Ground>,
}

impl Chat {
    fn open(
        app: &App,
        (served, backend): (Arc<Version>, Arc<dyn Backend>),
        request: &ChatRequest,
        ticket: Ticket,
    ) -> Result<(Self, Plan), ServerError> {
        let reading = backend.read(&request.talk)?;
        let constraint = reading.constraint.or_else(|| request.format.clone());
        let max_tokens = app.answer_tokens(&*backend, reading.tokens.len(), request.max_tokens);
        let settings = &request.settings;
        let one = |choice| GenerateRequest {
            prompt: Prompt::Tokens(reading.tokens.clone()),
            max_tokens,
            sampling: settings.sampling_of(choice),
            logit_bias: settings.logit_bias.clone(),
            stop: settings.stop.clone(),
            constraint: constraint.clone(),
            decoding: settings.decoding,
            attention: AttentionPolicy::Full,
            adapter: None,
        };
        let chat = Self {
            model: served.name.clone(),
            fingerprint: served.fingerprint(),
            ticket,
            backend: Arc::clone(&backend),
            parser: reading.parser,
            choices: settings.choices,
            ground: None,
        };
        let requests = (0..settings.choices).map(one).collect();
        let repeatable = settings.is_repeatable();
        Ok((
            chat,
            Plan::new(app, &served, backend, requests, repeatable)?,
        ))
    }

    /// The whole answer.
    fn whole(&self, completions: &[Completion]) -> Value {
        let numbered = completions.iter().enumerate();
        let choices = numbered.map(|(index, completion)| self.choice(index, completion));
        let mut answer = self.frame("chat.completion", &choices.collect::<Vec<_>>());
        answer["usage"] = usage_of(completions);
        if let Some(ground) = &self.ground {
            answer["knowledge"] = ground.told();
        }
        answer
    }

    /// What every object of the answer has.
    fn frame(&self, object: &str, choices: &[Value]) -> Value {
        json!({
            "id": self.ticket.name("chatcmpl-"),
            "object": object,
            "created": self.ticket.created,
            "model": self.model,
            "choices": choices,
            "system_fingerprint": self.fingerprint,
        })
    }

    fn choice(&self, index: usize, completion: &Completion) -> Value {
        let answer = self.parser.clone().parse(&completion.text);
        let mut message = json!({"role": "assistant", "content": answer.content, "refusal": null});
        if let Some(ground) = &self.ground {
            message["citations"] = ground.citations(&answer.content);
        }
        if !answer.reasoning.is_empty() {
            message["reasoning_content"] = Value::String(answer.reasoning);
        }
        let calls = answer.tool_calls.iter().enumerate();
        let calls: Vec<Value> = calls
            .map(|(number, call)| self.call(index, number, call))
            .collect();
        let has_calls = !calls.is_empty();
        if has_calls {
            message["tool_calls"] = Value::Array(calls);
            if message["content"] == "" {
                message["content"] = Value::Null;
            }
        }
        json!({
            "index": index,
            "message": message,
            "logprobs": Told::from(completion).of_chat(&*self.backend),
            "finish_reason": finish_reason(completion.finish, has_calls),
        })
    }

    /// A call of a tool.
    fn call(&self, choice: usize, number: usize, call: &ToolCall) -> Value {
        let arguments = Value::Object(call.arguments.clone()).to_string();
        json!({
            "id": self.ticket.part_name("call_", choice * MOST_CALLS_OF_A_CHOICE + number),
            "type": "function",
            "function": {"name": call.name, "arguments": arguments},
        })
    }

    fn stream(self, running: Running, include_usage: bool) -> Response {
        let choices = vec![ChoiceStream::of(&self.parser); self.choices];
        events(ChatStream {
            chat: self,
            running,
            choices,
            include_usage,
            begun: false,
        })
    }
}

/// Numbers apart the names of calls of several choices; an answer makes fewer.
const MOST_CALLS_OF_A_CHOICE: usize = 1_024;

/// Why an answer ended, in the protocol's words.
pub(super) fn finish_reason(finish: FinishReason, has_calls: bool) -> &'static str {
    match finish {
        FinishReason::Stop if has_calls => "tool_calls",
        FinishReason::Stop => "stop",
        FinishReason::Length | FinishReason::Cancelled => "length",
    }
}

/// An answer that comes in pieces.
struct ChatStream {
    chat: Chat,
    running: Running,
    choices: Vec<ChoiceStream>,
    include_usage: bool,
    begun: bool,
}

/// One choice of it.
#[derive(Clone)]
struct ChoiceStream {
    parser: AnswerParser,
    calls: usize,
}

impl ChoiceStream {
    fn of(parser: &AnswerParser) -> Self {
        Self {
            parser: parser.clone(),
            calls: 0,
        }
    }
}

impl EventSource for ChatStream {
    async fn next(&mut self) -> Result<Step, ServerError> {
        if !self.begun {
            self.begun = true;
            return Ok(Step::Go(self.beginnings()));
        }
        match self.running.next().await? {
            Update::Piece(index, delta) => {
                let pieces = self.choices[index].parser.push(&delta.text);
                let logprobs = Told::from(&delta).of_chat(&*self.chat.backend);
                let chunk = self.chunk(index, pieces, &logprobs);
                Ok(Step::Go(chunk.into_iter().collect()))
            }
            Update::Done(results) => {
                let completions: Vec<Completion> = results.into_iter().collect::<Result<_, _>>()?;
                Ok(Step::Last(self.endings(&completions)))
            }
        }
    }
}

impl ChatStream {
    /// Who speaks in each choice.
    fn beginnings(&self) -> Vec<Event> {
        let one = |index| {
            let mut delta = json!({"role": "assistant", "content": "", "refusal": null});
            if let Some(ground) = &self.chat.ground {
                delta["knowledge"] = ground.told();
            }
            self.event(index, &delta, &Value::Null, None)
        };
        (0..self.choices.len()).map(one).collect()
    }

    fn event(&self, index: usize, delta: &Value, logprobs: &Value, finish: Option<&str>) -> Event {
        let choice = json!({
            "index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish,
        });
        let mut frame = self.chat.frame("chat.completion.chunk", &[choice]);
        if self.include_usage {
            frame["usage"] = Value::Null;
        }
        Event::data(frame)
    }

    /// What has become known of a choice; nothing where that is nothing.
    fn chunk(&mut self, index: usize, pieces: Vec<Piece>, logprobs: &Value) -> Option<Event> {
        let mut delta = json!({});
        for piece in pieces {
            match piece {
                Piece::Content(text) => push_text(&mut delta, "content", &text),
                Piece::Reasoning(text) => push_text(&mut delta, "reasoning_content", &text),
                Piece::Call(call) => self.push_call(&mut delta, index, &call),
                // It has come as content, too.
                Piece::Malformed(_) => {}
            }
        }
        let is_empty = delta.as_object().is_some_and(serde_json::Map::is_empty);
        (!is_empty || !logprobs.is_null()).then(|| self.event(index, &delta, logprobs, None))
    }

    fn push_call(&mut self, delta: &mut Value, index: usize, call: &ToolCall) {
        let number = self.choices[index].calls;
        self.choices[index].calls += 1;
        let mut told = self.chat.call(index, number, call);
        told["index"] = number.into();
        if delta["tool_calls"].is_null() {
            delta["tool_calls"] = json!([]);
        }
        if let Some(calls) = delta["tool_calls"].as_array_mut() {
            calls.push(told);
        }
    }

    /// What was held back of each choice, why it ended, and what all cost.
    fn endings(&mut self, completions: &[Completion]) -> Vec<Event> {
        let mut events = Vec::new();
        for (index, completion) in completions.iter().enumerate() {
            let pieces = self.choices[index].parser.finish();
            events.extend(self.chunk(index, pieces, &Value::Null));
            let has_calls = self.choices[index].calls > 0;
            let finish = finish_reason(completion.finish, has_calls);
            let mut delta = json!({});
            if let Some(ground) = &self.chat.ground {
                let answer = self.chat.parser.clone().parse(&completion.text);
                delta["citations"] = ground.citations(&answer.content);
            }
            events.push(self.event(index, &delta, &Value::Null, Some(finish)));
        }
        if self.include_usage {
            let mut frame = self.chat.frame("chat.completion.chunk", &[]);
            frame["usage"] = usage_of(completions);
            events.push(Event::data(frame));
        }
        events.push(Event::DONE);
        events
    }
}

fn push_text(delta: &mut Value, field: &str, text: &str) {
    let before = delta[field].as_str().unwrap_or_default();
    delta[field] = Value::String(format!("{before}{text}"));
}
