//! How ranges are had, and how they are given back. Every owner's memory comes from here: the kernel
//! chooses the place, or it is a place that an owner holds.

use crate::call::Call;
use crate::errno::Errno;
use crate::flags::{Advice, MapFlags, MremapFlags, Prot};
use crate::owners::access::{Access, Raw};
use crate::owners::error::{Error, Wrong, issue};
use crate::owners::mapping::{Backing, Mapping};
use crate::owners::process::{page_size, stack_ground};
use crate::page_size::PageSize;
use core::mem::ManuallyDrop;
use core::ptr::{NonNull, null_mut, without_provenance_mut};

/// `len` bytes rounded up to whole granules.
///
/// # Errors
/// That it is more than `isize::MAX`, which no Rust object may be.
#[inline]
pub(super) fn rounded(
    operation: &'static str,
    len: usize,
    granule: PageSize,
) -> Result<usize, Error> {
    match granule.round_up(len) {
        Some(rounded) if rounded <= isize::MAX as usize => Ok(rounded),
        _ => Err(too_long(operation, len)),
    }
}

#[cold]
fn too_long(operation: &'static str, len: usize) -> Error {
    Error::wrong(operation, "the length", len, Wrong::TooLong, isize::MAX as usize)
}

/// The error, if an alignment is not a power of two.
#[inline]
pub(super) fn check_alignment(operation: &'static str, align: usize) -> Result<(), Error> {
    if align.is_power_of_two() {
        Ok(())
    } else {
        Err(Error::wrong(operation, "the alignment", align, Wrong::NotAPowerOfTwo, 0))
    }
}

/// Private anonymous memory, where the kernel likes. `len` is whole pages, at most `isize::MAX`.
///
/// What is inaccessible comes to lie outside the stack ground (`process.rs`): where the kernel chose a
/// place in it, which it does only when all below is used up, it is asked once more for one right below.
#[inline]
pub(super) fn anonymous(
    operation: &'static str,
    len: usize,
    prot: Prot,
    flags: MapFlags,
) -> Result<Mapping<Raw>, Error> {
    let flags = flags.union(MapFlags::PRIVATE);
    let page = page_size()?;
    let call = Call::mmap_anonymous(null_mut(), len, prot, flags);
    // SAFETY: a new mapping, in place of nothing: the flags have no FIXED.
    let placed = unsafe { Mapping::adopt(issue(call)?, len, page, Backing::Anonymous) }?;
    if is_accessible(prot) || !placed.is_stack_ground()? {
        return Ok(placed);
    }
    drop(placed);
    below_the_stack(operation, len, prot, flags)
}

/// The same once more, with a hint right below the stack ground.
#[cold]
fn below_the_stack(
    operation: &'static str,
    len: usize,
    prot: Prot,
    flags: MapFlags,
) -> Result<Mapping<Raw>, Error> {
    let (page, (ground, _)) = (page_size()?, stack_ground()?);
    let hint = without_provenance_mut(page.round_down(ground.saturating_sub(len)));
    let call = Call::mmap_anonymous(hint, len, prot, flags);
    // SAFETY: a new mapping, in place of nothing: with a hint, the kernel replaces nothing.
    let placed = unsafe { Mapping::adopt(issue(call)?, len, page, Backing::Anonymous) }?;
    if placed.is_stack_ground()? {
        let at = placed.base().addr();
        return Err(Error::wrong(operation, "the place", at, Wrong::StackGround, 0));
    }
    Ok(placed)
}

/// Whether memory of this protection is accessible: the kernel keeps a stack at a distance from it
/// (`include/linux/mm.h`: `vma_is_accessible`).
pub(super) const fn is_accessible(prot: Prot) -> bool {
    let any = Prot::READ.union(Prot::WRITE).union(Prot::EXEC);
    !prot.intersection(any).is_empty()
}

/// Private anonymous memory at a multiple of `align`, a power of two. `len` is whole pages.
///
/// One call, where the kernel's own choice is aligned: it is for an alignment of a page, and it may be
/// for a length that is at least the alignment. Else one for `len + align - page` bytes, and one for
/// each end that is too much, mostly one. The slack is never touched.
pub(super) fn aligned(
    operation: &'static str,
    len: usize,
    align: usize,
    prot: Prot,
    flags: MapFlags,
) -> Result<Mapping<Raw>, Error> {
    let page = page_size()?;
    if align <= page.bytes() || len == 0 {
        return anonymous(operation, len, prot, flags);
    }
    if len >= align {
        let lucky = anonymous(operation, len, prot, flags)?;
        if lucky.base().addr() & (align - 1) == 0 {
            return Ok(lucky);
        }
    }
    let most = len.checked_add(align - page.bytes()).filter(|most| *most <= isize::MAX as usize);
    let most = most.ok_or_else(|| too_long(operation, len))?;
    let mut slack = anonymous(operation, most, prot, flags)?;
    let before = slack.base().addr().wrapping_neg() & (align - 1);
    // Both are granules within the mapping, so neither split fails. Where the kernel doesn't take an end
    // back, since the process has as many mappings as it may have, that end costs address space, and no
    // memory: it was never touched.
    let mut kept = if before == 0 { slack } else { slack.split_off(before)? };
    if kept.mapped_len() > len {
        drop(kept.split_off(len)?);
    }
    Ok(kept)
}

/// Unmaps a range. What the kernel doesn't take back costs no memory: where it refuses, since the process
/// has as many mappings as it may have (ENOMEM), or the range is part of a huge page (EINVAL), or is
/// sealed (EPERM), private memory is freed and, where the kernel has guards, made inaccessible. What is
/// left are address space, page tables, and the charge.
///
/// # Safety
/// The range belongs to the caller, whole granules of what is mapped, and nothing refers to it.
#[inline]
pub(super) unsafe fn give_back(addr: *mut u8, len: usize, backing: Backing) {
    // SAFETY: the caller's promise.
    if unsafe { issue(Call::munmap(addr, len)) }.is_err() && backing.is_private() {
        // SAFETY: the caller's promise.
        unsafe { give_back_memory(addr, len) };
    }
}

#[cold]
unsafe fn give_back_memory(addr: *mut u8, len: usize) {
    // SAFETY: the caller's promise; both drop what the range held, and touch nothing else.
    unsafe {
        let _ = purge_private(addr, len);
        let _ = issue(Call::madvise(addr, len, Advice::GUARD_INSTALL));
    }
}

/// Drops what a range holds of the process's own: `madvise(addr, len, MADV_DONTNEED)`; and if part of it
/// is locked (EINVAL), one call more, `MADV_DONTNEED_LOCKED` (Linux 5.18).
///
/// # Safety
/// The range belongs to the caller, and nothing refers to its bytes.
#[inline]
pub(super) unsafe fn purge_private(addr: *mut u8, len: usize) -> Result<(), Error> {
    // SAFETY: the caller's promise.
    match unsafe { issue(Call::madvise(addr, len, Advice::DONTNEED)) } {
        Ok(_) => Ok(()),
        Err(error) if error.errno() == Errno::EINVAL => {
            // SAFETY: the caller's promise.
            unsafe { issue(Call::madvise(addr, len, Advice::DONTNEED_LOCKED)) }.map(|_| ())
        }
        Err(error) => Err(error),
    }
}

/// Moves the pages of one owner over the range of another, which must be as long. No byte is copied, and
/// there is no moment at which the target is nobody's.
///
/// One call: `mremap(source, len, len, MREMAP_MAYMOVE|MREMAP_FIXED, target)`.
///
/// The source must be in one part (it is, if it was mapped just now; [`Mapping::is_in_one_part`] tells):
/// then the kernel moves all of it or none (`mm/mremap.c`: `move_vma`).
///
/// # Errors
/// Those of mremap. The source comes back as it was. So does the target, unless the kernel may have
/// unmapped it before it failed, and it could not be taken again.
pub(super) fn move_over<A: Access>(
    source: Mapping<A>,
    target: Mapping<Raw>,
) -> Result<Mapping<A>, (Mapping<A>, Option<Mapping<Raw>>, Error)> {
    let (from, to, len) = (source.base(), target.base(), source.mapped_len());
    debug_assert_eq!(len, target.mapped_len());
    let target = ManuallyDrop::new(target);
    let flags = MremapFlags::MAYMOVE.union(MremapFlags::FIXED);
    // SAFETY: both ranges are ours, whole granules, and as long; with their owners, all that could refer
    // to them is here.
    match unsafe { issue(Call::mremap(from, len, len, flags, to)) } {
        Ok(_) => {
            let mut moved = source;
            // SAFETY: the pages lie there now, and the target's owner is gone.
            unsafe { moved.set_base(to) };
            Ok(moved)
        }
        Err(error) => {
            let target = ManuallyDrop::into_inner(target);
            Err((source, retaken(target, error.errno()), error))
        }
    }
}

/// A range again over which the kernel refused to move something with this error; or nothing, if it may
/// belong to somebody else by now.
///
/// Where [`may_be_unmapped`] says so, and it is no filter's answer: a filter, which can give any error,
/// unmaps nothing.
#[cold]
pub(super) fn retaken(target: Mapping<Raw>, errno: Errno) -> Option<Mapping<Raw>> {
    if !may_be_unmapped(errno) || a_filter_answers_mremap() {
        return Some(target);
    }
    let target = ManuallyDrop::new(target);
    // FIXED_NOREPLACE takes what was unmapped, and nothing that somebody has mapped there since.
    let flags = MapFlags::PRIVATE.union(MapFlags::NORESERVE).union(MapFlags::FIXED_NOREPLACE);
    let call = Call::mmap_anonymous(target.base(), target.mapped_len(), Prot::NONE, flags);
    // SAFETY: it replaces nothing. A kernel that takes the flag for a hint places it elsewhere.
    match unsafe { issue(call) } {
        Ok(addr) if addr == target.base() => Some(ManuallyDrop::into_inner(target)),
        Ok(stray) => {
            // SAFETY: mapped just now, and nobody's.
            unsafe { give_back(stray, target.mapped_len(), Backing::Anonymous) };
            None
        }
        // Something is mapped there: the target still, or what another thread has mapped since.
        Err(_) => None,
    }
}

/// Whether an `mremap` that was refused with this error may have unmapped its target. The kernel does so
/// before the last things that can go wrong: memory (ENOMEM), locked memory (EAGAIN), a source in several
/// parts (EFAULT) (`mm/mremap.c`: `mremap_to`, `vma_to_resize`). With any other error it has changed
/// nothing.
pub(super) const fn may_be_unmapped(errno: Errno) -> bool {
    matches!(errno, Errno::ENOMEM | Errno::EAGAIN | Errno::EFAULT)
}

/// Whether a filter answers `mremap` in the kernel's stead: the kernel says EINVAL to an address that is
/// no page's, whatever else is wrong.
fn a_filter_answers_mremap() -> bool {
    let no_page = without_provenance_mut(1);
    // SAFETY: the kernel refuses it.
    let asked = unsafe { issue(Call::mremap(no_page, 0, 0, MremapFlags::default(), null_mut())) };
    !matches!(asked, Err(error) if error.errno() == Errno::EINVAL)
}

/// Memory at `addr` that a call has mapped just now, or an error that has unmapped it again: at address
/// 0, where no owner can hold anything.
///
/// # Safety
/// As [`Mapping::new`].
#[inline]
pub(super) unsafe fn not_null(
    addr: *mut u8,
    len: usize,
    backing: Backing,
) -> Result<NonNull<u8>, Error> {
    match NonNull::new(addr) {
        Some(start) => Ok(start),
        None => {
            // SAFETY: by the caller's promise it belongs to nobody else.
            unsafe { give_back(addr, len, backing) };
            Err(Error::wrong("mmap", "the place", 0, Wrong::TooSmall, 1))
        }
    }
}

/// The flags of memory that is not private, not anonymous, or is used at once, which is therefore moved
/// to an aligned place, and not cut out of what is too much.
pub(super) const AT_ONCE: MapFlags =
    MapFlags::POPULATE.union(MapFlags::LOCKED).union(MapFlags::HUGETLB);

/// Moves a mapping that was made just now to a multiple of `align`, unless it lies at one.
///
/// Up to four calls: `mmap` of `len + align - page` inaccessible bytes, two `munmap` of what is too much,
/// and `mremap`.
pub(super) fn moved_to_alignment(
    operation: &'static str,
    mapping: Mapping<Raw>,
    align: usize,
) -> Result<Mapping<Raw>, Error> {
    if mapping.base().addr() & (align - 1) == 0 || mapping.is_empty() {
        return Ok(mapping);
    }
    let room = aligned(operation, mapping.mapped_len(), align, Prot::NONE, MapFlags::NORESERVE)?;
    move_over(mapping, room).map_err(|(_, _, error)| error)
}
