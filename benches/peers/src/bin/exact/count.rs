//! How what a job does is counted.

use super::{Given, Job};
use peers::{MIB, PAGE, says};
use std::fs::File;
use std::hint::black_box;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counts what the measure names.
pub fn count(measure: &str, job: Job, file: &File, kernel: rawmap::Kernel) -> u64 {
    let given = || Given { page: page(), file: file.try_clone().expect("a descriptor"), kernel };
    let beyond_nothing = |count: fn(Job, Given, Given) -> u64| {
        count(job, given(), given()) - count(nothing, given(), given())
    };
    match measure {
        "instructions" => {
            beyond_nothing(|job, warm, given| stops(libc::PTRACE_SINGLESTEP, job, &warm, &given))
                + 1
        } // what `does_nothing` returns by
        // A stop at its entry, and one at its end.
        "calls" => {
            beyond_nothing(|job, warm, given| stops(libc::PTRACE_SYSCALL, job, &warm, &given)) / 2
        }
        "faults" => beyond_nothing(|job, warm, given| faults(job, &warm, &given)),
        "mappings" => mappings(job, &given()),
        _ => unreachable!("a measure"),
    }
}

/// What any job does beside its function.
fn nothing(given: &Given, between: &mut dyn FnMut()) {
    does_nothing(given);
    between();
}

#[inline(never)]
fn does_nothing(_: &Given) {
    black_box(());
}

/// A page that can be read, 32 KiB above a multiple of 8 MiB, with nothing below it: so what is mapped next lies at the
/// same distance from a boundary always, and is neither aligned nor on a multiple of 64 KiB by chance.
fn page() -> *mut u8 {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    let map = |at: *mut u8, len, flags| {
        // SAFETY: a new mapping, in place of nothing.
        unsafe { libc::mmap(at.cast(), len, libc::PROT_READ, flags, -1, 0) }.cast::<u8>()
    };
    loop {
        let probe = map(null_mut(), PAGE, flags);
        let below = probe.wrapping_sub((probe.addr() - 0x8000) % (8 * MIB));
        let fixed = flags | libc::MAP_FIXED_NOREPLACE;
        // Where the probe has only filled a gap, the next one does.
        if below == probe || map(below, probe.addr() - below.addr(), fixed) == below {
            return below;
        }
    }
}

/// How often a forked child stops that does the job once, by this ptrace request.
fn stops(request: libc::c_uint, job: Job, warm: &Given, given: &Given) -> u64 {
    // SAFETY: the child does the job and exits; the parent waits for nobody else.
    unsafe {
        let child = libc::fork();
        if child == 0 {
            if libc::ptrace(libc::PTRACE_TRACEME) != 0 {
                libc::_exit(1);
            }
            job(warm, &mut || {}); // What is done only once: page size, symbols.
            libc::raise(libc::SIGSTOP);
            job(given, &mut || {});
            libc::_exit(0);
        }
        let (mut stops, mut status) = (0, 0);
        loop {
            assert_eq!(libc::waitpid(child, &mut status, 0), child);
            if libc::WIFEXITED(status) {
                assert_eq!(libc::WEXITSTATUS(status), 0, "no ptrace, or the job failed");
                return stops;
            }
            assert!(libc::WIFSTOPPED(status), "the job failed");
            stops += 1;
            libc::ptrace(request, child, null_mut::<u8>(), null_mut::<u8>());
        }
    }
}

/// How many page faults a forked child has that does the job once.
fn faults(job: Job, warm: &Given, given: &Given) -> u64 {
    let now = || {
        // SAFETY: getrusage fills in the structure, which is valid as zeroes.
        unsafe {
            let mut usage: libc::rusage = std::mem::zeroed();
            libc::getrusage(libc::RUSAGE_SELF, &mut usage);
            (usage.ru_minflt + usage.ru_majflt) as u64
        }
    };
    let answer = rawmap::Words::<AtomicU64>::of_width(1).expect("a page that a child shares");
    // SAFETY: the child does the job and exits; the parent waits for nobody else.
    unsafe {
        let child = libc::fork();
        if child == 0 {
            job(warm, &mut || {});
            answer[0].store(0, Relaxed); // Its page is there.
            let before = now();
            job(given, &mut || {});
            answer[0].store(now() - before, Relaxed);
            libc::_exit(0);
        }
        let mut status = 0;
        assert_eq!((libc::waitpid(child, &mut status, 0), status), (child, 0), "the job failed");
    }
    answer[0].load(Relaxed)
}

/// How many mappings the process has more while it holds what the job makes.
fn mappings(job: Job, given: &Given) -> u64 {
    let now = || says("/proc/self/maps").lines().count() as u64;
    job(given, &mut || {});
    let (before, mut held) = (now(), 0);
    job(given, &mut || held = now());
    held.saturating_sub(before)
}
