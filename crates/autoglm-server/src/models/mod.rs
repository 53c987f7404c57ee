//! The models that are served, and how a version takes another's place while requests go on.
//!
//! A request takes the version that is live when it begins and keeps it to its end. A candidate is
//! loaded beside the live version and examined before any request sees it; then it takes over at
//! once, or answers some requests first (a canary), or answers copies of them for comparison (a
//! shadow). A version that fails after it took over gives its place back by itself.

mod health;
mod record;
mod resume;
mod slot;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use autoglm_spec::{Completion, EngineError, GenerateRequest};
use serde_json::{Value, json};

use crate::ServerError;
use crate::app::hex;
use crate::backend::Skill;
use crate::store::ServerStore;

pub(crate) use health::Health;
pub use health::HealthLimits;
use health::{examine, still_answers};
pub(crate) use slot::Mode;
use slot::{Slot, Trial};

/// A version that has failed this often may give its place back.
const FEW_FAILURES: u64 = 3;
/// It does where more than one in so many of its requests failed.
const FAILING_SHARE: u64 = 20;

/// Examinations that are remembered.
const MOST_EXAMINED: usize = 64;

/// A model that is served.
pub struct Version {
    /// The name that requests call it by.
    pub name: String,
    /// What tells its weights, settings and adapter apart from others': a hash of their content.
    pub identity: String,
    /// The hash of its files alone.
    pub content: String,
    /// Where it was loaded from.
    pub source: String,
    /// When it was loaded.
    pub loaded: SystemTime,
    /// What it can do.
    pub skill: Skill,
    /// Which of the name's versions it is; the first is 1.
    number: u64,
    answered: AtomicU64,
    failed: AtomicU64,
}

/// A model as it is loaded.
#[derive(Clone)]
pub struct Loaded {
    /// See [`Version::identity`].
    pub identity: String,
    /// See [`Version::content`].
    pub content: String,
    /// See [`Version::skill`].
    pub skill: Skill,
}

/// Loads the model that a text names. Blocks.
pub type Loader = dyn Fn(&str) -> Result<Loaded, ServerError> + Send + Sync;

impl Version {
    /// The first version of a name.
    pub fn first(name: &str, source: &str, loaded: Loaded, at: SystemTime) -> Self {
        Self::numbered(1, name, source, loaded, at)
    }

    fn numbered(number: u64, name: &str, source: &str, loaded: Loaded, at: SystemTime) -> Self {
        Self {
            name: name.to_owned(),
            identity: loaded.identity,
            content: loaded.content,
            source: source.to_owned(),
            loaded: at,
            skill: loaded.skill,
            number,
            answered: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        }
    }

    /// What tells versions of the model apart, as answers tell it.
    pub(crate) fn fingerprint(&self) -> String {
        format!("fp_{}", &hex(self.identity.as_bytes(), b"model")[..12])
    }

    /// When it was loaded, in seconds since 1970.
    pub(crate) fn created(&self) -> u64 {
        let since = self.loaded.duration_since(UNIX_EPOCH);
        since.unwrap_or(Duration::ZERO).as_secs()
    }

    fn told(&self) -> Value {
        json!({
            "version": self.number,
            "identity": self.identity,
            "content": self.content,
            "system_fingerprint": self.fingerprint(),
            "source": self.source,
            "loaded": self.created(),
            "answered": self.answered.load(Ordering::Relaxed),
            "failed": self.failed.load(Ordering::Relaxed),
        })
    }
}

/// All names that are served.
pub(crate) struct Models {
    slots: Mutex<BTreeMap<String, Slot>>,
    /// Held while a change is made and put down, so that the registry has changes in their order.
    /// A disk may be slow, and of requests one alone takes it: the one by which a version fails.
    changing: Mutex<()>,
    /// Names in the order in which they were given.
    order: Vec<String>,
    /// Where changes are put down, so that they outlive the process.
    registry: OnceLock<Arc<ServerStore>>,
    /// What examinations found, by the identities of candidate and live version. The same weights
    /// and settings would be found the same.
    examined: Mutex<BTreeMap<(String, String), Health>>,
}

impl Models {
    pub(crate) fn new(versions: Vec<Version>) -> Self {
        let order = versions.iter().map(|version| version.name.clone());
        let order = order.collect();
        let slot = |version: Version| {
            let slot = Slot {
                given: version.content.clone(),
                live: Arc::new(version),
                previous: None,
                trial: None,
                versions: 1,
                last: None,
                changes: 0,
            };
            (slot.live.name.clone(), slot)
        };
        Self {
            slots: Mutex::new(versions.into_iter().map(slot).collect()),
            order,
            changing: Mutex::default(),
            registry: OnceLock::new(),
            examined: Mutex::default(),
        }
    }

    /// The live versions in the order in which their names were given.
    pub(crate) fn live(&self) -> Vec<Arc<Version>> {
        let slots = self.lock();
        let live = |name: &String| slots.get(name).map(|slot| Arc::clone(&slot.live));
        self.order.iter().filter_map(live).collect()
    }

    /// The live version of a name.
    pub(crate) fn live_of(&self, name: &str) -> Result<Arc<Version>, ServerError> {
        Ok(Arc::clone(&find(&self.lock(), name)?.live))
    }

    /// The version that answers the next request.
    pub(crate) fn pick(&self, name: &str) -> Result<Arc<Version>, ServerError> {
        let slots = self.lock();
        let slot = find(&slots, name)?;
        let canary = slot.trial.as_ref().filter(|trial| match trial.mode {
            Mode::Canary(percent) => trial.takes_next(percent),
            Mode::Switch | Mode::Shadow => false,
        });
        Ok(Arc::clone(
            canary.map_or(&slot.live, |trial| &trial.version),
        ))
    }

    /// Puts a candidate on trial or in the live version's place.
    pub(crate) fn begin(
        &self,
        name: &str,
        candidate: &Candidate,
        mode: Mode,
    ) -> Result<Value, ServerError> {
        self.change(name, |slot| {
            slot.versions += 1;
            let version = Version::numbered(
                slot.versions,
                name,
                &candidate.source,
                candidate.loaded.clone(),
                candidate.at,
            );
            let version = Arc::new(version);
            if mode == Mode::Switch {
                slot.switch_to(version);
            } else {
                slot.trial = Some(Arc::new(Trial::new(version, mode, candidate.health)));
            }
            Ok(())
        })
    }

    /// Puts the candidate in the live version's place.
    pub(crate) fn promote(&self, name: &str) -> Result<Value, ServerError> {
        self.change(name, |slot| slot.promote(name))
    }

    /// Takes a candidate off its trial, or else the version before back.
    pub(crate) fn roll_back(&self, name: &str) -> Result<Value, ServerError> {
        self.change(name, |slot| slot.roll_back(name))
    }

    /// Changes a name's versions: all of it, put down in the registry first, or nothing. Where a
    /// version has left its place by itself meanwhile, what is left is changed; where the registry
    /// refuses that then, it has the first try until that version's leaving is put down.
    fn change(
        &self,
        name: &str,
        change: impl Fn(&mut Slot) -> Result<(), ServerError>,
    ) -> Result<Value, ServerError> {
        let _turn = self.turn();
        let mut is_put_down = false;
        loop {
            let before = find(&self.lock(), name)?.clone();
            let mut after = before.clone();
            if let Err(refused) = change(&mut after) {
                if is_put_down {
                    self.put_down(name, &before)?;
                }
                return Err(refused);
            }
            after.changes += 1;
            self.put_down(name, &after)?;
            is_put_down = true;
            let mut slots = self.lock();
            let slot = find_mut(&mut slots, name)?;
            if slot.changes != before.changes {
                continue;
            }
            let replaced = std::mem::replace(slot, after);
            let told = slot.told(name);
            drop(slots);
            // A model that nobody uses any more takes some time to go, in which requests must not
            // wait.
            drop((before, replaced));
            return Ok(told);
        }
    }

    fn turn(&self) -> MutexGuard<'_, ()> {
        // Nothing is kept under it that could be left half done.
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How a candidate does beside a live version. A pair that was examined before, as when a
    /// version comes back that gave its place up, is not examined again. Blocks.
    ///
    /// # Errors
    /// As [`examine`].
    pub(crate) fn examine(
        &self,
        candidate: &Loaded,
        live: &Version,
    ) -> Result<Health, ServerError> {
        let pair = (candidate.identity.clone(), live.identity.clone());
        let known = || self.examined.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(health) = known().get(&pair) {
            return Ok(*health);
        }
        let health = examine(&candidate.skill, &live.skill)?;
        let mut all = known();
        if all.len() >= MOST_EXAMINED {
            all.clear();
        }
        all.insert(pair, health);
        Ok(health)
    }

    /// Notes how a version's answers ended, and takes one that fails out of its place.
    pub(crate) fn note(&self, version: &Arc<Version>, results: &[Result<Completion, EngineError>]) {
        let failures = results.iter().filter(|result| is_failure(result)).count() as u64;
        let answered = version
            .answered
            .fetch_add(results.len() as u64, Ordering::Relaxed)
            + results.len() as u64;
        let failed = version.failed.fetch_add(failures, Ordering::Relaxed) + failures;
        if failures == 0 || failed < FEW_FAILURES || failed * FAILING_SHARE <= answered {
            return;
        }
        let why = format!(
            "version {} failed {failed} of {answered} answers",
            version.number
        );
        if self.leave(version, &why) {
            self.put_down_now(&version.name);
        }
    }

    /// Takes a version off its trial, or back out of the live place; `false` where it has neither, or
    /// nothing was live before it.
    fn leave(&self, version: &Arc<Version>, why: &str) -> bool {
        let mut slots = self.lock();
        let Some(slot) = slots.get_mut(&version.name) else {
            return false;
        };
        let trial = slot.trial.as_ref();
        if trial.is_some_and(|trial| Arc::ptr_eq(&trial.version, version)) {
            slot.trial = None;
            slot.last = Some(format!("{why}; its trial was ended"));
        } else if !Arc::ptr_eq(&slot.live, version) || !slot.switch_back(why) {
            return false;
        }
        slot.changes += 1;
        true
    }

    /// Puts down how a name's versions are when its turn comes. A version that fails leaves its
    /// place at once, and even where that cannot be put down.
    fn put_down_now(&self, name: &str) {
        let _turn = self.turn();
        let slot = self.lock().get(name).cloned();
        if let Some(slot) = slot {
            let _ = self.put_down(name, &slot);
        }
    }

    /// Has a copy of answered requests answered by the candidate, where one is in the shadow of
    /// this version and idle, and compares.
    pub(crate) fn shadow(
        &self,
        version: &Arc<Version>,
        requests: &[GenerateRequest],
        results: &[Option<Completion>],
    ) {
        let Some(trial) = self.shadow_of(version) else {
            return;
        };
        let Skill::Write(backend) = &trial.version.skill else {
            return;
        };
        if trial.is_busy.swap(true, Ordering::Acquire) {
            return;
        }
        let cancel = autoglm_spec::Cancel::default();
        let answers = backend.generate(requests, &cancel, &mut |_, _| {});
        let pairs = answers.iter().zip(results);
        let same = pairs.filter(|(ours, theirs)| match (ours, theirs) {
            (Ok(ours), Some(theirs)) => ours.text == theirs.text,
            _ => false,
        });
        trial.same.fetch_add(same.count() as u64, Ordering::Relaxed);
        trial
            .compared
            .fetch_add(answers.len() as u64, Ordering::Relaxed);
        trial.is_busy.store(false, Ordering::Release);
        self.note(&trial.version, &answers);
    }

    /// Whether a candidate is in the shadow of this version.
    pub(crate) fn has_shadow(&self, version: &Arc<Version>) -> bool {
        self.shadow_of(version).is_some()
    }

    fn shadow_of(&self, version: &Arc<Version>) -> Option<Arc<Trial>> {
        let slots = self.lock();
        let slot = slots.get(&version.name)?;
        let trial = slot.trial.as_ref()?;
        let is_shadow = trial.mode == Mode::Shadow && Arc::ptr_eq(&slot.live, version);
        is_shadow.then(|| Arc::clone(trial))
    }

    /// All names with their versions.
    pub(crate) fn told(&self) -> Value {
        let slots = self.lock();
        let told = self
            .order
            .iter()
            .filter_map(|name| Some(slots.get(name)?.told(name)));
        told.collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Slot>> {
        // Nothing that is done under the lock panics half way.
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A version that was loaded and examined.
pub(crate) struct Candidate {
    pub(crate) source: String,
    pub(crate) loaded: Loaded,
    pub(crate) at: SystemTime,
    pub(crate) health: Health,
}

/// Whether a result says that something is wrong with the version, and not with the request.
fn is_failure(result: &Result<Completion, EngineError>) -> bool {
    use autoglm_spec::{Blame, Blamed as _};
    match result {
        Ok(completion) => completion.logprobs.iter().any(|p| p.is_nan()),
        Err(EngineError::Cancelled) => false,
        Err(error) => {
            matches!(error.blame(), Blame::Bug | Blame::Data)
                && !matches!(error, EngineError::ContextExceeded { .. })
        }
    }
}

fn find<'s>(slots: &'s BTreeMap<String, Slot>, name: &str) -> Result<&'s Slot, ServerError> {
    slots.get(name).ok_or_else(|| no_such(name))
}

fn find_mut<'s>(
    slots: &'s mut BTreeMap<String, Slot>,
    name: &str,
) -> Result<&'s mut Slot, ServerError> {
    slots.get_mut(name).ok_or_else(|| no_such(name))
}

fn no_such(name: &str) -> ServerError {
    ServerError::NoSuchModel {
        name: name.to_owned(),
    }
}
