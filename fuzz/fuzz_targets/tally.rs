//! What a target has counted is printed when libFuzzer leaves.

use std::sync::{Mutex, OnceLock};

static PRINT: OnceLock<fn() -> (String, bool)> = OnceLock::new();

extern "C" fn print() {
    let Some(text) = PRINT.get() else { return };
    let (text, bad) = text();
    eprintln!("{text}");
    if bad {
        // SAFETY: ends the process at its end, as failed.
        unsafe { libc::_exit(1) };
    }
}

/// An empty tally, of which `text` makes the text that is printed at exit, and says whether the target
/// has failed by what it counted.
pub(crate) fn printed_at_exit<T: Default>(text: fn() -> (String, bool)) -> Mutex<T> {
    if PRINT.set(text).is_ok() {
        // SAFETY: `print` may run at exit: it is a plain function that doesn't unwind out of C.
        unsafe { libc::atexit(print) };
    }
    Mutex::new(T::default())
}
