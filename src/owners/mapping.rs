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
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purged {
    /// Zeroes; its memory is free.
    Zeroes,
    /// What the file says: for a private mapping, what was written to it is gone; a shared one is
    /// as it was, and its memory stays in the page cache.
    File,
    /// Either, part by part.
    Mixed,
}

/// How a range was guarded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Guarded {
    /// By `MADV_GUARD_INSTALL`: no mapping was split.
    Installed,
    /// By `mprotect(PROT_NONE)`, where the kernel doesn't have that: the mapping was split.
    Protected,
}

/// A mapping that is sealed: it stays as it is until the process ends.
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
    #[must_use]
    pub const fn as_ptr(&self) -> *mut u8 {
        self.start.as_ptr()
    }

    /// The length in bytes.
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
    /// not that of a page; [`Error::OutOfRange`] if the length is 0; [`Error::TooLong`] if it is over
    /// `isize::MAX`.
    ///
    /// # Safety
    /// `len` bytes, rounded up to whole pages, must be mapped at `start` and belong to nobody else;
    /// they must be private anonymous memory, not on huge pages; and for [`ReadOnly`] and
    /// [`ReadWrite`], must stay readable or writable and be written by nobody else.
    pub unsafe fn from_raw(start: NonNull<u8>, len: usize) -> Result<Self, Error> {
        let granule = page_size()?;
        if len == 0 {
            return Err(Error::OutOfRange { offset: 0, len, size: 0 });
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
    #[must_use = "the mapping is leaked unless these are kept"]
    pub fn into_raw(self) -> (NonNull<u8>, usize) {
        let this = ManuallyDrop::new(self);
        (this.start, this.mapped_len())
    }

    /// The first byte. Valid for what the protection allows, as long as the mapping isn't dropped,
    /// grown, shrunk or moved.
    #[must_use]
    pub const fn as_ptr(&self) -> *mut u8 {
        self.start.as_ptr()
    }

    /// The length in bytes, as it was asked for.
    #[must_use]
    #[allow(clippy::len_without_is_empty)] // A mapping is never empty.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// The length in bytes that is really mapped: whole granules.
    #[must_use]
    pub const fn mapped_len(&self) -> usize {
        self.round_up(self.len)
    }

    /// What the mapping is made of: the page size, or that of its huge pages.
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
    pub fn populate_read(&self, offset: usize, len: usize) -> Result<(), Error> {
        // SAFETY: as reading does it, this changes no contents.
        unsafe { self.advise_range(offset, len, Advice::POPULATE_READ) }
    }

    /// Makes a range resident and writable as writing it would, and says if that fails.
    ///
    /// One call: `madvise(start + offset, len, MADV_POPULATE_WRITE)`.
    ///
    /// # Errors
    /// Those of [`madvise`](crate::madvise); EINVAL before Linux 5.14, and if it can't be written;
    /// EFAULT where an access would be SIGBUS; a range that is not within the mapping.
    pub fn populate_write(&self, offset: usize, len: usize) -> Result<(), Error> {
        // SAFETY: as writing what is there already does it, this changes no contents.
        unsafe { self.advise_range(offset, len, Advice::POPULATE_WRITE) }
    }

    /// # Safety
    /// The advice must leave the bytes as `A` promises them while they are borrowed.
    unsafe fn advise_range(&self, offset: usize, len: usize, advice: Advice) -> Result<(), Error> {
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
    /// be unlocked first; a range that is not within the mapping.
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
        // SAFETY: by `&mut`, nothing borrows the bytes, and any bytes will do.
        let done = unsafe { self.advise_range(offset, len, advice) };
        let done = match done {
            Err(Error::Refused { errno: Errno::EINVAL, .. }) if advice == Advice::DONTNEED => {
                // SAFETY: as above.
                unsafe { self.advise_range(offset, len, Advice::DONTNEED_LOCKED) }
            }
            done => done,
        };
        done.map(|()| after)
    }

    /// Shrinks the mapping to `len` bytes, not 0: what is behind is unmapped.
    ///
    /// One call, if that leaves fewer granules: `munmap(end, ...)`.
    ///
    /// # Errors
    /// ENOMEM: it is part of a larger mapping, and the process has as many as it may have.
    /// [`Error::OutOfRange`] if `len` is 0 or larger than the mapping.
    pub fn shrink(&mut self, len: usize) -> Result<(), Error> {
        let size = self.mapped_len();
        if len == 0 || len > size {
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
    /// [`Error::OutOfRange`] if `len` is smaller than the mapping; a length over `isize::MAX`. The
    /// mapping is as it was.
    ///
    /// Parts that are alike again are one again only where the kernel joins them. Before Linux 6.16 it
    /// doesn't where just one of them had been touched meanwhile, as the locked part of an otherwise
    /// untouched mapping is; nor does any Linux in a forked child (`mm/vma.c`:
    /// `is_mergeable_anon_vma`). What is to grow is best locked, protected and advised as a whole.
    pub fn grow(&mut self, len: usize) -> Result<(), Error> {
        self.remap(len, MremapFlags::MAYMOVE)
    }

    /// Grows the mapping to `len` bytes where it is; as [`grow`](Self::grow) else.
    ///
    /// # Errors
    /// As [`grow`](Self::grow), and ENOMEM if something is mapped behind it.
    pub fn grow_in_place(&mut self, len: usize) -> Result<(), Error> {
        self.remap(len, MremapFlags::default())
    }

    fn remap(&mut self, len: usize, flags: MremapFlags) -> Result<(), Error> {
        let old_len = self.mapped_len();
        if len < self.len || old_len == 0 {
            return Err(Error::OutOfRange { offset: 0, len: self.len, size: len });
        }
        let Some(new_len) = self.granule.round_up(len).filter(|len| *len <= isize::MAX as usize)
        else {
            return Err(Error::TooLong { len });
        };
        if new_len > old_len {
            let null = core::ptr::null_mut();
            // SAFETY: the range is ours, and by `&mut`, nothing borrows it. It may move, and only
            // the new address is kept.
            let moved =
                unsafe { made(Call::mremap(self.as_ptr(), old_len, new_len, flags, null)) }?;
            let Some(start) = NonNull::new(moved) else {
                // There is no way to hold it, and the old range is ours no more.
                self.len = 0;
                // SAFETY: it is nobody's.
                unsafe { made(Call::munmap(moved, new_len)) }?;
                return Err(Error::AtZero);
            };
            self.start = start;
        }
        self.len = len;
        Ok(())
    }

    /// Moves the pages over those of `place`, which must have the same mapped length, and whose own
    /// pages are unmapped. No byte is copied.
    ///
    /// One call: `mremap(start, mapped_len, mapped_len, MREMAP_MAYMOVE|MREMAP_FIXED, place)`. The
    /// kernel may have unmapped `place` when it fails, and since Linux 6.17, of a mapping that it holds
    /// in several parts, may have moved the first ones. What is then missing is mapped again, two calls
    /// or more: in `place` inaccessible, here zeroes that can be read and written.
    ///
    /// # Errors
    /// Those of [`mremap`](crate::mremap): before Linux 6.17, EFAULT if the mapping's parts differ;
    /// and [`Error::OutOfRange`] if the lengths or granules differ. Both mappings come back.
    pub fn move_into(self, place: Mapping<Raw>) -> Result<Self, (Self, Mapping<Raw>, Error)> {
        let (len, size) = (self.mapped_len(), place.mapped_len());
        if len != size || self.granule != place.granule {
            return Err((self, place, Error::OutOfRange { offset: 0, len, size }));
        }
        let flags = MremapFlags::MAYMOVE.union(MremapFlags::FIXED);
        let call = Call::mremap(self.as_ptr(), len, len, flags, place.as_ptr());
        // SAFETY: both ranges are ours, and with their owners, all that could refer to them is
        // here.
        match unsafe { made(call) } {
            Ok(_) => {
                let mut moved = self;
                moved.start = ManuallyDrop::new(place).start;
                Ok(moved)
            }
            Err(error) => {
                fill_holes(self.as_ptr(), len, Prot::READ.union(Prot::WRITE), self.granule);
                fill_holes(place.as_ptr(), size, Prot::NONE, self.granule);
                Err((self, place, error))
            }
        }
    }

    /// Splits the mapping in two at `mid` bytes, a multiple of the granule within it, not at its
    /// ends.
    ///
    /// No call.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] or [`Error::Unaligned`]; the mapping comes back.
    pub fn split_at(self, mid: usize) -> Result<(Self, Self), (Self, Error)> {
        let size = self.mapped_len();
        let second = match self.range(mid, 1) {
            Ok((second, _)) if mid != 0 => second,
            Ok(_) => return Err((self, Error::OutOfRange { offset: 0, len: 0, size })),
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
    /// Those of [`mprotect`](crate::mprotect), and a range that is not within the mapping; nor is one
    /// with `PROT_GROWSDOWN` or `PROT_GROWSUP`, which mean all that the kernel holds together with it.
    pub fn protect(&self, offset: usize, len: usize, prot: Prot) -> Result<(), Error> {
        let (addr, len) = self.range(offset, len)?;
        if !prot.intersection(Prot::GROWSDOWN.union(Prot::GROWSUP)).is_empty() {
            return Err(Error::OutOfRange { offset, len, size: self.mapped_len() });
        }
        // SAFETY: of a raw mapping there are no references; who uses its pointers minds the
        // protection.
        unsafe { made(Call::mprotect(addr, len, prot)) }.map(|_| ())
    }

    /// Says how a range will be used, or what is to be done with it.
    ///
    /// One call: `madvise(start + offset, len, advice)`.
    ///
    /// # Errors
    /// Those of [`madvise`](crate::madvise), and a range that is not within the mapping.
    pub fn advise(&self, offset: usize, len: usize, advice: Advice) -> Result<(), Error> {
        // SAFETY: as for protect.
        unsafe { self.advise_range(offset, len, advice) }
    }

    /// Makes every access to a range SIGSEGV, and drops what it held.
    ///
    /// One call where the kernel has it (Linux 6.13): `madvise(.., MADV_GUARD_INSTALL)`, which splits
    /// no mapping; else a second, `mprotect(.., PROT_NONE)`, which keeps the contents. QEMU's user
    /// mode before 11 says that it has it, and guards nothing.
    ///
    /// # Errors
    /// Those of [`mprotect`](crate::mprotect), and a range that is not within the mapping.
    pub fn guard(&self, offset: usize, len: usize) -> Result<Guarded, Error> {
        match self.advise(offset, len, Advice::GUARD_INSTALL) {
            Ok(()) => Ok(Guarded::Installed),
            Err(Error::Refused { errno: Errno::EINVAL, .. }) => {
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
    /// With `MAP_HUGETLB` the length must be whole huge pages ([`Error::Unaligned`]), since the kernel
    /// would round it up.
    ///
    /// # Safety
    /// `fd` must be a descriptor that the caller may use, if `flags` are not `ANONYMOUS`; if it is of
    /// a file on hugetlbfs, the range must be whole huge pages of that, or the kernel replaces more.
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
        let granule = granule(flags)?;
        if !granule.is_aligned(len) {
            return Err(Error::Unaligned { value: len, granule: granule.bytes() });
        }
        let flags = flags.union(MapFlags::FIXED);
        self.origin = Origin::Mixed;
        // SAFETY: what is replaced is ours, and of a raw mapping there are no references.
        let done = unsafe { made(Call::mmap(addr, len, prot, flags, fd, file_offset)) };
        if done.is_err() {
            fill_holes(addr, len, Prot::NONE, self.granule);
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
    pub fn punch_hole(&self, offset: usize, len: usize) -> Result<(), Error> {
        self.advise(offset, len, Advice::REMOVE)
    }
}

impl Mapping<ReadWrite> {
    /// Gives up the mapping for the life of the process.
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

/// Takes again what the kernel may have unmapped of a range before it failed to map something else
/// there, so that what is owned has no hole that somebody else comes to lie in.
///
/// Calls: `msync(addr, len, MS_ASYNC)`, which changes nothing and is ENOMEM if there is a hole; then
/// `mmap(addr, len, prot, MAP_PRIVATE|MAP_ANONYMOUS|MAP_NORESERVE|MAP_FIXED_NOREPLACE, -1, 0)`, which is
/// EEXIST if the range isn't a hole as a whole; then the same for both halves.
pub(super) fn fill_holes(addr: *mut u8, len: usize, prot: Prot, granule: PageSize) {
    // SAFETY: MS_ASYNC writes nothing, and leaves memory as it is.
    if len == 0 || unsafe { made(Call::msync(addr, len, MsyncFlags::ASYNC)) }.is_ok() {
        return;
    }
    let flags = MapFlags::PRIVATE.union(MapFlags::NORESERVE).union(MapFlags::FIXED_NOREPLACE);
    // SAFETY: it replaces nothing. A kernel that takes the flag for a hint places it there, or, where
    // something of the range is mapped, elsewhere.
    match unsafe { made(Call::mmap_anonymous(addr, len, prot, flags)) } {
        Ok(held) if held == addr => return,
        // SAFETY: mapped just now, and nobody's.
        Ok(stray) => drop(unsafe { made(Call::munmap(stray, len)) }),
        Err(_) => {}
    }
    let half = granule.round_down(len / 2);
    if half != 0 {
        fill_holes(addr, half, prot, granule);
        fill_holes(addr.wrapping_add(half), len - half, prot, granule);
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
