//! A global allocator to copy from, in Rust alone, for programs with the standard library. In most jobs of
//! `benches/README.md` it is faster than glibc and slower than mimalloc, and takes less memory than mimalloc.
//!
//! | a block of | comes from |
//! |---|---|
//! | up to 1 KiB | the thread's own free blocks, of which it takes and gives back many at once |
//! | up to 4 MiB | [dlmalloc](https://docs.rs/dlmalloc), behind a lock, on the crate's raw functions |
//! | more | [`PageAlloc`]: a mapping, which grows by `mremap` without a copy |
//!
//! A freed block can serve a block of any other size, since dlmalloc joins free neighbours. Blocks from 4 MiB
//! on go back to the system at once; of smaller ones, what is free at the end of dlmalloc's memory does. A
//! thread's own blocks (2 MiB at most) go back to dlmalloc when the thread ends.
//!
//! mimalloc is faster with small blocks because it is another kind of allocator: it finds a block's page from
//! the block's address, has a free list for each page, and gives each page to one thread, so that it needs no
//! lock.
//!
//! As with libc's `malloc`, a signal handler must neither allocate nor free, since it may have interrupted the thread
//! that holds the lock. A forked child may.
//!
//! Programs without the standard library have neither thread-locals nor libc's lock. For them, see
//! `examples/talc`.
#![allow(unreachable_pub)]

use core::alloc::{GlobalAlloc, Layout};
use core::cell::{Cell, UnsafeCell};
use core::ptr::{copy_nonoverlapping, null_mut};
use core::sync::atomic::{AtomicU64, Ordering::*};
use dlmalloc::Dlmalloc;
use rawmap::{MapFlags, MremapFlags, PageAlloc, Prot};

/// The allocator, of which a process has one: `#[global_allocator] static HEAP: Heap = Heap;`
pub struct Heap;

impl Heap {
    /// Gives back to the system what can be: the calling thread's own blocks, and free memory that lies at an end.
    pub fn trim(&self) {
        LOCAL.with(Local::give_back_all);
        // SAFETY: the lock is held.
        SHARED.with(|all| unsafe { all.trim(0) });
    }
}

/// The step between the sizes of small blocks, which are multiples of it, and their alignment.
const GRAIN: usize = 16;
const CLASSES: usize = 64;
/// A block of this length or more is a mapping of its own. If it were less, large blocks that are used again and again
/// would cost a page fault for each page. If it were more, vectors that grow would be copied for longer, and more
/// memory would lie free between blocks.
const LARGE: usize = 4 << 20;

/// Where the block of a layout comes from. The answer is the same when it is freed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Small(usize),
    Medium,
    Large,
}

const fn kind(layout: Layout) -> Kind {
    match layout.size() {
        size @ 1..=1024 if layout.align() <= GRAIN => Kind::Small((size - 1) / GRAIN),
        LARGE.. => Kind::Large,
        _ => Kind::Medium,
    }
}
const _: () = assert!(CLASSES * GRAIN == 1024);

/// The bytes of a block of a class of small ones.
const fn block_len(class: usize) -> usize {
    (class + 1) * GRAIN
}

/// How many free blocks of a class a thread keeps; half of them are had or given back at once.
const fn most(class: usize) -> usize {
    let some = (32 << 10) / block_len(class);
    if some > 128 { 128 } else { some }
}

// SAFETY: a block is dlmalloc's or PageAlloc's, of at least the layout's size and alignment; a small one is a block of
// its class, whichever thread frees it. Nothing unwinds.
unsafe impl GlobalAlloc for Heap {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match kind(layout) {
            Kind::Small(class) => take(class),
            // SAFETY: dlmalloc asks nothing of its caller but that the lock is held.
            Kind::Medium => SHARED.with(|all| unsafe { all.malloc(layout.size(), layout.align()) }),
            // SAFETY: the caller's promise.
            Kind::Large => unsafe { PageAlloc.alloc(layout) },
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        match kind(layout) {
            Kind::Small(class) => {
                let block = take(class);
                if !block.is_null() {
                    // SAFETY: the block is as large as the layout.
                    unsafe { block.write_bytes(0, layout.size()) };
                }
                block
            }
            // SAFETY: as for alloc.
            Kind::Medium => SHARED.with(|all| unsafe { all.calloc(layout.size(), layout.align()) }),
            // SAFETY: the caller's promise.
            Kind::Large => unsafe { PageAlloc.alloc_zeroed(layout) },
        }
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let (size, align) = (layout.size(), layout.align());
        match kind(layout) {
            Kind::Small(class) => put(class, block),
            // SAFETY: the caller's promise: a block of dlmalloc's, of this layout, unused.
            Kind::Medium => SHARED.with(|all| unsafe { all.free(block, size, align) }),
            // SAFETY: the caller's promise.
            Kind::Large => unsafe { PageAlloc.dealloc(block, layout) },
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let Ok(wanted) = Layout::from_size_align(size, layout.align()) else { return null_mut() };
        match (kind(layout), kind(wanted)) {
            (Kind::Small(old), Kind::Small(new)) if old == new => block,
            (Kind::Medium, Kind::Medium) => {
                // SAFETY: the caller's promise: a block of dlmalloc's, of the old layout.
                SHARED
                    .with(|all| unsafe { all.realloc(block, layout.size(), layout.align(), size) })
            }
            // SAFETY: the caller's promise, and both are mappings. No byte is copied, as a rule.
            (Kind::Large, Kind::Large) => unsafe { PageAlloc.realloc(block, layout, size) },
            // SAFETY: the caller's promise: the size isn't 0, and the block is of this layout. The two are different
            // blocks, each of at least the smaller size.
            _ => unsafe {
                let copy = self.alloc(wanted);
                if !copy.is_null() {
                    copy_nonoverlapping(block, copy, size.min(layout.size()));
                    self.dealloc(block, layout);
                }
                copy
            },
        }
    }
}

/// Where dlmalloc has its memory from: the raw functions, a line each.
struct Pages;

// SAFETY: what is returned is mapped, zeroes and nobody else's; true only where the call succeeded.
unsafe impl dlmalloc::Allocator for Pages {
    fn alloc(&self, size: usize) -> (*mut u8, usize, u32) {
        let rw = Prot::READ.union(Prot::WRITE);
        // SAFETY: a new mapping, in place of nothing.
        let mapped = unsafe { rawmap::mmap_anonymous(null_mut(), size, rw, MapFlags::PRIVATE) };
        (mapped.unwrap_or(null_mut()), size, 0)
    }

    fn remap(&self, block: *mut u8, old: usize, new: usize, can_move: bool) -> *mut u8 {
        let flags = if can_move { MremapFlags::MAYMOVE } else { MremapFlags::default() };
        // SAFETY: dlmalloc's own memory, of which it uses what comes back.
        unsafe { rawmap::mremap(block, old, new, flags, null_mut()) }.unwrap_or(null_mut())
    }

    fn free_part(&self, block: *mut u8, old: usize, new: usize) -> bool {
        // SAFETY: dlmalloc's own memory, which it has done with.
        unsafe { rawmap::munmap(block.wrapping_add(new), old - new) }.is_ok()
    }

    fn free(&self, block: *mut u8, size: usize) -> bool {
        // SAFETY: as for free_part.
        unsafe { rawmap::munmap(block, size) }.is_ok()
    }

    fn can_release_part(&self, _flags: u32) -> bool {
        true
    }

    fn allocates_zeros(&self) -> bool {
        true
    }

    fn page_size(&self) -> usize {
        // Where it can't be found, nothing can be mapped either.
        rawmap::page_size().map_or(64 << 10, |page| page.bytes())
    }
}

/// What all threads share.
struct Shared {
    /// libc's, since a fork must be able to take it and to release it.
    lock: UnsafeCell<libc::pthread_mutex_t>,
    all: UnsafeCell<Dlmalloc<Pages>>,
}

// SAFETY: dlmalloc is used under the lock only.
unsafe impl Sync for Shared {}

static SHARED: Shared = Shared {
    lock: UnsafeCell::new(libc::PTHREAD_MUTEX_INITIALIZER),
    all: UnsafeCell::new(Dlmalloc::new_with_allocator(Pages)),
};

impl Shared {
    /// `f` neither unwinds nor comes here again.
    fn with<R>(&self, f: impl FnOnce(&mut Dlmalloc<Pages>) -> R) -> R {
        // SAFETY: under the lock, dlmalloc is this thread's alone.
        unsafe {
            acquire();
            let result = f(&mut *self.all.get());
            release();
            result
        }
    }
}

// Of this type for `pthread_atfork`.
unsafe extern "C" fn acquire() {
    // SAFETY: a mutex that was made above and stays. It can't fail: it is of the plain kind.
    unsafe { libc::pthread_mutex_lock(SHARED.lock.get()) };
}

/// # Safety
/// This thread holds the lock; or it is the only one of a child, whose parent held it.
unsafe extern "C" fn release() {
    // SAFETY: as above.
    unsafe { libc::pthread_mutex_unlock(SHARED.lock.get()) };
}

/// A thread's own free blocks.
struct Local {
    state: Cell<State>,
    bins: [Bin; CLASSES],
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing was taken or freed yet.
    New,
    /// What is here goes back when the thread ends.
    Ready,
    /// The thread has ended, or nobody could be told to call when it does: nothing is kept.
    Ended,
}

/// A chain of free blocks. Each begins with the pointer to the next.
struct Bin {
    top: Cell<*mut u8>,
    count: Cell<usize>,
}

std::thread_local! {
    // Without a destructor: then it is there until the thread is gone, and to use it allocates nothing.
    static LOCAL: Local = const {
        let bins = [const { Bin { top: Cell::new(null_mut()), count: Cell::new(0) } }; CLASSES];
        Local { state: Cell::new(State::New), bins }
    };
}

fn take(class: usize) -> *mut u8 {
    LOCAL.with(|local| {
        let bin = &local.bins[class];
        match bin.pop() {
            Some(block) => block,
            None if local.is_ready() => bin.refilled(class),
            // SAFETY: dlmalloc asks nothing of its caller but that the lock is held.
            None => SHARED.with(|all| unsafe { all.malloc(block_len(class), GRAIN) }),
        }
    })
}

/// Takes a free block of a class, which is nobody's any more.
fn put(class: usize, block: *mut u8) {
    LOCAL.with(|local| {
        let bin = &local.bins[class];
        if !local.is_ready() {
            // SAFETY: the block is of this class, and unused.
            return SHARED.with(|all| unsafe { all.free(block, block_len(class), GRAIN) });
        }
        bin.push(block);
        if bin.count.get() > most(class) {
            bin.give_back(class, most(class) / 2);
        }
    });
}

impl Local {
    fn give_back_all(&self) {
        self.bins.iter().enumerate().for_each(|(class, bin)| bin.give_back(class, usize::MAX));
    }

    fn is_ready(&self) -> bool {
        if self.state.get() == State::New {
            // Whatever libc takes meanwhile is not kept.
            self.state.set(State::Ended);
            if call_at_end() {
                self.state.set(State::Ready);
            }
        }
        self.state.get() == State::Ready
    }
}

impl Bin {
    fn pop(&self) -> Option<*mut u8> {
        let block = self.top.get();
        if block.is_null() {
            return None;
        }
        // SAFETY: a free block of this thread's, which begins with what push has written.
        self.top.set(unsafe { block.cast::<*mut u8>().read() });
        self.count.set(self.count.get() - 1);
        Some(block)
    }

    fn push(&self, block: *mut u8) {
        // SAFETY: a free block of this thread's, of at least 16 bytes, aligned to them.
        unsafe { block.cast::<*mut u8>().write(self.top.get()) };
        self.top.set(block);
        self.count.set(self.count.get() + 1);
    }

    /// A block, where there is none; the next ones are had with it.
    #[cold]
    fn refilled(&self, class: usize) -> *mut u8 {
        SHARED.with(|all| {
            for _ in 0..most(class) / 2 {
                // SAFETY: the lock is held.
                match unsafe { all.malloc(block_len(class), GRAIN) } {
                    block if block.is_null() => break,
                    block => self.push(block),
                }
            }
        });
        self.pop().unwrap_or(null_mut())
    }

    #[cold]
    fn give_back(&self, class: usize, count: usize) {
        let blocks = (0..count).map_while(|_| self.pop());
        // SAFETY: the lock is held; blocks of this class, and unused.
        SHARED.with(|all| blocks.for_each(|it| unsafe { all.free(it, block_len(class), GRAIN) }));
    }
}

/// Has libc call [`at_end`] when this thread ends, and the lock taken while the process forks. False where it can't.
///
/// Not the destructor of a `thread_local!`: where libc has none (musl), the standard library keeps a list of them, on
/// the global allocator.
fn call_at_end() -> bool {
    // The key, plus 1; 0 before there is one. Acquire and Release: libc has written down what it calls.
    static KEY: AtomicU64 = AtomicU64::new(0);
    let mut known = KEY.load(Acquire);
    if known == 0 {
        let mut key = 0;
        // SAFETY: `key` is a valid place, and `at_end` may be called with any value.
        if unsafe { libc::pthread_key_create(&mut key, Some(at_end)) } != 0 {
            return false;
        }
        known = u64::from(key) + 1;
        match KEY.compare_exchange(0, known, AcqRel, Acquire) {
            Ok(_) if cfg!(miri) => {} // which has no fork
            // SAFETY: the first two are called before, the last in a child that holds what its parent held.
            Ok(_) => unsafe {
                libc::pthread_atfork(Some(acquire), Some(release), Some(release));
            },
            Err(other) => {
                // SAFETY: a key that nobody else knows.
                unsafe { libc::pthread_key_delete(key) };
                known = other;
            }
        }
    }
    // SAFETY: a key that was created and is not deleted. The value is any but null, or `at_end` is not called.
    unsafe {
        libc::pthread_setspecific((known - 1) as libc::pthread_key_t, (&raw const SHARED).cast())
            == 0
    }
}

/// Gives all back. What the thread takes and frees from now on, it does not keep.
unsafe extern "C" fn at_end(_: *mut libc::c_void) {
    LOCAL.with(|local| {
        local.state.set(State::Ended);
        local.give_back_all();
    });
}
