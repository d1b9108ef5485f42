//! Chance by seed, so that whatever it did can be done again.

use std::time::Duration;

/// A small generator: the same seed, the same numbers. (splitmix64 by S. Vigna.)
#[derive(Debug, Clone)]
pub struct Random {
    state: u64,
    hits: u64,
}

impl Random {
    /// By seed.
    pub fn new(seed: u64) -> Self {
        Self { state: seed, hits: 0 }
    }
    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    /// True in `thousandths` of a thousand cases.
    pub fn chance(&mut self, thousandths: u64) -> bool {
        let hit = thousandths > 0 && self.draw() % 1000 < thousandths;
        self.hits += u64::from(hit);
        hit
    }
    /// How often [`chance`](Self::chance) was true.
    pub fn hits(&self) -> u64 {
        self.hits
    }
    /// A number below `most`; 0, without a draw, where there is none.
    pub fn below(&mut self, most: u64) -> u64 {
        if most == 0 { 0 } else { self.draw() % most }
    }
    /// A time below `most`.
    pub fn time(&mut self, most: Duration) -> Duration {
        Duration::from_millis(self.below(u64::try_from(most.as_millis()).unwrap_or(u64::MAX)))
    }
}
