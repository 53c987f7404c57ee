//! Large arrays on pages of their own, huge ones where the system grants them.
//!
//! A decoding step reads every weight once. With pages of 4 KiB the processor looks up a page
//! every 4 KiB and its prefetcher stops there; pages of 2 MiB spare both.

use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

use memmap2::MmapMut;

use crate::error::KernelError;
use crate::lanes::{Floats, Halves, Line};
use crate::pool::{DisjointMut, Pool};

/// What any bytes are a value of, in particular zeros.
///
/// # Safety
/// Every bit pattern is a value, and the alignment is at most that of a page.
pub(crate) unsafe trait Plain: Copy + Send + Sync {}

// SAFETY: an array of bytes.
unsafe impl Plain for Line {}
// SAFETY: an array of 16-bit words.
unsafe impl Plain for Halves {}
// SAFETY: an array of floats.
unsafe impl Plain for Floats {}

/// `len` elements in memory that was mapped for them.
pub(crate) struct Pages<T> {
    map: MmapMut,
    len: usize,
    element: PhantomData<T>,
}

impl<T: Plain> Pages<T> {
    /// `len` elements whose bytes are zero. No page takes memory before it is written to.
    ///
    /// # Errors
    /// [`KernelError::Memory`] if there is no memory.
    pub(crate) fn zeroed(len: usize) -> Result<Self, KernelError> {
        let size_bytes = len.saturating_mul(size_of::<T>());
        let refused = |_| KernelError::Memory { size_bytes };
        // An empty map is refused by some systems.
        let map = MmapMut::map_anon(size_bytes.max(1)).map_err(refused)?;
        ask_for_huge_pages(&map);
        Ok(Self {
            map,
            len,
            element: PhantomData,
        })
    }

    /// `chunks` chunks of `chunk_len` elements, each handed to `fill` as zeros with its number.
    ///
    /// The memory is first touched by the thread that fills it, so that the page faults of a large
    /// matrix are shared among the threads.
    ///
    /// # Errors
    /// [`KernelError::Memory`] if there is no memory.
    pub(crate) fn filled_in_chunks(
        pool: &Pool,
        (chunks, chunk_len): (usize, usize),
        fill: impl Fn(usize, &mut [T]) + Sync,
    ) -> Result<Self, KernelError> {
        let mut pages = Self::zeroed(chunks.saturating_mul(chunk_len))?;
        let values = DisjointMut::new(&mut pages);
        pool.run(chunks, |chunk| {
            // SAFETY: every chunk number occurs in one task only, and the chunks do not overlap.
            let part = unsafe { values.range(chunk * chunk_len..(chunk + 1) * chunk_len) };
            fill(chunk, part);
        });
        Ok(pages)
    }
}

/// Where they are refused, or this is no Linux, the pages stay as they are.
fn ask_for_huge_pages(map: &MmapMut) {
    #[cfg(all(target_os = "linux", not(miri)))]
    let _ = map.advise(memmap2::Advice::HugePage);
    #[cfg(not(all(target_os = "linux", not(miri))))]
    let _ = map;
}

impl<T: Plain> Deref for Pages<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        // SAFETY: the map begins on a page, is as long as `len` elements, which any bytes are,
        // and is borrowed as long as the result.
        unsafe { std::slice::from_raw_parts(self.map.as_ptr().cast(), self.len) }
    }
}

impl<T: Plain> DerefMut for Pages<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above, and the borrow is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.map.as_mut_ptr().cast(), self.len) }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use super::*;

    #[test]
    fn pages_are_zero_until_they_are_written_to() {
        let mut pages = Pages::<Floats>::zeroed(1000).unwrap();
        assert!(pages.iter().all(|floats| floats.0 == [0.0; 16]));
        pages[999].0[15] = 1.0;
        assert_eq!(pages.last().unwrap().0[15], 1.0);
        assert!(Pages::<Line>::zeroed(0).unwrap().is_empty());
    }

    #[test]
    fn every_chunk_is_filled_by_its_number() {
        let pool = Pool::new(NonZeroUsize::new(3).unwrap());
        let pages = Pages::<Halves>::filled_in_chunks(&pool, (50, 7), |chunk, part| {
            part.fill(Halves([chunk as u16; 16]));
        });
        for (i, halves) in pages.unwrap().iter().enumerate() {
            assert_eq!(halves.0, [(i / 7) as u16; 16]);
        }
    }

    #[test]
    fn more_memory_than_there_is_is_an_error() {
        let error = Pages::<Line>::zeroed(usize::MAX / 8).err();
        assert!(matches!(error, Some(KernelError::Memory { .. })));
    }
}
