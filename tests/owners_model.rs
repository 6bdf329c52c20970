//! Random sequences of the owners' methods, beside a model of every byte that they own.
//!
//! After each step, every byte of the owners that it was made with is as the model says, and what can't
//! be read, the kernel can't read either. From time to time and at the end: so is every byte of all
//! owners; each page has its protection; and as much is mapped as the owners have, not more. What is
//! sealed stays till the child ends. Each kind of step must have succeeded often enough. Ranges are of
//! any bytes; where a method takes whole pages only, it must refuse the others, and do nothing.
//!
//! `RAWMAP_SEED` is the first sequence's seed (1), `RAWMAP_STEPS` the least length of each. Where the kernel
//! places things makes a difference too: under `setarch -R`, it is the same each time.
mod common;
#[path = "differential/source.rs"]
mod source;

use common::*;
use rawmap::{
    Advice, Backing, DualMapping, Errno, Error, Fd, Guarded, MapFlags, MapOptions, Mapping, Mode,
    NO_FD, Prot, Purged, Raw, ReadOnly, Reservation, Ring, Sealed, Sharing, Stack,
};
use source::{Seeded, Source};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Seek, Write};
use std::mem::{replace, take};
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};

/// What a page should be.
#[derive(Clone, PartialEq)]
struct Page {
    /// Its bytes. Those of a shared file's page, the world knows.
    bytes: Vec<u8>,
    prot: Prot,
    /// Guarded without a change of protection.
    guarded: bool,
    locked: bool,
    shared: bool,
    /// Which page of a file it is, or, if not shared, was before it was written. Else it is anonymous.
    file: Option<usize>,
}

impl std::fmt::Debug for Page {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { bytes, prot, guarded, locked, shared, file } = self;
        write!(f, "{}.. {prot:?}", bytes[0])?;
        write!(f, " guarded: {guarded} locked: {locked} shared: {shared} file: {file:?}")
    }
}

impl Page {
    fn new(file: Option<usize>, shared: bool, prot: Prot) -> Self {
        let bytes = vec![file.map_or(0, |n| n as u8 + 1); page()];
        Self { bytes, prot, guarded: false, locked: false, shared, file }
    }

    /// What was written to private memory is gone.
    fn forget(&mut self) {
        if !self.shared {
            let byte = self.file.map_or(0, |n| n as u8 + 1);
            self.bytes.fill(byte);
        }
    }

    /// The page `n` further in the same mapping, new.
    fn further(&self, n: usize) -> Self {
        let new = Self::new(self.file.map(|first| first + n), self.shared, self.prot);
        Self { locked: self.locked, ..new }
    }

    fn can(&self, right: Prot) -> bool {
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
    Stack(Stack),
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

    /// The first byte that is lent, and the length in bytes, of each view.
    fn range(&self) -> (*mut u8, usize) {
        match self {
            Self::Bytes(it) => (it.as_ptr().cast_mut(), it.len()),
            Self::Read(it) => (it.as_ptr().cast_mut(), it.len()),
            Self::Raw(it) => (it.as_ptr(), it.len()),
            Self::Reserved(it) => (it.as_ptr(), it.len()),
            Self::Ring(it) => (it.as_ptr(), it.len()),
            Self::Dual(it) => (it.write_ptr(), it.len()),
            Self::Stack(it) => (it.guard().start, it.top().addr() - it.guard().start.addr()),
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
    /// Where in its first page the first byte lies.
    head: usize,
    /// The length in bytes that was asked for.
    len: usize,
    /// It was overlaid, so that its pages may be of several kinds.
    mixed: bool,
}

impl Owner {
    fn base(&self) -> *mut u8 {
        self.own.start().wrapping_sub(self.head)
    }

    /// The pages that hold any of these bytes.
    fn outwards(&self, bytes: &Range<usize>) -> Range<usize> {
        if bytes.is_empty() {
            return 0..0;
        }
        (self.head + bytes.start) / page()..(self.head + bytes.end).div_ceil(page())
    }

    /// The pages of these bytes, if they are all of each page that belongs to the owner.
    fn exactly(&self, bytes: &Range<usize>) -> Option<Range<usize>> {
        let whole = |at| at == 0 || at == self.len || (self.head + at) % page() == 0;
        (whole(bytes.start) && whole(bytes.end)).then(|| self.outwards(bytes))
    }

    /// Each page, where it is, and what it may be used for there; twice if there are two views.
    fn places(&self) -> impl Iterator<Item = (*mut u8, Prot, &Page)> {
        let views =
            [Some((self.base(), None)), self.own.second().map(|(at, prot)| (at, Some(prot)))];
        views.into_iter().flatten().flat_map(move |(start, prot)| {
            let at = move |n| start.wrapping_add(n * page());
            let pages = self.pages.iter().enumerate();
            pages.map(move |(n, page)| (at(n), prot.unwrap_or(page.prot), page))
        })
    }
}

/// How many owners there are at most, and how many of them are sealed.
const MOST: usize = 32;
const MOST_SEALED: usize = 12;
/// How many pages a new owner has at most.
const PAGES: usize = 12;
const FILE_PAGES: usize = 48;

fn page() -> usize {
    rawmap::page_size().unwrap().bytes()
}

fn fd(file: &File) -> Fd<'_> {
    // SAFETY: the file stays open as long as it is borrowed.
    unsafe { Fd::borrow_raw(file.as_raw_fd()) }
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
    file_bytes: Vec<Vec<u8>>,
    /// Whether memory can be mapped a second time.
    has_second: bool,
    /// Whether the kernel does what it says to `MADV_GUARD_INSTALL`, `MADV_REMOVE` and
    /// `MADV_DONTNEED_LOCKED`.
    has_advice: bool,
    has_seal: bool,
    has_names: bool,
    /// How often each step succeeded.
    done: BTreeMap<&'static str, usize>,
}

impl World {
    fn new(seed: u64) -> Self {
        // SAFETY: nothing is sealed.
        let seal = unsafe { rawmap::mseal(null_mut(), 0, Default::default()) };
        let named = MapOptions::new(1).anonymous().unwrap().name(.., c"model");
        Self {
            numbers: Seeded(seed),
            owners: Vec::new(),
            page: page(),
            read_file: file_of_pages(FILE_PAGES),
            file: memfd((FILE_PAGES * page()) as u64),
            file_bytes: vec![vec![0; page()]; FILE_PAGES],
            // QEMU refuses an mremap of length 0; the owners take a file then.
            has_second: emulator().is_none(),
            // QEMU before 11 does nothing for an advice that it doesn't know, and says that it did.
            has_advice: !qemu_before(11),
            has_seal: seal.is_ok(),
            has_names: named.is_ok(),
            done: BTreeMap::new(),
        }
    }

    /// The steps that this machine can do.
    fn steps(&self) -> Vec<&'static str> {
        const ALWAYS: &str = "map, map a file, map read-only, map raw, map a shared file, reserve, \
            map a stack, drop, split, join, shrink, grow, grow in place, place, raw parts, \
            make read-only, make writable, make raw, make a slice, make a reservation, \
            make a mapping, split a reservation, join a reservation, \
            purge, fill, ask outside, unlock, populate, protect, overlay, commit, decommit";
        let steps = [
            (true, ALWAYS),
            (self.has_second, "map a ring, map a dual, fill a ring, fill a dual"),
            (self.has_advice, "map shared, lock, guard, unguard, punch a hole"),
            (self.has_seal, "seal"),
            (self.has_names, "name"),
        ];
        steps.into_iter().filter(|it| it.0).flat_map(|it| it.1.split(", ")).collect()
    }

    /// Those of them that were done too seldom for a sequence of `steps`.
    fn rare(&self, steps: usize) -> Vec<&'static str> {
        let enough = (steps / 1500).min(MOST_SEALED);
        let seldom = |name: &&str| self.done.get(name).copied().unwrap_or(0) < enough;
        self.steps().into_iter().filter(seldom).collect()
    }

    fn below(&mut self, n: usize) -> usize {
        self.numbers.below(n as u64) as usize
    }

    /// A range of an owner's bytes, whose ends are often where pages begin. It may be empty.
    fn bytes(&mut self, owner: &Owner) -> Range<usize> {
        let mut end = |owner: &Owner| match self.below(8) {
            0 => 0,
            1 => owner.len,
            2 => self.below(owner.len + 1),
            _ => {
                let page = self.below(owner.pages.len() + 1) * self.page;
                page.saturating_sub(owner.head).min(owner.len)
            }
        };
        let (a, b) = (end(owner), end(owner));
        a.min(b)..a.max(b)
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
            let reserved = matches!(owner.own, Own::Reserved(_));
            let done = match self.below(28) {
                0..=16 if sealed => self.fill(&mut owner),
                0 | 1 => {
                    drop(owner.own.take());
                    Some("drop")
                }
                2 | 3 if mapping => self.split(&mut owner),
                4..=6 if mapping => self.join(&mut owner),
                7..=9 if mapping => self.resize(&mut owner),
                10 | 11 if mapping => self.place(&mut owner),
                12 if mapping => self.seal(&mut owner),
                13 if mapping => self.raw_parts(&mut owner),
                18..=20 if mapping => self.convert(&mut owner),
                2 | 3 | 13 if reserved => self.divide(&mut owner),
                4..=9 if reserved => self.unite(&mut owner),
                10 | 11 if reserved => self.becomes_mapping(&mut owner),
                14 | 15 => self.purge(&mut owner),
                16 => self.ask_outside(&mut owner),
                17 => self.fill(&mut owner),
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
        let mut len = n * self.page - self.below(self.page);
        let align = self.page << self.below(16).saturating_sub(10);
        let options = MapOptions::new(len).align(align);
        let at = self.below(FILE_PAGES - PAGES);
        let (anonymous, shared) = (Page::new(None, false, RW), Page::new(None, true, RW));
        // Files begin anywhere in a page.
        let head = if self.numbers.one_in(2) { self.below(len) % self.page } else { 0 };
        let of_file = MapOptions::new(len - head).align(align);
        let offset = (at * self.page + head) as u64;
        let (mut guard, mut first_byte) = (0, 0);
        let (name, own, first) = match self.below(16) {
            0 => {
                // SAFETY: it has these bytes, and nobody writes them.
                let it = unsafe { of_file.file_copy(fd(&self.read_file), offset) }.unwrap();
                first_byte = head;
                ("map a file", Own::Bytes(it), Page::new(Some(at), false, RW))
            }
            1 => {
                // SAFETY: as above.
                let it = unsafe { of_file.file(fd(&self.read_file), offset) }.unwrap();
                first_byte = head;
                ("map read-only", Own::Read(it), Page::new(Some(at), false, Prot::READ))
            }
            2 | 3 => ("map raw", Own::Raw(options.raw(RW, Sharing::Private).unwrap()), anonymous),
            4 | 5 if self.has_advice => {
                ("map shared", Own::Raw(options.raw(RW, Sharing::Shared).unwrap()), shared)
            }
            6 | 7 => {
                let it = of_file.file_raw(fd(&self.file), offset, RW, Sharing::Shared).unwrap();
                first_byte = head;
                ("map a shared file", Own::Raw(it), Page::new(Some(at), true, RW))
            }
            8..=10 => {
                let modes = [(Mode::Strict, Prot::NONE), (Mode::Overcommit, RW)];
                let (mode, prot) = self.numbers.pick(&modes);
                let it = Reservation::aligned(len, align, mode).unwrap();
                len = n * self.page;
                ("reserve", Own::Reserved(it), Page { prot, ..anonymous })
            }
            11 if self.has_second => ("map a ring", Own::Ring(Ring::new(len).unwrap()), shared),
            12 if self.has_second => {
                ("map a dual", Own::Dual(DualMapping::new(len).unwrap()), shared)
            }
            13 => {
                guard = self.below(3);
                let it = Stack::with_guard(len, guard * self.page).unwrap();
                ("map a stack", Own::Stack(it), anonymous)
            }
            _ => ("map", Own::Bytes(options.anonymous().unwrap()), anonymous),
        };
        if first_byte != 0 {
            len -= head;
        }
        let mut pages = vec![Page { prot: Prot::NONE, ..first.clone() }; guard];
        pages.extend((0..n).map(|n| first.further(n)));
        if !own.is_mapping() {
            len = pages.len() * self.page;
        }
        (Owner { own, pages, head: first_byte, len, mixed: false }, Some(name))
    }

    /// Keeps the first `at` bytes, and makes an owner of the rest.
    fn cut(&mut self, owner: &mut Owner, at: usize, rest: Own) {
        let pages = owner.pages.split_off((owner.head + at) / self.page);
        self.owners.push(Owner {
            own: rest,
            pages,
            head: 0,
            len: owner.len - at,
            mixed: owner.mixed,
        });
        owner.len = at;
    }

    fn split(&mut self, owner: &mut Owner) -> Done {
        let at = self.bytes(owner).end;
        let (inner, aligned) = (at != 0 && at != owner.len, (owner.head + at) % self.page == 0);
        let rest = mapping!(&mut owner.own, it, Kind => it.split_off(at).map(Kind));
        match rest {
            Ok(rest) if inner => {
                assert!(aligned, "{at} of {owner:?}");
                self.cut(owner, at, rest);
                Some("split")
            }
            Ok(mut rest) => {
                let empty = mapping!(&rest, it, _Kind => it.is_empty());
                assert_eq!(empty, at == owner.len);
                if at == 0 {
                    std::mem::swap(&mut owner.own, &mut rest);
                }
                assert!(mapping!(&rest, it, _Kind => it.is_empty()));
                None
            }
            Err(error) => {
                assert!(inner && !aligned && error.call().is_none(), "{error}: {owner:?}");
                None
            }
        }
    }

    /// The owner behind this one's last page, if there is one, else any other; and whether it continues
    /// this one's bytes.
    fn next_to(&mut self, owner: &Owner) -> (usize, bool) {
        let end = owner.base().wrapping_add(owner.pages.len() * self.page);
        let behind = self.owners.iter().position(|next| next.own.start() == end);
        let n = behind.unwrap_or_else(|| self.below(self.owners.len()));
        (n, owner.own.start().wrapping_add(owner.len) == self.owners[n].own.start())
    }

    /// With the one behind it, if there is one; else with any, which is refused.
    fn join(&mut self, owner: &mut Owner) -> Done {
        let (n, behind) = self.next_to(owner);
        let next = &mut self.owners[n];
        let (joined, alike) = match (&mut owner.own, next.own.take()) {
            (Own::Bytes(it), Own::Bytes(other)) => {
                let alike = it.backing() == other.backing();
                (it.try_unsplit(other).map_err(Own::Bytes), alike)
            }
            (Own::Read(it), Own::Read(other)) => {
                let alike = it.backing() == other.backing();
                (it.try_unsplit(other).map_err(Own::Read), alike)
            }
            (Own::Raw(it), Own::Raw(other)) => {
                let alike = it.backing() == other.backing();
                (it.try_unsplit(other).map_err(Own::Raw), alike)
            }
            (_, other) => (Err(other), false),
        };
        let ends = (owner.head + owner.len) % self.page == 0;
        match joined {
            Ok(()) => {
                assert!(behind && ends && alike, "{owner:?}");
                owner.len += next.len;
                owner.mixed |= next.mixed;
                owner.pages.append(&mut next.pages);
                self.owners.swap_remove(n);
                Some("join")
            }
            Err(other) => {
                next.own = other;
                assert!(!(behind && ends && alike), "{owner:?}");
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
        let len = (to * self.page).saturating_sub(owner.head + self.below(self.page));
        let to = if len == 0 { 0 } else { (owner.head + len).div_ceil(self.page) };
        let last = owner.pages[now - 1].clone();
        // Behind the end of what there is it is SIGBUS.
        let rest = if last.shared { 0 } else { usize::MAX };
        let rest = last.file.map_or(rest, |n| FILE_PAGES - 1 - n);
        if to > now && (to - now > rest || !self.moves(owner)) {
            return None;
        }
        let in_place = self.numbers.one_in(2);
        let lent = !matches!(owner.own, Own::Raw(_));
        let grows = mapping!(&owner.own, it, _Kind => !lent || it.backing() == Backing::Anonymous);
        let start = owner.own.start();
        // Whatever lies over parts of it.
        let backing = mapping!(&owner.own, it, _Kind => it.backing());
        if to > now && matches!(backing, Backing::SharedAnonymous | Backing::SharedFile) {
            let refused = mapping!(&mut owner.own, it, _Kind => it.resize(len)).unwrap_err();
            assert!(refused.call().is_none(), "{refused}");
            if backing == Backing::SharedAnonymous || lent || in_place {
                return None;
            }
        }
        let (name, result) = match &mut owner.own {
            // SAFETY: the file's bytes are looked at by raw pointers only.
            Own::Raw(it) if to > now && backing == Backing::SharedFile => unsafe {
                ("grow", it.resize_file(len))
            },
            own => mapping!(own, it, _Kind => match in_place {
                _ if to < now => ("shrink", it.resize(len)),
                true => ("grow in place", it.resize_in_place(len)),
                false => ("grow", it.resize(len)),
            }),
        };
        match result.map_err(|error| (error.errno(), name, error)) {
            Ok(()) => {
                assert!(grows || len <= owner.len, "{owner:?}");
                assert!(!in_place || len == 0 || owner.own.start() == start);
                if len == 0 {
                    drop(owner.own.take());
                    return Some(name);
                }
                if matches!(owner.own, Own::Bytes(_)) && len > owner.len {
                    // The rest of its last page is zeroes, whatever was there before it shrank.
                    let end = (owner.head + owner.len) - (now - 1) * self.page;
                    let until = (owner.head + len - (now - 1) * self.page).min(self.page);
                    owner.pages[now - 1].bytes[end..until].fill(0);
                }
                owner.len = len;
                owner.pages.truncate(to);
                owner.pages.extend((now..to).map(|n| last.further(n - now + 1)));
                return (to != now).then_some(name);
            }
            Err((_, _, error)) if error.call().is_none() => {
                assert!(!grows && len > owner.len, "{error}: {owner:?}");
            }
            Err((Errno::ENOMEM, "grow in place", _)) => {}
            // The kernel holds it in several parts, of which the model doesn't know.
            Err((Errno::EFAULT, "grow in place" | "grow", _)) => {}
            Err((_, name, error)) => panic!("{name}: {error}"),
        }
        None
    }

    /// Over a reservation that is as long, or the first part of one.
    fn place(&mut self, owner: &mut Owner) -> Done {
        let size = owner.pages.len() * self.page;
        let n = self
            .owners
            .iter()
            .position(|place| matches!(place.own, Own::Reserved(_)) && place.len >= size)?;
        if !self.moves(owner) {
            return None;
        }
        let mut place = self.owners.swap_remove(n);
        let Own::Reserved(it) = &mut place.own else { unreachable!() };
        // The wrong length is refused first.
        let rest = it.split_off(size).unwrap();
        if !rest.is_empty() {
            self.cut(&mut place, size, Own::Reserved(rest));
        }
        let at = place.own.start();
        let Own::Reserved(reserved) = place.own.take() else { unreachable!() };
        let moved = mapping!(&mut owner.own, it, _Kind => reserved.place(it));
        match moved {
            Ok(()) => {
                assert_eq!(owner.base(), at, "{owner:?}");
                Some("place")
            }
            Err(refused) => {
                // In several parts, as in resize; and so the move was not tried, and the place is as it was.
                assert_eq!(refused.error().errno(), Errno::EFAULT, "{refused}");
                place.own = Own::Reserved(refused.into_owner().expect("the place comes back"));
                self.owners.push(place);
                None
            }
        }
    }

    /// The same again by its parts.
    fn raw_parts(&mut self, owner: &mut Owner) -> Done {
        owner.own = mapping!(owner.own.take(), it, Kind => {
            let parts = it.into_raw_parts();
            assert_eq!(parts.len, owner.len);
            // SAFETY: given up just now, as the same type.
            Kind(unsafe { Mapping::from_raw_parts(parts) }.unwrap())
        });
        Some("raw parts")
    }

    /// Another type of the same memory.
    fn convert(&mut self, owner: &mut Owner) -> Done {
        let all_rw = owner.pages.iter().all(|page| page.can(RW) && !page.shared) && !owner.mixed;
        let (name, own) = match (owner.own.take(), self.below(6)) {
            (Own::Bytes(it), 0 | 1) => {
                owner.pages.iter_mut().for_each(|page| page.prot = Prot::READ);
                ("make read-only", Own::Read(it.make_read_only().unwrap()))
            }
            (Own::Read(it), 0..=3) => {
                owner.pages.iter_mut().for_each(|page| page.prot = RW);
                ("make writable", Own::Bytes(it.make_writable().unwrap()))
            }
            (Own::Bytes(it), 2) => ("make raw", Own::Raw(it.into_raw())),
            (Own::Read(it), 4) => ("make raw", Own::Raw(it.into_raw())),
            // SAFETY: private memory, all of it readable and writable.
            (Own::Raw(it), 0..=2) if all_rw => ("make a slice", Own::Bytes(unsafe { it.assume() })),
            (own, 3 | 5) => {
                let modes = [(Mode::Strict, Prot::NONE), (Mode::Overcommit, RW)];
                let (mode, prot) = self.numbers.pick(&modes);
                owner.len = owner.pages.len() * self.page;
                (owner.head, owner.mixed) = (0, false);
                owner.pages.fill(Page::new(None, false, prot));
                let it = mapping!(own, it, _Kind => it.into_reservation(mode).unwrap());
                ("make a reservation", Own::Reserved(it))
            }
            (own, _) => {
                owner.own = own;
                return self.fill(owner);
            }
        };
        owner.own = own;
        Some(name)
    }

    fn divide(&mut self, owner: &mut Owner) -> Done {
        let Own::Reserved(it) = &mut owner.own else { unreachable!() };
        let at = self.numbers.below(owner.len as u64 + 1) as usize;
        let at = if self.numbers.one_in(4) { at } else { at / self.page * self.page };
        match it.split_off(at) {
            Ok(rest) => {
                assert_eq!(at % self.page, 0);
                match (it.is_empty(), rest.is_empty()) {
                    (true, _) => owner.own = Own::Reserved(rest),
                    (_, true) => {}
                    _ => {
                        self.cut(owner, at, Own::Reserved(rest));
                        return Some("split a reservation");
                    }
                }
            }
            Err(error) => assert!(at % self.page != 0, "{error}"),
        }
        None
    }

    fn unite(&mut self, owner: &mut Owner) -> Done {
        let (n, behind) = self.next_to(owner);
        let next = &mut self.owners[n];
        let Own::Reserved(it) = &mut owner.own else { unreachable!() };
        let other = match next.own.take() {
            Own::Reserved(other) => other,
            other => {
                next.own = other;
                return None;
            }
        };
        let alike = it.mode() == other.mode();
        match it.try_unsplit(other) {
            Ok(()) => {
                assert!(behind && alike);
                owner.len += next.len;
                owner.pages.append(&mut next.pages);
                self.owners.swap_remove(n);
                Some("join a reservation")
            }
            Err(other) => {
                assert!(!(behind && alike));
                next.own = Own::Reserved(other);
                None
            }
        }
    }

    fn becomes_mapping(&mut self, owner: &mut Owner) -> Done {
        let Own::Reserved(it) = owner.own.take() else { unreachable!() };
        if self.numbers.one_in(4) {
            let mode = it.mode();
            // SAFETY: a reservation made it.
            owner.own = Own::Reserved(unsafe { Reservation::from_raw(it.into_raw(), mode) });
            return None;
        }
        owner.pages.iter_mut().for_each(|page| page.prot = RW);
        owner.own = Own::Bytes(it.into_mapping().unwrap());
        Some("make a mapping")
    }

    /// These bytes of a page are now that one.
    fn write(&mut self, page: &mut Page, bytes: Range<usize>, byte: u8) {
        match page.file {
            Some(n) if page.shared => self.file_bytes[n][bytes].fill(byte),
            _ => page.bytes[bytes].fill(byte),
        }
    }

    fn purge(&mut self, owner: &mut Owner) -> Done {
        let bytes = self.bytes(owner);
        let pages = owner.exactly(&bytes);
        let count = pages.clone().unwrap_or(0..0);
        let those = &owner.pages[count.clone()];
        let backing = match &owner.own {
            Own::Reserved(_) => Backing::Anonymous,
            own if !own.is_mapping() => return None,
            own => mapping!(own, it, _Kind => it.backing()),
        };
        let frees = backing == Backing::SharedAnonymous;
        // Freeing shared memory needs the right to write, and no lock.
        if frees && (owner.mixed || those.iter().any(|page| page.prot != RW || page.locked)) {
            return None;
        }
        if !self.has_advice && those.iter().any(|page| page.locked) {
            return None;
        }
        let promised = match backing {
            Backing::PrivateFile => Purged::File,
            _ => Purged::Zeroes,
        };
        let result = match &mut owner.own {
            Own::Reserved(it) => it.purge(bytes).map(|()| promised),
            own => mapping!(own, it, _Kind => {
                let inner = it.inwards(bytes.clone()).unwrap();
                assert!(inner.is_empty() || bytes.start <= inner.start && inner.end <= bytes.end);
                it.purge(bytes)
            }),
        };
        if pages.is_none() || backing == Backing::SharedFile {
            assert!(result.unwrap_err().call().is_none(), "{owner:?}");
            return None;
        }
        assert_eq!(result, Ok(promised), "{owner:?}");
        for n in count {
            let mut page = replace(&mut owner.pages[n], Page::new(None, false, RW));
            page.forget();
            if frees {
                self.write(&mut page, 0..self.page, 0);
            }
            owner.pages[n] = page;
        }
        Some("purge")
    }

    fn fill(&mut self, owner: &mut Owner) -> Done {
        let byte = self.numbers.next() as u8;
        let bytes = self.bytes(owner);
        let (mut ranges, mut name) = (vec![bytes.clone()], "fill");
        match &mut owner.own {
            Own::Ring(it) => {
                // Around the end.
                let (at, count) = (bytes.start, self.numbers.below(owner.len as u64) as usize);
                it.slice_mut(at, count).fill(byte);
                let first = count.min(owner.len - at);
                ranges = vec![at..at + first, 0..count - first];
                name = "fill a ring";
            }
            Own::Dual(it) => {
                it.write(bytes.start, &vec![byte; bytes.len()]).unwrap();
                name = "fill a dual";
            }
            Own::Bytes(it) => it[bytes].fill(byte),
            _ => {}
        }
        let slice = matches!(owner.own, Own::Bytes(_));
        let mut done = None;
        for bytes in ranges {
            for n in owner.outwards(&bytes) {
                let mut page = replace(&mut owner.pages[n], Page::new(None, false, RW));
                let first = n * self.page;
                let from = (owner.head + bytes.start).max(first) - first;
                let to = (owner.head + bytes.end - first).min(self.page);
                if page.can(RW) {
                    self.write(&mut page, from..to, byte);
                    done = Some(name);
                    if name == "fill" && !slice {
                        let start = owner.base().wrapping_add(first + from);
                        // SAFETY: bytes of a page of the owner's, which can be written.
                        unsafe { start.write_bytes(byte, to - from) };
                    }
                }
                owner.pages[n] = page;
            }
        }
        done
    }

    /// Ranges outside of the owner are refused, and nothing happens.
    fn ask_outside(&mut self, owner: &mut Owner) -> Done {
        let (len, page) = (owner.own.range().1, self.page);
        #[allow(clippy::reversed_empty_ranges)]
        let range = [
            0..len + 1,
            len + 1..len + 1,
            len + page..len + page,
            1..0,
            page..usize::MAX,
            usize::MAX..usize::MAX,
            usize::MAX & !(page - 1)..usize::MAX,
        ][self.below(7)]
        .clone();
        let mut refused = match &mut owner.own {
            Own::Raw(it) => vec![
                it.protect(range.clone(), Prot::NONE),
                it.guard(range.clone()).map(drop),
                it.punch_hole(range.clone()),
                // SAFETY: no file.
                unsafe { it.overlay(range.clone(), RW, ANON, NO_FD, 0) },
            ],
            Own::Reserved(it) => vec![
                it.commit(range.clone()),
                it.decommit(range.clone()),
                it.purge(range.clone()),
                it.advise(range.clone(), Advice::RANDOM),
            ],
            Own::Dual(it) => vec![it.publish(range.clone())],
            Own::Bytes(_) | Own::Read(_) => vec![],
            _ => return None,
        };
        if owner.own.is_mapping() {
            mapping!(&mut owner.own, it, _Kind => {
                refused.push(it.purge(range.clone()).map(drop));
                refused.extend([it.lock(range.clone()), it.unlock(range.clone())]);
                refused.push(it.inwards(range.clone()).map(drop));
                refused.push(it.name(range.clone(), c"outside"));
            });
        }
        for refused in refused {
            let error = refused.unwrap_err();
            assert!(error.call().is_none() && error.errno() == Errno::EINVAL, "{error}");
        }
        Some("ask outside")
    }

    fn seal(&mut self, owner: &mut Owner) -> Done {
        let sealed = self.owners.iter().filter(|it| matches!(it.own, Own::Sealed(_)));
        if !self.has_seal || sealed.count() >= MOST_SEALED {
            return None;
        }
        let sealed = mapping!(owner.own.take(), it, _Kind => it.seal().map_err(Error::from));
        owner.own = Own::Sealed(sealed.unwrap());
        Some("seal")
    }

    /// What this kind of owner can.
    fn change(&mut self, owner: &mut Owner) -> Done {
        let bytes = self.bytes(owner);
        let (around, exact) = (owner.outwards(&bytes), owner.exactly(&bytes));
        let whole = exact.clone().unwrap_or(0..0);
        let n = whole.len();
        // Of several kinds of memory, the kernel may guard some and then refuse.
        let kind = |page: &Page| (page.shared, page.file.is_some(), page.locked);
        let those = &owner.pages[whole.clone()];
        let can_guard = self.has_advice && those.iter().all(|page| kind(page) == kind(&those[0]));
        let can_punch = self.has_advice
            && those.iter().all(|page| page.shared && page.prot == RW && !page.locked);
        let pages = &mut owner.pages[whole];
        let (exactly, name, result) = match (&mut owner.own, self.below(9)) {
            (own, 8) if own.is_mapping() => {
                let named = mapping!(own, it, _Kind => it.name(bytes, c"model"));
                if !self.has_names {
                    assert_eq!(named.unwrap_err().errno(), Errno::EINVAL);
                    return None;
                }
                // A shared file has no such name.
                return named.is_ok().then_some("name");
            }
            (Own::Bytes(it), 0 | 1) if self.has_advice => {
                owner.pages[around].iter_mut().for_each(|page| page.locked = true);
                (false, "lock", it.lock(bytes))
            }
            (Own::Bytes(it), 2..=4) => {
                owner.pages[around].iter_mut().for_each(|page| page.locked = false);
                (false, "unlock", it.unlock(bytes))
            }
            (Own::Bytes(it), _) => (false, "populate", it.populate_write(bytes)),
            (Own::Read(it), 0 | 1) if self.has_advice => {
                owner.pages[around].iter_mut().for_each(|page| page.locked = true);
                (false, "lock", it.lock(bytes))
            }
            (Own::Read(it), 2..=4) => {
                owner.pages[around].iter_mut().for_each(|page| page.locked = false);
                (false, "unlock", it.unlock(bytes))
            }
            (Own::Read(it), _) => (false, "populate", it.populate_read(bytes)),
            (Own::Raw(it), 0 | 1) => {
                let prot = self.numbers.pick(&[Prot::NONE, Prot::READ, RW, RW]);
                pages.iter_mut().for_each(|page| page.prot = prot);
                (true, "protect", it.protect(bytes, prot))
            }
            (Own::Raw(it), 2) if can_guard => {
                let guarded = it.guard(bytes);
                for page in pages {
                    page.guarded |= guarded == Ok(Guarded::Installed);
                    if guarded == Ok(Guarded::Installed) {
                        page.forget();
                    } else {
                        page.prot = Prot::NONE;
                    }
                }
                (true, "guard", guarded.map(drop))
            }
            (Own::Raw(it), 3 | 4) if can_guard && exact.is_some() => {
                // Where the kernel has no guards, or not for such memory, it was protected.
                let had = it.advise(bytes.clone(), Advice::GUARD_REMOVE);
                for page in pages {
                    page.guarded = false;
                    page.prot = if had.is_ok() { page.prot } else { RW };
                }
                (true, "unguard", had.or_else(|_| it.protect(bytes, RW)))
            }
            (Own::Raw(it), 5 | 6) if can_punch && n != 0 => {
                for page in pages {
                    match page.file {
                        Some(n) => self.file_bytes[n].fill(0),
                        None => page.bytes.fill(0),
                    }
                }
                (true, "punch a hole", it.punch_hole(bytes))
            }
            (Own::Raw(it), 5 | 6) if n != 0 => {
                owner.mixed = true;
                pages.fill(Page::new(None, false, RW));
                // SAFETY: no file.
                (true, "overlay", unsafe { it.overlay(bytes, RW, ANON, NO_FD, 0) })
            }
            (Own::Raw(it), _) if n != 0 && n <= FILE_PAGES => {
                owner.mixed = true;
                let at = self.numbers.below((FILE_PAGES - n + 1) as u64) as usize;
                let new = Page::new(Some(at), true, RW);
                pages.iter_mut().enumerate().for_each(|(n, page)| *page = new.further(n));
                let (fd, at) = (self.file.as_raw_fd(), (at * self.page) as u64);
                // SAFETY: the descriptor is open, and the file refuses nothing.
                (true, "overlay", unsafe { it.overlay(bytes, RW, MapFlags::SHARED, fd, at) })
            }
            (Own::Reserved(it), 0..=4) => {
                pages.iter_mut().for_each(|page| page.prot = RW);
                (true, "commit", it.commit(bytes))
            }
            (Own::Reserved(it), _) => {
                for page in pages {
                    if it.mode() == Mode::Strict {
                        *page = Page::new(None, false, Prot::NONE);
                    } else {
                        page.forget();
                    }
                }
                (true, "decommit", it.decommit(bytes))
            }
            _ => return self.fill(owner),
        };
        match result {
            Ok(()) => {
                assert!(!exactly || exact.is_some(), "{name}: {owner:?}");
                Some(name)
            }
            Err(error) => {
                assert!(exactly && exact.is_none(), "{name}: {error}: {owner:?}");
                assert!(error.call().is_none(), "{name}: {error}");
                None
            }
        }
    }

    /// Every byte of these owners.
    fn check_bytes(&self, owners: &[Owner]) {
        for owner in owners {
            let (_, len) = owner.own.range();
            assert_eq!(len, owner.len, "{owner:?}");
            assert_eq!(owner.pages.len(), (owner.head + len).div_ceil(self.page), "{owner:?}");
            assert_eq!(owner.base().addr() % self.page, 0, "{owner:?}");
            for (at, _, page) in owner.places() {
                let bytes = match page.file {
                    Some(n) if page.shared => &self.file_bytes[n],
                    _ => &page.bytes,
                };
                if page.can(Prot::READ) {
                    // SAFETY: the owner's, and readable; nobody writes it now.
                    let there = unsafe { std::slice::from_raw_parts(at, self.page) };
                    if there != bytes {
                        let wrong = there.iter().zip(bytes).position(|(is, should)| is != should);
                        panic!("{at:?}: byte {wrong:?}, in {owner:?}");
                    }
                } else {
                    // SAFETY: the kernel reads it as a path, or answers EFAULT.
                    unsafe { libc::access(at.cast(), libc::F_OK) };
                    let errno = std::io::Error::last_os_error().raw_os_error();
                    assert_eq!(errno, Some(libc::EFAULT), "{at:?} is readable, in {owner:?}");
                }
            }
        }
    }

    /// A step, and what it may have changed: the last three owners.
    fn checked_step(&mut self) {
        self.step();
        self.check_bytes(&self.owners[self.owners.len().saturating_sub(3)..]);
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
                // A stack's guard may be one without a change of protection.
                let guard = matches!(owner.own, Own::Stack(_)) && prot == Prot::NONE;
                if !guard {
                    assert_eq!(rights, format!("{r}{w}{x}{s}"), "{at:?} in {owner:?}");
                }
            }
        }
        space.look();
        assert_eq!(space.bytes() - before, mapped, "bytes mapped, of {:?}", self.owners);
    }
}

fn steps() -> usize {
    // Large pages take longer to compare, and an emulator to do it.
    let usual = if page() > 1 << 14 { 2500 } else { 10_000 };
    number("RAWMAP_STEPS", if emulator().is_some() { 2000 } else { usual }) as usize
}

fn sequence(n: u64) {
    let (seed, steps) = (number("RAWMAP_SEED", 1) + n, steps());
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
        // What is asked for once in a process allocates nothing later.
        rawmap::prepare().unwrap();
        let mut world = World::new(seed);
        let mut space = Space::new();
        let before = space.bytes();
        // What a step can do depends on where the kernel puts mappings, too: a sequence that was not lucky goes
        // on until each step was done often enough.
        for step in 1..=8 * steps {
            if step > steps && world.rare(steps).is_empty() {
                break;
            }
            let held = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                world.checked_step();
                if step % 32 == 0 {
                    world.check_all(&mut space, before);
                }
            }));
            if let Err(panic) = held {
                say("in a child", "a step failed", format_args!("RAWMAP_SEED={seed}, {step}"));
                std::panic::resume_unwind(panic);
            }
        }
        world.owners.retain(|owner| matches!(owner.own, Own::Sealed(_)));
        world.check_all(&mut space, before);
        write!(&counts, "{:?}", world.done).unwrap();
        assert_eq!(world.rare(steps), [""; 0], "steps that were done too seldom");
        let names = world.steps();
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

/// Stops the other threads when its own ends, if only by a claim that failed.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Maps and unmaps until it is told to stop: what it has mapped stays mapped, and as it was written.
fn map_and_unmap(stop: &AtomicBool, count: &AtomicUsize, seed: u64) {
    let _stopped = Stop(stop);
    let mut numbers = Seeded(seed);
    let mut mine: Vec<(*mut u8, usize, u8)> = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        if mine.len() < 24 {
            let (len, byte) = (page() * (1 + numbers.below(8) as usize), numbers.next() as u8);
            let map = anonymous(len, RW);
            // SAFETY: mapped just now.
            unsafe { map.write_bytes(byte, len) };
            mine.push((map, len, byte));
            count.fetch_add(1, Ordering::Relaxed);
        } else {
            let n = numbers.below(mine.len() as u64) as usize;
            let (map, len, byte) = mine.swap_remove(n);
            let mut pages = [0; 8];
            // SAFETY: a byte for each page.
            let mapped = unsafe { rawmap::mincore(map, len, pages.as_mut_ptr()) };
            assert_eq!(mapped, Ok(()), "another thread's mapping is lost");
            // SAFETY: mapped, as was seen just now.
            let bytes = unsafe { std::slice::from_raw_parts(map, len) };
            let kept = bytes[0] == byte && bytes[1..] == bytes[..len - 1];
            assert!(kept, "another thread's mapping is overwritten");
            // SAFETY: this thread's own.
            unsafe { rawmap::munmap(map, len) }.unwrap();
        }
    }
}

/// Moves a mapping over a new reservation, which lies where the kernel would place the next mapping of any
/// thread: were the place nobody's for a moment, another thread's memory would soon lie there.
fn placed_step(numbers: &mut Seeded) {
    let size = page() * (1 + numbers.below(8) as usize);
    let mut map = MapOptions::new(size).anonymous().unwrap();
    map.fill(0xa5);
    let place = Reservation::new(size, Mode::Strict).unwrap();
    let at = place.as_ptr();
    place.place(&mut map).unwrap();
    assert_eq!(map.as_ptr(), at.cast_const());
    assert!(map[0] == 0xa5 && map[1..] == map[..size - 1]);
}

/// Steps that the kernel or the owner refuses, some of them late.
fn refused_steps(numbers: &mut Seeded) {
    let size = page() * (1 + numbers.below(8) as usize);
    let kept = Reservation::new(size, Mode::Strict).unwrap();
    match numbers.below(6) {
        0 => {
            // In two parts, so that it can't be moved; and both come back.
            let map = MapOptions::new(2 * size).raw(RW, Sharing::Private).unwrap();
            map.protect(..page(), Prot::READ).unwrap();
            let mut map = map;
            let place = Reservation::new(2 * size, Mode::Overcommit).unwrap();
            let refused = place.place(&mut map).unwrap_err();
            assert_eq!(refused.error().errno(), Errno::EFAULT);
            assert!(refused.into_owner().is_some());
            assert_eq!(map.resize(8 * size).unwrap_err().errno(), Errno::EFAULT);
        }
        1 => {
            // SAFETY: a descriptor of this test's.
            let socket = unsafe { libc::socket(libc::AF_UNIX, libc::SOCK_STREAM, 0) };
            // SAFETY: open until the end of this block.
            let socket = unsafe { Fd::borrow_raw(socket) };
            let of_socket = MapOptions::new(size).file_raw(socket, 0, RW, Sharing::Shared);
            assert_eq!(of_socket.unwrap_err().errno(), Errno::ENODEV);
            // SAFETY: opened above, and used by nobody else.
            unsafe { libc::close(socket.raw()) };
        }
        2 => {
            // Huge pages, of which there are none: the kernel says so after it has unmapped.
            // SAFETY: a plain call; the descriptor is new.
            let file = unsafe { libc::memfd_create(c"huge".as_ptr(), libc::MFD_HUGETLB) };
            if file >= 0 {
                // SAFETY: open until the end of this block.
                let huge = unsafe { Fd::borrow_raw(file) };
                let _ = MapOptions::new(size).file_raw(huge, 0, RW, Sharing::Shared);
                let _ = MapOptions::new(size).align(1 << 24).file_raw(huge, 0, RW, Sharing::Shared);
                // SAFETY: opened above, and used by nobody else.
                unsafe { libc::close(file) };
            }
        }
        3 => {
            let mut map = MapOptions::new(size).anonymous().unwrap();
            let _ = map.resize_in_place(64 * size);
            assert!(map[0] == 0 && map[1..] == map[..size - 1]);
        }
        4 => {
            // Each end that is trimmed is the owner's own.
            let align = page() << numbers.below(8);
            for options in [MapOptions::new(size), MapOptions::new(size).populate()] {
                let map = options.align(align).anonymous().unwrap();
                assert_eq!(map.as_ptr().addr() % align, 0);
            }
        }
        _ => {
            let ring = Ring::new(size).unwrap();
            let code = DualMapping::new(size).unwrap();
            assert_eq!((ring.slice(0, size)[0], ring.slice(1, size)[size - 1]), (0, 0));
            drop(code);
        }
    }
    drop(kept);
}

/// No step of one thread, refused or not, takes memory that is another's.
#[test]
fn no_thread_loses_a_mapping_to_another() {
    need_lockable!(64 << 10);
    if emulator().is_some() {
        return skip!("QEMU moves mappings that threads share the room of in several steps");
    }
    let seed = number("RAWMAP_SEED", 1);
    alone(|| {
        rawmap::prepare().unwrap();
        let (stop, counts) = (AtomicBool::new(false), [const { AtomicUsize::new(0) }; 2]);
        let stopped = || stop.load(Ordering::Relaxed);
        let least = || counts.iter().map(|count| count.load(Ordering::Relaxed)).min().unwrap();
        let steps = steps() / 20;
        std::thread::scope(|scope| {
            let _stopped = Stop(&stop);
            for (count, n) in counts.iter().zip(0..) {
                let stop = &stop;
                scope.spawn(move || map_and_unmap(stop, count, seed + n));
            }
            let refuser = scope.spawn(|| {
                let mut numbers = Seeded(seed);
                let mut n = 0;
                // As long as it takes for the others to have mapped something beside it.
                while !stopped() && (n < steps || least() < 1000) {
                    refused_steps(&mut numbers);
                    (0..8).for_each(|_| placed_step(&mut numbers));
                    n += 1;
                }
            });
            let mut world = World::new(seed);
            (0..steps).take_while(|_| !stopped()).for_each(|_| world.checked_step());
            world.check_bytes(&world.owners);
            refuser.join().expect("a thread whose steps are refused");
            take(&mut world.owners);
        });
    });
}

/// How long what is moved is: so long that signals come while the kernel takes it apart.
const MOVED: usize = 8 << 20;

/// What the handler has mapped, and how often.
static HELD: [AtomicPtr<u8>; 1 << 14] = [const { AtomicPtr::new(null_mut()) }; 1 << 14];
static BY_HANDLER: AtomicUsize = AtomicUsize::new(0);

/// Maps memory as long as what is moved, as another thread might in that moment. The kernel puts it at the highest
/// place that is free, which is the move's target, if that has been unmapped and nothing lies there yet.
extern "C" fn handled(_signal: libc::c_int) {
    let count = BY_HANDLER.load(Ordering::Relaxed);
    if let Some(held) = HELD.get(count) {
        let map = anonymous(MOVED, RW);
        // SAFETY: mapped just now.
        unsafe { map.write(9) };
        held.store(map, Ordering::Relaxed);
        BY_HANDLER.store(count + 1, Ordering::Relaxed);
    }
}

/// The kernel takes merged pages apart when it moves them, and begins the call anew when a signal comes: by then it
/// has unmapped the target, where another thread may have mapped something.
#[test]
fn no_thread_loses_a_mapping_to_merged_memory_that_is_moved_while_signals_come() {
    if emulator().is_some() {
        return skip!("an emulator merges nothing");
    }
    let merged = || {
        let mut map = MapOptions::new(MOVED).anonymous().unwrap();
        map.fill(7);
        // SAFETY: no filter answers in the kernel's stead here.
        unsafe { map.advise_any(.., Advice::MERGEABLE) }.map(|()| map)
    };
    if let Err(error) = merged() {
        return skip!("this kernel merges no memory: {error}");
    }
    alone(|| {
        let handler: extern "C" fn(libc::c_int) = handled;
        // SAFETY: a handler that makes calls of this crate only; all zeroes is an empty mask.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            (action.sa_sigaction, action.sa_flags) = (handler as usize, libc::SA_RESTART);
            assert_eq!(libc::sigaction(libc::SIGUSR1, &action, std::ptr::null_mut()), 0);
        }
        // SAFETY: a plain call.
        let mover = unsafe { libc::pthread_self() };
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let _stopped = Stop(&stop);
            let stop = &stop;
            scope.spawn(move || {
                // A slow machine needs a longer pause, or its calls begin anew for ever.
                for pause in (0..8).cycle().map(|n| std::time::Duration::from_micros(10 << n)) {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    // SAFETY: that thread waits for this one to end.
                    unsafe { libc::pthread_kill(mover, libc::SIGUSR1) };
                    std::thread::sleep(pause);
                }
            });
            let mut map = merged().unwrap();
            let end = std::time::Instant::now() + std::time::Duration::from_secs(2);
            let mut looked = 0;
            while std::time::Instant::now() < end {
                // SAFETY: as above.
                unsafe { map.advise_any(.., Advice::MERGEABLE) }.unwrap();
                let place = Reservation::new(MOVED, Mode::Strict).unwrap();
                let at = place.as_ptr();
                place.place(&mut map).unwrap();
                assert_eq!(map.as_ptr(), at.cast_const());
                let kept = map[0] == 7 && map[1..] == map[..MOVED - 1];
                assert!(kept, "bytes that a handler has written");
                while looked < BY_HANDLER.load(Ordering::Relaxed) {
                    let held = HELD[looked].load(Ordering::Relaxed);
                    // SAFETY: mapped, unless what is looked for here has happened; then it is the other's.
                    assert_eq!(unsafe { held.read_volatile() }, 9, "a handler's mapping is lost");
                    // SAFETY: nobody else has it.
                    unsafe { rawmap::munmap(held, MOVED) }.unwrap();
                    looked += 1;
                }
            }
            assert!(looked > 10, "only {looked} signals came");
        });
    });
}
