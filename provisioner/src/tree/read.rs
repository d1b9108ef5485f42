//! Reading a tree by hand, collecting every problem: each function returns what could be read and notes the rest.

use std::fmt::Display;
use std::str::FromStr;

use super::{Entry, Key, Node};
use crate::diagnostic::{Flaw, Problem, did_you_mean, nearest, one_of};

/// The problems found so far.
pub type Problems = Vec<Problem>;

/// The entries of a mapping; none of nothing.
pub fn map<'a>(node: &'a Node, what: &str, problems: &mut Problems) -> &'a [Entry] {
    if node.is_null() {
        return &[];
    }
    node.map().unwrap_or_else(|| {
        problems.push(wrong(node, what, "a mapping (KEY: VALUE)"));
        &[]
    })
}

/// The elements of a list; none of nothing.
pub fn list<'a>(node: &'a Node, what: &str, problems: &mut Problems) -> &'a [Node] {
    if node.is_null() {
        return &[];
    }
    node.list().unwrap_or_else(|| {
        problems.push(wrong(node, what, "a list ([A, B] or lines with -)"));
        &[]
    })
}

/// A text: any scalar but nothing.
pub fn text<'a>(node: &'a Node, what: &str, problems: &mut Problems) -> Option<&'a str> {
    let text = node.text().filter(|_| !node.is_null());
    if text.is_none() {
        problems.push(wrong(node, what, "a text"));
    }
    text
}

/// `true` or `false`.
pub fn boolean(node: &Node, what: &str, problems: &mut Problems) -> Option<bool> {
    let value = node.scalar().and_then(super::Scalar::as_bool);
    if value.is_none() {
        problems.push(wrong(node, what, "true or false"));
    }
    value
}

/// A text that a type of ours checks; the type's words go on after the text.
pub fn parsed<T: FromStr<Err: Display>>(node: &Node, what: &str, problems: &mut Problems) -> Option<T> {
    let text = text(node, what, problems)?;
    match text.parse() {
        Ok(value) => Some(value),
        Err(error) => {
            problems.push(Problem::at(&node.place, format!("{what}: {text:?} {error}")));
            None
        }
    }
}

/// A text with the place of its node, as a key.
pub fn name(node: &Node, what: &str, problems: &mut Problems) -> Option<Key> {
    let name = text(node, what, problems)?.to_owned();
    Some(Key { name, place: node.place.clone() })
}

/// Notes every key that is not known.
pub fn only(entries: &[Entry], what: &str, known: &[&str], problems: &mut Problems) {
    for entry in entries {
        if !known.contains(&entry.key.name.as_str()) {
            problems.push(unknown_key(&entry.key, what, known));
        }
    }
}

/// Whether one of the unknown keys was probably meant to be `name`: then it is not missing as well.
pub fn misspelled(entries: &[Entry], name: &str, known: &[&str]) -> bool {
    let unknown = entries.iter().map(|entry| entry.key.name.as_str()).filter(|key| !known.contains(key));
    unknown.into_iter().any(|key| nearest(key, known.iter().copied()) == Some(name))
}

/// A key that is not known.
pub fn unknown_key(key: &Key, what: &str, known: &[&str]) -> Problem {
    Problem::at(&key.place, format!("unknown key {:?} in {what}", key.name))
        .kind(Flaw::UnknownKey)
        .expected(one_of(known.iter().copied()))
        .maybe_help(did_you_mean(&key.name, known.iter().copied()))
}

/// A value of the wrong kind.
pub fn wrong(node: &Node, what: &str, expected: &str) -> Problem {
    Problem::at(&node.place, format!("{what}: found {}", node.found()))
        .kind(Flaw::WrongKind)
        .expected(expected)
}

/// A key that is known and not built: refused, never ignored.
pub fn not_built(key: &Key, what: &str, word: &str) -> Problem {
    Problem::at(&key.place, format!("{:?} in {what} is not built yet", key.name))
        .kind(Flaw::NotBuilt)
        .help(word)
}
