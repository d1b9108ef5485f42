//! Texts through `yaml` into trees and types.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde::Deserialize;

use super::*;
use crate::diagnostic::render;
use crate::quantity::{Cpu, Memory};
use crate::yaml;

fn tree(text: &str) -> Node {
    yaml::parse(text, "x.yaml").unwrap_or_else(|problems| panic!("{}", render(&problems, false)))
}

fn refused(text: &str) -> String {
    match yaml::parse(text, "x.yaml") {
        Ok(node) => panic!("read as {node:?}"),
        Err(problems) => render(&problems, false),
    }
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Machine {
    cpu: Cpu,
    memory: Memory,
    #[serde(default)]
    count: u32,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    kind: Option<Size>,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Size {
    Small,
    Custom { disk: u32 },
}

fn misfit(text: &str) -> String {
    yaml::from_str::<Machine>(text, "x.yaml").unwrap_err().to_string()
}

#[test]
fn scalars_mean_what_they_seem_to_mean() {
    let cases = [
        ("null", serde_json::json!(null)),
        ("true", serde_json::json!(true)),
        ("yes", serde_json::json!("yes")),
        ("off", serde_json::json!("off")),
        ("12", serde_json::json!(12)),
        ("-3", serde_json::json!(-3)),
        ("012", serde_json::json!("012")),
        ("1_000", serde_json::json!("1_000")),
        ("0x1F", serde_json::json!("0x1F")),
        ("1.5", serde_json::json!(1.5)),
        (".inf", serde_json::json!(".inf")),
        ("1e999", serde_json::json!("1e999")),
        ("\"12\"", serde_json::json!("12")),
        ("12:30:45", serde_json::json!("12:30:45")),
        ("0..5", serde_json::json!("0..5")),
        ("{a: [1, x]}", serde_json::json!({"a": [1, "x"]})),
    ];
    for (text, value) in cases {
        assert_eq!(tree(text).to_json(), value, "{text}");
    }
}

#[test]
fn every_key_and_value_knows_its_place() {
    let node = tree("a:\n  b: [1, 'two']\n  ü: x\n");
    let b = node.get("a").and_then(|a| a.entry("b")).unwrap();
    assert_eq!(b.key.place.to_string(), "x.yaml:2:3");
    assert_eq!(b.value.place.text(), "[1, 'two']");
    let two = &b.value.list().unwrap()[1];
    assert_eq!((two.place.to_string().as_str(), two.place.text()), ("x.yaml:2:10", "'two'"));
    let x = node.get("a").and_then(|a| a.get("ü")).unwrap();
    assert_eq!(x.place.to_string(), "x.yaml:3:6");
}

#[test]
fn merges_are_followed_and_may_be_overridden() {
    let node = tree("base: &b {x: 1, y: 2}\none: {<<: *b, y: 3}\ntwo:\n  y: 4\n  <<: *b\n");
    assert_eq!(
        node.to_json(),
        serde_json::json!({"base": {"x": 1, "y": 2}, "one": {"x": 1, "y": 3}, "two": {"y": 4, "x": 1}})
    );
}

#[test]
fn a_key_given_twice_is_shown_with_both_places() {
    insta::assert_snapshot!(refused("a: 1\nb: 2\na: 3\n"), @r#"
    x.yaml:3:1: key "a" is here a second time
        2 | b: 2
        3 | a: 3
          | ^
      x.yaml:1:1: first given here
        1 | a: 1
          | ^
      help: remove one of the two
    "#);
}

#[test]
fn broken_yaml_points_to_the_fault() {
    insta::assert_snapshot!(refused("a: [1, 2\nb: 3\n"), @r"
    x.yaml:2:2: this is no YAML: illegal placement of ':' indicator
        1 | a: [1, 2
        2 | b: 3
          |  ^
      help: is a bracket or a quote left open above?
    ");
    insta::assert_snapshot!(refused("a: \"open\nb: 3\n"), @r#"
    x.yaml:1:4: this is no YAML: unclosed quote
        1 | a: "open
          |    ^
      help: close the quote on the same line
    "#);
    insta::assert_snapshot!(refused("a:\n\tb: 3\n"), @r"
    x.yaml:2:2: this is no YAML: tabs disallowed within this context (block indentation)
        1 | a:
        2 |  b: 3
          |  ^
      help: indent with spaces: YAML allows no tabs there
    ");
    insta::assert_snapshot!(refused("a: b: c\n"), @r#"
    x.yaml:1:5: this is no YAML: mapping values are not allowed in this context
        1 | a: b: c
          |     ^
      help: a value with ": " in it needs quotes
    "#);
    insta::assert_snapshot!(refused("a: 1\n---\nb: 2\n"), @r"
    x.yaml:2:1: a second document begins here
        1 | a: 1
        2 | ---
          | ^^^ expected one document in the file
    ");
    insta::assert_snapshot!(refused("a: !include /etc/passwd\n"), @r"
    x.yaml:1:13: a YAML tag (!…) stands before this value
        1 | a: !include /etc/passwd
          |             ^^^^^^^^^^^ expected a value without a tag
    ");
    insta::assert_snapshot!(refused("a: *nobody\n"), @r"
    x.yaml:1:4: this is no YAML: while parsing node, found unknown anchor
        1 | a: *nobody
          |    ^
      help: a text that begins with * needs quotes
    ");
}

#[test]
fn what_was_not_rendered_is_named() {
    insta::assert_snapshot!(refused("# {{ a comment may }}\nname: {{ name }}\n"), @r#"
    x.yaml:2:7: template was not rendered: "{{ name }}" is left over
        1 | # {{ a comment may }}
        2 | name: {{ name }}
          |       ^^^^^^^^^^ expected a plain YAML file
      help: render the file first, or write the value itself
    "#);
}

#[test]
fn bombs_are_refused() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for i in 1..10 {
        let aliases = vec![format!("*a{}", i - 1); 10].join(", ");
        text.push_str(&format!("a{i}: &a{i} [{aliases}]\n"));
    }
    insta::assert_snapshot!(refused(&text), @r"
    x.yaml:6:10: the file grows to more than 200000 values here
        5 | a4: &a4 [*a3, *a3, *a3, *a3, *a3, *a3, *a3, *a3, *a3, *a3]
        6 | a5: &a5 [*a4, *a4, *a4, *a4, *a4, *a4, *a4, *a4, *a4, *a4]
          |          ^^^ expected fewer aliases (*name) of aliases
    ");
    assert!(refused(&"[".repeat(5000)).contains("deep"), "deep nesting");
    assert!(refused(&format!("a: {}", "x".repeat(5 << 20))).contains("bytes"));
}

#[test]
fn types_are_read_with_texts_as_written() {
    let machine: Machine = yaml::from_str(
        "{cpu: 2, memory: 4Gi, count: 3, labels: {v: 1.30, w: yes, x: 012}, kind: small}",
        "x",
    )
    .unwrap();
    let labels = [("v", "1.30"), ("w", "yes"), ("x", "012")].map(|(k, v)| (k.to_owned(), v.to_owned()));
    assert_eq!(
        machine,
        Machine {
            cpu: Cpu::cores(2),
            memory: Memory::gib(4),
            count: 3,
            labels: labels.into(),
            kind: Some(Size::Small)
        }
    );
    let machine: Machine = yaml::from_str("{cpu: 2, memory: 4Gi, kind: {custom: {disk: 7}}}", "x").unwrap();
    assert_eq!(machine.kind, Some(Size::Custom { disk: 7 }));
}

#[test]
fn types_that_do_not_fit_say_where_and_what_would() {
    insta::assert_snapshot!(misfit("cpu: 2\nmemory: 4GB\n"), @r#"
    x.yaml:2:9: "4GB" is no amount of memory: write "8Gi", "512Mi" or bytes (did you mean "4Gi"?)
        1 | cpu: 2
        2 | memory: 4GB
          |         ^^^
    "#);
    insta::assert_snapshot!(misfit("cpu: 2\nmemory: 4Gi\ncount: three\n"), @r#"
    x.yaml:3:8: found "three"
        2 | memory: 4Gi
        3 | count: three
          |        ^^^^^ expected a whole number, 0 or more
    "#);
    insta::assert_snapshot!(misfit("cpu: 2\nmemory: 4Gi\ncuont: 3\n"), @r#"
    x.yaml:3:1: unknown key "cuont"
        2 | memory: 4Gi
        3 | cuont: 3
          | ^^^^^ expected cpu, memory, count, labels or kind
      help: did you mean "count"?
    "#);
    insta::assert_snapshot!(misfit("cpu: 2\n"), @r#"
    x.yaml:1:1: key "memory" is missing
        1 | cpu: 2
          | ^^^^^^ expected memory: …
    "#);
    insta::assert_snapshot!(misfit("cpu: 2\nmemory: 4Gi\nkind: smal\n"), @r#"
    x.yaml:3:7: "smal" is not known here
        2 | memory: 4Gi
        3 | kind: smal
          |       ^^^^ expected small or custom
      help: did you mean "small"?
    "#);
    insta::assert_snapshot!(misfit("cpu: 2\nmemory: 4Gi\nlabels: [a]\n"), @r"
    x.yaml:3:9: found a list
        2 | memory: 4Gi
        3 | labels: [a]
          |         ^^^ expected a mapping
    ");
    insta::assert_snapshot!(misfit("cpu: 2\nmemory: 4Gi\nkind:\n  custom: {disk: -1}\n"), @r"
    x.yaml:4:18: found the number -1
        3 | kind:
        4 |   custom: {disk: -1}
          |                  ^^ expected a whole number, 0 or more
    ");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_the_reader_panic(text in r"[a-z0-9:\-\[\]{}&*!|>'#%@, \n\t\u{e4}\u{1F980}<~.]{0,80}") {
        if let Err(problems) = yaml::parse(&text, "x.yaml") {
            render(&problems, true);
        }
        let _ = yaml::from_str::<Machine>(&text, "x.yaml").map_err(|p| p.to_string());
    }
}
