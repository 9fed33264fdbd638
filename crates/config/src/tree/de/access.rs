//! The items of a list and the entries of a mapping, as serde asks for them.

use serde::de::{DeserializeSeed, MapAccess, SeqAccess};

use crate::tree::{Entry, Mapping, Node};

use super::De;
use super::error::{Error, Kind};
use super::key::KeyDe;

/// The items of a list.
pub(super) struct Items<'de, 'p> {
    list: De<'de, 'p>,
    items: std::iter::Enumerate<std::slice::Iter<'de, Node>>,
}

impl<'de, 'p> Items<'de, 'p> {
    pub(super) fn new(list: De<'de, 'p>, items: &'de [Node]) -> Self {
        Self { list, items: items.iter().enumerate() }
    }

    /// How many items were not asked for.
    pub(super) fn left(&self) -> usize {
        self.items.len()
    }
}

impl<'de> SeqAccess<'de> for Items<'de, '_> {
    type Error = Error;

    fn next_element_seed<S>(&mut self, seed: S) -> Result<Option<S::Value>, Error>
    where
        S: DeserializeSeed<'de>,
    {
        let list = self.list;
        let Some((index, node)) = self.items.find(|(_, node)| !list.state.skips(node)) else {
            return Ok(None);
        };
        list.item(index, node).drive(|de| seed.deserialize(de)).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len())
    }
}

/// The entries of a mapping; of a struct only those that are its fields.
pub(super) struct Entries<'de, 'p> {
    mapping: De<'de, 'p>,
    entries: std::slice::Iter<'de, Entry>,
    current: Option<&'de Entry>,
    fields: Option<&'static [&'static str]>,
}

impl<'de, 'p> Entries<'de, 'p> {
    pub(super) fn new(
        de: De<'de, 'p>,
        mapping: &'de Mapping,
        fields: Option<&'static [&'static str]>,
    ) -> Self {
        Self { mapping: de, entries: mapping.entries().iter(), current: None, fields }
    }
}

impl<'de> MapAccess<'de> for Entries<'de, '_> {
    type Error = Error;

    fn next_key_seed<S>(&mut self, seed: S) -> Result<Option<S::Value>, Error>
    where
        S: DeserializeSeed<'de>,
    {
        let (fields, state) = (self.fields, self.mapping.state);
        let known =
            |entry: &&Entry| fields.is_none_or(|fields| fields.contains(&entry.key.as_str()));
        self.current = self.entries.by_ref().filter(known).find(|entry| !state.skips(&entry.value));
        let Some(entry) = self.current else { return Ok(None) };
        match seed.deserialize(KeyDe { mapping: &self.mapping, entry }) {
            Ok(key) => Ok(Some(key)),
            Err(error) => Err(self.refuse_key(entry, error)),
        }
    }

    fn next_value_seed<S>(&mut self, seed: S) -> Result<S::Value, Error>
    where
        S: DeserializeSeed<'de>,
    {
        match self.current.take() {
            Some(entry) => self.mapping.under(entry).drive(|de| seed.deserialize(de)),
            None => Err(Error::plain("a value was asked for before its key".into())),
        }
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.entries.len())
    }
}

impl<'de> Entries<'de, '_> {
    /// Points at the key, and sets its value aside so that the next entries are read.
    fn refuse_key(&self, entry: &'de Entry, error: Error) -> Error {
        let below = self.mapping.under(entry);
        self.mapping.state.set_aside(&entry.value);
        match *error.0 {
            Kind::Here(message) => {
                let path = below.trail.path();
                self.mapping.state.push(self.mapping.invalid(message, entry.key_span, path));
            }
            Kind::Placed(diagnostic) => self.mapping.state.push(diagnostic),
            Kind::Missing(_) | Kind::Spoiled | Kind::Recorded => {}
        }
        Error::new(Kind::Recorded)
    }
}
