//! The policy as people write it, and what is refused.

use super::*;
use crate::plan::fixtures;

#[test]
fn a_policy_reads_as_people_write_it_and_writes_what_it_reads() {
    let text = serde_json::json!({
        "idle": "90s",
        "head_room": {"slots": 2, "of": {"cpu": "500m", "memory": "1Gi"}},
        "max": {"nodes": 40, "price": 1.5},
        "prices": {"m1": "0.0416", "m2": 2},
        "pools": {"workers": {"idle": "10m"}},
        "expander": "price",
    });
    let policy: Policy = serde_json::from_value(text).unwrap();
    let expected = Policy {
        idle: Duration::from_secs(90),
        head_room: Some(HeadRoom { slots: 2, of: Slot { cpu: Cpu { millis: 500 }, memory: Memory::gib(1) } }),
        max: Maxima { nodes: Some(40), price: Some(Price { micros: 1_500_000 }), ..Maxima::default() },
        prices: BTreeMap::from([
            (ShapeName::from("m1"), Price { micros: 41_600 }),
            (ShapeName::from("m2"), Price { micros: 2_000_000 }),
        ]),
        pools: BTreeMap::from([(
            fixtures::pool_name("workers"),
            PoolPolicy { idle: Some(Duration::from_secs(600)) },
        )]),
        expander: Expander::Price,
        ..Policy::default()
    };
    assert_eq!(policy, expected);
    let written = serde_json::to_value(&policy).unwrap();
    assert_eq!(serde_json::from_value::<Policy>(written).unwrap(), policy);
    assert_eq!(policy.idle_of(&fixtures::pool_name("workers")), Duration::from_secs(600));
    assert_eq!(policy.idle_of(&fixtures::pool_name("others")), Duration::from_secs(90));
}

#[test]
fn row_60_a_policy_that_cannot_be_obeyed_is_refused_with_every_problem() {
    let mut spec = fixtures::spec(2);
    assert_eq!(Policy::default().check(&spec), []);
    let workers = spec.pools.get_mut(&fixtures::pool_name("workers")).unwrap();
    workers.size = 3..=9;
    let policy = Policy {
        under_used: 101,
        rate: Rate { up: 0, ..Rate::default() },
        max: Maxima { nodes: Some(2), ..Maxima::default() },
        expander: Expander::Price,
        weights: Weights { cpu: 0, memory: 0 },
        head_room: Some(HeadRoom {
            slots: 1,
            of: Slot { cpu: Cpu { millis: 0 }, memory: Memory { bytes: 0 } },
        }),
        pools: BTreeMap::from([(fixtures::pool_name("gone"), PoolPolicy::default())]),
        ..Policy::default()
    };
    let problems: Vec<String> = policy.check(&spec).iter().map(ToString::to_string).collect();
    assert_eq!(
        problems,
        [
            "under_used is 101: it is a percentage, at most 100",
            "rate.up is 0: nothing could ever change; leave it out, or pause the autoscaler",
            "there is no pool gone in the cluster",
            "weights are 0 and 0: every shape would weigh the same",
            "a slot of the head room has neither cpu nor memory",
            "the shape 2x4Gi has no price: give it one under prices, or let expander be weight",
            "the pools have at least 3 machines together, max.nodes is 2",
        ]
    );
    assert!(serde_json::from_value::<Policy>(serde_json::json!({"idle": "soon"})).is_err());
    assert!(serde_json::from_value::<Policy>(serde_json::json!({"idel": "5m"})).is_err());
    assert!(serde_json::from_value::<Policy>(serde_json::json!({"max": {"price": -1}})).is_err());
}
