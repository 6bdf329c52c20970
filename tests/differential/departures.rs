//! Where QEMU's user mode answers otherwise than Linux, and why (seen with 10.0.2).
//!
//! Only an emulator is excused by this, and only where check gives one of the reasons named. What is
//! not here fails there too.

use super::{Disagreement, name_of};
use rawmap::{Errno, MapFlags, MremapFlags, Operation, Prot, Reason, Word};

/// What the emulator says.
#[derive(Clone, Copy, PartialEq)]
enum Answer {
    Ok,
    Err(Errno),
    /// The call killed.
    None,
}

use Answer::Err;

/// Why; for which of check's reasons, by name, `passes` for none of them; and of which calls and
/// answers.
type Departure =
    (&'static str, &'static [&'static str], fn(Operation, Option<Reason>, Answer) -> bool);

const FIXED: MapFlags = MapFlags::FIXED.union(MapFlags::FIXED_NOREPLACE);

const DEPARTURES: &[Departure] = &[
    (
        "mseal is missing: ENOSYS",
        &[
            "passes",
            "UnknownFlags",
            "AddressUnaligned",
            "LengthWraps",
            "RangeWraps",
            "BeyondAddressSpace",
        ],
        |it, _, answer| matches!(it, Operation::Mseal { .. }) && answer == Err(Errno::ENOSYS),
    ),
    (
        "mlock2 is missing before QEMU 11: ENOSYS",
        &["passes", "UnknownFlags", "RangeWraps", "BeyondAddressSpace"],
        |it, _, answer| matches!(it, Operation::Mlock2 { .. }) && answer == Err(Errno::ENOSYS),
    ),
    ("mlockall drops flags that it doesn't know", &["BadMlockallFlags"], |_, _, answer| {
        // What is left may be over the limit.
        matches!(answer, Answer::Ok | Err(Errno::ENOMEM | Errno::EPERM))
    }),
    (
        "madvise takes any advice, and any range that wraps or has holes",
        &["UnknownAdvice", "LengthWraps", "RangeWraps", "BeyondAddressSpace"],
        |it, _, answer| matches!(it, Operation::Madvise { .. }) && answer == Answer::Ok,
    ),
    ("madvise refuses with nothing but EINVAL", &["BeyondAddressSpace"], |it, _, answer| {
        matches!(it, Operation::Madvise { .. }) && answer == Err(Errno::EINVAL)
    }),
    (
        "mincore looks at both ranges before it looks at the address",
        &["AddressUnaligned", "BeyondAddressSpace"],
        |it, _, answer| {
            matches!(it, Operation::Mincore { .. })
                && matches!(answer, Err(Errno::ENOMEM | Errno::EFAULT))
        },
    ),
    (
        "mmap looks at MAP_SHARED_VALIDATE's flags first, and knows fewer",
        &[
            "passes",
            "OffsetUnaligned",
            "NoFile",
            "NotHugetlbfs",
            "UnknownHugeSize",
            "LengthZero",
            "LengthWraps",
            "BeyondAddressSpace",
            "AddressIsError",
            "AddressUnaligned",
            "AddressUnalignedHuge",
            "UnknownSharing",
        ],
        |it, _, answer| {
            matches!(it, Operation::Mmap { flags, .. } if flags.sharing() == MapFlags::SHARED_VALIDATE)
                && answer == Err(Errno::EOPNOTSUPP)
        },
    ),
    (
        "mmap looks at the sharing first, and doesn't know MAP_DROPPABLE",
        &["passes", "NoFile", "LengthWraps", "BeyondAddressSpace", "AddressIsError", "FileTooLong"],
        |it, _, answer| {
            let known = [MapFlags::SHARED, MapFlags::PRIVATE, MapFlags::SHARED_VALIDATE];
            matches!(it, Operation::Mmap { flags, .. } if !known.contains(&flags.sharing()))
                && answer == Err(Errno::EINVAL)
        },
    ),
    (
        "mmap refuses protection that it doesn't know",
        &[
            "passes",
            "NoFile",
            "LengthWraps",
            "BeyondAddressSpace",
            "AddressIsError",
            "FileTooLong",
            "UnknownMapFlags",
        ],
        |it, _, answer| {
            // As an int; bits 4 and 5 are aarch64's, if the CPU has them.
            let known = Prot::READ | Prot::WRITE | Prot::EXEC | Prot::SEM;
            matches!(it, Operation::Mmap { prot, .. } if (prot & !known).bits() as u32 != 0)
                && answer == Err(Errno::EINVAL)
        },
    ),
    (
        "mmap looks at length and address before descriptor and offset",
        &["NoFile", "OffsetUnaligned"],
        |it, _, answer| {
            matches!(it, Operation::Mmap { .. })
                && matches!(answer, Err(Errno::EINVAL | Errno::ENOMEM))
        },
    ),
    (
        "mmap takes its flags as an int",
        &["UnknownMapFlags"],
        |_, reason, _| matches!(reason, Some(Reason::UnknownMapFlags { flags }) if flags.bits() as u32 == 0),
    ),
    (
        "mmap looks at a fixed address's alignment before its range",
        &["passes", "BeyondAddressSpace", "AddressIsError"],
        |it, _, answer| {
            matches!(it, Operation::Mmap { addr, flags, .. }
                if !(flags & FIXED).is_empty() && addr.bits() & 0xfff != 0)
                && answer == Err(Errno::EINVAL)
        },
    ),
    (
        "mmap drops the size of huge pages",
        &["UnknownHugeSize", "NotHugetlbfs", "AddressUnalignedHuge", "OffsetUnalignedHuge"],
        |it, _, _| {
            matches!(it, Operation::Mmap { flags, .. }
                if flags.contains(MapFlags::HUGETLB) && flags.huge_log2() != 0)
        },
    ),
    ("mmap has no addresses that are errors", &["AddressIsError"], |_, _, answer| {
        matches!(answer, Err(Errno::ENOMEM | Errno::EINVAL | Errno::EEXIST))
    }),
    (
        "mprotect takes its protection as an int",
        &["UnknownProt"],
        |_, reason, _| matches!(reason, Some(Reason::UnknownProt { prot }) if prot.bits() as u32 == 0),
    ),
    (
        "mprotect of null with a length that wraps is of all of memory",
        &["LengthWraps"],
        |it, _, answer| {
            matches!(it, Operation::Mprotect { addr, .. } if addr == Word::ZERO)
                && matches!(answer, Answer::Ok | Answer::None)
        },
    ),
    (
        "mprotect looks at the protection first, and knows no PROT_GROWSDOWN",
        &["passes", "LengthWraps", "RangeWraps", "BeyondAddressSpace"],
        |it, _, answer| {
            let known = Prot::READ | Prot::WRITE | Prot::EXEC | Prot::SEM;
            matches!(it, Operation::Mprotect { prot, .. } if !(prot & !known).is_empty())
                && answer == Err(Errno::EINVAL)
        },
    ),
    (
        "mremap looks at the ranges first, and knows no empty one: ENOMEM",
        &[
            "UnknownFlags",
            "AddressUnaligned",
            "LengthZero",
            "LengthWraps",
            "BeyondAddressSpace",
            "MustMove",
            "DontunmapResizes",
            "Overlap",
        ],
        |it, _, answer| matches!(it, Operation::Mremap { .. }) && answer == Err(Errno::ENOMEM),
    ),
    (
        "mremap doesn't look how far the old range goes that it shrinks",
        &["BeyondAddressSpace"],
        |it, _, answer| matches!(it, Operation::Mremap { .. }) && answer == Answer::None,
    ),
    (
        "mremap takes its flags as an int",
        &["UnknownFlags"],
        |_, reason, _| matches!(reason, Some(Reason::UnknownFlags { flags }) if flags as u32 == 0),
    ),
    (
        "mremap doesn't look at the new address of MREMAP_DONTUNMAP",
        &["BeyondAddressSpace", "AddressUnaligned", "Overlap"],
        |it, _, answer| {
            matches!(it, Operation::Mremap { flags, .. }
                if flags.contains(MremapFlags::DONTUNMAP) && !flags.contains(MremapFlags::FIXED))
                && matches!(answer, Answer::Ok | Answer::None | Err(Errno::EFAULT))
        },
    ),
    (
        "mremap finds a new place itself, and may find one that overlaps",
        &["passes"],
        |it, _, answer| {
            matches!(it, Operation::Mremap { flags, .. } if !flags.contains(MremapFlags::FIXED))
                && answer == Err(Errno::EINVAL)
        },
    ),
    (
        "the tag of an address is not stripped",
        &["passes", "BeyondAddressSpace", "Overlap"],
        |it, _, answer| {
            let (Operation::Munmap { addr, .. }
            | Operation::Mprotect { addr, .. }
            | Operation::Msync { addr, .. }
            | Operation::Mlock { addr, .. }
            | Operation::Munlock { addr, .. }
            | Operation::Mremap { old: addr, .. }) = it
            else {
                return false;
            };
            let refused = matches!(answer, Err(Errno::EINVAL | Errno::ENOMEM | Errno::EFAULT));
            cfg!(target_arch = "aarch64") && addr.bits() >> 56 != 0 && refused
        },
    ),
];

/// Why the emulator answers so, if that is known.
pub fn known(disagreement: &Disagreement) -> Option<&'static str> {
    let reason = disagreement.verdict.err().map(|refusal| refusal.reason());
    let name = reason.map_or_else(|| "passes".to_owned(), name_of);
    let answer = match disagreement.answer {
        None => Answer::None,
        Some(answer) => answer.map_or_else(Answer::Err, |_| Answer::Ok),
    };
    let operation = disagreement.call.operation();
    let explains = |(_, reasons, explains): &&Departure| {
        reasons.contains(&&*name) && explains(operation, reason, answer)
    };
    DEPARTURES.iter().find(explains).map(|(why, ..)| *why)
}
