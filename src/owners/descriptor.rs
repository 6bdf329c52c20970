//! Files: how a descriptor is lent, and what is asked of it.

use crate::arch::{self, STAT_MODE, nr};
use crate::call::Call;
use crate::errno::Errno;
use crate::flags::{MapFlags, Prot};
use crate::owners::beyond::{
    PROC_SUPER_MAGIC, close, counts_strictly, file_size_limit, fstatfs, is_replaceable, lasting,
};
use crate::owners::error::{ALLOCATING, Error, Wrong, issue};
use crate::owners::mapping::{Backing, RW};
use crate::owners::place;
use crate::page_size::PageSize;
use crate::raw::RawFd;
use crate::word::Word;
use core::marker::PhantomData;
use core::ptr::null_mut;

/// An open file descriptor, which is lent for as long as `'fd`. It is the `BorrowedFd` of programs without the
/// standard library.
///
/// ```
/// use rawmap::{Fd, MapOptions, Prot, Sharing};
/// use std::os::fd::AsRawFd;
/// let file = std::fs::File::open("/proc/self/exe").unwrap();
/// // SAFETY: `file` stays open for as long as `fd` is used.
/// let fd = unsafe { Fd::borrow_raw(file.as_raw_fd()) };
/// let image = MapOptions::new(4).file_raw(fd, 0, Prot::READ, Sharing::Private)?;
/// // SAFETY: four bytes that can be read, of a program that runs.
/// assert_eq!(unsafe { image.as_ptr().cast::<[u8; 4]>().read() }, *b"\x7fELF");
/// # Ok::<(), rawmap::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Fd<'fd> {
    raw: RawFd,
    lent: PhantomData<&'fd ()>,
}

impl Fd<'_> {
    /// Lends a descriptor by its number.
    ///
    /// # Safety
    /// The descriptor must be open, and name the same open file, for as long as the result is used: nobody
    /// closes it, nor gives its number to another file (`dup2`). The numbers 0, 1 and 2 need only be open:
    /// they are duplicated first.
    #[must_use]
    pub const unsafe fn borrow_raw(raw: RawFd) -> Self {
        Self { raw, lent: PhantomData }
    }

    /// The descriptor's number.
    #[must_use]
    pub const fn raw(self) -> RawFd {
        self.raw
    }
}

/// A type that lends a file descriptor. With the feature `std`, every type that is `AsFd` is one: `&File`,
/// `OwnedFd`, `BorrowedFd` and others.
///
/// ```
/// use rawmap::{AsDescriptor, Error, MapOptions, Mapping, Prot, Raw, Sharing};
/// fn header(file: impl AsDescriptor) -> Result<Mapping<Raw>, Error> {
///     MapOptions::new(64).file_raw(file, 0, Prot::READ, Sharing::Private)
/// }
/// let file = std::fs::File::open("/proc/self/exe")?;
/// # use std::os::fd::AsRawFd;
/// # // SAFETY: `file` stays open.
/// # let file = unsafe { rawmap::Fd::borrow_raw(file.as_raw_fd()) };
/// assert_eq!(header(&file)?.len(), 64);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` lends no file descriptor",
    note = "with rawmap's feature `std`, `&File` does, and all that is `AsFd`; without it, `Fd::borrow_raw`"
)]
pub trait AsDescriptor {
    /// Lends the descriptor for as long as `self` is borrowed.
    fn as_descriptor(&self) -> Fd<'_>;
}

impl AsDescriptor for Fd<'_> {
    fn as_descriptor(&self) -> Fd<'_> {
        *self
    }
}

impl AsDescriptor for &Fd<'_> {
    fn as_descriptor(&self) -> Fd<'_> {
        **self
    }
}

/// A descriptor of which several calls ask, that names the same file for all of them. A lent one stays open,
/// but numbers 0, 1 and 2 may be given another file by safe code meanwhile (`dup2` over standard input): of
/// those it is a duplicate, which is closed when this is dropped.
pub(super) struct Kept {
    raw: RawFd,
    is_duplicate: bool,
}

impl Kept {
    /// No call but for 0, 1 and 2: `fcntl(fd, F_DUPFD_CLOEXEC, 3)`, and `close` when it is dropped.
    pub(super) fn of(fd: RawFd) -> Result<Self, Error> {
        if is_replaceable(fd) {
            Ok(Self { raw: duplicate(fd)?, is_duplicate: true })
        } else {
            Ok(Self { raw: fd, is_duplicate: false })
        }
    }

    pub(super) const fn fd(&self) -> Fd<'_> {
        Fd { raw: self.raw, lent: PhantomData }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if self.is_duplicate {
            close(self.raw);
        }
    }
}

/// Another number of the same file, from 3 on.
#[cold]
fn duplicate(fd: RawFd) -> Result<RawFd, Error> {
    const F_DUPFD_CLOEXEC: usize = 1030;
    let (command, least) = (Word::int(F_DUPFD_CLOEXEC), Word::int(3));
    // SAFETY: it takes a number that nobody has.
    let made = unsafe { arch::syscall3(Word::signed(fd), command, least, nr::FCNTL) };
    match Errno::decode(made) {
        Ok(made) => Ok(made.bits() as RawFd),
        Err(errno) => Err(Error::refused_of("fcntl(F_DUPFD_CLOEXEC)", fd, errno)),
    }
}

/// What `fstat` says of a file.
struct Status {
    mode: u32,
    size: u64,
    block: usize,
    /// In units of 512 bytes.
    blocks: u64,
}

impl Status {
    /// One call: `fstat(fd, ...)`.
    fn of(fd: RawFd) -> Result<Self, Error> {
        // At most 144 bytes, on any architecture.
        let mut status = [0_u64; 18];
        let out = Word::ptr(status.as_mut_ptr().cast());
        // SAFETY: the kernel writes a `struct stat` there, which is not larger.
        let asked = unsafe { arch::syscall2(Word::signed(fd), out, nr::FSTAT) };
        Errno::decode(asked).map_err(|errno| Error::refused_of("fstat", fd, errno))?;
        Ok(Self {
            mode: status[STAT_MODE / 8] as u32,
            size: status[48 / 8],
            // An int on some architectures, with padding behind it, and a long on others.
            block: status[56 / 8] as u32 as usize,
            blocks: status[64 / 8],
        })
    }

    /// What the thing is, if it is none that has a length to be mapped.
    fn unmappable(&self) -> Option<&'static str> {
        Some(match self.mode & 0o170_000 {
            0o100_000 => return None,
            0o040_000 => "a directory can't be mapped; open a file in it",
            0o010_000 => "a pipe can't be mapped; read it",
            0o140_000 => {
                "a socket has no length; read it (packet rings are mapped by file_raw, with their length)"
            }
            0o020_000 => "a character device has no length; give one, if it can be mapped at all",
            0o060_000 => {
                "a block device's length is not what fstat says; ask the device, and give it"
            }
            _ => "this kind of file has no length; give one, if it can be mapped at all",
        })
    }
}

/// The type of the file system that a file lies on, and the size of its blocks. One call: `fstatfs(fd, ...)`.
fn file_system(fd: RawFd) -> Result<(usize, usize), Error> {
    fstatfs(fd).map_err(|errno| Error::refused_of("fstatfs", fd, errno))
}

// Seals of a memory file (`fcntl(2)`).
const F_SEAL_SEAL: usize = 1;
const F_SEAL_SHRINK: usize = 2;
const F_SEAL_GROW: usize = 4;
const F_SEAL_WRITE: usize = 8;
const F_SEAL_FUTURE_WRITE: usize = 16;

/// The magic number of hugetlbfs.
const HUGETLBFS_MAGIC: usize = 0x9584_58f6;

/// Checks that a file's bytes stay what they are: that it is a memory file, sealed for good against writing
/// and against shrinking, and has an ordinary page for each byte.
///
/// Two calls: `fcntl(fd, F_GET_SEALS)` and `fstatfs`.
///
/// # Errors
/// What is not so.
pub(super) fn check_sealed(operation: &'static str, fd: RawFd) -> Result<(), Error> {
    const F_GET_SEALS: usize = 1034;
    let not_offered = |what, value| Error::wrong(operation, what, value, Wrong::NotOffered, 0);
    // SAFETY: it reads a number that the kernel keeps.
    let seals = unsafe { arch::syscall2(Word::signed(fd), Word::int(F_GET_SEALS), nr::FCNTL) };
    let seals = match Errno::decode(seals) {
        Ok(seals) => seals.bits(),
        Err(Errno::EINVAL) => {
            return Err(not_offered("only a memory file (memfd_create) has seals; see file", 0));
        }
        Err(errno) => return Err(Error::refused_of("fcntl(F_GET_SEALS)", fd, errno)),
    };
    // Not F_SEAL_FUTURE_WRITE: who has mapped it by then goes on writing.
    let missing = match (seals & F_SEAL_WRITE != 0, seals & F_SEAL_SHRINK != 0) {
        (true, true) => None,
        (false, true) => Some("the file is not sealed against writing (F_SEAL_WRITE)"),
        (true, false) => Some("the file is not sealed against shrinking (F_SEAL_SHRINK)"),
        (false, false) => Some(
            "the file is sealed against neither writing (F_SEAL_WRITE) nor shrinking (F_SEAL_SHRINK)",
        ),
    };
    if let Some(what) = missing {
        return Err(not_offered(what, seals));
    }
    if file_system(fd)?.0 == HUGETLBFS_MAGIC {
        return Err(not_offered(
            "the file lies on huge pages, of which one may be missing; see file",
            0,
        ));
    }
    // Whoever reads a hole makes a page of it, and pays for it.
    let status = Status::of(fd)?;
    if status.blocks.saturating_mul(512) < status.size {
        return Err(not_offered(
            "the file has holes; who seals it fills them first (fallocate)",
            status.size as usize,
        ));
    }
    Ok(())
}

/// How many bytes a file has from `offset` on, and what it says of its blocks, for [`granule`].
///
/// One call: `fstat`; and where it has none, one more, `fstatfs`, since a file of /proc says so too.
///
/// # Errors
/// What the thing is, if it is no file with a length; that it ends before `offset`.
pub(super) fn bytes_from(
    operation: &'static str,
    fd: RawFd,
    offset: u64,
) -> Result<(usize, usize), Error> {
    let status = Status::of(fd)?;
    let no_file = |what| Error::wrong(operation, what, 0, Wrong::NotMappable, 0);
    if let Some(what) = status.unmappable() {
        return Err(no_file(what));
    }
    if status.size == 0 && file_system(fd)?.0 == PROC_SUPER_MAGIC {
        return Err(no_file("a file of /proc has no length and can't be mapped; read it"));
    }
    match status.size.checked_sub(offset) {
        Some(bytes) => Ok((bytes as usize, status.block)),
        None => {
            let (offset, size) = (offset as usize, status.size as usize);
            Err(Error::wrong(operation, "the offset", offset, Wrong::BeyondLength, size))
        }
    }
}

/// The error that the kernel gave for mapping `fd`, or one that says more.
#[cold]
pub(super) fn explained(operation: &'static str, fd: RawFd, error: Error) -> Error {
    // Where it is not open for what is asked, the kernel says that first.
    if !matches!(error.errno(), Errno::ENODEV | Errno::EACCES) {
        return error;
    }
    match Status::of(fd) {
        // A device or a socket may be one whose driver maps nothing: the kernel's word is all that is known.
        Ok(status) if matches!(status.mode & 0o170_000, 0o040_000 | 0o010_000) => {
            let what = status.unmappable().unwrap_or_default();
            Error::wrong(operation, what, 0, Wrong::NotMappable, 0)
        }
        _ => error,
    }
}

/// Whether the address of a file's mapping tells that it lies on ordinary pages: memory on huge pages begins at a
/// multiple of their size, which is 64 KiB at least.
#[inline]
pub(super) fn tells_granule(addr: *mut u8) -> bool {
    addr.addr() & 0xffff != 0
}

/// What a file's mapping is made of, where [its address does not tell](tells_granule): the page size, or on
/// hugetlbfs the size of its pages.
///
/// `fstat`, unless the size of the blocks is known; `fstatfs` where that is not one of an ordinary file; and where
/// the answer is hugetlbfs, the calls of [`lies_on_huge_pages`].
pub(super) fn granule(fd: RawFd, page: PageSize, block: Option<usize>) -> Result<PageSize, Error> {
    let block = match block {
        Some(block) => block,
        None => Status::of(fd)?.block,
    };
    if PageSize::new(block).is_some_and(|size| size <= page) {
        return Ok(page);
    }
    // What `fstat` says of pages of 16 GiB is 4: it counts in 32 bits (`include/linux/fs.h`: `i_blocksize`).
    huge_pages(file_system(fd)?, page, fd)
}

/// How large the pages of a file are, of which `fstatfs` says this.
fn huge_pages((kind, block): (usize, usize), page: PageSize, fd: RawFd) -> Result<PageSize, Error> {
    if kind != HUGETLBFS_MAGIC {
        return Ok(page);
    }
    let unknown =
        || Error::wrong("fstatfs", "the huge pages' size", block, Wrong::NotAPowerOfTwo, 0);
    let huge = PageSize::new(block).ok_or_else(unknown)?;
    Ok(if lies_on_huge_pages(fd, huge)? { huge } else { page })
}

/// Whether the kernel itself takes the file for one on huge pages. What `fstatfs` says may be a file server's word,
/// which 9p passes on (`fs/9p/vfs_super.c`: `v9fs_statfs`). But to `MAP_HUGETLB` of a file that is not on hugetlbfs
/// the kernel answers EINVAL (`mm/mmap.c`: `ksys_mmap_pgoff`).
///
/// One call, `mmap(NULL, huge, PROT_NONE, MAP_PRIVATE|MAP_NORESERVE|MAP_HUGETLB, fd, 0)`, which takes no huge page;
/// and `munmap` if it succeeds.
fn lies_on_huge_pages(fd: RawFd, huge: PageSize) -> Result<bool, Error> {
    let flags = MapFlags::PRIVATE.union(MapFlags::NORESERVE).union(MapFlags::HUGETLB);
    // SAFETY: a new mapping, in place of nothing.
    match unsafe { issue(Call::mmap(null_mut(), huge.bytes(), Prot::NONE, flags, fd, 0)) } {
        Ok(addr) => {
            // SAFETY: mapped just now, and nobody's. It is so long: hugetlbfs itself has said how large its pages are.
            unsafe { place::give_back(addr, huge.bytes(), Backing::PrivateFile) };
            Ok(true)
        }
        Err(error) if error.errno() == Errno::EINVAL => Ok(false),
        Err(error) => Err(error),
    }
}

/// Gives a memory file a page for each of so many bytes, and has it keep those that it has: the kernel drops what was
/// only ever read (`mm/shmem.c`: `shmem_fallocate`).
pub(super) fn allocate(fd: RawFd, offset: u64, len: usize) -> Result<(), Error> {
    let refused = |errno| Err(Error::refused_of(ALLOCATING, fd, errno));
    // A signal interrupts it, and undoes it.
    for _ in 0..8 {
        let (offset, len) = (Word::int(offset as usize), Word::int(len));
        // SAFETY: it changes no byte.
        let made =
            unsafe { arch::syscall4(Word::signed(fd), Word::ZERO, offset, len, nr::FALLOCATE) };
        match Errno::decode(made) {
            Ok(_) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(errno) => return refused(errno),
        }
    }
    refused(Errno::EINTR)
}

/// A file in memory that has no name: closed when this is dropped, which leaves its mappings.
///
/// While it is open it has a number, by which any thread may open it anew (`/proc/self/fd`), and keep that. So
/// before its mappings are lent it is [sealed](Self::seal).
pub(super) struct MemoryFile {
    fd: RawFd,
    len: usize,
    is_strict: bool,
}

impl MemoryFile {
    /// A file of `len` bytes: zeroes.
    ///
    /// Seven calls: `prlimit64(RLIMIT_FSIZE)`, since to make a file longer than that is a signal (whoever lowers
    /// that limit just then, or turns strict accounting on later, is not considered); `openat`, `fstatfs`, `pread64`
    /// and `close` of `vm.overcommit_memory`; `memfd_create("rawmap", MFD_CLOEXEC|MFD_ALLOW_SEALING)` and
    /// `ftruncate`. For each of the numbers 0, 1 and 2 that the program has closed, it is two more: `openat` or
    /// `memfd_create` again, and `close`. Under strict accounting a page that can't be counted when it is touched
    /// would be SIGBUS: there `mmap` and `munmap` of so much memory come first, which is refused where it can't be
    /// had.
    pub(super) fn new(len: usize) -> Result<Self, Error> {
        const MFD_CLOEXEC: usize = 1;
        const MFD_ALLOW_SEALING: usize = 2;
        if len > file_size_limit() {
            return Err(Error::refused_beyond("ftruncate", Errno::EFBIG));
        }
        let is_strict = counts_strictly();
        if is_strict {
            drop(place::anonymous("mmap", len, RW, MapFlags::default())?);
        }
        let name = Word::ptr(c"rawmap".as_ptr().cast_mut().cast());
        let flags = Word::int(MFD_CLOEXEC | MFD_ALLOW_SEALING);
        // SAFETY: the kernel reads the name, which ends with a zero.
        let made = lasting(&|| unsafe { arch::syscall2(name, flags, nr::MEMFD_CREATE) });
        let fd = made.map_err(|errno| Error::refused_beyond("memfd_create", errno))?;
        let file = Self { fd, len, is_strict };
        // SAFETY: it changes a file that was made just now.
        let sized = unsafe { arch::syscall2(Word::signed(file.fd), Word::int(len), nr::FTRUNCATE) };
        Errno::decode(sized).map_err(|errno| Error::refused_beyond("ftruncate", errno))?;
        Ok(file)
    }

    pub(super) const fn raw(&self) -> RawFd {
        self.fd
    }

    /// Leaves the file's bytes to the mappings that it has now, and to those that are made of them: seals it
    /// against writing, other mappings that can be written, and every change of its length. Whoever has opened
    /// it meanwhile can read it from then on, and no more; who has mapped it keeps that. The bytes are zeroes.
    ///
    /// Two calls: `fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL|F_SEAL_SHRINK|F_SEAL_GROW|F_SEAL_FUTURE_WRITE)` (Linux 5.1),
    /// and `fstat`, since what was done before the seals is done; under strict accounting `fallocate`, which gives
    /// it all its pages.
    ///
    /// # Errors
    /// That the file can't be sealed, that somebody has changed its length before it was, or that it can't have
    /// its pages. None of its mappings is to be used then.
    ///
    /// # Safety
    /// `view` is a mapping of all of the file, which can be written, and nothing refers to it.
    pub(super) unsafe fn seal(self, view: *mut u8) -> Result<(), Error> {
        const F_ADD_SEALS: usize = 1033;
        let seals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE;
        let fd = Word::signed(self.fd);
        // SAFETY: it changes a file that was made just now.
        let sealed =
            unsafe { arch::syscall3(fd, Word::int(F_ADD_SEALS), Word::int(seals), nr::FCNTL) };
        Errno::decode(sealed)
            .map_err(|errno| Error::refused_beyond("fcntl(F_ADD_SEALS)", errno))?;
        let Status { size, blocks, .. } = Status::of(self.fd)?;
        if size != self.len as u64 {
            let (size, what) = (size as usize, "the memory file's length");
            return Err(Error::wrong("memfd_create", what, size, Wrong::Differs, self.len));
        }
        if self.is_strict {
            allocate(self.fd, 0, self.len)?;
        }
        if blocks != 0 {
            // Somebody has written it; or it is locked, as all that is mapped is after `mlockall(MCL_FUTURE)`.
            // SAFETY: the file is so long, and stays so; the rest is the caller's promise.
            unsafe { view.write_bytes(0, self.len) };
        }
        Ok(())
    }
}

impl Drop for MemoryFile {
    fn drop(&mut self) {
        close(self.fd);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raw::NO_FD;

    #[test]
    fn huge_pages_are_those_that_the_kernel_itself_says_a_file_has() {
        let page = PageSize::SMALLEST;
        let memory = MemoryFile::new(page.bytes()).unwrap();
        for (kind, block) in [
            // As a server of 9p may say.
            (HUGETLBFS_MAGIC, 2 << 20),
            (HUGETLBFS_MAGIC, 16 << 30),
            (PROC_SUPER_MAGIC, 1 << 20),
        ] {
            assert_eq!(huge_pages((kind, block), page, memory.raw()), Ok(page));
        }
        assert!(huge_pages((HUGETLBFS_MAGIC, 4), page, memory.raw()).is_err());
        assert_eq!(
            huge_pages((HUGETLBFS_MAGIC, 1 << 20), page, NO_FD).unwrap_err().errno(),
            Errno::EBADF
        );
    }
}
