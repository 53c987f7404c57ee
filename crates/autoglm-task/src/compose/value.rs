//! Record values as prompt text, written so that no value can pass for a part of the template.

use serde_json::Value;

use super::wording::{ValueStyle, Wording};

/// A value as text: strings as they are, numbers and truth values as in JSON, null as nothing,
/// lists of such values joined, anything deeper as compact JSON.
pub(super) fn value_text(value: &Value, separator: &str) -> String {
    match value {
        Value::Array(items) if !items.iter().any(is_nested) => items
            .iter()
            .map(|item| value_text(item, separator))
            .collect::<Vec<_>>()
            .join(separator),
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

fn is_nested(value: &Value) -> bool {
    matches!(value, Value::Array(_) | Value::Object(_))
}

/// Text on one line: runs of white space and control characters become one space, the ends are
/// trimmed.
pub(super) fn one_line(text: &str) -> String {
    text.split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

/// Text with plain line ends: every line break becomes `\n`, other control characters but the tab
/// become spaces, blank lines at both ends and white space at the end are dropped.
pub(super) fn many_lines(text: &str) -> String {
    let unified = text.replace("\r\n", "\n").replace(
        ['\r', '\u{b}', '\u{c}', '\u{85}', '\u{2028}', '\u{2029}'],
        "\n",
    );
    unified
        .replace(|c: char| c.is_control() && c != '\n' && c != '\t', " ")
        .trim_start_matches('\n')
        .trim_end()
        .to_owned()
}

/// A field's title and value in the style of the task.
pub(super) fn field_text(wording: &Wording, style: ValueStyle, title: &str, text: &str) -> String {
    let colon = wording.bare_colon();
    match style {
        ValueStyle::Line => titled_line(wording, title, &one_line(text)),
        ValueStyle::Quoted => {
            let [open, close] = &wording.quotes;
            titled_line(wording, title, &format!("{open}{}{close}", one_line(text)))
        }
        ValueStyle::Block => {
            let text = many_lines(text);
            if text.contains('\n') {
                let fence = fence_for(&text, '"');
                format!("{title}{colon}\n{fence}\n{text}\n{fence}")
            } else {
                titled_line(wording, title, &one_line(&text))
            }
        }
        ValueStyle::Code | ValueStyle::Continued => {
            let text = many_lines(text);
            let fence = fence_for(&text, '`');
            format!("{title}{colon}\n{fence}\n{text}\n{fence}")
        }
    }
}

/// Code that the answer goes on with: an open fence and the code so far, its end untouched, for
/// the next token depends on it.
pub(super) fn open_code(text: &str, language: &str) -> String {
    let code = text.replace("\r\n", "\n");
    format!("{}{language}\n{code}", fence_for(&code, '`'))
}

fn titled_line(wording: &Wording, title: &str, line: &str) -> String {
    if line.is_empty() {
        format!("{title}{}", wording.bare_colon())
    } else {
        format!("{title}{}{line}", wording.colon)
    }
}

/// A fence that is longer than every run of its mark in the text, at least three marks.
fn fence_for(text: &str, mark: char) -> String {
    let longest = text
        .split(|c| c != mark)
        .map(str::len)
        .max()
        .unwrap_or_default();
    mark.to_string().repeat(3.max(longest + 1))
}

#[cfg(test)]
mod tests {
    use autoglm_spec::Language;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn values_of_every_json_type_have_a_sensible_text() {
        let cases = [
            (json!("as it is"), "as it is"),
            (json!(3), "3"),
            (json!(2.5), "2.5"),
            (json!(true), "true"),
            (json!(null), ""),
            (json!(["a", 1, null, false]), "a, 1, , false"),
            (json!([["a"], 1]), r#"[["a"],1]"#),
            (json!({"k": [1, 2]}), r#"{"k":[1,2]}"#),
        ];
        for (value, want) in cases {
            assert_eq!(value_text(&value, ", "), want);
        }
    }

    #[test]
    fn a_value_of_several_lines_stands_between_fences_longer_than_its_own() {
        let wording = Wording::of(Language::English);
        let text = field_text(wording, ValueStyle::Block, "Text", "one\r\n\"\"\"\ntwo\n");
        assert_eq!(text, "Text:\n\"\"\"\"\none\n\"\"\"\ntwo\n\"\"\"\"");
        let text = field_text(wording, ValueStyle::Code, "Code", "```\nfn a() {}\n```");
        assert!(text.starts_with("Code:\n````\n```\nfn"), "{text}");
    }

    proptest! {
        #[test]
        fn a_line_never_breaks(text in any::<String>()) {
            let wording = Wording::of(Language::Chinese);
            let line = field_text(wording, ValueStyle::Line, "评论", &text);
            prop_assert_eq!(line.lines().count(), 1);
            prop_assert!(!line.chars().any(char::is_control));
            let separators = ['\u{2028}', '\u{2029}'];
            prop_assert!(!line.contains(separators));
        }

        #[test]
        fn no_line_of_a_fenced_value_is_its_fence(text in "[a`\"\n\r]{0,40}") {
            let wording = Wording::of(Language::English);
            for style in [ValueStyle::Block, ValueStyle::Code] {
                let field = field_text(wording, style, "T", &text);
                let lines: Vec<&str> = field.lines().collect();
                if lines.len() > 1 {
                    let fence = lines[1];
                    let inside = &lines[2..lines.len() - 1];
                    prop_assert!(inside.iter().all(|line| *line != fence));
                    prop_assert_eq!(*lines.last().unwrap(), fence);
                }
            }
        }
    }
}
