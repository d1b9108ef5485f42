//! `cluster.yaml`: what people write, with every problem at once and its place.
//!
//! ```text
//! cluster.yaml -> keys, provider -┐
//! template ------> tosca: inputs -┴-> Topology -> build: pools, recipes -> Spec
//!                                     autoscaler, against the pools ----> Policy
//! ```
//! Pure: texts go in, a [`Spec`] comes out. Invariants: a key that is not built is refused and never ignored; the
//! values under `inputs` are typed by the template; a [`Spec`] is given only if nothing at all is wrong.

mod build;
pub mod keys;
mod labels;
mod operators;
mod provider;
mod range;
pub mod scalars;
mod scaling;
pub mod schema;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::diagnostic::{Flaw, Place, Problem, did_you_mean, one_of};
use crate::names::{ClusterName, PoolName};
use crate::policy::Policy;
use crate::spec::{Pool, Spec};
use crate::tosca::topology::Output;
use crate::tosca::{self, File, Library};
use crate::tree::Node;
use crate::tree::read::{self, Problems};
use crate::yaml;
use keys::{KEYS, State};

/// Something that is allowed and probably not meant; shown as a [`Problem`] is, and stops nothing.
pub type Warning = Problem;

/// Where templates come from. The shell fills it: this module reads no file.
#[derive(Clone, Copy)]
pub struct Shelf<'a> {
    /// The templates that ship, by name.
    pub shipped: &'a BTreeMap<String, File>,
    /// The types that every template has.
    pub profiles: &'a [File],
    /// Gives the file `path` as seen from the file `from`, or says why not.
    pub read: &'a dyn Fn(&str, &str) -> Result<File, String>,
}

impl<'a> Shelf<'a> {
    /// What a template may refer to.
    pub fn library(&self) -> Library<'a> {
        Library { profiles: self.profiles, scalars: &scalars::SCALARS, import: self.read }
    }

    /// The template that a cluster file or a person names: a shipped one, or a path as seen from `from`.
    pub fn template(&self, from: &str, name: &str) -> Result<File, Missing> {
        if name.contains('/') || name.ends_with(".yaml") || name.ends_with(".yml") {
            return (self.read)(from, name).map_err(Missing::Unreadable);
        }
        if name.ends_with(".j2") {
            return Err(Missing::NotBuilt);
        }
        self.shipped.get(name).cloned().ok_or(Missing::Unknown)
    }
}

/// Why there is no such template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Missing {
    /// No template of this name ships.
    Unknown,
    /// The file cannot be read, and why.
    Unreadable(String),
    /// A template of a template.
    NotBuilt,
}

/// A cluster file that is right.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// What it asks for. The pools' steps are filled later, from recipes.
    pub spec: Spec,
    /// How its elastic pools grow and shrink: it can be obeyed.
    pub policy: Policy,
    /// What is allowed and probably not meant.
    pub warnings: Vec<Warning>,
    /// Where the size of each pool is written: whether it is large enough is for its recipes to say.
    pub sizes: BTreeMap<PoolName, Place>,
    /// What the template tells its user once the machines run. The nodes in it are pools of the same name.
    pub outputs: Vec<Output>,
}

/// [`read`] without the outputs.
pub fn load(text: &str, file: &str, shelf: Shelf<'_>) -> Result<(Spec, Vec<Warning>), Vec<Problem>> {
    read(text, file, shelf).map(|loaded| (loaded.spec, loaded.warnings))
}

/// Reads a cluster file as a whole, or gives every problem in it and in the template that it names.
pub fn read(text: &str, file: &str, shelf: Shelf<'_>) -> Result<Loaded, Vec<Problem>> {
    let root = yaml::parse(text, file)?;
    let mut problems = Vec::new();
    top_level(&root, &mut problems);

    let name = root.get("name").and_then(|node| read::parsed::<ClusterName>(node, "name", &mut problems));
    let provider = root.get("provider").and_then(|node| provider::read(node, &mut problems));
    let template_file = root.get("template").and_then(|node| template(node, file, shelf, &mut problems));
    let template = template_file.and_then(|file| match tosca::read(&file, shelf.library()) {
        Ok(template) => Some(template),
        Err(found) => {
            problems.extend(found);
            None
        }
    });
    let operators =
        root.get("operators").map(|node| operators::read(node, &mut problems)).unwrap_or_default();
    // Without inputs the template's own defaults stand alone; what is missing is missing from the whole file.
    let nothing = Node::empty_map(&root.place);
    let inputs = root.get("inputs").filter(|node| !node.is_null()).unwrap_or(&nothing);
    let topology = template.and_then(|template| template.topology(inputs, &mut problems));

    let mut warnings = Vec::new();
    let parts = topology.as_ref().map(|topology| {
        let any_size = provider.as_ref().is_some_and(provider::Provider::has_any_size);
        build::parts(topology, any_size, &mut problems, &mut warnings)
    });
    let outputs = topology.map(|topology| topology.outputs).unwrap_or_default();
    let pools = parts.as_ref().map(|parts| &parts.pools);
    let policy = policy(&root, pools, &mut problems, &mut warnings);
    match (name, provider, parts, policy) {
        (Some(cluster), Some(provider), Some(mut parts), Some(policy)) if problems.is_empty() => {
            let sizes = std::mem::take(&mut parts.sizes);
            let spec = parts.into_spec(cluster, provider, operators);
            Ok(Loaded { spec, policy, warnings, sizes, outputs })
        }
        _ => Err(problems),
    }
}

/// What the file says of the autoscaler; every value has a default. `pools` are those that could be read.
fn policy(
    root: &Node,
    pools: Option<&BTreeMap<PoolName, Pool>>,
    problems: &mut Problems,
    warnings: &mut Vec<Warning>,
) -> Option<Policy> {
    let Some(entry) = root.entry("autoscaler") else { return Some(Policy::default()) };
    let policy = scaling::read(&entry.value, problems)?;
    scaling::check(entry, &policy, pools, problems, warnings);
    Some(policy)
}

/// Unknown keys, keys that are not built yet, and keys that are missing.
fn top_level(root: &Node, problems: &mut Problems) {
    let known: Vec<&str> =
        KEYS.iter().filter(|key| !matches!(key.state, State::Later(_))).map(|key| key.name).collect();
    let entries = read::map(root, "a cluster file", problems);
    for entry in entries {
        match KEYS.iter().find(|key| key.name == entry.key.name) {
            Some(key) => {
                if let State::Later(word) = key.state {
                    problems.push(read::not_built(&entry.key, "a cluster file", word));
                }
            }
            None => {
                let all = KEYS.iter().map(|key| key.name);
                let problem = read::unknown_key(&entry.key, "a cluster file", &known);
                problems.push(problem.maybe_help(did_you_mean(&entry.key.name, all)));
            }
        }
    }
    if root.map().is_none() && !root.is_null() {
        return;
    }
    for key in KEYS.iter().filter(|key| key.state == State::Required && root.get(key.name).is_none()) {
        if read::misspelled(entries, key.name, &known) {
            continue;
        }
        let problem =
            Problem::at(&root.place.beginning(), format!("{:?} is missing", key.name)).kind(Flaw::Missing);
        problems.push(problem.expected(format!("{}: …", key.name)).help(key.description));
    }
}

fn template(node: &Node, file: &str, shelf: Shelf<'_>, problems: &mut Problems) -> Option<File> {
    let name = read::text(node, "template", problems)?;
    let missing = match shelf.template(file, name) {
        Ok(file) => return Some(file),
        Err(missing) => missing,
    };
    let shipped = shelf.shipped.keys().map(String::as_str);
    problems.push(match missing {
        Missing::Unknown => Problem::at(&node.place, format!("there is no template {name:?}"))
            .kind(Flaw::NotThere)
            .expected(format!("{}, or a path (./mine.yaml)", one_of(shipped.clone())))
            .maybe_help(did_you_mean(name, shipped)),
        Missing::Unreadable(why) => Problem::at(&node.place, format!("template {name:?}: {why}"))
            .kind(Flaw::Unreadable)
            .expected(format!("a file beside {file}, or {}", one_of(shipped))),
        Missing::NotBuilt => Problem::at(&node.place, format!("template {name:?}: .j2 is not built yet"))
            .kind(Flaw::NotBuilt)
            .help("rendered templates will come; write a plain YAML file"),
    });
    None
}
