//! The texts that are nearest to another one, however many are looked at.

use std::io::{self, Write};

use autoglm_spec::Similarity;
use serde_json::json;

/// The nearest texts so far.
pub(super) struct Ranking {
    query: Vec<f32>,
    similarity: Similarity,
    limit: usize,
    /// The nearest first; of equally near ones the earlier.
    nearest: Vec<Ranked>,
}

struct Ranked {
    near: f32,
    line: Option<u64>,
    text: String,
}

impl Ranking {
    /// An empty ranking of at most `limit` texts.
    pub(super) fn new(query: Vec<f32>, similarity: Similarity, limit: usize) -> Self {
        Self {
            query,
            similarity,
            limit,
            nearest: Vec::new(),
        }
    }

    /// Puts a text where it belongs.
    pub(super) fn add(&mut self, line: Option<u64>, text: String, vector: &[f32]) {
        let near = self.similarity.of(&self.query, vector);
        let place = self.nearest.partition_point(|other| other.near >= near);
        if place < self.limit {
            self.nearest.truncate(self.limit - 1);
            self.nearest.insert(place, Ranked { near, line, text });
        }
    }

    /// Writes a table, or JSON lines.
    ///
    /// # Errors
    /// What the output says.
    pub(super) fn write(&self, out: &mut dyn Write, as_json: bool) -> io::Result<()> {
        for Ranked { near, line, text } in &self.nearest {
            if as_json {
                let mut row = json!({"similarity": near, "text": text});
                if let Some(line) = line {
                    row["line"] = (*line).into();
                }
                writeln!(out, "{row}")?;
            } else {
                // A text on several lines is one line of the table.
                let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
                writeln!(out, "{near:>7.4}  {text}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_are_kept_in_order_and_equals_as_they_came() {
        let mut ranking = Ranking::new(vec![1.0, 0.0], Similarity::Cosine, 3);
        for (line, x) in [(1, 0.5), (2, 0.9), (3, 0.5), (4, 0.1), (5, 0.7)] {
            ranking.add(Some(line), format!("text\n{line}"), &[x, 0.0]);
        }
        let mut out = Vec::new();
        ranking.write(&mut out, false).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            " 0.9000  text 2\n 0.7000  text 5\n 0.5000  text 1\n"
        );
    }
}
