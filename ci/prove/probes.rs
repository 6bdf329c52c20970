//! What ci/prove.sh proves: functions under the C calling convention, so that registers say what goes in and what
//! comes out. For each function in the list below there are four:
//!
//! | probe | what it does | what it is for |
//! |---|---|---|
//! | `answer.NAME` | calls, and returns whether it was `Ok`, and of what | number, arguments, result |
//! | `order.NAME` | stores to memory, calls, and returns what memory holds then | that memory is a clobber |
//! | `press.NAME` | calls with more values alive than there are registers | the clobbered registers |
//! | `value.NAME` | writes down the `Call` of the same name | that it holds the same words |
//!
//! Compiled, never run.
#![no_std]

use core::ffi::c_int;
use rawmap::arch::*;
use rawmap::*;

// The kernel's types, as `include/linux/syscalls.h` has them.
#[allow(non_camel_case_types)]
type ptr = *mut u8;
#[allow(non_camel_case_types)]
type ulong = usize;
#[allow(non_camel_case_types)]
type int = c_int;

// NAME(the arguments, of the kernel's types) -> what comes back = "the call that it makes"
macro_rules! functions {
    ($expand:ident) => {$expand! {
        mmap(addr: ptr, len: ulong, prot: ulong, flags: ulong, fd: int, offset: ulong) -> pointer
            = "mmap(addr, len, prot, flags, fd, offset)";
        mmap_anonymous(addr: ptr, len: ulong, prot: ulong, flags: ulong) -> pointer
            = "mmap(addr, len, prot, flags|MAP_ANONYMOUS, -1, 0)";
        munmap(addr: ptr, len: ulong) -> unit = "munmap(addr, len)";
        mprotect(addr: ptr, len: ulong, prot: ulong) -> unit = "mprotect(addr, len, prot)";
        msync(addr: ptr, len: ulong, flags: int) -> unit = "msync(addr, len, flags)";
        mremap(old: ptr, old_len: ulong, new_len: ulong, flags: ulong, new_addr: ptr) -> pointer
            = "mremap(old, old_len, new_len, flags, new_addr)";
        madvise(addr: ptr, len: ulong, advice: int) -> unit = "madvise(addr, len, advice)";
        mincore(addr: ptr, len: ulong, vec: ptr) -> unit = "mincore(addr, len, vec)";
        mlock(addr: ptr, len: ulong) -> unit = "mlock(addr, len)";
        mlock2(addr: ptr, len: ulong, flags: int) -> unit = "mlock2(addr, len, flags)";
        munlock(addr: ptr, len: ulong) -> unit = "munlock(addr, len)";
        mlockall(flags: int) -> unit = "mlockall(flags)";
        munlockall() -> unit = "munlockall()";
        mseal(addr: ptr, len: ulong, flags: ulong) -> unit = "mseal(addr, len, flags)";
    }};
}

macro_rules! stubs {
    ($expand:ident) => {$expand! {
        syscall0(nr: ulong) -> word = "nr()";
        syscall1(a: ptr, nr: ulong) -> word = "nr(a)";
        syscall2(a: ptr, b: ptr, nr: ulong) -> word = "nr(a, b)";
        syscall3(a: ptr, b: ptr, c: ptr, nr: ulong) -> word = "nr(a, b, c)";
        syscall4(a: ptr, b: ptr, c: ptr, d: ptr, nr: ulong) -> word = "nr(a, b, c, d)";
        syscall5(a: ptr, b: ptr, c: ptr, d: ptr, e: ptr, nr: ulong) -> word = "nr(a, b, c, d, e)";
        syscall6(a: ptr, b: ptr, c: ptr, d: ptr, e: ptr, f: ptr, nr: ulong) -> word = "nr(a, b, c, d, e, f)";
    }};
}

/// From the kernel's type to the function's. A type whose width is not the kernel's has no such way, and does not
/// compile.
trait Argument<T> {
    fn from(kernel: T) -> Self;
}

macro_rules! arguments {
    ($($kernel:ty => $ours:ty: $from:expr;)*) => {$(
        impl Argument<$kernel> for $ours {
            #[inline(always)]
            fn from(kernel: $kernel) -> Self {
                ($from)(kernel)
            }
        }
    )*};
}

arguments! {
    ptr => *mut u8: |p| p;
    ptr => Word: Word::ptr;
    ulong => usize: |n| n;
    ulong => u64: |n| n as u64;
    ulong => Prot: Prot::from_bits;
    ulong => MapFlags: MapFlags::from_bits;
    ulong => MremapFlags: MremapFlags::from_bits;
    ulong => MsealFlags: MsealFlags::from_bits;
    int => RawFd: |n| n;
    int => MsyncFlags: MsyncFlags::from_bits;
    int => MlockFlags: MlockFlags::from_bits;
    int => MlockAllFlags: MlockAllFlags::from_bits;
    int => Advice: Advice::from_bits;
}

/// A result in two registers: (1, value) for `Ok`, (0, errno) for `Err`.
#[repr(C)]
pub struct Answer {
    ok: usize,
    value: *mut u8,
}

trait Answers {
    fn answer(self) -> Answer;
}

impl Answers for Word {
    #[inline(always)]
    fn answer(self) -> Answer {
        Answer { ok: 1, value: self.as_ptr() }
    }
}

impl Answers for () {
    #[inline(always)]
    fn answer(self) -> Answer {
        Word::ZERO.answer()
    }
}

impl Answers for *mut u8 {
    #[inline(always)]
    fn answer(self) -> Answer {
        Word::ptr(self).answer()
    }
}

impl<T: Answers> Answers for Result<T, Errno> {
    #[inline(always)]
    fn answer(self) -> Answer {
        match self {
            Ok(value) => value.answer(),
            Err(errno) => Answer { ok: 0, value: errno.raw() as usize as *mut u8 },
        }
    }
}

/// What `press` makes of the values that were alive across the call: a start, in turn rotated by 5 and xored with the
/// next. The start is only there after the call, so no part of it can be had before.
macro_rules! mix {
    ($start:expr, $($value:ident)*) => {{
        let mut sum = $start;
        $(sum = (sum << 5 | sum >> 59) ^ $value;)*
        sum
    }};
}

macro_rules! probes {
    ($($name:ident($($arg:ident: $type:ty),*) -> $returns:ident = $call:literal;)*) => {$(
        pub mod $name {
            use super::*;

            #[unsafe(export_name = concat!("answer.", stringify!($name)))]
            pub unsafe extern "C" fn answer($($arg: $type),*) -> Answer {
                unsafe { super::$name($(Argument::from($arg)),*) }.answer()
            }

            #[unsafe(export_name = concat!("order.", stringify!($name)))]
            pub unsafe extern "C" fn order(at: *mut u64, value: u64, $($arg: $type),*) -> u64 {
                unsafe {
                    *at = value;
                    let _ = super::$name($(Argument::from($arg)),*);
                    *at
                }
            }

            #[unsafe(export_name = concat!("press.", stringify!($name)))]
            pub unsafe extern "C" fn press(at: *const [u64; 16], $($arg: $type),*) -> u64 {
                unsafe {
                    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = *at;
                    let _ = super::$name($(Argument::from($arg)),*);
                    mix!((*at)[0], a b c d e f g h i j k l m n o p)
                }
            }
        }
    )*};
}

functions!(probes);
stubs!(probes);

mod values {
    use super::*;

    macro_rules! values {
        ($($name:ident($($arg:ident: $type:ty),*) -> $returns:ident = $call:literal;)*) => {$(
            #[unsafe(export_name = concat!("value.", stringify!($name)))]
            pub unsafe extern "C" fn $name(at: *mut ulong, $($arg: $type),*) {
                unsafe {
                    // As `make` below finds it in memory.
                    let call = Call::$name($(Argument::from($arg)),*);
                    let [nr, a, b, c, d, e, f]: [ulong; 7] = core::mem::transmute(call);
                    // Volatile, so that the words go one by one and not in vector registers, which have no P-code.
                    at.write_volatile(nr);
                    at.add(1).write_volatile(a);
                    at.add(2).write_volatile(b);
                    at.add(3).write_volatile(c);
                    at.add(4).write_volatile(d);
                    at.add(5).write_volatile(e);
                    at.add(6).write_volatile(f);
                }
            }
        )*};
    }

    functions!(values);
}

/// `check.NAME`: whether `Call::check` refuses the call, by a kernel made of words: log2 of the page size; the address
/// space; the version, 16 bits each; whether files are regular. 0 is what isn't stated.
#[cfg(checks)]
mod checks {
    use super::*;

    fn kernel(page: ulong, space: ulong, version: ulong, regular: ulong) -> Kernel {
        let mut kernel = Kernel::new(Arch::HOST, PageSize::new(1 << page).unwrap());
        if space != 0 {
            kernel = kernel.address_space(space as u64);
        }
        if version != 0 {
            kernel = kernel.version((version >> 16) as u16, version as u16);
        }
        if regular != 0 { kernel.regular_file() } else { kernel }
    }

    macro_rules! checks {
        ($($name:ident($($arg:ident: $type:ty),*) -> $returns:ident = $call:literal;)*) => {$(
            #[unsafe(export_name = concat!("check.", stringify!($name)))]
            pub extern "C" fn $name(
                page: ulong, space: ulong, version: ulong, regular: ulong, $($arg: $type),*
            ) -> Answer {
                let call = Call::$name($(Argument::from($arg)),*);
                call.check(&kernel(page, space, version, regular)).map_err(|refusal| refusal.errno()).answer()
            }
        )*};
    }

    functions!(checks);
}

/// `OWNER.NAME`: the owners' operations on a range, and the functions that say what the owner is.
#[cfg(owners)]
mod owners {
    use super::*;

    macro_rules! operations {
        ($($symbol:literal: $name:ident($owner:ty $(, $arg:ident: $type:ty)*);)*) => {$(
            #[unsafe(export_name = $symbol)]
            pub extern "C" fn $name(it: &$owner, start: usize, end: usize $(, $arg: $type)*) -> Answer {
                it.$name(start..end $(, Argument::from($arg))*).map_err(|error| error.errno()).answer()
            }
        )*};
    }

    operations! {
        "reservation.commit": commit(Reservation);
        "reservation.purge": purge(Reservation);
        "reservation.decommit": decommit(Reservation);
        "mapping.sync": sync(Mapping, flags: int);
    }

    macro_rules! fields {
        ($($symbol:literal: $name:ident($it:ident: $owner:ty) = $value:expr;)*) => {$(
            #[unsafe(export_name = $symbol)]
            pub extern "C" fn $name($it: &$owner) -> usize {
                $value
            }
        )*};
    }

    fields! {
        "reservation.as_ptr": reservation_at(it: Reservation) = it.as_ptr().addr();
        "reservation.len": reservation_len(it: Reservation) = it.len();
        "reservation.size_of": reservation_size_of(it: Reservation) = size_of_val(it);
        "reservation.granule": reservation_granule(it: Reservation) = it.granule().log2() as usize;
        "reservation.mode": reservation_mode(it: Reservation) = (it.mode() == Mode::Strict).into();
        "mapping.as_ptr": mapping_at(it: Mapping) = it.as_ptr().addr();
        "mapping.len": mapping_len(it: Mapping) = it.len();
        "mapping.size_of": mapping_size_of(it: Mapping) = size_of_val(it);
        "mapping.granule": mapping_granule(it: Mapping) = it.granule().log2() as usize;
    }
}

/// Makes a call that was written down.
#[unsafe(export_name = "make")]
pub unsafe extern "C" fn make(at: *const Call) -> Answer {
    unsafe { (*at).make() }.answer()
}

/// Decodes a result word.
#[unsafe(export_name = "decode")]
pub extern "C" fn decode(word: ptr) -> Answer {
    Errno::decode(Word::ptr(word)).answer()
}

/// Calls with the address of a local variable, and returns what that holds then.
#[unsafe(export_name = "local")]
pub unsafe extern "C" fn local(addr: ptr, len: ulong, value: u64) -> u64 {
    let mut local = value;
    let _ = unsafe { mincore(addr, len, (&raw mut local).cast()) };
    local
}

unsafe extern "C" {
    /// Stands for any panic; the prover refuses to come here.
    safe fn panicked() -> !;
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    panicked()
}
