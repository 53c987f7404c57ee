//! JSON spelt as Python's `json.dumps` does, which is what models were trained on.

use std::io;

use serde::Serialize;
use serde_json::Value;
use serde_json::ser::{Formatter, PrettyFormatter};

/// Options of `json.dumps`.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct JsonStyle {
    /// Spaces a level; one line where none is given.
    pub(crate) indent: Option<usize>,
    /// Whether everything outside ASCII is escaped.
    pub(crate) ascii: bool,
}

/// Spells a value.
///
/// # Errors
/// If the value has a key that is no string.
pub(crate) fn dumps(value: &Value, style: JsonStyle) -> serde_json::Result<String> {
    let indent = " ".repeat(style.indent.unwrap_or(0));
    let lines = style
        .indent
        .map(|_| PrettyFormatter::with_indent(indent.as_bytes()));
    let mut out = Vec::new();
    let formatter = PythonFormatter {
        lines,
        ascii: style.ascii,
    };
    value.serialize(&mut serde_json::Serializer::with_formatter(
        &mut out, formatter,
    ))?;
    Ok(String::from_utf8(out).expect("JSON is UTF-8"))
}

/// Writes `, ` and `: ` on one line, and over several lines what `serde_json` writes.
struct PythonFormatter<'a> {
    lines: Option<PrettyFormatter<'a>>,
    ascii: bool,
}

/// Hands a call on to the formatter of several lines, if it is that.
macro_rules! over_lines {
    ($($name:ident($($arg:ident: $type:ty),*) else $text:expr;)*) => {$(
        fn $name<W: ?Sized + io::Write>(&mut self, writer: &mut W $(, $arg: $type)*) -> io::Result<()> {
            match &mut self.lines {
                Some(lines) => lines.$name(writer $(, $arg)*),
                None => writer.write_all($text),
            }
        }
    )*};
}

impl Formatter for PythonFormatter<'_> {
    over_lines! {
        begin_array() else b"[";
        end_array() else b"]";
        begin_array_value(first: bool) else if first { b"" } else { b", " };
        end_array_value() else b"";
        begin_object() else b"{";
        end_object() else b"}";
        begin_object_key(first: bool) else if first { b"" } else { b", " };
        begin_object_value() else b": ";
        end_object_value() else b"";
    }

    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        if !self.ascii {
            return writer.write_all(fragment.as_bytes());
        }
        for char in fragment.chars() {
            if matches!(char, ' '..='~') {
                writer.write_all(&[char as u8])?;
            } else {
                for unit in char.encode_utf16(&mut [0; 2]) {
                    write!(writer, "\\u{unit:04x}")?;
                }
            }
        }
        Ok(())
    }
}
