//! Owners without files, /proc or fork: what Miri can run too, so that their unsafe code is held against the
//! language's rules and not against the kernel's alone.
use rawmap::*;
use std::alloc::{GlobalAlloc, Layout};
use std::thread;

fn page() -> usize {
    page_size().unwrap().bytes()
}

fn map(pages: usize) -> Mapping<ReadWrite> {
    MapOptions::new(pages * page()).anonymous().unwrap()
}

#[test]
fn a_mapping_grows_shrinks_and_is_purged() {
    let mut memory = map(3);
    memory.fill(3);
    memory.resize(6 * page()).unwrap();
    assert_eq!((memory[3 * page() - 1], memory[3 * page()]), (3, 0));
    memory.resize(2 * page()).unwrap();
    memory.purge(..page()).unwrap();
    assert_eq!((memory[0], memory[page()]), (0, 3));
}

#[test]
fn a_mapping_is_split_and_joined() {
    let mut front = map(4);
    front[2 * page()] = 7;
    let mut back = front.split_off(2 * page()).unwrap();
    front[0] = 1;
    assert_eq!(back[0], 7);
    back.fill(2);
    front.try_unsplit(back).unwrap();
    assert_eq!((front.len(), front[0], front[4 * page() - 1]), (4 * page(), 1, 2));
    front.fill(9);
    let mut back = front.split_off(page()).unwrap();
    drop(front);
    back.fill(1);
}

#[test]
fn a_mapping_changes_what_it_may_be_used_for() {
    let mut memory = map(2);
    memory[0] = 5;
    let memory = memory.make_read_only().unwrap();
    assert_eq!(memory[0], 5);
    let mut memory = memory.make_writable().unwrap();
    memory[0] = 6;
    let raw = memory.into_raw();
    raw.protect(page().., Prot::NONE).unwrap();
    raw.guard(page()..).unwrap();
    // SAFETY: the first page is accessible.
    assert_eq!(unsafe { raw.as_ptr().read() }, 6);
}

#[test]
fn a_reservation_is_committed_and_decommitted() {
    for mode in [Mode::Overcommit, Mode::Strict] {
        let reserved = Reservation::new(16 * page(), mode).unwrap();
        let at = reserved.as_ptr().wrapping_add(page());
        let range = page()..3 * page();
        reserved.commit(range.clone()).unwrap();
        // SAFETY: committed, and ours.
        unsafe { at.write(1) };
        reserved.purge(range.clone()).unwrap();
        // SAFETY: as before.
        unsafe { assert_eq!(at.read(), 0) };
        reserved.decommit(range.clone()).unwrap();
        reserved.commit(range).unwrap();
        // SAFETY: as before.
        unsafe { assert_eq!(at.read(), 0) };
    }
}

#[test]
fn threads_commit_parts_of_one_reservation() {
    let reserved = &Reservation::new(8 * page(), Mode::Strict).unwrap();
    thread::scope(|scope| {
        for n in 0..2 {
            scope.spawn(move || {
                reserved.commit(n * page()..(n + 1) * page()).unwrap();
                // SAFETY: committed, and no other thread's.
                unsafe { reserved.as_ptr().add(n * page()).write(1) };
                reserved.decommit(n * page()..(n + 1) * page()).unwrap();
            });
        }
    });
}

#[test]
fn a_reservation_is_aligned_and_takes_a_mapping() {
    let align = 16 * page();
    let mut reserved = Reservation::aligned(8 * page(), align, Mode::Strict).unwrap();
    assert_eq!(reserved.as_ptr().addr() % align, 0);
    let back = reserved.split_off(4 * page()).unwrap();
    let mut memory = map(4);
    memory[5] = 5;
    let at = back.as_ptr();
    back.place(&mut memory).unwrap();
    assert_eq!((memory.as_ptr(), memory[5]), (at.cast_const(), 5));
    memory.fill(1);
}

#[test]
fn stacks_are_written_and_reset() {
    let mut stack = Stack::new(4 * page()).unwrap();
    // SAFETY: nobody runs on it.
    unsafe {
        stack.top().sub(8).cast::<u64>().write(1);
        stack.bottom().write(1);
        stack.reset().unwrap();
        assert_eq!(stack.bottom().read(), 0);
    }
    let pool = StackPool::new(2, 2 * page()).unwrap();
    let (first, second) = (pool.take().unwrap(), pool.take().unwrap());
    // SAFETY: nobody runs on them.
    unsafe {
        first.top().sub(1).write(1);
        second.bottom().write(2);
    }
    drop(second);
    drop(first);
    drop(pool.take().unwrap());
}

#[test]
fn chunks_of_a_pool_are_taken_by_threads() {
    let pool = &Pool::new(4, page(), 1).unwrap();
    thread::scope(|scope| {
        for n in 1..3 {
            scope.spawn(move || {
                let mut chunk = pool.take().unwrap();
                chunk.fill(n);
                assert!(chunk.iter().all(|byte| *byte == n));
            });
        }
    });
}

#[test]
fn a_front_grows_in_place() {
    let mut front = Front::reserve(64 * page()).unwrap();
    front.resize(10).unwrap();
    front.fill(1);
    front.resize(3 * page()).unwrap();
    assert_eq!((front[9], front[10]), (1, 0));
    front.resize(5).unwrap();
    front.resize(20).unwrap();
    assert_eq!((front[4], front[5]), (1, 0));
}

#[test]
fn page_alloc_gives_grows_and_frees() {
    // SAFETY: each block is used within its layout, and freed with it.
    unsafe {
        for align in [1, 16 * page()] {
            let layout = Layout::from_size_align(2 * page() + 1, align).unwrap();
            let block = PageAlloc.alloc(layout);
            assert_eq!(block.addr() % align, 0);
            block.write_bytes(5, layout.size());
            let block = PageAlloc.realloc(block, layout, 9 * page());
            assert_eq!(block.add(2 * page()).read(), 5);
            PageAlloc.dealloc(block, Layout::from_size_align(9 * page(), align).unwrap());
        }
    }
}

#[test]
fn what_is_used_at_once_is_aligned() {
    let align = 16 * page();
    let memory = MapOptions::new(page()).align(align).populate().anonymous().unwrap();
    assert_eq!((memory.as_ptr().addr() % align, memory[page() - 1]), (0, 0));
}

#[test]
#[cfg(miri)]
fn what_miri_cannot_say_is_refused_clearly() {
    assert_eq!(Ring::new(page()).unwrap_err().errno(), Errno::ENODEV);
    assert!(DualMapping::new(page()).is_err());
}
