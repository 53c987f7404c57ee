//! The engine on this machine: a model, its tokenizer and the compute threads.

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use autoglm_model::{CacheType, KvCache, Model, Pool, QuantizedType, WeightSource, Workspace};
use autoglm_spec::{
    Cancel, Completion, Constraint, EngineError, Generate, GenerateRequest, ModelFacts, Prompt,
    Score, ScoreRequest, Scoring, Segment,
};
use autoglm_token::{
    AnswerParser, ChatOptions, ChatTemplate, GlmGeneration, Message, Specials, TokenId, Tokenizer,
};

use crate::constraint::{ConstraintFactory, ConstraintState};
use crate::divergence::{Divergence, compare_window};
use crate::error::LocalError;
use crate::generate::{GenerateJob, Generation, Results};
use crate::options::OptionPlan;
use crate::perplexity::{Perplexity, PerplexitySettings, add_window};
use crate::prefix::PrefixCache;
use crate::runner::{Runner, State};
use crate::score::{ScoreJob, score};

/// How an engine uses the machine.
#[derive(Debug, Clone, Copy)]
pub struct LocalSettings {
    /// Compute threads, the calling one included.
    pub threads: NonZeroUsize,
    /// Token positions that the key/value cache holds for all requests together; at least
    /// [`LocalSettings::MIN_CACHE_TOKENS`].
    pub cache_tokens: usize,
    /// How the cache stores keys and values.
    pub cache_type: CacheType,
    /// What float weights are quantised to while they are loaded.
    pub quantize: Option<QuantizedType>,
}

impl LocalSettings {
    /// The smallest cache: room for one pass of requests.
    pub const MIN_CACHE_TOKENS: usize = 4_096;
    /// The cache where nothing else is asked for: 16,384 positions, 288 MiB with Gemma-3-270M.
    pub const DEFAULT_CACHE_TOKENS: usize = 16_384;
}

/// A model on this machine. Calls from several threads take turns.
pub struct LocalEngine {
    facts: ModelFacts,
    model: Model,
    tokenizer: Tokenizer,
    template: Option<ChatTemplate>,
    chat: ChatOptions,
    pool: Pool,
    state: Mutex<State>,
    constraints: OnceLock<ConstraintFactory>,
}

impl LocalEngine {
    /// Loads the model at a path: a GGUF file, or a folder with `config.json` and safetensors.
    ///
    /// # Errors
    /// A model that is not usable; the error names what is wrong with it.
    pub fn open(path: &Path, settings: LocalSettings) -> Result<Self, LocalError> {
        // A folder's name may hold a full stop that ends no extension, as in `GLM-4.1`.
        let name = if path.is_dir() {
            path.file_name()
        } else {
            path.file_stem()
        };
        let name = name.map_or_else(String::new, |s| s.to_string_lossy().into_owned());
        let source = autoglm_model::open(path)?;
        Self::from_source(name, &*source, settings)
    }

    /// Loads the model of an opened source.
    ///
    /// # Errors
    /// A model that is not usable.
    pub fn from_source(
        name: String,
        source: &dyn WeightSource,
        settings: LocalSettings,
    ) -> Result<Self, LocalError> {
        let pool = Pool::new(settings.threads);
        let model = Model::load_as(source, &pool, settings.quantize)?;
        let tokenizer = Tokenizer::new(source.vocabulary()?)?;
        let built_in = || GlmGeneration::of(&tokenizer).map(GlmGeneration::template);
        let template = source
            .chat_template()?
            .or_else(built_in)
            .map(|source| ChatTemplate::new(source, &tokenizer))
            .transpose()?;
        let config = model.config();
        let cache_tokens = settings.cache_tokens.max(LocalSettings::MIN_CACHE_TOKENS);
        let facts = ModelFacts {
            name,
            context_tokens: config.context_tokens.min(cache_tokens),
            chat: template.is_some(),
        };
        let state = State {
            cache: KvCache::of_type(settings.cache_type, config, cache_tokens),
            workspace: Workspace::default(),
            prefixes: PrefixCache::default(),
        };
        let state = Mutex::new(state);
        let constraints = OnceLock::new();
        Ok(Self {
            facts,
            model,
            tokenizer,
            template,
            chat: ChatOptions::default(),
            pool,
            state,
            constraints,
        })
    }

    /// The engine with options for the conversations of all its requests.
    #[must_use]
    pub fn with_chat(mut self, chat: ChatOptions) -> Self {
        self.chat = chat;
        self
    }

    /// Whether the model's chat template tells it of tools.
    pub fn takes_tools(&self) -> bool {
        let template = self.template.as_ref();
        template.is_some_and(|template| template.tool_calls().is_some())
    }

    /// A parser for what the model answers to a prompt.
    ///
    /// # Errors
    /// As for [`LocalEngine::encode`].
    pub fn answer_parser(&self, prompt: &Prompt) -> Result<AnswerParser, EngineError> {
        let format = self.template.as_ref().and_then(ChatTemplate::tool_calls);
        let last = self.encode(prompt)?.last().copied();
        let thinks = last.is_some_and(|id| self.tokenizer.token_text(id) == "<think>");
        Ok(AnswerParser::new(format, &self.chat.tools, thinks))
    }

    /// The model's tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// The model itself.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// The token ids that the model is given for a prompt.
    ///
    /// # Errors
    /// Turns for a model without a chat template, or a template that fails on them.
    pub fn encode(&self, prompt: &Prompt) -> Result<Vec<TokenId>, EngineError> {
        match prompt {
            Prompt::Plain(text) => {
                let mut tokens = self.tokenizer.prefix().to_vec();
                tokens.extend(self.tokenizer.encode(text, Specials::AsText));
                Ok(tokens)
            }
            Prompt::Chat(segments) => self.encode_chat(segments).map_err(EngineError::engine),
        }
    }

    fn encode_chat(&self, segments: &[Segment]) -> Result<Vec<TokenId>, LocalError> {
        let template = self
            .template
            .as_ref()
            .ok_or_else(|| LocalError::NoChatTemplate {
                model: self.facts.name.clone(),
            })?;
        let messages: Vec<Message> = segments
            .iter()
            .map(|segment| Message::new(segment.role.name(), segment.text.clone()))
            .collect();
        Ok(template.encode(&self.tokenizer, &messages, &self.chat)?)
    }

    /// How well the model predicts tokens. They are cut into windows of `settings.context`
    /// positions, each computed from an empty cache behind the prefix that the model wants; all
    /// tokens but the first position of a window are predicted, or as many as `settings.last`
    /// says. `on_window` hears of each finished window.
    ///
    /// # Errors
    /// A context of fewer than two tokens or of more than the model's, or cancellation.
    pub fn perplexity(
        &self,
        tokens: &[TokenId],
        settings: &PerplexitySettings,
        cancel: &Cancel,
        on_window: &mut dyn FnMut(&Perplexity),
    ) -> Result<Perplexity, EngineError> {
        let mut total = Perplexity::default();
        for window in self.windows(tokens, settings.context)? {
            let mut state = self.lock();
            let mut runner = self.runner(&mut state);
            add_window(&mut runner, &window, settings, &mut total, cancel)?;
            on_window(&total);
        }
        Ok(total)
    }

    /// Tokens in windows of `context` positions, the model's prefix included.
    fn windows(
        &self,
        tokens: &[TokenId],
        context: usize,
    ) -> Result<Vec<Vec<TokenId>>, EngineError> {
        let prefix = self.tokenizer.prefix();
        let smallest = 2.max(prefix.len() + 1);
        if !(smallest..=self.facts.context_tokens).contains(&context) {
            return Err(EngineError::BadRequest {
                field: "context",
                given: context.to_string(),
                wanted: "at least 2, more than the model's prefix, and at most the model's context",
            });
        }
        let windows = tokens.chunks(context - prefix.len());
        Ok(windows.map(|text| [prefix, text].concat()).collect())
    }

    /// How far the model's predictions of a text are from another model's with the same
    /// vocabulary, over the windows of [`LocalEngine::perplexity`].
    ///
    /// # Errors
    /// As [`LocalEngine::perplexity`], and another vocabulary.
    pub fn divergence(
        &self,
        reference: &Self,
        tokens: &[TokenId],
        context: usize,
        cancel: &Cancel,
        on_window: &mut dyn FnMut(&Divergence),
    ) -> Result<Divergence, EngineError> {
        let (found, wanted) = (self.vocabulary(), reference.vocabulary());
        if found != wanted {
            return Err(EngineError::engine(LocalError::OtherVocabulary {
                found,
                wanted,
            }));
        }
        let limit = reference.facts.context_tokens;
        let mut total = Divergence::default();
        for window in self.windows(tokens, context.min(limit))? {
            let (mut ours, mut theirs) = (self.lock(), reference.lock());
            let runners = [self.runner(&mut ours), reference.runner(&mut theirs)];
            compare_window(runners, &window, &mut total, cancel)?;
            on_window(&total);
        }
        Ok(total)
    }

    fn vocabulary(&self) -> usize {
        self.model.config().vocabulary
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic inside a pass leaves blocks referenced that nobody holds, but no wrong content:
        // sequences are only ever read up to their own length.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn runner<'a>(&'a self, state: &'a mut State) -> Runner<'a> {
        Runner {
            model: &self.model,
            pool: &self.pool,
            state,
        }
    }

    /// Checks that a prompt and what follows it fit into the context.
    fn check_fit(&self, prompt: usize, reserved: usize) -> Result<(), EngineError> {
        let limit = self.facts.context_tokens;
        if prompt + reserved > limit {
            return Err(EngineError::ContextExceeded {
                prompt_tokens: prompt,
                reserved_tokens: reserved,
                limit_tokens: limit,
            });
        }
        Ok(())
    }

    fn score_job(&self, request: &ScoreRequest) -> Result<ScoreJob, EngineError> {
        let options: Vec<Vec<TokenId>> = request
            .options
            .iter()
            .map(|option| self.tokenizer.encode(option, Specials::AsText))
            .collect();
        check_options(&request.options, &options)?;
        let prompt = self.encode(&request.prompt)?;
        check_not_empty(&prompt)?;
        self.check_fit(
            prompt.len(),
            options.iter().map(Vec::len).max().unwrap_or(0),
        )?;
        let plan = OptionPlan::new(&options, request.normalise);
        Ok(ScoreJob {
            prompt,
            options,
            plan,
        })
    }

    fn generate_job(&self, request: &GenerateRequest) -> Result<GenerateJob, EngineError> {
        let prompt = self.encode(&request.prompt)?;
        check_not_empty(&prompt)?;
        self.check_fit(prompt.len(), request.max_tokens)?;
        let constraint = request
            .constraint
            .as_ref()
            .map(|c| self.start(c))
            .transpose()?;
        Ok(GenerateJob {
            prompt,
            max_tokens: request.max_tokens,
            sampling: request.sampling,
            stop: request.stop.clone(),
            constraint,
            attention: request.attention,
        })
    }

    fn start(&self, constraint: &Constraint) -> Result<ConstraintState, EngineError> {
        let failed = |error| EngineError::engine(LocalError::Constraint(error));
        if let Some(factory) = self.constraints.get() {
            return factory.start(constraint).map_err(failed);
        }
        let factory = ConstraintFactory::new(&self.tokenizer).map_err(failed)?;
        self.constraints
            .get_or_init(|| factory)
            .start(constraint)
            .map_err(failed)
    }
}

fn check_not_empty(prompt: &[TokenId]) -> Result<(), EngineError> {
    if prompt.is_empty() {
        return Err(EngineError::BadRequest {
            field: "prompt",
            given: "no token".to_owned(),
            wanted: "at least one token",
        });
    }
    Ok(())
}

fn check_options(texts: &[String], options: &[Vec<TokenId>]) -> Result<(), EngineError> {
    let bad = |given: String, wanted| {
        Err(EngineError::BadRequest {
            field: "options",
            given,
            wanted,
        })
    };
    if options.is_empty() {
        return bad("none".to_owned(), "at least one option");
    }
    for (index, option) in options.iter().enumerate() {
        if option.is_empty() {
            return bad(
                format!("an empty option at {index}"),
                "options that are not empty",
            );
        }
        if options[..index].contains(option) {
            return bad(format!("{:?} twice", texts[index]), "options that differ");
        }
    }
    Ok(())
}

impl Score for LocalEngine {
    fn score(
        &self,
        requests: &[ScoreRequest],
        cancel: &Cancel,
    ) -> Vec<Result<Scoring, EngineError>> {
        let mut results: Vec<Option<Result<Scoring, EngineError>>> = Vec::new();
        let (mut indices, mut jobs) = (Vec::new(), Vec::new());
        for (index, request) in requests.iter().enumerate() {
            let job = self.score_job(request);
            results.push(None);
            match job {
                Ok(job) => {
                    indices.push(index);
                    jobs.push(job);
                }
                Err(error) => results[index] = Some(Err(error)),
            }
        }
        let mut state = self.lock();
        for (index, result) in
            indices
                .into_iter()
                .zip(score(&mut self.runner(&mut state), &jobs, cancel))
        {
            results[index] = Some(result);
        }
        unwrap_all(results)
    }
}

impl Generate for LocalEngine {
    fn facts(&self) -> &ModelFacts {
        &self.facts
    }

    fn generate(
        &self,
        requests: &[GenerateRequest],
        cancel: &Cancel,
        on_text: &mut dyn FnMut(usize, &str),
    ) -> Vec<Result<Completion, EngineError>> {
        let mut results: Results = Vec::new();
        let mut jobs = Vec::new();
        for (index, request) in requests.iter().enumerate() {
            let job = self.generate_job(request);
            results.push(None);
            match job {
                Ok(job) => jobs.push((index, job)),
                Err(error) => results[index] = Some(Err(error)),
            }
        }
        let mut state = self.lock();
        let mut runner = self.runner(&mut state);
        Generation {
            runner: &mut runner,
            tokenizer: &self.tokenizer,
            on_text,
        }
        .run(jobs, cancel, &mut results);
        unwrap_all(results)
    }
}

fn unwrap_all<T>(results: Vec<Option<T>>) -> Vec<T> {
    results
        .into_iter()
        .map(|result| result.expect("every request has a result"))
        .collect()
}
