//! What goes in and out of commands over records: input files and standard input, output files,
//! standard output and the terminal.

mod input;
mod output;
mod progress;

pub use input::{InputArgs, OpenInput};
pub use output::{FileRows, OutputArgs, open_output};
pub use progress::{Meter, span};
