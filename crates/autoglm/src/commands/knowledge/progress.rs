//! How far indexing is, on standard error.

use std::fmt::Write as _;
use std::io::IsTerminal;
use std::time::{Duration, SystemTime};

use autoglm_retrieve::index::{Event, Outcome};
use indicatif::{ProgressBar, ProgressStyle};

use crate::streams::{now, span};

/// Time between two lines where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Shows how far indexing is.
pub(super) struct Shown {
    bar: Option<ProgressBar>,
    started: SystemTime,
    next_line: Duration,
    files: u64,
    of_files: u64,
    read: usize,
    embedded: usize,
}

impl Shown {
    pub(super) fn new() -> Self {
        Self {
            bar: std::io::stderr().is_terminal().then(ProgressBar::hidden),
            started: now(),
            next_line: LINE_EVERY,
            files: 0,
            of_files: 0,
            read: 0,
            embedded: 0,
        }
    }

    pub(super) fn take(&mut self, event: Event<'_>) {
        match event {
            Event::Planned { files, .. } => {
                self.of_files = files as u64;
                if let Some(bar) = &mut self.bar {
                    *bar = ProgressBar::new(self.of_files).with_style(
                        ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}")
                            .expect("the template is well formed"),
                    );
                }
            }
            Event::Read { passages, .. } => {
                self.files += 1;
                self.read += passages;
            }
            Event::Embedded { passages } => self.embedded += passages,
            Event::Broken(broken) => {
                let part = if broken.in_part {
                    ", the rest is indexed"
                } else {
                    ""
                };
                self.beside(&format!(
                    "warning: {}: {}{part}",
                    broken.path, broken.reason
                ));
            }
        }
        self.show();
    }

    fn show(&mut self) {
        let line = format!(
            "files, {} passages read, {} with vectors",
            self.read, self.embedded
        );
        let elapsed = now().duration_since(self.started).unwrap_or_default();
        if let Some(bar) = &self.bar {
            bar.set_position(self.files);
            bar.set_message(line);
        } else if elapsed >= self.next_line {
            self.next_line = elapsed + LINE_EVERY;
            say(&format!("{} of {} {line}", self.files, self.of_files));
        }
    }

    fn beside(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| say(text)),
            None => say(text),
        }
    }

    /// Takes the bar away and says what was done.
    pub(super) fn finish(self, outcome: &Outcome) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        let elapsed = now().duration_since(self.started).unwrap_or_default();
        say(&summary(outcome, elapsed));
    }
}

fn summary(outcome: &Outcome, elapsed: Duration) -> String {
    let Outcome {
        added,
        changed,
        unchanged,
        removed,
        passages,
        embedded,
        ..
    } = outcome;
    let mut text = format!(
        "{added} added, {changed} changed, {unchanged} unchanged, {removed} removed; \
         {passages} passages written, {embedded} vectors made, {}",
        span(elapsed)
    );
    if !outcome.broken.is_empty() {
        let _ = write!(text, "; {} could not be read", outcome.broken.len());
    }
    if outcome.cancelled {
        text += "; stopped, the same command goes on";
    }
    text
}

#[expect(
    clippy::print_stderr,
    reason = "talk to the user goes to standard error"
)]
pub(super) fn say(text: &str) {
    eprintln!("{text}");
}
