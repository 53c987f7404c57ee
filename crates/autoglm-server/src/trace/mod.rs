//! Traces: which requests are followed, under which ids, and the spans that tell of their stages.

mod attributes;
mod context;
mod sampling;
mod spans;

pub(crate) use attributes::{Attribute, Attributes};
pub(crate) use context::{Context, Parent};
pub use sampling::Sampling;
pub(crate) use spans::{Span, nanos, spans_of};
