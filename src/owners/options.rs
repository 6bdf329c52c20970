//! How a new mapping is to be: [`MapOptions`].

use crate::call::Call;
use crate::errno::Errno;
use crate::flags::{Advice, MapFlags, Prot};
use crate::owners::access::{Access, Raw, ReadOnly, ReadWrite};
use crate::owners::beyond::is_replaceable;
use crate::owners::descriptor::{
    AsDescriptor, Kept, allocate, bytes_from, check_sealed, explained, granule, tells_granule,
};
use crate::owners::error::{Error, Wrong, issue};
use crate::owners::huge::transparent_size;
use crate::owners::mapping::{Backing, Mapping, RW};
use crate::owners::place::{
    self, AT_ONCE, adopt_huge, check_alignment, give_back, moved_to_alignment, null, rounded,
    too_long,
};
use crate::owners::process::{known_page_size, page_size};
use crate::page_size::PageSize;
use crate::raw::{NO_FD, RawFd};
use crate::word::Word;
use core::ptr::{NonNull, null_mut};

/// Options for a new [`Mapping`]: its length, its alignment, and what the kernel does with its pages. They are
/// a plain value, which may be a constant.
///
/// The last method makes the mapping. It decides what comes back:
///
/// | | memory | file |
/// |---|---|---|
/// | `&mut [u8]` | [`anonymous`](Self::anonymous) | [`file_copy`](Self::file_copy), [`file_mut`](Self::file_mut) |
/// | `&[u8]` | | [`file`](Self::file), [`file_sealed`](Self::file_sealed) |
/// | raw pointers | [`raw`](Self::raw) | [`file_raw`](Self::file_raw) |
/// | at an address | [`at`](Self::at) | [`at`](Self::at) |
///
/// ```
/// use rawmap::MapOptions;
/// const BUFFER: MapOptions = MapOptions::new(1 << 20).populate();
/// let mut memory = BUFFER.anonymous()?;
/// memory[0] = 1;
/// assert_eq!(memory.len(), 1 << 20);
/// # Ok::<(), rawmap::Error>(())
/// ```
#[must_use = "options do nothing until a mapping is made with them"]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MapOptions {
    /// `None`: as much as the file has.
    len: Option<usize>,
    align: usize,
    pages: Pages,
    /// How many bytes a page has, if they are [`Pages::Huge`].
    huge: usize,
    /// `MAP_POPULATE`, `MAP_NORESERVE`, `MAP_LOCKED`, `MAP_STACK`.
    flags: MapFlags,
}

/// What pages it lies on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Pages {
    Ordinary,
    /// `MADV_HUGEPAGE`.
    TransparentHuge,
    /// `MAP_HUGETLB`.
    Huge,
    /// Both were asked for, which can't be.
    Both,
}

/// Who sees what is written to a raw mapping: an argument of [`MapOptions::raw`] and [`MapOptions::file_raw`].
///
/// ```
/// use rawmap::{Backing, MapOptions, Prot, Sharing};
/// let options = MapOptions::new(1 << 16);
/// let private = options.raw(Prot::READ, Sharing::Private)?;
/// let shared = options.raw(Prot::READ, Sharing::Shared)?;
/// assert_eq!(private.backing(), Backing::Anonymous);
/// assert_eq!(shared.backing(), Backing::SharedAnonymous);
/// # Ok::<(), rawmap::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Sharing {
    /// `MAP_PRIVATE`: only this process sees it. A file is not changed: the process writes to a copy.
    Private,
    /// `MAP_SHARED`: all processes that map the file see it. Anonymous memory is shared with children that are
    /// forked later.
    Shared,
    /// `MAP_SHARED_VALIDATE|MAP_SYNC` (Linux 4.15): as `Shared`, for a file in persistent memory. The file
    /// system writes the file's metadata before a page can be written. EOPNOTSUPP for other files, and EINVAL
    /// for anonymous memory.
    SharedSync,
    /// `MAP_DROPPABLE` (Linux 6.11): as `Private`, for anonymous memory only. The kernel may drop its pages
    /// when it needs the memory; then they read as zeroes.
    Droppable,
}

impl Sharing {
    #[inline]
    const fn flags(self) -> MapFlags {
        match self {
            Self::Private => MapFlags::PRIVATE,
            Self::Shared => MapFlags::SHARED,
            Self::SharedSync => MapFlags::SHARED_VALIDATE.union(MapFlags::SYNC),
            Self::Droppable => MapFlags::DROPPABLE,
        }
    }

    #[inline]
    const fn backing(self, is_file: bool) -> Backing {
        match (self, is_file) {
            (Self::Private | Self::Droppable, false) => Backing::Anonymous,
            (Self::Private | Self::Droppable, true) => Backing::PrivateFile,
            (Self::Shared | Self::SharedSync, false) => Backing::SharedAnonymous,
            (Self::Shared | Self::SharedSync, true) => Backing::SharedFile,
        }
    }
}

/// The address at which [`MapOptions::at`] maps, and what happens where that is taken.
///
/// ```
/// use rawmap::{MapFlags, MapOptions, NO_FD, Place, Prot};
/// let wanted = std::ptr::without_provenance_mut(1 << 34);
/// let (flags, options) = (MapFlags::PRIVATE | MapFlags::ANONYMOUS, MapOptions::new(1 << 20));
/// // SAFETY: far below any stack; elsewhere, the kernel chooses.
/// let near =
///     unsafe { options.at(Place::Hint(wanted), Prot::NONE, flags, NO_FD, 0)? };
/// if near.as_ptr() != wanted {
///     println!("something else is mapped there");
/// }
/// # Ok::<(), rawmap::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// At this address if it is free, else where the kernel chooses.
    Hint(*mut u8),
    /// At this address if it is free, else the error is EEXIST.
    Exact(*mut u8),
}

impl MapOptions {
    /// A mapping of `len` bytes.
    ///
    /// ```
    /// use rawmap::MapOptions;
    /// const CHUNK: MapOptions = MapOptions::new(64 << 10);
    /// let (first, second) = (CHUNK.anonymous()?, CHUNK.anonymous()?);
    /// assert_ne!(first.as_ptr(), second.as_ptr());
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub const fn new(len: usize) -> Self {
        Self { len: Some(len), ..Self::whole() }
    }

    /// A mapping of as many bytes as the file has. The mapping of an empty file is an empty slice.
    ///
    /// It costs one call more, `fstat`. If the file says that it is empty, it costs another one, `fstatfs`,
    /// since a file of /proc says so too.
    ///
    /// ```
    /// use rawmap::MapOptions;
    /// let file = std::fs::File::open("/proc/self/exe")?;
    /// # use std::os::fd::AsRawFd;
    /// # // SAFETY: `file` stays open.
    /// # let file = unsafe { rawmap::Fd::borrow_raw(file.as_raw_fd()) };
    /// // SAFETY: a program's file is not written while it runs.
    /// let program = unsafe { MapOptions::whole().file(&file, 0)? };
    /// assert!(program.starts_with(b"\x7fELF"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn whole() -> Self {
        let flags = MapFlags::from_bits(0);
        Self { len: None, align: 1, pages: Pages::Ordinary, huge: 0, flags }
    }

    const fn flag(mut self, flag: MapFlags) -> Self {
        self.flags = self.flags.union(flag);
        self
    }

    /// Places the mapping at a multiple of `align` bytes, which must be a power of two.
    ///
    /// An alignment of more than a page costs one call that maps more address space than the length, and one or
    /// two that unmap the ends which are too much. Where the length is at least the alignment, the kernel's own
    /// choice is tried first, and is often aligned. Files, and memory that is shared, populated, locked or on
    /// huge pages, are mapped first and then moved to an aligned place, with two calls more. Where the process
    /// has as many mappings as it may have, the kernel may refuse to unmap an end; that end then stays mapped,
    /// and costs address space.
    ///
    /// ```
    /// use rawmap::MapOptions;
    /// const HUGE: usize = 2 << 20;
    /// // Aligned so, it can lie on transparent huge pages of 2 MiB to
    /// // its ends.
    /// let heap = MapOptions::new(4 * HUGE).align(HUGE).anonymous()?;
    /// assert_eq!(heap.as_ptr().addr() % HUGE, 0);
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub const fn align(mut self, align: usize) -> Self {
        self.align = align;
        self
    }

    /// `MAP_POPULATE`: the kernel makes the pages resident at once. It does not report a failure to do so;
    /// [`Mapping::populate_write`] does.
    ///
    /// ```
    /// use rawmap::MapOptions;
    /// let ready = MapOptions::new(1 << 20).populate().anonymous()?;
    /// let mut pages = [0; 256]; // of 4 KiB, or fewer larger ones
    /// assert!(ready.resident(.., &mut pages)?.iter().all(|page| page & 1 == 1));
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub const fn populate(self) -> Self {
        self.flag(MapFlags::POPULATE)
    }

    /// `MAP_NORESERVE`: the memory is not [counted](crate#granules-and-what-is-counted), except under strict
    /// accounting.
    ///
    /// ```
    /// use rawmap::MapOptions;
    /// // A table by hash, of which little will ever be used.
    /// let mut sparse = MapOptions::new(1 << 28).noreserve().anonymous()?;
    /// sparse[0x0bad_cafe] = 1;
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub const fn noreserve(self) -> Self {
        self.flag(MapFlags::NORESERVE)
    }

    /// `MAP_LOCKED`: the kernel makes the pages resident at once, and never swaps them out. It does not report
    /// a page that it can't make resident; [`lock`](Mapping::lock) does.
    ///
    /// ```
    /// use rawmap::MapOptions;
    /// let key = MapOptions::new(32).locked().anonymous()?;
    /// assert_eq!(key.resident(.., &mut [0])?[0] & 1, 1);
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub const fn locked(self) -> Self {
        self.flag(MapFlags::LOCKED)
    }

    /// `MAP_STACK`: the memory is for a stack. From Linux 6.7 on, that keeps transparent huge pages away. For a
    /// stack with a guard, use [`Stack`](crate::Stack).
    ///
    /// ```
    /// use rawmap::{MapOptions, Prot, Sharing};
    /// let rw = Prot::READ | Prot::WRITE;
    /// let stack = MapOptions::new(64 << 10).stack().raw(rw, Sharing::Private)?;
    /// assert_eq!(stack.len(), 64 << 10);
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub const fn stack(self) -> Self {
        self.flag(MapFlags::STACK)
    }

    /// `MAP_HUGETLB` with pages of `bytes`, which must be a power of two: 2 MiB is `2 << 20`. The huge page is
    /// the mapping's granule, and the mapped length is rounded up to it. Another number, such as 0, is an error
    /// when the mapping is made.
    ///
    /// The system has such pages only if its administrator set some aside, and other processes may take them.
    /// So a slice on huge pages is populated at once, with one call more (`MADV_POPULATE_WRITE`, Linux 5.14),
    /// which fails if a page is missing. It can't be combined with [`noreserve`](Self::noreserve), and can
    /// neither grow nor be purged. After a fork, the child's copy may lose its pages (SIGBUS in the child).
    /// [Transparent huge pages](Self::transparent_huge) have none of these limits, and are what most programs
    /// want.
    ///
    /// [`HugePages`](crate::HugePages) finds which sizes the system has, and which of them is the default.
    ///
    /// ```
    /// use rawmap::MapOptions;
    /// let options = MapOptions::new(3 << 20);
    /// // Two huge pages; or, where the system has none to give,
    /// // ordinary ones.
    /// let heap = options.huge(2 << 20).anonymous().or_else(|_| options.anonymous())?;
    /// assert_eq!(heap.mapped_len() % heap.granule().bytes(), 0);
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub const fn huge(mut self, bytes: usize) -> Self {
        self.pages = match self.pages {
            Pages::Ordinary | Pages::Huge => Pages::Huge,
            Pages::TransparentHuge | Pages::Both => Pages::Both,
        };
        self.huge = bytes;
        self
    }

    /// `MADV_HUGEPAGE`: the memory lies on transparent huge pages where the kernel has some to give. Else, and
    /// after it was swapped out, it lies on ordinary pages. Nobody has to set pages aside, and none can be
    /// missing.
    ///
    /// A transparent huge page is 2 MiB with ordinary pages of 4 KiB, 32 MiB with 16 KiB, 512 MiB with 64 KiB.
    /// Memory that is at least that long is aligned to that size, as by [`align`](Self::align), since only
    /// aligned memory can lie on such a page. A rest at its end lies on ordinary pages. Shorter memory is
    /// advised, and not aligned: since Linux 6.8 there may be smaller huge pages. A file is only advised, too.
    /// The first write to a huge page clears all of it and makes all of it resident: with 64 KiB pages, half a
    /// GiB for one byte.
    ///
    /// The administrator may have turned huge pages off (`never` in
    /// `/sys/kernel/mm/transparent_hugepage/enabled`); no error says so. The advice must come before the first
    /// page is filled, so it is an error to combine it with [`populate`](Self::populate),
    /// [`locked`](Self::locked) or [`huge`](Self::huge). [`Mapping::populate_write`] fills the pages
    /// afterwards.
    ///
    /// It costs one call more, `madvise(start, len, MADV_HUGEPAGE)`, and those of [`align`](Self::align).
    ///
    /// # Errors
    /// When the mapping is made: EINVAL where the kernel was built without transparent huge pages.
    ///
    /// ```
    /// use rawmap::MapOptions;
    /// let options = MapOptions::new(64 << 20);
    /// // On ordinary pages where the kernel has none that are
    /// // transparent.
    /// let mut table =
    ///     options.transparent_huge().anonymous().or_else(|_| options.anonymous())?;
    /// table[0] = 1;
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub const fn transparent_huge(mut self) -> Self {
        self.pages = match self.pages {
            Pages::Ordinary | Pages::TransparentHuge => Pages::TransparentHuge,
            Pages::Huge | Pages::Both => Pages::Both,
        };
        self
    }

    /// Maps private anonymous memory, which is zeroes, as a `&mut [u8]`.
    ///
    /// One call: `mmap(NULL, len, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0)`, with the length
    /// rounded up to the granule. [`align`](Self::align), [`huge`](Self::huge) and
    /// [`transparent_huge`](Self::transparent_huge) cost the calls that they name.
    ///
    /// # Errors
    /// Those of [`mmap`](crate::mmap): EINVAL for length 0; ENOMEM if the system has no huge page to give. It
    /// also fails if the length is more than `isize::MAX`, or if the alignment or the size of the huge pages is
    /// not a power of two. After an error nothing stays mapped.
    ///
    /// ```
    /// use rawmap::MapOptions;
    /// let block = MapOptions::new(100_000).anonymous()?;
    /// assert!(block.len() == 100_000 && block.iter().all(|byte| *byte == 0));
    /// assert!(MapOptions::new(usize::MAX).anonymous().is_err());
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    #[inline]
    pub fn anonymous(self) -> Result<Mapping<ReadWrite>, Error> {
        let Some(plain) = self.plain(RW, MapFlags::PRIVATE.union(MapFlags::ANONYMOUS), NO_FD, 0)
        else {
            return self.anonymous_slowly();
        };
        // SAFETY: a new mapping, in place of nothing: the flags have no FIXED.
        let made = unsafe { plain.call.make() };
        match made.ok().and_then(|addr| NonNull::new(addr.as_ptr())) {
            // SAFETY: private memory on ordinary pages, mapped just now, which can be read and written, and which
            // the kernel placed for this owner alone.
            Some(start) => Ok(unsafe { plain.at(start, Backing::Anonymous) }),
            None => Err(unmapped(plain.mapped, self.flags, made)),
        }
    }

    #[cold]
    fn anonymous_slowly(self) -> Result<Mapping<ReadWrite>, Error> {
        const OPERATION: &str = "MapOptions::anonymous";
        let is_huge = matches!(self.pages, Pages::Huge);
        if is_huge && self.flags.contains(MapFlags::NORESERVE) {
            let what = "huge pages with noreserve may be missing when they are used; see raw";
            return Err(Error::wrong(OPERATION, what, self.huge, Wrong::NotOffered, 0));
        }
        let mapping = self.without_file(OPERATION, RW, Sharing::Private)?;
        if is_huge {
            mapping.populate_write(..)?;
        }
        // SAFETY: as above; and if it lies on huge pages, then it has been populated, and is not NORESERVE.
        Ok(unsafe { mapping.with_access() })
    }

    /// The one call that makes the mapping, where the options ask for no more than a length that can be, and the page
    /// size is known.
    #[inline(always)] // Most of it is decided where the options are known.
    fn plain(self, prot: Prot, flags: MapFlags, fd: RawFd, offset: u64) -> Option<Plain> {
        let (Some(len), true) = (self.len, self.is_plain() && !is_replaceable(fd)) else {
            return None;
        };
        Plain::new(len, known_page_size()?, prot, self.flags.union(flags), fd, offset)
    }

    /// Maps anonymous memory with any protection, to be reached by raw pointers.
    ///
    /// One call: `mmap(NULL, len, prot, sharing|MAP_ANONYMOUS, -1, 0)`. The options cost what they cost for
    /// [`anonymous`](Self::anonymous).
    ///
    /// # Errors
    /// Those of [`anonymous`](Self::anonymous).
    ///
    /// ```
    /// use rawmap::{MapOptions, Prot, Sharing};
    /// let rw = Prot::READ | Prot::WRITE;
    /// let answer = MapOptions::new(1).raw(rw, Sharing::Shared)?;
    /// // SAFETY: the child writes a byte of ours, which nothing
    /// // borrows, and ends without exit handlers.
    /// unsafe {
    ///     let child = libc::fork();
    ///     if child == 0 {
    ///         answer.as_ptr().write(42);
    ///         libc::_exit(0);
    ///     }
    ///     libc::waitpid(child, std::ptr::null_mut(), 0);
    ///     assert_eq!(answer.as_ptr().read(), 42);
    /// }
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub fn raw(self, prot: Prot, sharing: Sharing) -> Result<Mapping<Raw>, Error> {
        self.without_file("MapOptions::raw", prot, sharing)
    }

    fn without_file(
        self,
        operation: &'static str,
        prot: Prot,
        sharing: Sharing,
    ) -> Result<Mapping<Raw>, Error> {
        let Some(len) = self.len else {
            let what = "there is no file whose whole length it could have; see new";
            return Err(Error::wrong(operation, what, 0, Wrong::NotOffered, 0));
        };
        let (granule, flags) = self.granule(operation)?;
        check_alignment(operation, self.align)?;
        let mapped = rounded(operation, len, granule)?;
        // With transparent huge pages, the granule is the page.
        let align = match self.is_transparent_huge().then(|| transparent_size(granule)) {
            Some(transparent) if mapped >= transparent => self.align.max(transparent),
            _ => self.align,
        };
        let plain = sharing == Sharing::Private && flags.intersection(AT_ONCE).is_empty();
        let mut mapping = if plain {
            place::aligned(operation, mapped, align, prot, flags)?
        } else {
            let flags = flags.union(sharing.flags()).union(MapFlags::ANONYMOUS);
            let call = Call::mmap(null_mut(), mapped, prot, flags, NO_FD, 0);
            let backing = sharing.backing(false);
            // SAFETY: a new mapping, in place of nothing: the flags have no FIXED. It is whole granules.
            let mapping = unsafe { adopt_huge(issue(call)?, mapped, granule, backing) }?;
            moved_to_alignment(operation, mapping, align)?
        };
        mapping.lend_first(len);
        self.advise(&mapping)?;
        Ok(mapping)
    }

    /// Whether neither the size of pages nor an alignment is asked for.
    const fn is_plain(self) -> bool {
        matches!(self.pages, Pages::Ordinary) && self.align == 1
    }

    const fn is_transparent_huge(self) -> bool {
        matches!(self.pages, Pages::TransparentHuge)
    }

    /// What is said of a new mapping.
    fn advise(self, mapping: &Mapping<Raw>) -> Result<(), Error> {
        if self.is_transparent_huge() { mapping.advise(.., Advice::HUGEPAGE) } else { Ok(()) }
    }

    /// Maps a file from byte `offset` on, as a `&[u8]`. The descriptor may be closed afterwards. [The guide to
    /// files](crate::guide::files) says what can go wrong with a file, at once and later, and how to read it
    /// instead.
    ///
    /// One call: `mmap(NULL, len, PROT_READ, MAP_PRIVATE, fd, offset)`, with the offset rounded down to a
    /// multiple of the page size. The slice begins at the offset that was asked for. Further calls are made
    /// only where they are needed:
    /// - `fstat`, where the mapping's address is a multiple of 64 KiB, unless [`whole`](Self::whole) has made
    ///   that call already. Such a file may lie on huge pages, which can be unmapped only as a whole. This
    ///   concerns one mapping in sixteen, and most mappings of files that Linux aligns for transparent huge
    ///   pages.
    /// - `fstatfs` after that, where the file's blocks are larger than a page or smaller than 4096 bytes; and
    ///   where it says hugetlbfs, an `mmap` that the kernel refuses of any other file, and `munmap` of that, since
    ///   `fstatfs` may be what a file server says.
    /// - `fstat` after ENODEV or EACCES, so that the error can say what the descriptor is of.
    /// - `fcntl(fd, F_DUPFD_CLOEXEC, 3)` and `close` for the descriptors 0, 1 and 2: safe code may give these
    ///   numbers another file meanwhile, so a duplicate is mapped.
    ///
    /// # Errors
    /// Those of [`mmap`](crate::mmap): EACCES if the file is not open for reading; ENODEV, or an error that
    /// says what the descriptor is of, if that can't be mapped, as a directory or a pipe. It also fails if the
    /// length is more than `isize::MAX`, and, with [`whole`](Self::whole), if the file ends before the offset.
    /// After an error nothing stays mapped, except for a file on huge pages where one of the further calls is
    /// refused.
    ///
    /// # Safety
    /// For as long as it is mapped:
    /// - The file has the bytes. If it shrinks, even for a moment, or its disk fails, an access is SIGBUS.
    /// - Nobody changes the bytes, in this process or another: not by `write`, by a mapping, or by punching a
    ///   hole ([`Mapping::punch_hole`] too); nor does the device or server that they come from, which the
    ///   kernel may ask for them again at any time. It is undefined behaviour if the bytes of a slice change.
    /// - A file on hugetlbfs is not mapped with [`noreserve`](Self::noreserve), and its pages are allocated
    ///   (`fallocate`).
    /// - A file on tmpfs has no hole: even a read of a hole takes a page there, which is SIGBUS where the file
    ///   system is full. Bytes that were only ever read are a hole too; bytes that were written or `fallocate`d
    ///   are not.
    ///
    /// ```
    /// use rawmap::MapOptions;
    /// let file = std::fs::File::open("/proc/self/exe")?;
    /// # use std::os::fd::AsRawFd;
    /// # // SAFETY: `file` stays open.
    /// # let file = unsafe { rawmap::Fd::borrow_raw(file.as_raw_fd()) };
    /// // SAFETY: a program's file is not written while it runs.
    /// let name = unsafe { MapOptions::new(3).file(&file, 1)? };
    /// assert_eq!(&name[..], b"ELF");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub unsafe fn file(
        self,
        file: impl AsDescriptor,
        offset: u64,
    ) -> Result<Mapping<ReadOnly>, Error> {
        let fd = file.as_descriptor().raw();
        // SAFETY: the caller's promise.
        unsafe { self.of_file("MapOptions::file", fd, offset, Prot::READ, Sharing::Private) }
    }

    /// Maps a memory file that is sealed for good against writing and shrinking, from byte `offset` on, as a
    /// `&[u8]`. It is not `unsafe`, since the kernel vouches for the bytes. So a program can read in place what
    /// another process has filled and sealed, even if it doesn't trust that process.
    ///
    /// Both `F_SEAL_WRITE` and `F_SEAL_SHRINK` must be there. `F_SEAL_FUTURE_WRITE` is not enough, since a
    /// process that mapped the file before can go on writing. The kernel adds `F_SEAL_WRITE` only when nobody
    /// has the file mapped for writing (EBUSY), and nobody can take a seal away.
    ///
    /// The kernel may drop pages that were only ever read, and would need memory again for the next read. So
    /// `fallocate` makes all pages the file's for good, for which the file must be open for writing too. This
    /// turns a hole into memory, for which this process pays. The operation refuses a file that has fewer
    /// blocks than bytes, but that is no protection: a hostile sender has blocks behind the file's end instead.
    /// If you don't trust the sender, pass a length that you can afford, and not [`whole`](Self::whole).
    ///
    /// Six calls: `fcntl(fd, F_GET_SEALS)`, `fstatfs`, `fstat` twice, `mmap(NULL, len, PROT_READ, MAP_PRIVATE,
    /// fd, offset)`, and `fallocate(fd, 0, offset, len)`; rarely one more `fstat`, as for [`file`](Self::file).
    ///
    /// # Errors
    /// Fails if the file is not a memory file, is not sealed so, lies on huge pages, has fewer blocks than
    /// bytes, or ends before the range does. Else the errors of `fcntl`, `fstat` and `fstatfs`, those of
    /// [`file`](Self::file), and those of `fallocate`: EBADF if the file is not open for writing, ENOSPC or
    /// ENOMEM where there is not so much memory.
    ///
    /// ```
    /// use rawmap::MapOptions;
    /// use std::fs::File;
    /// use std::io::Write;
    /// use std::os::fd::{AsRawFd, FromRawFd};
    /// // With the crate libc. SAFETY: a new descriptor.
    /// let mut memfd = unsafe {
    ///     let sealing = libc::MFD_ALLOW_SEALING;
    ///     File::from_raw_fd(libc::memfd_create(c"".as_ptr(), sealing))
    /// };
    /// memfd.write_all(b"a message")?;
    /// let raw = memfd.as_raw_fd();
    /// # // SAFETY: `memfd` stays open.
    /// # let memfd = unsafe { rawmap::Fd::borrow_raw(raw) };
    /// let options = MapOptions::whole();
    /// assert!(options.file_sealed(&memfd, 0).is_err()); // not yet
    ///
    /// // Once its sender has sealed it:
    /// let seals = libc::F_SEAL_WRITE | libc::F_SEAL_SHRINK;
    /// // SAFETY: it changes no memory.
    /// unsafe { libc::fcntl(raw, libc::F_ADD_SEALS, seals) };
    /// let message = options.file_sealed(&memfd, 0)?;
    /// assert_eq!(&message[..], b"a message");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn file_sealed(
        self,
        file: impl AsDescriptor,
        offset: u64,
    ) -> Result<Mapping<ReadOnly>, Error> {
        const OPERATION: &str = "MapOptions::file_sealed";
        let kept = Kept::of(file.as_descriptor().raw())?;
        let fd = kept.fd().raw();
        // The seals before the length: from then on it does not shrink.
        check_sealed(OPERATION, fd)?;
        let (most, _) = bytes_from(OPERATION, fd, offset)?;
        let len = self.len.unwrap_or(most);
        if len > most {
            return Err(Error::wrong(OPERATION, "the length", len, Wrong::BeyondFile, most));
        }
        if self.len.is_none() && len == 0 {
            return self.of_nothing(OPERATION);
        }
        let options = Self { len: Some(len), ..self };
        // SAFETY: nobody writes the bytes: not by a call, nor by a mapping, of which the seal says that there is
        // none that is shared and writable; this one is private. The file has all of them and keeps them, on
        // ordinary pages, and what the kernel owes of a memory file's page that is there it owes as for any
        // memory; that all are there, and stay, is seen to below, before any is lent.
        let mapping: Mapping<ReadOnly> =
            unsafe { options.of_file(OPERATION, fd, offset, Prot::READ, Sharing::Private) }?;
        allocate(fd, offset, len)?;
        Ok(mapping)
    }

    /// Maps a private copy of a file from byte `offset` on, as a `&mut [u8]`. What is written can be seen
    /// through this mapping only.
    ///
    /// One call: `mmap(NULL, len, PROT_READ|PROT_WRITE, MAP_PRIVATE, fd, offset)`, and where needed those of
    /// [`file`](Self::file).
    ///
    /// # Errors
    /// Those of [`file`](Self::file).
    ///
    /// # Safety
    /// What [`file`](Self::file) asks for. That holds for bytes that were written here too: a file that shrinks
    /// takes the copies of its pages with it. And the file does not lie on hugetlbfs, where a write may find no
    /// page (SIGBUS).
    ///
    /// ```
    /// use rawmap::MapOptions;
    /// let file = std::fs::File::open("/proc/self/exe")?;
    /// # use std::os::fd::AsRawFd;
    /// # // SAFETY: `file` stays open.
    /// # let file = unsafe { rawmap::Fd::borrow_raw(file.as_raw_fd()) };
    /// // SAFETY: a program's file is not written while it runs.
    /// let mut copy = unsafe { MapOptions::whole().file_copy(&file, 0)? };
    /// copy[0] = b'!'; // here, and not in the file
    /// assert_eq!(&copy[..4], b"!ELF");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub unsafe fn file_copy(
        self,
        file: impl AsDescriptor,
        offset: u64,
    ) -> Result<Mapping<ReadWrite>, Error> {
        let fd = file.as_descriptor().raw();
        // SAFETY: the caller's promise.
        unsafe { self.of_file("MapOptions::file_copy", fd, offset, RW, Sharing::Private) }
    }

    /// Maps a file's own bytes from byte `offset` on, as a `&mut [u8]`. What is written is in the file at once,
    /// and [`Mapping::sync`] waits until it is on the disk.
    ///
    /// One call: `mmap(NULL, len, PROT_READ|PROT_WRITE, MAP_SHARED, fd, offset)`, and where needed those of
    /// [`file`](Self::file).
    ///
    /// # Errors
    /// Those of [`file`](Self::file); EACCES also if the file is not open for writing.
    ///
    /// # Safety
    /// What [`file`](Self::file) asks for, except that this mapping may change the bytes. And for as long as it
    /// is mapped:
    /// - Nobody else uses the bytes by a mapping, in this process or another: neither as a slice, nor by raw
    ///   pointers, nor as atomics. A forked child has the mapping too; only one of the two processes uses it.
    /// - A write finds room. Where the file has no block for it yet (a hole), or takes a new block for each
    ///   write (on btrfs, or where a copy shares its blocks), a write is SIGBUS if the file system or a quota
    ///   is full.
    ///
    /// ```
    /// use rawmap::MapOptions;
    /// # use std::os::fd::AsRawFd;
    /// let path = std::env::temp_dir().join("state");
    /// # let path = path.with_extension(std::process::id().to_string());
    /// std::fs::write(&path, b"stopped")?;
    /// let file = std::fs::File::options().read(true).write(true).open(&path)?;
    /// # // SAFETY: `file` stays open.
    /// # let file = unsafe { rawmap::Fd::borrow_raw(file.as_raw_fd()) };
    /// // SAFETY: a file of our own, of seven bytes that were written.
    /// let mut state = unsafe { MapOptions::whole().file_mut(&file, 0)? };
    /// state.copy_from_slice(b"running");
    /// assert_eq!(std::fs::read(&path)?, b"running");
    /// # std::fs::remove_file(&path)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub unsafe fn file_mut(
        self,
        file: impl AsDescriptor,
        offset: u64,
    ) -> Result<Mapping<ReadWrite>, Error> {
        let fd = file.as_descriptor().raw();
        // SAFETY: the caller's promise.
        unsafe { self.of_file("MapOptions::file_mut", fd, offset, RW, Sharing::Shared) }
    }

    /// Maps a file from byte `offset` on with any protection, to be reached by raw pointers.
    ///
    /// One call: `mmap(NULL, len, prot, sharing, fd, offset)`, and where needed those of [`file`](Self::file).
    ///
    /// # Errors
    /// Those of [`file`](Self::file).
    ///
    /// ```
    /// use rawmap::{MapOptions, Prot, Sharing};
    /// let file = std::fs::File::open("/proc/self/exe")?;
    /// # use std::os::fd::AsRawFd;
    /// # // SAFETY: `file` stays open.
    /// # let file = unsafe { rawmap::Fd::borrow_raw(file.as_raw_fd()) };
    /// let program = MapOptions::new(4).file_raw(&file, 0, Prot::READ, Sharing::Shared)?;
    /// // SAFETY: four bytes that the file has, and that can be read.
    /// assert_eq!(unsafe { program.as_ptr().cast::<[u8; 4]>().read() }, *b"\x7fELF");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn file_raw(
        self,
        file: impl AsDescriptor,
        offset: u64,
        prot: Prot,
        sharing: Sharing,
    ) -> Result<Mapping<Raw>, Error> {
        let fd = file.as_descriptor().raw();
        // SAFETY: `Raw` promises nothing.
        unsafe { self.of_file("MapOptions::file_raw", fd, offset, prot, sharing) }
    }

    /// # Safety
    /// The file's bytes are what `A` promises (invariant 4), with this protection and sharing.
    #[inline]
    unsafe fn of_file<A: Access>(
        self,
        operation: &'static str,
        fd: RawFd,
        offset: u64,
        prot: Prot,
        sharing: Sharing,
    ) -> Result<Mapping<A>, Error> {
        let mut answer = None;
        if let Some(plain) = self.plain(prot, sharing.flags(), fd, offset) {
            // SAFETY: a new mapping, in place of nothing: the flags have no FIXED.
            let made = unsafe { plain.call.make() };
            match made.ok().map(Word::as_ptr) {
                Some(addr) if tells_granule(addr) => {
                    // SAFETY: 0 does not tell.
                    let start = unsafe { NonNull::new_unchecked(addr) };
                    // SAFETY: mapped just now, whole pages, none of them huge; the bytes by the caller's promise.
                    return Ok(unsafe { plain.at(start, sharing.backing(true)) });
                }
                _ => answer = Some(made),
            }
        }
        // SAFETY: the answer is that to the call which these arguments make.
        let mapping = unsafe { self.of_file_slowly(operation, fd, offset, prot, sharing, answer) }?;
        // SAFETY: the caller's promise.
        Ok(unsafe { mapping.with_access() })
    }

    /// What of a file needs more than a call: its length, an alignment, the size of its pages, or an error.
    ///
    /// # Safety
    /// What `answer` says is mapped, if there is one, is what a [plain](Self::plain) call with these arguments has
    /// mapped, and nobody's. (So nothing is refused here before it has an owner: a plain call has a length, and can't
    /// be wrong.)
    #[cold]
    #[inline(never)]
    unsafe fn of_file_slowly(
        self,
        operation: &'static str,
        fd: RawFd,
        offset: u64,
        prot: Prot,
        sharing: Sharing,
        answer: Option<Result<Word, Errno>>,
    ) -> Result<Mapping<Raw>, Error> {
        let kept = Kept::of(fd)?;
        let fd = kept.fd().raw();
        let (len, block) = match self.len {
            Some(len) => (len, None),
            None => match bytes_from(operation, fd, offset)? {
                (0, _) => return self.of_nothing(operation),
                (len, block) => (len, Some(block)),
            },
        };
        check_alignment(operation, self.align)?;
        let (_, own) = self.granule(operation)?;
        let (page, flags) = (page_size()?, own.union(sharing.flags()));
        let Some(plain) = Plain::new(len, page, prot, flags, fd, offset) else {
            let head = offset as usize & (page.bytes() - 1);
            return Err(too_long(operation, len, head, page));
        };
        // SAFETY: a new mapping, in place of nothing: the flags have no FIXED.
        let addr = match answer.unwrap_or_else(|| unsafe { plain.call.make() }) {
            Ok(addr) => addr.as_ptr(),
            Err(errno) => return Err(explained(operation, fd, Error::refused(plain.call, errno))),
        };
        let backing = sharing.backing(true);
        if tells_granule(addr) && self.is_plain() {
            // SAFETY: 0 does not tell.
            let start = unsafe { NonNull::new_unchecked(addr) };
            // SAFETY: mapped just now, whole pages, none of them huge.
            return Ok(unsafe { plain.at(start, backing) });
        }
        let granule = if tells_granule(addr) { Ok(page) } else { granule(fd, page, block) };
        // SAFETY: mapped just now, and nobody's. What lies on huge pages may be longer, and then stays.
        let granule = granule.inspect_err(|_| unsafe { give_back(addr, plain.mapped, backing) })?;
        let whole = granule.round_up(plain.mapped).unwrap_or(plain.mapped);
        // SAFETY: whole granules: of a file on hugetlbfs, the kernel has rounded the length up.
        let mut mapping = unsafe { adopt_huge(addr, whole, granule, backing) }?;
        mapping.lend_from(plain.head, len);
        self.advise(&mapping)?;
        moved_to_alignment(operation, mapping, self.align)
    }

    /// What an empty file is mapped as, if the options could be had of another one.
    #[cold]
    fn of_nothing<A: Access>(self, operation: &'static str) -> Result<Mapping<A>, Error> {
        check_alignment(operation, self.align)?;
        self.granule(operation).map(|_| Mapping::empty())
    }

    /// Maps memory, or a file if `fd` is one, at an address that the program chooses, with any flags. This is
    /// for an emulated machine's memory, for restoring a snapshot, or for code near other code. If it only
    /// matters that parts lie side by side, split a [`Reservation`](crate::Reservation), which needs no
    /// `unsafe`.
    ///
    /// One call: `mmap(addr, len, prot, flags, fd, offset)`, with `MAP_FIXED_NOREPLACE` for an exact place. A
    /// kernel before 4.17, or an emulator, takes that flag for a hint; if it maps elsewhere, one more call
    /// unmaps that again. The options' own flags are added to `flags`; [`align`](Self::align) has no effect.
    ///
    /// # Errors
    /// Those of [`mmap`](crate::mmap); EEXIST if something is mapped at the exact place. It also fails if the
    /// length is that of the file ([`whole`](Self::whole)), or if `flags` have `MAP_HUGETLB`, for which there
    /// is [`huge`](Self::huge). (The kernel always refuses `MAP_SHARED_VALIDATE` of a file at an exact place,
    /// with EOPNOTSUPP.)
    ///
    /// # Safety
    /// - Unless `flags` have `ANONYMOUS`, `fd` is open, and its file does not lie on hugetlbfs, or
    ///   [`huge`](Self::huge) says how large its pages are.
    /// - `flags` have no `FIXED` and no `GROWSDOWN`. Also with flags that this crate does not know, the call
    ///   makes a new mapping of the whole length, which nobody else unmaps.
    /// - No stack grows down to the mapping, and the mapping does not lie where a stack may grow.
    ///
    /// ```
    /// use rawmap::{Errno, MapFlags, MapOptions, NO_FD, Place, Prot};
    /// let (rw, flags) = (Prot::READ | Prot::WRITE, MapFlags::PRIVATE | MapFlags::ANONYMOUS);
    /// let place = Place::Exact(std::ptr::without_provenance_mut(1 << 33));
    /// // SAFETY: far below any stack.
    /// let low = unsafe { MapOptions::new(1 << 20).at(place, rw, flags, NO_FD, 0)? };
    /// // SAFETY: as above.
    /// let again = unsafe { MapOptions::new(1).at(place, rw, flags, NO_FD, 0) };
    /// assert_eq!(again.unwrap_err().errno(), Errno::EEXIST);
    /// assert_eq!(low.as_ptr().addr(), 1 << 33);
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub unsafe fn at(
        self,
        place: Place,
        prot: Prot,
        flags: MapFlags,
        fd: RawFd,
        offset: u64,
    ) -> Result<Mapping<Raw>, Error> {
        const OPERATION: &str = "MapOptions::at";
        let Some(len) = self.len else {
            let what = "a length must be given; see new";
            return Err(Error::wrong(OPERATION, what, 0, Wrong::NotOffered, 0));
        };
        if flags.contains(MapFlags::HUGETLB) {
            let what = "the size of huge pages is told by huge, since the mapping has to know it";
            return Err(Error::wrong(OPERATION, what, flags.bits(), Wrong::NotOffered, 0));
        }
        let (granule, own) = self.granule(OPERATION)?;
        let mapped = rounded(OPERATION, len, granule)?;
        let (addr, exact) = match place {
            Place::Hint(addr) => (addr, MapFlags::default()),
            Place::Exact(addr) => (addr, MapFlags::FIXED_NOREPLACE),
        };
        let call = Call::mmap(addr, mapped, prot, flags.union(own).union(exact), fd, offset);
        let shared = flags.intersection(MapFlags::TYPE).intersection(MapFlags::SHARED).bits() != 0;
        let sharing = if shared { Sharing::Shared } else { Sharing::Private };
        let backing = sharing.backing(!flags.contains(MapFlags::ANONYMOUS));
        // SAFETY: a new mapping, in place of nothing, by the caller's promise.
        let start = unsafe { issue(call)? };
        if start.is_null() && addr.is_null() {
            // The kernel has mapped what no owner can hold, and what was asked for.
            // SAFETY: mapped just now, and nobody's.
            unsafe { give_back(start, mapped, backing) };
        }
        // SAFETY: as above.
        let mut mapping = unsafe { adopt_huge(start, mapped, granule, backing) }?;
        if !exact.is_empty() && mapping.as_ptr().addr() != addr.addr() {
            mapping.unmap()?;
            return Err(Error::refused(call, Errno::EEXIST));
        }
        mapping.lend_first(len);
        self.advise(&mapping)?;
        Ok(mapping)
    }

    /// What a mapping with these options is made of, and the flags for it.
    fn granule(self, operation: &'static str) -> Result<(PageSize, MapFlags), Error> {
        let page = page_size()?;
        let at_once = !self.flags.intersection(AT_ONCE).is_empty();
        match self.pages {
            Pages::Huge => {}
            Pages::Ordinary => return Ok((page, self.flags)),
            Pages::TransparentHuge if !at_once => return Ok((page, self.flags)),
            Pages::TransparentHuge | Pages::Both => {
                let what = "huge, populate and locked fill pages before they can be transparent huge ones; \
                            see populate_write and lock";
                return Err(Error::wrong(operation, what, 0, Wrong::NotOffered, 0));
            }
        }
        let wrong =
            |wrong, limit| Error::wrong(operation, "the huge pages' size", self.huge, wrong, limit);
        if !self.huge.is_power_of_two() {
            return Err(wrong(Wrong::NotAPowerOfTwo, 0));
        }
        match PageSize::new(self.huge) {
            Some(size) if size.bytes() > isize::MAX as usize => Err(wrong(Wrong::TooLong, 1 << 62)),
            Some(size) if size >= page => Ok((size, self.flags.union(MapFlags::huge(size.log2())))),
            _ => Err(wrong(Wrong::TooSmall, page.bytes())),
        }
    }
}

/// A mapping that one call makes.
#[derive(Clone, Copy)]
struct Plain {
    call: Call,
    page: PageSize,
    mapped: usize,
    /// What lies before the bytes that are lent, on their first page.
    head: usize,
    len: usize,
}

impl Plain {
    /// For `len` bytes, which begin at `offset` of a file. `None` if they are more than a Rust object may be.
    #[inline]
    fn new(
        len: usize,
        page: PageSize,
        prot: Prot,
        flags: MapFlags,
        fd: RawFd,
        offset: u64,
    ) -> Option<Self> {
        let head = offset as usize & (page.bytes() - 1);
        // Of length 0 the kernel is asked as well, and refuses it.
        let all = if len == 0 { 0 } else { head.checked_add(len)? };
        let mapped = page.round_up(all).filter(|mapped| *mapped <= isize::MAX as usize)?;
        let call = Call::mmap(null_mut(), mapped, prot, flags, fd, offset - head as u64);
        Some(Self { call, page, mapped, head, len })
    }

    /// The owner of what the call has mapped.
    ///
    /// # Safety
    /// The call has mapped it at `start`, on pages of that size; it is nobody's, is made of this, and its bytes are
    /// what `A` promises.
    #[inline]
    unsafe fn at<A: Access>(self, start: NonNull<u8>, backing: Backing) -> Mapping<A> {
        // SAFETY: the bytes lie within what was mapped.
        unsafe { Mapping::new(start.add(self.head), self.len, self.page, backing) }
    }
}

/// Why no anonymous memory was mapped. The call is written down again, so that nobody has to keep it while it is made.
#[cold]
fn unmapped(len: usize, flags: MapFlags, answer: Result<Word, Errno>) -> Error {
    let call = Call::mmap_anonymous(null_mut(), len, RW, flags.union(MapFlags::PRIVATE));
    answer.map_or_else(|errno| Error::refused(call, errno), |_| null("mmap"))
}

// SAFETY: an address is a number here, which owns nothing and is not read.
unsafe impl Send for Place {}
// SAFETY: as above.
unsafe impl Sync for Place {}
