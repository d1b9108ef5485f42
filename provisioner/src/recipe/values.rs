//! The names that a template may use.
//!
//! | name | stage image | what |
//! | --- | --- | --- |
//! | `input.NAME` | yes | this recipe's inputs |
//! | `inputs.RECIPE.NAME` | yes | the inputs of the recipes on this machine |
//! | `artifact.NAME` | yes | path of an artifact that the step names, on the machine |
//! | `image.NAME`, `version.NAME` | yes | an artifact's image reference, its version |
//! | `arch` | yes | `amd64`, `arm64` |
//! | `host` | no | `name, pool, role, machine, provider_id, address, cpu_millis, memory_bytes, zone` |
//! | `pool` | no | `name, labels, taints` |
//! | `front_ends`, `operator_addresses` | no | `[{name, address}]`, addresses as text |
//! | `cluster`, `provider`, `internet` | no | `{id, name}`, `sandbox`, whether machines reach the outside |
//! | `reserved` | no | `cpu_millis, memory_bytes`: all reservations of this machine's recipes |

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{Host, Recipe};
use crate::names::RecipeName;
use crate::spec::Role;

/// What a pool's machines have in common, for templates.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct PoolValues {
    pub(super) role: Role,
    /// Its recipes, needed ones first.
    pub(super) recipes: Vec<RecipeName>,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) taints: Vec<String>,
    pub(super) cpu_millis: u64,
    pub(super) memory_bytes: u64,
}

/// Inputs by recipe, complete.
pub(super) type Inputs = BTreeMap<RecipeName, BTreeMap<String, Value>>;

/// What every template of the recipe may use. `artifacts` are those of one step: name and path.
pub(super) fn image(recipe: &Recipe, inputs: &Inputs, arch: &str, artifacts: &[(String, String)]) -> Map<String, Value> {
    let own = inputs.get(recipe.name()).cloned().unwrap_or_default();
    let declared = &recipe.file.artifacts;
    let images: BTreeMap<_, _> = declared.iter().filter_map(|a| Some((&a.name, a.image.as_ref()?))).collect();
    let versions: BTreeMap<_, _> = declared.iter().map(|a| (&a.name, &a.version)).collect();
    let paths: BTreeMap<_, _> = artifacts.iter().map(|(name, path)| (name, path)).collect();
    object(json!({
        "input": own, "inputs": inputs, "artifact": paths, "image": images, "version": versions, "arch": arch,
    }))
}

/// What only a machine's own scripts may use.
pub(super) fn node(host: &Host, pool: &PoolValues, provider: &str, internet: bool) -> Map<String, Value> {
    let cluster_name = host.cluster.name().map_or_else(|| host.cluster.to_string(), |name| name.to_string());
    let front_ends: Vec<_> =
        host.front_ends.iter().map(|(name, address)| json!({"name": name, "address": address})).collect();
    object(json!({
        "host": {
            "name": host.name, "pool": host.pool, "role": host.role, "machine": host.machine,
            "provider_id": format!("continuum://{provider}/{}", host.machine),
            "address": host.address, "cpu_millis": host.shape.cpu.millis,
            "memory_bytes": host.shape.memory.bytes, "zone": host.zone,
        },
        "pool": {"name": host.pool, "labels": pool.labels, "taints": pool.taints},
        "front_ends": front_ends,
        "operator_addresses": host.operator_addresses,
        "cluster": {"id": host.cluster, "name": cluster_name},
        "provider": provider,
        "internet": internet,
        "reserved": {"cpu_millis": pool.cpu_millis, "memory_bytes": pool.memory_bytes},
    }))
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}
