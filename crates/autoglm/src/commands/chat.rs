//! `autoglm chat`: a conversation in the terminal.

use std::io::{BufRead, IsTerminal, StdoutLock, Write};
use std::path::Path;

use anyhow::Context;
use autoglm_spec::{
    Decoding, FinishReason, Generate, GenerateRequest, Prompt, Role, Sampling, Segment,
};
use autoglm_token::{ChatOptions, Piece};
use clap::Args;
use rustyline::DefaultEditor;
use rustyline::error::ReadlineError;

use super::attention::AttentionArgs;
use super::generate::report;
use super::sampling::{DecodingArgs, SamplingArgs};
use crate::engine::{EngineArgs, OpenEngine};
use crate::interrupt::cancel_on_interrupt;
use crate::models::Need;

const HELP: &str = "\
/help            this list
/reset           forget the conversation
/system TEXT     set the system message and forget the conversation
/retry           answer the last message again
/quit            leave (Ctrl-D does too)
Ctrl-C           stop the answer
A line that ends in \\ goes on in the next one.";

/// Small models that always take the most likely token soon repeat themselves.
const HABIT: Sampling = Sampling {
    temperature: 0.7,
    top_p: 0.95,
    repetition_penalty: 1.1,
    ..Sampling::GREEDY
};

/// Talk with a model. What was said stays in the cache, so that each turn costs only its own
/// tokens.
#[derive(Debug, Args)]
pub struct ChatArgs {
    /// A system message.
    #[arg(long, value_name = "TEXT")]
    system: Option<String>,
    /// Tokens of an answer at most.
    #[arg(long, short = 'n', value_name = "N", default_value_t = 512)]
    max_tokens: usize,
    /// Answer without thinking first, where the model's chat template can ask for that.
    #[arg(long)]
    no_thinking: bool,
    #[command(flatten)]
    sampling: SamplingArgs,
    #[command(flatten)]
    decoding: DecodingArgs,
    #[command(flatten)]
    attention: AttentionArgs,
    #[command(flatten)]
    engine: EngineArgs,
}

/// Runs the command.
///
/// # Errors
/// A model that cannot be used or that has no chat template.
pub fn run(args: &ChatArgs, home: &Path) -> anyhow::Result<()> {
    let options = ChatOptions {
        thinking: args.no_thinking.then_some(false),
        ..ChatOptions::default()
    };
    let engine = args.engine.open_for_chat(home, Need::Open, options)?;
    anyhow::ensure!(
        engine.facts().chat,
        "the model {} has no chat template and cannot follow a conversation\n\
         hint: `autoglm generate` continues a text with it",
        engine.facts().name
    );
    let mut chat = Chat {
        args,
        engine,
        system: args.system.clone(),
        turns: Vec::new(),
    };
    if std::io::stdin().is_terminal() {
        chat.converse(&home.join("chat-history"))
    } else {
        chat.answer_lines()
    }
}

/// A conversation.
struct Chat<'a> {
    args: &'a ChatArgs,
    engine: OpenEngine,
    system: Option<String>,
    turns: Vec<Segment>,
}

impl Chat<'_> {
    /// Reads from the terminal until the user leaves.
    fn converse(&mut self, history: &Path) -> anyhow::Result<()> {
        let mut editor = DefaultEditor::new().context("cannot use the terminal")?;
        // The first conversation has no history yet.
        let _ = editor.load_history(history);
        talk(&format!(
            "{} · /help lists the commands",
            self.engine.facts().name
        ));
        self.engine.tell_notes();
        while let Some(line) = read_message(&mut editor)? {
            if line.trim().is_empty() {
                continue;
            }
            // A history that cannot be kept is no reason to stop talking.
            let _ = editor.add_history_entry(&line);
            if !self.take_line(&line)? {
                break;
            }
        }
        let _ = editor.save_history(history);
        Ok(())
    }

    /// Answers each line of standard input.
    fn answer_lines(&mut self) -> anyhow::Result<()> {
        for line in std::io::stdin().lock().lines() {
            let line = line.context("cannot read standard input")?;
            if !line.trim().is_empty() && !self.take_line(&line)? {
                break;
            }
        }
        Ok(())
    }

    /// Obeys a command or answers a message; `false` ends the conversation.
    fn take_line(&mut self, line: &str) -> anyhow::Result<bool> {
        let (command, rest) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
        match command {
            "/quit" | "/exit" => return Ok(false),
            "/help" => talk(HELP),
            "/reset" => self.turns.clear(),
            "/system" => {
                self.system = Some(rest.trim().to_owned()).filter(|text| !text.is_empty());
                self.turns.clear();
            }
            "/retry" => self.retry()?,
            _ if command.starts_with('/') => {
                talk(&format!("{command} is no command; /help lists them"));
            }
            _ => {
                self.turns.push(Segment {
                    role: Role::User,
                    text: line.to_owned(),
                });
                self.answer()?;
            }
        }
        Ok(true)
    }

    fn retry(&mut self) -> anyhow::Result<()> {
        self.turns.pop_if(|turn| turn.role == Role::Assistant);
        if self.turns.is_empty() {
            talk("there is no message to answer again");
            return Ok(());
        }
        self.answer()
    }

    /// Answers the last message. What the model cannot do is said; the conversation goes on.
    fn answer(&mut self) -> anyhow::Result<()> {
        let request = self.request();
        let cancel = cancel_on_interrupt();
        let mut screen = Screen::new(std::io::stdout().lock());
        let parser = self.engine.answer_parser(&request.prompt);
        let result = parser.and_then(|mut parser| {
            let results = self.engine.generate(&[request], &cancel, &mut |_, delta| {
                screen.show(parser.push(&delta.text));
            });
            screen.show(parser.finish());
            results.into_iter().next().expect("a result a request")
        });
        let content = screen.finish()?;
        match result {
            Ok(completion) => {
                if completion.finish == FinishReason::Length {
                    talk("(cut at --max-tokens)");
                }
                report(&completion.usage);
                self.turns.push(Segment {
                    role: Role::Assistant,
                    text: content,
                });
            }
            Err(error) => {
                self.turns.pop();
                talk(&format!("{error}\nhint: /reset forgets the conversation"));
            }
        }
        Ok(())
    }

    fn request(&self) -> GenerateRequest {
        let system = self.system.iter();
        let system = system.map(|text| Segment {
            role: Role::System,
            text: text.clone(),
        });
        GenerateRequest {
            prompt: Prompt::Chat(system.chain(self.turns.iter().cloned()).collect()),
            max_tokens: self.args.max_tokens,
            sampling: self.args.sampling.sampling(HABIT),
            logit_bias: Vec::new(),
            stop: Vec::new(),
            constraint: None,
            decoding: self.args.decoding.decoding(Decoding {
                logprobs: false,
                ..Decoding::default()
            }),
            attention: self.args.attention.policy(),
            adapter: None,
        }
    }
}

/// An answer as it is shown: what the model thinks goes before it, dimmed, where a person looks.
struct Screen<'a> {
    out: StdoutLock<'a>,
    is_terminal: bool,
    /// Whether thoughts are shown and the answer has not begun.
    thinks: bool,
    content: String,
}

impl<'a> Screen<'a> {
    fn new(out: StdoutLock<'a>) -> Self {
        Self {
            is_terminal: out.is_terminal(),
            out,
            thinks: false,
            content: String::new(),
        }
    }

    fn show(&mut self, pieces: Vec<Piece>) {
        for piece in pieces {
            let text = match piece {
                Piece::Reasoning(text) if self.is_terminal => {
                    self.thinks = true;
                    format!("\x1b[2m{text}\x1b[0m")
                }
                Piece::Content(text) => {
                    self.content.push_str(&text);
                    let gap = if self.thinks { "\n\n" } else { "" };
                    self.thinks = false;
                    format!("{gap}{text}")
                }
                // A conversation gives the model no tools, and thoughts are no data.
                Piece::Reasoning(_) | Piece::Call(_) | Piece::Malformed(_) => continue,
            };
            // A reader that went away ends the program at the final write.
            let _ = self
                .out
                .write_all(text.as_bytes())
                .and_then(|()| self.out.flush());
        }
    }

    /// Ends the answer and gives what was said.
    fn finish(mut self) -> std::io::Result<String> {
        writeln!(self.out)?;
        Ok(self.content)
    }
}

/// A message of one or several lines; `None` when the user leaves.
fn read_message(editor: &mut DefaultEditor) -> anyhow::Result<Option<String>> {
    let mut message = String::new();
    loop {
        let prompt = if message.is_empty() { "> " } else { "… " };
        match editor.readline(prompt) {
            Ok(line) => match line.strip_suffix('\\') {
                Some(line) => message = message + line + "\n",
                None => return Ok(Some(message + &line)),
            },
            Err(ReadlineError::Interrupted) => message.clear(),
            Err(ReadlineError::Eof) => return Ok(None),
            Err(error) => return Err(error).context("cannot read from the terminal"),
        }
    }
}

#[expect(
    clippy::print_stderr,
    reason = "talk to the user goes to standard error"
)]
fn talk(text: &str) {
    eprintln!("{text}");
}
