//! Owners: types that hold page ranges and give them back.
//!
//! They know the granule of what they hold, check every sub-range, undo the earlier steps when a
//! later one fails, and return errors that carry the call. Each says which calls it makes. Nothing
//! is kept in statics but the page size.
//!
//! Fork: a child has a copy of the owner and of private memory, and what it drops, it unmaps in its
//! own address space only. (`MADV_DONTFORK` would leave the child an owner of nothing, so it is
//! [`Mapping::advise_any`]'s.) Signals: nothing here locks or allocates, so all of it may be called in a
//! signal handler, as long as no owner is used that the handler interrupted.

mod dual;
mod error;
mod mapping;
mod options;
mod page_alloc;
mod reservation;
mod ring;
mod stack;

pub use dual::DualMapping;
pub use error::Error;
pub use mapping::{Guarded, Mapping, Purged, Sealed};
pub use options::{Access, MapOptions, Placed, Raw, ReadOnly, ReadWrite};
pub use page_alloc::PageAlloc;
pub use reservation::{Cursor, Mode, Reservation};
pub use ring::Ring;
pub use stack::Stack;

use crate::PageSize;
use core::sync::atomic::{AtomicUsize, Ordering};

/// The page size in bytes, once it is known; 0 before.
static PAGE_SIZE: AtomicUsize = AtomicUsize::new(0);

/// The page size that the owners use: found by [`PageSize::find`] when one of them first needs it,
/// and kept.
///
/// # Errors
/// Those of [`PageSize::find`].
///
/// ```
/// use rawmap::{MapOptions, page_size};
/// let smallest = MapOptions::new(1).anonymous()?;
/// assert_eq!(smallest.mapped_len(), page_size()?.bytes());
/// # Ok::<(), rawmap::Error>(())
/// ```
#[inline]
pub fn page_size() -> Result<PageSize, Error> {
    if let Some(known) = known_page_size() {
        return Ok(known);
    }
    let found = PageSize::probe().map_err(|(call, errno)| Error::Refused { call, errno })?;
    PAGE_SIZE.store(found.bytes(), Ordering::Relaxed);
    Ok(found)
}

/// The page size, where it needn't be asked for.
#[inline]
fn known_page_size() -> Option<PageSize> {
    PageSize::FIXED.or_else(|| PageSize::new(PAGE_SIZE.load(Ordering::Relaxed)))
}

/// Tells the owners the page size, so that they need not ask the kernel for it: for a program that
/// has the auxiliary vector.
///
/// Without effect on x86_64, where it is 4096.
///
/// # Safety
/// It must be the kernel's own. With another one an owner would believe that it owns more or less
/// than is mapped, and unmap what is another's.
///
/// ```
/// use rawmap::{PageSize, page_size, set_page_size};
/// // SAFETY: it reads the auxiliary vector, whose entry of that number is a plain word.
/// let bytes = unsafe { libc::getauxval(libc::AT_PAGESZ) } as usize;
/// // SAFETY: that is the page size of the kernel that runs this program.
/// unsafe { set_page_size(PageSize::new(bytes).unwrap()) };
/// assert_eq!(page_size()?.bytes(), bytes);
/// # Ok::<(), rawmap::Error>(())
/// ```
pub unsafe fn set_page_size(page: PageSize) {
    PAGE_SIZE.store(page.bytes(), Ordering::Relaxed);
}
