//! Room as a packer counts it: whole numbers by dimension, without names.
//!
//! The dimensions are cpu, memory, ephemeral storage and pods, then the further resources that some waiting pod wants:
//! what nobody wants keeps nobody away.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::fit::{Amounts, NodeState};

/// The dimensions that every pod and node has.
const BASIC: usize = 4;

/// The further resources, by name, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Dims {
    names: Vec<Arc<str>>,
}

impl Dims {
    /// Those that some of these want.
    pub(crate) fn of<'a>(wants: impl Iterator<Item = &'a Amounts>) -> Self {
        let names: BTreeSet<Arc<str>> = wants
            .flat_map(|wants| wants.others.iter().filter(|(_, amount)| **amount > 0))
            .map(|(name, _)| Arc::clone(name))
            .collect();
        Self { names: names.into_iter().collect() }
    }

    fn room(&self, amounts: &Amounts, pods: i64) -> Room {
        Room {
            basic: [amounts.cpu, amounts.memory, amounts.ephemeral_storage, pods],
            extra: self.names.iter().map(|name| amounts.other(name)).collect(),
        }
    }

    /// What one pod takes.
    pub(crate) fn wants(&self, amounts: &Amounts) -> Room {
        self.room(amounts, 1)
    }

    /// What is free on a node.
    pub(crate) fn free(&self, node: &NodeState) -> Room {
        let count = i64::try_from(node.pod_count()).unwrap_or(i64::MAX);
        let mut free = self.room(node.has(), node.takes_pods());
        free.take(&self.room(node.used(), count), 1);
        free
    }
}

/// Amounts by dimension.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Room {
    basic: [i64; BASIC],
    extra: Vec<i64>,
}

impl Room {
    /// All dimensions.
    pub(crate) fn amounts(&self) -> impl Iterator<Item = i64> {
        self.basic.iter().chain(&self.extra).copied()
    }

    /// Thousandths of cpu, and bytes.
    pub(crate) const fn cpu_and_memory(&self) -> (i64, i64) {
        (self.basic[0], self.basic[1])
    }

    fn change(&mut self, other: &Self, times: i64, how: fn(i64, i64) -> i64) {
        for (slot, amount) in self.basic.iter_mut().zip(&other.basic) {
            *slot = how(*slot, amount.saturating_mul(times));
        }
        for (slot, amount) in self.extra.iter_mut().zip(&other.extra) {
            *slot = how(*slot, amount.saturating_mul(times));
        }
    }

    /// Adds so many times.
    pub(crate) fn add(&mut self, other: &Self, times: usize) {
        self.change(other, i64::try_from(times).unwrap_or(i64::MAX), i64::saturating_add);
    }

    /// Takes away so many times.
    pub(crate) fn take(&mut self, other: &Self, times: usize) {
        self.change(other, i64::try_from(times).unwrap_or(i64::MAX), i64::saturating_sub);
    }

    /// Whether there is room for one more that wants this.
    pub(crate) fn holds(&self, wants: &Self) -> bool {
        self.basic.iter().zip(&wants.basic).all(|(free, wants)| *wants <= 0 || wants <= free)
            && self.extra.iter().zip(&wants.extra).all(|(free, wants)| *wants <= 0 || wants <= free)
    }

    /// Whether there is room for all of `used` and one more that wants this.
    pub(crate) fn holds_both(&self, used: &Self, wants: &Self) -> bool {
        let fits =
            |((of, used), wants): ((&i64, &i64), &i64)| *wants <= 0 || *wants <= of.saturating_sub(*used);
        self.basic.iter().zip(&used.basic).zip(&wants.basic).all(fits)
            && self.extra.iter().zip(&used.extra).zip(&wants.extra).all(fits)
    }

    /// How many that want this fit.
    pub(crate) fn times(&self, wants: &Self) -> usize {
        let counts = self.amounts().zip(wants.amounts()).filter(|(_, wants)| *wants > 0);
        let least = counts.map(|(free, wants)| if free <= 0 { 0 } else { free / wants }).min();
        usize::try_from(least.unwrap_or(i64::MAX)).unwrap_or(usize::MAX)
    }

    /// The largest part that this is of another, over all dimensions.
    pub(crate) fn share_of(&self, of: &Self) -> f64 {
        let shares = self.amounts().zip(of.amounts()).map(|(part, of)| match (part, of) {
            (part, _) if part <= 0 => 0.0,
            (_, of) if of <= 0 => f64::INFINITY,
            (part, of) => part as f64 / of as f64,
        });
        shares.fold(0.0, f64::max)
    }

    /// To the larger of both, dimension by dimension.
    pub(crate) fn raise(&mut self, other: &Self) {
        if self.extra.len() < other.extra.len() {
            self.extra.resize(other.extra.len(), 0);
        }
        self.change(other, 1, i64::max);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(cpu: i64, memory: i64, pods: i64) -> Room {
        Room { basic: [cpu, memory, 0, pods], extra: Vec::new() }
    }

    #[test]
    fn how_many_fit_is_what_the_scarcest_dimension_says() {
        for (free, wants, times, holds) in [
            (room(1000, 1000, 110), room(200, 100, 1), 5, true),
            (room(1000, 1000, 3), room(200, 100, 1), 3, true),
            (room(100, 1000, 110), room(200, 100, 1), 0, false),
            // Overbooked in what the pod does not want: no obstacle, as for the scheduler.
            (room(-500, 1000, 110), room(0, 100, 1), 10, true),
            (room(0, 0, 2), room(0, 0, 1), 2, true),
        ] {
            assert_eq!((free.times(&wants), free.holds(&wants)), (times, holds), "{free:?} {wants:?}");
        }
    }
}
