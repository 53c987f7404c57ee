//! A filter as conditions of a statement.

use super::super::{Clause, Filter};

/// The joins that a filter needs to the passages `p`, its conditions, each with `AND` in front, and
/// their values, numbered from a number on.
pub(super) struct Conditions {
    pub(super) joins: &'static str,
    pub(super) wheres: String,
    pub(super) values: Vec<String>,
}

impl Conditions {
    pub(super) fn of(filter: &Filter, first: usize) -> Self {
        let mut conditions = Self {
            joins: if filter.is_empty() {
                ""
            } else {
                "JOIN documents d ON d.id = p.document"
            },
            wheres: String::new(),
            values: Vec::new(),
        };
        for clause in &filter.clauses {
            let number = first + conditions.values.len();
            conditions.add(clause, number);
        }
        conditions
    }

    fn add(&mut self, clause: &Clause, number: usize) {
        let condition = match clause {
            Clause::Path(pattern) => {
                self.values.push(expression(pattern));
                format!(" AND d.path ~ ${number}")
            }
            Clause::Format(format) => {
                self.values.push(format.clone());
                format!(" AND d.format = ${number}")
            }
            Clause::Language(language) => {
                self.values.push(language.name().to_owned());
                format!(" AND p.language = ${number}")
            }
            Clause::Field { name, value } => {
                // Names have no quotes, as in the SQLite store.
                self.values.push(storable(&name.replace('"', "")));
                self.values.push(storable(value));
                format!(" AND p.fields ->> ${number} = ${}", number + 1)
            }
        };
        self.wheres.push_str(&condition);
    }
}

/// A text without the character that PostgreSQL cannot hold.
pub(super) fn storable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// A pattern of SQLite's GLOB as a regular expression: `*` stands for any characters, `?` for one,
/// `[a-z]` for one of some.
fn expression(pattern: &str) -> String {
    let mut made = "^".to_owned();
    let mut rest = pattern;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        match c {
            '*' => made.push_str(".*"),
            '?' => made.push('.'),
            '[' => match class(rest) {
                Some((class, behind)) => {
                    made.push_str(&class);
                    rest = behind;
                }
                // A class that does not end is matched by nothing.
                None => return "$.".to_owned(),
            },
            c => push_literal(&mut made, c),
        }
    }
    made.push('$');
    made
}

/// A class of characters, and what stands behind it; none where it does not end.
fn class(text: &str) -> Option<(String, &str)> {
    let (negation, inside) = match text.strip_prefix('^') {
        Some(inside) => ("^", inside),
        None => ("", text),
    };
    // A bracket that comes first is one of the characters.
    let from = usize::from(inside.starts_with(']'));
    let end = inside.get(from..)?.find(']')? + from;
    let members = members(&inside[..end]);
    let class = match (members.is_empty(), negation) {
        (false, _) => format!("[{negation}{members}]"),
        (true, "^") => ".".to_owned(),
        (true, _) => "(?!.).".to_owned(),
    };
    Some((class, &inside[end + 1..]))
}

/// The characters and ranges of a class. A range whose end lies before its start holds none, as in
/// GLOB; in an expression it would be an error.
fn members(inside: &str) -> String {
    let chars: Vec<char> = inside.chars().collect();
    let mut made = String::new();
    let mut rest = &chars[..];
    while let [first, ..] = rest {
        let (last, taken) = match rest {
            [_, '-', last, ..] => (last, 3),
            _ => (first, 1),
        };
        rest = &rest[taken..];
        if first < last {
            push_literal(&mut made, *first);
            made.push('-');
        }
        if first <= last {
            push_literal(&mut made, *last);
        }
    }
    made
}

fn push_literal(made: &mut String, c: char) {
    if c.is_ascii_punctuation() {
        made.push('\\');
    }
    if c == '\0' {
        made.push('\u{fffd}');
    } else {
        made.push(c);
    }
}

#[cfg(test)]
mod tests {
    use super::expression;

    #[test]
    fn patterns_become_expressions() {
        for (pattern, wanted) in [
            ("*/a.md", "^.*\\/a\\.md$"),
            ("?x", "^.x$"),
            ("[^a-c]]", "^[^a-c]\\]$"),
            ("[]\\]", "^[\\]\\\\]$"),
            ("[z-a^-]", "^[\\^\\-]$"),
            ("[z-a]", "^(?!.).$"),
            ("[^z-a]", "^.$"),
            ("[ab", "$."),
            ("水*", "^水.*$"),
        ] {
            assert_eq!(expression(pattern), wanted, "{pattern}");
        }
    }
}
