//! How far a run is, on standard error: a bar on a terminal, a line now and then elsewhere.

use std::cell::Cell;
use std::fmt::Write as _;
use std::io::IsTerminal;
use std::time::{Duration, SystemTime};

use autoglm_task::run::Progress;
use indicatif::{ProgressBar, ProgressStyle};

/// Time between two lines where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Shows progress.
pub(crate) struct Meter {
    bar: Option<ProgressBar>,
    next_line: Cell<Duration>,
}

impl Meter {
    /// A meter for so many records, where their number is known.
    pub(crate) fn new(total: Option<u64>) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| match total {
            Some(total) => ProgressBar::new(total).with_style(style("{bar:30} {pos}/{len} {msg}")),
            None => ProgressBar::new_spinner().with_style(style("{spinner} {pos} {msg}")),
        });
        Self {
            bar,
            next_line: Cell::new(LINE_EVERY),
        }
    }

    /// Shows how far the run is.
    pub(crate) fn show(&self, progress: &Progress) {
        if let Some(bar) = &self.bar {
            bar.set_position(progress.done);
            bar.set_message(rate_and_rest(progress));
        } else if progress.elapsed >= self.next_line.get() {
            self.next_line.set(progress.elapsed + LINE_EVERY);
            say(&line(progress));
        }
    }

    /// Does something that writes to the terminal without tearing the bar.
    pub(crate) fn beside<T>(&self, write: impl FnOnce() -> T) -> T {
        match &self.bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }

    /// Takes the bar away.
    pub(crate) fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

#[expect(
    clippy::print_stderr,
    reason = "talk to the user goes to standard error"
)]
fn say(text: &str) {
    eprintln!("{text}");
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the templates here are well formed")
}

fn line(progress: &Progress) -> String {
    let of = progress.total.map(|total| format!(" of {total}"));
    format!(
        "{}{} {}",
        progress.done,
        of.unwrap_or_default(),
        rate_and_rest(progress)
    )
}

fn rate_and_rest(progress: &Progress) -> String {
    let mut text = format!("records, {:.1}/s", progress.records_per_second());
    if let Some(left) = progress.time_left() {
        let _ = write!(text, ", {} left", span(left));
    }
    if progress.errors > 0 {
        let _ = write!(text, ", {} with errors", progress.errors);
    }
    text
}

/// The time, which the library takes as an argument.
#[expect(
    clippy::disallowed_methods,
    reason = "the binary is where clocks are read"
)]
pub(crate) fn now() -> SystemTime {
    SystemTime::now()
}

/// A span of time as people say it.
pub(crate) fn span(span: Duration) -> String {
    let seconds = span.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s} s"),
        (0, m, s) => format!("{m} min {s} s"),
        (h, m, _) => format!("{h} h {m} min"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_time_left_and_errors_are_told() {
        let progress = Progress {
            done: 640,
            resumed: 40,
            total: Some(1821),
            errors: 2,
            elapsed: Duration::from_secs(6),
        };
        assert_eq!(
            line(&progress),
            "640 of 1821 records, 100.0/s, 11 s left, 2 with errors"
        );
        assert_eq!(span(Duration::from_secs(3661)), "1 h 1 min");
    }
}
