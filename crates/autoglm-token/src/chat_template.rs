//! Chat templates: Jinja programs in model files that write a conversation as one text.
//!
//! A template is a program from outside. It reaches nothing of the machine: no files, no other
//! templates, no clock (`strftime_now` is not defined, and templates that ask for it have a date
//! to fall back on). Its steps, the depth of its calls and the size of its output are limited.
//! Not limited is the memory of a value that it builds and never writes.
//!
//! What a message says must not steer the model: the text of a control token inside a message
//! stays text. The template sees marks in place of such text; where they come out, the text is
//! put back and told apart from the template's own.

use std::io;

use crate::conversation::{ChatOptions, Message, map_texts};
use crate::mark::Mark;
use crate::python_json::{JsonStyle, dumps};
use crate::{TokenError, TokenId, Tokenizer, ToolCallFormat};
use minijinja::value::{Kwargs, Value};
use minijinja::{Environment, ErrorKind, context};
use serde_json::{Value as Json, json};

/// The largest template: the longest known have 20 KB.
const TEMPLATE_LIMIT_BYTES: usize = 256 << 10;

/// The largest conversation: ten times the text of a context of a million tokens.
const RENDERED_LIMIT_BYTES: usize = 64 << 20;

/// Steps a template may take: a template takes about 50 a message.
const FUEL: u64 = 2_000_000;

/// Calls that may be under way at once; macros of templates that print types call themselves.
const RECURSION_LIMIT: usize = 100;

/// The role whose last message the model continues.
const ASSISTANT: &str = "assistant";

/// A model's chat template.
#[derive(Debug)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    bos: String,
    eos: String,
    tool_calls: Option<ToolCallFormat>,
}

impl ChatTemplate {
    /// Reads a template for the tokens of a vocabulary.
    ///
    /// # Errors
    /// [`TokenError::TemplateSize`] or [`TokenError::TemplateSyntax`].
    pub fn new(source: &str, tokenizer: &Tokenizer) -> Result<Self, TokenError> {
        check_size("chat template", source.len(), TEMPLATE_LIMIT_BYTES)?;
        let [bos, eos] = tokenizer.bos_and_eos();
        let mut environment = sandbox();
        environment
            .add_template_owned(NAME, source.to_owned())
            .map_err(|source| TokenError::TemplateSyntax {
                source: Box::new(source),
            })?;
        Ok(Self {
            environment,
            bos,
            eos,
            tool_calls: ToolCallFormat::of(source),
        })
    }

    /// How the model writes calls of tools, where its template has some.
    pub fn tool_calls(&self) -> Option<ToolCallFormat> {
        self.tool_calls
    }

    /// The conversation as one text, for display.
    ///
    /// With `add_generation_prompt` the model goes on from here: behind the text that opens its
    /// turn, or, where the last message is the assistant's, behind that message, whose turn is
    /// then not closed.
    ///
    /// # Errors
    /// [`TokenError`] if the template refuses the messages, fails, writes too much, or leaves out
    /// the message that is to be continued.
    pub fn render(
        &self,
        messages: &[Message],
        options: &ChatOptions,
        add_generation_prompt: bool,
    ) -> Result<String, TokenError> {
        let given = given(messages, options);
        let mark = Mark::absent_from(&given)?;
        let rendered = self.run(given, options, mark, add_generation_prompt)?;
        Ok(mark.resolve(&rendered, |_| None)?.text)
    }

    /// The tokens of the conversation as [`ChatTemplate::render`] writes it for the model to go on
    /// from here, with BOS if the template writes one: do not put another before them. Control
    /// tokens come from the template only; written in a message they are text.
    ///
    /// # Errors
    /// [`TokenError`] as for [`ChatTemplate::render`], or if the template changes the text of a
    /// control token inside a message.
    pub fn encode(
        &self,
        tokenizer: &Tokenizer,
        messages: &[Message],
        options: &ChatOptions,
    ) -> Result<Vec<TokenId>, TokenError> {
        let mut given = given(messages, options);
        let mark = Mark::absent_from(&given)?;
        map_texts(&mut given, &|text| {
            mark.hide_control_tokens(tokenizer, text)
        });
        let rendered = self.run(given, options, mark, true)?;
        let name = |id| tokenizer.control_text(id);
        let resolved = mark.resolve(&rendered, name)?;
        Ok(tokenizer.encode_around(&resolved.text, &resolved.plain))
    }

    /// Runs the template. A message that is to be continued gets a mark at its end.
    fn run(
        &self,
        mut given: Json,
        options: &ChatOptions,
        mark: Mark,
        add_generation_prompt: bool,
    ) -> Result<String, TokenError> {
        let messages = given["messages"].as_array_mut();
        let continued = messages
            .and_then(|messages| messages.last_mut())
            .filter(|message| add_generation_prompt && message["role"] == ASSISTANT);
        let is_continued = continued.is_some();
        if let Some(message) = continued {
            let content = message["content"].as_str().unwrap_or_default();
            message["content"] = json!(format!("{content}{}", mark.end()));
        }
        let opens_turn = add_generation_prompt && !is_continued;
        let rendered = self.evaluate(&given, options.thinking, opens_turn)?;
        if !is_continued {
            return Ok(rendered);
        }
        match rendered.split_once(&mark.end()) {
            Some((before, _)) => Ok(before.to_owned()),
            None => Err(TokenError::TemplateLostText {
                what: "the message to be continued",
            }),
        }
    }

    fn evaluate(
        &self,
        given: &Json,
        thinking: Option<bool>,
        add_generation_prompt: bool,
    ) -> Result<String, TokenError> {
        let template = self
            .environment
            .get_template(NAME)
            .expect("it was added when this was made");
        // The variables that transformers sets where nothing is given for them.
        let variables = context! {
            add_generation_prompt,
            bos_token => self.bos,
            eos_token => self.eos,
            documents => Value::from(()),
            ..Value::from_serialize(given)
        };
        let variables = match thinking {
            Some(enable_thinking) => context! { enable_thinking, ..variables },
            None => variables,
        };
        let mut out = Limited(Vec::new());
        match template.render_captured_to(variables, &mut out) {
            Ok(_) => Ok(String::from_utf8(out.0).expect("templates write text")),
            Err(_) if out.0.len() > RENDERED_LIMIT_BYTES => {
                check_size("rendered conversation", out.0.len(), RENDERED_LIMIT_BYTES)
                    .map(|()| String::new())
            }
            Err(error) => Err(failure(error)),
        }
    }
}

/// What a template is given, under the names that transformers uses.
fn given(messages: &[Message], options: &ChatOptions) -> Json {
    let tools = Some(&options.tools).filter(|tools| !tools.is_empty());
    json!({"messages": messages, "tools": tools})
}

/// The name of the one template.
const NAME: &str = "chat";

/// An environment with what transformers gives to templates, and limits.
fn sandbox() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_trim_blocks(true);
    environment.set_lstrip_blocks(true);
    environment.set_fuel(Some(FUEL));
    environment.set_recursion_limit(RECURSION_LIMIT);
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.add_function("raise_exception", raise_exception);
    environment.add_filter("tojson", tojson);
    environment
}

/// What a template says when it refuses a conversation.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Refusal(String);

fn raise_exception(message: String) -> Result<Value, minijinja::Error> {
    let error = minijinja::Error::new(ErrorKind::InvalidOperation, message.clone());
    Err(error.with_source(Refusal(message)))
}

fn failure(error: minijinja::Error) -> TokenError {
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        if let Some(Refusal(message)) = error.downcast_ref() {
            return TokenError::TemplateRefused {
                message: message.clone(),
            };
        }
        cause = error.source();
    }
    TokenError::TemplateFailed {
        source: Box::new(error),
    }
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "the template engine's signature"
)]
fn tojson(value: Value, options: Kwargs) -> Result<Value, minijinja::Error> {
    let indent: Option<usize> = options.get("indent")?;
    let ascii: Option<bool> = options.get("ensure_ascii")?;
    options.assert_all_used()?;
    let style = JsonStyle {
        // Deeper than any text is indented.
        indent: indent.map(|spaces| spaces.min(16)),
        ascii: ascii.unwrap_or(false),
    };
    let spelt = serde_json::to_value(&value).and_then(|value| dumps(&value, style));
    let failed = |error| {
        minijinja::Error::new(ErrorKind::BadSerialization, "cannot write as JSON")
            .with_source(error)
    };
    Ok(Value::from_safe_string(spelt.map_err(failed)?))
}

fn check_size(
    what: &'static str,
    given_bytes: usize,
    limit_bytes: usize,
) -> Result<(), TokenError> {
    if given_bytes > limit_bytes {
        return Err(TokenError::TemplateSize {
            what,
            given_bytes,
            limit_bytes,
        });
    }
    Ok(())
}

/// Collects a template's output up to a limit.
struct Limited(Vec<u8>);

impl io::Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.extend_from_slice(bytes);
        if self.0.len() > RENDERED_LIMIT_BYTES {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
