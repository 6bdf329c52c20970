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
/// Each pattern of bits is one of its values.
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

/// Memory that is shared with others, as a slice of atomics of one width: counters, queues, futexes between
/// parent and child, or between all who map a file.
///
/// All who share it use atomics of that width: to the language, two widths over the same bytes are a data
/// race.
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
    /// `count` words of 32 bits that children which are forked later share: zeroes.
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
    /// `count` words of another width that children which are forked later share: zeroes.
    ///
    /// One call: as [`new`](Words::new).
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

    /// The words of a raw mapping, such as a file's, from its first byte on.
    ///
    /// # Errors
    /// Fails if its first byte does not lie at a multiple of the words' size; the mapping comes back.
    ///
    /// # Safety
    /// For as long as the result lives:
    /// - All of it can be read and written at any time and by any thread: none of it is guarded.
    /// - A page stands behind each byte, or the kernel's ordinary promise of one: huge pages are populated, and
    ///   neither they nor shared memory are `MAP_NORESERVE`; a file has the bytes, or it is SIGBUS, as it is where its file system is full and
    ///   the byte has no block yet.
    /// - No byte lies in it twice, as each does in a ring's views.
    /// - Nobody uses the bytes but by atomics of this width, each at a multiple of it from the first byte on: no
    ///   other thread, no process that maps them as well, and no call on somebody's behalf (`read` into them).
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

    /// The bytes, of which the type promises nothing any more.
    #[must_use]
    pub fn into_raw(self) -> Mapping<Raw> {
        self.bytes
    }

    /// Keeps the words `range` means resident, as [`Mapping::lock`] does; of bytes, from the first word's on.
    ///
    /// # Errors
    /// Those of [`Mapping::lock`].
    pub fn lock(&self, range: impl RangeBounds<usize>) -> Result<(), Error> {
        self.bytes.lock(range).map_err(Error::of("Words::lock"))
    }

    /// Says how the bytes of `range` will be used, as [`Mapping::advise`] does.
    ///
    /// # Errors
    /// Those of [`Mapping::advise`].
    pub fn advise(&self, range: impl RangeBounds<usize>, advice: Advice) -> Result<(), Error> {
        self.bytes.advise(range, advice).map_err(Error::of("Words::advise"))
    }

    /// Names the bytes of `range`, as [`Mapping::name`] does.
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
    /// Prints where they are and how many, not what they hold.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Words").field("bytes", &self.bytes).field("width", &size_of::<W>()).finish()
    }
}
