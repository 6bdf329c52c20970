//! The attacks.

use rawmap::{
    Advice, Errno, Error, MapOptions, Mapping, Mode, Prot, Raw, ReadWrite, Reservation, Sharing,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};
use std::fs::File;
use std::hint::black_box;
use std::io::{Read, Seek};
use std::ops::Range;
use std::process::Command;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

pub(crate) const ATTACKS: &[(&str, fn())] = &[
    ("a_reservation_of_all_that_is_left_is_committed_below_the_stack", fill),
    ("a_reservation_is_committed_below_a_stack_whose_limit_was_raised", fill_with_a_raised_limit),
    ("a_reservation_is_committed_below_a_stack_of_which_nothing_is_known", fill_unknown),
    ("a_reservation_is_committed_below_a_stack_that_a_file_lies_about", fill_with_a_forged_file),
    ("a_reservation_is_committed_below_a_stack_whose_limit_was_lowered", fill_with_a_lowered_limit),
    ("a_reservation_is_committed_where_addresses_are_given_out_upwards", fill_upwards),
    ("a_mapping_below_the_stack_grows_in_place", grow_in_place),
    ("a_mapping_below_the_stack_grows_where_it_likes", grow_anywhere),
    ("a_raw_mapping_below_the_stack_is_hidden_and_shown_again", hide_and_show),
    ("a_mapping_below_the_stack_becomes_a_strict_reservation", become_strict),
    ("inaccessible_memory_is_moved_below_the_stack", move_below_the_stack),
    ("a_long_guard_and_what_can_not_be_unmapped_cost_page_tables", long_guard),
    ("memory_is_mapped_twice_where_no_file_may_be_long", short_files),
    ("two_threads_align_at_once", align_at_once),
    ("a_process_is_spawned_beside_huge_pages", huge_beside_a_spawn),
    ("huge_pages_that_are_not_there_are_lent", huge_without_a_page),
    ("huge_pages_are_purged_and_used_again", huge_after_a_purge),
    ("a_filter_makes_the_page_size_too_large", filtered_page_size),
    ("zeroes_are_what_was_hidden_by_a_shorter_length", hidden_bytes),
    ("ranges_wrap", ranges),
    ("parts_of_two_mappings_are_joined", join_strangers),
    ("pieces_are_placed_while_another_thread_maps", place_at_once),
    ("refused_steps_beside_another_thread", refuse_at_once),
];

// ---- The stack --------------------------------------------------------------------------------------

/// The main thread's stack, as the kernel has it now.
fn stack() -> Range<usize> {
    // Opened once, since one of the attacks has a filter that refuses to open anything.
    static MAPS: LazyLock<File> = LazyLock::new(|| File::open("/proc/self/maps").unwrap());
    let mut maps = String::new();
    (&*MAPS).rewind().unwrap();
    (&*MAPS).read_to_string(&mut maps).unwrap();
    let line = maps.lines().find(|line| line.ends_with("[stack]")).expect("a main thread");
    let (start, end) = line.split(' ').next().unwrap().split_once('-').unwrap();
    usize::from_str_radix(start, 16).unwrap()..usize::from_str_radix(end, 16).unwrap()
}

fn page() -> usize {
    rawmap::page_size().unwrap().bytes()
}

/// Goes down the stack until it is 6 MiB deep, or near accessible memory that ends at `end`, at a distance that
/// the kernel keeps, which is 256 pages.
fn deep_above(end: usize) {
    let room = stack().end - end;
    black_box(deep(room.saturating_sub(256 * page() + (128 << 10)).min(6 << 20)));
}

/// Goes down the stack until it is `bytes` deep.
fn deep(bytes: usize) -> u64 {
    let top = stack().end;
    deeper(top - bytes, top)
}

#[inline(never)]
fn deeper(end: usize, salt: usize) -> u64 {
    let frame = black_box([salt as u64; 128]);
    if (&raw const frame).addr() < end {
        return frame[0];
    }
    let below = deeper(end, salt + 1);
    below.wrapping_add(black_box(&frame)[salt % 128])
}

/// Takes all address space, by pieces of at least `least` bytes; the last ones come to lie highest.
fn take_all(least: usize, mode: Mode) -> Vec<Reservation> {
    let mut held = Vec::with_capacity(100_000);
    let mut size = 1_usize << 46;
    while size >= least && held.len() < 60_000 {
        match Reservation::new(size, mode) {
            Ok(reservation) => held.push(reservation),
            Err(_) => size /= 2,
        }
    }
    held
}

fn range(reservation: &Reservation) -> Range<usize> {
    let start = reservation.as_ptr().addr();
    start..start + reservation.len()
}

/// Takes the one that ends highest below the stack.
fn take_nearest(held: &mut Vec<Reservation>) -> Reservation {
    let stack = stack();
    let below = |at: &usize| range(&held[*at]).end <= stack.start;
    let nearest = (0..held.len()).filter(below).max_by_key(|at| range(&held[*at]).end);
    held.swap_remove(nearest.expect("something below the stack"))
}

/// How many pages of a raw mapping hold anything.
fn touched(memory: &Mapping<Raw>) -> usize {
    let page = memory.granule().bytes();
    let end = memory.len();
    let mut pages = vec![0; 4096];
    let start = end.saturating_sub(pages.len() * page);
    memory.resident(start..end, &mut pages).unwrap().iter().filter(|page| **page & 1 == 1).count()
}

fn fill() {
    let mut held = take_all(4096, Mode::Strict);
    let nearest = take_nearest(&mut held);
    println!(
        "{} held; the nearest ends {:#x} below the stack",
        held.len(),
        stack().start - range(&nearest).end
    );
    // The stack comes down as far as it may; what is inaccessible does not stop it.
    black_box(deep(6 << 20));
    nearest.commit(..).or_else(|_| nearest.commit(nearest.len() - page()..)).unwrap();
    black_box(deep(7 << 20));
    assert_eq!(touched(&nearest.into_raw()), 0, "pages that the stack has walked into");
}

/// A filter that answers these calls, with these rules, by an error.
fn filter(calls: &[(i64, Vec<SeccompRule>)], errno: i32) -> bool {
    let filter = SeccompFilter::new(
        calls.iter().cloned().collect(),
        SeccompAction::Allow,
        SeccompAction::Errno(errno as u32),
        std::env::consts::ARCH.try_into().unwrap(),
    );
    let program: BpfProgram = filter.unwrap().try_into().unwrap();
    let applied = seccompiler::apply_filter(&program);
    if let Err(error) = &applied {
        println!("skipped: no seccomp here: {error}");
    }
    applied.is_ok()
}

fn fill_unknown() {
    black_box(stack());
    let refused = [(libc::SYS_prctl, Vec::new()), (libc::SYS_openat, Vec::new())];
    if filter(&refused, libc::EPERM) {
        rawmap::prepare().unwrap();
        fill();
    }
}

/// A folder to `chroot` to may have a file of such a name: here of one that says where the stack ends, and lies.
fn fill_with_a_forged_file() {
    black_box(stack());
    let root = std::env::temp_dir().join(format!("rawmap-{}", std::process::id()));
    std::fs::create_dir_all(root.join("proc/self")).unwrap();
    let auxv = [31_u64, 1 << 16, 0, 0].map(u64::to_ne_bytes).concat();
    std::fs::write(root.join("proc/self/auxv"), auxv).unwrap();
    let inside = std::os::unix::fs::chroot(&root);
    let outside = if inside.is_ok() { std::path::Path::new("/") } else { &root };
    let refused = [(libc::SYS_prctl, Vec::new())];
    match inside {
        Ok(()) if filter(&refused, libc::EINVAL) => {
            rawmap::prepare().unwrap();
            std::fs::remove_dir_all(outside.join("proc")).unwrap();
            fill();
        }
        Ok(()) => {}
        Err(error) => println!("skipped: chroot: {error}"),
    }
    let _ = std::fs::remove_dir_all(outside.join("proc"));
}

/// As if the stack could not grow, while the owners look.
fn fill_with_a_lowered_limit() {
    let (limit, stack) = (getrlimit(Resource::Stack), stack());
    let lowered = Rlimit { current: Some(stack.len() as u64 - 8192), ..limit };
    setrlimit(Resource::Stack, lowered).unwrap();
    rawmap::prepare().unwrap();
    setrlimit(Resource::Stack, limit).unwrap();
    fill();
}

/// Nothing that exec mapped lies below the stack then.
fn fill_upwards() {
    const NAME: &str = "a_reservation_is_committed_below_a_stack_whose_limit_was_lowered";
    let mut upwards = Command::new("setarch");
    upwards.arg("-L").arg(std::env::current_exe().unwrap()).env(crate::ATTACK, NAME);
    match upwards.status() {
        Ok(status) => assert!(status.success(), "{status}"),
        Err(error) => println!("skipped: setarch, of util-linux, can't be run here: {error}"),
    }
}

fn fill_with_a_raised_limit() {
    let raised = Command::new("prlimit")
        .args([&format!("--pid={}", std::process::id()), "--stack=unlimited"])
        .status();
    if !raised.is_ok_and(|status| status.success()) {
        return println!("skipped: prlimit, of util-linux, can't raise the stack's limit here");
    }
    let mut held = take_all(1 << 16, Mode::Strict);
    let nearest = take_nearest(&mut held);
    let gap = stack().start - range(&nearest).end;
    println!("the nearest ends {gap:#x} below the stack");
    black_box(deep(gap.min(64 << 20)));
    let last = nearest.len().min(4 << 20);
    nearest.commit(nearest.len() - last..).unwrap();
    black_box(deep(gap.min(65 << 20)));
    assert_eq!(touched(&nearest.into_raw()), 0, "pages that the stack has walked into");
}

/// A mapping that the kernel put right below the stack, since there was no other place.
fn below_the_stack() -> Option<Mapping<ReadWrite>> {
    let mut held = take_all(1 << 20, Mode::Overcommit);
    let stack = stack();
    let nearest = take_nearest(&mut held);
    let (len, gap) = (nearest.len(), stack.start - range(&nearest).end);
    drop(nearest);
    let mapping = MapOptions::new(len).noreserve().anonymous().unwrap();
    let end = mapping.as_ptr().addr() + mapping.len();
    std::mem::forget(held);
    if end > stack.start || stack.start - end > 256 << 20 {
        println!(
            "skipped: the kernel left {gap:#x} bytes below the stack free, and put nothing there"
        );
        return None;
    }
    Some(mapping)
}

fn grow(by: fn(&mut Mapping<ReadWrite>, usize) -> Result<(), Error>) {
    let Some(mut memory) = below_the_stack() else { return };
    let start = memory.as_ptr().addr();
    let grown = by(&mut memory, stack().start - start);
    println!("{grown:?}");
    let last = memory.len() - (1 << 20)..;
    memory[last.clone()].fill(0xaa);
    deep_above(memory.as_ptr().addr() + memory.len());
    assert!(memory[last].iter().all(|byte| *byte == 0xaa), "bytes that the stack has overwritten");
    let end = memory.as_ptr().addr() + memory.len();
    assert!(end > stack().end || stack().start - end >= 256 << 10, "it ends at the stack");
}

fn grow_in_place() {
    grow(Mapping::resize_in_place);
}

fn grow_anywhere() {
    grow(Mapping::resize);
}

fn hide_and_show() {
    let Some(memory) = below_the_stack() else { return };
    let memory = memory.into_raw();
    let end = memory.as_ptr().addr() + memory.len();
    let hidden = memory.protect(.., Prot::NONE);
    // What is inaccessible does not stop it.
    if hidden.is_ok() {
        black_box(deep(6 << 20));
    } else {
        deep_above(end)
    }
    let shown = memory.protect(.., Prot::READ | Prot::WRITE);
    println!("{hidden:?}, {shown:?}");
    if hidden.is_ok() {
        black_box(deep(7 << 20));
    }
    assert_eq!(touched(&memory), 0, "pages that the stack has walked into");
    assert!(hidden.is_err() || shown.is_err());
}

fn become_strict() {
    let Some(memory) = below_the_stack() else { return };
    let refused = memory.into_reservation(Mode::Strict).unwrap_err();
    assert_eq!(refused.error().errno(), Errno::ENOMEM);
    assert!(refused.into_owner().is_some());
}

fn move_below_the_stack() {
    // Made before the addresses are used up.
    let mut below = MapOptions::new(page()).raw(Prot::NONE, Sharing::Shared).unwrap();
    let Some(memory) = below_the_stack() else { return };
    let (len, page) = (memory.len(), memory.granule().bytes());
    // It is an ordinary mapping, and no place for anything else.
    let refused = memory.into_reservation(Mode::Overcommit).unwrap_err();
    assert_eq!(refused.error().errno(), Errno::ENOMEM);
    drop(refused.into_owner().unwrap());
    let mut place = Reservation::new(len, Mode::Overcommit).unwrap();
    let last = place.split_off(len - page).unwrap();
    let end = range(&last).end;
    let mut hidden = MapOptions::new(page).raw(Prot::NONE, Sharing::Private).unwrap();
    let placed = last.place(&mut below);
    println!("{placed:?}");
    if end <= stack().start && stack().start - end < 256 << 20 {
        assert_eq!(placed.unwrap_err().error().errno(), Errno::ENOMEM);
    } else {
        println!("skipped: the kernel puts no reservation below the stack");
    }
    let _ = hidden.resize(2 * page);
}

// ---- What costs more than it says -------------------------------------------------------------------

/// The process's page tables, in KiB.
fn page_tables() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmPTE:")).expect("page tables");
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn long_guard() {
    let before = page_tables();
    let stack = rawmap::Stack::with_guard(1 << 16, 1 << 34).unwrap();
    assert!(stack.len() >= 1 << 16);
    assert!(page_tables() < before + 1024, "{} KiB more", page_tables() - before);
}

fn short_files() {
    let limited = Command::new("prlimit")
        .args([&format!("--pid={}", std::process::id()), "--fsize=100"])
        .status();
    if !limited.is_ok_and(|status| status.success()) {
        return println!("skipped: prlimit, of util-linux, can't limit the size of files here");
    }
    assert!(rawmap::DualMapping::new(1 << 46).is_err());
    assert!(rawmap::Ring::new(1 << 46).is_err());
    assert!(rawmap::Ring::new(1 << 16).is_ok());
}

// ---- Huge pages -------------------------------------------------------------------------------------

const HUGE: usize = 2 << 20;

/// A slice on huge pages, or the reason why there is none.
fn huge(options: MapOptions) -> Option<Mapping<ReadWrite>> {
    options.huge(HUGE).anonymous().map_err(|error| println!("skipped: {error}")).ok()
}

fn huge_beside_a_spawn() {
    let Some(mut memory) = huge(MapOptions::new(HUGE)) else { return };
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut at = 0;
            while !ended.load(Ordering::Relaxed) {
                memory[at] = 1;
                at = (at + 64) % HUGE;
            }
        });
        for _ in 0..40 {
            Command::new("/bin/true").output().unwrap();
        }
        ended.store(true, Ordering::Relaxed);
    });
}

fn huge_without_a_page() {
    // With noreserve the kernel owes nothing, and there may be nothing.
    assert!(MapOptions::new(HUGE).huge(HUGE).noreserve().anonymous().is_err());
    // More than any machine has set aside: an error, and no SIGBUS.
    let options = MapOptions::new(1 << 46).huge(HUGE);
    assert!(options.anonymous().is_err());
    let mut held = Vec::new();
    while let Ok(mut memory) = MapOptions::new(HUGE).huge(HUGE).anonymous() {
        memory.fill(1);
        held.push(memory);
    }
    println!("{} huge pages", held.len());
}

fn huge_after_a_purge() {
    let Some(mut memory) = huge(MapOptions::new(HUGE)) else { return };
    assert!(memory.purge(..).is_err());
    assert!(memory.resize(2 * HUGE).is_err());
    memory.fill(1);
}

/// To the kernel each is a multiple of the page size. Owners of larger pages would unmap their neighbours.
fn filtered_page_size() {
    if rawmap::PageSize::FIXED.is_some() {
        return println!("skipped: the page size is not asked for on this architecture");
    }
    let of = |size| {
        let is = SeccompCondition::new(0, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, size);
        SeccompRule::new(vec![is.unwrap()]).unwrap()
    };
    let sizes = [1 << 12, 1 << 13, 1 << 14, 1 << 15].map(of);
    if !filter(&[(libc::SYS_msync, sizes.to_vec())], libc::EINVAL) {
        return;
    }
    let Ok(_) = rawmap::page_size() else { return };
    let make = |n| {
        let mut memory = MapOptions::new(1 << 16).anonymous().unwrap();
        memory.fill(n);
        memory
    };
    let mut all: Vec<_> = (0..64).map(make).collect();
    let mut n = 0;
    all.retain(|_| {
        n += 1;
        n % 2 == 0
    });
    for (n, memory) in all.iter().enumerate() {
        assert!(memory.iter().all(|byte| usize::from(*byte) == 2 * n + 1), "{n}");
    }
}

// ---- Bytes and ranges -------------------------------------------------------------------------------

fn hidden_bytes() {
    let mut memory = MapOptions::new(4096).anonymous().unwrap();
    memory.fill(7);
    memory.resize(100).unwrap();
    memory.resize(4096).unwrap();
    assert!(memory[..100].iter().all(|byte| *byte == 7));
    assert!(memory[100..].iter().all(|byte| *byte == 0));
    memory.fill(7);
    memory.resize(100).unwrap();
    memory.resize(1 << 20).unwrap();
    assert!(memory[100..].iter().all(|byte| *byte == 0));
}

#[allow(clippy::reversed_empty_ranges)]
fn ranges() {
    let mut memory = MapOptions::new(1 << 20).anonymous().unwrap();
    let page = memory.granule().bytes();
    let ends = [
        0,
        1,
        page - 1,
        page,
        page + 1,
        1 << 20,
        (1 << 20) + 1,
        isize::MAX as usize,
        usize::MAX - page,
        usize::MAX,
    ];
    for start in ends {
        for end in ends {
            let inside = start <= end && end <= 1 << 20;
            let _ = memory.purge(start..end).map(|_| assert!(inside));
            let _ = memory.lock(start..end).map(|()| assert!(inside));
            let _ = memory.unlock(start..end).map(|()| assert!(inside));
            let _ = memory.advise(start..end, Advice::WILLNEED).map(|()| assert!(inside));
            let _ = memory.name(start..end, c"name").map(|()| assert!(inside));
            let inside = start <= end.saturating_add(1) && end < 1 << 20;
            let _ = memory.purge(start..=end).map(|_| assert!(inside));
        }
    }
    for len in [isize::MAX as usize, isize::MAX as usize + 1, usize::MAX - 1, usize::MAX] {
        assert_eq!(MapOptions::new(len).anonymous().unwrap_err().errno(), Errno::ENOMEM);
        assert!(memory.resize(len).is_err());
        assert!(memory.split_off(len).is_err());
        assert!(Reservation::new(len, Mode::Strict).is_err());
        assert!(Reservation::aligned(1, len, Mode::Strict).is_err());
        assert!(MapOptions::new(1).align(len).anonymous().is_err());
        assert!(rawmap::Ring::new(len).is_err());
        assert!(rawmap::DualMapping::new(len).is_err());
        assert!(rawmap::Stack::new(len).is_err());
        assert!(rawmap::Stack::with_guard(1, len).is_err());
    }
    memory.fill(1);
}

fn join_strangers() {
    let mut held: Vec<_> = (0..64).map(|_| MapOptions::new(4096).anonymous().unwrap()).collect();
    held.sort_by_key(|mapping| mapping.as_ptr());
    let mut joined = Mapping::<ReadWrite>::empty();
    let mut apart = 0;
    for mapping in held {
        if let Err(mapping) = joined.try_unsplit(mapping) {
            joined.fill(apart);
            joined = mapping;
            apart += 1;
        }
    }
    joined.fill(apart);
    println!("{apart} apart");
}

// ---- Threads ----------------------------------------------------------------------------------------

/// Runs `attack` again and again for a second beside another thread that maps and unmaps, and whose memory
/// nobody may touch.
fn beside_another(attack: impl Fn() + Sync) {
    /// Ends the other thread, if only since the attack has panicked.
    struct End<'a>(&'a AtomicBool);

    impl Drop for End<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    let (lost, mapped) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _end = End(&ended);
        scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                let mut mine = MapOptions::new(1 << 16).anonymous().unwrap();
                mine.fill(0x5a);
                for _ in 0..20 {
                    if mine.resident(.., &mut [0; 16]).is_err() {
                        lost.fetch_add(1, Ordering::Relaxed);
                        std::mem::forget(std::mem::take(&mut mine));
                        break;
                    }
                }
                assert!(mine.iter().all(|byte| *byte == 0x5a));
                mapped.fetch_add(1, Ordering::Relaxed);
            }
        });
        let end = Instant::now() + Duration::from_secs(1);
        while Instant::now() < end {
            attack();
        }
    });
    assert_eq!(lost.into_inner(), 0, "of {} mappings", mapped.into_inner());
}

fn align_at_once() {
    let aligned = || {
        let memory = MapOptions::new(64 << 10).align(2 << 20).anonymous().unwrap();
        assert_eq!(memory.as_ptr().addr() % (2 << 20), 0);
        let populated = MapOptions::new(64 << 10).align(2 << 20).populate().anonymous().unwrap();
        assert_eq!(populated.as_ptr().addr() % (2 << 20), 0);
    };
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| (0..2_000).for_each(|_| aligned()));
        }
    });
    beside_another(aligned);
}

fn place_at_once() {
    beside_another(|| {
        let mut space = Reservation::new(1 << 17, Mode::Strict).unwrap();
        let rest = space.split_off(1 << 16).unwrap();
        let mut memory = MapOptions::new(1 << 16).anonymous().unwrap();
        memory[0] = 1;
        space.place(&mut memory).unwrap();
        assert_eq!((memory[0], memory.as_ptr().addr() + (1 << 16)), (1, rest.as_ptr().addr()));
        let back = memory.into_reservation(Mode::Strict).unwrap();
        assert_eq!(back.len(), 1 << 16);
    });
}

fn refuse_at_once() {
    beside_another(|| {
        // In several parts: no kernel before 6.17 moves that, and it finds out late.
        let (len, rw) = (16 * page(), Prot::READ | Prot::WRITE);
        let mut memory = MapOptions::new(len).raw(rw, Sharing::Private).unwrap();
        memory.protect(page()..2 * page(), Prot::READ).unwrap();
        let space = Reservation::new(len, Mode::Strict).unwrap();
        let _ = space.place(&mut memory);
        assert_eq!(memory.len(), len);
        let _ = rawmap::Ring::new(usize::MAX / 8);
    });
}
