//! The same verdicts as kube-scheduler: generated clusters go to our fit core and to the scheduler's own Filter plugins, and
//! both must say the same of every node. A case that differs is shrunk to the smallest one that still does.
//!
//! `tests/lab/scheduler/build OUT` makes the other side; `CONTINUUM_SCHEDULER_ORACLE=OUT` names it. `CONTINUUM_SCHEDULER_CASES`
//! and `CONTINUUM_SCHEDULER_SEED` say how many cases (500) from which number on (1).

mod dice;
mod generate;
mod oracle;
mod shrink;
mod storage;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use autoscaler::fit::{Check, Reason, State};
use autoscaler::quantity::Quantity;
use autoscaler::view::{KubeView, Notes, Pod};
use serde_json::Value;

use crate::dice::Dice;
use crate::oracle::{Oracle, Verdicts};

#[expect(
    clippy::disallowed_methods,
    reason = "a test is told by its environment where the lab has put the oracle"
)]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn number(name: &str, default: u64) -> u64 {
    variable(name)
        .map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

#[expect(clippy::print_stdout, reason = "a skipped test says so, in the test's own output")]
fn start(test: &str) -> Option<Oracle> {
    let path = variable("CONTINUUM_SCHEDULER_ORACLE");
    if path.is_none() {
        println!(
            "{test} is skipped: CONTINUUM_SCHEDULER_ORACLE names no oracle (make one with tests/lab/scheduler/build)"
        );
    }
    path.map(|path| Oracle::start(&path))
}

/// What our side says: per node every reason.
fn ours(case: &Value) -> BTreeMap<String, Vec<Reason>> {
    let view = KubeView::read(case["objects"].as_array().into_iter().flatten());
    let state = State::of(&view);
    let pod = Arc::new(Pod::read(&case["pod"], &mut Notes::default()));
    let check = Check::new(&pod, &state);
    state
        .ids()
        .map(|(id, node)| {
            let reasons = check.reasons(&state, id).err().unwrap_or_default();
            assert_eq!(
                check.fits(&state, id),
                reasons.is_empty(),
                "the fast and the full answer differ: {case}"
            );
            (node.node().metadata.name.clone(), reasons)
        })
        .collect()
}

/// The words of ours that say what a plugin of the scheduler says; none where it says no by failing.
fn words(plugin: &str) -> &'static [&'static str] {
    match plugin {
        "SchedulingGates" => &["SchedulingGated"],
        "NodeUnschedulable" => &["Unschedulable"],
        "NodeName" => &["NodeName"],
        "TaintToleration" => &["UntoleratedTaint"],
        "NodeAffinity" | "PreFilter" => &["NodeSelector", "NodeAffinity"],
        "NodePorts" => &["HostPort"],
        "NodeResourcesFit" => &["InsufficientResource", "TooManyPods"],
        "VolumeRestrictions" => &["Claim", "DiskConflict"],
        "NodeVolumeLimits" => &["Claim", "VolumeLimit"],
        "VolumeBinding" | "VolumeZone" => &["Claim", "VolumeTopology"],
        "PodTopologySpread" => &["TopologySpread", "TopologySpreadLabel", "BrokenSelector"],
        "InterPodAffinity" => &["PodAffinity", "PodAntiAffinity", "ExistingAntiAffinity", "BrokenSelector"],
        "Error" => &[],
        other => panic!("the scheduler has a plugin that is not known here: {other}"),
    }
}

/// The nodes on which both differ: one says yes and the other no, or the scheduler's reason is not among ours.
fn differences(case: &Value, theirs: &Verdicts) -> Vec<String> {
    let ours = ours(case);
    let nodes: BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
    let differs = |node: &&&String| match (ours.get(**node), theirs.get(**node)) {
        (Some(reasons), Some(said)) if said.is_empty() => !reasons.is_empty(),
        (Some(reasons), Some(said)) => {
            let plugin = said.split(':').next().unwrap_or_default();
            let known = words(plugin);
            !reasons.iter().any(|reason| known.is_empty() || known.contains(&reason.word()))
        }
        _ => true,
    };
    let shown =
        |node: &String| format!("{node}: scheduler {:?}, ours {:?}", theirs.get(node), ours.get(node));
    nodes.iter().filter(differs).map(|node| shown(node)).collect()
}

#[test]
fn verdicts_are_those_of_kube_scheduler() {
    let Some(mut oracle) = start("verdicts_are_those_of_kube_scheduler") else { return };
    let (cases, first) = (number("CONTINUUM_SCHEDULER_CASES", 500), number("CONTINUUM_SCHEDULER_SEED", 1));
    let mut said: BTreeMap<String, usize> = BTreeMap::new();
    for seed in first..first + cases {
        let case = generate::case(seed);
        let theirs =
            oracle.judge(&case).unwrap_or_else(|error| panic!("case {seed} cannot be read: {error}\n{case}"));
        let different = differences(&case, &theirs);
        if !different.is_empty() {
            let differs =
                |case: &Value| oracle.judge(case).is_ok_and(|theirs| !differences(case, &theirs).is_empty());
            let small = shrink::smallest(&case, differs);
            let theirs = oracle.judge(&small).expect("it was just read");
            panic!(
                "case {seed} differs:\n{}\nthe smallest:\n{small:#}\n{}",
                different.join("\n"),
                differences(&small, &theirs).join("\n")
            );
        }
        for verdict in theirs.values() {
            let plugin = verdict.split(':').next().filter(|plugin| !plugin.is_empty()).unwrap_or("fits");
            *said.entry(plugin.to_owned()).or_default() += 1;
        }
    }
    println!("{cases} cases, the same verdict on every node: {said:?}");
    let total: usize = said.values().sum();
    let fits = said.get("fits").copied().unwrap_or(0);
    assert!(fits * 10 > total && fits * 10 < total * 9, "the cases are too easy or too hard to say anything");
    if cases >= 500 {
        assert!(said.len() >= 11, "some plugins never said no: {said:?}");
    }
}

#[test]
fn a_check_that_follows_a_plan_says_what_a_new_one_would() {
    for seed in 1..400 {
        let case = generate::case(seed);
        let view = KubeView::read(case["objects"].as_array().into_iter().flatten());
        let full = State::of(&view);
        let mut state = State::of(&KubeView { pods: Vec::new(), ..view.clone() });
        let pod = Arc::new(Pod::read(&case["pod"], &mut Notes::default()));
        let mut check = Check::new(&pod, &state);
        let mut last = None;
        for (id, node) in full.ids() {
            for resident in node.residents() {
                let resident = Arc::new(resident.clone());
                state.place(Arc::clone(&resident), id);
                check.placed(&state, &resident, id);
                last = Some((resident, id));
            }
        }
        let same = |check: &Check, state: &State, when: &str| {
            // What volumes are held is looked at when a check is made.
            let fresh = Check::new(&pod, state);
            for (id, node) in state.ids().filter(|_| fresh.blocked() == check.blocked()) {
                let name = &node.node().metadata.name;
                assert_eq!(check.reasons(state, id), fresh.reasons(state, id), "case {seed}, {name}, {when}");
            }
        };
        same(&check, &state, "all placed");
        if let Some((resident, id)) = last {
            assert!(state.take(&resident.pod, id), "it was placed");
            check.taken(&state, &resident, id);
            same(&check, &state, "one taken");
        }
    }
}

#[test]
fn quantities_are_read_as_kubernetes_reads_them() {
    let Some(mut oracle) = start("quantities_are_read_as_kubernetes_reads_them") else { return };
    let dice = &mut Dice::new(number("CONTINUUM_SCHEDULER_SEED", 1));
    for _ in 0..number("CONTINUUM_SCHEDULER_CASES", 500) * 4 {
        let text = quantity(dice);
        let ours = text.parse::<Quantity>().ok().map(|q| (q.milli(), q.value()));
        // Beyond 64 bits the answers of Kubernetes wrap; ours are capped.
        let fits = ours.is_none_or(|(milli, _)| milli.abs() < i64::MAX / 1000);
        if fits {
            assert_eq!(ours, oracle.quantity(&text), "{text:?}");
        }
    }
}

fn quantity(dice: &mut Dice) -> String {
    let mut text = String::from(dice.pick(&["", "", "", "+"]));
    for _ in 0..1 + dice.below(11) {
        text.push_str(dice.pick(&["0", "0", "1", "5", "9"]));
    }
    if dice.chance(50) {
        text.push('.');
        for _ in 0..dice.below(14) {
            text.push_str(dice.pick(&["0", "0", "1", "5", "9"]));
        }
    }
    let suffixes = [
        "", "", "n", "u", "m", "k", "M", "G", "T", "Ki", "Mi", "Gi", "Ti", "e3", "E2", "e-3", "e", "i", "x",
        "e+1", "E-12",
    ];
    text.push_str(dice.pick(&suffixes));
    text
}
