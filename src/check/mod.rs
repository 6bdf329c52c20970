//! What the kernel will say to a call, from its words alone.
//!
//! Each rule cites the kernel's own. Rules stand in the kernel's order, so that of several that
//! hold the first is the one named, and its error the one that the kernel gives. Sources are those
//! of Linux 6.1, 6.12, 6.18 and 7.3; where they differ, the rule says so.

mod earlier;
mod limits;
mod mmap;
mod reason;
mod rules;

pub use limits::Limits;
pub use reason::{Reason, Refusal};

use crate::{Call, Errno, MlockFlags, Operation, Word, arch};
use earlier::NOTHING;

type Verdict = Result<(), Refusal>;

const fn refuse(reason: Reason, errno: Errno, earlier: &'static [Errno]) -> Verdict {
    Err(Refusal { reason, errno, earlier })
}

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
    /// In const evaluation, addresses must have been made from integers: where an object lies isn't
    /// known before the program runs.
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
                limits.mmap(addr.const_bits(), len, flags, fd, offset)
            }
            Operation::Munmap { addr, len } => limits.munmap(untagged(addr), len),
            Operation::Mprotect { addr, len, prot } => limits.mprotect(untagged(addr), len, prot),
            Operation::Msync { addr, len, flags } => limits.msync(untagged(addr), len, flags),
            Operation::Mremap { old, old_len, new_len, flags, new_addr } => {
                limits.mremap(untagged(old), old_len, new_len, flags, new_addr.const_bits())
            }
            Operation::Madvise { addr, len, advice } => {
                limits.madvise(addr.const_bits(), len, advice)
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
            Operation::Mlockall { flags } => rules::mlockall(flags),
            Operation::Munlockall => Ok(()),
            Operation::Mseal { addr, len, flags } => limits.mseal(untagged(addr), len, flags),
        }
    }
}

const fn untagged(addr: Word) -> usize {
    arch::untagged(addr.const_bits())
}
