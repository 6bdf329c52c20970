//! [`Mapping`]: a page range that is unmapped when it is dropped.

mod extent;
mod pages;
mod protection;
mod sealed;

pub use pages::Purged;
pub use protection::Guarded;
pub use sealed::Sealed;

use crate::flags::Prot;
use crate::owners::access::{Access, Executable, Raw, ReadOnly, ReadWrite};
use crate::owners::error::{Error, Wrong};
use crate::owners::place::{give_back, not_null};
use crate::owners::process::is_stack_ground;
use crate::owners::range::Lent;
use crate::page_size::PageSize;
use core::borrow::{Borrow, BorrowMut};
use core::marker::PhantomData;
use core::mem::ManuallyDrop;
use core::ops::{Deref, DerefMut, Range, RangeBounds};
use core::ptr::{NonNull, without_provenance_mut};
use core::{fmt, slice};

/// An owned mapping: a range of pages that is unmapped when it is dropped.
///
/// [`MapOptions`](crate::MapOptions) makes it. Its type says what may be done with the bytes: a [`ReadWrite`]
/// mapping derefs to `&mut [u8]`, and a [`ReadOnly`] or [`Executable`] one to `&[u8]`. A [`Raw`] one is reached
/// by raw pointers only, and may therefore be shared with others and protected in parts.
///
/// ```
/// use rawmap::MapOptions;
/// let mut memory = MapOptions::new(1 << 20).anonymous()?;
/// memory[..5].copy_from_slice(b"hello");
/// memory.resize(1 << 28)?; // the pages are moved, if at all, and nothing is copied
/// assert_eq!((&memory[..5], memory.len()), (&b"hello"[..], 1 << 28));
/// # Ok::<(), rawmap::Error>(())
/// ```
///
/// | to | see |
/// |---|---|
/// | ask what it is | [`mapped_len`](Self::mapped_len), [`granule`](Self::granule), [`backing`](Self::backing); if raw, [`as_ptr`](Mapping::as_ptr) and [`len`](Mapping::len) |
/// | change its extent | [`resize`](Self::resize), [`resize_in_place`](Self::resize_in_place), [`resize_file`](Mapping::resize_file), [`split_off`](Self::split_off), [`try_unsplit`](Self::try_unsplit), [`unmap`](Self::unmap) |
/// | give memory back | [`purge`](Self::purge), [`punch_hole`](Mapping::punch_hole), [`inwards`](Self::inwards), [`into_reservation`](Self::into_reservation) |
/// | have it resident | [`lock`](Self::lock), [`unlock`](Self::unlock), [`populate_read`](Self::populate_read), [`populate_write`](Self::populate_write), [`resident`](Self::resident) |
/// | write it to a file | [`sync`](Self::sync) |
/// | tell the kernel about it | [`advise`](Self::advise), [`advise_any`](Self::advise_any), [`name`](Self::name) |
/// | change its type | [`make_read_only`](Mapping::make_read_only), [`make_executable`](Mapping::make_executable), [`make_writable`](Mapping::make_writable), [`seal`](Self::seal), [`into_raw`](Self::into_raw), [`assume`](Mapping::assume) |
/// | run its code after a move | [`publish`](Mapping::publish), [`sync_threads`](Mapping::sync_threads) |
/// | protect parts, if raw | [`protect`](Mapping::protect), [`guard`](Mapping::guard), [`overlay`](Mapping::overlay) |
/// | keep it elsewhere | [`into_raw_parts`](Self::into_raw_parts), [`from_raw_parts`](Self::from_raw_parts), [`leak`](Mapping::leak) |
///
/// # Ranges
/// A range counts bytes, as the range of a slice does; `memory.lock(..)` locks all of it. Advice, locks and
/// writing back apply to every page that holds any of the bytes. An operation that destroys bytes or denies
/// access to them ([`purge`](Self::purge), [`guard`](Mapping::guard), [`protect`](Mapping::protect)) takes only
/// ranges of whole [granules](Self::granule), so that it touches nothing else; a range may also end where the
/// mapping does. [`inwards`](Self::inwards) gives the granules that lie wholly within a range.
///
/// The kernel may hold a mapping as several parts, which differ in protection, lock, advice or name. If it
/// refuses an operation on one part, it may already have done it on the parts before.
///
/// # After a fork
/// A child has a copy of the owner and of private memory; shared memory stays shared. What the child drops is
/// unmapped in its own address space only. The child may lack two things: pages of
/// [`huge`](crate::MapOptions::huge) memory, which the kernel takes from the child where it has too few (SIGBUS
/// in the child), and memory that was advised with `MADV_DONTFORK`.
pub struct Mapping<A: Access = ReadWrite> {
    // Invariants, which the SAFETY comments of the owners refer to by number:
    //
    // 1. Owned. If `len` is 0, nothing is owned. Else every granule that holds any of the `len` bytes from
    //    `start` on is mapped, and belongs to this owner alone: no one else unmaps, replaces or moves it.
    //    The kernel chose the place, or it was cut out of what an owner held.
    // 2. Sized. Those granules end before the last address, and are at most `isize::MAX` bytes.
    // 3. Granule. `granule` is the page size, or that of the huge pages that all of it lies on; so each part
    //    that is whole granules can be unmapped by itself.
    // 4. Lent. Unless it is `Raw`, each of the bytes can be read, and for `ReadWrite` written, at
    //    any time: a page stands behind it, or the kernel's ordinary promise of one. Only this owner's
    //    borrows reach the bytes; the pointer `start` may be used for all of them.
    // 5. Backing. `backing` tells what the bytes come from.
    // 6. Stack. Where the main thread's stack may grow, the owner changes no protection and does not grow in
    //    place (`process.rs`). Memory that the kernel placed there accessible keeps its distance for good.
    start: NonNull<u8>,
    len: usize,
    granule: PageSize,
    backing: Backing,
    access: PhantomData<A>,
}

/// What a mapping's bytes come from. It decides what happens when memory is given back ([`Mapping::purge`]).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Backing {
    /// Private memory without a file. It reads as zeroes until it is written.
    Anonymous,
    /// Memory without a file that is shared with forked children.
    SharedAnonymous,
    /// A private copy of a file. What is written can be seen through this mapping only.
    PrivateFile,
    /// A file's own bytes.
    SharedFile,
}

impl Backing {
    /// Whether dropping the pages takes them from this mapping only.
    #[inline]
    pub(in crate::owners) const fn is_private(self) -> bool {
        matches!(self, Self::Anonymous | Self::PrivateFile)
    }
}

// SAFETY: a mapping belongs to the process, not to a thread, and by invariant 1 its owner alone gives it
// back.
unsafe impl<A: Access> Send for Mapping<A> {}
// SAFETY: by `&`, bytes that are lent are only read (invariant 4); of raw ones there are only pointers,
// whose users synchronise; and the kernel orders its calls itself.
unsafe impl<A: Access> Sync for Mapping<A> {}

/// The parts of a [`Mapping`], to be kept where an owner can't be, such as in a static, and made a mapping
/// again later.
///
/// ```
/// use rawmap::{MapOptions, Mapping, ReadWrite};
/// let parts = MapOptions::new(1 << 20).anonymous()?.into_raw_parts();
/// // SAFETY: these are the parts of a mapping that could be
/// // written, and they are used once.
/// let memory: Mapping<ReadWrite> = unsafe { Mapping::from_raw_parts(parts)? };
/// assert_eq!(memory[(1 << 20) - 1], 0);
/// # Ok::<(), rawmap::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RawParts {
    /// The first byte. It may lie anywhere in its page.
    pub start: NonNull<u8>,
    /// The length in bytes.
    pub len: usize,
    /// The page size, or the size of the huge pages.
    pub granule: PageSize,
    /// What the bytes come from.
    pub backing: Backing,
}

impl<A: Access> Mapping<A> {
    /// A mapping of no bytes, which owns nothing. No call.
    ///
    /// ```
    /// use rawmap::Mapping;
    /// let text = Mapping::<rawmap::ReadOnly>::empty();
    /// assert_eq!(&text[..], b"");
    /// ```
    #[must_use]
    pub const fn empty() -> Self {
        // A multiple of any page size, so that a call of length 0 is none that the kernel refuses.
        let start = without_provenance_mut(1 << 20);
        Self {
            // SAFETY: that is not 0.
            start: unsafe { NonNull::new_unchecked(start) },
            len: 0,
            granule: PageSize::SMALLEST,
            backing: Backing::Anonymous,
            access: PhantomData,
        }
    }

    /// # Safety
    /// What is given makes invariants 1 to 5 true.
    #[inline]
    pub(in crate::owners) const unsafe fn new(
        start: NonNull<u8>,
        len: usize,
        granule: PageSize,
        backing: Backing,
    ) -> Self {
        Self { start, len, granule, backing, access: PhantomData }
    }

    /// The owner of nothing, with this granule; unless that is a huge page's, of which its address is no multiple.
    pub(in crate::owners) fn nothing(granule: PageSize) -> Self {
        let mut nothing = Self::empty();
        if granule.is_aligned(nothing.start.addr().get()) {
            nothing.granule = granule;
        }
        nothing
    }

    /// Takes ownership of memory that [`into_raw_parts`](Self::into_raw_parts) has given up, or that was mapped
    /// otherwise. No call.
    ///
    /// # Errors
    /// Fails if the granule is less than the page size, or if the granules that hold the bytes take up more
    /// than `isize::MAX` bytes; then nothing is owned.
    ///
    /// # Safety
    /// For length 0 there is no condition, and the result is [`empty`](Self::empty). Else:
    /// - Every granule that holds any of the bytes is mapped, is made of whole pages of size `granule`, and
    ///   belongs to nobody else.
    /// - `start` may be used for all of them.
    /// - The memory comes from what `backing` says, and is not `MAP_GROWSDOWN`.
    /// - If the memory is shared, nobody else relies on what it holds: safe methods free it
    ///   ([`purge`](Self::purge), [`punch_hole`](Self::punch_hole)).
    /// - The kernel chose the place of the memory, or of a mapping that it was part of; and if it was
    ///   inaccessible then, only an owner has made it accessible since. Memory at any other place neither lies
    ///   where the main thread's stack may grow ([`prepare`](crate::prepare)), nor borders on a stack.
    /// - For [`ReadOnly`], [`ReadWrite`] and [`Executable`], what [`assume`](Mapping::assume) asks for.
    ///
    /// ```
    /// use rawmap::{Backing, MapFlags, Mapping, Prot, Raw, RawParts, mmap_anonymous, page_size};
    /// use core::ptr::{NonNull, null_mut};
    /// let granule = page_size()?;
    /// // SAFETY: a new mapping, which replaces nothing.
    /// let new = unsafe { mmap_anonymous(null_mut(), 1 << 20, Prot::NONE, MapFlags::PRIVATE) };
    /// let start = NonNull::new(new.unwrap()).unwrap();
    /// let parts = RawParts { start, len: 1 << 20, granule, backing: Backing::Anonymous };
    /// // SAFETY: mapped just now, on ordinary pages, private and
    /// // anonymous.
    /// let space: Mapping<Raw> = unsafe { Mapping::from_raw_parts(parts)? };
    /// assert_eq!(space.len(), 1 << 20); // and unmapped here
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub unsafe fn from_raw_parts(parts: RawParts) -> Result<Self, Error> {
        const OPERATION: &str = "Mapping::from_raw_parts";
        let RawParts { start, len, granule, backing } = parts;
        let page = crate::owners::page_size()?.bytes();
        if len == 0 {
            return Ok(Self::nothing(granule));
        }
        if granule.bytes() < page {
            return Err(Error::wrong(
                OPERATION,
                "the granule",
                granule.bytes(),
                Wrong::TooSmall,
                page,
            ));
        }
        let head = start.addr().get() & (granule.bytes() - 1);
        let whole = head.checked_add(len).and_then(|bytes| granule.round_up(bytes));
        let ends = |bytes: &usize| {
            *bytes <= isize::MAX as usize
                && (start.addr().get() - head).checked_add(*bytes).is_some()
        };
        if whole.filter(ends).is_none() {
            return Err(Error::wrong(
                OPERATION,
                "the length",
                len,
                Wrong::TooLong,
                isize::MAX as usize,
            ));
        }
        // SAFETY: the caller's promise; 2 was looked at just now.
        Ok(unsafe { Self::new(start, len, granule, backing) })
    }

    /// Gives up the mapping without unmapping it, and returns the parts that [`from_raw_parts`] takes. No call.
    ///
    /// [`from_raw_parts`]: Self::from_raw_parts
    ///
    /// ```
    /// use rawmap::{MapOptions, Mapping, Prot, Raw, Sharing};
    /// let shared = MapOptions::new(1).raw(Prot::READ | Prot::WRITE, Sharing::Shared)?;
    /// let parts = shared.into_raw_parts();
    /// // SAFETY: parts of a raw mapping, used once.
    /// let shared: Mapping<Raw> = unsafe { Mapping::from_raw_parts(parts)? };
    /// assert_eq!(shared.len(), 1);
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    #[must_use = "the mapping is leaked unless these are kept"]
    pub fn into_raw_parts(self) -> RawParts {
        let this = ManuallyDrop::new(self);
        RawParts { start: this.start, len: this.len, granule: this.granule, backing: this.backing }
    }

    /// Turns it into a [`Raw`] mapping of the same bytes, which are then reached by raw pointers. No call.
    ///
    /// ```
    /// use rawmap::{MapOptions, Prot};
    /// let mut table = MapOptions::new(1 << 20).anonymous()?;
    /// table.fill(7);
    /// let table = table.into_raw();
    /// table.protect(.., Prot::READ)?;
    /// // SAFETY: ours, and it can be read.
    /// assert_eq!(unsafe { table.as_ptr().read() }, 7);
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    #[must_use]
    pub fn into_raw(self) -> Mapping<Raw> {
        // SAFETY: `Raw` promises nothing.
        unsafe { self.with_access() }
    }

    /// # Safety
    /// The bytes are what `B` promises (invariant 4).
    #[inline]
    pub(in crate::owners) unsafe fn with_access<B: Access>(self) -> Mapping<B> {
        let this = ManuallyDrop::new(self);
        // SAFETY: the owner is given up, and its invariants hold for the new one; 4 by the caller's promise.
        unsafe { Mapping::new(this.start, this.len, this.granule, this.backing) }
    }

    /// How many bytes are really mapped: all granules that hold any of the mapping's bytes.
    ///
    /// ```
    /// use rawmap::MapOptions;
    /// let memory = MapOptions::new(100).anonymous()?;
    /// assert_eq!((memory.len(), memory.mapped_len()), (100, memory.granule().bytes()));
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    #[must_use]
    #[inline]
    pub fn mapped_len(&self) -> usize {
        if self.len == 0 { 0 } else { self.lent().end(self.len) }
    }

    /// The size of the pages that the mapping is made of: the page size, or the size of its huge pages.
    ///
    /// ```
    /// use rawmap::MapOptions;
    /// let heap = MapOptions::new(1 << 20).anonymous()?;
    /// assert_eq!(heap.granule(), rawmap::page_size()?);
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    #[must_use]
    pub const fn granule(&self) -> PageSize {
        self.granule
    }

    /// What the mapping's bytes come from.
    ///
    /// ```
    /// use rawmap::{Backing, MapOptions};
    /// assert_eq!(MapOptions::new(1).anonymous()?.backing(), Backing::Anonymous);
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    #[must_use]
    pub const fn backing(&self) -> Backing {
        self.backing
    }

    /// The whole granules that lie within a range of bytes: the largest part of it that [`purge`](Self::purge),
    /// [`guard`](Mapping::guard) and [`protect`](Mapping::protect) take. Empty if there are none. No call.
    ///
    /// # Errors
    /// Fails if the range does not lie within the mapping.
    ///
    /// ```
    /// use rawmap::MapOptions;
    /// let mut heap = MapOptions::new(1 << 20).anonymous()?;
    /// let page = heap.granule().bytes();
    /// // A block of the heap that was freed, and the pages that
    /// // nothing else lies on.
    /// let pages = heap.inwards(100..3 * page + 100)?;
    /// assert_eq!(pages, page..3 * page);
    /// heap.purge(pages)?;
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub fn inwards(&self, range: impl RangeBounds<usize>) -> Result<Range<usize>, Error> {
        self.lent().inwards("Mapping::inwards", range)
    }

    /// What is lent, and of what.
    #[inline]
    pub(in crate::owners) fn lent(&self) -> Lent {
        let head = self.start.addr().get() & (self.granule.bytes() - 1);
        Lent { head, len: self.len, granule: self.granule }
    }

    /// The first granule's start: the address that the kernel knows.
    #[inline]
    pub(in crate::owners) fn base(&self) -> *mut u8 {
        self.start.as_ptr().wrapping_sub(self.lent().head)
    }

    /// # Safety
    /// The granules lie at `base` now, which is not null, and no longer where they were.
    pub(in crate::owners) unsafe fn set_base(&mut self, base: *mut u8) {
        let start = base.wrapping_add(self.lent().head);
        // SAFETY: the caller's promise.
        self.start = unsafe { NonNull::new_unchecked(start) };
    }

    /// The address and length of granules, given from the first one's start.
    #[inline]
    fn at(&self, granules: Range<usize>) -> (*mut u8, usize) {
        (self.base().wrapping_add(granules.start), granules.len())
    }

    /// Whether any of it lies where the main thread's stack may grow.
    #[inline]
    pub(in crate::owners) fn is_stack_ground(&self) -> Result<bool, Error> {
        let start = self.base().addr();
        is_stack_ground(start, start + self.mapped_len())
    }
}

impl Mapping<Raw> {
    /// The owner of what a call has mapped at `addr`. An error at address 0.
    ///
    /// # Safety
    /// As [`new`](Self::new), but for the address.
    #[inline]
    pub(in crate::owners) unsafe fn adopt(
        addr: *mut u8,
        len: usize,
        granule: PageSize,
        backing: Backing,
    ) -> Result<Self, Error> {
        let start = not_null("mmap", addr)?;
        // SAFETY: the caller's promise, of whole granules.
        Ok(unsafe { Self::new(start, len, granule, backing) })
    }

    /// A pointer to the first byte. It may be used for what the protection allows, until the mapping is
    /// dropped, resized or moved.
    ///
    /// ```
    /// use rawmap::{MapOptions, Prot, Sharing};
    /// let block = MapOptions::new(64).raw(Prot::READ | Prot::WRITE, Sharing::Private)?;
    /// // SAFETY: the first eight bytes, aligned as a page is, which
    /// // nothing borrows.
    /// unsafe { block.as_ptr().cast::<u64>().write(7) };
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    #[must_use]
    pub const fn as_ptr(&self) -> *mut u8 {
        self.start.as_ptr()
    }

    /// The length in bytes, as it was asked for.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether it owns nothing.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Turns a raw mapping into one of type `B`, which derefs to a slice. No call.
    ///
    /// # Safety
    /// For as long as the result lives, or a mapping that a safe method makes of it:
    /// - Each of its bytes can be read, and for [`ReadWrite`] written, at any time and by any thread. So none
    ///   is guarded, nor under a protection key that a thread lacks.
    /// - The bytes change through the result only. Nobody else writes them, by a mapping or by a call (such as
    ///   [`purge`](Self::purge) and [`punch_hole`](Self::punch_hole) of another owner of shared memory), and
    ///   the kernel does not drop them (`MAP_DROPPABLE`, `MADV_FREE`). For [`ReadWrite`], nobody else reads
    ///   them by a mapping either. "Somebody else" includes a forked child that shares the memory, and a second
    ///   place in the mapping itself: no byte lies in it twice, as each does in a ring.
    /// - All of the bytes come from what [`backing`](Self::backing) says: nothing else was
    ///   [laid over](Self::overlay) them.
    /// - There is a page for each byte, or the kernel has promised one as usual: huge pages are populated, and
    ///   neither they nor shared memory are `MAP_NORESERVE`. For a file, what [`file`](crate::MapOptions::file)
    ///   and [`file_mut`](crate::MapOptions::file_mut) ask for holds.
    ///
    /// ```
    /// use rawmap::{MapOptions, Mapping, Prot, ReadOnly, Sharing};
    /// let rom = MapOptions::new(16).raw(Prot::READ, Sharing::Private)?;
    /// // SAFETY: private memory that can be read, and that nobody
    /// // writes.
    /// let rom: Mapping<ReadOnly> = unsafe { rom.assume() };
    /// assert_eq!(rom[..], [0; 16]);
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    #[must_use]
    pub unsafe fn assume<B: Access>(self) -> Mapping<B> {
        // SAFETY: the caller's promise.
        unsafe { self.with_access() }
    }
}

impl Mapping<ReadWrite> {
    /// Gives up the mapping without unmapping it, and returns its bytes, which are valid until the process
    /// ends. No call.
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
        // SAFETY: as for deref_mut; and with the owner gone, nobody gives the bytes back.
        unsafe { slice::from_raw_parts_mut(this.start.as_ptr(), this.len) }
    }
}

impl Deref for Mapping<ReadOnly> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: `start` is not null, and may be used for `len` bytes that can be read (4), at most
        // isize::MAX of them (2), which nobody writes (4) nor gives back (1) while this is borrowed.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl Deref for Mapping<Executable> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: as for ReadOnly.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl Deref for Mapping<ReadWrite> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: as for ReadOnly; they are written through `&mut` of this owner alone (4).
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl DerefMut for Mapping<ReadWrite> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as for deref; they can be written (4), and by `&mut` this is the only borrow.
        unsafe { slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl AsRef<[u8]> for Mapping<ReadOnly> {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl AsRef<[u8]> for Mapping<Executable> {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl AsRef<[u8]> for Mapping<ReadWrite> {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl AsMut<[u8]> for Mapping<ReadWrite> {
    fn as_mut(&mut self) -> &mut [u8] {
        self
    }
}

impl Borrow<[u8]> for Mapping<ReadOnly> {
    fn borrow(&self) -> &[u8] {
        self
    }
}

impl Borrow<[u8]> for Mapping<Executable> {
    fn borrow(&self) -> &[u8] {
        self
    }
}

impl Borrow<[u8]> for Mapping<ReadWrite> {
    fn borrow(&self) -> &[u8] {
        self
    }
}

impl BorrowMut<[u8]> for Mapping<ReadWrite> {
    fn borrow_mut(&mut self) -> &mut [u8] {
        self
    }
}

impl<A: Access> Default for Mapping<A> {
    /// [`empty`](Self::empty).
    fn default() -> Self {
        Self::empty()
    }
}

impl<A: Access> Drop for Mapping<A> {
    /// Unmaps it: one call, `munmap(start, mapped_len)`. If the kernel refuses that, private memory is freed
    /// nevertheless, unless it is sealed, by `madvise(start, mapped_len, MADV_DONTNEED)` (and
    /// `MADV_DONTNEED_LOCKED` if that is refused), and then costs address space only; shared memory stays.
    /// [`unmap`](Self::unmap) returns the error.
    #[inline]
    fn drop(&mut self) {
        if self.len != 0 {
            // SAFETY: all of it is ours (1), whole granules (3), and nothing can refer to it any more.
            unsafe { give_back(self.base(), self.mapped_len(), self.backing) };
        }
    }
}

impl<A: Access> fmt::Debug for Mapping<A> {
    /// Prints its address, length, granule and backing, but not its bytes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mapping")
            .field("start", &self.start)
            .field("len", &self.len)
            .field("granule", &self.granule)
            .field("backing", &self.backing)
            .finish()
    }
}

/// Reading and writing, which most memory is for.
pub(in crate::owners) const RW: Prot = Prot::READ.union(Prot::WRITE);

/// Reading and running.
pub(in crate::owners) const RX: Prot = Prot::READ.union(Prot::EXEC);
