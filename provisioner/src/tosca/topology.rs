//! Last step: the typed graph. Nodes with checked property values, edges that lead somewhere, policies over nodes,
//! outputs that wait for attributes.
//!
//! Invariants of a [`Topology`]: every edge leads to a node that has what the requirement asks for; there is no
//! cycle; every property is of its type, and every required one is there.

use std::collections::BTreeMap;

use super::model::{Document, NodeTemplate, PolicyTemplate, RequirementDef, RequirementUse, TypeKind};
use super::resolve::{Owner, Resolver};
use super::types::{Flat, Types};
use crate::diagnostic::{Flaw, Problem, did_you_mean, one_of};
use crate::tree::read::Problems;
use crate::tree::{Key, Node};

/// A service template with its inputs put in.
#[derive(Debug, Clone, PartialEq)]
pub struct Topology {
    /// In the order of the template.
    pub nodes: Vec<Vertex>,
    /// In the order of the template.
    pub policies: Vec<Policy>,
    /// In the order of the template.
    pub outputs: Vec<Output>,
}

/// A node of the graph.
#[derive(Debug, Clone, PartialEq)]
pub struct Vertex {
    /// Its name in the template.
    pub name: Key,
    /// Its type, then the ancestors of that, nearest first.
    pub lineage: Vec<String>,
    /// Checked values, defaults included.
    pub properties: BTreeMap<String, Node>,
    /// Checked values of its capabilities' properties.
    pub capabilities: BTreeMap<String, BTreeMap<String, Node>>,
    /// What it needs.
    pub edges: Vec<Edge>,
}

/// An edge: this node needs that one.
#[derive(Debug, Clone, PartialEq)]
pub struct Edge {
    /// The requirement that it fills.
    pub requirement: String,
    /// The relationship type, then its ancestors; empty if neither type nor template names one.
    pub relationship: Vec<String>,
    /// The other node, by its place in [`Topology::nodes`].
    pub target: usize,
    /// Where the template says so.
    pub key: Key,
}

/// A rule over nodes.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// Its name in the template.
    pub name: Key,
    /// Its type, then the ancestors of that.
    pub lineage: Vec<String>,
    /// Checked values, defaults included.
    pub properties: BTreeMap<String, Node>,
    /// The nodes that it is about, by their places in [`Topology::nodes`].
    pub targets: Vec<usize>,
}

/// What the template tells its user: texts to be put one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Its name.
    pub name: String,
    /// For people.
    pub description: String,
    /// Its pieces.
    pub terms: Vec<Term>,
}

/// A piece of an output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Term {
    /// Known already.
    Known(String),
    /// Known once the node runs.
    Attribute {
        /// The node's name in the template.
        node: String,
        /// The attribute.
        name: String,
    },
}

impl Vertex {
    /// Whether the node's type is `name` or derived from it.
    pub fn is_a(&self, name: &str) -> bool {
        self.lineage.iter().any(|one| one == name)
    }
}

impl Edge {
    /// Whether the edge's type is `name` or derived from it.
    pub fn is_a(&self, name: &str) -> bool {
        self.relationship.iter().any(|one| one == name)
    }
}

impl Topology {
    /// Nodes so that each comes after all that it needs, and else in the template's order.
    pub fn in_order(&self) -> Vec<usize> {
        let mut done = vec![false; self.nodes.len()];
        let mut order = Vec::with_capacity(self.nodes.len());
        while order.len() < self.nodes.len() {
            let ready = |i: &usize| !done[*i] && self.nodes[*i].edges.iter().all(|edge| done[edge.target]);
            let Some(next) = (0..self.nodes.len()).find(ready) else { break };
            done[next] = true;
            order.push(next);
        }
        order
    }
}

impl Output {
    /// The text, if every attribute in it is known.
    pub fn text(&self, attribute: impl Fn(&str, &str) -> Option<String>) -> Option<String> {
        let piece = |term: &Term| match term {
            Term::Known(text) => Some(text.clone()),
            Term::Attribute { node, name } => attribute(node, name),
        };
        self.terms.iter().map(piece).collect()
    }
}

/// Builds the graph; `None` if anything was wrong.
pub fn build(
    document: &Document,
    types: &Types,
    mut resolver: Resolver<'_>,
    problems: &mut Problems,
) -> Option<Topology> {
    let before = problems.len();
    let mut nodes = Vec::new();
    for template in &document.nodes {
        nodes.extend(vertex(template, document, types, &mut resolver, problems));
    }
    let policies =
        document.policies.iter().filter_map(|p| policy(p, document, types, &mut resolver, problems));
    let policies = policies.collect();
    let outputs = document.outputs.iter().map(|output| Output {
        name: output.name.name.clone(),
        description: output.description.clone(),
        terms: resolver.terms(&output.value, problems),
    });
    let topology = Topology { nodes, policies, outputs: outputs.collect() };
    if problems.len() == before {
        problems.extend(cycle(&topology));
    }
    (problems.len() == before).then_some(topology)
}

fn vertex(
    template: &NodeTemplate,
    document: &Document,
    types: &Types,
    resolver: &mut Resolver<'_>,
    problems: &mut Problems,
) -> Option<Vertex> {
    let flat = types.find(TypeKind::Node, &template.type_name, problems)?;
    let what = format!("node {:?}", template.name.name);
    let owner = Owner::Node(template.name.name.clone());
    let properties = resolver.properties(&owner, &what, problems);
    let mut capabilities = BTreeMap::new();
    for (key, _) in &template.capabilities {
        if flat.def.capabilities.iter().all(|c| c.name.name != key.name) {
            let known: Vec<&str> = flat.def.capabilities.iter().map(|c| c.name.name.as_str()).collect();
            problems.push(
                Problem::at(&key.place, format!("{what} has no capability {:?}", key.name))
                    .kind(Flaw::NotThere)
                    .expected(one_of(known.iter().copied()))
                    .maybe_help(did_you_mean(&key.name, known)),
            );
        }
    }
    for capability in &flat.def.capabilities {
        let owner = Owner::Capability(template.name.name.clone(), capability.name.name.clone());
        let values = resolver.properties(&owner, &format!("{what}, {}", capability.name.name), problems);
        capabilities.insert(capability.name.name.clone(), values);
    }
    Some(Vertex {
        name: template.name.clone(),
        lineage: flat.lineage.clone(),
        properties,
        capabilities,
        edges: edges(template, flat, document, types, problems),
    })
}

fn edges(
    template: &NodeTemplate,
    flat: &Flat,
    document: &Document,
    types: &Types,
    problems: &mut Problems,
) -> Vec<Edge> {
    let known: Vec<&str> = flat.def.requirements.iter().map(|r| r.name.name.as_str()).collect();
    let mut edges = Vec::new();
    for used in &template.requirements {
        match flat.def.requirements.iter().find(|r| r.name.name == used.name.name) {
            Some(def) => edges.extend(edge(used, def, document, types, problems)),
            None => problems.push(
                Problem::at(
                    &used.name.place,
                    format!("{} has no requirement {:?}", template.type_name.name, used.name.name),
                )
                .kind(Flaw::NotThere)
                .expected(one_of(known.iter().copied()))
                .maybe_help(did_you_mean(&used.name.name, known.iter().copied())),
            ),
        }
    }
    for def in &flat.def.requirements {
        let uses: Vec<_> = template.requirements.iter().filter(|u| u.name.name == def.name.name).collect();
        let count = uses.len() as u64;
        if count < def.least {
            let message = format!("node {:?} needs {:?}", template.name.name, def.name.name);
            let node = def.node.as_ref().map_or("any type", |node| node.name.as_str());
            problems.push(
                Problem::at(&template.name.place, message)
                    .expected(format!("requirements: [{}: NODE], NODE of {node}", def.name.name)),
            );
        }
        if let (Some(most), Some(last)) = (def.most, uses.last())
            && count > most
        {
            let message = format!("{:?} is filled {count} times", def.name.name);
            problems.push(Problem::at(&last.name.place, message).expected(format!("at most {most}")));
        }
    }
    edges
}

/// A requirement leads to a node template that is of the right type and offers the right capability.
fn edge(
    used: &RequirementUse,
    def: &RequirementDef,
    document: &Document,
    types: &Types,
    problems: &mut Problems,
) -> Option<Edge> {
    let target = find_node(&used.target, document, types, problems)?;
    let template = &document.nodes[target];
    let flat = types.get(TypeKind::Node, &template.type_name.name)?;
    if let Some(wanted) = def.node.as_ref().filter(|wanted| !flat.is_a(&wanted.name)) {
        let message = format!("{:?} is of type {}", used.target.name, template.type_name.name);
        problems.push(
            Problem::at(&used.target.place, message).expected(format!("a node of type {}", wanted.name)),
        );
        return None;
    }
    let offers = flat.def.capabilities.iter().any(|capability| {
        let flat = types.get(TypeKind::Capability, &capability.type_name.name);
        let named = used.capability.as_ref().is_none_or(|wanted| {
            wanted.name == capability.name.name || flat.is_some_and(|flat| flat.is_a(&wanted.name))
        });
        named && flat.is_some_and(|flat| flat.is_a(&def.capability.name))
    });
    if !offers {
        let wanted = used.capability.as_ref().map_or(&def.capability.name, |key| &key.name);
        let message = format!("{:?} offers no capability {wanted}", used.target.name);
        problems.push(Problem::at(&used.target.place, message).expected("a node that does"));
        return None;
    }
    let relationship = used.relationship.as_ref().or(def.relationship.as_ref());
    let lineage = match relationship {
        Some(key) => types.find(TypeKind::Relationship, key, problems)?.lineage.clone(),
        None => Vec::new(),
    };
    Some(Edge {
        requirement: used.name.name.clone(),
        relationship: lineage,
        target,
        key: used.target.clone(),
    })
}

fn find_node(key: &Key, document: &Document, types: &Types, problems: &mut Problems) -> Option<usize> {
    let found = document.nodes.iter().position(|node| node.name.name == key.name);
    if found.is_none() {
        let names = document.nodes.iter().map(|node| node.name.name.as_str());
        let problem =
            Problem::at(&key.place, format!("there is no node {:?}", key.name)).kind(Flaw::NotThere);
        problems.push(if types.get(TypeKind::Node, &key.name).is_some() {
            problem.help("to choose a node by its type is not built yet: name the node template")
        } else {
            problem.expected(one_of(names.clone())).maybe_help(did_you_mean(&key.name, names))
        });
    }
    found
}

fn policy(
    template: &PolicyTemplate,
    document: &Document,
    types: &Types,
    resolver: &mut Resolver<'_>,
    problems: &mut Problems,
) -> Option<Policy> {
    let flat = types.find(TypeKind::Policy, &template.type_name, problems)?;
    let what = format!("policy {:?}", template.name.name);
    let owner = Owner::Policy(template.name.name.clone());
    let properties = resolver.properties(&owner, &what, problems);
    let mut targets = Vec::new();
    for key in &template.targets {
        let Some(target) = find_node(key, document, types, problems) else { continue };
        let node = &document.nodes[target];
        let Some(node_type) = types.get(TypeKind::Node, &node.type_name.name) else { continue };
        let allowed = &flat.def.targets;
        if !allowed.is_empty() && !allowed.iter().any(|wanted| node_type.is_a(&wanted.name)) {
            let message = format!("{what}: {:?} is of type {}", key.name, node.type_name.name);
            problems.push(
                Problem::at(&key.place, message).expected(one_of(allowed.iter().map(|k| k.name.as_str()))),
            );
        }
        targets.push(target);
    }
    Some(Policy { name: template.name.clone(), lineage: flat.lineage.clone(), properties, targets })
}

/// The nodes of a circle of requirements, if there is one.
fn cycle(topology: &Topology) -> Option<Problem> {
    let order = topology.in_order();
    if order.len() == topology.nodes.len() {
        return None;
    }
    // Whoever is left over needs somebody who is left over: following that must come round.
    let left = |i: usize| !order.contains(&i);
    let mut at = (0..topology.nodes.len()).find(|i| left(*i))?;
    let mut way = Vec::new();
    while !way.contains(&at) {
        way.push(at);
        at = topology.nodes[at].edges.iter().map(|edge| edge.target).find(|target| left(*target))?;
    }
    let circle = &way[way.iter().position(|i| *i == at)?..];
    let name = |i: &usize| topology.nodes[*i].name.name.as_str();
    let names: Vec<&str> = circle.iter().chain([&at]).map(name).collect();
    let edge = topology.nodes[at].edges.iter().find(|edge| circle.contains(&edge.target))?;
    Some(
        Problem::at(&edge.key.place, format!("nodes need each other in a circle: {}", names.join(" -> ")))
            .help("remove one requirement of the circle"),
    )
}
