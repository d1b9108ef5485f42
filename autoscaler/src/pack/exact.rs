//! New nodes for pods that neighbours matter to: one pod at a time, each where it costs least.
//!
//! A new node has no size yet: it has the cheapest that holds what is on it, and grows. What a pod costs is what its node
//! costs more than before, so that pods fill what is paid for already, and no pod decides the size for all.

use std::sync::Arc;

use super::class::spreads;
use super::offer::HOSTNAME;
use super::{Bin, Limit, Packer, Target};
use crate::fit::{State, imagine};
use crate::view::Node;

/// Where a pod could go.
#[derive(Clone, Copy)]
enum Place {
    /// A bin, with the offer that it would have.
    Bin(usize, usize),
    /// A new bin of this kind and offer.
    New(usize, usize),
}

impl Packer<'_> {
    /// Every place that could be bought counts for spreads over anything but nodes: else the first place would seem to be the
    /// only one, and the plan would break as soon as the second one is there.
    pub(super) fn seed_places(&mut self) {
        let spread = |wish: &usize| {
            let pod = self.classes.wishes[*wish].check.pod();
            spreads(pod).any(|key| key != HOSTNAME)
        };
        let spread: Vec<usize> = self.attentive.iter().copied().filter(spread).collect();
        if spread.is_empty() {
            return;
        }
        for kind in &self.catalog.kinds {
            let Some(offer) = kind.offers.first() else { continue };
            let mut ghost: Node = self.catalog.state.node(offer.id).node().clone();
            ghost.metadata.labels.remove(HOSTNAME);
            let mut places = State::default();
            let id = places.imagine(Arc::new(ghost), None);
            for wish in &spread {
                self.classes.wishes[*wish].check.node_added(&places, id);
            }
        }
    }

    /// Whether a wish suits an offer.
    pub(super) fn suits(&mut self, wish: usize, kind: usize, offer: usize) -> bool {
        let id = self.catalog.kinds[kind].offers[offer].id;
        let known = &mut self.suits[wish];
        if known.len() <= id.index() {
            known.resize(id.index() + 1, None);
        }
        let (check, state) = (&self.classes.wishes[wish].check, &self.catalog.state);
        *known[id.index()].get_or_insert_with(|| check.suits(state, id))
    }

    pub(super) fn buy_exactly(&mut self, class: usize) {
        self.limits[class] = None;
        while self.left[class] > 0 {
            let (cost, place) = match (self.cheapest_bin(class), self.cheapest_new(class)) {
                (Some(bin), Ok(new)) => {
                    if bin.0 <= new.0 {
                        bin
                    } else {
                        new
                    }
                }
                (Some(bin), Err(_)) => bin,
                (None, Ok(new)) => new,
                (None, Err(limit)) => {
                    self.limits[class] = limit;
                    return;
                }
            };
            match place {
                Place::Bin(at, offer) => {
                    if cost > 0 && !self.grow(at, offer) {
                        self.no_growth = true;
                        continue;
                    }
                    self.put_in_bin(class, at, 1);
                }
                Place::New(kind, offer) => {
                    let at = self.open(kind, offer, class, true);
                    self.put_in_bin(class, at, 1);
                }
            }
        }
    }

    /// The bin where one more pod of a class costs least; among equal ones the fullest.
    fn cheapest_bin(&mut self, class: usize) -> Option<(u64, Place)> {
        let wish = self.classes.all[class].wish;
        let tells_apart = self.classes.wishes[wish].tells_apart;
        let mut verdicts: Vec<Option<bool>> = vec![None; self.catalog.kinds.len()];
        let mut best: Option<(u64, i64, Place)> = None;
        for at in 0..self.bins.len() {
            let bin = &self.bins[at];
            let Some(id) = bin.id else { continue };
            let (kind, now) = (bin.kind, bin.offer);
            if !tells_apart && verdicts[kind] == Some(false) {
                continue;
            }
            let most = best.as_ref().map_or(u64::MAX, |best| best.0);
            let wants = &self.classes.all[class].wants;
            let (offer, cost) = if bin.free.holds(wants) {
                (now, 0)
            } else if most == 0 || self.no_growth {
                continue;
            } else {
                let offers = &self.catalog.kinds[kind].offers;
                let base = offers[now].cost;
                let within = |offer: &usize| offers[*offer].cost - base <= most;
                let holds = |offer: &usize| offers[*offer].room.holds_both(&bin.used, wants);
                match (now + 1..offers.len()).take_while(within).find(holds) {
                    Some(offer) => (offer, offers[offer].cost - base),
                    None => continue,
                }
            };
            let left = bin.free.cpu_and_memory().0;
            if best.as_ref().is_some_and(|best| (best.0, best.1) <= (cost, left)) {
                continue;
            }
            if !self.suits(wish, kind, offer) || !self.bin_suits(at, offer) {
                continue;
            }
            let check = &self.classes.wishes[wish].check;
            let fits = match verdicts[kind] {
                Some(verdict) if !tells_apart => verdict,
                _ => *verdicts[kind].insert(check.may_run(&self.state, id)),
            };
            if fits {
                best = Some((cost, left, Place::Bin(at, offer)));
            }
        }
        best.map(|(cost, _, place)| (cost, place))
    }

    fn bin_suits(&mut self, at: usize, offer: usize) -> bool {
        if self.bins[at].offer == offer {
            return true;
        }
        let kind = self.bins[at].kind;
        let wishes = std::mem::take(&mut self.bins[at].wishes);
        let all = wishes.iter().all(|wish| self.suits(*wish, kind, offer));
        self.bins[at].wishes = wishes;
        all
    }

    /// The cheapest new node for a pod of a class, in the zone that has fewest of them.
    fn cheapest_new(&mut self, class: usize) -> Result<(u64, Place), Option<Limit>> {
        let wish = self.classes.all[class].wish;
        let mut best: Option<(u64, usize, Place)> = None;
        let mut hindered = None;
        for kind in 0..self.catalog.kinds.len() {
            let there = self.zone_count(kind);
            for offer in 0..self.catalog.kinds[kind].offers.len() {
                let one = &self.catalog.kinds[kind].offers[offer];
                let (cost, id) = (one.cost, one.id);
                if best.as_ref().is_some_and(|best| (best.0, best.1) <= (cost, there)) {
                    break;
                }
                if !one.room.holds(&self.classes.all[class].wants) || !self.suits(wish, kind, offer) {
                    continue;
                }
                if !self.classes.wishes[wish].check.may_run(&self.catalog.state, id) {
                    break;
                }
                let of = &self.catalog.kinds[kind];
                match self.allowance.allows(&of.pool, &of.offers[offer].shape) {
                    Ok(()) => best = Some((cost, there, Place::New(kind, offer))),
                    Err(limit) => hindered = hindered.or(Some(limit)),
                }
            }
        }
        best.map(|(cost, _, place)| (cost, place)).ok_or(hindered)
    }

    /// How many nodes there are and will be of a kind.
    pub(super) fn zone_count(&self, kind: usize) -> usize {
        let kind = &self.catalog.kinds[kind];
        self.in_zones.get(&(kind.pool.clone(), kind.zone.clone())).copied().unwrap_or(0)
    }

    /// Begins a bin; one that neighbours matter to gets a node in the state.
    pub(super) fn open(&mut self, kind: usize, offer: usize, class: usize, exact: bool) -> usize {
        let of = &self.catalog.kinds[kind];
        let one = &of.offers[offer];
        self.allowance.buy(&of.pool, &one.shape);
        *self.in_zones.entry((of.pool.clone(), of.zone.clone())).or_default() += 1;
        let at = self.bins.len();
        let mut id = None;
        if exact {
            let mut node = self.catalog.state.node(one.id).node().clone();
            node.metadata.name = format!("new-{at}-{}", of.pool);
            node.metadata.labels.insert(HOSTNAME.to_owned(), node.metadata.name.clone());
            let sets = &self.source.view.daemon_sets;
            // It went well in the catalog, where the same node is empty too.
            id = imagine(&mut self.state, Arc::new(node), one.csi.clone(), sets).ok();
            for wish in &self.attentive {
                if let Some(id) = id {
                    self.classes.wishes[*wish].check.node_added(&self.state, id);
                }
            }
        }
        let spare = self.classes.all[class].urgency == super::Urgency::Spare;
        let (free, wishes) = (one.room.clone(), Vec::new());
        self.bins.push(Bin { kind, offer, id, used: Default::default(), free, wishes, spare });
        at
    }

    /// Gives a bin another offer; false if a limit forbids it.
    pub(super) fn grow(&mut self, at: usize, to: usize) -> bool {
        let bin = &mut self.bins[at];
        let offers = &self.catalog.kinds[bin.kind].offers;
        if self.allowance.exchange(&offers[bin.offer].shape, &offers[to].shape).is_err() {
            return false;
        }
        bin.offer = to;
        bin.free = offers[to].room.clone();
        bin.free.take(&bin.used, 1);
        true
    }

    pub(super) fn put_in_bin(&mut self, class: usize, at: usize, count: usize) {
        if let Some(id) = self.bins[at].id.filter(|_| !self.attentive.is_empty()) {
            self.settle(class, id, count);
        }
        let of = &self.classes.all[class];
        let bin = &mut self.bins[at];
        let mut more = of.wants.clone();
        more.take(&of.wants, 1);
        more.add(&of.wants, count);
        bin.free.take(&more, 1);
        more.add(&bin.used, 1);
        bin.used = more;
        if !bin.wishes.contains(&of.wish) {
            bin.wishes.push(of.wish);
        }
        self.note(class, Target::New(at), count);
    }

    /// Gives every bin the cheapest offer that holds what is on it.
    pub(super) fn shrink(&mut self) {
        for at in 0..self.bins.len() {
            let bin = &self.bins[at];
            let (kind, now) = (bin.kind, bin.offer);
            let used = bin.used.clone();
            let offers = &self.catalog.kinds[kind].offers;
            let holds: Vec<usize> = (0..now).filter(|offer| offers[*offer].room.holds(&used)).collect();
            if let Some(to) = holds.into_iter().find(|offer| self.bin_suits(at, *offer)) {
                // A limit that does not allow it leaves the bin as it is, which was allowed.
                self.grow(at, to);
            }
        }
    }
}
