#![no_main]
//! Calls as values, verdicts, page sizes, errors: from any words nothing panics, and the laws hold.
#[path = "../../tests/differential/laws.rs"]
mod laws;
mod tally;
#[path = "../../tests/verdicts/mod.rs"]
mod verdicts;

use libfuzzer_sys::fuzz_target;
use rawmap::{PageSize, Rule};
use std::collections::HashSet;
use std::sync::{LazyLock, Mutex};
use verdicts::source::{self, Source};
use verdicts::{Of, kernels};

/// How many inputs there were, and by which rules something was refused.
type Tally = (u64, HashSet<Rule>);

static KERNELS: LazyLock<Vec<Of>> = LazyLock::new(kernels);
static TALLY: LazyLock<Mutex<Tally>> = LazyLock::new(|| tally::printed_at_exit(summary));

/// Each rule by which nothing was refused. None has an excuse when there were enough inputs.
fn summary() -> (String, bool) {
    let (inputs, met) = &*TALLY.lock().unwrap();
    let unmet = laws::unmet(met);
    let lines: String = unmet.iter().map(|rule| format!("tally: never met: {rule}\n")).collect();
    (format!("{lines}tally: {} rules met", met.len()), *inputs >= 300_000 && !unmet.is_empty())
}

fuzz_target!(|data: &[u8]| {
    let (source, tally) = (&mut source::Bytes::new(data), &mut *TALLY.lock().unwrap());
    tally.0 += 1;
    laws::hold(source, &mut tally.1);
    let of = source.pick(&KERNELS);
    let page = PageSize::new(of.page).expect("a page size");
    laws::of_call(verdicts::call(&of, source), page, source, &mut tally.1);
});
