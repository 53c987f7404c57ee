//! Sums of products over vectors, and groups of vectors that lie near each other.

mod codes;
mod kmeans;
mod product;
mod top;

pub(crate) use codes::{Query, encode};
pub(crate) use kmeans::{Tree, tree};
pub(crate) use product::dot;
pub(crate) use top::Top;
