//! A loaded model: token ids and a cache in, logits out. It has no clock, no thread, no request
//! and no randomness.

use std::ops::Range;

use autoglm_kernel::{
    AttentionSpan, PackedMatrix, Pool, RopeParams, RopeTable, add_assign, matmul, matmul_rows,
    rms_norm_in_place, scale,
};
use autoglm_token::TokenId;

use crate::architecture;
use crate::block::{Attending, Block, Rows, Workspace};
use crate::cache::{CacheFull, KvCache, Sequence};
use crate::config::ModelConfig;
use crate::error::ModelError;
use crate::quantize::{QuantizedType, Recipe};
use crate::source::{TensorInfo, WeightSource};
use crate::trace::traced_layers;
use crate::weights::Weights;

/// For which tokens of a step the last hidden state is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outputs {
    /// For none: the step only fills the cache.
    None,
    /// For the last one.
    Last,
    /// For the last one, whose states on the way through the layers are kept, too.
    Traced,
    /// For all.
    All,
}

/// Tokens that are appended to one sequence.
pub struct Step<'a> {
    /// The sequence; its cached positions stand before the tokens.
    pub sequence: &'a mut Sequence,
    /// The tokens, at least one.
    pub tokens: &'a [TokenId],
    /// For which of them a hidden state is wanted.
    pub outputs: Outputs,
}

/// What a model is and takes, known before it is loaded.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelSize {
    /// What the model is.
    pub config: ModelConfig,
    /// Bytes of the packed weights.
    pub weight_bytes: usize,
}

impl ModelSize {
    /// Reads no weights, only what is said of them; `quantize` as in [`Model::load_as`].
    ///
    /// # Errors
    /// An architecture or a metadata value that is unknown, missing or out of range.
    pub fn of(
        source: &dyn WeightSource,
        quantize: Option<QuantizedType>,
    ) -> Result<Self, ModelError> {
        let infos = source.tensor_infos();
        let recipe = quantize.map(|kind| Recipe::new(kind, infos.iter().map(|info| info.name)));
        let packed = |info: &TensorInfo<'_>| {
            let recipe = recipe.filter(|_| info.format.block_len() == 1);
            let format = recipe.map_or(info.format, |r| r.format_for(info.name, info.shape));
            let cols = info.shape.last().copied().unwrap_or(1);
            PackedMatrix::packed_bytes(format, info.len() / cols, cols)
        };
        let matrices = infos.iter().filter(|info| info.shape.len() > 1);
        Ok(Self {
            config: architecture::configure(source)?,
            weight_bytes: matrices.map(packed).fold(0, usize::saturating_add),
        })
    }

    /// Bytes of the buffers of a forward pass over `rows` rows.
    pub fn workspace_bytes(&self, rows: usize) -> usize {
        let config = &self.config;
        let (attended, kept) = (config.heads, config.kv_heads);
        let heads = 2 * (attended + kept) * config.head_width;
        let widest = config
            .width
            .max(config.feed_forward)
            .max(attended * config.head_width);
        // Residual stream and normalised rows twice: the last layer keeps some of them apart.
        // Activations for the kernels are at most as large as in single precision.
        let floats = 4 * config.width + heads + 2 * config.feed_forward + widest;
        rows.saturating_mul(floats).saturating_mul(size_of::<f32>())
    }

    /// Bytes of the buffers that adapters want beside them for `rows` rows.
    pub fn adapter_workspace_bytes(&self, rows: usize) -> usize {
        let config = &self.config;
        let widest = config
            .width
            .max(config.feed_forward)
            .max(config.heads * config.head_width);
        // Rows of one adapter, the same for the kernel, A·x and B·(A·x).
        let floats = 4 * widest;
        rows.saturating_mul(floats).saturating_mul(size_of::<f32>())
    }
}

/// A model whose weights are packed and ready.
pub struct Model {
    config: ModelConfig,
    weights: Weights,
    ropes: Vec<RopeTable>,
}

impl Model {
    /// Reads a model and packs its weights.
    ///
    /// # Errors
    /// An architecture, a metadata value or a tensor that is unknown, missing or of another shape
    /// than the configuration says.
    pub fn load(source: &dyn WeightSource, pool: &Pool) -> Result<Self, ModelError> {
        Self::load_as(source, pool, None)
    }

    /// [`Model::load`], with weights that are floats in the source quantised while they are
    /// packed, one tensor at a time.
    ///
    /// # Errors
    /// As [`Model::load`], and a weight that the format does not hold.
    pub fn load_as(
        source: &dyn WeightSource,
        pool: &Pool,
        quantize: Option<QuantizedType>,
    ) -> Result<Self, ModelError> {
        let config = architecture::configure(source)?;
        let weights = Weights::load(source, &config, pool, quantize)?;
        let table = |rope: &RopeParams| RopeTable::new(rope, config.context_tokens);
        let ropes = config.ropes.iter().map(table).collect();
        Ok(Self {
            config,
            weights,
            ropes,
        })
    }

    /// What the model is.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Bytes of the packed weights in memory.
    pub fn weight_bytes(&self) -> usize {
        self.weights.size_bytes()
    }

    /// Appends tokens to sequences, all in one pass. Afterwards the workspace holds the hidden
    /// states that the steps wanted; the result says for each step which rows are its own.
    ///
    /// A row's result depends on its own sequence alone, bit for bit. A model that is not causal
    /// takes the whole text of a sequence in one step.
    ///
    /// # Errors
    /// [`CacheFull`], and no sequence has changed its length.
    ///
    /// # Panics
    /// When a step has no token or a token is outside the vocabulary, or a text is continued or
    /// longer than the context where the model is not causal.
    pub fn forward(
        &self,
        pool: &Pool,
        cache: &mut KvCache,
        workspace: &mut Workspace,
        steps: &mut [Step<'_>],
    ) -> Result<Vec<Range<usize>>, CacheFull> {
        for step in steps.iter_mut() {
            cache.reserve(step.sequence, step.tokens.len())?;
        }
        let starts: Vec<usize> = steps.iter().map(|step| step.sequence.len()).collect();
        self.check_whole(steps, &starts);
        self.embed(pool, workspace, steps);
        for step in steps.iter_mut() {
            step.sequence.advance(step.tokens.len());
        }
        let gated = take_gatings(workspace, steps, &starts);
        let rows = all_rows(steps, &starts, &gated);
        let (wanted, ranges) = wanted_rows(steps, &starts, &gated);
        let is_traced = steps.iter().any(|step| step.outputs == Outputs::Traced);
        let traced = is_traced.then(|| traced_layers(self.config.layers.len()));
        let traced = traced.unwrap_or_default();
        workspace.traces.clear();
        let last = self.config.layers.len() - 1;
        for layer in 0..last {
            let block = self.block(pool, layer);
            block.store(workspace, cache, (layer, &rows), Attending::All);
            block.attend_and_feed(workspace, cache, layer, &rows);
            if traced.contains(&layer) {
                workspace.trace(self.config.width, &wanted.indices);
            }
        }
        self.last_block(pool, cache, workspace, (&rows, &wanted));
        let gated = steps
            .iter_mut()
            .zip(gated)
            .filter(|(_, gated)| gated.is_some());
        for ((step, _), gating) in gated.zip(workspace.gatings.drain(..)) {
            step.sequence.gate(gating);
        }
        Ok(ranges)
    }

    /// The hidden states themselves, as an output head reads them.
    ///
    /// # Shapes
    /// `rows: [R]` of the last forward pass, result `[R, C]`.
    pub fn hidden_states<'w>(
        &self,
        pool: &Pool,
        workspace: &'w mut Workspace,
        rows: &[usize],
    ) -> &'w [f32] {
        let Workspace { hidden, normed, .. } = workspace;
        gather(hidden, self.config.width, rows, normed);
        if let Some(norm) = &self.weights.output_norm {
            rms_norm_in_place(pool, normed, norm, self.config.norm_epsilon);
        }
        normed
    }

    /// The logits of hidden states over the whole vocabulary.
    ///
    /// # Shapes
    /// `rows: [R]` of the last forward pass, result `[R, V]`.
    pub fn logits(&self, pool: &Pool, workspace: &mut Workspace, rows: &[usize]) -> Vec<f32> {
        let mut logits = vec![0.0; rows.len() * self.config.vocabulary];
        self.write_logits(pool, workspace, rows, &mut logits);
        logits
    }

    /// Writes the logits of hidden states over the whole vocabulary.
    ///
    /// # Shapes
    /// `rows: [R]` of the last forward pass, `logits: [R, V]`.
    ///
    /// # Panics
    /// When `logits` has another length.
    pub fn write_logits(
        &self,
        pool: &Pool,
        workspace: &mut Workspace,
        rows: &[usize],
        logits: &mut [f32],
    ) {
        self.load_outputs(pool, workspace, rows);
        matmul(pool, self.weights.head(), &workspace.activations, logits);
    }

    /// The logits of hidden states for the given tokens alone; no other row of the head is read.
    ///
    /// # Shapes
    /// `rows: [R]` of the last forward pass, `tokens: [N]`, result `[R, N]`.
    pub fn logits_of(
        &self,
        pool: &Pool,
        workspace: &mut Workspace,
        rows: &[usize],
        tokens: &[TokenId],
    ) -> Vec<f32> {
        self.load_outputs(pool, workspace, rows);
        let mut logits = vec![0.0; rows.len() * tokens.len()];
        matmul_rows(
            pool,
            self.weights.head(),
            tokens,
            &workspace.activations,
            &mut logits,
        );
        logits
    }

    /// Runs the last block, and of it only what the wanted rows need.
    fn last_block(
        &self,
        pool: &Pool,
        cache: &mut KvCache,
        workspace: &mut Workspace,
        (rows, wanted): (&Rows<'_>, &Wanted<'_>),
    ) {
        let last = self.config.layers.len() - 1;
        let block = self.block(pool, last);
        if wanted.indices.len() == rows.positions.len() {
            block.store(workspace, cache, (last, rows), Attending::All);
        } else {
            block.store(workspace, cache, (last, rows), Attending::Some);
            if wanted.indices.is_empty() {
                return;
            }
            workspace.keep_rows(self.config.width, &wanted.indices);
            block.queries(workspace, (last, &wanted.rows));
        }
        block.attend_and_feed(workspace, cache, last, &wanted.rows);
    }

    fn block<'a>(&'a self, pool: &'a Pool, layer: usize) -> Block<'a> {
        let config = &self.config;
        Block {
            pool,
            config,
            layer: config.layers[layer],
            rope: self.ropes.get(config.layers[layer].rope),
            weights: &self.weights.blocks[layer],
        }
    }

    /// Writes the embeddings of all tokens into `workspace.hidden`.
    fn embed(&self, pool: &Pool, workspace: &mut Workspace, steps: &[Step<'_>]) {
        let width = self.config.width;
        let tokens: Vec<TokenId> = steps
            .iter()
            .flat_map(|s| s.tokens.iter().copied())
            .collect();
        workspace.hidden.resize(tokens.len() * width, 0.0);
        pool.for_each_chunk(&mut workspace.hidden, width, |row, out| {
            self.weights
                .embedding
                .dequantize_row(tokens[row] as usize, out);
        });
        if self.config.embedding_scale != 1.0 {
            scale(pool, &mut workspace.hidden, self.config.embedding_scale);
        }
        embed_virtual(&mut workspace.hidden, width, steps);
        if let Some(positions) = &self.weights.positions {
            let mut rest = &mut workspace.hidden[..];
            for step in steps {
                let rows;
                (rows, rest) = rest.split_at_mut(step.tokens.len() * width);
                let first = step.sequence.len() * width;
                add_assign(pool, rows, &positions.embeddings[first..][..rows.len()]);
            }
            let epsilon = self.config.norm_epsilon;
            positions.norm.apply(pool, &mut workspace.hidden, epsilon);
        }
    }

    /// Panics unless steps are whole texts, where the model needs that.
    fn check_whole(&self, steps: &[Step<'_>], starts: &[usize]) {
        if self.config.causal {
            return;
        }
        for (step, start) in steps.iter().zip(starts) {
            let (tokens, limit) = (step.tokens.len(), self.config.context_tokens);
            assert!(
                *start == 0 && tokens <= limit,
                "{tokens} tokens behind {start} for a model of texts of at most {limit}"
            );
        }
    }

    /// Normalises the rows for the output head and loads them as activations.
    fn load_outputs(&self, pool: &Pool, workspace: &mut Workspace, rows: &[usize]) {
        self.hidden_states(pool, workspace, rows);
        let Workspace {
            normed,
            activations,
            ..
        } = workspace;
        activations.load_for(pool, normed, self.config.width, &[self.weights.head()]);
    }
}

/// Puts the learnt embeddings of virtual tokens in the place of those that the steps' tokens have.
fn embed_virtual(hidden: &mut [f32], width: usize, steps: &[Step<'_>]) {
    let mut rest = hidden;
    for step in steps {
        let rows;
        (rows, rest) = rest.split_at_mut(step.tokens.len() * width);
        let adapter = step.sequence.adapter();
        if let Some(embeddings) = adapter.and_then(|adapter| adapter.embeddings()) {
            let learnt = embeddings.chunks_exact(width).skip(step.sequence.len());
            for (row, learnt) in rows.chunks_exact_mut(width).zip(learnt) {
                row.copy_from_slice(learnt);
            }
        }
    }
}

impl Workspace {
    /// Keeps only these rows of the residual stream and of the normalised rows.
    fn keep_rows(&mut self, width: usize, indices: &[usize]) {
        let mut kept = Vec::new();
        gather(&self.hidden, width, indices, &mut kept);
        std::mem::swap(&mut self.hidden, &mut kept);
        gather(&self.normed, width, indices, &mut kept);
        std::mem::swap(&mut self.normed, &mut kept);
    }
}

pub(crate) fn gather(from: &[f32], width: usize, rows: &[usize], to: &mut Vec<f32>) {
    to.clear();
    for &row in rows {
        to.extend_from_slice(&from[row * width..(row + 1) * width]);
    }
}

/// Rows of a pass of which hidden states are wanted.
struct Wanted<'a> {
    /// Their indices among all rows.
    indices: Vec<usize>,
    rows: Rows<'a>,
}

/// Moves the gates of steps that are gated into the workspace. Returns where each step's are.
fn take_gatings(
    workspace: &mut Workspace,
    steps: &mut [Step<'_>],
    starts: &[usize],
) -> Vec<Option<usize>> {
    workspace.gatings.clear();
    let mut places = Vec::with_capacity(steps.len());
    for (step, &start) in steps.iter_mut().zip(starts) {
        let gated = step.tokens.len() == 1 && step.sequence.is_gated_at(start);
        let gating = gated.then(|| step.sequence.take_gating()).flatten();
        places.push(gating.is_some().then_some(workspace.gatings.len()));
        workspace.gatings.extend(gating);
    }
    places
}

/// All rows of the steps; `starts` are the sequences' lengths before the pass.
fn all_rows<'a>(steps: &'a [Step<'_>], starts: &[usize], gated: &[Option<usize>]) -> Rows<'a> {
    let mut rows = Rows::default();
    for ((step, &start), &gating) in steps.iter().zip(starts).zip(gated) {
        let first = rows.positions.len();
        for position in start..start + step.tokens.len() {
            rows.positions.push(position as u32);
            rows.slots.push(step.sequence.slot(position));
        }
        let span = AttentionSpan {
            blocks: step.sequence.blocks(),
            queries: first..rows.positions.len(),
            first_position: start,
        };
        rows.add(span, gating);
        if let Some(adapter) = step.sequence.adapter() {
            rows.adapt(adapter, first);
        }
    }
    rows
}

/// The rows whose hidden states are wanted, and the range of them that belongs to each step.
fn wanted_rows<'a>(
    steps: &'a [Step<'_>],
    starts: &[usize],
    gated: &[Option<usize>],
) -> (Wanted<'a>, Vec<Range<usize>>) {
    let mut wanted = Wanted {
        indices: Vec::new(),
        rows: Rows::default(),
    };
    let mut ranges = Vec::with_capacity(steps.len());
    let mut first_row = 0;
    for ((step, &start), &gating) in steps.iter().zip(starts).zip(gated) {
        let tokens = step.tokens.len();
        let skipped = match step.outputs {
            Outputs::None => tokens,
            Outputs::Last | Outputs::Traced => tokens - 1,
            Outputs::All => 0,
        };
        let begin = wanted.indices.len();
        wanted
            .indices
            .extend(first_row + skipped..first_row + tokens);
        wanted
            .rows
            .positions
            .extend((start + skipped..start + tokens).map(|p| p as u32));
        let queries = begin..wanted.indices.len();
        if !queries.is_empty() {
            let span = AttentionSpan {
                blocks: step.sequence.blocks(),
                queries: queries.clone(),
                first_position: start + skipped,
            };
            wanted.rows.add(span, gating);
            if let Some(adapter) = step.sequence.adapter() {
                wanted.rows.adapt(adapter, begin);
            }
        }
        ranges.push(queries);
        first_row += tokens;
    }
    (wanted, ranges)
}
