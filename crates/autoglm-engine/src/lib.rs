//! placeholder

pub mod constraint;
