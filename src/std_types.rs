//! Feature `std`: the standard library's errors and file types.

extern crate std;

use crate::{Errno, Error, MapFlags, MapOptions, Mapping, Prot, Raw, mmap};
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
    /// With the error number's kind, and the whole [`Error`] inside ([`io::Error::get_ref`]), which
    /// has the number.
    ///
    /// ```
    /// use rawmap::MapOptions;
    /// let error = std::io::Error::from(MapOptions::new(0).anonymous().unwrap_err());
    /// assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    /// ```
    fn from(error: Error) -> Self {
        Self::new(Self::from(error.errno()).kind(), error)
    }
}

impl MapOptions<Raw> {
    /// [`file`](Self::file) of anything that lends its descriptor, such as `&File`. Safe, since of a
    /// raw mapping only raw pointers can be had.
    ///
    /// # Errors
    /// As [`file`](Self::file).
    ///
    /// ```
    /// use rawmap::{MapOptions, Prot};
    /// let file = std::fs::File::open("/proc/self/exe")?;
    /// let map = MapOptions::new(4).prot(Prot::READ).file_of(&file, 0)?;
    /// // SAFETY: four bytes that can be read.
    /// assert_eq!(unsafe { map.as_ptr().cast::<[u8; 4]>().read() }, *b"\x7fELF");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn file_of(self, file: impl AsFd, offset: u64) -> Result<Mapping<Raw>, Error> {
        // SAFETY: the descriptor is lent for the call, and Raw promises nothing of the bytes.
        unsafe { self.file(file.as_fd().as_raw_fd(), offset) }
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
