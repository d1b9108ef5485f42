//! `autoscaler:` of a cluster file: a [`Policy`] with the place of everything that is wrong in it.
//!
//! Two looks: each value by itself, by the table in `fields.rs`; then the whole against the pools, by the policy's own
//! check, which the daemon makes too.

mod fields;

use std::collections::BTreeMap;
use std::str::FromStr;

use self::fields::{FIELDS, Field, Kind, Sort};
use super::Warning;
use super::scalars::{CPU, MEMORY, parted};
use crate::diagnostic::{Flaw, Place, Problem, did_you_mean, one_of};
use crate::duration;
use crate::names::PoolName;
use crate::policy::{self, Policy, Price};
use crate::quantity::{Cpu, Memory, QuantityError};
use crate::spec::{Pool, Role};
use crate::tree::read::{self, Problems};
use crate::tree::{Entry, Node, de};

/// The key, and how it begins in messages.
const KEY: &str = "autoscaler";

/// JSON Schema of the value.
pub(super) fn schema() -> serde_json::Value {
    fields::schema()
}

/// Reads the value, each part by itself.
pub(super) fn read(node: &Node, problems: &mut Problems) -> Option<Policy> {
    if node.is_null() {
        return Some(Policy::default());
    }
    let before = problems.len();
    mapping(node, FIELDS, KEY, problems);
    if problems.len() > before {
        return None;
    }
    de::from_node(node).map_err(|problem| problems.push(problem)).ok()
}

/// What cannot be obeyed with these pools; without pools (they could not be read), what can never be obeyed.
pub(super) fn check(
    entry: &Entry,
    policy: &Policy,
    pools: Option<&BTreeMap<PoolName, Pool>>,
    problems: &mut Problems,
    warnings: &mut Vec<Warning>,
) {
    let nothing = BTreeMap::new();
    for found in policy.check_pools(pools.unwrap_or(&nothing)) {
        if pools.is_some() || !matches!(found, policy::Problem::NoPool(_)) {
            problems.push(placed(&entry.value, &found, pools.unwrap_or(&nothing)));
        }
    }
    if pools.is_some_and(|pools| !pools.values().any(Pool::is_elastic)) {
        let message = "autoscaler: no pool has a range of machines, so none will grow or shrink";
        let warning = Problem::at(&entry.key.place, message);
        warnings.push(warning.help("give a pool a range, for example count: 0..5, or remove autoscaler"));
    }
}

/// A problem of the policy where it is written.
fn placed(node: &Node, found: &policy::Problem, pools: &BTreeMap<PoolName, Pool>) -> Problem {
    let problem = |place: &Place| Problem::at(place, format!("{KEY}: {found}"));
    let value = |path: &str| -> Place {
        let inner = path.split('.').try_fold(node, |node, key| node.get(key));
        inner.unwrap_or(node).place.clone()
    };
    match found {
        policy::Problem::UnderUsed(_) => problem(&value("under_used")),
        policy::Problem::Zero(path) => problem(&value(path)),
        policy::Problem::Weights => problem(&value("weights")),
        policy::Problem::EmptySlot => problem(&value("head_room.of")),
        policy::Problem::Minimum { .. } => problem(&value("max.nodes")),
        policy::Problem::NoPrice(_) => {
            let by_price = node.get("expander").and_then(Node::text) == Some("price");
            problem(&value(if by_price { "expander" } else { "max.price" }))
        }
        policy::Problem::NoPool(name) => {
            let entry = node.get("pools").and_then(|pools| pools.entry(name.as_str()));
            let workers = pools.iter().filter(|(_, pool)| pool.role == Role::Worker);
            let known = workers.map(|(name, _)| name.as_str());
            problem(entry.map_or(&node.place, |entry| &entry.key.place))
                .kind(Flaw::NotThere)
                .expected(one_of(known.clone()))
                .maybe_help(did_you_mean(name.as_str(), known))
        }
    }
}

/// A mapping with these keys.
fn mapping(node: &Node, fields: &[Field], what: &str, problems: &mut Problems) {
    let Some(entries) = node.map() else {
        problems.push(read::wrong(node, what, "a mapping (KEY: VALUE)"));
        return;
    };
    let known: Vec<&str> = fields.iter().map(|field| field.name).collect();
    for entry in entries {
        match fields.iter().find(|field| field.name == entry.key.name) {
            Some(field) => value(&entry.value, field.kind, &format!("{what}.{}", field.name), problems),
            None => problems.push(read::unknown_key(&entry.key, what, &known)),
        }
    }
    let missing = |field: &&Field| field.required && node.get(field.name).is_none();
    for field in fields.iter().filter(missing) {
        if !read::misspelled(entries, field.name, &known) {
            let message = format!("{what}.{} is missing", field.name);
            let problem = Problem::at(&node.place.beginning(), message).kind(Flaw::Missing);
            problems.push(problem.expected(format!("{}: …", field.name)).help(field.description));
        }
    }
}

/// One value.
fn value(node: &Node, kind: Kind, what: &str, problems: &mut Problems) {
    match kind {
        Kind::Span => span(node, what, problems),
        Kind::Whole(most) => whole(node, most, what, problems),
        Kind::Integer => {
            if node.scalar().and_then(|scalar| scalar.as_int()).is_none() {
                problems.push(read::wrong(node, what, "a whole number"));
            }
        }
        Kind::Switch => drop(read::boolean(node, what, problems)),
        Kind::Cpu => amount::<Cpu>(node, CPU.expected, what, problems),
        Kind::Memory => amount::<Memory>(node, MEMORY.expected, what, problems),
        Kind::Price => drop(read::parsed::<Price>(node, what, problems)),
        Kind::Word(words) => word(node, words, what, problems),
        Kind::Texts => {
            let Some(items) = node.list() else {
                problems.push(read::wrong(node, what, "a list ([A, B] or lines with -)"));
                return;
            };
            for (at, item) in items.iter().enumerate() {
                read::text(item, &format!("{what}[{at}]"), problems);
            }
        }
        Kind::Fields(inner) => mapping(node, inner, what, problems),
        Kind::By(sort, inner) => by_name(node, sort, *inner, what, problems),
    }
}

/// An amount; none at all is one too, unlike the size of a machine.
fn amount<T: FromStr<Err = QuantityError>>(node: &Node, expected: &str, what: &str, problems: &mut Problems) {
    let Some(text) = node.text().filter(|_| !node.is_null()) else {
        problems.push(read::wrong(node, what, expected));
        return;
    };
    if let Err(error) = text.parse::<T>() {
        let (why, help) = parted(&error.reason);
        let problem = Problem::at(&node.place, format!("{what}: {text:?} {why}"));
        problems.push(problem.expected(expected).maybe_help(help));
    }
}

fn span(node: &Node, what: &str, problems: &mut Problems) {
    let Some(text) = node.text().filter(|_| !node.is_null()) else {
        problems.push(read::wrong(node, what, "a duration, for example 90s, 10m or 2h 30m"));
        return;
    };
    if let Err(why) = duration::parse(text) {
        problems.push(Problem::at(&node.place, format!("{what}: {text:?} {why}")));
    }
}

fn whole(node: &Node, most: u32, what: &str, problems: &mut Problems) {
    let Some(number) = node.scalar().and_then(|scalar| scalar.as_int()) else {
        problems.push(read::wrong(node, what, "a whole number, 0 or more"));
        return;
    };
    let why = match number {
        number if number < 0 => "is less than nothing".to_owned(),
        number if number > i64::from(most) => format!("is more than {most}"),
        _ => return,
    };
    problems.push(Problem::at(&node.place, format!("{what}: \"{number}\" {why}")));
}

fn word(node: &Node, words: &[&str], what: &str, problems: &mut Problems) {
    let Some(text) = read::text(node, what, problems) else { return };
    if !words.contains(&text) {
        let known = words.iter().copied();
        let problem = Problem::at(&node.place, format!("{what}: {text:?} is not known here"));
        problems.push(problem.expected(one_of(known.clone())).maybe_help(did_you_mean(text, known)));
    }
}

fn by_name(node: &Node, sort: Sort, kind: Kind, what: &str, problems: &mut Problems) {
    let Some(entries) = node.map() else {
        problems.push(read::wrong(node, what, "a mapping (NAME: VALUE)"));
        return;
    };
    for entry in entries {
        let name = &entry.key.name;
        if let (Sort::Pool, Err(error)) = (sort, PoolName::new(name)) {
            problems.push(Problem::at(&entry.key.place, format!("{what}: {name:?} {error}")));
        }
        value(&entry.value, kind, &format!("{what}.{name}"), problems);
    }
}
