//! The example's allocator (`rawmap`) beside glibc, mimalloc, jemalloc, talc and dlmalloc.
//!
//! usage: heap-bench EXACT TIMES ROUNDS [JOB]
//!
//! Each allocator is the global one of a program of its own. A round starts them by turns. Appends to the file TIMES
//! a line `JOB,0,ALLOCATOR,LOW,MEDIAN,HIGH` for each: quartiles of the rounds, of the processor time of user and system,
//! in nanoseconds, so that others on the machine disturb less; and to the file EXACT two lines
//! `programs,JOB,ALLOCATOR,MEASURE,NUMBER`.
//! Without the feature `peers` only the crate's own run.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::Command;

const PEERS: &[&str] = if cfg!(feature = "peers") {
    &["glibc", "rawmap", "page_alloc", "mimalloc", "jemalloc", "talc", "dlmalloc"]
} else {
    &["rawmap", "page_alloc"]
};

/// The time in nanoseconds, page faults, and the most memory in KiB.
fn measure(peer: &str, job: &str) -> [f64; 3] {
    let program = std::env::current_exe().unwrap().with_file_name(peer);
    let mut command = Command::new(&program);
    command.arg(job);
    // Where things lie decides how many faults there are.
    // SAFETY: one system call.
    unsafe {
        command.pre_exec(|| {
            libc::personality(libc::ADDR_NO_RANDOMIZE as libc::c_ulong);
            Ok(())
        });
    }
    let output = command.output().unwrap_or_else(|error| panic!("{}: {error}", program.display()));
    let said = String::from_utf8(output.stdout).unwrap();
    let numbers: Vec<f64> = said.split_whitespace().map_while(|it| it.parse().ok()).collect();
    let numbers = numbers.try_into().ok().filter(|_| output.status.success());
    numbers.unwrap_or_else(|| panic!("{peer} {job}: {}", output.status))
}

/// The first quartile, the median and the third quartile.
fn quartiles(mut numbers: Vec<f64>) -> [f64; 3] {
    numbers.sort_by(f64::total_cmp);
    [1, 2, 3].map(|part| numbers[(numbers.len() - 1) * part / 4])
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let open = |path: &str| OpenOptions::new().append(true).create(true).open(path).unwrap();
    let (mut exact, mut times) = (open(&args[0]), open(&args[1]));
    let rounds: usize = args[2].parse().expect("a number of rounds");
    let only = args.get(3);
    for (job, what, _) in heap_bench::JOBS {
        if only.is_some_and(|only| only != job && only != "heap") {
            continue;
        }
        eprintln!("{job}, {rounds} rounds");
        writeln!(times, "#{job},{what}").unwrap();
        // A page for each small block: for large ones only.
        let can = |peer: &&str| *peer != "page_alloc" || job == "vec";
        let mut all: Vec<(&str, Vec<[f64; 3]>)> =
            PEERS.iter().copied().filter(can).map(|peer| (peer, Vec::new())).collect();
        for _ in 0..rounds {
            all.iter_mut().for_each(|(peer, found)| found.push(measure(peer, job)));
        }
        for (peer, found) in all {
            let peer = if peer == "page_alloc" { "rawmap PageAlloc" } else { peer };
            let of = |n: usize| quartiles(found.iter().map(|it| it[n]).collect());
            let [time, faults, peak] = [of(0), of(1), of(2)];
            writeln!(times, "{job},0,{peer},{},{},{}", time[0], time[1], time[2]).unwrap();
            // Two threads, whose turns are chance.
            if job != "larson" {
                writeln!(exact, "programs,{job},{peer},faults,{}", faults[1]).unwrap();
                writeln!(exact, "programs,{job},{peer},peak KiB,{}", peak[1]).unwrap();
            }
        }
    }
}
