//! Whether what was measured now is no more than what the report says.

use crate::figures::{Exact, Texts, is_more, is_ours, losses};
use crate::reasons::{REASONS, wrong};

/// What a number depends on, beside the crate: the compiler, or the system.
fn depends_on(measure: &str) -> Option<&'static str> {
    match measure {
        "instructions" | "bytes" => Some("compiler"),
        "faults" | "peak KiB" => Some("system"),
        _ => None,
    }
}

/// Prints what is wrong and how much was looked at, and whether nothing was wrong.
pub fn check(
    before: &[Exact],
    texts: &Texts,
    now: &[Exact],
    here: &Texts,
    skipped_before: usize,
) -> bool {
    let mut skipped = skipped_before;
    let same = |it: &&Exact, other: &Exact| {
        (&it.build, &it.row, &it.peer, &it.measure)
            == (&other.build, &other.row, &other.peer, &other.measure)
    };
    let comparable =
        |it: &Exact| depends_on(&it.measure).is_none_or(|on| texts.get(on) == here.get(on));
    let (mut passed, mut failed) = (0, Vec::new());
    for it in now.iter().filter(|it| is_ours(&it.peer)) {
        let Exact { build, row, peer, measure, number } = it;
        match before.iter().find(|other| same(other, it)) {
            _ if !comparable(it) => skipped += 1,
            Some(old) if !is_more(measure, *number, old.number) => passed += 1,
            old => {
                let old = old.map_or("nothing".into(), |it| it.number.to_string());
                failed.push(format!(
                    "{build}, {row}, {peer}: {number} {measure}, and benches/exact.csv says {old}; run ci/bench.sh and \
                     commit what it writes, with the reason"
                ));
            }
        }
    }
    // A row that is gone would never be compared again.
    let gone =
        before.iter().filter(|it| is_ours(&it.peer) && !now.iter().any(|new| same(&new, it)));
    if skipped_before == 0 {
        failed.extend(gone.map(|Exact { build, row, peer, measure, .. }| {
            format!(
                "{build}, {row}, {peer}: nobody measures its {measure} any more; run ci/bench.sh"
            )
        }));
    }
    // What was measured now, and of the rest what the report says.
    let old = before.iter().filter(|it| !now.iter().any(|new| comparable(new) && same(&new, it)));
    let new = now.iter().filter(|it| comparable(it));
    let merged: Vec<Exact> = old.chain(new).cloned().collect();
    let wrong = wrong(REASONS, &losses(&merged));
    passed += REASONS.len().saturating_sub(wrong.len());
    failed.extend(wrong);
    failed.iter().for_each(|it| println!("FAILED: {it}"));
    for on in ["compiler", "system"] {
        if texts.get(on) != here.get(on) {
            let [then, here] = [texts, here].map(|it| it.get(on).map_or("?", String::as_str));
            println!("skipped: what depends on the {on}: then {then}, now {here}");
        }
    }
    println!("{passed} passed, {} failed, {skipped} skipped", failed.len());
    failed.is_empty() && passed > 0
}
