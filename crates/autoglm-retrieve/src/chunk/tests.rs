use proptest::prelude::*;

use super::*;
use crate::passage::Within;
use crate::read::{Format, Limits, read};

/// A word is a token, and so is each Chinese character.
fn count(text: &str) -> usize {
    let wide = text
        .chars()
        .filter(|c| crate::text::is_unspaced(*c))
        .count();
    let spaced: String = text
        .chars()
        .map(|c| if crate::text::is_unspaced(c) { ' ' } else { c })
        .collect();
    wide + spaced.split_whitespace().count()
}

fn passages(file: &str, format: Format, max_tokens: usize) -> Vec<Passage> {
    let document = read(file.as_bytes(), format, &Limits::default()).unwrap();
    chunk(&document, &count, ChunkSettings { max_tokens })
}

fn check(file: &str, format: Format, max_tokens: usize, wanted: &[(&str, &str)]) {
    let found = passages(file, format, max_tokens);
    let found: Vec<(String, &str)> = found
        .iter()
        .map(|p| (p.titles.join("/"), p.text.as_str()))
        .collect();
    let found: Vec<(&str, &str)> = found
        .iter()
        .map(|(titles, text)| (titles.as_str(), *text))
        .collect();
    assert_eq!(found, wanted);
}

#[test]
fn paragraphs_under_one_heading_are_packed_and_headings_part_them() {
    check(
        "# Pump\n\nOne two.\n\nThree four.\n\n## Care\n\nOil it.\n",
        Format::Markdown,
        20,
        &[
            ("Pump", "One two.\n\nThree four."),
            ("Pump/Care", "Oil it."),
        ],
    );
    check(
        "# A\n\none two three four\n\nfive six seven\n",
        Format::Markdown,
        6,
        &[("A", "one two three four"), ("A", "five six seven")],
    );
}

#[test]
fn a_line_that_leads_to_the_next_block_goes_with_it() {
    check(
        "One two three.\n\nRun this:\n\na b c d e\n",
        Format::Markdown,
        8,
        &[("", "One two three."), ("", "Run this:\n\na b c d e")],
    );
    let page = "<dl><dt>--abort<dd>Ends it all now.<dt>--quit<dd>Leaves it as it is.</dl>";
    let wanted = [
        ("", "--abort\nEnds it all now."),
        ("", "--quit\nLeaves it as it is."),
    ];
    check(page, Format::Html, 7, &wanted);
    // Where there is no room for both, nothing is gained.
    check(
        "a b:\n\nc d e f\n",
        Format::Plain,
        4,
        &[("", "a b:"), ("", "c d e f")],
    );
}

#[test]
fn long_paragraphs_are_cut_at_sentences_and_long_sentences_at_words() {
    check(
        "One two three. Four five six. Seven.",
        Format::Plain,
        4,
        &[("", "One two three."), ("", "Four five six. Seven.")],
    );
    check(
        "a b c d e f g",
        Format::Plain,
        3,
        &[("", "a b c"), ("", "d e f"), ("", "g")],
    );
    check(
        "写前日志先写。再写。",
        Format::Plain,
        4,
        &[("", "写前日志"), ("", "先写。"), ("", "再写。")],
    );
}

#[test]
fn code_is_cut_at_definitions_which_name_it() {
    check(
        "use a;\n\n/// Adds.\nfn add(a: u8) {\n    a\n\n    + 1\n}\n\nfn sub() {}\n",
        Format::Code { language: "rust" },
        100,
        &[
            ("use a;", "use a;"),
            (
                "fn add(a: u8)",
                "/// Adds.\nfn add(a: u8) {\n    a\n\n    + 1\n}",
            ),
            ("fn sub() {}", "fn sub() {}"),
        ],
    );
}

#[test]
fn a_record_is_a_passage_of_its_own_and_its_bytes_are_the_lines() {
    let file =
        "{\"id\": 7, \"title\": \"T\", \"text\": \"one\", \"year\": 2001}\n{\"text\": \"two\"}\n";
    let found = passages(file, Format::Jsonl, 100);
    assert_eq!(found[0].record.as_deref(), Some("7"));
    assert_eq!(found[0].titles, ["T"]);
    assert_eq!(found[0].meta["year"], 2001);
    assert_eq!(
        &file[found[0].place.start..found[0].place.end],
        file.lines().next().unwrap()
    );
    assert_eq!(
        (found[1].record.as_deref(), found[1].place.line),
        (Some("2"), Some(2))
    );
}

proptest! {
    #[test]
    fn nothing_is_lost_nothing_is_too_long_and_bytes_are_the_files(
        file in "([a-c]{1,4}|[。.!]|[中文字]|\n|\n\n| ){0,60}",
        max_tokens in 2_usize..12,
    ) {
        let found = passages(&file, Format::Plain, max_tokens);
        let mut last = 0;
        for passage in &found {
            let place = passage.place;
            prop_assert_eq!(place.within, Within::File);
            prop_assert_eq!(&file[place.start..place.end], passage.text.as_str());
            prop_assert!(file[last..place.start].trim().is_empty());
            prop_assert!(count(&passage.text) <= max_tokens);
            last = place.end;
        }
        prop_assert!(file[last..].trim().is_empty());
    }
}
