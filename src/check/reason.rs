//! [`Refusal`] and [`Reason`]: why a call is refused, by name and as a sentence.

use crate::{
    Advice, Errno, MapFlags, MlockAllFlags, MlockFlags, MremapFlags, MsealFlags, MsyncFlags, Prot,
    RawFd,
};
use core::fmt;

/// Why the kernel refuses a call: with which error, and for what reason.
///
/// A call that is refused may have changed something before the kernel came to the rule. Where
/// mprotect, madvise, mlock, mlock2 and munlock walk to a hole, they have done their work on what lies
/// before it; and mincore may have written the bytes before it. mremap with `MREMAP_FIXED` has unmapped the new place when it finds that the old range,
/// which it shrinks, is too long. And mmap with `MAP_FIXED` may leave a hole where the file system is
/// the one that refuses: `MAP_SYNC` ([`Reason::UnknownMapFlags`]), and an offset that is no whole
/// number of huge pages ([`Reason::OffsetUnalignedHuge`]).
///
/// `Display` prints the reason as a sentence with the numbers in it:
///
/// ```
/// use rawmap::{Call, Errno, Limits, MapFlags, PageSize, Prot};
/// let limits = Limits::new(PageSize::new(4096).unwrap());
/// let call = Call::mmap(core::ptr::null_mut(), 1, Prot::READ, MapFlags::SHARED, 3, 100);
/// let refusal = call.check(&limits).unwrap_err();
/// assert_eq!(refusal.errno(), Errno::EINVAL);
/// assert_eq!(refusal.to_string(), "offset 100 is not a multiple of the page size 4096");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Refusal {
    pub(super) reason: Reason,
    pub(super) errno: Errno,
    pub(super) earlier: &'static [Errno],
}

impl Refusal {
    /// The reason, by name.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        self.reason
    }

    /// The error that the kernel gives.
    #[must_use]
    pub const fn errno(&self) -> Errno {
        self.errno
    }

    /// The errors that the process's state may bring up first, because the kernel looks at it
    /// before it comes to this rule: at what is mapped, at limits, at the file.
    #[must_use]
    pub const fn earlier(&self) -> &'static [Errno] {
        self.earlier
    }
}

impl fmt::Display for Refusal {
    /// Prints the reason.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reason.fmt(f)
    }
}

impl core::error::Error for Refusal {}

/// What is wrong with a call. Sizes and addresses are in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
#[allow(missing_docs)] // The fields are the arguments of those names; addresses without their tag.
pub enum Reason {
    /// The address is not that of a page's first byte.
    AddressUnaligned { addr: usize, page: usize },
    /// The fixed address is one of the last 4095, which the kernel takes for an error of its own.
    AddressIsError { addr: usize },
    /// The fixed address is not that of a huge page's first byte.
    AddressUnalignedHuge { addr: usize, huge: usize },
    /// The offset is not a multiple of the page size.
    OffsetUnaligned { offset: u64, page: usize },
    /// The offset is not a multiple of the huge-page size.
    OffsetUnalignedHuge { offset: u64, huge: usize },
    /// The length is 0.
    LengthZero,
    /// The length is more than the largest number when rounded up to whole pages.
    LengthWraps { len: usize },
    /// Address and length together are more than the largest number.
    RangeWraps { addr: usize, len: usize },
    /// The range ends behind the address space.
    BeyondAddressSpace { addr: usize, len: usize, address_space: usize },
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
    UnknownHugeSize { log2: u32, page: usize },
    /// `MAP_HUGETLB` on a file that is not on hugetlbfs.
    NotHugetlbfs,
    /// The file can't be so long.
    FileTooLong { offset: u64, len: usize },
    /// Bits of the protection that are not known.
    UnknownProt { prot: Prot },
    /// Both of `PROT_GROWSDOWN` and `PROT_GROWSUP`.
    GrowsBothWays,
    /// `PROT_GROWSUP`, on an architecture whose mappings don't.
    GrowsUp,
    /// Bits of msync's flags that are not known.
    UnknownMsyncFlags { flags: MsyncFlags },
    /// Both of `MS_SYNC` and `MS_ASYNC`.
    SyncAndAsync,
    /// Bits of mremap's flags that are not known.
    UnknownMremapFlags { flags: MremapFlags },
    /// `MREMAP_FIXED` or `MREMAP_DONTUNMAP` without `MREMAP_MAYMOVE`.
    MustMove { flags: MremapFlags },
    /// `MREMAP_DONTUNMAP` with another length.
    DontunmapResizes { old_len: usize, new_len: usize },
    /// The old range and the new one overlap.
    Overlap { old: usize, old_len: usize, new_addr: usize, new_len: usize },
    /// The advice is not known.
    UnknownAdvice { advice: Advice },
    /// The pages' bytes can't be written: they lie behind the address space.
    VecUnwritable { vec: usize, len: usize },
    /// Bits of mlock2's flags that are not known.
    UnknownMlockFlags { flags: MlockFlags },
    /// mlockall's flags say neither `MCL_CURRENT` nor `MCL_FUTURE`, or have bits that are not
    /// known.
    BadMlockallFlags { flags: MlockAllFlags },
    /// Any flag of mseal.
    UnknownMsealFlags { flags: MsealFlags },
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
            Self::UnknownMsyncFlags { flags } => {
                write!(f, "flags {:#x} are not known", flags.bits())
            }
            Self::SyncAndAsync => f.write_str("both of MS_SYNC and MS_ASYNC"),
            Self::UnknownMremapFlags { flags } => {
                write!(f, "flags {:#x} are not known", flags.bits())
            }
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
            Self::UnknownAdvice { advice } => write!(f, "advice {} is not known", advice.bits()),
            Self::VecUnwritable { vec, len } => {
                write!(f, "{len} bytes from {vec:#x} on are not memory that can be written")
            }
            Self::UnknownMlockFlags { flags } => {
                write!(f, "flags {:#x} are not known", flags.bits())
            }
            Self::BadMlockallFlags { flags } => {
                write!(f, "{flags:?} is neither MCL_CURRENT nor MCL_FUTURE, or not known")
            }
            Self::UnknownMsealFlags { flags } => {
                write!(f, "flags {:#x} are not known", flags.bits())
            }
            Self::UnknownCall => f.write_str("the kernel is too old for this call"),
        }
    }
}
