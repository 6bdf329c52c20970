//! [`Pool`] and [`StackPool`]: pieces of one reservation, handed out and taken back without a call.

use crate::owners::access::Raw;
use crate::owners::error::{Error, Wrong};
use crate::owners::mapping::{Mapping, RW};
use crate::owners::options::{MapOptions, Sharing};
use crate::owners::place::{check_alignment, purge_private, rounded, rounded_behind};
use crate::owners::process::page_size;
use crate::owners::reservation::{Mode, Reservation};
use crate::owners::stack::Stack;
use crate::owners::words::Words;
use crate::page_size::PageSize;
use core::ffi::CStr;
use core::ops::{Deref, DerefMut, Range};
use core::slice;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Chunks of one length and alignment, which several threads may take and put back at once.
///
/// It reserves address space for all of them, which is [counted](crate#granules-and-what-is-counted) under strict
/// accounting only ([`Mode::Overcommit`]). Threads that share a pool are scoped, or have it from an `Arc`, a
/// `OnceLock` or `Box::leak`. Taking a chunk costs no call, and neither does dropping it, which puts it back. A
/// chunk holds what its last user left there. It is zeroes if it had no user yet, or was
/// [purged](Chunk::purge).
///
/// ```
/// use rawmap::Pool;
/// let segments = Pool::new(1000, 64 << 10, 2 << 20)?; // 1,000 of 64 KiB, each at a multiple of 2 MiB
/// let mut segment = segments.take().expect("fewer than 1,000 are in use");
/// assert_eq!((segment.as_ptr().addr() % (2 << 20), segment.len()), (0, 64 << 10));
/// segment.fill(1);
/// drop(segment);
/// assert_eq!(segments.take().unwrap()[0], 1); // the same once more
/// # Ok::<(), rawmap::Error>(())
/// ```
#[derive(Debug)]
pub struct Pool {
    // All chunks are whole pages of `space`, which can be read and written; chunk `n` begins at `n * stride`.
    // It belongs to whoever has taken the number `n` from `numbers`.
    space: Reservation,
    len: usize,
    stride: usize,
    numbers: Numbers,
}

impl Pool {
    /// Reserves address space for `count` chunks of `len` bytes, rounded up to whole pages, each at a multiple
    /// of `align`, a power of two.
    ///
    /// The calls of [`Reservation::aligned`], and one `mmap` for a bitmap of the chunks.
    ///
    /// # Errors
    /// Those of [`Reservation::aligned`] for all chunks together. It also fails if the count is 0.
    pub fn new(count: usize, len: usize, align: usize) -> Result<Self, Error> {
        const OPERATION: &str = "Pool::new";
        check_alignment(OPERATION, align)?;
        let (page, most) = (page_size()?, 1 << (usize::BITS - 2));
        if align > most {
            return Err(Error::wrong(OPERATION, "the alignment", align, Wrong::TooLong, most));
        }
        let granule = PageSize::new(align).filter(|granule| *granule > page).unwrap_or(page);
        let stride = rounded(OPERATION, len, granule)?;
        let (chunk, all) = (rounded(OPERATION, len, page)?, all_of(OPERATION, count, stride)?);
        let space = Reservation::aligned(all, align, Mode::Overcommit)?;
        Ok(Self { space, len: chunk, stride, numbers: Numbers::new(count)? })
    }

    /// Takes a chunk that nobody has; `None` if all are taken. No call.
    #[must_use]
    pub fn take(&self) -> Option<Chunk<'_>> {
        Some(Chunk { pool: self, number: self.numbers.take()? })
    }

    /// How many chunks there are, taken or not.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.numbers.count
    }

    /// Names all of the pool's memory, as [`Mapping::name`] does. One call.
    ///
    /// # Errors
    /// Those of [`Mapping::name`].
    pub fn name(&self, name: &CStr) -> Result<(), Error> {
        self.space.name(.., name).map_err(Error::of("Pool::name"))
    }
}

/// A chunk of a [`Pool`]. It derefs to `&mut [u8]`, whole pages, and is put back when it is dropped.
///
/// ```
/// use rawmap::Pool;
/// let buffers = Pool::new(8, 64 << 10, 1)?;
/// let mut buffer = buffers.take().expect("one of eight is free");
/// buffer[..5].copy_from_slice(b"hello");
/// drop(buffer); // from now on another thread may take it
/// # Ok::<(), rawmap::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "it is put back at once"]
pub struct Chunk<'pool> {
    pool: &'pool Pool,
    number: usize,
}

impl Chunk<'_> {
    /// Frees the chunk's memory. It reads as zeroes afterwards.
    ///
    /// One call: `madvise(start, len, MADV_DONTNEED)`; if part of it is locked, one more,
    /// `MADV_DONTNEED_LOCKED` (Linux 5.18).
    ///
    /// # Errors
    /// Those of [`madvise`](crate::madvise).
    ///
    /// ```
    /// use rawmap::Pool;
    /// let buffers = Pool::new(8, 64 << 10, 1)?;
    /// let mut buffer = buffers.take().unwrap();
    /// buffer.fill(7);
    /// buffer.purge()?;
    /// assert_eq!(buffer[0], 0);
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub fn purge(&mut self) -> Result<(), Error> {
        // SAFETY: the pages are this chunk's, and by `&mut` nothing borrows them.
        unsafe { purge_private(self.start(), self.pool.len) }
    }

    fn start(&self) -> *mut u8 {
        self.pool.space.as_ptr().wrapping_add(self.number * self.pool.stride)
    }
}

impl Deref for Chunk<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: they lie within the pool's reservation, can be read, and belong to whoever has the number.
        unsafe { slice::from_raw_parts(self.start(), self.pool.len) }
    }
}

impl DerefMut for Chunk<'_> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as for deref; they can be written, and by `&mut` this is the only borrow.
        unsafe { slice::from_raw_parts_mut(self.start(), self.pool.len) }
    }
}

impl Drop for Chunk<'_> {
    fn drop(&mut self) {
        self.pool.numbers.put_back(self.number);
    }
}

/// Stacks with a guard below each, which several threads may take and put back at once.
///
/// It reserves address space for all of them, which is [counted](crate#granules-and-what-is-counted) under strict
/// accounting only. The
/// first take of a stack costs the call that guards it ([`Mapping::guard`]). Later takes cost no call, and
/// neither does dropping a stack, which puts it back. Where the kernel has guards (Linux 6.13), it holds all of
/// the stacks as one mapping; before, each stack is two mappings, and a process may have about 32,000 stacks
/// (`vm.max_map_count`).
///
/// ```
/// use rawmap::StackPool;
/// let stacks = StackPool::new(10_000, 16 << 10)?;
/// let fiber = stacks.take()?;
/// // SAFETY: the topmost word, on which nobody runs.
/// unsafe { fiber.top().cast::<usize>().sub(1).write(1) };
/// # Ok::<(), rawmap::Error>(())
/// ```
#[derive(Debug)]
pub struct StackPool {
    // Stack `n` begins at `n * (guard + len)` with its guard, which is there once bit `n` of `guarded` is set.
    // All the rest can be read and written. It belongs to whoever has taken the number `n`.
    all: Mapping<Raw>,
    guard: usize,
    len: usize,
    numbers: Numbers,
    guarded: Words<AtomicU64>,
}

impl StackPool {
    /// Reserves address space for `count` stacks of `len` usable bytes, rounded up to whole pages, each above a
    /// guard of [`Stack::GUARD`] bytes.
    ///
    /// Three calls: one `mmap` for all stacks, and two for bitmaps of them.
    ///
    /// # Errors
    /// Those of [`mmap`](crate::mmap) for all stacks together. It also fails if the count or the length is 0.
    pub fn new(count: usize, len: usize) -> Result<Self, Error> {
        const OPERATION: &str = "StackPool::new";
        let page = page_size()?;
        if len == 0 {
            return Err(Error::wrong(OPERATION, "the length", len, Wrong::TooSmall, 1));
        }
        let guard = rounded(OPERATION, Stack::GUARD, page)?;
        let each = rounded_behind(OPERATION, len, guard, page)?;
        let usable = each - guard;
        let all = all_of(OPERATION, count, each)?;
        let all = MapOptions::new(all).noreserve().stack().raw(RW, Sharing::Private)?;
        Ok(Self { all, guard, len: usable, numbers: Numbers::new(count)?, guarded: bits(count)? })
    }

    /// Takes a stack that nobody has. No call, except the first time that the stack is taken: then those of
    /// [`Mapping::guard`].
    ///
    /// # Errors
    /// ENOMEM if all are taken. For a stack that is taken for the first time, those of [`Mapping::guard`].
    pub fn take(&self) -> Result<PooledStack<'_>, Error> {
        let Some(number) = self.numbers.take() else {
            let count = self.numbers.count;
            let what = "the number of stacks";
            let wrong = Wrong::AllTaken;
            return Err(Error::wrong("StackPool::take", what, count + 1, wrong, count));
        };
        // From here on, a drop puts it back.
        let stack = PooledStack { pool: self, number };
        let (word, bit) = (&self.guarded[number / 64], 1 << (number % 64));
        // Only who has the number sets its bit.
        if word.load(Ordering::Relaxed) & bit == 0 {
            let start = number * (self.guard + self.len);
            self.all.guard(start..start + self.guard)?;
            word.fetch_or(bit, Ordering::Relaxed);
        }
        Ok(stack)
    }

    /// How many stacks there are, taken or not.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.numbers.count
    }

    /// Names all of the pool's memory, as [`Mapping::name`] does. One call.
    ///
    /// # Errors
    /// Those of [`Mapping::name`].
    pub fn name(&self, name: &CStr) -> Result<(), Error> {
        self.all.name(.., name).map_err(Error::of("StackPool::name"))
    }
}

/// A stack of a [`StackPool`], which is put back when it is dropped. It holds what its last user left there.
///
/// ```
/// use rawmap::StackPool;
/// let stacks = StackPool::new(100, 64 << 10)?;
/// let mut stack = stacks.take()?;
/// assert_eq!(stack.bottom().wrapping_add(stack.len()), stack.top());
/// assert_eq!(stack.guard().end, stack.bottom());
/// stack.reset()?; // nobody runs on it; its memory is free now
/// # Ok::<(), rawmap::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "it is put back at once"]
pub struct PooledStack<'pool> {
    pool: &'pool StackPool,
    number: usize,
}

impl PooledStack<'_> {
    /// The end of the usable part, where a stack pointer starts. It is a multiple of the page size.
    #[must_use]
    pub fn top(&self) -> *mut u8 {
        self.bottom().wrapping_add(self.pool.len)
    }

    /// A pointer to the lowest usable byte, which lies right above the guard.
    #[must_use]
    pub fn bottom(&self) -> *mut u8 {
        let start = self.number * (self.pool.guard + self.pool.len);
        self.pool.all.as_ptr().wrapping_add(start + self.pool.guard)
    }

    /// The usable length in bytes, a multiple of the page size.
    #[must_use]
    #[allow(clippy::len_without_is_empty)] // A stack is never empty.
    pub const fn len(&self) -> usize {
        self.pool.len
    }

    /// The range of the guard. An access to any byte of it is an overflow of this stack.
    #[must_use]
    pub fn guard(&self) -> Range<*mut u8> {
        self.bottom().wrapping_sub(self.pool.guard)..self.bottom()
    }

    /// Frees the memory of the usable part, which reads as zeroes afterwards. The guard stays.
    ///
    /// One call: that of [`Stack::reset`].
    ///
    /// # Errors
    /// Those of [`Stack::reset`].
    pub fn reset(&mut self) -> Result<(), Error> {
        // SAFETY: the pages are this stack's, and of them there are only raw pointers.
        unsafe { purge_private(self.bottom(), self.pool.len) }
    }
}

impl Drop for PooledStack<'_> {
    fn drop(&mut self) {
        self.pool.numbers.put_back(self.number);
    }
}

/// The length of `count` pieces, each `stride` bytes behind the one before.
fn all_of(operation: &'static str, count: usize, stride: usize) -> Result<usize, Error> {
    let limit = isize::MAX as usize;
    if count == 0 {
        return Err(Error::wrong(operation, "the count", 0, Wrong::TooSmall, 1));
    }
    match stride.checked_mul(count) {
        Some(all) if all <= limit => Ok(all),
        _ => Err(Error::wrong(operation, "the count", count, Wrong::TooLong, limit / stride)),
    }
}

/// A bit for each number: none is set.
fn bits(count: usize) -> Result<Words<AtomicU64>, Error> {
    let bytes = MapOptions::new(count.div_ceil(64) * 8).raw(RW, Sharing::Private)?;
    // SAFETY: private memory, which can be read and written, and is reached through these words alone.
    Ok(unsafe { Words::from_raw(bytes) }?)
}

/// The numbers below `count`, which several threads may take and put back at once: each belongs to one of
/// them at a time.
#[derive(Debug)]
struct Numbers {
    count: usize,
    /// The numbers from here on were never taken.
    fresh: AtomicUsize,
    /// The bits of those that were put back.
    back: Words<AtomicU64>,
    /// How many of these nobody has claimed yet: no more than there are.
    number_back: AtomicUsize,
    /// The word that one was put into last.
    hint: AtomicUsize,
}

impl Numbers {
    fn new(count: usize) -> Result<Self, Error> {
        let back = bits(count)?;
        let zero = || AtomicUsize::new(0);
        Ok(Self { count, fresh: zero(), back, number_back: zero(), hint: zero() })
    }

    fn take(&self) -> Option<usize> {
        self.take_back().or_else(|| {
            let more = |fresh| (fresh < self.count).then_some(fresh + 1);
            // Who takes the last one may have been overtaken by one that was put back.
            let fresh = self.fresh.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
            fresh.ok().or_else(|| self.take_back())
        })
    }

    fn take_back(&self) -> Option<usize> {
        // A claim to one of those that were put back. Acquire: their bits are set.
        let less = |back: usize| back.checked_sub(1);
        self.number_back.fetch_update(Ordering::Acquire, Ordering::Relaxed, less).ok()?;
        // There are as many bits as claims, or more, but one may be set behind this, and another taken before it comes
        // there: then it goes through all of them again. That another one finds its bit goes on, so somebody does.
        loop {
            if let Some(number) = self.found() {
                return Some(number);
            }
        }
    }

    /// A number whose bit was set, and is not any more, from where one was put into last.
    fn found(&self) -> Option<usize> {
        let words = self.back.len();
        let hint = self.hint.load(Ordering::Relaxed);
        for at in (hint..words).chain(0..hint.min(words)) {
            let word = &self.back[at];
            let mut set = word.load(Ordering::Relaxed);
            while set != 0 {
                let bit = set & set.wrapping_neg();
                // Acquire: what its last user did to the memory was before.
                set = word.fetch_and(!bit, Ordering::Acquire);
                if set & bit != 0 {
                    return Some(at * 64 + bit.trailing_zeros() as usize);
                }
            }
        }
        None
    }

    fn put_back(&self, number: usize) {
        self.back[number / 64].fetch_or(1 << (number % 64), Ordering::Release);
        self.hint.store(number / 64, Ordering::Relaxed);
        // Last: who finds it finds a bit. It may be claimed by nobody for a moment, as if it was not put back yet.
        self.number_back.fetch_add(1, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    extern crate std;

    /// Others take and put back while one looks, so that it may pass a word before a bit is set there.
    #[test]
    fn who_has_a_claim_looks_until_there_is_a_number() {
        let numbers = Numbers::new(1000).unwrap();
        (0..1000).for_each(|n| assert_eq!(numbers.take(), Some(n)));
        assert_eq!(numbers.take(), None);
        numbers.number_back.fetch_add(1, Ordering::Release);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(std::time::Duration::from_millis(20));
                numbers.back[3].fetch_or(1 << 5, Ordering::Release);
            });
            assert_eq!(numbers.take(), Some(3 * 64 + 5));
        });
        assert_eq!(numbers.take(), None);
    }
}
