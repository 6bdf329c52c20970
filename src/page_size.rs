//! The page size: a power of two that only the kernel knows, but for x86_64.

use crate::arch;
use crate::call::Call;
use crate::errno::Errno;
use crate::flags::MsyncFlags;
use core::{fmt, ptr};

/// A page size in bytes: a power of two, at least 4096.
///
/// On x86_64 it is 4096. On aarch64 whoever builds the kernel chooses 4, 16 or 64 KiB. On riscv64
/// all kernels have 4 KiB so far, but Linux doesn't promise that. So on these two it is not a
/// constant: ask [`PageSize::find`], or pass the AT_PAGESZ entry of the auxiliary vector to
/// [`PageSize::new`].
///
/// ```
/// use rawmap::PageSize;
/// let page = PageSize::find()?;
/// assert_eq!(page.round_up(1), Some(page.bytes()));
/// assert_eq!(page.round_down(page.bytes() + 1), page.bytes());
/// assert_eq!(page.round_up(usize::MAX), None);
/// assert!(page.is_aligned(2 * page.bytes()) && !page.is_aligned(100));
/// # Ok::<(), rawmap::Errno>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct PageSize {
    log2: u8,
}

impl PageSize {
    /// log2 of the smallest page size that Linux has anywhere: 4096 bytes.
    pub(crate) const MIN_LOG2: u32 = 12;
    /// The smallest page size that Linux has anywhere: 4096 bytes.
    pub(crate) const SMALLEST: Self = Self { log2: Self::MIN_LOG2 as u8 };
    /// log2 of the largest that [`find`](Self::find) asks for: 1 MiB, above any that Linux has.
    pub(crate) const MAX_LOG2: u32 = 20;

    /// The page size where the architecture fixes it: 4096 on x86_64; `None` elsewhere.
    pub const FIXED: Option<Self> = match arch::FIXED_PAGE_SIZE {
        Some(bytes) => Self::new(bytes),
        None => None,
    };

    /// A page size of `bytes`, such as the auxiliary vector's AT_PAGESZ. `None` unless `bytes` is a
    /// power of two and at least 4096.
    ///
    /// ```
    /// use rawmap::PageSize;
    /// assert_eq!(PageSize::new(16384).map(PageSize::bytes), Some(16384));
    /// assert_eq!(PageSize::new(0), None);
    /// assert_eq!(PageSize::new(5000), None);
    /// ```
    #[doc(alias = "AT_PAGESZ")]
    #[must_use]
    pub const fn new(bytes: usize) -> Option<Self> {
        if bytes.is_power_of_two() && bytes.trailing_zeros() >= Self::MIN_LOG2 {
            Some(Self { log2: bytes.trailing_zeros() as u8 })
        } else {
            None
        }
    }

    /// The running kernel's page size.
    ///
    /// No call on x86_64. Elsewhere it makes one to nine calls `msync(2^k, 0, MS_ASYNC)`, from k =
    /// 12 up: a length of 0 touches nothing, and the kernel refuses an address that is not a
    /// multiple of the page size. The result is not cached. If a filter answers EINVAL to some of
    /// these calls, the result is too large; the owners' [`page_size`](crate::page_size) notices
    /// that.
    ///
    /// # Errors
    /// Any error of `msync` that doesn't concern the address, such as ENOSYS or EPERM under a
    /// seccomp filter. EINVAL if the kernel accepts no size up to 1 MiB.
    ///
    /// ```
    /// use rawmap::PageSize;
    /// let page = PageSize::find()?;
    /// assert!(page.bytes() >= 4096 && page.bytes() == 1 << page.log2());
    /// # Ok::<(), rawmap::Errno>(())
    /// ```
    #[doc(alias("getpagesize", "_SC_PAGESIZE"))]
    pub fn find() -> Result<Self, Errno> {
        if let Some(fixed) = Self::FIXED {
            return Ok(fixed);
        }
        Self::probe().map_err(|(_, errno)| errno)
    }

    /// Asks the kernel; where it gives no answer, with which call.
    pub(crate) fn probe() -> Result<Self, (Call, Errno)> {
        let mut log2 = Self::MIN_LOG2;
        loop {
            let addr = ptr::without_provenance_mut(1 << log2);
            let call = Call::msync(addr, 0, MsyncFlags::ASYNC);
            // SAFETY: a range of length 0 holds no memory.
            match unsafe { call.make() } {
                Ok(_) => return Ok(Self { log2: log2 as u8 }),
                Err(Errno::EINVAL) if log2 < Self::MAX_LOG2 => log2 += 1,
                Err(errno) => return Err((call, errno)),
            }
        }
    }

    /// The page size in bytes.
    #[must_use]
    #[inline]
    pub const fn bytes(self) -> usize {
        1 << self.log2
    }

    /// log2 of the page size in bytes.
    #[must_use]
    #[inline]
    pub const fn log2(self) -> u32 {
        self.log2 as u32
    }

    /// Whether `n` bytes are a whole number of pages, or the address `n` is that of a page's first
    /// byte.
    #[must_use]
    #[inline]
    pub const fn is_aligned(self, n: usize) -> bool {
        n & (self.bytes() - 1) == 0
    }

    /// `n` rounded down to a whole number of pages, in bytes.
    #[must_use]
    #[inline]
    pub const fn round_down(self, n: usize) -> usize {
        n & !(self.bytes() - 1)
    }

    /// `n` rounded up to a whole number of pages, in bytes; `None` if that is more than
    /// `usize::MAX`.
    #[must_use]
    #[inline]
    pub const fn round_up(self, n: usize) -> Option<usize> {
        match n.checked_add(self.bytes() - 1) {
            Some(sum) => Some(self.round_down(sum)),
            None => None,
        }
    }
}

impl fmt::Debug for PageSize {
    /// Prints `PageSize(4096)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PageSize({})", self.bytes())
    }
}

impl fmt::Display for PageSize {
    /// Prints the bytes: `4096`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.bytes())
    }
}
