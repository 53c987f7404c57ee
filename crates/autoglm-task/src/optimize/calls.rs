//! The optimiser's requests: none is made twice, none beyond the budget, each is kept at once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use autoglm_spec::{
    Blame, Blamed, Cancel, EngineError, GenerateRequest, ModelFacts, Prompt, ScoreRequest, Usage,
};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::budget::{Budget, Spent};
use crate::TaskError;
use crate::row::Raw;
use crate::run::ask::scored;
use crate::run::sample::generated;
use crate::run::{Engine, hexadecimal};
use crate::store::{CallStore, StoredCall};

/// Records whose labels are scored together: enough to fill the engine's batches, few enough that
/// a kill loses seconds.
const SCORED_REQUESTS: usize = 64;
/// Answers that are generated together; each takes as long as many scores.
const GENERATED_REQUESTS: usize = 16;
/// The first window, by which the time of a request is learnt.
const FIRST_WINDOW_REQUESTS: usize = 8;
/// How much longer than the slowest window so far the next may take, a request.
const TIME_MARGIN: f64 = 1.5;
/// Tokens that a chat template adds to a prompt at most.
const TEMPLATE_TOKENS: u64 = 64;

/// What one request asks for.
#[derive(Debug, Clone)]
pub(super) enum Request {
    Score(ScoreRequest),
    Generate(Box<GenerateRequest>),
}

/// What became of a request.
pub(super) type Outcome = Result<Raw, String>;

/// Why asking ends.
pub(super) enum Halt {
    /// The budget does not suffice for the next request.
    Budget,
    /// The user wants it to.
    Cancelled,
    /// The budget does not suffice for the least that a race needs, which is this much.
    TooLittle(f64),
    /// It cannot go on.
    Failed(TaskError),
}

impl From<TaskError> for Halt {
    fn from(error: TaskError) -> Self {
        Self::Failed(error)
    }
}

/// Counts a prompt's tokens, where the engine can.
pub type TokenCounter<'a> = dyn Fn(&Prompt) -> Option<usize> + 'a;

/// What the caller takes from outside.
#[derive(Clone, Copy)]
pub(super) struct Outside<'a> {
    pub(super) now: &'a dyn Fn() -> SystemTime,
    pub(super) cancel: &'a Cancel,
    pub(super) tokens: &'a TokenCounter<'a>,
    /// What else than the request determines an engine's answer.
    pub(super) scope: &'a str,
}

/// Which strategies an estimate takes to survive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Survivors {
    /// Those with the shortest prompts.
    Shortest,
    /// Every second one.
    Mixed,
    /// Those with the longest prompts.
    Longest,
}

/// Where a caller's answers come from.
pub(super) enum Source<'a> {
    /// The engine; the store keeps them.
    Engine(&'a mut dyn CallStore),
    /// Nowhere: costs are only estimated.
    Nowhere(Survivors),
}

/// Makes the requests of one search.
pub(super) struct Caller<'a> {
    source: Source<'a>,
    outside: Outside<'a>,
    budget: Budget,
    known: BTreeMap<String, Outcome>,
    spent: Spent,
    started: SystemTime,
    scored: Pace,
    generated: Pace,
}

/// How long requests of one kind have taken.
#[derive(Debug, Clone, Copy, Default)]
struct Pace {
    requests: u64,
    all_ms: f64,
    slowest_ms: f64,
}

impl Pace {
    fn add(&mut self, requests: usize, took: Duration) {
        let took_ms = took.as_secs_f64() * 1e3;
        self.requests += requests as u64;
        self.all_ms += took_ms;
        self.slowest_ms = self.slowest_ms.max(took_ms / requests as f64);
    }

    /// The mean time of a request so far.
    fn mean_ms(&self) -> f64 {
        self.all_ms / self.requests.max(1) as f64
    }
}

impl<'a> Caller<'a> {
    pub(super) fn new(source: Source<'a>, budget: Budget, outside: Outside<'a>) -> Self {
        Self {
            source,
            outside,
            budget,
            known: BTreeMap::new(),
            spent: Spent::default(),
            started: (outside.now)(),
            scored: Pace::default(),
            generated: Pace::default(),
        }
    }

    /// Whether it only counts.
    pub(super) fn is_dry(&self) -> bool {
        self.survivors().is_some()
    }

    /// Which strategies survive, where it only counts.
    pub(super) fn survivors(&self) -> Option<Survivors> {
        match self.source {
            Source::Engine(_) => None,
            Source::Nowhere(survivors) => Some(survivors),
        }
    }

    pub(super) fn budget(&self) -> Budget {
        self.budget
    }

    pub(super) fn spent(&self) -> Spent {
        let since = (self.outside.now)().duration_since(self.started);
        Spent {
            elapsed: since.unwrap_or(Duration::ZERO),
            ..self.spent
        }
    }

    pub(super) fn left(&self) -> f64 {
        self.budget.left(&self.spent())
    }

    /// A request's identity.
    pub(super) fn key(&self, request: &Request, model: &ModelFacts) -> String {
        let identity = match request {
            Request::Score(r) => json!(["score", r.prompt, r.options, r.normalise]),
            Request::Generate(r) => json!([
                "generate",
                r.prompt,
                r.max_tokens,
                r.sampling,
                r.stop,
                r.constraint
            ]),
        };
        let identity = json!([self.outside.scope, model, identity]).to_string();
        hexadecimal(&Sha256::digest(identity)[..16])
    }

    /// What requests will take of the budget, as far as can be told; nothing for those that were
    /// made.
    pub(super) fn price(&self, requests: &[Request], model: &ModelFacts) -> f64 {
        self.price_beyond(requests, model, &mut BTreeSet::new())
    }

    /// As [`Caller::price`], and nothing for those that are counted already.
    pub(super) fn price_beyond(
        &self,
        requests: &[Request],
        model: &ModelFacts,
        counted: &mut BTreeSet<String>,
    ) -> f64 {
        let fresh = self.fresh(requests, model, counted);
        fresh.map(|request| self.likely(request)).sum()
    }

    /// What requests take of the budget at most.
    pub(super) fn most(&self, requests: &[Request], model: &ModelFacts) -> f64 {
        let mut counted = BTreeSet::new();
        let fresh = self.fresh(requests, model, &mut counted);
        fresh.map(|request| self.bound(request)).sum()
    }

    /// The requests that were not made or counted yet, each once.
    fn fresh<'r>(
        &self,
        requests: &'r [Request],
        model: &ModelFacts,
        counted: &mut BTreeSet<String>,
    ) -> impl Iterator<Item = &'r Request> {
        requests.iter().filter(move |request| {
            let key = self.key(request, model);
            !self.known.contains_key(&key) && counted.insert(key)
        })
    }

    fn likely(&self, request: &Request) -> f64 {
        match self.budget {
            Budget::Calls(_) => 1.0,
            Budget::Tokens(_) => {
                let usage = self.likely_tokens(request);
                (usage.prompt_tokens + usage.completion_tokens) as f64
            }
            Budget::Time(_) => self.pace(request).mean_ms(),
        }
    }

    fn pace(&self, request: &Request) -> &Pace {
        match request {
            Request::Score(_) => &self.scored,
            Request::Generate(_) => &self.generated,
        }
    }

    /// The likely tokens of requests, known ones too.
    pub(super) fn likely_tokens_of(&self, requests: &[Request]) -> u64 {
        let tokens = |request: &Request| {
            let usage = self.likely_tokens(request);
            usage.prompt_tokens.saturating_add(usage.completion_tokens) as u64
        };
        requests.iter().map(tokens).fold(0, u64::saturating_add)
    }

    /// What a request takes of the budget at most.
    fn bound(&self, request: &Request) -> f64 {
        match self.budget {
            Budget::Calls(_) => 1.0,
            Budget::Tokens(_) => self.most_tokens(request) as f64,
            Budget::Time(_) => TIME_MARGIN * self.pace(request).slowest_ms,
        }
    }

    /// Tokens of a request at most: no vocabulary has fewer bytes a token than one.
    fn most_tokens(&self, request: &Request) -> u64 {
        let (prompt, answer) = prompt_and_answer(request);
        let counted = (self.outside.tokens)(prompt).map(|tokens| tokens as u64);
        let prompt =
            counted.unwrap_or_else(|| prompt.display_text().len() as u64 + TEMPLATE_TOKENS);
        prompt.saturating_add(answer)
    }

    /// Tokens of a request as far as they can be told beforehand.
    fn likely_tokens(&self, request: &Request) -> Usage {
        let (prompt, answer) = prompt_and_answer(request);
        let counted = (self.outside.tokens)(prompt);
        let completion_tokens = match request {
            Request::Score(r) => r.options.iter().map(|o| estimated_tokens(o)).sum(),
            // Half of what is allowed, for want of knowing.
            Request::Generate(_) => answer as usize / 2,
        };
        Usage {
            prompt_tokens: counted.unwrap_or_else(|| estimated_tokens(&prompt.display_text())),
            completion_tokens,
            ..Usage::default()
        }
    }

    /// Answers to requests, in their order.
    ///
    /// # Errors
    /// When the budget is spent, the user stops, or engine or store fail; what was answered until
    /// then is kept.
    pub(super) fn ask(
        &mut self,
        engine: &dyn Engine,
        requests: &[Request],
    ) -> Result<Vec<Outcome>, Halt> {
        let model = engine.facts();
        let keys: Vec<String> = requests.iter().map(|r| self.key(r, model)).collect();
        let mut open: Vec<(String, &Request)> = Vec::new();
        let mut queued = BTreeSet::new();
        for (key, request) in keys.iter().zip(requests) {
            if !self.known.contains_key(key) && queued.insert(key) {
                open.push((key.clone(), request));
            }
        }
        let mut rest = open.as_slice();
        while !rest.is_empty() {
            let (window, behind) = rest.split_at(self.admit(rest)?);
            self.make(engine, window)?;
            rest = behind;
        }
        let known = |key: &String| self.known.get(key).cloned();
        let all: Option<Vec<Outcome>> = keys.iter().map(known).collect();
        Ok(all.expect("every key was asked or known"))
    }

    /// How many of the requests may be made together now, all of them scored or all generated.
    fn admit(&self, requests: &[(String, &Request)]) -> Result<usize, Halt> {
        if self.outside.cancel.is_cancelled() {
            return Err(Halt::Cancelled);
        }
        let Some((_, first)) = requests.first() else {
            return Ok(0);
        };
        let most = match first {
            _ if self.pace(first).requests == 0 && !self.is_dry() => FIRST_WINDOW_REQUESTS,
            Request::Score(_) => SCORED_REQUESTS,
            Request::Generate(_) => GENERATED_REQUESTS,
        };
        let mut left = self.left();
        if left <= 0.0 {
            return Err(Halt::Budget);
        }
        let kind = std::mem::discriminant(*first);
        let fits = requests.iter().take(most).take_while(|(_, request)| {
            left -= self.bound(request);
            left >= 0.0 && std::mem::discriminant(*request) == kind
        });
        match fits.count() {
            0 => Err(Halt::Budget),
            count => Ok(count),
        }
    }

    /// Makes requests that are not known: from the store, else by the engine.
    fn make(&mut self, engine: &dyn Engine, window: &[(String, &Request)]) -> Result<(), Halt> {
        let mut fresh = Vec::new();
        for (key, request) in window {
            let Source::Engine(store) = &self.source else {
                let usage = self.likely_tokens(request);
                self.note(key.clone(), Err("not asked".to_owned()), usage);
                continue;
            };
            match store.call(key)? {
                Some(call) => {
                    self.spent.stored += 1;
                    self.note(key.clone(), call.outcome, call.usage);
                }
                None => fresh.push((key, *request)),
            }
        }
        if fresh.is_empty() {
            return Ok(());
        }
        let begun = (self.outside.now)();
        let requests: Vec<&Request> = fresh.iter().map(|(_, request)| *request).collect();
        let answers = send(engine, &requests, self.outside.cancel);
        self.keep(&fresh, answers)?;
        let took = (self.outside.now)().duration_since(begun);
        let pace = match requests[0] {
            Request::Score(_) => &mut self.scored,
            Request::Generate(_) => &mut self.generated,
        };
        pace.add(requests.len(), took.unwrap_or_default());
        Ok(())
    }

    /// Keeps the answers; then the first error that is not a request's own, if there is one.
    fn keep(
        &mut self,
        asked: &[(&String, &Request)],
        answers: Vec<Result<(Raw, Usage), EngineError>>,
    ) -> Result<(), Halt> {
        let (given, wanted) = (answers.len(), asked.len());
        if given != wanted {
            return Err(TaskError::ResultCount { given, wanted }.into());
        }
        let mut calls = Vec::new();
        let mut halt = None;
        for ((key, _), answer) in asked.iter().zip(answers) {
            let (outcome, usage) = match answer {
                Ok((raw, usage)) => (Ok(raw), usage),
                Err(EngineError::Cancelled) => {
                    halt = halt.or(Some(Halt::Cancelled));
                    continue;
                }
                Err(error) if error.blame() == Blame::Data => {
                    (Err(error.to_string()), Usage::default())
                }
                Err(source) => {
                    let failed = TaskError::Engine { line: 0, source };
                    halt = halt.or(Some(Halt::Failed(failed)));
                    continue;
                }
            };
            calls.push(((*key).clone(), StoredCall { outcome, usage }));
        }
        let at = (self.outside.now)();
        if let Source::Engine(store) = &mut self.source {
            store.put_calls(&calls, at)?;
        }
        for (key, call) in calls {
            self.note(key, call.outcome, call.usage);
        }
        halt.map_or(Ok(()), Err)
    }

    fn note(&mut self, key: String, outcome: Outcome, usage: Usage) {
        self.spent.calls += 1;
        self.spent.usage += usage;
        self.known.insert(key, outcome);
    }
}

/// A request's prompt, and tokens of its answer at most.
fn prompt_and_answer(request: &Request) -> (&Prompt, u64) {
    match request {
        Request::Score(r) => (&r.prompt, r.options.iter().map(|o| o.len() as u64).sum()),
        Request::Generate(r) => (&r.prompt, r.max_tokens as u64),
    }
}

/// Tokens of a text without a vocabulary: four letters of Latin script or one and a half
/// characters of Chinese a token, as vocabularies of these languages have it on average.
fn estimated_tokens(text: &str) -> usize {
    let wide = text.chars().filter(|c| is_wide(*c)).count();
    let narrow = text.chars().count() - wide;
    (narrow as f64 / 4.0 + wide as f64 / 1.5).ceil() as usize
}

/// Whether a character is of a script that writes words with one or two, such as Chinese.
pub(super) fn is_wide(c: char) -> bool {
    u32::from(c) >= 0x2e80
}

/// The engine's answers to requests that are all scored or all generated.
fn send(
    engine: &dyn Engine,
    requests: &[&Request],
    cancel: &Cancel,
) -> Vec<Result<(Raw, Usage), EngineError>> {
    let mut scores = Vec::new();
    let mut texts = Vec::new();
    for request in requests {
        match request {
            Request::Score(request) => scores.push(request.clone()),
            Request::Generate(request) => texts.push((**request).clone()),
        }
    }
    if texts.is_empty() {
        let answers = engine.score(&scores, cancel).into_iter();
        return answers.map(|r| r.map(|s| scored(&s))).collect();
    }
    let answers = engine.generate(&texts, cancel, &mut |_, _| {}).into_iter();
    answers.map(|r| r.and_then(generated)).collect()
}
