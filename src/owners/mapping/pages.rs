//! What becomes of a mapping's pages: written back, locked, resident, advised, purged.

use super::Mapping;
use crate::owners::error::made;
use crate::owners::options::Origin;
use crate::owners::{Access, Error, page_size};
use crate::{Advice, Call, Errno, MsyncFlags};

/// What a purged range reads as now.
///
/// ```
/// use rawmap::{MapOptions, Purged};
/// let mut block = MapOptions::new(1 << 20).anonymous()?;
/// // For `calloc`: does it have to write zeroes?
/// if block.purge(0, block.len())? != Purged::Zeroes {
///     block.fill(0);
/// }
/// assert!(block.iter().all(|byte| *byte == 0));
/// # Ok::<(), rawmap::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purged {
    /// Zeroes; its memory is free.
    Zeroes,
    /// What the file says: for a private mapping, what was written to it is gone; a shared one is
    /// as it was, and its memory stays in the page cache.
    File,
    /// Not known: parts of it were [overlaid](Mapping::overlay), and what a purge does to them
    /// depends on what is there now.
    Mixed,
}

impl<A: Access> Mapping<A> {
    /// Writes changes of a shared file mapping back to the file.
    ///
    /// One call: `msync(start + offset, len, flags)`.
    ///
    /// # Errors
    /// Those of [`msync`](crate::msync), and a range that is not within the mapping.
    ///
    /// ```
    /// # use std::os::fd::AsRawFd;
    /// # let path = std::env::temp_dir().join(format!("rawmap-sync-{}", std::process::id()));
    /// # let mut new = std::fs::File::options();
    /// # let file = new.read(true).write(true).create(true).truncate(true).open(&path).unwrap();
    /// # file.set_len(7).unwrap();
    /// use rawmap::{MapOptions, MsyncFlags};
    /// // SAFETY: an open file of seven bytes; of a shared mapping nothing is promised.
    /// let log = unsafe { MapOptions::new(7).shared().file(file.as_raw_fd(), 0)? };
    /// // SAFETY: its first seven bytes, which the file has.
    /// unsafe { log.as_ptr().cast::<[u8; 7]>().write(*b"commit\n") };
    /// log.sync(0, 7, MsyncFlags::SYNC)?; // now it is on the disk
    /// assert_eq!(std::fs::read(&path).unwrap(), b"commit\n");
    /// # std::fs::remove_file(&path).unwrap();
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub fn sync(&self, offset: usize, len: usize, flags: MsyncFlags) -> Result<(), Error> {
        let (addr, len) = self.range(offset, len)?;
        // SAFETY: msync changes no memory.
        unsafe { made(Call::msync(addr, len, flags)) }.map(|_| ())
    }

    /// Keeps a range resident.
    ///
    /// One call: `mlock(start + offset, len)`.
    ///
    /// # Errors
    /// Those of [`mlock`](crate::mlock), and a range that is not within the mapping.
    ///
    /// ```
    /// use rawmap::MapOptions;
    /// let buffer = MapOptions::new(1 << 20).anonymous()?;
    /// buffer.lock(0, 1)?;
    /// // A real-time thread won't fault on this page.
    /// assert_eq!(buffer.resident(0, 1, &mut [0])?[0] & 1, 1);
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub fn lock(&self, offset: usize, len: usize) -> Result<(), Error> {
        let (addr, len) = self.range(offset, len)?;
        // SAFETY: locking changes no memory.
        unsafe { made(Call::mlock(addr, len)) }.map(|_| ())
    }

    /// Undoes [`lock`](Self::lock).
    ///
    /// One call: `munlock(start + offset, len)`.
    ///
    /// # Errors
    /// Those of [`munlock`](crate::munlock), and a range that is not within the mapping.
    ///
    /// ```
    /// use rawmap::MapOptions;
    /// let mut key = MapOptions::new(32).anonymous()?;
    /// key.lock(0, 32)?;
    /// key.copy_from_slice(b"a secret that is never swapped..");
    /// key.fill(0); // wiped, before it may be
    /// key.unlock(0, 32)?;
    /// assert!(key.iter().all(|byte| *byte == 0));
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub fn unlock(&self, offset: usize, len: usize) -> Result<(), Error> {
        let (addr, len) = self.range(offset, len)?;
        // SAFETY: unlocking changes no memory.
        unsafe { made(Call::munlock(addr, len)) }.map(|_| ())
    }

    /// Which pages of a range are resident: a byte for each page (not granule) of the range, whose
    /// lowest bit says so.
    ///
    /// One call: `mincore(start + offset, len, pages)`.
    ///
    /// # Errors
    /// Those of [`mincore`](crate::mincore); a range that is not within the mapping, or has more
    /// pages than `pages` has bytes ([`Error::OutOfRange`]).
    ///
    /// ```
    /// use rawmap::MapOptions;
    /// let mut heap = MapOptions::new(1 << 20).anonymous()?;
    /// heap[0] = 1;
    /// let mut pages = [0; 256]; // of 4 KiB, or fewer larger ones
    /// let used = heap.resident(0, heap.len(), &mut pages)?.iter().filter(|page| **page & 1 == 1);
    /// assert!(used.count() >= 1);
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub fn resident<'a>(
        &self,
        offset: usize,
        len: usize,
        pages: &'a mut [u8],
    ) -> Result<&'a [u8], Error> {
        let (addr, _) = self.range(offset, len)?;
        let count = len.div_ceil(page_size()?.bytes());
        let size = pages.len();
        let Some(pages) = pages.get_mut(..count) else {
            return Err(Error::OutOfRange { offset: 0, len: count, size });
        };
        // SAFETY: `pages` has a byte for each page.
        unsafe { made(Call::mincore(addr, len, pages.as_mut_ptr())) }?;
        Ok(pages)
    }

    /// Makes a range resident as reading it would, and says if that fails.
    ///
    /// One call: `madvise(start + offset, len, MADV_POPULATE_READ)`.
    ///
    /// # Errors
    /// Those of [`madvise`](crate::madvise); EINVAL before Linux 5.14; a range that is not within
    /// the mapping.
    ///
    /// ```
    /// # use std::os::fd::AsRawFd;
    /// use rawmap::MapOptions;
    /// let file = std::fs::File::open("/proc/self/exe").unwrap();
    /// // SAFETY: a program's file isn't written while it runs.
    /// let image = unsafe { MapOptions::new(4).read_only().file(file.as_raw_fd(), 0)? };
    /// image.populate_read(0, 4)?; // an error of the disk would be one here, not a SIGBUS below
    /// assert_eq!(&image[..], b"\x7fELF");
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub fn populate_read(&self, offset: usize, len: usize) -> Result<(), Error> {
        // SAFETY: as reading does it, this changes no contents.
        unsafe { self.advise_any(offset, len, Advice::POPULATE_READ) }
    }

    /// Makes a range resident and writable as writing it would, and says if that fails.
    ///
    /// One call: `madvise(start + offset, len, MADV_POPULATE_WRITE)`.
    ///
    /// # Errors
    /// Those of [`madvise`](crate::madvise); EINVAL before Linux 5.14, and if it can't be written;
    /// EFAULT where an access would be SIGBUS; a range that is not within the mapping.
    ///
    /// ```
    /// use rawmap::MapOptions;
    /// let mut samples = MapOptions::new(1 << 20).anonymous()?;
    /// samples[0] = 7;
    /// samples.populate_write(0, samples.len())?; // no write has to wait for its page
    /// assert_eq!((samples[0], samples[1]), (7, 0));
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub fn populate_write(&self, offset: usize, len: usize) -> Result<(), Error> {
        // SAFETY: as writing what is there already does it, this changes no contents.
        unsafe { self.advise_any(offset, len, Advice::POPULATE_WRITE) }
    }

    /// Says how a range will be used, by advice that changes no contents: `NORMAL`, `RANDOM`,
    /// `SEQUENTIAL`, `WILLNEED`, `COLD`, `PAGEOUT`, `HUGEPAGE`, `NOHUGEPAGE`, `COLLAPSE`, `MERGEABLE`,
    /// `UNMERGEABLE`, `DONTDUMP`, `DODUMP`, `DOFORK`, `KEEPONFORK`, `GUARD_REMOVE`.
    ///
    /// For the rest there are [`purge`](Self::purge), [`populate_read`](Self::populate_read),
    /// [`populate_write`](Self::populate_write), [`guard`](Mapping::guard),
    /// [`punch_hole`](Mapping::punch_hole) and [`advise_any`](Self::advise_any).
    ///
    /// One call: `madvise(start + offset, len, advice)`.
    ///
    /// # Errors
    /// Those of [`madvise`](crate::madvise), [`Error::NotOffered`], and a range that is not within
    /// the mapping.
    ///
    /// ```
    /// use rawmap::{Advice, Error, MapOptions};
    /// let table = MapOptions::new(1 << 20).anonymous()?;
    /// table.advise(0, table.len(), Advice::RANDOM)?;
    /// assert_eq!(table.advise(0, 1, Advice::DONTNEED), Err(Error::NotOffered));
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub fn advise(&self, offset: usize, len: usize, advice: Advice) -> Result<(), Error> {
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
            | Advice::MERGEABLE
            | Advice::UNMERGEABLE
            | Advice::DONTDUMP
            | Advice::DODUMP
            | Advice::DOFORK
            | Advice::KEEPONFORK
            | Advice::GUARD_REMOVE => {
                // SAFETY: none of these changes contents; a guard there is only in a raw mapping.
                unsafe { self.advise_any(offset, len, advice) }
            }
            _ => Err(Error::NotOffered),
        }
    }

    /// Any advice, such as a new kernel's.
    ///
    /// One call: `madvise(start + offset, len, advice)`.
    ///
    /// # Errors
    /// Those of [`madvise`](crate::madvise), and a range that is not within the mapping.
    ///
    /// # Safety
    /// The advice must leave the bytes as `A` promises them while they are borrowed; and after
    /// `MADV_DONTFORK`, in a forked child, where nothing is mapped there, the owner must not be used
    /// nor dropped.
    ///
    /// ```
    /// use rawmap::{Advice, MapOptions};
    /// let mut seed = MapOptions::new(32).anonymous()?;
    /// seed.fill(7);
    /// // SAFETY: the bytes change in a forked child only, whose one thread borrows none.
    /// unsafe { seed.advise_any(0, 32, Advice::WIPEONFORK)? };
    /// assert_eq!(seed[0], 7); // 0 in a child, which must not draw the same random numbers
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub unsafe fn advise_any(
        &self,
        offset: usize,
        len: usize,
        advice: Advice,
    ) -> Result<(), Error> {
        let (addr, len) = self.range(offset, len)?;
        // SAFETY: the caller's promise.
        unsafe { made(Call::madvise(addr, len, advice)) }.map(|_| ())
    }

    /// Gives a range's memory back to the system, and says what the range reads as afterwards.
    ///
    /// One call: `madvise(start + offset, len, MADV_DONTNEED)`; for shared anonymous memory, of
    /// which that would free nothing, `MADV_REMOVE`. If part of the range is locked, one more:
    /// `MADV_DONTNEED_LOCKED` (Linux 5.18). Of a shared file, this frees nothing but page tables;
    /// [`punch_hole`](Self::punch_hole) does.
    ///
    /// # Errors
    /// Those of [`madvise`](crate::madvise); EINVAL for locked shared anonymous memory, which must
    /// be unlocked first, and for huge pages before Linux 5.18; a range that is not within the
    /// mapping.
    ///
    /// ```
    /// use rawmap::{MapOptions, Purged};
    /// let mut memory = MapOptions::new(4096).anonymous()?;
    /// memory[0] = 1;
    /// assert_eq!(memory.purge(0, memory.len())?, Purged::Zeroes);
    /// assert_eq!(memory[0], 0);
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub fn purge(&mut self, offset: usize, len: usize) -> Result<Purged, Error> {
        let (advice, after) = match self.origin {
            Origin::Anonymous => (Advice::DONTNEED, Purged::Zeroes),
            Origin::SharedAnonymous => (Advice::REMOVE, Purged::Zeroes),
            Origin::File => (Advice::DONTNEED, Purged::File),
            Origin::Mixed => (Advice::DONTNEED, Purged::Mixed),
        };
        let (addr, len) = self.range(offset, len)?;
        // SAFETY: by `&mut`, nothing borrows the bytes, and any bytes will do.
        let done = unsafe {
            if advice == Advice::REMOVE {
                made(Call::madvise(addr, len, advice)).map(|_| ())
            } else {
                purge_private(addr, len)
            }
        };
        done.map(|()| after)
    }
}

/// Drops what a range holds, where that is the process's own: `madvise(addr, len, MADV_DONTNEED)`; if
/// part of it is locked, one call more, `MADV_DONTNEED_LOCKED`.
///
/// # Safety
/// The range must be the owner's, and nothing may refer to its bytes.
pub(in crate::owners) unsafe fn purge_private(addr: *mut u8, len: usize) -> Result<(), Error> {
    // SAFETY: the caller's promise.
    let done = unsafe { made(Call::madvise(addr, len, Advice::DONTNEED)) };
    match done {
        Err(Error::Refused { errno: Errno::EINVAL, .. }) => {
            // SAFETY: the caller's promise.
            unsafe { made(Call::madvise(addr, len, Advice::DONTNEED_LOCKED)) }.map(|_| ())
        }
        done => done.map(|_| ()),
    }
}
