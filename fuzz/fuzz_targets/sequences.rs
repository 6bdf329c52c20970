#![no_main]
//! Sequences of calls over an arena, held against a model of the address space.
#[path = "../../tests/differential/laws.rs"]
mod laws;
#[path = "../../tests/differential/source.rs"]
mod source;
mod tally;
#[path = "../../tests/sequences/mod.rs"]
mod world;

use libfuzzer_sys::fuzz_target;
use std::sync::{LazyLock, Mutex};
use world::{Tally, World};

thread_local! {
    static WORLD: World = World::new();
}
static TALLY: LazyLock<Mutex<Tally>> =
    LazyLock::new(|| tally::printed_at_exit(|| (format!("{}", TALLY.lock().unwrap()), false)));

fuzz_target!(|data: &[u8]| WORLD.with(|world| {
    let plan = world.plan(&mut source::Bytes::new(data), &mut TALLY.lock().unwrap());
    if let Err(message) = world.play(&plan) {
        panic!("{message}");
    }
}));
