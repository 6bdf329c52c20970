//! Mappings that are sealed for good.

use super::Mapping;
use crate::call::Call;
use crate::flags::MsealFlags;
use crate::owners::access::Access;
use crate::owners::error::{Error, Refused, Wrong, issue};
use core::ptr::NonNull;

/// A mapping that is sealed: it stays as it is until the process ends.
///
/// ```
/// use rawmap::{Errno, MapOptions, munmap};
/// match MapOptions::new(1 << 20).anonymous()?.seal() {
///     Ok(sealed) => {
///         // SAFETY: what is sealed stays mapped, whoever asks.
///         let refused = unsafe { munmap(sealed.as_ptr(), sealed.len()) };
///         assert_eq!(refused, Err(Errno::EPERM));
///     }
///     // Before Linux 6.10.
///     Err(refused) => assert_eq!(refused.error().errno(), Errno::ENOSYS),
/// }
/// # Ok::<(), rawmap::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sealed {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: it is a plain address and length, and owns nothing.
unsafe impl Send for Sealed {}
// SAFETY: by `&` it tells its address and length only.
unsafe impl Sync for Sealed {}

impl Sealed {
    /// A pointer to the first byte.
    #[must_use]
    pub const fn as_ptr(&self) -> *mut u8 {
        self.start.as_ptr()
    }

    /// The length in bytes, as it was asked for.
    #[must_use]
    #[allow(clippy::len_without_is_empty)] // What is empty can't be sealed.
    pub const fn len(&self) -> usize {
        self.len
    }
}

impl<A: Access> Mapping<A> {
    /// Seals the mapping until the process ends: from then on nobody can unmap, move, resize or replace it, or
    /// change its protection. Nobody owns it any more.
    ///
    /// One call: `mseal(start, mapped_len, 0)`.
    ///
    /// # Errors
    /// Those of [`mseal`](crate::mseal): ENOSYS before Linux 6.10. It also fails if the mapping is empty. The
    /// mapping comes back after an error. If the kernel holds it in several parts, some of them may be sealed
    /// by then.
    ///
    /// ```
    /// use rawmap::MapOptions;
    /// let mut table = MapOptions::new(16).anonymous()?;
    /// table.fill(7);
    /// if let Ok(sealed) = table.make_read_only()?.seal() {
    ///     // SAFETY: sixteen bytes that stay mapped, and read-only,
    ///     // until the process ends.
    ///     let forever: &'static [u8; 16] = unsafe { &*sealed.as_ptr().cast() };
    ///     assert_eq!(forever, &[7; 16]);
    /// }
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub fn seal(self) -> Result<Sealed, Refused<Self>> {
        if self.mapped_len() == 0 {
            let error = Error::wrong("Mapping::seal", "the length", 0, Wrong::TooSmall, 1);
            return Err(Refused::new(self, error));
        }
        let call = Call::mseal(self.base(), self.mapped_len(), MsealFlags::default());
        // SAFETY: the range is ours (1), and no owner goes on using it.
        match unsafe { issue(call) } {
            Ok(_) => {
                let parts = self.into_raw_parts();
                Ok(Sealed { start: parts.start, len: parts.len })
            }
            Err(error) => Err(Refused::new(self, error)),
        }
    }
}
