//! Fibers on pooled stacks: corosensei's coroutines, each on a stack of a [`StackPool`].
//!
//! To take a stack that was used before costs no call, and the stack goes back when its fiber ends. Where the
//! kernel has guards (Linux 6.13), it holds thousands of stacks as one mapping.
//!
//! `cargo run --example fibers`

use corosensei::stack::{Stack, StackPointer};
use corosensei::{Coroutine, CoroutineResult};
use rawmap::{PooledStack, StackPool};
use std::error::Error;
use std::sync::OnceLock;

/// A pool for the life of the program, since a fiber may live as long.
static STACKS: OnceLock<StackPool> = OnceLock::new();

/// What corosensei runs a fiber on.
struct FiberStack(PooledStack<'static>);

// SAFETY: a pooled stack is this owner's alone, has a guard below it, and at least a page above that; both ends
// are multiples of the page, and so of the 16 bytes that a stack pointer is.
unsafe impl Stack for FiberStack {
    fn base(&self) -> StackPointer {
        address(self.0.top())
    }

    /// With the guard.
    fn limit(&self) -> StackPointer {
        address(self.0.guard().start)
    }
}

fn address(at: *mut u8) -> StackPointer {
    StackPointer::new(at.expose_provenance()).expect("no memory lies at address 0")
}

fn main() -> Result<(), Box<dyn Error>> {
    const FIBERS: usize = 1000;
    let new = StackPool::new(FIBERS, 64 << 10)?;
    let stacks = STACKS.get_or_init(|| new);
    for round in 0..3 {
        // All of them live at once, and each is at another place of its loop.
        let mut fibers = Vec::new();
        for n in 0..FIBERS {
            let stack = FiberStack(stacks.take()?);
            fibers.push(Coroutine::with_stack(stack, move |yielder, first: usize| {
                let mut sum = first;
                for _ in 0..n % 10 {
                    sum += yielder.suspend(sum);
                }
                sum
            }));
        }
        assert!(stacks.take().is_err(), "all are taken");
        let mut sums = 0;
        for (n, fiber) in fibers.iter_mut().enumerate() {
            let mut resumed = 0;
            sums += loop {
                match fiber.resume(n) {
                    CoroutineResult::Yield(_) => resumed += 1,
                    CoroutineResult::Return(sum) => break sum,
                }
            };
            assert_eq!(resumed, n % 10);
        }
        assert_eq!(sums, (0..FIBERS).map(|n| n * (n % 10 + 1)).sum());
        println!("round {round}: {FIBERS} fibers came to {sums}");
        drop(fibers);
        // What a fiber left on its stack can be given back, before the stack is used by another one.
        stacks.take()?.reset()?;
    }
    Ok(())
}
