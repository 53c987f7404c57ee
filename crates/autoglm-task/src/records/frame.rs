//! Cuts an input into the byte ranges of its records: one line each, or for CSV as many lines as
//! the quoted fields span. Memory is bounded by [`RECORD_LIMIT_BYTES`] whatever comes in.

use std::io::{self, BufRead};

use super::RecordError;

/// The most bytes of one record: 16 MiB, far above any prompt that a model reads, far below what
/// would hurt the machine.
pub const RECORD_LIMIT_BYTES: usize = 16 << 20;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Byte ranges of records, in order.
pub(super) struct Frames<R> {
    input: R,
    delimiter: Option<u8>,
    lines_read: u64,
    limit_bytes: usize,
    bytes: Vec<u8>,
}

impl<R: BufRead> Frames<R> {
    /// Frames of an input whose rows have the given delimiter; without one, each line is a frame.
    pub(super) fn new(input: R, delimiter: Option<u8>, limit_bytes: usize) -> Self {
        Self {
            input,
            delimiter,
            lines_read: 0,
            limit_bytes,
            bytes: Vec::new(),
        }
    }

    /// The next frame that is not blank, with the number of its first line.
    pub(super) fn next_frame(&mut self) -> Option<Result<(u64, &[u8]), RecordError>> {
        loop {
            let line = self.lines_read + 1;
            match self.fill(line) {
                Ok(false) => return None,
                Ok(true) if self.bytes.trim_ascii().is_empty() => {}
                Ok(true) => return Some(Ok((line, &self.bytes))),
                Err(error) => return Some(Err(error)),
            }
        }
    }

    /// Reads one frame into `bytes`; false at the end of the input.
    fn fill(&mut self, line: u64) -> Result<bool, RecordError> {
        self.bytes.clear();
        let mut quoting = Quoting::FieldStart;
        let mut scanned = 0;
        loop {
            match self.append_line(line)? {
                Appended::End if scanned == 0 => return Ok(false),
                Appended::End => return Err(RecordError::UnclosedQuote { line }),
                Appended::Line => {}
            }
            if line == 1 && scanned == 0 && self.bytes.starts_with(BYTE_ORDER_MARK) {
                self.bytes.drain(..BYTE_ORDER_MARK.len());
            }
            if let Some(delimiter) = self.delimiter {
                quoting = quoting.after(&self.bytes[scanned..], delimiter);
                if quoting == Quoting::Quoted {
                    self.bytes.push(b'\n');
                    // At least 1, so that an end of input is seen as an unclosed quote.
                    scanned = self.bytes.len();
                    continue;
                }
            }
            if self.bytes.last() == Some(&b'\r') {
                self.bytes.pop();
            }
            return Ok(true);
        }
    }

    /// Appends the next line without its newline; a frame beyond the limit is read to the end of
    /// that line and given up.
    fn append_line(&mut self, line: u64) -> Result<Appended, RecordError> {
        let mut read_any = false;
        let mut too_long = false;
        loop {
            let chunk = match self.input.fill_buf() {
                Ok(chunk) => chunk,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(source) => return Err(RecordError::Io { line, source }),
            };
            let newline = chunk.iter().position(|&byte| byte == b'\n');
            let text = &chunk[..newline.unwrap_or(chunk.len())];
            too_long |= self.bytes.len() + text.len() > self.limit_bytes;
            if !too_long {
                self.bytes.extend_from_slice(text);
            }
            let consumed = text.len() + usize::from(newline.is_some());
            self.input.consume(consumed);
            read_any |= consumed > 0;
            if newline.is_some() || consumed == 0 {
                break;
            }
        }
        self.lines_read += u64::from(read_any);
        match (too_long, read_any) {
            (true, _) => Err(RecordError::TooLong {
                line,
                limit_bytes: self.limit_bytes,
            }),
            (false, true) => Ok(Appended::Line),
            (false, false) => Ok(Appended::End),
        }
    }
}

enum Appended {
    Line,
    End,
}

/// Where a CSV parser stands with respect to quotes: a quote opens a field only at its start, and
/// a doubled quote inside one is a character. The same rules as the `csv` crate's.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Quoting {
    FieldStart,
    Plain,
    Quoted,
    QuoteInQuoted,
}

impl Quoting {
    fn after(self, bytes: &[u8], delimiter: u8) -> Self {
        bytes.iter().fold(self, |state, &byte| match (state, byte) {
            (Self::Quoted, b'"') => Self::QuoteInQuoted,
            (Self::Quoted, _) | (Self::QuoteInQuoted | Self::FieldStart, b'"') => Self::Quoted,
            (_, byte) if byte == delimiter => Self::FieldStart,
            _ => Self::Plain,
        })
    }
}
