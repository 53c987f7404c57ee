//! Tests of the model store, by where models come from.

mod hub;
mod hub_server;
mod names;
#[cfg(unix)]
mod packages;

use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex};

use super::pip::Pip;
use super::talk::Talk;
use super::{HubSettings, ModelStore};

/// What a store has said.
#[derive(Clone, Default)]
struct Said(Arc<Mutex<Vec<u8>>>);

impl Said {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Said {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A store that waits for nothing and talks into memory.
fn store(home: &Path, pip: &[&str], hub: HubSettings) -> (ModelStore, Said) {
    let said = Said::default();
    let mut store = ModelStore::open(home, hub);
    store.pip = Pip::with(pip);
    store.talk = Talk::to(said.clone());
    store.retry_pause = std::time::Duration::ZERO;
    (store, said)
}

/// Bytes that do not compress and differ everywhere.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..len).map(next).collect()
}

fn sha256_of(bytes: &[u8]) -> String {
    let mut hash = super::checksum::HashingWriter::new(io::sink());
    hash.write_all(bytes).unwrap();
    hash.finish().1
}
