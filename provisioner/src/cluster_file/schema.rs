//! JSON Schema of a cluster file, for editors: made from the tables that the reader uses, so that both agree.

use serde_json::{Map, Value, json};

use super::keys::{KEYS, PROVIDERS, State};
use super::scaling;
use crate::names::CLUSTER_NAME_MAX;
use crate::provider::sandbox;
use crate::tosca::Template;

/// The schema of cluster files that use this template.
pub fn of(template_name: &str, template: &Template<'_>) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for key in KEYS {
        let mut schema = match (key.state, key.name) {
            (State::Later(_), _) => continue,
            (_, "name") => json!({
                "type": "string", "pattern": "^[a-z]([a-z0-9-]*[a-z0-9])?$", "maxLength": CLUSTER_NAME_MAX
            }),
            (_, "template") => json!({ "type": "string", "examples": [template_name] }),
            (_, "provider") => provider(),
            (_, "inputs") => template.schema(),
            (_, "autoscaler") => scaling::schema(),
            (_, "operators") => {
                json!({ "type": "array", "items": { "type": "string", "pattern": "^(ssh|ecdsa|sk)-[a-z0-9@.-]+ " } })
            }
            _ => json!({}),
        };
        schema["description"] = key.description.into();
        properties.insert(key.name.into(), schema);
        if key.state == State::Required {
            required.push(key.name);
        }
    }
    // A template that must be told something makes `inputs` required.
    if properties.get("inputs").is_some_and(|inputs| inputs.get("required").is_some()) {
        required.push("inputs");
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": format!("cluster.yaml for template {template_name}"),
        "type": "object",
        "additionalProperties": false,
        "required": required,
        "properties": properties,
    })
}

/// The sandbox's own keys are taken from its configuration's defaults: all of them have one. The defaults themselves
/// are left out, as the environment may set them.
fn provider() -> Value {
    let mut properties = Map::new();
    properties.insert("type".into(), json!({ "enum": PROVIDERS }));
    let internet =
        json!({ "type": "boolean", "default": true, "description": "whether machines reach the outside" });
    properties.insert("internet".into(), internet);
    if let Ok(Value::Object(defaults)) = serde_json::to_value(sandbox::Config::default()) {
        for (name, default) in defaults {
            let schema = match &default {
                Value::String(_) => json!({ "type": "string" }),
                Value::Bool(_) => json!({ "type": "boolean" }),
                Value::Number(_) => json!({ "type": "number" }),
                _ => json!({}),
            };
            properties.insert(name, schema);
        }
    }
    json!({ "type": "object", "additionalProperties": false, "required": ["type"], "properties": properties })
}
