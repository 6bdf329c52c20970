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

/// Memory with two views: one can be written but not run, and the other can be run but not written. So no
/// address is ever both writable and executable (W^X), and no protection changes while code runs. (Under the
/// personality `READ_IMPLIES_EXEC`, all memory that can be read can be run.)
///
/// Three calls, no file descriptor: `mmap(NULL, len, PROT_READ|PROT_EXEC, MAP_SHARED|MAP_ANONYMOUS, -1, 0)`,
/// `mremap(start, 0, len, MREMAP_MAYMOVE, NULL)`, which maps the same pages again, and `mprotect(second, len,
/// PROT_READ|PROT_WRITE)`. No view becomes executable later, so this works where the system forbids that
/// (`PR_SET_MDWE`).
///
/// [`write`](Self::write) code in as many pieces as it comes in, and then [`publish`](Self::publish) it once. A
/// processor may not see code that is not published. [The guide to code at two addresses](crate::guide::jit)
/// says how a compiler uses the two views.
///
/// A forked child shares the pages. A program that forks must see to it that only one of the two processes
/// writes them.
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
/// Where a filter, a security module or an emulator refuses one of the three calls, twelve others map a memory
/// file twice: `prlimit64`, `openat`, `fstatfs`, `pread64` and `close` (of `vm.overcommit_memory`),
/// `memfd_create`, `ftruncate`, `mmap` twice, `fcntl`, `fstat`, `close`. The file is sealed before it is used.
/// So a thread that has opened it meanwhile, by its number in `/proc/self/fd`, can neither write it nor make it
/// shorter. (A thread that has also mapped it by then is [outside of the
/// promise](crate#what-is-outside-of-the-promise).) Where the kernel is older than Linux 5.1, or a filter
/// refuses to seal the file, [`new`](Self::new) fails. Under strict accounting all of the file's memory is
/// allocated at once; if strict accounting is turned on later, an access to a page that can't be counted is
/// SIGBUS. If another thread lowers RLIMIT_FSIZE between those calls, the process gets SIGXFSZ.
#[derive(Debug)]
pub struct DualMapping {
    // Beside the invariants of `Mapping`: both are equally long, whole pages of the page size, and the same
    // memory, which nobody else has. The one can be written, the other one run; both can be read.
    written: Mapping<Raw>,
    run: Mapping<Raw>,
}

impl DualMapping {
    /// Makes two views of `len` bytes of zeroes, rounded up to whole pages.
    ///
    /// # Errors
    /// Those of [`mmap`](crate::mmap) (EINVAL for length 0; EACCES where the system forbids it),
    /// [`mremap`](crate::mremap) and [`mprotect`](crate::mprotect). It also fails if the length is more than
    /// `isize::MAX`. After an error nothing stays mapped.
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

    /// The length in bytes of each view, a multiple of the page size.
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

    /// Whether its length is 0, as after a split at its start or end.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.run.is_empty()
    }

    /// A pointer to the first byte of the view that can be run and read. The addresses and distances in code
    /// are relative to this view.
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

    /// A pointer to the first byte of the view that can be read and written, for code that is written in place.
    /// It takes `&self`, so that several threads may write parts of the view at once.
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

    /// Writes part of the code at byte `offset`. [Publish](Self::publish) it before it is run. No call.
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

    /// Makes processors see the code that was written to a range so far: in this thread, and in every thread
    /// that has not run what was there before. For threads that may have, call
    /// [`sync_threads`](Self::sync_threads) too.
    ///
    /// On x86_64 it costs as much for a byte as for a whole program. So call it once for all that was written.
    ///
    /// x86_64: one serializing instruction, no call. aarch64: cache maintenance line by line, for all cores,
    /// and a barrier on this one, no call. riscv64: one call, `riscv_flush_icache(start, end, 0)`, which acts
    /// on all threads.
    ///
    /// # Errors
    /// Fails if the range does not lie within the view; on riscv64 also if a filter refuses that call.
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

    /// Makes every thread of the process see new instructions. Call it after [`publish`](Self::publish), and
    /// before another thread runs code at a place where it may have run other code before.
    ///
    /// One call: `membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE, 0)` (Linux 4.16; riscv64: 6.9). The
    /// first time in a process it is refused, and two more follow: one that registers the process, and the same
    /// again.
    ///
    /// # Errors
    /// ENOSYS or EINVAL where the kernel does not have this call, and the errors of a filter.
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

    /// Moves the view that is run to a place in reserved address space, beside other code that it reaches by a
    /// short jump. Then [`run_ptr`](Self::run_ptr) is the new address, and nothing may run at the old one. Code
    /// that was published must be [published](Self::publish) again, since processors may hold other code for
    /// the new address.
    ///
    /// The view is executable already when it is moved. So this works where the system forbids that memory
    /// becomes executable later (`PR_SET_MDWE`), and where a committed part of a reservation could not be made
    /// executable. When the `DualMapping` is dropped, the place is unmapped. To keep the place, use
    /// [`into_parts`](Self::into_parts) and [`Mapping::into_reservation`].
    ///
    /// The calls of [`Reservation::place`].
    ///
    /// # Errors
    /// Those of [`Reservation::place`], such as that the place is not as long as the view. The view keeps its
    /// bytes, but may lie elsewhere: ask for [`run_ptr`](Self::run_ptr) again, and publish the code again
    /// before it is run. The place comes back, or is lost, as `Reservation::place` says.
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

    /// Moves the view that is written to a place in reserved address space. For example, all writable views may
    /// lie at the same distance from their executable ones, so that a compiler needs no table of them.
    ///
    /// The calls of [`Reservation::place`].
    ///
    /// # Errors
    /// Those of [`place_run`](Self::place_run).
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

    /// Splits both views at byte `at`, as [`Mapping::split_off`] does: this one keeps the first `at` bytes, and
    /// the rest is returned as a `DualMapping` of its own. Where the process has as many mappings as it may
    /// have, the kernel may refuse to unmap a part that lies between two others when it is dropped.
    /// [`into_parts`](Self::into_parts) and [`Mapping::unmap`] return that error.
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

    /// Turns the two views into mappings of their own: first the one that is written, then the one that is run.
    /// No call. Code that is complete doesn't need the first:
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

    /// Makes a `DualMapping` of two views, such as those of [`into_parts`](Self::into_parts). No call.
    ///
    /// # Safety
    /// For as long as the result lives:
    /// - Both are equally long, consist of whole ordinary pages, and map the same memory. Nobody else maps that
    ///   memory, nor writes it by a call.
    /// - The first can be read and written, and the second can be read and run. None of it is guarded.
    /// - If the memory is a file's, the file has the bytes, and a block for each. If it shrinks, an access is
    ///   SIGBUS.
    ///
    /// ```
    /// use rawmap::DualMapping;
    /// let (written, run) = DualMapping::new(4096)?.into_parts();
    /// // SAFETY: they were the two views of one.
    /// let code = unsafe { DualMapping::from_parts(written, run) };
    /// code.publish(..)?;
    /// # Ok::<(), rawmap::Error>(())
    /// ```
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
