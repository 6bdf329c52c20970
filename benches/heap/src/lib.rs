//! The jobs, which a program of each allocator does.

mod program;

use std::alloc::{Layout, alloc, dealloc};
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::hint::black_box;
use std::time::Duration;

/// A job, its name, and what it is.
pub type Job = (&'static str, &'static str, fn());

/// Without chance, so that faults and memory are the same each time.
type Map<K, V> = HashMap<K, V, BuildHasherDefault<DefaultHasher>>;

pub const JOBS: [Job; 9] = [
    ("box", "a block of 64 bytes, taken and freed, 2,000,000 times", boxes),
    (
        "larson",
        "2 threads replace 1,000 blocks of 16 to 512 bytes each at random, then the other's",
        larson,
    ),
    ("buffers", "16 buffers of 8 to 128 KiB, replaced 32,000 times, both ends written", buffers),
    ("btreemap", "100,000 entries put in and removed", tree),
    ("hashmap", "100,000 entries with a String each", table),
    (
        "phases",
        "64 MiB of blocks of one size, written and freed; then of another; 12 sizes",
        phases,
    ),
    ("vec", "pushed to 1 GiB", vector),
    (
        "index",
        "40 MB of text, its words and in which lines they are, in a HashMap, then in order",
        program::index,
    ),
    ("json", "20 MB of JSON, made into values by serde_json, and written again", program::json),
];

/// The processor time of this process.
fn time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid place.
    assert_eq!(unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) }, 0);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Page faults of this process up to now.
fn faults() -> i64 {
    // SAFETY: getrusage fills in the structure, which is valid as zeroes.
    unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &mut usage);
        usage.ru_minflt + usage.ru_majflt
    }
}

/// Does the job that the program's argument names twice, and prints the nanoseconds and page faults of the second time,
/// and the most memory that the program had, in KiB.
pub fn run() {
    let name = std::env::args().nth(1).expect("a job's name");
    let (_, _, job) = JOBS.iter().find(|job| job.0 == name).expect("a job");
    job();
    let (start, before) = (time(), faults());
    job();
    let (nanoseconds, faults) = ((time() - start).as_nanos(), faults() - before);
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    println!("{nanoseconds} {faults} {}", peak.trim().strip_suffix(" kB").unwrap());
}

fn boxes() {
    for n in 0..2_000_000 {
        black_box(Box::new([black_box(n); 8]));
    }
}

/// xorshift64.
struct Random(u64);

impl Random {
    /// Of 31 bits at most.
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 33) as usize % bound
    }
}

/// A block, as a number so that threads may pass it on.
struct Block(usize, Layout);

impl Block {
    fn new(size: usize) -> Self {
        let layout = Layout::from_size_align(size, 8).unwrap();
        // SAFETY: the size isn't 0; both ends are in the block.
        unsafe {
            let block = alloc(layout);
            assert!(!block.is_null());
            block.write(1);
            block.add(size - 1).write(1);
            Self(block.expose_provenance(), layout)
        }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: of this layout, and freed once.
        unsafe { dealloc(std::ptr::with_exposed_provenance_mut(self.0), self.1) };
    }
}

fn larson() {
    let mut all: Vec<Vec<Block>> =
        (0..2).map(|_| (0..1000).map(|n| Block::new(16 + n % 497)).collect()).collect();
    for round in 0..4 {
        std::thread::scope(|scope| {
            for (n, mine) in all.iter_mut().enumerate() {
                scope.spawn(move || {
                    let mut random = Random(1 + round * 2 + n as u64);
                    for _ in 0..250_000 {
                        let one = random.below(mine.len());
                        mine[one] = Block::new(16 + random.below(497));
                    }
                });
            }
        });
        all.reverse();
    }
}

fn buffers() {
    let mut random = Random(7);
    let mut size = move || (8 << 10) + random.below(120 << 10);
    let mut mine: Vec<Block> = (0..16).map(|_| Block::new(size())).collect();
    for n in 0..32_000 {
        mine[n % 16] = Block::new(size());
    }
}

fn tree() {
    let mut random = Random(3);
    let mut tree: BTreeMap<usize, usize> =
        (0..100_000).map(|n| (random.below(1 << 30), n)).collect();
    while tree.pop_first().is_some() {}
}

fn table() {
    let mut random = Random(5);
    let table: Map<usize, String> =
        (0..100_000).map(|n| (random.below(1 << 30), "x".repeat(n % 60 + 1))).collect();
    assert!(black_box(&table).len() > 90_000);
}

fn phases() {
    for size in [100, 4000, 640, 8192, 200, 4096, 1000, 64, 3000, 12_000, 400, 2000] {
        let blocks: Vec<Vec<u8>> = (0..(64 << 20) / size).map(|_| vec![1; size]).collect();
        black_box(&blocks);
    }
}

fn vector() {
    let mut numbers: Vec<u64> = Vec::new();
    while numbers.len() < (1 << 30) / 8 {
        numbers.extend_from_slice(&[1; 512]);
    }
    black_box(&numbers);
}
