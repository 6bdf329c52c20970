#![no_std]
#![no_main]
// Else the loop in memcpy would become a call of memcpy.
#![no_builtins]

mod libc_parts;

use core::arch::global_asm;
use rawmap::{Error, MapOptions, Word, arch, set_auxv};

const X86: bool = cfg!(target_arch = "x86_64");
const WRITE: usize = if X86 { 1 } else { 64 };
const EXIT_GROUP: usize = if X86 { 231 } else { 94 };

// Linux starts a program with the stack pointer at argc.
#[cfg(target_arch = "x86_64")]
global_asm!(
    ".globl _start", "_start:",
    "mov rdi, rsp", "call {}", sym start,
);
#[cfg(target_arch = "aarch64")]
global_asm!(
    ".globl _start", "_start:",
    "mov x0, sp", "bl {}", sym start,
);
#[cfg(target_arch = "riscv64")]
global_asm!(
    ".globl _start", "_start:",
    ".option push", ".option norelax",
    "la gp, __global_pointer$", ".option pop",
    "mv a0, sp", "call {}", sym start,
);

extern "C" fn start(argc: *const usize) -> ! {
    // SAFETY: Linux has put there: argc, the arguments and 0,
    // the environment and 0, and then the vector.
    unsafe {
        let mut at = argc.add(argc.read() + 2);
        while at.read() != 0 {
            at = at.add(1);
        }
        set_auxv(at.add(1).cast());
    }
    exit(if hello().is_ok() { 0 } else { 1 })
}

fn hello() -> Result<(), Error> {
    let mut memory = MapOptions::new(4096).anonymous()?;
    memory[..6].copy_from_slice(b"hello\n");
    let start = Word::ptr(memory.as_mut_ptr());
    let (stdout, len) = (Word::int(1), Word::int(6));
    // SAFETY: the call reads six bytes of ours.
    unsafe { arch::syscall3(stdout, start, len, WRITE) };
    Ok(())
}

fn exit(status: usize) -> ! {
    loop {
        // SAFETY: it ends the program.
        unsafe { arch::syscall1(Word::int(status), EXIT_GROUP) };
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    exit(101)
}
