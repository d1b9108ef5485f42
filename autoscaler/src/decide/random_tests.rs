//! Clusters by seed: whatever is decided fits, keeps the limits, leaves nobody who could be helped, and is decided once.

use std::collections::BTreeMap;
use std::sync::Arc;

use provisioner::provider::dice::Random;
use serde_json::{Value, json};

use super::fixtures::*;
use super::*;
use crate::fit::{Resident, State, fits, imagine};
use crate::pack::Target;
use crate::pack::offer::{Source, catalog};
use crate::pack::room::Dims;

/// How many clusters: a second's worth.
const SEEDS: u64 = 250;

struct Dice(Random);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0.below(n)
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }
}

fn constraint(dice: &mut Dice, pod: &mut Value) {
    let key = dice.pick(&[ZONE, "kubernetes.io/hostname"]);
    let selector = json!({"matchLabels": {"app": dice.pick(&["a", "b"])}});
    let term = json!({"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": key, "labelSelector": selector}]});
    match dice.below(12) {
        0 => pod["spec"]["affinity"] = json!({"podAntiAffinity": term}),
        1 => pod["spec"]["affinity"] = json!({"podAffinity": term}),
        2 => {
            pod["spec"]["topologySpreadConstraints"] = json!([{"maxSkew": 1, "topologyKey": key,
                "whenUnsatisfiable": "DoNotSchedule", "labelSelector": selector}]);
        }
        3 => pod["spec"]["containers"][0]["ports"] = json!([{"hostPort": 80}]),
        4 => pod["spec"]["nodeSelector"] = json!({"disk": "ssd"}),
        5 => pod["spec"]["tolerations"] = json!([{"key": "gpu", "operator": "Exists"}]),
        6 => pod["spec"]["nodeSelector"] = json!({ZONE: dice.pick(&["x", "y", "z"])}),
        _ => {}
    }
}

fn case(seed: u64) -> Case {
    let dice = &mut Dice(Random::new(seed));
    let mut case = Case::new().zones(&["x", "y"]);
    let most = dice.below(8) as u32;
    case.workers().size = 0..=most;
    case.workers().shapes = vec![shape(4, 8), shape(2, 8)];
    let mut other = pool(&[(8, 16), (2, 2)], dice.below(4) as u32);
    other.labels = BTreeMap::from([("disk".to_owned(), "ssd".to_owned())]);
    if dice.below(2) == 0 {
        other.taints = vec!["gpu=yes:NoSchedule".to_owned()];
    }
    case.spec.pools.insert(pool_name("other"), other);
    if dice.below(4) == 0 {
        case.policy.max.nodes = Some(dice.below(6) as u32);
    }
    let ready = dice.below(4).min(u64::from(most));
    for _ in 0..ready {
        case = case.ready(plain);
    }
    for n in 0..ready {
        let on = format!("lab1-workers-{}", n + 1);
        case = case.running(&format!("old{n}"), &on, cpu(dice.pick(&["500m", "1", "3"])));
    }
    for n in 0..dice.below(30) {
        let amount = dice.pick(&["100m", "500m", "1", "1500m", "3", "9"]);
        let memory = dice.pick(&["100Mi", "1Gi", "3Gi"]);
        let app = dice.pick(&["a", "b"]);
        let mut extra = json!({"spec": {"containers": [{}]}});
        constraint(dice, &mut extra);
        case = case.waiting(1, &format!("p{n}-"), |pod| {
            for key in ["affinity", "topologySpreadConstraints", "nodeSelector", "tolerations"] {
                if !extra["spec"][key].is_null() {
                    pod["spec"][key] = extra["spec"][key].clone();
                }
            }
            pod["spec"]["containers"][0]["ports"] = extra["spec"]["containers"][0]["ports"].clone();
            pod["spec"]["containers"][0]["resources"]["requests"] = json!({"cpu": amount, "memory": memory});
            pod["metadata"]["labels"]["app"] = json!(app);
        });
    }
    case
}

/// Every placement fits when it is made, by the scheduler's rules; gives back the state with all of it done.
fn check_placements(case: &Case, view: &KubeView, decision: &Decision, seed: u64) -> State {
    let source = Source {
        spec: &case.spec,
        policy: &case.policy,
        ledger: &case.ledger,
        view,
        learned: &case.learned,
        now: now(),
    };
    let mut state = Scene::of(&source, view).state;
    let packing = decision.packing.as_ref().unwrap();
    let mut names: BTreeMap<usize, String> = BTreeMap::new();
    for (pod, target) in packing.assignments() {
        let on = match target {
            Target::Node(id) => state.node(id).node().metadata.name.clone(),
            Target::New(at) => {
                let new = &packing.new[at];
                let fresh = || {
                    let name = format!("fresh-{at}");
                    let pool = (&new.pool, &case.spec.pools[&new.pool]);
                    let node = source.node(&name, pool, &new.shape, new.zone.as_ref());
                    imagine(&mut state, Arc::new(node), None, &view.daemon_sets).unwrap();
                    name
                };
                names.entry(at).or_insert_with(fresh).clone()
            }
        };
        let why = fits(pod, &on, &state);
        assert!(why.is_ok(), "seed {seed}: {} on {on}: {why:?}", pod.metadata.name);
        let id = state.find(&on).unwrap();
        state.place(Arc::new(Resident::new(Arc::clone(pod))), id);
    }
    // Whoever is left without a limit in the way would not fit on anything new either.
    let catalog = catalog(&source, &Dims::default());
    for (pod, limit) in packing.unplaced().filter(|(_, limit)| limit.is_none()) {
        for offer in catalog.kinds.iter().flat_map(|kind| &kind.offers) {
            let check = crate::fit::Check::new(pod, &state);
            assert!(!check.fits(&catalog.state, offer.id), "seed {seed}: {} {limit:?}", pod.metadata.name);
        }
    }
    state
}

fn check_limits(case: &Case, decision: &Decision, seed: u64) {
    let rows = || decision.ledger.rows().values();
    for (name, pool) in &case.spec.pools {
        let count = rows().filter(|row| row.pool == *name && row.phase().is_live()).count();
        assert!(count <= *pool.size.end() as usize, "seed {seed}: {count} of {name}");
    }
    let before = case.ledger.rows().len();
    let most = case.policy.max.nodes.unwrap_or(u32::MAX) as usize;
    assert!(rows().count() <= most.max(before), "seed {seed}");
    assert_eq!(decision.added.len(), decision.packing.as_ref().unwrap().new.len(), "seed {seed}");
}

/// Decided again, nothing new is decided. A spread over nodes is the exception: a node that a plan opens late is empty when
/// the scheduler begins, so that what the plan put on the others may exceed the skew; it may take some more rounds.
fn settle(case: &mut Case, seed: u64) {
    let over_nodes = |object: &Value| {
        let spreads = object["spec"]["topologySpreadConstraints"].as_array();
        spreads.is_some_and(|all| all.iter().any(|one| one["topologyKey"] == "kubernetes.io/hostname"))
    };
    let rounds = if case.objects.iter().any(over_nodes) { 4 } else { 0 };
    for round in 0..=rounds {
        let next = case.decision();
        if next.ledger == case.ledger {
            return;
        }
        assert!(round < rounds, "seed {seed}: decided again: {:?}", next.added);
        case.ledger = next.ledger;
        case.learned.booked = next.booked;
    }
}

#[test]
fn whatever_is_decided_fits_keeps_the_limits_helps_whom_it_can_and_is_stable() {
    let (mut bought, mut left, mut placed) = (0, 0, 0);
    for seed in 0..SEEDS {
        let mut case = case(seed);
        let view = case.view();
        let decision = case.decision();
        check_placements(&case, &view, &decision, seed);
        check_limits(&case, &decision, seed);
        let again = case.decision();
        assert_eq!(again.ledger, decision.ledger, "seed {seed}: the same twice");
        // The order of lists shows in nothing.
        case.objects.reverse();
        assert_eq!(case.decision().ledger, decision.ledger, "seed {seed}: the order of lists");
        let packing = decision.packing.unwrap();
        bought += packing.new.len();
        left += packing.unplaced().count();
        placed += packing.assignments().count();
        case.ledger = decision.ledger;
        case.learned.booked = decision.booked;
        settle(&mut case, seed);
    }
    // The clusters are of all kinds, or the test says nothing.
    assert!(bought > SEEDS as usize / 2 && left > 100 && placed > 1000, "{bought} {left} {placed}");
}
