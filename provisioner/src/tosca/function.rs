//! Functions in values: which mapping is one, and the shape of its arguments.
//!
//! TOSCA 1.x has no sign for functions: a mapping of one key with a function's name is one. TOSCA 2.0 begins them
//! with `$`, and a `$key` with siblings is an error.

use super::model::Version;
use crate::diagnostic::{Flaw, Problem, did_you_mean};
use crate::tree::read::{self, Problems};
use crate::tree::{Key, Node};

const NAMES: [&str; 6] = ["get_input", "get_property", "get_attribute", "concat", "join", "token"];
const NOT_BUILT: [&str; 3] = ["get_artifact", "get_operation_output", "get_nodes_of_type"];

/// A function with its arguments, which may hold functions themselves.
#[derive(Debug)]
pub enum Function<'a> {
    /// The value of an input, or of something inside of it.
    Input(Vec<&'a Node>),
    /// `[node, property, …]`, `[node, capability or requirement, property, …]`.
    Property(Vec<&'a Node>),
    /// The same, known once it runs.
    Attribute(Vec<&'a Node>),
    /// Texts one after the other.
    Concat(Vec<&'a Node>),
    /// Texts with a separator between them.
    Join(&'a Node, Option<&'a Node>),
    /// The n-th piece of a text cut at separators.
    Token([&'a Node; 3]),
}

/// The function that a node is. `None`: a plain value. `Some(Err)`: a malformed function, which was noted.
pub fn read<'a>(
    node: &'a Node,
    version: Version,
    problems: &mut Problems,
) -> Option<Result<(&'a Key, Function<'a>), ()>> {
    let entries = node.map()?;
    let sign = |key: &Key| key.name.starts_with('$') && !key.name.starts_with("$$");
    let entry = match (version, entries) {
        (Version::Two, entries) => {
            let entry = entries.iter().find(|entry| sign(&entry.key))?;
            if entries.len() > 1 {
                let message = format!("{:?} stands beside other keys", entry.key.name);
                problems
                    .push(Problem::at(&entry.key.place, message).expected("a function alone in its mapping"));
                return Some(Err(()));
            }
            entry
        }
        (Version::Simple, [entry]) => entry,
        (Version::Simple, _) => return None,
    };
    let name = entry.key.name.trim_start_matches('$');
    if NOT_BUILT.contains(&name) {
        problems.push(read::not_built(
            &entry.key,
            "a value",
            "this function will come; write the value itself",
        ));
        return Some(Err(()));
    }
    if !NAMES.contains(&name) {
        if version == Version::Simple {
            return None;
        }
        let problem = Problem::at(&entry.key.place, format!("function {:?} is not known", entry.key.name))
            .kind(Flaw::NotThere);
        problems.push(problem.maybe_help(did_you_mean(name, NAMES)));
        return Some(Err(()));
    }
    let function = arguments(name, &entry.value);
    if function.is_none() {
        problems.push(read::wrong(&entry.value, &entry.key.name, shape(name)));
    }
    Some(function.map(|function| (&entry.key, function)).ok_or(()))
}

fn shape(name: &str) -> &'static str {
    match name {
        "get_input" => "the name of an input",
        "get_property" | "get_attribute" => "[NODE, NAME], where NODE may be SELF",
        "concat" => "a list of texts",
        "join" => "[[TEXT, TEXT], SEPARATOR]",
        _ => "[TEXT, SEPARATOR, NUMBER]",
    }
}

fn arguments<'a>(name: &str, node: &'a Node) -> Option<Function<'a>> {
    let list = node.list();
    let path = |least: usize| -> Option<Vec<&'a Node>> {
        let items = list?;
        (items.len() >= least).then(|| items.iter().collect())
    };
    match name {
        "get_input" if node.text().is_some() => Some(Function::Input(vec![node])),
        "get_input" => path(1).map(Function::Input),
        "get_property" => path(2).map(Function::Property),
        "get_attribute" => path(2).map(Function::Attribute),
        "concat" => path(0).map(Function::Concat),
        "join" => match list? {
            [texts] => Some(Function::Join(texts, None)),
            [texts, separator] => Some(Function::Join(texts, Some(separator))),
            _ => None,
        },
        "token" => match list? {
            [text, separator, index] => Some(Function::Token([text, separator, index])),
            _ => None,
        },
        _ => None,
    }
}
