//! One call each, with the peer's own `Result`: what a caller's code has in it. Never run.
#![no_std]
#![allow(unused_unsafe)] // Some peers are safe.

use core::ptr::null_mut;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// Expands to a function for each peer of each call, named `CALL.PEER`.
macro_rules! sites {
    ($($row:ident $args:tt { $($peer:ident -> $ret:ty $body:block)* })*) => {$($(
        const _: () = {
            #[unsafe(export_name = concat!(stringify!($row), ".", stringify!($peer)))]
            unsafe fn site $args -> $ret {
                // SAFETY: nobody runs it.
                unsafe { $body }
            }
        };
    )*)*};
}

type Unit = Result<(), rawmap::Errno>;
type Word = Result<usize, syscalls::Errno>;
type Bytes = *mut u8;

sites! {
    mmap(len: usize) {
        rawmap -> Result<Bytes, rawmap::Errno> {
            let (prot, flags) = (rawmap::Prot::READ, rawmap::MapFlags::PRIVATE);
            rawmap::mmap_anonymous(null_mut(), len, prot, flags)
        }
        rustix -> rustix::io::Result<*mut core::ffi::c_void> {
            let (prot, flags) = (rustix::mm::ProtFlags::READ, rustix::mm::MapFlags::PRIVATE);
            rustix::mm::mmap_anonymous(null_mut(), len, prot, flags)
        }
        syscalls -> Word { syscalls::syscall6(syscalls::Sysno::mmap, 0, len, 1, 0x22, usize::MAX, 0) }
        libc -> *mut libc::c_void {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            libc::mmap(null_mut(), len, libc::PROT_READ, flags, -1, 0)
        }
    }
    munmap(at: Bytes, len: usize) {
        rawmap -> Unit { rawmap::munmap(at, len) }
        rustix -> rustix::io::Result<()> { rustix::mm::munmap(at.cast(), len) }
        syscalls -> Word { syscalls::syscall2(syscalls::Sysno::munmap, at as usize, len) }
        libc -> i32 { libc::munmap(at.cast(), len) }
    }
    mprotect(at: Bytes, len: usize) {
        rawmap -> Unit { rawmap::mprotect(at, len, rawmap::Prot::READ) }
        rustix -> rustix::io::Result<()> {
            rustix::mm::mprotect(at.cast(), len, rustix::mm::MprotectFlags::READ)
        }
        syscalls -> Word { syscalls::syscall3(syscalls::Sysno::mprotect, at as usize, len, 1) }
        libc -> i32 { libc::mprotect(at.cast(), len, libc::PROT_READ) }
    }
    msync(at: Bytes, len: usize) {
        rawmap -> Unit { rawmap::msync(at, len, rawmap::MsyncFlags::SYNC) }
        rustix -> rustix::io::Result<()> {
            rustix::mm::msync(at.cast(), len, rustix::mm::MsyncFlags::SYNC)
        }
        syscalls -> Word { syscalls::syscall3(syscalls::Sysno::msync, at as usize, len, 4) }
        libc -> i32 { libc::msync(at.cast(), len, libc::MS_SYNC) }
    }
    mremap(at: Bytes, len: usize, new: usize) {
        rawmap -> Result<Bytes, rawmap::Errno> {
            rawmap::mremap(at, len, new, rawmap::MremapFlags::MAYMOVE, null_mut())
        }
        rustix -> rustix::io::Result<*mut core::ffi::c_void> {
            rustix::mm::mremap(at.cast(), len, new, rustix::mm::MremapFlags::MAYMOVE)
        }
        syscalls -> Word {
            syscalls::syscall5(syscalls::Sysno::mremap, at as usize, len, new, 1, 0)
        }
        libc -> *mut libc::c_void { libc::mremap(at.cast(), len, new, libc::MREMAP_MAYMOVE) }
    }
    madvise(at: Bytes, len: usize) {
        rawmap -> Unit { rawmap::madvise(at, len, rawmap::Advice::DONTNEED) }
        rustix -> rustix::io::Result<()> {
            rustix::mm::madvise(at.cast(), len, rustix::mm::Advice::LinuxDontNeed)
        }
        syscalls -> Word { syscalls::syscall3(syscalls::Sysno::madvise, at as usize, len, 4) }
        libc -> i32 { libc::madvise(at.cast(), len, libc::MADV_DONTNEED) }
    }
}
