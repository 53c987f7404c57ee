//! The fields of a JSON object that a client sent: each is taken by name and checked, and what is
//! left at the end is told to be unsupported. Nothing is passed over in silence.

use serde_json::{Map, Value};

use crate::ServerError;

/// Fields that were not taken yet.
#[derive(Debug)]
pub(crate) struct Fields {
    left: Map<String, Value>,
    /// Where the object stands in the body; empty for the body itself.
    path: String,
}

impl Fields {
    /// The fields of an object.
    ///
    /// # Errors
    /// Another kind of value.
    pub(crate) fn of(value: Value, path: &str) -> Result<Self, ServerError> {
        match value {
            Value::Object(left) => Ok(Self {
                left,
                path: path.to_owned(),
            }),
            other => {
                let field = if path.is_empty() { "the body" } else { path };
                Err(ServerError::invalid(field, kind(&other), "an object"))
            }
        }
    }

    /// A field's path from the body.
    pub(crate) fn path(&self, name: &str) -> String {
        if self.path.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", self.path)
        }
    }

    /// Takes a field; null counts as not given.
    pub(crate) fn take(&mut self, name: &str) -> Option<Value> {
        self.left
            .shift_remove(name)
            .filter(|value| !value.is_null())
    }

    /// Takes a field that must be there.
    pub(crate) fn need(&mut self, name: &str) -> Result<Value, ServerError> {
        self.take(name).ok_or_else(|| ServerError::Missing {
            field: self.path(name),
        })
    }

    /// Takes a text.
    pub(crate) fn text(&mut self, name: &str) -> Result<Option<String>, ServerError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(self.wrong(name, &other, "a string")),
        }
    }

    /// Takes a text that must be there.
    pub(crate) fn need_text(&mut self, name: &str) -> Result<String, ServerError> {
        match self.need(name)? {
            Value::String(text) => Ok(text),
            other => Err(self.wrong(name, &other, "a string")),
        }
    }

    /// Takes one of some words.
    pub(crate) fn word(
        &mut self,
        name: &str,
        words: &[&'static str],
    ) -> Result<Option<&'static str>, ServerError> {
        let Some(text) = self.text(name)? else {
            return Ok(None);
        };
        let known = words.iter().find(|word| **word == text);
        let wanted = || format!("one of {}", words.join(", "));
        known
            .map(|word| Some(*word))
            .ok_or_else(|| ServerError::invalid(self.path(name), quoted(&text), wanted()))
    }

    /// Takes a yes or no.
    pub(crate) fn flag(&mut self, name: &str) -> Result<Option<bool>, ServerError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(flag)),
            Some(other) => Err(self.wrong(name, &other, "true or false")),
        }
    }

    /// Takes a number between two others.
    pub(crate) fn number(
        &mut self,
        name: &str,
        (least, most): (f64, f64),
    ) -> Result<Option<f64>, ServerError> {
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        let number = value.as_f64().filter(|n| (least..=most).contains(n));
        number
            .map(Some)
            .ok_or_else(|| self.wrong(name, &value, &format!("a number from {least} to {most}")))
    }

    /// Takes a whole number between two others.
    pub(crate) fn whole(
        &mut self,
        name: &str,
        (least, most): (u64, u64),
    ) -> Result<Option<u64>, ServerError> {
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        let number = value.as_u64().filter(|n| (least..=most).contains(n));
        number.map(Some).ok_or_else(|| {
            self.wrong(
                name,
                &value,
                &format!("a whole number from {least} to {most}"),
            )
        })
    }

    /// Takes a list of at most so many values.
    pub(crate) fn list(
        &mut self,
        name: &str,
        most: usize,
    ) -> Result<Option<Vec<Value>>, ServerError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Array(list)) if list.len() <= most => Ok(Some(list)),
            Some(Value::Array(list)) => Err(ServerError::invalid(
                self.path(name),
                format!("{} values", list.len()),
                format!("at most {most}"),
            )),
            Some(other) => Err(self.wrong(name, &other, "a list")),
        }
    }

    /// Takes an object.
    pub(crate) fn object(&mut self, name: &str) -> Result<Option<Self>, ServerError> {
        let path = self.path(name);
        self.take(name)
            .map(|value| Self::of(value, &path))
            .transpose()
    }

    /// An error about a field's value.
    pub(crate) fn wrong(&self, name: &str, given: &Value, wanted: &str) -> ServerError {
        ServerError::invalid(self.path(name), shown(given), wanted)
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// A field that nobody has taken; null counts as not given.
    pub(crate) fn finish(self) -> Result<(), ServerError> {
        let unknown = self.left.iter().find(|(_, value)| !value.is_null());
        match unknown {
            None => Ok(()),
            Some((name, _)) => Err(ServerError::unsupported(self.path(name), "")),
        }
    }
}

/// What a body has: a list of 1 to `most` values, or one that stands alone. Each is read with its
/// place, which is empty for the latter.
///
/// # Errors
/// A list of another length, and those of `read`.
pub(crate) fn one_or_more<T>(
    body: Value,
    most: usize,
    read: impl Fn(Value, &str) -> Result<T, ServerError>,
) -> Result<Vec<T>, ServerError> {
    match body {
        Value::Array(list) if (1..=most).contains(&list.len()) => {
            let numbered = list.into_iter().enumerate();
            numbered
                .map(|(index, value)| read(value, &format!("[{index}]")))
                .collect()
        }
        Value::Array(list) => Err(ServerError::invalid(
            "the body",
            format!("a list of {}", list.len()),
            format!("1 to {most} values"),
        )),
        one => Ok(vec![read(one, "")?]),
    }
}

/// A value as messages show it: short, and not the user's text at length.
pub(crate) fn shown(value: &Value) -> String {
    match value {
        Value::Number(number) => number.to_string(),
        Value::Bool(flag) => flag.to_string(),
        Value::String(text) => quoted(text),
        other => kind(other).to_owned(),
    }
}

/// A text in quotes, cut where it is long.
pub(crate) fn quoted(text: &str) -> String {
    const MOST_CHARS: usize = 40;
    let mut chars = text.chars();
    let start: String = chars.by_ref().take(MOST_CHARS).collect();
    let rest = if chars.next().is_some() { "…" } else { "" };
    format!("{:?}", format!("{start}{rest}"))
}

/// What kind of value it is.
pub(crate) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fields(value: Value) -> Fields {
        Fields::of(value, "").unwrap()
    }

    #[test]
    fn what_nobody_takes_is_named() {
        let mut body = fields(json!({"model": "a", "best_of": 3, "user": null}));
        assert_eq!(body.need_text("model").unwrap(), "a");
        let error = body.finish().unwrap_err();
        assert_eq!(error.field(), Some("best_of"));
        assert_eq!(error.status(), 400);
    }

    #[test]
    fn a_wrong_value_is_told_with_what_is_wanted() {
        let mut body = fields(json!({"n": 0, "temperature": "hot", "order": "up", "stream": 1}));
        let check = |error: ServerError, wanted: &str| assert_eq!(error.to_string(), wanted);
        check(
            body.whole("n", (1, 8)).unwrap_err(),
            "n: got 0, want a whole number from 1 to 8",
        );
        check(
            body.number("temperature", (0.0, 2.0)).unwrap_err(),
            "temperature: got \"hot\", want a number from 0 to 2",
        );
        check(
            body.word("order", &["asc", "desc"]).unwrap_err(),
            "order: got \"up\", want one of asc, desc",
        );
        check(
            body.flag("stream").unwrap_err(),
            "stream: got 1, want true or false",
        );
    }

    #[test]
    fn objects_in_objects_know_their_path() {
        let mut body = fields(json!({"stream_options": {"include_usage": "yes"}}));
        let mut inner = body.object("stream_options").unwrap().unwrap();
        let error = inner.flag("include_usage").unwrap_err();
        assert_eq!(error.field(), Some("stream_options.include_usage"));
    }

    #[test]
    fn long_texts_are_cut_in_messages() {
        let text = "长".repeat(500);
        assert!(quoted(&text).chars().count() < 50);
    }
}
