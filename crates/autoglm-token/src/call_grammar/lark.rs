//! Pieces of Lark's notation.

use serde_json::{Value, json};

/// A text as it stands.
pub(super) fn literal(text: &str) -> String {
    json!(text).to_string()
}

/// One of several.
pub(super) fn one_of(options: impl IntoIterator<Item = String>) -> String {
    options.into_iter().collect::<Vec<_>>().join(" | ")
}

/// JSON under a schema, in the spelling of Python's `json.dumps`, which models have seen most.
pub(super) fn json(mut schema: Value) -> String {
    schema["x-guidance"] = json!({
        "item_separator": ", ",
        "key_separator": ": ",
        "whitespace_flexible": false,
    });
    format!("%json {schema}")
}

/// A regular expression.
pub(super) fn regex(pattern: &str) -> String {
    let mut out = String::from("/");
    let mut is_escaped = false;
    for char in pattern.chars() {
        match char {
            '/' if !is_escaped => out.push_str("\\/"),
            '\n' => out.push_str("\\n"),
            _ => out.push(char),
        }
        is_escaped = char == '\\' && !is_escaped;
    }
    out + "/"
}

/// Text without any of some texts, as a terminal's expression.
pub(super) fn without(texts: &[&str]) -> String {
    let texts = one_of(texts.iter().map(|text| literal(text)));
    format!("/(?s:.*)/ & ~(/(?s:.*)/ ({texts}) /(?s:.*)/)")
}
