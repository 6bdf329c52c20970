//! Runs a task on a stack of its own, by `clone` and a [`Stack`], and asks whether an address lies in the
//! stack's guard, as a handler of SIGSEGV would.
//!
//! `cargo run --example clone`

use rawmap::{Errno, Stack};
use std::error::Error;
use std::ffi::{c_int, c_void};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Where the task's own frame lay.
static FRAME: AtomicUsize = AtomicUsize::new(0);

/// The task. It shares the memory, and no thread-local storage of its own was set up: so it allocates nothing,
/// prints nothing, and can't panic.
extern "C" fn task(argument: *mut c_void) -> c_int {
    let local = 0_u8;
    FRAME.store((&raw const local).addr(), Relaxed);
    argument.addr() as c_int + 1
}

fn main() -> Result<(), Box<dyn Error>> {
    let stack = Stack::new(64 << 10)?;
    let flags = libc::CLONE_VM | libc::SIGCHLD;
    let argument = std::ptr::without_provenance_mut(41);
    // SAFETY: the stack is nobody else's, and outlives the task, which is waited for below.
    let child = unsafe { libc::clone(task, stack.top().cast(), flags, argument) };
    if child < 0 {
        let error = std::io::Error::last_os_error();
        // QEMU's user mode has threads and forks, and nothing between.
        if error.raw_os_error() == Some(Errno::EINVAL.raw()) {
            println!("skipped: memory can't be shared with another process here: {error}");
            return Ok(());
        }
        return Err(error.into());
    }
    let mut status = 0;
    // SAFETY: `status` is a place for it; no argument is a pointer else.
    assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
    assert_eq!((libc::WIFEXITED(status), libc::WEXITSTATUS(status)), (true, 42));
    let frame = FRAME.load(Relaxed);
    assert!((stack.bottom().addr()..stack.top().addr()).contains(&frame));
    println!("the task ran {} bytes below the top of its stack", stack.top().addr() - frame);
    // What a handler of SIGSEGV asks about the address that was at fault.
    let overflowed = |fault: *mut u8| stack.guard().contains(&fault);
    assert!(overflowed(stack.bottom().wrapping_sub(1)) && !overflowed(null_mut()));
    Ok(())
}
