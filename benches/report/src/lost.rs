//! Where the crate once lost, and what it is now.

use crate::figures::{Exact, Time, is_ours, is_peer};
use crate::tables::{duration, grouped};
use std::fmt::Write;

enum Now {
    /// Build, row, measure.
    Exact(&'static str, &'static str, &'static str),
    /// Job: processor time as a part of glibc's.
    Part(&'static str),
    /// Row, size: a time.
    Time(&'static str, u64),
}
use Now::*;

/// What, and what it was then (beside whom).
const LOST: &[(&str, &str, Now)] = &[
    (
        "`munmap` with its `Result`, instructions, x86_64",
        "9 (rustix 7)",
        Exact("x86_64", "call munmap", "instructions"),
    ),
    ("the same, bytes", "29 (rustix 19)", Exact("x86_64", "call munmap", "bytes")),
    (
        "the same, instructions, riscv64",
        "8 (rustix 5)",
        Exact("riscv64", "call munmap", "instructions"),
    ),
    ("the same, bytes, riscv64", "26 (rustix 16)", Exact("riscv64", "call munmap", "bytes")),
    (
        "a call, here `mmap` with its `Result`, instructions, aarch64",
        "16 (9 where it is inlined)",
        Exact("aarch64", "call mmap", "instructions"),
    ),
    (
        "`munmap` with its `Result`, instructions, aarch64",
        "a branch and a frame more",
        Exact("aarch64", "call munmap", "instructions"),
    ),
    (
        "anonymous memory, fat LTO, instructions",
        "51 (region 49)",
        Exact("fat LTO", "anonymous", "instructions"),
    ),
    ("the same, without LTO", "73 (region 103)", Exact("no LTO", "anonymous", "instructions")),
    (
        "a file of known length, fat LTO, instructions",
        "108 (memmap2 73)",
        Exact("fat LTO", "file", "instructions"),
    ),
    (
        "`MapOptions::align`, 20 of 4 MiB at 4 MiB, mapped and unmapped, calls",
        "80 (by hand 60)",
        Exact("fat LTO", "aligned_memory_large", "calls"),
    ),
    (
        "`PageAlloc`, 20 of 4 MiB at 4 MiB, taken and freed, calls",
        "60 (glibc 40)",
        Exact("fat LTO", "page_alloc_aligned_large", "calls"),
    ),
    ("a `Box` in a loop, of glibc's time", "1.86 (mimalloc 0.70)", Part("box")),
    ("larson with 2 threads", "0.91 (jemalloc 0.42)", Part("larson")),
    ("buffers of 8 to 128 KiB", "57 to 117 (glibc 1)", Part("buffers")),
    ("`BTreeMap`", "0.75 (mimalloc 0.79)", Part("btreemap")),
    ("`HashMap`", "0.90", Part("hashmap")),
    ("a `Vec` pushed to 1 GiB", "1.0 (glibc 1)", Part("vec")),
    (
        "a block of 64 KiB taken, touched and freed: `PageAlloc`",
        "28 µs (glibc 39 ns)",
        Time("page_alloc_reuse_time", 64 << 10),
    ),
    ("64 bytes of code published", "3.5 µs (memcpy 3 ns)", Time("publish_code", 64)),
];

fn beside<T: Copy>(
    found: Vec<(&str, T)>,
    less: impl Fn(T, T) -> bool,
    show: impl Fn(T) -> String,
) -> Option<String> {
    let best = |ours: bool| {
        let mine = found.iter().filter(|it| is_peer(it.0) && is_ours(it.0) == ours);
        mine.reduce(|best, it| if less(it.1, best.1) { it } else { best })
    };
    let plain = found.iter().find(|it| it.0 == "rawmap").or(best(true))?;
    let mut text = format!("**{}**", show(plain.1));
    if let Some((peer, number)) = best(false) {
        write!(text, " ({peer} {})", show(*number)).unwrap();
    }
    if let Some((peer, number)) = best(true).filter(|it| it.0 != plain.0 && less(it.1, plain.1)) {
        write!(text, "; {peer} {}", show(*number)).unwrap();
    }
    Some(text)
}

/// A line for each.
pub fn table(exact: &[Exact], times: &[Time]) -> String {
    let mut text = String::from("| what | before (and the best peer) | now |\n|---|---|---|\n");
    for (what, before, now) in LOST {
        let now = match now {
            Exact(build, row, measure) => {
                let mine = exact
                    .iter()
                    .filter(|it| it.build == *build && it.row == *row && it.measure == *measure);
                beside(mine.map(|it| (&*it.peer, it.number)).collect(), |a, b| a < b, grouped)
            }
            Part(job) => {
                let mine = || times.iter().filter(|it| it.row == *job);
                let base = mine().find(|it| it.peer == "glibc").map_or(f64::NAN, |it| it.median);
                beside(
                    mine().map(|it| (&*it.peer, it.median / base)).collect(),
                    |a, b| a < b,
                    |it| format!("{it:.2}"),
                )
            }
            Time(row, x) => {
                let mine = times.iter().filter(|it| it.row == *row && it.x == *x);
                beside(mine.map(|it| (&*it.peer, it.median)).collect(), |a, b| a < b, duration)
            }
        };
        writeln!(text, "| {what} | {before} | {} |", now.unwrap_or("not measured".into())).unwrap();
    }
    text
}
