//! A small kernel in userspace: it gives a guest an address space of its own, serves the guest's page faults,
//! and answers its mmap, munmap and mprotect as Linux would.
//!
//! - The guest's address space, 0 to 16 MiB, is one inaccessible mapping. The guest's addresses are offsets in
//!   the mapping.
//! - The guest's memory is a memfd, mapped twice: frame by frame where the guest has pages, and as a
//!   whole where the kernel reads and writes it.
//! - A page is mapped when it is first touched, by the handler of SIGSEGV. It calls `Mapping::overlay`,
//!   which takes no lock and does not touch errno, and looks at nothing but atomics.
//! - Requests come from another thread as a number and six words, as a seccomp notification or a ptrace stop
//!   has them. `Call::check` refuses what Linux refuses because of the words. This kernel decides what depends
//!   on what is mapped, and acts on the guest's range only.
//!
//! There is one guest thread, which waits while the kernel serves it. With several, each page-table
//! entry would need a lock bit against a fault during a call.
//!
//! `cargo run --features std --example guest`

#[path = "../tests/verdicts/mod.rs"]
mod verdicts;

use rawmap::{
    Arch, Call, Errno, MapFlags, MapOptions, Mapping, NO_FD, Operation, PageSize, Prot, RULES, Raw,
    RawFd, Sharing, Word, page_size,
};
use std::error::Error;
use std::fs::File;
use std::ops::Range;
use std::os::fd::{AsRawFd, FromRawFd};
use std::ptr::{null_mut, without_provenance_mut as at};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use verdicts::{Of, telling};

/// The guest's address space in bytes.
const SPACE: usize = 16 << 20;
/// The guest may have nothing below this address, as Linux has it with `vm.mmap_min_addr`.
const MIN_ADDR: usize = 64 << 10;
/// The guest's memory in pages.
const FRAMES: usize = 64;
/// The first of them are the pages of the one file that the guest has open.
const FILE_FRAMES: usize = 4;
const FILE_FD: RawFd = 3;
const RW: Prot = Prot::READ.union(Prot::WRITE);
/// What the kernel here takes itself for; the page size is the host's.
const LINUX: Of = Of {
    arch: Arch::HOST,
    version: Some((6, 12)),
    page: 4096,
    address_space: SPACE as u64,
    regular_file: false,
};

/// A page of the guest's address space, as one word that a signal handler can read and write.
#[derive(Clone, Copy)]
struct Page(u32);

impl Page {
    const NOTHING: Self = Self(0);
    /// The guest mapped it.
    const MAPPED: u32 = 1;
    /// It is mapped to its frame; else the first access faults.
    const PRESENT: u32 = 2;
    /// It is the file's: the frame outlives it.
    const FILE: u32 = 4;

    fn new(prot: Prot, flags: u32, frame: Option<usize>) -> Self {
        let frame = frame.map_or(0, |frame| frame + 1) as u32;
        Self(Self::MAPPED | flags | (prot.bits() as u32 & 7) << 4 | frame << 8)
    }

    fn is(self, flag: u32) -> bool {
        self.0 & flag != 0
    }

    /// What the host allows: guest code is not run here.
    fn prot(self) -> Prot {
        Prot::from_bits((self.0 >> 4 & 7) as usize).intersection(RW)
    }

    fn frame(self) -> Option<usize> {
        (self.0 >> 8).checked_sub(1).map(|frame| frame as usize)
    }
}

/// The machine: all that the fault handler needs. Made before there is a fault, and never changed
/// but for its atomics.
struct Machine {
    page: PageSize,
    space: Mapping<Raw>,
    memfd: File,
    memory: Mapping<Raw>,
    pages: Vec<AtomicU32>,
    taken: [AtomicBool; FRAMES],
    faults: AtomicUsize,
}

static MACHINE: OnceLock<Machine> = OnceLock::new();

impl Machine {
    fn new() -> Result<Self, Box<dyn Error>> {
        let page = page_size()?;
        // SAFETY: the kernel reads the name, which ends with a zero.
        let memfd = unsafe { libc::memfd_create(c"guest".as_ptr(), libc::MFD_CLOEXEC) };
        if memfd < 0 {
            return Err(std::io::Error::last_os_error().into());
        }
        // SAFETY: the descriptor is new, and this file's alone.
        let memfd = unsafe { File::from_raw_fd(memfd) };
        memfd.set_len((FRAMES * page.bytes()) as u64)?;
        Ok(Self {
            page,
            space: MapOptions::new(SPACE).raw(Prot::NONE, Sharing::Private)?,
            memory: MapOptions::whole().file_raw(&memfd, 0, RW, Sharing::Shared)?,
            memfd,
            pages: (0..SPACE / page.bytes()).map(|_| AtomicU32::new(0)).collect(),
            taken: [const { AtomicBool::new(false) }; FRAMES],
            faults: AtomicUsize::new(0),
        })
    }

    /// Behind the address space, there is nothing.
    fn get(&self, n: usize) -> Page {
        self.pages.get(n).map_or(Page::NOTHING, |page| Page(page.load(Relaxed)))
    }

    fn set(&self, n: usize, page: Page) {
        self.pages[n].store(page.0, Relaxed);
    }

    /// So many pages from the n-th on, as bytes of the address space.
    fn bytes(&self, n: usize, count: usize) -> Range<usize> {
        n << self.page.log2()..(n + count) << self.page.log2()
    }

    /// The host's pointer for a guest's address.
    fn host(&self, addr: usize) -> *mut u8 {
        assert!(addr < SPACE, "the guest's own range only");
        self.space.as_ptr().wrapping_add(addr)
    }

    /// Makes the page at a host's address present; false if the guest has no right to what it did.
    /// Called in the signal handler.
    fn fault(&self, addr: usize) -> bool {
        let offset = addr.wrapping_sub(self.space.as_ptr().addr());
        if offset >= SPACE {
            return false;
        }
        let n = offset >> self.page.log2();
        let entry = self.get(n);
        // A page that is present and faults has the wrong protection for what the guest did.
        if !entry.is(Page::MAPPED) || entry.is(Page::PRESENT) {
            return false;
        }
        let Some(frame) = entry.frame().or_else(|| self.new_frame(entry)) else { return false };
        let page = self.page.bytes();
        let (fd, offset) = (self.memfd.as_raw_fd(), (frame * page) as u64);
        // SAFETY: a page of the guest's, which waits for it, far from the stack; the memfd is open, and not on
        // hugetlbfs. If the host has no memory left, the page may be unmapped, and the machine is killed.
        let mapped = unsafe {
            self.space.overlay(self.bytes(n, 1), entry.prot(), MapFlags::SHARED, fd, offset)
        };
        let present = entry.0 & 0xff | Page::PRESENT;
        self.set(n, Page(present | (frame as u32 + 1) << 8));
        self.faults.fetch_add(1, Relaxed);
        mapped.is_ok()
    }

    /// A frame of zeroes. A page of the file that lies behind its end gets none (Linux: SIGBUS).
    fn new_frame(&self, page: Page) -> Option<usize> {
        let free = |n: &usize| !self.taken[*n].swap(true, Relaxed);
        let frame = (FILE_FRAMES..FRAMES).find(free).filter(|_| !page.is(Page::FILE))?;
        let bytes = self.page.bytes();
        // SAFETY: a frame of the kernel's mapping, which no page of the guest has.
        unsafe { self.memory.as_ptr().add(frame * bytes).write_bytes(0, bytes) };
        Some(frame)
    }
}

extern "C" fn on_fault(_: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: Linux passes the information of this fault.
    let addr = unsafe { (*info).si_addr() }.addr();
    if !MACHINE.get().is_some_and(|machine| machine.fault(addr)) {
        // The instruction is run again, and kills.
        // SAFETY: signal is safe in a handler.
        unsafe { libc::signal(libc::SIGSEGV, libc::SIG_DFL) };
    }
}

/// A request: a call's number on this architecture, and its words.
type Request = (usize, [Word; 6]);

/// The kernel's side of the guest's calls.
struct Kernel {
    machine: &'static Machine,
    /// What it takes itself for.
    linux: rawmap::Kernel,
}

impl Kernel {
    fn serve(&self, (number, args): Request) -> Word {
        let call = Call::from_words(number, args);
        let answer = call.ok_or(Errno::ENOSYS).and_then(|call| self.decide(call));
        match call {
            Some(call) => print!("    {call} = "),
            None => print!("    call {number} = "),
        }
        match answer {
            Ok(value) => println!("{value:#x}"),
            Err(errno) => println!("-1 {errno}"),
        }
        answer.map_or_else(Errno::encode, Word::int)
    }

    fn decide(&self, call: Call) -> Result<usize, Errno> {
        if let Err(refusal) = call.check(&self.linux) {
            // Linux looks up the file before it looks at most other words.
            if refusal.earlier().contains(Errno::EBADF) {
                Self::check_file(call.operation())?;
            }
            return Err(refusal.errno());
        }
        Self::check_file(call.operation())?;
        match call.operation() {
            Operation::Mmap { addr, len, prot, flags, offset, .. } => {
                self.mmap(addr.bits(), self.count(len), prot, flags, offset as usize)
            }
            Operation::Munmap { addr, len } => self.munmap(addr.bits(), self.count(len)),
            Operation::Mprotect { addr, len, prot } => {
                self.mprotect(addr.bits(), self.count(len), prot)
            }
            _ => Err(Errno::ENOSYS), // the rest of the family, this kernel does not have
        }
    }

    fn check_file(operation: Operation) -> Result<(), Errno> {
        match operation {
            Operation::Mmap { flags, fd, .. }
                if !flags.contains(MapFlags::ANONYMOUS) && fd != FILE_FD =>
            {
                Err(Errno::EBADF)
            }
            _ => Ok(()),
        }
    }

    /// Bytes as pages; `check` has seen to it that they can be rounded.
    fn count(&self, len: usize) -> usize {
        len.div_ceil(self.machine.page.bytes())
    }

    fn number(&self, addr: usize) -> usize {
        addr >> self.machine.page.log2()
    }

    fn is_free(&self, first: usize, count: usize) -> bool {
        (first..first + count).all(|n| !self.machine.get(n).is(Page::MAPPED))
    }

    fn mmap(
        &self,
        addr: usize,
        count: usize,
        prot: Prot,
        flags: MapFlags,
        offset: usize,
    ) -> Result<usize, Errno> {
        let noreplace = flags.contains(MapFlags::FIXED_NOREPLACE);
        let first = if flags.contains(MapFlags::FIXED) || noreplace {
            if addr < MIN_ADDR {
                return Err(Errno::EPERM);
            }
            if noreplace && !self.is_free(self.number(addr), count) {
                return Err(Errno::EEXIST);
            }
            self.number(addr)
        } else {
            // Downwards from the top, as Linux does it. A hint is left aside, which it may be.
            let last = self.machine.pages.len().checked_sub(count).ok_or(Errno::ENOMEM)?;
            let lowest = self.number(MIN_ADDR);
            let free = |first: &usize| self.is_free(*first, count);
            (lowest..=last).rev().find(free).ok_or(Errno::ENOMEM)?
        };
        let anonymous = flags.contains(MapFlags::ANONYMOUS);
        if !anonymous && flags.sharing() == MapFlags::PRIVATE {
            return Err(Errno::ENODEV); // there is no copy on write here
        }
        self.drop_pages(first, count);
        for n in 0..count {
            let frame = Some(self.number(offset) + n).filter(|n| !anonymous && *n < FILE_FRAMES);
            let kind = if anonymous { 0 } else { Page::FILE };
            self.machine.set(first + n, Page::new(prot, kind, frame));
        }
        Ok(first << self.machine.page.log2())
    }

    fn munmap(&self, addr: usize, count: usize) -> Result<usize, Errno> {
        self.drop_pages(self.number(addr), count);
        Ok(0)
    }

    /// One call on the host, whatever was mapped there.
    fn drop_pages(&self, first: usize, count: usize) {
        let (space, flags) = (&self.machine.space, MapFlags::PRIVATE | MapFlags::ANONYMOUS);
        let range = self.machine.bytes(first, count);
        // SAFETY: pages of the guest's, which waits for it, far from the stack. If the host has no memory
        // left, they may be unmapped, and the machine stops.
        let dropped = unsafe { space.overlay(range, Prot::NONE, flags, NO_FD, 0) };
        dropped.expect("the host has memory");
        for n in first..first + count {
            let old = self.machine.get(n);
            if let Some(frame) = old.frame().filter(|_| !old.is(Page::FILE)) {
                self.machine.taken[frame].store(false, Relaxed);
            }
            self.machine.set(n, Page::NOTHING);
        }
    }

    fn mprotect(&self, addr: usize, count: usize, prot: Prot) -> Result<usize, Errno> {
        for n in self.number(addr)..self.number(addr) + count {
            let old = self.machine.get(n);
            if !old.is(Page::MAPPED) {
                return Err(Errno::ENOMEM); // and the pages before the hole are changed
            }
            let new = Page::new(prot, old.0 & (Page::FILE | Page::PRESENT), old.frame());
            if new.is(Page::PRESENT) {
                let changed = self.machine.space.protect(self.machine.bytes(n, 1), new.prot());
                changed.map_err(|error| error.errno())?;
            }
            self.machine.set(n, new);
        }
        Ok(0)
    }
}

/// The guest's side: a thread that knows nothing but its addresses and how to ask.
struct Guest {
    machine: &'static Machine,
    requests: Sender<Request>,
    answers: Receiver<Word>,
}

impl Guest {
    fn ask(&self, number: usize, args: [Word; 6]) -> Result<usize, Errno> {
        self.requests.send((number, args)).expect("the kernel listens");
        Errno::decode(self.answers.recv().expect("the kernel answers")).map(Word::bits)
    }

    fn call(&self, call: Call) -> Result<usize, Errno> {
        self.ask(call.number(), call.args())
    }

    fn anonymous(&self, addr: usize, len: usize, prot: Prot, flags: MapFlags) -> Call {
        Call::mmap_anonymous(at(addr), len, prot, MapFlags::PRIVATE | flags)
    }

    fn read(&self, addr: usize) -> u8 {
        // SAFETY: guest memory, or a fault that is served or kills.
        unsafe { self.machine.host(addr).read_volatile() }
    }

    fn write(&self, addr: usize, byte: u8) {
        // SAFETY: as for read.
        unsafe { self.machine.host(addr).write_volatile(byte) };
    }

    /// How a process ends that does this: None if it lives.
    fn killed_by(&self, access: impl FnOnce()) -> Option<i32> {
        let mut status = 0;
        // SAFETY: the child makes one access and exits.
        unsafe {
            let child = libc::fork();
            if child == 0 {
                let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
                libc::setrlimit(libc::RLIMIT_CORE, &none);
                access();
                libc::_exit(0);
            }
            assert_eq!(libc::waitpid(child, &mut status, 0), child);
        }
        libc::WIFSIGNALED(status).then(|| libc::WTERMSIG(status))
    }

    fn run(&self) -> Result<(), Errno> {
        let page = self.machine.page.bytes();
        let faults = || self.machine.faults.load(Relaxed);

        println!("\n1. Memory that is there when it is touched");
        let heap = self.call(self.anonymous(0, 3 * page, RW, MapFlags::default()))?;
        assert_eq!(faults(), 0);
        assert_eq!(self.read(heap), 0);
        self.write(heap + 2 * page, 7);
        assert_eq!((self.read(heap + 2 * page), faults()), (7, 2));
        println!("   three pages mapped, two touched: {} faults served", faults());

        println!("\n2. One page of a file at two addresses");
        let map = |addr, offset| Call::mmap(addr, page, RW, MapFlags::SHARED, FILE_FD, offset);
        let one = self.call(map(null_mut(), page as u64))?;
        let two = self.call(map(null_mut(), page as u64))?;
        b"hello".iter().zip(one..).for_each(|(byte, addr)| self.write(addr, *byte));
        let seen: Vec<u8> = (two..two + 5).map(|addr| self.read(addr)).collect();
        println!("   written at {one:#x}, read at {two:#x}: {:?}", String::from_utf8_lossy(&seen));
        assert_eq!(seen, b"hello");

        println!("\n3. A hole, and what mprotect does before it");
        self.call(Call::munmap(at(heap + page), page))?;
        let refused = self.call(Call::mprotect(at(heap), 3 * page, Prot::READ));
        assert_eq!(refused, Err(Errno::ENOMEM));
        assert_eq!(self.read(heap), 0);
        let killed = [
            self.killed_by(|| self.write(heap, 1)),
            self.killed_by(|| self.write(heap + 2 * page, 1)),
            self.killed_by(|| self.write(heap + page, 1)),
        ];
        println!("   a process that writes the first, third, second page: signals {killed:?}");
        assert_eq!(killed, [Some(libc::SIGSEGV), None, Some(libc::SIGSEGV)]);
        let again = self.anonymous(heap + page, page, RW, MapFlags::FIXED_NOREPLACE);
        assert_eq!(self.call(again)?, heap + page);
        assert_eq!(self.read(heap + page), 0);

        println!("\n4. What Linux refuses, refused with Linux's error");
        let fixed = |addr| self.anonymous(addr, page, RW, MapFlags::FIXED);
        let file = |fd, flags, offset| Call::mmap(null_mut(), page, RW, flags, fd, offset);
        let unknown = Prot::from_bits(0x800);
        let refusals = [
            (self.anonymous(0, 0, RW, MapFlags::default()), Errno::EINVAL),
            (self.anonymous(0, usize::MAX, RW, MapFlags::default()), Errno::ENOMEM),
            (self.anonymous(0, SPACE + page, RW, MapFlags::default()), Errno::ENOMEM),
            (self.anonymous(0, SPACE, RW, MapFlags::default()), Errno::ENOMEM),
            (self.anonymous(heap, page, RW, MapFlags::FIXED_NOREPLACE), Errno::EEXIST),
            (fixed(heap + 1), Errno::EINVAL),
            (fixed(SPACE), Errno::ENOMEM),
            (fixed(0), Errno::EPERM),
            (file(FILE_FD, MapFlags::SHARED, 1), Errno::EINVAL),
            (file(FILE_FD, MapFlags::default(), 0), Errno::EINVAL),
            (file(999, MapFlags::SHARED, 0), Errno::EBADF),
            (file(999, MapFlags::default(), 0), Errno::EBADF),
            (Call::munmap(at(heap + 1), page), Errno::EINVAL),
            (Call::munmap(at(heap), 0), Errno::EINVAL),
            (Call::munmap(at(SPACE), page), Errno::EINVAL),
            (Call::mprotect(at(heap + 1), page, RW), Errno::EINVAL),
            (Call::mprotect(at(heap), page, unknown), Errno::EINVAL),
            (Call::mprotect(at(MIN_ADDR), page, RW), Errno::ENOMEM),
        ];
        let (mut same, host) = (0, rawmap::Kernel::new(Arch::HOST, self.machine.page));
        let emulated = std::env::var_os("RAWMAP_EMULATOR").is_some();
        for (call, errno) in refusals {
            assert_eq!(self.call(call), Err(errno), "{call}");
            // What no kernel accepts may safely be tried on this one, if it is one.
            let of_file = matches!(call.operation(), Operation::Mmap { fd: FILE_FD, .. });
            let refused = call.check(&host).is_err_and(|refusal| refusal.unchanged());
            if !of_file && refused && !emulated {
                // SAFETY: the call is refused, before it has changed anything.
                assert_eq!(unsafe { call.make() }, Err(errno), "this Linux, {call}");
                same += 1;
            }
        }
        assert_eq!(self.ask(usize::MAX, [Word::ZERO; 6]), Err(Errno::ENOSYS));
        println!(
            "   {same} of these refused by the host for the words alone: with the same errors"
        );
        // And the calls by which the example `verdicts` tells a mistake in any rule.
        for (of, call) in telling(&[Of { page, ..LINUX }], 20_000) {
            let (Operation::Mmap { .. } | Operation::Munmap { .. } | Operation::Mprotect { .. }) =
                call.operation()
            else {
                continue; // the others, this kernel does not have
            };
            let Err(refusal) = call.check(&of.kernel()) else { continue };
            let errno = self.call(call).expect_err("it is refused");
            let right = errno == refusal.errno() || refusal.earlier().contains(errno);
            assert!(right, "{errno:?}: {}", of.line(call, &RULES));
        }

        println!("\n5. More memory than there is, one after the other; each time zeroes");
        for round in 1..=3 {
            let len = FRAMES / 2 * page;
            let block = self.call(self.anonymous(0, len, RW, MapFlags::default()))?;
            for addr in (block..block + len).step_by(page) {
                assert_eq!(self.read(addr), 0, "round {round}");
                self.write(addr, 0xff);
            }
            self.call(Call::munmap(at(block), len))?;
        }
        println!("   {} faults served in all", faults());
        assert_eq!(faults(), 2 + 2 + 1 + 3 * FRAMES / 2);
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let machine = Machine::new()?;
    let machine = MACHINE.get_or_init(|| machine);
    let page = machine.page;
    println!("A guest with {SPACE} bytes of address space, {FRAMES} pages of {page} bytes");
    // SAFETY: a zeroed sigaction is a valid one, and the handler does what handlers may.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        let handler: extern "C" fn(_, _, _) = on_fault;
        action.sa_sigaction = handler as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        assert_eq!(libc::sigaction(libc::SIGSEGV, &action, null_mut()), 0);
    }

    let linux = Of { page: page.bytes(), ..LINUX }.kernel();
    let kernel = Kernel { machine, linux };
    let (requests, incoming) = channel();
    let (outgoing, answers) = channel();
    let guest = thread::spawn(move || Guest { machine, requests, answers }.run());
    for request in incoming {
        outgoing.send(kernel.serve(request))?;
    }
    guest.join().expect("the guest's assertions hold")?;

    // The guest's second page of the file, as the kernel has it.
    // SAFETY: within the mapping, and the guest is gone.
    let file = unsafe { std::slice::from_raw_parts(machine.memory.as_ptr().add(page.bytes()), 5) };
    assert_eq!(file, b"hello");
    println!("\nThe guest is done; its file says {:?}", String::from_utf8_lossy(file));
    Ok(())
}
