//! The formula against a second one that is written as the life of a pod, and what must hold of both.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::view::Notes;

fn pod(value: &Value) -> Pod {
    let mut notes = Notes::default();
    let pod = Pod::read(value, &mut notes);
    assert_eq!(notes, Notes::default());
    pod
}

fn shown(list: &ResourceList) -> String {
    list.iter().map(|(name, amount)| format!("{name}={amount}")).collect::<Vec<_>>().join(" ")
}

/// Both sums of a pod: wanted, held.
fn sums(value: &Value) -> (String, String) {
    let pod = pod(value);
    (shown(&requests(&pod, Judge::Wanted)), shown(&requests(&pod, Judge::Held)))
}

fn cpu(name: &str, cpu: &str) -> Value {
    json!({"name": name, "resources": {"requests": {"cpu": cpu}}})
}

fn sidecar(name: &str, amount: &str) -> Value {
    let mut container = cpu(name, amount);
    container["restartPolicy"] = json!("Always");
    container
}

#[test]
fn containers_add_up_and_init_containers_only_raise() {
    let spec = json!({"spec": {"containers": [cpu("a", "1"), cpu("b", "500m")], "initContainers": [cpu("i", "1200m")]}});
    assert_eq!(sums(&spec).0, "cpu=1500m");
    let spec =
        json!({"spec": {"containers": [cpu("a", "1")], "initContainers": [cpu("i", "3"), cpu("j", "2")]}});
    assert_eq!(sums(&spec).0, "cpu=3");
}

#[test]
fn a_sidecar_counts_beside_the_containers_and_beside_later_init_containers() {
    let spec = json!({"spec": {"containers": [cpu("a", "1")], "initContainers": [sidecar("s", "1"), cpu("i", "3")]}});
    assert_eq!(sums(&spec).0, "cpu=4");
    let spec = json!({"spec": {"containers": [cpu("a", "1")], "initContainers": [cpu("i", "3"), sidecar("s", "1")]}});
    assert_eq!(sums(&spec).0, "cpu=3");
}

#[test]
fn requests_of_the_whole_pod_replace_the_sum_but_not_of_extended_resources() {
    let spec = json!({"spec": {
        "containers": [{"name": "a", "resources": {"requests": {"cpu": "2", "memory": "1Gi", "example.com/gpu": "1"}}}],
        "resources": {"requests": {"cpu": "1", "hugepages-2Mi": "2Mi", "example.com/gpu": "9"}},
        "overhead": {"cpu": "250m"}}});
    assert_eq!(sums(&spec).0, "cpu=1250m example.com/gpu=1 hugepages-2Mi=2097152 memory=1073741824");
}

#[test]
fn a_pod_that_is_resized_holds_the_most_of_wish_promise_and_fact() {
    let resized = |reason: &str| {
        json!({"spec": {"containers": [cpu("a", "4")]}, "status": {
            "conditions": [{"type": "PodResizePending", "status": "True", "reason": reason}],
            "containerStatuses": [{"name": "a", "allocatedResources": {"cpu": "2"},
                "resources": {"requests": {"cpu": "1"}}}]}})
    };
    assert_eq!(sums(&resized("Deferred")), ("cpu=4".to_owned(), "cpu=4".to_owned()));
    // What the node can never give does not count.
    assert_eq!(sums(&resized("Infeasible")), ("cpu=4".to_owned(), "cpu=2".to_owned()));
}

#[test]
fn the_status_of_a_plain_init_container_says_nothing() {
    let pod = json!({"spec": {"containers": [cpu("a", "1")], "initContainers": [cpu("i", "2")]}, "status": {
        "initContainerStatuses": [{"name": "i", "resources": {"requests": {"cpu": "9"}}}]}});
    assert_eq!(sums(&pod).1, "cpu=2");
}

#[test]
fn a_container_without_requests_counts_nothing() {
    assert_eq!(sums(&json!({"spec": {"containers": [{"name": "a"}]}})), (String::new(), String::new()));
}

/// A container in thousandths of a core; perhaps with what it holds and what it was promised.
#[derive(Debug, Clone)]
struct Made {
    wants: i64,
    sidecar: bool,
    status: Option<(i64, i64)>,
}

fn made() -> impl Strategy<Value = Made> {
    (0..2000_i64, any::<bool>(), prop::option::of((0..2000_i64, 0..2000_i64)))
        .prop_map(|(wants, sidecar, status)| Made { wants, sidecar, status })
}

#[derive(Debug, Clone)]
struct Plan {
    containers: Vec<Made>,
    init: Vec<Made>,
    whole: Option<i64>,
    overhead: i64,
    infeasible: bool,
}

fn plan() -> impl Strategy<Value = Plan> {
    let lists = (prop::collection::vec(made(), 0..4), prop::collection::vec(made(), 0..5));
    (lists, prop::option::of(0..3000_i64), 0..500_i64, any::<bool>()).prop_map(
        |(lists, whole, overhead, infeasible)| Plan {
            containers: lists.0,
            init: lists.1,
            whole,
            overhead,
            infeasible,
        },
    )
}

impl Plan {
    fn pod(&self) -> Pod {
        let amount = |millis: i64| json!({"cpu": format!("{millis}m")});
        let containers = |list: &[Made], init: bool| -> Value {
            let one = |(n, made): (usize, &Made)| {
                let policy = if init && made.sidecar { "Always" } else { "" };
                json!({"name": format!("c{n}"), "resources": {"requests": amount(made.wants)}, "restartPolicy": policy})
            };
            list.iter().enumerate().map(one).collect()
        };
        let statuses = |list: &[Made]| -> Value {
            let one = |(n, made): (usize, &Made)| {
                let (has, promised) = made.status?;
                Some(
                    json!({"name": format!("c{n}"), "resources": {"requests": amount(has)}, "allocatedResources": amount(promised)}),
                )
            };
            list.iter().enumerate().filter_map(one).collect()
        };
        let reason = if self.infeasible { "Infeasible" } else { "Deferred" };
        pod(&json!({
            "spec": {
                "containers": containers(&self.containers, false),
                "initContainers": containers(&self.init, true),
                "resources": {"requests": self.whole.map_or(json!({}), amount)},
                "overhead": amount(self.overhead),
            },
            "status": {
                "containerStatuses": statuses(&self.containers),
                "initContainerStatuses": statuses(&self.init),
                "conditions": [{"type": "PodResizePending", "status": "True", "reason": reason}],
            },
        }))
    }

    /// The pod's life, moment by moment: what runs at each, and the most of all moments.
    fn peak(&self, judge: Judge) -> i64 {
        let settled = |made: &Made, resizable: bool| match made.status {
            Some((has, promised)) if judge == Judge::Held && resizable => {
                let wish = if self.infeasible { 0 } else { made.wants };
                has.max(promised).max(wish)
            }
            _ => made.wants,
        };
        let mut beside = 0;
        let mut moments = vec![0];
        for made in &self.init {
            let needs = settled(made, made.sidecar);
            moments.push(beside + needs);
            beside += if made.sidecar { needs } else { 0 };
        }
        moments.push(beside + self.containers.iter().map(|made| settled(made, true)).sum::<i64>());
        self.whole.unwrap_or_else(|| moments.into_iter().max().unwrap_or(0)) + self.overhead
    }
}

fn millis(pod: &Pod, judge: Judge) -> i64 {
    requests(pod, judge).get("cpu").copied().unwrap_or_default().milli()
}

proptest! {
    #[test]
    fn the_formula_is_the_most_that_runs_at_any_moment(plan in plan()) {
        let pod = plan.pod();
        for judge in [Judge::Wanted, Judge::Held] {
            prop_assert_eq!(millis(&pod, judge), plan.peak(judge));
        }
    }

    #[test]
    fn one_more_container_never_needs_less(plan in plan(), more in made()) {
        let before = millis(&plan.pod(), Judge::Held);
        let mut larger = plan.clone();
        larger.containers.push(more.clone());
        prop_assert!(millis(&larger.pod(), Judge::Held) >= before);
        let mut larger = plan;
        larger.init.push(more);
        prop_assert!(millis(&larger.pod(), Judge::Held) >= before);
    }

    #[test]
    fn without_a_status_a_pod_holds_what_it_wants(plan in plan()) {
        let mut pod = plan.pod();
        pod.status = crate::view::PodStatus::default();
        prop_assert_eq!(requests(&pod, Judge::Held), requests(&pod, Judge::Wanted));
    }
}
