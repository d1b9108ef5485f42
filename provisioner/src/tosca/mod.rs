//! TOSCA service templates: a small, honest part of the standard, read strictly. Knows nothing of clouds.
//!
//! ```text
//! text -> parse -> Document -> types: flattened -> Template --inputs--> resolve: functions -> Topology
//! ```
//! Built: type definitions with `derived_from` (nodes, capabilities, relationships, policies, data), inputs,
//! properties, capabilities, requirements, policies, outputs, `get_input`, `get_property`, `get_attribute` (in
//! outputs), `concat`, `join`, `token`, the eleven constraints of 1.x, imports of relative files. What is part of
//! TOSCA and not built is refused by name; what is no part of TOSCA is an unknown key. TOSCA 1.x and 2.0 differ in
//! words only here ([`model::Version`]).

pub mod constraint;
pub mod describe;
pub mod function;
pub mod model;
pub mod parse;
pub mod resolve;
pub mod scalar;
pub mod schema;
#[cfg(test)]
mod tests;
pub mod topology;
pub mod types;
pub mod value;

use std::collections::BTreeMap;

use crate::diagnostic::{Flaw, Problem};
use crate::tree::read::Problems;
use crate::tree::{Key, Node};
use crate::yaml;
use model::{Definition, Document};
use resolve::Resolver;
use scalar::ScalarType;
use topology::Topology;
use types::Types;
use value::Checker;

/// A TOSCA file as somebody read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its name for messages; imports are relative to it.
    pub name: String,
    /// All of it.
    pub text: String,
}

/// What a template may refer to.
#[derive(Clone, Copy)]
pub struct Library<'a> {
    /// Files of types that every template has without importing them.
    pub profiles: &'a [File],
    /// Scalar types beside TOSCA's own.
    pub scalars: &'a [ScalarType],
    /// Gives the file that `from` imports as `path`, or says why not.
    pub import: &'a dyn Fn(&str, &str) -> Result<File, String>,
}

/// A template that is right in itself; its inputs are open.
pub struct Template<'a> {
    document: Document,
    types: Types,
    scalars: &'a [ScalarType],
}

/// The most files that one template may be made of.
const MAX_FILES: usize = 64;

/// Reads a service template with its imports, or gives every problem in them.
pub fn read<'a>(file: &File, library: Library<'a>) -> Result<Template<'a>, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut defs = Vec::new();
    for profile in library.profiles {
        defs.extend(one(profile, &mut problems).map(|document| document.types).unwrap_or_default());
    }
    let Some(mut document) = one(file, &mut problems) else { return Err(problems) };
    defs.extend(imported(&document, &file.name, library, &mut problems));
    defs.append(&mut document.types);
    if document.topology.is_none() {
        let expected = format!("{}: …", document.version.topology_key());
        problems.push(Problem::of(format!("{}: this file has no topology", file.name)).expected(expected));
    }
    let types = Types::build(defs, library.scalars, &mut problems);
    for input in &document.inputs {
        types.check_schema(&input.schema, library.scalars, &mut problems);
    }
    if problems.is_empty() {
        Ok(Template { document, types, scalars: library.scalars })
    } else {
        Err(problems)
    }
}

fn one(file: &File, problems: &mut Problems) -> Option<Document> {
    match yaml::parse(&file.text, &file.name) {
        Ok(root) => parse::document(&root, problems),
        Err(found) => {
            problems.extend(found);
            None
        }
    }
}

/// The types of everything that is imported, each file once.
fn imported(
    document: &Document,
    from: &str,
    library: Library<'_>,
    problems: &mut Problems,
) -> Vec<model::TypeDef> {
    let mut defs = Vec::new();
    let mut seen: BTreeMap<String, ()> = BTreeMap::new();
    let mut open: Vec<(String, Key)> =
        document.imports.iter().map(|key| (from.to_owned(), key.clone())).collect();
    while let Some((from, key)) = open.pop() {
        if key.name.contains("://") || key.name.starts_with('/') {
            let problem = Problem::at(&key.place, format!("{:?} cannot be imported", key.name));
            problems.push(problem.expected("a path relative to this file"));
            continue;
        }
        if seen.len() >= MAX_FILES {
            problems.push(Problem::at(&key.place, format!("more than {MAX_FILES} files are imported")));
            return defs;
        }
        match (library.import)(&from, &key.name) {
            Ok(file) => {
                if seen.insert(file.name.clone(), ()).is_some() {
                    continue;
                }
                if let Some(document) = one(&file, problems) {
                    open.extend(document.imports.into_iter().map(|key| (file.name.clone(), key)));
                    defs.extend(document.types);
                }
            }
            Err(why) => {
                problems.push(
                    Problem::at(&key.place, format!("cannot import {:?}: {why}", key.name))
                        .kind(Flaw::Unreadable),
                );
            }
        }
    }
    defs
}

impl Template<'_> {
    /// For people: one sentence or more.
    pub fn description(&self) -> &str {
        &self.document.description
    }

    /// What it asks of its user.
    pub fn inputs(&self) -> &[Definition] {
        &self.document.inputs
    }

    /// The parts of the file.
    pub fn document(&self) -> &Document {
        &self.document
    }

    /// All types that it may use.
    pub fn types(&self) -> &Types {
        &self.types
    }

    fn checker(&self) -> Checker<'_> {
        Checker { types: &self.types, scalars: self.scalars }
    }

    /// JSON Schema of its inputs.
    pub fn schema(&self) -> serde_json::Value {
        schema::of_fields(self.inputs(), self.checker())
    }

    /// The graph for these inputs (a mapping), or notes every problem in them and in what the template makes of them.
    pub fn topology(&self, inputs: &Node, problems: &mut Problems) -> Option<Topology> {
        let before = problems.len();
        let values = resolve::inputs(self.inputs(), inputs, "inputs", self.checker(), problems);
        // Values that are wrong already would be wrong again wherever they are used.
        if problems.len() > before {
            return None;
        }
        let resolver = Resolver::new(&self.document, self.checker(), &values);
        topology::build(&self.document, &self.types, resolver, problems)
    }
}
