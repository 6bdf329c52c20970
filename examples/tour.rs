//! A tour of the crate. First it makes raw calls, and prints each as it is made: a file is changed in memory,
//! memory is shared with a child, a page faults, and a call is refused. Then it uses owners: it cuts address
//! space into pieces, fills a ring, and lets memory grow. Beside them it prints what /proc/self/maps says of
//! the memory.
//!
//! Run it by `cargo run --manifest-path examples/tour/Cargo.toml`, which compiles only libc, this crate and the
//! tour; or by `cargo run --example tour`, which first compiles everything that the tests depend on.

use rawmap::{
    Call, Errno, MapFlags, MapOptions, Mode, MsyncFlags, Prot, Reservation, Ring, Word, page_size,
};
use std::error::Error;
use std::fs;
use std::os::fd::AsRawFd;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicU32, Ordering};

const RW: Prot = Prot::READ.union(Prot::WRITE);

/// Makes a call and prints it with its result, as strace would.
///
/// # Safety
/// That of the call.
unsafe fn traced(call: Call) -> Result<*mut u8, Errno> {
    // SAFETY: the caller's promise.
    let result = unsafe { call.make() }.map(Word::as_ptr);
    match result {
        Ok(ret) if ret.is_null() => println!("    {call} = 0"),
        Ok(ret) => println!("    {call} = {ret:?}"),
        Err(errno) => println!("    {call} = -1 {errno}"),
    }
    result
}

/// Draws these bytes: for each mapping that holds any of them, as far as it does, where it starts, how long
/// it is, and the rest of its line in /proc/self/maps; and for each hole between them, that it is one.
fn draw(start: *const u8, len: usize) -> Result<(), Box<dyn Error>> {
    let (mut at, end) = (start.addr(), start.addr() + len);
    let row = |from: usize, to: usize, what: &str| {
        println!("    | {from:#x} {:>5} KiB  {what}", (to - from) >> 10);
    };
    for line in fs::read_to_string("/proc/self/maps")?.lines() {
        let (range, rest) = line.split_once(' ').ok_or("a range")?;
        let (from, to) = range.split_once('-').ok_or("its end")?;
        let (from, to) = (usize::from_str_radix(from, 16)?, usize::from_str_radix(to, 16)?);
        if to <= at || end <= from {
            continue;
        }
        if at < from {
            row(at, from, "(nothing)");
        }
        row(from.max(at), to.min(end), &rest.split_whitespace().collect::<Vec<_>>().join(" "));
        at = to.min(end);
    }
    if at < end {
        row(at, end, "(nothing)");
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let page = page_size()?.bytes();
    println!("Linux on {}, pages of {page} bytes", std::env::consts::ARCH);
    change_a_file(page)?;
    share_with_a_child(page)?;
    protect_a_page(page)?;
    refuse_nonsense();
    cut_pieces(page)?;
    mirror(page)?;
    grow(page)?;
    println!("\nDone.");
    Ok(())
}

fn change_a_file(page: usize) -> Result<(), Box<dyn Error>> {
    println!("\n1. A file, changed in memory in place of read and write");
    let path = std::env::temp_dir().join(format!("rawmap-tour-{}", std::process::id()));
    fs::write(&path, "hello, file\n")?;
    let file = fs::File::options().read(true).write(true).open(&path)?;
    // SAFETY: a new mapping of a file that nobody else has open; it isn't used after munmap.
    unsafe {
        let map = traced(Call::mmap(null_mut(), page, RW, MapFlags::SHARED, file.as_raw_fd(), 0))?;
        draw(map, page)?;
        map.copy_from_nonoverlapping(b"HELLO".as_ptr(), 5);
        traced(Call::msync(map, page, MsyncFlags::SYNC))?;
        traced(Call::munmap(map, page))?;
    }
    let text = fs::read_to_string(&path)?;
    fs::remove_file(&path)?;
    println!("   the file now says {text:?}");
    assert_eq!(text, "HELLO, file\n");
    Ok(())
}

fn share_with_a_child(page: usize) -> Result<(), Box<dyn Error>> {
    println!("\n2. Memory shared by parent and child");
    let flags = MapFlags::SHARED | MapFlags::ANONYMOUS;
    // SAFETY: a new mapping; parent and child reach it by atomics only, until munmap.
    unsafe {
        let map = traced(Call::mmap(null_mut(), page, RW, flags, rawmap::NO_FD, 0))?;
        let shared = &*map.cast::<AtomicU32>();
        let child = libc::fork();
        if child == 0 {
            shared.store(42, Ordering::Release);
            libc::_exit(0);
        }
        libc::waitpid(child, null_mut(), 0);
        println!("   the child wrote {}", shared.load(Ordering::Acquire));
        assert_eq!(shared.load(Ordering::Acquire), 42);
        traced(Call::munmap(map, page))?;
    }
    Ok(())
}

fn protect_a_page(page: usize) -> Result<(), Box<dyn Error>> {
    println!("\n3. Three pages, of which the middle one may be read but not written");
    // SAFETY: a new mapping; what it forbids only a child tries.
    unsafe {
        let map = traced(Call::mmap_anonymous(null_mut(), 3 * page, RW, MapFlags::PRIVATE))?;
        let middle = map.add(page);
        middle.write(7);
        traced(Call::mprotect(middle, page, Prot::READ))?;
        draw(map, 3 * page)?;
        println!("   reading gives {}", middle.read());
        let child = libc::fork();
        if child == 0 {
            middle.write_volatile(8);
            libc::_exit(0);
        }
        let mut status = 0;
        libc::waitpid(child, &mut status, 0);
        let signal = libc::WTERMSIG(status);
        println!("   a child that wrote it was killed by signal {signal} (SIGSEGV)");
        assert!(libc::WIFSIGNALED(status) && signal == libc::SIGSEGV);
        traced(Call::munmap(map, 3 * page))?;
    }
    Ok(())
}

fn refuse_nonsense() {
    println!("\n4. An error, by value and by name");
    // SAFETY: a mapping of no bytes is refused.
    let refused =
        unsafe { traced(Call::mmap_anonymous(null_mut(), 0, Prot::READ, MapFlags::PRIVATE)) };
    assert_eq!(refused, Err(Errno::EINVAL));
    println!("   and an owner's: {}", MapOptions::new(0).anonymous().unwrap_err());
}

fn cut_pieces(page: usize) -> Result<(), Box<dyn Error>> {
    println!("\n5. From here on without unsafe. Address space, of which nothing can be used yet");
    let mut space = Reservation::new(64 * page, Mode::Strict)?;
    let start = space.as_ptr();
    draw(start, 64 * page)?;
    println!("   cut in three; the middle is committed and is a slice, and the last is given back");
    let mut middle = space.split_off(16 * page)?;
    drop(middle.split_off(32 * page)?);
    let mut middle = middle.into_mapping()?;
    middle.fill(1);
    draw(start, 64 * page)?;
    println!("   memory of its own, moved to the first piece's place without a copy");
    let mut image = MapOptions::new(16 * page).anonymous()?;
    image.fill(2);
    let mut image = image.make_read_only()?;
    space.place(&mut image)?;
    assert_eq!((image.as_ptr(), image.as_ptr_range().end), (start.cast_const(), middle.as_ptr()));
    assert_eq!((image[0], middle[0]), (2, 1));
    draw(start, 64 * page)?;
    println!("   both are done with, in whatever order");
    drop((image, middle));
    draw(start, 64 * page)
}

fn mirror(page: usize) -> Result<(), Box<dyn Error>> {
    println!("\n6. A ring: the same page twice in a row, so that nothing wraps");
    let mut ring = Ring::new(page)?;
    ring.slice_mut(page - 4, 8).copy_from_slice(b"in a row");
    draw(ring.as_ptr(), 2 * page)?;
    println!("   {:?} is what now stands at its start", String::from_utf8_lossy(ring.slice(0, 4)));
    assert_eq!(ring.slice(0, 4), b" row");
    Ok(())
}

fn grow(page: usize) -> Result<(), Box<dyn Error>> {
    println!("\n7. Memory that grows a thousandfold, and no byte is copied");
    let mut memory = MapOptions::new(page).anonymous()?;
    memory[0] = 42;
    draw(memory.as_ptr(), page)?;
    memory.resize(1000 * page)?;
    draw(memory.as_ptr(), 1000 * page)?;
    assert_eq!((memory[0], memory[1000 * page - 1]), (42, 0));
    Ok(())
}
