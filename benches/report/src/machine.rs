//! The machine, as far as it says something about the figures.

use crate::figures::Texts;
use std::fs::read_to_string;
use std::process::Command;

fn line_of(path: &str, key: &str) -> String {
    let text = read_to_string(path).unwrap_or_default();
    let value = text.lines().find_map(|it| it.strip_prefix(key)?.split_once(':'));
    value.map_or("unknown".into(), |(_, value)| value.trim().into())
}

pub fn here() -> Texts {
    let rustc = Command::new("rustc").arg("-vV").output().expect("rustc").stdout;
    let rustc = String::from_utf8(rustc).expect("text");
    let host = rustc.lines().find_map(|it| it.strip_prefix("host: ")).unwrap_or("unknown");
    let kernel = read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    // Without what a distributor appends.
    let kernel: String =
        kernel.split(|it: char| it != '.' && !it.is_ascii_digit()).take(1).collect();
    let huge = read_to_string("/sys/kernel/mm/transparent_hugepage/enabled").unwrap_or_default();
    let huge = huge.split(['[', ']']).nth(1).unwrap_or("none");
    let memory: u64 =
        line_of("/proc/meminfo", "MemTotal").trim_end_matches(" kB").parse().unwrap_or(0);
    let load = read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or("unknown");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    [
        ("compiler", format!("{}, {host}", rustc.lines().next().unwrap_or("unknown"))),
        ("system", format!("Linux {kernel}, transparent huge pages: {huge}")),
        ("processor", format!("{cores} of {}", line_of("/proc/cpuinfo", "model name"))),
        // Times of a machine that has more to do than this are worth less.
        ("load", format!("{load} when it began, of {cores}")),
        ("memory", format!("{} GiB", (memory + (1 << 19)) >> 20)),
    ]
    .map(|(name, text)| (name.into(), text))
    .into()
}
