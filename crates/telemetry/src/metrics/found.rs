//! What was looked up before, found again quickly.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::Arc;

use super::sharded::Count;

/// Names change with the document: beyond so many, things are looked up anew.
const LIMIT: usize = 4_096;

/// Things by keys, of which those asked for of late are often asked for again.
#[derive(Debug)]
pub(super) struct Found<K, V> {
    entries: Vec<(K, V)>,
    places: HashMap<K, usize, Mixed>,
}

impl<K: Eq + Hash, V> Found<K, V> {
    /// Lets `then` have what belongs to `key`; where there is none, `make` makes it. `hint` is
    /// where to look first, and becomes where it was. Names are told apart by what they say and not
    /// by where they stand: after a reload, another one may stand there.
    // Several times a request, and nearly always no more than a comparison.
    #[inline(always)]
    pub(super) fn with<Q>(
        &mut self,
        hint: &mut usize,
        key: &Q,
        make: impl FnOnce() -> V,
        then: impl FnOnce(&mut V),
    ) where
        K: Borrow<Q>,
        Q: Eq + Hash + ToOwned<Owned = K> + ?Sized,
    {
        if self.entries.get(*hint).is_none_or(|(here, _)| here.borrow() != key) {
            *hint = self.place(key, make);
        }
        if let Some((_, value)) = self.entries.get_mut(*hint) {
            then(value);
        }
    }

    /// What was found there.
    pub(super) fn get(&self, place: usize) -> Option<&V> {
        self.entries.get(place).map(|(_, value)| value)
    }

    #[inline(never)]
    fn place<Q>(&mut self, key: &Q, make: impl FnOnce() -> V) -> usize
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ToOwned<Owned = K> + ?Sized,
    {
        if let Some(place) = self.places.get(key) {
            return *place;
        }
        if self.entries.len() >= LIMIT {
            self.entries.clear();
            self.places.clear();
        }
        let place = self.entries.len();
        self.entries.push((key.to_owned(), make()));
        self.places.insert(key.to_owned(), place);
        place
    }
}

impl<K, V> Default for Found<K, V> {
    fn default() -> Self {
        Self { entries: Vec::new(), places: HashMap::default() }
    }
}

/// What is known of something that happened before.
#[derive(Debug)]
pub(super) struct Known {
    /// Where it is counted.
    pub(super) count: Arc<Count>,
    /// What the lines say of it, as JSON.
    pub(super) written: Vec<u8>,
}

/// What is known, by two further labels. There are few of them beneath one name: looking at each is
/// quicker than hashing.
#[derive(Debug)]
pub(super) struct Counts<T> {
    entries: Vec<(T, Box<str>, Known)>,
    last: usize,
}

impl<T: PartialEq> Counts<T> {
    /// Adds one to the count of both labels; where there is none, `make` makes it.
    pub(super) fn increment(&mut self, first: T, second: &str, make: impl FnOnce() -> Known) {
        let is_it = |(f, s, _): &(T, Box<str>, Known)| *f == first && **s == *second;
        if !self.entries.get(self.last).is_some_and(is_it) {
            self.last = self.entries.iter().position(is_it).unwrap_or_else(|| {
                if self.entries.len() >= LIMIT {
                    self.entries.clear();
                }
                self.entries.push((first, second.into(), make()));
                self.entries.len() - 1
            });
        }
        if let Some((_, _, known)) = self.entries.get(self.last) {
            known.count.increment();
        }
    }

    /// What the lines say of what was counted last.
    pub(super) fn last_written(&self) -> &[u8] {
        self.entries.get(self.last).map(|(_, _, known)| &*known.written).unwrap_or_default()
    }
}

impl<T> Default for Counts<T> {
    fn default() -> Self {
        Self { entries: Vec::new(), last: 0 }
    }
}

/// Mixes addresses of the program's and names that the document chose: no defence against those
/// who choose either.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Mixed(u64);

impl BuildHasher for Mixed {
    type Hasher = Self;

    fn build_hasher(&self) -> Self {
        Self(0)
    }
}

impl Hasher for Mixed {
    fn finish(&self) -> u64 {
        // The high bits are the best ones; tables take the low ones too.
        self.0.rotate_left(32)
    }

    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks();
        for word in words {
            self.write_u64(u64::from_le_bytes(*word));
        }
        if !rest.is_empty() {
            self.write_u64(rest.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)));
        }
    }

    fn write_u8(&mut self, number: u8) {
        self.write_u64(number.into());
    }

    fn write_usize(&mut self, number: usize) {
        self.write_u64(number as u64);
    }

    fn write_u64(&mut self, number: u64) {
        // The golden ratio in 64 bits: spreads neighbours over all bits.
        self.0 = (self.0.rotate_left(23) ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_has_its_own_and_they_are_never_too_many() {
        let mut found = Found::<String, u32>::default();
        let mut hint = 0;
        let mut count = |key: &str| {
            let mut counted = 0;
            found.with(
                &mut hint,
                key,
                || 0,
                |count| {
                    *count += 1;
                    counted = *count;
                },
            );
            counted
        };
        assert_eq!(["a", "a", "b", "a", "b", "ab", ""].map(&mut count), [1, 2, 1, 3, 2, 1, 1]);
        for number in 0..3 * LIMIT {
            assert_eq!(count(&number.to_string()), 1);
            assert_eq!(count(&number.to_string()), 2);
        }
        assert!(found.entries.len() <= LIMIT && found.places.len() <= LIMIT);
    }

    #[test]
    fn a_hint_is_never_believed() {
        let mut found = Found::<String, usize>::default();
        for hint in [0, 1, 2, usize::MAX] {
            for (value, key) in ["a", "b"].into_iter().enumerate() {
                let mut hint = hint;
                found.with(&mut hint, key, || value, |it| assert_eq!(*it, value));
            }
        }
    }

    #[test]
    fn a_name_that_stands_where_another_stood_is_another() {
        let mut found = Found::<String, u32>::default();
        let (mut hint, mut name) = (0, String::from("shop"));
        found.with(&mut hint, &*name, || 1, |_| {});
        name.replace_range(.., "desk");
        found.with(&mut hint, &*name, || 2, |value| assert_eq!(*value, 2));
    }
}
