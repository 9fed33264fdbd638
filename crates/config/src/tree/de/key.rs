//! Keys that are not fields: text, and what can be read from text.

use serde::de::{DeserializeSeed, Deserializer, EnumAccess, VariantAccess, Visitor};
use serde::de::{Error as _, Unexpected, value::StrDeserializer};

use crate::tree::{Entry, nearest};

use super::De;
use super::error::{Error, Kind, cut};
use super::scalar::Number;

/// Reads the key of an entry.
#[derive(Clone, Copy)]
pub(super) struct KeyDe<'de, 'a> {
    pub(super) mapping: &'a De<'de, 'a>,
    pub(super) entry: &'de Entry,
}

impl<'de> KeyDe<'de, '_> {
    fn number<N: Number>(self) -> Result<N, Error> {
        let key = &self.entry.key;
        N::read(key).ok_or_else(|| {
            let found = format!("the key `{}`", cut(key));
            Error::mismatch(&N::expected(), found.clone(), found)
        })
    }
}

macro_rules! numbers {
    ($($deserialize:ident $visit:ident),+) => {$(
        fn $deserialize<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            visitor.$visit(self.number()?)
        }
    )+};
}

impl<'de> Deserializer<'de> for KeyDe<'de, '_> {
    type Error = Error;

    numbers!(
        deserialize_i8 visit_i8, deserialize_i16 visit_i16, deserialize_i32 visit_i32,
        deserialize_i64 visit_i64, deserialize_i128 visit_i128, deserialize_u8 visit_u8,
        deserialize_u16 visit_u16, deserialize_u32 visit_u32, deserialize_u64 visit_u64,
        deserialize_u128 visit_u128
    );

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_borrowed_str(&self.entry.key)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.entry.key.as_str() {
            "true" => visitor.visit_bool(true),
            "false" => visitor.visit_bool(false),
            key => Err(Error::invalid_type(Unexpected::Str(key), &"`true` or `false`")),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
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
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        if !variants.is_empty() && !variants.contains(&self.entry.key.as_str()) {
            let nearest = nearest(&self.entry.key, variants.iter().copied());
            let unknown = self.mapping.unknown(self.entry, nearest, variants);
            return Err(Error::new(Kind::Placed(unknown)));
        }
        visitor.visit_enum(self)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    serde::forward_to_deserialize_any! {
        f32 f64 char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map struct
        identifier
    }
}

impl<'de> EnumAccess<'de> for KeyDe<'de, '_> {
    type Error = Error;
    type Variant = UnitOnly;

    fn variant_seed<S>(self, seed: S) -> Result<(S::Value, UnitOnly), Error>
    where
        S: DeserializeSeed<'de>,
    {
        let tag = seed.deserialize(StrDeserializer::<Error>::new(&self.entry.key))?;
        Ok((tag, UnitOnly))
    }
}

/// A key has no room for a variant's settings.
pub(super) struct UnitOnly;

impl UnitOnly {
    fn refuse<T>() -> Result<T, Error> {
        Err(Error::plain("a key that needs settings of its own is not accepted".into()))
    }
}

impl<'de> VariantAccess<'de> for UnitOnly {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        Ok(())
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, _: S) -> Result<S::Value, Error> {
        Self::refuse()
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, Error> {
        Self::refuse()
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Error> {
        Self::refuse()
    }
}
