//! Functions are replaced by what they give, property by property, each at most once; a property that asks for
//! itself over others is found.

use std::collections::BTreeMap;

use super::function::{self, Function};
use super::model::{Definition, Document, TypeKind, Version};
use super::topology::Term;
use super::value::Checker;
use crate::diagnostic::{Flaw, Place, Problem, did_you_mean, one_of};
use crate::tree::read::{self, Problems};
use crate::tree::{Entry, Key, Kind, Node};

/// Properties that ask for properties that ask …: each step is a step of the stack. People's templates have three.
const LONGEST_WAY: usize = 64;

/// Whose properties.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Owner {
    /// A node template.
    Node(String),
    /// A capability of a node template.
    Capability(String, String),
    /// A policy.
    Policy(String),
}

impl Owner {
    /// What `SELF` means here.
    fn node(&self) -> Option<&str> {
        match self {
            Self::Node(node) | Self::Capability(node, _) => Some(node),
            Self::Policy(_) => None,
        }
    }
}

/// How far a property is.
enum Memo {
    /// It is being worked on: who asks for it now closes a circle.
    Open,
    /// Its checked value, if it has one.
    Done(Option<Node>),
}

/// Gives the value of each property.
pub struct Resolver<'a> {
    document: &'a Document,
    checker: Checker<'a>,
    inputs: &'a BTreeMap<String, Node>,
    memo: BTreeMap<(Owner, String), Memo>,
}

impl<'a> Resolver<'a> {
    /// Nothing is resolved yet. `inputs` are checked already.
    pub fn new(document: &'a Document, checker: Checker<'a>, inputs: &'a BTreeMap<String, Node>) -> Self {
        Self { document, checker, inputs, memo: BTreeMap::new() }
    }

    /// All properties of an owner: unknown assignments are noted, defaults taken, every value checked.
    pub fn properties(
        &mut self,
        owner: &Owner,
        what: &str,
        problems: &mut Problems,
    ) -> BTreeMap<String, Node> {
        let (definitions, assigned) = self.declared(owner);
        let known: Vec<&str> = definitions.iter().map(|d| d.name.name.as_str()).collect();
        read::only(assigned, what, &known, problems);
        let mut values = BTreeMap::new();
        for definition in definitions {
            let name = &definition.name.name;
            let value = self.property(owner, name, problems);
            let excused = self.failed(owner, name, assigned) || read::misspelled(assigned, name, &known);
            if value.is_none() && definition.required && !excused {
                let place = self.place(owner).unwrap_or(&definition.name.place).clone();
                let message = format!("{what}: property {name:?} is missing");
                problems.push(
                    Problem::at(&place, message)
                        .kind(Flaw::Missing)
                        .expected(format!("properties: {{{name}: …}}")),
                );
            }
            values.extend(value.map(|value| (name.clone(), value)));
        }
        values
    }

    /// Whether a value was given but could not be had: that was noted already.
    fn failed(&self, owner: &Owner, name: &str, assigned: &[Entry]) -> bool {
        let given = assigned.iter().any(|entry| entry.key.name == name && !entry.value.is_null());
        given && matches!(self.memo.get(&(owner.clone(), name.to_owned())), Some(Memo::Done(None)))
    }

    /// The definitions of an owner's properties, and what the template assigns.
    fn declared(&self, owner: &Owner) -> (&'a [Definition], &'a [Entry]) {
        let types = self.checker.types;
        let document: &'a Document = self.document;
        let node = |name: &str| document.nodes.iter().find(|node| node.name.name == *name);
        let found = match owner {
            Owner::Node(name) => node(name).and_then(|node| {
                let flat = types.get(TypeKind::Node, &node.type_name.name)?;
                Some((flat.def.properties.as_slice(), node.properties.as_slice()))
            }),
            Owner::Capability(name, capability) => node(name).and_then(|node| {
                let flat = types.get(TypeKind::Node, &node.type_name.name)?;
                let def = flat.def.capabilities.iter().find(|c| c.name.name == *capability)?;
                let flat = types.get(TypeKind::Capability, &def.type_name.name)?;
                let assigned = node.capabilities.iter().find(|(key, _)| key.name == *capability);
                let assigned = assigned.map(|(_, entries)| entries.as_slice()).unwrap_or_default();
                Some((flat.def.properties.as_slice(), assigned))
            }),
            Owner::Policy(name) => {
                document.policies.iter().find(|p| p.name.name == *name).and_then(|policy| {
                    let flat = types.get(TypeKind::Policy, &policy.type_name.name)?;
                    Some((flat.def.properties.as_slice(), policy.properties.as_slice()))
                })
            }
        };
        found.unwrap_or_default()
    }

    fn place(&self, owner: &Owner) -> Option<&'a Place> {
        let document: &'a Document = self.document;
        match owner {
            Owner::Node(name) | Owner::Capability(name, _) => {
                document.nodes.iter().find(|n| n.name.name == *name).map(|n| &n.name.place)
            }
            Owner::Policy(name) => {
                document.policies.iter().find(|p| p.name.name == *name).map(|p| &p.name.place)
            }
        }
    }

    fn property(&mut self, owner: &Owner, name: &str, problems: &mut Problems) -> Option<Node> {
        let (definitions, assigned) = self.declared(owner);
        let definition = definitions.iter().find(|d| d.name.name == *name)?;
        let given = assigned.iter().find(|e| e.key.name == *name && !e.value.is_null());
        let raw = given.map(|entry| &entry.value).or(definition.default.as_ref());
        let key = (owner.clone(), name.to_owned());
        match self.memo.get(&key) {
            Some(Memo::Done(value)) => return value.clone(),
            Some(Memo::Open) => {
                let place = raw.map_or(&definition.name.place, |raw| &raw.place);
                let message = format!("property {name:?} asks for its own value");
                problems.push(Problem::at(place, message).help("break the circle of get_property"));
                return None;
            }
            None => {}
        }
        if self.memo.values().filter(|memo| matches!(memo, Memo::Open)).count() > LONGEST_WAY {
            let message = format!("more than {LONGEST_WAY} properties ask for each other in a row");
            problems.push(Problem::at(&definition.name.place, message));
            return None;
        }
        self.memo.insert(key.clone(), Memo::Open);
        let before = problems.len();
        let value = raw.and_then(|raw| self.evaluate(raw, owner, problems));
        let value = value.filter(|value| !value.is_null()).map(|value| {
            let what = match owner {
                Owner::Node(owner) | Owner::Policy(owner) => format!("{owner}.{name}"),
                Owner::Capability(node, capability) => format!("{node}.{capability}.{name}"),
            };
            self.checker.value(&value, &definition.schema, &what, problems)
        });
        let value = value.filter(|_| problems.len() == before);
        self.memo.insert(key, Memo::Done(value.clone()));
        value
    }

    /// The value with all functions in it replaced. `None`: there is none, or it was noted why.
    fn evaluate(&mut self, node: &Node, owner: &Owner, problems: &mut Problems) -> Option<Node> {
        match function::read(node, self.document.version, problems) {
            Some(Err(())) => None,
            Some(Ok((key, function))) => self.call(key, function, owner, problems),
            None => match &node.kind {
                Kind::Scalar(_) => Some(node.clone()),
                Kind::List(items) => {
                    let items =
                        items.iter().filter_map(|item| self.evaluate(item, owner, problems)).collect();
                    Some(Node { kind: Kind::List(items), place: node.place.clone() })
                }
                Kind::Map(entries) => {
                    // A key whose value is absent is left out, so that an optional input can be passed on.
                    let entries = entries.iter().filter_map(|entry| {
                        let value = self.evaluate(&entry.value, owner, problems)?;
                        let mut key = entry.key.clone();
                        // In TOSCA 2.0 `$$x` is how a key `$x` that is no function is written.
                        if self.document.version == Version::Two && key.name.starts_with("$$") {
                            key.name.remove(0);
                        }
                        Some(Entry { key, value })
                    });
                    let entries = entries.collect();
                    Some(Node { kind: Kind::Map(entries), place: node.place.clone() })
                }
            },
        }
    }

    fn call(
        &mut self,
        key: &Key,
        function: Function<'_>,
        owner: &Owner,
        problems: &mut Problems,
    ) -> Option<Node> {
        match function {
            Function::Input(path) => self.input(&path, problems),
            Function::Property(path) => self.get_property(key, &path, owner, problems),
            Function::Attribute(_) => {
                let problem = Problem::at(&key.place, "an attribute is known only once the machines run");
                problems.push(problem.help("attributes can be used in outputs"));
                None
            }
            Function::Concat(parts) => {
                let parts = parts.into_iter().map(|part| self.text(part, owner, problems));
                let parts: Option<Vec<String>> = parts.collect();
                Some(Node::string(parts?.concat(), &key.place))
            }
            Function::Join(texts, separator) => {
                let separator = separator.and_then(Node::text).unwrap_or_default();
                let list = self.evaluate(texts, owner, problems)?;
                let items = read::list(&list, "join", problems);
                let parts: Option<Vec<&str>> =
                    items.iter().map(|item| read::text(item, "join", problems)).collect();
                Some(Node::string(parts?.join(separator), &key.place))
            }
            Function::Token([text, separator, index]) => {
                let whole = self.text(text, owner, problems)?;
                let separator = self.text(separator, owner, problems)?;
                let at = index.scalar().and_then(|s| s.as_int()).and_then(|n| usize::try_from(n).ok());
                let Some(at) = at.filter(|_| !separator.is_empty()) else {
                    problems.push(read::wrong(index, "token", "[TEXT, SEPARATOR, NUMBER]"));
                    return None;
                };
                let piece = whole.split(separator.as_str()).nth(at);
                if piece.is_none() {
                    let message = format!("{whole:?} has no piece {at} between {separator:?}");
                    problems.push(Problem::at(&index.place, message));
                }
                piece.map(|piece| Node::string(piece, &key.place))
            }
        }
    }

    fn text(&mut self, node: &Node, owner: &Owner, problems: &mut Problems) -> Option<String> {
        let value = self.evaluate(node, owner, problems)?;
        read::text(&value, "a part of a text", problems).map(str::to_owned)
    }

    fn input(&mut self, path: &[&Node], problems: &mut Problems) -> Option<Node> {
        let (first, rest) = path.split_first()?;
        let name = first.text()?;
        if !self.document.inputs.iter().any(|input| input.name.name == name) {
            let known: Vec<&str> = self.document.inputs.iter().map(|i| i.name.name.as_str()).collect();
            let problem =
                Problem::at(&first.place, format!("there is no input {name:?}")).kind(Flaw::NotThere);
            problems
                .push(problem.expected(one_of(known.iter().copied())).maybe_help(did_you_mean(name, known)));
            return None;
        }
        nested(self.inputs.get(name)?.clone(), rest, problems)
    }

    /// `[NODE, NAME, …]`: a property of the node, of its capability, or of the node behind its requirement.
    fn get_property(
        &mut self,
        key: &Key,
        path: &[&Node],
        owner: &Owner,
        problems: &mut Problems,
    ) -> Option<Node> {
        let [first, second, rest @ ..] = path else { return None };
        let node = self.named_node(first, owner, problems)?;
        let name = second.text()?;
        let owner = Owner::Node(node.clone());
        if self.has(&owner, name) {
            let value = self.property(&owner, name, problems)?;
            return nested(value, rest, problems);
        }
        let template = self.document.nodes.iter().find(|n| n.name.name == node)?;
        let behind = template.requirements.iter().find(|used| used.name.name == name);
        let other = match behind {
            Some(used) => Owner::Node(used.target.name.clone()),
            None => Owner::Capability(node.clone(), name.to_owned()),
        };
        if let [property, rest @ ..] = rest
            && let Some(property) = property.text()
            && self.has(&other, property)
        {
            let value = self.property(&other, property, problems)?;
            return nested(value, rest, problems);
        }
        let (definitions, _) = self.declared(&owner);
        let known: Vec<&str> = definitions.iter().map(|d| d.name.name.as_str()).collect();
        let problem =
            Problem::at(&second.place, format!("{}: node {node:?} has no property {name:?}", key.name))
                .kind(Flaw::NotThere);
        problems.push(problem.expected(one_of(known.iter().copied())).maybe_help(did_you_mean(name, known)));
        None
    }

    fn has(&self, owner: &Owner, property: &str) -> bool {
        self.declared(owner).0.iter().any(|definition| definition.name.name == property)
    }

    fn named_node(&self, node: &Node, owner: &Owner, problems: &mut Problems) -> Option<String> {
        let name = node.text()?;
        match name {
            "SELF" if owner.node().is_some() => return owner.node().map(str::to_owned),
            "SELF" | "SOURCE" | "TARGET" | "HOST" => {
                let message = format!("{name} means nothing here");
                problems.push(Problem::at(&node.place, message).expected("the name of a node template"));
                return None;
            }
            _ => {}
        }
        let names = self.document.nodes.iter().map(|node| node.name.name.as_str());
        if names.clone().any(|one| one == name) {
            return Some(name.to_owned());
        }
        let problem = Problem::at(&node.place, format!("there is no node {name:?}")).kind(Flaw::NotThere);
        problems.push(problem.expected(one_of(names.clone())).maybe_help(did_you_mean(name, names)));
        None
    }

    /// The pieces of an output. Attributes may stand in it by themselves and in `concat`.
    pub fn terms(&mut self, node: &Node, problems: &mut Problems) -> Vec<Term> {
        // SELF has no meaning in an output, so the owner is nobody.
        let nobody = Owner::Policy(String::new());
        match function::read(node, self.document.version, problems) {
            Some(Ok((key, Function::Attribute(path)))) => {
                self.attribute(key, &path, problems).into_iter().collect()
            }
            Some(Ok((_, Function::Concat(parts)))) => {
                parts.into_iter().flat_map(|part| self.terms(part, problems)).collect()
            }
            Some(Err(())) => Vec::new(),
            _ => {
                let value = self.evaluate(node, &nobody, problems);
                let text = value.map(|value| match value.text() {
                    Some(text) => text.to_owned(),
                    None => value.to_json().to_string(),
                });
                text.map(Term::Known).into_iter().collect()
            }
        }
    }

    fn attribute(&self, key: &Key, path: &[&Node], problems: &mut Problems) -> Option<Term> {
        let [first, second] = path else {
            let message = format!("{} of something inside an attribute is not built yet", key.name);
            problems.push(Problem::at(&key.place, message).expected("[NODE, ATTRIBUTE]"));
            return None;
        };
        let node = self.named_node(first, &Owner::Policy(String::new()), problems)?;
        let template = self.document.nodes.iter().find(|n| n.name.name == node)?;
        let flat = self.checker.types.get(TypeKind::Node, &template.type_name.name)?;
        let name = second.text()?;
        // Every property is an attribute too.
        let known: Vec<&str> = flat.def.attributes.iter().map(|d| d.name.name.as_str()).collect();
        if known.contains(&name) {
            return Some(Term::Attribute { node, name: name.to_owned() });
        }
        let problem = Problem::at(&second.place, format!("node {node:?} has no attribute {name:?}"))
            .kind(Flaw::NotThere);
        problems.push(problem.expected(one_of(known.iter().copied())).maybe_help(did_you_mean(name, known)));
        None
    }
}

/// Goes into a value by names and list indexes. A part that is not there is absent, as an optional value may be.
fn nested(mut node: Node, path: &[&Node], problems: &mut Problems) -> Option<Node> {
    for step in path {
        let index = step.scalar().and_then(|s| s.as_int()).and_then(|n| usize::try_from(n).ok());
        let inner = match (&node.kind, index, step.text()) {
            (Kind::List(items), Some(index), _) => items.get(index),
            (Kind::Map(_), _, Some(name)) => node.get(name),
            _ => {
                let message = format!("{} is asked of {}", step.found(), node.found());
                problems.push(Problem::at(&step.place, message).expected("a mapping or list with it"));
                return None;
            }
        };
        node = inner?.clone();
    }
    Some(node)
}

/// Checks values of a cluster file against a template's inputs: unknown, missing and wrong ones are noted.
pub fn inputs(
    definitions: &[Definition],
    given: &Node,
    what: &str,
    checker: Checker<'_>,
    problems: &mut Problems,
) -> BTreeMap<String, Node> {
    let entries = read::map(given, what, problems);
    if given.map().is_none() {
        return BTreeMap::new();
    }
    let checked = checker.fields(given, entries, definitions, what, problems);
    let entries = checked.map().unwrap_or_default();
    entries.iter().map(|entry| (entry.key.name.clone(), entry.value.clone())).collect()
}
