//! The whole message for each thing that can be wrong in a template.

use super::{refused, with};

#[test]
fn what_is_no_template_is_refused() {
    insta::assert_snapshot!(refused("a: 1\n"), @r"
    t.yaml:1:1: this is no TOSCA file: tosca_definitions_version is missing
        1 | a: 1
          | ^^^^ expected tosca_definitions_version: tosca_simple_yaml_1_3
    ");
    insta::assert_snapshot!(refused("tosca_definitions_version: tosca_simple_yaml_1_5\n"), @r#"
    t.yaml:1:28: TOSCA version "tosca_simple_yaml_1_5" is not known
        1 | tosca_definitions_version: tosca_simple_yaml_1_5
          |                            ^^^^^^^^^^^^^^^^^^^^^ expected tosca_simple_yaml_1_0 to tosca_simple_yaml_1_3, or tosca_2_0
    "#);
    insta::assert_snapshot!(refused("tosca_definitions_version: tosca_simple_yaml_1_3\n"), @r"
    t.yaml: this file has no topology
      expected topology_template: …
    ");
    insta::assert_snapshot!(refused("tosca_definitions_version: tosca_simple_yaml_1_3\nimports: [nowhere.yaml, https://example.org/x]\ntopology_template: {}\n"), @r#"
    t.yaml:2:11: cannot import "nowhere.yaml": there is no file nowhere.yaml beside t.yaml
        1 | tosca_definitions_version: tosca_simple_yaml_1_3
        2 | imports: [nowhere.yaml, https://example.org/x]
          |           ^^^^^^^^^^^^

    t.yaml:2:25: "https://example.org/x" cannot be imported
        1 | tosca_definitions_version: tosca_simple_yaml_1_3
        2 | imports: [nowhere.yaml, https://example.org/x]
          |                         ^^^^^^^^^^^^^^^^^^^^^ expected a path relative to this file

    2 problems
    "#);
}

#[test]
fn tosca_that_is_not_built_is_named() {
    insta::assert_snapshot!(refused(&with("  workflows: {}\n  node_tempaltes: {}\n")), @r#"
    t.yaml:4:3: "workflows" in topology_template is not built yet
        3 | topology_template:
        4 |   workflows: {}
          |   ^^^^^^^^^
      help: this part of TOSCA will come; remove it for now

    t.yaml:5:3: unknown key "node_tempaltes" in topology_template
        4 |   workflows: {}
        5 |   node_tempaltes: {}
          |   ^^^^^^^^^^^^^^ expected description, inputs, node_templates, policies or outputs
      help: did you mean "node_templates"?

    2 problems
    "#);
    insta::assert_snapshot!(refused(&with("  node_templates:\n    a: {type: my.Host, properties: {name: {get_artifact: [SELF, x]}}, interfaces: {}}\n")), @r#"
    t.yaml:5:71: "interfaces" in node template "a" is not built yet
        4 |   node_templates:
        5 |     a: {type: my.Host, properties: {name: {get_artifact: [SELF, x]}}, interfaces: {}}
          |                                                                       ^^^^^^^^^^
      help: this part of TOSCA will come; remove it for now
    "#);
    insta::assert_snapshot!(refused(&with("  inputs:\n    a: {type: timestamp}\n    b: {type: strin}\n")), @r#"
    t.yaml:5:15: type "timestamp" is not built yet
        4 |   inputs:
        5 |     a: {type: timestamp}
          |               ^^^^^^^^^
      help: use string for now

    t.yaml:6:15: type "strin" is not known
        5 |     a: {type: timestamp}
        6 |     b: {type: strin}
          |               ^^^^^
      help: did you mean "string"?

    2 problems
    "#);
}

#[test]
fn types_must_be_there_and_go_in_no_circle() {
    insta::assert_snapshot!(refused("tosca_definitions_version: tosca_simple_yaml_1_3
node_types:
  a: {derived_from: c}
  b: {derived_from: a}
  c: {derived_from: b}
  d: {derived_from: tosca.nodes.Rooot, capabilities: {x: nothing}}
topology_template: {}
"), @r#"
    t.yaml:4:21: node type derives from itself: a -> c -> b -> a
        3 |   a: {derived_from: c}
        4 |   b: {derived_from: a}
          |                     ^
      help: remove one derived_from of the circle

    t.yaml:6:21: node type "tosca.nodes.Rooot" is not known
        5 |   c: {derived_from: b}
        6 |   d: {derived_from: tosca.nodes.Rooot, capabilities: {x: nothing}}
          |                     ^^^^^^^^^^^^^^^^^
      help: did you mean "tosca.nodes.Root"?

    t.yaml:6:58: capability type "nothing" is not known
        5 |   c: {derived_from: b}
        6 |   d: {derived_from: tosca.nodes.Rooot, capabilities: {x: nothing}}
          |                                                          ^^^^^^^

    3 problems
    "#);
}

#[test]
fn nodes_are_checked_against_their_types() {
    insta::assert_snapshot!(refused(&with("  node_templates:
    a: {type: my.Hots}
    b: {type: my.Host, properties: {nmae: x}}
    c: {type: my.Host, properties: {name: UPPER, disks: [{size: 1 MB, kind: tape}, {siz: 1}]}}
    d: {type: my.App, properties: {port: 70000}, capabilities: {webb: {}}}
")), @r#"
    t.yaml:5:15: node type "my.Hots" is not known
        4 |   node_templates:
        5 |     a: {type: my.Hots}
          |               ^^^^^^^
      help: did you mean "my.Host"?

    t.yaml:6:37: unknown key "nmae" in node "b"
        5 |     a: {type: my.Hots}
        6 |     b: {type: my.Host, properties: {nmae: x}}
          |                                     ^^^^ expected name, disks or note
      help: did you mean "name"?

    t.yaml:7:43: c.name: found "UPPER"
        6 |     b: {type: my.Host, properties: {nmae: x}}
        7 |     c: {type: my.Host, properties: {name: UPPER, disks: [{size: 1 MB, kind: tape}, {siz: 1}]}}
          |                                           ^^^^^ expected a text of the form [a-z]+

    t.yaml:7:65: c.disks[0].size: found "1 MB"
        6 |     b: {type: my.Host, properties: {nmae: x}}
        7 |     c: {type: my.Host, properties: {name: UPPER, disks: [{size: 1 MB, kind: tape}, {siz: 1}]}}
          |                                                                 ^^^^ expected at least 1 GiB

    t.yaml:7:77: c.disks[0].kind: found "tape"
        6 |     b: {type: my.Host, properties: {nmae: x}}
        7 |     c: {type: my.Host, properties: {name: UPPER, disks: [{size: 1 MB, kind: tape}, {siz: 1}]}}
          |                                                                             ^^^^ expected ssd or hdd

    t.yaml:7:85: unknown key "siz" in c.disks[1]
        6 |     b: {type: my.Host, properties: {nmae: x}}
        7 |     c: {type: my.Host, properties: {name: UPPER, disks: [{size: 1 MB, kind: tape}, {siz: 1}]}}
          |                                                                                     ^^^ expected size or kind
      help: did you mean "size"?

    t.yaml:8:5: node "d" needs "host"
        7 |     c: {type: my.Host, properties: {name: UPPER, disks: [{size: 1 MB, kind: tape}, {siz: 1}]}}
        8 |     d: {type: my.App, properties: {port: 70000}, capabilities: {webb: {}}}
          |     ^ expected requirements: [host: NODE], NODE of any type

    t.yaml:8:42: d.port: found the number 70000
        7 |     c: {type: my.Host, properties: {name: UPPER, disks: [{size: 1 MB, kind: tape}, {siz: 1}]}}
        8 |     d: {type: my.App, properties: {port: 70000}, capabilities: {webb: {}}}
          |                                          ^^^^^ expected 1 to 65535

    t.yaml:8:65: node "d" has no capability "webb"
        7 |     c: {type: my.Host, properties: {name: UPPER, disks: [{size: 1 MB, kind: tape}, {siz: 1}]}}
        8 |     d: {type: my.App, properties: {port: 70000}, capabilities: {webb: {}}}
          |                                                                 ^^^^ expected feature or web
      help: did you mean "web"?

    9 problems
    "#);
}

#[test]
fn requirements_must_lead_somewhere() {
    insta::assert_snapshot!(refused(&with("  node_templates:
    a: {type: my.App, requirements: [host: machin, hots: machine]}
    b: {type: my.App, requirements: [host: a]}
    c: {type: my.App, requirements: [host: machine, host: machine]}
    d: {type: my.App, requirements: [host: my.Host]}
    machine: {type: my.Host, properties: {name: x}}
  policies:
    - spread: {type: my.Spread, targets: [a, nobody]}
")), @r#"
    t.yaml:5:44: there is no node "machin"
        4 |   node_templates:
        5 |     a: {type: my.App, requirements: [host: machin, hots: machine]}
          |                                            ^^^^^^ expected a, b, c, d or machine
      help: did you mean "machine"?

    t.yaml:5:52: my.App has no requirement "hots"
        4 |   node_templates:
        5 |     a: {type: my.App, requirements: [host: machin, hots: machine]}
          |                                                    ^^^^ expected dependency or host
      help: did you mean "host"?

    t.yaml:6:44: "a" offers no capability tosca.capabilities.Compute
        5 |     a: {type: my.App, requirements: [host: machin, hots: machine]}
        6 |     b: {type: my.App, requirements: [host: a]}
          |                                            ^ expected a node that does

    t.yaml:7:53: "host" is filled 2 times
        6 |     b: {type: my.App, requirements: [host: a]}
        7 |     c: {type: my.App, requirements: [host: machine, host: machine]}
          |                                                     ^^^^ expected at most 1

    t.yaml:8:44: there is no node "my.Host"
        7 |     c: {type: my.App, requirements: [host: machine, host: machine]}
        8 |     d: {type: my.App, requirements: [host: my.Host]}
          |                                            ^^^^^^^
      help: to choose a node by its type is not built yet: name the node template

    t.yaml:11:43: policy "spread": "a" is of type my.App
       10 |   policies:
       11 |     - spread: {type: my.Spread, targets: [a, nobody]}
          |                                           ^ expected my.Host

    t.yaml:11:46: there is no node "nobody"
       10 |   policies:
       11 |     - spread: {type: my.Spread, targets: [a, nobody]}
          |                                              ^^^^^^ expected a, b, c, d or machine

    7 problems
    "#);
}

#[test]
fn circles_are_shown() {
    insta::assert_snapshot!(refused(&with("  node_templates:
    a: {type: my.Host, properties: {name: x}, requirements: [dependency: b]}
    b: {type: my.Host, properties: {name: x}, requirements: [dependency: c]}
    c: {type: my.Host, properties: {name: x}, requirements: [dependency: b]}
")), @r"
    t.yaml:6:74: nodes need each other in a circle: b -> c -> b
        5 |     a: {type: my.Host, properties: {name: x}, requirements: [dependency: b]}
        6 |     b: {type: my.Host, properties: {name: x}, requirements: [dependency: c]}
          |                                                                          ^
      help: remove one requirement of the circle
    ");
    insta::assert_snapshot!(refused(&with("  node_templates:
    a: {type: my.Host, properties: {name: {get_property: [b, name]}}}
    b: {type: my.Host, properties: {name: {get_property: [a, name]}}}
")), @r#"
    t.yaml:5:43: property "name" asks for its own value
        4 |   node_templates:
        5 |     a: {type: my.Host, properties: {name: {get_property: [b, name]}}}
          |                                           ^^^^^^^^^^^^^^^^^^^^^^^^^
      help: break the circle of get_property
    "#);
}

#[test]
fn functions_that_lead_nowhere_are_refused() {
    insta::assert_snapshot!(refused(&with("  inputs: {size: {type: string, default: x}}
  node_templates:
    a: {type: my.Host, properties: {name: {get_input: sizes}}}
    b: {type: my.Host, properties: {name: {get_property: [c, name]}}}
    d: {type: my.Host, properties: {name: {get_property: [SELF, nam]}}}
    e: {type: my.Host, properties: {name: {get_attribute: [SELF, address]}}}
    f: {type: my.Host, properties: {name: {concat: x}}}
    g: {type: my.Host, properties: {name: {token: [abc, b, 7]}}}
  outputs:
    x: {value: {get_attribute: [a, addres]}}
    y: {value: {get_property: [SELF, name]}}
")), @r#"
    t.yaml:6:55: there is no input "sizes"
        5 |   node_templates:
        6 |     a: {type: my.Host, properties: {name: {get_input: sizes}}}
          |                                                       ^^^^^ expected size
      help: did you mean "size"?

    t.yaml:7:59: there is no node "c"
        6 |     a: {type: my.Host, properties: {name: {get_input: sizes}}}
        7 |     b: {type: my.Host, properties: {name: {get_property: [c, name]}}}
          |                                                           ^ expected a, b, d, e, f or g

    t.yaml:8:65: get_property: node "d" has no property "nam"
        7 |     b: {type: my.Host, properties: {name: {get_property: [c, name]}}}
        8 |     d: {type: my.Host, properties: {name: {get_property: [SELF, nam]}}}
          |                                                                 ^^^ expected name, disks or note
      help: did you mean "name"?

    t.yaml:9:44: an attribute is known only once the machines run
        8 |     d: {type: my.Host, properties: {name: {get_property: [SELF, nam]}}}
        9 |     e: {type: my.Host, properties: {name: {get_attribute: [SELF, address]}}}
          |                                            ^^^^^^^^^^^^^
      help: attributes can be used in outputs

    t.yaml:10:52: concat: found "x"
        9 |     e: {type: my.Host, properties: {name: {get_attribute: [SELF, address]}}}
       10 |     f: {type: my.Host, properties: {name: {concat: x}}}
          |                                                    ^ expected a list of texts

    t.yaml:11:60: "abc" has no piece 7 between "b"
       10 |     f: {type: my.Host, properties: {name: {concat: x}}}
       11 |     g: {type: my.Host, properties: {name: {token: [abc, b, 7]}}}
          |                                                            ^

    t.yaml:13:36: node "a" has no attribute "addres"
       12 |   outputs:
       13 |     x: {value: {get_attribute: [a, addres]}}
          |                                    ^^^^^^ expected address
      help: did you mean "address"?

    t.yaml:14:32: SELF means nothing here
       13 |     x: {value: {get_attribute: [a, addres]}}
       14 |     y: {value: {get_property: [SELF, name]}}
          |                                ^^^^ expected the name of a node template

    8 problems
    "#);
}

#[test]
fn a_name_may_not_be_given_twice() {
    insta::assert_snapshot!(refused(&with("  policies:
    - spread: {type: my.Spread}
    - spread: {type: my.Spread}
")), @r#"
    t.yaml:6:7: there are two policies "spread"
        5 |     - spread: {type: my.Spread}
        6 |     - spread: {type: my.Spread}
          |       ^^^^^^
      help: rename one of them
    "#);
    let text = with("  node_templates: {}\n") + "node_types: {my.Host: {}}\n";
    insta::assert_snapshot!(refused(&text), @r#"
    t.yaml:5:14: node type "my.Host" is defined a second time
        4 |   node_templates: {}
        5 | node_types: {my.Host: {}}
          |              ^^^^^^^
      types.yaml:10:3: first defined here
       10 |   my.Host:
          |   ^^^^^^^
    "#);
}

#[test]
fn a_function_of_tosca_2_0_stands_alone() {
    let text = with(
        "  node_templates:\n    a: {type: my.Host, properties: {name: {$concat: [a], b: c}, note: {$nothing: 1}}}\n",
    );
    let text =
        text.replace("tosca_simple_yaml_1_3", "tosca_2_0").replace("topology_template", "service_template");
    insta::assert_snapshot!(refused(&text), @r#"
    t.yaml:5:44: "$concat" stands beside other keys
        4 |   node_templates:
        5 |     a: {type: my.Host, properties: {name: {$concat: [a], b: c}, note: {$nothing: 1}}}
          |                                            ^^^^^^^ expected a function alone in its mapping

    t.yaml:5:72: function "$nothing" is not known
        4 |   node_templates:
        5 |     a: {type: my.Host, properties: {name: {$concat: [a], b: c}, note: {$nothing: 1}}}
          |                                                                        ^^^^^^^^

    2 problems
    "#);
}
