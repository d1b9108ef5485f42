//! Whether a value is what its type says. The checked value has the defaults of data types filled in.

use super::model::{Definition, Schema, TypeKind};
use super::scalar::{self, ScalarType, Verdict};
use super::types::Types;
use crate::diagnostic::{Flaw, Problem};
use crate::tree::read::{self, Problems};
use crate::tree::{Entry, Kind, Node};

/// A data type may hold itself, and its defaults must come to an end: values of people stop at ten levels.
const DEEPEST: usize = 64;

/// What is needed to check values.
#[derive(Clone, Copy)]
pub struct Checker<'a> {
    /// Data types.
    pub types: &'a Types,
    /// Scalar types beside TOSCA's own.
    pub scalars: &'a [ScalarType],
}

impl Checker<'_> {
    /// Checks `node` against `schema`; `what` names the value for people (`inputs.workers.count`).
    pub fn value(&self, node: &Node, schema: &Schema, what: &str, problems: &mut Problems) -> Node {
        if what.split(['.', '[']).count() > DEEPEST {
            problems.push(Problem::at(&schema.type_name.place, "the defaults of this type never end"));
            return node.clone();
        }
        let before = problems.len();
        let (checked, scalar_type) = match schema.type_name.name.as_str() {
            "list" => (self.list(node, schema, what, problems), "list"),
            "map" => (self.map(node, schema, what, problems), "map"),
            name => self.named(node, name, what, problems),
        };
        if problems.len() == before {
            self.constraints(&checked, &schema.constraints, scalar_type, what, problems);
        }
        checked
    }

    fn constraints(
        &self,
        node: &Node,
        constraints: &[super::constraint::Constraint],
        type_name: &str,
        what: &str,
        problems: &mut Problems,
    ) {
        for constraint in constraints {
            if let Some(expected) = constraint.broken_by(node, type_name, self.scalars) {
                problems.push(read::wrong(node, what, &expected));
            }
        }
    }

    fn list(&self, node: &Node, schema: &Schema, what: &str, problems: &mut Problems) -> Node {
        let items =
            read::list(node, what, problems).iter().enumerate().map(|(i, item)| match &schema.entry {
                Some(entry) => self.value(item, entry, &format!("{what}[{i}]"), problems),
                None => item.clone(),
            });
        let items = items.collect();
        Node { kind: Kind::List(items), place: node.place.clone() }
    }

    fn map(&self, node: &Node, schema: &Schema, what: &str, problems: &mut Problems) -> Node {
        let entries = read::map(node, what, problems).iter().map(|entry| {
            let value = match &schema.entry {
                Some(inner) => {
                    self.value(&entry.value, inner, &format!("{what}.{}", entry.key.name), problems)
                }
                None => entry.value.clone(),
            };
            Entry { key: entry.key.clone(), value }
        });
        let entries = entries.collect();
        Node { kind: Kind::Map(entries), place: node.place.clone() }
    }

    /// A scalar type or a data type. Also returns the scalar type that it comes down to.
    fn named<'n>(&self, node: &Node, name: &'n str, what: &str, problems: &mut Problems) -> (Node, &'n str) {
        if let Some(kind) = scalar::find(name, self.scalars) {
            self.scalar(node, kind, what, problems);
            return (node.clone(), name);
        }
        // An unknown type was reported where it is named.
        let Some(flat) = self.types.get(TypeKind::Data, name) else { return (node.clone(), name) };
        let base = flat.lineage.iter().find_map(|one| scalar::find(one, self.scalars));
        if let Some(kind) = base {
            let before = problems.len();
            self.scalar(node, kind, what, problems);
            if problems.len() == before {
                self.constraints(node, &flat.def.constraints, kind.name, what, problems);
            }
            return (node.clone(), kind.name);
        }
        let entries = read::map(node, what, problems);
        if !node.is_null() && node.map().is_none() {
            return (node.clone(), name);
        }
        (self.fields(node, entries, &flat.def.properties, what, problems), name)
    }

    fn scalar(&self, node: &Node, kind: &ScalarType, what: &str, problems: &mut Problems) {
        match (kind.check)(node) {
            Verdict::Fits(_) | Verdict::Between(..) => {}
            Verdict::Misfit => problems.push(read::wrong(node, what, kind.expected)),
            Verdict::Wrong(why, help) => {
                let shown = node.text().map_or_else(|| node.found(), |text| format!("{text:?}"));
                let problem = Problem::at(&node.place, format!("{what}: {shown} {why}"));
                problems.push(problem.expected(kind.expected).maybe_help(help));
            }
        }
    }

    /// Values of several definitions: unknown ones are problems, missing ones take their default or are problems.
    pub fn fields(
        &self,
        node: &Node,
        entries: &[Entry],
        definitions: &[Definition],
        what: &str,
        problems: &mut Problems,
    ) -> Node {
        let known: Vec<&str> = definitions.iter().map(|d| d.name.name.as_str()).collect();
        read::only(entries, what, &known, problems);
        let mut checked = Vec::new();
        for definition in definitions {
            let name = &definition.name.name;
            let what = format!("{what}.{name}");
            let given = entries.iter().find(|e| e.key.name == *name && !e.value.is_null());
            let value = match (given, &definition.default) {
                (Some(entry), _) => {
                    let value = self.value(&entry.value, &definition.schema, &what, problems);
                    Some(Entry { key: entry.key.clone(), value })
                }
                (None, Some(default)) => {
                    let value = self.value(default, &definition.schema, &what, problems);
                    Some(Entry { key: definition.name.clone(), value })
                }
                (None, None) => {
                    if definition.required && !read::misspelled(entries, name, &known) {
                        let empty = entries.iter().find(|e| e.key.name == *name);
                        let place =
                            empty.map_or_else(|| node.place.beginning(), |entry| entry.key.place.clone());
                        problems.push(missing(&place, &what, definition));
                    }
                    None
                }
            };
            checked.extend(value);
        }
        Node { kind: Kind::Map(checked), place: node.place.clone() }
    }
}

fn missing(place: &crate::diagnostic::Place, what: &str, definition: &Definition) -> Problem {
    let problem = Problem::at(place, format!("{what} is missing"))
        .kind(Flaw::Missing)
        .expected(format!("{}: …", definition.name.name));
    if definition.description.is_empty() {
        return problem;
    }
    problem.help(definition.description.as_str())
}
