//! A story: which pools there are, who comes when, what goes wrong, and who scales. People write it as YAML.

use std::collections::BTreeMap;
use std::time::Duration;

use provisioner::ledger::Ledger;
use provisioner::names::{CloudId, ClusterId, ClusterName, ImageName, LedgerId, PoolName};
use provisioner::policy::Policy;
use provisioner::provider::{Config, Owner, sandbox};
use provisioner::quantity::{Cpu, Memory};
use provisioner::spec::{self, Network, Role, Shape, Spec};
use serde::{Deserialize, Deserializer, de::Error};

use crate::learned::{Learned, Reserved};

/// A length of time, or a time since the beginning, in milliseconds; written as people do (`9s`, `5m`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub i64);

impl Span {
    /// So many seconds.
    pub const fn secs(secs: i64) -> Self {
        Self(secs * 1000)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let read = provisioner::duration::parse(&text);
        let span = read.map_err(|reason| D::Error::custom(format!("{text:?} {reason}")))?;
        Ok(Self(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)))
    }
}

/// Who scales.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Autoscaler {
    /// `decide()`, with the story's policy.
    #[default]
    Continuum,
    /// CLUES, as the paper had it; of the policy it knows `idle` alone.
    Clues,
}

/// A story.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Story {
    /// What it shows, in a sentence.
    pub story: String,
    /// Who scales.
    #[serde(default)]
    pub autoscaler: Autoscaler,
    /// The pools, by name.
    pub pools: BTreeMap<String, Pool>,
    /// The autoscaler's policy.
    #[serde(default)]
    pub policy: Policy,
    /// Who comes when.
    pub jobs: Vec<Jobs>,
    /// What goes wrong, or is done by people.
    #[serde(default)]
    pub faults: Vec<Fault>,
    /// Budgets that guard pods from eviction.
    #[serde(default)]
    pub budgets: Vec<Budget>,
    /// Run times that were learned before the story begins, by the name of the jobs.
    #[serde(default)]
    pub known_runs: BTreeMap<String, Span>,
    /// Boot times that were learned before, by pool.
    #[serde(default)]
    pub known_boots: BTreeMap<String, Span>,
    /// Whether the autoscaler is told what follows each job, as a workflow's graph says it.
    #[serde(default)]
    pub forecast: bool,
    /// When it ends; without it, when nothing more can happen.
    #[serde(default)]
    pub until: Option<Span>,
    /// Where chance begins.
    #[serde(default)]
    pub seed: u64,
}

/// Like machines.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pool {
    /// Of each machine.
    pub cpu: Cpu,
    /// Of each machine.
    pub memory: Memory,
    /// Of it kept for the system.
    #[serde(default = "none_of_cpu")]
    pub reserved_cpu: Cpu,
    /// Of it kept for the system.
    #[serde(default = "none_of_memory")]
    pub reserved_memory: Memory,
    /// The least.
    #[serde(default)]
    pub min: u32,
    /// The most.
    pub max: u32,
    /// Machines that are up when the story begins.
    #[serde(default)]
    pub up: u32,
    /// From the create call to a Ready node.
    pub boot: Span,
    /// By how many percent boots differ from that.
    #[serde(default)]
    pub boot_spread: u64,
    /// Labels of its nodes.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Taints of its nodes, `key=value:Effect`.
    #[serde(default)]
    pub taints: Vec<String>,
}

fn none_of_cpu() -> Cpu {
    Cpu { millis: 0 }
}

fn none_of_memory() -> Memory {
    Memory { bytes: 0 }
}

/// Pods that come together.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Jobs {
    /// Their name; each gets a number.
    pub name: String,
    /// How many.
    #[serde(default = "one")]
    pub count: u32,
    /// When; of those that follow others, how long after each.
    #[serde(default)]
    pub at: Span,
    /// What each asks for.
    pub cpu: Cpu,
    /// What each asks for.
    #[serde(default = "none_of_memory")]
    pub memory: Memory,
    /// How long each runs; without it, a service that stays, made again where it is evicted.
    #[serde(default)]
    pub run: Option<Span>,
    /// Labels that its node must have.
    #[serde(default)]
    pub selector: BTreeMap<String, String>,
    /// Keys of taints that it puts up with.
    #[serde(default)]
    pub tolerates: Vec<String>,
    /// Annotations.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    /// What comes of each when it has ended.
    #[serde(default)]
    pub then: Option<Box<Jobs>>,
}

const fn one() -> u32 {
    1
}

/// Something that happens from outside.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// When.
    pub at: Span,
    /// A machine, by name, that is gone from one moment to the next.
    #[serde(default)]
    pub dies: Option<String>,
    /// Pods, by the name of their jobs, that somebody deletes.
    #[serde(default)]
    pub deleted: Option<String>,
    /// A pool gets another maximum.
    #[serde(default)]
    pub limit: Option<(String, u32)>,
    /// For how long the view is stale.
    #[serde(default)]
    pub stale: Option<Span>,
}

/// How many pods of some jobs must stay.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// Which, by the name of their jobs.
    pub of: String,
    /// So many must run.
    pub min_available: i64,
}

/// What a story begins with: the cluster's file, an empty ledger, and what was learned before.
pub(super) fn begin(story: &Story) -> Result<(Spec, Ledger, Learned), String> {
    let mut learned = Learned::default();
    let mut pools = BTreeMap::new();
    for (called, pool) in &story.pools {
        let name = PoolName::new(called.as_str()).map_err(|error| error.to_string())?;
        let shape = Shape::of(pool.cpu, pool.memory);
        let reserved =
            Reserved { cpu: pool.reserved_cpu, memory: pool.reserved_memory, ..Reserved::default() };
        learned.reserved.insert(name.clone(), reserved);
        if let Some(boot) = story.known_boots.get(called) {
            learned.boots.entry(shape.name.clone()).or_default().add(boot.duration());
        }
        pools.insert(name, pool.spec(shape));
    }
    for (jobs, run) in &story.known_runs {
        let kin = ("default".to_owned(), "Job".to_owned(), jobs.clone());
        learned.runs.entry(kin).or_default().add(run.duration());
    }
    let name = |text: &str| format!("{text}: it is the simulation's own");
    let spec = Spec {
        cluster: ClusterName::new("lab1").map_err(|_| name("lab1"))?,
        provider: Config::Sandbox(sandbox::Config::default()),
        network: Network { internet: false, expose: Vec::new() },
        pools,
        expires: None,
        inputs: BTreeMap::new(),
        operators: Vec::new(),
    };
    let problems: Vec<String> = story.policy.check(&spec).iter().map(ToString::to_string).collect();
    if !problems.is_empty() {
        return Err(problems.join("; "));
    }
    let ledger = Ledger::new(
        LedgerId::from("a-1"),
        Owner::Autoscaler,
        ClusterId::new("lab1-7k2m9qxa").map_err(|_| name("lab1-7k2m9qxa"))?,
        CloudId::from("memory"),
    );
    Ok((spec, ledger, learned))
}

impl Span {
    fn duration(self) -> Duration {
        Duration::from_millis(u64::try_from(self.0).unwrap_or(0))
    }
}

impl Pool {
    fn spec(&self, shape: Shape) -> spec::Pool {
        spec::Pool {
            role: Role::Worker,
            size: self.min..=self.max,
            shapes: vec![shape],
            image: ImageName::from("debian-12"),
            zones: Vec::new(),
            labels: self.labels.clone(),
            taints: self.taints.clone(),
            recipes: Vec::new(),
            steps: Vec::new(),
            baked: None,
        }
    }
}
