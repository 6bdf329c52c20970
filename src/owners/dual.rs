//! [`DualMapping`]: the same pages twice, once to write code and once to run it.

use super::error::{check_within, made};
use super::options::{Origin, own};
use super::{Error, MapOptions, Mapping, Raw};
use crate::{Call, MremapFlags, Prot, arch};
use core::ptr::null_mut;
use core::slice;

/// Memory with two views: one that can be written and not run, and one that can be run and not
/// written, so that no page is ever both (W^X) and none is flipped while others run it.
///
/// Three calls, no file descriptor: `mmap(NULL, len, PROT_READ|PROT_WRITE, MAP_SHARED|MAP_ANONYMOUS,
/// -1, 0)`, `mremap(start, 0, len, MREMAP_MAYMOVE, NULL)`, which maps the same pages again, and
/// `mprotect(second, len, PROT_READ|PROT_EXEC)`.
///
/// QEMU's user mode refuses a length of 0 (ENOMEM), and has none.
///
/// A forked child shares the pages; whoever forks must see to it that only one of both writes them.
///
/// ```
/// use rawmap::DualMapping;
/// # // QEMU's user mode can't make it.
/// # if std::env::var_os("RAWMAP_EMULATOR").is_some_and(|name| !name.is_empty()) { return Ok(()) }
/// let mut code = DualMapping::new(4096)?;
/// code.write(0, &[0x90])?;
/// // SAFETY: within the view, which can be read.
/// assert_eq!(unsafe { code.run_ptr().read() }, 0x90);
/// # Ok::<(), rawmap::Error>(())
/// ```
#[derive(Debug)]
pub struct DualMapping {
    written: Mapping<Raw>,
    run: Mapping<Raw>,
}

impl DualMapping {
    /// Two views of `len` bytes, rounded up to whole pages: zeroes.
    ///
    /// # Errors
    /// Those of [`mmap`](crate::mmap), [`mremap`](crate::mremap) and [`mprotect`](crate::mprotect)
    /// (EACCES where the system forbids it), and a length over `isize::MAX`. Nothing is left mapped.
    ///
    /// ```
    /// # // QEMU's user mode can't make it.
    /// # let emulated = std::env::var_os("RAWMAP_EMULATOR").is_some_and(|name| !name.is_empty());
    /// # if emulated { return Ok(()) }
    /// use rawmap::DualMapping;
    /// let code = DualMapping::new(1 << 20)?;
    /// // No address is both writable and executable, at any time.
    /// assert!(code.write_ptr().addr().abs_diff(code.run_ptr().addr()) >= code.len());
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub fn new(len: usize) -> Result<Self, Error> {
        let written = MapOptions::new(len).shared().anonymous()?;
        let (first, len) = (written.as_ptr(), written.mapped_len());
        // SAFETY: with an old length of 0 nothing moves, and the new mapping replaces nothing.
        let second =
            unsafe { made(Call::mremap(first, 0, len, MremapFlags::MAYMOVE, null_mut())) }?;
        // SAFETY: mapped just now, whole pages; dropped, and so unmapped, if the next step fails.
        let run: Mapping<Raw> =
            unsafe { own(second, len, written.granule(), Origin::SharedAnonymous) }?;
        run.protect(0, len, Prot::READ.union(Prot::EXEC))?;
        Ok(Self { written, run })
    }

    /// The length in bytes of each view: whole pages.
    ///
    /// ```
    /// # // QEMU's user mode can't make it.
    /// # let emulated = std::env::var_os("RAWMAP_EMULATOR").is_some_and(|name| !name.is_empty());
    /// # if emulated { return Ok(()) }
    /// use rawmap::{DualMapping, page_size};
    /// let code = DualMapping::new(1)?;
    /// assert_eq!(code.len(), page_size()?.bytes());
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    #[must_use]
    #[allow(clippy::len_without_is_empty)] // It is never empty.
    pub const fn len(&self) -> usize {
        self.run.len()
    }

    /// The first byte of the view that can be run and read.
    ///
    /// ```
    /// # // QEMU's user mode can't make it.
    /// # let emulated = std::env::var_os("RAWMAP_EMULATOR").is_some_and(|name| !name.is_empty());
    /// # if emulated { return Ok(()) }
    /// # // A function that returns 42: mov eax, 42; ret. mov w0, 42; ret. li a0, 42; ret.
    /// # let code: &[u8] = match std::env::consts::ARCH {
    /// #     "x86_64" => &[0xb8, 42, 0, 0, 0, 0xc3],
    /// #     "aarch64" => &[0x40, 0x05, 0x80, 0x52, 0xc0, 0x03, 0x5f, 0xd6],
    /// #     _ => &[0x13, 0x05, 0xa0, 0x02, 0x67, 0x80, 0, 0],
    /// # };
    /// use rawmap::DualMapping;
    /// let mut memory = DualMapping::new(1 << 20)?;
    /// memory.write(0, code)?;
    /// // SAFETY: `code` is a C function without arguments that returns 42, and synced.
    /// let compiled: extern "C" fn() -> i32 = unsafe { std::mem::transmute(memory.run_ptr()) };
    /// assert_eq!(compiled(), 42);
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    #[must_use]
    pub const fn run_ptr(&self) -> *const u8 {
        self.run.as_ptr()
    }

    /// The first byte of the view that can be read and written.
    ///
    /// ```
    /// # // QEMU's user mode can't make it.
    /// # let emulated = std::env::var_os("RAWMAP_EMULATOR").is_some_and(|name| !name.is_empty());
    /// # if emulated { return Ok(()) }
    /// use rawmap::DualMapping;
    /// let code = DualMapping::new(1 << 20)?;
    /// // SAFETY: the fifth word of the view, aligned, and nobody runs it yet.
    /// unsafe { code.write_ptr().cast::<u32>().add(4).write(0x1234_5678) };
    /// code.sync(16, 4)?;
    /// // SAFETY: the same word; the view can be read.
    /// assert_eq!(unsafe { code.run_ptr().cast::<u32>().add(4).read() }, 0x1234_5678);
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    #[must_use]
    pub const fn write_ptr(&self) -> *mut u8 {
        self.written.as_ptr()
    }

    /// Writes code at `offset`, and makes the processor see it: [`sync`](Self::sync) of what was
    /// written.
    ///
    /// # Errors
    /// [`Error::OutOfRange`], and nothing is written; those of [`sync`](Self::sync), and it is.
    ///
    /// ```
    /// # // QEMU's user mode can't make it.
    /// # let emulated = std::env::var_os("RAWMAP_EMULATOR").is_some_and(|name| !name.is_empty());
    /// # if emulated { return Ok(()) }
    /// use rawmap::{DualMapping, Error};
    /// let mut code = DualMapping::new(1 << 20)?;
    /// code.write(64, &[1, 2, 3, 4])?;
    /// // SAFETY: a byte of the view, which can be read.
    /// assert_eq!(unsafe { code.run_ptr().add(67).read() }, 4);
    /// let too_long = code.write(code.len() - 1, &[1, 2]);
    /// assert!(matches!(too_long, Err(Error::OutOfRange { .. })));
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub fn write(&mut self, offset: usize, code: &[u8]) -> Result<(), Error> {
        check_within(offset, code.len(), self.len())?;
        // SAFETY: just checked; by `&mut` nothing borrows the view.
        unsafe { slice::from_raw_parts_mut(self.write_ptr().add(offset), code.len()) }
            .copy_from_slice(code);
        self.sync(offset, code.len())
    }

    /// Makes what was written through [`write_ptr`](Self::write_ptr) run through
    /// [`run_ptr`](Self::run_ptr), on every core.
    ///
    /// x86_64: one serializing instruction, no call. aarch64: cache maintenance, no call. riscv64: one call,
    /// `riscv_flush_icache(start, end, 0)`. A thread that may have fetched the old code must still
    /// pass through something that synchronises it (an `isb` on aarch64; a lock or a join is not
    /// enough there if it branched to the old code before).
    ///
    /// # Errors
    /// [`Error::OutOfRange`]; [`Error::NotSynced`] where a filter refuses that call.
    ///
    /// ```
    /// # // QEMU's user mode can't make it.
    /// # let emulated = std::env::var_os("RAWMAP_EMULATOR").is_some_and(|name| !name.is_empty());
    /// # if emulated { return Ok(()) }
    /// # // A function that returns 42: mov eax, 42; ret. mov w0, 42; ret. li a0, 42; ret.
    /// # let code: &[u8] = match std::env::consts::ARCH {
    /// #     "x86_64" => &[0xb8, 42, 0, 0, 0, 0xc3],
    /// #     "aarch64" => &[0x40, 0x05, 0x80, 0x52, 0xc0, 0x03, 0x5f, 0xd6],
    /// #     _ => &[0x13, 0x05, 0xa0, 0x02, 0x67, 0x80, 0, 0],
    /// # };
    /// # use std::mem::transmute;
    /// use rawmap::DualMapping;
    /// let memory = DualMapping::new(1 << 20)?;
    /// // SAFETY: shorter than the view, which nothing borrows.
    /// unsafe { memory.write_ptr().copy_from(code.as_ptr(), code.len()) };
    /// memory.sync(0, code.len())?; // else the processor may run what was there before
    /// // SAFETY: `code` is a C function without arguments that returns 42.
    /// assert_eq!(unsafe { transmute::<_, extern "C" fn() -> i32>(memory.run_ptr())() }, 42);
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub fn sync(&self, offset: usize, len: usize) -> Result<(), Error> {
        check_within(offset, len, self.len())?;
        // SAFETY: just checked; both views are mapped, and of the same memory.
        let synced = unsafe {
            arch::sync_instructions(self.write_ptr().add(offset), self.run_ptr().add(offset), len)
        };
        synced.map_err(|errno| Error::NotSynced { errno })
    }
}
