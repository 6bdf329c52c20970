//! How many calls each operation makes, and which: counted, beside what one would write by hand.
mod common;
use common::supervised::{Seen, supervise, unwatch, watch};
use common::*;
use rawmap::{
    Advice, Cursor, DualMapping, MapFlags, MapOptions, Mode, MremapFlags, MsyncFlags, PageAlloc,
    Prot, Reservation, Ring, Stack, madvise, mmap_anonymous, mremap, munmap,
};
use std::alloc::{GlobalAlloc, Layout};
use std::os::unix::process::CommandExt;
use std::ptr::null_mut;

const MIB: usize = 1 << 20;

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

fn watched<T, R>(make: impl FnOnce() -> T, f: impl FnOnce(&mut T) -> R) {
    // The page size is asked for once in a program, where it isn't known.
    MapOptions::new(page()).anonymous().unwrap();
    let mut made = make();
    watch();
    let result = f(&mut made);
    unwatch();
    drop(result);
}

/// The page size, without asking for it each time: that would be counted.
fn page() -> usize {
    static PAGE: std::sync::OnceLock<usize> = std::sync::OnceLock::new();
    *PAGE.get_or_init(common::page)
}

fn anon(pages: usize) -> rawmap::Mapping {
    MapOptions::new(pages * page()).anonymous().unwrap()
}

#[test]
fn a_mapping_costs_one_call_to_make_and_one_to_drop() {
    assert_eq!(calls!(|| MapOptions::new(5 * MIB).anonymous().unwrap()), ["mmap"]);
    assert_eq!(calls!(|| drop(MapOptions::new(1).anonymous().unwrap())), ["mmap", "munmap"]);
    assert_eq!(calls!(|| MapOptions::new(1).name(c"x").anonymous()), ["mmap", "prctl"]);
}

#[test]
fn each_method_of_a_mapping_costs_the_calls_that_it_names() {
    type Map = rawmap::Mapping;
    type Raw = rawmap::Mapping<rawmap::Raw>;
    let n = 4 * page();
    assert_eq!(calls_on!(anon(4), |map: &mut Map| map.grow(64 * n).unwrap()), ["mremap"]);
    assert_eq!(calls_on!(anon(4), |map: &mut Map| map.grow(n).unwrap()), [""; 0]);
    assert_eq!(calls_on!(anon(4), |map: &mut Map| map.shrink(1).unwrap()), ["munmap"]);
    assert_eq!(calls_on!(anon(4), |map: &mut Map| map.shrink(n - 1).unwrap()), [""; 0]);
    assert_eq!(calls_on!(anon(4), |map: &mut Map| map.purge(0, n).unwrap()), ["madvise"]);
    assert_eq!(calls_on!(anon(4), |map: &mut Map| map.lock(0, n).unwrap()), ["mlock"]);
    assert_eq!(calls_on!(anon(4), |map: &mut Map| map.unlock(0, n).unwrap()), ["munlock"]);
    assert_eq!(calls_on!(anon(4), |map: &mut Map| map.populate_write(0, n).unwrap()), ["madvise"]);
    assert_eq!(calls_on!(anon(4), |map: &mut Map| map.populate_read(0, n).unwrap()), ["madvise"]);
    let sync = |map: &mut Map| map.sync(0, n, MsyncFlags::SYNC).unwrap();
    assert_eq!(calls_on!(anon(4), sync), ["msync"]);
    let resident = |map: &mut Map| map.resident(0, n, &mut [0; 4]).map(|_| ()).unwrap();
    assert_eq!(calls_on!(anon(4), resident), ["mincore"]);
    let raw = || anon(4).into_raw_access();
    assert_eq!(calls_on!(raw(), |map: &mut Raw| map.protect(0, n, Prot::READ)), ["mprotect"]);
    assert_eq!(calls_on!(raw(), |map: &mut Raw| map.advise(0, n, Advice::RANDOM)), ["madvise"]);
    let split_and_join = |map: &mut Option<Map>| {
        let (first, second) = map.take().unwrap().split_at(page()).unwrap();
        *map = Some(first.join(second).unwrap());
    };
    assert_eq!(calls_on!(Some(anon(4)), split_and_join), [""; 0]);
    let out = |map: &mut Map| map.purge(page(), usize::MAX).unwrap_err();
    assert_eq!(calls_on!(anon(4), out), [""; 0]);
}

#[test]
fn a_purge_of_locked_memory_costs_one_call_more() {
    let locked = || {
        let map = anon(2);
        map.lock(0, 1).unwrap();
        map
    };
    let purge = |map: &mut rawmap::Mapping| map.purge(0, 2 * page());
    assert_eq!(calls_on!(locked(), purge), ["madvise", "madvise"]);
}

#[test]
fn a_guard_costs_one_call_or_three_on_an_older_kernel() {
    let guard = |map: &mut rawmap::Mapping<rawmap::Raw>| map.guard(0, page()).unwrap();
    let calls = calls_on!(anon(2).into_raw_access(), guard);
    // SAFETY: a range of length 0 holds no memory.
    match unsafe { madvise(null_mut(), 0, Advice::GUARD_INSTALL) } {
        Ok(()) => assert_eq!(calls, ["madvise"]),
        Err(_) => assert_eq!(calls, ["madvise", "madvise", "mprotect"]),
    }
}

#[test]
fn an_aligned_mapping_costs_three_calls() {
    let aligned = MapOptions::new(3 * page()).align(2 * MIB);
    let exactly = ["mmap", "munmap", "mmap"];
    assert_eq!(calls!(move || aligned.anonymous().unwrap()), exactly);
    assert_eq!(calls!(move || aligned.populate().anonymous().unwrap()), exactly);
    let file = file_of_pages(3);
    // SAFETY: nobody else has the file.
    let mapped = || unsafe { aligned.file(std::os::fd::AsRawFd::as_raw_fd(&file), 0) }.unwrap();
    assert_eq!(calls!(mapped), exactly);
    let within_a_page = MapOptions::new(3 * page()).align(page());
    assert_eq!(calls!(move || within_a_page.anonymous().unwrap()), ["mmap"]);
}

#[test]
fn a_thousand_aligned_reservations_cost_at_most_1_2_calls_each() {
    const N: usize = 1000;
    for mode in [Mode::Overcommit, Mode::Strict] {
        let ours = calls!(move || {
            let mut cursor = Cursor::new();
            for _ in 0..N {
                let it = Reservation::aligned(64 << 10, 2 * MIB, &mut cursor, mode).unwrap();
                assert_eq!(it.as_ptr().addr() % (2 * MIB), 0);
                std::mem::forget(it);
            }
        })
        .len();
        println!("{N} aligned reservations, {mode:?}: {ours} calls");
        assert!(ours <= N * 12 / 10, "{ours} calls for {N}");
    }
}

/// As with `vm.legacy_va_layout`, or a stack without limit: `personality(ADDR_COMPAT_LAYOUT)`.
#[test]
fn aligned_reservations_cost_no_more_where_addresses_are_given_out_upwards() {
    const ME: &str = "aligned_reservations_cost_no_more_where_addresses_are_given_out_upwards";
    const ADDR_COMPAT_LAYOUT: libc::c_ulong = 0x020_0000;
    if std::env::var_os("UPWARDS").is_none() {
        if emulator().is_some() {
            return skip!("the emulator lays out the program's addresses by itself");
        }
        let mut upwards = exec_self(ME, &[("UPWARDS", "yes")]);
        // SAFETY: a plain call, in the child before it becomes another program.
        unsafe {
            upwards.pre_exec(|| {
                libc::personality(ADDR_COMPAT_LAYOUT);
                Ok(())
            });
        }
        return assert_passed(start(&mut upwards));
    }
    let (first, second) = (anonymous(16 * MIB, RW), anonymous(16 * MIB, RW));
    assert!(second > first, "{second:?} is not above {first:?}");
    let calls = calls!(move || {
        let mut cursor = Cursor::new();
        for _ in 0..1000 {
            let it = Reservation::aligned(64 << 10, 2 * MIB, &mut cursor, Mode::Overcommit);
            std::mem::forget(it.unwrap());
        }
    })
    .len();
    println!("1000 aligned reservations, upwards: {calls} calls");
    assert!(calls <= 1200, "{calls} calls for 1000");
}

#[test]
fn interleaved_mappings_do_not_make_aligned_reservations_dearer_than_1_2_calls() {
    const N: usize = 1000;
    let calls = calls!(|| {
        let mut cursor = Cursor::new();
        for n in 0..N {
            // Now and then, somebody else takes the room below.
            if n % 20 == 0 {
                std::mem::forget(MapOptions::new(page()).anonymous().unwrap());
            }
            let it = Reservation::aligned(64 << 10, 2 * MIB, &mut cursor, Mode::Overcommit);
            std::mem::forget(it.unwrap());
        }
    })
    .len()
        - N / 20;
    println!("{N} aligned reservations among other mappings: {calls} calls");
    assert!(calls <= N * 12 / 10, "{calls} calls for {N}");
}

#[test]
fn a_reservation_with_slack_costs_one_call() {
    let slack = || Reservation::keep_slack(64 << 10, 2 * MIB, Mode::Overcommit).unwrap();
    assert_eq!(calls!(slack), ["mmap"]);
    assert_eq!(calls!(move || drop(slack())), ["mmap", "munmap"]);
}

#[test]
fn commit_and_decommit_cost_the_calls_that_the_table_says() {
    let new = |mode| move || Reservation::new(MIB, mode).unwrap();
    let whole = |f: fn(&Reservation, usize, usize) -> Result<(), rawmap::Error>| {
        move |it: &mut Reservation| f(it, 0, MIB).unwrap()
    };
    for (mode, commit, decommit) in
        [(Mode::Overcommit, None, "madvise"), (Mode::Strict, Some("mprotect"), "mmap")]
    {
        assert_eq!(calls!(new(mode)), ["mmap"]);
        assert_eq!(calls_on!(new(mode)(), whole(Reservation::commit)), Vec::from_iter(commit));
        assert_eq!(calls_on!(new(mode)(), whole(Reservation::decommit)), [decommit]);
        assert_eq!(calls_on!(new(mode)(), whole(Reservation::purge)), ["madvise"]);
    }
}

#[test]
fn a_ring_costs_two_calls() {
    assert_eq!(calls!(|| Ring::new(MIB).unwrap()), ["mmap", "mremap"]);
}

#[test]
fn a_dual_mapping_costs_three_calls() {
    assert_eq!(calls!(|| DualMapping::new(MIB).unwrap()), ["mmap", "mremap", "mprotect"]);
    let write = |code: &mut DualMapping| code.write(0, RETURN_42).unwrap();
    let calls = calls_on!(DualMapping::new(MIB).unwrap(), write);
    match std::env::consts::ARCH {
        "riscv64" => assert_eq!(calls, ["riscv_flush_icache"]),
        _ => assert_eq!(calls, [""; 0]),
    }
}

#[test]
fn a_stack_costs_two_calls() {
    assert_eq!(calls!(|| Stack::new(MIB).unwrap()), ["mmap", "mprotect"]);
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
        assert_eq!(calls_on!(block(), realloc(4 * page())), [""; 0]);
        assert_eq!(calls_on!(block(), realloc(400 * page())), ["mremap"]);
        assert_eq!(calls_on!(block(), realloc(1)), ["mremap"]);
        assert_eq!(
            calls_on!(block(), |block: &mut *mut u8| PageAlloc.dealloc(*block, layout(1))),
            ["munmap"]
        );
        let aligned = calls!(|| PageAlloc.alloc(layout(2 * MIB)));
        assert!(aligned[0] == "mmap" && aligned.len() <= 3, "{aligned:?}");
    }
}

#[test]
fn placing_costs_one_call_whether_the_place_is_free_or_taken() {
    let gap = anon(1);
    let hint = gap.as_ptr().addr();
    let place = move || MapOptions::new(page()).hint(at(hint)).place().unwrap();
    assert_eq!(calls!(place), ["mmap"]);
    drop(gap);
    assert_eq!(calls!(place), ["mmap"]);
}

#[test]
fn moving_costs_two_calls_or_three_and_sealing_one() {
    let two = || Some((anon(4), anon(4).into_raw_access()));
    let moved = |it: &mut Option<(rawmap::Mapping, rawmap::Mapping<_>)>| {
        let (map, place) = it.take().unwrap();
        map.move_into(place).unwrap()
    };
    // Whether there is room behind it, which shows that it is in one part.
    let calls = calls_on!(two(), moved);
    assert!(calls == ["mremap", "mremap"] || calls == ["mremap", "munmap", "mremap"], "{calls:?}");
    if mseal_is_filtered() {
        return skip!("the half of it about sealing: a filter hides mseal");
    }
    let seal = |it: &mut Option<rawmap::Mapping>| {
        std::mem::forget(it.take().unwrap().seal());
    };
    assert_eq!(calls_on!(Some(anon(1)), seal), ["mseal"]);
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
