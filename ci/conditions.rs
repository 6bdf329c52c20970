//! Each mistake in a condition of a rule is told by a recorded verdict. ci/mutants.sh runs this beside a copy of the
//! crate to which ci/conditions.py has added the mistakes.
mod verdicts;

use rawmap::{CONDITIONS, Call, RULES, Verdict};
use verdicts::source::{Seeded, Source};
use verdicts::{Of, call, differs, kernels, read};

const VERDICTS: &str = include_str!("verdicts.txt");
/// For the conditions about which no line of `VERDICTS` tells. `RAWMAP_RECORD` writes it again.
const BOUNDARIES: &str = include_str!("boundaries.txt");
const HEAD: &str = "# Verdicts by which mistakes in conditions are told that verdicts.txt does not tell: see ci/mutants.sh.\n";
/// The mistakes that no call can tell, and why.
const EXCUSES: &[(&str, &str)] = &[(
    "refuse(ENOMEM if k.sum(addr, rounded) >><<< addr",
    "mprotect passes length 0 before, and refuses one that wraps to 0: the sum is another number",
)];

fn recorded(lines: &str) -> impl Iterator<Item = (Of, Call)> {
    let lines = lines.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| read(line).expect(line))
}

/// Takes away the mistakes that a call tells, and says whether there were any.
fn tell(of: &Of, call: Call, left: &mut Vec<(&str, Verdict)>) -> bool {
    let (kernel, before) = (of.kernel(), left.len());
    let verdict = call.check(&kernel);
    left.retain(|(_, mistaken)| !differs(verdict, mistaken(call, &kernel)));
    left.len() < before
}

#[test]
fn each_mistake_in_a_condition_is_told_by_a_recorded_verdict() {
    let (mut left, mut boundaries) = (CONDITIONS.to_vec(), HEAD.to_owned());
    recorded(VERDICTS).for_each(|(of, call)| drop(tell(&of, call, &mut left)));
    let mut keep = |of: Of, call, left: &mut _| {
        if tell(&of, call, left) {
            boundaries += &(of.line(call, &RULES) + "\n");
        }
    };
    recorded(BOUNDARIES).for_each(|(of, call)| keep(of, call, &mut left));
    if std::env::var_os("RAWMAP_RECORD").is_some() {
        let (mut source, kernels) = (Seeded(2), kernels());
        for _ in 0..30_000_000 / (left.len() + 1) {
            let of = source.pick(&kernels);
            keep(of, call(&of, &mut source), &mut left);
        }
        std::fs::write("tests/boundaries.txt", boundaries).unwrap();
    }
    let mut bad = 0;
    for (what, _) in &left {
        let excuse = EXCUSES.iter().find(|(mistake, _)| what.contains(mistake));
        bad += usize::from(excuse.is_none());
        println!("not told: {what}: {}", excuse.map_or("NO EXCUSE", |it| it.1));
    }
    let told = CONDITIONS.len() - left.len();
    println!("{} mistakes in conditions, {told} told, {} excused", told + left.len(), left.len() - bad);
    assert!(bad == 0 && left.len() == EXCUSES.len() && told > 150, "or an excuse for nothing");
}
