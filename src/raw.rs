//! The raw functions: one system call each, words in, `Result` out.
//!
//! Nothing is checked, stored or retried here, nothing panics, and nothing needs a relocation:
//! these may be called before a program has relocated itself, in a signal handler, between fork
//! and exec, or under an allocator's own lock. What the kernel says comes back by value.

use crate::arch::{self, nr};
use crate::{
    Advice, Errno, MapFlags, MlockAllFlags, MlockFlags, MremapFlags, MsealFlags, MsyncFlags, Prot,
    Word,
};

/// A file descriptor, as C and the kernel have it; [`NO_FD`] where there is none. Not C's `FILE *`,
/// which `fopen` makes: of that, `fileno`.
pub type RawFd = core::ffi::c_int;

/// The file descriptor that stands for no file: -1.
pub const NO_FD: RawFd = -1;

/// What C's `mmap` returns when it fails: all bits set. For code that speaks C; this crate's
/// functions return [`Err`].
pub const MAP_FAILED: *mut u8 = core::ptr::without_provenance_mut(usize::MAX);

#[inline]
fn pointer(ret: Word) -> Result<*mut u8, Errno> {
    Errno::decode(ret).map(Word::as_ptr)
}

#[inline]
fn unit(ret: Word) -> Result<(), Errno> {
    Errno::decode(ret).map(|_| ())
}

/// `mmap(2)`: maps `len` bytes of a file from `offset` on, or of anonymous memory, and returns
/// where.
///
/// `addr` is a hint unless `flags` says [`FIXED`](MapFlags::FIXED) or
/// [`FIXED_NOREPLACE`](MapFlags::FIXED_NOREPLACE); null leaves the choice to the kernel. `len`, in
/// bytes, is rounded up to whole pages. `offset`, in bytes, must be a multiple of the page size,
/// for anonymous memory too. The file may be closed once it is mapped. Bytes of the last page
/// behind the end of the file read as zeroes and are not written back (on tmpfs, and so in a memfd,
/// they come to light when the file grows); pages wholly behind it are SIGBUS. A file that was just
/// created is empty: give it a length first.
///
/// One call: `mmap(addr, len, prot, flags, fd, offset)`.
///
/// # Errors
/// - EBADF: `fd` is not an open file, and `flags` has no [`ANONYMOUS`](MapFlags::ANONYMOUS). Seen
///   before any other error but an unaligned offset.
/// - EINVAL: `len` is 0; `offset` is not a multiple of the page size; `flags` has no sharing, or
///   one that the kernel doesn't know; a fixed address is not a multiple of the page size;
///   `GROWSDOWN` with a shared mapping or a file; `DROPPABLE` with a file, `LOCKED`, `GROWSDOWN` or
///   `HUGETLB`; `HUGETLB` with a size that the kernel doesn't have, or on a file of another file
///   system.
/// - EACCES: the file is not open for reading; or the mapping is `SHARED` and `WRITE` and the file
///   is not open for writing, or is append-only. `SHARED` alone, as old texts have it, requires no
///   writable file.
/// - EPERM: `EXEC` and the file system is mounted noexec; a file sealed against writing; `LOCKED`
///   with no right to lock; a fixed address below `vm.mmap_min_addr`; a fixed address over sealed
///   memory.
/// - ENOMEM: no room in the address space, or above RLIMIT_AS, RLIMIT_DATA or `vm.max_map_count`;
///   `len` wraps when rounded up. More can be mapped than the machine has memory.
/// - EAGAIN: `LOCKED` over RLIMIT_MEMLOCK. That the file is locked, as old texts have it, is no
///   error: mandatory locks are gone since Linux 5.15.
/// - EEXIST: `FIXED_NOREPLACE`, and something is mapped there.
/// - ENODEV: the file can't be mapped (a directory, a pipe, a file of /proc/pid).
/// - EOVERFLOW: `offset + len` is more than a file can have.
/// - EOPNOTSUPP: [`SHARED_VALIDATE`](MapFlags::SHARED_VALIDATE), and a flag that is not known.
/// - ETXTBSY: `SHARED` and `WRITE`, and the file is used for swapping.
/// - ENFILE, and what the file's own driver says: EIO for other files of /proc.
///
/// # Kernels differ
///
/// | where | what |
/// |---|---|
/// | pages of 16 and 64 KiB | an offset of 4096 is EINVAL |
/// | address spaces of 2^38 to 2^56 bytes ([`Limits::address_space`](crate::Limits::address_space)) | longer, or fixed behind it: ENOMEM |
/// | Linux before 6.6 | [`SHARED_VALIDATE`](MapFlags::SHARED_VALIDATE) doesn't know x86_64's `MAP_ABOVE4G` |
/// | before 6.11 | [`DROPPABLE`](MapFlags::DROPPABLE) is EINVAL |
/// | riscv64 before 6.18 | an offset of 2^63 and more is taken as signed: EOVERFLOW with a file, and with anonymous memory if offset and length together wrap |
/// | riscv64 since 7.0 | `WRITE` means `READ` too, as /proc/pid/maps shows |
/// | aarch64, riscv64 | `MAP_32BIT` is no flag, and ignored |
/// | aarch64 with BTI or MTE | `PROT_BTI` and `PROT_MTE` count; elsewhere they are ignored |
/// | x86_64 without protection keys, aarch64 without FEAT_PAN3 | memory of `EXEC` alone can be read |
/// | QEMU user mode before 10 | `FIXED_NOREPLACE` is a hint |
///
/// # Safety
/// With `FIXED`, no Rust reference may point into the range that is replaced, nor may anything
/// else rely on it. The memory that comes back is aliased by every other mapping of the same file
/// or shared memory, in this process or another: references to it are sound only while nobody
/// writes it, and atomics or raw pointers where somebody may.
///
/// Linux 1.0. Source: mmap(2), `mm/mmap.c`.
///
/// ```
/// use rawmap::{MapFlags, NO_FD, Prot, mmap, munmap};
/// let flags = MapFlags::PRIVATE | MapFlags::ANONYMOUS;
/// // SAFETY: a new mapping, which nothing else refers to, and whose last use is before munmap.
/// unsafe {
///     let page = mmap(core::ptr::null_mut(), 4096, Prot::READ | Prot::WRITE, flags, NO_FD, 0)?;
///     page.write(42);
///     assert_eq!(page.read(), 42);
///     munmap(page, 4096)?;
/// }
/// # Ok::<(), rawmap::Errno>(())
/// ```
#[inline]
pub unsafe fn mmap(
    addr: *mut u8,
    len: usize,
    prot: Prot,
    flags: MapFlags,
    fd: RawFd,
    offset: u64,
) -> Result<*mut u8, Errno> {
    // SAFETY: mmap reads and writes no memory of ours; what it replaces is the caller's promise.
    pointer(unsafe {
        arch::syscall6(
            Word::ptr(addr),
            Word::int(len),
            prot.word(),
            flags.word(),
            Word::signed(fd),
            Word::int(offset as usize),
            nr::MMAP,
        )
    })
}

/// [`mmap`] of anonymous memory: [`MapFlags::ANONYMOUS`] is added to `flags`, and there is no
/// file.
///
/// The memory reads as zeroes. With [`SHARED`](MapFlags::SHARED) it is shared with the children
/// that are forked later, with [`PRIVATE`](MapFlags::PRIVATE) with nobody.
///
/// One call: `mmap(addr, len, prot, flags|MAP_ANONYMOUS, -1, 0)`.
///
/// # Errors
/// As [`mmap`]; never those about a file.
///
/// # Safety
/// As [`mmap`].
///
/// ```
/// use rawmap::{MapFlags, Prot, mmap_anonymous, munmap};
/// // SAFETY: a new mapping, which nothing else refers to.
/// unsafe {
///     let page = mmap_anonymous(core::ptr::null_mut(), 4096, Prot::READ, MapFlags::PRIVATE)?;
///     assert_eq!(page.read(), 0);
///     munmap(page, 4096)?;
/// }
/// # Ok::<(), rawmap::Errno>(())
/// ```
#[inline]
pub unsafe fn mmap_anonymous(
    addr: *mut u8,
    len: usize,
    prot: Prot,
    flags: MapFlags,
) -> Result<*mut u8, Errno> {
    // SAFETY: the caller's promise is mmap's own.
    unsafe { mmap(addr, len, prot, flags.union(MapFlags::ANONYMOUS), NO_FD, 0) }
}

/// `munmap(2)`: unmaps every page that has a byte of `addr .. addr + len`.
///
/// `len`, in bytes, is rounded up to whole pages. Holes in the range are no error. A mapping may
/// be unmapped in parts; on huge pages, in whole huge pages only.
///
/// One call: `munmap(addr, len)`.
///
/// # Errors
/// - EINVAL: `addr` is not a multiple of the page size; `len` is 0 or wraps; the range leaves the
///   address space; a part of a huge page.
/// - ENOMEM: a mapping would be split, and the process has `vm.max_map_count` of them already.
/// - EPERM: part of the range is sealed ([`mseal`]).
///
/// # Kernels differ
///
/// On aarch64 the top byte of `addr` is ignored; elsewhere a tagged address is EINVAL.
///
/// # Safety
/// Nothing may use the range afterwards: no reference, no running code, no stack.
///
/// Linux 1.0. Source: munmap(2), `mm/mmap.c`.
///
/// ```
/// use rawmap::{Errno, munmap};
/// // SAFETY: an address that is not a multiple of the page size unmaps nothing.
/// assert_eq!(unsafe { munmap(core::ptr::without_provenance_mut(1), 1) }, Err(Errno::EINVAL));
/// ```
#[inline]
pub unsafe fn munmap(addr: *mut u8, len: usize) -> Result<(), Errno> {
    // SAFETY: the caller's promise: nothing uses the range afterwards.
    unit(unsafe { arch::syscall2(Word::ptr(addr), Word::int(len), nr::MUNMAP) })
}

/// `mprotect(2)`: sets what the pages of `addr .. addr + len` may be used for.
///
/// `len`, in bytes, is rounded up to whole pages; 0 is no error and changes nothing. When the
/// range has a hole, the pages before it are changed and the answer is ENOMEM.
///
/// One call: `mprotect(addr, len, prot)`.
///
/// # Errors
/// - EINVAL: `addr` is not a multiple of the page size; `prot` has a bit that the kernel doesn't
///   know, or both of `GROWSDOWN` and `GROWSUP`, or one of them and no such mapping is there.
/// - EACCES: more than the file was opened for (writing a shared mapping of a read-only file).
/// - ENOMEM: part of the range is not mapped; `len` wraps; a mapping would be split, and the
///   process has `vm.max_map_count` of them already.
/// - EPERM: part of the range is sealed ([`mseal`]).
///
/// # Kernels differ
///
/// | where | what |
/// |---|---|
/// | aarch64 with BTI or MTE | `PROT_BTI` and `PROT_MTE` are known; elsewhere EINVAL |
/// | aarch64 | the top byte of `addr` is ignored; elsewhere a tagged address is ENOMEM |
/// | Linux before 6.10 | nothing is ever sealed: no EPERM |
/// | riscv64 since 7.0 | `WRITE` means `READ` too |
///
/// # Safety
/// References into the range must still be allowed what they are for; and code must not be made
/// executable that isn't meant to run.
///
/// Linux 1.0. Source: mprotect(2), `mm/mprotect.c`.
///
/// ```
/// use rawmap::{MapFlags, PageSize, Prot, mmap_anonymous, mprotect, munmap};
/// let page = PageSize::find()?.bytes();
/// // SAFETY: a new mapping, which nothing else refers to.
/// unsafe {
///     let map = mmap_anonymous(core::ptr::null_mut(), page, Prot::NONE, MapFlags::PRIVATE)?;
///     mprotect(map, page, Prot::READ | Prot::WRITE)?;
///     map.write(1);
///     munmap(map, page)?;
/// }
/// # Ok::<(), rawmap::Errno>(())
/// ```
#[inline]
pub unsafe fn mprotect(addr: *mut u8, len: usize, prot: Prot) -> Result<(), Errno> {
    // SAFETY: the caller's promise: the range may lose and gain these rights.
    unit(unsafe { arch::syscall3(Word::ptr(addr), Word::int(len), prot.word(), nr::MPROTECT) })
}

/// `msync(2)`: writes the shared file mappings of `addr .. addr + len` back to their files.
///
/// `len`, in bytes, is rounded up to whole pages; 0 is no error. Another mapping of the file, and
/// `read` of it, see what was written at once, without this: it is for the disk. What is mapped
/// is synced even when the range has a hole; the answer is ENOMEM then.
///
/// One call: `msync(addr, len, flags)`.
///
/// # Errors
/// - EINVAL: `addr` is not a multiple of the page size; `flags` has a bit that the kernel doesn't
///   know, or both of `SYNC` and `ASYNC`.
/// - ENOMEM: part of the range is not mapped; `addr` and the rounded `len` together wrap. (A `len`
///   that itself wraps to 0 when rounded up is no error.)
/// - EBUSY: `INVALIDATE`, and part of the range is locked.
/// - EIO, ENOSPC, and what the file system says of the writing.
///
/// # Kernels differ
///
/// On aarch64 the top byte of `addr` is ignored; elsewhere a tagged address is ENOMEM.
///
/// # Safety
/// None beyond that of all raw functions: nothing in memory changes.
///
/// Linux 1.2. Source: msync(2), `mm/msync.c`.
///
/// ```
/// use rawmap::{Errno, MsyncFlags, msync};
/// let both = MsyncFlags::SYNC | MsyncFlags::ASYNC;
/// // SAFETY: msync changes no memory.
/// assert_eq!(unsafe { msync(core::ptr::null_mut(), 0, both) }, Err(Errno::EINVAL));
/// ```
#[inline]
pub unsafe fn msync(addr: *mut u8, len: usize, flags: MsyncFlags) -> Result<(), Errno> {
    // SAFETY: msync changes no memory.
    unit(unsafe { arch::syscall3(Word::ptr(addr), Word::int(len), flags.word(), nr::MSYNC) })
}

/// `mremap(2)`: resizes or moves the mapping at `old`, and returns where it is.
///
/// Lengths, in bytes, are rounded up to whole pages. New pages of anonymous memory read as zeroes.
/// An `old_len` of 0 makes a second mapping of the shared pages at `old` (EINVAL for private
/// ones). Always five arguments: with [`DONTUNMAP`](MremapFlags::DONTUNMAP) the kernel reads
/// `new_addr` as a hint even without [`FIXED`](MremapFlags::FIXED); pass null for none.
///
/// One call: `mremap(old, old_len, new_len, flags, new_addr)`.
///
/// # Errors
/// - EINVAL: `old` is not a multiple of the page size; `new_len` is 0; an unknown flag; `FIXED` or
///   `DONTUNMAP` without `MAYMOVE`; `DONTUNMAP` with different lengths; with `FIXED` or
///   `DONTUNMAP` a `new_addr` that is unaligned, leaves the address space or overlaps the old range.
/// - EFAULT: nothing is mapped at `old`; or it grows, and the old range is not all of one mapping
///   (see below for a move).
/// - ENOMEM: it can't grow in place, and not `MAYMOVE`; no room; RLIMIT_AS or `vm.max_map_count`.
/// - EAGAIN: it is locked, and grows over RLIMIT_MEMLOCK.
/// - EPERM: part of the old or new range is sealed ([`mseal`]).
///
/// # Kernels differ
///
/// | where | what |
/// |---|---|
/// | Linux before 6.17 | several mappings can't be moved: EFAULT, and `FIXED` has unmapped the new range by then |
/// | since 6.17 | several are moved one by one, and the first may be moved when another is refused |
/// | before 6.16, and in a forked child | neighbours that are alike are not always joined to one, where just one of them was touched |
/// | before 6.17 | `new_len` of more than the address space: ENOMEM without `FIXED`; since then EINVAL |
/// | before 6.17 | with `DONTUNMAP` the lengths must be the same to the byte; since then, rounded up |
/// | aarch64 | the top byte of `old` is ignored, that of `new_addr` is not |
/// | QEMU user mode | an `old_len` of 0 is ENOMEM |
///
/// # Safety
/// Nothing may use the old range afterwards, if it moves or shrinks; and with `FIXED`, what was
/// mapped in the new range, also if the call fails: the kernel unmaps that first.
///
/// Linux 1.3.78. Source: mremap(2), `mm/mremap.c`.
///
/// ```
/// use rawmap::{MapFlags, MremapFlags, PageSize, Prot, mmap_anonymous, mremap, munmap};
/// use core::ptr::null_mut;
/// let page = PageSize::find()?.bytes();
/// // SAFETY: a new mapping, which nothing else refers to; after mremap only the new one is used.
/// unsafe {
///     let old = mmap_anonymous(null_mut(), page, Prot::READ | Prot::WRITE, MapFlags::PRIVATE)?;
///     old.write(7);
///     let new = mremap(old, page, 16 * page, MremapFlags::MAYMOVE, null_mut())?;
///     assert_eq!(new.read(), 7);
///     munmap(new, 16 * page)?;
/// }
/// # Ok::<(), rawmap::Errno>(())
/// ```
#[inline]
pub unsafe fn mremap(
    old: *mut u8,
    old_len: usize,
    new_len: usize,
    flags: MremapFlags,
    new_addr: *mut u8,
) -> Result<*mut u8, Errno> {
    // SAFETY: the caller's promise: nothing uses what is moved away from or replaced.
    pointer(unsafe {
        arch::syscall5(
            Word::ptr(old),
            Word::int(old_len),
            Word::int(new_len),
            flags.word(),
            Word::ptr(new_addr),
            nr::MREMAP,
        )
    })
}

/// `madvise(2)`: says how the pages of `addr .. addr + len` will be used, or what is to be done
/// with them.
///
/// `len`, in bytes, is rounded up to whole pages; 0 is no error if the advice is known. Most
/// advice skips holes in the range and answers ENOMEM at the end.
///
/// One call: `madvise(addr, len, advice)`.
///
/// # Errors
/// - EINVAL: `addr` is not a multiple of the page size; `len` wraps; the advice is not known, or
///   can't be for this kind of memory (each [`Advice`] says which).
/// - ENOMEM: part of the range is not mapped.
/// - EACCES: [`REMOVE`](Advice::REMOVE) of a mapping that is not shared, or whose file was opened for
///   reading only.
/// - EAGAIN: a mapping would be split, and the process has `vm.max_map_count` of them already; out of
///   some other kernel resource.
/// - EBADF: [`WILLNEED`](Advice::WILLNEED) of anonymous memory, on a kernel without swap.
/// - EBUSY: [`COLLAPSE`](Advice::COLLAPSE) could not get a huge page's parts.
/// - EFAULT, EHWPOISON: `POPULATE_READ`, `POPULATE_WRITE`: the access would fault, as behind the end
///   of a file. (Where the protection forbids it, EINVAL.)
/// - EPERM: `HWPOISON` and `SOFT_OFFLINE` without privilege; discarding of read-only sealed memory.
/// - EIO: read-in failed.
///
/// # Kernels differ
///
/// | where | what |
/// |---|---|
/// | Linux before 5.18 | `DONTNEED` of huge pages is EINVAL; no `DONTNEED_LOCKED` |
/// | before 6.13 | no `GUARD_INSTALL` and `GUARD_REMOVE`: EINVAL; before 6.15 only for private anonymous memory |
/// | before 6.4, aarch64 | a tag is stripped from `addr` before the range is looked at; since then, after |
/// | without swap | `WILLNEED` of anonymous memory is EBADF |
/// | without KSM, transparent huge pages, memory failure | their advice is EINVAL |
/// | QEMU user mode before 11 | most advice is answered with success, and does nothing |
///
/// # Safety
/// Advice such as [`DONTNEED`](Advice::DONTNEED) and [`FREE`](Advice::FREE) changes what memory
/// holds, and `GUARD_INSTALL` makes it inaccessible: no Rust reference may point there.
///
/// Linux 2.4. Source: madvise(2), `mm/madvise.c`.
///
/// ```
/// use rawmap::{Advice, madvise};
/// // Does this kernel know the advice? No mapping is needed to ask.
/// // SAFETY: a range of length 0 holds no memory.
/// assert!(unsafe { madvise(core::ptr::null_mut(), 0, Advice::DONTNEED) }.is_ok());
/// ```
#[inline]
pub unsafe fn madvise(addr: *mut u8, len: usize, advice: Advice) -> Result<(), Errno> {
    // SAFETY: the caller's promise: nothing relies on what the advice changes.
    unit(unsafe { arch::syscall3(Word::ptr(addr), Word::int(len), advice.word(), nr::MADVISE) })
}

/// `mincore(2)`: writes one byte for each page of `addr .. addr + len` to `vec`; its lowest bit
/// says whether the page is in memory.
///
/// `len`, in bytes, is rounded up to whole pages. For files that the caller neither owns nor may
/// write, since Linux 5.2 the answer is always 1. Where it comes to a hole, the bytes before it may be
/// written.
///
/// One call: `mincore(addr, len, vec)`.
///
/// # Errors
/// - EINVAL: `addr` is not a multiple of the page size.
/// - ENOMEM: part of the range is not mapped, or leaves the address space.
/// - EFAULT: `vec` can't be written.
/// - EAGAIN: out of memory for the kernel's own copy; try again.
///
/// # Kernels differ
///
/// On aarch64 the top byte of `addr` is ignored; elsewhere a tagged address is ENOMEM. Where an unmapped
/// `addr` of the upper half of all numbers is ENOMEM or EFAULT differs by architecture and version.
///
/// # Safety
/// `vec` must be valid for writing `len / page size` bytes, rounded up.
///
/// Linux 2.3.99. Source: mincore(2), `mm/mincore.c`.
///
/// ```
/// use rawmap::{MapFlags, Prot, mincore, mmap_anonymous, munmap};
/// let mut resident = [0xff];
/// // SAFETY: a new mapping of one page, and one byte for it.
/// unsafe {
///     let page = mmap_anonymous(core::ptr::null_mut(), 1, Prot::READ, MapFlags::PRIVATE)?;
///     mincore(page, 1, resident.as_mut_ptr())?;
///     munmap(page, 1)?;
/// }
/// assert_eq!(resident[0] & 1, 0, "nobody touched it");
/// # Ok::<(), rawmap::Errno>(())
/// ```
#[inline]
pub unsafe fn mincore(addr: *mut u8, len: usize, vec: *mut u8) -> Result<(), Errno> {
    // SAFETY: the caller's promise: `vec` may be written.
    unit(unsafe { arch::syscall3(Word::ptr(addr), Word::int(len), Word::ptr(vec), nr::MINCORE) })
}

/// `mlock(2)`: makes every page that has a byte of `addr .. addr + len` resident, and keeps it so.
///
/// `addr` may be unaligned. Locks don't nest: one [`munlock`] undoes any number. A forked child
/// doesn't inherit them.
///
/// One call: `mlock(addr, len)`.
///
/// # Errors
/// - ENOMEM: part of the range is not mapped, or can't be made resident, as inaccessible pages and
///   those behind the end of a file; over RLIMIT_MEMLOCK; over `vm.max_map_count`.
/// - EPERM: RLIMIT_MEMLOCK is 0 and the caller has no CAP_IPC_LOCK.
/// - EAGAIN: some pages could not be locked.
/// - EINVAL: `addr` and the rounded `len` together wrap.
///
/// # Kernels differ
///
/// On aarch64 the top byte of `addr` is ignored; elsewhere a tagged address is ENOMEM.
///
/// # Safety
/// None beyond that of all raw functions: nothing in memory changes.
///
/// Linux 1.3.60. Source: mlock(2), `mm/mlock.c`.
///
/// ```
/// use rawmap::{mlock, munlock};
/// let secret = [0u8; 16];
/// // SAFETY: locking changes no memory.
/// unsafe {
///     mlock(secret.as_ptr().cast_mut(), secret.len())?;
///     munlock(secret.as_ptr().cast_mut(), secret.len())?;
/// }
/// # Ok::<(), rawmap::Errno>(())
/// ```
#[inline]
pub unsafe fn mlock(addr: *mut u8, len: usize) -> Result<(), Errno> {
    // SAFETY: locking changes no memory.
    unit(unsafe { arch::syscall2(Word::ptr(addr), Word::int(len), nr::MLOCK) })
}

/// `mlock2(2)`: [`mlock`], or with [`MlockFlags::ONFAULT`] a lock of each page once it is touched.
///
/// One call: `mlock2(addr, len, flags)`.
///
/// # Errors
/// As [`mlock`], and
/// - EINVAL: an unknown flag.
/// - ENOSYS: before Linux 4.4, and QEMU user mode before 11.
///
/// # Safety
/// None beyond that of all raw functions: nothing in memory changes.
///
/// Linux 4.4. Source: mlock2(2), `mm/mlock.c`.
///
/// ```
/// use rawmap::{Errno, MlockFlags, mlock2};
/// // SAFETY: a range of length 0 holds no memory.
/// let locked = unsafe { mlock2(core::ptr::null_mut(), 0, MlockFlags::ONFAULT) };
/// assert!(matches!(locked, Ok(()) | Err(Errno::ENOSYS)));
/// ```
#[inline]
pub unsafe fn mlock2(addr: *mut u8, len: usize, flags: MlockFlags) -> Result<(), Errno> {
    // SAFETY: locking changes no memory.
    unit(unsafe { arch::syscall3(Word::ptr(addr), Word::int(len), flags.word(), nr::MLOCK2) })
}

/// `munlock(2)`: undoes [`mlock`], [`mlock2`] and [`MapFlags::LOCKED`] for every page that has a
/// byte of `addr .. addr + len`.
///
/// One call: `munlock(addr, len)`.
///
/// # Errors
/// - ENOMEM: part of the range is not mapped; over `vm.max_map_count`.
/// - EINVAL: `addr` and the rounded `len` together wrap.
///
/// # Kernels differ
///
/// On aarch64 the top byte of `addr` is ignored; elsewhere a tagged address is ENOMEM.
///
/// # Safety
/// None beyond that of all raw functions: nothing in memory changes.
///
/// Linux 1.3.60. Source: munlock(2), `mm/mlock.c`.
///
/// ```
/// use rawmap::munlock;
/// let never_locked = [0u8; 16];
/// // SAFETY: unlocking changes no memory.
/// unsafe { munlock(never_locked.as_ptr().cast_mut(), never_locked.len()) }?; // no error
/// # Ok::<(), rawmap::Errno>(())
/// ```
#[inline]
pub unsafe fn munlock(addr: *mut u8, len: usize) -> Result<(), Errno> {
    // SAFETY: unlocking changes no memory.
    unit(unsafe { arch::syscall2(Word::ptr(addr), Word::int(len), nr::MUNLOCK) })
}

/// `mlockall(2)`: locks all that is mapped, or will be.
///
/// One call: `mlockall(flags)`.
///
/// # Errors
/// - EINVAL: no flag, `ONFAULT` alone, or an unknown flag.
/// - ENOMEM: over RLIMIT_MEMLOCK.
/// - EPERM: RLIMIT_MEMLOCK is 0 and the caller has no CAP_IPC_LOCK.
///
/// # Safety
/// None beyond that of all raw functions: nothing in memory changes. But it acts on the whole
/// process: with [`FUTURE`](MlockAllFlags::FUTURE), later mappings anywhere in it may fail.
///
/// Linux 1.3.60. Source: mlockall(2), `mm/mlock.c`.
///
/// ```
/// use rawmap::{Errno, MlockAllFlags, mlockall};
/// // SAFETY: refused.
/// assert_eq!(unsafe { mlockall(MlockAllFlags::ONFAULT) }, Err(Errno::EINVAL));
/// ```
#[inline]
pub unsafe fn mlockall(flags: MlockAllFlags) -> Result<(), Errno> {
    // SAFETY: locking changes no memory.
    unit(unsafe { arch::syscall1(flags.word(), nr::MLOCKALL) })
}

/// `munlockall(2)`: unlocks all that is mapped, and undoes [`MlockAllFlags::FUTURE`].
///
/// One call: `munlockall()`.
///
/// # Errors
/// EINTR, if the process is being killed.
///
/// # Safety
/// None beyond that of all raw functions: nothing in memory changes. But it acts on the whole
/// process, locks that others hold included.
///
/// Linux 1.3.60. Source: munlockall(2), `mm/mlock.c`.
///
/// ```
/// use rawmap::munlockall;
/// // SAFETY: unlocking changes no memory, and no part of this program relies on a lock.
/// unsafe { munlockall() }?;
/// # Ok::<(), rawmap::Errno>(())
/// ```
#[inline]
pub unsafe fn munlockall() -> Result<(), Errno> {
    // SAFETY: unlocking changes no memory.
    unit(unsafe { arch::syscall0(nr::MUNLOCKALL) })
}

/// `mseal(2)`: seals the mappings of `addr .. addr + len` for the life of the process: they can't
/// be unmapped, moved, resized, replaced or protected otherwise any more.
///
/// `len`, in bytes, is rounded up to whole pages; 0 is no error. There is no way back.
///
/// One call: `mseal(addr, len, flags)`.
///
/// # Errors
/// - EINVAL: `addr` is not a multiple of the page size; any flag; `addr + len` wraps.
/// - ENOMEM: part of the range is not mapped.
/// - ENOSYS: before Linux 6.10, and QEMU user mode.
///
/// # Kernels differ
///
/// On aarch64 the top byte of `addr` is ignored; elsewhere a tagged address is ENOMEM.
///
/// # Safety
/// The range is mapped for ever: whoever would unmap it later gets EPERM and must not take that
/// for a defect.
///
/// Linux 6.10, 64-bit only. Source: mseal(2), `mm/mseal.c`.
///
/// ```
/// use rawmap::{Errno, MsealFlags, mseal};
/// // SAFETY: a range of length 0 holds no memory.
/// let sealed = unsafe { mseal(core::ptr::null_mut(), 0, MsealFlags::default()) };
/// assert!(matches!(sealed, Ok(()) | Err(Errno::ENOSYS)));
/// ```
#[inline]
pub unsafe fn mseal(addr: *mut u8, len: usize, flags: MsealFlags) -> Result<(), Errno> {
    // SAFETY: the caller's promise: nobody means to change these mappings any more.
    unit(unsafe { arch::syscall3(Word::ptr(addr), Word::int(len), flags.word(), nr::MSEAL) })
}
