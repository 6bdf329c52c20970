//! What one writes by hand, over libc, for what the crate's owners do.

/// The example's allocator.
#[path = "../../../examples/allocator/heap.rs"]
pub mod heap;

use std::alloc::{GlobalAlloc, Layout};
use std::fs::File;
use std::io::Write;
use std::ptr::null_mut;

pub const PAGE: usize = 4096;
pub const KIB: usize = 1 << 10;
pub const MIB: usize = 1 << 20;

const RW: i32 = libc::PROT_READ | libc::PROT_WRITE;
const ANONYMOUS: i32 = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;

/// A mapping that was made by hand, unmapped when it is dropped.
pub struct Held(pub *mut u8, usize);

impl Drop for Held {
    fn drop(&mut self) {
        // SAFETY: this mapping's own pages, to which nothing refers any more.
        unsafe { libc::munmap(self.0.cast(), self.1) };
    }
}

fn map(len: usize, prot: i32, flags: i32) -> Held {
    // SAFETY: a new mapping.
    let start = unsafe { libc::mmap(null_mut(), len, prot, flags, -1, 0) };
    assert_ne!(start, libc::MAP_FAILED);
    Held(start.cast(), len)
}

/// Memory that can be read and written.
pub fn memory(len: usize) -> Held {
    map(len, RW, ANONYMOUS)
}

/// Address space.
pub fn reserved(len: usize) -> Held {
    map(len, libc::PROT_NONE, ANONYMOUS | libc::MAP_NORESERVE)
}

/// As textbooks have it: too much, and both ends given back.
pub fn aligned(len: usize, align: usize) -> Held {
    let all = map(len + align - PAGE, RW, ANONYMOUS | libc::MAP_NORESERVE);
    let head = all.0.addr().wrapping_neg() & (align - 1);
    let tail = all.1 - head - len;
    let start = all.0.wrapping_add(head);
    std::mem::forget(all);
    for (end, len) in [(start.wrapping_sub(head), head), (start.wrapping_add(len), tail)] {
        drop((len > 0).then(|| Held(end, len)));
    }
    Held(start, len)
}

/// A stack above a guard of so many bytes, which `mprotect` makes.
pub fn stack(len: usize, guard: usize) -> Held {
    let all = map(guard + len, RW, ANONYMOUS | libc::MAP_STACK | libc::MAP_NORESERVE);
    // SAFETY: within what was mapped just now.
    assert_eq!(unsafe { libc::mprotect(all.0.cast(), guard, libc::PROT_NONE) }, 0, "mprotect");
    all
}

fn memory_file(len: usize) -> i32 {
    // SAFETY: a new file.
    unsafe {
        let file = libc::memfd_create(c"by hand".as_ptr(), libc::MFD_CLOEXEC);
        assert_eq!(libc::ftruncate(file, len as libc::off_t), 0);
        file
    }
}

/// A file of so many bytes, which the kernel has in memory, and which has no name any more.
///
/// # Panics
/// Where the folder for temporary files can't be written.
pub fn file(len: usize) -> File {
    let path = std::env::temp_dir().join(format!("rawmap-bench-{}", std::process::id()));
    let mut file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    file.write_all(&vec![1; len]).unwrap();
    file
}

fn view(at: *mut u8, len: usize, prot: i32, flags: i32, file: i32) -> Held {
    // SAFETY: a new mapping, or in place of what the caller has mapped.
    let start = unsafe { libc::mmap(at.cast(), len, prot, libc::MAP_SHARED | flags, file, 0) };
    assert_ne!(start, libc::MAP_FAILED);
    Held(start.cast(), len)
}

/// A buffer of which the second half mirrors the first: two views of a memory file, over room for both.
pub fn ring(len: usize) -> Held {
    let file = memory_file(len);
    let room = map(2 * len, libc::PROT_NONE, ANONYMOUS);
    for half in [room.0, room.0.wrapping_add(len)] {
        std::mem::forget(view(half, len, RW, libc::MAP_FIXED, file));
    }
    // SAFETY: made above.
    unsafe { libc::close(file) };
    room
}

/// One view of a memory file to write code, and one to run it.
pub fn two_views(len: usize) -> [Held; 2] {
    let file = memory_file(len);
    let views = [RW, libc::PROT_READ | libc::PROT_EXEC];
    let views = views.map(|prot| view(null_mut(), len, prot, 0, file));
    // SAFETY: made above.
    unsafe { libc::close(file) };
    views
}

/// A block of an allocator, freed when it is dropped.
pub struct Block<A: GlobalAlloc + 'static>(&'static A, *mut u8, Layout);

impl<A: GlobalAlloc> Block<A> {
    /// # Panics
    /// Where there is no memory.
    pub fn new(from: &'static A, size: usize, align: usize) -> Self {
        let layout = Layout::from_size_align(size, align).expect("a layout");
        assert_ne!(size, 0);
        // SAFETY: the size isn't 0.
        let block = unsafe { from.alloc(layout) };
        assert!(!block.is_null());
        Self(from, block, layout)
    }

    /// Writes to each page.
    pub fn touch(&mut self) {
        // SAFETY: the block is of this size.
        unsafe { touch(self.1, self.2.size()) };
    }

    /// Doubles it, and writes to each new page.
    pub fn double(&mut self) {
        let old = self.2.size();
        // SAFETY: the block is of this layout; the new half is its own.
        unsafe {
            self.1 = self.0.realloc(self.1, self.2, 2 * old);
            assert!(!self.1.is_null());
            touch(self.1.add(old), old);
        }
        self.2 = Layout::from_size_align(2 * old, self.2.align()).expect("a layout");
    }
}

impl<A: GlobalAlloc> Drop for Block<A> {
    fn drop(&mut self) {
        // SAFETY: the block is of this layout, and nothing refers to it.
        unsafe { self.0.dealloc(self.1, self.2) };
    }
}

/// Writes to every page.
///
/// # Safety
/// `len` bytes must be writable there.
pub unsafe fn touch(start: *mut u8, len: usize) {
    for offset in (0..len).step_by(PAGE) {
        // SAFETY: the caller's promise.
        unsafe { start.add(offset).write_volatile(1) };
    }
}

/// What a system says in a file of /proc or /sys.
///
/// # Panics
/// Where it says nothing.
pub fn says(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"))
}
