//! `MapOptions`: what each option does to the new mapping, and what is refused.
mod common;
use common::*;
use rawmap::{
    Errno, Error, MapFlags, MapOptions, Mapping, Mode, Placed, Prot, Raw, Reason, Reservation,
};
use std::collections::HashMap;
use std::os::fd::{AsRawFd, FromRawFd};

const MIB: usize = 1 << 20;

/// What smaps says of a mapping: the first line and the fields.
fn smap<A: rawmap::Access>(map: &Mapping<A>) -> Option<(String, HashMap<String, String>)> {
    if emulator().is_some() {
        return None;
    }
    smaps(map.as_ptr(), map.as_ptr().wrapping_add(1)).pop()
}

/// Whether smaps has this flag of a mapping; `true` where there is no smaps.
fn has_flag<A: rawmap::Access>(map: &Mapping<A>, flag: &str) -> bool {
    smap(map).is_none_or(|(_, fields)| fields["VmFlags"].split(' ').any(|it| it == flag))
}

#[test]
fn a_length_of_nothing_is_refused_by_the_kernel_with_a_reason() {
    let error = MapOptions::new(0).anonymous().unwrap_err();
    assert_eq!((error.errno(), error.reason()), (Errno::EINVAL, Some(Reason::LengthZero)));
    let error = MapOptions::new(0).align(4 * MIB).anonymous().unwrap_err();
    assert_eq!(error.reason(), Some(Reason::LengthZero));
}

#[test]
fn a_length_over_isize_max_is_refused_before_any_call() {
    let max = isize::MAX as usize;
    for len in [max, max + 1, usize::MAX - page() + 1, usize::MAX] {
        assert_eq!(MapOptions::new(len).anonymous().unwrap_err(), Error::TooLong { len });
        let huge = MapOptions::new(len).huge(21).anonymous().unwrap_err();
        assert_eq!(huge, Error::TooLong { len });
    }
    let len = max - page() + 1;
    let error = MapOptions::new(len).anonymous().unwrap_err();
    assert_eq!(error.errno(), Errno::ENOMEM, "the kernel has not so much: {error}");
    let error = MapOptions::new(len).align(4 * page()).anonymous().unwrap_err();
    assert_eq!(error, Error::TooLong { len });
}

#[test]
fn an_alignment_that_is_no_power_of_two_is_refused() {
    for align in [0, 3, page() + 1, usize::MAX] {
        let error = MapOptions::new(1).align(align).anonymous().unwrap_err();
        assert_eq!(error, Error::BadAlignment { align });
    }
}

#[test]
fn every_alignment_is_honoured_and_nothing_but_the_mapping_stays() {
    alone(|| {
        let file = file_of_pages(4);
        let mut before = Space::new();
        // Address spaces differ in width, and of 2^38 bytes not many are multiples of 2^36.
        let has_room = |log2: &u32| Reservation::new(16 << log2, Mode::Strict).is_ok();
        for log2 in (0..=30).chain([33, 36]).filter(has_room) {
            let align = 1 << log2;
            let options = MapOptions::new(2 * page() + 1).align(align);
            before.look();
            let bytes = before.bytes();
            // SAFETY: nobody else has the file.
            let file = unsafe { options.file(file.as_raw_fd(), page() as u64) }.unwrap();
            let maps = [
                options.anonymous().unwrap(),
                options.populate().anonymous().unwrap(),
                options.locked().anonymous().unwrap(),
                file,
            ];
            before.look();
            assert_eq!(before.bytes() - bytes, 4 * 3 * page(), "aligned to {align}");
            for mut map in maps {
                assert_eq!(map.as_ptr().addr() % align.max(page()), 0, "{map:?}");
                assert_eq!((map.len(), map.mapped_len()), (2 * page() + 1, 3 * page()));
                map[2 * page()] = 1;
            }
            before.look();
            assert_eq!(before.bytes(), bytes, "aligned to {align}");
        }
    });
}

#[test]
fn an_aligned_file_is_mapped_from_its_offset_on() {
    let file = file_of_pages(3);
    let options = MapOptions::new(2 * page()).align(8 * MIB).read_only();
    // SAFETY: nobody else has the file.
    let map = unsafe { options.file(file.as_raw_fd(), page() as u64) }.unwrap();
    assert_eq!((map[0], map[page()], map.as_ptr().addr() % (8 * MIB)), (2, 3, 0));
}

#[test]
fn a_hint_is_followed_if_the_place_is_free_and_replaces_nothing_if_it_is_not() {
    alone(|| {
        let mut first = MapOptions::new(4 * page()).anonymous().unwrap();
        first[0] = 7;
        let hint = first.as_ptr();
        let second = MapOptions::new(page()).hint(hint).anonymous().unwrap();
        assert_ne!(second.as_ptr(), hint);
        assert_eq!(first[0], 7);
        drop((first, second));
        let third = MapOptions::new(page()).hint(hint).anonymous().unwrap();
        assert_eq!(third.as_ptr(), hint);
    });
}

#[test]
fn a_place_is_placed_or_occupied_or_an_error() {
    alone(|| {
        let gap = MapOptions::new(4 * page()).anonymous().unwrap();
        let hint = gap.as_ptr().wrapping_add(page());
        let place = || MapOptions::new(2 * page()).hint(hint).place();
        assert!(matches!(place(), Ok(Placed::Occupied)));
        drop(gap);
        let Ok(Placed::Placed(mut map)) = place() else { panic!("the place is free") };
        assert_eq!(map.as_ptr(), hint);
        map.fill(7);
        // In part is occupied too, and nothing is changed.
        let before = MapOptions::new(2 * page()).hint(hint.wrapping_sub(page())).place();
        assert!(matches!(before, Ok(Placed::Occupied)));
        assert!(map.iter().all(|byte| *byte == 7));
        let error = MapOptions::new(1).hint(hint.wrapping_add(1)).place().unwrap_err();
        assert_eq!(error.errno(), Errno::EINVAL);
        let error = MapOptions::new(0).hint(hint).place().unwrap_err();
        assert_eq!(error.errno(), Errno::EINVAL);
    });
}

#[test]
fn a_place_outside_of_the_address_space_is_an_error() {
    let error = MapOptions::new(1).hint(at(1 << 60)).place().unwrap_err();
    assert_eq!(error.errno(), Errno::ENOMEM);
}

/// Address 0 can't be held: a privileged process is given it, others are refused.
#[test]
fn a_place_at_null_is_an_error_and_leaves_nothing() {
    alone(|| {
        let mut space = Space::new();
        let error = MapOptions::new(1).hint(at(0)).place().unwrap_err();
        let refused = matches!(error.errno(), Errno::EPERM | Errno::EINVAL);
        assert!(error == Error::AtZero || refused, "{error}");
        space.look();
        assert!(space.lacks(at(0), page()));
    });
}

#[test]
fn what_is_placed_elsewhere_is_unmapped() {
    alone(|| {
        let taken = MapOptions::new(page()).anonymous().unwrap();
        let mut space = Space::new();
        let bytes = space.bytes();
        for _ in 0..100 {
            let placed = MapOptions::new(page()).hint(taken.as_ptr()).place().unwrap();
            assert!(matches!(placed, Placed::Occupied));
        }
        space.look();
        assert_eq!(space.bytes(), bytes);
    });
}

#[test]
fn other_flags_are_taken_but_no_sharing_and_no_fixed_place() {
    let mut taken = MapOptions::new(page()).anonymous().unwrap();
    taken[0] = 7;
    let flags =
        MapFlags::FIXED | MapFlags::FIXED_NOREPLACE | MapFlags::SHARED | MapFlags::NORESERVE;
    let map = MapOptions::new(page()).hint(taken.as_ptr()).flags(flags).anonymous().unwrap();
    assert_ne!(map.as_ptr(), taken.as_ptr());
    assert_eq!(taken[0], 7);
    assert!(has_flag(&map, "nr") && !smap(&map).is_some_and(|(head, _)| head.contains("rw-s")));
}

#[test]
fn any_protection_can_be_asked_for() {
    let end = |prot| reading(MapOptions::new(page()).prot(prot).anonymous().unwrap().as_ptr());
    assert_eq!((end(Prot::NONE), end(Prot::READ), end(RW)), (SEGV, OK, OK));
}

#[test]
fn populated_and_locked_memory_is_resident() {
    for options in [MapOptions::new(4 * page()).populate(), MapOptions::new(4 * page()).locked()] {
        let map = options.anonymous().unwrap();
        let mut room = [0; 4];
        let pages = map.resident(0, map.len(), &mut room).unwrap();
        assert!(pages.iter().all(|byte| byte & 1 == 1), "{pages:?}");
    }
    assert!(has_flag(&MapOptions::new(page()).locked().anonymous().unwrap(), "lo"));
}

#[test]
fn memory_without_reserve_says_so() {
    let map = MapOptions::new(page()).noreserve().anonymous().unwrap();
    if std::fs::read_to_string("/proc/sys/vm/overcommit_memory").unwrap().trim() == "2" {
        skip!("vm.overcommit_memory is 2, under which the flag is ignored");
        return;
    }
    assert!(has_flag(&map, "nr"));
}

#[test]
fn memory_for_a_stack_has_no_huge_pages() {
    let mut map = MapOptions::new(page()).stack().anonymous().unwrap();
    map[0] = 1;
    // Since Linux 6.7, where the kernel has huge pages at all.
    let huge = std::path::Path::new("/sys/kernel/mm/transparent_hugepage").exists();
    assert!(kernel() < (6, 7) || !huge || has_flag(&map, "nh"));
}

#[test]
fn memory_that_grows_down_says_so() {
    let map = MapOptions::new(page()).growsdown().anonymous().unwrap();
    assert!(has_flag(&map, "gd"));
}

#[test]
fn shared_memory_is_seen_by_a_child_and_private_memory_is_not() {
    let shared = MapOptions::new(page()).shared().anonymous().unwrap();
    let private = MapOptions::new(page()).prot(RW).anonymous().unwrap();
    let both = [&shared, &private].map(Mapping::as_ptr);
    let write = |at: *mut u8| {
        // SAFETY: both are writable pages of ours.
        unsafe { at.write_volatile(7) };
    };
    let child = in_child(|| {
        both.into_iter().for_each(write);
        0
    });
    assert_eq!(child, OK);
    // SAFETY: as above.
    assert_eq!(both.map(|at| unsafe { at.read_volatile() }), [7, 0]);
}

#[test]
fn droppable_memory_is_zeroes_or_not_known_to_the_kernel() {
    match MapOptions::new(page()).droppable().anonymous() {
        // SAFETY: a readable page of ours.
        Ok(map) => assert_eq!(unsafe { map.as_ptr().read() }, 0),
        Err(error) => {
            assert!(kernel() < (6, 11) || emulator().is_some(), "{error}");
            assert_eq!(error.errno(), Errno::EINVAL);
        }
    }
}

#[test]
fn a_named_mapping_shows_its_name() {
    let map = MapOptions::new(page()).name(c"rawmap test").anonymous().unwrap();
    let Some((head, _)) = smap(&map) else {
        skip!("the emulator's smaps are not the program's");
        return;
    };
    if !head.contains("[anon:") {
        skip!("the kernel is built without CONFIG_ANON_VMA_NAME");
        return;
    }
    assert!(head.ends_with("[anon:rawmap test]"), "{head}");
}

#[test]
fn the_default_size_of_huge_pages_is_refused() {
    let error = MapOptions::new(1).huge(0).anonymous().unwrap_err();
    assert_eq!(error, Error::HugeSizeUnknown);
    let error = MapOptions::new(1).flags(MapFlags::HUGETLB).anonymous().unwrap_err();
    assert_eq!(error, Error::HugeSizeUnknown);
}

#[test]
fn a_size_of_huge_pages_that_can_not_be_is_refused_by_the_kernel() {
    for log2 in [1, 12, 40, 62] {
        let error = MapOptions::new(1).huge(log2).anonymous().unwrap_err();
        assert!(matches!(error.errno(), Errno::EINVAL | Errno::ENOMEM), "{log2}: {error}");
    }
    // A length that no object may have, counted in such pages.
    let error = MapOptions::new(1).huge(63).anonymous().unwrap_err();
    assert_eq!(error, Error::TooLong { len: 1 });
}

#[test]
fn the_last_size_of_huge_pages_counts() {
    let error = MapOptions::new(1).huge(30).huge(63).huge(62).anonymous().unwrap_err();
    let said = error.to_string();
    assert!(said.contains("MAP_HUGETLB|62<<MAP_HUGE_SHIFT"), "{said}");
}

const HUGE: usize = 2 * MIB;

#[test]
fn a_huge_mapping_of_3_mib_is_really_unmapped() {
    let done = with_huge_pages(|| {
        let mut map = MapOptions::new(3 * MIB).huge(21).anonymous().unwrap();
        assert_eq!((map.len(), map.mapped_len(), map.granule().bytes()), (3 * MIB, 4 * MIB, HUGE));
        map.fill(7);
        let at = map.as_ptr();
        let mut space = Space::new();
        assert!(space.has(at, 4 * MIB));
        map.unmap().unwrap();
        space.look();
        assert!(space.lacks(at, 4 * MIB));
    });
    if let Err(why) = done {
        skip!("{why}");
    }
}

#[test]
fn a_huge_mapping_is_aligned_populated_split_and_shrunk_by_huge_pages() {
    let done = with_huge_pages(|| {
        let mut space = Space::new();
        for align in [page(), HUGE, 8 * MIB, 64 * MIB] {
            let options = MapOptions::new(3 * MIB).huge(21).align(align);
            for options in [options, options.populate()] {
                let map = options.anonymous().unwrap();
                assert_eq!(map.as_ptr().addr() % align.max(HUGE), 0);
                let (map, error) = map.split_at(MIB).unwrap_err();
                assert_eq!(error, Error::Unaligned { value: MIB, granule: HUGE });
                let (first, second) = map.split_at(HUGE).unwrap();
                assert_eq!((first.len(), second.len()), (HUGE, MIB));
                let mut map = first.join(second).unwrap();
                let at = map.as_ptr();
                map.shrink(1).unwrap();
                assert_eq!((map.len(), map.mapped_len()), (1, HUGE));
                map.unmap().unwrap();
                space.look();
                assert!(space.lacks(at, 2 * HUGE));
            }
        }
    });
    if let Err(why) = done {
        skip!("{why}");
    }
}

/// The kernel rounds a length up to pages of the ordinary size, and does nothing to a part of a huge
/// page, or refuses it.
#[test]
fn ranges_of_huge_mappings_are_whole_huge_pages() {
    let done = with_huge_pages(|| {
        let mut map = MapOptions::new(2 * HUGE).huge(21).anonymous().unwrap();
        map.fill(7);
        map.purge(0, 1).unwrap();
        assert!(map[..HUGE].iter().all(|byte| *byte == 0), "it said zeroes");
        assert!(map[HUGE..].iter().all(|byte| *byte == 7));
        let refused = map.purge(page(), 1);
        assert_eq!(refused, Err(Error::Unaligned { value: page(), granule: HUGE }));
        map.lock(0, 1).unwrap();
        map.unlock(0, 1).unwrap();
        map.populate_write(HUGE, 1).unwrap();
        let raw = map.into_raw_access();
        raw.protect(0, 1, Prot::READ).unwrap();
        assert_eq!(writing(raw.as_ptr().wrapping_add(HUGE - 1)), SEGV);
        assert_eq!(writing(raw.as_ptr().wrapping_add(HUGE)), OK);
    });
    if let Err(why) = done {
        skip!("{why}");
    }
}

fn huge_memfd() -> std::fs::File {
    // SAFETY: a plain call; the descriptor is new and ours.
    let file = unsafe {
        let fd = libc::memfd_create(c"huge".as_ptr(), libc::MFD_HUGETLB | libc::MFD_HUGE_2MB);
        assert!(fd >= 0, "memfd_create");
        std::fs::File::from_raw_fd(fd)
    };
    file.set_len(4 * MIB as u64).unwrap();
    file
}

/// A file of huge pages is mapped by its own ones, whatever size was asked for; what was asked for is
/// all mapped, so that dropping unmaps nothing of others.
#[test]
fn a_mapping_of_a_huge_file_owns_all_that_it_unmaps() {
    let done = with_huge_pages(|| {
        let file = huge_memfd();
        for log2 in [21, 22] {
            let options = MapOptions::new(1).prot(RW).huge(log2);
            // SAFETY: nobody else has the file.
            let map: Mapping<Raw> = unsafe { options.file(file.as_raw_fd(), 0) }.unwrap();
            let (at, len) = (map.as_ptr(), map.mapped_len());
            assert_eq!(len, 1 << log2);
            let mut space = Space::new();
            assert!(space.has(at, len), "all that is owned is mapped");
            map.unmap().unwrap();
            space.look();
            assert!(space.lacks(at, len));
        }
    });
    if let Err(why) = done {
        skip!("{why}");
    }
}
