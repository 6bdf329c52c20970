//! [`Mapping`]: a page range that is unmapped when it is dropped.

use super::error::{check_range, made};
use super::options::{Origin, granule};
use super::{Access, Error, Raw, ReadOnly, ReadWrite, page_size};
use crate::{
    Advice, Call, Errno, MapFlags, MremapFlags, MsealFlags, MsyncFlags, PageSize, Prot, RawFd,
};
use core::marker::PhantomData;
use core::mem::ManuallyDrop;
use core::ops::{Deref, DerefMut};
use core::ptr::{NonNull, null_mut};
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

/// What a purged range reads as now.
///
/// ```
/// use rawmap::{MapOptions, Purged};
/// let mut block = MapOptions::new(1 << 20).anonymous()?;
/// // For `calloc`: does it have to write zeroes?
/// if block.purge(0, block.len())? != Purged::Zeroes {
///     block.fill(0);
/// }
/// assert!(block.iter().all(|byte| *byte == 0));
/// # Ok::<(), rawmap::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purged {
    /// Zeroes; its memory is free.
    Zeroes,
    /// What the file says: for a private mapping, what was written to it is gone; a shared one is
    /// as it was, and its memory stays in the page cache.
    File,
    /// Not known: parts of it were [overlaid](Mapping::overlay), and what a purge does to them
    /// depends on what is there now.
    Mixed,
}

/// How a range was guarded.
///
/// ```
/// use rawmap::{MapOptions, Prot};
/// let slots = MapOptions::new(1 << 20).prot(Prot::READ | Prot::WRITE).anonymous()?;
/// let first = slots.guard(0, 1)?;
/// // The kernel has it or not, so the first guard tells what all others will cost.
/// assert_eq!(slots.guard(1 << 19, 1)?, first);
/// # Ok::<(), rawmap::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Guarded {
    /// By `MADV_GUARD_INSTALL`: no mapping was split.
    Installed,
    /// By `mprotect(PROT_NONE)`, where the kernel doesn't have that, or not for this memory (locked,
    /// or huge pages): where it was part of a mapping, that was split.
    Protected,
}

/// A mapping that is sealed: it stays as it is until the process ends.
///
/// ```
/// use rawmap::{Errno, MapOptions, munmap};
/// // From Linux 6.10 on.
/// if let Ok(sealed) = MapOptions::new(1 << 20).anonymous()?.seal() {
///     // SAFETY: what is sealed stays mapped, whoever asks.
///     let refused = unsafe { munmap(sealed.as_ptr(), sealed.len()) };
///     assert_eq!(refused, Err(Errno::EPERM));
/// }
/// # Ok::<(), rawmap::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Sealed {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: a sealed mapping is a plain address and length.
unsafe impl Send for Sealed {}
// SAFETY: as above.
unsafe impl Sync for Sealed {}

impl Sealed {
    /// The first byte.
    ///
    /// ```
    /// use rawmap::MapOptions;
    /// if let Ok(sealed) = MapOptions::new(16).read_only().anonymous()?.seal() {
    ///     // SAFETY: sixteen bytes that stay mapped and read-only until the process ends.
    ///     let forever: &'static [u8; 16] = unsafe { &*sealed.as_ptr().cast() };
    ///     assert_eq!(forever, &[0; 16]);
    /// }
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    #[must_use]
    pub const fn as_ptr(&self) -> *mut u8 {
        self.start.as_ptr()
    }

    /// The length in bytes: whole granules.
    ///
    /// ```
    /// use rawmap::{MapOptions, page_size};
    /// if let Ok(sealed) = MapOptions::new(1).anonymous()?.seal() {
    ///     assert_eq!(sealed.len(), page_size()?.bytes());
    /// }
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    #[must_use]
    #[allow(clippy::len_without_is_empty)] // A mapping is never empty.
    pub const fn len(&self) -> usize {
        self.len
    }
}

impl<A: Access> Mapping<A> {
    /// # Safety
    /// `len` bytes, rounded up to the granule, are mapped at `start`, and belong to nobody else;
    /// and the bytes are what `A` promises.
    pub(super) const unsafe fn new(
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

    /// Writes changes of a shared file mapping back to the file.
    ///
    /// One call: `msync(start + offset, len, flags)`.
    ///
    /// # Errors
    /// Those of [`msync`](crate::msync), and a range that is not within the mapping.
    ///
    /// ```
    /// # use std::os::fd::AsRawFd;
    /// # let path = std::env::temp_dir().join(format!("rawmap-sync-{}", std::process::id()));
    /// # let mut new = std::fs::File::options();
    /// # let file = new.read(true).write(true).create(true).truncate(true).open(&path).unwrap();
    /// # file.set_len(7).unwrap();
    /// use rawmap::{MapOptions, MsyncFlags};
    /// // SAFETY: an open file of seven bytes; of a shared mapping nothing is promised.
    /// let log = unsafe { MapOptions::new(7).shared().file(file.as_raw_fd(), 0)? };
    /// // SAFETY: its first seven bytes, which the file has.
    /// unsafe { log.as_ptr().cast::<[u8; 7]>().write(*b"commit\n") };
    /// log.sync(0, 7, MsyncFlags::SYNC)?; // now it is on the disk
    /// assert_eq!(std::fs::read(&path).unwrap(), b"commit\n");
    /// # std::fs::remove_file(&path).unwrap();
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub fn sync(&self, offset: usize, len: usize, flags: MsyncFlags) -> Result<(), Error> {
        let (addr, len) = self.range(offset, len)?;
        // SAFETY: msync changes no memory.
        unsafe { made(Call::msync(addr, len, flags)) }.map(|_| ())
    }

    /// Keeps a range resident.
    ///
    /// One call: `mlock(start + offset, len)`.
    ///
    /// # Errors
    /// Those of [`mlock`](crate::mlock), and a range that is not within the mapping.
    ///
    /// ```
    /// use rawmap::MapOptions;
    /// let buffer = MapOptions::new(1 << 20).anonymous()?;
    /// buffer.lock(0, 1)?;
    /// // A real-time thread won't fault on this page.
    /// assert_eq!(buffer.resident(0, 1, &mut [0])?[0] & 1, 1);
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub fn lock(&self, offset: usize, len: usize) -> Result<(), Error> {
        let (addr, len) = self.range(offset, len)?;
        // SAFETY: locking changes no memory.
        unsafe { made(Call::mlock(addr, len)) }.map(|_| ())
    }

    /// Undoes [`lock`](Self::lock).
    ///
    /// One call: `munlock(start + offset, len)`.
    ///
    /// # Errors
    /// Those of [`munlock`](crate::munlock), and a range that is not within the mapping.
    ///
    /// ```
    /// use rawmap::MapOptions;
    /// let mut key = MapOptions::new(32).anonymous()?;
    /// key.lock(0, 32)?;
    /// key.copy_from_slice(b"a secret that is never swapped..");
    /// key.fill(0); // wiped, before it may be
    /// key.unlock(0, 32)?;
    /// assert!(key.iter().all(|byte| *byte == 0));
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub fn unlock(&self, offset: usize, len: usize) -> Result<(), Error> {
        let (addr, len) = self.range(offset, len)?;
        // SAFETY: unlocking changes no memory.
        unsafe { made(Call::munlock(addr, len)) }.map(|_| ())
    }

    /// Which pages of a range are resident: a byte for each page (not granule) of the range, whose
    /// lowest bit says so.
    ///
    /// One call: `mincore(start + offset, len, pages)`.
    ///
    /// # Errors
    /// Those of [`mincore`](crate::mincore); a range that is not within the mapping, or has more
    /// pages than `pages` has bytes ([`Error::OutOfRange`]).
    ///
    /// ```
    /// use rawmap::MapOptions;
    /// let mut heap = MapOptions::new(1 << 20).anonymous()?;
    /// heap[0] = 1;
    /// let mut pages = [0; 256]; // of 4 KiB, or fewer larger ones
    /// let used = heap.resident(0, heap.len(), &mut pages)?.iter().filter(|page| **page & 1 == 1);
    /// assert!(used.count() >= 1);
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub fn resident<'a>(
        &self,
        offset: usize,
        len: usize,
        pages: &'a mut [u8],
    ) -> Result<&'a [u8], Error> {
        let (addr, _) = self.range(offset, len)?;
        let count = len.div_ceil(page_size()?.bytes());
        let size = pages.len();
        let Some(pages) = pages.get_mut(..count) else {
            return Err(Error::OutOfRange { offset: 0, len: count, size });
        };
        // SAFETY: `pages` has a byte for each page.
        unsafe { made(Call::mincore(addr, len, pages.as_mut_ptr())) }?;
        Ok(pages)
    }

    /// Makes a range resident as reading it would, and says if that fails.
    ///
    /// One call: `madvise(start + offset, len, MADV_POPULATE_READ)`.
    ///
    /// # Errors
    /// Those of [`madvise`](crate::madvise); EINVAL before Linux 5.14; a range that is not within
    /// the mapping.
    ///
    /// ```
    /// # use std::os::fd::AsRawFd;
    /// use rawmap::MapOptions;
    /// let file = std::fs::File::open("/proc/self/exe").unwrap();
    /// // SAFETY: a program's file isn't written while it runs.
    /// let image = unsafe { MapOptions::new(4).read_only().file(file.as_raw_fd(), 0)? };
    /// image.populate_read(0, 4)?; // an error of the disk would be one here, not a SIGBUS below
    /// assert_eq!(&image[..], b"\x7fELF");
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub fn populate_read(&self, offset: usize, len: usize) -> Result<(), Error> {
        // SAFETY: as reading does it, this changes no contents.
        unsafe { self.advise_any(offset, len, Advice::POPULATE_READ) }
    }

    /// Makes a range resident and writable as writing it would, and says if that fails.
    ///
    /// One call: `madvise(start + offset, len, MADV_POPULATE_WRITE)`.
    ///
    /// # Errors
    /// Those of [`madvise`](crate::madvise); EINVAL before Linux 5.14, and if it can't be written;
    /// EFAULT where an access would be SIGBUS; a range that is not within the mapping.
    ///
    /// ```
    /// use rawmap::MapOptions;
    /// let mut samples = MapOptions::new(1 << 20).anonymous()?;
    /// samples[0] = 7;
    /// samples.populate_write(0, samples.len())?; // no write has to wait for its page
    /// assert_eq!((samples[0], samples[1]), (7, 0));
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub fn populate_write(&self, offset: usize, len: usize) -> Result<(), Error> {
        // SAFETY: as writing what is there already does it, this changes no contents.
        unsafe { self.advise_any(offset, len, Advice::POPULATE_WRITE) }
    }

    /// Says how a range will be used, by advice that changes no contents: `NORMAL`, `RANDOM`,
    /// `SEQUENTIAL`, `WILLNEED`, `COLD`, `PAGEOUT`, `HUGEPAGE`, `NOHUGEPAGE`, `COLLAPSE`, `MERGEABLE`,
    /// `UNMERGEABLE`, `DONTDUMP`, `DODUMP`, `DOFORK`, `KEEPONFORK`, `GUARD_REMOVE`.
    ///
    /// For the rest there are [`purge`](Self::purge), [`populate_read`](Self::populate_read),
    /// [`populate_write`](Self::populate_write), [`guard`](Mapping::guard),
    /// [`punch_hole`](Mapping::punch_hole) and [`advise_any`](Self::advise_any).
    ///
    /// One call: `madvise(start + offset, len, advice)`.
    ///
    /// # Errors
    /// Those of [`madvise`](crate::madvise), [`Error::NotOffered`], and a range that is not within
    /// the mapping.
    ///
    /// ```
    /// use rawmap::{Advice, Error, MapOptions};
    /// let table = MapOptions::new(1 << 20).anonymous()?;
    /// table.advise(0, table.len(), Advice::RANDOM)?;
    /// assert_eq!(table.advise(0, 1, Advice::DONTNEED), Err(Error::NotOffered));
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub fn advise(&self, offset: usize, len: usize, advice: Advice) -> Result<(), Error> {
        match advice {
            Advice::NORMAL
            | Advice::RANDOM
            | Advice::SEQUENTIAL
            | Advice::WILLNEED
            | Advice::COLD
            | Advice::PAGEOUT
            | Advice::HUGEPAGE
            | Advice::NOHUGEPAGE
            | Advice::COLLAPSE
            | Advice::MERGEABLE
            | Advice::UNMERGEABLE
            | Advice::DONTDUMP
            | Advice::DODUMP
            | Advice::DOFORK
            | Advice::KEEPONFORK
            | Advice::GUARD_REMOVE => {
                // SAFETY: none of these changes contents; a guard there is only in a raw mapping.
                unsafe { self.advise_any(offset, len, advice) }
            }
            _ => Err(Error::NotOffered),
        }
    }

    /// Any advice, such as a new kernel's.
    ///
    /// One call: `madvise(start + offset, len, advice)`.
    ///
    /// # Errors
    /// Those of [`madvise`](crate::madvise), and a range that is not within the mapping.
    ///
    /// # Safety
    /// The advice must leave the bytes as `A` promises them while they are borrowed; and after
    /// `MADV_DONTFORK`, in a forked child, where nothing is mapped there, the owner must not be used
    /// nor dropped.
    ///
    /// ```
    /// use rawmap::{Advice, MapOptions};
    /// let mut seed = MapOptions::new(32).anonymous()?;
    /// seed.fill(7);
    /// // SAFETY: the bytes change in a forked child only, whose one thread borrows none.
    /// unsafe { seed.advise_any(0, 32, Advice::WIPEONFORK)? };
    /// assert_eq!(seed[0], 7); // 0 in a child, which must not draw the same random numbers
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub unsafe fn advise_any(
        &self,
        offset: usize,
        len: usize,
        advice: Advice,
    ) -> Result<(), Error> {
        let (addr, len) = self.range(offset, len)?;
        // SAFETY: the caller's promise.
        unsafe { made(Call::madvise(addr, len, advice)) }.map(|_| ())
    }

    /// Gives a range's memory back to the system, and says what the range reads as afterwards.
    ///
    /// One call: `madvise(start + offset, len, MADV_DONTNEED)`; for shared anonymous memory, of
    /// which that would free nothing, `MADV_REMOVE`. If part of the range is locked, one more:
    /// `MADV_DONTNEED_LOCKED` (Linux 5.18). Of a shared file, this frees nothing but page tables;
    /// [`punch_hole`](Self::punch_hole) does.
    ///
    /// # Errors
    /// Those of [`madvise`](crate::madvise); EINVAL for locked shared anonymous memory, which must
    /// be unlocked first, and for huge pages before Linux 5.18; a range that is not within the
    /// mapping.
    ///
    /// ```
    /// use rawmap::{MapOptions, Purged};
    /// let mut memory = MapOptions::new(4096).anonymous()?;
    /// memory[0] = 1;
    /// assert_eq!(memory.purge(0, memory.len())?, Purged::Zeroes);
    /// assert_eq!(memory[0], 0);
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub fn purge(&mut self, offset: usize, len: usize) -> Result<Purged, Error> {
        let (advice, after) = match self.origin {
            Origin::Anonymous => (Advice::DONTNEED, Purged::Zeroes),
            Origin::SharedAnonymous => (Advice::REMOVE, Purged::Zeroes),
            Origin::File => (Advice::DONTNEED, Purged::File),
            Origin::Mixed => (Advice::DONTNEED, Purged::Mixed),
        };
        let (addr, len) = self.range(offset, len)?;
        // SAFETY: by `&mut`, nothing borrows the bytes, and any bytes will do.
        let done = unsafe {
            if advice == Advice::REMOVE {
                made(Call::madvise(addr, len, advice)).map(|_| ())
            } else {
                purge_private(addr, len)
            }
        };
        done.map(|()| after)
    }

    /// Shrinks the mapping to `len` bytes, not 0: what is behind is unmapped.
    ///
    /// One call, if that leaves fewer granules: `munmap(end, ...)`.
    ///
    /// # Errors
    /// ENOMEM: it is part of a larger mapping, and the process has as many as it may have.
    /// [`Error::Empty`] if `len` is 0; [`Error::OutOfRange`] if it is larger than the
    /// mapping.
    ///
    /// ```
    /// use rawmap::MapOptions;
    /// let mut text = MapOptions::new(1 << 20).anonymous()?;
    /// text.shrink(100)?; // so much was read
    /// assert_eq!((text.len(), text.mapped_len()), (100, text.granule().bytes()));
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub fn shrink(&mut self, len: usize) -> Result<(), Error> {
        let size = self.mapped_len();
        if len == 0 {
            return Err(Error::Empty);
        }
        if len > size {
            return Err(Error::OutOfRange { offset: 0, len, size });
        }
        let kept = self.round_up(len);
        if kept < size {
            let (tail, len) = self.range(kept, size - kept)?;
            // SAFETY: the tail is ours, and by `&mut`, nothing borrows it.
            unsafe { made(Call::munmap(tail, len)) }?;
        }
        self.len = len;
        Ok(())
    }

    /// Unmaps the first `len` bytes, a multiple of the granule and less than the mapping; 0 is no
    /// error, and no call.
    pub(super) fn shrink_front(&mut self, len: usize) -> Result<(), Error> {
        self.range(len, 1)?;
        if len == 0 {
            return Ok(());
        }
        // SAFETY: the front is ours, and by `&mut`, nothing borrows it.
        unsafe { made(Call::munmap(self.as_ptr(), len)) }?;
        // SAFETY: just checked: within the mapping, and so not null.
        self.start = unsafe { self.start.add(len) };
        self.len -= len;
        Ok(())
    }

    /// Grows the mapping to `len` bytes, where it is or elsewhere, without copying. New private
    /// anonymous memory is zeroes; shared anonymous memory stays as long as it was made, and what is
    /// mapped behind it is SIGBUS, as behind the end of a file.
    ///
    /// One call, if that takes more granules: `mremap(start, mapped_len, len, MREMAP_MAYMOVE, NULL)`.
    ///
    /// # Errors
    /// Those of [`mremap`](crate::mremap): EFAULT if the kernel holds it in several parts, since they
    /// differ in protection, lock or advice, or were joined; EINVAL or EFAULT on huge pages.
    /// [`Error::TooShort`] if `len` is smaller than the mapping; a length over `isize::MAX`. The
    /// mapping is as it was.
    ///
    /// Parts that are alike again are one again only where the kernel joins them. Before Linux 6.16 it
    /// doesn't where just one of them had been touched meanwhile, as the locked part of an otherwise
    /// untouched mapping is; nor does any Linux in a forked child (`mm/vma.c`:
    /// `is_mergeable_anon_vma`). What is to grow is best locked, protected and advised as a whole.
    ///
    /// ```
    /// use rawmap::MapOptions;
    /// let mut vec = MapOptions::new(1 << 20).anonymous()?;
    /// vec[(1 << 20) - 1] = 1;
    /// vec.grow(1 << 26)?; // pages are moved, if at all, and nothing copied
    /// assert_eq!(vec[(1 << 20) - 1..][..2], [1, 0]);
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub fn grow(&mut self, len: usize) -> Result<(), Error> {
        self.remap(len, MremapFlags::MAYMOVE)
    }

    /// Grows the mapping to `len` bytes where it is; as [`grow`](Self::grow) else.
    ///
    /// # Errors
    /// As [`grow`](Self::grow), and ENOMEM if something is mapped behind it.
    ///
    /// ```
    /// use rawmap::MapOptions;
    /// let mut heap = MapOptions::new(1 << 20).anonymous()?;
    /// let start = heap.as_ptr();
    /// let grown = heap.grow_in_place(2 << 20).is_ok();
    /// // Either way, pointers into it hold.
    /// assert_eq!(heap.as_ptr(), start);
    /// assert_eq!(heap.len(), if grown { 2 << 20 } else { 1 << 20 });
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub fn grow_in_place(&mut self, len: usize) -> Result<(), Error> {
        self.remap(len, MremapFlags::default())
    }

    fn remap(&mut self, len: usize, flags: MremapFlags) -> Result<(), Error> {
        if len < self.len {
            return Err(Error::TooShort { len, size: self.len });
        }
        let Some(new_len) = self.granule.round_up(len).filter(|len| *len <= isize::MAX as usize)
        else {
            return Err(Error::TooLong { len });
        };
        let old_len = self.mapped_len();
        if new_len > old_len {
            let call = Call::mremap(self.as_ptr(), old_len, new_len, flags, null_mut());
            // SAFETY: the range is ours, and by `&mut`, nothing borrows it. It may move, and only
            // the new address is kept.
            let moved = unsafe { made(call) }?;
            // Never null: where no address is given, the kernel looks for one from the first page's end
            // on (mm/mmap.c: low_limit).
            self.start = NonNull::new(moved).ok_or(Error::AtZero)?;
        }
        self.len = len;
        Ok(())
    }

    /// The error of mremap, if the kernel holds the mapping in several parts, or on huge pages.
    ///
    /// One call: `mremap(start, mapped_len, mapped_len + page, 0, NULL)`, which is EFAULT or EINVAL
    /// then. Else it is ENOMEM, since something lies behind, or EAGAIN, since so much may not be
    /// locked; or it succeeds, and a second call unmaps what was added. (At `vm.max_map_count` it is
    /// ENOMEM whatever the mapping is; there the kernel refuses the move as well, before it does any
    /// of it.)
    pub(super) fn check_whole(&self) -> Result<(), Error> {
        let (len, page) = (self.mapped_len(), self.granule.bytes());
        let longer =
            Call::mremap(self.as_ptr(), len, len + page, MremapFlags::default(), null_mut());
        // SAFETY: nothing moves, and what is added nobody has used.
        match unsafe { made(longer) } {
            Ok(_) => {
                // SAFETY: added just now, and nobody's.
                unsafe { made(Call::munmap(self.as_ptr().wrapping_add(len), page)) }.map(|_| ())
            }
            Err(Error::Refused { errno: Errno::ENOMEM | Errno::EAGAIN, .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Moves the pages over those of `place`, which must have the same mapped length, and whose own
    /// pages are unmapped. No byte is copied. Not for huge pages.
    ///
    /// Two or three calls: `mremap(start, mapped_len, mapped_len + page, 0, NULL)`, which fails if the
    /// kernel holds the mapping in several parts, of which it might move some and not all; `munmap`
    /// of that page in case it succeeds; and `mremap(start, mapped_len, mapped_len,
    /// MREMAP_MAYMOVE|MREMAP_FIXED, place)`.
    ///
    /// # Errors
    /// [`Error::Mismatch`] if lengths or page sizes differ, or pages are huge. Those of
    /// [`mremap`](crate::mremap): EFAULT if the mapping's parts differ, see [`grow`](Self::grow).
    ///
    /// The mapping comes back as it was. So does `place`, unless it was the last call that failed
    /// (ENOMEM mostly): the kernel may have unmapped it by then, and another thread's mapping may lie
    /// there already, so nobody owns it any more.
    ///
    /// ```
    /// use rawmap::{MapOptions, Prot};
    /// let mut block = MapOptions::new(1 << 20).anonymous()?;
    /// block[0] = 1;
    /// let place = MapOptions::new(1 << 20).prot(Prot::NONE).anonymous()?;
    /// let at = place.as_ptr();
    /// let moved = block.move_into(place).map_err(|(_, _, error)| error)?;
    /// assert_eq!((moved.as_ptr(), moved[0]), (at, 1));
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    #[allow(clippy::type_complexity)] // It is what comes back.
    pub fn move_into(
        self,
        place: Mapping<Raw>,
    ) -> Result<Self, (Self, Option<Mapping<Raw>>, Error)> {
        let (len, page) = (self.mapped_len(), page_size().ok());
        let ordinary = Some(self.granule) == page && Some(place.granule) == page;
        if !ordinary || len != place.mapped_len() {
            return Err((self, Some(place), Error::Mismatch));
        }
        // In one part, a failed move leaves it whole (mm/mremap.c: move_vma). And on huge pages, of a
        // file that was not said to have them, more would be moved than is ours.
        if let Err(error) = self.check_whole() {
            return Err((self, Some(place), error));
        }
        let place = ManuallyDrop::new(place);
        let flags = MremapFlags::MAYMOVE.union(MremapFlags::FIXED);
        let call = Call::mremap(self.as_ptr(), len, len, flags, place.as_ptr());
        // SAFETY: both ranges are ours, and with their owners, all that could refer to them is
        // here.
        match unsafe { made(call) } {
            Ok(_) => {
                let mut moved = self;
                moved.start = place.start;
                Ok(moved)
            }
            // The place is sealed, or a filter is in the way: before anything is done.
            Err(error) if matches!(error.errno(), Errno::EPERM | Errno::ENOSYS) => {
                Err((self, Some(ManuallyDrop::into_inner(place)), error))
            }
            Err(error) => Err((self, None, error)),
        }
    }

    /// Unmaps what is before `mid` bytes, whole granules, and leaves the rest to nobody.
    pub(super) fn give_up_from(self, mid: usize) {
        let mut this = self;
        this.len = mid;
    }

    /// Splits the mapping in two at `mid` bytes, a multiple of the granule within it, not at its
    /// ends.
    ///
    /// No call.
    ///
    /// # Errors
    /// [`Error::OutOfRange`], [`Error::Unaligned`], or [`Error::Empty`] at 0; the mapping comes back.
    ///
    /// ```
    /// use rawmap::MapOptions;
    /// let queue = MapOptions::new(1 << 20).anonymous()?;
    /// let (done, mut rest) = queue.split_at(1 << 19).map_err(|(_, error)| error)?;
    /// drop(done); // what was read is unmapped
    /// rest[0] = 1;
    /// assert_eq!(rest.len(), 1 << 19);
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub fn split_at(self, mid: usize) -> Result<(Self, Self), (Self, Error)> {
        let second = match self.range(mid, 1) {
            Ok((second, _)) if mid != 0 => second,
            Ok(_) => return Err((self, Error::Empty)),
            Err(error) => return Err((self, error)),
        };
        let mut first = self;
        // SAFETY: an address within the mapping is not null.
        let second = unsafe { NonNull::new_unchecked(second) };
        // `mid` is a granule's start within the mapping, whose last granule `len` reaches into.
        let len = first.len - mid;
        first.len = mid;
        // SAFETY: the rest of what was mapped, which the first part no longer owns.
        let second = unsafe { Self::new(second, len, first.granule, first.origin) };
        Ok((first, second))
    }

    /// Joins two mappings that lie next to each other, this one first. The kernel may go on holding
    /// them as two, and then doesn't [grow](Self::grow) them.
    ///
    /// No call.
    ///
    /// # Errors
    /// [`Error::NotAdjacent`]; both come back.
    ///
    /// ```
    /// use rawmap::{Error, MapOptions};
    /// let (low, high) = MapOptions::new(1 << 20).anonymous()?.split_at(1 << 19).unwrap();
    /// // Free neighbours become one block again, in the order of their addresses.
    /// let (high, low, error) = high.join(low).unwrap_err();
    /// assert_eq!(error, Error::NotAdjacent);
    /// assert_eq!(low.join(high).unwrap().len(), 1 << 20);
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub fn join(self, next: Self) -> Result<Self, (Self, Self, Error)> {
        let end = self.as_ptr().addr() + self.mapped_len();
        let same = self.granule == next.granule && self.origin == next.origin;
        if !same || end != next.as_ptr().addr() {
            return Err((self, next, Error::NotAdjacent));
        }
        let mut joined = self;
        joined.len = joined.mapped_len() + ManuallyDrop::new(next).len;
        Ok(joined)
    }

    /// Seals the mapping until the process ends: nobody can unmap, move, resize, replace or protect
    /// it any more, its owner included, so it is owned no longer.
    ///
    /// One call: `mseal(start, mapped_len, 0)`.
    ///
    /// # Errors
    /// Those of [`mseal`](crate::mseal): ENOSYS before Linux 6.10. The mapping comes back.
    ///
    /// ```
    /// use rawmap::{Errno, MapOptions};
    /// let table = MapOptions::new(1 << 20).read_only().anonymous()?;
    /// if let Err((table, error)) = table.seal() {
    ///     // Before Linux 6.10: still owned, and still read-only.
    ///     assert_eq!((table.len(), error.errno()), (1 << 20, Errno::ENOSYS));
    /// }
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub fn seal(self) -> Result<Sealed, (Self, Error)> {
        let call = Call::mseal(self.as_ptr(), self.mapped_len(), MsealFlags::default());
        // SAFETY: the range is ours, and nobody will own it.
        match unsafe { made(call) } {
            Ok(_) => {
                let (start, len) = self.into_raw();
                Ok(Sealed { start, len })
            }
            Err(error) => Err((self, error)),
        }
    }
}

impl Mapping<Raw> {
    /// Sets what a range may be used for.
    ///
    /// One call: `mprotect(start + offset, len, prot)`.
    ///
    /// # Errors
    /// Those of [`mprotect`](crate::mprotect), and a range that is not within the mapping.
    /// [`Error::NotOffered`] for `PROT_GROWSDOWN` and `PROT_GROWSUP`, which mean all that the kernel
    /// holds together with it. If the kernel holds the range in several parts, the first may be
    /// protected when it refuses another.
    ///
    /// ```
    /// use rawmap::{MapOptions, Prot};
    /// let relro = MapOptions::new(1 << 20).prot(Prot::READ | Prot::WRITE).anonymous()?;
    /// // SAFETY: ours, and can be written.
    /// unsafe { relro.as_ptr().write(1) };
    /// relro.protect(0, relro.len(), Prot::READ)?; // relocated: from now on a write is SIGSEGV
    /// // SAFETY: ours, and can be read.
    /// assert_eq!(unsafe { relro.as_ptr().read() }, 1);
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub fn protect(&self, offset: usize, len: usize, prot: Prot) -> Result<(), Error> {
        let (addr, len) = self.range(offset, len)?;
        if !prot.intersection(Prot::GROWSDOWN.union(Prot::GROWSUP)).is_empty() {
            return Err(Error::NotOffered);
        }
        // SAFETY: of a raw mapping there are no references; who uses its pointers minds the
        // protection.
        unsafe { made(Call::mprotect(addr, len, prot)) }.map(|_| ())
    }

    /// Makes every access to a range SIGSEGV. What it held may be lost.
    ///
    /// One call where the kernel has it (Linux 6.13): `madvise(.., MADV_GUARD_INSTALL)`, which splits
    /// no mapping; else two more, `madvise(.., MADV_GUARD_REMOVE)`, lest part of the range stay guarded
    /// that way too, and `mprotect(.., PROT_NONE)`. [`advise`](Self::advise) with `GUARD_REMOVE`, or
    /// [`protect`](Self::protect), undoes it. QEMU's user mode before 11 says that it has it, and
    /// guards nothing.
    ///
    /// # Errors
    /// Those of [`mprotect`](crate::mprotect), and a range that is not within the mapping.
    ///
    /// ```
    /// use rawmap::{Advice, Guarded, MapOptions, Prot};
    /// let rw = Prot::READ | Prot::WRITE;
    /// let memory = MapOptions::new(1 << 20).prot(rw).anonymous()?;
    /// match memory.guard(0, 1)? {
    ///     Guarded::Installed => memory.advise(0, 1, Advice::GUARD_REMOVE)?,
    ///     Guarded::Protected => memory.protect(0, 1, rw)?,
    /// }
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub fn guard(&self, offset: usize, len: usize) -> Result<Guarded, Error> {
        // SAFETY: of a raw mapping there are no references.
        match unsafe { self.advise_any(offset, len, Advice::GUARD_INSTALL) } {
            Ok(()) => Ok(Guarded::Installed),
            Err(Error::Refused { errno: Errno::EINVAL, .. }) => {
                // Where there are none, and where the kernel doesn't know them, it is refused again.
                let _ = self.advise(offset, len, Advice::GUARD_REMOVE);
                self.protect(offset, len, Prot::NONE).map(|()| Guarded::Protected)
            }
            Err(error) => Err(error),
        }
    }

    /// Replaces a range by new anonymous memory, or by part of a file where `fd` is one: the way to
    /// place something at an exact address without harm to others.
    ///
    /// One call: `mmap(start + offset, len, prot, flags|MAP_FIXED, fd, file_offset)`.
    ///
    /// # Errors
    /// Those of [`mmap`](crate::mmap), and a range that is not within the mapping. The range is as
    /// it was, or inaccessible: the kernel may have unmapped it before it failed, and it is then
    /// mapped again, with one more call.
    ///
    /// [`Error::Mismatch`] for larger pages than the mapping's own, of which the kernel would replace
    /// more, and could later not unmap parts; [`Error::HugeSizeUnknown`].
    ///
    /// # Safety
    /// `fd` must be a descriptor that the caller may use, if `flags` are not `ANONYMOUS`, and not of
    /// a file on hugetlbfs, unless its pages are as large as the mapping's: the kernel would replace
    /// more.
    ///
    /// And a refusal that comes late (a file's own, such as EOPNOTSUPP of `MAP_SYNC`, or ENOMEM) leaves a
    /// hole for a moment. Where another thread may map something meanwhile, it may come to lie there,
    /// and belong to this owner too. A file that may refuse is best mapped elsewhere first, and then
    /// [moved](Self::move_into).
    ///
    /// ```
    /// # use std::os::fd::AsRawFd;
    /// use rawmap::{MapFlags, MapOptions, Prot};
    /// let file = std::fs::File::open("/proc/self/exe").unwrap();
    /// let mut image = MapOptions::new(1 << 20).prot(Prot::NONE).anonymous()?;
    /// // SAFETY: an open program, not on hugetlbfs, with no reason to refuse a private view late.
    /// unsafe { image.overlay(0, 4, Prot::READ, MapFlags::PRIVATE, file.as_raw_fd(), 0)? };
    /// // SAFETY: four bytes of ours, which can be read now.
    /// assert_eq!(unsafe { image.as_ptr().cast::<[u8; 4]>().read() }, *b"\x7fELF");
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub unsafe fn overlay(
        &mut self,
        offset: usize,
        len: usize,
        prot: Prot,
        flags: MapFlags,
        fd: RawFd,
        file_offset: u64,
    ) -> Result<(), Error> {
        let (addr, len) = self.range(offset, len)?;
        if granule(flags)? > self.granule {
            return Err(Error::Mismatch);
        }
        let flags = flags.union(MapFlags::FIXED);
        self.origin = Origin::Mixed;
        // SAFETY: what is replaced is ours, and of a raw mapping there are no references.
        let done = unsafe { made(Call::mmap(addr, len, prot, flags, fd, file_offset)) };
        if done.is_err() {
            hold(addr, len);
        }
        done.map(|_| ())
    }

    /// Frees a range of the shared file or memory itself: it reads as zeroes afterwards, in every
    /// mapping of it and in the file.
    ///
    /// One call: `madvise(start + offset, len, MADV_REMOVE)`.
    ///
    /// # Errors
    /// Those of [`madvise`](crate::madvise): EACCES if it is not writable and shared, EINVAL if it is
    /// locked or private, EOPNOTSUPP if the file system can't; a range that is not within the
    /// mapping.
    ///
    /// ```
    /// # // QEMU's user mode before 11 says that it did it, and does nothing.
    /// # let emulated = std::env::var_os("RAWMAP_EMULATOR").is_some_and(|name| !name.is_empty());
    /// # if emulated { return Ok(()) }
    /// use rawmap::MapOptions;
    /// let slab = MapOptions::new(1 << 20).shared().anonymous()?;
    /// // SAFETY: ours, and nobody else has it.
    /// unsafe { slab.as_ptr().write(7) };
    /// slab.punch_hole(0, 1)?;
    /// // SAFETY: as above.
    /// assert_eq!(unsafe { slab.as_ptr().read() }, 0);
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub fn punch_hole(&self, offset: usize, len: usize) -> Result<(), Error> {
        // SAFETY: of a raw mapping there are no references; who maps the file elsewhere has promised
        // that nobody writes it.
        unsafe { self.advise_any(offset, len, Advice::REMOVE) }
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

/// Drops what a range holds, where that is the process's own: `madvise(addr, len, MADV_DONTNEED)`; if
/// part of it is locked, one call more, `MADV_DONTNEED_LOCKED`.
///
/// # Safety
/// The range must be the owner's, and nothing may refer to its bytes.
pub(super) unsafe fn purge_private(addr: *mut u8, len: usize) -> Result<(), Error> {
    // SAFETY: the caller's promise.
    let done = unsafe { made(Call::madvise(addr, len, Advice::DONTNEED)) };
    match done {
        Err(Error::Refused { errno: Errno::EINVAL, .. }) => {
            // SAFETY: the caller's promise.
            unsafe { made(Call::madvise(addr, len, Advice::DONTNEED_LOCKED)) }.map(|_| ())
        }
        done => done.map(|_| ()),
    }
}

/// Takes a range again that the kernel may have unmapped before it failed to map something else there.
///
/// One call: `mmap(addr, len, PROT_NONE, MAP_PRIVATE|MAP_ANONYMOUS|MAP_NORESERVE|MAP_FIXED_NOREPLACE,
/// -1, 0)`, which is EEXIST if nothing was unmapped.
pub(super) fn hold(addr: *mut u8, len: usize) {
    let flags = MapFlags::PRIVATE.union(MapFlags::NORESERVE).union(MapFlags::FIXED_NOREPLACE);
    // SAFETY: it replaces nothing. A kernel that takes the flag for a hint places it there, or, where
    // the range is still mapped, elsewhere.
    if let Ok(held) = unsafe { made(Call::mmap_anonymous(addr, len, Prot::NONE, flags)) } {
        if held != addr {
            // SAFETY: mapped just now, and nobody's.
            let _ = unsafe { made(Call::munmap(held, len)) };
        }
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
