//! The rules of each call, in the kernel's order. Sources are those of Linux 6.1, 6.12, 6.18 and 7.3.

use super::list::Versions::{self, Since, Until};
use super::list::{Rule, Step, Walk};
use super::reason::Reason::*;
use super::{Kernel, Refusal};
use crate::{
    Advice, Errno, ErrnoSet, MapFlags, MlockAllFlags, MlockFlags, MremapFlags, MsealFlags,
    MsyncFlags, Prot, RawFd,
};

const MAYMOVE: usize = MremapFlags::MAYMOVE.bits();
const MOVES: usize = MremapFlags::FIXED.bits() | MremapFlags::DONTUNMAP.bits();
const SYNC_AND_ASYNC: i32 = MsyncFlags::SYNC.bits() | MsyncFlags::ASYNC.bits();
const GROWS: Prot = Prot::GROWSDOWN.union(Prot::GROWSUP);
const KNOWN_PROT: usize =
    Prot::READ.bits() | Prot::WRITE.bits() | Prot::EXEC.bits() | Prot::SEM.bits() | GROWS.bits();
const FIXED: usize = MapFlags::FIXED.bits() | MapFlags::FIXED_NOREPLACE.bits();
/// `MAX_LFS_FILESIZE`
const FILE_MAX: u64 = i64::MAX as u64;
/// `LEGACY_MAP_MASK` in include/linux/mman.h, and `MAP_SYNC`, which file systems know that can be on
/// DAX storage: what `MAP_SHARED_VALIDATE` knows. Of the huge-page size field, the bits of two sizes.
#[rustfmt::skip]
const LEGACY: usize = MapFlags::SHARED_VALIDATE.bits() | MapFlags::FIXED.bits() | MapFlags::ANONYMOUS.bits()
    | MapFlags::DENYWRITE.bits() | MapFlags::EXECUTABLE.bits() | MapFlags::UNINITIALIZED.bits()
    | MapFlags::GROWSDOWN.bits() | MapFlags::LOCKED.bits() | MapFlags::NORESERVE.bits()
    | MapFlags::POPULATE.bits() | MapFlags::NONBLOCK.bits() | MapFlags::STACK.bits() | MapFlags::HUGETLB.bits()
    | MapFlags::HUGE_2MB.bits() | MapFlags::HUGE_1GB.bits() | MapFlags::SYNC.bits();

rules! {
    /// Every rule of [`Call::check`](crate::Call::check), by call, in the kernel's order. Code and table come
    /// from the same list. The column *where* names the function in Linux 6.18. In Linux 6.1, the code of
    /// mm/vma.c stands in mm/mmap.c; up to 6.12, the code of mm/mremap.c stands in the system call itself and
    /// in `vma_to_resize`.
    ///
    /// A call goes through the rules from top to bottom. The column *step* says what the kernel does if the
    /// condition holds:
    /// - *refuse*: it answers this error.
    /// - *ask*: it looks at what the words don't say, and may answer one of these errors before it comes to the
    ///   rules below.
    /// - *change*: it may have changed something before it comes to the rules below.
    /// - *pass*: the words decide nothing more.
    /// - *given*: nothing; the line defines a name.
    ///
    /// If no version is stated, a rule that only some versions have does not refuse: its error is one that may
    /// come earlier.
    ///
    /// Names in the conditions are the call's arguments, without the tag that the kernel strips (aarch64). `k`
    /// is the [`Kernel`]: `k.page()` is its page size, and `k.address_space` its `TASK_SIZE`. `k.aligned(n)`
    /// says whether n is a multiple of the page size; `k.align(n)` rounds n up to one, and gives 0 if that is
    /// more than a register holds; `k.sum(a, b)` adds as a register does; `k.holds(a, n)` says whether n bytes
    /// from a on lie in the address space. `k.unaligned` is the reason [`AddressUnaligned`], and `k.beyond` is
    /// [`BeyondAddressSpace`]. mlock2 has the rules of mlock, and munlockall has none.
    ///
    /// `k.facts` is what differs by [`Arch`](crate::Arch); the values stand in the architecture's file in
    /// arch/. `default_window` is Linux's `DEFAULT_MAP_WINDOW`, `access_max` the largest address that
    /// `access_ok` passes, `map_32bit` the flag or 0, and `map_legacy` what only this architecture adds to
    /// `LEGACY_MAP_MASK`. Names in capitals are constants: `MOVES` is `MREMAP_FIXED|MREMAP_DONTUNMAP`; `FIXED`
    /// is `MAP_FIXED|MAP_FIXED_NOREPLACE`; `GROWS` is `PROT_GROWSDOWN|PROT_GROWSUP`; `KNOWN_PROT` is `GROWS`
    /// and `PROT_READ|PROT_WRITE|PROT_EXEC|PROT_SEM`; `LEGACY` is `LEGACY_MAP_MASK` and `MAP_SYNC`; `FILE_MAX`
    /// is `MAX_LFS_FILESIZE`.
    ///
    munmap(k, addr: u64, len: u64) {
        "mm/vma.c: do_vmi_munmap":
        refuse(EINVAL if !k.aligned(addr) => k.unaligned(addr));
        refuse(EINVAL if !k.holds(addr, len) => k.beyond(addr, len));
        refuse(EINVAL if len == 0 => LengthZero);
    }

    mprotect(k, addr: u64, len: u64, prot: Prot) {
        "mm/mprotect.c: do_mprotect_pkey":
        given(let rounded = k.align(len));
        given(let of_cpu = k.facts.prot_of_cpu); // BTI, MTE
        given(let unknown = prot.bits() & !KNOWN_PROT & !of_cpu);
        refuse(EINVAL if prot.contains(GROWS) => GrowsBothWays);
        refuse(EINVAL if !k.aligned(addr) => k.unaligned(addr));
        pass(if len == 0);
        refuse(ENOMEM if rounded == 0 => LengthWraps { len });
        refuse(ENOMEM if k.sum(addr, rounded) <= addr => RangeWraps { addr, len });
        refuse(EINVAL if unknown != 0 => UnknownProt { prot: Prot::from_bits(unknown) });
        ask([EINVAL] if prot.bits() & of_cpu != 0);
        refuse(ENOMEM if addr >= k.address_space => k.beyond(addr, len));
        ask([ENOMEM] if prot.contains(Prot::GROWSUP)); // is anything mapped there?
        refuse(EINVAL if prot.contains(Prot::GROWSUP) => GrowsUp);
        ask([EINVAL EACCES EPERM] if true); // what is mapped before the hole
        change(if true);
        refuse(ENOMEM if !k.holds(addr, rounded) => k.beyond(addr, len));
    }

    msync(k, addr: u64, len: u64, flags: MsyncFlags) {
        "mm/msync.c: msync":
        given(let rounded = k.align(len)); // a length that wraps is 0, and no error
        given(let unknown = flags.bits() & !(SYNC_AND_ASYNC | MsyncFlags::INVALIDATE.bits()));
        refuse(EINVAL if unknown != 0 => UnknownFlags { flags: unknown as u32 as u64 });
        refuse(EINVAL if !k.aligned(addr) => k.unaligned(addr));
        refuse(EINVAL if flags.bits() & SYNC_AND_ASYNC == SYNC_AND_ASYNC => SyncAndAsync);
        refuse(ENOMEM if k.sum(addr, rounded) < addr => RangeWraps { addr, len });
        ask([EBUSY EIO ENOSPC EDQUOT EINVAL EROFS] if true); // the fsync of files before the hole
        change(if flags.contains(MsyncFlags::SYNC) && addr < k.address_space);
        refuse(ENOMEM if rounded != 0 && !k.holds(addr, rounded) => k.beyond(addr, len));
    }

    #![inline(never)] // Long: among the others it would cost each of them saved registers.
    mremap(k, old: u64, old_len: u64, new_len: u64, flags: MremapFlags, new_addr: u64) {
        "mm/mremap.c: check_mremap_params":
        given(let old_rounded = k.align(old_len));
        given(let new_rounded = k.align(new_len));
        given(let unknown = flags.bits() & !(MAYMOVE | MOVES));
        given(let moves = flags.bits() & MOVES != 0);
        given(let may_move = flags.bits() & MAYMOVE != 0);
        given(let keeps = flags.contains(MremapFlags::DONTUNMAP));
        refuse(EINVAL if unknown != 0 => UnknownFlags { flags: unknown as u64 });
        refuse(EINVAL [Until(6, 15)] if moves && !may_move => MustMove { flags });
        refuse(EINVAL [Until(6, 15)] if keeps && old_len != new_len => DontunmapResizes { old_len, new_len });
        refuse(EINVAL if !k.aligned(old) => k.unaligned(old));
        refuse(EINVAL if new_len == 0 => LengthZero);
        refuse(EINVAL if new_rounded == 0 => LengthWraps { len: new_len });
        refuse(EINVAL [Since(6, 17)] if new_rounded > k.address_space => k.beyond(new_addr, new_len));
        refuse(EINVAL [Since(6, 17)] if moves && !k.holds(new_addr, new_rounded) => k.beyond(new_addr, new_len));
        refuse(EINVAL [Since(6, 15)] if moves && !k.aligned(new_addr) => k.unaligned(new_addr));
        refuse(EINVAL if moves && !may_move => MustMove { flags });
        refuse(EINVAL [Until(6, 17)] if keeps && old_len != new_len => DontunmapResizes { old_len, new_len });
        refuse(EINVAL if keeps && old_rounded != new_rounded => DontunmapResizes { old_len, new_len });
        given(let old_end = k.sum(old, old_rounded));
        given(let new_end = k.sum(new_addr, new_rounded));
        given(let overlap = old_end > new_addr && new_end > old);
        refuse(EINVAL [Since(6, 17)] if moves && overlap => Overlap { old, old_len, new_addr, new_len });
        "mm/mremap.c: do_mremap":
        ask([ENOMEM] [Since(6, 15)] if true); // too many mappings
        ask([EINVAL] if old >= k.address_space); // a new range behind it, if the address space is less than stated
        refuse(EFAULT if old >= k.address_space => k.beyond(old, old_len));
        ask([EFAULT EPERM] if true); // what is mapped
        "mm/mremap.c: mremap_to, until 6.17":
        refuse(EINVAL if moves && !k.aligned(new_addr) => k.unaligned(new_addr));
        refuse(EINVAL if moves && !k.holds(new_addr, new_rounded) => k.beyond(new_addr, new_len));
        refuse(EINVAL if moves && overlap => Overlap { old, old_len, new_addr, new_len });
        ask([EINVAL ENOMEM] if true); // what is mapped, too many mappings
        "mm/mremap.c: shrink_vma":
        given(let shrinks = old_rounded > new_rounded);
        given(let removed = k.sum(old, new_rounded));
        change(if flags.contains(MremapFlags::FIXED)); // what was at the new place is gone
        refuse(EINVAL if shrinks && !k.holds(removed, old_rounded - new_rounded) => k.beyond(old, old_len));
        "mm/mremap.c: expand_vma":
        given(let grows = new_rounded > old_rounded);
        ask([EAGAIN] if grows); // how much may be locked
        refuse(ENOMEM if grows && new_rounded > k.address_space => k.beyond(old, new_len));
        refuse(ENOMEM if grows && !may_move && !k.holds(old, new_rounded) => k.beyond(old, new_len));
        refuse(ENOMEM if old_rounded == 0 && !may_move => DuplicateMustMove { old, new_len });
    }

    madvise(k, tagged: u64, len: u64, advice: Advice) {
        "mm/madvise.c: do_madvise":
        given(let addr = k.facts.untagged(tagged));
        given(let rounded = k.align(len));
        given(let number = advice.bits());
        given(let poison = number == 100 || number == 101); // memory failure looks at each page by itself
        refuse(EINVAL if !matches!(number, 0..=4 | 8..=25 | 100..=103) => UnknownAdvice { advice });
        refuse(EINVAL [Until(6, 13)] if matches!(number, 102 | 103) => UnknownAdvice { advice }); // guards
        refuse(EINVAL if !k.aligned(tagged) => k.unaligned(tagged));
        refuse(EINVAL if len != 0 && rounded == 0 => LengthWraps { len });
        refuse(EINVAL [Since(6, 4)] if k.sum(tagged, rounded) < tagged => RangeWraps { addr: tagged, len });
        refuse(EINVAL if k.sum(addr, rounded) < addr => RangeWraps { addr: tagged, len });
        ask([EINVAL EACCES EPERM EAGAIN EBUSY EIO EBADF EFAULT EHWPOISON ENOSPC EOPNOTSUPP] if true); // before the hole
        ask([ENODEV EFBIG ETXTBSY EDQUOT EROFS] if number == Advice::REMOVE.bits()); // the file's fallocate
        change(if addr < k.address_space);
        refuse(ENOMEM if rounded != 0 && !k.holds(addr, rounded) && !poison => k.beyond(addr, len));
    }

    mincore(k, addr: u64, len: u64, vec: u64) {
        "mm/mincore.c: mincore":
        given(let pages = len.div_ceil(k.page()));
        given(let end = k.sum(addr, len));
        given(let vec_end = k.sum(vec, pages));
        given(let access_max = k.facts.access_max); // how strict access_ok is differs; behind it nothing is mapped
        refuse(EINVAL if !k.aligned(addr) => k.unaligned(addr));
        refuse(ENOMEM if end < addr => RangeWraps { addr, len });
        refuse(ENOMEM if end > access_max => k.beyond(addr, len));
        ask([ENOMEM EAGAIN] if true); // what is mapped
        change(if len != 0 && addr < k.address_space && vec < k.address_space);
        given(let behind = vec_end > k.address_space && (pages != 0 || vec_end > access_max));
        refuse(EFAULT if vec_end < vec || behind => VecUnwritable { vec, len: pages });
        ask([EFAULT] if true); // can vec be written?
        refuse(ENOMEM if len != 0 && !k.holds(addr, len) => k.beyond(addr, len));
    }

    mlock(k, addr: u64, len: u64, flags: MlockFlags) {
        "mm/mlock.c: mlock2":
        refuse(EINVAL if flags.bits() & !MlockFlags::ONFAULT.bits() != 0 => UnknownFlags { flags: flags.bits() as u32 as u64 });
        "mm/mlock.c: do_mlock":
        given(let start = addr & !(k.page() - 1));
        given(let rounded = k.align(k.sum(len, addr - start)));
        ask([EPERM ENOMEM] if true); // may it lock, and so much?
        "mm/mlock.c: apply_vma_lock_flags":
        refuse(EINVAL if k.sum(start, rounded) < start => RangeWraps { addr, len });
        change(if start < k.address_space);
        refuse(ENOMEM if rounded != 0 && !k.holds(start, rounded) => k.beyond(addr, len));
    }

    munlock(k, addr: u64, len: u64) {
        "mm/mlock.c: apply_vma_lock_flags":
        given(let start = addr & !(k.page() - 1));
        given(let rounded = k.align(k.sum(len, addr - start)));
        refuse(EINVAL if k.sum(start, rounded) < start => RangeWraps { addr, len });
        change(if start < k.address_space);
        refuse(ENOMEM if rounded != 0 && !k.holds(start, rounded) => k.beyond(addr, len));
    }

    mlockall(k, flags: MlockAllFlags) {
        "mm/mlock.c: mlockall":
        refuse(EINVAL if flags.bits() & !7 != 0 => BadMlockallFlags { flags });
        refuse(EINVAL if flags.bits() & 3 == 0 => BadMlockallFlags { flags }); // neither CURRENT nor FUTURE
    }

    munlockall(k) {}

    mseal(k, addr: u64, len: u64, flags: MsealFlags) {
        "mm/mseal.c: do_mseal":
        given(let rounded = k.align(len));
        refuse(ENOSYS [Until(6, 10)] if true => UnknownCall);
        refuse(EINVAL if !flags.is_empty() => UnknownFlags { flags: flags.bits() as u64 });
        refuse(EINVAL if !k.aligned(addr) => k.unaligned(addr));
        refuse(EINVAL if len != 0 && rounded == 0 => LengthWraps { len });
        refuse(EINVAL if k.sum(addr, rounded) < addr => RangeWraps { addr, len });
        refuse(ENOMEM if rounded != 0 && !k.holds(addr, rounded) => k.beyond(addr, len));
    }

    #![inline(never)] // As mremap.
    mmap(k, addr: u64, len: u64, flags: MapFlags, fd: RawFd, offset: u64) {
        "arch/*/kernel/sys*.c: mmap":
        given(let page = k.page());
        given(let log2 = flags.huge_log2());
        given(let sharing = flags.sharing().bits());
        given(let file = !flags.contains(MapFlags::ANONYMOUS));
        given(let hugetlb = flags.contains(MapFlags::HUGETLB));
        given(let huge = hugetlb && !file);
        given(let plain = !hugetlb && !file);
        given(let fixed = flags.bits() & FIXED != 0);
        given(let grows = flags.contains(MapFlags::GROWSDOWN));
        given(let page_offset = offset >> k.page.log2());
        given(let signed = k.facts.signed_offset && offset >> 63 == 1); // so that in pages it is among the last numbers
        refuse(EINVAL if !k.aligned(offset) => OffsetUnaligned { offset, page });
        "mm/mmap.c: ksys_mmap_pgoff":
        refuse(EBADF if file && fd < 0 => NoFile { fd }); // an unsigned int, and none is so large
        ask([EBADF] if file); // is it open?
        refuse(EINVAL if file && hugetlb && k.regular_file => NotHugetlbfs);
        refuse(EINVAL if huge && log2 != 0 && !k.facts.huge_page_exists(log2, k.page.log2()) => UnknownHugeSize { log2, page });
        ask([ENOMEM EINVAL ENOSPC ENODEV ENOENT ENFILE E2BIG EBADF] if hugetlb); // pages of that size, a file of them
        "mm/mmap.c: do_mmap":
        given(let granule = if huge && log2 != 0 { 1 << log2 } else { page });
        given(let rounded = k.sum(len, granule - 1) & !(granule - 1)); // what wraps is 0
        refuse(EINVAL if len == 0 => LengthZero);
        pass(if hugetlb && granule == page && (file || len > k.facts.word_max / 2)); // their size is not known
        ask([ENOMEM EINVAL ENOSPC ENODEV ENOENT ENFILE E2BIG] if file && !k.regular_file); // it may be of huge pages
        refuse(EINVAL if rounded == 0 && huge => LengthWraps { len }); // 0 by now
        refuse(ENOMEM if rounded == 0 => LengthWraps { len });
        refuse(EOVERFLOW [Until(6, 18)] if signed && rounded >= offset.wrapping_neg() => FileTooLong { offset, len });
        ask([ENOMEM] if true); // too many mappings
        "mm/mmap.c: __get_unmapped_area":
        given(let window = k.facts.default_window);
        given(let map_32bit = flags.bits() & k.facts.map_32bit != 0);
        given(let placed = !fixed && (plain || file && k.regular_file)); // others may have a way of their own
        given(let hint = addr & !(page - 1));
        refuse(ENOMEM if rounded > k.address_space => k.beyond(addr, len));
        refuse(ENOMEM if placed && hint <= window && rounded > window => NoPlace { len, window });
        given(let first_2g = hint != 0 && k.holds(hint, rounded) && hint + rounded <= 1 << 31); // the hint is taken
        refuse(ENOMEM if placed && map_32bit && rounded > 1 << 30 && !first_2g => NoPlace { len, window: 1 << 30 });
        refuse(EINVAL if fixed && huge && log2 != 0 && addr & (granule - 1) != 0 => AddressUnalignedHuge { addr, huge: granule });
        refuse(EINVAL if fixed && huge && !k.aligned(addr) => k.unaligned(addr));
        refuse(error(addr) if fixed => AddressIsError { addr }); // the kernel takes it for its own result
        refuse(ENOMEM if fixed && !k.holds(addr, rounded) => k.beyond(addr, len));
        refuse(EINVAL if fixed && !k.aligned(addr) => k.unaligned(addr));
        ask([EPERM EEXIST EAGAIN] if true); // the place, and locking
        ask([ENODEV EOVERFLOW EOPNOTSUPP EACCES ETXTBSY] if !plain); // the file
        "mm/mmap.c: do_mmap, without a file":
        given(let locked = flags.contains(MapFlags::LOCKED));
        refuse(EINVAL [Until(6, 11)] if plain && sharing == 8 => UnknownSharing { flags });
        refuse(EINVAL if plain && sharing == 8 && locked => CannotLock { flags });
        refuse(EINVAL if plain && (sharing == 1 || sharing == 8) && grows => CannotGrow { flags });
        refuse(EINVAL if plain && sharing == 0 => NoSharing);
        refuse(EINVAL if plain && !matches!(sharing, 1 | 2 | 8) => UnknownSharing { flags });
        pass(if plain);
        "mm/mmap.c: file_mmap_ok":
        given(let limited = huge || k.regular_file); // others may be as long as numbers go
        given(let last = if limited { FILE_MAX.wrapping_sub(rounded) } else { rounded.wrapping_neg() });
        refuse(EOVERFLOW [Until(6, 18)] if signed => FileTooLong { offset, len });
        refuse(EOVERFLOW if page_offset > last >> k.page.log2() => FileTooLong { offset, len });
        "mm/mmap.c: do_mmap, with a file":
        given(let legacy = LEGACY & !(if huge { MapFlags::SYNC.bits() } else { 0 }) | k.facts.map_legacy);
        given(let unknown = if sharing == 3 { flags.bits() & !legacy } else { 0 });
        given(let young = unknown & k.facts.map_legacy_6_6);
        given(let sync = sharing == 3 && flags.contains(MapFlags::SYNC) && k.regular_file && !huge);
        refuse(EOPNOTSUPP [Until(6, 6)] if unknown != 0 => UnknownMapFlags { flags: MapFlags::from_bits(unknown) });
        refuse(EOPNOTSUPP if unknown != young => UnknownMapFlags { flags: MapFlags::from_bits(unknown & !young) });
        refuse(EINVAL if sharing == 0 => NoSharing);
        refuse(EINVAL if sharing > 3 => UnknownSharing { flags });
        refuse(EINVAL if grows => CannotGrow { flags });
        change(if flags.contains(MapFlags::FIXED)); // from here on what it replaces is gone
        ask([EINVAL EIO EROFS] if sync); // what it replaces, and the file system
        refuse(EOPNOTSUPP if sync => UnknownMapFlags { flags: MapFlags::SYNC }); // not on DAX storage
        "fs/hugetlbfs/inode.c: hugetlbfs_file_mmap":
        refuse(EINVAL if huge && log2 != 0 && offset & (granule - 1) != 0 => OffsetUnalignedHuge { offset, huge: granule });
    }
}
