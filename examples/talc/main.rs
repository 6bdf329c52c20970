//! talc as the global allocator, with pages from a [`Reservation`]. Address space is reserved once, committed
//! in steps as the heap grows, and decommitted when enough is free at the heap's end.
//!
//! `pages.rs` is the page to copy from; `examples/freestanding` uses it too. `cargo run --release --example
//! talc`

mod pages;

use pages::Pages;
use std::collections::HashMap;
use talc::TalcLock;

#[global_allocator]
static HEAP: TalcLock<spinning_top::RawSpinlock, Pages> = TalcLock::new(Pages::new());

/// How many bytes are committed now.
fn committed() -> usize {
    HEAP.lock().source.committed()
}

fn main() {
    let before = committed();
    let large: Vec<Vec<u8>> = (0..64).map(|n| vec![n; 1 << 20]).collect();
    assert!(large.iter().enumerate().all(|(n, bytes)| bytes.iter().all(|byte| *byte == n as u8)));
    let most = committed();
    assert!(most >= before + (64 << 20));
    drop(large);
    let after = committed();
    println!("committed: {} MiB, {} MiB, {} MiB", before >> 20, most >> 20, after >> 20);
    assert!(after < before + (4 << 20), "what is free at the end is given back");

    let threads: Vec<_> = (0..4)
        .map(|seed| {
            std::thread::spawn(move || {
                let mut words: HashMap<usize, String> = HashMap::new();
                for n in 0..20_000_usize {
                    let key = (n * 7919 + seed) % 1000;
                    words.insert(key, "x".repeat(key));
                    words.remove(&((key * 31) % 1000));
                }
                words.iter().all(|(key, word)| word.len() == *key)
            })
        })
        .collect();
    assert!(threads.into_iter().all(|thread| thread.join().unwrap()));
    println!("four threads: {} MiB", committed() >> 20);
}
