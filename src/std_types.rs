//! Feature `std`: the standard library's errors and file types.

extern crate std;

use crate::errno::Errno;
use crate::flags::{MapFlags, Prot};
use crate::owners::{AsDescriptor, Error, Fd, Refused};
use crate::raw::mmap;
use std::io;
use std::os::fd::{AsFd, AsRawFd};

impl From<Errno> for io::Error {
    /// The same error number, as [`io::Error::from_raw_os_error`] has it.
    ///
    /// ```
    /// use rawmap::Errno;
    /// let error = std::io::Error::from(Errno::EEXIST);
    /// assert_eq!(error.kind(), std::io::ErrorKind::AlreadyExists);
    /// ```
    fn from(errno: Errno) -> Self {
        Self::from_raw_os_error(errno.raw())
    }
}

impl From<Error> for io::Error {
    /// The same error number ([`io::Error::raw_os_error`]). What [`Error`] prints beside it is lost: print that
    /// where it is known.
    ///
    /// ```
    /// use rawmap::MapOptions;
    /// let error = std::io::Error::from(MapOptions::new(0).anonymous().unwrap_err());
    /// assert_eq!(error.raw_os_error(), Some(22));
    /// assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    /// ```
    fn from(error: Error) -> Self {
        Self::from(error.errno())
    }
}

impl<T> From<Refused<T>> for io::Error {
    /// That of its [`Error`].
    fn from(refused: Refused<T>) -> Self {
        Self::from(refused.error())
    }
}

/// All that lends a file descriptor to the standard library lends it to this crate.
///
/// ```
/// use rawmap::MapOptions;
/// let file = std::fs::File::open("/proc/self/exe")?;
/// // SAFETY: a program's file is not written while it runs.
/// let program = unsafe { MapOptions::whole().file(&file, 0)? };
/// assert!(program.starts_with(b"\x7fELF"));
/// # Ok::<(), std::io::Error>(())
/// ```
impl<T: AsFd> AsDescriptor for T {
    fn as_descriptor(&self) -> Fd<'_> {
        // SAFETY: it is open for as long as it is lent, and `Fd` is lent for as long.
        unsafe { Fd::borrow_raw(self.as_fd().as_raw_fd()) }
    }
}

/// [`mmap`] of an open file: anything that lends its descriptor, such as `&File`, `BorrowedFd` or
/// `OwnedFd`.
///
/// One call: `mmap(addr, len, prot, flags, fd, offset)`.
///
/// # Errors
/// As [`mmap`].
///
/// # Safety
/// As [`mmap`].
///
/// ```
/// use rawmap::{MapFlags, Prot, mmap_file, munmap};
/// let file = std::fs::File::open("/proc/self/exe")?;
/// // SAFETY: a new mapping, which nothing else refers to; a running program's file isn't written.
/// unsafe {
///     let map = mmap_file(core::ptr::null_mut(), 4, Prot::READ, MapFlags::PRIVATE, &file, 0)?;
///     assert_eq!(map.cast::<[u8; 4]>().read(), *b"\x7fELF");
///     munmap(map, 4)?;
/// }
/// # Ok::<(), std::io::Error>(())
/// ```
#[inline]
pub unsafe fn mmap_file(
    addr: *mut u8,
    len: usize,
    prot: Prot,
    flags: MapFlags,
    file: impl AsFd,
    offset: u64,
) -> Result<*mut u8, Errno> {
    // SAFETY: the caller's promise is mmap's own.
    unsafe { mmap(addr, len, prot, flags, file.as_fd().as_raw_fd(), offset) }
}
