//! The smallest case that still differs: whatever can be left out of a document is left out, until nothing more can.

use serde_json::Value;

/// A way into a document.
#[derive(Debug, Clone)]
enum Step {
    Key(String),
    Index(usize),
}

/// The smallest document that `differs` still accepts, by leaving out fields and list items one at a time.
pub(crate) fn smallest(case: &Value, mut differs: impl FnMut(&Value) -> bool) -> Value {
    let mut best = case.clone();
    loop {
        let mut ways = Vec::new();
        collect(&best, &mut Vec::new(), &mut ways);
        let smaller = ways.iter().find_map(|way| {
            let mut candidate = best.clone();
            remove(&mut candidate, way);
            differs(&candidate).then_some(candidate)
        });
        match smaller {
            Some(candidate) => best = candidate,
            None => return best,
        }
    }
}

/// Every part that can be left out, large parts first.
fn collect(value: &Value, at: &mut Vec<Step>, ways: &mut Vec<Vec<Step>>) {
    let children: Vec<(Step, &Value)> = match value {
        Value::Object(fields) => fields.iter().map(|(key, child)| (Step::Key(key.clone()), child)).collect(),
        Value::Array(items) => items.iter().enumerate().map(|(n, child)| (Step::Index(n), child)).collect(),
        _ => return,
    };
    let below = |(step, child): &(Step, &Value), at: &mut Vec<Step>, ways: &mut Vec<Vec<Step>>| {
        at.push(step.clone());
        collect(child, at, ways);
        at.pop();
    };
    for (step, _) in &children {
        let mut way = at.clone();
        way.push(step.clone());
        ways.push(way);
    }
    children.iter().for_each(|child| below(child, at, ways));
}

fn remove(value: &mut Value, way: &[Step]) {
    let Some((last, above)) = way.split_last() else { return };
    let parent = above.iter().try_fold(value, |value, step| match step {
        Step::Key(key) => value.get_mut(key),
        Step::Index(index) => value.get_mut(index),
    });
    match (parent, last) {
        (Some(Value::Object(fields)), Step::Key(key)) => {
            fields.remove(key);
        }
        (Some(Value::Array(items)), Step::Index(index)) if *index < items.len() => {
            items.remove(*index);
        }
        _ => {}
    }
}

#[test]
fn shrinking_keeps_only_what_makes_the_difference() {
    let case = serde_json::json!({"a": [1, {"b": 2, "c": [3]}], "d": {"e": 4}});
    let small = smallest(&case, |value| value.to_string().contains("\"c\":["));
    assert_eq!(small, serde_json::json!({"a": [{"c": []}]}));
}
