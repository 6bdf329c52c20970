//! [`DualMapping`]: the same pages twice, once to write code and once to run it.

use crate::arch::{self, nr};
use crate::call::Call;
use crate::errno::Errno;
use crate::flags::{MapFlags, MremapFlags, Prot};
use crate::owners::access::Raw;
use crate::owners::descriptor::MemoryFile;
use crate::owners::error::{Error, Refused, issue};
use crate::owners::mapping::{Backing, Mapping, RW, RX};
use crate::owners::place::rounded;
use crate::owners::process::page_size;
use crate::owners::range::within;
use crate::owners::reservation::Reservation;
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
/// (`PR_SET_MDWE`).
///
/// Code is written in as many pieces as it comes in, and then published once: [`write`](Self::write),
/// `write`, [`publish`](Self::publish). What is not published yet, the processor may not see. How a compiler
/// that knows of one address only uses it is a chapter: [code at two addresses](crate::guide::jit).
///
/// A forked child shares the pages; whoever forks sees to it that only one of both writes them.
///
/// ```
/// use rawmap::DualMapping;
/// // For x86_64: mov eax, 42; ret.
/// let (load, ret) = (&[0xb8, 42, 0, 0, 0], &[0xc3]);
/// # let (load, ret): (&[u8], &[u8]) = match std::env::consts::ARCH {
/// #     "aarch64" => (&[0x40, 0x05, 0x80, 0x52], &[0xc0, 0x03, 0x5f, 0xd6]),
/// #     "riscv64" => (&[0x13, 0x05, 0xa0, 0x02], &[0x67, 0x80, 0, 0]),
/// #     _ => (load, ret),
/// # };
/// let mut code = DualMapping::new(1 << 20)?;
/// code.write(0, load)?;
/// code.write(load.len(), ret)?;
/// code.publish(..load.len() + ret.len())?;
/// // SAFETY: a C function without arguments was written there,
/// // and is published.
/// let compiled: extern "C" fn() -> i32 = unsafe { std::mem::transmute(code.run_ptr()) };
/// assert_eq!(compiled(), 42);
/// # Ok::<(), rawmap::Error>(())
/// ```
///
/// # Where a call is refused
/// Where one of the three is refused, by a filter, a security module or an emulator, twelve
/// others map a memory file twice: `prlimit64`, `openat`, `fstatfs`, `pread64` and `close` (of
/// `vm.overcommit_memory`), `memfd_create`, `ftruncate`, `mmap` twice, `fcntl`, `fstat`, `close`. The file is
/// sealed before it is used, so that a thread that has opened it meanwhile, by its number in `/proc/self/fd`,
/// can neither write it nor make it shorter (to have mapped it by then is [outside of the
/// promise](crate#what-is-outside-of-the-promise)); where a filter refuses that, or the kernel is older than
/// Linux 5.1, there is no such mapping. Under strict accounting all of its memory is had at once, and where
/// that is turned on later, a page of it that can't be counted is SIGBUS. Where another thread lowers
/// RLIMIT_FSIZE between those calls, it is SIGXFSZ.
#[derive(Debug)]
pub struct DualMapping {
    // Beside the invariants of `Mapping`: both are equally long, whole pages of the page size, and the same
    // memory, which nobody else has. The one can be written, the other one run; both can be read.
    written: Mapping<Raw>,
    run: Mapping<Raw>,
}

impl DualMapping {
    /// Two views of `len` bytes, rounded up to whole pages: zeroes.
    ///
    /// # Errors
    /// Those of [`mmap`](crate::mmap) (EINVAL for length 0; EACCES where the system forbids it),
    /// [`mremap`](crate::mremap) and [`mprotect`](crate::mprotect). It also fails if the length is more than
    /// `isize::MAX`. Nothing stays mapped.
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
        // SAFETY: all of the file, which can be written, and nobody's yet.
        unsafe { file.seal(written.as_ptr()) }?;
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
    pub const fn len(&self) -> usize {
        self.run.len()
    }

    /// Whether it holds nothing, as what was split off at its end does.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.run.is_empty()
    }

    /// The first byte of the view that can be run and read. All that code refers to by address, or by the
    /// distance from itself, is meant from here.
    ///
    /// ```
    /// use rawmap::DualMapping;
    /// let code = DualMapping::new(1 << 20)?;
    /// // No address is both writable and executable, at any time.
    /// let (run, written) = (code.run_ptr().addr(), code.write_ptr().addr());
    /// assert!(run.abs_diff(written) >= code.len());
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    #[must_use]
    pub const fn run_ptr(&self) -> *const u8 {
        self.run.as_ptr()
    }

    /// The first byte of the view that can be read and written, for code that is written in place; by `&self`,
    /// so that several threads may write parts of it at once.
    ///
    /// ```
    /// use rawmap::DualMapping;
    /// let code = DualMapping::new(1 << 20)?;
    /// // SAFETY: the fifth word of the view, aligned, and nobody runs
    /// // it yet.
    /// unsafe { code.write_ptr().cast::<u32>().add(4).write(0x1234_5678) };
    /// code.publish(16..20)?;
    /// // SAFETY: the same word; the view can be read.
    /// assert_eq!(unsafe { code.run_ptr().cast::<u32>().add(4).read() }, 0x1234_5678);
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    #[must_use]
    pub const fn write_ptr(&self) -> *mut u8 {
        self.written.as_ptr()
    }

    /// Writes part of the code at `offset`. It may be run once it is [published](Self::publish). No call.
    ///
    /// # Errors
    /// Fails if the code would not lie within the view; then nothing is written.
    ///
    /// ```
    /// use rawmap::DualMapping;
    /// let mut code = DualMapping::new(1 << 20)?;
    /// code.write(64, &[1, 2, 3])?;
    /// code.write(67, &[4])?;
    /// code.publish(64..68)?;
    /// // SAFETY: a byte of the view, which can be read.
    /// assert_eq!(unsafe { code.run_ptr().add(67).read() }, 4);
    /// assert!(code.write(code.len() - 1, &[1, 2]).is_err());
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub fn write(&mut self, offset: usize, code: &[u8]) -> Result<(), Error> {
        let range =
            within("DualMapping::write", offset..offset.saturating_add(code.len()), self.len())?;
        // SAFETY: it lies within the view, which can be written, and of which there are no references.
        unsafe { slice::from_raw_parts_mut(self.write_ptr().add(range.start), range.len()) }
            .copy_from_slice(code);
        Ok(())
    }

    /// Makes what was written so far run, in this thread, and in every one that has not run what was there
    /// before. Another thread that may have needs [`sync_threads`](Self::sync_threads) as well.
    ///
    /// It costs about as much for a whole program as for a byte, where that is one instruction: so it is for
    /// all that was written, once.
    ///
    /// x86_64: one serializing instruction, no call. aarch64: cache maintenance line by line, for all cores,
    /// and a barrier on this one, no call. riscv64: one call, `riscv_flush_icache(start, end, 0)`, which is for
    /// all threads.
    ///
    /// # Errors
    /// A range that does not lie within the view; on riscv64, what a filter answers in that call's stead.
    ///
    /// ```
    /// use rawmap::DualMapping;
    /// use std::mem::transmute;
    /// // A function that returns 42, for x86_64: mov eax, 42; ret.
    /// let code = &[0xb8, 42, 0, 0, 0, 0xc3];
    /// # // mov w0, 42; ret. li a0, 42; ret.
    /// # let code: &[u8] = match std::env::consts::ARCH {
    /// #     "aarch64" => &[0x40, 0x05, 0x80, 0x52, 0xc0, 0x03, 0x5f, 0xd6],
    /// #     "riscv64" => &[0x13, 0x05, 0xa0, 0x02, 0x67, 0x80, 0, 0],
    /// #     _ => code,
    /// # };
    /// let memory = DualMapping::new(1 << 20)?;
    /// // SAFETY: shorter than the view, which nothing borrows.
    /// unsafe { memory.write_ptr().copy_from(code.as_ptr(), code.len()) };
    /// memory.publish(..code.len())?; // else the processor may run what was there before
    /// // SAFETY: `code` is a C function without arguments that
    /// // returns 42.
    /// assert_eq!(unsafe { transmute::<_, extern "C" fn() -> i32>(memory.run_ptr())() }, 42);
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub fn publish(&self, range: impl RangeBounds<usize>) -> Result<(), Error> {
        let range = within("DualMapping::publish", range, self.len())?;
        // SAFETY: it lies within both views, which are mapped, and of the same memory.
        let published = unsafe {
            let (written, run) =
                (self.write_ptr().add(range.start), self.run_ptr().add(range.start));
            arch::sync_instructions(written, run, range.len())
        };
        published.map_err(|errno| Error::refused_beyond("riscv_flush_icache", errno))
    }

    /// Makes every thread of the process fetch anew what it runs: after [`publish`](Self::publish), and before
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

    /// Moves the view that is run to a place in reserved address space: beside other code, which it then
    /// reaches by a short jump. The new address is [`run_ptr`](Self::run_ptr); nothing may run at the old one. Code
    /// that was published must be [published](Self::publish) again, since processors may keep it by address.
    ///
    /// It was mapped executable where the kernel liked, so that no page gains that right where it lies: it
    /// works where the system forbids that (`PR_SET_MDWE`), and where code can't be had by committing a
    /// reservation. Dropped, it leaves its part of the reservation unmapped; to use that once more,
    /// [`into_parts`](Self::into_parts) and [`Mapping::into_reservation`].
    ///
    /// The calls of [`Reservation::place`].
    ///
    /// # Errors
    /// Those of [`Reservation::place`]: that the place is not as long. The view is as it was, but may lie
    /// elsewhere, so that nothing runs at the old [`run_ptr`](Self::run_ptr) before it was asked for and
    /// published again; and the place comes back as said there.
    ///
    /// ```
    /// use rawmap::{DualMapping, Mode, Reservation};
    /// // 128 MiB: from any of it to any other is one jump, on each
    /// // architecture.
    /// let mut space = Reservation::new(128 << 20, Mode::Strict)?;
    /// let mut parts = Vec::new();
    /// for _ in 0..2 {
    ///     let rest = space.split_off(1 << 20)?;
    ///     let mut code = DualMapping::new(1 << 20)?;
    ///     code.place_run(std::mem::replace(&mut space, rest))?;
    ///     parts.push(code);
    /// }
    /// assert_eq!(parts[0].run_ptr().wrapping_add(1 << 20), parts[1].run_ptr());
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub fn place_run(&mut self, place: Reservation) -> Result<(), Refused<Reservation>> {
        place.place(&mut self.run).map_err(Refused::of("DualMapping::place_run"))
    }

    /// Moves the view that is written to a place in reserved address space: at a distance from the other one
    /// that is always the same, say, so that a compiler needs no table of it.
    ///
    /// The calls of [`Reservation::place`].
    ///
    /// # Errors
    /// As [`place_run`](Self::place_run).
    ///
    /// ```
    /// use rawmap::{DualMapping, Mode, Reservation};
    /// const AREA: usize = 1 << 20;
    /// let mut run = Reservation::new(2 * AREA, Mode::Strict)?;
    /// let written = run.split_off(AREA)?;
    /// let mut code = DualMapping::new(AREA)?;
    /// code.place_run(run)?;
    /// code.place_written(written)?;
    /// assert_eq!(code.run_ptr().wrapping_add(AREA), code.write_ptr());
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub fn place_written(&mut self, place: Reservation) -> Result<(), Refused<Reservation>> {
        place.place(&mut self.written).map_err(Refused::of("DualMapping::place_written"))
    }

    /// Splits both views, as [`Mapping::split_off`] does one: this one keeps the first `at` bytes, and what
    /// comes behind is one of its own, which may be kept longer. Where the process has as many mappings as it may
    /// have, one that is dropped between two others stays mapped; [`into_parts`](Self::into_parts) and
    /// [`Mapping::unmap`] tell.
    ///
    /// No call.
    ///
    /// # Errors
    /// Fails if `at` is more than the length, or is not whole pages; then nothing has changed.
    ///
    /// ```
    /// use rawmap::DualMapping;
    /// let mut free = DualMapping::new(1 << 20)?;
    /// // A function that may be unloaded by itself.
    /// let rest = free.split_off(1 << 16)?;
    /// let mut function = std::mem::replace(&mut free, rest);
    /// function.write(0, &[1, 2, 3, 4])?;
    /// drop(function);
    /// assert_eq!(free.len(), (1 << 20) - (1 << 16));
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub fn split_off(&mut self, at: usize) -> Result<Self, Error> {
        let run = self.run.split_off(at).map_err(Error::of("DualMapping::split_off"))?;
        match self.written.split_off(at) {
            Ok(written) => Ok(Self { written, run }),
            Err(error) => {
                // It does not happen: both are as long, and of one granule.
                let joined = self.run.try_unsplit(run);
                debug_assert!(joined.is_ok());
                Err(error)
            }
        }
    }

    /// The two views as mappings of their own: the one that is written, and the one that is run. Code that
    /// is complete may give up the first:
    ///
    /// ```
    /// use rawmap::DualMapping;
    /// let mut code = DualMapping::new(4096)?;
    /// code.write(0, &[1, 2, 3, 4])?;
    /// code.publish(..)?;
    /// let (written, run) = code.into_parts();
    /// drop(written); // from now on nobody can change it
    /// // SAFETY: ours, and it can be read.
    /// assert_eq!(unsafe { run.as_ptr().read() }, 1);
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    #[must_use]
    pub fn into_parts(self) -> (Mapping<Raw>, Mapping<Raw>) {
        (self.written, self.run)
    }

    /// The two views as one owner again.
    ///
    /// # Safety
    /// For as long as the result lives: both are equally long, whole pages of ordinary size, and the same memory,
    /// of which nobody else has a view, nor writes it by a call. The first can be read and written, the second one
    /// read and run; none of it is guarded. If it is a file's, the file has the bytes, and a block for each: one
    /// that shrinks is SIGBUS.
    #[must_use]
    pub const unsafe fn from_parts(written: Mapping<Raw>, run: Mapping<Raw>) -> Self {
        Self { written, run }
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
    let call = Call::mmap(null_mut(), len, prot, flags, fd, 0);
    // A memory file as well: it is this owner's alone, and parts that are split off do not grow into each other.
    let backing = Backing::SharedAnonymous;
    // SAFETY: a new mapping, in place of nothing, of whole pages.
    unsafe { Mapping::adopt(issue(call)?, len, page_size()?, backing) }
}
