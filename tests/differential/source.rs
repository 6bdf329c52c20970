//! Where the numbers come from of which random calls are made.
#![allow(dead_code, unreachable_pub)]

/// Where numbers come from. It never runs dry.
pub trait Source {
    fn next(&mut self) -> u64;

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == n - 1
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }
}

/// A generator with a seed (SplitMix64).
pub struct Seeded(pub u64);

impl Source for Seeded {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// A fuzzer's bytes, two to a number, and eight where the first two say so. Behind them it goes on
/// with a generator whose seed is the last of them, so that a short input is a long sequence too.
pub struct Bytes<'a> {
    rest: &'a [u8],
    tail: Seeded,
}

impl<'a> Bytes<'a> {
    pub fn new(rest: &'a [u8]) -> Self {
        let last = rest[rest.len().saturating_sub(8)..].iter();
        let seed = last.fold(rest.len() as u64, |seed, byte| seed << 8 ^ u64::from(*byte));
        Self { rest, tail: Seeded(seed) }
    }

    fn take(&mut self, n: usize) -> u64 {
        let (head, rest) = self.rest.split_at(n.min(self.rest.len()));
        self.rest = rest;
        head.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
    }
}

impl Source for Bytes<'_> {
    fn next(&mut self) -> u64 {
        if self.rest.is_empty() {
            return self.tail.next();
        }
        match self.take(2) {
            0xffff => self.take(8),
            number => number,
        }
    }
}
