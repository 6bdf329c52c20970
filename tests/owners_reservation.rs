//! `Reservation`: address space that is committed and given back by parts.
mod common;
use common::*;
use rawmap::{Cursor, Errno, Error, Mode, Reservation};

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
fn lengths_that_can_not_be_are_refused() {
    for mode in MODES {
        assert_eq!(Reservation::new(0, mode).unwrap_err().errno(), Errno::EINVAL);
        for len in [isize::MAX as usize, usize::MAX - page(), usize::MAX] {
            let too_long = Error::TooLong { len };
            assert_eq!(Reservation::new(len, mode).unwrap_err(), too_long);
            assert_eq!(Reservation::keep_slack(len, 1, mode).unwrap_err(), too_long);
            let aligned = Reservation::aligned(len, 1, &mut Cursor::new(), mode);
            assert_eq!(aligned.unwrap_err(), too_long);
        }
        for align in [0, 3, usize::MAX] {
            let refused = Reservation::keep_slack(1, align, mode).unwrap_err();
            assert_eq!(refused, Error::BadAlignment { align });
            let refused = Reservation::aligned(1, align, &mut Cursor::new(), mode).unwrap_err();
            assert_eq!(refused, Error::BadAlignment { align });
        }
        let slack = Reservation::keep_slack(page(), 1 << 63, mode);
        assert_eq!(slack.unwrap_err(), Error::TooLong { len: 1 << 63 });
    }
}

#[test]
fn overcommitted_memory_is_usable_at_once_and_strict_memory_when_it_is_committed() {
    let it = new(4 * page(), Mode::Overcommit);
    it.commit(0, 4 * page()).unwrap();
    fill(&it, 0, 4 * page(), 7);
    let it = new(4 * page(), Mode::Strict);
    let end = |n: usize| writing(it.as_ptr().wrapping_add(n * page()));
    assert_eq!([0, 1, 2, 3].map(end), [SEGV; 4]);
    it.commit(page(), page() + 1).unwrap();
    assert_eq!([0, 1, 2, 3].map(end), [SEGV, OK, OK, SEGV]);
    it.commit(page(), page()).unwrap();
    assert!(holds(&it, page(), 2 * page(), 0));
}

#[test]
fn decommitted_memory_is_zeroes_when_it_is_committed_again_and_the_rest_is_kept() {
    for mode in MODES {
        let it = new(4 * page(), mode);
        it.commit(0, 4 * page()).unwrap();
        fill(&it, 0, 4 * page(), 7);
        it.decommit(page(), 2 * page()).unwrap();
        if mode == Mode::Strict {
            assert_eq!(reading(it.as_ptr().wrapping_add(page())), SEGV);
        }
        it.commit(page(), 2 * page()).unwrap();
        assert!(holds(&it, page(), 2 * page(), 0));
        assert!(holds(&it, 0, page(), 7) && holds(&it, 3 * page(), page(), 7));
    }
}

#[test]
fn purged_memory_is_zeroes_and_stays_committed_locked_or_not() {
    for mode in MODES {
        let it = new(4 * page(), mode);
        it.commit(0, 4 * page()).unwrap();
        fill(&it, 0, 4 * page(), 7);
        // SAFETY: locking changes no memory.
        unsafe { rawmap::mlock(it.as_ptr(), 2 * page()) }.unwrap();
        it.purge(0, 3 * page()).unwrap();
        let purged = holds(&it, 0, 3 * page(), 0);
        answers!(true, purged, qemu ..11 => false, "MADV_DONTNEED_LOCKED does nothing, and succeeds");
        assert!(holds(&it, 3 * page(), page(), 7));
    }
}

#[test]
fn ranges_are_checked_as_offset_and_rest() {
    for mode in MODES {
        let it = new(4 * page(), mode);
        let size = it.len();
        let methods = [Reservation::commit, Reservation::decommit, Reservation::purge];
        for method in methods {
            for (offset, len) in [
                (size, 1),
                (size - page(), page() + 1),
                (size + page(), 0),
                (page(), usize::MAX),
                (page(), usize::MAX - page() + 1),
                (usize::MAX, usize::MAX),
                (usize::MAX & !(page() - 1), page()),
            ] {
                assert_eq!(method(&it, offset, len), Err(Error::OutOfRange { offset, len, size }));
            }
            let unaligned = Error::Unaligned { value: 1, granule: page() };
            assert_eq!(method(&it, 1, 1), Err(unaligned));
            for (offset, len) in [(0, 0), (size, 0), (size - page(), page())] {
                assert_eq!(method(&it, offset, len), Ok(()));
            }
        }
    }
}

/// The slack is not the reservation's: what lies there is out of its range.
#[test]
fn a_reservation_with_slack_is_aligned_and_checked_without_the_slack() {
    for mode in MODES {
        let it = Reservation::keep_slack(3 * page(), 4 * MIB, mode).unwrap();
        assert_eq!((it.as_ptr().addr() % (4 * MIB), it.len()), (0, 3 * page()));
        it.commit(0, 3 * page()).unwrap();
        fill(&it, 0, 3 * page(), 7);
        assert!(it.commit(3 * page(), 1).is_err());
        let all = it.into_mapping();
        assert_eq!(all.mapped_len(), 4 * MIB + 2 * page());
    }
}

#[test]
fn raw_parts_make_the_same_reservation_again() {
    alone(|| {
        for mode in MODES {
            let it = new(4 * page(), mode);
            it.commit(0, 4 * page()).unwrap();
            fill(&it, 0, 4 * page(), 7);
            let (start, len) = it.into_raw();
            assert_eq!(len, 4 * page());
            let mut space = Space::new();
            // SAFETY: given up by the line above.
            let it = unsafe { Reservation::from_raw(start, len, mode) }.unwrap();
            assert!(holds(&it, 0, len, 7) && it.len() == len && it.mode() == mode);
            drop(it);
            space.look();
            assert!(space.lacks(start.as_ptr(), len));
        }
    });
}

#[test]
fn aligned_reservations_are_aligned_and_leave_nothing_else() {
    alone(|| {
        for mode in MODES {
            let mut cursor = Cursor::new();
            let mut space = Space::new();
            let before = space.bytes();
            let mut all = Vec::with_capacity(200);
            for n in 0..200 {
                let align = 1 << (n % 27);
                let it = Reservation::aligned(64 << 10, align, &mut cursor, mode).unwrap();
                assert_eq!((it.as_ptr().addr() % align, it.len()), (0, 64 << 10));
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

#[test]
fn a_wrong_cursor_costs_calls_only() {
    let taken = new(1 << 24, Mode::Strict);
    let wrong = [
        taken.as_ptr().addr() + (1 << 23),
        0,
        1,
        1 << 21,
        isize::MAX as usize,
        1 << 63,
        usize::MAX - (1 << 22),
        usize::MAX,
    ];
    for last in wrong {
        for len in [1, 1 << 20, 1 << 22, 1 << 30] {
            let mut cursor = Cursor::below(at(last));
            let it = Reservation::aligned(len, 1 << 21, &mut cursor, Mode::Strict).unwrap();
            assert_eq!(it.as_ptr().addr() % (1 << 21), 0, "{len} below {last:#x}");
            let next = Reservation::aligned(len, 1 << 21, &mut cursor, Mode::Strict).unwrap();
            assert_eq!(next.as_ptr().addr() % (1 << 21), 0);
        }
    }
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
                    it.commit(offset, len).unwrap();
                    assert!(holds(it, offset, len, 0), "round {round}");
                    fill(it, offset, len, n as u8 + 1);
                    assert!(holds(it, offset, len, n as u8 + 1));
                    it.decommit(offset, len).unwrap();
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
        it.commit(MIB, 8 * MIB).unwrap();
        assert_eq!(charged(&it), 8 * MIB);
        it.purge(MIB, 8 * MIB).unwrap();
        assert_eq!(charged(&it), 8 * MIB);
        it.decommit(2 * MIB, 2 * MIB).unwrap();
        assert_eq!(charged(&it), 6 * MIB);
        it.decommit(0, 16 * MIB).unwrap();
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
        it.commit(0, 16 * MIB).unwrap();
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
        let data = std::fs::read_to_string("/proc/self/status").unwrap();
        let data = data.lines().find_map(|line| line.strip_prefix("VmData:")).unwrap();
        let data: u64 = data.trim().strip_suffix(" kB").unwrap().parse().unwrap();
        limit(libc::RLIMIT_DATA, (data << 10) + 8 * MIB as u64);
        it.commit(0, 6 * MIB).unwrap();
        let refused = it.commit(32 * MIB, 6 * MIB).unwrap_err();
        assert_eq!(refused.errno(), Errno::ENOMEM);
        assert!(holds(&it, 0, 6 * MIB, 0), "what was committed stays");
        it.decommit(0, 6 * MIB).unwrap();
        it.commit(32 * MIB, 6 * MIB).unwrap();
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
            it.commit(n * page(), page()).unwrap();
        }
        assert!(parts() >= 64);
        for n in (0..64).step_by(2) {
            it.decommit(n * page(), page()).unwrap();
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
            it.commit(n * page(), page()).unwrap();
            fill(&it, n * page(), page(), 7);
            it.decommit(n * page(), page()).unwrap();
        }
        assert_eq!(parts(), before);
    });
}
