//! What is told of a span or a log record, by OpenTelemetry's names.

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Attribute {
    /// A text.
    Text(String),
    /// A list of texts.
    Texts(Vec<String>),
    /// A whole number.
    Whole(i64),
    /// A number.
    Number(f64),
}

/// Values by name, each name once.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Attributes(pub(crate) Vec<(&'static str, Attribute)>);

impl Attributes {
    /// Adds a text, where there is one.
    pub(crate) fn text(&mut self, name: &'static str, value: Option<impl Into<String>>) {
        let value = value.map(|value| Attribute::Text(value.into()));
        self.0.extend(value.map(|value| (name, value)));
    }

    /// Adds texts, where there are any.
    pub(crate) fn texts(&mut self, name: &'static str, values: &[&str]) {
        if !values.is_empty() {
            let values = values.iter().map(|&value| value.to_owned()).collect();
            self.0.push((name, Attribute::Texts(values)));
        }
    }

    /// Adds a whole number.
    pub(crate) fn whole(&mut self, name: &'static str, value: usize) {
        self.0.push((name, Attribute::Whole(value as i64)));
    }

    /// Adds a number.
    pub(crate) fn number(&mut self, name: &'static str, value: impl Into<f64>) {
        self.0.push((name, Attribute::Number(value.into())));
    }
}
