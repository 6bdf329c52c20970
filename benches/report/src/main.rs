//! Reads what was measured, and writes it as tables and plots; or compares it with what was measured before.
//!
//! usage: report machine             what is known of this machine, as lines for a CSV
//!        report print EXACT TIMES   the tables, of these files
//!        report write FOLDER        FOLDER/README.md and plots, of FOLDER/exact.csv and FOLDER/times.csv
//!        report check FOLDER EXACT SKIPPED   whether EXACT is no more than FOLDER/exact.csv, and each loss has its
//!                                   reason, after so much was skipped

mod check;
mod figures;
mod lost;
mod machine;
mod plot;
mod reasons;
mod tables;

use figures::{Exact, Texts, Time};
use std::fmt::Write;
use std::fs::{read_to_string, write};
use std::path::Path;
use std::process::ExitCode;

const ABOUT: &str = "\
# What the crate costs beside its peers

Written by `ci/bench.sh`, from [exact.csv](exact.csv) and [times.csv](times.csv). Bold is what is the crate's, and the \
least of each row.
";

const EXACT: &str = "
What is exact:

- *instructions* and *calls* are counted in a child that does the job once, step by step under ptrace, after it was done
  once before. Instructions are those of user mode, libc's included. Address randomization is off, since an address
  decides which way is taken.
- *bytes* are those of the function that does the job, without what it calls.
- *faults* are page faults, as getrusage counts them; *mappings* are lines of /proc/self/maps more while what was made
  is held; *peak KiB* is the most memory that a program had. The kernel rounds these: less than 256 KiB and 8 %, or 16
  faults and 2 %, apart is the same.
";

const TIMES: &str = "
## Times

Medians and quartiles of many turns. All peers do it by turns in one process, so that what else the machine does falls
on all alike. \"As fast\" is whose lower quartile is below the upper one of the fastest. Compare within a row only.
";

const SITES: &str = "
## A call site, on each architecture

One call with the peer's own `Result`, in a function of its own, as machine code: its *bytes*, and the *instructions* of
it and of the stub that it calls. Of libc it is the jump to its function, which is not counted: no peer.
";

const JOBS: [&str; 9] =
    ["box", "larson", "buffers", "btreemap", "hashmap", "phases", "vec", "index", "json"];

fn reasons(text: &mut String, rows: &[Exact]) {
    let losses = figures::losses(rows);
    let said = reasons::REASONS.iter().filter(|it| losses.iter().any(|loss| it.says(loss)));
    let said: Vec<String> = said
        .map(|it| {
            let rows: Vec<String> = it.rows.iter().map(|row| format!("`{row}`")).collect();
            format!("- {} ({}): {}\n", rows.join(", "), it.measures.join(", "), it.why)
        })
        .collect();
    if !said.is_empty() {
        write!(text, "\nWhere a peer has less:\n\n{}", said.concat()).unwrap();
    }
}

/// The tables of all that was measured.
fn tables(exact: &[Exact], times: &[Time], texts: &Texts) -> String {
    let is_code = |it: &Exact| exact.iter().any(|one| one.row == it.row && one.measure == "bytes");
    let is_site = |it: &Exact| it.row.starts_with("call ");
    let is_program = |it: &Exact| it.build == "programs";
    let is_heap = |it: &Time| JOBS.contains(&&*it.row);
    let of = |is: &dyn Fn(&Exact) -> bool| -> Vec<Exact> {
        exact.iter().filter(|it| is(it)).cloned().collect()
    };
    let mut text = String::new();
    for (title, rows) in [
        ("\n## One call, or one mapping\n\n", of(&|it| is_code(it) && !is_site(it))),
        (SITES, of(&is_site)),
        ("\n## Jobs of several calls\n\n", of(&|it| !is_code(it) && !is_program(it))),
    ] {
        if !rows.is_empty() {
            text += title;
            text += &tables::exact(&rows, texts);
            reasons(&mut text, &rows);
        }
    }
    let (heap, others): (Vec<Time>, Vec<Time>) = times.iter().cloned().partition(is_heap);
    if !heap.is_empty() {
        text += "\n## Programs, on each allocator\n\n`rawmap` is `examples/allocator/heap.rs`: dlmalloc on the crate, and blocks of each thread's own. Processor time of user and
system, as parts of glibc's: medians of rounds, and quartiles.\n\n";
        text += &tables::allocators(&heap, texts);
        text += "\nPage faults when the job is done for the second time, and the most memory:\n";
        let rows = of(&is_program);
        text += &tables::exact(&rows, &Texts::new());
        reasons(&mut text, &rows);
    }
    if !others.is_empty() {
        text += TIMES;
        text += &tables::times(&others, texts);
    }
    text
}

/// Plots by file, title, and whether the axis is in bytes.
const PLOTS: [(&str, &str, bool); 5] = [
    ("mappings", "One mapping made and unmapped, where so many others are", false),
    ("stack", "One stack with a guard, of so many that are held", false),
    ("reservation", "So much address space reserved and given back", true),
    ("read_file", "A file read, of so many bytes", true),
    ("publish_code", "So many bytes of code written and made executable", true),
];

fn report(
    folder: &Path,
    exact: &[Exact],
    times: &[Time],
    texts: &Texts,
) -> Result<(), Box<dyn std::error::Error>> {
    let mut text = String::from(ABOUT);
    text.push('\n');
    for name in ["compiler", "system", "processor", "memory", "load", "seconds"] {
        writeln!(text, "- {name}: {}", texts.get(name).map_or("unknown", String::as_str))?;
    }
    text += EXACT;
    text += "\n## What was lost, and what it is now\n\n";
    text += &lost::table(exact, times);
    text += "\n## Plots\n\n![allocators](allocators.svg)\n";
    plot::allocators(folder, times, &JOBS)?;
    for (row, title, is_bytes) in PLOTS {
        plot::growth(folder, times, row, title, is_bytes)?;
        writeln!(text, "![{title}]({row}.svg)")?;
    }
    text += &tables(exact, times, texts);
    write(folder.join("README.md"), text)?;
    Ok(())
}

fn read(path: impl AsRef<Path>) -> String {
    read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.as_ref().display()))
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let both = |exact: &str, times: &str| {
        let (exact, times) = (read(exact), read(times));
        let texts: Texts =
            figures::texts(&exact).into_iter().chain(figures::texts(&times)).collect();
        (figures::exact(&exact), figures::times(&times), texts)
    };
    let is_well = match args[..] {
        ["machine"] => {
            machine::here().iter().for_each(|(name, text)| println!("#{name},{text}"));
            true
        }
        ["print", exact, times] => {
            let (exact, times, texts) = both(exact, times);
            print!("{}", tables(&exact, &times, &texts));
            !(exact.is_empty() && times.is_empty())
        }
        ["write", folder] => {
            let (exact, times, texts) =
                both(&format!("{folder}/exact.csv"), &format!("{folder}/times.csv"));
            report(Path::new(folder), &exact, &times, &texts).expect("the report");
            let wrong = reasons::wrong(reasons::REASONS, &figures::losses(&exact));
            wrong.iter().for_each(|it| println!("FAILED: {it}"));
            wrong.is_empty()
        }
        ["check", folder, now, skipped] => {
            let before = read(format!("{folder}/exact.csv"));
            let now = figures::exact(&read(now));
            let texts = figures::texts(&before);
            check::check(
                &figures::exact(&before),
                &texts,
                &now,
                &machine::here(),
                skipped.parse().expect("a number"),
            )
        }
        _ => {
            eprintln!("see the first lines of benches/report/src/main.rs");
            false
        }
    };
    if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
