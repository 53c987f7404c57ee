//! The engine on this machine: a model, its tokenizer and the compute threads.

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use autoglm_model::{
    Adapter, CacheType, KvCache, Model, Pool, Pooling, QuantizedType, WeightSource,
};
use autoglm_spec::{
    AttentionPolicy, Cancel, Completion, Constraint, Decoding, Delta, EmbeddingSpace, EngineError,
    Generate, GenerateRequest, ModelFacts, Prompt, Sampling, Score, ScoreRequest, Scoring,
    Similarity,
};
use autoglm_token::{ChatOptions, ChatTemplate, GlmGeneration, Specials, TokenId, Tokenizer};

use crate::adapters::Adapters;
use crate::constraint::{ConstraintFactory, ConstraintState};
use crate::desk::{Busy, Desk};
use crate::divergence::{Divergence, compare_window};
use crate::error::LocalError;
use crate::generate::GenerateJob;
use crate::memory::{MemoryError, MemoryPlan};
use crate::options::OptionPlan;
use crate::perplexity::{self, Perplexity, PerplexitySettings};
use crate::request::{Answer, Job};
use crate::runner::{Machine, PLACEHOLDER};
use crate::scheduler::Scheduler;
use crate::score::ScoreJob;
use crate::stats::EngineStats;

/// How an engine uses the machine.
#[derive(Debug, Clone, Copy)]
pub struct LocalSettings {
    /// Compute threads, the calling one included.
    pub threads: NonZeroUsize,
    /// Token positions that the key/value cache holds for all requests together, at least
    /// [`LocalSettings::MIN_CACHE_TOKENS`]; `None` is [`LocalSettings::DEFAULT_CACHE_TOKENS`], or
    /// as many as the memory limit leaves room for.
    pub cache_tokens: Option<usize>,
    /// How the cache stores keys and values.
    pub cache_type: CacheType,
    /// Bytes that weights, cache and working memory may take together at most.
    pub memory_limit: Option<u64>,
    /// What float weights are quantised to while they are loaded.
    pub quantize: Option<QuantizedType>,
    /// Bytes that are set aside for adapters; see [`Adapter::planned_bytes`].
    pub adapter_bytes: usize,
}

impl LocalSettings {
    /// The smallest cache: room for one pass of requests.
    pub const MIN_CACHE_TOKENS: usize = 4_096;
    /// The cache where nothing else is asked for: 16,384 positions, 288 MiB with Gemma-3-270M.
    pub const DEFAULT_CACHE_TOKENS: usize = 16_384;
}

/// A model on this machine. Calls from several threads share its passes.
pub struct LocalEngine {
    pub(crate) facts: ModelFacts,
    pub(crate) space: EmbeddingSpace,
    pub(crate) pooling: Pooling,
    model: Model,
    tokenizer: Arc<Tokenizer>,
    pub(crate) template: Option<ChatTemplate>,
    pub(crate) chat: ChatOptions,
    pool: Pool,
    pub(crate) desk: Desk,
    constraints: OnceLock<ConstraintFactory>,
    adapters: Adapters,
    plan: MemoryPlan,
    memory_limit: Option<u64>,
}

impl LocalEngine {
    /// Loads the model at a path: a GGUF file, or a folder with `config.json` and safetensors.
    ///
    /// # Errors
    /// A model that is not usable; the error names what is wrong with it.
    pub fn open(path: &Path, settings: LocalSettings) -> Result<Self, LocalError> {
        let name = name_of(path);
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
        let plan = MemoryPlan::new(source, settings)?;
        let pool = Pool::new(settings.threads);
        let model = Model::load_as(source, &pool, settings.quantize)?;
        let tokenizer = Arc::new(Tokenizer::new(source.vocabulary()?)?);
        check_texts(&tokenizer, &model)?;
        check_vocabulary(tokenizer.vocabulary_len(), model.config().vocabulary)?;
        let built_in = || GlmGeneration::of(&tokenizer).map(GlmGeneration::template);
        let template = source
            .chat_template()?
            .or_else(built_in)
            .map(|source| ChatTemplate::new(source, &tokenizer))
            .transpose()?;
        let facts = ModelFacts {
            name,
            context_tokens: model.config().context_tokens.min(plan.cache_tokens),
            chat: template.is_some(),
        };
        let config = model.config().clone();
        let (kind, positions) = (settings.cache_type, plan.cache_positions());
        let make = move || Scheduler::new(KvCache::of_type(kind, &config, positions));
        let desk = Desk::new(make);
        let constraints = OnceLock::new();
        let space = EmbeddingSpace {
            name: String::new(),
            dimensions: 0,
            max_tokens: 0,
            similarity: Similarity::Cosine,
        };
        let mut engine = Self {
            facts,
            space,
            pooling: model.config().pooling.unwrap_or(Pooling::Mean),
            model,
            tokenizer,
            template,
            chat: ChatOptions::default(),
            pool,
            desk,
            constraints,
            adapters: Adapters::default(),
            plan,
            memory_limit: settings.memory_limit,
        };
        engine.describe_space();
        Ok(engine)
    }

    /// The engine with options for the conversations of all its requests.
    #[must_use]
    pub fn with_chat(mut self, chat: ChatOptions) -> Self {
        self.chat = chat;
        self
    }

    /// The engine with an adapter for all requests that name none. The model's name tells it.
    ///
    /// # Errors
    /// As for [`LocalEngine::load_adapter`].
    pub fn with_adapter(mut self, folder: &Path) -> Result<Self, LocalError> {
        self.adapters.own = Some(self.read_adapter(folder)?);
        self.facts.name = format!("{}+{}", self.facts.name, name_of(folder));
        self.describe_space();
        Ok(self)
    }

    /// Reads the adapter in a folder as PEFT writes it, for requests that name it so. Another one
    /// that had the name goes on in the requests that are running.
    ///
    /// # Errors
    /// A folder that does not hold an adapter of this model that is supported; the error names
    /// what is wrong with it. [`MemoryError`] where all adapters together take more than is set
    /// aside for them and the memory limit leaves no room.
    pub fn load_adapter(&self, name: &str, folder: &Path) -> Result<(), LocalError> {
        let adapter = self.read_adapter(folder)?;
        self.adapters.insert(name.to_owned(), adapter);
        Ok(())
    }

    /// Forgets an adapter; requests that are running keep it. `false` when there is none of that
    /// name.
    pub fn unload_adapter(&self, name: &str) -> bool {
        self.adapters.remove(name)
    }

    fn read_adapter(&self, folder: &Path) -> Result<Arc<Adapter>, LocalError> {
        let planned = Adapter::planned_bytes(folder)?;
        let plan = self
            .plan
            .with_adapters(self.adapters.size_bytes() + planned);
        if let Some(limit_bytes) = self.memory_limit
            && plan.total_bytes() as u64 > limit_bytes
        {
            return Err(MemoryError { limit_bytes, plan }.into());
        }
        let adapter = Adapter::open(folder, self.model.config(), &self.pool)?;
        Ok(Arc::new(adapter))
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
    /// Turns for a model without a chat template, a template that fails on them, or tokens that
    /// the vocabulary does not have.
    pub fn encode(&self, prompt: &Prompt) -> Result<Vec<TokenId>, EngineError> {
        match prompt {
            Prompt::Plain(text) => {
                let mut tokens = self.tokenizer.prefix().to_vec();
                tokens.extend(self.tokenizer.encode(text, Specials::AsText));
                Ok(tokens)
            }
            Prompt::Chat(segments) => self.encode_chat(segments).map_err(EngineError::engine),
            Prompt::Tokens(tokens) => {
                check_tokens(tokens, self.tokenizer.vocabulary_len())?;
                Ok(tokens.clone())
            }
        }
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
            let machine = self.machine();
            let found = self.desk.borrow(|scheduler| {
                let runner = &mut scheduler.runner;
                perplexity::window(runner, machine, &window, settings, cancel)
            })?;
            total += found;
            on_window(&total);
        }
        Ok(total)
    }

    /// How well the model predicts each of several continuations of one prompt, behind the prefix
    /// that the model wants, under each of several policies. The prompt but for its last token is
    /// read once, with full attention; the policies are those of the positions which predict. One
    /// list for each policy.
    ///
    /// # Errors
    /// A prompt or a continuation without tokens, more tokens than the model's context, or
    /// cancellation.
    pub fn predict_continuations(
        &self,
        prompt: &[TokenId],
        continuations: &[Vec<TokenId>],
        policies: &[AttentionPolicy],
        cancel: &Cancel,
    ) -> Result<Vec<Vec<Perplexity>>, EngineError> {
        let prompt = [self.tokenizer.prefix(), prompt].concat();
        let refused = |field, given: usize, wanted| EngineError::BadRequest {
            field,
            given: format!("{given} tokens"),
            wanted,
        };
        let lengths = || continuations.iter().map(Vec::len);
        if prompt.is_empty() {
            return Err(refused("prompt", 0, "at least 1 token"));
        }
        if lengths().any(|len| len == 0) {
            return Err(refused("continuation", 0, "at least 1 token"));
        }
        let longest = prompt.len() + lengths().max().unwrap_or(0);
        if longest > self.facts.context_tokens {
            let wanted = "at most the model's context";
            return Err(refused("prompt and continuation", longest, wanted));
        }
        let machine = self.machine();
        self.desk.borrow(|scheduler| {
            let runner = &mut scheduler.runner;
            let asked = (prompt.as_slice(), continuations);
            perplexity::continuations(runner, machine, asked, policies, cancel)
        })
    }

    /// Tokens in windows of `context` positions, the model's prefix included.
    fn windows(
        &self,
        tokens: &[TokenId],
        context: usize,
    ) -> Result<Vec<Vec<TokenId>>, EngineError> {
        self.check_writes()?;
        let prefix = self.tokenizer.prefix();
        let smallest = 2.max(prefix.len() + 1);
        let largest = self
            .facts
            .context_tokens
            .saturating_sub(self.virtual_tokens());
        if !(smallest..=largest).contains(&context) {
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
        let machines = [self.machine(), reference.machine()];
        let mut total = Divergence::default();
        for window in self.windows(tokens, context.min(limit))? {
            self.desk.borrow(|ours| {
                reference.desk.borrow(|theirs| {
                    let runners = [&mut ours.runner, &mut theirs.runner];
                    compare_window(runners, machines, &window, &mut total, cancel)
                })
            })?;
            on_window(&total);
        }
        Ok(total)
    }

    fn vocabulary(&self) -> usize {
        self.model.config().vocabulary
    }

    /// What the engine has done so far.
    pub fn stats(&self) -> EngineStats {
        self.desk.stats()
    }

    /// Positions that the engine's own adapter takes before every text.
    pub(crate) fn virtual_tokens(&self) -> usize {
        let own = self.adapters.own.as_ref();
        own.map_or(0, |adapter| adapter.virtual_tokens())
    }

    /// Fails where the model has no output head.
    fn check_writes(&self) -> Result<(), EngineError> {
        if self.model.config().causal {
            return Ok(());
        }
        let model = self.facts.name.clone();
        Err(EngineError::engine(LocalError::EmbedsOnly { model }))
    }

    pub(crate) fn machine(&self) -> Machine<'_> {
        Machine {
            model: &self.model,
            pool: &self.pool,
            tokenizer: &self.tokenizer,
            adapter: self.adapters.own.as_ref(),
        }
    }

    /// The tokens of a request's prompt behind placeholders of its adapter's virtual ones.
    fn prompt(
        &self,
        prompt: &Prompt,
        adapter: Option<&Arc<Adapter>>,
    ) -> Result<Vec<TokenId>, EngineError> {
        let tokens = self.encode(prompt)?;
        check_not_empty(&tokens)?;
        let virtual_tokens = adapter.map_or(0, |adapter| adapter.virtual_tokens());
        Ok([vec![PLACEHOLDER; virtual_tokens], tokens].concat())
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
        self.check_writes()?;
        let options: Vec<Vec<TokenId>> = request
            .options
            .iter()
            .map(|option| self.tokenizer.encode(option, Specials::AsText))
            .collect();
        check_options(&request.options, &options)?;
        let adapter = self.adapters.of(request.adapter.as_deref())?;
        let prompt = self.prompt(&request.prompt, adapter.as_ref())?;
        self.check_fit(
            prompt.len(),
            options.iter().map(Vec::len).max().unwrap_or(0),
        )?;
        let plan = OptionPlan::new(&options, request.normalise);
        Ok(ScoreJob {
            prompt,
            options,
            plan,
            wants_states: request.states,
            adapter,
        })
    }

    pub(crate) fn generate_job(
        &self,
        request: &GenerateRequest,
    ) -> Result<GenerateJob, EngineError> {
        self.check_writes()?;
        let adapter = self.adapters.of(request.adapter.as_deref())?;
        let prompt = self.prompt(&request.prompt, adapter.as_ref())?;
        self.check_fit(prompt.len(), request.max_tokens)?;
        check_choice(request, self.tokenizer.vocabulary_len())?;
        let constraint = request
            .constraint
            .as_ref()
            .map(|c| self.start(c))
            .transpose()?;
        Ok(GenerateJob {
            prompt,
            max_tokens: request.max_tokens,
            sampling: request.sampling,
            logit_bias: request.logit_bias.clone(),
            stop: request.stop.clone(),
            constraint,
            decoding: request.decoding,
            attention: request.attention,
            adapter,
        })
    }

    /// Answers the jobs and puts the answers to the errors of requests that are none.
    fn answer(
        &self,
        jobs: Vec<Result<Job, EngineError>>,
        cancel: &Cancel,
        on_delta: &mut dyn FnMut(usize, &Delta),
    ) -> Vec<Result<Answer, EngineError>> {
        let mut results: Vec<Option<Result<Answer, EngineError>>> = Vec::new();
        let mut good = Vec::new();
        for (index, job) in jobs.into_iter().enumerate() {
            results.push(match job {
                Ok(job) => {
                    good.push((index, job));
                    None
                }
                Err(error) => Some(Err(error)),
            });
        }
        match self.desk.answer(self.machine(), good, cancel, on_delta) {
            Ok(answers) => {
                for (index, answer) in answers {
                    results[index] = Some(answer);
                }
            }
            Err(Busy { calls, limit }) => {
                for result in results.iter_mut().filter(|result| result.is_none()) {
                    let busy = LocalError::Busy { calls, limit };
                    *result = Some(Err(EngineError::engine(busy)));
                }
            }
        }
        let every = "every request has an answer";
        results
            .into_iter()
            .map(|result| result.expect(every))
            .collect()
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

/// What a file or folder is called. A folder's name may hold a full stop that ends no extension, as
/// in `GLM-4.1`.
fn name_of(path: &Path) -> String {
    let name = if path.is_dir() {
        path.file_name()
    } else {
        path.file_stem()
    };
    name.map_or_else(String::new, |s| s.to_string_lossy().into_owned())
}

/// A text that is read as a whole must have room for itself between what stands around it.
fn check_texts(tokenizer: &Tokenizer, model: &Model) -> Result<(), LocalError> {
    let around = tokenizer.prefix().len() + tokenizer.suffix().len();
    let tokens = model.config().context_tokens;
    if model.config().causal || tokens > around {
        return Ok(());
    }
    Err(LocalError::ShortTexts { tokens, around })
}

/// A token without a row of the embedding would end a pass in a panic.
fn check_vocabulary(tokens: usize, rows: usize) -> Result<(), LocalError> {
    if tokens > rows {
        return Err(LocalError::WideVocabulary { tokens, rows });
    }
    Ok(())
}

/// Refuses settings of a choice that would end a pass in a panic or mean nothing.
fn check_choice(request: &GenerateRequest, vocabulary_len: usize) -> Result<(), EngineError> {
    let bad = |field, given: String, wanted| {
        Err(EngineError::BadRequest {
            field,
            given,
            wanted,
        })
    };
    for &(id, bias) in &request.logit_bias {
        if id as usize >= vocabulary_len {
            let given = format!("the token {id} for a vocabulary of {vocabulary_len}");
            return bad("logit_bias", given, "tokens of the vocabulary");
        }
        if !bias.is_finite() {
            return bad("logit_bias", bias.to_string(), "finite numbers");
        }
    }
    let Sampling {
        presence_penalty,
        frequency_penalty,
        ..
    } = request.sampling;
    if !presence_penalty.is_finite() {
        let given = presence_penalty.to_string();
        return bad("presence_penalty", given, "a finite number");
    }
    if !frequency_penalty.is_finite() {
        let given = frequency_penalty.to_string();
        return bad("frequency_penalty", given, "a finite number");
    }
    let top = request.decoding.top_logprobs;
    if top > Decoding::MAX_TOP_LOGPROBS {
        return bad("top_logprobs", top.to_string(), "at most 20");
    }
    Ok(())
}

/// Refuses tokens that the vocabulary does not have.
fn check_tokens(tokens: &[TokenId], vocabulary_len: usize) -> Result<(), EngineError> {
    match tokens.iter().find(|&&id| id as usize >= vocabulary_len) {
        None => Ok(()),
        Some(id) => Err(EngineError::BadRequest {
            field: "prompt",
            given: format!("the token {id} for a vocabulary of {vocabulary_len}"),
            wanted: "tokens of the vocabulary",
        }),
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
        let job = |request| Ok(Job::Score(Box::new(self.score_job(request)?)));
        let answers = self.answer(requests.iter().map(job).collect(), cancel, &mut |_, _| {});
        let scoring = |answer| match answer {
            Answer::Scoring(scoring) => scoring,
            Answer::Completion(_) => unreachable!("a score request gives scores"),
        };
        answers.into_iter().map(|a| a.map(scoring)).collect()
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
        on_delta: &mut dyn FnMut(usize, &Delta),
    ) -> Vec<Result<Completion, EngineError>> {
        let job = |request| Ok(Job::Generate(Box::new(self.generate_job(request)?)));
        let answers = self.answer(requests.iter().map(job).collect(), cancel, on_delta);
        let completion = |answer| match answer {
            Answer::Completion(completion) => completion,
            Answer::Scoring(_) => unreachable!("a request for text gives text"),
        };
        answers.into_iter().map(|a| a.map(completion)).collect()
    }
}
