//! Pools hand out what nobody else has; fronts grow and never move; words are seen by all who share them.
mod common;
use common::*;
use rawmap::{Advice, Errno, Front, Pool, Stack, StackPool, Words};
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};

#[test]
fn chunks_are_aligned_apart_and_put_back() {
    for (len, align) in [(1, 1), (page(), page()), (page() + 1, 1 << 21), (3 << 16, 1 << 16)] {
        let pool = Pool::new(130, len, align).unwrap();
        let mut all: Vec<_> = (0..130).map(|_| pool.take().unwrap()).collect();
        assert!(pool.take().is_none());
        let mut ends: Vec<_> = all.iter().map(|chunk| chunk.as_ptr_range()).collect();
        ends.sort_by_key(|range| range.start);
        assert!(ends.windows(2).all(|pair| pair[0].end <= pair[1].start));
        assert!(ends.iter().all(|range| range.start.addr() % align == 0));
        all.iter_mut().for_each(|chunk| chunk.fill(1));
        let last = all.pop().unwrap().as_ptr();
        assert_eq!(pool.take().unwrap().as_ptr(), last, "what was put back is taken first");
    }
}

#[test]
fn several_threads_never_have_the_same_chunk() {
    let pool = Pool::new(70, page(), 1).unwrap();
    let taken: Vec<_> = (0..70).map(|_| AtomicBool::new(false)).collect();
    let first = pool.take().unwrap().as_ptr().addr();
    let (rounds, none) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for thread in 1..=4_u8 {
            let (pool, taken, rounds, none) = (&pool, &taken, &rounds, &none);
            scope.spawn(move || {
                for _ in 0..2_000 {
                    let mut held = Vec::new();
                    for _ in 0..20 {
                        let Some(mut chunk) = pool.take() else {
                            none.fetch_add(1, Ordering::Relaxed);
                            continue;
                        };
                        let number = (chunk.as_ptr().addr() - first) / page();
                        assert!(!taken[number].swap(true, Ordering::Relaxed));
                        chunk[0] = thread;
                        held.push((number, chunk));
                    }
                    for (number, chunk) in held {
                        assert_eq!(chunk[0], thread);
                        taken[number].store(false, Ordering::Relaxed);
                    }
                    rounds.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(rounds.into_inner(), 8_000);
    let all: Vec<_> = std::iter::from_fn(|| pool.take()).collect();
    assert_eq!(all.len(), 70, "none is lost");
}

#[test]
fn a_purged_chunk_is_zeroes_and_its_neighbours_are_not() {
    let pool = Pool::new(3, page(), 1).unwrap();
    let mut chunks = [pool.take().unwrap(), pool.take().unwrap(), pool.take().unwrap()];
    chunks.iter_mut().for_each(|chunk| chunk.fill(7));
    chunks[1].purge().unwrap();
    assert_eq!(
        chunks.each_ref().map(|chunk| (chunk[0], chunk[page() - 1])),
        [(7, 7), (0, 0), (7, 7)]
    );
}

#[test]
fn pools_that_no_address_space_can_hold_are_errors() {
    for (count, len, align) in
        [(usize::MAX, 1, 1), (1, usize::MAX, 1), (2, 1, 1 << 62), (1 << 40, 1 << 40, 1)]
    {
        assert_eq!(Pool::new(count, len, align).unwrap_err().errno(), Errno::ENOMEM);
    }
    assert_eq!(Pool::new(1, 1, 3).unwrap_err().errno(), Errno::EINVAL);
    let none = [Pool::new(0, 1, 1).map(drop), StackPool::new(0, 1).map(drop)];
    for (refused, operation) in none.into_iter().zip(["Pool::new", "StackPool::new"]) {
        let error = refused.unwrap_err();
        assert_eq!(error.to_string(), format!("{operation}: the count is 0"));
        assert_eq!(error.errno(), Errno::EINVAL);
    }
    assert_eq!(StackPool::new(usize::MAX, 1).unwrap_err().errno(), Errno::ENOMEM);
    assert_eq!(StackPool::new(1, 0).unwrap_err().errno(), Errno::EINVAL);
}

#[test]
fn a_pooled_stack_can_be_used_to_its_bottom_and_no_further() {
    let pool = StackPool::new(3, 1).unwrap();
    let stacks = [pool.take().unwrap(), pool.take().unwrap(), pool.take().unwrap()];
    let none = pool.take().unwrap_err();
    assert_eq!(none.to_string(), "StackPool::take: all 3 stacks are taken");
    assert_eq!(none.argument(), Some(("the number of stacks", 4, Some(3))));
    assert_eq!(none.errno(), Errno::ENOMEM);
    for stack in &stacks {
        assert_eq!(stack.len(), page());
        let guard = stack.guard();
        assert_eq!(guard.end.addr() - guard.start.addr(), Stack::GUARD.next_multiple_of(page()));
        assert_eq!((writing(stack.bottom()), writing(stack.top().wrapping_sub(1))), (OK, OK));
        assert_eq!(writing(stack.bottom().wrapping_sub(1)), SEGV);
        assert_eq!(writing(guard.start), SEGV);
    }
    drop(stacks);
    // Taken again, its guard is still there.
    let mut stack = pool.take().unwrap();
    stack.reset().unwrap();
    assert_eq!((writing(stack.bottom()), writing(stack.bottom().wrapping_sub(1))), (OK, SEGV));
}

#[test]
fn a_hundred_thousand_stacks() {
    if kernel() < (6, 13) || emulator().is_some() {
        return skip!(
            "without guards each stack is two mappings, of which a process may have 65,530"
        );
    }
    let pool = StackPool::new(100_000, 16 << 10).unwrap();
    let mappings = || std::fs::read_to_string("/proc/self/maps").unwrap().lines().count();
    let before = mappings();
    let stacks: Vec<_> = (0..100_000).map(|_| pool.take().unwrap()).collect();
    let places: HashSet<_> = stacks.iter().map(|stack| stack.top()).collect();
    assert_eq!(places.len(), 100_000);
    assert!(mappings() < before + 64, "{} mappings more", mappings() - before);
    // SAFETY: the topmost bytes of stacks that nobody runs on.
    stacks.iter().step_by(1000).for_each(|stack| unsafe { stack.top().sub(1).write(1) });
}

#[test]
fn a_front_keeps_its_address_and_what_it_gains_is_zeroes() {
    let mut front = Front::reserve(64 * page()).unwrap();
    assert_eq!((front.len(), front.reserved()), (0, 64 * page()));
    front.resize(1).unwrap();
    let at = front.as_ptr();
    let mut model = vec![0_u8];
    let mut random = 1_usize;
    for _ in 0..2_000 {
        random =
            random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let len = (random >> 33) % (64 * page() + 1);
        front.resize(len).unwrap();
        model.resize(len, 0);
        assert_eq!(front.as_ptr(), at);
        assert!(front[..] == model[..], "at length {len}");
        let step = 1 + (random >> 20) % page();
        for index in (0..len).step_by(step) {
            front[index] = random as u8;
            model[index] = random as u8;
        }
    }
    let error = front.resize(64 * page() + 1).unwrap_err();
    assert_eq!(error.errno(), Errno::ENOMEM);
    assert!(front[..] == model[..]);
    assert_eq!(Front::reserve(usize::MAX).unwrap_err().errno(), Errno::ENOMEM);
}

#[test]
fn what_a_front_does_not_hold_is_inaccessible() {
    let mut front = Front::reserve(4 * page()).unwrap();
    front.resize(page() + 1).unwrap();
    let at = front.as_ptr().cast_mut();
    assert_eq!(writing(at.wrapping_add(2 * page() - 1)), OK);
    assert_eq!(writing(at.wrapping_add(2 * page())), SEGV);
    front.resize(1).unwrap();
    assert_eq!(writing(at.wrapping_add(page())), SEGV);
    front.resize(0).unwrap();
    assert_eq!(writing(at), SEGV);
}

/// The kernel commits the first of its mappings, and refuses the second: that one is given back.
#[test]
fn a_front_that_could_not_grow_is_as_it_was() {
    if emulator().is_some() {
        skip!("the emulator does not count memory against RLIMIT_DATA");
        return;
    }
    alone(|| {
        let mut front = Front::reserve(512 * page()).unwrap();
        front.advise(256 * page().., Advice::DONTDUMP).unwrap();
        let data = data_bytes();
        limit(libc::RLIMIT_DATA, (data + 384 * page()) as u64);
        assert_eq!(front.resize(512 * page()).unwrap_err().errno(), Errno::ENOMEM);
        assert_eq!((front.len(), data_bytes()), (0, data));
        front.resize(300 * page()).unwrap();
        assert_eq!((front[0], front[300 * page() - 1], data_bytes()), (0, 0, data + 300 * page()));
    });
}

#[test]
fn words_are_seen_by_a_child_and_have_one_width() {
    let words = Words::new(3).unwrap();
    assert_eq!(in_child(|| i32::from(words[2].fetch_add(5, Ordering::SeqCst) != 0)), OK);
    assert_eq!(words[2].load(Ordering::SeqCst), 5);
    assert_eq!((words.len(), Words::<AtomicU8>::of_width(3).unwrap().len()), (3, 3));
    assert_eq!(Words::<AtomicU64>::of_width(1000).unwrap().len(), 1000);
    assert_eq!(Words::new(usize::MAX).unwrap_err().errno(), Errno::ENOMEM);
    assert_eq!(Words::new(0).unwrap_err().errno(), Errno::EINVAL);
}

#[test]
fn words_begin_at_a_multiple_of_their_size() {
    let mut bytes = anonymous_bytes(2 * page());
    let rest = bytes.split_off(page()).unwrap();
    // SAFETY: private memory, reached through these words alone.
    let words: Words<AtomicU64> = unsafe { Words::from_raw(rest) }.unwrap();
    assert_eq!(words.len(), page() / 8);
    assert_eq!(words.into_raw().len(), page());
}

fn anonymous_bytes(len: usize) -> rawmap::Mapping<rawmap::Raw> {
    rawmap::MapOptions::new(len).raw(RW, rawmap::Sharing::Private).unwrap()
}
