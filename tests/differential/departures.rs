//! Where QEMU's user mode answers otherwise than Linux, and why (seen with 10.0.2).
//!
//! Only an emulator is excused by this. What is not here fails there too.

use super::Disagreement;
use rawmap::{Errno, MapFlags, MremapFlags, Operation, Prot, Reason};

/// Why, and which disagreements that explains.
type Departure = (&'static str, fn(Operation, Option<Reason>, Answer) -> bool);

#[derive(Clone, Copy, PartialEq)]
enum Answer {
    Ok,
    Err(Errno),
    /// The call killed.
    None,
}

use Answer::Err;

const DEPARTURES: &[Departure] = &[
    ("mseal is missing: ENOSYS", |it, _, answer| {
        matches!(it, Operation::Mseal { .. }) && answer == Err(Errno::ENOSYS)
    }),
    ("mlock2 is missing before QEMU 11: ENOSYS", |it, _, answer| {
        matches!(it, Operation::Mlock2 { .. }) && answer == Err(Errno::ENOSYS)
    }),
    ("mlockall drops flags that it doesn't know", |it, reason, _| {
        matches!(it, Operation::Mlockall { .. })
            && matches!(reason, Some(Reason::BadMlockallFlags { .. }))
    }),
    ("madvise takes any advice, and any range that wraps or has holes", |it, reason, answer| {
        matches!(it, Operation::Madvise { .. }) && reason.is_some() && answer == Answer::Ok
    }),
    ("madvise refuses with nothing but EINVAL", |it, reason, answer| {
        matches!(it, Operation::Madvise { .. }) && reason.is_some() && answer == Err(Errno::EINVAL)
    }),
    ("mincore looks at both ranges before it looks at the address", |it, _, answer| {
        matches!(it, Operation::Mincore { .. })
            && matches!(answer, Err(Errno::ENOMEM | Errno::EFAULT))
    }),
    ("mmap looks at MAP_SHARED_VALIDATE's flags first, and knows fewer", |it, _, answer| {
        matches!(it, Operation::Mmap { flags, .. } if flags.sharing() == MapFlags::SHARED_VALIDATE)
            && answer == Err(Errno::EOPNOTSUPP)
    }),
    ("mmap looks at the sharing first, and doesn't know MAP_DROPPABLE", |it, _, answer| {
        let known = [MapFlags::SHARED, MapFlags::PRIVATE, MapFlags::SHARED_VALIDATE];
        matches!(it, Operation::Mmap { flags, .. } if !known.contains(&flags.sharing()))
            && answer == Err(Errno::EINVAL)
    }),
    ("mmap refuses protection that it doesn't know", |it, _, answer| {
        // As an int; bits 4 and 5 are aarch64's, if the CPU has them.
        let known = Prot::READ | Prot::WRITE | Prot::EXEC | Prot::SEM;
        matches!(it, Operation::Mmap { prot, .. } if (prot & !known).bits() as u32 != 0)
            && answer == Err(Errno::EINVAL)
    }),
    ("mmap looks at length and address before descriptor and offset", |it, reason, answer| {
        matches!(it, Operation::Mmap { .. })
            && matches!(reason, Some(Reason::NoFile { .. } | Reason::OffsetUnaligned { .. }))
            && matches!(answer, Err(Errno::EINVAL | Errno::ENOMEM))
    }),
    ("mmap takes its flags as an int", |it, reason, _| {
        matches!(it, Operation::Mmap { .. })
            && matches!(reason, Some(Reason::UnknownMapFlags { flags }) if flags.bits() as u32 == 0)
    }),
    ("mmap looks at a fixed address's alignment before its range", |it, _, answer| {
        matches!(it, Operation::Mmap { addr, flags, .. }
            if !(flags & (MapFlags::FIXED | MapFlags::FIXED_NOREPLACE)).is_empty()
                && addr.addr() & 0xfff != 0)
            && answer == Err(Errno::EINVAL)
    }),
    ("mmap drops the size of huge pages", |it, _, _| {
        matches!(it, Operation::Mmap { flags, .. }
            if flags.contains(MapFlags::HUGETLB) && flags.huge_log2() != 0)
    }),
    ("mmap has no addresses that are errors", |it, reason, _| {
        matches!(it, Operation::Mmap { .. })
            && matches!(reason, Some(Reason::AddressIsError { .. }))
    }),
    ("mprotect takes its protection as an int", |it, reason, _| {
        matches!(it, Operation::Mprotect { .. })
            && matches!(reason, Some(Reason::UnknownProt { prot }) if prot.bits() as u32 == 0)
    }),
    ("mprotect of null with a length that wraps is of all of memory", |it, reason, answer| {
        matches!(it, Operation::Mprotect { addr, .. } if addr.is_null())
            && matches!(reason, Some(Reason::LengthWraps { .. }))
            && matches!(answer, Answer::Ok | Answer::None)
    }),
    ("mprotect looks at the protection first, and knows no PROT_GROWSDOWN", |it, _, answer| {
        matches!(it, Operation::Mprotect { .. }) && answer == Err(Errno::EINVAL)
    }),
    ("mremap looks at the ranges first, and knows no empty one: ENOMEM", |it, _, answer| {
        matches!(it, Operation::Mremap { .. }) && answer == Err(Errno::ENOMEM)
    }),
    ("mremap doesn't look how far the old range goes that it shrinks", |it, reason, answer| {
        matches!(it, Operation::Mremap { .. })
            && matches!(reason, Some(Reason::BeyondAddressSpace { .. }))
            && answer == Answer::None
    }),
    ("mremap takes its flags as an int", |it, reason, _| {
        matches!(it, Operation::Mremap { .. })
            && matches!(reason, Some(Reason::UnknownMremapFlags { flags }) if flags.bits() as u32 == 0)
    }),
    ("mremap doesn't look at the new address of MREMAP_DONTUNMAP", |it, reason, _| {
        matches!(it, Operation::Mremap { flags, .. }
            if flags.contains(MremapFlags::DONTUNMAP) && !flags.contains(MremapFlags::FIXED))
            && reason.is_some()
    }),
    ("mremap finds a new place itself, and may find one that overlaps", |it, reason, answer| {
        matches!(it, Operation::Mremap { flags, .. } if !flags.contains(MremapFlags::FIXED))
            && reason.is_none()
            && answer == Err(Errno::EINVAL)
    }),
    ("the tag of an address is not stripped", |it, _, answer| {
        let (Operation::Munmap { addr, .. }
        | Operation::Mprotect { addr, .. }
        | Operation::Msync { addr, .. }
        | Operation::Mlock { addr, .. }
        | Operation::Munlock { addr, .. }
        | Operation::Mremap { old: addr, .. }) = it
        else {
            return false;
        };
        cfg!(target_arch = "aarch64") && addr.addr() >> 56 != 0 && matches!(answer, Err(_))
    }),
];

/// Why the emulator answers so, if that is known.
pub fn known(disagreement: &Disagreement) -> Option<&'static str> {
    let reason = disagreement.verdict.err().map(|refusal| refusal.reason());
    let answer = match disagreement.answer {
        None => Answer::None,
        Some(answer) => answer.map_or_else(Answer::Err, |_| Answer::Ok),
    };
    let operation = disagreement.call.operation();
    DEPARTURES.iter().find(|(_, explains)| explains(operation, reason, answer)).map(|(why, _)| *why)
}
