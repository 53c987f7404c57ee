//! The ways to ask a server for a constraint, from the most common one down to none; the first
//! that a server takes is remembered.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use autoglm_spec::Constraint;
use serde_json::{Map, Value, json};

use super::client::Lost;
use super::server::{Form, Server};

/// Which way a server has taken, by kind of constraint and form of prompt.
#[derive(Debug, Default)]
pub(crate) struct Levels(Mutex<BTreeMap<(bool, bool), usize>>);

impl Levels {
    /// Asks in the ways that the server may take, until one is not refused.
    ///
    /// # Errors
    /// When all are refused, or the server does not answer.
    pub(crate) fn ask<T>(
        &self,
        server: &Server,
        (form, constraint): (Form, &Constraint),
        ask: &mut dyn FnMut(Map<String, Value>) -> Result<T, Lost>,
    ) -> Result<T, Lost> {
        let ways = ways(form, constraint, server.has_extensions());
        let is_json = matches!(constraint, Constraint::JsonSchema(_));
        let key = (is_json, form == Form::Chat);
        let mut level = self.known(key).min(ways.len() - 1);
        loop {
            match ask(ways[level].clone()) {
                Err(lost) if lost.is_refusal() && level + 1 < ways.len() => level += 1,
                Err(lost) => return Err(lost),
                Ok(answer) => {
                    self.remember(key, level);
                    if ways[level].is_empty() {
                        server.notes.state(
                            "the server takes no constraint: answers are checked and asked for \
                             again where they do not satisfy it",
                        );
                    }
                    return Ok(answer);
                }
            }
        }
    }

    fn known(&self, key: (bool, bool)) -> usize {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&key).copied().unwrap_or(0)
    }

    fn remember(&self, key: (bool, bool), level: usize) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(key, level);
    }
}

/// The fields of each way; the last way has none.
fn ways(form: Form, constraint: &Constraint, has_extensions: bool) -> Vec<Map<String, Value>> {
    let mut ways = Vec::new();
    match constraint {
        Constraint::JsonSchema(schema) if form == Form::Chat => {
            ways.push(json!({"response_format":
                {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}}));
            ways.push(json!({"response_format": {"type": "json_object", "schema": schema}}));
        }
        Constraint::JsonSchema(schema) if has_extensions => {
            ways.push(
                json!({"structured_outputs": {"json": schema}, "guided_json": schema,
                "json_schema": schema}),
            );
        }
        Constraint::Regex(regex) if has_extensions => {
            ways.push(json!({"structured_outputs": {"regex": regex}, "guided_regex": regex}));
        }
        Constraint::JsonSchema(_) | Constraint::Regex(_) | Constraint::Grammar(_) => {}
    }
    let objects = ways.into_iter().filter_map(|way| match way {
        Value::Object(fields) => Some(fields),
        _ => None,
    });
    objects.chain([Map::new()]).collect()
}
