//! aarch64: how a system call is made.
//!
//! | what | where | source |
//! |---|---|---|
//! | instruction | `svc 0` | `arch/arm64/kernel/entry.S` |
//! | number | x8 | `arch/arm64/kernel/syscall.c` |
//! | arguments | x0 to x5 | same |
//! | result | x0; -4095..=-1 is an errno negated | same |
//! | destroyed | p0-p15, the first-fault register, and bits 128 and up of z0-z31 | Documentation/arch/arm64/sve.rst, section 3; `fpsimd_syscall_enter` |
//! | kept | x1-x30, sp, v0-v31 (128 bits each), ZA | same; `kernel_exit` restores x1-x30 |
//! | flags | NZCV comes back with SPSR, so `preserves_flags` is true | `kernel_exit` |
//! | stack | the kernel has its own, so `nostack` is true | same |
//!
//! The destroyed vector state decides three things:
//!
//! - p0-p15 are always clobbers. They cost nothing when SVE is off.
//! - v0-v31 are clobbers when the crate is built with SVE: naming vN kills all of zN. Without SVE
//!   they would only spill d8-d15, so they are left out.
//! - The stubs are `inline(never)`. A stub built without SVE could be inlined into a caller that
//!   has `#[target_feature(enable = "sve")]`, and that caller would keep z registers live across
//!   the call. Across a function call it keeps none (AAPCS64 6.1.3: only the low halves of v8-v15
//!   are preserved).
//!
//! The last point has a cost: `munmap` and its `Result` run 10 instructions, 7 of them at the call site, where
//! an inlined stub would run 4. An inlined stub that names v8-v15 would run 12, since each caller then saves
//! d8-d15. When the crate is compiled, nothing (such as `cfg!(target_feature)`) tells which features the
//! functions have into which LLVM inlines later, and LLVM inlines into any function that has more features.
//!
//! FFR can't be named (LLVM reserves it), and no code may rely on it across a function call
//! (AAPCS64 6.1.4). Streaming mode (SME) ends at every system call; Rust code is never in it.
//!
//! The stubs are never `nomem`, `readonly` or `pure`: the kernel changes what memory holds and what is mapped.

use super::{Arch, Facts};
use crate::errno::Errno;
use crate::flags::{MapFlags, Prot};
use crate::word::Word;
use core::arch::asm;

/// Expands to `asm!` with the operands given, the predicate clobbers and the options.
macro_rules! svc_with {
    ($($operands:tt)*) => {
        asm!(
            "svc 0",
            $($operands)*
            out("p0") _, out("p1") _, out("p2") _, out("p3") _, out("p4") _, out("p5") _, out("p6") _, out("p7") _,
            out("p8") _, out("p9") _, out("p10") _, out("p11") _, out("p12") _, out("p13") _, out("p14") _, out("p15") _,
            options(nostack, preserves_flags),
        )
    };
}

/// Expands to [`svc_with`], with each whole Z register as destroyed.
#[cfg(target_feature = "sve")]
macro_rules! svc {
    ($($operands:tt)*) => {
        svc_with!(
            $($operands)*
            out("v0") _, out("v1") _, out("v2") _, out("v3") _, out("v4") _, out("v5") _, out("v6") _, out("v7") _,
            out("v8") _, out("v9") _, out("v10") _, out("v11") _, out("v12") _, out("v13") _, out("v14") _, out("v15") _,
            out("v16") _, out("v17") _, out("v18") _, out("v19") _, out("v20") _, out("v21") _, out("v22") _, out("v23") _,
            out("v24") _, out("v25") _, out("v26") _, out("v27") _, out("v28") _, out("v29") _, out("v30") _, out("v31") _,
        )
    };
}

/// Expands to [`svc_with`]: there is no Z register, and the kernel keeps v0-v31.
#[cfg(not(target_feature = "sve"))]
macro_rules! svc {
    ($($operands:tt)*) => {
        svc_with!($($operands)*)
    };
}

/// Expands, for each arity, to one function with one `svc` whose operands are the table above.
macro_rules! stubs {
    ($($name:ident($($arg:ident in $reg:tt),*), $n:literal;)*) => {$(
        #[doc = concat!("Makes system call number `nr` with ", $n, ".")]
        ///
        /// The number comes last, so that the arguments already stand where the kernel wants
        /// them. The result is the kernel's word as it is: [`Errno::decode`](crate::Errno::decode)
        /// tells success from failure.
        ///
        /// # Safety
        /// Whatever the call does must be sound: no memory that Rust code refers to may be
        /// unmapped, changed or made inaccessible under it, and pointers must be valid for what
        /// the kernel reads or writes through them.
        #[inline(never)]
        pub unsafe fn $name($($arg: Word,)* nr: usize) -> Word {
            let ret: *mut u8;
            // SAFETY: operands, clobbers and options are those of the table that heads this
            // file; what the call does to memory is the caller's promise.
            unsafe {
                svc!(
                    in("x8") nr,
                    $(in($reg) $arg.as_ptr(),)*
                    lateout("x0") ret,
                );
            }
            Word::ptr(ret)
        }
    )*};
}

#[cfg(target_arch = "aarch64")]
stubs! {
    syscall0(), "no argument";
    syscall1(a0 in "x0"), "one argument";
    syscall2(a0 in "x0", a1 in "x1"), "two arguments";
    syscall3(a0 in "x0", a1 in "x1", a2 in "x2"), "three arguments";
    syscall4(a0 in "x0", a1 in "x1", a2 in "x2", a3 in "x3"), "four arguments";
    syscall5(a0 in "x0", a1 in "x1", a2 in "x2", a3 in "x3", a4 in "x4"), "five arguments";
    syscall6(a0 in "x0", a1 in "x1", a2 in "x2", a3 in "x3", a4 in "x4", a5 in "x5"), "six arguments";
}

/// The numbers of the memory-mapping calls (`include/uapi/asm-generic/unistd.h`).
pub mod nr {
    /// `munmap(2)`.
    #[doc(alias("__NR_munmap", "SYS_munmap"))]
    pub const MUNMAP: usize = 215;
    /// `mremap(2)`.
    #[doc(alias("__NR_mremap", "SYS_mremap"))]
    pub const MREMAP: usize = 216;
    /// `mmap(2)`.
    #[doc(alias("__NR_mmap", "SYS_mmap"))]
    pub const MMAP: usize = 222;
    /// `mprotect(2)`.
    #[doc(alias("__NR_mprotect", "SYS_mprotect"))]
    pub const MPROTECT: usize = 226;
    /// `msync(2)`.
    #[doc(alias("__NR_msync", "SYS_msync"))]
    pub const MSYNC: usize = 227;
    /// `mlock(2)`.
    #[doc(alias("__NR_mlock", "SYS_mlock"))]
    pub const MLOCK: usize = 228;
    /// `munlock(2)`.
    #[doc(alias("__NR_munlock", "SYS_munlock"))]
    pub const MUNLOCK: usize = 229;
    /// `mlockall(2)`.
    #[doc(alias("__NR_mlockall", "SYS_mlockall"))]
    pub const MLOCKALL: usize = 230;
    /// `munlockall(2)`.
    #[doc(alias("__NR_munlockall", "SYS_munlockall"))]
    pub const MUNLOCKALL: usize = 231;
    /// `mincore(2)`.
    #[doc(alias("__NR_mincore", "SYS_mincore"))]
    pub const MINCORE: usize = 232;
    /// `madvise(2)`.
    #[doc(alias("__NR_madvise", "SYS_madvise"))]
    pub const MADVISE: usize = 233;
    /// `mlock2(2)`.
    #[doc(alias("__NR_mlock2", "SYS_mlock2"))]
    pub const MLOCK2: usize = 284;
    /// `mseal(2)`.
    #[doc(alias("__NR_mseal", "SYS_mseal"))]
    pub const MSEAL: usize = 462;

    // What the owners ask beyond the family; each says in its documentation which of these it makes.

    /// `fcntl(2)`: reads and adds the seals of a memory file, and duplicates a descriptor.
    #[doc(alias("__NR_fcntl", "SYS_fcntl"))]
    pub const FCNTL: usize = 25;
    /// `fstatfs(2)`: tells whether a file lies on hugetlbfs or in /proc.
    #[doc(alias("__NR_fstatfs", "SYS_fstatfs"))]
    pub const FSTATFS: usize = 44;
    /// `ftruncate(2)`: gives a new memory file its length.
    #[doc(alias("__NR_ftruncate", "SYS_ftruncate"))]
    pub const FTRUNCATE: usize = 46;
    /// `fallocate(2)`: gives a memory file its pages.
    #[doc(alias("__NR_fallocate", "SYS_fallocate"))]
    pub const FALLOCATE: usize = 47;
    /// `openat(2)`: opens the files that `pread64` reads.
    #[doc(alias("__NR_openat", "SYS_openat"))]
    pub const OPENAT: usize = 56;
    /// `close(2)`.
    #[doc(alias("__NR_close", "SYS_close"))]
    pub const CLOSE: usize = 57;
    /// `pread64(2)`: reads `/proc/self/auxv` on kernels before 6.4, and `vm.overcommit_memory`.
    #[doc(alias("__NR_pread64", "SYS_pread64"))]
    pub const PREAD64: usize = 67;
    /// `fstat(2)`: tells the length and type of a file.
    #[doc(alias("__NR_fstat", "SYS_fstat"))]
    pub const FSTAT: usize = 80;
    /// `prctl(2)`: `PR_GET_AUXV` and `PR_SET_VMA`.
    #[doc(alias("__NR_prctl", "SYS_prctl"))]
    pub const PRCTL: usize = 167;
    /// `prlimit64(2)`: tells how far the stack may grow, and how long a file may become.
    #[doc(alias("__NR_prlimit64", "SYS_prlimit64"))]
    pub const PRLIMIT64: usize = 261;
    /// `memfd_create(2)`: makes a memory file, where memory can't be mapped twice without one.
    #[doc(alias("__NR_memfd_create", "SYS_memfd_create"))]
    pub const MEMFD_CREATE: usize = 279;
    /// `membarrier(2)`: makes every thread see new instructions.
    #[doc(alias("__NR_membarrier", "SYS_membarrier"))]
    pub const MEMBARRIER: usize = 283;
}

/// Where `st_mode` stands in `struct stat`, in bytes (`include/uapi/asm-generic/stat.h`); `st_size` and
/// `st_blksize` stand at 48 and 56 on each architecture.
pub(crate) const STAT_MODE: usize = 16;

/// This architecture, as a value.
pub(crate) const ARCH: Arch = Arch::Aarch64;

/// The page size in bytes where the architecture fixes it; `None` where the kernel chooses.
pub const FIXED_PAGE_SIZE: Option<usize> = None;

/// The largest address space in bytes that a process can have on this architecture (`TASK_SIZE`
/// with the widest page tables).
pub const MAX_ADDRESS_SPACE: usize = (1_u64 << 52) as usize;

/// The sizes that an address space can have, in bytes, ascending (`TASK_SIZE` by width of the page
/// tables).
pub(crate) const ADDRESS_SPACES: &[u64] =
    &[1_u64 << 36, 1 << 39, 1 << 42, 1 << 47, 1 << 48, MAX_ADDRESS_SPACE as u64];

/// What the rules of `check` know of this architecture. The top byte of an address is a tag
/// (`untagged_addr` in `arch/arm64/include/asm/uaccess.h`); huge pages are those of
/// `__hugetlb_valid_size` in `arch/arm64/mm/hugetlbpage.c` (contiguous entries, then one table level
/// up each); `DEFAULT_MAP_WINDOW` is in `arch/arm64/include/asm/processor.h` (kernels with the
/// debugging option `ARM64_FORCE_52BIT` have none), and `TASK_SIZE_MAX` is the kernel's, not the CPU's.
pub(crate) const FACTS: Facts = Facts {
    name: "aarch64",
    word_max: u64::MAX,
    max_address_space: MAX_ADDRESS_SPACE as u64,
    default_window: 1 << 48,
    map_32bit: 0,
    tag: 0xff << 56,
    access_max: 1 << 52,
    huge_log2s: [
        1 << 16 | 1 << 21 | 1 << 25 | 1 << 30,
        1 << 21 | 1 << 25 | 1 << 30,
        1 << 21 | 1 << 29 | 1 << 34,
    ],
    prot_of_cpu: 0x10 | 0x20, // PROT_BTI, PROT_MTE
    map_legacy: 0,
    map_legacy_6_6: 0,
    signed_offset: false,
};

/// Makes what was written at `written` run at `run`, `len` bytes: cleans the data cache to the point
/// of unification and invalidates the instruction cache, line by line, on all cores (Arm ARM
/// B2.4.4). Linux lets user space do it (`arch/arm64/kernel/cpufeature.c`: CTR_EL0; SCTLR_EL1.UCI).
///
/// # Errors
/// None.
///
/// # Safety
/// Both must be mapped for `len` bytes, and of the same memory.
#[cfg(target_arch = "aarch64")]
pub(crate) unsafe fn sync_instructions(
    written: *const u8,
    run: *const u8,
    len: usize,
) -> Result<(), Errno> {
    let ctr: usize;
    // SAFETY: reads a register that has no effect.
    unsafe { asm!("mrs {}, ctr_el0", out(reg) ctr, options(nomem, nostack, preserves_flags)) };
    // Line sizes, as log2 of words.
    let data_line = 4 << (ctr >> 16 & 0xf);
    let instruction_line = 4 << (ctr & 0xf);
    let mut at = written.addr() & !(data_line - 1);
    while at < written.addr() + len {
        // SAFETY: cache maintenance of a line that is mapped changes no contents.
        unsafe { asm!("dc cvau, {}", in(reg) at, options(nostack, preserves_flags)) };
        at += data_line;
    }
    // SAFETY: a barrier.
    unsafe { asm!("dsb ish", options(nostack, preserves_flags)) };
    let mut at = run.addr() & !(instruction_line - 1);
    while at < run.addr() + len {
        // SAFETY: as for the data cache.
        unsafe { asm!("ic ivau, {}", in(reg) at, options(nostack, preserves_flags)) };
        at += instruction_line;
    }
    // SAFETY: barriers.
    unsafe { asm!("dsb ish", "isb", options(nostack, preserves_flags)) };
    Ok(())
}

/// Names of the `PROT_*` bits that only this architecture has.
#[cfg(target_arch = "aarch64")]
pub(crate) const PROT_NAMES: &[(&str, Prot)] = &[("PROT_BTI", Prot::BTI), ("PROT_MTE", Prot::MTE)];

/// Names of the `MAP_*` bits that only this architecture has.
pub(crate) const MAP_NAMES: &[(&str, MapFlags)] = &[];

/// aarch64 only (`arch/arm64/include/uapi/asm/mman.h`).
#[cfg(target_arch = "aarch64")]
impl Prot {
    /// `PROT_BTI` (Linux 5.8): an indirect branch may only land on a BTI instruction. `mprotect`
    /// answers EINVAL where the CPU has no BTI; `mmap` ignores it there.
    #[doc(alias = "PROT_BTI")]
    pub const BTI: Self = Self::from_bits(0x10);
    /// `PROT_MTE` (Linux 5.10): memory with allocation tags. On a CPU with MTE, EINVAL for what is
    /// neither anonymous nor on tmpfs (nor, in later kernels, hugetlbfs); where the CPU lacks it,
    /// `mprotect` answers EINVAL and `mmap` ignores it.
    #[doc(alias = "PROT_MTE")]
    pub const MTE: Self = Self::from_bits(0x20);
}
