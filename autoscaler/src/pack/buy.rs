//! New nodes for pods that no neighbour matters to: by counting.
//!
//! Again and again: the class with the fewest places to go; of the offers that it may have the one that costs least for what
//! it takes away from the whole remainder; filled in proportion; and as many of the same as the remainder needs. The cost is
//! that of classes times offers for each *different* node, so a thousand equal nodes cost what one costs.

use super::fill::{Share, fill, part};
use super::room::Room;
use super::{Limit, Packer, Urgency};

/// How much more than at its best a class may cost on a node that it shares. Five percent: what rounding to whole pods makes.
const TOLERANCE: f64 = 1.05;

/// What is known of an offer for a class.
#[derive(Clone, Copy)]
struct Fits {
    /// What one pod costs if the node is full of its like.
    unit: f64,
}

/// What could be bought for whom.
struct Market {
    /// By class, then by offer in the order of kinds.
    fits: Vec<Vec<Option<Fits>>>,
    /// Kind and offer, in the order of kinds.
    offers: Vec<(usize, usize)>,
    /// How much a class is of the largest node, by class.
    sizes: Vec<f64>,
    /// How many kinds a class may go to.
    kinds: Vec<usize>,
}

impl Packer<'_> {
    /// Fills what new nodes have left.
    pub(super) fn use_slack(&mut self, urgency: Urgency) {
        for class in 0..self.classes.all.len() {
            if self.classes.all[class].urgency != urgency || !self.classes.is_simple(class) {
                continue;
            }
            for at in 0..self.bins.len() {
                if self.left[class] == 0 {
                    break;
                }
                let bin = &self.bins[at];
                let (kind, offer) = (bin.kind, bin.offer);
                let count = bin.free.times(&self.classes.all[class].wants).min(self.left[class]);
                if count > 0 && self.suits(self.classes.all[class].wish, kind, offer) {
                    self.put_in_bin(class, at, count);
                }
            }
        }
    }

    /// Buys for all classes of an urgency that are simple.
    pub(super) fn buy_simply(&mut self, urgency: Urgency) {
        let mut open: Vec<usize> = (0..self.classes.all.len())
            .filter(|class| self.classes.all[*class].urgency == urgency && self.left[*class] > 0)
            .filter(|class| self.classes.is_simple(*class))
            .collect();
        if open.is_empty() {
            return;
        }
        let market = self.market(&open);
        while !open.is_empty() {
            let allowed = self.allowed(&market);
            let rarest = |class: &&usize| market.kinds[**class];
            // The first of the rarest: the classes are in order, the larger first.
            let Some(first) = open.iter().min_by_key(rarest).copied() else { return };
            let Some((offer, group)) = self.best_offer(&market, &open, first, &allowed) else {
                self.limits[first] = self.limit_of(&market, first);
                open.retain(|class| *class != first);
                continue;
            };
            self.order(&market, &open, first, offer, &group);
            open.retain(|class| self.left[*class] > 0);
        }
    }

    fn market(&mut self, open: &[usize]) -> Market {
        let kinds = 0..self.catalog.kinds.len();
        let offers: Vec<(usize, usize)> = kinds
            .flat_map(|kind| (0..self.catalog.kinds[kind].offers.len()).map(move |o| (kind, o)))
            .collect();
        let mut largest = Room::default();
        for (kind, offer) in &offers {
            largest.raise(&self.catalog.kinds[*kind].offers[*offer].room);
        }
        let count = self.classes.all.len();
        let mut market =
            Market { fits: vec![Vec::new(); count], sizes: vec![0.0; count], kinds: vec![0; count], offers };
        for class in open {
            let wish = self.classes.all[*class].wish;
            let mut last = None;
            for at in 0..market.offers.len() {
                let (kind, offer) = market.offers[at];
                let suits = self.suits(wish, kind, offer);
                let one = &self.catalog.kinds[kind].offers[offer];
                let times = one.room.times(&self.classes.all[*class].wants);
                let fits = (suits && times > 0).then(|| Fits { unit: one.cost as f64 / times as f64 });
                if fits.is_some() && last != Some(kind) {
                    market.kinds[*class] += 1;
                    last = Some(kind);
                }
                market.fits[*class].push(fits);
            }
            market.sizes[*class] = self.classes.all[*class].wants.share_of(&largest);
        }
        market
    }

    fn allowed(&self, market: &Market) -> Vec<bool> {
        let allows = |(kind, offer): &(usize, usize)| {
            let kind = &self.catalog.kinds[*kind];
            self.allowance.allows(&kind.pool, &kind.offers[*offer].shape).is_ok()
        };
        market.offers.iter().map(allows).collect()
    }

    fn limit_of(&self, market: &Market, class: usize) -> Option<Limit> {
        let fitting = market.offers.iter().zip(&market.fits[class]).filter(|(_, fits)| fits.is_some());
        let limits = fitting.filter_map(|((kind, offer), _)| {
            let kind = &self.catalog.kinds[*kind];
            self.allowance.allows(&kind.pool, &kind.offers[*offer].shape).err()
        });
        limits.min()
    }

    /// The offer that costs least for what it takes away from the remainder, and the classes that share it.
    fn best_offer(
        &self,
        market: &Market,
        open: &[usize],
        first: usize,
        allowed: &[bool],
    ) -> Option<(usize, Vec<usize>)> {
        let best_unit = |class: usize| {
            let fits = market.fits[class].iter().zip(allowed).filter(|(_, allowed)| **allowed);
            fits.filter_map(|(fits, _)| fits.map(|fits| fits.unit)).fold(f64::INFINITY, f64::min)
        };
        let units: Vec<f64> = open.iter().map(|class| best_unit(*class)).collect();
        let mut best: Option<(f64, usize, usize)> = None;
        for (at, (kind, offer)) in market.offers.iter().enumerate() {
            if !allowed[at] || market.fits[first][at].is_none() {
                continue;
            }
            let group = self.sharing(market, open, &units, first, at);
            let room = &self.catalog.kinds[*kind].offers[*offer].room;
            let value: f64 = group.iter().map(|share| share.left as f64 * market.sizes[share.class]).sum();
            let worth = part(room, group.iter()) * value;
            let rate = self.catalog.kinds[*kind].offers[*offer].cost as f64 / worth.max(f64::MIN_POSITIVE);
            let there = self.zone_count(*kind);
            let better = best.is_none_or(|(than, others, _)| {
                rate.total_cmp(&than).then(there.cmp(&others)) == std::cmp::Ordering::Less
            });
            if better {
                best = Some((rate, there, at));
            }
        }
        let (.., at) = best?;
        let group = self.sharing(market, open, &units, first, at);
        Some((at, group.iter().map(|share| share.class).collect()))
    }

    /// The classes for which an offer is about as good as any.
    fn sharing<'a>(
        &'a self,
        market: &Market,
        open: &[usize],
        units: &[f64],
        first: usize,
        at: usize,
    ) -> Vec<Share<'a>> {
        let shares = |(class, unit): (&usize, &f64)| {
            let fits = market.fits[*class][at].as_ref()?;
            (*class == first || fits.unit <= unit * TOLERANCE).then(|| self.share(*class))
        };
        open.iter().zip(units).filter_map(shares).collect()
    }

    fn share(&self, class: usize) -> Share<'_> {
        Share { class, left: self.left[class], wants: &self.classes.all[class].wants }
    }

    /// Buys the offer, filled, as often as the remainder fills it alike and as the limits allow.
    fn order(&mut self, market: &Market, open: &[usize], first: usize, at: usize, group: &[usize]) {
        let (kind, offer) = market.offers[at];
        let room = &self.catalog.kinds[kind].offers[offer].room;
        let shares: Vec<Share<'_>> = group.iter().map(|class| self.share(*class)).collect();
        let other = |class: &&usize| market.fits[**class][at].is_some() && !group.contains(class);
        let others: Vec<Share<'_>> = open.iter().filter(other).map(|class| self.share(*class)).collect();
        let taken = fill(room, &shares, first, &others);
        let alike = taken.iter().map(|(class, count)| self.left[*class] / count).min().unwrap_or(1);
        // Other zones are as good: each gets its part of equal nodes.
        let of = &self.catalog.kinds[kind].pool;
        let zones = self.catalog.kinds.iter().filter(|one| one.pool == *of).count().max(1);
        for n in 0..alike.div_ceil(zones).max(1) {
            let of = &self.catalog.kinds[kind];
            if n > 0 && self.allowance.allows(&of.pool, &of.offers[offer].shape).is_err() {
                return;
            }
            let bin = self.open(kind, offer, first, false);
            for (class, count) in &taken {
                self.put_in_bin(*class, bin, *count);
            }
        }
    }
}
