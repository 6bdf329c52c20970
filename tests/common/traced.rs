//! What strace sees of a test that runs again under it, between two marks.

use super::exec_self;
use rawmap::Call;
use std::process::{Command, Stdio};

/// Where the calls begin and end among those that the test program makes by itself.
pub const MARK: Call = Call::munmap(std::ptr::without_provenance_mut(1), 0x5eed);

/// Whether this process is the one that strace sees.
pub fn is_traced() -> bool {
    std::env::var_os("TRACED").is_some()
}

/// Makes the mark.
pub fn mark() {
    // SAFETY: an unaligned address unmaps nothing.
    let _ = unsafe { MARK.make() };
}

/// The lines that strace prints for the calls of these names, each between two marks; and strace's
/// version. Or why there are none.
pub fn trace(test: &str, names: &[&str]) -> Result<(Vec<Vec<String>>, String), String> {
    if let Some(emulator) = super::emulator() {
        return Err(format!("strace would see {emulator}'s calls, not those of the program"));
    }
    let Ok(version) = Command::new("strace").arg("-V").output() else {
        return Err("there is no strace".to_owned());
    };
    let traceable = Command::new("strace").args(["-e", "trace=none", "true"]).output().unwrap();
    if !traceable.status.success() {
        let said = String::from_utf8_lossy(&traceable.stderr);
        return Err(format!("strace is not usable: {}", said.lines().next().unwrap_or_default()));
    }
    let traced = exec_self(test, &[]);
    let mut strace = Command::new("strace");
    strace.args(["-f", "-e", "signal=none", "-e"]).arg(format!("trace={}", names.join(",")));
    strace.arg("--").arg(traced.get_program()).args(traced.get_args()).env("TRACED", "yes");
    let output = strace.stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    // strace ends as the program does that it traces.
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "the traced test failed: {said}\n{text}");
    let mark = MARK.to_string();
    // The process number of a thread stands before its calls.
    let lines = text.lines().map(|line| line.split_once("] ").map_or(line, |(_, rest)| rest));
    let mut between = Vec::new();
    let mut inside: Option<Vec<String>> = None;
    for line in lines {
        if line.starts_with(&mark) {
            match inside.take() {
                Some(seen) => between.push(seen),
                None => inside = Some(Vec::new()),
            }
        } else if let Some(seen) = &mut inside {
            seen.push(line.to_owned());
        }
    }
    let version = String::from_utf8_lossy(&version.stdout);
    Ok((between, version.lines().next().unwrap_or_default().to_owned()))
}
