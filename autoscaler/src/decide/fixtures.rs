//! Small clusters for the tables of tests: objects as Kubernetes gives them, a ledger beside them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use provisioner::ledger::{Ledger, NewRow, changes};
use provisioner::names::{
    CloudId, ClusterId, ClusterName, ImageName, LedgerId, MachineId, MachineName, PoolName, Zone,
};
use provisioner::policy::Policy;
use provisioner::provider::{Config, Owner, sandbox};
use provisioner::quantity::{Cpu, Memory};
use provisioner::spec::{Network, Pool, Role, Shape, Spec};
use serde_json::{Value, json};

use super::{CORDONED_BY, Decision, Seen, decide};
use crate::learned::{Learned, Quiet};
use crate::view::KubeView;

pub(crate) const ZONE: &str = "topology.kubernetes.io/zone";

pub(crate) fn now() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

pub(crate) fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

pub(crate) fn pool_name(text: &str) -> PoolName {
    PoolName::new(text).unwrap()
}

pub(crate) fn name(text: &str) -> MachineName {
    MachineName::new(text).unwrap()
}

pub(crate) fn shape(cores: u64, gib: u64) -> Shape {
    Shape::of(Cpu::cores(cores), Memory::gib(gib))
}

pub(crate) fn pool(shapes: &[(u64, u64)], most: u32) -> Pool {
    Pool {
        role: Role::Worker,
        size: 0..=most,
        shapes: shapes.iter().map(|(cores, gib)| shape(*cores, *gib)).collect(),
        image: ImageName::from("debian-12"),
        zones: Vec::new(),
        labels: BTreeMap::new(),
        taints: Vec::new(),
        recipes: Vec::new(),
        steps: Vec::new(),
        baked: None,
    }
}

/// What a test begins with.
pub(crate) struct Case {
    pub(crate) spec: Spec,
    pub(crate) policy: Policy,
    pub(crate) ledger: Ledger,
    pub(crate) objects: Vec<Value>,
    pub(crate) learned: Learned,
    pub(crate) stale: Option<&'static str>,
    pub(crate) others: BTreeMap<PoolName, u32>,
}

impl Case {
    /// One pool `workers` of at most 10 machines of 4 cores and 8Gi.
    pub(crate) fn new() -> Self {
        Self {
            spec: Spec {
                cluster: ClusterName::new("lab1").unwrap(),
                provider: Config::Sandbox(sandbox::Config::default()),
                network: Network { internet: false, expose: Vec::new() },
                pools: BTreeMap::from([(pool_name("workers"), pool(&[(4, 8)], 10))]),
                expires: None,
                inputs: BTreeMap::new(),
                operators: Vec::new(),
            },
            policy: Policy::default(),
            ledger: Ledger::new(
                LedgerId::from("a-1"),
                Owner::Autoscaler,
                ClusterId::new("lab1-7k2m9qxa").unwrap(),
                CloudId::from("here"),
            ),
            objects: Vec::new(),
            learned: Learned::default(),
            stale: None,
            others: BTreeMap::new(),
        }
    }

    pub(crate) fn workers(&mut self) -> &mut Pool {
        self.spec.pools.get_mut(&pool_name("workers")).unwrap()
    }

    pub(crate) fn zones(mut self, zones: &[&str]) -> Self {
        self.workers().zones = zones.iter().map(|zone| Zone::from(*zone)).collect();
        self
    }

    /// Pods that the scheduler found no node for, each of a core unless changed.
    pub(crate) fn waiting(mut self, count: usize, base: &str, change: impl Fn(&mut Value)) -> Self {
        for n in 0..count {
            let mut pod = pod(&format!("{base}{n}"), "");
            pod["status"] = json!({"phase": "Pending", "conditions": [
                {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}]});
            change(&mut pod);
            self.objects.push(pod);
        }
        self
    }

    /// A row that was just asked for.
    pub(crate) fn booting(mut self) -> Self {
        self.add_row();
        self
    }

    fn add_row(&mut self) -> MachineName {
        let new = NewRow {
            pool: pool_name("workers"),
            role: Role::Worker,
            shape: self.spec.pools[&pool_name("workers")].shapes[0].clone(),
            image: ImageName::from("debian-12"),
            zone: self.spec.pools[&pool_name("workers")].zones.first().cloned(),
            expose: Vec::new(),
            expires: None,
        };
        self.ledger.add(new, Timestamp::UNIX_EPOCH).unwrap()
    }

    /// A Ready row with its Ready node.
    pub(crate) fn ready(mut self, change: impl Fn(&mut Value)) -> Self {
        let name = self.add_row();
        self.ledger.sight(&name, &MachineId(format!("m-{name}"))).unwrap();
        self.ledger.configure(&name).unwrap();
        self.ledger.ready(&name, &[]).unwrap();
        let shape = self.ledger.row(&name).unwrap().shape.clone();
        let zone = self.ledger.row(&name).unwrap().zone.clone();
        let mut node = json!({"kind": "Node", "metadata": {"name": name.as_str(), "labels": {
            "kubernetes.io/hostname": name.as_str(), "continuum.dev/pool": "workers"}},
            "status": {"allocatable": {"cpu": shape.cpu.to_string(), "memory": shape.memory.to_string(), "pods": "110",
                "ephemeral-storage": "10Gi"},
                "conditions": [{"type": "Ready", "status": "True"}]}});
        if let Some(zone) = zone {
            node["metadata"]["labels"][ZONE] = json!(zone.as_str());
        }
        change(&mut node);
        self.objects.push(node);
        self
    }

    /// A pod of a ReplicaSet that runs.
    pub(crate) fn running(mut self, called: &str, on: &str, change: impl Fn(&mut Value)) -> Self {
        let mut pod = pod(called, on);
        pod["status"] = json!({"phase": "Running"});
        change(&mut pod);
        self.objects.push(pod);
        self
    }

    pub(crate) fn object(mut self, object: Value) -> Self {
        self.objects.push(object);
        self
    }

    /// A node has been so for long.
    pub(crate) fn quiet(mut self, machine: &str, quiet: Quiet) -> Self {
        self.learned.set_quiet(&name(machine), quiet);
        self
    }

    pub(crate) fn policy(mut self, change: impl Fn(&mut Policy)) -> Self {
        change(&mut self.policy);
        self
    }

    pub(crate) fn view(&self) -> KubeView {
        KubeView::read(&self.objects)
    }

    pub(crate) fn decision(&self) -> Decision {
        let view = self.view();
        let seen = Seen { view: &view, stale: self.stale, others: &self.others };
        decide(&self.spec, &self.policy, &self.ledger, &seen, &self.learned, None, now())
    }

    /// The decision in lines: what changes in the ledger, what Kubernetes is told, what waits.
    pub(crate) fn lines(&self) -> Vec<String> {
        let decision = self.decision();
        let changed = changes(&self.ledger, &decision.ledger).into_iter().map(|change| change.to_string());
        let told = decision.kube.iter().map(ToString::to_string);
        let waits = decision.waits.iter().map(ToString::to_string);
        changed.chain(told).chain(waits).collect()
    }

    /// The decision is taken, and Kubernetes did as it was told.
    pub(crate) fn done(mut self) -> Self {
        let decision = self.decision();
        self.learned.booked = decision.booked;
        self.ledger = decision.ledger;
        for action in decision.kube {
            match action {
                super::KubeAction::Cordon { node } => {
                    let node = self.find("Node", node.as_str());
                    node["spec"]["unschedulable"] = json!(true);
                    node["metadata"]["annotations"][CORDONED_BY] = json!("continuum");
                }
                super::KubeAction::Uncordon { node } => self.find("Node", node.as_str())["spec"] = json!({}),
                super::KubeAction::Evict { name, .. } => {
                    self.objects.retain(|one| one["kind"] != "Pod" || one["metadata"]["name"] != json!(name));
                }
            }
        }
        self
    }

    pub(crate) fn find(&mut self, kind: &str, name: &str) -> &mut Value {
        let found =
            self.objects.iter_mut().find(|one| one["kind"] == kind && one["metadata"]["name"] == json!(name));
        found.unwrap()
    }
}

pub(crate) fn plain(_: &mut Value) {}

/// Another request of cpu.
pub(crate) fn cpu(amount: &'static str) -> impl Fn(&mut Value) {
    move |pod| pod["spec"]["containers"][0]["resources"]["requests"]["cpu"] = json!(amount)
}

fn pod(called: &str, on: &str) -> Value {
    json!({"kind": "Pod", "metadata": {"namespace": "default", "name": called, "uid": called, "labels": {"app": "a"},
        "ownerReferences": [{"kind": "ReplicaSet", "name": "a-1", "uid": "rs", "controller": true}]},
        "spec": {"nodeName": on, "containers": [{"name": "c", "resources": {"requests": {"cpu": "1"}}}]}})
}

/// An idle time that is long enough for everything.
pub(crate) fn long() -> Quiet {
    Quiet { idle: secs(3600), under_used: secs(3600), unwanted: secs(3600) }
}

pub(crate) fn read(value: &Value) -> Arc<crate::view::Pod> {
    Arc::new(crate::view::Pod::read(value, &mut crate::view::Notes::default()))
}
