//! A mapping's extent: resized, split, joined, unmapped.

use super::{Backing, Mapping};
use crate::arch;
use crate::call::Call;
use crate::flags::MremapFlags;
use crate::owners::access::{Access, Raw};
use crate::owners::error::{Error, Refused, Wrong, issue};
use crate::owners::place::{Room, give_back, not_null, rounded, rounded_behind, unmerged};
use crate::owners::process::{grows_into_stack_ground, page_size};
use core::mem::ManuallyDrop;
use core::ptr::{NonNull, null_mut};

impl<A: Access> Mapping<A> {
    /// Unmaps it, and returns the error if the kernel refuses, which a drop can't do.
    ///
    /// One call: `munmap(start, mapped_len)`.
    ///
    /// # Errors
    /// ENOMEM if it lies within what the kernel holds as one mapping, and the process already has as many
    /// mappings as it may have. The mapping comes back.
    ///
    /// ```
    /// use rawmap::MapOptions;
    /// let block = MapOptions::new(1 << 20).anonymous()?;
    /// block.unmap()?;
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub fn unmap(self) -> Result<(), Refused<Self>> {
        let this = ManuallyDrop::new(self);
        if this.len == 0 {
            return Ok(());
        }
        // SAFETY: all of it is ours (1), and with the owner, all that could refer to it is here.
        match unsafe { issue(Call::munmap(this.base(), this.mapped_len())) } {
            Ok(_) => Ok(()),
            Err(error) => Err(Refused::new(ManuallyDrop::into_inner(this), error)),
        }
    }

    /// Makes the mapping `len` bytes long. It may move, but no byte is copied. The bytes that a
    /// [`ReadWrite`](crate::ReadWrite) mapping gains are zeroes. Another mapping gains granules of zeroes, or
    /// of more of its file, and the rest of its former last granule is as it was. When it shrinks, granules
    /// that hold none of the bytes are unmapped; at length 0, all are.
    ///
    /// A mapping that derefs to a slice grows only if it is private anonymous memory on ordinary pages; for
    /// other memory the kernel does not promise pages for the new bytes. A raw mapping of a private copy of a
    /// file grows to show more of the file (an access behind the file's end is SIGBUS). A raw mapping of a
    /// file's own bytes grows by [`resize_file`](Mapping::resize_file) only, since the new bytes may belong to
    /// another owner. Shared anonymous memory can't grow.
    ///
    /// One call, if the number of granules changes: `munmap(end, ...)`, or `mremap(start, mapped_len, len,
    /// MREMAP_MAYMOVE, NULL)`. A mapping that could grow to where the main thread's stack may grow
    /// ([`prepare`](crate::prepare)) is moved elsewhere instead, by up to six calls: `mmap`, `munmap` of what
    /// is too much, `madvise(start, mapped_len, MADV_UNMERGEABLE)`, and `mremap`.
    ///
    /// # Errors
    /// Those of [`mremap`](crate::mremap): EFAULT if the kernel holds the mapping in several parts, which
    /// differ in protection, lock, advice or name, or were joined by [`try_unsplit`](Self::try_unsplit); EINVAL
    /// or EFAULT on huge pages. It also fails if the length is more than `isize::MAX`, and if it would grow and
    /// is empty or of a kind that can't. After an error the mapping is as it was.
    ///
    /// When parts become alike again, the kernel does not always join them. Before Linux 6.16 it does not if
    /// only one of them was touched before (locking touches memory too), and in a forked child no Linux does
    /// (`mm/vma.c`: `is_mergeable_anon_vma`). So it is best to lock, advise and name a mapping that will grow
    /// as a whole.
    ///
    /// ```
    /// use rawmap::MapOptions;
    /// let mut text = MapOptions::new(1 << 20).anonymous()?;
    /// text[(1 << 20) - 1] = 1;
    /// text.resize(1 << 26)?; // pages are moved, if at all, and nothing is copied
    /// assert_eq!(text[(1 << 20) - 1..][..2], [1, 0]);
    /// text.resize(100)?; // so much was read
    /// assert_eq!(text.len(), 100);
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub fn resize(&mut self, len: usize) -> Result<(), Error> {
        const OPERATION: &str = "Mapping::resize";
        self.check_growth(OPERATION, len)?;
        self.resize_by(OPERATION, len, MremapFlags::MAYMOVE)
    }

    /// [Resizes](Self::resize) the mapping to `len` bytes, and never moves it. The calls are those of `resize`,
    /// with `mremap(start, mapped_len, len, 0, NULL)` to grow.
    ///
    /// # Errors
    /// Those of [`resize`](Self::resize); ENOMEM if something is mapped right behind it. It also fails if the
    /// main thread's stack may grow there.
    ///
    /// ```
    /// use rawmap::MapOptions;
    /// let mut heap = MapOptions::new(1 << 20).anonymous()?;
    /// let start = heap.as_ptr();
    /// let grown = heap.resize_in_place(2 << 20).is_ok();
    /// // Either way, pointers into it hold.
    /// assert_eq!(heap.as_ptr(), start);
    /// assert_eq!(heap.len(), if grown { 2 << 20 } else { 1 << 20 });
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub fn resize_in_place(&mut self, len: usize) -> Result<(), Error> {
        const OPERATION: &str = "Mapping::resize_in_place";
        self.check_growth(OPERATION, len)?;
        self.resize_by(OPERATION, len, MremapFlags::default())
    }

    /// The error, if a mapping of this kind does not grow to this length.
    fn check_growth(&self, operation: &'static str, len: usize) -> Result<(), Error> {
        // The kernel would show more of the same object: where that is shared, what may be another owner's, as the
        // bytes behind a part that was split off.
        let is_more = len > self.len && self.lent().head.saturating_add(len) > self.mapped_len();
        let what = match self.backing {
            Backing::SharedAnonymous if is_more => {
                "shared anonymous memory is as long as it was made; map it longer"
            }
            Backing::SharedFile if is_more && !A::LENT => {
                "a file's own bytes may be another owner's there; see resize_file"
            }
            _ => return Ok(()),
        };
        Err(Error::wrong(operation, what, len, Wrong::NotOffered, 0))
    }

    /// The same, of any kind.
    pub(in crate::owners) fn resize_by(
        &mut self,
        operation: &'static str,
        len: usize,
        flags: MremapFlags,
    ) -> Result<(), Error> {
        if len <= self.len {
            return self.shrink(len);
        }
        if self.len == 0 {
            let what = "an empty mapping has nothing that could grow; map it";
            return Err(Error::wrong(operation, what, len, Wrong::NotOffered, 0));
        }
        let ordinary = self.granule == page_size()?;
        if A::LENT && !(self.backing == Backing::Anonymous && ordinary) {
            let what =
                "only private anonymous memory on ordinary pages grows as a slice; see into_raw";
            return Err(Error::wrong(operation, what, len, Wrong::NotOffered, 0));
        }
        let (head, old_len) = (self.lent().head, self.mapped_len());
        let all = head.saturating_add(len);
        let new_len = rounded_behind(operation, len, head, self.granule)?;
        if new_len > old_len {
            self.grow(operation, old_len, new_len, flags)?;
        }
        if A::WRITABLE {
            // What was behind the end of the last granule's bytes may have been written before it shrank.
            let end = new_len.min(old_len).min(all) - head;
            // SAFETY: from the end of what was lent to the end of what was mapped, or of what is lent now: all
            // of that is ours (1) and can be written, as the bytes on the same granule can (4); and by `&mut`
            // nothing borrows it.
            unsafe { self.start.add(self.len).write_bytes(0, end - self.len) };
        }
        self.len = len;
        Ok(())
    }

    /// Maps more granules behind the last one, here or elsewhere.
    fn grow(
        &mut self,
        operation: &'static str,
        old_len: usize,
        new_len: usize,
        flags: MremapFlags,
    ) -> Result<(), Error> {
        let base = self.base();
        // In place the kernel looks only at what is mapped there, and not at the stack's distance (6).
        let end = base.addr().saturating_add(new_len);
        let grown = if !grows_into_stack_ground(base.addr() + old_len, end)? {
            // SAFETY: the range is ours (1), and by `&mut` nothing borrows it. The pages may move, and only the new
            // address is kept.
            let grown = unsafe { issue(Call::mremap(base, old_len, new_len, flags, null_mut())) }?;
            not_null("mremap", grown)?.as_ptr()
        } else if flags.contains(MremapFlags::MAYMOVE) {
            let flags = flags.union(MremapFlags::FIXED);
            let room = Room::new(operation, new_len, self.granule.bytes())?;
            unmerged(self)?;
            room.take(|place| Call::mremap(base, old_len, new_len, flags, place))?
        } else {
            return Err(Error::wrong(operation, "the end", end, Wrong::StackGround, 0));
        };
        // SAFETY: the pages lie there now.
        unsafe { self.set_base(grown) };
        Ok(())
    }

    /// Unmaps the granules that the first `len` bytes do not lie on. `len` is at most the length.
    fn shrink(&mut self, len: usize) -> Result<(), Error> {
        let size = self.mapped_len();
        let kept = if len == 0 { 0 } else { self.lent().end(len) };
        if kept < size {
            // SAFETY: the tail is ours (1), whole granules (3), and by `&mut` nothing borrows it.
            unsafe { issue(Call::munmap(self.base().wrapping_add(kept), size - kept)) }?;
        }
        self.len = len;
        Ok(())
    }

    /// Splits the mapping in two at byte `at`, as `Vec::split_off` does: this one keeps the first `at` bytes,
    /// and the rest is returned as a mapping of its own. At 0 or at the end, one of the two is empty.
    ///
    /// No call.
    ///
    /// # Errors
    /// Fails if `at` is more than the length, or does not lie where a [granule](Self::granule) begins; then nothing
    /// has changed.
    ///
    /// ```
    /// use rawmap::MapOptions;
    /// let mut done = MapOptions::new(1 << 20).anonymous()?;
    /// let mut rest = done.split_off(1 << 19)?;
    /// drop(done); // what was read is unmapped
    /// rest[0] = 1;
    /// assert_eq!(rest.len(), 1 << 19);
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub fn split_off(&mut self, at: usize) -> Result<Self, Error> {
        const OPERATION: &str = "Mapping::split_off";
        if at > self.len {
            return Err(Error::wrong(OPERATION, "the place", at, Wrong::BeyondLength, self.len));
        }
        if at == 0 || at == self.len {
            let mut rest = Self::nothing(self.granule);
            if at == 0 {
                core::mem::swap(self, &mut rest);
            }
            return Ok(rest);
        }
        self.lent().check_granule(
            OPERATION,
            ["the place", "the place, counted from the first granule,"],
            at,
        )?;
        // SAFETY: `at` is within the bytes, for all of which `start` may be used (4).
        let start = unsafe { self.start.add(at) };
        let len = self.len - at;
        self.len = at;
        // SAFETY: the granules from `at` on were ours, and are this owner's no longer (1); the rest holds for
        // each part as it did for the whole.
        Ok(unsafe { Self::new(start, len, self.granule, self.backing) })
    }

    /// Joins another mapping to this one, if that lies right behind this one and is of the same kind. Else it
    /// comes back. Either may be empty.
    ///
    /// The kernel may still hold the two as separate parts, and then refuses to let the joined mapping
    /// [grow](Self::resize).
    ///
    /// No call.
    ///
    /// # Errors
    /// The other mapping comes back, as it was, if it differs in granule or backing, or does not continue this
    /// one: this one's bytes must end where its last granule ends, and the other one's must begin there.
    ///
    /// ```
    /// use rawmap::MapOptions;
    /// let mut low = MapOptions::new(1 << 20).anonymous()?;
    /// let mut high = low.split_off(1 << 19)?;
    /// // Free neighbours become one block again, in the order of
    /// // their addresses.
    /// let mut low = high.try_unsplit(low).expect_err("the other way round");
    /// low.try_unsplit(high).expect("neighbours");
    /// assert_eq!(low.len(), 1 << 20);
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub fn try_unsplit(&mut self, other: Self) -> Result<(), Self> {
        if other.len == 0 {
            return Ok(());
        }
        if self.len == 0 {
            *self = other;
            return Ok(());
        }
        let end = self.start.addr().get() + self.len;
        let alike = self.granule == other.granule && self.backing == other.backing;
        // Ours ends with a whole granule, else there would be bytes between the two that are not lent.
        let adjacent = end == other.start.addr().get() && self.granule.is_aligned(end);
        let fits = self.mapped_len() <= isize::MAX as usize - other.mapped_len();
        if !(alike && adjacent && fits) {
            return Err(other);
        }
        let other = ManuallyDrop::new(other);
        // To the language the two may be two allocations, over both of which no pointer to one reaches.
        let start = arch::launder(self.start.as_ptr(), other.start.as_ptr());
        // SAFETY: it is the same address.
        self.start = unsafe { NonNull::new_unchecked(start) };
        self.len += other.len;
        Ok(())
    }

    /// Sees to it that the kernel holds the mapping as one part, or as part of one. It may move for that.
    ///
    /// No call for a single granule, which is never in several parts. Else two: `mremap(start, mapped_len,
    /// mapped_len + granule, MREMAP_MAYMOVE, NULL)`, which the kernel does to one part only (EFAULT or EINVAL,
    /// and so it says of a driver's memory, which may not grow), and `munmap` of what was added. That it
    /// succeeds is the proof; an error may be a filter's, which says what it likes.
    pub(in crate::owners) fn make_one_part(
        &mut self,
        operation: &'static str,
    ) -> Result<(), Error> {
        let (len, more) = (self.mapped_len(), self.granule.bytes());
        if len > more {
            let longer = rounded(operation, len + more, self.granule)?;
            self.grow(operation, len, longer, MremapFlags::MAYMOVE)?;
            // SAFETY: added just now, behind what is ours, and nobody's.
            unsafe { give_back(self.base().wrapping_add(len), more, self.backing) };
        }
        Ok(())
    }
}

impl Mapping<Raw> {
    /// [Resizes](Self::resize) a mapping of a file's own bytes, which then shows more of the file. An access
    /// behind the file's end is SIGBUS.
    ///
    /// The calls of [`resize`](Self::resize).
    ///
    /// # Errors
    /// Those of [`resize`](Self::resize). It also fails if the mapping is not of a file's own bytes.
    ///
    /// # Safety
    /// No slice and no other owner relies on the bytes that the mapping comes to show: from then on safe
    /// methods of this mapping may free them ([`punch_hole`](Self::punch_hole)), and the program may write them
    /// through its pointer.
    ///
    /// ```
    /// use rawmap::{MapOptions, Prot, Sharing};
    /// # use std::os::fd::AsRawFd;
    /// let path = std::env::temp_dir().join("log");
    /// # let path = path.with_extension(std::process::id().to_string());
    /// let mut options = std::fs::File::options();
    /// options.read(true).write(true).create(true);
    /// let file = options.open(&path)?;
    /// # std::fs::remove_file(&path)?;
    /// file.set_len(1 << 16)?;
    /// # let owned = file;
    /// # // SAFETY: `owned` stays open.
    /// # let file = unsafe { rawmap::Fd::borrow_raw(owned.as_raw_fd()) };
    /// let rw = Prot::READ | Prot::WRITE;
    /// let mut log = MapOptions::new(1 << 16)
    ///     .file_raw(&file, 0, rw, Sharing::Shared)?;
    /// # let file = owned;
    /// file.set_len(1 << 17)?;
    /// // SAFETY: nobody else has mapped the file.
    /// unsafe { log.resize_file(1 << 17)? };
    /// assert_eq!(log.len(), 1 << 17);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub unsafe fn resize_file(&mut self, len: usize) -> Result<(), Error> {
        const OPERATION: &str = "Mapping::resize_file";
        if self.backing != Backing::SharedFile {
            let what = "it is no mapping of a file's own bytes; see resize";
            return Err(Error::wrong(OPERATION, what, len, Wrong::NotOffered, 0));
        }
        self.resize_by(OPERATION, len, MremapFlags::MAYMOVE)
    }

    /// Lends the first `len` bytes of a new mapping, on whose last granule they end.
    #[inline]
    pub(in crate::owners) fn lend_first(&mut self, len: usize) {
        self.lend_from(0, len);
    }

    /// Lends `len` bytes of a new mapping from `head` on, which reach from its first granule to its last.
    #[inline]
    pub(in crate::owners) fn lend_from(&mut self, head: usize, len: usize) {
        debug_assert!(
            head < self.granule.bytes()
                && self.lent().granule.round_up(head + len) == Some(self.mapped_len())
        );
        // SAFETY: within the first granule, and so not null.
        self.start = unsafe { NonNull::new_unchecked(self.start.as_ptr().wrapping_add(head)) };
        self.len = len;
    }
}
