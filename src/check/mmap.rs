//! The rules of mmap.

use super::earlier::{
    COUNT, FILE, FILE_COUNT, FILE_SYSTEM, HUGE, HUGE_COUNT, NO_FILE, NOTHING, PLACE,
};
use super::{Limits, Reason, Verdict, refuse};
use crate::{Errno, MapFlags, RawFd, Word, arch};

impl Limits {
    pub(super) const fn mmap(
        &self,
        addr: usize,
        len: usize,
        flags: MapFlags,
        fd: RawFd,
        offset: u64,
    ) -> Verdict {
        let anonymous = flags.contains(MapFlags::ANONYMOUS);
        let hugetlb = flags.contains(MapFlags::HUGETLB);
        let fixed = flags.bits() & (MapFlags::FIXED.bits() | MapFlags::FIXED_NOREPLACE.bits()) != 0;
        let page = self.page.bytes();

        // arch/*/kernel/sys*.c: mmap
        if !self.page.is_aligned(offset as usize) {
            return refuse(Reason::OffsetUnaligned { offset, page }, Errno::EINVAL, NOTHING);
        }
        // mm/mmap.c: ksys_mmap_pgoff. The descriptor is looked up as an unsigned int, and none is
        // so large.
        if !anonymous && fd < 0 {
            return refuse(Reason::NoFile { fd }, Errno::EBADF, NOTHING);
        }
        // arch/riscv/kernel/sys_riscv.c: riscv_sys_mmap. Before Linux 6.18 the offset is signed there, so
        // that in pages it is among the last numbers.
        let may_be_signed = match arch::OFFSETS_SIGNED_BEFORE {
            Some((major, minor)) => offset >> 63 == 1 && !self.since(major, minor),
            None => false,
        };
        let offset_unknown = may_be_signed && self.kernel.is_none();
        let page_offset = if may_be_signed && !offset_unknown {
            (offset as i64 >> self.page.log2()) as u64
        } else {
            offset >> self.page.log2()
        };
        if !anonymous && hugetlb && self.regular_file {
            return refuse(Reason::NotHugetlbfs, Errno::EINVAL, &[Errno::EBADF]);
        }
        let log2 = flags.huge_log2();
        let anonymous_huge = anonymous && hugetlb;
        if anonymous_huge && log2 != 0 && !arch::huge_page_exists(log2, self.page.log2()) {
            return refuse(Reason::UnknownHugeSize { log2, page }, Errno::EINVAL, NOTHING);
        }
        // Both round the length up, huge pages first; what wraps becomes 0.
        let granule = if anonymous_huge && log2 != 0 { 1 << log2 } else { page };
        let granular = match len.checked_add(granule - 1) {
            Some(sum) => sum & !(granule - 1),
            None => 0,
        };
        // What the process's state may bring up first, before the length, a fixed address, and the
        // rest.
        let (first, count) = match (anonymous, hugetlb) {
            // What the kernel would say to the offset is not known.
            _ if offset_unknown => (HUGE_COUNT, HUGE),
            (true, false) => (NOTHING, COUNT),
            (false, _) if self.regular_file => (NO_FILE, FILE_COUNT),
            (false, false) => (NO_FILE, HUGE_COUNT),
            (_, true) => (HUGE_COUNT, HUGE_COUNT),
        };
        if len == 0 {
            return refuse(Reason::LengthZero, Errno::EINVAL, first);
        }
        if hugetlb && granule == page && (!anonymous || len > usize::MAX / 2) {
            // Whether it is a file of huge pages, and of which size, is not known; and near the
            // end of all numbers the default size decides about the error.
            return Ok(());
        }
        // mm/mmap.c: do_mmap. A length that wrapped as huge pages is 0 by now: a file of huge pages
        // says EINVAL.
        let first = if anonymous || self.regular_file { first } else { HUGE_COUNT };
        if granular == 0 {
            let errno = if anonymous_huge { Errno::EINVAL } else { Errno::ENOMEM };
            return refuse(Reason::LengthWraps { len }, errno, first);
        }
        // do_mmap: offset overflow?
        if page_offset.checked_add((granular >> self.page.log2()) as u64).is_none() {
            return refuse(Reason::FileTooLong { offset, len }, Errno::EOVERFLOW, first);
        }
        // mm/mmap.c: __get_unmapped_area. mmap doesn't strip tags.
        if granular > self.address_space {
            return refuse(self.beyond(addr, len), Errno::ENOMEM, count);
        }
        if fixed {
            // fs/hugetlbfs/inode.c: hugetlb_get_unmapped_area. Every size is a multiple of the page.
            if anonymous_huge && addr & (granule - 1) != 0 {
                let reason = if log2 == 0 {
                    Reason::AddressUnaligned { addr, page }
                } else {
                    Reason::AddressUnalignedHuge { addr, huge: granule }
                };
                return refuse(reason, Errno::EINVAL, count);
            }
            // mm/mmap.c: __get_unmapped_area takes the address for its own result, and looks
            // whether that is an error.
            if let Err(errno) = Errno::decode(Word::int(addr)) {
                return refuse(Reason::AddressIsError { addr }, errno, count);
            }
            if !self.holds(addr, granular) {
                return refuse(self.beyond(addr, len), Errno::ENOMEM, count);
            }
            if !self.page.is_aligned(addr) {
                return refuse(Reason::AddressUnaligned { addr, page }, Errno::EINVAL, count);
            }
        }
        // mm/mmap.c: do_mmap. Anonymous huge pages are a file by now.
        if anonymous && !hugetlb {
            self.mmap_anonymous(flags, if offset_unknown { HUGE } else { PLACE })
        } else {
            self.mmap_file(flags, len, granular, offset, page_offset, anonymous_huge)
        }
    }

    /// mm/mmap.c: do_mmap, the branch without a file
    const fn mmap_anonymous(&self, flags: MapFlags, earlier: &'static [Errno]) -> Verdict {
        let grows = flags.contains(MapFlags::GROWSDOWN);
        let reason = match flags.sharing() {
            MapFlags::SHARED if grows => Reason::CannotGrow { flags },
            // Since Linux 6.11.
            MapFlags::DROPPABLE if self.before(6, 11) => Reason::UnknownSharing { flags },
            MapFlags::DROPPABLE if flags.contains(MapFlags::LOCKED) => Reason::CannotLock { flags },
            MapFlags::DROPPABLE if grows => Reason::CannotGrow { flags },
            MapFlags::SHARED | MapFlags::PRIVATE | MapFlags::DROPPABLE => return Ok(()),
            MapFlags::FILE => Reason::NoSharing,
            _ => Reason::UnknownSharing { flags },
        };
        refuse(reason, Errno::EINVAL, earlier)
    }

    /// mm/mmap.c: do_mmap, the branch with a file
    const fn mmap_file(
        &self,
        flags: MapFlags,
        len: usize,
        granular: usize,
        offset: u64,
        page_offset: u64,
        huge: bool,
    ) -> Verdict {
        /// `LEGACY_MAP_MASK` in include/linux/mman.h: what `MAP_SHARED_VALIDATE` knows. Of the
        /// huge-page size field it knows the bits of two sizes, and so not the highest.
        const LEGACY: usize = MapFlags::SHARED_VALIDATE.bits()
            | MapFlags::FIXED.bits()
            | MapFlags::ANONYMOUS.bits()
            | MapFlags::DENYWRITE.bits()
            | MapFlags::EXECUTABLE.bits()
            | MapFlags::UNINITIALIZED.bits()
            | MapFlags::GROWSDOWN.bits()
            | MapFlags::LOCKED.bits()
            | MapFlags::NORESERVE.bits()
            | MapFlags::POPULATE.bits()
            | MapFlags::NONBLOCK.bits()
            | MapFlags::STACK.bits()
            | MapFlags::HUGETLB.bits()
            | MapFlags::HUGE_2MB.bits()
            | MapFlags::HUGE_1GB.bits()
            // Known to file systems that can be on DAX storage; the others refuse it.
            | MapFlags::SYNC.bits()
            | arch::MAP_LEGACY;

        let regular = self.regular_file || huge;
        let earlier = if huge || !self.regular_file { HUGE } else { FILE };
        // file_mmap_ok: MAX_LFS_FILESIZE for regular files; others, all numbers at least
        let most = if regular { isize::MAX as usize } else { 0_usize.wrapping_sub(granular) };
        let last = if regular { most.wrapping_sub(granular) } else { most };
        if regular && granular > most || page_offset as usize > last >> self.page.log2() {
            return refuse(Reason::FileTooLong { offset, len }, Errno::EOVERFLOW, earlier);
        }
        let validate = flags.sharing().bits() == MapFlags::SHARED_VALIDATE.bits();
        match flags.sharing() {
            MapFlags::SHARED_VALIDATE => {
                let mut known = LEGACY;
                if !self.before(6, 6) {
                    known |= arch::MAP_LEGACY_6_6;
                }
                if huge {
                    known &= !MapFlags::SYNC.bits();
                }
                let unknown = MapFlags::from_bits(flags.bits() & !known);
                if !unknown.is_empty() {
                    let reason = Reason::UnknownMapFlags { flags: unknown };
                    return refuse(reason, Errno::EOPNOTSUPP, earlier);
                }
            }
            MapFlags::SHARED | MapFlags::PRIVATE => {}
            MapFlags::FILE => return refuse(Reason::NoSharing, Errno::EINVAL, earlier),
            _ => return refuse(Reason::UnknownSharing { flags }, Errno::EINVAL, earlier),
        }
        if flags.contains(MapFlags::GROWSDOWN) {
            return refuse(Reason::CannotGrow { flags }, Errno::EINVAL, earlier);
        }
        // Not on DAX storage: refused by do_mmap, or by the file system after it.
        if validate && flags.contains(MapFlags::SYNC) && self.regular_file && !huge {
            let reason = Reason::UnknownMapFlags { flags: MapFlags::SYNC };
            return refuse(reason, Errno::EOPNOTSUPP, FILE_SYSTEM);
        }
        // fs/hugetlbfs/inode.c: hugetlbfs_file_mmap
        let log2 = flags.huge_log2();
        if huge && log2 != 0 && offset & ((1 << log2) - 1) != 0 {
            let reason = Reason::OffsetUnalignedHuge { offset, huge: 1 << log2 };
            return refuse(reason, Errno::EINVAL, earlier);
        }
        Ok(())
    }
}
