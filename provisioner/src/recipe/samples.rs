//! A cluster that is nobody's: enough to render every script of a recipe before there is a real one.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use serde_json::{Value, json};

use super::model::{Input, InputKind};
use super::{Blobs, Cookbook, Host, Recipe};
use crate::names::{
    ClusterId, ClusterName, ImageName, MachineId, MachineName, NameError, PoolName, RecipeName,
};
use crate::provider;
use crate::quantity::{Cpu, Memory};
use crate::remote::Blob;
use crate::spec::{Network, Pool, Role, Shape, Spec};

/// A cluster of one front-end and one worker with the recipes, and values for every input without a default.
pub(super) fn spec(recipes: &[RecipeName], cookbook: &Cookbook) -> Result<Spec, NameError> {
    let pool = |role| Pool {
        role,
        size: 1..=1,
        shapes: vec![shape()],
        image: ImageName::from("debian-12"),
        zones: vec![],
        labels: BTreeMap::from([("example.org/kind".to_owned(), "it's a sample".to_owned())]),
        taints: vec!["example.org/sample=yes:NoSchedule".into()],
        recipes: recipes.to_vec(),
        steps: vec![],
        baked: None,
    };
    let ordered = cookbook.order(recipes).unwrap_or_default();
    let inputs = |recipe: &Recipe| {
        let required = recipe.file.inputs.iter().filter(|(_, input)| input.default.is_none());
        required.map(|(name, input)| (name.clone(), sample(input))).collect()
    };
    Ok(Spec {
        cluster: ClusterName::new("sample")?,
        provider: provider::Config::Sandbox(provider::sandbox::Config::default()),
        network: Network { internet: false, expose: vec![6443] },
        pools: BTreeMap::from([
            (PoolName::new("front-end")?, pool(Role::FrontEnd)),
            (PoolName::new("workers")?, pool(Role::Worker)),
        ]),
        expires: None,
        operators: Vec::new(),
        inputs: ordered.into_iter().map(|recipe| (recipe.name().clone(), inputs(recipe))).collect(),
    })
}

fn shape() -> Shape {
    Shape::of(Cpu::cores(2), Memory::gib(4))
}

fn sample(input: &Input) -> Value {
    match input.kind {
        InputKind::String => json!("sample"),
        InputKind::Integer => json!(1),
        InputKind::Boolean => json!(true),
        InputKind::Cidr => json!("10.0.0.0/16"),
        InputKind::List => json!(["a sample"]),
        InputKind::Map => json!({"sample": "value"}),
    }
}

/// Every artifact of the recipes, as if it were in a bundle. The hash is one of nothing.
pub(super) fn blobs<'a>(recipes: impl Iterator<Item = &'a Recipe>) -> Blobs {
    let artifacts = recipes.flat_map(|recipe| &recipe.file.artifacts);
    let blob = |name: &String| {
        let letters =
            name.bytes().fold(0_u64, |sum, byte| sum.wrapping_mul(257).wrapping_add(u64::from(byte)));
        Blob { sha256: format!("{letters:064x}"), size: 1, path: PathBuf::from("/nonexistent") }
    };
    let files = artifacts.map(|artifact| (artifact.name.clone(), blob(&artifact.name))).collect();
    Blobs { arch: "amd64".into(), files }
}

/// The only machine of a pool.
pub(super) fn host(spec: &Spec, name: &PoolName, pool: &Pool) -> Result<Host, NameError> {
    let address = |last| IpAddr::V4(Ipv4Addr::new(192, 0, 2, last));
    let front_end = MachineName::of(&spec.cluster, &PoolName::new("front-end")?, 1)?;
    Ok(Host {
        cluster: ClusterId::of(&spec.cluster, "00000000")?,
        name: MachineName::of(&spec.cluster, name, 1)?,
        pool: name.clone(),
        role: pool.role,
        machine: MachineId::from("m-1"),
        address: address(if pool.role == Role::FrontEnd { 10 } else { 11 }),
        shape: shape(),
        zone: None,
        front_ends: vec![(front_end, address(10))],
        operator_addresses: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
    })
}
