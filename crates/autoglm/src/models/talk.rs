//! What the store tells the user while it works: a bar on a terminal, plain lines elsewhere.

use std::cell::{Cell, RefCell};
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{DecimalBytes, ProgressBar, ProgressStyle};

/// How often a line is written where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Where the store talks to.
pub struct Talk {
    out: RefCell<Box<dyn Write>>,
    bars: bool,
}

impl Talk {
    /// Talks on standard error.
    pub fn stderr() -> Self {
        Self {
            out: RefCell::new(Box::new(io::stderr())),
            bars: io::stderr().is_terminal(),
        }
    }

    /// Talks in plain lines to a writer.
    #[cfg(test)]
    pub fn to(out: impl Write + 'static) -> Self {
        Self {
            out: RefCell::new(Box::new(out)),
            bars: false,
        }
    }

    /// Says one line. A reader that has gone away is no reason to stop working.
    pub fn say(&self, line: &str) {
        let _ = writeln!(self.out.borrow_mut(), "{line}");
    }

    /// Shows progress of `total` bytes.
    pub fn bar(&self, label: &str, total: u64) -> Bar<'_> {
        let shown = self.bars.then(|| {
            let style = ProgressStyle::with_template(
                "{msg} {bar:30} {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec} {eta}",
            );
            ProgressBar::new(total)
                .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
                .with_message(label.to_owned())
        });
        let started = Instant::now();
        Bar {
            talk: self,
            shown,
            label: label.to_owned(),
            total,
            started,
            spoke: Cell::new(started),
        }
    }
}

/// The progress of one piece of work; it goes away when dropped.
pub struct Bar<'a> {
    talk: &'a Talk,
    shown: Option<ProgressBar>,
    label: String,
    total: u64,
    started: Instant,
    spoke: Cell<Instant>,
}

impl Bar<'_> {
    /// Shows that so many bytes are done; what is more than the total counts as the total, since
    /// a client that copies what it has fetched holds it twice for a moment.
    pub fn set(&self, done: u64) {
        let done = done.min(self.total);
        if let Some(bar) = &self.shown {
            bar.set_position(done);
        } else if self.spoke.get().elapsed() >= LINE_EVERY {
            self.spoke.set(Instant::now());
            let rate = done as f64 / self.started.elapsed().as_secs_f64();
            self.talk.say(&format!(
                "{}: {} of {}, {}/s",
                self.label,
                DecimalBytes(done),
                DecimalBytes(self.total),
                DecimalBytes(rate as u64)
            ));
        }
    }
}

impl Drop for Bar<'_> {
    fn drop(&mut self) {
        if let Some(bar) = &self.shown {
            bar.finish_and_clear();
        }
    }
}
