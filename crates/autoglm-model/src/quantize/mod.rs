//! Writes a model again with its weights in another number format: one tensor at a time, so that
//! memory is bounded whatever the model's size, and so that an interrupted run can go on.

mod convert;
mod partial;
mod recipe;
#[cfg(test)]
mod tests;

use std::fmt::Write as _;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::SystemTime;

use autoglm_kernel::{BlockFormat, Pool};

pub(crate) use self::convert::{ConvertError, Converter};
use self::partial::Partial;
pub use self::recipe::QuantizedType;
pub(crate) use self::recipe::Recipe;
use crate::error::ModelError;
use crate::gguf::writer::{ALIGNMENT, Plan, PlannedTensor};
use crate::gguf::{Entries, missing_tensor};
use crate::source::{Tensor, TensorInfo, WeightSource};

/// The version of the block formats, which files with quantised weights state.
const QUANTIZATION_VERSION: u32 = 2;

/// How far a run is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QuantizeProgress {
    /// Weights that are written, those of an earlier run included.
    pub weights: u64,
    /// Weights of the model.
    pub total_weights: u64,
}

/// What a run has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuantizeSummary {
    /// Tensors of the file.
    pub tensors: usize,
    /// Those that an earlier run had written.
    pub resumed_tensors: usize,
    /// Weights of the model.
    pub weights: u64,
    /// Bytes of the file.
    pub size_bytes: u64,
}

/// Quantises models.
pub struct Quantizer<'a> {
    source: &'a dyn WeightSource,
    plan: Plan,
}

impl<'a> Quantizer<'a> {
    /// Plans the file that `source` becomes; nothing is written yet.
    ///
    /// # Errors
    /// A tokenizer that is not well formed or that GGUF cannot express.
    pub fn new(source: &'a dyn WeightSource, kind: QuantizedType) -> Result<Self, ModelError> {
        let infos = source.tensor_infos();
        let recipe = Recipe::new(kind, infos.iter().map(|info| info.name));
        let planned = |info: &TensorInfo<'a>| {
            let format = recipe.format_for(info.name, info.shape);
            (info.name, format, info.shape)
        };
        let plan = Plan::new(&entries(source, kind)?, infos.iter().map(planned));
        Ok(Self { source, plan })
    }

    /// Bytes of the file to come.
    pub fn size_bytes(&self) -> u64 {
        self.plan.size_bytes()
    }

    /// Tensors that are quantised already and lose a second time, with their format; none where
    /// the source has floats alone.
    pub fn requantized(&self) -> Vec<(&str, BlockFormat)> {
        let infos = self.source.tensor_infos();
        let pairs = infos.into_iter().zip(&self.plan.tensors);
        let twice = pairs.filter(|(from, to)| {
            is_quantized(from.format) && is_quantized(to.format) && from.format != to.format
        });
        twice.map(|(from, _)| (from.name, from.format)).collect()
    }

    /// Writes the file. Until it is whole it grows under another name beside `target`; a run that
    /// was stopped goes on behind the last tensor that it finished, as long as `identity` (see
    /// [`identity`]) is the same, and gives the same bytes as a run at once.
    ///
    /// `on_progress` hears of every piece that is written, and may stop the run: then there is no
    /// summary.
    ///
    /// # Errors
    /// A file that cannot be written, or a weight that the format does not hold.
    pub fn write(
        &self,
        target: &Path,
        identity: &str,
        pool: &Pool,
        on_progress: &mut dyn FnMut(QuantizeProgress) -> ControlFlow<()>,
    ) -> Result<Option<QuantizeSummary>, ModelError> {
        let (mut partial, done) = Partial::open(target, &self.plan, identity)?;
        if done == 0 {
            partial.count_head(&self.plan.head);
        }
        let mut progress = QuantizeProgress {
            weights: count(&self.plan.tensors[..done]),
            total_weights: count(&self.plan.tensors),
        };
        let mut converter = Converter::new(pool);
        for planned in &self.plan.tensors[done..] {
            let info = self.source.require_tensor_info(&planned.name)?;
            let cols = info.shape.last().copied().unwrap_or(1);
            let tensor_rows = (info.len() / cols) as u64;
            let mut sink = |bytes: &[u8]| {
                partial.write(bytes)?;
                let rows = bytes.len() as u64 * tensor_rows / planned.size_bytes;
                progress.weights += rows * cols as u64;
                match on_progress(progress) {
                    ControlFlow::Continue(()) => Ok(()),
                    ControlFlow::Break(()) => Err(Stop::Asked),
                }
            };
            match self.write_tensor(&mut converter, &info, planned.format, &mut sink) {
                Ok(()) => {}
                Err(Stop::Asked) => return Ok(None),
                Err(Stop::Failed(error)) => return Err(error),
            }
            partial.write(&[0; ALIGNMENT][..padding(planned)])?;
            partial.finish_tensor()?;
        }
        partial.finish()?;
        Ok(Some(QuantizeSummary {
            tensors: self.plan.tensors.len(),
            resumed_tensors: done,
            weights: progress.total_weights,
            size_bytes: self.plan.size_bytes(),
        }))
    }

    /// Writes a tensor, matrix by matrix where it is a stack of them: the source may keep those
    /// apart, and the whole is gigabytes.
    fn write_tensor(
        &self,
        converter: &mut Converter<'_>,
        info: &TensorInfo<'_>,
        format: BlockFormat,
        sink: &mut dyn FnMut(&[u8]) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        let &[count, _, _] = info.shape else {
            let tensor = self.source.require_tensor(info.name)?;
            return write_matrix(converter, &tensor, format, sink);
        };
        for index in 0..count {
            let matrix = self.source.matrix(info.name, index);
            let matrix = matrix.ok_or_else(|| missing_tensor(info.name))?;
            write_matrix(converter, &matrix, format, sink)?;
        }
        Ok(())
    }
}

fn write_matrix(
    converter: &mut Converter<'_>,
    tensor: &Tensor<'_>,
    format: BlockFormat,
    sink: &mut dyn FnMut(&[u8]) -> Result<(), Stop>,
) -> Result<(), Stop> {
    let formats = (tensor.format, format);
    converter
        .convert(formats, tensor.cols(), &tensor.bytes, sink)
        .map_err(|error| match error {
            ConvertError::Sink(stop) => stop,
            ConvertError::Value(source) => Stop::Failed(ModelError::Quantize {
                tensor: tensor.name.to_owned(),
                source,
            }),
        })
}

/// Why the writing of a piece ended the run.
enum Stop {
    Asked,
    Failed(ModelError),
}

impl From<ModelError> for Stop {
    fn from(error: ModelError) -> Self {
        Self::Failed(error)
    }
}

/// What the model at a path is, as far as can be told without reading it: names, sizes and times
/// of change of its files.
///
/// # Errors
/// [`ModelError::Open`] when the operating system does not say.
pub fn identity(path: &Path) -> Result<String, ModelError> {
    let cannot = |source| ModelError::Open {
        path: path.to_owned(),
        source,
    };
    let mut files = vec![path.to_owned()];
    if path.is_dir() {
        let entries = std::fs::read_dir(path).map_err(cannot)?;
        let entries: Result<Vec<_>, _> = entries.map(|e| e.map(|e| e.path())).collect();
        files = entries.map_err(cannot)?;
        files.sort();
    }
    let mut identity = String::new();
    for file in files {
        let facts = file.metadata().map_err(cannot)?;
        let changed = facts.modified().map_err(cannot)?;
        let since = changed.duration_since(SystemTime::UNIX_EPOCH);
        let nanoseconds = since.map_or(0, |since| since.as_nanos());
        let name = file.file_name().unwrap_or_default();
        let _ = writeln!(identity, "{} {} {nanoseconds}", name.display(), facts.len());
    }
    Ok(identity)
}

/// The source's metadata, with what quantising changes.
fn entries(source: &dyn WeightSource, kind: QuantizedType) -> Result<Entries, ModelError> {
    const CHANGED: [&str; 3] = [
        "general.file_type",
        "general.quantization_version",
        "general.alignment",
    ];
    let mut entries = source.entries()?;
    entries.retain(|key| !CHANGED.contains(&key) && !key.starts_with("split."));
    entries.u32("general.file_type", kind.file_type());
    entries.u32("general.quantization_version", QUANTIZATION_VERSION);
    Ok(entries)
}

fn is_quantized(format: BlockFormat) -> bool {
    format.block_len() > 1
}

fn count(tensors: &[PlannedTensor]) -> u64 {
    let weights = |tensor: &PlannedTensor| tensor.shape.iter().product::<usize>() as u64;
    tensors.iter().map(weights).sum()
}

fn padding(tensor: &PlannedTensor) -> usize {
    (tensor.end() - tensor.start - tensor.size_bytes) as usize
}
