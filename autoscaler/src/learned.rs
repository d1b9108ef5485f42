//! What was learned by watching: what nodes of a shape really offer, how long boots and runs take, and for how long nodes have
//! had nothing to do.
//!
//! All of it may be lost: a new process begins with nothing, every time at zero, and therefore removes nothing before it has
//! watched for as long as the policy says. Time is *observed* time, as in [`Ages`]: a pass adds at most 30 seconds.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use provisioner::ages::Ages;
use provisioner::ledger::{Ledger, Phase};
use provisioner::names::{MachineName, PoolName, ShapeName};
use provisioner::quantity::{Cpu, Memory};

use crate::decide::Decision;
use crate::view::{CsiNode, KubeView, Node, Pod};

/// The most that one pass adds, as for the ages of rows.
const PASS_MAX: Duration = Duration::from_secs(30);
/// Times of boots and runs that are remembered of each kind: enough for a quantile, and old ones fade.
const SAMPLES: usize = 64;
/// Owners whose pods' run times are remembered: the last ones that were seen to end.
const OWNERS: usize = 2000;
/// How long a removal counts towards the rates and the budget.
const HOUR: i64 = 3600;

/// What a shape loses before pods get anything, and what it has that its shape does not say: what the recipes of a pool set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reserved {
    /// Kept from pods.
    pub cpu: Cpu,
    /// Kept from pods.
    pub memory: Memory,
    /// Pods that a node takes: the kubelet's own default.
    pub pods: u32,
    /// Disk for pods, until a real node has shown its own.
    pub disk: Memory,
}

impl Default for Reserved {
    fn default() -> Self {
        Self { cpu: Cpu { millis: 0 }, memory: Memory { bytes: 0 }, pods: 110, disk: Memory::gib(10) }
    }
}

/// A real node of a shape, as an example of what the next one will be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Example {
    /// The node.
    pub node: Arc<Node>,
    /// Its drivers.
    pub csi: Option<Arc<CsiNode>>,
}

/// The last times of something.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Times {
    last: VecDeque<Duration>,
}

impl Times {
    /// One more.
    pub fn add(&mut self, time: Duration) {
        if self.last.len() == SAMPLES {
            self.last.pop_front();
        }
        self.last.push_back(time);
    }

    /// The time that so many percent were not longer than; none before the first.
    pub fn quantile(&self, percent: usize) -> Option<Duration> {
        let mut sorted: Vec<Duration> = self.last.iter().copied().collect();
        sorted.sort();
        let at = (sorted.len().checked_sub(1)? * percent.min(100)).div_ceil(100);
        sorted.get(at).copied()
    }
}

/// Whose pods run alike: namespace, kind and name of what made them, of a Job without the part that is drawn for each run.
pub type Kin = (String, String, String);

/// The kin of a pod; none if nothing made it.
pub fn kin(pod: &Pod) -> Option<Kin> {
    let owner = pod.metadata.controller()?;
    // A CronJob names its Jobs `<name>-<minute>`, a Deployment its ReplicaSets `<name>-<hash>`.
    let name = owner.name.rsplit_once('-').map_or(owner.name.as_str(), |(name, _)| name);
    Some((pod.metadata.namespace.clone(), owner.kind.clone(), name.to_owned()))
}

/// For how long a node has been so.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Quiet {
    /// Nothing to do: no pod but those that run on every node, and nobody planned to come.
    pub idle: Duration,
    /// Less to do than the policy's share.
    pub under_used: Duration,
    /// Booting, and nobody planned to come.
    pub unwanted: Duration,
}

/// What was learned by watching.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Learned {
    /// Ages of the ledger's rows, as the engine's passes kept them.
    pub ages: Ages,
    /// What the recipes of each pool keep from pods.
    pub reserved: BTreeMap<PoolName, Reserved>,
    /// Real nodes, by pool and shape.
    pub examples: BTreeMap<(PoolName, ShapeName), Example>,
    /// From the row's birth to Ready.
    pub boots: BTreeMap<ShapeName, Times>,
    /// From start to end of pods.
    pub runs: BTreeMap<Kin, Times>,
    /// When nodes were sent on their way, within the last hour.
    pub removed: Vec<Timestamp>,
    /// The machines that pods, by uid, have room on that is not there yet: what a plan bought for one it must not buy again.
    pub booked: BTreeMap<String, MachineName>,
    quiet: BTreeMap<MachineName, Quiet>,
    last: Option<Timestamp>,
    phases: BTreeMap<MachineName, Phase>,
    ended: BTreeSet<String>,
}

/// What a pass found of a node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Use {
    /// It has nothing to do.
    pub idle: bool,
    /// It has less to do than the policy's share.
    pub under_used: bool,
    /// It boots, and nobody planned to come.
    pub unwanted: bool,
}

impl Learned {
    /// For how long a machine's node has been quiet.
    pub fn quiet(&self, name: &MachineName) -> Quiet {
        self.quiet.get(name).copied().unwrap_or_default()
    }

    /// For tables of tests: a machine's node has been quiet for so long.
    pub fn set_quiet(&mut self, name: &MachineName, quiet: Quiet) {
        self.quiet.insert(name.clone(), quiet);
    }

    /// How many nodes were sent on their way within so many seconds.
    pub fn removed_within(&self, now: Timestamp, secs: i64) -> usize {
        self.removed.iter().filter(|at| now.duration_since(**at).as_secs().abs() < secs).count()
    }

    /// Takes one pass in: the ledger as it is now, the view that was decided on, and the decision.
    pub fn pass(&mut self, now: Timestamp, ledger: &Ledger, view: &KubeView, decision: &Decision) {
        let passed = self.last.map_or(0, |last| now.duration_since(last).as_millis());
        let passed = Duration::from_millis(u64::try_from(passed).unwrap_or(0)).min(PASS_MAX);
        self.last = Some(now);
        if decision.packing.is_some() {
            // A decision on nothing says nothing of anybody.
            self.age(passed, &decision.uses);
            self.booked = decision.booked.clone();
        }
        self.learn_phases(now, ledger);
        self.learn_examples(ledger, view);
        self.learn_runs(view);
    }

    fn age(&mut self, passed: Duration, uses: &BTreeMap<MachineName, Use>) {
        self.quiet.retain(|name, _| uses.contains_key(name));
        for (name, found) in uses {
            // What is seen for the first time has been so for no time.
            let known = self.quiet.contains_key(name);
            let quiet = self.quiet.entry(name.clone()).or_default();
            let grow =
                |time: Duration, still: bool| if still && known { time + passed } else { Duration::ZERO };
            quiet.idle = grow(quiet.idle, found.idle);
            quiet.under_used = grow(quiet.under_used, found.under_used);
            quiet.unwanted = grow(quiet.unwanted, found.unwanted);
        }
    }

    fn learn_phases(&mut self, now: Timestamp, ledger: &Ledger) {
        self.removed.retain(|at| now.duration_since(*at).as_secs().abs() < HOUR);
        for (name, row) in ledger.rows() {
            let before = self.phases.get(name).copied();
            match (before, row.phase()) {
                (Some(Phase::Creating | Phase::Configuring), Phase::Ready) => {
                    let took = now.duration_since(row.born.at).as_millis();
                    let took = Duration::from_millis(u64::try_from(took).unwrap_or(0));
                    self.boots.entry(row.shape.name.clone()).or_default().add(took);
                }
                (Some(Phase::Ready), Phase::Draining) => self.removed.push(now),
                _ => {}
            }
        }
        self.phases = ledger.rows().iter().map(|(name, row)| (name.clone(), row.phase())).collect();
    }

    fn learn_examples(&mut self, ledger: &Ledger, view: &KubeView) {
        for node in view.nodes.iter().filter(|node| node.is_ready()) {
            let Ok(name) = MachineName::new(node.metadata.name.as_str()) else { continue };
            let Some(row) = ledger.row(&name).filter(|row| row.phase() == Phase::Ready) else { continue };
            let key = (row.pool.clone(), row.shape.name.clone());
            // A node that still lacks what an earlier one of its shape has is no example.
            let lacks = |old: &Example| !crate::fit::missing(node, &old.node).is_empty();
            if self.examples.get(&key).is_none_or(|old| !lacks(old)) {
                let csi = view.csi_nodes.iter().find(|csi| csi.metadata.name == node.metadata.name).cloned();
                self.examples.insert(key, Example { node: Arc::clone(node), csi });
            }
        }
    }

    fn learn_runs(&mut self, view: &KubeView) {
        let over = || view.pods.iter().filter(|pod| pod.is_over());
        for pod in over().filter(|pod| !self.ended.contains(&pod.metadata.uid)) {
            let ended = pod.status.conditions.iter().filter(|c| c.kind == "Ready");
            let end = ended.filter_map(|c| c.last_transition_time).max();
            let (Some(kin), Some(start), Some(end)) = (kin(pod), pod.status.start_time, end) else {
                continue;
            };
            if self.runs.len() < OWNERS || self.runs.contains_key(&kin) {
                // Both times are the cluster's own; one that goes back says nothing.
                let took = u64::try_from(end.duration_since(start).as_millis()).unwrap_or(0);
                self.runs.entry(kin).or_default().add(Duration::from_millis(took));
            }
        }
        self.ended = over().map(|pod| pod.metadata.uid.clone()).collect();
    }
}
