//! Scalar types: TOSCA's own, and those that a caller brings (amounts of cpu, counts), all in one table.

use std::cmp::Ordering;

use crate::tree::Node;

/// A type of scalar values. The caller of [`super::read`] may bring more of them.
#[derive(Debug, Clone, Copy)]
pub struct ScalarType {
    /// As templates write it: `continuum.datatypes.Memory`.
    pub name: &'static str,
    /// What a value looks like, for "expected …".
    pub expected: &'static str,
    /// Its JSON Schema.
    pub schema: fn() -> serde_json::Value,
    /// Whether a scalar is one.
    pub check: fn(&Node) -> Verdict,
}

/// What a scalar type says of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is one; its magnitude, where values of the type can be compared.
    Fits(Option<i128>),
    /// It is one, and stands for all from the first magnitude to the second.
    Between(i128, i128),
    /// It is none, and what was expected says all.
    Misfit,
    /// It is none, for this reason, which goes on after the value, with what to do.
    Wrong(String, Option<String>),
}

/// Thousandths: numbers with a fraction are compared in these.
const MILLI: f64 = 1000.0;

fn number(node: &Node) -> Option<f64> {
    let scalar = node.scalar()?;
    #[expect(clippy::cast_precision_loss, reason = "numbers in templates are far below 2^53")]
    scalar.as_int().map(|n| n as f64).or_else(|| scalar.as_float())
}

fn fits(when: Option<i128>) -> Verdict {
    when.map_or(Verdict::Misfit, |magnitude| Verdict::Fits(Some(magnitude)))
}

fn text(node: &Node) -> Verdict {
    if node.text().is_some() && !node.is_null() { Verdict::Fits(None) } else { Verdict::Misfit }
}

fn integer(node: &Node) -> Verdict {
    fits(node.scalar().and_then(|scalar| scalar.as_int()).map(|n| i128::from(n) * 1000))
}

fn float(node: &Node) -> Verdict {
    #[expect(clippy::cast_possible_truncation, reason = "a fraction below a thousandth does not matter")]
    fits(number(node).map(|n| (n * MILLI) as i128))
}

fn boolean(node: &Node) -> Verdict {
    let value = node.scalar().and_then(|scalar| scalar.as_bool());
    if value.is_some() { Verdict::Fits(None) } else { Verdict::Misfit }
}

/// `NUMBER UNIT`, in thousandths of the base unit.
fn with_unit(node: &Node, units: &[(&str, i128)]) -> Verdict {
    let read = || {
        let text = node.text()?.trim();
        let split = text.find(|c: char| c.is_ascii_alphabetic())?;
        let number: f64 = text[..split].trim().parse().ok().filter(|n: &f64| n.is_finite() && *n >= 0.0)?;
        let unit = units.iter().find(|(name, _)| name.eq_ignore_ascii_case(&text[split..]))?;
        #[expect(clippy::cast_possible_truncation, reason = "a fraction below a thousandth does not matter")]
        let thousandths = (number * MILLI) as i128;
        thousandths.checked_mul(unit.1)
    };
    fits(read())
}

const SIZES: [(&str, i128); 9] = [
    ("B", 1),
    ("kB", 1000),
    ("KiB", 1 << 10),
    ("MB", 1_000_000),
    ("MiB", 1 << 20),
    ("GB", 1_000_000_000),
    ("GiB", 1 << 30),
    ("TB", 1_000_000_000_000),
    ("TiB", 1 << 40),
];
const TIMES: [(&str, i128); 7] = [
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1000),
    ("ns", 1),
];
const FREQUENCIES: [(&str, i128); 4] = [("Hz", 1), ("kHz", 1000), ("MHz", 1_000_000), ("GHz", 1_000_000_000)];

fn schema_of(kind: &str) -> serde_json::Value {
    serde_json::json!({ "type": kind })
}

/// TOSCA's own scalar types, as far as they are built.
pub const BUILT_IN: [ScalarType; 7] = [
    ScalarType {
        name: "string",
        expected: "a text",
        // YAML readers make numbers of plain texts; a string takes them as they are written.
        schema: || serde_json::json!({ "type": ["string", "number", "boolean"] }),
        check: text,
    },
    ScalarType {
        name: "integer",
        expected: "a whole number",
        schema: || schema_of("integer"),
        check: integer,
    },
    ScalarType { name: "float", expected: "a number", schema: || schema_of("number"), check: float },
    ScalarType {
        name: "boolean",
        expected: "true or false",
        schema: || schema_of("boolean"),
        check: boolean,
    },
    ScalarType {
        name: "scalar-unit.size",
        expected: "a size with a unit, for example 4 GiB",
        schema: || schema_of("string"),
        check: |node| with_unit(node, &SIZES),
    },
    ScalarType {
        name: "scalar-unit.time",
        expected: "a time with a unit, for example 30 s",
        schema: || schema_of("string"),
        check: |node| with_unit(node, &TIMES),
    },
    ScalarType {
        name: "scalar-unit.frequency",
        expected: "a frequency with a unit, for example 2.4 GHz",
        schema: || schema_of("string"),
        check: |node| with_unit(node, &FREQUENCIES),
    },
];

/// TOSCA's scalar types that are not built.
pub const NOT_BUILT: [&str; 5] = ["timestamp", "version", "range", "scalar-unit.bitrate", "bytes"];

/// The scalar type of this name.
pub fn find<'a>(name: &str, scalars: &'a [ScalarType]) -> Option<&'a ScalarType> {
    scalars.iter().find(|one| one.name == name).or_else(|| BUILT_IN.iter().find(|one| one.name == name))
}

/// How two values of a type compare, by their lower ends and by their upper ones (only a range has two); `None` where
/// they do not.
pub fn compare(a: &Node, b: &Node, type_name: &str, scalars: &[ScalarType]) -> Option<[Ordering; 2]> {
    let ends = |node: &Node| match (find(type_name, scalars)?.check)(node) {
        Verdict::Fits(magnitude) => magnitude.map(|one| [one, one]),
        Verdict::Between(low, high) => Some([low, high]),
        Verdict::Misfit | Verdict::Wrong(..) => None,
    };
    match (ends(a), ends(b)) {
        (Some(a), Some(b)) => Some([a[0].cmp(&b[0]), a[1].cmp(&b[1])]),
        _ if a.to_json() == b.to_json() => Some([Ordering::Equal; 2]),
        _ => Some([a.text()?.cmp(b.text()?); 2]),
    }
}
