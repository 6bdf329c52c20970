//! A general-purpose allocator to copy from: size classes on one [`Reservation`], large blocks by
//! [`PageAlloc`], any number of threads, no lock. It needs `core` and `rawmap`, nothing else.
//!
//! One call reserves address space for all classes; the kernel adds memory when a page is first
//! touched. Each class has a region of its own, so where a block lies tells its class, and no block
//! has a header. A class hands out what was freed last, or else the next block of its region that
//! nobody had yet. Free blocks are chained by their numbers, in a table apart from the blocks.
//!
//! Why no lock: an allocator is called where a lock is trouble.
//! - *Signals.* A handler that allocates, and has interrupted the thread that holds the lock, waits
//!   for ever. Here each change is one compare-and-swap: a handler finds all of it done or nothing.
//! - *Fork.* A child of a process with threads inherits a lock that another thread held, and nobody
//!   to release it. Here the child can go on. What another thread was taking or freeing at that
//!   moment is lost to it: one block for each such thread.
//! - *Scheduling.* If the holder of a spin lock loses its core, all others spin until it is back, or
//!   for ever if they have a higher real-time priority. A futex would help against that alone.
//!
//! What it costs: all threads meet at a class's head, whose cache line moves from core to core, so
//! two threads that do nothing but allocate are slower than one. Allocators that scale keep blocks
//! for each thread in front of this; `core` has no thread-locals to do it with.
//!
//! What it leaves out: memory of small blocks is used again, but not given back to the system. That
//! takes a count of free blocks for each page, and [`Reservation::purge`] where it is full.
//!
//! An allocator must not allocate or unwind. Nothing here does: no formatting, no panic that can be
//! reached, and errors are null pointers, whose texts are for whoever asks `rawmap` directly.
//!
//! The page size appears nowhere: `Reservation` and `PageAlloc` find and round by themselves.
#![allow(unreachable_pub)]

use core::alloc::{GlobalAlloc, Layout};
use core::ptr::null_mut;
use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering::*};
use rawmap::{Advice, Cursor, Mode, PageAlloc, Reservation};

/// The smallest class, and the step between the first eight, in bytes.
const GRAIN: usize = 16;
/// The largest class in bytes; above it, a block is a mapping.
const LARGEST: usize = 32 << 10;
/// 16, 32, .. 128; then four for each doubling: 160, 192, 224, 256, 320, .. 32768.
pub const CLASSES: usize = 40;
/// Address space of one class in bytes. When it is used up, the class's blocks become mappings.
const REGION: usize = 1 << 30;
/// Address space of one class's table: a number for each block.
const TABLE: usize = REGION / GRAIN * size_of::<u32>();
/// All regions, then all tables.
const RESERVED: usize = CLASSES * (REGION + TABLE);

/// The class of a layout; none if it is larger than all.
///
/// Rounding the size up to a multiple of the alignment is enough to align the block: the class that
/// it falls in is itself such a multiple (proved below), and every region begins at a multiple of
/// [`LARGEST`].
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
    /// The count is against ABA: a thread reads block 7 and its successor 3, stalls, and meanwhile
    /// others take 7 and 3 and free 7. Without the count its swap would succeed and put 3, which is
    /// in use, on top. With it, that takes another 2^32 frees to the last one during the stall.
    top: AtomicU64,
    /// How many blocks were ever handed out: those below are used or chained, those above untouched.
    made: AtomicU32,
    /// How many are in use; for statistics only.
    used: AtomicUsize,
}

impl Class {
    const fn new() -> Self {
        Self { top: AtomicU64::new(0), made: AtomicU32::new(0), used: AtomicUsize::new(0) }
    }

    /// Takes a freed block's number.
    fn pop(&self, links: Links) -> Option<u32> {
        // Acquire, here and below: what was done to the block before it was freed is done.
        let mut top = self.top.load(Acquire);
        loop {
            let number = (top as u32).checked_sub(1)?;
            // If another thread takes the block now, this is stale, and the swap fails.
            let next = u64::from(links.of(number).load(Relaxed));
            match self.top.compare_exchange_weak(top, top >> 32 << 32 | next, Acquire, Acquire) {
                Ok(_) => return Some(number),
                Err(changed) => top = changed,
            }
        }
    }

    fn push(&self, links: Links, number: u32) {
        let mut top = self.top.load(Relaxed);
        loop {
            links.of(number).store(top as u32, Relaxed);
            let count = (top >> 32).wrapping_add(1) << 32;
            // Release: the link, and all that was done to the block, before it can be taken.
            match self.top.compare_exchange_weak(
                top,
                count | u64::from(number + 1),
                Release,
                Relaxed,
            ) {
                Ok(_) => return,
                Err(changed) => top = changed,
            }
        }
    }

    /// Takes the number of a block that nobody had yet.
    fn make(&self, limit: usize) -> Option<u32> {
        let one_more = |made| ((made as usize) < limit).then_some(made + 1);
        self.made.fetch_update(Relaxed, Relaxed, one_more).ok()
    }
}

/// A class's table: for each free block, the one below it, as number + 1, or 0.
///
/// Not in the blocks themselves, as is usual: there, a thread in [`Class::pop`] would read a link
/// from a block that another thread has just taken and is writing, which is a data race. And so a
/// block that nobody had yet is still zeroes.
#[derive(Clone, Copy)]
struct Links(*mut u32);

impl Links {
    fn of<'a>(self, number: u32) -> &'a AtomicU32 {
        // SAFETY: the reservation has a place for every number that a class can make; it stays
        // until the process ends, and its places are used as atomics only.
        unsafe { AtomicU32::from_ptr(self.0.wrapping_add(number as usize)) }
    }
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

    /// The reservation's first byte. None where so much can't be reserved (RLIMIT_AS, strict
    /// accounting): then every block is a mapping.
    fn start(&self) -> Option<*mut u8> {
        let start = self.start.load(Acquire);
        if !start.is_null() {
            return Some(start);
        }
        let mut cursor = Cursor::new();
        let space = Reservation::aligned(RESERVED, LARGEST, &mut cursor, Mode::Overcommit).ok()?;
        let start = space.as_ptr();
        // Where huge pages are on for all memory, the first block of a class would cost 2 MiB.
        // SAFETY: the range is ours; its contents don't change. That it fails does no harm.
        let _ = unsafe { rawmap::madvise(start, RESERVED, Advice::NOHUGEPAGE) };
        match self.start.compare_exchange(null_mut(), start, AcqRel, Acquire) {
            Ok(_) => {
                core::mem::forget(space); // for ever: no one can tell when the last block is freed
                Some(start)
            }
            // Another thread, or a signal's handler, was faster. Ours is unmapped by its drop.
            Err(theirs) => Some(theirs),
        }
    }

    fn links(start: *mut u8, class: usize) -> Links {
        Links(start.wrapping_add(CLASSES * REGION + class * TABLE).cast())
    }

    /// A block of a class, and whether nobody had it yet: it is zeroes then.
    fn small(&self, layout: Layout) -> Option<(*mut u8, bool)> {
        let class = class_of(layout)?;
        let start = self.start()?;
        let it = &self.classes[class];
        let freed = it.pop(Self::links(start, class));
        let number = freed.or_else(|| it.make(REGION / block_len(class)))? as usize;
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

    /// For each class: the bytes of a block, how many are in use, how many were ever made.
    pub fn classes(&self) -> impl Iterator<Item = (usize, usize, usize)> {
        let counts = |it: &Class| (it.used.load(Relaxed), it.made.load(Relaxed) as usize);
        self.classes
            .iter()
            .map(counts)
            .enumerate()
            .map(|(n, (used, made))| (block_len(n), used, made))
    }

    /// How many blocks are mappings.
    pub fn mappings(&self) -> usize {
        self.mappings.load(Relaxed)
    }

    fn large(&self, block: *mut u8) -> *mut u8 {
        self.mappings.fetch_add(usize::from(!block.is_null()), Relaxed);
        block
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
            None => self.large(unsafe { PageAlloc.alloc(layout) }),
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        match self.small(layout) {
            Some((block, true)) => block,
            Some((block, false)) => {
                // SAFETY: the block is as large as the layout.
                unsafe { block.write_bytes(0, layout.size()) };
                block
            }
            // SAFETY: the caller's promise.
            None => self.large(unsafe { PageAlloc.alloc_zeroed(layout) }),
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let Some((class, number)) = self.place(block) else {
            self.mappings.fetch_sub(1, Relaxed);
            // SAFETY: the caller's promise, and the block is not of a class.
            return unsafe { PageAlloc.dealloc(block, layout) };
        };
        self.classes[class].used.fetch_sub(1, Relaxed);
        self.classes[class].push(Self::links(self.start.load(Acquire), class), number);
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
