//! What the tests share: the page size, children that may die, and words for what can't be shown.
//!
//! A test that the machine can't run says so with [`skip!`] and returns; a test to which an
//! emulator answers otherwise than Linux asserts the emulator's answer and says so with
//! [`departure!`]. Both go to the real standard error, where `ci/qemu-test.sh` counts them.
#![allow(dead_code, unreachable_pub, unused_macros)]

pub mod supervised;
pub mod traced;

use rawmap::{Errno, Fd, MapFlags, PageSize, Prot};
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsRawFd, FromRawFd};
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};

pub const RW: Prot = Prot::READ.union(Prot::WRITE);
pub const ANON: MapFlags = MapFlags::PRIVATE.union(MapFlags::ANONYMOUS);

/// The running kernel's page size in bytes.
pub fn page() -> usize {
    PageSize::find().unwrap().bytes()
}

/// An address as a pointer to nothing.
pub fn at(addr: usize) -> *mut u8 {
    ptr::without_provenance_mut(addr)
}

/// The emulator that runs this test, as `qemu-user-10.0.2`; `None` on a real kernel.
pub fn emulator() -> Option<String> {
    std::env::var("RAWMAP_EMULATOR").ok().filter(|name| !name.is_empty())
}

/// How many of something a test tries: what this variable of the environment says, or else the default.
pub fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |number| number.parse().unwrap())
}

/// The major version of QEMU user mode, if it runs this test.
pub fn qemu() -> Option<u32> {
    emulator().map(|name| {
        let version = name.strip_prefix("qemu-user-").expect("RAWMAP_EMULATOR=qemu-user-VERSION");
        version.split('.').next().unwrap().parse().expect("a version number")
    })
}

/// Whether the emulator is QEMU user mode of a major version below this one.
pub fn qemu_before(major: u32) -> bool {
    qemu().is_some_and(|version| version < major)
}

/// What QEMU says to an advice that it does not have.
pub fn unknown_advice_in_qemu() -> Result<(), Errno> {
    if qemu_before(11) { Ok(()) } else { Err(Errno::EINVAL) }
}

/// The running kernel's version, as (6, 12); under an emulator, that of the kernel below it.
pub fn kernel() -> (u32, u32) {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|n| n.parse().unwrap());
    (numbers.next().unwrap(), numbers.next().unwrap())
}

/// The name of the function that calls it, `file::test`.
#[macro_export]
macro_rules! this_test {
    () => {{
        fn here() {}
        std::any::type_name_of_val(&here)
            .trim_end_matches("::here")
            .trim_end_matches("::{{closure}}")
    }};
}

/// Says why this test did not run. The caller returns.
#[macro_export]
macro_rules! skip {
    ($($reason:tt)*) => { $crate::common::say("skipped", $crate::this_test!(), format_args!($($reason)*)) };
}

/// Says in what an emulator's answer, which the test has asserted, departs from Linux's.
#[macro_export]
macro_rules! departure {
    ($($reason:tt)*) => { $crate::common::say("emulator", $crate::this_test!(), format_args!($($reason)*)) };
}

/// Asserts Linux's answer: `answers!(Ok(()), call)`; or, where QEMU of the versions named departs
/// from it, the answer that it gives: `answers!(Ok(()), call, qemu ..10 => Err(Errno::EINVAL), "why")`.
#[macro_export]
macro_rules! answers {
    ($linux:expr, $call:expr $(, qemu $versions:pat => $answer:expr, $($why:expr),+)? $(,)?) => {{
        let got = $call;
        match $crate::common::qemu() {
            $(Some($versions) => {
                assert_eq!(got, $answer, "QEMU's answer to {}", stringify!($call));
                $crate::departure!($($why),+);
            })?
            _ => assert_eq!(got, $linux, "Linux's answer to {}", stringify!($call)),
        }
    }};
}

/// Asserts that Linux refuses with this error: `refused!(EINVAL, call)`; QEMU as in [`answers!`].
#[macro_export]
macro_rules! refused {
    ($errno:ident, $call:expr $(, $($qemu:tt)*)?) => {
        $crate::answers!(Err(rawmap::Errno::$errno), $call.map(|_| ()) $(, $($qemu)*)?)
    };
}

/// Ends the test where this user may not lock so many bytes, and says so.
#[macro_export]
macro_rules! need_lockable {
    ($bytes:expr) => {
        let limit = $crate::common::lockable();
        if limit < $bytes {
            return $crate::skip!(
                "it locks {} bytes, and this user may lock {limit} (ulimit -l)",
                $bytes
            );
        }
    };
}

/// How many bytes this user may lock.
pub fn lockable() -> u64 {
    if cfg!(miri) {
        return u64::MAX; // which has no limits
    }
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: limit is a valid place.
    assert_eq!(unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &mut limit) }, 0);
    // A child that sets itself a higher limit needs the second one.
    let unlimited = has_right(CAP_IPC_LOCK) && has_right(CAP_SYS_RESOURCE);
    if unlimited { u64::MAX } else { limit.rlim_cur }
}

pub fn say(kind: &str, test: &str, reason: std::fmt::Arguments<'_>) {
    let line = format!("{kind}: {test}: {reason}\n");
    // Not eprintln, which libtest captures; and not by the standard library's lock, which another
    // thread may have held when this child was forked.
    // SAFETY: writes the line's bytes.
    unsafe { libc::write(libc::STDERR_FILENO, line.as_ptr().cast(), line.len()) };
}

/// How a child ended.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub enum End {
    Exit(i32),
    Signal(i32),
}

pub const SEGV: End = End::Signal(libc::SIGSEGV);
pub const BUS: End = End::Signal(libc::SIGBUS);
pub const OK: End = End::Exit(0);

/// Runs `f` in a forked child and tells how it ended: with what `f` returns, 101 for a panic, or a
/// signal; SIGALRM after a minute.
pub fn in_child(f: impl FnOnce() -> i32) -> End {
    wait_for(fork(f))
}

/// Makes claims in a forked child: for what changes the whole process, and for holes in the address
/// space, which another thread could fill. A claim that fails there fails here, and is printed.
#[track_caller]
pub fn alone(claims: impl FnOnce()) {
    assert_eq!(in_child(|| claim(claims)), OK, "how the child ended");
}

/// Makes claims in a child: 0 if they hold, else 101, and the message is printed.
pub fn claim(claims: impl FnOnce()) -> i32 {
    let Err(panic) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(claims)) else {
        return 0;
    };
    // libtest, which captured the message, does not live in the child to tell it.
    let literal = panic.downcast_ref::<&str>().copied();
    let message = panic.downcast_ref::<String>().map(String::as_str).or(literal);
    say("in a child", "a claim failed", format_args!("{}", message.unwrap_or("no message")));
    101
}

/// Starts `f` in a forked child, which ends with what `f` returns.
pub fn fork(f: impl FnOnce() -> i32) -> libc::pid_t {
    // SAFETY: the child runs `f` and exits; glibc makes malloc usable after fork.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "fork failed");
    if pid == 0 {
        // SAFETY: plain calls; a fault shall kill the child and leave no core file.
        unsafe {
            libc::alarm(60);
            // An emulated child may loop where no alarm reaches it.
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
            libc::setrlimit(libc::RLIMIT_CORE, &none);
            libc::signal(libc::SIGSEGV, libc::SIG_DFL);
            libc::signal(libc::SIGBUS, libc::SIG_DFL);
        }
        let code = std::panic::catch_unwind(std::panic::AssertUnwindSafe(f)).unwrap_or(101);
        // SAFETY: ends the child without running the parent's exit handlers.
        unsafe { libc::_exit(code) }
    }
    pid
}

/// Waits for a child of [`fork`].
pub fn wait_for(pid: libc::pid_t) -> End {
    let mut status = 0;
    // SAFETY: status is a valid place.
    while unsafe { libc::waitpid(pid, &mut status, 0) } != pid {
        assert_eq!(std::io::Error::last_os_error().kind(), std::io::ErrorKind::Interrupted);
    }
    if libc::WIFSIGNALED(status) {
        End::Signal(libc::WTERMSIG(status))
    } else {
        End::Exit(libc::WEXITSTATUS(status))
    }
}

/// How a child ends that reads the byte.
pub fn reading(at: *mut u8) -> End {
    // SAFETY: only a child does it, and whether it may is the question.
    in_child(|| unsafe {
        at.read_volatile();
        0
    })
}

/// How a child ends that writes the byte.
pub fn writing(at: *mut u8) -> End {
    // SAFETY: as for reading.
    in_child(|| unsafe {
        at.write_volatile(1);
        0
    })
}

/// How a child ends that calls the code of [`RETURN_42`] there, and exits with what it returns.
pub fn running(at: *mut u8) -> End {
    // SAFETY: as for reading; the bytes are a function without arguments that returns 42.
    in_child(|| unsafe { std::mem::transmute::<*mut u8, extern "C" fn() -> i32>(at)() })
}

/// Machine code of a function that returns 42.
#[cfg(target_arch = "x86_64")]
pub const RETURN_42: &[u8] = &[0xb8, 42, 0, 0, 0, 0xc3]; // mov eax, 42; ret
#[cfg(target_arch = "aarch64")]
pub const RETURN_42: &[u8] = &[0x40, 0x05, 0x80, 0x52, 0xc0, 0x03, 0x5f, 0xd6]; // mov w0, 42; ret
#[cfg(target_arch = "riscv64")]
pub const RETURN_42: &[u8] = &[0x13, 0x05, 0xa0, 0x02, 0x67, 0x80, 0, 0]; // li a0, 42; ret

/// A file of one page that begins with the code of [`RETURN_42`]. Not in the folder for temporary
/// files, whose file system may be mounted noexec.
pub fn code_file() -> File {
    let mut file = memfd(page() as u64);
    file.write_all(RETURN_42).unwrap();
    file
}

/// New private anonymous memory of so many bytes, never unmapped unless the test does it.
pub fn anonymous(len: usize, prot: Prot) -> *mut u8 {
    // SAFETY: a new mapping, which nothing else refers to.
    unsafe { rawmap::mmap_anonymous(ptr::null_mut(), len, prot, MapFlags::PRIVATE) }.unwrap()
}

/// A new, empty file without a name, in the folder for temporary files (a real file system where
/// that is one), open for reading and writing.
pub fn temp_file() -> File {
    let (path, file) = named_temp_file();
    std::fs::remove_file(&path).unwrap();
    file
}

/// A new, empty file: its path, and it open for reading and writing.
pub fn named_temp_file() -> (std::path::PathBuf, File) {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!("rawmap-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let path = std::env::temp_dir().join(name);
    let file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)
        .expect("temporary file");
    (path, file)
}

/// A temporary file of so many pages; every byte of page n is n + 1.
pub fn file_of_pages(pages: usize) -> File {
    let mut file = temp_file();
    for n in 0..pages {
        file.write_all(&vec![n as u8 + 1; page()]).unwrap();
    }
    file
}

/// A memfd, sealable.
pub fn memfd(len: u64) -> File {
    // SAFETY: a plain call; the descriptor is new and ours.
    let file = unsafe {
        let fd = libc::memfd_create(c"rawmap".as_ptr(), libc::MFD_ALLOW_SEALING);
        assert!(fd >= 0, "memfd_create");
        File::from_raw_fd(fd)
    };
    file.set_len(len).unwrap();
    file
}

/// A pipe: the end that is read, and the one that is written.
pub fn pipe() -> (File, File) {
    let mut ends = [0; 2];
    // SAFETY: pipe2 writes two descriptors, which are new and ours.
    unsafe {
        assert_eq!(libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC), 0, "pipe2");
        (File::from_raw_fd(ends[0]), File::from_raw_fd(ends[1]))
    }
}

/// A file's descriptor, as owners take it.
pub fn lent(file: &impl AsRawFd) -> Fd<'_> {
    // SAFETY: it is open for as long as the file is borrowed.
    unsafe { Fd::borrow_raw(file.as_raw_fd()) }
}

/// Maps a file: `mmap` with a null hint.
pub fn map(
    file: &File,
    len: usize,
    prot: Prot,
    flags: MapFlags,
    offset: u64,
) -> Result<*mut u8, Errno> {
    // SAFETY: a new mapping, which nothing else refers to.
    unsafe { rawmap::mmap(ptr::null_mut(), len, prot, flags, file.as_raw_fd(), offset) }
}

/// The n-th word of a mapping that others write to at the same time.
pub fn word<'a>(map: *mut u8, n: usize) -> &'a AtomicU32 {
    // SAFETY: the caller's mapping is aligned to a page, has that word, and stays; whoever writes
    // the word while it is borrowed does it by atomics too, or by a system call.
    unsafe { AtomicU32::from_ptr(map.cast::<u32>().add(n)) }
}

/// Waits until another process has stored this value; half a minute at most.
pub fn await_value(word: &AtomicU32, value: u32) {
    let start = std::time::Instant::now();
    while word.load(Ordering::Acquire) != value {
        assert!(
            start.elapsed().as_secs() < 30,
            "waited half a minute for another process to store {value}, and there is {word:?}"
        );
        std::thread::yield_now();
    }
}

/// Sets a soft and hard limit; for children only.
pub fn limit(resource: libc::__rlimit_resource_t, value: u64) {
    let limit = libc::rlimit { rlim_cur: value, rlim_max: value };
    // SAFETY: limit is a valid place.
    assert_eq!(unsafe { libc::setrlimit(resource, &limit) }, 0);
}

/// The most bytes that a Rust object of whole pages of this size may have.
pub fn most(page: usize) -> usize {
    isize::MAX as usize & !(page - 1)
}

/// How many bytes count against RLIMIT_DATA.
pub fn data_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let data = status.lines().find_map(|line| line.strip_prefix("VmData:")).unwrap();
    data.trim().strip_suffix(" kB").unwrap().parse::<usize>().unwrap() << 10
}

pub const CAP_IPC_LOCK: u32 = 14;
pub const CAP_SYS_RAWIO: u32 = 17;
pub const CAP_SYS_RESOURCE: u32 = 24;

/// Whether this process has one of root's rights (capabilities(7)). Root itself may lack it, as it
/// does in most containers, so nothing follows from the user's number.
pub fn has_right(capability: u32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap();
    u64::from_str_radix(effective.trim(), 16).unwrap() >> capability & 1 == 1
}

/// Whether a filter of system calls, such as a container's, hides `mseal` from a kernel that has it.
pub fn mseal_is_filtered() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    // SAFETY: a range of length 0 holds no memory.
    let answer = unsafe { rawmap::mseal(ptr::null_mut(), 0, rawmap::MsealFlags::default()) };
    let filtered = status.lines().any(|line| line == "Seccomp:\t2") && emulator().is_none();
    filtered && kernel() >= (6, 10) && answer == Err(Errno::ENOSYS)
}

/// Gives up all of root's rights, for children only. The user's number stays, since a container may
/// have no other.
pub fn give_up_rights() {
    let version_and_thread = [0x2008_0522_u32, 0]; // _LINUX_CAPABILITY_VERSION_3
    let none = [0_u32; 6];
    // SAFETY: the call reads both. It changes this thread alone, which is all the child has.
    let set = unsafe { libc::syscall(libc::SYS_capset, &version_and_thread, &none) };
    assert_eq!(set, 0, "capset");
}

/// Starts this test program again as another process, unrelated by memory, to run one test of it
/// with the environment given; under an emulator, in the emulator.
pub fn exec_self(test: &str, env: &[(&str, &str)]) -> std::process::Command {
    let me = std::env::current_exe().unwrap();
    let mut command = match std::env::var_os("RAWMAP_RUNNER").filter(|runner| !runner.is_empty()) {
        Some(runner) => {
            let mut command = std::process::Command::new(runner);
            command.arg(me);
            command
        }
        None => std::process::Command::new(me),
    };
    command.args(["--exact", test, "--nocapture", "--include-ignored"]).envs(env.iter().copied());
    command
}

/// Starts a process of [`exec_self`], for [`assert_passed`] to wait for.
pub fn start(peer: &mut std::process::Command) -> std::process::Child {
    peer.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap()
}

/// Waits for a process that [`start`] started; it must have run its one test, and passed.
pub fn assert_passed(peer: std::process::Child) {
    let output = peer.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "the other process: {}\n{said}{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
}

/// The mappings of this process that touch `from .. to`, as /proc/self/smaps has them: the first
/// line of each, and its fields by name.
pub fn smaps(
    from: *mut u8,
    to: *mut u8,
) -> Vec<(String, std::collections::HashMap<String, String>)> {
    let text = std::fs::read_to_string("/proc/self/smaps").unwrap();
    let mut found: Vec<(String, std::collections::HashMap<String, String>)> = Vec::new();
    // Nothing is kept of the others: QEMU makes each page by which malloc grows a mapping.
    let mut touches = false;
    for line in text.lines() {
        let first = line.split(' ').next().unwrap();
        if let Some(name) = first.strip_suffix(':') {
            if touches {
                let value = line[first.len()..].trim().to_owned();
                found.last_mut().unwrap().1.insert(name.to_owned(), value);
            }
        } else {
            let (start, end) = first.split_once('-').unwrap();
            let parse = |hex| usize::from_str_radix(hex, 16).unwrap();
            touches = parse(start) < to.addr() && from.addr() < parse(end);
            if touches {
                found.push((line.to_owned(), Default::default()));
            }
        }
    }
    found
}

/// The default size of the huge-page pool's pages, if the kernel has a pool at all, be it empty.
pub fn huge_page() -> Option<usize> {
    let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap();
    let size = meminfo.lines().find_map(|line| line.strip_prefix("Hugepagesize:"))?;
    Some(size.trim().strip_suffix(" kB").unwrap().parse::<usize>().unwrap() << 10)
}

/// Whether each page of the range is resident, by `mincore`.
pub fn resident(at: *mut u8, pages: usize) -> Vec<bool> {
    let mut vec = vec![0u8; pages];
    // SAFETY: vec has a byte for each page.
    unsafe { rawmap::mincore(at, pages * page(), vec.as_mut_ptr()) }.unwrap();
    vec.iter().map(|byte| byte & 1 == 1).collect()
}

/// Runs with four pages in the pool of 2 MiB pages, if the machine gives them; then as before.
pub fn with_huge_pages(test: impl FnOnce()) -> Result<(), &'static str> {
    const POOL: &str = "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages";
    if emulator().is_some() {
        return Err("the emulator hands MAP_HUGETLB to the kernel below it");
    }
    let pool = match File::options().write(true).open(POOL) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err("there is no such pool");
        }
        Err(_) => return Err("the pool can't be changed by this user"),
        Ok(pool) => pool,
    };
    // One at a time: the pool is the machine's.
    // SAFETY: a plain call; the lock goes with the descriptor.
    assert_eq!(unsafe { libc::flock(pool.as_raw_fd(), libc::LOCK_EX) }, 0);
    let before = std::fs::read_to_string(POOL).unwrap();
    let wanted: usize = before.trim().parse::<usize>().unwrap() + 4;
    if std::fs::write(POOL, wanted.to_string()).is_err() {
        return Err("the pool can't be changed by this user");
    }
    struct Restore(String);
    impl Drop for Restore {
        fn drop(&mut self) {
            std::fs::write(POOL, self.0.trim()).unwrap();
        }
    }
    let _restore = Restore(before);
    let got: usize = std::fs::read_to_string(POOL).unwrap().trim().parse().unwrap();
    if got != wanted {
        return Err("there is no memory for the pool");
    }
    alone(test);
    Ok(())
}

/// Which addresses are mapped, whatever the protections, in order: each range and the next don't
/// touch. Not the heap and the main stack, which grow by themselves.
///
/// Allocates nothing but for the first time, so that looking doesn't change what is seen.
#[derive(Default)]
pub struct Space {
    text: Vec<u8>,
    pub ranges: Vec<(usize, usize)>,
}

impl Space {
    pub fn new() -> Self {
        let mut space = Self { text: vec![0; 1 << 20], ranges: Vec::with_capacity(1 << 14) };
        space.look();
        space
    }

    pub fn look(&mut self) {
        let mut len = 0;
        // SAFETY: reads as much as there is room for.
        unsafe {
            let fd = libc::open(c"/proc/self/maps".as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC);
            loop {
                let room = &mut self.text[len..];
                match libc::read(fd, room.as_mut_ptr().cast(), room.len()) {
                    got @ 1.. => len += got as usize,
                    _ => break,
                }
            }
            libc::close(fd);
        }
        assert!(len < self.text.len(), "room for /proc/self/maps");
        self.ranges.clear();
        for line in self.text[..len].split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let line = std::str::from_utf8(line).unwrap();
            if line.ends_with("[heap]") || line.ends_with("[stack]") {
                continue;
            }
            let (start, end) = line.split(' ').next().unwrap().split_once('-').unwrap();
            let parse = |hex| usize::from_str_radix(hex, 16).unwrap();
            match self.ranges.last_mut() {
                Some(last) if last.1 == parse(start) => last.1 = parse(end),
                _ => self.ranges.push((parse(start), parse(end))),
            }
        }
    }

    /// How many bytes are mapped.
    pub fn bytes(&self) -> usize {
        self.ranges.iter().map(|(start, end)| end - start).sum()
    }

    /// Whether all of `from .. from + len` is mapped.
    pub fn has(&self, from: *mut u8, len: usize) -> bool {
        let from = from.addr();
        self.ranges.iter().any(|(start, end)| *start <= from && from + len <= *end)
    }

    /// Whether nothing of `from .. from + len` is mapped.
    pub fn lacks(&self, from: *mut u8, len: usize) -> bool {
        let from = from.addr();
        self.ranges.iter().all(|(start, end)| *end <= from || from + len <= *start)
    }
}
