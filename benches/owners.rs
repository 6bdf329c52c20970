//! What the owners cost against what others offer, or what one writes by hand, for the same job: system
//! calls, page faults, instructions and time.
//!
//! `cargo bench --bench owners`
//!
//! - *calls* and *instructions* are counted in a child that runs the job once, step by step under
//!   ptrace: exact, and the same each time. Instructions are those of user mode, libc's included.
//! - *faults* are those that getrusage counts, for one job.
//! - *time* is that of one job, the fastest of many. It is nearly all the kernel's, and on a busy machine
//!   says little; compare it within a block only.
//!
//! No job touches more memory than it says. Where others do as well or better, it is in the table.

use memmap2::{Mmap, MmapMut, MmapOptions};
use rawmap::{Fd, MapOptions, Mode, PageAlloc, PageSize, Pool, Prot, Reservation, Ring, Sharing};
use rustix::mm::{MapFlags, ProtFlags};
use std::alloc::{GlobalAlloc, Layout, System};
use std::fs::File;
use std::hint::black_box;
use std::os::fd::AsRawFd;
use std::ptr::null_mut;
use std::time::{Duration, Instant};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;
/// Reservations in one job.
const COUNT: usize = 100;

/// Writes to every page.
///
/// # Safety
/// `len` bytes must be writable there.
unsafe fn touch(start: *mut u8, len: usize, page: usize) {
    for offset in (0..len).step_by(page) {
        // SAFETY: the caller's promise.
        unsafe { start.add(offset).write_volatile(1) };
    }
}

/// As allocators have it: too much, and both ends given back.
fn over_allocate_and_trim(len: usize, align: usize, page: usize) -> *mut u8 {
    let all = len + align - page;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: a new mapping, and its two ends.
    unsafe {
        let base =
            libc::mmap(null_mut(), all, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0).cast();
        let start: *mut u8 =
            <*mut u8>::wrapping_add(base, base.addr().wrapping_neg() & (align - 1));
        let (head, tail) =
            (start.addr() - base.addr(), align - page - (start.addr() - base.addr()));
        if head > 0 {
            libc::munmap(base.cast(), head);
        }
        if tail > 0 {
            libc::munmap(start.add(len).cast(), tail);
        }
        start
    }
}

fn aligned_reservations(page: usize) {
    title(&format!("{COUNT} reservations of 64 KiB at multiples of 2 MiB, kept, then given back"));
    job("rawmap: Reservation::aligned", || {
        let make = |_| Reservation::aligned(64 * KIB, 2 * MIB, Mode::Overcommit).unwrap();
        black_box(std::array::from_fn::<_, COUNT, _>(make));
    });
    job("rawmap: a Pool of so many chunks", || {
        let pool = Pool::new(COUNT, 64 * KIB, 2 * MIB).unwrap();
        let _taken = black_box(std::array::from_fn::<_, COUNT, _>(|_| pool.take().unwrap()));
    });
    job("by hand: over-allocate and trim (libc)", || {
        let all =
            std::array::from_fn::<_, COUNT, _>(|_| over_allocate_and_trim(64 * KIB, 2 * MIB, page));
        for start in black_box(all) {
            // SAFETY: what was mapped above.
            unsafe { libc::munmap(start.cast(), 64 * KIB) };
        }
    });
}

fn anonymous(page: usize) {
    title("1 MiB of anonymous memory: mapped, each page touched, unmapped");
    job("rawmap: MapOptions::anonymous", || {
        let mut map = MapOptions::new(MIB).anonymous().unwrap();
        // SAFETY: mapped.
        unsafe { touch(map.as_mut_ptr(), MIB, page) };
    });
    job("rawmap: the same, populate", || {
        let mut map = MapOptions::new(MIB).populate().anonymous().unwrap();
        // SAFETY: mapped.
        unsafe { touch(map.as_mut_ptr(), MIB, page) };
    });
    job("memmap2: MmapMut::map_anon", || {
        let mut map = MmapMut::map_anon(MIB).unwrap();
        // SAFETY: mapped.
        unsafe { touch(map.as_mut_ptr(), MIB, page) };
    });
    job("rustix: mm::mmap_anonymous, munmap", || {
        let prot = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping, unmapped at the end.
        unsafe {
            let map = rustix::mm::mmap_anonymous(null_mut(), MIB, prot, MapFlags::PRIVATE).unwrap();
            touch(map.cast(), MIB, page);
            rustix::mm::munmap(map, MIB).unwrap();
        }
    });
    job("libc: mmap, munmap", || {
        let (prot, flags) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: as above.
        unsafe {
            let map = libc::mmap(null_mut(), MIB, prot, flags, -1, 0);
            touch(map.cast(), MIB, page);
            libc::munmap(map, MIB);
        }
    });
}

fn file() {
    title("a file: mapped, its first byte read, unmapped");
    let file = File::open("/proc/self/exe").unwrap();
    // SAFETY: it stays open as long as `file`.
    let fd = unsafe { Fd::borrow_raw(file.as_raw_fd()) };
    job("rawmap: MapOptions::file", || {
        // SAFETY: a program's file isn't written while it runs.
        let map = unsafe { MapOptions::new(4096).file(fd, 0) }.unwrap();
        black_box(map[0]);
    });
    job("rawmap: MapOptions::whole, file", || {
        // SAFETY: as above.
        let map = unsafe { MapOptions::whole().file(fd, 0) }.unwrap();
        black_box(map[0]);
    });
    job("memmap2: MmapOptions::map, length given", || {
        // SAFETY: as above.
        let map = unsafe { MmapOptions::new().len(4096).map(&file) }.unwrap();
        black_box(map[0]);
    });
    job("memmap2: Mmap::map", || {
        // SAFETY: as above.
        let map = unsafe { Mmap::map(&file) }.unwrap();
        black_box(map[0]);
    });
    job("rustix: mm::mmap, munmap", || {
        // SAFETY: as above.
        unsafe {
            let map =
                rustix::mm::mmap(null_mut(), 4096, ProtFlags::READ, MapFlags::PRIVATE, &file, 0)
                    .unwrap();
            black_box(map.cast::<u8>().read_volatile());
            rustix::mm::munmap(map, 4096).unwrap();
        }
    });
}

/// Doubles a block from 64 KiB to 4 MiB, filling what is new, and frees it.
fn double(heap: &impl GlobalAlloc, page: usize) {
    let mut size = 64 * KIB;
    let layout = |size| Layout::from_size_align(size, 16).unwrap();
    // SAFETY: one block, always of the layout that it was last given.
    unsafe {
        let mut block = heap.alloc(layout(size));
        touch(block, size, page);
        while size < 4 * MIB {
            block = heap.realloc(block, layout(size), 2 * size);
            touch(block.add(size), size, page);
            size *= 2;
        }
        heap.dealloc(block, layout(size));
    }
}

/// A block that grows by a new mapping and a copy, as memmap2's must.
struct Copying;

// SAFETY: every block is a mapping of its own.
unsafe impl GlobalAlloc for Copying {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let mut map = std::mem::ManuallyDrop::new(MmapMut::map_anon(layout.size()).unwrap());
        map.as_mut_ptr()
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the mapping of `alloc`.
        unsafe { libc::munmap(block.cast(), layout.size()) };
    }
}

fn growth(page: usize) {
    title("a block doubled from 64 KiB to 4 MiB, each page touched once, freed");
    job("rawmap: PageAlloc", || double(&PageAlloc, page));
    job("glibc: realloc", || double(&System, page));
    job("memmap2: map anew, and copy", || double(&Copying, page));
}

fn rings() {
    title("a mirrored buffer of 64 KiB: made, written across its end, unmapped");
    const LEN: usize = 64 * KIB;
    job("rawmap: Ring", || {
        let mut ring = Ring::new(LEN).unwrap();
        ring.slice_mut(LEN - 2, 4).copy_from_slice(b"wrap");
        assert_eq!(ring.slice(0, 2), b"ap");
    });
    job("by hand: memfd, three mmaps (rustix)", || {
        use rustix::{fs, mm};
        let file = fs::memfd_create("ring", fs::MemfdFlags::CLOEXEC).unwrap();
        fs::ftruncate(&file, LEN as u64).unwrap();
        let rw = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: room for both halves, which replace it.
        unsafe {
            let room =
                mm::mmap_anonymous(null_mut(), 2 * LEN, ProtFlags::empty(), MapFlags::PRIVATE)
                    .unwrap();
            for half in [room, room.byte_add(LEN)] {
                let flags = MapFlags::SHARED | MapFlags::FIXED;
                mm::mmap(half, LEN, rw, flags, &file, 0).unwrap();
            }
            let start = room.cast::<u8>();
            start.add(LEN - 2).copy_from_nonoverlapping(b"wrap".as_ptr(), 4);
            assert_eq!(start.read(), b'a');
            mm::munmap(room, 2 * LEN).unwrap();
        }
    });
}

fn commit(page: usize) {
    title("64 KiB of a reservation: committed, each page touched, given back; 16 times");
    const LEN: usize = 64 * KIB;
    let cycle = |space: &Reservation| {
        for n in 0..16 {
            space.commit(n * LEN..(n + 1) * LEN).unwrap();
            // SAFETY: committed.
            unsafe { touch(space.as_ptr().add(n * LEN), LEN, page) };
            space.decommit(n * LEN..(n + 1) * LEN).unwrap();
        }
    };
    let space = Reservation::new(MIB, Mode::Overcommit).unwrap();
    job("rawmap: Mode::Overcommit", || cycle(&space));
    let space = Reservation::new(MIB, Mode::Strict).unwrap();
    job("rawmap: Mode::Strict", || cycle(&space));
    let space = MapOptions::new(MIB).noreserve().raw(Prot::NONE, Sharing::Private).unwrap();
    job("by hand: mprotect; MADV_DONTNEED, mprotect (libc)", || {
        for n in 0..16 {
            // SAFETY: a part of the mapping above.
            unsafe {
                let start = space.as_ptr().add(n * LEN);
                libc::mprotect(start.cast(), LEN, libc::PROT_READ | libc::PROT_WRITE);
                touch(start, LEN, page);
                libc::madvise(start.cast(), LEN, libc::MADV_DONTNEED);
                libc::mprotect(start.cast(), LEN, libc::PROT_NONE);
            }
        }
    });
}

fn title(what: &str) {
    println!(
        "\n{what}\n  {:<50} {:>7} {:>7} {:>12} {:>11}",
        "", "calls", "faults", "instructions", "time"
    );
}

fn job(what: &str, mut work: impl FnMut()) {
    work(); // what is done only once: page size, symbols, caches
    let before = faults();
    work();
    let faults = faults() - before;
    let (mut time, start) = (Duration::MAX, Instant::now());
    while start.elapsed() < Duration::from_millis(300) {
        let start = Instant::now();
        work();
        time = time.min(start.elapsed());
    }
    // Without the work, the child makes one call, and some instructions more.
    let counted = |request: fn() -> libc::c_uint, work: &mut dyn FnMut()| {
        let all = steps(request(), work)?;
        Some((all - steps(request(), &mut || {})?).to_string())
    };
    let calls = counted(|| libc::PTRACE_SYSCALL, &mut work).map(|n| {
        // A stop at its entry, and one at its end.
        n.parse::<u64>().map_or(n, |n| (n / 2).to_string())
    });
    let instructions = counted(|| libc::PTRACE_SINGLESTEP, &mut work);
    let or = |text: Option<String>| text.unwrap_or_else(|| "?".into());
    println!(
        "  {what:<50} {:>7} {faults:>7} {:>12} {:>8.1} us",
        or(calls),
        or(instructions),
        time.as_secs_f64() * 1e6,
    );
}

/// Page faults of this process up to now.
fn faults() -> i64 {
    // SAFETY: getrusage fills in the structure, which is valid as zeroes.
    unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &mut usage);
        (usage.ru_minflt + usage.ru_majflt) as i64
    }
}

/// How often a forked child that does the work once stops, if it is made to stop by this request;
/// None where there is no ptrace.
fn steps(request: libc::c_uint, work: &mut dyn FnMut()) -> Option<u64> {
    // SAFETY: the child does the work and exits; the parent waits for nobody else.
    unsafe {
        let child = libc::fork();
        if child == 0 {
            if libc::ptrace(libc::PTRACE_TRACEME) != 0 {
                libc::_exit(1);
            }
            libc::raise(libc::SIGSTOP);
            work();
            libc::_exit(0);
        }
        let (mut stops, mut status) = (0, 0);
        loop {
            if libc::waitpid(child, &mut status, 0) != child {
                return None;
            }
            if libc::WIFEXITED(status) {
                return (libc::WEXITSTATUS(status) == 0).then_some(stops);
            }
            if libc::WIFSIGNALED(status) {
                return None;
            }
            stops += 1;
            libc::ptrace(request, child, null_mut::<u8>(), null_mut::<u8>());
        }
    }
}

fn main() {
    let page = PageSize::find().expect("page size").bytes();
    println!("Linux on {}, pages of {page} bytes", std::env::consts::ARCH);
    aligned_reservations(page);
    anonymous(page);
    file();
    growth(page);
    rings();
    commit(page);
    println!(
        "
Where this crate loses, or does no better:
- Aligned reservations one by one cost the calls that trimming costs. Thousands come from a Pool.
- Instructions. The owners' errors hold the whole call, so that a `Result` of theirs is large and goes
  through memory; and each call is a function of its own, lest a caller keep vector registers across
  it. That is some dozens more than libc's plain functions, where the kernel runs thousands.
- Blocks that are freed and taken again. glibc keeps what is freed, and costs no call and no fault the
  next time; PageAlloc gives it back at once. It is for blocks that live long, grow, or are the floor
  under an allocator that keeps them.
- Populating saves traps, not page faults: each page is still zeroed, and counted."
    );
}
