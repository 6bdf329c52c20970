#[global_allocator]
static HEAP: rawmap::PageAlloc = rawmap::PageAlloc;

fn main() {
    heap_bench::run();
}
