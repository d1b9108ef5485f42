//! Templates as texts: what becomes of a right one, and the whole message for each thing that is wrong.

mod refused;

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::topology::Term;
use super::*;
use crate::diagnostic::render;

const PROFILE: &str = include_str!("../../../../templates/types/tosca.yaml");

/// A small world of its own: TOSCA is read without any cloud.
const TYPES: &str = "
tosca_definitions_version: tosca_simple_yaml_1_3
data_types:
  my.Port: {derived_from: integer, constraints: [in_range: [1, 65535]]}
  my.Disk:
    properties:
      size: {type: scalar-unit.size, constraints: [greater_or_equal: 1 GiB]}
      kind: {type: string, default: ssd, constraints: [valid_values: [ssd, hdd]]}
node_types:
  my.Host:
    derived_from: tosca.nodes.Abstract.Compute
    properties:
      name: {type: string, constraints: [pattern: '[a-z]+']}
      disks: {type: list, entry_schema: my.Disk, default: []}
      note: {type: string, required: false}
    attributes:
      address: {type: string}
  my.App:
    derived_from: tosca.nodes.SoftwareComponent
    properties:
      port: {type: my.Port, default: 80}
      url: {type: string, required: false}
    capabilities:
      web: tosca.capabilities.Endpoint
policy_types:
  my.Spread: {derived_from: tosca.policies.Root, targets: [my.Host], properties: {over: {type: string, default: zones}}}
";

fn import(from: &str, path: &str) -> Result<File, String> {
    match path {
        "types.yaml" => Ok(File { name: "types.yaml".into(), text: TYPES.into() }),
        "again.yaml" => Ok(File {
            name: "again.yaml".into(),
            text: "tosca_definitions_version: tosca_simple_yaml_1_0\nimports: [types.yaml, again.yaml]\n"
                .into(),
        }),
        _ => Err(format!("there is no file {path} beside {from}")),
    }
}

fn topology_of(text: &str, inputs: &str) -> Result<Topology, Vec<Problem>> {
    let profiles = [File { name: "tosca.yaml".into(), text: PROFILE.into() }];
    let library = Library { profiles: &profiles, scalars: &[], import: &import };
    let template = read(&File { name: "t.yaml".into(), text: text.into() }, library)?;
    let inputs = yaml::parse(inputs, "in.yaml")?;
    let mut problems = Vec::new();
    template.topology(&inputs, &mut problems).ok_or(problems)
}

/// A template with this after `topology_template:`, indented by two.
fn with(topology: &str) -> String {
    format!(
        "tosca_definitions_version: tosca_simple_yaml_1_3\nimports: [types.yaml]\ntopology_template:\n{topology}"
    )
}

fn refused(text: &str) -> String {
    match topology_of(text, "{}") {
        Ok(topology) => panic!("read as {topology:?}"),
        Err(problems) => render(&problems, false),
    }
}

fn right(text: &str, inputs: &str) -> Topology {
    topology_of(text, inputs).unwrap_or_else(|problems| panic!("{}", render(&problems, false)))
}

fn shown(topology: &Topology) -> serde_json::Value {
    let properties = |values: &BTreeMap<String, Node>| -> serde_json::Value {
        values
            .iter()
            .map(|(name, node)| (name.clone(), node.to_json()))
            .collect::<serde_json::Map<_, _>>()
            .into()
    };
    let nodes = topology.nodes.iter().map(|vertex| {
        let edges = vertex
            .edges
            .iter()
            .map(|e| format!("{} -> {}", e.requirement, topology.nodes[e.target].name.name));
        let value = serde_json::json!({
            "is": vertex.lineage, "has": properties(&vertex.properties), "needs": edges.collect::<Vec<_>>(),
        });
        (vertex.name.name.clone(), value)
    });
    nodes.collect::<serde_json::Map<_, _>>().into()
}

const RIGHT: &str = "  inputs:
    host: {type: string, default: alpha}
    ports: {type: map, entry_schema: integer, default: {web: 8080}}
    disk: {type: my.Disk, required: false}
  node_templates:
    app:
      type: my.App
      properties:
        port: {get_input: [ports, web]}
        url: {concat: [\"http://\", {get_property: [SELF, host, name]}, ':', {get_property: [SELF, port]}]}
      capabilities: {web: {properties: {port: {get_property: [SELF, port]}}}}
      requirements:
        - host: {node: machine, capability: host, relationship: tosca.relationships.HostedOn}
        - dependency: other
    other: {type: my.App, requirements: [host: machine]}
    machine:
      type: my.Host
      properties:
        name: {token: [{join: [[{get_input: host}, beta], '.']}, '.', 0]}
        disks: [{size: 20 GB}, {size: 1 TiB, kind: hdd}]
        note: {get_input: disk}
  policies:
    - spread: {type: my.Spread, targets: [machine]}
  outputs:
    url: {value: {concat: ['http://', {get_attribute: [machine, address]}, ':', {get_property: [app, web, port]}]}}
";

#[test]
fn a_right_template_becomes_a_typed_graph() {
    let topology = right(&with(RIGHT), "{host: gamma}");
    insta::assert_json_snapshot!(shown(&topology), @r#"
    {
      "app": {
        "is": [
          "my.App",
          "tosca.nodes.SoftwareComponent",
          "tosca.nodes.Root"
        ],
        "has": {
          "port": 8080,
          "url": "http://gamma:8080"
        },
        "needs": [
          "host -> machine",
          "dependency -> other"
        ]
      },
      "other": {
        "is": [
          "my.App",
          "tosca.nodes.SoftwareComponent",
          "tosca.nodes.Root"
        ],
        "has": {
          "port": 80
        },
        "needs": [
          "host -> machine"
        ]
      },
      "machine": {
        "is": [
          "my.Host",
          "tosca.nodes.Abstract.Compute",
          "tosca.nodes.Root"
        ],
        "has": {
          "disks": [
            {
              "size": "20 GB",
              "kind": "ssd"
            },
            {
              "size": "1 TiB",
              "kind": "hdd"
            }
          ],
          "name": "gamma"
        },
        "needs": []
      }
    }
    "#);
    assert_eq!(topology.nodes[0].capabilities["web"]["port"].to_json(), 8080);
    let order: Vec<&str> =
        topology.in_order().into_iter().map(|i| topology.nodes[i].name.name.as_str()).collect();
    assert_eq!(order, ["machine", "other", "app"], "each after all that it needs");
    assert!(topology.nodes[0].edges[0].is_a("tosca.relationships.Root"));
    let policy = &topology.policies[0];
    assert_eq!((policy.properties["over"].to_json(), &policy.targets), ("zones".into(), &vec![2]));
}

#[test]
fn outputs_wait_for_attributes() {
    let output = &right(&with(RIGHT), "{}").outputs[0];
    let attribute = Term::Attribute { node: "machine".into(), name: "address".into() };
    let known = |text: &str| Term::Known(text.into());
    assert_eq!(output.terms, [known("http://"), attribute, known(":"), known("8080")]);
    assert_eq!(output.text(|_, _| None), None);
    let text = output.text(|node, name| Some(format!("{node}.{name}")));
    assert_eq!(text.as_deref(), Some("http://machine.address:8080"));
}

#[test]
fn tosca_2_0_differs_in_words_only() {
    let old = right(&with(RIGHT), "{}");
    let mut text = with(RIGHT).replace("tosca_simple_yaml_1_3", "tosca_2_0");
    text = text.replace("topology_template", "service_template");
    for function in ["get_input", "get_property", "get_attribute", "concat", "join", "token"] {
        text = text.replace(&format!("{function}:"), &format!("${function}:"));
    }
    assert_eq!(shown(&right(&text, "{}")), shown(&old));
}

#[test]
fn imports_are_read_once() {
    let text = with(RIGHT).replace("[types.yaml]", "[again.yaml, {file: types.yaml}]");
    assert_eq!(shown(&right(&text, "{}")), shown(&right(&with(RIGHT), "{}")));
}

#[test]
fn all_constraints_hold_what_they_promise() {
    let cases = [
        ("{type: integer, constraints: [equal: 4]}", vec!["4"], vec!["5"]),
        ("{type: integer, constraints: [greater_than: 4]}", vec!["5"], vec!["4", "3"]),
        ("{type: float, constraints: [greater_or_equal: 0.5]}", vec!["0.5", "1"], vec!["0.4"]),
        ("{type: integer, constraints: [less_than: 4]}", vec!["3"], vec!["4"]),
        (
            "{type: scalar-unit.size, constraints: [less_or_equal: 1 GiB]}",
            vec!["1 GiB", "1 GB", "5 kB"],
            vec!["2 GB"],
        ),
        (
            "{type: scalar-unit.time, constraints: [greater_than: 1 s]}",
            vec!["1001 ms", "1 h"],
            vec!["1 s", "5 ms"],
        ),
        ("{type: integer, constraints: [in_range: [1, 4]]}", vec!["1", "4"], vec!["0", "5"]),
        ("{type: integer, constraints: [in_range: [1, UNBOUNDED]]}", vec!["1", "400"], vec!["0"]),
        ("{type: string, constraints: [valid_values: [a, b]]}", vec!["a"], vec!["c"]),
        ("{type: string, constraints: [length: 2]}", vec!["ab", "äö"], vec!["a", "abc"]),
        ("{type: list, entry_schema: integer, constraints: [min_length: 1]}", vec!["[1]"], vec!["[]"]),
        ("{type: map, constraints: [max_length: 1]}", vec!["{a: 1}"], vec!["{a: 1, b: 2}"]),
        ("{type: string, constraints: [pattern: 'a+']}", vec!["aa"], vec!["ab", "ba"]),
        ("{type: boolean}", vec!["true"], vec!["yes", "1"]),
        ("{type: string}", vec!["1.30", "yes", "012"], vec!["[]", "{}"]),
        ("{type: scalar-unit.frequency}", vec!["2.4 GHz"], vec!["2.4", "GHz", "-1 Hz"]),
    ];
    for (definition, good, bad) in cases {
        let text = with(&format!("  inputs:\n    x: {definition}\n"));
        for value in good {
            topology_of(&text, &format!("{{x: {value}}}"))
                .unwrap_or_else(|problems| panic!("{definition} {value}: {}", render(&problems, false)));
        }
        for value in bad {
            assert!(topology_of(&text, &format!("{{x: {value}}}")).is_err(), "{definition} takes {value}");
        }
    }
    insta::assert_snapshot!(refused(&with("  inputs:
    a: {type: string, default: x, constraints: [minlength: 2, pattern: '(']}
    b: {type: string, default: x, constraints: [in_range: 2, length: few]}
")), @r#"
    t.yaml:5:49: unknown key "minlength" in constraints
        4 |   inputs:
        5 |     a: {type: string, default: x, constraints: [minlength: 2, pattern: '(']}
          |                                                 ^^^^^^^^^ expected equal, greater_than, greater_or_equal, less_than, less_or_equal, in_range, valid_values, length, min_length, max_length or pattern
      help: did you mean "min_length"?

    t.yaml:5:72: "(" is no regular expression: unclosed group
        4 |   inputs:
        5 |     a: {type: string, default: x, constraints: [minlength: 2, pattern: '(']}
          |                                                                        ^^^

    t.yaml:6:59: in_range: found the number 2
        5 |     a: {type: string, default: x, constraints: [minlength: 2, pattern: '(']}
        6 |     b: {type: string, default: x, constraints: [in_range: 2, length: few]}
          |                                                           ^ expected [LOWEST, HIGHEST]

    t.yaml:6:70: length: found "few"
        5 |     a: {type: string, default: x, constraints: [minlength: 2, pattern: '(']}
        6 |     b: {type: string, default: x, constraints: [in_range: 2, length: few]}
          |                                                                      ^^^ expected a whole number, 0 or more

    4 problems
    "#);
}

#[test]
fn types_that_never_end_are_refused() {
    insta::assert_snapshot!(refused("tosca_definitions_version: tosca_simple_yaml_1_3
data_types:
  loop: {properties: {again: {type: loop, default: {}}}}
topology_template:
  inputs: {x: {type: loop, default: {}}}
"), @r"
    t.yaml:3:37: the defaults of this type never end
        2 | data_types:
        3 |   loop: {properties: {again: {type: loop, default: {}}}}
          |                                     ^^^^
    ");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_template_makes_the_reader_panic(lines in prop::collection::vec((0_usize..40, r"[ -~]{0,16}"), 1..6)) {
        let whole = format!("{}{}", TYPES.trim_start(), with(RIGHT).split_once("topology").map_or("", |(_, rest)| rest));
        let whole = whole.replacen("_template:", "topology_template:", 1);
        let mut text: Vec<String> = whole.lines().map(str::to_owned).collect();
        for (at, noise) in lines {
            let at = at % text.len();
            let kept = text[at].chars().take(noise.len()).collect::<String>();
            text[at] = kept + &noise;
        }
        if let Err(problems) = topology_of(&text.join("\n"), "{}") {
            prop_assert!(!problems.is_empty());
            render(&problems, false);
        }
    }
}
