//! The stress test that every allocator on top of the crate must pass: this example's, and those of
//! `tests/peers.rs`.
#![allow(unreachable_pub)]

use std::alloc::{GlobalAlloc, Layout};
use std::sync::Mutex;
use std::thread;

pub const THREADS: usize = 4;

/// A generator of numbers that repeats itself with each seed (xorshift64*).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound
    }

    /// Mostly small and little aligned; now and then up to 8 MiB, aligned up to 1 MiB.
    fn layout(&mut self) -> Layout {
        let largest = match self.below(100) {
            0..75 => 512,
            75..95 => 32 << 10,
            95..99 => 256 << 10,
            _ => 8 << 20,
        };
        let log2 = match self.below(100) {
            0..80 => self.below(5),
            80..99 => self.below(13),
            _ => self.below(21),
        };
        Layout::from_size_align(1 + self.below(largest), 1 << log2).unwrap()
    }
}

/// A block, and what it must hold.
struct Block {
    at: *mut u8,
    layout: Layout,
    mark: usize,
}

// SAFETY: a block has one owner, which alone uses the memory.
unsafe impl Send for Block {}

impl Block {
    fn new(heap: &impl GlobalAlloc, layout: Layout, random: &mut Random) -> Self {
        let zeroed = random.below(4) == 0;
        // SAFETY: no layout here has size 0.
        let at = unsafe { if zeroed { heap.alloc_zeroed(layout) } else { heap.alloc(layout) } };
        assert!(!at.is_null(), "out of memory: {layout:?}");
        let block = Self { at, layout, mark: random.below(1 << 30) };
        block.check_alignment();
        if zeroed {
            // SAFETY: within the block, and written by alloc_zeroed.
            let zero = |n| unsafe { at.add(n).read() } == 0;
            assert!(block.places(layout.size()).all(zero), "not zeroed: {layout:?}");
        }
        block.fill();
        block
    }

    fn check_alignment(&self) {
        assert_eq!(self.at.addr() % self.layout.align(), 0, "{:?}", self.layout);
    }

    /// Every byte of a small block; of a large one both ends, and some between.
    fn places(&self, len: usize) -> impl Iterator<Item = usize> + use<> {
        let all = len.min(1024);
        (0..all).chain((all..len).step_by(509)).chain([len - 1])
    }

    fn byte(&self, n: usize) -> u8 {
        (self.mark.wrapping_add(n).wrapping_mul(0x9e37_79b1) >> 13) as u8
    }

    fn fill(&self) {
        for n in self.places(self.layout.size()) {
            // SAFETY: within the block.
            unsafe { self.at.add(n).write(self.byte(n)) };
        }
    }

    /// The first `len` bytes are what was written.
    fn check(&self, len: usize) {
        for n in self.places(self.layout.size()).filter(|n| *n < len) {
            // SAFETY: within the block, and filled.
            let byte = unsafe { self.at.add(n).read() };
            assert_eq!(byte, self.byte(n), "byte {n} of {:?} at {:?}", self.layout, self.at);
        }
    }

    fn resize(&mut self, heap: &impl GlobalAlloc, size: usize) {
        self.check(self.layout.size());
        let kept = size.min(self.layout.size());
        // SAFETY: the block is of this layout; the size is neither 0 nor too large.
        self.at = unsafe { heap.realloc(self.at, self.layout, size) };
        assert!(!self.at.is_null(), "out of memory: {:?} to {size}", self.layout);
        self.check(kept);
        self.layout = Layout::from_size_align(size, self.layout.align()).unwrap();
        self.check_alignment();
        self.fill();
    }

    fn free(self, heap: &impl GlobalAlloc) {
        self.check(self.layout.size());
        // SAFETY: the block is of this layout, and nobody uses it any more.
        unsafe { heap.dealloc(self.at, self.layout) };
    }
}

/// Threads take, resize and free blocks of all sizes and alignments at random, and hand some to
/// each other to be freed there. Every block is checked for what was written to it. In the end, all
/// are freed.
pub fn blocks(heap: &(impl GlobalAlloc + Sync), rounds: usize) {
    let exchange = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for seed in 1..=THREADS {
            let exchange = &exchange;
            scope.spawn(move || one_thread(heap, exchange, &mut Random::new(seed as u64), rounds));
        }
    });
    exchange.into_inner().unwrap().into_iter().for_each(|block| block.free(heap));
}

fn one_thread(
    heap: &impl GlobalAlloc,
    exchange: &Mutex<Vec<Block>>,
    random: &mut Random,
    rounds: usize,
) {
    let mut mine: Vec<Block> = Vec::new();
    for _ in 0..rounds {
        let some = random.below(mine.len().max(1));
        match random.below(10) {
            0..4 => mine.push(Block::new(heap, random.layout(), random)),
            4..7 if !mine.is_empty() => mine.swap_remove(some).free(heap),
            7 if !mine.is_empty() => mine[some].resize(heap, random.layout().size()),
            8 if !mine.is_empty() => exchange.lock().unwrap().push(mine.swap_remove(some)),
            9 => {
                let theirs = exchange.lock().unwrap().pop();
                theirs.into_iter().for_each(|block| block.free(heap));
            }
            _ => {}
        }
        if random.below(500) == 0 {
            chain(heap, random);
        }
    }
    mine.into_iter().for_each(|block| block.free(heap));
}

/// One block, grown by half again and again up to 1 MiB, and shrunk again.
fn chain(heap: &impl GlobalAlloc, random: &mut Random) {
    let mut size = 1 + random.below(64);
    let layout = Layout::from_size_align(size, 1 << random.below(8)).unwrap();
    let mut block = Block::new(heap, layout, random);
    while size < 1 << 20 {
        size += size / 2 + 1;
        block.resize(heap, size);
    }
    while size > 7 {
        size /= 3;
        block.resize(heap, size);
    }
    block.free(heap);
}
