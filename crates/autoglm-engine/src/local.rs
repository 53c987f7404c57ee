//! The engine on this machine: a model, its tokenizer and the compute threads.

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use autoglm_model::{
    Adapter, CacheType, KvCache, Model, Pool, Pooling, QuantizedType, WeightSource,
};
use autoglm_spec::{
    Cancel, Completion, Constraint, Delta, EmbeddingSpace, EngineError, Generate, GenerateRequest,
    ModelFacts, Prompt, Score, ScoreRequest, Scoring, Similarity,
};
use autoglm_token::{ChatOptions, ChatTemplate, GlmGeneration, Specials, TokenId, Tokenizer};

use crate::adapters::Adapters;
use crate::check::{check_choice, check_not_empty, check_options, check_tokens};
use crate::constraint::{ConstraintFactory, ConstraintState};
use crate::desk::{Busy, Desk};
use crate::error::LocalError;
use crate::generate::GenerateJob;
use crate::memory::{MemoryError, MemoryPlan};
use crate::options::OptionPlan;
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
    pub(crate) fn check_writes(&self) -> Result<(), EngineError> {
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
