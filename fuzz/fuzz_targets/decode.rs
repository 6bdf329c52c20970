#![no_main]
//! The raw functions pass exactly the words of their `Call`, and read any result right.
#[path = "../../tests/differential/laws.rs"]
mod laws;
#[path = "../../tests/differential/source.rs"]
mod source;
#[path = "../../tests/dispatch/mod.rs"]
mod trap;

use libfuzzer_sys::fuzz_target;

fuzz_target!(
    init: trap::arm().expect("syscall user dispatch"),
    |data: &[u8]| trap::hold(&mut source::Bytes::new(data))
);
