//! Where waiting pods go: onto what there is, onto what boots, and onto what is to be bought, in one plan.
//!
//! ```text
//!   pods ─► classes ─► nodes that are ready ─► nodes that boot ─► nodes on their way out ─► new nodes ─► what is left
//!                      (sites.rs)                                                          (buy.rs, exact.rs)
//! ```
//!
//! Pods that no neighbour matters to are counted, not tried: the cost grows with classes and offers, not with pods and nodes.
//! The others go one by one through [`fit`](crate::fit). Preferences play no part. Invariants: every placement fits when it is
//! made; no limit is passed; the plan depends on nothing but its arguments, the order of their lists left out.

mod buy;
pub(crate) mod class;
mod exact;
mod fill;
mod limits;
pub(crate) mod offer;
pub(crate) mod room;
mod sites;

use std::collections::BTreeMap;
use std::sync::Arc;

use provisioner::names::{PoolName, Zone};
use provisioner::spec::Shape;

use self::class::Classes;
pub use self::class::{Class, Urgency};
use self::limits::Allowance;
pub use self::limits::Limit;
use self::offer::{Catalog, Source};
pub use self::offer::{POOL, Withheld};
use self::room::Room;
use crate::fit::{NodeId, State};
use crate::view::Pod;

/// How near a node is to taking pods; the nearer ones are filled first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// It takes pods now.
    Ready,
    /// It is being made.
    Booting,
    /// It is on its way out, and could be called back.
    Leaving,
}

/// Where pods of a class go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// A node of the state that the plan began with.
    Node(NodeId),
    /// A new one, by its place in [`Packing::new`].
    New(usize),
}

/// Some pods of a class that go to one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Group {
    /// The class, by its place in [`Packing::classes`].
    pub class: usize,
    /// Where they go.
    pub target: Target,
    /// How many.
    pub count: usize,
}

/// A node to be bought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewNode {
    /// Of which pool.
    pub pool: PoolName,
    /// Where.
    pub zone: Option<Zone>,
    /// How large.
    pub shape: Shape,
    /// Its price in millionths, or its weight.
    pub cost: u64,
    /// Whether only spare room asks for it.
    pub spare: bool,
}

/// Pods that go nowhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// The class, by its place in [`Packing::classes`].
    pub class: usize,
    /// How many of its pods: the last ones.
    pub count: usize,
    /// The limit in the way, if a limit is.
    pub limit: Option<Limit>,
}

/// A plan: who goes where, what is to be bought, and who is left.
#[derive(Debug, Clone)]
pub struct Packing {
    /// The classes, in the order in which they were placed.
    pub classes: Vec<Class>,
    /// Who goes where, in the order of deciding; of each class the pods in their order.
    pub groups: Vec<Group>,
    /// What is to be bought.
    pub new: Vec<NewNode>,
    /// Who goes nowhere.
    pub left: Vec<Left>,
    /// What could not be bought, and why.
    pub withheld: Vec<(PoolName, Option<Zone>, Shape, Withheld)>,
}

impl Packing {
    /// Every pod that goes somewhere, with its place, in the order of deciding.
    pub fn assignments(&self) -> impl Iterator<Item = (&Arc<Pod>, Target)> {
        let mut next = vec![0; self.classes.len()];
        self.groups.iter().flat_map(move |group| {
            let from = next[group.class];
            next[group.class] += group.count;
            self.classes[group.class].pods[from..from + group.count].iter().map(|pod| (pod, group.target))
        })
    }

    /// The pods that go nowhere, with the limit in the way.
    pub fn unplaced(&self) -> impl Iterator<Item = (&Arc<Pod>, Option<&Limit>)> {
        self.left.iter().flat_map(|left| {
            let pods = &self.classes[left.class].pods;
            pods[pods.len() - left.count..].iter().map(|pod| (pod, left.limit.as_ref()))
        })
    }

    /// What all new nodes cost together: millionths, or weights.
    pub fn cost(&self) -> u64 {
        self.new.iter().fold(0, |sum, node| sum.saturating_add(node.cost))
    }
}

/// A node of the state, with what is free on it.
#[derive(Debug, Clone)]
struct Site {
    id: NodeId,
    free: Room,
}

/// A node to be bought, while its size is still open.
#[derive(Debug, Clone)]
struct Bin {
    kind: usize,
    offer: usize,
    /// Its node in the state, where neighbours matter.
    id: Option<NodeId>,
    used: Room,
    /// What its offer has left.
    free: Room,
    wishes: Vec<usize>,
    spare: bool,
}

/// A plan in the making.
struct Packer<'a> {
    source: &'a Source<'a>,
    state: State,
    classes: Classes,
    left: Vec<usize>,
    limits: Vec<Option<Limit>>,
    groups: Vec<Group>,
    sites: Vec<Site>,
    catalog: Catalog,
    allowance: Allowance,
    bins: Vec<Bin>,
    in_zones: BTreeMap<(PoolName, Option<Zone>), usize>,
    /// Wishes that must hear of every placement.
    attentive: Vec<usize>,
    /// Whether a wish suits an offer: by wish, then by the offer's place in the catalog's state.
    suits: Vec<Vec<Option<bool>>>,
    /// A limit forbids that bins grow.
    no_growth: bool,
}

/// Who is to be placed on what.
pub(crate) struct Problem {
    /// The cluster.
    pub(crate) state: State,
    /// The nodes that may take pods, and how near each is to taking them.
    pub(crate) sites: Vec<(NodeId, Tier)>,
    /// Who is to be placed.
    pub(crate) pods: Vec<(Arc<Pod>, Urgency)>,
    /// Machines of others in our pools.
    pub(crate) others: BTreeMap<PoolName, u32>,
}

/// Places pods; also gives back the state with everybody placed on its nodes.
pub(crate) fn pack(source: &Source<'_>, problem: Problem) -> (Packing, State) {
    let Problem { state, mut sites, pods, others } = problem;
    let classes = class::classes(pods, &state);
    // The busier ones first, so that idle ones stay idle; then by name, which is the order of the state.
    sites.sort_by_key(|(id, tier)| {
        (*tier, state.node(*id).residents().all(|one| is_everywhere(&one.pod)), *id)
    });
    let site = |(id, _): &(NodeId, Tier)| Site { id: *id, free: classes.dims.free(state.node(*id)) };
    let sites = sites.iter().map(site).collect();
    let attentive = (0..classes.wishes.len()).filter(|wish| !classes.wishes[*wish].is_simple).collect();
    let mut packer = Packer {
        source,
        left: classes.all.iter().map(|class| class.pods.len()).collect(),
        limits: vec![None; classes.all.len()],
        groups: Vec::new(),
        sites,
        catalog: Catalog::default(),
        allowance: Allowance::of(source, &others),
        bins: Vec::new(),
        in_zones: BTreeMap::new(),
        attentive,
        suits: vec![Vec::new(); classes.wishes.len()],
        no_growth: false,
        state,
        classes,
    };
    packer.keep_bookings();
    packer.use_sites();
    if packer.left.iter().any(|left| *left > 0) {
        packer.catalog = offer::catalog(source, &packer.classes.dims);
        packer.in_zones = Catalog::in_zones(source);
        packer.seed_places();
        packer.buy();
    }
    packer.finish()
}

/// Whether a pod runs on every node of its kind, or belongs to its node: it does not make a node busy.
pub(crate) fn is_everywhere(pod: &Pod) -> bool {
    pod.is_mirror() || pod.metadata.controller().is_some_and(|owner| owner.kind == "DaemonSet")
}

impl Packer<'_> {
    /// The pods of a class that are to be placed next.
    fn next_pods(&self, class: usize, count: usize) -> &[Arc<Pod>] {
        let pods = &self.classes.all[class].pods;
        let from = pods.len() - self.left[class];
        &pods[from..from + count]
    }

    /// Notes that so many pods of a class go somewhere.
    fn note(&mut self, class: usize, target: Target, count: usize) {
        self.left[class] -= count;
        match self.groups.last_mut() {
            Some(last) if last.class == class && last.target == target => last.count += count,
            _ => self.groups.push(Group { class, target, count }),
        }
    }

    fn buy(&mut self) {
        for urgency in [Urgency::Waiting, Urgency::Spare] {
            // One pod may have to be near another that is placed after it: again, as long as that helps anybody.
            loop {
                let before: usize = self.left.iter().sum();
                self.help_each(urgency);
                if self.left.iter().sum::<usize>() == before {
                    break;
                }
            }
            self.use_slack(urgency);
            self.buy_simply(urgency);
        }
    }

    fn help_each(&mut self, urgency: Urgency) {
        for class in 0..self.classes.all.len() {
            let is_due = self.classes.all[class].urgency == urgency && self.left[class] > 0;
            if is_due && !self.classes.is_simple(class) {
                self.use_sites_one_by_one(class);
                self.buy_exactly(class);
            }
        }
    }

    fn finish(mut self) -> (Packing, State) {
        self.shrink();
        let new = self.bins.iter().map(|bin| {
            let kind = &self.catalog.kinds[bin.kind];
            let offer = &kind.offers[bin.offer];
            NewNode {
                pool: kind.pool.clone(),
                zone: kind.zone.clone(),
                shape: offer.shape.clone(),
                cost: offer.cost,
                spare: bin.spare,
            }
        });
        let left = self.left.iter().zip(self.limits).enumerate().filter(|(_, (count, _))| **count > 0);
        let packing = Packing {
            new: new.collect(),
            left: left.map(|(class, (count, limit))| Left { class, count: *count, limit }).collect(),
            classes: self.classes.all,
            groups: self.groups,
            withheld: self.catalog.withheld,
        };
        (packing, self.state)
    }
}
