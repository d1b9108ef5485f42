//! The keys of `autoscaler:` as a table: the reader checks by it, and the JSON Schema is made from it.

use serde_json::{Map, Value, json};

use super::super::scalars::{CPU, MEMORY};
use crate::policy::Policy;

/// What a value is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    /// A duration.
    Span,
    /// A whole number from 0 to this.
    Whole(u32),
    /// A whole number, also below 0.
    Integer,
    /// `true` or `false`.
    Switch,
    /// An amount of cpu.
    Cpu,
    /// An amount of memory.
    Memory,
    /// What an hour costs.
    Price,
    /// One of these.
    Word(&'static [&'static str]),
    /// A list of texts.
    Texts,
    /// A mapping with these keys.
    Fields(&'static [Field]),
    /// A mapping by names of this sort.
    By(Sort, &'static Kind),
}

/// What a mapping's keys are names of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sort {
    /// Pools.
    Pool,
    /// Shapes, which are whatever a cloud calls them.
    Shape,
}

/// One key.
#[derive(Debug, Clone, Copy)]
pub(super) struct Field {
    /// As it is written.
    pub(super) name: &'static str,
    /// For people, and for the JSON Schema.
    pub(super) description: &'static str,
    /// What its value is.
    pub(super) kind: Kind,
    /// Whether it must be there.
    pub(super) required: bool,
}

const fn field(name: &'static str, description: &'static str, kind: Kind) -> Field {
    Field { name, description, kind, required: false }
}

const fn required(name: &'static str, description: &'static str, kind: Kind) -> Field {
    Field { name, description, kind, required: true }
}

const NUMBER: Kind = Kind::Whole(u32::MAX);

/// All keys of `autoscaler:`, in the order in which people write them.
pub(super) const FIELDS: &[Field] = &[
    field("idle", "how long a node must have had nothing to do before it goes", Kind::Span),
    field(
        "head_room",
        "room that is kept free: {slots: 1, of: {cpu: 1, memory: 2Gi}}",
        Kind::Fields(HEAD_ROOM),
    ),
    field("max", "how large all elastic pools together may become", Kind::Fields(MAX)),
    field(
        "pools",
        "what single pools have of their own: {NAME: {idle: 10m}}",
        Kind::By(Sort::Pool, &Kind::Fields(POOL)),
    ),
    field("rate", "how fast the cluster may change", Kind::Fields(RATE)),
    field(
        "under_used",
        "percent of cpu or memory below which a node's pods may be moved; 0 for never",
        Kind::Whole(100),
    ),
    field("unwanted_boot", "how long a machine that boots may be wanted by nobody", Kind::Span),
    field("drain_timeout", "how long a drain may take before it is called off", Kind::Span),
    field("destroy_per_hour", "nodes that may be removed within an hour", NUMBER),
    field("expander", "by what shapes are compared", Kind::Word(&["auto", "price", "weight"])),
    field("prices", "what an hour of a shape costs: {2x4Gi: 0.0416}", Kind::By(Sort::Shape, &Kind::Price)),
    field("weights", "what a core and a gibibyte weigh where there are no prices", Kind::Fields(WEIGHTS)),
    field(
        "boot_aware",
        "whether a node is bought only if it would still be needed once it is ready",
        Kind::Switch,
    ),
    field("expendable_below", "pods of lower priority buy no node", Kind::Integer),
    field("bypassed_schedulers", "schedulers that do not say that a pod is unschedulable", Kind::Texts),
    field("startup_taints", "taints that agents of the cluster take away when a node is up", Kind::Texts),
];

const HEAD_ROOM: &[Field] =
    &[required("slots", "how many", NUMBER), required("of", "of which size", Kind::Fields(SLOT))];
const SLOT: &[Field] = &[
    required("cpu", "processors of a slot", Kind::Cpu),
    required("memory", "memory of a slot", Kind::Memory),
];
const MAX: &[Field] = &[
    field("nodes", "machines", NUMBER),
    field("cpu", "processors of their shapes", Kind::Cpu),
    field("memory", "memory of their shapes", Kind::Memory),
    field("price", "what they cost in an hour", Kind::Price),
];
const POOL: &[Field] = &[field("idle", "in place of the cluster's", Kind::Span)];
const RATE: &[Field] = &[
    field("up", "machines added within a minute", NUMBER),
    field("down", "nodes removed within a minute", NUMBER),
    field("booting", "machines that boot at the same time", NUMBER),
];
const WEIGHTS: &[Field] =
    &[required("cpu", "what a core weighs", NUMBER), required("memory", "what a gibibyte weighs", NUMBER)];

/// JSON Schema of `autoscaler:`, with the defaults of a policy.
pub(super) fn schema() -> Value {
    let defaults = serde_json::to_value(Policy::default()).unwrap_or_default();
    of_fields(FIELDS, &defaults)
}

fn of_fields(fields: &[Field], defaults: &Value) -> Value {
    let mut properties = Map::new();
    for field in fields {
        let default = &defaults[field.name];
        let mut schema = of_kind(field.kind, default);
        schema["description"] = field.description.into();
        let says_much = !matches!(default, Value::Null | Value::Object(_) | Value::Array(_));
        if says_much {
            schema["default"] = default.clone();
        }
        properties.insert(field.name.into(), schema);
    }
    let required: Vec<&str> = fields.iter().filter(|field| field.required).map(|field| field.name).collect();
    let mut schema = json!({ "type": "object", "additionalProperties": false, "properties": properties });
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}

fn of_kind(kind: Kind, defaults: &Value) -> Value {
    match kind {
        Kind::Span => json!({ "type": "string", "pattern": "^[0-9]+ ?[a-zA-Z]+( ?[0-9]+ ?[a-zA-Z]+)*$" }),
        Kind::Whole(most) => json!({ "type": "integer", "minimum": 0, "maximum": most }),
        Kind::Integer => json!({ "type": "integer" }),
        Kind::Switch => json!({ "type": "boolean" }),
        Kind::Cpu => (CPU.schema)(),
        Kind::Memory => (MEMORY.schema)(),
        Kind::Price => {
            json!({ "type": ["number", "string"], "minimum": 0, "pattern": r"^[0-9]+(\.[0-9]{0,6})?$" })
        }
        Kind::Word(words) => json!({ "enum": words }),
        Kind::Texts => json!({ "type": "array", "items": { "type": "string" } }),
        Kind::Fields(fields) => of_fields(fields, defaults),
        Kind::By(_, kind) => {
            json!({ "type": "object", "additionalProperties": of_kind(*kind, &Value::Null) })
        }
    }
}
