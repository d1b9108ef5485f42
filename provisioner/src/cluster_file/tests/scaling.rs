//! `autoscaler:` of a cluster file: what it becomes, and the whole message for what people get wrong.

use std::time::Duration;

use super::*;
use crate::names::ShapeName;
use crate::policy::{Expander, HeadRoom, Maxima, Policy, PoolPolicy, Price, Rate, Slot, Weights};
use crate::quantity::{Cpu, Memory};

/// Every key once, none with its default.
pub(super) const ALL: &str = "autoscaler:
  idle: 90s
  head_room: {slots: 2, of: {cpu: 500m, memory: 1Gi}}
  max: {nodes: 40, cpu: 160, memory: 640Gi, price: 1.5}
  pools:
    workers: {idle: 10m}
  rate: {up: 30, down: 6, booting: 100}
  under_used: 0
  unwanted_boot: 1m
  drain_timeout: 1h 30m
  destroy_per_hour: 10
  expander: price
  prices: {2x4Gi: 0.0416}
  weights: {cpu: 1, memory: 0}
  boot_aware: false
  expendable_below: -5
  bypassed_schedulers: [own]
  startup_taints: [example.org/agent]
";

/// A right file with an elastic pool, and this.
pub(super) fn elastic(autoscaler: &str) -> String {
    workers("{shape: {cpu: 2, memory: 4Gi}, count: 0..5}") + autoscaler + "\n"
}

fn policy(text: &str) -> Policy {
    match read(text, "cluster.yaml", Templates::embedded().shelf()) {
        Ok(loaded) => loaded.policy,
        Err(problems) => panic!("{}", render(&problems, false)),
    }
}

#[test]
fn without_the_key_every_value_has_its_default() {
    assert_eq!(policy(GOOD), Policy::default());
    assert_eq!(policy(&elastic("autoscaler: {}")), Policy::default());
    assert_eq!(policy(&elastic("autoscaler:")), Policy::default());
    assert_eq!(
        policy(&elastic("autoscaler: {idle: 5m, under_used: 50, boot_aware: true}")),
        Policy::default()
    );
}

#[test]
fn every_field_of_a_policy_is_read() {
    let expected = Policy {
        idle: Duration::from_secs(90),
        unwanted_boot: Duration::from_secs(60),
        under_used: 0,
        drain_timeout: Duration::from_secs(5400),
        head_room: Some(HeadRoom { slots: 2, of: Slot { cpu: Cpu { millis: 500 }, memory: Memory::gib(1) } }),
        rate: Rate { up: 30, down: 6, booting: 100 },
        max: Maxima {
            nodes: Some(40),
            cpu: Some(Cpu::cores(160)),
            memory: Some(Memory::gib(640)),
            price: Some(Price { micros: 1_500_000 }),
        },
        destroy_per_hour: 10,
        expander: Expander::Price,
        prices: [(ShapeName::from("2x4Gi"), Price { micros: 41_600 })].into(),
        weights: Weights { cpu: 1, memory: 0 },
        boot_aware: false,
        expendable_below: -5,
        bypassed_schedulers: vec!["own".into()],
        startup_taints: vec!["example.org/agent".into()],
        pools: [(PoolName::new("workers").unwrap(), PoolPolicy { idle: Some(Duration::from_secs(600)) })]
            .into(),
    };
    let read = policy(&elastic(ALL));
    assert_eq!(read, expected);
    // What the struct has and the table does not know would be refused above; what only the table knows, by the struct.
    let known = serde_json::to_value(Policy::default()).unwrap();
    let (written, known) = (serde_json::to_value(&read).unwrap(), known.as_object().unwrap().clone());
    for (key, default) in known {
        assert_ne!(written[&key], default, "{key} has its default");
    }
}

#[test]
fn prices_may_be_whole_numbers() {
    let policy = policy(&elastic("autoscaler: {max: {price: 2}, prices: {2x4Gi: 1, other: '0.5'}}"));
    assert_eq!(policy.max.price, Some(Price { micros: 2_000_000 }));
    assert_eq!(policy.prices.values().map(|price| price.micros).collect::<Vec<_>>(), [1_000_000, 500_000]);
}

#[test]
fn what_is_wrong_in_it_is_shown_at_its_place_with_the_rest_of_the_file() {
    insta::assert_snapshot!(
        refused(&elastic(
            "autoscaler:
  idel: 5m
  unwanted_boot: soon
  drain_timeout: [10m]
  under_used: 101
  rate: {up: many, dwon: 3, booting: -1}
  max: {cpu: lots, memory: 4GB, price: 1 EUR, nodes: }"
        )
        .replace("name: lab1", "name: Lab1")),
        @r#"
    cluster.yaml:1:7: name: "Lab1" has 'L': a cluster name has only a-z, 0-9 and -
        1 | name: Lab1
          |       ^^^^

    cluster.yaml:7:3: unknown key "idel" in autoscaler
        6 | autoscaler:
        7 |   idel: 5m
          |   ^^^^ expected idle, head_room, max, pools, rate, under_used, unwanted_boot, drain_timeout, destroy_per_hour, expander, prices, weights, boot_aware, expendable_below, bypassed_schedulers or startup_taints
      help: did you mean "idle"?

    cluster.yaml:8:18: autoscaler.unwanted_boot: "soon" is no duration (expected number at 0): write "90s", "10m" or "2h 30m"
        7 |   idel: 5m
        8 |   unwanted_boot: soon
          |                  ^^^^

    cluster.yaml:9:18: autoscaler.drain_timeout: found a list
        8 |   unwanted_boot: soon
        9 |   drain_timeout: [10m]
          |                  ^^^^^ expected a duration, for example 90s, 10m or 2h 30m

    cluster.yaml:10:15: autoscaler.under_used: "101" is more than 100
        9 |   drain_timeout: [10m]
       10 |   under_used: 101
          |               ^^^

    cluster.yaml:11:14: autoscaler.rate.up: found "many"
       10 |   under_used: 101
       11 |   rate: {up: many, dwon: 3, booting: -1}
          |              ^^^^ expected a whole number, 0 or more

    cluster.yaml:11:20: unknown key "dwon" in autoscaler.rate
       10 |   under_used: 101
       11 |   rate: {up: many, dwon: 3, booting: -1}
          |                    ^^^^ expected up, down or booting
      help: did you mean "down"?

    cluster.yaml:11:38: autoscaler.rate.booting: "-1" is less than nothing
       10 |   under_used: 101
       11 |   rate: {up: many, dwon: 3, booting: -1}
          |                                      ^^

    cluster.yaml:12:14: autoscaler.max.cpu: "lots" is no amount of cpu
       11 |   rate: {up: many, dwon: 3, booting: -1}
       12 |   max: {cpu: lots, memory: 4GB, price: 1 EUR, nodes: }
          |              ^^^^ expected cores (2, 0.5) or thousandths of one (500m)

    cluster.yaml:12:28: autoscaler.max.memory: "4GB" is no amount of memory
       11 |   rate: {up: many, dwon: 3, booting: -1}
       12 |   max: {cpu: lots, memory: 4GB, price: 1 EUR, nodes: }
          |                            ^^^ expected memory with a unit, for example 4Gi or 512Mi
      help: did you mean "4Gi"?

    cluster.yaml:12:40: autoscaler.max.price: "1 EUR" is no price: write a number with at most 6 decimals, such as "0.0416"
       11 |   rate: {up: many, dwon: 3, booting: -1}
       12 |   max: {cpu: lots, memory: 4GB, price: 1 EUR, nodes: }
          |                                        ^^^^^

    cluster.yaml:12:52: autoscaler.max.nodes: found nothing
       11 |   rate: {up: many, dwon: 3, booting: -1}
       12 |   max: {cpu: lots, memory: 4GB, price: 1 EUR, nodes: }
          |                                                    ^ expected a whole number, 0 or more

    12 problems
    "#
    );
}

#[test]
fn so_are_the_other_keys() {
    insta::assert_snapshot!(
        refused(&elastic(
            "autoscaler:
  weights: {cpu: 6}
  head_room: {slots: 1, of: {cpu: 1, memroy: 2Gi}}
  expander: prize
  boot_aware: sometimes
  expendable_below: low
  pools: {Workers: {idle: 300}}
  startup_taints: key
ttl: 8h"
        )),
        @r#"
    cluster.yaml:7:12: autoscaler.weights.memory is missing
        6 | autoscaler:
        7 |   weights: {cpu: 6}
          |            ^ expected memory: …
      help: what a gibibyte weighs

    cluster.yaml:8:38: unknown key "memroy" in autoscaler.head_room.of
        7 |   weights: {cpu: 6}
        8 |   head_room: {slots: 1, of: {cpu: 1, memroy: 2Gi}}
          |                                      ^^^^^^ expected cpu or memory
      help: did you mean "memory"?

    cluster.yaml:9:13: autoscaler.expander: "prize" is not known here
        8 |   head_room: {slots: 1, of: {cpu: 1, memroy: 2Gi}}
        9 |   expander: prize
          |             ^^^^^ expected auto, price or weight
      help: did you mean "price"?

    cluster.yaml:10:15: autoscaler.boot_aware: found "sometimes"
        9 |   expander: prize
       10 |   boot_aware: sometimes
          |               ^^^^^^^^^ expected true or false

    cluster.yaml:11:21: autoscaler.expendable_below: found "low"
       10 |   boot_aware: sometimes
       11 |   expendable_below: low
          |                     ^^^ expected a whole number

    cluster.yaml:12:11: autoscaler.pools: "Workers" has 'W': a pool name has only a-z, 0-9 and -
       11 |   expendable_below: low
       12 |   pools: {Workers: {idle: 300}}
          |           ^^^^^^^

    cluster.yaml:12:27: autoscaler.pools.Workers.idle: "300" is no duration (time unit needed, for example 300sec or 300ms): write "90s", "10m" or "2h 30m"
       11 |   expendable_below: low
       12 |   pools: {Workers: {idle: 300}}
          |                           ^^^

    cluster.yaml:13:19: autoscaler.startup_taints: found "key"
       12 |   pools: {Workers: {idle: 300}}
       13 |   startup_taints: key
          |                   ^^^ expected a list ([A, B] or lines with -)

    cluster.yaml:14:1: "ttl" in a cluster file is not built yet
       13 |   startup_taints: key
       14 | ttl: 8h
          | ^^^
      help: clusters that end by themselves will come; remove it, and run `continuum cluster down` yourself

    9 problems
    "#
    );
}

#[test]
fn what_cannot_be_obeyed_with_these_pools_is_refused_where_it_is_written() {
    insta::assert_snapshot!(refused(&elastic("autoscaler:
  rate: {up: 0, down: 0, booting: 0}
  weights: {cpu: 0, memory: 0}
  head_room: {slots: 1, of: {cpu: 0, memory: 0}}
  pools: {worker: {idle: 1m}}
  expander: price").replace("count: 0..5", "count: 3..5").replace("name: lab1", "name: Lab1")), @r#"
    cluster.yaml:1:7: name: "Lab1" has 'L': a cluster name has only a-z, 0-9 and -
        1 | name: Lab1
          |       ^^^^

    cluster.yaml:7:14: autoscaler: rate.up is 0: nothing could ever change; leave it out, or pause the autoscaler
        6 | autoscaler:
        7 |   rate: {up: 0, down: 0, booting: 0}
          |              ^

    cluster.yaml:7:23: autoscaler: rate.down is 0: nothing could ever change; leave it out, or pause the autoscaler
        6 | autoscaler:
        7 |   rate: {up: 0, down: 0, booting: 0}
          |                       ^

    cluster.yaml:7:35: autoscaler: rate.booting is 0: nothing could ever change; leave it out, or pause the autoscaler
        6 | autoscaler:
        7 |   rate: {up: 0, down: 0, booting: 0}
          |                                   ^

    cluster.yaml:8:12: autoscaler: weights are 0 and 0: every shape would weigh the same
        7 |   rate: {up: 0, down: 0, booting: 0}
        8 |   weights: {cpu: 0, memory: 0}
          |            ^^^^^^^^^^^^^^^^^^^

    cluster.yaml:9:29: autoscaler: a slot of the head room has neither cpu nor memory
        8 |   weights: {cpu: 0, memory: 0}
        9 |   head_room: {slots: 1, of: {cpu: 0, memory: 0}}
          |                             ^^^^^^^^^^^^^^^^^^^

    cluster.yaml:10:11: autoscaler: there is no pool worker in the cluster
        9 |   head_room: {slots: 1, of: {cpu: 0, memory: 0}}
       10 |   pools: {worker: {idle: 1m}}
          |           ^^^^^^ expected workers
      help: did you mean "workers"?

    cluster.yaml:11:13: autoscaler: the shape 2x4Gi has no price: give it one under prices, or let expander be weight
       10 |   pools: {worker: {idle: 1m}}
       11 |   expander: price
          |             ^^^^^

    8 problems
    "#);
    insta::assert_snapshot!(refused(&elastic("autoscaler: {max: {nodes: 2, price: 1}}").replace("0..5", "3..5")), @r#"
    cluster.yaml:6:27: autoscaler: the pools have at least 3 machines together, max.nodes is 2
        5 |   workers: {shape: {cpu: 2, memory: 4Gi}, count: 3..5}
        6 | autoscaler: {max: {nodes: 2, price: 1}}
          |                           ^

    cluster.yaml:6:37: autoscaler: the shape 2x4Gi has no price: give it one under prices, or let expander be weight
        5 |   workers: {shape: {cpu: 2, memory: 4Gi}, count: 3..5}
        6 | autoscaler: {max: {nodes: 2, price: 1}}
          |                                     ^

    2 problems
    "#);
}

#[test]
fn without_pools_that_could_be_read_nothing_is_said_of_them() {
    insta::assert_snapshot!(refused(&elastic("autoscaler: {rate: {up: 0}, pools: {workers: {idle: 1m}}}").replace("0..5", "5..0")), @r#"
    cluster.yaml:5:50: inputs.workers.count: "5..0" has its minimum above its maximum
        4 | inputs:
        5 |   workers: {shape: {cpu: 2, memory: 4Gi}, count: 5..0}
          |                                                  ^^^^ expected a whole number of machines, 0 to 2000, or a range such as 0..5
      help: did you mean 0..5?

    cluster.yaml:6:25: autoscaler: rate.up is 0: nothing could ever change; leave it out, or pause the autoscaler
        5 |   workers: {shape: {cpu: 2, memory: 4Gi}, count: 5..0}
        6 | autoscaler: {rate: {up: 0}, pools: {workers: {idle: 1m}}}
          |                         ^

    2 problems
    "#);
}

#[test]
fn a_policy_without_a_pool_that_could_change_is_a_warning() {
    let (spec, warnings) = check(&with("autoscaler: {idle: 1m}")).unwrap();
    assert!(!spec.pools.values().any(crate::spec::Pool::is_elastic));
    insta::assert_snapshot!(render(&warnings, false), @r#"
    cluster.yaml:6:1: autoscaler: no pool has a range of machines, so none will grow or shrink
        5 |   workers: {shape: {cpu: 2, memory: 4Gi}, count: 2}
        6 | autoscaler: {idle: 1m}
          | ^^^^^^^^^^
      help: give a pool a range, for example count: 0..5, or remove autoscaler
    "#);
    assert_eq!(check(&elastic("autoscaler: {idle: 1m}")).unwrap().1, []);
}
