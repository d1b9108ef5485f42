//! The constraints of TOSCA 1.x: conditions that a value must meet.

use std::cmp::Ordering;

use regex::Regex;

use super::scalar::{self, ScalarType};
use crate::diagnostic::{Problem, one_of};
use crate::tree::read::{self, Problems};
use crate::tree::{Entry, Kind, Node};

/// The eleven of TOSCA 1.x.
pub const NAMES: [&str; 11] = [
    "equal",
    "greater_than",
    "greater_or_equal",
    "less_than",
    "less_or_equal",
    "in_range",
    "valid_values",
    "length",
    "min_length",
    "max_length",
    "pattern",
];

/// A condition on a value.
#[derive(Debug, Clone)]
pub enum Constraint {
    /// The value is this one.
    Equal(Node),
    /// The value compares so with the limit.
    Compare(Comparison, Node),
    /// Both ends count; `None` is UNBOUNDED.
    InRange(Option<Node>, Option<Node>),
    /// The value is one of these.
    ValidValues(Vec<Node>),
    /// Characters of a text, elements of a list or map: at least, at most.
    Length(u64, u64),
    /// The whole text matches.
    Pattern(Regex),
}

/// How a value must compare with a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// `greater_than`
    Greater,
    /// `greater_or_equal`
    AtLeast,
    /// `less_than`
    Less,
    /// `less_or_equal`
    AtMost,
}

impl Comparison {
    fn holds(self, order: Ordering) -> bool {
        match self {
            Self::Greater => order.is_gt(),
            Self::AtLeast => order.is_ge(),
            Self::Less => order.is_lt(),
            Self::AtMost => order.is_le(),
        }
    }
    fn words(self) -> &'static str {
        match self {
            Self::Greater => "more than",
            Self::AtLeast => "at least",
            Self::Less => "less than",
            Self::AtMost => "at most",
        }
    }
}

/// Reads `constraints:`, a list of one-key mappings.
pub fn parse(node: Option<&Node>, what: &str, problems: &mut Problems) -> Vec<Constraint> {
    let Some(node) = node else { return Vec::new() };
    let mut all = Vec::new();
    for item in read::list(node, what, problems) {
        match read::map(item, what, problems) {
            [entry] => all.extend(one(entry, what, problems)),
            [] => {}
            [_, second, ..] => {
                let problem =
                    Problem::at(&second.key.place, format!("{what}: two constraints in one element"));
                problems.push(problem.expected("one constraint for each element of the list"));
            }
        }
    }
    all
}

fn one(entry: &Entry, what: &str, problems: &mut Problems) -> Option<Constraint> {
    let (key, value) = (&entry.key, &entry.value);
    let mut length = || {
        let number = value.scalar().and_then(|s| s.as_int()).and_then(|n| u64::try_from(n).ok());
        if number.is_none() {
            problems.push(read::wrong(value, &key.name, "a whole number, 0 or more"));
        }
        number
    };
    Some(match key.name.as_str() {
        "equal" => Constraint::Equal(value.clone()),
        "greater_than" => Constraint::Compare(Comparison::Greater, value.clone()),
        "greater_or_equal" => Constraint::Compare(Comparison::AtLeast, value.clone()),
        "less_than" => Constraint::Compare(Comparison::Less, value.clone()),
        "less_or_equal" => Constraint::Compare(Comparison::AtMost, value.clone()),
        "valid_values" => Constraint::ValidValues(read::list(value, &key.name, problems).to_vec()),
        "length" => length().map(|n| Constraint::Length(n, n))?,
        "min_length" => Constraint::Length(length()?, u64::MAX),
        "max_length" => Constraint::Length(0, length()?),
        "in_range" => {
            let Some([low, high]) = value.list() else {
                problems.push(read::wrong(value, &key.name, "[LOWEST, HIGHEST]"));
                return None;
            };
            let bound = |node: &Node| (node.text() != Some("UNBOUNDED")).then(|| node.clone());
            Constraint::InRange(bound(low), bound(high))
        }
        "pattern" => pattern(value, &key.name, problems)?,
        _ => {
            problems.push(read::unknown_key(key, what, &NAMES));
            return None;
        }
    })
}

fn pattern(value: &Node, what: &str, problems: &mut Problems) -> Option<Constraint> {
    let text = read::text(value, what, problems)?;
    match Regex::new(&format!("^(?:{text})$")) {
        Ok(regex) => Some(Constraint::Pattern(regex)),
        Err(error) => {
            let why = error.to_string().lines().last().unwrap_or_default().replace("error: ", "");
            problems.push(Problem::at(&value.place, format!("{text:?} is no regular expression: {why}")));
            None
        }
    }
}

impl Constraint {
    /// What the value breaks, as "expected …"; `None` if it meets the condition.
    pub fn broken_by(&self, value: &Node, type_name: &str, scalars: &[ScalarType]) -> Option<String> {
        // Of a range both ends must meet the condition: then all between them does.
        let both = |limit: &Node, holds: &dyn Fn(Ordering) -> bool| {
            let ends = scalar::compare(value, limit, type_name, scalars);
            ends.is_some_and(|ends| ends.into_iter().all(holds))
        };
        match self {
            Self::Equal(other) => (!both(other, &Ordering::is_eq)).then(|| shown(other)),
            Self::Compare(how, limit) => {
                let holds = both(limit, &|order| how.holds(order));
                (!holds).then(|| format!("{} {}", how.words(), shown(limit)))
            }
            Self::InRange(low, high) => {
                let above = low.as_ref().is_none_or(|low| both(low, &Ordering::is_ge));
                let below = high.as_ref().is_none_or(|high| both(high, &Ordering::is_le));
                (!(above && below)).then(|| match (low, high) {
                    (Some(low), Some(high)) => format!("{} to {}", shown(low), shown(high)),
                    (Some(low), None) => format!("at least {}", shown(low)),
                    (_, high) => format!("at most {}", high.as_ref().map(shown).unwrap_or_default()),
                })
            }
            Self::ValidValues(known) => {
                let found = known.iter().any(|one| both(one, &Ordering::is_eq));
                (!found).then(|| one_of(known.iter().filter_map(Node::text)))
            }
            Self::Length(least, most) => {
                let count = length(value) as u64;
                (count < *least || count > *most).then(|| match (least, most) {
                    (least, most) if least == most => format!("a length of {least}"),
                    (0, most) => format!("a length of at most {most}"),
                    (least, _) => format!("a length of at least {least}"),
                })
            }
            Self::Pattern(regex) => {
                let matches = value.text().is_some_and(|text| regex.is_match(text));
                let inner = regex.as_str().trim_start_matches("^(?:").trim_end_matches(")$");
                (!matches).then(|| format!("a text of the form {inner}"))
            }
        }
    }
}

fn shown(node: &Node) -> String {
    node.text().map_or_else(|| node.to_json().to_string(), str::to_owned)
}

fn length(node: &Node) -> usize {
    match &node.kind {
        Kind::Scalar(scalar) => scalar.text.chars().count(),
        Kind::List(items) => items.len(),
        Kind::Map(entries) => entries.len(),
    }
}
