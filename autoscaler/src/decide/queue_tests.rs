//! The whole queue counts, not its head alone; and what was found by playing stories.

use serde_json::json;

use super::fixtures::*;
use crate::learned::Times;

/// One node of four cores with four jobs that began just now, and so many more that wait; a job takes 10 s, a boot 60 s.
fn queue(waiting: usize) -> Case {
    let job = |pod: &mut serde_json::Value| {
        pod["metadata"]["ownerReferences"] =
            json!([{"kind": "Job", "name": "work-1", "uid": "j", "controller": true}]);
        pod["status"]["startTime"] = json!("2027-01-15T08:00:00Z");
    };
    let mut case = Case::new().ready(plain);
    for n in 0..4 {
        case = case.running(&format!("r{n}"), "lab1-workers-1", job);
    }
    let mut case = case.waiting(waiting, "p", job);
    let mut times = [Times::default(), Times::default()];
    times[0].add(secs(10));
    times[1].add(secs(60));
    let [runs, boots] = times;
    case.learned.runs.insert(("default".to_owned(), "Job".to_owned(), "work".to_owned()), runs);
    case.learned.boots.insert("4x8Gi".into(), boots);
    case
}

#[test]
fn jobs_that_follow_each_other_on_what_runs_buy_nothing() {
    // Six rounds of four begin before the minute is over.
    let text = "pod default/p0 and 23 like it: room will be free within the 60s that a new machine takes";
    assert_eq!(queue(24).lines(), [text]);
    let lines = queue(28).lines();
    assert_eq!(lines[0], "row lab1-workers-2: new, Creating", "the seventh round begins at 70 s: {lines:?}");
    assert!(queue(24).policy(|policy| policy.boot_aware = false).lines()[0].contains("new, Creating"));
}

#[test]
fn a_job_whose_time_nobody_knows_never_gives_its_room_back() {
    let mut case = queue(4);
    case.learned.runs.clear();
    case.learned.runs.insert(("default".to_owned(), "Job".to_owned(), "other".to_owned()), Times::default());
    assert_eq!(case.lines(), ["row lab1-workers-2: new, Creating"]);
}

#[test]
fn a_machine_that_boots_is_kept_while_the_queue_will_need_it_and_counts_for_it() {
    // Asked for long ago, so that it may be ready at any time: it takes what the first node has no room for.
    let case = queue(4).booting();
    let decision = case.decision();
    assert!(decision.added.is_empty(), "{:?}", decision.added);
    assert!(!decision.uses[&name("lab1-workers-2")].unwanted);
    // Without anybody who waits, nobody needs it.
    assert!(queue(0).booting().decision().uses[&name("lab1-workers-2")].unwanted);
}

#[test]
fn machines_that_boot_do_not_freeze_removals() {
    let long = || crate::learned::Quiet { idle: secs(600), ..Default::default() };
    let mut case = Case::new().ready(plain).quiet("lab1-workers-1", long());
    for n in 2..7 {
        let young = format!("lab1-workers-{n}");
        case = case.booting().object(json!({"kind": "Node", "metadata": {"name": young},
            "status": {"conditions": [{"type": "Ready", "status": "False"}]}}));
    }
    let lines = case.lines();
    assert!(lines.iter().any(|line| line.starts_with("row lab1-workers-1: Ready -> Draining")), "{lines:?}");
}

#[test]
fn a_budget_counts_what_this_very_pass_removed() {
    let case = Case::new().ready(plain).ready(plain).policy(|policy| policy.rate.down = 1);
    let case = case.quiet("lab1-workers-1", long()).quiet("lab1-workers-2", long());
    let lines = case.lines();
    assert!(lines.contains(&"lab1-workers-1: 1 nodes were removed within a minute".to_owned()), "{lines:?}");
}

/// Found on a busy front-end: the kubelet says Ready, and the taint of its boot is taken away seconds later. Until then the pod
/// that the machine was bought for bought another one.
#[test]
fn a_ready_node_that_still_has_a_taint_of_its_boot_keeps_its_room() {
    let tainted = |key: &'static str| {
        let taints = json!([{"key": key, "effect": "NoSchedule"}]);
        let young = move |node: &mut serde_json::Value| node["spec"]["taints"] = taints.clone();
        Case::new().ready(young).waiting(1, "p", plain).policy(|p| p.startup_taints = vec!["agent".into()])
    };
    for key in ["node.kubernetes.io/not-ready", "node.kubernetes.io/network-unavailable", "agent"] {
        assert_eq!(tainted(key).lines(), [""; 0], "{key}");
    }
    let others = tainted("kind").lines();
    assert_eq!(others, ["row lab1-workers-2: new, Creating"], "a taint of its nature stays");
}
