//! Chance by seed: the same seed gives the same story on every machine.

/// A sequence of numbers (splitmix64).
#[derive(Debug, Clone)]
pub(super) struct Dice(pub(super) u64);

impl Dice {
    /// A number below `n`; 0 where `n` is 0.
    pub(super) fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)).checked_rem(n).unwrap_or(0)
    }

    /// A time that is off by at most so many percent to either side.
    pub(super) fn around(&mut self, time: i64, percent: u64) -> i64 {
        let most = u64::try_from(time).unwrap_or(0).saturating_mul(percent) / 100;
        let off = self.below(most.saturating_mul(2).saturating_add(1));
        time + i64::try_from(off).unwrap_or(0) - i64::try_from(most).unwrap_or(0)
    }
}
