//! A YAML document as a tree in which every key and value knows its place.
//!
//! This is what the readers of cluster files and TOSCA work on, and the value type of TOSCA itself, so that a
//! value that went through inputs, functions and defaults still points to the line where somebody wrote it.
//! Scalars keep their text as written: `1.30` asked for as a string is `1.30`.

use serde_json::Value;

use crate::diagnostic::Place;

pub mod de;
pub mod read;
#[cfg(test)]
mod tests;

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// What it is.
    pub kind: Kind,
    /// Where it is written; for an alias, where the alias stands.
    pub place: Place,
}

/// What a [`Node`] is.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// A text, number, truth value or nothing.
    Scalar(Scalar),
    /// `[a, b]`.
    List(Vec<Node>),
    /// `{a: 1}`, in the order of the file. Keys are unique.
    Map(Vec<Entry>),
}

/// A key with its value.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The key.
    pub key: Key,
    /// The value.
    pub value: Node,
}

/// A key of a mapping.
#[derive(Debug, Clone, PartialEq)]
pub struct Key {
    /// Its text.
    pub name: String,
    /// Where it stands.
    pub place: Place,
}

/// A scalar as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scalar {
    /// Its text, quotes and escapes resolved.
    pub text: String,
    /// Whether it was written without quotes: only then can it be anything but a string.
    pub plain: bool,
}

impl Scalar {
    /// `null`, `~` or nothing at all.
    pub fn is_null(&self) -> bool {
        self.plain && matches!(self.text.as_str(), "" | "~" | "null" | "Null" | "NULL")
    }

    /// `true` or `false`; `yes`, `on` and their like are strings, as YAML 1.2 says.
    pub fn as_bool(&self) -> Option<bool> {
        match self.text.as_str() {
            "true" | "True" | "TRUE" if self.plain => Some(true),
            "false" | "False" | "FALSE" if self.plain => Some(false),
            _ => None,
        }
    }

    /// A whole number. `012` and `1_000` are strings: readers disagree about them.
    pub fn as_int(&self) -> Option<i64> {
        if !self.plain {
            return None;
        }
        let digits = self.text.strip_prefix(['-', '+']).unwrap_or(&self.text);
        let canonical = digits == "0" || !digits.starts_with('0') && !digits.starts_with(['-', '+']);
        canonical.then(|| self.text.parse().ok())?
    }

    /// A number with a point or an exponent; never infinite.
    pub fn as_float(&self) -> Option<f64> {
        let begins = |c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.');
        if !self.plain || !self.text.starts_with(begins) || !self.text.contains(['.', 'e', 'E']) {
            return None;
        }
        self.text.parse().ok().filter(|number: &f64| number.is_finite())
    }
}

impl Node {
    /// A string made by us, at the place of what it was made from.
    pub fn string(text: impl Into<String>, place: &Place) -> Self {
        let scalar = Scalar { text: text.into(), plain: false };
        Self { kind: Kind::Scalar(scalar), place: place.clone() }
    }

    /// An empty mapping, at the place of what it was made from.
    pub fn empty_map(place: &Place) -> Self {
        Self { kind: Kind::Map(Vec::new()), place: place.clone() }
    }

    /// The text of a scalar as written.
    pub fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Scalar(scalar) => Some(&scalar.text),
            _ => None,
        }
    }

    /// The scalar.
    pub fn scalar(&self) -> Option<&Scalar> {
        match &self.kind {
            Kind::Scalar(scalar) => Some(scalar),
            _ => None,
        }
    }

    /// Whether nothing is written here.
    pub fn is_null(&self) -> bool {
        self.scalar().is_some_and(Scalar::is_null)
    }

    /// The elements of a list.
    pub fn list(&self) -> Option<&[Node]> {
        match &self.kind {
            Kind::List(items) => Some(items),
            _ => None,
        }
    }

    /// The entries of a mapping.
    pub fn map(&self) -> Option<&[Entry]> {
        match &self.kind {
            Kind::Map(entries) => Some(entries),
            _ => None,
        }
    }

    /// The value of a key of a mapping.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|entry| &entry.value)
    }

    /// The entry of a key of a mapping.
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.map()?.iter().find(|entry| entry.key.name == key)
    }

    /// The same value at another place: what a function made is shown where the function stands.
    #[must_use]
    pub fn moved(mut self, place: &Place) -> Self {
        self.place = place.clone();
        self
    }

    /// What it is, for messages: `"three"`, `the number 5`, `a list`.
    pub fn found(&self) -> String {
        match &self.kind {
            Kind::List(_) => "a list".into(),
            Kind::Map(_) => "a mapping".into(),
            Kind::Scalar(scalar) if scalar.is_null() => "nothing".into(),
            Kind::Scalar(scalar) if scalar.as_bool().is_some() => scalar.text.clone(),
            Kind::Scalar(scalar) if scalar.as_int().is_some() || scalar.as_float().is_some() => {
                format!("the number {}", scalar.text)
            }
            Kind::Scalar(scalar) => format!("{:?}", shorten(&scalar.text)),
        }
    }

    /// As JSON: `012` is a string, `12` a number.
    pub fn to_json(&self) -> Value {
        match &self.kind {
            Kind::List(items) => items.iter().map(Self::to_json).collect(),
            Kind::Map(entries) => {
                let pairs = entries.iter().map(|e| (e.key.name.clone(), e.value.to_json()));
                Value::Object(pairs.collect())
            }
            Kind::Scalar(scalar) if scalar.is_null() => Value::Null,
            Kind::Scalar(scalar) => {
                let number =
                    || scalar.as_int().map(Value::from).or_else(|| scalar.as_float().map(Value::from));
                let value = scalar.as_bool().map(Value::from).or_else(number);
                value.unwrap_or_else(|| Value::String(scalar.text.clone()))
            }
        }
    }
}

/// A long text is shown by its beginning.
fn shorten(text: &str) -> String {
    const SHOWN: usize = 40;
    if text.chars().count() <= SHOWN {
        return text.to_owned();
    }
    format!("{}…", text.chars().take(SHOWN).collect::<String>())
}
