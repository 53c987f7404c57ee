//! Large arrays in memory that is mapped for them, on huge pages where the system grants them.
//!
//! A decoding step reads every weight once. With pages of 4 KiB the processor looks up a page
//! every 4 KiB and its prefetcher stops there; pages of 2 MiB spare both. As most matrices of a
//! small model are smaller than that, arrays are cut one after the other from larger regions.

use std::ops::{Deref, DerefMut, Range};
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, PoisonError, Weak};

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

/// Bytes of a region, unless a larger one is asked for: 16 huge pages. A page of it takes memory
/// when it is first written to.
const REGION_BYTES: usize = 32 << 20;
/// Arrays begin on multiples of two cache lines, which the prefetcher of x86 fetches together.
const ALIGNMENT: usize = 128;

/// Memory that arrays are cut from; it is given back when the last of them is dropped.
struct Region {
    map: MmapMut,
}

/// The region that arrays are cut from now, and how many bytes of it are taken.
struct Current {
    region: Weak<Region>,
    start: NonNull<u8>,
    used: usize,
    size: usize,
}

// SAFETY: the pointer is that of the region's map, and only handed out with a share of the region.
unsafe impl Send for Current {}

static CURRENT: Mutex<Option<Current>> = Mutex::new(None);

/// `len` elements in memory that was mapped for them.
pub(crate) struct Pages<T> {
    /// Keeps the memory mapped.
    region: Arc<Region>,
    start: NonNull<T>,
    len: usize,
}

// SAFETY: the elements belong to this array alone and are `Send`, as `Plain` demands.
unsafe impl<T: Plain> Send for Pages<T> {}
// SAFETY: a shared array is only read, and the elements are `Sync`.
unsafe impl<T: Plain> Sync for Pages<T> {}

impl<T: Plain> Pages<T> {
    /// `len` elements whose bytes are zero. No page takes memory before it is written to.
    ///
    /// # Errors
    /// [`KernelError::Memory`] if there is no memory.
    pub(crate) fn zeroed(len: usize) -> Result<Self, KernelError> {
        let size_bytes = len.saturating_mul(size_of::<T>());
        let (region, start) = cut(size_bytes)?;
        Ok(Self {
            region,
            start: start.cast(),
            len,
        })
    }

    /// `chunks` chunks of `chunk_len` elements, each handed to `fill` as zeros with its number; see
    /// [`Self::fill_chunks`].
    ///
    /// # Errors
    /// [`KernelError::Memory`] if there is no memory.
    pub(crate) fn filled_in_chunks(
        pool: &Pool,
        (chunks, chunk_len): (usize, usize),
        fill: impl Fn(usize, &mut [T]) + Sync,
    ) -> Result<Self, KernelError> {
        let mut pages = Self::zeroed(chunks.saturating_mul(chunk_len))?;
        pages.fill_chunks(pool, 0..chunks, chunk_len, fill);
        Ok(pages)
    }

    /// Hands some chunks of `chunk_len` elements to `fill`, each with its number.
    ///
    /// Memory that was not touched before is first touched by the thread that fills it, so that
    /// the page faults of a large matrix are shared among the threads.
    pub(crate) fn fill_chunks(
        &mut self,
        pool: &Pool,
        chunks: Range<usize>,
        chunk_len: usize,
        fill: impl Fn(usize, &mut [T]) + Sync,
    ) {
        let elements = DisjointMut::new(self);
        pool.run(chunks.len(), |task| {
            let chunk = chunks.start + task;
            // SAFETY: every chunk number occurs in one task only, and the chunks do not overlap.
            let part = unsafe { elements.range(chunk * chunk_len..(chunk + 1) * chunk_len) };
            fill(chunk, part);
        });
    }
}

/// Cuts zeros that nobody else has from the current region, or from a fresh one.
fn cut(size_bytes: usize) -> Result<(Arc<Region>, NonNull<u8>), KernelError> {
    let wanted = size_bytes.checked_next_multiple_of(ALIGNMENT);
    let wanted = wanted.ok_or(KernelError::Memory { size_bytes })?;
    let mut current = CURRENT.lock().unwrap_or_else(PoisonError::into_inner);
    let known = current.as_mut().and_then(|current| {
        let region = current.region.upgrade()?;
        (current.size - current.used >= wanted).then_some((region, current))
    });
    if let Some((region, current)) = known {
        // SAFETY: the bytes before are inside the region, as all that was cut from it.
        let start = unsafe { current.start.add(current.used) };
        current.used += wanted;
        return Ok((region, start));
    }
    let size = wanted.max(REGION_BYTES);
    let refused = |_| KernelError::Memory { size_bytes };
    let mut map = MmapMut::map_anon(size).map_err(refused)?;
    ask_for_huge_pages(&map);
    let start = NonNull::new(map.as_mut_ptr()).ok_or(KernelError::Memory { size_bytes })?;
    let region = Arc::new(Region { map });
    *current = Some(Current {
        region: Arc::downgrade(&region),
        start,
        used: wanted,
        size,
    });
    Ok((region, start))
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
        // SAFETY: the elements were cut from the region for this array, any bytes are some, and
        // the region lives as long as the array.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl<T: Plain> DerefMut for Pages<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above, and the borrow is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl<T> Drop for Pages<T> {
    /// Gives the whole pages of the array back to the system: other arrays of the region may live
    /// long, as a model beside its adapters.
    fn drop(&mut self) {
        #[cfg(all(target_os = "linux", not(miri)))]
        {
            let first = self.start.addr().get() - self.region.map.as_ptr().addr();
            let end = (first + self.len * size_of::<T>()) / PAGE_BYTES * PAGE_BYTES;
            let first = first.next_multiple_of(PAGE_BYTES);
            if first < end {
                let advice = memmap2::UncheckedAdvice::DontNeed;
                // SAFETY: nobody reads the array any more, and its bytes are never handed out
                // again.
                let advised = unsafe {
                    self.region
                        .map
                        .unchecked_advise_range(advice, first, end - first)
                };
                // Where it is refused, the memory stays until the region goes.
                let _ = advised;
            }
        }
    }
}

/// The least page of the systems that this runs on is at most this: larger ones refuse the advice.
#[cfg(all(target_os = "linux", not(miri)))]
const PAGE_BYTES: usize = 4096;

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
    fn arrays_share_no_byte_and_outlive_each_other() {
        let fill = |mut pages: Pages<Line>, byte| {
            pages.fill(Line([byte; 64]));
            pages
        };
        let lines = [1, 7, 100, 3000, 600_000, 5];
        let mut all: Vec<_> = lines
            .iter()
            .map(|&len| Some(fill(Pages::zeroed(len).unwrap(), len as u8)))
            .collect();
        for dropped in [3, 1, 4] {
            all[dropped] = None;
            let later = fill(Pages::zeroed(900).unwrap(), 255);
            for (pages, len) in all.iter().zip(lines) {
                for line in pages.iter().flat_map(|pages| pages.iter()) {
                    assert_eq!(line.0, [len as u8; 64]);
                }
            }
            assert!(later.iter().all(|line| line.0 == [255; 64]));
        }
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
