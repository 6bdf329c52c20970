//! [`Limits`]: what a verdict may take for granted.

use crate::{Errno, MapFlags, PageSize, Prot, arch, mmap_anonymous, munmap};
use core::ptr;

/// What [`Call::check`](crate::Call::check) may take for granted about the kernel and the process, beside the words of
/// the call.
///
/// [`Limits::new`] takes nothing for granted but the page size: what is refused under it, every
/// kernel from Linux 6.1 on refuses. Each thing that is stated in addition lets `check` refuse
/// more.
///
/// ```
/// use rawmap::{Limits, PageSize};
/// const LIMITS: Limits = Limits::new(PageSize::new(4096).unwrap()).kernel(6, 12);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    pub(super) page: PageSize,
    pub(super) address_space: usize,
    pub(super) kernel: Option<(u16, u16)>,
    pub(super) regular_file: bool,
}

impl Limits {
    /// Only the page size is known.
    #[must_use]
    pub const fn new(page: PageSize) -> Self {
        let address_space = arch::MAX_ADDRESS_SPACE;
        Self { page, address_space, kernel: None, regular_file: false }
    }

    /// The process has an address space of so many bytes (the kernel's `TASK_SIZE`). Not stated,
    /// it is the largest that the architecture can have.
    ///
    /// On x86_64 2^47 - 4096 or 2^56 - 4096; on aarch64 2^36 to 2^52, on riscv64 2^38, 2^47 or
    /// 2^56, as the hardware and the kernel's builder chose.
    #[must_use]
    pub const fn address_space(self, bytes: usize) -> Self {
        Self { address_space: bytes, ..self }
    }

    /// The kernel is of this version, 6.1 or later: what an older one does, the rules don't know. Not
    /// stated, only what every version refuses is refused.
    #[must_use]
    pub const fn kernel(self, major: u16, minor: u16) -> Self {
        Self { kernel: Some((major, minor)), ..self }
    }

    /// File descriptors are of regular files, neither on hugetlbfs nor on DAX storage, nor of
    /// memfd_secret.
    #[must_use]
    pub const fn regular_file(self) -> Self {
        Self { regular_file: true, ..self }
    }

    /// Finds page size and address space of the running process.
    ///
    /// Calls of the family only: those of [`PageSize::find`], and one or two for each width that
    /// the architecture can have: `mmap(first page behind it, page, PROT_NONE,
    /// MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED_NOREPLACE, -1, 0)`, which is ENOMEM where that page
    /// doesn't exist, and `munmap` of the page where it does and was free; where it doesn't, `mmap`
    /// and `munmap` of a page anywhere, to tell that from a limit. The first width with
    /// nothing behind it is the one; so that under an emulator, whose address space may be of none
    /// of these widths, it is the next larger.
    ///
    /// # Errors
    /// What those calls answer that says nothing of the address: EPERM or ENOSYS under a seccomp
    /// filter, ENOMEM where the process may map nothing more.
    pub fn find() -> Result<Self, Errno> {
        let page = PageSize::find()?;
        for &bytes in arch::ADDRESS_SPACES {
            if !page_exists(bytes, page)? {
                return Ok(Self::new(page).address_space(bytes));
            }
        }
        Ok(Self::new(page))
    }

    /// Whether the kernel is known to be of this version or a later one.
    pub(super) const fn since(&self, major: u16, minor: u16) -> bool {
        matches!(self.kernel, Some((a, b)) if a > major || a == major && b >= minor)
    }

    /// Whether the kernel is known to be older than this version.
    pub(super) const fn before(&self, major: u16, minor: u16) -> bool {
        self.kernel.is_some() && !self.since(major, minor)
    }
}

/// Whether the process may have a page at `addr`, by placing one there where nothing is.
fn page_exists(addr: usize, page: PageSize) -> Result<bool, Errno> {
    let (hint, flags) = (ptr::without_provenance_mut(addr), MapFlags::FIXED_NOREPLACE);
    let len = page.bytes();
    // SAFETY: FIXED_NOREPLACE replaces nothing; nothing uses the new page, which goes at once.
    unsafe {
        match mmap_anonymous(hint, len, Prot::NONE, flags.union(MapFlags::PRIVATE)) {
            Ok(placed) => munmap(placed, len).map(|()| placed == hint),
            Err(Errno::EEXIST) => Ok(true),
            // It doesn't exist; or there may be no more mappings at all, which another page tells.
            Err(Errno::ENOMEM) => {
                let any = mmap_anonymous(ptr::null_mut(), len, Prot::NONE, MapFlags::PRIVATE)?;
                munmap(any, len).map(|()| false)
            }
            Err(errno) => Err(errno),
        }
    }
}
