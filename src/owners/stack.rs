//! [`Stack`]: memory for a thread's stack, with a guard below it.

use super::{Error, MapOptions, Mapping, Raw, page_size};
use crate::Prot;

/// A stack: a usable part, and below it a page that no access survives.
///
/// Two calls: `mmap(NULL, page + len, PROT_NONE, MAP_PRIVATE|MAP_ANONYMOUS|MAP_NORESERVE|MAP_STACK,
/// -1, 0)` and `mprotect(start + page, len, PROT_READ|PROT_WRITE)`. If the second fails, the first
/// is undone.
///
/// ```
/// use rawmap::Stack;
/// let stack = Stack::new(64 << 10)?;
/// // SAFETY: the topmost byte is below the top, and nobody runs on this stack.
/// unsafe { stack.top().sub(1).write(1) };
/// # Ok::<(), rawmap::Error>(())
/// ```
#[derive(Debug)]
pub struct Stack {
    all: Mapping<Raw>,
    guard: usize,
}

impl Stack {
    /// A stack of `len` usable bytes, rounded up to whole pages, above a guard of one page.
    ///
    /// # Errors
    /// Those of [`mmap`](crate::mmap) (EINVAL for length 0) and [`mprotect`](crate::mprotect), and a
    /// length over `isize::MAX`. Nothing is left mapped.
    ///
    /// ```
    /// use rawmap::Stack;
    /// let stack = Stack::new(100_000)?;
    /// assert_eq!(stack.bottom().wrapping_add(stack.len()), stack.top());
    /// assert!(stack.len() >= 100_000);
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub fn new(len: usize) -> Result<Self, Error> {
        Self::with_guard(len, page_size()?.bytes())
    }

    /// The same with a guard of `guard` bytes, rounded up to whole pages. Code that isn't compiled
    /// with stack probes may step over a small one.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    ///
    /// ```
    /// use rawmap::Stack;
    /// // No frame of up to 1 MiB can step over the guard; it takes address space, and no memory.
    /// let stack = Stack::with_guard(64 << 10, 1 << 20)?;
    /// assert_eq!(stack.len(), 64 << 10);
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    pub fn with_guard(len: usize, guard: usize) -> Result<Self, Error> {
        let page = page_size()?;
        let guard = page.round_up(guard).ok_or(Error::TooLong { len: guard })?;
        let usable = page.round_up(len).ok_or(Error::TooLong { len })?;
        // Without a usable part it is 0 bytes in all, which the kernel refuses.
        let guarded = if usable == 0 { 0 } else { guard };
        let total = usable.checked_add(guarded).ok_or(Error::TooLong { len })?;
        let all = MapOptions::new(total).prot(Prot::NONE).noreserve().stack().anonymous()?;
        all.protect(guard, usable, Prot::READ.union(Prot::WRITE))?;
        Ok(Self { all, guard })
    }

    /// The end of the usable part: where a stack pointer starts, aligned to the page.
    ///
    /// ```
    /// use rawmap::Stack;
    /// let stack = Stack::new(64 << 10)?;
    /// let sp = stack.top().cast::<usize>().wrapping_sub(2);
    /// // SAFETY: two words below the top, aligned; nobody runs on this stack yet.
    /// unsafe { sp.write(0x1234) }; // where the first switch to it returns to
    /// assert_eq!(sp.addr() % 16, 0);
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    #[must_use]
    pub fn top(&self) -> *mut u8 {
        // SAFETY: one past the last byte of the mapping.
        unsafe { self.all.as_ptr().add(self.all.mapped_len()) }
    }

    /// The lowest usable byte, right above the guard.
    ///
    /// ```
    /// use rawmap::Stack;
    /// let stack = Stack::new(64 << 10)?;
    /// // SAFETY: within the usable part, on which nobody runs.
    /// unsafe { stack.top().sub(100).write(1) };
    /// // SAFETY: all of it. What is still 0 at its lower end was never used.
    /// let bytes = unsafe { std::slice::from_raw_parts(stack.bottom(), stack.len()) };
    /// assert_eq!(bytes.iter().position(|byte| *byte != 0), Some(stack.len() - 100));
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    #[must_use]
    pub fn bottom(&self) -> *mut u8 {
        // SAFETY: the guard is a part of the mapping.
        unsafe { self.all.as_ptr().add(self.guard) }
    }

    /// The usable length in bytes: whole pages.
    ///
    /// ```
    /// use rawmap::{Stack, page_size};
    /// let stack = Stack::new(1)?;
    /// assert_eq!(stack.len(), page_size()?.bytes());
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    #[must_use]
    #[allow(clippy::len_without_is_empty)] // A stack is never empty.
    pub const fn len(&self) -> usize {
        self.all.mapped_len() - self.guard
    }
}
