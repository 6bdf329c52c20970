//! Writes what Linux answers to calls with wrong words, as plain lines, to test another kernel by: one
//! that has Linux's calls and is written in whatever language.
//!
//! `cargo run --example verdicts -- [ARCH [VERSION [PAGE [SPACE]]]]`, such as `x86_64 6.18` or
//! `aarch64 - 16384 0x800000000000`. `-` is any version. When none is said, the architecture is that of
//! this machine, the page size 4096, and the address space the largest that the architecture has.
//!
//! # For a kernel of your own
//! The calls are chosen so that each mistake in the rules shows in one of the lines: a rule that is
//! missing, another error, a version too early or too late; and with each comes what differs in one word
//! by little, and is decided otherwise. A line is
//!
//! ```text
//! x86_64 6.18 4096 0x7ffffffff000 any mprotect 0x1000 0xffffffffffffffff 0x1 = ENOMEM: length … wraps …
//! ```
//!
//! Up to `=` it says of which kernel, and which call: its name and its words, all in hexadecimal. Behind
//! it stands the verdict. To test your kernel:
//!
//! 1. Write the lines for the version that you are compatible with, and for your page size and address
//!    space (Linux's `TASK_SIZE`, the first address that no process can have).
//! 2. In a process that has nothing at stake, for each line: make the call with just these words. The
//!    descriptor 3 must be open for reading and writing, of a regular file where the line says
//!    `regular`. Begin anew for each line, since those that pass change what is mapped, or end the process.
//! 3. `= EINVAL` is kept when the call fails with EINVAL. With `or EFAULT ENOMEM`, these are right as
//!    well: the kernel looks at what is mapped, at limits, or at the file before it comes to the rule, so
//!    a line says what it does when there it finds nothing wrong.
//! 4. `= passes` promises no success: only that the words are no reason for EINVAL, EOVERFLOW or
//!    EOPNOTSUPP.
//! 5. Without `changed` the call must have changed nothing; with it, it may have.
//!
//! In Rust, ask `Call::check` instead, of each call as it comes: the example `guest` does. [`RULES`] says
//! which function of Linux a rule comes from; where your kernel is meant to differ, `Call::check_by` takes
//! a list with other errors, or without some rules.

#[path = "../tests/verdicts/mod.rs"]
mod verdicts;

use rawmap::{Arch, PageSize, RULES};
use std::process::ExitCode;
use verdicts::{Of, place, telling};

/// The kernel that the arguments name.
fn of(args: &[String]) -> Option<Of> {
    let number = |text: &str| match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    };
    let name = args.first().map_or(Arch::HOST.name(), |it| it);
    let arch = *Arch::ALL.iter().find(|arch| arch.name() == name)?;
    let version = match args.get(1).map_or("-", |it| it) {
        "-" => None,
        text => {
            let (major, minor) = text.split_once('.')?;
            Some((major.parse().ok()?, minor.parse().ok()?))
        }
    };
    let page = PageSize::new(args.get(2).map_or(Some(4096), |it| number(it))? as usize)?;
    let largest = arch.max_address_space();
    let address_space = args.get(3).map_or(Some(largest), |it| number(it))?;
    Some(Of { arch, version, page: page.bytes(), address_space, regular_file: true })
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let Some(of) = of(&args).filter(|_| args.len() <= 4) else {
        let names: Vec<_> = Arch::ALL.iter().map(|arch| arch.name()).collect();
        eprintln!("usage: verdicts [{} [VERSION|- [PAGE [SPACE]]]]", names.join("|"));
        return ExitCode::from(2);
    };
    let mut calls = telling(&[of, Of { regular_file: false, ..of }], 60_000);
    calls.sort_by_key(|(of, call)| place(of, *call));
    println!("# What Linux answers: ARCH VERSION PAGE SPACE FILES CALL WORDS = VERDICT");
    for (of, call) in &calls {
        println!("{}", of.line(*call, &RULES));
    }
    ExitCode::SUCCESS
}
