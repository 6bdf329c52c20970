//! Huge pages: which sizes there are.

use crate::arch::Arch;
use crate::call::Call;
use crate::errno::Errno;
use crate::flags::{MapFlags, Prot};
use crate::owners::error::{Error, issue};
use crate::owners::process::page_size;
use crate::page_size::PageSize;
use crate::raw::NO_FD;
use core::ptr::null_mut;

/// The sizes of huge pages that the running kernel has, for [`MapOptions::huge`](crate::MapOptions::huge). A
/// size that the kernel has may still have no free page: an administrator must set pages aside.
///
/// ```
/// use rawmap::{HugePages, MapOptions};
/// let huge = HugePages::find()?;
/// println!("{:?}, and {:?} by default", huge.sizes().collect::<Vec<_>>(), huge.default_size());
/// if let Some(size) = huge.default_size() {
///     match MapOptions::new(1).huge(size).anonymous() {
///         Ok(page) => assert_eq!(page.mapped_len(), size),
///         Err(error) => println!("none is free: {error}"),
///     }
/// }
/// # Ok::<(), rawmap::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct HugePages {
    /// Bit `n`: pages of 2 to the power `n` bytes.
    sizes: u64,
    default: Option<PageSize>,
}

impl HugePages {
    /// Asks the kernel which sizes it has.
    ///
    /// For each size that the architecture can have (about three), it makes one or two calls: `mmap(NULL, size,
    /// PROT_NONE, MAP_PRIVATE|MAP_ANONYMOUS|MAP_NORESERVE|MAP_HUGETLB|MAP_HUGE_SIZE, -1, 0)`, which takes no
    /// page, and `munmap` if the kernel has that size. Then it looks for the default size: it maps the largest
    /// size in the same way without `MAP_HUGE_SIZE`, and tries to `munmap` the front of that by one size after
    /// the other, the smallest first. That is EINVAL for part of a page. One more `munmap` gives back the rest.
    ///
    /// If a filter refuses `munmap`, or an emulator has mapped larger pages, a mapping stays, which costs
    /// address space and no memory.
    ///
    /// # Errors
    /// Those of [`mmap`](crate::mmap) and [`munmap`](crate::munmap), such as ENOMEM over `RLIMIT_AS`. An error
    /// of `mmap` which says that there is no such size is not returned.
    pub fn find() -> Result<Self, Error> {
        let page = page_size()?;
        let mut sizes = 0;
        let mut largest = None;
        let facts = Arch::HOST.facts();
        let exists = |log2: &u32| facts.huge_page_exists(*log2, page.log2());
        for log2 in (page.log2() + 1..usize::BITS - 1).filter(exists) {
            let size = 1 << log2;
            let Some(start) = map(size, MapFlags::huge(log2))? else { continue };
            // An emulator may drop the size, and map pages of the default one.
            if is_unmapped(start, size)? && start.addr() & (size - 1) == 0 {
                sizes |= 1 << log2;
                largest = Some(size);
            }
        }
        let found = Self { sizes, default: None };
        match largest {
            Some(largest) => Ok(Self { default: found.ask_for_the_default(largest)?, ..found }),
            None => Ok(found),
        }
    }

    fn ask_for_the_default(self, largest: usize) -> Result<Option<PageSize>, Error> {
        let Some(start) = map(largest, MapFlags::HUGETLB)? else { return Ok(None) };
        for size in self.sizes() {
            // SAFETY: the front of what was mapped just now, and is nobody's.
            match unsafe { issue(Call::munmap(start, size)) } {
                Ok(_) => {
                    if size < largest {
                        let rest = Call::munmap(start.wrapping_add(size), largest - size);
                        // SAFETY: the rest of it, whole pages of that size.
                        unsafe { issue(rest) }?;
                    }
                    return Ok(PageSize::new(size));
                }
                Err(error) if error.errno() == Errno::EINVAL => {}
                Err(error) => return Err(error),
            }
        }
        // It is one of them, or the kernel would not have mapped it; but an emulator may say otherwise.
        is_unmapped(start, largest)?;
        Ok(None)
    }

    /// The sizes in bytes, the smallest first. There are none where the kernel was built without huge pages.
    ///
    /// ```
    /// use rawmap::HugePages;
    /// assert!(HugePages::find()?.sizes().all(|size| size.is_power_of_two()));
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub fn sizes(self) -> impl Iterator<Item = usize> {
        (0..usize::BITS).filter(move |log2| self.sizes >> log2 & 1 == 1).map(|log2| 1 << log2)
    }

    /// The size in bytes that the kernel uses for `MAP_HUGETLB` without a size (`default_hugepagesz`); `None`
    /// if it has no huge pages.
    #[must_use]
    pub fn default_size(self) -> Option<usize> {
        self.default.map(PageSize::bytes)
    }
}

/// Maps so many bytes of huge pages, of which it takes none; nothing, where there are none of this size.
fn map(len: usize, huge: MapFlags) -> Result<Option<*mut u8>, Error> {
    let flags = MapFlags::PRIVATE.union(MapFlags::ANONYMOUS).union(MapFlags::NORESERVE).union(huge);
    // SAFETY: a new mapping, in place of nothing.
    match unsafe { issue(Call::mmap(null_mut(), len, Prot::NONE, flags, NO_FD, 0)) } {
        Ok(start) => Ok(Some(start)),
        // No such size; none that is mounted; no huge pages at all (`mm/mmap.c`, `fs/hugetlbfs/inode.c`).
        Err(error)
            if matches!(
                error.errno(),
                Errno::EINVAL | Errno::ENOENT | Errno::ENODEV | Errno::ENOSYS
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Unmaps what was mapped just now, and says whether it was as long as that, and no longer. Where munmap is
/// refused, it stays, inaccessible and without a page: a longer length could be somebody's.
fn is_unmapped(start: *mut u8, len: usize) -> Result<bool, Error> {
    // SAFETY: mapped just now, and nobody's.
    match unsafe { issue(Call::munmap(start, len)) } {
        Ok(_) => Ok(true),
        Err(error) if error.errno() == Errno::EINVAL => Ok(false),
        Err(error) => Err(error),
    }
}

/// The size of the transparent huge pages that one entry of the middle page table maps: 2 MiB with pages of
/// 4 KiB, 32 MiB with 16 KiB, 512 MiB with 64 KiB.
pub(super) const fn transparent_size(page: PageSize) -> usize {
    page.bytes() * (page.bytes() / size_of::<u64>())
}
