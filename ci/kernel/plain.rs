//! The negative control: a system call as one would write it who does not know that the kernel
//! destroys vectors and predicates.

use core::arch::asm;
use rawmap::{Call, Errno, Word};

/// Makes the call.
///
/// # Safety
/// That of the call; and wrong anyway where the caller has vectors.
#[inline(always)]
pub unsafe fn make(call: &Call) -> Result<*mut u8, Errno> {
    let nr = call.number();
    let args = call.args().map(Word::as_ptr);
    let ret: *mut u8;
    // SAFETY: the promises about the vectors are not kept: that is what it is for.
    #[cfg(target_arch = "aarch64")]
    unsafe {
        asm!(
            "svc 0",
            in("x8") nr, inlateout("x0") args[0] => ret, in("x1") args[1], in("x2") args[2],
            in("x3") args[3], in("x4") args[4], in("x5") args[5],
            options(nostack, preserves_flags),
        );
    }
    // SAFETY: as above.
    #[cfg(target_arch = "riscv64")]
    unsafe {
        asm!(
            "ecall",
            in("a7") nr, inlateout("a0") args[0] => ret, in("a1") args[1], in("a2") args[2],
            in("a3") args[3], in("a4") args[4], in("a5") args[5],
            options(nostack, preserves_flags),
        );
    }
    // SAFETY: as above, but that this kernel keeps the vectors.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") nr => ret, in("rdi") args[0], in("rsi") args[1], in("rdx") args[2],
            in("r10") args[3], in("r8") args[4], in("r9") args[5], out("rcx") _, out("r11") _,
            options(nostack, preserves_flags),
        );
    }
    Errno::decode(Word::ptr(ret)).map(Word::as_ptr)
}
