//! Random sequences of the owners' methods, beside a plain `Vec` of the bytes that each owner should hold.
//!
//! There is no /proc, no fork and no file in it, so Miri can run it too, which holds the owners' pointers
//! against the language's rules. `tests/owners_model.rs` knows more of the kernel, and needs it.
//!
//! After each step, all bytes of all owners are as the model says. A method that refuses must leave them as
//! they were. At the end, each kind of step must have succeeded; under Miri, which makes fewer, most kinds.
#[path = "differential/source.rs"]
mod source;

use rawmap::*;
use source::{Seeded, Source};
use std::alloc::{GlobalAlloc, Layout};
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::slice;

/// How many pages a new owner has at most.
const PAGES: usize = 5;
const MOST_OWNERS: usize = 8;
/// Steps of a sequence. Miri keeps a thread for each ban on memory, and becomes slower with each.
const STEPS: usize = if cfg!(miri) { 150 } else { 1000 };
// Miri has time for one sequence: one of few in which every step succeeds.
const SEEDS: Range<u64> = if cfg!(miri) { 3134..3135 } else { 0..100 };

const EVERY_STEP: [&str; 26] = [
    "map",
    "map aligned",
    "reserve",
    "reserve front",
    "take chunk",
    "allocate",
    "drop",
    "resize",
    "resize in place",
    "split",
    "join",
    "purge",
    "make read-only",
    "make writable",
    "make reservation",
    "commit",
    "decommit",
    "purge reservation",
    "split reservation",
    "join reservation",
    "make mapping",
    "place",
    "resize front",
    "purge chunk",
    "reallocate",
    "write",
];

fn page() -> usize {
    page_size().unwrap().bytes()
}

/// `Vec::resize`, which goes byte by byte; that takes Miri a second for a few pages.
fn resize(bytes: &mut Vec<u8>, len: usize, byte: u8) {
    bytes.truncate(len);
    bytes.extend_from_slice(&vec![byte; len - bytes.len()]);
}

enum Own<'pool> {
    Bytes(Mapping<ReadWrite>),
    Read(Mapping<ReadOnly>),
    Reserved(Reservation),
    Front(Front),
    Chunk(Chunk<'pool>),
    /// Of `PageAlloc`.
    Block(Block),
}

struct Block {
    start: *mut u8,
    layout: Layout,
}

impl Block {
    fn bytes(&self) -> &[u8] {
        // SAFETY: the block is as long as its layout, all of it was initialised (new pages are), and nobody
        // has it but us.
        unsafe { slice::from_raw_parts(self.start, self.layout.size()) }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as for `bytes`; and by `&mut` this is the only borrow.
        unsafe { slice::from_raw_parts_mut(self.start, self.layout.size()) }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: it was allocated with this layout, and is not used any more.
        unsafe { PageAlloc.dealloc(self.start, self.layout) };
    }
}

/// An owner, and what it should hold.
struct Owner<'pool> {
    own: Own<'pool>,
    bytes: Vec<u8>,
    /// Of a strict reservation: which pages are committed. What is not holds zeroes.
    committed: Vec<bool>,
}

impl<'pool> Owner<'pool> {
    fn new(own: Own<'pool>, bytes: Vec<u8>) -> Self {
        Self { own, bytes, committed: Vec::new() }
    }

    fn reserved(space: Reservation, bytes: Vec<u8>, committed: Vec<bool>) -> Self {
        Self { own: Own::Reserved(space), bytes, committed }
    }

    /// What can be read of it, each piece with its place.
    fn slices(&self) -> Vec<(usize, &[u8])> {
        match &self.own {
            Own::Bytes(it) => vec![(0, it)],
            Own::Read(it) => vec![(0, it)],
            Own::Front(it) => vec![(0, it)],
            Own::Chunk(it) => vec![(0, it)],
            Own::Block(it) => vec![(0, it.bytes())],
            Own::Reserved(it) => {
                let committed = (0..self.committed.len()).filter(|n| self.committed[*n]);
                let start = it.as_ptr();
                // SAFETY: the page is committed, and nobody has it but us.
                let page_at = |at| unsafe { slice::from_raw_parts(start.add(at), page()) };
                committed.map(|n| (n * page(), page_at(n * page()))).collect()
            }
        }
    }

    /// The same, to be written. Of a reservation, one borrow for each page is alive at once.
    fn slices_mut(&mut self) -> Vec<(usize, &mut [u8])> {
        match &mut self.own {
            Own::Bytes(it) => vec![(0, it)],
            Own::Read(_) => vec![],
            Own::Front(it) => vec![(0, it)],
            Own::Chunk(it) => vec![(0, it)],
            Own::Block(it) => vec![(0, it.bytes_mut())],
            Own::Reserved(it) => {
                let committed = (0..self.committed.len()).filter(|n| self.committed[*n]);
                let start = it.as_ptr();
                // SAFETY: the page is committed, and by `&mut` nobody has it but us.
                let page_at = |at| unsafe { slice::from_raw_parts_mut(start.add(at), page()) };
                committed.map(|n| (n * page(), page_at(n * page()))).collect()
            }
        }
    }

    fn check(&self, seed: u64, step: usize, after: &str) {
        for (at, slice) in self.slices() {
            let expected = &self.bytes[at..][..slice.len()];
            let differs = || slice.iter().zip(expected).position(|(a, b)| a != b).unwrap();
            if slice != expected {
                let n = differs();
                let (got, wanted) = (slice[n], expected[n]);
                panic!("seed {seed}, step {step}, {after}: byte {} is {got}, not {wanted}", at + n);
            }
        }
        let len = match &self.own {
            Own::Bytes(it) => it.len(),
            Own::Read(it) => it.len(),
            Own::Front(it) => it.len(),
            Own::Chunk(it) => it.len(),
            Own::Block(it) => it.layout.size(),
            Own::Reserved(it) => it.len(),
        };
        assert_eq!(len, self.bytes.len(), "seed {seed}, step {step}, {after}");
    }
}

/// The name of a step that succeeded.
type Done = Option<&'static str>;

struct World<'pool> {
    numbers: Seeded,
    pool: &'pool Pool,
    /// What each chunk of the pool held when it was put back, by its address.
    left: HashMap<usize, Vec<u8>>,
    owners: Vec<Owner<'pool>>,
    done: BTreeMap<&'static str, usize>,
}

impl<'pool> World<'pool> {
    fn below(&mut self, n: usize) -> usize {
        self.numbers.below(n as u64) as usize
    }

    fn byte(&mut self) -> u8 {
        1 + self.below(255) as u8
    }

    /// A length or place in bytes up to `most`, often where a page begins.
    fn place(&mut self, most: usize) -> usize {
        match self.below(4) {
            0 => self.below(most + 1),
            _ => (self.below(most / page() + 1) * page()).min(most),
        }
    }

    fn range(&mut self, most: usize) -> Range<usize> {
        let (a, b) = (self.place(most), self.place(most));
        a.min(b)..a.max(b)
    }

    fn mode(&mut self) -> Mode {
        self.numbers.pick(&[Mode::Overcommit, Mode::Strict])
    }

    fn step(&mut self) -> Done {
        let many = self.owners.len() >= MOST_OWNERS;
        if self.owners.len() < 3 || !many && self.numbers.one_in(4) {
            return self.make();
        }
        let n = self.below(self.owners.len());
        let owner = self.owners.swap_remove(n);
        let chunk = matches!(owner.own, Own::Chunk(_)) && self.numbers.one_in(2);
        if many && self.numbers.one_in(4) || chunk || self.numbers.one_in(16) {
            return self.give_back(owner);
        }
        let Owner { own, bytes, committed } = owner;
        match own {
            Own::Bytes(it) => self.mapping(it, bytes),
            Own::Read(it) => {
                self.owners.push(Owner::new(Own::Bytes(it.make_writable().unwrap()), bytes));
                Some("make writable")
            }
            Own::Reserved(it) => self.reservation(it, bytes, committed),
            Own::Front(mut it) => {
                let (mut bytes, len) = (bytes, self.place((PAGES + 1) * page()));
                let done = it.resize(len).is_ok();
                assert_eq!(done, len <= it.reserved());
                if done {
                    resize(&mut bytes, len, 0);
                }
                self.owners.push(Owner::new(Own::Front(it), bytes));
                done.then_some("resize front")
            }
            Own::Chunk(mut it) => {
                it.purge().unwrap();
                let zeroes = vec![0; bytes.len()];
                self.owners.push(Owner::new(Own::Chunk(it), zeroes));
                Some("purge chunk")
            }
            Own::Block(it) => self.reallocate(it, bytes),
        }
    }

    fn make(&mut self) -> Done {
        let len = self.place((PAGES - 1) * page()) + 1;
        let align = self.numbers.pick(&[1, page(), 16 * page()]);
        let zeroes = vec![0; len];
        let (owner, done) = match self.below(8) {
            0..=2 => {
                let options = MapOptions::new(len);
                let (options, done) = if align == 1 {
                    (options, "map")
                } else {
                    (options.align(align), "map aligned")
                };
                let it = options.anonymous().unwrap();
                assert!(it.as_ptr().addr() % align == 0);
                (Owner::new(Own::Bytes(it), zeroes), done)
            }
            3 | 4 => {
                let mode = self.mode();
                let it = Reservation::aligned(len, align, mode).unwrap();
                assert!(it.as_ptr().addr() % align == 0);
                let pages = it.len() / page();
                let (bytes, committed) = (vec![0; it.len()], vec![mode == Mode::Overcommit; pages]);
                (Owner::reserved(it, bytes, committed), "reserve")
            }
            5 => {
                let it = Front::reserve(PAGES * page()).unwrap();
                (Owner::new(Own::Front(it), Vec::new()), "reserve front")
            }
            6 => {
                let it = self.pool.take()?;
                let bytes = self.left.remove(&it.as_ptr().addr()).unwrap_or(vec![0; it.len()]);
                (Owner::new(Own::Chunk(it), bytes), "take chunk")
            }
            _ => {
                let layout = Layout::from_size_align(len, align).unwrap();
                // SAFETY: the size is not 0.
                let start = unsafe { PageAlloc.alloc_zeroed(layout) };
                assert!(!start.is_null() && start.addr() % align == 0);
                (Owner::new(Own::Block(Block { start, layout }), zeroes), "allocate")
            }
        };
        self.owners.push(owner);
        Some(done)
    }

    fn give_back(&mut self, owner: Owner<'pool>) -> Done {
        if let Own::Chunk(it) = &owner.own {
            self.left.insert(it.as_ptr().addr(), owner.bytes);
        }
        drop(owner.own);
        Some("drop")
    }

    fn mapping(&mut self, mut it: Mapping, mut bytes: Vec<u8>) -> Done {
        let len = bytes.len();
        let end = it.as_ptr_range().end;
        let is_behind = |other: &Mapping| !other.is_empty() && other.as_ptr() == end;
        let behind = |owner: &Owner| matches!(&owner.own, Own::Bytes(other) if is_behind(other));
        // Neighbours are rare.
        let joins = self.owners.iter().any(behind) && self.numbers.one_in(2);
        let done = match if joins { 5 } else { self.below(10) } {
            0 | 1 => {
                let new = self.place(2 * PAGES * page());
                let done = it.resize(new).is_ok();
                // An empty mapping can't grow; nor can one of several parts, if it gets more pages.
                assert!(done || len == 0 || new > len.next_multiple_of(page()));
                if done {
                    resize(&mut bytes, new, 0);
                }
                done.then_some("resize")
            }
            6 => {
                let (start, new) = (it.as_ptr(), self.place(2 * PAGES * page()));
                let done = it.resize_in_place(new).is_ok();
                if done {
                    resize(&mut bytes, new, 0);
                    assert!(new == 0 || it.as_ptr() == start);
                }
                done.then_some("resize in place")
            }
            2..=4 => {
                let at = self.place(len);
                let back = it.split_off(at);
                assert_eq!(back.is_ok(), at == len || at % page() == 0);
                back.ok().map(|back| {
                    let rest = bytes.split_off(at);
                    self.owners.push(Owner::new(Own::Bytes(back), rest));
                    "split"
                })
            }
            5 => {
                let any = |owner: &Owner| matches!(&owner.own, Own::Bytes(_));
                let owners = &self.owners;
                let n = owners.iter().position(behind).or_else(|| owners.iter().position(any));
                n.and_then(|n| {
                    let Owner { own: Own::Bytes(other), bytes: more, .. } =
                        self.owners.swap_remove(n)
                    else {
                        unreachable!()
                    };
                    let meets = other.as_ptr() == end && len % page() == 0;
                    let joined = it.try_unsplit(other);
                    assert_eq!(joined.is_ok(), meets || len == 0 || more.is_empty());
                    match joined {
                        Ok(()) => bytes.extend(more),
                        Err(other) => self.owners.push(Owner::new(Own::Bytes(other), more)),
                    }
                    meets.then_some("join")
                })
            }
            7 => {
                let range = self.range(len);
                let whole = |at: usize| at == len || at % page() == 0;
                let purged = it.purge(range.clone());
                assert_eq!(purged.is_ok(), whole(range.start) && whole(range.end));
                purged.ok().map(|_| {
                    bytes[range].fill(0);
                    "purge"
                })
            }
            8 => {
                self.owners.push(Owner::new(Own::Read(it.make_read_only().unwrap()), bytes));
                return Some("make read-only");
            }
            _ => {
                let mode = self.mode();
                let space = it.into_reservation(mode).unwrap();
                let pages = space.len() / page();
                let zeroes = vec![0; space.len()];
                let committed = vec![mode == Mode::Overcommit; pages];
                self.owners.push(Owner::reserved(space, zeroes, committed));
                return Some("make reservation");
            }
        };
        self.owners.push(Owner::new(Own::Bytes(it), bytes));
        done
    }

    fn reservation(
        &mut self,
        mut it: Reservation,
        mut bytes: Vec<u8>,
        mut committed: Vec<bool>,
    ) -> Done {
        let range = self.range(bytes.len());
        let whole = range.start % page() == 0 && range.end % page() == 0;
        let pages = range.start / page()..range.end / page();
        let is_ok = |result: Result<(), Error>| {
            assert_eq!(result.is_ok(), whole, "{range:?}: {result:?}");
            result.is_ok() && !range.is_empty()
        };
        let end = it.as_ptr().wrapping_add(it.len());
        let behind =
            |owner: &Owner| matches!(&owner.own, Own::Reserved(other) if other.as_ptr() == end);
        let joins = self.owners.iter().any(behind) && self.numbers.one_in(2);
        let done = match if joins { 6 } else { self.below(10) } {
            0..=2 => is_ok(it.commit(range.clone())).then(|| {
                committed[pages].fill(true);
                "commit"
            }),
            3 => is_ok(it.decommit(range.clone())).then(|| {
                committed[pages].fill(it.mode() == Mode::Overcommit);
                bytes[range.clone()].fill(0);
                "decommit"
            }),
            4 => is_ok(it.purge(range.clone())).then(|| {
                bytes[range.clone()].fill(0);
                "purge reservation"
            }),
            5 | 7 => {
                let at = range.start;
                let back = it.split_off(at);
                assert_eq!(back.is_ok(), at % page() == 0);
                back.ok().map(|back| {
                    let (rest, more) = (bytes.split_off(at), committed.split_off(at / page()));
                    self.owners.push(Owner::reserved(back, rest, more));
                    "split reservation"
                })
            }
            6 => self.owners.iter().position(behind).and_then(|n| {
                let Owner { own: Own::Reserved(other), bytes: rest, committed: more } =
                    self.owners.swap_remove(n)
                else {
                    unreachable!()
                };
                let alike = it.mode() == other.mode();
                let joined = it.try_unsplit(other);
                assert_eq!(joined.is_ok(), alike);
                match joined {
                    Ok(()) => {
                        bytes.extend(rest);
                        committed.extend(more);
                    }
                    Err(other) => self.owners.push(Owner::reserved(other, rest, more)),
                }
                alike.then_some("join reservation")
            }),
            8 => {
                self.owners.push(Owner::new(Own::Bytes(it.into_mapping().unwrap()), bytes));
                return Some("make mapping");
            }
            _ => {
                let fits = |owner: &mut Owner| matches!(&owner.own, Own::Bytes(other) if other.mapped_len() == it.len() && !other.is_empty());
                match self.owners.iter_mut().find_map(|owner| fits(owner).then_some(owner)) {
                    Some(Owner { own: Own::Bytes(other), .. }) => {
                        let place = it.as_ptr().cast_const();
                        // If it is refused, the place is dropped.
                        let placed = it.place(other).is_ok();
                        assert!(!placed || other.as_ptr() == place);
                        return placed.then_some("place");
                    }
                    _ => None,
                }
            }
        };
        self.owners.push(Owner::reserved(it, bytes, committed));
        done
    }

    fn reallocate(&mut self, mut it: Block, mut bytes: Vec<u8>) -> Done {
        let (size, byte) = (self.place(2 * PAGES * page()) + 1, self.byte());
        // SAFETY: it was allocated with this layout, and the new size is not 0.
        let start = unsafe { PageAlloc.realloc(it.start, it.layout, size) };
        assert!(!start.is_null() && start.addr() % it.layout.align() == 0);
        (it.start, it.layout) = (start, Layout::from_size_align(size, it.layout.align()).unwrap());
        let kept = bytes.len().min(size);
        resize(&mut bytes, size, byte);
        // SAFETY: the block is that long. `GlobalAlloc` does not say what it holds there.
        unsafe { start.add(kept).write_bytes(byte, size - kept) };
        self.owners.push(Owner::new(Own::Block(it), bytes));
        Some("reallocate")
    }

    /// Writes to all owners, while all of them are borrowed.
    fn write(&mut self) -> Done {
        let (a, b, byte) = (self.below(1 << 16), self.below(1 << 16), self.byte());
        let within = |len: usize| {
            let (a, b) = (a % (len + 1), b % (len + 1));
            a.min(b)..a.max(b)
        };
        let mut slices: Vec<_> = self.owners.iter_mut().flat_map(Owner::slices_mut).collect();
        let written: Vec<_> = slices.iter().map(|(at, slice)| (*at, slice.len())).collect();
        slices.iter_mut().for_each(|(_, slice)| {
            let bytes = within(slice.len());
            slice[bytes].fill(byte);
        });
        drop(slices);
        let mut written = written.into_iter();
        for owner in &mut self.owners {
            let n = owner.slices().len();
            if matches!(owner.own, Own::Read(_)) {
                continue;
            }
            for (at, len) in written.by_ref().take(n) {
                owner.bytes[at..][within(len)].fill(byte);
            }
        }
        Some("write")
    }
}

#[test]
fn owners_hold_the_bytes_that_the_model_says() {
    let mut done = BTreeMap::new();
    for seed in SEEDS {
        let pool = Pool::new(3, 2 * page(), 4 * page()).unwrap();
        let (numbers, left) = (Seeded(seed), HashMap::new());
        let mut world = World { numbers, pool: &pool, left, owners: Vec::new(), done };
        for step in 0..STEPS {
            let name = if world.numbers.one_in(4) { world.write() } else { world.step() };
            if let Some(name) = name {
                *world.done.entry(name).or_default() += 1;
            }
            for owner in &world.owners {
                owner.check(seed, step, name.unwrap_or("what was refused"));
            }
        }
        done = world.done;
    }
    println!("{done:?}");
    let never: Vec<_> = EVERY_STEP.iter().filter(|name| !done.contains_key(*name)).collect();
    assert!(never.is_empty(), "never succeeded: {never:?}; did: {done:?}");
}
