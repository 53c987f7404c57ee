//! `autoglm serve`: models, tasks and documents over HTTP.

mod access;
mod telemetry;

use std::net::{SocketAddr, TcpListener as HandedSocket};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use autoglm_model::QuantizedType;
use autoglm_server::{
    AdmissionLimits, App, ConnectionLimits, Loaded, Loader, MeaningSettings, ServerError,
    ServerStore, Settings, Skill, StoreLimits, TimeLimits, Version, adopt, guarded, listen, serve,
    serve_tls,
};
use autoglm_spec::Cancel;
use clap::Args;
use tokio::net::TcpListener;

use crate::commands::knowledge::place::StoreArgs;
use crate::engine::{CacheTypeName, LocalArgs, quantized_type, size};
use crate::environment;
use crate::interrupt::cancel_on_interrupt;
use crate::models::Need;
use crate::serve::{Collections, Desk, KeptPrefixes, ModelPlan, load, surroundings, tell};
use crate::streams::now;
use access::{Access, AccessArgs};
use telemetry::TelemetryArgs;

/// How often it is looked whether the server is to stop.
const WATCH: Duration = Duration::from_millis(50);
/// Bytes of a body at most.
const BODY_BYTES: u64 = 8 << 20;

/// Serve models over HTTP: OpenAI's endpoints, on this machine unless told otherwise.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// A model that is served: [NAME=]MODEL, where MODEL is a GGUF file, a folder with safetensors
    /// or a name that `autoglm model list` shows. May be given several times; the first answers
    /// requests that name none. Without it the default models for chat and for vectors are served.
    #[arg(long, short = 'm', value_name = "[NAME=]MODEL")]
    model: Vec<String>,
    /// A task that is served: its file, or its words. May be given several times.
    #[arg(long, short = 't', value_name = "TASK")]
    task: Vec<String>,
    /// A collection of documents that is served: its name, or its file. May be given several times.
    #[arg(long, value_name = "NAME|FILE")]
    knowledge: Vec<String>,
    #[command(flatten)]
    store: StoreArgs,
    /// Where to listen, unless a service manager hands a socket over (`LISTEN_FDS`).
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    #[command(flatten)]
    access: AccessArgs,
    #[command(flatten)]
    telemetry: TelemetryArgs,
    /// Requests that are worked on at once.
    #[arg(long, value_name = "N", default_value_t = 32)]
    concurrency: usize,
    /// Requests that wait beside them; more are refused with 429.
    #[arg(long, value_name = "N", default_value_t = 256)]
    queue: usize,
    /// Seconds that a request may take.
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    timeout: u64,
    /// Tokens of an answer at most, where the request does not say.
    #[arg(long, value_name = "N", default_value_t = 1024)]
    answer_tokens: usize,
    /// Bytes of a request's body at most.
    #[arg(long, value_name = "SIZE", value_parser = size, default_value_t = BODY_BYTES)]
    body_limit: u64,
    /// Bytes of answers that are kept and given again where a request must have the same answer; 0
    /// keeps none.
    #[arg(long, value_name = "SIZE", value_parser = size_or_none, default_value = "256M")]
    answer_cache: u64,
    /// Give answers again to questions of the same meaning, of which at most this share may be
    /// answered wrongly, such as 0.01. Learns what is the same while the server runs; wants a model
    /// that makes vectors.
    #[arg(long, value_name = "ERROR", value_parser = error_share)]
    semantic_cache: Option<f64>,
    /// Give a client what was answered to another one's question of the same meaning.
    #[arg(long, requires = "semantic_cache")]
    semantic_across_keys: bool,
    /// Bytes of computed prompts that are kept in the data folder while no server runs, so that the
    /// next one need not compute them again; 0 keeps none.
    #[arg(long, value_name = "SIZE", value_parser = size_or_none, default_value = "0")]
    prefix_cache: u64,
    /// Seconds that requests may go on when the server is stopped.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    grace: u64,
    /// Compute threads; all processors when not given.
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,
    /// Token positions that the key/value cache of a model holds for all requests together.
    #[arg(long, value_name = "TOKENS")]
    cache_tokens: Option<usize>,
    /// How the cache stores keys and values.
    #[arg(long, value_name = "TYPE", value_enum, default_value_t = CacheTypeName::F16)]
    cache_type: CacheTypeName,
    /// What a model's weights, cache and working memory may take together at most.
    #[arg(long, value_name = "SIZE", value_parser = size)]
    memory_limit: Option<u64>,
    /// Quantise weights that are floats in the file while they are loaded.
    #[arg(long, value_name = "TYPE", value_parser = quantized_type)]
    quantize: Option<QuantizedType>,
    /// A folder with an adapter of the models as PEFT writes it.
    #[arg(long, value_name = "FOLDER")]
    adapter: Option<PathBuf>,
}

/// Runs the command until it is interrupted.
///
/// # Errors
/// A model that cannot be used, or an address that cannot be listened at.
pub fn run(args: &ServeArgs, home: &Path) -> anyhow::Result<()> {
    let door = Door::of(args)?;
    let cancel = cancel_on_interrupt();
    // What is wrong with these is told before models are loaded.
    let access = args.access.open(door.address)?;
    let collections = Collections::open(&args.knowledge, &args.store.place(home)?)?;
    let plan = args.plan(home);
    let prefixes = plan.prefixes.clone();
    let versions = args.versions(&plan)?;
    let store = ServerStore::open(&home.join("server.db"), args.store_limits())
        .context("cannot open the server's store")?;
    for version in &versions {
        tell(&told(version));
    }
    let desk = Desk::open(&args.task, &plan)?;
    let (telemetry, log) = args.telemetry.open();
    let app = App::observed(versions, args.settings(), surroundings()?, telemetry)
        .remembering(store)
        .with_tasks(Arc::new(desk))
        .with_knowledge(Arc::new(collections))
        .loading(loader(plan));
    let app = match args.meanings() {
        Some(settings) => app
            .answering_by_meaning(settings)
            .context("--semantic-cache")?,
        None => app,
    };
    for remark in app
        .resume()
        .context("cannot go on with the versions that were live")?
    {
        tell(&remark);
    }
    let app = Arc::new(app);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the server's threads")?;
    let cut = runtime.block_on(answer(args, door, Arc::clone(&app), (access, cancel)))?;
    let sent = log.close(&app);
    // What is still being computed for requests that were cut is of no use.
    runtime.shutdown_background();
    if !sent {
        tell("the collector did not take all that was observed in time");
    }
    if cut > 0 {
        tell(&format!(
            "{cut} connections were cut when the time of grace was over"
        ));
    }
    if let Some(prefixes) = prefixes {
        prefixes.save();
    }
    // Until here, so that the models are still there.
    drop(app);
    Ok(())
}

/// Where connections come from.
struct Door {
    address: SocketAddr,
    /// The socket, where a service manager has opened it.
    handed: Option<HandedSocket>,
}

impl Door {
    /// A socket that was handed over goes before the address on the command line.
    fn of(args: &ServeArgs) -> anyhow::Result<Self> {
        let handed = environment::handed_socket()?;
        let address = handed.as_ref().map(HandedSocket::local_addr);
        let address = address.transpose();
        let address = address.context("the socket that was handed over has no address")?;
        Ok(Self {
            address: address.unwrap_or(args.listen),
            handed,
        })
    }

    /// Begins to listen. Must be called in the runtime.
    fn open(self, is_shared: bool) -> anyhow::Result<TcpListener> {
        match self.handed {
            Some(socket) => {
                adopt(socket).context("cannot listen at the socket that was handed over")
            }
            None => listen(self.address, is_shared)
                .with_context(|| format!("cannot listen at {}", self.address)),
        }
    }
}

/// Answers until the user stops it.
async fn answer(
    args: &ServeArgs,
    door: Door,
    app: Arc<App>,
    (access, cancel): (Access, Cancel),
) -> anyhow::Result<usize> {
    let listener = door.open(args.access.share_port)?;
    let scheme = if access.tls.is_some() {
        "https"
    } else {
        "http"
    };
    tell(&format!(
        "listening at {scheme}://{}",
        listener.local_addr()?
    ));
    access.follow();
    let routes = guarded(Arc::clone(&app), access.guard);
    let stopping = Arc::clone(&app);
    let stop = async move {
        while !cancel.is_cancelled() {
            tokio::time::sleep(WATCH).await;
        }
        stopping.stop();
        tell("stopping: requests that are under way are ended");
    };
    let limits = args.connections();
    let metrics = Arc::clone(app.metrics());
    Ok(match access.tls {
        Some(tls) => serve_tls(listener, tls, routes, metrics, limits, stop).await,
        None => serve(listener, routes, metrics, limits, stop).await,
    })
}

impl ServeArgs {
    fn plan(&self, home: &Path) -> ModelPlan {
        ModelPlan {
            args: LocalArgs {
                model: None,
                threads: self.threads,
                cache_tokens: self.cache_tokens,
                cache_type: self.cache_type,
                memory_limit: self.memory_limit,
                quantize: self.quantize,
                adapter: self.adapter.clone(),
            },
            home: home.to_owned(),
            prefixes: (self.prefix_cache > 0)
                .then(|| Arc::new(KeptPrefixes::new(home, self.prefix_cache))),
            pool: Arc::default(),
            contents: Arc::default(),
        }
    }

    fn versions(&self, plan: &ModelPlan) -> anyhow::Result<Vec<Version>> {
        if self.model.is_empty() {
            let defaults = [Need::Open, Need::Embeddings];
            return defaults
                .into_iter()
                .map(|need| version(plan, None, None, need))
                .collect();
        }
        let named = self.model.iter().map(|text| split_name(text));
        let versions = named.map(|(name, model)| version(plan, name, Some(model), Need::Open));
        let versions: Vec<Version> = versions.collect::<anyhow::Result<_>>()?;
        for (index, version) in versions.iter().enumerate() {
            let is_there = versions[..index].iter().any(|v| v.name == version.name);
            anyhow::ensure!(
                !is_there,
                "two models are called {}\nhint: --model NAME=MODEL gives one a name",
                version.name
            );
        }
        Ok(versions)
    }

    fn settings(&self) -> Settings {
        Settings {
            admission: AdmissionLimits {
                running: self.concurrency,
                waiting: self.queue,
            },
            times: TimeLimits {
                request: Duration::from_secs(self.timeout),
                ..TimeLimits::default()
            },
            body_bytes: usize::try_from(self.body_limit).unwrap_or(usize::MAX),
            answer_tokens: self.answer_tokens,
            ..Settings::default()
        }
    }

    fn store_limits(&self) -> StoreLimits {
        StoreLimits {
            answer_bytes: self.answer_cache,
            ..StoreLimits::default()
        }
    }

    fn meanings(&self) -> Option<MeaningSettings> {
        Some(MeaningSettings {
            error: self.semantic_cache?,
            across_clients: self.semantic_across_keys,
        })
    }

    fn connections(&self) -> ConnectionLimits {
        ConnectionLimits {
            grace: Duration::from_secs(self.grace),
            ..ConnectionLimits::default()
        }
    }
}

/// A size, or 0.
fn size_or_none(text: &str) -> Result<u64, String> {
    if text == "0" { Ok(0) } else { size(text) }
}

/// A share between 0 and 1.
fn error_share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if share > 0.0 && share < 1.0 => Ok(share),
        _ => Err("want a number between 0 and 1, such as 0.01".to_owned()),
    }
}

/// `NAME=MODEL`, or a model alone. A path may hold `=`, a name does not hold `/`.
fn split_name(text: &str) -> (Option<&str>, &str) {
    match text.split_once('=') {
        Some((name, model)) if !name.is_empty() && !name.contains(['/', '\\']) => {
            (Some(name), model)
        }
        _ => (None, text),
    }
}

fn version(
    plan: &ModelPlan,
    name: Option<&str>,
    model: Option<&str>,
    need: Need,
) -> anyhow::Result<Version> {
    let named = load(plan, model, need)?;
    let name = name.unwrap_or(&named.name);
    let source = model.unwrap_or(&named.name);
    Ok(Version::first(name, source, named.loaded, now()))
}

/// Loads further versions as the first ones are.
fn loader(plan: ModelPlan) -> Arc<Loader> {
    Arc::new(move |source: &str| -> Result<Loaded, ServerError> {
        let named = load(&plan, Some(source), Need::Open);
        named
            .map(|named| named.loaded)
            .map_err(|error| ServerError::CannotLoad {
                why: format!("{error:#}"),
            })
    })
}

fn told(version: &Version) -> String {
    let does = match &version.skill {
        Skill::Write(_) => "writes",
        Skill::Embed(_) => "makes vectors",
    };
    format!("{} {does}", version.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stands_before_a_model() {
        assert_eq!(
            split_name("glm=models/a.gguf"),
            (Some("glm"), "models/a.gguf")
        );
        assert_eq!(split_name("models/a=b.gguf"), (None, "models/a=b.gguf"));
        assert_eq!(split_name("smollm2"), (None, "smollm2"));
    }
}
