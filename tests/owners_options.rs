//! `MapOptions`: what each option does to the new mapping, and what is refused.
mod common;
use common::*;
use rawmap::{
    Advice, Backing, Errno, Error, Fd, MapFlags, MapOptions, Mapping, Mode, NO_FD, Place, Prot,
    Raw, Reason, Reservation, Sharing,
};
use std::collections::HashMap;
use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd};

const MIB: usize = 1 << 20;

/// What smaps says of the mapping at this address: the first line and the fields.
fn smap(at: *const u8) -> Option<(String, HashMap<String, String>)> {
    if emulator().is_some() {
        return None;
    }
    smaps(at.cast_mut(), at.cast_mut().wrapping_add(1)).pop()
}

/// Whether smaps has this flag of a mapping; `true` where there is no smaps.
fn has_flag(at: *const u8, flag: &str) -> bool {
    smap(at).is_none_or(|(_, fields)| fields["VmFlags"].split(' ').any(|it| it == flag))
}

fn said<T: std::fmt::Debug>(result: Result<T, Error>) -> String {
    result.unwrap_err().to_string()
}

/// Maps anonymous memory at an address far from any stack: where the kernel placed something before.
fn at_place(options: MapOptions, place: Place) -> Result<Mapping<Raw>, Error> {
    // SAFETY: no file, and far from any stack.
    unsafe { options.at(place, RW, ANON, NO_FD, 0) }
}

#[test]
fn options_are_a_value_that_can_be_kept_compared_and_used_again() {
    need_lockable!(64 << 10);
    const OPTIONS: MapOptions = MapOptions::new(100).populate().noreserve().locked().stack();
    let mut options = MapOptions::new(100);
    for chosen in [MapOptions::populate, MapOptions::noreserve] {
        options = chosen(options);
    }
    assert_eq!(options.locked().stack(), OPTIONS);
    assert_ne!(options, OPTIONS);
    let both = [OPTIONS.anonymous().unwrap(), OPTIONS.anonymous().unwrap()];
    assert_ne!(both[0].as_ptr(), both[1].as_ptr());
    assert!(both.iter().all(|map| has_flag(map.as_ptr(), "lo")));
}

#[test]
fn a_length_of_nothing_is_refused_by_the_kernel_with_a_reason() {
    let options = MapOptions::new(0);
    let file = file_of_pages(1);
    // SAFETY: nobody else has the file; and no address of a stack.
    let (of_file, placed) = unsafe {
        let place = Place::Hint(at(0));
        (options.file(lent(&file), 1).map(drop), options.at(place, RW, ANON, NO_FD, 0))
    };
    for refused in [
        options.anonymous().map(drop),
        options.align(4 * MIB).anonymous().map(drop),
        options.raw(Prot::NONE, Sharing::Shared).map(drop),
        of_file,
        placed.map(drop),
    ] {
        let error = refused.unwrap_err();
        assert_eq!((error.errno(), error.reason()), (Errno::EINVAL, Some(Reason::LengthZero)));
    }
}

#[test]
fn a_length_over_isize_max_is_refused_before_any_call() {
    let max = isize::MAX as usize;
    let file = file_of_pages(1);
    for len in [max, max + 1, usize::MAX - page() + 1, usize::MAX] {
        let options = MapOptions::new(len);
        // SAFETY: nothing is mapped.
        let of_file = unsafe { options.file(lent(&file), 0) }.map(drop);
        for (refused, granule) in [
            (options.anonymous().map(drop), page()),
            (options.huge(2 * MIB).anonymous().map(drop), 2 * MIB),
            (options.align(4 * MIB).anonymous().map(drop), page()),
            (options.raw(RW, Sharing::Shared).map(drop), page()),
            (of_file, page()),
            (at_place(options, Place::Hint(at(0))).map(drop), page()),
        ] {
            let error = refused.unwrap_err();
            let limit = Some(most(granule));
            assert_eq!(error.argument(), Some(("the length", len, limit)), "{error}");
            assert_eq!((error.errno(), error.call()), (Errno::ENOMEM, None));
        }
    }
    let len = max - page() + 1;
    let error = MapOptions::new(len).anonymous().unwrap_err();
    assert!(error.call().is_some(), "the kernel is asked: {error}");
    assert_eq!(error.errno(), Errno::ENOMEM, "and has not so much: {error}");
    let error = MapOptions::new(len).align(4 * page()).anonymous().unwrap_err();
    assert_eq!(error.errno(), Errno::ENOMEM);
    // Of a file, the bytes before the first one count too.
    // SAFETY: nothing is mapped.
    let error = unsafe { MapOptions::new(len).file(lent(&file), 1) }.unwrap_err();
    assert!(error.argument().is_some(), "{error}");
}

#[test]
fn an_alignment_that_is_no_power_of_two_is_refused() {
    let file = file_of_pages(1);
    for align in [0, 3, page() + 1, usize::MAX] {
        let options = MapOptions::new(1).align(align);
        // SAFETY: nothing is mapped.
        let of_file = unsafe { options.file(lent(&file), 0) }.map(drop);
        for refused in
            [options.anonymous().map(drop), options.raw(RW, Sharing::Shared).map(drop), of_file]
        {
            let error = refused.unwrap_err();
            assert_eq!(error.argument(), Some(("the alignment", align, None)));
            assert!(error.to_string().ends_with("is not a power of two"), "{error}");
        }
    }
}

#[test]
fn every_alignment_is_honoured_and_nothing_but_the_mapping_stays() {
    need_lockable!(64 << 10);
    alone(|| {
        let file = file_of_pages(4);
        let mut space = Space::new();
        // Address spaces differ in width, and of 2^38 bytes not many are multiples of 2^36.
        let has_room = |log2: &u32| Reservation::new(16 << log2, Mode::Overcommit).is_ok();
        for log2 in (0..=30).chain([33, 36]).filter(has_room) {
            let align = 1 << log2;
            let mut options = MapOptions::new(2 * page() + 1).align(align);
            if log2 > 30 {
                // The kernel does not promise so much memory, be it for a moment.
                options = options.noreserve();
            }
            space.look();
            let bytes = space.bytes();
            let maps = [
                options.raw(RW, Sharing::Private).unwrap(),
                options.anonymous().unwrap().into_raw(),
                options.populate().raw(RW, Sharing::Private).unwrap(),
                options.locked().anonymous().unwrap().into_raw(),
                options.raw(RW, Sharing::Shared).unwrap(),
                options.file_raw(lent(&file), page() as u64, RW, Sharing::Shared).unwrap(),
                options.file_raw(lent(&file), 0, RW, Sharing::Private).unwrap(),
            ];
            space.look();
            assert_eq!(space.bytes() - bytes, maps.len() * 3 * page(), "aligned to {align}");
            for map in &maps {
                assert_eq!(map.as_ptr().addr() % align.max(page()), 0, "{map:?}");
                assert_eq!((map.len(), map.mapped_len()), (2 * page() + 1, 3 * page()));
                // SAFETY: the last byte, which can be written.
                unsafe { map.as_ptr().add(2 * page()).write(1) };
            }
            drop(maps);
            space.look();
            assert_eq!(space.bytes(), bytes, "aligned to {align}");
        }
    });
}

#[test]
fn an_aligned_file_is_mapped_from_its_offset_on() {
    let file = file_of_pages(3);
    let options = MapOptions::new(2 * page()).align(8 * MIB);
    // SAFETY: nobody else has the file.
    let map = unsafe { options.file(lent(&file), page() as u64) }.unwrap();
    assert_eq!((map[0], map[page()], map.as_ptr().addr() % (8 * MIB)), (2, 3, 0));
    // From within a page, the page is aligned.
    let options = MapOptions::new(page()).align(8 * MIB);
    // SAFETY: as above.
    let map = unsafe { options.file(lent(&file), page() as u64 + 7) }.unwrap();
    assert_eq!((map[0], map[page() - 1], map.as_ptr().addr() % (8 * MIB)), (2, 3, 7));
}

#[test]
fn a_hint_is_followed_if_the_place_is_free_and_replaces_nothing_if_it_is_not() {
    alone(|| {
        let mut first = MapOptions::new(4 * page()).anonymous().unwrap();
        first[0] = 7;
        let hint = Place::Hint(first.as_mut_ptr());
        let second = at_place(MapOptions::new(page()), hint).unwrap();
        assert_ne!(second.as_ptr().cast_const(), first.as_ptr());
        assert_eq!(first[0], 7);
        let place = first.as_ptr();
        drop((first, second));
        let third = at_place(MapOptions::new(page()), hint).unwrap();
        assert_eq!(third.as_ptr().cast_const(), place);
    });
}

#[test]
fn an_exact_place_is_there_or_eexist_or_an_error() {
    alone(|| {
        let gap = MapOptions::new(4 * page()).anonymous().unwrap();
        let exact = gap.as_ptr().cast_mut().wrapping_add(page());
        let place = |at: *mut u8| at_place(MapOptions::new(2 * page()), Place::Exact(at));
        assert_eq!(place(exact).unwrap_err().errno(), Errno::EEXIST);
        drop(gap);
        let map = place(exact).unwrap();
        assert_eq!(
            (map.as_ptr(), map.len(), map.backing()),
            (exact, 2 * page(), Backing::Anonymous)
        );
        // SAFETY: ours.
        unsafe { map.as_ptr().write_bytes(7, 2 * page()) };
        // In part is taken too, and nothing is changed.
        assert_eq!(place(exact.wrapping_sub(page())).unwrap_err().errno(), Errno::EEXIST);
        // SAFETY: ours.
        let bytes = unsafe { std::slice::from_raw_parts(map.as_ptr(), 2 * page()) };
        assert!(bytes.iter().all(|byte| *byte == 7));
        refused!(EINVAL, place(exact.wrapping_add(1)).map_err(|it| it.errno()));
    });
}

#[test]
fn a_place_outside_of_the_address_space_is_an_error() {
    let error = at_place(MapOptions::new(1), Place::Exact(at(1 << 60))).unwrap_err();
    assert_eq!(error.errno(), Errno::ENOMEM);
}

/// Address 0 can't be held: a privileged process is given it, others are refused.
#[test]
fn a_place_at_null_is_an_error_and_leaves_nothing() {
    alone(|| {
        let mut space = Space::new();
        let error = at_place(MapOptions::new(1), Place::Exact(at(0))).unwrap_err();
        assert!(matches!(error.errno(), Errno::EPERM | Errno::EINVAL), "{error}");
        space.look();
        assert!(space.lacks(at(0), page()));
    });
}

#[test]
fn what_the_kernel_placed_elsewhere_is_unmapped() {
    alone(|| {
        let taken = MapOptions::new(page()).anonymous().unwrap();
        let mut space = Space::new();
        let bytes = space.bytes();
        for _ in 0..100 {
            let exact = Place::Exact(taken.as_ptr().cast_mut());
            let error = at_place(MapOptions::new(page()), exact).unwrap_err();
            assert_eq!(error.errno(), Errno::EEXIST);
        }
        space.look();
        assert_eq!(space.bytes(), bytes);
    });
}

#[test]
fn a_file_lies_at_an_exact_address_and_is_what_its_flags_say() {
    alone(|| {
        let file = file_of_pages(2);
        let room = MapOptions::new(2 * page()).anonymous().unwrap();
        let place = room.as_ptr().cast_mut();
        drop(room);
        let options = MapOptions::new(2 * page());
        let lay = |flags| {
            // SAFETY: an open file, at a place that the kernel chose before.
            unsafe { options.at(Place::Exact(place), RW, flags, file.as_raw_fd(), 0) }
        };
        assert_eq!(lay(MapFlags::PRIVATE).unwrap().backing(), Backing::PrivateFile);
        let map = lay(MapFlags::SHARED).unwrap();
        assert_eq!((map.as_ptr(), map.backing()), (place, Backing::SharedFile));
        // SAFETY: ours.
        unsafe { map.as_ptr().add(page()).write(99) };
        let mut read = vec![0; 2 * page()];
        std::os::unix::fs::FileExt::read_exact_at(&file, &mut read, 0).unwrap();
        assert_eq!(read[page()], 99);
        drop(map);
        // MAP_SHARED_VALIDATE is refused together with any flag that is younger than itself but one.
        refused!(EOPNOTSUPP, lay(MapFlags::SHARED_VALIDATE).map_err(|it| it.errno()));
    });
}

#[test]
fn memory_at_an_address_takes_the_options_flags_too() {
    need_lockable!(64 << 10);
    let map = at_place(MapOptions::new(page()).locked().noreserve(), Place::Hint(at(0))).unwrap();
    assert!(has_flag(map.as_ptr(), "lo") && has_flag(map.as_ptr(), "nr"));
    let whole = at_place(MapOptions::whole(), Place::Hint(at(0)));
    assert_eq!(said(whole), "MapOptions::at: a length must be given; see new");
}

#[test]
fn what_has_no_file_has_no_whole_length() {
    let expected = "there is no file whose whole length it could have; see new";
    assert_eq!(said(MapOptions::whole().anonymous()), format!("MapOptions::anonymous: {expected}"));
    assert_eq!(
        said(MapOptions::whole().raw(RW, Sharing::Shared)),
        format!("MapOptions::raw: {expected}")
    );
}

#[test]
fn options_that_can_not_be_are_refused_of_an_empty_file_too() {
    let (empty, whole) = (memfd(0), MapOptions::whole());
    let sealed = sealed_empty_memfd();
    for options in [whole.align(24), whole.align(0), whole.huge(3 * MIB), whole.huge(0)] {
        // SAFETY: an empty file.
        let refused = unsafe { options.file(lent(&empty), 0) };
        assert!(said(refused).ends_with("is not a power of two"));
        assert!(said(options.file_sealed(lent(&sealed), 0)).ends_with("is not a power of two"));
    }
    let both = whole.transparent_huge().populate();
    assert!(both.file_raw(lent(&empty), 0, Prot::READ, Sharing::Shared).is_err());
    assert_eq!(whole.align(MIB).file_sealed(lent(&sealed), 0).map(|map| map.len()), Ok(0));
}

fn sealed_empty_memfd() -> std::fs::File {
    // SAFETY: plain calls; the descriptor is new and ours.
    unsafe {
        let fd = libc::memfd_create(c"sealed".as_ptr(), libc::MFD_ALLOW_SEALING);
        let seals = libc::F_SEAL_WRITE | libc::F_SEAL_SHRINK;
        assert_eq!(libc::fcntl(fd, libc::F_ADD_SEALS, seals), 0);
        std::fs::File::from_raw_fd(fd)
    }
}

#[test]
fn a_descriptor_is_lent_by_its_number_without_the_standard_library() {
    let file = file_of_pages(1);
    let fd: Fd<'_> = lent(&file);
    assert_eq!(fd.raw(), file.as_raw_fd());
    // SAFETY: nobody else has the file.
    let map = unsafe { MapOptions::whole().file(fd, 0) }.unwrap();
    drop(file);
    assert_eq!((map.len(), map[page() - 1]), (page(), 1), "the descriptor is closed");
}

#[test]
fn any_protection_can_be_asked_for() {
    let end = |prot| reading(MapOptions::new(1).raw(prot, Sharing::Private).unwrap().as_ptr());
    assert_eq!((end(Prot::NONE), end(Prot::READ), end(RW)), (SEGV, OK, OK));
}

#[test]
fn populated_and_locked_memory_is_resident() {
    need_lockable!(64 << 10);
    for options in [MapOptions::new(4 * page()).populate(), MapOptions::new(4 * page()).locked()] {
        let map = options.anonymous().unwrap();
        let mut room = [0; 4];
        let pages = map.resident(.., &mut room).unwrap();
        assert!(pages.iter().all(|byte| byte & 1 == 1), "{pages:?}");
    }
    assert!(has_flag(MapOptions::new(page()).locked().anonymous().unwrap().as_ptr(), "lo"));
}

#[test]
fn memory_without_reserve_says_so() {
    let map = MapOptions::new(page()).noreserve().anonymous().unwrap();
    if std::fs::read_to_string("/proc/sys/vm/overcommit_memory").unwrap().trim() == "2" {
        skip!("vm.overcommit_memory is 2, under which the flag is ignored");
        return;
    }
    assert!(has_flag(map.as_ptr(), "nr"));
}

#[test]
fn memory_for_a_stack_has_no_huge_pages() {
    let mut map = MapOptions::new(page()).stack().anonymous().unwrap();
    map[0] = 1;
    // Since Linux 6.7, where the kernel has huge pages at all.
    let huge = std::path::Path::new("/sys/kernel/mm/transparent_hugepage").exists();
    assert!(kernel() < (6, 7) || !huge || has_flag(map.as_ptr(), "nh"));
}

#[test]
fn shared_memory_is_seen_by_a_child_and_private_memory_is_not() {
    let of = |sharing| MapOptions::new(page()).raw(RW, sharing).unwrap();
    let maps = [of(Sharing::Shared), of(Sharing::Private)];
    assert_eq!(maps[0].backing(), Backing::SharedAnonymous);
    let both = [&maps[0], &maps[1]].map(Mapping::as_ptr);
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
    match MapOptions::new(page()).raw(RW, Sharing::Droppable) {
        Ok(map) => {
            // SAFETY: a readable page of ours.
            assert_eq!(unsafe { map.as_ptr().read() }, 0);
            assert_eq!(map.backing(), Backing::Anonymous);
        }
        Err(error) => {
            assert!(kernel() < (6, 11) || emulator().is_some(), "{error}");
            assert_eq!(error.errno(), Errno::EINVAL);
        }
    }
}

#[test]
fn only_persistent_memory_can_be_synced_page_by_page() {
    let file = temp_file();
    file.set_len(page() as u64).unwrap();
    let map = MapOptions::new(page()).file_raw(lent(&file), 0, RW, Sharing::SharedSync);
    refused!(EOPNOTSUPP, map.map_err(|it| it.errno()));
}

#[test]
fn a_size_of_huge_pages_that_is_none_is_refused_before_any_call() {
    let error = |bytes| MapOptions::new(1).huge(bytes).anonymous().unwrap_err();
    for bytes in [0, 3 * MIB, 2 * MIB + 1, usize::MAX] {
        let said =
            format!("MapOptions::anonymous: the huge pages' size {bytes} is not a power of two");
        assert_eq!((error(bytes).to_string(), error(bytes).errno()), (said, Errno::EINVAL));
    }
    for bytes in [1, 21, 30, page() / 2] {
        assert!(error(bytes).argument().is_some(), "{bytes}, a logarithm perhaps");
    }
}

#[test]
fn a_size_of_huge_pages_that_the_machine_has_not_is_refused_by_the_kernel() {
    for log2 in [40, 61] {
        let error = MapOptions::new(1).huge(1 << log2).anonymous().unwrap_err();
        assert!(matches!(error.errno(), Errno::EINVAL | Errno::ENOMEM), "{log2}: {error}");
        let said = error.to_string();
        assert!(said.contains(&format!("MAP_HUGETLB|{log2}<<MAP_HUGE_SHIFT")), "{said}");
    }
    // A page that no object may have.
    let error = MapOptions::new(1).huge(1 << 63).anonymous().unwrap_err();
    assert_eq!(error.argument(), Some(("the huge pages' size", 1 << 63, Some(1 << 62))));
}

#[test]
fn the_last_size_of_huge_pages_counts() {
    assert_eq!(MapOptions::new(1).huge(1 << 30).huge(1 << 21), MapOptions::new(1).huge(1 << 21));
}

/// A page that is missing when the slice is written is SIGBUS.
#[test]
fn a_slice_on_huge_pages_is_reserved_and_populated() {
    let error = MapOptions::new(1).huge(2 * MIB).noreserve().anonymous().unwrap_err();
    assert!(error.to_string().contains("may be missing when they are used"), "{error}");
    let done = with_huge_pages(|| {
        let map = MapOptions::new(3 * MIB).huge(HUGE).anonymous().unwrap();
        let mut pages = vec![0; 4 * MIB / page()];
        let pages = map.resident(.., &mut pages).unwrap();
        assert!(pages.iter().all(|page| page & 1 == 1));
        // More than the pool has: an error now, and no SIGBUS later. Nothing is left of it.
        let mut space = Space::new();
        let before = space.bytes();
        let error = MapOptions::new(1 << 40).huge(HUGE).anonymous().unwrap_err();
        assert_eq!(error.errno(), Errno::ENOMEM);
        space.look();
        assert_eq!(space.bytes(), before);
        // As raw memory it may be had, page or no page.
        let raw = MapOptions::new(64 * HUGE).huge(HUGE).noreserve().raw(RW, Sharing::Private);
        let raw = raw.unwrap();
        assert_eq!(raw.populate_write(..).unwrap_err().errno(), Errno::EFAULT);
    });
    if let Err(why) = done {
        skip!("{why}");
    }
}

const HUGE: usize = 2 * MIB;

#[test]
fn a_huge_mapping_of_3_mib_is_really_unmapped() {
    let done = with_huge_pages(|| {
        let mut map = MapOptions::new(3 * MIB).huge(HUGE).anonymous().unwrap();
        assert_eq!((map.len(), map.mapped_len(), map.granule().bytes()), (3 * MIB, 4 * MIB, HUGE));
        map.fill(7);
        let at = map.as_mut_ptr();
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
            let options = MapOptions::new(3 * MIB).huge(HUGE).align(align);
            for options in [options, options.populate()] {
                let mut map = options.anonymous().unwrap();
                let at = map.as_mut_ptr();
                assert_eq!(at.addr() % align.max(HUGE), 0);
                let error = map.split_off(MIB).unwrap_err();
                assert_eq!(error.argument(), Some(("the place", MIB, Some(HUGE))));
                let second = map.split_off(HUGE).unwrap();
                assert_eq!((map.len(), second.len()), (HUGE, MIB));
                map.try_unsplit(second).unwrap();
                map.resize(1).unwrap();
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

/// There may be no page left when the bytes are used again, or for what is gained.
#[test]
fn a_slice_on_huge_pages_neither_grows_nor_is_purged() {
    let done = with_huge_pages(|| {
        let mut map = MapOptions::new(HUGE).huge(HUGE).anonymous().unwrap();
        map.fill(7);
        let said = map.purge(..).unwrap_err().to_string();
        assert_eq!(said, "Mapping::purge: a slice on huge pages keeps them; see into_raw");
        let said = map.resize(2 * HUGE).unwrap_err().to_string();
        assert!(
            said.starts_with("Mapping::resize: only private anonymous memory on ordinary"),
            "{said}"
        );
        assert!(map.iter().all(|byte| *byte == 7));
        let refused = map.into_reservation(Mode::Strict).unwrap_err();
        let said = format!("Mapping::into_reservation: the granule {HUGE} is not {}", page());
        assert_eq!(refused.to_string(), said);
        let mut map = refused.into_owner().unwrap();
        map.fill(8);
        // SAFETY: nobody else has it.
        let first = unsafe { map.into_raw().as_ptr().read() };
        assert_eq!(first, 8);
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
        let map = MapOptions::new(2 * HUGE).huge(HUGE);
        let mut map = map.raw(RW, Sharing::Private).unwrap();
        map.populate_write(HUGE..HUGE + 1).unwrap();
        map.lock(..1).unwrap();
        map.unlock(HUGE - 1..HUGE).unwrap();
        // SAFETY: ours, and it can be written.
        unsafe { map.as_ptr().write_bytes(7, 2 * HUGE) };
        for range in [0..page(), page()..HUGE, HUGE - page()..HUGE] {
            let argument = map.purge(range).unwrap_err().argument().unwrap();
            assert_eq!(argument.2, Some(HUGE));
        }
        map.purge(..HUGE).unwrap();
        // SAFETY: as above.
        let bytes = unsafe { std::slice::from_raw_parts(map.as_ptr(), 2 * HUGE) };
        assert!(bytes[..HUGE].iter().all(|byte| *byte == 0), "it said zeroes");
        assert!(bytes[HUGE..].iter().all(|byte| *byte == 7));
        assert_eq!(map.inwards(page()..2 * HUGE), Ok(HUGE..2 * HUGE));
        map.protect(..HUGE, Prot::READ).unwrap();
        assert_eq!(writing(map.as_ptr().wrapping_add(HUGE - 1)), SEGV);
        assert_eq!(writing(map.as_ptr().wrapping_add(HUGE)), OK);
        map.guard(HUGE..).unwrap();
        assert_eq!(reading(map.as_ptr().wrapping_add(HUGE)), SEGV);
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

/// A file of huge pages is mapped by its own ones, whatever was asked for: that is learnt, so that
/// dropping unmaps all of it and nothing of others.
#[test]
fn a_mapping_of_a_huge_file_knows_its_granule_and_owns_all_that_it_unmaps() {
    let done = with_huge_pages(|| {
        let file = huge_memfd();
        let mut space = Space::new();
        for (options, len) in [
            (MapOptions::new(1), HUGE),
            (MapOptions::new(HUGE), HUGE),
            (MapOptions::new(3 * MIB), 2 * HUGE),
            (MapOptions::new(1).align(8 * MIB), HUGE),
            (MapOptions::whole(), 2 * HUGE),
        ] {
            let map: Mapping<Raw> = options.file_raw(lent(&file), 0, RW, Sharing::Shared).unwrap();
            assert_eq!((map.mapped_len(), map.granule().bytes()), (len, HUGE), "{options:?}");
            let at = map.as_ptr();
            space.look();
            assert!(space.has(at, len), "all that is owned is mapped");
            map.advise(.., Advice::NORMAL).unwrap();
            let parts = map.into_raw_parts();
            // SAFETY: given up by the line above.
            let map: Mapping<Raw> = unsafe { Mapping::from_raw_parts(parts) }.unwrap();
            map.unmap().unwrap();
            space.look();
            assert!(space.lacks(at, len), "{options:?}");
        }
    });
    if let Err(why) = done {
        skip!("{why}");
    }
}

#[test]
fn a_huge_file_is_mapped_from_any_byte_of_its_first_page_on() {
    let done = with_huge_pages(|| {
        let file = huge_memfd();
        let map = MapOptions::new(1).file_raw(lent(&file), 100, RW, Sharing::Shared).unwrap();
        assert_eq!((map.mapped_len(), map.as_ptr().addr() % HUGE), (HUGE, 100));
        // SAFETY: ours.
        unsafe { map.as_ptr().write(7) };
        drop(map);
        // SAFETY: nobody else has the file.
        let whole = unsafe { MapOptions::whole().file(lent(&file), 100) }.unwrap();
        assert_eq!((whole.len(), whole[0]), (4 * MIB - 100, 7));
    });
    if let Err(why) = done {
        skip!("{why}");
    }
}

/// Each write would take a page of the pool, of which there may be none.
#[test]
fn a_private_file_on_huge_pages_is_not_made_writable() {
    let done = with_huge_pages(|| {
        let file = huge_memfd();
        // SAFETY: nobody else has the file.
        let map = unsafe { MapOptions::whole().file(lent(&file), 0) }.unwrap();
        let refused = map.make_writable().unwrap_err();
        let said =
            "Mapping::make_writable: a file on huge pages is not made writable; copy its bytes";
        assert_eq!(refused.to_string(), said);
        assert_eq!(refused.into_owner().unwrap()[0], 0);
    });
    if let Err(why) = done {
        skip!("{why}");
    }
}

#[test]
fn a_mapping_on_huge_pages_is_not_moved_over_a_reservation() {
    let done = with_huge_pages(|| {
        let file = huge_memfd();
        for len in [3 * MIB, 4 * MIB] {
            let of_file =
                MapOptions::new(len).file_raw(lent(&file), 0, RW, Sharing::Shared).unwrap();
            let anonymous = MapOptions::new(len).huge(HUGE).raw(RW, Sharing::Private).unwrap();
            for mut map in [of_file, anonymous] {
                let place = Reservation::new(map.mapped_len(), Mode::Strict).unwrap();
                let (from, to) = (map.as_ptr(), place.as_ptr());
                let refused = place.place(&mut map).unwrap_err();
                assert!(
                    refused
                        .to_string()
                        .starts_with("Reservation::place: the mapping's granule 2097152")
                );
                assert_eq!((map.as_ptr(), refused.into_owner().unwrap().as_ptr()), (from, to));
            }
        }
    });
    if let Err(why) = done {
        skip!("{why}");
    }
}

/// Its mapping must know how large the pages are.
#[test]
fn huge_pages_at_an_address_are_told_by_their_size() {
    let place = Place::Hint(std::ptr::null_mut());
    // SAFETY: the kernel chooses the place.
    let refused =
        unsafe { MapOptions::new(1).at(place, RW, ANON | rawmap::MapFlags::huge(21), NO_FD, 0) };
    assert!(
        refused
            .unwrap_err()
            .to_string()
            .starts_with("MapOptions::at: the size of huge pages is told by")
    );
}

#[test]
fn a_lack_of_memory_names_the_limits() {
    if emulator().is_some() {
        return skip!("QEMU applies no RLIMIT_AS");
    }
    alone(|| {
        let says = |error: Error, hint: &str| {
            assert_eq!(error.errno(), Errno::ENOMEM, "{error}");
            assert!(error.to_string().ends_with(hint), "{error}");
        };
        let mut small = MapOptions::new(page()).anonymous().unwrap();
        limit(libc::RLIMIT_AS, page() as u64);
        let (large, counted) =
            (MapOptions::new(16 * page()), "vm.overcommit_memory, ulimit -v or -d allow?");
        says(large.anonymous().unwrap_err(), counted);
        says(large.raw(Prot::READ, Sharing::Shared).unwrap_err(), counted);
        let uncounted = "ulimit -v allows, or are there vm.max_map_count mappings?";
        says(large.noreserve().anonymous().unwrap_err(), counted);
        says(Reservation::new(16 * page(), Mode::Strict).unwrap_err(), uncounted);
        says(small.resize(16 * page()).unwrap_err(), counted);
    });
}

/// Where one thing mends a refusal most often, the error says it.
#[test]
fn a_refusal_says_what_may_mend_it() {
    need_lockable!(64 << 10);
    let (path, _file) = named_temp_file();
    std::fs::write(&path, vec![7; page()]).unwrap();
    let open = |write: bool| File::options().read(!write).write(write).open(&path).unwrap();
    let (read_only, write_only) = (open(false), open(true));
    std::fs::remove_file(&path).unwrap();
    let map = |file: &File, prot, sharing| {
        // SAFETY: open for as long as it is borrowed.
        let file = unsafe { Fd::borrow_raw(file.as_raw_fd()) };
        MapOptions::new(page()).file_raw(file, 0, prot, sharing)
    };
    // The first may fill holes above what exec mapped, where owners change no protection.
    let hidden: Vec<_> =
        (0..16).map(|_| map(&read_only, Prot::READ, Sharing::Shared).unwrap()).collect();
    let cases = [
        (map(&read_only, RW, Sharing::Shared).map(drop), "open for both reading and writing?"),
        (map(&write_only, Prot::READ, Sharing::Private).map(drop), "open for reading?"),
        (hidden[15].protect(.., RW), "open for writing?"),
    ];
    for (refused, says) in cases {
        let error = refused.unwrap_err();
        assert_eq!(error.errno(), Errno::EACCES, "{error}");
        assert!(error.to_string().ends_with(says), "{error}");
    }
    let ends = |refused: Result<(), Error>, errno, says: &str| {
        let error = refused.unwrap_err();
        assert!(error.errno() == errno && error.to_string().ends_with(says), "{error}");
    };
    // SAFETY: nothing is mapped: the place is taken.
    let again =
        unsafe { MapOptions::new(1).at(Place::Exact(hidden[0].as_ptr()), RW, ANON, NO_FD, 0) };
    ends(again.map(drop), Errno::EEXIST, "something is mapped there");
    let mut low = MapOptions::new(2 * page()).raw(RW, Sharing::Private).unwrap();
    let _high = low.split_off(page()).unwrap();
    ends(low.resize_in_place(2 * page()), Errno::ENOMEM, "is something mapped right behind it?");
    let mut parts = MapOptions::new(2 * page()).raw(RW, Sharing::Private).unwrap();
    parts.protect(page().., Prot::READ).unwrap();
    ends(parts.resize(8 * page()), Errno::EFAULT, "the kernel moves one at a time");
    // SAFETY: it is not open, so nothing is mapped.
    let closed = unsafe { Fd::borrow_raw(1 << 20) };
    let of_closed = MapOptions::new(1).file_raw(closed, 0, Prot::READ, Sharing::Private);
    ends(of_closed.map(drop), Errno::EBADF, "is the descriptor open, and not by O_PATH?");
    // SAFETY: as above.
    let none = unsafe { Fd::borrow_raw(NO_FD) };
    let of_none = MapOptions::whole().file_raw(none, 0, Prot::READ, Sharing::Private);
    ends(of_none.map(drop), Errno::EBADF, "fstat of descriptor -1: EBADF: bad file descriptor");
    if !qemu_before(11) {
        let error = hidden[0].populate_write(..).unwrap_err();
        assert!(error.to_string().ends_with("Linux 5.14 or newer?"), "{error}");
    }
    if !has_right(CAP_IPC_LOCK) {
        let (error, most) = (MapOptions::new(1 << 30).locked().anonymous(), "(ulimit -l)");
        assert!(error.unwrap_err().to_string().ends_with(most));
        let error = MapOptions::new(1 << 30).anonymous().unwrap().lock(..).unwrap_err();
        assert!(error.to_string().ends_with("(ulimit -l)?"), "{error}");
    }
}
