//! What the user asked for: flat, provider-neutral, complete. Everything in it is checked already.
//!
//! A [`Spec`] comes out of a cluster file and a template (`cluster_file`, `tosca`) and goes into
//! [`plan`](crate::plan). It holds no secret and nothing that was observed.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::names::{ClusterName, ImageName, PoolName, RecipeName, ShapeName, StepId, Zone};
use crate::provider;
use crate::quantity::{Cpu, Memory};

/// A whole cluster as asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// What people call it.
    pub cluster: ClusterName,
    /// Where the machines are made.
    pub provider: provider::Config,
    /// How they reach each other and who reaches them.
    pub network: Network,
    /// The pools, front-end included.
    pub pools: BTreeMap<PoolName, Pool>,
    /// When the cluster ends by itself.
    pub expires: Option<Timestamp>,
    /// Public keys of further people, authorised on every machine.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub operators: Vec<String>,
    /// Values for the recipes' inputs, by recipe: what the template and the cluster file say.
    pub inputs: BTreeMap<RecipeName, BTreeMap<String, serde_json::Value>>,
}

/// What a machine is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Holds the Kubernetes control plane and the services of the cluster.
    FrontEnd,
    /// Runs the users' pods.
    Worker,
}

/// Like machines.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pool {
    /// What its machines are for.
    pub role: Role,
    /// How many machines, at least and at most. A fixed pool has `n..=n` and is the CLI's;
    /// a range is the daemon's.
    pub size: RangeInclusive<u32>,
    /// Sizes to try, best first; never empty.
    pub shapes: Vec<Shape>,
    /// What the machines boot.
    pub image: ImageName,
    /// Zones to try, best first; empty where the cloud has none.
    pub zones: Vec<Zone>,
    /// Kubernetes labels of its nodes.
    pub labels: BTreeMap<String, String>,
    /// Kubernetes taints of its nodes, `key=value:Effect`.
    pub taints: Vec<String>,
    /// The recipes asked for, in the template's order; what they need is added by [`recipe`](crate::recipe).
    pub recipes: Vec<RecipeName>,
    /// The steps of those recipes for this pool's role, in the order in which they run.
    /// Filled by [`recipe`](crate::recipe); empty before.
    pub steps: Vec<Step>,
    /// An image with some of these steps in it, where one was prepared: new machines boot it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baked: Option<Baked>,
}

/// An image that was prepared from the image of a pool and some of its steps. Its name is a hash over exactly these
/// steps, so a machine that boots it needs no other word on which of them it has behind it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Baked {
    /// Its name.
    pub image: ImageName,
    /// What is in it.
    pub steps: BTreeSet<StepId>,
}

impl Pool {
    /// Whether its size may change by itself.
    pub fn is_elastic(&self) -> bool {
        self.role == Role::Worker && self.size.start() != self.size.end()
    }

    /// What a new machine boots.
    pub fn boots(&self) -> &ImageName {
        self.baked.as_ref().map_or(&self.image, |baked| &baked.image)
    }

    /// Whether a machine that booted this image has the step behind it from birth.
    pub fn brings(&self, image: &ImageName, step: &StepId) -> bool {
        self.baked.as_ref().is_some_and(|baked| baked.image == *image && baked.steps.contains(step))
    }
}

/// One step of a recipe as the plan sees it: an id, and what must be done elsewhere first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Which step.
    pub id: StepId,
    /// Steps that one Ready-or-configuring front-end must have behind it before this one starts
    /// (because this one asks for a fact that they make).
    pub after: Vec<StepId>,
    /// The facts it is given: `RECIPE/FACT` names, each asked of a front-end just before the step.
    pub facts: Vec<StepId>,
    /// sha256 (hex) over the script, its inputs and its artifacts' hashes: a changed recipe shows.
    pub hash: String,
}

/// The size of a machine.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Shape {
    /// The flavor's or instance type's name; `4x8Gi` where any size can be made.
    pub name: ShapeName,
    /// Processors.
    pub cpu: Cpu,
    /// Memory.
    pub memory: Memory,
}

impl Shape {
    /// A shape named after its size: what the sandbox makes.
    pub fn of(cpu: Cpu, memory: Memory) -> Self {
        Self { name: ShapeName(format!("{cpu}x{memory}")), cpu, memory }
    }
}

/// How machines reach each other and who reaches them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// Whether machines reach the outside.
    pub internet: bool,
    /// Ports of front-ends that the operator's computer reaches (6443 for the Kubernetes API).
    pub expose: Vec<u16>,
}
