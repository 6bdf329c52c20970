//! [`DualMapping`]: the same pages twice, once to write code and once to run it.

use crate::arch::{self, nr};
use crate::call::Call;
use crate::errno::Errno;
use crate::flags::{MapFlags, MremapFlags, Prot};
use crate::owners::access::Raw;
use crate::owners::descriptor::MemoryFile;
use crate::owners::error::{Error, issue};
use crate::owners::mapping::{Backing, Mapping, RW, RX};
use crate::owners::place::rounded;
use crate::owners::process::page_size;
use crate::owners::range::within;
use crate::raw::{NO_FD, RawFd};
use crate::word::Word;
use core::ops::RangeBounds;
use core::ptr::null_mut;
use core::slice;

/// Memory with two views: one that can be written and not run, and one that can be run and not written, so
/// that no page is ever both (W^X) and none is flipped while others run it.
///
/// Three calls, no file descriptor: `mmap(NULL, len, PROT_READ|PROT_EXEC, MAP_SHARED|MAP_ANONYMOUS, -1, 0)`,
/// `mremap(start, 0, len, MREMAP_MAYMOVE, NULL)`, which maps the same pages again, and `mprotect(second, len,
/// PROT_READ|PROT_WRITE)`. No view gains the right to be run, so it works where the system forbids that
/// (`PR_SET_MDWE`). Where one of the three is refused, by a filter, a security module or an emulator, nine
/// others: `prlimit64`, `openat`, `read` and `close` (of `vm.overcommit_memory`),
/// `memfd_create`, `ftruncate`, `mmap` twice, `close`; under strict accounting all of its memory is had at once.
///
/// A forked child shares the pages; whoever forks sees to it that only one of both writes them.
///
/// ```
/// use rawmap::DualMapping;
/// let mut code = DualMapping::new(4096)?;
/// code.write(0, &[0x90])?;
/// // SAFETY: within the view, which can be read.
/// assert_eq!(unsafe { code.run_ptr().read() }, 0x90);
/// # Ok::<(), rawmap::Error>(())
/// ```
#[derive(Debug)]
pub struct DualMapping {
    // Beside the invariants of `Mapping`: both are `len` bytes of the same memory, which nobody else has.
    written: Mapping<Raw>,
    run: Mapping<Raw>,
}

impl DualMapping {
    /// Two views of `len` bytes, rounded up to whole pages: zeroes.
    ///
    /// # Errors
    /// Those of [`mmap`](crate::mmap) (EINVAL for length 0; EACCES where the system forbids it),
    /// [`mremap`](crate::mremap) and [`mprotect`](crate::mprotect); that the length is more than `isize::MAX`.
    /// Nothing stays mapped.
    ///
    /// ```
    /// use rawmap::DualMapping;
    /// let code = DualMapping::new(1 << 20)?;
    /// // No address is both writable and executable, at any time.
    /// assert!(code.write_ptr().addr().abs_diff(code.run_ptr().addr()) >= code.len());
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub fn new(len: usize) -> Result<Self, Error> {
        let len = rounded("DualMapping::new", len, page_size()?)?;
        match Self::anonymous(len) {
            Ok(dual) => Ok(dual),
            // Where there is no memory file either, what was refused first is what to mend.
            Err(refused) if refused.is_by_policy() => Self::of_file(len).map_err(|_| refused),
            Err(refused) => Err(refused),
        }
    }

    fn anonymous(len: usize) -> Result<Self, Error> {
        let run = view(len, RX, MapFlags::SHARED.union(MapFlags::ANONYMOUS), NO_FD)?;
        let again = Call::mremap(run.as_ptr(), 0, len, MremapFlags::MAYMOVE, null_mut());
        // SAFETY: with an old length of 0 nothing moves, and the new mapping replaces nothing.
        let second = unsafe { issue(again) }?;
        // SAFETY: mapped just now, whole pages.
        let written = unsafe { Mapping::adopt(second, len, run.granule(), run.backing()) }?;
        // Both rights are there from the start to the end but for one moment, and none makes it inaccessible:
        // so it may also lie where a stack may grow.
        // SAFETY: ours, and nothing refers to it.
        unsafe { issue(Call::mprotect(written.as_ptr(), len, RW)) }?;
        Ok(Self { written, run })
    }

    fn of_file(len: usize) -> Result<Self, Error> {
        let file = MemoryFile::new(len)?;
        let run = view(len, RX, MapFlags::SHARED, file.raw())?;
        let written = view(len, RW, MapFlags::SHARED, file.raw())?;
        Ok(Self { written, run })
    }

    /// The length in bytes of each view: whole pages.
    ///
    /// ```
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
    /// use rawmap::DualMapping;
    /// let code = DualMapping::new(1 << 20)?;
    /// // SAFETY: the fifth word of the view, aligned, and nobody runs it yet.
    /// unsafe { code.write_ptr().cast::<u32>().add(4).write(0x1234_5678) };
    /// code.sync(16..20)?;
    /// // SAFETY: the same word; the view can be read.
    /// assert_eq!(unsafe { code.run_ptr().cast::<u32>().add(4).read() }, 0x1234_5678);
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    #[must_use]
    pub const fn write_ptr(&self) -> *mut u8 {
        self.written.as_ptr()
    }

    /// Writes code at `offset`, and makes this thread see it: [`sync`](Self::sync) of what was written.
    ///
    /// # Errors
    /// That it does not lie within the view, and nothing is written; those of [`sync`](Self::sync), and it is.
    ///
    /// ```
    /// use rawmap::DualMapping;
    /// let mut code = DualMapping::new(1 << 20)?;
    /// code.write(64, &[1, 2, 3, 4])?;
    /// // SAFETY: a byte of the view, which can be read.
    /// assert_eq!(unsafe { code.run_ptr().add(67).read() }, 4);
    /// assert!(code.write(code.len() - 1, &[1, 2]).is_err());
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub fn write(&mut self, offset: usize, code: &[u8]) -> Result<(), Error> {
        let range = within("write", offset..offset.saturating_add(code.len()), self.len())?;
        // SAFETY: it lies within the view, which can be written, and of which there are no references.
        unsafe { slice::from_raw_parts_mut(self.write_ptr().add(range.start), range.len()) }
            .copy_from_slice(code);
        self.sync(range)
    }

    /// Makes what was written through [`write_ptr`](Self::write_ptr) run through
    /// [`run_ptr`](Self::run_ptr), in this thread.
    ///
    /// x86_64: one serializing instruction, no call. aarch64: cache maintenance for all cores, and a barrier
    /// on this one, no call. riscv64: one call, `riscv_flush_icache(start, end, 0)`, which is for all threads.
    /// Another thread that may have run what was there before needs [`sync_threads`](Self::sync_threads).
    ///
    /// # Errors
    /// A range that does not lie within the view; on riscv64, what a filter answers in that call's stead.
    ///
    /// ```
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
    /// memory.sync(..code.len())?; // else the processor may run what was there before
    /// // SAFETY: `code` is a C function without arguments that returns 42.
    /// assert_eq!(unsafe { transmute::<_, extern "C" fn() -> i32>(memory.run_ptr())() }, 42);
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub fn sync(&self, range: impl RangeBounds<usize>) -> Result<(), Error> {
        let range = within("sync", range, self.len())?;
        // SAFETY: it lies within both views, which are mapped, and of the same memory.
        let synced = unsafe {
            let (written, run) =
                (self.write_ptr().add(range.start), self.run_ptr().add(range.start));
            arch::sync_instructions(written, run, range.len())
        };
        synced.map_err(|errno| Error::refused_beyond("riscv_flush_icache", errno))
    }

    /// Makes every thread of the process fetch anew what it runs: after [`sync`](Self::sync), and before
    /// another thread runs code in a place where it may have run other code before.
    ///
    /// One call: `membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE, 0)` (Linux 4.16; riscv64: 6.9). The
    /// first time in a process two more, which register it.
    ///
    /// # Errors
    /// ENOSYS or EINVAL where the kernel does not have it, and what a filter answers.
    ///
    /// ```
    /// use rawmap::{DualMapping, Errno};
    /// let code = DualMapping::new(1 << 20)?;
    /// match code.sync_threads() {
    ///     Ok(()) => {}
    ///     Err(error) => assert!(matches!(error.errno(), Errno::ENOSYS | Errno::EINVAL)),
    /// }
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub fn sync_threads(&self) -> Result<(), Error> {
        sync_threads()
    }
}

/// Makes every thread of the process fetch anew what it runs.
pub(super) fn sync_threads() -> Result<(), Error> {
    const SYNC_CORE: usize = 1 << 5;
    const REGISTER: usize = 1 << 6;
    let membarrier = |command| {
        // SAFETY: it changes no memory.
        let done =
            unsafe { arch::syscall3(Word::int(command), Word::ZERO, Word::ZERO, nr::MEMBARRIER) };
        Errno::decode(done)
    };
    let mut done = membarrier(SYNC_CORE);
    if done == Err(Errno::EPERM) {
        done = membarrier(REGISTER).and_then(|_| membarrier(SYNC_CORE));
    }
    done.map(|_| ()).map_err(|errno| Error::refused_beyond("membarrier", errno))
}

fn view(len: usize, prot: Prot, flags: MapFlags, fd: RawFd) -> Result<Mapping<Raw>, Error> {
    let backing = if fd == NO_FD { Backing::SharedAnonymous } else { Backing::SharedFile };
    let call = Call::mmap(null_mut(), len, prot, flags, fd, 0);
    // SAFETY: a new mapping, in place of nothing, of whole pages.
    unsafe { Mapping::adopt(issue(call)?, len, page_size()?, backing) }
}
