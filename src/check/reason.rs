//! [`Reason`]: why a call is refused, by name and as a sentence.

use crate::{Advice, MapFlags, MlockAllFlags, MremapFlags, Prot, RawFd};
use core::fmt;

/// Expands to [`Reason`] and its `Display`, from each reason's documentation, fields and sentence.
macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident $({ $($field:ident: $ty:ty),* })? = $text:literal $(, $arg:expr)?;)*) => {
        /// What is wrong with a call. Sizes are in bytes.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[non_exhaustive]
        #[allow(missing_docs)] // The fields are the arguments of those names; addresses without their tag.
        pub enum Reason { $($(#[$doc])* $name $({ $($field: $ty),* })?),* }

        impl fmt::Display for Reason {
            /// Prints a sentence without a full stop, with the numbers in it.
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match *self { $(Self::$name $({ $($field),* })? => write!(f, $text $(, $arg)?)),* }
            }
        }
    };
}

reasons! {
    /// The address is not that of a page's first byte.
    AddressUnaligned { addr: u64, page: u64 } = "address {addr:#x} is not a multiple of the page size {page}";
    /// The fixed address is one of the last 4095, which the kernel takes for an error of its own.
    AddressIsError { addr: u64 } = "fixed address {addr:#x} is an error to the kernel";
    /// The fixed address is not that of a huge page's first byte.
    AddressUnalignedHuge { addr: u64, huge: u64 } = "address {addr:#x} is not a multiple of the huge-page size {huge}";
    /// The offset is not a multiple of the page size.
    OffsetUnaligned { offset: u64, page: u64 } = "offset {offset} is not a multiple of the page size {page}";
    /// The offset is not a multiple of the huge-page size.
    OffsetUnalignedHuge { offset: u64, huge: u64 } = "offset {offset} is not a multiple of the huge-page size {huge}";
    /// The length is 0.
    LengthZero = "the length is 0";
    /// The length is more than the largest number when rounded up to whole pages.
    LengthWraps { len: u64 } = "length {len} wraps to 0 when rounded up to whole pages";
    /// Address and length together are more than the largest number.
    RangeWraps { addr: u64, len: u64 } = "address {addr:#x} plus length {len} wraps around";
    /// The range ends behind the address space.
    BeyondAddressSpace { addr: u64, len: u64, address_space: u64 } = "{len} bytes from {addr:#x} on end behind the address space of {address_space:#x}";
    /// The length is more than the part of the address space where the kernel looks for a place, and neither
    /// `MAP_FIXED` nor a hint gives it another place.
    NoPlace { len: u64, window: u64 } = "{len} bytes are more than the {window} where mmap looks for a place";
    /// The descriptor is negative, and the mapping is not anonymous.
    NoFile { fd: RawFd } = "{fd} is not a file descriptor, and there is no MAP_ANONYMOUS";
    /// The flags have no sharing.
    NoSharing = "there is neither MAP_SHARED nor MAP_PRIVATE";
    /// The kernel doesn't know this sharing for this kind of mapping.
    UnknownSharing { flags: MapFlags } = "{:?} is no sharing that this kind of mapping can have", flags.sharing();
    /// A mapping that grows down is shared, droppable, or of a file.
    CannotGrow { flags: MapFlags } = "a mapping with {flags:?} can't grow down: only private anonymous memory can";
    /// Droppable memory is to be locked.
    CannotLock { flags: MapFlags } = "a mapping with {flags:?} can't be locked: it is droppable";
    /// `MAP_SHARED_VALIDATE` on a file, with flags that are not known.
    UnknownMapFlags { flags: MapFlags } = "MAP_SHARED_VALIDATE, and {:#x} is not known", flags.bits();
    /// No such huge pages exist on this architecture.
    UnknownHugeSize { log2: u32, page: u64 } = "there are no huge pages of {} bytes with pages of {page}", 1_u64.checked_shl(log2).unwrap_or(0);
    /// `MAP_HUGETLB` on a file that is not on hugetlbfs.
    NotHugetlbfs = "MAP_HUGETLB, and the file is not on hugetlbfs";
    /// No file can be as long as offset and length together.
    FileTooLong { offset: u64, len: u64 } = "no file has {len} bytes from offset {offset} on";
    /// The protection has bits that are not known.
    UnknownProt { prot: Prot } = "protection {:#x} is not known", prot.bits();
    /// The protection has both `PROT_GROWSDOWN` and `PROT_GROWSUP`.
    GrowsBothWays = "both of PROT_GROWSDOWN and PROT_GROWSUP";
    /// The protection has `PROT_GROWSUP`, on an architecture whose mappings don't grow up.
    GrowsUp = "PROT_GROWSUP, and mappings don't grow up here";
    /// The flags of a call other than mmap have bits that are not known.
    UnknownFlags { flags: u64 } = "flags {flags:#x} are not known";
    /// The flags have both `MS_SYNC` and `MS_ASYNC`.
    SyncAndAsync = "both of MS_SYNC and MS_ASYNC";
    /// `MREMAP_FIXED` or `MREMAP_DONTUNMAP` without `MREMAP_MAYMOVE`.
    MustMove { flags: MremapFlags } = "{flags:?} without MREMAP_MAYMOVE";
    /// `MREMAP_DONTUNMAP` with a new length that differs from the old one.
    DontunmapResizes { old_len: u64, new_len: u64 } = "MREMAP_DONTUNMAP from length {old_len} to another, {new_len}";
    /// The old range and the new one overlap.
    Overlap { old: u64, old_len: u64, new_addr: u64, new_len: u64 } = "{new_len} bytes from {new_addr:#x} on overlap {old_len} from {old:#x} on";
    /// A second mapping (the old length is 0) can't lie where the first one does, and there is no
    /// `MREMAP_MAYMOVE`.
    DuplicateMustMove { old: u64, new_len: u64 } = "{new_len} bytes from {old:#x} on a second time, without MREMAP_MAYMOVE";
    /// The advice is not known.
    UnknownAdvice { advice: Advice } = "advice {} is not known", advice.bits();
    /// The bytes that mincore would write lie behind the address space.
    VecUnwritable { vec: u64, len: u64 } = "{len} bytes from {vec:#x} on are not memory that can be written";
    /// mlockall's flags have neither `MCL_CURRENT` nor `MCL_FUTURE`, or have bits that are not known.
    BadMlockallFlags { flags: MlockAllFlags } = "{flags:?} is neither MCL_CURRENT nor MCL_FUTURE, or not known";
    /// The kernel is too old for this call.
    UnknownCall = "the kernel is too old for this call";
}
