//! What requests about documents say.

use autoglm_retrieve::answer::AnswerSettings;
use autoglm_retrieve::search::{SearchSettings, Turn};
use autoglm_retrieve::store::Filter;
use serde_json::Value;

use crate::ServerError;
use crate::fields::{Fields, shown};

/// Passages of one request at most.
const MOST_PASSAGES: u64 = 100;
/// Passages that a model is given at most.
const MOST_SOURCES: u64 = 20;
/// Tokens of passages, and of an answer, at most: what no model reads more than.
const MOST_TOKENS: u64 = 1 << 20;
/// Conditions of one request at most.
const MOST_CONDITIONS: usize = 32;
/// Turns before a question at most.
const MOST_TURNS: usize = 64;

/// A search.
pub(super) struct SearchOrder {
    pub(super) collection: String,
    pub(super) query: String,
    pub(super) settings: SearchSettings,
}

impl SearchOrder {
    pub(super) fn read(body: Value) -> Result<Self, ServerError> {
        let mut body = Fields::of(body, "")?;
        let order = Self {
            collection: body.need_text("collection")?,
            query: body.need_text("query")?,
            settings: take_search(&mut body, MOST_PASSAGES, &SearchSettings::default())?,
        };
        body.finish()?;
        Ok(order)
    }
}

/// A question.
pub(super) struct AskOrder {
    pub(super) collection: String,
    pub(super) question: String,
    pub(super) model: Option<String>,
    pub(super) turns: Vec<Turn>,
    pub(super) search: SearchSettings,
    pub(super) answer: AnswerSettings,
    pub(super) explain: bool,
}

impl AskOrder {
    pub(super) fn read(body: Value) -> Result<Self, ServerError> {
        let mut body = Fields::of(body, "")?;
        let collection = body.need_text("collection")?;
        let question = body.need_text("question")?;
        let model = body.text("model")?;
        let turns = take_turns(&mut body)?;
        let (search, mut answer) = take_sources(&mut body)?;
        if let Some(tokens) = body.whole("max_tokens", (1, MOST_TOKENS))? {
            answer.answer_tokens = tokens as usize;
        }
        if let Some(least) = body.number("min_coverage", (0.0, 1.0))? {
            answer.min_coverage = least;
            answer.min_coverage_chinese = least;
        }
        let explain = body.flag("explain")?.unwrap_or(false);
        body.finish()?;
        Ok(Self {
            collection,
            question,
            model,
            turns,
            search,
            answer,
            explain,
        })
    }
}

/// Passages for a conversation.
#[derive(Debug)]
pub(crate) struct GroundOrder {
    pub(super) collection: String,
    pub(super) search: SearchSettings,
    pub(super) answer: AnswerSettings,
}

/// Takes `knowledge` of a conversation.
pub(crate) fn take_ground(body: &mut Fields) -> Result<Option<GroundOrder>, ServerError> {
    let Some(mut fields) = body.object("knowledge")? else {
        return Ok(None);
    };
    let collection = fields.need_text("collection")?;
    let (search, answer) = take_sources(&mut fields)?;
    fields.finish()?;
    Ok(Some(GroundOrder {
        collection,
        search,
        answer,
    }))
}

/// How many passages a model is given, and how they are found.
fn take_sources(body: &mut Fields) -> Result<(SearchSettings, AnswerSettings), ServerError> {
    let mut answer = AnswerSettings::default();
    let defaults = SearchSettings {
        limit: answer.passages,
        ..SearchSettings::default()
    };
    let search = take_search(body, MOST_SOURCES, &defaults)?;
    answer.passages = search.limit;
    if let Some(tokens) = body.whole("source_tokens", (1, MOST_TOKENS))? {
        answer.context_tokens = tokens as usize;
    }
    Ok((search, answer))
}

fn take_search(
    body: &mut Fields,
    most: u64,
    defaults: &SearchSettings,
) -> Result<SearchSettings, ServerError> {
    let limit = body.whole("top_k", (1, most))?;
    let words = body.number("words_weight", (0.0, 1.0))?;
    let meaning = body.number("meaning_weight", (0.0, 1.0))?;
    let diversity = body.number("diversity", (0.0, 1.0))?;
    Ok(SearchSettings {
        limit: limit.map_or(defaults.limit, |limit| limit as usize),
        lexical_weight: words.unwrap_or(defaults.lexical_weight),
        dense_weight: meaning.unwrap_or(defaults.dense_weight),
        diversity: diversity.unwrap_or(defaults.diversity),
        filter: take_filter(body)?,
        ..defaults.clone()
    })
}

/// Conditions such as `format=pdf`, all of which must hold.
fn take_filter(body: &mut Fields) -> Result<Filter, ServerError> {
    let list = body.list("where", MOST_CONDITIONS)?.unwrap_or_default();
    let mut clauses = Vec::new();
    for (index, value) in list.into_iter().enumerate() {
        let path = format!("{}[{index}]", body.path("where"));
        let wanted = "a condition such as format=pdf, language=zh, path=*/guide/* or year=2001";
        let is_understood = |text: &String| Filter::parse(&[text]).is_ok();
        match value {
            Value::String(text) if is_understood(&text) => clauses.push(text),
            other => return Err(ServerError::invalid(path, shown(&other), wanted)),
        }
    }
    Filter::parse(&clauses).map_err(|error| ServerError::Bug {
        what: error.to_string(),
    })
}

fn take_turns(body: &mut Fields) -> Result<Vec<Turn>, ServerError> {
    let list = body.list("history", MOST_TURNS)?.unwrap_or_default();
    let turn = |(index, value): (usize, Value)| {
        let mut fields = Fields::of(value, &format!("history[{index}]"))?;
        let turn = Turn {
            question: fields.need_text("question")?,
            answer: fields.text("answer")?.unwrap_or_default(),
        };
        fields.finish()?;
        Ok(turn)
    };
    list.into_iter().enumerate().map(turn).collect()
}
