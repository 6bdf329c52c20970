//! What the kernel will say to a call, from its words alone.
//!
//! Each rule cites the kernel's own. Rules stand in the kernel's order, so that of several that
//! hold the first is the one named, and its error the one that the kernel gives. Sources are those
//! of Linux 6.1, 6.12, 6.18 and 7.3; where they differ, the rule says so.

use crate::{
    Advice, Call, Errno, MapFlags, MlockAllFlags, MlockFlags, MremapFlags, MsealFlags, MsyncFlags,
    Operation, PageSize, Prot, RawFd, Word, arch, mmap_anonymous, munmap,
};
use core::{fmt, ptr};

/// What [`Call::check`] may take for granted about the kernel and the process, beside the words of
/// the call.
///
/// [`Limits::new`] takes nothing for granted but the page size: what is refused under it, every
/// kernel from Linux 6.1 on refuses. Each thing that is stated in addition lets `check` refuse
/// more.
///
/// ```
/// use rawmap::{Limits, PageSize};
/// const LIMITS: Limits = Limits::new(PageSize::new(4096).unwrap()).kernel(6, 12);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    page: PageSize,
    address_space: usize,
    kernel: Option<(u16, u16)>,
    regular_file: bool,
}

impl Limits {
    /// Only the page size is known.
    #[must_use]
    pub const fn new(page: PageSize) -> Self {
        let address_space = arch::MAX_ADDRESS_SPACE;
        Self { page, address_space, kernel: None, regular_file: false }
    }

    /// The process has an address space of so many bytes (the kernel's `TASK_SIZE`). Not stated,
    /// it is the largest that the architecture can have.
    ///
    /// On x86_64 2^47 - 4096 or 2^56 - 4096; on aarch64 2^36 to 2^52, on riscv64 2^38, 2^47 or
    /// 2^56, as the hardware and the kernel's builder chose.
    #[must_use]
    pub const fn address_space(self, bytes: usize) -> Self {
        Self { address_space: bytes, ..self }
    }

    /// The kernel is of this version, 6.1 or later: what an older one does, the rules don't know. Not
    /// stated, only what every version refuses is refused.
    #[must_use]
    pub const fn kernel(self, major: u16, minor: u16) -> Self {
        Self { kernel: Some((major, minor)), ..self }
    }

    /// File descriptors are of regular files, neither on hugetlbfs nor on DAX storage, nor of
    /// memfd_secret.
    #[must_use]
    pub const fn regular_file(self) -> Self {
        Self { regular_file: true, ..self }
    }

    /// Finds page size and address space of the running process.
    ///
    /// Calls of the family only: those of [`PageSize::find`], and one or two for each width that
    /// the architecture can have: `mmap(first page behind it, page, PROT_NONE,
    /// MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED_NOREPLACE, -1, 0)`, which is ENOMEM where that page
    /// doesn't exist, and `munmap` of the page where it does and was free; where it doesn't, `mmap`
    /// and `munmap` of a page anywhere, to tell that from a limit. The first width with
    /// nothing behind it is the one; so that under an emulator, whose address space may be of none
    /// of these widths, it is the next larger.
    ///
    /// # Errors
    /// What those calls answer that says nothing of the address: EPERM or ENOSYS under a seccomp
    /// filter, ENOMEM where the process may map nothing more.
    pub fn find() -> Result<Self, Errno> {
        let page = PageSize::find()?;
        for &bytes in arch::ADDRESS_SPACES {
            if !page_exists(bytes, page)? {
                return Ok(Self::new(page).address_space(bytes));
            }
        }
        Ok(Self::new(page))
    }

    /// Whether the kernel is known to be of this version or a later one.
    const fn since(&self, major: u16, minor: u16) -> bool {
        matches!(self.kernel, Some((a, b)) if a > major || a == major && b >= minor)
    }

    /// Whether the kernel is known to be older than this version.
    const fn before(&self, major: u16, minor: u16) -> bool {
        self.kernel.is_some() && !self.since(major, minor)
    }
}

/// Whether the process may have a page at `addr`, by placing one there where nothing is.
fn page_exists(addr: usize, page: PageSize) -> Result<bool, Errno> {
    let (hint, flags) = (ptr::without_provenance_mut(addr), MapFlags::FIXED_NOREPLACE);
    let len = page.bytes();
    // SAFETY: FIXED_NOREPLACE replaces nothing; nothing uses the new page, which goes at once.
    unsafe {
        match mmap_anonymous(hint, len, Prot::NONE, flags.union(MapFlags::PRIVATE)) {
            Ok(placed) => munmap(placed, len).map(|()| placed == hint),
            Err(Errno::EEXIST) => Ok(true),
            // It doesn't exist; or there may be no more mappings at all, which another page tells.
            Err(Errno::ENOMEM) => {
                let any = mmap_anonymous(ptr::null_mut(), len, Prot::NONE, MapFlags::PRIVATE)?;
                munmap(any, len).map(|()| false)
            }
            Err(errno) => Err(errno),
        }
    }
}

/// Why the kernel refuses a call: with which error, and for what reason.
///
/// A call that is refused may have changed something before the kernel came to the rule. Where
/// mprotect, madvise, mlock, mlock2 and munlock walk to a hole, they have done their work on what lies
/// before it. mremap with `MREMAP_FIXED` has unmapped the new place when it finds that the old range,
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
    reason: Reason,
    errno: Errno,
    earlier: &'static [Errno],
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

type Verdict = Result<(), Refusal>;

const fn refuse(reason: Reason, errno: Errno, earlier: &'static [Errno]) -> Verdict {
    Err(Refusal { reason, errno, earlier })
}

const NOTHING: &[Errno] = &[];
/// What mmap may answer before it looks at the length: no such file.
const NO_FILE: &[Errno] = &[Errno::EBADF];
/// What mmap of anonymous memory may answer before it looks at a fixed address: too many mappings.
const COUNT: &[Errno] = &[Errno::ENOMEM];
/// What it may answer before it looks at the sharing: the address is taken or forbidden, too much
/// is locked.
const PLACE: &[Errno] = &[Errno::ENOMEM, Errno::EPERM, Errno::EEXIST, Errno::EAGAIN];
/// The same for a regular file: [`COUNT`].
const FILE_COUNT: &[Errno] = &[Errno::EBADF, Errno::ENOMEM];
/// And all until mmap has done with a regular file.
const FILE: &[Errno] = &[
    Errno::EBADF,
    Errno::ENOMEM,
    Errno::EPERM,
    Errno::EEXIST,
    Errno::EAGAIN,
    Errno::EOVERFLOW,
    Errno::EOPNOTSUPP,
    Errno::EACCES,
    Errno::ETXTBSY,
    Errno::ENODEV,
];
/// And what it may say when it has placed the mapping, before the file system refuses `MAP_SYNC`: of
/// what it replaces (the vdso can't be split), of `PROT_MTE`, and of the file system itself.
const FILE_SYSTEM: &[Errno] = &[
    Errno::EBADF,
    Errno::ENOMEM,
    Errno::EPERM,
    Errno::EEXIST,
    Errno::EAGAIN,
    Errno::EOVERFLOW,
    Errno::EOPNOTSUPP,
    Errno::EACCES,
    Errno::ETXTBSY,
    Errno::ENODEV,
    Errno::EINVAL,
    Errno::EIO,
    Errno::EROFS,
];
/// The same for huge pages, whose size may be missing or unknown, and for any other file, which may
/// be of huge pages, or place its mappings itself: [`COUNT`].
const HUGE_COUNT: &[Errno] = &[
    Errno::EBADF,
    Errno::ENOMEM,
    Errno::EINVAL,
    Errno::ENOSPC,
    Errno::ENODEV,
    Errno::ENOENT,
    Errno::ENFILE,
    Errno::E2BIG,
];
/// And all until mmap has done with it.
const HUGE: &[Errno] = &[
    Errno::EBADF,
    Errno::ENOMEM,
    Errno::EINVAL,
    Errno::ENOSPC,
    Errno::ENODEV,
    Errno::ENOENT,
    Errno::ENFILE,
    Errno::E2BIG,
    Errno::EPERM,
    Errno::EEXIST,
    Errno::EAGAIN,
    Errno::EOVERFLOW,
    Errno::EOPNOTSUPP,
    Errno::EACCES,
    Errno::ETXTBSY,
];
/// What mremap may answer for what is mapped at the old address.
const MREMAP_OLD: &[Errno] = &[Errno::EFAULT, Errno::EPERM, Errno::ENOMEM];
/// What madvise may answer for the first part of a range, before it comes to the hole.
const ADVISED: &[Errno] = &[
    Errno::EINVAL,
    Errno::EACCES,
    Errno::EPERM,
    Errno::EAGAIN,
    Errno::EBUSY,
    Errno::EIO,
    Errno::EBADF,
    Errno::EFAULT,
    Errno::EHWPOISON,
    Errno::ENOSPC,
    Errno::EOPNOTSUPP,
];
/// The same of `MADV_REMOVE`, which is the file system's fallocate.
const REMOVED: &[Errno] = &[
    Errno::EINVAL,
    Errno::EACCES,
    Errno::EPERM,
    Errno::EAGAIN,
    Errno::EBUSY,
    Errno::EIO,
    Errno::EBADF,
    Errno::EFAULT,
    Errno::ENOSPC,
    Errno::EOPNOTSUPP,
    Errno::ENODEV,
    Errno::EFBIG,
    Errno::ETXTBSY,
    Errno::EDQUOT,
    Errno::EROFS,
];
/// The same of mprotect.
const PROTECTED: &[Errno] = &[Errno::EINVAL, Errno::EACCES, Errno::EPERM];
/// The same of msync, which is the file's fsync.
const SYNCED: &[Errno] =
    &[Errno::EBUSY, Errno::EIO, Errno::ENOSPC, Errno::EDQUOT, Errno::EINVAL, Errno::EROFS];

impl Call {
    /// What the kernel will say to this call, as far as its words, the page size and the
    /// [`Limits`] decide it: `Ok`, or the refusal.
    ///
    /// *Sound*: when this refuses with an error, the kernel refuses with that error, or with one of
    /// [`Refusal::earlier`], which the process's state may bring up first. *Complete for
    /// arguments*: when the kernel answers EINVAL, EOVERFLOW or EOPNOTSUPP for what the words say,
    /// and the limits are stated, this had refused it. Both are tested by making calls.
    ///
    /// Out of its reach is what depends on the state of the process and the kernel's
    /// configuration:
    ///
    /// - what is mapped: EEXIST, EFAULT, most ENOMEM, EPERM of sealed and EBUSY of locked memory;
    ///   EINVAL for advice that the kind of memory can't have, for `PROT_GROWSDOWN` where nothing
    ///   grows, for parts of huge pages and of the vdso, which can't be split, for mremap of length 0
    ///   of private memory, with `MREMAP_DONTUNMAP` of what can't grow, and on huge pages to any but
    ///   a whole one;
    /// - the file: EBADF of a descriptor that is not open, EACCES, ENODEV, ETXTBSY, EPERM of noexec
    ///   and seals, EOPNOTSUPP of `MAP_SYNC`, EINVAL of memfd_secret for a private mapping, and what
    ///   its driver says; of msync, which is the file's fsync, and of `MADV_REMOVE`, which is its
    ///   fallocate, any error that the file system likes;
    /// - limits and rights: EAGAIN, EPERM and ENOMEM of locking, RLIMIT_AS, `vm.max_map_count`,
    ///   `vm.mmap_min_addr`, ENFILE of huge pages;
    /// - files on hugetlbfs, and `MAP_HUGETLB` on any file unless it is known to be regular;
    /// - the kernel's configuration and the CPU: huge-page sizes that could exist and don't, advice
    ///   of KSM, transparent huge pages and memory failure, `PROT_BTI` and `PROT_MTE`; the default
    ///   huge-page size, and so the alignment of `MAP_HUGETLB` without a size, and how long it may be;
    /// - address tagging that a process has to ask for (LAM on x86_64, pointer masking on riscv64);
    /// - security modules, fanotify and `PR_SET_MDWE`, which may say EACCES or EPERM before any rule
    ///   of mmap and mprotect.
    ///
    /// In const evaluation, addresses must have been made from integers: see [`Word::bits`].
    ///
    /// Flags and advice that Linux 7.3 doesn't know are refused where it refuses them.
    ///
    /// # Errors
    /// The refusal, with the first reason in the kernel's own order.
    ///
    /// ```
    /// use rawmap::{Call, Errno, Limits, MapFlags, PageSize, Prot, Reason};
    /// const LIMITS: Limits = Limits::new(PageSize::new(4096).unwrap());
    /// // No sharing and no file: which is it? The kernel looks for the file first.
    /// let call = Call::mmap(core::ptr::null_mut(), 4096, Prot::READ, MapFlags::FILE, -1, 0);
    /// let refusal = call.check(&LIMITS).unwrap_err();
    /// assert_eq!((refusal.reason(), refusal.errno()), (Reason::NoFile { fd: -1 }, Errno::EBADF));
    /// ```
    pub const fn check(self, limits: &Limits) -> Result<(), Refusal> {
        match self.operation() {
            Operation::Mmap { addr, len, prot: _, flags, fd, offset } => {
                limits.mmap(Word::ptr(addr).bits(), len, flags, fd, offset)
            }
            Operation::Munmap { addr, len } => limits.munmap(untagged(addr), len),
            Operation::Mprotect { addr, len, prot } => limits.mprotect(untagged(addr), len, prot),
            Operation::Msync { addr, len, flags } => limits.msync(untagged(addr), len, flags),
            Operation::Mremap { old, old_len, new_len, flags, new_addr } => {
                let new_addr = Word::ptr(new_addr).bits();
                limits.mremap(untagged(old), old_len, new_len, flags, new_addr)
            }
            Operation::Madvise { addr, len, advice } => {
                limits.madvise(Word::ptr(addr).bits(), len, advice)
            }
            Operation::Mincore { addr, len, vec } => {
                // Tags of `vec` are taken where the process asked for them, so they are passed.
                limits.mincore(untagged(addr), len, untagged(vec))
            }
            Operation::Mlock { addr, len } => {
                limits.mlock(untagged(addr), len, &[Errno::EPERM, Errno::ENOMEM])
            }
            Operation::Mlock2 { addr, len, flags } => {
                // mm/mlock.c: mlock2
                if flags.bits() & !MlockFlags::ONFAULT.bits() != 0 {
                    return refuse(Reason::UnknownMlockFlags { flags }, Errno::EINVAL, NOTHING);
                }
                limits.mlock(untagged(addr), len, &[Errno::EPERM, Errno::ENOMEM])
            }
            Operation::Munlock { addr, len } => limits.mlock(untagged(addr), len, NOTHING),
            Operation::Mlockall { flags } => mlockall(flags),
            Operation::Munlockall => Ok(()),
            Operation::Mseal { addr, len, flags } => limits.mseal(untagged(addr), len, flags),
        }
    }
}

const fn untagged(addr: *mut u8) -> usize {
    arch::untagged(Word::ptr(addr).bits())
}

/// One rule book for each call.
impl Limits {
    const fn unaligned(&self, addr: usize) -> Verdict {
        if self.page.is_aligned(addr) {
            return Ok(());
        }
        let reason = Reason::AddressUnaligned { addr, page: self.page.bytes() };
        refuse(reason, Errno::EINVAL, NOTHING)
    }

    const fn beyond(&self, addr: usize, len: usize) -> Reason {
        Reason::BeyondAddressSpace { addr, len, address_space: self.address_space }
    }

    /// `len` rounded up to whole pages, wrapping to 0 as the kernel's PAGE_ALIGN does.
    const fn align(&self, len: usize) -> usize {
        match self.page.round_up(len) {
            Some(len) => len,
            None => 0,
        }
    }

    /// Whether a range lies within the address space.
    const fn holds(&self, addr: usize, len: usize) -> bool {
        addr <= self.address_space && len <= self.address_space - addr
    }

    const fn mmap(
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
        let signed = may_be_signed && self.kernel.is_some();
        let page_offset = if signed {
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
            _ if may_be_signed && !signed => (HUGE_COUNT, HUGE),
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
            self.mmap_anonymous(flags, if may_be_signed && !signed { HUGE } else { PLACE })
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

    /// mm/mmap.c: munmap; mm/vma.c: do_vmi_munmap
    const fn munmap(&self, addr: usize, len: usize) -> Verdict {
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
    const fn mprotect(&self, addr: usize, len: usize, prot: Prot) -> Verdict {
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
    const fn msync(&self, addr: usize, len: usize, flags: MsyncFlags) -> Verdict {
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
    const fn mremap(
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
    const fn madvise(&self, addr: usize, len: usize, advice: Advice) -> Verdict {
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
    const fn mincore(&self, addr: usize, len: usize, vec: usize) -> Verdict {
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
    const fn mlock(&self, addr: usize, len: usize, earlier: &'static [Errno]) -> Verdict {
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
    const fn mseal(&self, addr: usize, len: usize, flags: MsealFlags) -> Verdict {
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
const fn mlockall(flags: MlockAllFlags) -> Verdict {
    let which = MlockAllFlags::CURRENT.union(MlockAllFlags::FUTURE);
    let unknown = flags.intersection(which.union(MlockAllFlags::ONFAULT).complement());
    if flags.intersection(which).is_empty() || !unknown.is_empty() {
        return refuse(Reason::BadMlockallFlags { flags }, Errno::EINVAL, NOTHING);
    }
    Ok(())
}
