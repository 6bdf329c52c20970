//! What is built on mappings: rings over files and queues, code near other code, huge pages, sealed memory.
mod common;
use common::supervised::{Seen, supervise, unwatch, watch};
use common::*;
use rawmap::{
    Advice, DualMapping, Errno, Error, Fd, HugePages, MapOptions, Mode, MremapFlags, Operation,
    Prot, Queue, Refused, Reservation, Ring, Sharing, Words,
};
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicUsize, Ordering};

fn lent(file: &File) -> Fd<'_> {
    // SAFETY: it is open for as long as the file is borrowed.
    unsafe { Fd::borrow_raw(file.as_raw_fd()) }
}

/// What a child told of an operation.
#[derive(Debug)]
struct Told {
    /// Its error; `None` if it succeeded.
    error: Option<Errno>,
    /// Bytes that are mapped afterwards and were not before, and the other way round.
    gained: usize,
    lost: usize,
}

/// Answers a call in the kernel's stead, or not.
type Judge<'a> = &'a mut dyn FnMut(usize, &Seen) -> Option<Result<usize, Errno>>;

/// The calls of an operation; each of them is also refused, with each of the errors that a filter gives, as are
/// all later ones of the same name: the operation fails with that error, and all is mapped that was, and nothing
/// more. But where the call's name is in `harmless`: then it succeeds. `None` where calls can't be refused.
///
/// Not `fstat`, which mapping a file may cost or not, by the address that it comes to lie at.
fn each_refused<P, T>(
    harmless: &[&str],
    prepare: impl Fn() -> P,
    operation: impl Fn(&mut P) -> Result<T, Error>,
) -> Option<Vec<String>> {
    let run = |judge: Judge| {
        let shared = Words::<AtomicUsize>::of_width(3).unwrap();
        let child = || {
            rawmap::prepare().unwrap();
            let mut prepared = prepare();
            let (mut before, mut after) = (Space::new(), Space::new());
            before.look();
            watch();
            let result = operation(&mut prepared);
            unwatch();
            let error = result.as_ref().map_or_else(|error| error.errno().raw() as usize, |_| 0);
            drop(result);
            after.look();
            let told = [error, missing(&before, &after), missing(&after, &before)];
            shared.iter().zip(told).for_each(|(word, told)| word.store(told, Ordering::Relaxed));
        };
        let (end, seen) = supervise(child, judge)?;
        assert_eq!(end, OK, "{seen:?}");
        let [error, gained, lost] = [0, 1, 2].map(|n| shared[n].load(Ordering::Relaxed));
        let error = (error != 0).then(|| Errno::from_raw(error as i32).unwrap());
        Some((seen, Told { error, gained, lost }))
    };
    let (seen, told) = run(&mut |_, _| None)?;
    assert!(told.error.is_none() && told.gained == 0, "{told:?}");
    let counts = |it: &Seen| it.name() != "fstat";
    let names: Vec<_> = seen.iter().filter(|it| counts(it)).map(Seen::name).collect();
    for (which, name) in names.iter().enumerate() {
        for errno in [Errno::EPERM, Errno::ENOSYS, Errno::ENOMEM] {
            let (mut before, mut number) = (0, None);
            let (seen, told) = run(&mut |_, it| {
                if before == which && counts(it) {
                    number = number.or(Some(it.number));
                }
                before += usize::from(counts(it));
                (number == Some(it.number)).then_some(Err(errno))
            })?;
            let expected = (!harmless.contains(&&**name)).then_some(errno);
            let what = format!("call {which} of {names:?} refused with {errno}: {seen:?}");
            assert_eq!(told.error, expected, "{what}");
            if expected.is_some() {
                // A place stays that the kernel may have unmapped, for all that its error tells.
                let target = |it: &Seen| match it.call?.operation() {
                    Operation::Mremap { new_len, flags, .. }
                        if flags.contains(MremapFlags::FIXED) && errno == Errno::ENOMEM =>
                    {
                        Some(new_len)
                    }
                    _ => None,
                };
                let refused = seen.iter().filter(|it| it.refused.is_some());
                let stays = refused.filter_map(target).sum();
                assert!(told.gained <= stays && told.lost == 0, "{told:?}: {what}");
            }
        }
    }
    Some(names)
}

/// How many bytes of `there` are not mapped `here`.
fn missing(here: &Space, there: &Space) -> usize {
    let both = |(start, end): &(usize, usize)| -> usize {
        let common = |(from, to): &(usize, usize)| end.min(to).saturating_sub(*start.max(from));
        there.ranges.iter().map(common).sum()
    };
    there.bytes() - here.ranges.iter().map(both).sum::<usize>()
}

/// The calls of an operation, which leaves nothing when one is refused; or the test says why not, and returns.
macro_rules! leaves_nothing {
    ($harmless:expr, $operation:expr) => {
        leaves_nothing!($harmless, || (), |()| $operation())
    };
    ($harmless:expr, $prepare:expr, $operation:expr) => {
        match each_refused(&$harmless, $prepare, $operation) {
            Some(names) => names,
            None => return skip!("calls can't be refused here: no seccomp"),
        }
    };
}

fn ring_over(file: &File, offset: u64, len: usize) -> Result<Ring, Error> {
    // SAFETY: the files of these tests keep their length, and who shares them minds what is borrowed.
    unsafe { Ring::over(lent(file), offset, len) }
}

#[test]
fn a_ring_over_a_file_is_the_files_bytes_twice() {
    let file = file_of_pages(4);
    let (page, len) = (page(), 2 * page());
    let mut ring = ring_over(&file, page as u64, len).unwrap();
    assert_eq!(
        (ring.len(), ring.slice(0, 1), ring.slice(len - 1, 2)),
        (len, &[2][..], &[3, 2][..])
    );
    ring.slice_mut(len - 1, 3).copy_from_slice(b"end");
    let bytes = std::fs::read(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap();
    assert_eq!(bytes[page..page + 2], *b"nd");
    assert_eq!((bytes[page - 1], bytes[3 * page - 1], bytes[3 * page]), (1, b'e', 4));
}

#[test]
fn a_dropped_ring_over_a_file_leaves_nothing() {
    let file = memfd(4 * page() as u64);
    alone(|| {
        let mut space = Space::new();
        let before = space.bytes();
        let ring = ring_over(&file, 0, 4 * page()).unwrap();
        space.look();
        assert_eq!(space.bytes() - before, 8 * page());
        // By address, and owned again.
        let parts = ring.into_raw().into_raw_parts();
        // SAFETY: these are the parts of a ring, used once.
        let ring = unsafe { Ring::from_raw(rawmap::Mapping::from_raw_parts(parts).unwrap()) };
        assert_eq!(ring.len(), 4 * page());
        drop(ring);
        space.look();
        assert_eq!(space.bytes(), before);
    });
}

#[test]
fn a_refused_ring_over_a_file_leaves_nothing() {
    // Asked beforehand: where the page size is no constant, msync tells it, which would be refused as well.
    let page = page();
    let file = memfd(page as u64);
    let calls = leaves_nothing!([], (|| ring_over(&file, 0, page)));
    assert_eq!(calls, ["mmap", "mmap", "mmap", "mremap", "mremap"]);
}

#[test]
fn a_ring_over_what_it_can_not_have_is_an_error() {
    let (page, file) = (page(), memfd(page() as u64));
    let text = |offset, len| ring_over(&file, offset, len).unwrap_err().to_string();
    assert_eq!(text(1, page), format!("Ring::over: the offset 1 is not a multiple of {page}"));
    assert_eq!(text(0, 1), format!("Ring::over: the length 1 is not a multiple of {page}"));
    assert!(text(0, isize::MAX as usize / page * page).contains("the length 922337203685"));
    assert!(text(0, 0).ends_with("EINVAL: invalid argument: the length is 0"));
    let folder = File::open("/").unwrap();
    let refused = ring_over(&folder, 0, page).unwrap_err();
    assert!(matches!(refused.errno(), Errno::EACCES | Errno::ENODEV), "{refused}");
    let read_only = File::open("/proc/self/exe").unwrap();
    assert_eq!(ring_over(&read_only, 0, page).unwrap_err().errno(), Errno::EACCES);
}

/// Two processes that have no parent in common but this one, which has not mapped the file: one writes numbers
/// in records of nine bytes, which wrap everywhere, the other one reads them.
#[test]
fn unrelated_processes_share_a_ring() {
    const ME: &str = "unrelated_processes_share_a_ring";
    const COUNT: u64 = 20_000;
    let len = page();
    if let Ok(side) = std::env::var("SIDE") {
        // SAFETY: its standard input is the file, which nothing else here uses.
        let file = unsafe { File::from_raw_fd(0) };
        let bytes = MapOptions::new(2 * size_of::<usize>())
            .file_raw(lent(&file), len as u64, RW, Sharing::Shared)
            .unwrap();
        // SAFETY: both processes use two `AtomicUsize`, and the file keeps its length.
        let positions: Words<AtomicUsize> = unsafe { Words::from_raw(bytes).unwrap() };
        let (tail, head) = (&positions[0], &positions[1]);
        let mut ring = ring_over(&file, 0, len).unwrap();
        let start = std::time::Instant::now();
        for n in 0..COUNT {
            let at = n as usize * 9;
            let record: Vec<u8> = n.to_le_bytes().into_iter().chain([n as u8]).collect();
            let ready = || match &*side {
                "write" => at + 9 <= head.load(Ordering::Acquire) + len,
                _ => at + 9 <= tail.load(Ordering::Acquire),
            };
            while !ready() {
                assert!(start.elapsed().as_secs() < 60, "waited for the other side");
                std::thread::yield_now();
            }
            if side == "write" {
                ring.slice_mut(at, 9).copy_from_slice(&record);
                tail.store(at + 9, Ordering::Release);
            } else {
                assert_eq!(ring.slice(at, 9), record);
                head.store(at + 9, Ordering::Release);
            }
        }
        return;
    }
    let file = memfd(2 * len as u64);
    let sides = ["write", "read"]
        .map(|side| start(exec_self(ME, &[("SIDE", side)]).stdin(file.try_clone().unwrap())));
    sides.into_iter().for_each(assert_passed);
}

#[test]
fn a_queue_hands_out_records_in_one_piece_wherever_they_wrap() {
    let mut queue = Queue::new(1).unwrap();
    assert_eq!(queue.capacity(), page());
    assert_eq!((queue.unread().len(), queue.room().len()), (0, page()));
    let (mut written, mut taken) = (0_usize, 0_usize);
    let record = |n: usize| format!("record {n} {}\n", "x".repeat(n * 7 % 300)).into_bytes();
    for _ in 0..5000 {
        while queue.room().len() >= record(written).len() {
            let bytes = record(written);
            queue.room()[..bytes.len()].copy_from_slice(&bytes);
            queue.written(bytes.len());
            written += 1;
        }
        assert_eq!(queue.take_until(b'\n').unwrap(), record(taken));
        taken += 1;
    }
    while let Some(line) = queue.take_until(b'\n') {
        assert_eq!(line, record(taken));
        taken += 1;
    }
    assert_eq!((taken, queue.unread().len(), queue.room().len()), (written, 0, page()));
    // Full to its last byte, without an end.
    queue.room().fill(1);
    queue.written(page());
    assert_eq!((queue.take_until(b'\n').is_none(), queue.room().len()), (true, 0));
    queue.consume(page());
    assert_eq!((queue.unread().len(), queue.into_ring().len()), (0, page()));
}

#[test]
fn more_written_or_consumed_than_there_is_is_a_panic() {
    let panics = |f: &dyn Fn(&mut Queue)| {
        let mut queue = Queue::new(1).unwrap();
        queue.written(10);
        let f = std::panic::AssertUnwindSafe(|| f(&mut queue));
        assert!(std::panic::catch_unwind(f).is_err());
        assert_eq!(queue.unread().len(), 10, "and changes nothing");
    };
    panics(&|queue| queue.consume(11));
    panics(&|queue| queue.written(page() - 9));
    panics(&|queue| queue.written(usize::MAX));
    panics(&|queue| queue.consume(usize::MAX));
}

#[cfg(feature = "std")]
mod with_std {
    use super::*;
    use std::io::{BufRead, Read};

    /// What reads in pieces of odd lengths, and is interrupted now and then.
    struct Source<'a>(&'a [u8], usize);

    impl Read for Source<'_> {
        fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
            self.1 += 1;
            if self.1 % 5 == 0 {
                return Err(std::io::ErrorKind::Interrupted.into());
            }
            let most = out.len().min(self.1 * 13 % 1000 + 1);
            self.0.read(&mut out[..most])
        }
    }

    /// What takes a little at a time, and fails when it has so many bytes.
    struct Sink(Vec<u8>, usize);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let room = self.1 - self.0.len();
            if room == 0 {
                return Err(std::io::ErrorKind::StorageFull.into());
            }
            self.0.write(&bytes[..bytes.len().min(room).min(100)])
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_queue_fills_from_a_read_and_drains_to_a_write() {
        // More than the sink takes and the queue holds, however large its page is.
        let text: Vec<u8> = (0..100_000 + page()).map(|n| (n % 251) as u8).collect();
        let (mut queue, mut source, mut sink) =
            (Queue::new(1).unwrap(), Source(&text, 0), Sink(vec![], 60_000));
        let refused = loop {
            if queue.fill_from(&mut source).unwrap() == 0 {
                panic!("the sink is full before that");
            }
            // Some stays, so that it wraps.
            if queue.unread().len() > 500 {
                if let Err(refused) = queue.drain_to(&mut sink) {
                    break refused;
                }
            }
        };
        assert_eq!(refused.kind(), std::io::ErrorKind::StorageFull);
        assert_eq!(sink.0, text[..60_000]);
        // What the sink did not take is still there.
        let rest = queue.unread().len();
        assert_eq!(queue.unread(), &text[60_000..60_000 + rest]);
        while !queue.room().is_empty() {
            assert_ne!(queue.fill_from(&mut source).unwrap(), 0);
        }
        let full = queue.fill_from(&mut source).unwrap_err();
        assert_eq!(full.raw_os_error(), Some(Errno::ENOBUFS.raw()));
        let zero = queue.drain_to(&mut [][..]).unwrap_err();
        assert_eq!((zero.kind(), queue.unread().len()), (std::io::ErrorKind::WriteZero, page()));
    }

    #[test]
    fn a_queue_reads_and_writes_as_a_deque_of_bytes_does() {
        let (mut queue, mut deque) = (Queue::new(1).unwrap(), std::collections::VecDeque::new());
        let bytes: Vec<u8> = (0..=255).cycle().take(3000).collect();
        for n in 0..2000 {
            let chunk = &bytes[n..n + n * 31 % 900];
            let room = queue.room().len();
            let count = queue.write(chunk).unwrap();
            assert_eq!(count, chunk.len().min(room));
            deque.write_all(&chunk[..count]).unwrap();
            assert!(count == chunk.len() || queue.write_all(b"x").is_err());
            let (mut ours, mut theirs) = (vec![0; n * 17 % 800], vec![0; n * 17 % 800]);
            let count = queue.read(&mut ours).unwrap();
            // A deque gives what lies in one piece, a queue all.
            assert_eq!(count, ours.len().min(deque.len()));
            deque.read_exact(&mut theirs[..count]).unwrap();
            assert_eq!(ours, theirs);
            if n % 7 == 0 {
                assert!(deque.iter().eq(queue.fill_buf().unwrap()));
                let some = queue.unread().len() / 2;
                BufRead::consume(&mut queue, some);
                deque.drain(..some);
            }
        }
        queue.flush().unwrap();
        let (mut left, rest) = (Vec::new(), Vec::from(deque));
        queue.read_until(7, &mut left).unwrap();
        queue.read_to_end(&mut left).unwrap();
        assert_eq!(left, rest);
        assert_eq!(queue.fill_buf().unwrap(), b"");
    }
}

/// Machine code that jumps so many bytes ahead, counted from its own start.
fn jump(distance: usize) -> Vec<u8> {
    let distance = distance as u32;
    match std::env::consts::ARCH {
        // jmp rel32, counted from the next instruction
        "x86_64" => [&[0xe9][..], &(distance - 5).to_le_bytes()].concat(),
        // b
        "aarch64" => (0x1400_0000 | (distance / 4)).to_le_bytes().to_vec(),
        // jal x0
        "riscv64" => {
            let bits = |from: u32, count: u32| (distance >> from) & ((1 << count) - 1);
            let at = (bits(20, 1) << 31)
                | (bits(1, 10) << 21)
                | (bits(11, 1) << 20)
                | (bits(12, 8) << 12);
            (at | 0x6f).to_le_bytes().to_vec()
        }
        arch => panic!("no code for {arch}"),
    }
}

fn run(code: &DualMapping, offset: usize) -> i32 {
    // SAFETY: a function without arguments that returns a number was written there, and published.
    unsafe {
        let function = code.run_ptr().wrapping_add(offset);
        std::mem::transmute::<*const u8, extern "C" fn() -> i32>(function)()
    }
}

/// Two pieces of code of a page each, side by side: the first jumps to the second, which returns 42.
fn two_parts() -> [DualMapping; 2] {
    let mut space = Reservation::new(2 * page(), Mode::Strict).unwrap();
    let second = space.split_off(page()).unwrap();
    let at = space.as_ptr().cast_const();
    let [mut caller, mut callee] = [0; 2].map(|_| DualMapping::new(page()).unwrap());
    let jump = jump(page());
    // Before it is moved and after it.
    caller.write(0, &jump[..2]).unwrap();
    caller.place_run(space).unwrap();
    caller.write(2, &jump[2..]).unwrap();
    callee.write(0, RETURN_42).unwrap();
    callee.place_run(second).unwrap();
    for code in [&caller, &callee] {
        code.publish(..).unwrap();
    }
    assert_eq!((caller.run_ptr(), callee.run_ptr()), (at, at.wrapping_add(page())));
    [caller, callee]
}

#[test]
fn code_reaches_code_beside_it() {
    let [caller, callee] = two_parts();
    assert_eq!((run(&caller, 0), run(&callee, 0)), (42, 42));
    let write_ptr = callee.write_ptr();
    assert_eq!(running(callee.run_ptr().cast_mut()), End::Exit(42));
    assert_eq!((writing(write_ptr), writing(callee.run_ptr().cast_mut())), (OK, SEGV));
}

/// `PR_SET_MDWE`: no memory gains the right to be run.
#[test]
fn code_is_placed_where_memory_may_not_become_executable() {
    const PR_SET_MDWE: i32 = 65;
    const REFUSE_EXEC_GAIN: usize = 1;
    const UNKNOWN: i32 = 7;
    let end = in_child(|| {
        // SAFETY: it is for this child.
        if unsafe { libc::prctl(PR_SET_MDWE, REFUSE_EXEC_GAIN, 0, 0, 0) } != 0 {
            return UNKNOWN;
        }
        let memory = MapOptions::new(page()).anonymous().unwrap();
        let refused = memory.make_executable().unwrap_err();
        assert_eq!(refused.error().errno(), Errno::EACCES);
        run(&two_parts()[0], 0)
    });
    match end {
        End::Exit(UNKNOWN) => skip!("there is no PR_SET_MDWE here"),
        end => assert_eq!(end, End::Exit(42)),
    }
}

#[test]
fn code_whose_place_is_refused_stays_where_it_is() {
    let prepare = || {
        let mut code = DualMapping::new(page()).unwrap();
        code.write(0, RETURN_42).unwrap();
        code.publish(..).unwrap();
        (code, Some(Reservation::new(page(), Mode::Strict).unwrap()))
    };
    let place = |(code, place): &mut (DualMapping, Option<Reservation>)| {
        let at = code.run_ptr();
        code.place_run(place.take().unwrap()).map_err(|refused| {
            let error = refused.error();
            assert_eq!((code.run_ptr(), run(code, 0)), (at, 42));
            *place = refused.into_owner();
            let moved = matches!(error.call().unwrap().operation(), Operation::Mremap { .. });
            assert_eq!(place.is_some(), !(moved && error.errno() == Errno::ENOMEM));
            error
        })
    };
    let calls = leaves_nothing!([], prepare, place);
    assert_eq!(calls, ["madvise", "mremap"]);
}

#[test]
fn a_place_of_another_length_is_refused_and_comes_back() {
    let mut code = DualMapping::new(page()).unwrap();
    for len in [2 * page(), 0] {
        let mut place = Reservation::new(2 * page(), Mode::Strict).unwrap();
        drop(place.split_off(len).unwrap());
        type Placing = fn(&mut DualMapping, Reservation) -> Result<(), Refused<Reservation>>;
        let ways: [(&str, Placing); 2] =
            [("run", DualMapping::place_run), ("written", DualMapping::place_written)];
        for (view, placing) in ways {
            let refused = placing(&mut code, place).unwrap_err();
            let wrong = format!("the mapping's length {} is not {len}", page());
            assert_eq!(refused.to_string(), format!("DualMapping::place_{view}: {wrong}"));
            place = refused.into_owner().unwrap();
            assert_eq!(place.len(), len);
        }
    }
}

#[test]
fn the_view_that_is_written_is_placed_at_a_distance() {
    let mut run_at = Reservation::new(4 * page(), Mode::Overcommit).unwrap();
    let written_at = run_at.split_off(2 * page()).unwrap();
    let mut code = DualMapping::new(2 * page()).unwrap();
    code.write(page(), RETURN_42).unwrap();
    code.place_run(run_at).unwrap();
    code.place_written(written_at).unwrap();
    code.publish(..).unwrap();
    assert_eq!(code.run_ptr().wrapping_add(2 * page()), code.write_ptr());
    assert_eq!(run(&code, page()), 42);
}

#[test]
fn pieces_of_code_live_by_themselves() {
    let mut low = DualMapping::new(3 * page()).unwrap();
    for n in 0..3 {
        low.write(n * page(), RETURN_42).unwrap();
    }
    low.publish(..).unwrap();
    assert!(low.split_off(1).is_err() && low.split_off(4 * page()).is_err());
    assert_eq!(low.len(), 3 * page());
    let mut middle = low.split_off(page()).unwrap();
    let mut high = middle.split_off(page()).unwrap();
    let lens = [&low, &middle, &high].map(|code| (code.len(), run(code, 0)));
    assert_eq!(lens, [(page(), 42); 3]);
    // Where no other thread maps anything.
    alone(|| {
        let (run_at, written_at) = (middle.run_ptr().cast_mut(), middle.write_ptr());
        drop(middle);
        let mut space = Space::new();
        space.look();
        assert!(space.lacks(run_at, page()) && space.lacks(written_at, page()));
        assert_eq!((run(&low, 0), run(&high, 0)), (42, 42));
    });
    let none = high.split_off(page()).unwrap();
    assert!(none.is_empty() && none.publish(..).is_ok());
    let all = high.split_off(0).unwrap();
    assert_eq!((all.len(), high.len(), run(&all, 0)), (page(), 0, 42));
}

/// The place of code that is done with takes other code.
#[test]
fn a_place_is_used_again() {
    let [caller, callee] = two_parts();
    let (written, run_view) = callee.into_parts();
    let at = run_view.as_ptr();
    let place = run_view.into_reservation(Mode::Strict).unwrap();
    drop(written);
    let mut next = DualMapping::new(page()).unwrap();
    next.write(0, RETURN_42).unwrap();
    next.place_run(place).unwrap();
    next.publish(..).unwrap();
    assert_eq!((next.run_ptr(), run(&caller, 0)), (at.cast_const(), 42));
    let (written, run_view) = next.into_parts();
    // SAFETY: they were one owner just now.
    let next = unsafe { DualMapping::from_parts(written, run_view) };
    assert_eq!(run(&next, 0), 42);
}

#[test]
fn code_is_written_within_its_view_only() {
    let mut code = DualMapping::new(page()).unwrap();
    let len = code.len();
    for offset in [len, len - 1, len + 1, usize::MAX, usize::MAX - 1] {
        let refused = code.write(offset, &[0; 2]).unwrap_err();
        assert_eq!(refused.errno(), Errno::EINVAL);
        assert!(refused.to_string().starts_with("DualMapping::write: the range's "), "{refused}");
    }
    code.write(len - 2, &[1, 2]).unwrap();
    code.write(len, &[]).unwrap();
    assert!(code.publish(..=len).is_err() && code.publish(len..).is_ok());
}

const MIB: usize = 1 << 20;

#[test]
fn the_sizes_of_huge_pages_are_those_that_sysfs_lists() {
    if emulator().is_some() {
        return skip!("the emulator drops the size that MAP_HUGETLB names");
    }
    let found = HugePages::find().unwrap();
    let mut listed: Vec<usize> = match std::fs::read_dir("/sys/kernel/mm/hugepages") {
        Err(_) => Vec::new(),
        Ok(entries) => entries
            .map(|entry| {
                let name = entry.unwrap().file_name().into_string().unwrap();
                let size = name.strip_prefix("hugepages-").unwrap().strip_suffix("kB").unwrap();
                size.parse::<usize>().unwrap() << 10
            })
            .collect(),
    };
    listed.sort();
    assert_eq!(found.sizes().collect::<Vec<_>>(), listed);
    assert_eq!(found.default_size(), huge_page());
}

#[test]
fn asking_for_huge_pages_leaves_nothing() {
    if emulator().is_some() {
        return skip!("the emulator drops the size that MAP_HUGETLB names");
    }
    alone(|| {
        // Neighbours above and below, which must stay: the kernel places downwards, into what is free.
        let neighbours = [0; 8].map(|_| MapOptions::new(4 * MIB).anonymous().unwrap());
        let mut space = Space::new();
        let before = space.ranges.clone();
        for _ in 0..10 {
            HugePages::find().unwrap();
        }
        space.look();
        assert_eq!(space.ranges, before);
        drop(neighbours);
    });
}

/// The sizes of huge pages and the default one, or the number of an error.
type Found = Result<(Vec<usize>, usize), i32>;

/// What is found when calls are answered so, and the calls.
fn found_with(mut judge: impl FnMut(usize, &str) -> Option<Errno>) -> Option<(Found, Vec<String>)> {
    let shared = Words::<AtomicUsize>::of_width(3).unwrap();
    let child = || {
        rawmap::prepare().unwrap();
        let mut space = Space::new();
        let before = space.bytes();
        watch();
        let found = HugePages::find();
        unwatch();
        space.look();
        assert_eq!(space.bytes(), before);
        let told = match found {
            Err(error) => [error.errno().raw() as usize, 0, 0],
            Ok(found) => [0, found.sizes().sum(), found.default_size().unwrap_or(0)],
        };
        shared.iter().zip(told).for_each(|(word, told)| word.store(told, Ordering::Relaxed));
    };
    let (end, seen) = supervise(child, |n, it| judge(n, &it.name()).map(Err))?;
    assert_eq!(end, OK, "{seen:?}");
    let [error, sum, default] = [0, 1, 2].map(|n| shared[n].load(Ordering::Relaxed));
    let sizes = (0..63).filter(|bit| sum >> bit & 1 == 1).map(|bit| 1 << bit).collect();
    let found = if error == 0 { Ok((sizes, default)) } else { Err(error as i32) };
    Some((found, seen.iter().map(Seen::name).collect()))
}

#[test]
fn asking_for_huge_pages_says_what_is_refused_and_takes_no_filter_for_a_size() {
    let Some((Ok((sizes, default)), calls)) = found_with(|_, _| None) else {
        return skip!("calls can't be refused here: no seccomp");
    };
    if sizes.len() < 2 {
        return skip!("this kernel has {} sizes of huge pages", sizes.len());
    }
    let maps = calls.iter().enumerate().filter(|(_, name)| *name == "mmap");
    let maps: Vec<_> = maps.map(|(n, _)| n).collect();
    for &which in &maps {
        for errno in [Errno::ENOMEM, Errno::EPERM] {
            let refuse = |n, _: &str| (n == which).then_some(errno);
            assert_eq!(found_with(refuse).unwrap().0, Err(errno.raw()), "call {which}");
        }
    }
    // A kernel built without them.
    let absent = found_with(|_, name| (name == "mmap").then_some(Errno::EINVAL)).unwrap();
    assert_eq!(absent.0, Ok((vec![], 0)));
    // One whose default is the next larger size: part of a page is not unmapped.
    let first_of_all = maps[maps.len() - 1] + 1;
    let larger = sizes[sizes.iter().position(|size| *size == default).unwrap() + 1];
    let asked = sizes.iter().position(|size| *size == default).unwrap();
    let refuse = |n, _: &str| (n == first_of_all + asked).then_some(Errno::EINVAL);
    assert_eq!(found_with(refuse).unwrap().0, Ok((sizes, larger)));
}

/// The flags that the kernel holds a mapping with, as smaps prints them; none under an emulator.
fn vm_flags(at: *const u8, len: usize) -> Vec<String> {
    let end = at.wrapping_add(len).cast_mut();
    smaps(at.cast_mut(), end).into_iter().map(|(_, fields)| fields["VmFlags"].clone()).collect()
}

/// Whether this kernel has transparent huge pages at all.
fn has_transparent() -> bool {
    std::path::Path::new("/sys/kernel/mm/transparent_hugepage").exists() || emulator().is_some()
}

#[test]
fn transparent_huge_pages_are_aligned_where_they_fit_and_advised() {
    let huge = page() * page() / 8;
    for len in [1, huge - 1, huge, huge + 1, 3 * huge + page()] {
        if len > 256 * MIB {
            skip!("the part of {} MiB: it is for smaller pages", len / MIB);
            continue;
        }
        let options = MapOptions::new(len).transparent_huge();
        if !has_transparent() {
            assert_eq!(options.anonymous().unwrap_err().errno(), Errno::EINVAL);
            continue;
        }
        let mut made = Vec::new();
        for _ in 0..4 {
            let mapping = options.anonymous().unwrap();
            made.push((mapping.as_ptr(), mapping.into_raw()));
            for sharing in [Sharing::Shared, Sharing::Private] {
                let mapping = options.raw(RW, sharing).unwrap();
                made.push((mapping.as_ptr().cast_const(), mapping));
            }
        }
        for (at, mapping) in &made {
            assert!(len < huge || at.addr() % huge == 0, "{len:#x} bytes at {at:p}");
            assert_eq!((mapping.len(), mapping.mapped_len()), (len, len.next_multiple_of(page())));
            if emulator().is_none() {
                let flags = vm_flags(*at, len);
                assert!(flags.iter().all(|it| it.split(' ').any(|it| it == "hg")), "{flags:?}");
            }
        }
    }
}

#[test]
fn transparent_huge_pages_stand_behind_what_is_written() {
    let enabled = std::fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled");
    if emulator().is_some() || !enabled.is_ok_and(|it| !it.contains("[never]")) {
        return skip!("there are none, or the system gives none");
    }
    let huge = page() * page() / 8;
    if huge > 32 * MIB {
        return skip!("one is {} MiB", huge / MIB);
    }
    let mut memory = MapOptions::new(2 * huge).transparent_huge().anonymous().unwrap();
    memory.populate_write(..).unwrap();
    memory[huge] = 1;
    let at = memory.as_ptr().cast_mut();
    let pages: Vec<_> = smaps(at, at.wrapping_add(2 * huge))
        .iter()
        .map(|it| it.1["AnonHugePages"].clone())
        .collect();
    // The kernel has to find free memory in one piece, which it need not.
    if pages.iter().all(|it| it == "0 kB") {
        return skip!("the kernel has no free huge page");
    }
    assert!(pages.iter().any(|it| it != "0 kB"), "{pages:?}");
}

#[test]
fn transparent_huge_pages_that_are_refused_leave_nothing() {
    if !has_transparent() {
        return skip!("there are none");
    }
    let advised = || MapOptions::new(100).transparent_huge().anonymous();
    assert_eq!(leaves_nothing!([], advised), ["mmap", "madvise"]);
    let advised = || MapOptions::new(100).transparent_huge().raw(Prot::NONE, Sharing::Shared);
    assert_eq!(leaves_nothing!([], advised), ["mmap", "madvise"]);
    let file = memfd(100);
    let advised = || {
        let options = MapOptions::whole().transparent_huge();
        options.file_raw(lent(&file), 0, Prot::READ, Sharing::Private)
    };
    assert_eq!(leaves_nothing!([], advised), ["mmap", "madvise"]);
}

#[test]
fn what_fills_pages_at_once_has_no_transparent_huge_ones() {
    let options = MapOptions::new(100).transparent_huge();
    for refused in [options.populate(), options.locked(), options.huge(2 * MIB)] {
        let text = refused.anonymous().unwrap_err().to_string();
        assert!(
            text.starts_with("MapOptions::anonymous: huge, populate and locked fill pages"),
            "{text}"
        );
        assert!(refused.raw(RW, Sharing::Shared).is_err());
    }
}

/// Adds seals to a memory file.
fn seal(file: &File, seals: i32) -> std::io::Result<()> {
    // SAFETY: it seals a file of the test's.
    match unsafe { libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, seals) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

const SEALS: i32 = libc::F_SEAL_WRITE | libc::F_SEAL_SHRINK;

/// A memory file that holds this, sealed against writing and shrinking.
fn sealed(bytes: &[u8]) -> File {
    let mut file = memfd(0);
    file.write_all(bytes).unwrap();
    seal(&file, SEALS).unwrap();
    file
}

/// `MADV_POPULATE_READ`, Linux 5.14.
macro_rules! need_populate {
    () => {
        if emulator().is_none() && kernel() < (5, 14) {
            return skip!("there is no MADV_POPULATE_READ before Linux 5.14");
        }
    };
}

#[test]
fn a_sealed_file_is_a_slice_in_one_line() {
    let bytes: Vec<u8> = (0..3 * page() + 100).map(|n| (n % 251) as u8).collect();
    let file = sealed(&bytes);
    assert_eq!(MapOptions::whole().file_sealed(lent(&file), 0).unwrap()[..], bytes);
    for (offset, len) in [(0, 1), (7, 100), (page() - 1, 2), (3 * page() + 99, 1)] {
        let part = MapOptions::new(len).file_sealed(lent(&file), offset as u64).unwrap();
        assert_eq!(part[..], bytes[offset..offset + len]);
        let rest = MapOptions::whole().file_sealed(lent(&file), offset as u64).unwrap();
        assert_eq!(rest[..], bytes[offset..]);
    }
    // What is changed is a private copy, and what is purged comes back.
    let mut copy =
        MapOptions::whole().file_sealed(lent(&file), 0).unwrap().make_writable().unwrap();
    copy[0] = 77;
    copy.purge(..).unwrap();
    assert_eq!(copy[..], bytes);
    assert!(copy.resize(bytes.len() + page()).is_err(), "it has no page behind its end");
    assert_eq!(MapOptions::whole().file_sealed(lent(&file), bytes.len() as u64).unwrap()[..], []);
    assert_eq!(MapOptions::whole().file_sealed(lent(&sealed(b"")), 0).unwrap()[..], []);
}

#[test]
fn what_is_not_sealed_for_good_is_no_slice() {
    let error = |file: &File| MapOptions::whole().file_sealed(lent(file), 0).unwrap_err();
    for (seals, what) in [
        (0, "is sealed against neither writing (F_SEAL_WRITE) nor shrinking (F_SEAL_SHRINK)"),
        (libc::F_SEAL_WRITE, "is not sealed against shrinking (F_SEAL_SHRINK)"),
        (libc::F_SEAL_SHRINK, "is not sealed against writing (F_SEAL_WRITE)"),
        // F_SEAL_FUTURE_WRITE, F_SEAL_SEAL, F_SEAL_GROW
        (libc::F_SEAL_SHRINK | 0x10 | 1 | 4, "is not sealed against writing (F_SEAL_WRITE)"),
    ] {
        let file = memfd(100);
        seal(&file, seals).unwrap();
        let refused = error(&file);
        assert_eq!(refused.to_string(), format!("MapOptions::file_sealed: the file {what}"));
        assert_eq!((refused.errno(), refused.call()), (Errno::EINVAL, None));
    }
    // Files that have no seals; on tmpfs, a file says that it can't be sealed at all.
    for file in [File::open("/proc/self/exe").unwrap(), File::open("/").unwrap(), temp_file()] {
        let text = error(&file).to_string();
        let known = ["only a memory file (memfd_create) has seals", "is sealed against neither"];
        assert!(known.iter().any(|known| text.contains(known)), "{text}");
    }
}

#[test]
fn more_than_a_sealed_file_has_is_an_error() {
    let file = sealed(&[7; 100]);
    let text = |options: MapOptions, offset| {
        options.file_sealed(lent(&file), offset).unwrap_err().to_string()
    };
    let of_file = |what: &str| format!("MapOptions::file_sealed: the {what}");
    assert_eq!(
        text(MapOptions::new(101), 0),
        of_file("length 101 is more than the 100 bytes that the file has there")
    );
    assert_eq!(
        text(MapOptions::new(100), 1),
        of_file("length 100 is more than the 99 bytes that the file has there")
    );
    assert_eq!(
        text(MapOptions::new(page()), 0),
        of_file(&format!("length {} is more than the 100 bytes that the file has there", page()))
    );
    assert_eq!(text(MapOptions::whole(), 101), of_file("offset 101 is more than the length 100"));
    assert!(text(MapOptions::new(0), 0).ends_with("EINVAL: invalid argument: the length is 0"));
}

/// Who sends a hole has paid nothing for it, and who reads it would.
#[test]
fn a_sealed_file_with_holes_is_no_slice() {
    let file = memfd(1 << 40);
    (&file).write_all(b"x").unwrap();
    seal(&file, SEALS).unwrap();
    let refused = MapOptions::whole().file_sealed(lent(&file), 0).unwrap_err();
    assert!(refused.to_string().contains("the file has holes"), "{refused}");
}

/// A sealed file that another process made, which can be written by nobody.
#[test]
fn nobody_changes_what_is_sealed() {
    let file = memfd(0);
    // SAFETY: a file of the test's own.
    assert_eq!(unsafe { libc::fallocate(file.as_raw_fd(), 0, 0, 4 * page() as i64) }, 0);
    // SAFETY: a new mapping of the test's own.
    let writable = map(&file, page(), RW, rawmap::MapFlags::SHARED, 0).unwrap();
    assert_eq!(seal(&file, SEALS).unwrap_err().raw_os_error(), Some(libc::EBUSY));
    // SAFETY: mapped just now, and not used any more.
    unsafe { rawmap::munmap(writable, page()).unwrap() };
    seal(&file, SEALS).unwrap();
    let map = MapOptions::whole().file_sealed(lent(&file), 0).unwrap();
    if emulator().is_none() {
        assert!(resident(map.as_ptr().cast_mut(), 4).iter().all(|page| *page), "populated");
    }
    let mut other = &file;
    assert_eq!(other.write(b"x").unwrap_err().raw_os_error(), Some(libc::EPERM));
    assert_eq!(file.set_len(1).unwrap_err().raw_os_error(), Some(libc::EPERM));
    // SAFETY: it would change the test's own file.
    let punched = unsafe {
        let how = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
        libc::fallocate(file.as_raw_fd(), how, 0, page() as i64)
    };
    assert_eq!((punched, std::io::Error::last_os_error().raw_os_error()), (-1, Some(libc::EPERM)));
    assert!(common::map(&file, page(), RW, rawmap::MapFlags::SHARED, 0).is_err());
    // It may grow, which is nothing to who has mapped it.
    file.set_len(5 * page() as u64).unwrap();
    assert!(map.len() == 4 * page() && map.iter().all(|byte| *byte == 0));
}

#[test]
fn a_sealed_file_on_huge_pages_is_no_slice() {
    // MFD_HUGETLB | MFD_ALLOW_SEALING
    // SAFETY: a new descriptor.
    let fd = unsafe { libc::memfd_create(c"huge".as_ptr(), 4 | 2) };
    if fd < 0 {
        return skip!("there is no memory file on huge pages: {}", std::io::Error::last_os_error());
    }
    // SAFETY: as above.
    let file = unsafe { File::from_raw_fd(fd) };
    file.set_len(huge_page().unwrap() as u64).unwrap();
    seal(&file, SEALS).unwrap();
    let refused = MapOptions::whole().file_sealed(lent(&file), 0).unwrap_err();
    assert!(refused.to_string().contains("lies on huge pages"), "{refused}");
}

#[test]
fn a_sealed_file_whose_pages_are_refused_leaves_nothing() {
    let file = sealed(&[7; 100]);
    let mapped = || MapOptions::whole().file_sealed(lent(&file), 0);
    assert_eq!(leaves_nothing!([], mapped), ["fcntl", "fstatfs", "mmap", "fallocate"]);
    // By a descriptor that can't write, it can't be had either.
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let read_only = File::open(path).unwrap();
    let refused = MapOptions::whole().file_sealed(lent(&read_only), 0).unwrap_err();
    assert_eq!(refused.errno(), Errno::EBADF);
    assert!(refused.to_string().ends_with("is it open for writing too?"), "{refused}");
}

/// Pages that a sender only ever read are there, and may be dropped: then a later read would need memory.
#[test]
fn a_sealed_file_keeps_pages_that_were_only_ever_read() {
    if emulator().is_some() {
        return skip!("no emulator drops pages by advice");
    }
    need_populate!();
    const LEN: usize = 1 << 20;
    let file = memfd(LEN as u64);
    let options = MapOptions::new(LEN);
    let read = options.file_raw(lent(&file), 0, Prot::READ, Sharing::Private).unwrap();
    read.populate_read(..).unwrap();
    drop(read);
    seal(&file, SEALS).unwrap();
    let map = options.file_sealed(lent(&file), 0).unwrap();
    map.advise(.., Advice::PAGEOUT).unwrap();
    assert_eq!(file.metadata().unwrap().blocks() * 512, LEN as u64);
    assert!(map.iter().all(|byte| *byte == 0));
}

/// Answers one call of every later one of this thread with an error: by a filter, for a child of its own.
fn answer(number: usize, errno: Errno) -> bool {
    const RETURN_ERRNO: u32 = 0x0005_0000; // SECCOMP_RET_ERRNO
    const ALLOW: u32 = 0x7fff_0000;
    let line = |code, k, jf| libc::sock_filter { code, jt: 0, jf, k };
    let mut program = [
        line(0x20, 0, 0),             // BPF_LD | BPF_W | BPF_ABS: the number
        line(0x15, number as u32, 1), // BPF_JMP | BPF_JEQ | BPF_K
        line(0x06, RETURN_ERRNO | errno.raw() as u32, 0), // BPF_RET | BPF_K
        line(0x06, ALLOW, 0),
    ];
    let program = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: a filter of so many lines, which is for this child.
    unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        libc::prctl(libc::PR_SET_SECCOMP, 2, &raw const program) == 0
    }
}

#[test]
fn what_the_seals_can_not_be_asked_by_is_an_error() {
    use rawmap::arch::nr;
    const NO_FILTER: i32 = 7;
    let file = sealed(&[7; 100]);
    for (number, name) in
        [(nr::FCNTL, "fcntl(F_GET_SEALS)"), (nr::FSTATFS, "fstatfs"), (nr::FSTAT, "fstat")]
    {
        for errno in [Errno::EPERM, Errno::ENOSYS] {
            let end = in_child(|| {
                rawmap::prepare().unwrap();
                if !answer(number, errno) {
                    return NO_FILTER;
                }
                let mut space = Space::new();
                let before = space.bytes();
                let refused = MapOptions::whole().file_sealed(lent(&file), 0).unwrap_err();
                space.look();
                let said = refused.to_string().starts_with(&format!("{name} of descriptor "));
                i32::from(!(said && refused.errno() == errno && space.bytes() == before))
            });
            if end == End::Exit(NO_FILTER) {
                return skip!("calls can't be refused here: no seccomp");
            }
            assert_eq!(end, OK, "{name} refused with {errno}");
        }
    }
}
