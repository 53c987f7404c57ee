//! Probabilities of given continuations from a server, by the best way that it offers.
//!
//! | way | needs | what is exact |
//! |---|---|---|
//! | echo | completions that echo the prompt with log-probabilities | everything, as of the local engine |
//! | first | the most likely first tokens | options that part at the first token and are among those told |
//! | votes | nothing | nothing: relative frequencies of answers |

mod echo;
mod first;
mod votes;

use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};

use autoglm_model::log_sum_exp;
use autoglm_spec::{Cancel, EngineError, Prompt, ScoreRequest, Scoring};

use super::server::{Form, Server};
use super::settings::ScoringWay;
use echo::Firsts;

/// A way that a server offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// By echoed prompts; where the server also tells this many first tokens, one request does
    /// for all options that part there.
    Echo {
        top: Option<usize>,
    },
    /// By this many first tokens.
    First {
        top: usize,
    },
    Votes,
}

/// Scores requests one at a time; threads share one.
pub(crate) struct Scorer {
    wanted: ScoringWay,
    votes: NonZeroUsize,
    /// For each form of prompt the way, once it is known.
    ways: [Mutex<Option<Way>>; 2],
    firsts: Firsts,
}

/// A request on its way to a score.
struct Asked<'a> {
    server: &'a Server,
    request: &'a ScoreRequest,
    cancel: &'a Cancel,
}

impl Scorer {
    pub(crate) fn new(wanted: ScoringWay, votes: NonZeroUsize) -> Self {
        Self {
            wanted,
            votes,
            ways: [Mutex::new(None), Mutex::new(None)],
            firsts: Firsts::default(),
        }
    }

    /// Scores a request.
    ///
    /// # Errors
    /// Options that are empty or equal, a way that the server does not offer, or a server that does
    /// not answer.
    pub(crate) fn score(
        &self,
        server: &Server,
        request: &ScoreRequest,
        cancel: &Cancel,
    ) -> Result<Scoring, EngineError> {
        check(server, request)?;
        let asked = Asked {
            server,
            request,
            cancel,
        };
        match self.way(&asked)? {
            Way::Echo { top } => echo::score(&asked, top, &self.firsts),
            Way::First { top } => {
                if let Some(scoring) = first::score(&asked, top)? {
                    return Ok(scoring);
                }
                let note = "no label was among the most likely first tokens, votes were counted \
                            instead";
                server.notes.add(note);
                votes::score(&asked, self.votes)
            }
            Way::Votes => votes::score(&asked, self.votes),
        }
    }

    /// The way for a form of prompt, found out when it is first asked for.
    fn way(&self, asked: &Asked<'_>) -> Result<Way, EngineError> {
        let form = Form::of(&asked.request.prompt);
        let known = &self.ways[form as usize];
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(way) = *known {
            return Ok(way);
        }
        let way = self.find_way(asked, form)?;
        asked.server.notes.state(match way {
            Way::Echo { .. } => "labels: by log-probabilities of echoed prompts".to_owned(),
            Way::First { top } => format!(
                "labels: by the {top} most likely first tokens; a label that is not among them \
                 gets the most that it could have"
            ),
            Way::Votes => format!(
                "labels: by votes of {} answers; confidences are from votes",
                self.votes
            ),
        });
        *known = Some(way);
        Ok(way)
    }

    fn find_way(&self, asked: &Asked<'_>, form: Form) -> Result<Way, EngineError> {
        let server = asked.server;
        if self.wanted == ScoringWay::Votes {
            return Ok(Way::Votes);
        }
        let top = server.top(form, asked.cancel)?;
        let wants_echo = matches!(self.wanted, ScoringWay::Auto | ScoringWay::Echo);
        if wants_echo && form == Form::Plain && echo::is_offered(server, top, asked.cancel)? {
            return Ok(Way::Echo { top });
        }
        match (self.wanted, top) {
            (ScoringWay::Auto | ScoringWay::First, Some(top)) => Ok(Way::First { top }),
            (ScoringWay::Auto, None) => Ok(Way::Votes),
            (wanted, _) => {
                let reason = match wanted {
                    ScoringWay::Echo if form == Form::Chat => {
                        "prompts of turns are not echoed, plain ones may be"
                    }
                    ScoringWay::Echo => "it does not echo prompts with their log-probabilities",
                    _ => "it does not tell the most likely first tokens",
                };
                Err(EngineError::engine(server.unsupported("scoring", reason)))
            }
        }
    }
}

fn check(server: &Server, request: &ScoreRequest) -> Result<(), EngineError> {
    let bad = |given: String, wanted| {
        Err(EngineError::BadRequest {
            field: "options",
            given,
            wanted,
        })
    };
    if request.adapter.is_some() {
        let reason = "adapters are loaded at the server and have model names of their own";
        return Err(EngineError::engine(server.unsupported("adapter", reason)));
    }
    if let Prompt::Tokens(_) = request.prompt {
        let reason = "labels are scored behind texts, for their tokens are not known here";
        return Err(EngineError::engine(server.unsupported("prompt", reason)));
    }
    if request.options.is_empty() {
        return bad("none".to_owned(), "at least one option");
    }
    for (index, option) in request.options.iter().enumerate() {
        if option.is_empty() {
            return bad(
                format!("an empty option at {index}"),
                "options that are not empty",
            );
        }
        if request.options[..index].contains(option) {
            return bad(format!("{option:?} twice"), "options that differ");
        }
    }
    Ok(())
}

/// The text of a plain prompt.
fn plain_text(prompt: &Prompt) -> String {
    match prompt {
        Prompt::Plain(text) => text.clone(),
        Prompt::Chat(_) | Prompt::Tokens(_) => prompt.display_text(),
    }
}

/// Values less the logarithm of the sum of their exponentials, so that probabilities add up to 1.
fn normalised(values: &[f32]) -> Vec<f32> {
    let total = log_sum_exp(values);
    values.iter().map(|value| value - total).collect()
}
