//! Where the numbers come from of which random calls are made.
#![allow(dead_code, unreachable_pub)]

/// Where numbers come from. A source that has run dry gives 0.
pub trait Source {
    fn next(&mut self) -> u64;

    /// Whether it has run dry.
    fn dry(&self) -> bool {
        false
    }

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

/// A fuzzer's bytes, two to a number, and eight where the first two say so.
pub struct Bytes<'a>(pub &'a [u8]);

impl Source for Bytes<'_> {
    fn dry(&self) -> bool {
        self.0.is_empty()
    }

    fn next(&mut self) -> u64 {
        let take = |bytes: &mut &[u8], n: usize| {
            let (head, rest) = bytes.split_at(n.min(bytes.len()));
            *bytes = rest;
            head.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
        };
        match take(&mut self.0, 2) {
            0xffff => take(&mut self.0, 8),
            number => number,
        }
    }
}
