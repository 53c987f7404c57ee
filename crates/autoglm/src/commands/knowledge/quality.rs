//! How good answers are on questions whose answers are known.

use std::fmt;
use std::path::Path;

use autoglm_retrieve::answer::AnswerSettings;
use autoglm_retrieve::chunk::ChunkSettings;
use autoglm_retrieve::eval::{
    AnswerReport, Answered, Asked, ClosedBookReport, Estimate, Reading, measure_answers,
    measure_closed_book,
};
use autoglm_retrieve::index::Indexer;
use autoglm_retrieve::read::{Format, Limits};
use autoglm_retrieve::search::{Ranked, SearchSettings};
use autoglm_spec::Embed;
use serde::Serialize;

use super::ask::Bench;
use super::progress::say;
use super::{as_embed, knows_chinese};

/// Tokens of a passage: passages of the file stay whole.
const WHOLE: usize = 1 << 16;

/// Answers in four situations.
#[derive(Debug, Serialize)]
pub(super) struct QualityReport {
    /// From passages that were found.
    found: AnswerReport,
    /// From the passage that has the answer, and no refusal before the model is asked.
    given: AnswerReport,
    /// From passages that were found among all others: nothing should be answered.
    removed: AnswerReport,
    /// From no passage at all, and without any check: what the model knows by itself.
    closed_book: ClosedBookReport,
}

/// Asks questions of a file, at most so many.
///
/// # Errors
/// A file that is not understood, an engine that fails.
pub(super) fn evaluate(
    bench: &mut Bench,
    file: &Path,
    limit: Option<usize>,
) -> anyhow::Result<QualityReport> {
    let reading = Reading::read(file)?;
    fill(bench, &reading)?;
    let limit = limit.unwrap_or(usize::MAX).max(1);
    let step = reading.questions.len().div_ceil(limit).max(1);
    let [mut found, mut given, mut removed] = [Vec::new(), Vec::new(), Vec::new()];
    let mut closed_book = Vec::new();
    // One more passage than is shown, in case the right one is taken away.
    bench.search = SearchSettings {
        limit: bench.answer.passages + 1,
        ..bench.search.clone()
    };
    for (number, asked) in (1..).zip(reading.questions.iter().step_by(step)) {
        let passages = bench.find(&asked.question)?;
        let (right, others): (Vec<Ranked>, Vec<Ranked>) = passages
            .iter()
            .cloned()
            .partition(|ranked| is_of(ranked, asked));
        let settings = bench.answer;
        let shown = passages.into_iter().take(settings.passages).collect();
        found.push(answered(bench, asked, shown, &settings)?);
        removed.push(answered(bench, asked, others, &settings)?);
        let trusting = AnswerSettings {
            min_coverage: 0.0,
            min_coverage_chinese: 0.0,
            ..settings
        };
        given.push(answered(bench, asked, right, &trusting)?);
        closed_book.push((asked, bench.closed_book(&asked.question)?));
        if number % 50 == 0 {
            say(&format!("{number} questions"));
        }
    }
    Ok(QualityReport {
        found: measure_answers(&found),
        given: measure_answers(&given),
        removed: measure_answers(&removed),
        closed_book: measure_closed_book(&closed_book),
    })
}

fn is_of(ranked: &Ranked, asked: &Asked) -> bool {
    ranked.passage.record.as_deref() == Some(asked.passage.as_str())
}

fn answered<'a>(
    bench: &Bench,
    asked: &'a Asked,
    found: Vec<Ranked>,
    settings: &AnswerSettings,
) -> anyhow::Result<Answered<'a>> {
    let answer = bench.answer(&asked.question, found, settings)?;
    Ok(Answered { asked, answer })
}

/// Puts the passages of a file into the empty store.
fn fill(bench: &mut Bench, reading: &Reading) -> anyhow::Result<()> {
    let embed = as_embed(bench.embedder.as_ref());
    let tokens = |text: &str| text.len();
    let mut indexer = Indexer {
        store: &mut *bench.store,
        embed,
        vectors_know_chinese: knows_chinese(embed.map(Embed::space)),
        tokens: &tokens,
        chunks: ChunkSettings { max_tokens: WHOLE },
        limits: Limits::default(),
        now_ns: 0,
        cancel: &bench.cancel,
    };
    indexer.put("passages", reading.passages.as_bytes(), Format::Jsonl)?;
    Ok(())
}

/// Something that is measured of answers.
type Value = fn(&AnswerReport) -> Estimate;
/// The same of answers that rest on nothing, where it can be measured of them.
type ClosedBookValue = fn(&ClosedBookReport) -> Option<Estimate>;

impl fmt::Display for QualityReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} questions", self.found.questions)?;
        writeln!(
            f,
            "{:<24} {:>20} {:>20} {:>20} {:>20}",
            "", "passages found", "passage given", "passage removed", "closed book"
        )?;
        let rows: [(&str, Value, ClosedBookValue); 8] = [
            ("refused", |r| r.refused, |_| None),
            ("exact match", |r| r.exact_match, |r| Some(r.exact_match)),
            ("F1", |r| r.f1, |r| Some(r.f1)),
            ("F1 of answers", |r| r.f1_answered, |_| None),
            ("citations resolve", |r| r.citations_resolved, |_| None),
            ("citations bear out", |r| r.citations_bear_out, |_| None),
            ("citation precision", |r| r.citation_precision, |_| None),
            ("citation recall", |r| r.citation_recall, |_| None),
        ];
        for (name, value, of_closed_book) in rows {
            write!(f, "{name:<24}")?;
            for report in [&self.found, &self.given, &self.removed] {
                write!(f, " {:>20}", told(value(report)))?;
            }
            let of_closed_book = of_closed_book(&self.closed_book);
            writeln!(f, " {:>20}", of_closed_book.map_or("–".to_owned(), told))?;
        }
        Ok(())
    }
}

fn told(estimate: Estimate) -> String {
    let Estimate { mean, low, high } = estimate;
    format!("{mean:.3} ({low:.3}–{high:.3})")
}
