//! Words as the SQLite store knows them: cut, folded and stemmed by its own tokenizer, so that both
//! stores find the same.

use std::collections::HashMap;

use rusqlite::Connection;
use sha2::{Digest, Sha256};

use crate::RetrieveError;

/// Terms whose stems are remembered; a text has few that the ones before it had not.
const REMEMBERED: usize = 100_000;

/// What a term is known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stem {
    /// Eight bytes of its hash.
    pub(super) word: i64,
    /// How many words the tokenizer makes of it: nearly always one.
    pub(super) words: i64,
}

/// Makes stems of terms.
pub(super) struct Stems {
    tokenizer: Connection,
    /// None for terms in which the tokenizer sees no word.
    known: HashMap<String, Option<Stem>>,
}

impl Stems {
    pub(super) fn new() -> Result<Self, RetrieveError> {
        let tokenizer = || -> rusqlite::Result<Connection> {
            let connection = Connection::open_in_memory()?;
            connection.execute_batch(
                "CREATE VIRTUAL TABLE words USING fts5 (\
                     text, content = '', tokenize = 'porter unicode61 remove_diacritics 2'); \
                 CREATE VIRTUAL TABLE tokens USING fts5vocab (words, 'instance');",
            )?;
            Ok(connection)
        };
        Ok(Self {
            tokenizer: tokenizer().map_err(failed)?,
            known: HashMap::new(),
        })
    }

    /// The stems of some terms, in that order.
    pub(super) fn of(&mut self, terms: &[String]) -> Result<Vec<Option<Stem>>, RetrieveError> {
        if self.known.len() > REMEMBERED {
            self.known.clear();
        }
        let mut unknown: Vec<&String> = terms
            .iter()
            .filter(|term| !self.known.contains_key(*term))
            .collect();
        unknown.sort_unstable();
        unknown.dedup();
        if !unknown.is_empty() {
            let tokens = self.tokens(&unknown).map_err(failed)?;
            for (term, tokens) in unknown.into_iter().zip(tokens) {
                self.known.insert(term.clone(), stem(&tokens));
            }
        }
        Ok(terms
            .iter()
            .map(|term| self.known.get(term).copied().flatten())
            .collect())
    }

    /// What the tokenizer makes of each of some terms.
    fn tokens(&mut self, terms: &[&String]) -> rusqlite::Result<Vec<Vec<String>>> {
        let work = self.tokenizer.transaction()?;
        {
            let mut insert =
                work.prepare_cached("INSERT INTO words (rowid, text) VALUES (?1, ?2)")?;
            for (row, term) in terms.iter().enumerate() {
                insert.execute((row as i64, term))?;
            }
        }
        let mut found = vec![Vec::new(); terms.len()];
        {
            let mut read =
                work.prepare_cached("SELECT doc, term FROM tokens ORDER BY doc, offset")?;
            let mut rows = read.query([])?;
            while let Some(row) = rows.next()? {
                if let Some(tokens) = found.get_mut(row.get::<_, i64>(0)? as usize) {
                    tokens.push(row.get(1)?);
                }
            }
        }
        work.execute("INSERT INTO words (words) VALUES ('delete-all')", [])?;
        work.commit()?;
        Ok(found)
    }
}

fn stem(tokens: &[String]) -> Option<Stem> {
    let hash: [u8; 32] = Sha256::digest(tokens.join(" ").as_bytes()).into();
    let (first, _) = hash.split_first_chunk::<8>()?;
    (!tokens.is_empty()).then_some(Stem {
        word: i64::from_be_bytes(*first),
        words: tokens.len() as i64,
    })
}

fn failed(source: rusqlite::Error) -> RetrieveError {
    RetrieveError::Store {
        action: "cut words",
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_a_word_have_one_stem_and_what_is_no_word_has_none() {
        let mut stems = Stems::new().unwrap();
        let terms = ["oiled", "oiling", "ünï", "uni", "油", "水", "pump"].map(str::to_owned);
        for _ in 0..2 {
            let found = stems.of(&terms).unwrap();
            assert_eq!(found[0], found[1]);
            assert_eq!(found[2], found[3]);
            assert_ne!(found[4], found[5]);
            assert!(found.iter().all(|stem| stem.is_some_and(|s| s.words == 1)));
        }
        // A sign of a script that the tokenizer takes for none of a word.
        assert_eq!(stems.of(&["\u{2460}\u{0345}".to_owned()]).unwrap().len(), 1);
        assert_eq!(stems.of(&["\u{0345}".to_owned()]).unwrap(), [None]);
    }
}
