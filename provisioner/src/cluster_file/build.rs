//! From the typed graph to pools: which machines there are, what stands on them, with which values.
//!
//! A pool's recipes are the software nodes that are hosted on it, each after all that it needs, then the further
//! recipes that the cluster file names.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use super::Warning;
use super::labels;
use super::provider::Provider;
use super::range;
use crate::diagnostic::{Flaw, Place, Problem};
use crate::names::{ClusterName, ImageName, PoolName, RecipeName, Zone};
use crate::quantity::{Cpu, Memory};
use crate::spec::{Network, Pool, Role, Shape, Spec};
use crate::tosca::topology::{Policy, Topology, Vertex};
use crate::tree::read::{self, Problems};
use crate::tree::{Key, Node};

const FRONT_END: &str = "continuum.nodes.FrontEnd";
const WORKER_POOL: &str = "continuum.nodes.WorkerPool";
const WORKER_POOLS: &str = "continuum.nodes.WorkerPools";
const RECIPE: &str = "continuum.nodes.Recipe";
const HOSTED_ON: &str = "tosca.relationships.HostedOn";
const SCALING: &str = "continuum.policies.Scaling";

type RecipeInputs = BTreeMap<RecipeName, BTreeMap<String, serde_json::Value>>;

/// What a topology says of a [`Spec`].
#[derive(Debug, Default)]
pub(super) struct Parts {
    pub(super) pools: BTreeMap<PoolName, Pool>,
    /// Where the size of each pool is written.
    pub(super) sizes: BTreeMap<PoolName, Place>,
    expose: Vec<u16>,
    inputs: RecipeInputs,
}

impl Parts {
    pub(super) fn into_spec(self, cluster: ClusterName, provider: Provider, operators: Vec<String>) -> Spec {
        Spec {
            cluster,
            network: Network { internet: provider.internet, expose: self.expose },
            provider: provider.config,
            pools: self.pools,
            expires: None,
            operators,
            inputs: self.inputs,
        }
    }
}

/// Where the values of a pool are read, and what is noted on the way.
struct Reader<'a> {
    any_size: bool,
    problems: &'a mut Problems,
    warnings: &'a mut Vec<Warning>,
}

/// Reads the graph. `any_size`: the cloud takes sizes by numbers, and has neither flavors nor zones.
pub(super) fn parts(
    topology: &Topology,
    any_size: bool,
    problems: &mut Problems,
    warnings: &mut Vec<Warning>,
) -> Parts {
    let mut parts = Parts::default();
    let mut reader = Reader { any_size, problems, warnings };
    let mut places: BTreeMap<PoolName, Key> = BTreeMap::new();
    let scaled = scaled(topology);
    for (at, vertex) in topology.nodes.iter().enumerate() {
        for Found { key, mut pool, recipes: own, size, count } in reader.pools(vertex) {
            let Some(name) = reader.pool_name(&key) else { continue };
            if let Some(count) = count.filter(|_| pool.is_elastic() && !scaled.contains(&at)) {
                reader.problems.push(not_scaled(&key, &count, &pool, &vertex.name));
            }
            if let Some(first) = places.insert(name.clone(), key.clone()) {
                let problem = Problem::at(&key.place, format!("there are two pools {:?}", key.name));
                reader.problems.push(problem.note(&first.place, "the other one").help("rename one of them"));
            }
            pool.recipes = hosted(topology, at, own, reader.problems);
            parts.sizes.insert(name.clone(), size);
            parts.pools.insert(name, pool);
        }
        if vertex.is_a(FRONT_END) {
            let ports = vertex.properties.get("expose").and_then(Node::list).unwrap_or_default();
            parts.expose.extend(ports.iter().filter_map(|port| port.text()?.parse::<u16>().ok()));
        }
    }
    parts.inputs = recipe_inputs(topology, reader.problems);
    front_ends(topology, reader.problems);
    for policy in &topology.policies {
        if !is_scaling(policy) {
            let message = format!("policy {:?} is not enforced", policy.name.name);
            reader.warnings.push(Problem::at(&policy.name.place, message));
        }
    }
    parts
}

fn is_scaling(policy: &Policy) -> bool {
    policy.lineage.iter().any(|one| one == SCALING)
}

/// The nodes whose pools may change their size by themselves: those that a scaling policy names.
fn scaled(topology: &Topology) -> BTreeSet<usize> {
    let policies = topology.policies.iter().filter(|policy| is_scaling(policy));
    policies.flat_map(|policy| policy.targets.iter().copied()).collect()
}

/// A range in a template that gives its pools fixed sizes.
fn not_scaled(pool: &Key, count: &Place, asked: &Pool, node: &Key) -> Problem {
    let message = format!("pool {:?} has a range, but no scaling policy of the template names it", pool.name);
    let help = format!(
        "write a plain number, for example {}, or add to the template's policies: {{type: {SCALING}, targets: [{}]}}",
        asked.size.end(),
        node.name
    );
    Problem::at(count, message).note(&node.place, "its node in the template").help(help)
}

/// A cluster has one front-end for now.
fn front_ends(topology: &Topology, problems: &mut Problems) {
    let mut all = topology.nodes.iter().filter(|vertex| vertex.is_a(FRONT_END));
    match (all.next(), all.next()) {
        (None, _) => {
            let problem =
                Problem::of(format!("the template makes no front-end: it has no node of type {FRONT_END}"))
                    .kind(Flaw::Missing);
            problems.push(problem.help("add one to its node_templates"));
        }
        (Some(first), Some(second)) => problems.push(
            Problem::at(&second.name.place, "a second front-end is not built yet")
                .kind(Flaw::NotBuilt)
                .note(&first.name.place, "the first one")
                .help("several front-ends will come; remove one for now"),
        ),
        _ => {}
    }
}

/// Software that is hosted on node `at`, in order, then the pool's own further recipes.
fn hosted(topology: &Topology, at: usize, own: Vec<RecipeName>, problems: &mut Problems) -> Vec<RecipeName> {
    let mut recipes = Vec::new();
    for software in topology.in_order().into_iter().map(|i| &topology.nodes[i]) {
        let here = software.edges.iter().any(|edge| edge.target == at && edge.is_a(HOSTED_ON));
        if here && software.is_a(RECIPE) {
            recipes.extend(recipe_of(software, problems));
        }
    }
    recipes.extend(own);
    let mut seen = BTreeSet::new();
    recipes.retain(|recipe| seen.insert(recipe.clone()));
    recipes
}

fn recipe_of(software: &Vertex, problems: &mut Problems) -> Option<RecipeName> {
    read::parsed(software.properties.get("recipe")?, "recipe", problems)
}

/// The values that the template gives to recipes. Two nodes of one recipe may not contradict each other.
fn recipe_inputs(topology: &Topology, problems: &mut Problems) -> RecipeInputs {
    let mut all = RecipeInputs::new();
    for software in topology.nodes.iter().filter(|vertex| vertex.is_a(RECIPE)) {
        let Some(recipe) = recipe_of(software, problems) else { continue };
        if let Some(inputs) = software.properties.get("inputs") {
            put_inputs(all.entry(recipe.clone()).or_default(), &recipe, inputs, problems);
        }
    }
    // Last, so that a contradiction is shown where the cluster file has it.
    for front_end in topology.nodes.iter().filter(|vertex| vertex.is_a(FRONT_END)) {
        for entry in front_end.properties.get("recipe_inputs").and_then(Node::map).unwrap_or_default() {
            match RecipeName::new(&entry.key.name) {
                Ok(recipe) => {
                    put_inputs(all.entry(recipe.clone()).or_default(), &recipe, &entry.value, problems)
                }
                Err(error) => {
                    problems
                        .push(Problem::at(&entry.key.place, format!("recipe {:?} {error}", entry.key.name)));
                }
            }
        }
    }
    all.retain(|_, values| !values.is_empty());
    all
}

fn put_inputs(
    values: &mut BTreeMap<String, serde_json::Value>,
    recipe: &RecipeName,
    given: &Node,
    problems: &mut Problems,
) {
    for entry in given.map().unwrap_or_default() {
        let value = entry.value.to_json();
        match values.insert(entry.key.name.clone(), value.clone()) {
            Some(other) if other != value => {
                let message = format!("input {:?} of recipe {recipe} has two values", entry.key.name);
                let help = format!("the other one is {other}: give one of them");
                problems.push(Problem::at(&entry.key.place, message).help(help));
            }
            _ => {}
        }
    }
}

/// A pool as a node has it.
struct Found {
    /// Its name.
    key: Key,
    pool: Pool,
    /// Further recipes of its own.
    recipes: Vec<RecipeName>,
    /// Where the size of its machines is written.
    size: Place,
    /// Where their number is written; a front-end has none.
    count: Option<Place>,
}

impl Reader<'_> {
    /// The pools that a node stands for.
    fn pools(&mut self, vertex: &Vertex) -> Vec<Found> {
        let named = |name: &str| vertex.properties.get(name);
        if vertex.is_a(FRONT_END) {
            let Some(node) = named("machine") else { return Vec::new() };
            // A front-end has its size beside its other values, a pool in `shape`.
            let shape = self.shape(node, node, &vertex.name.name, "cpu: 2, memory: 4Gi");
            let pool = self.pool(node, Role::FrontEnd, 1..=1, shape);
            let (key, size) = (vertex.name.clone(), node.place.clone());
            return vec![Found { key, pool, recipes: self.recipes(node), size, count: None }];
        }
        let entries: Vec<(Key, &Node)> = if vertex.is_a(WORKER_POOL) {
            named("pool").map(|node| (vertex.name.clone(), node)).into_iter().collect()
        } else if vertex.is_a(WORKER_POOLS) {
            let map = named("pools").and_then(Node::map).unwrap_or_default();
            map.iter().map(|entry| (entry.key.clone(), &entry.value)).collect()
        } else {
            Vec::new()
        };
        let mut pools = Vec::new();
        for (key, node) in entries {
            let size = node.get("shape");
            let shape = self.shape(size.unwrap_or(node), node, &key.name, "shape: {cpu: 2, memory: 4Gi}");
            let count = node.get("count");
            let machines = count.and_then(Node::text).and_then(range::size);
            let pool = self.pool(node, Role::Worker, machines.unwrap_or(0..=0), shape);
            let (recipes, size) = (self.recipes(node), size.unwrap_or(node).place.clone());
            pools.push(Found { key, pool, recipes, size, count: count.map(|count| count.place.clone()) });
        }
        pools
    }

    fn pool_name(&mut self, key: &Key) -> Option<PoolName> {
        match PoolName::new(&key.name) {
            Ok(name) => Some(name),
            Err(error) => {
                self.problems.push(Problem::at(&key.place, format!("pool {:?} {error}", key.name)));
                None
            }
        }
    }

    fn pool(&mut self, node: &Node, role: Role, size: RangeInclusive<u32>, shape: Option<Shape>) -> Pool {
        let texts = |name: &str| -> Vec<String> {
            let items = node.get(name).and_then(Node::list).unwrap_or_default();
            items.iter().filter_map(Node::text).map(str::to_owned).collect()
        };
        if let Some(zones) = node.entry("zones").filter(|_| self.any_size && !texts("zones").is_empty()) {
            self.problems.push(
                Problem::at(&zones.key.place, "the sandbox has no zones")
                    .help("remove them: it is one computer"),
            );
        }
        Pool {
            role,
            size,
            shapes: shape.into_iter().collect(),
            image: ImageName(node.get("image").and_then(Node::text).unwrap_or_default().to_owned()),
            zones: texts("zones").into_iter().map(Zone).collect(),
            labels: self.labels(node),
            taints: texts("taints"),
            recipes: Vec::new(),
            steps: Vec::new(),
            baked: None,
        }
    }

    /// The size of the machines: by numbers (in `size`) or by a flavor's name. `example` is what to write.
    fn shape(&mut self, size: &Node, node: &Node, pool: &str, example: &str) -> Option<Shape> {
        if let Some(flavor) = node.entry("flavor") {
            // A provider that could not be read was reported; whether it has flavors is not known then.
            if self.any_size {
                let problem = Problem::at(&flavor.key.place, "the sandbox has no flavors");
                self.problems.push(problem.help(format!("give a size instead: {example}")));
            }
            return None;
        }
        let missing = match (size.get("cpu"), size.get("memory")) {
            (Some(cpu), Some(memory)) => {
                return Some(Shape::of(
                    read::parsed::<Cpu>(cpu, "cpu", self.problems)?,
                    read::parsed::<Memory>(memory, "memory", self.problems)?,
                ));
            }
            (Some(_), None) => "the memory",
            (None, Some(_)) => "the cpu",
            (None, None) => "the size",
        };
        let message = format!("{missing} of pool {pool:?} is missing");
        self.problems
            .push(Problem::at(&node.place.beginning(), message).kind(Flaw::Missing).expected(example));
        None
    }

    fn recipes(&mut self, node: &Node) -> Vec<RecipeName> {
        let items = node.get("recipes").and_then(Node::list).unwrap_or_default();
        items.iter().filter_map(|item| read::parsed(item, "recipes", self.problems)).collect()
    }

    fn labels(&mut self, node: &Node) -> BTreeMap<String, String> {
        let mut found = BTreeMap::new();
        for entry in node.get("labels").and_then(Node::map).unwrap_or_default() {
            let name = &entry.key.name;
            self.problems.extend(labels::problem(&entry.key));
            found.insert(name.clone(), entry.value.text().unwrap_or_default().to_owned());
        }
        found
    }
}
