//! The list of rules: it says what it does, recorded verdicts stand, each mistake in it is told by one
//! of them, and the running kernel answers as its rules say.
mod common;
mod differential;
mod verdicts;

use differential::{Tally, World};
use rawmap::{Arch, Call, Errno, Operation, RULES, Rule, Rules, Step};
use std::collections::HashSet;
use verdicts::{Of, kernels, mutants, place, read, tell, telling};

/// Written by `RAWMAP_RECORD=1 ci/mutants.sh`, when rules have changed.
const RECORDED: &str = include_str!("verdicts.txt");
/// The same, by which mistakes in the rules' conditions are told (`ci/conditions.rs`).
const BOUNDARIES: &str = include_str!("boundaries.txt");

fn rules() -> impl Iterator<Item = &'static Rule> {
    RULES.lists().into_iter().flatten()
}

fn recorded(lines: &'static str) -> impl Iterator<Item = (&'static str, Of, Call)> {
    let lines = lines.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| {
        let (of, call) = read(line).unwrap_or_else(|| panic!("not a line of verdicts: {line}"));
        (line, of, call)
    })
}

#[test]
fn each_line_has_its_text() {
    let mut seen = HashSet::new();
    for rule in rules() {
        let text = rule.to_string();
        assert!(!text.contains(['\n', '"']) && seen.insert(text), "twice, or not one line: {rule}");
        assert!(rule.source.contains(".c: ") && !rule.call.is_empty(), "{rule}");
    }
    for list in RULES.lists() {
        assert!(list.iter().all(|rule| rule.call == list[0].call));
    }
    let refusals = rules().filter(|rule| matches!(rule.step, Step::Refuse(..))).count();
    println!("{refusals} rules, {} lines", seen.len());
    assert_eq!(
        RULES.munmap[0].to_string(),
        "munmap: refuse EINVAL if !k.aligned(addr) (mm/vma.c: do_vmi_munmap)"
    );
}

#[test]
fn recorded_verdicts_are_given() {
    if std::env::var_os("RAWMAP_RECORD").is_some() {
        let mut calls = telling(&kernels(), 1_000_000);
        calls.sort_by_key(|(of, call)| place(of, *call));
        let lines = calls.iter().map(|(of, call)| of.line(*call, &RULES) + "\n");
        let head = "# Verdicts by which each mistake in RULES is told: see verdicts/mod.rs.\n";
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/verdicts.txt");
        std::fs::write(file, head.to_owned() + &lines.collect::<String>()).unwrap();
        return;
    }
    for (line, of, call) in recorded(RECORDED).chain(recorded(BOUNDARIES)) {
        // Flags have this architecture's names.
        let names = |line: &str| line.replace("MAP_32BIT", "0x40");
        assert_eq!(names(&of.line(call, &RULES)), names(line));
        assert_eq!(call.check(&of.kernel()), call.check_by(&of.kernel(), &RULES), "{line}");
    }
}

#[test]
fn each_mistake_in_the_list_is_told_by_a_recorded_verdict() {
    let mut left = mutants();
    let all = left.len();
    for (_, of, call) in recorded(RECORDED) {
        tell(&of, call, &mut left);
    }
    println!(
        "{all} mistakes, {} told by {} verdicts",
        all - left.len(),
        recorded(RECORDED).count()
    );
    left.iter().for_each(|it| println!("not told: {}", it.what));
    assert!(left.is_empty() && all > 300, "a mistake in the list would not be told");
}

#[test]
fn a_list_that_ends_early_or_is_of_another_call_is_no_panic() {
    let of = kernels()[0];
    for (_, _, call) in recorded(RECORDED) {
        for list in [&[], &RULES.munmap[..1], RULES.mmap] {
            let [mmap, munmap, mprotect, msync, mremap, madvise] = [list; 6];
            let [mincore, mlock, munlock, mlockall, munlockall, mseal] = [list; 6];
            let rules = Rules {
                mmap,
                munmap,
                mprotect,
                msync,
                mremap,
                madvise,
                mincore,
                mlock,
                munlock,
                mlockall,
                munlockall,
                mseal,
            };
            let verdict = call.check_by(&of.kernel(), &rules);
            assert!(verdict.is_ok() || !list.is_empty());
        }
    }
}

/// The calls that tell mistakes in the rules of the running kernel, made on it.
#[test]
fn the_running_kernel_answers_as_its_rules_say() {
    if common::qemu_before(10) {
        return skip!("QEMU before 10 takes memory in proportion to a huge range, and eats it all");
    }
    need_lockable!(differential::LOCKABLE);
    let world = World::new();
    let World { version, page, address_space, .. } = world;
    let (version, address_space) = (Some(version), address_space as u64);
    let regular = Of { arch: Arch::HOST, version, page, address_space, regular_file: true };
    let kernels = [regular, Of { regular_file: false, ..regular }];
    let (mut left, mut tally, mut wrong) = (mutants(), Tally::default(), Vec::new());
    let (all, mut made) = (left.len(), 0);
    for (of, call) in telling(&kernels, 60_000) {
        let call = match call.operation() {
            Operation::Mmap { addr, len, prot, flags, fd: 3, offset } => {
                Call::mmap(addr.as_ptr(), len, prot, flags, world.file(of.regular_file), offset)
            }
            _ => call,
        };
        let mut answer = None;
        world.make(&[call], |_, it| answer = it);
        made += 1;
        if let Err(disagreement) = world.judge(call, answer, &mut tally) {
            wrong.push(disagreement.to_string());
        }
        // A mistake is told when the kernel doesn't answer as the mistaken list says.
        left.retain(|it| match (call.check_by(&of.kernel(), &it.rules), answer) {
            (_, None) => true,
            (Err(_), Some(Ok(_))) => false,
            (Err(refusal), Some(Err(errno))) => {
                refusal.errno() == errno || refusal.earlier().contains(errno)
            }
            (Ok(()), Some(answer)) => {
                let of_words = [Errno::EINVAL, Errno::EOVERFLOW, Errno::EOPNOTSUPP];
                call.check(&of.kernel()).is_ok()
                    || !answer.is_err_and(|errno| of_words.contains(&errno))
            }
        });
    }
    if common::emulator().is_none() {
        let told = all - left.len();
        println!("{made} calls made, by whose answers {told} of {all} mistakes are told");
    }
    wrong.iter().for_each(|it| println!("{it}"));
    assert!(wrong.is_empty(), "check and the kernel disagree");
}
