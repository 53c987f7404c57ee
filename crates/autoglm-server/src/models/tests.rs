//! Changes during which a version leaves its place by itself, and a registry that refuses a write
//! half way.

use autoglm_spec::{Cancel, Embed, Embedding, EmbeddingSpace, Similarity};
use rusqlite::Connection;
use tempfile::TempDir;

use super::record::Record;
use super::*;
use crate::store::StoreLimits;

const NAME: &str = "m";

/// The registry takes as many writes as `writes` says.
const REFUSALS: &str = "\
    CREATE TABLE writes (allowed INTEGER NOT NULL);
    INSERT INTO writes VALUES (1000);
    CREATE TRIGGER refuse BEFORE INSERT ON versions WHEN (SELECT allowed FROM writes) = 0
        BEGIN SELECT RAISE(ABORT, 'no write is left'); END;
    CREATE TRIGGER taken AFTER INSERT ON versions
        BEGIN UPDATE writes SET allowed = allowed - 1; END;";

/// A model on whose answers nothing depends.
struct Constant(EmbeddingSpace);

impl Embed for Constant {
    fn space(&self) -> &EmbeddingSpace {
        &self.0
    }

    fn embed(&self, texts: &[&str], _cancel: &Cancel) -> Vec<Result<Embedding, EngineError>> {
        let one = |_: &&str| {
            Ok(Embedding {
                vector: vec![1.0],
                tokens: 1,
                cut_tokens: 0,
            })
        };
        texts.iter().map(one).collect()
    }
}

fn loaded(content: &str) -> Loaded {
    let space = EmbeddingSpace {
        name: content.to_owned(),
        dimensions: 1,
        max_tokens: 1,
        similarity: Similarity::Cosine,
    };
    Loaded {
        identity: content.to_owned(),
        content: content.to_owned(),
        skill: Skill::Embed(Arc::new(Constant(space))),
    }
}

/// A name with version 2 live, version 1 before it and version 3 on trial, all of it put down.
struct Place {
    models: Models,
    registry: Connection,
    _folder: TempDir,
}

impl Place {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("server.db");
        let store = ServerStore::open(&path, StoreLimits::default()).unwrap();
        let first = Version::first(NAME, "a", loaded("a"), UNIX_EPOCH);
        let models = Models::new(vec![first]);
        assert!(models.registry.set(Arc::new(store)).is_ok());
        for (content, mode) in [("b", Mode::Switch), ("c", Mode::Canary(10))] {
            let loaded = loaded(content);
            let live = models.live_of(NAME).unwrap();
            let candidate = Candidate {
                source: content.to_owned(),
                health: models.examine(&loaded, &live).unwrap(),
                loaded,
                at: UNIX_EPOCH,
            };
            models.begin(NAME, &candidate, mode).unwrap();
        }
        let registry = Connection::open(&path).unwrap();
        registry.execute_batch(REFUSALS).unwrap();
        Self {
            models,
            registry,
            _folder: folder,
        }
    }

    fn allow(&self, writes: i64) {
        let update = "UPDATE writes SET allowed = ?1";
        self.registry.execute(update, [writes]).unwrap();
    }

    fn live(&self) -> Arc<Version> {
        self.models.live_of(NAME).unwrap()
    }

    fn candidate(&self) -> Arc<Version> {
        let slots = self.models.lock();
        Arc::clone(&slots[NAME].trial.as_ref().unwrap().version)
    }

    /// Promotes the candidate. Before that is put down for the first time a version fails and leaves
    /// its place.
    fn promote_while_it_leaves(&self, leaving: &Arc<Version>) -> Result<Value, ServerError> {
        self.models.change(NAME, |slot| {
            let promoted = slot.promote(NAME);
            self.models.leave(leaving, "it failed");
            promoted
        })
    }

    fn now(&self) -> Record {
        self.models.lock()[NAME].record()
    }

    fn on_record(&self) -> Record {
        let query = "SELECT record FROM versions";
        let text: String = self
            .registry
            .query_row(query, [], |row| row.get(0))
            .unwrap();
        serde_json::from_str(&text).unwrap()
    }

    /// Live, before it and on trial.
    fn numbers(&self) -> (u64, Option<u64>, Option<u64>) {
        let now = self.now();
        let previous = now.previous.map(|entry| entry.number);
        let trial = now.trial.map(|tried| tried.version.number);
        (now.live.number, previous, trial)
    }
}

#[test]
fn a_change_that_is_overtaken_is_made_of_what_is_left() {
    let place = Place::new();
    assert_eq!(place.numbers(), (2, Some(1), Some(3)));
    place.promote_while_it_leaves(&place.live()).unwrap();
    // The version that failed is not the one that would come back.
    assert_eq!(place.numbers(), (3, Some(1), None));
    assert_eq!(place.on_record(), place.now());
}

#[test]
fn a_change_for_which_nothing_is_left_is_taken_back_from_the_registry() {
    let place = Place::new();
    let refused = place.promote_while_it_leaves(&place.candidate());
    assert!(matches!(refused, Err(ServerError::Conflict { .. })));
    assert_eq!(place.numbers(), (2, Some(1), None));
    assert_eq!(place.on_record(), place.now());
}

/// A change whose first write is taken and whose second is not, by which it would be made anew or
/// taken back.
fn check_second_write_refused(leaving: fn(&Place) -> Arc<Version>, left: (u64, Option<u64>)) {
    let place = Place::new();
    place.allow(1);
    let refused = place.promote_while_it_leaves(&leaving(&place));
    assert!(matches!(refused, Err(ServerError::Store { .. })));
    let (live, _, trial) = place.numbers();
    assert_eq!((live, trial), left);
    assert_eq!(place.on_record().live.number, 3);
    // The version that has left puts down what is left when its turn comes.
    place.allow(1);
    place.models.put_down_now(NAME);
    assert_eq!(place.on_record(), place.now());
}

#[test]
fn a_change_that_cannot_be_put_down_anew_is_not_made() {
    check_second_write_refused(Place::live, (1, Some(3)));
}

#[test]
fn a_change_that_cannot_be_taken_back_is_told_as_the_registrys_failure() {
    check_second_write_refused(Place::candidate, (2, None));
}
