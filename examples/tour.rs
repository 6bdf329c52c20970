//! A tour: maps a real file and changes it, shares memory with a child, protects a page and shows
//! the fault, printing each memory call as it is made.
//!
//! `cargo run --example tour`

use rawmap::{Call, Errno, MapFlags, MsyncFlags, PageSize, Prot, Word};
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
unsafe fn made(call: Call) -> Result<*mut u8, Errno> {
    // SAFETY: the caller's promise.
    let result = unsafe { call.make() }.map(Word::as_ptr);
    match result {
        Ok(ret) if ret.is_null() => println!("    {call} = 0"),
        Ok(ret) => println!("    {call} = {ret:?}"),
        Err(errno) => println!("    {call} = -1 {errno}"),
    }
    result
}

fn main() -> Result<(), Box<dyn Error>> {
    let page = PageSize::find()?.bytes();
    println!("Linux on {}, pages of {page} bytes", std::env::consts::ARCH);
    change_a_file(page)?;
    share_with_a_child(page)?;
    protect_a_page(page)?;
    refuse_nonsense();
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
        let map = made(Call::mmap(null_mut(), page, RW, MapFlags::SHARED, file.as_raw_fd(), 0))?;
        map.copy_from_nonoverlapping(b"HELLO".as_ptr(), 5);
        made(Call::msync(map, page, MsyncFlags::SYNC))?;
        made(Call::munmap(map, page))?;
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
        let map = made(Call::mmap(null_mut(), page, RW, flags, rawmap::NO_FD, 0))?;
        let shared = &*map.cast::<AtomicU32>();
        let child = libc::fork();
        if child == 0 {
            shared.store(42, Ordering::Release);
            libc::_exit(0);
        }
        libc::waitpid(child, null_mut(), 0);
        println!("   the child wrote {}", shared.load(Ordering::Acquire));
        assert_eq!(shared.load(Ordering::Acquire), 42);
        made(Call::munmap(map, page))?;
    }
    Ok(())
}

fn protect_a_page(page: usize) -> Result<(), Box<dyn Error>> {
    println!("\n3. A page that may be read but not written");
    // SAFETY: a new mapping; what it forbids only a child tries.
    unsafe {
        let map = made(Call::mmap_anonymous(null_mut(), page, RW, MapFlags::PRIVATE))?;
        map.write(7);
        made(Call::mprotect(map, page, Prot::READ))?;
        println!("   reading gives {}", map.read());
        let child = libc::fork();
        if child == 0 {
            map.write_volatile(8);
            libc::_exit(0);
        }
        let mut status = 0;
        libc::waitpid(child, &mut status, 0);
        let signal = libc::WTERMSIG(status);
        println!("   a child that wrote it was killed by signal {signal} (SIGSEGV)");
        assert!(libc::WIFSIGNALED(status) && signal == libc::SIGSEGV);
        made(Call::munmap(map, page))?;
    }
    Ok(())
}

fn refuse_nonsense() {
    println!("\n4. An error, by value and by name");
    // SAFETY: a mapping of no bytes is refused.
    let refused =
        unsafe { made(Call::mmap_anonymous(null_mut(), 0, Prot::READ, MapFlags::PRIVATE)) };
    assert_eq!(refused, Err(Errno::EINVAL));
}
