//! What goes in and out of commands over records: input files and standard input, output files,
//! standard output and the terminal.

mod input;
mod output;
mod progress;

pub(crate) use input::{InputArgs, OpenInput};
pub(crate) use output::{FileRows, OutputArgs, RowsOf, open_output};
pub(crate) use progress::{Meter, now, span};
