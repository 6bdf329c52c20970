//! The raw functions: each makes one system call from typed arguments, and returns a `Result`.
//!
//! No function here checks its arguments, stores anything, repeats a call or panics, and none needs
//! a relocation. So they may be called before a program has relocated itself, in a signal handler,
//! between fork and exec, or while an allocator holds its own lock. An error comes back by value;
//! there is no `errno` variable.
//!
//! A function that returns a pointer takes the words -4095 to -1 for errors. A function that
//! returns nothing takes every word but 0 for an error; a word that only a filter answers is an
//! error without a name ([`Errno`]).

use crate::arch::{self, nr};
use crate::errno::Errno;
use crate::flags::{
    Advice, MapFlags, MlockAllFlags, MlockFlags, MremapFlags, MsealFlags, MsyncFlags, Prot,
};
use crate::word::Word;

/// A file descriptor, as C and the kernel have it; [`NO_FD`] stands for none.
///
/// It is the number that `open` returns. C's `fopen` returns a `FILE *` instead, and `fileno` gives
/// the descriptor of that.
pub type RawFd = core::ffi::c_int;

/// The file descriptor that stands for no file: -1.
pub const NO_FD: RawFd = -1;

/// What C's `mmap` returns when it fails: the pointer whose bits are all set.
///
/// This crate's functions return [`Err`] instead; the constant is for code that talks to C.
pub const MAP_FAILED: *mut u8 = core::ptr::without_provenance_mut(usize::MAX);

#[inline]
fn pointer(ret: Word) -> Result<*mut u8, Errno> {
    Errno::decode(ret).map(Word::as_ptr)
}

#[inline]
fn unit(ret: Word) -> Result<(), Errno> {
    Errno::decode_unit(ret)
}

/// `mmap(2)`: maps a file, or anonymous memory, and returns the address where it is mapped.
///
/// ```
/// use rawmap::{MapFlags, NO_FD, Prot, mmap, munmap};
/// let flags = MapFlags::PRIVATE | MapFlags::ANONYMOUS;
/// // SAFETY: a new mapping, which nothing else refers to, and
/// // whose last use is before munmap.
/// unsafe {
///     let page = mmap(core::ptr::null_mut(), 4096, Prot::READ | Prot::WRITE, flags, NO_FD, 0)?;
///     page.write(42);
///     assert_eq!(page.read(), 42);
///     munmap(page, 4096)?;
/// }
/// # Ok::<(), rawmap::Errno>(())
/// ```
///
/// If you want this safe, see [`MapOptions`](crate::MapOptions), which makes a
/// [`Mapping`](crate::Mapping) that unmaps itself.
///
/// - `addr` is a hint, unless `flags` has [`FIXED`](MapFlags::FIXED) or
///   [`FIXED_NOREPLACE`](MapFlags::FIXED_NOREPLACE). With a null pointer the kernel chooses the
///   place.
/// - `len` is in bytes, and the kernel rounds it up to whole pages.
/// - `fd` is the file, and `offset` is where in the file the mapping begins, in bytes. The offset
///   must be a multiple of the page size, for anonymous memory too.
///
/// The file may be closed once it is mapped. Where the file ends within the last page, the rest of
/// that page reads as zeroes, and the kernel doesn't write it back. (On tmpfs, and so in a memfd,
/// what was written there appears in the file when the file grows.) Touching a page that lies
/// wholly behind the end of the file raises SIGBUS. A file that was just created is empty, so give
/// it a length before mapping it.
///
/// The function makes one call: `mmap(addr, len, prot, flags, fd, offset)`. Linux has it since 1.0.
/// Source: mmap(2), `mm/mmap.c`.
///
/// # Safety
/// - With `FIXED`, the kernel unmaps whatever was in the range: no Rust reference may point into
///   it, and nothing else may rely on it.
/// - A place that the kernel did not choose must not lie where the main thread's stack may grow
///   ([`prepare`](crate::prepare)), and must not border on a stack: a stack overflows into memory
///   right below it.
/// - The memory that comes back is shared with every other mapping of the same file or shared
///   memory, in this process and in others. References to it are sound only while nobody writes to
///   it; where somebody may, use atomics or raw pointers.
/// - With `GROWSDOWN`, no memory below the mapping, however far, may be inaccessible now and become
///   accessible later: the mapping may grow down to it.
///
/// # Errors
/// - EBADF: `fd` is not an open file, and `flags` has no [`ANONYMOUS`](MapFlags::ANONYMOUS). The
///   kernel finds this before any other error, except for an offset that is not a multiple of the
///   page size.
/// - EINVAL: one of these.
///   - `len` is 0, or `offset` is not a multiple of the page size.
///   - The sharing field of `flags` is empty, or has a value that the kernel doesn't know.
///   - The address is fixed, and not a multiple of the page size.
///   - `GROWSDOWN` is combined with a shared mapping or a file.
///   - `DROPPABLE` is combined with a file, `LOCKED`, `GROWSDOWN` or `HUGETLB`.
///   - `HUGETLB` has a size that the kernel doesn't have, or is used with a file that is not on a
///     file system of huge pages.
/// - EACCES: the file is not open for reading; or the mapping is `SHARED` with `WRITE`, and the
///   file is not open for writing, or is append-only. A `SHARED` mapping without `WRITE` needs no
///   file that is open for writing.
/// - EPERM: one of these.
///   - `EXEC` is asked for, and the file system is mounted noexec.
///   - The file is sealed against writing.
///   - `LOCKED` is asked for, and the process has no right to lock memory.
///   - The address is fixed, and below `vm.mmap_min_addr`, or over sealed memory.
/// - ENOMEM: there is no room in the address space; a limit would be exceeded (RLIMIT_AS,
///   RLIMIT_DATA, `vm.max_map_count`); or `len` wraps when it is rounded up. A mapping may be
///   larger than the machine's memory.
/// - EAGAIN: `LOCKED` would exceed RLIMIT_MEMLOCK. That the file itself is locked is not an error;
///   Linux has had no mandatory locks since 5.15.
/// - EEXIST: `FIXED_NOREPLACE` is set, and something is mapped in the range.
/// - ENODEV: the file is of a kind that can't be mapped, such as a directory, a pipe or a file of
///   /proc/pid.
/// - EOVERFLOW: `offset + len` is more than the length that a file can have.
/// - EOPNOTSUPP: the sharing is [`SHARED_VALIDATE`](MapFlags::SHARED_VALIDATE), and the kernel or
///   the file system doesn't know one of the flags.
/// - ETXTBSY: the mapping is `SHARED` with `WRITE`, and the file is in use for swapping.
/// - ENFILE, and whatever else the file's driver answers, such as EIO for some files of /proc.
///
/// # Kernels differ
///
/// | where | what |
/// |---|---|
/// | pages of 16 and 64 KiB | An offset of 4096 is EINVAL. |
/// | address spaces of 2^38 to 2^56 bytes ([`Kernel::address_space`](crate::Kernel::address_space)) | A longer mapping, or a fixed one behind the end, is ENOMEM. |
/// | Linux before 6.6 | [`SHARED_VALIDATE`](MapFlags::SHARED_VALIDATE) doesn't know x86_64's `MAP_ABOVE4G`. |
/// | Linux before 6.11 | [`DROPPABLE`](MapFlags::DROPPABLE) is EINVAL. |
/// | riscv64 before 6.18 | The kernel takes an offset of 2^63 and more as a negative number: EOVERFLOW for a file, and for anonymous memory if offset and length together wrap. |
/// | riscv64 since 7.0 | `WRITE` implies `READ`, and /proc/pid/maps shows so. |
/// | aarch64, riscv64 | The bit of `MAP_32BIT` is no flag, and ignored. |
/// | aarch64 with BTI or MTE | `PROT_BTI` and `PROT_MTE` have their effect; elsewhere mmap ignores them. |
/// | x86_64 without protection keys, aarch64 without FEAT_PAN3 | Memory with `EXEC` alone can be read. |
/// | QEMU user mode before 8.1 | `FIXED_NOREPLACE` is a hint. |
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

/// [`mmap`] of anonymous memory: the function adds [`MapFlags::ANONYMOUS`] to `flags`, and passes
/// no file.
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
///
/// If you want this safe, see [`MapOptions`](crate::MapOptions); for address space whose pages are
/// committed later, see [`Reservation`](crate::Reservation).
///
/// The memory reads as zeroes. With [`SHARED`](MapFlags::SHARED), the process shares it with
/// children that it forks later. With [`PRIVATE`](MapFlags::PRIVATE), each process has its own copy
/// after a fork.
///
/// The function makes one call: `mmap(addr, len, prot, flags|MAP_ANONYMOUS, -1, 0)`.
///
/// # Safety
/// The same as for [`mmap`].
///
/// # Errors
/// Those of [`mmap`], except for the ones about files.
///
/// # Kernels differ
/// As they do for [`mmap`].
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

/// `munmap(2)`: unmaps every page that has a byte in `addr .. addr + len`.
///
/// ```
/// use rawmap::{Errno, munmap};
/// // SAFETY: an address that is not a multiple of the page size
/// // unmaps nothing.
/// assert_eq!(unsafe { munmap(core::ptr::without_provenance_mut(1), 1) }, Err(Errno::EINVAL));
/// ```
///
/// If you want this safe, see [`Mapping`](crate::Mapping), which unmaps its memory when it is
/// dropped.
///
/// `len` is in bytes, and the kernel rounds it up to whole pages. It is not an error if parts of
/// the range are not mapped. A mapping may be unmapped in parts; of huge pages, the parts must be
/// whole huge pages.
///
/// The function makes one call: `munmap(addr, len)`. Linux has it since 1.0. Source: munmap(2),
/// `mm/mmap.c`.
///
/// # Safety
/// Nothing may use the range afterwards: no reference may point into it, no thread may run code in
/// it or have its stack there, and no owner of it may be used or dropped
/// ([`into_raw_parts`](crate::Mapping::into_raw_parts) gives one up). It does not hold the highest
/// mapping that `exec` made below the main thread's stack, such as the vDSO: owners rely on that to
/// stop the stack ([`prepare`](crate::prepare)).
///
/// # Errors
/// - EINVAL: `addr` is not a multiple of the page size; `len` is 0, or wraps when it is rounded up;
///   the range leaves the address space; or it ends within a huge page.
/// - ENOMEM: a mapping would have to be split in two, and the process has as many as
///   `vm.max_map_count` allows.
/// - EPERM: part of the range is sealed (see [`mseal`]).
///
/// # Kernels differ
/// On aarch64 the kernel ignores the top byte of `addr`. Elsewhere an address whose top byte is a
/// tag is EINVAL.
#[inline]
pub unsafe fn munmap(addr: *mut u8, len: usize) -> Result<(), Errno> {
    // SAFETY: the caller's promise: nothing uses the range afterwards.
    unit(unsafe { arch::syscall2(Word::ptr(addr), Word::int(len), nr::MUNMAP) })
}

/// `mprotect(2)`: sets what the pages of `addr .. addr + len` may be used for.
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
///
/// If you want this safe, see [`Mapping`](crate::Mapping), whose type says what its memory may be
/// used for.
///
/// `len` is in bytes, and the kernel rounds it up to whole pages; a `len` of 0 changes nothing and
/// is not an error. If part of the range is not mapped, the kernel changes the pages before that
/// part, and then answers ENOMEM.
///
/// The function makes one call: `mprotect(addr, len, prot)`. Linux has it since 1.0. Source:
/// mprotect(2), `mm/mprotect.c`.
///
/// # Safety
/// - The new protection must allow every access through references into the range. With
///   `GROWSDOWN`, this holds for all of the mapping from its first page on.
/// - It must also allow what owners of the memory may lend later, such as a [`Pool`](crate::Pool)
///   to which the memory was put back.
/// - Memory that becomes executable must hold only code that is meant to run.
/// - Memory that was inaccessible and becomes accessible must not lie where the main thread's stack
///   may grow: the kernel lets the stack grow right up to inaccessible memory (see
///   [`prepare`](crate::prepare)).
///
/// # Errors
/// - EINVAL: `addr` is not a multiple of the page size; `prot` has a bit that the kernel doesn't
///   know; `prot` has both `GROWSDOWN` and `GROWSUP`; or it has one of them, and the mapping
///   doesn't grow that way.
/// - EACCES: the protection allows more than the file was opened for, such as writing to a shared
///   mapping of a file that is open for reading only.
/// - ENOMEM: part of the range is not mapped; `len` wraps; or a mapping would have to be split, and
///   the process has as many as `vm.max_map_count` allows.
/// - EPERM: part of the range is sealed (see [`mseal`]).
///
/// # Kernels differ
///
/// | where | what |
/// |---|---|
/// | aarch64 with BTI or MTE | The kernel knows `PROT_BTI` and `PROT_MTE`; elsewhere they are EINVAL. |
/// | aarch64 | The kernel ignores the top byte of `addr`; elsewhere an address whose top byte is a tag is ENOMEM. |
/// | Linux before 6.10 | Nothing can be sealed, so EPERM doesn't occur. |
/// | riscv64 since 7.0 | `WRITE` implies `READ`. |
#[inline]
pub unsafe fn mprotect(addr: *mut u8, len: usize, prot: Prot) -> Result<(), Errno> {
    // SAFETY: the caller's promise: the range may lose and gain these rights.
    unit(unsafe { arch::syscall3(Word::ptr(addr), Word::int(len), prot.word(), nr::MPROTECT) })
}

/// `msync(2)`: writes the shared file mappings in `addr .. addr + len` back to their files.
///
/// ```
/// use rawmap::{Errno, MsyncFlags, msync};
/// let both = MsyncFlags::SYNC | MsyncFlags::ASYNC;
/// // SAFETY: msync changes no memory.
/// assert_eq!(unsafe { msync(core::ptr::null_mut(), 0, both) }, Err(Errno::EINVAL));
/// ```
///
/// If you want this safe, see [`Mapping`](crate::Mapping), which syncs its own memory.
///
/// `len` is in bytes, and the kernel rounds it up to whole pages; a `len` of 0 is not an error. If
/// part of the range is not mapped, the kernel syncs the rest, and then answers ENOMEM.
///
/// msync is about the disk. Other mappings of the file, and processes that read it, see at once
/// what was written to the mapping, without any call. An error of writing is reported once: when a
/// later call answers Ok, that doesn't prove that the data is on the disk.
///
/// The function makes one call: `msync(addr, len, flags)`. Linux has it since 1.2. Source:
/// msync(2), `mm/msync.c`.
///
/// # Safety
/// msync changes no memory, and so asks for nothing.
///
/// # Errors
/// - EINVAL: `addr` is not a multiple of the page size; or `flags` has a bit that the kernel
///   doesn't know, or both `SYNC` and `ASYNC`.
/// - ENOMEM: part of the range is not mapped; or `addr` and the rounded `len` together wrap. (A
///   `len` that by itself wraps to 0 when it is rounded up is not an error.)
/// - EBUSY: `flags` has `INVALIDATE`, and part of the range is locked.
/// - EIO, ENOSPC, and whatever else the file system answers when it writes.
///
/// # Kernels differ
/// On aarch64 the kernel ignores the top byte of `addr`. Elsewhere an address whose top byte is a
/// tag is ENOMEM.
#[inline]
pub unsafe fn msync(addr: *mut u8, len: usize, flags: MsyncFlags) -> Result<(), Errno> {
    // SAFETY: msync changes no memory.
    unit(unsafe { arch::syscall3(Word::ptr(addr), Word::int(len), flags.word(), nr::MSYNC) })
}

/// `mremap(2)`: resizes or moves the mapping at `old`, and returns its new address.
///
/// ```
/// use rawmap::{MapFlags, MremapFlags, PageSize, Prot, mmap_anonymous, mremap, munmap};
/// use core::ptr::null_mut;
/// let page = PageSize::find()?.bytes();
/// // SAFETY: a new mapping, which nothing else refers to; after
/// // mremap only the new one is used.
/// unsafe {
///     let old = mmap_anonymous(null_mut(), page, Prot::READ | Prot::WRITE, MapFlags::PRIVATE)?;
///     old.write(7);
///     let new = mremap(old, page, 16 * page, MremapFlags::MAYMOVE, null_mut())?;
///     assert_eq!(new.read(), 7);
///     munmap(new, 16 * page)?;
/// }
/// # Ok::<(), rawmap::Errno>(())
/// ```
///
/// If you want this safe, see [`Mapping`](crate::Mapping), which grows and shrinks.
///
/// Both lengths are in bytes, and the kernel rounds them up to whole pages. Where anonymous memory
/// grows, the new pages read as zeroes. An `old_len` of 0 makes a second mapping of the shared
/// pages at `old`, and leaves the first one; for private memory it is EINVAL.
///
/// The kernel reads `new_addr` with [`FIXED`](MremapFlags::FIXED) as the place to move to, and with
/// [`DONTUNMAP`](MremapFlags::DONTUNMAP) alone as a hint. For no hint, pass a null pointer. The
/// function always passes all five arguments, so that the kernel never takes a stale register for a
/// hint.
///
/// The function makes one call: `mremap(old, old_len, new_len, flags, new_addr)`. Linux has it
/// since 1.3.78. Source: mremap(2), `mm/mremap.c`.
///
/// # Safety
/// - If the mapping moves, nothing may use the old range afterwards. That holds after an error too
///   if the range has several mappings: some of them may have moved by then. If the mapping
///   shrinks, nothing may use the part that is cut off.
/// - If the mapping grows to show more of shared memory or of a file, or is mapped a second time
///   (an `old_len` of 0), that memory is shared with others as [`mmap`] says. An owner that is made
///   of it may purge it.
/// - A mapping that grows in place must not grow to where the main thread's stack may grow
///   ([`prepare`](crate::prepare)).
/// - With `FIXED`, nothing may use what was mapped in the new range, even if the call fails, since
///   the kernel unmaps that first. What [`mmap`] says about a place that the kernel did not choose
///   holds for the new range. If the old range may be merged (`MADV_MERGEABLE`), no other thread
///   may map anything in the new range meanwhile: a signal makes the kernel start the call again.
///
/// # Errors
/// - EINVAL: one of these.
///   - `old` is not a multiple of the page size, or `new_len` is 0.
///   - `flags` has a bit that the kernel doesn't know, or `FIXED` or `DONTUNMAP` without `MAYMOVE`.
///   - `DONTUNMAP` is set, and the lengths differ.
///   - `FIXED` or `DONTUNMAP` is set, and `new_addr` is not a multiple of the page size, or the new
///     range leaves the address space or overlaps the old one.
/// - EFAULT: nothing is mapped at `old`; or the mapping is to grow, and the old range is not all of
///   one mapping. (For moving several mappings, see below.)
/// - ENOMEM: the mapping can't grow in place, and `MAYMOVE` is not set; there is no room; or a
///   limit would be exceeded (RLIMIT_AS, `vm.max_map_count`).
/// - EAGAIN: the mapping is locked, and would grow over RLIMIT_MEMLOCK.
/// - EPERM: part of the old or the new range is sealed (see [`mseal`]).
///
/// # Kernels differ
///
/// | where | what |
/// |---|---|
/// | Linux before 6.17 | Several mappings can't be moved at once: EFAULT. With `FIXED`, the kernel has unmapped the new range by then. |
/// | Linux since 6.17 | Several mappings are moved one by one. When one of them is refused, those before it have been moved. |
/// | Linux before 6.16, and in a forked child | Two neighbouring mappings of the same kind, only one of which was ever touched, are not always joined to one. |
/// | Linux before 6.17 | A `new_len` larger than the address space is ENOMEM without `FIXED`; since then it is EINVAL. |
/// | Linux before 6.17 | With `DONTUNMAP`, the two lengths must be the same number of bytes; since then, of pages. |
/// | aarch64 | The kernel ignores the top byte of `old`, but not that of `new_addr`. |
/// | QEMU user mode | An `old_len` of 0 is ENOMEM. |
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

/// `madvise(2)`: tells the kernel how the pages of `addr .. addr + len` will be used, or what to do
/// with them.
///
/// ```
/// use rawmap::{Advice, madvise};
/// // Does this kernel know the advice? No mapping is needed to ask.
/// // SAFETY: a range of length 0 holds no memory.
/// assert!(unsafe { madvise(core::ptr::null_mut(), 0, Advice::DONTNEED) }.is_ok());
/// ```
///
/// If you want this safe, see [`Mapping`](crate::Mapping) and [`Reservation`](crate::Reservation),
/// which give the advice that can't harm them.
///
/// `len` is in bytes, and the kernel rounds it up to whole pages. A `len` of 0 is not an error,
/// provided that the kernel knows the advice. If part of the range is not mapped, most advice is
/// applied to the rest, and the kernel then answers ENOMEM.
///
/// The function makes one call: `madvise(addr, len, advice)`. Linux has it since 2.4. Source:
/// madvise(2), `mm/madvise.c`.
///
/// # Safety
/// Some advice, such as [`DONTNEED`](Advice::DONTNEED) and [`FREE`](Advice::FREE), changes what
/// memory holds, and [`GUARD_INSTALL`](Advice::GUARD_INSTALL) makes it inaccessible. With such
/// advice, no Rust reference may point into the range, and no owner may lend it later (after
/// `FREE`, until it is written again). [`REMOVE`](Advice::REMOVE) and
/// [`HWPOISON`](Advice::HWPOISON) act on the memory itself: for them this holds for every mapping
/// of the same memory. [`GUARD_REMOVE`](Advice::GUARD_REMOVE) must not take away a guard that
/// somebody relies on, such as that of a [`Stack`](crate::Stack). After
/// [`WIPEONFORK`](Advice::WIPEONFORK), a forked child must not rely on what the memory held. After
/// [`DONTFORK`](Advice::DONTFORK), it must neither use the memory nor drop an owner of it.
///
/// # Errors
/// - EINVAL: `addr` is not a multiple of the page size; `len` wraps; or the kernel doesn't know the
///   advice, or can't apply it to this kind of memory (each [`Advice`] says to which it applies).
/// - ENOMEM: part of the range is not mapped; or the advice is `COLLAPSE`, and the kernel has no
///   huge page to give.
/// - EACCES: the advice is [`REMOVE`](Advice::REMOVE), and the mapping is not shared, or its file
///   was opened for reading only.
/// - EAGAIN: a mapping would have to be split, and the process has as many as `vm.max_map_count`
///   allows; or the kernel is out of some other resource for now.
/// - EBADF: the advice is [`WILLNEED`](Advice::WILLNEED), the memory is anonymous, and the kernel
///   has no support for swap.
/// - EBUSY: the advice is [`COLLAPSE`](Advice::COLLAPSE), and a huge page would exceed the limit of
///   the process's memory cgroup.
/// - EFAULT, EHWPOISON: the advice is [`POPULATE_READ`](Advice::POPULATE_READ) or
///   [`POPULATE_WRITE`](Advice::POPULATE_WRITE), and touching the memory would raise a signal, as
///   it does behind the end of a file. (If the protection forbids the access, the error is EINVAL.)
/// - EPERM: the advice is `HWPOISON` or `SOFT_OFFLINE`, and the process isn't privileged; or it
///   would discard memory that is sealed and read-only.
/// - EIO: the kernel could not read a page in.
///
/// # Kernels differ
///
/// | where | what |
/// |---|---|
/// | Linux before 5.18 | `DONTNEED` of huge pages is EINVAL, and so is `DONTNEED_LOCKED`. |
/// | Linux before 6.13 | `GUARD_INSTALL` and `GUARD_REMOVE` are EINVAL; before 6.15 they work for private anonymous memory only. |
/// | aarch64 before 6.4 | The kernel strips the tag of `addr` before it looks at the range; since then, afterwards. |
/// | kernels without swap | `WILLNEED` of anonymous memory is EBADF. |
/// | kernels without KSM, transparent huge pages or memory failure | The advice about these is EINVAL. |
/// | QEMU user mode before 11 | Most advice succeeds and does nothing. |
#[inline]
pub unsafe fn madvise(addr: *mut u8, len: usize, advice: Advice) -> Result<(), Errno> {
    // SAFETY: the caller's promise: nothing relies on what the advice changes.
    unit(unsafe { arch::syscall3(Word::ptr(addr), Word::int(len), advice.word(), nr::MADVISE) })
}

/// `mincore(2)`: writes one byte for each page of `addr .. addr + len` to `vec`, and the lowest bit
/// of each byte says whether the page is in memory.
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
///
/// If you want this safe, see [`Mapping`](crate::Mapping), which says what of its memory is
/// resident.
///
/// `len` is in bytes, and the kernel rounds it up to whole pages. If part of the range is not
/// mapped, the kernel answers ENOMEM, and may have written the bytes for the pages before that
/// part. Since Linux 5.2, a process that neither owns a file nor may write to it always reads 1 for
/// the file's pages.
///
/// The function makes one call: `mincore(addr, len, vec)`. Linux has it since 2.3.99. Source:
/// mincore(2), `mm/mincore.c`.
///
/// # Safety
/// `vec` must be valid for writes of as many bytes as the range has pages: `len` divided by the
/// page size, rounded up.
///
/// # Errors
/// - EINVAL: `addr` is not a multiple of the page size.
/// - ENOMEM: part of the range is not mapped, or leaves the address space.
/// - EFAULT: `vec` can't be written.
/// - EAGAIN: the kernel had no memory for its own copy. Try again.
///
/// # Kernels differ
/// On aarch64 the kernel ignores the top byte of `addr`. Elsewhere an address whose top byte is a
/// tag is ENOMEM. An unmapped `addr` in the upper half of all numbers is ENOMEM or EFAULT,
/// depending on the architecture and version.
#[inline]
pub unsafe fn mincore(addr: *mut u8, len: usize, vec: *mut u8) -> Result<(), Errno> {
    // SAFETY: the caller's promise: `vec` may be written.
    unit(unsafe { arch::syscall3(Word::ptr(addr), Word::int(len), Word::ptr(vec), nr::MINCORE) })
}

/// `mlock(2)`: makes every page that has a byte in `addr .. addr + len` resident, and keeps it in
/// memory.
///
/// ```
/// use rawmap::{mlock, munlock};
/// let secret = vec![0u8; 16];
/// // SAFETY: locking changes no memory.
/// unsafe {
///     mlock(secret.as_ptr().cast_mut(), secret.len())?;
///     munlock(secret.as_ptr().cast_mut(), secret.len())?;
/// }
/// # Ok::<(), rawmap::Errno>(())
/// ```
///
/// If you want this safe, see [`Mapping`](crate::Mapping), which locks its own memory.
///
/// `addr` need not be a multiple of the page size. Locks don't nest: one [`munlock`] undoes any
/// number of them. A child that is forked doesn't inherit them.
///
/// The function makes one call: `mlock(addr, len)`. Linux has it since 1.3.60. Source: mlock(2),
/// `mm/mlock.c`.
///
/// # Safety
/// mlock changes no memory, and so asks for nothing.
///
/// If the range has a page of a stack, the stack is locked as it grows. If it then grows over
/// RLIMIT_MEMLOCK, the kernel kills the process with SIGSEGV.
///
/// # Errors
/// - ENOMEM: part of the range is not mapped; a page can't be made resident, because it is
///   inaccessible or lies behind the end of its file; or a limit would be exceeded (RLIMIT_MEMLOCK,
///   `vm.max_map_count`).
/// - EPERM: RLIMIT_MEMLOCK is 0, and the process has no CAP_IPC_LOCK.
/// - EAGAIN: some pages could not be locked.
/// - EINVAL: `addr` and the rounded `len` together wrap.
///
/// # Kernels differ
/// On aarch64 the kernel ignores the top byte of `addr`. Elsewhere an address whose top byte is a
/// tag is ENOMEM.
#[inline]
pub unsafe fn mlock(addr: *mut u8, len: usize) -> Result<(), Errno> {
    // SAFETY: locking changes no memory.
    unit(unsafe { arch::syscall2(Word::ptr(addr), Word::int(len), nr::MLOCK) })
}

/// `mlock2(2)`: does what [`mlock`] does, or, with [`MlockFlags::ONFAULT`], locks each page when it
/// is first touched.
///
/// ```
/// use rawmap::{Errno, MlockFlags, mlock2};
/// // SAFETY: a range of length 0 holds no memory.
/// let locked = unsafe { mlock2(core::ptr::null_mut(), 0, MlockFlags::ONFAULT) };
/// assert!(matches!(locked, Ok(()) | Err(Errno::ENOSYS)));
/// ```
///
/// If you want this safe, see [`Mapping`](crate::Mapping), which locks its own memory.
///
/// The function makes one call: `mlock2(addr, len, flags)`. Linux has it since 4.4. Source:
/// mlock2(2), `mm/mlock.c`.
///
/// # Safety
/// mlock2 changes no memory, and so asks for nothing. A stack of which a page is locked may end the
/// process when it grows, as [`mlock`] says.
///
/// # Errors
/// Those of [`mlock`], and these:
/// - EINVAL: `flags` has a bit that the kernel doesn't know.
/// - ENOSYS: the kernel has no mlock2.
///
/// # Kernels differ
/// Linux before 4.4, and QEMU user mode before 11, have no mlock2. Addresses with a tag are treated
/// as by [`mlock`].
#[inline]
pub unsafe fn mlock2(addr: *mut u8, len: usize, flags: MlockFlags) -> Result<(), Errno> {
    // SAFETY: locking changes no memory.
    unit(unsafe { arch::syscall3(Word::ptr(addr), Word::int(len), flags.word(), nr::MLOCK2) })
}

/// `munlock(2)`: unlocks every page that has a byte in `addr .. addr + len`, whether [`mlock`],
/// [`mlock2`], [`mlockall`] or [`MapFlags::LOCKED`] locked it.
///
/// ```
/// use rawmap::munlock;
/// let never_locked = [0u8; 16];
/// // SAFETY: unlocking changes no memory.
/// unsafe { munlock(never_locked.as_ptr().cast_mut(), never_locked.len()) }?; // no error
/// # Ok::<(), rawmap::Errno>(())
/// ```
///
/// If you want this safe, see [`Mapping`](crate::Mapping), which unlocks its own memory.
///
/// The function makes one call: `munlock(addr, len)`. Linux has it since 1.3.60. Source:
/// munlock(2), `mm/mlock.c`.
///
/// # Safety
/// munlock changes no memory, and so asks for nothing.
///
/// # Errors
/// - ENOMEM: part of the range is not mapped; or a mapping would have to be split, and the process
///   has as many as `vm.max_map_count` allows.
/// - EINVAL: `addr` and the rounded `len` together wrap.
///
/// # Kernels differ
/// On aarch64 the kernel ignores the top byte of `addr`. Elsewhere an address whose top byte is a
/// tag is ENOMEM.
#[inline]
pub unsafe fn munlock(addr: *mut u8, len: usize) -> Result<(), Errno> {
    // SAFETY: unlocking changes no memory.
    unit(unsafe { arch::syscall2(Word::ptr(addr), Word::int(len), nr::MUNLOCK) })
}

/// `mlockall(2)`: locks all memory that the process has mapped, or will map.
///
/// ```
/// use rawmap::{Errno, MlockAllFlags, mlockall};
/// // SAFETY: refused.
/// assert_eq!(unsafe { mlockall(MlockAllFlags::ONFAULT) }, Err(Errno::EINVAL));
/// ```
///
/// No owner of this crate calls this, since it acts on the whole process: with
/// [`FUTURE`](MlockAllFlags::FUTURE), later mappings anywhere in it may fail (EAGAIN from mmap). A
/// [`Mapping`](crate::Mapping) locks its own memory.
///
/// The function makes one call: `mlockall(flags)`. Linux has it since 1.3.60. Source: mlockall(2),
/// `mm/mlock.c`.
///
/// # Safety
/// mlockall changes no memory, and so asks for nothing.
///
/// # Errors
/// - EINVAL: `flags` is empty, or `ONFAULT` alone, or has a bit that the kernel doesn't know.
/// - ENOMEM: the process has more memory than RLIMIT_MEMLOCK allows it to lock.
/// - EPERM: RLIMIT_MEMLOCK is 0, and the process has no CAP_IPC_LOCK.
///
/// The main thread's stack is locked too. If it then grows over RLIMIT_MEMLOCK, the kernel kills
/// the process with SIGSEGV.
///
/// # Kernels differ
/// Linux before 4.4 doesn't know `ONFAULT`.
#[inline]
pub unsafe fn mlockall(flags: MlockAllFlags) -> Result<(), Errno> {
    // SAFETY: locking changes no memory.
    unit(unsafe { arch::syscall1(flags.word(), nr::MLOCKALL) })
}

/// `munlockall(2)`: unlocks all memory of the process, and undoes [`MlockAllFlags::FUTURE`].
///
/// ```
/// use rawmap::munlockall;
/// // SAFETY: unlocking changes no memory, and no part of this
/// // program relies on a lock.
/// unsafe { munlockall() }?;
/// # Ok::<(), rawmap::Errno>(())
/// ```
///
/// No owner of this crate calls this, since it acts on the whole process: it also undoes the locks
/// that other parts of the program rely on. A [`Mapping`](crate::Mapping) unlocks its own memory.
///
/// The function makes one call: `munlockall()`. Linux has it since 1.3.60. Source: munlockall(2),
/// `mm/mlock.c`.
///
/// # Safety
/// munlockall changes no memory, and so asks for nothing.
///
/// # Errors
/// - EINTR: the process is being killed.
#[inline]
pub unsafe fn munlockall() -> Result<(), Errno> {
    // SAFETY: unlocking changes no memory.
    unit(unsafe { arch::syscall0(nr::MUNLOCKALL) })
}

/// `mseal(2)`: seals the mappings in `addr .. addr + len`, so that for the life of the process they
/// can't be unmapped, moved, resized or replaced, and their protection can't be changed.
///
/// ```
/// use rawmap::{Errno, MsealFlags, mseal};
/// // SAFETY: a range of length 0 holds no memory.
/// let sealed = unsafe { mseal(core::ptr::null_mut(), 0, MsealFlags::default()) };
/// assert!(matches!(sealed, Ok(()) | Err(Errno::ENOSYS)));
/// ```
///
/// If you want this safe, see [`Mapping`](crate::Mapping), which can be sealed for good.
///
/// `len` is in bytes, and the kernel rounds it up to whole pages; a `len` of 0 is not an error. A
/// seal can't be taken away.
///
/// The function makes one call: `mseal(addr, len, flags)`. Linux has it since 6.10, for 64-bit
/// programs only. Source: mseal(2), `mm/mseal.c`.
///
/// # Safety
/// No part of the program may rely on being able to unmap or change the range later: it gets EPERM,
/// and the memory stays as it is.
///
/// # Errors
/// - EINVAL: `addr` is not a multiple of the page size; `flags` is not empty; or `addr + len`
///   wraps.
/// - ENOMEM: part of the range is not mapped.
/// - ENOSYS: the kernel has no mseal.
///
/// # Kernels differ
/// Linux before 6.10, and QEMU user mode, have no mseal. On aarch64 the kernel ignores the top byte
/// of `addr`. Elsewhere an address whose top byte is a tag is ENOMEM.
#[inline]
pub unsafe fn mseal(addr: *mut u8, len: usize, flags: MsealFlags) -> Result<(), Errno> {
    // SAFETY: the caller's promise: nobody means to change these mappings any more.
    unit(unsafe { arch::syscall3(Word::ptr(addr), Word::int(len), flags.word(), nr::MSEAL) })
}
