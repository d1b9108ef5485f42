//! What a template asks for and is made of, as data for people: `template show`.

use serde::Serialize;
use serde_json::Value;

use super::Template;
use super::model::{Definition, TypeKind};

/// A template in short.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Description {
    /// Its own words.
    pub description: String,
    /// Every value that may be set, inner ones with their path (`workers.count`).
    pub inputs: Vec<InputLine>,
    /// What it is made of.
    pub nodes: Vec<NodeLine>,
    /// What it tells.
    pub outputs: Vec<OutputLine>,
}

/// A value that may be set.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct InputLine {
    /// Its path below `inputs`.
    pub name: String,
    /// Its type, `list of T` and `map of T` where it has elements.
    #[serde(rename = "type")]
    pub type_name: String,
    /// Whether it must be set (if what it is in is set at all).
    pub required: bool,
    /// What is taken otherwise.
    pub default: Option<Value>,
    /// For people.
    pub description: String,
}

/// A part of a template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NodeLine {
    /// Its name.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub type_name: String,
    /// The nodes that it needs.
    pub needs: Vec<String>,
}

/// An output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OutputLine {
    /// Its name.
    pub name: String,
    /// For people.
    pub description: String,
}

/// Inner values are listed down to this depth; what people write has three.
const DEEPEST: usize = 4;

impl Template<'_> {
    /// In short, for people.
    pub fn describe(&self) -> Description {
        let mut inputs = Vec::new();
        self.lines(self.inputs(), "", 0, &mut inputs);
        let nodes = self.document().nodes.iter().map(|node| NodeLine {
            name: node.name.name.clone(),
            type_name: node.type_name.name.clone(),
            needs: node.requirements.iter().map(|used| used.target.name.clone()).collect(),
        });
        let outputs = self.document().outputs.iter().map(|output| OutputLine {
            name: output.name.name.clone(),
            description: output.description.clone(),
        });
        Description {
            description: self.description().to_owned(),
            inputs,
            nodes: nodes.collect(),
            outputs: outputs.collect(),
        }
    }

    fn lines(&self, definitions: &[Definition], path: &str, depth: usize, out: &mut Vec<InputLine>) {
        for definition in definitions {
            let name = format!("{path}{}", definition.name.name);
            let schema = &definition.schema;
            let inner = schema.entry.as_ref().map(|entry| entry.type_name.name.as_str());
            let own = schema.type_name.name.as_str();
            out.push(InputLine {
                name: name.clone(),
                type_name: inner.map_or_else(|| short(own).to_owned(), |e| format!("{own} of {}", short(e))),
                required: definition.required && definition.default.is_none(),
                default: definition.default.as_ref().map(crate::tree::Node::to_json),
                description: definition.description.clone(),
            });
            // The elements of a map or list have the fields of their type, which a line of that type shows already.
            if let Some(flat) = self.types().get(TypeKind::Data, own).filter(|_| depth < DEEPEST) {
                self.lines(&flat.def.properties, &format!("{name}."), depth + 1, out);
            }
        }
    }
}

/// `Pool` for `continuum.datatypes.Pool`.
fn short(type_name: &str) -> &str {
    type_name.rsplit('.').next().unwrap_or(type_name)
}
