//! Passages for the records of tasks that name collections of documents.

use std::io;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use autoglm_engine::LocalEngine;
use autoglm_retrieve::RetrieveError;
use autoglm_retrieve::search::{Ranked, SearchSettings, Searcher};
use autoglm_retrieve::store::Store;
use autoglm_spec::{Cancel, EmbeddingSpace, Field, Knowledge, Record, TaskSpec};
use autoglm_task::records::{NumberedRecord, RecordError};
use serde_json::{Value, json};

use super::{CollectionArgs, EmbedderArgs, as_embed, knows_chinese};

/// An item of an input.
type Item = Result<NumberedRecord, RecordError>;

/// What finds passages for the records of a task.
pub(crate) struct Passages {
    knowledge: Knowledge,
    fields: Vec<Field>,
    shelf: Vec<Collection>,
    /// Makes vectors of records, where a collection has vectors of its kind.
    embedder: Option<LocalEngine>,
}

struct Collection {
    name: String,
    store: Mutex<Box<dyn Store>>,
    space: Option<EmbeddingSpace>,
}

impl Passages {
    /// Opens the collections that a task names; none where it names none.
    ///
    /// # Errors
    /// A collection that is not there or is empty, a model for vectors that cannot be opened.
    pub(crate) fn open(
        spec: &TaskSpec,
        threads: Option<NonZeroUsize>,
        home: &Path,
    ) -> anyhow::Result<Option<Self>> {
        let Some(knowledge) = &spec.knowledge else {
            return Ok(None);
        };
        let mut shelf = Vec::new();
        for name in &knowledge.collections {
            let store = CollectionArgs::named(name)?.open_filled(home)?;
            shelf.push(Collection {
                name: name.clone(),
                space: store.space()?,
                store: Mutex::new(store),
            });
        }
        let has_vectors = shelf.iter().any(|collection| collection.space.is_some());
        let embedder = if has_vectors {
            EmbedderArgs::default().open(threads, home)?
        } else {
            None
        };
        Ok(Some(Self {
            knowledge: knowledge.clone(),
            fields: spec.fields.clone(),
            shelf,
            embedder,
        }))
    }

    /// The same for several that use it.
    ///
    /// # Errors
    /// As [`Passages::open`].
    pub(crate) fn shared(
        spec: &TaskSpec,
        threads: Option<NonZeroUsize>,
        home: &Path,
    ) -> anyhow::Result<Option<Arc<Self>>> {
        Ok(Self::open(spec, threads, home)?.map(Arc::new))
    }

    /// Puts a record's passages into it, in the place of anything that stands there.
    ///
    /// # Errors
    /// A collection or an engine that fails.
    pub(crate) fn add(&self, record: &mut Record, cancel: &Cancel) -> Result<(), RetrieveError> {
        let query = query(&self.fields, record);
        let mut found: Vec<(&str, Ranked)> = Vec::new();
        for collection in &self.shelf {
            let passages = self.find(collection, &query, cancel)?;
            let name = collection.name.as_str();
            found.extend(passages.into_iter().map(|ranked| (name, ranked)));
        }
        // Scores are shares of the same two measures in all collections.
        found.sort_by(|(_, a), (_, b)| b.score.total_cmp(&a.score));
        let mut left = self.knowledge.tokens;
        let fits = |(_, ranked): &(&str, Ranked)| {
            let tokens = ranked.passage.tokens;
            let fits = tokens <= left;
            left -= if fits { tokens } else { 0 };
            fits
        };
        let chosen = found.into_iter().filter(fits).take(self.knowledge.passages);
        let told = (1_usize..).zip(chosen).map(told).collect();
        record.insert(Knowledge::FIELD.to_owned(), Value::Array(told));
        Ok(())
    }

    fn find(
        &self,
        collection: &Collection,
        query: &str,
        cancel: &Cancel,
    ) -> Result<Vec<Ranked>, RetrieveError> {
        let store = collection
            .store
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let embed = as_embed(self.embedder.as_ref());
        let searcher = Searcher {
            store: &**store,
            // Vectors of another model say nothing: such a collection is searched by words.
            embed: embed.filter(|embed| collection.space.as_ref() == Some(embed.space())),
        };
        let settings = SearchSettings {
            limit: self.knowledge.passages,
            vectors_know_chinese: knows_chinese(collection.space.as_ref()),
            ..SearchSettings::default()
        };
        searcher.search(query, &settings, cancel)
    }
}

/// Puts their passages into records, where their task names collections.
///
/// # Errors
/// As [`Passages::open`] and [`Passages::add`].
pub(crate) fn add_passages(
    records: &mut [Record],
    spec: &TaskSpec,
    (threads, home): (Option<NonZeroUsize>, &Path),
    cancel: &Cancel,
) -> anyhow::Result<()> {
    if let Some(passages) = Passages::open(spec, threads, home)? {
        for record in records {
            passages.add(record, cancel)?;
        }
    }
    Ok(())
}

/// What is looked for: the values of the task's fields.
fn query(fields: &[Field], record: &Record) -> String {
    let text = |field: &Field| match record.get(&field.name)? {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    };
    fields
        .iter()
        .filter_map(text)
        .collect::<Vec<_>>()
        .join("\n")
}

fn told((number, (collection, ranked)): (usize, (&str, Ranked))) -> Value {
    let passage = ranked.passage;
    json!({
        "number": number,
        "collection": collection,
        "document": passage.document,
        "record": passage.record,
        "titles": passage.titles,
        "place": passage.place,
        "score": ranked.score,
        "text": passage.text,
    })
}

/// Records with their passages, where their task names collections.
pub(crate) fn with_passages<'a>(
    passages: Option<&'a Passages>,
    records: impl Iterator<Item = Item> + 'a,
    cancel: &'a Cancel,
) -> Box<dyn Iterator<Item = Item> + 'a> {
    let Some(passages) = passages else {
        return Box::new(records);
    };
    Box::new(records.map(move |item| {
        let mut numbered = item?;
        match passages.add(&mut numbered.record, cancel) {
            // What goes on with the record sees that the work is stopped.
            Err(error) if !cancel.is_cancelled() => Err(RecordError::Io {
                line: numbered.line,
                source: io::Error::other(error),
            }),
            _ => Ok(numbered),
        }
    }))
}

#[cfg(test)]
mod tests {
    use autoglm_retrieve::chunk::ChunkSettings;
    use autoglm_retrieve::index::Indexer;
    use autoglm_retrieve::read::{Format, Limits};
    use autoglm_retrieve::store::SqliteStore;
    use autoglm_task::parse::parse;

    use super::super::path_of;
    use super::*;

    fn index(home: &Path, collection: &str, text: &str) {
        let path = path_of(home, collection, "sqlite");
        let mut store = SqliteStore::open(&path).unwrap();
        let tokens = |text: &str| text.chars().count();
        let cancel = Cancel::default();
        let mut indexer = Indexer {
            store: &mut store,
            embed: None,
            vectors_know_chinese: true,
            tokens: &tokens,
            chunks: ChunkSettings { max_tokens: 60 },
            limits: Limits::default(),
            now_ns: 0,
            cancel: &cancel,
        };
        let name = format!("{collection}.md");
        indexer
            .put(&name, text.as_bytes(), Format::Markdown)
            .unwrap();
    }

    fn spec(passages: usize, tokens: usize) -> TaskSpec {
        let (mut spec, _) = parse("Answer the question.");
        spec.fields = vec![Field {
            name: "question".to_owned(),
            title: "Question".to_owned(),
        }];
        spec.knowledge = Some(Knowledge {
            collections: vec!["pumps".to_owned(), "阀门".to_owned()],
            passages,
            tokens,
        });
        spec
    }

    fn documents(spec: &TaskSpec, home: &Path, question: &str) -> Vec<(u64, String)> {
        let passages = Passages::open(spec, None, home).unwrap().unwrap();
        let record = json!({"question": question, "knowledge": "mine"});
        let Value::Object(record) = record else {
            unreachable!()
        };
        let items = vec![Ok(NumberedRecord { line: 1, record })];
        let cancel = Cancel::default();
        let mut items = with_passages(Some(&passages), items.into_iter(), &cancel);
        let record = items.next().unwrap().unwrap().record;
        let list = record[Knowledge::FIELD].as_array().unwrap();
        let one = |passage: &Value| {
            assert!(passage["place"]["end"].as_u64() > passage["place"]["start"].as_u64());
            let document = passage["document"].as_str().unwrap().to_owned();
            (passage["number"].as_u64().unwrap(), document)
        };
        list.iter().map(one).collect()
    }

    #[test]
    fn records_get_the_passages_of_all_collections_that_fit_and_say_where_they_are_from() {
        let home = tempfile::tempdir().unwrap();
        index(
            home.path(),
            "pumps",
            "# Pump\n\nOil the pump every month.\n\n# Rim\n\nThe rim is red.\n",
        );
        index(home.path(), "阀门", "# 阀门\n\n阀门用铜钥匙打开。\n");
        let found = documents(&spec(3, 1_000), home.path(), "How often do I oil the pump?");
        assert_eq!(found, [(1, "pumps.md".to_owned())]);
        let found = documents(&spec(3, 1_000), home.path(), "阀门怎么打开？");
        assert_eq!(found, [(1, "阀门.md".to_owned())]);
        let found = documents(&spec(3, 1_000), home.path(), "red pump 阀门");
        assert_eq!(found.len(), 3);
        assert_eq!(
            documents(&spec(2, 1_000), home.path(), "red pump 阀门").len(),
            2
        );
        assert_eq!(documents(&spec(3, 1), home.path(), "red pump"), []);
    }

    #[test]
    fn a_collection_that_is_not_there_is_told_before_anything_is_run() {
        let home = tempfile::tempdir().unwrap();
        let error = Passages::open(&spec(3, 9), None, home.path())
            .err()
            .unwrap();
        assert!(error.to_string().contains("no collection pumps"), "{error}");
        let (plain, _) = parse("Answer the question.");
        assert!(Passages::open(&plain, None, home.path()).unwrap().is_none());
    }
}
