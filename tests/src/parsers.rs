//! Every parser of data that comes from outside, as a function of bytes: what `fuzz/` feeds with chance, and
//! `tests/tests/corpus.rs` with what is kept in `tests/corpus/`.
//!
//! A parser may refuse anything, with at least one problem; it may not panic, hang or fill the memory. Where it takes
//! a text, what it made of it must be written and read again as the same value.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::Path;

use provisioner::bundle::manifest::Manifest;
use provisioner::bundle::reference::Reference;
use provisioner::cluster_file::{self, Shelf};
use provisioner::diagnostic::{Place, Source, render};
use provisioner::ledger::Ledger;
use provisioner::names::{ClusterName, MachineName, StepId};
use provisioner::provider::sandbox::wire;
use provisioner::quantity::{Cpu, Memory};
use provisioner::recipe::{self, Cookbook, Recipe};
use provisioner::templates::Templates;
use provisioner::tosca::{self, File};
use provisioner::tree::Node;
use provisioner::{bundle, duration, remote};
use serde::{Serialize, de::DeserializeOwned};

/// A parser under test.
pub type Target = fn(&[u8]);

/// All of them; each has a fuzz target and a folder of `tests/corpus/` of its name.
pub const TARGETS: &[(&str, Target)] = &[
    ("cluster_file", cluster_file),
    ("tosca", tosca),
    ("recipe", recipe),
    ("bundle_manifest", bundle_manifest),
    ("agent_api", agent_api),
    ("remote_wire", remote_wire),
    ("ledger", ledger),
    ("quantities", quantities),
];

/// The texts that ship are read once: reading them anew for each input would be all that is measured.
fn templates() -> &'static Templates {
    static ONCE: std::sync::OnceLock<Templates> = std::sync::OnceLock::new();
    ONCE.get_or_init(Templates::embedded)
}

fn no_file(_: &str, path: &str) -> Result<File, String> {
    Err(format!("there is no file {path}"))
}

fn shelf() -> Shelf<'static> {
    Shelf { read: &no_file, ..templates().shelf() }
}

/// A cluster file, up to its `Spec`.
pub fn cluster_file(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match cluster_file::read(text, "cluster.yaml", shelf()) {
        Ok(loaded) => drop(black_box(loaded)),
        Err(problems) => {
            assert!(!problems.is_empty(), "refused without a reason");
            black_box(render(&problems, true));
        }
    }
}

/// A service template, up to its graph without inputs and what is told of it.
pub fn tosca(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let file = File { name: "template.yaml".into(), text: text.into() };
    match tosca::read(&file, shelf().library()) {
        Ok(template) => {
            black_box((template.describe(), template.schema()));
            let source = std::sync::Arc::new(Source { name: "inputs".into(), text: String::new() });
            let mut problems = Vec::new();
            let topology = template.topology(&Node::empty_map(&Place::new(&source, 0, 0)), &mut problems);
            assert!(topology.is_some() || !problems.is_empty(), "refused without a reason");
            black_box(render(&problems, false));
        }
        Err(problems) => {
            assert!(!problems.is_empty(), "refused without a reason");
            black_box(render(&problems, false));
        }
    }
}

/// A recipe, up to its rendered scripts.
pub fn recipe(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let texts = BTreeMap::from([("recipe.yaml".to_owned(), text.to_owned())]);
    match Recipe::parse("recipes/fuzzed", texts) {
        Ok(recipe) => {
            let name = recipe.name().clone();
            if let Ok(book) = Cookbook::new([recipe]) {
                black_box(recipe::check(&book, &[name], |_| Ok(vec![])));
            }
        }
        Err(problems) => assert!(!problems.is_empty(), "refused without a reason"),
    }
}

/// A bundle's manifest; a sound one is written as it is read.
pub fn bundle_manifest(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let read = |text: &str| bundle::parse_manifest(text, Path::new("manifest.json"));
    if let Ok(manifest) = read(text) {
        let again: Manifest = read(&manifest.to_json()).expect("what it wrote itself");
        assert_eq!(manifest, again);
    }
}

/// The bodies that the sandbox's agent takes, and those that its client takes of it.
pub fn agent_api(data: &[u8]) {
    fn body<T: Serialize + DeserializeOwned>(data: &[u8]) {
        let Ok(value) = serde_json::from_slice::<T>(data) else { return };
        let written = serde_json::to_value(&value).expect("it was JSON");
        let again: T = serde_json::from_value(written.clone()).expect("what it wrote itself");
        assert_eq!(written, serde_json::to_value(&again).expect("it was JSON"));
    }
    body::<wire::CreateRequest>(data);
    body::<wire::ScaffoldRequest>(data);
    body::<wire::CheckRequest>(data);
    body::<wire::CaptureRequest>(data);
    body::<wire::StopRequest>(data);
    body::<wire::FaultsRequest>(data);
    body::<wire::FaultsStatus>(data);
    body::<wire::Pair>(data);
    body::<wire::Status>(data);
    body::<wire::Access>(data);
    body::<wire::Cloud>(data);
    body::<provisioner::provider::Config>(data);
    body::<provisioner::provider::ProviderError>(data);
    body::<provisioner::provider::Machine>(data);
}

/// What a machine answers over SSH.
pub fn remote_wire(data: &[u8]) {
    black_box(remote::count_events(data)).ok();
}

/// A ledger; a sound one is written as it is read.
pub fn ledger(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(ledger) = Ledger::from_json(text) {
        let written = ledger.to_json().expect("a ledger");
        assert_eq!(ledger, Ledger::from_json(&written).expect("what it wrote itself"));
    }
}

/// Amounts, durations, names and references: whatever is one word.
pub fn quantities(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(cpu) = text.parse::<Cpu>() {
        assert_eq!(cpu.to_string().parse(), Ok(cpu));
    }
    if let Ok(memory) = text.parse::<Memory>() {
        assert_eq!(memory.to_string().parse(), Ok(memory));
        black_box(memory.short());
    }
    if let Ok(quantity) = text.parse::<autoscaler::quantity::Quantity>() {
        black_box((quantity.milli(), quantity.value(), quantity.plus(quantity)));
    }
    if let Ok(duration) = duration::parse(text) {
        black_box((duration::short(duration), duration::took(duration)));
    }
    if let Ok(reference) = Reference::parse(text) {
        black_box((reference.digest(), reference.api()));
    }
    black_box((text.parse::<ClusterName>(), text.parse::<MachineName>(), text.parse::<StepId>())).0.ok();
}
