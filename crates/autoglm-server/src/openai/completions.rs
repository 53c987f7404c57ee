//! `POST /v1/completions`: text that the model continues, without a chat template.

use std::sync::Arc;

use autoglm_spec::{AttentionPolicy, Completion, GenerateRequest, Prompt};
use axum::response::Response;
use serde_json::{Value, json};

use super::chat::{finish_reason, take_user, take_what_holds_anyway};
use super::format::take_response_format;
use super::logprobs::Told;
use super::sampling::{MOST_TOP_LOGPROBS, Settings};
use super::tokenize::token_ids;
use super::usage::usage_of;
use crate::ServerError;
use crate::app::{App, Ticket};
use crate::backend::Backend;
use crate::client::Client;
use crate::events::{Event, EventSource, Step, events};
use crate::fields::Fields;
use crate::http::{json_response, with_origin};
use crate::work::{Plan, Running, Update, blocking};

/// Prompts of one request at most.
const MOST_PROMPTS: usize = 128;
/// Tokens of an answer where the request does not say, as the protocol has it.
const ANSWER_TOKENS: usize = 16;

/// A request as its body has it.
struct CompletionsRequest {
    model: Option<String>,
    prompts: Vec<Prompt>,
    settings: Settings,
    constraint: Option<autoglm_spec::Constraint>,
    max_tokens: usize,
    echo: bool,
    user: Option<String>,
}

/// Answers a request.
pub(crate) async fn answer(
    app: Arc<App>,
    client: Client,
    body: Value,
) -> Result<Response, ServerError> {
    let ticket = app.ticket();
    let request = CompletionsRequest::take(Fields::of(body, "")?, &ticket)?;
    let client = client.with_user(request.user.as_deref());
    let stream = request.settings.stream;
    let opened = Arc::clone(&app);
    let (work, plan) = blocking(move || Continuation::open(&opened, &request, ticket)).await?;
    let running = plan.begin(&app, &client, ticket, stream.is_some()).await?;
    let origin = running.origin;
    let response = match stream {
        None => {
            let completions = running.completions().await?;
            json_response(&work.whole(&completions))
        }
        Some(stream) => {
            let offsets = work.echoed.iter().map(|text| text.chars().count());
            events(TextStream {
                offsets: offsets.collect(),
                work,
                running,
                include_usage: stream.include_usage,
                begun: false,
            })
        }
    };
    Ok(with_origin(response, origin))
}

impl CompletionsRequest {
    fn take(mut body: Fields, ticket: &Ticket) -> Result<Self, ServerError> {
        let model = body.text("model")?;
        let prompts = take_prompts(&mut body)?;
        let mut settings = Settings::take(&mut body, ticket.seed())?;
        let top = body.whole("logprobs", (0, MOST_TOP_LOGPROBS))?;
        settings.decoding.logprobs = top.is_some();
        settings.decoding.top_logprobs = top.unwrap_or(0) as usize;
        let constraint = take_response_format(&mut body)?;
        let max_tokens = body.whole("max_tokens", (1, u64::from(u32::MAX)))?;
        let echo = body.flag("echo")?.unwrap_or(false);
        check_echo(&body, echo, &settings)?;
        take_best_of(&mut body, &settings)?;
        let user = take_user(&mut body)?;
        take_what_holds_anyway(&mut body)?;
        body.finish()?;
        Ok(Self {
            model,
            prompts,
            settings,
            constraint,
            max_tokens: max_tokens.map_or(ANSWER_TOKENS, |tokens| tokens as usize),
            echo,
            user,
        })
    }
}

fn check_echo(body: &Fields, echo: bool, settings: &Settings) -> Result<(), ServerError> {
    if echo && settings.decoding.logprobs {
        return Err(ServerError::unsupported(
            body.path("echo"),
            " together with logprobs",
        ));
    }
    Ok(())
}

/// As many are made as are told.
fn take_best_of(body: &mut Fields, settings: &Settings) -> Result<(), ServerError> {
    let best_of = body.whole("best_of", (1, u64::from(u32::MAX)))?;
    if best_of.is_some_and(|best| best as usize != settings.choices) {
        return Err(ServerError::unsupported(
            body.path("best_of"),
            " unless it equals n",
        ));
    }
    Ok(())
}

/// One prompt or several, as texts or as tokens.
fn take_prompts(body: &mut Fields) -> Result<Vec<Prompt>, ServerError> {
    let wanted = format!(
        "a string, a list of token ids, or a list of at most {MOST_PROMPTS} strings or lists of token ids"
    );
    let value = body.need("prompt")?;
    let wrong = |given: &Value| body.wrong("prompt", given, &wanted);
    let list = match value {
        Value::String(text) => return Ok(vec![Prompt::Plain(text)]),
        Value::Array(list) if list.iter().all(Value::is_number) && !list.is_empty() => {
            return Ok(vec![Prompt::Tokens(
                token_ids(list).map_err(|given| wrong(&given))?,
            )]);
        }
        Value::Array(list) if (1..=MOST_PROMPTS).contains(&list.len()) => list,
        other => return Err(wrong(&other)),
    };
    let one = |value| match value {
        Value::String(text) => Ok(Prompt::Plain(text)),
        Value::Array(ids) => token_ids(ids)
            .map(Prompt::Tokens)
            .map_err(|given| wrong(&given)),
        other => Err(wrong(&other)),
    };
    list.into_iter().map(one).collect()
}

/// Prompts that are being continued: `n` choices for the first, then for the second, and so on.
struct Continuation {
    model: String,
    fingerprint: String,
    ticket: Ticket,
    backend: Arc<dyn Backend>,
    /// Choices of each prompt.
    choices: usize,
    /// What is told before each answer.
    echoed: Vec<String>,
}

impl Continuation {
    fn open(
        app: &App,
        request: &CompletionsRequest,
        ticket: Ticket,
    ) -> Result<(Self, Plan), ServerError> {
        let (served, backend) = app.writer(request.model.as_deref())?;
        let settings = &request.settings;
        let mut requests = Vec::new();
        let mut echoed = Vec::new();
        for prompt in &request.prompts {
            let tokens = backend.encode(prompt)?;
            let echo = request.echo.then(|| text_of(&*backend, prompt));
            for choice in 0..settings.choices {
                requests.push(GenerateRequest {
                    prompt: Prompt::Tokens(tokens.clone()),
                    max_tokens: request.max_tokens,
                    sampling: settings.sampling_of(choice),
                    logit_bias: settings.logit_bias.clone(),
                    stop: settings.stop.clone(),
                    constraint: request.constraint.clone(),
                    decoding: settings.decoding,
                    attention: AttentionPolicy::Full,
                    adapter: None,
                });
                echoed.push(echo.clone().unwrap_or_default());
            }
        }
        let work = Self {
            model: served.name.clone(),
            fingerprint: served.fingerprint(),
            ticket,
            backend: Arc::clone(&backend),
            choices: settings.choices,
            echoed,
        };
        let repeatable = settings.is_repeatable();
        Ok((
            work,
            Plan::new(app, &served, backend, requests, repeatable)?,
        ))
    }

    fn whole(&self, completions: &[Completion]) -> Value {
        let numbered = completions.iter().enumerate();
        let one = |(index, completion): (usize, &Completion)| {
            let echoed = &self.echoed[index];
            let logprobs =
                Told::from(completion).of_completion(&*self.backend, echoed.chars().count());
            let text = format!("{echoed}{}", completion.text);
            let finish = finish_reason(completion.finish, false);
            choice(index, &text, &logprobs, Some(finish))
        };
        let mut answer = self.frame(&numbered.map(one).collect::<Vec<_>>());
        answer["usage"] = self.usage(completions);
        answer
    }

    /// What every object of the answer has.
    fn frame(&self, choices: &[Value]) -> Value {
        json!({
            "id": self.ticket.name("cmpl-"),
            "object": "text_completion",
            "created": self.ticket.created,
            "model": self.model,
            "choices": choices,
            "system_fingerprint": self.fingerprint,
        })
    }

    /// The cost of all prompts, each of which counts once.
    fn usage(&self, completions: &[Completion]) -> Value {
        let mut total = json!({});
        for choices in completions.chunks(self.choices) {
            add(&mut total, &usage_of(choices));
        }
        total
    }
}

/// Adds numbers by name.
fn add(total: &mut Value, more: &Value) {
    let Some(fields) = more.as_object() else {
        return;
    };
    for (name, value) in fields {
        if value.is_object() {
            add(&mut total[name.as_str()], value);
        } else {
            let sum = total[name.as_str()].as_u64().unwrap_or(0) + value.as_u64().unwrap_or(0);
            total[name.as_str()] = sum.into();
        }
    }
}

fn choice(index: usize, text: &str, logprobs: &Value, finish: Option<&str>) -> Value {
    json!({"index": index, "text": text, "logprobs": logprobs, "finish_reason": finish})
}

/// A prompt as text.
fn text_of(backend: &dyn Backend, prompt: &Prompt) -> String {
    let Prompt::Tokens(tokens) = prompt else {
        return prompt.display_text();
    };
    let bytes = tokens.iter().flat_map(|&token| backend.token_bytes(token));
    String::from_utf8_lossy(&bytes.collect::<Vec<u8>>()).into_owned()
}

/// An answer that comes in pieces.
struct TextStream {
    work: Continuation,
    running: Running,
    /// Characters that were told of each choice.
    offsets: Vec<usize>,
    include_usage: bool,
    begun: bool,
}

impl EventSource for TextStream {
    async fn next(&mut self) -> Result<Step, ServerError> {
        if !self.begun {
            self.begun = true;
            return Ok(Step::Go(self.beginnings()));
        }
        match self.running.next().await? {
            Update::Piece(index, delta) => {
                let told = Told::from(&delta);
                let logprobs = told.of_completion(&*self.work.backend, self.offsets[index]);
                self.offsets[index] += delta.text.chars().count();
                let is_empty = delta.text.is_empty() && logprobs.is_null();
                let event = self.event(choice(index, &delta.text, &logprobs, None));
                Ok(Step::Go(Vec::from_iter((!is_empty).then_some(event))))
            }
            Update::Done(results) => {
                let completions: Vec<Completion> = results.into_iter().collect::<Result<_, _>>()?;
                Ok(Step::Last(self.endings(&completions)))
            }
        }
    }
}

impl TextStream {
    /// The prompts, where they are to be told.
    fn beginnings(&self) -> Vec<Event> {
        let told = self.work.echoed.iter().enumerate();
        let told = told.filter(|(_, text)| !text.is_empty());
        told.map(|(index, text)| self.event(choice(index, text, &Value::Null, None)))
            .collect()
    }

    fn event(&self, choice: Value) -> Event {
        let mut frame = self.work.frame(&[choice]);
        if self.include_usage {
            frame["usage"] = Value::Null;
        }
        Event::data(frame)
    }

    fn endings(&self, completions: &[Completion]) -> Vec<Event> {
        let mut events = Vec::new();
        for (index, completion) in completions.iter().enumerate() {
            let finish = finish_reason(completion.finish, false);
            events.push(self.event(choice(index, "", &Value::Null, Some(finish))));
        }
        if self.include_usage {
            let mut frame = self.work.frame(&[]);
            frame["usage"] = self.work.usage(completions);
            events.push(Event::data(frame));
        }
        events.push(Event::DONE);
        events
    }
}
