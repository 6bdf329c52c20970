//! The first program on the machine of ci/kernel-test.sh: does what /plan says, tells on the console
//! how each program ended, and powers off.
//!
//! It has no libc: the crate's stubs are all that it needs to talk to Linux.
//!
//! A plan has lines of words, with one space between two:
//! - `load FILE`: a kernel module.
//! - `mount SOURCE FOLDER TYPE`: what fails is told, and the programs will tell the rest.
//! - `tests [NAME=VALUE]... PROGRAM [ARG]...`: runs a program of tests.
//! - `run [NAME=VALUE]... PROGRAM [ARG]...`: runs another program.
#![no_std]
#![no_main]
// Otherwise the compiler makes of the loop in memcpy a call of memcpy.
#![no_builtins]

#[path = "../../src/guide/libc_parts.rs"]
mod libc_parts;

use core::arch::global_asm;
use core::ffi::CStr;
use core::fmt::{self, Write};
use core::ptr::{null, null_mut};
use rawmap::{Errno, MapFlags, PageSize, Prot, Word, arch, mmap};

/// The numbers of the other system calls made here.
#[cfg(target_arch = "x86_64")]
mod nr {
    pub const WRITE: usize = 1;
    pub const OPEN_AT: usize = 257;
    pub const LSEEK: usize = 8;
    pub const IOCTL: usize = 16;
    pub const CLONE: usize = 56;
    pub const EXECVE: usize = 59;
    pub const EXIT: usize = 60;
    pub const WAIT4: usize = 61;
    pub const KILL: usize = 62;
    pub const UNAME: usize = 63;
    pub const CHDIR: usize = 80;
    pub const SETSID: usize = 112;
    pub const SYNC: usize = 162;
    pub const MOUNT: usize = 165;
    pub const REBOOT: usize = 169;
    pub const CLOCK_GETTIME: usize = 228;
    pub const MKDIR_AT: usize = 258;
    pub const FINIT_MODULE: usize = 313;
}
#[cfg(not(target_arch = "x86_64"))]
mod nr {
    pub const IOCTL: usize = 29;
    pub const MKDIR_AT: usize = 34;
    pub const MOUNT: usize = 40;
    pub const CHDIR: usize = 49;
    pub const OPEN_AT: usize = 56;
    pub const LSEEK: usize = 62;
    pub const WRITE: usize = 64;
    pub const SYNC: usize = 81;
    pub const EXIT: usize = 93;
    pub const CLOCK_GETTIME: usize = 113;
    pub const KILL: usize = 129;
    pub const REBOOT: usize = 142;
    pub const SETSID: usize = 157;
    pub const UNAME: usize = 160;
    pub const CLONE: usize = 220;
    pub const EXECVE: usize = 221;
    pub const WAIT4: usize = 260;
    pub const FINIT_MODULE: usize = 273;
}

// Linux starts a program with the stack pointer at argc, and nothing else worth having.
#[cfg(target_arch = "x86_64")]
global_asm!(".globl _start", "_start:", "mov rdi, rsp", "call {}", sym start);
#[cfg(target_arch = "aarch64")]
global_asm!(".globl _start", "_start:", "mov x0, sp", "bl {}", sym start);
#[cfg(target_arch = "riscv64")]
global_asm!(
    ".globl _start", "_start:",
    ".option push", ".option norelax", "la gp, __global_pointer$", ".option pop",
    "mv a0, sp", "call {}",
    sym start,
);

const SIGKILL: i32 = 9;
const SIGCHLD: usize = 17;
const AT_FDCWD: i32 = -100;
/// What every program finds in its environment, unless the plan says otherwise.
const ENVIRONMENT: [&CStr; 4] = [c"TMPDIR=/tmp", c"HOME=/tmp", c"PATH=/t", c"RUST_BACKTRACE=0"];
/// No line of a plan has as many words.
const WORDS: usize = 32;

extern "C" fn start(stack: *const usize) -> ! {
    mounts();
    greet(stack);
    let seconds = now();
    match plan() {
        Ok(plan) => plan.split_inclusive_mut(|byte| *byte == b'\n').for_each(obey),
        Err(errno) => say!("can't read /plan: {errno}"),
    }
    say!("done after {} ms", now() - seconds);
    power_off()
}

/// Prints a line that begins with `rawmap-init: `, on a line of its own.
macro_rules! say {
    ($($text:tt)*) => { Console.tell(format_args!($($text)*)) };
}
use say;

struct Console;

impl Console {
    fn tell(&mut self, text: fmt::Arguments<'_>) {
        // That there is no console is nothing that could be told.
        let _ = writeln!(self, "\nrawmap-init: {text}");
    }
}

impl Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text.as_bytes();
        while !rest.is_empty() {
            let args = [Word::signed(1), bytes(rest), Word::int(rest.len())];
            // SAFETY: write reads the bytes of `rest`.
            let written = unsafe { call(nr::WRITE, &args) }.map_err(|_| fmt::Error)?.bits();
            rest = rest.get(written..).unwrap_or_default();
        }
        Ok(())
    }
}

/// Makes a system call of up to six arguments.
///
/// # Safety
/// That of the call.
unsafe fn call(nr: usize, args: &[Word]) -> Result<Word, Errno> {
    let arg = |n: usize| args.get(n).copied().unwrap_or(Word::ZERO);
    // SAFETY: the caller's promise.
    Errno::decode(unsafe { arch::syscall6(arg(0), arg(1), arg(2), arg(3), arg(4), arg(5), nr) })
}

fn text(text: &CStr) -> Word {
    Word::ptr(text.as_ptr().cast_mut().cast())
}

fn bytes(bytes: &[u8]) -> Word {
    Word::ptr(bytes.as_ptr().cast_mut())
}

fn open(path: Word) -> Result<i32, Errno> {
    // SAFETY: the path is a C string, which openat reads.
    let fd = unsafe { call(nr::OPEN_AT, &[Word::signed(AT_FDCWD), path]) }?;
    Ok(fd.bits() as i32)
}

fn mount(source: Word, folder: Word, kind: Word, options: Word) -> Result<(), Errno> {
    // SAFETY: C strings, which mkdirat and mount read.
    unsafe {
        let _ = call(nr::MKDIR_AT, &[Word::signed(AT_FDCWD), folder, Word::int(0o1777)]);
        call(nr::MOUNT, &[source, folder, kind, Word::ZERO, options]).map(|_| ())
    }
}

/// Mounts what programs expect to find.
fn mounts() {
    let mounts = [
        (c"/dev", c"devtmpfs", c""),
        (c"/proc", c"proc", c""),
        (c"/sys", c"sysfs", c""),
        (c"/tmp", c"tmpfs", c"mode=1777"),
        (c"/dev/shm", c"tmpfs", c"mode=1777"),
    ];
    for (folder, kind, options) in mounts {
        if let Err(errno) = mount(text(kind), text(folder), text(kind), text(options)) {
            say!("can't mount {folder:?}: {errno}");
        }
    }
    // SAFETY: a C string, which chdir reads.
    let _ = unsafe { call(nr::CHDIR, &[text(c"/tmp")]) };
}

/// Says which kernel this is. The page size that the crate finds must be the kernel's word.
fn greet(stack: *const usize) {
    const FIELD: usize = 65;
    const AT_PAGESZ: usize = 6;
    const AT_HWCAP: usize = 16;
    let mut names = [0u8; 6 * FIELD];
    // SAFETY: uname writes a `struct utsname`: six fields of 65 bytes.
    let _ = unsafe { call(nr::UNAME, &[Word::ptr(names.as_mut_ptr())]) };
    let name = |n: usize| {
        let field = names.get(n * FIELD..).unwrap_or_default();
        CStr::from_bytes_until_nul(field).ok().and_then(|name| name.to_str().ok()).unwrap_or("?")
    };
    let (mut page, mut hwcap) = (0, 0);
    // SAFETY: from argc on there are argc pointers and a null one, the environment and a null one,
    // and pairs of words of which the last begins with 0.
    unsafe {
        let mut at = stack.add(*stack + 2);
        while *at != 0 {
            at = at.add(1);
        }
        at = at.add(1);
        while *at != 0 {
            match *at {
                AT_PAGESZ => page = *at.add(1),
                AT_HWCAP => hwcap = *at.add(1),
                _ => {}
            }
            at = at.add(2);
        }
    }
    say!("Linux {} on {}, pages of {page} bytes, hwcap {hwcap:#x}", name(2), name(4));
    let found = PageSize::find().map(PageSize::bytes);
    if found != Ok(page) {
        say!("wrong page size: the crate finds {found:?}");
    }
}

/// Milliseconds since some time in the past.
fn now() -> i64 {
    let mut time = [0i64; 2];
    // SAFETY: clock_gettime writes two words. 1 is CLOCK_MONOTONIC.
    let _ =
        unsafe { call(nr::CLOCK_GETTIME, &[Word::int(1), Word::ptr(time.as_mut_ptr().cast())]) };
    time[0] * 1000 + time[1] / 1_000_000
}

/// The bytes of /plan: a private mapping, so that they may be changed.
fn plan() -> Result<&'static mut [u8], Errno> {
    let fd = open(text(c"/plan"))?;
    // SAFETY: lseek to the end (2) tells the length. The mapping is new, as long as the file, and
    // stays; nobody writes the file.
    unsafe {
        let len = call(nr::LSEEK, &[Word::signed(fd), Word::ZERO, Word::int(2)])?.bits();
        let map = mmap(null_mut(), len, Prot::READ | Prot::WRITE, MapFlags::PRIVATE, fd, 0)?;
        Ok(core::slice::from_raw_parts_mut(map, len))
    }
}

/// Does what one line of the plan says; the line ends with its newline.
fn obey(line: &mut [u8]) {
    let mut words: [*mut u8; WORDS] = [null_mut(); WORDS];
    let mut count = 0;
    let mut between = true;
    let first = line.as_mut_ptr();
    for n in 0..line.len() {
        // SAFETY: a byte of the line.
        let at = unsafe { first.add(n) };
        // SAFETY: as above.
        if matches!(unsafe { at.read() }, b' ' | b'\n') {
            // SAFETY: as above.
            unsafe { at.write(0) };
            between = true;
        } else if between && count < WORDS - 1 {
            words[count] = at;
            count += 1;
            between = false;
        }
    }
    if count == 0 {
        return;
    }
    // SAFETY: each word is a C string now.
    let word = |n: usize| unsafe { CStr::from_ptr(words[n].cast_const().cast()) };
    match word(0).to_bytes() {
        b"load" if count == 2 => load(word(1)),
        b"mount" if count == 4 => {
            if let Err(errno) = mount(text(word(1)), text(word(2)), text(word(3)), Word::ZERO) {
                say!("can't mount {:?}: {errno}", word(2));
            }
        }
        kind @ (b"tests" | b"run") if count > 1 => run(kind == b"tests", &words),
        _ => say!("can't read the line that begins with {:?}", word(0)),
    }
}

fn load(file: &CStr) {
    let loaded = open(text(file)).and_then(|fd| {
        let args = [Word::signed(fd), text(c""), Word::ZERO];
        // SAFETY: finit_module reads the file, and a C string.
        unsafe { call(nr::FINIT_MODULE, &args) }
    });
    if let Err(errno) = loaded {
        say!("can't load {file:?}: {errno}");
    }
}

/// A program and its arguments, as the console shows them: without the folder.
struct Title<'a>(&'a [*mut u8]);

impl fmt::Display for Title<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, word) in self.0.iter().take_while(|word| !word.is_null()).enumerate() {
            // SAFETY: each word is a C string.
            let word = unsafe { CStr::from_ptr(word.cast_const().cast()) };
            let word = word.to_str().unwrap_or("?");
            match n {
                0 => f.write_str(word.rsplit('/').next().unwrap_or(word))?,
                _ => write!(f, " {word}")?,
            }
        }
        Ok(())
    }
}

/// Runs a program, and tells how it ended. The words are the line's, and null behind them.
fn run(tests: bool, words: &[*mut u8; WORDS]) {
    let mut environment = [null::<u8>(); WORDS + ENVIRONMENT.len()];
    let mut at = 1;
    // SAFETY: each word is a C string.
    let c_str = |word: *mut u8| unsafe { CStr::from_ptr(word.cast_const().cast()) };
    // What comes first counts.
    while at < WORDS - 1 && !words[at].is_null() && c_str(words[at]).to_bytes().contains(&b'=') {
        environment[at - 1] = words[at];
        at += 1;
    }
    for (n, entry) in ENVIRONMENT.iter().enumerate() {
        environment[at - 1 + n] = entry.as_ptr().cast();
    }
    if words[at].is_null() {
        return say!("a line that runs nothing");
    }
    let program = c_str(words[at]);
    let name = Title(&words[at..]);
    if tests {
        // As cargo says it.
        let _ = writeln!(Console, "\n     Running {name}");
    } else {
        say!("running {name}");
    }
    let start = now();
    // SAFETY: as `fork`: the child goes on here with a copy of all memory.
    let child = match unsafe { call(nr::CLONE, &[Word::int(SIGCHLD)]) } {
        Ok(Word::ZERO) => become_program(text(program), &words[at..], &environment),
        Ok(child) => child.bits() as i32,
        Err(errno) => return say!("{name}: can't fork: {errno}"),
    };
    let mut status = 0;
    wait_for(child, &mut status);
    // Whatever it left behind must not trouble the next one.
    // SAFETY: -1 is every process but this one.
    let _ = unsafe { call(nr::KILL, &[Word::signed(-1), Word::signed(SIGKILL)]) };
    wait_for(-1, &mut 0);
    let time = now() - start;
    match status & 0x7f {
        0 => say!("{name}: exit {} after {time} ms", status >> 8 & 0xff),
        signal => say!("{name}: signal {signal} after {time} ms"),
    }
}

/// Waits for one child, or for -1 until there is none; collects those that were left to this
/// process in the meantime.
fn wait_for(child: i32, status: &mut i32) {
    loop {
        let mut ended = 0i32;
        let args = [Word::signed(-1), Word::ptr((&raw mut ended).cast())];
        // SAFETY: wait4 writes a status.
        match unsafe { call(nr::WAIT4, &args) } {
            Ok(pid) if pid.bits() as i32 == child => return *status = ended,
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => return,
        }
    }
}

fn become_program(program: Word, argv: &[*mut u8], environment: &[*const u8]) -> ! {
    let argv = Word::ptr(argv.as_ptr().cast_mut().cast());
    let environment = Word::ptr(environment.as_ptr().cast_mut().cast());
    // SAFETY: execve reads arrays of C strings that end with null.
    unsafe {
        let _ = call(nr::SETSID, &[]);
        let result = call(nr::EXECVE, &[program, argv, environment]);
        say!("can't run it: {result:?}");
        exit(127)
    }
}

fn exit(code: i32) -> ! {
    loop {
        // SAFETY: ends this process.
        let _ = unsafe { call(nr::EXIT, &[Word::signed(code)]) };
    }
}

fn power_off() -> ! {
    /// `TCSBRK`; with an argument of 1 it waits until everything is printed.
    const TCSBRK: usize = 0x5409;
    let magic = [0xfee1_dead, 0x2812_1969, 0x4321_fedc].map(Word::int);
    // SAFETY: none of these touches this program's memory.
    unsafe {
        let _ = call(nr::SYNC, &[]);
        let _ = call(nr::IOCTL, &[Word::signed(1), Word::int(TCSBRK), Word::int(1)]);
        let _ = call(nr::REBOOT, &magic);
    }
    exit(1)
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    say!("{info}");
    power_off()
}
