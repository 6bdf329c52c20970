//! [`Front`]: bytes that grow and shrink at their end, and never move.

use crate::flags::Advice;
use crate::owners::error::Error;
use crate::owners::reservation::{Mode, Reservation};
use crate::page_size::PageSize;
use core::ffi::CStr;
use core::ops::{Deref, DerefMut, RangeBounds};
use core::slice;

/// Reserved address space, the front of which is memory: a `&mut [u8]` that grows and shrinks at its end, and
/// never moves. It is for growing tables and linear memories. One borrow lends all of its bytes; an arena,
/// which lends parts of its memory at the same time, is built on a
/// [`Reservation`](crate::Reservation#an-arena).
///
/// ```
/// use rawmap::Front;
/// let mut table = Front::reserve(1 << 32)?; // address space, and no memory
/// table.resize(10)?;
/// table[9] = 1;
/// let at = table.as_ptr();
/// table.resize(1 << 24)?;
/// assert_eq!((table.as_ptr(), table[9], table[(1 << 24) - 1]), (at, 1, 0));
/// assert_eq!((table.len(), table.reserved()), (1 << 24, 1 << 32));
/// # Ok::<(), rawmap::Error>(())
/// ```
#[derive(Debug)]
pub struct Front {
    // Beside the invariants of `Reservation`: it is strict, and its first pages, those that hold any of the
    // `len` bytes, are committed. What follows the `len` bytes on the last of them is zeroes.
    space: Reservation,
    len: usize,
}

impl Front {
    /// Reserves address space for `most` bytes, rounded up to whole pages. The length is 0 at first.
    ///
    /// One call: that of [`Reservation::new`].
    ///
    /// # Errors
    /// Those of [`Reservation::new`].
    pub fn reserve(most: usize) -> Result<Self, Error> {
        let space = Reservation::new(most, Mode::Strict).map_err(Error::of("Front::reserve"))?;
        Ok(Self { space, len: 0 })
    }

    /// Makes it `len` bytes long. The bytes that it gains are zeroes. Pages that it loses are given back, and
    /// are no longer [counted](crate#granules-and-what-is-counted).
    ///
    /// One call, if the number of pages changes: to grow `mprotect(end, ..., PROT_READ|PROT_WRITE)`, and to
    /// shrink that of [`Reservation::decommit`].
    ///
    /// # Errors
    /// Fails if `len` is more than what is reserved; ENOMEM if there is not so much memory. After an error the
    /// length is as it was, and pages that were committed before the kernel refused are given back.
    ///
    /// ```
    /// use rawmap::Front;
    /// let mut front = Front::reserve(1 << 20)?;
    /// front.resize(5000)?;
    /// front.fill(7);
    /// front.resize(1)?;
    /// front.resize(5000)?;
    /// assert_eq!((front[0], front[1], front[4999]), (7, 0, 0));
    /// assert!(front.resize((1 << 20) + 1).is_err());
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub fn resize(&mut self, len: usize) -> Result<(), Error> {
        let page = self.page();
        if len > self.space.len() {
            let (most, wrong) = (self.space.len(), crate::owners::error::Wrong::TooLong);
            return Err(Error::wrong("Front::resize", "the length", len, wrong, most));
        }
        // Neither wraps: both are at most what is reserved, whole pages.
        let (old_end, end) =
            (page.round_up(self.len).unwrap_or(0), page.round_up(len).unwrap_or(0));
        if end > old_end {
            self.space.commit(old_end..end).inspect_err(|_| {
                // If that is refused as well, the pages stay counted until it grows or is dropped.
                let _ = self.space.decommit(old_end..end);
            })?;
        } else if end < old_end {
            self.space.decommit(end..old_end)?;
        }
        if len < self.len {
            // Only what is still committed may be lent.
            self.len = self.len.min(end);
            self[len..].fill(0);
        }
        self.len = len;
        Ok(())
    }

    /// How many bytes are reserved, which is the most that the length can become.
    #[must_use]
    pub const fn reserved(&self) -> usize {
        self.space.len()
    }

    /// Tells the kernel how pages will be used, as [`Mapping::advise`](crate::Mapping::advise) does. The range
    /// may be any of the reserved bytes. Pages lose the advice when they are given back. One call.
    ///
    /// # Errors
    /// Those of [`Mapping::advise`](crate::Mapping::advise).
    pub fn advise(&self, range: impl RangeBounds<usize>, advice: Advice) -> Result<(), Error> {
        self.space.advise(range, advice).map_err(Error::of("Front::advise"))
    }

    /// Names pages, as [`Mapping::name`](crate::Mapping::name) does. The range may be any of the reserved
    /// bytes. One call.
    ///
    /// # Errors
    /// Those of [`Mapping::name`](crate::Mapping::name).
    pub fn name(&self, range: impl RangeBounds<usize>, name: &CStr) -> Result<(), Error> {
        self.space.name(range, name).map_err(Error::of("Front::name"))
    }

    fn page(&self) -> PageSize {
        self.space.granule()
    }
}

impl Deref for Front {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: the pages of these bytes are committed, private, and reached through this owner alone, which
        // gives none of them back while they are borrowed.
        unsafe { slice::from_raw_parts(self.space.as_ptr(), self.len) }
    }
}

impl DerefMut for Front {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as for deref; and by `&mut` this is the only borrow.
        unsafe { slice::from_raw_parts_mut(self.space.as_ptr(), self.len) }
    }
}

impl AsRef<[u8]> for Front {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl AsMut<[u8]> for Front {
    fn as_mut(&mut self) -> &mut [u8] {
        self
    }
}
