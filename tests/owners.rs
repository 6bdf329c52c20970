//! `Mapping`: what it owns, what each method does to the bytes, and what it gives back.
mod common;
use common::*;
use rawmap::{
    Access, Advice, Cursor, DualMapping, Errno, Error, Guarded, MapFlags, MapOptions, Mapping,
    MsyncFlags, PageAlloc, Placed, Prot, Purged, Raw, ReadOnly, ReadWrite, Reservation, Ring,
    Sealed, Stack,
};
use static_assertions::{assert_impl_all, assert_not_impl_any};
use std::io::{Read, Seek, Write};
use std::ops::{Deref, DerefMut};
use std::os::fd::{AsRawFd, FromRawFd};

fn anon(pages: usize) -> Mapping {
    MapOptions::new(pages * page()).anonymous().unwrap()
}

fn raw(pages: usize) -> Mapping<Raw> {
    anon(pages).into_raw_access()
}

/// Whether all of these bytes are mapped.
fn is_mapped(at: *mut u8, len: usize) -> bool {
    // SAFETY: msync changes no memory.
    unsafe { rawmap::msync(at, len, MsyncFlags::ASYNC) }.is_ok()
}

/// Bytes of a raw mapping.
fn byte(map: &Mapping<Raw>, offset: usize) -> u8 {
    assert!(offset < map.len());
    // SAFETY: within the mapping, which the test made readable.
    unsafe { map.as_ptr().add(offset).read_volatile() }
}

fn set(map: &Mapping<Raw>, offset: usize, value: u8) {
    assert!(offset < map.len());
    // SAFETY: as above, and writable.
    unsafe { map.as_ptr().add(offset).write_volatile(value) };
}

#[test]
fn a_new_mapping_is_a_slice_of_zeroes_of_the_length_asked_for() {
    let mut map = MapOptions::new(2 * page() + 1).anonymous().unwrap();
    assert_eq!((map.len(), map.mapped_len()), (2 * page() + 1, 3 * page()));
    assert_eq!((map[..].len(), map.granule().bytes()), (map.len(), page()));
    assert!(map.iter().all(|byte| *byte == 0));
    map.fill(0xa5);
    assert!(map.iter().all(|byte| *byte == 0xa5));
}

#[test]
fn a_dropped_mapping_is_unmapped_whole_and_alone() {
    alone(|| {
        let (before, map, after) = neighbours(3);
        let at = map.as_ptr();
        let mut space = Space::new();
        drop(map);
        space.look();
        assert!(space.lacks(at, 3 * page()));
        assert!(space.has(before.as_ptr(), page()) && space.has(after.as_ptr(), page()));
    });
}

/// A mapping between two others, without a gap.
fn neighbours(pages: usize) -> (Mapping, Mapping, Mapping) {
    let (before, rest) = anon(pages + 2).split_at(page()).unwrap();
    let (map, after) = rest.split_at(pages * page()).unwrap();
    (before, map, after)
}

#[test]
fn an_unmapped_mapping_is_gone_at_once() {
    alone(|| {
        let map = anon(2);
        let at = map.as_ptr();
        map.unmap().unwrap();
        assert_eq!(reading(at), SEGV);
    });
}

#[test]
fn a_read_only_mapping_is_readable_and_a_write_is_a_fault() {
    let map = MapOptions::new(page()).read_only().anonymous().unwrap();
    assert!(map.iter().all(|byte| *byte == 0));
    assert_eq!(writing(map.as_ptr()), SEGV);
}

#[test]
fn a_file_is_a_slice_of_its_bytes() {
    let file = file_of_pages(3);
    // SAFETY: nobody else has the file.
    let map =
        unsafe { MapOptions::new(2 * page()).read_only().file(file.as_raw_fd(), page() as u64) };
    let map = map.unwrap();
    assert_eq!((map[0], map[page() - 1], map[page()]), (2, 2, 3));
}

#[test]
fn a_private_file_mapping_is_written_without_the_file() {
    let mut file = file_of_pages(1);
    // SAFETY: nobody else has the file.
    let mut map = unsafe { MapOptions::new(page()).file(file.as_raw_fd(), 0) }.unwrap();
    map[0] = 99;
    let mut read = [0];
    file.rewind().unwrap();
    file.read_exact(&mut read).unwrap();
    assert_eq!((map[0], read[0]), (99, 1));
}

#[test]
fn a_shared_file_mapping_is_synced_to_the_file() {
    let mut file = file_of_pages(2);
    // SAFETY: nobody else has the file.
    let map = unsafe { MapOptions::new(2 * page()).shared().file(file.as_raw_fd(), 0) }.unwrap();
    set(&map, page(), 99);
    for flags in [MsyncFlags::SYNC, MsyncFlags::ASYNC, MsyncFlags::SYNC | MsyncFlags::INVALIDATE] {
        map.sync(page(), page(), flags).unwrap();
    }
    let mut read = Vec::new();
    file.rewind().unwrap();
    file.read_to_end(&mut read).unwrap();
    assert_eq!((read[0], read[page()]), (1, 99));
}

#[test]
fn protection_is_set_for_a_range_in_whole_pages() {
    let map = raw(3);
    map.protect(page(), 1, Prot::READ).unwrap();
    let ends = [0, 1, 2].map(|n| writing(map.as_ptr().wrapping_add(n * page())));
    assert_eq!(ends, [OK, SEGV, OK]);
    assert_eq!(writing(map.as_ptr().wrapping_add(2 * page() - 1)), SEGV);
}

/// `PROT_GROWSDOWN` means all from the mapping's start on, be it another owner's.
#[test]
fn protection_of_more_than_the_range_is_refused() {
    let map = MapOptions::new(3 * page()).growsdown().anonymous().unwrap();
    let (first, second) = map.split_at(page()).unwrap();
    for prot in [Prot::GROWSDOWN, Prot::GROWSUP] {
        let refused = second.protect(0, page(), Prot::READ | prot);
        assert_eq!(refused, Err(Error::NotOffered));
    }
    assert_eq!(writing(first.as_ptr()), OK);
}

#[test]
fn advice_is_given_for_a_range() {
    let map = raw(2);
    set(&map, 0, 7);
    set(&map, page(), 7);
    for advice in [Advice::NORMAL, Advice::RANDOM, Advice::SEQUENTIAL, Advice::DONTDUMP] {
        map.advise(0, 2 * page(), advice).unwrap();
    }
    assert_eq!((byte(&map, 0), byte(&map, page())), (7, 7));
    // SAFETY: nothing refers to its bytes.
    unsafe { map.advise_any(page(), 1, Advice::DONTNEED) }.unwrap();
    assert_eq!((byte(&map, 0), byte(&map, page())), (7, 0));
}

/// In a forked child there would be nothing, and its owner would unmap what comes to lie there.
#[test]
fn advice_that_changes_contents_or_takes_memory_from_a_child_is_not_offered() {
    let map = raw(2);
    set(&map, 0, 7);
    for number in 0..120 {
        let advice = Advice::from_bits(number);
        match map.advise(0, 2 * page(), advice) {
            Err(Error::NotOffered) => {}
            Ok(()) | Err(Error::Refused { .. }) => assert_eq!(byte(&map, 0), 7, "{advice:?}"),
            Err(error) => panic!("{error}"),
        }
    }
    for advice in [Advice::DONTFORK, Advice::WIPEONFORK, Advice::FREE, Advice::GUARD_INSTALL] {
        assert_eq!(map.advise(0, 1, advice), Err(Error::NotOffered), "{advice:?}");
    }
}

#[test]
fn locking_and_unlocking_show_in_smaps() {
    if emulator().is_some() {
        skip!("the emulator's smaps are not the program's");
        return;
    }
    alone(|| {
        let map = anon(4);
        let end = map.as_ptr().wrapping_add(map.len());
        let locked = || {
            let of = |fields: std::collections::HashMap<String, String>| {
                fields["Locked"].strip_suffix(" kB").unwrap().parse::<usize>().unwrap() << 10
            };
            smaps(map.as_ptr(), end).into_iter().map(|(_, fields)| of(fields)).sum::<usize>()
        };
        map.lock(page(), 2 * page()).unwrap();
        assert_eq!(locked(), 2 * page());
        map.unlock(page(), 1).unwrap();
        assert_eq!(locked(), page());
        map.unlock(0, map.len()).unwrap();
        assert_eq!(locked(), 0);
    });
}

#[test]
fn pages_are_resident_when_they_were_touched() {
    // Not huge pages, of which one touch makes many resident.
    let map = raw(4);
    let _ = map.advise(0, 4 * page(), Advice::NOHUGEPAGE);
    set(&map, 2 * page(), 1);
    let mut room = [2; 6];
    let pages = map.resident(0, 3 * page() + 1, &mut room).unwrap();
    let pages: Vec<_> = pages.iter().map(|byte| byte & 1).collect();
    assert_eq!(pages, [0, 0, 1, 0]);
    assert_eq!(room[4..], [2, 2], "what is not needed is not written");
}

#[test]
fn residency_needs_a_byte_for_each_page() {
    let map = anon(4);
    let refused = map.resident(page(), 3 * page(), &mut [0; 2]).unwrap_err();
    assert_eq!(refused, Error::OutOfRange { offset: 0, len: 3, size: 2 });
    assert_eq!(map.resident(4 * page(), 0, &mut [0]).unwrap().len(), 0);
}

#[test]
fn populating_makes_pages_resident() {
    let map = anon(4);
    map.populate_write(page(), 2 * page()).unwrap();
    map.populate_read(3 * page(), page()).unwrap();
    let mut room = [0; 4];
    let pages = map.resident(0, map.len(), &mut room).unwrap();
    let resident = pages[1..].iter().all(|byte| byte & 1 == 1);
    answers!(true, resident, qemu ..11 => false, "MADV_POPULATE_* does nothing, and succeeds");
}

#[test]
fn populating_says_what_fails() {
    let map = MapOptions::new(page()).read_only().anonymous().unwrap();
    refused!(EINVAL, map.populate_write(0, page()).map_err(|it| it.errno()),
        qemu ..11 => Ok(()), "MADV_POPULATE_WRITE does nothing, and succeeds");
    let file = temp_file();
    // SAFETY: nothing reads the mapping, whose pages lie behind the end of the file.
    let map =
        unsafe { MapOptions::new(page()).prot(Prot::READ).file(file.as_raw_fd(), 0) }.unwrap();
    refused!(EFAULT, map.populate_read(0, page()).map_err(|it| it.errno()),
        qemu ..11 => Ok(()), "MADV_POPULATE_READ does nothing, and succeeds");
}

#[test]
fn purged_private_memory_is_zeroes_and_its_neighbours_are_not() {
    let mut map = anon(4);
    map.fill(7);
    assert_eq!(map.purge(page(), 2 * page()), Ok(Purged::Zeroes));
    let expected: Vec<u8> = [7, 0, 0, 7].iter().flat_map(|it| vec![*it; page()]).collect();
    assert!(map[..] == expected[..]);
}

#[test]
fn purged_locked_memory_is_zeroes_too() {
    let mut map = anon(2);
    map.lock(0, page()).unwrap();
    map.fill(7);
    assert_eq!(map.purge(0, map.len()), Ok(Purged::Zeroes));
    let zeroes = map.iter().all(|byte| *byte == 0);
    answers!(true, zeroes, qemu ..11 => false, "MADV_DONTNEED_LOCKED does nothing, and succeeds");
}

#[test]
fn purged_shared_anonymous_memory_is_zeroes_and_its_memory_free() {
    let mut map = MapOptions::new(4 * page()).shared().anonymous().unwrap();
    for n in 0..4 {
        set(&map, n * page(), 7);
    }
    assert_eq!(map.purge(page(), 2 * page()), Ok(Purged::Zeroes));
    let bytes = [0, 1, 2, 3].map(|n| byte(&map, n * page()));
    answers!([7, 0, 0, 7], bytes, qemu ..11 => [7; 4], "MADV_REMOVE does nothing, and succeeds");
}

#[test]
fn purged_shared_memory_is_zeroes_in_every_process() {
    let mut map = MapOptions::new(page()).shared().anonymous().unwrap();
    set(&map, 0, 7);
    let child = in_child(|| i32::from(map.purge(0, page()) != Ok(Purged::Zeroes)));
    assert_eq!(child, OK);
    answers!(0, byte(&map, 0), qemu ..11 => 7, "MADV_REMOVE does nothing, and succeeds");
}

#[test]
fn purging_locked_shared_memory_is_an_error_and_keeps_it() {
    let mut map = MapOptions::new(page()).shared().anonymous().unwrap();
    set(&map, 0, 7);
    map.lock(0, page()).unwrap();
    refused!(EINVAL, map.purge(0, page()).map_err(|it| it.errno()),
        qemu ..11 => Ok(()), "MADV_REMOVE does nothing, and succeeds");
    assert_eq!(byte(&map, 0), 7);
}

#[test]
fn a_purged_private_file_mapping_reads_as_the_file() {
    let file = file_of_pages(2);
    // SAFETY: nobody else has the file.
    let mut map = unsafe { MapOptions::new(2 * page()).file(file.as_raw_fd(), 0) }.unwrap();
    map.fill(99);
    assert_eq!(map.purge(page(), page()), Ok(Purged::File));
    assert_eq!((map[0], map[page()], map[2 * page() - 1]), (99, 2, 2));
    map.lock(0, page()).unwrap();
    assert_eq!(map.purge(0, 1), Ok(Purged::File));
    answers!(1, map[0], qemu ..11 => 99, "MADV_DONTNEED_LOCKED does nothing, and succeeds");
}

#[test]
fn a_purged_shared_file_mapping_is_as_it_was() {
    let file = file_of_pages(1);
    // SAFETY: nobody else has the file.
    let mut map = unsafe { MapOptions::new(page()).shared().file(file.as_raw_fd(), 0) }.unwrap();
    set(&map, 0, 99);
    assert_eq!(map.purge(0, page()), Ok(Purged::File));
    assert_eq!(byte(&map, 0), 99);
}

#[test]
fn after_an_overlay_a_purge_does_not_promise_zeroes() {
    let file = file_of_pages(1);
    let mut map = raw(2);
    set(&map, 0, 7);
    // SAFETY: nobody else has the file.
    unsafe { map.overlay(page(), page(), RW, MapFlags::PRIVATE, file.as_raw_fd(), 0) }.unwrap();
    set(&map, page(), 99);
    assert_eq!(map.purge(0, 2 * page()), Ok(Purged::Mixed));
    assert_eq!((byte(&map, 0), byte(&map, page())), (0, 1));
}

#[test]
fn a_hole_is_punched_through_mapping_and_file() {
    let mut file = memfd(2 * page() as u64);
    file.write_all(&vec![7; 2 * page()]).unwrap();
    // SAFETY: nobody else has the file.
    let map = unsafe { MapOptions::new(2 * page()).shared().file(file.as_raw_fd(), 0) }.unwrap();
    map.punch_hole(page(), 1).unwrap();
    let mut read = Vec::new();
    file.rewind().unwrap();
    file.read_to_end(&mut read).unwrap();
    let bytes = (byte(&map, page() - 1), byte(&map, 2 * page() - 1), read[2 * page() - 1]);
    answers!((7, 0, 0), bytes, qemu ..11 => (7, 7, 7), "MADV_REMOVE does nothing, and succeeds");
}

#[test]
fn growing_keeps_the_contents_and_the_rest_is_zeroes() {
    let mut map = anon(3);
    map.fill(7);
    map.grow(100 * page() + 5).unwrap();
    assert_eq!((map.len(), map.mapped_len()), (100 * page() + 5, 101 * page()));
    assert!(map[..3 * page()].iter().all(|byte| *byte == 7));
    assert!(map[3 * page()..].iter().all(|byte| *byte == 0));
    map.fill(8);
}

#[test]
fn growing_within_the_last_page_changes_the_length_alone() {
    let mut map = MapOptions::new(1).anonymous().unwrap();
    let at = map.as_ptr();
    map.grow(page()).unwrap();
    assert_eq!((map.as_ptr(), map.len()), (at, page()));
    map.grow(page()).unwrap();
    let refused = map.grow(page() - 1).unwrap_err();
    assert_eq!(refused, Error::TooShort { len: page() - 1, size: page() });
}

#[test]
fn a_grown_mapping_gives_back_its_old_place_and_all_of_its_new_one() {
    alone(|| {
        let (_before, mut map, _after) = neighbours(2);
        let old = map.as_ptr();
        map.grow(64 * page()).unwrap();
        let new = map.as_ptr();
        assert_ne!(old, new, "there was no room behind it");
        assert!(!is_mapped(old, page()) && !is_mapped(old.wrapping_add(page()), page()));
        let mut space = Space::new();
        drop(map);
        space.look();
        assert!(space.lacks(new, 64 * page()), "the new place is given back");
        assert!(space.lacks(old, 2 * page()), "and the old one");
    });
}

#[test]
fn growing_in_place_stays_there_or_is_enomem_and_changes_nothing() {
    alone(|| {
        let (_before, mut map, after) = neighbours(2);
        let at = map.as_ptr();
        map.fill(7);
        let refused = map.grow_in_place(3 * page()).unwrap_err();
        assert_eq!(refused.errno(), Errno::ENOMEM);
        assert_eq!((map.as_ptr(), map.len(), map[2 * page() - 1]), (at, 2 * page(), 7));
        drop(after);
        map.grow_in_place(3 * page()).unwrap();
        assert_eq!((map.as_ptr(), map.len()), (at, 3 * page()));
        assert!(map[2 * page()..].iter().all(|byte| *byte == 0));
    });
}

#[test]
fn growing_over_isize_max_is_refused_and_growing_beyond_memory_is_enomem() {
    let mut map = anon(1);
    for len in [isize::MAX as usize, isize::MAX as usize + 1, usize::MAX] {
        assert_eq!(map.grow(len), Err(Error::TooLong { len }));
    }
    // EINVAL since Linux 6.17, for a length that no address space has.
    let refused = map.grow(1 << 62).unwrap_err();
    assert!(matches!(refused.errno(), Errno::ENOMEM | Errno::EINVAL), "{refused}");
    assert_eq!((map.len(), map[0]), (page(), 0));
}

#[test]
fn a_mapping_in_several_parts_does_not_grow_and_stays() {
    let mut map = raw(3);
    map.protect(page(), page(), Prot::READ).unwrap();
    refused!(EFAULT, map.grow(64 * page()).map_err(|it| it.errno()));
    assert!(is_mapped(map.as_ptr(), 3 * page()) && map.len() == 3 * page());
}

#[test]
fn parts_that_are_alike_again_grow_as_one_where_the_kernel_joins_them() {
    let mut map = anon(3);
    map.lock(page(), page()).unwrap();
    map.unlock(page(), page()).unwrap();
    match map.grow(64 * page()).map_err(|it| it.errno()) {
        Ok(()) => assert!(kernel() >= (6, 13), "only newer kernels join what was touched in part"),
        Err(errno) => assert!(errno == Errno::EFAULT && kernel() < (6, 16), "{errno}"),
    }
}

#[test]
fn grown_shared_anonymous_memory_is_sigbus_behind_its_old_end() {
    let mut map = MapOptions::new(page()).shared().anonymous().unwrap();
    set(&map, 0, 7);
    map.grow(4 * page()).unwrap();
    assert_eq!(byte(&map, 0), 7);
    assert_eq!(reading(map.as_ptr().wrapping_add(page())), BUS);
}

#[test]
fn a_shrunk_mapping_gives_back_whole_pages() {
    alone(|| {
        let mut map = anon(4);
        let at = map.as_ptr();
        map.fill(7);
        map.shrink(page() + 1).unwrap();
        assert_eq!((map.len(), map.mapped_len()), (page() + 1, 2 * page()));
        assert!(map.iter().all(|byte| *byte == 7));
        assert!(is_mapped(at, 2 * page()) && !is_mapped(at.wrapping_add(2 * page()), page()));
        map.shrink(1).unwrap();
        assert!(!is_mapped(at.wrapping_add(page()), page()));
    });
}

#[test]
fn shrinking_to_nothing_or_to_more_is_refused() {
    let mut map = anon(2);
    for len in [0, 2 * page() + 1, usize::MAX] {
        let size = 2 * page();
        let out = Error::OutOfRange { offset: 0, len, size };
        assert_eq!(map.shrink(len), Err(if len == 0 { Error::Empty } else { out }));
    }
    map.shrink(2 * page()).unwrap();
    assert_eq!(map.len(), 2 * page());
}

#[test]
fn a_moved_mapping_lies_where_the_other_was_with_its_contents() {
    alone(|| {
        let (mut map, place) = (anon(3), raw(3));
        let (old, new) = (map.as_ptr(), place.as_ptr());
        map.fill(7);
        let mut map = map.move_into(place).unwrap();
        assert_eq!((map.as_ptr(), map.len()), (new, 3 * page()));
        assert!(map.iter().all(|byte| *byte == 7));
        assert!(!is_mapped(old, page()));
        map.fill(8);
        drop(map);
        assert!(!is_mapped(new, page()));
    });
}

#[test]
fn a_move_into_another_length_is_refused_and_both_come_back() {
    let (map, place) = (anon(3), raw(2));
    let ends = (map.as_ptr(), place.as_ptr());
    let (map, place, error) = map.move_into(place).unwrap_err();
    assert_eq!(error, Error::Mismatch);
    assert_eq!((map.as_ptr(), place.unwrap().as_ptr()), ends);
}

/// Before Linux 6.17 the kernel unmaps the place, and then finds that it can't move; since then it may
/// move the first parts and refuse another. So it isn't asked to.
#[test]
fn a_mapping_in_several_parts_is_not_moved_and_both_come_back() {
    if emulator().is_some() {
        skip!(
            "the emulator takes the first page's protection for that of all, and loops at a fault"
        );
        return;
    }
    alone(|| {
        let (map, place) = (raw(3), raw(3));
        map.protect(page(), page(), Prot::READ).unwrap();
        set(&map, 0, 7);
        let ends = (map.as_ptr(), place.as_ptr());
        let (map, place, error) = map.move_into(place).unwrap_err();
        let place = place.unwrap();
        assert_eq!((error.errno(), byte(&map, 0)), (Errno::EFAULT, 7));
        assert_eq!((map.as_ptr(), place.as_ptr()), ends);
        assert!(is_mapped(ends.0, 3 * page()) && is_mapped(ends.1, 3 * page()));
        // Of two files, the second of which has its own way to be placed.
        let zero = std::fs::File::options().read(true).write(true).open("/dev/zero").unwrap();
        let (file, shared) = (file_of_pages(1), MapOptions::new(page()).shared());
        // SAFETY: of a raw mapping, nothing is promised.
        let whole = unsafe { MapOptions::new(2 * page()).shared().file(zero.as_raw_fd(), 0) };
        let whole = whole.unwrap();
        let (first, second) = whole.split_at(page()).unwrap();
        let at = first.as_ptr();
        drop(first);
        // SAFETY: nobody else has the file.
        let first = unsafe { shared.hint(at).place_file(file.as_raw_fd(), 0) }.unwrap();
        let Placed::Placed(first) = first else { panic!("something else came to lie there") };
        let two = first.join(second).unwrap();
        let (two, place, error) = two.move_into(raw(2)).unwrap_err();
        assert_eq!((error.errno(), two.as_ptr()), (Errno::EFAULT, at));
        assert!(is_mapped(at, 2 * page()) && is_mapped(place.unwrap().as_ptr(), 2 * page()));
    });
}

/// A file on huge pages is mapped by whole ones, and so moved by whole ones, be the owner told or not.
#[test]
fn a_mapping_on_huge_pages_is_not_moved_over_what_is_behind_the_place() {
    const MIB: usize = 1 << 20;
    let flags = libc::MFD_HUGETLB | libc::MFD_HUGE_2MB;
    // SAFETY: a plain call.
    let fd = unsafe { libc::memfd_create(c"rawmap".as_ptr(), flags) };
    if fd < 0 {
        return skip!("no huge pages of 2 MiB here: {}", std::io::Error::last_os_error());
    }
    // SAFETY: new, and ours.
    let file = unsafe { std::fs::File::from_raw_fd(fd) };
    file.set_len(8 * MIB as u64).unwrap();
    for len in [3 * MIB, 4 * MIB] {
        let untold = MapOptions::new(len).shared().noreserve();
        for options in [untold.huge(21), untold] {
            // SAFETY: of a raw mapping, nothing is promised.
            let map = match unsafe { options.file(file.as_raw_fd(), 0) } {
                Ok(map) => map,
                Err(error) => return skip!("no huge pages can be mapped here: {error}"),
            };
            let room = raw(6 * MIB / page());
            let (place, behind) = room.split_at(map.mapped_len()).unwrap();
            set(&behind, 0, 7);
            let (map, place, error) = map.move_into(place).unwrap_err();
            let refused = matches!(error, Error::Mismatch | Error::Refused { .. });
            assert!(refused && place.is_some() && byte(&behind, 0) == 7, "{error}");
            drop(map);
        }
    }
}

#[test]
fn an_overlay_of_larger_pages_than_the_mapping_s_is_refused() {
    const MIB: usize = 1 << 20;
    let mut map = MapOptions::new(4 * MIB).align(2 * MIB).prot(RW).anonymous().unwrap();
    set(&map, 0, 7);
    // SAFETY: no file.
    let refused = unsafe { map.overlay(0, 2 * MIB, RW, ANON | MapFlags::huge(21), -1, 0) };
    assert_eq!((refused, byte(&map, 0)), (Err(Error::Mismatch), 7));
}

#[test]
fn a_file_is_placed_at_an_exact_address_or_nowhere() {
    if qemu_before(10) {
        return skip!("QEMU before 10 takes MAP_FIXED_NOREPLACE for a hint");
    }
    alone(|| {
        let mut file = file_of_pages(2);
        file.rewind().unwrap();
        file.write_all(b"there").unwrap();
        let room = raw(2);
        let at = room.as_ptr();
        let options = MapOptions::new(2 * page()).read_only().hint(at);
        // SAFETY: nobody else has the file.
        let place = || unsafe { options.place_file(file.as_raw_fd(), 0) }.unwrap();
        assert!(matches!(place(), Placed::Occupied));
        drop(room);
        let Placed::Placed(map) = place() else { panic!("it is free") };
        assert_eq!((map.as_ptr(), &map[..5]), (at, &b"there"[..]));
    });
}

#[test]
fn the_parts_of_a_split_mapping_are_dropped_apart() {
    alone(|| {
        let (before, middle, after) = neighbours(2);
        let at = middle.as_ptr();
        drop(before);
        assert!(!is_mapped(at.wrapping_sub(page()), page()) && is_mapped(at, 3 * page()));
        drop(after);
        assert!(is_mapped(at, 2 * page()) && !is_mapped(at.wrapping_add(2 * page()), page()));
    });
}

#[test]
fn a_split_keeps_bytes_and_lengths() {
    let mut map = MapOptions::new(2 * page() + 1).anonymous().unwrap();
    map[0] = 1;
    map[page()] = 2;
    map[2 * page()] = 3;
    let (first, second) = map.split_at(page()).unwrap();
    assert_eq!((first.len(), second.len(), second.mapped_len()), (page(), page() + 1, 2 * page()));
    assert_eq!((first[0], second[0], second[page()]), (1, 2, 3));
    let joined = first.join(second).unwrap();
    assert_eq!((joined.len(), joined[page()], joined[2 * page()]), (2 * page() + 1, 2, 3));
}

#[test]
fn a_split_at_an_end_or_within_a_page_is_refused_and_the_mapping_comes_back() {
    let mut map = MapOptions::new(2 * page() + 1).anonymous().unwrap();
    let out = |offset| Error::OutOfRange { offset, len: 1, size: 3 * page() };
    for mid in [0, 3 * page(), 4 * page(), usize::MAX & !(page() - 1), usize::MAX] {
        let (back, error) = map.split_at(mid).unwrap_err();
        let expected = if mid == 0 { Error::Empty } else { out(mid) };
        assert_eq!(error, expected);
        map = back;
    }
    let (back, error) = map.split_at(page() + 1).unwrap_err();
    assert_eq!(error, Error::Unaligned { value: page() + 1, granule: page() });
    assert_eq!(back.len(), 2 * page() + 1);
}

#[test]
fn only_neighbours_of_one_kind_are_joined() {
    let (first, second) = anon(2).split_at(page()).unwrap();
    let (second, first, error) = second.join(first).unwrap_err();
    assert_eq!(error, Error::NotAdjacent, "in the wrong order");
    let file = file_of_pages(1);
    let at = second.as_ptr();
    drop(second);
    // SAFETY: nobody else has the file.
    let second = unsafe { MapOptions::new(page()).hint(at).file(file.as_raw_fd(), 0) }.unwrap();
    let (first, second, error) = first.join(second).unwrap_err();
    assert_eq!((error, first.len(), second.len()), (Error::NotAdjacent, page(), page()));
}

#[test]
fn neighbours_that_were_mapped_apart_are_joined_and_dropped_as_one() {
    alone(|| {
        let (mut first, second) = anon(2).split_at(page()).unwrap();
        first.shrink(page() - 1).unwrap();
        let at = second.as_ptr();
        drop(second);
        let Placed::Placed(second) = MapOptions::new(1).hint(at).place().unwrap() else {
            panic!("the place is free");
        };
        let mut joined = first.join(second).unwrap();
        assert_eq!((joined.len(), joined.mapped_len()), (page() + 1, 2 * page()));
        joined.fill(7);
        let at = joined.as_ptr();
        drop(joined);
        assert!(!is_mapped(at, page()) && !is_mapped(at.wrapping_add(page()), page()));
    });
}

#[test]
fn a_guarded_range_is_a_fault_and_its_neighbours_are_not() {
    let map = raw(3);
    set(&map, 2 * page(), 7);
    let guarded = map.guard(page(), page()).unwrap();
    let ends = [0, 1, 2].map(|n| reading(map.as_ptr().wrapping_add(n * page())));
    answers!([OK, SEGV, OK], ends, qemu ..11 => [OK; 3], "MADV_GUARD_INSTALL does nothing, and succeeds");
    let has = kernel() >= (6, 13) || qemu_before(11);
    assert_eq!(guarded, if has { Guarded::Installed } else { Guarded::Protected });
    assert_eq!(byte(&map, 2 * page()), 7);
}

#[test]
fn an_installed_guard_splits_no_mapping_and_can_be_removed() {
    let map = raw(3);
    if map.guard(page(), page()).unwrap() != Guarded::Installed {
        skip!("the kernel has no MADV_GUARD_INSTALL");
        return;
    }
    if emulator().is_none() {
        // It may have been merged with others, but it is one.
        let inside = |at: *mut u8| smaps(at, at.wrapping_add(1)).remove(0).0;
        assert_eq!(inside(map.as_ptr()), inside(map.as_ptr().wrapping_add(page())));
    }
    map.advise(page(), page(), Advice::GUARD_REMOVE).unwrap();
    assert_eq!(reading(map.as_ptr().wrapping_add(page())), OK);
}

#[test]
fn locked_memory_is_guarded_one_way_or_the_other() {
    let map = raw(2);
    map.lock(0, 2 * page()).unwrap();
    map.guard(0, page()).unwrap();
    answers!(SEGV, reading(map.as_ptr()), qemu ..11 => OK, "MADV_GUARD_INSTALL does nothing, and succeeds");
}

#[test]
fn a_sealed_mapping_can_not_be_unmapped_protected_or_moved() {
    alone(|| {
        let map = anon(2);
        let at = map.as_ptr();
        let sealed = match map.seal() {
            Ok(sealed) => sealed,
            Err((map, error)) => {
                assert_eq!((error.errno(), map[0]), (Errno::ENOSYS, 0));
                skip!("the kernel has no mseal");
                return;
            }
        };
        assert_eq!((sealed.as_ptr(), sealed.len()), (at, 2 * page()));
        // SAFETY: it is refused.
        let refused =
            unsafe { [rawmap::munmap(at, page()), rawmap::mprotect(at, page(), Prot::READ)] };
        assert_eq!(refused, [Err(Errno::EPERM); 2]);
        // SAFETY: it is mapped for ever, and nothing else refers to it.
        unsafe { at.write(7) };
    });
}

#[test]
fn a_mapping_that_is_part_of_a_sealed_one_says_so_when_it_is_unmapped() {
    alone(|| {
        let map = anon(2);
        let at = map.as_ptr();
        // SAFETY: it stays as it is.
        if let Err(errno) = unsafe { rawmap::mseal(at, page(), Default::default()) } {
            assert_eq!(errno, Errno::ENOSYS);
            skip!("the kernel has no mseal");
            return;
        }
        let (map, error) = map.unmap().unwrap_err();
        assert_eq!((error.errno(), map[0]), (Errno::EPERM, 0));
        drop(map);
        assert!(is_mapped(at, 2 * page()), "dropping is refused too, and nothing is unmapped");
    });
}

#[test]
fn raw_parts_make_the_same_mapping_again() {
    alone(|| {
        let mut map = MapOptions::new(page() + 1).anonymous().unwrap();
        map[page()] = 7;
        let (start, len) = map.into_raw();
        assert_eq!(len, 2 * page());
        // SAFETY: given up by the line above.
        let map: Mapping = unsafe { Mapping::from_raw(start, len) }.unwrap();
        assert_eq!((map.len(), map[page()]), (2 * page(), 7));
        drop(map);
        assert!(!is_mapped(start.as_ptr(), page()));
    });
}

#[test]
fn raw_parts_that_can_be_none_are_refused() {
    let map = anon(2);
    let start = std::ptr::NonNull::new(map.as_ptr()).unwrap();
    // SAFETY: each is refused, so nothing is owned twice.
    unsafe {
        let raw = |start, len| Mapping::<ReadWrite>::from_raw(start, len).unwrap_err();
        assert_eq!(raw(start, 0), Error::Empty);
        for len in [isize::MAX as usize, usize::MAX] {
            assert_eq!(raw(start, len), Error::TooLong { len });
        }
        let value = start.addr().get() + 1;
        assert_eq!(raw(start.add(1), 1), Error::Unaligned { value, granule: page() });
    }
}

#[test]
fn a_leaked_mapping_lives_for_ever() {
    alone(|| {
        let bytes: &'static mut [u8] = anon(1).leak();
        bytes.fill(7);
        assert!(bytes.iter().all(|byte| *byte == 7) && bytes.len() == page());
    });
}

#[test]
fn an_overlay_replaces_exactly_its_range() {
    let file = file_of_pages(2);
    let mut map = raw(3);
    for n in 0..3 {
        set(&map, n * page(), 7);
    }
    // SAFETY: nobody else has the file.
    unsafe {
        let fd = file.as_raw_fd();
        map.overlay(page(), 1, Prot::READ, MapFlags::PRIVATE, fd, page() as u64).unwrap();
    }
    assert_eq!([0, 1, 2].map(|n| byte(&map, n * page())), [7, 2, 7]);
}

/// Over the file that is sealed against writing the kernel finds late that it can't be mapped.
#[test]
fn a_failed_overlay_leaves_no_hole() {
    alone(|| {
        let file = memfd(page() as u64);
        // SAFETY: a plain call.
        let sealed =
            unsafe { libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, libc::F_SEAL_WRITE) };
        assert_eq!(sealed, 0);
        let mut map = raw(3);
        set(&map, 0, 7);
        set(&map, 2 * page(), 7);
        // SAFETY: nobody else has the file.
        let refused =
            unsafe { map.overlay(page(), page(), RW, MapFlags::SHARED, file.as_raw_fd(), 0) };
        assert_eq!(refused.unwrap_err().errno(), Errno::EPERM);
        assert!(is_mapped(map.as_ptr(), 3 * page()));
        assert_eq!((byte(&map, 0), byte(&map, 2 * page())), (7, 7));
    });
}

/// A file system that knows `MAP_SYNC`, and has no storage for it, says so when what was mapped there is
/// gone.
#[test]
fn an_overlay_that_fails_late_leaves_no_hole() {
    let file = temp_file();
    file.set_len(page() as u64).unwrap();
    alone(|| {
        let flags = MapFlags::SHARED_VALIDATE | MapFlags::SYNC;
        let (bare, mut map) = (raw(3), raw(3));
        let (middle, fd) = (bare.as_ptr().wrapping_add(page()), file.as_raw_fd());
        // SAFETY: over what is owned, and nobody else has the file.
        let refused = unsafe { rawmap::mmap(middle, page(), RW, flags | MapFlags::FIXED, fd, 0) };
        assert_eq!(refused, Err(Errno::EOPNOTSUPP));
        let late = !is_mapped(middle, page());
        std::mem::forget(bare);
        // SAFETY: nobody else has the file, and no other thread maps anything.
        let refused = unsafe { map.overlay(page(), page(), RW, flags, fd, 0) };
        assert_eq!(refused.unwrap_err().errno(), Errno::EOPNOTSUPP);
        assert!(is_mapped(map.as_ptr(), 3 * page()));
        if late {
            assert_eq!(reading(map.as_ptr().wrapping_add(page())), SEGV);
        } else {
            skip!("the file system of temporary files refuses before anything is unmapped");
        }
    });
}

#[test]
fn an_overlay_of_huge_pages_must_say_how_large_they_are() {
    alone(|| {
        let mut map = MapOptions::new(4 << 20).align(2 << 20).prot(RW).anonymous().unwrap();
        // SAFETY: no file; it is refused.
        let refused = unsafe { map.overlay(0, page(), RW, ANON | MapFlags::HUGETLB, -1, 0) };
        assert_eq!(refused, Err(Error::HugeSizeUnknown));
    });
}

/// What a method does to a sub-range.
type Method<'a> =
    (&'a str, &'a mut dyn FnMut(&mut Mapping<Raw>, usize, usize) -> Result<(), Error>);

#[test]
fn every_method_checks_its_range_as_offset_and_rest() {
    let mut map = raw(4);
    let size = 4 * page();
    let mut methods: [Method<'_>; 10] = [
        ("protect", &mut |map, offset, len| map.protect(offset, len, RW)),
        ("advise", &mut |map, offset, len| map.advise(offset, len, Advice::NORMAL)),
        ("sync", &mut |map, offset, len| map.sync(offset, len, MsyncFlags::ASYNC)),
        ("lock", &mut |map, offset, len| map.lock(offset, len)),
        ("unlock", &mut |map, offset, len| map.unlock(offset, len)),
        ("purge", &mut |map, offset, len| map.purge(offset, len).map(drop)),
        ("populate_read", &mut |map, offset, len| map.populate_read(offset, len)),
        ("populate_write", &mut |map, offset, len| map.populate_write(offset, len)),
        ("guard", &mut |map, offset, len| map.guard(offset, len).map(drop)),
        ("resident", &mut |map, offset, len| map.resident(offset, len, &mut [0; 8]).map(drop)),
    ];
    for (name, method) in &mut methods {
        let mut call = |offset, len| method(&mut map, offset, len);
        for (offset, len) in [
            (size, 1),
            (size - page(), page() + 1),
            (0, size + 1),
            (size + page(), 0),
            (page(), usize::MAX),
            (page(), usize::MAX - page() + 1),
            (usize::MAX, 1),
            (usize::MAX, usize::MAX),
            (usize::MAX & !(page() - 1), page()),
            (0, usize::MAX),
        ] {
            assert_eq!(call(offset, len), Err(Error::OutOfRange { offset, len, size }), "{name}");
        }
        let unaligned = Error::Unaligned { value: 1, granule: page() };
        assert_eq!(call(1, 1), Err(unaligned), "{name}");
        for (offset, len) in [(0, 0), (size, 0), (size - page(), page()), (0, 1)] {
            assert_eq!(call(offset, len), Ok(()), "{name}: {len} bytes from {offset} on");
        }
    }
}

#[test]
fn an_error_carries_the_call_the_errno_and_the_reason() {
    // SAFETY: no kernel knows it.
    let refused = unsafe { raw(1).advise_any(0, page(), Advice::from_bits(0x7777)) };
    let Err(error) = refused else {
        assert!(qemu_before(11));
        departure!("an unknown advice succeeds");
        return;
    };
    let said = error.to_string();
    assert!(said.starts_with("madvise(0x") && said.contains(", 0x7777): EINVAL"), "{said}");
    assert!(said.ends_with("advice 30583 is not known"), "{said}");
    assert_eq!((error.errno(), error.call().is_some()), (Errno::EINVAL, true));
    assert!(size_of::<Error>() <= 72);
}

#[test]
fn a_mapping_prints_where_it_is_and_not_its_bytes() {
    let map = anon(1);
    let said = format!("{map:?}");
    assert!(said.contains("start: 0x") && said.contains(&format!("len: {}", page())), "{said}");
}

#[test]
fn a_childs_drop_unmaps_nothing_of_its_parent() {
    let mut private = anon(2);
    let shared = MapOptions::new(page()).shared().anonymous().unwrap();
    private.fill(7);
    set(&shared, 0, 7);
    let (at, also) = (private.as_ptr(), shared.as_ptr());
    let mut private = Some(private);
    let mut shared = Some(shared);
    let child = in_child(|| {
        private.take().unwrap().fill(8);
        drop(shared.take());
        i32::from(is_mapped(at, page()) || is_mapped(also, page()))
    });
    assert_eq!(child, OK);
    let (private, shared) = (private.unwrap(), shared.unwrap());
    assert!(private.iter().all(|byte| *byte == 7));
    assert_eq!(byte(&shared, 0), 7);
}

#[test]
fn a_mapping_is_dropped_by_another_thread_and_read_by_several() {
    let mut map = anon(2);
    map.fill(7);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert!(map.iter().all(|byte| *byte == 7)));
        }
    });
    std::thread::spawn(move || drop(map)).join().unwrap();
}

assert_impl_all!(Mapping<Raw>: Send, Sync);
assert_impl_all!(Mapping<ReadOnly>: Send, Sync, Deref<Target = [u8]>);
assert_impl_all!(Mapping<ReadWrite>: Send, Sync, DerefMut);
assert_impl_all!(Sealed: Send, Sync, Copy);
assert_impl_all!(Reservation: Send, Sync);
assert_impl_all!(Ring: Send, Sync);
assert_impl_all!(DualMapping: Send, Sync);
assert_impl_all!(Stack: Send, Sync);
assert_impl_all!(PageAlloc: Send, Sync);
assert_impl_all!(Placed<ReadWrite>: Send, Sync);
assert_impl_all!(Error: Send, Sync, Copy, std::error::Error);
assert_impl_all!(Cursor: Send, Sync);
// Bytes that may be unmapped, unreadable or another's are no slice, and those of a file not a mutable
// one; and what owns is not copied.
assert_not_impl_any!(Mapping<Raw>: Deref, Clone);
assert_not_impl_any!(Mapping<ReadOnly>: DerefMut, Clone);
assert_not_impl_any!(Mapping<ReadWrite>: Clone);
assert_not_impl_any!(Reservation: Clone, Deref);
assert_not_impl_any!(Ring: Clone, Deref);
assert_not_impl_any!(DualMapping: Clone, Deref);
assert_not_impl_any!(Stack: Clone, Deref);
// It holds a pointer, the hint.
assert_not_impl_any!(MapOptions: Send, Sync);
// The three kinds of access are all that there are.
assert_not_impl_any!(u8: Access);
