//! [`Kernel`]: what a verdict may take for granted.

use super::Reason;
use crate::arch::{self, Facts};
use crate::{Arch, Errno, MapFlags, PageSize, Prot, mmap_anonymous, munmap};
use core::ptr;

/// A kernel, as far as it is known: what [`Call::check`](crate::Call::check) may take for granted beside
/// the words of the call. It need not be the one that runs here.
///
/// [`Kernel::new`] takes nothing for granted but architecture and page size: what is refused under it,
/// every such kernel from Linux 6.1 on refuses. Each thing that is stated in addition lets `check`
/// refuse more.
///
/// ```
/// use rawmap::{Arch, Call, Errno, Kernel, MapFlags, PageSize, Prot};
/// // What would arm64 with pages of 16 KiB and addresses of 47
/// // bits say?
/// const KERNEL: Kernel = Kernel::new(Arch::Aarch64, PageSize::new(16384).unwrap())
///     .address_space(1 << 47)
///     .version(6, 12);
/// let call = Call::mmap_anonymous(core::ptr::null_mut(), 1 << 48, Prot::READ, MapFlags::PRIVATE);
/// assert_eq!(call.check(&KERNEL).unwrap_err().errno(), Errno::ENOMEM);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Kernel {
    pub(super) facts: &'static Facts,
    pub(super) page: PageSize,
    pub(super) address_space: u64,
    pub(super) version: Option<(u16, u16)>,
    pub(super) regular_file: bool,
    /// Whether [`of_host`](Self::of_host) is the same kernel.
    pub(super) host: bool,
}

impl Kernel {
    /// Only the architecture and the page size are known. That of this program is [`Arch::HOST`].
    #[must_use]
    pub const fn new(arch: Arch, page: PageSize) -> Self {
        let facts = arch.facts();
        let address_space = facts.max_address_space;
        let other_page = matches!(PageSize::FIXED, Some(fixed) if fixed.log2() != page.log2());
        let host = matches!(arch, Arch::HOST) && !other_page;
        Self { facts, page, address_space, version: None, regular_file: false, host }
    }

    /// The process has an address space of so many bytes (the kernel's `TASK_SIZE`), or of less. Not
    /// stated, or more than that, it is the largest that the architecture can have.
    ///
    /// On x86_64 2^47 - 4096 or 2^56 - 4096; on aarch64 2^36 to 2^52, on riscv64 2^38, 2^47 or
    /// 2^56, as the hardware and the kernel's builder chose.
    #[must_use]
    pub const fn address_space(self, bytes: u64) -> Self {
        let most = self.facts.max_address_space;
        Self { address_space: if bytes < most { bytes } else { most }, ..self }
    }

    /// The kernel is of this version, 6.1 or later: what an older one does, the rules don't know. Not
    /// stated, only what every version refuses is refused.
    #[must_use]
    pub const fn version(self, major: u16, minor: u16) -> Self {
        Self { version: Some((major, minor)), ..self }
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
        let found = Self::new(Arch::HOST, PageSize::find()?);
        for &bytes in arch::ADDRESS_SPACES {
            if !page_exists(bytes as usize, found.page)? {
                return Ok(found.address_space(bytes));
            }
        }
        Ok(found)
    }

    /// The same kernel if it is one of this program's architecture, of which the compiler knows the facts, and the
    /// page size where that is fixed.
    #[inline(always)]
    pub(super) const fn of_host(&self) -> Self {
        let page = if let Some(fixed) = PageSize::FIXED { fixed } else { self.page };
        Self { facts: Arch::HOST.facts(), page, ..*self }
    }

    /// The page size in bytes.
    pub(super) const fn page(&self) -> u64 {
        self.page.bytes() as u64
    }

    /// Whether an address is that of a page's first byte, or a number of bytes whole pages.
    pub(super) const fn aligned(&self, n: u64) -> bool {
        n & (self.page() - 1) == 0
    }

    /// The sum as a register holds it: modulo the architecture's word.
    pub(super) const fn sum(&self, a: u64, b: u64) -> u64 {
        a.wrapping_add(b) & self.facts.word_max
    }

    /// `len` rounded up to whole pages, wrapping to 0 as the kernel's PAGE_ALIGN does.
    pub(super) const fn align(&self, len: u64) -> u64 {
        self.sum(len, self.page() - 1) & !(self.page() - 1)
    }

    /// Whether a range lies within the address space.
    pub(super) const fn holds(&self, addr: u64, len: u64) -> bool {
        addr <= self.address_space && len <= self.address_space - addr
    }

    pub(super) const fn unaligned(&self, addr: u64) -> Reason {
        Reason::AddressUnaligned { addr, page: self.page() }
    }

    pub(super) const fn beyond(&self, addr: u64, len: u64) -> Reason {
        Reason::BeyondAddressSpace { addr, len, address_space: self.address_space }
    }

    /// The error that an address is when the kernel takes it for its own result: one of the last.
    pub(super) const fn error(&self, addr: u64) -> Option<Errno> {
        let from_end = self.facts.word_max - addr;
        if from_end < Errno::MAX as u64 { Errno::from_raw(from_end as i32 + 1) } else { None }
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
