//! What holds of calls, verdicts, page sizes and errors, whatever the words are.
#![allow(dead_code, unreachable_pub)]

use super::source::Source;
use rawmap::arch::nr;
use rawmap::{
    Advice, Arch, Call, Errno, ErrnoSet, Kernel, MapFlags, MlockAllFlags, MlockFlags, MremapFlags,
    MsealFlags, MsyncFlags, PageSize, Prot, RULES, Reason, Refusal, Rule, Step, Word,
};
use std::collections::HashSet;
use std::fmt::{Debug, Display};
use std::str::FromStr;

/// Name and number of each call, how many words it takes, and which of them the kernel reads as an
/// `int`.
pub const SHAPES: [(&str, usize, usize, Option<usize>); 13] = [
    ("mmap", nr::MMAP, 6, Some(4)),
    ("munmap", nr::MUNMAP, 2, None),
    ("mprotect", nr::MPROTECT, 3, None),
    ("msync", nr::MSYNC, 3, Some(2)),
    ("mremap", nr::MREMAP, 5, None),
    ("madvise", nr::MADVISE, 3, Some(2)),
    ("mincore", nr::MINCORE, 3, None),
    ("mlock", nr::MLOCK, 2, None),
    ("mlock2", nr::MLOCK2, 3, Some(2)),
    ("munlock", nr::MUNLOCK, 2, None),
    ("mlockall", nr::MLOCKALL, 1, Some(0)),
    ("munlockall", nr::MUNLOCKALL, 0, None),
    ("mseal", nr::MSEAL, 3, None),
];

/// Any word, those near powers of two and small ones often.
pub fn word(source: &mut impl Source) -> usize {
    match source.below(4) {
        0 => source.below(1 << 16) as usize,
        1 => (1_usize << source.below(64)).wrapping_add(source.below(9) as usize).wrapping_sub(4),
        2 => (source.below(1 << 16) as usize) << source.below(64),
        _ => (0..4).fold(0, |word, _| word << 16 ^ source.next() as usize),
    }
}

/// Asserts every law, of any words that the source gives; and remembers which rules have refused something.
pub fn hold(source: &mut impl Source, met: &mut HashSet<Rule>) {
    let page = PageSize::new(1 << (12 + source.below(52))).unwrap();
    of_page_sizes(page, word(source));
    of_errors(Word::int(word(source)));
    of_flags(word(source));
    let number = if source.one_in(16) { word(source) } else { source.pick(&SHAPES).1 };
    let words = std::array::from_fn(|_| Word::int(word(source)));
    let Some(call) = of_words(number, words) else { return };
    of_call(call, page, source, met);
}

/// Asserts every law of verdicts on a call.
pub fn of_call(call: Call, page: PageSize, source: &mut impl Source, met: &mut HashSet<Rule>) {
    let arch = source.pick(Arch::ALL);
    let (mut less, mut more) = (Kernel::new(arch, page), Kernel::new(arch, page));
    // A limit that both have, that only one has, or that none has.
    let space = word(source) as u64 % (1 << 52);
    let minor = 1 + source.below(30) as u16;
    for which in 0..3 {
        let with = |kernel: Kernel| match which {
            0 => kernel.address_space(space),
            1 => kernel.version(6, minor),
            _ => kernel.regular_file(),
        };
        let stated = source.below(3);
        if stated > 0 {
            more = with(more);
        }
        if stated > 1 {
            less = with(less);
        }
    }
    of_verdicts(arch, call, &less, &more);
    // Pages and spaces as there are: the end of the space is that of a page.
    let page = PageSize::new(1 << source.pick(&[12, 14, 16])).unwrap();
    let unstated = Kernel::new(arch, page).address_space(space & !0xffff);
    let unstated = if source.one_in(2) { unstated } else { unstated.regular_file() };
    of_versions(call, unstated);
    of_lengths(call, page, &unstated.version(6, minor), source.below(1 << 16) as usize);
    // No process has more than the architecture can have: to state more is to state nothing.
    let all = Kernel::new(arch, page);
    assert_eq!(call.check(&all.address_space(u64::MAX)), call.check(&all), "{call}");
    // Nonsense is no panic; and what passes at once is what passes by the list, whatever the kernel.
    let nonsense = less.address_space(word(source) as u64).version(minor, minor);
    for kernel in [less, more, unstated, unstated.version(6, minor), nonsense] {
        let verdict = call.check(&kernel);
        assert_eq!(verdict, call.check_by(&kernel, &RULES), "{call} {kernel:?}");
        met.extend(verdict.err().map(|refusal| *refusal.rule()));
    }
}

/// The rules by which nothing was refused.
pub fn unmet(met: &HashSet<Rule>) -> Vec<&'static Rule> {
    let rules = RULES.lists().into_iter().flatten();
    rules.filter(|it| matches!(it.step, Step::Refuse(..)) && !met.contains(it)).collect()
}

fn of_page_sizes(page: PageSize, n: usize) {
    let (bytes, down) = (page.bytes(), page.round_down(n));
    assert!(bytes == 1 << page.log2() && PageSize::new(bytes) == Some(page));
    assert!(down <= n && n - down < bytes && page.is_aligned(down));
    assert_eq!(page.is_aligned(n), down == n);
    match page.round_up(n) {
        Some(up) => assert!(up >= n && up - n < bytes && page.is_aligned(up)),
        None => assert!(n > page.round_down(usize::MAX)),
    }
    assert_eq!(format!("{page} {page:?}"), format!("{bytes} PageSize({bytes})"));
}

fn of_errors(word: Word) {
    match Errno::decode(word) {
        Ok(same) => {
            assert!(same == word && (word.bits() as isize) < -4095 || word.bits() as isize >= 0)
        }
        Err(errno) => {
            assert_eq!(errno.encode(), word);
            assert_eq!(errno.raw() as isize, -(word.bits() as isize));
            assert_eq!(Errno::from_raw(errno.raw()), Some(errno));
            assert_eq!(errno.name().is_some(), Errno::NAMED.contains(&errno));
            printable(&errno.to_string());
        }
    }
}

fn of_flags(bits: usize) {
    round_trip(Prot::from_bits(bits));
    round_trip(MapFlags::from_bits(bits));
    round_trip(MremapFlags::from_bits(bits));
    round_trip(MsealFlags::from_bits(bits));
    round_trip(MsyncFlags::from_bits(bits as i32));
    round_trip(MlockFlags::from_bits(bits as i32));
    round_trip(MlockAllFlags::from_bits(bits as i32));
    round_trip(Advice::from_bits(bits as i32));
    assert_eq!(MapFlags::huge(bits as u32).huge_log2() as usize, (bits as u32).min(63) as usize);
    assert!(MapFlags::from_bits(bits).contains(MapFlags::from_bits(bits)));
}

/// What is printed is read as what it was.
fn round_trip<T: Display + Debug + FromStr + PartialEq>(flags: T) {
    let text = flags.to_string();
    printable(&text);
    assert!(text.parse().is_ok_and(|read: T| read == flags), "{text}");
    assert_eq!(format!("{flags:?}"), text);
}

fn printable(text: &str) {
    assert!(!text.is_empty() && text.chars().all(|c| c == ' ' || c.is_ascii_graphic()), "{text:?}");
}

/// Reads a call back from words, and holds it against its shape.
fn of_words(number: usize, words: [Word; 6]) -> Option<Call> {
    let shape = SHAPES.iter().find(|shape| shape.1 == number);
    let call = Call::from_words(number, words);
    assert_eq!(call.is_some(), shape.is_some(), "number {number}");
    let (call, (name, _, arity, int)) = (call?, shape?);
    let kept = |(n, word): (usize, Word)| match n {
        _ if n >= *arity => Word::ZERO,
        _ if Some(n) == *int => Word::signed(word.bits() as i32),
        _ => word,
    };
    let expected: Vec<Word> = words.into_iter().enumerate().map(kept).collect();
    assert_eq!((call.number(), call.args().as_slice()), (number, expected.as_slice()));
    assert_eq!(Call::from_words(number, call.args()), Some(call));
    assert_eq!(Call::from(call.operation()), call);
    let text = call.to_string();
    printable(&text);
    assert_eq!((text.split('(').next(), text.ends_with(')')), (Some(*name), true), "{text}");
    assert_eq!(format!("{call:?}"), text);
    printable(&format!("{:?}", call.operation()));
    Some(call)
}

/// `more` states everything that `less` does.
fn of_verdicts(arch: Arch, call: Call, less: &Kernel, more: &Kernel) {
    let (loose, strict) = (call.check(less), call.check(more));
    for refusal in [loose, strict].iter().filter_map(|verdict| verdict.as_ref().err()) {
        of_refusals(call, refusal);
    }
    if let Err(loose) = loose {
        let Err(strict) = strict else { panic!("{call}: {loose}, but not under {more:?}") };
        let may = loose.errno() == strict.errno() || loose.earlier().contains(strict.errno());
        assert!(may, "{call}: {loose:?} under {less:?}, but {strict:?} under {more:?}");
    }
    // A tag changes nothing where the kernel strips it.
    let tagged = arch == Arch::Aarch64 && !matches!(call.number(), nr::MMAP | nr::MADVISE);
    let mut words = call.args();
    let addr = words[0].bits();
    if tagged && call.number() != nr::MLOCKALL && addr >> 55 & 1 == 0 {
        words[0] = Word::int(addr ^ 0xa5 << 56);
        let errno = |verdict: Result<(), Refusal>| verdict.map_err(|refusal| refusal.errno());
        let other = Call::from_words(call.number(), words).unwrap();
        assert_eq!(errno(other.check(more)), errno(strict), "{call} and {other}");
    }
}

/// What every version refuses is refused when none is stated, and only that; and with all the errors that
/// one of them may answer with.
fn of_versions(call: Call, unstated: Kernel) {
    let sixth = (1..20).map(|minor| (6, minor));
    let stated = sixth.chain([(7, 3)]).map(|(a, b)| call.check(&unstated.version(a, b)));
    let errors = |refusal: Refusal| refusal.earlier().and(ErrnoSet::of(&[refusal.errno()]));
    let all =
        stated.map(|verdict| verdict.map_err(errors)).reduce(|one, other| match (one, other) {
            (Err(one), Err(other)) => Err(one.and(other)),
            _ => Ok(()),
        });
    match (call.check(&unstated).map_err(errors), all.unwrap()) {
        (Err(may), Err(all)) => assert_eq!(may.and(all), may, "{call} {unstated:?}"),
        (may, all) => assert_eq!(may, all, "{call} {unstated:?}"),
    }
}

/// A length and its rounding up are one to the kernel, and what passes passes shorter.
fn of_lengths(call: Call, page: PageSize, kernel: &Kernel, less: usize) {
    let len = call.args()[1].bits();
    let at = |len| {
        let mut words = call.args();
        words[1] = Word::int(len);
        let verdict = Call::from_words(call.number(), words).unwrap().check(kernel);
        verdict.map_err(|refusal| (refusal.errno(), refusal.earlier()))
    };
    let flags = MapFlags::from_bits(call.args()[3].bits());
    let apart = match call.number() {
        // The size of its pages may be unknown.
        nr::MMAP => flags.contains(MapFlags::HUGETLB),
        // The old length says what it is: a second mapping, a shrink, a move that resizes.
        nr::MREMAP | nr::MLOCKALL | nr::MUNLOCKALL => true,
        _ => false,
    };
    // One that wraps is a short one to some.
    if apart || len == 0 || len > usize::MAX - (1 << 20) {
        return;
    }
    let addr = call.args()[0].bits();
    // mincore looks where the range ends before it rounds, and some kernels let it end at 2^63 - 1.
    let exact = call.number() == nr::MINCORE && addr.wrapping_add(len) >> 20 == usize::MAX >> 21;
    if let Some(rounded) = page.round_up(len).filter(|_| page.is_aligned(addr) && !exact) {
        assert_eq!(at(len), at(rounded), "{call} {kernel:?}");
    }
    if at(len).is_ok() && len > less {
        assert_eq!(at(len - less), Ok(()), "{call} {kernel:?}, {less} bytes shorter");
    }
}

fn of_refusals(call: Call, refusal: &Refusal) {
    let (errno, earlier) = (refusal.errno(), refusal.earlier());
    match refusal.reason() {
        Reason::AddressIsError { addr } => assert_eq!(errno.encode().bits() as u64, addr),
        _ => {
            assert!(Errno::NAMED.contains(&errno) && errno < Errno::ERESTARTSYS, "{call}: {errno}")
        }
    }
    assert!(!earlier.contains(errno), "{call}: {refusal:?}");
    let text = refusal.to_string();
    printable(&text);
    assert!(!text.ends_with('.') && text == refusal.reason().to_string(), "{text}");
}
