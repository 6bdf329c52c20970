use std::alloc::System;
use talc::{TalcLock, source::GlobalAllocSource};

#[global_allocator]
static HEAP: TalcLock<spinning_top::RawSpinlock, GlobalAllocSource<System>> =
    TalcLock::new(GlobalAllocSource::new(System));

fn main() {
    heap_bench::run();
}
