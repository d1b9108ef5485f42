//! Inputs of recipes: their declarations, and values against them.

use serde_json::Value;

use super::model::{Input, InputKind};

/// What is wrong with a declaration.
pub(super) fn declaration(name: &str, input: &Input) -> Vec<String> {
    let mut problems = vec![];
    if let Some(pattern) = &input.pattern {
        if input.kind != InputKind::String {
            problems.push(format!("input {name:?}: only a string has a pattern"));
        }
        if regex::Regex::new(pattern).is_err() {
            problems.push(format!("input {name:?}: the pattern is no regular expression"));
        }
    }
    if let Some(default) = &input.default
        && let Err(why) = value(input, default)
    {
        problems.push(format!("input {name:?}: the default {why}"));
    }
    problems
}

/// Whether a value is of the input's type; the error reads well after the input's name.
pub(super) fn value(input: &Input, value: &Value) -> Result<(), String> {
    let right = match (input.kind, value) {
        (InputKind::String, Value::String(text)) => return pattern(input, text),
        (InputKind::Cidr, Value::String(text)) => return cidr(text),
        (InputKind::Integer, Value::Number(number)) => number.is_i64() || number.is_u64(),
        (InputKind::Boolean, Value::Bool(_)) => true,
        (InputKind::List, Value::Array(list)) => list.iter().all(Value::is_string),
        (InputKind::Map, Value::Object(map)) => map.values().all(Value::is_string),
        _ => false,
    };
    let wanted = match input.kind {
        InputKind::String => "a text",
        InputKind::Integer => "a whole number",
        InputKind::Boolean => "true or false",
        InputKind::Cidr => "an address range such as \"10.244.0.0/16\"",
        InputKind::List => "a list of texts",
        InputKind::Map => "a map of texts",
    };
    if right { Ok(()) } else { Err(format!("must be {wanted}")) }
}

fn pattern(input: &Input, text: &str) -> Result<(), String> {
    let Some(pattern) = &input.pattern else { return Ok(()) };
    // The whole text must match, also where the pattern has alternatives.
    match regex::Regex::new(&format!("^(?:{pattern})$")) {
        Ok(regex) if regex.is_match(text) => Ok(()),
        _ => Err(format!("must match {pattern}")),
    }
}

fn cidr(text: &str) -> Result<(), String> {
    let wrong = || Err("must be an address range such as \"10.244.0.0/16\"".to_owned());
    let Some((address, bits)) = text.split_once('/') else { return wrong() };
    let (Ok(address), Ok(bits)) = (address.parse::<std::net::IpAddr>(), bits.parse::<u32>()) else {
        return wrong();
    };
    let (number, width) = match address {
        std::net::IpAddr::V4(v4) => (u128::from(u32::from(v4)), 32),
        std::net::IpAddr::V6(v6) => (u128::from(v6), 128),
    };
    if bits > width {
        return wrong();
    }
    let host_bits = 1_u128.checked_shl(width - bits).map_or(u128::MAX, |bit| bit - 1);
    if number & host_bits != 0 {
        return Err(format!("has address bits after its first {bits}: no range begins there"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_checked_against_their_type() {
        let input = |kind| Input { kind, default: None, description: String::new(), pattern: None };
        let cases = [
            (InputKind::String, json!("x"), Ok(())),
            (InputKind::String, json!(1), Err("must be a text")),
            (InputKind::Integer, json!(7), Ok(())),
            (InputKind::Integer, json!(7.5), Err("must be a whole number")),
            (InputKind::Boolean, json!("true"), Err("must be true or false")),
            (InputKind::Cidr, json!("10.244.0.0/16"), Ok(())),
            (InputKind::Cidr, json!("fd00::/64"), Ok(())),
            (InputKind::Cidr, json!("0.0.0.0/0"), Ok(())),
            (InputKind::Cidr, json!("10.244.0.0/33"), Err("must be an address range such as \"10.244.0.0/16\"")),
            (
                InputKind::Cidr,
                json!("10.244.1.0/16"),
                Err("has address bits after its first 16: no range begins there"),
            ),
            (InputKind::List, json!(["a", 1]), Err("must be a list of texts")),
            (InputKind::Map, json!({"a": "b"}), Ok(())),
        ];
        for (kind, given, wanted) in cases {
            assert_eq!(value(&input(kind), &given), wanted.map_err(str::to_owned), "{kind:?} {given}");
        }
    }

    #[test]
    fn a_pattern_matches_the_whole_text() {
        let input = Input {
            kind: InputKind::String,
            default: Some(json!("udp")),
            description: String::new(),
            pattern: Some("vxlan|host-gw".into()),
        };
        assert_eq!(value(&input, &json!("host-gw")), Ok(()));
        assert_eq!(value(&input, &json!("xvxlan")), Err("must match vxlan|host-gw".into()));
        assert_eq!(declaration("backend", &input), ["input \"backend\": the default must match vxlan|host-gw"]);
    }
}
