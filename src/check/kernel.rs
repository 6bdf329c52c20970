//! [`Kernel`]: what a verdict may take for granted.

use super::Reason;
use crate::arch::{self, Facts};
use crate::{Arch, Errno, MapFlags, PageSize, Prot, mmap_anonymous, munmap};
use core::ptr;

/// What is known of a kernel: what [`Call::check`](crate::Call::check) may rely on beside the words of the
/// call. It need not be the kernel that runs here.
///
/// [`Kernel::new`] states the architecture and the page size only. A call that `check` refuses for it, every
/// such kernel from Linux 6.1 on refuses. The other methods state more, which lets `check` refuse more.
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
    /// A kernel of which only the architecture and the page size are known. The architecture of this program is
    /// [`Arch::HOST`].
    #[must_use]
    pub const fn new(arch: Arch, page: PageSize) -> Self {
        let facts = arch.facts();
        let address_space = facts.max_address_space;
        let other_page = matches!(PageSize::FIXED, Some(fixed) if fixed.log2() != page.log2());
        let host = matches!(arch, Arch::HOST) && !other_page;
        Self { facts, page, address_space, version: None, regular_file: false, host }
    }

    /// States that the process has an address space of at most this many bytes (the kernel's `TASK_SIZE`).
    /// Without it, or with a larger number, it is the largest that the architecture can have.
    ///
    /// Address spaces have 2^47 - 4096 or 2^56 - 4096 bytes on x86_64, 2^36 to 2^52 on aarch64, and 2^38, 2^47
    /// or 2^56 on riscv64. Which one it is depends on the hardware and on how the kernel was built.
    #[must_use]
    pub const fn address_space(self, bytes: u64) -> Self {
        let most = self.facts.max_address_space;
        Self { address_space: if bytes < most { bytes } else { most }, ..self }
    }

    /// States the kernel's version, which must be 6.1 or later: the rules don't know what older kernels do.
    /// Without it, `check` refuses only what every version refuses.
    #[must_use]
    pub const fn version(self, major: u16, minor: u16) -> Self {
        Self { version: Some((major, minor)), ..self }
    }

    /// States that all file descriptors are of regular files, which are neither on hugetlbfs, nor on DAX
    /// storage, nor of memfd_secret.
    #[must_use]
    pub const fn regular_file(self) -> Self {
        Self { regular_file: true, ..self }
    }

    /// Finds the page size and the address space of the running process, but not the kernel's version.
    ///
    /// It makes memory-mapping calls only: those of [`PageSize::find`], and up to three for each width of
    /// addresses that the architecture can have, beginning with the smallest. `mmap(first page behind it, page,
    /// PROT_NONE, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED_NOREPLACE, -1, 0)` is ENOMEM if that page doesn't exist;
    /// then `mmap` and `munmap` of a page anywhere show that no limit is the reason, and this width is the
    /// result. If the page exists and was free, `munmap` unmaps it. Under an emulator, whose address space may
    /// have none of these widths, the result is the next larger one.
    ///
    /// # Errors
    /// An error of those calls that doesn't concern the address: EPERM or ENOSYS under a seccomp filter, ENOMEM
    /// where the process may map nothing more.
    ///
    /// ```
    /// use rawmap::{Call, Errno, Kernel};
    /// let here = Kernel::find()?.version(6, 12);
    /// let call = Call::munmap(core::ptr::null_mut(), usize::MAX);
    /// assert_eq!(call.check(&here).unwrap_err().errno(), Errno::EINVAL);
    /// # Ok::<(), Errno>(())
    /// ```
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
