//! Quantises numbers from standard input (single precision, little-endian) to the format that is
//! named and writes the blocks to standard output; says on standard error how fast. For the
//! comparison with other quantisers, `tools/reference/quantizer_error.py`.

#![expect(
    clippy::print_stderr,
    reason = "an example talks to the person that runs it"
)]

use std::error::Error;
use std::io::{self, Read, Write};
use std::num::NonZeroUsize;
use std::time::Instant;

use autoglm_kernel::{BlockFormat, Pool, quantize};

fn main() -> Result<(), Box<dyn Error>> {
    let name = std::env::args().nth(1).unwrap_or_default();
    let format = BlockFormat::ALL
        .into_iter()
        .find(|format| format.name() == name)
        .ok_or_else(|| format!("no format {name:?}"))?;
    let mut bytes = Vec::new();
    io::stdin().read_to_end(&mut bytes)?;
    let (words, _) = bytes.as_chunks::<4>();
    let values: Vec<f32> = words.iter().map(|word| f32::from_le_bytes(*word)).collect();
    let blocks = format
        .row_bytes(values.len())
        .ok_or("the numbers are no whole number of blocks")?;
    let mut out = vec![0; blocks];
    let pool = Pool::new(NonZeroUsize::MIN);
    let started = Instant::now();
    quantize(&pool, format, &values, &mut out)?;
    let seconds = started.elapsed().as_secs_f64();
    eprintln!("{:.1}", values.len() as f64 / seconds / 1e6);
    io::stdout().write_all(&out)?;
    Ok(())
}
