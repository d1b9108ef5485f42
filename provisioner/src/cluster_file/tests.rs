//! Whole messages for everything that people get wrong, and the whole [`Spec`] for what they get right.

use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;
use crate::diagnostic::render;
use crate::names::PoolName;
use crate::templates::Templates;

const GOOD: &str = include_str!("../../../examples/sandbox/cluster.yaml");

fn check(text: &str) -> Result<(Spec, Vec<Warning>), Vec<Problem>> {
    let templates = Templates::embedded();
    let read = |from: &str, path: &str| -> Result<File, String> {
        match path {
            "./mine.yaml" => Ok(File { name: "mine.yaml".into(), text: MINE.into() }),
            _ => (templates.shelf().read)(from, path),
        }
    };
    load(text, "cluster.yaml", Shelf { read: &read, ..templates.shelf() })
}

fn refused(text: &str) -> String {
    match check(text) {
        Ok((spec, _)) => panic!("read as {spec:?}"),
        Err(problems) => render(&problems, false),
    }
}

fn spec(text: &str) -> Spec {
    match check(text) {
        Ok((spec, _)) => spec,
        Err(problems) => panic!("{}", render(&problems, false)),
    }
}

/// A right file with one line more or other.
fn with(line: &str) -> String {
    let key = line.split(':').next().unwrap_or_default();
    let mut text = String::new();
    let mut skip = false;
    for old in "name: lab1\ntemplate: elastic-kubernetes\nprovider: {type: sandbox}\ninputs:\n  workers: {shape: {cpu: 2, memory: 4Gi}, count: 2}\n".lines() {
        let begins = !old.starts_with(' ');
        skip = if begins { old.split(':').next() == Some(key) } else { skip };
        if !skip {
            let _ = writeln!(text, "{old}");
        }
    }
    text + line + "\n"
}

fn workers(values: &str) -> String {
    with(&format!("inputs:\n  workers: {values}"))
}

const MINE: &str = "
tosca_definitions_version: tosca_simple_yaml_1_3
topology_template:
  node_templates:
    head: {type: continuum.nodes.FrontEnd, properties: {machine: {cpu: 2, memory: 4Gi}, expose: [6443, 80]}}
    base: {type: continuum.nodes.Recipe, properties: {recipe: base, inputs: {ntp: 10.0.0.1}}, requirements: [host: head]}
  policies:
    - nearby: {type: tosca.policies.Root, targets: [head]}
";

#[test]
fn the_example_becomes_a_whole_spec() {
    insta::assert_json_snapshot!(spec(GOOD), @r#"
    {
      "cluster": "lab1",
      "provider": {
        "type": "sandbox",
        "instance": "default"
      },
      "network": {
        "internet": true,
        "expose": [
          6443
        ]
      },
      "pools": {
        "front-end": {
          "role": "front-end",
          "size": {
            "start": 1,
            "end": 1
          },
          "shapes": [
            {
              "name": "2x4Gi",
              "cpu": "2",
              "memory": "4Gi"
            }
          ],
          "image": "debian-12",
          "zones": [],
          "labels": {},
          "taints": [],
          "recipes": [
            "base",
            "containerd",
            "kubernetes",
            "flannel"
          ],
          "steps": []
        },
        "workers": {
          "role": "worker",
          "size": {
            "start": 2,
            "end": 2
          },
          "shapes": [
            {
              "name": "2x4Gi",
              "cpu": "2",
              "memory": "4Gi"
            }
          ],
          "image": "debian-12",
          "zones": [],
          "labels": {},
          "taints": [],
          "recipes": [
            "base",
            "containerd",
            "kubernetes",
            "flannel"
          ],
          "steps": []
        }
      },
      "expires": null,
      "inputs": {
        "flannel": {
          "pod_cidr": "10.244.0.0/16"
        },
        "kubernetes": {
          "pod_cidr": "10.244.0.0/16",
          "service_cidr": "10.96.0.0/12"
        }
      }
    }
    "#);
}

#[test]
fn a_file_with_everything_in_it_is_read() {
    let text = "
name: lab-2
template: elastic-kubernetes
provider: {type: sandbox, instance: tests, internet: false}
inputs:
  front_end: {cpu: 4, memory: 8Gi, labels: {tier: front}, recipes: [mine]}
  workers:
    shape: {cpu: 500m, memory: 1.5Gi}
    count: 0
    labels: {disk: ssd, example.org/version: 1.30}
    taints: ['gpu=yes:NoSchedule']
    image: debian-13
    recipes: [gpu-driver, base]
  pools:
    big: {shape: {cpu: 8, memory: 32Gi}, count: 1}
  pod_cidr: 10.20.0.0/16
";
    insta::assert_json_snapshot!(spec(text), @r#"
    {
      "cluster": "lab-2",
      "provider": {
        "type": "sandbox",
        "instance": "tests"
      },
      "network": {
        "internet": false,
        "expose": [
          6443
        ]
      },
      "pools": {
        "big": {
          "role": "worker",
          "size": {
            "start": 1,
            "end": 1
          },
          "shapes": [
            {
              "name": "8x32Gi",
              "cpu": "8",
              "memory": "32Gi"
            }
          ],
          "image": "debian-12",
          "zones": [],
          "labels": {},
          "taints": [],
          "recipes": [
            "base",
            "containerd",
            "kubernetes",
            "flannel"
          ],
          "steps": []
        },
        "front-end": {
          "role": "front-end",
          "size": {
            "start": 1,
            "end": 1
          },
          "shapes": [
            {
              "name": "4x8Gi",
              "cpu": "4",
              "memory": "8Gi"
            }
          ],
          "image": "debian-12",
          "zones": [],
          "labels": {
            "tier": "front"
          },
          "taints": [],
          "recipes": [
            "base",
            "containerd",
            "kubernetes",
            "flannel",
            "mine"
          ],
          "steps": []
        },
        "workers": {
          "role": "worker",
          "size": {
            "start": 0,
            "end": 0
          },
          "shapes": [
            {
              "name": "500mx1536Mi",
              "cpu": "500m",
              "memory": "1536Mi"
            }
          ],
          "image": "debian-13",
          "zones": [],
          "labels": {
            "disk": "ssd",
            "example.org/version": "1.30"
          },
          "taints": [
            "gpu=yes:NoSchedule"
          ],
          "recipes": [
            "base",
            "containerd",
            "kubernetes",
            "flannel",
            "gpu-driver"
          ],
          "steps": []
        }
      },
      "expires": null,
      "inputs": {
        "flannel": {
          "pod_cidr": "10.20.0.0/16"
        },
        "kubernetes": {
          "pod_cidr": "10.20.0.0/16",
          "service_cidr": "10.96.0.0/12"
        }
      }
    }
    "#);
}

#[test]
fn a_template_of_ones_own_drives_the_result() {
    let (spec, warnings) = check("name: lab1\ntemplate: ./mine.yaml\nprovider: {type: sandbox}\n").unwrap();
    assert_eq!(spec.network.expose, [6443, 80]);
    assert_eq!(spec.pools.keys().map(PoolName::as_str).collect::<Vec<_>>(), ["head"]);
    assert_eq!(serde_json::to_value(&spec.inputs).unwrap(), serde_json::json!({"base": {"ntp": "10.0.0.1"}}));
    insta::assert_snapshot!(render(&warnings, false), @r#"
    mine.yaml:8:7: policy "nearby" is not enforced
        7 |   policies:
        8 |     - nearby: {type: tosca.policies.Root, targets: [head]}
          |       ^^^^^^
    "#);
}

#[test]
fn a_small_front_end_is_a_warning() {
    let (_, warnings) = check(&with(
        "inputs:\n  front_end: {cpu: 1, memory: 1Gi}\n  workers: {shape: {cpu: 1, memory: 1Gi}, count: 1}",
    ))
    .unwrap();
    insta::assert_snapshot!(render(&warnings, false), @r"
    cluster.yaml:5:14: a front-end of 1x1Gi is small: kubeadm asks for 2 cpu and 1700Mi
        4 | inputs:
        5 |   front_end: {cpu: 1, memory: 1Gi}
          |              ^^^^^^^^^^^^^^^^^^^^^
    ");
}

#[test]
fn unknown_keys_are_refused_with_the_nearest_name() {
    insta::assert_snapshot!(refused(&with("templat: x")), @r#"
    cluster.yaml:6:1: unknown key "templat" in a cluster file
        5 |   workers: {shape: {cpu: 2, memory: 4Gi}, count: 2}
        6 | templat: x
          | ^^^^^^^ expected name, template, provider or inputs
      help: did you mean "template"?
    "#);
    insta::assert_snapshot!(refused(&with("colour: blue")), @r#"
    cluster.yaml:6:1: unknown key "colour" in a cluster file
        5 |   workers: {shape: {cpu: 2, memory: 4Gi}, count: 2}
        6 | colour: blue
          | ^^^^^^ expected name, template, provider or inputs
    "#);
    insta::assert_snapshot!(refused(&with("inputs:\n  wrokers: {shape: {cpu: 2, memory: 4Gi}, count: 2}")), @r#"
    cluster.yaml:5:3: unknown key "wrokers" in inputs
        4 | inputs:
        5 |   wrokers: {shape: {cpu: 2, memory: 4Gi}, count: 2}
          |   ^^^^^^^ expected front_end, workers, pools, pod_cidr or service_cidr
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
          |                                                  ^^^^^ expected a whole number of machines, 0 to 2000
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
    insta::assert_snapshot!(refused(&workers("{count: 1}")), @r"
    cluster.yaml:5:12: workers: shape is missing
        4 | inputs:
        5 |   workers: {count: 1}
          |            ^ expected a size: {cpu: 2, memory: 4Gi}
    ");
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
          |                                                  ^^^^ expected a whole number of machines, 0 to 2000
      help: did you mean 2..5?
    "#);
    insta::assert_snapshot!(refused(&workers("{shape: {cpu: 2, memory: 4Gi}, count: -1}")), @r#"
    cluster.yaml:5:50: inputs.workers.count: "-1" is less than nothing
        4 | inputs:
        5 |   workers: {shape: {cpu: 2, memory: 4Gi}, count: -1}
          |                                                  ^^ expected a whole number of machines, 0 to 2000
    "#);
    insta::assert_snapshot!(refused(&workers("{shape: {cpu: 2, memory: 4Gi}, count: 100000}")), @r#"
    cluster.yaml:5:50: inputs.workers.count: "100000" is more than 2000
        4 | inputs:
        5 |   workers: {shape: {cpu: 2, memory: 4Gi}, count: 100000}
          |                                                  ^^^^^^ expected a whole number of machines, 0 to 2000
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
      continuum:templates/elastic-kubernetes.yaml:37:5: the other one
       37 |     workers:
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
fn what_is_not_built_yet_is_known_and_refused() {
    insta::assert_snapshot!(refused(&workers("{shape: {cpu: 2, memory: 4Gi}, count: 0..5}")), @r#"
    cluster.yaml:5:50: inputs.workers.count: "0..5" is a range, which is not built yet
        4 | inputs:
        5 |   workers: {shape: {cpu: 2, memory: 4Gi}, count: 0..5}
          |                                                  ^^^^ expected a whole number of machines, 0 to 2000
      help: ranges will come with the autoscaler; write a plain number, for example 5
    "#);
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
      help: give a size: {cpu: 2, memory: 4Gi}

    cluster.yaml:5:41: the sandbox has no zones
        4 | inputs:
        5 |   workers: {flavor: m1.large, count: 2, zones: [a]}
          |                                         ^^^^^
      help: remove them: it is one computer

    2 problems
    ");
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
          |            ^^^^ expected a whole number of machines, 0 to 2000
      help: did you mean 2..5?

    cluster.yaml:10:5: unknown key "lables" in inputs.workers
        9 |     count: 5..2
       10 |     lables: {}
          |     ^^^^^^ expected flavor, image, zones, labels, taints, recipes, shape or count
      help: did you mean "labels"?

    cluster.yaml:11:1: unknown key "autoscale" in a cluster file
       10 |     lables: {}
       11 | autoscale: {}
          | ^^^^^^^^^ expected name, template, provider or inputs
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

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_file_makes_the_reader_panic(lines in prop::collection::vec((0_usize..20, r"[ -~]{0,12}"), 0..8)) {
        // A right file with some of its lines spoiled reaches deeper than any random text.
        let mut text: Vec<String> = GOOD.lines().map(str::to_owned).collect();
        for (at, noise) in lines {
            let at = at % text.len();
            let cut = noise.len().min(text[at].len());
            let kept = text[at].chars().take(cut).collect::<String>();
            text[at] = kept + &noise;
        }
        if let Err(problems) = check(&text.join("\n")) {
            prop_assert!(!problems.is_empty());
            render(&problems, true);
        }
    }
}

fn schema_of_the_shipped_template() -> serde_json::Value {
    let templates = Templates::embedded();
    let shelf = templates.shelf();
    let file = shelf.template("", "elastic-kubernetes").unwrap();
    let template = tosca::read(&file, shelf.library()).unwrap_or_else(|p| panic!("{}", render(&p, false)));
    schema::of("elastic-kubernetes", &template)
}

#[test]
fn schema_and_reader_agree() {
    let schema = schema_of_the_shipped_template();
    let pool = "{shape: {cpu: 2, memory: 4Gi}, count: 2}";
    let files = [
        GOOD.to_owned(),
        with("provider: {type: sandbox, instance: a, internet: false}"),
        with(&format!("inputs: {{workers: {pool}, pools: {{a: {pool}}}, pod_cidr: 10.1.0.0/16}}")),
        workers("{shape: {cpu: 500m, memory: 1.5Gi}, count: 0, labels: {a: 1.5}, taints: ['a=b:NoSchedule'], recipes: [x]}"),
        with("name: Lab"),
        with("name: lab-"),
        with("name: a-name-that-is-longer-than-thirty-two-characters"),
        with("nmae: lab"),
        with("ttl: 8h"),
        with("provider: {type: ec2}"),
        with("provider: {instance: a}"),
        with("provider: {type: sandbox, internet: maybe}"),
        with("provider: {type: sandbox, instances: 2}"),
        with("inputs: {}"),
        with("template: [a]"),
        workers("{count: two, shape: {cpu: 2, memory: 4Gi}}"),
        workers("{count: -1, shape: {cpu: 2, memory: 4Gi}}"),
        workers("{count: 2001, shape: {cpu: 2, memory: 4Gi}}"),
        workers("{count: 0..5, shape: {cpu: 2, memory: 4Gi}}"),
        workers("{count: 1, shape: {cpu: two, memory: 4Gi}}"),
        workers("{count: 1, shape: {cpu: 2, memory: 4GB}}"),
        workers("{count: 1, shape: {cpu: 2}}"),
        workers("{shape: {cpu: 2, memory: 4Gi}}"),
        workers("{shape: {cpu: 2, memory: 4Gi}, count: 1, taints: [x]}"),
        workers("{shape: {cpu: 2, memory: 4Gi}, count: 1, recipes: [X]}"),
        workers("{shape: {cpu: 2, memory: 4Gi}, count: 1, labels: []}"),
        with(&format!("inputs: {{workers: {pool}, pod_cidr: somewhere}}")),
        with(&format!("inputs: {{workers: {pool}, pools: [a]}}")),
    ];
    let mut right = 0;
    for file in files {
        let json = yaml::parse(&file, "x").unwrap().to_json();
        let by_schema = misfit(&schema, &json, "");
        let by_reader = check(&file).err().map(|problems| render(&problems, false));
        assert_eq!(by_schema.is_some(), by_reader.is_some(), "{file}\nschema: {by_schema:?}\nreader: {by_reader:?}");
        right += usize::from(by_schema.is_none());
    }
    assert_eq!(right, 4, "the first four are right");
}

/// Every key that the schema knows is one that the reader knows, and the other way round.
#[test]
fn every_key_of_the_schema_is_known_to_the_reader() {
    let schema = schema_of_the_shipped_template();
    let names = |path: &str| -> Vec<String> {
        schema.pointer(path).and_then(|p| p.as_object()).unwrap().keys().cloned().collect()
    };
    for (path, place) in [
        ("/properties", "a cluster file"),
        ("/properties/inputs/properties", "inputs"),
        ("/properties/inputs/properties/workers/properties", "inputs.workers"),
        ("/properties/inputs/properties/front_end/properties", "inputs.front_end"),
        ("/properties/provider/properties", "provider"),
    ] {
        let file = match place {
            "a cluster file" => with("xyz: 1"),
            "inputs" => with("inputs: {xyz: 1, workers: {shape: {cpu: 2, memory: 4Gi}, count: 1}}"),
            "provider" => with("provider: {type: sandbox, xyz: 1}"),
            "inputs.workers" => workers("{xyz: 1, shape: {cpu: 2, memory: 4Gi}, count: 1}"),
            _ => with("inputs: {front_end: {xyz: 1}, workers: {shape: {cpu: 2, memory: 4Gi}, count: 1}}"),
        };
        let problems = check(&file).unwrap_err();
        let message = format!("unknown key \"xyz\" in {place}");
        let problem = problems.iter().find(|p| p.message == message).unwrap_or_else(|| panic!("{problems:?}"));
        let mut known: Vec<String> = problem.expected.replace(" or ", ", ").split(", ").map(str::to_owned).collect();
        let mut keys = names(path);
        known.sort();
        keys.sort();
        assert_eq!(keys, known, "{place}");
    }
}

/// The part of JSON Schema that we write; says what does not fit.
fn misfit(schema: &serde_json::Value, value: &serde_json::Value, at: &str) -> Option<String> {
    use serde_json::Value;
    let is = |kind: &str| match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        other => panic!("type {other} in a schema"),
    };
    let kinds: Vec<&str> = match &schema["type"] {
        Value::String(kind) => vec![kind],
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    if !kinds.is_empty() && !kinds.iter().any(|kind| is(kind)) {
        return Some(format!("{at}: {value} is no {kinds:?}"));
    }
    for (key, rule) in schema.as_object().into_iter().flatten() {
        let broken = match (key.as_str(), value) {
            ("enum", _) => !rule.as_array().unwrap().contains(value),
            ("pattern", Value::String(text)) => !regex::Regex::new(rule.as_str().unwrap()).unwrap().is_match(text),
            ("maxLength", Value::String(text)) => text.len() as u64 > rule.as_u64().unwrap(),
            ("minimum", Value::Number(n)) => n.as_f64() < rule.as_f64(),
            ("maximum", Value::Number(n)) => n.as_f64() > rule.as_f64(),
            ("required", Value::Object(map)) => {
                rule.as_array().unwrap().iter().any(|name| !map.contains_key(name.as_str().unwrap()))
            }
            ("items", Value::Array(items)) => return items.iter().find_map(|item| misfit(rule, item, at)),
            _ => false,
        };
        if broken {
            return Some(format!("{at}: {value} breaks {key}: {rule}"));
        }
    }
    value.as_object().into_iter().flatten().find_map(|(name, inner)| {
        let at = format!("{at}/{name}");
        match (&schema["properties"][name], &schema["additionalProperties"]) {
            (Value::Null, Value::Bool(false)) => Some(format!("{at} is not known")),
            (Value::Null, Value::Object(rules)) => misfit(&Value::Object(rules.clone()), inner, &at),
            (Value::Null, _) => None,
            (rules, _) => misfit(rules, inner, &at),
        }
    })
}
