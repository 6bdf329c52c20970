//! Writes what Linux answers to calls with wrong arguments, as plain lines. They are for testing another kernel
//! that has Linux's calls, in whatever language it is written.
//!
//! `cargo run --example verdicts -- [ARCH [VERSION [PAGE [SPACE]]]]`, such as `x86_64 6.18` or `aarch64 - 16384
//! 0x800000000000`. `-` stands for any version. Without arguments, the architecture is that of this machine,
//! the page size is 4096, and the address space is the largest that the architecture has.
//!
//! # For a kernel of your own
//! The calls are chosen so that each mistake in the rules shows in one of the lines: a missing rule, another
//! error, a version that is too early or too late. Beside each call stands one that differs from it slightly in
//! one word, and gets another answer. A line looks like this:
//!
//! ```text
//! x86_64 6.18 4096 0x7ffffffff000 any mprotect 0x1000 0xffffffffffffffff 0x1 = ENOMEM: length … wraps …
//! ```
//!
//! The part before `=` names the kernel and the call, with its words in hexadecimal. The verdict follows. To
//! test your kernel:
//!
//! 1. Write the lines for the version that you are compatible with, and for your page size and address
//!    space (Linux's `TASK_SIZE`, the first address that no process can have).
//! 2. For each line, start a new process, and make the call there with exactly these words. (Calls that pass
//!    change what is mapped, or end the process.) The descriptor 3 must be open for reading and writing; where
//!    the line says `regular`, it must be of a regular file.
//! 3. `= EINVAL` holds if the call fails with EINVAL. With `or EFAULT ENOMEM`, these errors are right too:
//!    before it comes to the rule, the kernel looks at what is mapped, at limits, or at the file, and may find
//!    an error there.
//! 4. `= passes` does not mean that the call succeeds, only that its words are no reason for EINVAL, EOVERFLOW
//!    or EOPNOTSUPP.
//! 5. If the line has no `changed`, the call must not have changed anything.
//!
//! A kernel in Rust can use `Call::check` for each call instead, as the example `guest` does. [`RULES`] says
//! which function of Linux a rule comes from. Where your kernel differs on purpose, `Call::check_by` takes a
//! list with other errors, or without some rules.

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
