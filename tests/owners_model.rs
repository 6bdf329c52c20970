//! Random sequences of the owners' methods, beside a model of every page that they own.
//!
//! After each step, every byte of the owners that it was made with is as the model says, and what can't
//! be read, the kernel can't read either. From time to time and at the end: so is every byte of all
//! owners; each page has its protection; and as much is mapped as the owners have, not more. What is
//! sealed stays till the child ends. Each kind of step must have succeeded often enough.
//!
//! `RAWMAP_SEED` is the first sequence's seed (1), `RAWMAP_STEPS` the length of each. Where the kernel
//! places things makes a difference too: under `setarch -R`, it is the same each time.
mod common;
#[path = "differential/source.rs"]
mod source;

use common::*;
use rawmap::{
    Access, Advice, Cursor, DualMapping, Errno, Error, Guarded, MapFlags, MapOptions, Mapping,
    Mode, Prot, Purged, Raw, ReadOnly, Reservation, Ring, Sealed, Stack,
};
use source::{Seeded, Source};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Seek, Write};
use std::mem::{discriminant, replace};
use std::os::fd::AsRawFd;
use std::ptr::null_mut;

/// What a page should be.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Page {
    /// Each of its bytes. Those of a shared file's page, the world knows.
    byte: u8,
    prot: Prot,
    /// Guarded without a change of protection.
    guarded: bool,
    shared: bool,
    /// Which page of a file it is, or, if not shared, was before it was written. Else it is anonymous.
    file: Option<usize>,
}

impl Page {
    fn new(file: Option<usize>, shared: bool, prot: Prot) -> Self {
        let mut page = Self { byte: 0, prot, guarded: false, shared, file };
        page.forget();
        page
    }

    /// What was written to private memory is gone.
    fn forget(&mut self) {
        if !self.shared {
            self.byte = self.file.map_or(0, |n| n as u8 + 1);
        }
    }

    /// The page `n` further in the same mapping, new.
    fn further(self, n: usize) -> Self {
        Self::new(self.file.map(|first| first + n), self.shared, self.prot)
    }

    fn can(self, right: Prot) -> bool {
        self.prot.contains(right) && !self.guarded
    }
}

#[derive(Debug)]
enum Own {
    Bytes(Mapping),
    Read(Mapping<ReadOnly>),
    Raw(Mapping<Raw>),
    Reserved(Reservation),
    Ring(Ring),
    Dual(DualMapping),
    /// With the bytes of its guard.
    Stack(Stack, usize),
    Sealed(Sealed),
    /// Dropped, or in use by the step that is being made.
    Gone,
}

/// `mapping!(own, it, Kind => do)`: a match that does the same for the three types of a mapping; `Kind`
/// is the variant of `Own`. No method can, since they have no type in common.
macro_rules! mapping {
    ($own:expr, $it:ident, $Kind:ident => $do:expr) => {
        match $own {
            Own::Bytes($it) => {
                #[allow(unused_imports)]
                use Own::Bytes as $Kind;
                $do
            }
            Own::Read($it) => {
                #[allow(unused_imports)]
                use Own::Read as $Kind;
                $do
            }
            Own::Raw($it) => {
                #[allow(unused_imports)]
                use Own::Raw as $Kind;
                $do
            }
            other => unreachable!("{other:?} is not a mapping"),
        }
    };
}

impl Own {
    fn take(&mut self) -> Self {
        replace(self, Self::Gone)
    }

    fn is_mapping(&self) -> bool {
        matches!(self, Self::Bytes(_) | Self::Read(_) | Self::Raw(_))
    }

    /// The first byte, and the length in bytes, of each view.
    fn range(&self) -> (*mut u8, usize) {
        match self {
            Self::Bytes(it) => (it.as_ptr(), it.mapped_len()),
            Self::Read(it) => (it.as_ptr(), it.mapped_len()),
            Self::Raw(it) => (it.as_ptr(), it.mapped_len()),
            Self::Reserved(it) => (it.as_ptr(), it.len()),
            Self::Ring(it) => (it.as_ptr(), it.len()),
            Self::Dual(it) => (it.write_ptr(), it.len()),
            Self::Stack(it, guard) => (it.bottom().wrapping_sub(*guard), guard + it.len()),
            Self::Sealed(it) => (it.as_ptr(), it.len()),
            Self::Gone => unreachable!(),
        }
    }

    fn start(&self) -> *mut u8 {
        self.range().0
    }

    /// The second view of the same pages, and what they may be used for there.
    fn second(&self) -> Option<(*mut u8, Prot)> {
        match self {
            Self::Ring(it) => Some((it.as_ptr().wrapping_add(it.len()), RW)),
            Self::Dual(it) => Some((it.run_ptr().cast_mut(), Prot::READ | Prot::EXEC)),
            _ => None,
        }
    }
}

#[derive(Debug)]
struct Owner {
    own: Own,
    pages: Vec<Page>,
    /// The length in bytes that was asked for.
    len: usize,
    /// It was overlaid, so that a purge promises less.
    mixed: bool,
}

impl Owner {
    /// What a purge promises, and whether it frees shared memory itself.
    fn promise(&self) -> (Purged, bool) {
        match self.pages[0] {
            _ if self.mixed => (Purged::Mixed, false),
            Page { file: Some(_), .. } => (Purged::File, false),
            Page { shared, .. } => (Purged::Zeroes, shared),
        }
    }

    /// Each page, where it is, and what it may be used for there; twice if there are two views.
    fn places(&self) -> impl Iterator<Item = (*mut u8, Prot, Page)> {
        let (start, len) = self.own.range();
        let views = [Some((start, None)), self.own.second().map(|(at, prot)| (at, Some(prot)))];
        views.into_iter().flatten().flat_map(move |(start, prot)| {
            let at = move |n| start.wrapping_add(n * (len / self.pages.len()));
            let pages = self.pages.iter().enumerate();
            pages.map(move |(n, page)| (at(n), prot.unwrap_or(page.prot), *page))
        })
    }
}

/// How many owners there are at most, and how many of them are sealed.
const MOST: usize = 32;
const MOST_SEALED: usize = 12;
/// How many pages a new owner has at most.
const PAGES: usize = 12;
const FILE_PAGES: usize = 48;

fn map_file<A: Access>(options: MapOptions<A>, file: &File, offset: usize) -> Mapping<A> {
    // SAFETY: it has these bytes, and only a mapping of raw pointers is of the file that is written.
    unsafe { options.file(file.as_raw_fd(), offset as u64) }.unwrap()
}

/// The name of a step that succeeded.
type Done = Option<&'static str>;

struct World {
    numbers: Seeded,
    owners: Vec<Owner>,
    page: usize,
    /// Nobody writes it; each byte of a page is the page's number and one.
    read_file: File,
    /// It is mapped shared, and written; and what each page's bytes should be.
    file: File,
    file_bytes: [u8; FILE_PAGES],
    /// Whether memory can be mapped a second time.
    has_second: bool,
    /// Whether the kernel does what it says to `MADV_GUARD_INSTALL`, `MADV_REMOVE` and
    /// `MADV_DONTNEED_LOCKED`.
    has_advice: bool,
    has_seal: bool,
    /// How often each step succeeded.
    done: BTreeMap<&'static str, usize>,
}

impl World {
    fn new(seed: u64) -> Self {
        // SAFETY: nothing is sealed.
        let seal = unsafe { rawmap::mseal(null_mut(), 0, Default::default()) };
        Self {
            numbers: Seeded(seed),
            owners: Vec::new(),
            page: page(),
            read_file: file_of_pages(FILE_PAGES),
            file: memfd((FILE_PAGES * page()) as u64),
            file_bytes: [0; FILE_PAGES],
            // QEMU refuses an mremap of length 0.
            has_second: emulator().is_none(),
            // QEMU before 11 does nothing for an advice that it doesn't know, and says that it did.
            has_advice: !qemu_before(11),
            has_seal: seal.is_ok(),
            done: BTreeMap::new(),
        }
    }

    /// The steps that this machine can do.
    fn steps(&self) -> Vec<&'static str> {
        const ALWAYS: &str = "map, map a file, map read-only, map raw, map a shared file, reserve, \
            map a stack, drop, split, join, shrink, grow, grow in place, move, raw parts, \
            purge, fill, ask outside, unlock, populate, protect, overlay, commit, decommit";
        let steps = [
            (true, ALWAYS),
            (self.has_second, "map a ring, map a dual, fill a ring, fill a dual"),
            (self.has_advice, "map shared, lock, guard, unguard, punch a hole"),
            (self.has_seal, "seal"),
        ];
        steps.into_iter().filter(|it| it.0).flat_map(|it| it.1.split(", ")).collect()
    }

    fn below(&mut self, n: usize) -> usize {
        self.numbers.below(n as u64) as usize
    }

    /// A range of at least one of `n` pages: the first and their number.
    fn range(&mut self, n: usize) -> (usize, usize) {
        let first = self.below(n);
        (first, 1 + self.below(n - first))
    }

    fn step(&mut self) {
        let few = self.owners.len() < MOST / 2;
        let (owner, done) = if few || self.owners.len() < MOST && self.numbers.one_in(4) {
            self.map()
        } else {
            let n = self.below(self.owners.len());
            let sealed = matches!(self.owners[n].own, Own::Sealed(_));
            if sealed && !self.numbers.one_in(4) {
                return self.step();
            }
            let mut owner = self.owners.swap_remove(n);
            let mapping = owner.own.is_mapping();
            let done = match self.below(24) {
                0..=16 if sealed => self.fill(&mut owner),
                0 | 1 => {
                    drop(owner.own.take());
                    Some("drop")
                }
                2 | 3 if mapping => self.split(&mut owner),
                4..=6 if mapping => self.join(&mut owner),
                7..=10 if mapping => self.resize(&mut owner),
                11 if mapping => self.move_into(&mut owner),
                12 if mapping => self.seal(&mut owner),
                13 if mapping => self.raw_parts(&mut owner),
                14 | 15 => self.purge(&mut owner),
                16 => self.ask_outside(&mut owner),
                17 | 18 => self.fill(&mut owner),
                _ => self.change(&mut owner),
            };
            (owner, done)
        };
        if let Some(name) = done {
            *self.done.entry(name).or_default() += 1;
        }
        if !matches!(owner.own, Own::Gone) {
            self.owners.push(owner);
        }
    }

    fn map(&mut self) -> (Owner, Done) {
        let n = 1 + self.below(PAGES);
        let len = n * self.page - self.below(self.page);
        let align = self.page << self.below(16).saturating_sub(10);
        // Below another owner, often.
        let beside = self.below(2 * MOST);
        let beside = self.owners.get(beside);
        let hint = beside.map_or(null_mut(), |it| it.own.start().wrapping_sub(n * self.page));
        let options = MapOptions::new(len).hint(hint).align(align);
        let at = self.below(FILE_PAGES - PAGES);
        let (anonymous, shared) = (Page::new(None, false, RW), Page::new(None, true, RW));
        let mut guard = 0;
        let (name, own, first) = match self.below(16) {
            0 => {
                let it = map_file(options, &self.read_file, at * self.page);
                ("map a file", Own::Bytes(it), Page::new(Some(at), false, RW))
            }
            1 => {
                let it = map_file(options.read_only(), &self.read_file, at * self.page);
                ("map read-only", Own::Read(it), Page::new(Some(at), false, Prot::READ))
            }
            2 | 3 => ("map raw", Own::Raw(options.prot(RW).anonymous().unwrap()), anonymous),
            4 | 5 if self.has_advice => {
                ("map shared", Own::Raw(options.shared().anonymous().unwrap()), shared)
            }
            6 | 7 => {
                let it = map_file(options.shared(), &self.file, at * self.page);
                ("map a shared file", Own::Raw(it), Page::new(Some(at), true, RW))
            }
            8 | 9 => {
                let modes = [(Mode::Strict, Prot::NONE), (Mode::Overcommit, RW)];
                let (mode, prot) = self.numbers.pick(&modes);
                let mut cursor = Cursor::below(hint);
                let it = Reservation::aligned(len, align, &mut cursor, mode).unwrap();
                ("reserve", Own::Reserved(it), Page { prot, ..anonymous })
            }
            10 if self.has_second => ("map a ring", Own::Ring(Ring::new(len).unwrap()), shared),
            11 if self.has_second => {
                ("map a dual", Own::Dual(DualMapping::new(len).unwrap()), shared)
            }
            12 => {
                guard = self.below(3);
                let it = Stack::with_guard(len, guard * self.page).unwrap();
                ("map a stack", Own::Stack(it, guard * self.page), anonymous)
            }
            _ => ("map", Own::Bytes(options.anonymous().unwrap()), anonymous),
        };
        let mut pages = vec![Page { prot: Prot::NONE, ..first }; guard];
        pages.extend((0..n).map(|n| first.further(n)));
        (Owner { own, pages, len, mixed: false }, Some(name))
    }

    fn split(&mut self, owner: &mut Owner) -> Done {
        let at = self.below(owner.pages.len() + 1);
        let mid = at * self.page;
        let parts = mapping!(owner.own.take(), it, Kind => {
            it.split_at(mid).map(|it| (Kind(it.0), Kind(it.1))).map_err(|it| (Kind(it.0), it.1))
        });
        match parts {
            Ok((first, own)) => {
                let pages = owner.pages.split_off(at);
                self.owners.push(Owner { own, pages, len: owner.len - mid, mixed: owner.mixed });
                (owner.own, owner.len) = (first, mid);
                Some("split")
            }
            Err((own, error)) => {
                assert!(at == 0 || at == owner.pages.len(), "{error}");
                owner.own = own;
                None
            }
        }
    }

    /// With the one behind it, if there is one; else with any, which is refused.
    fn join(&mut self, owner: &mut Owner) -> Done {
        let (start, len) = owner.own.range();
        let end = start.wrapping_add(len);
        let behind = self.owners.iter().position(|next| next.own.start() == end);
        let n = behind.unwrap_or_else(|| self.below(self.owners.len()));
        let next = &mut self.owners[n];
        if discriminant(&owner.own) != discriminant(&next.own) {
            return None;
        }
        let alike = behind.is_some() && owner.promise() == next.promise();
        let joined = mapping!(owner.own.take(), first, Kind => {
            let Kind(second) = next.own.take() else { unreachable!() };
            first.join(second).map(Kind).map_err(|it| (Kind(it.0), Kind(it.1), it.2))
        });
        match joined {
            Ok(joined) => {
                assert!(alike, "{joined:?}");
                owner.own = joined;
                owner.len = owner.pages.len() * self.page + next.len;
                owner.pages.append(&mut next.pages);
                self.owners.swap_remove(n);
                Some("join")
            }
            Err((first, second, error)) => {
                assert!(!alike && error == Error::NotAdjacent, "{error}");
                (owner.own, next.own) = (first, second);
                None
            }
        }
    }

    /// QEMU takes the first page's protection for that of all, when it moves a mapping.
    fn moves(&self, owner: &Owner) -> bool {
        emulator().is_none() || owner.pages.iter().all(|page| page.prot == owner.pages[0].prot)
    }

    fn resize(&mut self, owner: &mut Owner) -> Done {
        let now = owner.pages.len();
        let to = (now + 4).saturating_sub(self.below(8)).clamp(1, 2 * PAGES);
        let len = to * self.page - self.below(self.page);
        let last = owner.pages[now - 1];
        // Behind the end of what there is it is SIGBUS.
        let rest = if last.shared { 0 } else { usize::MAX };
        let rest = last.file.map_or(rest, |n| FILE_PAGES - 1 - n);
        if to > now && (to - now > rest || !self.moves(owner)) {
            return None;
        }
        let in_place = self.numbers.one_in(2);
        let (name, result) = mapping!(&mut owner.own, it, _Kind => match in_place {
            _ if to < now => ("shrink", it.shrink(len)),
            true => ("grow in place", it.grow_in_place(len)),
            false => ("grow", it.grow(len)),
        });
        match result.map_err(|error| (error.errno(), name, error)) {
            Ok(()) => {
                owner.len = len;
                owner.pages.truncate(to);
                owner.pages.extend((now..to).map(|n| last.further(n - now + 1)));
                return (to != now).then_some(name);
            }
            Err((_, _, Error::TooShort { .. })) => assert!(to == now && len < owner.len),
            Err((Errno::ENOMEM, "grow in place", _)) => {}
            // The kernel holds it in several parts, of which the model doesn't know.
            Err((Errno::EFAULT, "grow in place" | "grow", _)) => {}
            Err((_, name, error)) => panic!("{name}: {error}"),
        }
        None
    }

    /// Over the first raw mapping that is as long.
    fn move_into(&mut self, owner: &mut Owner) -> Done {
        let n = self.owners.iter().position(|place| {
            matches!(place.own, Own::Raw(_)) && place.pages.len() == owner.pages.len()
        })?;
        if !self.moves(owner) {
            return None;
        }
        let place = &mut self.owners[n].own;
        let at = place.start();
        let Own::Raw(raw) = place.take() else { unreachable!() };
        let moved = mapping!(owner.own.take(), it, Kind => {
            it.move_into(raw).map(Kind).map_err(|it| (Kind(it.0), it.1, it.2))
        });
        match moved {
            Ok(own) => {
                assert_eq!(own.start(), at, "{own:?}");
                owner.own = own;
                self.owners.swap_remove(n);
                Some("move")
            }
            Err((own, raw, error)) => {
                // In several parts, as in resize; and so the move was not tried.
                assert_eq!(error.errno(), Errno::EFAULT, "{error}");
                (owner.own, *place) = (own, Own::Raw(raw.expect("the place comes back")));
                None
            }
        }
    }

    /// The same again by its address and length.
    fn raw_parts(&mut self, owner: &mut Owner) -> Done {
        if owner.promise() != (Purged::Zeroes, false) {
            return None;
        }
        owner.own = mapping!(owner.own.take(), it, Kind => {
            let (start, len) = it.into_raw();
            owner.len = len;
            // SAFETY: given up just now; private anonymous memory.
            Kind(unsafe { Mapping::from_raw(start, len) }.unwrap())
        });
        Some("raw parts")
    }

    /// All bytes of the page are this one now.
    fn write(&mut self, page: &mut Page, byte: u8) {
        match page.file {
            Some(n) if page.shared => self.file_bytes[n] = byte,
            _ => page.byte = byte,
        }
    }

    fn purge(&mut self, owner: &mut Owner) -> Done {
        let (first, n) = self.range(owner.pages.len());
        let (offset, len) = (first * self.page, n * self.page - self.below(self.page));
        let (promised, frees) = owner.promise();
        let pages = &mut owner.pages[first..first + n];
        // Freeing shared memory needs the right to write.
        if frees && pages.iter().any(|page| page.prot != RW) {
            return None;
        }
        match &mut owner.own {
            Own::Reserved(it) => it.purge(offset, len).unwrap(),
            own if !own.is_mapping() => return None,
            own => mapping!(own, it, _Kind => assert_eq!(it.purge(offset, len), Ok(promised))),
        }
        for page in pages {
            page.forget();
            if frees {
                self.write(page, 0);
            }
        }
        Some("purge")
    }

    fn fill(&mut self, owner: &mut Owner) -> Done {
        let count = owner.pages.len();
        let (first, mut n) = self.range(count);
        let byte = self.numbers.next() as u8;
        let name = match &mut owner.own {
            Own::Ring(it) => {
                n = 1 + self.below(count);
                it.slice_mut(first * self.page, n * self.page).fill(byte);
                "fill a ring"
            }
            Own::Dual(it) => {
                it.write(first * self.page, &vec![byte; n * self.page]).unwrap();
                "fill a dual"
            }
            _ => "fill",
        };
        let mut done = None;
        for at in (first..first + n).map(|at| at % count) {
            let page = &mut owner.pages[at];
            if page.can(RW) {
                self.write(page, byte);
                done = Some(name);
                if name == "fill" {
                    let start = owner.own.start().wrapping_add(at * self.page);
                    // SAFETY: a page of the owner's, which can be written.
                    unsafe { start.write_bytes(byte, self.page) };
                }
            }
        }
        done
    }

    /// Ranges outside of the owner are refused, and nothing happens.
    fn ask_outside(&mut self, owner: &mut Owner) -> Done {
        let (size, page) = (owner.own.range().1, self.page);
        let (offset, len) = [
            (size, 1),
            (size - page, page + 1),
            (size + page, 0),
            (page, usize::MAX),
            (page, usize::MAX - page + 1),
            (usize::MAX & !(page - 1), page),
            (usize::MAX, usize::MAX),
        ][self.below(7)];
        let mut refused = match &mut owner.own {
            Own::Raw(it) => vec![
                it.protect(offset, len, Prot::NONE),
                it.guard(offset, len).map(drop),
                it.punch_hole(offset, len),
                // SAFETY: no file.
                unsafe { it.overlay(offset, len, RW, ANON, -1, 0) },
            ],
            Own::Reserved(it) => {
                vec![it.commit(offset, len), it.decommit(offset, len), it.purge(offset, len)]
            }
            Own::Dual(it) => vec![it.sync(offset, len)],
            Own::Bytes(_) | Own::Read(_) => vec![],
            _ => return None,
        };
        if owner.own.is_mapping() {
            mapping!(&mut owner.own, it, _Kind => {
                refused.push(it.purge(offset, len).map(drop));
                refused.extend([it.lock(offset, len), it.unlock(offset, len)]);
            });
        }
        for refused in refused {
            assert_eq!(refused, Err(Error::OutOfRange { offset, len, size }));
        }
        Some("ask outside")
    }

    fn seal(&mut self, owner: &mut Owner) -> Done {
        let sealed = self.owners.iter().filter(|it| matches!(it.own, Own::Sealed(_)));
        if !self.has_seal || sealed.count() >= MOST_SEALED {
            return None;
        }
        let sealed = mapping!(owner.own.take(), it, _Kind => it.seal().map_err(|it| it.1));
        owner.own = Own::Sealed(sealed.unwrap());
        Some("seal")
    }

    /// What this kind of owner can.
    fn change(&mut self, owner: &mut Owner) -> Done {
        let (first, n) = self.range(owner.pages.len());
        let (offset, len) = (first * self.page, n * self.page);
        let pages = &mut owner.pages[first..first + n];
        // Of several kinds of memory, the kernel may guard some and then refuse.
        let kind = |page: &Page| (page.shared, page.file.is_some());
        let can_guard = self.has_advice && pages.iter().all(|page| kind(page) == kind(&pages[0]));
        let can_punch = self.has_advice && pages.iter().all(|page| page.shared && page.prot == RW);
        let (name, result) = match (&mut owner.own, self.below(8)) {
            (Own::Bytes(it), 0 | 1) if self.has_advice => ("lock", it.lock(offset, len)),
            (Own::Bytes(it), 2..=4) => ("unlock", it.unlock(offset, len)),
            (Own::Bytes(it), _) => ("populate", it.populate_write(offset, len)),
            (Own::Read(it), 0 | 1) if self.has_advice => ("lock", it.lock(offset, len)),
            (Own::Read(it), 2..=4) => ("unlock", it.unlock(offset, len)),
            (Own::Read(it), _) => ("populate", it.populate_read(offset, len)),
            (Own::Raw(it), 0 | 1) => {
                let prot = self.numbers.pick(&[Prot::NONE, Prot::READ, RW, RW]);
                pages.iter_mut().for_each(|page| page.prot = prot);
                ("protect", it.protect(offset, len, prot))
            }
            (Own::Raw(it), 2) if can_guard => {
                let guarded = it.guard(offset, len);
                for page in pages {
                    page.guarded = guarded == Ok(Guarded::Installed);
                    if page.guarded {
                        page.forget();
                    } else {
                        page.prot = Prot::NONE;
                    }
                }
                ("guard", guarded.map(drop))
            }
            (Own::Raw(it), 3 | 4) if can_guard => {
                // Where the kernel has no guards, or not for such memory, it was protected.
                let had = it.advise(offset, len, Advice::GUARD_REMOVE);
                for page in pages {
                    page.guarded = false;
                    page.prot = if had.is_ok() { page.prot } else { RW };
                }
                ("unguard", had.or_else(|_| it.protect(offset, len, RW)))
            }
            (Own::Raw(it), 5 | 6) if can_punch => {
                pages.iter_mut().for_each(|page| self.write(page, 0));
                ("punch a hole", it.punch_hole(offset, len))
            }
            (Own::Raw(it), 5 | 6) => {
                owner.mixed = true;
                pages.fill(Page::new(None, false, RW));
                // SAFETY: no file.
                ("overlay", unsafe { it.overlay(offset, len, RW, ANON, -1, 0) })
            }
            (Own::Raw(it), _) if n <= FILE_PAGES => {
                owner.mixed = true;
                let at = self.below(FILE_PAGES - n + 1);
                let new = Page::new(Some(at), true, RW);
                pages.iter_mut().enumerate().for_each(|(n, page)| *page = new.further(n));
                let (fd, at) = (self.file.as_raw_fd(), (at * self.page) as u64);
                // SAFETY: the descriptor is open, and the file refuses nothing.
                ("overlay", unsafe { it.overlay(offset, len, RW, MapFlags::SHARED, fd, at) })
            }
            (Own::Reserved(it), 0..=4) => {
                pages.iter_mut().for_each(|page| page.prot = RW);
                ("commit", it.commit(offset, len))
            }
            (Own::Reserved(it), _) => {
                let prot = if it.mode() == Mode::Strict { Prot::NONE } else { RW };
                pages.fill(Page::new(None, false, prot));
                ("decommit", it.decommit(offset, len))
            }
            _ => return self.fill(owner),
        };
        result.unwrap();
        Some(name)
    }

    /// Every byte of these owners.
    fn check_bytes(&self, owners: &[Owner]) {
        for owner in owners {
            assert_eq!(owner.own.range().1, owner.pages.len() * self.page, "{owner:?}");
            if owner.own.is_mapping() {
                mapping!(&owner.own, it, _Kind => assert_eq!(it.len(), owner.len, "{owner:?}"));
            }
            for (at, _, page) in owner.places() {
                let byte = match page.file {
                    Some(n) if page.shared => self.file_bytes[n],
                    _ => page.byte,
                };
                if page.can(Prot::READ) {
                    // SAFETY: the owner's, and readable; nobody writes it now.
                    let bytes = unsafe { std::slice::from_raw_parts(at, self.page) };
                    // Each is as the one before it.
                    let same = bytes[1..] == bytes[..self.page - 1];
                    assert!(bytes[0] == byte && same, "{at:?}: {}.., in {owner:?}", bytes[0]);
                } else {
                    // SAFETY: the kernel reads it as a path, or answers EFAULT.
                    unsafe { libc::access(at.cast(), libc::F_OK) };
                    let errno = std::io::Error::last_os_error().raw_os_error();
                    assert_eq!(errno, Some(libc::EFAULT), "{at:?} is readable, in {owner:?}");
                }
            }
        }
    }

    /// Every byte, each page's protection, and how much is mapped.
    fn check_all(&self, space: &mut Space, before: usize) {
        self.check_bytes(&self.owners);
        let text = std::fs::read_to_string("/proc/self/maps").unwrap();
        let mut maps = Vec::new();
        for line in text.lines() {
            let mut words = line.split(' ');
            let (from, to) = words.next().unwrap().split_once('-').unwrap();
            let parse = |hex| usize::from_str_radix(hex, 16).unwrap();
            maps.push((parse(from), parse(to), words.next().unwrap()));
        }
        let mut mapped = 0;
        for owner in &self.owners {
            for (at, prot, page) in owner.places() {
                mapped += self.page;
                let next = maps.partition_point(|(_, to, _)| *to <= at.addr());
                let (from, _, rights) = maps[next];
                assert!(from <= at.addr(), "{at:?} is not mapped, in {owner:?}");
                let right = |bit, letter| if prot.contains(bit) { letter } else { '-' };
                let [r, w] = [right(Prot::READ, 'r'), right(Prot::WRITE, 'w')];
                let [x, s] = [right(Prot::EXEC, 'x'), if page.shared { 's' } else { 'p' }];
                assert_eq!(rights, format!("{r}{w}{x}{s}"), "{at:?} in {owner:?}");
            }
        }
        space.look();
        assert_eq!(space.bytes() - before, mapped, "bytes mapped, of {:?}", self.owners);
    }
}

fn sequence(n: u64) {
    let number = |name, default| std::env::var(name).map_or(default, |n| n.parse().unwrap());
    let seed = number("RAWMAP_SEED", 1) + n;
    // Large pages take longer to compare, and an emulator to do it.
    let usual = if page() > 1 << 14 { 2500 } else { 10_000 };
    let steps = number("RAWMAP_STEPS", if emulator().is_some() { 2000 } else { usual }) as usize;
    if emulator().is_some() {
        departure!("mremap of length 0 is refused: no Ring and no DualMapping is made");
    }
    if qemu_before(11) {
        departure!("new advice is not taken: nothing is guarded, locked or punched");
    }
    // For the parent to print: of the lock, the child may have the copy that another thread held.
    let mut counts = memfd(0);
    println!("RAWMAP_SEED={seed}, {steps} steps");
    alone(|| {
        std::panic::set_hook(Box::new(move |panic| {
            say("in a child", "a step failed", format_args!("RAWMAP_SEED={seed}: {panic}"));
        }));
        let mut world = World::new(seed);
        let mut space = Space::new();
        let before = space.bytes();
        for step in 1..=steps {
            world.step();
            // A step changes the last two at most.
            world.check_bytes(&world.owners[world.owners.len().saturating_sub(2)..]);
            if step % (world.page / 256) == 0 {
                world.check_all(&mut space, before);
            }
        }
        world.owners.retain(|owner| matches!(owner.own, Own::Sealed(_)));
        world.check_all(&mut space, before);
        write!(&counts, "{:?}", world.done).unwrap();
        let names = world.steps();
        for name in &names {
            let done = world.done.get(name).copied().unwrap_or(0);
            assert!(done >= (steps / 1500).min(MOST_SEALED), "{done} times: {name}");
        }
        assert!(world.done.keys().all(|name| names.contains(name)), "each step is listed");
    });
    counts.rewind().unwrap();
    println!("RAWMAP_SEED={seed}: {}", std::io::read_to_string(counts).unwrap());
}

#[test]
fn owners_are_as_their_model_in_two_sequences() {
    need_lockable!(1 << 20);
    sequence(0);
    sequence(1);
}

#[test]
fn owners_are_as_their_model_in_two_more_sequences() {
    need_lockable!(1 << 20);
    sequence(2);
    sequence(3);
}

#[test]
fn the_sequences_seal_what_they_own() {
    if !World::new(0).has_seal {
        assert!(emulator().is_some() || kernel() < (6, 10) || mseal_is_filtered());
        skip!("the kernel has no mseal, or a filter hides it");
    }
}
