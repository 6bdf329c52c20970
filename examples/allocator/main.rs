//! A program whose allocator is [`heap::Heap`], on top of the crate. It puts the allocator under stress from
//! several threads, while threads end and processes fork, and looks at how much memory is given back.
//!
//! `heap.rs` is the page to copy from. What this file tests must hold for any such allocator.
//!
//! `cargo run --release --example allocator`

mod heap;
mod stress;

use heap::Heap;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

#[global_allocator]
static HEAP: Heap = Heap;

fn main() {
    timed("blocks of all sizes, freed by other threads too", blocks);
    timed("the standard library's collections", collections);
    timed("a large vector, grown without copying", large);
    timed("threads that begin and end", ends);
    if cfg!(miri) {
        println!("skipped: Miri has neither fork nor a resident set");
    } else {
        timed("children forked while threads allocate", forks);
        timed("memory of one size, then of another, and none", given_back);
    }
}

fn timed(what: &str, work: fn()) {
    let start = Instant::now();
    work();
    println!("{what}: {} ms", start.elapsed().as_millis());
}

/// How much of something is enough; emulators and Miri take their time.
fn much(natively: usize, emulated: usize, interpreted: usize) -> usize {
    if cfg!(miri) {
        interpreted
    } else if std::env::var_os("RAWMAP_EMULATOR").is_some() {
        emulated
    } else {
        natively
    }
}

fn blocks() {
    stress::blocks(&HEAP, much(10_000, 500, 8));
}

/// Maps, strings and queues, built in some threads and dropped in another.
fn collections() {
    let (send, receive) = mpsc::channel();
    thread::scope(|scope| {
        for seed in 0..stress::THREADS {
            let send = send.clone();
            scope.spawn(move || {
                let mut random = stress::Random::new(seed as u64);
                let (mut tree, mut table) = (BTreeMap::new(), HashMap::new());
                let mut queue = VecDeque::new();
                for n in 0..much(5_000, 5_000, 10) {
                    let key = random.below(2_500);
                    tree.insert(key, format!("{key}: {n}"));
                    table.entry(key).or_insert_with(Vec::new).push(n);
                    queue.push_back(vec![key as u8; random.below(100)]);
                    if queue.len() > 100 {
                        queue.pop_front();
                    }
                }
                send.send((tree, table, queue)).unwrap();
            });
        }
        drop(send);
        for (tree, table, queue) in receive {
            assert_eq!(tree.len(), table.len());
            for (key, text) in &tree {
                let last = table[key].last().unwrap();
                assert_eq!(*text, format!("{key}: {last}"));
            }
            assert!(queue.iter().all(|bytes| bytes.iter().all(|byte| *byte == bytes[0])));
        }
    });
}

/// 256 MiB, as a rule.
fn large() {
    let mut numbers = Vec::new();
    for n in 0..much(65536, 65536, 40) as u64 {
        numbers.extend_from_slice(&[n; 4096 / 8]);
    }
    assert!(numbers.chunks(512).zip(0..).all(|(page, n)| page[0] == n && page[511] == n));
}

/// What a thread kept for itself goes back when it ends, whoever has freed it.
fn ends() {
    for n in 0..much(1000, 100, 3) {
        let blocks =
            thread::spawn(move || (0..200).map(|it| vec![it as u8; n % 500 + 1]).collect());
        let blocks: Vec<Vec<u8>> = blocks.join().unwrap();
        assert!(blocks.iter().zip(0..).all(|(block, it)| block.iter().all(|byte| *byte == it)));
    }
}

/// The bytes of this process that are in memory.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap()
        * rawmap::page_size().unwrap().bytes()
}

/// As much of one size as of the other: the program has no more than three times that at any time, nor more when it does
/// the same again; and what is large enough for a mapping goes back at once. (Of smaller blocks dlmalloc gives back what
/// happens to lie at an end: how much that is depends on where the kernel maps.)
fn given_back() {
    let all = much(64 << 20, 4 << 20, 0);
    let before = resident();
    let series = || {
        let mut most = 0;
        for size in [100, 4000, 640, 20_000, 200, 300_000, 1000, 64, 3 << 20, 12_000] {
            let blocks: Vec<Vec<u8>> = (0..all / size).map(|_| vec![1; size]).collect();
            assert!(blocks.iter().all(|block| block[size - 1] == 1));
            most = most.max(resident());
        }
        most
    };
    let (first, again) = (series(), series());
    HEAP.trim();
    let trimmed = resident();
    let block = vec![1_u8; all];
    let with_block = resident();
    drop(block);
    let after = resident();
    let mib = [before, first, again, trimmed, with_block, after].map(|bytes| bytes >> 20);
    println!("resident, in MiB: {mib:?}");
    if std::env::var_os("RAWMAP_EMULATOR").is_some() {
        println!("skipped: what is resident is the emulator's as well");
        return;
    }
    assert!(first < before + 3 * all && again < first + all / 4);
    assert!(trimmed + all * 3 / 4 < with_block && after < trimmed + all / 4);
}

/// What the other threads were in the midst of does not stop the child.
fn forks() {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Relaxed) {
                    drop((0..100).map(|n| vec![n; n]).collect::<Vec<_>>());
                }
            });
        }
        for _ in 0..20 {
            let mut status = 0;
            // SAFETY: the child uses this allocator, which is what is to be shown, and then exits
            // at once; a deadlock there ends by SIGALRM.
            unsafe {
                let child = libc::fork();
                if child == 0 {
                    libc::alarm(30);
                    libc::_exit((0..1000).map(|n| vec![7; n]).all(|it| it.len() < 1000).into());
                }
                assert_eq!(libc::waitpid(child, &mut status, 0), child);
            }
            assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 1, "{status:#x}");
        }
        done.store(true, Relaxed);
    });
}
