//! riscv64: how a system call is made.
//!
//! | what | where | source |
//! |---|---|---|
//! | instruction | `ecall` | `arch/riscv/kernel/entry.S` |
//! | number | a7 | `do_trap_ecall_u` in `arch/riscv/kernel/traps.c` |
//! | arguments | a0 to a5 | same |
//! | result | a0; -4095..=-1 is an errno negated | same |
//! | destroyed | v0-v31, vl, vtype (all ones, 0, vill) | Documentation/arch/riscv/vector.rst, section 3; `riscv_v_vstate_discard` (Linux 6.5) |
//! | kept | every other integer and floating-point register | `ret_from_exception` |
//! | flags | vl and vtype are lost, and `preserves_flags` would promise them (Rust Reference, inline assembly): so it is **not** said | same |
//! | stack | the kernel has its own, so `nostack` is true | same |
//!
//! The vector clobbers stand whether or not the crate is built with V: a caller may have
//! `#[target_feature(enable = "v")]`, and without V they change nothing in the code.
//!
//! Rust 1.87 to 1.95 (LLVM 20 to 22) may miscompile any code around these stubs at opt-level "z" without unwind
//! tables, which is how targets without an operating system are built with `panic = "abort"`: LLVM moves the
//! tail of a function to a function of its own, and the jump to it overwrites t1, which the tail reads
//! ([llvm-project#177126](https://github.com/llvm/llvm-project/issues/177126)). Build static programs with
//! opt-level "s", or with `-C llvm-args=-enable-machine-outliner=never`, as the repository's
//! `examples/freestanding` does.
//!
//! The stubs are never `nomem`, `readonly` or `pure`: the kernel changes what memory holds and what is mapped.

use super::{Arch, Facts};
use crate::errno::Errno;
use crate::flags::{MapFlags, Prot};
use crate::word::Word;
use core::arch::asm;

/// Expands, for each arity, to one function with one `asm!` whose operands are the table above.
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
        #[inline]
        pub unsafe fn $name($($arg: Word,)* nr: usize) -> Word {
            let ret: *mut u8;
            // SAFETY: operands, clobbers and options are those of the table that heads this
            // file; what the call does to memory is the caller's promise.
            unsafe {
                asm!(
                    "ecall",
                    in("a7") nr,
                    $(in($reg) $arg.as_ptr(),)*
                    lateout("a0") ret,
                    out("v0") _, out("v1") _, out("v2") _, out("v3") _, out("v4") _, out("v5") _, out("v6") _, out("v7") _,
                    out("v8") _, out("v9") _, out("v10") _, out("v11") _, out("v12") _, out("v13") _, out("v14") _, out("v15") _,
                    out("v16") _, out("v17") _, out("v18") _, out("v19") _, out("v20") _, out("v21") _, out("v22") _, out("v23") _,
                    out("v24") _, out("v25") _, out("v26") _, out("v27") _, out("v28") _, out("v29") _, out("v30") _, out("v31") _,
                    options(nostack),
                );
            }
            Word::ptr(ret)
        }
    )*};
}

#[cfg(target_arch = "riscv64")]
stubs! {
    syscall0(), "no argument";
    syscall1(a0 in "a0"), "one argument";
    syscall2(a0 in "a0", a1 in "a1"), "two arguments";
    syscall3(a0 in "a0", a1 in "a1", a2 in "a2"), "three arguments";
    syscall4(a0 in "a0", a1 in "a1", a2 in "a2", a3 in "a3"), "four arguments";
    syscall5(a0 in "a0", a1 in "a1", a2 in "a2", a3 in "a3", a4 in "a4"), "five arguments";
    syscall6(a0 in "a0", a1 in "a1", a2 in "a2", a3 in "a3", a4 in "a4", a5 in "a5"), "six arguments";
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
    /// `riscv_flush_icache` (`arch/riscv/kernel/sys_riscv.c`).
    #[doc(alias("__NR_riscv_flush_icache", "SYS_riscv_flush_icache"))]
    pub const RISCV_FLUSH_ICACHE: usize = 259;
}

/// Where `st_mode` stands in `struct stat`, in bytes (`include/uapi/asm-generic/stat.h`); `st_size` and
/// `st_blksize` stand at 48 and 56 on each architecture.
pub(crate) const STAT_MODE: usize = 16;

/// This architecture, as a value.
pub(crate) const ARCH: Arch = Arch::Riscv64;

/// The page size in bytes where the architecture fixes it; `None` where the kernel chooses.
pub const FIXED_PAGE_SIZE: Option<usize> = None;

/// The largest address space in bytes that a process can have on this architecture (`TASK_SIZE`
/// with the widest page tables).
pub const MAX_ADDRESS_SPACE: usize = (1_u64 << 56) as usize;

/// The sizes that an address space can have, in bytes, ascending (`TASK_SIZE` by width of the page
/// tables).
pub(crate) const ADDRESS_SPACES: &[u64] = &[1 << 38, 1 << 47, MAX_ADDRESS_SPACE as u64];

/// What the rules of `check` know of this architecture. Where a mapping without a hint may go differs
/// by version; huge pages are those of `__hugetlb_valid_size` in `arch/riscv/mm/hugetlbpage.c` (64 KiB
/// with Svnapot); `TASK_SIZE_MAX` is `LONG_MAX` in some versions; the offset is signed until "riscv:
/// mmap(): use unsigned offset type in riscv_sys_mmap" (`arch/riscv/kernel/sys_riscv.c`).
pub(crate) const FACTS: Facts = Facts {
    name: "riscv64",
    word_max: u64::MAX,
    max_address_space: MAX_ADDRESS_SPACE as u64,
    default_window: MAX_ADDRESS_SPACE as u64,
    map_32bit: 0,
    tag: 0,
    access_max: i64::MAX as u64,
    huge_log2s: [1 << 16 | 1 << 21 | 1 << 30; 3],
    prot_of_cpu: 0,
    map_legacy: 0,
    map_legacy_6_6: 0,
    signed_offset: true,
};

/// Makes what was written at `written` run at `run`, `len` bytes. `fence.i` acts on this hart only,
/// and the thread may run on another one next, so the kernel is asked to do it for all threads of
/// the process: one call, `riscv_flush_icache(start, end, 0)` (`arch/riscv/kernel/sys_riscv.c`).
///
/// # Errors
/// Those of riscv_flush_icache: none without a filter.
///
/// # Safety
/// Both must be mapped for `len` bytes, and of the same memory.
#[cfg(target_arch = "riscv64")]
pub(crate) unsafe fn sync_instructions(
    written: *const u8,
    run: *const u8,
    len: usize,
) -> Result<(), Errno> {
    let (start, end) = (Word::ptr(run.cast_mut()), Word::ptr(run.wrapping_add(len).cast_mut()));
    let _ = written;
    // SAFETY: it changes no memory.
    Errno::decode(unsafe { syscall3(start, end, Word::ZERO, nr::RISCV_FLUSH_ICACHE) }).map(|_| ())
}

/// Names of the `PROT_*` bits that only this architecture has.
pub(crate) const PROT_NAMES: &[(&str, Prot)] = &[];

/// Names of the `MAP_*` bits that only this architecture has.
pub(crate) const MAP_NAMES: &[(&str, MapFlags)] = &[];
