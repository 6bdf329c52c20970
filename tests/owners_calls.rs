//! Which calls each operation makes, and how many: counted, against what its documentation says.
mod common;
use common::supervised::{Seen, supervise, unwatch, watch};
use common::*;
use rawmap::{
    Advice, DualMapping, Errno, Executable, Fd, Guarded, MapFlags, MapOptions, Mapping, Mode,
    MremapFlags, MsyncFlags, NO_FD, PageAlloc, Place, Prot, Raw, ReadWrite, Reservation, Ring,
    Sharing, Stack, madvise, mmap_anonymous, mremap, munmap,
};
use std::alloc::{GlobalAlloc, Layout};
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsRawFd, FromRawFd};
use std::ptr::null_mut;

const MIB: usize = 1 << 20;
const NONE: [&str; 0] = [];

/// The calls that a closure makes, by name; what it returns is dropped uncounted. Where they can't be
/// seen, it is said aloud, and the test returns.
macro_rules! calls {
    ($f:expr) => {
        calls_on!((), |_: &mut ()| ($f)())
    };
}

/// The same of what is done to something that was made uncounted.
macro_rules! calls_on {
    ($made:expr, $f:expr) => {
        match supervise(|| watched(|| $made, $f), |_, _| None) {
            Some((end, seen)) => {
                assert_eq!(end, OK, "how the child ended");
                seen.iter().map(Seen::name).collect::<Vec<_>>()
            }
            None => {
                skip!("calls can't be seen here: no seccomp");
                return;
            }
        }
    };
}

/// The calls of something that is moved. Once in 2,000 times the kernel's own choice is aligned: then of another.
macro_rules! moved {
    ($f:expr) => {{
        let calls = calls!($f);
        if calls.iter().any(|call| call == "mremap") { calls } else { calls!($f) }
    }};
}

fn watched<T, R>(make: impl FnOnce() -> T, f: impl FnOnce(&mut T) -> R) {
    // What the owners ask for once in a process, they know from here on; but for whether guards work,
    // which no test of this file asks in the parent.
    rawmap::prepare().unwrap();
    // Holes above what exec mapped, where owners put nothing inaccessible, are filled; what they had to ask for
    // once more would be counted.
    (0..16).for_each(|_| std::mem::forget(anon(1)));
    let mut made = make();
    watch();
    let result = f(&mut made);
    unwatch();
    drop(result);
}

/// The page size, without asking for it each time: that would be counted.
fn page() -> usize {
    rawmap::page_size().unwrap().bytes()
}

fn anon(pages: usize) -> Mapping {
    MapOptions::new(pages * page()).anonymous().unwrap()
}

fn raw(pages: usize) -> Mapping<Raw> {
    anon(pages).into_raw()
}

fn fd(file: &File) -> Fd<'_> {
    // SAFETY: the file stays open as long as it is borrowed.
    unsafe { Fd::borrow_raw(file.as_raw_fd()) }
}

/// Whether the kernel has guards; an emulator may say so and have none.
fn has_guards() -> bool {
    // SAFETY: a range of length 0 holds no memory.
    unsafe { madvise(null_mut(), 0, Advice::GUARD_INSTALL) }.is_ok()
}

/// What a guard costs, once it is known whether guards work.
fn guard_calls() -> &'static [&'static str] {
    // Where the kernel refuses, part of the range may be guarded all the same, which is undone.
    if has_guards() { &["madvise"] } else { &["madvise", "mprotect", "madvise"] }
}

/// The calls of an over-long mapping that is trimmed: one for each end that is too much.
#[track_caller]
fn assert_trimmed(calls: &[String], before: &[&str], after: &[&str]) {
    let trims = calls.len() - before.len() - after.len();
    let trims = vec!["munmap"; trims];
    assert!((1..=2).contains(&trims.len()), "{calls:?}");
    assert_eq!(calls, [before, &trims, after].concat());
}

#[test]
fn a_mapping_costs_one_call_to_make_and_one_to_drop() {
    assert_eq!(calls!(|| MapOptions::new(5 * MIB).anonymous().unwrap()), ["mmap"]);
    assert_eq!(calls!(|| drop(MapOptions::new(1).anonymous().unwrap())), ["mmap", "munmap"]);
    assert_eq!(calls!(|| MapOptions::new(1).raw(Prot::NONE, Sharing::Private).unwrap()), ["mmap"]);
    assert_eq!(calls!(|| MapOptions::new(1).raw(RW, Sharing::Shared).unwrap()), ["mmap"]);
    assert_eq!(calls!(|| MapOptions::new(1).populate().anonymous().unwrap()), ["mmap"]);
    assert_eq!(calls!(|| anon(1).unmap().unwrap()), ["mmap", "munmap"]);
    assert_eq!(calls!(|| drop(Mapping::<Raw>::empty())), NONE);
    assert_eq!(calls!(|| anon(1).leak()), ["mmap"]);
}

#[test]
fn each_method_of_a_mapping_costs_the_calls_that_it_names() {
    need_lockable!(64 << 10);
    type Map = Mapping<ReadWrite>;
    let n = 4 * page();
    assert_eq!(calls_on!(anon(4), |map: &mut Map| map.resize(64 * n).unwrap()), ["mremap"]);
    assert_eq!(calls_on!(anon(4), |map: &mut Map| map.resize(n).unwrap()), NONE);
    assert_eq!(calls_on!(anon(4), |map: &mut Map| map.resize(1).unwrap()), ["munmap"]);
    assert_eq!(calls_on!(anon(4), |map: &mut Map| map.resize(0).unwrap()), ["munmap"]);
    assert_eq!(calls_on!(anon(4), |map: &mut Map| map.resize(n - 1).unwrap()), NONE);
    assert_eq!(calls_on!(anon(4), |map: &mut Map| map.resize_in_place(n - 1).unwrap()), NONE);
    assert_eq!(calls_on!(anon(4), |map: &mut Map| map.resize_in_place(64 * n)), ["mremap"]);
    assert_eq!(calls_on!(anon(4), |map: &mut Map| map.purge(..).unwrap()), ["madvise"]);
    assert_eq!(calls_on!(anon(4), |map: &mut Map| map.inwards(1..).unwrap()), NONE);
    assert_eq!(calls_on!(anon(4), |map: &mut Map| map.lock(..).unwrap()), ["mlock"]);
    assert_eq!(calls_on!(anon(4), |map: &mut Map| map.unlock(..).unwrap()), ["munlock"]);
    assert_eq!(calls_on!(anon(4), |map: &mut Map| map.populate_write(..).unwrap()), ["madvise"]);
    assert_eq!(calls_on!(anon(4), |map: &mut Map| map.populate_read(..).unwrap()), ["madvise"]);
    assert_eq!(calls_on!(anon(4), |map: &mut Map| map.advise(.., Advice::RANDOM)), ["madvise"]);
    assert_eq!(calls_on!(anon(4), |map: &mut Map| map.name(.., c"x")), ["prctl"]);
    let sync = |map: &mut Map| map.sync(.., MsyncFlags::SYNC).unwrap();
    assert_eq!(calls_on!(anon(4), sync), ["msync"]);
    let resident = |map: &mut Map| map.resident(.., &mut [0; 4]).map(|_| ()).unwrap();
    assert_eq!(calls_on!(anon(4), resident), ["mincore"]);
    assert_eq!(calls_on!(raw(4), |map: &mut Mapping<_>| map.protect(.., Prot::READ)), ["mprotect"]);
    let shared = || MapOptions::new(n).raw(RW, Sharing::Shared).unwrap();
    assert_eq!(calls_on!(shared(), |map: &mut Mapping<Raw>| map.purge(..)), ["madvise"]);
    assert_eq!(calls_on!(shared(), |map: &mut Mapping<Raw>| map.punch_hole(..)), ["madvise"]);
    // SAFETY: no file, and nobody uses the range.
    let overlay = |map: &mut Mapping<Raw>| unsafe { map.overlay(.., RW, ANON, NO_FD, 0) };
    assert_eq!(calls_on!(raw(4), overlay), ["mmap"]);
    let split_and_join = |map: &mut Map| {
        let rest = map.split_off(page()).unwrap();
        map.try_unsplit(rest).unwrap();
    };
    assert_eq!(calls_on!(anon(4), split_and_join), NONE);
    let parts = |map: &mut Map| {
        let parts = std::mem::take(map).into_raw_parts();
        // SAFETY: the mapping's own parts, used once.
        *map = unsafe { Mapping::from_raw_parts(parts) }.unwrap();
    };
    assert_eq!(calls_on!(anon(4), parts), NONE);
}

#[test]
fn a_range_that_is_not_there_costs_no_call() {
    type Map = Mapping<Raw>;
    let n = 4 * page();
    assert_eq!(calls_on!(raw(4), |map: &mut Map| map.purge(page()..n + 1).unwrap_err()), NONE);
    assert_eq!(calls_on!(raw(4), |map: &mut Map| map.purge(1..).unwrap_err()), NONE);
    assert_eq!(calls_on!(raw(4), |map: &mut Map| map.lock(n + 1..).unwrap_err()), NONE);
    assert_eq!(calls_on!(raw(4), |map: &mut Map| map.protect(..1, RW).unwrap_err()), NONE);
    assert_eq!(calls_on!(raw(4), |map: &mut Map| map.guard(..1).unwrap_err()), NONE);
    assert_eq!(calls_on!(raw(4), |map: &mut Map| map.guard(..0).unwrap()), NONE);
    assert_eq!(calls_on!(raw(4), |map: &mut Map| map.split_off(1).unwrap_err()), NONE);
    assert_eq!(calls!(|| MapOptions::new(usize::MAX).anonymous().unwrap_err()), NONE);
    assert_eq!(calls!(|| MapOptions::new(1).align(3).anonymous().unwrap_err()), NONE);
    assert_eq!(calls!(|| MapOptions::whole().anonymous().unwrap_err()), NONE);
    assert_eq!(calls!(|| MapOptions::new(1).huge(3).anonymous().unwrap_err()), NONE);
}

#[test]
fn conversions_cost_one_call_or_two_to_a_reservation_that_is_committed() {
    let read_only = |map: &mut Mapping| std::mem::take(map).make_read_only().unwrap();
    assert_eq!(calls_on!(anon(4), read_only), ["mprotect"]);
    let writable =
        |map: &mut Mapping<rawmap::ReadOnly>| std::mem::take(map).make_writable().unwrap();
    assert_eq!(calls_on!(anon(4).make_read_only().unwrap(), writable), ["mprotect"]);
    let seal = |map: &mut Mapping| std::mem::forget(std::mem::take(map).seal());
    assert_eq!(calls_on!(anon(1), seal), ["mseal"]);
    let again = [(Mode::Strict, vec!["mmap"]), (Mode::Overcommit, vec!["mmap", "mprotect"])];
    for (mode, calls) in again {
        let reserve = |map: &mut Mapping| std::mem::take(map).into_reservation(mode).unwrap();
        assert_eq!(calls_on!(anon(4), reserve), calls);
    }
}

#[test]
fn a_purge_of_locked_memory_costs_one_call_more() {
    need_lockable!(64 << 10);
    let locked = || {
        let map = anon(2);
        map.lock(..page()).unwrap();
        map
    };
    assert_eq!(calls_on!(locked(), |map: &mut Mapping| map.purge(..)), ["madvise", "madvise"]);
}

#[test]
fn the_first_guard_of_a_process_is_looked_at_and_the_rest_are_not() {
    let guard = |map: &mut Mapping<Raw>| map.guard(..page()).unwrap();
    let first = calls_on!(raw(4), guard);
    let second = |map: &mut Mapping<Raw>| map.guard(page()..2 * page()).unwrap();
    let guarded = || {
        let map = raw(4);
        map.guard(..page()).unwrap();
        map
    };
    let again = calls_on!(guarded(), second);
    assert_eq!(again, guard_calls());
    if has_guards() {
        // It is there: MADV_POPULATE_READ of it is EFAULT.
        assert_eq!(first, ["madvise", "madvise"]);
    } else {
        assert_eq!(first, guard_calls());
    }
}

#[test]
fn a_file_costs_one_call_and_its_length_one_more() {
    let file = file_of_pages(3);
    let fd = fd(&file);
    // Of an address that is a multiple of 64 KiB, it is asked what pages the file has.
    let but_that = |mut calls: Vec<String>| {
        if calls.last().is_some_and(|last| last == "fstat") {
            calls.pop();
        }
        calls
    };
    let three = MapOptions::new(3 * page());
    // SAFETY: nobody else has the file.
    unsafe {
        assert_eq!(but_that(calls!(|| three.file(fd, 0).unwrap())), ["mmap"]);
        assert_eq!(but_that(calls!(|| three.file_copy(fd, 0).unwrap())), ["mmap"]);
        assert_eq!(but_that(calls!(|| three.file_mut(fd, 0).unwrap())), ["mmap"]);
        let whole = calls!(|| MapOptions::whole().file(fd, page() as u64 + 1).unwrap());
        assert_eq!(but_that(whole), ["fstat", "mmap"]);
    }
    let raw = calls!(|| three.file_raw(fd, 0, Prot::READ, Sharing::Shared).unwrap());
    assert_eq!(but_that(raw), ["mmap"]);
    let empty = memfd(0);
    // SAFETY: as above.
    let nothing = calls!(|| unsafe { MapOptions::whole().file(self::fd(&empty), 0) }.unwrap());
    assert_eq!(nothing, ["fstat", "fstatfs"]);
}

/// At an address that is a multiple of 64 KiB, the file is asked whether its pages are huge; and not at
/// any other.
#[test]
fn a_file_is_asked_for_its_pages_one_time_in_sixteen() {
    let file = file_of_pages(1);
    let mut asked = 0;
    // One after the other, each page's address is as likely.
    let calls = calls!(|| {
        for _ in 0..64 {
            let map = MapOptions::new(1).file_raw(fd(&file), 0, Prot::READ, Sharing::Private);
            std::mem::forget(map.unwrap());
        }
    });
    for (n, call) in calls.iter().enumerate() {
        asked += usize::from(call == "fstat");
        assert!(call == "mmap" || n > 0 && calls[n - 1] == "mmap", "{calls:?}");
    }
    // Holes among earlier mappings are filled first.
    let likely = 64 * page() / (64 << 10).max(page());
    assert!(asked.abs_diff(likely) <= likely / 2, "{calls:?}");
}

#[test]
fn alignment_costs_one_call_for_each_end_that_is_too_much() {
    let aligned = MapOptions::new(3 * page()).align(2 * MIB);
    assert_trimmed(&calls!(move || aligned.anonymous().unwrap()), &["mmap"], &[]);
    let within_a_page = MapOptions::new(3 * page()).align(page());
    assert_eq!(calls!(move || within_a_page.anonymous().unwrap()), ["mmap"]);
    for mode in [Mode::Overcommit, Mode::Strict] {
        let reserved = calls!(move || Reservation::aligned(3 * page(), 2 * MIB, mode).unwrap());
        assert_trimmed(&reserved, &["mmap"], &[]);
    }
}

/// What acts at once is mapped as long as it is, and moved: it isn't populated, locked or charged over
/// the length that is trimmed.
#[test]
fn what_is_used_at_once_is_aligned_by_a_move() {
    need_lockable!(64 << 10);
    let aligned = MapOptions::new(3 * page()).align(8 * MIB);
    for options in [aligned.populate(), aligned.locked()] {
        let calls = moved!(move || options.anonymous().unwrap());
        assert_trimmed(&calls, &["mmap", "mmap"], &["madvise", "mremap", "munmap"]);
    }
    let shared = moved!(move || aligned.raw(RW, Sharing::Shared).unwrap());
    assert_trimmed(&shared, &["mmap", "mmap"], &["mremap", "munmap"]);
    let file = file_of_pages(3);
    // SAFETY: nobody else has the file.
    let calls = moved!(|| unsafe { aligned.file(fd(&file), 0) }.unwrap());
    let calls: Vec<_> = calls.into_iter().filter(|call| call != "fstat").collect();
    assert_trimmed(&calls, &["mmap", "mmap"], &["madvise", "mremap", "munmap"]);
}

/// Where the length is at least the alignment, the kernel's own choice is tried first: beside one that is
/// aligned and as long, the next one is aligned as well.
#[test]
fn neighbours_of_aligned_memory_are_aligned_in_one_call() {
    let first = || {
        // Holes between what the process had mapped are taken first, such as those of up to 128 MiB around
        // an allocator's arenas; behind them, each lies beside the last.
        let (mut last, mut in_a_row) = (0_usize, 0);
        while in_a_row < 40 {
            let at = anonymous(4 * MIB, Prot::NONE).addr();
            in_a_row = if at.abs_diff(last) == 4 * MIB { in_a_row + 1 } else { 0 };
            last = at;
        }
        MapOptions::new(4 * MIB).align(4 * MIB).anonymous().unwrap()
    };
    let next = |_: &mut Mapping| {
        for _ in 0..16 {
            let it = MapOptions::new(4 * MIB).align(4 * MIB).anonymous().unwrap();
            assert_eq!(it.as_ptr().addr() % (4 * MIB), 0);
            std::mem::forget(it);
        }
    };
    let calls = calls_on!(first(), next);
    assert!(calls.len() <= 20, "{} calls for 16: {calls:?}", calls.len());
}

#[test]
fn commit_and_decommit_cost_the_calls_that_the_table_says() {
    let new = |mode| move || Reservation::new(MIB, mode).unwrap();
    type Of = Reservation;
    for (mode, commit, decommit) in
        [(Mode::Overcommit, None, "madvise"), (Mode::Strict, Some("mprotect"), "mmap")]
    {
        assert_eq!(calls!(new(mode)), ["mmap"]);
        let commit = Vec::from_iter(commit);
        assert_eq!(calls_on!(new(mode)(), |it: &mut Of| it.commit(..).unwrap()), commit);
        assert_eq!(calls_on!(new(mode)(), |it: &mut Of| it.decommit(..).unwrap()), [decommit]);
        assert_eq!(calls_on!(new(mode)(), |it: &mut Of| it.purge(..).unwrap()), ["madvise"]);
        assert_eq!(calls_on!(new(mode)(), |it: &mut Of| it.name(.., c"x")), ["prctl"]);
        let advise = |it: &mut Of| it.advise(.., Advice::DONTDUMP);
        assert_eq!(calls_on!(new(mode)(), advise), ["madvise"]);
        let split = |it: &mut Of| {
            let rest = it.split_off(page()).unwrap();
            it.try_unsplit(rest).unwrap();
        };
        assert_eq!(calls_on!(new(mode)(), split), NONE);
        let mapping = |it: &mut Option<Of>| it.take().unwrap().into_mapping().unwrap();
        assert_eq!(calls_on!(Some(new(mode)()), mapping), commit);
    }
}

#[test]
fn the_first_reservation_asks_once_where_the_stack_may_grow() {
    let child = || {
        watch();
        for _ in 0..2 {
            std::mem::forget(Reservation::new(MIB, Mode::Strict).unwrap());
        }
        unwatch();
    };
    let Some((end, seen)) = supervise(child, |_, _| None) else {
        return skip!("calls can't be seen here: no seccomp");
    };
    assert_eq!(end, OK);
    let names: Vec<_> = seen.iter().map(Seen::name).collect();
    // No test of this file asks in the parent. Before Linux 6.4 the file is opened and read, of which only
    // the closing is seen.
    let auxv = if kernel() < (6, 4) { &["prctl", "fstatfs", "close"][..] } else { &["prctl"] };
    // Where nothing below the stack would stop it: whether it is mapped up to its limit, and that.
    let limit = ["prlimit64", "msync", "prlimit64"];
    let fenced = [&["mmap"], auxv, &["mmap"]].concat();
    let open = [&["mmap"], auxv, &limit, &["mmap"]].concat();
    assert!(names == fenced || names == open, "{names:?}");
}

#[test]
fn placing_costs_three_calls_for_a_page_and_five_for_more() {
    let two =
        |pages: usize| (anon(pages), Some(Reservation::new(pages * page(), Mode::Strict).unwrap()));
    let place = |it: &mut (Mapping, Option<Reservation>)| {
        it.1.take().unwrap().place(&mut it.0).unwrap();
    };
    assert_eq!(calls_on!(two(1), place), ["madvise", "madvise", "mremap"]);
    assert_eq!(calls_on!(two(4), place), ["mremap", "munmap", "madvise", "madvise", "mremap"]);
}

#[test]
fn a_ring_costs_three_calls_and_thirteen_more_where_mremap_is_refused() {
    let made = ["mmap", "mremap", "munmap"];
    assert_eq!(calls!(|| Ring::new(MIB).unwrap()), made);
    assert_eq!(calls!(|| drop(Ring::new(MIB).unwrap())), [&made[..], &["munmap"]].concat());
    let refused = |_: usize, seen: &Seen| (seen.name() == "mremap").then_some(Err(Errno::EPERM));
    let ring = || watched(|| (), |()| Ring::new(MIB).unwrap());
    let Some((end, seen)) = supervise(ring, refused) else {
        return skip!("calls can't be refused here: no seccomp");
    };
    let names: Vec<_> = seen.iter().map(Seen::name).collect();
    // Whether its half is as it was is asked by mremap too, which needs room for a page; and by mmap.
    let given_back = ["mmap", "mremap", "munmap", "mremap", "munmap", "mmap", "munmap", "munmap"];
    // Beside `openat` and `pread64`, which are not watched.
    let of_a_file = ["prlimit64", "fstatfs", "close", "memfd_create", "ftruncate"];
    let twice = ["mmap", "munmap", "mmap", "fcntl", "fstat", "close"];
    assert_eq!((end, names), (OK, [&given_back[..], &of_a_file, &twice].concat().map_to_owned()));
}

#[test]
fn a_dual_mapping_costs_three_calls_and_twelve_where_one_of_them_is_refused() {
    let three = ["mmap", "mremap", "mprotect"];
    assert_eq!(calls!(|| DualMapping::new(MIB).unwrap()), three);
    // Beside `openat` and `pread64`, which are not watched.
    let of_a_file = ["prlimit64", "fstatfs", "close", "memfd_create", "ftruncate"];
    let twice = ["mmap", "mmap", "fcntl", "fstat", "close"];
    for n in 0..3 {
        let refused = |at: usize, _: &Seen| (at == n).then_some(Err(Errno::EACCES));
        let dual = || watched(|| (), |()| DualMapping::new(MIB).unwrap());
        let Some((end, seen)) = supervise(dual, refused) else {
            return skip!("calls can't be refused here: no seccomp");
        };
        let names: Vec<_> = seen.iter().map(Seen::name).collect();
        let given_back = vec!["munmap"; n];
        let expected = [&three[..=n], &given_back, &of_a_file, &twice].concat().map_to_owned();
        assert_eq!((end, names), (OK, expected));
    }
    let published: &[&str] = match std::env::consts::ARCH {
        "riscv64" => &["riscv_flush_icache"],
        _ => &[],
    };
    let write = |code: &mut DualMapping| code.write(0, RETURN_42).unwrap();
    assert_eq!(calls_on!(DualMapping::new(MIB).unwrap(), write), NONE);
    let publish = |code: &mut DualMapping| code.publish(..).unwrap();
    assert_eq!(calls_on!(DualMapping::new(MIB).unwrap(), publish), published);
    let publish = |code: &mut Mapping<Executable>| code.publish(..).unwrap();
    assert_eq!(calls_on!(anon(1).make_executable().unwrap(), publish), published);
}

trait MapToOwned {
    fn map_to_owned(self) -> Vec<String>;
}

impl MapToOwned for Vec<&str> {
    fn map_to_owned(self) -> Vec<String> {
        self.into_iter().map(str::to_owned).collect()
    }
}

#[test]
fn all_threads_are_synced_by_one_call_and_registered_by_two_more_once() {
    let sync = |code: &mut DualMapping| code.sync_threads();
    let first = calls_on!(DualMapping::new(1).unwrap(), sync);
    let again = || {
        let code = DualMapping::new(1).unwrap();
        let _ = code.sync_threads();
        code
    };
    assert_eq!(calls_on!(again(), sync), ["membarrier"]);
    // Without such a barrier, there is nothing to register.
    assert!(first == ["membarrier"; 3] || first == ["membarrier"], "{first:?}");
}

#[test]
fn a_stack_costs_two_calls() {
    let first = || Stack::new(MIB).unwrap();
    let calls = calls_on!(first(), |_: &mut Stack| Stack::new(MIB).unwrap());
    assert_eq!(calls, [&["mmap"], guard_calls()].concat());
    let reset = |stack: &mut Stack| stack.reset().unwrap();
    assert_eq!(calls_on!(first(), reset), ["madvise"]);
    assert_eq!(
        calls_on!(Some(first()), |stack: &mut Option<Stack>| drop(stack.take())),
        ["munmap"]
    );
    assert_eq!(calls!(|| Stack::with_guard(MIB, 0).unwrap()), ["mmap"]);
}

#[test]
fn the_allocator_costs_the_calls_that_its_table_says() {
    let layout = |align| Layout::from_size_align(3 * page() + 1, align).unwrap();
    // SAFETY: sizes are not 0, and blocks are used with their own layout.
    unsafe {
        assert_eq!(calls!(|| PageAlloc.alloc(layout(1))), ["mmap"]);
        assert_eq!(calls!(|| PageAlloc.alloc_zeroed(layout(1))), ["mmap"]);
        let block = || PageAlloc.alloc(layout(1));
        let realloc = |size| move |block: &mut *mut u8| PageAlloc.realloc(*block, layout(1), size);
        assert_eq!(calls_on!(block(), realloc(4 * page())), NONE);
        assert_eq!(calls_on!(block(), realloc(400 * page())), ["mremap"]);
        assert_eq!(calls_on!(block(), realloc(1)), ["munmap"]);
        let dealloc = |block: &mut *mut u8| PageAlloc.dealloc(*block, layout(1));
        assert_eq!(calls_on!(block(), dealloc), ["munmap"]);
        let aligned = calls!(|| PageAlloc.alloc(layout(2 * MIB)));
        assert_trimmed(&aligned, &["mmap"], &[]);
    }
}

#[test]
fn at_an_address_it_costs_one_call_whether_it_is_free_or_taken() {
    // In the child nobody else comes to lie in a gap.
    let taken = || anon(1).into_raw();
    let gap = || Some(taken());
    let at = |map: &Mapping<Raw>| Place::Exact(map.as_ptr());
    // SAFETY: where the kernel had placed a mapping, far from any stack.
    let map = |place| unsafe { MapOptions::new(page()).at(place, RW, ANON, NO_FD, 0) };
    let refused = |it: &mut Mapping<Raw>| {
        assert_eq!(map(at(it)).unwrap_err().errno(), Errno::EEXIST);
    };
    assert_eq!(calls_on!(taken(), refused), ["mmap"]);
    let placed = |it: &mut Option<Mapping<Raw>>| {
        let gap = it.take().unwrap();
        let place = at(&gap);
        drop(gap);
        map(place).unwrap()
    };
    assert_eq!(calls_on!(gap(), placed), ["munmap", "mmap"]);
}

/// The alignment is not looked at: the place is the address.
#[test]
fn at_an_address_an_alignment_says_nothing() {
    let map = || {
        let gap = anon(2).into_raw();
        // Of two pages, one does not lie at a multiple of two.
        let odd = usize::from(gap.as_ptr().addr() % (2 * page()) == 0) * page();
        let place = gap.as_ptr().wrapping_add(odd);
        drop(gap);
        let options = MapOptions::new(page()).align(2 * page());
        // SAFETY: as above.
        let it = unsafe { options.at(Place::Exact(place), RW, ANON, NO_FD, 0) }.unwrap();
        assert_eq!(it.as_ptr(), place);
        it
    };
    // The gap's two calls, and the one.
    assert_eq!(calls!(map), ["mmap", "munmap", "mmap"]);
}

/// The words of a closure's calls, as strace prints them, or raw where they are none of the family's.
fn words<R>(f: impl FnOnce(&mut ()) -> R) -> Option<(Vec<String>, Vec<[u64; 6]>)> {
    let (end, seen) = supervise(|| watched(|| (), f), |_, _| None)?;
    assert_eq!(end, OK);
    let said = seen.iter().filter_map(|it| Some(it.call?.to_string())).collect();
    Some((said, seen.iter().map(|it| it.args).collect()))
}

#[test]
fn a_name_is_asked_for_with_its_words_and_a_stack_with_its_flags() {
    let map = anon(4);
    let (start, len, name) = (map.as_ptr().addr() as u64, map.len() as u64, c"heap");
    let Some((_, args)) = words(|()| map.name(page() + 1.., name)) else {
        return skip!("calls can't be seen here: no seccomp");
    };
    // PR_SET_VMA, PR_SET_VMA_ANON_NAME; of every page that holds any of the range.
    let first = start + page() as u64;
    assert_eq!(args[0][..4], [0x5356_4d41, 0, first, len - page() as u64]);
    assert_eq!(args[0][4], name.as_ptr().addr() as u64);
    let (said, _) = words(|()| Stack::new(1).unwrap()).unwrap();
    let flags = "MAP_PRIVATE|MAP_ANONYMOUS|MAP_NORESERVE|MAP_STACK, -1, 0)";
    assert!(said[0].ends_with(flags), "{said:?}");
    let (said, _) = words(|()| Reservation::new(1, Mode::Strict).unwrap()).unwrap();
    assert!(said[0].ends_with("PROT_NONE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0)"), "{said:?}");
}

/// An emulator says that it has guards, and has none: this is seen, and the guard is one by protection.
#[test]
fn a_guard_that_is_not_there_is_made_by_protection() {
    let child = || {
        rawmap::prepare().unwrap();
        let map = raw(4);
        watch();
        let guards = [map.guard(..page()), map.guard(page()..2 * page())];
        unwatch();
        assert_eq!(guards, [Ok(Guarded::Protected); 2]);
    };
    const GUARD_INSTALL: u64 = 102;
    let lies = |_: usize, seen: &Seen| {
        (seen.name() == "madvise" && seen.args[2] == GUARD_INSTALL).then_some(Ok(0))
    };
    let Some((end, seen)) = supervise(child, lies) else {
        return skip!("calls can't be answered here: no seccomp");
    };
    let names: Vec<_> = seen.iter().map(Seen::name).collect();
    // Installed, looked at, protected, undone; and the second time protected at once.
    assert_eq!(
        (end, names),
        (OK, ["madvise", "madvise", "mprotect", "madvise", "mprotect"].map(str::to_owned).to_vec())
    );
}

/// A longer guard is refused, and what was guarded is so still.
#[test]
fn a_guard_that_stood_stays_where_a_longer_one_is_refused() {
    if !has_guards() {
        return skip!("there are no guards here");
    }
    let child = || {
        let map = raw(4);
        assert_eq!(map.guard(..page()), Ok(Guarded::Installed));
        watch();
        let refused = map.guard(..3 * page()).unwrap_err();
        unwatch();
        assert_eq!(refused.errno(), Errno::ENOMEM);
        assert_eq!(map.populate_read(..page()).unwrap_err().errno(), Errno::EFAULT);
    };
    const GUARD_INSTALL: u64 = 102;
    let judge = |_: usize, seen: &Seen| match &*seen.name() {
        "madvise" if seen.args[2] == GUARD_INSTALL => Some(Err(Errno::EINVAL)),
        "mprotect" => Some(Err(Errno::ENOMEM)),
        _ => None,
    };
    match supervise(child, judge) {
        Some((end, seen)) => assert_eq!(end, OK, "{seen:?}"),
        None => skip!("calls can't be refused here: no seccomp"),
    }
}

/// A slice on huge pages has them all, or is an error. The supervisor answers for the pool.
#[test]
fn huge_pages_that_are_lent_are_populated() {
    const HUGE: usize = 2 << 20;
    let pool = MapOptions::new(HUGE).align(HUGE).raw(RW, Sharing::Private).unwrap();
    let place = pool.as_ptr().addr();
    let make = |()| MapOptions::new(1).huge(HUGE).anonymous().map(std::mem::forget);
    for missing in [false, true] {
        let child = || {
            watched(|| (), |()| assert_eq!(make(()).is_err(), missing));
        };
        let answer = |n: usize, seen: &Seen| match n {
            0 => Some(Ok(place)),
            1 if missing => {
                assert_eq!(seen.name(), "madvise");
                Some(Err(Errno::EFAULT))
            }
            _ => None,
        };
        let Some((end, seen)) = supervise(child, answer) else {
            return skip!("calls can't be answered here: no seccomp");
        };
        let said = seen[0].call.unwrap().to_string();
        assert!(said.contains("MAP_HUGETLB"), "{said}");
        let names: Vec<_> = seen.iter().map(Seen::name).collect();
        let calls =
            if missing { vec!["mmap", "madvise", "munmap"] } else { vec!["mmap", "madvise"] };
        assert_eq!((end, names), (OK, calls.map_to_owned()));
    }
}

/// The pages of a file on hugetlbfs are its granule; NORESERVE maps them without a pool.
#[test]
fn a_huge_files_granule_is_its_pages() {
    // SAFETY: a plain call; the descriptor is new.
    let huge =
        unsafe { libc::memfd_create(c"huge".as_ptr(), libc::MFD_HUGETLB | libc::MFD_HUGE_2MB) };
    if huge < 0 || emulator().is_some() {
        return skip!("there are no huge pages of 2 MiB");
    }
    // SAFETY: as above; and it is open as long as the test runs.
    let (file, fd) =
        unsafe { (<File as std::os::fd::FromRawFd>::from_raw_fd(huge), Fd::borrow_raw(huge)) };
    file.set_len(4 << 20).unwrap();
    let options = MapOptions::new(page()).noreserve();
    let map = || {
        let it = options.file_raw(fd, 0, RW, Sharing::Shared).unwrap();
        assert_eq!((it.granule().bytes(), it.mapped_len(), it.len()), (2 << 20, 2 << 20, page()));
        it
    };
    // The last two ask the kernel itself: `fstatfs` of a file that a server has is the server's word.
    assert_eq!(calls!(map), ["mmap", "fstat", "fstatfs", "mmap", "munmap"]);
}

/// That the counting sees everything, and in order.
#[test]
fn the_supervisor_sees_each_call_with_its_words() {
    let seen = supervise(
        || {
            let page = page();
            let by_hand = |_: &mut ()| {
                // SAFETY: new memory, and that again.
                unsafe {
                    let map = mmap_anonymous(null_mut(), page, RW, MapFlags::PRIVATE).unwrap();
                    let flags = MremapFlags::MAYMOVE;
                    let map = mremap(map, page, 2 * page, flags, null_mut()).unwrap();
                    munmap(map, 2 * page).unwrap();
                }
            };
            watched(|| (), by_hand);
        },
        |_, _| None,
    );
    let Some((end, seen)) = seen else {
        skip!("calls can't be seen here: no seccomp");
        return;
    };
    assert_eq!(end, OK);
    let said: Vec<_> = seen.iter().map(|it| it.call.unwrap().to_string()).collect();
    let page = page();
    let mmap =
        format!("mmap(NULL, {page}, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0)");
    assert_eq!(said[0], mmap);
    assert!(said[1].ends_with(&format!(", {page}, {}, MREMAP_MAYMOVE)", 2 * page)), "{}", said[1]);
    assert!(said[2].starts_with("munmap(0x") && said.len() == 3, "{said:?}");
}

/// Safe code may give descriptor 0 another file between two calls, so that a duplicate is asked and mapped.
#[test]
fn a_file_that_is_standard_input_is_mapped_by_a_duplicate() {
    let file = file_of_pages(1);
    // In the child, whose standard input nobody reads.
    let stdin = |file: &File| {
        // SAFETY: both are open, and stay so.
        assert_eq!(unsafe { libc::dup2(file.as_raw_fd(), 0) }, 0);
        // SAFETY: as above.
        unsafe { Fd::borrow_raw(0) }
    };
    let map = |options: MapOptions| {
        move |fd: &mut Fd<'_>| options.file_raw(*fd, 0, Prot::READ, Sharing::Private).unwrap()
    };
    // One in sixteen mappings asks once more; see above.
    let but_the_last = |mut calls: Vec<String>| {
        if calls[calls.len() - 2] == "fstat" {
            calls.remove(calls.len() - 2);
        }
        calls
    };
    let known = calls_on!(stdin(&file), map(MapOptions::new(page())));
    assert_eq!(but_the_last(known), ["fcntl", "mmap", "close"]);
    let whole = calls_on!(stdin(&file), map(MapOptions::whole()));
    assert_eq!(but_the_last(whole), ["fcntl", "fstat", "mmap", "close"]);

    // SAFETY: nobody else has the file.
    let over = |fd: &mut Fd<'_>| unsafe { Ring::over(*fd, 0, page()) }.unwrap();
    let mut ring = calls_on!(stdin(&file), over);
    ring.retain(|call| call != "fstat");
    assert_eq!(ring, ["fcntl", "mmap", "mmap", "mmap", "mremap", "mremap", "close"]);

    let sealed = sealed_page();
    let lent = |fd: &mut Fd<'_>| MapOptions::whole().file_sealed(*fd, 0);
    let calls = calls_on!(stdin(&sealed), lent);
    assert_eq!(calls[..5], ["fcntl", "fcntl", "fstatfs", "fstat", "fstat"]);
    assert_eq!((&*calls[5], calls.last().map(|last| &**last)), ("mmap", Some("close")));
}

/// A memory file of a page, sealed.
fn sealed_page() -> File {
    // SAFETY: a plain call; the descriptor is new and ours.
    let file = unsafe {
        let fd = libc::memfd_create(c"sealed".as_ptr(), libc::MFD_ALLOW_SEALING);
        assert!(fd >= 0, "memfd_create");
        File::from_raw_fd(fd)
    };
    (&file).write_all(&vec![7; page()]).unwrap();
    let seals = libc::F_SEAL_WRITE | libc::F_SEAL_SHRINK;
    // SAFETY: a plain call.
    assert_eq!(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, seals) }, 0);
    file
}
