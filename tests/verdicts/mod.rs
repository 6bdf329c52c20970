//! Verdicts as lines of text, and what the list of rules would be with a mistake in it.
//!
//! A line names a kernel, a call with its words, and what the kernel answers:
//!
//! `x86_64 6.18 4096 0x7ffffffff000 any munmap 0x1001 0x1000 = EINVAL: address 0x1001 is not a multiple of the page size 4096`
//!
//! - architecture, version (`-` when it may be any), page size, size of the address space;
//! - `regular` when descriptors are those of regular files, else `any`;
//! - the call and its words;
//! - `passes`, or the error; `or` the errors that may come first; `changed` when the kernel may have
//!   changed something by then; and the reason.
#![allow(dead_code, unreachable_pub)]

#[allow(clippy::duplicate_mod)] // The differential has it too, where a test has both.
#[path = "../differential/source.rs"]
pub mod source;

use rawmap::arch::nr;
use rawmap::{
    Arch, Call, Errno, Kernel, PageSize, RULES, Refusal, Rule, Rules, Step, Versions, Word,
};
use source::Source;

/// The name of each call, its number here, and how many words it has.
pub const CALLS: [(&str, usize, usize); 12] = [
    ("mmap", nr::MMAP, 6),
    ("munmap", nr::MUNMAP, 2),
    ("mprotect", nr::MPROTECT, 3),
    ("msync", nr::MSYNC, 3),
    ("mremap", nr::MREMAP, 5),
    ("madvise", nr::MADVISE, 3),
    ("mincore", nr::MINCORE, 3),
    ("mlock", nr::MLOCK, 2),
    ("mlock2", nr::MLOCK2, 3),
    ("munlock", nr::MUNLOCK, 2),
    ("mlockall", nr::MLOCKALL, 1),
    ("mseal", nr::MSEAL, 3),
];

/// What a line says of the kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Of {
    pub arch: Arch,
    pub version: Option<(u16, u16)>,
    pub page: usize,
    pub address_space: u64,
    pub regular_file: bool,
}

impl Of {
    pub fn kernel(&self) -> Kernel {
        let page = PageSize::new(self.page).expect("a page size");
        let mut kernel = Kernel::new(self.arch, page).address_space(self.address_space);
        if let Some((major, minor)) = self.version {
            kernel = kernel.version(major, minor);
        }
        if self.regular_file { kernel.regular_file() } else { kernel }
    }

    /// The line of a call.
    pub fn line(&self, call: Call, rules: &Rules) -> String {
        let version = self.version.map_or("-".into(), |(major, minor)| format!("{major}.{minor}"));
        let file = if self.regular_file { "regular" } else { "any" };
        let (name, _, words) = CALLS.iter().find(|it| it.1 == call.number()).expect("a call");
        let mut line = format!(
            "{} {version} {} {:#x} {file} {name}",
            self.arch.name(),
            self.page,
            self.address_space
        );
        for word in &call.args()[..*words] {
            line += &format!(" {word:?}");
        }
        match call.check_by(&self.kernel(), rules) {
            Ok(()) => line += " = passes",
            Err(refusal) => {
                line += &format!(" = {:?}", refusal.errno());
                if !refusal.earlier().is_empty() {
                    line += &format!(" or {}", refusal.earlier());
                }
                line += if refusal.unchanged() { "" } else { " changed" };
                line += &format!(": {refusal}");
            }
        }
        line
    }
}

/// Every version at which something changes, and the one before.
pub fn versions() -> Vec<Option<(u16, u16)>> {
    let minors = [1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19];
    let sixth = minors.into_iter().map(|minor| Some((6, minor)));
    [None, Some((7, 3))].into_iter().chain(sixth).collect()
}

/// Kernels of every architecture, version, page size, and of two widths of addresses each.
pub fn kernels() -> Vec<Of> {
    let mut kernels = Vec::new();
    for &arch in Arch::ALL {
        let (spaces, pages): (_, &[usize]) = match arch {
            Arch::Aarch64 => ([1 << 48, 1 << 52], &[4096, 16384, 65536]),
            Arch::Riscv64 => ([1 << 47, 1 << 56], &[4096]),
            _ => ([(1 << 47) - 4096, (1 << 56) - 4096], &[4096]),
        };
        for version in versions() {
            for &page in pages {
                for (address_space, regular_file) in spaces.map(|it| (it, false)) {
                    let of = Of { arch, version, page, address_space, regular_file };
                    kernels.extend([of, Of { regular_file: true, ..of }]);
                }
            }
        }
    }
    kernels
}

/// The kernel and the call of a line.
pub fn read(line: &str) -> Option<(Of, Call)> {
    let mut parts = line.split(' ');
    let name = parts.next()?;
    let arch = *Arch::ALL.iter().find(|arch| arch.name() == name)?;
    let version = match parts.next()? {
        "-" => None,
        text => {
            let (major, minor) = text.split_once('.')?;
            Some((major.parse().ok()?, minor.parse().ok()?))
        }
    };
    let number = |text: &str| u64::from_str_radix(text.strip_prefix("0x")?, 16).ok();
    let page = parts.next()?.parse().ok()?;
    let address_space = number(parts.next()?)?;
    let regular_file = parts.next()? == "regular";
    let name = parts.next()?;
    let words: Vec<usize> = parts.map_while(number).map(|word| word as usize).collect();
    let (_, nr, arity) = CALLS.iter().find(|it| it.0 == name)?;
    let mut all = [Word::ZERO; 6];
    all.iter_mut().zip(&words).for_each(|(place, word)| *place = Word::int(*word));
    let call = (words.len() == *arity).then(|| Call::from_words(*nr, all))??;
    Some((Of { arch, version, page, address_space, regular_file }, call))
}

/// A call whose words lie near the edges of what the rules look at.
pub fn call(of: &Of, source: &mut impl Source) -> Call {
    let (name, number, _) = source.pick(&CALLS);
    let mut words: [usize; 6] = std::array::from_fn(|_| edge(of, source));
    match name {
        "mmap" => {
            words[2] = source.pick(&[0, 1, 3, 7]);
            words[3] = source.pick(&[0, 1, 1, 2, 2, 3, 3, 4, 8, 8, 15]);
            let flags = [
                0x10,
                0x20,
                0x20,
                0x40,
                0x80,
                0x100,
                0x2000,
                0x8000,
                0x2_0000,
                0x4_0000,
                0x8_0000,
                0x10_0000,
                1 << 40,
            ];
            for flag in flags {
                words[3] |= if source.one_in(6) { flag } else { 0 };
            }
            if source.one_in(4) {
                words[3] |= 0x4_0000 | source.pick(&[0, 16, 21, 21, 25, 29, 30, 34, 63]) << 26;
            }
            words[4] = source.pick(&[usize::MAX, 3, 3, 3]);
            words[5] *= usize::from(source.one_in(2));
        }
        "mprotect" => {
            let prots =
                [0, 1, 7, 8, 0x10, 0x20, 0x40, 0x100_0000, 0x200_0000, 0x200_0010, 0x300_0000];
            words[2] = source.pick(&prots);
        }
        "mremap" => {
            if source.one_in(2) {
                words[2] =
                    words[1].wrapping_add(source.pick(&[0, 1, of.page, of.page.wrapping_neg()]));
            }
            words[3] = source.below(9) as usize;
        }
        "madvise" => {
            words[2] = source.pick(&[0, 4, 5, 8, 9, 21, 25, 26, 99, 100, 101, 102, 103, 104])
        }
        "msync" => words[2] = source.below(16) as usize,
        "mlock2" | "mseal" => words[2] = source.below(4) as usize,
        "mlockall" => words[0] = source.below(16) as usize,
        _ => {}
    }
    Call::from_words(number, words.map(Word::int)).expect("a number of the list")
}

fn edge(of: &Of, source: &mut impl Source) -> usize {
    let (page, end) = (of.page, of.address_space as usize);
    let edges = [
        0,
        0,
        page,
        page,
        4 * page,
        1 << 21,
        1 << 30,
        1 << 31,
        1 << 40,
        1 << 47,
        (1 << 47) - 4096,
        1 << 48,
        1 << 52,
        end,
        end,
        end - page,
        end / 2,
        1 << 62,
        1 << 63,
        5 << 56 | 1 << 40,
        usize::MAX,
        usize::MAX - 4094,
        usize::MAX - page + 1,
    ];
    let edge = source.pick(&edges);
    let off = source.pick(&[0, 0, 0, 1, page, 2 * page]);
    if source.one_in(2) { edge.wrapping_add(off) } else { edge.wrapping_sub(off) }
}

/// A list with one mistake.
pub struct Mutant {
    pub what: String,
    pub rules: Rules,
    /// In which list it is.
    call: &'static str,
}

/// Every mutant: each rule dropped, each error changed, each version moved, each question without one
/// of its errors.
pub fn mutants() -> Vec<Mutant> {
    let mut mutants = Vec::new();
    for list in RULES.lists() {
        for (n, &rule) in list.iter().enumerate() {
            for (how, changed) in changes(rule) {
                let mut list = list.to_vec();
                list[n] = changed;
                let what = format!("{how}: {rule}");
                mutants.push(Mutant { what, rules: with(list.leak()), call: rule.call });
            }
        }
    }
    mutants
}

fn changes(rule: Rule) -> Vec<(String, Rule)> {
    let mut changes = Vec::new();
    match rule.step {
        Step::Given => return changes,
        Step::Refuse(errno, reason) => {
            let other = if errno == Some(Errno::EINVAL) { Errno::ENOMEM } else { Errno::EINVAL };
            let step = Step::Refuse(Some(other), reason);
            changes.push((format!("{other:?} instead"), Rule { step, ..rule }));
        }
        Step::Ask(errnos) => {
            for errno in errnos.iter() {
                let step = Step::Ask(errnos.without(errno));
                changes.push((format!("without {errno:?}"), Rule { step, ..rule }));
            }
        }
        Step::Change | Step::Pass => {}
    }
    changes.push(("dropped".into(), Rule { step: Step::Given, ..rule }));
    let mut moved = |versions| changes.push((format!("{versions:?}"), Rule { versions, ..rule }));
    match rule.versions {
        Versions::All => {}
        Versions::Since(major, minor) => {
            moved(Versions::All);
            moved(Versions::Since(major, minor - 1));
            moved(Versions::Since(major, minor + 1));
        }
        Versions::Until(major, minor) => {
            moved(Versions::All);
            moved(Versions::Until(major, minor - 1));
            moved(Versions::Until(major, minor + 1));
        }
    }
    changes
}

/// `RULES`, with another list for one call.
fn with(list: &'static [Rule]) -> Rules {
    let mut rules = RULES;
    *match list[0].call {
        "mmap" => &mut rules.mmap,
        "munmap" => &mut rules.munmap,
        "mprotect" => &mut rules.mprotect,
        "msync" => &mut rules.msync,
        "mremap" => &mut rules.mremap,
        "madvise" => &mut rules.madvise,
        "mincore" => &mut rules.mincore,
        "mlock" => &mut rules.mlock,
        "munlock" => &mut rules.munlock,
        "mlockall" => &mut rules.mlockall,
        "mseal" => &mut rules.mseal,
        call => panic!("{call} has no rules"),
    } = list;
    rules
}

/// Whether two verdicts say something else about the kernel.
pub fn differs(one: Result<(), Refusal>, other: Result<(), Refusal>) -> bool {
    let said = |verdict: Result<(), Refusal>| {
        verdict.map_err(|it| (it.errno(), it.earlier(), it.unchanged(), it.reason()))
    };
    said(one) != said(other)
}

/// Takes away the mutants that give another verdict than the list; says whether there were any.
pub fn tell(of: &Of, call: Call, mutants: &mut Vec<Mutant>) -> bool {
    let (kernel, before) = (of.kernel(), mutants.len());
    let verdict = call.check(&kernel);
    let list = CALLS.iter().find(|it| it.1 == call.number()).map(|it| it.0.trim_end_matches('2'));
    mutants
        .retain(|it| Some(it.call) != list || !differs(verdict, call.check_by(&kernel, &it.rules)));
    mutants.len() < before
}

/// Calls that tell mistakes in the list: so many are tried, each of one of the kernels, and those kept
/// by which a mistake is told that none before has told. With each comes its neighbours: those that
/// differ in one word by one, or by a page, and that another rule decides about, or none.
pub fn telling(kernels: &[Of], tries: usize) -> Vec<(Of, Call)> {
    let (mut source, mut left, mut kept) = (source::Seeded(1), mutants(), Vec::new());
    for _ in 0..tries {
        let of = source.pick(kernels);
        let call = call(&of, &mut source);
        if tell(&of, call, &mut left) {
            kept.push((of, call));
            kept.extend(neighbours(&of, call).map(|it| (of, it)));
        }
    }
    kept
}

fn neighbours(of: &Of, call: Call) -> impl Iterator<Item = Call> {
    let of = *of;
    let off = [1, of.page, of.page.wrapping_neg(), usize::MAX];
    let one = move |word: usize, by: usize| {
        let mut words = call.args();
        words[word] = Word::int(words[word].bits().wrapping_add(by));
        Call::from_words(call.number(), words).filter(|it| place(&of, *it) != place(&of, call))
    };
    // But for the descriptor, which is 3 or none.
    let words = (0..6).filter(move |word| *word != 4 || call.number() != nr::MMAP);
    words.filter_map(move |word| off.into_iter().find_map(|by| one(word, by)))
}

/// The place of the rule that decides about a call, so that lines can be sorted by it.
pub fn place(of: &Of, call: Call) -> (usize, usize) {
    let list = CALLS.iter().position(|it| it.1 == call.number()).unwrap_or_default();
    let rule = call.check(&of.kernel()).err().map(|refusal| refusal.rule());
    let lists = RULES.lists();
    let place =
        rule.and_then(|rule| lists.iter().find_map(|it| it.iter().position(|it| it == rule)));
    (list, place.unwrap_or(usize::MAX))
}
