//! Requests of either kind as the scheduler sees them.

use autoglm_model::{Sequence, Step};
use autoglm_spec::{Completion, Delta, EngineError, Scoring};
use autoglm_token::TokenId;

use crate::generate::{GenerateJob, Generation};
use crate::score::{ScoreJob, Scored};

/// A number that tells the calls that are going on apart.
pub(crate) type CallId = u64;

/// A request with its tokens that was not begun.
pub(crate) enum Job {
    Generate(Box<GenerateJob>),
    Score(Box<ScoreJob>),
}

/// What a request gives.
pub(crate) enum Answer {
    Completion(Completion),
    Scoring(Scoring),
}

/// What has become known of a request.
pub(crate) struct Event {
    pub(crate) call: CallId,
    /// The request's index in its call.
    pub(crate) index: usize,
    pub(crate) news: News,
}

pub(crate) enum News {
    /// What has become known of a completion.
    Delta(Delta),
    /// The request is done.
    Done(Result<Answer, EngineError>),
}

/// A request that is being worked on.
pub(crate) struct Active {
    pub(crate) call: CallId,
    pub(crate) index: usize,
    pub(crate) work: Work,
}

pub(crate) enum Work {
    Generate(Box<Generation>),
    Score(Box<Scored>),
}

impl Job {
    pub(crate) fn prompt(&self) -> &[TokenId] {
        match self {
            Self::Generate(job) => &job.prompt,
            Self::Score(job) => &job.prompt,
        }
    }

    pub(crate) fn begin(self) -> Work {
        match self {
            Self::Generate(job) => Work::Generate(Box::new(Generation::new(*job))),
            Self::Score(job) => Work::Score(Box::new(Scored::new(*job))),
        }
    }
}

impl Active {
    pub(crate) fn event(&self, news: News) -> Event {
        Event {
            call: self.call,
            index: self.index,
            news,
        }
    }
}

impl Work {
    pub(crate) fn prompt(&self) -> &[TokenId] {
        match self {
            Self::Generate(item) => item.prompt(),
            Self::Score(item) => item.prompt(),
        }
    }

    /// Whether nothing that stands behind the prompt was computed yet.
    pub(crate) fn is_in_prompt(&self) -> bool {
        match self {
            Self::Generate(item) => item.is_in_prompt(),
            Self::Score(item) => item.is_in_prompt(),
        }
    }

    /// Settled tokens that the model has not seen.
    pub(crate) fn pending(&self) -> usize {
        match self {
            Self::Generate(item) => item.pending(),
            Self::Score(item) => item.pending(),
        }
    }

    pub(crate) fn blocks_to_come(&self) -> usize {
        match self {
            Self::Generate(item) => item.blocks_to_come(),
            Self::Score(item) => item.blocks_to_come(),
        }
    }

    pub(crate) fn sequence(&self) -> &Sequence {
        match self {
            Self::Generate(item) => &item.sequence,
            Self::Score(item) => &item.sequence,
        }
    }

    /// Replaces the sequence by one that has more of the prompt, and returns the old one.
    pub(crate) fn replace_sequence(&mut self, sequence: Sequence) -> Sequence {
        let (own, cached_tokens) = match self {
            Self::Generate(item) => (&mut item.sequence, &mut item.cached_tokens),
            Self::Score(item) => (&mut item.sequence, &mut item.cached_tokens),
        };
        *cached_tokens += sequence.len() - own.len();
        std::mem::replace(own, sequence)
    }

    pub(crate) fn into_sequence(self) -> Sequence {
        match self {
            Self::Generate(item) => item.sequence,
            Self::Score(item) => item.sequence,
        }
    }

    /// The step that feeds the next `count` tokens.
    pub(crate) fn step(&mut self, count: usize) -> Step<'_> {
        match self {
            Self::Generate(item) => item.step(count),
            Self::Score(item) => item.step(count),
        }
    }

    /// Whether nothing more is to be computed.
    pub(crate) fn has_ended(&self) -> bool {
        match self {
            Self::Generate(item) => item.has_ended(),
            Self::Score(item) => item.is_done(),
        }
    }
}
