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

use super::laws::SHAPES;
use super::source::Source;
use rawmap::{
    Advice, Call, Errno, Limits, MapFlags, MlockAllFlags, MlockFlags, MremapFlags, MsealFlags,
    MsyncFlags, Operation, PageSize, Prot, Reason, Word,
};
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering::Relaxed};

/// Pages of the arena.
const PAGES: usize = 32;
/// Pages of the file.
const FILE_PAGES: usize = 10;
/// Calls of a sequence at most.
const CALLS: usize = 48;

#[derive(Clone, Copy, PartialEq, Debug)]
enum Lock {
    No,
    OnFault,
    Yes,
}

/// A mapped page.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Page {
    /// Pages with the same number are in the same mapping, as the kernel divides them. Those with
    /// different numbers may be: it joins mappings where it can.
    mapping: u32,
    prot: Prot,
    shared: bool,
    droppable: bool,
    /// May be made writable: is not a shared mapping of a file that is open for reading.
    may_write: bool,
    lock: Lock,
    sealed: bool,
    /// `MADV_GUARD_INSTALL`.
    guard: bool,
    /// Which page of which object it shows: of the file, or of shared memory.
    object: Option<(usize, usize)>,
    /// What a private page's own copy holds.
    own: Option<u8>,
    /// The kernel may drop the copy at any time.
    loose: bool,
}

/// What a look at a page finds.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Seen {
    Fault,
    Byte(u8),
    /// One of two: the kernel may have dropped the page.
    Either(u8, u8),
    /// The hardware decides whether it can be read.
    Unknown,
}

impl Seen {
    fn allows(self, got: Option<u8>) -> bool {
        match self {
            Self::Fault => got.is_none(),
            Self::Byte(byte) => got == Some(byte),
            Self::Either(a, b) => got == Some(a) || got == Some(b),
            Self::Unknown => true,
        }
    }
}

/// What a call must answer.
#[derive(Clone, PartialEq, Debug)]
pub enum Answer {
    Is(Result<usize, Errno>),
    /// An address outside the arena, and what its pages hold. They are unmapped at once.
    Elsewhere(Vec<Seen>),
}

const OK: Answer = Answer::Is(Ok(0));
const fn fails(errno: Errno) -> Answer {
    Answer::Is(Err(errno))
}

/// A step of a plan. Pages are counted from the start of the arena.
#[derive(Clone, PartialEq, Debug)]
pub enum Step {
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

/// What the model takes for granted of the kernel.
#[derive(Clone, Copy)]
struct Kernel {
    limits: Limits,
    version: (u32, u32),
    guards: bool,
    droppable: bool,
    /// `mlockall(MCL_CURRENT)` is within the limit.
    lock_all: bool,
    emulated: bool,
}

struct Model {
    kernel: Kernel,
    page: usize,
    arena: usize,
    file: RawFd,
    read_only: RawFd,
    pages: [Option<Page>; PAGES],
    /// The first byte of each page of each object. The file is the first.
    objects: Vec<Vec<u8>>,
    /// How later mappings are locked (`MCL_FUTURE`).
    future: Lock,
    mappings: u32,
}

impl Model {
    /// What a page holds; `None` where there is nothing to be had.
    fn holds(&self, page: &Page) -> Option<u8> {
        match (page.guard, page.own, page.object) {
            (true, ..) => None,
            (_, Some(byte), _) => Some(byte),
            (.., Some((object, n))) => self.objects[object].get(n).copied(),
            (.., None) => Some(0),
        }
    }

    fn sees(&self, page: Option<&Page>) -> Seen {
        let Some(page) = page else { return Seen::Fault };
        match self.holds(page) {
            None => Seen::Fault,
            Some(_) if page.prot == Prot::NONE => Seen::Fault,
            Some(_) if !page.prot.contains(Prot::READ) => Seen::Unknown,
            Some(byte) if page.loose => Seen::Either(byte, 0),
            Some(byte) => Seen::Byte(byte),
        }
    }

    fn can_write(&self, n: usize) -> bool {
        let Some(page) = self.pages[n] else { return false };
        page.prot.contains(Prot::WRITE) && self.holds(&page).is_some()
    }

    fn write(&mut self, n: usize, byte: u8) {
        let Some(page) = &mut self.pages[n] else { return };
        match page.object {
            Some((object, n)) if page.shared => self.objects[object][n] = byte,
            _ => (page.own, page.loose) = (Some(byte), page.droppable),
        }
    }

    /// A mapping that goes over this boundary becomes two.
    fn split(&mut self, at: usize) {
        if at == 0 || at >= PAGES {
            return;
        }
        if let (Some(before), Some(after)) = (self.pages[at - 1], self.pages[at])
            && before.mapping == after.mapping
        {
            self.mappings += 1;
            let number = self.mappings;
            let rest = self.pages[at..].iter_mut().map_while(Option::as_mut);
            rest.take_while(|page| page.mapping == after.mapping)
                .for_each(|page| page.mapping = number);
        }
    }

    /// Whether the pages are one mapping; `None` where that is not known.
    fn one_mapping(&self, range: Range<usize>) -> Option<bool> {
        let pages = &self.pages[range];
        let mut certain = true;
        for pair in pages.windows(2) {
            let (Some(a), Some(b)) = (pair[0], pair[1]) else { return Some(false) };
            let kind = |p: Page| (p.prot, p.shared, p.droppable, p.may_write, p.lock, p.sealed);
            let next = a.object.map(|(object, n)| (object, n + 1));
            if kind(a) != kind(b) || next != b.object {
                return Some(false);
            }
            certain &= a.mapping == b.mapping;
        }
        if pages.contains(&None) {
            return Some(false);
        }
        certain.then_some(true)
    }

    /// The pages of a range of bytes, if they are in the arena.
    fn range(&self, addr: *mut u8, len: usize) -> Option<Range<usize>> {
        let offset = addr.addr().checked_sub(self.arena)?;
        let start = offset / self.page;
        let end = offset.checked_add(len)?.div_ceil(self.page);
        (end <= PAGES).then_some(start..end.max(start))
    }

    fn sealed(&self, range: Range<usize>) -> bool {
        self.pages[range].iter().flatten().any(|page| page.sealed)
    }

    fn free(&self, range: Range<usize>) -> bool {
        self.pages[range].iter().all(Option::is_none)
    }

    fn hole(&self, range: Range<usize>) -> bool {
        self.pages[range].contains(&None)
    }

    /// Makes pages resident as locking does: private writable ones get their own copy. False where
    /// a page can't be had; those behind it are not reached.
    fn populate(&mut self, range: Range<usize>) -> bool {
        for n in range {
            let Some(page) = self.pages[n] else { return false };
            if page.lock == Lock::OnFault {
                continue;
            }
            if page.prot == Prot::NONE || self.holds(&page).is_none() {
                return false;
            }
            self.copy(n);
        }
        true
    }

    /// Gives a private writable page its own copy, as a write does.
    fn copy(&mut self, n: usize) {
        let Some(page) = self.pages[n] else { return };
        if !page.shared && page.prot.contains(Prot::WRITE) && page.object.is_some() {
            let byte = self.holds(&page);
            self.pages[n].as_mut().unwrap().own = byte;
        }
    }

    /// What the call answers, and its effect; `None` where the model can't say, and nothing changes.
    fn make(&mut self, call: Call) -> Option<Answer> {
        if self.kernel.emulated && self.departs(call) {
            return None;
        }
        if let Err(refusal) = call.check(&self.kernel.limits) {
            // Where check needs to know the state, it is for the rules below; they take good words.
            let plain = !matches!(refusal.reason(), Reason::BeyondAddressSpace { .. })
                && !matches!(refusal.reason(), Reason::RangeWraps { .. })
                && (refusal.earlier().is_empty() || call.number() != rawmap::arch::nr::MREMAP);
            // mm/mmap.c: do_mmap looks whether the place is taken before it looks at the sharing.
            let taken = matches!(call.operation(), Operation::Mmap { addr, len, flags, .. }
                if flags.contains(MapFlags::FIXED_NOREPLACE)
                    && refusal.earlier().contains(&Errno::EEXIST)
                    && self.range(addr, len).is_some_and(|range| !self.free(range)));
            return plain.then(|| fails(if taken { Errno::EEXIST } else { refusal.errno() }));
        }
        match call.operation() {
            Operation::Mmap { addr, len, prot, flags, fd, offset } => {
                self.mmap(addr, len, prot, flags, fd, offset)
            }
            Operation::Mremap { old, old_len, new_len, flags, new_addr } => {
                self.mremap(old, old_len, new_len, flags, new_addr)
            }
            Operation::Munmap { addr, len } => {
                let range = self.ranged(addr, len)?;
                Some(if self.sealed(range.clone()) {
                    fails(Errno::EPERM)
                } else {
                    self.pages[range].fill(None);
                    OK
                })
            }
            Operation::Mprotect { addr, len, prot } => {
                let range = self.ranged(addr, len)?;
                self.mprotect(range, prot)
            }
            Operation::Msync { addr, len, flags } => {
                let range = self.ranged(addr, len)?;
                Some(self.msync(range, flags))
            }
            Operation::Madvise { addr, len, advice } => {
                let range = self.ranged(addr, len)?;
                self.madvise(range, advice)
            }
            Operation::Mincore { addr, len, .. } => {
                let range = self.ranged(addr, len)?;
                Some(if self.hole(range) { fails(Errno::ENOMEM) } else { OK })
            }
            Operation::Mlock { addr, len } => {
                let range = self.ranged(addr, len)?;
                self.lock(range, Lock::Yes)
            }
            Operation::Mlock2 { addr, len, flags } => {
                let range = self.ranged(addr, len)?;
                self.lock(range, if flags.is_empty() { Lock::Yes } else { Lock::OnFault })
            }
            Operation::Munlock { addr, len } => {
                let range = self.ranged(addr, len)?;
                self.lock(range, Lock::No)
            }
            Operation::Mlockall { flags } => self.mlockall(flags),
            Operation::Munlockall => {
                self.future = Lock::No;
                self.lock_all(Lock::No);
                Some(OK)
            }
            Operation::Mseal { addr, len, .. } => {
                let range = self.ranged(addr, len)?;
                if self.hole(range.clone()) {
                    return Some(fails(Errno::ENOMEM));
                }
                self.pages[range].iter_mut().flatten().for_each(|page| page.sealed = true);
                Some(OK)
            }
        }
    }

    /// Whether QEMU's user mode answers this otherwise than Linux (tests/differential lists how): then
    /// the model can't say what comes.
    fn departs(&self, call: Call) -> bool {
        match call.operation() {
            _ if call.check(&self.kernel.limits).is_err() => true,
            Operation::Mseal { .. } | Operation::Mlock2 { .. } | Operation::Mlockall { .. } => true,
            Operation::Madvise { .. } => true,
            // Its own look at write-only memory, for a system call, finds that it can't be read.
            Operation::Mmap { prot, .. } | Operation::Mprotect { prot, .. }
                if prot.contains(Prot::WRITE) && !prot.contains(Prot::READ) =>
            {
                true
            }
            // It doesn't note what mprotect did before it came to a hole or to what is refused.
            Operation::Mprotect { addr, len, .. } => {
                let good = |page: &Option<Page>| page.is_some_and(|page| page.may_write);
                self.range(addr, len).is_none_or(|range| !self.pages[range].iter().all(good))
            }
            Operation::Mremap { old, old_len, flags, .. } => {
                let one = self.range(old, old_len).map(|from| self.one_mapping(from));
                // With MAYMOVE alone it always moves.
                let moves = flags == MremapFlags::MAYMOVE;
                let dontunmap = flags.contains(MremapFlags::DONTUNMAP);
                old_len == 0 || one != Some(Some(true)) || moves || dontunmap
            }
            _ => false,
        }
    }

    /// The pages of a call's range, where mappings now begin and end.
    fn ranged(&mut self, addr: *mut u8, len: usize) -> Option<Range<usize>> {
        let range = self.range(addr, len)?;
        self.split(range.start);
        self.split(range.end);
        Some(range)
    }

    /// mm/mmap.c: do_mmap
    fn mmap(
        &mut self,
        addr: *mut u8,
        len: usize,
        prot: Prot,
        flags: MapFlags,
        fd: RawFd,
        offset: u64,
    ) -> Option<Answer> {
        let range = self.range(addr, len)?;
        let free = self.free(range.clone());
        let droppable = flags.sharing() == MapFlags::DROPPABLE;
        // A droppable mapping that MCL_FUTURE locks: versions differ.
        if droppable && (!self.kernel.droppable || self.future != Lock::No) {
            return None;
        }
        if flags.contains(MapFlags::FIXED_NOREPLACE) {
            if !free {
                return Some(fails(Errno::EEXIST));
            }
        } else if !flags.contains(MapFlags::FIXED) && (!free || addr.addr() % self.page != 0) {
            return None; // A hint that can't be taken as it is.
        }
        let shared = flags.sharing() == MapFlags::SHARED;
        let read_only = shared && fd == self.read_only && !flags.contains(MapFlags::ANONYMOUS);
        if read_only && prot.contains(Prot::WRITE) {
            return Some(fails(Errno::EACCES));
        }
        self.split(range.start);
        self.split(range.end);
        if self.sealed(range.clone()) {
            return Some(fails(Errno::EPERM));
        }
        let object = if !flags.contains(MapFlags::ANONYMOUS) {
            Some((0, offset as usize / self.page))
        } else if shared {
            self.objects.push(vec![0; range.len()]);
            Some((self.objects.len() - 1, 0))
        } else {
            None
        };
        let locked = flags.contains(MapFlags::LOCKED);
        self.mappings += 1;
        let first = Page {
            mapping: self.mappings,
            prot: prot & (Prot::READ | Prot::WRITE | Prot::EXEC),
            shared,
            droppable,
            may_write: !read_only,
            // mm/mmap.c: MAP_LOCKED adds to what MCL_FUTURE says.
            lock: if locked && self.future == Lock::No { Lock::Yes } else { self.future },
            sealed: false,
            guard: false,
            object: None,
            own: None,
            loose: false,
        };
        for (n, page) in self.pages[range.clone()].iter_mut().enumerate() {
            *page = Some(Page { object: object.map(|(object, at)| (object, at + n)), ..first });
        }
        let populates = flags.contains(MapFlags::POPULATE) && !flags.contains(MapFlags::NONBLOCK);
        if populates || first.lock != Lock::No {
            self.populate(range);
        }
        Some(Answer::Is(Ok(addr.addr())))
    }

    /// mm/mprotect.c: do_mprotect_pkey
    fn mprotect(&mut self, range: Range<usize>, prot: Prot) -> Option<Answer> {
        let prot = prot & (Prot::READ | Prot::WRITE | Prot::EXEC);
        let copied = |page: &Page| page.lock == Lock::Yes && !page.shared;
        let out_of_reach = |page: &Page| copied(page) && self.holds(page).is_none();
        if self.pages[range.clone()].iter().flatten().any(out_of_reach) {
            return None; // How far the copying gets depends on where mappings end.
        }
        for n in range {
            let Some(page) = self.pages[n] else { return Some(fails(Errno::ENOMEM)) };
            if prot.contains(Prot::WRITE) && !page.may_write {
                return Some(fails(Errno::EACCES));
            }
            if page.sealed {
                return Some(fails(Errno::EPERM));
            }
            self.pages[n] = Some(Page { prot, ..page });
            if copied(&page) && !page.prot.contains(Prot::WRITE) {
                self.copy(n);
            }
        }
        Some(OK)
    }

    /// mm/msync.c: msync
    fn msync(&self, range: Range<usize>, flags: MsyncFlags) -> Answer {
        let mut answer = OK;
        for page in &self.pages[range] {
            match page {
                None if flags == MsyncFlags::ASYNC => return fails(Errno::ENOMEM),
                None => answer = fails(Errno::ENOMEM),
                Some(page) if page.lock != Lock::No && flags.contains(MsyncFlags::INVALIDATE) => {
                    return fails(Errno::EBUSY);
                }
                Some(_) => {}
            }
        }
        answer
    }

    /// mm/madvise.c: madvise_walk_vmas, madvise_vma_behavior, madvise_populate
    fn madvise(&mut self, range: Range<usize>, advice: Advice) -> Option<Answer> {
        if range.is_empty() {
            return Some(OK);
        }
        let (mut answer, guards) = (OK, self.kernel.guards);
        let populate = matches!(advice, Advice::POPULATE_READ | Advice::POPULATE_WRITE);
        if populate && self.kernel.version < (6, 9) && self.hole(range.clone()) {
            return None; // Whether it ends at the hole: stable versions differ.
        }
        for n in range {
            let Some(page) = self.pages[n] else {
                answer = fails(Errno::ENOMEM);
                if populate {
                    break;
                }
                continue;
            };
            let anonymous = page.object.is_none();
            let locked = page.lock != Lock::No;
            let discards = matches!(
                advice,
                Advice::DONTNEED
                    | Advice::DONTNEED_LOCKED
                    | Advice::FREE
                    | Advice::REMOVE
                    | Advice::DONTFORK
                    | Advice::WIPEONFORK
                    | Advice::GUARD_INSTALL
            );
            if page.sealed && discards && anonymous && !page.prot.contains(Prot::WRITE) {
                return Some(fails(Errno::EPERM));
            }
            let refused = match advice {
                Advice::NORMAL | Advice::RANDOM | Advice::SEQUENTIAL => None,
                Advice::DONTFORK | Advice::DOFORK | Advice::DONTDUMP => None,
                Advice::DONTNEED | Advice::COLD | Advice::PAGEOUT => {
                    locked.then_some(Errno::EINVAL)
                }
                Advice::DONTNEED_LOCKED => None,
                Advice::FREE => (locked || !anonymous).then_some(Errno::EINVAL),
                Advice::REMOVE if locked || anonymous => Some(Errno::EINVAL),
                Advice::REMOVE => (!page.shared || !page.may_write).then_some(Errno::EACCES),
                Advice::WIPEONFORK => (!anonymous).then_some(Errno::EINVAL),
                Advice::KEEPONFORK | Advice::DODUMP => page.droppable.then_some(Errno::EINVAL),
                Advice::GUARD_INSTALL if guards => locked.then_some(Errno::EINVAL),
                Advice::GUARD_REMOVE if guards => None,
                Advice::POPULATE_READ if !page.prot.contains(Prot::READ) => Some(Errno::EINVAL),
                Advice::POPULATE_WRITE if !page.prot.contains(Prot::WRITE) => Some(Errno::EINVAL),
                _ if populate => self.holds(&page).is_none().then_some(Errno::EFAULT),
                _ => return None,
            };
            if let Some(errno) = refused {
                return Some(fails(errno));
            }
            let page = self.pages[n].as_mut().unwrap();
            match advice {
                Advice::DONTNEED | Advice::DONTNEED_LOCKED => page.own = None,
                Advice::FREE => page.loose = true,
                Advice::GUARD_INSTALL => (page.own, page.guard) = (None, true),
                Advice::GUARD_REMOVE => page.guard = false,
                Advice::POPULATE_WRITE => self.copy(n),
                Advice::REMOVE => {
                    let (object, at) = page.object.unwrap();
                    self.objects[object].get_mut(at).into_iter().for_each(|byte| *byte = 0);
                }
                _ => {}
            }
        }
        Some(answer)
    }

    /// mm/mlock.c: apply_vma_lock_flags, do_mlock
    fn lock(&mut self, range: Range<usize>, lock: Lock) -> Option<Answer> {
        // Whether execute-only memory can be made resident, protection keys decide.
        let execute_only = |page: &Page| page.prot == Prot::EXEC;
        if lock != Lock::No && self.pages[range.clone()].iter().flatten().any(execute_only) {
            return None;
        }
        for n in range.clone() {
            let Some(page) = &mut self.pages[n] else { return Some(fails(Errno::ENOMEM)) };
            if !page.droppable {
                page.lock = lock;
            }
        }
        // Droppable pages are not locked, and so are populated by a lock on fault too.
        let populated = lock == Lock::No || self.populate(range);
        Some(if populated { OK } else { fails(Errno::ENOMEM) })
    }

    /// mm/mlock.c: apply_mlockall_flags
    fn mlockall(&mut self, flags: MlockAllFlags) -> Option<Answer> {
        let on_fault = flags.contains(MlockAllFlags::ONFAULT);
        let lock = if on_fault { Lock::OnFault } else { Lock::Yes };
        let current = flags.contains(MlockAllFlags::CURRENT);
        // Without ONFAULT it makes the whole process resident.
        if !self.kernel.lock_all || current && !on_fault {
            return None;
        }
        self.future = if flags.contains(MlockAllFlags::FUTURE) { lock } else { Lock::No };
        if current {
            self.lock_all(lock);
        }
        Some(OK)
    }

    fn lock_all(&mut self, lock: Lock) {
        for page in self.pages.iter_mut().flatten().filter(|page| !page.droppable) {
            page.lock = lock;
        }
    }

    /// mm/mremap.c: do_mremap
    fn mremap(
        &mut self,
        old: *mut u8,
        old_len: usize,
        new_len: usize,
        flags: MremapFlags,
        new_addr: *mut u8,
    ) -> Option<Answer> {
        let from = self.range(old, old_len)?;
        let len = new_len.div_ceil(self.page);
        let (fixed, may_move) =
            (flags.contains(MremapFlags::FIXED), flags.contains(MremapFlags::MAYMOVE));
        let dontunmap = flags.contains(MremapFlags::DONTUNMAP);
        let to = if fixed { Some(self.range(new_addr, new_len)?) } else { None };
        let modern = self.kernel.version >= (6, 17);
        if dontunmap && !fixed && !new_addr.is_null() || len > PAGES {
            return None;
        }
        // Up to 6.16 the rules came in another order. What they share is enough there.
        let seals = self.sealed(from.clone()) || to.clone().is_some_and(|to| self.sealed(to));
        if !modern && (seals || from.is_empty() || self.one_mapping(from.clone()) != Some(true)) {
            return None;
        }
        let Some(first) = self.pages.get(from.start).copied().flatten() else {
            return Some(fails(Errno::EFAULT));
        };
        let shrinks = len < from.len();
        // The part that must be one mapping, where that matters.
        let kept = from.start..from.start + from.len().min(len);
        let moves_only = fixed && len == from.len();
        let grows = len > from.len();
        let one = if from.is_empty() { Some(true) } else { self.one_mapping(kept.clone()) };
        if (fixed || dontunmap) && seals && (one != Some(true) || shrinks) {
            return None; // How far it gets depends on where mappings end.
        }
        if first.sealed {
            return Some(fails(Errno::EPERM));
        }
        if from.is_empty() && !first.shared {
            return Some(fails(Errno::EINVAL));
        }
        if (grows || (fixed || dontunmap) && !moves_only) && one? == false {
            return Some(fails(Errno::EFAULT));
        }
        let locked = self.pages[from.clone()].iter().flatten().any(|page| page.lock != Lock::No);
        if dontunmap && locked {
            return None; // It unlocks the whole mapping.
        }
        let tail = from.start + len..from.end;
        // Without a move: in place, or not at all.
        if !fixed && !dontunmap {
            if shrinks {
                self.split(tail.start);
                self.split(tail.end);
                if self.sealed(tail.clone()) {
                    return Some(fails(Errno::EPERM));
                }
                self.pages[tail].fill(None);
            }
            if !grows {
                return Some(Answer::Is(Ok(old.addr())));
            }
            let more = from.end..from.start + len;
            // `from` may be empty: then the mapping goes on behind it.
            let room = more.end <= PAGES && self.free(more.clone());
            if room && !from.is_empty() {
                let pages = self.grown(first, len);
                self.pages[more.clone()].copy_from_slice(&pages[from.len()..]);
                if first.lock != Lock::No {
                    self.populate(more);
                }
                return Some(Answer::Is(Ok(old.addr())));
            }
            if !may_move {
                return Some(fails(Errno::ENOMEM));
            }
        }
        self.split(from.start);
        self.split(from.end);
        let Some(to) = to else {
            // The kernel chooses the place. It must not choose a hole of the arena.
            let hole = self.pages.split(Option::is_some).map(<[_]>::len).max().unwrap_or(0);
            if hole >= len {
                return None;
            }
            let moved = self.moved(from.clone(), first, len);
            let seen = moved.iter().map(|page| self.sees(page.as_ref())).collect();
            self.leave(from, dontunmap);
            return Some(Answer::Elsewhere(seen));
        };
        self.split(to.start);
        self.split(to.end);
        if self.sealed(to.clone()) {
            return Some(fails(Errno::EPERM));
        }
        if from.is_empty() && to.contains(&from.start) {
            // It has just been replaced.
            self.pages[to].fill(None);
            return Some(fails(Errno::EFAULT));
        }
        if moves_only {
            // Holes behind the first page stay holes, and what lies where they would go stays.
            for n in 0..len {
                if let Some(page) = self.pages[from.start + n] {
                    self.pages[to.start + n] = Some(page);
                }
            }
            self.renumber(to.clone());
        } else {
            let moved = self.moved(from.clone(), first, len);
            self.pages[to.clone()].copy_from_slice(&moved);
        }
        self.leave(from.clone(), dontunmap);
        if grows && first.lock != Lock::No {
            self.populate(to.start + from.len()..to.end);
        }
        Some(Answer::Is(Ok(new_addr.addr())))
    }

    /// So many pages of a mapping that begins with `first`, without copies.
    fn grown(&self, first: Page, len: usize) -> Vec<Option<Page>> {
        let object = |n| first.object.map(|(object, at)| (object, at + n));
        let bare = Page { own: None, loose: false, guard: false, ..first };
        (0..len).map(|n| Some(Page { object: object(n), ..bare })).collect()
    }

    /// The pages of one mapping where they go, as many as they are there.
    fn moved(&mut self, from: Range<usize>, first: Page, len: usize) -> Vec<Option<Page>> {
        self.mappings += 1;
        let mut pages = self.grown(Page { mapping: self.mappings, ..first }, len);
        for (new, old) in pages.iter_mut().zip(&self.pages[from]) {
            let (new, old) = (new.as_mut().unwrap(), old.as_ref().unwrap());
            (new.own, new.loose, new.guard) = (old.own, old.loose, old.guard);
        }
        pages
    }

    /// What is left of pages that were moved away.
    fn leave(&mut self, from: Range<usize>, mapped: bool) {
        for page in &mut self.pages[from] {
            *page = match *page {
                Some(page) if mapped => {
                    Some(Page { own: None, loose: false, guard: false, ..page })
                }
                _ => None,
            };
        }
    }

    /// Gives each mapping of the range a number of its own.
    fn renumber(&mut self, range: Range<usize>) {
        let mut last = None;
        for page in &mut self.pages[range] {
            let before = last;
            last = page.map(|page| page.mapping);
            let Some(page) = page else { continue };
            if before != last {
                self.mappings += 1;
            }
            page.mapping = self.mappings;
        }
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
        let limits = Limits::find().unwrap().kernel(version.0 as u16, version.1 as u16);
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
            limits,
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
            file: self.file.as_raw_fd(),
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
        let pages = |source: &mut dyn FnMut(u64) -> u64, at| match source(16) {
            0 => 0,
            1 => (1 + source(24) as usize).min(PAGES - at),
            _ => (1 + source(8) as usize).min(PAGES - at),
        };
        let n = pages(&mut |below| source.below(below), at);
        let ragged = |source: &mut dyn FnMut(u64) -> u64, n: usize| match source(8) {
            0 if n > 0 => n * page - source(page as u64) as usize,
            _ => n * page,
        };
        let len = ragged(&mut |below| source.below(below), n);
        let addr = match source.below(32) {
            0 => self.arena.wrapping_add(at * page + 1),
            _ => self.arena.wrapping_add(at * page),
        };
        let prot = |source: &mut dyn FnMut(u64) -> u64| match source(3) {
            0 => Prot::from_bits(source(8) as usize),
            _ => Prot::READ | Prot::WRITE,
        };
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
                let prot = prot(&mut |below| source.below(below));
                Call::mmap(addr, len, prot, flags, fd.as_raw_fd(), offset as u64)
            }
            5 => Call::munmap(addr, len),
            6 | 7 => Call::mprotect(addr, len, prot(&mut |below| source.below(below))),
            8 => Call::msync(addr, len, MsyncFlags::from_bits(source.below(8) as i32)),
            9..=11 => {
                let new = source.below(PAGES as u64) as usize;
                let new_n = match source.below(2) {
                    0 => n,
                    _ => pages(&mut |below| source.below(below), new),
                };
                let new_len = ragged(&mut |below| source.below(below), new_n);
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
                libc::pwrite(file, (&raw const *&file_byte(n)).cast(), 1, (n * self.page) as i64);
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
        let word = got.map_or_else(Errno::encode, |word| word);
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
