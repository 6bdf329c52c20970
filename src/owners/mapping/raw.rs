//! What only a mapping by raw pointers allows: protecting, guarding, and replacing parts of it.

use super::Mapping;
use crate::owners::error::made;
use crate::owners::options::{Origin, granule};
use crate::owners::{Error, Raw};
use crate::{Advice, Call, Errno, MapFlags, Prot, RawFd};

/// How a range was guarded.
///
/// ```
/// use rawmap::{MapOptions, Prot};
/// let slots = MapOptions::new(1 << 20).prot(Prot::READ | Prot::WRITE).anonymous()?;
/// let first = slots.guard(0, 1)?;
/// // The kernel has it or not, so the first guard tells what all others will cost.
/// assert_eq!(slots.guard(1 << 19, 1)?, first);
/// # Ok::<(), rawmap::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Guarded {
    /// By `MADV_GUARD_INSTALL`: no mapping was split.
    Installed,
    /// By `mprotect(PROT_NONE)`, where the kernel doesn't have that, or not for this memory (locked,
    /// or huge pages): where it was part of a mapping, that was split.
    Protected,
}

impl Mapping<Raw> {
    /// Sets what a range may be used for.
    ///
    /// One call: `mprotect(start + offset, len, prot)`.
    ///
    /// # Errors
    /// Those of [`mprotect`](crate::mprotect), and a range that is not within the mapping.
    /// [`Error::NotOffered`] for `PROT_GROWSDOWN` and `PROT_GROWSUP`, which mean all that the kernel
    /// holds together with it. If the kernel holds the range in several parts, the first may be
    /// protected when it refuses another.
    ///
    /// ```
    /// use rawmap::{MapOptions, Prot};
    /// let relro = MapOptions::new(1 << 20).prot(Prot::READ | Prot::WRITE).anonymous()?;
    /// // SAFETY: ours, and can be written.
    /// unsafe { relro.as_ptr().write(1) };
    /// relro.protect(0, relro.len(), Prot::READ)?; // relocated: from now on a write is SIGSEGV
    /// // SAFETY: ours, and can be read.
    /// assert_eq!(unsafe { relro.as_ptr().read() }, 1);
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub fn protect(&self, offset: usize, len: usize, prot: Prot) -> Result<(), Error> {
        let (addr, len) = self.range(offset, len)?;
        if !prot.intersection(Prot::GROWSDOWN.union(Prot::GROWSUP)).is_empty() {
            return Err(Error::NotOffered);
        }
        // SAFETY: of a raw mapping there are no references; who uses its pointers minds the
        // protection.
        unsafe { made(Call::mprotect(addr, len, prot)) }.map(|_| ())
    }

    /// Makes every access to a range SIGSEGV. What it held may be lost.
    ///
    /// One call where the kernel has it (Linux 6.13): `madvise(.., MADV_GUARD_INSTALL)`, which splits
    /// no mapping; else two more, `madvise(.., MADV_GUARD_REMOVE)`, lest part of the range stay guarded
    /// that way too, and `mprotect(.., PROT_NONE)`. [`advise`](Self::advise) with `GUARD_REMOVE`, or
    /// [`protect`](Self::protect), undoes it. QEMU's user mode before 11 says that it has it, and
    /// guards nothing.
    ///
    /// # Errors
    /// Those of [`mprotect`](crate::mprotect), and a range that is not within the mapping.
    ///
    /// ```
    /// use rawmap::{Advice, Guarded, MapOptions, Prot};
    /// let rw = Prot::READ | Prot::WRITE;
    /// let memory = MapOptions::new(1 << 20).prot(rw).anonymous()?;
    /// match memory.guard(0, 1)? {
    ///     Guarded::Installed => memory.advise(0, 1, Advice::GUARD_REMOVE)?,
    ///     Guarded::Protected => memory.protect(0, 1, rw)?,
    /// }
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub fn guard(&self, offset: usize, len: usize) -> Result<Guarded, Error> {
        // SAFETY: of a raw mapping there are no references.
        match unsafe { self.advise_any(offset, len, Advice::GUARD_INSTALL) } {
            Ok(()) => Ok(Guarded::Installed),
            Err(Error::Refused { errno: Errno::EINVAL, .. }) => {
                // Where there are none, and where the kernel doesn't know them, it is refused again.
                let _ = self.advise(offset, len, Advice::GUARD_REMOVE);
                self.protect(offset, len, Prot::NONE).map(|()| Guarded::Protected)
            }
            Err(error) => Err(error),
        }
    }

    /// Replaces a range by new anonymous memory, or by part of a file where `fd` is one: the way to
    /// place something at an exact address without harm to others.
    ///
    /// One call: `mmap(start + offset, len, prot, flags|MAP_FIXED, fd, file_offset)`.
    ///
    /// # Errors
    /// Those of [`mmap`](crate::mmap), and a range that is not within the mapping. The range is as
    /// it was, or inaccessible: the kernel may have unmapped it before it failed, and it is then
    /// mapped again, with one more call.
    ///
    /// [`Error::Mismatch`] for larger pages than the mapping's own, of which the kernel would replace
    /// more, and could later not unmap parts; [`Error::HugeSizeUnknown`].
    ///
    /// # Safety
    /// `fd` must be a descriptor that the caller may use, if `flags` are not `ANONYMOUS`, and not of
    /// a file on hugetlbfs, unless its pages are as large as the mapping's: the kernel would replace
    /// more.
    ///
    /// And a refusal that comes late (a file's own, such as EOPNOTSUPP of `MAP_SYNC`, or ENOMEM) leaves a
    /// hole for a moment. Where another thread may map something meanwhile, it may come to lie there,
    /// and belong to this owner too. A file that may refuse is best mapped elsewhere first, and then
    /// [moved](Self::move_into).
    ///
    /// ```
    /// # use std::os::fd::AsRawFd;
    /// use rawmap::{MapFlags, MapOptions, Prot};
    /// let file = std::fs::File::open("/proc/self/exe").unwrap();
    /// let mut image = MapOptions::new(1 << 20).prot(Prot::NONE).anonymous()?;
    /// // SAFETY: an open program, not on hugetlbfs, with no reason to refuse a private view late.
    /// unsafe { image.overlay(0, 4, Prot::READ, MapFlags::PRIVATE, file.as_raw_fd(), 0)? };
    /// // SAFETY: four bytes of ours, which can be read now.
    /// assert_eq!(unsafe { image.as_ptr().cast::<[u8; 4]>().read() }, *b"\x7fELF");
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub unsafe fn overlay(
        &mut self,
        offset: usize,
        len: usize,
        prot: Prot,
        flags: MapFlags,
        fd: RawFd,
        file_offset: u64,
    ) -> Result<(), Error> {
        let (addr, len) = self.range(offset, len)?;
        if granule(flags)? > self.granule {
            return Err(Error::Mismatch);
        }
        let flags = flags.union(MapFlags::FIXED);
        self.origin = Origin::Mixed;
        // SAFETY: what is replaced is ours, and of a raw mapping there are no references.
        let done = unsafe { made(Call::mmap(addr, len, prot, flags, fd, file_offset)) };
        if done.is_err() {
            hold(addr, len);
        }
        done.map(|_| ())
    }

    /// Frees a range of the shared file or memory itself: it reads as zeroes afterwards, in every
    /// mapping of it and in the file.
    ///
    /// One call: `madvise(start + offset, len, MADV_REMOVE)`.
    ///
    /// # Errors
    /// Those of [`madvise`](crate::madvise): EACCES if it is not writable and shared, EINVAL if it is
    /// locked or private, EOPNOTSUPP if the file system can't; a range that is not within the
    /// mapping.
    ///
    /// ```
    /// # // QEMU's user mode before 11 says that it did it, and does nothing.
    /// # let emulated = std::env::var_os("RAWMAP_EMULATOR").is_some_and(|name| !name.is_empty());
    /// # if emulated { return Ok(()) }
    /// use rawmap::MapOptions;
    /// let slab = MapOptions::new(1 << 20).shared().anonymous()?;
    /// // SAFETY: ours, and nobody else has it.
    /// unsafe { slab.as_ptr().write(7) };
    /// slab.punch_hole(0, 1)?;
    /// // SAFETY: as above.
    /// assert_eq!(unsafe { slab.as_ptr().read() }, 0);
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub fn punch_hole(&self, offset: usize, len: usize) -> Result<(), Error> {
        // SAFETY: of a raw mapping there are no references; who maps the file elsewhere has promised
        // that nobody writes it.
        unsafe { self.advise_any(offset, len, Advice::REMOVE) }
    }
}

/// Takes a range again that the kernel may have unmapped before it failed to map something else there.
///
/// One call: `mmap(addr, len, PROT_NONE, MAP_PRIVATE|MAP_ANONYMOUS|MAP_NORESERVE|MAP_FIXED_NOREPLACE,
/// -1, 0)`, which is EEXIST if nothing was unmapped.
pub(in crate::owners) fn hold(addr: *mut u8, len: usize) {
    let flags = MapFlags::PRIVATE.union(MapFlags::NORESERVE).union(MapFlags::FIXED_NOREPLACE);
    // SAFETY: it replaces nothing. A kernel that takes the flag for a hint places it there, or, where
    // the range is still mapped, elsewhere.
    if let Ok(held) = unsafe { made(Call::mmap_anonymous(addr, len, Prot::NONE, flags)) } {
        if held != addr {
            // SAFETY: mapped just now, and nobody's.
            let _ = unsafe { made(Call::munmap(held, len)) };
        }
    }
}
