//! A program without a libc and without the standard library. It has its own `_start`, writes through the
//! crate's stubs, and uses `alloc` on talc, whose pages come from the crate. It maps the file that it is given,
//! and counts lines and words.
//!
//! `cd examples/freestanding && cargo run --release -- FILE`
//!
//! It is static and has no dynamic section; `ci/freestanding.sh` prints its size. It also runs as the first
//! program of a machine. Then it counts its own lines if it is given no file, and powers the machine off.
#![no_std]
#![no_main]
// Else the compiler would make a call of memcpy of the loop in memcpy.
#![no_builtins]

extern crate alloc;

#[path = "../../../src/guide/libc_parts.rs"]
mod libc_parts;
#[path = "../../talc/pages.rs"]
mod pages;
mod sys;

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::ffi::CStr;
use core::fmt::Write;
use rawmap::{MapOptions, page_size, set_auxv};
use spinning_top::RawSpinlock;
use talc::TalcLock;

#[global_allocator]
static HEAP: TalcLock<RawSpinlock, pages::Pages> = TalcLock::new(pages::Pages::new());

macro_rules! say {
    // That there is nowhere to write is nothing that could be told.
    ($($text:tt)*) => {{ let _ = writeln!(sys::Out, $($text)*); }};
}

extern "C" fn start(sp: *const usize) -> ! {
    // SAFETY: `_start` passes what Linux gave it.
    let stack = unsafe { sys::Stack::new(sp) };
    // From here on, the owners ask the kernel for nothing that it has told the program already.
    // SAFETY: it is the vector that Linux gave this program.
    unsafe { set_auxv(stack.auxv()) };
    match page_size() {
        Ok(page) => say!("pages of {page} bytes"),
        Err(why) => say!("{why}"),
    }
    // The program's own name is also its file's, as a rule: what to count if nothing else is given.
    let mut files: Vec<_> = stack.args().collect();
    if files.len() > 1 {
        files.remove(0);
    }
    let mut failed = false;
    for file in files {
        if let Err(why) = count(file) {
            say!("{}: {why}", file.to_string_lossy());
            failed = true;
        }
    }
    say!("{} bytes for the heap", HEAP.lock().source.committed());
    say!("freestanding: {}", if failed { "failed" } else { "passed" });
    sys::exit(failed.into())
}

/// Prints a file's lines and most frequent words.
fn count(path: &CStr) -> Result<(), String> {
    let file = sys::open(path).map_err(|errno| alloc::format!("{errno}"))?;
    // SAFETY: whoever calls this program doesn't change the file meanwhile.
    let bytes = unsafe { MapOptions::whole().file(file, 0) };
    let bytes = bytes.map_err(|error| alloc::format!("{error}"))?;
    let lines = bytes.iter().filter(|byte| **byte == b'\n').count();
    say!("{lines} {} {}", bytes.len(), path.to_string_lossy());

    let mut words = BTreeMap::new();
    for word in bytes.split(|byte| !byte.is_ascii_alphabetic()).filter(|word| word.len() > 3) {
        *words.entry(String::from_utf8_lossy(word).to_lowercase()).or_insert(0) += 1;
    }
    let mut words: Vec<(String, u32)> = words.into_iter().collect();
    words.sort_by(|(a, m), (b, n)| n.cmp(m).then(a.cmp(b)));
    words.truncate(3);
    for (word, times) in words {
        say!("  {times} times {word:?}");
    }
    Ok(())
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    say!("{info}");
    sys::exit(101)
}
