//! Answers that are given again to questions of the same meaning, where the operator asks for it
//! and says how often that may be wrong.
//!
//! The nearest remembered question of the same context is looked for: same model, adapter,
//! conversation before, settings and client, and the same in all that [`guard`] reads. Whether its
//! answer is taken is decided by what was seen of it so far ([`bound`]); where it is not taken, the
//! model answers, and that is how more is seen.

mod bound;
mod guard;
#[cfg(test)]
mod tests;
mod words;

use std::sync::{Arc, Mutex, PoisonError};

use autoglm_spec::{Cancel, Completion, Embed, FinishReason};
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

use crate::app::App;
use crate::backend::Skill;
use crate::metrics::{AnswerCache, Metrics};
use crate::store::{Neighbour, Place, ServerStore};

use bound::{MOST_OBSERVATIONS, Observation, explore};
use guard::Guard;

/// Questions that are compared at once; others are answered without.
const AT_ONCE: usize = 2;
/// Remembered questions that are less similar say nothing of this one.
const LEAST_SIMILARITY: f32 = 0.5;
/// Answers of other words are the same where they are so similar and agree in what [`guard`] reads.
const SAME_ANSWER: f32 = 0.95;
/// Bytes of a question at most: a vector of a long text says little of its details.
const LONGEST_QUESTION_BYTES: usize = 1_000;

/// How answers are given to questions of the same meaning.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MeaningSettings {
    /// The share of questions that may get a wrong answer, between 0 and 1.
    pub error: f64,
    /// Whether a client may get what another one was answered.
    pub across_clients: bool,
}

/// The cache.
pub(crate) struct Meanings {
    settings: MeaningSettings,
    turns: Semaphore,
    /// Held while what was seen of a question is changed.
    learning: Arc<Mutex<()>>,
}

/// A question with all that its answer depends on.
pub(crate) struct Question<'q> {
    /// The identity of the model that answers.
    pub(crate) model: &'q str,
    /// Who asks.
    pub(crate) client: &'q str,
    /// What was said before, and every setting.
    pub(crate) context: String,
    /// What is asked.
    pub(crate) text: &'q str,
}

/// What the cache makes of a question.
pub(crate) enum Looked {
    /// An answer that is taken.
    Found(Completion),
    /// The model is asked, and its answer teaches.
    Asked(Box<Asked>),
}

/// A question that the model answers.
pub(crate) struct Asked {
    store: Arc<ServerStore>,
    embedder: Arc<dyn Embed>,
    metrics: Arc<Metrics>,
    learning: Arc<Mutex<()>>,
    place: Place,
    words: Vec<u32>,
    vector: Vec<f32>,
    nearest: Option<Near>,
}

/// The nearest remembered question.
struct Near {
    id: i64,
    similarity: f32,
    observations: Vec<Observation>,
}

impl Meanings {
    pub(crate) fn new(settings: MeaningSettings) -> Self {
        Self {
            settings,
            turns: Semaphore::new(AT_ONCE),
            learning: Arc::default(),
        }
    }

    /// Looks a question up. Nothing where it cannot be: it is too long, too many are compared
    /// already, or what that takes is not there or fails. Blocks.
    pub(crate) fn look_up(&self, app: &App, question: &Question<'_>) -> Option<Looked> {
        let store = app.store.as_ref()?;
        if question.text.len() > LONGEST_QUESTION_BYTES || question.text.trim().is_empty() {
            return None;
        }
        let _turn = self.turns.try_acquire().ok()?;
        let (space, embedder) = embedder(app)?;
        let vector = vector(&*embedder, question.text)?;
        let guard = Guard::of(question.text);
        let place = Place {
            context: self.context(question, &space),
            signature: guard.signature,
        };
        let neighbours = store.neighbours(&place).ok()?;
        let nearest = nearest(&guard, &vector, neighbours);
        if let Some(near) = &nearest
            && app.chance() >= explore(&near.observations, near.similarity, self.settings.error)
            && let Some(answer) = store.meant(near.id).ok()?
        {
            app.metrics()
                .cache_hit(AnswerCache::Semantic, answer.usage.compute);
            return Some(Looked::Found(answer));
        }
        app.metrics().cache_miss(AnswerCache::Semantic);
        Some(Looked::Asked(Box::new(Asked {
            store: Arc::clone(store),
            embedder,
            metrics: Arc::clone(app.metrics()),
            learning: Arc::clone(&self.learning),
            place,
            words: guard.words,
            vector,
            nearest,
        })))
    }

    /// The hash of what must be the same.
    fn context(&self, question: &Question<'_>, space: &str) -> [u8; 32] {
        let client = if self.settings.across_clients {
            ""
        } else {
            question.client
        };
        let parts = ["1", question.model, space, client, &question.context];
        let mut hash = Sha256::new();
        for part in parts {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        hash.finalize().into()
    }
}

impl Asked {
    /// Learns from the model's answer whether the nearest one would have been right, and remembers
    /// the answer where it would not, or where there is none. Blocks.
    pub(crate) fn learn(&self, answer: &Completion) {
        // An answer that was cut off is right for nobody else.
        if answer.finish != FinishReason::Stop {
            return;
        }
        let is_right = self.nearest.as_ref().and_then(|near| {
            let earlier = self.store.meant(near.id).ok()??;
            let is_right = self.is_same(&earlier.text, &answer.text);
            self.note(near, is_right);
            Some(is_right)
        });
        if is_right != Some(true) {
            // One that cannot be kept is made again.
            let (words, vector) = (&self.words, &self.vector);
            let _ = self.store.put_meaning(&self.place, words, vector, answer);
        }
    }

    fn note(&self, near: &Near, is_right: bool) {
        self.metrics.explored(is_right);
        let _turn = self.learning.lock().unwrap_or_else(PoisonError::into_inner);
        // Others may have learnt of the same question meanwhile.
        let now = self.store.observations(near.id).ok().flatten();
        let mut seen = now.map_or_else(|| near.observations.clone(), |text| observations(&text));
        seen.push(Observation {
            similarity: near.similarity,
            is_right,
        });
        let kept = &seen[seen.len().saturating_sub(MOST_OBSERVATIONS)..];
        let text = serde_json::to_string(kept).expect("observations are plain data");
        // What is not put down is seen again.
        let _ = self.store.put_observations(near.id, &text);
    }

    /// Whether two answers say the same.
    fn is_same(&self, one: &str, other: &str) -> bool {
        if plain(one) == plain(other) {
            return true;
        }
        let (first, second) = (Guard::of(one), Guard::of(other));
        if first.signature != second.signature || !first.admits(&second.words) {
            return false;
        }
        let vectors = self.embedder.embed(&[one, other], &Cancel::default());
        match &vectors[..] {
            [Ok(one), Ok(other)] if one.cut_tokens + other.cut_tokens == 0 => {
                product(&one.vector, &other.vector) >= SAME_ANSWER
            }
            _ => false,
        }
    }
}

/// The live embedder, with what tells its vectors apart from others'.
fn embedder(app: &App) -> Option<(String, Arc<dyn Embed>)> {
    let live = app.models.live();
    let version = live.iter().find(|v| matches!(v.skill, Skill::Embed(_)))?;
    match app.skill(version) {
        Skill::Embed(embedder) => Some((version.identity.clone(), embedder)),
        Skill::Write(_) => None,
    }
}

/// A text's vector; none of a text that is too long for it.
fn vector(embedder: &dyn Embed, text: &str) -> Option<Vec<f32>> {
    let found = embedder.embed(&[text], &Cancel::default()).pop()?.ok()?;
    (found.cut_tokens == 0).then_some(found.vector)
}

/// The most similar of the questions that may be taken for this one.
fn nearest(guard: &Guard, vector: &[f32], neighbours: Vec<Neighbour>) -> Option<Near> {
    let admitted = neighbours
        .into_iter()
        .filter(|one| guard.admits(&one.words));
    let scored = admitted.map(|one| (product(&one.vector, vector), one));
    let (similarity, neighbour) = scored.max_by(|one, other| one.0.total_cmp(&other.0))?;
    (similarity >= LEAST_SIMILARITY).then(|| Near {
        id: neighbour.id,
        similarity,
        observations: observations(&neighbour.observations),
    })
}

fn observations(text: &str) -> Vec<Observation> {
    serde_json::from_str(text).unwrap_or_default()
}

/// Vectors have length 1, so that this is the cosine of their angle.
fn product(one: &[f32], other: &[f32]) -> f32 {
    one.iter().zip(other).map(|(a, b)| a * b).sum()
}

/// The text in lower case, blanks between words alone. Signs stay: 3.5 is not 35.
fn plain(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").to_lowercase()
}
