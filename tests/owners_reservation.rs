//! `Reservation`: address space that is committed and given back by parts.
mod common;
use common::*;
use rawmap::{
    Advice, Backing, Errno, Error, MapOptions, Mapping, Mode, Prot, Raw, Reservation, Sharing,
};
use std::ops::Bound::{self, Excluded, Included, Unbounded};
use std::sync::atomic::{AtomicBool, Ordering};

const MIB: usize = 1 << 20;
const MODES: [Mode; 2] = [Mode::Overcommit, Mode::Strict];

fn new(len: usize, mode: Mode) -> Reservation {
    Reservation::new(len, mode).unwrap()
}

/// Fills a committed range.
fn fill(it: &Reservation, offset: usize, len: usize, value: u8) {
    assert!(offset + len <= it.len());
    // SAFETY: within the reservation, which the test committed.
    unsafe { it.as_ptr().add(offset).write_bytes(value, len) };
}

/// Whether a committed range holds this byte alone.
fn holds(it: &Reservation, offset: usize, len: usize, value: u8) -> bool {
    assert!(offset + len <= it.len());
    // SAFETY: as above; nobody writes it meanwhile.
    let bytes = unsafe { std::slice::from_raw_parts(it.as_ptr().add(offset), len) };
    bytes.iter().all(|byte| *byte == value)
}

#[test]
fn a_reservation_is_as_long_as_asked_for_in_whole_pages_and_gone_when_dropped() {
    alone(|| {
        let mut space = Space::new();
        for mode in MODES {
            let it = new(3 * page() + 1, mode);
            assert_eq!((it.len(), it.mode()), (4 * page(), mode));
            let at = it.as_ptr();
            space.look();
            assert!(space.has(at, 4 * page()));
            drop(it);
            space.look();
            assert!(space.lacks(at, 4 * page()));
        }
    });
}

#[test]
fn more_than_memory_can_be_reserved() {
    if emulator().is_some() {
        skip!("the emulator's memory is bounded here");
        return;
    }
    for mode in MODES {
        match Reservation::new(1 << 36, mode) {
            Ok(it) => assert_eq!(it.len(), 1 << 36),
            Err(error) => {
                let strict = std::fs::read_to_string("/proc/sys/vm/overcommit_memory").unwrap();
                assert_eq!((strict.trim(), mode), ("2", Mode::Overcommit), "{error}");
            }
        }
    }
}

#[test]
fn lengths_and_alignments_that_can_not_be_are_refused() {
    for mode in MODES {
        assert_eq!(new_error(0, 1, mode).errno(), Errno::EINVAL);
        for len in [isize::MAX as usize, usize::MAX - page(), usize::MAX] {
            for align in [1, 1 << 30] {
                let error = new_error(len, align, mode);
                let expected = Some(("the length", len, Some(most(page()))));
                assert_eq!((error.argument(), error.errno()), (expected, Errno::ENOMEM));
            }
        }
        for align in [0, 3, usize::MAX] {
            assert_eq!(new_error(1, align, mode).argument(), Some(("the alignment", align, None)));
        }
        let error = new_error(page(), 1 << 63, mode);
        let expected = Some(("the alignment", 1 << 63, Some(1 << 62)));
        assert_eq!((error.argument(), error.errno()), (expected, Errno::ENOMEM));
        // The kernel has no such room.
        let error = new_error(page(), 1 << 62, mode);
        assert_eq!((error.argument(), error.errno()), (None, Errno::ENOMEM));
    }
}

fn new_error(len: usize, align: usize, mode: Mode) -> Error {
    Reservation::aligned(len, align, mode).unwrap_err()
}

#[test]
fn overcommitted_memory_is_usable_at_once_and_strict_memory_when_it_is_committed() {
    let it = new(4 * page(), Mode::Overcommit);
    it.commit(..).unwrap();
    fill(&it, 0, 4 * page(), 7);
    let it = new(4 * page(), Mode::Strict);
    let end = |n: usize| writing(it.as_ptr().wrapping_add(n * page()));
    assert_eq!([0, 1, 2, 3].map(end), [SEGV; 4]);
    it.commit(page()..3 * page()).unwrap();
    assert_eq!([0, 1, 2, 3].map(end), [SEGV, OK, OK, SEGV]);
    it.commit(page()..2 * page()).unwrap();
    assert!(holds(&it, page(), 2 * page(), 0));
}

#[test]
fn decommitted_memory_is_zeroes_when_it_is_committed_again_and_the_rest_is_kept() {
    for mode in MODES {
        let it = new(4 * page(), mode);
        it.commit(..).unwrap();
        fill(&it, 0, 4 * page(), 7);
        it.decommit(page()..3 * page()).unwrap();
        if mode == Mode::Strict {
            assert_eq!(reading(it.as_ptr().wrapping_add(page())), SEGV);
        }
        it.commit(page()..3 * page()).unwrap();
        assert!(holds(&it, page(), 2 * page(), 0));
        assert!(holds(&it, 0, page(), 7) && holds(&it, 3 * page(), page(), 7));
    }
}

#[test]
fn purged_memory_is_zeroes_and_stays_committed_locked_or_not() {
    need_lockable!(64 << 10);
    for mode in MODES {
        let it = new(4 * page(), mode);
        it.commit(..).unwrap();
        fill(&it, 0, 4 * page(), 7);
        // SAFETY: locking changes no memory.
        unsafe { rawmap::mlock(it.as_ptr(), 2 * page()) }.unwrap();
        it.purge(..3 * page()).unwrap();
        let purged = holds(&it, 0, 3 * page(), 0);
        answers!(true, purged, qemu ..11 => false, "MADV_DONTNEED_LOCKED does nothing, and succeeds");
        assert!(holds(&it, 3 * page(), page(), 7));
    }
}

/// A method of a range.
type Range = (Bound<usize>, Bound<usize>);
type Method = (&'static str, fn(&Reservation, Range) -> Result<(), Error>);

#[test]
fn ranges_are_those_of_a_slice_in_whole_pages() {
    const METHODS: [Method; 3] = [
        ("commit", |it, range| it.commit(range)),
        ("decommit", |it, range| it.decommit(range)),
        ("purge", |it, range| it.purge(range)),
    ];
    for mode in MODES {
        let it = new(4 * page(), mode);
        let size = it.len();
        for (name, method) in METHODS {
            for (start, end, wrong, value, limit) in [
                (Unbounded, Excluded(size + 1), "the range's end", size + 1, size),
                (Unbounded, Included(usize::MAX), "the range's end", usize::MAX, size),
                (Included(size + page()), Unbounded, "the range's start", size + page(), size),
                (Excluded(usize::MAX), Unbounded, "the range's start", usize::MAX, size),
                (Included(page()), Excluded(0), "the range's end", 0, page()),
                (Included(1), Unbounded, "the range's start", 1, page()),
                (Excluded(page()), Unbounded, "the range's start", page() + 1, page()),
                (Unbounded, Excluded(1), "the range's end", 1, page()),
                (Unbounded, Excluded(size - 1), "the range's end", size - 1, page()),
            ] {
                let error = method(&it, (start, end)).unwrap_err();
                let expected = Some((wrong, value, Some(limit)));
                assert_eq!(error.argument(), expected, "{name} {start:?} {end:?}: {error}");
                assert!(
                    error.to_string().starts_with(&format!("Reservation::{name}: ")),
                    "{error}"
                );
            }
            for (start, end) in [
                (Included(0), Excluded(0)),
                (Included(size), Unbounded),
                (Excluded(size - page() - 1), Included(size - 1)),
                (Unbounded, Unbounded),
            ] {
                assert_eq!(method(&it, (start, end)), Ok(()), "{name} {start:?} {end:?}");
            }
        }
    }
}

#[test]
fn advice_and_names_are_given_to_ranges() {
    for mode in MODES {
        let it = new(4 * page(), mode);
        it.advise(page()..2 * page(), Advice::DONTDUMP).unwrap();
        assert!(it.advise(.., Advice::DONTNEED).is_err());
        match it.name(page().., c"a heap's") {
            Ok(()) if emulator().is_none() => {
                let at = it.as_ptr().wrapping_add(page());
                assert!(smaps(at, at.wrapping_add(1))[0].0.ends_with("[anon:a heap's]"));
            }
            Ok(()) => {}
            Err(error) => {
                assert_eq!(error.errno(), Errno::EINVAL);
                skip!("the kernel has no names, or the emulator passes none on: {error}");
            }
        }
    }
}

#[test]
fn raw_parts_make_the_same_reservation_again() {
    alone(|| {
        for mode in MODES {
            let it = new(4 * page(), mode);
            it.commit(..).unwrap();
            fill(&it, 0, 4 * page(), 7);
            let parts = it.into_raw().into_raw_parts();
            assert_eq!((parts.len, parts.backing), (4 * page(), Backing::Anonymous));
            let mut space = Space::new();
            // SAFETY: given up by the lines above, by a reservation of this mode.
            let it = unsafe {
                let raw: Mapping<Raw> = Mapping::from_raw_parts(parts).unwrap();
                Reservation::from_raw(raw, mode)
            };
            assert!(holds(&it, 0, parts.len, 7) && it.len() == parts.len && it.mode() == mode);
            it.decommit(..).unwrap();
            it.commit(..).unwrap();
            assert!(holds(&it, 0, parts.len, 0));
            drop(it);
            space.look();
            assert!(space.lacks(parts.start.as_ptr(), parts.len));
        }
    });
}

#[test]
fn aligned_reservations_are_aligned_and_leave_nothing_else() {
    alone(|| {
        for mode in MODES {
            let mut space = Space::new();
            let before = space.bytes();
            let mut all = Vec::with_capacity(200);
            for n in 0..200 {
                let align = 1 << (n % 27);
                let it = Reservation::aligned(64 << 10, align, mode).unwrap();
                assert_eq!((it.as_ptr().addr() % align, it.len()), (0, 64 << 10));
                it.commit(..).unwrap();
                fill(&it, 0, 64 << 10, 7);
                all.push(it);
            }
            space.look();
            assert_eq!(space.bytes() - before, 200 * (64 << 10));
            drop(all);
            space.look();
            // The vector is the heap's.
            assert!(space.bytes() <= before + 64 * 1024);
        }
    });
}

/// The pool of a thousand aligned chunks: one reservation, and no call for each.
#[test]
fn a_large_reservation_is_cut_into_aligned_chunks() {
    for mode in MODES {
        let mut pool = Reservation::aligned(64 * MIB, 4 * MIB, mode).unwrap();
        let mut chunks = Vec::new();
        while !pool.is_empty() {
            let rest = pool.split_off(4 * MIB).unwrap();
            chunks.push(std::mem::replace(&mut pool, rest));
        }
        assert_eq!(chunks.len(), 16);
        assert!(chunks.iter().all(|it| it.as_ptr().addr() % (4 * MIB) == 0 && it.mode() == mode));
        let mut chunks = chunks.into_iter().rev();
        let mut all = chunks.next().unwrap();
        for mut below in chunks {
            below.try_unsplit(all).unwrap();
            all = below;
        }
        assert_eq!(all.len(), 64 * MIB);
    }
}

#[test]
fn the_parts_of_a_split_reservation_are_dropped_apart() {
    alone(|| {
        let mut space = Space::new();
        let mut low = new(3 * page(), Mode::Strict);
        let mut middle = low.split_off(page()).unwrap();
        let high = middle.split_off(page()).unwrap();
        let at = low.as_ptr();
        drop(middle);
        space.look();
        let at = |n: usize| at.wrapping_add(n * page());
        assert!(space.has(at(0), page()) && space.lacks(at(1), page()) && space.has(at(2), page()));
        low.commit(..).unwrap();
        drop(low);
        high.commit(..).unwrap();
        fill(&high, 0, page(), 7);
        space.look();
        assert!(space.lacks(at(0), page()) && space.has(at(2), page()));
    });
}

#[test]
fn a_split_within_a_page_or_behind_the_end_is_refused_and_changes_nothing() {
    let mut it = new(2 * page(), Mode::Strict);
    let size = it.len();
    for (at, limit) in [(1, page()), (page() + 1, page()), (size + 1, size), (usize::MAX, size)] {
        let error = it.split_off(at).unwrap_err();
        assert_eq!(error.argument(), Some(("the place", at, Some(limit))));
    }
    let rest = it.split_off(size).unwrap();
    assert!(rest.is_empty() && it.len() == size);
    assert_eq!(rest.granule(), it.granule(), "also where pages are larger than 4096 bytes");
    let all = it.split_off(0).unwrap();
    assert_eq!((it.len(), all.len(), all.mode()), (0, size, Mode::Strict));
    assert!(it.is_empty());
}

#[test]
fn only_neighbours_of_one_mode_are_joined() {
    let mut low = new(3 * page(), Mode::Strict);
    let mut high = low.split_off(2 * page()).unwrap();
    let middle = low.split_off(page()).unwrap();
    let mut low = high.try_unsplit(low).unwrap_err();
    let high = low.try_unsplit(high).unwrap_err();
    let middle = middle.into_mapping().unwrap().into_reservation(Mode::Overcommit).unwrap();
    let middle = low.try_unsplit(middle).unwrap_err();
    assert_eq!((middle.mode(), middle.len()), (Mode::Overcommit, page()));
    let middle = middle.into_mapping().unwrap().into_reservation(Mode::Strict).unwrap();
    low.try_unsplit(middle).unwrap();
    low.try_unsplit(high).unwrap();
    low.commit(..).unwrap();
    fill(&low, 0, 3 * page(), 7);
}

#[test]
fn a_piece_becomes_a_slice_of_zeroes_and_goes_back_empty() {
    alone(|| {
        for mode in MODES {
            let mut low = new(4 * page(), mode);
            let high = low.split_off(2 * page()).unwrap();
            let at = low.as_ptr();
            let mut map = low.into_mapping().unwrap();
            assert!(map.as_ptr() == at && map.iter().all(|byte| *byte == 0));
            map.fill(7);
            // What the mapping has become meanwhile does not matter.
            let map = map.make_read_only().unwrap();
            let mut low = map.into_reservation(mode).unwrap();
            if mode == Mode::Strict {
                assert_eq!(reading(at), SEGV);
            }
            assert_eq!((low.as_ptr(), low.len(), low.mode()), (at, 2 * page(), mode));
            low.try_unsplit(high).unwrap();
            low.commit(..).unwrap();
            assert!(holds(&low, 0, 4 * page(), 0));
        }
    });
}

#[test]
fn what_goes_back_is_whole_pages_be_the_mapping_of_a_part_of_them() {
    let file = file_of_pages(3);
    // SAFETY: nobody else has the file.
    let map = unsafe { MapOptions::new(page()).file(lent(&file), page() as u64 + 7) }.unwrap();
    let at = map.as_ptr().cast_mut().wrapping_sub(7);
    let it = map.into_reservation(Mode::Strict).unwrap();
    assert_eq!((it.as_ptr(), it.len()), (at, 2 * page()));
    it.commit(..).unwrap();
    assert!(holds(&it, 0, 2 * page(), 0));
}

#[test]
fn many_pieces_that_went_back_are_one_mapping_again() {
    if emulator().is_some() {
        skip!("the emulator's smaps are not the program's");
        return;
    }
    alone(|| {
        let mut rest = new(64 * page(), Mode::Strict);
        let at = rest.as_ptr();
        let parts = || smaps(at, at.wrapping_add(64 * page())).len();
        let before = parts();
        let mut pieces = Vec::new();
        while !rest.is_empty() {
            let next = rest.split_off(page()).unwrap();
            pieces.push(std::mem::replace(&mut rest, next).into_mapping().unwrap());
        }
        // Touched one by one, in no order: each has its own anon_vma.
        (0..64).for_each(|n| pieces[n * 37 % 64][0] = 1);
        let mut all = Reservation::new(page(), Mode::Strict).unwrap().split_off(page()).unwrap();
        for piece in pieces {
            let piece = piece.into_reservation(Mode::Strict).unwrap();
            all = match all.is_empty() {
                true => piece,
                false => {
                    all.try_unsplit(piece).unwrap();
                    all
                }
            };
        }
        assert_eq!((all.len(), parts()), (64 * page(), before));
    });
}

#[test]
fn a_mapping_is_moved_into_its_place_with_its_bytes() {
    alone(|| {
        let mut space = Space::new();
        let (file, mut low) = (file_of_pages(2), new(4 * page(), Mode::Strict));
        let (high, to) = (low.split_off(2 * page()).unwrap(), low.as_ptr());
        let mut map = MapOptions::new(2 * page()).anonymous().unwrap();
        let from = map.as_mut_ptr();
        map.fill(7);
        low.place(&mut map).unwrap();
        assert_eq!((map.as_mut_ptr(), map.len()), (to, 2 * page()));
        assert!(map.iter().all(|byte| *byte == 7));
        map.fill(8);
        space.look();
        assert!(space.lacks(from, 2 * page()), "it lies there no longer");
        // From within a page on, and a slice.
        // SAFETY: nobody else has the file.
        let mut image = unsafe { MapOptions::new(page()).file(lent(&file), 9) }.unwrap();
        let to = high.as_ptr();
        high.place(&mut image).unwrap();
        assert_eq!(image.as_ptr(), to.wrapping_add(9).cast_const());
        assert_eq!((image[0], image[page() - 1]), (1, 2));
        drop((image, map));
        space.look();
        assert!(space.lacks(to, 2 * page()));
    });
}

#[test]
fn a_mapping_of_another_length_is_not_placed_and_both_stay() {
    let (place, mut map) =
        (new(2 * page(), Mode::Strict), MapOptions::new(page()).anonymous().unwrap());
    let (from, to) = (map.as_mut_ptr(), place.as_ptr());
    let refused = place.place(&mut map).unwrap_err();
    let said = format!("Reservation::place: the mapping's length {} is not {}", page(), 2 * page());
    assert_eq!((refused.to_string(), map.as_mut_ptr()), (said, from));
    let place = refused.into_owner().unwrap();
    assert_eq!((place.as_ptr(), place.len(), place.mode()), (to, 2 * page(), Mode::Strict));
    let mut nothing = Mapping::<Raw>::empty();
    assert!(place.place(&mut nothing).is_err());
    new(page(), Mode::Strict).split_off(page()).unwrap().place(&mut nothing).unwrap();
}

/// Before Linux 6.17 the kernel unmaps the place, and then finds that it can't move; since then it may
/// move the first parts and refuse another. So it isn't asked to.
#[test]
fn a_mapping_in_several_parts_is_not_placed_and_both_stay() {
    if emulator().is_some() {
        skip!(
            "the emulator takes the first page's protection for that of all, and loops at a fault"
        );
        return;
    }
    alone(|| {
        let mut map = MapOptions::new(3 * page()).raw(RW, Sharing::Private).unwrap();
        let place = new(3 * page(), Mode::Strict);
        map.protect(page()..2 * page(), Prot::READ).unwrap();
        // SAFETY: ours, and it can be written.
        unsafe { map.as_ptr().write(7) };
        let (from, to) = (map.as_ptr(), place.as_ptr());
        let refused = place.place(&mut map).unwrap_err();
        assert_eq!((refused.error().errno(), map.as_ptr()), (Errno::EFAULT, from));
        // SAFETY: ours, and it can be read.
        assert_eq!(unsafe { from.read() }, 7);
        let place = refused.into_owner().unwrap();
        assert_eq!(place.as_ptr(), to);
        let space = Space::new();
        assert!(space.has(from, 3 * page()) && space.has(to, 3 * page()));
        // Two files side by side, the second of which has its own way to be placed: for it, the kernel
        // would find out when the first is moved.
        let zero = std::fs::File::options().read(true).write(true).open("/dev/zero").unwrap();
        let one = |file: &std::fs::File| {
            MapOptions::new(page()).file_raw(lent(file), 0, RW, Sharing::Shared).unwrap()
        };
        let (mut first, mut second) = (one(&file_of_pages(1)), one(&zero));
        let mut low = new(2 * page(), Mode::Strict);
        let high = low.split_off(page()).unwrap();
        low.place(&mut first).unwrap();
        high.place(&mut second).unwrap();
        first.try_unsplit(second).unwrap();
        let (from, place) = (first.as_ptr(), new(2 * page(), Mode::Strict));
        let refused = place.place(&mut first).unwrap_err();
        assert_eq!((refused.error().errno(), first.as_ptr()), (Errno::EFAULT, from));
        assert!(refused.into_owner().is_some());
    });
}

/// What the kernel may find out late is found out elsewhere, before the place is touched.
#[test]
fn a_file_that_is_refused_late_takes_nothing_from_the_place() {
    let file = memfd(page() as u64);
    // SAFETY: a plain call.
    let sealed = unsafe {
        libc::fcntl(std::os::fd::AsRawFd::as_raw_fd(&file), libc::F_ADD_SEALS, libc::F_SEAL_WRITE)
    };
    assert_eq!(sealed, 0);
    let place = new(page(), Mode::Strict);
    let map = |sharing| MapOptions::new(page()).file_raw(lent(&file), 0, RW, sharing);
    assert_eq!(map(Sharing::Shared).unwrap_err().errno(), Errno::EPERM);
    let at = place.as_ptr();
    let mut copy = map(Sharing::Private).unwrap();
    place.place(&mut copy).unwrap();
    assert_eq!(copy.as_ptr(), at);
}

/// Under what another thread maps and unmaps all the while, no step leaves a hole into which that
/// thread's memory could fall and be lost.
#[test]
fn placing_and_giving_back_takes_nothing_of_another_threads() {
    let done = AtomicBool::new(false);
    let file = file_of_pages(2);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let mut map = MapOptions::new(2 * page()).anonymous().unwrap();
                map.fill(0x55);
                std::thread::yield_now();
                assert!(map.iter().all(|byte| *byte == 0x55));
            }
        });
        let mut place = new(2 * page(), Mode::Strict);
        for round in 0..if emulator().is_some() { 50 } else { 2_000 } {
            // SAFETY: nobody else has the file.
            let image = unsafe { MapOptions::new(2 * page()).file_copy(lent(&file), 0) };
            let mut image = image.unwrap();
            place.place(&mut image).unwrap();
            assert_eq!((image[0], image[page()]), (1, 2), "round {round}");
            image.fill(0xaa);
            assert!(image.iter().all(|byte| *byte == 0xaa), "round {round}");
            place = image.into_reservation(Mode::Strict).unwrap();
        }
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn threads_share_a_reservation() {
    let it = new(64 * page(), Mode::Strict);
    std::thread::scope(|scope| {
        for n in 0..8 {
            let it = &it;
            scope.spawn(move || {
                for round in 0..50 {
                    let (offset, len) = (n * 8 * page(), 8 * page());
                    it.commit(offset..offset + len).unwrap();
                    assert!(holds(it, offset, len, 0), "round {round}");
                    fill(it, offset, len, n as u8 + 1);
                    assert!(holds(it, offset, len, n as u8 + 1));
                    it.decommit(offset..offset + len).unwrap();
                }
            });
        }
    });
}

/// What the kernel has promised to this process, in bytes: the lengths of its mappings that are
/// charged (`ac` in smaps).
fn charged(it: &Reservation) -> usize {
    let end = it.as_ptr().wrapping_add(it.len());
    let mut charged = 0;
    for (head, fields) in smaps(it.as_ptr(), end) {
        if fields["VmFlags"].split(' ').any(|flag| flag == "ac") {
            let (from, to) = head.split(' ').next().unwrap().split_once('-').unwrap();
            let parse = |hex| usize::from_str_radix(hex, 16).unwrap();
            charged += parse(to).min(end.addr()) - parse(from).max(it.as_ptr().addr());
        }
    }
    charged
}

#[test]
fn strict_memory_is_charged_when_it_is_committed_and_decommitting_gives_the_charge_back() {
    if emulator().is_some() {
        skip!("the emulator's smaps are not the program's");
        return;
    }
    alone(|| {
        let it = new(16 * MIB, Mode::Strict);
        assert_eq!(charged(&it), 0);
        it.commit(MIB..9 * MIB).unwrap();
        assert_eq!(charged(&it), 8 * MIB);
        it.purge(MIB..9 * MIB).unwrap();
        assert_eq!(charged(&it), 8 * MIB);
        it.decommit(2 * MIB..4 * MIB).unwrap();
        assert_eq!(charged(&it), 6 * MIB);
        it.decommit(..).unwrap();
        assert_eq!(charged(&it), 0);
    });
}

#[test]
fn overcommitted_memory_is_never_charged() {
    let mode = std::fs::read_to_string("/proc/sys/vm/overcommit_memory").unwrap();
    if emulator().is_some() || mode.trim() == "2" {
        skip!("vm.overcommit_memory is 2, or the emulator's smaps are not the program's");
        return;
    }
    alone(|| {
        let it = new(16 * MIB, Mode::Overcommit);
        it.commit(..).unwrap();
        assert_eq!(charged(&it), 0);
    });
}

/// RLIMIT_DATA counts what can be written: of a strict reservation, what is committed.
#[test]
fn a_commit_over_the_limit_is_enomem_and_a_decommit_makes_room() {
    if emulator().is_some() {
        skip!("the emulator's own memory counts too");
        return;
    }
    alone(|| {
        let it = new(64 * MIB, Mode::Strict);
        limit(libc::RLIMIT_DATA, (data_bytes() + 8 * MIB) as u64);
        it.commit(..6 * MIB).unwrap();
        let refused = it.commit(32 * MIB..38 * MIB).unwrap_err();
        assert_eq!(refused.errno(), Errno::ENOMEM);
        assert!(holds(&it, 0, 6 * MIB, 0), "what was committed stays");
        it.decommit(..6 * MIB).unwrap();
        it.commit(32 * MIB..38 * MIB).unwrap();
        fill(&it, 32 * MIB, 6 * MIB, 7);
    });
}

#[test]
fn a_strict_reservation_is_one_mapping_again_when_all_is_decommitted() {
    if emulator().is_some() {
        skip!("the emulator's smaps are not the program's");
        return;
    }
    alone(|| {
        let it = new(64 * page(), Mode::Strict);
        let parts = || smaps(it.as_ptr(), it.as_ptr().wrapping_add(it.len())).len();
        let before = parts();
        for n in (0..64).step_by(2) {
            it.commit(n * page()..(n + 1) * page()).unwrap();
        }
        assert!(parts() >= 64);
        for n in (0..64).step_by(2) {
            it.decommit(n * page()..(n + 1) * page()).unwrap();
        }
        assert_eq!(parts(), before);
    });
}

#[test]
fn overcommitting_makes_no_mappings() {
    if emulator().is_some() {
        skip!("the emulator's smaps are not the program's");
        return;
    }
    alone(|| {
        let it = new(64 * page(), Mode::Overcommit);
        let parts = || smaps(it.as_ptr(), it.as_ptr().wrapping_add(it.len())).len();
        let before = parts();
        for n in (0..64).step_by(2) {
            it.commit(n * page()..(n + 1) * page()).unwrap();
            fill(&it, n * page(), page(), 7);
            it.decommit(n * page()..(n + 1) * page()).unwrap();
        }
        assert_eq!(parts(), before);
    });
}
