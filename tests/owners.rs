//! `Mapping`: what it owns, what each method does to the bytes, and what it gives back.
mod common;
use common::*;
use rawmap::{
    Access, Advice, AsDescriptor, Backing, DualMapping, Errno, Error, Fd, Front, Guarded, MapFlags,
    MapOptions, Mapping, Mode, MsyncFlags, PageAlloc, PageSize, Place, Pool, Prot, Purged, Raw,
    RawParts, ReadOnly, ReadWrite, Refused, Reservation, Ring, Sealed, Sharing, Stack, StackPool,
    Words,
};
use static_assertions::{assert_impl_all, assert_not_impl_any};
use std::borrow::{Borrow, BorrowMut};
use std::ffi::CString;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::ops::Bound::{self, Excluded, Included, Unbounded};
use std::ops::{Deref, DerefMut};
use std::os::fd::AsRawFd;
use std::sync::atomic::AtomicU64;

fn anon(pages: usize) -> Mapping {
    MapOptions::new(pages * page()).anonymous().unwrap()
}

fn raw(pages: usize) -> Mapping<Raw> {
    MapOptions::new(pages * page()).raw(RW, Sharing::Private).unwrap()
}

fn shared(pages: usize) -> Mapping<Raw> {
    MapOptions::new(pages * page()).raw(RW, Sharing::Shared).unwrap()
}

/// A shared mapping of a file's first pages, which can be written.
fn shared_file(file: &File, pages: usize) -> Mapping<Raw> {
    MapOptions::new(pages * page()).file_raw(lent(file), 0, RW, Sharing::Shared).unwrap()
}

/// The first byte's address.
fn start(map: &[u8]) -> *mut u8 {
    map.as_ptr().cast_mut()
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

/// What a file holds.
fn contents(file: &mut File) -> Vec<u8> {
    let mut read = Vec::new();
    file.rewind().unwrap();
    file.read_to_end(&mut read).unwrap();
    read
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
        let at = start(&map);
        let mut space = Space::new();
        drop(map);
        space.look();
        assert!(space.lacks(at, 3 * page()));
        assert!(space.has(start(&before), page()) && space.has(start(&after), page()));
    });
}

/// A mapping between two others, without a gap.
fn neighbours(pages: usize) -> (Mapping, Mapping, Mapping) {
    let mut before = anon(pages + 2);
    let mut map = before.split_off(page()).unwrap();
    let after = map.split_off(pages * page()).unwrap();
    (before, map, after)
}

#[test]
fn an_unmapped_mapping_is_gone_at_once() {
    alone(|| {
        let map = anon(2);
        let at = start(&map);
        map.unmap().unwrap();
        assert_eq!(reading(at), SEGV);
    });
}

#[test]
fn an_empty_mapping_owns_nothing_and_every_method_says_so() {
    need_lockable!(64 << 10);
    alone(|| {
        let mut space = Space::new();
        let before = space.bytes();
        let mut map = Mapping::<ReadWrite>::empty();
        assert_eq!((map.len(), map.mapped_len(), &map[..]), (0, 0, &[][..]));
        map.sync(.., MsyncFlags::SYNC).unwrap();
        map.lock(..).unwrap();
        map.unlock(..).unwrap();
        map.advise(.., Advice::RANDOM).unwrap();
        assert_eq!(map.resident(.., &mut [2]).unwrap(), []);
        assert_eq!((map.inwards(..), map.purge(..)), (Ok(0..0), Ok(Purged::Zeroes)));
        assert_eq!(map.purge(..1).unwrap_err().argument(), Some(("the range's end", 1, Some(0))));
        map.resize(0).unwrap();
        let said = map.resize(1).unwrap_err().to_string();
        assert_eq!(said, "Mapping::resize: an empty mapping has nothing that could grow; map it");
        assert!(map.split_off(0).unwrap().is_empty() && map.split_off(1).is_err());
        map.try_unsplit(Mapping::default()).unwrap();
        let map = map.make_read_only().unwrap().make_writable().unwrap();
        let raw = map.into_raw();
        raw.protect(.., Prot::NONE).unwrap();
        raw.guard(..).unwrap();
        assert!(raw.is_empty() && !raw.as_ptr().is_null());
        let parts = raw.into_raw_parts();
        // SAFETY: of nothing, nothing is promised.
        let map: Mapping = unsafe { Mapping::from_raw_parts(parts) }.unwrap();
        let space_of_none = map.into_reservation(Mode::Strict).unwrap();
        assert!(space_of_none.is_empty());
        space_of_none.into_mapping().unwrap().unmap().unwrap();
        drop(Mapping::<Raw>::default());
        space.look();
        assert_eq!(space.bytes(), before);
    });
}

#[test]
fn a_mapping_takes_in_an_empty_one_and_an_empty_one_any() {
    let mut map = anon(2);
    map.try_unsplit(Mapping::empty()).unwrap();
    assert_eq!(map.len(), 2 * page());
    let mut empty = map.split_off(map.len()).unwrap();
    assert!(empty.is_empty());
    empty.try_unsplit(map).unwrap();
    assert_eq!(empty.len(), 2 * page());
}

#[test]
fn a_mapping_is_a_slice_in_every_trait() {
    fn borrowed(it: &impl Borrow<[u8]>) -> usize {
        it.borrow().len()
    }
    let mut map = anon(1);
    let slice: &mut [u8] = map.as_mut();
    slice[0] = 1;
    let slice: &mut [u8] = map.borrow_mut();
    slice[1] = 2;
    assert_eq!((&AsRef::<[u8]>::as_ref(&map)[..3], borrowed(&map)), (&[1, 2, 0][..], page()));
    let map = map.make_read_only().unwrap();
    assert_eq!((&AsRef::<[u8]>::as_ref(&map)[..3], borrowed(&map)), (&[1, 2, 0][..], page()));
}

#[test]
fn a_read_only_mapping_is_readable_and_a_write_is_a_fault_until_it_is_writable_again() {
    let mut map = anon(2);
    map.fill(7);
    let map = map.make_read_only().unwrap();
    assert!(map.iter().all(|byte| *byte == 7));
    assert_eq!((writing(start(&map)), writing(start(&map[2 * page() - 1..]))), (SEGV, SEGV));
    let mut map = map.make_writable().unwrap();
    assert_eq!(writing(start(&map)), OK);
    map[0] = 8;
    assert_eq!(map[..2], [8, 7]);
}

#[test]
fn a_file_is_made_writable_as_a_copy_and_read_only_again() {
    let mut file = file_of_pages(1);
    // SAFETY: nobody else has the file.
    let map = unsafe { MapOptions::whole().file(lent(&file), 0) }.unwrap();
    assert_eq!(writing(start(&map)), SEGV);
    let mut map = map.make_writable().unwrap();
    map[0] = 99;
    let map = map.make_read_only().unwrap();
    assert_eq!((map[0], contents(&mut file)[0], writing(start(&map))), (99, 1, SEGV));
}

#[test]
fn a_shared_file_is_made_read_only_and_not_writable_again() {
    let mut file = file_of_pages(1);
    // SAFETY: nobody else has the file.
    let mut map = unsafe { MapOptions::whole().file_mut(lent(&file), 0) }.unwrap();
    map[0] = 99;
    let map = map.make_read_only().unwrap();
    assert_eq!((writing(start(&map)), contents(&mut file)[0]), (SEGV, 99));
    let refused = map.make_writable().unwrap_err();
    let said = "Mapping::make_writable: shared memory is not made writable; map it so";
    assert_eq!((refused.to_string(), refused.error().errno()), (said.into(), Errno::EINVAL));
    assert_eq!(refused.into_owner().unwrap()[..2], [99, 1]);
}

#[test]
fn a_conversion_that_can_not_be_undone_gives_the_owner_up() {
    alone(|| {
        let map = anon(4);
        let at = start(&map);
        // The kernel protects the front before it comes to what is sealed.
        let third = start(&map[2 * page()..]);
        // SAFETY: it stays as it is.
        if let Err(errno) = unsafe { rawmap::mseal(third, page(), Default::default()) } {
            assert_eq!(errno, Errno::ENOSYS);
            return skip!("the kernel has no mseal");
        }
        let refused = map.make_read_only().unwrap_err();
        assert_eq!(refused.error().errno(), Errno::EPERM);
        // Nor does it undo that, so the slice can't be promised any more, and is given up as it is.
        assert!(refused.into_owner().is_none() && is_mapped(at, 4 * page()));
    });
}

#[test]
fn a_file_is_a_slice_of_its_bytes() {
    let file = file_of_pages(3);
    // SAFETY: nobody else has the file.
    let map = unsafe { MapOptions::new(2 * page()).file(lent(&file), page() as u64) }.unwrap();
    assert_eq!((map[0], map[page() - 1], map[page()]), (2, 2, 3));
    assert_eq!(map.backing(), Backing::PrivateFile);
}

#[test]
fn a_file_is_mapped_from_any_byte_on() {
    let file = file_of_pages(3);
    for offset in [1, 100, page() - 1, page(), page() + 1, 2 * page() - 1, 3 * page() - 1] {
        let rest = 3 * page() - offset;
        for len in
            [1, 2, page() - 1, page(), page() + 1, rest].into_iter().filter(|len| *len <= rest)
        {
            // SAFETY: nobody else has the file.
            let map = unsafe { MapOptions::new(len).file(lent(&file), offset as u64) }.unwrap();
            let expected = (offset..offset + len).map(|at| (at / page()) as u8 + 1);
            assert!(map.iter().copied().eq(expected), "{len} bytes from {offset} on");
            assert_eq!(map.as_ptr().addr() % page(), offset % page());
            let pages = (offset + len).div_ceil(page()) - offset / page();
            assert_eq!(map.mapped_len(), pages * page(), "{len} bytes from {offset} on");
        }
    }
}

#[test]
fn a_file_mapped_from_within_a_page_is_given_back_whole() {
    alone(|| {
        let file = file_of_pages(3);
        let mut space = Space::new();
        let before = space.bytes();
        // SAFETY: nobody else has the file.
        let map =
            unsafe { MapOptions::new(page()).file(lent(&file), page() as u64 + 100) }.unwrap();
        space.look();
        assert_eq!(space.bytes() - before, 2 * page());
        drop(map);
        space.look();
        assert_eq!(space.bytes(), before);
    });
}

/// Offsets of bytes count from the first byte, not from its page's start.
#[test]
fn ranges_of_a_file_mapped_from_within_a_page_are_of_its_bytes() {
    const HEAD: usize = 100;
    let file = file_of_pages(4);
    let options = MapOptions::new(3 * page());
    // SAFETY: nobody else has the file.
    let mut map = unsafe { options.file_copy(lent(&file), HEAD as u64) }.unwrap();
    let second = page() - HEAD;
    assert_eq!((map[second - 1], map[second]), (1, 2));
    assert_eq!(map.inwards(..), Ok(0..3 * page()), "the first byte and the last may lie anywhere");
    assert_eq!(map.inwards(1..), Ok(second..3 * page()));
    assert_eq!(map.inwards(..3 * page() - 1), Ok(0..second + 2 * page()));
    assert_eq!(map.inwards(1..second + page() - 1), Ok(0..0));
    map.fill(99);
    for wrong in [1..second, 0..second + 1, 0..page(), page()..2 * page()] {
        let error = map.purge(wrong.clone()).unwrap_err();
        assert_eq!(error.argument().unwrap().2, Some(page()), "{wrong:?}: {error}");
    }
    map.purge(second..second + page()).unwrap();
    let bytes = [second - 1, second, second + page() - 1, second + page()].map(|at| map[at]);
    assert_eq!(bytes, [99, 2, 2, 99]);
    map.purge(..second).unwrap();
    assert_eq!((map[0], map[second - 1]), (1, 1));
    map.purge(..).unwrap();
    assert_eq!((map[3 * page() - 1], map[second + page()]), (4, 3));
    let mut parts = map.split_off(second + page()).unwrap();
    assert_eq!((map.len(), parts[0], map.split_off(1).is_err()), (second + page(), 3, true));
    parts.fill(98);
    map.try_unsplit(parts).unwrap();
    assert_eq!((map.len(), map[3 * page() - 1]), (3 * page(), 98));
}

#[test]
fn a_whole_file_is_as_long_as_the_file_is() {
    let mut file = temp_file();
    file.write_all(b"0123456789").unwrap();
    for offset in [0, 3, 9] {
        // SAFETY: nobody else has the file.
        let map = unsafe { MapOptions::whole().file(lent(&file), offset) }.unwrap();
        assert_eq!(map[..], b"0123456789"[offset as usize..]);
    }
    // SAFETY: as above.
    let rest = unsafe { MapOptions::whole().file(lent(&file_of_pages(3)), page() as u64 + 1) };
    let rest = rest.unwrap();
    assert_eq!((rest.len(), rest[0], rest[2 * page() - 2]), (2 * page() - 1, 2, 3));
}

#[test]
fn a_whole_file_is_empty_at_its_end_and_an_error_beyond_it() {
    let mut file = temp_file();
    // SAFETY: nobody else has the file.
    let whole = |file: &File, offset| unsafe { MapOptions::whole().file(lent(file), offset) };
    assert_eq!(whole(&file, 0).unwrap()[..], []);
    file.write_all(b"0123456789").unwrap();
    assert_eq!(whole(&file, 10).unwrap()[..], []);
    for offset in [11, 1 << 40, u64::MAX] {
        let error = whole(&file, offset).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("MapOptions::file: the offset {offset} is more than the length 10")
        );
    }
    // SAFETY: as above.
    let copy = unsafe { MapOptions::whole().file_copy(lent(&temp_file()), 0) }.unwrap();
    // SAFETY: as above.
    let own = unsafe { MapOptions::whole().file_mut(lent(&temp_file()), 0) }.unwrap();
    let raw = MapOptions::whole().file_raw(lent(&temp_file()), 0, RW, Sharing::Shared).unwrap();
    assert_eq!((copy.len(), own.len(), raw.len()), (0, 0, 0));
}

#[test]
fn what_has_no_length_says_what_it_is() {
    let (socket, _other) = std::os::unix::net::UnixStream::pair().unwrap();
    let (pipe, _other_end) = pipe();
    let open = |path: &str| File::open(path).unwrap();
    let (folder, status, zero) = (open("/"), open("/proc/self/status"), open("/dev/zero"));
    let things: [(Fd<'_>, &str); 5] = [
        (lent(&folder), "a directory can't be mapped; open a file in it"),
        (lent(&pipe), "a pipe can't be mapped; read it"),
        (
            lent(&socket),
            "a socket has no length; read it (packet rings are mapped by file_raw, with their length)",
        ),
        (lent(&zero), "a character device has no length; give one, if it can be mapped at all"),
        (lent(&status), "a file of /proc has no length and can't be mapped; read it"),
    ];
    for (thing, what) in things {
        // SAFETY: nothing is mapped.
        let error = unsafe { MapOptions::whole().file(thing, 0) }.unwrap_err();
        assert_eq!(
            (error.to_string(), error.errno()),
            (format!("MapOptions::file: {what}"), Errno::ENODEV)
        );
    }
    // With a length, the kernel is asked; and where it says ENODEV, that is explained.
    for (thing, what) in [things[0], things[1]] {
        // SAFETY: nothing is mapped.
        let error = unsafe { MapOptions::new(1).file(thing, 0) }.unwrap_err();
        assert_eq!(
            (error.to_string(), error.errno()),
            (format!("MapOptions::file: {what}"), Errno::ENODEV)
        );
    }
    // SAFETY: nobody writes what is read there.
    let zeroes = unsafe { MapOptions::new(100).file(lent(&zero), 0) }.unwrap();
    assert_eq!(zeroes[..], [0; 100]);
}

#[test]
fn a_closed_descriptor_is_ebadf() {
    // SAFETY: it isn't open, and a number is all that is used of it.
    let closed = unsafe { Fd::borrow_raw(1_000_000) };
    // SAFETY: nothing is mapped.
    let errors =
        unsafe { [MapOptions::new(1).file(closed, 0), MapOptions::whole().file(closed, 0)] };
    let [given, whole] = errors.map(Result::unwrap_err);
    assert_eq!((given.errno(), whole.errno()), (Errno::EBADF, Errno::EBADF));
    assert!(given.to_string().starts_with("mmap(NULL, "), "{given}");
    assert!(whole.to_string().starts_with("fstat of descriptor 1000000: EBADF"), "{whole}");
}

#[test]
fn a_file_that_shrank_is_sigbus_and_populating_says_so_first() {
    let file = file_of_pages(2);
    let map = shared_file(&file, 2);
    assert_eq!(reading(map.as_ptr().wrapping_add(page())), OK);
    file.set_len(page() as u64).unwrap();
    assert_eq!(reading(map.as_ptr()), OK);
    assert_eq!(reading(map.as_ptr().wrapping_add(page())), BUS);
    map.populate_read(..page()).unwrap();
    refused!(EFAULT, map.populate_read(..).map_err(|it| it.errno()),
        qemu ..11 => Ok(()), "MADV_POPULATE_READ does nothing, and succeeds");
}

#[test]
fn a_copy_of_a_file_is_written_without_the_file() {
    let mut file = file_of_pages(1);
    // SAFETY: nobody else has the file.
    let mut map = unsafe { MapOptions::new(page()).file_copy(lent(&file), 0) }.unwrap();
    map[0] = 99;
    assert_eq!((map[0], contents(&mut file)[0]), (99, 1));
    assert_eq!(map.backing(), Backing::PrivateFile);
}

#[test]
fn a_file_s_own_bytes_are_written_and_synced() {
    let mut file = file_of_pages(2);
    // SAFETY: nobody else has the file.
    let mut map = unsafe { MapOptions::whole().file_mut(lent(&file), 100) }.unwrap();
    map[0] = 98;
    map[page()] = 99;
    // Any range will do: whole pages are written.
    for flags in [MsyncFlags::SYNC, MsyncFlags::ASYNC, MsyncFlags::SYNC | MsyncFlags::INVALIDATE] {
        map.sync(1..=page(), flags).unwrap();
    }
    let read = contents(&mut file);
    assert_eq!((read[99], read[100], read[page() + 100]), (1, 98, 99));
    assert_eq!(map.backing(), Backing::SharedFile);
}

#[test]
fn protection_is_set_for_whole_pages_and_nothing_else() {
    let map = raw(3);
    map.protect(page()..2 * page(), Prot::READ).unwrap();
    let ends = || [0, 1, 2].map(|n| writing(map.as_ptr().wrapping_add(n * page())));
    assert_eq!(ends(), [OK, SEGV, OK]);
    assert_eq!(writing(map.as_ptr().wrapping_add(2 * page() - 1)), SEGV);
    for range in [0..1, 1..page(), 2 * page()..3 * page() - 1] {
        assert!(map.protect(range, Prot::NONE).is_err());
    }
    assert_eq!(ends(), [OK, SEGV, OK]);
}

/// `PROT_GROWSDOWN` means all from the mapping's start on, be it another owner's.
#[test]
fn protection_of_more_than_the_range_is_refused() {
    let map = raw(3);
    for prot in [Prot::GROWSDOWN, Prot::GROWSUP] {
        let refused = map.protect(page()..2 * page(), Prot::READ | prot).unwrap_err();
        assert!(
            refused
                .to_string()
                .starts_with("Mapping::protect: PROT_GROWSDOWN and PROT_GROWSUP reach")
        );
    }
    assert_eq!(writing(map.as_ptr()), OK);
}

#[test]
fn advice_is_given_for_the_pages_that_hold_the_range() {
    let map = raw(3);
    (0..3).for_each(|n| set(&map, n * page(), 7));
    for advice in [Advice::NORMAL, Advice::RANDOM, Advice::SEQUENTIAL, Advice::DONTDUMP] {
        map.advise(.., advice).unwrap();
    }
    let bytes = || [0, 1, 2].map(|n| byte(&map, n * page()));
    assert_eq!(bytes(), [7; 3]);
    // SAFETY: nothing refers to its bytes.
    unsafe { map.advise_any(2 * page() - 1..=2 * page() - 1, Advice::DONTNEED) }.unwrap();
    assert_eq!(bytes(), [7, 0, 7]);
}

/// In a forked child there would be nothing, and its owner would unmap what comes to lie there.
#[test]
fn advice_that_changes_contents_or_takes_memory_from_a_child_is_not_offered() {
    let map = raw(2);
    set(&map, 0, 7);
    for number in 0..120 {
        let advice = Advice::from_bits(number);
        match map.advise(.., advice) {
            Ok(()) => {}
            Err(error) if error.call().is_some() => {}
            Err(error) => assert_eq!(error.argument().unwrap().1, number as usize, "{error}"),
        }
        assert_eq!(byte(&map, 0), 7, "{advice:?}");
    }
    for advice in [
        Advice::DONTFORK,
        Advice::WIPEONFORK,
        Advice::FREE,
        Advice::GUARD_INSTALL,
        Advice::MERGEABLE,
    ] {
        let error = map.advise(..1, advice).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with(&format!("Mapping::advise: {advice} is not advice that it takes")),
            "{error}"
        );
    }
}

#[test]
fn locking_and_unlocking_show_in_smaps() {
    need_lockable!(64 << 10);
    if emulator().is_some() {
        skip!("the emulator's smaps are not the program's");
        return;
    }
    alone(|| {
        let map = raw(4);
        let end = map.as_ptr().wrapping_add(map.len());
        let locked = || {
            let of = |fields: std::collections::HashMap<String, String>| {
                fields["Locked"].strip_suffix(" kB").unwrap().parse::<usize>().unwrap() << 10
            };
            smaps(map.as_ptr(), end).into_iter().map(|(_, fields)| of(fields)).sum::<usize>()
        };
        map.lock(2 * page() - 1..2 * page() + 1).unwrap();
        assert_eq!(locked(), 2 * page());
        map.unlock(page()..=page()).unwrap();
        assert_eq!(locked(), page());
        map.unlock(..).unwrap();
        assert_eq!(locked(), 0);
    });
}

#[test]
fn pages_are_resident_when_they_were_touched() {
    // Not huge pages, of which one touch makes many resident.
    let map = raw(4);
    let _ = map.advise(.., Advice::NOHUGEPAGE);
    set(&map, 2 * page(), 1);
    let mut room = [2; 6];
    let pages = map.resident(..3 * page() + 1, &mut room).unwrap();
    let pages: Vec<_> = pages.iter().map(|byte| byte & 1).collect();
    assert_eq!(pages, [0, 0, 1, 0]);
    assert_eq!(room[4..], [2, 2], "what is not needed is not written");
}

#[test]
fn residency_needs_a_byte_for_each_page() {
    let map = anon(4);
    let refused = map.resident(page().., &mut [0; 2]).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "Mapping::resident: the number of pages 3 is more than the 2 that there is room for"
    );
    assert_eq!(map.resident(4 * page().., &mut [0]).unwrap().len(), 0);
}

#[test]
fn populating_makes_pages_resident() {
    let map = anon(4);
    map.populate_write(2 * page() - 1..=2 * page()).unwrap();
    map.populate_read(3 * page()..).unwrap();
    let mut room = [0; 4];
    let pages = map.resident(.., &mut room).unwrap();
    let resident = pages[1..].iter().all(|byte| byte & 1 == 1);
    answers!(true, resident, qemu ..11 => false, "MADV_POPULATE_* does nothing, and succeeds");
}

#[test]
fn populating_says_what_fails() {
    let map = anon(1).make_read_only().unwrap();
    refused!(EINVAL, map.populate_write(..).map_err(|it| it.errno()),
        qemu ..11 => Ok(()), "MADV_POPULATE_WRITE does nothing, and succeeds");
    let behind =
        MapOptions::new(page()).file_raw(lent(&temp_file()), 0, Prot::READ, Sharing::Private);
    refused!(EFAULT, behind.unwrap().populate_read(..).map_err(|it| it.errno()),
        qemu ..11 => Ok(()), "MADV_POPULATE_READ does nothing, and succeeds");
}

#[test]
fn purged_private_memory_is_zeroes_and_its_neighbours_are_not() {
    let mut map = anon(4);
    map.fill(7);
    assert_eq!(map.purge(page()..3 * page()), Ok(Purged::Zeroes));
    let expected: Vec<u8> = [7, 0, 0, 7].iter().flat_map(|it| vec![*it; page()]).collect();
    assert!(map[..] == expected[..]);
}

/// What lies around the range on the same pages would be lost.
#[test]
fn a_part_of_a_page_is_not_purged_and_the_helper_names_what_is() {
    let mut map = anon(4);
    map.fill(7);
    for range in [1..page(), 0..page() + 1, page() - 1..page(), 1..4 * page()] {
        let error = map.purge(range).unwrap_err();
        assert!(
            error.to_string().ends_with(&format!(" is not a multiple of {}", page())),
            "{error}"
        );
    }
    assert!(map.iter().all(|byte| *byte == 7));
    let inner = map.inwards(1..4 * page() - 1).unwrap();
    assert_eq!(inner, page()..3 * page());
    map.purge(inner).unwrap();
    let bytes = [0, page() - 1, page(), 3 * page() - 1, 3 * page()].map(|at| map[at]);
    assert_eq!(bytes, [7, 7, 0, 0, 7]);
    assert_eq!(map.inwards(1..2 * page() - 1), Ok(0..0));
    assert_eq!(map.inwards(page()..2 * page()), Ok(page()..2 * page()));
}

/// The last byte may lie anywhere in its page: what is behind it is nobody's.
#[test]
fn a_range_to_the_end_is_whole_pages_wherever_the_end_lies() {
    let mut map = MapOptions::new(2 * page() + 100).anonymous().unwrap();
    map.fill(7);
    assert_eq!(map.inwards(page() + 1..), Ok(2 * page()..2 * page() + 100));
    map.purge(2 * page()..).unwrap();
    assert_eq!((map[2 * page() - 1], map[2 * page()], map[2 * page() + 99]), (7, 0, 0));
    assert!(map.purge(2 * page()..2 * page() + 99).is_err());
    assert_eq!(map.purge(..0), Ok(Purged::Zeroes));
}

#[test]
fn purged_locked_memory_is_zeroes_too() {
    need_lockable!(64 << 10);
    let mut map = anon(2);
    map.lock(..page()).unwrap();
    map.fill(7);
    assert_eq!(map.purge(..), Ok(Purged::Zeroes));
    let zeroes = map.iter().all(|byte| *byte == 0);
    answers!(true, zeroes, qemu ..11 => false, "MADV_DONTNEED_LOCKED does nothing, and succeeds");
}

#[test]
fn purged_shared_anonymous_memory_is_zeroes_and_its_memory_free() {
    let mut map = shared(4);
    (0..4).for_each(|n| set(&map, n * page(), 7));
    assert_eq!(map.purge(page()..3 * page()), Ok(Purged::Zeroes));
    let bytes = [0, 1, 2, 3].map(|n| byte(&map, n * page()));
    answers!([7, 0, 0, 7], bytes, qemu ..11 => [7; 4], "MADV_REMOVE does nothing, and succeeds");
}

#[test]
fn purged_shared_memory_is_zeroes_in_every_process() {
    let mut map = shared(1);
    set(&map, 0, 7);
    let child = in_child(|| i32::from(map.purge(..) != Ok(Purged::Zeroes)));
    assert_eq!(child, OK);
    answers!(0, byte(&map, 0), qemu ..11 => 7, "MADV_REMOVE does nothing, and succeeds");
}

#[test]
fn purging_locked_shared_memory_is_an_error_and_keeps_it() {
    need_lockable!(64 << 10);
    let mut map = shared(1);
    set(&map, 0, 7);
    map.lock(..).unwrap();
    refused!(EINVAL, map.purge(..).map_err(|it| it.errno()),
        qemu ..11 => Ok(()), "MADV_REMOVE does nothing, and succeeds");
    assert_eq!(byte(&map, 0), 7);
}

#[test]
fn a_purged_copy_of_a_file_reads_as_the_file() {
    need_lockable!(64 << 10);
    let file = file_of_pages(2);
    // SAFETY: nobody else has the file.
    let mut map = unsafe { MapOptions::new(2 * page()).file_copy(lent(&file), 0) }.unwrap();
    map.fill(99);
    assert_eq!(map.purge(page()..), Ok(Purged::File));
    assert_eq!((map[0], map[page()], map[2 * page() - 1]), (99, 2, 2));
    map.lock(..1).unwrap();
    assert_eq!(map.purge(..page()), Ok(Purged::File));
    answers!(1, map[0], qemu ..11 => 99, "MADV_DONTNEED_LOCKED does nothing, and succeeds");
}

/// Some drivers take it for the end of the mapping.
#[test]
fn a_shared_file_is_not_purged_and_stays_as_it_was() {
    let file = file_of_pages(1);
    let mut map = shared_file(&file, 1);
    set(&map, 0, 99);
    let said = map.purge(..).unwrap_err().to_string();
    assert_eq!(said, "Mapping::purge: the memory of a shared file is the file's; see punch_hole");
    assert_eq!(byte(&map, 0), 99);
}

#[test]
fn a_hole_is_punched_through_mapping_and_file() {
    let mut file = memfd(2 * page() as u64);
    file.write_all(&vec![7; 2 * page()]).unwrap();
    let map = shared_file(&file, 2);
    map.punch_hole(page()..).unwrap();
    let read = contents(&mut file);
    let bytes = (byte(&map, page() - 1), byte(&map, 2 * page() - 1), read[2 * page() - 1]);
    answers!((7, 0, 0), bytes, qemu ..11 => (7, 7, 7), "MADV_REMOVE does nothing, and succeeds");
    assert!(map.punch_hole(1..).is_err());
}

#[test]
fn resizing_to_more_keeps_the_contents_and_the_rest_is_zeroes() {
    let mut map = anon(3);
    map.fill(7);
    map.resize(100 * page() + 5).unwrap();
    assert_eq!((map.len(), map.mapped_len()), (100 * page() + 5, 101 * page()));
    assert!(map[..3 * page()].iter().all(|byte| *byte == 7));
    assert!(map[3 * page()..].iter().all(|byte| *byte == 0));
    map.fill(8);
}

#[test]
fn resizing_within_the_last_page_changes_the_length_alone() {
    let mut map = MapOptions::new(1).anonymous().unwrap();
    let at = start(&map);
    for len in [page(), page(), page() - 1, 1, 2] {
        map.resize(len).unwrap();
        assert_eq!((start(&map), map.len(), map.mapped_len()), (at, len, page()));
    }
}

/// The rest of the last page is never unmapped, so the kernel does not empty it.
#[test]
fn what_a_slice_gains_is_zeroes_even_on_the_page_that_it_ended_on() {
    let mut map = anon(3);
    let sizes = [1, 2, page() - 1, page(), page() + 1, 2 * page() - 1, 3 * page(), 5 * page() + 7];
    for shrunk in sizes {
        for grown in sizes.into_iter().filter(|grown| *grown >= shrunk) {
            map.resize(6 * page()).unwrap();
            map.fill(7);
            map.resize(shrunk).unwrap();
            map.resize(grown).unwrap();
            assert!(map[..shrunk].iter().all(|byte| *byte == 7), "{shrunk}, {grown}");
            assert!(map[shrunk..].iter().all(|byte| *byte == 0), "{shrunk}, {grown}");
        }
    }
}

#[test]
fn a_grown_mapping_gives_back_its_old_place_and_all_of_its_new_one() {
    alone(|| {
        let (_before, mut map, _after) = neighbours(2);
        let old = start(&map);
        map.resize(64 * page()).unwrap();
        let new = start(&map);
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
fn resizing_in_place_stays_there_or_is_enomem_and_changes_nothing() {
    alone(|| {
        let (_before, mut map, after) = neighbours(2);
        let at = start(&map);
        map.fill(7);
        let refused = map.resize_in_place(3 * page()).unwrap_err();
        assert_eq!(refused.errno(), Errno::ENOMEM);
        assert_eq!((start(&map), map.len(), map[2 * page() - 1]), (at, 2 * page(), 7));
        drop(after);
        map.resize_in_place(3 * page()).unwrap();
        assert_eq!((start(&map), map.len()), (at, 3 * page()));
        assert!(map[2 * page()..].iter().all(|byte| *byte == 0));
        map.resize_in_place(1).unwrap();
        assert_eq!((start(&map), map.mapped_len(), map[0]), (at, page(), 7));
    });
}

#[test]
fn resizing_over_isize_max_is_refused_and_beyond_memory_it_is_enomem() {
    let mut map = anon(1);
    for len in [isize::MAX as usize, isize::MAX as usize + 1, usize::MAX] {
        let error = map.resize(len).unwrap_err();
        let expected = Some(("the length", len, Some(most(page()))));
        assert_eq!((error.argument(), error.errno()), (expected, Errno::ENOMEM));
    }
    // EINVAL since Linux 6.17, for a length that no address space has.
    let refused = map.resize(1 << 62).unwrap_err();
    assert!(matches!(refused.errno(), Errno::ENOMEM | Errno::EINVAL), "{refused}");
    assert_eq!((map.len(), map[0]), (page(), 0));
}

#[test]
fn a_mapping_in_several_parts_does_not_grow_and_stays() {
    let mut map = raw(3);
    map.protect(page()..2 * page(), Prot::READ).unwrap();
    refused!(EFAULT, map.resize(64 * page()).map_err(|it| it.errno()));
    assert!(is_mapped(map.as_ptr(), 3 * page()) && map.len() == 3 * page());
}

#[test]
fn parts_that_are_alike_again_grow_as_one_where_the_kernel_joins_them() {
    need_lockable!(64 << 10);
    // Between inaccessible pages: the kernel would join it with a neighbour that was touched, and with that
    // what is touched here is never one again.
    let mut before = Reservation::new(5 * page(), Mode::Strict).unwrap();
    let mut middle = before.split_off(page()).unwrap();
    let behind = middle.split_off(3 * page()).unwrap();
    let mut map = middle.into_mapping().unwrap();
    map.lock(page()..2 * page()).unwrap();
    map.unlock(page()..2 * page()).unwrap();
    match map.resize(64 * page()).map_err(|it| it.errno()) {
        Ok(()) => assert!(kernel() >= (6, 13), "only newer kernels join what was touched in part"),
        Err(errno) => assert!(errno == Errno::EFAULT && kernel() < (6, 16), "{errno}"),
    }
    drop((before, behind));
}

/// Behind the end of a file there is no page, nor behind that of shared memory.
#[test]
fn a_slice_of_a_file_shrinks_and_does_not_grow() {
    let file = file_of_pages(3);
    let said = "Mapping::resize: only private anonymous memory on ordinary pages grows as a slice; see into_raw";
    // SAFETY: nobody else has the file.
    let mut copy = unsafe { MapOptions::new(2 * page()).file_copy(lent(&file), 100) }.unwrap();
    copy.fill(99);
    copy.resize(page()).unwrap();
    assert_eq!(copy.resize(page() + 1).unwrap_err().to_string(), said);
    assert_eq!((copy.len(), copy.mapped_len()), (page(), 2 * page()));
    // SAFETY: as above.
    let mut read = unsafe { MapOptions::new(page()).file(lent(&file), 0) }.unwrap();
    assert_eq!(read.resize(2 * page()).unwrap_err().to_string(), said);
    // SAFETY: as above.
    let mut own = unsafe { MapOptions::whole().file_mut(lent(&file), 0) }.unwrap();
    assert_eq!(own.resize(4 * page()).unwrap_err().to_string(), said);
    own.resize(1).unwrap();
    assert_eq!((own.len(), own.mapped_len(), own[0]), (1, page(), 1));
}

#[test]
fn a_raw_mapping_of_a_file_shows_more_of_it() {
    let file = file_of_pages(3);
    let options = MapOptions::new(page());
    let mut map = options.file_raw(lent(&file), page() as u64 + 9, RW, Sharing::Shared).unwrap();
    // SAFETY: nobody else has mapped the file.
    unsafe { map.resize_file(2 * page() - 9) }.unwrap();
    assert_eq!((byte(&map, 0), byte(&map, 2 * page() - 10)), (2, 3));
    // SAFETY: as above.
    unsafe { map.resize_file(3 * page() - 9) }.unwrap();
    assert_eq!(reading(map.as_ptr().wrapping_add(2 * page() - 9)), BUS);
    // SAFETY: it comes to show nothing.
    let refused = unsafe { anon(1).into_raw().resize_file(2 * page()) }.unwrap_err();
    assert!(refused.to_string().ends_with("it is no mapping of a file's own bytes; see resize"));
}

/// Of a file's bytes, one owner's end is another one's beginning.
#[test]
fn a_file_s_own_bytes_are_not_shown_to_who_had_a_part_of_them() {
    let file = file_of_pages(2);
    // SAFETY: the file is the test's own, and mapped here only.
    let mut low = unsafe { MapOptions::whole().file_mut(lent(&file), 0) }.unwrap();
    let high = low.split_off(page()).unwrap();
    let mut low = low.into_raw();
    for grown in [low.resize(2 * page()), low.resize_in_place(2 * page())] {
        let said = grown.unwrap_err().to_string();
        assert!(said.ends_with("may be another owner's there; see resize_file"), "{said}");
    }
    assert!(low.punch_hole(page()..).is_ok_and(|()| low.len() == page()));
    assert_eq!(high[0], 2);
}

#[test]
fn shared_anonymous_memory_does_not_grow_into_what_was_split_off() {
    let mut map = shared(2);
    let rest = map.split_off(page()).unwrap();
    set(&map, 0, 7);
    set(&rest, 0, 8);
    for grown in [map.resize(2 * page()), map.resize_in_place(page() + 1)] {
        let said = grown.unwrap_err().to_string();
        assert!(said.ends_with("shared anonymous memory is as long as it was made; map it longer"));
    }
    assert_eq!((byte(&map, 0), byte(&rest, 0)), (7, 8));
    map.resize(1).unwrap();
    map.resize(page()).unwrap(); // of the same page
}

#[test]
fn what_is_split_off_a_dual_mapping_is_nobody_elses() {
    let mut code = DualMapping::new(2 * page()).unwrap();
    let mut function = code.split_off(page()).unwrap();
    function.write(0, &[1, 2, 3]).unwrap();
    let (mut written, mut run) = code.into_parts();
    assert!(written.resize(2 * page()).is_err() && run.resize(2 * page()).is_err());
    assert_eq!((written.mapped_len(), run.mapped_len()), (page(), page()));
    // SAFETY: three bytes of the view, which can be read.
    assert_eq!(unsafe { function.run_ptr().cast::<[u8; 3]>().read() }, [1, 2, 3]);
}

#[test]
fn a_shrunk_mapping_gives_back_whole_pages() {
    alone(|| {
        let mut map = anon(4);
        let at = start(&map);
        map.fill(7);
        map.resize(page() + 1).unwrap();
        assert_eq!((map.len(), map.mapped_len()), (page() + 1, 2 * page()));
        assert!(map.iter().all(|byte| *byte == 7));
        assert!(is_mapped(at, 2 * page()) && !is_mapped(at.wrapping_add(2 * page()), page()));
        map.resize(1).unwrap();
        assert!(!is_mapped(at.wrapping_add(page()), page()));
    });
}

#[test]
fn a_mapping_shrunk_to_nothing_owns_nothing() {
    alone(|| {
        let mut map = anon(2);
        let at = start(&map);
        map.resize(0).unwrap();
        assert!(map.is_empty() && map.mapped_len() == 0);
        assert!(!is_mapped(at, page()) && !is_mapped(at.wrapping_add(page()), page()));
        assert!(map.resize(1).is_err());
        // What lies there by then is another's.
        let place = Place::Exact(at);
        // SAFETY: far from any stack: the kernel chose the place.
        let other = unsafe { MapOptions::new(1).at(place, RW, ANON, rawmap::NO_FD, 0) };
        drop(map);
        if let Ok(other) = other {
            assert_eq!(byte(&other, 0), 0);
        }
    });
}

#[test]
fn the_parts_of_a_split_mapping_are_dropped_apart() {
    alone(|| {
        let (before, middle, after) = neighbours(2);
        let at = start(&middle);
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
    let second = map.split_off(page()).unwrap();
    assert_eq!((map.len(), second.len(), second.mapped_len()), (page(), page() + 1, 2 * page()));
    assert_eq!((map[0], second[0], second[page()]), (1, 2, 3));
    map.try_unsplit(second).unwrap();
    assert_eq!((map.len(), map[page()], map[2 * page()]), (2 * page() + 1, 2, 3));
}

#[test]
fn a_split_within_a_page_or_behind_the_end_is_refused_and_changes_nothing() {
    let size = 2 * page() + 1;
    let mut map = MapOptions::new(size).anonymous().unwrap();
    for at in [size + 1, 3 * page(), usize::MAX & !(page() - 1), usize::MAX] {
        let error = map.split_off(at).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("Mapping::split_off: the place {at} is more than the length {size}")
        );
    }
    for at in [1, page() - 1, page() + 1, 2 * page() - 1] {
        let error = map.split_off(at).unwrap_err();
        let said = format!("Mapping::split_off: the place {at} is not a multiple of {}", page());
        assert_eq!((error.to_string(), error.errno()), (said, Errno::EINVAL));
    }
    assert_eq!(map.len(), size);
    let at = start(&map);
    assert!(map.split_off(size).unwrap().is_empty());
    let all = map.split_off(0).unwrap();
    assert_eq!((map.len(), all.len(), start(&all)), (0, size, at));
}

#[test]
fn only_neighbours_of_one_kind_are_joined() {
    let mut first = anon(3);
    let mut second = first.split_off(page()).unwrap();
    let third = second.split_off(page()).unwrap();
    let mut first = second.try_unsplit(first).expect_err("in the wrong order");
    let third = first.try_unsplit(third).expect_err("with a page between");
    second.try_unsplit(third).unwrap();
    first.try_unsplit(second).unwrap();
    assert_eq!(first.len(), 3 * page());
    // What does not end with its page has bytes behind it that are nobody's.
    let mut odd = MapOptions::new(2 * page()).anonymous().unwrap();
    let last = odd.split_off(page()).unwrap();
    odd.resize(page() - 1).unwrap();
    assert!(odd.try_unsplit(last).is_err());
    assert_eq!(odd.len(), page() - 1);
}

/// Purging one and the other are two things.
#[test]
fn neighbours_of_two_backings_are_not_joined() {
    let mut space = Reservation::new(2 * page(), Mode::Strict).unwrap();
    let place = space.split_off(page()).unwrap();
    let mut first = space.into_mapping().unwrap();
    let file = file_of_pages(1);
    // SAFETY: nobody else has the file.
    let mut second = unsafe { MapOptions::whole().file_copy(lent(&file), 0) }.unwrap();
    place.place(&mut second).unwrap();
    assert_eq!(first.as_ptr_range().end, second.as_ptr());
    let second = first.try_unsplit(second).unwrap_err();
    assert_eq!((first.len(), second.len(), second[0]), (page(), page(), 1));
}

#[test]
fn neighbours_that_were_mapped_apart_are_joined_and_dropped_as_one() {
    alone(|| {
        let mut space = Reservation::new(2 * page(), Mode::Strict).unwrap();
        let place = space.split_off(page()).unwrap();
        let (mut first, mut second) =
            (space.into_mapping().unwrap(), MapOptions::new(1).anonymous().unwrap());
        second[0] = 3;
        place.place(&mut second).unwrap();
        first.try_unsplit(second).unwrap();
        assert_eq!((first.len(), first.mapped_len(), first[page()]), (page() + 1, 2 * page(), 3));
        first.fill(7);
        let at = start(&first);
        drop(first);
        assert!(!is_mapped(at, page()) && !is_mapped(at.wrapping_add(page()), page()));
    });
}

#[test]
fn a_guarded_range_is_a_fault_and_its_neighbours_are_not() {
    let map = raw(3);
    set(&map, 2 * page(), 7);
    let guarded = map.guard(page()..2 * page()).unwrap();
    let ends = [0, 1, 2].map(|n| reading(map.as_ptr().wrapping_add(n * page())));
    assert_eq!(ends, [OK, SEGV, OK], "guarded where the kernel, or an emulator, says so falsely");
    // An emulator that says yes and guards nothing is seen through.
    let has = emulator().is_none() && kernel() >= (6, 13);
    assert_eq!(guarded, if has { Guarded::Installed } else { Guarded::Protected });
    assert_eq!(byte(&map, 2 * page()), 7);
    assert!(map.guard(..1).is_err() && map.guard(1..page()).is_err());
    assert_eq!(reading(map.as_ptr()), OK);
}

#[test]
fn an_installed_guard_splits_no_mapping_and_can_be_removed() {
    let map = raw(3);
    if map.guard(page()..2 * page()).unwrap() != Guarded::Installed {
        skip!("the kernel has no MADV_GUARD_INSTALL");
        return;
    }
    // It may be one with others', which other tests map and unmap meanwhile, but it is one.
    assert_eq!(smaps(map.as_ptr(), map.as_ptr().wrapping_add(3 * page())).len(), 1);
    // A protection does not take it away, nor says so.
    map.protect(.., RW).unwrap();
    assert_eq!(reading(map.as_ptr().wrapping_add(page())), SEGV);
    map.advise(page()..2 * page(), Advice::GUARD_REMOVE).unwrap();
    assert_eq!(reading(map.as_ptr().wrapping_add(page())), OK);
}

#[test]
fn a_guard_by_protection_is_undone_by_protection() {
    need_lockable!(64 << 10);
    let map = raw(2);
    map.lock(..).unwrap();
    assert_eq!(map.guard(..page()).unwrap(), Guarded::Protected, "locked memory has no other");
    assert_eq!(reading(map.as_ptr()), SEGV);
    map.protect(..page(), RW).unwrap();
    assert_eq!((reading(map.as_ptr()), byte(&map, page())), (OK, 0));
}

#[test]
fn a_sealed_mapping_can_not_be_unmapped_protected_or_moved() {
    alone(|| {
        let mut map = anon(2);
        map[0] = 7;
        let at = start(&map);
        let sealed = match map.seal() {
            Ok(sealed) => sealed,
            Err(refused) => {
                assert_eq!(refused.error().errno(), Errno::ENOSYS);
                assert_eq!(refused.into_owner().unwrap()[0], 7);
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
        assert_eq!(unsafe { at.read() }, 7);
    });
}

#[test]
fn a_mapping_that_is_part_of_a_sealed_one_says_so_when_it_is_unmapped() {
    alone(|| {
        let mut map = anon(2);
        let at = start(&map);
        // SAFETY: it stays as it is.
        if let Err(errno) = unsafe { rawmap::mseal(at, page(), Default::default()) } {
            assert_eq!(errno, Errno::ENOSYS);
            skip!("the kernel has no mseal");
            return;
        }
        map.fill(7);
        let refused = map.unmap().unwrap_err();
        assert_eq!(refused.error().errno(), Errno::EPERM);
        let map = refused.into_owner().unwrap();
        assert_eq!(map[0], 7);
        drop(map);
        assert!(is_mapped(at, 2 * page()), "dropping is refused too, and nothing is unmapped");
        assert_eq!(resident(at, 2), [false; 2], "but it costs no memory");
    });
}

/// Each kind of mapping that there is, with one byte of its own.
fn each_backing() -> Vec<(Mapping<Raw>, Backing)> {
    let of_file = |sharing| {
        let (file, offset) = (file_of_pages(3), page() as u64 + 9);
        MapOptions::new(page() + 5).file_raw(lent(&file), offset, RW, sharing).unwrap()
    };
    let all = vec![
        (MapOptions::new(page() + 5).raw(RW, Sharing::Private).unwrap(), Backing::Anonymous),
        (MapOptions::new(page() + 5).raw(RW, Sharing::Shared).unwrap(), Backing::SharedAnonymous),
        (of_file(Sharing::Private), Backing::PrivateFile),
        (of_file(Sharing::Shared), Backing::SharedFile),
    ];
    all.iter().for_each(|(map, _)| set(map, page(), 77));
    all
}

/// Whatever address they have: it is no address of the owner's.
#[test]
fn raw_parts_of_nothing_are_nothing() {
    alone(|| {
        let huge = PageSize::new(2 << 20).unwrap();
        for granule in [rawmap::page_size().unwrap(), huge] {
            let start = std::ptr::NonNull::dangling();
            let parts = RawParts { start, len: 0, granule, backing: Backing::Anonymous };
            // SAFETY: of nothing it asks for nothing.
            let nothing: Mapping = unsafe { Mapping::from_raw_parts(parts) }.unwrap();
            assert_eq!((nothing.len(), nothing.mapped_len(), &nothing[..]), (0, 0, &[][..]));
            let nothing = nothing.into_reservation(Mode::Strict).unwrap();
            assert!(nothing.is_empty() && nothing.into_mapping().unwrap().is_empty());
        }
    });
}

#[test]
fn raw_parts_make_the_same_mapping_again_whatever_it_was_of() {
    alone(|| {
        for (map, backing) in each_backing() {
            let (at, len, base) =
                (map.as_ptr(), map.len(), map.as_ptr().map_addr(|it| it & !(page() - 1)));
            let parts = map.into_raw_parts();
            assert_eq!((parts.start.as_ptr(), parts.len, parts.backing), (at, len, backing));
            assert_eq!((len, parts.granule.bytes()), (page() + 5, page()));
            // SAFETY: given up by the lines above.
            let mut map: Mapping<Raw> = unsafe { Mapping::from_raw_parts(parts) }.unwrap();
            assert_eq!((map.mapped_len(), byte(&map, page())), (2 * page(), 77));
            match backing {
                Backing::SharedFile => assert!(map.purge(..).is_err()),
                Backing::PrivateFile => {
                    assert_eq!((map.purge(..), byte(&map, page())), (Ok(Purged::File), 3));
                }
                Backing::Anonymous => {
                    assert_eq!((map.purge(..), byte(&map, page())), (Ok(Purged::Zeroes), 0));
                }
                _ => {
                    assert_eq!(map.purge(..), Ok(Purged::Zeroes));
                    answers!(0, byte(&map, page()), qemu ..11 => 77, "MADV_REMOVE does nothing, and succeeds");
                }
            }
            drop(map);
            assert!(!is_mapped(base, page()) && !is_mapped(base.wrapping_add(page()), page()));
        }
    });
}

#[test]
fn raw_parts_of_huge_pages_make_the_same_mapping_again() {
    let done = with_huge_pages(|| {
        const HUGE: usize = 2 << 20;
        let mut map = MapOptions::new(HUGE + 5).huge(HUGE).anonymous().unwrap();
        map[HUGE] = 7;
        let parts = map.into_raw_parts();
        assert_eq!((parts.len, parts.granule.bytes()), (HUGE + 5, HUGE));
        let mut space = Space::new();
        // SAFETY: given up by the lines above.
        let map: Mapping = unsafe { Mapping::from_raw_parts(parts) }.unwrap();
        assert_eq!((map.mapped_len(), map[HUGE]), (2 * HUGE, 7));
        drop(map);
        space.look();
        assert!(space.lacks(parts.start.as_ptr(), 2 * HUGE));
    });
    if let Err(why) = done {
        skip!("{why}");
    }
}

#[test]
fn raw_parts_that_can_be_none_are_refused() {
    let map = raw(2);
    let start = std::ptr::NonNull::new(map.as_ptr()).unwrap();
    let (granule, backing) = (map.granule(), map.backing());
    // SAFETY: each is refused, so nothing is owned twice.
    let refused = |parts| unsafe { Mapping::<ReadWrite>::from_raw_parts(parts) }.unwrap_err();
    for len in [isize::MAX as usize, usize::MAX - page(), usize::MAX] {
        let error = refused(RawParts { start, len, granule, backing });
        let expected = Some(("the length", len, Some(isize::MAX as usize)));
        assert_eq!((error.argument(), error.errno()), (expected, Errno::ENOMEM));
    }
    // The bytes are few enough, but not the pages that they lie on.
    let len = isize::MAX as usize - page() + 1;
    // SAFETY: within the mapping.
    refused(RawParts { start: unsafe { start.add(1) }, len, granule, backing });
    if page() > 4096 {
        let granule = PageSize::new(4096).unwrap();
        let error = refused(RawParts { start, len: 1, granule, backing });
        assert_eq!(error.argument(), Some(("the granule", 4096, Some(page()))));
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
fn what_is_raw_is_a_slice_again_by_a_promise() {
    let mut map = anon(1);
    map[0] = 7;
    let map = map.into_raw();
    map.protect(.., Prot::READ).unwrap();
    // SAFETY: it can be read, is private, and nobody writes it.
    let map: Mapping<ReadOnly> = unsafe { map.assume() };
    assert_eq!(map[..2], [7, 0]);
}

#[test]
fn an_overlay_replaces_exactly_its_range() {
    let file = file_of_pages(2);
    let map = raw(3);
    (0..3).for_each(|n| set(&map, n * page(), 7));
    let (fd, offset) = (file.as_raw_fd(), page() as u64);
    // SAFETY: nobody else has the file, which is on ordinary pages and is not refused.
    let lay = |range| unsafe { map.overlay(range, Prot::READ, MapFlags::PRIVATE, fd, offset) };
    lay(page()..2 * page()).unwrap();
    assert_eq!([0, 1, 2].map(|n| byte(&map, n * page())), [7, 2, 7]);
    for range in [0..1, 1..page(), page()..3 * page() + 1] {
        assert!(lay(range.clone()).is_err(), "{range:?}");
    }
    assert_eq!([0, 1, 2].map(|n| byte(&map, n * page())), [7, 2, 7]);
}

/// As the images of a pool of instances are laid.
#[test]
fn threads_overlay_parts_of_one_mapping_at_once() {
    let file = file_of_pages(8);
    let map = raw(8);
    std::thread::scope(|scope| {
        for n in 0..8 {
            let (map, fd) = (&map, file.as_raw_fd());
            scope.spawn(move || {
                for _ in 0..50 {
                    let range = n * page()..(n + 1) * page();
                    // SAFETY: as above; each thread has its own part.
                    unsafe { map.overlay(range, RW, MapFlags::PRIVATE, fd, (n * page()) as u64) }
                        .unwrap();
                    assert_eq!(byte(map, n * page()), n as u8 + 1);
                    set(map, n * page(), 99);
                }
            });
        }
    });
}

#[test]
fn a_name_is_given_to_a_range_and_shows_in_maps() {
    let map = raw(3);
    let named = |n: usize| {
        let at = map.as_ptr().wrapping_add(n * page());
        smaps(at, at.wrapping_add(1)).remove(0).0.ends_with("[anon:a test's]")
    };
    match map.name(page()..=page(), c"a test's") {
        Ok(()) if emulator().is_some() => skip!("the emulator's smaps are not the program's"),
        Ok(()) => {
            assert_eq!([0, 1, 2].map(named), [false, true, false]);
            map.name(.., c"a test's").unwrap();
            assert_eq!([0, 1, 2].map(named), [true; 3]);
        }
        Err(error) => {
            assert_eq!(error.errno(), Errno::EINVAL);
            skip!("the kernel has no names, or the emulator passes none on: {error}");
            return;
        }
    }
    let file = file_of_pages(1);
    let error = shared_file(&file, 1).name(.., c"file").unwrap_err();
    let said =
        "prctl(PR_SET_VMA_ANON_NAME): EBADF: bad file descriptor: only anonymous memory has a name";
    assert_eq!((error.errno(), error.to_string()), (Errno::EBADF, said.to_owned()));
}

/// The kernel says the same, and EINVAL to every name if it has none.
#[test]
fn a_name_that_no_kernel_takes_is_refused_before_any_call() {
    let long = CString::new(vec![b'a'; 80]).unwrap();
    for name in [c"in [brackets]", c"a\nb", c"\xc3\xa4", c"$x", c"`", c"a\\", &long] {
        let error = anon(1).name(.., name).unwrap_err();
        let said =
            r"Mapping::name: a name has at most 79 printable characters, and none of \ ` $ [ ]";
        assert_eq!((error.errno(), error.to_string().as_str()), (Errno::EINVAL, said), "{name:?}");
    }
    let long = CString::new(vec![b'a'; 79]).unwrap();
    for name in [c"", c"~ !", &long] {
        if let Err(error) = anon(1).name(.., name) {
            let said = "prctl(PR_SET_VMA_ANON_NAME): EINVAL: invalid argument: was this kernel built \
                        with names (CONFIG_ANON_VMA_NAME)?";
            assert_eq!(error.to_string(), said);
        }
    }
}

/// What the words of the call don't tell, the text asks.
#[test]
fn what_mends_it_most_often_is_said() {
    if emulator().is_some() {
        return skip!("an emulator refuses by other errors");
    }
    let said = |error: Error| error.to_string();
    let mut map = anon(1);
    let longer = said(map.resize(1 << 60).unwrap_err());
    // Before 6.17 the kernel says ENOMEM, and the rules say why.
    assert!(longer.starts_with("mremap(") && longer.contains(" address space"), "{longer}");
    let hole = said(raw(1).punch_hole(..).unwrap_err());
    assert!(
        hole.ends_with("EINVAL: invalid argument: is the memory private, or locked?"),
        "{hole}"
    );
    let rw_raw = |options: MapOptions, file: &File| {
        options.file_raw(lent(file), 0, Prot::READ, Sharing::Private).map(drop)
    };
    let on_huge = rw_raw(MapOptions::new(1).huge(2 << 20), &file_of_pages(1));
    let on_huge = said(on_huge.unwrap_err());
    assert!(on_huge.ends_with("is the file on hugetlbfs, with pages of that size?"), "{on_huge}");
    match File::open("/sys/kernel/mm/transparent_hugepage/enabled") {
        Ok(sysfs) => {
            let refused = said(rw_raw(MapOptions::whole(), &sysfs).unwrap_err());
            assert!(refused.ends_with("its file system or driver can't map it; read it"));
        }
        Err(error) => skip!("there is no such file of /sys: {error}"),
    }
}

/// What a method does to a sub-range.
type Range = (Bound<usize>, Bound<usize>);
type Method<'a> = (&'a str, &'a dyn Fn(&mut Mapping<Raw>, Range) -> Result<(), Error>);

/// Of shared memory, for which the kernel knows all of them.
const METHODS: [Method<'static>; 13] = [
    ("advise", &|map, range| map.advise(range, Advice::NORMAL)),
    // SAFETY: it changes no contents.
    ("advise_any", &|map, range| unsafe { map.advise_any(range, Advice::NORMAL) }),
    ("sync", &|map, range| map.sync(range, MsyncFlags::ASYNC)),
    ("lock", &|map, range| map.lock(range)),
    ("unlock", &|map, range| map.unlock(range)),
    ("populate_read", &|map, range| map.populate_read(range)),
    ("populate_write", &|map, range| map.populate_write(range)),
    ("resident", &|map, range| map.resident(range, &mut [0; 8]).map(drop)),
    ("inwards", &|map, range| map.inwards(range).map(drop)),
    ("protect", &|map, range| map.protect(range, RW)),
    ("punch_hole", &|map, range| map.punch_hole(range)),
    ("purge", &|map, range| map.purge(range).map(drop)),
    ("guard", &|map, range| map.guard(range).map(drop)),
];

#[test]
fn every_method_takes_a_range_of_bytes_as_a_slice_does() {
    need_lockable!(64 << 10);
    for (name, method) in &METHODS {
        let mut map = shared(4);
        let size = map.len();
        let mut call = |start, end| method(&mut map, (start, end));
        let last = Included(usize::MAX);
        for (start, end, wrong, value, limit) in [
            (Included(0), Excluded(size + 1), "the range's end", size + 1, size),
            (Unbounded, Included(size), "the range's end", size + 1, size),
            (Unbounded, Excluded(usize::MAX), "the range's end", usize::MAX, size),
            (Unbounded, last, "the range's end", usize::MAX, size),
            (Included(size), last, "the range's end", usize::MAX, size),
            (Excluded(usize::MAX), Unbounded, "the range's start", usize::MAX, size),
            (Excluded(usize::MAX - 1), Unbounded, "the range's start", usize::MAX, size),
            (Included(size + 1), Unbounded, "the range's start", size + 1, size),
            (Excluded(size), Unbounded, "the range's start", size + 1, size),
            (Included(5), Excluded(3), "the range's end", 3, 5),
            (Included(2 * page()), Excluded(page()), "the range's end", page(), 2 * page()),
        ] {
            let error = call(start, end).unwrap_err();
            let expected = Some((wrong, value, Some(limit)));
            assert_eq!(error.argument(), expected, "{name} {start:?} {end:?}: {error}");
            assert!(error.to_string().starts_with(&format!("Mapping::{name}: ")), "{error}");
            assert_eq!((error.errno(), error.call()), (Errno::EINVAL, None));
        }
        for (start, end) in [
            (Included(0), Excluded(0)),
            (Included(size), Excluded(size)),
            (Excluded(size - 1), Unbounded),
            (Included(page()), Excluded(page())),
            (Excluded(page() - 1), Included(2 * page() - 1)),
            (Included(size - page()), Unbounded),
            (Unbounded, Unbounded),
        ] {
            assert_eq!(call(start, end), Ok(()), "{name} {start:?} {end:?}");
        }
        // A part of a page: the first nine mean the page, the last four refuse it.
        let exact = ["protect", "punch_hole", "purge", "guard"].contains(name);
        for (start, end, wrong, value) in [
            (Included(1), Unbounded, "the range's start", 1),
            (Excluded(0), Included(page() - 1), "the range's start", 1),
            (Unbounded, Excluded(1), "the range's end", 1),
            (Unbounded, Included(0), "the range's end", 1),
            (Included(page()), Included(size - 2), "the range's end", size - 1),
        ] {
            let expected = exact.then_some((wrong, value, Some(page())));
            let argument = call(start, end).map_or_else(|error| error.argument(), |()| None);
            assert_eq!(argument, expected, "{name} {start:?} {end:?}");
        }
    }
}

#[test]
fn an_error_carries_the_call_the_errno_and_the_reason() {
    // SAFETY: no kernel knows it.
    let refused = unsafe { raw(1).advise_any(.., Advice::from_bits(0x7777)) };
    let Err(error) = refused else {
        assert!(qemu_before(11));
        departure!("an unknown advice succeeds");
        return;
    };
    let said = error.to_string();
    assert!(said.starts_with("madvise(0x") && said.contains(", 0x7777): EINVAL"), "{said}");
    assert!(said.ends_with("advice 30583 is not known"), "{said}");
    assert_eq!((error.errno(), error.call().is_some()), (Errno::EINVAL, true));
    assert_eq!((error.argument(), format!("{error:?}")), (None, said));
}

#[test]
fn an_error_before_any_call_names_operation_argument_value_and_limit() {
    let error = anon(1).purge(1..).unwrap_err();
    let said = format!("Mapping::purge: the range's start 1 is not a multiple of {}", page());
    assert_eq!((error.to_string(), format!("{error:?}")), (said.clone(), said));
    assert_eq!((error.call(), error.reason(), error.errno()), (None, None, Errno::EINVAL));
    assert_eq!(error.argument(), Some(("the range's start", 1, Some(page()))));
}

#[test]
fn an_error_is_small() {
    assert!(size_of::<Error>() <= 72);
}

#[test]
fn a_mapping_prints_where_it_is_and_not_its_bytes() {
    let said = format!("{:?}", anon(1));
    assert!(said.contains("start: 0x") && said.contains(&format!("len: {}", page())), "{said}");
    assert!(said.contains("backing: Anonymous") && said.len() < 200, "{said}");
}

#[test]
fn a_childs_drop_unmaps_nothing_of_its_parent() {
    let (mut private, shared) = (anon(2), shared(1));
    private.fill(7);
    set(&shared, 0, 7);
    let (at, also) = (start(&private), shared.as_ptr());
    let (mut private, mut shared) = (Some(private), Some(shared));
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

#[test]
fn what_is_asked_for_early_is_known() {
    rawmap::prepare().unwrap();
    assert_eq!(rawmap::page_size().unwrap().bytes(), page());
}

const AT_PAGESZ: usize = 6;
const AT_BASE: usize = 7;
const AT_EXECFN: usize = 31;

/// Says where the stack may grow: for the rest of a child.
fn pretend_the_stack_may_grow_into(from: *mut u8, top: *mut u8) {
    let pairs = [[AT_PAGESZ, page()], [AT_BASE, from.addr()], [AT_EXECFN, top.addr()], [0, 0]];
    // SAFETY: it ends with 0. It is not what the kernel gave, and forbids more than that would.
    unsafe { rawmap::set_auxv(pairs.as_ptr()) };
}

#[test]
fn where_the_stack_may_grow_no_protection_changes_and_nothing_grows_in_place() {
    if emulator().is_some() {
        return skip!("the emulator gives out places in an order of its own");
    }
    alone(|| {
        let mut map = raw(8);
        let (at, end) = (map.as_ptr(), map.as_ptr().wrapping_add(8 * page()));
        map.resize(2 * page()).unwrap();
        set(&map, 0, 7);
        // Below is ordinary ground.
        pretend_the_stack_may_grow_into(at.wrapping_add(2 * page()), end);
        map.protect(.., Prot::READ).unwrap();
        map.protect(.., RW).unwrap();
        // Memory that reaches into it.
        pretend_the_stack_may_grow_into(at.wrapping_add(page()), end);
        let said = map.resize_in_place(4 * page()).unwrap_err().to_string();
        assert!(said.starts_with("Mapping::resize_in_place: the end 0x"), "{said}");
        assert!(said.contains("lies where the main thread's stack may grow"), "{said}");
        assert_eq!((map.len(), map.as_ptr()), (2 * page(), at));
        // More than there is room in the hole that it leaves.
        map.resize(16 * page()).unwrap();
        assert!(map.as_ptr() >= end || map.as_ptr().wrapping_add(16 * page()) <= at, "it moves");
        assert_eq!(byte(&map, 0), 7);

        let inside = raw(2);
        let at = inside.as_ptr();
        pretend_the_stack_may_grow_into(at.wrapping_add(page()), at.wrapping_add(2 * page()));
        let said = inside.protect(..page(), Prot::NONE).unwrap_err();
        assert_eq!(said.errno(), Errno::ENOMEM);
        assert!(said.to_string().starts_with("Mapping::protect: the memory 0x"), "{said}");
        assert_eq!(reading(at), OK);
        let mut inside = inside;
        for mode in [Mode::Strict, Mode::Overcommit] {
            let refused = inside.into_reservation(mode).unwrap_err();
            assert!(
                refused.to_string().starts_with("Mapping::into_reservation: the memory 0x"),
                "{refused}"
            );
            inside = refused.into_owner().unwrap();
        }
        set(&inside, 0, 7);
    });
}

/// Where the kernel offers a place there, it is asked once more for one right below; and where that is taken, for
/// others while those are held.
#[test]
fn a_reservation_does_not_lie_where_the_stack_may_grow() {
    if emulator().is_some() {
        return skip!("the emulator gives out places in an order of its own");
    }
    alone(|| {
        let len = 64 * page();
        let mut below = Reservation::new(2 * len, Mode::Strict).unwrap();
        // Holes above it that it didn't fit in, but half of it would, are filled.
        let reserve = || Reservation::new(len, Mode::Strict).unwrap();
        std::iter::repeat_with(reserve)
            .take_while(|it| it.as_ptr() > below.as_ptr())
            .for_each(std::mem::forget);
        let ground = below.split_off(len).unwrap().as_ptr();
        let offered = Reservation::new(len, Mode::Strict).unwrap().as_ptr();
        assert_eq!(offered, ground, "what was unmapped last is the highest free place");
        pretend_the_stack_may_grow_into(ground, ground.wrapping_add(len));
        let outside = Reservation::new(len, Mode::Strict).unwrap().as_ptr();
        assert!(outside.wrapping_add(len) <= ground || outside >= ground.wrapping_add(len));
        let place = below.as_ptr();
        drop(below);
        let it = Reservation::new(len, Mode::Strict).unwrap();
        assert_eq!(it.as_ptr(), place);
        it.commit(..).unwrap();
        // What is accessible from the start keeps a stack at a distance, and may lie there.
        assert_eq!(raw(64).as_ptr(), ground);
        assert_eq!(Reservation::new(len, Mode::Overcommit).unwrap().as_ptr(), ground);
    });
}

assert_impl_all!(Mapping<Raw>: Send, Sync);
assert_impl_all!(Mapping<ReadOnly>: Send, Sync, Deref<Target = [u8]>, AsRef<[u8]>, Borrow<[u8]>);
assert_impl_all!(Mapping<ReadWrite>: Send, Sync, DerefMut, AsMut<[u8]>, BorrowMut<[u8]>, Default);
assert_impl_all!(MapOptions: Send, Sync, Copy, Eq);
assert_impl_all!(Place: Send, Sync, Copy);
assert_impl_all!(Sharing: Send, Sync, Copy);
assert_impl_all!(Fd<'static>: Send, Sync, Copy, AsDescriptor);
assert_impl_all!(Sealed: Send, Sync, Copy);
assert_impl_all!(Reservation: Send, Sync);
assert_impl_all!(Ring: Send, Sync);
assert_impl_all!(DualMapping: Send, Sync);
assert_impl_all!(Stack: Send, Sync);
assert_impl_all!(PageAlloc: Send, Sync);
assert_impl_all!(Error: Send, Sync, Copy, std::error::Error);
assert_impl_all!(Refused<Mapping>: Send, Sync, std::error::Error);
// Bytes that may be unmapped, unreadable or another's are no slice, and those of a file not a mutable
// one; and what owns is not copied.
assert_not_impl_any!(Mapping<Raw>: Deref, Clone, AsRef<[u8]>, Borrow<[u8]>);
assert_not_impl_any!(Mapping<ReadOnly>: DerefMut, Clone, AsMut<[u8]>);
assert_not_impl_any!(Mapping<ReadWrite>: Clone);
assert_not_impl_any!(Reservation: Clone, Deref);
assert_not_impl_any!(Ring: Clone, Deref);
assert_not_impl_any!(DualMapping: Clone, Deref);
assert_not_impl_any!(Stack: Clone, Deref);
// The three kinds of access are all that there are.
assert_not_impl_any!(u8: Access);

/// Numbers that are what the caller gave, or said to be more; and limits that the kernel or Rust would hold to.
#[test]
fn a_wrong_argument_is_of_the_method_that_was_called() {
    fn is_of<T>(method: &str, result: Result<T, impl Into<Error>>) {
        let error: Error = result.map(drop).map_err(Into::into).unwrap_err();
        assert!(error.argument().is_some() && error.call().is_none(), "{error}");
        assert!(error.to_string().starts_with(&format!("{method}: ")), "not of {method}: {error}");
    }
    let (most, far, no_name) = (usize::MAX, 1 << 40.., c"[");
    let words = Words::new(1).unwrap();
    is_of("Words::new", Words::new(most));
    is_of("Words::of_width", Words::<AtomicU64>::of_width(most));
    is_of("Words::lock", words.lock(far.clone()));
    is_of("Words::advise", words.advise(.., Advice::FREE));
    is_of("Words::name", words.name(.., no_name));
    let mut reservation = Reservation::new(page(), Mode::Strict).unwrap();
    is_of("Reservation::new", Reservation::new(most, Mode::Strict));
    is_of("Reservation::aligned", Reservation::aligned(1, 3, Mode::Strict));
    is_of("Reservation::commit", reservation.commit(1..));
    is_of("Reservation::decommit", reservation.decommit(1..));
    is_of("Reservation::purge", reservation.purge(1..));
    is_of("Reservation::advise", reservation.advise(.., Advice::DONTNEED));
    is_of("Reservation::name", reservation.name(.., no_name));
    is_of("Reservation::split_off", reservation.split_off(1));
    is_of("Reservation::place", reservation.place(&mut anon(2)));
    let mut front = Front::reserve(1).unwrap();
    is_of("Front::reserve", Front::reserve(most));
    is_of("Front::resize", front.resize(most));
    is_of("Front::advise", front.advise(far.clone(), Advice::COLD));
    is_of("Front::name", front.name(.., no_name));
    is_of("Pool::new", Pool::new(1, most, 1));
    is_of("Pool::new", Pool::new(most, 1, 1));
    is_of("Pool::new", Pool::new(1, 1, 3));
    is_of("Pool::name", Pool::new(1, 1, 1).unwrap().name(no_name));
    is_of("Stack::new", Stack::new(0));
    is_of("Stack::with_guard", Stack::with_guard(1, most));
    let stacks = StackPool::new(1, 1).unwrap();
    let _taken = stacks.take().unwrap();
    is_of("StackPool::new", StackPool::new(most, 1));
    is_of("StackPool::take", stacks.take());
    is_of("StackPool::name", stacks.name(no_name));
    is_of("Ring::new", Ring::new(most));
    // SAFETY: nothing is mapped.
    is_of("Ring::over", unsafe { Ring::over(lent(&file_of_pages(1)), 1, page()) });
    if emulator().is_none() {
        let directory = File::open("/").unwrap();
        // SAFETY: as above.
        is_of("Ring::over", unsafe { Ring::over(lent(&directory), 0, page()) });
    }
    is_of("DualMapping::new", DualMapping::new(most));
    let mut code = DualMapping::new(2 * page()).unwrap();
    let place = || Reservation::new(page(), Mode::Strict).unwrap();
    is_of("DualMapping::write", code.write(most, &[1]));
    is_of("DualMapping::publish", code.publish(far));
    is_of("DualMapping::split_off", code.split_off(1));
    is_of("DualMapping::place_run", code.place_run(place()));
    is_of("DualMapping::place_written", code.place_written(place()));
}

/// What an error says is the largest is not too large itself: the kernel is asked then, or is it made.
#[test]
fn what_an_error_says_is_the_largest_is_taken() {
    type Attempt = fn(usize) -> Result<(), Error>;
    let huge = 1 << (usize::BITS - 1);
    let attempts: [(usize, Attempt); 16] = [
        (usize::MAX, |len| MapOptions::new(len).anonymous().map(drop)),
        (huge, |align| MapOptions::new(1).align(align).anonymous().map(drop)),
        (huge, |huge| MapOptions::new(1).huge(huge).raw(RW, Sharing::Private).map(drop)),
        (usize::MAX, |len| Reservation::new(len, Mode::Strict).map(drop)),
        (usize::MAX, |len| Reservation::aligned(len, 1 << 30, Mode::Strict).map(drop)),
        (huge, |align| Reservation::aligned(1, align, Mode::Strict).map(drop)),
        (usize::MAX, |len| Pool::new(1, len, 1).map(drop)),
        (usize::MAX, |len| Pool::new(1, len, 1 << 20).map(drop)),
        (usize::MAX, |count| Pool::new(count, 5000, 1 << 20).map(drop)),
        (huge, |align| Pool::new(1, 1, align).map(drop)),
        (usize::MAX, |len| StackPool::new(1, len).map(drop)),
        (usize::MAX, |count| StackPool::new(count, 1).map(drop)),
        (usize::MAX, |len| Stack::new(len).map(drop)),
        (usize::MAX, |len| Ring::new(len).map(drop)),
        (usize::MAX, |len| DualMapping::new(len).map(drop)),
        (usize::MAX, |count| Words::new(count).map(drop)),
    ];
    for (n, (too_large, attempt)) in attempts.into_iter().enumerate() {
        let error = attempt(too_large).unwrap_err();
        let (_, value, Some(largest)) = error.argument().unwrap() else { panic!("{n}: {error}") };
        assert!(value == too_large && largest < too_large, "{n}: {error}");
        if let Err(refused) = attempt(largest) {
            assert!(refused.call().is_some(), "{n}: {error}; and of that: {refused}");
        }
    }
}

#[test]
fn errors_of_what_lies_behind_other_bytes_say_true_numbers() {
    let file = file_of_pages(4);
    let most = (isize::MAX as usize).next_multiple_of(page()) - page();
    let of_file = |len, offset| {
        MapOptions::new(len).file_raw(lent(&file), offset, Prot::READ, Sharing::Private)
    };
    let mut map = of_file(3 * page(), 1).unwrap();
    let (at, granule) = (page(), page());
    for (error, argument, value, limit) in [
        (of_file(most, 100).unwrap_err(), "the length", most, most - 100),
        (map.resize(most).unwrap_err(), "the length", most, most - 1),
        (Stack::with_guard(1, usize::MAX).unwrap_err(), "the guard", usize::MAX, most),
        (Stack::with_guard(most, page()).unwrap_err(), "the length", most, most - page()),
        (
            StackPool::new(1, most).unwrap_err(),
            "the length",
            most,
            most - Stack::GUARD.next_multiple_of(page()),
        ),
        (
            map.protect(at.., Prot::READ).unwrap_err(),
            "the range's start, counted from the first granule,",
            at + 1,
            granule,
        ),
        (
            map.split_off(at).unwrap_err(),
            "the place, counted from the first granule,",
            at + 1,
            granule,
        ),
    ] {
        assert_eq!(error.argument(), Some((argument, value, Some(limit))), "{error}");
    }
    // One less is no error of ours.
    assert!(of_file(most - 100, 100).unwrap_err().call().is_some());
}
