//! W1: a portable version of Karpenter's scheduling benchmark: the same groups, order and catalogue, from a generator that
//! anybody can repeat.

use std::collections::BTreeMap;
use std::sync::Arc;

use autoscaler::learned::Reserved;
use autoscaler::view::{
    Affinity, LabelSelector, Labels, Pod, PodAffinity, PodAffinityTerm, PodSpec, SpreadConstraint,
    Unsatisfiable,
};
use provisioner::names::{NameError, ShapeName};
use provisioner::policy::Price;
use provisioner::quantity::{Cpu, Memory};

use super::clusters::{Cluster, cluster, shape, waiting};

const ZONE: &str = "topology.kubernetes.io/zone";
const HOSTNAME: &str = "kubernetes.io/hostname";
const LABEL: &str = "my-label";
const AFFINITY: &str = "my-affininity";

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn pick(&mut self, n: u64) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((z ^ (z >> 31)) % n).unwrap_or(0)
    }

    fn letter(&mut self) -> String {
        ["a", "b", "c", "d", "e", "f", "g"][self.pick(7)].to_owned()
    }
}

fn labels(key: &str, value: &str) -> Labels {
    BTreeMap::from([(key.to_owned(), value.to_owned())])
}

fn selector(key: &str, value: &str) -> Option<LabelSelector> {
    Some(LabelSelector { match_labels: labels(key, value), match_expressions: Vec::new() })
}

fn spread(key: &str, value: &str) -> PodSpec {
    let constraint = SpreadConstraint {
        max_skew: 1,
        topology_key: key.to_owned(),
        when_unsatisfiable: Unsatisfiable::DoNotSchedule,
        selector: selector(LABEL, value),
        ..SpreadConstraint::default()
    };
    PodSpec { topology_spread_constraints: vec![constraint], ..PodSpec::default() }
}

fn term(key: &str, label: &str, value: &str) -> PodAffinity {
    let term = PodAffinityTerm {
        selector: selector(label, value),
        topology_key: key.to_owned(),
        ..PodAffinityTerm::default()
    };
    PodAffinity { required: vec![term] }
}

/// One pod of a group: generic, zone spread, hostname spread, zone affinity to itself, hostname anti-affinity to itself.
fn pod(dice: &mut Dice, group: usize, n: usize) -> (Arc<Pod>, i64, i64) {
    let own = if group == 4 { String::new() } else { dice.letter() };
    let (labels, spec) = match group {
        1 => (labels(LABEL, &own), spread(ZONE, &dice.letter())),
        2 => (labels(LABEL, &own), spread(HOSTNAME, &dice.letter())),
        3 => {
            let affinity = Affinity { pod: term(ZONE, AFFINITY, &own), ..Affinity::default() };
            (labels(AFFINITY, &own), PodSpec { affinity, ..PodSpec::default() })
        }
        4 => {
            let affinity = Affinity { anti: term(HOSTNAME, "app", "nginx"), ..Affinity::default() };
            (labels("app", "nginx"), PodSpec { affinity, ..PodSpec::default() })
        }
        _ => (labels(LABEL, &own), PodSpec::default()),
    };
    let cpu = [100, 250, 500, 1000, 1500][dice.pick(5)];
    let memory = [100, 256, 512, 1024, 2048, 4096][dice.pick(6)];
    (waiting(format!("pod-{n:06}"), labels, cpu, memory << 20, spec), cpu, memory)
}

/// Pods, and the sums of their cpu (milli) and memory (Mi).
pub(crate) fn pods(n: usize, diverse: bool) -> (Vec<Arc<Pod>>, (i64, i64)) {
    let mut dice = Dice(42);
    let (mut pods, mut sums) = (Vec::new(), (0, 0));
    for at in 0..n {
        let group = if diverse { at / (n / 5).max(1) % 5 } else { 0 };
        let (pod, cpu, memory) = pod(&mut dice, group, at);
        pods.push(pod);
        sums = (sums.0 + cpu, sums.1 + memory);
    }
    (pods, sums)
}

/// 400 types of 1 to 400 cores with 2Gi each, in three zones; 0.31475 per core.
pub(crate) fn catalogue() -> Result<Cluster, NameError> {
    let sizes = || 1..=400_u64;
    let shapes = sizes().map(|n| shape(&format!("fake-it-{}", n - 1), n * 1000, n << 31)).collect();
    let kept =
        Reserved { cpu: Cpu { millis: 100 }, memory: Memory::mib(10), pods: 4000, ..Reserved::default() };
    let mut cluster = cluster(shapes, &["test-zone-1", "test-zone-2", "test-zone-3"], u32::MAX, kept)?;
    cluster.policy.prices = sizes()
        .map(|n| {
            // 0.1 per core and 0.1 per gigabyte, as upstream's catalogue has it.
            let micros = n * 100_000 + (n << 31) / 10_000;
            (ShapeName(format!("fake-it-{}", n - 1)), Price { micros })
        })
        .collect();
    Ok(cluster)
}

/// Pods that are all alike, with preferences only: none of them may buy a node.
pub(crate) fn preferring(n: usize) -> Vec<Arc<Pod>> {
    // Preferences are not even read into a pod: that is how they never buy a node.
    (0..n)
        .map(|at| waiting(format!("pod-{at:06}"), Labels::new(), 1000, 1 << 30, PodSpec::default()))
        .collect()
}
