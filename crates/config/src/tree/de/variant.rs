//! Externally tagged enums: `name`, or one key with its settings.

use serde::Deserializer as _;
use serde::de::value::StrDeserializer;
use serde::de::{DeserializeSeed, EnumAccess, VariantAccess, Visitor};

use crate::diagnostic::Diagnostic;
use crate::tree::{Entry, Mapping, Value, nearest};

use super::De;
use super::error::{Error, Kind, Message, OneOf, cut, found};

impl<'de> De<'de, '_> {
    /// Reads an enum; the name is checked before the type sees it, for the sake of the position
    /// and of "did you mean".
    pub(super) fn variant<V: Visitor<'de>>(
        self,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let (name, entry) = match &self.node.value {
            Value::Scalar(scalar) => (scalar.text.as_str(), None),
            Value::Mapping(mapping) => {
                let entry = self.only_entry(mapping, variants)?;
                (entry.key.as_str(), Some(entry))
            }
            Value::Null | Value::Sequence(_) => return Err(self.mismatch(OneOf(variants))),
        };
        if !variants.is_empty() && !variants.contains(&name) {
            let nearest = nearest(name, variants.iter().copied());
            return Err(match entry {
                Some(entry) => Error::new(Kind::Placed(self.unknown(entry, nearest, variants))),
                None => self.unknown_name(nearest, variants),
            });
        }
        visitor.visit_enum(Tag { de: self, name, entry })
    }

    fn unknown_name(&self, nearest: Option<&str>, variants: &[&str]) -> Error {
        let reason = format!("expected {}, found {}", OneOf(variants), found(self.node, false));
        let concealed = format!("expected {}, found another value", OneOf(variants));
        let help = nearest.map(|nearest| format!("did you mean `{nearest}`?"));
        Error::new(Kind::Here(Message { reason, concealed, help }))
    }

    fn only_entry(&self, mapping: &'de Mapping, variants: &[&str]) -> Result<&'de Entry, Error> {
        match mapping.entries() {
            [] => Err(Error::plain(format!("expected {}, found `{{}}`", OneOf(variants)))),
            [only] => Ok(only),
            [first, second, ..] => {
                let (first, below) = (cut(&first.key), self.under(second));
                let reason = format!("a second key `{}` beside `{first}`", cut(&second.key));
                let help = if variants.contains(&second.key.as_str()) {
                    "write each as an item of its own".into()
                } else {
                    format!("indent it to belong to `{first}`")
                };
                let second = Diagnostic::error("config.invalid_value", reason)
                    .at(second.key_span)
                    .path(below.trail.path())
                    .help(help)
                    .conceal(below.conceal);
                Err(Error::new(Kind::Placed(second)))
            }
        }
    }
}

/// A variant's name, and the entry that holds its settings, if it was written with any.
struct Tag<'de, 'p> {
    de: De<'de, 'p>,
    name: &'de str,
    entry: Option<&'de Entry>,
}

impl<'de> Tag<'de, '_> {
    /// Reads the variant's settings with `run`.
    fn settings<T>(&self, run: impl FnOnce(De<'de, '_>) -> Result<T, Error>) -> Result<T, Error> {
        let Some(entry) = self.entry else {
            let error = Error::plain(format!("`{}` needs settings", cut(self.name)));
            return Err(error.help(&format!("write `{}: …`", cut(self.name))));
        };
        if self.de.state.skips(&entry.value) {
            return Err(Error::new(Kind::Spoiled));
        }
        self.de.under(entry).drive(run)
    }
}

impl<'de> EnumAccess<'de> for Tag<'de, '_> {
    type Error = Error;
    type Variant = Self;

    fn variant_seed<S>(self, seed: S) -> Result<(S::Value, Self), Error>
    where
        S: DeserializeSeed<'de>,
    {
        let variant = seed.deserialize(StrDeserializer::<Error>::new(self.name))?;
        Ok((variant, self))
    }
}

impl<'de> VariantAccess<'de> for Tag<'de, '_> {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        let Some(entry) = self.entry else { return Ok(()) };
        if self.de.state.skips(&entry.value) {
            return Err(Error::new(Kind::Spoiled));
        }
        self.de.under(entry).drive(|de| match &de.node.value {
            Value::Null => Ok(()),
            Value::Mapping(mapping) if mapping.entries().is_empty() => Ok(()),
            _ => Err(Error::plain(format!("`{}` takes no settings", cut(self.name)))),
        })
    }

    fn newtype_variant_seed<S>(self, seed: S) -> Result<S::Value, Error>
    where
        S: DeserializeSeed<'de>,
    {
        self.settings(|de| seed.deserialize(de))
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Error> {
        self.settings(|de| de.deserialize_tuple(len, visitor))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.settings(|de| de.deserialize_struct("", fields, visitor))
    }
}
