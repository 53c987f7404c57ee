//! Which passages a search looks at.

use crate::RetrieveError;
use crate::text::TextLanguage;

/// Passages that all of some clauses hold for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// The clauses; none lets every passage through.
    pub clauses: Vec<Clause>,
}

/// What is asked of a passage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Clause {
    /// Its document's path matches a pattern, in which `*` stands for any characters.
    Path(String),
    /// Its document has this format.
    Format(String),
    /// Most of it is in this language.
    Language(TextLanguage),
    /// A field of it has this value, written as text.
    Field {
        /// The name of the field.
        name: String,
        /// Its value.
        value: String,
    },
}

impl Filter {
    /// Whether it lets every passage through.
    pub fn is_empty(&self) -> bool {
        self.clauses.is_empty()
    }

    /// Understands clauses such as `path=*/guide/*`, `format=pdf`, `language=zh` and, of fields,
    /// `year=2001`.
    ///
    /// # Errors
    /// A clause without a name or value, or a language that is none.
    pub fn parse<S: AsRef<str>>(clauses: &[S]) -> Result<Self, RetrieveError> {
        let clauses = clauses.iter().map(|clause| parse_clause(clause.as_ref()));
        Ok(Self {
            clauses: clauses.collect::<Result<_, _>>()?,
        })
    }
}

fn parse_clause(given: &str) -> Result<Clause, RetrieveError> {
    let refuse = |wanted| RetrieveError::Filter {
        given: given.to_owned(),
        wanted,
    };
    let Some((name, value)) = given.split_once('=').filter(|(name, _)| !name.is_empty()) else {
        return Err(refuse("NAME=VALUE"));
    };
    Ok(match name {
        "path" => Clause::Path(value.to_owned()),
        "format" => Clause::Format(value.to_lowercase()),
        "language" => Clause::Language(
            TextLanguage::named(value).ok_or_else(|| refuse("en, zh, mixed or other"))?,
        ),
        name => Clause::Field {
            name: name.to_owned(),
            value: value.to_owned(),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clauses_are_understood_and_others_are_refused_with_what_is_wanted() {
        let filter = Filter::parse(&["path=a=b", "language=zh", "year=2001"]).unwrap();
        assert_eq!(
            filter.clauses,
            [
                Clause::Path("a=b".to_owned()),
                Clause::Language(TextLanguage::Chinese),
                Clause::Field {
                    name: "year".to_owned(),
                    value: "2001".to_owned()
                },
            ]
        );
        for (given, wanted) in [
            ("pdf", "NAME=VALUE"),
            ("=x", "NAME=VALUE"),
            ("language=fr", "en, zh"),
        ] {
            let error = Filter::parse(&[given]).unwrap_err().to_string();
            assert!(error.contains(wanted), "{error}");
        }
    }
}
