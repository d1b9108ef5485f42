//! What a pass brings to the plan: everything that was seen, and the limits that hold.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::ages::Ages;
use crate::names::{CloudId, MachineId, MachineName};
use crate::provider::{Machine, ProviderError};

/// What was observed. Anything that is absent is *unknown*, never "none".
#[derive(Debug, Clone)]
pub struct Observation {
    /// The cloud that answered.
    pub cloud: CloudId,
    /// Every machine of the cluster's name, if the cloud gave a complete list; else its words.
    pub machines: Result<Vec<Machine>, String>,
    /// Whether this pass found the cluster's scaffold by id. Without it nothing counts as gone.
    pub scaffold: bool,
    /// Whether the cloud said that there is none, now or when this run began.
    pub no_scaffold: bool,
    /// The cluster's nodes.
    pub nodes: Nodes,
    /// Answers to direct questions.
    pub exists: BTreeMap<MachineId, bool>,
    /// Creates that the cloud refused for good since the last pass.
    pub refused: BTreeMap<MachineName, ProviderError>,
    /// Rows whose drain job ended well.
    pub drained: BTreeSet<MachineName>,
    /// Rows whose node takes work again: their drain was called off.
    pub uncordoned: BTreeSet<MachineName>,
    /// Which boot each machine said a moment ago that it runs.
    pub boots: BTreeMap<MachineName, String>,
    /// Rows whose node was forgotten by the cluster.
    pub forgotten: BTreeSet<MachineName>,
    /// Jobs that run: no other starts for that machine.
    pub busy: BTreeMap<MachineName, Busy>,
    /// Machines whose last job failed in a way that passes: none starts before the hold ends.
    pub held: BTreeMap<MachineName, Held>,
    /// Observed time.
    pub ages: Ages,
    /// Limits that hold.
    pub limits: Limits,
}

/// What is known of the cluster's nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Nodes {
    /// No recipe knows nodes: a cluster without Kubernetes.
    Unused,
    /// Asked, no answer that can be used: why.
    Unknown(String),
    /// The answer.
    Known(BTreeMap<MachineName, NodeState>),
}

/// One node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeState {
    /// Whether it is Ready.
    pub ready: bool,
    /// Why not.
    pub reason: String,
    /// The boot of its machine that it last reported from; `None` where the recipe does not say.
    pub boot: Option<String>,
}

/// A job that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Busy {
    /// What it does: `kubernetes/init`, `create`.
    pub what: String,
    /// For how long.
    pub since: Duration,
}

/// A machine that is left alone for a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// What failed, in its own words.
    pub why: String,
    /// Since the first failure of this row of failures.
    pub since: Duration,
}

/// Limits and what a person allowed. How each was chosen stands beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// How long "asked and not seen" may last before it means "not made": the provider's.
    pub settle: Duration,
    /// From the create call to Ready. 15 minutes: a slow cloud boots in 5, a slow mirror installs in 10.
    pub boot_timeout: Duration,
    /// From Ready to a Ready node. 3 minutes: kubelet's back-off for a first registration ends within 2.
    pub register_timeout: Duration,
    /// How long a drain may take before it is forced: twice the usual longest grace period of pods.
    pub drain_timeout: Duration,
    /// After how many failures of a pool's every shape and zone to give up; `None` for a daemon.
    pub give_up: Option<u32>,
    /// Machines that may be given up for lost in an hour, if that is more than 30 % of all.
    pub destroy_per_hour: usize,
    /// Whether second host keys are put in place at the first contact.
    pub rotate_host_keys: bool,
    /// A person said that machines which vanished together are really gone.
    pub accept_vanished: bool,
    /// The front-end that a person gives up once it is known to be lost. A name, not a yes: names are used once, so
    /// this word can be used once too.
    pub give_up_front_end: Option<MachineName>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            settle: Duration::from_secs(60),
            boot_timeout: Duration::from_secs(15 * 60),
            register_timeout: Duration::from_secs(3 * 60),
            drain_timeout: Duration::from_secs(5 * 60),
            give_up: Some(3),
            destroy_per_hour: 5,
            rotate_host_keys: true,
            accept_vanished: false,
            give_up_front_end: None,
        }
    }
}

/// 30 % of `count`, rounded down, and at least `floor`: from where on losses together are suspicious.
pub(super) fn share(count: usize, floor: usize) -> usize {
    (count * 3 / 10).max(floor)
}
