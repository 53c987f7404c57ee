//! Sums of products over vectors, and vectors in a bit a number.

mod product;
mod signs;
mod top;

pub(crate) use product::dot;
pub(crate) use signs::{Code, Coder, Codes};
pub(crate) use top::Top;
