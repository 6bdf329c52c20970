//! [`Stack`]: memory for a thread's stack, with a guard below it.

use crate::flags::MapFlags;
use crate::owners::access::Raw;
use crate::owners::error::{Error, Wrong};
use crate::owners::mapping::{Mapping, RW};
use crate::owners::place::{self, rounded_behind};
use crate::owners::process::page_size;
use core::ops::Range;

/// Memory for a stack: a usable part, and below it a guard. An access to the guard is SIGSEGV.
///
/// Two calls: `mmap(NULL, guard + len, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS|MAP_NORESERVE|MAP_STACK,
/// -1, 0)`, and that of [`Mapping::guard`]. Where the kernel has guards (Linux 6.13), it holds neighbouring
/// stacks as one mapping; before, each stack is two mappings, and a process may have about 32,000 stacks
/// (`vm.max_map_count`).
///
/// ```
/// use rawmap::Stack;
/// let stack = Stack::new(64 << 10)?;
/// // SAFETY: the topmost byte is below the top, and nobody runs
/// // on this stack.
/// unsafe { stack.top().sub(1).write(1) };
/// # Ok::<(), rawmap::Error>(())
/// ```
#[derive(Debug)]
pub struct Stack {
    // The lowest `guard` bytes are inaccessible, the rest can be read and written. Both are whole pages, and
    // the rest is not empty.
    all: Mapping<Raw>,
    guard: usize,
}

impl Stack {
    /// The size of the guard that [`new`](Self::new) makes, in bytes: 64 KiB. It costs address space, and 8
    /// bytes of page tables for each page. Code that is compiled without stack probes could step over a smaller
    /// one.
    pub const GUARD: usize = 64 << 10;

    /// A stack of `len` usable bytes, rounded up to whole pages, above a guard of [`GUARD`](Self::GUARD)
    /// bytes.
    ///
    /// # Errors
    /// Those of [`mmap`](crate::mmap) and [`Mapping::guard`]. It also fails if the length is 0, or if length
    /// and guard together are more than `isize::MAX`. After an error nothing stays mapped.
    ///
    /// ```
    /// use rawmap::Stack;
    /// let stack = Stack::new(100_000)?;
    /// assert_eq!(stack.bottom().wrapping_add(stack.len()), stack.top());
    /// assert!(stack.len() >= 100_000);
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub fn new(len: usize) -> Result<Self, Error> {
        Self::made("Stack::new", len, Self::GUARD)
    }

    /// A stack of `len` usable bytes above a guard of `guard` bytes, both rounded up to whole pages. With a
    /// guard of 0 bytes nothing stops an overflow.
    ///
    /// # Errors
    /// Those of [`new`](Self::new).
    ///
    /// ```
    /// use rawmap::Stack;
    /// // No frame of up to 1 MiB can step over the guard, which takes
    /// // address space.
    /// let stack = Stack::with_guard(64 << 10, 1 << 20)?;
    /// assert_eq!(stack.len(), 64 << 10);
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub fn with_guard(len: usize, guard: usize) -> Result<Self, Error> {
        Self::made("Stack::with_guard", len, guard)
    }

    fn made(operation: &'static str, len: usize, guard: usize) -> Result<Self, Error> {
        let page = page_size()?;
        if len == 0 {
            return Err(Error::wrong(operation, "the length", len, Wrong::TooSmall, 1));
        }
        let most = page.round_down(isize::MAX as usize);
        let wrong = || Error::wrong(operation, "the guard", guard, Wrong::TooLong, most);
        let guard = page.round_up(guard).filter(|guard| *guard <= most).ok_or_else(wrong)?;
        let total = rounded_behind(operation, len, guard, page)?;
        let all =
            place::anonymous(operation, total, RW, MapFlags::NORESERVE.union(MapFlags::STACK))?;
        all.guard(..guard)?;
        Ok(Self { all, guard })
    }

    /// The end of the usable part, where a stack pointer starts. It is a multiple of the page size.
    ///
    /// ```
    /// use rawmap::Stack;
    /// let stack = Stack::new(64 << 10)?;
    /// let sp = stack.top().cast::<usize>().wrapping_sub(2);
    /// // SAFETY: two words below the top, aligned; nobody runs on
    /// // this stack yet.
    /// unsafe { sp.write(0x1234) }; // where the first switch to it returns to
    /// assert_eq!(sp.addr() % 16, 0);
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    #[must_use]
    pub fn top(&self) -> *mut u8 {
        self.all.as_ptr().wrapping_add(self.all.len())
    }

    /// A pointer to the lowest usable byte, which lies right above the guard.
    ///
    /// ```
    /// use rawmap::Stack;
    /// let stack = Stack::new(64 << 10)?;
    /// // SAFETY: within the usable part, on which nobody runs.
    /// unsafe { stack.top().sub(100).write(1) };
    /// // SAFETY: all of it. What is still 0 at its lower end was
    /// // never used.
    /// let bytes = unsafe { std::slice::from_raw_parts(stack.bottom(), stack.len()) };
    /// assert_eq!(bytes.iter().position(|byte| *byte != 0), Some(stack.len() - 100));
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    #[must_use]
    pub fn bottom(&self) -> *mut u8 {
        self.all.as_ptr().wrapping_add(self.guard)
    }

    /// The usable length in bytes, a multiple of the page size.
    #[must_use]
    #[allow(clippy::len_without_is_empty)] // A stack is never empty.
    pub const fn len(&self) -> usize {
        self.all.len() - self.guard
    }

    /// The range of the guard. An access to any byte of it is an overflow of this stack.
    ///
    /// ```
    /// use rawmap::Stack;
    /// let stack = Stack::new(64 << 10)?;
    /// // What a handler of SIGSEGV asks.
    /// let overflowed = |fault: *mut u8| stack.guard().contains(&fault);
    /// assert!(overflowed(stack.bottom().wrapping_sub(1)) && !overflowed(stack.bottom()));
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    #[must_use]
    pub fn guard(&self) -> Range<*mut u8> {
        self.all.as_ptr()..self.bottom()
    }

    /// Frees the memory of the usable part, which reads as zeroes afterwards. The guard stays.
    ///
    /// One call: `madvise(bottom, len, MADV_DONTNEED)`; if part of it is locked, one more,
    /// `MADV_DONTNEED_LOCKED` (Linux 5.18).
    ///
    /// # Errors
    /// Those of [`madvise`](crate::madvise).
    ///
    /// ```
    /// use rawmap::Stack;
    /// let mut stack = Stack::new(64 << 10)?;
    /// stack.reset()?; // nobody runs on it
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub fn reset(&mut self) -> Result<(), Error> {
        self.all.purge(self.guard..).map(|_| ())
    }

    /// Turns it into a [`Raw`] mapping of the guard and the usable part. It is for a thread that unmaps its own
    /// stack. No call.
    ///
    /// ```
    /// use rawmap::Stack;
    /// let stack = Stack::new(64 << 10)?;
    /// let (top, bottom) = (stack.top(), stack.guard().start);
    /// let parts = stack.into_raw().into_raw_parts();
    /// // What the thread that runs there passes to munmap at its end:
    /// assert_eq!((parts.start.as_ptr(), parts.len), (bottom, top.addr() - bottom.addr()));
    /// # // SAFETY: the parts of a raw mapping, used once.
    /// # drop(unsafe { rawmap::Mapping::<rawmap::Raw>::from_raw_parts(parts)? });
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    #[must_use]
    pub fn into_raw(self) -> Mapping<Raw> {
        self.all
    }
}
