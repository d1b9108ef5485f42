//! Clusters for benchmarks: pools, nodes and pods without a file.

use std::collections::BTreeMap;
use std::sync::Arc;

use autoscaler::learned::{Learned, Reserved};
use autoscaler::quantity::Quantity;
use autoscaler::view::{
    Condition, Container, KubeView, Labels, Metadata, Node, NodeStatus, Owner as Controller, Pod, PodSpec,
    PodStatus, Resources,
};
use jiff::Timestamp;
use provisioner::ledger::{Ledger, NewRow};
use provisioner::names::{
    CloudId, ClusterId, ClusterName, ImageName, LedgerId, MachineId, MachineName, NameError, PoolName,
    ShapeName, Zone,
};
use provisioner::policy::Policy;
use provisioner::provider::{Config, Owner, sandbox};
use provisioner::quantity::{Cpu, Memory};
use provisioner::spec::{Network, Pool, Role, Shape, Spec};

pub(crate) type Failure = Box<dyn std::error::Error>;

/// Everything that a decision is made of.
pub(crate) struct Cluster {
    pub(crate) spec: Spec,
    pub(crate) policy: Policy,
    pub(crate) ledger: Ledger,
    pub(crate) view: KubeView,
    pub(crate) learned: Learned,
    pub(crate) pool: PoolName,
}

pub(crate) fn now() -> Timestamp {
    Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_hours(500_000)
}

pub(crate) fn shape(name: &str, millis: u64, bytes: u64) -> Shape {
    Shape { name: ShapeName::from(name), cpu: Cpu { millis }, memory: Memory { bytes } }
}

/// One elastic pool of these shapes, nothing in it yet, nothing that holds it back.
pub(crate) fn cluster(
    shapes: Vec<Shape>,
    zones: &[&str],
    most: u32,
    kept: Reserved,
) -> Result<Cluster, NameError> {
    let pool = PoolName::new("workers")?;
    let workers = Pool {
        role: Role::Worker,
        size: 0..=most,
        shapes,
        image: ImageName::from("debian-12"),
        zones: zones.iter().map(|zone| Zone((*zone).to_owned())).collect(),
        labels: BTreeMap::new(),
        taints: Vec::new(),
        recipes: Vec::new(),
        steps: Vec::new(),
        baked: None,
    };
    let mut learned = Learned::default();
    learned.reserved.insert(pool.clone(), kept);
    let mut policy = Policy { destroy_per_hour: u32::MAX, ..Policy::default() };
    policy.rate.up = u32::MAX;
    policy.rate.down = u32::MAX;
    policy.rate.booting = u32::MAX;
    Ok(Cluster {
        spec: Spec {
            cluster: ClusterName::new("bench")?,
            provider: Config::Sandbox(sandbox::Config::default()),
            network: Network { internet: false, expose: Vec::new() },
            pools: BTreeMap::from([(pool.clone(), workers)]),
            expires: None,
            inputs: BTreeMap::new(),
            operators: Vec::new(),
        },
        policy,
        ledger: Ledger::new(
            LedgerId::from("bench"),
            Owner::Autoscaler,
            ClusterId::new("bench-7k2m9qxa")?,
            CloudId::from("here"),
        ),
        view: KubeView::default(),
        learned,
        pool,
    })
}

/// A pod that the scheduler found no node for.
pub(crate) fn waiting(name: String, labels: Labels, cpu: i64, memory: i64, spec: PodSpec) -> Arc<Pod> {
    let condition = Condition {
        kind: "PodScheduled".to_owned(),
        status: "False".to_owned(),
        reason: "Unschedulable".to_owned(),
        ..Condition::default()
    };
    let requests =
        [("cpu".to_owned(), Quantity::millis(cpu)), ("memory".to_owned(), Quantity::units(memory))];
    let container = Container {
        name: "c".to_owned(),
        resources: Resources { requests: requests.into() },
        ..Container::default()
    };
    Arc::new(Pod {
        metadata: Metadata {
            uid: name.clone(),
            name,
            namespace: "default".to_owned(),
            labels,
            ..Metadata::default()
        },
        spec: PodSpec { containers: vec![container], ..spec },
        status: PodStatus { conditions: vec![condition], ..PodStatus::default() },
    })
}

impl Cluster {
    /// One more row, Ready, with its node.
    pub(crate) fn add_node(&mut self, shape: &Shape) -> Result<MachineName, Failure> {
        let new = NewRow {
            pool: self.pool.clone(),
            role: Role::Worker,
            shape: shape.clone(),
            image: ImageName::from("debian-12"),
            zone: None,
            expose: Vec::new(),
            expires: None,
        };
        let name = self.ledger.add(new, Timestamp::UNIX_EPOCH)?;
        self.ledger.sight(&name, &MachineId::from("m"))?;
        self.ledger.configure(&name)?;
        self.ledger.ready(&name, &[])?;
        let amounts = [
            ("cpu", Quantity::millis(i64::try_from(shape.cpu.millis)?)),
            ("memory", Quantity::units(i64::try_from(shape.memory.bytes)?)),
            ("pods", Quantity::units(110)),
        ];
        let ready = Condition { kind: "Ready".to_owned(), status: "True".to_owned(), ..Condition::default() };
        let labels = [("kubernetes.io/hostname".to_owned(), name.to_string())].into();
        self.view.nodes.push(Arc::new(Node {
            metadata: Metadata { name: name.to_string(), labels, ..Metadata::default() },
            status: NodeStatus {
                allocatable: amounts.map(|(name, amount)| (name.to_owned(), amount)).into(),
                conditions: vec![ready],
                ..NodeStatus::default()
            },
            ..Node::default()
        }));
        Ok(name)
    }

    /// The pod runs on a node, and may be moved.
    pub(crate) fn run(&mut self, pod: &Pod, on: &MachineName) {
        let mut pod = pod.clone();
        pod.spec.node_name = on.to_string();
        pod.status.conditions.clear();
        pod.metadata.owners = vec![Controller {
            kind: "ReplicaSet".to_owned(),
            name: "all".to_owned(),
            controller: true,
            ..Controller::default()
        }];
        let safe = "cluster-autoscaler.kubernetes.io/safe-to-evict".to_owned();
        pod.metadata.annotations.insert(safe, "true".to_owned());
        self.view.pods.push(Arc::new(pod));
    }
}

/// A node as it was bought from the catalogue of W1.
pub(crate) fn node(name: &str, new: &autoscaler::pack::NewNode) -> Arc<Node> {
    let amounts = [
        ("cpu", Quantity::millis(new.shape.cpu.millis as i64 - 100)),
        ("memory", Quantity::units(new.shape.memory.bytes as i64 - (10 << 20))),
        ("pods", Quantity::units(4000)),
    ];
    let zone = new.zone.as_ref().map(ToString::to_string).unwrap_or_default();
    let labels = [("kubernetes.io/hostname", name.to_owned()), ("topology.kubernetes.io/zone", zone)];
    Arc::new(Node {
        metadata: Metadata {
            name: name.to_owned(),
            labels: labels.map(|(key, value)| (key.to_owned(), value)).into(),
            ..Metadata::default()
        },
        status: NodeStatus {
            allocatable: amounts.map(|(name, amount)| (name.to_owned(), amount)).into(),
            ..NodeStatus::default()
        },
        ..Node::default()
    })
}
