//! [`Ring`]: a buffer that is mapped twice in a row, so that what wraps around is contiguous.

use super::error::made;
use super::{Error, MapOptions, Mapping, Raw, page_size};
use crate::{Call, MremapFlags};
use core::slice;
use core::sync::atomic::{Ordering, compiler_fence};

/// A mirrored buffer: byte `n` and byte `n + len` are the same memory.
///
/// Two calls, no file descriptor: `mmap(NULL, 2 * len, PROT_READ|PROT_WRITE,
/// MAP_SHARED|MAP_ANONYMOUS, -1, 0)`, and `mremap(start, 0, len, MREMAP_MAYMOVE|MREMAP_FIXED,
/// start + len)`, which maps the first half's pages over the second.
///
/// QEMU's user mode refuses a length of 0 (ENOMEM), and has none.
///
/// A forked child shares the buffer; whoever forks must see to it that only one of both uses it.
///
/// ```
/// use rawmap::Ring;
/// # // QEMU's user mode can't make it.
/// # if std::env::var_os("RAWMAP_EMULATOR").is_some_and(|name| !name.is_empty()) { return Ok(()) }
/// let mut ring = Ring::new(4096)?;
/// let len = ring.len();
/// ring.slice_mut(len - 2, 4).copy_from_slice(b"wrap");
/// assert_eq!(ring.slice(0, 2), b"ap");
/// # Ok::<(), rawmap::Error>(())
/// ```
#[derive(Debug)]
pub struct Ring {
    both: Mapping<Raw>,
    len: usize,
}

impl Ring {
    /// A ring of `len` bytes, rounded up to whole pages: zeroes.
    ///
    /// # Errors
    /// Those of [`mmap`](crate::mmap) and [`mremap`](crate::mremap), and twice the length over
    /// `isize::MAX`. Nothing is left mapped.
    ///
    /// ```
    /// # // QEMU's user mode can't make it.
    /// # let emulated = std::env::var_os("RAWMAP_EMULATOR").is_some_and(|name| !name.is_empty());
    /// # if emulated { return Ok(()) }
    /// use rawmap::{Ring, page_size};
    /// let ring = Ring::new(1)?;
    /// assert_eq!(ring.len(), page_size()?.bytes());
    /// assert_eq!(ring.slice(0, ring.len()).iter().max(), Some(&0));
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub fn new(len: usize) -> Result<Self, Error> {
        let page = page_size()?;
        let len = page
            .round_up(len)
            .filter(|len| *len <= isize::MAX as usize / 2)
            .ok_or(Error::TooLong { len })?;
        let both = MapOptions::new(2 * len).shared().anonymous()?;
        let (first, second) = (both.as_ptr(), both.as_ptr().wrapping_add(len));
        let flags = MremapFlags::MAYMOVE.union(MremapFlags::FIXED);
        // SAFETY: what is replaced is the second half, to which nothing refers.
        if let Err(error) = unsafe { made(Call::mremap(first, 0, len, flags, second)) } {
            // The kernel may have unmapped the second half before it failed, and another thread's
            // mapping may lie there by now. With this memory no other is ever joined to one.
            if both.check_whole().is_err() {
                both.give_up_from(len);
            }
            return Err(error);
        }
        Ok(Self { both, len })
    }

    /// The first byte. Valid for reads and writes of `2 * len` bytes, of which each is there twice:
    /// between uses of the two, there must be a [`compiler_fence`], which the slices here have.
    ///
    /// ```
    /// # // QEMU's user mode can't make it.
    /// # let emulated = std::env::var_os("RAWMAP_EMULATOR").is_some_and(|name| !name.is_empty());
    /// # if emulated { return Ok(()) }
    /// # use std::sync::atomic::{Ordering, compiler_fence};
    /// use rawmap::Ring;
    /// let ring = Ring::new(1 << 16)?;
    /// // SAFETY: the first of the 2 * len bytes, which nothing borrows.
    /// unsafe { ring.as_ptr().write(7) };
    /// compiler_fence(Ordering::SeqCst);
    /// // SAFETY: the same byte once more, also within them.
    /// assert_eq!(unsafe { ring.as_ptr().add(ring.len()).read() }, 7);
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    #[must_use]
    pub const fn as_ptr(&self) -> *mut u8 {
        self.both.as_ptr()
    }

    /// The length in bytes, counted once.
    ///
    /// ```
    /// # // QEMU's user mode can't make it.
    /// # let emulated = std::env::var_os("RAWMAP_EMULATOR").is_some_and(|name| !name.is_empty());
    /// # if emulated { return Ok(()) }
    /// use rawmap::Ring;
    /// let mut ring = Ring::new(1 << 16)?;
    /// // Counts of bytes read and written, which only go up.
    /// let (head, tail) = (70_000, 70_100);
    /// let free = ring.len() - (tail - head);
    /// ring.slice_mut(tail, free).fill(1);
    /// assert_eq!(ring.slice(head, tail - head), [0; 100]);
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    #[must_use]
    #[allow(clippy::len_without_is_empty)] // A ring is never empty.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// `count` bytes from position `at` on, modulo the length.
    ///
    /// # Panics
    /// If `count` is more than the length, as indexing a slice does.
    ///
    /// ```
    /// # // QEMU's user mode can't make it.
    /// # let emulated = std::env::var_os("RAWMAP_EMULATOR").is_some_and(|name| !name.is_empty());
    /// # if emulated { return Ok(()) }
    /// use rawmap::Ring;
    /// let mut ring = Ring::new(1 << 16)?;
    /// let head = ring.len() - 3;
    /// ring.slice_mut(head, 8).copy_from_slice(&0x0102_0304_0506_0708_u64.to_ne_bytes());
    /// // A number across the end is read in one piece.
    /// let number = u64::from_ne_bytes(ring.slice(head, 8).try_into().unwrap());
    /// assert_eq!(number, 0x0102_0304_0506_0708);
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    #[must_use]
    pub fn slice(&self, at: usize, count: usize) -> &[u8] {
        assert!(count <= self.len, "{count} bytes of a ring of {}", self.len);
        Self::forget_what_is_where();
        // SAFETY: less than `len` plus at most `len` is within the mapping; written by `&mut` only.
        unsafe { slice::from_raw_parts(self.as_ptr().add(at % self.len), count) }
    }

    /// `count` bytes from position `at` on, modulo the length, to be written.
    ///
    /// # Panics
    /// If `count` is more than the length, as indexing a slice does.
    ///
    /// ```
    /// # // QEMU's user mode can't make it.
    /// # let emulated = std::env::var_os("RAWMAP_EMULATOR").is_some_and(|name| !name.is_empty());
    /// # if emulated { return Ok(()) }
    /// # use std::io::Read;
    /// use rawmap::Ring;
    /// let mut ring = Ring::new(1 << 16)?;
    /// let mut socket = &b"what a peer has sent"[..];
    /// // All that is free, in one read, wherever it begins.
    /// let got = socket.read(ring.slice_mut((1 << 16) - 4, 1 << 16)).unwrap();
    /// assert_eq!((got, ring.slice(0, 4)), (20, &b" a p"[..]));
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    #[must_use]
    pub fn slice_mut(&mut self, at: usize, count: usize) -> &mut [u8] {
        assert!(count <= self.len, "{count} bytes of a ring of {}", self.len);
        Self::forget_what_is_where();
        // SAFETY: as for slice; at most `len` bytes hold none twice, and by `&mut` this is the only
        // borrow.
        unsafe { slice::from_raw_parts_mut(self.as_ptr().add(at % self.len), count) }
    }

    /// The compiler takes two addresses for two memories. So before each borrow, it must store what
    /// was written through an earlier one, and keep nothing that it has read: here it may come by
    /// the other address.
    fn forget_what_is_where() {
        compiler_fence(Ordering::SeqCst);
    }
}
