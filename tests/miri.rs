//! Random calls on private memory, answered by the running kernel or, under Miri, by `arch/miri.rs`: in
//! the same sequences, both must do what the model of `tests/sequences` says.
mod common;
#[path = "sequences/model.rs"]
#[allow(dead_code)] // What it knows of files.
mod model;
#[path = "differential/source.rs"]
mod source;

use model::{Answer, Kernel, Lock, Model, PAGES, Page, Seen};
use rawmap::*;
use source::{Seeded, Source};
use std::ptr::null_mut;

/// Calls of a sequence.
const CALLS: usize = 40;

/// Where calls are made: pages of one mapping, and one more on each side, which stay.
struct Arena {
    start: *mut u8,
    page: usize,
    /// What mincore writes to.
    vec: [u8; PAGES],
}

impl Arena {
    fn new() -> Self {
        let page = common::page();
        let len = (PAGES + 2) * page;
        // SAFETY: a new mapping.
        let all = unsafe { mmap_anonymous(null_mut(), len, Prot::NONE, MapFlags::PRIVATE) };
        Self { start: all.unwrap().wrapping_add(page), page, vec: [0; PAGES] }
    }

    fn at(&self, page: usize) -> *mut u8 {
        self.start.wrapping_add(page * self.page)
    }

    fn model(&self) -> Model {
        // The kernel that the model under Miri is of.
        let version = if cfg!(miri) { (6, 18) } else { common::kernel() };
        let known = rawmap::Kernel::find().unwrap().version(version.0 as u16, version.1 as u16);
        // The whole of a process may be more than an ordinary user may lock.
        let lock_all = cfg!(miri)
            || common::in_child(|| {
                let flags = MlockAllFlags::CURRENT | MlockAllFlags::ONFAULT;
                // SAFETY: the child locks itself.
                i32::from(unsafe { mlockall(flags) }.is_err())
            }) == common::OK;
        let kernel = Kernel {
            known,
            version,
            guards: version >= (6, 15),
            droppable: false,
            lock_all,
            emulated: false,
        };
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
        Model {
            kernel,
            page: self.page,
            arena: self.start.addr(),
            read_only: NO_FD,
            pages: [Some(none); PAGES],
            objects: Vec::new(),
            future: Lock::No,
            mappings: 0,
        }
    }

    /// A call, mostly with good arguments.
    fn call(&mut self, source: &mut impl Source) -> Call {
        let kind = source.below(20);
        let [(at, n), (to, m)] = [(); 2].map(|()| {
            let at = source.below(PAGES as u64) as usize;
            let most = if source.one_in(16) { 25 } else { 9 };
            (at, (source.below(most) as usize).min(PAGES - at))
        });
        let ragged = if source.one_in(8) && n > 0 { source.below(4096) as usize } else { 0 };
        let (addr, len) = (self.at(at), n * self.page - ragged);
        let addr = if source.one_in(32) { addr.wrapping_add(1) } else { addr };
        let prot = match source.below(3) {
            0 => Prot::from_bits(source.below(8) as usize),
            _ => common::RW,
        };
        match kind {
            0..=3 => {
                let place = source.pick(&[
                    MapFlags::FIXED,
                    MapFlags::FIXED,
                    MapFlags::FIXED_NOREPLACE,
                    MapFlags::FILE,
                ]);
                let extra = source.pick(&[MapFlags::FILE, MapFlags::NORESERVE, MapFlags::LOCKED]);
                Call::mmap_anonymous(addr, len, prot, MapFlags::PRIVATE | place | extra)
            }
            4 | 5 => Call::munmap(addr, len),
            6..=8 => Call::mprotect(addr, len, prot),
            9 => Call::msync(addr, len, MsyncFlags::from_bits(source.below(8) as i32)),
            10..=12 => {
                let (fixed, may_move) = (MremapFlags::FIXED, MremapFlags::MAYMOVE);
                let flags = source.pick(&[
                    MremapFlags::default(),
                    may_move,
                    may_move | fixed,
                    may_move | fixed,
                    may_move | MremapFlags::DONTUNMAP,
                    may_move | fixed | MremapFlags::DONTUNMAP,
                ]);
                let new_len = if source.one_in(2) { len } else { m * self.page };
                let new_addr = if flags.contains(fixed) { self.at(to) } else { null_mut() };
                let new_len = new_len.min((PAGES - to) * self.page);
                Call::mremap(addr, len, new_len, flags, new_addr)
            }
            13..=15 => Call::madvise(
                addr,
                len,
                source.pick(&[
                    Advice::NORMAL,
                    Advice::DONTNEED,
                    Advice::DONTNEED,
                    Advice::DONTNEED_LOCKED,
                    Advice::FREE,
                    Advice::COLD,
                    Advice::WIPEONFORK,
                    Advice::DONTDUMP,
                    Advice::REMOVE,
                    Advice::POPULATE_READ,
                    Advice::POPULATE_WRITE,
                    Advice::GUARD_INSTALL,
                    Advice::GUARD_INSTALL,
                    Advice::GUARD_REMOVE,
                ]),
            ),
            16 => Call::mincore(addr, len, self.vec.as_mut_ptr()),
            17 => match source.below(3) {
                0 => Call::mlock(addr, len),
                1 => Call::mlock2(addr, len, MlockFlags::from_bits(source.below(2) as i32)),
                _ => Call::mlockall(MlockAllFlags::from_bits(source.below(8) as i32)),
            },
            18 => match source.below(3) {
                0 => Call::munlockall(),
                _ => Call::munlock(addr, len),
            },
            // Sealing has no way back, so it is rare.
            _ if source.one_in(4) => Call::mseal(addr, len, MsealFlags::default()),
            _ => Call::munmap(addr, len),
        }
    }

    /// Makes a sequence of calls; prints what each answers.
    fn play(&mut self, source: &mut impl Source) {
        let mut model = self.model();
        for n in 0..CALLS {
            let call = self.call(source);
            let Some(answer) = model.make(call) else { continue };
            // SAFETY: it acts on the arena, which nothing refers to.
            let got = unsafe { call.make() };
            let shown = call.args()[0].bits().wrapping_sub(self.start.addr()) / self.page;
            match answer {
                Answer::Is(expected) => {
                    assert_eq!(got.map(Word::bits), expected, "call {n}, page {shown}: {call}");
                }
                Answer::Elsewhere(pages) => {
                    let moved = got.unwrap().as_ptr();
                    for (n, seen) in pages.iter().enumerate() {
                        self.look(moved.wrapping_add(n * self.page), *seen, &call);
                    }
                    // SAFETY: nobody has it but us.
                    unsafe { munmap(moved, pages.len() * self.page) }.unwrap();
                }
            }
            for n in 0..PAGES {
                self.look(self.at(n), model.sees(model.pages[n].as_ref()), &call);
            }
            let n = source.below(PAGES as u64) as usize;
            if model.can_write(n) {
                let byte = 0x80 + source.below(100) as u8;
                // SAFETY: the page can be written, and nothing refers to it.
                unsafe { self.at(n).write(byte) };
                model.write(n, byte);
            }
        }
    }

    /// Looks at a page, unless to look would be to die.
    fn look(&self, at: *mut u8, seen: Seen, after: &Call) {
        if let Seen::Byte(_) | Seen::Either(..) = seen {
            // SAFETY: it can be read.
            let got = unsafe { at.read() };
            assert!(seen.allows(Some(got)), "{at:p} is {got:#x}, not {seen:x?}, after {after}");
        }
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        let len = (PAGES + 2) * self.page;
        // SAFETY: nothing refers to it. Sealed memory stays.
        unsafe {
            munlockall().unwrap();
            let _ = munmap(self.start.wrapping_sub(self.page), len);
        }
    }
}

#[test]
fn sequences_of_calls_do_what_the_model_says() {
    if common::emulator().is_some() {
        return skip!("QEMU's user mode answers otherwise; tests/sequences.rs says how");
    }
    if !cfg!(miri) {
        need_lockable!(1 << 20);
    }
    for seed in 0..if cfg!(miri) { 6 } else { common::number("RAWMAP_SEQUENCES", 2000) } {
        println!("seed {seed}");
        let play = || Arena::new().play(&mut Seeded(seed));
        if cfg!(miri) {
            play();
        } else {
            common::alone(play);
        }
    }
}
