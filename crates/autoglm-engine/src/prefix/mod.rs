//! What was computed for earlier requests, found by its tokens: a radix tree over cache blocks.
//!
//! A node is one block of the cache with the tokens of its positions; the path from the root to
//! it is what stands before them. Only the last block of a path may be partly filled, so such a
//! node has no children. A request that begins like a path shares the path's blocks; where they
//! part inside a block, the sequence shares that block too and copies it at its first write.
//! Leaves that were not used for longest are given up first, and never one that a running
//! request refers to.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use autoglm_model::{BLOCK_TOKENS, HeldBlock, KvCache, Sequence};
use autoglm_token::TokenId;

/// Index of a node; the root is 0 and has no block.
type NodeId = usize;

const ROOT: NodeId = 0;

/// Children by their tokens. No child's tokens begin another one's.
type Children = BTreeMap<Box<[TokenId]>, NodeId>;

struct Node {
    parent: NodeId,
    tokens: Box<[TokenId]>,
    block: HeldBlock,
    children: Children,
    used: u64,
}

/// Cached blocks by the tokens that they and all before them stand for.
#[derive(Default)]
pub(crate) struct PrefixTree {
    /// Children of the root.
    roots: Children,
    /// Nodes by id; `nodes[0]` stands for the root and is never filled.
    nodes: Vec<Option<Node>>,
    unused_ids: Vec<NodeId>,
    /// Nodes without children, the one that was not used for longest first.
    leaves: BTreeSet<(u64, NodeId)>,
    clock: u64,
}

impl PrefixTree {
    /// Blocks that the tree holds.
    pub(crate) fn blocks(&self) -> usize {
        self.nodes.iter().flatten().count()
    }

    /// Blocks that the tree could give up: those that no running request shares.
    pub(crate) fn evictable(&self, cache: &KvCache) -> usize {
        let nodes = self.nodes.iter().flatten();
        nodes.filter(|node| !cache.is_shared(&node.block)).count()
    }

    /// How many first tokens are cached.
    pub(crate) fn cached(&self, tokens: &[TokenId]) -> usize {
        self.walk(tokens).1
    }

    /// A sequence that shares the longest cached beginning of `tokens`, which counts as a use.
    pub(crate) fn fork(&mut self, cache: &mut KvCache, tokens: &[TokenId]) -> Sequence {
        let (path, len) = self.walk(tokens);
        self.touch(&path);
        let nodes = path.iter().map(|&id| &node(&self.nodes, id).block);
        cache.sequence_of(nodes, len)
    }

    /// Keeps the blocks of a sequence, whose cached positions hold `tokens`. Blocks that are in
    /// the tree already stay, partly filled ones that the sequence has fuller are replaced.
    pub(crate) fn insert(&mut self, cache: &mut KvCache, tokens: &[TokenId], sequence: &Sequence) {
        assert!(
            tokens.len() <= sequence.len(),
            "{} tokens of a sequence of {}",
            tokens.len(),
            sequence.len()
        );
        let (mut parent, mut path) = (ROOT, Vec::new());
        for (index, tokens) in tokens.chunks(BLOCK_TOKENS).enumerate() {
            let (near, shared) = self.nearest(parent, tokens);
            parent = match near {
                Some(child) if shared == tokens.len() => child,
                near => {
                    let part = near.filter(|&child| shared == self.node(child).tokens.len());
                    if let Some(begun) = part {
                        self.remove(cache, begun);
                    }
                    let block = cache.hold(sequence, index);
                    self.add(parent, tokens, block)
                }
            };
            path.push(parent);
        }
        self.touch(&path);
    }

    /// Gives up the leaf that was not used for longest among those that no running request
    /// shares; `false` when there is none.
    pub(crate) fn evict(&mut self, cache: &mut KvCache) -> bool {
        let free = |&&(_, id): &&(u64, NodeId)| !cache.is_shared(&self.node(id).block);
        let Some(&(_, oldest)) = self.leaves.iter().find(free) else {
            return false;
        };
        self.remove(cache, oldest);
        true
    }

    /// The nodes along the longest cached beginning, and its length.
    fn walk(&self, tokens: &[TokenId]) -> (Vec<NodeId>, usize) {
        let (mut parent, mut path, mut len) = (ROOT, Vec::new(), 0);
        for tokens in tokens.chunks(BLOCK_TOKENS) {
            let (Some(child), shared) = self.nearest(parent, tokens) else {
                break;
            };
            if shared == 0 {
                break;
            }
            path.push(child);
            len += shared;
            if shared < BLOCK_TOKENS {
                break;
            }
            parent = child;
        }
        (path, len)
    }

    /// The child with the longest common beginning with `tokens`, and how long that is. It is a
    /// neighbour of `tokens` in the children's order.
    fn nearest(&self, parent: NodeId, tokens: &[TokenId]) -> (Option<NodeId>, usize) {
        let children = self.children(parent);
        let mut below = children.range::<[TokenId], _>((Bound::Unbounded, Bound::Included(tokens)));
        let mut above = children.range::<[TokenId], _>((Bound::Excluded(tokens), Bound::Unbounded));
        let neighbours = [below.next_back(), above.next()];
        let shared = neighbours.into_iter().flatten();
        shared
            .map(|(key, &child)| (Some(child), common_prefix(key, tokens)))
            .max_by_key(|&(_, len)| len)
            .unwrap_or((None, 0))
    }

    fn node(&self, id: NodeId) -> &Node {
        node(&self.nodes, id)
    }

    fn children(&self, parent: NodeId) -> &Children {
        match parent {
            ROOT => &self.roots,
            id => &self.node(id).children,
        }
    }

    fn node_mut(&mut self, id: NodeId) -> &mut Node {
        self.nodes[id].as_mut().expect("a linked node is there")
    }

    fn children_mut(&mut self, parent: NodeId) -> &mut Children {
        match parent {
            ROOT => &mut self.roots,
            id => &mut self.node_mut(id).children,
        }
    }

    fn add(&mut self, parent: NodeId, tokens: &[TokenId], block: HeldBlock) -> NodeId {
        let id = self.unused_ids.pop().unwrap_or(self.nodes.len().max(1));
        if id >= self.nodes.len() {
            self.nodes.resize_with(id + 1, || None);
        }
        let tokens: Box<[TokenId]> = tokens.into();
        if parent != ROOT {
            let key = (self.node(parent).used, parent);
            self.leaves.remove(&key);
        }
        self.children_mut(parent).insert(tokens.clone(), id);
        let used = self.clock;
        self.nodes[id] = Some(Node {
            parent,
            tokens,
            block,
            children: Children::new(),
            used,
        });
        self.leaves.insert((used, id));
        id
    }

    /// Removes a leaf.
    fn remove(&mut self, cache: &mut KvCache, id: NodeId) {
        let node = self.nodes[id].take().expect("a linked node is there");
        debug_assert!(node.children.is_empty(), "only leaves are removed");
        self.unused_ids.push(id);
        self.leaves.remove(&(node.used, id));
        self.children_mut(node.parent).remove(&node.tokens);
        cache.let_go(node.block);
        if node.parent != ROOT && self.node(node.parent).children.is_empty() {
            let key = (self.node(node.parent).used, node.parent);
            self.leaves.insert(key);
        }
    }

    /// Marks a path as used now.
    fn touch(&mut self, path: &[NodeId]) {
        self.clock += 1;
        let now = self.clock;
        for &id in path {
            let node = self.node_mut(id);
            let before = std::mem::replace(&mut node.used, now);
            if self.leaves.remove(&(before, id)) {
                self.leaves.insert((now, id));
            }
        }
    }
}

fn node(nodes: &[Option<Node>], id: NodeId) -> &Node {
    nodes[id].as_ref().expect("a linked node is there")
}

/// How many first tokens two sequences share.
pub(crate) fn common_prefix(a: &[TokenId], b: &[TokenId]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}
