//! What differs by architecture, with one file for each: the system-call stubs and why their operands are
//! right, the call numbers, and what only that architecture has.
//!
//! The files hold the same names in the same order, so that any two can be read side by side. A port copies
//! one, fills it in, and adds its lines here. The stubs are there on their own architecture only. Numbers and
//! facts are there on every host, so that a program can ask about another machine.
//!
//! # Any other call
//!
//! The stubs make calls that this crate has no function for:
//!
//! ```
//! use rawmap::{Errno, arch};
//! // getppid: number 110 on x86_64, and 173 on the others.
//! let number = if cfg!(target_arch = "x86_64") { 110 } else { 173 };
//! // SAFETY: it changes nothing.
//! let parent = Errno::decode(unsafe { arch::syscall0(number) })?;
//! # if !cfg!(miri) {
//! assert_eq!(parent.bits(), std::os::unix::process::parent_id() as usize);
//! # }
//! # Ok::<(), Errno>(())
//! ```
//!
//! # What is proved
//!
//! `ci/prove.sh`, in the repository, proves this on the machine code of each architecture, for all arguments
//! and all answers of the kernel:
//! - At every level of optimization, each raw function, each stub and [`Call::make`](crate::Call::make) makes
//!   exactly one system call, with the kernel's number and exactly the documented words. It returns the
//!   documented result, reads and writes no other memory, so that no pointer can make it fault, and relies on
//!   nothing that the kernel destroys.
//! - At opt-level 3, [`Call::check`](crate::Call::check) never panics, and refuses no less when more of the
//!   [`Kernel`](crate::Kernel) is stated. This is proved for kernels of the architecture that the program is
//!   compiled for, with pages of 4 KiB (on aarch64 also 16 and 64 KiB).
//! - At opt-level 3, [`commit`](crate::Reservation::commit), [`decommit`](crate::Reservation::decommit),
//!   [`purge`](crate::Reservation::purge) and [`sync`](crate::Mapping::sync) make the documented calls for a
//!   range `start..end` that they accept, and no call for any other.
//!
//! The proof assumes that Ghidra's description of the instructions (in which none faults), the solver, the
//! linker, linux-raw-sys and the tables in these files are right; that no pointer argument points into the
//! function's own stack frame; and that an owner's invariants hold. It covers neither debug assertions, nor the
//! owners' other operations, nor the registers of SVE and V. For these registers, the repository's
//! `ci/disasm.sh` shows by LLVM's own account that nothing in them lives across a call.

#[cfg(not(all(
    any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64"),
    target_pointer_width = "64",
    any(target_os = "linux", target_os = "android", target_os = "none"),
)))]
compile_error!(
    "rawmap supports Linux on x86_64, aarch64 and riscv64 with 64-bit pointers; \
     a port to another architecture is one new file in `arch/`, named in `arch/mod.rs`"
);

#[allow(dead_code, unused_imports, unused_macros)] // The stubs are the host's only.
pub mod aarch64;
#[allow(dead_code, unused_imports, unused_macros)]
pub mod riscv64;
#[allow(dead_code, unused_imports, unused_macros)]
pub mod x86_64;

#[cfg(target_arch = "aarch64")]
pub use aarch64::*;
#[cfg(target_arch = "riscv64")]
pub use riscv64::*;
#[cfg(target_arch = "x86_64")]
pub use x86_64::*;

/// The pointer `to`, which may also be used for what `with` may be used for, where that lies right behind:
/// to the compiler, both come from a call that it knows nothing of, as they do.
///
/// It also stands between two uses of memory that is mapped at two addresses, which the language takes for
/// two memories: what was written through one address before is stored, and what is read through the other
/// after is loaded. No instruction is made of it.
#[cfg(not(miri))]
#[inline]
pub(crate) fn launder(to: *mut u8, with: *mut u8) -> *mut u8 {
    let mut laundered = to;
    // SAFETY: there is no instruction. Without `nomem`, it may read and write all memory that it is told of.
    unsafe {
        core::arch::asm!("/* {0} {1} */", inout(reg) laundered, in(reg) with, options(nostack, preserves_flags));
    }
    laundered
}

/// An architecture, as a value. On each host, [`Call::check`](crate::Call::check) knows the kernels of all of
/// them.
///
/// ```
/// use rawmap::Arch;
/// assert!(Arch::ALL.contains(&Arch::HOST));
/// assert_eq!((Arch::HOST.name(), Arch::Riscv64.name()), (std::env::consts::ARCH, "riscv64"));
/// assert_eq!(Arch::Riscv64.max_address_space(), 1 << 56);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Arch {
    /// aarch64, which Linux calls arm64.
    Aarch64,
    /// riscv with words of 64 bits.
    Riscv64,
    /// x86 with words of 64 bits, but not x32.
    X86_64,
}

impl Arch {
    /// The architecture that the program is compiled for.
    pub const HOST: Self = ARCH;

    /// All architectures.
    pub const ALL: &'static [Self] = &[Self::Aarch64, Self::Riscv64, Self::X86_64];

    /// The architecture's name, as in Rust's targets: `"aarch64"`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.facts().name
    }

    /// The largest address space in bytes that a process can have (`TASK_SIZE` with the widest page
    /// tables).
    #[must_use]
    pub const fn max_address_space(self) -> u64 {
        self.facts().max_address_space
    }

    pub(crate) const fn facts(self) -> &'static Facts {
        match self {
            Self::Aarch64 => &aarch64::FACTS,
            Self::Riscv64 => &riscv64::FACTS,
            Self::X86_64 => &x86_64::FACTS,
        }
    }
}

/// What the rules of `check` have to know of an architecture. Sizes and addresses are in bytes, and
/// have 64 bits on every host.
#[derive(PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) name: &'static str,
    /// The largest number that a register holds.
    pub(crate) word_max: u64,
    /// The largest address space that a process can have (`TASK_SIZE` with the widest page tables).
    pub(crate) max_address_space: u64,
    /// The end of the range in which mmap places what has no hint above it (`DEFAULT_MAP_WINDOW`), if
    /// every kernel has the same.
    pub(crate) default_window: u64,
    /// `MAP_32BIT`, or 0.
    pub(crate) map_32bit: usize,
    /// The bits of an address that are a tag, unless bit 55 is set: the kernel strips it in some calls
    /// (`untagged_addr`). A process can ask for more (LAM on x86_64, pointer masking on riscv64),
    /// which is not meant here.
    pub(crate) tag: u64,
    /// The largest end of a range that some version's `access_ok` lets through (`TASK_SIZE_MAX`).
    pub(crate) access_max: u64,
    /// log2 of the huge pages that can exist, as bits, with pages of 4, 16, and 64 KiB.
    pub(crate) huge_log2s: [u64; 3],
    /// The `PROT_*` bits that mprotect knows or not depending on the CPU (`arch_validate_prot`).
    pub(crate) prot_of_cpu: usize,
    /// The `MAP_*` bits that only this architecture has, and that `MAP_SHARED_VALIDATE` knows
    /// (`LEGACY_MAP_MASK` in `include/linux/mman.h`): always, and since Linux 6.6.
    pub(crate) map_legacy: usize,
    pub(crate) map_legacy_6_6: usize,
    /// Whether mmap took its offset as a signed number before Linux 6.18.
    pub(crate) signed_offset: bool,
}

impl Facts {
    /// An address as the kernel takes it from munmap, mprotect, msync, madvise, mincore, mlock, munlock,
    /// mseal and the first argument of mremap.
    pub(crate) const fn untagged(&self, addr: u64) -> u64 {
        if addr >> 55 & 1 == 1 { addr } else { addr & !self.tag }
    }

    /// Whether huge pages of 2 to the power `log2` bytes can exist with pages of 2 to the power `page`.
    pub(crate) const fn huge_page_exists(&self, log2: u32, page: u32) -> bool {
        let [small, middle, large] = self.huge_log2s;
        let log2s = match page {
            12 => small,
            14 => middle,
            _ => large,
        };
        log2s >> log2 & 1 == 1
    }
}

impl core::fmt::Debug for Facts {
    /// Prints the architecture's name.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.name)
    }
}

// Under Miri, what executes instructions is replaced by a model. A name that is imported by itself
// hides the one that the lines above import.
#[cfg(miri)]
mod miri;
#[cfg(miri)]
pub(crate) use miri::{launder, sync_instructions};
#[cfg(miri)]
pub use miri::{syscall0, syscall1, syscall2, syscall3, syscall4, syscall5, syscall6};
