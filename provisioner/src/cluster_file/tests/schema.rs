//! JSON Schema and reader are made from the same tables: they must judge alike.

use super::super::schema;
use super::scaling::elastic;
use super::{GOOD, check, with, workers};
use crate::diagnostic::render;
use crate::templates::Templates;
use crate::{tosca, yaml};

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
        workers(
            "{shape: {cpu: 500m, memory: 1.5Gi}, count: 0, labels: {a: 1.5}, taints: ['a=b:NoSchedule'], recipes: [x]}",
        ),
        workers("{count: 0..5, shape: {cpu: 2, memory: 4Gi}}"),
        workers("{count: '1999..2000', shape: {cpu: 2, memory: 4Gi}}"),
        elastic(super::scaling::ALL),
        elastic("autoscaler: {idle: 1h 30m, max: {price: 2}, prices: {2x4Gi: 1.5}}"),
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
        workers("{count: 0..2001, shape: {cpu: 2, memory: 4Gi}}"),
        workers("{count: 0 .. 5, shape: {cpu: 2, memory: 4Gi}}"),
        workers("{count: 05..7, shape: {cpu: 2, memory: 4Gi}}"),
        workers("{count: '5', shape: {cpu: 2, memory: 4Gi}}"),
        workers("{count: 1, shape: {cpu: two, memory: 4Gi}}"),
        workers("{count: 1, shape: {cpu: 2, memory: 4GB}}"),
        workers("{count: 1, shape: {cpu: 2}}"),
        workers("{shape: {cpu: 2, memory: 4Gi}}"),
        workers("{shape: {cpu: 2, memory: 4Gi}, count: 1, taints: [x]}"),
        workers("{shape: {cpu: 2, memory: 4Gi}, count: 1, recipes: [X]}"),
        workers("{shape: {cpu: 2, memory: 4Gi}, count: 1, labels: []}"),
        with(&format!("inputs: {{workers: {pool}, pod_cidr: somewhere}}")),
        with(&format!("inputs: {{workers: {pool}, pools: [a]}}")),
        elastic("autoscaler: []"),
        elastic("autoscaler: {idel: 5m}"),
        elastic("autoscaler: {idle: 300}"),
        elastic("autoscaler: {idle: soon}"),
        elastic("autoscaler: {under_used: 101}"),
        elastic("autoscaler: {under_used: 50%}"),
        elastic("autoscaler: {rate: {up: -1}}"),
        elastic("autoscaler: {weights: {cpu: 6}}"),
        elastic("autoscaler: {head_room: {slots: 1, of: {cpu: 1}}}"),
        elastic("autoscaler: {expander: cheap}"),
        elastic("autoscaler: {prices: {2x4Gi: 1 EUR}}"),
        elastic("autoscaler: {pools: {workers: {idel: 5m}}}"),
        elastic("autoscaler: {boot_aware: sometimes}"),
        elastic("autoscaler: {startup_taints: key}"),
    ];
    let mut right = 0;
    for file in files {
        let json = yaml::parse(&file, "x").unwrap().to_json();
        let by_schema = misfit(&schema, &json, "");
        let by_reader = check(&file).err().map(|problems| render(&problems, false));
        assert_eq!(
            by_schema.is_some(),
            by_reader.is_some(),
            "{file}\nschema: {by_schema:?}\nreader: {by_reader:?}"
        );
        right += usize::from(by_schema.is_none());
    }
    assert_eq!(right, 8, "the first eight are right");
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
        ("/properties/autoscaler/properties", "autoscaler"),
        ("/properties/autoscaler/properties/rate/properties", "autoscaler.rate"),
        ("/properties/autoscaler/properties/max/properties", "autoscaler.max"),
    ] {
        let file = match place {
            "a cluster file" => with("xyz: 1"),
            "inputs" => with("inputs: {xyz: 1, workers: {shape: {cpu: 2, memory: 4Gi}, count: 1}}"),
            "provider" => with("provider: {type: sandbox, xyz: 1}"),
            "autoscaler" => elastic("autoscaler: {xyz: 1}"),
            "autoscaler.rate" => elastic("autoscaler: {rate: {xyz: 1}}"),
            "autoscaler.max" => elastic("autoscaler: {max: {xyz: 1}}"),
            "inputs.workers" => workers("{xyz: 1, shape: {cpu: 2, memory: 4Gi}, count: 1}"),
            _ => with("inputs: {front_end: {xyz: 1}, workers: {shape: {cpu: 2, memory: 4Gi}, count: 1}}"),
        };
        let problems = check(&file).unwrap_err();
        let message = format!("unknown key \"xyz\" in {place}");
        let problem =
            problems.iter().find(|p| p.message == message).unwrap_or_else(|| panic!("{problems:?}"));
        let mut known: Vec<String> =
            problem.expected.replace(" or ", ", ").split(", ").map(str::to_owned).collect();
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
            ("pattern", Value::String(text)) => {
                !regex::Regex::new(rule.as_str().unwrap()).unwrap().is_match(text)
            }
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
