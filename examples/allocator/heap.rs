//! A general-purpose allocator to copy from: size classes on one [`Reservation`], large blocks by
//! [`PageAlloc`], any number of threads, no lock. It needs `core` and `rawmap`, nothing else.
//!
//! One call reserves address space for all classes. Each class has a region of its own, so where a
//! block lies tells its class, and no block has a header. A class hands out what was freed last, or
//! else the next block of its region that nobody had yet; regions are committed step by step. Free
//! blocks are chained by their numbers, in a table apart from the blocks.
//!
//! Why [`Mode::Strict`]: what is inaccessible counts for nothing, neither under RLIMIT_DATA nor under
//! strict accounting (`vm.overcommit_memory` 2), so 50 GiB can be reserved there. It costs two calls
//! for each [`STEP`], and two of the process's mappings more for each class that is used.
//!
//! Why no lock: an allocator is called where a lock is trouble.
//! - *Signals.* A handler that allocates, and has interrupted the thread that holds the lock, waits
//!   for ever. Here each change is one compare-and-swap: a handler finds all of it done or nothing.
//! - *Fork.* A child of a process with threads inherits a lock that another thread held, and nobody
//!   to release it. Here the child goes on; it loses the block that another was taking or freeing.
//! - *Scheduling.* If the holder of a spin lock loses its core, all others spin until it is back; at
//!   a higher real-time priority, for ever. A futex would help against that alone.
//!
//! What it costs: all threads meet at a class's head, whose cache line moves from core to core, so
//! threads that do nothing but allocate are slower together than alone. Allocators that scale keep
//! blocks for each thread in front of this; `core` has no thread-locals to do it with.
//!
//! What it leaves out: memory of small blocks is used again, but not given back to the system. That
//! takes a count of free blocks for each page, and [`Reservation::purge`] where it is full.
//!
//! An allocator must not allocate or unwind. Nothing here formats or panics, and errors are null.
//! The page size appears nowhere: `Reservation` and `PageAlloc` find and round by themselves.
#![allow(unreachable_pub)]

use core::alloc::{GlobalAlloc, Layout};
use core::ptr::null_mut;
use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering::*};
use rawmap::{Mode, PageAlloc, Prot, Reservation, mprotect};

/// The smallest class, and the step between the first eight, in bytes.
const GRAIN: usize = 16;
/// The largest class in bytes; above it, a block is a mapping.
const LARGEST: usize = 32 << 10;
/// 16, 32, .. 128; then four for each doubling: 160, 192, 224, 256, 320, .. 32768.
pub const CLASSES: usize = 40;
/// Address space of one class in bytes. When it is used up, the class's blocks become mappings. Under
/// Miri, what is reserved is taken from the machine.
const REGION: usize = if cfg!(miri) { 2 << 20 } else { 1 << 30 };
/// Address space of one class's table: a number for each block.
const TABLE: usize = REGION / GRAIN * size_of::<u32>();
/// How much of a region is committed at once, at least: whole pages of any size.
const STEP: usize = 1 << 20;
/// All regions, then all tables.
const RESERVED: usize = CLASSES * (REGION + TABLE);

/// The class of a layout; none if it is larger than all. A size that is a multiple of the alignment
/// falls in a class that is one too (proved below), and regions begin at multiples of [`LARGEST`].
const fn class_of(layout: Layout) -> Option<usize> {
    match layout.size().next_multiple_of(layout.align()) {
        0 => Some(0),
        size @ 1..=128 => Some((size - 1) / GRAIN),
        size @ 129..=LARGEST => {
            let log2 = (size - 1).ilog2() as usize;
            Some(8 + (log2 - 7) * 4 + ((size - 1) >> (log2 - 2)) - 4)
        }
        _ => None,
    }
}

/// The bytes of one block of a class.
const fn block_len(class: usize) -> usize {
    if class < 8 { (class + 1) * GRAIN } else { (5 + class % 4) << (class / 4 + 3) }
}

// The proof, made by the compiler: every size finds the smallest class that holds it, and every
// multiple of an alignment a class that is one too.
const _: () = {
    let mut size = GRAIN;
    while size <= LARGEST {
        let Ok(layout) = Layout::from_size_align(size, 1) else { panic!() };
        let Some(class) = class_of(layout) else { panic!() };
        assert!(class < CLASSES && size <= block_len(class));
        assert!(class == 0 || size > block_len(class - 1));
        // The largest power of two that divides the size divides the block.
        assert!(block_len(class) % (size & size.wrapping_neg()) == 0);
        size += GRAIN;
    }
};

/// One size class. A cache line of its own, lest classes disturb each other.
#[repr(align(64))]
struct Class {
    /// The free block on top, as number + 1, or 0; in the upper half, how many were ever freed.
    ///
    /// The count is against ABA: a thread reads block 7 and its successor 3, stalls, and others take
    /// 7 and 3 and free 7. Its swap would put 3, which is in use, on top. With the count, that takes
    /// exactly 2^32 frees, or a multiple, during the stall.
    top: AtomicU64,
    /// How many blocks were ever handed out: those below are used or chained, those above untouched.
    made: AtomicU32,
    /// So many bytes of the region are committed, and of the table what they need.
    committed: AtomicUsize,
    /// How many are in use; for statistics only.
    used: AtomicUsize,
}

impl Class {
    const fn new() -> Self {
        let [committed, used] = [const { AtomicUsize::new(0) }; 2];
        Self { top: AtomicU64::new(0), made: AtomicU32::new(0), committed, used }
    }

    /// Takes a freed block's number.
    fn pop(&self, start: *mut u8, class: usize) -> Option<u32> {
        // Acquire, here and below: what was done to the block before it was freed is done.
        let mut top = self.top.load(Acquire);
        loop {
            let number = (top as u32).checked_sub(1)?;
            // If another thread takes the block now, this is stale, and the swap fails.
            let next = u64::from(link(start, class, number).load(Relaxed));
            match self.top.compare_exchange_weak(top, top >> 32 << 32 | next, Acquire, Acquire) {
                Ok(_) => return Some(number),
                Err(changed) => top = changed,
            }
        }
    }

    fn push(&self, start: *mut u8, class: usize, number: u32) {
        let mut top = self.top.load(Relaxed);
        loop {
            link(start, class, number).store(top as u32, Relaxed);
            let pushed = (top >> 32).wrapping_add(1) << 32 | u64::from(number + 1);
            // Release: the link, and all that was done to the block, before it can be taken.
            match self.top.compare_exchange_weak(top, pushed, Release, Relaxed) {
                Ok(_) => return,
                Err(changed) => top = changed,
            }
        }
    }

    /// Takes the number of a block that nobody had yet, if the memory for it can be had.
    fn make(&self, start: *mut u8, class: usize) -> Option<u32> {
        let mut number = self.made.load(Relaxed);
        loop {
            let end = (number as usize + 1) * block_len(class);
            if end > REGION {
                return None;
            }
            if end > self.committed.load(Acquire) {
                let len = end.next_multiple_of(STEP);
                // Others may do the same at the same time, or have done more: no harm, no wait.
                let (rw, links) = (Prot::READ.union(Prot::WRITE), len / GRAIN * size_of::<u32>());
                // SAFETY: both ranges are the heap's, and gain rights only.
                unsafe {
                    mprotect(start.wrapping_add(class * REGION), len, rw).ok()?;
                    mprotect(table(start, class).cast(), links, rw).ok()?;
                }
                self.committed.fetch_max(len, Release);
            }
            match self.made.compare_exchange_weak(number, number + 1, Relaxed, Relaxed) {
                Ok(_) => return Some(number),
                Err(changed) => number = changed,
            }
        }
    }
}

/// A class's table: for each free block, the one below it, as number + 1, or 0.
///
/// Not in the blocks themselves, as is usual: there, a thread in [`Class::pop`] would read a link
/// from a block that another has just taken and is writing, which is a data race.
fn table(start: *mut u8, class: usize) -> *mut u32 {
    start.wrapping_add(CLASSES * REGION + class * TABLE).cast()
}

fn link<'a>(start: *mut u8, class: usize, number: u32) -> &'a AtomicU32 {
    // SAFETY: the table has a place for every number that was made, committed before; it stays
    // until the process ends, and its places are used as atomics only.
    unsafe { AtomicU32::from_ptr(table(start, class).wrapping_add(number as usize)) }
}

/// The allocator. A `const` value, for `#[global_allocator]`.
pub struct Heap {
    /// The reservation's first byte; null before it is first needed.
    start: AtomicPtr<u8>,
    classes: [Class; CLASSES],
    mappings: AtomicUsize,
}

impl Heap {
    pub const fn new() -> Self {
        let classes = [const { Class::new() }; CLASSES];
        Self { start: AtomicPtr::new(null_mut()), classes, mappings: AtomicUsize::new(0) }
    }

    /// The reservation's first byte. None if RLIMIT_AS is too low: then every block is a mapping.
    fn start(&self) -> Option<*mut u8> {
        let start = self.start.load(Acquire);
        if !start.is_null() {
            return Some(start);
        }
        let space = Reservation::aligned(RESERVED, LARGEST, Mode::Strict).ok()?;
        let start = space.as_ptr();
        if let Err(theirs) = self.start.compare_exchange(null_mut(), start, AcqRel, Acquire) {
            return Some(theirs); // another thread or a handler was faster; `space` is unmapped
        }
        core::mem::forget(space); // for ever: nobody can tell when the last block is freed
        Some(start)
    }

    /// A block of a class, and whether nobody had it yet: it is zeroes then.
    fn small(&self, layout: Layout) -> Option<(*mut u8, bool)> {
        let class = class_of(layout)?;
        let (start, it) = (self.start()?, &self.classes[class]);
        let freed = it.pop(start, class);
        let number = freed.or_else(|| it.make(start, class))? as usize;
        it.used.fetch_add(1, Relaxed);
        Some((start.wrapping_add(class * REGION + number * block_len(class)), freed.is_none()))
    }

    /// A block's class and number, by its address; none if it is a mapping.
    fn place(&self, block: *mut u8) -> Option<(usize, u32)> {
        let start = self.start.load(Acquire);
        let offset = block.addr().wrapping_sub(start.addr());
        (!start.is_null() && offset < CLASSES * REGION).then(|| {
            let class = offset / REGION;
            (class, (offset % REGION / block_len(class)) as u32)
        })
    }

    /// For each class: the bytes of a block, how many are in use, how many were made.
    pub fn classes(&self) -> impl Iterator<Item = (usize, usize, usize)> {
        self.classes.iter().enumerate().map(|(n, class)| {
            (block_len(n), class.used.load(Relaxed), class.made.load(Relaxed) as usize)
        })
    }

    /// How many blocks are mappings.
    pub fn mappings(&self) -> usize {
        self.mappings.load(Relaxed)
    }

    fn counted(&self, mapping: *mut u8) -> *mut u8 {
        self.mappings.fetch_add(usize::from(!mapping.is_null()), Relaxed);
        mapping
    }
}

// SAFETY: a block is at least as large as its layout, aligned to it (see `class_of`), and nobody
// else's until it is freed: its number is made once, and popped once for each time it was pushed.
// Others are PageAlloc's. Nothing unwinds.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match self.small(layout) {
            Some((block, _)) => block,
            // SAFETY: the caller's promise.
            None => self.counted(unsafe { PageAlloc.alloc(layout) }),
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        match self.small(layout) {
            Some((block, fresh)) => {
                // SAFETY: the block is as large as the layout.
                unsafe { block.write_bytes(0, if fresh { 0 } else { layout.size() }) };
                block
            }
            // SAFETY: the caller's promise.
            None => self.counted(unsafe { PageAlloc.alloc_zeroed(layout) }),
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if let Some((class, number)) = self.place(block) {
            self.classes[class].used.fetch_sub(1, Relaxed);
            return self.classes[class].push(self.start.load(Acquire), class, number);
        }
        self.mappings.fetch_sub(1, Relaxed);
        // SAFETY: the caller's promise, and the block is not of a class.
        unsafe { PageAlloc.dealloc(block, layout) };
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let Ok(wanted) = Layout::from_size_align(size, layout.align()) else { return null_mut() };
        match (self.place(block), class_of(wanted)) {
            (Some((class, _)), Some(same)) if class == same => return block,
            // SAFETY: the caller's promise, and the block is not of a class. No byte is copied.
            (None, None) => return unsafe { PageAlloc.realloc(block, layout, size) },
            _ => {}
        }
        // SAFETY: the caller's promise: the size isn't 0, and the block is of this layout. The two
        // are different blocks, each of at least the smaller size.
        unsafe {
            let copy = self.alloc(wanted);
            if !copy.is_null() {
                copy.copy_from_nonoverlapping(block, size.min(layout.size()));
                self.dealloc(block, layout);
            }
            copy
        }
    }
}
