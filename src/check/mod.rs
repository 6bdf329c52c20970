//! What a kernel will say to a call, from its words alone.
//!
//! Rules stand in the kernel's order: of several that hold, the first is named, and its error is the kernel's.

#[macro_use]
mod list;
mod kernel;
mod reason;
mod rules;

pub use kernel::Kernel;
pub use list::{Refusal, Rule, Step, Versions};
pub use reason::Reason;
pub use rules::{RULES, Rules};

use crate::arch::Facts;
use crate::{Arch, Call, MlockFlags, Operation, Word};
use rules::Passes;

/// Asks `$by`, [`Rules`] or [`Passes`], about a call of a kernel with these facts.
macro_rules! ask {
    ($by:expr, $call:expr, $k:expr, $facts:expr) => {
        match $call.operation() {
            // mmap and madvise take the tag for a part of the address, and so does mremap, of its second.
            Operation::Mmap { addr, len, prot: _, flags, fd, offset } => {
                $by.mmap($k, number(addr), len as u64, flags, fd, offset)
            }
            Operation::Madvise { addr, len, advice } => {
                $by.madvise($k, number(addr), len as u64, advice)
            }
            Operation::Mremap { old, old_len, new_len, flags, new_addr } => {
                let [old_len, new_len] = [old_len as u64, new_len as u64];
                $by.mremap($k, bare($facts, old), old_len, new_len, flags, number(new_addr))
            }
            // Tags of `vec` are taken where the process asked for them, so they are passed.
            Operation::Mincore { addr, len, vec } => {
                $by.mincore($k, bare($facts, addr), len as u64, bare($facts, vec))
            }
            Operation::Munmap { addr, len } => $by.munmap($k, bare($facts, addr), len as u64),
            Operation::Mprotect { addr, len, prot } => {
                $by.mprotect($k, bare($facts, addr), len as u64, prot)
            }
            Operation::Msync { addr, len, flags } => $by.msync($k, bare($facts, addr), len as u64, flags),
            Operation::Mlock { addr, len } => {
                $by.mlock($k, bare($facts, addr), len as u64, MlockFlags::from_bits(0))
            }
            Operation::Mlock2 { addr, len, flags } => $by.mlock($k, bare($facts, addr), len as u64, flags),
            Operation::Munlock { addr, len } => $by.munlock($k, bare($facts, addr), len as u64),
            Operation::Mlockall { flags } => $by.mlockall($k, flags),
            Operation::Munlockall => $by.munlockall($k),
            Operation::Mseal { addr, len, flags } => $by.mseal($k, bare($facts, addr), len as u64, flags),
        }
    };
}

impl Call {
    /// What a kernel will answer to this call, as far as the call's words and what is known of the [`Kernel`]
    /// decide that. `Ok` means that no rule refuses the call. [`RULES`] lists the rules. No system call.
    ///
    /// *Sound*: if `check` refuses with an error, the kernel refuses with that error, or with one of
    /// [`Refusal::earlier`], which the state of the process may cause first. *Complete for arguments*: if the
    /// kernel answers EINVAL, EOVERFLOW or EOPNOTSUPP because of the words, or ENOMEM or EFAULT for a range
    /// that can't be in its address space, then `check` refuses too, provided that the version and address
    /// space of the kernel are stated. Both are tested by making calls.
    ///
    /// It can't know what depends on the state of the process and on the kernel's configuration:
    ///
    /// - what is mapped: EEXIST, EFAULT, most of ENOMEM, EPERM for sealed memory and EBUSY for locked memory;
    ///   EINVAL for advice that this kind of memory can't have, for `PROT_GROWSDOWN` where nothing grows, for
    ///   parts of huge pages and of the vDSO, which can't be split, and for mremap with length 0 of private
    ///   memory, with `MREMAP_DONTUNMAP` of memory that can't grow, or of huge pages from or to an address
    ///   within one;
    /// - the file: EBADF for a descriptor that is not open, EACCES, ENODEV, ETXTBSY, EPERM for noexec and
    ///   seals, EOPNOTSUPP for `MAP_SYNC`, EINVAL for a private mapping of memfd_secret, and what its driver
    ///   answers; EOVERFLOW for an offset that this kind of file can't have (a socket's, from 2^63 on), unless
    ///   the file is known to be regular; and any error of the file system for msync, which calls the file's
    ///   fsync, and for `MADV_REMOVE`, which calls its fallocate;
    /// - limits and rights: EAGAIN, EPERM and ENOMEM when memory is locked, RLIMIT_AS, `vm.max_map_count`,
    ///   `vm.mmap_min_addr`, ENFILE for huge pages;
    /// - files on hugetlbfs, and `MAP_HUGETLB` on any file unless it is known to be regular;
    /// - the kernel's configuration and the CPU: huge-page sizes that could exist but don't; advice about KSM,
    ///   transparent huge pages and memory failure; `PROT_BTI` and `PROT_MTE`; the default huge-page size, and
    ///   so the alignment and the greatest length of `MAP_HUGETLB` without a size; and arm64's debugging option
    ///   `ARM64_FORCE_52BIT`, which `check` takes to be off;
    /// - address tagging that a process has to ask for (LAM on x86_64, pointer masking on riscv64);
    /// - security modules, fanotify and `PR_SET_MDWE`, which may cause EACCES or EPERM before any rule of mmap
    ///   and mprotect.
    ///
    /// In const evaluation, addresses must have been made from integers: where an object lies isn't
    /// known before the program runs.
    ///
    /// Where Linux 7.3 refuses flags and advice that it doesn't know, `check` refuses them too.
    ///
    /// A call that passes takes a few dozen instructions, those of mmap about a hundred, when the kernel is of
    /// the architecture (and, where that is fixed, the page size) of this program. A refusal takes two to three
    /// times as many, and so does every question about another architecture.
    ///
    /// # Errors
    /// The refusal, with the first reason in the kernel's own order.
    ///
    /// ```
    /// use rawmap::{Arch, Call, Errno, Kernel, MapFlags, PageSize, Prot, Reason};
    /// const KERNEL: Kernel = Kernel::new(Arch::HOST, PageSize::new(4096).unwrap());
    /// // No sharing and no file: which is it? The kernel looks for
    /// // the file first.
    /// let call = Call::mmap(core::ptr::null_mut(), 4096, Prot::READ, MapFlags::FILE, -1, 0);
    /// let refusal = call.check(&KERNEL).unwrap_err();
    /// assert_eq!((refusal.reason(), refusal.errno()), (Reason::NoFile { fd: -1 }, Errno::EBADF));
    /// ```
    #[inline]
    pub const fn check(self, kernel: &Kernel) -> Result<(), Refusal> {
        if self.passes(kernel) { Ok(()) } else { self.check_at_length(kernel) }
    }

    /// Whether it is known at once that no rule refuses.
    const fn passes(&self, kernel: &Kernel) -> bool {
        kernel.host && ask!(Passes, self, kernel, Arch::HOST.facts())
    }

    #[cold]
    #[inline(never)]
    const fn check_at_length(&self, kernel: &Kernel) -> Result<(), Refusal> {
        self.walk(kernel, &RULES)
    }

    #[inline(always)] // With `RULES`, whatever is in the list is a constant.
    const fn walk(&self, kernel: &Kernel, rules: &Rules) -> Result<(), Refusal> {
        ask!(rules, self, kernel, kernel.facts)
    }

    /// What a kernel that has other rules will answer. Such rules are [`RULES`] with other errors or versions,
    /// or with some rules turned off: a rule whose step is [`Step::Given`] has no effect. The conditions stay
    /// those of the rules at the same places of [`RULES`]. No system call.
    ///
    /// # Errors
    /// Those of [`check`](Self::check).
    ///
    /// ```
    /// use rawmap::{Arch, Call, Kernel, PageSize, RULES, Rules};
    /// const OURS: Rules = Rules { munmap: &[], ..RULES }; // no munmap is wrong
    /// let kernel = Kernel::new(Arch::HOST, PageSize::new(4096).unwrap());
    /// let call = Call::munmap(core::ptr::null_mut(), 0);
    /// assert!(call.check(&kernel).is_err() && call.check_by(&kernel, &OURS).is_ok());
    /// ```
    pub const fn check_by(self, kernel: &Kernel, rules: &Rules) -> Result<(), Refusal> {
        self.walk(kernel, rules)
    }
}

const fn number(addr: Word) -> u64 {
    addr.const_bits() as u64
}

/// An address without the tag that the kernel strips.
const fn bare(facts: &Facts, addr: Word) -> u64 {
    facts.untagged(number(addr))
}
