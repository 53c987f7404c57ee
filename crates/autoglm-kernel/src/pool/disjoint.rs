//! One mutable slice shared by tasks that write disjoint parts of it.

use std::marker::PhantomData;
use std::ops::Range;

/// A mutable slice of which every task takes the parts that are its own.
pub(crate) struct DisjointMut<'a, T> {
    start: *mut T,
    len: usize,
    borrow: PhantomData<&'a mut [T]>,
}

// SAFETY: the only access is `range`, whose caller answers for disjoint parts; a part handed to
// another thread is an exclusive borrow of `T`s, which `T: Send` allows.
unsafe impl<T: Send> Sync for DisjointMut<'_, T> {}

impl<'a, T> DisjointMut<'a, T> {
    pub(crate) fn new(data: &'a mut [T]) -> Self {
        Self {
            start: data.as_mut_ptr(),
            len: data.len(),
            borrow: PhantomData,
        }
    }

    /// The elements of `range`.
    ///
    /// # Safety
    /// While the returned slice lives, no other slice that overlaps it may be taken.
    ///
    /// # Panics
    /// If the range does not lie inside the slice.
    #[inline]
    #[expect(
        clippy::mut_from_ref,
        reason = "the caller answers for disjoint ranges"
    )]
    pub(crate) unsafe fn range(&self, range: Range<usize>) -> &mut [T] {
        assert!(
            range.start <= range.end && range.end <= self.len,
            "range {range:?} of a slice of {} elements",
            self.len
        );
        // SAFETY: the range begins inside the slice, as just asserted.
        let start = unsafe { self.start.add(range.start) };
        // SAFETY: the elements lie inside the slice borrowed for `'a`, and the caller guarantees
        // that nobody else holds them.
        unsafe { std::slice::from_raw_parts_mut(start, range.len()) }
    }
}
