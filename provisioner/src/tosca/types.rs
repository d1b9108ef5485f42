//! Second step: all types of a file, its imports and the profiles, looked up and flattened.
//!
//! Invariants: a [`Types`] holds no cycle of `derived_from`; a flattened type has all that its ancestors have, the
//! nearer definition winning.

use std::collections::BTreeMap;

use super::model::{Schema, TypeDef, TypeKind};
use super::scalar::{self, ScalarType};
use crate::diagnostic::{Flaw, Problem, did_you_mean};
use crate::tree::Key;
use crate::tree::read::Problems;

/// The most ancestors of a type; the standard's own types have at most five.
const LONGEST_LINE: usize = 32;

/// A type with everything that it inherits.
#[derive(Debug, Clone)]
pub struct Flat {
    /// The type; its lists hold the ancestors' elements too.
    pub def: TypeDef,
    /// Its own name, then its ancestors', nearest first.
    pub lineage: Vec<String>,
}

impl Flat {
    /// Whether this is the type `name` or derived from it.
    pub fn is_a(&self, name: &str) -> bool {
        self.lineage.iter().any(|one| one == name)
    }
}

/// All types.
#[derive(Debug, Clone, Default)]
pub struct Types {
    flat: BTreeMap<(TypeKind, String), Flat>,
}

impl Types {
    /// Flattens the types; problems of those that a file defines are noted.
    pub fn build(defs: Vec<TypeDef>, scalars: &[ScalarType], problems: &mut Problems) -> Self {
        let mut raw: BTreeMap<(TypeKind, String), TypeDef> = BTreeMap::new();
        for def in defs {
            if let Some(first) = raw.get(&(def.kind, def.name.name.clone())) {
                let message = format!("{} {:?} is defined a second time", def.kind, def.name.name);
                problems.push(
                    Problem::at(&def.name.place, message).note(&first.name.place, "first defined here"),
                );
                continue;
            }
            raw.insert((def.kind, def.name.name.clone()), def);
        }
        let mut types = Self::default();
        for key in raw.keys() {
            flatten(key, &raw, &mut types, &mut Vec::new(), problems);
        }
        types.check_references(&raw, scalars, problems);
        types
    }

    /// The type of this kind and name.
    pub fn get(&self, kind: TypeKind, name: &str) -> Option<&Flat> {
        self.flat.get(&(kind, name.to_owned()))
    }

    /// The type that a key names; a problem if there is none.
    pub fn find(&self, kind: TypeKind, key: &Key, problems: &mut Problems) -> Option<&Flat> {
        let found = self.get(kind, &key.name);
        if found.is_none() {
            problems.push(self.unknown(kind, key));
        }
        found
    }

    fn names(&self, kind: TypeKind) -> impl Iterator<Item = &str> {
        self.flat.keys().filter(move |(k, _)| *k == kind).map(|(_, name)| name.as_str())
    }

    fn unknown(&self, kind: TypeKind, key: &Key) -> Problem {
        Problem::at(&key.place, format!("{kind} {:?} is not known", key.name))
            .kind(Flaw::NotThere)
            .maybe_help(did_you_mean(&key.name, self.names(kind)))
    }

    /// Every type that a definition names must be there, used or not.
    fn check_references(
        &self,
        raw: &BTreeMap<(TypeKind, String), TypeDef>,
        scalars: &[ScalarType],
        problems: &mut Problems,
    ) {
        for def in raw.values() {
            for definition in def.properties.iter().chain(&def.attributes) {
                self.check_schema(&definition.schema, scalars, problems);
            }
            for capability in &def.capabilities {
                self.find(TypeKind::Capability, &capability.type_name, problems);
            }
            for requirement in &def.requirements {
                self.find(TypeKind::Capability, &requirement.capability, problems);
                requirement.node.iter().for_each(|node| {
                    self.find(TypeKind::Node, node, problems);
                });
                requirement.relationship.iter().for_each(|edge| {
                    self.find(TypeKind::Relationship, edge, problems);
                });
            }
            for target in &def.targets {
                self.find(TypeKind::Node, target, problems);
            }
        }
    }

    /// The types that a schema names must be there.
    pub fn check_schema(&self, schema: &Schema, scalars: &[ScalarType], problems: &mut Problems) {
        let name = schema.type_name.name.as_str();
        let known = matches!(name, "list" | "map")
            || scalar::find(name, scalars).is_some()
            || self.get(TypeKind::Data, name).is_some();
        if scalar::NOT_BUILT.contains(&name) {
            let problem = Problem::at(&schema.type_name.place, format!("type {name:?} is not built yet"))
                .kind(Flaw::NotBuilt);
            problems.push(problem.help("use string for now"));
        } else if !known {
            let all = scalar::BUILT_IN.iter().chain(scalars).map(|one| one.name);
            let all = all.chain(["list", "map"]).chain(self.names(TypeKind::Data));
            let problem = Problem::at(&schema.type_name.place, format!("type {name:?} is not known"))
                .kind(Flaw::NotThere);
            problems.push(problem.maybe_help(did_you_mean(name, all)));
        }
        if let Some(entry) = &schema.entry {
            self.check_schema(entry, scalars, problems);
        }
    }
}

/// Flattens one type after its ancestors. `path` is the way from the type that was asked for.
fn flatten(
    key: &(TypeKind, String),
    raw: &BTreeMap<(TypeKind, String), TypeDef>,
    types: &mut Types,
    path: &mut Vec<String>,
    problems: &mut Problems,
) {
    let Some(def) = raw.get(key).filter(|_| !types.flat.contains_key(key)) else { return };
    let mut flat = Flat { def: def.clone(), lineage: vec![key.1.clone()] };
    path.push(key.1.clone());
    if let Some(parent) = &def.parent {
        let parent_key = (key.0, parent.name.clone());
        if path.len() > LONGEST_LINE {
            let message = format!("{} has more than {LONGEST_LINE} ancestors", key.0);
            problems.push(Problem::at(&parent.place, message).expected("a shorter line of derived_from"));
        } else if path.contains(&parent.name) {
            let way = [path.as_slice(), std::slice::from_ref(&parent.name)].concat().join(" -> ");
            problems.push(
                Problem::at(&parent.place, format!("{} derives from itself: {way}", key.0))
                    .help("remove one derived_from of the circle"),
            );
        } else if raw.contains_key(&parent_key) {
            flatten(&parent_key, raw, types, path, problems);
            if let Some(parent) = types.flat.get(&parent_key) {
                inherit(&mut flat, parent);
            }
        } else if scalar::find(&parent.name, &[]).is_some() && key.0 == TypeKind::Data {
            flat.lineage.push(parent.name.clone());
        } else {
            let known = raw.keys().filter(|(kind, _)| *kind == key.0).map(|(_, name)| name.as_str());
            problems.push(
                Problem::at(&parent.place, format!("{} {:?} is not known", key.0, parent.name))
                    .kind(Flaw::NotThere)
                    .maybe_help(did_you_mean(&parent.name, known)),
            );
        }
    }
    path.pop();
    types.flat.insert(key.clone(), flat);
}

fn inherit(flat: &mut Flat, parent: &Flat) {
    fn join<T: Clone>(own: &[T], parents: &[T], name: impl Fn(&T) -> &str) -> Vec<T> {
        let kept = parents.iter().filter(|theirs| own.iter().all(|ours| name(ours) != name(theirs)));
        kept.chain(own).cloned().collect()
    }
    let (own, theirs) = (&mut flat.def, &parent.def);
    own.properties = join(&own.properties, &theirs.properties, |d| &d.name.name);
    own.attributes = join(&own.attributes, &theirs.attributes, |d| &d.name.name);
    own.capabilities = join(&own.capabilities, &theirs.capabilities, |d| &d.name.name);
    own.requirements = join(&own.requirements, &theirs.requirements, |d| &d.name.name);
    own.constraints = theirs.constraints.iter().chain(&own.constraints).cloned().collect();
    if own.targets.is_empty() {
        own.targets.clone_from(&theirs.targets);
    }
    flat.lineage.extend(parent.lineage.iter().cloned());
}
