//! How ranges are had, and how they are given back. Every owner's memory comes from here: the kernel
//! chooses the place, or it is a place that an owner holds.

use crate::call::Call;
use crate::errno::Errno;
use crate::flags::{Advice, MapFlags, MremapFlags, Prot};
use crate::owners::access::{Access, Raw};
use crate::owners::error::{Error, Refused, Wrong, issue};
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
    rounded_behind(operation, len, 0, granule)
}

/// The same of `len` bytes and others that lie before them.
#[inline]
pub(super) fn rounded_behind(
    operation: &'static str,
    len: usize,
    before: usize,
    granule: PageSize,
) -> Result<usize, Error> {
    match before.checked_add(len).and_then(|all| granule.round_up(all)) {
        Some(rounded) if rounded <= isize::MAX as usize => Ok(rounded),
        _ => Err(too_long(operation, len, before, granule)),
    }
}

/// That so many bytes, and those before them, are more than any Rust object may be.
#[cold]
pub(super) fn too_long(
    operation: &'static str,
    len: usize,
    before: usize,
    granule: PageSize,
) -> Error {
    let most = granule.round_down(isize::MAX as usize).saturating_sub(before);
    Error::wrong(operation, "the length", len, Wrong::TooLong, most)
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
#[inline]
pub(super) fn anonymous(
    operation: &'static str,
    len: usize,
    prot: Prot,
    flags: MapFlags,
) -> Result<Mapping<Raw>, Error> {
    without_file(operation, len, prot, flags.union(MapFlags::PRIVATE), Backing::Anonymous)
}

/// Anonymous memory, where the kernel likes.
///
/// What is inaccessible comes to lie outside the stack ground (`process.rs`): where the kernel chose a
/// place in it, which it does only when all below is used up, it is asked once more for one right below.
#[inline]
fn without_file(
    operation: &'static str,
    len: usize,
    prot: Prot,
    flags: MapFlags,
    backing: Backing,
) -> Result<Mapping<Raw>, Error> {
    let page = page_size()?;
    let call = Call::mmap_anonymous(null_mut(), len, prot, flags);
    // SAFETY: a new mapping, in place of nothing: the flags have no FIXED.
    let placed = unsafe { Mapping::adopt(issue(call)?, len, page, backing) }?;
    if is_accessible(prot) || !placed.is_stack_ground()? {
        return Ok(placed);
    }
    drop(placed);
    below_the_stack(operation, len, prot, flags, backing)
}

/// The same once more, with a hint right below the stack ground; and where that is taken, wherever the kernel
/// likes, while all that it first likes in the ground is held.
#[cold]
fn below_the_stack(
    operation: &'static str,
    len: usize,
    prot: Prot,
    flags: MapFlags,
    backing: Backing,
) -> Result<Mapping<Raw>, Error> {
    let (page, (ground, _)) = (page_size()?, stack_ground()?);
    let map = |hint| {
        let call = Call::mmap_anonymous(hint, len, prot, flags);
        // SAFETY: a new mapping, in place of nothing: with a hint, the kernel replaces nothing.
        unsafe { Mapping::adopt(issue(call)?, len, page, backing) }
    };
    let mut placed = map(without_provenance_mut(page.round_down(ground.saturating_sub(len))))?;
    let mut held = [const { None }; 16];
    for place in &mut held {
        if !placed.is_stack_ground()? {
            return Ok(placed);
        }
        *place = Some(core::mem::replace(&mut placed, map(null_mut())?));
    }
    let at = placed.base().addr();
    Err(Error::wrong(operation, "the place", at, Wrong::StackGround, 0))
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
/// each end that is too much, mostly one. The slack is never touched; where there is not so much memory, two
/// more calls map it inaccessible and protect what is kept.
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
    // A smaller one, and a length below it, are together no more than `isize::MAX`.
    if align > isize::MAX as usize {
        let most = 1 << (usize::BITS - 2);
        return Err(Error::wrong(operation, "the alignment", align, Wrong::TooLong, most));
    }
    let most = len + align - page.bytes();
    match anonymous(operation, most, prot, flags) {
        Ok(slack) => trimmed(slack, len, align),
        // There is not so much memory, or not so much may be counted: only what is kept has to be.
        Err(error) if error.errno() == Errno::ENOMEM && is_accessible(prot) => {
            let kept = trimmed(anonymous(operation, most, Prot::NONE, flags)?, len, align)?;
            kept.protect(.., prot)?;
            Ok(kept)
        }
        Err(error) => Err(error),
    }
}

/// `len` bytes of `slack` at a multiple of `align`. The rest is given back. Where the kernel doesn't take an
/// end, since the process has as many mappings as it may have, that end costs address space, and no memory: it
/// was never touched.
fn trimmed(mut slack: Mapping<Raw>, len: usize, align: usize) -> Result<Mapping<Raw>, Error> {
    let before = slack.base().addr().wrapping_neg() & (align - 1);
    // Both are granules within the mapping, so neither split fails.
    let mut kept = slack.split_off(before)?;
    drop(kept.split_off(len)?);
    Ok(kept)
}

/// Unmaps a range. What the kernel doesn't take back of private memory costs none: where it refuses, since the process has
/// as many mappings as it may have (ENOMEM), or the range is part of a huge page (EINVAL), or is sealed
/// (EPERM), private memory is freed. What is left are address space, page tables, and what was counted. (It
/// stays accessible: a guard over it would cost page tables for all of it, 2 MiB for each GiB.)
///
/// # Safety
/// The range belongs to the caller, whole granules of what is mapped, and nothing refers to it.
#[inline]
pub(super) unsafe fn give_back(addr: *mut u8, len: usize, backing: Backing) {
    // SAFETY: the caller's promise.
    if unsafe { issue(Call::munmap(addr, len)) }.is_err() {
        // SAFETY: as above.
        unsafe { free(addr, len, backing) };
    }
}

/// Frees private memory that is not unmapped.
///
/// # Safety
/// As [`give_back`].
#[cold]
unsafe fn free(addr: *mut u8, len: usize, backing: Backing) {
    if backing.is_private() {
        // SAFETY: the caller's promise. That this is refused as well leaves nothing more to do.
        let _ = unsafe { purge_private(addr, len) };
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
/// One call: `mremap(source, len, len, MREMAP_MAYMOVE|MREMAP_FIXED, target)`; and of private memory that of
/// [`unmerged`] before it.
///
/// The source must be in one part (it is, if it was mapped just now; [`Mapping::make_one_part`] sees to it):
/// then the kernel moves all of it or none (`mm/mremap.c`: `move_vma`).
///
/// # Errors
/// Those of mremap. The source is where it was. The target comes back, unless the kernel may have unmapped
/// it before it failed, and it could not be taken again.
pub(super) fn move_over<A: Access>(
    source: &mut Mapping<A>,
    target: Mapping<Raw>,
    as_before: (Prot, MapFlags),
) -> Result<(), Refused<Mapping<Raw>>> {
    let (from, to, len) = (source.base(), target.base(), source.mapped_len());
    debug_assert_eq!(len, target.mapped_len());
    if let Err(error) = unmerged(source) {
        return Err(Refused::new(target, error));
    }
    let target = ManuallyDrop::new(target);
    let flags = MremapFlags::MAYMOVE.union(MremapFlags::FIXED);
    // SAFETY: both ranges are ours, whole granules, and as long; by `&mut` nothing borrows the one, and with
    // its owner, all that could refer to the other is here.
    match unsafe { issue(Call::mremap(from, len, len, flags, to)) } {
        // SAFETY: the pages lie there now, and the target's owner is gone.
        Ok(_) => unsafe { source.set_base(to) },
        Err(error) => {
            let target = ManuallyDrop::into_inner(target);
            return Err(match retaken(target, as_before, &error) {
                Some(target) => Refused::new(target, error),
                None => Refused::without_owner(error),
            });
        }
    }
    Ok(())
}

/// Sees to it that the kernel has nothing to wait for when it moves memory. It takes memory that may be merged
/// (KSM) apart before it moves that, and begins the call anew if a signal comes meanwhile, when it has unmapped
/// the target already (`mm/ksm.c`: `unmerge_ksm_pages`): it would then unmap what another thread has mapped there
/// since. Taken apart before, it is not taken apart then.
///
/// One call: `madvise(start, mapped_len, MADV_UNMERGEABLE)`; none of shared memory, which is never merged. EINVAL
/// is no error: that kernel merges nothing.
pub(super) fn unmerged<A: Access>(mapping: &Mapping<A>) -> Result<(), Error> {
    if !mapping.backing().is_private() {
        return Ok(());
    }
    let call = Call::madvise(mapping.base(), mapping.mapped_len(), Advice::UNMERGEABLE);
    // SAFETY: the range is the owner's, and keeps what it holds.
    match unsafe { issue(call) } {
        Err(error) if error.errno() != Errno::EINVAL => Err(error),
        _ => Ok(()),
    }
}

/// A range again over which a call was refused that would have moved something there; or nothing, if it may
/// belong to somebody else by now.
///
/// The kernel unmaps the target of an `mremap` before the last things that can go wrong: memory, a source in
/// several parts, what a driver says to the new address (`mm/mremap.c`: `mremap_to`). So the target is taken
/// again, as it was before, by what replaces nothing. If something is mapped there, it is the target still, or
/// what another thread has mapped since: then it is given up, and never unmapped. Only
/// [some errors](changed_nothing) tell that the kernel came not so far.
#[cold]
pub(super) fn retaken(
    target: Mapping<Raw>,
    (prot, flags): (Prot, MapFlags),
    error: &Error,
) -> Option<Mapping<Raw>> {
    let target = ManuallyDrop::new(target);
    let flags = flags.union(MapFlags::PRIVATE).union(MapFlags::FIXED_NOREPLACE);
    let call = Call::mmap_anonymous(target.base(), target.mapped_len(), prot, flags);
    // SAFETY: it replaces nothing. A kernel that takes the flag for a hint places it elsewhere.
    let is_ours = match unsafe { issue(call) } {
        Ok(addr) if addr == target.base() => true,
        Ok(stray) => {
            // SAFETY: mapped just now, and nobody's.
            unsafe { give_back(stray, target.mapped_len(), Backing::Anonymous) };
            false
        }
        // Something is there, and it was not touched. (Anything else says that nothing may be there, as below
        // `vm.mmap_min_addr`, where the kernel refuses to map what it has unmapped.)
        Err(again) => again.errno() == Errno::EEXIST && changed_nothing(error),
    };
    is_ours.then(|| ManuallyDrop::into_inner(target))
}

/// Whether a `mremap` that answers so has changed nothing, whoever answered it. A filter says one of these, or
/// whatever else it likes. The kernel says EPERM of what is sealed, before it unmaps any of it; EACCES where it
/// would not have let the target be mapped either; and ENOSYS never.
fn changed_nothing(error: &Error) -> bool {
    matches!(error.errno(), Errno::EPERM | Errno::EACCES | Errno::ENOSYS)
}

/// The owner of `len` bytes that a call has mapped just now, which are to lie on granules of this size. Where an
/// emulator drops the size of huge pages, and so they may not, they are unmapped again: the owner would give
/// back what is around them.
///
/// # Safety
/// As [`Mapping::new`], but for the address, and that the granules are of this size.
pub(super) unsafe fn adopt_huge(
    addr: *mut u8,
    len: usize,
    granule: PageSize,
    backing: Backing,
) -> Result<Mapping<Raw>, Error> {
    if !granule.is_aligned(addr.addr()) {
        // SAFETY: mapped just now, and nobody's.
        unsafe { give_back(addr, len, backing) };
        let (at, size) = (addr.addr(), granule.bytes());
        return Err(Error::wrong("mmap", "the huge pages' place", at, Wrong::Misaligned, size));
    }
    // SAFETY: the caller's promise.
    unsafe { Mapping::adopt(addr, len, granule, backing) }
}

/// Memory at `addr` that a call has mapped just now, or an error: at address 0 no owner can hold anything. Where
/// that was not asked for, no kernel answers it, but a filter that means to refuse may: then nothing is there.
#[inline]
pub(super) fn not_null(call: &'static str, addr: *mut u8) -> Result<NonNull<u8>, Error> {
    NonNull::new(addr).ok_or_else(|| null(call))
}

/// What [`not_null`] answers.
#[cold]
pub(super) fn null(call: &'static str) -> Error {
    Error::wrong(call, "the place", 0, Wrong::TooSmall, 1)
}

/// The flags of memory that is not private, not anonymous, or is used at once, which is therefore moved
/// to an aligned place, and not cut out of what is too much.
pub(super) const AT_ONCE: MapFlags =
    MapFlags::POPULATE.union(MapFlags::LOCKED).union(MapFlags::HUGETLB);

/// Moves a mapping that was made just now to a multiple of `align`, unless it lies at one.
///
/// Up to six calls: those of [`Room::new`] and [`unmerged`], `mremap`, and `munmap` of what lies behind it.
pub(super) fn moved_to_alignment(
    operation: &'static str,
    mut mapping: Mapping<Raw>,
    align: usize,
) -> Result<Mapping<Raw>, Error> {
    if mapping.base().addr() & (align - 1) == 0 || mapping.is_empty() {
        return Ok(mapping);
    }
    let room = Room::new(operation, mapping.mapped_len(), align)?;
    unmerged(&mapping)?;
    room.take(|place| {
        let (from, len) = (mapping.base(), mapping.mapped_len());
        let flags = MremapFlags::MAYMOVE.union(MremapFlags::FIXED);
        Call::mremap(from, len, len, flags, place)
    })
    // SAFETY: the pages lie there now, in place of what was the room's.
    .map(|place| unsafe { mapping.set_base(place) })?;
    Ok(mapping)
}

/// Address space that something is to be moved to. It is told from all other memory, so that it is known
/// whether it is still there when the move is refused.
pub(super) struct Room {
    /// Of an object of its own where that can be had, so that the kernel holds it with nobody's memory in one
    /// part; and two pages longer than what is moved there.
    all: Mapping<Raw>,
    len: usize,
}

impl Room {
    /// Room for `len` bytes, whole pages, at a multiple of `align`.
    ///
    /// One call: `mmap` of `len + align + page` bytes, shared and inaccessible; and one for each end that is
    /// too much.
    pub(super) fn new(operation: &'static str, len: usize, align: usize) -> Result<Self, Error> {
        let page = page_size()?.bytes();
        let align = align.max(page);
        let limit = (isize::MAX as usize - page).saturating_sub(len);
        if align == page && align > limit {
            let most = isize::MAX as usize - 2 * page;
            return Err(Error::wrong(operation, "the length", len, Wrong::TooLong, most));
        }
        if align > limit {
            let most = 1 << limit.max(1).ilog2();
            return Err(Error::wrong(operation, "the alignment", align, Wrong::TooLong, most));
        }
        let most = len + align + page;
        let flags = MapFlags::SHARED.union(MapFlags::NORESERVE);
        let shared = Backing::SharedAnonymous;
        let all = match without_file(operation, most, Prot::NONE, flags, shared) {
            // Shared memory is counted under strict accounting, and Miri has none (ENODEV); private memory that is
            // inaccessible is not counted, but it may be one with somebody's.
            Err(error) if matches!(error.errno(), Errno::ENOMEM | Errno::ENODEV) => {
                anonymous(operation, most, NOTHING.0, NOTHING.1)?
            }
            all => all?,
        };
        Ok(Self { all: trimmed(all, len + 2 * page, align)?, len })
    }

    /// Makes the call that moves something, which is [`unmerged`], to the room's address, and gives the rest of
    /// the room back. The room is nobody's afterwards.
    ///
    /// # Errors
    /// Those of the call. All of the room is given back then, but what may be somebody else's by now.
    pub(super) fn take(self, call: impl FnOnce(*mut u8) -> Call) -> Result<*mut u8, Error> {
        let Self { all: mut place, len } = self;
        let behind = place.split_off(len)?;
        // SAFETY: what is moved is the caller's, and what is replaced is the room.
        match unsafe { issue(call(place.base())) } {
            // The answer is the room's address.
            Ok(_) => Ok(ManuallyDrop::new(place).base()),
            Err(error) => {
                drop(unless_replaced(place, behind, &error));
                Err(error)
            }
        }
    }
}

/// Memory again over which a call was refused that would have replaced it; or nothing, if it may be somebody
/// else's by now. Right behind it lie two pages or more of the same object.
///
/// That can be seen where the object is nobody else's: it grows only if the kernel still holds all of it as one
/// part, and room for a page can be made. What is refused proves nothing.
#[cold]
pub(super) fn unless_replaced(
    place: Mapping<Raw>,
    behind: Mapping<Raw>,
    error: &Error,
) -> Option<Mapping<Raw>> {
    let (len, page) = (place.len(), place.granule().bytes());
    let mut all = ManuallyDrop::new(place);
    let joined = all.try_unsplit(behind);
    debug_assert!(joined.is_ok());
    let most = all.len();
    if !all.backing().is_private()
        && all.resize(most - page).is_ok()
        && all.resize_by("resize_in_place", most, MremapFlags::default()).is_ok()
    {
        return Some(ManuallyDrop::into_inner(all));
    }
    let behind = all.split_off(len);
    drop(behind);
    retaken(ManuallyDrop::into_inner(all), NOTHING, error)
}

/// Address space that holds nothing: room for what is moved there.
pub(super) const NOTHING: (Prot, MapFlags) = (Prot::NONE, MapFlags::NORESERVE);
