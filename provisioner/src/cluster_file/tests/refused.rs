//! The whole message for everything that people get wrong.

use super::super::keys::{KEYS, State};
use super::{refused, with, workers};

#[test]
fn unknown_keys_are_refused_with_the_nearest_name() {
    insta::assert_snapshot!(refused(&with("templat: x")), @r#"
    cluster.yaml:6:1: unknown key "templat" in a cluster file
        5 |   workers: {shape: {cpu: 2, memory: 4Gi}, count: 2}
        6 | templat: x
          | ^^^^^^^ expected name, template, provider, inputs, autoscaler or operators
      help: did you mean "template"?
    "#);
    insta::assert_snapshot!(refused(&with("colour: blue")), @r#"
    cluster.yaml:6:1: unknown key "colour" in a cluster file
        5 |   workers: {shape: {cpu: 2, memory: 4Gi}, count: 2}
        6 | colour: blue
          | ^^^^^^ expected name, template, provider, inputs, autoscaler or operators
    "#);
    insta::assert_snapshot!(refused(&with("inputs:\n  wrokers: {shape: {cpu: 2, memory: 4Gi}, count: 2}")), @r#"
    cluster.yaml:5:3: unknown key "wrokers" in inputs
        4 | inputs:
        5 |   wrokers: {shape: {cpu: 2, memory: 4Gi}, count: 2}
          |   ^^^^^^^ expected front_end, workers, pools, pod_cidr, service_cidr or recipe_inputs
      help: did you mean "workers"?
    "#);
    insta::assert_snapshot!(refused(&workers("{shape: {cpu: 2, memory: 4Gi}, cuont: 2}")), @r#"
    cluster.yaml:5:43: unknown key "cuont" in inputs.workers
        4 | inputs:
        5 |   workers: {shape: {cpu: 2, memory: 4Gi}, cuont: 2}
          |                                           ^^^^^ expected flavor, image, zones, labels, taints, recipes, shape or count
      help: did you mean "count"?
    "#);
    insta::assert_snapshot!(refused(&workers("{shape: {cpus: 2, memory: 4Gi}, count: 2}")), @r#"
    cluster.yaml:5:21: unknown key "cpus" in inputs.workers.shape
        4 | inputs:
        5 |   workers: {shape: {cpus: 2, memory: 4Gi}, count: 2}
          |                     ^^^^ expected cpu or memory
      help: did you mean "cpu"?
    "#);
    insta::assert_snapshot!(refused(&with("provider: {type: sandbox, instanc: a, internet: maybe}")), @r#"
    cluster.yaml:5:27: unknown key "instanc" in provider
        4 |   workers: {shape: {cpu: 2, memory: 4Gi}, count: 2}
        5 | provider: {type: sandbox, instanc: a, internet: maybe}
          |                           ^^^^^^^ expected type, internet or instance
      help: did you mean "instance"?

    cluster.yaml:5:49: provider.internet: found "maybe"
        4 |   workers: {shape: {cpu: 2, memory: 4Gi}, count: 2}
        5 | provider: {type: sandbox, instanc: a, internet: maybe}
          |                                                 ^^^^^ expected true or false

    2 problems
    "#);
}

#[test]
fn wrong_types_say_what_was_found_and_what_would_be_right() {
    insta::assert_snapshot!(refused(&workers("{shape: {cpu: 2, memory: 4Gi}, count: three}")), @r#"
    cluster.yaml:5:50: inputs.workers.count: found "three"
        4 | inputs:
        5 |   workers: {shape: {cpu: 2, memory: 4Gi}, count: three}
          |                                                  ^^^^^ expected a whole number of machines, 0 to 2000, or a range such as 0..5
    "#);
    insta::assert_snapshot!(refused(&workers("{shape: [2, 4Gi], count: 2}")), @r"
    cluster.yaml:5:20: inputs.workers.shape: found a list
        4 | inputs:
        5 |   workers: {shape: [2, 4Gi], count: 2}
          |                    ^^^^^^^^ expected a mapping (KEY: VALUE)
    ");
    insta::assert_snapshot!(refused(&workers("big")), @r#"
    cluster.yaml:5:12: inputs.workers: found "big"
        4 | inputs:
        5 |   workers: big
          |            ^^^ expected a mapping (KEY: VALUE)
    "#);
    insta::assert_snapshot!(refused(&with("inputs: [workers]")), @r"
    cluster.yaml:4:9: inputs: found a list
        3 | provider: {type: sandbox}
        4 | inputs: [workers]
          |         ^^^^^^^^^ expected a mapping (KEY: VALUE)
    ");
    insta::assert_snapshot!(refused(&with("provider: sandbox")), @r#"
    cluster.yaml:5:11: provider: found "sandbox"
        4 |   workers: {shape: {cpu: 2, memory: 4Gi}, count: 2}
        5 | provider: sandbox
          |           ^^^^^^^ expected a mapping (KEY: VALUE)
    "#);
    insta::assert_snapshot!(refused(&with("name: [a]")), @r"
    cluster.yaml:5:7: name: found a list
        4 |   workers: {shape: {cpu: 2, memory: 4Gi}, count: 2}
        5 | name: [a]
          |       ^^^ expected a text
    ");
    insta::assert_snapshot!(refused("just a text"), @r#"
    cluster.yaml:1:1: a cluster file: found "just a text"
        1 | just a text
          | ^^^^^^^^^^^ expected a mapping (KEY: VALUE)
    "#);
}

#[test]
fn what_is_missing_is_named() {
    insta::assert_snapshot!(refused(""), @r#"
    cluster.yaml:1:1: "name" is missing
        1 |
          | ^ expected name: …
      help: what the cluster is called: a-z, 0-9 and -, at most 32

    cluster.yaml:1:1: "template" is missing
        1 |
          | ^ expected template: …
      help: one that ships (`continuum template list`), or ./path.yaml

    cluster.yaml:1:1: "provider" is missing
        1 |
          | ^ expected provider: …
      help: where the machines are made

    3 problems
    "#);
    insta::assert_snapshot!(refused(&with("inputs: {}")), @r"
    cluster.yaml:4:9: inputs.workers is missing
        3 | provider: {type: sandbox}
        4 | inputs: {}
          |         ^ expected workers: …
      help: the pool that pods run on: {shape: {cpu: 2, memory: 4Gi}, count: 2}
    ");
    insta::assert_snapshot!(refused(&workers("{shape: {cpu: 2}, count: 1}")), @r"
    cluster.yaml:5:20: inputs.workers.shape.memory is missing
        4 | inputs:
        5 |   workers: {shape: {cpu: 2}, count: 1}
          |                    ^ expected memory: …
      help: memory of a machine, for example 4Gi
    ");
    insta::assert_snapshot!(refused(&workers("{count: 1}")), @r#"
    cluster.yaml:5:12: the size of pool "workers" is missing
        4 | inputs:
        5 |   workers: {count: 1}
          |            ^ expected shape: {cpu: 2, memory: 4Gi}
    "#);
    insta::assert_snapshot!(refused(&workers("{shape: {cpu: 2, memory: 4Gi}, count: }")), @r"
    cluster.yaml:5:43: inputs.workers.count is missing
        4 | inputs:
        5 |   workers: {shape: {cpu: 2, memory: 4Gi}, count: }
          |                                           ^^^^^ expected count: …
      help: how many machines
    ");
    insta::assert_snapshot!(refused(&with("provider: {instance: a}")), @r"
    cluster.yaml:5:11: provider has no type
        4 |   workers: {shape: {cpu: 2, memory: 4Gi}, count: 2}
        5 | provider: {instance: a}
          |           ^ expected type: sandbox
    ");
}

#[test]
fn templates_that_are_not_there_are_named() {
    insta::assert_snapshot!(refused(&with("template: elastic-kubernets")), @r#"
    cluster.yaml:5:11: there is no template "elastic-kubernets"
        4 |   workers: {shape: {cpu: 2, memory: 4Gi}, count: 2}
        5 | template: elastic-kubernets
          |           ^^^^^^^^^^^^^^^^^ expected elastic-kubernetes, or a path (./mine.yaml)
      help: did you mean "elastic-kubernetes"?
    "#);
    insta::assert_snapshot!(refused(&with("template: ./nowhere.yaml")), @r#"
    cluster.yaml:5:11: template "./nowhere.yaml": there is no file nowhere.yaml
        4 |   workers: {shape: {cpu: 2, memory: 4Gi}, count: 2}
        5 | template: ./nowhere.yaml
          |           ^^^^^^^^^^^^^^ expected a file beside cluster.yaml, or elastic-kubernetes
    "#);
    insta::assert_snapshot!(refused(&with("template: mine.j2")), @r#"
    cluster.yaml:5:11: template "mine.j2": .j2 is not built yet
        4 |   workers: {shape: {cpu: 2, memory: 4Gi}, count: 2}
        5 | template: mine.j2
          |           ^^^^^^^
      help: rendered templates will come; write a plain YAML file
    "#);
}

#[test]
fn what_is_not_built_yet_is_known_and_refused() {
    insta::assert_snapshot!(refused(&with("provider: {type: openstack, cloud: mylab}")), @r#"
    cluster.yaml:5:18: provider "openstack" is not built yet
        4 |   workers: {shape: {cpu: 2, memory: 4Gi}, count: 2}
        5 | provider: {type: openstack, cloud: mylab}
          |                  ^^^^^^^^^ expected sandbox
      help: it will come; use sandbox for now
    "#);
    insta::assert_snapshot!(refused(&with("provider: {type: azure}")), @r#"
    cluster.yaml:5:18: provider type "azure" is not known
        4 |   workers: {shape: {cpu: 2, memory: 4Gi}, count: 2}
        5 | provider: {type: azure}
          |                  ^^^^^ expected sandbox
    "#);
    // The daemon's own way to its cloud is for no cluster file.
    insta::assert_snapshot!(refused(&with("provider: {type: sandbox-gateway}")), @r#"
    cluster.yaml:5:18: provider type "sandbox-gateway" is not known
        4 |   workers: {shape: {cpu: 2, memory: 4Gi}, count: 2}
        5 | provider: {type: sandbox-gateway}
          |                  ^^^^^^^^^^^^^^^ expected sandbox
    "#);
    for key in KEYS {
        if let State::Later(word) = key.state {
            let message = refused(&with(&format!("{}: x", key.name)));
            assert!(
                message.contains(&format!("{:?} in a cluster file is not built yet", key.name)),
                "{message}"
            );
            assert!(message.contains(word), "{message}");
        }
    }
    insta::assert_snapshot!(refused(&with("ttl: 8h")), @r#"
    cluster.yaml:6:1: "ttl" in a cluster file is not built yet
        5 |   workers: {shape: {cpu: 2, memory: 4Gi}, count: 2}
        6 | ttl: 8h
          | ^^^
      help: clusters that end by themselves will come; remove it, and run `continuum cluster down` yourself
    "#);
}

#[test]
fn what_the_sandbox_has_not_is_refused() {
    insta::assert_snapshot!(refused(&workers("{flavor: m1.large, count: 2, zones: [a]}")), @r"
    cluster.yaml:5:13: the sandbox has no flavors
        4 | inputs:
        5 |   workers: {flavor: m1.large, count: 2, zones: [a]}
          |             ^^^^^^
      help: give a size instead: shape: {cpu: 2, memory: 4Gi}

    cluster.yaml:5:41: the sandbox has no zones
        4 | inputs:
        5 |   workers: {flavor: m1.large, count: 2, zones: [a]}
          |                                         ^^^^^
      help: remove them: it is one computer

    2 problems
    ");
}

#[test]
fn several_problems_of_one_file_are_shown_together() {
    insta::assert_snapshot!(refused("name: Lab
template: elastic-kubernetes
provider: {type: sandbx}
ttl: 8h
inputs:
  front_end: {cpu: 2, memory: 4GB}
  workers:
    shape: {cpu: 2, memory: 4Gi}
    count: 5..2
    lables: {}
autoscale: {}
"), @r#"
    cluster.yaml:1:7: name: "Lab" has 'L': a cluster name has only a-z, 0-9 and -
        1 | name: Lab
          |       ^^^

    cluster.yaml:3:18: provider type "sandbx" is not known
        2 | template: elastic-kubernetes
        3 | provider: {type: sandbx}
          |                  ^^^^^^ expected sandbox
      help: did you mean "sandbox"?

    cluster.yaml:4:1: "ttl" in a cluster file is not built yet
        3 | provider: {type: sandbx}
        4 | ttl: 8h
          | ^^^
      help: clusters that end by themselves will come; remove it, and run `continuum cluster down` yourself

    cluster.yaml:6:31: inputs.front_end.memory: "4GB" is no amount of memory
        5 | inputs:
        6 |   front_end: {cpu: 2, memory: 4GB}
          |                               ^^^ expected memory with a unit, for example 4Gi or 512Mi
      help: did you mean "4Gi"?

    cluster.yaml:9:12: inputs.workers.count: "5..2" has its minimum above its maximum
        8 |     shape: {cpu: 2, memory: 4Gi}
        9 |     count: 5..2
          |            ^^^^ expected a whole number of machines, 0 to 2000, or a range such as 0..5
      help: did you mean 2..5?

    cluster.yaml:10:5: unknown key "lables" in inputs.workers
        9 |     count: 5..2
       10 |     lables: {}
          |     ^^^^^^ expected flavor, image, zones, labels, taints, recipes, shape or count
      help: did you mean "labels"?

    cluster.yaml:11:1: unknown key "autoscale" in a cluster file
       10 |     lables: {}
       11 | autoscale: {}
          | ^^^^^^^^^ expected name, template, provider, inputs, autoscaler or operators
      help: did you mean "autoscaler"?

    7 problems
    "#);
}

#[test]
fn faults_of_the_text_itself_are_shown_in_the_cluster_file() {
    insta::assert_snapshot!(refused("name: lab1\nname: lab2\ntemplate: a: b\n"), @r#"
    cluster.yaml:2:1: key "name" is here a second time
        1 | name: lab1
        2 | name: lab2
          | ^^^^
      cluster.yaml:1:1: first given here
        1 | name: lab1
          | ^^^^
      help: remove one of the two

    cluster.yaml:3:12: this is no YAML: mapping values are not allowed in this context
        2 | name: lab2
        3 | template: a: b
          |            ^
      help: a value with ": " in it needs quotes

    2 problems
    "#);
    insta::assert_snapshot!(refused("name: {{ name }}\n"), @r#"
    cluster.yaml:1:7: template was not rendered: "{{ name }}" is left over
        1 | name: {{ name }}
          |       ^^^^^^^^^^ expected a plain YAML file
      help: render the file first, or write the value itself
    "#);
}
