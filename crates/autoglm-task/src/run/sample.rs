//! Open answers in several samples: rounds over the records that are still undecided, so that the
//! engine batches them, until each record's vote is over.

use autoglm_spec::{
    Blame, Blamed, Cancel, Completion, EngineError, FinishReason, GenerateRequest, Language,
    Sampling, Usage,
};
use sha2::{Digest, Sha256};

use super::Engine;
use super::ask::{Answer, Asked, LOGPROB_FLOOR};
use super::repair;
use crate::TaskError;
use crate::judge::agreement::{Agreement, SAMPLE_TEMPERATURE, SamplingPlan};
use crate::judge::mean_logprob;
use crate::row::{Raw, Sample};

/// Seeds have so many bits, for servers read them as numbers of JSON.
const SEED_BITS: u32 = 53;

/// How records are sampled.
pub(super) struct Sampler<'a> {
    pub(super) engine: &'a dyn Engine,
    pub(super) plan: SamplingPlan,
    pub(super) agreement: Agreement,
    pub(super) sampling: Sampling,
    pub(super) language: Language,
}

/// A record on its way to a verdict.
struct State<'a> {
    asked: &'a Asked<'a>,
    samples: Vec<Sample>,
    usage: Usage,
    failed: Option<EngineError>,
    /// Further samples that are needed in any case; 0 where the vote is over.
    wanted: usize,
}

impl Sampler<'_> {
    /// Samples each record until its vote is over, and asks once more where a repair is due.
    /// `request` makes a record's request, but for how tokens are chosen.
    pub(super) fn ask(
        &self,
        records: &[Asked<'_>],
        request: &dyn Fn(&Asked<'_>) -> GenerateRequest,
        cancel: &Cancel,
    ) -> Result<Vec<Answer>, TaskError> {
        let first = if self.plan.is_fixed() {
            self.plan.samples
        } else {
            1
        };
        let mut states: Vec<State<'_>> = records
            .iter()
            .map(|asked| State::new(asked, first))
            .collect();
        while states.iter().any(|state| state.wanted > 0) {
            self.round(&mut states, request, cancel)?;
        }
        if self.plan.repair {
            self.repair(&mut states, request, cancel)?;
        }
        Ok(states.into_iter().map(State::answer).collect())
    }

    /// Takes the samples that are needed next, of all records together.
    fn round(
        &self,
        states: &mut [State<'_>],
        request: &dyn Fn(&Asked<'_>) -> GenerateRequest,
        cancel: &Cancel,
    ) -> Result<(), TaskError> {
        let mut requests = Vec::new();
        for state in states.iter() {
            for number in state.samples.len()..state.samples.len() + state.wanted {
                requests.push(GenerateRequest {
                    sampling: self.sampling_of(state.asked.index, number),
                    ..request(state.asked)
                });
            }
        }
        let mut results = self.generate(&requests, cancel)?.into_iter();
        for state in states.iter_mut().filter(|state| state.wanted > 0) {
            for _ in 0..std::mem::take(&mut state.wanted) {
                if let Some(result) = results.next() {
                    state.take(result, false);
                }
            }
            self.decide(state);
        }
        Ok(())
    }

    fn decide(&self, state: &mut State<'_>) {
        if state.failed.is_some() {
            return;
        }
        match self.agreement.count(&state.samples) {
            Ok(counted) => state.wanted = self.plan.fewest_more(&counted.ballot),
            Err(error) => state.failed = Some(error),
        }
    }

    /// Asks records once more whose samples disagree or cannot be used.
    fn repair(
        &self,
        states: &mut [State<'_>],
        request: &dyn Fn(&Asked<'_>) -> GenerateRequest,
        cancel: &Cancel,
    ) -> Result<(), TaskError> {
        let due = |state: &State<'_>| {
            let counted = self.agreement.count(&state.samples).ok()?;
            let what = repair::what_is_wrong(&counted, self.language)?;
            let request = request(state.asked);
            let prompt = repair::prompt(&request.prompt, &what.answer, what.text)?;
            let sampling = self.sampling_of(state.asked.index, 0);
            Some(GenerateRequest {
                prompt,
                sampling,
                ..request
            })
        };
        let open = |state: &State<'_>| state.failed.is_none();
        let due: Vec<Option<GenerateRequest>> = states
            .iter()
            .map(|state| open(state).then(|| due(state)).flatten())
            .collect();
        let requests: Vec<GenerateRequest> = due.iter().flatten().cloned().collect();
        let mut results = self.generate(&requests, cancel)?.into_iter();
        for (state, _) in states.iter_mut().zip(&due).filter(|(_, due)| due.is_some()) {
            match results.next() {
                // The longer prompt may not fit; the samples stand as they are.
                Some(Err(error)) if error.blame() == Blame::Data => {}
                Some(result) => state.take(result, true),
                None => {}
            }
        }
        Ok(())
    }

    fn generate(
        &self,
        requests: &[GenerateRequest],
        cancel: &Cancel,
    ) -> Result<Vec<Result<Completion, EngineError>>, TaskError> {
        if requests.is_empty() {
            return Ok(Vec::new());
        }
        let results = self.engine.generate(requests, cancel, &mut |_, _| {});
        let (given, wanted) = (results.len(), requests.len());
        if given == wanted {
            Ok(results)
        } else {
            Err(TaskError::ResultCount { given, wanted })
        }
    }

    /// How a sample's tokens are chosen: the first sample's are the most likely ones.
    fn sampling_of(&self, record: u64, number: usize) -> Sampling {
        if self.plan.samples == 1 {
            return self.sampling;
        }
        if number == 0 {
            return Sampling {
                temperature: 0.0,
                adaptive: None,
                ..self.sampling
            };
        }
        Sampling {
            temperature: if self.sampling.temperature > 0.0 {
                self.sampling.temperature
            } else {
                SAMPLE_TEMPERATURE
            },
            seed: sample_seed(self.sampling.seed, record, number),
            ..self.sampling
        }
    }
}

impl<'a> State<'a> {
    fn new(asked: &'a Asked<'a>, wanted: usize) -> Self {
        Self {
            asked,
            samples: Vec::new(),
            usage: Usage::default(),
            failed: None,
            wanted,
        }
    }

    /// A completion that a cancellation has cut is no answer.
    fn take(&mut self, result: Result<Completion, EngineError>, repair: bool) {
        match result {
            Ok(completion) if completion.finish == FinishReason::Cancelled => {
                self.failed = Some(EngineError::Cancelled);
            }
            Ok(completion) => {
                self.usage += completion.usage;
                self.samples.push(sampled(completion, repair));
            }
            Err(error) => self.failed = self.failed.take().or(Some(error)),
        }
    }

    fn answer(self) -> Answer {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let raw = Raw::from_samples(&self.samples).ok_or(EngineError::Cancelled)?;
        Ok((raw, self.usage))
    }
}

/// A completion as the only sample; one that a cancellation has cut is no answer.
pub(crate) fn generated(completion: Completion) -> Answer {
    if completion.finish == FinishReason::Cancelled {
        return Err(EngineError::Cancelled);
    }
    let usage = completion.usage;
    let raw = Raw::from_samples(&[sampled(completion, false)]);
    Ok((raw.ok_or(EngineError::Cancelled)?, usage))
}

fn sampled(completion: Completion, repair: bool) -> Sample {
    Sample {
        mean_logprob: mean_logprob(&completion.logprobs).max(LOGPROB_FLOOR),
        tokens: completion.logprobs.len(),
        text: completion.text,
        finish: completion.finish,
        repair,
    }
}

/// The seed of a record's sample: it depends on nothing else, so that a resumed run draws the same.
fn sample_seed(seed: u64, record: u64, number: usize) -> u64 {
    let hash = Sha256::digest(format!("{seed}\n{record}\n{number}"));
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&hash[..8]);
    u64::from_le_bytes(bytes) >> (u64::BITS - SEED_BITS)
}
