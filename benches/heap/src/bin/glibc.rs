#[global_allocator]
static HEAP: std::alloc::System = std::alloc::System;

fn main() {
    heap_bench::run();
}
