//! [`Reservation`]: address space for an allocator, committed and given back by parts.

use super::error::{check_range, made};
use super::mapping::{hold, purge_private};
use super::{Error, MapOptions, Mapping, Raw, page_size};
use crate::{Advice, Call, MapFlags, PageSize, Prot};
use core::ptr::{NonNull, null_mut, without_provenance_mut};

/// How a [`Reservation`] holds memory that isn't in use.
///
/// ```
/// use rawmap::{Mode, Reservation};
/// for mode in [Mode::Overcommit, Mode::Strict] {
///     let heap = Reservation::new(1 << 20, mode)?;
///     heap.commit(0, 1)?; // no call, or one
///     // SAFETY: ours, and committed.
///     assert_eq!(unsafe { heap.as_ptr().read() }, 0);
/// }
/// # Ok::<(), rawmap::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Readable and writable from the start, without commit charge (`MAP_NORESERVE`): committing
    /// costs no call and no mapping more. Fails at once under strict accounting
    /// (`vm.overcommit_memory` 2) if there isn't so much memory, and counts against RLIMIT_DATA in
    /// full.
    Overcommit,
    /// Inaccessible until it is committed, which charges it (ENOMEM over the limit of
    /// `vm.overcommit_memory` 2 or RLIMIT_DATA), and again when it is decommitted, which gives the
    /// charge back. Each boundary between the two is one more of the process's mappings, of which
    /// it may have 65,530 (`vm.max_map_count`).
    Strict,
}

/// Reserved address space: reserved in one call, then committed and decommitted by parts.
///
/// What is committed, the caller knows; nothing is recorded here, so all of it may be called from
/// several threads at once. Offsets and lengths are in bytes; an offset must be a multiple of the
/// page size, a length is rounded up to it.
///
/// | calls | [`Overcommit`](Mode::Overcommit) | [`Strict`](Mode::Strict) |
/// |---|---|---|
/// | [`new`](Self::new) | 1 `mmap` | 1 `mmap` |
/// | [`commit`](Self::commit) | 0 | 1 `mprotect` |
/// | [`purge`](Self::purge) | 1 `madvise` | 1 `madvise` |
/// | [`decommit`](Self::decommit) | 1 `madvise` | 1 `mmap` over it |
///
/// ```
/// use rawmap::{Mode, Reservation};
/// let heap = Reservation::new(1 << 28, Mode::Overcommit)?;
/// heap.commit(0, 4096)?;
/// // SAFETY: committed, ours, and within the reservation.
/// unsafe { heap.as_ptr().write(1) };
/// # Ok::<(), rawmap::Error>(())
/// ```
#[derive(Debug)]
pub struct Reservation {
    /// All that is mapped; with slack, more than what is given out.
    all: Mapping<Raw>,
    start: usize,
    len: usize,
    mode: Mode,
}

/// Where the last aligned reservation was placed, and so where the next one probably can be. Kept
/// by the caller, one for each size and alignment or one for all; a wrong one costs calls only.
///
/// ```
/// use rawmap::{Cursor, Mode, Reservation};
/// const SEGMENT: usize = 4 << 20;
/// let mut cursor = Cursor::new();
/// let mut next = || Reservation::aligned(SEGMENT, SEGMENT, &mut cursor, Mode::Overcommit);
/// let (first, second) = (next()?, next()?);
/// assert_eq!([first, second].map(|segment| segment.as_ptr().addr() % SEGMENT), [0, 0]);
/// # Ok::<(), rawmap::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Cursor {
    last: usize,
    /// The kernel gives out addresses upwards, as it does with `vm.legacy_va_layout`.
    up: bool,
}

impl Cursor {
    /// Nothing was placed yet.
    ///
    /// ```
    /// use rawmap::{Cursor, Mode, Reservation};
    /// static NEXT: std::sync::Mutex<Cursor> = std::sync::Mutex::new(Cursor::new());
    /// let mut next = NEXT.lock().unwrap();
    /// let chunk = Reservation::aligned(1 << 21, 1 << 21, &mut next, Mode::Strict)?;
    /// assert_eq!(*next, Cursor::below(chunk.as_ptr()));
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    #[must_use]
    pub const fn new() -> Self {
        Self { last: 0, up: false }
    }

    /// The last one was at `addr`, or shall be taken to have been: the next is tried right below.
    ///
    /// ```
    /// use rawmap::{Cursor, Mode, Reservation};
    /// let first = Reservation::new(1 << 21, Mode::Strict)?;
    /// // A heap that was found at start-up, and shall grow downwards.
    /// let mut cursor = Cursor::below(first.as_ptr());
    /// let next = Reservation::aligned(1 << 21, 1 << 21, &mut cursor, Mode::Strict)?;
    /// assert_eq!(cursor, Cursor::below(next.as_ptr()));
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    #[must_use]
    pub fn below(addr: *const u8) -> Self {
        Self { last: addr.addr(), up: false }
    }

    fn move_to(&mut self, addr: usize) {
        self.up = self.last != 0 && addr > self.last;
        self.last = addr;
    }
}

impl Reservation {
    /// Reserves `len` bytes, rounded up to whole pages.
    ///
    /// One call: `mmap(NULL, len, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS|MAP_NORESERVE, -1,
    /// 0)`, or in strict mode `mmap(NULL, len, PROT_NONE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0)`.
    ///
    /// # Errors
    /// Those of [`mmap`](crate::mmap), and a length over `isize::MAX`.
    ///
    /// ```
    /// use rawmap::{Mode, Reservation};
    /// // Address space for all that the heap may ever hold; inaccessible, and charged for nothing.
    /// let heap = Reservation::new(1 << 30, Mode::Strict)?;
    /// assert_eq!(heap.len(), 1 << 30);
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub fn new(len: usize, mode: Mode) -> Result<Self, Error> {
        Self::place(null_mut(), Self::rounded(len, page_size()?)?, mode)
    }

    /// Reserves `len` bytes at a multiple of `align`, a power of two. Needs 1.0 to 1.2 calls on
    /// average, for it asks for the place below the last one, which the cursor holds; or above it, where
    /// the kernel gives out addresses upwards.
    ///
    /// The calls: `mmap(hint, ...)`; if the kernel places it unaligned, `munmap`, and the same
    /// again at the next multiple; and if that place is taken, `munmap`, `mmap` of
    /// `len + align - page` bytes, and up to two `munmap` of what is too much.
    ///
    /// # Errors
    /// Those of [`mmap`](crate::mmap); [`Error::BadAlignment`]; a length over `isize::MAX`. Nothing
    /// is left mapped.
    ///
    /// ```
    /// use rawmap::{Cursor, Mode, Reservation};
    /// const HEAP: usize = 4 << 20;
    /// let heap = Reservation::aligned(HEAP, HEAP, &mut Cursor::new(), Mode::Overcommit)?;
    /// // `free` finds a block's heap, and what it noted at the start of it, without a lookup.
    /// let block = heap.as_ptr().wrapping_add(1_234_560);
    /// assert_eq!(block.map_addr(|addr| addr & !(HEAP - 1)), heap.as_ptr());
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub fn aligned(
        len: usize,
        align: usize,
        cursor: &mut Cursor,
        mode: Mode,
    ) -> Result<Self, Error> {
        let page = page_size()?;
        let rounded = Self::rounded(len, page)?;
        let align = Self::alignment(align, page)?;
        let below = |addr: usize| addr & !(align - 1);
        let above = |addr: usize| below(addr.saturating_add(align - 1));
        let mut hint = if cursor.up {
            above(cursor.last.saturating_add(rounded))
        } else {
            below(cursor.last.saturating_sub(rounded))
        };
        for _ in 0..2 {
            let tried = Self::place(without_provenance_mut(hint), rounded, mode)?;
            let addr = tried.as_ptr().addr();
            if addr & (align - 1) == 0 {
                cursor.move_to(addr);
                return Ok(tried);
            }
            tried.all.unmap().map_err(|(_, error)| error)?;
            // There is room, and as a rule more on the side to which the kernel goes on.
            hint = if cursor.last != 0 && addr > cursor.last { above(addr) } else { below(addr) };
        }
        let mut reserved = Self::slack(len, align, mode)?;
        reserved.trim()?;
        cursor.move_to(reserved.as_ptr().addr());
        Ok(reserved)
    }

    /// Reserves `len` bytes at a multiple of `align`, and keeps the address space that is too much:
    /// always exactly one call, `mmap` of `len + align - page` bytes.
    ///
    /// # Errors
    /// As [`aligned`](Self::aligned).
    ///
    /// ```
    /// use rawmap::{Mode, Reservation};
    /// let span = Reservation::keep_slack(1 << 20, 1 << 30, Mode::Strict)?;
    /// assert_eq!((span.as_ptr().addr() % (1 << 30), span.len()), (0, 1 << 20));
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub fn keep_slack(len: usize, align: usize, mode: Mode) -> Result<Self, Error> {
        Self::slack(len, Self::alignment(align, page_size()?)?, mode)
    }

    fn slack(len: usize, align: usize, mode: Mode) -> Result<Self, Error> {
        let page = page_size()?;
        let rounded = Self::rounded(len, page)?;
        let total = rounded.checked_add(align - page.bytes()).ok_or(Error::TooLong { len })?;
        let all = Self::place(null_mut(), total, mode)?.all;
        let start = all.as_ptr().addr().wrapping_neg() & (align - 1);
        Ok(Self { all, start, len: rounded, mode })
    }

    /// Unmaps what is too much at both ends.
    fn trim(&mut self) -> Result<(), Error> {
        self.all.shrink(self.start + self.len)?;
        self.all.shrink_front(self.start)?;
        self.start = 0;
        Ok(())
    }

    fn rounded(len: usize, page: PageSize) -> Result<usize, Error> {
        page.round_up(len).filter(|len| *len <= isize::MAX as usize).ok_or(Error::TooLong { len })
    }

    fn alignment(align: usize, page: PageSize) -> Result<usize, Error> {
        if align.is_power_of_two() {
            Ok(align.max(page.bytes()))
        } else {
            Err(Error::BadAlignment { align })
        }
    }

    /// Of whole pages.
    fn place(hint: *mut u8, len: usize, mode: Mode) -> Result<Self, Error> {
        let options = MapOptions::new(len).hint(hint);
        let all = match mode {
            Mode::Overcommit => options.noreserve().prot(Prot::READ.union(Prot::WRITE)),
            // Not NORESERVE: what is mapped so is never charged, when it is committed either.
            Mode::Strict => options.prot(Prot::NONE),
        };
        Ok(Self { all: all.anonymous()?, start: 0, len, mode })
    }

    /// The first byte.
    ///
    /// ```
    /// use rawmap::{Mode, Reservation};
    /// let heap = Reservation::new(1 << 20, Mode::Overcommit)?;
    /// let block = heap.as_ptr().wrapping_add(100_000);
    /// // Is the block from this heap? An address below it wraps.
    /// assert!(block.addr().wrapping_sub(heap.as_ptr().addr()) < heap.len());
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    #[must_use]
    pub fn as_ptr(&self) -> *mut u8 {
        // SAFETY: `start` is within what is mapped.
        unsafe { self.all.as_ptr().add(self.start) }
    }

    /// The length in bytes: whole pages.
    ///
    /// ```
    /// use rawmap::{Mode, Reservation, page_size};
    /// let heap = Reservation::new(1, Mode::Strict)?;
    /// assert_eq!(heap.len(), page_size()?.bytes());
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    #[must_use]
    #[allow(clippy::len_without_is_empty)] // A reservation is never empty.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// The mode it was made with.
    ///
    /// ```
    /// use rawmap::{Mode, Reservation};
    /// let heap = Reservation::new(1 << 30, Mode::Strict)?;
    /// // Where each commit is a call, larger steps are better.
    /// let step = if heap.mode() == Mode::Strict { 1 << 20 } else { 1 };
    /// heap.commit(0, step)?;
    /// assert_eq!(step, 1 << 20);
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    #[must_use]
    pub const fn mode(&self) -> Mode {
        self.mode
    }

    fn range(&self, offset: usize, len: usize) -> Result<*mut u8, Error> {
        check_range(offset, len, self.len, self.all.granule())?;
        // SAFETY: just checked: the offset is within the reservation.
        Ok(unsafe { self.as_ptr().add(offset) })
    }

    /// Makes a range readable and writable. What was not used yet, or decommitted, is zeroes.
    ///
    /// [`Overcommit`](Mode::Overcommit): no call. [`Strict`](Mode::Strict): one,
    /// `mprotect(start + offset, len, PROT_READ|PROT_WRITE)`.
    ///
    /// # Errors
    /// A range that is not within the reservation; in strict mode those of
    /// [`mprotect`](crate::mprotect): ENOMEM if there isn't so much memory, or the process has too
    /// many mappings.
    ///
    /// ```
    /// use rawmap::{Error, Mode, Reservation};
    /// let heap = Reservation::new(1 << 30, Mode::Strict)?;
    /// heap.commit(1 << 29, 1 << 20)?;
    /// // SAFETY: the last byte of what is committed now, and ours.
    /// unsafe { heap.as_ptr().add((1 << 29) + (1 << 20) - 1).write(1) };
    /// let behind = heap.commit(1 << 30, 1);
    /// assert!(matches!(behind, Err(Error::OutOfRange { .. })));
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub fn commit(&self, offset: usize, len: usize) -> Result<(), Error> {
        let addr = self.range(offset, len)?;
        match self.mode {
            Mode::Overcommit => Ok(()),
            Mode::Strict => {
                let call = Call::mprotect(addr, len, Prot::READ.union(Prot::WRITE));
                // SAFETY: the range is ours, and gains rights only.
                unsafe { made(call) }.map(|_| ())
            }
        }
    }

    /// Gives a range back until it is committed again. Its contents are lost.
    ///
    /// [`Overcommit`](Mode::Overcommit): one call, `madvise(start + offset, len, MADV_DONTNEED)`.
    /// [`Strict`](Mode::Strict): one, `mmap(start + offset, len, PROT_NONE,
    /// MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)`, which gives the commit charge back as well.
    /// Length 0 is no error. In strict mode the range's advice, name and lock go with it.
    ///
    /// # Errors
    /// A range that is not within the reservation; those of [`madvise`](crate::madvise) or
    /// [`mmap`](crate::mmap): ENOMEM if the process has too many mappings. The range is as it was, or
    /// decommitted. One call more, which takes it again had the kernel unmapped it.
    ///
    /// ```
    /// use rawmap::{Mode, Reservation};
    /// let heap = Reservation::new(1 << 30, Mode::Strict)?;
    /// heap.commit(0, 1 << 20)?;
    /// heap.decommit(0, 1 << 20)?; // all is as it was made
    /// heap.commit(0, 1)?;
    /// // SAFETY: ours, and committed again.
    /// assert_eq!(unsafe { heap.as_ptr().read() }, 0);
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub fn decommit(&self, offset: usize, len: usize) -> Result<(), Error> {
        let addr = self.range(offset, len)?;
        if self.mode == Mode::Overcommit || len == 0 {
            return self.purge(offset, len);
        }
        let flags = MapFlags::PRIVATE.union(MapFlags::FIXED);
        let call = Call::mmap_anonymous(addr, len, Prot::NONE, flags);
        // SAFETY: what is replaced is ours; who uses the reservation's pointers has given this range
        // back. Nothing is charged and no file is asked, so once the kernel has unmapped, only its own
        // memory running out can make it fail; then the range is taken again at once.
        let done = unsafe { made(call) };
        if done.is_err() {
            hold(addr, len);
        }
        done.map(|_| ())
    }

    /// Frees a range's memory, and leaves it committed: it reads as zeroes.
    ///
    /// One call: `madvise(start + offset, len, MADV_DONTNEED)`; if part of the range is locked, one
    /// more, `MADV_DONTNEED_LOCKED`.
    ///
    /// # Errors
    /// Those of [`madvise`](crate::madvise), and a range that is not within the reservation.
    ///
    /// ```
    /// use rawmap::{Mode, Reservation};
    /// let heap = Reservation::new(1 << 20, Mode::Overcommit)?;
    /// // SAFETY: ours, and committed in this mode.
    /// unsafe { heap.as_ptr().write(7) };
    /// heap.purge(0, heap.len())?;
    /// // SAFETY: still committed.
    /// assert_eq!(unsafe { heap.as_ptr().read() }, 0);
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub fn purge(&self, offset: usize, len: usize) -> Result<(), Error> {
        let addr = self.range(offset, len)?;
        // SAFETY: as for decommit.
        unsafe { purge_private(addr, len) }
    }

    /// Says how a range will be used, by advice that changes no contents, as [`Mapping::advise`] has
    /// it: huge pages, no core dump, and the like. It stays when the range is purged, and goes when it
    /// is decommitted in strict mode.
    ///
    /// One call: `madvise(start + offset, len, advice)`.
    ///
    /// # Errors
    /// Those of [`Mapping::advise`].
    ///
    /// ```
    /// use rawmap::{Advice, Mode, Reservation};
    /// let heap = Reservation::new(1 << 28, Mode::Overcommit)?;
    /// heap.advise(0, heap.len(), Advice::DONTDUMP)?;
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub fn advise(&self, offset: usize, len: usize, advice: Advice) -> Result<(), Error> {
        self.range(offset, len)?;
        self.all.advise(self.start + offset, len, advice)
    }

    /// Gives up the reservation without unmapping it: its first byte and length. For an allocator in
    /// a static, which keeps them in atomics. [Slack](Self::keep_slack) stays mapped for good.
    ///
    /// ```
    /// use rawmap::{Mode, Reservation};
    /// use std::sync::atomic::{AtomicPtr, Ordering};
    /// static HEAP: AtomicPtr<u8> = AtomicPtr::new(std::ptr::null_mut());
    /// let (start, _) = Reservation::new(1 << 20, Mode::Overcommit)?.into_raw();
    /// HEAP.store(start.as_ptr(), Ordering::Release);
    /// // SAFETY: committed in this mode, and never unmapped.
    /// assert_eq!(unsafe { HEAP.load(Ordering::Acquire).read() }, 0);
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    #[must_use = "the reservation is leaked unless these are kept"]
    pub fn into_raw(self) -> (NonNull<u8>, usize) {
        let (start, _) = self.all.into_raw();
        // SAFETY: `self.start` is within what is mapped.
        (unsafe { start.add(self.start) }, self.len)
    }

    /// Takes a reservation up again that was given up by [`into_raw`](Self::into_raw), or part of
    /// one. Wrap it in [`ManuallyDrop`](core::mem::ManuallyDrop) where it shall stay mapped.
    ///
    /// # Errors
    /// [`Error::Unaligned`] if the address is not that of a page; [`Error::Empty`] or
    /// [`Error::TooLong`] if the length is 0 or over `isize::MAX`; [`Error::Refused`] if the page size
    /// can't be found.
    ///
    /// # Safety
    /// `len` bytes, rounded up to whole pages, must be reserved at `start` in this mode, and belong to
    /// no other owner that unmaps them.
    ///
    /// ```
    /// use rawmap::{Mode, Reservation};
    /// let (start, len) = Reservation::new(1 << 20, Mode::Strict)?.into_raw();
    /// // SAFETY: reserved in this mode, and never unmapped by another owner, nor by this one.
    /// let heap = unsafe { Reservation::from_raw(start, len, Mode::Strict)? };
    /// let heap = std::mem::ManuallyDrop::new(heap);
    /// heap.commit(0, 1)?;
    /// assert_eq!(heap.as_ptr(), start.as_ptr());
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub unsafe fn from_raw(start: NonNull<u8>, len: usize, mode: Mode) -> Result<Self, Error> {
        // SAFETY: the caller's promise.
        let all: Mapping<Raw> = unsafe { Mapping::from_raw(start, len) }?;
        let len = all.mapped_len();
        Ok(Self { all, start: 0, len, mode })
    }

    /// The mapping beneath, slack included, for what is not offered here.
    ///
    /// ```
    /// use rawmap::{Mode, Reservation, page_size};
    /// let span = Reservation::keep_slack(1 << 20, 1 << 21, Mode::Strict)?;
    /// let all = span.into_mapping();
    /// assert_eq!(all.mapped_len(), (1 << 20) + (1 << 21) - page_size()?.bytes());
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    #[must_use]
    pub fn into_mapping(self) -> Mapping<Raw> {
        self.all
    }
}
