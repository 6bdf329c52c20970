//! Eight jobs, each in as few lines as with a crate that does only that job, and with no more `unsafe`.
//!
//! `cargo run --features std --example short`

use rawmap::{Front, MapOptions, PageAlloc, Queue, Stack, Words};
use std::fs::File;
use std::io;
use std::ptr::null_mut;
use std::sync::atomic::Ordering;

/// A global allocator whose every block is a mapping. For small blocks, put an allocator of your choice on it:
/// talc takes it as it is (`GlobalAllocSource`).
#[global_allocator]
static HEAP: PageAlloc = PageAlloc;

fn main() -> io::Result<()> {
    buffer()?;
    whole_file()?;
    shared_with_a_child()?;
    Arena::new(1 << 30)?.alloc(100)?.fill(1);
    longest_line(File::open("/proc/self/maps")?)?;
    compiled()?;
    on_a_stack_of_its_own()
}

fn buffer() -> io::Result<()> {
    let mut buffer = MapOptions::new(1 << 20).anonymous()?;
    buffer[0] = 1;
    Ok(())
}

fn whole_file() -> io::Result<()> {
    let file = File::open("/proc/self/exe")?;
    // SAFETY: a program's file is not written while it runs.
    let program = unsafe { MapOptions::whole().file(&file, 0)? };
    println!("this program has {} bytes, {} of them zeroes", program.len(), zeroes(&program));
    Ok(())
}

fn zeroes(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte == 0).count()
}

fn shared_with_a_child() -> io::Result<()> {
    let count = Words::new(1)?;
    // SAFETY: the child touches nothing else, and runs no exit handlers.
    unsafe {
        if libc::fork() == 0 {
            count[0].fetch_add(1, Ordering::Relaxed);
            libc::_exit(0);
        }
        libc::wait(null_mut());
    }
    assert_eq!(count[0].load(Ordering::Relaxed), 1);
    Ok(())
}

/// Blocks side by side, of memory that is reserved at once and committed 64 KiB at a time.
struct Arena {
    front: Front,
    used: usize,
}

impl Arena {
    fn new(len: usize) -> io::Result<Self> {
        Ok(Self { front: Front::reserve(len)?, used: 0 })
    }

    fn alloc(&mut self, len: usize) -> io::Result<&mut [u8]> {
        let (start, end) = (self.used, self.used + len);
        if end > self.front.len() {
            self.front.resize(end.next_multiple_of(64 << 10))?;
        }
        self.used = end;
        Ok(&mut self.front[start..end])
    }
}

fn longest_line(input: File) -> io::Result<()> {
    let (mut queue, mut longest) = (Queue::new(1 << 16)?, 0);
    while queue.fill_from(&input)? != 0 {
        while let Some(line) = queue.take_until(b'\n') {
            longest = longest.max(line.len() - 1);
        }
    }
    println!("the longest line has {longest} bytes");
    Ok(())
}

fn compiled() -> io::Result<()> {
    let mut code = MapOptions::new(4096).anonymous()?;
    code[..RETURN_42.len()].copy_from_slice(RETURN_42);
    let code = code.make_executable()?;
    // SAFETY: it begins with a C function without arguments.
    let f: extern "C" fn() -> i32 = unsafe { std::mem::transmute(code.as_ptr()) };
    assert_eq!(f(), 42);
    Ok(())
}

/// mov eax, 42; ret. mov w0, 42; ret. li a0, 42; ret.
const RETURN_42: &[u8] = match std::env::consts::ARCH.as_bytes() {
    b"x86_64" => &[0xb8, 42, 0, 0, 0, 0xc3],
    b"aarch64" => &[0x40, 0x05, 0x80, 0x52, 0xc0, 0x03, 0x5f, 0xd6],
    _ => &[0x13, 0x05, 0xa0, 0x02, 0x67, 0x80, 0, 0],
};

fn on_a_stack_of_its_own() -> io::Result<()> {
    extern "C" fn child(_: *mut libc::c_void) -> i32 {
        7
    }
    let (stack, mut status) = (Stack::new(64 << 10)?, 0);
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    // SAFETY: the stack outlives the child, which is waited for.
    unsafe {
        let pid = libc::clone(child, stack.top().cast(), flags, null_mut());
        libc::waitpid(pid, &mut status, 0);
    }
    assert_eq!(libc::WEXITSTATUS(status), 7);
    Ok(())
}
