//! Confines generated text to a JSON schema, a regular expression or a grammar: before every choice it says
//! which tokens may come next, after it it takes the chosen one in.

mod check;
mod error;
mod token_trie;

use std::sync::Arc;

use autoglm_spec::Constraint;
use autoglm_token::{TokenId, Tokenizer};
use llguidance::api::TopLevelGrammar;
use llguidance::{JsonCompileOptions, Matcher, ParserFactory};
use serde_json::Value;
use toktrie::SimpleVob;

pub(crate) use check::ConstraintCheck;
pub use error::ConstraintError;

/// Turns constraints into states, for one vocabulary. To build it takes the tokens of the whole
/// vocabulary into a trie, so it is made once, when the first constraint comes.
pub struct ConstraintFactory {
    parsers: ParserFactory,
}

impl std::fmt::Debug for ConstraintFactory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConstraintFactory").finish_non_exhaustive()
    }
}

impl ConstraintFactory {
    /// Builds the trie of a vocabulary.
    ///
    /// # Errors
    /// [`ConstraintError::NoEndToken`] or [`ConstraintError::Vocabulary`].
    pub fn new(tokenizer: &Arc<Tokenizer>) -> Result<Self, ConstraintError> {
        let environment = token_trie::environment(tokenizer)?;
        let mut parsers = ParserFactory::new_simple(&environment).map_err(|error| {
            ConstraintError::Vocabulary {
                source: error.into(),
            }
        })?;
        parsers.quiet();
        // What was generated so far does not belong into messages.
        parsers.limits_mut().verbose_errors = false;
        Ok(Self { parsers })
    }

    /// The state of a constraint before the first token.
    ///
    /// # Errors
    /// [`ConstraintError::Schema`], [`ConstraintError::Regex`] or [`ConstraintError::Grammar`], with
    /// what is wrong as its source.
    pub fn start(&self, constraint: &Constraint) -> Result<ConstraintState, ConstraintError> {
        let parser = self.parsers.create_parser(grammar(constraint)?);
        let parser = parser.map_err(|error| broken_grammar(constraint, error))?;
        Ok(ConstraintState {
            matcher: Matcher::new(Ok(parser)),
        })
    }
}

/// What is wrong with a constraint that cannot be compiled.
fn broken_grammar(
    constraint: &Constraint,
    error: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> ConstraintError {
    let source = error.into();
    match constraint {
        Constraint::JsonSchema(_) => ConstraintError::Schema { source },
        Constraint::Regex(_) => ConstraintError::Regex { source },
        Constraint::Grammar(_) => ConstraintError::Grammar { source },
    }
}

fn grammar(constraint: &Constraint) -> Result<TopLevelGrammar, ConstraintError> {
    match constraint {
        Constraint::Regex(pattern) => Ok(TopLevelGrammar::from_regex(pattern)),
        Constraint::JsonSchema(schema) => Ok(TopLevelGrammar::from_json_schema(tight(schema)?)),
        Constraint::Grammar(lark) => Ok(TopLevelGrammar::from_lark(lark.clone())),
    }
}

/// The schema with the spelling that Python's `json.dumps` has by default, which models have seen
/// most. Free whitespace is not allowed: small models run away in it. A schema that chooses a
/// spelling itself keeps it.
fn tight(schema: &Value) -> Result<Value, ConstraintError> {
    let mut schema = match schema {
        Value::Object(fields) if fields.contains_key("x-guidance") => return Ok(schema.clone()),
        Value::Object(_) => schema.clone(),
        Value::Bool(_) => serde_json::json!({ "allOf": [schema] }),
        _ => {
            return Err(ConstraintError::NotASchema {
                given: kind(schema),
            });
        }
    };
    let spelling = JsonCompileOptions {
        item_separator: ", ".to_owned(),
        key_separator: ": ".to_owned(),
        whitespace_flexible: false,
        ..JsonCompileOptions::default()
    };
    spelling.apply_to(&mut schema);
    Ok(schema)
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// How far a text has come under a constraint.
pub struct ConstraintState {
    matcher: Matcher,
}

impl std::fmt::Debug for ConstraintState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConstraintState").finish_non_exhaustive()
    }
}

impl ConstraintState {
    /// Makes the logits of all tokens that must not come next negative infinity. Where the text
    /// may end, the tokens that end generation are among those that may come.
    ///
    /// # Errors
    /// [`ConstraintError::Failed`] if no token may come, or a limit of the parser is reached.
    pub fn apply(&mut self, logits: &mut [f32]) -> Result<(), ConstraintError> {
        let allowed = self.matcher.compute_mask_or_eos().map_err(failed)?;
        mask(logits, &allowed);
        Ok(())
    }

    /// Takes in the token that was chosen, and says whether the text is complete, so that nothing
    /// may follow.
    ///
    /// # Errors
    /// [`ConstraintError::Failed`] if the token was not allowed.
    pub fn accept(&mut self, token: TokenId) -> Result<bool, ConstraintError> {
        self.matcher.consume_token(token).map_err(failed)?;
        Ok(self.matcher.is_stopped())
    }

    /// The tokens that follow whatever the model says, none where it has a choice. They are not
    /// taken in: that is for [`Self::accept`].
    pub fn forced(&mut self) -> Vec<TokenId> {
        self.matcher.compute_ff_tokens()
    }

    /// Whether the text satisfies the constraint as it stands, even if more may follow.
    ///
    /// # Errors
    /// [`ConstraintError::Failed`] if the state has failed before.
    pub fn is_satisfied(&mut self) -> Result<bool, ConstraintError> {
        if self.matcher.is_stopped() && !self.matcher.is_error() {
            return Ok(true);
        }
        self.matcher.is_accepting().map_err(failed)
    }
}

fn failed(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> ConstraintError {
    ConstraintError::Failed {
        source: error.into(),
    }
}

/// Keeps the logits whose bit is set. Rows of the output head beyond the vocabulary have no bit.
fn mask(logits: &mut [f32], allowed: &SimpleVob) {
    let mut words = allowed.as_slice().iter();
    for chunk in logits.chunks_mut(u32::BITS as usize) {
        match words.next() {
            Some(&u32::MAX) => {}
            Some(&word) => {
                for (bit, logit) in chunk.iter_mut().enumerate() {
                    if word >> bit & 1 == 0 {
                        *logit = f32::NEG_INFINITY;
                    }
                }
            }
            None => chunk.fill(f32::NEG_INFINITY),
        }
    }
}
