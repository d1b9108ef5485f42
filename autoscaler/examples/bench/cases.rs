//! The benchmarks.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::time::Duration;

use autoscaler::decide::{Decision, Seen, decide};
use autoscaler::fit::{State, fits, imagine};
use autoscaler::learned::{Quiet, Reserved};
use autoscaler::pack::Target;
use autoscaler::view::{Labels, PodSpec};
use provisioner::ledger::Phase;

use super::clusters::{Cluster, Failure, cluster, now, shape, waiting};
use super::measure::{peak, say, timed};
use super::w1;

/// All of them, in the order of the tables.
const ALL: [&str; 16] = [
    "ca-up/5000",
    "ca-up/10000",
    "ca-up/50000",
    "ca-down/200",
    "ca-down/1000",
    "ca-down/2000",
    "generic/100",
    "generic/1000",
    "generic/5000",
    "generic/20000",
    "diverse/100",
    "diverse/1000",
    "diverse/5000",
    "diverse/10000",
    "pref/4000",
    "pref/40000",
];

pub(crate) fn each_in_its_own_process() -> Result<(), Failure> {
    let me = std::env::current_exe()?;
    for name in ALL {
        let status = std::process::Command::new(&me).arg(name).status()?;
        if !status.success() {
            return Err(format!("{name} {status}").into());
        }
    }
    Ok(())
}

pub(crate) fn run(name: &str) -> Result<(), Failure> {
    let (case, size) = name.split_once('/').ok_or("write CASE/SIZE, such as ca-up/50000")?;
    let size: usize = size.parse()?;
    match case {
        "ca-up" => up(name, size),
        "ca-down" => down(name, size),
        "generic" | "diverse" => w1(name, size, case == "diverse"),
        "pref" => pref(name, size),
        _ => Err(format!("there is no benchmark {case}").into()),
    }
}

fn decided(cluster: &Cluster) -> Decision {
    let seen = Seen { view: &cluster.view, stale: None, others: &BTreeMap::new() };
    decide(&cluster.spec, &cluster.policy, &cluster.ledger, &seen, &cluster.learned, None, now())
}

fn line(name: &str, pods: usize, seconds: f64, rest: &str) {
    let rate = pods as f64 / seconds.max(1e-9);
    say(&format!("{name:<16} {seconds:>8.3} CPU-s {rate:>10.0} pods/CPU-s {:>6.0} MB  {rest}", peak()));
}

fn expect(name: &str, what: &str, found: usize, wanted: usize) -> Result<(), Failure> {
    if found == wanted { Ok(()) } else { Err(format!("{name}: {found} {what}, not {wanted}").into()) }
}

fn plain() -> Reserved {
    Reserved { pods: 110, ..Reserved::default() }
}

/// So many pods of 200m and 200 bytes, 50 to a node of 10 cores and 10,000 bytes.
fn up(name: &str, pods: usize) -> Result<(), Failure> {
    let mut cluster = cluster(vec![shape("ng1", 10_000, 10_000)], &[], 10_000, plain())?;
    let pod = |n| waiting(format!("pod-{n:06}"), Labels::new(), 200, 200, PodSpec::default());
    cluster.view.pods = (0..pods).map(pod).collect();
    let (decision, seconds) = timed(|| decided(&cluster));
    expect(name, "nodes", decision.added.len(), pods / 50)?;
    line(name, pods, seconds, &format!("{} nodes", decision.added.len()));
    Ok(())
}

/// So many nodes with 40 pods of a hundredth each: three in five go.
fn down(name: &str, nodes: usize) -> Result<(), Failure> {
    let ng1 = shape("ng1", 10_000, 10_000);
    let mut cluster = cluster(vec![ng1.clone()], &[], 10_000, plain())?;
    let names = (0..nodes).map(|_| cluster.add_node(&ng1)).collect::<Result<Vec<_>, _>>()?;
    for n in 0..nodes * 40 {
        let pod = waiting(format!("pod-{n:06}"), Labels::new(), 100, 100, PodSpec::default());
        cluster.run(&pod, &names[n % nodes]);
    }
    let long = Quiet { under_used: Duration::from_secs(3600), ..Quiet::default() };
    names.iter().for_each(|name| cluster.learned.set_quiet(name, long));
    let (decision, seconds) = timed(|| decided(&cluster));
    let gone = decision.ledger.rows().values().filter(|row| row.phase() == Phase::Draining).count();
    expect(name, "nodes removed", gone, nodes * 3 / 5)?;
    line(name, nodes * 40, seconds, &format!("{gone} of {nodes} nodes removed"));
    Ok(())
}

fn w1(name: &str, n: usize, diverse: bool) -> Result<(), Failure> {
    let (pods, sums) = w1::pods(n, diverse);
    let known = match (diverse, n) {
        (false, 100) => Some((65_150, 130_568)),
        (false, 1000) => Some((669_800, 1_361_044)),
        (false, 5000) => Some((3_336_650, 6_729_776)),
        (false, 20_000) => Some((13_444_700, 26_941_192)),
        (true, 100) => Some((71_250, 111_880)),
        (true, 1000) => Some((695_850, 1_335_512)),
        (true, 5000) => Some((3_347_700, 6_736_300)),
        (true, 10_000) => Some((6_688_550, 13_318_628)),
        _ => None,
    };
    if known.is_some_and(|known| known != sums) {
        return Err(
            format!("{name}: the pods have the sums {sums:?}, not {known:?}: another workload").into()
        );
    }
    let mut cluster = w1::catalogue()?;
    cluster.view.pods = pods;
    let (decision, seconds) = timed(|| decided(&cluster));
    let again = decided(&cluster);
    let memory = format!("{:.0}", peak());
    let packing = decision.packing.as_ref().ok_or("nothing was decided")?;
    expect(name, "pods left", packing.left.len(), 0)?;
    expect(name, "plan", usize::from(hash(&decision) == hash(&again)), 1)?;
    // The check asks the scheduler's rules anew for each pod: too slow for the large ones, which differ in nothing but size.
    if n <= 1000 {
        check(name, &decision)?;
    }
    let price = packing.cost() as f64 / 1e6;
    let rest =
        format!("{} nodes, price {price:.2}, plan {:08x}, {memory} MB", packing.new.len(), hash(&decision));
    line(name, n, seconds, &rest);
    Ok(())
}

/// A number for a whole plan.
fn hash(decision: &Decision) -> u32 {
    let mut hasher = DefaultHasher::new();
    for (pod, target) in decision.packing.iter().flat_map(|packing| packing.assignments()) {
        pod.metadata.name.hash(&mut hasher);
        match target {
            Target::New(at) => at.hash(&mut hasher),
            Target::Node(_) => usize::MAX.hash(&mut hasher),
        }
    }
    for name in &decision.added {
        decision.ledger.row(name).map(|row| row.shape.name.as_str()).hash(&mut hasher);
    }
    (hasher.finish() >> 32) as u32
}

/// Every placement fits when it is made, by the scheduler's own rules, on nodes of the shapes that are bought.
fn check(name: &str, decision: &Decision) -> Result<(), Failure> {
    let packing = decision.packing.as_ref().ok_or("nothing was decided")?;
    let mut state = State::default();
    let mut nodes: BTreeMap<usize, String> = BTreeMap::new();
    for (pod, target) in packing.assignments() {
        let Target::New(at) = target else { return Err(format!("{name}: there is no node").into()) };
        if let Entry::Vacant(slot) = nodes.entry(at) {
            let node = super::clusters::node(&format!("n{at}"), &packing.new[at]);
            imagine(&mut state, node, None, &[])?;
            slot.insert(format!("n{at}"));
        }
        let on = &nodes[&at];
        fits(pod, on, &state).map_err(|why| format!("{name}: {} on {on}: {}", pod.metadata.name, why[0]))?;
        let id = state.find(on).ok_or("the node")?;
        state.place(std::sync::Arc::new(autoscaler::fit::Resident::new(pod.clone())), id);
    }
    Ok(())
}

/// Pods that prefer to be alone: a preference buys nothing.
fn pref(name: &str, n: usize) -> Result<(), Failure> {
    let mut cluster = w1::catalogue()?;
    cluster.view.pods = w1::preferring(n);
    let (decision, seconds) = timed(|| decided(&cluster));
    let nodes = decision.added.len();
    if n == 4000 && nodes > 21 {
        return Err(format!("{name}: {nodes} nodes").into());
    }
    line(name, n, seconds, &format!("{nodes} nodes"));
    Ok(())
}
