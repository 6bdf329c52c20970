//! x86_64: how a system call is made.
//!
//! | what | where | source |
//! |---|---|---|
//! | instruction | `syscall` | psABI A.2.1; `arch/x86/entry/entry_64.S` |
//! | number | rax | same |
//! | arguments | rdi, rsi, rdx, r10, r8, r9 (r10 where C has rcx: `syscall` overwrites rcx) | same |
//! | result | rax; -4095..=-1 is an errno negated | psABI A.2.1 |
//! | destroyed | rcx (return address), r11 (RFLAGS) | Intel SDM, SYSCALL; FRED kernels keep both, older ones don't |
//! | flags | come back from r11, so `preserves_flags` is true | SYSRET and IRET restore RFLAGS |
//! | stack | the kernel switches to its own, so `nostack` is true; it leaves the red zone alone | psABI A.2.1 |
//! | vectors | kept whole: XSAVE state is only written at a context switch, and restored | `arch/x86/kernel/fpu/` |
//!
//! The stubs are never `nomem`, `readonly` or `pure`: the kernel changes what memory holds and what is mapped.

use super::{Arch, Facts};
use crate::errno::Errno;
use crate::flags::{MapFlags, Prot};
use crate::word::Word;
use core::arch::asm;
use core::sync::atomic::{AtomicU8, Ordering};

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
                    "syscall",
                    in("rax") nr,
                    $(in($reg) $arg.as_ptr(),)*
                    lateout("rax") ret,
                    lateout("rcx") _,
                    lateout("r11") _,
                    options(nostack, preserves_flags),
                );
            }
            Word::ptr(ret)
        }
    )*};
}

#[cfg(target_arch = "x86_64")]
stubs! {
    syscall0(), "no argument";
    syscall1(a0 in "rdi"), "one argument";
    syscall2(a0 in "rdi", a1 in "rsi"), "two arguments";
    syscall3(a0 in "rdi", a1 in "rsi", a2 in "rdx"), "three arguments";
    syscall4(a0 in "rdi", a1 in "rsi", a2 in "rdx", a3 in "r10"), "four arguments";
    syscall5(a0 in "rdi", a1 in "rsi", a2 in "rdx", a3 in "r10", a4 in "r8"), "five arguments";
    syscall6(a0 in "rdi", a1 in "rsi", a2 in "rdx", a3 in "r10", a4 in "r8", a5 in "r9"), "six arguments";
}

/// The numbers of the memory-mapping calls (`arch/x86/entry/syscalls/syscall_64.tbl`).
pub mod nr {
    /// `mmap(2)`.
    #[doc(alias("__NR_mmap", "SYS_mmap"))]
    pub const MMAP: usize = 9;
    /// `mprotect(2)`.
    #[doc(alias("__NR_mprotect", "SYS_mprotect"))]
    pub const MPROTECT: usize = 10;
    /// `munmap(2)`.
    #[doc(alias("__NR_munmap", "SYS_munmap"))]
    pub const MUNMAP: usize = 11;
    /// `mremap(2)`.
    #[doc(alias("__NR_mremap", "SYS_mremap"))]
    pub const MREMAP: usize = 25;
    /// `msync(2)`.
    #[doc(alias("__NR_msync", "SYS_msync"))]
    pub const MSYNC: usize = 26;
    /// `mincore(2)`.
    #[doc(alias("__NR_mincore", "SYS_mincore"))]
    pub const MINCORE: usize = 27;
    /// `madvise(2)`.
    #[doc(alias("__NR_madvise", "SYS_madvise"))]
    pub const MADVISE: usize = 28;
    /// `mlock(2)`.
    #[doc(alias("__NR_mlock", "SYS_mlock"))]
    pub const MLOCK: usize = 149;
    /// `munlock(2)`.
    #[doc(alias("__NR_munlock", "SYS_munlock"))]
    pub const MUNLOCK: usize = 150;
    /// `mlockall(2)`.
    #[doc(alias("__NR_mlockall", "SYS_mlockall"))]
    pub const MLOCKALL: usize = 151;
    /// `munlockall(2)`.
    #[doc(alias("__NR_munlockall", "SYS_munlockall"))]
    pub const MUNLOCKALL: usize = 152;
    /// `mlock2(2)`.
    #[doc(alias("__NR_mlock2", "SYS_mlock2"))]
    pub const MLOCK2: usize = 325;
    /// `mseal(2)`.
    #[doc(alias("__NR_mseal", "SYS_mseal"))]
    pub const MSEAL: usize = 462;

    // What the owners ask beyond the family; each says in its documentation which of these it makes.

    /// `pread64(2)`: reads `/proc/self/auxv` on kernels before 6.4, and `vm.overcommit_memory`.
    #[doc(alias("__NR_pread64", "SYS_pread64"))]
    pub const PREAD64: usize = 17;
    /// `close(2)`.
    #[doc(alias("__NR_close", "SYS_close"))]
    pub const CLOSE: usize = 3;
    /// `fstat(2)`: tells the length and type of a file.
    #[doc(alias("__NR_fstat", "SYS_fstat"))]
    pub const FSTAT: usize = 5;
    /// `fcntl(2)`: reads and adds the seals of a memory file, and duplicates a descriptor.
    #[doc(alias("__NR_fcntl", "SYS_fcntl"))]
    pub const FCNTL: usize = 72;
    /// `ftruncate(2)`: gives a new memory file its length.
    #[doc(alias("__NR_ftruncate", "SYS_ftruncate"))]
    pub const FTRUNCATE: usize = 77;
    /// `fstatfs(2)`: tells whether a file lies on hugetlbfs or in /proc.
    #[doc(alias("__NR_fstatfs", "SYS_fstatfs"))]
    pub const FSTATFS: usize = 138;
    /// `prctl(2)`: `PR_GET_AUXV` and `PR_SET_VMA`.
    #[doc(alias("__NR_prctl", "SYS_prctl"))]
    pub const PRCTL: usize = 157;
    /// `openat(2)`: opens the files that `pread64` reads.
    #[doc(alias("__NR_openat", "SYS_openat"))]
    pub const OPENAT: usize = 257;
    /// `fallocate(2)`: gives a memory file its pages.
    #[doc(alias("__NR_fallocate", "SYS_fallocate"))]
    pub const FALLOCATE: usize = 285;
    /// `prlimit64(2)`: tells how far the stack may grow, and how long a file may become.
    #[doc(alias("__NR_prlimit64", "SYS_prlimit64"))]
    pub const PRLIMIT64: usize = 302;
    /// `memfd_create(2)`: makes a memory file, where memory can't be mapped twice without one.
    #[doc(alias("__NR_memfd_create", "SYS_memfd_create"))]
    pub const MEMFD_CREATE: usize = 319;
    /// `membarrier(2)`: makes every thread see new instructions.
    #[doc(alias("__NR_membarrier", "SYS_membarrier"))]
    pub const MEMBARRIER: usize = 324;
}

/// Where `st_mode` stands in `struct stat`, in bytes (`arch/x86/include/uapi/asm/stat.h`); `st_size` and
/// `st_blksize` stand at 48 and 56 on each architecture.
pub(crate) const STAT_MODE: usize = 24;

/// This architecture, as a value.
pub(crate) const ARCH: Arch = Arch::X86_64;

/// The page size in bytes where the architecture fixes it; `None` where the kernel chooses.
pub const FIXED_PAGE_SIZE: Option<usize> = Some(4096);

/// The largest address space in bytes that a process can have on this architecture (`TASK_SIZE`
/// with the widest page tables).
pub const MAX_ADDRESS_SPACE: usize = ((1_u64 << 56) - 4096) as usize;

/// The sizes that an address space can have, in bytes, ascending (`TASK_SIZE` by width of the page
/// tables).
pub(crate) const ADDRESS_SPACES: &[u64] = &[(1 << 47) - 4096, MAX_ADDRESS_SPACE as u64];

/// What the rules of `check` know of this architecture. Pages are always 4096 bytes; huge pages are
/// those of `arch_hugetlb_valid_size` in `arch/x86/mm/hugetlbpage.c`; `access_ok` let through any
/// positive number in some versions (`arch/x86/include/asm/uaccess_64.h`).
pub(crate) const FACTS: Facts = Facts {
    name: "x86_64",
    word_max: u64::MAX,
    max_address_space: MAX_ADDRESS_SPACE as u64,
    default_window: (1 << 47) - 4096,
    map_32bit: 0x40,
    tag: 0,
    access_max: i64::MAX as u64,
    huge_log2s: [1 << 21 | 1 << 30; 3],
    prot_of_cpu: 0,
    map_legacy: 0x40,
    map_legacy_6_6: 0x80,
    signed_offset: false,
};

/// Makes what was written at `written` run at `run`, `len` bytes, in this thread. Caches are coherent, and
/// a fetch sees every earlier store; but through another address only after a serializing instruction (Intel
/// SDM 3A, self-modifying code; AMD APM 2, 7.6.1). Other threads that ran the old code need one of their own.
///
/// # Errors
/// None.
///
/// # Safety
/// Both must be mapped for `len` bytes, and of the same memory.
#[cfg(target_arch = "x86_64")]
pub(crate) unsafe fn sync_instructions(
    written: *const u8,
    run: *const u8,
    len: usize,
) -> Result<(), Errno> {
    let _ = (written, run, len);
    serialize();
    Ok(())
}

/// Serializes: by `serialize` where the processor has it; else by an `iret` to the next instruction, which
/// every processor has, and which costs a hundredth of a `cpuid` where a hypervisor answers that (Intel SDM
/// 3A, 11.3: both serialize). An `iret` would have to fit a shadow stack where the thread has one; there it is
/// `cpuid`.
#[cfg(target_arch = "x86_64")]
fn serialize() {
    /// Whether the processor has `serialize`: 0 where that is not known yet.
    static SERIALIZE: AtomicU8 = AtomicU8::new(0);
    const MISSING: u8 = 1;
    const THERE: u8 = 2;
    let known = match SERIALIZE.load(Ordering::Relaxed) {
        0 => {
            let there = cpuid(0)[0] >= 7 && cpuid(7)[2] & 1 << 14 != 0;
            let known = if there { THERE } else { MISSING };
            SERIALIZE.store(known, Ordering::Relaxed);
            known
        }
        known => known,
    };
    if known == THERE {
        // SAFETY: the processor has the instruction, which changes nothing.
        unsafe { asm!(".byte 0x0f, 0x01, 0xe8", options(nostack, preserves_flags)) };
        return;
    }
    let mut shadow_stack = 0_usize;
    // SAFETY: `rdsspq` changes nothing but its register, and not that one where there is no shadow stack.
    unsafe { asm!("rdsspq {}", inout(reg) shadow_stack, options(nomem, nostack, preserves_flags)) };
    if shadow_stack != 0 {
        cpuid(0);
        return;
    }
    // SAFETY: it returns to the next instruction, with the stack pointer, flags and segments that it has now;
    // what it pushes lies where asm without `nostack` may push.
    unsafe {
        asm!(
            "mov {old}, rsp",
            "mov {word:e}, ss",
            "push {word}",
            "push {old}",
            "pushfq",
            "mov {word:e}, cs",
            "push {word}",
            "lea {word}, [rip + 2f]",
            "push {word}",
            "iretq",
            "2:",
            old = out(reg) _,
            word = out(reg) _,
            options(preserves_flags),
        );
    }
}

/// What `cpuid` says of a leaf: eax, ecx, edx. It serializes.
#[cfg(target_arch = "x86_64")]
fn cpuid(leaf: u32) -> [u32; 3] {
    let (eax, ecx, edx);
    // SAFETY: it only reads, and serializes. rbx, which LLVM keeps to itself, is put back.
    unsafe {
        asm!(
            "mov {rbx:r}, rbx",
            "cpuid",
            "mov rbx, {rbx:r}",
            rbx = out(reg) _,
            inout("eax") leaf => eax,
            inout("ecx") 0 => ecx,
            out("edx") edx,
            options(nostack, preserves_flags),
        );
    }
    [eax, ecx, edx]
}

/// Names of the `PROT_*` bits that only this architecture has.
pub(crate) const PROT_NAMES: &[(&str, Prot)] = &[];

/// Names of the `MAP_*` bits that only this architecture has.
#[cfg(target_arch = "x86_64")]
pub(crate) const MAP_NAMES: &[(&str, MapFlags)] =
    &[("MAP_32BIT", MapFlags::MAP_32BIT), ("MAP_ABOVE4G", MapFlags::ABOVE4G)];

/// x86_64 only (`arch/x86/include/uapi/asm/mman.h`).
#[cfg(target_arch = "x86_64")]
impl MapFlags {
    /// `MAP_32BIT` (Linux 2.4.20): place the mapping in the first 2 GiB of the address space.
    /// Ignored with [`FIXED`](Self::FIXED).
    pub const MAP_32BIT: Self = Self::from_bits(0x40);
    /// `MAP_ABOVE4G` (Linux 6.6): place the mapping above 4 GiB, unless the hint is taken.
    #[doc(alias = "MAP_ABOVE4G")]
    pub const ABOVE4G: Self = Self::from_bits(0x80);
}
