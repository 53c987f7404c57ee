//! Questions about passages with their answers, as `SQuAD` lays them out.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::RetrieveError;

/// A question about a passage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The question.
    pub question: String,
    /// Answers that are right.
    pub answers: Vec<String>,
    /// The name of the passage that has them.
    pub passage: String,
}

/// Passages with questions about them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// The passages as JSON lines with `id` and `text`.
    pub passages: String,
    /// The questions, in the order of the file.
    pub questions: Vec<Asked>,
}

impl Reading {
    /// Reads a file.
    ///
    /// # Errors
    /// A file that cannot be read or is laid out in another way.
    pub fn read(path: &Path) -> Result<Self, RetrieveError> {
        let name = || path.display().to_string();
        let text = fs::read_to_string(path).map_err(|source| RetrieveError::Read {
            path: name(),
            source,
        })?;
        Self::parse(&text).ok_or_else(|| RetrieveError::Malformed {
            path: name(),
            line: 0,
            wanted: "data[].paragraphs[].{context, qas[].{question, answers[].text}}",
        })
    }

    fn parse(text: &str) -> Option<Self> {
        let file: Value = serde_json::from_str(text).ok()?;
        let mut reading = Self {
            passages: String::new(),
            questions: Vec::new(),
        };
        for article in file.get("data")?.as_array()? {
            for paragraph in article.get("paragraphs")?.as_array()? {
                let passage = reading.passages.lines().count().to_string();
                let line = json!({"id": passage, "text": paragraph.get("context")?.as_str()?});
                reading.passages.push_str(&line.to_string());
                reading.passages.push('\n');
                for asked in paragraph.get("qas")?.as_array()? {
                    reading.questions.push(question(asked, &passage)?);
                }
            }
        }
        Some(reading)
    }
}

fn question(asked: &Value, passage: &str) -> Option<Asked> {
    let answers = asked.get("answers")?.as_array()?;
    let answers = answers
        .iter()
        .map(|answer| Some(answer.get("text")?.as_str()?.to_owned()));
    Some(Asked {
        question: asked.get("question")?.as_str()?.to_owned(),
        answers: answers.collect::<Option<Vec<_>>>()?,
        passage: passage.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::Reading;

    #[test]
    fn passages_and_questions_are_read() {
        let file = r#"{"data": [{"paragraphs": [{"context": "Oil it.", "qas": [
            {"question": "What?", "answers": [{"text": "Oil", "answer_start": 0}]}]}]}]}"#;
        let found = Reading::parse(file).unwrap();
        assert_eq!(found.passages, "{\"id\":\"0\",\"text\":\"Oil it.\"}\n");
        assert_eq!(found.questions[0].answers, ["Oil"]);
        assert_eq!(Reading::parse("[]"), None);
    }
}
