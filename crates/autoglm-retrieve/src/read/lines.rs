//! Which line of a file a byte is on.

/// The first bytes of a file's lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lines(Vec<usize>);

impl Lines {
    pub(super) fn of(bytes: &[u8]) -> Self {
        let behind_ends = bytes.iter().enumerate().filter(|(_, b)| **b == b'\n');
        Self(
            std::iter::once(0)
                .chain(behind_ends.map(|(at, _)| at + 1))
                .collect(),
        )
    }

    /// The line of a byte, from 1.
    pub(super) fn line_of(&self, at: usize) -> usize {
        self.0.partition_point(|start| *start <= at)
    }
}
