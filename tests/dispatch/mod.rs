//! Syscall user dispatch (Linux 5.11 on x86_64, 6.4 on riscv64): while it is armed, a system call of
//! this thread is not made, but becomes SIGSYS. The handler notes number and registers, and puts any
//! result in place. So hostile arguments are harmless, and what the raw functions pass and how they
//! read the result is seen from outside.
#![allow(dead_code, unreachable_pub)]

use super::laws::{SHAPES, word};
use super::source::Source;
use rawmap::{
    Advice, Call, Errno, MapFlags, MlockAllFlags, MlockFlags, MremapFlags, MsealFlags, MsyncFlags,
    Prot, Word,
};
use std::cell::Cell;
use std::io;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

const PR_SET_SYSCALL_USER_DISPATCH: i32 = 59;

thread_local! {
    /// 1 while system calls are caught: the kernel reads it.
    static SELECTOR: AtomicU8 = const { AtomicU8::new(0) };
    /// What the next one returns.
    static RESULT: Cell<usize> = const { Cell::new(0) };
    /// Number and arguments of the last one.
    static CAUGHT: Cell<Option<[usize; 7]>> = const { Cell::new(None) };
}

/// The registers of number, result and arguments in a signal's context.
fn registers(context: *mut libc::c_void) -> (*mut u64, *mut u64, [*mut u64; 6]) {
    let context = context.cast::<libc::ucontext_t>();
    // SAFETY: the kernel gives the handler a whole context, which outlives what is done with it.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        {
            use libc::{REG_R8, REG_R9, REG_R10, REG_RAX, REG_RDI, REG_RDX, REG_RSI};
            let at = |n: i32| (&raw mut (*context).uc_mcontext.gregs[n as usize]).cast::<u64>();
            let args = [REG_RDI, REG_RSI, REG_RDX, REG_R10, REG_R8, REG_R9];
            (at(REG_RAX), at(REG_RAX), args.map(at))
        }
        #[cfg(target_arch = "aarch64")]
        {
            let at = |n: usize| (&raw mut (*context).uc_mcontext.regs[n]).cast::<u64>();
            (at(8), at(0), [0, 1, 2, 3, 4, 5].map(at))
        }
        #[cfg(target_arch = "riscv64")]
        {
            let at = |n: usize| (&raw mut (*context).uc_mcontext.__gregs[n]).cast::<u64>();
            (at(17), at(10), [10, 11, 12, 13, 14, 15].map(at))
        }
    }
}

extern "C" fn caught(_: i32, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // First, so that the return from here is a system call like any other.
    SELECTOR.with(|selector| selector.store(0, Relaxed));
    let (number, result, args) = registers(context);
    // SAFETY: they point into the context.
    unsafe {
        let [a, b, c, d, e, f] = args.map(|arg| *arg as usize);
        CAUGHT.set(Some([*number as usize, a, b, c, d, e, f]));
        *result = RESULT.get() as u64;
        // What `syscall` destroys.
        #[cfg(target_arch = "x86_64")]
        {
            let gregs = &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs;
            gregs[libc::REG_RCX as usize] = 0x5a5a_5a5a;
            gregs[libc::REG_R11 as usize] = 0x246;
        }
    }
}

/// Makes this thread ready for [`catch`].
///
/// # Errors
/// EINVAL where the kernel doesn't have it.
pub fn arm() -> io::Result<()> {
    // SAFETY: the handler is a function of that type, and async-signal-safe; the selector lives as
    // long as the thread.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        let handler: extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void) = caught;
        action.sa_sigaction = handler as usize;
        action.sa_flags = libc::SA_SIGINFO;
        assert_eq!(libc::sigaction(libc::SIGSYS, &action, std::ptr::null_mut()), 0);
        // libFuzzer's timer: the return from its handler is a system call, and would be caught.
        let mut timer: libc::sigset_t = std::mem::zeroed();
        libc::sigaddset(&mut timer, libc::SIGALRM);
        assert_eq!(libc::pthread_sigmask(libc::SIG_BLOCK, &timer, std::ptr::null_mut()), 0);
        let selector = SELECTOR.with(AtomicU8::as_ptr);
        // On, with no code that is exempt.
        match libc::prctl(PR_SET_SYSCALL_USER_DISPATCH, 1, 0, 0, selector) {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

/// Runs `f`, whose one system call is caught and answered with `result`: what `f` returns, and the
/// number and registers.
fn catch<T>(result: usize, f: impl FnOnce() -> T) -> (T, [usize; 7]) {
    RESULT.set(result);
    CAUGHT.set(None);
    SELECTOR.with(|selector| selector.store(1, Relaxed));
    let returned = f();
    SELECTOR.with(|selector| selector.store(0, Relaxed));
    (returned, CAUGHT.get().expect("a system call"))
}

/// What a raw function returned.
enum Returned {
    /// A pointer, or what `Call::make` returns.
    Word(Result<usize, Errno>),
    Unit(Result<(), Errno>),
}

/// Asserts of one raw function, or of `Call::make`, that it passes exactly the words of the `Call` of
/// the same name, and reads any result right.
pub fn hold(source: &mut impl Source) {
    let result = match source.below(3) {
        0 => 0_usize.wrapping_sub(source.below(4200) as usize),
        _ => word(source),
    };
    let any = [(); 6].map(|()| word(source));
    let [a, b, c, d, e, f] = any;
    let [addr, new] = [a, e].map(std::ptr::without_provenance_mut);
    let (prot, flags, fd) = (Prot::from_bits(c), MapFlags::from_bits(d), e as i32);
    let int = c as i32;
    let unit = |(returned, seen)| (Returned::Unit(returned), seen);
    let plain = |returned: Result<Word, Errno>| Returned::Word(returned.map(Word::bits));
    let pointer = |(returned, seen): (Result<_, _>, _)| (plain(returned.map(Word::ptr)), seen);
    // SAFETY: none of these calls is made.
    let (call, (returned, seen)) = unsafe {
        match source.below(15) {
            0 => {
                let call = Call::mmap(addr, b, prot, flags, fd, f as u64);
                let made = || rawmap::mmap(addr, b, prot, flags, fd, f as u64);
                (call, pointer(catch(result, made)))
            }
            1 => {
                let call = Call::mmap_anonymous(addr, b, prot, flags);
                let made = || rawmap::mmap_anonymous(addr, b, prot, flags);
                (call, pointer(catch(result, made)))
            }
            2 => (Call::munmap(addr, b), unit(catch(result, || rawmap::munmap(addr, b)))),
            3 => {
                let call = Call::mprotect(addr, b, prot);
                (call, unit(catch(result, || rawmap::mprotect(addr, b, prot))))
            }
            4 => {
                let flags = MsyncFlags::from_bits(int);
                let call = Call::msync(addr, b, flags);
                (call, unit(catch(result, || rawmap::msync(addr, b, flags))))
            }
            5 => {
                let flags = MremapFlags::from_bits(d);
                let call = Call::mremap(addr, b, c, flags, new);
                (call, pointer(catch(result, || rawmap::mremap(addr, b, c, flags, new))))
            }
            6 => {
                let advice = Advice::from_bits(int);
                let call = Call::madvise(addr, b, advice);
                (call, unit(catch(result, || rawmap::madvise(addr, b, advice))))
            }
            7 => {
                let call = Call::mincore(addr, b, new);
                (call, unit(catch(result, || rawmap::mincore(addr, b, new))))
            }
            8 => (Call::mlock(addr, b), unit(catch(result, || rawmap::mlock(addr, b)))),
            9 => {
                let flags = MlockFlags::from_bits(int);
                let call = Call::mlock2(addr, b, flags);
                (call, unit(catch(result, || rawmap::mlock2(addr, b, flags))))
            }
            10 => (Call::munlock(addr, b), unit(catch(result, || rawmap::munlock(addr, b)))),
            11 => {
                let flags = MlockAllFlags::from_bits(int);
                let call = Call::mlockall(flags);
                (call, unit(catch(result, || rawmap::mlockall(flags))))
            }
            12 => (Call::munlockall(), unit(catch(result, || rawmap::munlockall()))),
            13 => {
                let flags = MsealFlags::from_bits(c);
                let call = Call::mseal(addr, b, flags);
                (call, unit(catch(result, || rawmap::mseal(addr, b, flags))))
            }
            _ => {
                let words = any.map(Word::int);
                let call = Call::from_words(source.pick(&SHAPES).1, words).unwrap();
                let (made, seen) = catch(result, || call.make());
                assert_eq!(seen[1..], call.args().map(Word::bits), "{call}: all words");
                (call, (plain(made), seen))
            }
        }
    };
    let (_, _, arity, _) = SHAPES.iter().find(|shape| shape.1 == call.number()).unwrap();
    assert_eq!(seen[0], call.number(), "{call}: number");
    assert_eq!(seen[1..=*arity], call.args().map(Word::bits)[..*arity], "{call}: words");
    let error = match result as isize {
        number @ -4095..=-1 => Errno::from_raw(-number as i32),
        _ => None,
    };
    match returned {
        Returned::Word(word) => {
            assert_eq!(word, error.map_or(Ok(result), Err), "{call}: {result:#x}")
        }
        Returned::Unit(Ok(())) => assert_eq!(result, 0, "{call}: only 0 is a success"),
        Returned::Unit(Err(errno)) => {
            assert_eq!(errno.encode().bits(), result, "{call}: the word");
            assert_eq!(Errno::from_raw(errno.raw()), error, "{call}: {errno:?} for {result:#x}");
            assert!(error.is_some() || errno.name().is_none(), "{call}: {errno:?} has a name");
        }
    }
}
