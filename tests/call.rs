//! Calls as values: their laws, their layout, and their printed form, which is strace's.
mod common;
#[path = "differential/laws.rs"]
mod laws;
mod verdicts;

use common::{at, page, traced};
use rawmap::{
    Advice, Call, MapFlags, MlockAllFlags, MlockFlags, MremapFlags, MsyncFlags, Operation,
    PageSize, Prot, Word, arch::nr,
};
use static_assertions::assert_impl_all;
use std::collections::HashSet;
use std::mem::{align_of, offset_of, size_of, transmute};
use verdicts::kernels;
use verdicts::source::{self, Source};

#[test]
fn laws_hold_of_any_words() {
    let (mut source, mut met) = (source::Seeded(1), HashSet::new());
    let usual = if common::emulator().is_some() { 20_000 } else { 200_000 };
    let cases = common::number("RAWMAP_CASES", usual);
    (0..cases).for_each(|_| laws::hold(&mut source, &mut met));
    // Random words seldom lie near an edge.
    let kernels = kernels();
    for _ in 0..cases / 2 {
        let of = source.pick(&kernels);
        let page = PageSize::new(of.page).unwrap();
        laws::of_call(verdicts::call(&of, &mut source), page, &mut source, &mut met);
    }
    let unmet = laws::unmet(&met);
    assert!(unmet.is_empty() || cases < 200_000, "by these nothing was refused: {unmet:#?}");
}

#[test]
fn a_call_is_its_number_and_six_words() {
    /// What a C program would read.
    #[repr(C)]
    struct Plain {
        number: usize,
        args: [usize; 6],
    }
    assert_eq!((size_of::<Call>(), align_of::<Call>()), (56, 8));
    assert_eq!((offset_of!(Plain, number), offset_of!(Plain, args)), (0, 8));
    let call = Call::mmap(at(1), 2, Prot::from_bits(3), MapFlags::from_bits(4), -5, 6);
    // SAFETY: both are seven words of initialised bytes, and any bytes are a `Plain`.
    let plain = unsafe { transmute::<Call, Plain>(call) };
    assert_eq!((plain.number, plain.args), (nr::MMAP, [1, 2, 3, 4, usize::MAX - 4, 6]));
    let words = plain.args.map(Word::int);
    assert_eq!(Call::from_words(plain.number, words), Some(call));
}

assert_impl_all!(Call: Send, Sync, Copy);
assert_impl_all!(Operation: Send, Sync, Copy);

/// Every address in a constant, also one of an object: nothing asks where it lies.
const OF_A_STATIC: Operation = {
    static OBJECT: u8 = 7;
    Call::madvise((&raw const OBJECT).cast_mut(), 1, Advice::NORMAL).operation()
};

#[test]
fn a_call_keeps_provenance_in_constants_too() {
    let Operation::Madvise { addr, len: 1, advice: Advice::NORMAL } = OF_A_STATIC else {
        panic!("{OF_A_STATIC:?}");
    };
    // SAFETY: a static byte.
    assert_eq!(unsafe { addr.as_ptr().read() }, 7);
}

#[test]
fn each_call_is_the_operation_of_its_name() {
    let words = [1, 2, 3, 4, 5, 6].map(Word::int);
    for (name, number, ..) in laws::SHAPES {
        let call = Call::from_words(number, words).unwrap();
        let debug = format!("{:?}", call.operation()).to_lowercase();
        assert_eq!(debug.split(' ').next(), Some(name));
        assert_eq!((call.number(), Call::from(call.operation())), (number, call));
    }
}

#[test]
fn calls_of_other_families_are_not_read() {
    for (number, name) in [(libc::SYS_brk, "brk"), (libc::SYS_pkey_mprotect, "pkey_mprotect")] {
        assert_eq!(Call::from_words(number as usize, [Word::ZERO; 6]), None, "{name}");
    }
    assert_eq!(Call::from_words(usize::MAX, [Word::ZERO; 6]), None);
}

#[test]
fn words_that_a_call_does_not_take_are_dropped_and_an_int_is_cut() {
    let words = [1, 2, 0xffff_ffff_0000_0004, 4, 5, 6].map(Word::int);
    assert_eq!(Call::from_words(nr::MSYNC, words), Some(Call::msync(at(1), 2, MsyncFlags::SYNC)));
    assert_eq!(Call::from_words(nr::MUNLOCKALL, words), Some(Call::munlockall()));
}

/// Calls that strace prints as `Display` does. All are refused, or change nothing that stays.
fn printed_alike() -> Vec<Call> {
    let page = page();
    let (private, shared) = (MapFlags::PRIVATE, MapFlags::SHARED);
    let anonymous = MapFlags::ANONYMOUS;
    let rw = Prot::READ | Prot::WRITE;
    // Length 0: refused whatever the rest is.
    let none = |prot, flags, fd, offset| Call::mmap(at(0), 0, prot, flags, fd, offset);
    let mremap = |flags, new| Call::mremap(at(1), page, 2 * page, flags, at(new));
    vec![
        Call::mmap(at(0), page, rw, private | anonymous, -1, 0),
        Call::mmap(at(0), page, Prot::NONE, shared | anonymous, 7, 0),
        none(rw | Prot::EXEC, private, -1, 0),
        none(Prot::READ, shared, 1000, 4096 * page as u64),
        none(Prot::SEM, MapFlags::SHARED_VALIDATE | MapFlags::SYNC, i32::MIN, 0),
        none(Prot::READ | Prot::GROWSDOWN, shared | anonymous, -1, 0x1234_5678_9abc),
        none(Prot::WRITE | Prot::GROWSUP, private | MapFlags::FIXED | anonymous, -1, 0),
        none(Prot::from_bits(0x8001), private | MapFlags::FIXED_NOREPLACE, -1, u64::MAX),
        none(rw, private | MapFlags::GROWSDOWN | MapFlags::STACK, -1, 0),
        none(rw, shared | MapFlags::DENYWRITE | MapFlags::EXECUTABLE, -1, 0),
        none(rw, private | MapFlags::LOCKED | MapFlags::NORESERVE, -1, 0),
        none(rw, shared | MapFlags::POPULATE | MapFlags::NONBLOCK, -1, 0),
        none(rw, private | anonymous | MapFlags::huge(21), -1, 0),
        none(rw, private | MapFlags::HUGETLB, -1, 0),
        none(rw, private | MapFlags::from_bits(0x20_0000), -1, 0),
        none(rw, MapFlags::FILE, -1, 0),
        Call::mmap(at(0x1001), page, rw, private | MapFlags::FIXED | anonymous, -1, 0),
        Call::munmap(at(0), 0),
        Call::munmap(at(0xfff), usize::MAX),
        Call::munmap(at(usize::MAX), 1),
        Call::mprotect(at(0), 0, Prot::NONE),
        Call::mprotect(at(1), page, rw | Prot::EXEC),
        Call::mprotect(at(page), 0, Prot::READ | Prot::GROWSDOWN | Prot::from_bits(0x100)),
        Call::msync(at(0), 0, MsyncFlags::SYNC),
        Call::msync(at(1), 1, MsyncFlags::ASYNC | MsyncFlags::INVALIDATE),
        Call::msync(at(1), 1, MsyncFlags::SYNC | MsyncFlags::from_bits(0x40)),
        Call::msync(at(1), 1, MsyncFlags::default()),
        mremap(MremapFlags::default(), 0),
        mremap(MremapFlags::MAYMOVE, 0),
        mremap(MremapFlags::MAYMOVE | MremapFlags::FIXED, 0x7000),
        mremap(MremapFlags::MAYMOVE | MremapFlags::DONTUNMAP, 0),
        mremap(MremapFlags::from_bits(0x9), 0),
        Call::madvise(at(0), 0, Advice::NORMAL),
        Call::madvise(at(1), page, Advice::DONTNEED),
        Call::madvise(at(1), page, Advice::FREE),
        Call::madvise(at(1), usize::MAX, Advice::POPULATE_WRITE),
        Call::madvise(at(1), page, Advice::HWPOISON),
        Call::mlock(at(0), 0),
        Call::mlock(at(usize::MAX), page),
        Call::mlock2(at(0), 0, MlockFlags::ONFAULT),
        Call::mlock2(at(1), 0, MlockFlags::from_bits(3)),
        Call::munlock(at(0), 0),
        Call::mlockall(MlockAllFlags::ONFAULT),
        Call::mlockall(MlockAllFlags::from_bits(0xf)),
        Call::munlockall(),
    ]
}

/// Calls that strace prints otherwise, as the documentation of `Call` says: strace's form with
/// strace 6.1, and ours.
fn printed_otherwise() -> Vec<(Call, &'static str, &'static str)> {
    let dontunmap = MremapFlags::MAYMOVE | MremapFlags::DONTUNMAP;
    let none = |prot, flags| Call::mmap(at(0), 0, prot, flags, -1, 0);
    let high = MapFlags::PRIVATE | MapFlags::from_bits(1 << 32);
    vec![
        (Call::mincore(at(1), 0, at(0x10)), "mincore(0x1, 0, [])", "mincore(0x1, 0, 0x10)"),
        (
            Call::mremap(at(1), 1, 1, dontunmap, at(0x7000)),
            "mremap(0x1, 1, 1, MREMAP_MAYMOVE|MREMAP_DONTUNMAP)",
            "mremap(0x1, 1, 1, MREMAP_MAYMOVE|MREMAP_DONTUNMAP, 0x7000)",
        ),
        (
            Call::mprotect(at(1), 0, Prot::from_bits(0x8000)),
            "mprotect(0x1, 0, 0x8000 /* PROT_??? */)",
            "mprotect(0x1, 0, 0x8000)",
        ),
        (
            none(Prot::NONE, MapFlags::from_bits(0xf)),
            "mmap(NULL, 0, PROT_NONE, 0xf /* MAP_??? */, -1, 0)",
            "mmap(NULL, 0, PROT_NONE, 0xf, -1, 0)",
        ),
        (
            none(Prot::NONE, high),
            "mmap(NULL, 0, PROT_NONE, MAP_PRIVATE, -1, 0)",
            "mmap(NULL, 0, PROT_NONE, MAP_PRIVATE|0x100000000, -1, 0)",
        ),
        (
            none(Prot::NONE, MapFlags::ANONYMOUS),
            "mmap(NULL, 0, PROT_NONE, MAP_FILE|MAP_ANONYMOUS, -1, 0)",
            "mmap(NULL, 0, PROT_NONE, MAP_ANONYMOUS, -1, 0)",
        ),
        (
            none(Prot::NONE, MapFlags::PRIVATE | MapFlags::UNINITIALIZED),
            "mmap(NULL, 0, PROT_NONE, MAP_PRIVATE|1<<MAP_HUGE_SHIFT, -1, 0)",
            "mmap(NULL, 0, PROT_NONE, MAP_PRIVATE|MAP_UNINITIALIZED, -1, 0)",
        ),
        (
            none(Prot::NONE, MapFlags::DROPPABLE),
            "mmap(NULL, 0, PROT_NONE, 0x8 /* MAP_??? */, -1, 0)",
            "mmap(NULL, 0, PROT_NONE, MAP_DROPPABLE, -1, 0)",
        ),
        (
            Call::madvise(at(1), 0, Advice::GUARD_INSTALL),
            "madvise(0x1, 0, 0x66 /* MADV_??? */)",
            "madvise(0x1, 0, MADV_GUARD_INSTALL)",
        ),
        #[cfg(target_arch = "x86_64")]
        (
            none(Prot::NONE, MapFlags::PRIVATE | MapFlags::MAP_32BIT | MapFlags::NORESERVE),
            "mmap(NULL, 0, PROT_NONE, MAP_PRIVATE|MAP_32BIT|MAP_NORESERVE, -1, 0)",
            "mmap(NULL, 0, PROT_NONE, MAP_PRIVATE|MAP_NORESERVE|MAP_32BIT, -1, 0)",
        ),
    ]
}

#[test]
fn calls_print_as_strace_prints_them() {
    let otherwise = printed_otherwise();
    let mut calls = printed_alike();
    calls.extend(otherwise.iter().map(|(call, ..)| *call));
    if traced::is_traced() {
        traced::mark();
        for call in calls {
            // SAFETY: each is refused, or changes nothing that anyone relies on.
            let _ = unsafe { call.make() };
        }
        return traced::mark();
    }
    let names = laws::SHAPES.map(|shape| shape.0).into_iter().filter(|name| *name != "mseal");
    let names: Vec<_> = names.collect();
    let (seen, version) = match traced::trace("calls_print_as_strace_prints_them", &names) {
        Ok(traced) => traced,
        Err(why) => return skip!("{why}"),
    };
    println!("{version}");
    let seen = &seen[0];
    assert_eq!(seen.len(), calls.len(), "calls that strace saw: {seen:#?}");
    let alike = calls.len() - otherwise.len();
    let differ =
        seen.iter().zip(&calls).take(alike).filter(|(seen, call)| form(seen) != call.to_string());
    let differ: Vec<_> = differ.map(|(seen, call)| format!("{call}\n{seen}")).collect();
    assert!(differ.is_empty(), "ours, then strace's:\n{}", differ.join("\n"));
    for (seen, (call, theirs, ours)) in seen[alike..].iter().zip(otherwise) {
        assert_eq!(call.to_string(), ours);
        // Newer straces may know more.
        assert!(form(seen) == theirs || !version.ends_with("version 6.1"), "{seen}");
    }
}

/// A line of strace's without the result.
fn form(line: &str) -> &str {
    line.rsplit_once(" = ").map_or(line, |(call, _)| call.trim_end())
}
