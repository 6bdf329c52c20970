//! The little that this program wants of Linux besides memory, made through the crate's own stubs.

use core::arch::global_asm;
use core::ffi::CStr;
use core::fmt;
use rawmap::{Errno, Fd, RawFd, Word, arch};

#[cfg(target_arch = "x86_64")]
mod nr {
    pub(super) const WRITE: usize = 1;
    pub(super) const IOCTL: usize = 16;
    pub(super) const GETPID: usize = 39;
    pub(super) const REBOOT: usize = 169;
    pub(super) const EXIT_GROUP: usize = 231;
    pub(super) const OPENAT: usize = 257;
}
#[cfg(not(target_arch = "x86_64"))]
mod nr {
    pub(super) const IOCTL: usize = 29;
    pub(super) const OPENAT: usize = 56;
    pub(super) const WRITE: usize = 64;
    pub(super) const EXIT_GROUP: usize = 94;
    pub(super) const REBOOT: usize = 142;
    pub(super) const GETPID: usize = 172;
}

// Linux starts a program with the stack pointer at argc, a multiple of 16, and nothing else worth
// having. The call puts x86_64's stack where its functions expect it.
#[cfg(target_arch = "x86_64")]
global_asm!(
    ".globl _start", "_start:", "xor ebp, ebp", "mov rdi, rsp", "call {}", sym crate::start
);
#[cfg(target_arch = "aarch64")]
global_asm!(
    ".globl _start", "_start:", "mov x29, xzr", "mov x30, xzr", "mov x0, sp", "bl {}",
    sym crate::start
);
#[cfg(target_arch = "riscv64")]
global_asm!(
    ".globl _start", "_start:",
    // What the linker relaxes is addressed from gp; this load of it must not be.
    ".option push", ".option norelax", "la gp, __global_pointer$", ".option pop",
    "mv a0, sp", "call {}",
    sym crate::start
);

/// What Linux leaves on the stack: argc, the arguments, null, the environment, null, and the
/// auxiliary vector: pairs of a type and a value, the last of type 0.
#[derive(Clone, Copy)]
pub(crate) struct Stack(*const usize);

impl Stack {
    /// # Safety
    /// It must be the stack pointer with which Linux started the program.
    pub(crate) unsafe fn new(sp: *const usize) -> Self {
        Self(sp)
    }

    /// The arguments, of which the first is the program's name.
    pub(crate) fn args(self) -> impl Iterator<Item = &'static CStr> {
        // SAFETY: argc is there, and behind it so many pointers to C strings, which nobody changes.
        let count = unsafe { self.0.read() };
        (0..count).map(move |n| unsafe {
            // SAFETY: as above.
            CStr::from_ptr(self.0.add(1 + n).cast::<*const core::ffi::c_char>().read())
        })
    }

    /// The auxiliary vector: behind the arguments and their null, the environment and its null.
    pub(crate) fn auxv(self) -> *const [usize; 2] {
        // SAFETY: all of that is there.
        unsafe {
            let mut at = self.0.add(self.0.read() + 2);
            while at.read() != 0 {
                at = at.add(1);
            }
            at.add(1).cast()
        }
    }
}

/// Standard output.
pub(crate) struct Out;

impl fmt::Write for Out {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text.as_bytes();
        while !rest.is_empty() {
            let start = Word::ptr(rest.as_ptr().cast_mut());
            // SAFETY: write reads the bytes of `rest`.
            let ret =
                unsafe { arch::syscall3(Word::int(1), start, Word::int(rest.len()), nr::WRITE) };
            match Errno::decode(ret) {
                Ok(written) => rest = rest.get(written.bits()..).ok_or(fmt::Error)?,
                Err(Errno::EINTR) => {}
                Err(_) => return Err(fmt::Error),
            }
        }
        Ok(())
    }
}

/// Opens a file for reading. It is never closed: it goes with the program.
pub(crate) fn open(path: &CStr) -> Result<Fd<'static>, Errno> {
    const AT_FDCWD: i32 = -100;
    let path = Word::ptr(path.as_ptr().cast_mut().cast());
    // SAFETY: openat reads the path, which is a C string.
    let ret = unsafe { arch::syscall3(Word::signed(AT_FDCWD), path, Word::ZERO, nr::OPENAT) };
    let fd = Errno::decode(ret)?.bits() as RawFd;
    // SAFETY: opened just now, and never closed.
    Ok(unsafe { Fd::borrow_raw(fd) })
}

/// Ends the program; if it is the first of the machine, the machine.
pub(crate) fn exit(code: i32) -> ! {
    /// With an argument of 1 it waits until the terminal has printed everything.
    const TCSBRK: usize = 0x5409;
    // SAFETY: none of these touches this program's memory. The numbers of reboot are its two magic
    // ones, and LINUX_REBOOT_CMD_POWER_OFF.
    unsafe {
        if arch::syscall0(nr::GETPID).bits() == 1 {
            arch::syscall3(Word::int(1), Word::int(TCSBRK), Word::int(1), nr::IOCTL);
            let [a, b, off] = [0xfee1_dead, 0x2812_1969, 0x4321_fedc].map(Word::int);
            arch::syscall3(a, b, off, nr::REBOOT);
        }
        loop {
            arch::syscall1(Word::signed(code), nr::EXIT_GROUP);
        }
    }
}
