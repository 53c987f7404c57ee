//! The tree against a list of paths that is searched from end to end.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use autoglm_model::{BlockId, GgufFile, Model, Pool};
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;

const BLOCKS: usize = 40;

/// A cached block as a plain list has it: all tokens up to its end.
struct Path {
    tokens: Vec<TokenId>,
    used: u64,
}

/// A running request.
struct Running {
    tokens: Vec<TokenId>,
    sequence: Sequence,
}

/// The tree with a cache, beside what they should hold.
struct Checked {
    cache: KvCache,
    tree: PrefixTree,
    paths: Vec<Path>,
    running: Vec<Running>,
    /// What each cache position was computed from: a hash of all tokens up to it.
    contents: HashMap<(BlockId, usize), u64>,
    clock: u64,
}

/// A hash of each beginning of `tokens`.
fn fingerprints(tokens: &[TokenId]) -> Vec<u64> {
    let step = |state: &mut u64, &token: &TokenId| {
        *state = (*state ^ u64::from(token) ^ 0x9E37).wrapping_mul(0x0100_0000_01B3);
        Some(*state)
    };
    tokens.iter().scan(0xCBF2_9CE4_8422_2325, step).collect()
}

impl Checked {
    fn new() -> Self {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join("../autoglm-model/fixtures/tiny-llama.gguf");
        let pool = Pool::new(std::num::NonZeroUsize::MIN);
        let model = Model::load(&GgufFile::open(&path).unwrap(), &pool).unwrap();
        Self {
            cache: KvCache::new(model.config(), BLOCKS * BLOCK_TOKENS),
            tree: PrefixTree::default(),
            paths: Vec::new(),
            running: Vec::new(),
            contents: HashMap::new(),
            clock: 0,
        }
    }

    /// Begins a request and checks that it shares the longest beginning that there is.
    fn begin(&mut self, tokens: Vec<TokenId>) {
        let shared = |path: &Path| common_prefix(&path.tokens, &tokens);
        let longest = self.paths.iter().map(shared).max().unwrap_or(0);
        assert_eq!(self.tree.cached(None, &tokens), longest);
        let sequence = self.tree.fork(&mut self.cache, None, &tokens);
        assert_eq!(sequence.len(), longest);
        self.clock += 1;
        // Which of several paths that share equally much is used, the block table says.
        for path in &mut self.paths {
            let end = path.tokens.len();
            let first = (end - 1) / BLOCK_TOKENS * BLOCK_TOKENS;
            let shared = common_prefix(&path.tokens, &tokens[..longest]);
            let id = self.tree.walk(None, &path.tokens).0[first / BLOCK_TOKENS];
            let block = self.tree.node(id).block.id();
            if shared > first && sequence.blocks().contains(&block) {
                path.used = self.clock;
            }
        }
        self.running.push(Running { tokens, sequence });
        self.check_contents(self.running.len() - 1);
    }

    /// Computes up to `count` further tokens of a request; `false` when there is no room.
    fn compute(&mut self, index: usize, count: usize) -> bool {
        let request = &mut self.running[index];
        let count = count.min(request.tokens.len() - request.sequence.len());
        let before = request.sequence.blocks().to_vec();
        while self.cache.reserve(&mut request.sequence, count).is_err() {
            if !evict(&mut self.tree, &mut self.cache, &mut self.paths) {
                return false;
            }
        }
        let request = &mut self.running[index];
        let (start, blocks) = (request.sequence.len(), request.sequence.blocks().to_vec());
        for (old, &own) in before.iter().zip(&blocks) {
            for offset in (0..BLOCK_TOKENS).filter(|_| *old != own) {
                let copied = self.contents.get(&(*old, offset)).copied();
                self.contents.insert((own, offset), copied.unwrap_or(0));
            }
        }
        let fingerprints = fingerprints(&request.tokens);
        for position in start..start + count {
            let slot = (blocks[position / BLOCK_TOKENS], position % BLOCK_TOKENS);
            self.contents.insert(slot, fingerprints[position]);
        }
        request.sequence.advance(count);
        true
    }

    /// Keeps what a request has computed, and lists it plainly.
    fn keep(&mut self, index: usize) {
        let Running { tokens, sequence } = &self.running[index];
        let tokens = &tokens[..sequence.len()];
        self.tree.insert(&mut self.cache, tokens, sequence);
        self.clock += 1;
        let mut end = 0;
        while end < tokens.len() {
            let first = end;
            end = (end + BLOCK_TOKENS).min(tokens.len());
            let of_block = |path: &Path| (path.tokens.len() - 1) / BLOCK_TOKENS * BLOCK_TOKENS;
            let begun = |path: &Path| of_block(path) == first && tokens.starts_with(&path.tokens);
            // Which of several paths that go on alike stands for this block, the tree says.
            let (nodes, len) = self.tree.walk(None, &tokens[..end]);
            assert_eq!(len, end);
            let kept = &self.tree.node(nodes[first / BLOCK_TOKENS]).tokens;
            let whole = [&tokens[..first], kept].concat();
            let known = self.paths.iter().position(|path| path.tokens == whole);
            if let Some(known) = known {
                self.paths[known].used = self.clock;
            } else {
                self.paths.retain(|path| !begun(path));
                self.paths.push(Path {
                    tokens: tokens[..end].to_vec(),
                    used: self.clock,
                });
            }
        }
    }

    fn release(&mut self, index: usize) {
        let request = self.running.swap_remove(index);
        self.cache.release(request.sequence);
    }

    fn check_contents(&self, index: usize) {
        let Running { tokens, sequence } = &self.running[index];
        let wanted = fingerprints(&tokens[..sequence.len()]);
        for (position, wanted) in wanted.iter().enumerate() {
            let block = sequence.blocks()[position / BLOCK_TOKENS];
            let found = self.contents[&(block, position % BLOCK_TOKENS)];
            assert_eq!(found, *wanted, "position {position}");
        }
    }

    fn check(&self) {
        assert_eq!(self.tree.blocks(), self.paths.len());
        for path in &self.paths {
            assert_eq!(self.tree.cached(None, &path.tokens), path.tokens.len());
        }
        (0..self.running.len()).for_each(|index| self.check_contents(index));
        let held = self.running.iter().flat_map(|r| r.sequence.blocks());
        let kept = self.tree.nodes.iter().flatten().map(|n| n.block.id());
        let used: HashSet<BlockId> = held.copied().chain(kept).collect();
        let free = self.cache.free_blocks();
        assert_eq!(used.len() + free, self.cache.total_blocks());
        let held: HashSet<BlockId> = self
            .running
            .iter()
            .flat_map(|r| r.sequence.blocks().iter().copied())
            .collect();
        let unshared = self
            .tree
            .nodes
            .iter()
            .flatten()
            .filter(|n| !held.contains(&n.block.id()));
        assert_eq!(self.tree.evictable(&self.cache), unshared.count());
    }
}

/// Evicts from the tree and checks that it was the right one of the plain list.
fn evict(tree: &mut PrefixTree, cache: &mut KvCache, paths: &mut Vec<Path>) -> bool {
    let is_leaf = |path: &Path| {
        let full = path.tokens.len().is_multiple_of(BLOCK_TOKENS);
        let longer = |other: &Path| {
            other.tokens.len() > path.tokens.len() && other.tokens.starts_with(&path.tokens)
        };
        !(full && paths.iter().any(longer))
    };
    let unshared = |path: &Path| {
        let id = *tree.walk(None, &path.tokens).0.last().unwrap();
        !cache.is_shared(&tree.node(id).block)
    };
    let candidates = paths.iter().filter(|path| is_leaf(path) && unshared(path));
    let oldest = candidates.map(|path| path.used).min();
    let before = tree.blocks();
    let evicted = tree.evict(cache);
    assert_eq!(evicted, oldest.is_some());
    if !evicted {
        return false;
    }
    assert_eq!(tree.blocks(), before - 1);
    let gone = paths
        .iter()
        .position(|path| tree.cached(None, &path.tokens) < path.tokens.len())
        .expect("one path is gone");
    assert_eq!(Some(paths.remove(gone).used), oldest);
    true
}

#[test]
fn random_requests_share_exactly_what_a_plain_list_of_paths_holds() {
    let mut random = ChaCha8Rng::seed_from_u64(11);
    let mut checked = Checked::new();
    for step in 0..100_000 {
        let count = checked.running.len();
        match random.random_range(0..8) {
            0 | 1 if count < 6 => {
                // Long runs of one token make common beginnings of every length.
                let runs = random.random_range(1..5);
                let run = |random: &mut ChaCha8Rng| {
                    let token = *[1, 2].choose(random).unwrap();
                    let len = *[1, 3, 31, 32, 33, 64].choose(random).unwrap();
                    vec![token; len]
                };
                let tokens = (0..runs).flat_map(|_| run(&mut random)).collect();
                checked.begin(tokens);
            }
            2..=4 if count > 0 => {
                let index = random.random_range(0..count);
                if !checked.compute(index, random.random_range(1..80)) {
                    checked.release(index);
                }
            }
            5 if count > 0 => checked.keep(random.random_range(0..count)),
            6 if count > 0 => checked.release(random.random_range(0..count)),
            7 => {
                evict(&mut checked.tree, &mut checked.cache, &mut checked.paths);
            }
            _ => {}
        }
        if step % 16 == 0 {
            checked.check();
        }
    }
    checked.check();
}
