//! The whole message for values that do not fit: quantities, counts, names, labels, sizes.

use super::{refused, with, workers};

#[test]
fn quantities_that_are_none_are_refused_with_a_hint() {
    insta::assert_snapshot!(refused(&workers("{shape: {cpu: two, memory: 4GB}, count: 2}")), @r#"
    cluster.yaml:5:26: inputs.workers.shape.cpu: "two" is no amount of cpu
        4 | inputs:
        5 |   workers: {shape: {cpu: two, memory: 4GB}, count: 2}
          |                          ^^^ expected cores (2, 0.5) or thousandths of one (500m)

    cluster.yaml:5:39: inputs.workers.shape.memory: "4GB" is no amount of memory
        4 | inputs:
        5 |   workers: {shape: {cpu: two, memory: 4GB}, count: 2}
          |                                       ^^^ expected memory with a unit, for example 4Gi or 512Mi
      help: did you mean "4Gi"?

    2 problems
    "#);
    insta::assert_snapshot!(refused(&workers("{shape: {cpu: 0, memory: 4}, count: 2}")), @r#"
    cluster.yaml:5:26: inputs.workers.shape.cpu: "0" is no size
        4 | inputs:
        5 |   workers: {shape: {cpu: 0, memory: 4}, count: 2}
          |                          ^ expected cores (2, 0.5) or thousandths of one (500m)

    cluster.yaml:5:37: inputs.workers.shape.memory: "4" is less than 1Mi
        4 | inputs:
        5 |   workers: {shape: {cpu: 0, memory: 4}, count: 2}
          |                                     ^ expected memory with a unit, for example 4Gi or 512Mi
      help: did you mean "4Gi"?

    2 problems
    "#);
}

#[test]
fn counts_out_of_range_are_refused() {
    insta::assert_snapshot!(refused(&workers("{shape: {cpu: 2, memory: 4Gi}, count: 5..2}")), @r#"
    cluster.yaml:5:50: inputs.workers.count: "5..2" has its minimum above its maximum
        4 | inputs:
        5 |   workers: {shape: {cpu: 2, memory: 4Gi}, count: 5..2}
          |                                                  ^^^^ expected a whole number of machines, 0 to 2000, or a range such as 0..5
      help: did you mean 2..5?
    "#);
    insta::assert_snapshot!(refused(&workers("{shape: {cpu: 2, memory: 4Gi}, count: -1}")), @r#"
    cluster.yaml:5:50: inputs.workers.count: "-1" is less than nothing
        4 | inputs:
        5 |   workers: {shape: {cpu: 2, memory: 4Gi}, count: -1}
          |                                                  ^^ expected a whole number of machines, 0 to 2000, or a range such as 0..5
    "#);
    insta::assert_snapshot!(refused(&workers("{shape: {cpu: 2, memory: 4Gi}, count: 100000}")), @r#"
    cluster.yaml:5:50: inputs.workers.count: "100000" is more than 2000
        4 | inputs:
        5 |   workers: {shape: {cpu: 2, memory: 4Gi}, count: 100000}
          |                                                  ^^^^^^ expected a whole number of machines, 0 to 2000, or a range such as 0..5
    "#);
}

#[test]
fn ranges_that_are_none_are_refused() {
    insta::assert_snapshot!(refused(&workers("{shape: {cpu: 2, memory: 4Gi}, count: 0 .. 5}")), @r#"
    cluster.yaml:5:50: inputs.workers.count: "0 .. 5" has spaces in it
        4 | inputs:
        5 |   workers: {shape: {cpu: 2, memory: 4Gi}, count: 0 .. 5}
          |                                                  ^^^^^^ expected a whole number of machines, 0 to 2000, or a range such as 0..5
      help: did you mean 0..5?
    "#);
    insta::assert_snapshot!(refused(&workers("{shape: {cpu: 2, memory: 4Gi}, count: 3..3}")), @r#"
    cluster.yaml:5:50: inputs.workers.count: "3..3" is one size: that is a plain number
        4 | inputs:
        5 |   workers: {shape: {cpu: 2, memory: 4Gi}, count: 3..3}
          |                                                  ^^^^ expected a whole number of machines, 0 to 2000, or a range such as 0..5
      help: did you mean 3?
    "#);
    insta::assert_snapshot!(refused(&workers("{shape: {cpu: 2, memory: 4Gi}, count: 0..2001}")), @r#"
    cluster.yaml:5:50: inputs.workers.count: "0..2001" ends above 2000
        4 | inputs:
        5 |   workers: {shape: {cpu: 2, memory: 4Gi}, count: 0..2001}
          |                                                  ^^^^^^^ expected a whole number of machines, 0 to 2000, or a range such as 0..5
    "#);
    insta::assert_snapshot!(refused(&workers("{shape: {cpu: 2, memory: 4Gi}, count: 2-10}")), @r#"
    cluster.yaml:5:50: inputs.workers.count: found "2-10"
        4 | inputs:
        5 |   workers: {shape: {cpu: 2, memory: 4Gi}, count: 2-10}
          |                                                  ^^^^ expected a whole number of machines, 0 to 2000, or a range such as 0..5
    "#);
    insta::assert_snapshot!(refused(&with("inputs:\n  front_end: {count: 1..3}\n  workers: {shape: {cpu: 2, memory: 4Gi}, count: 1}")), @r#"
    cluster.yaml:5:15: unknown key "count" in inputs.front_end
        4 | inputs:
        5 |   front_end: {count: 1..3}
          |               ^^^^^ expected flavor, image, zones, labels, taints, recipes, cpu or memory
    "#);
}

#[test]
fn names_that_do_not_fit_are_refused() {
    insta::assert_snapshot!(refused(&with("name: a-name-that-is-longer-than-thirty-two-characters")), @r#"
    cluster.yaml:5:7: name: "a-name-that-is-longer-than-thirty-two-characters" has 48 characters: a cluster name has at most 32
        4 |   workers: {shape: {cpu: 2, memory: 4Gi}, count: 2}
        5 | name: a-name-that-is-longer-than-thirty-two-characters
          |       ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
    "#);
    insta::assert_snapshot!(refused(&with("name: Lab_1")), @r#"
    cluster.yaml:5:7: name: "Lab_1" has 'L': a cluster name has only a-z, 0-9 and -
        4 |   workers: {shape: {cpu: 2, memory: 4Gi}, count: 2}
        5 | name: Lab_1
          |       ^^^^^
    "#);
    insta::assert_snapshot!(refused(&with("inputs:\n  workers: {shape: {cpu: 2, memory: 4Gi}, count: 2}\n  pools:\n    workers: {shape: {cpu: 1, memory: 1Gi}, count: 1}\n    Big: {shape: {cpu: 1, memory: 1Gi}, count: 1}")), @r#"
    cluster.yaml:7:5: there are two pools "workers"
        6 |   pools:
        7 |     workers: {shape: {cpu: 1, memory: 1Gi}, count: 1}
          |     ^^^^^^^
      continuum:templates/elastic-kubernetes.yaml:43:5: the other one
       43 |     workers:
          |     ^^^^^^^
      help: rename one of them

    cluster.yaml:8:5: pool "Big" has 'B': a pool name has only a-z, 0-9 and -
        7 |     workers: {shape: {cpu: 1, memory: 1Gi}, count: 1}
        8 |     Big: {shape: {cpu: 1, memory: 1Gi}, count: 1}
          |     ^^^

    2 problems
    "#);
}

#[test]
fn labels_taints_and_networks_are_checked() {
    insta::assert_snapshot!(refused(&with("inputs:
  workers:
    shape: {cpu: 2, memory: 4Gi}
    count: 2
    labels: {node-role.kubernetes.io/x: y, 'a b': c, ok: 'no spaces please'}
    taints: [gpu, 'gpu=yes:NoShedule']
    recipes: [Base]
  pod_cidr: 10.244.0.1/16
  service_cidr: 10.0.0.0/40")), @r#"
    cluster.yaml:8:58: inputs.workers.labels.ok: found "no spaces please"
        7 |     count: 2
        8 |     labels: {node-role.kubernetes.io/x: y, 'a b': c, ok: 'no spaces please'}
          |                                                          ^^^^^^^^^^^^^^^^^^ expected at most 63 letters, digits, -, _ and ., a letter or digit at both ends

    cluster.yaml:9:14: inputs.workers.taints[0]: found "gpu"
        8 |     labels: {node-role.kubernetes.io/x: y, 'a b': c, ok: 'no spaces please'}
        9 |     taints: [gpu, 'gpu=yes:NoShedule']
          |              ^^^ expected KEY=VALUE:EFFECT or KEY:EFFECT

    cluster.yaml:9:19: inputs.workers.taints[1]: "gpu=yes:NoShedule" has the effect "NoShedule"
        8 |     labels: {node-role.kubernetes.io/x: y, 'a b': c, ok: 'no spaces please'}
        9 |     taints: [gpu, 'gpu=yes:NoShedule']
          |                   ^^^^^^^^^^^^^^^^^^^ expected KEY=VALUE:EFFECT or KEY:EFFECT
      help: did you mean "NoSchedule"?

    cluster.yaml:10:15: inputs.workers.recipes[0]: "Base" has 'B': a recipe name has only a-z, 0-9 and -
        9 |     taints: [gpu, 'gpu=yes:NoShedule']
       10 |     recipes: [Base]
          |               ^^^^ expected the name of a recipe

    cluster.yaml:11:13: inputs.pod_cidr: "10.244.0.1/16" has bits set behind its prefix
       10 |     recipes: [Base]
       11 |   pod_cidr: 10.244.0.1/16
          |             ^^^^^^^^^^^^^ expected a network, for example 10.244.0.0/16
      help: did you mean 10.244.0.0/16?

    cluster.yaml:12:17: inputs.service_cidr: "10.0.0.0/40" has no prefix length of 0 to 32
       11 |   pod_cidr: 10.244.0.1/16
       12 |   service_cidr: 10.0.0.0/40
          |                 ^^^^^^^^^^^ expected a network, for example 10.244.0.0/16

    6 problems
    "#);
}

#[test]
fn labels_that_a_kubelet_may_not_give_its_node_are_refused() {
    insta::assert_snapshot!(refused(&with("inputs:
  workers:
    shape: {cpu: 2, memory: 4Gi}
    count: 2
    labels:
      node.kubernetes.io/speed: high
      node-role.kubernetes.io/gpu: ''
      continuum.dev/pool: mine")), @r#"
    cluster.yaml:10:7: label "node-role.kubernetes.io/gpu": Kubernetes lets no node give itself labels of node-role.kubernetes.io/ (NodeRestriction)
        9 |       node.kubernetes.io/speed: high
       10 |       node-role.kubernetes.io/gpu: ''
          |       ^^^^^^^^^^^^^^^^^^^^^^^^^^^
      help: use a prefix of your own, or none; of Kubernetes' own node.kubernetes.io/ is free, and topology.kubernetes.io/zone and region

    cluster.yaml:11:7: label "continuum.dev/pool": continuum.dev/ is reserved
       10 |       node-role.kubernetes.io/gpu: ''
       11 |       continuum.dev/pool: mine
          |       ^^^^^^^^^^^^^^^^^^
      help: use a prefix of your own, or none

    2 problems
    "#);
}

#[test]
fn a_recipe_input_with_two_values_is_refused() {
    let file = workers("{shape: {cpu: 2, memory: 4Gi}, count: 1}")
        + "  recipe_inputs: {kubernetes: {pod_cidr: 10.1.0.0/16}, Gpu: {}}\n";
    insta::assert_snapshot!(refused(&file), @r#"
    cluster.yaml:6:32: input "pod_cidr" of recipe kubernetes has two values
        5 |   workers: {shape: {cpu: 2, memory: 4Gi}, count: 1}
        6 |   recipe_inputs: {kubernetes: {pod_cidr: 10.1.0.0/16}, Gpu: {}}
          |                                ^^^^^^^^
      help: the other one is "10.244.0.0/16": give one of them

    cluster.yaml:6:56: recipe "Gpu" has 'G': a recipe name has only a-z, 0-9 and -
        5 |   workers: {shape: {cpu: 2, memory: 4Gi}, count: 1}
        6 |   recipe_inputs: {kubernetes: {pod_cidr: 10.1.0.0/16}, Gpu: {}}
          |                                                        ^^^

    2 problems
    "#);
}

#[test]
fn a_size_may_not_be_half() {
    insta::assert_snapshot!(refused(&with("inputs:\n  front_end: {cpu: 2}\n  workers: {count: 1}")), @r#"
    cluster.yaml:5:14: the memory of pool "front-end" is missing
        4 | inputs:
        5 |   front_end: {cpu: 2}
          |              ^ expected cpu: 2, memory: 4Gi

    cluster.yaml:6:12: the size of pool "workers" is missing
        5 |   front_end: {cpu: 2}
        6 |   workers: {count: 1}
          |            ^ expected shape: {cpu: 2, memory: 4Gi}

    2 problems
    "#);
}

#[test]
fn an_instance_is_no_path() {
    insta::assert_snapshot!(refused(&with("provider: {type: sandbox, instance: ../x}")), @r#"
    cluster.yaml:5:37: provider.instance: "../x" is no name of a sandbox instance: 1 to 40 of a-z, 0-9 and -, not starting with -
        4 |   workers: {shape: {cpu: 2, memory: 4Gi}, count: 2}
        5 | provider: {type: sandbox, instance: ../x}
          |                                     ^^^^
    "#);
}
