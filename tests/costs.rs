//! What each job costs in system calls, counted by strace: the README's table, and that it is true.
mod common;

use common::traced::{is_traced, mark, trace};
use common::*;
use rawmap::{
    Advice, Cursor, DualMapping, MapFlags, MapOptions, Mode, MremapFlags, PageAlloc, Prot,
    Reservation, Ring, Stack, madvise, mmap, mprotect, mremap, munmap,
};
use std::alloc::{GlobalAlloc, Layout};
use std::hint::black_box;
use std::mem::forget;
use std::os::fd::AsRawFd;

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;
/// Of how many the average is taken.
const N: usize = 1000;

/// Does something that strace is to count, to what was made uncounted.
fn counted<T, R>(made: T, job: impl FnOnce(T) -> R) {
    mark();
    let result = job(made);
    mark();
    // What cleans up is another job.
    forget(result);
}

/// How people reserve aligned memory: map too much, and unmap both ends.
fn over_allocate_and_trim(len: usize, align: usize) {
    let all = len + align - page();
    let base = anonymous(all, RW);
    let head = base.addr().wrapping_neg() & (align - 1);
    let tail = all - head - len;
    // SAFETY: both ends of what was mapped just now.
    unsafe {
        if head != 0 {
            munmap(base, head).unwrap();
        }
        if tail != 0 {
            munmap(base.add(head + len), tail).unwrap();
        }
    }
    black_box(base);
}

/// How they free what was committed: drop the pages, and protect them again.
fn drop_and_protect(map: *mut u8) {
    // SAFETY: the caller's mapping.
    unsafe {
        madvise(map, MIB, Advice::DONTNEED).unwrap();
        mprotect(map, MIB, Prot::NONE).unwrap();
    }
}

fn ring_of_a_file() {
    let file = memfd(MIB as u64);
    let base = anonymous(2 * MIB, Prot::NONE);
    let flags = MapFlags::SHARED | MapFlags::FIXED;
    // SAFETY: over the room of the line above.
    unsafe {
        mmap(base, MIB, RW, flags, file.as_raw_fd(), 0).unwrap();
        mmap(base.add(MIB), MIB, RW, flags, file.as_raw_fd(), 0).unwrap();
    }
}

fn two_views_of_a_file() {
    let file = memfd(MIB as u64);
    for prot in [RW, Prot::READ | Prot::EXEC] {
        map(&file, MIB, prot, MapFlags::SHARED, 0).unwrap();
    }
}

fn copy_and_unmap(old: *mut u8) {
    let new = anonymous(2 * MIB, RW);
    // SAFETY: two mappings of at least so many bytes; the old one is not used again.
    unsafe {
        new.copy_from_nonoverlapping(old, MIB);
        munmap(old, MIB).unwrap();
    }
}

fn guard_by_protection(map: *mut u8) {
    // SAFETY: the caller's mapping.
    unsafe { mprotect(map, page(), Prot::NONE) }.unwrap();
}

fn stack_by_hand() {
    let base = anonymous(MIB + page(), Prot::NONE);
    // SAFETY: the mapping of the line above.
    unsafe { mprotect(base.add(page()), MIB, RW) }.unwrap();
}

fn move_by_hand((map, place): (*mut u8, *mut u8)) {
    let flags = MremapFlags::MAYMOVE | MremapFlags::FIXED;
    // SAFETY: the caller's mappings.
    unsafe { mremap(map, MIB, MIB, flags, place) }.unwrap();
}

/// A job: its name, its parts as the owners do them, as it is commonly done, and what is to be said of
/// that.
type Job = (&'static str, Vec<fn()>, Vec<fn()>, &'static str);

fn jobs() -> Vec<Job> {
    const LAYOUT: Layout = Layout::new::<[u8; 100_000]>();
    vec![
        (
            "reserve 64 KiB aligned to 2 MiB, on average of 1,000",
            vec![|| {
                counted(Cursor::new(), |mut cursor| {
                    for _ in 0..N {
                        let (len, mode) = (64 * KIB, Mode::Overcommit);
                        forget(Reservation::aligned(len, 2 * MIB, &mut cursor, mode).unwrap());
                    }
                });
            }],
            vec![|| {
                counted((), |()| (0..N).for_each(|_| over_allocate_and_trim(64 * KIB, 2 * MIB)));
            }],
            "over-allocate and trim",
        ),
        (
            "the same, keeping the slack",
            vec![|| counted((), |()| Reservation::keep_slack(64 * KIB, 2 * MIB, Mode::Strict))],
            vec![],
            "",
        ),
        (
            "commit and decommit, overcommitting",
            vec![|| counted(overcommitted(), |it| it.commit(0, MIB).map(|()| it)), || {
                counted(overcommitted(), |it| it.decommit(0, MIB).map(|()| it))
            }],
            vec![],
            "",
        ),
        (
            "commit and decommit, strict",
            vec![|| counted(strict(), |it| it.commit(0, MIB).map(|()| it)), || {
                counted(strict(), |it| it.decommit(0, MIB).map(|()| it))
            }],
            vec![
                || {
                    counted(anonymous(MIB, Prot::NONE), |map| {
                        // SAFETY: the mapping of the line above.
                        unsafe { mprotect(map, MIB, RW) }
                    });
                },
                || counted(anonymous(MIB, RW), drop_and_protect),
            ],
            "which keeps the commit charge",
        ),
        (
            "mirrored ring buffer",
            vec![|| counted((), |()| Ring::new(MIB))],
            vec![|| counted((), |()| ring_of_a_file())],
            "over a memfd",
        ),
        (
            "write view and execute view",
            vec![|| counted((), |()| DualMapping::new(MIB))],
            vec![|| counted((), |()| two_views_of_a_file())],
            "over a memfd",
        ),
        (
            "grow memory, moving it",
            vec![|| counted(anon(), |mut map| map.grow(64 * MIB).map(|()| map))],
            vec![|| counted(anonymous(MIB, RW), copy_and_unmap)],
            "and a copy",
        ),
        (
            "move memory to an exact place",
            vec![|| counted(two(), |(map, at)| map.move_into(at))],
            vec![|| counted((anonymous(MIB, RW), anonymous(MIB, RW)), move_by_hand)],
            "which may lose the place, or half of the move",
        ),
        (
            "map at an address, if it is free",
            vec![|| counted(free(), |hint| MapOptions::new(page()).hint(hint).place())],
            vec![],
            "",
        ),
        (
            "guard a page, from Linux 6.13 on",
            vec![|| counted(anon().into_raw_access(), |map| map.guard(0, page()).map(|_| map))],
            vec![|| counted(anonymous(MIB, RW), guard_by_protection)],
            "and two mappings more",
        ),
        (
            "stack with a guard",
            vec![|| counted((), |()| Stack::new(MIB))],
            vec![|| counted((), |()| stack_by_hand())],
            "leaks the mapping if the second fails",
        ),
        (
            "`PageAlloc`: allocate, grow, free",
            vec![
                // SAFETY: a layout of more than 0 bytes.
                || counted((), |()| unsafe { PageAlloc.alloc(LAYOUT) }),
                // SAFETY: a block of this layout.
                || counted(block(LAYOUT), |it| unsafe { PageAlloc.realloc(it, LAYOUT, 64 * MIB) }),
                // SAFETY: as above.
                || counted(block(LAYOUT), |it| unsafe { PageAlloc.dealloc(it, LAYOUT) }),
            ],
            vec![],
            "",
        ),
    ]
}

fn anon() -> rawmap::Mapping {
    MapOptions::new(MIB).anonymous().unwrap()
}

/// A mapping behind which there is no room, and a place for it.
fn two() -> (rawmap::Mapping, rawmap::Mapping<rawmap::Raw>) {
    let (map, behind) = MapOptions::new(2 * MIB).anonymous().unwrap().split_at(MIB).unwrap();
    forget(behind);
    (map, anon().into_raw_access())
}

fn overcommitted() -> Reservation {
    Reservation::new(MIB, Mode::Overcommit).unwrap()
}

fn strict() -> Reservation {
    Reservation::new(MIB, Mode::Strict).unwrap()
}

fn block(layout: Layout) -> *mut u8 {
    // SAFETY: not of 0 bytes.
    unsafe { PageAlloc.alloc(layout) }
}

/// An address at which nothing is mapped.
fn free() -> *mut u8 {
    let map = MapOptions::new(page()).anonymous().unwrap();
    map.as_ptr()
}

/// A cell of the table: the calls of each part of the job.
fn cell(counts: &[f64], average: bool) -> String {
    let number = |n: &f64| if average { format!("{:.2}", n / N as f64) } else { format!("{n}") };
    counts.iter().map(number).collect::<Vec<_>>().join(" and ")
}

#[test]
fn the_readmes_table_is_what_strace_counts() {
    // The page size is asked for once in a program, where it isn't known.
    drop(anon());
    let jobs = jobs();
    if is_traced() {
        for (_, ours, theirs, _) in &jobs {
            ours.iter().chain(theirs).for_each(|job| job());
        }
        return;
    }
    let names = [
        "mmap",
        "munmap",
        "mprotect",
        "msync",
        "mremap",
        "madvise",
        "mincore",
        "mlock",
        "mlock2",
        "munlock",
        "memfd_create",
        "ftruncate",
        "close",
    ];
    let (seen, version) = match trace("the_readmes_table_is_what_strace_counts", &names) {
        Ok(traced) => traced,
        Err(why) => return skip!("{why}"),
    };
    println!("{version}");
    let mut counts = seen.iter().map(|calls| calls.len() as f64);
    let readme = include_str!("../README.md");
    let mut wrong = Vec::new();
    for (name, ours, theirs, how) in jobs {
        let average = name.contains("average");
        let ours: Vec<_> = counts.by_ref().take(ours.len()).collect();
        let theirs: Vec<_> = counts.by_ref().take(theirs.len()).collect();
        let how = if how.is_empty() { String::new() } else { format!(" ({how})") };
        let row =
            format!("| {name} | {} | {}{how} |", cell(&ours, average), cell(&theirs, average));
        let row = row.replace("  ", " ");
        println!("{row}");
        if average {
            assert!((1.0..1.2).contains(&(ours[0] / N as f64)), "{row}");
            assert!(theirs[0] / N as f64 > 2.0, "{row}");
        }
        let guards = !name.contains("6.13") || kernel() >= (6, 13);
        if guards && !readme.contains(&row) {
            wrong.push(row);
        }
    }
    assert!(counts.next().is_none(), "strace saw more jobs than there are");
    assert!(wrong.is_empty(), "the README says otherwise:\n{}", wrong.join("\n"));
}
