//! `Ring`, `DualMapping`, `Stack` and `PageAlloc`: memory in special shapes.
mod common;
use common::*;
use rawmap::arch::nr;
use rawmap::{
    DualMapping, Errno, MapOptions, MlockAllFlags, Mode, PageAlloc, Prot, Reservation, Ring, Stack,
};
use std::alloc::{GlobalAlloc, Layout};
use std::sync::atomic::{AtomicU32, Ordering};

const MIB: usize = 1 << 20;

/// Answers a call of this thread with an error in the kernel's place, from here on: for children only.
/// False where there is no such thing.
#[must_use]
fn refuse(number: usize, errno: Errno) -> bool {
    const LOAD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
    const JUMP_IF_EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
    const RETURN: u16 = 0x06; // BPF_RET | BPF_K
    const ALLOW: u32 = 0x7fff_0000;
    const ANSWER: u32 = 0x0005_0000; // SECCOMP_RET_ERRNO
    let line = |code, k, jf| libc::sock_filter { code, jt: 0, jf, k };
    let mut lines = [
        line(LOAD, 0, 0),
        line(JUMP_IF_EQUAL, number as u32, 1),
        line(RETURN, ANSWER | errno.raw() as u32, 0),
        line(RETURN, ALLOW, 0),
    ];
    let filter = libc::sock_fprog { len: lines.len() as u16, filter: lines.as_mut_ptr() };
    // SAFETY: a filter of so many lines; it is for this child.
    unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &filter) == 0
    }
}

/// As [`refuse`]; where it can't be, the test is skipped.
macro_rules! refuse_or_skip {
    ($number:expr, $errno:expr) => {
        if !refuse($number, $errno) {
            return skip!("calls can't be refused here: no seccomp");
        }
    };
}

/// How many descriptors are open.
fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn a_ring_holds_each_byte_at_two_places() {
    let mut ring = Ring::new(1).unwrap();
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
    let mut ring = Ring::new(1).unwrap();
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
    let mut ring = Ring::new(4096).unwrap();
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
    let ring = Ring::new(1).unwrap();
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
    alone(|| {
        let mut space = Space::new();
        let before = space.bytes();
        let all = (Ring::new(MIB), DualMapping::new(MIB), Stack::new(MIB));
        space.look();
        assert_eq!(space.bytes() - before, 5 * MIB + Stack::GUARD.next_multiple_of(page()));
        drop(all);
        space.look();
        assert_eq!(space.bytes(), before);
    });
}

#[test]
fn lengths_that_can_not_be_are_refused() {
    let (max, most) = (isize::MAX as usize, most(page()));
    // A ring has two pages more while it is made.
    let ring = most / 2 / page() * page() - page();
    let guarded = most - Stack::GUARD.next_multiple_of(page());
    for len in [max, usize::MAX - page(), usize::MAX] {
        let errors = [
            (Ring::new(len).unwrap_err(), "Ring::new", ring),
            (DualMapping::new(len).unwrap_err(), "DualMapping::new", most),
            (Stack::new(len).unwrap_err(), "Stack::new", guarded),
            (Stack::with_guard(len, 0).unwrap_err(), "Stack::with_guard", most),
        ];
        for (error, operation, limit) in errors {
            assert_eq!(error.argument(), Some(("the length", len, Some(limit))), "{error}");
            assert!(error.to_string().starts_with(&format!("{operation}: ")), "{error}");
            assert_eq!(error.errno(), Errno::ENOMEM);
        }
    }
    let error = Ring::new(ring + 1).unwrap_err();
    assert_eq!(error.argument(), Some(("the length", ring + 1, Some(ring))));
    assert!(Ring::new(ring).unwrap_err().call().is_some(), "which is the kernel's to refuse");
    assert_eq!(Stack::new(most).unwrap_err().errno(), Errno::ENOMEM, "with the guard it is more");
    assert!(DualMapping::new(0).unwrap_err().to_string().ends_with("the length is 0"));
    let none = [
        (Ring::new(0).map(drop), "Ring::new"),
        (Stack::new(0).map(drop), "Stack::new"),
        (Stack::with_guard(0, 0).map(drop), "Stack::with_guard"),
    ];
    for (refused, operation) in none {
        let error = refused.unwrap_err();
        assert_eq!(error.to_string(), format!("{operation}: the length is 0"));
        assert_eq!(error.errno(), Errno::EINVAL);
    }
}

/// Where a filter or an emulator refuses to map memory again, its pages are those of a file.
#[test]
fn a_ring_is_made_of_a_memory_file_where_mremap_is_refused() {
    for errno in [Errno::EPERM, Errno::ENOSYS, Errno::ENOMEM] {
        alone(|| {
            refuse_or_skip!(nr::MREMAP, errno);
            let mut space = Space::new();
            let (before, open) = (space.bytes(), descriptors());
            let mut ring = Ring::new(3 * page()).unwrap();
            assert_eq!(descriptors(), open, "the file is closed");
            space.look();
            assert_eq!(space.bytes() - before, 6 * page() + stays(errno, 3 * page()));
            let len = ring.len();
            ring.slice_mut(len - 2, 4).copy_from_slice(b"wrap");
            assert_eq!((ring.slice(0, 2), ring.slice(2 * len - 2, 2)), (&b"ap"[..], &b"wr"[..]));
            drop(ring);
            space.look();
            assert_eq!(space.bytes(), before + stays(errno, 3 * page()));
        });
    }
}

/// What stays mapped of a ring's half that could not be mirrored: where the kernel may say so of one that it has
/// unmapped, and nothing can tell whose it is, since a filter answers every `mremap` so.
fn stays(errno: Errno, half: usize) -> usize {
    if matches!(errno, Errno::EPERM | Errno::EACCES | Errno::ENOSYS) { 0 } else { half }
}

#[test]
fn where_no_file_can_be_had_either_the_first_refusal_is_the_error_and_nothing_stays() {
    for errno in [Errno::EPERM, Errno::ENOMEM, Errno::EAGAIN, Errno::EFAULT] {
        alone(|| {
            refuse_or_skip!(nr::MREMAP, errno);
            refuse_or_skip!(libc::SYS_memfd_create as usize, Errno::ENOSYS);
            let mut space = Space::new();
            let before = space.bytes();
            for error in [Ring::new(MIB).unwrap_err(), DualMapping::new(MIB).unwrap_err()] {
                assert!(
                    error.errno() == errno && error.to_string().starts_with("mremap("),
                    "{error}"
                );
            }
            space.look();
            assert_eq!(space.bytes(), before + stays(errno, MIB));
        });
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

/// Processors may keep code by address, also where it was moved to.
#[test]
fn code_that_is_moved_to_where_other_code_has_run_is_published_and_runs() {
    let mut place = Reservation::new(page(), Mode::Strict).unwrap();
    let at = place.as_ptr().cast_const();
    for n in 0..20 {
        let mut code = MapOptions::new(page()).anonymous().unwrap();
        code[..returns(n).len()].copy_from_slice(&returns(n));
        let mut code = code.make_executable().unwrap();
        place.place(&mut code).unwrap();
        code.publish(..).unwrap();
        assert_eq!(code.as_ptr(), at);
        // SAFETY: a function without arguments lies there.
        let function: extern "C" fn() -> i32 = unsafe { std::mem::transmute(at) };
        assert_eq!(function(), i32::from(n));
        assert!(code.publish(..=page()).is_err());
        place = code.into_reservation(Mode::Strict).unwrap();
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
    if emulator_runs_old_code() {
        return skip!("the emulator goes on running what it has translated of the other view");
    }
    let mut code = DualMapping::new(page()).unwrap();
    assert_eq!(returns(42), RETURN_42);
    for n in 0..100 {
        code.write(0, &returns(n)).unwrap();
        code.publish(..).unwrap();
        assert_eq!(run(&code, 0), i32::from(n));
        code.write(page() - 16, &returns(n + 1)).unwrap();
        code.publish(..).unwrap();
        assert_eq!(run(&code, page() - 16), i32::from(n) + 1);
        assert_eq!(run(&code, 0), i32::from(n));
    }
}

#[test]
fn code_is_run_by_other_threads() {
    if emulator_runs_old_code() {
        return skip!("the emulator goes on running what it has translated of the other view");
    }
    let mut code = DualMapping::new(page()).unwrap();
    for n in 0..20 {
        code.write(0, &returns(n)).unwrap();
        code.publish(..).unwrap();
        let code = &code;
        // A new thread has fetched no old code.
        let ran = std::thread::scope(|scope| scope.spawn(move || run(code, 0)).join().unwrap());
        assert_eq!(ran, i32::from(n));
    }
}

#[test]
fn neither_view_can_be_both_written_and_run() {
    let mut code = DualMapping::new(page()).unwrap();
    code.write(0, RETURN_42).unwrap();
    code.publish(..).unwrap();
    let run = code.run_ptr().cast_mut();
    assert_eq!((reading(run), writing(run), running(run)), (OK, SEGV, End::Exit(42)));
    let write = code.write_ptr();
    assert_eq!((reading(write), writing(write)), (OK, OK));
    code.write(0, RETURN_42).unwrap();
    code.publish(..).unwrap();
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
    let mut code = DualMapping::new(page()).unwrap();
    let size = code.len();
    for offset in [size, size - 1, size + 1, usize::MAX, usize::MAX - 1] {
        let refused = code.write(offset, &[0; 2]).unwrap_err();
        let end = offset.saturating_add(2);
        assert_eq!(refused.argument(), Some(("the range's end", end, Some(size))), "{refused}");
    }
    assert!(code.publish(1..usize::MAX).is_err() && code.publish(size + 1..).is_err());
    #[allow(clippy::reversed_empty_ranges)]
    let backwards = code.publish(5..3);
    assert_eq!(
        backwards.unwrap_err().to_string(),
        "DualMapping::publish: the range's end 3 is less than 5"
    );
    for synced in
        [code.publish(size..), code.publish(..=size - 1), code.publish(..), code.publish(3..3)]
    {
        assert_eq!(synced, Ok(()));
    }
    code.write(size, &[]).unwrap();
    code.write(size - 2, &[1, 2]).unwrap();
}

const PR_SET_MDWE: i32 = 65;

/// No view gains the right to be run.
#[test]
fn code_is_made_where_no_memory_may_become_executable() {
    alone(|| {
        // SAFETY: a plain call; it is for this child.
        if unsafe { libc::prctl(PR_SET_MDWE, 1, 0, 0, 0) } != 0 {
            return skip!("no PR_SET_MDWE (Linux 6.3): {}", std::io::Error::last_os_error());
        }
        let data = anonymous(page(), RW);
        // SAFETY: ours, and it is refused.
        let refused = unsafe { rawmap::mprotect(data, page(), Prot::READ | Prot::EXEC) };
        assert_eq!(refused, Err(Errno::EACCES), "it is in force");
        let mut code = DualMapping::new(page()).unwrap();
        for n in [1, 2] {
            code.write(0, &returns(n)).unwrap();
            code.publish(..).unwrap();
            assert_eq!(run(&code, 0), i32::from(n));
        }
        if refuse(nr::MREMAP, Errno::EPERM) {
            let mut code = DualMapping::new(page()).unwrap();
            code.write(0, &returns(3)).unwrap();
            code.publish(..).unwrap();
            assert_eq!(run(&code, 0), 3);
        }
    });
}

#[test]
fn code_lies_in_a_memory_file_where_a_call_for_anonymous_memory_is_refused() {
    for number in [nr::MREMAP, nr::MPROTECT] {
        alone(|| {
            refuse_or_skip!(number, Errno::EACCES);
            let mut space = Space::new();
            let (before, open) = (space.bytes(), descriptors());
            let mut code = DualMapping::new(page()).unwrap();
            assert_eq!(descriptors(), open, "the file is closed");
            space.look();
            assert_eq!(space.bytes() - before, 2 * page());
            code.write(0, &returns(42)).unwrap();
            code.publish(..).unwrap();
            assert_eq!(run(&code, 0), 42);
            drop(code);
            space.look();
            assert_eq!(space.bytes(), before);
        });
    }
}

/// A thread that has run what was there before runs what is there now.
#[test]
fn threads_that_run_code_run_the_new_one_once_they_are_synced() {
    if emulator_runs_old_code() {
        return skip!("the emulator goes on running what it has translated of the other view");
    }
    let mut code = DualMapping::new(page()).unwrap();
    if let Err(error) = code.sync_threads() {
        let missing = matches!(error.errno(), Errno::ENOSYS | Errno::EINVAL);
        assert!(missing && (emulator().is_some() || kernel() < (6, 9)), "{error}");
        return skip!("no MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE: {error}");
    }
    code.write(0, &returns(0)).unwrap();
    code.publish(..).unwrap();
    let (published, ran) = (AtomicU32::new(0), AtomicU32::new(0));
    let (address, write) = (code.run_ptr().addr(), code.write_ptr());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0..100 {
                await_value(&published, n);
                let function = at(address).cast_const();
                // SAFETY: a function without arguments was written there, and published.
                let function: extern "C" fn() -> u32 = unsafe { std::mem::transmute(function) };
                assert_eq!(function(), n);
                ran.store(n + 1, Ordering::Release);
            }
        });
        for n in 0..100 {
            // SAFETY: within the view; the thread that runs it waits.
            unsafe { write.copy_from(returns(n as u8).as_ptr(), returns(n as u8).len()) };
            code.publish(..returns(n as u8).len()).unwrap();
            code.sync_threads().unwrap();
            published.store(n, Ordering::Release);
            await_value(&ran, n + 1);
        }
    });
}

#[test]
fn threads_that_can_not_be_synced_are_an_error() {
    alone(|| {
        let code = DualMapping::new(page()).unwrap();
        refuse_or_skip!(nr::MEMBARRIER, Errno::EPERM);
        let said = code.sync_threads().unwrap_err().to_string();
        assert!(said.starts_with("membarrier: EPERM"), "{said}");
    });
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
        let (guard, range) = (guard.next_multiple_of(page()), stack.guard());
        assert_eq!((range.end, range.end.addr() - range.start.addr()), (stack.bottom(), guard));
        let below = |n: usize| writing(stack.bottom().wrapping_sub(n));
        if guard != 0 {
            assert_eq!((below(1), below(guard)), (SEGV, SEGV));
            assert_eq!((reading(range.start), reading(range.end)), (SEGV, OK));
        }
    }
}

/// Code without stack probes steps over a page.
#[test]
fn a_guard_is_64_kib_unless_it_is_told() {
    let stack = Stack::new(1).unwrap();
    let range = stack.guard();
    assert_eq!(Stack::GUARD, 64 << 10);
    assert_eq!(range.end.addr() - range.start.addr(), Stack::GUARD.next_multiple_of(page()));
    for n in (0..Stack::GUARD).step_by(page()) {
        assert_eq!(reading(range.start.wrapping_add(n)), SEGV, "at {n:#x}");
    }
}

#[test]
fn a_reset_stack_is_zeroes_and_free_and_as_guarded_as_before() {
    need_lockable!(64 << 10);
    for locked in [false, true] {
        let mut stack = Stack::new(4 * page()).unwrap();
        if locked {
            // SAFETY: it changes no contents.
            unsafe { rawmap::mlock(stack.bottom(), page()) }.unwrap();
        }
        // SAFETY: nobody runs on it.
        unsafe { stack.bottom().write_bytes(7, stack.len()) };
        stack.reset().unwrap();
        if !locked {
            assert_eq!(resident(stack.bottom(), 4), [false; 4]);
        }
        // SAFETY: as above.
        let bytes = unsafe { std::slice::from_raw_parts(stack.bottom(), stack.len()) };
        let zeroes = bytes.iter().all(|byte| *byte == 0);
        if locked {
            answers!(true, zeroes, qemu ..11 => false, "MADV_DONTNEED_LOCKED does nothing, and succeeds");
        } else {
            assert!(zeroes);
        }
        assert_eq!(reading(stack.bottom().wrapping_sub(1)), SEGV);
    }
}

/// Locked memory has no guards of the kernel's.
#[test]
fn a_stack_in_a_process_that_locks_all_its_memory_is_guarded() {
    need_lockable!(1 << 20);
    alone(|| {
        // SAFETY: it changes no contents.
        if let Err(errno) = unsafe { rawmap::mlockall(MlockAllFlags::FUTURE) } {
            return skip!("this user may not lock: {errno}");
        }
        let stack = Stack::new(page()).unwrap();
        let ends = [writing(stack.bottom().wrapping_sub(1)), writing(stack.bottom())];
        assert_eq!(ends, [SEGV, OK]);
    });
}

#[test]
fn a_guard_stays_after_what_happens_to_a_stack() {
    let mut stack = Stack::new(4 * page()).unwrap();
    let below = |stack: &Stack| stack.bottom().wrapping_sub(1);
    stack.reset().unwrap();
    let inherited = in_child(|| i32::from(reading(below(&stack)) != SEGV));
    assert_eq!((inherited, reading(below(&stack))), (OK, SEGV));
    let (guard, bottom) = (stack.guard(), stack.bottom());
    let raw = stack.into_raw();
    assert_eq!(
        (raw.as_ptr(), raw.len()),
        (guard.start, bottom.addr() - guard.start.addr() + 4 * page())
    );
    assert_eq!((reading(guard.start), reading(bottom)), (SEGV, OK));
}

#[test]
fn neighbouring_stacks_are_one_mapping_where_the_kernel_has_guards() {
    if emulator().is_some() || kernel() < (6, 13) {
        return skip!("the kernel has no MADV_GUARD_INSTALL");
    }
    alone(|| {
        let count = || std::fs::read_to_string("/proc/self/maps").unwrap().lines().count();
        let before = count();
        let stacks: Vec<_> = (0..1000).map(|_| Stack::new(16 << 10).unwrap()).collect();
        for stack in &stacks {
            // SAFETY: nobody runs on it.
            unsafe { stack.bottom().write(7) };
        }
        let added = count() - before;
        assert!(added < 20, "{added} mappings for {} stacks", stacks.len());
    });
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

/// QEMU's user mode sees a write by the view that is written as none of the view that is run, and its
/// `riscv_flush_icache` does nothing.
fn emulator_runs_old_code() -> bool {
    emulator().is_some() && std::env::consts::ARCH == "riscv64"
}
