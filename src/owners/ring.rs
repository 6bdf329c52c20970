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

/// A mirrored buffer: byte `n` and byte `n + len` are the same memory.
///
/// Three calls, no file descriptor: `mmap(NULL, 2 * len + 2 * page, PROT_READ|PROT_WRITE,
/// MAP_SHARED|MAP_ANONYMOUS, -1, 0)`; `mremap(start, 0, len, MREMAP_MAYMOVE|MREMAP_FIXED, start + len)`, which
/// maps the first half's pages over the second; and `munmap` of the two pages, by which it is known whose the
/// second half is if that is refused.
///
/// A forked child shares the buffer; whoever forks sees to it that only one of both uses it. Processes that
/// have no parent in common share one by a file: [`over`](Self::over). [`Queue`](crate::Queue) keeps the
/// positions of one that is used by this process alone.
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
/// A filter or an emulator may refuse it. Then what the first call has mapped is unmapped, and thirteen more
/// map the pages of a memory file twice: `prlimit64`, `openat`, `fstatfs`, `pread64` and `close` (of
/// `vm.overcommit_memory`), `memfd_create`, `ftruncate`, `mmap` of twice the length, `munmap` of the half
/// behind the file's end, `mmap` there, `fcntl`, `fstat`, `close`. The file is sealed before it is used, so
/// that a thread that has opened it meanwhile, by its number in `/proc/self/fd`, can neither write it nor make
/// it shorter (to have mapped it by then is [outside of the promise](crate#what-is-outside-of-the-promise));
/// where a filter refuses that, or the kernel is older than Linux 5.1, there is no such ring. Under strict
/// accounting all of its memory is had at once, and where that is turned on later, a page of it that can't be
/// counted is SIGBUS. Where another thread lowers RLIMIT_FSIZE between those calls, it is SIGXFSZ.
#[derive(Debug)]
pub struct Ring {
    // Beside the invariants of `Mapping`: `both` is twice `len` bytes that can be read and written, of memory
    // that nobody else has, or whose other users keep the promise of `over` or `from_raw`; its two halves are
    // the same memory; and `len` is not 0.
    both: Mapping<Raw>,
    len: usize,
}

impl Ring {
    /// A ring of `len` bytes, rounded up to whole pages: zeroes.
    ///
    /// # Errors
    /// Those of [`mmap`](crate::mmap) and [`mremap`](crate::mremap). It also fails if the length is 0, or twice
    /// the length more than `isize::MAX`. Nothing stays mapped; but if another thread has mapped something since
    /// that mremap was refused, or has lowered RLIMIT_AS below what is mapped, or a filter answers each mremap by an
    /// error that the kernel has for it (other than EPERM, EACCES and ENOSYS), half of it stays, which nobody owns.
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

    /// A ring over `len` bytes of a file, a memory file say, from byte `offset` on: what two processes share that
    /// are not parent and child, or what outlives them. The descriptor may be closed afterwards.
    ///
    /// Positions are the user's, and lie where both processes see them: in [`Words`](crate::Words) over another
    /// page of the file.
    ///
    /// Five calls: `mmap(NULL, len, PROT_READ|PROT_WRITE, MAP_SHARED, fd, offset)` twice, where the kernel likes,
    /// which is where it can refuse a file and harm nothing; `mmap(NULL, 2 * len, PROT_NONE,
    /// MAP_PRIVATE|MAP_ANONYMOUS, -1, 0)`; and twice `mremap(view, len, len, MREMAP_MAYMOVE|MREMAP_FIXED, half)`.
    /// Mapping a file may cost an `fstat` more, see [`MapOptions::file`].
    ///
    /// # Errors
    /// Those of [`MapOptions::file_raw`] (EINVAL for length 0; EACCES if it is not open for both reading and
    /// writing) and [`Reservation::new`]. It also fails if the offset or the length is not whole pages, if twice
    /// the length is more than `isize::MAX`, or if the file lies on huge pages. Nothing stays mapped, but that a
    /// place may be lost as in [`Reservation::place`], which costs address space.
    ///
    /// # Safety
    /// For as long as the ring lives:
    /// - The file has the bytes: one that shrinks is SIGBUS, as is one that has no block for a byte yet where its
    ///   file system is full (`fallocate`), and a disk that fails.
    /// - Each mapping of it is the same memory: of `/dev/zero` it is not, nor of some other devices.
    /// - While bytes are borrowed as a [`slice`](Self::slice), nobody writes them; while they are borrowed as a
    ///   [`slice_mut`](Self::slice_mut), nobody else reads or writes them. Others are every thread of every
    ///   process that has the file, by a mapping or by `read` and `write`.
    ///
    /// Whoever calls this vouches for all of them: that they keep one protocol, by which bytes change hands, and
    /// that none of them is hostile. It says who may use which bytes, and passes them on by an atomic position,
    /// stored with `Release` and loaded with `Acquire`. Where nobody can vouch for the peer, there is
    /// [`as_ptr`](Self::as_ptr), and bytes are copied out by volatile or atomic accesses before they are
    /// believed.
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

    /// Both views as one raw mapping, of twice the length: to be kept where an owner can't be
    /// ([`Mapping::into_raw_parts`]), or for what is not offered here.
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

    /// A raw mapping as a ring, which it was before [`into_raw`](Self::into_raw), or may pass for.
    ///
    /// # Safety
    /// Its length is not 0, and twice whole pages; its second half is mapped to the same memory as its first;
    /// all of it can be read and written at any time and by any thread, and none of it is guarded; and what is
    /// said at [`over`](Self::over) holds of its memory, be that a file or not.
    #[must_use]
    pub const unsafe fn from_raw(both: Mapping<Raw>) -> Self {
        let len = both.len() / 2;
        Self { both, len }
    }

    /// The first byte. It may be used to read and write `2 * len` bytes, of which each is there twice. To the
    /// language these are two memories: between uses of the two there must be something that it does not see
    /// through, which each borrow of a slice here is.
    ///
    /// ```
    /// use rawmap::Ring;
    /// let mut ring = Ring::new(1 << 16)?;
    /// // A device that fills the buffer is told where it is.
    /// let (address, twice) = (ring.as_ptr().addr(), 2 * ring.len());
    /// assert!(address.checked_add(twice).is_some());
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    #[must_use]
    pub const fn as_ptr(&self) -> *mut u8 {
        self.both.as_ptr()
    }

    /// The length in bytes, counted once.
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

    /// `count` bytes from position `at` on, modulo the length.
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
    pub fn slice(&self, at: usize, count: usize) -> &[u8] {
        assert!(count <= self.len, "{count} bytes of a ring of {}", self.len);
        // SAFETY: less than `len` bytes from the start, and at most `len` from there: within the two halves,
        // which can be read, and are written by `&mut` only, or by others who mind what is borrowed.
        unsafe { slice::from_raw_parts(self.laundered().add(at % self.len), count) }
    }

    /// `count` bytes from position `at` on, modulo the length, to be written.
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
