//! What a target has counted is printed when libFuzzer leaves.

use std::sync::{Mutex, OnceLock};

static PRINT: OnceLock<fn() -> String> = OnceLock::new();

extern "C" fn print() {
    if let Some(text) = PRINT.get() {
        eprintln!("{}", text());
    }
}

/// An empty tally, of which `text` makes the text that is printed at exit.
pub(crate) fn printed_at_exit<T: Default>(text: fn() -> String) -> Mutex<T> {
    if PRINT.set(text).is_ok() {
        // SAFETY: `print` may run at exit: it is a plain function that doesn't unwind out of C.
        unsafe { libc::atexit(print) };
    }
    Mutex::new(T::default())
}
