//! Decisions as tables; corner cases under the number of their row in the list of such cases.

use provisioner::ledger::Leaving;
use provisioner::policy::{HeadRoom, Slot};
use provisioner::quantity::{Cpu, Memory};
use serde_json::json;

use super::fixtures::*;
use super::*;
use crate::explain::{self, Question};
use crate::learned::{Quiet, Times};

fn nothing() -> Vec<String> {
    Vec::new()
}

#[test]
fn pods_that_wait_get_as_many_rows_as_they_need_and_no_more_the_next_time() {
    let case = Case::new().waiting(5, "p", plain);
    assert_eq!(case.lines(), ["row lab1-workers-1: new, Creating", "row lab1-workers-2: new, Creating"]);
    assert_eq!(case.done().lines(), nothing(), "row 39: what boots counts, also after a restart");
}

#[test]
fn room_that_is_there_or_boots_is_used_first() {
    let there = Case::new().ready(plain).running("old", "lab1-workers-1", plain);
    assert_eq!(there.waiting(3, "p", plain).lines(), nothing(), "row 20: the scheduler will bind it");
    let both = Case::new().ready(plain).booting().waiting(9, "p", plain);
    assert_eq!(both.lines(), ["row lab1-workers-3: new, Creating"]);
}

/// The answer to a question about this case.
fn asked<T>(case: &Case, question: impl FnOnce(&Question<'_>) -> T) -> T {
    let view = case.view();
    let seen = Seen { view: &view, stale: None, others: &case.others };
    question(&Question {
        spec: &case.spec,
        policy: &case.policy,
        ledger: &case.ledger,
        seen: &seen,
        learned: &case.learned,
        now: now(),
    })
}

#[test]
fn row_01_what_fits_nowhere_buys_nothing_and_says_so_at_once() {
    let case = Case::new().waiting(2, "p", cpu("5"));
    assert_eq!(case.lines(), ["pod default/p0 and 1 like it: fits on nothing that could be added"]);
    let answer = asked(&case, |question| explain::pod(question, "default/p1")).unwrap();
    assert_eq!(
        answer.to_string(),
        "pod default/p1: it fits on nothing that could be added\n  \
         pool workers, 4x8Gi: it wants 5 cpu, 4 of 4 is free\n  \
         to make it fit: ask for at most 4 cpu, or add a larger shape\n"
    );
    assert_eq!(answer.pools[0].reasons[0].word, "InsufficientResource");
    assert_eq!(asked(&case, |question| explain::pod(question, "default/gone")), None);
}

#[test]
fn row_02_a_new_node_is_counted_without_what_runs_on_every_node() {
    let set = json!({"kind": "DaemonSet", "metadata": {"namespace": "kube-system", "name": "agent"}, "spec": {"template": {
        "spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "1"}}}]}}}});
    let case = Case::new().object(set).waiting(4, "p", plain);
    assert_eq!(case.decision().added.len(), 2);
}

#[test]
fn rows_13_to_19_what_does_not_wait_for_a_node_buys_none() {
    let gated: fn(&mut serde_json::Value) = |p| p["spec"]["schedulingGates"] = json!([{"name": "g"}]);
    let pushing: fn(&mut serde_json::Value) = |p| p["status"]["nominatedNodeName"] = json!("lab1-workers-1");
    let ended: fn(&mut serde_json::Value) = |p| p["status"]["phase"] = json!("Failed");
    let cheap: fn(&mut serde_json::Value) = |p| p["spec"]["priority"] = json!(-11);
    let young: fn(&mut serde_json::Value) = |p| p["status"] = json!({"phase": "Pending"});
    let everywhere: fn(&mut serde_json::Value) =
        |p| p["metadata"]["ownerReferences"][0]["kind"] = json!("DaemonSet");
    for change in [gated, pushing, ended, cheap, young, everywhere] {
        assert_eq!(Case::new().waiting(1, "p", change).lines(), nothing());
    }
    let bypassed = Case::new().policy(|p| p.bypassed_schedulers = vec!["own".to_owned()]);
    let own = bypassed.waiting(1, "p", |p| {
        p["status"] = json!({"phase": "Pending"});
        p["spec"]["schedulerName"] = json!("own");
    });
    assert_eq!(own.decision().added.len(), 1, "row 18");
}

#[test]
fn row_21_pods_that_do_not_want_each_other_near_get_a_node_each() {
    let apart = |p: &mut serde_json::Value| {
        p["spec"]["affinity"] = json!({"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
            {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "a"}}}]}});
    };
    let case = Case::new().waiting(3, "p", apart);
    assert_eq!(case.decision().added.len(), 3);
    assert_eq!(case.done().lines(), nothing());
}

#[test]
fn row_22_a_spread_over_zones_gets_a_node_in_each() {
    let spread = |p: &mut serde_json::Value| {
        p["spec"]["topologySpreadConstraints"] = json!([{"maxSkew": 1, "topologyKey": ZONE,
            "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {"matchLabels": {"app": "a"}}}]);
    };
    let case = Case::new().zones(&["a", "b", "c"]).waiting(6, "p", spread);
    let decision = case.decision();
    let zones: Vec<_> = decision
        .added
        .iter()
        .map(|name| decision.ledger.row(name).unwrap().zone.clone().unwrap().0)
        .collect();
    assert_eq!(zones, ["a", "b", "c"]);
    assert_eq!(case.done().lines(), nothing());
}

#[test]
fn row_23_a_preference_buys_nothing() {
    let wish = json!({"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1,
        "podAffinityTerm": {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "a"}}}}]}});
    let case = Case::new().waiting(4, "p", |p| p["spec"]["affinity"] = wish.clone());
    assert_eq!(case.decision().added.len(), 1);
}

#[test]
fn the_cheapest_shapes_for_the_whole_remainder_are_bought() {
    let mut case = Case::new();
    case.workers().shapes = vec![shape(2, 4), shape(16, 32)];
    let case = case.policy(|p| {
        p.prices = [("2x4Gi", "0.1"), ("16x32Gi", "0.6")]
            .map(|(name, price)| (name.into(), price.parse().unwrap()))
            .into();
    });
    // 16 cores of the small shape would cost 0.8; what is left over is not worth a large one.
    let decision = case.waiting(18, "p", plain).decision();
    let shapes: Vec<_> = decision.packing.unwrap().new.iter().map(|node| node.shape.name.0.clone()).collect();
    assert_eq!(shapes, ["16x32Gi", "2x4Gi"]);
}

#[test]
fn what_only_one_pool_can_take_comes_first_and_the_others_fill_what_it_leaves() {
    let mut case = Case::new();
    let mut gpu = pool(&[(8, 16)], 5);
    gpu.labels = BTreeMap::from([("gpu".to_owned(), "yes".to_owned())]);
    case.spec.pools.insert(pool_name("gpu"), gpu);
    let case =
        case.waiting(1, "g", |p| p["spec"]["nodeSelector"] = json!({"gpu": "yes"})).waiting(7, "p", plain);
    assert_eq!(case.lines(), ["row lab1-gpu-1: new, Creating"]);
}

#[test]
fn row_60_no_limit_is_passed_and_each_says_its_number() {
    let mut full = Case::new().waiting(50, "p", plain);
    full.workers().size = 0..=2;
    assert_eq!(
        full.lines(),
        [
            "row lab1-workers-1: new, Creating",
            "row lab1-workers-2: new, Creating",
            "pod default/p16 and 41 like it: the pool has 2 of at most 2 machines",
        ]
    );
    type Change = fn(&mut provisioner::policy::Policy);
    let limits: [(Change, &str); 5] = [
        (|p| p.max.nodes = Some(1), "the cluster has its maximum of 1 elastic machines"),
        (|p| p.max.cpu = Some(Cpu::cores(5)), "the cluster would have 8 cpu, 5 at most"),
        (|p| p.max.memory = Some(Memory::gib(9)), "the cluster would have 16Gi memory, 9Gi at most"),
        (|p| p.rate.up = 1, "1 machines were added within a minute"),
        (|p| p.rate.booting = 1, "1 machines boot already"),
    ];
    for (change, text) in limits {
        let lines = Case::new().policy(change).waiting(8, "p", plain).lines();
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[1].ends_with(text), "{lines:?}");
    }
    let mut shared = Case::new().waiting(1, "p", plain);
    shared.others.insert(pool_name("workers"), 10);
    assert_eq!(shared.lines(), ["pod default/p0: the pool has 10 of at most 10 machines"]);
}

#[test]
fn head_room_is_bought_and_keeps_its_node() {
    let of = Slot { cpu: Cpu::cores(1), memory: Memory::gib(1) };
    let room =
        |p: &mut provisioner::policy::Policy| p.head_room = Some(HeadRoom { slots: 2, of: of.clone() });
    let empty = Case::new().policy(room);
    assert_eq!(empty.lines(), ["row lab1-workers-1: new, Creating"]);
    assert_eq!(empty.done().lines(), nothing());
    let idle = Case::new().policy(room).ready(plain).quiet("lab1-workers-1", long());
    assert_eq!(idle.lines(), nothing(), "the slots are on it");
}

#[test]
fn a_node_with_nothing_to_do_is_cordoned_then_seen_empty_then_deleted() {
    let case = Case::new().ready(plain).quiet("lab1-workers-1", long());
    assert_eq!(
        case.lines(),
        ["row lab1-workers-1: Ready -> Draining (its pool is to be smaller)", "cordon lab1-workers-1"]
    );
    let case = case.done();
    assert_eq!(case.lines(), ["row lab1-workers-1: Draining -> Deleting (its pool is to be smaller)"]);
}

#[test]
fn row_49_a_pod_that_came_before_the_cordon_calls_the_drain_off() {
    let drained = || Case::new().ready(plain).quiet("lab1-workers-1", long()).done();
    let bare = drained().running("late", "lab1-workers-1", |p| p["metadata"]["ownerReferences"] = json!([]));
    assert_eq!(
        bare.lines(),
        [
            "row lab1-workers-1: Draining -> Ready",
            "uncordon lab1-workers-1",
            "lab1-workers-1: pod default/late: nothing would make it again",
        ]
    );
    let mut unseen = drained();
    unseen.find("Node", "lab1-workers-1")["spec"] = json!({});
    assert_eq!(unseen.lines(), ["cordon lab1-workers-1", "lab1-workers-1: 0 pods have still to go"]);
}

#[test]
fn a_drain_is_called_off_rather_than_a_node_bought() {
    let case = Case::new().ready(plain).quiet("lab1-workers-1", long()).done().waiting(2, "p", plain);
    assert_eq!(
        case.lines(),
        [
            "row lab1-workers-1: Draining -> Ready",
            "uncordon lab1-workers-1",
            "lab1-workers-1: its drain is called off: pods want it",
        ]
    );
}

#[test]
fn what_was_just_added_or_is_in_use_stays() {
    assert_eq!(Case::new().ready(plain).lines(), nothing());
    let short = Quiet { idle: secs(299), ..Quiet::default() };
    assert_eq!(Case::new().ready(plain).quiet("lab1-workers-1", short).lines(), nothing());
    let busy = Case::new().ready(plain).quiet("lab1-workers-1", long());
    assert_eq!(busy.running("r", "lab1-workers-1", cpu("3")).lines(), nothing());
    let mut least = Case::new().ready(plain).quiet("lab1-workers-1", long());
    least.workers().size = 1..=5;
    assert_eq!(least.lines(), ["lab1-workers-1: the pool has its minimum of 1"]);
}

#[test]
fn rows_27_and_46_what_people_said_of_a_node_holds() {
    let kept = |key: &'static str| {
        move |n: &mut serde_json::Value| n["metadata"]["annotations"][key] = json!("true")
    };
    for key in ["cluster-autoscaler.kubernetes.io/scale-down-disabled", "karpenter.sh/do-not-disrupt"] {
        let case = Case::new().ready(kept(key)).quiet("lab1-workers-1", long());
        assert_eq!(case.lines(), [format!("lab1-workers-1: its annotation {key} keeps it")]);
    }
    let cordoned =
        Case::new().ready(|n| n["spec"]["unschedulable"] = json!(true)).quiet("lab1-workers-1", long());
    assert_eq!(cordoned.lines(), ["lab1-workers-1: somebody cordoned it: it is theirs to remove"]);
}

#[test]
fn rows_31_and_56_missing_information_removes_nothing() {
    let mut stale = Case::new().ready(plain).quiet("lab1-workers-1", long()).waiting(1, "p", cpu("4"));
    stale.stale = Some("pods are not synced");
    assert_eq!(stale.lines(), ["cluster: nothing is decided, the view may be old: pods are not synced"]);
    let ill = |n: &mut serde_json::Value| n["status"]["conditions"][0]["status"] = json!("Unknown");
    let mut sick = Case::new();
    for n in 1..=8 {
        sick = if n <= 4 { sick.ready(ill) } else { sick.ready(plain) };
        sick = sick.quiet(&format!("lab1-workers-{n}"), long());
    }
    assert_eq!(
        sick.lines(),
        ["cluster: 4 of 8 nodes are not ready: none is removed before that is understood"]
    );
    let mut closing = Case::new().waiting(1, "p", plain);
    closing.ledger.close(provisioner::ledger::Closing { at: now(), grace_secs: 0 });
    assert_eq!(closing.lines(), ["cluster: the cluster is being taken down"]);
}

#[test]
fn nodes_go_no_faster_than_the_budgets_say() {
    let many = |change: fn(&mut provisioner::policy::Policy)| {
        let mut case = Case::new().policy(change);
        for n in 1..=4 {
            case = case.ready(plain).quiet(&format!("lab1-workers-{n}"), long());
        }
        case.learned.removed = vec![now() - jiff::SignedDuration::from_secs(120)];
        let decision = case.decision();
        let count = decision.kube.len();
        (count, decision.waits.iter().map(|wait| wait.why.to_string()).next())
    };
    assert_eq!(many(|_| ()), (4, None));
    assert_eq!(many(|p| p.rate.down = 3).0, 3);
    let hour = Some("2 nodes were removed within an hour".to_owned());
    assert_eq!(many(|p| p.destroy_per_hour = 2), (1, hour));
}

#[test]
fn an_under_used_node_goes_if_its_pods_have_other_places() {
    let case = Case::new()
        .ready(plain)
        .ready(plain)
        .running("a", "lab1-workers-1", cpu("3"))
        .running("b", "lab1-workers-2", plain)
        .quiet("lab1-workers-2", long());
    assert_eq!(
        case.lines(),
        ["row lab1-workers-2: Ready -> Draining (its pool is to be smaller)", "cordon lab1-workers-2"]
    );
    let mut case = case.done();
    assert_eq!(case.lines(), ["evict default/b", "lab1-workers-2: 1 pods have still to go"]);
    case = case.done();
    assert_eq!(case.lines(), ["row lab1-workers-2: Draining -> Deleting (its pool is to be smaller)"]);
}

#[test]
fn row_50_one_plan_gives_a_place_only_once() {
    // Each of the two could go if the other one stays.
    let mut case = Case::new().ready(plain).ready(plain);
    for n in 1..=2 {
        case = case.running(&format!("p{n}"), &format!("lab1-workers-{n}"), cpu("2"));
        case = case.quiet(&format!("lab1-workers-{n}"), long());
    }
    assert_eq!(case.decision().kube.len(), 1);
    let full = case.running("x", "lab1-workers-1", cpu("1")).running("y", "lab1-workers-2", cpu("2"));
    assert_eq!(full.lines(), nothing());
}

#[test]
fn row_24_budgets_hold_over_the_whole_plan() {
    let budget = |name: &str, allowed: i64| {
        json!({"kind": "PodDisruptionBudget", "metadata": {"namespace": "default", "name": name},
            "spec": {"selector": {"matchLabels": {"app": "a"}}}, "status": {"disruptionsAllowed": allowed}})
    };
    let case = |budgets: &[serde_json::Value]| {
        let mut case =
            Case::new().ready(plain).ready(plain).ready(plain).running("big", "lab1-workers-1", cpu("2"));
        for n in 2..=3 {
            case = case.running(&format!("p{n}"), &format!("lab1-workers-{n}"), plain);
            case = case.quiet(&format!("lab1-workers-{n}"), long());
        }
        budgets.iter().fold(case, |case, one| case.object(one.clone()))
    };
    assert_eq!(case(&[]).decision().kube.len(), 2);
    let one = case(&[budget("x", 1)]);
    assert_eq!(one.decision().kube.len(), 1);
    assert_eq!(
        one.lines().last().unwrap(),
        "lab1-workers-2: pod default/p2: the disruption budget default/x allows no eviction now"
    );
    let two = case(&[budget("x", 9), budget("y", 9)]);
    assert!(
        two.lines()[0]
            .ends_with("it has two disruption budgets, which no eviction gets past: default/x, default/y")
    );
}

#[test]
fn rows_9_to_14_and_25_what_keeps_a_pod_where_it_is() {
    type Change = fn(&mut serde_json::Value);
    let table: [(&str, Change); 17] = [
        ("moves", |_| ()),
        ("NotReplicated", |p| p["metadata"]["ownerReferences"] = json!([])),
        ("CustomController", |p| p["metadata"]["ownerReferences"][0]["kind"] = json!("Gang")),
        ("RunningJob", |p| p["metadata"]["ownerReferences"][0]["kind"] = json!("Job")),
        ("ignored", |p| p["metadata"]["ownerReferences"][0]["kind"] = json!("DaemonSet")),
        ("ignored", |p| p["metadata"]["annotations"]["kubernetes.io/config.mirror"] = json!("x")),
        ("ignored", |p| p["status"]["phase"] = json!("Succeeded")),
        ("ends", |p| p["metadata"]["deletionTimestamp"] = json!("2027-01-15T08:00:00Z")),
        ("ignored", |p| p["metadata"]["deletionTimestamp"] = json!("2027-01-15T07:59:00Z")),
        ("LocalStorage", |p| p["spec"]["volumes"] = json!([{"name": "v", "emptyDir": {}}])),
        ("LocalStorage", |p| p["spec"]["volumes"] = json!([{"name": "v", "hostPath": {"path": "/x"}}])),
        ("moves", |p| p["spec"]["volumes"] = json!([{"name": "v", "emptyDir": {"medium": "Memory"}}])),
        ("NotSafeToEvict", |p| {
            p["metadata"]["annotations"]["cluster-autoscaler.kubernetes.io/safe-to-evict"] = json!("false");
        }),
        ("BlockedByOnCompletionPod", |p| {
            p["metadata"]["annotations"]["cluster-autoscaler.kubernetes.io/safe-to-evict"] =
                json!("on-completion");
        }),
        ("NotSafeToEvict", |p| p["metadata"]["annotations"]["karpenter.sh/do-not-disrupt"] = json!("true")),
        ("SystemPod", |p| {
            p["metadata"]["namespace"] = json!("kube-system");
            p["metadata"]["creationTimestamp"] = json!("2027-01-15T07:30:00Z");
        }),
        ("moves", |p| {
            p["metadata"]["ownerReferences"] = json!([]);
            p["metadata"]["annotations"]["cluster-autoscaler.kubernetes.io/safe-to-evict"] = json!("true");
        }),
    ];
    for (n, (word, change)) in table.into_iter().enumerate() {
        let mut case = Case::new().running("p", "n", change);
        let pod = read(case.find("Pod", "p"));
        let found = match verdict(&pod, now()) {
            Verdict::Ignored => "ignored",
            Verdict::Ends => "ends",
            Verdict::Moves => "moves",
            Verdict::Stays(hold) => hold.word(),
        };
        assert_eq!(found, word, "line {n}");
    }
}

#[test]
fn row_25_do_not_disrupt_may_be_a_duration() {
    for (span, moves) in [("5m", true), ("2h", false)] {
        let mut case = Case::new().running("p", "n", |p| {
            p["metadata"]["creationTimestamp"] = json!("2027-01-15T07:30:00Z");
            p["metadata"]["annotations"]["karpenter.sh/do-not-disrupt"] = json!(span);
        });
        let pod = read(case.find("Pod", "p"));
        assert_eq!(verdict(&pod, now()) == Verdict::Moves, moves, "{span}");
    }
}

#[test]
fn rows_48_and_61_a_boot_that_nobody_waits_for_is_called_off() {
    let case = Case::new().booting();
    assert_eq!(case.lines(), nothing());
    let case = case.quiet("lab1-workers-1", long());
    assert_eq!(case.lines(), ["row lab1-workers-1: Creating -> Deleting (its pool is to be smaller)"]);
    assert_eq!(case.waiting(1, "p", plain).lines(), nothing());
}

#[test]
fn rows_28_and_30_a_node_that_is_not_ready_for_a_moment_keeps_its_room() {
    let ill = |n: &mut serde_json::Value| {
        n["status"]["conditions"][0]["status"] = json!("False");
        n["spec"]["taints"] = json!([{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}]);
    };
    assert_eq!(Case::new().ready(ill).waiting(4, "p", plain).lines(), nothing());
}

#[test]
fn rows_32_to_36_what_failed_lately_is_not_asked_for_again() {
    let mut case = Case::new().waiting(1, "p", plain).booting();
    let one = name("lab1-workers-1");
    case.ledger.delete(&one, Leaving::Refused("no valid host".to_owned())).unwrap();
    case.ledger.fail(&one, "no valid host".to_owned(), now(), 1).unwrap();
    let text = "pod default/p0: what may take it failed lately and is tried again in 10s: no valid host";
    assert_eq!(case.lines(), [text]);
    case.workers().shapes.push(shape(2, 4));
    assert_eq!(case.lines(), ["row lab1-workers-2: new, Creating"]);
}

#[test]
fn a_node_is_not_bought_for_what_will_run_elsewhere_before_it_is_ready() {
    let job = |start: &'static str| {
        move |p: &mut serde_json::Value| {
            p["spec"]["containers"][0]["resources"]["requests"]["cpu"] = json!("4");
            p["metadata"]["ownerReferences"] =
                json!([{"kind": "Job", "name": "work-1", "uid": "j", "controller": true}]);
            p["status"]["startTime"] = json!(start);
        }
    };
    let case = |start| {
        let mut case =
            Case::new().ready(plain).running("r", "lab1-workers-1", job(start)).waiting(1, "p", cpu("4"));
        let times = |secs: u64| {
            let mut times = Times::default();
            times.add(super::fixtures::secs(secs));
            times
        };
        let kin = ("default".to_owned(), "Job".to_owned(), "work".to_owned());
        case.learned.runs.insert(kin, times(60));
        case.learned.boots.insert("4x8Gi".into(), times(40));
        case
    };
    // It is 08:00:00; a run takes a minute and a boot 40 seconds.
    assert_eq!(
        case("2027-01-15T07:59:30Z").lines(),
        ["pod default/p0: room will be free within the 40s that a new machine takes"]
    );
    assert_eq!(case("2027-01-15T07:59:50Z").lines(), ["row lab1-workers-2: new, Creating"]);
    let off = case("2027-01-15T07:59:30Z").policy(|p| p.boot_aware = false);
    assert_eq!(off.lines(), ["row lab1-workers-2: new, Creating"]);
}

#[test]
fn a_node_says_why_it_stays() {
    let case = Case::new().ready(plain).running("r", "lab1-workers-1", cpu("3"));
    let answer = asked(&case, |question| explain::node(question, &name("lab1-workers-1"))).unwrap();
    assert_eq!(answer.to_string(), "lab1-workers-1: 75% of it is in use, or pods are to come\n");
    assert_eq!(serde_json::to_value(&answer).unwrap()["reasons"][0]["word"], json!("State"));
}
