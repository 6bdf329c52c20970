//! Protection: what each lets the program do with a page, and what it makes a fault.
mod common;
use common::*;
use rawmap::{MapFlags, Prot, mmap_anonymous, mprotect, munmap};
use std::sync::atomic::{AtomicUsize, Ordering};

const RAN: End = End::Exit(42);

/// Reads, runs and writes a page of code with this protection: given to `mmap` of a file, private
/// and shared, and set by `mprotect` on anonymous memory.
#[track_caller]
fn check(prot: Prot, read: End, write: End, run: End) {
    let private = map(&code_file(), page(), prot, MapFlags::PRIVATE, 0).unwrap();
    let shared = map(&code_file(), page(), prot, MapFlags::SHARED, 0).unwrap();
    for (map, how) in [(private, "private"), (shared, "shared"), (code(prot), "by mprotect")] {
        // Writing comes last: it may break the code.
        let ends = (reading(map), running(map), writing(map));
        assert_eq!(ends, (read, run, write), "reading, running, writing {prot:?}, {how}");
    }
}

/// Anonymous memory that begins with the code of [`RETURN_42`], protected by `mprotect`.
fn code(prot: Prot) -> *mut u8 {
    let map = anonymous(page(), RW);
    // SAFETY: a new page, long enough for the code.
    unsafe { map.copy_from_nonoverlapping(RETURN_42.as_ptr(), RETURN_42.len()) };
    protect(map, page(), prot);
    map
}

fn protect(map: *mut u8, len: usize, prot: Prot) {
    // SAFETY: the test's own memory, to which it holds no reference.
    unsafe { mprotect(map, len, prot) }.unwrap();
}

#[test]
fn none_allows_nothing() {
    check(Prot::NONE, SEGV, SEGV, SEGV);
}

#[test]
fn read_allows_reading() {
    check(Prot::READ, OK, SEGV, SEGV);
}

#[test]
fn write_allows_writing_and_reading_with_it() {
    check(Prot::WRITE, OK, OK, SEGV);
}

#[test]
fn read_and_write_allow_both() {
    check(Prot::READ | Prot::WRITE, OK, OK, SEGV);
}

#[test]
fn read_and_exec_allow_both() {
    check(Prot::READ | Prot::EXEC, OK, SEGV, RAN);
}

#[test]
fn write_and_exec_allow_all() {
    check(Prot::WRITE | Prot::EXEC, OK, OK, RAN);
}

#[test]
fn read_write_and_exec_allow_all() {
    check(Prot::READ | Prot::WRITE | Prot::EXEC, OK, OK, RAN);
}

#[test]
fn sem_changes_nothing() {
    check(Prot::READ | Prot::SEM, OK, SEGV, SEGV);
}

#[test]
fn exec_alone_allows_running_and_reading_only_where_the_processor_cannot_refuse_it() {
    if emulator().is_some() {
        check(Prot::EXEC, OK, SEGV, RAN);
        departure!("an execute-only page is readable");
        return;
    }
    match execute_only_is_real() {
        Some(true) => check(Prot::EXEC, SEGV, SEGV, RAN),
        Some(false) => check(Prot::EXEC, OK, SEGV, RAN),
        None => skip!("can't tell whether this processor has FEAT_PAN3: the kernel's log is cut"),
    }
}

/// Whether reading an execute-only page is a fault; `None` if that can't be found out.
fn execute_only_is_real() -> Option<bool> {
    match std::env::consts::ARCH {
        // By a protection key that the kernel sets aside: `execute_only_pkey`, arch/x86/mm/pkeys.c.
        "x86_64" => {
            let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap();
            Some(cpu.split_whitespace().any(|flag| flag == "ospke"))
        }
        // Without it the kernel could be made to read such a page: arch/arm64/mm/mmap.c. Only the
        // log tells; that it is whole, its first line does.
        "aarch64" => {
            let mut log = vec![0u8; 1 << 22];
            // SAFETY: 3 is SYSLOG_ACTION_READ_ALL, which writes as much as there is room for.
            let len = unsafe { libc::klogctl(3, log.as_mut_ptr().cast(), log.len() as i32) };
            let log = String::from_utf8_lossy(&log[..usize::try_from(len).ok()?]);
            let has = log.contains("Enhanced Privileged Access Never");
            (has || log.contains("Booting Linux")).then_some(has)
        }
        _ => Some(true),
    }
}

#[test]
fn protection_keeps_the_contents() {
    let map = anonymous(page(), RW);
    // SAFETY: a page of ours, mapped for writing, and below for reading.
    unsafe { map.write_volatile(0xaa) };
    protect(map, page(), Prot::NONE);
    assert_eq!(reading(map), SEGV);
    protect(map, page(), Prot::READ);
    // SAFETY: as above.
    assert_eq!(unsafe { map.read_volatile() }, 0xaa);
}

#[test]
fn mprotect_changes_whole_pages_and_no_others() {
    let map = anonymous(4 * page(), RW);
    let second = map.wrapping_add(page());
    protect(second, page() + 1, Prot::NONE);
    assert_eq!(reading(map.wrapping_add(page() - 1)), OK);
    assert_eq!(reading(second), SEGV);
    assert_eq!(reading(map.wrapping_add(3 * page() - 1)), SEGV);
    assert_eq!(reading(map.wrapping_add(3 * page())), OK);
}

#[test]
fn mprotect_of_length_0_changes_nothing() {
    let map = anonymous(page(), RW);
    // SAFETY: a range of length 0 holds no memory.
    let done = unsafe { mprotect(map, 0, Prot::NONE) };
    answers!(Ok(()), done, qemu ..10 => Err(rawmap::Errno::ENOMEM), "mprotect of length 0 is ENOMEM");
    assert_eq!(writing(map), OK);
}

/// How a child ends that touches the byte, with a handler that exits with the signal's `si_code`,
/// or with 100 if `si_addr` is another address.
fn cause(signal: i32, byte: *mut u8, touch: impl FnOnce()) -> End {
    static EXPECTED: AtomicUsize = AtomicUsize::new(0);
    extern "C" fn tell(_: i32, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
        // SAFETY: the kernel's own siginfo of a fault; _exit is fit for signal handlers.
        unsafe {
            let here = (*info).si_addr().addr() == EXPECTED.load(Ordering::Relaxed);
            libc::_exit(if here { (*info).si_code } else { 100 })
        }
    }
    in_child(|| {
        EXPECTED.store(byte.addr(), Ordering::Relaxed);
        // SAFETY: an action of zeroes, and a handler of the type that SA_SIGINFO asks for.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = tell as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO;
            libc::sigaction(signal, &action, std::ptr::null_mut());
        }
        touch();
        99
    })
}

/// `include/uapi/asm-generic/siginfo.h`: SEGV_MAPERR, SEGV_ACCERR, BUS_ADRERR.
const NOT_MAPPED: End = End::Exit(1);
const NOT_ALLOWED: End = End::Exit(2);
const NOT_IN_FILE: End = End::Exit(2);

#[test]
fn a_fault_tells_where_and_why() {
    let byte = anonymous(page(), Prot::READ).wrapping_add(123);
    let file = map(&temp_file(), page(), RW, MapFlags::SHARED, 0).unwrap().wrapping_add(123);
    // SAFETY: only the child touches it, and the fault is what is asked for.
    let write = |byte: *mut u8| unsafe { byte.write_volatile(1) };
    assert_eq!(cause(libc::SIGSEGV, byte, || write(byte)), NOT_ALLOWED);
    let unmapped = cause(libc::SIGSEGV, byte, || {
        // SAFETY: the child uses the page for nothing but the fault.
        unsafe { munmap(byte.wrapping_sub(123), page()) }.unwrap();
        write(byte);
    });
    assert_eq!(unmapped, NOT_MAPPED);
    assert_eq!(cause(libc::SIGBUS, file, || write(file)), NOT_IN_FILE);
}

#[test]
fn memory_reserved_with_none_is_given_out_page_by_page() {
    // SAFETY: a new mapping, which nothing else refers to.
    let map = unsafe {
        mmap_anonymous(std::ptr::null_mut(), 1 << 30, Prot::NONE, MapFlags::PRIVATE).unwrap()
    };
    let middle = map.wrapping_add(1 << 29);
    assert_eq!(writing(middle), SEGV);
    protect(middle, page(), RW);
    assert_eq!(writing(middle), OK);
    assert_eq!(writing(middle.wrapping_add(page())), SEGV);
}
