//! Chance by seed: the same number gives the same cluster, on every machine.

use serde_json::{Map, Value};

/// A source of numbers (SplitMix64, Steele and others 2014): small, and good enough to make test cases.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).expect("it is below a usize")
    }

    /// True in so many of a hundred cases.
    pub(crate) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub(crate) fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len())]
    }

    /// Up to `most` things.
    pub(crate) fn list(&mut self, most: usize, mut make: impl FnMut(&mut Self) -> Value) -> Value {
        let count = self.below(most + 1);
        (0..count).map(|_| make(self)).collect()
    }

    /// Sets a field in so many of a hundred cases.
    pub(crate) fn maybe(
        &mut self,
        percent: usize,
        object: &mut Map<String, Value>,
        key: &str,
        make: impl FnOnce(&mut Self) -> Value,
    ) {
        if self.chance(percent) {
            object.insert(key.to_owned(), make(self));
        }
    }
}
