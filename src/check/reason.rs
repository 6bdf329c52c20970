//! [`Reason`]: why a call is refused, by name and as a sentence.

use crate::{Advice, MapFlags, MlockAllFlags, MremapFlags, Prot, RawFd};
use core::fmt;

/// What is wrong with a call. Sizes and addresses are in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
#[allow(missing_docs)] // The fields are the arguments of those names; addresses without their tag.
pub enum Reason {
    /// The address is not that of a page's first byte.
    AddressUnaligned { addr: u64, page: u64 },
    /// The fixed address is one of the last 4095, which the kernel takes for an error of its own.
    AddressIsError { addr: u64 },
    /// The fixed address is not that of a huge page's first byte.
    AddressUnalignedHuge { addr: u64, huge: u64 },
    /// The offset is not a multiple of the page size.
    OffsetUnaligned { offset: u64, page: u64 },
    /// The offset is not a multiple of the huge-page size.
    OffsetUnalignedHuge { offset: u64, huge: u64 },
    /// The length is 0.
    LengthZero,
    /// The length is more than the largest number when rounded up to whole pages.
    LengthWraps { len: u64 },
    /// Address and length together are more than the largest number.
    RangeWraps { addr: u64, len: u64 },
    /// The range ends behind the address space.
    BeyondAddressSpace { addr: u64, len: u64, address_space: u64 },
    /// No place is that long where the kernel looks for one, to which nothing is given that it could
    /// take: neither `MAP_FIXED` nor a hint.
    NoPlace { len: u64, window: u64 },
    /// The descriptor is negative, and the mapping is not anonymous.
    NoFile { fd: RawFd },
    /// The flags have no sharing.
    NoSharing,
    /// The sharing is none that the kernel knows for this kind of mapping.
    UnknownSharing { flags: MapFlags },
    /// A mapping that grows down is shared, droppable, or of a file.
    CannotGrow { flags: MapFlags },
    /// Droppable memory is to be locked.
    CannotLock { flags: MapFlags },
    /// Flags that are not known, with `MAP_SHARED_VALIDATE` on a file.
    UnknownMapFlags { flags: MapFlags },
    /// No such huge pages exist on this architecture.
    UnknownHugeSize { log2: u32, page: u64 },
    /// `MAP_HUGETLB` on a file that is not on hugetlbfs.
    NotHugetlbfs,
    /// The file can't be so long.
    FileTooLong { offset: u64, len: u64 },
    /// Bits of the protection that are not known.
    UnknownProt { prot: Prot },
    /// Both of `PROT_GROWSDOWN` and `PROT_GROWSUP`.
    GrowsBothWays,
    /// `PROT_GROWSUP`, on an architecture whose mappings don't.
    GrowsUp,
    /// Bits of the flags that are not known, of any call but mmap.
    UnknownFlags { flags: u64 },
    /// Both of `MS_SYNC` and `MS_ASYNC`.
    SyncAndAsync,
    /// `MREMAP_FIXED` or `MREMAP_DONTUNMAP` without `MREMAP_MAYMOVE`.
    MustMove { flags: MremapFlags },
    /// `MREMAP_DONTUNMAP` with another length.
    DontunmapResizes { old_len: u64, new_len: u64 },
    /// The old range and the new one overlap.
    Overlap { old: u64, old_len: u64, new_addr: u64, new_len: u64 },
    /// A second mapping (the old length is 0) can't be where the first is, and there is no
    /// `MREMAP_MAYMOVE`.
    DuplicateMustMove { old: u64, new_len: u64 },
    /// The advice is not known.
    UnknownAdvice { advice: Advice },
    /// The pages' bytes can't be written: they lie behind the address space.
    VecUnwritable { vec: u64, len: u64 },
    /// mlockall's flags say neither `MCL_CURRENT` nor `MCL_FUTURE`, or have bits that are not
    /// known.
    BadMlockallFlags { flags: MlockAllFlags },
    /// The kernel is too old for this call.
    UnknownCall,
}

impl fmt::Display for Reason {
    /// Prints a sentence without a full stop, with the numbers in it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::AddressUnaligned { addr, page } => {
                write!(f, "address {addr:#x} is not a multiple of the page size {page}")
            }
            Self::AddressIsError { addr } => {
                write!(f, "fixed address {addr:#x} is an error to the kernel")
            }
            Self::AddressUnalignedHuge { addr, huge } => {
                write!(f, "address {addr:#x} is not a multiple of the huge-page size {huge}")
            }
            Self::OffsetUnaligned { offset, page } => {
                write!(f, "offset {offset} is not a multiple of the page size {page}")
            }
            Self::OffsetUnalignedHuge { offset, huge } => {
                write!(f, "offset {offset} is not a multiple of the huge-page size {huge}")
            }
            Self::LengthZero => f.write_str("the length is 0"),
            Self::LengthWraps { len } => {
                write!(f, "length {len} wraps to 0 when rounded up to whole pages")
            }
            Self::RangeWraps { addr, len } => {
                write!(f, "address {addr:#x} plus length {len} wraps around")
            }
            Self::BeyondAddressSpace { addr, len, address_space } => {
                write!(
                    f,
                    "{len} bytes from {addr:#x} on end behind the address space of {address_space:#x}"
                )
            }
            Self::NoPlace { len, window } => {
                write!(f, "{len} bytes are more than the {window} where mmap looks for a place")
            }
            Self::NoFile { fd } => {
                write!(f, "{fd} is not a file descriptor, and there is no MAP_ANONYMOUS")
            }
            Self::NoSharing => f.write_str("there is neither MAP_SHARED nor MAP_PRIVATE"),
            Self::UnknownSharing { flags } => {
                write!(f, "{:?} is no sharing that this kind of mapping can have", flags.sharing())
            }
            Self::CannotGrow { flags } => {
                write!(
                    f,
                    "a mapping with {flags:?} can't grow down: only private anonymous memory can"
                )
            }
            Self::CannotLock { flags } => {
                write!(f, "a mapping with {flags:?} can't be locked: it is droppable")
            }
            Self::UnknownMapFlags { flags } => {
                write!(f, "MAP_SHARED_VALIDATE, and {:#x} is not known", flags.bits())
            }
            Self::UnknownHugeSize { log2, page } => {
                write!(f, "there are no huge pages of 2^{log2} bytes with pages of {page}")
            }
            Self::NotHugetlbfs => f.write_str("MAP_HUGETLB, and the file is not on hugetlbfs"),
            Self::FileTooLong { offset, len } => {
                write!(f, "no file has {len} bytes from offset {offset} on")
            }
            Self::UnknownProt { prot } => write!(f, "protection {:#x} is not known", prot.bits()),
            Self::GrowsBothWays => f.write_str("both of PROT_GROWSDOWN and PROT_GROWSUP"),
            Self::GrowsUp => f.write_str("PROT_GROWSUP, and mappings don't grow up here"),
            Self::UnknownFlags { flags } => write!(f, "flags {flags:#x} are not known"),
            Self::SyncAndAsync => f.write_str("both of MS_SYNC and MS_ASYNC"),
            Self::MustMove { flags } => write!(f, "{flags:?} without MREMAP_MAYMOVE"),
            Self::DontunmapResizes { old_len, new_len } => {
                write!(f, "MREMAP_DONTUNMAP from length {old_len} to another, {new_len}")
            }
            Self::Overlap { old, old_len, new_addr, new_len } => {
                write!(
                    f,
                    "{new_len} bytes from {new_addr:#x} on overlap {old_len} from {old:#x} on"
                )
            }
            Self::DuplicateMustMove { old, new_len } => {
                write!(f, "{new_len} bytes from {old:#x} on a second time, without MREMAP_MAYMOVE")
            }
            Self::UnknownAdvice { advice } => write!(f, "advice {} is not known", advice.bits()),
            Self::VecUnwritable { vec, len } => {
                write!(f, "{len} bytes from {vec:#x} on are not memory that can be written")
            }
            Self::BadMlockallFlags { flags } => {
                write!(f, "{flags:?} is neither MCL_CURRENT nor MCL_FUTURE, or not known")
            }
            Self::UnknownCall => f.write_str("the kernel is too old for this call"),
        }
    }
}
