//! Ranges of bytes, as users give them, and the pages that they mean.

use crate::owners::error::{Error, Wrong};
use crate::page_size::PageSize;
use core::ops::{Bound, Range, RangeBounds};

/// The bytes that `range` means of `len`, if they lie within it.
///
/// # Errors
/// That a range goes beyond the end, or is backwards.
#[inline]
pub(super) fn within(
    operation: &'static str,
    range: impl RangeBounds<usize>,
    len: usize,
) -> Result<Range<usize>, Error> {
    let too_large =
        |argument, value| Error::wrong(operation, argument, value, Wrong::BeyondLength, len);
    let start = match range.start_bound() {
        Bound::Included(start) => *start,
        // Nothing comes after the last number, and so nothing after `len` either.
        Bound::Excluded(before) => match before.checked_add(1) {
            Some(start) => start,
            None => return Err(too_large("the range's start", *before)),
        },
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(last) => match last.checked_add(1) {
            Some(end) => end,
            None => return Err(too_large("the range's end", *last)),
        },
        Bound::Excluded(end) => *end,
        Bound::Unbounded => len,
    };
    if end > len {
        Err(too_large("the range's end", end))
    } else if start > end {
        Err(if start > len {
            too_large("the range's start", start)
        } else {
            Error::wrong(operation, "the range's end", end, Wrong::TooSmall, start)
        })
    } else {
        Ok(start..end)
    }
}

/// Bytes that are lent of mapped granules: `len` of them, `head` bytes behind the first granule's start.
#[derive(Clone, Copy)]
pub(super) struct Lent {
    pub(super) head: usize,
    pub(super) len: usize,
    pub(super) granule: PageSize,
}

impl Lent {
    /// The granules that hold any of the range, as offsets from the first granule's start. For what does
    /// no harm to the bytes around: advice, locks, writing back.
    ///
    /// # Errors
    /// Those of [`within`].
    #[inline]
    pub(super) fn outwards(
        &self,
        operation: &'static str,
        range: impl RangeBounds<usize>,
    ) -> Result<Range<usize>, Error> {
        let bytes = within(operation, range, self.len)?;
        if bytes.is_empty() {
            return Ok(0..0);
        }
        // No sum wraps: all of it lies within what is mapped, whole granules of it.
        let start = self.granule.round_down(self.head + bytes.start);
        Ok(start..self.end(bytes.end))
    }

    /// The granules of a range that is made of whole ones, as offsets from the first granule's start. The
    /// first byte and the last one that are lent may lie anywhere in theirs: what is around them belongs
    /// to the owner as well, and is nothing to anybody.
    ///
    /// # Errors
    /// Those of [`within`], and that an end is not a multiple of the granule.
    #[inline]
    pub(super) fn exactly(
        &self,
        operation: &'static str,
        range: impl RangeBounds<usize>,
    ) -> Result<Range<usize>, Error> {
        let bytes = within(operation, range, self.len)?;
        if bytes.start != 0 && bytes.start != self.len {
            let names = ["the range's start", "the range's start, counted from the first granule,"];
            self.check_granule(operation, names, bytes.start)?;
        }
        if bytes.end != self.len && bytes.end != 0 {
            let names = ["the range's end", "the range's end, counted from the first granule,"];
            self.check_granule(operation, names, bytes.end)?;
        }
        if bytes.is_empty() {
            return Ok(0..0);
        }
        Ok(self.granule.round_down(self.head + bytes.start)..self.end(bytes.end))
    }

    /// The error, if no granule begins at byte `at`. The second name is for bytes that begin within a granule, where
    /// what must be a multiple is not what the caller gave.
    #[inline]
    pub(super) fn check_granule(
        &self,
        operation: &'static str,
        names: [&'static str; 2],
        at: usize,
    ) -> Result<(), Error> {
        let from_first = self.head + at;
        if self.granule.is_aligned(from_first) {
            return Ok(());
        }
        let name = names[usize::from(self.head != 0)];
        Err(Error::wrong(operation, name, from_first, Wrong::NotAMultiple, self.granule.bytes()))
    }

    /// The largest range of whole granules that lies within the range, as bytes that are lent.
    ///
    /// # Errors
    /// Those of [`within`].
    pub(super) fn inwards(
        &self,
        operation: &'static str,
        range: impl RangeBounds<usize>,
    ) -> Result<Range<usize>, Error> {
        let bytes = within(operation, range, self.len)?;
        let start = if bytes.start == 0 { 0 } else { self.end(bytes.start) - self.head };
        let end = if bytes.end == self.len {
            self.len
        } else {
            self.granule.round_down(self.head + bytes.end).saturating_sub(self.head)
        };
        // Where it holds none, it is empty, and lies where whole granules begin.
        Ok(if start < end { start..end } else { 0..0 })
    }

    /// The end of the granule that ends with byte `at`, from the first granule's start. `at` is at most
    /// the length.
    #[inline]
    pub(super) const fn end(&self, at: usize) -> usize {
        match self.granule.round_up(self.head + at) {
            Some(end) => end,
            // It doesn't happen: all that is lent lies within whole granules.
            None => self.granule.round_down(self.head + at),
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use std::string::{String, ToString};

    const PAGE: usize = 4096;

    fn lent(head: usize, len: usize) -> Lent {
        Lent { head, len, granule: PageSize::new(PAGE).unwrap() }
    }

    /// Every range of a small mapping, against what its bytes say one by one.
    #[test]
    fn granules_are_those_that_the_bytes_lie_on() {
        for head in [0, 1, 100, PAGE - 1] {
            for len in [1, 2, PAGE - 1, PAGE, PAGE + 1, 3 * PAGE] {
                let lent = lent(head, len);
                let ends =
                    [0, 1, PAGE - head, PAGE, PAGE + 1, 2 * PAGE - head, len / 2, len - 1, len];
                for start in ends.into_iter().filter(|at| *at <= len) {
                    for end in ends.into_iter().filter(|at| *at <= len && *at >= start) {
                        let out = lent.outwards("test", start..end).unwrap();
                        if start == end {
                            assert!(out.is_empty());
                        } else {
                            assert_eq!(out.start, (head + start) / PAGE * PAGE);
                            assert_eq!(out.end, (head + end).div_ceil(PAGE) * PAGE);
                        }
                        let inner = lent.inwards("test", start..end).unwrap();
                        assert!(inner.is_empty() || (start <= inner.start && inner.end <= end));
                        let whole = lent.exactly("test", inner.clone()).unwrap();
                        assert!(whole.len() >= inner.len() && whole.len() % PAGE == 0);
                        assert_eq!(lent.exactly("test", len..).unwrap(), 0..0);
                        // A granule more at either end is not within the range.
                        if !inner.is_empty() && inner.start >= PAGE {
                            assert!(inner.start - PAGE < start);
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn ranges_that_are_not_there_are_errors() {
        let text = |range: (Bound<usize>, Bound<usize>)| -> String {
            within("test", range, 10).unwrap_err().to_string()
        };
        use Bound::{Excluded, Included, Unbounded};
        assert_eq!(
            text((Included(0), Excluded(11))),
            "test: the range's end 11 is more than the length 10"
        );
        assert_eq!(
            text((Included(11), Unbounded)),
            "test: the range's start 11 is more than the length 10"
        );
        assert_eq!(text((Included(5), Excluded(3))), "test: the range's end 3 is less than 5");
        let last = "test: the range's end 18446744073709551615 is more than the length 10";
        assert_eq!(text((Unbounded, Included(usize::MAX))), last);
        let first = "test: the range's start 18446744073709551615 is more than the length 10";
        assert_eq!(text((Excluded(usize::MAX), Unbounded)), first);
        assert_eq!(within("test", .., 10), Ok(0..10));
        assert_eq!(within("test", 10.., 10), Ok(10..10));
    }
}
