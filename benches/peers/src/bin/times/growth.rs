//! Rows about how many there are, or how large a reservation is.

use crate::race::race;
use crate::rows::Row;
use peers::{self as by_hand, Held, KIB, PAGE, says};
use rawmap::{MapOptions, Mode, Prot, Reservation, Sharing, Stack, StackPool};

pub const ROWS: [Row; 3] = [
    ("mappings", "64 KiB mapped and unmapped, where so many other mappings are", mappings),
    ("reservation", "so much address space reserved and given back", reservation),
    (
        "stack",
        "one stack of 64 KiB with a guard of 64 KiB, of so many that are held, made and given back",
        stack,
    ),
];

/// How many mappings the process may have, beside some hundred that it has.
fn most_mappings() -> usize {
    says("/proc/sys/vm/max_map_count").trim().parse::<usize>().expect("a number") - 500
}

/// What one mapping costs where so many others are.
fn mappings(row: &str) {
    for count in [1, 10, 100, 1000, 10_000, 60_000] {
        if count > most_mappings() {
            eprintln!("skipped: {row} {count}: vm.max_map_count is less");
            continue;
        }
        // By turns readable and not, so that the kernel doesn't merge them.
        let other = |n| {
            let prot = if n % 2 == 0 { Prot::READ } else { Prot::NONE };
            MapOptions::new(PAGE).noreserve().raw(prot, Sharing::Private).unwrap()
        };
        let _others: Vec<_> = (0..count).map(other).collect();
        race(
            row,
            count,
            1,
            &mut [
                ("rawmap", &mut || drop(MapOptions::new(16 * PAGE).anonymous().unwrap())),
                ("memmap2", &mut || drop(memmap2::MmapMut::map_anon(16 * PAGE).unwrap())),
                ("by hand", &mut || drop(by_hand::memory(16 * PAGE))),
            ],
        );
    }
}

fn reservation(row: &str) {
    for size in [1, 16, 256, 4 << 10, 64 << 10].map(|gib| gib << 30_usize) {
        if Reservation::new(size, Mode::Strict).is_err() {
            eprintln!("skipped: {row} {size}: there is not so much address space");
            continue;
        }
        race(
            row,
            size,
            1,
            &mut [
                ("rawmap", &mut || drop(Reservation::new(size, Mode::Strict).unwrap())),
                ("mmap rs", &mut || {
                    drop(mmap_rs::MmapOptions::new(size).unwrap().reserve_none().unwrap());
                }),
                ("by hand", &mut || drop(by_hand::reserved(size))),
            ],
        );
    }
}

/// What one of so many stacks costs, each with its guard, all kept until the last is made, none used.
fn stack(row: &str) {
    const LEN: usize = 64 * KIB;
    fn all<T>(count: usize, make: impl Fn() -> T) {
        drop((0..count).map(|_| make()).collect::<Vec<T>>());
    }
    let stack = || Stack::new(LEN).unwrap();
    let hand = || -> Held { by_hand::stack(LEN, Stack::GUARD) };
    for count in [10, 100, 1000, 10_000, 100_000] {
        let pooled = &mut || {
            let pool = StackPool::new(count, LEN).unwrap();
            all(count, || pool.take().unwrap());
        };
        let pool = StackPool::new(count, LEN).unwrap();
        let again = &mut || all(count, || pool.take().unwrap());
        let mut peers: Vec<crate::race::Peer<'_>> =
            vec![("rawmap StackPool", pooled), ("rawmap StackPool again", again)];
        let (mut one, mut other) = (|| all(count, stack), || all(count, hand));
        peers.push(("rawmap Stack", &mut one));
        // Two mappings each.
        if 2 * count > most_mappings() {
            eprintln!("skipped: {row} {count} by hand: vm.max_map_count allows no 2 mappings each");
        } else {
            peers.push(("by hand", &mut other));
        }
        race(row, count, count, &mut peers);
    }
}
