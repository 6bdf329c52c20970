//! [`Words`]: memory that others write at the same time, as atomics.

use crate::flags::Advice;
use crate::owners::access::Raw;
use crate::owners::error::{Error, Refused, Wrong};
use crate::owners::mapping::{Mapping, RW};
use crate::owners::options::{MapOptions, Sharing};
use crate::owners::process::page_size;
use core::ffi::CStr;
use core::marker::PhantomData;
use core::ops::{Deref, RangeBounds};
use core::slice;
use core::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicUsize};

/// An atomic that [`Words`] can be made of.
///
/// # Safety
/// Each bit pattern is a value of the type.
pub unsafe trait Atomic: sealed::Sealed {}

mod sealed {
    /// Implemented for the unsigned atomics only.
    pub trait Sealed {}
}

macro_rules! atomics {
    ($($atomic:ident)*) => {$(
        impl sealed::Sealed for $atomic {}
        // SAFETY: it is an integer's worth of bytes.
        unsafe impl Atomic for $atomic {}
    )*};
}
atomics! { AtomicU8 AtomicU16 AtomicU32 AtomicU64 AtomicUsize }

/// Shared memory as a slice of atomics of one width: counters, queues or futexes between parent and child, or
/// between all processes that map a file.
///
/// All who share the memory use atomics of that width: in Rust's memory model, atomics of two widths over the
/// same bytes are a data race.
///
/// ```
/// use rawmap::Words;
/// use std::sync::atomic::Ordering;
/// let count = Words::new(1)?; // of AtomicU32
/// // SAFETY: the child counts and ends, without exit handlers.
/// unsafe {
///     let child = libc::fork();
///     if child == 0 {
///         count[0].fetch_add(1, Ordering::Relaxed);
///         libc::_exit(0);
///     }
///     libc::waitpid(child, std::ptr::null_mut(), 0);
/// }
/// assert_eq!(count[0].load(Ordering::Relaxed), 1);
/// # Ok::<(), rawmap::Error>(())
/// ```
pub struct Words<W: Atomic = AtomicU32> {
    // Beside the invariants of `Mapping`: all of it can be read and written, a page stands behind each byte or
    // the kernel's promise of one, and nobody uses the bytes but by atomics `W`. It begins at a multiple of
    // `W`'s size.
    bytes: Mapping<Raw>,
    words: PhantomData<W>,
}

// SAFETY: the mapping may be sent, and atomics are for sharing.
unsafe impl<W: Atomic> Send for Words<W> {}
// SAFETY: as above.
unsafe impl<W: Atomic> Sync for Words<W> {}

impl Words {
    /// Maps `count` words of 32 bits, which are 0, and which the process shares with children that it forks
    /// later.
    ///
    /// One call: `mmap(NULL, 4 * count, PROT_READ|PROT_WRITE, MAP_SHARED|MAP_ANONYMOUS, -1, 0)`.
    ///
    /// # Errors
    /// Those of [`MapOptions::raw`].
    pub fn new(count: usize) -> Result<Self, Error> {
        Self::of_width(count).map_err(Error::of("Words::new"))
    }
}

impl<W: Atomic> Words<W> {
    /// Maps `count` words of another width, which are 0, and which the process shares with children that it
    /// forks later.
    ///
    /// One call: that of [`new`](Words::new), with the width of `W` in place of 4.
    ///
    /// # Errors
    /// Those of [`MapOptions::raw`].
    ///
    /// ```
    /// use rawmap::Words;
    /// use std::sync::atomic::{AtomicU64, Ordering};
    /// let clocks = Words::<AtomicU64>::of_width(1000)?;
    /// assert_eq!((clocks.len(), clocks[999].swap(1, Ordering::Relaxed)), (1000, 0));
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub fn of_width(count: usize) -> Result<Self, Error> {
        const OPERATION: &str = "Words::of_width";
        let most = page_size()?.round_down(isize::MAX as usize) / size_of::<W>();
        if count > most {
            return Err(Error::wrong(OPERATION, "the count", count, Wrong::TooLong, most));
        }
        if count == 0 {
            return Err(Error::wrong(OPERATION, "the count", 0, Wrong::TooSmall, 1));
        }
        let bytes = MapOptions::new(count * size_of::<W>()).raw(RW, Sharing::Shared)?;
        // Not NORESERVE, so that the kernel owes the pages; and nobody else has them, but by a fork.
        Ok(Self { bytes, words: PhantomData })
    }

    /// Makes words of a raw mapping, such as one of a file, from its first byte on. No call.
    ///
    /// # Errors
    /// Fails if the first byte's address is not a multiple of the words' size; then the mapping comes back.
    ///
    /// # Safety
    /// For as long as the result lives:
    /// - All of the mapping can be read and written at any time and by any thread: none of it is guarded.
    /// - There is a page for each byte, or the kernel has promised one as usual: huge pages are populated, and
    ///   neither they nor shared memory are `MAP_NORESERVE`. A file has the bytes, and a block for each or room
    ///   in its file system; otherwise an access is SIGBUS.
    /// - No byte lies in the mapping twice, as each does in a ring.
    /// - Everybody who uses the bytes does so by atomics of this width, each at a multiple of the width from
    ///   the first byte on. That includes other threads, other processes that map the memory, and calls such as
    ///   a `read` into it.
    ///
    /// ```
    /// use rawmap::{MapOptions, Prot, Sharing, Words};
    /// # use std::os::fd::AsRawFd;
    /// let path = std::env::temp_dir().join("counters");
    /// # let path = path.with_extension(std::process::id().to_string());
    /// let mut options = std::fs::File::options();
    /// options.read(true).write(true).create(true);
    /// let file = options.open(&path)?;
    /// file.set_len(4096)?;
    /// # std::fs::remove_file(&path)?;
    /// # // SAFETY: `file` stays open.
    /// # let file = unsafe { rawmap::Fd::borrow_raw(file.as_raw_fd()) };
    /// let bytes = MapOptions::whole().file_raw(
    ///     &file, 0, Prot::READ | Prot::WRITE, Sharing::Shared)?;
    /// // SAFETY: the file is ours and keeps its length, and all
    /// // who map it use 32-bit atomics.
    /// let words: Words = unsafe { Words::from_raw(bytes)? };
    /// assert_eq!(words.len(), 1024);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub unsafe fn from_raw(bytes: Mapping<Raw>) -> Result<Self, Refused<Mapping<Raw>>> {
        let (start, size) = (bytes.as_ptr().addr(), size_of::<W>());
        if start % size == 0 {
            return Ok(Self { bytes, words: PhantomData });
        }
        let what = "the first byte";
        let error = Error::wrong("Words::from_raw", what, start, Wrong::Misaligned, size);
        Err(Refused::new(bytes, error))
    }

    /// Turns the words into a [`Raw`] mapping of their bytes. No call.
    #[must_use]
    pub fn into_raw(self) -> Mapping<Raw> {
        self.bytes
    }

    /// Makes a range of memory resident and keeps it so, as [`Mapping::lock`] does. One call. The range counts
    /// bytes from the first word on, not words.
    ///
    /// # Errors
    /// Those of [`Mapping::lock`].
    pub fn lock(&self, range: impl RangeBounds<usize>) -> Result<(), Error> {
        self.bytes.lock(range).map_err(Error::of("Words::lock"))
    }

    /// Tells the kernel how a range of bytes will be used, as [`Mapping::advise`] does. One call.
    ///
    /// # Errors
    /// Those of [`Mapping::advise`].
    pub fn advise(&self, range: impl RangeBounds<usize>, advice: Advice) -> Result<(), Error> {
        self.bytes.advise(range, advice).map_err(Error::of("Words::advise"))
    }

    /// Names a range of bytes, as [`Mapping::name`] does. One call.
    ///
    /// # Errors
    /// Those of [`Mapping::name`].
    pub fn name(&self, range: impl RangeBounds<usize>, name: &CStr) -> Result<(), Error> {
        self.bytes.name(range, name).map_err(Error::of("Words::name"))
    }
}

impl<W: Atomic> Deref for Words<W> {
    type Target = [W];

    #[inline]
    fn deref(&self) -> &[W] {
        let count = self.bytes.len() / size_of::<W>();
        // SAFETY: so many lie within the bytes, at a multiple of their size; any bits are a value; and who else
        // uses them does so by atomics of this width.
        unsafe { slice::from_raw_parts(self.bytes.as_ptr().cast(), count) }
    }
}

impl<W: Atomic> core::fmt::Debug for Words<W> {
    /// Prints address and length of the memory and the width of a word, but not the words.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Words").field("bytes", &self.bytes).field("width", &size_of::<W>()).finish()
    }
}
