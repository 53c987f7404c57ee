//! Passages for people to read.

use std::io::{self, Write};

use autoglm_retrieve::Passage;
use autoglm_retrieve::search::{ListName, Ranked};
use autoglm_retrieve::text::{content_words, sentences};

/// Characters of a passage that are shown.
const SHOWN_CHARS: usize = 240;

/// Writes a passage that was found, with where it is and the part of it that says most of the query.
///
/// # Errors
/// What the output says.
pub(super) fn passage(
    out: &mut dyn Write,
    (number, ranked): (usize, &Ranked),
    query: &str,
    explain: bool,
) -> io::Result<()> {
    writeln!(
        out,
        "[{number}] {:.3}  {}",
        ranked.score,
        source(&ranked.passage)
    )?;
    writeln!(out, "    {}", extract(&ranked.passage.text, query))?;
    if explain {
        for share in &ranked.lists {
            let list = match share.list {
                ListName::Words => "words",
                ListName::Meaning => "meaning",
            };
            writeln!(
                out,
                "    {list}: rank {}, score {:.3}, adds {:.3}",
                share.rank, share.score, share.adds
            )?;
        }
        if let Some(relevance) = ranked.relevance {
            writeln!(out, "    model: {relevance:.3}")?;
        }
    }
    Ok(())
}

/// The passage from the sentence on that has most of the query's words, on one line.
fn extract(text: &str, query: &str) -> String {
    let words = content_words(query);
    let sentences = sentences(text);
    let mut best = (0, 0);
    for range in &sentences {
        let own = content_words(&text[range.clone()]);
        let shared = words.iter().filter(|word| own.contains(word)).count();
        if shared > best.0 {
            best = (shared, range.start);
        }
    }
    one_line(&text[best.1..], SHOWN_CHARS)
}

/// Where a passage is, its document as seen from the folder in which the user is.
pub(super) fn source(passage: &Passage) -> String {
    let source = passage.source();
    let here = std::env::current_dir().ok();
    let here = here.and_then(|here| here.canonicalize().ok());
    let near = here.and_then(|here| {
        let rest = source.strip_prefix(here.to_str()?)?;
        Some(rest.strip_prefix('/')?.to_owned())
    });
    near.unwrap_or(source)
}

/// The beginning of a text on one line.
pub(super) fn one_line(text: &str, most_chars: usize) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut shown: String = line.chars().take(most_chars).collect();
    if shown.len() < line.len() {
        shown.push('…');
    }
    // What would move the cursor of a terminal is shown as a blank.
    shown
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::extract;

    #[test]
    fn the_sentence_that_says_most_comes_first() {
        let text = "The pump is red. Oil the\npump every month. \x1b[2J Done.";
        assert_eq!(
            extract(text, "How often is the pump oiled? Every month?"),
            "Oil the pump every month.  [2J Done."
        );
        assert_eq!(
            extract("水泵是红色的。每月给水泵加油。", "多久加油"),
            "每月给水泵加油。"
        );
    }
}
