//! The tree of prefixes in a file, so that it survives a restart.
//!
//! ```text
//! magic        8 bytes
//! version      u32
//! identity     32 bytes: what computed the blocks
//! block size   u64
//! nodes        u32
//! nodes, the most recently used first, none before its parent:
//!   parent     u32: a node's number, or 2³² − 1 for a root
//!   adapter    u8 whether there is one, u128
//!   tokens     u32 and so many u32
//!   block      as many bytes as a block has
//! checksum     32 bytes: SHA-256 of all before it
//! ```
//!
//! All numbers are little-endian. A file is read whole before the tree or the cache is touched.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::ops::Bound;
use std::path::Path;

use autoglm_model::{BLOCK_TOKENS, HeldBlock, KvCache};
use autoglm_spec::{Blame, Blamed};
use autoglm_token::TokenId;
use sha2::{Digest, Sha256};

use super::{AdapterId, NodeId, Parent, PrefixTree};

const MAGIC: [u8; 8] = *b"AGLM-KV\n";
const VERSION: u32 = 1;
const ROOT: u32 = u32::MAX;

/// Bytes of a file before its nodes.
const HEADER_BYTES: u64 = 8 + 4 + 32 + 8 + 4;

/// Bytes of a node beside its tokens and its block.
const NODE_BYTES: u64 = 4 + 1 + 16 + 4;

const CHECKSUM_BYTES: u64 = 32;

/// What computed the blocks of a file.
pub(crate) type Identity = [u8; 32];

/// Why prefixes could not be saved or loaded. Nothing was loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PrefixFileError {
    /// The file cannot be read or written.
    #[error("the file of prefixes cannot be used")]
    Io(#[from] std::io::Error),
    /// The file is none of prefixes, or of another version of the format.
    #[error("the file is none of prefixes in the format {VERSION}")]
    OtherFormat,
    /// Another model, or the same in other types, computed what the file holds.
    #[error("the file holds prefixes of another model or of another type of cache")]
    OtherModel,
    /// The file is cut off or was changed.
    #[error("the file of prefixes is damaged: {what}")]
    Damaged {
        /// What is wrong.
        what: &'static str,
    },
    /// The engine has prefixes already.
    #[error("the engine holds {blocks} blocks of prefixes already, want none")]
    NotEmpty {
        /// Blocks that it holds.
        blocks: usize,
    },
}

impl Blamed for PrefixFileError {
    fn blame(&self) -> Blame {
        match self {
            Self::Io(_) => Blame::Capacity,
            Self::OtherFormat | Self::OtherModel | Self::Damaged { .. } => Blame::Data,
            Self::NotEmpty { .. } => Blame::Caller,
        }
    }
}

fn damaged(what: &'static str) -> PrefixFileError {
    PrefixFileError::Damaged { what }
}

/// A node of a file without its block.
struct Entry {
    parent: u32,
    adapter: AdapterId,
    tokens: Vec<TokenId>,
    /// Where in the file its block begins.
    block: u64,
}

impl PrefixTree {
    /// Writes as many blocks as fit into `limit_bytes`, the most recently used first; says how
    /// many.
    pub(crate) fn save(
        &self,
        cache: &KvCache,
        identity: &Identity,
        limit_bytes: u64,
        file: &File,
    ) -> Result<usize, PrefixFileError> {
        let block_bytes = cache.block_bytes() as u64;
        let order = self.by_use(block_bytes, limit_bytes);
        let mut numbers = vec![ROOT; self.nodes.len()];
        let mut out = Hashing::new(BufWriter::new(file));
        out.write_all(&MAGIC)?;
        out.write_all(&VERSION.to_le_bytes())?;
        out.write_all(identity)?;
        out.write_all(&block_bytes.to_le_bytes())?;
        out.write_all(&(order.len() as u32).to_le_bytes())?;
        let mut bytes = Vec::new();
        for (number, &id) in (0..).zip(&order) {
            numbers[id] = number;
            bytes.clear();
            self.write_node(id, &numbers, &mut bytes);
            cache.write_block(&self.node(id).block, &mut bytes);
            out.write_all(&bytes)?;
        }
        let (mut out, checksum) = out.finish();
        out.write_all(&checksum)?;
        out.flush()?;
        Ok(order.len())
    }

    /// Appends what a node is, but for its block.
    fn write_node(&self, id: NodeId, numbers: &[u32], out: &mut Vec<u8>) {
        let node = self.node(id);
        let parent = match node.parent {
            Parent::Root(_) => ROOT,
            Parent::Node(parent) => numbers[parent],
        };
        let adapter = self.adapter_of(id);
        out.extend_from_slice(&parent.to_le_bytes());
        out.push(u8::from(adapter.is_some()));
        out.extend_from_slice(&adapter.unwrap_or(0).to_le_bytes());
        out.extend_from_slice(&(node.tokens.len() as u32).to_le_bytes());
        for token in &node.tokens {
            out.extend_from_slice(&token.to_le_bytes());
        }
    }

    /// The nodes, the most recently used first: a path is used with all of its parents, so none
    /// comes before its parent.
    fn by_use(&self, block_bytes: u64, limit_bytes: u64) -> Vec<NodeId> {
        let ids = (0..self.nodes.len()).filter(|&id| self.nodes[id].is_some());
        let mut order: Vec<NodeId> = ids.collect();
        order.sort_by_key(|&id| (std::cmp::Reverse(self.node(id).used), self.depth(id)));
        let mut size = HEADER_BYTES + CHECKSUM_BYTES;
        let fits = |&&id: &&NodeId| {
            size += NODE_BYTES + 4 * self.node(id).tokens.len() as u64 + block_bytes;
            size <= limit_bytes
        };
        let count = order.iter().take_while(fits).count();
        order.truncate(count);
        order
    }

    fn depth(&self, id: NodeId) -> usize {
        self.ancestors(id).count()
    }

    fn adapter_of(&self, id: NodeId) -> AdapterId {
        let top = self.ancestors(id).last().unwrap_or(id);
        match self.node(top).parent {
            Parent::Root(adapter) => adapter,
            Parent::Node(_) => unreachable!("the last ancestor stands below a root"),
        }
    }

    fn ancestors(&self, id: NodeId) -> impl Iterator<Item = NodeId> + '_ {
        let parent = |&id: &NodeId| match self.node(id).parent {
            Parent::Root(_) => None,
            Parent::Node(parent) => Some(parent),
        };
        std::iter::successors(Some(id), parent).skip(1)
    }

    /// Fills an empty tree with what a file holds, as far as blocks are free; says how many there
    /// are.
    pub(crate) fn load(
        &mut self,
        cache: &mut KvCache,
        identity: &Identity,
        vocabulary: usize,
        path: &Path,
    ) -> Result<usize, PrefixFileError> {
        let blocks = self.blocks();
        if blocks > 0 {
            return Err(PrefixFileError::NotEmpty { blocks });
        }
        let mut file = File::open(path)?;
        let mut entries = read_entries(&file, cache.block_bytes() as u64, identity)?;
        check(&entries, vocabulary)?;
        entries.truncate(cache.free_blocks());
        // All blocks are read before the tree has any of them.
        let held = read_blocks(&mut file, cache, &entries)?;
        let count = entries.len();
        let mut ids: Vec<NodeId> = Vec::with_capacity(count);
        for (index, (entry, block)) in entries.iter().zip(held).enumerate() {
            self.clock = (count - index) as u64;
            let parent = match entry.parent {
                ROOT => Parent::Root(entry.adapter),
                number => Parent::Node(ids[number as usize]),
            };
            ids.push(self.add(parent, &entry.tokens, block));
        }
        self.clock = count as u64;
        Ok(count)
    }
}

/// Puts the blocks of a file into free ones, or none where one cannot be read.
fn read_blocks(
    file: &mut File,
    cache: &mut KvCache,
    entries: &[Entry],
) -> Result<Vec<HeldBlock>, PrefixFileError> {
    let mut held = Vec::with_capacity(entries.len());
    let mut bytes = vec![0; cache.block_bytes()];
    for entry in entries {
        let read = file
            .seek(SeekFrom::Start(entry.block))
            .and_then(|_| file.read_exact(&mut bytes));
        if let Err(error) = read {
            for block in held {
                cache.let_go(block);
            }
            return Err(error.into());
        }
        let block = cache.read_block(&bytes);
        held.push(block.expect("the free blocks were counted"));
    }
    Ok(held)
}

/// Reads a file to its end and checks that it is whole.
fn read_entries(
    file: &File,
    block_bytes: u64,
    identity: &Identity,
) -> Result<Vec<Entry>, PrefixFileError> {
    let mut source = Source {
        inner: BufReader::new(file),
        hash: Sha256::new(),
        at: 0,
    };
    if source.array::<8>()? != MAGIC || source.number()? != VERSION {
        return Err(PrefixFileError::OtherFormat);
    }
    let found: Identity = source.array()?;
    let found_bytes = u64::from_le_bytes(source.array()?);
    if found != *identity || found_bytes != block_bytes {
        return Err(PrefixFileError::OtherModel);
    }
    let count = source.number()?;
    let left = file.metadata()?.len();
    let left = left.saturating_sub(HEADER_BYTES + CHECKSUM_BYTES);
    if u64::from(count) > left / (NODE_BYTES + block_bytes) {
        return Err(damaged("it is shorter than what it says"));
    }
    let mut entries = Vec::with_capacity(count as usize);
    for _ in 0..count {
        entries.push(source.entry(block_bytes)?);
    }
    let wanted: [u8; 32] = source.hash.clone().finalize().into();
    if source.array::<32>()? != wanted {
        return Err(damaged("its checksum is another one"));
    }
    if source.inner.read(&mut [0])? > 0 {
        return Err(damaged("there is more behind its end"));
    }
    Ok(entries)
}

/// Checks what the tree takes for granted.
fn check(entries: &[Entry], vocabulary: usize) -> Result<(), PrefixFileError> {
    let mut children = BTreeMap::<_, BTreeSet<&[TokenId]>>::new();
    for (index, entry) in entries.iter().enumerate() {
        if entry.tokens.iter().any(|&id| id as usize >= vocabulary) {
            return Err(damaged("it has tokens that the vocabulary does not have"));
        }
        if entry.parent != ROOT {
            let parent = entries[..index].get(entry.parent as usize);
            let parent = parent.ok_or(damaged("a node stands before its parent"))?;
            if parent.tokens.len() < BLOCK_TOKENS || parent.adapter != entry.adapter {
                return Err(damaged("a node stands behind a block that is not full"));
            }
        }
        let beside = children.entry((entry.parent, entry.adapter)).or_default();
        if begins_alike(beside, &entry.tokens) {
            return Err(damaged("two nodes begin alike"));
        }
        beside.insert(&entry.tokens);
    }
    Ok(())
}

/// Whether tokens begin one of others, or one of them begins the tokens. As none of the others
/// begins another one, only the neighbours in order can.
fn begins_alike(others: &BTreeSet<&[TokenId]>, tokens: &[TokenId]) -> bool {
    let behind = (Bound::Included(tokens), Bound::Unbounded);
    let before = (Bound::Unbounded, Bound::Included(tokens));
    let next = others.range::<[TokenId], _>(behind).next();
    let last = others.range::<[TokenId], _>(before).next_back();
    next.is_some_and(|other| other.starts_with(tokens))
        || last.is_some_and(|other| tokens.starts_with(other))
}

/// A file that is read from its start, with the checksum of what was read.
struct Source<R> {
    inner: R,
    hash: Sha256,
    at: u64,
}

impl<R: Read> Source<R> {
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), PrefixFileError> {
        self.inner
            .read_exact(bytes)
            .map_err(|error| match error.kind() {
                std::io::ErrorKind::UnexpectedEof => damaged("it is cut off"),
                _ => error.into(),
            })?;
        self.hash.update(&*bytes);
        self.at += bytes.len() as u64;
        Ok(())
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], PrefixFileError> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn number(&mut self) -> Result<u32, PrefixFileError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn entry(&mut self, block_bytes: u64) -> Result<Entry, PrefixFileError> {
        let parent = self.number()?;
        let [has_adapter] = self.array()?;
        let adapter = u128::from_le_bytes(self.array()?);
        let len = self.number()? as usize;
        if len == 0 || len > BLOCK_TOKENS || has_adapter > 1 {
            return Err(damaged("a node has another form"));
        }
        let tokens = (0..len).map(|_| self.number()).collect::<Result<_, _>>()?;
        let block = self.at;
        let mut left = block_bytes;
        let mut chunk = [0; 4096];
        while left > 0 {
            let part = left.min(chunk.len() as u64) as usize;
            self.fill(&mut chunk[..part])?;
            left -= part as u64;
        }
        Ok(Entry {
            parent,
            adapter: (has_adapter == 1).then_some(adapter),
            tokens,
            block,
        })
    }
}

/// A file that is written, with the checksum of what was written.
struct Hashing<W> {
    inner: W,
    hash: Sha256,
}

impl<W: Write> Hashing<W> {
    fn new(inner: W) -> Self {
        let hash = Sha256::new();
        Self { inner, hash }
    }

    fn write_all(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.hash.update(bytes);
        self.inner.write_all(bytes)
    }

    fn finish(self) -> (W, [u8; 32]) {
        (self.inner, self.hash.finalize().into())
    }
}
