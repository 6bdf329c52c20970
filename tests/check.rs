//! check against the running kernel: what it refuses is refused so, and what is refused for the
//! words of the call it had refused.
mod common;
mod differential;
use differential::{BATCH, Seeded, Tally, World};

#[test]
fn check_agrees_with_the_kernel() {
    let cases: usize = std::env::var("RAWMAP_CASES").map_or(300_000, |n| n.parse().unwrap());
    let seed = std::env::var("RAWMAP_SEED").map_or(1, |n| n.parse().unwrap());
    let world = World::new();
    let mut source = Seeded(seed);
    let mut tally = Tally::default();
    let mut wrong = std::collections::BTreeMap::new();
    for _ in 0..cases / BATCH {
        let calls: Vec<_> = (0..BATCH).map(|_| world.call(&mut source)).collect();
        let mut answers = Vec::new();
        world.make(&calls, |call, answer| answers.push((call, answer)));
        for (call, answer) in answers {
            if let Err(message) = world.judge(call, answer, &mut tally) {
                let kind: String = message.split(['(', ';']).step_by(2).collect();
                wrong.entry(kind).or_insert_with(Vec::new).push(message);
            }
        }
    }
    println!("{tally:#?}");
    for (kind, messages) in &wrong {
        println!("{} times {kind}: {}", messages.len(), messages[0]);
    }
    assert!(wrong.is_empty(), "check and the kernel disagree");
}
