//! Which nodes a pod wants: node selector, required node affinity, and a node by its name.

use super::reason::{Found, Reason};
use super::selector::Clause;
use crate::view::{Labels, Node, NodeSelector, NodeSelectorTerm, Operator, PodSpec, Requirement};

/// The only field of a node that can be selected by.
const NAME: &str = "metadata.name";

/// What a pod's selector and affinity demand of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NodeRule {
    labels: Labels,
    /// One must match; none is no demand.
    terms: Option<Vec<Term>>,
}

/// Conditions that must all hold.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Term {
    /// On labels and on fields.
    Sound { labels: Vec<Clause>, fields: Vec<Field> },
    /// It cannot be read, so it matches nothing, and the other terms still count.
    Broken(String),
}

/// A field that must, or must not, have a value.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Field {
    key: String,
    value: String,
    equal: bool,
}

impl NodeRule {
    pub(super) fn of(spec: &PodSpec) -> Self {
        let terms = spec.affinity.node.required.as_ref().map(terms);
        Self { labels: spec.node_selector.clone(), terms }
    }

    pub(super) fn matches(&self, node: &Node) -> bool {
        let labels = &node.metadata.labels;
        self.labels.iter().all(|(key, value)| labels.get(key) == Some(value))
            && self.terms.as_ref().is_none_or(|terms| one_matches(terms, labels, Some(&node.metadata.name)))
    }

    /// Says what of a node is not as it should be.
    pub(super) fn check(&self, node: &Node, found: &mut Found) {
        let labels = &node.metadata.labels;
        for (key, wants) in &self.labels {
            let has = labels.get(key);
            if has != Some(wants) {
                found.add(|| Reason::Selector { key: key.clone(), wants: wants.clone(), has: has.cloned() });
            }
        }
        let Some(terms) = &self.terms else { return };
        let name = Some(node.metadata.name.as_str());
        if !one_matches(terms, labels, name) {
            let unmet = || terms.iter().filter_map(|term| term.unmet(labels, name)).collect();
            found.add(|| Reason::NodeAffinity { terms: unmet() });
        }
    }
}

/// Whether a node with these labels is among those that a volume can be reached from.
pub(super) fn reaches(selector: &NodeSelector, labels: &Labels) -> bool {
    // Volumes look at labels alone: conditions on fields hold for any node.
    one_matches(&terms(selector), labels, None)
}

fn terms(selector: &NodeSelector) -> Vec<Term> {
    // An empty term matches nothing, so it is as good as none.
    let empty = |term: &&NodeSelectorTerm| term.expressions.is_empty() && term.fields.is_empty();
    selector.terms.iter().filter(|term| !empty(term)).map(Term::parse).collect()
}

fn one_matches(terms: &[Term], labels: &Labels, name: Option<&str>) -> bool {
    terms.iter().any(|term| term.unmet_clause(labels, name).is_none())
}

/// What of a term does not hold.
enum Unmet<'a> {
    Label(&'a Clause),
    Field(&'a Field),
    Broken(&'a str),
}

impl Term {
    fn parse(term: &NodeSelectorTerm) -> Self {
        let labels = term.expressions.iter().map(Clause::parse).collect::<Result<_, _>>();
        let fields = term.fields.iter().map(Field::parse).collect::<Result<_, _>>();
        match (labels, fields) {
            (Ok(labels), Ok(fields)) => Self::Sound { labels, fields },
            (Err(problem), _) | (_, Err(problem)) => Self::Broken(problem),
        }
    }

    fn unmet_clause(&self, labels: &Labels, name: Option<&str>) -> Option<Unmet<'_>> {
        match self {
            Self::Broken(problem) => Some(Unmet::Broken(problem)),
            Self::Sound { labels: clauses, fields } => {
                let label = clauses.iter().find(|clause| !clause.matches(labels)).map(Unmet::Label);
                let field = || {
                    let name = name?;
                    fields.iter().find(|field| !field.holds(name)).map(Unmet::Field)
                };
                label.or_else(field)
            }
        }
    }

    /// The first condition that does not hold, in words.
    fn unmet(&self, labels: &Labels, name: Option<&str>) -> Option<String> {
        self.unmet_clause(labels, name).map(|unmet| match unmet {
            Unmet::Label(clause) => clause.unmet(labels),
            Unmet::Field(Field { key, value, equal: true }) => format!("{key} is {value}"),
            Unmet::Field(Field { key, value, equal: false }) => format!("{key} is not {value}"),
            Unmet::Broken(problem) => format!("a term that {problem}"),
        })
    }
}

impl Field {
    fn parse(requirement: &Requirement) -> Result<Self, String> {
        let Requirement { key, operator, values } = requirement;
        match (operator, values.as_slice()) {
            (Operator::In | Operator::NotIn, [value]) => {
                Ok(Self { key: key.clone(), value: value.clone(), equal: *operator == Operator::In })
            }
            (Operator::In | Operator::NotIn, _) => {
                Err(format!("has {operator} for the field {key:?} without exactly one value"))
            }
            _ => Err(format!("has {:?} for the field {key:?}, which takes In and NotIn", operator.as_str())),
        }
    }

    fn holds(&self, name: &str) -> bool {
        // A field that nodes do not have is empty.
        let has = if self.key == NAME { name } else { "" };
        (has == self.value) == self.equal
    }
}
