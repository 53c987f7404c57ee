//! What can be wrong with a model file or a request to a model.

use std::io;
use std::path::PathBuf;

use autoglm_kernel::{KernelError, Unrepresentable};
use autoglm_token::TokenError;

/// Who has to act for a [`ModelError`] to go away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The caller asked for something that cannot be, such as a file that is not there.
    Caller,
    /// The file is wrong, or of a kind that is not supported.
    Data,
    /// The machine does not suffice: the disk is full.
    Capacity,
}

/// Why a model file cannot be used.
///
/// Names that come from a file are escaped and cut before they go into a message, so that every
/// message is one line whatever the file holds.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// The operating system does not give us the file.
    #[error("cannot open the model file {}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// Something is wrong with the content of a file.
    #[error("cannot use the model file {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: Box<ModelError>,
    },
    /// The file does not start like a GGUF file.
    #[error("not a GGUF file: it starts with {found:?}, a GGUF file starts with \"GGUF\"")]
    NotGguf {
        /// The first bytes, escaped.
        found: String,
    },
    /// The file was written for machines with the other byte order.
    #[error("the file is big-endian GGUF version {version}, only little-endian files are read")]
    BigEndian {
        /// The version, read in the file's own byte order.
        version: u32,
    },
    /// The GGUF version is not one that is read here.
    #[error("the file is GGUF version {found}, versions 2 and 3 are read")]
    Version {
        /// The version in the file.
        found: u32,
    },
    /// The file ends too early.
    #[error(
        "the file ends within {what}: {wanted_bytes} bytes are wanted at byte {offset}, \
         {left_bytes} are left"
    )]
    Truncated {
        /// What was being read.
        what: &'static str,
        /// Where in the file.
        offset: usize,
        /// How many bytes it takes.
        wanted_bytes: u64,
        /// How many bytes there are.
        left_bytes: usize,
    },
    /// A count says that there is more than the rest of the file can hold.
    #[error("the {what} is {count}, but the rest of the file holds {limit} at most")]
    Count {
        /// What is counted.
        what: &'static str,
        /// The count in the file.
        count: u64,
        /// How many of the smallest possible size would fit.
        limit: u64,
    },
    /// A metadata key or tensor name is too long.
    #[error("a {what} at byte {offset} has {found_bytes} bytes, {limit_bytes} are allowed")]
    LongName {
        /// Which sort of name.
        what: &'static str,
        /// Where in the file.
        offset: usize,
        /// Its length.
        found_bytes: u64,
        /// The longest that is allowed.
        limit_bytes: u64,
    },
    /// A metadata key or tensor name is not text.
    #[error("a {what} at byte {offset} is not UTF-8")]
    NotUtf8 {
        /// Which sort of name.
        what: &'static str,
        /// Where in the file.
        offset: usize,
    },
    /// A metadata value has a type that GGUF does not define.
    #[error("metadata key {key} has value type {number}, GGUF defines 0 to 12")]
    ValueType {
        /// The key.
        key: String,
        /// The type's number in the file.
        number: u32,
    },
    /// A truth value is neither 0 nor 1.
    #[error("metadata key {key} holds {found} as a bool, want 0 or 1")]
    Bool {
        /// The key.
        key: String,
        /// The byte in the file.
        found: u8,
    },
    /// Arrays of arrays go too deep.
    #[error("metadata key {key} nests arrays more than {limit} deep")]
    Nesting {
        /// The key.
        key: String,
        /// The deepest that is read.
        limit: usize,
    },
    /// A metadata key occurs twice.
    #[error("metadata key {key} occurs twice")]
    DuplicateKey {
        /// The key.
        key: String,
    },
    /// A tensor's name occurs twice.
    #[error("tensor {tensor} occurs twice")]
    DuplicateTensor {
        /// The tensor.
        tensor: String,
    },
    /// The alignment of tensor data cannot be.
    #[error("general.alignment is {found}, want a power of two up to {limit}")]
    Alignment {
        /// The alignment in the file.
        found: u32,
        /// The largest that is read.
        limit: u32,
    },
    /// A tensor has no dimension or too many.
    #[error("tensor {tensor} has {found} dimensions, want 1 to {limit}")]
    Dimensions {
        /// The tensor.
        tensor: String,
        /// The number in the file.
        found: u32,
        /// The most that are read.
        limit: u32,
    },
    /// A dimension is zero, or the dimensions multiply to more than a machine can address.
    #[error("tensor {tensor} has the shape {shape:?}, which {why}")]
    Shape {
        /// The tensor.
        tensor: String,
        /// The dimensions in the file's order, shortest stride first.
        shape: Vec<u64>,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A tensor's number format is not one that is read here.
    #[error("tensor {tensor} has type {name} ({number}), which is not supported")]
    TensorType {
        /// The tensor.
        tensor: String,
        /// The format's name in the field, or `unknown`.
        name: &'static str,
        /// The format's number in the file.
        number: u32,
    },
    /// A row is not a whole number of blocks.
    #[error(
        "tensor {tensor} has rows of {cols} numbers, format {format} wants a multiple of {block_len}"
    )]
    RowLength {
        /// The tensor.
        tensor: String,
        /// The format's name.
        format: &'static str,
        /// The length of a row.
        cols: usize,
        /// The length of a block.
        block_len: usize,
    },
    /// A tensor's data does not start where data may start.
    #[error("tensor {tensor} starts at offset {offset}, want a multiple of {alignment}")]
    TensorOffset {
        /// The tensor.
        tensor: String,
        /// Its offset in the data section.
        offset: u64,
        /// The file's alignment.
        alignment: u32,
    },
    /// A tensor's data does not lie within the file.
    #[error(
        "tensor {tensor} takes {size_bytes} bytes at offset {offset}, \
         the file has {data_bytes} bytes of tensor data"
    )]
    TensorBeyondFile {
        /// The tensor.
        tensor: String,
        /// Its offset in the data section.
        offset: u64,
        /// Its size.
        size_bytes: usize,
        /// The size of the data section.
        data_bytes: usize,
    },
    /// Two tensors share bytes.
    #[error("tensors {first} and {second} overlap in the file")]
    Overlap {
        /// The tensor that starts first.
        first: String,
        /// The tensor that starts before the first one ends.
        second: String,
    },
    /// The header of a safetensors file is longer than any model needs.
    #[error("the header has {found_bytes} bytes, {limit_bytes} are allowed")]
    LongHeader {
        /// Its length in the file.
        found_bytes: u64,
        /// The longest that is read.
        limit_bytes: u64,
    },
    /// JSON is not well formed, or not of the form that the format has.
    #[error("{what} is not as it must be: {reason}")]
    Json {
        /// What was being read.
        what: &'static str,
        /// What the parser says, with line and column, escaped.
        reason: String,
    },
    /// A file that is read into memory whole is too large for that.
    #[error("the file has {found_bytes} bytes, {limit_bytes} are allowed")]
    LargeFile {
        /// Its size.
        found_bytes: u64,
        /// The largest that is read.
        limit_bytes: u64,
    },
    /// A tensor's numbers are of a type that is not read here.
    #[error("tensor {tensor} has the number type {found}, want F32, F16 or BF16")]
    NumberType {
        /// The tensor.
        tensor: String,
        /// The type's name in the file.
        found: String,
    },
    /// A tensor's data is longer or shorter than its shape and number type take.
    #[error("tensor {tensor} has {found_bytes} bytes of data, its shape takes {wanted_bytes}")]
    TensorSize {
        /// The tensor.
        tensor: String,
        /// Bytes of its data in the file.
        found_bytes: u64,
        /// What shape and number type take.
        wanted_bytes: usize,
    },
    /// Some of a file's tensor data belongs to no tensor.
    #[error("{gap_bytes} bytes at offset {offset} of the tensor data belong to no tensor")]
    Gap {
        /// Where they begin.
        offset: usize,
        /// How many they are.
        gap_bytes: usize,
    },
    /// A folder has no weights where they are looked for.
    #[error("the folder has neither model.safetensors nor model.safetensors.index.json")]
    NoWeights,
    /// An index names a file that is not one of the folder's own.
    #[error("tensor {tensor} is said to lie in {found}, want a .safetensors file of the folder")]
    ShardName {
        /// The tensor.
        tensor: String,
        /// The name in the index.
        found: String,
    },
    /// An index and a shard disagree.
    #[error("tensor {tensor}: the index says that it lies in {stated}, the files say {found}")]
    WrongShard {
        /// The tensor.
        tensor: String,
        /// The shard that the index names, or `nowhere`.
        stated: String,
        /// The shard that holds it, or `nowhere`.
        found: String,
    },
    /// The model class of a folder is not one that runs here.
    #[error("the model class {name} is not supported, want one of {}", supported.join(", "))]
    UnknownClass {
        /// The class in `config.json`.
        name: String,
        /// All that are supported.
        supported: Vec<&'static str>,
    },
    /// A folder has a tensor that its class does not have: something that would not be computed.
    #[error("tensor {tensor} has no place in the class {class}")]
    UnknownTensor {
        /// The tensor.
        tensor: String,
        /// The class in `config.json`.
        class: &'static str,
    },
    /// The rows of queries or keys are no whole number of heads.
    #[error("tensor {tensor} has {rows} rows, want whole heads of {head_width}, an even number")]
    HeadRows {
        /// The tensor.
        tensor: String,
        /// Its rows.
        rows: usize,
        /// The rows of a head.
        head_width: usize,
    },
    /// A folder has no tokenizer that is read here.
    #[error("the folder has no tokenizer that is supported")]
    NoTokenizer,
    /// A metadata key that is needed is not there.
    #[error("metadata key {key} is missing")]
    MissingKey {
        /// The key.
        key: String,
    },
    /// A metadata value is not what its key promises.
    #[error("metadata key {key}: got {found}, want {wanted}")]
    WrongValue {
        /// The key.
        key: String,
        /// The type or value in the file.
        found: String,
        /// What must be there.
        wanted: &'static str,
    },
    /// A tensor that is needed is not there.
    #[error("tensor {tensor} is missing")]
    MissingTensor {
        /// The tensor.
        tensor: String,
    },
    /// A tensor has another shape than the configuration says.
    #[error("tensor {tensor} has the shape {found:?}, want {wanted:?}")]
    TensorShape {
        /// The tensor.
        tensor: String,
        /// Its shape, rows first.
        found: Vec<usize>,
        /// The shape that the metadata asks for.
        wanted: Vec<usize>,
    },
    /// A tensor cannot be repacked.
    #[error("tensor {tensor} cannot be packed")]
    Pack {
        /// The tensor.
        tensor: String,
        /// Why.
        source: KernelError,
    },
    /// A weight cannot be written in another number format.
    #[error("tensor {tensor} cannot be quantised")]
    Quantize {
        /// The tensor.
        tensor: String,
        /// Which weight, and why.
        source: Unrepresentable,
    },
    /// The operating system does not let us write a file.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// Another process writes the file right now.
    #[error("another process is writing {}", path.display())]
    BeingWritten {
        /// The file.
        path: PathBuf,
    },
    /// An adapter has a tensor that adapters of its kind do not have.
    #[error("tensor {tensor} has no place in an adapter of type {kind}")]
    AdapterTensor {
        /// The tensor.
        tensor: String,
        /// The adapter's type, as its configuration names it.
        kind: &'static str,
    },
    /// An adapter changes a part of the model that no adapter may change here.
    #[error(
        "the adapter changes {target} of a model of architecture {architecture}, want projections \
         of attention with key/value heads or of dense feed-forward parts"
    )]
    AdapterTarget {
        /// The part, as the adapter names it.
        target: String,
        /// The model's architecture.
        architecture: String,
    },
    /// A number of an adapter is infinite or none at all.
    #[error("tensor {tensor} holds {found} at {index}, want finite numbers")]
    NotFinite {
        /// The tensor.
        tensor: String,
        /// Which of its numbers.
        index: usize,
        /// The number.
        found: f32,
    },
    /// The architecture is not one that runs here.
    #[error("the architecture {name} is not supported, want one of {}", supported.join(", "))]
    UnknownArchitecture {
        /// The value of `general.architecture`.
        name: String,
        /// All that are supported.
        supported: Vec<&'static str>,
    },
    /// Two lists that describe the same tokens have different lengths.
    #[error("metadata key {key} has {found} entries, the vocabulary has {wanted} tokens")]
    VocabularyLength {
        /// The key of the list.
        key: &'static str,
        /// Its length.
        found: usize,
        /// The length of the vocabulary.
        wanted: usize,
    },
    /// A token id lies outside the vocabulary.
    #[error("metadata key {key} is token {id}, the vocabulary has {vocabulary_len} tokens")]
    TokenId {
        /// The key.
        key: &'static str,
        /// The id in the file.
        id: u32,
        /// The length of the vocabulary.
        vocabulary_len: usize,
    },
    /// The tokenizer of a folder is broken or of a kind that is not supported.
    #[error("the tokenizer cannot be used")]
    Tokenizer {
        /// What is wrong with it.
        #[source]
        source: TokenError,
    },
    /// The tokenizer is of a kind that is not built here.
    #[error("tokenizer model {found} is not supported, want llama, gpt2 or bert")]
    TokenizerModel {
        /// The value of `tokenizer.ggml.model`.
        found: String,
    },
}

impl ModelError {
    /// Who has to act for this error to go away.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Write { source, .. } if is_full(source) => Fault::Capacity,
            Self::Open { .. } | Self::Write { .. } | Self::BeingWritten { .. } => Fault::Caller,
            _ => Fault::Data,
        }
    }
}

/// Whether there is no room where the file is to be.
fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}
