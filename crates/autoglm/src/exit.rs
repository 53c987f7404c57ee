//! How the program ends: the one table from blame to exit codes, and how errors are told.
//!
//! | code | meaning |
//! |---|---|
//! | 0 | done; records with errors are rows of the output |
//! | 1 | a bug of AutoGLM |
//! | 2 | the command line, the task or the configuration is wrong |
//! | 3 | a file or a record is wrong; a strict run stopped |
//! | 4 | memory, disk, network or a service does not suffice |
//! | 130 | interrupted; what was done is kept |

use std::error::Error;
use std::io;
use std::process::ExitCode;

use autoglm_engine::LocalError;
use autoglm_engine::remote::RemoteError;
use autoglm_model::{Fault, ModelError};
use autoglm_retrieve::RetrieveError;
use autoglm_server::{ServerError, SetupError};
use autoglm_spec::{Blame, Blamed, EngineError};
use autoglm_task::TaskError;
use autoglm_task::compose::ComposeError;
use autoglm_task::file::FileError;
use autoglm_task::records::RecordError;

use crate::models::StoreError;

/// The code of a program that Ctrl-C ended, as shells have it: 128 and the signal's number.
pub(crate) const INTERRUPTED: i32 = 130;

/// The exit code for work that its user has stopped.
pub(crate) fn interrupted() -> ExitCode {
    ExitCode::from(INTERRUPTED as u8)
}

/// Tells an error on standard error and gives its exit code.
#[expect(
    clippy::print_stderr,
    reason = "talk to the user goes to standard error"
)]
pub(crate) fn report(error: &anyhow::Error) -> ExitCode {
    if is_closed_pipe(error) {
        // The reader has seen enough, as in `autoglm run … | head`.
        return ExitCode::SUCCESS;
    }
    eprintln!("error: {}", message(error));
    ExitCode::from(code(error))
}

fn code(error: &anyhow::Error) -> u8 {
    if let Some(EngineError::Cancelled) = find::<EngineError>(error) {
        return INTERRUPTED as u8;
    }
    match blame(error) {
        Blame::Bug => 1,
        Blame::Caller => 2,
        Blame::Data => 3,
        Blame::Capacity => 4,
    }
}

/// Who is to blame, as the outermost error that knows it says. What the binary says of its own
/// accord is about files where the system refused one, else about what the user asked for.
fn blame(error: &anyhow::Error) -> Blame {
    let told = error.chain().find_map(|cause| {
        blame_as::<TaskError>(cause)
            .or_else(|| blame_as::<ComposeError>(cause))
            .or_else(|| blame_as::<FileError>(cause))
            .or_else(|| blame_as::<RecordError>(cause))
            .or_else(|| blame_as::<EngineError>(cause))
            .or_else(|| blame_as::<LocalError>(cause))
            .or_else(|| blame_as::<RemoteError>(cause))
            .or_else(|| blame_as::<RetrieveError>(cause))
            .or_else(|| blame_as::<StoreError>(cause))
            .or_else(|| blame_as::<ServerError>(cause))
            .or_else(|| blame_as::<SetupError>(cause))
            .or_else(|| cause.downcast_ref().map(file_blame))
    });
    told.unwrap_or_else(|| match find::<io::Error>(error) {
        Some(_) => Blame::Data,
        None => Blame::Caller,
    })
}

fn file_blame(error: &ModelError) -> Blame {
    match error.fault() {
        Fault::Caller => Blame::Caller,
        Fault::Data => Blame::Data,
        Fault::Capacity => Blame::Capacity,
    }
}

fn blame_as<E: Blamed>(error: &(dyn Error + 'static)) -> Option<Blame> {
    error.downcast_ref::<E>().map(Blamed::blame)
}

fn find<E: Error + 'static>(error: &anyhow::Error) -> Option<&E> {
    error.chain().find_map(|cause| cause.downcast_ref::<E>())
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    find::<io::Error>(error).is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// The error with its causes on one line, and its hints on lines of their own.
fn message(error: &anyhow::Error) -> String {
    let mut said: Vec<String> = Vec::new();
    let mut hints: Vec<String> = Vec::new();
    for cause in error.chain() {
        let text = cause.to_string();
        let (first, rest) = text.split_once('\n').unwrap_or((&text, ""));
        // Some errors tell their cause themselves.
        if !said.iter().any(|part| part.ends_with(first)) {
            said.push(first.to_owned());
        }
        hints.extend(rest.lines().map(str::to_owned));
    }
    let mut lines = vec![said.join(": ")];
    lines.extend(hints);
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn each_blame_has_its_code() {
        let check = |error: anyhow::Error, wanted: u8| assert_eq!(code(&error), wanted, "{error}");
        check(
            TaskError::ResultCount {
                given: 1,
                wanted: 2,
            }
            .into(),
            1,
        );
        check(anyhow::anyhow!("no prompt is given"), 2);
        check(TaskError::NoSuchRun { run: 3 }.into(), 2);
        check(RecordError::UnclosedQuote { line: 3 }.into(), 3);
        let missing = io::Error::from(io::ErrorKind::NotFound);
        check(anyhow::Error::from(missing).context("cannot read x"), 3);
        let full = TaskError::Write {
            source: io::ErrorKind::StorageFull.into(),
        };
        check(full.into(), 4);
        check(
            TaskError::Engine {
                line: 1,
                source: EngineError::Cancelled,
            }
            .into(),
            130,
        );
    }

    #[test]
    fn causes_stand_on_one_line_and_hints_on_their_own() {
        let error = Err::<(), _>(TaskError::NoSuchRun { run: 3 }).context("cannot show it");
        let message = message(&error.unwrap_err());
        assert_eq!(
            message,
            "cannot show it: there is no run 3\nhint: `autoglm runs` lists them"
        );
    }
}
