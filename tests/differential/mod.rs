//! The differential: hostile calls, checked, made for real, and compared.
//!
//! Calls come from a [`Source`] of numbers: a generator with a fixed seed in the tests, a fuzzer's
//! bytes in `fuzz/`. They are made in forked children, which hold nothing that anyone would miss:
//! a call may unmap the child's stack or code. Each child has no privileges, 64 MiB of address
//! space to spare and 1 MiB to lock, so that no call can eat the machine; and it writes each answer
//! to memory that it shares with its parent, so that its death loses only the call that killed it.
#![allow(dead_code, unreachable_pub)]

mod departures;
pub mod source;

pub use source::Source;

use rawmap::{
    Advice, Arch, Call, Errno, Kernel, MapFlags, MlockAllFlags, MlockFlags, MremapFlags,
    MsealFlags, MsyncFlags, Operation, PageSize, Prot, RULES, RawFd, Reason, Refusal, Rule, Step,
    Versions, Word, arch,
};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::ops::Range;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How many calls a child makes at most.
pub const BATCH: usize = 512;
/// Pages of the arena: private anonymous memory that calls may do anything with.
const ARENA: usize = 64;
/// What a child may map beside what it inherits, in bytes.
const SPARE: u64 = 64 << 20;
/// How many times a refusal may have met what may come earlier, and nothing else, when a run ends.
const DOUBT: u64 = 256;
/// What a child may lock, in bytes.
pub const LOCKABLE: u64 = 1 << 20;

/// What calls are made in: the arena, the files, and what is known of the kernel.
pub struct World {
    pub kernel: Kernel,
    pub version: (u16, u16),
    pub page: usize,
    pub address_space: usize,
    arena: *mut u8,
    regular: OwnedFd,
    /// A regular file of the file system for temporary files, which may know `MAP_SYNC`.
    disk: OwnedFd,
    read_only: OwnedFd,
    pipe: OwnedFd,
    /// Addresses that the process lives on: code, stack, heap.
    vital: [usize; 3],
    whole_only: Vec<Range<usize>>,
    huge_log2s: Vec<u32>,
    advices: Vec<i32>,
    answers: &'static Answers,
    /// How many children there were: the number of the next one.
    children: AtomicUsize,
    /// QEMU user mode runs this, not a kernel.
    emulated: bool,
}

/// What a child tells its parent. A hostile call may take this away from the child, or change the
/// calls that are still to be made, so each answer carries the seal of the child and of the words
/// that it made the call with, and counts only with the right one.
struct Answers {
    /// How many calls were started.
    started: AtomicUsize,
    results: [[AtomicUsize; 2]; BATCH],
}

/// The seal of an answer: of the child's number and the call's words.
fn seal(child: usize, call: Call) -> usize {
    call.args().iter().fold(child << 16 ^ call.number(), |seal, word| {
        (seal.rotate_left(7) ^ word.bits()).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    })
}

impl World {
    pub fn new() -> Self {
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
        let mut numbers = release.split(|c: char| !c.is_ascii_digit());
        let mut number = || numbers.next().unwrap().parse().unwrap();
        let version = (number(), number());
        let mut kernel = Kernel::find().unwrap().version(version.0, version.1);
        let page = PageSize::find().unwrap().bytes();
        let emulated = std::env::var("RAWMAP_EMULATOR").is_ok_and(|name| !name.is_empty());
        if emulated {
            // The emulator's is that of the machine below: on x86_64 a page less than a power of two.
            let bytes = address_space(&kernel) - page;
            let last = ptr::without_provenance_mut(bytes);
            let flags = MapFlags::PRIVATE | MapFlags::FIXED_NOREPLACE;
            // SAFETY: replaces nothing.
            if unsafe { rawmap::mmap_anonymous(last, page, Prot::NONE, flags) }
                == Err(Errno::ENOMEM)
            {
                kernel = kernel.address_space(bytes as u64);
            }
        }
        let shared = MapFlags::SHARED;
        let rw = Prot::READ | Prot::WRITE;
        // SAFETY: new mappings, which live as long as the process; all zeroes are valid Answers.
        // The arena has room at each side, so that what runs over its end meets nothing else.
        let (arena, answers) = unsafe {
            let none = MapFlags::PRIVATE;
            let arena = rawmap::mmap_anonymous(ptr::null_mut(), 3 * ARENA * page, rw, none);
            let answers = rawmap::mmap_anonymous(ptr::null_mut(), size_of::<Answers>(), rw, shared);
            (arena.unwrap().add(ARENA * page), &*answers.unwrap().cast::<Answers>())
        };
        // SAFETY: plain calls; the descriptors are new and ours.
        let (regular, disk, read_only, pipe) = unsafe {
            let own = |fd: RawFd| {
                assert!(fd >= 0, "{}", std::io::Error::last_os_error());
                OwnedFd::from_raw_fd(fd)
            };
            let regular = own(libc::memfd_create(c"rawmap".as_ptr(), 0));
            assert_eq!(libc::ftruncate(regular.as_raw_fd(), 8 * page as i64), 0);
            let mut path = format!("{}/rawmap-XXXXXX\0", std::env::temp_dir().display());
            let disk = own(libc::mkstemp(path.as_mut_ptr().cast()));
            libc::unlink(path.as_ptr().cast());
            assert_eq!(libc::ftruncate(disk.as_raw_fd(), 8 * page as i64), 0);
            let path = format!("/proc/self/fd/{}\0", regular.as_raw_fd());
            let read_only = own(libc::open(path.as_ptr().cast(), libc::O_RDONLY));
            let mut ends = [0; 2];
            assert_eq!(libc::pipe(ends.as_mut_ptr()), 0);
            libc::close(ends[1]);
            (regular, disk, read_only, own(ends[0]))
        };
        let on_stack = 0_u8;
        let on_heap = Box::new(0_u8);
        let code = Self::new as fn() -> Self as usize;
        let known = |advice: &i32| {
            // SAFETY: a range of length 0 holds no memory.
            unsafe { rawmap::madvise(ptr::null_mut(), 0, Advice::from_bits(*advice)) }.is_ok()
        };
        Self {
            kernel,
            version,
            page,
            address_space: address_space(&kernel),
            arena,
            regular,
            disk,
            read_only,
            pipe,
            vital: [code, (&raw const on_stack).addr(), (&raw const *on_heap).addr()],
            whole_only: whole_only(),
            huge_log2s: huge_log2s(),
            advices: (-2..128).filter(known).collect(),
            answers,
            children: AtomicUsize::new(1),
            emulated,
        }
    }

    /// The kernel by which a call is checked: `regular_file` only where that is so.
    fn kernel_of(&self, call: Call) -> Kernel {
        match call.operation() {
            Operation::Mmap { fd, .. }
                if [&self.regular, &self.disk, &self.read_only]
                    .map(AsRawFd::as_raw_fd)
                    .contains(&fd) =>
            {
                self.kernel.regular_file()
            }
            _ => self.kernel,
        }
    }

    /// A descriptor: of a regular file, or of a pipe.
    pub fn file(&self, regular: bool) -> RawFd {
        if regular { self.regular.as_raw_fd() } else { self.pipe.as_raw_fd() }
    }

    /// One call, of any kind, with edges weighted.
    pub fn call(&self, source: &mut impl Source) -> Call {
        let call = self.any_call(source);
        match call.operation() {
            // RLIMIT_AS is nothing to the emulator: it would make the whole range resident.
            Operation::Mmap { addr, len, prot, flags, fd, offset }
                if self.emulated && len as u64 > SPARE =>
            {
                let flags = flags & !(MapFlags::POPULATE | MapFlags::LOCKED);
                Call::mmap(addr.as_ptr(), len, prot, flags, fd, offset)
            }
            // The emulator's own memory lies behind ours, and without it it runs in circles.
            Operation::Mprotect { addr, len, prot } if self.emulated && len as u64 > SPARE => {
                Call::mprotect(addr.as_ptr(), len % SPARE as usize, prot)
            }
            _ => call,
        }
    }

    fn any_call(&self, source: &mut impl Source) -> Call {
        let addr = self.address(source);
        let len = self.length(source, addr.addr());
        match source.below(13) {
            0 | 1 => self.mmap(source, addr, len),
            2 => Call::munmap(addr, len),
            3 => Call::mprotect(addr, len, self.prot(source)),
            4 => Call::msync(addr, len, MsyncFlags::from_bits(self.bits(source, 7) as i32)),
            5 => {
                let flags = MremapFlags::from_bits(self.bits(source, 7));
                let new_addr = self.address(source);
                let new_len =
                    if source.one_in(3) { len } else { self.length(source, new_addr.addr()) };
                Call::mremap(addr, len, new_len, flags, new_addr)
            }
            6 => Call::madvise(addr, len, self.advice(source)),
            7 => Call::mincore(addr, len, self.address(source)),
            8 => Call::mlock(addr, len),
            9 => Call::mlock2(addr, len, MlockFlags::from_bits(self.bits(source, 1) as i32)),
            10 => Call::munlock(addr, len),
            11 => match source.below(8) {
                0 => Call::munlockall(),
                _ => Call::mlockall(MlockAllFlags::from_bits(self.bits(source, 7) as i32)),
            },
            _ => {
                let flags = if source.one_in(4) { self.number(source) } else { 0 };
                Call::mseal(addr, len, MsealFlags::from_bits(flags))
            }
        }
    }

    fn mmap(&self, source: &mut impl Source, addr: *mut u8, len: usize) -> Call {
        let sharing = match source.below(8) {
            0 => source.below(16) as usize,
            1 => 0,
            2 => 3,
            3 => 8,
            4 => 1,
            _ => 2,
        };
        let mut flags = MapFlags::from_bits(sharing);
        if !source.one_in(3) {
            flags |= MapFlags::ANONYMOUS;
        }
        for flag in [
            MapFlags::FIXED,
            MapFlags::FIXED_NOREPLACE,
            MapFlags::GROWSDOWN,
            MapFlags::LOCKED,
            MapFlags::NORESERVE,
            MapFlags::POPULATE,
            MapFlags::NONBLOCK,
            MapFlags::STACK,
            MapFlags::DENYWRITE,
            MapFlags::EXECUTABLE,
            MapFlags::SYNC,
            MapFlags::UNINITIALIZED,
            MapFlags::from_bits(0x40), // MAP_32BIT, where it exists
        ] {
            if source.one_in(6) {
                flags |= flag;
            }
        }
        if source.one_in(6) {
            let sizes = [0, 1, 14, 16, 21, 21, 25, 29, 30, 34, 63, source.below(64) as u32];
            flags |= MapFlags::huge(source.pick(&sizes));
        }
        if source.one_in(6) {
            flags |= MapFlags::from_bits(self.number(source) & !MapFlags::TYPE.bits());
        }
        let fds = [
            self.regular.as_raw_fd(),
            self.disk.as_raw_fd(),
            self.read_only.as_raw_fd(),
            self.pipe.as_raw_fd(),
            -1,
            1 << 20,
            i32::MIN,
            i32::MAX,
        ];
        let offset = match source.below(8) {
            0 | 1 => self.length(source, 0),
            2 | 3 => source.below(10) as usize * self.page,
            // About where no file reaches: half of all numbers, less a few pages.
            4 => (1 << 63) - source.below(10) as usize * self.page,
            _ => 0,
        };
        Call::mmap(addr, len, self.prot(source), flags, source.pick(&fds), offset as u64)
    }

    /// A number near an edge, or any.
    fn number(&self, source: &mut impl Source) -> usize {
        let near = [0, 1, self.page - 1, self.page, self.page + 1, 2 * self.page];
        let edges = [0, usize::MAX, isize::MIN as usize, self.address_space, 1 << 32];
        match source.below(4) {
            0 => 1 << source.below(64),
            1 => (1_usize << source.below(64)).wrapping_sub(source.pick(&near)),
            2 => {
                let edge = source.pick(&edges);
                let near = source.pick(&near);
                if source.one_in(2) { edge.wrapping_add(near) } else { edge.wrapping_sub(near) }
            }
            _ => source.next() as usize,
        }
    }

    fn address(&self, source: &mut impl Source) -> *mut u8 {
        let addr = match source.below(16) {
            0..=8 => self.arena.addr() + source.below(ARENA as u64) as usize * self.page,
            9 => self.arena.addr() + source.below((ARENA * self.page) as u64) as usize,
            10 => self.address_space.wrapping_sub(source.below(4) as usize * self.page),
            11 if source.one_in(8) => source.pick(&self.vital) & !(self.page - 1),
            // One of the last, which mmap takes for an error.
            13 if source.one_in(4) => usize::MAX - source.below(5000) as usize,
            // A tag in the top byte.
            12 => self.arena.addr() | (source.below(256) as usize) << 56,
            _ => self.number(source),
        };
        ptr::without_provenance_mut(addr)
    }

    fn length(&self, source: &mut impl Source, addr: usize) -> usize {
        match source.below(16) {
            0..=8 => source.below(8) as usize * self.page,
            9 => source.below(4 * self.page as u64) as usize,
            10 => 0,
            // Just to the end of the address space, or of all numbers.
            11 => self.address_space.wrapping_sub(addr).wrapping_add(source.below(3) as usize),
            12 => addr.wrapping_neg().wrapping_sub(source.below(3) as usize),
            _ => self.number(source),
        }
    }

    /// Known bits mostly, others sometimes.
    fn bits(&self, source: &mut impl Source, known: usize) -> usize {
        let bits = source.below(8) as usize & known;
        if source.one_in(8) { bits | self.number(source) } else { bits }
    }

    fn prot(&self, source: &mut impl Source) -> Prot {
        let mut prot = Prot::from_bits(source.below(8) as usize);
        for flag in [Prot::SEM, Prot::GROWSDOWN, Prot::GROWSUP] {
            if source.one_in(12) {
                prot |= flag;
            }
        }
        if source.one_in(8) {
            prot |= Prot::from_bits(self.number(source));
        }
        prot
    }

    fn advice(&self, source: &mut impl Source) -> Advice {
        let advice = match source.below(8) {
            0 => self.number(source) as i32,
            1 => source.below(128) as i32,
            2 => 100 + source.below(4) as i32,
            _ => source.below(26) as i32,
        };
        Advice::from_bits(advice)
    }

    /// Makes the calls in children, and gives each with its answer to `see`; `None` where the call
    /// killed the child, or took away what it reports to.
    pub fn make(&self, calls: &[Call], mut see: impl FnMut(Call, Option<Result<Word, Errno>>)) {
        let mut rest = calls;
        let mut stillborn = 0;
        while !rest.is_empty() {
            let batch = &rest[..rest.len().min(BATCH)];
            let child = self.children.fetch_add(1, Ordering::Relaxed);
            self.answers.started.store(0, Ordering::Relaxed);
            // SAFETY: the child only makes system calls, and ends.
            let pid = unsafe { libc::fork() };
            assert!(pid >= 0, "fork: {}", std::io::Error::last_os_error());
            if pid == 0 {
                self.child(batch, child);
            }
            let status = self.wait_for(pid);
            let started = self.answers.started.load(Ordering::Relaxed).min(batch.len());
            if started == 0 {
                // Now and then an emulator's fork gives birth to a child that hangs.
                stillborn += 1;
                let again = self.emulated && stillborn < 4;
                assert!(again, "a child did not start: status {status:#x}");
                continue;
            }
            for (call, [result, sealed]) in batch.iter().zip(&self.answers.results[..started]) {
                let whole = sealed.load(Ordering::Relaxed) == seal(child, *call);
                let word = Word::int(result.load(Ordering::Relaxed));
                see(*call, whole.then(|| Errno::decode(word)));
            }
            rest = &rest[started..];
        }
    }

    /// Waits for a child, and gives its status. A hostile call may leave an emulator in a loop that
    /// no alarm ends, so there a child dies when it has not begun after five seconds, or not got on for
    /// one.
    fn wait_for(&self, pid: libc::pid_t) -> i32 {
        let (mut since, mut started, mut status) = (Instant::now(), 0, 0);
        let options = if self.emulated { libc::WNOHANG } else { 0 };
        // SAFETY: status is a valid place, and the child is ours.
        while unsafe { libc::waitpid(pid, &mut status, options) } != pid {
            let now = self.answers.started.load(Ordering::Relaxed);
            let patience = if started == 0 { 5 } else { 1 };
            if now != started {
                (since, started) = (Instant::now(), now);
            } else if self.emulated && since.elapsed() > Duration::from_secs(patience) {
                // SAFETY: as above.
                unsafe { libc::kill(pid, libc::SIGKILL) };
            }
            std::thread::sleep(Duration::from_millis(u64::from(self.emulated)));
        }
        status
    }

    fn child(&self, calls: &[Call], child: usize) -> ! {
        // SAFETY: plain calls.
        unsafe {
            let set = |what, bytes| {
                let limit = libc::rlimit { rlim_cur: bytes, rlim_max: bytes };
                assert_eq!(libc::setrlimit(what, &limit), 0);
            };
            set(libc::RLIMIT_CORE, 0);
            set(libc::RLIMIT_MEMLOCK, LOCKABLE);
            set(libc::RLIMIT_AS, self.inherited() + SPARE);
            // Root's rights, which change answers: _LINUX_CAPABILITY_VERSION_3, this thread; none.
            let (header, none) = ([0x2008_0522_u32, 0], [0_u32; 6]);
            assert_eq!(libc::syscall(libc::SYS_capset, &header, &none), 0);
            // Rust's handlers, and a fuzzer's, which would take the child's death for its own.
            for signal in 1..32 {
                libc::signal(signal, libc::SIG_DFL);
            }
            libc::alarm(20);
        }
        for (n, call) in calls.iter().enumerate() {
            self.answers.started.store(n + 1, Ordering::Relaxed);
            let Some(call) = Call::from_words(call.number(), call.args()) else {
                break; // An earlier one wrote over it.
            };
            let seal = seal(child, call);
            let [a, b, c, d, e, f] = call.args();
            // SAFETY: none is claimed: the child may die of it, and nobody else sees it. The stub
            // itself, not `make`, so that decoding is the parent's.
            let ret = unsafe { arch::syscall6(a, b, c, d, e, f, call.number()) };
            self.answers.results[n][0].store(ret.bits(), Ordering::Relaxed);
            self.answers.results[n][1].store(seal, Ordering::Relaxed);
            // Huge pages can't be changed in part: EINVAL for what is mapped. A fresh child goes on.
            let huge = |flags: MapFlags| flags.contains(MapFlags::HUGETLB);
            if Errno::decode(ret).is_ok()
                && matches!(call.operation(), Operation::Mmap { flags, .. } if huge(flags))
            {
                break;
            }
        }
        // SAFETY: ends the child without running the parent's exit handlers.
        unsafe { libc::_exit(0) }
    }

    /// The size of this process's address space in bytes.
    fn inherited(&self) -> u64 {
        // Not read_to_string: a child of a thread can't be sure of malloc everywhere.
        let mut text = [0_u8; 64];
        // SAFETY: plain calls with a buffer that is long enough.
        let n = unsafe {
            let fd = libc::open(c"/proc/self/statm".as_ptr(), libc::O_RDONLY);
            let n = libc::read(fd, text.as_mut_ptr().cast(), text.len());
            libc::close(fd);
            n as usize
        };
        let digits = text[..n].iter().take_while(|byte| byte.is_ascii_digit());
        let pages = digits.fold(0, |number, digit| number * 10 + u64::from(digit - b'0'));
        pages * self.page as u64
    }

    /// Whether `check` and the kernel agree on a call; if not, how.
    pub fn judge(
        &self,
        call: Call,
        answer: Option<Result<Word, Errno>>,
        tally: &mut Tally,
    ) -> Result<(), Box<Disagreement>> {
        let verdict = call.check(&self.kernel_of(call));
        (tally.version, tally.emulated) = (self.version, self.emulated);
        tally.address_space = self.address_space;
        *tally.calls.entry(name_of_call(call)).or_default() += 1;
        if let Err(refusal) = verdict {
            *tally.refusals.entry(name_of(refusal.reason())).or_default() += 1;
        }
        // What is refused for its words changes nothing: if the answer was lost with a child that
        // earlier calls had spoiled, a fresh one gives it.
        let mut answer = answer;
        if answer.is_none() {
            tally.deaths += 1;
            if verdict.is_ok() {
                return Ok(());
            }
            self.make(&[call], |_, again| answer = again);
        }
        let agrees = match (verdict, answer) {
            // It may have died of what the kernel had done by then.
            (Err(refusal), None) => !refusal.unchanged(),
            (Err(refusal), Some(Err(errno))) if errno == refusal.errno() => {
                tally.doubts.insert(kind(call, refusal), None);
                *tally.met.entry(*refusal.rule()).or_default() += 1;
                true
            }
            // The state's error: but it can't be the only one that there ever is (`unmet`). No single
            // call tells: a fuzzer makes the same one again and again. So each is made in a good state too.
            (Err(refusal), Some(Err(errno))) if refusal.earlier().contains(errno) => {
                tally.earlier += 1;
                let doubt = tally.doubts.entry(kind(call, refusal)).or_insert(Some(0));
                *doubt = doubt.map(|n| n + 1);
                if doubt.is_some_and(|n| n <= DOUBT) && self.refused_in_a_good_state(call, refusal)
                {
                    *doubt = None;
                    *tally.met.entry(*refusal.rule()).or_default() += 1;
                }
                true
            }
            (Err(_), Some(_)) => false,
            (Ok(()), Some(Err(Errno::EINVAL | Errno::EOVERFLOW | Errno::EOPNOTSUPP))) => {
                let by_state = self.by_state(call);
                tally.by_state += u64::from(by_state);
                by_state
            }
            (Ok(()), Some(Err(errno))) => !self.by_words(call, errno),
            (Ok(()), _) => true,
        };
        let disagreement = Disagreement { call, verdict, answer };
        if agrees {
            return Ok(());
        }
        let known = if self.emulated { departures::known(&disagreement) } else { None };
        let why = known.ok_or_else(|| Box::new(disagreement))?;
        *tally.departures.entry(why).or_default() += 1;
        Ok(())
    }

    /// Whether the kernel refuses so when what it looks at before is as it should be: mmap of a regular
    /// file, where that of another descriptor was EBADF, at a place that is free, and not locked; mremap
    /// of shared memory.
    fn refused_in_a_good_state(&self, call: Call, refusal: Refusal) -> bool {
        let calls = match call.operation() {
            Operation::Mmap { addr, len, prot, flags, offset, .. } => {
                let (fd, addr) = (self.regular.as_raw_fd(), addr.as_ptr());
                let page = addr.map_addr(|addr| addr & !(self.page - 1));
                let droppable = flags.sharing() == MapFlags::DROPPABLE; // whose lock is a mistake
                let flags = if droppable { flags } else { flags & !MapFlags::LOCKED };
                vec![Call::munmap(page, len), Call::mmap(addr, len, prot, flags, fd, offset)]
            }
            Operation::Mremap { old, old_len, .. } => {
                let flags = MapFlags::SHARED | MapFlags::FIXED;
                let len = if old_len as u64 <= SPARE { old_len.max(self.page) } else { self.page };
                vec![Call::mmap_anonymous(old.as_ptr(), len, Prot::NONE, flags), call]
            }
            _ => return false,
        };
        let (last, mut answer) = (*calls.last().unwrap(), None);
        self.make(&calls, |_, again| answer = again);
        let same = last.check(&self.kernel_of(last)).is_err_and(|it| it.rule() == refusal.rule());
        same && answer == Some(Err(refusal.errno()))
    }

    /// Whether a range ends within what can't be split (`mm/mmap.c`: special_mapping_split).
    fn splits_the_vdso(&self, addr: Word, len: usize) -> bool {
        let start = addr.bits() & (usize::MAX >> 8);
        let end =
            start.saturating_add(len).checked_next_multiple_of(self.page).unwrap_or(usize::MAX);
        let within = |it: &Range<usize>, at| it.start < at && at < it.end;
        self.whole_only.iter().any(|it| within(it, start) || within(it, end))
    }

    /// Whether another error can only come from the words: there is no such descriptor, address or
    /// call.
    fn by_words(&self, call: Call, errno: Errno) -> bool {
        let beyond = |addr: Word, len: usize| {
            let end = addr.bits().checked_add(len);
            // Where tags are stripped, that is not for this to judge.
            addr.bits() >> 56 == 0 && end.is_none_or(|end| end > self.address_space)
        };
        let fixed = MapFlags::FIXED | MapFlags::FIXED_NOREPLACE;
        match call.operation() {
            Operation::Mmap { addr, flags, .. }
                if !(flags & fixed).is_empty()
                    && Errno::decode(addr) == Err(errno)
                    && errno > Errno::EHWPOISON =>
            {
                true
            }
            Operation::Mmap { addr, len, flags, fd, .. } => match errno {
                Errno::EBADF => !flags.contains(MapFlags::ANONYMOUS) && fd < 0,
                Errno::ENOMEM if flags.contains(MapFlags::HUGETLB) => false,
                Errno::ENOMEM if !(flags & fixed).is_empty() => beyond(addr, len),
                Errno::ENOMEM => {
                    let first_gib = Arch::HOST == Arch::X86_64 && flags.bits() & 0x40 != 0;
                    let known = flags.contains(MapFlags::ANONYMOUS) || fd != self.pipe.as_raw_fd();
                    let window = if known && first_gib && addr.bits() < self.page {
                        1 << 30
                    } else {
                        self.address_space
                    };
                    len > window
                }
                _ => false,
            },
            Operation::Mremap { old, .. } if errno == Errno::EFAULT => beyond(old, 1),
            Operation::Mremap { old, old_len, new_len, flags, .. } => {
                // What wraps when rounded up is 0.
                let wraps = usize::MAX - self.page + 1;
                let grows = (old_len > wraps || new_len > old_len + self.page) && new_len <= wraps;
                let stays = flags.is_empty();
                errno == Errno::ENOMEM
                    && (grows && (new_len > self.address_space || stays && beyond(old, new_len))
                        || stays && (old_len == 0 || old_len > wraps))
            }
            // How far vec may be when nothing is written differs.
            Operation::Mincore { vec, len, .. } if errno == Errno::EFAULT => {
                len != 0 && beyond(vec, len.div_ceil(self.page))
            }
            Operation::Mincore { addr, len: 0, .. } if errno == Errno::ENOMEM => {
                addr.bits() > 1 << 52 && Arch::HOST == Arch::Aarch64 && addr.bits() >> 56 == 0
            }
            Operation::Madvise { advice: Advice::HWPOISON | Advice::SOFT_OFFLINE, .. } => false,
            Operation::Mprotect { addr, len, .. }
            | Operation::Msync { addr, len, .. }
            | Operation::Madvise { addr, len, .. }
            | Operation::Mincore { addr, len, .. }
            | Operation::Mlock { addr, len }
            | Operation::Mlock2 { addr, len, .. }
            | Operation::Munlock { addr, len }
            | Operation::Mseal { addr, len, .. } => {
                // A length that wraps when rounded up is a short one to some.
                let range = len != 0 && len <= usize::MAX - 2 * self.page && beyond(addr, len);
                errno == Errno::ENOMEM && range || errno == Errno::ENOSYS
            }
            _ => false,
        }
    }

    /// Whether EINVAL, EOVERFLOW or EOPNOTSUPP of a call that `check` passes comes from what check
    /// says is out of its reach. Where a change of the call's state-dependent part to something
    /// neutral can show it, the words of the changed call must pass the kernel too.
    fn by_state(&self, call: Call) -> bool {
        let accepted = |call: Call| {
            let mut accepted = false;
            self.make(&[call], |_, answer| accepted = answer != Some(Err(Errno::EINVAL)));
            accepted
        };
        match call.operation() {
            // Huge pages that this kernel doesn't have, or whose default size is not known here.
            Operation::Mmap { flags, .. }
                if flags.contains(MapFlags::HUGETLB | MapFlags::ANONYMOUS) =>
            {
                !self.huge_log2s.contains(&flags.huge_log2())
            }
            // What is not a regular file may be on hugetlbfs, or not; or on DAX storage; or be as
            // long as numbers go.
            Operation::Mmap { fd, flags, len, offset, .. } if fd == self.pipe.as_raw_fd() => {
                flags.contains(MapFlags::HUGETLB)
                    || flags.contains(MapFlags::SYNC)
                    || offset.wrapping_add(len.next_multiple_of(self.page) as u64) == 0
            }
            // A file system that knows it, and not on DAX storage, refuses it with any sharing.
            Operation::Mmap { fd, flags, .. } if fd == self.disk.as_raw_fd() => {
                flags.contains(MapFlags::SYNC)
            }
            // A mapping with allocation tags, where the CPU has them; or over part of the vdso.
            Operation::Mmap { addr, len, prot, flags, .. } => {
                !(prot & Prot::from_bits(CPU_PROT)).is_empty()
                    || flags.contains(MapFlags::FIXED) && self.splits_the_vdso(addr, len)
            }
            // The kind of memory can't have it, or the kernel was built without it.
            Operation::Madvise { addr, len, advice } => {
                let known = self.advices.contains(&advice.bits());
                let configured = matches!(advice.bits(), 12..=15 | 25 | 100..=101);
                (known || configured) && accepted(Call::madvise(addr.as_ptr(), len, Advice::NORMAL))
            }
            // It doesn't grow down there.
            Operation::Mprotect { addr, len, prot } => {
                let rest = prot & !(Prot::GROWSDOWN | Prot::from_bits(CPU_PROT));
                self.splits_the_vdso(addr, len)
                    || rest != prot && accepted(Call::mprotect(addr.as_ptr(), len, rest))
            }
            // A second mapping of private memory; or, where an earlier call had moved it, the vdso,
            // which can't be left behind.
            Operation::Mremap { old, old_len, new_len, flags, new_addr } => {
                old_len == 0
                    || old_len > usize::MAX - self.page + 1
                    || flags.contains(MremapFlags::DONTUNMAP) && accepted(call)
                    || new_len < old_len && self.splits_the_vdso(old, old_len)
                    || flags.contains(MremapFlags::FIXED) && self.splits_the_vdso(new_addr, new_len)
            }
            // What an earlier call had put there can't be split, so a fresh child takes it.
            Operation::Munmap { addr, len } | Operation::Mseal { addr, len, .. } => {
                self.splits_the_vdso(addr, len) || accepted(call)
            }
            _ => accepted(call),
        }
    }
}

/// The mappings that the kernel refuses to split: the vdso and what belongs to it.
fn whole_only() -> Vec<Range<usize>> {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let special = maps.lines().filter(|line| line.contains("[vdso]") || line.contains("[vvar"));
    let ends = special.map(|line| line.split([' ', '-']).take(2));
    let number = |text| usize::from_str_radix(text, 16).unwrap();
    ends.map(|mut ends| number(ends.next().unwrap())..number(ends.next().unwrap())).collect()
}

/// Bits of mprotect's and mmap's protection that depend on the CPU (BTI and MTE).
const CPU_PROT: usize = if cfg!(target_arch = "aarch64") { 0x30 } else { 0 };

/// The address space of a kernel that was found: the first length that is behind it.
fn address_space(kernel: &Kernel) -> usize {
    let page = PageSize::find().unwrap().bytes();
    let mut low = 0;
    let mut high = usize::MAX / page;
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        let call = Call::munmap(ptr::null_mut(), middle * page);
        match call.check(kernel).map_err(|refusal| refusal.reason()) {
            Err(Reason::BeyondAddressSpace { .. }) => high = middle - 1,
            _ => low = middle,
        }
    }
    low * page
}

/// log2 of the huge-page sizes that the running kernel has.
fn huge_log2s() -> Vec<u32> {
    let Ok(folder) = std::fs::read_dir("/sys/kernel/mm/hugepages") else { return Vec::new() };
    let size = |name: &str| -> Option<u32> {
        let kilobytes: usize = name.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()?;
        Some((kilobytes << 10).ilog2())
    };
    folder.filter_map(|entry| size(entry.ok()?.file_name().to_str()?)).collect()
}

/// What refusals that rest on one rule have in common: that, and for mmap the kind of mapping.
type Kind = (Rule, MapFlags);

fn kind(call: Call, refusal: Refusal) -> Kind {
    let flags = match call.operation() {
        Operation::Mmap { flags, .. } => flags & (MapFlags::ANONYMOUS | MapFlags::HUGETLB),
        _ => MapFlags::FILE,
    };
    (*refusal.rule(), flags)
}

/// A call about which check and the kernel don't agree.
#[derive(Clone, Copy)]
pub struct Disagreement {
    pub call: Call,
    pub verdict: Result<(), Refusal>,
    /// `None` where the call killed.
    pub answer: Option<Result<Word, Errno>>,
}

impl Disagreement {
    /// What many of a kind have in common: the call, the reason, the answer.
    pub fn kind(&self) -> String {
        let call = name_of_call(self.call);
        let verdict = self.verdict.map_or_else(|it| name_of(it.reason()), |()| "passes".into());
        let answer = self.answer.map(|answer| answer.map(|_| ()));
        format!("{call}: check {verdict}, kernel {answer:?}")
    }
}

impl fmt::Display for Disagreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { call, verdict, answer } = self;
        let broken = if verdict.is_err() { "unsound" } else { "incomplete" };
        write!(f, "{broken}: {call} gives {answer:?}; ")?;
        match verdict {
            Ok(()) => f.write_str("check: passes"),
            Err(refusal) => write!(f, "check: {:?}, {refusal}", refusal.errno()),
        }
    }
}

/// A call's name: `mmap`.
pub fn name_of_call(call: Call) -> String {
    first_word(call.operation()).to_lowercase()
}

/// A reason's name: `LengthZero`.
pub fn name_of(reason: Reason) -> String {
    first_word(reason)
}

/// The first word of what `Debug` prints, without printing the rest.
fn first_word(it: impl fmt::Debug) -> String {
    struct First(String);
    impl fmt::Write for First {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            if text.starts_with(' ') {
                return Err(fmt::Error);
            }
            self.0 += text;
            Ok(())
        }
    }
    let mut first = First(String::new());
    let _ = fmt::write(&mut first, format_args!("{it:?}"));
    first.0
}

/// What was seen.
#[derive(Default)]
pub struct Tally {
    version: (u16, u16),
    address_space: usize,
    emulated: bool,
    pub calls: BTreeMap<String, u64>,
    pub refusals: BTreeMap<String, u64>,
    /// Refused, and the kernel found something else first.
    pub earlier: u64,
    /// Passed, and refused for what is out of check's reach.
    pub by_state: u64,
    /// The call killed the child.
    pub deaths: u64,
    /// An emulator's known departures.
    pub departures: BTreeMap<&'static str, u64>,
    /// How often a kind of refusal has met only what may come earlier; `None` once it has met its
    /// own error.
    doubts: HashMap<Kind, Option<u64>>,
    /// How often the kernel answered with a rule's own error.
    met: HashMap<Rule, u64>,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |map: &BTreeMap<String, u64>| {
            map.iter().map(|(name, n)| format!("{name} {n}")).collect::<Vec<_>>().join(", ")
        };
        let Self { earlier, by_state, deaths, .. } = self;
        writeln!(f, "tally: {} calls: {}", self.calls.values().sum::<u64>(), list(&self.calls))?;
        let refusals = self.refusals.values().sum::<u64>();
        writeln!(f, "tally: {refusals} refusals: {}", list(&self.refusals))?;
        write!(
            f,
            "tally: of these {earlier} for what came earlier; beyond check's reach {by_state}; deaths {deaths}"
        )
    }
}

impl Tally {
    /// Every rule that refuses, with how often the kernel answered with its error, and where it never
    /// did, why that can be: `None` where there is no excuse.
    pub fn rules(&self) -> impl Iterator<Item = (&'static Rule, u64, Option<&'static str>)> + '_ {
        let rules = RULES.lists().into_iter().flatten();
        let refusing = rules.filter(|rule| matches!(rule.step, Step::Refuse(..)));
        refusing
            .map(|rule| (rule, self.met.get(rule).copied().unwrap_or_default(), self.excuse(rule)))
    }

    /// The rules that the kernel never answered by, one a line, and the kinds of refusal that never had
    /// but what may come earlier; and whether one of them has no excuse, when `enough` calls were made
    /// that it needs one.
    pub fn unmet(&self, enough: u64) -> (String, bool) {
        let (mut text, mut met, mut bad) = (String::new(), 0, false);
        let enough = self.calls.values().sum::<u64>() >= enough;
        for (rule, times, excuse) in self.rules() {
            met += u64::from(times > 0);
            if times == 0 {
                bad |= enough && excuse.is_none();
                let why = excuse.unwrap_or(if enough { "NO EXCUSE" } else { "too few calls" });
                text += &format!("tally: never met: {rule}: {why}\n");
            }
        }
        let masked = self.doubts.iter().filter_map(|(kind, n)| Some((kind, (*n)?)));
        for ((rule, flags), n) in masked.filter(|(_, n)| !self.emulated && *n >= DOUBT) {
            bad |= enough;
            text += &format!("tally: {n} times only what may come earlier: {flags}: {rule}\n");
        }
        (format!("{text}tally: {met} rules met"), bad)
    }

    /// Why no call may meet a rule here.
    fn excuse(&self, rule: &Rule) -> Option<&'static str> {
        let since = |major, minor| self.version >= (major, minor);
        match rule.versions {
            Versions::Since(major, minor) if !since(major, minor) => {
                return Some("the kernel is older");
            }
            Versions::Until(major, minor) if since(major, minor) => {
                return Some("the kernel is newer");
            }
            _ => {}
        }
        let x86 = Arch::HOST == Arch::X86_64;
        match (rule.call, rule.text) {
            _ if self.emulated => Some("an emulator may do otherwise"),
            ("mmap", text) if text.contains("signed") && Arch::HOST != Arch::Riscv64 => {
                Some("only riscv64 took the offset for a signed number")
            }
            ("mmap", text) if text.contains("map_32bit") && !x86 => {
                Some("only x86_64 has MAP_32BIT")
            }
            ("mmap", "placed && hint <= window && rounded > window")
                if !(x86 && self.address_space >= 1 << 47) && self.address_space <= 1 << 48 =>
            {
                Some("the window is the address space")
            }
            ("mmap", text) if text.contains("sharing == 8") && !since(6, 11) => {
                Some("the kernel has no MAP_DROPPABLE")
            }
            ("mseal", _) if !since(6, 10) => Some("the kernel has no mseal"),
            ("madvise", "k.sum(addr, rounded) < addr") if since(6, 4) => {
                Some("without its tag the address is less than with it")
            }
            ("mremap", "grows && new_rounded > k.address_space") if since(6, 17) => {
                Some("refused before for any new range")
            }
            ("mremap", _) if rule.source.ends_with("until 6.17") && since(6, 17) => {
                Some("refused before the old range is looked up")
            }
            ("mremap", "keeps && old_rounded != new_rounded") if !since(6, 17) => {
                Some("refused before for the lengths as they are")
            }
            ("mremap", "moves && !may_move") if !since(6, 15) => Some("refused before"),
            ("mremap", _) if rule.versions == Versions::Until(6, 17) && !since(6, 15) => {
                Some("refused before")
            }
            ("mremap", "moves && !k.aligned(new_addr)")
                if since(6, 15) && rule.versions == Versions::All =>
            {
                Some("refused before the old range is looked up")
            }
            ("mmap", "unknown != young") if !since(6, 6) => Some("refused for any unknown flag"),
            _ => None,
        }
    }
}
