//! Reading Kubernetes' JSON: total. Whatever stands there, a value comes out; what is odd becomes a note with its place.
//!
//! One field of the wrong type must not hide a whole pod or node: a decision on a partial picture is worse than one on a
//! picture with a zero in it. Unknown fields are skipped silently, since every release of Kubernetes brings some.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde_json::Value;

use crate::quantity::Quantity;

/// More notes than this say nothing new, and a broken list of 10,000 objects must not fill the memory.
const NOTES_MAX: usize = 200;

/// Something that could not be read as it stands, and what was taken instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Where: `pods/default/web.spec.containers[0].resources`.
    pub place: String,
    /// What is odd and what is assumed, lower case, no full stop.
    pub text: String,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.text)
    }
}

/// What was odd, at most 200 of it, and how much there was in all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Notes {
    /// The first ones.
    pub kept: Vec<Note>,
    /// How many there were, with those that were not kept.
    pub count: usize,
}

impl Notes {
    pub(crate) fn add(&mut self, at: &Step<'_>, text: impl FnOnce() -> String) {
        self.count += 1;
        if self.kept.len() < NOTES_MAX {
            self.kept.push(Note { place: at.to_string(), text: text() });
        }
    }
}

/// A place in a document, as a chain on the stack: it costs nothing until a note needs it.
pub(crate) enum Step<'a> {
    Root(&'a str),
    Key(&'a Step<'a>, &'a str),
    Index(&'a Step<'a>, usize),
}

impl fmt::Display for Step<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root(name) => f.write_str(name),
            Self::Key(above, key) => write!(f, "{above}.{key}"),
            Self::Index(above, index) => write!(f, "{above}[{index}]"),
        }
    }
}

/// A value that can be read from any JSON at all.
pub(crate) trait Read: Default {
    fn read(value: &Value, at: &Step<'_>, notes: &mut Notes) -> Self;
}

/// A field of an object; absent and null are the default, as in Kubernetes.
pub(crate) fn field<T: Read>(object: &Value, key: &str, at: &Step<'_>, notes: &mut Notes) -> T {
    match object.get(key) {
        None | Some(Value::Null) => T::default(),
        Some(value) => T::read(value, &Step::Key(at, key), notes),
    }
}

/// Notes that something else was expected, and gives what is assumed: nothing.
pub(crate) fn odd<T: Default>(value: &Value, wanted: &str, at: &Step<'_>, notes: &mut Notes) -> T {
    let found = match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    notes.add(at, || format!("expected {wanted}, found {found}; taken as empty"));
    T::default()
}

/// True where a field says nothing, so that it need not be written.
pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Read for String {
    fn read(value: &Value, at: &Step<'_>, notes: &mut Notes) -> Self {
        value.as_str().map_or_else(|| odd(value, "a text", at, notes), str::to_owned)
    }
}

impl Read for bool {
    fn read(value: &Value, at: &Step<'_>, notes: &mut Notes) -> Self {
        value.as_bool().unwrap_or_else(|| odd(value, "true or false", at, notes))
    }
}

impl Read for i64 {
    fn read(value: &Value, at: &Step<'_>, notes: &mut Notes) -> Self {
        value.as_i64().unwrap_or_else(|| odd(value, "a whole number", at, notes))
    }
}

impl Read for Quantity {
    fn read(value: &Value, at: &Step<'_>, notes: &mut Notes) -> Self {
        // Written by hand, an amount may be a bare number.
        let text = match value {
            Value::String(text) => text.trim().to_owned(),
            Value::Number(number) => number.to_string(),
            _ => return odd(value, "a quantity", at, notes),
        };
        text.parse().unwrap_or_else(|error| {
            notes.add(at, || format!("{text:?} {error}; taken as 0"));
            Self::ZERO
        })
    }
}

impl Read for Timestamp {
    fn read(value: &Value, at: &Step<'_>, notes: &mut Notes) -> Self {
        let text = value.as_str().unwrap_or_default();
        text.parse().unwrap_or_else(|_| {
            notes.add(at, || format!("{value} is no time; taken as 1970"));
            Self::UNIX_EPOCH
        })
    }
}

impl<T: Read> Read for Option<T> {
    fn read(value: &Value, at: &Step<'_>, notes: &mut Notes) -> Self {
        Some(T::read(value, at, notes))
    }
}

impl<T: Read> Read for Vec<T> {
    fn read(value: &Value, at: &Step<'_>, notes: &mut Notes) -> Self {
        let Value::Array(items) = value else { return odd(value, "a list", at, notes) };
        items.iter().enumerate().map(|(n, item)| T::read(item, &Step::Index(at, n), notes)).collect()
    }
}

impl<T: Read> Read for BTreeMap<String, T> {
    fn read(value: &Value, at: &Step<'_>, notes: &mut Notes) -> Self {
        let Value::Object(fields) = value else { return odd(value, "an object", at, notes) };
        fields.iter().map(|(key, item)| (key.clone(), T::read(item, &Step::Key(at, key), notes))).collect()
    }
}

/// Plain data with Kubernetes' field names, that can be written, and read from anything.
macro_rules! object {
    ($(#[$meta:meta])* pub struct $name:ident { $($(#[$doc:meta])* $field:ident: $type:ty = $key:literal,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
        pub struct $name {
            $($(#[$doc])*
            #[serde(rename = $key, skip_serializing_if = "crate::view::read::is_default")]
            pub $field: $type,)*
        }

        impl $crate::view::read::Read for $name {
            fn read(
                value: &serde_json::Value,
                at: &$crate::view::read::Step<'_>,
                notes: &mut $crate::view::read::Notes,
            ) -> Self {
                if !value.is_object() {
                    return $crate::view::read::odd(value, "an object", at, notes);
                }
                Self { $($field: $crate::view::read::field(value, $key, at, notes),)* }
            }
        }
    };
}

/// One of some words; another word is kept, since a newer Kubernetes may know it.
macro_rules! words {
    ($(#[$meta:meta])* pub enum $name:ident { $($(#[$doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $name {
            $($(#[$doc])* $variant,)*
            /// A word that is not known here; empty if none was given.
            Other(String),
        }

        impl $name {
            /// The word, as Kubernetes writes it.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $word,)*
                    Self::Other(word) => word,
                }
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self::Other(String::new())
            }
        }

        impl From<&str> for $name {
            fn from(word: &str) -> Self {
                match word {
                    $($word => Self::$variant,)*
                    _ => Self::Other(word.to_owned()),
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl $crate::view::read::Read for $name {
            fn read(
                value: &serde_json::Value,
                at: &$crate::view::read::Step<'_>,
                notes: &mut $crate::view::read::Notes,
            ) -> Self {
                match value.as_str() {
                    Some(word) => word.into(),
                    None => $crate::view::read::odd(value, "a word", at, notes),
                }
            }
        }
    };
}

pub(crate) use {object, words};
