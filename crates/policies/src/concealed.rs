//! Reading what may turn out to be a secret: whatever is wrong with it, no diagnostic repeats it.
//!
//! Operators paste a key where its digest belongs.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use demilune_core::secret::CONCEALED;
use serde::de::{Deserializer, Error, Visitor};

/// Parses a text of the document. `T`'s error must not repeat what was found.
///
/// # Errors
/// Where it is no text, or no `T`.
pub(crate) fn deserialize<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: fmt::Display>,
{
    deserializer.deserialize_newtype_struct(CONCEALED, Text(PhantomData))
}

struct Text<T>(PhantomData<T>);

impl<'de, T: FromStr<Err: fmt::Display>> Visitor<'de> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<T, D::Error> {
        inner.deserialize_str(self)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}
