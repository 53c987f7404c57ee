//! What was computed for earlier requests, found by its tokens: a radix tree over cache blocks.
//!
//! A node is one block of the cache with the tokens of its positions; the path from the root to
//! it is what stands before them. Only the last block of a path may be partly filled, so such a
//! node has no children. A request that begins like a path shares the path's blocks; where they
//! part inside a block, the sequence shares that block too and copies it at its first write.
//! What an adapter computed has a root of its own, so it is never taken for the model's.
//! Leaves that were not used for longest are given up first, and never one that a running
//! request refers to.

mod stored;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

pub(crate) use stored::Identity;
pub use stored::PrefixFileError;

use autoglm_model::{Adapter, BLOCK_TOKENS, HeldBlock, KvCache, Sequence};
use autoglm_token::TokenId;

/// Index of a node.
type NodeId = usize;

/// Which adapter computed what stands below a root.
type AdapterId = Option<u128>;

/// What a node stands below.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Parent {
    Root(AdapterId),
    Node(NodeId),
}

/// Children by their tokens. No child's tokens begin another one's.
type Children = BTreeMap<Box<[TokenId]>, NodeId>;

struct Node {
    parent: Parent,
    tokens: Box<[TokenId]>,
    block: HeldBlock,
    children: Children,
    used: u64,
}

/// Cached blocks by the tokens that they and all before them stand for.
#[derive(Default)]
pub(crate) struct PrefixTree {
    /// Children of the roots; none is empty.
    roots: BTreeMap<AdapterId, Children>,
    /// Nodes by id.
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

    /// How many first tokens are cached as an adapter, or the model alone, computes them.
    pub(crate) fn cached(&self, adapter: Option<&Arc<Adapter>>, tokens: &[TokenId]) -> usize {
        self.walk(id_of(adapter), tokens).1
    }

    /// A sequence under the adapter that shares the longest cached beginning of `tokens`, which
    /// counts as a use.
    pub(crate) fn fork(
        &mut self,
        cache: &mut KvCache,
        adapter: Option<&Arc<Adapter>>,
        tokens: &[TokenId],
    ) -> Sequence {
        let (path, len) = self.walk(id_of(adapter), tokens);
        self.touch(&path);
        let nodes = path.iter().map(|&id| &node(&self.nodes, id).block);
        cache.sequence_of(nodes, len).under(adapter.cloned())
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
        let mut parent = Parent::Root(id_of(sequence.adapter()));
        let mut path = Vec::new();
        for (index, tokens) in tokens.chunks(BLOCK_TOKENS).enumerate() {
            let (near, shared) = self.nearest(parent, tokens);
            let id = match near {
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
            path.push(id);
            parent = Parent::Node(id);
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
    fn walk(&self, adapter: AdapterId, tokens: &[TokenId]) -> (Vec<NodeId>, usize) {
        let (mut parent, mut path, mut len) = (Parent::Root(adapter), Vec::new(), 0);
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
            parent = Parent::Node(child);
        }
        (path, len)
    }

    /// The child with the longest common beginning with `tokens`, and how long that is. It is a
    /// neighbour of `tokens` in the children's order.
    fn nearest(&self, parent: Parent, tokens: &[TokenId]) -> (Option<NodeId>, usize) {
        let Some(children) = self.children(parent) else {
            return (None, 0);
        };
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

    fn children(&self, parent: Parent) -> Option<&Children> {
        match parent {
            Parent::Root(adapter) => self.roots.get(&adapter),
            Parent::Node(id) => Some(&self.node(id).children),
        }
    }

    fn node_mut(&mut self, id: NodeId) -> &mut Node {
        self.nodes[id].as_mut().expect("a linked node is there")
    }

    fn children_mut(&mut self, parent: Parent) -> &mut Children {
        match parent {
            Parent::Root(adapter) => self.roots.entry(adapter).or_default(),
            Parent::Node(id) => &mut self.node_mut(id).children,
        }
    }

    fn add(&mut self, parent: Parent, tokens: &[TokenId], block: HeldBlock) -> NodeId {
        let id = self.unused_ids.pop().unwrap_or(self.nodes.len());
        if id >= self.nodes.len() {
            self.nodes.resize_with(id + 1, || None);
        }
        let tokens: Box<[TokenId]> = tokens.into();
        if let Parent::Node(parent) = parent {
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
        match node.parent {
            Parent::Root(adapter) if self.children_mut(node.parent).is_empty() => {
                self.roots.remove(&adapter);
            }
            Parent::Node(parent) if self.node(parent).children.is_empty() => {
                self.leaves.insert((self.node(parent).used, parent));
            }
            _ => {}
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

fn id_of(adapter: Option<&Arc<Adapter>>) -> AdapterId {
    adapter.map(|adapter| adapter.id())
}

/// How many first tokens two sequences share.
pub(crate) fn common_prefix(a: &[TokenId], b: &[TokenId]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}
