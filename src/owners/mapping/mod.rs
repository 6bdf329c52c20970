//! [`Mapping`]: a page range that is unmapped when it is dropped.

mod pages;
mod raw;
mod shape;

pub use pages::Purged;
pub(super) use pages::purge_private;
pub use raw::Guarded;
pub(super) use raw::hold;
pub use shape::Sealed;

use super::error::{check_range, made};
use super::options::Origin;
use super::{Access, Error, Raw, ReadOnly, ReadWrite, page_size};
use crate::{Call, PageSize};
use core::marker::PhantomData;
use core::mem::ManuallyDrop;
use core::ops::{Deref, DerefMut};
use core::ptr::NonNull;
use core::{fmt, slice};

/// An owned mapping: a range of whole pages that is unmapped when it is dropped.
///
/// Made with [`MapOptions`](crate::MapOptions). What may be done with its bytes, the type parameter
/// says: a [`ReadOnly`] mapping is a `&[u8]`, a [`ReadWrite`] one a `&mut [u8]`; of a [`Raw`] one,
/// only raw pointers can be had, and for them it may be protected, guarded and overlaid in parts.
///
/// Ranges are given as offset and length in bytes. The offset must be a multiple of the
/// [granule](Self::granule); the length is rounded up to it. They must lie within
/// [`mapped_len`](Self::mapped_len), else [`Error::OutOfRange`].
///
/// The kernel may hold a mapping as several parts, which differ in protection, lock or advice. If it
/// refuses an operation on one of them, it may already have done it on those before.
///
/// ```
/// use rawmap::{Error, MapOptions};
/// let mut memory = MapOptions::new(1 << 20).anonymous()?;
/// memory[..5].copy_from_slice(b"hello");
/// let page = memory.granule().bytes();
/// memory.purge(page, 1)?; // the second page, all of it
/// assert_eq!(&memory[..5], b"hello");
/// assert_eq!(memory.purge(1, 1), Err(Error::Unaligned { value: 1, granule: page }));
/// # Ok::<(), rawmap::Error>(())
/// ```
///
/// # What does not compile
///
/// A slice of it after it was unmapped:
///
/// ```compile_fail,E0505
/// # use rawmap::MapOptions;
/// let map = MapOptions::new(1).anonymous().unwrap();
/// let byte = &map[0];
/// map.unmap().unwrap();
/// println!("{byte}");
/// ```
///
/// A slice that outlives it:
///
/// ```compile_fail,E0597
/// # use rawmap::MapOptions;
/// let byte = {
///     let map = MapOptions::new(1).anonymous().unwrap();
///     &map[0]
/// };
/// println!("{byte}");
/// ```
///
/// Growing it, which may move it, or purging it, while a slice of it is in use:
///
/// ```compile_fail,E0502
/// # use rawmap::MapOptions;
/// let mut map = MapOptions::new(1).anonymous().unwrap();
/// let byte = &map[0];
/// map.grow(1 << 20).unwrap();
/// println!("{byte}");
/// ```
///
/// ```compile_fail,E0502
/// # use rawmap::MapOptions;
/// let mut map = MapOptions::new(1).anonymous().unwrap();
/// let byte = &map[0];
/// map.purge(0, 1).unwrap();
/// println!("{byte}");
/// ```
///
/// Writing a read-only one:
///
/// ```compile_fail,E0594
/// # use rawmap::MapOptions;
/// let mut map = MapOptions::new(1).read_only().anonymous().unwrap();
/// map[0] = 1;
/// ```
///
/// A slice of one that may be unreadable, or that others may write:
///
/// ```compile_fail,E0608
/// # use rawmap::{MapOptions, Prot};
/// let map = MapOptions::new(1).prot(Prot::NONE).anonymous().unwrap();
/// println!("{}", map[0]);
/// ```
///
/// ```compile_fail,E0614
/// # use rawmap::MapOptions;
/// let map = MapOptions::new(1).shared().anonymous().unwrap();
/// let bytes: &[u8] = &*map;
/// ```
///
/// Protecting one that gives out slices; and making one that does of raw memory:
///
/// ```compile_fail,E0599
/// # use rawmap::{MapOptions, Prot};
/// let map = MapOptions::new(1).anonymous().unwrap();
/// map.protect(0, 1, Prot::NONE).unwrap();
/// ```
///
/// ```compile_fail,E0308
/// # use rawmap::{MapOptions, Mapping, ReadWrite};
/// let map: Mapping<ReadWrite> = MapOptions::new(1).shared().anonymous().unwrap();
/// ```
///
/// Using it after it was split, moved, sealed or made raw:
///
/// ```compile_fail,E0382
/// # use rawmap::MapOptions;
/// let map = MapOptions::new(1).anonymous().unwrap();
/// let sealed = map.seal();
/// println!("{}", map[0]);
/// ```
///
/// Sending a slice of it to a thread that may outlive it:
///
/// ```compile_fail,E0597
/// # use rawmap::MapOptions;
/// let map = MapOptions::new(1).anonymous().unwrap();
/// let bytes = &map[..];
/// std::thread::spawn(move || println!("{}", bytes[0]));
/// ```
///
/// Making a slice of a file, which others may write, without `unsafe`:
///
/// ```compile_fail,E0133
/// # use rawmap::MapOptions;
/// let map = MapOptions::new(1).read_only().file(0, 0);
/// ```
///
/// A kind of access of one's own:
///
/// ```compile_fail,E0277
/// struct Mine;
/// impl rawmap::Access for Mine {}
/// ```
pub struct Mapping<A: Access = ReadWrite> {
    start: NonNull<u8>,
    len: usize,
    granule: PageSize,
    origin: Origin,
    access: PhantomData<A>,
}

// SAFETY: a mapping belongs to the process, not to a thread, and its owner alone reaches it.
unsafe impl<A: Access> Send for Mapping<A> {}
// SAFETY: by `&`, bytes are only read, and raw pointers and system calls have no owner.
unsafe impl<A: Access> Sync for Mapping<A> {}

impl<A: Access> Mapping<A> {
    /// # Safety
    /// `len` bytes, rounded up to the granule, are mapped at `start`, and belong to nobody else;
    /// and the bytes are what `A` promises.
    pub(in crate::owners) const unsafe fn new(
        start: NonNull<u8>,
        len: usize,
        granule: PageSize,
        origin: Origin,
    ) -> Self {
        Self { start, len, granule, origin, access: PhantomData }
    }

    /// Takes over a mapping that was made otherwise, or given up by [`into_raw`](Self::into_raw):
    /// private anonymous memory on ordinary pages.
    ///
    /// # Errors
    /// [`Error::Refused`] if the page size can't be found; [`Error::Unaligned`] if the address is
    /// not that of a page; [`Error::Empty`] if the length is 0; [`Error::TooLong`] if it is over
    /// `isize::MAX`.
    ///
    /// # Safety
    /// `len` bytes, rounded up to whole pages, must be mapped at `start` and belong to nobody else;
    /// they must be private anonymous memory, not on huge pages; and for [`ReadOnly`] and
    /// [`ReadWrite`], must stay readable or writable and be written by nobody else.
    ///
    /// ```
    /// use rawmap::{MapOptions, Mapping, ReadWrite};
    /// let (start, len) = MapOptions::new(1 << 20).anonymous()?.into_raw();
    /// // SAFETY: private memory that can be read and written, and was given up just now.
    /// let memory = unsafe { Mapping::<ReadWrite>::from_raw(start, len)? };
    /// assert_eq!(memory[len - 1], 0);
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub unsafe fn from_raw(start: NonNull<u8>, len: usize) -> Result<Self, Error> {
        let granule = page_size()?;
        if len == 0 {
            return Err(Error::Empty);
        }
        if granule.round_up(len).is_none_or(|len| len > isize::MAX as usize) {
            return Err(Error::TooLong { len });
        }
        if !granule.is_aligned(start.addr().get()) {
            return Err(Error::Unaligned { value: start.addr().get(), granule: granule.bytes() });
        }
        // SAFETY: the caller's promise.
        Ok(unsafe { Self::new(start, len, granule, Origin::Anonymous) })
    }

    /// Gives up the mapping without unmapping it: its first byte and mapped length.
    ///
    /// What it was is not told along: only private anonymous memory on ordinary pages can be taken up
    /// again with [`from_raw`](Self::from_raw), the rest goes with [`munmap`](crate::munmap).
    ///
    /// ```
    /// use rawmap::{MapOptions, munmap};
    /// let (start, len) = MapOptions::new(1).shared().anonymous()?.into_raw();
    /// // SAFETY: mapped, given up just now, and not used any more.
    /// assert_eq!(unsafe { munmap(start.as_ptr(), len) }, Ok(()));
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    #[must_use = "the mapping is leaked unless these are kept"]
    pub fn into_raw(self) -> (NonNull<u8>, usize) {
        let this = ManuallyDrop::new(self);
        (this.start, this.mapped_len())
    }

    /// The first byte. Valid for what the protection allows, as long as the mapping isn't dropped,
    /// grown, shrunk or moved.
    ///
    /// ```
    /// use rawmap::MapOptions;
    /// let block = MapOptions::new(64).anonymous()?;
    /// // SAFETY: the first eight bytes, aligned as a page is, and nothing borrows them.
    /// unsafe { block.as_ptr().cast::<u64>().write(7) };
    /// assert_eq!(block[..8], 7u64.to_ne_bytes());
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    #[must_use]
    pub const fn as_ptr(&self) -> *mut u8 {
        self.start.as_ptr()
    }

    /// The length in bytes, as it was asked for.
    ///
    /// ```
    /// use rawmap::MapOptions;
    /// let table = MapOptions::new(100).anonymous()?;
    /// assert_eq!((table.len(), table[..].len()), (100, 100));
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    #[must_use]
    #[allow(clippy::len_without_is_empty)] // A mapping is never empty.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// The length in bytes that is really mapped: whole granules.
    ///
    /// ```
    /// use rawmap::MapOptions;
    /// let mut memory = MapOptions::new(100).anonymous()?;
    /// let (start, whole) = (memory.as_ptr(), memory.mapped_len());
    /// memory.grow(whole)?; // no call: the rest of the page was there
    /// assert_eq!((memory.as_ptr(), memory.len()), (start, whole));
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    #[must_use]
    pub const fn mapped_len(&self) -> usize {
        self.round_up(self.len)
    }

    /// What the mapping is made of: the page size, or that of its huge pages.
    ///
    /// ```
    /// use rawmap::MapOptions;
    /// let mut heap = MapOptions::new(1 << 20).anonymous()?;
    /// // The page that byte 700,000 is on.
    /// let (granule, offset) = (heap.granule(), heap.granule().round_down(700_000));
    /// heap.purge(offset, granule.bytes())?;
    /// assert!(offset <= 700_000 && 700_000 < offset + granule.bytes());
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    #[must_use]
    pub const fn granule(&self) -> PageSize {
        self.granule
    }

    /// `len` rounded up to whole granules; a number within the mapping can't wrap.
    const fn round_up(&self, len: usize) -> usize {
        match self.granule.round_up(len) {
            Some(rounded) => rounded,
            None => self.granule.round_down(len),
        }
    }

    /// The address of a range, if it lies within the mapping, and its length in whole granules: the
    /// kernel would round it up to pages only, and on huge pages refuse that, or do nothing.
    fn range(&self, offset: usize, len: usize) -> Result<(*mut u8, usize), Error> {
        check_range(offset, len, self.mapped_len(), self.granule)?;
        // SAFETY: just checked: the offset is within the mapping, which is one allocation.
        Ok((unsafe { self.start.as_ptr().add(offset) }, self.round_up(len)))
    }

    /// The same mapping by raw pointers only.
    ///
    /// ```
    /// use rawmap::{MapOptions, Prot};
    /// let mut table = MapOptions::new(1 << 20).anonymous()?;
    /// table.fill(7);
    /// let table = table.into_raw_access();
    /// table.protect(0, table.len(), Prot::READ)?;
    /// // SAFETY: ours, and can be read.
    /// assert_eq!(unsafe { table.as_ptr().read() }, 7);
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    #[must_use]
    pub fn into_raw_access(self) -> Mapping<Raw> {
        let this = ManuallyDrop::new(self);
        // SAFETY: the owner is given up, and Raw promises nothing.
        unsafe { Mapping::new(this.start, this.len, this.granule, this.origin) }
    }

    /// Unmaps it, and says if that fails; dropping it can't.
    ///
    /// One call: `munmap(start, mapped_len)`.
    ///
    /// # Errors
    /// ENOMEM: it is part of a larger mapping, and the process has as many as it may have. The
    /// mapping comes back.
    ///
    /// ```
    /// use rawmap::MapOptions;
    /// let block = MapOptions::new(1 << 20).anonymous()?;
    /// let mut in_use = block.mapped_len();
    /// if block.unmap().is_ok() {
    ///     in_use -= 1 << 20; // a drop would not tell that it is gone
    /// }
    /// assert_eq!(in_use, 0);
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub fn unmap(self) -> Result<(), (Self, Error)> {
        let this = ManuallyDrop::new(self);
        // SAFETY: the range is ours, and with the owner, all that could refer to it is gone.
        match unsafe { made(Call::munmap(this.as_ptr(), this.mapped_len())) } {
            Ok(_) => Ok(()),
            Err(error) => Err((ManuallyDrop::into_inner(this), error)),
        }
    }
}

impl Mapping<ReadWrite> {
    /// Gives up the mapping for the life of the process.
    ///
    /// ```
    /// use rawmap::MapOptions;
    /// let arena: &'static mut [u8] = MapOptions::new(1 << 20).anonymous()?.leak();
    /// let (mine, yours) = arena.split_at_mut(1 << 19);
    /// std::thread::spawn(|| yours.fill(2)).join().unwrap();
    /// assert_eq!(mine[0], 0);
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    #[must_use]
    pub fn leak(self) -> &'static mut [u8] {
        let this = ManuallyDrop::new(self);
        // SAFETY: as for deref_mut, and nobody will unmap it.
        unsafe { slice::from_raw_parts_mut(this.as_ptr(), this.len) }
    }
}

impl Deref for Mapping<ReadOnly> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: `len` bytes from `start` on are mapped and readable, as the type promises, which
        // only Raw can change; at most isize::MAX; and nobody writes them.
        unsafe { slice::from_raw_parts(self.as_ptr(), self.len) }
    }
}

impl Deref for Mapping<ReadWrite> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: as for ReadOnly; they are written by `&mut` of this owner alone.
        unsafe { slice::from_raw_parts(self.as_ptr(), self.len) }
    }
}

impl DerefMut for Mapping<ReadWrite> {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as for deref; and by `&mut`, this is the only borrow.
        unsafe { slice::from_raw_parts_mut(self.as_ptr(), self.len) }
    }
}

impl<A: Access> Drop for Mapping<A> {
    /// Unmaps it. If the kernel refuses (ENOMEM, see [`unmap`](Self::unmap)), it stays mapped.
    fn drop(&mut self) {
        // SAFETY: the range is ours, and nothing can refer to it any more.
        let _ = unsafe { made(Call::munmap(self.as_ptr(), self.mapped_len())) };
    }
}

impl<A: Access> fmt::Debug for Mapping<A> {
    /// Prints where it is, its length and its granule, not its bytes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mapping")
            .field("start", &self.start)
            .field("len", &self.len)
            .field("granule", &self.granule)
            .field("origin", &self.origin)
            .finish()
    }
}
