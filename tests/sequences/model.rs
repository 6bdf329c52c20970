//! The model: what each page of an arena is, and what a call answers and changes.

use rawmap::{
    Advice, Call, Errno, MapFlags, MlockAllFlags, MremapFlags, MsyncFlags, Operation, Prot, Reason,
    Word,
};
use std::ops::Range;
use std::os::fd::RawFd;

/// Pages of the arena.
pub(super) const PAGES: usize = 32;

#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Lock {
    No,
    OnFault,
    Yes,
}

/// A mapped page.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Page {
    /// Pages with the same number are in the same mapping, as the kernel divides them. Those with
    /// different numbers may be: it joins mappings where it can.
    pub(super) mapping: u32,
    pub(super) prot: Prot,
    pub(super) shared: bool,
    pub(super) droppable: bool,
    /// May be made writable: is not a shared mapping of a file that is open for reading.
    pub(super) may_write: bool,
    pub(super) lock: Lock,
    pub(super) sealed: bool,
    /// `MADV_GUARD_INSTALL`.
    pub(super) guard: bool,
    /// Which page of which object it shows: of the file, or of shared memory.
    pub(super) object: Option<(usize, usize)>,
    /// What a private page's own copy holds.
    pub(super) own: Option<u8>,
    /// The kernel may drop the copy at any time.
    pub(super) loose: bool,
}

/// What a look at a page finds.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Seen {
    Fault,
    Byte(u8),
    /// One of two: the kernel may have dropped the page.
    Either(u8, u8),
    /// The hardware decides whether it can be read.
    Unknown,
}

impl Seen {
    pub(super) fn allows(self, got: Option<u8>) -> bool {
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
pub(super) enum Answer {
    Is(Result<usize, Errno>),
    /// An address outside the arena, and what its pages hold. They are unmapped at once.
    Elsewhere(Vec<Seen>),
}

const OK: Answer = Answer::Is(Ok(0));
const fn fails(errno: Errno) -> Answer {
    Answer::Is(Err(errno))
}

/// What the model takes for granted of the kernel.
#[derive(Clone, Copy)]
pub(super) struct Kernel {
    pub(super) known: rawmap::Kernel,
    pub(super) version: (u32, u32),
    pub(super) guards: bool,
    pub(super) droppable: bool,
    /// `mlockall(MCL_CURRENT)` is within the limit.
    pub(super) lock_all: bool,
    pub(super) emulated: bool,
}

impl Kernel {
    /// The protection that a mapping has of which this was asked for. On riscv64, since Linux 7, what
    /// can be written can be read (`arch_calc_vm_prot_bits` in `arch/riscv/include/asm/mman.h`).
    fn held(&self, prot: Prot) -> Prot {
        let writes_read = cfg!(target_arch = "riscv64") && !self.emulated && self.version >= (7, 0);
        let prot = prot & (Prot::READ | Prot::WRITE | Prot::EXEC);
        if writes_read && prot.contains(Prot::WRITE) { prot | Prot::READ } else { prot }
    }
}

pub(super) struct Model {
    pub(super) kernel: Kernel,
    pub(super) page: usize,
    pub(super) arena: usize,
    pub(super) read_only: RawFd,
    pub(super) pages: [Option<Page>; PAGES],
    /// The first byte of each page of each object. The file is the first.
    pub(super) objects: Vec<Vec<u8>>,
    /// How later mappings are locked (`MCL_FUTURE`).
    pub(super) future: Lock,
    pub(super) mappings: u32,
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

    pub(super) fn sees(&self, page: Option<&Page>) -> Seen {
        let Some(page) = page else { return Seen::Fault };
        match self.holds(page) {
            None => Seen::Fault,
            Some(_) if page.prot == Prot::NONE => Seen::Fault,
            Some(_) if !page.prot.contains(Prot::READ) => Seen::Unknown,
            Some(byte) if page.loose => Seen::Either(byte, 0),
            Some(byte) => Seen::Byte(byte),
        }
    }

    pub(super) fn can_write(&self, n: usize) -> bool {
        let Some(page) = self.pages[n] else { return false };
        page.prot.contains(Prot::WRITE) && self.holds(&page).is_some()
    }

    pub(super) fn write(&mut self, n: usize, byte: u8) {
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
    fn range(&self, addr: Word, len: usize) -> Option<Range<usize>> {
        let offset = addr.bits().checked_sub(self.arena)?;
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
    pub(super) fn make(&mut self, call: Call) -> Option<Answer> {
        if self.kernel.emulated && self.departs(call) {
            return None;
        }
        if let Err(refusal) = call.check(&self.kernel.known) {
            // Where check needs to know the state, it is for the rules below; they take good words.
            let plain = !matches!(refusal.reason(), Reason::BeyondAddressSpace { .. })
                && !matches!(refusal.reason(), Reason::RangeWraps { .. })
                && (refusal.earlier().is_empty() || call.number() != rawmap::arch::nr::MREMAP);
            // mm/mmap.c: do_mmap looks whether the place is taken before it looks at the sharing.
            let taken = matches!(call.operation(), Operation::Mmap { addr, len, flags, .. }
                if flags.contains(MapFlags::FIXED_NOREPLACE)
                    && refusal.earlier().contains(Errno::EEXIST)
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
            // Operation is non-exhaustive.
            other => panic!("the model doesn't know {other:?}"),
        }
    }

    /// Whether QEMU's user mode answers this otherwise than Linux (tests/differential lists how): then
    /// the model can't say what comes.
    fn departs(&self, call: Call) -> bool {
        match call.operation() {
            _ if call.check(&self.kernel.known).is_err() => true,
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
    fn ranged(&mut self, addr: Word, len: usize) -> Option<Range<usize>> {
        let range = self.range(addr, len)?;
        self.split(range.start);
        self.split(range.end);
        Some(range)
    }

    /// mm/mmap.c: do_mmap
    fn mmap(
        &mut self,
        addr: Word,
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
        } else if !flags.contains(MapFlags::FIXED) && (!free || addr.bits() & (self.page - 1) != 0)
        {
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
            prot: self.kernel.held(prot),
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
        Some(Answer::Is(Ok(addr.bits())))
    }

    /// mm/mprotect.c: do_mprotect_pkey
    fn mprotect(&mut self, range: Range<usize>, prot: Prot) -> Option<Answer> {
        let prot = self.kernel.held(prot);
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
        old: Word,
        old_len: usize,
        new_len: usize,
        flags: MremapFlags,
        new_addr: Word,
    ) -> Option<Answer> {
        let from = self.range(old, old_len)?;
        let len = new_len.div_ceil(self.page);
        let (fixed, may_move) =
            (flags.contains(MremapFlags::FIXED), flags.contains(MremapFlags::MAYMOVE));
        let dontunmap = flags.contains(MremapFlags::DONTUNMAP);
        let to = if fixed { Some(self.range(new_addr, new_len)?) } else { None };
        let modern = self.kernel.version >= (6, 17);
        if dontunmap && !fixed && new_addr != Word::ZERO || len > PAGES {
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
        if (grows || (fixed || dontunmap) && !moves_only) && !one? {
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
                return Some(Answer::Is(Ok(old.bits())));
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
                return Some(Answer::Is(Ok(old.bits())));
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
        Some(Answer::Is(Ok(new_addr.bits())))
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
