//! The flags and the advice: each that has an effect which can be seen, shown by it.
mod common;
use common::*;
use rawmap::*;
use std::io::{Read, Seek, Write};
use std::os::fd::AsRawFd;
use std::ptr::null_mut;

const PRIVATE: MapFlags = MapFlags::PRIVATE;
const SHARED: MapFlags = MapFlags::SHARED;
const FIXED: MapFlags = MapFlags::FIXED;
const MAYMOVE: MremapFlags = MremapFlags::MAYMOVE;

/// `include/uapi/linux/magic.h`.
const RAMFS_MAGIC: i64 = 0x8584_58f6;

/// New anonymous memory of so many pages, for reading and writing, by these flags.
fn memory(pages: usize, flags: MapFlags) -> *mut u8 {
    // SAFETY: a new mapping, which nothing else refers to.
    unsafe { mmap_anonymous(null_mut(), pages * page(), RW, flags) }.unwrap()
}

/// What [`fill`] writes to page n.
fn nth(n: usize) -> u8 {
    n as u8 % 128 + 1
}

/// New anonymous memory of so many pages; every byte of page n is n + 1.
fn written(pages: usize) -> *mut u8 {
    let map = anonymous(pages * page(), RW);
    fill(map, pages);
    map
}

/// Writes n + 1 to every byte of page n.
fn fill(map: *mut u8, pages: usize) {
    for n in 0..pages {
        // SAFETY: a page of the test's own.
        unsafe { map.add(n * page()).write_bytes(nth(n), page()) };
    }
}

/// The first byte of each page.
fn bytes(map: *mut u8, pages: usize) -> Vec<u8> {
    // SAFETY: pages of the test's own.
    (0..pages).map(|n| unsafe { map.add(n * page()).read_volatile() }).collect()
}

fn advise(map: *mut u8, pages: usize, advice: Advice) -> Result<(), Errno> {
    // SAFETY: pages of the test's own, to which it holds no reference.
    unsafe { madvise(map, pages * page(), advice) }
}

/// How a forked child finds the first byte of each page.
fn bytes_in_a_child(map: *mut u8, expected: &[u8]) -> End {
    in_child(|| i32::from(bytes(map, expected.len()) != expected))
}

/// The transparent huge pages' folder, where the kernel has them.
const HUGEPAGES: &str = "/sys/kernel/mm/transparent_hugepage";

fn have(path: &str) -> bool {
    std::fs::exists(path).unwrap()
}

/// The two-letter flags of the mapping, as the kernel keeps them.
fn vm_flags(map: *mut u8) -> Vec<String> {
    let field = smaps(map, map.wrapping_add(1))[0].1["VmFlags"].clone();
    field.split(' ').map(str::to_owned).collect()
}

/// Ends the test where the kernel does not tell about mappings, and says why.
macro_rules! need_smaps {
    () => {
        if !have("/proc/self/smaps") {
            return skip!("the kernel has no /proc/self/smaps (CONFIG_PROC_PAGE_MONITOR)");
        }
    };
}

/// Asserts that the mapping has this flag of smaps.
macro_rules! shows {
    ($map:expr, $flag:expr) => {
        answers!(
            (true, $flag),
            (vm_flags($map).iter().any(|flag| flag == $flag), $flag),
            qemu 8.. => (false, $flag), "smaps is made up, and has no {}", $flag
        )
    };
}

/// Asserts that the mapping does not have this flag of smaps.
macro_rules! hides {
    ($map:expr, $flag:expr) => {
        assert!(!vm_flags($map).iter().any(|flag| flag == $flag), "{}", $flag)
    };
}

/// Under QEMU, which lacks this advice, asserts that it leaves things so, and ends the test.
macro_rules! lacking_in_qemu {
    ($advice:expr, $map:expr, $pages:expr, $unchanged:expr) => {
        if emulator().is_some() {
            assert_eq!(advise($map, $pages, $advice), unknown_advice_in_qemu());
            assert!($unchanged);
            return departure!("there is no {:?}", $advice);
        }
    };
}

// ---- mmap: where ----

#[test]
fn an_address_alone_is_a_hint_that_is_taken_where_nothing_is_and_never_replaces() {
    alone(|| {
        let map = written(3);
        // SAFETY: the middle page is unmapped, and mapped again.
        unsafe {
            munmap(map.add(page()), page()).unwrap();
            let hinted = |at| mmap_anonymous(at, page(), RW, PRIVATE).unwrap();
            assert_eq!(hinted(map.add(page())), map.add(page()));
            assert_ne!(hinted(map), map);
        }
        assert_eq!(bytes(map, 3), [1, 0, 3]);
    });
}

#[test]
fn fixed_replaces_what_is_mapped_there() {
    let map = written(3);
    // SAFETY: the middle page is ours, and nothing refers to it.
    let middle = unsafe { mmap_anonymous(map.add(page()), page(), RW, PRIVATE | FIXED) };
    assert_eq!(middle, Ok(map.wrapping_add(page())));
    assert_eq!(bytes(map, 3), [1, 0, 3]);
}

#[test]
fn fixed_noreplace_refuses_to_replace_and_leaves_what_is_there() {
    let map = written(3);
    let flags = PRIVATE | MapFlags::FIXED_NOREPLACE;
    // SAFETY: nothing is replaced.
    let got = unsafe { mmap_anonymous(map.add(page()), page(), RW, flags) };
    refused!(EEXIST, got, qemu ..8 => Ok(()), "FIXED_NOREPLACE is a hint");
    assert_eq!(bytes(map, 3), [1, 2, 3]);
}

#[cfg(target_arch = "x86_64")]
#[test]
fn map_32bit_is_placed_below_2_gib() {
    let low = memory(1, PRIVATE | MapFlags::MAP_32BIT);
    assert!(low.addr() + page() <= 1 << 31, "{low:p}");
    fill(low, 1);
}

#[cfg(target_arch = "x86_64")]
#[test]
fn above4g_is_placed_above_4_gib() {
    assert!(memory(1, PRIVATE | MapFlags::ABOVE4G).addr() >= 1 << 32);
}

// ---- mmap: how ----

#[test]
fn locked_memory_is_resident_at_once_and_is_accounted_as_locked() {
    need_lockable!(64 << 10);
    need_smaps!();
    let map = memory(4, PRIVATE | MapFlags::LOCKED);
    assert_eq!(resident(map, 4), [true; 4]);
    shows!(map, "lo");
    let locked = smaps(map, map.wrapping_add(1))[0].1["Locked"].clone();
    answers!(
        format!("{} kB", 4 * page() / 1024), locked,
        qemu 8.. => "0 kB".to_owned(), "smaps is made up, and tells of nothing locked"
    );
    // SAFETY: unlocking changes no memory.
    unsafe { munlock(map, 4 * page()) }.unwrap();
    hides!(map, "lo");
}

#[test]
fn populated_memory_is_resident_at_once_and_other_memory_once_it_is_touched() {
    let map = memory(4, PRIVATE);
    assert_eq!(resident(map, 4), [false; 4]);
    let populated = memory(4, PRIVATE | MapFlags::POPULATE);
    answers!(
        vec![true; 4], resident(populated, 4),
        qemu ..8 => vec![false; 4], "POPULATE is dropped"
    );
    // SAFETY: a page of ours.
    unsafe { map.add(page()).write(1) };
    assert_eq!(resident(map, 4), [false, true, false, false]);
}

#[test]
fn nonblock_turns_populate_off() {
    let map = memory(4, PRIVATE | MapFlags::POPULATE | MapFlags::NONBLOCK);
    assert_eq!(resident(map, 4), [false; 4]);
}

#[test]
fn noreserve_memory_is_not_accounted_for_but_under_strict_accounting() {
    need_smaps!();
    let (plain, map) = (memory(1, PRIVATE), memory(1, PRIVATE | MapFlags::NORESERVE));
    hides!(plain, "nr");
    let strict = std::fs::read_to_string("/proc/sys/vm/overcommit_memory").unwrap().trim() == "2";
    if strict {
        hides!(map, "nr");
    } else {
        shows!(map, "nr");
    }
}

#[test]
fn denywrite_is_ignored_and_the_file_can_be_written() {
    let (path, mut file) = named_temp_file();
    file.set_len(page() as u64).unwrap();
    let seen = map(&file, page(), Prot::READ, SHARED | MapFlags::DENYWRITE, 0).unwrap();
    file.write_all(b"a").unwrap();
    assert_eq!(bytes(seen, 1), *b"a");
    std::fs::write(&path, b"b").unwrap();
    assert_eq!(bytes(seen, 1), *b"b");
    std::fs::remove_file(path).unwrap();
}

#[test]
fn executable_is_ignored_and_the_code_cannot_run() {
    let code = map(&code_file(), page(), Prot::READ, PRIVATE | MapFlags::EXECUTABLE, 0).unwrap();
    assert_eq!(running(code), SEGV);
    // The code is code: it is the protection that lets it run.
    // SAFETY: a mapping of ours.
    unsafe { mprotect(code, page(), Prot::READ | Prot::EXEC) }.unwrap();
    assert_eq!(running(code), End::Exit(42));
}

#[test]
fn uninitialized_is_ignored_and_the_memory_reads_as_zeroes() {
    let dirty = written(16);
    // SAFETY: pages of ours; the next mapping likely gets the same ones.
    unsafe { munmap(dirty, 16 * page()) }.unwrap();
    let map = memory(16, PRIVATE | MapFlags::UNINITIALIZED);
    // SAFETY: sixteen pages of ours.
    let all = unsafe { std::slice::from_raw_parts(map, 16 * page()) };
    assert!(all.iter().all(|byte| *byte == 0));
}

#[test]
fn unknown_flags_are_ignored_without_shared_validate() {
    let file = file_of_pages(1);
    for flag in [0x200, 0x20_0000, 1 << 40].map(MapFlags::from_bits) {
        for sharing in [SHARED, PRIVATE] {
            assert_eq!(bytes(map(&file, page(), RW, sharing | flag, 0).unwrap(), 1), [1]);
            memory(1, sharing | flag);
        }
    }
}

#[test]
fn sync_without_shared_validate_is_ignored_but_by_some_file_systems() {
    let file = file_of_pages(1);
    for sharing in [SHARED, PRIVATE].map(|sharing| sharing | MapFlags::SYNC) {
        map(&memfd(page() as u64), page(), RW, sharing, 0).unwrap();
        memory(1, sharing);
        // Only its SHARED_VALIDATE check is mmap's own; ext4_file_mmap has another.
        if file_system(&file) == libc::EXT4_SUPER_MAGIC {
            let got = map(&file, page(), RW, sharing, 0);
            refused!(EOPNOTSUPP, got, qemu _ => Ok(()), "MAP_SYNC is dropped");
        }
    }
}

#[test]
fn shared_validate_shares_the_file_as_shared_does() {
    let file = file_of_pages(1);
    let shared = map(&file, page(), RW, SHARED, 0).unwrap();
    let validated = match map(&file, page(), RW, MapFlags::SHARED_VALIDATE, 0) {
        Err(Errno::EINVAL) if qemu_before(8) => return departure!("SHARED_VALIDATE is not known"),
        validated => validated.unwrap(),
    };
    // SAFETY: a page of ours.
    unsafe { validated.write_volatile(7) };
    assert_eq!(bytes(shared, 1), [7]);
}

#[test]
fn stack_memory_keeps_huge_pages_away_since_6_7() {
    need_smaps!();
    let map = memory(1, PRIVATE | MapFlags::STACK);
    hides!(memory(1, PRIVATE), "nh");
    if kernel() >= (6, 7) && have(HUGEPAGES) && emulator().is_none() {
        shows!(map, "nh");
    } else if emulator().is_some() {
        hides!(map, "nh");
        departure!("MAP_STACK is dropped");
    } else {
        hides!(map, "nh");
    }
}

/// A mapping that grows down, of so many pages, above a hole wide enough for it to grow into.
/// For [`alone`] only.
fn growing(pages: usize) -> *mut u8 {
    // The kernel keeps 256 pages (stack_guard_gap) between it and the next mapping below.
    let hole = 1024 * page();
    let place = anonymous(hole + pages * page(), Prot::NONE);
    // SAFETY: a range of ours that nothing refers to.
    unsafe {
        munmap(place, hole + pages * page()).unwrap();
        let flags = PRIVATE | FIXED | MapFlags::GROWSDOWN;
        mmap_anonymous(place.add(hole), pages * page(), RW, flags).unwrap()
    }
}

#[test]
fn growsdown_memory_grows_when_the_page_below_it_is_touched() {
    alone(|| {
        let map = growing(1);
        let below = map.wrapping_sub(page());
        let touched = writing(below);
        if emulator().is_some() {
            assert!(touched == OK || touched == SEGV, "{touched:?}");
            return departure!("it is up to chance whether memory grows down");
        }
        assert_eq!(touched, OK);
        // SAFETY: what is touched is ours.
        unsafe { below.write(1) };
        assert_eq!(resident(below, 2), [true, false]);
    });
}

#[test]
fn protecting_growsdown_memory_with_growsdown_protects_it_from_its_start() {
    alone(|| {
        let map = growing(3);
        // SAFETY: a mapping of ours that nothing refers to.
        let last = unsafe { mprotect(map.add(2 * page()), page(), Prot::READ | Prot::GROWSDOWN) };
        answers!(
            Ok(()), last,
            qemu _ => Err(Errno::EINVAL), "PROT_GROWSDOWN is not known"
        );
        if emulator().is_some() {
            return assert_eq!(writing(map), OK);
        }
        assert_eq!(writing(map), SEGV);
        assert_eq!(reading(map), OK);
    });
}

#[test]
fn hugetlb_memory_comes_from_the_pool_and_is_enomem_where_it_has_none() {
    let Some(huge) = huge_page() else {
        return skip!("the kernel has no huge-page pool (CONFIG_HUGETLB_PAGE)");
    };
    let hugetlb = |len, flags| {
        // SAFETY: a new mapping, which nothing else refers to.
        unsafe { mmap_anonymous(null_mut(), len, RW, PRIVATE | MapFlags::HUGETLB | flags) }
    };
    let too_much = hugetlb(1 << 42, MapFlags::FILE);
    refused!(ENOMEM, too_much, qemu ..8 => Err(Errno::EINVAL), "there are no huge pages");
    if qemu_before(8) {
        return;
    }
    // Mapped by the child that writes it: what its parent has reserved, a child may have to do without.
    alone(|| {
        if let Ok(map) = hugetlb(huge, MapFlags::FILE) {
            assert_eq!(map.addr() % huge, 0);
            // SAFETY: mapped just now, and the pages are reserved.
            unsafe { map.write(1) };
        }
    });
    // Unreserved memory is had without a pool; it is touching it that takes the pages.
    let map = hugetlb(page(), MapFlags::NORESERVE).unwrap();
    assert_eq!(map.addr() % huge, 0);
}

#[test]
fn droppable_memory_is_wiped_in_a_forked_child_and_not_dumped() {
    need_lockable!(64 << 10);
    need_smaps!();
    // SAFETY: a new mapping, which nothing else refers to.
    let map = unsafe { mmap_anonymous(null_mut(), page(), RW, MapFlags::DROPPABLE) };
    let map = match map {
        Err(Errno::EINVAL) if emulator().is_some() => return departure!("DROPPABLE is not known"),
        Err(Errno::EINVAL) if kernel() < (6, 11) => return skip!("DROPPABLE came with Linux 6.11"),
        map => map.unwrap(),
    };
    fill(map, 1);
    assert_eq!(bytes_in_a_child(map, &[0]), OK);
    for flag in ["dp", "wf", "dd", "nr"] {
        shows!(map, flag);
    }
    for advice in [Advice::KEEPONFORK, Advice::DODUMP] {
        refused!(EINVAL, advise(map, 1, advice));
    }
    for flag in [MapFlags::LOCKED, MapFlags::GROWSDOWN] {
        // SAFETY: nothing is mapped.
        refused!(EINVAL, unsafe {
            mmap_anonymous(null_mut(), page(), RW, MapFlags::DROPPABLE | flag)
        });
    }
}

// ---- msync ----

#[test]
fn msync_takes_no_flag_and_each_that_agrees() {
    let map = map(&file_of_pages(1), page(), RW, SHARED, 0).unwrap();
    let (sync, asynchronous) = (MsyncFlags::SYNC, MsyncFlags::ASYNC);
    let invalidate = MsyncFlags::INVALIDATE;
    for flags in [
        MsyncFlags::default(),
        sync,
        asynchronous,
        invalidate,
        sync | invalidate,
        asynchronous | invalidate,
    ] {
        // SAFETY: msync changes no memory.
        assert_eq!(unsafe { msync(map, page(), flags) }, Ok(()), "{flags:?}");
    }
}

#[test]
fn msync_sync_cleans_dirty_pages_and_async_leaves_them() {
    need_smaps!();
    let file = file_of_pages(1);
    if [libc::TMPFS_MAGIC, RAMFS_MAGIC].contains(&file_system(&file)) {
        return skip!("the temporary files are on no disk to which they could be written back");
    }
    file.sync_all().unwrap();
    let map = map(&file, page(), RW, SHARED, 0).unwrap();
    // SAFETY: a page of ours.
    unsafe { map.write_volatile(7) };
    let dirty = || {
        let fields = &smaps(map, map.wrapping_add(1))[0].1;
        fields["Shared_Dirty"] != "0 kB" || fields["Private_Dirty"] != "0 kB"
    };
    if qemu().is_some_and(|version| version >= 8) {
        return departure!("smaps is made up, and tells of nothing dirty");
    }
    // SAFETY: msync changes no memory.
    unsafe {
        msync(map, page(), MsyncFlags::ASYNC).unwrap();
        assert!(dirty());
        msync(map, page(), MsyncFlags::SYNC).unwrap();
        assert!(!dirty());
    }
}

/// The number that tells what kind of file system the file is of.
fn file_system(file: &std::fs::File) -> i64 {
    let mut about = std::mem::MaybeUninit::<libc::statfs>::uninit();
    // SAFETY: the place is written when the call succeeds.
    unsafe {
        assert_eq!(libc::fstatfs(file.as_raw_fd(), about.as_mut_ptr()), 0);
        about.assume_init().f_type
    }
}

// ---- mremap ----

#[test]
fn mremap_grows_in_place_where_there_is_room_and_shrinks_in_place() {
    alone(|| {
        let map = written(3);
        // SAFETY: pages of ours that nothing refers to.
        unsafe {
            munmap(map.add(page()), 2 * page()).unwrap();
            let none = MremapFlags::default();
            let grown = mremap(map, page(), 3 * page(), none, null_mut());
            assert_eq!(grown, Ok(map));
            assert_eq!(bytes(map, 3), [1, 0, 0]);
            let shrunk = mremap(map, 3 * page(), page(), none, null_mut());
            assert_eq!(shrunk, Ok(map));
        }
        assert_eq!(reading(map), OK);
        assert_eq!(reading(map.wrapping_add(page())), SEGV);
    });
}

#[test]
fn mremap_maymove_moves_what_cannot_grow_with_its_contents() {
    alone(|| {
        let map = written(2);
        // SAFETY: pages of ours that nothing refers to.
        let moved = unsafe { mremap(map, page(), 3 * page(), MAYMOVE, null_mut()) }.unwrap();
        assert_ne!(moved, map);
        assert_eq!(bytes(moved, 3), [1, 0, 0]);
        // Only the first page was moved away from.
        assert_eq!(reading(map), SEGV);
        assert_eq!(reading(map.wrapping_add(page())), OK);
    });
}

#[test]
fn mremap_fixed_moves_to_exactly_there_and_replaces_what_is_there() {
    alone(|| {
        let (map, there) = (written(1), written(3));
        let flags = MAYMOVE | MremapFlags::FIXED;
        // SAFETY: pages of ours that nothing refers to.
        let moved = unsafe { mremap(map, page(), page(), flags, there.add(page())) };
        assert_eq!(moved, Ok(there.wrapping_add(page())));
        assert_eq!(bytes(there, 3), [1, 1, 3]);
        assert_eq!(reading(map), SEGV);
    });
}

#[test]
fn mremap_dontunmap_leaves_the_old_range_mapped_and_empty() {
    let map = written(2);
    let flags = MAYMOVE | MremapFlags::DONTUNMAP;
    // SAFETY: pages of ours that nothing refers to.
    let moved = unsafe { mremap(map, 2 * page(), 2 * page(), flags, null_mut()) }.unwrap();
    assert_ne!(moved, map);
    assert_eq!(bytes(moved, 2), [1, 2]);
    assert_eq!(bytes(map, 2), [0, 0]);
}

#[test]
fn mremap_dontunmap_takes_the_fifth_argument_for_a_hint_so_it_is_always_passed() {
    alone(|| {
        let map = written(1);
        let hole = anonymous(page(), RW);
        let flags = MAYMOVE | MremapFlags::DONTUNMAP;
        // SAFETY: pages of ours that nothing refers to.
        unsafe {
            munmap(hole, page()).unwrap();
            let hinted = mremap(map, page(), page(), flags, hole);
            if emulator().is_some() {
                assert_ne!(hinted, Ok(hole));
                departure!("mremap takes no hint");
            } else {
                assert_eq!(hinted, Ok(hole));
            }
            // What the register was left with is no hint of the next call's.
            let first = mremap(hinted.unwrap(), page(), page(), flags, null_mut()).unwrap();
            let second = mremap(first, page(), page(), flags, null_mut()).unwrap();
            assert!(![map, hole, first].contains(&second));
            assert_eq!(bytes(second, 1), [1]);
        }
    });
}

#[test]
fn mremap_of_no_bytes_of_shared_memory_maps_it_a_second_time() {
    let map = memory(2, SHARED);
    fill(map, 2);
    // SAFETY: pages of ours that nothing refers to.
    let second = match unsafe { mremap(map, 0, 2 * page(), MAYMOVE, null_mut()) } {
        Err(Errno::ENOMEM) if qemu_before(11) => {
            return departure!("a range of no page counts as not mapped");
        }
        second => second.unwrap(),
    };
    assert_ne!(second, map);
    assert_eq!(bytes(second, 2), [1, 2]);
    // SAFETY: as above.
    unsafe { second.write_volatile(7) };
    assert_eq!(bytes(map, 2), [7, 2]);
}

// ---- mlock, mlock2, mlockall ----

#[test]
fn mlock_makes_resident_every_page_with_a_byte_of_the_range_and_one_munlock_undoes_two() {
    need_lockable!(64 << 10);
    need_smaps!();
    let map = anonymous(3 * page(), RW);
    // SAFETY: locking changes no memory.
    unsafe {
        mlock(map.add(page() - 1), 2).unwrap();
        mlock(map.add(page() - 1), 2).unwrap();
        assert_eq!(resident(map, 3), [true, true, false]);
        shows!(map, "lo");
        hides!(map.add(2 * page()), "lo");
        munlock(map.add(1), page()).unwrap();
    }
    hides!(map, "lo");
}

#[test]
fn mlock2_onfault_locks_each_page_once_it_is_touched() {
    need_lockable!(64 << 10);
    need_smaps!();
    let map = anonymous(2 * page(), RW);
    // SAFETY: locking changes no memory.
    match unsafe { mlock2(map, 2 * page(), MlockFlags::ONFAULT) } {
        Err(Errno::ENOSYS) if qemu_before(11) => return departure!("there is no mlock2"),
        done => done.unwrap(),
    }
    assert_eq!(resident(map, 2), [false; 2]);
    shows!(map, "lo");
    // SAFETY: a page of ours.
    unsafe { map.write(1) };
    assert_eq!(resident(map, 2), [true, false]);
}

#[test]
fn mlock2_without_a_flag_is_mlock() {
    need_lockable!(64 << 10);
    let map = anonymous(2 * page(), RW);
    // SAFETY: locking changes no memory.
    match unsafe { mlock2(map, 2 * page(), MlockFlags::default()) } {
        Err(Errno::ENOSYS) if qemu_before(11) => return departure!("there is no mlock2"),
        done => done.unwrap(),
    }
    assert_eq!(resident(map, 2), [true; 2]);
}

/// What `mlockall` with these flags makes resident: what was mapped before, and what is after;
/// then, after `munlockall`, what is mapped later still.
fn locked_by(flags: MlockAllFlags) -> [bool; 3] {
    let before = anonymous(page(), RW);
    // SAFETY: the child locks itself.
    unsafe { mlockall(flags) }.unwrap();
    let after = anonymous(page(), RW);
    let here = [resident(before, 1)[0], resident(after, 1)[0]];
    // SAFETY: as above.
    unsafe { munlockall() }.unwrap();
    // Its own page, lest it be part of a mapping with the others.
    let later = memory(1, SHARED);
    [here[0], here[1], resident(later, 1)[0]]
}

#[test]
fn mlockall_current_locks_what_is_mapped_and_future_what_will_be() {
    if !has_right(CAP_IPC_LOCK) {
        return skip!("all of a process is more than one may lock without CAP_IPC_LOCK");
    }
    let (current, future) = (MlockAllFlags::CURRENT, MlockAllFlags::FUTURE);
    for (flags, expected) in [
        (current, [true, false, false]),
        (future, [false, true, false]),
        (current | future, [true, true, false]),
        (current | future | MlockAllFlags::ONFAULT, [false, false, false]),
    ] {
        alone(|| assert_eq!(locked_by(flags), expected, "{flags:?}"));
    }
}

#[test]
fn mlockall_onfault_locks_what_is_mapped_without_making_it_resident() {
    need_smaps!();
    if !has_right(CAP_IPC_LOCK) {
        return skip!("all of a process is more than one may lock without CAP_IPC_LOCK");
    }
    alone(|| {
        let map = memory(1, SHARED);
        hides!(map, "lo");
        // SAFETY: the child locks itself.
        unsafe { mlockall(MlockAllFlags::CURRENT | MlockAllFlags::ONFAULT) }.unwrap();
        shows!(map, "lo");
        assert_eq!(resident(map, 1), [false]);
        // SAFETY: as above.
        unsafe { munlockall() }.unwrap();
        hides!(map, "lo");
    });
}

// ---- madvise ----

#[test]
fn the_advice_that_the_kernel_knows_is_told_without_a_mapping() {
    let anywhere = |advice| {
        // SAFETY: a range of length 0 holds no memory.
        unsafe { madvise(null_mut(), 0, advice) }
    };
    let always = [
        Advice::NORMAL,
        Advice::RANDOM,
        Advice::SEQUENTIAL,
        Advice::WILLNEED,
        Advice::DONTNEED,
        Advice::FREE,
        Advice::REMOVE,
        Advice::DONTFORK,
        Advice::DOFORK,
        Advice::DONTDUMP,
        Advice::DODUMP,
        Advice::WIPEONFORK,
        Advice::KEEPONFORK,
        Advice::COLD,
        Advice::PAGEOUT,
        Advice::POPULATE_READ,
        Advice::POPULATE_WRITE,
        Advice::DONTNEED_LOCKED,
    ];
    for advice in always {
        assert_eq!(anywhere(advice), Ok(()), "{advice:?}");
    }
    let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap();
    for (advice, known) in [
        (Advice::MERGEABLE, have("/sys/kernel/mm/ksm")),
        (Advice::UNMERGEABLE, have("/sys/kernel/mm/ksm")),
        (Advice::HUGEPAGE, have(HUGEPAGES)),
        (Advice::NOHUGEPAGE, have(HUGEPAGES)),
        (Advice::COLLAPSE, have(HUGEPAGES)),
        // CONFIG_MEMORY_FAILURE
        (Advice::HWPOISON, meminfo.contains("HardwareCorrupted:")),
        (Advice::SOFT_OFFLINE, meminfo.contains("HardwareCorrupted:")),
        (Advice::GUARD_INSTALL, kernel() >= (6, 13)),
        (Advice::GUARD_REMOVE, kernel() >= (6, 13)),
    ] {
        if known {
            assert_eq!(anywhere(advice), Ok(()), "{advice:?}");
        } else {
            refused!(
                EINVAL, anywhere(advice),
                qemu _ => Ok(()), "any advice about no page is fine"
            );
        }
    }
}

#[test]
fn advice_that_is_kept_shows_in_the_mapping_until_it_is_undone() {
    need_smaps!();
    for (advice, flag, undo, configured) in [
        (Advice::SEQUENTIAL, "sr", Advice::NORMAL, true),
        (Advice::RANDOM, "rr", Advice::NORMAL, true),
        (Advice::DONTFORK, "dc", Advice::DOFORK, true),
        (Advice::DONTDUMP, "dd", Advice::DODUMP, true),
        (Advice::WIPEONFORK, "wf", Advice::KEEPONFORK, true),
        (Advice::MERGEABLE, "mg", Advice::UNMERGEABLE, have("/sys/kernel/mm/ksm")),
        (Advice::HUGEPAGE, "hg", Advice::NOHUGEPAGE, have(HUGEPAGES)),
        (Advice::NOHUGEPAGE, "nh", Advice::HUGEPAGE, have(HUGEPAGES)),
    ] {
        if !configured {
            skip!("the kernel is built without {advice:?}");
            continue;
        }
        let map = memory(1, PRIVATE);
        hides!(map, flag);
        if emulator().is_some() {
            // Which of them it takes differs by version; it keeps none.
            let taken = advise(map, 1, advice);
            assert!(matches!(taken, Ok(()) | Err(Errno::EINVAL)), "{taken:?}");
            hides!(map, flag);
            departure!("smaps has nothing of {advice:?}");
            continue;
        }
        advise(map, 1, advice).unwrap();
        shows!(map, flag);
        advise(map, 1, undo).unwrap();
        hides!(map, flag);
    }
}

#[test]
fn dontneed_drops_private_pages_and_leaves_shared_ones() {
    let file = file_of_pages(2);
    let private = map(&file, 2 * page(), RW, PRIVATE, 0).unwrap();
    let shared = memory(2, SHARED);
    let anonymous = written(2);
    fill(shared, 2);
    for (map, expected) in [(anonymous, [0, 0]), (private, [1, 2]), (shared, [9, 9])] {
        // SAFETY: two pages of ours.
        unsafe { map.write_bytes(9, 2 * page()) };
        assert_eq!(advise(map, 2, Advice::DONTNEED), Ok(()));
        assert_eq!(bytes(map, 2), expected);
    }
    assert_eq!(resident(anonymous, 2), [true; 2], "reading makes resident");
    advise(anonymous, 2, Advice::DONTNEED).unwrap();
    assert_eq!(resident(anonymous, 2), [false; 2]);
}

#[test]
fn dontneed_locked_drops_locked_pages_too() {
    need_lockable!(64 << 10);
    let map = written(2);
    // SAFETY: locking changes no memory.
    unsafe { mlock(map, 2 * page()) }.unwrap();
    lacking_in_qemu!(Advice::DONTNEED_LOCKED, map, 2, bytes(map, 2) == [1, 2]);
    assert_eq!(advise(map, 2, Advice::DONTNEED_LOCKED), Ok(()));
    assert_eq!(bytes(map, 2), [0, 0]);
}

#[test]
fn free_leaves_pages_as_they_were_or_zero_until_they_are_written() {
    let map = written(2);
    assert_eq!(advise(map, 2, Advice::FREE), Ok(()));
    let now = bytes(map, 2);
    assert!(now.iter().zip([1, 2]).all(|(is, was)| *is == 0 || *is == was), "{now:?}");
    // SAFETY: a page of ours.
    unsafe { map.write_volatile(7) };
    assert_eq!(bytes(map, 1), [7]);
}

#[test]
fn remove_punches_a_hole_in_the_file_under_a_shared_mapping() {
    let mut file = file_of_pages(3);
    let map = map(&file, 3 * page(), RW, SHARED, 0).unwrap();
    let got = advise(map.wrapping_add(page()), 1, Advice::REMOVE);
    if let Some(version) = qemu() {
        assert_eq!(got, if version < 11 { Ok(()) } else { Err(Errno::EOPNOTSUPP) });
        assert_eq!(bytes(map, 3), [1, 2, 3]);
        return departure!("MADV_REMOVE does nothing");
    }
    assert_eq!(got, Ok(()));
    assert_eq!(bytes(map, 3), [1, 0, 3]);
    let mut all = Vec::new();
    file.rewind().unwrap();
    file.read_to_end(&mut all).unwrap();
    assert_eq!(all.len(), 3 * page());
    assert!(all[page()..2 * page()].iter().all(|byte| *byte == 0));
}

#[test]
fn wipeonfork_memory_reads_as_zeroes_in_a_forked_child_until_keeponfork() {
    let map = written(2);
    advise(map, 2, Advice::WIPEONFORK).unwrap();
    let wiped = bytes_in_a_child(map, &[0, 0]);
    answers!(OK, wiped, qemu ..8 => End::Exit(1), "MADV_WIPEONFORK does nothing");
    assert_eq!(bytes(map, 2), [1, 2]);
    advise(map, 2, Advice::KEEPONFORK).unwrap();
    assert_eq!(bytes_in_a_child(map, &[1, 2]), OK);
}

#[test]
fn dontfork_memory_is_not_there_in_a_forked_child_until_dofork() {
    let map = written(1);
    lacking_in_qemu!(Advice::DONTFORK, map, 1, reading(map) == OK);
    advise(map, 1, Advice::DONTFORK).unwrap();
    assert_eq!(reading(map), SEGV);
    advise(map, 1, Advice::DOFORK).unwrap();
    assert_eq!(reading(map), OK);
}

#[test]
fn populate_read_and_write_make_pages_resident_at_once() {
    for advice in [Advice::POPULATE_READ, Advice::POPULATE_WRITE] {
        let map = memory(2, PRIVATE);
        lacking_in_qemu!(advice, map, 2, resident(map, 2) == [false; 2]);
        assert_eq!(advise(map, 2, advice), Ok(()));
        assert_eq!(resident(map, 2), [true; 2], "{advice:?}");
    }
}

#[test]
fn a_guard_makes_pages_inaccessible_and_empty_without_a_mapping_of_their_own() {
    let map = written(3);
    let middle = map.wrapping_add(page());
    lacking_in_qemu!(Advice::GUARD_INSTALL, middle, 1, bytes(map, 3) == [1, 2, 3]);
    match advise(middle, 1, Advice::GUARD_INSTALL) {
        Err(Errno::EINVAL) if kernel() < (6, 13) => {
            return skip!("MADV_GUARD_INSTALL came with Linux 6.13");
        }
        got => assert_eq!(got, Ok(())),
    }
    assert_eq!(reading(middle), SEGV);
    assert_eq!(writing(middle), SEGV);
    assert_eq!(reading(map), OK);
    if have("/proc/self/smaps") {
        assert_eq!(smaps(map, map.wrapping_add(3 * page())).len(), 1);
    }
    assert_eq!(advise(map, 3, Advice::GUARD_REMOVE), Ok(()));
    assert_eq!(bytes(map, 3), [1, 0, 3]);
}

#[test]
fn cold_and_pageout_leave_the_contents() {
    let file = file_of_pages(2);
    for memory in [written(2), map(&file, 2 * page(), RW, SHARED, 0).unwrap()] {
        for advice in [Advice::COLD, Advice::PAGEOUT] {
            assert_eq!(advise(memory, 2, advice), Ok(()));
            assert_eq!(bytes(memory, 2), [1, 2]);
        }
    }
}

#[test]
fn willneed_reads_the_file_ahead() {
    let file = file_of_pages(4);
    let map = map(&file, 4 * page(), Prot::READ, SHARED, 0).unwrap();
    file.sync_all().unwrap();
    let drop_cache =
        // SAFETY: a plain call.
        || unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
    assert_eq!(drop_cache(), 0);
    if resident(map, 4) != [false; 4] {
        return skip!("the temporary files can't be dropped from memory");
    }
    assert_eq!(advise(map, 4, Advice::WILLNEED), Ok(()));
    if emulator().is_some() {
        assert_eq!(resident(map, 4), [false; 4]);
        return departure!("MADV_WILLNEED does nothing");
    }
    let start = std::time::Instant::now();
    while resident(map, 4) != [true; 4] {
        assert!(start.elapsed().as_secs() < 10, "{:?}", resident(map, 4));
        std::thread::yield_now();
    }
}

#[test]
fn collapse_makes_a_huge_page_at_once_and_keeps_the_contents() {
    need_smaps!();
    let Ok(size) = std::fs::read_to_string(format!("{HUGEPAGES}/hpage_pmd_size")) else {
        return skip!("the kernel has no transparent huge pages");
    };
    let size: usize = size.trim().parse().unwrap();
    if size > 32 << 20 {
        return skip!("huge pages are of {} MiB here", size >> 20);
    }
    let whole = anonymous(2 * size, RW);
    let map = whole.wrapping_add(whole.addr().wrapping_neg() % size);
    fill(map, size / page());
    let expected: Vec<u8> = (0..size / page()).map(nth).collect();
    let unchanged = || bytes(map, size / page()) == expected;
    lacking_in_qemu!(Advice::COLLAPSE, map, size / page(), unchanged());
    match advise(map, size / page(), Advice::COLLAPSE) {
        Err(errno @ (Errno::ENOMEM | Errno::EAGAIN | Errno::EBUSY)) => {
            return skip!("the kernel could not make a huge page: {errno}");
        }
        got => assert_eq!(got, Ok(())),
    }
    let huge = smaps(map, map.wrapping_add(1))[0].1["AnonHugePages"].clone();
    assert_ne!(huge, "0 kB");
    assert!(unchanged());
}
