//! How a new mapping shall be: [`MapOptions`], and the access that its type grants.

use super::error::made;
use super::{Error, Mapping, page_size};
use crate::arch::{self, nr};
use crate::{Call, Errno, MapFlags, NO_FD, PageSize, Prot, RawFd, Word};
use core::ffi::CStr;
use core::marker::PhantomData;
use core::ptr::{NonNull, null_mut};

/// What a mapping's type promises of its bytes. One of [`Raw`], [`ReadOnly`], [`ReadWrite`].
///
/// ```
/// use rawmap::{Access, MapOptions, Mapping};
/// fn unused<A: Access>(map: &Mapping<A>) -> usize {
///     map.mapped_len() - map.len()
/// }
/// assert_eq!(unused(&MapOptions::new(1 << 20).anonymous()?), 0);
/// assert_ne!(unused(&MapOptions::new(1).shared().anonymous()?), 0);
/// # Ok::<(), rawmap::Error>(())
/// ```
pub trait Access: sealed::Sealed {}

mod sealed {
    /// Implemented for the three kinds of access only.
    pub trait Sealed {}
}

/// Nothing is promised: any protection and any sharing, reached by raw pointers.
///
/// ```
/// use rawmap::{MapOptions, Mapping, Raw};
/// use std::sync::atomic::{AtomicU32, Ordering};
/// let queue: Mapping<Raw> = MapOptions::new(4).shared().anonymous()?;
/// // SAFETY: the first word of `queue`, which outlives it; whoever shares it uses atomics too.
/// let tail = unsafe { AtomicU32::from_ptr(queue.as_ptr().cast()) };
/// assert_eq!(tail.fetch_add(1, Ordering::Relaxed), 0);
/// # Ok::<(), rawmap::Error>(())
/// ```
#[derive(Debug)]
pub enum Raw {}

/// Every byte can be read, and nobody writes it: the mapping is a `&[u8]`.
///
/// ```
/// use rawmap::{MapOptions, Mapping, ReadOnly};
/// let rom: Mapping<ReadOnly> = MapOptions::new(16).read_only().anonymous()?;
/// assert_eq!(rom.first_chunk(), Some(&[0; 16]));
/// # Ok::<(), rawmap::Error>(())
/// ```
#[derive(Debug)]
pub enum ReadOnly {}

/// Every byte can be read and written, by the owner alone: the mapping is a `&mut [u8]`.
///
/// ```
/// use rawmap::{MapOptions, Mapping, ReadWrite};
/// let mut digits: Mapping<ReadWrite> = MapOptions::new(4).anonymous()?;
/// digits.copy_from_slice(&[3, 1, 4, 1]);
/// digits.sort();
/// assert_eq!(digits[..], [1, 1, 3, 4]);
/// # Ok::<(), rawmap::Error>(())
/// ```
#[derive(Debug)]
pub enum ReadWrite {}

impl sealed::Sealed for Raw {}
impl sealed::Sealed for ReadOnly {}
impl sealed::Sealed for ReadWrite {}
impl Access for Raw {}
impl Access for ReadOnly {}
impl Access for ReadWrite {}

/// Where a mapping's bytes come from, which decides what a purge does to them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Origin {
    Anonymous,
    SharedAnonymous,
    File,
    /// Parts of different origin.
    Mixed,
}

/// Options for a new [`Mapping`]: length, protection, sharing, placement and the rest.
///
/// The type parameter is what the mapping's type will promise. It begins as [`ReadWrite`]: private
/// memory that can be read and written, a `&mut [u8]`. [`read_only`](Self::read_only) makes it
/// [`ReadOnly`]; what allows anything else ([`prot`](Self::prot), [`shared`](Self::shared)) makes it
/// [`Raw`].
///
/// ```
/// use rawmap::MapOptions;
/// let mut memory = MapOptions::new(1 << 20).populate().anonymous()?;
/// memory[0] = 1;
/// assert_eq!(memory.len(), 1 << 20);
/// # Ok::<(), rawmap::Error>(())
/// ```
#[must_use = "options do nothing until a mapping is made with them"]
#[derive(Debug)]
pub struct MapOptions<A: Access = ReadWrite> {
    len: usize,
    hint: *mut u8,
    align: usize,
    prot: Prot,
    flags: MapFlags,
    name: Option<&'static CStr>,
    access: PhantomData<A>,
}

impl<A: Access> Clone for MapOptions<A> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<A: Access> Copy for MapOptions<A> {}

impl MapOptions {
    /// A private mapping of `len` bytes that can be read and written, placed by the kernel.
    ///
    /// ```
    /// use rawmap::MapOptions;
    /// const CHUNK: MapOptions = MapOptions::new(64 << 10);
    /// let (first, second) = (CHUNK.anonymous()?, CHUNK.anonymous()?);
    /// assert_ne!(first.as_ptr(), second.as_ptr());
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub const fn new(len: usize) -> Self {
        Self {
            len,
            hint: null_mut(),
            align: 1,
            prot: Prot::READ.union(Prot::WRITE),
            flags: MapFlags::PRIVATE,
            name: None,
            access: PhantomData,
        }
    }

    /// It can be read, and not written.
    ///
    /// ```
    /// use rawmap::MapOptions;
    /// // However much of it is read, it takes no memory but page tables.
    /// let zeroes = MapOptions::new(1 << 20).read_only().anonymous()?;
    /// assert!(zeroes.iter().all(|byte| *byte == 0));
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub const fn read_only(self) -> MapOptions<ReadOnly> {
        let mut options = self.with();
        options.prot = Prot::READ;
        options
    }
}

impl<A: Access> MapOptions<A> {
    const fn with<B: Access>(self) -> MapOptions<B> {
        let Self { len, hint, align, prot, flags, name, access: _ } = self;
        MapOptions { len, hint, align, prot, flags, name, access: PhantomData }
    }

    const fn flag(mut self, flag: MapFlags) -> Self {
        self.flags = self.flags.union(flag);
        self
    }

    /// Any protection, which leaves only raw pointers.
    ///
    /// ```
    /// use rawmap::{MapOptions, Prot};
    /// let space = MapOptions::new(1 << 30).prot(Prot::NONE).anonymous()?;
    /// space.protect(0, 1 << 20, Prot::READ | Prot::WRITE)?;
    /// // SAFETY: the first MiB is ours, and can be read now.
    /// assert_eq!(unsafe { space.as_ptr().read() }, 0);
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub const fn prot(self, prot: Prot) -> MapOptions<Raw> {
        let mut options = self.with();
        options.prot = prot;
        options
    }

    /// Shared: a file's bytes themselves, or anonymous memory that forked children share. Others
    /// may write it, which leaves only raw pointers.
    ///
    /// ```
    /// use rawmap::MapOptions;
    /// # fn in_child(f: impl FnOnce()) {
    /// #     // SAFETY: the child calls `f`, which takes no lock, and runs no exit handlers.
    /// #     unsafe {
    /// #         match libc::fork() {
    /// #             0 => (f(), libc::_exit(0)).1,
    /// #             child => assert_eq!(libc::waitpid(child, std::ptr::null_mut(), 0), child),
    /// #         }
    /// #     }
    /// # }
    /// let answer = MapOptions::new(1).shared().anonymous()?;
    /// // SAFETY: a byte of ours, which nothing borrows.
    /// in_child(|| unsafe { answer.as_ptr().write(42) });
    /// // SAFETY: as above, and the child has ended.
    /// assert_eq!(unsafe { answer.as_ptr().read() }, 42);
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub const fn shared(self) -> MapOptions<Raw> {
        let mut options = self.with();
        let unshared = self.flags.intersection(MapFlags::TYPE.complement());
        options.flags = unshared.union(MapFlags::SHARED);
        options
    }

    /// Where to place it, if that is free.
    ///
    /// ```
    /// use rawmap::MapOptions;
    /// let first = MapOptions::new(1 << 20).anonymous()?;
    /// // That place is taken: the kernel finds another one, and replaces nothing.
    /// let second = MapOptions::new(1 << 20).hint(first.as_ptr()).anonymous()?;
    /// assert_ne!(second.as_ptr(), first.as_ptr());
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub const fn hint(mut self, addr: *mut u8) -> Self {
        self.hint = addr;
        self
    }

    /// Place it at a multiple of `align` bytes, a power of two. Above the granule this costs two more
    /// calls: room is looked for, `mmap(hint, len + align - page, PROT_NONE, ...)` and `munmap`, and
    /// taken with `MAP_FIXED_NOREPLACE`; again if another thread was faster (EEXIST after the eighth
    /// time).
    ///
    /// For many, [`Reservation::aligned`](crate::Reservation::aligned) costs hardly any.
    ///
    /// ```
    /// use rawmap::MapOptions;
    /// const HUGE: usize = 2 << 20;
    /// // Aligned so, it can lie on transparent huge pages of 2 MiB to its ends.
    /// let heap = MapOptions::new(4 * HUGE).align(HUGE).anonymous()?;
    /// assert_eq!(heap.as_ptr().addr() % HUGE, 0);
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub const fn align(mut self, align: usize) -> Self {
        self.align = align;
        self
    }

    /// `MAP_POPULATE`: make it resident at once. Failure to is not reported;
    /// [`Mapping::populate_write`] reports it.
    ///
    /// ```
    /// use rawmap::MapOptions;
    /// let ready = MapOptions::new(1 << 20).populate().anonymous()?;
    /// let mut pages = [0; 256]; // of 4 KiB, or fewer larger ones
    /// assert!(ready.resident(0, ready.len(), &mut pages)?.iter().all(|page| page & 1 == 1));
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub const fn populate(self) -> Self {
        self.flag(MapFlags::POPULATE)
    }

    /// `MAP_NORESERVE`: reserve no swap space for it.
    ///
    /// ```
    /// use rawmap::MapOptions;
    /// // A table by hash, of which little will ever be used.
    /// let mut sparse = MapOptions::new(1 << 28).noreserve().anonymous()?;
    /// sparse[0x0bad_cafe] = 1;
    /// assert_eq!(sparse.resident(0, 1, &mut [0])?, [0]);
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub const fn noreserve(self) -> Self {
        self.flag(MapFlags::NORESERVE)
    }

    /// `MAP_LOCKED`: lock it into memory.
    ///
    /// ```
    /// use rawmap::MapOptions;
    /// let key = MapOptions::new(32).locked().anonymous()?;
    /// // Resident before it was touched, and not to be swapped out.
    /// assert_eq!(key.resident(0, key.len(), &mut [0])?[0] & 1, 1);
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub const fn locked(self) -> Self {
        self.flag(MapFlags::LOCKED)
    }

    /// `MAP_STACK`: it is for a stack; keeps transparent huge pages away (Linux 6.7).
    ///
    /// For one with a guard, there is [`Stack`](crate::Stack).
    ///
    /// ```
    /// use rawmap::MapOptions;
    /// let fiber = MapOptions::new(64 << 10).stack().anonymous()?;
    /// let top = fiber.as_ptr_range().end;
    /// assert_eq!(top.addr() % 16, 0); // as the ABI has it
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub const fn stack(self) -> Self {
        self.flag(MapFlags::STACK)
    }

    /// `MAP_GROWSDOWN`: it grows down when the page below it is touched. What it grows by is not
    /// owned: it stays mapped when the owner is dropped.
    ///
    /// ```
    /// use rawmap::{Error, MapOptions, Prot};
    /// let stack = MapOptions::new(64 << 10).growsdown().anonymous()?;
    /// // That would reach down to where it has grown, and so further than the owner.
    /// let reaches = Prot::READ | Prot::GROWSDOWN;
    /// assert_eq!(stack.protect(0, 1, reaches), Err(Error::NotOffered));
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub const fn growsdown(self) -> MapOptions<Raw> {
        self.flag(MapFlags::GROWSDOWN).with()
    }

    /// Memory that the kernel may take away when it needs it, after which it reads as zeroes
    /// (`MAP_DROPPABLE`, Linux 6.11), which leaves only raw pointers. Anonymous only.
    ///
    /// ```
    /// use rawmap::{MapOptions, Mapping};
    /// // For an older kernel, which says EINVAL.
    /// let stays = || MapOptions::new(1 << 20).anonymous().map(Mapping::into_raw_access);
    /// let cache = MapOptions::new(1 << 20).droppable().anonymous().or_else(|_| stays())?;
    /// // SAFETY: ours, and readable either way.
    /// assert_eq!(unsafe { cache.as_ptr().read() }, 0);
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub const fn droppable(self) -> MapOptions<Raw> {
        let mut options = self.with();
        let unshared = self.flags.intersection(MapFlags::TYPE.complement());
        options.flags = unshared.union(MapFlags::DROPPABLE);
        options
    }

    /// `MAP_HUGETLB` with pages of 2 to the power `log2` bytes: 21 for 2 MiB, 30 for 1 GiB. The
    /// length is rounded up to them, and they are the granule. The system's default size, 0, is
    /// refused ([`Error::HugeSizeUnknown`]): what it is can't be seen from here, and without it the
    /// mapping could not be unmapped.
    ///
    /// A file on hugetlbfs needs this too, with its own size: its pages are huge without the flag, and
    /// a mapping of another granule would not be unmapped whole.
    ///
    /// ```
    /// use rawmap::MapOptions;
    /// let options = MapOptions::new(3 << 20);
    /// // Two huge pages; or, where the system has none to give, ordinary ones.
    /// let heap = options.huge(21).anonymous().or_else(|_| options.anonymous())?;
    /// assert_eq!(heap.mapped_len() % heap.granule().bytes(), 0);
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub const fn huge(mut self, log2: u32) -> Self {
        let field = MapFlags::huge(MapFlags::HUGE_MASK as u32);
        self.flags = self.flags.intersection(field.complement());
        self.flag(MapFlags::huge(log2))
    }

    /// Any other flag of mmap, such as a new kernel's. A sharing among them is not taken, nor
    /// `MAP_FIXED`, nor `MAP_FIXED_NOREPLACE`, which is [`place`](Self::place).
    ///
    /// ```
    /// use rawmap::{MapFlags, MapOptions};
    /// let new = MapFlags::from_bits(1 << 24);
    /// let error = MapOptions::new(0).flags(new).anonymous().unwrap_err();
    /// assert!(error.to_string().contains("MAP_PRIVATE|MAP_ANONYMOUS|0x1000000"));
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub const fn flags(self, flags: MapFlags) -> MapOptions<Raw> {
        let fixed = MapFlags::FIXED.union(MapFlags::FIXED_NOREPLACE);
        let mask = MapFlags::TYPE.union(fixed).complement();
        self.flag(flags.intersection(mask)).with()
    }

    /// The name of anonymous memory in /proc/pid/maps (Linux 5.17). One call more,
    /// `prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, ...)`; its failure is not reported, since kernels
    /// may be built without it.
    ///
    /// ```
    /// use rawmap::MapOptions;
    /// let heap = MapOptions::new(1 << 20).name(c"heap").anonymous()?;
    /// let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    /// // Where the kernel knows names at all.
    /// assert!(maps.contains("[anon:heap]") || !maps.contains("[anon:"));
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub const fn name(mut self, name: &'static CStr) -> Self {
        self.name = Some(name);
        self
    }

    /// Maps anonymous memory: zeroes.
    ///
    /// One call: `mmap(hint, len, prot, flags|MAP_ANONYMOUS, -1, 0)`, with the length rounded up to
    /// the granule; with [`align`](Self::align) and [`name`](Self::name) those that they cost.
    ///
    /// # Errors
    /// Those of [`mmap`](crate::mmap); and a length over `isize::MAX`, or an alignment that is not a
    /// power of two. Nothing is left mapped.
    ///
    /// ```
    /// use rawmap::MapOptions;
    /// let block = MapOptions::new(100_000).anonymous()?;
    /// assert!(block.len() == 100_000 && block.iter().all(|byte| *byte == 0));
    /// assert!(MapOptions::new(usize::MAX).anonymous().is_err());
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    #[inline]
    pub fn anonymous(self) -> Result<Mapping<A>, Error> {
        let shared = self.flags.contains(MapFlags::SHARED);
        let origin = if shared { Origin::SharedAnonymous } else { Origin::Anonymous };
        // SAFETY: anonymous memory is reached through its owner alone.
        unsafe { self.flag(MapFlags::ANONYMOUS).map(NO_FD, 0, origin) }
    }

    /// Maps `len` bytes of the open file `fd` from `offset` on, in bytes; a multiple of the page
    /// size. The descriptor may be closed afterwards.
    ///
    /// One call: `mmap(hint, len, prot, flags, fd, offset)`; with [`align`](Self::align) those that
    /// it costs. Pages wholly behind the end of the file are SIGBUS.
    ///
    /// # Errors
    /// As [`anonymous`](Self::anonymous).
    ///
    /// # Safety
    /// `fd` must be a descriptor that the caller may use. For [`ReadOnly`] and [`ReadWrite`],
    /// nobody may write the file while it is mapped, since a `&[u8]` must not change; and it must
    /// have the bytes that are mapped, also after the mapping grew.
    ///
    /// ```
    /// # use std::os::fd::AsRawFd;
    /// use rawmap::MapOptions;
    /// let file = std::fs::File::open("/proc/self/exe")?;
    /// // SAFETY: a program's file isn't written while it runs.
    /// let map = unsafe { MapOptions::new(4).read_only().file(file.as_raw_fd(), 0) }.unwrap();
    /// assert_eq!(&map[..], b"\x7fELF");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub unsafe fn file(self, fd: RawFd, offset: u64) -> Result<Mapping<A>, Error> {
        // SAFETY: the caller's promise.
        unsafe { self.map(fd, offset, Origin::File) }
    }

    /// Maps anonymous memory exactly at the hint, if nothing is mapped there.
    ///
    /// One call: `mmap(hint, len, prot, flags|MAP_ANONYMOUS|MAP_FIXED_NOREPLACE, -1, 0)`. A kernel
    /// before 4.17, or an emulator, takes the flag for a hint: what it placed elsewhere is unmapped
    /// again, with one more call. [`align`](Self::align) is not looked at.
    ///
    /// # Errors
    /// As [`anonymous`](Self::anonymous), but that the place is taken is none.
    ///
    /// ```
    /// use rawmap::{MapOptions, Placed};
    /// let first = MapOptions::new(1).anonymous()?;
    /// let second = MapOptions::new(1).hint(first.as_ptr()).place()?;
    /// assert!(matches!(second, Placed::Occupied));
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub fn place(self) -> Result<Placed<A>, Error> {
        self.exactly(Self::anonymous)
    }

    /// Maps a file exactly at the hint, if nothing is mapped there: [`file`](Self::file) as
    /// [`place`](Self::place) does it.
    ///
    /// One call: `mmap(hint, len, prot, flags|MAP_FIXED_NOREPLACE, fd, offset)`, or one more.
    ///
    /// # Errors
    /// As [`file`](Self::file), but that the place is taken is none.
    ///
    /// # Safety
    /// As [`file`](Self::file).
    ///
    /// ```
    /// # use std::os::fd::AsRawFd;
    /// use rawmap::{MapOptions, Placed};
    /// let file = std::fs::File::open("/proc/self/exe").unwrap();
    /// let at = MapOptions::new(4).read_only().hint(std::ptr::without_provenance_mut(1 << 32));
    /// // SAFETY: a program's file isn't written while it runs.
    /// if let Placed::Placed(map) = unsafe { at.place_file(file.as_raw_fd(), 0)? } {
    ///     assert_eq!((map.as_ptr().addr(), &map[..]), (1 << 32, &b"\x7fELF"[..]));
    /// }
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub unsafe fn place_file(self, fd: RawFd, offset: u64) -> Result<Placed<A>, Error> {
        // SAFETY: the caller's promise.
        self.exactly(|options| unsafe { options.file(fd, offset) })
    }

    fn exactly(
        self,
        map: impl FnOnce(Self) -> Result<Mapping<A>, Error>,
    ) -> Result<Placed<A>, Error> {
        let addr = self.hint;
        match map(self.align(1).flag(MapFlags::FIXED_NOREPLACE)) {
            Ok(mapping) if mapping.as_ptr().addr() == addr.addr() => Ok(Placed::Placed(mapping)),
            Ok(stray) => stray.unmap().map(|()| Placed::Occupied).map_err(|(_, error)| error),
            Err(Error::Refused { errno: Errno::EEXIST, .. }) => Ok(Placed::Occupied),
            Err(error) => Err(error),
        }
    }

    /// # Safety
    /// As for `file`.
    #[inline]
    unsafe fn map(self, fd: RawFd, offset: u64, origin: Origin) -> Result<Mapping<A>, Error> {
        let granule = granule(self.flags)?;
        let Some(len) = granule.round_up(self.len).filter(|len| *len <= isize::MAX as usize) else {
            return Err(Error::TooLong { len: self.len });
        };
        if !self.align.is_power_of_two() {
            return Err(Error::BadAlignment { align: self.align });
        }
        let addr = if self.align > granule.bytes() && len != 0 {
            // SAFETY: the caller's promise.
            unsafe { self.aligned(len, fd, offset) }?
        } else {
            // Rounded up here: a file on hugetlbfs is mapped by its own huge pages, be they smaller.
            let call = Call::mmap(self.hint, len, self.prot, self.flags, fd, offset);
            // SAFETY: a new mapping, in place of nothing: `flags` has no FIXED.
            unsafe { made(call) }?
        };
        self.set_name(addr, len, origin);
        // SAFETY: mapped just now, whole granules.
        unsafe { own(addr, self.len, granule, origin) }
    }

    /// Maps at a multiple of the alignment: looks where there is room, and takes it if it is still
    /// free. Not by mapping too much, which would be charged and populated, and not by `MAP_FIXED`
    /// over room that is held, which the kernel may unmap before it fails, so that another thread
    /// could come to lie in it.
    ///
    /// # Safety
    /// As for `map`.
    unsafe fn aligned(&self, len: usize, fd: RawFd, offset: u64) -> Result<*mut u8, Error> {
        let page = page_size()?;
        let all = len.checked_add(self.align - page.bytes());
        let Some(all) = all.filter(|all| *all <= isize::MAX as usize) else {
            return Err(Error::TooLong { len });
        };
        let room_flags = MapFlags::PRIVATE.union(MapFlags::NORESERVE);
        let room = Call::mmap_anonymous(self.hint, all, Prot::NONE, room_flags);
        let flags = self.flags.union(MapFlags::FIXED_NOREPLACE);
        let mut tries = 0;
        loop {
            // SAFETY: a new mapping, in place of nothing.
            let base = unsafe { made(room) }?;
            // SAFETY: mapped just now, whole pages.
            let room: Mapping<Raw> = unsafe { own(base, all, page, Origin::Anonymous) }?;
            room.unmap().map_err(|(_, error)| error)?;
            let place = base.wrapping_add(base.addr().wrapping_neg() & (self.align - 1));
            let call = Call::mmap(place, len, self.prot, flags, fd, offset);
            // SAFETY: a new mapping, in place of nothing.
            match unsafe { made(call) } {
                Ok(addr) if addr.addr() == place.addr() => return Ok(addr),
                // SAFETY: mapped just now, by a kernel that takes the flag for a hint.
                Ok(stray) => drop(unsafe { own::<Raw>(stray, len, page, Origin::Anonymous) }?),
                Err(Error::Refused { errno: Errno::EEXIST, .. }) => {}
                Err(error) => return Err(error),
            }
            tries += 1;
            if tries == 8 {
                return Err(Error::Refused { call, errno: Errno::EEXIST });
            }
        }
    }

    #[inline]
    fn set_name(&self, addr: *mut u8, len: usize, origin: Origin) {
        const PR_SET_VMA: usize = 0x5356_4d41;
        const PR_SET_VMA_ANON_NAME: usize = 0;
        let Some(name) = self.name.filter(|_| origin != Origin::File) else { return };
        // SAFETY: the kernel reads the name, which ends with a zero, and changes no memory.
        unsafe {
            arch::syscall5(
                Word::int(PR_SET_VMA),
                Word::int(PR_SET_VMA_ANON_NAME),
                Word::ptr(addr),
                Word::int(len),
                Word::ptr(name.as_ptr().cast_mut().cast()),
                nr::PRCTL,
            );
        }
    }
}

/// What a mapping with these flags is made of: the huge-page size, or the page size.
#[inline]
pub(super) fn granule(flags: MapFlags) -> Result<PageSize, Error> {
    let page = page_size()?;
    if !flags.contains(MapFlags::HUGETLB) {
        return Ok(page);
    }
    match flags.huge_log2() {
        0 => Err(Error::HugeSizeUnknown),
        // A size below any page's, the kernel refuses.
        log2 => Ok(PageSize::new(1 << log2).unwrap_or(page)),
    }
}

/// The owner of what a call has mapped. At address 0, it is unmapped again.
///
/// # Safety
/// As [`Mapping::new`].
#[inline]
pub(super) unsafe fn own<A: Access>(
    addr: *mut u8,
    len: usize,
    granule: PageSize,
    origin: Origin,
) -> Result<Mapping<A>, Error> {
    match NonNull::new(addr) {
        // SAFETY: the caller's promise.
        Some(start) => Ok(unsafe { Mapping::new(start, len, granule, origin) }),
        None => {
            // SAFETY: by the caller's promise, it belongs to nobody else.
            unsafe { made(Call::munmap(addr, granule.round_up(len).unwrap_or(len))) }?;
            Err(Error::AtZero)
        }
    }
}

/// What became of a request for an exact place.
///
/// ```
/// use rawmap::{MapOptions, Placed};
/// let code = MapOptions::new(1 << 20).anonymous()?;
/// let at = code.as_ptr().wrapping_sub(1 << 30); // an offset of 32 bits reaches it
/// match MapOptions::new(1 << 16).hint(at).place()? {
///     Placed::Placed(trampolines) => assert_eq!(trampolines.as_ptr(), at),
///     Placed::Occupied => {} // the next one, then
/// }
/// # Ok::<(), rawmap::Error>(())
/// ```
#[derive(Debug)]
pub enum Placed<A: Access = ReadWrite> {
    /// It is there.
    Placed(Mapping<A>),
    /// Something else is mapped there, in whole or in part.
    Occupied,
}
