//! The jobs: one function for each peer of each row.

use super::{Given, Job};
use peers::heap::Heap;
use peers::{self as by_hand, Block, Held, KIB, MIB, PAGE, touch};
use rawmap::{
    MapOptions, Mapping, Mode, PageAlloc, Pool, PooledStack, ReadWrite, Reservation, Stack,
    StackPool,
};
use std::alloc::{GlobalAlloc, System};
use std::array::from_fn;
use std::hint::black_box;
use std::os::fd::AsRawFd;
use std::ptr::{NonNull, null_mut};

type Measures = &'static [&'static str];
pub const CODE: Measures = &["instructions", "calls", "bytes"];
const JOB: Measures = &["calls", "instructions", "faults"];
const STACKS: Measures = &["calls", "mappings", "faults"];
const TOUCH: Measures = &["calls", "faults"];

/// Expands to a function for each peer of each row, and to the list of them. The function returns the
/// peer's own `Result`, or what the peer has instead.
macro_rules! rows {
    ($($row:ident $measures:ident $text:literal { $($peer:ident($given:ident) -> $ret:ty $body:block)* })*) => {
        mod jobs {
            use super::*;
            $(pub mod $row {
                use super::*;
                $(
                    #[inline(never)]
                    #[unsafe(export_name = concat!(stringify!($row), ".", stringify!($peer)))]
                    #[allow(unused_unsafe)] // Some peers are safe.
                    pub unsafe fn $peer($given: &Given) -> $ret {
                        // SAFETY: the page and the file are the job's own.
                        unsafe { $body }
                    }
                )*
            })*
        }
        /// Row, its text, what is counted, peer, job.
        pub const JOBS: &[(&str, &str, Measures, &str, Job)] = &[$($((
            stringify!($row),
            $text,
            $measures,
            stringify!($peer),
            |given, between| {
                // SAFETY: the caller gives each job a page and a file of its own.
                let _held = unsafe { jobs::$row::$peer(given) };
                between();
            },
        ),)*)*];
    };
}

static HEAP: Heap = Heap;

fn of(page: *mut u8) -> NonNull<libc::c_void> {
    NonNull::new(page.cast()).expect("a page")
}

fn reuse(from: &'static impl GlobalAlloc) {
    for _ in 0..20 {
        // A byte of each page: its own, however often.
        Block::new(from, 64 * KIB, 16).touch();
    }
}

fn double(from: &'static impl GlobalAlloc) {
    let mut block = Block::new(from, 64 * KIB, 16);
    block.touch();
    (0..6).for_each(|_| block.double());
}

fn commit(mode: Mode) {
    let space = Reservation::new(MIB, mode).unwrap();
    for start in (0..MIB).step_by(64 * KIB) {
        space.commit(start..start + 64 * KIB).unwrap();
        // SAFETY: committed.
        unsafe { touch(space.as_ptr().add(start), 64 * KIB) };
        space.decommit(start..start + 64 * KIB).unwrap();
    }
}

/// A pool, freed after the stacks that were taken from it.
pub struct Freed(*mut StackPool);

impl Drop for Freed {
    fn drop(&mut self) {
        // SAFETY: leaked by the job, and what was taken is dropped before.
        drop(unsafe { Box::from_raw(self.0) });
    }
}

// memmap2's functions are each called once only: LTO inlines those.
rows! {
    munmap CODE "`munmap`, with its own `Result`" {
        rawmap(g) -> Result<(), rawmap::Errno> { rawmap::munmap(g.page, PAGE) }
        rustix(g) -> rustix::io::Result<()> { rustix::mm::munmap(g.page.cast(), PAGE) }
        syscalls(g) -> Result<usize, syscalls::Errno> {
            syscalls::syscall2(syscalls::Sysno::munmap, g.page as usize, PAGE)
        }
        nix(g) -> nix::Result<()> { nix::sys::mman::munmap(of(g.page), PAGE) }
        libc(g) -> i32 { libc::munmap(g.page.cast(), PAGE) }
    }
    mprotect CODE "`mprotect`, with its own `Result`" {
        rawmap(g) -> Result<(), rawmap::Errno> { rawmap::mprotect(g.page, PAGE, rawmap::Prot::READ) }
        rustix(g) -> rustix::io::Result<()> {
            rustix::mm::mprotect(g.page.cast(), PAGE, rustix::mm::MprotectFlags::READ)
        }
        syscalls(g) -> Result<usize, syscalls::Errno> {
            syscalls::syscall3(syscalls::Sysno::mprotect, g.page as usize, PAGE, 1)
        }
        nix(g) -> nix::Result<()> {
            nix::sys::mman::mprotect(of(g.page), PAGE, nix::sys::mman::ProtFlags::PROT_READ)
        }
        libc(g) -> i32 { libc::mprotect(g.page.cast(), PAGE, libc::PROT_READ) }
    }
    madvise CODE "`madvise`, with its own `Result`" {
        rawmap(g) -> Result<(), rawmap::Errno> {
            rawmap::madvise(g.page, PAGE, rawmap::Advice::DONTNEED)
        }
        rustix(g) -> rustix::io::Result<()> {
            rustix::mm::madvise(g.page.cast(), PAGE, rustix::mm::Advice::LinuxDontNeed)
        }
        syscalls(g) -> Result<usize, syscalls::Errno> {
            syscalls::syscall3(syscalls::Sysno::madvise, g.page as usize, PAGE, 4)
        }
        nix(g) -> nix::Result<()> {
            nix::sys::mman::madvise(of(g.page), PAGE, nix::sys::mman::MmapAdvise::MADV_DONTNEED)
        }
        libc(g) -> i32 { libc::madvise(g.page.cast(), PAGE, libc::MADV_DONTNEED) }
    }
    mmap CODE "`mmap` of anonymous memory, with its own `Result`" {
        rawmap(_g) -> Result<*mut u8, rawmap::Errno> {
            let (prot, flags) = (rawmap::Prot::READ, rawmap::MapFlags::PRIVATE);
            rawmap::mmap_anonymous(null_mut(), PAGE, prot, flags)
        }
        rustix(_g) -> rustix::io::Result<*mut libc::c_void> {
            let (prot, flags) = (rustix::mm::ProtFlags::READ, rustix::mm::MapFlags::PRIVATE);
            rustix::mm::mmap_anonymous(null_mut(), PAGE, prot, flags)
        }
        syscalls(_g) -> Result<usize, syscalls::Errno> {
            syscalls::syscall6(syscalls::Sysno::mmap, 0, PAGE, 1, 0x22, usize::MAX, 0)
        }
        libc(_g) -> *mut libc::c_void {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            libc::mmap(null_mut(), PAGE, libc::PROT_READ, flags, -1, 0)
        }
    }
    checked_munmap CODE "`Call::check` of an `munmap` that passes" {
        rawmap(g) -> bool { rawmap::Call::munmap(g.page, PAGE).check(&g.kernel).is_ok() }
    }
    checked_mmap CODE "`Call::check` of an `mmap` that passes, with flags that the compiler does not know" {
        rawmap(g) -> bool {
            let flags = black_box(rawmap::MapFlags::PRIVATE | rawmap::MapFlags::ANONYMOUS);
            let call = rawmap::Call::mmap(g.page, PAGE, rawmap::Prot::READ, flags, -1, 0);
            call.check(&g.kernel).is_ok()
        }
    }
    refused_munmap CODE "`Call::check` of an `munmap` that is refused" {
        rawmap(g) -> bool { rawmap::Call::munmap(g.page, 0).check(&g.kernel).is_err() }
    }
    anonymous CODE "1 MiB of memory, mapped, a byte written, unmapped" {
        rawmap(_g) -> () { rawmap::MapOptions::new(1 << 20).anonymous().unwrap()[0] = 1; }
        memmap2(_g) -> () { memmap2::MmapMut::map_anon(1 << 20).unwrap()[0] = 1; }
        mmap_rs(_g) -> () {
            mmap_rs::MmapOptions::new(1 << 20).unwrap().map_mut().unwrap()[0] = 1;
        }
        region(_g) -> () {
            let mut memory = region::alloc(1 << 20, region::Protection::READ_WRITE).unwrap();
            memory.as_mut_ptr::<u8>().write(1);
        }
    }
    file CODE "a page of a file, mapped, a byte read, unmapped" {
        rawmap(g) -> u8 {
            let fd = rawmap::Fd::borrow_raw(g.file.as_raw_fd());
            rawmap::MapOptions::new(PAGE).file(fd, 0).unwrap()[0]
        }
        memmap2(g) -> u8 { memmap2::MmapOptions::new().len(PAGE).map(&g.file).unwrap()[0] }
        mmap_rs(g) -> u8 {
            let options = mmap_rs::MmapOptions::new(PAGE).unwrap();
            options.with_file(&g.file, 0).map().unwrap()[0]
        }
    }
    whole CODE "a whole file, mapped, a byte read, unmapped" {
        rawmap(g) -> u8 {
            let fd = rawmap::Fd::borrow_raw(g.file.as_raw_fd());
            rawmap::MapOptions::whole().file(fd, 0).unwrap()[0]
        }
        memmap2(g) -> u8 { memmap2::Mmap::map(&g.file).unwrap()[0] }
    }
    aligned_small JOB "20 reservations of 64 KiB at multiples of 2 MiB, kept, then given back" {
        rawmap(_g) -> [Reservation; 20] {
            from_fn(|_| Reservation::aligned(64 * KIB, 2 * MIB, Mode::Overcommit).unwrap())
        }
        by_hand(_g) -> [Held; 20] { from_fn(|_| by_hand::aligned(64 * KIB, 2 * MIB)) }
    }
    aligned_large JOB "20 reservations of 4 MiB at multiples of 4 MiB, kept, then given back" {
        rawmap(_g) -> [Reservation; 20] {
            from_fn(|_| Reservation::aligned(4 * MIB, 4 * MIB, Mode::Overcommit).unwrap())
        }
        by_hand(_g) -> [Held; 20] { from_fn(|_| by_hand::aligned(4 * MIB, 4 * MIB)) }
    }
    aligned_memory JOB "20 mappings of 64 KiB at multiples of 2 MiB, kept, then given back" {
        rawmap(_g) -> [Mapping<ReadWrite>; 20] {
            from_fn(|_| MapOptions::new(64 * KIB).align(2 * MIB).anonymous().unwrap())
        }
        by_hand(_g) -> [Held; 20] { from_fn(|_| by_hand::aligned(64 * KIB, 2 * MIB)) }
    }
    aligned_memory_large JOB "20 mappings of 4 MiB at multiples of 4 MiB, kept, then given back" {
        rawmap(_g) -> [Mapping<ReadWrite>; 20] {
            from_fn(|_| MapOptions::new(4 * MIB).align(4 * MIB).anonymous().unwrap())
        }
        by_hand(_g) -> [Held; 20] { from_fn(|_| by_hand::aligned(4 * MIB, 4 * MIB)) }
    }
    aligned_pool JOB "20 chunks of 64 KiB at multiples of 2 MiB, of what is made for them" {
        rawmap(_g) -> () {
            let pool = Pool::new(20, 64 * KIB, 2 * MIB).unwrap();
            let _taken = black_box(from_fn::<_, 20, _>(|_| pool.take().unwrap()));
        }
        by_hand(_g) -> [Held; 20] { from_fn(|_| by_hand::aligned(64 * KIB, 2 * MIB)) }
    }
    page_alloc_aligned JOB "20 blocks of 64 KiB aligned to 2 MiB, kept, then freed" {
        rawmap(_g) -> [Block<PageAlloc>; 20] {
            from_fn(|_| Block::new(&PageAlloc, 64 * KIB, 2 * MIB))
        }
        rawmap_example(_g) -> [Block<Heap>; 20] {
            from_fn(|_| Block::new(&HEAP, 64 * KIB, 2 * MIB))
        }
        glibc(_g) -> [Block<System>; 20] { from_fn(|_| Block::new(&System, 64 * KIB, 2 * MIB)) }
        by_hand(_g) -> [Held; 20] { from_fn(|_| by_hand::aligned(64 * KIB, 2 * MIB)) }
    }
    page_alloc_aligned_large JOB "20 blocks of 4 MiB aligned to 4 MiB, kept, then freed" {
        rawmap(_g) -> [Block<PageAlloc>; 20] { from_fn(|_| Block::new(&PageAlloc, 4 * MIB, 4 * MIB)) }
        glibc(_g) -> [Block<System>; 20] { from_fn(|_| Block::new(&System, 4 * MIB, 4 * MIB)) }
        by_hand(_g) -> [Held; 20] { from_fn(|_| by_hand::aligned(4 * MIB, 4 * MIB)) }
    }
    page_alloc_reuse JOB "a block of 64 KiB, taken, a byte of each page written, freed; 20 times" {
        rawmap(_g) -> () { reuse(&PageAlloc) }
        rawmap_example(_g) -> () { reuse(&HEAP) }
        glibc(_g) -> () { reuse(&System) }
    }
    grow JOB "a block doubled from 64 KiB to 4 MiB, each page written once, freed" {
        rawmap(_g) -> () { double(&PageAlloc) }
        glibc(_g) -> () { double(&System) }
    }
    ring JOB "a mirrored buffer of 64 KiB, made, written across its end, unmapped" {
        rawmap(_g) -> () {
            let mut ring = rawmap::Ring::new(64 * KIB).unwrap();
            ring.slice_mut(64 * KIB - 2, 4).copy_from_slice(b"wrap");
            assert_eq!(ring.slice(0, 2), b"ap");
        }
        by_hand(_g) -> () {
            let ring = by_hand::ring(64 * KIB);
            ring.0.add(64 * KIB - 2).copy_from_nonoverlapping(b"wrap".as_ptr(), 4);
            assert_eq!(ring.0.read(), b'a');
        }
    }
    two_views JOB "64 KiB that one view writes and another runs, made and unmapped" {
        rawmap(_g) -> rawmap::DualMapping { rawmap::DualMapping::new(64 * KIB).unwrap() }
        by_hand(_g) -> [Held; 2] { by_hand::two_views(64 * KIB) }
    }
    commit JOB "64 KiB of a reservation, committed, each page written, given back; 16 times" {
        rawmap_overcommit(_g) -> () { commit(Mode::Overcommit) }
        rawmap_strict(_g) -> () { commit(Mode::Strict) }
        by_hand(_g) -> () {
            let space = by_hand::reserved(MIB);
            for n in 0..16 {
                let start = space.0.add(n * 64 * KIB);
                libc::mprotect(start.cast(), 64 * KIB, libc::PROT_READ | libc::PROT_WRITE);
                touch(start, 64 * KIB);
                libc::madvise(start.cast(), 64 * KIB, libc::MADV_DONTNEED);
                libc::mprotect(start.cast(), 64 * KIB, libc::PROT_NONE);
            }
        }
    }
    stacks STACKS "1,000 stacks of 64 KiB with a guard of 64 KiB, made, kept, given back" {
        rawmap(_g) -> Vec<Stack> { (0..1000).map(|_| Stack::new(64 * KIB).unwrap()).collect() }
        by_hand(_g) -> Vec<Held> { (0..1000).map(|_| by_hand::stack(64 * KIB, 64 * KIB)).collect() }
    }
    stack_pool STACKS "the same, of a `StackPool`" {
        rawmap(_g) -> (Vec<PooledStack<'static>>, Freed) {
            let pool = Box::into_raw(Box::new(StackPool::new(1000, 64 * KIB).unwrap()));
            ((0..1000).map(|_| (*pool).take().unwrap()).collect(), Freed(pool))
        }
        by_hand(_g) -> Vec<Held> { (0..1000).map(|_| by_hand::stack(64 * KIB, 64 * KIB)).collect() }
    }
    first_touch TOUCH "64 MiB, mapped, each page written, unmapped" {
        rawmap(_g) -> () {
            let mut map = MapOptions::new(64 * MIB).anonymous().unwrap();
            touch(map.as_mut_ptr(), 64 * MIB);
        }
        rawmap_populate(_g) -> () {
            let mut map = MapOptions::new(64 * MIB).populate().anonymous().unwrap();
            touch(map.as_mut_ptr(), 64 * MIB);
        }
        rawmap_transparent_huge(_g) -> () {
            let mut map = MapOptions::new(64 * MIB).transparent_huge().anonymous().unwrap();
            touch(map.as_mut_ptr(), 64 * MIB);
        }
        by_hand(_g) -> () { touch(by_hand::memory(64 * MIB).0, 64 * MIB) }
    }
}
