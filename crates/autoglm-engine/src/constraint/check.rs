//! Whether a text that is already there satisfies a constraint: for answers of servers, which may
//! or may not have confined their models.

use autoglm_spec::Constraint;
use llguidance::api::TopLevelGrammar;
use llguidance::{Matcher, ParserFactory};
use serde_json::{Value, json};
use toktrie::{ApproximateTokEnv, TokenId};

use super::{ConstraintError, broken_grammar, kind};

/// A constraint that texts are held against. The rules are those under which the local engine
/// generates, except that JSON may be spelt with any white space.
pub(crate) struct ConstraintCheck {
    parsers: ParserFactory,
    constraint: Constraint,
}

impl ConstraintCheck {
    /// # Errors
    /// [`ConstraintError::Schema`], [`ConstraintError::Regex`] or [`ConstraintError::Grammar`], with
    /// what is wrong as its source.
    pub(crate) fn new(constraint: &Constraint) -> Result<Self, ConstraintError> {
        // A text is a run of bytes whatever the model's tokens were.
        let bytes = ApproximateTokEnv::single_byte_env();
        let mut parsers =
            ParserFactory::new_simple(&bytes).map_err(|error| ConstraintError::Vocabulary {
                source: error.into(),
            })?;
        parsers.quiet();
        parsers.limits_mut().verbose_errors = false;
        let check = Self {
            parsers,
            constraint: constraint.clone(),
        };
        check.matcher()?;
        Ok(check)
    }

    /// Whether the whole text satisfies the constraint. Space around JSON does not count.
    pub(crate) fn is_satisfied_by(&self, text: &str) -> bool {
        let text = match self.constraint {
            Constraint::JsonSchema(_) => text.trim(),
            Constraint::Regex(_) | Constraint::Grammar(_) => text,
        };
        let bytes: Vec<TokenId> = text.bytes().map(TokenId::from).collect();
        let Ok(mut matcher) = self.matcher() else {
            return false;
        };
        let taken = matcher.try_consume_tokens(&bytes);
        let all = taken.is_ok_and(|count| count == bytes.len());
        all && !matcher.is_error()
            && (matcher.is_stopped() || matcher.is_accepting().unwrap_or(false))
    }

    fn matcher(&self) -> Result<Matcher, ConstraintError> {
        let grammar = match &self.constraint {
            Constraint::Regex(pattern) => TopLevelGrammar::from_regex(pattern),
            Constraint::JsonSchema(schema) => TopLevelGrammar::from_json_schema(object(schema)?),
            Constraint::Grammar(lark) => TopLevelGrammar::from_lark(lark.clone()),
        };
        let parser = self.parsers.create_parser(grammar);
        let parser = parser.map_err(|error| broken_grammar(&self.constraint, error))?;
        Ok(Matcher::new(Ok(parser)))
    }
}

/// The schema as an object, which `true` and `false` are not.
fn object(schema: &Value) -> Result<Value, ConstraintError> {
    match schema {
        Value::Object(_) => Ok(schema.clone()),
        Value::Bool(_) => Ok(json!({ "allOf": [schema] })),
        _ => Err(ConstraintError::NotASchema {
            given: kind(schema),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_regular_expression_matches_from_start_to_end() {
        let check = ConstraintCheck::new(&Constraint::Regex("a+(的|b)".to_owned())).unwrap();
        for (text, wanted) in [
            ("aab", true),
            ("a的", true),
            ("aa", false),
            ("aabb", false),
            ("", false),
        ] {
            assert_eq!(check.is_satisfied_by(text), wanted, "{text}");
        }
    }

    #[test]
    fn json_is_held_against_its_schema_in_any_spelling() {
        let schema = json!({"type": "object", "required": ["n"], "additionalProperties": false,
            "properties": {"n": {"type": "integer", "minimum": 0}}});
        let check = ConstraintCheck::new(&Constraint::JsonSchema(schema)).unwrap();
        for (text, wanted) in [
            ("{\"n\": 3}", true),
            ("\n{ \"n\":3 }\n", true),
            ("{\"n\": -3}", false),
            ("{\"n\": \"3\"}", false),
            ("{\"m\": 3}", false),
            ("{\"n\": 3", false),
            ("{\"n\": 3} and more", false),
            ("", false),
        ] {
            assert_eq!(check.is_satisfied_by(text), wanted, "{text}");
        }
    }

    #[test]
    fn a_constraint_that_cannot_be_followed_is_refused() {
        assert!(ConstraintCheck::new(&Constraint::Regex("(".to_owned())).is_err());
        assert!(ConstraintCheck::new(&Constraint::JsonSchema(json!(3))).is_err());
    }
}
