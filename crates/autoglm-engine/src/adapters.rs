//! The adapters that an engine's requests may name.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use autoglm_model::Adapter;
use autoglm_spec::EngineError;

/// Adapters by name. One that is taken away lives on in the requests that run with it.
#[derive(Default)]
pub(crate) struct Adapters {
    /// That of requests that name none.
    pub(crate) own: Option<Arc<Adapter>>,
    named: RwLock<BTreeMap<String, Arc<Adapter>>>,
}

impl Adapters {
    /// The adapter of a request.
    ///
    /// # Errors
    /// A name that no adapter has.
    pub(crate) fn of(&self, name: Option<&str>) -> Result<Option<Arc<Adapter>>, EngineError> {
        let Some(name) = name else {
            return Ok(self.own.clone());
        };
        // A map is whole whatever panicked.
        let named = self.named.read().unwrap_or_else(PoisonError::into_inner);
        let adapter = named.get(name).cloned();
        adapter.map(Some).ok_or_else(|| EngineError::BadRequest {
            field: "adapter",
            given: format!("{name:?}"),
            wanted: "the name of a loaded adapter",
        })
    }

    /// Bytes of all that have a name, and of that of requests that name none.
    pub(crate) fn size_bytes(&self) -> usize {
        let named = self.named.read().unwrap_or_else(PoisonError::into_inner);
        let all = named.values().chain(&self.own);
        all.map(|adapter| adapter.size_bytes()).sum()
    }

    /// Gives an adapter a name, which another one may have had.
    pub(crate) fn insert(&self, name: String, adapter: Arc<Adapter>) {
        let mut named = self.named.write().unwrap_or_else(PoisonError::into_inner);
        named.insert(name, adapter);
    }

    /// Takes a name away; `false` when no adapter has it.
    pub(crate) fn remove(&self, name: &str) -> bool {
        let mut named = self.named.write().unwrap_or_else(PoisonError::into_inner);
        named.remove(name).is_some()
    }
}
