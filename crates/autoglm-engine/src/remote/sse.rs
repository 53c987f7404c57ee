//! Server-sent events, wherever the network cuts them.

use std::io::{self, Read};

/// Bytes that are read at a time.
const CHUNK_BYTES: usize = 16 * 1024;

/// Bytes of one event at most.
pub(crate) const EVENT_LIMIT_BYTES: usize = 4 << 20;

/// Reads the data of events.
pub(crate) struct Events<R> {
    input: R,
    /// What was read and not taken apart.
    buffer: Vec<u8>,
    /// Of the buffer, bytes in which no line ends.
    searched: usize,
    /// The lines of data of the event that has begun.
    data: Option<String>,
    ended: bool,
}

impl<R: Read> Events<R> {
    pub(crate) fn new(input: R) -> Self {
        Self {
            input,
            buffer: Vec::new(),
            searched: 0,
            data: None,
            ended: false,
        }
    }

    /// The data of the next event; `None` at the end. An event that the end cuts is none.
    ///
    /// # Errors
    /// When it cannot be read, is no UTF-8, or is larger than [`EVENT_LIMIT_BYTES`].
    pub(crate) fn next(&mut self) -> io::Result<Option<String>> {
        loop {
            match self.line()? {
                None => return Ok(None),
                Some(line) if line.is_empty() => {
                    if let Some(data) = self.data.take() {
                        return Ok(Some(data));
                    }
                }
                Some(line) => self.take(&line)?,
            }
        }
    }

    /// Takes a field of an event in; comments and other fields than data say nothing to us.
    fn take(&mut self, line: &str) -> io::Result<()> {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        if field != "data" {
            return Ok(());
        }
        let value = value.strip_prefix(' ').unwrap_or(value);
        match &mut self.data {
            None => self.data = Some(value.to_owned()),
            Some(data) => {
                data.push('\n');
                data.push_str(value);
            }
        }
        check(self.data.as_ref().map_or(0, String::len))
    }

    /// The next line without its end; `None` at the end of the input.
    fn line(&mut self) -> io::Result<Option<String>> {
        loop {
            let fresh = &self.buffer[self.searched..];
            if let Some(at) = fresh.iter().position(|&byte| byte == b'\n') {
                let rest = self.buffer.split_off(self.searched + at + 1);
                let mut line = std::mem::replace(&mut self.buffer, rest);
                self.searched = 0;
                line.pop();
                line.pop_if(|byte| *byte == b'\r');
                let text = String::from_utf8(line);
                return text.map(Some).map_err(|_| broken("text that is no UTF-8"));
            }
            self.searched = self.buffer.len();
            check(self.searched)?;
            if self.ended {
                return Ok(None);
            }
            self.fill()?;
        }
    }

    fn fill(&mut self) -> io::Result<()> {
        let len = self.buffer.len();
        self.buffer.resize(len + CHUNK_BYTES, 0);
        let read = self.input.read(&mut self.buffer[len..]);
        self.buffer
            .truncate(len + read.as_ref().map_or(0, |&count| count));
        self.ended = read? == 0;
        Ok(())
    }
}

fn check(size: usize) -> io::Result<()> {
    if size > EVENT_LIMIT_BYTES {
        return Err(broken("an event that is larger than any that is meant"));
    }
    Ok(())
}

fn broken(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Gives its bytes in pieces of these sizes, over and over.
    struct Pieces<'a> {
        bytes: &'a [u8],
        sizes: Vec<usize>,
        turn: usize,
    }

    impl Read for Pieces<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let size = self.sizes[self.turn % self.sizes.len()];
            self.turn += 1;
            let count = size.min(out.len()).min(self.bytes.len());
            out[..count].copy_from_slice(&self.bytes[..count]);
            self.bytes = &self.bytes[count..];
            Ok(count)
        }
    }

    fn events(text: &str, sizes: Vec<usize>) -> Vec<String> {
        let mut events = Events::new(Pieces {
            bytes: text.as_bytes(),
            sizes,
            turn: 0,
        });
        std::iter::from_fn(|| events.next().unwrap()).collect()
    }

    #[test]
    fn data_comments_and_other_fields_are_told_apart() {
        let text = ": hello\nid: 3\ndata: a\ndata:b\n\nevent: x\n\ndata: 的\r\n\r\ndata: cut";
        assert_eq!(events(text, vec![1000]), ["a\nb", "的"]);
    }

    #[test]
    fn an_event_without_end_is_an_error_and_not_read_for_ever() {
        let mut events = Events::new(io::repeat(b'x'));
        assert_eq!(
            events.next().unwrap_err().kind(),
            io::ErrorKind::InvalidData
        );
    }

    #[test]
    fn what_is_no_utf8_is_an_error() {
        let mut events = Events::new(&b"data: \xff\xfe\n\n"[..]);
        assert!(events.next().is_err());
    }

    proptest! {
        #[test]
        fn it_does_not_matter_where_the_network_cuts(
            lines in prop::collection::vec("(data: ?[a的 :]{0,6}|: c|x)?", 0..12),
            sizes in prop::collection::vec(1_usize..7, 1..5),
        ) {
            let text = lines.join("\r\n") + "\n\n";
            prop_assert_eq!(events(&text, sizes), events(&text, vec![text.len()]));
        }
    }
}
