//! Each call of each operation of several steps is made to fail in turn: the error is that call's, and
//! nothing is left mapped.
mod common;
use common::supervised::{Seen, supervise, unwatch, watch};
use common::*;
use rawmap::{
    Call, Cursor, DualMapping, Errno, Error, Limits, MapFlags, MapOptions, Mapping, Mode,
    PageAlloc, PageSize, Placed, Raw, Reservation, Ring, Stack,
};
use std::alloc::{GlobalAlloc, Layout};
use std::os::fd::AsRawFd;

const MIB: usize = 1 << 20;

/// What a child tells of an operation: by memory that it shares.
#[derive(Clone, Copy)]
struct Told {
    result: Option<Result<(), Error>>,
    /// Bytes that are mapped afterwards and were not before, and those that are missing.
    gained: usize,
    lost: usize,
}

/// One run of an operation, with one of its calls refused.
struct Run {
    /// The call's name and place among the operation's calls.
    refused: (usize, String),
    call: Option<Call>,
    told: Told,
}

/// Runs the operation once for each call that it makes, which is refused with `errno`; and last
/// without a refusal, when it must succeed. `None` where calls can't be refused.
fn each_refused<T>(errno: Errno, operation: impl Fn() -> Result<T, Error>) -> Option<Vec<Run>> {
    each_refused_of(errno, || (), |()| operation())
}

/// The same of an operation on something, which is made before without a refusal.
fn each_refused_of<P, T>(
    errno: Errno,
    prepare: impl Fn() -> P,
    operation: impl Fn(&mut P) -> Result<T, Error>,
) -> Option<Vec<Run>> {
    let shared = anonymous_shared();
    let mut runs = Vec::new();
    loop {
        let which = runs.len();
        let child = || {
            let told = told(&prepare, &operation);
            // SAFETY: a page that is shared with the parent, which reads it when this has ended.
            unsafe { shared.write(told) };
        };
        let (end, seen) = supervise(child, |n, _| (n == which).then_some(Err(errno)))?;
        assert_eq!(end, OK, "the child with call {which} refused");
        // SAFETY: as above.
        let told = unsafe { shared.read() };
        let Some(refused) = seen.get(which) else {
            assert_eq!(told.result, Some(Ok(())), "without a refusal");
            assert_eq!((told.gained, told.lost), (0, 0), "without a refusal");
            return Some(runs);
        };
        let (refused, call) = ((which, refused.name()), refused.call);
        runs.push(Run { refused, call, told });
    }
}

/// Room for what a child tells.
fn anonymous_shared() -> *mut Told {
    let map = MapOptions::new(size_of::<Told>()).shared().anonymous().unwrap();
    map.into_raw().0.as_ptr().cast()
}

fn told<P, T>(prepare: impl Fn() -> P, operation: impl Fn(&mut P) -> Result<T, Error>) -> Told {
    // The page size is known from here on.
    drop(MapOptions::new(page()).anonymous());
    let mut prepared = prepare();
    let (mut before, mut after) = (Space::new(), Space::new());
    before.look();
    watch();
    let result = operation(&mut prepared);
    unwatch();
    let result = Some(result.map(drop));
    after.look();
    Told { result, gained: missing(&before, &after), lost: missing(&after, &before) }
}

/// How many bytes of `there` are not mapped `here`.
fn missing(here: &Space, there: &Space) -> usize {
    let mut both = 0;
    for (start, end) in &here.ranges {
        for (from, to) in &there.ranges {
            both += end.min(to).saturating_sub(*start.max(from));
        }
    }
    there.bytes() - both
}

/// The same, and every refusal is the operation's error and undoes all of it.
macro_rules! undone {
    ($operation:expr) => {{
        let operation = $operation;
        let mut counts = Vec::new();
        for errno in [Errno::ENOMEM, Errno::EPERM] {
            let Some(runs) = each_refused(errno, &operation) else {
                skip!("calls can't be refused here: no seccomp");
                return;
            };
            for Run { refused, call, told, .. } in &runs {
                let error = Error::Refused { call: call.unwrap(), errno };
                assert_eq!(told.result, Some(Err(error)), "{refused:?} refused with {errno}");
                assert_eq!((told.gained, told.lost), (0, 0), "{refused:?} refused with {errno}");
            }
            counts.push(runs.into_iter().map(|run| run.refused.1).collect::<Vec<_>>());
        }
        counts.pop().unwrap()
    }};
}

/// `EINVAL` for the first call makes the second, which succeeds; anything else is the error.
macro_rules! falls_back_on_einval_alone {
    ($prepare:expr, $operation:expr, $calls:expr) => {
        for errno in [Errno::EINVAL, Errno::ENOMEM] {
            let mut first = None;
            let shared = anonymous_shared();
            let child = || {
                let told = told($prepare, $operation);
                // SAFETY: as in each_refused.
                unsafe { shared.write(told) };
            };
            let refuse = |n: usize, seen: &Seen| {
                first = first.or(seen.call);
                (n == 0).then_some(Err(errno))
            };
            let Some((end, seen)) = supervise(child, refuse) else {
                skip!("calls can't be refused here: no seccomp");
                return;
            };
            let names: Vec<_> = seen.iter().map(Seen::name).collect();
            // SAFETY: as in each_refused.
            let told = unsafe { shared.read() };
            assert_eq!((end, told.gained, told.lost), (OK, 0, 0));
            if errno == Errno::EINVAL {
                assert_eq!((names, told.result), ($calls.map(String::from).into(), Some(Ok(()))));
            } else {
                let error = Error::Refused { call: first.unwrap(), errno };
                assert_eq!(names, $calls[..1]);
                assert_eq!(told.result, Some(Err(error)));
            }
        }
    };
}

#[test]
fn a_mapping_leaves_nothing() {
    assert_eq!(undone!(|| MapOptions::new(3 * page()).anonymous()), ["mmap"]);
}

#[test]
fn an_aligned_mapping_leaves_nothing() {
    let aligned = MapOptions::new(page()).align(4 * MIB);
    assert_eq!(undone!(move || aligned.anonymous()), ["mmap", "munmap", "mmap"]);
    assert_eq!(undone!(move || aligned.populate().anonymous()), ["mmap", "munmap", "mmap"]);
    assert_eq!(undone!(move || aligned.locked().anonymous()), ["mmap", "munmap", "mmap"]);
}

#[test]
fn an_aligned_mapping_of_a_file_leaves_nothing() {
    let file = file_of_pages(2);
    let aligned = MapOptions::new(2 * page()).align(4 * MIB).read_only();
    // SAFETY: nobody else has the file.
    let mapped = || unsafe { aligned.file(file.as_raw_fd(), 0) };
    assert_eq!(undone!(mapped), ["mmap", "munmap", "mmap"]);
}

#[test]
fn an_aligned_mapping_whose_place_is_always_taken_gives_up_and_leaves_nothing() {
    let aligned = MapOptions::new(page()).align(4 * MIB).populate();
    let shared = anonymous_shared();
    let child = || {
        let told = told(|| (), |()| aligned.anonymous());
        // SAFETY: as in each_refused.
        unsafe { shared.write(told) };
    };
    // Each third call is the one that takes the place.
    let taken = |n: usize, _: &Seen| (n % 3 == 2).then_some(Err(Errno::EEXIST));
    let Some((end, seen)) = supervise(child, taken) else {
        skip!("calls can't be refused here: no seccomp");
        return;
    };
    assert_eq!((end, seen.len()), (OK, 24));
    // SAFETY: as in each_refused.
    let told = unsafe { shared.read() };
    let call = seen[23].call.unwrap();
    assert_eq!(told.result, Some(Err(Error::Refused { call, errno: Errno::EEXIST })));
    assert_eq!((told.gained, told.lost), (0, 0));
}

#[test]
fn a_reservation_leaves_nothing() {
    for mode in [Mode::Overcommit, Mode::Strict] {
        assert_eq!(undone!(move || Reservation::new(MIB, mode)), ["mmap"]);
        assert_eq!(undone!(move || Reservation::keep_slack(page(), 4 * MIB, mode)), ["mmap"]);
    }
}

#[test]
fn an_aligned_reservation_leaves_nothing() {
    for mode in [Mode::Overcommit, Mode::Strict] {
        let new = || Reservation::aligned(page(), 4 * MIB, &mut Cursor::new(), mode);
        let calls = undone!(new);
        assert!(calls[0] == "mmap" && calls.len() <= 7, "{calls:?}");
    }
}

#[test]
fn an_aligned_reservation_that_falls_back_to_trimming_leaves_nothing() {
    const ALIGN: usize = 64 * MIB;
    // The place that the cursor leads to is taken, and the next one to where the kernel places it then.
    let prepare = || {
        let mut cursor = Cursor::new();
        let last = Reservation::aligned(ALIGN, ALIGN, &mut cursor, Mode::Strict).unwrap();
        let take = |at: usize| MapOptions::new(page()).hint(common::at(at)).place().unwrap();
        let first = take(last.as_ptr().addr() - ALIGN);
        let placed = MapOptions::new(page()).anonymous().unwrap().as_ptr().addr();
        assert_ne!(placed % ALIGN, 0);
        let second = take(placed & !(ALIGN - 1));
        let third = take(placed.next_multiple_of(ALIGN));
        (cursor, last, [first, second, third])
    };
    // The cursor is copied, so that it leads there each time.
    fn new<T, U>(prepared: &mut (Cursor, T, U)) -> Result<Reservation, Error> {
        Reservation::aligned(page(), ALIGN, &mut prepared.0.clone(), Mode::Strict)
    }
    for errno in [Errno::ENOMEM, Errno::EPERM] {
        let Some(runs) = each_refused_of(errno, prepare, new) else {
            skip!("calls can't be refused here: no seccomp");
            return;
        };
        for Run { refused, call, told, .. } in &runs {
            let error = Error::Refused { call: call.unwrap(), errno };
            assert_eq!(told.result, Some(Err(error)), "{refused:?} refused with {errno}");
            assert_eq!((told.gained, told.lost), (0, 0), "{refused:?} refused with {errno}");
        }
        let names: Vec<_> = runs.iter().map(|run| &*run.refused.1).collect();
        assert_eq!(names[..5], ["mmap", "munmap", "mmap", "munmap", "mmap"]);
        assert!(names[5..].iter().all(|name| *name == "munmap"), "{names:?}");
    }
}

#[test]
fn a_ring_leaves_nothing() {
    assert_eq!(undone!(|| Ring::new(3 * page())), ["mmap", "mremap"]);
}

#[test]
fn a_dual_mapping_leaves_nothing() {
    assert_eq!(undone!(|| DualMapping::new(3 * page())), ["mmap", "mremap", "mprotect"]);
}

#[test]
fn a_stack_leaves_nothing() {
    assert_eq!(undone!(|| Stack::new(3 * page())), ["mmap", "mprotect"]);
}

#[test]
fn a_place_leaves_nothing() {
    let hole = MapOptions::new(page()).anonymous().unwrap();
    let hint = hole.as_ptr().addr();
    drop(hole);
    // In the child, nobody else comes to lie there.
    assert_eq!(undone!(move || MapOptions::new(page()).hint(at(hint)).place()), ["mmap"]);
}

#[test]
fn a_place_that_is_taken_is_no_error() {
    let taken = seven();
    let hint = taken.as_ptr().addr();
    let place = || MapOptions::new(page()).hint(at(hint)).place();
    let Some(runs) = each_refused(Errno::EAGAIN, place) else {
        skip!("calls can't be refused here: no seccomp");
        return;
    };
    assert_eq!(runs[0].told.result.unwrap().unwrap_err().errno(), Errno::EAGAIN);
    assert_eq!((runs.len(), runs[0].told.gained, runs[0].told.lost), (1, 0, 0));
}

/// A kernel before 4.17 takes `MAP_FIXED_NOREPLACE` for a hint. Here the supervisor answers for it, with
/// a place that the child has mapped elsewhere.
fn answered_elsewhere(request: impl Fn(*mut u8), fake: usize) -> Option<Vec<String>> {
    let elsewhere = seven();
    let stray = elsewhere.as_ptr();
    let child = || {
        let taken = seven();
        let mut space = Space::new();
        watch();
        request(taken.as_ptr());
        unwatch();
        space.look();
        assert!(space.lacks(stray, page()), "the stray is unmapped");
        assert!(space.has(taken.as_ptr(), 4 * page()) && taken[0] == 7);
    };
    let answer = |n: usize, _: &Seen| (n == fake).then_some(Ok(stray.addr()));
    let (end, seen) = supervise(child, answer)?;
    assert_eq!(end, OK);
    Some(seen.iter().map(Seen::name).collect())
}

#[test]
fn what_an_old_kernel_places_elsewhere_is_unmapped() {
    let place = |taken| {
        let placed = MapOptions::new(page()).hint(taken).place().unwrap();
        assert!(matches!(placed, Placed::Occupied));
    };
    let Some(calls) = answered_elsewhere(place, 0) else {
        skip!("calls can't be answered here: no seccomp");
        return;
    };
    assert_eq!(calls, ["mmap", "munmap"]);
}

#[test]
fn an_aligned_mapping_that_an_old_kernel_places_elsewhere_is_tried_again() {
    let align = |_| {
        let map = MapOptions::new(page()).align(4 * MIB).anonymous().unwrap();
        assert_eq!(map.as_ptr().addr() % (4 * MIB), 0);
        std::mem::forget(map);
    };
    let Some(calls) = answered_elsewhere(align, 2) else {
        skip!("calls can't be answered here: no seccomp");
        return;
    };
    assert_eq!(calls, ["mmap", "munmap", "mmap", "munmap", "mmap", "munmap", "mmap"]);
}

#[test]
fn a_refused_guard_falls_back_on_einval_alone() {
    let raw = || MapOptions::new(2 * page()).prot(RW).anonymous().unwrap();
    let guard = |map: &mut Mapping<Raw>| map.guard(0, page());
    falls_back_on_einval_alone!(raw, guard, ["madvise", "madvise", "mprotect"]);
}

#[test]
fn a_refused_purge_falls_back_on_einval_alone() {
    let purge = |map: &mut Mapping| map.purge(0, page());
    falls_back_on_einval_alone!(seven, purge, ["madvise", "madvise"]);
    let purge = |it: &mut Reservation| it.purge(0, page());
    let new = || Reservation::new(MIB, Mode::Overcommit).unwrap();
    falls_back_on_einval_alone!(new, purge, ["madvise", "madvise"]);
}

/// What an operation says when each of its calls is refused with the error given, or made.
fn with_refusals<P, T>(
    refusals: &[Option<Errno>],
    prepare: impl Fn() -> P,
    operation: impl Fn(&mut P) -> Result<T, Error>,
) -> Option<(Told, Vec<Seen>)> {
    let shared = anonymous_shared();
    let child = || {
        let told = told(&prepare, &operation);
        // SAFETY: as in each_refused.
        unsafe { shared.write(told) };
    };
    let (end, seen) = supervise(child, |n, _| refusals.get(n).copied().flatten().map(Err))?;
    assert_eq!((end, seen.len()), (OK, refusals.len()), "{seen:?}");
    // SAFETY: as in each_refused.
    Some((unsafe { shared.read() }, seen))
}

/// The error is that of the call that was refused last.
macro_rules! last_error {
    ($refusals:expr, $prepare:expr, $operation:expr) => {
        let Some((told, seen)) = with_refusals(&$refusals, $prepare, $operation) else {
            return skip!("calls can't be refused here: no seccomp");
        };
        let last = seen.iter().rfind(|it| it.refused.is_some()).unwrap();
        let error = Error::Refused { call: last.call.unwrap(), errno: last.refused.unwrap() };
        assert_eq!(told.result, Some(Err(error)));
        assert_eq!((told.gained, told.lost), (0, 0));
    };
}

#[test]
fn the_last_step_of_a_fallback_refused_is_its_error() {
    let (einval, eperm) = (Some(Errno::EINVAL), Some(Errno::EPERM));
    let raw = || MapOptions::new(2 * page()).prot(RW).anonymous().unwrap();
    let guard = |map: &mut Mapping<Raw>| map.guard(0, page());
    last_error!([einval, None, eperm], raw, guard);
    last_error!([einval, einval, eperm], raw, guard);
    last_error!([einval, eperm], seven, |map: &mut Mapping| map.purge(0, page()));
    let new = || Reservation::new(MIB, Mode::Overcommit).unwrap();
    last_error!([einval, eperm], new, |it: &mut Reservation| it.purge(0, page()));
    let strict = || Reservation::new(MIB, Mode::Strict).unwrap();
    // And the call that takes the range again, had the kernel unmapped it.
    last_error!([eperm, None], strict, |it: &mut Reservation| it.decommit(0, page()));
    last_error!([eperm], strict, |it: &mut Reservation| it.commit(0, page()));
}

/// The memory is there, only without its name.
#[test]
fn a_refused_name_is_no_error() {
    let named = |_: &mut ()| MapOptions::new(page()).name(c"rawmap").anonymous();
    let Some((told, _)) = with_refusals(&[None, Some(Errno::EINVAL)], || (), named) else {
        return skip!("calls can't be refused here: no seccomp");
    };
    assert_eq!((told.result, told.gained, told.lost), (Some(Ok(())), 0, 0));
}

/// A ring whose second half the kernel had unmapped before it failed: another mapping, which lies there
/// by then, stays. The supervisor answers with a half that is followed by such a one.
#[test]
fn a_ring_that_failed_half_way_leaves_what_came_to_lie_there() {
    let first = MapOptions::new(2 * page()).shared().anonymous().unwrap();
    let (half, behind) = (first.as_ptr(), first.as_ptr().wrapping_add(page()));
    let (first, second) = first.split_at(page()).unwrap();
    std::mem::forget((first, second));
    // SAFETY: the second half, given up by the line above.
    let mine = unsafe { rawmap::mmap_anonymous(behind, page(), RW, ANON | MapFlags::FIXED) };
    assert_eq!(mine, Ok(behind));
    let child = || {
        let mut space = Space::new();
        watch();
        let failed = Ring::new(page()).map(drop);
        unwatch();
        assert_eq!(failed.unwrap_err().errno(), Errno::ENOMEM);
        space.look();
        assert!(space.has(behind, page()) && !space.has(half, page()));
    };
    let judge = |n: usize, _: &Seen| match n {
        0 => Some(Ok(half.addr())),
        1 => Some(Err(Errno::ENOMEM)),
        _ => None,
    };
    match supervise(child, judge) {
        Some((end, seen)) => assert_eq!((end, seen.len()), (OK, 4), "{seen:?}"),
        None => skip!("calls can't be refused here: no seccomp"),
    }
}

/// Does something to a mapping, and says whether its error is the last call's.
fn refused_method<T>(
    errno: Errno,
    prepare: fn() -> Mapping,
    method: fn(Mapping) -> Result<T, (Mapping, Error)>,
) -> Option<()> {
    let shared = anonymous_shared();
    let child = || {
        let map = prepare();
        let (start, len) = (map.as_ptr(), map.len());
        let (mut before, mut after) = (Space::new(), Space::new());
        before.look();
        watch();
        let result = method(map);
        unwatch();
        after.look();
        let result = match result {
            Ok(_) => Some(Ok(())),
            Err((map, error)) => {
                assert_eq!((map.as_ptr(), map.len(), map[0]), (start, len, 7), "it came back");
                Some(Err(error))
            }
        };
        let told =
            Told { result, gained: missing(&before, &after), lost: missing(&after, &before) };
        // SAFETY: as in each_refused.
        unsafe { shared.write(told) };
    };
    let (end, seen) = supervise(child, |_, _| Some(Err(errno)))?;
    assert_eq!((end, seen.len()), (OK, 1));
    // SAFETY: as in each_refused.
    let told = unsafe { shared.read() };
    let error = Error::Refused { call: seen[0].call.unwrap(), errno };
    assert_eq!(told.result, Some(Err(error)));
    assert_eq!((told.gained, told.lost), (0, 0), "{}", seen[0].name());
    Some(())
}

/// The page size, without asking for it each time: that would be refused too.
fn page() -> usize {
    static PAGE: std::sync::OnceLock<usize> = std::sync::OnceLock::new();
    *PAGE.get_or_init(common::page)
}

fn seven() -> Mapping {
    let mut map = MapOptions::new(4 * page()).anonymous().unwrap();
    map[0] = 7;
    map
}

#[test]
fn a_mapping_comes_back_from_a_refused_unmap_seal_grow_or_shrink() {
    let all = || {
        refused_method(Errno::ENOMEM, seven, Mapping::unmap)?;
        if mseal_is_filtered() {
            skip!("the part about sealing: a filter hides mseal");
        } else {
            refused_method(Errno::EPERM, seven, Mapping::seal)?;
        }
        refused_method(Errno::ENOMEM, seven, |mut map| match map.grow(64 * MIB) {
            Ok(()) => Ok(()),
            Err(error) => Err((map, error)),
        })?;
        refused_method(Errno::ENOMEM, seven, |mut map| match map.shrink(1) {
            Ok(()) => Ok(()),
            Err(error) => Err((map, error)),
        })
    };
    if all().is_none() {
        skip!("calls can't be refused here: no seccomp");
    }
}

/// The call and the one that holds the range, should the kernel have unmapped it.
#[test]
fn the_range_of_a_refused_overlay_stays() {
    let operation = |map: &mut Mapping<Raw>| {
        // SAFETY: no file.
        let done = unsafe { map.overlay(page(), page(), RW, ANON, -1, 0) };
        assert!(done.is_ok() || byte(map, 0) == 7);
        done
    };
    let raw = || seven().into_raw_access();
    let Some(runs) = each_refused_of(Errno::ENOMEM, raw, operation) else {
        return skip!("calls can't be refused here: no seccomp");
    };
    let told = runs.iter().map(|run| (run.told.gained, run.told.lost)).collect::<Vec<_>>();
    assert_eq!(told, [(0, 0)]);
}

fn byte(map: &Mapping<Raw>, at: usize) -> u8 {
    // SAFETY: mapped, readable, and nobody else's.
    unsafe { map.as_ptr().add(at).read() }
}

/// A move with one of its calls refused: whether the place came back, and the calls. The mapping does
/// in any case.
fn refused_move(
    errno: Errno,
    judge: impl FnMut(usize, &Seen) -> Option<Result<usize, Errno>>,
) -> Option<(bool, Vec<String>)> {
    let shared = anonymous_shared();
    let child = || {
        let (map, place) = (seven(), seven().into_raw_access());
        let (from, to) = (map.as_ptr(), place.as_ptr());
        let mut space = Space::new();
        space.look();
        watch();
        let (map, place, error) = map.move_into(place).unwrap_err();
        unwatch();
        assert_eq!((error.errno(), map.as_ptr(), map[0]), (errno, from, 7));
        let came_back = place.is_some();
        drop((map, place));
        space.look();
        assert!(space.lacks(from, 4 * page()));
        // What may be another's by now is left alone.
        assert!(if came_back { space.lacks(to, page()) } else { space.has(to, 4 * page()) });
        let told = Told { result: Some(Err(error)), gained: usize::from(came_back), lost: 0 };
        // SAFETY: as in each_refused.
        unsafe { shared.write(told) };
    };
    let (end, seen) = supervise(child, judge)?;
    assert_eq!(end, OK, "refused with {errno}");
    // SAFETY: as in each_refused.
    let told = unsafe { shared.read() };
    Some((told.gained == 1, seen.iter().map(Seen::name).collect()))
}

#[test]
fn a_refused_move_gives_the_place_back_where_the_kernel_left_it_alone() {
    let first = |n: usize, _: &Seen| (n == 0).then_some(Err(Errno::EFAULT));
    let Some((came_back, calls)) = refused_move(Errno::EFAULT, first) else {
        return skip!("calls can't be refused here: no seccomp");
    };
    assert_eq!((came_back, &*calls), (true, &["mremap".to_owned()][..]));
    // ENOMEM for the first: it can't grow where it is. Then the second is the move itself.
    for (errno, back) in [(Errno::ENOMEM, false), (Errno::EFAULT, false), (Errno::EPERM, true)] {
        let last = |n: usize, _: &Seen| match n {
            0 => Some(Err(Errno::ENOMEM)),
            1 => Some(Err(errno)),
            _ => None,
        };
        let (came_back, calls) = refused_move(errno, last).unwrap();
        assert_eq!((came_back, calls.len()), (back, 2), "{errno}");
    }
}

/// The owners' calls are the kernel's; an allocator's failure is a null pointer.
fn allocation(layout: Layout, new_size: Option<usize>) -> Result<Block, Error> {
    let failed = Err(Error::BadAlignment { align: 0 });
    // SAFETY: sizes are not 0, and blocks are of their own layout.
    unsafe {
        let block = PageAlloc.alloc_zeroed(layout);
        if block.is_null() {
            return failed;
        }
        block.write(7);
        let Some(size) = new_size else { return Ok(Block(block, layout)) };
        let moved = PageAlloc.realloc(block, layout, size);
        if moved.is_null() {
            assert_eq!(block.read(), 7, "the block is as it was");
            drop(Block(block, layout));
            return failed;
        }
        assert_eq!(moved.read(), 7, "the contents are kept");
        Ok(Block(moved, Layout::from_size_align(size, layout.align()).unwrap()))
    }
}

struct Block(*mut u8, Layout);

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout.
        unsafe { PageAlloc.dealloc(self.0, self.1) };
    }
}

/// A refused `munmap` is the exception: what it would have unmapped stays mapped, and nothing else.
#[test]
fn the_allocator_leaves_nothing_but_what_the_kernel_refuses_to_unmap() {
    let page = page();
    let layout = |align| Layout::from_size_align(3 * page, align).unwrap();
    for (layout, new_size) in [
        (layout(1), None),
        (layout(1), Some(page)),
        (layout(1), Some(64 * MIB)),
        (layout(4 * MIB), None),
        (layout(4 * MIB), Some(page)),
        (layout(4 * MIB), Some(64 * MIB)),
    ] {
        let Some(runs) = each_refused(Errno::ENOMEM, || allocation(layout, new_size)) else {
            skip!("calls can't be refused here: no seccomp");
            return;
        };
        for Run { refused, call, told, .. } in runs {
            let kept = match (&*refused.1, call.unwrap().operation()) {
                ("munmap", rawmap::Operation::Munmap { len, .. }) => len,
                _ => 0,
            };
            let what = (layout, new_size, refused, told.result);
            assert_eq!((told.gained, told.lost), (kept, 0), "{what:?}");
        }
    }
}

#[test]
fn a_refused_mremap_makes_realloc_copy() {
    let layout = Layout::from_size_align(3 * page(), 1).unwrap();
    let Some(runs) = each_refused(Errno::EFAULT, || allocation(layout, Some(MIB))) else {
        skip!("calls can't be refused here: no seccomp");
        return;
    };
    assert_eq!(runs[1].refused.1, "mremap");
    assert_eq!(runs[1].told.result, Some(Ok(())));
}

#[test]
fn finding_the_limits_leaves_nothing_but_a_page_that_the_kernel_refuses_to_unmap() {
    let found = || {
        let to_error = |errno| Error::Refused { call: Call::munlockall(), errno };
        let limits = Limits::find().map_err(to_error)?;
        std::hint::black_box(limits);
        Ok(())
    };
    let Some(runs) = each_refused(Errno::EPERM, found) else {
        skip!("calls can't be refused here: no seccomp");
        return;
    };
    for Run { refused, told, .. } in runs {
        let kept = if refused.1 == "munmap" { page() } else { 0 };
        assert_eq!((told.gained, told.lost), (kept, 0), "{refused:?}");
        assert_eq!(told.result.unwrap().unwrap_err().errno(), Errno::EPERM, "{refused:?}");
    }
}

#[test]
fn finding_the_page_size_says_why_it_can_not_or_makes_no_call() {
    let child = || {
        watch();
        let found = PageSize::find();
        unwatch();
        assert_eq!(found, PageSize::FIXED.ok_or(Errno::ENOSYS));
    };
    match supervise(child, |_, _| Some(Err(Errno::ENOSYS))) {
        Some((end, seen)) => {
            assert_eq!((end, seen.is_empty()), (OK, PageSize::FIXED.is_some()));
        }
        None => skip!("calls can't be refused here: no seccomp"),
    }
}
