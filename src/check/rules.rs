//! The rules of every call but mmap, one function for each.

use super::earlier::{ADVISED, MREMAP_OLD, NOTHING, PROTECTED, REMOVED, SYNCED};
use super::{Limits, Reason, Verdict, refuse};
use crate::{Advice, Errno, MlockAllFlags, MremapFlags, MsealFlags, MsyncFlags, Prot, arch};

impl Limits {
    pub(super) const fn unaligned(&self, addr: usize) -> Verdict {
        if self.page.is_aligned(addr) {
            return Ok(());
        }
        let reason = Reason::AddressUnaligned { addr, page: self.page.bytes() };
        refuse(reason, Errno::EINVAL, NOTHING)
    }

    pub(super) const fn beyond(&self, addr: usize, len: usize) -> Reason {
        Reason::BeyondAddressSpace { addr, len, address_space: self.address_space }
    }

    /// `len` rounded up to whole pages, wrapping to 0 as the kernel's PAGE_ALIGN does.
    pub(super) const fn align(&self, len: usize) -> usize {
        match self.page.round_up(len) {
            Some(len) => len,
            None => 0,
        }
    }

    /// Whether a range lies within the address space.
    pub(super) const fn holds(&self, addr: usize, len: usize) -> bool {
        addr <= self.address_space && len <= self.address_space - addr
    }

    /// mm/mmap.c: munmap; mm/vma.c: do_vmi_munmap
    pub(super) const fn munmap(&self, addr: usize, len: usize) -> Verdict {
        if let Err(refusal) = self.unaligned(addr) {
            return Err(refusal);
        }
        if !self.holds(addr, len) {
            return refuse(self.beyond(addr, len), Errno::EINVAL, NOTHING);
        }
        if len == 0 {
            return refuse(Reason::LengthZero, Errno::EINVAL, NOTHING);
        }
        Ok(())
    }

    /// mm/mprotect.c: do_mprotect_pkey
    pub(super) const fn mprotect(&self, addr: usize, len: usize, prot: Prot) -> Verdict {
        let grows = Prot::GROWSDOWN.union(Prot::GROWSUP);
        if prot.contains(grows) {
            return refuse(Reason::GrowsBothWays, Errno::EINVAL, NOTHING);
        }
        if let Err(refusal) = self.unaligned(addr) {
            return Err(refusal);
        }
        if len == 0 {
            return Ok(());
        }
        let aligned = self.align(len);
        if aligned == 0 {
            return refuse(Reason::LengthWraps { len }, Errno::ENOMEM, NOTHING);
        }
        if addr.wrapping_add(aligned) <= addr {
            return refuse(Reason::RangeWraps { addr, len }, Errno::ENOMEM, NOTHING);
        }
        let known = Prot::READ.bits()
            | Prot::WRITE.bits()
            | Prot::EXEC.bits()
            | Prot::SEM.bits()
            | grows.bits()
            | arch::PROT_OF_CPU;
        let unknown = Prot::from_bits(prot.bits() & !known);
        if !unknown.is_empty() {
            return refuse(Reason::UnknownProt { prot: unknown }, Errno::EINVAL, NOTHING);
        }
        // From here on the kernel asks what is mapped, and BTI and MTE of the CPU.
        let of_cpu = prot.intersection(Prot::from_bits(arch::PROT_OF_CPU));
        let cpu: &[_] = if of_cpu.is_empty() { NOTHING } else { PROTECTED };
        if addr >= self.address_space {
            return refuse(self.beyond(addr, len), Errno::ENOMEM, cpu);
        }
        if prot.contains(Prot::GROWSUP) {
            return refuse(Reason::GrowsUp, Errno::EINVAL, &[Errno::ENOMEM]);
        }
        if !self.holds(addr, aligned) {
            return refuse(self.beyond(addr, len), Errno::ENOMEM, PROTECTED);
        }
        Ok(())
    }

    /// mm/msync.c: msync. A length that wraps when rounded up is 0, and no error.
    pub(super) const fn msync(&self, addr: usize, len: usize, flags: MsyncFlags) -> Verdict {
        let both = MsyncFlags::SYNC.union(MsyncFlags::ASYNC);
        let known = both.union(MsyncFlags::INVALIDATE);
        let unknown = flags.intersection(known.complement());
        if !unknown.is_empty() {
            return refuse(Reason::UnknownMsyncFlags { flags: unknown }, Errno::EINVAL, NOTHING);
        }
        if let Err(refusal) = self.unaligned(addr) {
            return Err(refusal);
        }
        if flags.contains(both) {
            return refuse(Reason::SyncAndAsync, Errno::EINVAL, NOTHING);
        }
        let aligned = self.align(len);
        if addr.wrapping_add(aligned) < addr {
            return refuse(Reason::RangeWraps { addr, len }, Errno::ENOMEM, NOTHING);
        }
        if aligned != 0 && !self.holds(addr, aligned) {
            return refuse(self.beyond(addr, len), Errno::ENOMEM, SYNCED);
        }
        Ok(())
    }

    /// mm/mremap.c: check_mremap_params and after, since Linux 6.17. Before, mremap_to, which looked
    /// for the new range and for an overlap, came after what is mapped; and before 6.15 mremap
    /// itself looked for a move first of all.
    pub(super) const fn mremap(
        &self,
        old: usize,
        old_len: usize,
        new_len: usize,
        flags: MremapFlags,
        new_addr: usize,
    ) -> Verdict {
        let known = MremapFlags::MAYMOVE.union(MremapFlags::FIXED).union(MremapFlags::DONTUNMAP);
        let unknown = flags.intersection(known.complement());
        if !unknown.is_empty() {
            return refuse(Reason::UnknownMremapFlags { flags: unknown }, Errno::EINVAL, NOTHING);
        }
        let dontunmap = flags.contains(MremapFlags::DONTUNMAP);
        let moves = dontunmap || flags.contains(MremapFlags::FIXED);
        if self.before(6, 15) {
            if let Err(refusal) = self.mremap_moves(old_len, new_len, flags) {
                return Err(refusal);
            }
        }
        if let Err(refusal) = self.unaligned(old) {
            return Err(refusal);
        }
        let (old_aligned, new_aligned) = (self.align(old_len), self.align(new_len));
        if new_aligned == 0 {
            let wraps = Reason::LengthWraps { len: new_len };
            let reason = if new_len == 0 { Reason::LengthZero } else { wraps };
            return refuse(reason, Errno::EINVAL, NOTHING);
        }
        let mapped: &[_] = if self.since(6, 17) { NOTHING } else { MREMAP_OLD };
        if new_aligned > self.address_space && (moves || self.since(6, 17)) {
            return refuse(self.beyond(new_addr, new_len), Errno::EINVAL, mapped);
        }
        if moves {
            if !self.holds(new_addr, new_aligned) {
                return refuse(self.beyond(new_addr, new_len), Errno::EINVAL, mapped);
            }
            if !self.page.is_aligned(new_addr) {
                let reason = Reason::AddressUnaligned { addr: new_addr, page: self.page.bytes() };
                return refuse(reason, Errno::EINVAL, mapped);
            }
            if let Err(refusal) = self.mremap_moves(old_len, new_len, flags) {
                return Err(refusal);
            }
            if old.wrapping_add(old_aligned) > new_addr && new_addr + new_aligned > old {
                let reason = Reason::Overlap { old, old_len, new_addr, new_len };
                return refuse(reason, Errno::EINVAL, mapped);
            }
        }
        // vma_lookup: nothing is mapped there. A new range that is too long for Linux 6.17, or for a
        // smaller address space, would have been refused before.
        if old >= self.address_space {
            let certain = self.kernel.is_some() && self.address_space < arch::MAX_ADDRESS_SPACE;
            let earlier: &[_] =
                if certain { &[Errno::ENOMEM] } else { &[Errno::ENOMEM, Errno::EINVAL] };
            return refuse(self.beyond(old, old_len), Errno::EFAULT, earlier);
        }
        // What it shrinks by is unmapped as munmap does it, after the new place (mremap_to).
        if old_aligned > new_aligned
            && !self.holds(old.wrapping_add(new_aligned), old_aligned - new_aligned)
        {
            return refuse(self.beyond(old, old_len), Errno::EINVAL, MREMAP_OLD);
        }
        Ok(())
    }

    /// The flags of mremap that ask for a move; before Linux 6.17 with the lengths as they are, since
    /// then with the lengths rounded up.
    const fn mremap_moves(&self, old_len: usize, new_len: usize, flags: MremapFlags) -> Verdict {
        let dontunmap = flags.contains(MremapFlags::DONTUNMAP);
        let moves = dontunmap || flags.contains(MremapFlags::FIXED);
        if moves && !flags.contains(MremapFlags::MAYMOVE) {
            return refuse(Reason::MustMove { flags }, Errno::EINVAL, NOTHING);
        }
        let resizes = self.align(old_len) != self.align(new_len);
        if dontunmap && (resizes || self.before(6, 17) && old_len != new_len) {
            let reason = Reason::DontunmapResizes { old_len, new_len };
            return refuse(reason, Errno::EINVAL, NOTHING);
        }
        Ok(())
    }

    /// mm/madvise.c: do_madvise
    pub(super) const fn madvise(&self, addr: usize, len: usize, advice: Advice) -> Verdict {
        let known = match advice.bits() {
            0..=4 | 8..=25 | 100..=101 => true,
            // MADV_GUARD_INSTALL, MADV_GUARD_REMOVE
            102..=103 => !self.before(6, 13),
            _ => false,
        };
        if !known {
            return refuse(Reason::UnknownAdvice { advice }, Errno::EINVAL, NOTHING);
        }
        if let Err(refusal) = self.unaligned(addr) {
            return Err(refusal);
        }
        let aligned = self.align(len);
        if len != 0 && aligned == 0 {
            return refuse(Reason::LengthWraps { len }, Errno::EINVAL, NOTHING);
        }
        // Since Linux 6.4 wrapping is looked for before the tag is stripped.
        let seen = if self.since(6, 4) { addr } else { arch::untagged(addr) };
        if seen.wrapping_add(aligned) < seen {
            return refuse(Reason::RangeWraps { addr, len }, Errno::EINVAL, NOTHING);
        }
        let memory_failure = matches!(advice, Advice::HWPOISON | Advice::SOFT_OFFLINE);
        let addr = arch::untagged(addr);
        if aligned != 0 && !self.holds(addr, aligned) && !memory_failure {
            let earlier = if matches!(advice, Advice::REMOVE) { REMOVED } else { ADVISED };
            return refuse(self.beyond(addr, len), Errno::ENOMEM, earlier);
        }
        Ok(())
    }

    /// mm/mincore.c: mincore. How strict access_ok is differs by architecture and version: from
    /// the end of the address space up to 2^63 on. Nothing is mapped there, so what it lets
    /// through fails afterwards.
    pub(super) const fn mincore(&self, addr: usize, len: usize, vec: usize) -> Verdict {
        const HALF: usize = isize::MAX as usize + 1;
        if let Err(refusal) = self.unaligned(addr) {
            return Err(refusal);
        }
        let Some(end) = addr.checked_add(len) else {
            return refuse(Reason::RangeWraps { addr, len }, Errno::ENOMEM, NOTHING);
        };
        if end >= HALF {
            return refuse(self.beyond(addr, len), Errno::ENOMEM, NOTHING);
        }
        let pages = len.div_ceil(self.page.bytes());
        let earlier = &[Errno::ENOMEM, Errno::EAGAIN];
        match vec.checked_add(pages) {
            Some(end) if end <= self.address_space || pages == 0 && end < HALF => {}
            _ => return refuse(Reason::VecUnwritable { vec, len: pages }, Errno::EFAULT, earlier),
        }
        if len != 0 && !self.holds(addr, len) {
            return refuse(self.beyond(addr, len), Errno::ENOMEM, &[Errno::EFAULT, Errno::EAGAIN]);
        }
        Ok(())
    }

    /// mm/mlock.c: do_mlock, munlock, apply_vma_lock_flags
    pub(super) const fn mlock(
        &self,
        addr: usize,
        len: usize,
        earlier: &'static [Errno],
    ) -> Verdict {
        let start = self.page.round_down(addr);
        let aligned = self.align(len.wrapping_add(addr - start));
        if start.wrapping_add(aligned) < start {
            return refuse(Reason::RangeWraps { addr, len }, Errno::EINVAL, earlier);
        }
        if aligned != 0 && !self.holds(start, aligned) {
            return refuse(self.beyond(addr, len), Errno::ENOMEM, earlier);
        }
        Ok(())
    }

    /// mm/mseal.c: mseal
    pub(super) const fn mseal(&self, addr: usize, len: usize, flags: MsealFlags) -> Verdict {
        if self.before(6, 10) {
            return refuse(Reason::UnknownCall, Errno::ENOSYS, NOTHING);
        }
        let earlier: &[_] = if self.since(6, 10) { NOTHING } else { &[Errno::ENOSYS] };
        if !flags.is_empty() {
            return refuse(Reason::UnknownMsealFlags { flags }, Errno::EINVAL, earlier);
        }
        if !self.page.is_aligned(addr) {
            let reason = Reason::AddressUnaligned { addr, page: self.page.bytes() };
            return refuse(reason, Errno::EINVAL, earlier);
        }
        let aligned = self.align(len);
        if len != 0 && aligned == 0 {
            return refuse(Reason::LengthWraps { len }, Errno::EINVAL, earlier);
        }
        if addr.wrapping_add(aligned) < addr {
            return refuse(Reason::RangeWraps { addr, len }, Errno::EINVAL, earlier);
        }
        if aligned != 0 && !self.holds(addr, aligned) {
            return refuse(self.beyond(addr, len), Errno::ENOMEM, earlier);
        }
        Ok(())
    }
}

/// mm/mlock.c: mlockall
pub(super) const fn mlockall(flags: MlockAllFlags) -> Verdict {
    let which = MlockAllFlags::CURRENT.union(MlockAllFlags::FUTURE);
    let unknown = flags.intersection(which.union(MlockAllFlags::ONFAULT).complement());
    if flags.intersection(which).is_empty() || !unknown.is_empty() {
        return refuse(Reason::BadMlockallFlags { flags }, Errno::EINVAL, NOTHING);
    }
    Ok(())
}
