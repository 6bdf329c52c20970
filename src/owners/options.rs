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

/// Options for a new [`Mapping`]: how long it is, how it is aligned, and what the kernel does with its
/// pages. A plain value, which may be a constant.
///
/// What comes back, the last method says:
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

/// Who sees what is written to a raw mapping.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Sharing {
    /// `MAP_PRIVATE`: this process only; of a file, it is a copy.
    Private,
    /// `MAP_SHARED`: all who map the file; of anonymous memory, the children that are forked.
    Shared,
    /// `MAP_SHARED_VALIDATE|MAP_SYNC` (Linux 4.15): as `Shared`, of a file that lies in persistent memory,
    /// whose metadata are written before a page can be. EOPNOTSUPP for other files.
    SharedSync,
    /// `MAP_DROPPABLE` (Linux 6.11): as `Private`, of memory that the kernel may empty when it needs it, so
    /// that it reads as zeroes. Anonymous only.
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

/// An address for [`MapOptions::at`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// There, if it is free; else where the kernel likes.
    Hint(*mut u8),
    /// There, if it is free; else EEXIST.
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

    /// A mapping of as many bytes as the file has. Of an empty file it is an empty slice.
    ///
    /// It costs one call more, `fstat`; of an empty file one more than that, `fstatfs`, since a file of /proc
    /// says that it is empty as well.
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

    /// At a multiple of `align` bytes, a power of two.
    ///
    /// Above a page, this costs one call for more address space, and one for each end of it that is too
    /// much, mostly one; where the length is at least the alignment, the kernel's own choice is tried first,
    /// and often is aligned. What is a file, shared, populated, locked or on huge pages is mapped first, and
    /// then moved to such a place, with two calls more. Where the process has as many mappings as it may have, an
    /// end that the kernel does not take back stays mapped, which costs address space.
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

    /// `MAP_POPULATE`: make it resident at once. That it fails is not reported; by
    /// [`Mapping::populate_write`] it is.
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

    /// `MAP_NORESERVE`: the kernel does not count it as memory that it owes.
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

    /// `MAP_LOCKED`: resident at once, and never swapped out. That a page could not be made resident is not
    /// reported; by [`lock`](Mapping::lock) it is.
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

    /// `MAP_STACK`: it is for a stack; keeps transparent huge pages away (Linux 6.7). For one with a guard
    /// there is [`Stack`](crate::Stack).
    pub const fn stack(self) -> Self {
        self.flag(MapFlags::STACK)
    }

    /// `MAP_HUGETLB` with pages of `bytes`, a power of two: 2 MiB is `2 << 20`. They are the granule, to
    /// which the length is rounded up. 0 is no size, and an error when it is mapped.
    ///
    /// The system has such pages only if its administrator set some aside, and others may take them. So a
    /// slice of them is populated at once, with one call more (`MADV_POPULATE_WRITE`, Linux 5.14), which
    /// says if a page is missing; it can't be had together with [`noreserve`](Self::noreserve), and it neither
    /// grows nor is purged. After a fork, the child's copy may lose its pages (SIGBUS in the child). What most
    /// people mean by huge pages are [transparent ones](Self::transparent_huge), which have none of this.
    ///
    /// Which sizes the system has, and which of them by default, [`HugePages`](crate::HugePages) tells.
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

    /// `MADV_HUGEPAGE`: on transparent huge pages, where the kernel has some to give; on ordinary ones else, and
    /// where the memory was swapped out. There is nothing to set aside, and nothing that could be missing.
    ///
    /// A transparent huge page is 2 MiB with ordinary pages of 4 KiB, 32 MiB with 16 KiB, 512 MiB with 64 KiB.
    /// Memory that is at least as long is aligned to that, as [`align`](Self::align) does it, since only what is
    /// aligned lies on one. What is left over at its end lies on ordinary pages. Shorter memory is advised only: since
    /// Linux 6.8 there may be smaller sizes. The first write to a huge page clears all of it and makes all of it
    /// resident: with 64 KiB pages, half a GiB for a byte. Of a file there is the advice alone.
    ///
    /// The system may be set to give none (`/sys/kernel/mm/transparent_hugepage/enabled`: `never`), and does not
    /// say so here. What is mapped fills no page before the advice: together with [`populate`](Self::populate),
    /// [`locked`](Self::locked) and [`huge`](Self::huge) it is an error. [`Mapping::populate_write`] fills them
    /// afterwards.
    ///
    /// One call more, `madvise(start, len, MADV_HUGEPAGE)`, and those of [`align`](Self::align).
    ///
    /// # Errors
    /// When it is mapped: EINVAL where the kernel was built without them.
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

    /// Maps private memory: zeroes, as a `&mut [u8]`.
    ///
    /// One call: `mmap(NULL, len, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0)`, with the length
    /// rounded up to the granule; with [`align`](Self::align), [`huge`](Self::huge) and
    /// [`transparent_huge`](Self::transparent_huge) those that they cost.
    ///
    /// # Errors
    /// Those of [`mmap`](crate::mmap): EINVAL for length 0; ENOMEM if there is no huge page to be had. It also
    /// fails if the length is more than `isize::MAX`, or if the alignment or the size of the huge pages is no power
    /// of two. Nothing stays mapped.
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

    /// Maps anonymous memory, with any protection, for raw pointers.
    ///
    /// One call: `mmap(NULL, len, prot, sharing|MAP_ANONYMOUS, -1, 0)`; else as
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

    /// Maps a file from byte `offset` on, as a `&[u8]`. The descriptor may be closed afterwards. What can go wrong
    /// with a file, then and later, and how to read it instead, says [the guide to files](crate::guide::files).
    ///
    /// One call: `mmap(NULL, len, PROT_READ, MAP_PRIVATE, fd, offset)`, with the offset rounded down to the
    /// page, and the slice beginning where it was asked for. Others are made only where they are needed:
    /// - `fstat`, where the mapping's address is a multiple of 64 KiB, so that the file may lie on huge pages (of
    ///   which whole ones must be unmapped): one mapping in sixteen, and most of files that Linux aligns for transparent
    ///   huge pages. Not if [`whole`](Self::whole) has asked already. And `fstatfs`, where the file's blocks are larger
    ///   than a page, or smaller than 4096 bytes.
    /// - `fstat` after ENODEV, to say what the thing is.
    /// - `fcntl(fd, F_DUPFD_CLOEXEC, 3)` and `close` of descriptors 0, 1 and 2, which safe code may give another file
    ///   meanwhile: a duplicate is mapped.
    ///
    /// # Errors
    /// Those of [`mmap`](crate::mmap): EACCES if it is not open for reading; ENODEV, or what the thing is, if
    /// it can't be mapped, as a directory or a pipe. It also fails if the length is more than `isize::MAX`; and with
    /// [`whole`](Self::whole), if the file ends before the offset. Nothing stays mapped, but of a file on huge
    /// pages where a filter refuses `fstat` or `fstatfs`.
    ///
    /// # Safety
    /// For as long as it is mapped:
    /// - The file has the bytes. One that shrinks, be it for a moment, is SIGBUS, as is a disk that fails.
    /// - Nobody changes them, in this process or another: by `write`, by a mapping, by a hole that is punched
    ///   ([`Mapping::punch_hole`] too), as the device or the server that they come from, which may be asked for
    ///   them again at any time. A slice whose bytes change is undefined behaviour.
    /// - A file on hugetlbfs is not mapped with [`noreserve`](Self::noreserve), and its pages are there
    ///   (`fallocate`); nor has one on tmpfs a hole, since even to read it takes a page, which is SIGBUS where the
    ///   file system is full. What was only ever read there is a hole too: it is no hole once it was written, or
    ///   `fallocate`d.
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
    /// `&[u8]`: without `unsafe`, since it is the kernel that vouches for the bytes. What another process made,
    /// filled and sealed can be read in place, however little it is trusted.
    ///
    /// Both `F_SEAL_WRITE` and `F_SEAL_SHRINK` must be there; `F_SEAL_FUTURE_WRITE` is not enough, as who has
    /// mapped the file before goes on writing. The kernel adds `F_SEAL_WRITE` only when nobody has the file
    /// mapped for writing (EBUSY), and nobody takes a seal away.
    ///
    /// All of it is made the file's for good: what was only ever read, the kernel may drop and would need memory for
    /// again. So the file must be open for writing too. A hole becomes memory then, for which this process pays: as
    /// many blocks as the file has bytes are asked for, which a careless sender has not, but which a hostile one
    /// can have behind its end. So who does not trust the sender gives a length that it can afford, rather than
    /// [`whole`](Self::whole).
    ///
    /// Six calls: `fcntl(fd, F_GET_SEALS)`, `fstatfs`, `fstat` twice, `mmap(NULL, len, PROT_READ, MAP_PRIVATE, fd,
    /// offset)`, and `fallocate(fd, 0, offset, len)`; rarely one `fstat` more, as [`file`](Self::file).
    ///
    /// # Errors
    /// Fails if it is not a memory file, not so sealed, on huge pages, or has fewer blocks than bytes, and if it ends
    /// before the range does. Else what `fcntl`, `fstat` and `fstatfs` answer, those of [`file`](Self::file), and
    /// of `fallocate`: EBADF if it is not open for writing, ENOSPC or ENOMEM where there is not so much memory.
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

    /// Maps a private copy of a file from byte `offset` on, as a `&mut [u8]`: what is written is seen here
    /// only.
    ///
    /// One call: `mmap(NULL, len, PROT_READ|PROT_WRITE, MAP_PRIVATE, fd, offset)`; else as
    /// [`file`](Self::file).
    ///
    /// # Errors
    /// Those of [`file`](Self::file).
    ///
    /// # Safety
    /// As [`file`](Self::file), also where the bytes were written here, since a file that shrinks takes the copies
    /// with it; and the file does not lie on hugetlbfs, where a write may find no page (SIGBUS).
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

    /// Maps a file's own bytes from byte `offset` on, as a `&mut [u8]`: what is written is in the file, and
    /// [`Mapping::sync`] waits until it is on the disk.
    ///
    /// One call: `mmap(NULL, len, PROT_READ|PROT_WRITE, MAP_SHARED, fd, offset)`; else as
    /// [`file`](Self::file).
    ///
    /// # Errors
    /// Those of [`file`](Self::file); EACCES if it is not open for writing too.
    ///
    /// # Safety
    /// As [`file`](Self::file), but that this mapping changes the bytes; and for as long as it is mapped:
    /// - Nobody else uses the bytes by a mapping, in this process or another: neither as a slice, nor by raw
    ///   pointers, nor as atomics. A forked child has the mapping as well; only one of both uses it.
    /// - What is written finds room. Where the file has no block for it yet (a hole), or takes a new one for each
    ///   write (btrfs, or where a copy shares its blocks), a file system or a quota that is full is SIGBUS.
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

    /// Maps a file from byte `offset` on, with any protection, for raw pointers.
    ///
    /// One call: `mmap(NULL, len, prot, sharing, fd, offset)`; else as [`file`](Self::file).
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

    /// Maps at an address: memory, or a file where `fd` is one; with any flags. For what lies where the
    /// program says: an emulated machine's memory, what a snapshot held, code near other code. Where it only
    /// matters that parts lie side by side, a [`Reservation`](crate::Reservation) that is split does it
    /// without `unsafe`.
    ///
    /// One call: `mmap(addr, len, prot, flags, fd, offset)`, with `MAP_FIXED_NOREPLACE` for an exact place. A
    /// kernel before 4.17, or an emulator, takes that for a hint; what it placed elsewhere is unmapped again,
    /// with one more call. The options' own flags are added; [`align`](Self::align) is not looked at.
    ///
    /// # Errors
    /// Those of [`mmap`](crate::mmap); EEXIST if something is mapped at the exact place. It also fails if the
    /// flags have `MAP_HUGETLB`, for which there is [`huge`](Self::huge). (To `MAP_SHARED_VALIDATE` of a file at an
    /// exact place the kernel says EOPNOTSUPP always.)
    ///
    /// # Safety
    /// - `fd` is open, if `flags` are not `ANONYMOUS`, and not of a file on hugetlbfs, unless
    ///   [`huge`](Self::huge) says how large its pages are.
    /// - `flags` have no `FIXED` and no `GROWSDOWN`; any that this crate does not know leave a new mapping
    ///   of the whole length that nobody else unmaps.
    /// - Nothing that grows comes to lie there: no stack grows down to it, nor does the mapping lie where one
    ///   may.
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
