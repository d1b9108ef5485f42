//! Pods onto the nodes that there are.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Packer, Target};
use crate::fit::{NodeId, Resident};

impl Packer<'_> {
    /// Pods that an earlier plan bought a node for go there again: another way of packing might need one node more, and
    /// would buy it again and again while the first ones boot.
    pub(super) fn keep_bookings(&mut self) {
        let booked = &self.source.learned.booked;
        if booked.is_empty() {
            return;
        }
        let at: BTreeMap<&str, usize> = self
            .sites
            .iter()
            .enumerate()
            .map(|(at, site)| (self.state.node(site.id).node().metadata.name.as_str(), at))
            .collect();
        let mut wished = Vec::new();
        for (class, of) in self.classes.all.iter().enumerate() {
            let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
            let names = of.pods.iter().filter_map(|pod| booked.get(&pod.metadata.uid));
            names
                .filter_map(|name| at.get(name.as_str()))
                .for_each(|at| *counts.entry(*at).or_default() += 1);
            wished.extend(counts.into_iter().map(|(at, count)| (class, at, count)));
        }
        // One may have to wait for another: again, as long as that helps anybody.
        let mut helped = true;
        while helped {
            helped = false;
            for (class, at, count) in &mut wished {
                let kept = self.keep_booking(*class, *at, *count);
                *count -= kept;
                helped |= kept > 0;
            }
        }
    }

    /// How many of so many could be kept.
    fn keep_booking(&mut self, class: usize, at: usize, count: usize) -> usize {
        let id = self.sites[at].id;
        let each = if self.classes.is_simple(class) { count } else { 1 };
        let mut kept = 0;
        while kept < count {
            let fits = self.sites[at].free.times(&self.classes.all[class].wants).min(each).min(count - kept);
            if fits == 0 || !self.classes.wish(class).may_run(&self.state, id) {
                break;
            }
            self.put_on_site(class, at, fits);
            kept += fits;
        }
        kept
    }

    /// Places what fits on the nodes that there are.
    pub(super) fn use_sites(&mut self) {
        for class in 0..self.classes.all.len() {
            if self.classes.is_simple(class) {
                self.use_sites_for_many(class);
            } else {
                self.use_sites_one_by_one(class);
            }
        }
    }

    fn use_sites_for_many(&mut self, class: usize) {
        for at in 0..self.sites.len() {
            if self.left[class] == 0 {
                return;
            }
            let count = self.sites[at].free.times(&self.classes.all[class].wants).min(self.left[class]);
            let id = self.sites[at].id;
            if count > 0 && self.classes.wish(class).may_run(&self.state, id) {
                self.put_on_site(class, at, count);
            }
        }
    }

    pub(super) fn use_sites_one_by_one(&mut self, class: usize) {
        while self.left[class] > 0 {
            let (state, sites) = (&self.state, &self.sites);
            let wants = &self.classes.all[class].wants;
            let check = &self.classes.wishes[self.classes.all[class].wish].check;
            let fits = |at: &usize| sites[*at].free.holds(wants) && check.may_run(state, sites[*at].id);
            // Its like would not fit either: nothing has changed in between.
            let Some(at) = (0..sites.len()).find(fits) else { return };
            self.put_on_site(class, at, 1);
        }
    }

    fn put_on_site(&mut self, class: usize, at: usize, count: usize) {
        let id = self.sites[at].id;
        self.settle(class, id, count);
        let Self { classes, sites, .. } = self;
        sites[at].free.take(&classes.all[class].wants, count);
        self.note(class, Target::Node(id), count);
    }

    /// Puts the next pods of a class on a node of the state, and tells everybody who listens.
    pub(super) fn settle(&mut self, class: usize, id: NodeId, count: usize) {
        let pods: Vec<_> = self.next_pods(class, count).to_vec();
        for pod in pods {
            let resident = Arc::new(self.classes.all[class].as_resident.like(pod));
            self.state.place(Arc::clone(&resident), id);
            for wish in &self.attentive {
                self.classes.wishes[*wish].check.placed(&self.state, &resident, id);
            }
        }
    }
}

impl Resident {
    /// Its pod's name, for messages.
    pub fn path(&self) -> String {
        self.pod.metadata.path()
    }
}
