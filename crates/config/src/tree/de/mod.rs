//! Nodes to types: a serde deserialiser that knows where everything stands.
//!
//! Strict where YAML is loose: a boolean is `true` or `false`, a number is plain decimal, nothing
//! is converted. Keys are checked against the type's fields before the type sees them, so every
//! unknown key is found; and a value that is refused does not hide the next one: it is set aside
//! and the type is read again without it, until nothing new is found ([`collect`]).
//!
//! `deserialize_any`, which types with a visitor of their own and `serde_json::Value` use, gives a
//! plain `true` or `false` as a boolean, plain decimal as a number, and every other scalar as text.
//! `deserialize_str` and `deserialize_string` give text for every scalar.

mod access;
mod collect;
mod error;
mod key;
mod scalar;
mod variant;

use std::fmt::Display;

use serde::Deserializer;
use serde::de::{Expected, Visitor};

use crate::diagnostic::Span;

use super::path::{push_index, push_key};
use super::{Node, Scalar, Value};

use access::{Entries, Items};
use collect::State;
use scalar::Number;

pub use collect::{from_entry, from_node};
pub use error::Error;
pub(super) use error::found;

pub use demilune_core::secret::CONCEALED;

/// The way from the root to a node, kept on the stack.
#[derive(Clone, Copy)]
struct Trail<'p> {
    above: Option<&'p Trail<'p>>,
    step: Step<'p>,
}

#[derive(Clone, Copy)]
enum Step<'p> {
    Root(&'p str),
    Key(&'p str),
    Index(usize),
}

impl Trail<'_> {
    fn path(&self) -> String {
        let mut path = self.above.map(Trail::path).unwrap_or_default();
        match self.step {
            Step::Root(root) => path.push_str(root),
            Step::Key(key) => push_key(&mut path, key),
            Step::Index(index) => push_index(&mut path, index),
        }
        path
    }
}

/// Reads one node.
#[derive(Clone, Copy)]
struct De<'de, 'p> {
    node: &'de Node,
    /// The key under which the node stands: where a missing key is reported.
    owner: Option<Span>,
    trail: Trail<'p>,
    conceal: bool,
    state: &'p State,
}

impl<'de> De<'de, '_> {
    fn mismatch(&self, expected: impl Display) -> Error {
        Error::mismatch(&expected, found(self.node, false), found(self.node, true))
    }

    fn scalar(&self, expected: &dyn Expected) -> Result<&'de Scalar, Error> {
        match &self.node.value {
            Value::Scalar(scalar) => Ok(scalar),
            _ => Err(self.mismatch(expected)),
        }
    }

    fn text<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let scalar = self.scalar(&visitor)?;
        visitor.visit_borrowed_str(&scalar.text)
    }

    fn number<N: Number>(self) -> Result<N, Error> {
        let expected = N::expected();
        let Value::Scalar(scalar) = &self.node.value else { return Err(self.mismatch(expected)) };
        let error = || self.mismatch(&expected);
        if !scalar.plain {
            return Err(error().help_if(N::read(&scalar.text).is_some(), "write it without quotes"));
        }
        N::read(&scalar.text).ok_or_else(error)
    }

    fn boolean(self) -> Result<bool, Error> {
        let error = || self.mismatch("`true` or `false`");
        let Value::Scalar(scalar) = &self.node.value else { return Err(error()) };
        match (scalar.text.as_str(), scalar.plain) {
            ("true", true) => Ok(true),
            ("false", true) => Ok(false),
            ("true" | "false", false) => Err(error().help("write it without quotes")),
            _ => Err(error().help("write `true` or `false`")),
        }
    }

    fn sequence(self, expected: &dyn Display) -> Result<&'de [Node], Error> {
        match &self.node.value {
            Value::Sequence(items) => Ok(items),
            Value::Null => Err(self.mismatch(expected).help("an empty list is written `[]`")),
            _ => Err(self.mismatch(expected)),
        }
    }

    fn mapping(self) -> Result<&'de super::Mapping, Error> {
        match &self.node.value {
            Value::Mapping(mapping) => Ok(mapping),
            Value::Null => {
                Err(self.mismatch("a mapping").help("a mapping of defaults is written `{}`"))
            }
            _ => Err(self.mismatch("a mapping")),
        }
    }

    fn items<V: Visitor<'de>>(self, visitor: V, expected: &dyn Display) -> Result<V::Value, Error> {
        let items = self.sequence(expected)?;
        let mut access = Items::new(self, items);
        let value = visitor.visit_seq(&mut access)?;
        match access.left() {
            0 => Ok(value),
            left => {
                let taken = items.len() - left;
                Err(Error::plain(format!("expected {taken} items, found {}", items.len())))
            }
        }
    }
}

macro_rules! numbers {
    ($($deserialize:ident $visit:ident),+) => {$(
        fn $deserialize<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            visitor.$visit(self.number()?)
        }
    )+};
}

macro_rules! texts {
    ($($deserialize:ident),+) => {$(
        fn $deserialize<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            self.text(visitor)
        }
    )+};
}

impl<'de> Deserializer<'de> for De<'de, '_> {
    type Error = Error;

    numbers!(
        deserialize_i8 visit_i8, deserialize_i16 visit_i16, deserialize_i32 visit_i32,
        deserialize_i64 visit_i64, deserialize_i128 visit_i128, deserialize_u8 visit_u8,
        deserialize_u16 visit_u16, deserialize_u32 visit_u32, deserialize_u64 visit_u64,
        deserialize_u128 visit_u128, deserialize_f32 visit_f32, deserialize_f64 visit_f64
    );

    texts!(
        deserialize_char,
        deserialize_str,
        deserialize_string,
        deserialize_bytes,
        deserialize_byte_buf,
        deserialize_identifier
    );

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.node.value {
            Value::Null => visitor.visit_unit(),
            Value::Scalar(scalar) => scalar::visit_any(scalar, visitor),
            Value::Sequence(_) => self.items(visitor, &"a list"),
            Value::Mapping(_) => self.deserialize_map(visitor),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_bool(self.boolean()?)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.node.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.node.is_null() { visitor.visit_unit() } else { Err(self.mismatch("nothing")) }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        match &self.node.value {
            Value::Null => visitor.visit_unit(),
            Value::Mapping(mapping) if mapping.entries().is_empty() => visitor.visit_unit(),
            _ => Err(self.mismatch("nothing, or `{}`")),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        if name == CONCEALED {
            return Self { conceal: true, ..self }.drive(|de| visitor.visit_newtype_struct(de));
        }
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.items(visitor, &"a list")
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Error> {
        self.items(visitor, &format_args!("a list of {len}"))
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_tuple(len, visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let mapping = self.mapping()?;
        visitor.visit_map(Entries::new(self, mapping, None))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let mapping = self.mapping()?;
        let meant = self.check_keys(mapping, fields);
        visitor
            .visit_map(Entries::new(self, mapping, Some(fields)))
            .map_err(|error| error.unless_missing(&meant))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.variant(variants, visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }
}

#[cfg(test)]
mod tests;
