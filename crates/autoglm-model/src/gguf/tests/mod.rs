//! Tests of the GGUF reader, by what they are about.

mod fixture;
mod malformed;
mod metadata;
mod mutations;
mod vocabulary;

use super::GgufFile;
use super::writer::{TestTensor, Writer};

/// A file with a little of everything, without padding at its end.
fn small() -> Writer {
    Writer::new()
        .string("general.architecture", "llama")
        .u32("llama.block_count", 2)
        .bool("test.flag", true)
        .strings("test.words", &["a", "bc"])
        .floats("one", &[2, 4], &[0.5; 8])
        .floats("two", &[8], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0])
}

fn read(writer: &Writer) -> GgufFile {
    GgufFile::from_bytes(writer.build()).unwrap()
}

/// The message with which a file is refused.
fn refusal(writer: &Writer) -> String {
    GgufFile::from_bytes(writer.build())
        .unwrap_err()
        .to_string()
}

/// An f32 vector of 8 numbers to spoil.
fn vector(name: &'static str) -> TestTensor {
    TestTensor {
        name,
        extents: vec![8],
        number: 0,
        offset: None,
        data: vec![0; 32],
    }
}
