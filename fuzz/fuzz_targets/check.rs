#![no_main]
//! Calls as values, verdicts, page sizes, errors: from any words nothing panics, and the laws hold.
#[path = "../../tests/differential/laws.rs"]
mod laws;
#[path = "../../tests/differential/source.rs"]
mod source;

libfuzzer_sys::fuzz_target!(|data: &[u8]| laws::hold(&mut source::Bytes::new(data)));
