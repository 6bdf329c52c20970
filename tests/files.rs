//! Files in memory: what reaches the file, what shows in memory, and where the file ends.
mod common;
use common::*;
use rawmap::{Errno, MapFlags, MsyncFlags, Prot, mmap, msync, munmap};
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::ptr;

/// The byte of the file at this offset, by read(2).
fn byte_at(file: &File, offset: u64) -> u8 {
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).unwrap();
    byte[0]
}

/// The byte of the mapping at this offset.
fn get(map: *mut u8, offset: usize) -> u8 {
    // SAFETY: a readable byte of the test's own mapping, to which it holds no reference.
    unsafe { map.add(offset).read_volatile() }
}

/// Writes the byte of the mapping at this offset.
fn put(map: *mut u8, offset: usize, byte: u8) {
    // SAFETY: as for get, and writable.
    unsafe { map.add(offset).write_volatile(byte) }
}

fn sync(map: *mut u8, len: usize, flags: MsyncFlags) {
    // SAFETY: msync changes no memory.
    unsafe { msync(map, len, flags) }.unwrap();
}

#[test]
fn a_shared_write_is_read_from_the_file_after_msync() {
    for flags in [MsyncFlags::SYNC, MsyncFlags::ASYNC, MsyncFlags::default()] {
        let file = file_of_pages(2);
        let map = map(&file, 2 * page(), RW, MapFlags::SHARED, 0).unwrap();
        put(map, 7, 0xaa);
        put(map, page() + 7, 0xbb);
        sync(map, 2 * page(), flags);
        assert_eq!(byte_at(&file, 7), 0xaa);
        assert_eq!(byte_at(&file, page() as u64 + 7), 0xbb);
        assert_eq!(byte_at(&file, 8), 1, "the byte beside it is as it was");
    }
}

#[test]
fn a_shared_write_is_read_from_the_file_at_once_without_msync() {
    let file = file_of_pages(1);
    put(map(&file, page(), RW, MapFlags::SHARED, 0).unwrap(), 7, 0xaa);
    assert_eq!(byte_at(&file, 7), 0xaa);
}

#[test]
fn a_shared_write_stays_in_the_file_after_munmap() {
    let file = file_of_pages(1);
    let map = map(&file, page(), RW, MapFlags::SHARED, 0).unwrap();
    put(map, 7, 0xaa);
    // SAFETY: the mapping is not used again.
    unsafe { munmap(map, page()) }.unwrap();
    assert_eq!(byte_at(&file, 7), 0xaa);
}

#[test]
fn a_shared_write_shows_in_another_mapping_at_once() {
    let file = file_of_pages(2);
    let whole = map(&file, 2 * page(), RW, MapFlags::SHARED, 0).unwrap();
    let second = map(&file, page(), RW, MapFlags::SHARED, page() as u64).unwrap();
    put(whole, page() + 7, 0xaa);
    assert_eq!(get(second, 7), 0xaa);
    put(second, 8, 0xbb);
    assert_eq!(get(whole, page() + 8), 0xbb);
}

#[test]
fn a_private_write_never_reaches_the_file() {
    let file = file_of_pages(1);
    let private = map(&file, page(), RW, MapFlags::PRIVATE, 0).unwrap();
    let shared = map(&file, page(), RW, MapFlags::SHARED, 0).unwrap();
    put(private, 7, 0xaa);
    assert_eq!(get(private, 7), 0xaa);
    assert_eq!((get(shared, 7), byte_at(&file, 7)), (1, 1));
    sync(private, page(), MsyncFlags::SYNC);
    assert_eq!((get(shared, 7), byte_at(&file, 7)), (1, 1), "after msync");
    assert_eq!(get(private, 7), 0xaa, "the copy stays");
    // SAFETY: the mapping is not used again.
    unsafe { munmap(private, page()) }.unwrap();
    assert_eq!((get(shared, 7), byte_at(&file, 7)), (1, 1), "after munmap");
}

#[test]
fn a_write_to_the_file_shows_in_a_shared_mapping() {
    let file = file_of_pages(1);
    let map = map(&file, page(), Prot::READ, MapFlags::SHARED, 0).unwrap();
    assert_eq!(get(map, 7), 1);
    file.write_all_at(&[0xaa], 7).unwrap();
    assert_eq!(get(map, 7), 0xaa);
}

#[test]
fn a_write_to_the_file_shows_in_a_private_mapping_until_its_page_is_written() {
    let file = file_of_pages(1);
    let map = map(&file, page(), RW, MapFlags::PRIVATE, 0).unwrap();
    assert_eq!(get(map, 7), 1);
    file.write_all_at(&[0xaa], 7).unwrap();
    assert_eq!(get(map, 7), 0xaa);
    put(map, 0, 0);
    file.write_all_at(&[0xbb], 7).unwrap();
    assert_eq!(get(map, 7), 0xaa);
}

#[test]
fn offset_chooses_the_first_page() {
    let file = file_of_pages(4);
    for n in 0..4 {
        let offset = (n * page()) as u64;
        let map = map(&file, page(), Prot::READ, MapFlags::PRIVATE, offset).unwrap();
        assert_eq!((get(map, 0), get(map, page() - 1)), (n as u8 + 1, n as u8 + 1));
    }
}

/// A bit that is lost, or an offset in other units, would show another byte of the sparse file.
#[test]
fn offset_is_in_bytes_and_all_its_bits_count() {
    let file = memfd(i64::MAX as u64);
    for bit in page().ilog2()..63 {
        file.write_all_at(&[bit as u8], 1 << bit).unwrap();
    }
    for bit in page().ilog2()..63 {
        let map = map(&file, page(), Prot::READ, MapFlags::SHARED, 1 << bit).unwrap();
        assert_eq!(u32::from(get(map, 0)), bit);
    }
    // No file is that long.
    assert_eq!(map(&file, page(), Prot::READ, MapFlags::SHARED, 1 << 63), Err(Errno::EOVERFLOW));
}

#[test]
fn a_file_of_5_gib_is_mapped_at_its_end() {
    let file = temp_file();
    let last = (5 << 30) - page() as u64;
    file.write_all_at(&[0xaa], last + 7).unwrap();
    file.set_len(5 << 30).unwrap();
    let map = map(&file, page(), RW, MapFlags::SHARED, last).unwrap();
    assert_eq!(get(map, 7), 0xaa);
    put(map, page() - 1, 0xbb);
    assert_eq!(byte_at(&file, (5 << 30) - 1), 0xbb);
}

#[test]
fn the_last_page_reads_as_zeroes_behind_the_end_of_the_file() {
    let file = file_of_pages(2);
    file.set_len(page() as u64 + 100).unwrap();
    let map = map(&file, 2 * page(), Prot::READ, MapFlags::SHARED, 0).unwrap();
    assert_eq!(get(map, page() + 99), 2);
    assert!((page() + 100..2 * page()).all(|at| get(map, at) == 0));
}

#[test]
fn what_is_written_behind_the_end_of_the_file_is_not_in_the_file() {
    let file = file_of_pages(1);
    file.set_len(100).unwrap();
    let map = map(&file, page(), RW, MapFlags::SHARED, 0).unwrap();
    put(map, 99, 0xaa);
    put(map, 100, 0xbb);
    sync(map, page(), MsyncFlags::SYNC);
    assert_eq!(file.metadata().unwrap().len(), 100);
    let mut bytes = [0; 200];
    assert_eq!(file.read_at(&mut bytes, 0).unwrap(), 100);
    assert_eq!(bytes[98..101], [1, 0xaa, 0]);
}

#[test]
fn a_page_behind_the_end_of_the_file_is_sigbus() {
    let file = file_of_pages(1);
    file.set_len(100).unwrap();
    for sharing in [MapFlags::SHARED, MapFlags::PRIVATE] {
        let map = map(&file, 3 * page(), RW, sharing, 0).unwrap();
        assert_eq!((reading(map), writing(map)), (OK, OK));
        assert_eq!(reading(map.wrapping_add(page() - 1)), OK, "the page that has the end");
        for n in 1..3 {
            let behind = map.wrapping_add(n * page());
            assert_eq!((reading(behind), writing(behind)), (BUS, BUS));
        }
    }
}

#[test]
fn a_mapping_wholly_behind_the_end_of_the_file_is_made_and_is_sigbus() {
    let map = map(&temp_file(), page(), RW, MapFlags::SHARED, page() as u64).unwrap();
    assert_eq!(reading(map), BUS);
}

#[test]
fn truncation_takes_pages_away_and_growth_gives_them_back_as_zeroes() {
    let file = file_of_pages(2);
    let map = map(&file, 2 * page(), RW, MapFlags::SHARED, 0).unwrap();
    let second = map.wrapping_add(page());
    assert_eq!(get(second, 0), 2);
    file.set_len(page() as u64).unwrap();
    assert_eq!((reading(map), reading(second), writing(second)), (OK, BUS, BUS));
    file.set_len(2 * page() as u64).unwrap();
    assert_eq!((get(map, 0), get(second, 0)), (1, 0));
}

#[test]
fn truncation_takes_written_pages_of_a_private_mapping_too() {
    let file = file_of_pages(1);
    let map = map(&file, page(), RW, MapFlags::PRIVATE, 0).unwrap();
    put(map, 0, 0xaa);
    file.set_len(0).unwrap();
    assert_eq!(reading(map), BUS);
}

#[test]
fn dev_zero_is_anonymous_memory() {
    let zero = File::options().read(true).write(true).open("/dev/zero").unwrap();
    let first = map(&zero, 2 * page(), RW, MapFlags::PRIVATE, 0).unwrap();
    let second = map(&zero, 2 * page(), RW, MapFlags::PRIVATE, 0).unwrap();
    assert!((0..2 * page()).all(|at| get(first, at) == 0));
    put(first, page(), 0xaa);
    assert_eq!(get(first, page()), 0xaa);
    assert_eq!(get(second, page()), 0);
    assert_eq!(byte_at(&zero, page() as u64), 0);
}

#[test]
fn a_file_may_be_closed_once_it_is_mapped() {
    let file = file_of_pages(1);
    let other = file.try_clone().unwrap();
    let map = map(&file, page(), RW, MapFlags::SHARED, 0).unwrap();
    drop(file);
    put(map, 7, 0xaa);
    assert_eq!((get(map, 6), byte_at(&other, 7)), (1, 0xaa));
    drop(other);
    assert_eq!((get(map, 6), get(map, 7)), (1, 0xaa), "no name and no descriptor is left");
}

#[test]
fn a_file_open_for_reading_can_be_mapped_shared_for_reading() {
    let (path, file) = named_temp_file();
    file.write_all_at(&[0xaa], 0).unwrap();
    let read_only = File::open(&path).unwrap();
    std::fs::remove_file(path).unwrap();
    let map = map(&read_only, page(), Prot::READ, MapFlags::SHARED, 0).unwrap();
    assert_eq!(get(map, 0), 0xaa);
    assert_eq!(writing(map), SEGV);
}

#[test]
fn a_file_open_for_reading_can_be_mapped_private_for_writing() {
    let (path, file) = named_temp_file();
    file.write_all_at(&[0xaa], 0).unwrap();
    let read_only = File::open(&path).unwrap();
    std::fs::remove_file(path).unwrap();
    let map = map(&read_only, page(), RW, MapFlags::PRIVATE, 0).unwrap();
    put(map, 0, 0xbb);
    assert_eq!((get(map, 0), byte_at(&file, 0)), (0xbb, 0xaa));
}

#[test]
fn len_is_rounded_up_to_whole_pages() {
    let file = file_of_pages(3);
    let raw = file.as_raw_fd();
    // SAFETY: a new mapping, which nothing else refers to.
    let map = unsafe { mmap(ptr::null_mut(), page() + 1, Prot::READ, MapFlags::SHARED, raw, 0) };
    assert_eq!(get(map.unwrap(), 2 * page() - 1), 2);
}

#[cfg(feature = "std")]
#[test]
fn mmap_file_takes_whatever_lends_a_descriptor() {
    use std::os::fd::{AsFd, OwnedFd};
    fn second_page(file: impl AsFd) -> u8 {
        let (flags, offset) = (MapFlags::PRIVATE, page() as u64);
        // SAFETY: a new mapping, which nothing else refers to.
        let map =
            unsafe { rawmap::mmap_file(ptr::null_mut(), page(), Prot::READ, flags, file, offset) };
        get(map.unwrap(), 0)
    }
    let file = file_of_pages(2);
    assert_eq!(second_page(&file), 2);
    assert_eq!(second_page(file.as_fd()), 2);
    assert_eq!(second_page(OwnedFd::from(file)), 2);
}
