//! Small values for the tables of tests.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;

use super::{Limits, NodeState, Nodes, Observation};
use crate::ages::{Age, Ages};
use crate::ledger::{Ledger, NewRow};
use crate::names::{
    CloudId, ClusterId, ClusterName, ImageName, LedgerId, MachineId, MachineName, PoolName, StepId,
};
use crate::provider::{Config, Machine, MachineState, Owner, Tags};
use crate::quantity::{Cpu, Memory};
use crate::spec::{Network, Pool, Role, Shape, Spec, Step};

pub(crate) fn now() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

pub(crate) fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

pub(crate) fn name(text: &str) -> MachineName {
    MachineName::new(text).unwrap()
}

pub(crate) fn pool_name(text: &str) -> PoolName {
    PoolName::new(text).unwrap()
}

pub(crate) fn shape() -> Shape {
    Shape::of(Cpu::cores(2), Memory::gib(4))
}

pub(crate) fn new_row(pool: &PoolName) -> NewRow {
    let role = if pool.as_str() == "front-end" { Role::FrontEnd } else { Role::Worker };
    NewRow {
        pool: pool.clone(),
        role,
        shape: shape(),
        image: ImageName::from("debian-12"),
        zone: None,
        expose: Vec::new(),
        expires: None,
    }
}

pub(crate) fn step(id: &str, after: &[&str], facts: &[&str]) -> Step {
    let ids = |texts: &[&str]| texts.iter().map(|text| text.parse::<StepId>().unwrap()).collect();
    Step { id: id.parse().unwrap(), after: ids(after), facts: ids(facts), hash: format!("{id}-0123456789") }
}

fn pool(role: Role, size: u32, steps: Vec<Step>) -> Pool {
    Pool {
        role,
        size: size..=size,
        shapes: vec![shape()],
        image: ImageName::from("debian-12"),
        zones: Vec::new(),
        labels: BTreeMap::new(),
        taints: Vec::new(),
        recipes: Vec::new(),
        steps,
        baked: None,
    }
}

/// One front-end and `workers` workers; kubernetes/join asks the front-end, once it has kubernetes/init behind it.
pub(crate) fn spec(workers: u32) -> Spec {
    let front = vec![step("base/setup", &[], &[]), step("kubernetes/init", &[], &[])];
    let join = step("kubernetes/join", &["kubernetes/init"], &["kubernetes/join"]);
    let work = vec![step("base/setup", &[], &[]), join];
    Spec {
        cluster: ClusterName::new("lab1").unwrap(),
        provider: Config::Sandbox(crate::provider::sandbox::Config::default()),
        network: Network { internet: false, expose: vec![6443] },
        pools: BTreeMap::from([
            (pool_name("front-end"), pool(Role::FrontEnd, 1, front)),
            (pool_name("workers"), pool(Role::Worker, workers, work)),
        ]),
        expires: None,
        operators: Vec::new(),
        inputs: BTreeMap::new(),
    }
}

pub(crate) fn ledger() -> Ledger {
    Ledger::new(
        LedgerId::from("cli-1"),
        Owner::Cli,
        ClusterId::new("lab1-7k2m9qxa").unwrap(),
        CloudId::from("here"),
    )
}

/// What a test begins with: a ledger, and what is seen of it.
pub(crate) struct Case {
    pub(crate) spec: Spec,
    pub(crate) ledger: Ledger,
    pub(crate) seen: Observation,
}

impl Case {
    /// An empty ledger; nothing seen.
    pub(crate) fn new(workers: u32) -> Self {
        let seen = Observation {
            cloud: CloudId::from("here"),
            machines: Ok(Vec::new()),
            scaffold: true,
            no_scaffold: false,
            nodes: Nodes::Known(BTreeMap::new()),
            exists: BTreeMap::new(),
            refused: BTreeMap::new(),
            drained: BTreeSet::new(),
            uncordoned: BTreeSet::new(),
            boots: BTreeMap::new(),
            forgotten: BTreeSet::new(),
            busy: BTreeMap::new(),
            held: BTreeMap::new(),
            ages: Ages::default(),
            limits: Limits { settle: secs(60), rotate_host_keys: false, ..Limits::default() },
        };
        Self { spec: spec(workers), ledger: ledger(), seen }
    }

    /// One Ready front-end and `workers` Ready workers, as seen.
    pub(crate) fn ready(workers: u32) -> Self {
        let mut case = Self::new(workers);
        for pool in ["front-end"].into_iter().chain((0..workers).map(|_| "workers")) {
            let name = case.creating(pool);
            case.run(&name);
            case.make_ready(&name);
        }
        case
    }

    pub(crate) fn creating(&mut self, pool: &str) -> MachineName {
        self.ledger.add(new_row(&pool_name(pool)), now()).unwrap()
    }

    /// A machine of this name in the list, running.
    pub(crate) fn run(&mut self, name: &MachineName) {
        let machine = self.machine(name, &format!("m-{name}"));
        self.machines().push(machine);
    }

    pub(crate) fn make_ready(&mut self, name: &MachineName) {
        let steps = self.spec.pools[&self.ledger.row(name).unwrap().pool].steps.clone();
        self.ledger.sight(name, &MachineId(format!("m-{name}"))).unwrap();
        self.ledger.configure(name).unwrap();
        for step in &steps {
            self.ledger.step_done(name, step).unwrap();
        }
        self.ledger.ready(name, &steps).unwrap();
        self.node(name, true);
    }

    pub(crate) fn node(&mut self, name: &MachineName, ready: bool) {
        if let Nodes::Known(nodes) = &mut self.seen.nodes {
            let reason = "kubelet stopped posting status".to_owned();
            nodes.insert(name.clone(), NodeState { ready, reason, boot: Some("boot-1".into()) });
        }
    }

    pub(crate) fn machines(&mut self) -> &mut Vec<Machine> {
        self.seen.machines.as_mut().unwrap()
    }

    pub(crate) fn state(&mut self, name: &MachineName, state: MachineState) {
        let found = self.machines().iter_mut().find(|machine| machine.tags.machine == *name);
        found.unwrap().state = state;
    }

    pub(crate) fn gone(&mut self, name: &MachineName) {
        self.machines().retain(|machine| machine.tags.machine != *name);
    }

    pub(crate) fn age(&mut self, name: &MachineName, age: Age) {
        self.seen.ages.set(name, age);
    }

    pub(crate) fn machine(&self, name: &MachineName, id: &str) -> Machine {
        let pool = name.as_str().strip_prefix("lab1-").unwrap().rsplit_once('-').unwrap().0;
        Machine {
            id: MachineId::from(id),
            tags: Tags {
                cluster: self.ledger.cluster.clone(),
                pool: pool_name(pool),
                owner: Owner::Cli,
                ledger: self.ledger.id.clone(),
                machine: name.clone(),
                expires: None,
                host_key: String::new(),
            },
            state: MachineState::Running,
            address: Some(std::net::IpAddr::from([10, 0, 0, 7])),
            exposed: BTreeMap::new(),
            shape: shape(),
            created: None,
        }
    }

    /// The plan as text.
    pub(crate) fn plan(&self) -> String {
        super::plan(&self.spec, &self.ledger, &self.seen, now()).describe(&self.ledger)
    }
}
