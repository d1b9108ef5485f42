//! Ranges of machines: what they become, and which pools may have one.

use super::super::schema;
use super::*;
use crate::tosca;

/// A template of which one pool may change its size by itself, between limits of the template's own.
pub(super) const SCALED: &str = "
tosca_definitions_version: tosca_simple_yaml_1_3
topology_template:
  inputs:
    jobs: {type: continuum.datatypes.Count, default: 0..8, constraints: [{in_range: [0, 10]}]}
    services: {type: continuum.datatypes.Count, default: 1}
  node_templates:
    head: {type: continuum.nodes.FrontEnd, properties: {machine: {cpu: 2, memory: 4Gi}}}
    jobs:
      type: continuum.nodes.WorkerPool
      properties: {pool: {shape: {cpu: 2, memory: 4Gi}, count: {get_input: jobs}}}
    services:
      type: continuum.nodes.WorkerPool
      properties: {pool: {shape: {cpu: 1, memory: 2Gi}, count: {get_input: services}}}
  policies:
    - scaling: {type: continuum.policies.Scaling, targets: [jobs]}
";

fn scaled(inputs: &str) -> String {
    format!("name: lab1\ntemplate: ./scaled.yaml\nprovider: {{type: sandbox}}\ninputs: {inputs}\n")
}

fn sizes(spec: &Spec) -> Vec<(&str, u32, u32)> {
    spec.pools.iter().map(|(name, pool)| (name.as_str(), *pool.size.start(), *pool.size.end())).collect()
}

#[test]
fn a_range_gives_a_pool_its_minimum_and_maximum() {
    let file = with(
        "inputs:\n  workers: {shape: {cpu: 2, memory: 4Gi}, count: 0..5}\n  pools:\n    big: {shape: {cpu: 8, memory: \
         32Gi}, count: \"2..10\"}\n    few: {shape: {cpu: 1, memory: 2Gi}, count: 0}",
    );
    let spec = spec(&file);
    assert_eq!(sizes(&spec), [("big", 2, 10), ("few", 0, 0), ("front-end", 1, 1), ("workers", 0, 5)]);
    let elastic: Vec<_> =
        spec.pools.iter().filter(|(_, pool)| pool.is_elastic()).map(|(name, _)| name).collect();
    assert_eq!(elastic.iter().map(|name| name.as_str()).collect::<Vec<_>>(), ["big", "workers"]);
}

#[test]
fn the_example_of_an_elastic_cluster_is_right() {
    let (spec, warnings) = check(include_str!("../../../../examples/sandbox/elastic.yaml")).unwrap();
    assert_eq!(warnings, []);
    assert_eq!(sizes(&spec), [("front-end", 1, 1), ("workers", 0, 4)]);
}

#[test]
fn a_range_comes_through_a_template_that_scales_the_pool() {
    assert_eq!(sizes(&spec(&scaled("{}"))), [("head", 1, 1), ("jobs", 0, 8), ("services", 1, 1)]);
    assert_eq!(sizes(&spec(&scaled("{jobs: 2..10}"))), [("head", 1, 1), ("jobs", 2, 10), ("services", 1, 1)]);
    assert_eq!(sizes(&spec(&scaled("{jobs: 3}"))), [("head", 1, 1), ("jobs", 3, 3), ("services", 1, 1)]);
}

#[test]
fn a_range_for_a_pool_that_the_template_does_not_scale_is_refused() {
    insta::assert_snapshot!(refused(&scaled("{services: 1..3}")), @r#"
    cluster.yaml:4:20: pool "services" has a range, but no scaling policy of the template names it
        3 | provider: {type: sandbox}
        4 | inputs: {services: 1..3}
          |                    ^^^^
      scaled.yaml:12:5: its node in the template
       12 |     services:
          |     ^^^^^^^^
      help: write a plain number, for example 3, or add to the template's policies: {type: continuum.policies.Scaling, targets: [services]}
    "#);
}

#[test]
fn both_ends_of_a_range_must_meet_the_templates_conditions() {
    insta::assert_snapshot!(refused(&scaled("{jobs: 2..11}")), @r#"
    cluster.yaml:4:16: inputs.jobs: found "2..11"
        3 | provider: {type: sandbox}
        4 | inputs: {jobs: 2..11}
          |                ^^^^^ expected 0 to 10
    "#);
    for (condition, fits) in [
        ("less_than: 9", true),
        ("less_than: 8", false),
        ("greater_or_equal: 0", true),
        ("greater_than: 0", false),
        ("equal: 0..8", true),
        ("equal: 0", false),
        ("equal: 8", false),
        ("valid_values: [3, 0..8]", true),
        ("valid_values: [0, 8]", false),
    ] {
        let text = SCALED.replace("{in_range: [0, 10]}", &format!("{{{condition}}}"));
        let templates = Templates::embedded();
        let read = |_: &str, _: &str| Ok(File { name: "scaled.yaml".into(), text: text.clone() });
        let found = load(&scaled("{jobs: 0..8}"), "cluster.yaml", Shelf { read: &read, ..templates.shelf() });
        assert_eq!(found.is_ok(), fits, "{condition}: {found:?}");
    }
}

#[test]
fn the_schema_of_a_count_takes_numbers_and_ranges() {
    let file = File { name: "scaled.yaml".into(), text: SCALED.into() };
    let templates = Templates::embedded();
    let template = tosca::read(&file, templates.shelf().library()).unwrap();
    let schema = schema::of("./scaled.yaml", &template);
    let count = &schema["properties"]["inputs"]["properties"]["services"];
    assert_eq!(count["type"], serde_json::json!(["integer", "string"]));
    let pattern = regex::Regex::new(count["pattern"].as_str().unwrap()).unwrap();
    for (text, fits) in [
        ("0..5", true),
        ("2..10", true),
        ("999..2000", true),
        ("5", false),
        ("0..0", false),
        ("0..2001", false),
        ("0 .. 5", false),
        ("x0..5", false),
        ("0..5x", false),
    ] {
        assert_eq!(pattern.is_match(text), fits, "{text}");
    }
}
