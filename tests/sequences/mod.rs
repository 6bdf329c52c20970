//! Sequences: random calls over an arena, and a small model of the address space that says what each
//! must answer, and what memory must then hold.
//!
//! The model plans ahead: it predicts every answer, so that a plan (calls, looks at pages, writes)
//! is ready before the first call is made. A forked child follows it and stops at the first thing
//! that is otherwise. So holes in the arena and sealed pages do no harm, nothing allocates between
//! the calls, and a fuzzer sees the coverage of the model.
//!
//! Pages are looked at by system calls, which answer EFAULT where a program would die. One byte of
//! each page tells where its contents come from: zero, page n of the file, or what was written.
#![allow(dead_code, unreachable_pub)]

mod model;

use super::laws::SHAPES;
use super::source::Source;
use model::{Answer, Kernel, Lock, Model, PAGES, Page, Seen};
use rawmap::{
    Advice, Call, Errno, MapFlags, MlockAllFlags, MlockFlags, MremapFlags, MsealFlags, MsyncFlags,
    PageSize, Prot, Word,
};
use std::collections::BTreeMap;
use std::fmt;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering::Relaxed};

/// Pages of the file.
const FILE_PAGES: usize = 10;
/// Calls of a sequence at most.
const CALLS: usize = 48;

/// A step of a plan. Pages are counted from the start of the arena.
#[derive(Clone, PartialEq, Debug)]
enum Step {
    Make(Call, Answer),
    Read(usize, Seen),
    /// Page, byte, and whether it can be written.
    Write(usize, u8, bool),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Make(call, answer) => write!(f, "{call} = {answer:x?}"),
            Self::Read(page, seen) => write!(f, "read page {page}: {seen:x?}"),
            Self::Write(page, byte, can) => write!(f, "write {byte:#x} to page {page}: {can}"),
        }
    }
}

/// What a sequence is to do, and the pages that it must leave.
pub struct Plan {
    steps: Vec<Step>,
    end: Vec<Option<Page>>,
}

/// What was planned.
#[derive(Default)]
pub struct Tally {
    pub calls: BTreeMap<&'static str, u64>,
    /// Answers that were predicted.
    pub answers: BTreeMap<(&'static str, &'static str), u64>,
    /// Calls that were not made, because the model doesn't say what they do.
    pub declined: u64,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let calls = self.calls.values().sum::<u64>();
        let list: Vec<_> =
            self.answers.iter().map(|((call, word), n)| format!("{call} {word} {n}")).collect();
        write!(f, "tally: {calls} calls, {} declined: {}", self.declined, list.join(", "))
    }
}

/// What sequences are made in: the arena, the file, and what is known of the kernel.
pub struct World {
    kernel: Kernel,
    page: usize,
    arena: *mut u8,
    file: OwnedFd,
    read_only: OwnedFd,
    /// Through which pages are looked at.
    pipe: [OwnedFd; 2],
    /// What mincore writes to.
    vec: *mut u8,
    report: &'static Report,
}

/// What a child tells its parent.
struct Report {
    /// How many steps went as planned.
    done: AtomicUsize,
    /// What the next one gave.
    got: AtomicUsize,
    maps_len: AtomicUsize,
    maps: [AtomicU8; 1 << 17],
}

/// How a look or a write that faulted is reported.
const FAULT: usize = usize::MAX;

impl World {
    pub fn new() -> Self {
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
        let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|n| n.parse().unwrap());
        let version: (u32, u32) = (numbers.next().unwrap(), numbers.next().unwrap());
        let known = rawmap::Kernel::find().unwrap().version(version.0 as u16, version.1 as u16);
        let page = PageSize::find().unwrap().bytes();
        let emulated = std::env::var("RAWMAP_EMULATOR").is_ok_and(|name| !name.is_empty());
        // SAFETY: new mappings, which live as long as the process; all zeroes are a valid Report.
        // The arena has a page at each side, so that what runs over its end meets nothing else.
        let (arena, report, vec) = unsafe {
            let (none, rw) = (Prot::NONE, Prot::READ | Prot::WRITE);
            let map = |len, prot, flags| {
                rawmap::mmap_anonymous(ptr::null_mut(), len, prot, flags).unwrap()
            };
            let arena = map((PAGES + 2) * page, none, MapFlags::PRIVATE).add(page);
            let report = map(size_of::<Report>(), rw, MapFlags::SHARED);
            (arena, &*report.cast::<Report>(), map(page, rw, MapFlags::PRIVATE))
        };
        // SAFETY: plain calls; the descriptors are new and ours.
        let (file, read_only, pipe) = unsafe {
            let own = |fd: RawFd| {
                assert!(fd >= 0, "{}", std::io::Error::last_os_error());
                OwnedFd::from_raw_fd(fd)
            };
            let file = own(libc::memfd_create(c"rawmap".as_ptr(), 0));
            let path = format!("/proc/self/fd/{}\0", file.as_raw_fd());
            let read_only = own(libc::open(path.as_ptr().cast(), libc::O_RDONLY));
            let mut ends = [0; 2];
            assert_eq!(libc::pipe2(ends.as_mut_ptr(), libc::O_NONBLOCK), 0);
            (file, read_only, ends.map(own))
        };
        let lock_all = in_child(|| {
            let flags = MlockAllFlags::CURRENT | MlockAllFlags::ONFAULT;
            // SAFETY: the child locks itself.
            unsafe { rawmap::mlockall(flags) }.is_ok()
        });
        let kernel = Kernel {
            known,
            version,
            // They came in 6.13 for writable anonymous memory, in 6.15 for all.
            guards: !emulated && version >= (6, 15),
            droppable: !emulated && version >= (6, 11),
            lock_all: !emulated && lock_all,
            emulated,
        };
        Self { kernel, page, arena, file, read_only, pipe, vec, report }
    }

    /// A sequence of calls with what they must answer, and looks at pages.
    pub fn plan(&self, source: &mut impl Source, tally: &mut Tally) -> Plan {
        let none = Page {
            mapping: 0,
            prot: Prot::NONE,
            shared: false,
            droppable: false,
            may_write: true,
            lock: Lock::No,
            sealed: false,
            guard: false,
            object: None,
            own: None,
            loose: false,
        };
        let mut model = Model {
            kernel: self.kernel,
            page: self.page,
            arena: self.arena.addr(),
            read_only: self.read_only.as_raw_fd(),
            pages: [Some(none); PAGES],
            objects: vec![(0..FILE_PAGES).map(file_byte).collect()],
            future: Lock::No,
            mappings: 0,
        };
        let mut steps = Vec::new();
        for n in 0..CALLS {
            let call = self.call(source);
            let Some(answer) = model.make(call) else {
                tally.declined += 1;
                continue;
            };
            let name = SHAPES.iter().find(|shape| shape.1 == call.number()).unwrap().0;
            let word = match &answer {
                Answer::Is(Ok(_)) => "Ok",
                Answer::Is(Err(errno)) => errno.name().unwrap(),
                Answer::Elsewhere(_) => "Ok, elsewhere",
            };
            *tally.calls.entry(name).or_default() += 1;
            *tally.answers.entry((name, word)).or_default() += 1;
            steps.push(Step::Make(call, answer));
            // Looks around where it acted, and now and then a write.
            let at = call.args()[0].bits().wrapping_sub(self.arena.addr()) / self.page;
            for _ in 0..3 {
                let n = (at + source.below(8) as usize) % PAGES;
                steps.push(Step::Read(n, model.sees(model.pages[n].as_ref())));
            }
            let n_written = (at + source.below(4) as usize) % PAGES;
            let byte = 0x80 + n as u8;
            let can = model.can_write(n_written);
            steps.push(Step::Write(n_written, byte, can));
            if can {
                model.write(n_written, byte);
            }
        }
        let looks = (0..PAGES).map(|n| Step::Read(n, model.sees(model.pages[n].as_ref())));
        steps.extend(looks);
        Plan { steps, end: model.pages.to_vec() }
    }

    /// One call, mostly with good arguments.
    fn call(&self, source: &mut impl Source) -> Call {
        let page = self.page;
        let kind = source.below(20);
        let at = source.below(PAGES as u64) as usize;
        let n = pages(source, at);
        let len = self.bytes(source, n);
        let unaligned = usize::from(source.one_in(32));
        let addr = self.arena.wrapping_add(at * page + unaligned);
        match kind {
            0..=4 => {
                let sharing = [
                    MapFlags::PRIVATE,
                    MapFlags::PRIVATE,
                    MapFlags::SHARED,
                    MapFlags::SHARED,
                    MapFlags::DROPPABLE,
                ];
                let place =
                    [MapFlags::FIXED, MapFlags::FIXED, MapFlags::FIXED_NOREPLACE, MapFlags::FILE];
                let extra = [
                    MapFlags::FILE,
                    MapFlags::FILE,
                    MapFlags::FILE,
                    MapFlags::FILE,
                    MapFlags::POPULATE,
                    MapFlags::LOCKED,
                    MapFlags::NORESERVE,
                    MapFlags::POPULATE | MapFlags::NONBLOCK,
                ];
                let mut flags = source.pick(&sharing) | source.pick(&place) | source.pick(&extra);
                if source.one_in(2) || flags.sharing() == MapFlags::DROPPABLE {
                    flags |= MapFlags::ANONYMOUS;
                }
                let fd = if source.one_in(3) { &self.read_only } else { &self.file };
                let offset = source.below(FILE_PAGES as u64) as usize * page;
                let offset = if source.one_in(32) { offset + 1 } else { offset };
                let offset = if flags.contains(MapFlags::ANONYMOUS) { 0 } else { offset };
                let prot = prot(source);
                Call::mmap(addr, len, prot, flags, fd.as_raw_fd(), offset as u64)
            }
            5 => Call::munmap(addr, len),
            6 | 7 => Call::mprotect(addr, len, prot(source)),
            8 => Call::msync(addr, len, MsyncFlags::from_bits(source.below(8) as i32)),
            9..=11 => {
                let new = source.below(PAGES as u64) as usize;
                let new_n = match source.below(2) {
                    0 => n,
                    _ => pages(source, new),
                };
                let new_len = self.bytes(source, new_n);
                let [may_move, fixed, dontunmap] =
                    [MremapFlags::MAYMOVE, MremapFlags::FIXED, MremapFlags::DONTUNMAP];
                let flags = match source.below(8) {
                    0 => MremapFlags::from_bits(source.below(8) as usize),
                    1 => may_move | dontunmap,
                    2 => may_move | fixed | dontunmap,
                    3 => may_move,
                    4 => MremapFlags::default(),
                    _ => may_move | fixed,
                };
                let new_addr = self.arena.wrapping_add(new * page);
                let new_addr = if flags.contains(fixed) { new_addr } else { ptr::null_mut() };
                Call::mremap(addr, len, new_len, flags, new_addr)
            }
            12..=14 => {
                let advices = [
                    Advice::DONTNEED,
                    Advice::DONTNEED,
                    Advice::DONTNEED_LOCKED,
                    Advice::FREE,
                    Advice::REMOVE,
                    Advice::REMOVE,
                    Advice::POPULATE_READ,
                    Advice::POPULATE_WRITE,
                    Advice::GUARD_INSTALL,
                    Advice::GUARD_REMOVE,
                    Advice::WIPEONFORK,
                    Advice::KEEPONFORK,
                    Advice::DONTFORK,
                    Advice::DOFORK,
                    Advice::DONTDUMP,
                    Advice::DODUMP,
                    Advice::NORMAL,
                    Advice::RANDOM,
                    Advice::SEQUENTIAL,
                    Advice::COLD,
                    Advice::PAGEOUT,
                ];
                Call::madvise(addr, len, source.pick(&advices))
            }
            15 => Call::mincore(addr, len, self.vec),
            16 => match source.below(2) {
                0 => Call::mlock(addr, len),
                _ => Call::mlock2(addr, len, MlockFlags::from_bits(source.below(2) as i32)),
            },
            17 => Call::munlock(addr, len),
            18 => match source.below(3) {
                0 => Call::munlockall(),
                _ => Call::mlockall(MlockAllFlags::from_bits(source.below(8) as i32)),
            },
            // Sealing has no way back, so it is rare.
            _ if source.one_in(3) => Call::mseal(addr, len, MsealFlags::default()),
            _ => Call::munmap(addr, len),
        }
    }

    /// The length of so many pages; now and then ragged.
    fn bytes(&self, source: &mut impl Source, pages: usize) -> usize {
        match source.below(8) {
            7 if pages > 0 => pages * self.page - source.below(self.page as u64) as usize,
            _ => pages * self.page,
        }
    }

    /// Follows a plan in a child, and tells what was otherwise.
    pub fn play(&self, plan: &Plan) -> Result<(), String> {
        self.report.done.store(0, Relaxed);
        self.report.maps_len.store(0, Relaxed);
        let fine = in_child(|| self.follow(plan));
        let done = self.report.done.load(Relaxed);
        if !fine {
            let mut message =
                format!("with the arena at {:p} and pages of {}", self.arena, self.page);
            for step in plan.steps.iter().take(done + 1) {
                message += &format!("\n  {step}");
            }
            let got = self.report.got.load(Relaxed);
            return Err(format!(
                "{message}\nthe last gave {got:#x}, {:?}",
                Errno::decode(Word::int(got))
            ));
        }
        self.compare_maps(plan).map_err(|difference| {
            let mut message = difference;
            for step in plan.steps.iter().filter(|step| matches!(step, Step::Make(..))) {
                message += &format!("\n  {step}");
            }
            message
        })
    }

    fn follow(&self, plan: &Plan) -> bool {
        let file = self.file.as_raw_fd();
        // SAFETY: plain calls: the file as the model has it at first.
        unsafe {
            libc::ftruncate(file, 0);
            libc::ftruncate(file, (FILE_PAGES * self.page) as i64);
            for n in 0..FILE_PAGES {
                let byte = file_byte(n);
                libc::pwrite(file, (&raw const byte).cast(), 1, (n * self.page) as i64);
            }
        }
        for step in &plan.steps {
            let fine = match step {
                Step::Make(call, answer) => self.follow_call(*call, answer),
                Step::Read(n, seen) => {
                    let got = self.read(self.arena.wrapping_add(n * self.page));
                    self.report.got.store(got.map_or(FAULT, usize::from), Relaxed);
                    seen.allows(got)
                }
                Step::Write(n, byte, can) => {
                    let wrote = self.write(self.arena.wrapping_add(n * self.page), *byte);
                    self.report.got.store(usize::from(wrote), Relaxed);
                    wrote == *can
                }
            };
            if !fine {
                return false;
            }
            self.report.done.fetch_add(1, Relaxed);
        }
        self.copy_maps();
        true
    }

    fn follow_call(&self, call: Call, answer: &Answer) -> bool {
        // SAFETY: the calls act on the arena, which nothing refers to; mlockall, on this child.
        let got = unsafe { call.make() };
        let word = got.unwrap_or_else(Errno::encode);
        self.report.got.store(word.bits(), Relaxed);
        match answer {
            Answer::Is(expected) => got.map(Word::bits) == *expected,
            Answer::Elsewhere(pages) => {
                let Ok(word) = got else { return false };
                let inside = word.bits().wrapping_sub(self.arena.addr()) < PAGES * self.page;
                let look = |(n, seen): (usize, &Seen)| {
                    seen.allows(self.read(word.as_ptr().wrapping_add(n * self.page)))
                };
                let fine = !inside && pages.iter().enumerate().all(look);
                // SAFETY: new memory, which nothing refers to.
                fine && unsafe { rawmap::munmap(word.as_ptr(), pages.len() * self.page) }.is_ok()
            }
        }
    }

    /// The byte at an address, if it can be read.
    fn read(&self, at: *mut u8) -> Option<u8> {
        let mut byte = 0_u8;
        let [out, into] = [self.pipe[0].as_raw_fd(), self.pipe[1].as_raw_fd()];
        // SAFETY: the kernel answers EFAULT where there is nothing; `byte` is a valid place.
        unsafe {
            if libc::write(into, at.cast(), 1) != 1 {
                return None;
            }
            assert_eq!(libc::read(out, (&raw mut byte).cast(), 1), 1);
        }
        Some(byte)
    }

    /// Writes a byte to an address, if it can be written.
    fn write(&self, at: *mut u8, byte: u8) -> bool {
        let mut rest = 0_u8;
        let [out, into] = [self.pipe[0].as_raw_fd(), self.pipe[1].as_raw_fd()];
        // SAFETY: the arena is ours; the kernel answers EFAULT where it can't be written, and then
        // the byte is taken out of the pipe.
        unsafe {
            assert_eq!(libc::write(into, (&raw const byte).cast(), 1), 1);
            let wrote = libc::read(out, at.cast(), 1) == 1;
            if !wrote {
                libc::read(out, (&raw mut rest).cast(), 1);
            }
            wrote
        }
    }

    /// Copies /proc/self/maps to where the parent sees it.
    fn copy_maps(&self) {
        let mut len = 0;
        // SAFETY: plain calls; the buffer is shared memory of that length.
        unsafe {
            let fd = libc::open(c"/proc/self/maps".as_ptr(), libc::O_RDONLY);
            loop {
                let to = self.report.maps[len..].as_ptr().cast_mut();
                let n = libc::read(fd, to.cast(), self.report.maps.len() - len);
                if n <= 0 {
                    break;
                }
                len += n as usize;
            }
            libc::close(fd);
        }
        self.report.maps_len.store(len, Relaxed);
    }

    /// Whether the child's /proc/self/maps shows each page as the model has it.
    fn compare_maps(&self, plan: &Plan) -> Result<(), String> {
        let len = self.report.maps_len.load(Relaxed);
        let text: Vec<u8> = self.report.maps[..len].iter().map(|byte| byte.load(Relaxed)).collect();
        let text = String::from_utf8(text).unwrap();
        let mut shown = [const { None }; PAGES];
        for line in text.lines() {
            let mut words = line.split(' ');
            let (start, end) = words.next().unwrap().split_once('-').unwrap();
            let number = |hex| usize::from_str_radix(hex, 16).unwrap();
            let rights = words.next().unwrap();
            let offset = number(words.next().unwrap());
            let file = line.contains("memfd:rawmap");
            for (n, shown) in shown.iter_mut().enumerate() {
                let addr = self.arena.addr() + n * self.page;
                if (number(start)..number(end)).contains(&addr) {
                    let offset = file.then_some(offset + addr - number(start));
                    *shown = Some((rights.to_owned(), offset));
                }
            }
        }
        for (n, (shown, page)) in shown.iter().zip(&plan.end).enumerate() {
            let expected = page.map(|page| {
                let right = |prot, letter| if page.prot.contains(prot) { letter } else { '-' };
                let mut rights: String = [(Prot::READ, 'r'), (Prot::WRITE, 'w'), (Prot::EXEC, 'x')]
                    .into_iter()
                    .map(|(prot, letter)| right(prot, letter))
                    .collect();
                rights.push(if page.shared { 's' } else { 'p' });
                let of_file = page.object.filter(|(object, _)| *object == 0);
                (rights, of_file.map(|(_, at)| at * self.page))
            });
            if *shown != expected {
                return Err(format!("page {n} is {shown:?} in /proc/self/maps, not {expected:?}"));
            }
        }
        Ok(())
    }
}

/// How many pages from page `at` on: mostly few, sometimes none or many.
fn pages(source: &mut impl Source, at: usize) -> usize {
    match source.below(16) {
        0 => 0,
        1 => (1 + source.below(24) as usize).min(PAGES - at),
        _ => (1 + source.below(8) as usize).min(PAGES - at),
    }
}

fn prot(source: &mut impl Source) -> Prot {
    match source.below(3) {
        0 => Prot::from_bits(source.below(8) as usize),
        _ => Prot::READ | Prot::WRITE,
    }
}

/// The first byte of page n of the file.
fn file_byte(n: usize) -> u8 {
    1 + n as u8
}

/// Whether a forked child says yes.
fn in_child(f: impl FnOnce() -> bool) -> bool {
    // SAFETY: the child makes system calls, and ends without the parent's exit handlers.
    unsafe {
        let pid = libc::fork();
        assert!(pid >= 0, "fork: {}", std::io::Error::last_os_error());
        if pid == 0 {
            libc::alarm(20);
            libc::_exit(i32::from(!f()));
        }
        let mut status = 0;
        while libc::waitpid(pid, &mut status, 0) != pid {}
        libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0
    }
}
