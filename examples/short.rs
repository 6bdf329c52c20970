//! Eight jobs, each in as few lines as with a crate that does only that, and with no more `unsafe`.
//!
//! `cargo run --features std --example short < Cargo.toml`

use rawmap::{
    DualMapping, MapOptions, Mapping, Mode, PageAlloc, Prot, Reservation, Ring, Sharing, Stack,
};
use std::fs::File;
use std::io::{self, Read};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicU32, Ordering};

/// A global allocator whose every block is a mapping. For small blocks, put an allocator of your choice on it:
/// talc takes it as it is (`GlobalAllocSource`).
#[global_allocator]
static HEAP: PageAlloc = PageAlloc;

fn main() -> io::Result<()> {
    buffer()?;
    whole_file()?;
    shared_with_a_child()?;
    Arena::new(1 << 30)?.alloc(100)?.fill(1);
    lines_of_stdin()?;
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
    let shared = MapOptions::new(4).raw(Prot::READ | Prot::WRITE, Sharing::Shared)?;
    // SAFETY: the first word of a mapping that outlives the reference; the child uses atomics too.
    let count = unsafe { AtomicU32::from_ptr(shared.as_ptr().cast()) };
    // SAFETY: the child touches nothing else, and runs no exit handlers.
    unsafe {
        if libc::fork() == 0 {
            count.fetch_add(1, Ordering::Relaxed);
            libc::_exit(0);
        }
        libc::wait(null_mut());
    }
    assert_eq!(count.load(Ordering::Relaxed), 1);
    Ok(())
}

/// Blocks side by side, of memory that is reserved at once and committed bit by bit.
struct Arena {
    front: Mapping,
    rest: Reservation,
    used: usize,
}

impl Arena {
    const STEP: usize = 64 << 10;

    fn new(len: usize) -> io::Result<Self> {
        let rest = Reservation::new(len, Mode::Strict)?;
        Ok(Self { front: Mapping::empty(), rest, used: 0 })
    }

    fn alloc(&mut self, len: usize) -> io::Result<&mut [u8]> {
        let (start, end) = (self.used, self.used + len);
        if end > self.front.len() {
            let more = (end - self.front.len()).next_multiple_of(Self::STEP);
            self.rest.commit(..more)?; // if that is refused, all is as it was
            let rest = self.rest.split_off(more)?;
            let more = std::mem::replace(&mut self.rest, rest).into_mapping()?;
            self.front.try_unsplit(more).expect("it lies right behind");
        }
        self.used = end;
        Ok(&mut self.front[start..end])
    }
}

fn lines_of_stdin() -> io::Result<()> {
    let mut ring = Ring::new(1 << 16)?;
    let (mut head, mut tail) = (0, 0);
    loop {
        let free = ring.len() - (tail - head);
        match io::stdin().read(ring.slice_mut(tail, free))? {
            0 => return Ok(()),
            got => tail += got,
        }
        while let Some(len) = ring.slice(head, tail - head).iter().position(|it| *it == b'\n') {
            println!("a line of {len} bytes");
            head += len + 1;
        }
    }
}

fn compiled() -> io::Result<()> {
    let mut code = DualMapping::new(4096)?;
    code.write(0, RETURN_42)?;
    // SAFETY: a C function without arguments, whose code this thread has synced.
    let f: extern "C" fn() -> i32 = unsafe { std::mem::transmute(code.run_ptr()) };
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
