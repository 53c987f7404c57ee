//! What a model's text says: reasoning, an answer, calls of tools; while it comes, or at its end.

use crate::{
    CallRules, TokenError, ToolCall, ToolCallFormat, ToolChoice, ToolDefinition, call_grammar,
};

/// The most calls that one answer makes; what comes behind them is text.
const CALLS_LIMIT: usize = 128;

const THINK: &str = "<think>";
const THINK_END: &str = "</think>";
const CALL: &str = "<tool_call>";
const CALL_END: &str = "</tool_call>";

/// A stretch of an answer that has become certain.
#[derive(Debug, Clone, PartialEq)]
pub enum Piece {
    /// What the model thinks.
    Reasoning(String),
    /// What it says.
    Content(String),
    /// A tool that it calls.
    Call(ToolCall),
    /// Text that looks like a call and is none; it is content too.
    Malformed(String),
}

/// A whole answer.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Answer {
    /// What the model thought, without space around it.
    pub reasoning: String,
    /// What it says, without space around it.
    pub content: String,
    /// The tools that it calls.
    pub tool_calls: Vec<ToolCall>,
    /// What looked like calls and was none.
    pub malformed: Vec<String>,
}

impl Answer {
    /// Adds a piece.
    pub fn push(&mut self, piece: Piece) {
        match piece {
            Piece::Reasoning(text) => self.reasoning.push_str(&text),
            Piece::Content(text) => self.content.push_str(&text),
            Piece::Call(call) => self.tool_calls.push(call),
            Piece::Malformed(text) => self.malformed.push(text),
        }
    }
}

/// Where in an answer we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Before anything but space, or behind the reasoning.
    Start,
    Reasoning,
    Content,
    /// In `<tool_call>`, or in a call that is the whole answer.
    Call,
}

/// Takes a model's text apart as it comes. The pieces do not depend on where the text is cut.
#[derive(Debug, Clone)]
pub struct AnswerParser {
    format: Option<ToolCallFormat>,
    tools: Vec<ToolDefinition>,
    place: Place,
    /// Text of which it is not yet certain what it is.
    buffer: String,
    /// Space behind what has been given out of the section, which its end takes away.
    space: String,
    /// Whether the section has more than space.
    has_text: bool,
    has_content: bool,
    /// Whether the reasoning is over.
    has_thought: bool,
    calls: usize,
}

impl AnswerParser {
    /// A parser of answers. Calls are recognised where there are `tools`; `thinks` says that the
    /// prompt has opened the reasoning.
    pub fn new(format: Option<ToolCallFormat>, tools: &[ToolDefinition], thinks: bool) -> Self {
        Self {
            format: format.filter(|_| !tools.is_empty()),
            tools: tools.to_vec(),
            place: if thinks {
                Place::Reasoning
            } else {
                Place::Start
            },
            buffer: String::new(),
            space: String::new(),
            has_text: false,
            has_content: false,
            has_thought: false,
            calls: 0,
        }
    }

    /// A grammar of the answers that call a tool which this parser would read; see
    /// [`call_grammar`].
    ///
    /// # Errors
    /// As for [`call_grammar`], and a parser without tools.
    pub fn call_grammar(
        &self,
        choice: ToolChoice<'_>,
        parallel: bool,
    ) -> Result<String, TokenError> {
        let rules = CallRules {
            choice,
            parallel,
            thinks: self.place == Place::Reasoning,
        };
        // Without tools there is no format, and the error is that there are no tools.
        let format = self.format.unwrap_or(ToolCallFormat::TaggedJson);
        call_grammar(format, &self.tools, rules)
    }

    /// The whole of a text.
    pub fn parse(mut self, text: &str) -> Answer {
        let mut answer = Answer::default();
        for piece in self.push(text).into_iter().chain(self.finish()) {
            answer.push(piece);
        }
        answer
    }

    /// Takes text and gives what has become certain.
    pub fn push(&mut self, text: &str) -> Vec<Piece> {
        self.buffer.push_str(text);
        let mut out = Vec::new();
        while self.step(false, &mut out) {}
        out
    }

    /// Ends the text and gives the rest.
    pub fn finish(&mut self) -> Vec<Piece> {
        let mut out = Vec::new();
        while self.step(true, &mut out) {}
        out
    }

    /// Goes on by one stretch; `false` where more text is needed or none is left.
    fn step(&mut self, at_end: bool, out: &mut Vec<Piece>) -> bool {
        match self.place {
            Place::Start => self.start(at_end),
            Place::Reasoning => self.text(&[THINK_END], at_end, out),
            Place::Content if self.format.is_some_and(ToolCallFormat::is_tagged) => {
                self.text(&[CALL], at_end, out)
            }
            Place::Content => self.text(&[], at_end, out),
            Place::Call => self.call(at_end, out),
        }
    }

    /// Decides what an answer begins with.
    fn start(&mut self, at_end: bool) -> bool {
        let begun = self.buffer.trim_start();
        if self.has_thought {
            // A call that is the whole answer may stand behind the reasoning.
            self.buffer = begun.to_owned();
        } else if let Some(rest) = begun.strip_prefix(THINK) {
            self.buffer = rest.to_owned();
            self.enter(Place::Reasoning);
            return true;
        }
        let untagged = self.format.is_some_and(|format| !format.is_tagged());
        let name = self.buffer.split_once('\n').map(|(name, _)| name);
        let mut names = self.tools.iter().map(ToolDefinition::name);
        let could_be_call = untagged
            && match name {
                Some(name) => names.any(|tool| tool == name),
                None => names.any(|tool| tool.starts_with(&self.buffer)),
            };
        let could_be_thought = !self.has_thought && THINK.starts_with(self.buffer.trim_start());
        if (could_be_thought || could_be_call && name.is_none()) && !at_end {
            return false;
        }
        let is_call = could_be_call && name.is_some();
        self.enter(if is_call { Place::Call } else { Place::Content });
        true
    }

    fn enter(&mut self, place: Place) {
        self.place = place;
        if place != Place::Call {
            self.space.clear();
            self.has_text = place == Place::Content && self.has_content;
        }
    }

    /// Gives text out up to the first of some tags.
    fn text(&mut self, tags: &[&str], at_end: bool, out: &mut Vec<Piece>) -> bool {
        let found = tags
            .iter()
            .find_map(|tag| Some((self.buffer.find(tag)?, *tag)));
        if let Some((at, tag)) = found {
            let text: String = self.buffer.drain(..at).collect();
            self.give(&text, out);
            self.buffer.drain(..tag.len());
            self.leave(tag);
            return true;
        }
        let held = if at_end {
            0
        } else {
            held_back(&self.buffer, tags)
        };
        let text: String = self.buffer.drain(..self.buffer.len() - held).collect();
        self.give(&text, out);
        false
    }

    /// Goes on behind a tag.
    fn leave(&mut self, tag: &str) {
        if tag == CALL {
            self.place = Place::Call;
        } else if self.format.is_some_and(|format| !format.is_tagged()) {
            self.has_thought = true;
            self.enter(Place::Start);
        } else {
            self.enter(Place::Content);
        }
    }

    /// Gives text out, but for space at the section's ends.
    fn give(&mut self, text: &str, out: &mut Vec<Piece>) {
        let text = if self.has_text {
            text
        } else {
            text.trim_start()
        };
        let kept = text.trim_end();
        if kept.is_empty() {
            self.space.push_str(text);
            return;
        }
        let mut whole = std::mem::take(&mut self.space);
        whole.push_str(kept);
        self.space.push_str(&text[kept.len()..]);
        self.has_text = true;
        if self.place == Place::Reasoning {
            out.push(Piece::Reasoning(whole));
        } else {
            self.has_content = true;
            out.push(Piece::Content(whole));
        }
    }

    /// Reads a call once it is whole.
    fn call(&mut self, at_end: bool, out: &mut Vec<Piece>) -> bool {
        let Some(format) = self.format else {
            return false;
        };
        let end = format.end(&self.buffer, &self.tools);
        if end.is_none() && !at_end {
            return false;
        }
        let text: String = self
            .buffer
            .drain(..end.unwrap_or(self.buffer.len()))
            .collect();
        let is_whole = end.is_some() || !format.is_tagged();
        let call = Some(&text)
            .filter(|_| is_whole && self.calls < CALLS_LIMIT)
            .and_then(|text| format.parse(text, &self.tools));
        if end.is_some() {
            self.buffer.drain(..CALL_END.len());
        }
        self.place = Place::Content;
        if let Some(call) = call {
            self.calls += 1;
            out.push(Piece::Call(call));
        } else {
            let open = if format.is_tagged() { CALL } else { "" };
            let close = if end.is_some() { CALL_END } else { "" };
            let text = format!("{open}{text}{close}");
            self.give(&text, out);
            out.push(Piece::Malformed(text));
        }
        true
    }
}

/// Bytes at the end of a text that could begin one of the tags.
fn held_back(text: &str, tags: &[&str]) -> usize {
    let longest = tags.iter().map(|tag| tag.len() - 1).max().unwrap_or(0);
    (1..=longest.min(text.len()))
        .rev()
        .find(|&len| {
            let end = &text.as_bytes()[text.len() - len..];
            tags.iter().any(|tag| tag.as_bytes().starts_with(end))
        })
        .unwrap_or(0)
}
