//! What the owners' operations fail with.

use crate::{Call, Errno, Limits, PageSize, Reason};
use core::fmt;

/// Why an operation of an owner failed: the call that the kernel refused, or what was wrong before
/// any call was made. Sizes are in bytes.
///
/// `Display` prints everything that is known, in one line:
///
/// ```
/// use rawmap::MapOptions;
/// let error = MapOptions::new(0).anonymous().unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "mmap(NULL, 0, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0): \
///      EINVAL: invalid argument: the length is 0",
/// );
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The kernel refused this call with this error.
    Refused {
        /// The call that was made.
        call: Call,
        /// What the kernel answered.
        errno: Errno,
    },
    /// The range is not within the owner.
    OutOfRange {
        /// Where the range begins, counted from the owner's first byte.
        offset: usize,
        /// The range's length.
        len: usize,
        /// The owner's length.
        size: usize,
    },
    /// A number that must be a multiple of another isn't.
    Unaligned {
        /// The number: an offset, length, or address.
        value: usize,
        /// What it must be a multiple of: the page size, the huge-page size, an alignment.
        granule: usize,
    },
    /// The length is more than `isize::MAX`, which no Rust object may have.
    TooLong {
        /// The length.
        len: usize,
    },
    /// The alignment is not a power of two.
    BadAlignment {
        /// The alignment.
        align: usize,
    },
    /// `MAP_HUGETLB` without a size: the system's default, and with it the granule, is not known.
    HugeSizeUnknown,
    /// The kernel placed the mapping at address 0, which this crate's owners can't hold. It was
    /// unmapped again.
    AtZero,
    /// The two mappings don't lie next to each other, or are not of the same kind.
    NotAdjacent,
    /// The two differ in length or in the size of their pages, or these are huge.
    Mismatch,
    /// A length of 0 where there must be something.
    Empty,
    /// The new length is less than that of what is to grow.
    TooShort {
        /// The new length.
        len: usize,
        /// The owner's length.
        size: usize,
    },
    /// A protection or advice that reaches further than the owner, or further than a safe function
    /// may: the raw function takes it.
    NotOffered,
    /// The instructions that were written may not run yet: the kernel refused
    /// `riscv_flush_icache`, which is none of this crate's calls.
    NotSynced {
        /// What the kernel answered.
        errno: Errno,
    },
}

impl Error {
    /// The error as a number: the kernel's, or EINVAL where it was not asked.
    ///
    /// ```
    /// use rawmap::{Errno, MapOptions};
    /// let mut memory = MapOptions::new(1).anonymous()?;
    /// let error = memory.shrink(usize::MAX).unwrap_err();
    /// assert_eq!((error.errno(), error.call()), (Errno::EINVAL, None));
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    #[must_use]
    pub const fn errno(&self) -> Errno {
        match self {
            Self::Refused { errno, .. } | Self::NotSynced { errno } => *errno,
            _ => Errno::EINVAL,
        }
    }

    /// The call that the kernel refused, if one was made.
    ///
    /// ```
    /// use rawmap::{MapOptions, Operation};
    /// let error = MapOptions::new(0).anonymous().unwrap_err();
    /// let operation = error.call().unwrap().operation();
    /// assert!(matches!(operation, Operation::Mmap { len: 0, fd: -1, .. }));
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    #[must_use]
    pub const fn call(&self) -> Option<Call> {
        match self {
            Self::Refused { call, .. } => Some(*call),
            _ => None,
        }
    }

    /// Why the kernel refused the call, where [`Call::check`] can tell from its words. No call.
    ///
    /// ```
    /// use rawmap::{MapOptions, MsyncFlags, Reason};
    /// let memory = MapOptions::new(1).anonymous()?;
    /// let error = memory.sync(0, 1, MsyncFlags::SYNC | MsyncFlags::ASYNC).unwrap_err();
    /// assert_eq!(error.reason(), Some(Reason::SyncAndAsync));
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    #[must_use]
    pub fn reason(&self) -> Option<Reason> {
        let Self::Refused { call, errno } = self else { return None };
        let refusal = call.check(&Limits::new(super::known_page_size()?)).err()?;
        (refusal.errno() == *errno).then_some(refusal.reason())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Refused { call, errno } => {
                write!(f, "{call}: {errno}")?;
                match self.reason() {
                    Some(reason) => write!(f, ": {reason}"),
                    None => Ok(()),
                }
            }
            Self::OutOfRange { offset, len, size } => {
                write!(f, "{len} bytes from offset {offset} on are not within {size} bytes")
            }
            Self::Unaligned { value, granule } => {
                write!(f, "{value:#x} is not a multiple of {granule}")
            }
            Self::TooLong { len } => write!(f, "{len} bytes are more than isize::MAX"),
            Self::BadAlignment { align } => write!(f, "alignment {align} is not a power of two"),
            Self::HugeSizeUnknown => f.write_str("MAP_HUGETLB needs the size of its pages"),
            Self::AtZero => f.write_str("the kernel placed the mapping at address 0"),
            Self::NotAdjacent => f.write_str("the mappings are not adjacent, or differ in kind"),
            Self::Mismatch => {
                f.write_str("the two differ in length or in the size of their pages, or are huge")
            }
            Self::Empty => f.write_str("the length is 0"),
            Self::TooShort { len, size } => write!(f, "{len} bytes are less than {size}"),
            Self::NotOffered => {
                f.write_str("not offered by a safe function: see advise_any, or the raw mprotect")
            }
            Self::NotSynced { errno } => write!(f, "riscv_flush_icache: {errno}"),
        }
    }
}

impl fmt::Debug for Error {
    /// Prints what `Display` prints.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl core::error::Error for Error {}

/// Makes a call, and says which it was if it fails.
///
/// # Safety
/// That of the raw function of the same name.
#[inline]
pub(super) unsafe fn made(call: Call) -> Result<*mut u8, Error> {
    // SAFETY: the caller's promise.
    match unsafe { call.make() } {
        Ok(word) => Ok(word.as_ptr()),
        Err(errno) => Err(Error::Refused { call, errno }),
    }
}

/// The error, if a range doesn't lie within `size` bytes.
pub(super) fn check_within(offset: usize, len: usize, size: usize) -> Result<(), Error> {
    if offset <= size && len <= size - offset {
        Ok(())
    } else {
        Err(Error::OutOfRange { offset, len, size })
    }
}

/// The error, if a range doesn't lie within `size` bytes, or doesn't begin on a whole granule.
pub(super) fn check_range(
    offset: usize,
    len: usize,
    size: usize,
    granule: PageSize,
) -> Result<(), Error> {
    check_within(offset, len, size)?;
    if !granule.is_aligned(offset) {
        return Err(Error::Unaligned { value: offset, granule: granule.bytes() });
    }
    Ok(())
}
