//! Tests of folders.
