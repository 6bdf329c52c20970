//! Rows about one thing, and those about a number of bytes.

use crate::race::race;
use peers::heap::Heap;
use peers::{self as by_hand, Block, KIB, MIB, PAGE, touch};
use rawmap::{Advice, DualMapping, MapOptions, PageAlloc};
use std::alloc::{GlobalAlloc, System};
use std::fs::File;
use std::hint::black_box;
use std::os::unix::fs::FileExt;
use std::ptr::null_mut;

/// Its name, what it is, and what runs it.
pub type Row = (&'static str, &'static str, fn(&str));

pub const ROWS: [Row; 8] = [
    ("raw_calls", "a page mapped and unmapped, by the calls themselves", raw_calls),
    ("anonymous_time", "1 MiB of memory mapped, a byte written, unmapped", anonymous),
    ("file_time", "a page of a file mapped, a byte read, unmapped", file),
    ("first_touch_time", "memory mapped, each page of it written or filled, unmapped", first_touch),
    (
        "page_alloc_reuse_time",
        "a block taken, a byte of each page written, freed",
        page_alloc_reuse,
    ),
    ("page_alloc_aligned_time", "the same, aligned to 2 MiB or its size", page_alloc_aligned),
    (
        "read_file",
        "a file's bytes summed, by mapping it or by reading it; its pages are in memory",
        read_file,
    ),
    (
        "publish_code",
        "code written, made executable (by hand and in memmap2 by `mprotect` alone: nothing serializes the processor) and writable again; `DualMapping` writes and publishes, without a call",
        publish_code,
    ),
];

fn raw_calls(row: &str) {
    use {rustix::mm, syscalls::Sysno};
    let (prot, flags) = (libc::PROT_READ, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    race(
        row,
        0,
        1,
        &mut [
            // SAFETY: a new mapping, to which nothing refers.
            ("rawmap", &mut || unsafe {
                let (prot, flags) = (rawmap::Prot::READ, rawmap::MapFlags::PRIVATE);
                let page = rawmap::mmap_anonymous(null_mut(), PAGE, prot, flags).unwrap();
                rawmap::munmap(page, PAGE).unwrap();
            }),
            // SAFETY: a new mapping, to which nothing refers.
            ("rustix", &mut || unsafe {
                let (prot, flags) = (mm::ProtFlags::READ, mm::MapFlags::PRIVATE);
                let page = mm::mmap_anonymous(null_mut(), PAGE, prot, flags).unwrap();
                mm::munmap(page, PAGE).unwrap();
            }),
            // SAFETY: a new mapping, to which nothing refers.
            ("syscalls", &mut || unsafe {
                let page =
                    syscalls::syscall6(Sysno::mmap, 0, PAGE, 1, 0x22, usize::MAX, 0).unwrap();
                syscalls::syscall2(Sysno::munmap, page, PAGE).unwrap();
            }),
            // SAFETY: a new mapping, to which nothing refers.
            ("libc", &mut || unsafe {
                let page = libc::mmap(null_mut(), PAGE, prot, flags, -1, 0);
                assert_eq!(libc::munmap(page, PAGE), 0);
            }),
        ],
    );
}

fn anonymous(row: &str) {
    race(
        row,
        0,
        1,
        &mut [
            ("rawmap", &mut || MapOptions::new(MIB).anonymous().unwrap()[0] = 1),
            ("memmap2", &mut || memmap2::MmapMut::map_anon(MIB).unwrap()[0] = 1),
            ("mmap rs", &mut || {
                mmap_rs::MmapOptions::new(MIB).unwrap().map_mut().unwrap()[0] = 1;
            }),
            ("region", &mut || {
                let mut memory = region::alloc(MIB, region::Protection::READ_WRITE).unwrap();
                // SAFETY: a byte of it.
                unsafe { memory.as_mut_ptr::<u8>().write(1) };
            }),
            // SAFETY: a byte of it.
            ("by hand", &mut || unsafe { by_hand::memory(MIB).0.write(1) }),
        ],
    );
}

fn file(row: &str) {
    let file = File::open("/proc/self/exe").unwrap();
    race(
        row,
        0,
        1,
        &mut [
            ("rawmap", &mut || {
                // SAFETY: a program's file isn't written while it runs.
                black_box(unsafe { MapOptions::new(PAGE).file(&file, 0) }.unwrap()[0]);
            }),
            ("memmap2", &mut || {
                // SAFETY: a program's file isn't written while it runs.
                black_box(unsafe { memmap2::MmapOptions::new().len(PAGE).map(&file) }.unwrap()[0]);
            }),
            ("mmap rs", &mut || {
                let options = mmap_rs::MmapOptions::new(PAGE).unwrap();
                // SAFETY: a program's file isn't written while it runs.
                black_box(unsafe { options.with_file(&file, 0) }.map().unwrap()[0]);
            }),
        ],
    );
}

fn first_touch(row: &str) {
    const LEN: usize = 64 * MIB;
    let mut there = MapOptions::new(LEN).populate().anonymous().unwrap();
    let touched = |options: MapOptions| {
        let mut map = options.anonymous().unwrap();
        // SAFETY: so long.
        unsafe { touch(map.as_mut_ptr(), LEN) };
    };
    let filled = |options: MapOptions| {
        let map = options.anonymous().unwrap();
        map.populate_write(..).unwrap();
    };
    let options = MapOptions::new(LEN);
    race(
        row,
        LEN,
        1,
        &mut [
            ("rawmap", &mut || touched(options)),
            ("rawmap populate", &mut || touched(options.populate())),
            ("rawmap populate_write", &mut || filled(options)),
            ("rawmap huge populate_write", &mut || filled(options.transparent_huge())),
            ("memmap2", &mut || {
                let mut map = memmap2::MmapMut::map_anon(LEN).unwrap();
                // SAFETY: so long.
                unsafe { touch(map.as_mut_ptr(), LEN) };
            }),
            ("memmap2 populate", &mut || {
                let mut map = memmap2::MmapOptions::new().len(LEN).populate().map_anon().unwrap();
                // SAFETY: so long.
                unsafe { touch(map.as_mut_ptr(), LEN) };
            }),
            // SAFETY: so long.
            ("by hand", &mut || unsafe { touch(by_hand::memory(LEN).0, LEN) }),
            // SAFETY: so long.
            ("(touched again)", &mut || unsafe { touch(there.as_mut_ptr(), LEN) }),
        ],
    );
}

static HEAP: Heap = Heap;

fn blocks(row: &str, size: usize, align: usize) {
    fn once(from: &'static impl GlobalAlloc, size: usize, align: usize) {
        Block::new(from, size, align).touch();
    }
    race(
        row,
        size,
        1,
        &mut [
            ("rawmap", &mut || once(&PageAlloc, size, align)),
            ("rawmap example", &mut || once(&HEAP, size, align)),
            ("glibc", &mut || once(&System, size, align)),
        ],
    );
}

fn page_alloc_reuse(row: &str) {
    [64 * KIB, MIB, 16 * MIB].into_iter().for_each(|size| blocks(row, size, 16));
}

fn page_alloc_aligned(row: &str) {
    [64 * KIB, 4 * MIB].into_iter().for_each(|size| blocks(row, size, size.max(2 * MIB)));
}

fn sum(bytes: &[u8]) -> u64 {
    let words = bytes.chunks_exact(8).map(|it| u64::from_ne_bytes(it.try_into().unwrap()));
    words.fold(0, u64::wrapping_add)
}

fn read_file(row: &str) {
    let mut buffer = vec![0; 64 * KIB];
    for len in [4, 16, 64, 256, 1 << 10, 4 << 10, 16 << 10, 64 << 10].map(|it| it * KIB) {
        let file = by_hand::file(len);
        race(
            row,
            len,
            1,
            &mut [
                ("rawmap", &mut || {
                    // SAFETY: nobody else has the file.
                    black_box(sum(&unsafe { MapOptions::new(len).file(&file, 0) }.unwrap()));
                }),
                ("rawmap SEQUENTIAL", &mut || {
                    // SAFETY: nobody else has the file.
                    let map = unsafe { MapOptions::new(len).file(&file, 0) }.unwrap();
                    map.advise(.., Advice::SEQUENTIAL).unwrap();
                    black_box(sum(&map));
                }),
                ("rawmap populate", &mut || {
                    let options = MapOptions::new(len).populate();
                    // SAFETY: nobody else has the file.
                    black_box(sum(&unsafe { options.file(&file, 0) }.unwrap()));
                }),
                ("memmap2", &mut || {
                    black_box(sum(
                        // SAFETY: nobody else has the file.
                        &unsafe { memmap2::MmapOptions::new().len(len).map(&file) }.unwrap(),
                    ));
                }),
                ("pread by 64 KiB", &mut || {
                    let mut all = 0_u64;
                    for at in (0..len).step_by(buffer.len()) {
                        let got = file.read_at(&mut buffer, at as u64).unwrap();
                        all = all.wrapping_add(sum(&buffer[..got]));
                    }
                    black_box(all);
                }),
            ],
        );
    }
}

fn publish_code(row: &str) {
    for len in [64, 4 * KIB, 64 * KIB, MIB, 4 * MIB] {
        let code = vec![0xc3; len];
        // With a page between them, lest the kernel joins and splits them.
        let apart = || by_hand::reserved(PAGE);
        let _first = apart();
        let mut map = Some(MapOptions::new(len).anonymous().unwrap());
        let _second = apart();
        let mut dual = DualMapping::new(len).unwrap();
        let mut other = Some(memmap2::MmapMut::map_anon(len).unwrap());
        let _third = apart();
        let hand = by_hand::memory(len.next_multiple_of(PAGE));
        race(
            row,
            len,
            1,
            &mut [
                ("rawmap make_executable", &mut || {
                    let mut writable = map.take().unwrap();
                    writable.copy_from_slice(&code);
                    map = Some(writable.make_executable().unwrap().make_writable().unwrap());
                }),
                ("rawmap DualMapping", &mut || {
                    dual.write(0, &code).unwrap();
                    dual.publish(..len).unwrap();
                }),
                ("memmap2", &mut || {
                    let mut writable = other.take().unwrap();
                    writable.copy_from_slice(&code);
                    other = Some(writable.make_exec().unwrap().make_mut().unwrap());
                }),
                // SAFETY: a mapping so long, to which nobody refers.
                ("by hand mprotect", &mut || unsafe {
                    hand.0.copy_from_nonoverlapping(code.as_ptr(), len);
                    let rx = libc::PROT_READ | libc::PROT_EXEC;
                    assert_eq!(libc::mprotect(hand.0.cast(), len, rx), 0);
                    let rw = libc::PROT_READ | libc::PROT_WRITE;
                    assert_eq!(libc::mprotect(hand.0.cast(), len, rw), 0);
                }),
            ],
        );
    }
}
