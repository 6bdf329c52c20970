#[path = "../../../../examples/allocator/heap.rs"]
#[allow(dead_code)]
mod heap;

#[global_allocator]
static HEAP: heap::Heap = heap::Heap;

fn main() {
    heap_bench::run();
}
