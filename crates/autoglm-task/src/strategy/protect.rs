//! What no rewrite may lose: the labels and the user's rules stand in every prompt.

use autoglm_spec::{ModelFacts, Output, TaskSpec};

use super::Strategy;
use crate::compose::{ComposeError, Composer};
use crate::run::RunSettings;

/// What a strategy would lose.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Unprotected {
    /// A label that prompts no longer name.
    #[error("the label {label:?} does not stand in the prompt")]
    Label {
        /// Its wording.
        label: String,
    },
    /// A rule of the task that prompts no longer state.
    #[error("the rule {rule:?} does not stand in the prompt")]
    Rule {
        /// The rule.
        rule: String,
    },
    /// No prompt comes of the strategy.
    #[error("the strategy makes no prompt")]
    Compose {
        /// Why.
        #[source]
        source: ComposeError,
    },
}

/// Checks that what stands before the examples still names every label as a word of its own and
/// states every rule of the task.
///
/// # Errors
/// The first that is lost.
pub fn check(strategy: &Strategy, spec: &TaskSpec, model: &ModelFacts) -> Result<(), Unprotected> {
    let (mut applied, _) = strategy.apply(spec, &RunSettings::default());
    Composer::new(&applied, model).map_err(|source| Unprotected::Compose { source })?;
    applied.examples.clear();
    let composer =
        Composer::new(&applied, model).map_err(|source| Unprotected::Compose { source })?;
    let said = squeezed(&composer.stable_prefix());
    if let Output::Labels { labels } = &spec.output {
        let lost = labels.iter().find(|label| !names(&said, &label.word));
        if let Some(label) = lost {
            return Err(Unprotected::Label {
                label: label.word.clone(),
            });
        }
    }
    let lost = spec
        .constraints
        .iter()
        .find(|rule| !said.contains(&squeezed(rule)));
    match lost {
        Some(rule) => Err(Unprotected::Rule { rule: rule.clone() }),
        None => Ok(()),
    }
}

/// Lower case with single blanks, so that a line break does not hide a rule.
fn squeezed(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").to_lowercase()
}

/// Whether a text names a label, other than as a part of a longer word.
fn names(text: &str, label: &str) -> bool {
    let label = squeezed(label);
    let is_word = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    text.match_indices(&label).any(|(at, found)| {
        let before = text[..at].chars().next_back();
        let after = text[at + found.len()..].chars().next();
        let starts = is_word(before) && is_word(label.chars().next());
        let ends = is_word(after) && is_word(label.chars().next_back());
        !starts && !ends
    })
}
