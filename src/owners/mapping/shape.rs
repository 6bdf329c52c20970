//! A mapping's extent: shrunk, grown, moved, split, joined, and sealed for good.

use super::Mapping;
use crate::owners::error::made;
use crate::owners::{Access, Error, Raw, page_size};
use crate::{Call, Errno, MremapFlags, MsealFlags};
use core::mem::ManuallyDrop;
use core::ptr::{NonNull, null_mut};

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
    pub(in crate::owners) fn shrink_front(&mut self, len: usize) -> Result<(), Error> {
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
    pub(in crate::owners) fn check_whole(&self) -> Result<(), Error> {
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
    pub(in crate::owners) fn give_up_from(self, mid: usize) {
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
