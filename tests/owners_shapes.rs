//! `Ring`, `DualMapping`, `Stack` and `PageAlloc`: memory in special shapes.
mod common;
use common::*;
use rawmap::{DualMapping, Errno, Error, PageAlloc, Ring, Stack};
use std::alloc::{GlobalAlloc, Layout};

const MIB: usize = 1 << 20;

/// What was made; QEMU can't make it, which is said, and the test returns.
macro_rules! made {
    ($new:expr) => {
        match $new {
            Ok(made) => made,
            Err(error) => {
                assert!(emulator().is_some(), "{error}");
                assert_eq!(error.errno(), Errno::ENOMEM);
                assert!(error.to_string().starts_with("mremap("), "{error}");
                departure!("mremap of length 0, which maps memory again, is ENOMEM");
                return;
            }
        }
    };
}

#[test]
fn a_ring_holds_each_byte_at_two_places() {
    let mut ring = made!(Ring::new(1));
    let len = ring.len();
    assert_eq!(len, page());
    for n in 0..len {
        ring.slice_mut(n, 1)[0] = n as u8;
    }
    for n in 0..2 * len {
        // SAFETY: twice the length is readable, and nothing borrows it.
        assert_eq!(unsafe { ring.as_ptr().add(n).read_volatile() }, (n % len) as u8);
    }
}

#[test]
fn a_ring_wraps_at_every_position() {
    let mut ring = made!(Ring::new(1));
    let len = ring.len();
    let text: Vec<u8> = (0..61).collect();
    for at in (0..2 * len).step_by(if emulator().is_some() { 37 } else { 1 }) {
        ring.slice_mut(at, text.len()).copy_from_slice(&text);
        assert_eq!(ring.slice(at, text.len()), text);
        assert_eq!(ring.slice(at % len, text.len()), text);
        for (n, byte) in text.iter().enumerate() {
            assert_eq!(ring.slice(at + n, 1), [*byte]);
        }
    }
    assert_eq!(ring.slice(usize::MAX, len).len(), len);
    assert_eq!(ring.slice(len - 1, 0).len(), 0);
}

/// The compiler takes the two addresses of a byte for two bytes, unless it is told. It must not be
/// allowed to read what it wrote by the one before it wrote by the other: in release builds with
/// link-time optimisation this was 5.
#[test]
fn what_is_written_by_one_address_is_read_by_the_other() {
    let mut ring = made!(Ring::new(4096));
    let len = ring.len();
    ring.slice_mut(0, 1)[0] = 5;
    // As numbers, so that the compiler sees where they lie.
    if len == 4096 {
        ring.slice_mut(4095, 2)[1] = 7;
    } else {
        ring.slice_mut(len - 1, 2)[1] = 7;
    }
    assert_eq!(ring.slice(0, 1)[0], 7);
    ring.slice_mut(0, 1)[0] = 9;
    assert_eq!(ring.slice(len - 1, 2)[1], 9);
}

#[test]
fn a_slice_longer_than_the_ring_is_a_panic() {
    let ring = made!(Ring::new(1));
    let len = ring.len();
    for count in [len + 1, 2 * len, usize::MAX] {
        let slice = std::panic::AssertUnwindSafe(|| ring.slice(0, count).len());
        assert!(std::panic::catch_unwind(slice).is_err());
    }
    let mut ring = ring;
    let slice = std::panic::AssertUnwindSafe(|| ring.slice_mut(1, len + 1).len());
    assert!(std::panic::catch_unwind(slice).is_err());
}

#[test]
fn a_dropped_ring_or_dual_mapping_or_stack_leaves_nothing() {
    drop(made!(Ring::new(1)));
    alone(|| {
        let mut space = Space::new();
        let before = space.bytes();
        let all = (Ring::new(MIB), DualMapping::new(MIB), Stack::new(MIB));
        space.look();
        assert_eq!(space.bytes() - before, 5 * MIB + page());
        drop(all);
        space.look();
        assert_eq!(space.bytes(), before);
    });
}

#[test]
fn lengths_that_can_not_be_are_refused() {
    for len in [isize::MAX as usize, usize::MAX - page(), usize::MAX] {
        let too_long = Error::TooLong { len };
        assert_eq!(Ring::new(len).unwrap_err(), too_long);
        assert_eq!(DualMapping::new(len).unwrap_err(), too_long);
        assert!(matches!(Stack::new(len).unwrap_err(), Error::TooLong { .. }));
    }
    assert_eq!(Ring::new(isize::MAX as usize / 2 + 1).unwrap_err().errno(), Errno::EINVAL);
    let refused = [
        Ring::new(0).map(drop),
        DualMapping::new(0).map(drop),
        Stack::new(0).map(drop),
        Stack::with_guard(0, 0).map(drop),
    ];
    for refused in refused {
        assert!(refused.unwrap_err().to_string().ends_with("the length is 0"));
    }
}

/// Machine code of a function that returns this number.
fn returns(number: u8) -> Vec<u8> {
    let n = u32::from(number);
    match std::env::consts::ARCH {
        // mov eax, n; ret
        "x86_64" => vec![0xb8, number, 0, 0, 0, 0xc3],
        // mov w0, n; ret
        "aarch64" => [0x5280_0000 | n << 5, 0xd65f_03c0]
            .iter()
            .flat_map(|it: &u32| it.to_le_bytes())
            .collect(),
        // li a0, n; ret
        "riscv64" => [0x0000_0513 | n << 20, 0x0000_8067]
            .iter()
            .flat_map(|it: &u32| it.to_le_bytes())
            .collect(),
        arch => panic!("no code for {arch}"),
    }
}

fn run(code: &DualMapping, offset: usize) -> i32 {
    // SAFETY: a function without arguments was written there.
    unsafe {
        let function = code.run_ptr().add(offset);
        std::mem::transmute::<*const u8, extern "C" fn() -> i32>(function)()
    }
}

#[test]
fn code_is_written_by_one_view_and_run_by_the_other_and_written_again() {
    let mut code = made!(DualMapping::new(page()));
    assert_eq!(returns(42), RETURN_42);
    for n in 0..100 {
        code.write(0, &returns(n)).unwrap();
        assert_eq!(run(&code, 0), i32::from(n));
        code.write(page() - 16, &returns(n + 1)).unwrap();
        assert_eq!(run(&code, page() - 16), i32::from(n) + 1);
        assert_eq!(run(&code, 0), i32::from(n));
    }
}

#[test]
fn code_is_run_by_other_threads() {
    let mut code = made!(DualMapping::new(page()));
    for n in 0..20 {
        code.write(0, &returns(n)).unwrap();
        let code = &code;
        // A new thread has fetched no old code.
        let ran = std::thread::scope(|scope| scope.spawn(move || run(code, 0)).join().unwrap());
        assert_eq!(ran, i32::from(n));
    }
}

#[test]
fn neither_view_can_be_both_written_and_run() {
    let mut code = made!(DualMapping::new(page()));
    code.write(0, RETURN_42).unwrap();
    let run = code.run_ptr().cast_mut();
    assert_eq!((reading(run), writing(run), running(run)), (OK, SEGV, End::Exit(42)));
    let write = code.write_ptr();
    assert_eq!((reading(write), writing(write)), (OK, OK));
    code.write(0, RETURN_42).unwrap();
    match emulator() {
        Some(_) => skip!("the emulator's maps are not the program's"),
        None => {
            let rights = |at: *mut u8| smaps(at, at.wrapping_add(1)).remove(0).0;
            assert!(rights(run).contains(" r-xs ") && rights(write).contains(" rw-s "));
        }
    }
    assert_eq!(running(write), SEGV);
}

#[test]
fn code_is_not_written_outside_of_its_range() {
    let mut code = made!(DualMapping::new(page()));
    let size = code.len();
    for offset in [size, size - 1, size + 1, usize::MAX, usize::MAX - 1] {
        let refused = code.write(offset, &[0; 2]).unwrap_err();
        assert_eq!(refused, Error::OutOfRange { offset, len: 2, size });
    }
    assert!(code.sync(1, usize::MAX).is_err() && code.sync(size, 0).is_ok());
    code.write(size, &[]).unwrap();
    code.write(size - 2, &[1, 2]).unwrap();
}

#[test]
fn a_stack_is_usable_to_its_last_byte_and_a_fault_below() {
    for (len, guard) in [(1, 1), (64 << 10, 1), (64 << 10, 3 * page()), (page(), 0)] {
        let stack = Stack::with_guard(len, guard).unwrap();
        assert_eq!(stack.len(), len.next_multiple_of(page()));
        assert_eq!(stack.top().addr() - stack.bottom().addr(), stack.len());
        assert_eq!(stack.top().addr() % page(), 0);
        // SAFETY: the usable part, on which nobody runs.
        unsafe { stack.bottom().write_bytes(7, stack.len()) };
        let below = |n: usize| writing(stack.bottom().wrapping_sub(n));
        if guard != 0 {
            assert_eq!((below(1), below(guard.next_multiple_of(page()))), (SEGV, SEGV));
        }
    }
}

#[test]
fn a_thread_runs_on_a_stack() {
    extern "C" fn thread(top: *mut libc::c_void) -> *mut libc::c_void {
        let local = 0u8;
        let below = top.addr() - (&raw const local).addr();
        std::ptr::without_provenance_mut(below)
    }
    let stack = Stack::new(MIB).unwrap();
    let below = on_thread(&stack, thread, stack.top());
    assert!(below > 0 && below < MIB, "the thread's frame lies {below} bytes below the top");
}

/// Runs a function on a thread with this stack, to its end.
fn on_thread(
    stack: &Stack,
    f: extern "C" fn(*mut libc::c_void) -> *mut libc::c_void,
    argument: *mut u8,
) -> usize {
    // SAFETY: the stack is nobody else's, and outlives the thread, which is joined.
    unsafe {
        let mut attr = std::mem::zeroed();
        assert_eq!(libc::pthread_attr_init(&mut attr), 0);
        let set = libc::pthread_attr_setstack(&mut attr, stack.bottom().cast(), stack.len());
        assert_eq!(set, 0);
        let mut id = std::mem::zeroed();
        assert_eq!(libc::pthread_create(&mut id, &attr, f, argument.cast()), 0);
        let mut result = std::ptr::null_mut();
        assert_eq!(libc::pthread_join(id, &mut result), 0);
        libc::pthread_attr_destroy(&mut attr);
        result.addr()
    }
}

#[test]
fn a_thread_that_overflows_its_stack_is_a_fault_at_the_guard() {
    extern "C" fn dig(depth: *mut libc::c_void) -> *mut libc::c_void {
        let frame = std::hint::black_box([depth.addr() + 1; 64]);
        if frame[63] == usize::MAX {
            return depth;
        }
        let deeper = dig(std::ptr::without_provenance_mut(frame[63]));
        std::ptr::without_provenance_mut(std::hint::black_box(&frame)[0] + deeper.addr())
    }
    let end = in_child(|| {
        let stack = Stack::new(128 << 10).unwrap();
        on_thread(&stack, dig, std::ptr::null_mut()) as i32
    });
    assert_eq!(end, SEGV);
}

fn layout(size: usize, align: usize) -> Layout {
    Layout::from_size_align(size, align).unwrap()
}

#[test]
fn blocks_are_aligned_and_zeroed_and_given_back() {
    alone(|| {
        let mut space = Space::new();
        let before = space.bytes();
        for size in [1, 100, page(), page() + 1, 10 * page() - 1, MIB] {
            for align in (0..=26).map(|log2| 1 << log2) {
                // SAFETY: the size is not 0, and each block is freed with its layout.
                unsafe {
                    let block = PageAlloc.alloc_zeroed(layout(size, align));
                    assert!(!block.is_null() && block.addr() % align == 0);
                    let bytes = std::slice::from_raw_parts_mut(block, size);
                    assert!(bytes.iter().all(|byte| *byte == 0));
                    bytes[size - 1] = 7;
                    PageAlloc.dealloc(block, layout(size, align));
                }
            }
        }
        space.look();
        assert_eq!(space.bytes(), before);
    });
}

#[test]
fn chains_of_realloc_keep_the_contents_and_the_alignment() {
    alone(|| {
        let mut space = Space::new();
        let before = space.bytes();
        for align in [1, page(), 4 * page(), 4 * MIB] {
            let mut size = 100;
            // SAFETY: sizes are not 0, and blocks are used with their own layout.
            unsafe {
                let mut block = PageAlloc.alloc(layout(size, align));
                block.write_bytes(7, size);
                for new in [50, page(), page() + 1, 9 * MIB, 3, 2 * page(), MIB, 5 * MIB, 1] {
                    block = PageAlloc.realloc(block, layout(size, align), new);
                    assert!(!block.is_null() && block.addr() % align == 0);
                    let bytes = std::slice::from_raw_parts_mut(block, new);
                    assert!(bytes[..size.min(new)].iter().all(|byte| *byte == 7));
                    bytes.fill(7);
                    size = new;
                }
                PageAlloc.dealloc(block, layout(size, align));
            }
        }
        space.look();
        assert_eq!(space.bytes(), before);
    });
}

/// The kernel does not resize what it holds in several parts.
#[test]
fn a_block_whose_parts_differ_is_reallocated_by_a_copy() {
    let (old, new) = (layout(4 * page(), 1), 64 * page());
    // SAFETY: as above; the advice changes no contents.
    unsafe {
        let block = PageAlloc.alloc(old);
        block.write_bytes(7, old.size());
        rawmap::madvise(block, page(), rawmap::Advice::DONTDUMP).unwrap();
        let block = PageAlloc.realloc(block, old, new);
        assert!(!block.is_null());
        let bytes = std::slice::from_raw_parts(block, new);
        assert!(bytes[..old.size()].iter().all(|byte| *byte == 7));
        assert!(bytes[old.size()..].iter().all(|byte| *byte == 0));
        PageAlloc.dealloc(block, layout(new, 1));
    }
}

#[test]
fn blocks_that_can_not_be_are_null() {
    // SAFETY: sizes are not 0; a block that can't be resized stays.
    unsafe {
        for size in [isize::MAX as usize, 1 << 62] {
            assert!(PageAlloc.alloc(layout(size, 1)).is_null());
            let block = PageAlloc.alloc(layout(page(), 1));
            block.write(7);
            assert!(PageAlloc.realloc(block, layout(page(), 1), size).is_null());
            assert_eq!(block.read(), 7);
            PageAlloc.dealloc(block, layout(page(), 1));
        }
        assert!(PageAlloc.alloc(layout(1, 1 << 62)).is_null());
    }
}

/// No caller of `GlobalAlloc` may ask for it, but those of other traits do.
#[test]
fn a_block_of_no_size_is_null_and_takes_nothing() {
    alone(|| {
        let mut space = Space::new();
        let before = space.bytes();
        for align in [1, page(), 4 * MIB] {
            // SAFETY: the block is used with its own layout, and resizing to nothing leaves it.
            unsafe {
                assert!(PageAlloc.alloc(layout(0, align)).is_null());
                let block = PageAlloc.alloc(layout(page(), align));
                block.write(7);
                assert!(PageAlloc.realloc(block, layout(page(), align), 0).is_null());
                assert_eq!(block.read(), 7);
                PageAlloc.dealloc(block, layout(page(), align));
            }
        }
        space.look();
        assert_eq!(space.bytes(), before);
    });
}

/// What a Vec does to its buffer when it is pushed to.
#[test]
fn a_buffer_doubles_without_losing_a_byte() {
    let mut capacity = page();
    // SAFETY: as above.
    unsafe {
        let mut buffer = PageAlloc.alloc(layout(capacity, 1));
        let mut len = 0;
        while capacity < 64 * MIB {
            while len < capacity {
                buffer.add(len).write(len.trailing_zeros() as u8);
                len += 61;
            }
            buffer = PageAlloc.realloc(buffer, layout(capacity, 1), 2 * capacity);
            assert!(!buffer.is_null());
            capacity *= 2;
        }
        for n in (0..len).step_by(61) {
            assert_eq!(buffer.add(n).read(), n.trailing_zeros() as u8);
        }
        PageAlloc.dealloc(buffer, layout(capacity, 1));
    }
}

#[test]
fn threads_allocate_at_once() {
    std::thread::scope(|scope| {
        for n in 1..=8 {
            scope.spawn(move || {
                for round in 1..200 {
                    let layout = layout(round * 1000 + n, 1 << (round % 20));
                    // SAFETY: as above.
                    unsafe {
                        let block = PageAlloc.alloc(layout);
                        assert!(!block.is_null());
                        block.write_bytes(n as u8, layout.size());
                        let bytes = std::slice::from_raw_parts(block, layout.size());
                        assert!(bytes.iter().all(|byte| *byte == n as u8));
                        PageAlloc.dealloc(block, layout);
                    }
                }
            });
        }
    });
}
