//! Sequences of the calls over an arena, held against a model of the address space.
mod common;
#[path = "differential/laws.rs"]
mod laws;
#[path = "differential/source.rs"]
mod source;
#[path = "sequences/mod.rs"]
mod world;

use source::Seeded;
use world::{Tally, World};

#[test]
fn sequences_of_calls_do_what_the_model_says() {
    if common::qemu_before(10) {
        return skip!("QEMU before 10 takes MAP_FIXED_NOREPLACE for a hint");
    }
    if common::mseal_is_filtered() {
        return skip!("a filter hides mseal, which this version of the kernel should have");
    }
    need_lockable!(1 << 20);
    let emulated = common::emulator().is_some();
    let sequences = common::number("RAWMAP_SEQUENCES", if emulated { 300 } else { 3000 });
    let seed = common::number("RAWMAP_SEED", 1);
    let world = World::new();
    let mut tally = Tally::default();
    for n in 0..sequences {
        let plan = world.plan(&mut Seeded(seed + n), &mut tally);
        if let Err(message) = world.play(&plan) {
            panic!("RAWMAP_SEED={}: {message}", seed + n);
        }
    }
    println!("{tally}");
    if emulated {
        departure!("madvise, mlock2, mlockall and mseal are not made: their answers say nothing");
        departure!("mprotect over a hole is not made: what it changed is not noted");
        departure!("mremap of several mappings, or with DONTUNMAP, or that may move, is not made");
    }
    assert_eq!(tally.calls.len(), if emulated { 9 } else { 13 }, "every call is made");
}
