//! The scalar types that templates of ours may use beside TOSCA's own: checked by the types of the library itself.

use std::net::IpAddr;

use serde_json::json;

use super::range;
use crate::names::RecipeName;
use crate::quantity::{Cpu, Memory};
use crate::tosca::scalar::{ScalarType, Verdict};
use crate::tree::Node;

/// All of them.
pub const SCALARS: [ScalarType; 8] = [
    CPU,
    MEMORY,
    ScalarType {
        name: "continuum.datatypes.Count",
        expected: "a whole number of machines, 0 to 2000, or a range such as 0..5",
        schema: count_schema,
        check: count,
    },
    ScalarType {
        name: "continuum.datatypes.Port",
        expected: "a port, 1 to 65535",
        schema: || json!({ "type": "integer", "minimum": 1, "maximum": 65535 }),
        check: port,
    },
    ScalarType {
        name: "continuum.datatypes.Cidr",
        expected: "a network, for example 10.244.0.0/16",
        schema: || json!({ "type": "string", "pattern": "^[0-9a-fA-F.:]+/[0-9]{1,3}$" }),
        check: cidr,
    },
    ScalarType {
        name: "continuum.datatypes.Label",
        expected: "at most 63 letters, digits, -, _ and ., a letter or digit at both ends",
        schema: || json!({ "type": ["string", "number", "boolean"], "maxLength": 63 }),
        check: label,
    },
    ScalarType {
        name: "continuum.datatypes.Taint",
        expected: "KEY=VALUE:EFFECT or KEY:EFFECT",
        schema: || json!({ "type": "string", "pattern": "^[^=:]+(=[^=:]*)?:(NoSchedule|PreferNoSchedule|NoExecute)$" }),
        check: taint,
    },
    ScalarType {
        name: "continuum.datatypes.RecipeName",
        expected: "the name of a recipe",
        schema: || json!({ "type": "string", "pattern": "^[a-z][a-z0-9-]*$", "maxLength": 40 }),
        check: recipe,
    },
];

/// An amount of cpu.
pub const CPU: ScalarType = ScalarType {
    name: "continuum.datatypes.Cpu",
    expected: "cores (2, 0.5) or thousandths of one (500m)",
    schema: || json!({ "type": ["integer", "number", "string"], "pattern": r"^[0-9]*\.?[0-9]+m?$" }),
    check: cpu,
};
/// An amount of memory.
pub const MEMORY: ScalarType = ScalarType {
    name: "continuum.datatypes.Memory",
    expected: "memory with a unit, for example 4Gi or 512Mi",
    schema: || json!({ "type": ["integer", "string"], "pattern": r"^[0-9]*\.?[0-9]+([KMGTP]i|[kMGTP])?$" }),
    check: memory,
};

/// The most machines of one pool: what a ledger can hold.
pub const MAX_COUNT: i64 = 2000;

fn wrong(why: impl ToString) -> Verdict {
    Verdict::Wrong(why.to_string(), None)
}

fn text(node: &Node) -> Option<&str> {
    node.text().filter(|_| !node.is_null())
}

/// A quantity says in its own words what is wrong: a hint in brackets becomes the help.
fn quantity(amount: Result<i128, String>) -> Verdict {
    match amount {
        Ok(0) => wrong("is no size"),
        Ok(amount) => Verdict::Fits(Some(amount)),
        Err(reason) => {
            let (why, help) = parted(&reason);
            Verdict::Wrong(why, help)
        }
    }
}

/// What is wrong, and the hint, of a quantity's own words: what would be right is said beside the caret.
pub(super) fn parted(reason: &str) -> (String, Option<String>) {
    let why = reason.split(':').next().unwrap_or_default().to_owned();
    let hint = reason.find("did you mean").map(|at| reason[at..].trim_end_matches(')').to_owned());
    (why, hint)
}

fn cpu(node: &Node) -> Verdict {
    let Some(text) = text(node) else { return Verdict::Misfit };
    quantity(text.parse::<Cpu>().map(|cpu| i128::from(cpu.millis)).map_err(|error| error.reason))
}

fn memory(node: &Node) -> Verdict {
    let Some(text) = text(node) else { return Verdict::Misfit };
    match text.parse::<Memory>() {
        // Nobody means a machine of four bytes.
        Ok(memory) if (1..1 << 20).contains(&memory.bytes) => {
            Verdict::Wrong("is less than 1Mi".into(), Some(format!("did you mean \"{text}Gi\"?")))
        }
        amount => quantity(amount.map(|memory| i128::from(memory.bytes)).map_err(|error| error.reason)),
    }
}

fn count(node: &Node) -> Verdict {
    if let Some(number) = node.scalar().and_then(|scalar| scalar.as_int()) {
        return match number {
            0..=MAX_COUNT => Verdict::Fits(Some(number.into())),
            number if number < 0 => wrong("is less than nothing"),
            _ => wrong(format!("is more than {MAX_COUNT}")),
        };
    }
    match text(node).and_then(range::read) {
        Some(Ok(range)) => Verdict::Between((*range.start()).into(), (*range.end()).into()),
        Some(Err((why, help))) => Verdict::Wrong(why, help),
        None => Verdict::Misfit,
    }
}

/// That a minimum is not above its maximum is for the reader to say.
fn count_schema() -> serde_json::Value {
    const MOST: &str = "[1-9][0-9]{0,2}|1[0-9]{3}|2000";
    json!({
        "type": ["integer", "string"], "minimum": 0, "maximum": MAX_COUNT,
        "pattern": format!(r"^(0|{MOST})\.\.({MOST})$")
    })
}

fn port(node: &Node) -> Verdict {
    match node.scalar().and_then(|scalar| scalar.as_int()) {
        Some(number @ 1..=65535) => Verdict::Fits(Some(number.into())),
        _ => Verdict::Misfit,
    }
}

fn cidr(node: &Node) -> Verdict {
    let Some((address, length)) = text(node).and_then(|text| text.split_once('/')) else {
        return Verdict::Misfit;
    };
    let Ok(address) = address.parse::<IpAddr>() else { return Verdict::Misfit };
    let bits: u32 = if address.is_ipv4() { 32 } else { 128 };
    let Some(length) = length.parse::<u32>().ok().filter(|length| *length <= bits) else {
        return wrong(format!("has no prefix length of 0 to {bits}"));
    };
    let number: u128 = match address {
        IpAddr::V4(address) => u128::from(u32::from(address)),
        IpAddr::V6(address) => address.into(),
    };
    let host = if length == 0 { u128::MAX } else { (1 << (bits - length)) - 1 };
    if number & host & mask(bits) == 0 {
        return Verdict::Fits(None);
    }
    let network = number & !host;
    let network = match address {
        IpAddr::V4(_) => IpAddr::V4(u32::try_from(network).unwrap_or_default().into()),
        IpAddr::V6(_) => IpAddr::V6(network.into()),
    };
    Verdict::Wrong("has bits set behind its prefix".into(), Some(format!("did you mean {network}/{length}?")))
}

fn mask(bits: u32) -> u128 {
    if bits == 32 { u128::from(u32::MAX) } else { u128::MAX }
}

/// A label's value, or the part of its key behind the slash.
pub fn is_label(text: &str) -> bool {
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    text.len() <= 63 && edge(text.chars().next()) && edge(text.chars().last()) && text.chars().all(inner)
}

fn label(node: &Node) -> Verdict {
    match node.text() {
        Some(text) if text.is_empty() || is_label(text) => Verdict::Fits(None),
        _ => Verdict::Misfit,
    }
}

fn taint(node: &Node) -> Verdict {
    const EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
    let Some((rest, effect)) = text(node).and_then(|text| text.rsplit_once(':')) else {
        return Verdict::Misfit;
    };
    let (key, value) = rest.split_once('=').unwrap_or((rest, ""));
    let name = key.rsplit('/').next().unwrap_or_default();
    if !is_label(name) || !(value.is_empty() || is_label(value)) {
        return Verdict::Misfit;
    }
    if EFFECTS.contains(&effect) {
        return Verdict::Fits(None);
    }
    let help = crate::diagnostic::did_you_mean(effect, EFFECTS);
    Verdict::Wrong(
        format!("has the effect {effect:?}"),
        help.or_else(|| Some(format!("effects are {}", EFFECTS.join(", ")))),
    )
}

fn recipe(node: &Node) -> Verdict {
    match text(node).map(RecipeName::new) {
        Some(Ok(_)) => Verdict::Fits(None),
        Some(Err(error)) => wrong(error),
        None => Verdict::Misfit,
    }
}
