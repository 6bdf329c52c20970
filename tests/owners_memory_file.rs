//! The memory file that a ring or a dual mapping lies on where `mremap` is refused: what others do to it who
//! have opened it by its number, while it had one.
mod common;
use common::supervised::{Seen, supervise, unwatch, watch};
use common::*;
use rawmap::{
    DualMapping, Errno, Fd, MapOptions, Mode, MsyncFlags, Prot, Reservation, Ring, Sharing,
};
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicI32, Ordering};

const LEN: usize = 1 << 16;

fn fd(file: &File) -> Fd<'_> {
    // SAFETY: the file stays open as long as it is borrowed.
    unsafe { Fd::borrow_raw(file.as_raw_fd()) }
}

/// What somebody does as soon as he has opened the file.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Deed {
    Nothing,
    Write,
    Shorten,
    Lengthen,
    SealAgainstSeals,
}

impl Deed {
    fn do_to(self, file: &File) -> std::io::Result<()> {
        match self {
            Self::Nothing => Ok(()),
            Self::Write => file.write_all_at(b"changed!", 0),
            Self::Shorten => file.set_len(0),
            Self::Lengthen => file.set_len(4 * LEN as u64),
            Self::SealAgainstSeals => {
                // SAFETY: a plain call.
                let sealed =
                    unsafe { libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, libc::F_SEAL_SEAL) };
                if sealed == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
            }
        }
    }
}

/// Somebody who has it does what he can to it, and can't.
fn cannot_be_changed(file: &File) {
    use Deed::*;
    for deed in [Write, Shorten, Lengthen, SealAgainstSeals] {
        let refused = deed.do_to(file).expect_err("it is sealed");
        assert_eq!(refused.raw_os_error(), Some(libc::EPERM), "{deed:?}");
    }
    let mapped = MapOptions::new(LEN).file_raw(fd(file), 0, RW, Sharing::Shared);
    assert_eq!(mapped.unwrap_err().errno(), Errno::EPERM);
    let hole = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
    // SAFETY: a plain call.
    assert_eq!(unsafe { libc::fallocate(file.as_raw_fd(), hole, 0, LEN as i64) }, -1);
}

/// Makes something in a child to which `mremap` is refused. At the call `nth` after the file got its length,
/// somebody opens it anew, and does the deed if it is not sealed yet; when the thing is made, he tries all of
/// them. Says whether there is such a call; `None` where calls can't be seen.
fn opened_by_another<T>(
    make: impl Fn() -> Result<T, rawmap::Error>,
    bytes: impl Fn(&T) -> Vec<u8>,
    nth: usize,
    deed: Deed,
) -> Option<bool> {
    let shared = MapOptions::new(page()).raw(RW, Sharing::Shared).unwrap();
    // SAFETY: the first words of memory that the child shares, which both use as atomics.
    let [pid, made] =
        [0, 4].map(|at| unsafe { AtomicI32::from_ptr(shared.as_ptr().add(at).cast()) });
    let child = || {
        rawmap::prepare().unwrap();
        // SAFETY: a plain call.
        pid.store(unsafe { libc::getpid() }, Ordering::SeqCst);
        watch();
        let result = make();
        made.store(i32::from(result.is_ok()), Ordering::SeqCst);
        // For the parent to see that it is made.
        // SAFETY: it changes no memory.
        let _ = unsafe { rawmap::msync(at(0), 0, MsyncFlags::ASYNC) };
        unwatch();
        match result {
            Ok(made) => assert_eq!(bytes(&made), [0; LEN]),
            // Without the file, there is what was refused first.
            Err(error) => assert!(error.to_string().starts_with("mremap("), "{error}"),
        }
    };
    let (mut sized, mut is_sealed, mut opened) = (None, false, None);
    let judge = |n: usize, seen: &Seen| {
        match sized {
            Some((at, number)) if n == at + nth && seen.name() != "msync" => {
                let path = format!("/proc/{}/fd/{number}", pid.load(Ordering::SeqCst));
                let file = File::options().read(true).write(true).open(path).unwrap();
                if !is_sealed {
                    deed.do_to(&file).unwrap();
                }
                opened = Some((file, is_sealed));
            }
            _ => {}
        }
        match &*seen.name() {
            "mremap" => return Some(Err(Errno::EPERM)),
            "ftruncate" => sized = Some((n, seen.args[0])),
            "fcntl" => is_sealed = true,
            "msync" if made.load(Ordering::SeqCst) == 1 => {
                opened.iter().for_each(|(file, _)| cannot_be_changed(file));
            }
            _ => {}
        }
        None
    };
    let (end, seen) = supervise(child, judge)?;
    let names: Vec<_> = seen.iter().map(Seen::name).collect();
    assert_eq!(end, OK, "{deed:?} at {nth}: {names:?}");
    let is_harmless = matches!(deed, Deed::Nothing | Deed::Write);
    if let Some((_, was_sealed)) = opened {
        let expected = i32::from(is_harmless || was_sealed);
        assert_eq!(made.load(Ordering::SeqCst), expected, "{deed:?} at {nth}: {names:?}");
    }
    Some(opened.is_some())
}

/// The claims of this file, of something that is made with so many calls while the file is open.
#[track_caller]
fn check<T>(
    make: impl Fn() -> Result<T, rawmap::Error>,
    bytes: impl Fn(&T) -> Vec<u8>,
    calls: usize,
) -> Option<()> {
    use Deed::*;
    for deed in [Nothing, Write, Shorten, Lengthen, SealAgainstSeals] {
        for nth in 1..=calls + 1 {
            assert_eq!(opened_by_another(&make, &bytes, nth, deed)?, nth <= calls);
        }
    }
    Some(())
}

#[test]
fn nobody_else_changes_the_file_that_a_ring_lies_on() {
    let bytes = |ring: &Ring| ring.slice(0, LEN).to_vec();
    if check(|| Ring::new(LEN), bytes, 6).is_none() {
        skip!("calls can't be refused here: no seccomp");
    }
}

#[test]
fn nobody_else_changes_the_file_that_a_dual_mapping_lies_on() {
    // SAFETY: the view can be read, and nobody writes it.
    let bytes =
        |code: &DualMapping| unsafe { std::slice::from_raw_parts(code.run_ptr(), LEN) }.to_vec();
    if check(|| DualMapping::new(LEN), bytes, 5).is_none() {
        skip!("calls can't be refused here: no seccomp");
    }
}

/// The seals are for those who come later: the owner's own views are as they were.
#[test]
fn the_views_of_a_sealed_file_are_moved_protected_and_forked() {
    let child = || {
        watch();
        let mut code = DualMapping::new(LEN).unwrap();
        unwatch();
        code.place_written(Reservation::new(LEN, Mode::Strict).unwrap()).unwrap();
        code.write(0, &[1]).unwrap();
        let (written, run) = code.into_parts();
        for prot in [Prot::READ, RW, Prot::NONE, RW] {
            written.protect(.., prot).unwrap();
        }
        // SAFETY: the view can be written, and nobody uses it meanwhile.
        alone(|| unsafe { written.as_ptr().write(2) });
        // SAFETY: the other view can be read.
        assert_eq!(unsafe { run.as_ptr().read() }, 2);
    };
    let judge = |_: usize, seen: &Seen| (seen.name() == "mremap").then_some(Err(Errno::EPERM));
    match supervise(child, judge) {
        Some((end, seen)) => {
            assert_eq!(end, OK, "{seen:?}");
            assert!(seen.iter().any(|call| call.name() == "memfd_create"));
        }
        None => skip!("calls can't be refused here: no seccomp"),
    }
}

/// Where a program has closed its standard input and output, the kernel answers 0 for a new file; and what has that
/// number, safe code of another thread may change between two calls.
#[test]
fn the_file_is_used_by_no_number_that_safe_code_can_give_another_file() {
    let child = || {
        // SAFETY: nothing here reads them or writes to them.
        (0..3).for_each(|fd| assert_eq!(unsafe { libc::close(fd) }, 0));
        watch();
        let ring = Ring::new(LEN);
        unwatch();
        assert_eq!(ring.unwrap().slice(0, LEN), [0; LEN]);
        // SAFETY: a plain call.
        let left = |fd| unsafe { libc::fcntl(fd, libc::F_GETFD) };
        assert_eq!([0, 1, 2].map(left), [-1; 3], "what the owner opened is closed");
    };
    let judge = |_: usize, seen: &Seen| (seen.name() == "mremap").then_some(Err(Errno::EPERM));
    let Some((end, seen)) = supervise(child, judge) else {
        return skip!("calls can't be refused here: no seccomp");
    };
    assert_eq!(end, OK, "{seen:?}");
    let named = |name| seen.iter().filter(move |call| call.name() == name);
    assert_eq!(named("memfd_create").count(), 4);
    assert_eq!(named("ftruncate").count(), 1);
    let changes = ["ftruncate", "fcntl", "fstat"].into_iter().flat_map(named);
    assert!(changes.into_iter().all(|call| 3 <= call.args[0]), "{seen:?}");
}

/// Who has a copy of a descriptor moves the offset that both have: what is read of `/proc` is read from its start.
#[test]
fn what_is_read_of_proc_is_read_from_its_start() {
    let shared = MapOptions::new(page()).raw(RW, Sharing::Shared).unwrap();
    // SAFETY: the first word of memory that the child shares, which both use as an atomic.
    let pid = unsafe { AtomicI32::from_ptr(shared.as_ptr().cast()) };
    let child = || {
        // SAFETY: a plain call.
        pid.store(unsafe { libc::getpid() }, Ordering::SeqCst);
        watch();
        let ring = Ring::new(LEN);
        unwatch();
        ring.unwrap();
    };
    let mut moved = false;
    let judge = |_: usize, seen: &Seen| {
        if seen.name() == "fstatfs" {
            // SAFETY: plain calls; the descriptors are new, and closed.
            unsafe {
                let process = libc::syscall(libc::SYS_pidfd_open, pid.load(Ordering::SeqCst), 0);
                let copy = libc::syscall(libc::SYS_pidfd_getfd, process, seen.args[0], 0);
                moved = libc::lseek(copy as i32, 2, libc::SEEK_SET) == 2;
                libc::close(copy as i32);
                libc::close(process as i32);
            }
        }
        (seen.name() == "mremap").then_some(Err(Errno::EPERM))
    };
    let Some((end, seen)) = supervise(child, judge) else {
        return skip!("calls can't be refused here: no seccomp");
    };
    assert_eq!(end, OK, "{seen:?}");
    if !moved {
        return skip!("descriptors of a child can't be had here");
    }
    if std::fs::read_to_string("/proc/sys/vm/overcommit_memory").unwrap().trim() == "2" {
        return skip!("vm.overcommit_memory is 2, as it is taken to be where it can't be read");
    }
    let names: Vec<_> = seen.iter().map(Seen::name).collect();
    let made = names.iter().position(|name| name == "memfd_create").unwrap();
    assert_eq!(names[made - 2..made], ["fstatfs", "close"], "memory is not tried out first");
}
