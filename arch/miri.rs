//! Miri: the stubs answer by a model of the kernel, because Miri has no system calls.
//!
//! Everything else (numbers, constants, page size) is that of the target architecture, and every layer
//! above is the same code as outside Miri. The model must have no bug of its own that a user's test
//! would hit, so it is kept to what Miri can say:
//!
//! | call | what the model does |
//! |---|---|
//! | any | refuses what [`Call::check`] refuses for Linux 6.18, with that error |
//! | `mmap` | private anonymous memory only; at an address only over or within an earlier mapping of which a part is still mapped |
//! | `munmap`, `mprotect`, `mremap`, `madvise`, `mlock`..., `msync`, `mseal` | as Linux 6.18 on that memory |
//! | `mincore` | says 1 for a page that can have been written since it was mapped or dropped: it doesn't see who touches memory |
//!
//! What can't be said there answers as a kernel without it would:
//!
//! | what | answer |
//! |---|---|
//! | files, and shared memory (which could be seen at two addresses) | ENODEV |
//! | huge pages | ENOMEM: the pool is empty |
//! | droppable memory, and memory that grows down | EINVAL |
//! | `MAP_FIXED` or `MREMAP_FIXED` where no mapping of the program lies | ENOMEM |
//! | `MAP_FIXED_NOREPLACE` there | EEXIST: the rest of the address space is Miri's |
//! | more than [`MOST`] bytes at once | ENOMEM, as under RLIMIT_AS |
//! | `MADV_COLLAPSE`; `MADV_HWPOISON`, `MADV_SOFT_OFFLINE` | EINVAL; EPERM |
//! | `prctl`, as for names of memory; another system call | EINVAL; ENOSYS |
//!
//! # How misuse is reported
//!
//! Each `mmap` is one allocation of Miri's, so that it knows the mapping's bounds, and knows an access
//! after the last part was unmapped for a use after free. Miri can't free part of an allocation or
//! protect it, so for what is unmapped, inaccessible or guarded the model does two things:
//!
//! - It makes the bytes uninitialised, so that whoever reads them is told so. What inaccessible memory
//!   held is kept in a second allocation until it is accessible again.
//! - It lets a thread of its own write the bytes (only read them, where memory becomes read-only),
//!   and doesn't wait for that thread in any way that the language's memory model knows. Whoever accesses
//!   them from now on races with that thread, and Miri reports a data race. A call that makes the memory
//!   accessible again first synchronises with the thread, and so ends the race. See [`Ban`].
//!
//! At the end of the main thread the model forgets its mappings, lest its table keep alive what the
//! program lost: Miri then reports as leaked whatever was not unmapped and no static of the program
//! points to. Sealed memory, which nobody can unmap, is excepted.
//!
//! The model takes no memory from the global allocator, which may be one that is built on this crate.
//! Calls are ordered among each other by a lock, as the kernel's are.

use crate::arch::Arch;
use crate::call::{Call, Operation};
use crate::check::Kernel;
use crate::errno::Errno;
use crate::flags::{Advice, MapFlags, MlockAllFlags, MlockFlags, MremapFlags, MsyncFlags, Prot};
use crate::page_size::PageSize;
use crate::word::Word;
use core::cell::UnsafeCell;
use core::ffi::{CStr, c_char};
use core::ops::Range;
use core::ptr::{self, null_mut};
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering::*};
use core::{hint, slice};

// Miri's own functions (https://github.com/rust-lang/miri, tests/utils/miri_extern.rs).
unsafe extern "Rust" {
    /// Memory from Miri, uninitialised.
    fn miri_alloc(size: usize, align: usize) -> *mut u8;
    fn miri_dealloc(ptr: *mut u8, size: usize, align: usize);
    /// Starts a thread; since January 2026.
    fn miri_thread_spawn(start: extern "Rust" fn(*mut ()), data: *mut ()) -> usize;
}

/// Expands, for each arity, to one function that asks the model.
macro_rules! stubs {
    ($($name:ident($($arg:ident),*), $n:literal;)*) => {$(
        #[doc = concat!("Makes system call number `nr` with ", $n, ": asks the model of the kernel.")]
        ///
        /// # Safety
        /// That of the target architecture's stub.
        pub unsafe fn $name($($arg: Word,)* nr: usize) -> Word {
            let args = [$($arg,)*];
            let mut all = [Word::ZERO; 6];
            all[..args.len()].copy_from_slice(&args);
            // SAFETY: the caller keeps the contract of the call that these words are, which is that of `answer`.
            unsafe { answer(nr, all) }
        }
    )*};
}

stubs! {
    syscall0(), "no argument";
    syscall1(a0), "one argument";
    syscall2(a0, a1), "two arguments";
    syscall3(a0, a1, a2), "three arguments";
    syscall4(a0, a1, a2, a3), "four arguments";
    syscall5(a0, a1, a2, a3, a4), "five arguments";
    syscall6(a0, a1, a2, a3, a4, a5), "six arguments";
}

/// Nothing: Miri runs no instructions.
///
/// # Errors
/// None.
///
/// # Safety
/// None.
pub(crate) unsafe fn sync_instructions(
    _written: *const u8,
    _run: *const u8,
    _len: usize,
) -> Result<(), Errno> {
    Ok(())
}

/// The pointer `to`: all of one mapping have the same provenance here.
pub(crate) fn launder(to: *mut u8, _with: *mut u8) -> *mut u8 {
    to
}

/// Of the page sizes that the architecture can have, not the one that everybody expects.
const PAGE: usize = match super::FIXED_PAGE_SIZE {
    Some(bytes) => bytes,
    None => 16 << 10,
};

/// How many bytes may be mapped at once. Miri takes as much from the machine, but touches only what was
/// accessible.
const MOST: usize = 4 << 30;

/// The kernel that is modelled.
const KERNEL: Kernel = match PageSize::new(PAGE) {
    Some(page) => {
        Kernel::new(Arch::HOST, page).address_space((1 << 47) - PAGE as u64).version(6, 18)
    }
    None => panic!(),
};

const ACCESS: Prot = Prot::READ.union(Prot::WRITE).union(Prot::EXEC);

#[derive(Clone, Copy, PartialEq)]
enum Lock {
    No,
    OnFault,
    Yes,
}

/// What a part of an allocation is at present.
#[derive(Clone, Copy, PartialEq)]
struct State {
    mapped: bool,
    prot: Prot,
    lock: Lock,
    sealed: bool,
    /// `MADV_GUARD_INSTALL`.
    guard: bool,
    /// What [`mincore`](crate::mincore) says.
    resident: bool,
}

impl State {
    const UNMAPPED: Self = Self {
        mapped: false,
        prot: Prot::NONE,
        lock: Lock::No,
        sealed: false,
        guard: false,
        resident: false,
    };

    /// Why an access would fault, if it would.
    fn why(self) -> Option<Why> {
        match self {
            Self { mapped: false, .. } => Some(Why::Unmapped),
            Self { guard: true, .. } => Some(Why::Guarded),
            Self { prot: Prot::NONE, .. } => Some(Why::Inaccessible),
            _ if !self.prot.contains(Prot::WRITE) => Some(Why::ReadOnly),
            _ => None,
        }
    }

    /// Whether any access would fault.
    fn hidden(self) -> bool {
        !matches!(self.why(), None | Some(Why::ReadOnly))
    }

    fn writable(self) -> bool {
        self.why().is_none()
    }

    /// Whether the kernel could hold two parts as one mapping: guards are marks in page tables.
    fn joins(self, other: Self) -> bool {
        let kind = |it: Self| (it.mapped, it.prot, it.lock, it.sealed);
        kind(self) == kind(other)
    }
}

/// What one mmap or mremap got from Miri.
struct Area {
    /// All pointers that the model gives out are derived from this one.
    base: *mut u8,
    len: usize,
    /// A second allocation of that length, once it is needed: what inaccessible parts hold.
    kept: *mut u8,
}

/// A part of an area, all of whose pages are alike. The parts of an area cover it.
#[derive(Clone, Copy)]
struct Part {
    area: *mut Area,
    start: usize,
    end: usize,
    state: State,
    /// It is hidden, and its contents are in the area's second allocation. Otherwise hidden memory holds
    /// zeroes.
    kept: bool,
    ban: Option<Ban>,
}

impl Part {
    fn len(&self) -> usize {
        self.end - self.start
    }

    /// The part's memory.
    fn ptr(&self) -> *mut u8 {
        // SAFETY: the area exists as long as it has parts, and the part lies within it.
        unsafe { (*self.area).base.add(self.start - (*self.area).base.addr()) }
    }

    /// The part's place in the second allocation, which it makes if there is none.
    fn keep(&self) -> *mut u8 {
        // SAFETY: the area exists as long as it has parts; the part lies within it.
        unsafe {
            let area = &mut *self.area;
            if area.kept.is_null() {
                area.kept = miri_alloc(area.len, PAGE);
            }
            area.kept.add(self.start - area.base.addr())
        }
    }

    /// Where what the part holds is to be found; `None` if it is zeroes.
    fn contents(&self) -> Option<*mut u8> {
        match (self.state.hidden(), self.kept) {
            (false, _) => Some(self.ptr()),
            (true, true) => Some(self.keep()),
            (true, false) => None,
        }
    }

    /// Gives the part a state, and contents: zeroes or those of another place.
    ///
    /// # Safety
    /// Nothing may refer to the part's memory, if it becomes inaccessible or its contents change.
    unsafe fn become_(&mut self, state: State, contents: Option<*mut u8>) {
        let (was, now) = (self.state, state);
        let stays = contents == self.contents();
        self.state = state;
        // New memory has no ban yet, which it must get if it is hidden.
        if self.ban.is_some() || !now.hidden() && !was.hidden() {
            if stays && was.hidden() == now.hidden() && was.writable() == now.writable() {
                return;
            }
            if was.hidden() && now.hidden() && contents.is_none() {
                self.kept = false;
                return;
            }
        }
        self.ban.take().inspect(Ban::lift);
        let (ptr, len) = (self.ptr(), self.len());
        // SAFETY: all places are of `len` bytes, and the caller promises that nothing refers to them.
        unsafe {
            self.kept = now.hidden() && contents.is_some();
            match contents {
                Some(from) if self.kept => ptr::copy(from, self.keep(), len),
                Some(from) if from != ptr => ptr::copy(from, ptr, len),
                None if !now.hidden() => ptr.write_bytes(0, len),
                _ => {}
            }
            self.ban = now.why().map(|why| Ban::impose(why, ptr, len));
        }
    }
}

/// Why memory can't be accessed, or not written.
#[derive(Clone, Copy)]
enum Why {
    ReadOnly,
    Unmapped,
    Guarded,
    Inaccessible,
}

impl Why {
    /// The name of the ban's thread, which stands in Miri's report.
    fn name(self) -> &'static CStr {
        match self {
            Self::ReadOnly => c"not PROT_WRITE",
            Self::Unmapped => c"munmap",
            Self::Guarded => c"MADV_GUARD",
            Self::Inaccessible => c"PROT_NONE",
        }
    }
}

/// A race with a thread that one call started for it: see [the file's head](self).
#[derive(Clone, Copy, PartialEq)]
struct Ban(usize);

/// How many bans there can be. Each costs Miri a thread, and all that it does with threads becomes slower
/// with their number. When they are used up, forbidden reads are still reported, forbidden writes no
/// more.
const BANS: usize = 4000;

/// For each ban: set by its thread when it has made its accesses; who reads that synchronises with it.
static MADE: [AtomicBool; BANS] = [const { AtomicBool::new(false) }; BANS];
/// For each ban: whether somebody has done so.
static LIFTED: [AtomicBool; BANS] = [const { AtomicBool::new(false) }; BANS];
/// Whether the call under way has.
static LIFTS: AtomicBool = AtomicBool::new(false);

/// One of them. (A reference to all is what Miri keeps long books about.)
fn one(of: *const [AtomicBool; BANS], ban: usize) -> Option<&'static AtomicBool> {
    // SAFETY: the static exists for ever, and `ban` is within it.
    (ban < BANS).then(|| unsafe { &*of.cast::<AtomicBool>().add(ban) })
}

/// The ban that the call under way imposes, and what it is to be on.
static NEXT_BAN: AtomicUsize = AtomicUsize::new(0);
static ORDERS: AtomicPtr<Order> = AtomicPtr::new(null_mut());

/// One access for a ban's thread to make.
struct Order {
    next: *mut Self,
    why: Why,
    memory: *mut u8,
    len: usize,
}

impl Ban {
    /// Forbids access to memory, or to write it, from the end of the call on.
    fn impose(why: Why, memory: *mut u8, len: usize) -> Self {
        // SAFETY: a new allocation.
        unsafe {
            let order = miri_alloc(size_of::<Order>(), align_of::<Order>()).cast::<Order>();
            order.write(Order { next: ORDERS.load(Relaxed), why, memory, len });
            ORDERS.store(order, Relaxed);
        }
        Self(NEXT_BAN.load(Relaxed))
    }

    /// Lets a thread write uninitialised bytes to memory that can't be accessed, and read what can't be
    /// written, so that each access that is forbidden from now on races with it.
    fn begin() {
        let orders = ORDERS.swap(null_mut(), Relaxed);
        if orders.is_null() {
            return;
        }
        let Some(made) = one(&raw const MADE, NEXT_BAN.load(Relaxed)) else {
            return carry_out(orders.cast());
        };
        // SAFETY: the function is given what it takes. Its start synchronises it with this thread.
        unsafe { miri_thread_spawn(access_is_forbidden, orders.cast()) };
        // Not Acquire: that would be the synchronisation that must not be.
        while !made.load(Relaxed) {
            hint::spin_loop();
        }
        NEXT_BAN.fetch_add(1, Relaxed);
    }

    /// Ends the race, for this thread and those that synchronise with it, wherever the ban was on.
    fn lift(&self) {
        if self.0 == NEXT_BAN.load(Relaxed) {
            Self::begin();
        }
        if let Some(made) = one(&raw const MADE, self.0) {
            made.load(Acquire);
        }
        if let Some(lifted) = one(&raw const LIFTED, self.0) {
            lifted.store(true, Relaxed);
            LIFTS.store(true, Relaxed);
        }
    }

    fn is_lifted(&self) -> bool {
        one(&raw const LIFTED, self.0).is_some_and(|lifted| lifted.load(Relaxed))
    }
}

/// What a ban's thread runs. Its name is in Miri's report.
extern "Rust" fn access_is_forbidden(orders: *mut ()) {
    // SAFETY: there is a first one.
    posix::name_thread(unsafe { (*orders.cast::<Order>()).why }.name());
    carry_out(orders);
    if let Some(made) = one(&raw const MADE, NEXT_BAN.load(Relaxed)) {
        made.store(true, Release);
    }
}

fn carry_out(orders: *mut ()) {
    let mut next = orders.cast::<Order>();
    while !next.is_null() {
        // SAFETY: the order is ours, and what it is for is memory to which nothing refers, as the caller
        // of the system call has promised. `other` is a new allocation of that length. To copy is to
        // read uninitialised bytes too.
        unsafe {
            let order = next.read();
            miri_dealloc(next.cast(), size_of::<Order>(), align_of::<Order>());
            let other = miri_alloc(order.len, 1);
            match order.why {
                Why::ReadOnly => ptr::copy_nonoverlapping(order.memory, other, order.len),
                _ => ptr::copy_nonoverlapping(other, order.memory, order.len),
            }
            miri_dealloc(other, order.len, 1);
            next = order.next;
        }
    }
}

/// All that is mapped.
struct Memory {
    /// A growing array, sorted by address.
    parts: *mut Part,
    len: usize,
    capacity: usize,
    /// How later mappings are locked (`MCL_FUTURE`).
    future: Lock,
}

struct Locked {
    taken: AtomicBool,
    memory: UnsafeCell<Memory>,
}

// SAFETY: `memory` is used under the lock only.
unsafe impl Sync for Locked {}

static MEMORY: Locked = Locked {
    taken: AtomicBool::new(false),
    memory: UnsafeCell::new(Memory {
        parts: ptr::dangling_mut(),
        len: 0,
        capacity: 0,
        future: Lock::No,
    }),
};

impl Locked {
    fn with<T>(&self, act: impl FnOnce(&mut Memory) -> T) -> T {
        while self.taken.swap(true, Acquire) {
            hint::spin_loop();
        }
        // SAFETY: the lock is ours.
        let result = act(unsafe { &mut *self.memory.get() });
        self.taken.store(false, Release);
        result
    }
}

/// # Safety
/// That of the call: the clauses at [`Memory::make`].
unsafe fn answer(number: usize, args: [Word; 6]) -> Word {
    // So a kernel says to names that it does not have.
    if number == super::nr::PRCTL {
        return Errno::EINVAL.encode();
    }
    let Some(call) = Call::from_words(number, args) else { return Errno::ENOSYS.encode() };
    if let Err(refusal) = call.check(&KERNEL) {
        return refusal.errno().encode();
    }
    // SAFETY: the caller keeps the call's contract, of which `make` needs clauses 1 and 2.
    let result = MEMORY.with(|memory| unsafe { memory.make(call.operation()) });
    result.unwrap_or_else(Errno::encode)
}

type Answer = Result<Word, Errno>;
const OK: Answer = Ok(Word::ZERO);

/// What a call does where it meets a hole.
#[derive(Clone, Copy, PartialEq)]
enum Holes {
    /// It ends with ENOMEM.
    End,
    /// It goes on, and answers ENOMEM when it has done the rest.
    Skip,
}

/// The table of parts.
impl Memory {
    fn parts(&mut self) -> &mut [Part] {
        // SAFETY: so many parts were written there, and nobody else has the pointer.
        unsafe { slice::from_raw_parts_mut(self.parts, self.len) }
    }

    /// A copy of one, where many are looked at: a reference to all costs Miri more.
    fn part(&self, n: usize) -> Part {
        assert!(n < self.len);
        // SAFETY: so many parts were written there.
        unsafe { self.parts.add(n).read() }
    }

    fn insert(&mut self, at: usize, part: Part) {
        // SAFETY: within the capacity, which is enlarged where it must be.
        unsafe {
            if self.len == self.capacity {
                let (size, align) = (size_of::<Part>(), align_of::<Part>());
                let capacity = (self.capacity * 2).max(64);
                let parts = miri_alloc(capacity * size, align).cast();
                ptr::copy_nonoverlapping(self.parts, parts, self.len);
                self.free_table();
                (self.parts, self.capacity) = (parts, capacity);
            }
            let place = self.parts.add(at);
            ptr::copy(place, place.add(1), self.len - at);
            place.write(part);
        }
        self.len += 1;
    }

    fn remove(&mut self, at: Range<usize>) {
        self.parts().copy_within(at.end.., at.start);
        self.len -= at.len();
    }

    fn free_table(&mut self) {
        if self.capacity != 0 {
            // SAFETY: that is how it was allocated.
            unsafe {
                let (size, align) = (size_of::<Part>(), align_of::<Part>());
                miri_dealloc(self.parts.cast(), self.capacity * size, align);
            }
            (self.parts, self.capacity) = (ptr::dangling_mut(), 0);
        }
    }

    /// Divides the part that goes over an address.
    fn split(&mut self, addr: usize) {
        let n = self.parts().partition_point(|part| part.end <= addr);
        if n < self.len && self.part(n).start < addr {
            let part = self.part(n);
            self.parts()[n].end = addr;
            self.insert(n + 1, Part { start: addr, ..part });
        }
    }

    /// Makes one part of neighbours that are alike in everything.
    fn tidy(&mut self) {
        let mut n = 1;
        while n < self.len {
            let (before, part) = (self.part(n - 1), self.part(n));
            let kind = |it: Part| (it.area, it.state, it.kept, it.ban);
            if before.end == part.start && kind(before) == kind(part) {
                self.parts()[n - 1].end = part.end;
                self.remove(n..n + 1);
            } else {
                n += 1;
            }
        }
    }

    /// Which parts lie within a range of addresses, where parts now begin and end.
    fn within(&mut self, range: &Range<usize>) -> Range<usize> {
        self.split(range.start);
        self.split(range.end);
        let start = self.parts().partition_point(|part| part.end <= range.start);
        let end = self.parts().partition_point(|part| part.start < range.end);
        start..end.max(start)
    }

    /// The parts of a range that cover it, mapped or not, if they do and are of one area.
    fn of_one_area(&mut self, range: &Range<usize>) -> Option<Range<usize>> {
        let found = self.within(range);
        let parts = &self.parts()[found.clone()];
        let (first, last) = (parts.first()?, parts.last()?);
        // The parts of an area cover it.
        let all = first.start == range.start && last.end == range.end && first.area == last.area;
        all.then_some(found)
    }

    /// Whether all of a range can be one mapping of the kernel's.
    fn is_one_mapping(&mut self, range: &Range<usize>) -> bool {
        let Some(found) = self.of_one_area(range) else { return false };
        let parts = &self.parts()[found];
        parts.iter().all(|part| part.state.mapped && part.state.joins(parts[0].state))
    }

    fn is_any(&mut self, range: &Range<usize>, which: impl Fn(State) -> bool) -> bool {
        let found = self.within(range);
        self.parts()[found].iter().any(|part| which(part.state))
    }

    /// Acts on each mapped part of a range, in order.
    fn walk(
        &mut self,
        range: &Range<usize>,
        holes: Holes,
        mut act: impl FnMut(&mut Part) -> Result<(), Errno>,
    ) -> Answer {
        let (found, mut at, mut answer) = (self.within(range), range.start, OK);
        for part in &mut self.parts()[found] {
            if part.start != at || !part.state.mapped {
                answer = Err(Errno::ENOMEM);
                if holes == Holes::End {
                    return answer;
                }
            }
            at = part.end;
            if part.state.mapped {
                act(part)?;
            }
        }
        if at < range.end { Err(Errno::ENOMEM) } else { answer }
    }

    /// A new area, of one part that is not mapped yet.
    fn allocate(&mut self, len: usize) -> Result<Range<usize>, Errno> {
        let (mut all, mut last) = (0, null_mut());
        for part in self.parts() {
            if part.area != last {
                last = part.area;
                // SAFETY: the area exists as long as it has parts.
                all += unsafe { (*last).len };
            }
        }
        if len > MOST - all {
            return Err(Errno::ENOMEM);
        }
        // SAFETY: both are new allocations.
        let (area, start) = unsafe {
            let base = miri_alloc(len, PAGE);
            let area = miri_alloc(size_of::<Area>(), align_of::<Area>()).cast::<Area>();
            area.write(Area { base, len, kept: null_mut() });
            (area, base.addr())
        };
        let at = self.parts().partition_point(|part| part.start < start);
        let (end, state) = (start + len, State::UNMAPPED);
        self.insert(at, Part { area, start, end, state, kept: false, ban: None });
        Ok(start..end)
    }

    /// Takes an area out of the table, and frees what belongs to it but the memory itself, which it
    /// returns.
    fn forget(&mut self, area: *mut Area) -> (*mut u8, usize) {
        let mut n = 0;
        while n < self.len {
            if self.part(n).area == area {
                self.part(n).ban.inspect(Ban::lift);
                self.remove(n..n + 1);
            } else {
                n += 1;
            }
        }
        Ban::begin();
        // SAFETY: they were allocated so, and nothing points to them any more.
        unsafe {
            let Area { base, len, kept } = area.read();
            if !kept.is_null() {
                miri_dealloc(kept, len, PAGE);
            }
            miri_dealloc(area.cast(), size_of::<Area>(), align_of::<Area>());
            (base, len)
        }
    }
}

/// The calls. Those that are unsafe are so by these clauses of the call's own contract:
///
/// 1. Nothing refers to memory that the call unmaps, makes inaccessible or changes, and nobody uses it
///    meanwhile.
/// 2. What `mincore` is given may be written, a byte for each page.
impl Memory {
    unsafe fn make(&mut self, operation: Operation) -> Answer {
        // The pages of a range of bytes. `check` has seen that those wrap only that may.
        let align = |len: usize| len.wrapping_add(PAGE - 1) & !(PAGE - 1);
        let pages = |addr: Word, len: usize| {
            let addr = super::FACTS.untagged(addr.bits() as u64) as usize;
            let start = addr & !(PAGE - 1);
            start..start.wrapping_add(align(len.wrapping_add(addr - start)))
        };
        // SAFETY: each gets the clauses that it needs, 1 and (mincore) 2, from the caller of `make`.
        let answer = unsafe {
            match operation {
                Operation::Mmap { addr, len, prot, flags, .. } => {
                    self.mmap(addr.bits()..addr.bits().wrapping_add(align(len)), prot, flags)
                }
                Operation::Munmap { addr, len } => self.munmap(&pages(addr, len)),
                Operation::Mprotect { addr, len, prot } => self.mprotect(&pages(addr, len), prot),
                Operation::Msync { addr, len, flags } => self.msync(&pages(addr, len), flags),
                Operation::Mremap { old, old_len, new_len, flags, new_addr } => {
                    let new = new_addr.bits();
                    let new = new..new.wrapping_add(align(new_len));
                    self.mremap(&pages(old, old_len), &new, align(new_len), flags)
                }
                Operation::Madvise { addr, len, advice } => self.madvise(&pages(addr, len), advice),
                Operation::Mincore { addr, len, vec } => {
                    self.mincore(&pages(addr, len), vec.as_ptr())
                }
                Operation::Mlock { addr, len } => self.lock(&pages(addr, len), Lock::Yes),
                Operation::Mlock2 { addr, len, flags } => {
                    let on_fault = flags.contains(MlockFlags::ONFAULT);
                    self.lock(&pages(addr, len), if on_fault { Lock::OnFault } else { Lock::Yes })
                }
                Operation::Munlock { addr, len } => self.lock(&pages(addr, len), Lock::No),
                Operation::Mlockall { flags } => self.mlockall(flags),
                Operation::Munlockall => self.munlockall(),
                Operation::Mseal { addr, len, .. } => self.mseal(&pages(addr, len)),
            }
        };
        // A ban that was lifted for one part is imposed anew on the others.
        if LIFTS.swap(false, Relaxed) {
            for part in self.parts() {
                if part.ban.is_some_and(|ban| ban.is_lifted()) {
                    part.ban = part.state.why().map(|why| Ban::impose(why, part.ptr(), part.len()));
                }
            }
        }
        Ban::begin();
        self.tidy();
        answer
    }

    /// mm/mmap.c: do_mmap
    unsafe fn mmap(&mut self, range: Range<usize>, prot: Prot, flags: MapFlags) -> Answer {
        let len = range.end.wrapping_sub(range.start);
        let replaces = flags.contains(MapFlags::FIXED);
        let exact = flags.contains(MapFlags::FIXED_NOREPLACE);
        // A range that wraps can only be a hint.
        let place = if range.start < range.end { self.of_one_area(&range) } else { None };
        let free = range.start < range.end && !self.is_any(&range, |state| state.mapped);
        if exact && (place.is_none() || !free) {
            return Err(Errno::EEXIST);
        }
        if flags.contains(MapFlags::HUGETLB) {
            return Err(Errno::ENOMEM);
        }
        if !flags.contains(MapFlags::ANONYMOUS) || flags.sharing() == MapFlags::SHARED {
            return Err(Errno::ENODEV);
        }
        if flags.sharing() != MapFlags::PRIVATE || flags.contains(MapFlags::GROWSDOWN) {
            return Err(Errno::EINVAL);
        }
        let prot = prot.intersection(ACCESS);
        let locked = flags.contains(MapFlags::LOCKED) && self.future == Lock::No;
        let lock = if locked { Lock::Yes } else { self.future };
        let resident = prot.contains(Prot::WRITE);
        let state = State { mapped: true, prot, lock, sealed: false, guard: false, resident };
        let place = match place {
            Some(place) if free || replaces && !exact => place,
            None if replaces && !exact => return Err(Errno::ENOMEM),
            // A hint that can't be taken.
            _ => {
                let range = self.allocate(len)?;
                self.within(&range)
            }
        };
        if self.parts()[place.clone()].iter().any(|part| part.state.sealed) {
            return Err(Errno::EPERM);
        }
        for part in &mut self.parts()[place.clone()] {
            // SAFETY: clause 1 of what is replaced; nothing refers to a part that is new.
            unsafe { part.become_(state, None) };
        }
        Ok(Word::ptr(self.parts()[place.start].ptr()))
    }

    /// mm/vma.c: do_vmi_munmap
    unsafe fn munmap(&mut self, range: &Range<usize>) -> Answer {
        if self.is_any(range, |state| state.sealed) {
            return Err(Errno::EPERM);
        }
        let inside = |part: &Part| range.start <= part.start && part.end <= range.end;
        let goes = |part: &Part| part.state.mapped && inside(part);
        while let Some(n) = self.parts().iter().position(goes) {
            let area = self.parts()[n].area;
            let stays = |part: &Part| part.area == area && part.state.mapped && !inside(part);
            // SAFETY: clause 1 of what is unmapped.
            unsafe {
                if self.parts().iter().any(stays) {
                    self.parts()[n].become_(State::UNMAPPED, None);
                } else {
                    let (base, len) = self.forget(area);
                    miri_dealloc(base, len, PAGE);
                }
            }
        }
        OK
    }

    /// mm/mprotect.c: do_mprotect_pkey
    unsafe fn mprotect(&mut self, range: &Range<usize>, prot: Prot) -> Answer {
        self.walk(range, Holes::End, |part| {
            if prot.contains(Prot::GROWSDOWN) {
                return Err(Errno::EINVAL);
            }
            if part.state.sealed {
                return Err(Errno::EPERM);
            }
            let prot = prot.intersection(ACCESS);
            let resident = part.state.resident || prot.contains(Prot::WRITE);
            // SAFETY: clause 1 of what loses rights; contents stay.
            unsafe { part.become_(State { prot, resident, ..part.state }, part.contents()) };
            Ok(())
        })
    }

    /// mm/msync.c: msync
    fn msync(&mut self, range: &Range<usize>, flags: MsyncFlags) -> Answer {
        let holes = if flags == MsyncFlags::ASYNC { Holes::End } else { Holes::Skip };
        self.walk(range, holes, |part| {
            let busy = part.state.lock != Lock::No && flags.contains(MsyncFlags::INVALIDATE);
            if busy { Err(Errno::EBUSY) } else { Ok(()) }
        })
    }

    /// mm/mremap.c: do_mremap. `to` begins at the new address.
    unsafe fn mremap(
        &mut self,
        from: &Range<usize>,
        to: &Range<usize>,
        len: usize,
        flags: MremapFlags,
    ) -> Answer {
        let (fixed, may_move) =
            (flags.contains(MremapFlags::FIXED), flags.contains(MremapFlags::MAYMOVE));
        let dontunmap = flags.contains(MremapFlags::DONTUNMAP);
        let (old_len, moves) = (from.len(), fixed || dontunmap);
        let (grows, shrinks) = (len > old_len, len < old_len);
        self.split(from.start);
        let at_start = |part: &&Part| part.start == from.start && part.state.mapped;
        let Some(first) = self.parts().iter().find(at_start).copied() else {
            return Err(Errno::EFAULT);
        };
        if first.state.sealed {
            return Err(Errno::EPERM);
        }
        if old_len == 0 {
            return Err(Errno::EINVAL);
        }
        // A move of several mappings to one place each needs no change of any (since Linux 6.17).
        let kept = from.start..from.start + old_len.min(len);
        let moves_only = fixed && len == old_len;
        if (grows || moves && !moves_only) && !self.is_one_mapping(&kept) {
            return Err(Errno::EFAULT);
        }
        if !moves {
            if shrinks {
                // SAFETY: clause 1 of the tail that is unmapped.
                unsafe { self.munmap(&(kept.end..from.end)) }?;
            }
            if !grows {
                return Ok(Word::ptr(first.ptr()));
            }
            let more = from.end..from.start + len;
            if let Some(room) = self.of_one_area(&more) {
                let parts = &mut self.parts()[room];
                if parts.iter().all(|part| part.area == first.area && !part.state.mapped) {
                    let state = State { guard: false, ..first.state };
                    // SAFETY: nothing was mapped there.
                    parts.iter_mut().for_each(|part| unsafe { part.become_(state, None) });
                    return Ok(Word::ptr(first.ptr()));
                }
            }
            if !may_move {
                return Err(Errno::ENOMEM);
            }
        }
        if self.is_any(from, |state| state.sealed) {
            return Err(Errno::EPERM);
        }
        let to = if !fixed {
            self.allocate(len)?
        } else if self.of_one_area(to).is_none() {
            return Err(Errno::ENOMEM);
        } else if self.is_any(to, |state| state.sealed) {
            return Err(Errno::EPERM);
        } else {
            to.clone()
        };
        let rest = to.start + kept.len()..to.end;
        for n in self.within(&rest) {
            let state = State { guard: false, ..first.state };
            // SAFETY: clause 1 of what is replaced; nothing refers to a part that is new.
            unsafe { self.parts()[n].become_(state, None) };
        }
        // SAFETY: clause 1 of the old place, and of the new one, unless that is new.
        unsafe {
            self.transfer(&kept, to.start);
            if dontunmap {
                let drop = |part: &mut Part| {
                    part.become_(State { guard: false, ..part.state }, None);
                    Ok(())
                };
                // Holes stay holes, and are no error here.
                let _ = self.walk(from, Holes::Skip, drop);
            } else {
                self.munmap(from)?;
            }
        }
        let at_start = |part: &&Part| part.start == to.start;
        Ok(self.parts().iter().find(at_start).map_or(Word::ZERO, |part| Word::ptr(part.ptr())))
    }

    /// Gives the parts of one range the state and contents of those of another. What is a hole there
    /// stays as it is.
    unsafe fn transfer(&mut self, from: &Range<usize>, to: usize) {
        let mut at = from.start;
        while at < from.end {
            // The largest piece from here on that is within one part in both.
            let end = |memory: &mut Self, addr: usize| {
                memory.split(addr);
                let n = memory.parts().partition_point(|part| part.end <= addr);
                memory.parts()[n].end - addr
            };
            let there = to + (at - from.start);
            let len = end(self, at).min(end(self, there)).min(from.end - at);
            let old = self.within(&(at..at + len)).start;
            let new = self.within(&(there..there + len)).start;
            let old = if new < old { self.within(&(at..at + len)).start } else { old };
            let source = self.parts()[old];
            if source.state.mapped {
                // SAFETY: clause 1 of both places.
                unsafe { self.parts()[new].become_(source.state, source.contents()) };
            }
            at += len;
        }
    }

    /// mm/madvise.c: do_madvise, madvise_vma_behavior, madvise_populate
    unsafe fn madvise(&mut self, range: &Range<usize>, advice: Advice) -> Answer {
        let populates = matches!(advice, Advice::POPULATE_READ | Advice::POPULATE_WRITE);
        let discards = matches!(
            advice,
            Advice::DONTNEED
                | Advice::DONTNEED_LOCKED
                | Advice::FREE
                | Advice::DONTFORK
                | Advice::WIPEONFORK
                | Advice::GUARD_INSTALL
        );
        if matches!(advice, Advice::HWPOISON | Advice::SOFT_OFFLINE) {
            return Err(Errno::EPERM);
        }
        if range.is_empty() {
            return OK;
        }
        self.walk(range, if populates { Holes::End } else { Holes::Skip }, |part| {
            let state = part.state;
            let locked = state.lock != Lock::No;
            if state.sealed && discards && !state.prot.contains(Prot::WRITE) {
                return Err(Errno::EPERM);
            }
            let refused = match advice {
                Advice::DONTNEED
                | Advice::FREE
                | Advice::COLD
                | Advice::PAGEOUT
                | Advice::GUARD_INSTALL
                    if locked =>
                {
                    Some(Errno::EINVAL)
                }
                // There is no file; and there are no huge pages.
                Advice::REMOVE | Advice::COLLAPSE => Some(Errno::EINVAL),
                Advice::POPULATE_READ if !state.prot.contains(Prot::READ) => Some(Errno::EINVAL),
                Advice::POPULATE_WRITE if !state.prot.contains(Prot::WRITE) => Some(Errno::EINVAL),
                _ if populates && state.guard => Some(Errno::EFAULT),
                _ => None,
            };
            if let Some(errno) = refused {
                return Err(errno);
            }
            let dropped = State { resident: false, ..state };
            // SAFETY: clause 1 of what is dropped or guarded; the rest keeps its bytes.
            unsafe {
                match advice {
                    Advice::DONTNEED | Advice::DONTNEED_LOCKED => part.become_(dropped, None),
                    // It may do so at any time, and so at once.
                    Advice::FREE => part.become_(dropped, None),
                    Advice::GUARD_INSTALL => part.become_(State { guard: true, ..dropped }, None),
                    Advice::GUARD_REMOVE => {
                        part.become_(State { guard: false, ..state }, part.contents());
                    }
                    _ if populates => part.state.resident = true,
                    _ => {}
                }
            }
            Ok(())
        })
    }

    /// mm/mincore.c: mincore
    unsafe fn mincore(&mut self, range: &Range<usize>, vec: *mut u8) -> Answer {
        self.walk(range, Holes::End, |part| {
            for addr in (part.start..part.end).step_by(PAGE) {
                let page = (addr - range.start) / PAGE;
                // SAFETY: clause 2.
                unsafe { vec.add(page).write(part.state.resident.into()) };
            }
            Ok(())
        })
    }

    /// mm/mlock.c: apply_vma_lock_flags, __mm_populate
    fn lock(&mut self, range: &Range<usize>, lock: Lock) -> Answer {
        self.walk(range, Holes::End, |part| {
            part.state.lock = lock;
            Ok(())
        })?;
        self.walk(range, Holes::End, |part| match lock {
            Lock::Yes if part.state.hidden() => Err(Errno::ENOMEM),
            Lock::Yes => {
                part.state.resident = true;
                Ok(())
            }
            Lock::OnFault | Lock::No => Ok(()),
        })
    }

    /// mm/mlock.c: apply_mlockall_flags
    fn mlockall(&mut self, flags: MlockAllFlags) -> Answer {
        let on_fault = flags.contains(MlockAllFlags::ONFAULT);
        let lock = if on_fault { Lock::OnFault } else { Lock::Yes };
        self.future = if flags.contains(MlockAllFlags::FUTURE) { lock } else { Lock::No };
        if flags.contains(MlockAllFlags::CURRENT) {
            let mapped = self.parts().iter_mut().filter(|part| part.state.mapped);
            mapped.for_each(|part| part.state.lock = lock);
        }
        OK
    }

    fn munlockall(&mut self) -> Answer {
        self.future = Lock::No;
        self.parts().iter_mut().for_each(|part| part.state.lock = Lock::No);
        OK
    }

    /// mm/mseal.c: do_mseal
    fn mseal(&mut self, range: &Range<usize>) -> Answer {
        self.walk(range, Holes::End, |_| Ok(()))?;
        self.walk(range, Holes::End, |part| {
            part.state.sealed = true;
            Ok(())
        })
    }
}

/// What needs Miri's threads of POSIX: names of threads, and the end of the main thread, before which a
/// destructor of its thread-local data runs.
#[cfg(any(target_os = "linux", target_os = "android"))]
mod posix {
    use super::*;

    unsafe extern "C" {
        fn pthread_key_create(key: *mut u32, end: Option<unsafe extern "C" fn(*mut u8)>) -> i32;
        fn pthread_setspecific(key: u32, value: *const u8) -> i32;
        fn pthread_self() -> usize;
        fn pthread_setname_np(thread: usize, name: *const c_char) -> i32;
    }

    pub(super) fn name_thread(name: &CStr) {
        // SAFETY: a string of at most 15 characters.
        unsafe { pthread_setname_np(pthread_self(), name.as_ptr()) };
    }

    /// Runs before `main`, in its thread.
    #[used]
    #[unsafe(link_section = ".init_array")]
    static AT_START: unsafe extern "C" fn() = at_start;

    static KEY: AtomicUsize = AtomicUsize::new(0);

    unsafe extern "C" fn at_start() {
        let mut key = 0;
        // SAFETY: they are called as POSIX has them.
        unsafe { pthread_key_create(&mut key, Some(at_end)) };
        KEY.store(key as usize, Relaxed);
        again(1);
    }

    fn again(round: usize) {
        // SAFETY: the key exists, and the value is a number.
        unsafe { pthread_setspecific(KEY.load(Relaxed) as u32, ptr::without_provenance(round)) };
    }

    /// Forgets all mappings. Other destructors may still unmap theirs, so this one lets some rounds of
    /// them pass (glibc has four).
    unsafe extern "C" fn at_end(round: *mut u8) {
        if round.addr() < 4 {
            return again(round.addr() + 1);
        }
        MEMORY.with(|memory| {
            let mut n = 0;
            while n < memory.len {
                let area = memory.parts()[n].area;
                if memory.parts().iter().any(|part| part.area == area && part.state.sealed) {
                    n += 1;
                } else {
                    memory.forget(area);
                    n = 0;
                }
            }
            if memory.len == 0 {
                memory.free_table();
            }
        });
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod posix {
    pub(super) fn name_thread(_: &core::ffi::CStr) {}
}
