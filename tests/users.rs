//! Fourteen failures seen in well-known projects, and that each can't happen here.
mod common;
use common::supervised::{Seen, supervise, unwatch, watch};
use common::*;
use rawmap::{
    Advice, Call, DualMapping, Errno, Error, Fd, Guarded, Kernel, MapFlags, MapOptions, Mapping,
    Mode, MsyncFlags, NO_FD, PageAlloc, PageSize, Place, Prot, Purged, Raw, Reservation, Ring,
    Sharing, Stack,
};
use std::alloc::{GlobalAlloc, Layout};
use std::ops::Bound::{Excluded, Included, Unbounded};
use std::os::fd::AsRawFd;

const MIB: usize = 1 << 20;

/// A page of private anonymous memory at an address, or with it for a hint.
fn page_at(place: Place) -> Result<Mapping<Raw>, Error> {
    // SAFETY: no test here asks for a place that a stack could grow to.
    unsafe { MapOptions::new(page()).at(place, RW, ANON, NO_FD, 0) }
}

/// A page size that was fixed when the program was built (jemallocator#80, fd#1085, qdrant#6512,
/// rust#36994): it is the kernel's, and never 0.
#[test]
fn failure_01_a_baked_in_page_size() {
    // SAFETY: a plain call.
    let kernels = unsafe { libc::getauxval(libc::AT_PAGESZ) } as usize;
    assert_eq!(PageSize::find().unwrap().bytes(), kernels);
    let map = MapOptions::new(1).anonymous().unwrap();
    assert_eq!((map.granule().bytes(), map.mapped_len()), (kernels, kernels));
    assert_eq!((PageSize::new(0), PageSize::new(1000)), (None, None));
    assert!(PageSize::FIXED.is_none() || std::env::consts::ARCH == "x86_64");
}

/// A width of the address space that was taken for granted (mimalloc#610, snmalloc#860, wasmtime#8607):
/// no address is made up, and one that can't be is the kernel's to refuse.
#[test]
fn failure_02_an_assumed_address_space_width() {
    for log2 in [38, 39, 42, 47, 48, 52, 56, 57, 62] {
        let hint = at((1 << log2) - (64 << 20));
        let map = page_at(Place::Hint(hint)).unwrap();
        // Wherever it lies, its address fits a call and comes back.
        let call = Call::munmap(map.as_ptr(), page());
        assert_eq!(Call::from_words(call.number(), call.args()), Some(call));
    }
    assert!(Kernel::find().is_ok());
}

/// A mapping for each commit or guard, until the process has no more (jemalloc#1328): committing
/// makes none in the overcommitting mode, guards make none where the kernel can do it, and a
/// refusal is an error, with the mapping still owned.
#[test]
fn failure_03_vma_explosion() {
    if emulator().is_some() {
        skip!("the emulator's mappings are not the program's");
        return;
    }
    alone(|| {
        let count = |at: *mut u8, len: usize| smaps(at, at.wrapping_add(len)).len();
        let it = Reservation::new(MIB, Mode::Overcommit).unwrap();
        let map = MapOptions::new(MIB).raw(RW, Sharing::Private).unwrap();
        let pages = MIB / page();
        let mut guarded = Guarded::Installed;
        for n in (0..pages).step_by(2) {
            it.commit(n * page()..(n + 1) * page()).unwrap();
            guarded = map.guard(n * page()..(n + 1) * page()).unwrap();
        }
        assert_eq!(count(it.as_ptr(), MIB), 1);
        let split = if guarded == Guarded::Installed { 1 } else { pages };
        assert_eq!(count(map.as_ptr(), MIB), split);
    });
}

#[test]
fn failure_03_unmapping_when_there_are_too_many_mappings_is_an_error() {
    let most = std::fs::read_to_string("/proc/sys/vm/max_map_count").unwrap();
    let most: usize = most.trim().parse().unwrap();
    if emulator().is_some() || most > 100_000 {
        skip!("the process may have {most} mappings, or the emulator needs more than its own");
        return;
    }
    alone(|| {
        let all = MapOptions::new((most + 2) * page()).noreserve();
        let mut first = all.raw(Prot::NONE, Sharing::Private).unwrap();
        let mut before = first.split_off(most * page()).unwrap();
        let mut refused = None;
        for n in (0..most).step_by(2) {
            if let Err(error) = first.protect(n * page()..(n + 1) * page(), Prot::READ) {
                refused = Some(error.errno());
                break;
            }
        }
        assert_eq!(refused, Some(Errno::ENOMEM));
        // Unmapping the middle of what the kernel holds as one would need one more.
        let rest = before.split_off(page()).unwrap();
        let unmapped = before.unmap();
        drop(first);
        let refused = unmapped.unwrap_err();
        assert_eq!(refused.error().errno(), Errno::ENOMEM);
        // There is room again.
        refused.into_owner().unwrap().unmap().unwrap();
        rest.unmap().unwrap();
    });
}

/// `MAP_FIXED` over a live mapping (mmtk-core#244; `alloc_at` of region 4.0.1): no safe function takes an
/// address, and the unsafe one replaces nothing.
#[test]
fn failure_04_map_fixed_clobbers() {
    let mut live = MapOptions::new(4 * page()).anonymous().unwrap();
    live.fill(7);
    let taken = live.as_mut_ptr();
    assert_eq!(page_at(Place::Exact(taken)).unwrap_err().errno(), Errno::EEXIST);
    assert_ne!(page_at(Place::Hint(taken)).unwrap().as_ptr(), taken);
    assert!(live.iter().all(|byte| *byte == 7));
}

/// A sub-range checked as `len <= self.len`, so that a safe call changes a neighbour
/// (RUSTSEC-2026-0186, memmap2): the end of a range is at most the length, and its start at most the end.
#[test]
fn failure_05_unchecked_sub_ranges() {
    let mut map = MapOptions::new(4 * page()).anonymous().unwrap();
    let size = 2 * page();
    let mut neighbour = map.split_off(size).unwrap();
    neighbour.fill(7);
    let mut map = map.into_raw();
    for range in [
        (Included(page()), Excluded(size + 1)),
        (Included(page()), Excluded(size + page())),
        (Included(page()), Included(size)),
        (Included(page()), Excluded(usize::MAX)),
        (Included(0), Included(usize::MAX)),
        (Included(page()), Included(usize::MAX)),
        (Included(size), Included(size)),
        (Included(2 * size), Unbounded),
        (Included(2 * size), Excluded(2 * size)),
        (Excluded(usize::MAX), Unbounded),
        (Excluded(usize::MAX), Included(usize::MAX)),
        (Included(usize::MAX & !(page() - 1)), Included(page() - 1)),
    ] {
        // No call is made, so nothing can have been changed.
        let refused = |error: Error| {
            assert_eq!((error.errno(), error.call()), (Errno::EINVAL, None), "{range:?}: {error}");
        };
        refused(map.purge(range).unwrap_err());
        refused(map.protect(range, Prot::NONE).unwrap_err());
        refused(map.advise(range, Advice::RANDOM).unwrap_err());
        refused(map.guard(range).unwrap_err());
        refused(map.sync(range, MsyncFlags::SYNC).unwrap_err());
        refused(map.lock(range).unwrap_err());
        // SAFETY: it is refused.
        refused(unsafe { map.overlay(range, RW, ANON, NO_FD, 0) }.unwrap_err());
    }
    assert!(neighbour.iter().all(|byte| *byte == 7));
    neighbour.fill(8);
}

/// A huge-page mapping of 3 MiB that survives its drop, since 3 MiB are no whole huge pages
/// (memmap2#156): a mapping knows its granule.
#[test]
fn failure_06_huge_page_rounding() {
    let done = with_huge_pages(|| {
        let mut space = Space::new();
        let mut map = MapOptions::new(3 * MIB).huge(2 * MIB).anonymous().unwrap();
        let at = map.as_mut_ptr();
        assert_eq!(map.mapped_len(), 4 * MIB);
        drop(map);
        space.look();
        assert!(space.lacks(at, 4 * MIB));
    });
    if let Err(why) = done {
        skip!("{why}");
    }
}

/// Trimming with a tail that was not rounded to pages (litebox#891): what stays is exactly what is
/// owned.
#[test]
fn failure_07_trim_arithmetic_with_an_unrounded_tail() {
    alone(|| {
        let mut space = Space::new();
        for len in [1, page() - 1, page() + 1, 3 * page() + 7] {
            let rounded = len.next_multiple_of(page());
            let before = space.bytes();
            let layout = Layout::from_size_align(len, 4 * MIB).unwrap();
            let mut map = MapOptions::new(len).align(4 * MIB).anonymous().unwrap();
            let it = Reservation::aligned(len, 4 * MIB, Mode::Strict).unwrap();
            // SAFETY: the size is not 0.
            let block = unsafe { PageAlloc.alloc(layout) };
            space.look();
            assert_eq!(space.bytes() - before, 3 * rounded, "{len} bytes");
            assert!(space.has(map.as_mut_ptr(), rounded) && space.has(it.as_ptr(), rounded));
            drop((map, it));
            // SAFETY: allocated with this layout.
            unsafe { PageAlloc.dealloc(block, layout) };
            space.look();
            assert_eq!(space.bytes(), before, "{len} bytes");
        }
    });
}

/// A purge that frees nothing, and doesn't say so: of shared memory, of private file mappings, of
/// locked pages. It says what the range reads as, and that is true.
#[test]
fn failure_08_a_purge_that_silently_frees_nothing() {
    need_lockable!(64 << 10);
    let mut locked = MapOptions::new(page()).locked().anonymous().unwrap();
    locked[0] = 7;
    assert_eq!(locked.purge(..), Ok(Purged::Zeroes));
    answers!(0, locked[0], qemu ..11 => 7, "MADV_DONTNEED_LOCKED does nothing, and succeeds");

    let file = file_of_pages(1);
    // SAFETY: it stays open, and nobody else has the file.
    let fd = unsafe { Fd::borrow_raw(file.as_raw_fd()) };
    // SAFETY: as above.
    let mut private = unsafe { MapOptions::whole().file_copy(fd, 0) }.unwrap();
    private[0] = 7;
    assert_eq!((private.purge(..), private[0]), (Ok(Purged::File), 1));

    let mut shared = MapOptions::new(page()).raw(RW, Sharing::Shared).unwrap();
    // SAFETY: a page that can be written and read.
    let read = unsafe {
        shared.as_ptr().write(7);
        assert_eq!(shared.purge(..), Ok(Purged::Zeroes));
        shared.as_ptr().read()
    };
    answers!(0, read, qemu ..11 => 7, "MADV_REMOVE does nothing, and succeeds");
}

/// An allocator that changes `errno` (hardened_malloc#324): results come by value, and no
/// thread-local is written.
#[test]
fn failure_09_errno_clobbered() {
    // SAFETY: errno's place in this thread.
    unsafe {
        libc::__errno_location().write(1234);
        assert!(MapOptions::new(0).anonymous().is_err());
        assert!(PageAlloc.alloc(Layout::from_size_align(1 << 62, 1).unwrap()).is_null());
        assert!(MapOptions::new(1).anonymous().is_ok());
        assert_eq!(libc::__errno_location().read(), 1234);
    }
}

/// A lock, an allocation or a look into /proc in the middle of a call: all works in a signal handler
/// that interrupted it, and in a forked child.
#[test]
fn failure_10_re_entrancy_and_fork() {
    extern "C" fn handler(_: i32) {
        let mut map = MapOptions::new(2 * page()).align(16 * page()).anonymous().unwrap();
        map.fill(7);
        map.purge(..page()).unwrap();
        let layout = Layout::from_size_align(page() + 1, 16 * page()).unwrap();
        // SAFETY: the size is not 0, and the block is freed with its layout.
        unsafe { PageAlloc.dealloc(PageAlloc.alloc(layout), layout) };
        drop((Ring::new(1), Stack::new(1).unwrap()));
    }
    let end = in_child(|| {
        // SAFETY: the handler calls what may be called in one; the timer is this process's.
        unsafe {
            libc::signal(libc::SIGALRM, handler as *const () as libc::sighandler_t);
            // Slow enough for the handler to end in between, in the emulator too.
            let tv_usec = if emulator().is_some() { 50_000 } else { 200 };
            let every = libc::timeval { tv_sec: 0, tv_usec };
            let timer = libc::itimerval { it_interval: every, it_value: every };
            libc::setitimer(libc::ITIMER_REAL, &timer, std::ptr::null_mut());
        }
        let start = std::time::Instant::now();
        let mut rounds = 0;
        while start.elapsed().as_millis() < 300 {
            let mut map = MapOptions::new(3 * page()).anonymous().unwrap();
            map.fill(9);
            map.resize(9 * page()).unwrap();
            assert!(map[..3 * page()].iter().all(|byte| *byte == 9));
            rounds += 1;
        }
        i32::from(rounds == 0)
    });
    assert_eq!(end, OK);
}

/// `MAP_FIXED_NOREPLACE` on a kernel that takes it for a hint: the address is compared, and what lies
/// elsewhere is unmapped. The supervisor answers as such a kernel does.
#[test]
fn failure_11_fixed_noreplace_taken_for_a_hint() {
    let mut stray = MapOptions::new(page()).anonymous().unwrap();
    let elsewhere = stray.as_mut_ptr();
    let child = || {
        let mut taken = MapOptions::new(page()).anonymous().unwrap();
        watch();
        let placed = page_at(Place::Exact(taken.as_mut_ptr()));
        unwatch();
        assert_eq!(placed.unwrap_err().errno(), Errno::EEXIST);
        assert_eq!(reading(elsewhere), SEGV);
    };
    let answer = |_, seen: &Seen| (seen.name() == "mmap").then_some(Ok(elsewhere.addr()));
    match supervise(child, answer) {
        Some((end, seen)) => {
            assert_eq!(end, OK);
            let said = seen.last().unwrap().call.unwrap().to_string();
            assert_eq!(said, format!("munmap({:#x}, {})", elsewhere.addr(), page()));
        }
        None => skip!("calls can't be answered here: no seccomp"),
    }
}

/// An error without address, length and flags (mmtk-core#1450): it carries the call, and the reason
/// where the words tell.
#[test]
fn failure_12_an_error_without_its_call() {
    let error = page_at(Place::Exact(at(page() + 1))).unwrap_err();
    let said = error.to_string();
    let call = format!(
        "mmap({:#x}, {}, PROT_READ|PROT_WRITE, \
         MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED_NOREPLACE, -1, 0): EINVAL",
        page() + 1,
        page()
    );
    assert!(said.starts_with(&call), "{said}");
    assert!(said.contains("is not a multiple of the page size"), "{said}");
}

/// A new kernel's flag that can't be said, since flags are an enumeration (rustix#1641, #1096, #1529):
/// every bit is kept and passed on.
#[test]
fn failure_13_flag_lag() {
    let flags = ANON | MapFlags::from_bits(1 << 40);
    // Before the watch: what the owners ask once would be refused.
    rawmap::prepare().unwrap();
    let page = page();
    let child = || {
        let map = MapOptions::new(page).raw(RW, Sharing::Private).unwrap();
        watch();
        // SAFETY: no kernel knows it.
        let _ = unsafe { map.advise_any(.., Advice::from_bits(777)) };
        let _ = map.protect(.., Prot::from_bits(1 << 20));
        let nowhere = Place::Hint(std::ptr::null_mut());
        // SAFETY: as above.
        let _ = unsafe { MapOptions::new(page).at(nowhere, RW, flags, NO_FD, 0) };
        unwatch();
    };
    match supervise(child, |_, _| Some(Err(Errno::EINVAL))) {
        Some((end, seen)) => {
            let said: Vec<_> = seen.iter().map(|it| it.call.unwrap().to_string()).collect();
            assert_eq!(end, OK);
            assert!(said[0].ends_with(", 0x309)") && said[1].ends_with(", 0x100000)"), "{said:?}");
            assert!(said[2].contains("0x10000000000"), "{said:?}");
        }
        None => skip!("calls can't be seen here: no seccomp"),
    }
}

/// A switch for the whole process, which its children inherit (`PR_SET_THP_DISABLE`): every call is
/// about the owner's own memory.
#[test]
fn failure_14_process_wide_effects() {
    need_lockable!(64 << 10);
    // What is asked once by prctl changes nothing, and is asked here.
    rawmap::prepare().unwrap();
    let child = || {
        watch();
        let mut map = MapOptions::new(4 * page()).align(4 * MIB).anonymous().unwrap();
        map.resize(MIB).unwrap();
        map.lock(..page()).unwrap();
        map.purge(..page()).unwrap();
        map.unlock(..).unwrap();
        let it = Reservation::new(MIB, Mode::Strict).unwrap();
        it.commit(..page()).unwrap();
        it.decommit(..page()).unwrap();
        drop((Ring::new(1), Stack::new(1), DualMapping::new(1), map.seal().map(drop)));
        unwatch();
    };
    // SAFETY: plain calls.
    let huge = || unsafe { libc::prctl(libc::PR_GET_THP_DISABLE, 0, 0, 0, 0) };
    let before = huge();
    match supervise(child, |_, _| None) {
        Some((end, seen)) => {
            assert_eq!(end, OK);
            for it in seen {
                let name = it.name();
                assert!(!["prctl", "mlockall", "munlockall"].contains(&&*name), "{it:?}");
            }
        }
        None => child(),
    }
    assert_eq!(huge(), before);
}
