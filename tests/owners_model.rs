//! Random sequences of the owners' methods, beside a model: after each step, every byte of every owner
//! is as the model says, and its protection as /proc/self/maps says; in the end nothing is mapped.
mod common;
use common::*;
use rawmap::{
    Advice, Errno, Error, Guarded, MapFlags, MapOptions, Mapping, Mode, Placed, Prot, Purged, Raw,
    Reservation,
};

/// A fixed sequence of numbers (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`.
    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    /// A range of at least one of `n` pages: the first and their number.
    fn range(&mut self, n: usize) -> (usize, usize) {
        let first = self.below(n);
        (first, 1 + self.below(n - first))
    }
}

/// What a page should be: each of its bytes, and its protection.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Page {
    byte: u8,
    prot: Prot,
    /// Guarded without a change of protection.
    guarded: bool,
}

impl Page {
    const NEW: Self = Self { byte: 0, prot: RW, guarded: false };

    fn readable(&self) -> bool {
        self.prot.contains(Prot::READ) && !self.guarded
    }
}

#[derive(Debug)]
enum Own {
    Bytes(Mapping),
    Raw(Mapping<Raw>),
    Reserved(Reservation),
}

impl Own {
    fn start(&self) -> *mut u8 {
        match self {
            Self::Bytes(it) => it.as_ptr(),
            Self::Raw(it) => it.as_ptr(),
            Self::Reserved(it) => it.as_ptr(),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Bytes(it) => it.mapped_len(),
            Self::Raw(it) => it.mapped_len(),
            Self::Reserved(it) => it.len(),
        }
    }
}

#[derive(Debug)]
struct Owner {
    own: Own,
    pages: Vec<Page>,
    shared: bool,
    /// It was overlaid, so that a purge promises less.
    mixed: bool,
}

struct World {
    random: Random,
    owners: Vec<Owner>,
    page: usize,
    /// Whether the kernel does what it says to `MADV_GUARD_INSTALL`, `MADV_REMOVE` and
    /// `MADV_DONTNEED_LOCKED`.
    has_advice: bool,
    /// How often each step was done, by name.
    done: std::collections::BTreeMap<&'static str, usize>,
}

const MOST: usize = 24;
const PAGES: usize = 12;

impl World {
    fn new(seed: u64) -> Self {
        Self {
            random: Random(seed),
            owners: Vec::new(),
            page: page(),
            // QEMU before 11 does nothing for an advice that it doesn't know, and says that it did.
            has_advice: !qemu_before(11),
            done: Default::default(),
        }
    }

    fn step(&mut self) {
        if self.owners.is_empty() || self.owners.len() < MOST && self.random.below(4) == 0 {
            self.map();
            return;
        }
        let n = self.random.below(self.owners.len());
        let owner = self.owners.swap_remove(n);
        let name = match self.random.below(16) {
            0 => "drop",
            1 => "split",
            2 => "join",
            3 => "resize",
            4 => "move",
            5 => "raw parts",
            6 | 7 => "purge",
            8 | 9 => "fill",
            10 => "outside",
            _ => "change",
        };
        *self.done.entry(name).or_default() += 1;
        match name {
            "drop" if self.owners.len() > MOST / 2 => drop(owner),
            "split" => self.split(owner),
            "join" => self.join(owner),
            "resize" => self.resize(owner),
            "move" => self.move_into(owner),
            "raw parts" => self.raw_parts(owner),
            "purge" => self.purge(owner),
            "fill" | "drop" => self.fill(owner),
            "outside" => self.outside(owner),
            _ => self.change(owner),
        }
    }

    fn map(&mut self) {
        *self.done.entry("map").or_default() += 1;
        let pages = 1 + self.random.below(PAGES);
        let len = pages * self.page - self.random.below(self.page);
        let mut options = MapOptions::new(len);
        // Next to another owner, often.
        if !self.owners.is_empty() && self.random.below(2) == 0 {
            let n = self.random.below(self.owners.len());
            options = options.hint(self.owners[n].own.start().wrapping_sub(pages * self.page));
        }
        if self.random.below(8) == 0 {
            options = options.align(self.page << self.random.below(6));
        }
        let mut page = Page::NEW;
        let mut shared = false;
        let own = match self.random.below(6) {
            0 | 1 => Own::Bytes(options.anonymous().unwrap()),
            2 => Own::Raw(options.prot(RW).anonymous().unwrap()),
            3 if self.has_advice => {
                shared = true;
                Own::Raw(options.shared().anonymous().unwrap())
            }
            4 => Own::Reserved(Reservation::new(len, Mode::Overcommit).unwrap()),
            _ => {
                page.prot = Prot::NONE;
                Own::Reserved(Reservation::new(len, Mode::Strict).unwrap())
            }
        };
        self.owners.push(Owner { own, pages: vec![page; pages], shared, mixed: false });
    }

    fn split(&mut self, owner: Owner) {
        let Owner { own, mut pages, shared, mixed } = owner;
        let at = self.random.below(pages.len() + 1);
        let mid = at * self.page;
        let parts = match own {
            Own::Bytes(it) => it
                .split_at(mid)
                .map(|(first, second)| (Own::Bytes(first), Own::Bytes(second)))
                .map_err(|(it, error)| (Own::Bytes(it), error)),
            Own::Raw(it) => it
                .split_at(mid)
                .map(|(first, second)| (Own::Raw(first), Own::Raw(second)))
                .map_err(|(it, error)| (Own::Raw(it), error)),
            it @ Own::Reserved(_) => {
                return self.owners.push(Owner { own: it, pages, shared, mixed });
            }
        };
        match parts {
            Ok((first, second)) => {
                let rest = pages.split_off(at);
                self.owners.push(Owner { own: first, pages, shared, mixed });
                self.owners.push(Owner { own: second, pages: rest, shared, mixed });
            }
            Err((own, error)) => {
                assert!(at == 0 || at == pages.len(), "{error}");
                self.owners.push(Owner { own, pages, shared, mixed });
            }
        }
    }

    /// With the one behind it, if there is one; else with any, which is refused.
    fn join(&mut self, mut owner: Owner) {
        let end = owner.own.start().wrapping_add(owner.own.len());
        let Some(n) = self.owners.iter().position(|next| next.own.start() == end) else {
            self.owners.push(owner);
            return;
        };
        let next = self.owners.swap_remove(n);
        let alike = (owner.shared, owner.mixed) == (next.shared, next.mixed);
        match (owner.own, next.own) {
            (Own::Bytes(first), Own::Bytes(second)) => {
                owner.own = Own::Bytes(first.join(second).expect("bytes are of one kind"));
                owner.pages.extend(next.pages);
                self.owners.push(owner);
            }
            (Own::Raw(first), Own::Raw(second)) => match first.join(second) {
                Ok(joined) => {
                    assert!(alike);
                    owner.own = Own::Raw(joined);
                    owner.pages.extend(next.pages);
                    self.owners.push(owner);
                }
                Err((first, second, error)) => {
                    assert!(!alike && error == Error::NotAdjacent);
                    self.owners.push(Owner { own: Own::Raw(first), ..owner });
                    self.owners.push(Owner { own: Own::Raw(second), ..next });
                }
            },
            (first, second) => {
                self.owners.push(Owner { own: first, ..owner });
                self.owners.push(Owner { own: second, ..next });
            }
        }
    }

    /// QEMU takes the first page's protection for that of all, when it moves a mapping.
    fn moves(&self, owner: &Owner) -> bool {
        emulator().is_none() || owner.pages.iter().all(|page| page.prot == owner.pages[0].prot)
    }

    fn resize(&mut self, mut owner: Owner) {
        let to = 1 + self.random.below(2 * PAGES);
        let len = to * self.page - self.random.below(self.page);
        let in_place = self.random.below(2) == 0;
        let now = owner.pages.len();
        let moves = self.moves(&owner);
        let result = match &mut owner.own {
            Own::Reserved(_) => return self.owners.push(owner),
            Own::Bytes(it) if to < now => it.shrink(len),
            Own::Raw(it) if to < now => it.shrink(len),
            // What a shared mapping grows by is SIGBUS.
            Own::Raw(_) if owner.shared || !moves => return self.owners.push(owner),
            Own::Bytes(it) if in_place => it.grow_in_place(len),
            Own::Raw(it) if in_place => it.grow_in_place(len),
            Own::Bytes(it) => it.grow(len),
            Own::Raw(it) => it.grow(len),
        };
        match result {
            Ok(()) => {
                let like = Page { prot: owner.pages[now - 1].prot, ..Page::NEW };
                owner.pages.resize(to, like);
            }
            Err(Error::TooShort { .. }) => assert!(to == now),
            Err(error) if in_place => {
                assert!(matches!(error.errno(), Errno::ENOMEM | Errno::EFAULT), "{error}");
            }
            Err(error) => assert_eq!(error.errno(), Errno::EFAULT, "{error}"),
        }
        self.owners.push(owner);
    }

    fn move_into(&mut self, mut owner: Owner) {
        let place = self.owners.iter().position(|place| {
            matches!(place.own, Own::Raw(_)) && place.pages.len() == owner.pages.len()
        });
        let Some(place) = place.filter(|_| self.moves(&owner)) else {
            return self.owners.push(owner);
        };
        let place = self.owners.swap_remove(place);
        let Own::Raw(place) = place.own else { unreachable!() };
        let at = place.as_ptr();
        let moved = match owner.own {
            Own::Bytes(it) => it
                .move_into(place)
                .map(Own::Bytes)
                .map_err(|(it, _, error)| (Own::Bytes(it), error)),
            Own::Raw(it) => {
                it.move_into(place).map(Own::Raw).map_err(|(it, _, error)| (Own::Raw(it), error))
            }
            it @ Own::Reserved(_) => {
                // The place is dropped.
                owner.own = it;
                return self.owners.push(owner);
            }
        };
        owner.own = match moved {
            Ok(own) => {
                assert_eq!(own.start(), at);
                own
            }
            Err((own, error)) => {
                assert_eq!(error.errno(), Errno::EFAULT, "{error}");
                own
            }
        };
        self.owners.push(owner);
    }

    fn raw_parts(&mut self, mut owner: Owner) {
        owner.own = match owner.own {
            Own::Bytes(it) => {
                let (start, len) = it.into_raw();
                // SAFETY: given up by the line above; private anonymous memory.
                Own::Bytes(unsafe { Mapping::from_raw(start, len) }.unwrap())
            }
            it => it,
        };
        self.owners.push(owner);
    }

    fn purge(&mut self, mut owner: Owner) {
        let (first, n) = self.random.range(owner.pages.len());
        let (offset, len) = (first * self.page, n * self.page - self.random.below(self.page));
        let expected = if owner.mixed { Purged::Mixed } else { Purged::Zeroes };
        let writable = owner.pages[first..first + n].iter().all(|page| page.prot == RW);
        match &mut owner.own {
            Own::Bytes(it) => assert_eq!(it.purge(offset, len), Ok(expected)),
            // Punching a hole needs the right to write.
            Own::Raw(_) if owner.shared && !writable => {
                return self.owners.push(owner);
            }
            Own::Raw(it) => assert_eq!(it.purge(offset, len), Ok(expected)),
            Own::Reserved(it) => it.purge(offset, len).unwrap(),
        }
        owner.pages[first..first + n].iter_mut().for_each(|page| page.byte = 0);
        self.owners.push(owner);
    }

    fn fill(&mut self, mut owner: Owner) {
        let (first, n) = self.random.range(owner.pages.len());
        let byte = self.random.next() as u8;
        for at in first..first + n {
            let page = &mut owner.pages[at];
            if page.prot == RW && !page.guarded {
                page.byte = byte;
                let start = owner.own.start().wrapping_add(at * self.page);
                // SAFETY: a page of the owner's, which can be written.
                unsafe { start.write_bytes(byte, self.page) };
            }
        }
        self.owners.push(owner);
    }

    /// Ranges outside of the owner are refused, and nothing happens.
    fn outside(&mut self, mut owner: Owner) {
        let size = owner.own.len();
        let page = self.page;
        let (offset, len) = [
            (size, 1),
            (size - page, page + 1),
            (size + page, 0),
            (page, usize::MAX),
            (page, usize::MAX - page + 1),
            (usize::MAX & !(page - 1), page),
            (usize::MAX, usize::MAX),
        ][self.random.below(7)];
        let refused = match &mut owner.own {
            Own::Bytes(it) => {
                vec![it.purge(offset, len).map(drop), it.lock(offset, len), it.unlock(offset, len)]
            }
            Own::Raw(it) => vec![
                it.protect(offset, len, Prot::NONE),
                it.guard(offset, len).map(drop),
                it.purge(offset, len).map(drop),
                it.punch_hole(offset, len),
                // SAFETY: no file.
                unsafe { it.overlay(offset, len, RW, ANON, -1, 0) },
            ],
            Own::Reserved(it) => {
                vec![it.commit(offset, len), it.decommit(offset, len), it.purge(offset, len)]
            }
        };
        for refused in refused {
            assert_eq!(refused, Err(Error::OutOfRange { offset, len, size }));
        }
        self.owners.push(owner);
    }

    /// Changes rights: what only this kind of owner can.
    fn change(&mut self, mut owner: Owner) {
        let (first, n) = self.random.range(owner.pages.len());
        let (offset, len) = (first * self.page, n * self.page);
        let pages = &mut owner.pages[first..first + n];
        match (&mut owner.own, self.random.below(8)) {
            (Own::Bytes(it), 0..=1) if self.has_advice => it.lock(offset, len).unwrap(),
            (Own::Bytes(it), 2..=4) => it.unlock(offset, len).unwrap(),
            (Own::Bytes(it), _) => it.populate_write(offset, len).unwrap(),
            (Own::Raw(it), 0..=2) => {
                let prot = [Prot::NONE, Prot::READ, RW][self.random.below(3)];
                it.protect(offset, len, prot).unwrap();
                pages.iter_mut().for_each(|page| page.prot = prot);
            }
            (Own::Raw(it), 3) if self.has_advice && !owner.shared => match it.guard(offset, len) {
                Ok(Guarded::Installed) => {
                    pages.iter_mut().for_each(|page| (page.byte, page.guarded) = (0, true));
                }
                Ok(Guarded::Protected) => {
                    pages.iter_mut().for_each(|page| page.prot = Prot::NONE);
                }
                Err(error) => panic!("{error}"),
            },
            (Own::Raw(it), 4..=5) if self.has_advice => {
                if it.advise(offset, len, Advice::GUARD_REMOVE).is_ok() {
                    pages.iter_mut().for_each(|page| page.guarded = false);
                }
            }
            (Own::Raw(it), _) if !owner.shared => {
                // SAFETY: no file.
                unsafe { it.overlay(offset, len, RW, MapFlags::PRIVATE | ANON, -1, 0) }.unwrap();
                owner.mixed = true;
                pages.fill(Page::NEW);
            }
            (Own::Raw(_), _) => {}
            (Own::Reserved(it), 0..=4) => {
                it.commit(offset, len).unwrap();
                pages.iter_mut().for_each(|page| page.prot = RW);
            }
            (Own::Reserved(it), _) => {
                it.decommit(offset, len).unwrap();
                let strict = it.mode() == Mode::Strict;
                let prot = if strict { Prot::NONE } else { RW };
                pages.fill(Page { prot, ..Page::NEW });
            }
        }
        self.owners.push(owner);
    }

    /// Every byte that can be read is what the model says: of the owner that was changed, and of its
    /// neighbours. Of each page, its first and last.
    fn check_bytes(&self) {
        for owner in &self.owners {
            assert_eq!(owner.own.len(), owner.pages.len() * self.page, "{owner:?}");
            for (n, page) in owner.pages.iter().enumerate().filter(|(_, page)| page.readable()) {
                let at = owner.own.start().wrapping_add(n * self.page);
                // SAFETY: pages of the owner's, which can be read.
                let ends = unsafe { [at.read(), at.add(self.page - 1).read()] };
                assert_eq!(ends, [page.byte; 2], "page {n} of {owner:?}");
            }
        }
    }

    /// Every page is mapped with the protection that the model says.
    fn check_maps(&self) {
        let text = std::fs::read_to_string("/proc/self/maps").unwrap();
        let mut maps = Vec::new();
        for line in text.lines() {
            let mut words = line.split(' ');
            let (from, to) = words.next().unwrap().split_once('-').unwrap();
            let parse = |hex| usize::from_str_radix(hex, 16).unwrap();
            maps.push((parse(from), parse(to), words.next().unwrap()));
        }
        for owner in &self.owners {
            for (n, page) in owner.pages.iter().enumerate() {
                let at = owner.own.start().addr() + n * self.page;
                let next = maps.partition_point(|(_, to, _)| *to <= at);
                let (from, _, rights) = maps[next];
                assert!(from <= at, "page {n} of {owner:?} is not mapped");
                let right = |bit, letter| if page.prot.contains(bit) { letter } else { '-' };
                let expected = format!("{}{}-", right(Prot::READ, 'r'), right(Prot::WRITE, 'w'));
                assert_eq!(rights[..3], expected, "page {n} of {owner:?}");
            }
        }
    }
}

/// The number of steps of each sequence: `RAWMAP_STEPS`, or so many that all take seconds.
fn steps() -> usize {
    let default = if emulator().is_some() { 1500 } else { 10_000 };
    std::env::var("RAWMAP_STEPS").map_or(default, |n| n.parse().unwrap())
}

fn sequence(seed: u64) {
    alone(|| {
        let mut space = Space::new();
        let mut world = World::new(seed);
        let before = space.bytes();
        let steps = steps();
        for step in 0..steps {
            world.step();
            world.check_bytes();
            if step % 16 == 0 {
                world.check_maps();
            }
        }
        world.check_maps();
        println!("seed {seed}, {steps} steps: {:?}", world.done);
        world.owners.clear();
        space.look();
        assert_eq!(space.bytes(), before, "what is still mapped after seed {seed}");
    });
}

#[test]
fn owners_are_as_their_model_seed_1() {
    sequence(1);
}

#[test]
fn owners_are_as_their_model_seed_2() {
    sequence(2);
}

#[test]
fn owners_are_as_their_model_seed_3() {
    sequence(3);
}

#[test]
fn owners_are_as_their_model_seed_4() {
    sequence(4);
}

/// Sealed mappings stay; those beside them come and go.
#[test]
fn sealed_owners_stay_as_they_are_between_others_that_are_dropped() {
    alone(|| {
        let mut space = Space::new();
        let before = space.bytes();
        let mut sealed = Vec::new();
        for n in 0..50u8 {
            let mut all = MapOptions::new(3 * page()).anonymous().unwrap();
            all.fill(n);
            let (first, rest) = all.split_at(page()).unwrap();
            let (middle, last) = rest.split_at(page()).unwrap();
            match middle.seal() {
                Ok(middle) => sealed.push(middle),
                Err((_, error)) => {
                    assert_eq!(error.errno(), Errno::ENOSYS);
                    skip!("the kernel has no mseal");
                    return;
                }
            }
            drop((first, last));
        }
        for (n, it) in sealed.iter().enumerate() {
            // SAFETY: sealed pages, which can be read.
            let ends = unsafe { [it.as_ptr().read(), it.as_ptr().add(page() - 1).read()] };
            assert_eq!(ends, [n as u8; 2]);
            assert!(matches!(MapOptions::new(1).hint(it.as_ptr()).place(), Ok(Placed::Occupied)));
        }
        space.look();
        assert_eq!(space.bytes() - before, 50 * page());
    });
}
