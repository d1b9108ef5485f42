//! What could be bought: for each pool, zone and shape what a new node would offer, and what it costs.
//!
//! What it offers is what a real node of that shape has; before the first one, the shape minus what the recipes keep. What
//! runs on every node is taken off before any pod of ours. Offers live in a state of their own, so that no spread counts nodes
//! that nobody bought.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use provisioner::ledger::Ledger;
use provisioner::names::{PoolName, Zone};
use provisioner::plan::owner_of;
use provisioner::policy::Policy;
use provisioner::provider::Owner;
use provisioner::spec::{Pool, Shape, Spec};

use super::room::{Dims, Room};
use crate::fit::{NoRoom, NodeId, State, imagine, template};
use crate::learned::{Learned, Reserved};
use crate::quantity::Quantity;
use crate::view::{
    CsiNode, Effect, KubeView, Labels, Metadata, Node, NodeSpec, NodeStatus, ResourceList, Taint,
};

pub(crate) const HOSTNAME: &str = "kubernetes.io/hostname";
const ZONE: &str = "topology.kubernetes.io/zone";
const TYPE: &str = "node.kubernetes.io/instance-type";
/// The label that says which pool a node is of.
pub const POOL: &str = "continuum.dev/pool";

/// One shape of one pool in one zone.
#[derive(Debug, Clone)]
pub(crate) struct Offer {
    pub(crate) shape: Shape,
    pub(crate) cost: u64,
    /// Its node in the state of the offers.
    pub(crate) id: NodeId,
    pub(crate) csi: Option<Arc<CsiNode>>,
    pub(crate) room: Room,
}

/// The shapes of one pool in one zone, cheapest first.
#[derive(Debug, Clone)]
pub(crate) struct Kind {
    pub(crate) pool: PoolName,
    pub(crate) zone: Option<Zone>,
    pub(crate) offers: Vec<Offer>,
}

/// Something that cannot be bought now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Withheld {
    /// It failed lately: the last words, and seconds to the next try.
    Backoff {
        /// What the cloud said.
        why: String,
        /// Until the next try.
        secs: i64,
    },
    /// It cannot hold what runs on every node.
    DaemonSet(NoRoom),
    /// A taint of the pool that cannot be read.
    Taint(String),
}

/// All that could be bought.
#[derive(Debug, Clone, Default)]
pub(crate) struct Catalog {
    pub(crate) kinds: Vec<Kind>,
    pub(crate) state: State,
    pub(crate) withheld: Vec<(PoolName, Option<Zone>, Shape, Withheld)>,
}

/// What a catalog is made of.
pub(crate) struct Source<'a> {
    pub(crate) spec: &'a Spec,
    pub(crate) policy: &'a Policy,
    pub(crate) ledger: &'a Ledger,
    pub(crate) view: &'a KubeView,
    pub(crate) learned: &'a Learned,
    pub(crate) now: jiff::Timestamp,
}

impl Source<'_> {
    /// The pools that this ledger plans and that may grow.
    pub(crate) fn pools(&self) -> impl Iterator<Item = (&PoolName, &Pool)> {
        self.spec.pools.iter().filter(|(_, pool)| owner_of(pool) == Owner::Autoscaler)
    }

    /// What a node of a pool, shape and zone will be.
    pub(crate) fn node(
        &self,
        name: &str,
        pool: (&PoolName, &Pool),
        shape: &Shape,
        zone: Option<&Zone>,
    ) -> Node {
        let key = (pool.0.clone(), shape.name.clone());
        let mut node = match self.learned.examples.get(&key) {
            Some(example) => template(&example.node, name, &self.policy.startup_taints),
            None => self.computed(name, pool, shape),
        };
        if let Some(zone) = zone {
            node.metadata.labels.insert(ZONE.to_owned(), zone.to_string());
        }
        // What the cluster file says of labels and taints is what the next node gets, whatever an older node has.
        node.metadata.labels.extend(pool.1.labels.iter().map(|(key, value)| (key.clone(), value.clone())));
        let said = taints(pool.1).unwrap_or_default();
        let others =
            |taint: &Taint| !said.iter().any(|one| (&one.key, &one.effect) == (&taint.key, &taint.effect));
        node.spec.taints.retain(others);
        node.spec.taints.extend(said.iter().cloned());
        node
    }

    fn computed(&self, name: &str, (pool, of): (&PoolName, &Pool), shape: &Shape) -> Node {
        let mut labels: Labels = [
            (HOSTNAME, name),
            (POOL, pool.as_str()),
            (TYPE, shape.name.as_str()),
            ("kubernetes.io/os", "linux"),
            ("beta.kubernetes.io/os", "linux"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into();
        labels.extend(of.labels.clone());
        let metadata = Metadata { name: name.to_owned(), labels, ..Metadata::default() };
        let reserved = self.learned.reserved.get(pool).cloned().unwrap_or_default();
        let allocatable = allocatable(shape, &reserved);
        let status = NodeStatus { capacity: allocatable.clone(), allocatable, ..NodeStatus::default() };
        Node { metadata, spec: NodeSpec::default(), status }
    }
}

fn allocatable(shape: &Shape, reserved: &Reserved) -> ResourceList {
    let less = |of: u64, kept: u64| i64::try_from(of.saturating_sub(kept)).unwrap_or(i64::MAX);
    let cpu = Quantity::millis(less(shape.cpu.millis, reserved.cpu.millis));
    let memory = Quantity::units(less(shape.memory.bytes, reserved.memory.bytes));
    let disk = Quantity::units(less(reserved.disk.bytes, 0));
    let pods = Quantity::units(i64::from(reserved.pods));
    [("cpu", cpu), ("memory", memory), ("ephemeral-storage", disk), ("pods", pods)]
        .map(|(name, amount)| (name.to_owned(), amount))
        .into()
}

/// The taints of a pool, `key=value:Effect`.
pub(crate) fn taints(pool: &Pool) -> Result<Vec<Taint>, String> {
    let read = |text: &String| {
        let (what, effect) = text.rsplit_once(':').ok_or_else(|| text.clone())?;
        let (key, value) = what.split_once('=').unwrap_or((what, ""));
        let (key, value) = (key.to_owned(), value.to_owned());
        Ok(Taint { key, value, effect: Effect::from(effect), time_added: None })
    };
    pool.taints.iter().map(read).collect()
}

/// Everything that could be bought for a cluster, cheapest first in each pool and zone.
pub(crate) fn catalog(source: &Source<'_>, dims: &Dims) -> Catalog {
    // Claims and classes of storage decide about new nodes too; pods and nodes that exist do not.
    let bare =
        KubeView { pods: Vec::new(), nodes: Vec::new(), notes: Default::default(), ..source.view.clone() };
    let mut catalog = Catalog { state: State::of(&bare), ..Catalog::default() };
    let by_price = source.policy.compares_prices(source.pools().flat_map(|(_, pool)| &pool.shapes));
    for (name, pool) in source.pools() {
        let zones: Vec<Option<Zone>> = match pool.zones.is_empty() {
            true => vec![None],
            false => pool.zones.iter().cloned().map(Some).collect(),
        };
        for zone in zones {
            catalog.add_kind(source, dims, (name, pool), zone, by_price);
        }
    }
    catalog
}

impl Catalog {
    fn add_kind(
        &mut self,
        source: &Source<'_>,
        dims: &Dims,
        pool: (&PoolName, &Pool),
        zone: Option<Zone>,
        by_price: bool,
    ) {
        let mut offers = Vec::new();
        let mut seen = BTreeSet::new();
        for shape in pool.1.shapes.iter().filter(|shape| seen.insert(&shape.name)) {
            match self.offer(source, dims, pool, shape, zone.as_ref()) {
                Ok(offer) => offers.push(Offer { cost: source.policy.cost(shape, by_price), ..offer }),
                Err(why) => self.withheld.push((pool.0.clone(), zone.clone(), shape.clone(), why)),
            }
        }
        offers.sort_by(|a, b| {
            (a.cost, a.shape.cpu, a.shape.memory, &a.shape.name).cmp(&(
                b.cost,
                b.shape.cpu,
                b.shape.memory,
                &b.shape.name,
            ))
        });
        if !offers.is_empty() {
            self.kinds.push(Kind { pool: pool.0.clone(), zone, offers });
        }
    }

    fn offer(
        &mut self,
        source: &Source<'_>,
        dims: &Dims,
        pool: (&PoolName, &Pool),
        shape: &Shape,
        zone: Option<&Zone>,
    ) -> Result<Offer, Withheld> {
        let backoff = source.ledger.backoff(pool.0, &shape.name, zone);
        if let Some((backoff, secs)) = backoff.and_then(|one| Some((one, one.remaining_secs(source.now)?))) {
            return Err(Withheld::Backoff { why: backoff.why.clone(), secs });
        }
        taints(pool.1).map_err(Withheld::Taint)?;
        let name = format!("{}-{}{}", pool.0, shape.name, zone.map(|z| format!("-{z}")).unwrap_or_default());
        let node = Arc::new(source.node(&name, pool, shape, zone));
        let csi = source.learned.examples.get(&(pool.0.clone(), shape.name.clone()));
        let csi = csi.and_then(|example| example.csi.clone());
        let id = imagine(&mut self.state, node, csi.clone(), &source.view.daemon_sets)
            .map_err(Withheld::DaemonSet)?;
        let room = dims.free(self.state.node(id));
        Ok(Offer { shape: shape.clone(), cost: 0, id, csi, room })
    }

    /// How many nodes there are or will be of each zone: like ones are kept in balance.
    pub(crate) fn in_zones(source: &Source<'_>) -> BTreeMap<(PoolName, Option<Zone>), usize> {
        let rows = source.ledger.rows().values().filter(|row| row.phase().is_live());
        rows.fold(BTreeMap::new(), |mut counts, row| {
            *counts.entry((row.pool.clone(), row.zone.clone())).or_default() += 1;
            counts
        })
    }
}
