//! Conversations with options of their own: the tokens that the model is given, and what reads
//! its answer.

use autoglm_spec::{EngineError, Prompt, Segment};
use autoglm_token::{
    AnswerParser, ChatOptions, ChatTemplate, Message, TokenId, ToolCallFormat, tools_in_text,
};

use crate::error::LocalError;
use crate::local::LocalEngine;

/// Tokens at the end of a prompt that may open the reasoning: the tag, cut into pieces where the
/// vocabulary does not have it, and a line's end.
const OPENING_TOKENS: usize = 12;

/// The tag that opens a model's reasoning.
const THINK: &str = "<think>";

/// A conversation as the model is given it.
#[derive(Debug, Clone)]
pub struct Conversation {
    /// The prompt, for [`Prompt::Tokens`].
    pub tokens: Vec<TokenId>,
    /// Reads what the model answers.
    pub parser: AnswerParser,
}

impl LocalEngine {
    /// Writes a conversation for the model to go on from, whatever the engine's own options are.
    /// Where the model's chat template knows no tools they are told in a system message.
    ///
    /// # Errors
    /// A model without a chat template, or a template that refuses the messages or fails on them.
    pub fn converse(
        &self,
        messages: &[Message],
        options: &ChatOptions,
    ) -> Result<Conversation, EngineError> {
        let tokens = self.write(messages, options).map_err(EngineError::engine)?;
        let parser = self.parser_behind(&tokens, options);
        Ok(Conversation { tokens, parser })
    }

    /// A parser for what the model answers to a prompt under the engine's own options.
    ///
    /// # Errors
    /// As for [`LocalEngine::encode`].
    pub fn answer_parser(&self, prompt: &Prompt) -> Result<AnswerParser, EngineError> {
        let tokens = self.encode(prompt)?;
        Ok(self.parser_behind(&tokens, &self.chat))
    }

    /// The tokens of turns under the engine's own options.
    pub(crate) fn encode_chat(&self, segments: &[Segment]) -> Result<Vec<TokenId>, LocalError> {
        let messages: Vec<Message> = segments
            .iter()
            .map(|segment| Message::new(segment.role.name(), segment.text.clone()))
            .collect();
        self.write(&messages, &self.chat)
    }

    fn write(
        &self,
        messages: &[Message],
        options: &ChatOptions,
    ) -> Result<Vec<TokenId>, LocalError> {
        let template = self
            .template
            .as_ref()
            .ok_or_else(|| LocalError::NoChatTemplate {
                model: self.facts.name.clone(),
            })?;
        if template.tool_calls().is_some() {
            return Ok(template.encode(self.tokenizer(), messages, options)?);
        }
        let told = tools_in_text(messages, &options.tools);
        let without_tools = ChatOptions {
            tools: Vec::new(),
            thinking: options.thinking,
        };
        Ok(template.encode(self.tokenizer(), &told, &without_tools)?)
    }

    /// A parser for what follows these tokens.
    fn parser_behind(&self, tokens: &[TokenId], options: &ChatOptions) -> AnswerParser {
        let format = |template: &ChatTemplate| {
            let own = template.tool_calls();
            own.unwrap_or(ToolCallFormat::TaggedJson)
        };
        let format = self.template.as_ref().map(format);
        let end = &tokens[tokens.len().saturating_sub(OPENING_TOKENS)..];
        let text: String = end
            .iter()
            .map(|&id| self.tokenizer().token_text(id))
            .collect();
        AnswerParser::new(format, &options.tools, text.trim_end().ends_with(THINK))
    }
}
