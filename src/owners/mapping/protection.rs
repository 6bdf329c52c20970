//! What a mapping may be used for: its protection, guards, and what is laid over parts of it.

use super::{Backing, Mapping, RW, RX};
use crate::arch;
use crate::call::Call;
use crate::errno::Errno;
use crate::flags::{Advice, MapFlags, Prot};
use crate::owners::access::{Access, Executable, Raw, ReadOnly, ReadWrite};
use crate::owners::dual::sync_threads;
use crate::owners::error::{Error, Refused, Wrong, issue};
use crate::owners::process::page_size;
use crate::owners::range::within;
use crate::raw::RawFd;
use core::ops::RangeBounds;
use core::sync::atomic::{AtomicU8, Ordering};

/// How [`Mapping::guard`] guarded a range, and so how the guard is taken away.
///
/// ```
/// use rawmap::{MapOptions, Prot, Sharing};
/// let slots = MapOptions::new(1 << 20).raw(Prot::READ | Prot::WRITE, Sharing::Private)?;
/// let page = slots.granule().bytes();
/// // The kernel has guards or not, so the first tells what all
/// // others of this memory cost.
/// assert_eq!(slots.guard(..page)?, slots.guard(page..2 * page)?);
/// # Ok::<(), rawmap::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Guarded {
    /// By `MADV_GUARD_INSTALL`: the kernel still holds all as one mapping.
    /// [`Advice::GUARD_REMOVE`](crate::Advice::GUARD_REMOVE) takes the guard away; a new protection does not.
    Installed,
    /// By `mprotect(PROT_NONE)`, where the kernel has no `MADV_GUARD_INSTALL`, or not for this memory (locked,
    /// or on huge pages): the kernel holds the parts around the guard as separate mappings. Another protection
    /// takes the guard away.
    Protected,
}

impl Mapping<ReadWrite> {
    /// Makes the bytes read-only: the type lends them as `&[u8]` only, and a write through a stray pointer is
    /// SIGSEGV.
    ///
    /// One call: `mprotect(start, mapped_len, PROT_READ)`.
    ///
    /// # Errors
    /// Those of [`mprotect`](crate::mprotect). The mapping comes back writable. If the kernel has changed a
    /// part of it and refuses to change that back, as it may for memory that is sealed in part, the mapping is
    /// unmapped and lost with its bytes.
    ///
    /// ```
    /// use rawmap::MapOptions;
    /// let mut table = MapOptions::new(1 << 20).anonymous()?;
    /// table[0] = 1;
    /// let table = table.make_read_only()?;
    /// assert_eq!(table[0], 1);
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub fn make_read_only(self) -> Result<Mapping<ReadOnly>, Refused<Self>> {
        // SAFETY: they can be read then, and nobody writes them: they were this owner's alone.
        unsafe { self.make(Prot::READ, RW) }
    }
}

impl Mapping<ReadWrite> {
    /// Makes the bytes code: they can be run and read, but not written, and this thread sees the new
    /// instructions.
    ///
    /// If another thread may have run other code at these addresses before, call
    /// [`sync_threads`](Mapping::sync_threads) too. Where the system forbids that written memory becomes
    /// executable (`PR_SET_MDWE`, SELinux), use a [`DualMapping`](crate::DualMapping).
    ///
    /// One call: `mprotect(start, mapped_len, PROT_READ|PROT_EXEC)`; on riscv64 one more,
    /// `riscv_flush_icache`.
    ///
    /// # Errors
    /// Those of [`mprotect`](crate::mprotect): EACCES where the system forbids it. The mapping comes back
    /// writable, or is lost as for [`make_read_only`](Mapping::make_read_only).
    ///
    /// ```
    /// use rawmap::MapOptions;
    /// let mut memory = MapOptions::new(4096).anonymous()?;
    /// memory[..4].copy_from_slice(&[1, 2, 3, 4]);
    /// let code = memory.make_executable()?;
    /// assert_eq!(code[..4], [1, 2, 3, 4]);
    /// let mut memory = code.make_writable()?; // for the next one
    /// memory[0] = 5;
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub fn make_executable(self) -> Result<Mapping<Executable>, Refused<Self>> {
        // SAFETY: they can be read then, and nobody writes them: they were this owner's alone.
        let code: Mapping<Executable> = unsafe { self.make(RX, RW) }?;
        match code.publish(..) {
            Ok(()) => Ok(code),
            Err(error) => {
                // SAFETY: as it was.
                Err(match unsafe { code.make(RW, RX) } {
                    Ok(memory) => Refused::new(memory, error),
                    Err(_) => Refused::without_owner(error),
                })
            }
        }
    }
}

impl Mapping<Executable> {
    /// Makes the bytes writable again, and no longer executable.
    ///
    /// One call: `mprotect(start, mapped_len, PROT_READ|PROT_WRITE)`.
    ///
    /// # Errors
    /// Those of [`make_writable`](Mapping::make_writable) of a read-only mapping.
    pub fn make_writable(self) -> Result<Mapping<ReadWrite>, Refused<Self>> {
        self.written_from(RX)
    }

    /// Makes processors see the code at its new address after [`resize`](Self::resize) or
    /// [`Reservation::place`](crate::Reservation::place) has moved it. Other code may have run at that address,
    /// and processors may still hold that. If another thread may have run it, call
    /// [`sync_threads`](Self::sync_threads) too. Code that was not moved needs no `publish`:
    /// [`make_executable`](Mapping::make_executable) has done it.
    ///
    /// The calls of [`DualMapping::publish`](crate::DualMapping::publish): one on riscv64, and none elsewhere.
    ///
    /// # Errors
    /// Those of [`DualMapping::publish`](crate::DualMapping::publish).
    ///
    /// ```
    /// use rawmap::{MapOptions, Mode, Reservation};
    /// // A function that returns 42, for x86_64: mov eax, 42; ret.
    /// let bytes = &[0xb8, 42, 0, 0, 0, 0xc3];
    /// # // mov w0, 42; ret. li a0, 42; ret.
    /// # let bytes: &[u8] = match std::env::consts::ARCH {
    /// #     "aarch64" => &[0x40, 0x05, 0x80, 0x52, 0xc0, 0x03, 0x5f, 0xd6],
    /// #     "riscv64" => &[0x13, 0x05, 0xa0, 0x02, 0x67, 0x80, 0, 0],
    /// #     _ => bytes,
    /// # };
    /// let mut memory = MapOptions::new(1 << 16).anonymous()?;
    /// memory[..bytes.len()].copy_from_slice(bytes);
    /// let mut code = memory.make_executable()?;
    /// Reservation::new(1 << 16, Mode::Strict)?.place(&mut code)?;
    /// code.publish(..bytes.len())?;
    /// // SAFETY: `bytes` is a C function without arguments that
    /// // returns 42, published where it lies now.
    /// let answer: extern "C" fn() -> i32 = unsafe { std::mem::transmute(code.as_ptr()) };
    /// assert_eq!(answer(), 42);
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub fn publish(&self, range: impl RangeBounds<usize>) -> Result<(), Error> {
        let range = within("Mapping::publish", range, self.len())?;
        let start = self[range.clone()].as_ptr();
        // SAFETY: all of it is mapped, and of one memory.
        let published = unsafe { arch::sync_instructions(start, start, range.len()) };
        published.map_err(|errno| Error::refused_beyond("riscv_flush_icache", errno))
    }

    /// Makes every thread of the process see new instructions, as
    /// [`DualMapping::sync_threads`](crate::DualMapping::sync_threads) does. The calls are those of that
    /// method.
    ///
    /// # Errors
    /// Those of [`DualMapping::sync_threads`](crate::DualMapping::sync_threads).
    pub fn sync_threads(&self) -> Result<(), Error> {
        sync_threads()
    }
}

impl Mapping<ReadOnly> {
    /// Makes the bytes writable. Those of a file are written in a private copy.
    ///
    /// One call: `mprotect(start, mapped_len, PROT_READ|PROT_WRITE)`.
    ///
    /// # Errors
    /// Those of [`mprotect`](crate::mprotect): ENOMEM where there is not so much memory. The mapping comes back
    /// read-only, or is lost as for [`make_read_only`](Mapping::make_read_only). It also fails for shared
    /// memory, since others would see the change, and for a file on huge pages, where a write may find no page.
    ///
    /// ```
    /// use rawmap::MapOptions;
    /// let file = std::fs::File::open("/proc/self/exe")?;
    /// # use std::os::fd::AsRawFd;
    /// # // SAFETY: `file` stays open.
    /// # let file = unsafe { rawmap::Fd::borrow_raw(file.as_raw_fd()) };
    /// // SAFETY: a program's file is not written while it runs.
    /// let image = unsafe { MapOptions::new(4096).file(&file, 0)? };
    /// let mut copy = image.make_writable()?;
    /// copy[0] = b'!'; // here, and not in the file
    /// assert_eq!(&copy[..4], b"!ELF");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn make_writable(self) -> Result<Mapping<ReadWrite>, Refused<Self>> {
        self.written_from(Prot::READ)
    }
}

impl<A: Access> Mapping<A> {
    /// Makes the bytes writable, which were `old`.
    fn written_from(self, old: Prot) -> Result<Mapping<ReadWrite>, Refused<Self>> {
        if !self.backing.is_private() {
            let what = "shared memory is not made writable; map it so";
            let error = Error::wrong("Mapping::make_writable", what, 0, Wrong::NotOffered, 0);
            return Err(Refused::new(self, error));
        }
        // Each write would take a huge page, of which there may be none: SIGBUS.
        if matches!(self.backing, Backing::PrivateFile) && page_size().ok() != Some(self.granule) {
            let what = "a file on huge pages is not made writable; copy its bytes";
            let error = Error::wrong("Mapping::make_writable", what, 0, Wrong::NotOffered, 0);
            return Err(Refused::new(self, error));
        }
        // SAFETY: they can be read and written then, and what is written is seen here only.
        unsafe { self.make(RW, old) }
    }

    /// Changes the protection of all of it, and with it the type.
    ///
    /// # Safety
    /// With the protection `new`, the bytes are what `B` promises; with `old`, what `A` does. Both are
    /// accessible.
    unsafe fn make<B: Access>(self, new: Prot, old: Prot) -> Result<Mapping<B>, Refused<Self>> {
        let (base, len) = (self.base(), self.mapped_len());
        // SAFETY: the range is ours (1), and by value nothing borrows it.
        match unsafe { issue(Call::mprotect(base, len, new)) } {
            // SAFETY: the caller's promise.
            Ok(_) => Ok(unsafe { self.with_access() }),
            Err(error) => {
                // The kernel may have changed the front before it refused.
                // SAFETY: as above.
                match unsafe { issue(Call::mprotect(base, len, old)) } {
                    Ok(_) => Err(Refused::new(self, error)),
                    Err(_) => Err(Refused::without_owner(error)),
                }
            }
        }
    }
}

impl Mapping<Raw> {
    /// Sets the protection of whole granules.
    ///
    /// One call: `mprotect(start, len, prot)`.
    ///
    /// # Errors
    /// Those of [`mprotect`](crate::mprotect). It also fails for a range that does not lie within the mapping,
    /// or that begins or ends within a granule before the mapping's end; for `PROT_GROWSDOWN` and
    /// `PROT_GROWSUP`, which would change memory outside of the range; and where the main thread's stack may
    /// grow. If the kernel holds the range in several parts, it may have protected the first ones when it
    /// refuses another.
    ///
    /// ```
    /// use rawmap::{MapOptions, Prot, Sharing};
    /// let relro = MapOptions::new(1 << 20).raw(Prot::READ | Prot::WRITE, Sharing::Private)?;
    /// // SAFETY: ours, and it can be written.
    /// unsafe { relro.as_ptr().write(1) };
    /// relro.protect(.., Prot::READ)?; // relocated: from now on a write is SIGSEGV
    /// // SAFETY: ours, and it can be read.
    /// assert_eq!(unsafe { relro.as_ptr().read() }, 1);
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub fn protect(&self, range: impl RangeBounds<usize>, prot: Prot) -> Result<(), Error> {
        self.protect_by("Mapping::protect", range, prot)
    }

    fn protect_by(
        &self,
        operation: &'static str,
        range: impl RangeBounds<usize>,
        prot: Prot,
    ) -> Result<(), Error> {
        let (addr, len) = self.at(self.lent().exactly(operation, range)?);
        if !prot.intersection(Prot::GROWSDOWN.union(Prot::GROWSUP)).is_empty() {
            let what = "PROT_GROWSDOWN and PROT_GROWSUP reach further than the owner; see the raw mprotect";
            return Err(Error::wrong(operation, what, prot.bits(), Wrong::NotOffered, 0));
        }
        if self.is_stack_ground()? {
            return Err(Error::wrong(operation, "the memory", addr.addr(), Wrong::StackGround, 0));
        }
        // SAFETY: the range is ours (1), and not where a stack may come to lie (6); of a raw mapping there are
        // no references, and who uses its pointers minds the protection.
        unsafe { issue(Call::mprotect(addr, len, prot)) }.map(|_| ())
    }

    /// Guards whole granules: every access to them is SIGSEGV. What they held may be lost.
    ///
    /// One call where the kernel has guards (Linux 6.13): `madvise(start, len, MADV_GUARD_INSTALL)`, which
    /// splits no mapping. Where the kernel refuses that, two more: `mprotect(start, len, PROT_NONE)`, and
    /// `madvise(start, len, MADV_GUARD_REMOVE)`, since the front of the range may be guarded by then. The first
    /// time in a process that the kernel accepts it, one more: `madvise(start, page, MADV_POPULATE_READ)`,
    /// which fails if the guard is there. It succeeds under an emulator that only claims to have guards; then
    /// the two calls above follow, and later guards are made by `mprotect` alone.
    ///
    /// A guard of `MADV_GUARD_INSTALL` costs page tables, 8 bytes for each page. So a range of more than 1 MiB
    /// is guarded by `mprotect` only.
    ///
    /// To take the guard away, look at the result: [`advise`](Self::advise) with `GUARD_REMOVE` takes away one
    /// that was [`Installed`](Guarded::Installed), and [`protect`](Self::protect) one that is
    /// [`Protected`](Guarded::Protected). The other call may succeed, but leaves the guard.
    ///
    /// # Errors
    /// Those of [`protect`](Self::protect). What was guarded before stays guarded, and the front of the range
    /// may be guarded too.
    ///
    /// ```
    /// use rawmap::{Advice, Guarded, MapOptions, Prot, Sharing};
    /// let rw = Prot::READ | Prot::WRITE;
    /// let memory = MapOptions::new(1 << 20).raw(rw, Sharing::Private)?;
    /// let page = memory.granule().bytes();
    /// match memory.guard(..page)? {
    ///     Guarded::Installed => memory.advise(..page, Advice::GUARD_REMOVE)?,
    ///     _ => memory.protect(..page, rw)?,
    /// }
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub fn guard(&self, range: impl RangeBounds<usize>) -> Result<Guarded, Error> {
        const OPERATION: &str = "Mapping::guard";
        let granules = self.lent().exactly(OPERATION, range)?;
        let (addr, len) = self.at(granules.clone());
        if len == 0 {
            return Ok(Guarded::Installed);
        }
        /// What longer guards would cost in page tables is more than a mapping does.
        const MOST: usize = 1 << 20;
        let tried = len <= MOST && GUARDS.load(Ordering::Relaxed) != MISSING;
        // SAFETY: the range is ours (1), and of a raw mapping there are no references.
        if tried && unsafe { install_guard(addr, len, self.granule.bytes()) } {
            return Ok(Guarded::Installed);
        }
        if self.is_stack_ground()? {
            return Err(Error::wrong(OPERATION, "the memory", addr.addr(), Wrong::StackGround, 0));
        }
        // SAFETY: as above, and not where a stack may come to lie (6).
        unsafe { issue(Call::mprotect(addr, len, Prot::NONE)) }?;
        if tried {
            // Part of it may be guarded the other way: what the kernel had done before it came to memory that can't
            // be. Not before, so that what was guarded stays so where nothing else guards it.
            // SAFETY: as above.
            let _ = unsafe { issue(Call::madvise(addr, len, Advice::GUARD_REMOVE)) };
        }
        Ok(Guarded::Protected)
    }

    /// Replaces a range of whole granules by new anonymous memory, or by part of a file if `fd` is one. It
    /// takes `&self`, so that several threads may replace parts of one mapping.
    ///
    /// One call: `mmap(start, len, prot, flags|MAP_FIXED, fd, offset)`.
    ///
    /// A kernel that refuses this call may leave a hole. If that matters, split a
    /// [`Reservation`](crate::Reservation) and [`place`](crate::Reservation::place) the memory there, which
    /// leaves none.
    ///
    /// # Errors
    /// Those of [`mmap`](crate::mmap). It also fails if the range does not lie within the mapping, or begins or
    /// ends within a granule. After an error of `mmap` the range is as it was, or is no longer mapped.
    ///
    /// # Safety
    /// - Unless `flags` have `ANONYMOUS`, `fd` is open. `flags` have no `GROWSDOWN`. Neither `flags` nor the
    ///   file ask for pages that are larger than the mapping's granule.
    /// - No thread uses the range meanwhile, and the range is not where the main thread's stack may grow.
    /// - No other thread maps anything during the call, nor, if it fails, until the mapping is dropped or given
    ///   up; or the caller knows that the kernel unmaps nothing that it does not replace. A refusal that comes
    ///   late (by the file, or ENOMEM) leaves a hole, and before Linux 6.12 a signal may make the kernel start
    ///   a driver's mapping again.
    /// - [`backing`](Self::backing) still says what the mapping was made of at first. If the range is now of
    ///   another kind, the caller does not purge it where that would do harm, does not let the mapping grow
    ///   ([`resize`](Self::resize) might show bytes of a file that belong to another owner), and does not
    ///   [assume](Self::assume) the bytes to be a slice. If private memory that may be merged
    ///   (`MADV_MERGEABLE`) now lies over shared memory, the caller does not [place](crate::Reservation::place)
    ///   the mapping elsewhere.
    ///
    /// ```
    /// use rawmap::{MapFlags, MapOptions, Prot, Sharing};
    /// use std::os::fd::AsRawFd;
    /// let file = std::fs::File::open("/proc/self/exe").unwrap();
    /// let image = MapOptions::new(1 << 20).raw(Prot::NONE, Sharing::Private)?;
    /// let page = image.granule().bytes();
    /// let (prot, flags) = (Prot::READ, MapFlags::PRIVATE);
    /// // SAFETY: an open program, not on hugetlbfs, which has no
    /// // reason to refuse a private view.
    /// unsafe { image.overlay(..page, prot, flags, file.as_raw_fd(), 0)? };
    /// // SAFETY: four bytes of ours, which can be read now.
    /// assert_eq!(unsafe { image.as_ptr().cast::<[u8; 4]>().read() }, *b"\x7fELF");
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub unsafe fn overlay(
        &self,
        range: impl RangeBounds<usize>,
        prot: Prot,
        flags: MapFlags,
        fd: RawFd,
        offset: u64,
    ) -> Result<(), Error> {
        let (addr, len) = self.at(self.lent().exactly("Mapping::overlay", range)?);
        let call = Call::mmap(addr, len, prot, flags.union(MapFlags::FIXED), fd, offset);
        // SAFETY: what is replaced is ours (1); the rest is the caller's promise.
        unsafe { issue(call) }.map(|_| ())
    }

    /// Frees whole granules of the shared file, or of shared anonymous memory, itself. They read as zeroes
    /// afterwards, in the file and in every mapping of it.
    ///
    /// One call: `madvise(start, len, MADV_REMOVE)`.
    ///
    /// # Errors
    /// Those of [`madvise`](crate::madvise): EACCES if the mapping is not shared or its file is not open for
    /// writing, EINVAL if the range is locked or has no file behind it, EOPNOTSUPP if the file system can't do
    /// it. It also fails if the range does not lie within the mapping, or begins or ends within a granule before the
    /// mapping's end.
    ///
    /// ```
    /// use rawmap::{MapOptions, Prot, Sharing};
    /// let slab = MapOptions::new(1 << 20).raw(Prot::READ | Prot::WRITE, Sharing::Shared)?;
    /// // SAFETY: ours, and nobody else has it.
    /// unsafe { slab.as_ptr().write(7) };
    /// slab.punch_hole(..)?; // what all see now is zeroes
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub fn punch_hole(&self, range: impl RangeBounds<usize>) -> Result<(), Error> {
        let (addr, len) = self.at(self.lent().exactly("Mapping::punch_hole", range)?);
        // SAFETY: the range is ours (1), and of a raw mapping there are no references; who maps the file
        // elsewhere as a slice has promised that nobody writes it.
        unsafe { issue(Call::madvise(addr, len, Advice::REMOVE)) }.map(|_| ())
    }
}

/// Whether guards work here: 0 where that is not known yet, 1 if they do, 2 if not.
static GUARDS: AtomicU8 = AtomicU8::new(0);
const WORK: u8 = 1;
const MISSING: u8 = 2;

/// Guards a range by `MADV_GUARD_INSTALL`, and says whether all of it is. If not, part of it may be.
///
/// # Safety
/// The range belongs to the caller, whole granules, not of length 0, and nothing refers to its bytes.
unsafe fn install_guard(addr: *mut u8, len: usize, granule: usize) -> bool {
    // SAFETY: the caller's promise.
    if unsafe { issue(Call::madvise(addr, len, Advice::GUARD_INSTALL)) }.is_err() {
        return false;
    }
    if GUARDS.load(Ordering::Relaxed) == WORK {
        return true;
    }
    // SAFETY: it changes no contents.
    match unsafe { issue(Call::madvise(addr, granule, Advice::POPULATE_READ)) } {
        Err(error) if error.errno() == Errno::EFAULT => {
            GUARDS.store(WORK, Ordering::Relaxed);
            true
        }
        // No verdict: inaccessible memory can't be read, guard or no guard.
        Err(_) => false,
        Ok(_) => {
            GUARDS.store(MISSING, Ordering::Relaxed);
            false
        }
    }
}
