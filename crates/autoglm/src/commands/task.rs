//! The task that a command is given: a file, or plain words.

use std::path::{Path, PathBuf};

use anyhow::Context;
use autoglm_spec::{Output, TaskSpec};
use autoglm_task::Remark;
use autoglm_task::file::{TaskFile, TaskSettings, read_task_file};
use autoglm_task::parse::parse;
use clap::Args;

use crate::engine::EngineArgs;
use crate::models::Need;

/// The task.
#[derive(Debug, Clone, Args)]
pub(crate) struct TaskArgs {
    /// A task file, or the task in plain words.
    #[arg(value_name = "TASK")]
    pub(crate) task: String,
}

impl TaskArgs {
    /// Reads the file, or parses the words; what they leave open is told on standard error.
    ///
    /// # Errors
    /// When there is no such file, or it is no task.
    pub(crate) fn load(&self) -> anyhow::Result<TaskFile> {
        let path = Path::new(&self.task);
        if path.is_file() {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("cannot read the task file {}", self.task))?;
            let read = read_task_file(&text);
            let (file, remarks) =
                read.with_context(|| format!("cannot use the task file {}", self.task))?;
            tell(&remarks);
            return Ok(file);
        }
        anyhow::ensure!(
            !looks_like_a_path(&self.task),
            "there is no task file {}\nhint: `autoglm init` writes one from plain words",
            self.task
        );
        Ok(from_words(&self.task))
    }
}

fn from_words(words: &str) -> TaskFile {
    let (spec, remarks) = parse(words);
    tell(&remarks);
    TaskFile {
        spec,
        settings: TaskSettings::default(),
    }
}

/// Whether words that name no file were meant to.
fn looks_like_a_path(words: &str) -> bool {
    let is_toml = Path::new(words)
        .extension()
        .is_some_and(|e| e.eq_ignore_ascii_case("toml"));
    is_toml && !words.contains(char::is_whitespace)
}

#[expect(
    clippy::print_stderr,
    reason = "talk to the user goes to standard error"
)]
fn tell(remarks: &[Remark]) {
    for remark in remarks {
        eprintln!("{remark}");
    }
}

/// What a model must be able to do for a task's answers.
pub(crate) fn need(spec: &TaskSpec) -> Need {
    match spec.output {
        Output::Labels { .. } => Need::Closed,
        Output::Json { .. } | Output::Text { .. } | Output::Code { .. } => Need::Open,
    }
}

/// The engine that is asked for: the command line's, or else the task's.
pub(crate) fn engine_args(args: &EngineArgs, task: &TaskFile) -> EngineArgs {
    let settings = &task.settings;
    args.or(settings.model.as_ref(), settings.server.as_ref())
}

/// Where runs are kept.
pub(crate) fn store_path(home: &Path) -> PathBuf {
    home.join("runs.db")
}
