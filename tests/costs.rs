//! What each job costs in system calls, counted by strace: the README's table, and that it is true.
mod common;

use common::traced::{is_traced, mark, trace};
use common::*;
use rawmap::{
    Advice, DualMapping, MapFlags, MapOptions, Mapping, Mode, MremapFlags, NO_FD, PageAlloc, Place,
    Prot, Reservation, Ring, Stack, madvise, mmap, mprotect, mremap, munmap,
};
use std::alloc::{GlobalAlloc, Layout};
use std::fmt::Debug;
use std::hint::black_box;
use std::mem::forget;
use std::os::fd::AsRawFd;

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;
/// Of how many the average is taken.
const N: usize = 1000;

/// Does something that strace is to count, to what was made uncounted.
fn counted<T, R, E: Debug>(made: T, job: impl FnOnce(T) -> Result<R, E>) {
    mark();
    let result = job(made);
    mark();
    // What cleans up is another job.
    forget(result.unwrap());
}

/// A job that can't fail without a panic.
fn done<R>(job: impl FnOnce() -> R) -> Result<R, ()> {
    Ok(job())
}

/// A block that was allocated.
fn some(block: *mut u8) -> Result<*mut u8, &'static str> {
    if block.is_null() { Err("no memory") } else { Ok(block) }
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
            vec![|| reserved(64 * KIB, 2 * MIB)],
            vec![|| {
                let trim = |_| over_allocate_and_trim(64 * KIB, 2 * MIB);
                counted((), |()| done(|| (0..N).for_each(trim)));
            }],
            "over-allocate and trim",
        ),
        (
            "reserve 4 MiB aligned to 4 MiB, on average of 1,000",
            vec![|| reserved(4 * MIB, 4 * MIB)],
            vec![|| {
                let trim = |_| over_allocate_and_trim(4 * MIB, 4 * MIB);
                counted((), |()| done(|| (0..N).for_each(trim)));
            }],
            "over-allocate and trim",
        ),
        (
            "cut an aligned 64 KiB out of a reservation",
            vec![|| {
                counted(overcommitted(), |mut it| it.split_off(64 * KIB).map(|rest| (it, rest)))
            }],
            vec![],
            "",
        ),
        (
            "commit and decommit, overcommitting",
            vec![|| counted(overcommitted(), |it| it.commit(..).map(|()| it)), || {
                counted(overcommitted(), |it| it.decommit(..).map(|()| it))
            }],
            vec![],
            "",
        ),
        (
            "commit and decommit, strict",
            vec![|| counted(strict(), |it| it.commit(..).map(|()| it)), || {
                counted(strict(), |it| it.decommit(..).map(|()| it))
            }],
            vec![
                || {
                    counted(anonymous(MIB, Prot::NONE), |map| {
                        // SAFETY: the mapping of the line above.
                        unsafe { mprotect(map, MIB, RW) }
                    });
                },
                || counted(anonymous(MIB, RW), |map| done(|| drop_and_protect(map))),
            ],
            "which keeps the commit charge",
        ),
        (
            "mirrored ring buffer",
            vec![|| counted((), |()| Ring::new(MIB))],
            vec![|| counted((), |()| done(ring_of_a_file))],
            "over a memfd",
        ),
        (
            "write view and execute view",
            vec![|| counted((), |()| DualMapping::new(MIB))],
            vec![|| counted((), |()| done(two_views_of_a_file))],
            "over a memfd",
        ),
        (
            "grow memory, moving it",
            vec![|| counted(anon(), |mut map| map.resize(64 * MIB).map(|()| map))],
            vec![|| counted(anonymous(MIB, RW), |old| done(|| copy_and_unmap(old)))],
            "and a copy",
        ),
        (
            "move memory to a place that is held: a page, and more",
            vec![|| counted(two(page()), |(mut map, at)| at.place(&mut map).map(|()| map)), || {
                counted(two(MIB), |(mut map, at)| at.place(&mut map).map(|()| map))
            }],
            vec![|| {
                counted((anonymous(MIB, RW), anonymous(MIB, RW)), |it| done(|| move_by_hand(it)))
            }],
            "which may lose the place, or half of the move",
        ),
        (
            "map at an address, if it is free",
            vec![|| {
                counted(free(), |place| {
                    let (options, flags) = (MapOptions::new(page()), ANON);
                    // SAFETY: where the kernel had placed a mapping, far from any stack.
                    unsafe { options.at(Place::Exact(place), RW, flags, NO_FD, 0) }
                });
            }],
            vec![],
            "",
        ),
        (
            "guard a page, from Linux 6.13 on",
            vec![|| counted(anon().into_raw(), |map| map.guard(..page()).map(|_| map))],
            vec![|| counted(anonymous(MIB, RW), |map| done(|| guard_by_protection(map)))],
            "and two mappings more",
        ),
        (
            "stack with a guard, from Linux 6.13 on",
            vec![|| counted((), |()| Stack::new(MIB))],
            vec![|| counted((), |()| done(stack_by_hand))],
            "leaks the mapping if the second fails",
        ),
        (
            "`PageAlloc`: allocate, grow, free",
            vec![
                // SAFETY: a layout of more than 0 bytes.
                || counted((), |()| some(unsafe { PageAlloc.alloc(LAYOUT) })),
                || {
                    // SAFETY: a block of this layout, not used again.
                    let grown = |it| some(unsafe { PageAlloc.realloc(it, LAYOUT, 64 * MIB) });
                    counted(block(LAYOUT), grown);
                },
                // SAFETY: as above.
                || counted(block(LAYOUT), |it| done(|| unsafe { PageAlloc.dealloc(it, LAYOUT) })),
            ],
            vec![],
            "",
        ),
    ]
}

fn anon() -> Mapping {
    MapOptions::new(MIB).anonymous().unwrap()
}

/// So many aligned reservations.
fn reserved(len: usize, align: usize) {
    let one = |_| Reservation::aligned(len, align, Mode::Overcommit).map(forget);
    counted((), |()| (0..N).try_for_each(one));
}

/// A mapping, and a place for it.
fn two(len: usize) -> (Mapping, Reservation) {
    (MapOptions::new(len).anonymous().unwrap(), Reservation::new(len, Mode::Strict).unwrap())
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
    MapOptions::new(page()).anonymous().unwrap().as_mut_ptr()
}

/// A cell of the table: the calls of each part of the job.
fn cell(counts: &[f64], average: bool) -> String {
    let number = |n: &f64| if average { format!("{:.1}", n / N as f64) } else { format!("{n}") };
    counts.iter().map(number).collect::<Vec<_>>().join(" and ")
}

#[test]
fn the_readmes_table_is_what_strace_counts() {
    // What is asked for once in a program is known from here on; also whether guards work.
    rawmap::prepare().unwrap();
    drop(Stack::new(MIB));
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
        "fallocate",
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
        // Trimming costs less where the kernel aligns by itself, as some do what is large.
        let row = if average && theirs[0] < 2.9 * N as f64 {
            assert!(theirs[0] >= 2.0 * N as f64, "{row}");
            row.split_once(&cell(&theirs, true)).unwrap().0.to_owned()
        } else {
            row
        };
        let guards = !name.contains("6.13") || kernel() >= (6, 13);
        if guards && !readme.contains(&row) {
            wrong.push(row);
        }
    }
    assert!(counts.next().is_none(), "strace saw more jobs than there are");
    assert!(wrong.is_empty(), "the README says otherwise:\n{}", wrong.join("\n"));
}
