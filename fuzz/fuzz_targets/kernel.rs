#![no_main]
//! The differential: hostile calls are checked, then made in a forked child, and compared.
#[path = "../../tests/differential/mod.rs"]
mod differential;
mod tally;

use differential::source::Bytes;
use differential::{Tally, World};
use libfuzzer_sys::fuzz_target;
use std::sync::{LazyLock, Mutex, PoisonError};

/// Calls of one input.
const CALLS: usize = 256;

thread_local! {
    static WORLD: World = World::new();
}
static TALLY: LazyLock<Mutex<Tally>> = LazyLock::new(|| tally::printed_at_exit(summary));

/// What was seen, the rules that the kernel never answered by, and whether one of them has no excuse.
fn summary() -> (String, bool) {
    let tally = TALLY.lock().unwrap_or_else(PoisonError::into_inner);
    let (unmet, bad) = tally.unmet(1_000_000);
    (format!("{tally}\n{unmet}"), bad)
}

fuzz_target!(|data: &[u8]| WORLD.with(|world| {
    let mut source = Bytes::new(data);
    let calls: Vec<_> = (0..CALLS).map(|_| world.call(&mut source)).collect();
    let mut answers = Vec::with_capacity(CALLS);
    world.make(&calls, |call, answer| answers.push((call, answer)));
    let mut tally = TALLY.lock().unwrap();
    for (call, answer) in answers {
        if let Err(disagreement) = world.judge(call, answer, &mut tally) {
            panic!("{disagreement}");
        }
    }
}));
