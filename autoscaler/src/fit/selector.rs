//! Selectors of labels: the semantics of `k8s.io/apimachinery/pkg/labels`, with its checks.
//!
//! A selector that no API server takes is an error here too, with the words that say why.

use crate::view::{LabelSelector, Labels, Operator, Requirement};

/// Which labels match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Selector {
    /// None do: where a selector is optional, no selector.
    Nothing,
    /// Those that meet every clause; without clauses all.
    All(Vec<Clause>),
}

/// A condition on one label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Clause {
    pub(crate) key: String,
    pub(crate) test: Test,
}

/// What a label must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Test {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    Absent,
    Above(i64),
    Below(i64),
}

impl Selector {
    /// A selector, or what is wrong with it.
    pub(crate) fn parse(selector: Option<&LabelSelector>) -> Result<Self, String> {
        let Some(selector) = selector else { return Ok(Self::Nothing) };
        let mut clauses = Vec::with_capacity(selector.match_labels.len() + selector.match_expressions.len());
        for (key, value) in &selector.match_labels {
            clauses.push(Clause::checked(key, Test::In(vec![value.clone()]))?);
        }
        for requirement in &selector.match_expressions {
            if matches!(requirement.operator, Operator::Gt | Operator::Lt) {
                return Err(format!("compares labels with {}, which only nodes have", requirement.operator));
            }
            clauses.push(Clause::parse(requirement)?);
        }
        Ok(Self::All(clauses))
    }

    /// Whether labels match.
    pub(crate) fn matches(&self, labels: &Labels) -> bool {
        match self {
            Self::Nothing => false,
            Self::All(clauses) => clauses.iter().all(|clause| clause.matches(labels)),
        }
    }

    /// Whether it says nothing, and so matches everything.
    pub(crate) fn is_everything(&self) -> bool {
        matches!(self, Self::All(clauses) if clauses.is_empty())
    }

    /// One more condition, if it matches anything at all.
    pub(crate) fn and(&mut self, key: &str, value: &str) {
        if let Self::All(clauses) = self {
            clauses.push(Clause { key: key.to_owned(), test: Test::In(vec![value.to_owned()]) });
        }
    }
}

impl Clause {
    /// A clause, or what is wrong with it.
    pub(crate) fn parse(requirement: &Requirement) -> Result<Self, String> {
        let Requirement { key, operator, values } = requirement;
        let test = match (operator, values.as_slice()) {
            (Operator::In | Operator::NotIn, []) => {
                return Err(format!("has {operator} without values for {key:?}"));
            }
            (Operator::In, _) => Test::In(values.clone()),
            (Operator::NotIn, _) => Test::NotIn(values.clone()),
            (Operator::Exists, []) => Test::Exists,
            (Operator::DoesNotExist, []) => Test::Absent,
            (Operator::Exists | Operator::DoesNotExist, _) => {
                return Err(format!("has {operator} with values for {key:?}"));
            }
            (Operator::Gt | Operator::Lt, [one]) => match (one.parse(), operator) {
                (Ok(number), Operator::Gt) if is_label_value(one) => Test::Above(number),
                (Ok(number), _) if is_label_value(one) => Test::Below(number),
                _ => return Err(format!("compares {key:?} with {one:?}, which is no whole number")),
            },
            (Operator::Gt | Operator::Lt, _) => {
                return Err(format!("has {operator} for {key:?} without exactly one value"));
            }
            (Operator::Other(word), _) => {
                return Err(format!("has the unknown operator {word:?} for {key:?}"));
            }
        };
        Self::checked(key, test)
    }

    fn checked(key: &str, test: Test) -> Result<Self, String> {
        if !is_qualified_name(key) {
            return Err(format!("has {key:?}, which cannot be the name of a label"));
        }
        if let Test::In(values) | Test::NotIn(values) = &test
            && let Some(bad) = values.iter().find(|value| !is_label_value(value))
        {
            return Err(format!("has {bad:?}, which cannot be the value of a label"));
        }
        Ok(Self { key: key.to_owned(), test })
    }

    /// Whether labels meet it.
    pub(crate) fn matches(&self, labels: &Labels) -> bool {
        self.test.meets(labels.get(&self.key).map(String::as_str))
    }

    /// In words, with what was found instead.
    pub(crate) fn unmet(&self, labels: &Labels) -> String {
        let has = labels.get(&self.key).map_or_else(|| "nothing".to_owned(), |value| format!("{value:?}"));
        let key = &self.key;
        match &self.test {
            Test::In(values) => format!("{key} in [{}], the node has {has}", values.join(", ")),
            Test::NotIn(values) => format!("{key} not in [{}], the node has {has}", values.join(", ")),
            Test::Exists => format!("{key} is there, the node has {has}"),
            Test::Absent => format!("{key} is not there, the node has {has}"),
            Test::Above(number) => format!("{key} above {number}, the node has {has}"),
            Test::Below(number) => format!("{key} below {number}, the node has {has}"),
        }
    }
}

impl Test {
    fn meets(&self, value: Option<&str>) -> bool {
        match self {
            Self::In(values) => value.is_some_and(|value| values.iter().any(|v| v == value)),
            Self::NotIn(values) => value.is_none_or(|value| values.iter().all(|v| v != value)),
            Self::Exists => value.is_some(),
            Self::Absent => value.is_none(),
            Self::Above(number) => value.and_then(|v| v.parse::<i64>().ok()).is_some_and(|v| v > *number),
            Self::Below(number) => value.and_then(|v| v.parse::<i64>().ok()).is_some_and(|v| v < *number),
        }
    }
}

/// Letters and digits, with `-`, `_` and `.` between them; at most 63.
fn is_name(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let edge = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    bytes.len() <= 63 && edge(bytes.first()) && edge(bytes.last()) && bytes.iter().all(|b| inner(*b))
}

/// What a label can be: nothing, or a name.
fn is_label_value(text: &str) -> bool {
    text.is_empty() || is_name(text)
}

/// What labels and resources are called: a name, perhaps after a DNS domain and a slash.
pub(super) fn is_qualified_name(text: &str) -> bool {
    let lower = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let is_domain = |domain: &str| {
        domain.len() <= 253
            && domain.split('.').all(|part| {
                let bytes = part.as_bytes();
                bytes.first().is_some_and(lower)
                    && bytes.last().is_some_and(lower)
                    && bytes.iter().all(|b| lower(b) || *b == b'-')
            })
    };
    match text.split_once('/') {
        None => is_name(text),
        Some((domain, name)) => is_domain(domain) && is_name(name),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn requirement(key: &str, operator: &str, values: &[&str]) -> Requirement {
        let values = values.iter().map(|&v| v.to_owned()).collect();
        Requirement { key: key.into(), operator: operator.into(), values }
    }

    #[test]
    fn each_operator_matches_what_kubernetes_matches() {
        let labels: Labels =
            [("zone", "a"), ("n", "5"), ("word", "x")].map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        for (key, operator, values, matches) in [
            ("zone", "In", vec!["a", "b"], true),
            ("zone", "In", vec!["b"], false),
            ("none", "In", vec!["b"], false),
            ("zone", "NotIn", vec!["b"], true),
            ("zone", "NotIn", vec!["a"], false),
            ("none", "NotIn", vec!["a"], true),
            ("zone", "Exists", vec![], true),
            ("none", "Exists", vec![], false),
            ("none", "DoesNotExist", vec![], true),
            ("zone", "DoesNotExist", vec![], false),
            ("n", "Gt", vec!["4"], true),
            ("n", "Gt", vec!["5"], false),
            ("n", "Lt", vec!["6"], true),
            ("word", "Lt", vec!["6"], false),
            ("none", "Gt", vec!["0"], false),
        ] {
            let clause = Clause::parse(&requirement(key, operator, &values)).unwrap();
            assert_eq!(clause.matches(&labels), matches, "{key} {operator} {values:?}");
        }
    }

    #[test]
    fn what_an_api_server_refuses_is_refused_with_the_reason() {
        for (key, operator, values, problem) in [
            ("zone", "In", vec![], "has In without values for \"zone\""),
            ("zone", "Exists", vec!["a"], "has Exists with values for \"zone\""),
            ("zone", "Gt", vec!["x"], "compares \"zone\" with \"x\", which is no whole number"),
            ("zone", "Lt", vec!["1", "2"], "has Lt for \"zone\" without exactly one value"),
            ("zone", "Like", vec!["a"], "has the unknown operator \"Like\" for \"zone\""),
            ("-zone", "Exists", vec![], "has \"-zone\", which cannot be the name of a label"),
            ("a.b/c/d", "Exists", vec![], "has \"a.b/c/d\", which cannot be the name of a label"),
            ("zone", "In", vec!["a b"], "has \"a b\", which cannot be the value of a label"),
        ] {
            assert_eq!(Clause::parse(&requirement(key, operator, &values)), Err(problem.to_owned()));
        }
    }

    proptest! {
        #[test]
        fn any_requirement_is_read_or_refused(key in ".{0,80}", operator in "In|NotIn|Exists|DoesNotExist|Gt|Lt|.{0,4}",
                values in prop::collection::vec(".{0,70}", 0..3), label in ".{0,10}") {
            let values: Vec<&str> = values.iter().map(String::as_str).collect();
            if let Ok(clause) = Clause::parse(&requirement(&key, &operator, &values)) {
                let labels = Labels::from([(key, label)]);
                let _ = clause.matches(&labels);
                prop_assert!(clause.unmet(&labels).contains("the node has"));
            }
        }
    }
}
