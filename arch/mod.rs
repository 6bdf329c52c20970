//! What differs by architecture, one file each: the system-call stubs and why their operands are
//! right, the call numbers, and what only that architecture has.
//!
//! The files hold the same names in the same order, so any two can be read side by side. A port
//! copies one, fills it in, and adds its two lines here.

#[cfg(not(all(
    any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64"),
    target_pointer_width = "64",
    any(target_os = "linux", target_os = "android", target_os = "none"),
)))]
compile_error!(
    "rawmap supports Linux on x86_64, aarch64 and riscv64 with 64-bit pointers; \
     a port to another architecture is one new file in `arch/`, named in `arch/mod.rs`"
);

#[cfg(target_arch = "aarch64")]
#[cfg_attr(miri, allow(dead_code, unreachable_pub))]
mod aarch64;
#[cfg(target_arch = "aarch64")]
pub use aarch64::*;

#[cfg(all(target_arch = "riscv64", target_pointer_width = "64"))]
#[cfg_attr(miri, allow(dead_code, unreachable_pub))]
mod riscv64;
#[cfg(all(target_arch = "riscv64", target_pointer_width = "64"))]
pub use riscv64::*;

#[cfg(all(target_arch = "x86_64", target_pointer_width = "64"))]
#[cfg_attr(miri, allow(dead_code, unreachable_pub))]
mod x86_64;
#[cfg(all(target_arch = "x86_64", target_pointer_width = "64"))]
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

// Under Miri, what executes instructions is replaced by a model. A name that is imported by itself
// hides the one that the lines above import.
#[cfg(miri)]
mod miri;
#[cfg(miri)]
pub use miri::{MOST, syscall0, syscall1, syscall2, syscall3, syscall4, syscall5, syscall6};
#[cfg(miri)]
pub(crate) use miri::{launder, sync_instructions};
