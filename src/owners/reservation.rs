//! [`Reservation`]: address space, used and given back by parts.

use crate::call::Call;
use crate::errno::Errno;
use crate::flags::{Advice, MapFlags, Prot};
use crate::owners::access::{Access, Raw, ReadWrite};
use crate::owners::error::{Error, Refused, Wrong, issue};
use crate::owners::mapping::{Backing, Mapping, RW};
use crate::owners::place::{self, check_alignment, give_back, move_over, purge_private, rounded};
use crate::owners::process::page_size;
use crate::page_size::PageSize;
use core::ffi::CStr;
use core::ops::RangeBounds;
use core::ptr::NonNull;

/// How a [`Reservation`] holds memory that is not in use.
///
/// ```
/// use rawmap::{Mode, Reservation};
/// for mode in [Mode::Overcommit, Mode::Strict] {
///     let heap = Reservation::new(1 << 20, mode)?;
///     heap.commit(..)?; // no call, or one
///     // SAFETY: ours, and committed.
///     assert_eq!(unsafe { heap.as_ptr().read() }, 0);
/// }
/// # Ok::<(), rawmap::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Mode {
    /// All of it is readable and writable from the start (`MAP_NORESERVE`), so that committing costs no call.
    /// It is not [counted](crate#granules-and-what-is-counted), except under strict accounting
    /// (`vm.overcommit_memory` 2): there all of it is counted at once, and reserving fails where there is not
    /// so much memory. All of it counts against RLIMIT_DATA.
    Overcommit,
    /// Pages are inaccessible until they are committed, and again after they are decommitted. What is committed
    /// is [counted](crate#granules-and-what-is-counted): committing is ENOMEM over RLIMIT_DATA, or over the
    /// limit of strict accounting. Each boundary between committed and other pages makes one more mapping, of
    /// which a process may have 65,530 by default (`vm.max_map_count`).
    Strict,
}

impl Mode {
    /// How memory is mapped that is not in use, and by which flags besides.
    const fn protection(self) -> (Prot, MapFlags) {
        match self {
            Self::Overcommit => (RW, MapFlags::NORESERVE),
            // Not NORESERVE: what is mapped so is never counted, when it is committed either.
            Self::Strict => (Prot::NONE, MapFlags::from_bits(0)),
        }
    }
}

/// Reserved address space, which one call maps, and which is then committed and given back in parts.
///
/// There are two ways to use it. A program may do both:
/// - By `&self` and raw pointers: [`commit`](Self::commit), [`purge`](Self::purge) and
///   [`decommit`](Self::decommit) ranges of it. The caller keeps track of what is committed; the reservation
///   records nothing, so several threads may do it at once. This is for allocators: see [their
///   chapter](crate::guide::allocators).
/// - By value: [`split_off`](Self::split_off) a piece. Turn that into a committed [`Mapping`]
///   ([`into_mapping`](Self::into_mapping)), or [`place`](Self::place) another mapping there.
///   [`Mapping::into_reservation`] is the way back. This is for memory that must lie side by side: images,
///   guest memory, code near other code.
///
/// Ranges count bytes, and must be whole pages. Nothing here takes a lock, or memory from a heap, so that any
/// allocator may be built on it, also the program's global one.
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
/// let mut space = Reservation::new(1 << 30, Mode::Strict)?;
/// let high = space.split_off(1 << 29)?;
/// let mut low = space.into_mapping()?;
/// low.fill(1); // half a GiB, and right behind it:
/// assert_eq!(low.as_ptr_range().end, high.as_ptr());
/// # Ok::<(), rawmap::Error>(())
/// ```
///
/// # An arena
/// This arena hands out zeroed values by `&self`. They live as long as the arena, at addresses that stay. It
/// commits memory in steps as it grows, so that few allocations make a call.
///
/// ```
/// use rawmap::{Error, Mode, Reservation};
/// use std::cell::Cell;
///
/// struct Arena { space: Reservation, used: Cell<usize>, ready: Cell<usize> }
///
/// impl Arena {
///     const STEP: usize = 64 << 10; // whole pages, of any size
///
///     fn new(most: usize) -> Result<Self, Error> {
///         let steps = most.checked_next_multiple_of(Self::STEP);
///         let most = steps.unwrap_or(usize::MAX);
///         let space = Reservation::new(most, Mode::Strict)?;
///         Ok(Self { space, used: Cell::new(0), ready: Cell::new(0) })
///     }
///
///     #[allow(clippy::mut_from_ref)] // of memory handed out once
///     fn words(&self, count: usize) -> Result<&mut [u64], Error> {
///         let start = self.used.get();
///         let end = start.saturating_add(count.saturating_mul(8));
///         if end > self.ready.get() {
///             let ready = end.checked_next_multiple_of(Self::STEP);
///             let ready = ready.unwrap_or(usize::MAX);
///             self.space.commit(self.ready.get()..ready)?;
///             self.ready.set(ready);
///         }
///         self.used.set(end);
///         // SAFETY: committed zeroes at a multiple of 8, which
///         // are handed out once, and last as long as `self`.
///         unsafe {
///             let first = self.space.as_ptr().add(start).cast();
///             Ok(std::slice::from_raw_parts_mut(first, count))
///         }
///     }
///
///     /// By `&mut`: nothing that was handed out is there now.
///     /// (`purge` would keep the pages committed.)
///     fn reset(&mut self) -> Result<(), Error> {
///         self.space.decommit(..self.ready.get())?;
///         self.ready.set(0);
///         self.used.set(0);
///         Ok(())
///     }
/// }
///
/// let mut arena = Arena::new(1 << 30)?;
/// let (first, second) = (arena.words(1000)?, arena.words(1 << 20)?);
/// first[999] = 1;
/// second[0] = first[999] + 1;
/// assert_eq!((first[999], second[0]), (1, 2));
/// assert!(arena.words(usize::MAX).is_err());
/// arena.reset()?;
/// assert_eq!(arena.words(1000)?[999], 0);
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug)]
pub struct Reservation {
    // Invariants, beside those of `Mapping`: it is private anonymous memory on ordinary pages, and its length
    // is whole pages. In strict mode it does not lie where the main thread's stack may grow, and is not
    // NORESERVE. In the other mode all of it can be read and written.
    all: Mapping<Raw>,
    mode: Mode,
}

impl Reservation {
    /// Reserves `len` bytes, rounded up to whole pages.
    ///
    /// One call: `mmap(NULL, len, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS|MAP_NORESERVE, -1, 0)`, or in
    /// strict mode `mmap(NULL, len, PROT_NONE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0)`. The first strict reservation of a
    /// process also makes the calls of [`prepare`](crate::prepare).
    ///
    /// # Errors
    /// Those of [`mmap`](crate::mmap): EINVAL for length 0. It also fails if the length is more than
    /// `isize::MAX`, and in strict mode, with ENOMEM, if the only room that is left is where the main thread's
    /// stack may grow.
    ///
    /// ```
    /// use rawmap::{Mode, Reservation};
    /// // Address space for all that the heap may ever hold;
    /// // inaccessible, and counted for nothing.
    /// let heap = Reservation::new(1 << 30, Mode::Strict)?;
    /// assert_eq!(heap.len(), 1 << 30);
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub fn new(len: usize, mode: Mode) -> Result<Self, Error> {
        Self::reserved("Reservation::new", len, 1, mode)
    }

    /// Reserves `len` bytes, rounded up to whole pages, at a multiple of `align`, a power of two.
    ///
    /// For an alignment of up to a page, the calls are those of [`new`](Self::new). For a larger one, `new`'s
    /// call maps `len + align - page` bytes, and one or two calls unmap the ends that are too much. Where the
    /// length is at least the alignment, the kernel's own choice is tried first, which is often aligned if
    /// neighbouring mappings are. Where the process has as many mappings as it may have, the kernel may refuse
    /// to unmap an end, which then stays mapped.
    ///
    /// # Errors
    /// Those of [`new`](Self::new). It also fails if the alignment is not a power of two. After an error
    /// nothing stays mapped.
    ///
    /// ```
    /// use rawmap::{Mode, Reservation};
    /// const HEAP: usize = 4 << 20;
    /// let heap = Reservation::aligned(HEAP, HEAP, Mode::Overcommit)?;
    /// // `free` finds a block's heap, and what it noted at the start
    /// // of it, without a lookup.
    /// let block = heap.as_ptr().wrapping_add(1_234_560);
    /// assert_eq!(block.map_addr(|addr| addr & !(HEAP - 1)), heap.as_ptr());
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub fn aligned(len: usize, align: usize, mode: Mode) -> Result<Self, Error> {
        Self::reserved("Reservation::aligned", len, align, mode)
    }

    fn reserved(
        operation: &'static str,
        len: usize,
        align: usize,
        mode: Mode,
    ) -> Result<Self, Error> {
        check_alignment(operation, align)?;
        let len = rounded(operation, len, page_size()?)?;
        let (prot, flags) = mode.protection();
        Ok(Self { all: place::aligned(operation, len, align, prot, flags)?, mode })
    }

    /// A pointer to the first byte.
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
    pub const fn as_ptr(&self) -> *mut u8 {
        self.all.as_ptr()
    }

    /// The length in bytes, a multiple of the page size.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether its length is 0, as after a split at its start or end.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// The mode that it was made with.
    #[must_use]
    pub const fn mode(&self) -> Mode {
        self.mode
    }

    /// The page size: ranges must begin and end at multiples of it.
    #[must_use]
    pub const fn granule(&self) -> PageSize {
        self.all.granule()
    }

    /// Makes pages readable and writable. Pages that were not used yet, or were decommitted, are zeroes.
    ///
    /// [`Overcommit`](Mode::Overcommit): no call. [`Strict`](Mode::Strict): one, `mprotect(start, len,
    /// PROT_READ|PROT_WRITE)`.
    ///
    /// # Errors
    /// Fails if the range does not lie within the reservation, or is not whole pages. In strict mode also the
    /// errors of [`mprotect`](crate::mprotect): ENOMEM if there is not so much memory, or the process has too
    /// many mappings. Where the kernel holds the range in several parts, the parts before the one that it
    /// refused are committed then; [`decommit`](Self::decommit) gives them back.
    ///
    /// ```
    /// use rawmap::{Mode, Reservation};
    /// let heap = Reservation::new(1 << 30, Mode::Strict)?;
    /// heap.commit(1 << 29..(1 << 29) + (1 << 20))?;
    /// // SAFETY: the last byte of what is committed now, and ours.
    /// unsafe { heap.as_ptr().add((1 << 29) + (1 << 20) - 1).write(1) };
    /// assert!(heap.commit(1 << 29..(1 << 30) + 4096).is_err());
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    #[inline]
    pub fn commit(&self, range: impl RangeBounds<usize>) -> Result<(), Error> {
        let (addr, len) = self.pages("Reservation::commit", range)?;
        match self.mode {
            Mode::Overcommit => Ok(()),
            Mode::Strict => {
                // SAFETY: the pages are ours, gain rights only, and do not lie where a stack may grow.
                unsafe { issue(Call::mprotect(addr, len, RW)) }.map(|_| ())
            }
        }
    }

    /// Gives the memory of pages back, until they are committed again. Their contents are lost.
    ///
    /// [`Overcommit`](Mode::Overcommit): one call, `madvise(start, len, MADV_DONTNEED)`.
    /// [`Strict`](Mode::Strict): one, `mmap(start, len, PROT_NONE, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1,
    /// 0)`, after which the pages are no longer [counted](crate#granules-and-what-is-counted) and have lost
    /// their advice, name, lock, NUMA policy and protection key. If that call is ENOMEM, it is made again with
    /// `MAP_FIXED_NOREPLACE`, since a kernel before 6.12 may have unmapped the pages by then; if the kernel
    /// maps elsewhere, that is unmapped again. If the kernel refuses both, since the process has as many
    /// mappings as it may have, the memory is freed as in the other mode, and the pages stay counted and
    /// accessible.
    ///
    /// # Errors
    /// Those of [`madvise`](crate::madvise). It also fails if the range does not lie within the reservation, or
    /// is not whole pages.
    ///
    /// ```
    /// use rawmap::{Mode, Reservation};
    /// let heap = Reservation::new(1 << 30, Mode::Strict)?;
    /// heap.commit(..1 << 20)?;
    /// heap.decommit(..1 << 20)?; // all is as it was made
    /// heap.commit(..1 << 20)?;
    /// // SAFETY: ours, and committed again.
    /// assert_eq!(unsafe { heap.as_ptr().read() }, 0);
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub fn decommit(&self, range: impl RangeBounds<usize>) -> Result<(), Error> {
        let (addr, len) = self.pages("Reservation::decommit", range)?;
        if self.mode == Mode::Strict && len != 0 {
            // SAFETY: the pages are ours; who uses the reservation's pointers has given them back.
            if unsafe { empty(addr, len, self.mode.protection().1) }.is_ok() {
                return Ok(());
            }
        }
        // SAFETY: as above.
        unsafe { purge_private(addr, len) }
    }

    /// Frees the memory of pages, and leaves them committed and counted: they read as zeroes.
    ///
    /// One call: `madvise(start, len, MADV_DONTNEED)`; if part of them is locked, one more,
    /// `MADV_DONTNEED_LOCKED` (Linux 5.18).
    ///
    /// # Errors
    /// Those of [`madvise`](crate::madvise). It also fails if the range does not lie within the reservation, or
    /// is not whole pages.
    ///
    /// ```
    /// use rawmap::{Mode, Reservation};
    /// let heap = Reservation::new(1 << 20, Mode::Overcommit)?;
    /// // SAFETY: ours, and committed in this mode.
    /// unsafe { heap.as_ptr().write(7) };
    /// heap.purge(..)?;
    /// // SAFETY: still committed.
    /// assert_eq!(unsafe { heap.as_ptr().read() }, 0);
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub fn purge(&self, range: impl RangeBounds<usize>) -> Result<(), Error> {
        let (addr, len) = self.pages("Reservation::purge", range)?;
        // SAFETY: the pages are ours; who uses the reservation's pointers minds that they become zeroes.
        unsafe { purge_private(addr, len) }
    }

    /// Tells the kernel how pages will be used, as [`Mapping::advise`] does. The pages keep the advice when
    /// they are purged, and lose it when they are decommitted in strict mode. One call: that of
    /// [`Mapping::advise`].
    ///
    /// # Errors
    /// Those of [`Mapping::advise`].
    ///
    /// ```
    /// use rawmap::{Advice, Mode, Reservation};
    /// let heap = Reservation::new(1 << 28, Mode::Overcommit)?;
    /// heap.advise(.., Advice::DONTDUMP)?;
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub fn advise(&self, range: impl RangeBounds<usize>, advice: Advice) -> Result<(), Error> {
        self.all.advise(range, advice).map_err(Error::of("Reservation::advise"))
    }

    /// Names pages, as [`Mapping::name`] does. One call: that of [`Mapping::name`].
    ///
    /// # Errors
    /// Those of [`Mapping::name`].
    pub fn name(&self, range: impl RangeBounds<usize>, name: &CStr) -> Result<(), Error> {
        self.all.name(range, name).map_err(Error::of("Reservation::name"))
    }

    #[inline]
    fn pages(
        &self,
        operation: &'static str,
        range: impl RangeBounds<usize>,
    ) -> Result<(*mut u8, usize), Error> {
        let pages = self.all.lent().exactly(operation, range)?;
        Ok((self.as_ptr().wrapping_add(pages.start), pages.len()))
    }

    /// Splits the reservation in two at byte `at`, as [`Mapping::split_off`] does: this one keeps the first
    /// `at` bytes, and the rest is returned as a reservation of its own.
    ///
    /// No call.
    ///
    /// # Errors
    /// Fails if `at` is more than the length, or is not whole pages; then nothing has changed.
    ///
    /// ```
    /// use rawmap::{Mode, Reservation};
    /// let mut space = Reservation::new(1 << 30, Mode::Strict)?;
    /// let rest = space.split_off(1 << 20)?;
    /// drop(rest); // unmapped, and the first MiB is not
    /// space.commit(..)?;
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub fn split_off(&mut self, at: usize) -> Result<Self, Error> {
        let all = self.all.split_off(at).map_err(Error::of("Reservation::split_off"))?;
        Ok(Self { all, mode: self.mode })
    }

    /// Joins another reservation to this one, if that lies right behind this one and is of the same mode. Else
    /// it comes back.
    ///
    /// No call.
    ///
    /// # Errors
    /// The other reservation comes back as it was, if it does not lie there or is of the other mode.
    pub fn try_unsplit(&mut self, other: Self) -> Result<(), Self> {
        let mode = other.mode;
        if self.mode != mode {
            return Err(other);
        }
        self.all.try_unsplit(other.all).map_err(|all| Self { all, mode })
    }

    /// Commits all of it, and turns it into a mapping that derefs to `&mut [u8]`.
    ///
    /// No call, or in strict mode one: that of [`commit`](Self::commit). At no moment is the place free for
    /// others.
    ///
    /// # Errors
    /// Those of [`commit`](Self::commit). The reservation comes back; parts of it may be committed, as after a
    /// failed `commit`.
    ///
    /// ```
    /// use rawmap::{Mode, Reservation};
    /// let mut memory = Reservation::new(1 << 20, Mode::Strict)?.into_mapping()?;
    /// memory[0] = 1;
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub fn into_mapping(self) -> Result<Mapping<ReadWrite>, Refused<Self>> {
        match self.commit(..) {
            // SAFETY: all of it is private anonymous memory on ordinary pages, which can be read and written
            // now. Who used the reservation's pointers has given them back with it.
            Ok(()) => Ok(unsafe { self.all.with_access() }),
            Err(error) => Err(Refused::new(self, error)),
        }
    }

    /// Moves a mapping to this reservation's place: its pages lie here afterwards, and no byte is copied. At no
    /// moment is the place free for others, so no other thread's mapping comes to lie there or is lost. Code
    /// that is moved must be [published](Mapping::publish) again before it is run.
    ///
    /// Three calls: `madvise(place, len, MADV_DONTNEED)`, so that a lost place costs no memory; for private
    /// memory `madvise(mapping, len, MADV_UNMERGEABLE)`, since a signal could otherwise interrupt the kernel
    /// while it takes merged pages (KSM) apart; and `mremap(mapping, len, len, MREMAP_MAYMOVE|MREMAP_FIXED,
    /// place)`. For more than a page, two calls come first: `mremap(mapping, len, len + page, MREMAP_MAYMOVE,
    /// NULL)`, and `munmap` of the added page. They show that the kernel holds the mapping in one part; of
    /// several parts it might move only some.
    ///
    /// # Errors
    /// Fails if the mapping does not take up as many bytes as the place, if it lies on huge pages, or if the
    /// place lies where the main thread's stack may grow. Else the errors of [`mremap`](crate::mremap): EFAULT
    /// if the kernel holds the mapping in several parts (see [`Mapping::resize`]), or if it is more than a page
    /// of a driver's memory; EINVAL if its driver does not let it be moved. The mapping is as it was, but may
    /// lie elsewhere.
    ///
    /// After an error the place comes back without what it held, as a rule. It is lost
    /// ([`into_owner`](Refused::into_owner) is `None`) in two cases:
    /// - The error does not tell whether the kernel has unmapped the place, and something is mapped there now.
    ///   That may be what another thread has mapped since, and so nobody unmaps it. This happens where the
    ///   process has as many mappings as it may have.
    /// - Nothing can be mapped in its place again, because a filter refuses `mmap` as well, or because the
    ///   memory of [`Mode::Overcommit`] can't be counted any more.
    ///
    /// Where there are too many mappings, or a filter refuses `munmap`, the page that was added to the mapping
    /// may stay mapped.
    ///
    /// ```
    /// use rawmap::{MapOptions, Mode, Reservation};
    /// let file = std::fs::File::open("/proc/self/exe")?;
    /// # use std::os::fd::AsRawFd;
    /// # // SAFETY: `file` stays open.
    /// # let file = unsafe { rawmap::Fd::borrow_raw(file.as_raw_fd()) };
    /// let page = rawmap::page_size()?.bytes();
    /// let mut space = Reservation::new(16 * page, Mode::Strict)?;
    /// let (behind, at) = (space.split_off(page)?, space.as_ptr());
    /// // SAFETY: a program's file is not written while it runs.
    /// let mut image = unsafe { MapOptions::new(page).file(&file, 0)? };
    /// space.place(&mut image)?;
    /// assert_eq!((image.as_ptr(), &image[1..4]), (at.cast_const(), &b"ELF"[..]));
    /// # drop(behind);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn place<A: Access>(self, mapping: &mut Mapping<A>) -> Result<(), Refused<Self>> {
        const OPERATION: &str = "Reservation::place";
        let wrong =
            |what, value, limit| Error::wrong(OPERATION, what, value, Wrong::Differs, limit);
        let (len, granule, page) = (mapping.mapped_len(), mapping.granule(), self.all.granule());
        if len != self.len() {
            let error = wrong("the mapping's length", len, self.len());
            return Err(Refused::new(self, error));
        }
        if granule != page && len != 0 {
            let error = wrong("the mapping's granule", granule.bytes(), page.bytes());
            return Err(Refused::new(self, error));
        }
        if len == 0 {
            return Ok(());
        }
        let ready = self
            .check_place(OPERATION)
            .and_then(|()| mapping.make_one_part(OPERATION))
            .and_then(|()| {
                // A place that is lost costs no memory.
                self.purge(..)
            });
        if let Err(error) = ready {
            return Err(Refused::new(self, error));
        }
        let mode = self.mode;
        move_over(mapping, self.all, mode.protection()).map_err(|refused| {
            let error = refused.error();
            match refused.into_owner() {
                Some(all) => Refused::new(Self { all, mode }, error),
                None => Refused::without_owner(error),
            }
        })
    }

    /// The error, if nothing may be moved to the place.
    fn check_place(&self, operation: &'static str) -> Result<(), Error> {
        if self.all.is_stack_ground()? {
            let at = self.as_ptr().addr();
            return Err(Error::wrong(operation, "the place", at, Wrong::StackGround, 0));
        }
        Ok(())
    }

    /// Turns it into a [`Raw`] mapping of the same range, to keep its parts in a static
    /// ([`Mapping::into_raw_parts`]), or for operations that a reservation does not have. No call.
    ///
    /// ```
    /// use rawmap::{Mode, Reservation};
    /// use std::sync::atomic::{AtomicPtr, Ordering};
    /// static HEAP: AtomicPtr<u8> = AtomicPtr::new(std::ptr::null_mut());
    /// let parts = Reservation::new(1 << 20, Mode::Overcommit)?.into_raw().into_raw_parts();
    /// HEAP.store(parts.start.as_ptr(), Ordering::Release);
    /// // SAFETY: committed in this mode, and never unmapped.
    /// assert_eq!(unsafe { HEAP.load(Ordering::Acquire).read() }, 0);
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    #[must_use]
    pub fn into_raw(self) -> Mapping<Raw> {
        self.all
    }

    /// Makes a reservation of a raw mapping, such as one that [`into_raw`](Self::into_raw) made. No call.
    ///
    /// # Safety
    /// - The mapping is private anonymous memory on ordinary pages, and consists of whole pages from its first
    ///   byte on.
    /// - In [`Mode::Overcommit`] all of it can be read and written.
    /// - The pages that can be read and written, and all others once they are committed, are as
    ///   [`assume`](Mapping::assume) asks for [`ReadWrite`]: none is guarded, and the kernel drops none
    ///   (`MADV_FREE`, `MAP_DROPPABLE`).
    /// - In [`Mode::Strict`] it is not `MAP_NORESERVE`, and does not lie where the main thread's stack may grow
    ///   ([`prepare`](crate::prepare)). A mapping that a reservation was turned into does not.
    ///
    /// ```
    /// use rawmap::{Mode, Reservation};
    /// let raw = Reservation::new(1 << 20, Mode::Strict)?.into_raw();
    /// // SAFETY: it was a reservation of that mode.
    /// let heap = unsafe { Reservation::from_raw(raw, Mode::Strict) };
    /// heap.commit(..)?;
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    #[must_use]
    pub const unsafe fn from_raw(mapping: Mapping<Raw>, mode: Mode) -> Self {
        Self { all: mapping, mode }
    }
}

impl<A: Access> Mapping<A> {
    /// Gives up what is mapped, and keeps the place as a reservation. It is the way back from
    /// [`Reservation::into_mapping`] and [`Reservation::place`].
    ///
    /// One call: `mmap(start, mapped_len, PROT_NONE, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)`; for
    /// [`Mode::Overcommit`] with `MAP_NORESERVE`, and one more, `mprotect(start, mapped_len,
    /// PROT_READ|PROT_WRITE)`. The kernel can then join the pages with their neighbours again.
    ///
    /// # Errors
    /// Those of [`mmap`](crate::mmap): ENOMEM where the process has as many mappings as it may have. It also
    /// fails if the mapping lies on huge pages, or where the main thread's stack may grow. After these errors
    /// the mapping comes back. For [`Mode::Overcommit`], it is unmapped if the `mprotect` is refused: under
    /// strict accounting (`vm.overcommit_memory` 2), over RLIMIT_DATA, with too many mappings, or by a filter.
    ///
    /// ```
    /// use rawmap::{Mode, Reservation};
    /// let mut space = Reservation::new(1 << 20, Mode::Strict)?;
    /// let rest = space.split_off(1 << 19)?;
    /// let image = space.into_mapping()?;
    /// // It is done with: the place is free for the next one.
    /// let mut space = image.into_reservation(Mode::Strict)?;
    /// space.try_unsplit(rest).unwrap();
    /// assert_eq!(space.len(), 1 << 20);
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub fn into_reservation(self, mode: Mode) -> Result<Reservation, Refused<Self>> {
        const OPERATION: &str = "Mapping::into_reservation";
        match self.check_reservable(OPERATION) {
            Ok(()) => {}
            Err(error) => return Err(Refused::new(self, error)),
        }
        let (base, len) = (self.base(), self.mapped_len());
        let (prot, reserve) = mode.protection();
        if len != 0 {
            // SAFETY: the range is ours (1), and by value nothing refers to it.
            if let Err(error) = unsafe { empty(base, len, reserve) } {
                return Err(Refused::new(self, error));
            }
        }
        let granule = self.into_raw_parts().granule;
        // SAFETY: `base` is the start of its first granule, or what stands for it where there is none; and so not
        // null.
        let start = unsafe { NonNull::new_unchecked(base) };
        // SAFETY: ours as before, whole pages of new private anonymous memory.
        let all: Mapping<Raw> = unsafe { Mapping::new(start, len, granule, Backing::Anonymous) };
        if prot != Prot::NONE {
            // What it held is gone: where so much may not be counted, the place goes as well.
            all.protect(.., prot).map_err(Refused::without_owner)?;
        }
        Ok(Reservation { all, mode })
    }

    fn check_reservable(&self, operation: &'static str) -> Result<(), Error> {
        let (granule, page) = (self.granule().bytes(), page_size()?.bytes());
        let base = self.base().addr();
        if granule != page && self.mapped_len() != 0 {
            Err(Error::wrong(operation, "the granule", granule, Wrong::Differs, page))
        } else if self.is_stack_ground()? {
            Err(Error::wrong(operation, "the memory", base, Wrong::StackGround, 0))
        } else {
            Ok(())
        }
    }
}

/// Replaces whole pages by address space that holds nothing.
///
/// One call: `mmap(addr, len, PROT_NONE, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)`. No file is asked and
/// nothing is counted, so that the kernel refuses before it unmaps (the process has too many mappings), or
/// because its own memory runs out. From Linux 6.12 on it then puts back what was there; before, one call
/// more takes the range again. That this fails as well is not considered (`owners/mod.rs`).
///
/// # Errors
/// Those of mmap; the range is as it was.
///
/// # Safety
/// The range belongs to the caller, is not of length 0, and nothing refers to its bytes.
unsafe fn empty(addr: *mut u8, len: usize, reserve: MapFlags) -> Result<(), Error> {
    let flags = MapFlags::PRIVATE.union(reserve);
    let over = Call::mmap_anonymous(addr, len, Prot::NONE, flags.union(MapFlags::FIXED));
    // SAFETY: what is replaced is the caller's, by its promise.
    match unsafe { issue(over) } {
        Ok(_) => Ok(()),
        Err(error) if error.errno() == Errno::ENOMEM => {
            let free = flags.union(MapFlags::FIXED_NOREPLACE);
            // SAFETY: it replaces nothing. A kernel that takes the flag for a hint places it elsewhere.
            match unsafe { issue(Call::mmap_anonymous(addr, len, Prot::NONE, free)) } {
                Ok(again) if again == addr => Ok(()),
                Ok(stray) => {
                    // SAFETY: mapped just now, and nobody's.
                    unsafe { give_back(stray, len, Backing::Anonymous) };
                    Err(error)
                }
                Err(_) => Err(error),
            }
        }
        Err(error) => Err(error),
    }
}
