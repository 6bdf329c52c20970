//! check: each rule by itself, their order, and all of them against the running kernel: what check
//! refuses is refused so, and what is refused for the words of the call it had refused.
mod common;
mod differential;

use common::at;
use differential::source::Seeded;
use differential::{BATCH, Tally, World, name_of};
use rawmap::{
    Advice, Arch, Call, Errno, ErrnoSet, Kernel, MapFlags, MlockAllFlags, MlockFlags, MremapFlags,
    MsealFlags, MsyncFlags, PageSize, Prot, Refusal,
};
use std::collections::BTreeSet;

const PAGE: usize = 4096;
/// The kernel of the rules below: an address space of 2^46 bytes, and files that are regular.
const KERNEL: Kernel = UNSTATED.version(6, 18).regular_file();
/// The same, of any version, with any file.
const UNSTATED: Kernel =
    Kernel::new(Arch::HOST, PageSize::new(PAGE).unwrap()).address_space(1 << 46);

const PRIVATE: MapFlags = MapFlags::PRIVATE.union(MapFlags::ANONYMOUS);
const SHARED: MapFlags = MapFlags::SHARED.union(MapFlags::ANONYMOUS);
const MAYMOVE: MremapFlags = MremapFlags::MAYMOVE;
const LAST: usize = 0usize.wrapping_sub(PAGE);

const fn map(addr: usize, len: usize, flags: MapFlags, offset: u64) -> Call {
    Call::mmap(std::ptr::without_provenance_mut(addr), len, Prot::READ, flags, 3, offset)
}

const fn of_no_file(flags: MapFlags, offset: u64) -> Call {
    Call::mmap(std::ptr::null_mut(), 0, Prot::READ, flags, -1, offset)
}

/// Every reason once, by name: a call, its error, and the sentence.
fn every_reason() -> Vec<(&'static str, Call, Errno, &'static str)> {
    use Errno as E;
    let mremap =
        |old, old_len, new_len, flags, new| Call::mremap(at(old), old_len, new_len, flags, at(new));
    let mprotect = |prot| Call::mprotect(at(0), PAGE, Prot::from_bits(prot));
    let msync = |flags| Call::msync(at(0), 0, MsyncFlags::from_bits(flags));
    let validate = MapFlags::SHARED_VALIDATE;
    vec![
        (
            "AddressUnaligned",
            Call::munmap(at(0x1001), 0),
            E::EINVAL,
            "address 0x1001 is not a multiple of the page size 4096",
        ),
        (
            "AddressIsError",
            map(usize::MAX, PAGE, PRIVATE | MapFlags::FIXED, 0),
            E::EPERM,
            "fixed address 0xffffffffffffffff is an error to the kernel",
        ),
        (
            "AddressUnalignedHuge",
            map(PAGE, 1, PRIVATE | MapFlags::FIXED | MapFlags::huge(21), 0),
            E::EINVAL,
            "address 0x1000 is not a multiple of the huge-page size 2097152",
        ),
        (
            "OffsetUnaligned",
            map(0, PAGE, PRIVATE, 100),
            E::EINVAL,
            "offset 100 is not a multiple of the page size 4096",
        ),
        (
            "OffsetUnalignedHuge",
            map(0, 1, PRIVATE | MapFlags::huge(21), 4096),
            E::EINVAL,
            "offset 4096 is not a multiple of the huge-page size 2097152",
        ),
        ("LengthZero", Call::munmap(at(PAGE), 0), E::EINVAL, "the length is 0"),
        (
            "LengthWraps",
            map(0, usize::MAX, PRIVATE, 0),
            E::ENOMEM,
            "length 18446744073709551615 wraps to 0 when rounded up to whole pages",
        ),
        (
            "RangeWraps",
            Call::msync(at(LAST), 2 * PAGE, MsyncFlags::SYNC),
            E::ENOMEM,
            "address 0xfffffffffffff000 plus length 8192 wraps around",
        ),
        (
            "BeyondAddressSpace",
            Call::munmap(at(1 << 46), 1),
            E::EINVAL,
            "1 bytes from 0x400000000000 on end behind the address space of 0x400000000000",
        ),
        (
            "NoFile",
            of_no_file(MapFlags::PRIVATE, 0),
            E::EBADF,
            "-1 is not a file descriptor, and there is no MAP_ANONYMOUS",
        ),
        (
            "NoSharing",
            map(0, 1, MapFlags::ANONYMOUS, 0),
            E::EINVAL,
            "there is neither MAP_SHARED nor MAP_PRIVATE",
        ),
        (
            "UnknownSharing",
            map(0, 1, validate | MapFlags::ANONYMOUS, 0),
            E::EINVAL,
            "MAP_SHARED_VALIDATE is no sharing that this kind of mapping can have",
        ),
        (
            "CannotGrow",
            map(0, 1, SHARED | MapFlags::GROWSDOWN, 0),
            E::EINVAL,
            "a mapping with MAP_SHARED|MAP_ANONYMOUS|MAP_GROWSDOWN can't grow down: only private anonymous memory can",
        ),
        (
            "CannotLock",
            map(0, 1, MapFlags::DROPPABLE | MapFlags::ANONYMOUS | MapFlags::LOCKED, 0),
            E::EINVAL,
            "a mapping with MAP_DROPPABLE|MAP_ANONYMOUS|MAP_LOCKED can't be locked: it is droppable",
        ),
        (
            "UnknownMapFlags",
            map(0, 1, validate | MapFlags::FIXED_NOREPLACE, 0),
            E::EOPNOTSUPP,
            "MAP_SHARED_VALIDATE, and 0x100000 is not known",
        ),
        (
            "UnknownHugeSize",
            map(0, 1, PRIVATE | MapFlags::huge(22), 0),
            E::EINVAL,
            "there are no huge pages of 4194304 bytes with pages of 4096",
        ),
        (
            "NotHugetlbfs",
            map(0, 1, MapFlags::SHARED | MapFlags::HUGETLB, 0),
            E::EINVAL,
            "MAP_HUGETLB, and the file is not on hugetlbfs",
        ),
        (
            "FileTooLong",
            map(0, 1, MapFlags::SHARED, 1 << 63),
            E::EOVERFLOW,
            "no file has 1 bytes from offset 9223372036854775808 on",
        ),
        ("UnknownProt", mprotect(0x4f), E::EINVAL, "protection 0x40 is not known"),
        (
            "GrowsBothWays",
            mprotect(0x300_0000),
            E::EINVAL,
            "both of PROT_GROWSDOWN and PROT_GROWSUP",
        ),
        (
            "GrowsUp",
            mprotect(0x200_0001),
            E::EINVAL,
            "PROT_GROWSUP, and mappings don't grow up here",
        ),
        ("UnknownFlags", msync(8 | 4), E::EINVAL, "flags 0x8 are not known"),
        ("SyncAndAsync", msync(1 | 4), E::EINVAL, "both of MS_SYNC and MS_ASYNC"),
        (
            "UnknownFlags",
            mremap(0, 1, 1, MremapFlags::from_bits(9), 0),
            E::EINVAL,
            "flags 0x8 are not known",
        ),
        (
            "MustMove",
            mremap(0, 1, 1, MremapFlags::FIXED, PAGE),
            E::EINVAL,
            "MREMAP_FIXED without MREMAP_MAYMOVE",
        ),
        (
            "DontunmapResizes",
            mremap(0, 1, 5000, MAYMOVE | MremapFlags::DONTUNMAP, 0),
            E::EINVAL,
            "MREMAP_DONTUNMAP from length 1 to another, 5000",
        ),
        (
            "Overlap",
            mremap(0, 5000, 1, MAYMOVE | MremapFlags::FIXED, PAGE),
            E::EINVAL,
            "1 bytes from 0x1000 on overlap 5000 from 0x0 on",
        ),
        (
            "DuplicateMustMove",
            mremap(PAGE, 0, PAGE, MremapFlags::from_bits(0), 0),
            E::ENOMEM,
            "4096 bytes from 0x1000 on a second time, without MREMAP_MAYMOVE",
        ),
        (
            "UnknownAdvice",
            Call::madvise(at(0), 0, Advice::from_bits(-1)),
            E::EINVAL,
            "advice -1 is not known",
        ),
        (
            "VecUnwritable",
            Call::mincore(at(0), 5000, at(usize::MAX)),
            E::EFAULT,
            "2 bytes from 0xffffffffffffffff on are not memory that can be written",
        ),
        (
            "UnknownFlags",
            Call::mlock2(at(0), 0, MlockFlags::from_bits(2)),
            E::EINVAL,
            "flags 0x2 are not known",
        ),
        (
            "BadMlockallFlags",
            Call::mlockall(MlockAllFlags::ONFAULT),
            E::EINVAL,
            "MCL_ONFAULT is neither MCL_CURRENT nor MCL_FUTURE, or not known",
        ),
        (
            "UnknownFlags",
            Call::mseal(at(0), 0, MsealFlags::from_bits(1)),
            E::EINVAL,
            "flags 0x1 are not known",
        ),
    ]
}

/// The names of all reasons, from the source.
fn reasons() -> BTreeSet<String> {
    let source = include_str!("../src/check/reason.rs");
    let body = source.split("\nreasons! {").nth(1).unwrap().split("\n}").next().unwrap();
    let lines = body.lines().map(str::trim).filter(|line| line.starts_with(char::is_uppercase));
    lines.map(|line| line.split([' ', ',']).next().unwrap().to_owned()).collect()
}

#[test]
fn each_reason_has_its_error_and_its_sentence() {
    let old = KERNEL.version(6, 9);
    let mseal = Call::mseal(at(0), 0, MsealFlags::default());
    let mut seen = BTreeSet::new();
    let rows = every_reason().into_iter().map(|row| (KERNEL, row));
    let no_call = ("UnknownCall", mseal, Errno::ENOSYS, "the kernel is too old for this call");
    // MAP_32BIT on x86_64 looks for a place in one GiB.
    let low = map(0, (1 << 30) + 1, PRIVATE | MapFlags::from_bits(0x40), 0);
    let sentence = "1073741825 bytes are more than the 1073741824 where mmap looks for a place";
    let x86 = Kernel::new(Arch::X86_64, PageSize::new(PAGE).unwrap());
    let no_place = (x86, ("NoPlace", low, Errno::ENOMEM, sentence));
    for (kernel, (name, call, errno, sentence)) in rows.chain([(old, no_call), no_place]) {
        let refusal = call.check(&kernel).expect_err(name);
        assert_eq!(name_of(refusal.reason()), name, "{call}");
        assert_eq!((refusal.errno(), refusal.to_string().as_str()), (errno, sentence), "{call}");
        assert_eq!(refusal.reason().to_string(), sentence);
        seen.insert(name.to_owned());
    }
    assert_eq!(seen, reasons(), "every reason has its row");
}

#[test]
fn of_several_reasons_the_first_in_the_kernels_order_is_named() {
    let odd = |flags, new| Call::mremap(at(1), 0, 0, MremapFlags::from_bits(flags), at(new));
    let fixed = PRIVATE | MapFlags::FIXED;
    let order = [
        // mmap: offset, descriptor, huge pages, length, address, sharing, file.
        ("OffsetUnaligned", of_no_file(MapFlags::FILE, 1)),
        ("NoFile", of_no_file(MapFlags::FILE, 0)),
        ("NotHugetlbfs", map(0, 0, MapFlags::HUGETLB, 0)),
        ("UnknownHugeSize", map(1, 0, MapFlags::ANONYMOUS | MapFlags::huge(22), 0)),
        ("LengthZero", map(1, 0, MapFlags::ANONYMOUS | MapFlags::FIXED, 0)),
        ("LengthWraps", map(1, usize::MAX, MapFlags::ANONYMOUS | MapFlags::FIXED, 0)),
        ("AddressIsError", map(usize::MAX, PAGE, fixed, 0)),
        ("BeyondAddressSpace", map((1 << 46) + 1, PAGE, fixed, 0)),
        ("AddressUnaligned", map(1, PAGE, MapFlags::ANONYMOUS | MapFlags::FIXED, 0)),
        ("CannotLock", map(0, 1, MapFlags::from_bits(0x2128), 0)),
        ("FileTooLong", map(0, 1, MapFlags::FILE, 1 << 63)),
        ("NoSharing", map(0, 1, MapFlags::GROWSDOWN, 0)),
        ("UnknownMapFlags", map(0, 1, MapFlags::from_bits(0x10_0103), 0)),
        // munmap: address, range, length.
        ("AddressUnaligned", Call::munmap(at((1 << 46) + 1), 0)),
        ("BeyondAddressSpace", Call::munmap(at((1 << 46) + PAGE), 0)),
        // mprotect: both ways, address, length, protection, range.
        ("GrowsBothWays", Call::mprotect(at(1), 0, Prot::from_bits(0x300_0040))),
        ("AddressUnaligned", Call::mprotect(at(1), usize::MAX, Prot::from_bits(0x40))),
        ("LengthWraps", Call::mprotect(at(0), usize::MAX, Prot::from_bits(0x40))),
        ("RangeWraps", Call::mprotect(at(LAST), 2 * PAGE, Prot::from_bits(0x40))),
        ("UnknownProt", Call::mprotect(at(1 << 46), 1, Prot::from_bits(0x40))),
        ("BeyondAddressSpace", Call::mprotect(at(1 << 46), 1, Prot::GROWSUP)),
        // msync: flags, address, both, range.
        ("UnknownFlags", Call::msync(at(1), 0, MsyncFlags::from_bits(13))),
        ("AddressUnaligned", Call::msync(at(1), 0, MsyncFlags::from_bits(5))),
        ("SyncAndAsync", Call::msync(at(LAST), 2 * PAGE, MsyncFlags::from_bits(5))),
        // mremap: flags, old address, length, new range and address, move, lengths, overlap.
        ("UnknownFlags", odd(8, 1)),
        ("AddressUnaligned", odd(2, 1)),
        ("LengthZero", Call::mremap(at(0), 1, 0, MremapFlags::FIXED, at(1 << 46))),
        ("BeyondAddressSpace", Call::mremap(at(0), 1, 2, MremapFlags::FIXED, at((1 << 46) + 1))),
        ("AddressUnaligned", Call::mremap(at(0), 1, 1, MremapFlags::FIXED, at(1))),
        ("MustMove", Call::mremap(at(0), 1, PAGE + 1, MremapFlags::DONTUNMAP, at(0))),
        ("DontunmapResizes", Call::mremap(at(0), 1, PAGE + 1, MremapFlags::from_bits(5), at(0))),
        // madvise: advice, address, range.
        ("UnknownAdvice", Call::madvise(at(1), usize::MAX, Advice::from_bits(5))),
        ("AddressUnaligned", Call::madvise(at(1), usize::MAX, Advice::NORMAL)),
        ("LengthWraps", Call::madvise(at(0), usize::MAX, Advice::NORMAL)),
        // mincore: address, range, vec.
        ("AddressUnaligned", Call::mincore(at(1), usize::MAX, at(usize::MAX))),
        ("RangeWraps", Call::mincore(at(PAGE), usize::MAX, at(usize::MAX))),
        ("VecUnwritable", Call::mincore(at(1 << 46), PAGE, at(usize::MAX))),
        // mlock2, mseal: flags first.
        ("UnknownFlags", Call::mlock2(at(LAST), PAGE + 1, MlockFlags::from_bits(2))),
        ("UnknownFlags", Call::mseal(at(1), usize::MAX, MsealFlags::from_bits(1))),
        ("AddressUnaligned", Call::mseal(at(1), usize::MAX, MsealFlags::default())),
    ];
    for (name, call) in order {
        assert_eq!(name_of(call.check(&KERNEL).expect_err(name).reason()), name, "{call}");
    }
}

#[test]
fn kernels_differ_by_version() {
    let name = |call: Call, kernel: Kernel| match call.check(&kernel) {
        Ok(()) => "passes".to_owned(),
        Err(refusal) => name_of(refusal.reason()),
    };
    let guard = Call::madvise(at(0), 0, Advice::GUARD_INSTALL);
    let droppable = map(0, 1, MapFlags::DROPPABLE | MapFlags::ANONYMOUS, 0);
    let seal = Call::mseal(at(0), 0, MsealFlags::default());
    let dontunmap = MAYMOVE | MremapFlags::DONTUNMAP;
    let rounded = Call::mremap(at(0), PAGE, PAGE - 1, dontunmap, at(PAGE));
    // By call: unstated, 6.1, 6.12, 6.18.
    let mut table = vec![
        (guard, ["passes", "UnknownAdvice", "UnknownAdvice", "passes"]),
        (droppable, ["passes", "UnknownSharing", "passes", "passes"]),
        (seal, ["passes", "UnknownCall", "passes", "passes"]),
        (rounded, ["passes", "DontunmapResizes", "DontunmapResizes", "passes"]),
    ];
    if cfg!(target_arch = "x86_64") {
        let above4g = MapFlags::SHARED_VALIDATE | MapFlags::from_bits(0x80);
        table.push((map(0, 1, above4g, 0), ["passes", "UnknownMapFlags", "passes", "passes"]));
    }
    // riscv64 takes the offset as a signed number before Linux 6.18, so that the file ends behind
    // the last number; and nobody else does.
    let last = map(0, PAGE, PRIVATE, LAST as u64);
    let old = if cfg!(target_arch = "riscv64") { "FileTooLong" } else { "passes" };
    table.push((last, ["passes", old, old, "passes"]));
    for (call, expected) in table {
        let versions =
            [UNSTATED, UNSTATED.version(6, 1), UNSTATED.version(6, 12), UNSTATED.version(6, 18)];
        assert_eq!(versions.map(|kernel| name(call, kernel)), expected, "{call}");
    }
    // A flag of mseal is refused by every kernel, but not with the same error.
    let flag = Call::mseal(at(0), 0, MsealFlags::from_bits(1)).check(&UNSTATED).unwrap_err();
    assert_eq!((flag.errno(), flag.earlier()), (Errno::EINVAL, ErrnoSet::of(&[Errno::ENOSYS])));
}

/// By call and kernel: the error, `None` for a call that passes, and what may come earlier.
#[test]
fn what_can_not_be_placed_or_grown_is_refused_where_the_words_decide_it() {
    use Errno as E;
    let new = |arch| Kernel::new(arch, PageSize::new(PAGE).unwrap());
    let (x86, arm, riscv) = (new(Arch::X86_64), new(Arch::Aarch64), new(Arch::Riscv64));
    let narrow = x86.address_space((1 << 47) - 4096);
    let (v6_12, v6_16, v6_17) = (x86.version(6, 12), x86.version(6, 16), x86.version(6, 17));
    let (here, stays) = (1 << 40, MremapFlags::from_bits(0));
    let mremap = |old_len, new_len, flags| Call::mremap(at(here), old_len, new_len, flags, at(0));
    let anonymous = |addr, len, bits| map(addr, len, PRIVATE | MapFlags::from_bits(bits), 0);
    let file = |len, bits| map(0, len, MapFlags::PRIVATE | MapFlags::from_bits(bits), 0);
    let empty = |addr, vec| Call::mincore(at(addr), 0, at(vec));
    let (gib, low) = (1 << 30, 0x40);
    for (kernel, call, errno) in [
        // mremap that grows beyond the address space.
        (x86, mremap(PAGE, 1 << 56, stays), Some(E::ENOMEM)),
        (x86, mremap(PAGE, (1 << 56) - PAGE - here, stays), None),
        (x86, mremap(PAGE, (1 << 56) - here, stays), Some(E::ENOMEM)),
        (x86, mremap(PAGE, (1 << 56) - here, MAYMOVE), None),
        // Of old length 0, or one that wraps to it.
        (x86, mremap(0, PAGE, stays), Some(E::ENOMEM)),
        (x86, mremap(usize::MAX, PAGE, stays), Some(E::ENOMEM)),
        (x86, mremap(0, PAGE, MAYMOVE), None),
        // To a length beyond the address space.
        (v6_12, mremap(PAGE, 1 << 62, MAYMOVE), Some(E::ENOMEM)),
        (v6_16, mremap(PAGE, 1 << 62, MAYMOVE), Some(E::ENOMEM)),
        (v6_17, mremap(PAGE, 1 << 62, MAYMOVE), Some(E::EINVAL)),
        // But one that neither grows nor shrinks is no more than looked up.
        (v6_16, mremap(1 << 62, 1 << 62, stays), None),
        (v6_17, mremap(1 << 62, 1 << 62, stays), Some(E::EINVAL)),
        // And what a shrink removes may lie behind the end of all numbers.
        (v6_16, mremap(here.wrapping_neg() + 2 * PAGE, here.wrapping_neg() + PAGE, stays), None),
        (
            v6_17,
            mremap(here.wrapping_neg() + 2 * PAGE, here.wrapping_neg() + PAGE, stays),
            Some(E::EINVAL),
        ),
        // An old range that leaves the address space need only begin in it.
        (narrow, mremap(1 << 47, 1 << 47, MAYMOVE), None),
        // MAP_32BIT.
        (x86, anonymous(0, gib, low), None),
        (x86, anonymous(0, gib + 1, low), Some(E::ENOMEM)),
        (x86, anonymous(PAGE - 1, gib + 1, low), Some(E::ENOMEM)),
        (x86, anonymous(PAGE, gib + PAGE, low), None),
        (x86, anonymous(PAGE, 2 * gib - PAGE, low), None),
        (x86, anonymous(PAGE, 2 * gib, low), Some(E::ENOMEM)),
        (x86, anonymous(PAGE, 2 * gib, low | 0x10), None),
        (x86, file(gib + 1, low), None),
        (x86.regular_file(), file(gib + 1, low), Some(E::ENOMEM)),
        (x86, anonymous(0, gib + 1, low | 0x4_0000 | 21 << 26), None),
        (arm, anonymous(0, gib + 1, low), None),
        // The default window.
        (x86, anonymous(0, (1 << 47) - PAGE, 0), None),
        (x86, anonymous(0, 1 << 47, 0), Some(E::ENOMEM)),
        (x86, anonymous((1 << 47) - PAGE, 1 << 47, 0), Some(E::ENOMEM)),
        (x86, anonymous(1 << 47, 1 << 47, 0), None),
        (x86, anonymous(0, 1 << 47, 0x10), None),
        (x86, file(1 << 47, 0), None),
        (x86.regular_file(), file(1 << 47, 0), Some(E::ENOMEM)),
        (arm, anonymous(0, 1 << 48, 0), None),
        (arm, anonymous(0, (1 << 48) + 1, 0), Some(E::ENOMEM)),
        (riscv, anonymous(0, 1 << 56, 0), None),
        // mincore of length 0.
        (arm, empty(1 << 52, 0), None),
        (arm, empty((1 << 52) + PAGE, 0), Some(E::ENOMEM)),
        (arm, empty(0, 1 << 52), None),
        (arm, empty(0, (1 << 52) + 1), Some(E::EFAULT)),
        (x86, empty(1 << 62, 1 << 62), None),
        (x86, empty(1 << 63, 0), Some(E::ENOMEM)),
        (riscv, empty(0, 1 << 63), Some(E::EFAULT)),
    ] {
        let verdict = call.check(&kernel).map_err(|refusal| refusal.errno());
        assert_eq!(verdict.err(), errno, "{call} {kernel:?}");
    }
    // Who knows the address space only roughly, or no version, is told what else may come.
    let behind = Call::mremap(at(1 << 56), PAGE, PAGE, stays, at(0));
    for kernel in [x86, v6_12, v6_17, narrow.version(6, 18)] {
        let refusal = behind.check(&kernel).unwrap_err();
        assert!(refusal.errno() == E::EFAULT && refusal.earlier().contains(E::EINVAL));
    }
    // Mistakes in the flags come before the new range, unless that is known to be looked at first.
    let mistaken = Call::mremap(at(0), PAGE, PAGE, MremapFlags::FIXED, at(1 << 60));
    for (kernel, reason) in [
        (x86, "MustMove"),
        (x86.version(6, 15), "MustMove"),
        (v6_16, "MustMove"),
        (v6_17, "BeyondAddressSpace"),
    ] {
        let refusal = mistaken.check(&kernel).unwrap_err();
        assert_eq!(
            (name_of(refusal.reason()).as_str(), refusal.earlier().is_empty()),
            (reason, true)
        );
    }
}

#[test]
fn check_is_const() {
    const REFUSED: Result<(), Refusal> = of_no_file(MapFlags::PRIVATE, 0).check(&KERNEL);
    const FINE: Result<(), Refusal> = map(0, 1, PRIVATE, 0).check(&KERNEL);
    const {
        assert!(FINE.is_ok());
        assert!(matches!(REFUSED, Err(refusal) if refusal.errno().raw() == Errno::EBADF.raw()));
    }
}

#[test]
fn check_agrees_with_the_kernel() {
    if common::qemu_before(10) {
        return skip!("QEMU before 10 takes memory in proportion to a huge range, and eats it all");
    }
    if common::mseal_is_filtered() {
        return skip!("a filter hides mseal, which this version of the kernel should have");
    }
    need_lockable!(differential::LOCKABLE);
    let usual = if common::emulator().is_some() { 40_960 } else { 300_032 };
    let cases = common::number("RAWMAP_CASES", usual) as usize;
    let world = World::new();
    let mut source = Seeded(common::number("RAWMAP_SEED", 1));
    let mut tally = Tally::default();
    let mut wrong = std::collections::BTreeMap::new();
    for _ in 0..cases / BATCH {
        let calls: Vec<_> = (0..BATCH).map(|_| world.call(&mut source)).collect();
        let mut answers = Vec::new();
        world.make(&calls, |call, answer| answers.push((call, answer)));
        for (call, answer) in answers {
            if let Err(disagreement) = world.judge(call, answer, &mut tally) {
                wrong.entry(disagreement.kind()).or_insert_with(Vec::new).push(disagreement);
            }
        }
    }
    println!("{tally}");
    for why in tally.departures.keys() {
        departure!("{why}");
    }
    for (kind, cases) in &wrong {
        println!("{} times {kind}", cases.len());
        cases.iter().take(3).for_each(|case| println!("  {case}"));
    }
    assert!(wrong.is_empty(), "check and the kernel disagree");
    let (unmet, bad) = tally.unmet(200_000);
    println!("{unmet}");
    assert!(!bad, "the kernel never answered as a rule says that has no excuse");
}
