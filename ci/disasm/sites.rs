//! Call sites of the crate, each beside the same one written by hand: what ci/disasm.sh compares in
//! length. Compiled, never run.
#![no_std]

use core::ptr::{null_mut, without_provenance_mut};
use rawmap::{Errno, MapFlags, Prot, arch::nr, mmap_anonymous, munmap};

/// The system call, as one would write it without the crate; where the crate's stub is a function
/// (aarch64) so is this one, and visible from outside, so that the compiler does not fit it to its few callers.
mod hand {
    use core::arch::asm;

    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    pub unsafe fn hand_syscall2(a0: *mut u8, a1: usize, nr: usize) -> usize {
        let ret;
        // SAFETY: never run.
        unsafe {
            asm!("syscall", inlateout("rax") nr => ret, in("rdi") a0, in("rsi") a1,
                out("rcx") _, out("r11") _, options(nostack, preserves_flags));
        }
        ret
    }

    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    pub unsafe fn hand_syscall6(
        a0: *mut u8,
        a1: usize,
        a2: usize,
        a3: usize,
        a4: isize,
        a5: usize,
        nr: usize,
    ) -> *mut u8 {
        let ret;
        // SAFETY: never run.
        unsafe {
            asm!("syscall", inlateout("rax") nr => ret, in("rdi") a0, in("rsi") a1, in("rdx") a2,
                in("r10") a3, in("r8") a4, in("r9") a5,
                out("rcx") _, out("r11") _, options(nostack, preserves_flags));
        }
        ret
    }

    #[cfg(target_arch = "aarch64")]
    #[unsafe(no_mangle)]
    #[inline(never)]
    pub unsafe fn hand_syscall2(a0: *mut u8, a1: usize, nr: usize) -> usize {
        let ret;
        // SAFETY: never run.
        unsafe {
            asm!("svc 0", in("x8") nr, inlateout("x0") a0 => ret, in("x1") a1,
                options(nostack, preserves_flags));
        }
        ret
    }

    #[cfg(target_arch = "aarch64")]
    #[unsafe(no_mangle)]
    #[inline(never)]
    pub unsafe fn hand_syscall6(
        a0: *mut u8,
        a1: usize,
        a2: usize,
        a3: usize,
        a4: isize,
        a5: usize,
        nr: usize,
    ) -> *mut u8 {
        let ret;
        // SAFETY: never run.
        unsafe {
            asm!("svc 0", in("x8") nr, inlateout("x0") a0 => ret, in("x1") a1, in("x2") a2,
                in("x3") a3, in("x4") a4, in("x5") a5, options(nostack, preserves_flags));
        }
        ret
    }

    #[cfg(target_arch = "riscv64")]
    #[inline(always)]
    pub unsafe fn hand_syscall2(a0: *mut u8, a1: usize, nr: usize) -> usize {
        let ret;
        // SAFETY: never run.
        unsafe {
            asm!("ecall", in("a7") nr, inlateout("a0") a0 => ret, in("a1") a1, options(nostack));
        }
        ret
    }

    #[cfg(target_arch = "riscv64")]
    #[inline(always)]
    pub unsafe fn hand_syscall6(
        a0: *mut u8,
        a1: usize,
        a2: usize,
        a3: usize,
        a4: isize,
        a5: usize,
        nr: usize,
    ) -> *mut u8 {
        let ret;
        // SAFETY: never run.
        unsafe {
            asm!("ecall", in("a7") nr, inlateout("a0") a0 => ret, in("a1") a1, in("a2") a2,
                in("a3") a3, in("a4") a4, in("a5") a5, options(nostack));
        }
        ret
    }

    /// The smallest word that is an error.
    pub const ERRORS: usize = -4095_isize as usize;
}

/// Expands to pairs of functions with one signature: `ours_*` and `hand_*`.
macro_rules! pairs {
    ($($ours:ident, $hand:ident($($arg:ident: $t:ty),*) -> $ret:ty { $a:expr } { $b:expr })*) => {$(
        /// # Safety
        /// Never run.
        #[unsafe(no_mangle)]
        pub unsafe fn $ours($($arg: $t),*) -> $ret {
            // SAFETY: never run.
            unsafe { $a }
        }

        /// # Safety
        /// Never run.
        #[unsafe(no_mangle)]
        pub unsafe fn $hand($($arg: $t),*) -> $ret {
            // SAFETY: never run.
            unsafe { $b }
        }
    )*};
}

pairs! {
    // The result is dropped.
    ours_dropped, hand_dropped(addr: *mut u8, len: usize) -> () {
        { let _ = munmap(addr, len); }
    } {
        { hand::hand_syscall2(addr, len, nr::MUNMAP); }
    }
    // Did it work?
    ours_worked, hand_worked(addr: *mut u8, len: usize) -> bool {
        munmap(addr, len).is_ok()
    } {
        hand::hand_syscall2(addr, len, nr::MUNMAP) == 0
    }
    // Which error? (The number as an `i32` costs a compare more: no word of a filter becomes 0.)
    ours_denied, hand_denied(addr: *mut u8, len: usize) -> bool {
        munmap(addr, len) == Err(Errno::EPERM)
    } {
        hand::hand_syscall2(addr, len, nr::MUNMAP) == -1_isize as usize
    }
    // The kernel's word again.
    ours_word, hand_word(addr: *mut u8, len: usize) -> usize {
        match munmap(addr, len) { Ok(()) => 0, Err(errno) => errno.encode().bits() }
    } {
        hand::hand_syscall2(addr, len, nr::MUNMAP)
    }
    // The second only if the first worked.
    ours_twice, hand_twice(addr: *mut u8, len: usize, other: *mut u8) -> bool {
        munmap(addr, len).and_then(|()| munmap(other, len)).is_ok()
    } {
        hand::hand_syscall2(addr, len, nr::MUNMAP) == 0
            && hand::hand_syscall2(other, len, nr::MUNMAP) == 0
    }
    // A pointer, null for an error.
    ours_map, hand_map(len: usize) -> *mut u8 {
        mmap_anonymous(null_mut(), len, Prot::READ | Prot::WRITE, MapFlags::PRIVATE)
            .unwrap_or(null_mut())
    } {
        {
            let ret = hand::hand_syscall6(null_mut(), len, 3, 0x22, -1, 0, nr::MMAP);
            if ret >= without_provenance_mut(hand::ERRORS) { null_mut() } else { ret }
        }
    }
}
