//! What becomes of a mapping's pages: written back, locked, resident, advised, named, purged.

use super::{Backing, Mapping};
use crate::arch::{self, nr};
use crate::call::Call;
use crate::errno::Errno;
use crate::flags::{Advice, MsyncFlags};
use crate::owners::access::Access;
use crate::owners::error::{Error, NAMING, Wrong, issue};
use crate::owners::place::purge_private;
use crate::owners::process::page_size;
use crate::word::Word;
use core::ffi::CStr;
use core::ops::RangeBounds;

/// What a range reads as after [`Mapping::purge`].
///
/// ```
/// use rawmap::{MapOptions, Purged};
/// let mut block = MapOptions::new(1 << 20).anonymous()?;
/// // For `calloc`: does it have to write zeroes?
/// if block.purge(..)? != Purged::Zeroes {
///     block.fill(0);
/// }
/// assert!(block.iter().all(|byte| *byte == 0));
/// # Ok::<(), rawmap::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Purged {
    /// Zeroes. Its memory is free.
    Zeroes,
    /// The file's bytes: what was written to a private mapping of it is gone.
    File,
}

impl<A: Access> Mapping<A> {
    /// Writes the changes of a shared file mapping back to the disk, for every page that holds any of the
    /// range. Of other memory it writes nothing, and is `Ok`.
    ///
    /// One call: `msync(start, len, flags)`.
    ///
    /// # Errors
    /// Those of [`msync`](crate::msync). It also fails if the range does not lie within the mapping. An error
    /// of the disk is reported once: a later call that succeeds does not prove that the data are there.
    ///
    /// ```
    /// use rawmap::{MapOptions, MsyncFlags};
    /// # use std::os::fd::AsRawFd;
    /// let path = std::env::temp_dir().join("log");
    /// # let path = path.with_extension(std::process::id().to_string());
    /// let mut options = std::fs::File::options();
    /// options.read(true).write(true).create(true);
    /// let file = options.open(&path)?;
    /// file.set_len(7)?;
    /// # // SAFETY: `file` stays open.
    /// # let file = unsafe { rawmap::Fd::borrow_raw(file.as_raw_fd()) };
    /// // SAFETY: a file of our own, of seven bytes.
    /// let mut log = unsafe { MapOptions::whole().file_mut(&file, 0)? };
    /// log.copy_from_slice(b"commit\n");
    /// log.sync(.., MsyncFlags::SYNC)?; // now it is on the disk
    /// assert_eq!(std::fs::read(&path)?, b"commit\n");
    /// # std::fs::remove_file(&path)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn sync(&self, range: impl RangeBounds<usize>, flags: MsyncFlags) -> Result<(), Error> {
        let (addr, len) = self.at(self.lent().outwards("Mapping::sync", range)?);
        // SAFETY: msync changes no memory.
        unsafe { issue(Call::msync(addr, len, flags)) }.map(|_| ())
    }

    /// Makes every page that holds any of the range resident, and keeps it resident.
    ///
    /// One call: `mlock(start, len)`.
    ///
    /// # Errors
    /// Those of [`mlock`](crate::mlock). It also fails if the range does not lie within the mapping.
    ///
    /// ```
    /// use rawmap::MapOptions;
    /// let mut key = MapOptions::new(32).anonymous()?;
    /// key.lock(..)?;
    /// key.copy_from_slice(b"a secret that is never swapped..");
    /// key.fill(0); // wiped, before it may be
    /// key.unlock(..)?;
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub fn lock(&self, range: impl RangeBounds<usize>) -> Result<(), Error> {
        let (addr, len) = self.at(self.lent().outwards("Mapping::lock", range)?);
        // SAFETY: locking changes no contents.
        unsafe { issue(Call::mlock(addr, len)) }.map(|_| ())
    }

    /// Undoes [`lock`](Self::lock), for every page that holds any of the range.
    ///
    /// One call: `munlock(start, len)`.
    ///
    /// # Errors
    /// Those of [`munlock`](crate::munlock). It also fails if the range does not lie within the mapping.
    pub fn unlock(&self, range: impl RangeBounds<usize>) -> Result<(), Error> {
        let (addr, len) = self.at(self.lent().outwards("Mapping::unlock", range)?);
        // SAFETY: unlocking changes no contents.
        unsafe { issue(Call::munlock(addr, len)) }.map(|_| ())
    }

    /// Writes one byte to `pages` for each page of the granules that hold any of the range, and returns these
    /// bytes. The lowest bit of a byte is 1 if the page is resident. A huge page of 2 MiB has 512 of them.
    ///
    /// One call: `mincore(start, len, pages)`.
    ///
    /// # Errors
    /// Those of [`mincore`](crate::mincore). It also fails if the range does not lie within the mapping, or lies on
    /// more pages than `pages` has bytes.
    ///
    /// ```
    /// use rawmap::MapOptions;
    /// let mut heap = MapOptions::new(1 << 20).anonymous()?;
    /// heap[0] = 1;
    /// let mut pages = [0; 256]; // of 4 KiB, or fewer larger ones
    /// let used = heap.resident(.., &mut pages)?.iter().filter(|page| **page & 1 == 1);
    /// assert!(used.count() >= 1);
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub fn resident<'a>(
        &self,
        range: impl RangeBounds<usize>,
        pages: &'a mut [u8],
    ) -> Result<&'a [u8], Error> {
        const OPERATION: &str = "Mapping::resident";
        let (addr, len) = self.at(self.lent().outwards(OPERATION, range)?);
        let count = len >> page_size()?.log2();
        let room = pages.len();
        let Some(pages) = pages.get_mut(..count) else {
            let what = "the number of pages";
            return Err(Error::wrong(OPERATION, what, count, Wrong::BeyondRoom, room));
        };
        if pages.is_empty() {
            return Ok(pages);
        }
        // SAFETY: `pages` has a byte for each page.
        unsafe { issue(Call::mincore(addr, len, pages.as_mut_ptr())) }?;
        Ok(pages)
    }

    /// Makes every page that holds any of the range resident, as a read would, and returns an error if that
    /// fails.
    ///
    /// One call: `madvise(start, len, MADV_POPULATE_READ)`.
    ///
    /// # Errors
    /// Those of [`madvise`](crate::madvise): EFAULT where a read would be SIGBUS; EINVAL before Linux 5.14. It
    /// also fails if the range does not lie within the mapping.
    pub fn populate_read(&self, range: impl RangeBounds<usize>) -> Result<(), Error> {
        // SAFETY: like reading, it changes no contents.
        unsafe { self.advise_by("Mapping::populate_read", range, Advice::POPULATE_READ) }
    }

    /// Makes every page that holds any of the range resident, as a write would, and returns an error if that
    /// fails. The bytes stay as they are.
    ///
    /// One call: `madvise(start, len, MADV_POPULATE_WRITE)`.
    ///
    /// # Errors
    /// Those of [`madvise`](crate::madvise): EFAULT where a write would be SIGBUS; EINVAL before Linux 5.14,
    /// and if the memory is not writable. It also fails if the range does not lie within the mapping.
    ///
    /// ```
    /// use rawmap::MapOptions;
    /// let mut samples = MapOptions::new(1 << 20).anonymous()?;
    /// samples[0] = 7;
    /// samples.populate_write(..)?; // no write has to wait for its page
    /// assert_eq!((samples[0], samples[1]), (7, 0));
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub fn populate_write(&self, range: impl RangeBounds<usize>) -> Result<(), Error> {
        // SAFETY: like writing what is there already, it changes no contents.
        unsafe { self.advise_by("Mapping::populate_write", range, Advice::POPULATE_WRITE) }
    }

    /// Tells the kernel how every page that holds any of the range will be used. It takes the advice that
    /// changes no contents: `NORMAL`, `RANDOM`, `SEQUENTIAL`, `WILLNEED`, `COLD`, `PAGEOUT`, `HUGEPAGE`,
    /// `NOHUGEPAGE`, `COLLAPSE`, `UNMERGEABLE`, `DONTDUMP`, `DODUMP`, `DOFORK`, `KEEPONFORK`; and
    /// `GUARD_REMOVE`, which takes away the guards of a raw mapping; other mappings have none.
    ///
    /// For other advice there are [`purge`](Self::purge), [`populate_read`](Self::populate_read),
    /// [`populate_write`](Self::populate_write), [`guard`](Mapping::guard), [`punch_hole`](Mapping::punch_hole)
    /// and [`advise_any`](Self::advise_any).
    ///
    /// One call: `madvise(start, len, advice)`.
    ///
    /// # Errors
    /// Those of [`madvise`](crate::madvise). It also fails if the advice is not in the list, or if the range
    /// does not lie within the mapping.
    ///
    /// ```
    /// use rawmap::{Advice, MapOptions};
    /// let table = MapOptions::new(1 << 20).anonymous()?;
    /// table.advise(.., Advice::RANDOM)?;
    /// assert!(table.advise(.., Advice::DONTNEED).is_err());
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub fn advise(&self, range: impl RangeBounds<usize>, advice: Advice) -> Result<(), Error> {
        const OPERATION: &str = "Mapping::advise";
        match advice {
            Advice::NORMAL
            | Advice::RANDOM
            | Advice::SEQUENTIAL
            | Advice::WILLNEED
            | Advice::COLD
            | Advice::PAGEOUT
            | Advice::HUGEPAGE
            | Advice::NOHUGEPAGE
            | Advice::COLLAPSE
            | Advice::UNMERGEABLE
            | Advice::DONTDUMP
            | Advice::DODUMP
            | Advice::DOFORK
            | Advice::KEEPONFORK
            | Advice::GUARD_REMOVE => {
                // SAFETY: none of these changes contents, nor denies access.
                unsafe { self.advise_by(OPERATION, range, advice) }
            }
            _ => {
                let what = "is not advice that it takes; a Mapping has purge, guard, punch_hole and advise_any";
                Err(Error::wrong(OPERATION, what, advice.bits() as usize, Wrong::NoHint, 0))
            }
        }
    }

    /// Gives any advice, such as one of a newer kernel, for every page that holds any of the range.
    ///
    /// One call: `madvise(start, len, advice)`.
    ///
    /// # Errors
    /// Those of [`madvise`](crate::madvise). It also fails if the range does not lie within the mapping.
    ///
    /// # Safety
    /// - Now and later, the advice leaves the bytes as `A` promises them, also those around the range on the
    ///   same pages. `MADV_FREE` does not, if they are lent as a slice: it may drop them at any time.
    /// - The advice changes, drops and denies no memory but this owner's, whatever `A` is. `MADV_HWPOISON`
    ///   does: it takes a page from everybody who has it, such as all processes that map the file.
    /// - After `MADV_MERGEABLE`, no filter answers `MADV_UNMERGEABLE` in the kernel's stead. The owners make
    ///   that call before they move private memory. If the memory were still merged, a signal could make the
    ///   kernel start the move again, and unmap what others have mapped at the target since.
    /// - After `MADV_DONTFORK`, a forked child neither uses nor drops its copy of the owner, since nothing is
    ///   mapped at that place in the child.
    ///
    /// ```
    /// use rawmap::{Advice, MapOptions};
    /// let mut seed = MapOptions::new(32).anonymous()?;
    /// seed.fill(7);
    /// // SAFETY: the bytes change in a forked child only, whose one
    /// // thread borrows none.
    /// unsafe { seed.advise_any(.., Advice::WIPEONFORK)? };
    /// assert_eq!(seed[0], 7); // 0 in a child, which must not draw the same random numbers
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub unsafe fn advise_any(
        &self,
        range: impl RangeBounds<usize>,
        advice: Advice,
    ) -> Result<(), Error> {
        // SAFETY: the caller's promise.
        unsafe { self.advise_by("Mapping::advise_any", range, advice) }
    }

    /// # Safety
    /// As [`advise_any`](Self::advise_any).
    #[inline]
    unsafe fn advise_by(
        &self,
        operation: &'static str,
        range: impl RangeBounds<usize>,
        advice: Advice,
    ) -> Result<(), Error> {
        let (addr, len) = self.at(self.lent().outwards(operation, range)?);
        // SAFETY: the caller's promise.
        unsafe { issue(Call::madvise(addr, len, advice)) }.map(|_| ())
    }

    /// Names every page that holds any of the range (Linux 5.17): /proc/pid/maps shows `[anon:name]`, and for
    /// shared memory (Linux 6.2) `[anon_shmem:name]`.
    ///
    /// A name splits what the kernel holds as one mapping, as advice does, and a mapping that is split can't
    /// [grow](Self::resize). So name all of a mapping that will grow.
    ///
    /// One call: `prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, start, len, name)`.
    ///
    /// # Errors
    /// EINVAL where the kernel is older or built without names (CONFIG_ANON_VMA_NAME), for a name of more than
    /// 79 bytes, and for a name with an unprintable character or one of ``\`$[]``; EBADF for a file, and before
    /// Linux 6.2 for shared memory; ENOMEM where the process has too many mappings. It also fails if the range
    /// does not lie within the mapping.
    ///
    /// ```
    /// use rawmap::{Errno, MapOptions};
    /// let heap = MapOptions::new(1 << 20).anonymous()?;
    /// match heap.name(.., c"heap") {
    ///     Ok(()) => {
    ///         let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    ///         assert!(maps.contains("[anon:heap]"));
    ///     }
    ///     Err(error) => assert_eq!(error.errno(), Errno::EINVAL),
    /// }
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub fn name(&self, range: impl RangeBounds<usize>, name: &CStr) -> Result<(), Error> {
        const PR_SET_VMA: usize = 0x5356_4d41;
        const PR_SET_VMA_ANON_NAME: usize = 0;
        const OPERATION: &str = "Mapping::name";
        let (addr, len) = self.at(self.lent().outwards(OPERATION, range)?);
        let named = |byte: &u8| matches!(byte, b' '..=b'~') && !br"\`$[]".contains(byte);
        if name.count_bytes() > 79 || !name.to_bytes().iter().all(named) {
            let what = r"a name has at most 79 printable characters, and none of \ ` $ [ ]";
            return Err(Error::wrong(OPERATION, what, name.count_bytes(), Wrong::NotOffered, 0));
        }
        // SAFETY: the kernel reads the name, which ends with a zero, and changes no memory.
        let named = unsafe {
            arch::syscall5(
                Word::int(PR_SET_VMA),
                Word::int(PR_SET_VMA_ANON_NAME),
                Word::ptr(addr),
                Word::int(len),
                Word::ptr(name.as_ptr().cast_mut().cast()),
                nr::PRCTL,
            )
        };
        match Errno::decode(named) {
            Ok(_) => Ok(()),
            Err(errno) => Err(Error::refused_beyond(NAMING, errno)),
        }
    }

    /// Gives the memory of whole granules back to the system, and returns what they read as afterwards.
    ///
    /// One call: `madvise(start, len, MADV_DONTNEED)`, and if part of the range is locked, one more,
    /// `MADV_DONTNEED_LOCKED` (Linux 5.18). That would free nothing of shared anonymous memory; for it the call
    /// is `madvise(start, len, MADV_REMOVE)`, which empties the range for all processes that share it.
    ///
    /// # Errors
    /// Those of [`madvise`](crate::madvise): EINVAL for locked shared anonymous memory, which must be unlocked
    /// first, and for huge pages before Linux 5.18. It also fails for:
    /// - a range that does not lie within the mapping, or that begins or ends within a granule before the
    ///   mapping's end;
    /// - a mapping of a file's own bytes: the memory belongs to the file ([`punch_hole`](Mapping::punch_hole)
    ///   frees it there), and some drivers take a purge for the end of the mapping;
    /// - a slice on huge pages: there may be no page left when the bytes are used again.
    ///
    /// QEMU's user mode before 11 ignores `MADV_DONTNEED_LOCKED` and answers that it was done, so that the
    /// bytes of locked memory are still there afterwards. Where your program may run there,
    /// [`unlock`](Self::unlock) the memory first.
    ///
    /// ```
    /// use rawmap::{MapOptions, Purged};
    /// let mut memory = MapOptions::new(4096).anonymous()?;
    /// memory[0] = 1;
    /// assert_eq!(memory.purge(..)?, Purged::Zeroes);
    /// assert_eq!(memory[0], 0);
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub fn purge(&mut self, range: impl RangeBounds<usize>) -> Result<Purged, Error> {
        const OPERATION: &str = "Mapping::purge";
        let not_offered = |what| Err(Error::wrong(OPERATION, what, 0, Wrong::NotOffered, 0));
        let after = match self.backing {
            Backing::Anonymous | Backing::SharedAnonymous => Purged::Zeroes,
            Backing::PrivateFile => Purged::File,
            Backing::SharedFile => {
                return not_offered("the memory of a shared file is the file's; see punch_hole");
            }
        };
        if A::LENT && self.len != 0 && self.granule != page_size()? {
            return not_offered("a slice on huge pages keeps them; see into_raw");
        }
        let (addr, len) = self.at(self.lent().exactly(OPERATION, range)?);
        // SAFETY: the range is ours (1), whole granules (3), by `&mut` nothing borrows it, and any bytes will
        // do. For slices, the kernel's ordinary promise of a page goes on (4): they are not on huge pages.
        unsafe {
            match self.backing {
                Backing::SharedAnonymous => {
                    issue(Call::madvise(addr, len, Advice::REMOVE)).map(|_| ())
                }
                _ => purge_private(addr, len),
            }
        }?;
        Ok(after)
    }
}
