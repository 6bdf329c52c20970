//! Every raw function, once, as a function of its own: what ci/disasm.sh looks at for how results
//! come back and what the code refers to. Compiled, never run.
#![no_std]

use rawmap::{
    Advice, MapFlags, MlockAllFlags, MlockFlags, MremapFlags, MsealFlags, MsyncFlags, Prot, RawFd,
};

/// What an error is turned into on its way out: by itself, or in a control into something that
/// must make a check fail.
#[cfg(not(any(control = "memory", control = "panic")))]
mod error {
    pub type Error = rawmap::Errno;

    #[inline(always)]
    pub fn error(errno: Error) -> Error {
        errno
    }
}

/// An error smaller than a word: the `Result` with a pointer comes back through memory.
#[cfg(control = "memory")]
mod error {
    pub type Error = core::num::NonZeroU32;

    #[inline(always)]
    pub fn error(errno: rawmap::Errno) -> Error {
        // SAFETY: an error number is not 0.
        unsafe { Error::new_unchecked(errno.raw() as u32) }
    }
}

/// A panic: a call, and a static with the message.
#[cfg(control = "panic")]
mod error {
    pub type Error = rawmap::Errno;

    #[inline(always)]
    pub fn error(errno: Error) -> Error {
        assert!(errno != rawmap::Errno::EINVAL);
        errno
    }
}

use error::{Error, error};

/// Expands to one function for each raw function, under the raw function's name.
macro_rules! calls {
    ($($name:ident($($arg:ident: $t:ty),*) -> $ok:ty;)*) => {$(
        /// # Safety
        /// Never run.
        #[unsafe(no_mangle)]
        #[inline(never)]
        pub unsafe fn $name($($arg: $t),*) -> Result<$ok, Error> {
            // SAFETY: never run.
            unsafe { rawmap::$name($($arg),*) }.map_err(error)
        }
    )*};
}

calls! {
    mmap(addr: *mut u8, len: usize, prot: Prot, flags: MapFlags, fd: RawFd, offset: u64) -> *mut u8;
    mmap_anonymous(addr: *mut u8, len: usize, prot: Prot, flags: MapFlags) -> *mut u8;
    mremap(old: *mut u8, old_len: usize, new_len: usize, flags: MremapFlags, new: *mut u8) -> *mut u8;
    munmap(addr: *mut u8, len: usize) -> ();
    mprotect(addr: *mut u8, len: usize, prot: Prot) -> ();
    msync(addr: *mut u8, len: usize, flags: MsyncFlags) -> ();
    madvise(addr: *mut u8, len: usize, advice: Advice) -> ();
    mincore(addr: *mut u8, len: usize, vec: *mut u8) -> ();
    mlock(addr: *mut u8, len: usize) -> ();
    mlock2(addr: *mut u8, len: usize, flags: MlockFlags) -> ();
    munlock(addr: *mut u8, len: usize) -> ();
    mlockall(flags: MlockAllFlags) -> ();
    munlockall() -> ();
    mseal(addr: *mut u8, len: usize, flags: MsealFlags) -> ();
}
