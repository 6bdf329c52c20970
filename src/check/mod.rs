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
    /// What a kernel will say to this call, as far as its words and what is known of the [`Kernel`]
    /// decide it: `Ok`, or the refusal. [`RULES`] lists the rules.
    ///
    /// *Sound*: when this refuses with an error, the kernel refuses with that error, or with one of
    /// [`Refusal::earlier`], which the process's state may bring up first. *Complete for
    /// arguments*: when the kernel answers EINVAL, EOVERFLOW or EOPNOTSUPP for what the words say,
    /// or ENOMEM or EFAULT for a range that can't be in its address space, and the kernel is stated,
    /// this had refused it. Both are tested by making calls.
    ///
    /// Out of its reach is what depends on the state of the process and the kernel's
    /// configuration:
    ///
    /// - what is mapped: EEXIST, EFAULT, most ENOMEM, EPERM of sealed and EBUSY of locked memory; EINVAL for advice
    ///   that the kind of memory can't have, for `PROT_GROWSDOWN` where nothing grows, for parts of huge pages and
    ///   of the vdso, which can't be split, for mremap of length 0 of private memory, with `MREMAP_DONTUNMAP` of
    ///   what can't grow, and on huge pages to any but a whole one;
    /// - the file: EBADF of a descriptor that is not open, EACCES, ENODEV, ETXTBSY, EPERM of noexec and seals,
    ///   EOPNOTSUPP of `MAP_SYNC`, EINVAL of memfd_secret for a private mapping, and what its driver says;
    ///   EOVERFLOW of an offset that this kind of file can't have (a socket's, from 2^63 on), unless it is known to
    ///   be regular; of msync, which is the file's fsync, and of `MADV_REMOVE`, which is its fallocate, any error
    ///   that the file system likes;
    /// - limits and rights: EAGAIN, EPERM and ENOMEM of locking, RLIMIT_AS, `vm.max_map_count`,
    ///   `vm.mmap_min_addr`, ENFILE of huge pages;
    /// - files on hugetlbfs, and `MAP_HUGETLB` on any file unless it is known to be regular;
    /// - the kernel's configuration and the CPU: huge-page sizes that could exist and don't, advice
    ///   of KSM, transparent huge pages and memory failure, `PROT_BTI` and `PROT_MTE`; the default
    ///   huge-page size, and so the alignment of `MAP_HUGETLB` without a size, and how long it may be;
    ///   and arm64's debugging option `ARM64_FORCE_52BIT`, which it takes to be off;
    /// - address tagging that a process has to ask for (LAM on x86_64, pointer masking on riscv64);
    /// - security modules, fanotify and `PR_SET_MDWE`, which may say EACCES or EPERM before any rule
    ///   of mmap and mprotect.
    ///
    /// In const evaluation, addresses must have been made from integers: where an object lies isn't
    /// known before the program runs.
    ///
    /// Flags and advice that Linux 7.3 doesn't know are refused where it refuses them.
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

    /// What a kernel will say that has other rules: [`RULES`] with other errors and versions, or without
    /// some: as [`Step::Given`] a rule is in force no more. The conditions are the same, by their place.
    ///
    /// # Errors
    /// As [`check`](Self::check).
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
