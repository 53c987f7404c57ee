//! What is known of a server: its model, its dialect, what it tells of probabilities. All of it is
//! found out by asking, once, and remembered.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use autoglm_spec::{Cancel, EngineError, ModelFacts, Prompt, Role, Sampling, Segment};
use serde_json::{Map, Value, json};

use super::client::{Ask, Client, Lost};
use super::error::RemoteError;
use super::notes::Notes;
use super::settings::{PromptForm, RemoteSettings};
use super::wire::{Models, Reply, TokenScore};

/// The context of a model whose server does not tell it, and where the user does not.
pub(crate) const USUAL_CONTEXT_TOKENS: usize = 4096;

/// How many most likely tokens are asked for, the first of these that the server takes.
const TOPS: [usize; 3] = [100, 20, 5];

/// Stop texts that every server takes; all are looked for here as well.
const STOPS: usize = 4;

/// The field that limits an answer, by its old and its new name.
const LIMIT_FIELDS: [&str; 2] = ["max_tokens", "max_completion_tokens"];

/// The two ways to give a model a prompt, with endpoints of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Plain,
    Chat,
}

impl Form {
    pub(crate) fn of(prompt: &Prompt) -> Self {
        match prompt {
            Prompt::Plain(_) | Prompt::Tokens(_) => Self::Plain,
            Prompt::Chat(_) => Self::Chat,
        }
    }

    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Plain => "completions",
            Self::Chat => "chat/completions",
        }
    }

    /// The fields that ask for the most likely tokens at each place.
    pub(crate) fn ask_for_top(self, body: &mut Map<String, Value>, count: usize) {
        match self {
            Self::Plain => {
                body.insert("logprobs".to_owned(), json!(count));
            }
            Self::Chat => {
                body.insert("logprobs".to_owned(), json!(true));
                body.insert("top_logprobs".to_owned(), json!(count));
            }
        }
    }
}

/// A server and what is known of it.
pub(crate) struct Server {
    pub(crate) client: Client,
    pub(crate) notes: Notes,
    /// The model by the server's own name.
    model: String,
    /// Whether it takes the sampling fields that are not in OpenAI's protocol.
    has_extensions: bool,
    limit_field: &'static str,
    thinking: Option<bool>,
    /// For each form how many most likely tokens it tells, once that is known.
    tops: [Mutex<Top>; 2],
    /// Whether it has refused to confine an answer to a choice.
    refused_choices: AtomicBool,
}

/// How many most likely tokens a server tells.
#[derive(Debug, Clone, Copy)]
enum Top {
    Unknown,
    /// So many, or none.
    Known(Option<usize>),
}

/// What a probe of the protocol's form found.
struct Dialect {
    form: Form,
    limit_field: &'static str,
    has_extensions: bool,
}

impl Server {
    /// Finds out what a server has.
    ///
    /// # Errors
    /// When it cannot be reached, refuses, or has no such model.
    pub(crate) fn open(
        client: Client,
        settings: &RemoteSettings,
        cancel: &Cancel,
    ) -> Result<(Self, ModelFacts), EngineError> {
        let (model, told) = choose_model(&client, settings.model.as_deref(), cancel)?;
        let dialect = dialect(&client, &model, settings.prompts, cancel)?;
        let context = settings.context_tokens.or(told);
        let facts = ModelFacts {
            name: format!("{model}@{}", client.host()),
            context_tokens: context.unwrap_or(USUAL_CONTEXT_TOKENS),
            chat: dialect.form == Form::Chat,
        };
        let server = Self {
            client,
            notes: Notes::default(),
            model,
            has_extensions: dialect.has_extensions,
            limit_field: dialect.limit_field,
            thinking: settings.thinking,
            tops: [Mutex::new(Top::Unknown), Mutex::new(Top::Unknown)],
            refused_choices: AtomicBool::new(false),
        };
        server.describe(&facts, context.is_some());
        Ok((server, facts))
    }

    fn describe(&self, facts: &ModelFacts, context_is_known: bool) {
        let form = if facts.chat { "turns" } else { "plain text" };
        self.notes
            .state(format!("{}: prompts are {form}", facts.name));
        if !context_is_known {
            let tokens = facts.context_tokens;
            self.notes.state(format!(
                "the server does not tell the size of its context, {tokens} tokens are taken"
            ));
        }
        if !self.has_extensions {
            self.notes.state(
                "the server takes only OpenAI's fields for sampling: top_k, min_p and \
                 repetition_penalty cannot be asked for",
            );
        }
    }

    pub(crate) fn has_extensions(&self) -> bool {
        self.has_extensions
    }

    /// Whether it may confine an answer to a choice.
    pub(crate) fn takes_choices(&self) -> bool {
        !self.refused_choices.load(Ordering::Relaxed)
    }

    /// It has refused to confine an answer to a choice.
    pub(crate) fn refuses_choices(&self) {
        self.refused_choices.store(true, Ordering::Relaxed);
    }

    /// A request for at most so many tokens behind a prompt.
    pub(crate) fn body(&self, prompt: &Prompt, max_tokens: usize) -> Map<String, Value> {
        let mut body = body(&self.model, prompt);
        body.insert(self.limit_field.to_owned(), json!(max_tokens));
        let Prompt::Chat(segments) = prompt else {
            return body;
        };
        if segments
            .last()
            .is_some_and(|last| last.role == Role::Assistant)
        {
            // The model's turn has begun. Servers that do not know these fields go on with a last
            // message of the assistant of their own accord, or answer anew.
            if self.has_extensions {
                body.insert("add_generation_prompt".to_owned(), json!(false));
                body.insert("continue_final_message".to_owned(), json!(true));
            }
            self.notes
                .state("the server is trusted to go on with an answer that is begun");
        }
        if let Some(thinking) = self.thinking {
            let kind = if thinking { "enabled" } else { "disabled" };
            body.insert(
                "chat_template_kwargs".to_owned(),
                json!({"enable_thinking": thinking}),
            );
            body.insert("thinking".to_owned(), json!({"type": kind}));
        }
        body
    }

    /// The fields for how tokens are chosen.
    ///
    /// # Errors
    /// [`RemoteError::Unsupported`] for what a server cannot do.
    pub(crate) fn add_sampling(
        &self,
        body: &mut Map<String, Value>,
        sampling: &Sampling,
    ) -> Result<(), RemoteError> {
        let usual = Sampling::GREEDY;
        if sampling.adaptive.is_some() {
            let reason = "a server has no temperature that follows the entropy";
            return Err(self.unsupported("temperature_floor", reason));
        }
        let penalised = sampling.repetition_penalty != usual.repetition_penalty;
        if penalised && sampling.repetition_window != usual.repetition_window {
            let reason = "a server has a window of its own for the penalty";
            return Err(self.unsupported("repetition_window", reason));
        }
        body.insert("temperature".to_owned(), number(sampling.temperature));
        body.insert("top_p".to_owned(), number(sampling.top_p));
        body.insert("seed".to_owned(), json!(sampling.seed & (u64::MAX >> 1)));
        for (field, penalty) in [
            ("presence_penalty", sampling.presence_penalty),
            ("frequency_penalty", sampling.frequency_penalty),
        ] {
            if penalty != 0.0 {
                body.insert(field.to_owned(), number(penalty));
            }
        }
        let extensions = [
            ("top_k", sampling.top_k != usual.top_k),
            ("min_p", sampling.min_p != usual.min_p),
            ("repetition_penalty", penalised),
        ];
        if self.has_extensions {
            add_extensions(body, sampling);
        } else if let Some((field, _)) = extensions.iter().find(|(_, is_asked)| *is_asked) {
            return Err(self.unsupported(field, "it takes only OpenAI's own fields"));
        }
        if penalised {
            self.notes
                .state("the server penalises repetition over a window of its own");
        }
        Ok(())
    }

    /// How many most likely tokens the server tells at each place; none where it tells nothing.
    ///
    /// # Errors
    /// When it does not answer.
    pub(crate) fn top(&self, form: Form, cancel: &Cancel) -> Result<Option<usize>, EngineError> {
        let known = &self.tops[form as usize];
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Top::Known(top) = *known {
            return Ok(top);
        }
        let top = self.probe_top(form, cancel)?;
        *known = Top::Known(top);
        Ok(top)
    }

    fn probe_top(&self, form: Form, cancel: &Cancel) -> Result<Option<usize>, EngineError> {
        for count in TOPS {
            match self.first_token(&probe_prompt(form), count, true, cancel) {
                Ok((_, Some(token))) if !token.top.is_empty() => return Ok(Some(count)),
                Ok(_) => return Ok(None),
                Err(lost) if lost.is_refusal() => {}
                Err(lost) => return Err(lost.into_error(1)),
            }
        }
        Ok(None)
    }

    /// The most likely first token behind a prompt, with its rivals. A probe is not tried again
    /// where the server fails, for that may be its way to refuse.
    ///
    /// # Errors
    /// When the server does not answer.
    pub(crate) fn first_token(
        &self,
        prompt: &Prompt,
        count: usize,
        is_probe: bool,
        cancel: &Cancel,
    ) -> Result<(Reply, Option<TokenScore>), Lost> {
        let form = Form::of(prompt);
        let mut body = self.body(prompt, 1);
        add_greedy(&mut body, self.has_extensions);
        form.ask_for_top(&mut body, count);
        let reply = self.ask(form, body, is_probe, cancel)?;
        let token = reply
            .choices
            .first()
            .and_then(|choice| choice.tokens().into_iter().next());
        Ok((reply, token))
    }

    /// Asks for a whole answer.
    ///
    /// # Errors
    /// When there is none in the end.
    pub(crate) fn ask(
        &self,
        form: Form,
        body: Map<String, Value>,
        is_probe: bool,
        cancel: &Cancel,
    ) -> Result<Reply, Lost> {
        let body = Value::Object(body);
        let ask = Ask {
            path: form.path(),
            body: &body,
            is_probe,
        };
        self.client.ask(ask, cancel)
    }

    pub(crate) fn unsupported(&self, field: &'static str, reason: &str) -> RemoteError {
        RemoteError::Unsupported {
            host: self.client.host(),
            field,
            reason: reason.to_owned(),
        }
    }
}

/// The prompt that a server is tried with.
fn probe_prompt(form: Form) -> Prompt {
    match form {
        Form::Plain => Prompt::Plain("1, 2, 3,".to_owned()),
        Form::Chat => Prompt::Chat(vec![Segment {
            role: Role::User,
            text: "Say yes.".to_owned(),
        }]),
    }
}

fn body(model: &str, prompt: &Prompt) -> Map<String, Value> {
    let mut body = Map::new();
    body.insert("model".to_owned(), json!(model));
    match prompt {
        Prompt::Plain(text) => body.insert("prompt".to_owned(), json!(text)),
        Prompt::Tokens(tokens) => body.insert("prompt".to_owned(), json!(tokens)),
        Prompt::Chat(segments) => {
            let message = |s: &Segment| json!({"role": s.role.name(), "content": s.text});
            let messages: Vec<Value> = segments.iter().map(message).collect();
            body.insert("messages".to_owned(), json!(messages))
        }
    };
    body
}

/// What is added to logits, in the server's own tokens.
pub(crate) fn add_bias(body: &mut Map<String, Value>, bias: &[(u32, f32)]) {
    if !bias.is_empty() {
        let entries = bias
            .iter()
            .map(|(id, bias)| (id.to_string(), number(*bias)));
        body.insert("logit_bias".to_owned(), Value::Object(entries.collect()));
    }
}

/// The fields that end an answer. What the server does not look for is looked for here.
pub(crate) fn add_stops(body: &mut Map<String, Value>, stops: &[String]) {
    let stops = stops.iter().filter(|stop| !stop.is_empty());
    let stops: Vec<&String> = stops.take(STOPS).collect();
    if !stops.is_empty() {
        body.insert("stop".to_owned(), json!(stops));
    }
}

/// Always the most likely token, whatever the server's own habits are.
pub(crate) fn add_greedy(body: &mut Map<String, Value>, has_extensions: bool) {
    body.insert("temperature".to_owned(), json!(0));
    if has_extensions {
        add_extensions(body, &Sampling::GREEDY);
    }
}

/// Sampling fields that are not OpenAI's. They are sent with their neutral values too, for servers
/// have habits of their own. The penalty has two names.
pub(crate) fn add_extensions(body: &mut Map<String, Value>, sampling: &Sampling) {
    let penalty = number(sampling.repetition_penalty);
    body.insert("top_k".to_owned(), json!(sampling.top_k));
    body.insert("min_p".to_owned(), number(sampling.min_p));
    body.insert("repetition_penalty".to_owned(), penalty.clone());
    body.insert("repeat_penalty".to_owned(), penalty);
}

/// A number with the digits that it is written with, not those of its `f64`.
fn number(value: f32) -> Value {
    let digits: f64 = value.to_string().parse().unwrap_or(f64::from(value));
    json!(digits)
}

/// The model that is asked for, or else the server's first, with the context that the server tells.
fn choose_model(
    client: &Client,
    wanted: Option<&str>,
    cancel: &Cancel,
) -> Result<(String, Option<usize>), EngineError> {
    let value = match (client.get("models", cancel), wanted) {
        (Ok(value), _) => value,
        // A server need not list models to one who knows which he wants.
        (Err(lost), Some(wanted)) if lost.is_refusal() => return Ok((wanted.to_owned(), None)),
        (Err(lost), _) => return Err(lost.into_error(0)),
    };
    let models: Models = serde_json::from_value(value).map_err(|_| {
        let failure = client.odd("another JSON value", "a list of models under `data`");
        EngineError::engine(*failure.error)
    })?;
    let mut entries = models.data.iter();
    let found = match wanted {
        Some(wanted) => entries.find(|entry| entry.id == wanted),
        None => entries.next(),
    };
    let found = found.ok_or_else(|| {
        let known: Vec<&str> = models.data.iter().map(|entry| entry.id.as_str()).collect();
        EngineError::engine(RemoteError::NoSuchModel {
            host: client.host(),
            wanted: wanted.unwrap_or("at all").to_owned(),
            known: if known.is_empty() {
                "none".to_owned()
            } else {
                known.join(", ")
            },
        })
    })?;
    Ok((found.id.clone(), found.context_tokens()))
}

/// Finds out how a server wants to be spoken to.
fn dialect(
    client: &Client,
    model: &str,
    wanted: PromptForm,
    cancel: &Cancel,
) -> Result<Dialect, EngineError> {
    let (form, limit_field) = match wanted {
        PromptForm::Plain => (Form::Plain, limit_field(client, model, Form::Plain, cancel)),
        PromptForm::Chat => (Form::Chat, limit_field(client, model, Form::Chat, cancel)),
        PromptForm::Auto => match limit_field(client, model, Form::Chat, cancel) {
            Err(lost) if lost.is_refusal() => {
                let plain = limit_field(client, model, Form::Plain, cancel);
                // Where neither goes, what is wrong with turns is the more telling.
                (Form::Plain, plain.map_err(|_| lost))
            }
            chat => (Form::Chat, chat),
        },
    };
    let limit_field = limit_field.map_err(|lost| lost.into_error(1))?;
    let mut body = probe_body(model, form, limit_field);
    add_greedy(&mut body, true);
    let has_extensions = match probe(client, form, body, cancel) {
        Ok(()) => true,
        Err(lost) if lost.is_refusal() => false,
        Err(lost) => return Err(lost.into_error(1)),
    };
    Ok(Dialect {
        form,
        limit_field,
        has_extensions,
    })
}

/// The name of the field that limits an answer, found by asking for one token.
fn limit_field(
    client: &Client,
    model: &str,
    form: Form,
    cancel: &Cancel,
) -> Result<&'static str, Lost> {
    let [old, new] = LIMIT_FIELDS;
    match probe(client, form, probe_body(model, form, old), cancel) {
        Ok(()) => Ok(old),
        Err(Lost::Failed(failure)) if failure.complaint.message.contains(new) => {
            probe(client, form, probe_body(model, form, new), cancel).map(|()| new)
        }
        Err(lost) => Err(lost),
    }
}

fn probe_body(model: &str, form: Form, limit_field: &str) -> Map<String, Value> {
    let mut body = body(model, &probe_prompt(form));
    body.insert(limit_field.to_owned(), json!(1));
    body
}

fn probe(
    client: &Client,
    form: Form,
    body: Map<String, Value>,
    cancel: &Cancel,
) -> Result<(), Lost> {
    let body = Value::Object(body);
    let ask = Ask {
        path: form.path(),
        body: &body,
        is_probe: true,
    };
    client.ask(ask, cancel).map(|_| ())
}
