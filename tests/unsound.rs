//! What safe programs may try against the owners: each attack is a program under `forbid(unsafe_code)`,
//! which runs in a process and on the main thread of its own, and ends well: it breaks nothing, and dies of
//! no signal.
#![forbid(unsafe_code)]

#[path = "unsound/attacks.rs"]
mod attacks;

use attacks::ATTACKS;
use libtest_mimic::{Arguments, Failed, Trial};
use std::process::{Command, ExitCode};

/// Names the attack that this process is to run.
const ATTACK: &str = "RAWMAP_ATTACK";

fn main() -> ExitCode {
    if let Ok(name) = std::env::var(ATTACK) {
        let (_, attack) = ATTACKS.iter().find(|(known, _)| *known == name).expect("an attack");
        attack();
        return ExitCode::SUCCESS;
    }
    let trials = ATTACKS.iter().map(|(name, _)| Trial::test(*name, || fails(name)));
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit_code()
}

/// Runs an attack, which is to fail.
fn fails(name: &str) -> Result<(), Failed> {
    if std::env::var_os("RAWMAP_EMULATOR").is_some_and(|emulator| !emulator.is_empty()) {
        eprintln!("skipped: unsound::{name}: an emulator's program can't be started from a test");
        return Ok(());
    }
    let output = Command::new(std::env::current_exe()?).env(ATTACK, name).output()?;
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        match line.strip_prefix("skipped: ") {
            Some(reason) => eprintln!("skipped: unsound::{name}: {reason}"),
            None => println!("{name}: {line}"),
        }
    }
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr)).into())
}
