//! Documents, their passages, an index over them, and search that says where everything is from.
//!
//! [`read`] makes text of files, [`chunk`] cuts it into passages along its structure, [`store`]
//! keeps them with what finds them again, [`index`] brings a store up to date with folders,
//! [`search`] ranks passages, [`answer`] answers from them and says which one each sentence rests
//! on, [`eval`] measures both. Engines come in as the traits `Embed`, `Generate` and `Score`; this
//! crate has no clock, no environment and prints nothing.

pub mod answer;
pub mod chunk;
mod dense;
mod error;
pub mod eval;
pub mod index;
mod passage;
pub mod read;
#[cfg(test)]
mod scripted;
pub mod search;
pub mod store;
pub mod text;

pub use error::RetrieveError;
pub use passage::{Document, DocumentState, Passage, PassageId, Place, Within};
