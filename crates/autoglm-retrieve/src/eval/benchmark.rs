//! Folders of queries with judgements, as BEIR lays them out.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::RetrieveError;

/// Where judgements may stand, below the folder: TREC's four columns, or BEIR's three with names.
const JUDGEMENTS: [&str; 3] = ["qrels.txt", "qrels/test.tsv", "qrels.tsv"];

/// A query with what is relevant to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// Its name.
    pub name: String,
    /// The query.
    pub text: String,
    /// The names of relevant documents, and how relevant each is.
    pub grades: BTreeMap<String, u32>,
}

/// Queries with judgements, over a file of documents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Benchmark {
    /// The file of documents, an object a line.
    pub corpus: PathBuf,
    /// The queries for which something is relevant, in the order of their file.
    pub queries: Vec<Judged>,
}

impl Benchmark {
    /// Reads `queries.jsonl` and the judgements of a folder.
    ///
    /// # Errors
    /// A file that is not there or not what it should be.
    pub fn read(folder: &Path) -> Result<Self, RetrieveError> {
        let judgements = JUDGEMENTS.iter().map(|name| folder.join(name));
        let judgements = judgements.into_iter().find(|path| path.is_file());
        let mut grades = read_grades(&judgements.unwrap_or_else(|| folder.join(JUDGEMENTS[0])))?;
        let path = folder.join("queries.jsonl");
        let mut queries = Vec::new();
        for (line, text) in (1..).zip(read(&path)?.lines()) {
            if text.trim().is_empty() {
                continue;
            }
            let (name, text) = query(text)
                .ok_or_else(|| malformed(&path, line, "a JSON object with _id or id, and text"))?;
            if let Some(grades) = grades.remove(&name) {
                queries.push(Judged { name, text, grades });
            }
        }
        if queries.is_empty() {
            return Err(malformed(&path, 0, "queries that the judgements name"));
        }
        Ok(Self {
            corpus: folder.join("corpus.jsonl"),
            queries,
        })
    }
}

fn read(path: &Path) -> Result<String, RetrieveError> {
    fs::read_to_string(path).map_err(|source| RetrieveError::Read {
        path: path.display().to_string(),
        source,
    })
}

fn malformed(path: &Path, line: usize, wanted: &'static str) -> RetrieveError {
    RetrieveError::Malformed {
        path: path.display().to_string(),
        line,
        wanted,
    }
}

fn query(line: &str) -> Option<(String, String)> {
    let fields: Value = serde_json::from_str(line).ok()?;
    let name = match fields.get("_id").or(fields.get("id"))? {
        Value::String(name) => name.clone(),
        other => other.to_string(),
    };
    Some((name, fields.get("text")?.as_str()?.to_owned()))
}

fn read_grades(path: &Path) -> Result<BTreeMap<String, BTreeMap<String, u32>>, RetrieveError> {
    let mut all: BTreeMap<String, BTreeMap<String, u32>> = BTreeMap::new();
    for (line, text) in (1..).zip(read(path)?.lines()) {
        let columns: Vec<&str> = text.split_whitespace().collect();
        let (query, document, grade) = match columns[..] {
            [] | ["query-id", ..] => continue,
            [query, _, document, grade] | [query, document, grade] => (query, document, grade),
            _ => return Err(malformed(path, line, "query, document and grade")),
        };
        // Grades below 0 are judged, and not relevant.
        let grade: i64 = grade
            .parse()
            .map_err(|_| malformed(path, line, "a number as grade"))?;
        let grades = all.entry(query.to_owned()).or_default();
        grades.insert(document.to_owned(), u32::try_from(grade).unwrap_or(0));
    }
    all.retain(|_, grades| grades.values().any(|grade| *grade > 0));
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_layouts_are_read_and_queries_without_judgements_are_left_out() {
        for (name, text) in [
            ("qrels.txt", "q1 0 d1 1\nq1 0 d2 -1\nq3 0 d1 0\n"),
            (
                "qrels/test.tsv",
                "query-id\tcorpus-id\tscore\nq1\td1\t1\nq1\td2\t-1\nq3\td1\t0\n",
            ),
        ] {
            let folder = tempfile::tempdir().unwrap();
            fs::create_dir_all(folder.path().join("qrels")).unwrap();
            fs::write(folder.path().join(name), text).unwrap();
            let queries = "{\"_id\": \"q1\", \"text\": \"a\"}\n{\"id\": \"q2\", \"text\": \"b\"}\n";
            fs::write(folder.path().join("queries.jsonl"), queries).unwrap();
            let found = Benchmark::read(folder.path()).unwrap();
            assert_eq!(found.queries.len(), 1);
            assert_eq!(
                found.queries[0].grades,
                [("d1".to_owned(), 1), ("d2".to_owned(), 0)].into()
            );
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("qrels.txt"), "q1 0 d1 1\nq1 d1\n").unwrap();
        let error = Benchmark::read(folder.path()).unwrap_err().to_string();
        assert!(
            error.ends_with("qrels.txt, line 2: want query, document and grade"),
            "{error}"
        );
    }
}
