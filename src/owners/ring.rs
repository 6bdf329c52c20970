//! [`Ring`]: a buffer that is mapped twice in a row, so that what wraps around is contiguous.

use crate::arch;
use crate::call::Call;
use crate::errno::Errno;
use crate::flags::{MapFlags, MremapFlags};
use crate::owners::access::Raw;
use crate::owners::descriptor::{AsDescriptor, Kept, MemoryFile};
use crate::owners::error::{Error, Wrong, issue};
use crate::owners::mapping::{Backing, Mapping, RW};
use crate::owners::options::{MapOptions, Place, Sharing};
use crate::owners::place::{NOTHING, move_over, unless_replaced};
use crate::owners::process::page_size;
use crate::owners::reservation::{Mode, Reservation};
use crate::raw::NO_FD;
use core::ptr::null_mut;
use core::slice;

/// A mirrored buffer: it is mapped twice in a row, so that byte `n` and byte `n + len` are the same memory.
///
/// Three calls, no file descriptor: `mmap(NULL, 2 * len + 2 * page, PROT_READ|PROT_WRITE,
/// MAP_SHARED|MAP_ANONYMOUS, -1, 0)`; `mremap(start, 0, len, MREMAP_MAYMOVE|MREMAP_FIXED, start + len)`, which
/// maps the first half's pages over the second; and `munmap` of the two pages. If `mremap` is refused, these
/// tell whether the second half is still the ring's own.
///
/// A forked child shares the buffer. A program that forks must see to it that only one of the two processes
/// uses it. Processes that are not related can share a ring [over](Self::over) a file. A
/// [`Queue`](crate::Queue) is a ring for one process, with its positions.
///
/// ```
/// use rawmap::Ring;
/// let mut ring = Ring::new(4096)?;
/// let len = ring.len();
/// ring.slice_mut(len - 2, 4).copy_from_slice(b"wrap");
/// assert_eq!(ring.slice(0, 2), b"ap");
/// # Ok::<(), rawmap::Error>(())
/// ```
///
/// # Where mremap is refused
/// A filter or an emulator may refuse `mremap`. Then what the first call has mapped is unmapped, and thirteen
/// more calls map the pages of a memory file twice: `prlimit64`, `openat`, `fstatfs`, `pread64` and `close` (of
/// `vm.overcommit_memory`), `memfd_create`, `ftruncate`, `mmap` of twice the length, `munmap` of the half
/// behind the file's end, `mmap` there, `fcntl`, `fstat`, `close`. The file is sealed before it is used. So a
/// thread that has opened it meanwhile, by its number in `/proc/self/fd`, can neither write it nor make it
/// shorter. (A thread that has also mapped it by then is [outside of the
/// promise](crate#what-is-outside-of-the-promise).) Where the kernel is older than Linux 5.1, or a filter
/// refuses to seal the file, [`new`](Self::new) fails. Under strict accounting all of the file's memory is
/// allocated at once; if strict accounting is turned on later, an access to a page that can't be counted is
/// SIGBUS. If another thread lowers RLIMIT_FSIZE between those calls, the process gets SIGXFSZ.
#[derive(Debug)]
pub struct Ring {
    // Beside the invariants of `Mapping`: `both` is twice `len` bytes that can be read and written, of memory
    // that nobody else has, or whose other users keep the promise of `over` or `from_raw`; its two halves are
    // the same memory; and `len` is not 0.
    both: Mapping<Raw>,
    len: usize,
}

impl Ring {
    /// A ring of `len` bytes of zeroes, rounded up to whole pages.
    ///
    /// # Errors
    /// Those of [`mmap`](crate::mmap) and [`mremap`](crate::mremap). It also fails if the length is 0, or if
    /// twice the length is more than `isize::MAX`. As a rule nothing stays mapped after an error. But one half
    /// stays, and nobody owns it, if another thread has mapped something since the `mremap` was refused or has
    /// lowered RLIMIT_AS below what is mapped, or if a filter answers each `mremap` with an error that the
    /// kernel has for it (other than EPERM, EACCES and ENOSYS).
    ///
    /// ```
    /// use rawmap::{Ring, page_size};
    /// let ring = Ring::new(1)?;
    /// assert_eq!(ring.len(), page_size()?.bytes());
    /// assert_eq!(ring.slice(0, ring.len()).iter().max(), Some(&0));
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub fn new(len: usize) -> Result<Self, Error> {
        let page = page_size()?;
        let limit = page.round_down(isize::MAX as usize / 2) - page.bytes();
        let Some(len) = page.round_up(len).filter(|len| *len <= limit) else {
            return Err(Error::wrong("Ring::new", "the length", len, Wrong::TooLong, limit));
        };
        if len == 0 {
            return Err(Error::wrong("Ring::new", "the length", len, Wrong::TooSmall, 1));
        }
        let both = match mirrored(len) {
            Ok(both) => both,
            Err(refused) if refused.is_by_policy() => match mirrored_file(len) {
                Ok(both) => both,
                // Nor can that be had here: what was refused first is what to mend.
                Err(_) => return Err(refused),
            },
            Err(error) => return Err(error),
        };
        Ok(Self { both, len })
    }

    /// A ring over `len` bytes of a file, such as a memory file, from byte `offset` on. Processes that are not
    /// parent and child can share it, and it can outlive them. The descriptor may be closed afterwards.
    ///
    /// The processes keep the positions themselves, where both see them: for example in [`Words`](crate::Words)
    /// over another page of the file.
    ///
    /// Five calls: `mmap(NULL, len, PROT_READ|PROT_WRITE, MAP_SHARED, fd, offset)` twice, where the kernel
    /// chooses, so that it can refuse the file without harm; `mmap(NULL, 2 * len, PROT_NONE,
    /// MAP_PRIVATE|MAP_ANONYMOUS, -1, 0)`; and twice `mremap(view, len, len, MREMAP_MAYMOVE|MREMAP_FIXED,
    /// half)`. Mapping the file may cost one more `fstat`, see [`MapOptions::file`].
    ///
    /// # Errors
    /// Those of [`MapOptions::file_raw`] (EINVAL for length 0; EACCES if the file is not open for both reading
    /// and writing) and [`Reservation::new`]. It also fails if the offset or the length is not whole pages, if
    /// twice the length is more than `isize::MAX`, or if the file lies on huge pages. After an error nothing
    /// stays mapped, except a place that is lost as in [`Reservation::place`], which costs address space.
    ///
    /// # Safety
    /// For as long as the ring lives:
    /// - The file has the bytes. An access is SIGBUS if the file shrinks, if its disk fails, or if the byte has
    ///   no block yet (see `fallocate`) and the file system is full.
    /// - All mappings of the file are of the same memory. That does not hold for `/dev/zero` and some other
    ///   devices.
    /// - While bytes are borrowed as a [`slice`](Self::slice), nobody writes them; while they are borrowed as a
    ///   [`slice_mut`](Self::slice_mut), nobody else reads or writes them. "Nobody" includes every thread of
    ///   every process that has the file, by a mapping or by `read` and `write`.
    ///
    /// The caller vouches for all of them: none is hostile, and all keep one protocol, which says who may use
    /// which bytes. The protocol passes bytes on by an atomic position, which is stored with `Release` and
    /// loaded with `Acquire`. If you can't vouch for the peer, use [`as_ptr`](Self::as_ptr) instead of slices,
    /// and copy the bytes out by volatile or atomic accesses before you look at them.
    ///
    /// ```
    /// use rawmap::{MapOptions, Prot, Ring, Sharing, Words};
    /// use std::os::fd::FromRawFd;
    /// # use std::os::fd::AsRawFd;
    /// use std::sync::atomic::Ordering::{Acquire, Release};
    /// let page = rawmap::page_size()?.bytes();
    /// let len = 1 << 16;
    /// // A memory file with a page for the position, and then the bytes.
    /// // SAFETY: a new descriptor.
    /// let file = unsafe {
    ///     let fd = libc::memfd_create(c"ring".as_ptr(), 0);
    ///     std::fs::File::from_raw_fd(fd)
    /// };
    /// file.set_len((page + len) as u64)?;
    /// # // SAFETY: `file` stays open.
    /// # let file = unsafe { rawmap::Fd::borrow_raw(file.as_raw_fd()) };
    /// let rw = Prot::READ | Prot::WRITE;
    /// let position = || -> Result<Words, rawmap::Error> {
    ///     let bytes = MapOptions::new(4)
    ///         .file_raw(&file, 0, rw, Sharing::Shared)?;
    ///     // SAFETY: the file keeps its length, and both
    ///     // processes use an AtomicU32.
    ///     Ok(unsafe { Words::from_raw(bytes)? })
    /// };
    /// // SAFETY: it does; the writer uses bytes from the
    /// // position on, and the reader those before it.
    /// let bytes = || unsafe { Ring::over(&file, page as u64, len) };
    ///
    /// // In one process:
    /// let (tail, mut written): (Words, Ring) = (position()?, bytes()?);
    /// written.slice_mut(0, 5).copy_from_slice(b"hello");
    /// tail[0].store(5, Release);
    ///
    /// // In the other one:
    /// let (tail, read): (Words, Ring) = (position()?, bytes()?);
    /// assert_eq!(read.slice(0, tail[0].load(Acquire) as usize), b"hello");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub unsafe fn over(file: impl AsDescriptor, offset: u64, len: usize) -> Result<Self, Error> {
        const OPERATION: &str = "Ring::over";
        let (page, limit) = (page_size()?, isize::MAX as usize / 2);
        for (what, value) in [("the offset", offset as usize), ("the length", len)] {
            if !page.is_aligned(value) {
                return Err(Error::wrong(
                    OPERATION,
                    what,
                    value,
                    Wrong::NotAMultiple,
                    page.bytes(),
                ));
            }
        }
        if len > limit {
            return Err(Error::wrong(OPERATION, "the length", len, Wrong::TooLong, limit));
        }
        let kept = Kept::of(file.as_descriptor().raw())?;
        let view = || {
            MapOptions::new(len)
                .file_raw(kept.fd(), offset, RW, Sharing::Shared)
                .map_err(Error::of(OPERATION))
        };
        let mut first = view()?;
        if first.granule() != page {
            let what = "a ring lies on ordinary pages, and this file on huge ones";
            return Err(Error::wrong(
                OPERATION,
                what,
                first.granule().bytes(),
                Wrong::NotOffered,
                0,
            ));
        }
        let mut second = view()?;
        let mut low = Reservation::new(2 * len, Mode::Strict)?;
        let high = low.split_off(len)?;
        // Each was mapped just now, and so is in one part.
        move_over(&mut first, low.into_raw(), NOTHING)?;
        move_over(&mut second, high.into_raw(), NOTHING)?;
        Ok(Self { both: joined(first, second), len })
    }

    /// Turns the ring into one raw mapping of both views, which is twice as long, to keep its parts where an
    /// owner can't be ([`Mapping::into_raw_parts`]), or for operations that a ring does not have. No call.
    ///
    /// ```
    /// use rawmap::Ring;
    /// let mut ring = Ring::new(1 << 16)?;
    /// ring.slice_mut(0, 1)[0] = 7;
    /// let both = ring.into_raw();
    /// both.lock(..1 << 16)?; // the one view, and so its pages
    /// // SAFETY: it was a ring.
    /// let ring = unsafe { Ring::from_raw(both) };
    /// assert_eq!((ring.slice(0, 1), ring.len()), (&[7][..], 1 << 16));
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    #[must_use]
    pub fn into_raw(self) -> Mapping<Raw> {
        self.both
    }

    /// Makes a ring of a raw mapping, such as one that [`into_raw`](Self::into_raw) made. No call.
    ///
    /// # Safety
    /// The mapping's length is not 0, and each half consists of whole pages. The second half maps the same
    /// memory as the first. All of it can be read and written at any time and by any thread, and none of it is
    /// guarded. What [`over`](Self::over) asks for holds for its memory, whether that is a file or not.
    #[must_use]
    pub const unsafe fn from_raw(both: Mapping<Raw>) -> Self {
        let len = both.len() / 2;
        Self { both, len }
    }

    /// A pointer to the first byte, for reading and writing `2 * len` bytes, each of which is there twice. Rust
    /// takes the two halves for different memory, so it may move a use of one half before a use of the other. Each
    /// call of [`slice`](Self::slice) or [`slice_mut`](Self::slice_mut) keeps it from that; between uses of this
    /// pointer, `asm!("")` does.
    ///
    /// ```
    /// use rawmap::Ring;
    /// let ring = Ring::new(1 << 16)?;
    /// // A device that fills the buffer is told where it is.
    /// let (address, twice) = (ring.as_ptr().addr(), 2 * ring.len());
    /// assert!(address.checked_add(twice).is_some());
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    #[must_use]
    pub const fn as_ptr(&self) -> *mut u8 {
        self.both.as_ptr()
    }

    /// The length of the ring in bytes, without the mirrored half.
    ///
    /// ```
    /// use rawmap::Ring;
    /// let mut ring = Ring::new(1 << 16)?;
    /// // Counts of bytes read and written, which only go up.
    /// let (head, tail) = (70_000, 70_100);
    /// let free = ring.len() - (tail - head);
    /// ring.slice_mut(tail, free).fill(1);
    /// assert_eq!(ring.slice(head, tail - head), [0; 100]);
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    #[must_use]
    #[allow(clippy::len_without_is_empty)] // A ring is never empty.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Borrows `count` bytes from position `at` on, which is taken modulo the length. A position that counts on for
    /// ever, and at last wraps to 0, needs a length that is a power of two.
    ///
    /// # Panics
    /// If `count` is more than the length, as indexing a slice does.
    ///
    /// ```
    /// use rawmap::Ring;
    /// let mut ring = Ring::new(1 << 16)?;
    /// let head = ring.len() - 3;
    /// ring.slice_mut(head, 8).copy_from_slice(&0x0102_0304_0506_0708_u64.to_ne_bytes());
    /// // A number across the end is read in one piece.
    /// let number = u64::from_ne_bytes(ring.slice(head, 8).try_into().unwrap());
    /// assert_eq!(number, 0x0102_0304_0506_0708);
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    #[must_use]
    #[track_caller]
    pub fn slice(&self, at: usize, count: usize) -> &[u8] {
        assert!(count <= self.len, "{count} bytes of a ring of {}", self.len);
        // SAFETY: less than `len` bytes from the start, and at most `len` from there: within the two halves,
        // which can be read, and are written by `&mut` only, or by others who mind what is borrowed.
        unsafe { slice::from_raw_parts(self.laundered().add(at % self.len), count) }
    }

    /// Borrows `count` bytes from position `at` on, which is taken modulo the length, for writing.
    ///
    /// # Panics
    /// If `count` is more than the length, as indexing a slice does.
    ///
    /// ```
    /// use rawmap::Ring;
    /// use std::io::Read;
    /// let mut ring = Ring::new(1 << 16)?;
    /// let mut socket = &b"what a peer has sent"[..];
    /// // All that is free, in one read, wherever it begins.
    /// let got = socket.read(ring.slice_mut((1 << 16) - 4, 1 << 16)).unwrap();
    /// assert_eq!((got, ring.slice(0, 4)), (20, &b" a p"[..]));
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    #[must_use]
    #[track_caller]
    pub fn slice_mut(&mut self, at: usize, count: usize) -> &mut [u8] {
        assert!(count <= self.len, "{count} bytes of a ring of {}", self.len);
        // SAFETY: as for slice; at most `len` bytes hold none twice, and by `&mut` this is the only borrow.
        unsafe { slice::from_raw_parts_mut(self.laundered().add(at % self.len), count) }
    }

    /// The first byte, behind which the compiler must suppose any memory: what was written through an earlier
    /// borrow is stored, and what was read is forgotten, since here it may come by the other address.
    fn laundered(&self) -> *mut u8 {
        arch::launder(self.as_ptr(), self.as_ptr())
    }
}

/// Twice `len` bytes of anonymous memory, the second half of which is the first once more.
fn mirrored(len: usize) -> Result<Mapping<Raw>, Error> {
    let (anonymous, shared) =
        (MapFlags::SHARED.union(MapFlags::ANONYMOUS), Backing::SharedAnonymous);
    // Two pages more, by which the second half can be told from what others map.
    let most = 2 * len + 2 * page_size()?.bytes();
    let call = Call::mmap(null_mut(), most, RW, anonymous, NO_FD, 0);
    // SAFETY: a new mapping, in place of nothing, of whole pages.
    let mut first = unsafe { Mapping::adopt(issue(call)?, most, page_size()?, shared) }?;
    let mut second = first.split_off(len)?;
    let behind = second.split_off(len)?;
    let flags = MremapFlags::MAYMOVE.union(MremapFlags::FIXED);
    let again = Call::mremap(first.as_ptr(), 0, len, flags, second.as_ptr());
    // SAFETY: with an old length of 0 nothing moves; what is replaced is the second half, which is ours.
    match unsafe { issue(again) } {
        Ok(_) => Ok(joined(first, second)),
        Err(error) => {
            drop(unless_replaced(second, behind, &error));
            Err(error)
        }
    }
}

/// The same, of a memory file.
fn mirrored_file(len: usize) -> Result<Mapping<Raw>, Error> {
    let file = MemoryFile::new(len)?;
    // Another thread may take the half that is free for a moment.
    let both = (1..8).fold(twice_over(&file, len), |both, _| match both {
        Err(error) if error.errno() == Errno::EEXIST => twice_over(&file, len),
        both => both,
    })?;
    // SAFETY: its first half is all of the file, which can be written, and is nobody's yet.
    unsafe { file.seal(both.as_ptr()) }?;
    Ok(both)
}

/// A file of `len` bytes twice in a row.
///
/// Nothing is mapped over the second half: a kernel that refuses that (ENOMEM, before Linux 6.12) may have
/// unmapped it, and does not say so. It is unmapped, and then mapped only if it is free still.
///
/// # Errors
/// Those of the calls; EEXIST if another thread has mapped something there meanwhile. Nothing stays mapped.
fn twice_over(file: &MemoryFile, len: usize) -> Result<Mapping<Raw>, Error> {
    // Behind the file's end there is nothing, until it is mapped there as well.
    let call = Call::mmap(null_mut(), 2 * len, RW, MapFlags::SHARED, file.raw(), 0);
    // SAFETY: a new mapping, in place of nothing, of whole pages.
    let mut first =
        unsafe { Mapping::adopt(issue(call)?, 2 * len, page_size()?, Backing::SharedFile) }?;
    let second = first.split_off(len)?;
    let place = Place::Exact(second.as_ptr());
    // No part is added by this, so the kernel has no reason to refuse it.
    second.unmap()?;
    let half = MapOptions::new(len);
    // SAFETY: a file on ordinary pages that is open; and the kernel has chosen the place just now, for memory
    // that is accessible, to which a stack keeps its distance.
    let second = unsafe { half.at(place, RW, MapFlags::SHARED, file.raw(), 0) }?;
    Ok(joined(first, second))
}

/// The two halves as one owner.
fn joined(mut first: Mapping<Raw>, second: Mapping<Raw>) -> Mapping<Raw> {
    // The second lies behind the first, whole pages of the same kind.
    let joined = first.try_unsplit(second);
    debug_assert!(joined.is_ok());
    first
}
