//! A TOSCA file as it is written: definitions with their places, nothing looked up yet.

use std::fmt;

use super::constraint::Constraint;
use crate::tree::{Entry, Key, Node};

/// Which TOSCA a file speaks. Both become the same model; only the words differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// `tosca_simple_yaml_1_0` to `_1_3`: `topology_template:`, functions without a sign.
    Simple,
    /// `tosca_2_0`: `service_template:`, functions begin with `$`.
    Two,
}

impl Version {
    /// The key that holds inputs, node templates, policies and outputs.
    pub fn topology_key(self) -> &'static str {
        match self {
            Self::Simple => "topology_template",
            Self::Two => "service_template",
        }
    }
}

/// One file.
#[derive(Debug, Clone)]
pub struct Document {
    /// Its version.
    pub version: Version,
    /// Its own description, or its topology's.
    pub description: String,
    /// Files that it imports.
    pub imports: Vec<Key>,
    /// Types of all kinds that it defines.
    pub types: Vec<TypeDef>,
    /// What it asks of its user.
    pub inputs: Vec<Definition>,
    /// What it is made of.
    pub nodes: Vec<NodeTemplate>,
    /// Rules over nodes.
    pub policies: Vec<PolicyTemplate>,
    /// What it tells its user.
    pub outputs: Vec<OutputDef>,
    /// Where the topology begins; `None` in a file of types.
    pub topology: Option<Key>,
}

/// The kinds of types, each with an own name space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TypeKind {
    /// Of node templates.
    Node,
    /// Of what a node offers.
    Capability,
    /// Of the edge from a requirement to a capability.
    Relationship,
    /// Of policies.
    Policy,
    /// Of values.
    Data,
}

impl TypeKind {
    /// The key under which a file defines types of this kind.
    pub const SECTIONS: [(&str, Self); 5] = [
        ("node_types", Self::Node),
        ("capability_types", Self::Capability),
        ("relationship_types", Self::Relationship),
        ("policy_types", Self::Policy),
        ("data_types", Self::Data),
    ];
}

impl fmt::Display for TypeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Node => "node type",
            Self::Capability => "capability type",
            Self::Relationship => "relationship type",
            Self::Policy => "policy type",
            Self::Data => "data type",
        })
    }
}

/// A type of any kind; the fields that its kind has not are empty.
#[derive(Debug, Clone)]
pub struct TypeDef {
    /// What kind.
    pub kind: TypeKind,
    /// Its name.
    pub name: Key,
    /// The type that it refines.
    pub parent: Option<Key>,
    /// For people.
    pub description: String,
    /// Values set by a template.
    pub properties: Vec<Definition>,
    /// Values known once it runs.
    pub attributes: Vec<Definition>,
    /// What nodes of this type offer.
    pub capabilities: Vec<CapabilityDef>,
    /// What nodes of this type need.
    pub requirements: Vec<RequirementDef>,
    /// Conditions on a value (data types of scalars).
    pub constraints: Vec<Constraint>,
    /// Node types that a policy may target.
    pub targets: Vec<Key>,
}

/// A property, attribute or input.
#[derive(Debug, Clone)]
pub struct Definition {
    /// Its name.
    pub name: Key,
    /// What values it takes.
    pub schema: Schema,
    /// For people.
    pub description: String,
    /// Whether there must be a value.
    pub required: bool,
    /// Taken when nobody gives one.
    pub default: Option<Node>,
}

/// What values something takes.
#[derive(Debug, Clone)]
pub struct Schema {
    /// A built-in type or a data type.
    pub type_name: Key,
    /// Further conditions.
    pub constraints: Vec<Constraint>,
    /// Of the elements of a list or the values of a map.
    pub entry: Option<Box<Schema>>,
}

/// What a node offers.
#[derive(Debug, Clone)]
pub struct CapabilityDef {
    /// Its name.
    pub name: Key,
    /// Its capability type.
    pub type_name: Key,
}

/// What a node needs.
#[derive(Debug, Clone)]
pub struct RequirementDef {
    /// Its name.
    pub name: Key,
    /// The type of capability that the other node must offer.
    pub capability: Key,
    /// The type that the other node must have.
    pub node: Option<Key>,
    /// The type of the edge.
    pub relationship: Option<Key>,
    /// How many at least.
    pub least: u64,
    /// How many at most; `None`: any number.
    pub most: Option<u64>,
}

/// A node as a template writes it.
#[derive(Debug, Clone)]
pub struct NodeTemplate {
    /// Its name.
    pub name: Key,
    /// Its node type.
    pub type_name: Key,
    /// Property assignments.
    pub properties: Vec<Entry>,
    /// Assignments to properties of its capabilities.
    pub capabilities: Vec<(Key, Vec<Entry>)>,
    /// Which nodes it needs.
    pub requirements: Vec<RequirementUse>,
}

/// A requirement as a template fills it.
#[derive(Debug, Clone)]
pub struct RequirementUse {
    /// The requirement's name.
    pub name: Key,
    /// The other node.
    pub target: Key,
    /// Which capability of it (a name or a type), where it is said.
    pub capability: Option<Key>,
    /// The type of the edge, where it is said.
    pub relationship: Option<Key>,
}

/// A policy as a template writes it.
#[derive(Debug, Clone)]
pub struct PolicyTemplate {
    /// Its name.
    pub name: Key,
    /// Its policy type.
    pub type_name: Key,
    /// Property assignments.
    pub properties: Vec<Entry>,
    /// The nodes that it is about.
    pub targets: Vec<Key>,
}

/// An output as a template writes it.
#[derive(Debug, Clone)]
pub struct OutputDef {
    /// Its name.
    pub name: Key,
    /// For people.
    pub description: String,
    /// The value, functions included.
    pub value: Node,
}
