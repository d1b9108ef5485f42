//! Whole messages for everything that people get wrong, and the whole [`Spec`] for what they get right.

use std::fmt::Write as _;

use proptest::prelude::*;

mod operators;
mod ranges;
mod refused;
mod scaling;
mod schema;
mod values;

use super::*;
use crate::diagnostic::render;
use crate::names::PoolName;
use crate::templates::Templates;

const GOOD: &str = include_str!("../../../../examples/sandbox/cluster.yaml");

fn check(text: &str) -> Result<(Spec, Vec<Warning>), Vec<Problem>> {
    let templates = Templates::embedded();
    let read = |from: &str, path: &str| -> Result<File, String> {
        match path {
            "./mine.yaml" => Ok(File { name: "mine.yaml".into(), text: MINE.into() }),
            "./scaled.yaml" => Ok(File { name: "scaled.yaml".into(), text: ranges::SCALED.into() }),
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

/// All of a spec, a line for each thing.
fn whole(spec: &Spec) -> String {
    let json = serde_json::to_value(spec).unwrap();
    let mut text = String::new();
    for (key, value) in json.as_object().unwrap() {
        match value.as_object().filter(|_| matches!(key.as_str(), "pools" | "inputs")) {
            Some(inner) => {
                inner.iter().for_each(|(name, value)| writeln!(text, "{key}.{name} = {value}").unwrap());
            }
            None => writeln!(text, "{key} = {value}").unwrap(),
        }
    }
    text
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
    // Which instance is meant where the file names none is the environment's to say.
    let instance = crate::provider::sandbox::Config::default().instance;
    let text =
        whole(&spec(GOOD)).replace(&format!("\"instance\":\"{instance}\""), "\"instance\":\"default\"");
    insta::assert_snapshot!(text, @r#"
    cluster = "lab1"
    provider = {"type":"sandbox","instance":"default"}
    network = {"internet":true,"expose":[6443]}
    pools.front-end = {"role":"front-end","size":{"start":1,"end":1},"shapes":[{"name":"2x4Gi","cpu":"2","memory":"4Gi"}],"image":"debian-12","zones":[],"labels":{},"taints":[],"recipes":["base","containerd","kubernetes","flannel"],"steps":[]}
    pools.workers = {"role":"worker","size":{"start":2,"end":2},"shapes":[{"name":"2x4Gi","cpu":"2","memory":"4Gi"}],"image":"debian-12","zones":[],"labels":{},"taints":[],"recipes":["base","containerd","kubernetes","flannel"],"steps":[]}
    expires = null
    inputs.kubernetes = {"pod_cidr":"10.244.0.0/16","service_cidr":"10.96.0.0/16"}
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
    insta::assert_snapshot!(whole(&spec(text)), @r#"
    cluster = "lab-2"
    provider = {"type":"sandbox","instance":"tests"}
    network = {"internet":false,"expose":[6443]}
    pools.big = {"role":"worker","size":{"start":1,"end":1},"shapes":[{"name":"8x32Gi","cpu":"8","memory":"32Gi"}],"image":"debian-12","zones":[],"labels":{},"taints":[],"recipes":["base","containerd","kubernetes","flannel"],"steps":[]}
    pools.front-end = {"role":"front-end","size":{"start":1,"end":1},"shapes":[{"name":"4x8Gi","cpu":"4","memory":"8Gi"}],"image":"debian-12","zones":[],"labels":{"tier":"front"},"taints":[],"recipes":["base","containerd","kubernetes","flannel","mine"],"steps":[]}
    pools.workers = {"role":"worker","size":{"start":0,"end":0},"shapes":[{"name":"500mx1536Mi","cpu":"500m","memory":"1536Mi"}],"image":"debian-13","zones":[],"labels":{"disk":"ssd","example.org/version":"1.30"},"taints":["gpu=yes:NoSchedule"],"recipes":["base","containerd","kubernetes","flannel","gpu-driver"],"steps":[]}
    expires = null
    inputs.kubernetes = {"pod_cidr":"10.20.0.0/16","service_cidr":"10.96.0.0/16"}
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
fn outputs_are_known_once_the_machines_run() {
    let templates = Templates::embedded();
    let loaded = read(GOOD, "cluster.yaml", templates.shelf()).unwrap();
    let texts = loaded.outputs.iter().map(|output| {
        (
            output.name.as_str(),
            output.text(|pool, attribute| Some(format!("<{attribute} of {pool}>"))).unwrap(),
        )
    });
    let texts: Vec<_> = texts.collect();
    assert_eq!(texts, [("api", "https://<public_address of front-end>:6443".to_owned())]);
}

#[test]
fn values_for_recipes_come_from_template_and_file() {
    let file = workers("{shape: {cpu: 2, memory: 4Gi}, count: 1, recipes: [gpu]}")
        + "  recipe_inputs: {gpu: {driver: 550, open: true}}\n";
    let inputs = serde_json::to_value(&spec(&file).inputs).unwrap();
    assert_eq!(inputs["gpu"], serde_json::json!({"driver": 550, "open": true}));
    assert_eq!(inputs["kubernetes"]["pod_cidr"], "10.244.0.0/16");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_file_makes_the_reader_panic(lines in prop::collection::vec((0_usize..60, r"[ -~]{0,12}"), 0..8)) {
        // A right file with some of its lines spoiled reaches deeper than any random text.
        let mut text: Vec<String> = GOOD.lines().chain(scaling::ALL.lines()).map(str::to_owned).collect();
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
