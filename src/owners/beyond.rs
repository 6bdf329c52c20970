//! Calls of other families, which the owners make where they must know more than an address.

use crate::arch::{self, nr};
use crate::errno::Errno;
use crate::raw::RawFd;
use crate::word::Word;
use core::ffi::CStr;

/// Whether a descriptor of this number may be given another file by safe code: `dup2` over standard input, output
/// or error.
#[inline]
pub(super) const fn is_replaceable(fd: RawFd) -> bool {
    0 <= fd && fd <= 2
}

/// Closes a descriptor that is this crate's own.
pub(super) fn close(fd: RawFd) {
    // SAFETY: nobody else has the number; or, of 0, 1 and 2, nobody owns it.
    unsafe { arch::syscall1(Word::signed(fd), nr::CLOSE) };
}

/// The magic number of `/proc`.
pub(super) const PROC_SUPER_MAGIC: usize = 0x9fa0;

/// The type of the file system that a file lies on, and the size of its blocks (`statfs.f_type` and `f_bsize`). One
/// call: `fstatfs(fd, ...)`.
pub(super) fn fstatfs(fd: RawFd) -> Result<(usize, usize), Errno> {
    // 120 bytes, on any architecture.
    let mut status = [0_usize; 16];
    let out = Word::ptr(status.as_mut_ptr().cast());
    // SAFETY: the kernel writes a `struct statfs` there, which is not larger.
    Errno::decode(unsafe { arch::syscall2(Word::signed(fd), out, nr::FSTATFS) })?;
    Ok((status[0], status[1]))
}

/// Reads the first bytes of a small file of `/proc`, and says whether it is the kernel's: it is not in a folder that
/// somebody made to `chroot` to, nor under an emulator that makes such a file itself.
///
/// Four calls: `openat`, `fstatfs`, `pread64` and `close`. (Not `read`, which begins where another thread may have set
/// the file's offset meanwhile, by a copy of the descriptor.)
///
/// # Safety
/// `size` bytes from `start` on may be written.
pub(super) unsafe fn read_proc(path: &CStr, start: Word, size: Word) -> Result<bool, Errno> {
    let fd = opened(path)?;
    // First: what is not known to be the kernel's is not read.
    let read = fstatfs(fd).and_then(|(kind, _)| {
        // SAFETY: the kernel writes at most that many bytes there, by the caller's promise.
        let read =
            unsafe { arch::syscall4(Word::signed(fd), start, size, Word::ZERO, nr::PREAD64) };
        Errno::decode(read).map(|_| kind == PROC_SUPER_MAGIC)
    });
    close(fd);
    read
}

/// Opens a file for reading, by a [lasting] number.
fn opened(path: &CStr) -> Result<RawFd, Errno> {
    const AT_FDCWD: i32 = -100;
    const O_CLOEXEC: usize = 0o2_000_000;
    let name = Word::ptr(path.as_ptr().cast_mut().cast());
    let (folder, flags) = (Word::signed(AT_FDCWD), Word::int(O_CLOEXEC));
    // SAFETY: the kernel reads the path, which ends with a zero.
    lasting(&|| unsafe { arch::syscall4(folder, name, flags, Word::ZERO, nr::OPENAT) })
}

/// A new descriptor, by a number that safe code can't give another file. 0, 1 and 2, which the kernel answers where a
/// program has closed them, are held until it answers another one, and then closed: also where another thread has
/// just then made its standard input of one, which it loses.
pub(super) fn lasting(make: &impl Fn() -> Word) -> Result<RawFd, Errno> {
    let fd = Errno::decode(make())?.bits() as RawFd;
    if !is_replaceable(fd) {
        return Ok(fd);
    }
    let other = lasting(make);
    close(fd);
    other
}

/// Whether memory is counted strictly (`vm.overcommit_memory` 2), or may be for all that can be known.
pub(super) fn counts_strictly() -> bool {
    let mut mode = [0_u8; 2];
    let (start, size) = (Word::ptr(mode.as_mut_ptr()), Word::int(mode.len()));
    // SAFETY: `mode` is so large.
    let asked = unsafe { read_proc(c"/proc/sys/vm/overcommit_memory", start, size) };
    asked != Ok(true) || !matches!(mode[0], b'0' | b'1')
}

/// How long a file may become that this process makes longer, in bytes, as its limit says now. It is the
/// signal SIGXFSZ if it is longer. 0 where that can't be asked.
pub(super) fn file_size_limit() -> usize {
    const RLIMIT_FSIZE: usize = 1;
    limit(RLIMIT_FSIZE).unwrap_or(0)
}

/// A limit of this process, as it is now. One call: `prlimit64`; `None` where that is refused.
pub(super) fn limit(resource: usize) -> Option<usize> {
    let mut limit = [usize::MAX; 2];
    let out = Word::ptr(limit.as_mut_ptr().cast());
    // SAFETY: the kernel writes two words there, or none.
    let asked =
        unsafe { arch::syscall4(Word::ZERO, Word::int(resource), Word::ZERO, out, nr::PRLIMIT64) };
    Errno::decode(asked).ok().map(|_| limit[0])
}
