//! Loops that would keep vectors and predicates across system calls, which a real kernel destroys:
//! each compares what it computed with what a loop without vectors computes.
//!
//! usage: vectors [BYTES], where BYTES is the vector length to ask for (aarch64)
//!
//! Ends with 0 when no byte was wrong, 1 when with every call some were, 3 when with some calls some
//! were, and 2 when this can't be found out. With the feature `control` the calls are made by a stub
//! that does not tell the compiler what is destroyed, and so it must end with 1.
#![cfg_attr(all(feature = "caller", target_arch = "riscv64"), feature(riscv_target_feature))]

#[cfg(feature = "control")]
#[path = "plain.rs"]
mod plain;

use rawmap::{
    Advice, MapFlags, MlockAllFlags, MlockFlags, MremapFlags, MsealFlags, MsyncFlags, NO_FD,
    PageSize, Prot,
};
use std::hint::black_box;
use std::process::ExitCode;
use std::ptr::{null_mut, without_provenance_mut};

/// How many times each loop makes its call.
const PASSES: usize = 10;
const RW: Prot = Prot::READ.union(Prot::WRITE);

/// What the calls are about: four pages and a byte for each, and no page.
struct Memory {
    at: *mut u8,
    page: usize,
    resident: *mut u8,
    hole: *mut u8,
}

/// The call under test: a function of the crate, or the same call by the plain stub.
#[cfg(not(feature = "control"))]
macro_rules! made {
    ($name:ident($($arg:expr),*)) => { rawmap::$name($($arg),*) };
}
#[cfg(feature = "control")]
macro_rules! made {
    ($name:ident($($arg:expr),*)) => { plain::make(&rawmap::Call::$name($($arg),*)) };
}

/// Expands to a function that runs the pass over two arrays, which the compiler makes of vectors,
/// and then a call, again and again; does the same by single elements; and returns how many bytes
/// differ.
macro_rules! wrong {
    ($type:ty, $m:ident $call:block, |$x:ident, $y:ident, $k:ident| $step:expr) => {{
        #[inline(never)]
        #[cfg_attr(all(feature = "caller", target_arch = "riscv64"), target_feature(enable = "v"))]
        #[cfg_attr(
            all(feature = "caller", target_arch = "aarch64"),
            target_feature(enable = "sve")
        )]
        unsafe fn vectors(a: &mut [$type; 256], b: &[$type; 256], $k: $type, $m: &Memory) -> usize {
            let mut failed = 0;
            for _ in 0..PASSES {
                for (x, y) in a.iter_mut().zip(b) {
                    let ($x, $y) = (*x, *y);
                    let _ = $x;
                    *x = $step;
                }
                // The array is in memory at each pass, not in registers over all of them.
                black_box(&mut *a);
                // SAFETY: the calls are about the program's own memory, which nothing refers to.
                failed += usize::from(unsafe { $call });
            }
            failed
        }

        #[inline(never)]
        fn elements(a: &mut [$type; 256], b: &[$type; 256], $k: $type) {
            for _ in 0..PASSES {
                for (x, y) in a.iter_mut().zip(b) {
                    let ($x, $y) = (black_box(*x), *y);
                    let _ = $x;
                    *x = $step;
                }
            }
        }

        |memory: &Memory| {
            let b = std::array::from_fn(|n| (n * 37 + 5) as $type);
            let (mut got, mut right) = (b, b);
            let k = black_box(77);
            // SAFETY: the processor has vectors; main found out.
            let failed = unsafe { vectors(&mut got, &b, k, memory) };
            elements(&mut right, &b, k);
            let bytes = got.iter().zip(&right).map(|(x, y)| (x ^ y).to_ne_bytes());
            Wrong { bytes: bytes.flatten().filter(|byte| *byte != 0).count(), failed }
        }
    }};
}

struct Wrong {
    bytes: usize,
    failed: usize,
}

type Loop = fn(&Memory) -> Wrong;

/// Expands to a table: each call with four loops around it. The block says whether it failed.
macro_rules! calls {
    ($($name:ident($m:ident) $call:block)*) => {
        const CALLS: &[(&str, [Loop; 4])] = &[$((stringify!($name), [
            wrong!(u64, $m $call, |_x, _y, k| k),
            wrong!(u8, $m $call, |x, y, k| x ^ y ^ k),
            wrong!(u8, $m $call, |x, y, k| x.wrapping_mul(k).wrapping_add(y)),
            wrong!(u32, $m $call, |x, y, k| if y > k { x.wrapping_add(k) } else { x }),
        ])),*];
    };
}
const LOOPS: [&str; 4] = ["fill", "xor", "scale", "select"];

calls! {
    mmap(m) {
        let flags = MapFlags::PRIVATE.union(MapFlags::ANONYMOUS).union(MapFlags::FIXED);
        made!(mmap(m.at, m.page, RW, flags, NO_FD, 0)).is_err()
    }
    mmap_anonymous(m) {
        let flags = MapFlags::PRIVATE.union(MapFlags::FIXED);
        made!(mmap_anonymous(m.at, m.page, RW, flags)).is_err()
    }
    munmap(m) { made!(munmap(m.hole, m.page)).is_err() }
    munmap_that_fails(_m) { made!(munmap(without_provenance_mut(1), 1)).is_ok() }
    munmap_after_mmap(m) {
        let at = made!(mmap_anonymous(null_mut(), m.page, RW, MapFlags::PRIVATE));
        made!(munmap(at.unwrap_or(null_mut()), m.page)).is_err() | at.is_err()
    }
    mprotect(m) { made!(mprotect(m.at, m.page, RW)).is_err() }
    msync(m) { made!(msync(m.at, m.page, MsyncFlags::SYNC)).is_err() }
    mremap(m) { made!(mremap(m.at, m.page, m.page, MremapFlags::MAYMOVE, null_mut())).is_err() }
    madvise(m) { made!(madvise(m.at, m.page, Advice::DONTNEED)).is_err() }
    mincore(m) { made!(mincore(m.at, 4 * m.page, m.resident)).is_err() }
    mlock(m) { made!(mlock(m.at, m.page)).is_err() }
    mlock2(m) { made!(mlock2(m.at, m.page, MlockFlags::ONFAULT)).is_err() }
    munlock(m) { made!(munlock(m.at, m.page)).is_err() }
    mlockall(_m) { made!(mlockall(MlockAllFlags::CURRENT.union(MlockAllFlags::ONFAULT))).is_err() }
    munlockall(_m) { made!(munlockall()).is_err() }
    // A kernel before 6.10 has no such call: that is no matter here.
    mseal(m) { let _ = made!(mseal(m.at, 0, MsealFlags::default())); false }
}

fn memory() -> Result<Memory, rawmap::Errno> {
    let page = PageSize::find()?.bytes();
    // SAFETY: new mappings; what is unmapped is never used.
    unsafe {
        let at = rawmap::mmap_anonymous(null_mut(), 6 * page, RW, MapFlags::PRIVATE)?;
        let [resident, hole] = [at.add(4 * page), at.add(5 * page)];
        rawmap::munmap(hole, page)?;
        Ok(Memory { at, page, resident, hole })
    }
}

/// Sets the vector length, and returns it, in bytes.
#[cfg(target_arch = "aarch64")]
fn vector_bytes(wanted: Option<usize>) -> Option<usize> {
    use rawmap::Word;
    const PRCTL: usize = 167;
    const PR_SVE_SET_VL: i32 = 50;
    const PR_SVE_GET_VL: i32 = 51;
    let [option, bytes] = match wanted {
        Some(bytes) => [Word::signed(PR_SVE_SET_VL), Word::int(bytes)],
        None => [Word::signed(PR_SVE_GET_VL), Word::ZERO],
    };
    // SAFETY: the state of the vectors is lost, as with any system call.
    let result = rawmap::Errno::decode(unsafe { rawmap::arch::syscall2(option, bytes, PRCTL) });
    result.ok().map(|flags_and_bytes| flags_and_bytes.bits() & 0xffff)
}

/// The vector length in bytes; the machine has but one.
#[cfg(target_arch = "riscv64")]
fn vector_bytes(_wanted: Option<usize>) -> Option<usize> {
    let bytes;
    // SAFETY: reads the register vlenb. Without V this is SIGILL, and the end.
    unsafe { std::arch::asm!("csrr {}, 0xc22", out(reg) bytes, options(nomem, nostack)) };
    Some(bytes)
}

#[cfg(not(any(target_arch = "aarch64", target_arch = "riscv64")))]
fn vector_bytes(_wanted: Option<usize>) -> Option<usize> {
    None // The kernel keeps vectors there.
}

fn main() -> ExitCode {
    let wanted = std::env::args().nth(1).map(|bytes| bytes.parse().expect("BYTES"));
    let bytes = vector_bytes(wanted);
    if bytes.is_none() || wanted.is_some_and(|wanted| bytes != Some(wanted)) {
        println!("no vectors of the length {wanted:?} here, but {bytes:?}");
        return ExitCode::from(2);
    }
    println!("vectors of {} bits", bytes.unwrap_or_default() * 8);
    verdict(&memory().expect("memory"))
}

// By itself: in main, code with vectors could come before their length is set.
#[inline(never)]
fn verdict(memory: &Memory) -> ExitCode {
    let (mut bad, mut broken) = (0, false);
    for (name, loops) in CALLS {
        let results = loops.map(|run| run(memory));
        if results.iter().any(|wrong| wrong.bytes > 0) {
            let list =
                LOOPS.iter().zip(&results).map(|(name, wrong)| format!("{name} {}", wrong.bytes));
            println!("{name}: wrong bytes: {}", list.collect::<Vec<_>>().join(", "));
            bad += 1;
        }
        if results.iter().any(|wrong| wrong.failed > 0) {
            println!("{name}: not what the call should answer");
            broken = true;
        }
    }
    println!("{bad} of {} calls with wrong bytes; {} loops with each", CALLS.len(), LOOPS.len());
    ExitCode::from(match bad {
        _ if broken => 2,
        0 => 0,
        _ if bad == CALLS.len() => 1,
        _ => 3,
    })
}
