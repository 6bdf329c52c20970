//! Feature `std`: the standard library's errors and file types.

extern crate std;

use crate::errno::Errno;
use crate::flags::{MapFlags, Prot};
use crate::owners::{AsDescriptor, Error, Fd, Queue, Refused};
use crate::raw::mmap;
use std::io::{self, BufRead, Read, Write};
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
    /// Keeps the error number ([`io::Error::raw_os_error`]). The rest of what [`Error`] prints is lost, so
    /// print the error before you convert it.
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
    /// Converts its [`Error`], and drops the owner.
    fn from(refused: Refused<T>) -> Self {
        Self::from(refused.error())
    }
}

/// Every type that lends a file descriptor to the standard library also lends it to this crate.
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

impl Queue {
    /// Reads once from `source` into all the free room, and returns how many bytes it got. 0 means that the
    /// source has ended.
    ///
    /// # Errors
    /// Those of `source`; if the read was interrupted, it is repeated instead. ENOBUFS if there is no free
    /// room: consume unread bytes first.
    ///
    /// This program looks at the lines of standard input, and copies none of them:
    ///
    /// ```
    /// use rawmap::Queue;
    /// let mut input = Queue::new(1 << 16)?;
    /// while input.fill_from(std::io::stdin())? != 0 {
    ///     while let Some(line) = input.take_until(b'\n') {
    ///         println!("{} bytes", line.len() - 1);
    ///     }
    /// }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn fill_from(&mut self, mut source: impl Read) -> io::Result<usize> {
        let room = self.room();
        if room.is_empty() {
            return Err(Errno::ENOBUFS.into());
        }
        let most = room.len();
        loop {
            match source.read(room) {
                Ok(count) => {
                    // A source may say more than it was given room for, which it has not written.
                    let count = count.min(most);
                    self.written(count);
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Writes all unread bytes to `sink`, consumes them, and returns how many they were.
    ///
    /// # Errors
    /// Those of `sink`; if a write was interrupted, it is repeated instead. Bytes that `sink` did not take are
    /// still unread.
    ///
    /// ```
    /// use rawmap::Queue;
    /// use std::io::Write;
    /// let mut output = Queue::new(1 << 16)?;
    /// write!(output, "{} {}", 1, 2)?;
    /// let mut sink = Vec::new();
    /// assert_eq!(output.drain_to(&mut sink)?, 3);
    /// assert_eq!(sink, b"1 2");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn drain_to(&mut self, mut sink: impl Write) -> io::Result<usize> {
        let mut all = 0;
        while !self.unread().is_empty() {
            match sink.write(self.unread()) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    let count = count.min(self.unread().len());
                    self.consume(count);
                    all += count;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(all)
    }
}

impl Read for Queue {
    /// Copies and consumes unread bytes; 0 bytes if there are none.
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.unread().read(out)?;
        self.consume(count);
        Ok(count)
    }
}

impl BufRead for Queue {
    /// The unread bytes. They are empty where the queue is empty now; more may be written later.
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        Ok(self.unread())
    }

    fn consume(&mut self, count: usize) {
        Queue::consume(self, count);
    }
}

impl Write for Queue {
    /// Stores as many bytes as there is room for; 0 bytes if there is no room, which `write_all` takes for an
    /// error.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.room().write(bytes)?;
        self.written(count);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// [`mmap`] of an open file: anything that lends its descriptor, such as `&File`, `BorrowedFd` or
/// `OwnedFd`.
///
/// One call: `mmap(addr, len, prot, flags, fd, offset)`.
///
/// # Errors
/// Those of [`mmap`].
///
/// # Safety
/// That of [`mmap`].
///
/// ```
/// use rawmap::{MapFlags, Prot, mmap_file, munmap};
/// let file = std::fs::File::open("/proc/self/exe")?;
/// // SAFETY: a new mapping, which nothing else refers to; a
/// // running program's file isn't written.
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
