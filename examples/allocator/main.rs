//! A program whose allocator is [`heap::Heap`], on top of the crate: put under stress from several
//! threads, from a signal handler and across fork, and asked for its statistics.
//!
//! `heap.rs` is the page to copy from. This file is what must hold for any such allocator.
//!
//! `cargo run --release --example allocator`, and under Miri `cargo +nightly miri run --example
//! allocator`

mod heap;
mod stress;

use heap::Heap;
use std::alloc::{GlobalAlloc, Layout};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

#[global_allocator]
static HEAP: Heap = Heap::new();

fn main() {
    timed("blocks of all sizes, freed by other threads too", blocks);
    timed("the standard library's collections", collections);
    timed("a large vector, grown without copying", large);
    if cfg!(miri) {
        println!("skipped: Miri has neither signals nor fork");
    } else {
        timed("a signal handler that allocates", signals);
        timed("children forked while threads allocate", forks);
    }

    println!("\n{:>9} {:>9} {:>9}", "block", "in use", "made");
    for (block, used, made) in HEAP.classes().filter(|it| it.2 > 0) {
        println!("{block:>9} {used:>9} {made:>9}");
    }
    println!("and {} blocks that are mappings", HEAP.mappings());
    let used: usize = HEAP.classes().map(|it| it.1).sum();
    // What the standard library still has, and no more: nothing of the above is left.
    assert!(used + HEAP.mappings() < 200, "{used} blocks leaked");
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

static HANDLED: AtomicUsize = AtomicUsize::new(0);

/// Takes and frees a block, as a handler may, whatever it has interrupted.
extern "C" fn on_alarm(_: libc::c_int) {
    let layout = Layout::new::<[usize; 5]>();
    // SAFETY: the block is freed with its own layout.
    unsafe {
        let block = HEAP.alloc(layout);
        block.write_bytes(0xff, layout.size());
        HEAP.dealloc(block, layout);
    }
    HANDLED.fetch_add(1, Relaxed);
}

/// The handler interrupts threads that use the same class.
fn signals() {
    let every = libc::timeval { tv_sec: 0, tv_usec: 200 };
    let never = libc::timeval { tv_sec: 0, tv_usec: 0 };
    let alarm = |it_interval| {
        let timer = libc::itimerval { it_interval, it_value: it_interval };
        // SAFETY: setitimer reads the timer.
        unsafe { libc::setitimer(libc::ITIMER_REAL, &timer, std::ptr::null_mut()) }
    };
    // SAFETY: the handler does only what signals may interrupt.
    unsafe { libc::signal(libc::SIGALRM, on_alarm as extern "C" fn(libc::c_int) as usize) };
    alarm(every);
    while HANDLED.load(Relaxed) < 200 {
        stress::blocks(&HEAP, 200);
    }
    alarm(never);
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
