//! serde over a [`Node`]: a type is read from a tree, and whatever does not fit is a [`Problem`] with its place.

use std::fmt;

use serde::de::value::StrDeserializer;
use serde::de::{self, DeserializeOwned, DeserializeSeed, Expected, IntoDeserializer, Unexpected, Visitor};

use super::{Entry, Kind, Node};
use crate::diagnostic::{self, Place, Problem, did_you_mean, one_of};

/// Reads a type. Stops at the first thing that does not fit, as serde does.
pub fn from_node<T: DeserializeOwned>(node: &Node) -> Result<T, Problem> {
    T::deserialize(node).map_err(|error| error.problem(&node.place))
}

/// What did not fit; the place is put on by the innermost node that knows it.
#[derive(Debug)]
pub struct Error {
    kind: diagnostic::Flaw,
    message: String,
    expected: String,
    help: Option<String>,
    place: Option<Place>,
    /// The type's own words, which may go on after the value: "is no amount of memory".
    own_words: bool,
}

impl Error {
    fn new(message: String, expected: String) -> Self {
        Self {
            kind: diagnostic::Flaw::WrongKind,
            message,
            expected,
            help: None,
            place: None,
            own_words: false,
        }
    }

    fn within(mut self, node: &Node) -> Self {
        if self.place.is_none() {
            self.place = Some(node.place.clone());
            let goes_on =
                ["is ", "has ", "begins ", "ends "].iter().any(|verb| self.message.starts_with(verb));
            if self.own_words && goes_on && node.text().is_some() {
                self.message = format!("{} {}", node.found(), self.message);
            }
        }
        self
    }

    fn problem(self, fallback: &Place) -> Problem {
        let place = self.place.as_ref().unwrap_or(fallback);
        Problem::at(place, self.message).kind(self.kind).expected(self.expected).maybe_help(self.help)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
impl std::error::Error for Error {}

/// serde names Rust's types; people know other words.
fn wanted(expected: &dyn Expected) -> String {
    let text = expected.to_string();
    match text.as_str() {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number, 0 or more".into(),
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number".into(),
        "f32" | "f64" => "a number".into(),
        "a string" | "string" => "a text".into(),
        "a boolean" => "true or false".into(),
        "a sequence" => "a list".into(),
        "a map" => "a mapping".into(),
        other if other.starts_with("struct ") => "a mapping".into(),
        _ => text,
    }
}

impl de::Error for Error {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self {
            kind: diagnostic::Flaw::Value,
            own_words: true,
            ..Self::new(message.to_string(), String::new())
        }
    }
    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let found = match found {
            Unexpected::Str(text) => format!("{text:?}"),
            Unexpected::Signed(number) => format!("the number {number}"),
            Unexpected::Unsigned(number) => format!("the number {number}"),
            Unexpected::Float(number) => format!("the number {number}"),
            Unexpected::Bool(value) => value.to_string(),
            Unexpected::Unit | Unexpected::Option => "nothing".into(),
            Unexpected::Seq => "a list".into(),
            Unexpected::Map => "a mapping".into(),
            other => other.to_string(),
        };
        Self::new(format!("found {found}"), wanted(expected))
    }
    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_type(found, expected)
    }
    fn invalid_length(len: usize, expected: &dyn Expected) -> Self {
        Self::new(format!("found {len} elements"), wanted(expected))
    }
    fn unknown_variant(found: &str, known: &'static [&'static str]) -> Self {
        let known = known.iter().copied();
        let help = did_you_mean(found, known.clone());
        Self {
            kind: diagnostic::Flaw::Value,
            help,
            ..Self::new(format!("{found:?} is not known here"), one_of(known))
        }
    }
    fn unknown_field(found: &str, known: &'static [&'static str]) -> Self {
        let known = known.iter().copied();
        let help = did_you_mean(found, known.clone());
        Self {
            kind: diagnostic::Flaw::UnknownKey,
            help,
            ..Self::new(format!("unknown key {found:?}"), one_of(known))
        }
    }
    fn missing_field(field: &'static str) -> Self {
        Self {
            kind: diagnostic::Flaw::Missing,
            ..Self::new(format!("key {field:?} is missing"), format!("{field}: …"))
        }
    }
}

impl<'de> de::Deserializer<'de> for &Node {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let read = match &self.kind {
            Kind::List(items) => visitor.visit_seq(Items(items.iter())),
            Kind::Map(entries) => visitor.visit_map(Entries { rest: entries.iter(), value: None }),
            Kind::Scalar(scalar) => {
                if scalar.is_null() {
                    visitor.visit_unit()
                } else if let Some(value) = scalar.as_bool() {
                    visitor.visit_bool(value)
                } else if let Some(number) = scalar.as_int() {
                    visitor.visit_i64(number)
                } else if let Some(number) = scalar.as_float() {
                    visitor.visit_f64(number)
                } else {
                    visitor.visit_str(&scalar.text)
                }
            }
        };
        read.map_err(|error| error.within(self))
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.kind {
            Kind::Scalar(scalar) if !scalar.is_null() => {
                visitor.visit_str(&scalar.text).map_err(|error: Error| error.within(self))
            }
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match &self.kind {
            Kind::Scalar(scalar) if !scalar.is_null() => {
                visitor.visit_enum(scalar.text.as_str().into_deserializer())
            }
            Kind::Map(entries) if entries.len() == 1 => visitor.visit_enum(Variant(&entries[0])),
            _ => {
                Err(Error::new(format!("found {}", self.found()), "one name, or a mapping of one key".into()))
            }
        }
        .map_err(|error| error.within(self))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct ignored_any
    }
}

struct Items<'a>(std::slice::Iter<'a, Node>);

impl<'de> de::SeqAccess<'de> for Items<'_> {
    type Error = Error;
    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        self.0.next().map(|item| seed.deserialize(item).map_err(|error| error.within(item))).transpose()
    }
}

struct Entries<'a> {
    rest: std::slice::Iter<'a, Entry>,
    value: Option<&'a Node>,
}

impl<'de> de::MapAccess<'de> for Entries<'_> {
    type Error = Error;
    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        let Some(entry) = self.rest.next() else { return Ok(None) };
        self.value = Some(&entry.value);
        let key: StrDeserializer<'_, Error> = entry.key.name.as_str().into_deserializer();
        let at_key = Node::string(&entry.key.name, &entry.key.place);
        seed.deserialize(key).map(Some).map_err(|error| error.within(&at_key))
    }
    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let value =
            self.value.take().ok_or_else(|| Error::new("a value before its key".into(), String::new()))?;
        seed.deserialize(value).map_err(|error| error.within(value))
    }
}

struct Variant<'a>(&'a Entry);

impl<'de, 'a> de::EnumAccess<'de> for Variant<'a> {
    type Error = Error;
    type Variant = &'a Node;
    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, &'a Node), Error> {
        let key: StrDeserializer<'_, Error> = self.0.key.name.as_str().into_deserializer();
        let at_key = Node::string(&self.0.key.name, &self.0.key.place);
        Ok((seed.deserialize(key).map_err(|error| error.within(&at_key))?, &self.0.value))
    }
}

impl<'de> de::VariantAccess<'de> for &Node {
    type Error = Error;
    fn unit_variant(self) -> Result<(), Error> {
        if self.is_null() {
            return Ok(());
        }
        Err(Error::new(format!("found {}", self.found()), "nothing after this name".into()).within(self))
    }
    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Error> {
        seed.deserialize(self).map_err(|error| error.within(self))
    }
    fn tuple_variant<V: Visitor<'de>>(self, _len: usize, visitor: V) -> Result<V::Value, Error> {
        de::Deserializer::deserialize_any(self, visitor)
    }
    fn struct_variant<V: Visitor<'de>>(
        self,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        de::Deserializer::deserialize_any(self, visitor)
    }
}
