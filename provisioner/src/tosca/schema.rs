//! JSON Schema of typed values, for editors: the same tables that the reader checks with.

use serde_json::{Map, Value, json};

use super::constraint::{Comparison, Constraint};
use super::model::{Definition, Schema, TypeKind};
use super::scalar;
use super::value::Checker;
use crate::tree::Node;

/// A data type that holds itself is open below this depth.
const DEEPEST: usize = 12;

/// Of a mapping with these definitions.
pub fn of_fields(definitions: &[Definition], checker: Checker<'_>) -> Value {
    fields(definitions, checker, 0)
}

fn fields(definitions: &[Definition], checker: Checker<'_>, depth: usize) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for definition in definitions {
        let mut schema = value(&definition.schema, checker, depth + 1);
        if let Some(object) = schema.as_object_mut() {
            if !definition.description.is_empty() {
                object.insert("description".into(), definition.description.clone().into());
            }
            if let Some(default) = &definition.default {
                object.insert("default".into(), default.to_json());
            }
        }
        if definition.required && definition.default.is_none() {
            required.push(definition.name.name.clone());
        }
        properties.insert(definition.name.name.clone(), schema);
    }
    let mut schema = json!({ "type": "object", "additionalProperties": false, "properties": properties });
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}

fn value(schema: &Schema, checker: Checker<'_>, depth: usize) -> Value {
    if depth > DEEPEST {
        return json!({});
    }
    let inner = schema.entry.as_ref().map(|entry| value(entry, checker, depth + 1));
    let mut out = match schema.type_name.name.as_str() {
        "list" => json!({ "type": "array", "items": inner.unwrap_or_else(|| json!({})) }),
        "map" => json!({ "type": "object", "additionalProperties": inner.unwrap_or_else(|| json!({})) }),
        name => match (scalar::find(name, checker.scalars), checker.types.get(TypeKind::Data, name)) {
            (Some(kind), _) => (kind.schema)(),
            (None, Some(flat)) => {
                let base = flat.lineage.iter().find_map(|one| scalar::find(one, checker.scalars));
                let mut out = match base {
                    Some(kind) => (kind.schema)(),
                    None => fields(&flat.def.properties, checker, depth),
                };
                constrain(&mut out, &flat.def.constraints);
                out
            }
            (None, None) => json!({}),
        },
    };
    constrain(&mut out, &schema.constraints);
    out
}

/// Conditions that JSON Schema can say; the others are left to the reader.
fn constrain(schema: &mut Value, constraints: &[Constraint]) {
    let number = |node: &Node| Some(node.to_json()).filter(Value::is_number);
    for constraint in constraints {
        match constraint {
            Constraint::Equal(node) => schema["const"] = node.to_json(),
            Constraint::ValidValues(nodes) => schema["enum"] = nodes.iter().map(Node::to_json).collect(),
            Constraint::Pattern(regex) => schema["pattern"] = json!(regex.as_str()),
            Constraint::Compare(how, limit) => {
                let key = match how {
                    Comparison::Greater => "exclusiveMinimum",
                    Comparison::AtLeast => "minimum",
                    Comparison::Less => "exclusiveMaximum",
                    Comparison::AtMost => "maximum",
                };
                if let Some(limit) = number(limit) {
                    schema[key] = limit;
                }
            }
            Constraint::InRange(low, high) => {
                for (key, bound) in [("minimum", low), ("maximum", high)] {
                    if let Some(limit) = bound.as_ref().and_then(number) {
                        schema[key] = limit;
                    }
                }
            }
            Constraint::Length(least, most) => length(schema, *least, *most),
        }
    }
}

fn length(schema: &mut Value, least: u64, most: u64) {
    let (low, high) = match schema["type"].as_str() {
        Some("array") => ("minItems", "maxItems"),
        Some("object") => ("minProperties", "maxProperties"),
        _ => ("minLength", "maxLength"),
    };
    if least > 0 {
        schema[low] = json!(least);
    }
    if most < u64::MAX {
        schema[high] = json!(most);
    }
}
